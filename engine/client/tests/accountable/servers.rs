//! A server that alters, withholds, swaps or replays one share, and what it may say of it afterwards.

use super::model::{Lie, Mischief, World, id};
use super::{EVERY, LARGE, SHAPE, verdicts};
use twincast_client::{Event, Shortfall};
use twincast_protocol::accountable::blame::Verdict;
use twincast_protocol::ids::{MemberIndex, ServerSide};

/// Plays until every member has had two turns after the lie.
fn play(shape: super::Shape, seed: u64, liar: ServerSide, lie: Lie) -> World {
    let mut world = World::accountable(shape, seed, &[], |_| ());
    world.servers[liar.index()].books.lie = Some(lie);
    (1..=lie.round + 2 * u64::from(EVERY)).for_each(|round| world.play_accountable(round));
    world
}

/// What the members were told of servers that owe something.
fn shortfalls(world: &World) -> Vec<(ServerSide, u64, Shortfall)> {
    let told = world.players.iter().flat_map(|player| &player.record.events);
    let told = told.filter_map(|event| match event {
        Event::Unaccountable { server, round, why, .. } => Some((*server, round.0, *why)),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_server_that_lies_about_a_share_is_blamed() {
    use Mischief::*;
    let kinds =
        [Alter, Withhold, Swap, Replay, LyingRoot, OtherUpload, OtherOpening, OtherDial, OtherCertificate];
    for (seed, mischief) in (0..).zip(kinds) {
        // Whom the message is for, and somebody else.
        for (user, liar) in [(4, ServerSide::One), (1, ServerSide::Two)] {
            let lie = Lie { round: 2, sender: 3, user, mischief };
            let world = play(SHAPE, seed, liar, lie);
            let verdicts = verdicts(&world);
            let [(who, sender, Verdict::Server(blamed, _))] = verdicts[..] else {
                panic!("{lie:?} of {liar}: {verdicts:?}")
            };
            assert_eq!((who, sender, blamed), (MemberIndex(user), id(3), liar), "{lie:?}");
            // Headers that say it gave the right share are not about the one that it gave.
            let sender = MemberIndex(3);
            let owed = (liar, 2, Shortfall::OtherCell { sender });
            let told = if mischief == LyingRoot { vec![owed] } else { vec![] };
            assert_eq!(shortfalls(&world), told, "{lie:?}");
        }
    }
}

#[test]
fn in_a_group_of_several_tiles_and_slots_the_right_one_is_found() {
    for (sender, user) in [(69, 0), (2, 67)] {
        let lie = Lie { round: 2, sender, user, mischief: Mischief::Alter };
        let world = play(LARGE, 3, ServerSide::Two, lie);
        let verdicts = verdicts(&world);
        let [(who, of, Verdict::Server(ServerSide::Two, _))] = verdicts[..] else { panic!("{verdicts:?}") };
        assert_eq!((who, of), (MemberIndex(user), id(sender)));
    }
}

#[test]
fn a_server_that_owes_what_would_convict_it_is_told_of_and_not_blamed() {
    let sender = MemberIndex(3);
    for (mischief, owed) in [
        (Mischief::AlterInSilence, Shortfall::OtherCell { sender }),
        (Mischief::NoHeaders, Shortfall::NoHeaders),
        (Mischief::UnsignedHeaders, Shortfall::Headers),
        (Mischief::UnsignedRoot, Shortfall::Delivery),
        (Mischief::UnsignedReceipt, Shortfall::Receipt),
    ] {
        let lie = Lie { round: 2, sender: sender.0, user: 0, mischief };
        let world = play(SHAPE, 7, ServerSide::Two, lie);
        let told = shortfalls(&world);
        assert!(told.contains(&(ServerSide::Two, 2, owed)), "{mischief:?}: {told:?}");
        assert!(told.iter().all(|(server, ..)| *server == ServerSide::Two), "{mischief:?}: {told:?}");
        let verdicts = verdicts(&world);
        assert_eq!(verdicts.len(), 1, "{mischief:?}");
        for (_, _, verdict) in verdicts {
            let right = matches!(verdict, Verdict::Nobody(_) | Verdict::Server(ServerSide::Two, _));
            assert!(right, "{mischief:?}: {verdict}");
        }
    }
}

#[test]
fn a_server_that_contradicts_itself_is_found_by_whoever_happens_to_ask() {
    let mut found = 0;
    for seed in 0..12 {
        let lie = Lie { round: 2, sender: 3, user: 0, mischief: Mischief::SaysAbsent };
        let world = play(SHAPE, seed, ServerSide::One, lie);
        let tampered: u32 =
            world.players.iter().map(|player| player.record.sum(|verdicts| verdicts.tampered)).sum();
        assert_eq!(tampered, 0, "nothing is wrong with the share");
        for (user, _, verdict) in verdicts(&world) {
            assert!(matches!(verdict, Verdict::Server(ServerSide::One, _)), "seed {seed}: {verdict}");
            assert_eq!(user, MemberIndex(0));
            found += 1;
        }
    }
    assert!(found > 0, "nobody ever asks about the round");
}

#[test]
fn where_nobody_lies_nobody_has_evidence() {
    for (seed, shape) in [(1, SHAPE), (2, LARGE)] {
        let mut world = World::accountable(shape, seed, &[], |_| ());
        for round in 1..=7 {
            world.play_accountable(round);
            let roster = world.roster().to_vec();
            for player in &world.players {
                player.record.check_round(shape, round, &player.users, &roster);
            }
        }
        assert!(verdicts(&world).is_empty() && shortfalls(&world).is_empty());
    }
}

#[test]
fn a_doubt_outlasts_a_connection() {
    let mut world = World::accountable(SHAPE, 5, &[], |_| ());
    let lie = Lie { round: 2, sender: 3, user: 0, mischief: Mischief::Alter };
    world.servers[0].books.lie = Some(lie);
    // Member 0 has its turn in rounds that three divides.
    (1..=2).for_each(|round| world.play_accountable(round));
    let connection = world.players.iter().position(|player| player.users[0] == MemberIndex(0)).unwrap();
    world.reconnect(connection);
    world.settle();
    (3..=6).for_each(|round| world.play_accountable(round));
    let verdicts = verdicts(&world);
    assert!(
        matches!(verdicts[..], [(MemberIndex(0), _, Verdict::Server(ServerSide::One, _))]),
        "{verdicts:?}"
    );
}

#[test]
fn whoever_changes_bytes_on_their_way_has_nobody_blamed() {
    let (mut evidence, mut owed, mut ended) = (0, 0, 0);
    for seed in 0..40 {
        let mut world = World::accountable(SHAPE, seed, &[], |_| ());
        world.damage = Some(3);
        for round in 1..=6 {
            world.submit_all();
            world.put_both(|server, users| server.round(round, users));
            world.servers.iter_mut().for_each(|server| server.round = round + 1);
            world.give_all();
            world.settle();
        }
        for (user, sender, verdict) in verdicts(&world) {
            assert!(matches!(verdict, Verdict::Nobody(_)), "seed {seed}, {sender} to {user}: {verdict}");
            evidence += 1;
        }
        owed += shortfalls(&world).len();
        ended += usize::from(world.players[0].ended);
    }
    assert!(evidence > 0 && owed > 0 && ended > 0, "{evidence} cells, {owed} signatures, {ended} clients");
}
