//! Clients that come later or connect anew, and epochs that follow each other.

use super::{SHAPE, alarmed, alarms_of_next_round, heard, readers_of};
use crate::model::{ANSWERED, EPOCH, Heard, Player, Server, Shape, World, id, settings};
use twincast_client::{ClientSettings, Event};
use twincast_protocol::ids::{Epoch, RoundNumber, ServerSide, UserId};

/// A new client in place of another, of which the caller kept what it had signed, or not.
fn replace(world: &mut World, keeps: bool) {
    let player = &world.players[0];
    let signed = player.client.signed().filter(|_| keeps);
    let ids = player.ids.clone();
    world.servers.iter_mut().for_each(|server| server.forget(0));
    let settings = ClientSettings { signed, ..settings() };
    world.players[0] = Player::with(ANSWERED, settings, ids, &world.servers[0]);
    world.settle();
}

#[test]
fn a_client_that_comes_later_reads_only_what_it_asked_for_itself() {
    let mut world = World::opened(ANSWERED, 7);
    world.play(1);
    let users = world.players[0].users.clone();
    replace(&mut world, false);
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
    assert!(incomplete && late.answers.len() == 6 * users.len(), "its dials are an earlier client's");
    assert_eq!(alarmed(&world, 4), [0; 0]);
    other.record.check_answers(&other.workload, 4, &other.users, world.roster());
}

/// The servers of these tests take no second record of a round.
#[test]
fn who_knows_what_was_signed_goes_on_at_once() {
    for keeps in [true, false] {
        let mut world = World::opened(ANSWERED, 7);
        assert_eq!(world.players[0].client.signed(), None);
        world.play(1);
        world.submit(2);
        assert_eq!(world.players[0].client.signed(), Some((EPOCH, RoundNumber(2))));
        replace(&mut world, keeps);
        // Round 2 is open, and signed for.
        let submitted = world.players[0].client.submit();
        assert_eq!(submitted, keeps.then_some(RoundNumber(3)));
        world.carry();
        world.put_both(|server, users| server.round(2, users));
        world.give_all();
        assert_eq!(world.players[0].client.submit(), Some(RoundNumber(4)));
        world.carry();
        let of_round = |round| world.servers[0].shares.keys().filter(|(of, _)| *of == round).count();
        assert_eq!([2, 3, 4].map(of_round), [5, if keeps { 3 } else { 0 }, 3]);
    }
}

/// Both servers begin anew with this epoch, and everybody connects to them.
fn begin_anew(world: &mut World, epoch: Epoch) {
    let roster = world.roster().to_vec();
    for server in &mut world.servers {
        *server = Server::new(server.side, server.shape);
        server.epoch = epoch;
        server.rosters.insert(epoch.0, roster.clone());
    }
    for connection in 0..world.players.len() {
        let player = &mut world.players[connection];
        player.record.answers.clear();
        let workload = &mut player.workload;
        workload.rosters.insert(epoch.0, roster.clone());
        workload.epoch = epoch;
        world.reconnect(connection);
    }
    world.settle();
    world.open(1);
}

#[test]
fn no_round_is_signed_twice_though_servers_begin_anew() {
    let mut world = World::opened(ANSWERED, 9);
    (1..=4).for_each(|round| world.play(round));
    world.submit(5);
    let signed = Some((EPOCH, RoundNumber(5)));
    // The same epoch a second time: rounds go by until one comes for which nothing is signed.
    begin_anew(&mut world, EPOCH);
    for round in 1..=5 {
        let player = &mut world.players[0];
        assert_eq!((player.client.round(), player.client.signed()), (Some(RoundNumber(round)), signed));
        assert_eq!(player.client.submit(), (round == 5).then_some(RoundNumber(6)), "in round {round}");
        world.put_both(|server, users| server.round(round, users));
        world.give_all();
    }
    // An earlier epoch is over, whatever its rounds; a later one is new.
    begin_anew(&mut world, Epoch(EPOCH.0 - 1));
    assert_eq!(world.players[0].client.round(), Some(RoundNumber(1)));
    assert_eq!(world.players[0].client.submit(), None);
    begin_anew(&mut world, Epoch(EPOCH.0 + 1));
    world.play(1);
    assert_eq!(world.players[0].client.signed(), Some((Epoch(EPOCH.0 + 1), RoundNumber(1))));
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

/// Rounds are none of those who come, until their epoch opens: also where they have tried to submit.
#[test]
fn who_joins_hears_of_no_round_that_timed_out() {
    let mut world = World::opened(ANSWERED, 3);
    world.play(1);
    let newcomer = UserId(333);
    let joiner = world.join(vec![newcomer], true);
    world.settle();
    assert!(world.players[joiner].client.round().is_some());
    world.submit_all();
    let mut roster = world.roster().to_vec();
    roster.push(newcomer);
    let epoch = world.announce(&roster, 4);
    for round in 2..=3 {
        world.put_both(|server, users| server.round(round, users));
        world.give_all();
        world.submit_all();
    }
    world.switch(epoch, 4);
    world.play(4);
    for player in &world.players {
        let late = |event: &&Event| matches!(event, Event::RoundClosed { timed_out: true, .. });
        assert_eq!(player.record.events.iter().find(late), None);
    }
    assert_eq!(world.players[joiner].record.read(), [4]);
}

/// 64 members have one tile of absent senders, and 65 have two.
#[test]
fn the_list_of_absent_senders_grows_with_the_group() {
    let mut world = World::opened(Shape { members: 64, ..ANSWERED }, 3);
    world.play(1);
    let newcomer = UserId(3_333);
    world.join(vec![newcomer], true);
    world.settle();
    let mut roster = world.roster().to_vec();
    roster.push(newcomer);
    let epoch = world.announce(&roster, 2);
    world.switch(epoch, 2);
    for player in &mut world.players {
        player.workload.silent.extend([id(7), newcomer]);
    }
    world.submit(2);
    world.put_both(|server, users| server.round(2, users));
    world.give_all();
    let absent = readers_of(&heard(&world, 2), &Heard::Absent);
    assert_eq!(absent, [6, 63], "whose neighbours sent nothing");
    assert_eq!(alarms_of_next_round(&mut world, 3), [0; 0]);
}
