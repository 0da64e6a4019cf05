//! Two servers that say they are in different rounds: what is signed meanwhile, and by whom nothing is lost.

mod model;

use model::{ANSWERED, EPOCH, SMALL, Shape, TIMEOUT, World};
use std::collections::BTreeSet;
use std::time::Duration;
use twincast_client::{ClientSettings, Event};
use twincast_protocol::ids::{RoundNumber, ServerSide};
use twincast_protocol::wire::{Body, RoundSkipped};

const SIGNED: Shape = Shape { header_rounds: 3, ..SMALL };

/// A group in which rounds are signed for, in round 4.
fn world(shape: Shape, seed: u64) -> World {
    let mut world = match shape.answer {
        true => World::opened(shape, seed),
        false => World::accountable(shape, seed, &[], |_| ()),
    };
    for round in 1..=3 {
        match shape.answer {
            true => world.play(round),
            false => world.play_accountable(round),
        }
    }
    world
}

fn settings(world: &World) -> ClientSettings {
    if world.shape.answer { model::settings() } else { world.accountable_settings() }
}

/// Rounds that a server has submissions for.
fn submitted(world: &World, side: ServerSide) -> BTreeSet<u64> {
    world.servers[side.index()].shares.keys().map(|(round, _)| *round).collect()
}

/// S1 says once more that it leaves a round out, and time goes by until the client is in the next one.
fn lie(world: &mut World, position: usize, round: u64) {
    let player = &mut world.players[position];
    player.coming[0].extend(RoundSkipped { round: round.into() }.frame());
    player.give_all(&mut world.rng, world.now).unwrap();
    world.now += 2 * TIMEOUT;
    player.client.advance(world.now, &mut player.record).unwrap();
    assert_eq!(player.client.round(), Some(RoundNumber(round + 1)));
}

#[test]
fn one_server_that_lies_about_rounds_gets_nothing_signed_for_them_and_silences_nobody_for_long() {
    for (shape, seed) in [(SIGNED, 1), (ANSWERED, 2)] {
        for known in [false, true] {
            let mut world = world(shape, seed);
            let ids = world.players[0].ids.clone();
            let signed = known.then_some((EPOCH, RoundNumber(3)));
            let settings = ClientSettings { signed, ..settings(&world) };
            // S2 is honest, and in round 4.
            world.servers[0].round = 50;
            let position = world.join_with(ids.clone(), settings);
            world.settle();
            world.settle();
            for round in 50..=55 {
                let _ = world.players[position].client.submit();
                world.carry_one(position, ServerSide::One);
                lie(&mut world, position, round);
            }
            let player = &mut world.players[position];
            let apart =
                player.record.events.iter().filter(|event| matches!(event, Event::ServersApart { .. }));
            assert_eq!(apart.count(), 1, "{:?}", player.record.events);
            assert_eq!(player.client.signed(), signed, "nothing is signed");
            assert!(submitted(&world, ServerSide::One).iter().all(|round| *round <= 3), "{shape:?}");

            // S1 tells the truth to the next connection: the user is back at once, or two rounds later if nothing is known.
            world.servers[0].round = 4;
            world.reconnect(position);
            world.settle();
            world.settle();
            let client = &mut world.players[position].client;
            assert_eq!(client.round(), Some(RoundNumber(4)));
            assert_eq!(client.submit(), known.then_some(RoundNumber(4)));
        }
    }
}

/// Whoever has signed with two servers, of whom one lies, is never ahead of what a new client leaves out.
#[test]
fn what_was_signed_before_all_was_lost_is_left_out_by_the_next_client_whatever_one_server_says() {
    for (shape, seed) in [(SIGNED, 3), (ANSWERED, 4)] {
        for liar in [0, 1] {
            let mut world = world(shape, seed);
            // One server has ended round 4, or says so. The other is still in it.
            world.submit(4);
            let side = ServerSide::BOTH[liar];
            world.put(side, |server, users| server.round(4, users));
            world.give_all();
            for round in 4..=8 {
                world.now += 2 * TIMEOUT;
                let player = &mut world.players[0];
                player.client.advance(world.now, &mut player.record).unwrap();
                let _ = player.client.submit();
                world.carry_one(0, side);
                let player = &mut world.players[0];
                player.coming[liar].extend(RoundSkipped { round: (round + 1).into() }.frame());
                player.give_all(&mut world.rng, world.now).unwrap();
            }
            let signed = world.players[0].client.signed();
            assert_eq!(signed, Some((EPOCH, RoundNumber(5))), "one round beyond the honest server's");

            for said in [1, 4, 5, 50] {
                world.servers[liar].round = said;
                let ids = world.players[0].ids.clone();
                let settings = settings(&world);
                let position = world.join_with(ids, ClientSettings { signed: None, ..settings });
                world.settle();
                world.settle();
                let events = &world.players[position].record.events;
                let until = events.iter().find_map(|event| match event {
                    Event::Silent { until, .. } => *until,
                    _ => None,
                });
                // One that began in a round before the last has nothing more to leave out than that.
                assert!(until >= Some(RoundNumber(6)), "S{}: {said}: {events:?}", liar + 1);
                let round = world.players[position].client.submit();
                assert_eq!(round, None);
            }
        }
    }
}

#[test]
fn honest_servers_that_were_apart_lose_no_round_once_they_are_together_again() {
    for (shape, seed) in [(SIGNED, 5), (ANSWERED, 6)] {
        for late in ServerSide::BOTH {
            let mut world = world(shape, seed);
            let early = late.other();
            let mut begun = 3;
            // The early one goes on alone for two rounds.
            for round in 4..=5 {
                world.submit(round);
                begun = round;
                world.put(early, |server, users| server.round(round, users));
                world.give_all();
                world.now += 2 * TIMEOUT;
                for player in &mut world.players {
                    player.client.advance(world.now, &mut player.record).unwrap();
                }
            }
            assert_eq!(begun, 5);
            // Both are asked for round 6, and the late one is in round 4: that is begun, and waits.
            world.submit(6);
            for side in ServerSide::BOTH {
                assert!(!submitted(&world, side).contains(&6), "{late}: too early");
            }
            for player in &mut world.players {
                player.client.advance(world.now, &mut player.record).unwrap();
                let rounds = player.record.events.iter().find_map(|event| match event {
                    Event::ServersApart { rounds } => Some(rounds.map(|round| round.0)),
                    _ => None,
                });
                let mut expected = [4; 2];
                expected[early.index()] = 6;
                assert_eq!(rounds, Some(expected));
            }
            // It ends round 4: nobody has to ask again.
            world.put(late, |server, users| server.round(4, users));
            world.give_all();
            world.carry();
            for side in ServerSide::BOTH {
                assert!(submitted(&world, side).contains(&6), "{late}");
            }
            world.put(late, |server, users| server.round(5, users));
            world.put_both(|server, users| server.round(6, users));
            world.give_all();
            world.servers.iter_mut().for_each(|server| server.round = 7);
            world.settle();
            let roster = world.roster().to_vec();
            for player in &world.players {
                let users = world.servers[0].members_of(world.epoch(), &player.ids);
                match shape.answer {
                    true => player.record.check_answers(&player.workload, 6, &users, &roster),
                    false => player.record.check_round(shape, 6, &users, &roster),
                }
            }
        }
    }
}

#[test]
fn submissions_that_wait_for_a_server_that_never_comes_do_not_pile_up() {
    let mut world = world(SIGNED, 7);
    world.submit(4);
    for round in 4..=30 {
        world.put(ServerSide::One, |server, _| server.skip(round));
        world.give_all();
        world.now += 2 * TIMEOUT;
        for player in &mut world.players {
            player.client.advance(world.now, &mut player.record).unwrap();
            assert_eq!(player.client.submit(), Some(RoundNumber(round + 1)));
        }
        world.carry();
    }
    // S2 left out what S1 did: all that is signed for is the round that both are in now.
    world.put(ServerSide::Two, |server, _| (4..=30).flat_map(|round| server.skip(round)).collect());
    world.give_all();
    world.carry();
    for side in ServerSide::BOTH {
        assert_eq!(submitted(&world, side), BTreeSet::from([1, 2, 3, 4, 5, 31]), "{side}");
    }
    assert!(world.now > Duration::ZERO);
}
