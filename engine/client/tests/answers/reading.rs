//! What readers read when nobody disturbs them.

use super::{S1, S2, SHAPE, alarmed, alarms_of_next_round, heard};
use crate::model::{ANSWERED, EPOCH, Heard, World, id};
use twincast_client::{ClientError, Delivery, Event, Observer, Outbox, User};
use twincast_protocol::answer;
use twincast_protocol::error::ProtocolError;
use twincast_protocol::ids::{MemberIndex, RoundNumber, SlotIndex};

#[test]
fn everybody_reads_what_it_asked_for_whatever_the_pieces() {
    for seed in 0..4 {
        let mut world = World::opened(SHAPE, seed);
        (1..=3).for_each(|round| world.play(round));
        for player in &world.players {
            assert_eq!(player.record.closed(), [1, 2, 3], "seed {seed}");
            assert_eq!(player.record.read(), [1, 2, 3]);
            let closed = Event::RoundClosed {
                round: RoundNumber(2),
                skipped: [false; 2],
                timed_out: false,
                unagreed: [0; 2],
            };
            assert!(player.record.events.contains(&closed));
            assert_eq!(player.record.answers.len(), 3 * 3 * player.users.len());
        }
        assert!((1..=3).all(|round| alarmed(&world, round).is_empty()));
        let [one, two] = &world.servers;
        assert_eq!(one.shares, two.shares, "both get the same records");
    }
}

#[test]
fn two_queries_of_one_reader_may_ask_for_the_same_sender() {
    let mut world = World::new(SHAPE, 3);
    for player in &mut world.players {
        player.workload.reads = |members, reader, slot| (slot < 2).then_some((reader + 5) % members);
    }
    world.settle();
    world.open(1);
    world.play(1);
}

#[test]
fn cover_and_records_that_do_not_open_are_ignored_and_nobodys_are_absent() {
    let mut world = World::opened(SHAPE, 1);
    for player in &mut world.players {
        player.workload.cover.insert(id(11));
        player.workload.silent.extend([22, 63, 64, 69].map(id));
        player.record.cannot_open.insert(id(33));
    }
    world.submit(1);
    world.put_both(|server, users| server.round(1, users));
    world.give_all();
    let heard = heard(&world, 1);
    assert_eq!(heard.len(), 210);
    for ((reader, query), verdict) in &heard {
        match (reader, query) {
            (10 | 32, 0) | (_, 1..) => assert_eq!(*verdict, Heard::Ignore, "reader {reader}"),
            (21 | 62 | 63 | 68, 0) => assert_eq!(*verdict, Heard::Absent),
            _ => assert!(matches!(verdict, Heard::Accept(_)), "reader {reader}: {verdict:?}"),
        }
    }
    assert_eq!(world.servers[0].shares.len(), 66, "four sent nothing");
    assert_eq!(alarms_of_next_round(&mut world, 2), [0; 0], "no reason for an alarm");
}

#[test]
fn who_cannot_verify_takes_nothing_for_true() {
    let mut world = World::opened(ANSWERED, 1);
    world.players[0].record.cannot_verify.insert(id(1));
    world.submit(1);
    world.put_both(|server, users| server.round(1, users));
    world.give_all();
    assert_eq!(world.players[0].record.answers[&(1, 0, 0)], (Some(id(1)), Heard::Incomplete));
    assert_eq!(
        alarms_of_next_round(&mut world, 2),
        [0; 0],
        "an alarm with some targets only would name them"
    );
}

#[test]
fn a_record_holds_what_the_group_says_and_no_more() {
    let mut world = World::opened(ANSWERED, 2);
    let player = &mut world.players[0];
    let group = *player.client.group().expect("attached");
    assert_eq!((group.delivery, group.slots), (Delivery::Answer, 2));
    for sealed in [false, true] {
        assert_eq!(group.message_bytes_max(sealed), answer::message_bytes_max());
    }
    player.workload.text = Some(vec![7; answer::message_bytes_max()]);
    world.submit(1);
    world.put_both(|server, users| server.round(1, users));
    world.give_all();
    let long = Heard::Accept(vec![7; answer::message_bytes_max()]);
    assert_eq!(world.players[1].record.answers[&(1, 1, 0)], (Some(id(2)), long));
    let player = &mut world.players[0];
    player.workload.text = Some(vec![7; answer::message_bytes_max() + 1]);
    assert!(player.client.submit().is_some());
    let end = player.client.outgoing(S1, &mut world.rng, &mut player.workload).expect_err("too long");
    let expected = |sender| ClientError::Message {
        sender,
        slot: SlotIndex(0),
        round: RoundNumber(2),
        reason: ProtocolError::MessageTooLong { bytes: 270, bytes_max: 269 },
    };
    assert_eq!(end, expected(id(0)));
}

#[test]
fn debug_shows_no_target() {
    let mut world = World::opened(ANSWERED, 1);
    world.submit(1);
    world.put_both(|server, users| server.round(1, users));
    let player = &mut world.players[0];
    player.give(S1, usize::MAX, world.now).expect("good");
    player.give(S2, usize::MAX, world.now).expect("good");
    let user = User { position: 0, id: id(0), member: MemberIndex(0) };
    let author = player.workload.author(RoundNumber(1), user).expect("it has something to say");
    assert_eq!(format!("{author:?}"), "Author { .. }");
    let known = player.record.known(EPOCH, user, id(1)).expect("it knows everybody");
    assert_eq!(format!("{known:?}"), "Known { .. }");
    let shown = format!("{:?}", player.client);
    for hidden in ["Sender", "target", "recipient", "queries", "dial"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}
