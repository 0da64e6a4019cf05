//! Private channels between clients and a server: what they carry is the model's, whoever damages them harms nobody else,
//! and who has not said who they are gets no more than its share.

mod common;

use common::client::{error_frame, hello_frame};
use common::{Client, End, Party, TestServer, config, count, group, wait_until};
use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use twincast_protocol::channel::{Cipher, FIRST_BYTES, Initiator, Purpose, REKEY_RECORDS, StaticKey};
use twincast_protocol::ids::ServerSide;
use twincast_protocol::wire::Code;
use twincast_server::config::{ChannelName, Config, GroupConfig, ZeroCopy};

const S1: ServerSide = ServerSide::One;

/// A small S1 whose channels are private.
fn private(groups: Vec<GroupConfig>) -> Config {
    Config { channel: ChannelName::Noise, ..config(groups) }
}

/// Members over private channels, of which every other one has the other cipher.
fn attach(server: &TestServer, group: &GroupConfig, sets: Vec<Vec<u32>>, seed: u64) -> Party {
    let mut party = Party::new(server.address(), group, S1, seed);
    for (index, users) in sets.into_iter().enumerate() {
        let mut client = Client::connect(server.address());
        client.shake_hands(S1, Cipher::ALL[index % 2]);
        party.join_over(client, users);
    }
    party
}

fn open(server: &TestServer, group: &GroupConfig, sets: Vec<Vec<u32>>, seed: u64) -> Party {
    let mut party = attach(server, group, sets, seed);
    party.dial();
    party.expect_open();
    party
}

/// The first message of a handshake with this key.
fn first(server: [u8; 32], purpose: Purpose, side: ServerSide) -> [u8; FIRST_BYTES] {
    Initiator::new(&StaticKey::random(&mut rand::rng()), server, Cipher::best(), purpose, side).first()
}

fn s1_key() -> [u8; 32] {
    common::channel_key(S1).public()
}

#[test]
fn what_private_channels_carry_is_the_models() {
    for seed in 0..4 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let group = GroupConfig { slots: 1 + seed as u32 % 2, frame_bytes: 288, ..group(3, 130) };
        let mut config = private(vec![group.clone()]);
        config.front.executors = 1 + seed as usize % 2;
        config.fan_out.threads = 1 + seed as usize / 2 % 2;
        config.fan_out.slab_bytes = [16 << 10, 64 << 10][seed as usize / 2];
        config.fan_out.zero_copy = [ZeroCopy::Off, ZeroCopy::On][seed as usize % 2];
        config.fan_out.zero_copy_bytes_min = 4 << 10;
        let server = TestServer::start(config);
        let mut party = open(&server, &group, common::party::interleaved(130, 4, &mut rng), seed);
        for round in 1..=4 {
            for seat in 0..party.seats.len() {
                let users = party.seats[seat].users.clone();
                let stream: Vec<u8> =
                    users.iter().flat_map(|&user| party.model.submit(round, user)).collect();
                party.seats[seat].client.send_in_pieces(&stream, &mut rng);
            }
            party.expect(round);
        }
        assert_eq!(count(&server.metrics().handshakes), 4, "seed {seed}");
        assert_eq!(count(&server.metrics().handshakes_failed), 0, "seed {seed}");
    }
}

/// A stream of one byte a record: the key changes on the way, and nothing of it is lost.
#[test]
fn a_client_whose_records_need_a_further_key_is_heard() {
    let group = GroupConfig { slots: 256, frame_bytes: 2_032, ..group(1, 2) };
    let server = TestServer::start(private(vec![group.clone()]));
    let mut party = open(&server, &group, vec![vec![0], vec![1]], 1);
    for seat in 0..2 {
        let submission = party.model.submit(1, seat as u32);
        assert!(submission.len() as u64 > REKEY_RECORDS);
        let client = &mut party.seats[seat].client;
        for piece in submission.chunks(1 << 16) {
            let records: Vec<u8> = piece.chunks(1).flat_map(|byte| client.seal(byte)).collect();
            client.send_raw(&records);
        }
    }
    party.expect(1);
}

#[test]
fn whoever_talks_as_the_server_does_not_is_told_in_plain() {
    let group = group(1, 3);
    let server = TestServer::start(private(vec![group.clone()]));
    let mut party = open(&server, &group, vec![vec![0, 1, 2]], 1);
    let mut plain = Client::connect(server.address());
    plain.send(&hello_frame(S1, 1, &[0]));
    plain.expect_closed(Code::ChannelWanted);
    let mut byte = Client::connect(server.address());
    byte.send(&[3]);
    byte.expect_closed(Code::ChannelWanted);
    for at in [6, 7] {
        let mut wrong = first(s1_key(), Purpose::Client, S1);
        wrong[at] = 9;
        let mut client = Client::connect(server.address());
        client.send(&wrong);
        client.expect_closed(Code::ChannelUnknown);
    }
    party.play(1);
    drop((plain, byte, party));

    let server = TestServer::start(config(vec![group]));
    let mut client = Client::connect(server.address());
    client.send(&first(s1_key(), Purpose::Client, S1));
    client.expect_closed(Code::ChannelUnknown);
}

#[test]
fn a_handshake_for_another_key_side_or_purpose_is_refused() {
    let group = group(1, 3);
    let server = TestServer::start(private(vec![group.clone()]));
    let mut party = open(&server, &group, vec![vec![0, 1, 2]], 1);
    let other = common::channel_key(ServerSide::Two).public();
    for wrong in [
        first(other, Purpose::Client, S1),
        first(s1_key(), Purpose::Client, ServerSide::Two),
        first(s1_key(), Purpose::Link, S1),
    ] {
        let mut client = Client::connect(server.address());
        client.send(&wrong);
        client.expect_closed(Code::ChannelBroken);
    }
    assert_eq!(server.metrics().refusals(Code::ChannelBroken), 3);
    assert_eq!(count(&server.metrics().handshakes_failed), 3);
    party.play(1);
}

/// What is refused once the channel stands is said through it.
#[test]
fn a_refusal_after_the_handshake_is_sealed() {
    let server = TestServer::start(private(vec![group(1, 3)]));
    for (hello, code) in [
        (hello_frame(S1, 9, &[0]), Code::GroupUnknown),
        (hello_frame(ServerSide::Two, 1, &[0]), Code::SideWrong),
        (vec![0; 8], Code::VersionUnknown),
    ] {
        let mut client = Client::connect_private(server.address(), S1);
        client.send(&hello);
        client.expect_closed(code);
    }
}

#[test]
fn cut_handshakes_and_garbage_harm_nobody() {
    let group = group(1, 3);
    let server = TestServer::start(private(vec![group.clone()]));
    let mut party = open(&server, &group, vec![vec![0, 1], vec![2]], 1);
    for seed in 0..60 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut client = Client::connect(server.address());
        let mut garbage = vec![0; rng.random_range(1..300)];
        rng.fill_bytes(&mut garbage);
        let good = first(s1_key(), Purpose::Client, S1);
        match seed % 4 {
            // A good beginning that ends.
            0 => client.send(&good[..rng.random_range(1..good.len())]),
            // A first message that is damaged.
            1 => {
                let mut wrong = good;
                wrong[rng.random_range(8..good.len())] ^= 1 << rng.random_range(0..8);
                client.send(&wrong);
            }
            // A first message, and nonsense behind it.
            2 => client.send(&[&good[..], &garbage].concat()),
            _ => client.send(&garbage),
        }
        client.send_end();
        client.expect_any_end();
        party.play(1 + seed);
    }
}

/// Who begins and does not go on is told when its time is over: in plain before the handshake's end, sealed after it.
#[test]
fn a_slow_handshake_is_over_when_hello_should_have_come() {
    let mut config = private(vec![group(1, 3)]);
    config.limits.hello_timeout_ms = 2_000;
    let server = TestServer::start(config);
    let mut silent = Client::connect(server.address());
    let mut shaken = Client::connect_private(server.address(), S1);
    silent.expect_closed(Code::HelloTimeout);
    shaken.expect_closed(Code::HelloTimeout);
}

/// How an adversary on the way changes two records of a member.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip,
    Drop,
    Replay,
    Reorder,
    Length,
}

#[test]
fn a_record_that_is_changed_dropped_repeated_or_moved_ends_its_connection_alone() {
    for damage in [Damage::Flip, Damage::Drop, Damage::Replay, Damage::Reorder, Damage::Length] {
        let group = group(1, 4);
        let server = TestServer::start(private(vec![group.clone()]));
        let mut party = open(&server, &group, vec![vec![0, 1], vec![2, 3]], 1);
        party.play(1);
        let mut broken = party.take(1);
        let (mut one, two) = (broken.seal(&[3, 0, 0]), broken.seal(&[9, 9]));
        let bytes = match damage {
            Damage::Flip => {
                let last = one.len() - 1;
                one[last] ^= 1;
                one
            }
            Damage::Drop => two,
            Damage::Replay => [&one[..], &one].concat(),
            Damage::Reorder => [two, one].concat(),
            Damage::Length => vec![0, 16],
        };
        broken.send_raw(&bytes);
        let (end, last) = broken.drain();
        assert_eq!(end, End::Whole, "{damage:?}");
        let expected = error_frame(Code::ChannelBroken, u32::MAX, u32::MAX, 0);
        assert_eq!(last.as_deref(), Some(&expected[..]), "{damage:?}");
        assert_eq!(server.metrics().refusals(Code::ChannelBroken), 1, "{damage:?}");
        party.play(2);
        party.play(3);
        // Its members come again over another channel.
        let again = Client::connect_private(server.address(), S1);
        party.join_over(again, vec![2, 3]);
        party.submit_with_newcomers(4, 1);
        party.expect(4);
    }
}

#[test]
fn an_address_has_so_many_strangers_and_members_are_none() {
    let group = group(1, 3);
    let mut config = private(vec![group.clone()]);
    config.limits.strangers_per_address_max = 3;
    let server = TestServer::start(config);
    let mut party = open(&server, &group, vec![vec![0], vec![1], vec![2]], 1);
    let mut strangers: Vec<Client> = (0..3).map(|_| Client::connect(server.address())).collect();
    let mut refused = Client::connect(server.address());
    refused.expect_error(Code::StrangersFull, u32::MAX, u32::MAX, 0);
    assert_eq!(count(&server.metrics().strangers_refused), 1);
    party.play(1);
    strangers.pop();
    // There is room again once the server has seen that one go.
    wait_until("room for a stranger", || {
        let mut client = Client::connect(server.address());
        // A handshake's answer begins with its length, an ERROR with its version.
        client.send_if_open(&first(s1_key(), Purpose::Client, S1)) && client.first_byte() == Some(0)
    });
    party.play(2);
}

/// An address comes so often, whatever becomes of its connections: members go on, and who was refused may come again.
#[test]
fn an_address_whose_strangers_come_too_often_is_refused_and_members_are_not() {
    let group = group(1, 3);
    let mut config = private(vec![group.clone()]);
    config.limits.stranger_connections_per_second_max = 2;
    let server = TestServer::start(config);
    // All members come over one connection.
    let mut party = open(&server, &group, vec![vec![0, 1, 2]], 1);
    let begins = || {
        let mut client = Client::connect(server.address());
        // A handshake's answer begins with its length, an ERROR with its version.
        client.send_if_open(&first(s1_key(), Purpose::Client, S1));
        client.first_byte()
    };
    let refused = || begins() == Some(3);
    wait_until("a refusal", refused);
    assert!(count(&server.metrics().strangers_refused) >= 1);
    assert_eq!(
        server.metrics().refusals(Code::StrangersFull),
        count(&server.metrics().strangers_refused),
        "each is told why"
    );
    party.play(1);
    wait_until("the next second", || begins() == Some(0));
    wait_until("a refusal", refused);
    party.play(2);
}

#[test]
fn an_address_whose_strangers_send_too_much_is_refused_and_members_are_not() {
    let group = group(1, 3);
    // A HELLO may be as long as this group's members make it.
    let large = GroupConfig { members_max: 9_000, ..crate::common::group(2, 3) };
    let mut config = private(vec![group.clone(), large]);
    config.limits.stranger_bytes_per_second_max = 64 << 10;
    let server = TestServer::start(config);
    let mut party = open(&server, &group, vec![vec![0, 1], vec![2]], 1);
    let mut flood = Client::connect_private(server.address(), S1);
    // A HELLO that goes on and on.
    let mut hello = vec![3, 1, 0, 0];
    hello.extend((500_u32 << 10).to_le_bytes());
    hello.resize(256 << 10, 0);
    let _ = flood.send_if_open(&hello);
    assert!(matches!(flood.drain().0, End::Whole | End::Reset));
    wait_until("the refusal", || count(&server.metrics().strangers_refused) >= 1);
    for round in 1..4 {
        party.play(round);
    }
}

/// A member who reads little is sent the same records, whatever is taken back from its connection in between.
#[test]
fn a_member_who_reads_little_gets_every_byte() {
    let group = GroupConfig { frame_bytes: 1_008, ..group(1, 128) };
    let mut config = private(vec![group.clone()]);
    config.fan_out.slab_bytes = 16 << 10;
    config.fan_out.slabs = 2;
    let server = TestServer::start(config);
    let mut party = Party::new(server.address(), &group, S1, 1);
    for users in [0..64, 64..128] {
        let mut client = Client::connect_narrow(server.address());
        client.shake_hands(S1, Cipher::best());
        party.join_over(client, users.collect());
    }
    party.dial();
    party.expect_open();
    for round in 1..=3 {
        party.submit(round);
        party.expect(round);
    }
}
