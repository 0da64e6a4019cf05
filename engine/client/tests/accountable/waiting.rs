//! How long a client waits for headers, and what it does not throw away meanwhile.

use super::model::{Lie, Mischief, World, id};
use super::{EVERY, SHAPE, Shape, verdicts};
use twincast_client::{Event, Shortfall};
use twincast_protocol::accountable::blame::Verdict;
use twincast_protocol::accountable::turn::{is_turn, rounds_kept};
use twincast_protocol::ids::{MemberIndex, RoundNumber, ServerSide};

/// Rounds that a server keeps.
const KEPT: u64 = 2 * EVERY as u64 + 2;
const LIE: Lie = Lie { round: 2, sender: 3, user: 0, mischief: Mischief::Alter };
/// When member 0 asks about it: its turns are those that three divides.
const TURN: u64 = 3;

/// S1 alters a share of round 2, and S2 makes no answer.
fn silent(seed: u64) -> World {
    let mut world = World::accountable(SHAPE, seed, &[], |_| ());
    world.servers[0].books.lie = Some(LIE);
    world.servers[1].books.holds = true;
    world
}

/// Rounds of which S2 is said to owe member 0 headers.
fn owed(world: &World) -> Vec<u64> {
    let told = world.players.iter().flat_map(|player| &player.record.events);
    let told = told.filter_map(|event| match event {
        Event::Unaccountable { server: ServerSide::Two, user, round, why: Shortfall::NoHeaders }
            if *user == id(0) =>
        {
            Some(round.0)
        }
        _ => None,
    });
    told.collect()
}

#[test]
fn headers_are_waited_for_as_long_as_a_server_has_to_keep_the_round() {
    assert_eq!(KEPT, rounds_kept(EVERY) as u64);
    // The very last moment, and long before.
    for last in [TURN + KEPT - 1, TURN + 1] {
        let mut world = silent(1);
        (1..=last).for_each(|round| world.play_accountable(round));
        assert!(verdicts(&world).is_empty() && owed(&world).is_empty(), "it waits");
        world.release(ServerSide::Two);
        let verdicts = verdicts(&world);
        let [(MemberIndex(0), _, Verdict::Server(ServerSide::One, _))] = verdicts[..] else {
            panic!("after round {last}: {verdicts:?}")
        };
        assert!(owed(&world).is_empty(), "it owes nothing");
    }
}

#[test]
fn headers_that_do_not_come_are_given_up_and_may_come_after_all() {
    let mut world = silent(2);
    (1..=TURN + KEPT).for_each(|round| world.play_accountable(round));
    assert!(owed(&world).contains(&LIE.round), "it owes them: {:?}", owed(&world));
    assert_eq!(verdicts(&world).len(), 1, "S1's own headers are enough, where its client has them");
    // What comes too late is nobody's any more, and ends no client.
    world.release(ServerSide::Two);
    (TURN + KEPT + 1..=TURN + 2 * KEPT).for_each(|round| world.play_accountable(round));
    assert_eq!(verdicts(&world).len(), 1);
    let after: Vec<u64> = owed(&world).into_iter().filter(|round| *round > TURN + KEPT).collect();
    assert!(after.is_empty(), "it answers again: {after:?}");
}

/// That a server has none for an earlier turn comes while the same user waits for others, and does not stand for those.
#[test]
fn a_late_refusal_is_about_what_it_names() {
    let mut world = silent(5);
    world.servers[1].books.lie = Some(Lie { mischief: Mischief::NoHeaders, ..LIE });
    let next = TURN + KEPT;
    (1..next).for_each(|round| world.play_accountable(round));
    world.servers[0].books.lie = Some(Lie { round: next, ..LIE });
    // Member 0 asks about it at its next turn, and has given up what it asked first.
    (next..next + u64::from(EVERY)).for_each(|round| world.play_accountable(round));
    let given_up = owed(&world);
    assert!(given_up.contains(&LIE.round) && !given_up.contains(&next), "{given_up:?}");
    world.release(ServerSide::Two);
    assert_eq!(owed(&world), given_up, "what was waited for has come");
}

/// A caller does not ask its client what there is to send for many rounds: turns that nobody can answer any more are left
/// out, and what is asked then takes the place of nothing that comes later.
#[test]
fn turns_that_waited_too_long_for_the_caller_are_not_made_up_for() {
    for every in [1, 2, EVERY] {
        let shape = Shape { header_rounds: every, ..SHAPE };
        let kept = rounds_kept(every) as u64;
        let mut world = World::accountable(shape, 3, &[], |_| ());
        world.play_accountable(1);
        let last = 40;
        for round in 2..=last {
            world.put_both(|server, users| server.round(round, users));
            world.servers.iter_mut().for_each(|server| server.round = round + 1);
            world.give_all();
        }
        world.servers[0].books.fetched.clear();
        world.servers[1].books.holds = true;
        world.carry();
        let asked = world.servers[0].books.fetched.clone();
        for member in 0..SHAPE.members {
            let turns = (last + 1 - kept..=last)
                .filter(|round| is_turn(RoundNumber(*round), MemberIndex(member), every));
            let of_member = asked.iter().filter(|fetch| fetch.user.get() == member).count();
            assert_eq!(of_member, turns.count(), "every {every}, member {member}");
        }
        let lie = Lie { round: last + 2, ..LIE };
        world.servers[0].books.lie = Some(lie);
        let turn = (lie.round..).find(|round| round.is_multiple_of(every.into())).expect("there is one");
        (last + 1..turn + kept).for_each(|round| world.play_accountable(round));
        world.release(ServerSide::Two);
        let verdicts = verdicts(&world);
        let [(MemberIndex(0), _, Verdict::Server(ServerSide::One, _))] = verdicts[..] else {
            panic!("every {every}: {verdicts:?}")
        };
        assert!(!owed(&world).contains(&lie.round), "every {every}");
    }
}

/// A turn comes while the next round is under way, and something in that does not decode.
#[test]
fn a_round_that_has_not_ended_is_not_asked_about() {
    let mut world = World::accountable(SHAPE, 4, &[], |_| ());
    (1..TURN).for_each(|round| world.play_accountable(round));
    let lie = Lie { round: TURN + 1, ..LIE };
    world.servers[0].books.lie = Some(lie);
    world.submit(TURN);
    world.submit(TURN + 1);
    world.put_both(|server, users| server.round(TURN, users));
    world.put_both(|server, users| server.tile(TURN + 1, 0, 0, users));
    world.servers.iter_mut().for_each(|server| server.round = TURN + 1);
    world.give_all();
    world.settle();
    let about = |world: &World| {
        let about = |fetch: &&twincast_protocol::wire::FetchHeaders| fetch.round.get() == lie.round;
        world.servers[0].books.fetched.iter().filter(about).count()
    };
    assert_eq!(about(&world), 0, "round {} has not ended", RoundNumber(lie.round));
    world.put_both(|server, users| server.signed_end(TURN + 1, users));
    world.servers.iter_mut().for_each(|server| server.round = TURN + 2);
    world.give_all();
    (TURN + 2..=TURN + u64::from(EVERY)).for_each(|round| world.play_accountable(round));
    let verdicts = verdicts(&world);
    let [(MemberIndex(0), _, Verdict::Server(ServerSide::One, _))] = verdicts[..] else {
        panic!("{verdicts:?}")
    };
    assert!(about(&world) > 0);
}
