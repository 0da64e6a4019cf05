//! Rounds that a server leaves out, cuts short or does not deliver in time.

use super::{S1, S2, alarms_of_next_round, heard, readers_of};
use crate::model::{ANSWERED, Heard, TIMEOUT, World};
use twincast_client::Event;

#[test]
fn what_one_server_alone_answers_is_incomplete_without_an_alarm() {
    for seed in 0..4 {
        let mut world = World::opened(ANSWERED, seed);
        world.submit(1);
        let (delivers, other) = if seed % 2 == 0 { (S1, S2) } else { (S2, S1) };
        world.put(delivers, |server, users| server.round(1, users));
        if seed < 2 {
            world.put(other, |server, _| server.skip(1));
        }
        world.give_all();
        if seed >= 2 {
            assert!(world.players.iter().all(|player| player.record.closed().is_empty()));
            world.now += TIMEOUT;
            world.give_all();
        }
        assert!(heard(&world, 1).iter().all(|(_, verdict)| *verdict == Heard::Incomplete), "seed {seed}");
        assert_eq!(heard(&world, 1).len(), 10);
        let skips = |event: &Event| match event {
            Event::RoundClosed { skipped, timed_out, .. } => Some((skipped[other.index()], *timed_out)),
            _ => None,
        };
        for player in &world.players {
            let closed = player.record.events.iter().find_map(skips);
            assert_eq!(closed, Some((seed < 2, seed >= 2)));
        }
        if seed >= 2 {
            // What comes too late is dropped.
            world.put(other, |server, users| server.round(1, users));
            world.give_all();
        }
        assert_eq!(alarms_of_next_round(&mut world, 2), [0; 0]);
        world.put_both(|server, users| server.round(2, users));
        world.give_all();
        assert!(matches!(heard(&world, 2)[0].1, Heard::Accept(_)), "and on it goes, seed {seed}");
    }
}

#[test]
fn a_round_that_both_leave_out_has_no_verdicts() {
    let mut world = World::opened(ANSWERED, 1);
    world.submit(1);
    world.put_both(|server, _| server.skip(1));
    world.give_all();
    assert!(heard(&world, 1).is_empty());
    for player in &world.players {
        assert_eq!((player.record.closed(), player.record.read()), (vec![1], vec![1]));
    }
    world.play(2);
}

#[test]
fn a_connection_that_closes_amid_answers_leaves_the_rest_incomplete() {
    let mut world = World::opened(ANSWERED, 2);
    world.submit(1);
    world.put_both(|server, users| server.round(1, users));
    let player = &mut world.players[0];
    assert_eq!(player.users.len(), 3);
    // The head, one user's answers, and a part of the next one's.
    player.coming[1].truncate(72 + 2 * 352 + 100);
    player.give_all(&mut world.rng, world.now).expect("well formed as far as it goes");
    assert!(player.record.closed().is_empty());
    player.client.closed(S2);
    player.give_all(&mut world.rng, world.now).expect("no error");
    let verdicts: Vec<Heard> = player.record.heard(1).into_iter().map(|(_, heard)| heard).collect();
    assert!(matches!(verdicts[0], Heard::Accept(_)));
    assert_eq!(verdicts[1], Heard::Ignore);
    assert_eq!(verdicts[2..], [const { Heard::Incomplete }; 4]);
    player.coming[0] = world.servers[0].answers(2, &player.users);
    player.give_all(&mut world.rng, world.now).expect("one server is there");
    assert_eq!((player.record.closed(), player.record.read()), (vec![1, 2], vec![1, 2]));
    assert!(player.record.heard(2).iter().all(|(_, heard)| *heard == Heard::Incomplete));
}

#[test]
fn rounds_that_one_server_leaves_out_without_a_word_are_incomplete() {
    let mut world = World::opened(ANSWERED, 2);
    world.submit(1);
    world.put(S1, |server, users| (1..=3).flat_map(|round| server.round(round, users)).collect());
    world.put(S2, |server, users| server.round(3, users));
    world.give_all();
    for round in 1..=2 {
        let heard = heard(&world, round);
        assert!(heard.len() == 10 && heard.iter().all(|(_, verdict)| *verdict == Heard::Incomplete));
    }
    assert_eq!(readers_of(&heard(&world, 3), &Heard::Absent), [0, 1, 2, 3, 4]);
    assert!(world.players.iter().all(|player| player.record.read() == [1, 2, 3]));
}

#[test]
fn rounds_that_both_leave_out_without_a_word_are_told_of_once() {
    for gone in [false, true] {
        let mut world = World::opened(ANSWERED, 2);
        world.submit(1);
        let far = 1 << 40;
        world.put(S1, |server, users| server.round(far, users));
        if gone {
            world.players.iter_mut().for_each(|player| player.client.closed(S2));
        } else {
            world.put(S2, |server, users| server.round(far, users));
        }
        world.give_all();
        world.give_all();
        for player in &world.players {
            assert_eq!(player.record.read(), [1, far], "S2 is gone: {gone}");
        }
        assert_eq!(heard(&world, 1).len(), if gone { 10 } else { 0 });
        let absent = readers_of(&heard(&world, far), &Heard::Absent);
        assert_eq!(absent.len(), if gone { 0 } else { 5 });
    }
}

#[test]
fn one_server_may_be_rounds_ahead() {
    let mut world = World::opened(ANSWERED, 1);
    world.submit(1);
    world.put(S1, |server, users| [server.round(1, users), server.round(2, users)].concat());
    world.give_all();
    assert!(world.players.iter().all(|player| player.record.closed().is_empty()));
    world.put(S2, |server, users| server.round(1, users));
    world.give_all();
    for player in &world.players {
        assert_eq!(player.record.closed(), [1]);
    }
    world.put(S2, |server, users| server.round(2, users));
    world.give_all();
    assert!(heard(&world, 2).iter().all(|((_, query), verdict)| {
        *verdict == if *query == 0 { Heard::Absent } else { Heard::Ignore }
    }));
}
