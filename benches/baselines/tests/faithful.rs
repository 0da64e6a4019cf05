//! The paper's set-up end to end over loopback: every share reaches everybody, with the bit's half, in one write.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use twincast_baselines::faithful::{HEADER_BYTES, Host, start_server};
use twincast_baselines::{BaselineError, Play, RelayServer, Setup};

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const ROUNDS: u32 = 3;

/// Hosts as threads; a host itself checks user, sender, round and half of every share.
fn play(setup: Setup, servers: [SocketAddr; 2]) -> Vec<Play> {
    let host = |host| {
        let mut host = Host::connect(setup, host, servers)?;
        assert!(host.dial_seconds() > 0.0);
        let (first, rest) = (host.play(1, |_| ())?, host.play(ROUNDS - 1, |_| ())?);
        Ok::<_, BaselineError>(Play {
            round_seconds: [first.round_seconds, rest.round_seconds].concat(),
            deliveries: first.deliveries + rest.deliveries,
            bytes_in: first.bytes_in.iter().zip(rest.bytes_in).map(|(first, rest)| first + rest).collect(),
            own_share_us: [first.own_share_us, rest.own_share_us].concat(),
        })
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..setup.hosts).map(|index| scope.spawn(move || host(index))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect()
    })
}

fn check(setup: Setup, nagle: bool) {
    let servers: [RelayServer; 2] = [0, 1].map(|_| start_server(LOOPBACK, setup, nagle, |_| ()).unwrap());
    let plays = play(setup, [servers[0].address(), servers[1].address()]);
    let shares = u64::from(setup.senders * setup.members * ROUNDS);
    let bytes = shares * (HEADER_BYTES as u64 + u64::from(setup.share_bytes));
    for (index, server) in servers.into_iter().enumerate() {
        let report = server.stop().unwrap();
        // The welcome is one write of four bytes on each connection.
        let hosts = u64::from(setup.hosts);
        assert_eq!(report.egress_bytes, bytes + 4 * hosts);
        assert_eq!(report.deliveries, shares);
        assert_eq!(report.writes - report.cut_writes, shares + hosts, "one write a share: {report:?}");
        assert_eq!(report.connections, hosts);
        assert_eq!(report.nodelay_connections, if nagle { 0 } else { hosts });
        let received: u64 = plays.iter().map(|play| play.bytes_in[index]).sum();
        assert_eq!(received, bytes, "what came is what was sent, to the byte");
    }
    assert_eq!(plays.iter().map(|play| play.deliveries).sum::<u64>(), 2 * shares);
    for (host, play) in (0..).zip(plays) {
        let senders = setup.senders_of(host).count();
        assert_eq!(play.own_share_us.len(), senders * ROUNDS as usize);
        for (own, seconds) in play.own_share_us.chunks(senders).zip(&play.round_seconds) {
            assert!(
                own.iter().all(|us| *us as f64 <= seconds * 1e6),
                "an own share after its round: {play:?}"
            );
            assert!(own.is_sorted(), "shares come by their senders' order, and so do own ones: {play:?}");
        }
        assert_eq!(play.round_seconds.len(), ROUNDS as usize);
        assert!(play.round_seconds.iter().all(|seconds| *seconds > 0.0), "{play:?}");
    }
}

#[test]
fn every_share_reaches_everybody_without_nagle() {
    check(Setup { members: 20, senders: 20, hosts: 3, share_bytes: 336 }, false);
}

#[test]
fn every_share_reaches_everybody_with_nagle() {
    check(Setup { members: 20, senders: 20, hosts: 3, share_bytes: 771 }, true);
}

#[test]
fn a_sample_of_senders_reaches_everybody() {
    check(Setup { members: 200, senders: 7, hosts: 5, share_bytes: 336 }, false);
}

#[test]
fn a_host_that_speaks_for_others_ends_the_server() {
    let setup = Setup { members: 4, senders: 4, hosts: 2, share_bytes: 16 };
    let servers: [RelayServer; 2] = [0, 1].map(|_| start_server(LOOPBACK, setup, false, |_| ()).unwrap());
    let addresses = [servers[0].address(), servers[1].address()];
    // Host 0 of a single host introduces all four users; host 0 of two may introduce users 0 and 2.
    let error = Host::connect(Setup { hosts: 1, ..setup }, 0, addresses).unwrap_err();
    assert!(matches!(error, BaselineError::Io { .. }), "{error}");
    let ends = servers.map(RelayServer::stop);
    assert!(ends.iter().any(|end| matches!(end, Err(BaselineError::Protocol(_)))), "{ends:?}");
}

#[test]
fn a_server_that_goes_is_told() {
    let setup = Setup { members: 4, senders: 4, hosts: 1, share_bytes: 16 };
    let servers: [RelayServer; 2] = [0, 1].map(|_| start_server(LOOPBACK, setup, false, |_| ()).unwrap());
    let mut host = Host::connect(setup, 0, [servers[0].address(), servers[1].address()]).unwrap();
    host.play(1, |_| ()).unwrap();
    drop(servers);
    assert!(host.play(1, |_| ()).is_err());
}
