//! Sizes, order and time of what a client sends, and what its queries are.

use super::{S1, S2, SHAPE, alarmed, heard};
use crate::model::{ANSWERED, EPOCH, Heard, Reads, World, frames};
use std::collections::BTreeSet;
use std::time::Duration;
use twincast_protocol::ids::{MemberIndex, RoundNumber, ServerSide};
use twincast_protocol::wire::Code;

#[test]
fn what_a_reader_sends_does_not_wait_for_its_verdicts() {
    ServerSide::BOTH.into_iter().for_each(send_before_reading);
}

/// `first` gets everything before the other server does.
fn send_before_reading(first: ServerSide) {
    let mut world = World::opened(SHAPE, 4);
    world.submit(1);
    world.put_both(|server, users| server.round(1, users));
    let now = world.now;
    let player = &mut world.players[0];
    for side in ServerSide::BOTH {
        while player.record.closed().is_empty() && player.give(side, 10_000, now).expect("good") > 0 {}
    }
    assert_eq!(player.record.closed(), [1], "the round is closed");
    assert!(player.record.answers.is_empty(), "nothing is read yet");
    assert_eq!(player.client.deadline(), Some(Duration::ZERO), "it is to be read at once");
    assert_eq!(player.client.submit(), Some(RoundNumber(2)));
    // Even who asks too early is not kept waiting: the records come first.
    player.client.advance(now, &mut player.record).expect("good");
    assert!(player.record.answers.is_empty());
    assert_ne!(player.client.deadline(), Some(Duration::ZERO));
    let users = player.users.len();
    let all = users * (8 + 16 + 352);
    assert_eq!(player.outgoing(first, &mut world.rng).len(), all, "one server has everything");
    // Records are made for both; to the other server they are on their way.
    let second = first.other();
    for (left, some) in [(all, 1), (all - 1, all - 2), (1, 1)] {
        player.client.advance(now, &mut player.record).expect("good");
        assert!(player.record.answers.is_empty(), "{second} has not got {left} bytes");
        assert_ne!(player.client.deadline(), Some(Duration::ZERO));
        let unsent = player.client.outgoing(second, &mut world.rng, &mut player.workload).expect("good");
        assert_eq!(unsent.len(), left);
        player.client.sent(second, some);
    }
    assert_eq!(player.client.deadline(), Some(Duration::ZERO));
    player.client.advance(now, &mut player.record).expect("good");
    assert_eq!((player.record.answers.len(), player.record.read()), (3 * users, vec![1]));
    assert_eq!(player.client.deadline(), None);
}

#[test]
fn verdicts_come_also_to_a_caller_who_never_sends() {
    let mut world = World::opened(ANSWERED, 4);
    world.submit(1);
    for round in 1..=3 {
        world.put_both(|server, users| server.round(round, users));
        let player = &mut world.players[0];
        let _ = player.client.submit();
        player.give_all(&mut world.rng, world.now).expect("good");
    }
    assert_eq!(world.players[0].record.closed(), [1, 2, 3]);
    assert_eq!(world.players[0].record.read(), [1, 2, 3], "late, and in order");
}

#[test]
fn query_counts_and_sizes_do_not_depend_on_use() {
    let uses: [Reads; 5] = [
        |_, _, _| None,
        |members, reader, slot| Some((reader + slot + 1) % members),
        |_, _, _| Some(3),
        |_, reader, _| Some(reader),
        |_, reader, slot| (reader % 2 == 0 && slot == 1).then_some(0),
    ];
    let frames = uses.map(|reads| {
        let mut world = World::new(SHAPE, 9);
        let mut sent: Vec<(usize, u8, usize)> = Vec::new();
        for player in &mut world.players {
            player.workload.reads = reads;
        }
        let record = |world: &mut World, sent: &mut Vec<(usize, u8, usize)>| {
            for side in ServerSide::BOTH {
                let player = &mut world.players[0];
                let bytes = player.outgoing(side, &mut world.rng);
                sent.extend(frames(&bytes).into_iter().map(|(kind, length)| (side.index(), kind, length)));
                let answers = world.servers[side.index()].take(0, &bytes);
                world.players[0].coming[side.index()].extend(answers);
            }
            world.carry_one(1, S1);
            world.carry_one(1, S2);
            world.give_all();
        };
        (0..4).for_each(|_| record(&mut world, &mut sent));
        world.open(1);
        for round in 1..=3 {
            for player in &mut world.players {
                assert!(player.client.submit().is_some());
            }
            record(&mut world, &mut sent);
            world.put_both(|server, users| server.round(round, users));
            world.give_all();
            record(&mut world, &mut sent);
        }
        assert!((1..=3).all(|round| alarmed(&world, round).is_empty()));
        sent
    });
    let users = World::new(SHAPE, 9).players[0].users.len();
    let of_kind = |kind| frames[0].iter().filter(|frame| (frame.0, frame.1) == (0, kind)).count();
    assert_eq!(
        (of_kind(0x02), of_kind(0x05)),
        (3 * users, 3 * users),
        "K dials a user, and a record a round"
    );
    for other in &frames[1..] {
        assert_eq!(*other, frames[0]);
    }
}

#[test]
fn queries_differ_in_the_one_member_asked_for_or_in_none() {
    let world = World::opened(SHAPE, 2);
    let [one, two] = &world.servers;
    assert_eq!(one.keys.len(), 210);
    for ((epoch, member, slot), (key, number)) in &one.keys {
        let (other, same) = &two.keys[&(*epoch, *member, *slot)];
        let differ: Vec<u32> =
            (0..70).filter(|bit| key.bit(MemberIndex(*bit)) != other.bit(MemberIndex(*bit))).collect();
        let asked: Vec<u32> = if *slot == 0 { vec![(member + 1) % 70] } else { vec![] };
        assert_eq!((differ, number), (asked, same));
    }
    let vectors: BTreeSet<&[u8]> = one.keys.values().map(|(key, _)| key.as_bytes()).collect();
    assert_eq!(vectors.len(), 210, "fresh coins for every dial");
}

/// A server that keeps a dial to itself learns nothing from the alarm: there is none, used or not.
#[test]
fn a_query_that_is_not_known_to_be_in_effect_decides_nothing() {
    for reads in [(|_, _, _| None) as Reads, |_, _, _| Some(3)] {
        let mut world = World::new(ANSWERED, 3);
        for player in &mut world.players {
            player.workload.reads = reads;
        }
        world.servers[1].answers_dials = false;
        world.settle();
        world.open(1);
        world.put_both(|server, users| server.round(1, users));
        world.give_all();
        let heard = heard(&world, 1);
        assert!(heard.len() == 10 && heard.iter().all(|(_, verdict)| *verdict == Heard::Incomplete));
    }
}

#[test]
fn a_void_query_is_sent_once_more_the_same() {
    let mut world = World::new(ANSWERED, 3);
    world.servers.iter_mut().for_each(|server| server.answers_dials = false);
    world.settle();
    let place = (EPOCH.0, 0, 0);
    let before = world.servers.each_mut().map(|server| {
        server.answers_dials = true;
        server.keys.remove(&place).expect("dialled")
    });
    for coming in &mut world.players[0].coming {
        coming.extend(Code::DialHalf.frame(0, 0, 0));
    }
    world.settle();
    for (server, before) in world.servers.iter().zip(before) {
        assert!(server.keys[&place] == before, "another vector would show its server what it asks for");
    }
}
