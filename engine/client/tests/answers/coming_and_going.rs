//! Clients that come later or connect anew, and epochs that follow each other.

use super::{SHAPE, alarmed};
use crate::model::{ANSWERED, EPOCH, Heard, Player, World, id, settings};
use twincast_client::Event;
use twincast_protocol::ids::{Epoch, RoundNumber, ServerSide, UserId};

#[test]
fn a_client_that_comes_later_reads_only_what_it_asked_for_itself() {
    let mut world = World::opened(ANSWERED, 7);
    world.play(1);
    let users = (world.players[0].ids.clone(), world.players[0].users.clone());
    world.servers.iter_mut().for_each(|server| server.forget(0));
    world.players[0] = Player::with(ANSWERED, settings(ANSWERED), users.0, &world.servers[0]);
    world.settle();
    let first_round = RoundNumber(2);
    let open = Event::EpochOpen { epoch: EPOCH, first_round, confirmed: 0, failed: 0 };
    assert!(world.players[0].record.events.contains(&open));
    for round in 2..=4 {
        // Its users may have signed records for these rounds before; one round ahead is as far as it may go.
        let submitted = world.players[0].client.submit();
        assert_eq!(submitted, (round > 2).then_some(RoundNumber(round + 1)));
        world.submit_all();
        world.put_both(|server, users| server.round(round, users));
        world.give_all();
    }
    let (late, other) = (&world.players[0].record, &world.players[1]);
    assert_eq!(late.read(), [2, 3, 4]);
    let incomplete = late.answers.values().all(|answer| *answer == (None, Heard::Incomplete));
    assert!(incomplete && late.answers.len() == 6 * users.1.len(), "its dials are an earlier client's");
    assert_eq!(alarmed(&world, 4), [0; 0]);
    other.record.check_answers(&other.workload, 4, &other.users, world.roster());
}

#[test]
fn a_client_that_connects_anew_keeps_its_queries() {
    let mut world = World::opened(SHAPE, 8);
    world.play(1);
    world.reconnect(0);
    world.settle();
    let dialled = world.servers[0].keys.len();
    (2..=3).for_each(|round| world.play(round));
    assert_eq!(world.servers[0].keys.len(), dialled);
    assert_eq!(world.players[0].record.read(), [1, 2, 3]);
}

#[test]
fn verdicts_survive_a_lost_connection() {
    let mut world = World::opened(ANSWERED, 8);
    world.submit(1);
    world.put_both(|server, users| server.round(1, users));
    let player = &mut world.players[0];
    for side in ServerSide::BOTH {
        player.give(side, usize::MAX, world.now).expect("good");
    }
    assert_eq!((player.record.closed(), player.record.read()), (vec![1], vec![]));
    world.reconnect(0);
    world.settle();
    let player = &world.players[0];
    assert_eq!(player.record.read(), [1]);
    player.record.check_answers(&player.workload, 1, &player.users, world.roster());
}

#[test]
fn an_epoch_follows_with_one_who_joined_and_one_who_left() {
    for seed in 0..2 {
        let mut world = World::opened(SHAPE, seed);
        world.play(1);
        let newcomer = UserId(333);
        world.join(vec![newcomer], true);
        world.settle();
        assert!(world.players[1].client.leave(id(1)));
        world.settle();
        let mut roster: Vec<UserId> = (0..SHAPE.members).map(id).filter(|user| *user != id(1)).collect();
        roster.push(newcomer);
        roster.sort_unstable();
        let epoch = world.announce(&roster, 4);
        world.submit_all();
        world.put_both(|server, users| server.round(2, users));
        world.give_all();
        // This is the first that who joins hears of a round.
        world.submit_all();
        world.put_both(|server, _| server.skip(3));
        world.give_all();
        world.switch(epoch, 4);
        (4..=5).for_each(|round| world.play(round));
        let of = |epoch: Epoch| world.servers[0].keys.iter().filter(move |(place, _)| place.0 == epoch.0);
        assert_eq!(of(epoch).count(), 210, "every slot is dialled anew");
        let again = of(epoch).filter(|(_, (key, _))| of(EPOCH).any(|(_, (old, _))| old == key));
        assert_eq!(again.count(), 0, "with fresh coins");
        let joiner = world.players.last().expect("who joined");
        assert!(joiner.record.read().ends_with(&[4, 5]), "seed {seed}");
        assert_eq!(joiner.record.answers.len(), 6);
        assert!((1..=5).all(|round| alarmed(&world, round).is_empty()));
    }
}
