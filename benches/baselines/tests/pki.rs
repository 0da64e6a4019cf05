//! The PKI broadcast end to end over loopback: recipients find their message, and nobody else does.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use twincast_baselines::pki::{CIPHERTEXT_BYTES, HEADER_BYTES, Host, KEY_BYTES, Trials, start_server};
use twincast_baselines::{Play, Setup};

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const ROUNDS: u32 = 2;

fn run(setup: Setup, trials_max: u64) -> Vec<(Play, Trials)> {
    let server = start_server(LOOPBACK, setup, |_| ()).unwrap();
    let address = server.address();
    let ends: Vec<(Play, Trials)> = std::thread::scope(|scope| {
        let host = |host| {
            let mut host = Host::connect(setup, host, address, trials_max).unwrap();
            let play = host.play(ROUNDS, |_| ()).unwrap();
            (play, host.open_some().unwrap())
        };
        let threads: Vec<_> = (0..setup.hosts).map(|index| scope.spawn(move || host(index))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let report = server.stop().unwrap();
    let (members, senders, hosts) = (setup.members as usize, setup.senders as usize, setup.hosts as usize);
    let inboxes = ROUNDS as usize * members * (HEADER_BYTES + senders * CIPHERTEXT_BYTES);
    assert_eq!(report.egress_bytes as usize, inboxes + hosts * members * KEY_BYTES);
    assert_eq!(report.deliveries as usize, ROUNDS as usize * members * senders);
    let received: u64 = ends.iter().map(|(play, _)| play.bytes_in[0]).sum();
    assert_eq!(received as usize, inboxes);
    ends
}

#[test]
fn every_recipient_finds_its_message_and_nobody_anothers() {
    // A host refuses a message that opens for whom it was not meant, and one that does not for whom it was.
    let setup = Setup { members: 20, senders: 20, hosts: 3, share_bytes: 336 };
    let ends = run(setup, 400);
    let sum = |of: fn(&Trials) -> u64| ends.iter().map(|(_, trials)| of(trials)).sum::<u64>();
    assert_eq!((sum(|of| of.trials), sum(|of| of.opened), sum(|of| of.users)), (400, 20, 20));
    assert!(ends.iter().all(|(_, trials)| trials.cpu_seconds > 0.0));
}

#[test]
fn a_sample_tries_no_more_than_it_may() {
    let setup = Setup { members: 30, senders: 6, hosts: 3, share_bytes: 336 };
    for (trials_max, trials, users) in [(4, 4, 0), (6, 6, 1), (13, 12, 2)] {
        for (_, tried) in run(setup, trials_max) {
            assert_eq!((tried.trials, tried.users), (trials, users), "{trials_max} trials at the most");
        }
    }
}
