//! Whole groups of clients against two servers in memory.

mod model;

use model::{EPOCH, SHARE_BYTES, SMALL, Shape, TIMEOUT, World};
use rand::RngExt;
use std::time::Duration;
use twincast_client::Event;
use twincast_protocol::ids::{RoundNumber, ServerSide};

const SHAPE: Shape = Shape { members: 70, slots: 2, confirm_tile_senders: 4, ..SMALL };
/// Bytes of a DELIVER frame before its cells.
const HEAD: usize = 64;

#[test]
fn every_message_arrives_whatever_the_pieces() {
    for seed in 0..8 {
        let shape = Shape { confirm_tile_senders: [0, 4, 64, 1][seed as usize % 4], ..SHAPE };
        let mut world = World::opened(shape, seed);
        for round in 1..=3 {
            world.submit(round);
            world.put_both(|server, users| server.round(round, users));
            world.give_all();
            for player in &world.players {
                player.record.check_round(shape, round, &player.users, world.roster());
            }
        }
        for player in &world.players {
            let cells = player.users.len() as u64 * 140;
            let confirmed = if shape.confirm_tile_senders > 0 { cells } else { 0 };
            assert!(matches!(player.record.events[0], Event::Attached(group) if group.members == 70));
            assert_eq!(player.record.events[1], Event::Dialled { epoch: EPOCH });
            let first_round = RoundNumber(1);
            assert_eq!(
                player.record.events[2],
                Event::EpochOpen { epoch: EPOCH, first_round, confirmed, failed: 0 }
            );
            assert_eq!(player.record.closed(), [1, 2, 3], "seed {seed}");
            assert_eq!(player.record.sum(|verdicts| verdicts.tampered), 0);
        }
        let alarms = world.servers.iter().flat_map(|server| server.alarms.values());
        assert!(alarms.copied().all(|alarm| !alarm), "nobody has reason for an alarm");
    }
}

#[test]
fn one_server_may_be_ahead_as_far_as_the_buffer_goes() {
    let mut world = World::opened(SHAPE, 1);
    world.submit(1);
    world.put_both(|server, users| server.round(1, users));
    for player in &mut world.players {
        let all = player.coming[0].len();
        while player.give(ServerSide::One, usize::MAX, world.now).unwrap() > 0 {}
        let ahead = all - player.coming[0].len();
        assert!(ahead >= player.users.len().min(3) * 64 * SHARE_BYTES, "{ahead} bytes ahead");
        assert!(player.record.verdicts.is_empty());
        assert!(player.client.space(ServerSide::One, world.now).is_empty() || player.coming[0].is_empty());
    }
    world.give_all();
    world
        .players
        .iter()
        .for_each(|player| player.record.check_round(SHAPE, 1, &player.users, world.roster()));
}

#[test]
fn a_buffer_grows_when_the_other_server_stands_still() {
    let mut world = World::opened(SHAPE, 2);
    world.submit(1);
    world.put(ServerSide::One, |server, users| server.round(1, users));
    let player = &mut world.players[0];
    while player.give(ServerSide::One, usize::MAX, world.now).unwrap() > 0 {}
    assert!(!player.coming[0].is_empty(), "the test needs more than a buffer");
    for _ in 0..4 {
        world.now += Duration::from_millis(600);
        while player.give(ServerSide::One, usize::MAX, world.now).unwrap() > 0 {}
    }
    assert!(player.coming[0].is_empty());
    world.put(ServerSide::Two, |server, users| server.round(1, users));
    world.give_all();
    world.players[0].record.check_round(SHAPE, 1, &world.players[0].users, world.roster());
}

#[test]
fn who_is_missing_at_one_server_is_incomplete_and_at_both_absent() {
    let mut world = World::opened(SHAPE, 3);
    world.submit(1);
    world.servers[0].shares.remove(&(1, 9));
    world.servers[1].shares.remove(&(1, 66));
    for server in &mut world.servers {
        server.shares.remove(&(1, 30));
    }
    world.put_both(|server, users| server.round(1, users));
    world.give_all();
    for player in &world.players {
        for user in &player.users {
            for slot in 0..2 {
                let first = player.record.verdicts[&(1, 0, slot, user.0)];
                assert_eq!((first.incomplete, first.absent), (1 << 9, 1 << 30));
                let second = player.record.verdicts[&(1, 1, slot, user.0)];
                assert_eq!((second.incomplete, second.absent), (1 << 2, 0));
            }
        }
        assert_eq!(player.record.sum(|verdicts| verdicts.tampered), 0);
    }
}

#[test]
fn a_round_that_both_leave_out_has_no_verdicts_and_one_that_one_leaves_out_is_incomplete() {
    let mut world = World::opened(SHAPE, 4);
    for round in 1..=3 {
        world.submit(round);
        match round {
            1 => world.put_both(|server, _| server.skip(1)),
            2 => {
                world.put(ServerSide::One, |server, _| server.skip(2));
                world.put(ServerSide::Two, |server, users| server.round(2, users));
            }
            _ => world.put_both(|server, users| server.round(3, users)),
        }
        world.give_all();
    }
    for player in &world.players {
        assert!(player.record.verdicts.keys().all(|key| key.0 != 1));
        let incomplete = |key: &&(u64, u32, u32, u32)| player.record.verdicts[*key].incomplete != 0;
        assert_eq!(player.record.verdicts.keys().filter(incomplete).count(), player.users.len() * 4);
        player.record.check_round(SHAPE, 3, &player.users, world.roster());
        let skips = player.record.events.iter().filter_map(|event| match event {
            Event::RoundClosed { skipped, timed_out: false, .. } => Some(*skipped),
            _ => None,
        });
        assert_eq!(skips.collect::<Vec<_>>(), [[true; 2], [true, false], [false; 2]]);
    }
}

#[test]
fn rounds_may_be_left_out_without_a_word() {
    let mut world = World::opened(SHAPE, 16);
    world.submit(1);
    // S2 leaves out rounds 1 and 2, and S1 plays the first.
    world.put(ServerSide::One, |server, users| [server.round(1, users), server.skip(2)].concat());
    world.put(ServerSide::Two, |server, _| server.skip(3));
    world.give_all();
    for player in &world.players {
        assert_eq!(player.record.closed(), [1, 2], "round 3 waits for S1");
        let incomplete = player.record.sum(|verdicts| verdicts.incomplete);
        assert_eq!(
            incomplete as usize,
            player.users.len() * 140 * 2,
            "rounds 1 and 2, as S1 has them or left out"
        );
    }
    world.put(ServerSide::One, |server, _| server.skip(3));
    // Both leave out very many.
    let far = u64::MAX / 4;
    world.put_both(|server, _| server.skip(far));
    world.give_all();
    for player in &world.players {
        assert_eq!(player.record.closed(), [1, 2, 3, 4, far]);
        assert_eq!(player.client.round(), Some(RoundNumber(far + 1)));
    }
}

#[test]
fn a_tile_that_one_server_lacks_is_incomplete_and_one_that_both_lack_too() {
    let mut world = World::opened(SHAPE, 5);
    world.submit(1);
    let without = |server: &model::Server, users: &[_], left_out: &[(u32, u32)]| {
        let mut out = Vec::new();
        let places = [(0, 0), (0, 1), (1, 0), (1, 1)];
        let there: Vec<_> = places.iter().filter(|place| !left_out.contains(place)).collect();
        there.iter().for_each(|place| out.extend(server.tile(1, place.0, place.1, users)));
        out.extend(server.end(1, there.len() as u32));
        out
    };
    world.put(ServerSide::One, |server, users| without(server, users, &[(0, 1), (1, 1)]));
    world.put(ServerSide::Two, |server, users| without(server, users, &[(0, 0), (1, 1)]));
    world.give_all();
    for player in &world.players {
        for user in &player.users {
            let incomplete = [(0, 0), (0, 1), (1, 0), (1, 1)]
                .map(|(t, k)| player.record.verdicts[&(1, t, k, user.0)].incomplete);
            assert_eq!(incomplete, [u64::MAX, u64::MAX, 0, 0b111111]);
        }
        assert_eq!(player.record.closed(), [1]);
    }
}

#[test]
fn a_round_closes_when_the_second_server_takes_too_long_and_what_is_late_is_dropped() {
    let mut world = World::opened(SHAPE, 6);
    world.submit(1);
    world.put(ServerSide::One, |server, users| server.round(1, users));
    world.put(ServerSide::Two, |server, users| server.tile(1, 0, 0, users));
    for player in &mut world.players {
        // S2 stops in the middle of the second tile.
        let mut second = world.servers[1].tile(1, 0, 1, &player.users);
        second.truncate(HEAD + 3 * 64 * SHARE_BYTES + 1000);
        player.coming[1].extend(second);
    }
    world.give_all();
    for player in &mut world.players {
        let deadline = player.client.deadline().expect("a round waits");
        assert_eq!(deadline, world.now + TIMEOUT);
        player.client.advance(deadline - Duration::from_millis(1), &mut player.record).unwrap();
        assert_eq!(player.record.closed(), [0; 0]);
        player.client.advance(deadline, &mut player.record).unwrap();
        assert_eq!(player.record.closed(), [1]);
        assert!(matches!(player.record.events.last(), Some(Event::RoundClosed { timed_out: true, .. })));
        for (position, user) in player.users.iter().enumerate() {
            let second = player.record.verdicts[&(1, 0, 1, user.0)];
            assert_eq!(second.incomplete == 0, position < 3);
            assert_eq!(player.record.verdicts[&(1, 1, 0, user.0)].incomplete, 0b111111);
        }
    }
    // The rest of round 1 comes late; round 2 is whole.
    world.now += TIMEOUT;
    world.submit(2);
    for player in &mut world.players {
        let server = &world.servers[1];
        let late = server.tile(1, 0, 1, &player.users);
        player.coming[1].extend(&late[HEAD + 3 * 64 * SHARE_BYTES + 1000..]);
        for (tile, slot) in [(1, 0), (1, 1)] {
            player.coming[1].extend(server.tile(1, tile, slot, &player.users));
        }
        player.coming[1].extend(server.end(1, 4));
    }
    world.put_both(|server, users| server.round(2, users));
    world.give_all();
    for player in &world.players {
        player.record.check_round(SHAPE, 2, &player.users, world.roster());
        assert_eq!(player.record.closed(), [1, 2]);
    }
}

#[test]
fn a_server_that_says_nothing_at_all_loses_its_round_too() {
    let mut world = World::opened(SHAPE, 7);
    world.submit(1);
    world.put(ServerSide::Two, |server, users| server.tile(1, 0, 0, users)[..HEAD].to_vec());
    world.give_all();
    let player = &mut world.players[0];
    let deadline = player.client.deadline().expect("a tile waits");
    player.client.advance(deadline, &mut player.record).unwrap();
    assert_eq!(player.record.closed(), [1]);
    assert_eq!(player.record.sum(|verdicts| verdicts.incomplete) as usize, player.users.len() * 140);
    assert_eq!(player.client.deadline(), None);
}

#[test]
fn tampered_cells_are_noticed_and_raise_one_alarm() {
    let mut world = World::opened(SMALL, 8);
    world.submit(1);
    let users = world.players[0].users.clone();
    let mut bytes = world.servers[0].round(1, &users);
    let victim = 1; // the client's second user, the cell of sender 3
    bytes[HEAD + (victim * 5 + 3) * SHARE_BYTES + 17] ^= 0x40;
    world.players[0].coming[0].extend(bytes);
    world.put(ServerSide::Two, |server, users| server.round(1, users));
    let other = world.servers[0].round(1, &world.players[1].users.clone());
    world.players[1].coming[0].extend(other);
    world.give_all();
    let verdicts = world.players[0].record.verdicts[&(1, 0, 0, users[victim].0)];
    assert_eq!(verdicts.tampered, 1 << 3);
    assert_eq!(world.players[0].record.sum(|verdicts| verdicts.tampered), 1);
    for round in 2..=3 {
        world.submit(round);
        world.put_both(|server, users| server.round(round, users));
        world.give_all();
    }
    for server in &world.servers {
        let mut alarms: Vec<_> = server.alarms.iter().filter(|(_, alarm)| **alarm).collect();
        assert_eq!(alarms.pop(), Some((&(2, users[victim].0), &true)));
        assert_eq!(alarms.pop(), None);
    }
}

#[test]
fn a_failed_confirmation_makes_its_slot_tampered_and_raises_one_alarm() {
    let mut world = World::dialled(SMALL, 9);
    for player in &mut world.players {
        for (side, server) in world.servers.iter().enumerate() {
            let mut bytes = server.all_confirmations(&player.users);
            if side == 0 {
                bytes[HEAD + 2 * 64] ^= 1; // the first user's part of sender 2
            }
            player.coming[side].extend(bytes);
        }
    }
    world.put_both(|server, _| server.open(1));
    world.give_all();
    for player in &world.players {
        assert!(matches!(player.record.events.last(), Some(Event::EpochOpen { failed: 1, .. })));
    }
    for round in 1..=3 {
        world.submit(round);
        world.put_both(|server, users| server.round(round, users));
        world.give_all();
        for player in &world.players {
            for (position, user) in player.users.iter().enumerate() {
                let tampered = player.record.verdicts[&(round, 0, 0, user.0)].tampered;
                assert_eq!(tampered, if position == 0 { 1 << 2 } else { 0 });
            }
        }
    }
    for ((round, sender), alarm) in &world.servers[0].alarms {
        let first = world.players.iter().any(|player| player.users[0].0 == *sender);
        assert_eq!(*alarm, first && *round == 1, "round {round}, member {sender}");
    }
}

#[test]
fn confirmations_that_never_came_have_failed() {
    let mut world = World::dialled(SHAPE, 10);
    world.put(ServerSide::One, |server, users| server.all_confirmations(users));
    world.put(ServerSide::Two, |server, users| {
        [server.confirmations(0, 0, users), server.confirmations(1, 3, users)].concat()
    });
    world.put_both(|server, _| server.open(1));
    world.give_all();
    for player in &world.players {
        let missing = player.users.len() as u64 * (140 - 8);
        assert!(
            matches!(player.record.events.last(), Some(Event::EpochOpen { failed, .. }) if *failed == missing)
        );
    }
}

#[test]
fn cells_that_nobody_wants_are_passed_over() {
    let mut world = World::opened(SHAPE, 11);
    world.players.iter_mut().for_each(|player| player.record.refuse_all = true);
    world.submit(1);
    world.put_both(|server, users| server.round(1, users));
    world.give_all();
    for player in &world.players {
        assert_eq!((player.record.unread, player.record.verdicts.len()), (player.users.len() * 4, 0));
        assert_eq!(player.record.closed(), [1]);
    }
}

#[test]
fn submissions_go_one_round_ahead_and_no_further() {
    let mut world = World::opened(SMALL, 12);
    world.submit(1);
    world.submit(2);
    assert!(world.players.iter_mut().all(|player| player.client.submit().is_none()));
    world.put_both(|server, users| server.round(1, users));
    world.give_all();
    world.submit(3);
    for round in 2..=3 {
        world.put_both(|server, users| server.round(round, users));
    }
    world.give_all();
    for player in &world.players {
        (1..=3).for_each(|round| player.record.check_round(SMALL, round, &player.users, world.roster()));
    }
}

#[test]
fn a_connection_that_ends_leaves_the_rest_incomplete() {
    let mut world = World::opened(SHAPE, 13);
    world.submit(1);
    world.put(ServerSide::One, |server, users| server.round(1, users));
    world.put(ServerSide::Two, |server, users| {
        server.tile(1, 0, 0, users)[..HEAD + 9 * 64 * SHARE_BYTES].to_vec()
    });
    world.give_all();
    for player in &mut world.players {
        player.client.closed(ServerSide::Two);
        player.client.advance(world.now, &mut player.record).unwrap();
        player.give_all(&mut world.rng, world.now).unwrap();
        assert_eq!(player.record.closed(), [1]);
        let whole = |key: &(u64, u32, u32, u32)| player.record.verdicts[key].incomplete == 0;
        assert_eq!(player.record.verdicts.keys().filter(|key| whole(key)).count(), 9);
        assert_eq!(player.record.verdicts.len(), player.users.len() * 4);
    }
}

#[test]
fn what_is_made_ahead_of_a_server_is_bounded() {
    let shape = Shape { members: 3000, ..SMALL };
    let mut world = World::new(shape, 14);
    world.carry();
    world.give_all();
    world.carry();
    world.give_all();
    world.put_both(|server, _| server.grants());
    world.give_all();
    let player = &mut world.players[0];
    for side in ServerSide::BOTH {
        let mut all = 0;
        loop {
            let bytes = player.client.outgoing(side, &mut world.rng, &mut player.workload).unwrap().len();
            assert!(bytes < 128 << 10, "{bytes} bytes made at once");
            if bytes == 0 {
                break;
            }
            let some = world.rng.random_range(1..=bytes);
            player.client.sent(side, some);
            all += some;
        }
        let each = if side == ServerSide::One { 32 } else { 3000 * 64 };
        assert_eq!(all, player.users.len() * (8 + 16 + each));
    }
}

#[test]
fn debug_shows_no_secret() {
    let world = World::opened(SMALL, 15);
    let shown = format!("{:?}", world.players[0].client);
    assert!(shown.starts_with("Client { settings: ClientSettings { group: GroupId(7)"), "{shown}");
    assert!(shown.contains(&format!("epoch: {EPOCH:?}")) && shown.len() < 800, "{shown}");
}
