//! Clients that talk to both servers over private channels.

mod model;

use model::{ANSWERED, EPOCH, Ends, GROUP, Player, SHARE_BYTES, SMALL, Shape, Workload, World, settings};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;
use twincast_client::{ChannelSettings, ClientError, ClientSettings, Event};
use twincast_protocol::channel::{ChannelError, SECOND_BYTES};
use twincast_protocol::identity::SigningKey;
use twincast_protocol::ids::{ServerSide, UserId};
use twincast_protocol::statements::{Binding, attach};
use twincast_protocol::wire::{Code, EPOCH_ANY, HEADER_BYTES, Header, Hello, Kind};

const SHAPE: Shape = Shape { members: 70, slots: 2, confirm_tile_senders: 4, ..SMALL };
const S1: ServerSide = ServerSide::One;
const S2: ServerSide = ServerSide::Two;

#[test]
fn groups_play_rounds_whatever_the_pieces_and_the_records() {
    for seed in 0..4 {
        for shape in [SHAPE, ANSWERED, Shape { key_tile_senders: 4, ..SMALL }] {
            let mut world = World::opened_privately(shape, seed);
            (1..=3).for_each(|round| world.play(round));
            for player in &world.players {
                assert_eq!(player.record.closed(), [1, 2, 3], "seed {seed}");
                assert_eq!(player.record.sum(|verdicts| verdicts.tampered), 0, "seed {seed}");
            }
        }
    }
}

#[test]
fn bytes_may_come_one_by_one() {
    let mut world = World::private(SMALL, 1);
    let one_by_one = |world: &mut World| {
        for player in &mut world.players {
            while ServerSide::BOTH.iter().any(|side| player.give(*side, 1, world.now).unwrap() > 0) {}
        }
    };
    for _ in 0..4 {
        world.carry();
        one_by_one(&mut world);
    }
    world.exchange_parts(EPOCH);
    world.open(1);
    world.submit(1);
    world.put_both(|server, users| server.round(1, users));
    one_by_one(&mut world);
    for player in &world.players {
        player.record.check_round(SMALL, 1, &player.users, world.roster());
    }
}

#[test]
fn one_server_may_be_ahead_as_far_as_the_buffers_go_and_nothing_is_lost() {
    for pieces in [true, false] {
        let mut world = World::opened_privately(SHAPE, 1);
        world.ends.as_mut().unwrap().pieces = pieces;
        world.submit(1);
        world.put_both(|server, users| server.round(1, users));
        for player in &mut world.players {
            let all = player.coming[0].len();
            while player.give(S1, usize::MAX, world.now).unwrap() > 0 {}
            let ahead = all - player.coming[0].len();
            assert!(ahead >= player.users.len().min(3) * 64 * SHARE_BYTES, "{ahead} bytes ahead");
            assert!(player.record.verdicts.is_empty());
            // Without a byte of use for a while the buffer grows, up to what the caller allows.
            for wait in 1..=4 {
                let later = world.now + wait * Duration::from_secs(1);
                while player.give(S1, usize::MAX, later).unwrap() > 0 {}
            }
            assert!(player.coming[0].is_empty(), "{} bytes are left", player.coming[0].len());
        }
        world.now += Duration::from_secs(5);
        world.give_all();
        for player in &world.players {
            player.record.check_round(SHAPE, 1, &player.users, world.roster());
        }
    }
}

/// A world in which round 1 is on its way from both servers, and where the first client's next records of S1 begin.
fn on_its_way(seed: u64) -> (World, Vec<usize>) {
    let mut world = World::opened_privately(SHAPE, seed);
    world.play(1);
    world.submit(2);
    world.put_both(|server, users| server.round(2, users));
    let coming = &world.players[0].coming[0];
    let mut starts = vec![0];
    while let Some(length) = coming[*starts.last().unwrap()..].first_chunk() {
        starts.push(starts.last().unwrap() + 2 + usize::from(u16::from_be_bytes(*length)));
    }
    assert_eq!(starts.pop(), Some(coming.len()));
    (world, starts)
}

/// What is done to a server's bytes, whose records begin at those places.
type Mischief = fn(&mut Vec<u8>, &[usize]);

#[test]
fn what_is_changed_dropped_repeated_or_moved_on_the_way_ends_the_connection_and_new_ones_mend_it() {
    let all: [Mischief; 5] = [
        |coming, starts| coming[starts[3] + 7] ^= 0x10,
        |coming, starts| drop(coming.drain(starts[2]..starts[3])),
        |coming, starts| {
            let again = coming[starts[1]..starts[2]].to_vec();
            coming.splice(starts[2]..starts[2], again);
        },
        |coming, starts| {
            let moved: Vec<u8> = coming.drain(starts[1]..starts[2]).collect();
            let at = starts[3] - moved.len();
            coming.splice(at..at, moved);
        },
        // The last byte of a tag.
        |coming, starts| coming[starts[4] - 1] ^= 1,
    ];
    for (seed, mischief) in all.into_iter().enumerate() {
        let (mut world, starts) = on_its_way(seed as u64);
        mischief(&mut world.players[0].coming[0], &starts);
        let broken = ClientError::Channel { server: S1, reason: ChannelError::RecordChanged };
        let (rng, now) = (&mut world.rng, world.now);
        let player = &mut world.players[0];
        assert_eq!(player.give_all(rng, now), Err(broken.clone()), "mischief {seed}");
        // Some of the round came before it, and none of what did is wrong.
        assert!(!player.record.closed().contains(&2));
        assert_eq!(player.record.sum(|verdicts| verdicts.tampered), 0);
        let end = player.client.outgoing(S1, rng, &mut player.workload).map(|_| ());
        assert_eq!(end, Err(broken));
        world.reconnect(0);
        for round in 2..=3 {
            world.servers.iter_mut().for_each(|server| server.round = round + 1);
        }
        world.settle();
        world.servers.iter_mut().for_each(|server| server.round = 4);
        let _ = world.players.iter_mut().map(|player| player.client.submit()).count();
        world.settle();
        let attached = |event: &&Event| matches!(event, Event::Attached(_));
        assert_eq!(world.players[0].record.events.iter().filter(attached).count(), 2, "mischief {seed}");
    }
}

#[test]
fn a_length_that_no_record_has_is_named() {
    for length in [0u16, 16, 16_383, u16::MAX] {
        let (mut world, starts) = on_its_way(9);
        let player = &mut world.players[0];
        player.coming[0][starts[1]..starts[1] + 2].copy_from_slice(&length.to_be_bytes());
        let reason = ChannelError::RecordLength { bytes: length.into() };
        let end = player.give_all(&mut world.rng, world.now);
        assert_eq!(end, Err(ClientError::Channel { server: S1, reason }));
    }
}

#[test]
fn whoever_does_not_hold_the_pinned_key_is_found_out() {
    let mut rng = StdRng::seed_from_u64(3);
    let (real, mut other) = (Ends::new(&mut rng), Ends::new(&mut rng));
    // Somebody on the way pins their own key on the client's first message, and cannot answer it.
    let mut client = player(real.settings());
    let mut relayed = player(other.settings());
    client.outgoing(S2, &mut rng);
    let first = relayed.outgoing(S2, &mut rng);
    let (_, second) = other.take(0, S2, &first, &mut rng);
    client.coming[1] = second;
    let reason = ChannelError::NotThePinnedKey;
    let end = client.give_all(&mut rng, Duration::ZERO);
    assert_eq!(end, Err(ClientError::Channel { server: S2, reason }));
    assert!(end.unwrap_err().to_string().contains("S2"));
}

fn player(channel: ChannelSettings) -> Player {
    let server = model::Server::new(S1, SMALL);
    Player::with(SMALL, ClientSettings { channel, ..settings() }, vec![model::id(0), model::id(3)], &server)
}

#[test]
fn refusals_before_there_is_a_channel_are_told_and_what_they_say_is_not_believed() {
    let mut rng = StdRng::seed_from_u64(4);
    for code in Code::ALL {
        for most in [1, usize::MAX] {
            let mut client = player(Ends::new(&mut rng).settings());
            client.outgoing(S1, &mut rng);
            let mut frame = code.frame(7, 8, 9).to_vec();
            let sentence = frame.len() - 3;
            frame[sentence..].copy_from_slice(b"???");
            client.coming[0] = [&frame[..], b"and more"].concat();
            let end = loop {
                match client.give(S1, most, Duration::ZERO) {
                    Ok(0) => break Ok(()),
                    Ok(_) => {}
                    Err(error) => break Err(error),
                }
            };
            let before_channel = [
                Code::ChannelWanted,
                Code::ChannelUnknown,
                Code::ChannelBroken,
                Code::StrangersFull,
                Code::ConnectionsFull,
                Code::HelloTimeout,
                Code::ShuttingDown,
            ];
            if !before_channel.contains(code) {
                let reason = ChannelError::NotAChannel;
                assert_eq!(end, Err(ClientError::Channel { server: S1, reason }), "{code:?}");
                continue;
            }
            end.unwrap();
            let [event @ Event::Refused { server: S1, sentence, sender: None, closes: true, .. }] =
                &client.record.events[..]
            else {
                panic!("{code:?}: {:?}", client.record.events);
            };
            assert_eq!(event.code(), Some(*code));
            assert!(
                sentence.starts_with(code.sentence()) && sentence.contains("not authenticated"),
                "{sentence}"
            );
            assert!(client.outgoing(S1, &mut rng).is_empty(), "there is nobody to talk to");
        }
    }
}

#[test]
fn servers_that_talk_in_the_clear_or_say_nonsense_are_named() {
    let mut rng = StdRng::seed_from_u64(5);
    let welcome = model::Server::new(S2, SMALL).welcome();
    let welcome = twincast_protocol::wire::Body::frame(&welcome).to_vec();
    let mut long = Code::ChannelUnknown.frame(0, 0, 0).to_vec();
    long[5] = 0x40;
    for nonsense in [welcome, long, b"HTTP/1.1 400 Bad Request".to_vec(), vec![0; 64], vec![0xff; 9]] {
        let mut client = player(Ends::new(&mut rng).settings());
        client.outgoing(S2, &mut rng);
        client.coming[1] = nonsense.clone();
        let end = client.give_all(&mut rng, Duration::ZERO);
        let reason = ChannelError::NotAChannel;
        assert_eq!(end, Err(ClientError::Channel { server: S2, reason }), "{nonsense:?}");
    }
}

#[test]
fn garbage_never_panics_a_client_and_ends_it() {
    for seed in 0..200 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut ends = Ends::new(&mut rng);
        let mut client = player(ends.settings());
        let first = client.outgoing(S1, &mut rng);
        let (_, mut coming) = ends.take(0, S1, &first, &mut rng);
        if rng.random() {
            let at = rng.random_range(0..SECOND_BYTES);
            coming[at] ^= rng.random_range(1..=255u8);
        }
        coming.extend((0..rng.random_range(17_000..40_000)).map(|_| rng.random::<u8>()));
        client.coming[0] = coming;
        let end = client.give_all(&mut rng, Duration::ZERO);
        assert!(matches!(end, Err(ClientError::Channel { server: S1, .. })), "seed {seed}: {end:?}");
    }
}

/// What a client says first, over a channel or in the clear: the whole HELLO.
fn hello_of(client: &mut Player, ends: Option<&mut Ends>, side: ServerSide, rng: &mut StdRng) -> Vec<u8> {
    let first = client.outgoing(side, rng);
    let Some(ends) = ends else { return first };
    let (said, second) = ends.take(0, side, &first, rng);
    assert!(said.is_empty(), "nothing is said before there is a channel");
    client.coming[side.index()].extend(second);
    client.give_all(rng, Duration::ZERO).unwrap();
    let third = client.outgoing(side, rng);
    ends.take(0, side, &third, rng).0
}

#[test]
fn users_prove_who_they_are_on_this_channel_alone() {
    let mut rng = StdRng::seed_from_u64(6);
    for private in [false, true] {
        let mut ends = Ends::new(&mut rng);
        let mut client = player(if private { ends.settings() } else { ChannelSettings::Plain });
        let mut peers = Vec::new();
        for seed in [20, 21] {
            client.workload.identities =
                client.ids.iter().map(|user| (*user, SigningKey::from_seed(&[seed; 32]))).collect();
            let mut proofs_before = Vec::new();
            for side in ServerSide::BOTH {
                let hello = hello_of(&mut client, private.then_some(&mut ends), side, &mut rng);
                let header = Header::parse(hello.first_chunk().unwrap()).unwrap();
                assert_eq!((header.kind, hello.len()), (Kind::Hello, HEADER_BYTES + 16 + 2 * (4 + 64)));
                let (_, of, users, proofs) = Hello::read(&hello[HEADER_BYTES..]).unwrap();
                assert_eq!((of, &users), (side, &client.ids));
                let binding = if private { ends.up(0, side).binding } else { Binding::PLAIN };
                for (user, proof) in users.iter().zip(proofs) {
                    let key = client.workload.identities[user].verifying_key();
                    assert!(key.verify(&attach(&binding, GROUP, EPOCH_ANY, *user), proof));
                    assert!(!key.verify(&attach(&binding, GROUP, EPOCH_ANY, UserId(1)), proof));
                }
                if private {
                    assert!(!proofs_before.contains(&proofs[0]), "a proof is of use to one server alone");
                    peers.push(ends.up(0, side).peer);
                }
                proofs_before.push(proofs[0]);
            }
            ends.forget(0);
            client.coming = Default::default();
            client.client.reconnect();
        }
        let all = peers.len();
        peers.sort_unstable();
        peers.dedup();
        assert_eq!(peers.len(), all, "nobody is known by the key of a connection");
    }
}

#[test]
fn without_a_key_of_every_user_there_are_no_proofs() {
    let mut rng = StdRng::seed_from_u64(7);
    let mut ends = Ends::new(&mut rng);
    let mut client = player(ends.settings());
    let first = client.ids[0];
    client.workload.identities = [(first, SigningKey::from_seed(&[1; 32]))].into();
    let hello = hello_of(&mut client, Some(&mut ends), S1, &mut rng);
    let (head, _, _, proofs) = Hello::read(&hello[HEADER_BYTES..]).unwrap();
    assert_eq!((head.proofs, proofs.len()), (0, 0));
}

#[test]
fn the_sizes_of_what_is_sent_depend_on_neither_recipients_nor_messages() {
    let sizes = |text: Vec<u8>, besides: Vec<UserId>| -> Vec<Vec<usize>> {
        let mut world = World::private(SHAPE, 8);
        for player in &mut world.players {
            player.workload.text = Some(text.clone());
            player.workload.besides = besides.clone();
        }
        world.settle();
        world.exchange_parts(EPOCH);
        world.open(1);
        for round in 1..=3 {
            world.submit(round);
            world.put_both(|server, users| server.round(round, users));
            world.give_all();
        }
        let mut of =
            |connection, side: ServerSide| world.ends.as_mut().unwrap().up(connection, side).sizes.clone();
        [(0, S1), (0, S2), (1, S1), (1, S2)].map(|(connection, side)| of(connection, side)).into()
    };
    let cover = sizes(Vec::new(), Vec::new());
    let words = sizes(Workload::text(1, UserId(1), 0), (0..20).map(model::id).collect());
    assert_eq!(cover, words);
    assert!(cover.iter().all(|sizes| sizes.len() > 5));
}
