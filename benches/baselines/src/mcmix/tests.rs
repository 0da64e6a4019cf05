//! Whole runs against the clear, and what the parties see of them.

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::*;

/// Any tags, also shared by three or more, and answers by looking at every pair.
#[test]
fn conversations_are_those_of_the_clear() {
    for users in [1, 2, 3, 4, 5, 63, 64, 65, 100, 129, 1000] {
        for (seed, tags) in [(1, 1), (2, 2), (3, users as u64 / 2 + 1), (4, 10 * users as u64), (5, u64::MAX)]
        {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let message_bytes = rng.random_range(1..40);
            let talk: Vec<(u64, Vec<u8>)> = (0..users)
                .map(|_| {
                    let mut message = vec![0; message_bytes];
                    rng.fill_bytes(&mut message);
                    // Small tags at both ends of the range.
                    let tag = rng.random_range(0..tags);
                    (if rng.random() { tag } else { u64::MAX - tag }, message)
                })
                .collect();
            let submissions: Vec<Submission<'_>> =
                talk.iter().map(|(tag, message)| Submission { tag: *tag, message }).collect();
            let (cost, answers) = conversation(&submissions, &mut StdRng::seed_from_u64(seed)).unwrap();
            assert_eq!(answers, conversation_in_the_clear(&submissions), "{users} users, seed {seed}");
            if users <= 100 {
                let by_pairs: Vec<&[u8]> = submissions
                    .iter()
                    .enumerate()
                    .map(|(user, own)| {
                        let others: Vec<_> = submissions
                            .iter()
                            .enumerate()
                            .filter(|other| other.0 != user && other.1.tag == own.tag)
                            .collect();
                        if let [(_, only)] = others[..] { only.message } else { own.message }
                    })
                    .collect();
                assert_eq!(answers, by_pairs, "{users} users, seed {seed}");
            }
            let words = message_bytes.div_ceil(8) as u64;
            assert_eq!(cost.client_bytes_in, 3 * 8 * (1 + words) * users as u64);
            assert_eq!(cost.client_bytes_out, 3 * 8 * words * users as u64);
        }
    }
}

/// The row after the last one is all zeros: it must not count as a third user of tag 0.
#[test]
fn two_users_of_tag_zero_exchange() {
    let submissions = [Submission { tag: 0, message: b"to you" }, Submission { tag: 0, message: b"to me!" }];
    let (_, answers) = conversation(&submissions, &mut StdRng::seed_from_u64(17)).unwrap();
    assert_eq!(answers, [b"to me!", b"to you"]);
}

#[test]
fn dials_are_those_of_the_clear() {
    for users in [1, 2, 3, 4, 5, 63, 64, 65, 100, 129, 1000] {
        for (seed, popular) in [(6, 1), (7, 2), (8, users), (9, users)] {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let mut dials = clear::calls(users, &mut rng);
            for user in 0..users {
                if dials[user].calls.is_some() && seed < 9 {
                    dials[user].calls = Some(dials[rng.random_range(0..popular)].address);
                } else if rng.random_ratio(1, 20) {
                    // An address that nobody has.
                    dials[user].calls = Some(rng.random_range(1..u64::MAX));
                }
            }
            let (_, answers) = dialling(&dials, &mut StdRng::seed_from_u64(seed)).unwrap();
            assert_eq!(answers, dialling_in_the_clear(&dials), "{users} users, seed {seed}");
            for (user, answer) in answers.iter().enumerate() {
                let callers: Vec<u64> = dials
                    .iter()
                    .filter(|dial| dial.calls == Some(dials[user].address))
                    .map(|dial| dial.address)
                    .collect();
                if dials[user].calls.is_none() {
                    assert_eq!(answer.is_some(), !callers.is_empty(), "{users} users, seed {seed}");
                }
                assert!(answer.is_none_or(|answer| callers.contains(&answer)), "{users} users, seed {seed}");
            }
        }
    }
}

/// A user who writes another's address into its row reaches nobody; the same row from its owner does.
#[test]
fn nobody_calls_in_anothers_name() {
    for (forger, expected) in [(5, 0), (7, 7)] {
        // User 5 or 7 calls 6 with the sender 7; user 6 waits.
        let rows = [7, 6, u64::MAX, 6];
        let mut rng = StdRng::seed_from_u64(18);
        let mut session = session::Session::new(&mut rng);
        let callers = dialling::find_callers(&mut session, 2, &rows, &[forger, 6], &mut rng);
        assert_eq!(callers, [0, expected]);
    }
}

#[test]
fn made_up_rounds_run_and_are_checked() {
    for users in [1, 2, 3, 100] {
        let talk = run_conversation(users, 256, 10).unwrap();
        let calls = run_dialling(users, 11).unwrap();
        for cost in [&talk, &calls] {
            assert_eq!(cost.users, users as u64);
            for party in 0..3 {
                assert_eq!(cost.bytes_by_party[party], cost.bytes_between[party].iter().sum::<u64>());
                assert_eq!(cost.bytes_between[party][party], 0);
            }
        }
    }
}

#[test]
fn what_cannot_be_run_is_refused() {
    assert_eq!(run_conversation(0, 256, 1), Err(McmixError::Users { users: 0 }));
    assert_eq!(run_dialling(USERS_MAX + 1, 1), Err(McmixError::Users { users: USERS_MAX + 1 }));
    assert_eq!(run_conversation(5, 0, 1), Err(McmixError::MessageBytes));
    let mut rng = StdRng::seed_from_u64(12);
    let uneven = [Submission { tag: 1, message: &[1] }, Submission { tag: 1, message: &[1, 2] }];
    assert_eq!(conversation(&uneven, &mut rng).unwrap_err(), McmixError::MessageBytes);
    for (address, calls) in [(0, None), (u64::MAX, None), (5, None), (6, Some(0)), (6, Some(u64::MAX))] {
        let dials = [Dial { address: 5, calls: None }, Dial { address, calls }];
        assert_eq!(dialling(&dials, &mut rng).unwrap_err(), McmixError::Address);
    }
}

/// Every word that a party receives from another, over a whole round: each bit of it is as often set as not,
/// whatever the users say and to whom. The chance that a fair coin strays this far in any of the bits is
/// below one in a million.
#[test]
fn what_a_party_receives_is_uniform() {
    for (seed, tag) in [(13, None), (14, Some(0)), (15, Some(u64::MAX))] {
        let mut rng = StdRng::seed_from_u64(seed);
        let message = [0; 16];
        let users = 300;
        let rows: Vec<u64> =
            (0..users).flat_map(|_| [tag.unwrap_or_else(|| rng.random()), message[0], message[1]]).collect();
        let mut session = session::Session::new(&mut rng);
        conversation::exchange(&mut session, users, 2, &rows, &mut rng);
        let passed: u64 = session.network.log.iter().map(|(_, _, words)| 8 * words.len() as u64).sum();
        assert_eq!(session.network.bytes().iter().flatten().sum::<u64>(), passed);
        for party in 0..network::PARTIES {
            let received: Vec<u64> = session
                .network
                .log
                .iter()
                .filter(|entry| entry.1 == party)
                .flat_map(|entry| entry.2.clone())
                .collect();
            for bit in 0..64 {
                let set = received.iter().filter(|word| *word >> bit & 1 == 1).count() as f64;
                let sigmas = (set - received.len() as f64 / 2.0) / (received.len() as f64 / 4.0).sqrt();
                assert!(sigmas.abs() < 6.0, "seed {seed}: bit {bit} at party {party} strays by {sigmas}");
            }
            // No word twice but by chance: 64 uniform bits do not repeat.
            let mut distinct = received.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), received.len(), "seed {seed}: party {party} receives a word twice");
        }
    }
}

/// Two populations whose rows have one order, one of lonely users and one in which all have the same tag:
/// with the same randomness everything that is opened and the number of bytes are the same.
#[test]
fn who_talks_to_whom_changes_nothing_that_servers_see() {
    let runs = [None, Some(7)].map(|tag| {
        let mut rng = StdRng::seed_from_u64(16);
        let rows: Vec<u64> = (0..64).flat_map(|user| [tag.unwrap_or(user), user]).collect();
        let mut session = session::Session::new(&mut rng);
        conversation::exchange(&mut session, 64, 1, &rows, &mut rng);
        (session.network.bytes(), session.network.rounds(), session.comparisons, session.opened)
    });
    assert_eq!(runs[0], runs[1]);
    // One bit for each comparison: every comparison set or clear, and nothing beyond.
    let set: u64 = runs[0].3.iter().map(|word| u64::from(word.count_ones())).sum();
    assert!(0 < set && set < runs[0].2, "{set} bits of {} comparisons", runs[0].2);
}
