//! The broker end to end over loopback, where it is installed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use twincast_baselines::broker::{Broker, Host, PROGRAM, installed};
use twincast_baselines::{Play, Setup};

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn play(setup: Setup, rounds: u32) -> Option<Vec<Play>> {
    if installed().is_none() {
        eprintln!("SKIPPED: {PROGRAM} is not installed (apt install {PROGRAM})");
        return None;
    }
    let broker = Broker::start(LOOPBACK, |program: &Path| Command::new(program)).unwrap();
    let mut hosts: Vec<Host> =
        (0..setup.hosts).map(|host| Host::connect(setup, host, broker.address()).unwrap()).collect();
    let plays = std::thread::scope(|scope| {
        let threads: Vec<_> =
            hosts.iter_mut().map(|host| scope.spawn(move || host.play(rounds, |_| ()).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(broker.cpu_seconds().unwrap() >= 0.0);
    Some(plays)
}

#[test]
fn every_message_reaches_every_subscription_once() {
    let setup = Setup { members: 20, senders: 20, hosts: 3, share_bytes: 336 };
    let Some(plays) = play(setup, 3) else { return };
    assert_eq!(plays.iter().map(|play| play.deliveries).sum::<u64>(), 3 * 20 * 20);
    let payloads = 3 * 20 * 20 * 336;
    assert!(plays.iter().map(|play| play.bytes_in[0]).sum::<u64>() > payloads);
}

#[test]
fn a_large_round_goes_in_waves() {
    let setup = Setup { members: 60, senders: 60, hosts: 2, share_bytes: 65_536 };
    let Some(plays) = play(setup, 2) else { return };
    assert_eq!(plays.iter().map(|play| play.deliveries).sum::<u64>(), 2 * 60 * 60);
}
