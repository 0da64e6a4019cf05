//! The private link between two servers, which pin each other's key; and two real servers that set out with `keygen`.

mod common;

use common::pair::{Pair, Servers, s1_end, s2_end};
use common::{
    Client, Party, Permit, Process, TestServer, channel_key, config, count, group, run_to_end, wait_until,
};
use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use twincast_protocol::channel::Cipher;
use twincast_protocol::ids::ServerSide;
use twincast_protocol::wire::Kind;
use twincast_server::Server;
use twincast_server::config::{ChannelName, Config, GroupConfig, LinkConfig};
use twincast_server::keys::{ChannelKeys, Keys};

const BOTH: [ServerSide; 2] = ServerSide::BOTH;

fn private(groups: Vec<GroupConfig>) -> Config {
    Config { channel: ChannelName::Noise, ..config(groups) }
}

/// Members at both servers, over private channels to them.
fn parties(addresses: [SocketAddr; 2], group: &GroupConfig, keys: [[u8; 32]; 2]) -> Pair {
    Pair(BOTH.map(|side| {
        let index = side.index();
        let mut party = Party::new(addresses[index], group, side, 7 + index as u64);
        for users in [vec![0, 1], vec![2]] {
            let mut client = Client::connect(addresses[index]);
            client.shake_hands_with(side, Cipher::best(), keys[index]);
            party.join_over(client, users);
        }
        party
    }))
}

fn known() -> [[u8; 32]; 2] {
    BOTH.map(|side| channel_key(side).public())
}

#[test]
fn two_servers_that_pin_each_other_are_linked_and_play() {
    let group = group(1, 3);
    let servers = Servers::linked_with(private(vec![group.clone()]), |_| {});
    let mut pair = parties(BOTH.map(|side| servers.get(side).address()), &group, known());
    pair.open();
    for round in 1..20 {
        pair.play(round);
    }
    assert_eq!(servers.counts(|metrics| &metrics.link_handshakes_failed), [0, 0]);
    assert_eq!(servers.counts(|metrics| &metrics.tiles_unagreed), [0, 0]);
}

/// Who pins another key is not linked to, whichever of the two it is, and is once its key is right.
#[test]
fn a_wrong_pinned_key_at_either_server_makes_no_link() {
    for wrong in BOTH {
        let _permit = Permit::wait_for(2);
        let keys = |side: ServerSide, wrong: bool| {
            let pinned = if wrong { [9; 32] } else { channel_key(side.other()).public() };
            let channel = Some(ChannelKeys::new(channel_key(side), Some(pinned)));
            Keys { channel, identities: None }
        };
        let base = private(vec![group(1, 3)]);
        let two = Config { side: 2, link: Some(s2_end()), ..base.clone() };
        let two = Server::start_with(two, keys(ServerSide::Two, wrong == ServerSide::Two)).unwrap();
        let one = Config { link: Some(s1_end(two.link_address().unwrap())), ..base };
        let first = Server::start_with(one.clone(), keys(ServerSide::One, wrong == ServerSide::One)).unwrap();
        wait_until("a try", || count(&two.metrics().link_handshakes_failed) >= 2);
        assert_eq!(count(&two.metrics().link_ups) + count(&first.metrics().link_ups), 0);
        first.stop().unwrap();
        if wrong == ServerSide::One {
            let right = Server::start_with(one, keys(ServerSide::One, false)).unwrap();
            wait_until("the link", || count(&right.metrics().link_up) == 1);
            right.stop().unwrap();
        }
        two.stop().unwrap();
    }
}

#[test]
fn a_plain_server_and_a_private_one_are_not_linked() {
    let _permit = Permit::wait_for(2);
    let base = private(vec![group(1, 3)]);
    let two = TestServer::start_permitted(Config { side: 2, link: Some(s2_end()), ..base.clone() });
    let link = Some(s1_end(two.link_address().unwrap()));
    let one = TestServer::start_permitted(Config { link, channel: ChannelName::Plain, ..base });
    wait_until("a try", || count(&two.metrics().link_handshakes_failed) >= 2);
    assert_eq!(count(&one.metrics().link_ups) + count(&two.metrics().link_ups), 0);
}

/// Bytes between two servers, which somebody on the way changes now and then.
struct Way {
    address: SocketAddr,
    /// Pieces of S1's stream, and of S2's, until the one that is changed; 0: none is.
    changes: [Arc<AtomicUsize>; 2],
}

impl Way {
    /// To whoever listens there. Its threads end with the connections.
    fn to(server: SocketAddr) -> Way {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let way = Way { address: listener.local_addr().unwrap(), changes: Default::default() };
        let changes = way.changes.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(server) else { return };
                let pairs = [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)];
                for ((from, to), change) in pairs.into_iter().zip(changes.clone()) {
                    std::thread::spawn(move || carry(from, to, &change));
                }
            }
        });
        way
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, change: &AtomicUsize) {
    let mut piece = [0; 4_096];
    while let Ok(bytes @ 1..) = from.read(&mut piece) {
        let before = change.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        if before == Ok(1) {
            piece[bytes - 1] ^= 0x10;
        }
        if to.write_all(&piece[..bytes]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// A round comes in which nobody is absent, whether it was released with the other server's word or without.
fn expect_all_present(party: &mut Party, seat: usize) {
    loop {
        let frame = party.seats[seat].frame("the round");
        match common::client::kind(&frame) {
            Kind::RoundEnd => return,
            Kind::Deliver => assert_eq!(common::party::present(&frame), 7),
            other => panic!("{other:?}"),
        }
    }
}

/// Whatever is changed on the way, the link is made anew, and the members play on.
#[test]
fn bytes_of_the_link_that_are_changed_on_the_way_end_it_and_it_comes_again() {
    let group = group(1, 3);
    let _permit = Permit::wait_for(2);
    let base = private(vec![group.clone()]);
    let two = TestServer::start_permitted(Config { side: 2, link: Some(s2_end()), ..base.clone() });
    let way = Way::to(two.link_address().unwrap());
    let one = TestServer::start_permitted(Config { link: Some(s1_end(way.address)), ..base });
    let up = |ups: u64| {
        for server in [&one, &two] {
            wait_until("the link", || {
                count(&server.metrics().link_ups) >= ups && count(&server.metrics().link_up) == 1
            });
        }
    };
    up(1);
    let mut pair = parties([one.address(), two.address()], &group, known());
    pair.open();
    let mut round = 1;
    for (ups, stream) in [(2, 0), (3, 1)] {
        pair.play(round);
        way.changes[stream].store(1, SeqCst);
        // The next word of the round does not arrive, or not unchanged.
        pair.submit(round + 1);
        pair.each(|party| (0..2).for_each(|seat| expect_all_present(party, seat)));
        round += 2;
        up(ups);
    }
    pair.play(round);
}

#[test]
fn garbage_on_a_private_link_harms_nobody() {
    let group = group(1, 3);
    let servers = Servers::linked_with(private(vec![group.clone()]), |_| {});
    let mut pair = parties(BOTH.map(|side| servers.get(side).address()), &group, known());
    pair.open();
    let address = servers.get(ServerSide::Two).link_address().unwrap();
    for seed in 0..40 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut bytes = vec![0; rng.random_range(1..200)];
        rng.fill_bytes(&mut bytes);
        if seed % 2 == 0 {
            bytes.splice(0..0, *b"TWCAST\x01\x01\x00\x30").for_each(drop);
        }
        let mut stranger = TcpStream::connect(address).unwrap();
        let _ = stranger.write_all(&bytes);
        let _ = stranger.shutdown(Shutdown::Write);
        assert_eq!(stranger.read(&mut [0; 16]).unwrap_or(0), 0, "seed {seed}: it is told nothing");
        pair.play(1 + seed);
    }
    assert_eq!(servers.counts(|metrics| &metrics.link_ups), [1, 1]);
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_twincast-server")).args(arguments).output().expect("the binary starts")
}

/// Makes a server's keys: what its own configuration has to say, and what the other one's has.
fn keygen(folder: &Path) -> toml::Table {
    let made = run(&["keygen", "--out", folder.to_str().unwrap()]);
    let stdout = String::from_utf8(made.stdout).unwrap();
    assert_eq!(made.status.code(), Some(0), "{stdout}");
    for name in ["channel.key", "signing.key"] {
        let file = folder.join(name);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let secret = std::fs::read_to_string(file).unwrap();
        assert!(!stdout.contains(secret.trim()), "a secret is not printed");
    }
    let again = run(&["keygen", "--out", folder.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8(again.stderr).unwrap().contains("not overwritten"));
    stdout.parse().expect("what it prints is TOML")
}

/// What operators get wrong with keys: neither `--check` nor a start takes it, and both say what it is.
fn keys_that_cannot_be_are_refused(good: &Config, own: &str) {
    let (code, stdout, stderr) = run_to_end("", "--check", &good.to_toml());
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stdout.contains(&format!("give this to clients: this server's channel key is {own}")),
        "{stdout}"
    );
    let pinned = |digits: String| {
        let mut config = good.clone();
        config.link.as_mut().unwrap().peer_channel_key = Some(digits);
        config
    };
    let file = good.channel_key.clone();
    for (config, says, names_own) in [
        (pinned(own.to_owned()), "link.peer_channel_key is this server's own", true),
        (pinned("0".repeat(64)), "link.peer_channel_key = 000", false),
        (
            Config { signing_key: file, ..good.clone() },
            "channel_key and signing_key hold the same secret",
            false,
        ),
    ] {
        for option in ["--check", "--config"] {
            let (code, stdout, stderr) = run_to_end("", option, &config.to_toml());
            assert_eq!(code, Some(2), "{option}: {stderr}");
            assert!(stderr.contains(says), "{option}: {stderr}");
            // Nobody is given a key that will not stay; who pinned the wrong one still learns the own.
            assert_eq!(stdout.contains(own), names_own && option == "--check", "{stdout}");
        }
    }
}

/// The lines that `keygen` prints, pasted where it says, make two servers that are linked and known to clients.
#[test]
fn two_real_servers_set_out_with_keygen_and_play() {
    let folder = tempfile::tempdir().unwrap();
    let group = group(1, 3);
    let printed = BOTH.map(|side| keygen(&folder.path().join(format!("s{}", side.index() + 1))));
    let text = |side: ServerSide, key: &str| printed[side.index()][key].as_str().unwrap().to_owned();
    let end = |side: ServerSide, link: LinkConfig| {
        let link = LinkConfig { peer_channel_key: Some(text(side.other(), "peer_channel_key")), ..link };
        Config {
            side: side.index() as u8 + 1,
            channel_key: Some(text(side, "channel_key").into()),
            link: Some(link),
            ..private(vec![group.clone()])
        }
    };
    keys_that_cannot_be_are_refused(
        &end(ServerSide::Two, s2_end()),
        &text(ServerSide::Two, "peer_channel_key"),
    );
    let _permit = Permit::wait_for(2);
    let mut two = Process::start_permitted(&end(ServerSide::Two, s2_end()));
    let mut one = Process::start_permitted(&end(ServerSide::One, s1_end(two.link.unwrap())));
    let keys = BOTH.map(|side| {
        let mut key = [0; 32];
        hex::decode_to_slice(text(side, "peer_channel_key"), &mut key).unwrap();
        key
    });
    let mut pair = parties([one.address, two.address], &group, keys);
    pair.open();
    for round in 1..5 {
        pair.play(round);
    }
    drop(pair);
    for process in [&mut one, &mut two] {
        process.signal(rustix::process::Signal::TERM);
        let (status, stderr) = process.end();
        assert!(status.success(), "{stderr}");
        assert!(stderr.contains("the link to the other server is up"), "{stderr}");
        for side in BOTH {
            for name in ["channel.key", "signing.key"] {
                let file = folder.path().join(format!("s{}", side.index() + 1)).join(name);
                let secret = std::fs::read_to_string(file).unwrap();
                assert!(!stderr.contains(secret.trim()), "a secret is in the log");
            }
        }
    }
}
