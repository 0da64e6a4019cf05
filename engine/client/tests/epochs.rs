//! Epochs that follow each other, users who join and leave, and servers that give everything up.

mod model;

use model::{EPOCH, SMALL, Shape, World, id};
use rand::RngExt;
use std::collections::BTreeSet;
use twincast_client::Event;
use twincast_protocol::ids::{Epoch, MemberIndex, RoundNumber, ServerSide, SlotIndex, UserId};
use twincast_protocol::parts::PartKind;
use twincast_protocol::wire::{Body, Code, Dialled};

const SHAPE: Shape = Shape { members: 70, slots: 2, confirm_tile_senders: 8, ..SMALL };
const NEXT: Epoch = Epoch(EPOCH.0 + 1);

fn users(shape: Shape) -> Vec<UserId> {
    (0..shape.members).map(id).collect()
}

#[test]
fn an_epoch_follows_the_other_and_every_slot_is_dialled_anew() {
    for seed in 0..4 {
        let mut world = World::opened(SHAPE, seed);
        world.play(1);
        let epoch = world.announce(&users(SHAPE), 4);
        (2..=3).for_each(|round| world.play(round));
        assert!(
            world.players.iter_mut().all(|player| player.client.submit().is_none()),
            "round 4 is the next's"
        );
        world.switch(epoch, 4);
        (4..=5).for_each(|round| world.play(round));
        for player in &world.players {
            let events = &player.record.events;
            let announced = Event::Announced { epoch: NEXT, first_round: RoundNumber(4), members: 70 };
            assert!(events.contains(&announced), "seed {seed}");
            assert!(events.contains(&Event::Dialled { epoch: NEXT }));
            let cells = player.users.len() as u64 * 140;
            let (first_round, confirmed) = (RoundNumber(4), cells);
            assert!(events.contains(&Event::EpochOpen { epoch: NEXT, first_round, confirmed, failed: 0 }));
            assert_eq!(player.record.closed(), [1, 2, 3, 4, 5]);
            assert_eq!(player.client.epoch(), Some(NEXT));
            assert_eq!(player.client.roster(NEXT).map(<[UserId]>::len), Some(70));
        }
        let [one, two] = &world.servers;
        for ((epoch, sender, slot), (key, number)) in &one.keys {
            let (other, same) = &two.keys[&(*epoch, *sender, *slot)];
            assert_eq!(number, same, "one number for a dial at both servers");
            assert_ne!(key.as_bytes(), other.as_bytes());
        }
        let numbers: BTreeSet<u64> = one.keys.values().map(|(_, number)| *number).collect();
        assert_eq!(numbers.len(), 280, "a number for every dial, seed {seed}");
    }
}

#[test]
fn one_server_may_be_an_epoch_ahead() {
    let mut world = World::opened(SHAPE, 5);
    let epoch = world.announce(&users(SHAPE), 2);
    world.put_both(|server, _| server.grants_of(epoch, PartKind::Confirmation));
    world.settle();
    // S1 is through with round 1 and the parts of the next epoch before S2 has said anything.
    world.submit(1);
    world.put(ServerSide::One, |server, users| server.round(1, users));
    world.give_all();
    for side in ServerSide::BOTH {
        if side == ServerSide::Two {
            world.put(side, |server, users| server.round(1, users));
        }
        world.put(side, |server, users| server.all_parts(epoch, PartKind::Confirmation, users));
        world.servers[side.index()].epoch = epoch;
        world.put(side, |server, _| server.open(2));
        if side == ServerSide::One {
            world.put(side, |server, _| server.skip(2));
        }
        world.give_all();
    }
    world.put(ServerSide::Two, |server, _| server.skip(2));
    world.give_all();
    for player in &world.players {
        player.record.check_round(SHAPE, 1, &player.users, &users(SHAPE));
        assert_eq!(player.record.closed(), [1, 2]);
        let open = Event::EpochOpen {
            epoch,
            first_round: RoundNumber(2),
            confirmed: player.users.len() as u64 * 140,
            failed: 0,
        };
        assert!(player.record.events.contains(&open), "{:?}", player.record.events);
    }
}

#[test]
fn users_join_and_leave_at_an_epochs_start() {
    let shape = Shape { slots: 1, ..SHAPE };
    let mut world = World::opened(shape, 6);
    let newcomer = world.join(vec![UserId(1), UserId(9000)], true);
    let patient = world.join(vec![UserId(9001)], true);
    world.servers.iter_mut().for_each(|server| (server.open, server.round) = (true, 1));
    world.settle();
    let (leaver, stranger) = (id(4), UserId(123_456));
    let connection = usize::from(!world.players[0].ids.contains(&leaver));
    assert!(world.players[connection].client.leave(leaver) && world.players[connection].client.leave(leaver));
    assert!(!world.players[connection].client.leave(stranger));
    world.settle();
    assert!(world.servers.iter().all(|server| server.leaves == [leaver]));

    let mut roster: Vec<UserId> = users(shape).into_iter().filter(|user| *user != leaver).collect();
    roster.extend([UserId(1), UserId(9000)]);
    roster.sort();
    let epoch = world.announce(&roster, 2);
    assert_eq!(world.players[newcomer].client.round(), Some(RoundNumber(1)), "it sees rounds go by");
    world.players.iter_mut().for_each(|player| assert!(player.client.submit().is_some()));
    world.settle();
    world.put_both(|server, users| server.round(1, users));
    world.give_all();
    world.switch(epoch, 2);
    (2..=3).for_each(|round| world.play(round));

    let left = Event::Left { epoch, user: leaver };
    let has = |position: usize, event: &Event| world.players[position].record.events.contains(event);
    assert!(has(connection, &left) && !has(1 - connection, &left));
    assert!(has(patient, &Event::NotAdmitted { epoch, user: UserId(9001) }));
    assert!(!world.players[newcomer].record.events.iter().any(|e| matches!(e, Event::NotAdmitted { .. })));
    assert_eq!(world.players[newcomer].record.closed(), [1, 2, 3]);
    assert_eq!(world.players[patient].record.closed(), [1, 2, 3]);
    assert!(world.players[patient].record.verdicts.is_empty(), "no cells for who is no member");
    let of_newcomer = world.players[newcomer].record.verdicts.keys().filter(|key| key.0 == 2).count();
    assert_eq!(of_newcomer, 2 * 2, "two users, two tiles");
}

#[test]
fn a_recipient_who_is_no_member_is_left_out_and_told() {
    let mut world = World::new(SMALL, 7);
    world.players[0].workload.besides = vec![UserId(77)];
    world.settle();
    world.exchange_parts(EPOCH);
    world.open(1);
    world.play(1);
    let gone = |event: &&Event| matches!(event, Event::RecipientGone { recipient: UserId(77), .. });
    let told = world.players[0].record.events.iter().filter(gone).count();
    assert_eq!(told, world.players[0].ids.len());
}

#[test]
fn a_dial_that_only_one_server_has_is_void_told_once_and_sent_again() {
    let shape = Shape { confirm_tile_senders: 0, ..SMALL };
    let mut world = World::new(shape, 8);
    world.servers[0].answers_dials = false;
    world.settle();
    let (sender, void) = (world.players[0].users[1], world.players[0].ids[1]);
    for server in &mut world.servers {
        let (_, first) = server.keys.remove(&(EPOCH.0, sender.0, 0)).expect("dialled");
        world.players[0].coming[server.side.index()].extend(&Code::DialHalf.frame(sender.0, 0, 0));
        if server.side == ServerSide::One {
            server.lost.insert((EPOCH.0, 0, first as u32, (first >> 32) as u32));
        }
    }
    world.settle();
    let [one, two] = world.servers.each_ref().map(|server| server.keys[&(EPOCH.0, sender.0, 0)].1);
    assert_eq!(one, two);
    assert!(world.servers[0].lost.contains(&(EPOCH.0, 0, one as u32, (one >> 32) as u32)), "the same number");
    // S1 reports all of them now.
    let dials: Vec<_> = world.servers[0].keys.iter().map(|(place, (_, number))| (*place, *number)).collect();
    for ((_, member, slot), number) in dials {
        let frame = Dialled::new(number, EPOCH, MemberIndex(member), SlotIndex(slot));
        let owner = world.players.iter().position(|player| player.users.contains(&MemberIndex(member)));
        let bytes = frame.frame();
        world.players[owner.expect("somebody")].coming[0].extend_from_slice(&bytes);
    }
    world.give_all();
    world.open(1);
    world.play(1);
    let slot = SlotIndex(0);
    let told = Event::DialVoid { epoch: EPOCH, sender: void, slot };
    assert_eq!(world.players[0].record.events.iter().filter(|event| **event == told).count(), 1);
    assert!(
        world.players.iter().all(|player| player.record.events.contains(&Event::Dialled { epoch: EPOCH }))
    );
}

#[test]
fn who_has_a_dial_at_one_server_only_does_not_submit() {
    let shape = Shape { confirm_tile_senders: 0, ..SMALL };
    let mut world = World::new(shape, 9);
    world.carry();
    world.give_all();
    world.servers[1].answers_dials = false;
    world.settle();
    world.open(1);
    world.submit(1);
    assert!(world.servers.iter().all(|server| server.shares.is_empty()));
    assert!(world.players.iter().all(|player| player.workload.submitted.is_empty()));
}

#[test]
fn servers_that_give_everything_up_begin_another_epoch() {
    let mut world = World::opened(SHAPE, 10);
    world.play(1);
    let given_up = world.announce(&users(SHAPE), 3);
    world.submit(2);
    world.put(ServerSide::One, |server, users| server.round(2, users));
    world.put(ServerSide::Two, |server, users| server.tile(2, 0, 0, users));
    world.give_all();
    let epoch = Epoch(given_up.0 + 1);
    world.put_both(|_, _| Code::EpochMismatch.frame(u32::MAX, u32::MAX, 0).to_vec());
    world.announce_only(epoch, &users(SHAPE), 9);
    world.settle();
    for player in &world.players {
        assert_eq!(player.record.closed(), [1, 2]);
        assert_eq!(player.record.verdicts[&(2, 0, 0, player.users[0].0)].incomplete, 0, "both delivered it");
        assert_eq!(player.record.verdicts[&(2, 1, 1, player.users[0].0)].incomplete, 0b11_1111);
        assert_eq!(player.client.epoch(), Some(epoch));
        assert!(player.client.roster(given_up).is_none());
        assert!(player.record.events.contains(&Event::Dialled { epoch }));
    }
    world.switch(epoch, 9);
    (9..=10).for_each(|round| world.play(round));
}

#[test]
fn an_announcement_that_is_made_again_replaces_the_first() {
    let mut world = World::opened(SHAPE, 11);
    let epoch = world.announce(&users(SHAPE), 2);
    world.play(1);
    assert!(world.players[0].client.submit().is_none(), "round 2 is the next epoch's");
    world.put_both(|_, _| Code::PeerAbsent.frame(u32::MAX, u32::MAX, 0).to_vec());
    world.give_all();
    (2..=3).for_each(|round| world.play(round));
    for server in &mut world.servers {
        server.keys.retain(|place, _| place.0 != epoch.0);
    }
    let again = world.announce(&users(SHAPE), 5);
    assert_eq!(again, epoch);
    world.play(4);
    world.switch(epoch, 5);
    world.play(5);
}

#[test]
fn groups_that_change_at_random_lose_no_message() {
    for seed in 100..112 {
        let shape = Shape {
            members: 20,
            slots: 1 + seed as u32 % 2,
            confirm_tile_senders: [0, 1, 8, 64][seed as usize % 4],
            key_tile_senders: [0, 16][seed as usize / 4 % 2],
            frame_bytes: 64,
            ..SMALL
        };
        let mut world = World::opened(shape, seed);
        let (mut round, mut asking) = (1, 9000);
        for _ in 0..3 {
            let rounds = world.rng.random_range(1..=3);
            let mut roster: BTreeSet<UserId> = world.roster().iter().copied().collect();
            for _ in 0..world.rng.random_range(0..3) {
                let member = world.rng.random_range(0..world.roster().len());
                let leaver = world.roster()[member];
                roster.remove(&leaver);
                for player in &mut world.players {
                    player.client.leave(leaver);
                }
            }
            world.servers.iter_mut().for_each(|server| server.round = round);
            if world.rng.random() {
                asking += 1;
                roster.insert(UserId(asking));
                world.join(vec![UserId(asking)], true);
            }
            world.settle();
            let roster: Vec<UserId> = roster.into_iter().collect();
            let first_round = round + rounds;
            let epoch = world.announce(&roster, first_round);
            (round..first_round).for_each(|round| world.play(round));
            world.switch(epoch, first_round);
            round = first_round;
        }
        world.play(round);
        for player in &world.players {
            assert_eq!(
                player.record.sum(|verdicts| verdicts.tampered | verdicts.incomplete),
                0,
                "seed {seed}"
            );
            assert_eq!(player.record.sum(|verdicts| verdicts.absent), 0, "seed {seed}");
        }
    }
}
