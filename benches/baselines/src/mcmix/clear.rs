//! The same two protocols in the clear, by a plain sort, and workloads to run them on.

use std::collections::BTreeSet;

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use super::conversation::Submission;
use super::dialling::Dial;

/// What [`super::conversation()`] must answer.
pub fn conversation_in_the_clear(submissions: &[Submission<'_>]) -> Vec<Vec<u8>> {
    let mut order: Vec<usize> = (0..submissions.len()).collect();
    order.sort_by_key(|&user| submissions[user].tag);
    let mut answers: Vec<Vec<u8>> =
        submissions.iter().map(|submission| submission.message.to_vec()).collect();
    for run in order.chunk_by(|&left, &right| submissions[left].tag == submissions[right].tag) {
        if let &[left, right] = run {
            answers.swap(left, right);
        }
    }
    answers
}

/// What [`super::dialling()`] must answer.
pub fn dialling_in_the_clear(dials: &[Dial]) -> Vec<Option<u64>> {
    let called = |user: usize| dials[user].calls.unwrap_or(dials[user].address);
    let mut order: Vec<usize> = (0..dials.len()).collect();
    order.sort_by_key(|&user| called(user));
    let mut answers = vec![None; dials.len()];
    for run in order.chunk_by(|&left, &right| called(left) == called(right)) {
        // A run has at most one user who waits: the one whose address it is.
        if let Some(position) = run.iter().position(|&user| dials[user].calls.is_none()) {
            let neighbour = if position > 0 { run.get(position - 1) } else { run.get(1) };
            answers[run[position]] = neighbour.map(|&caller| dials[caller].address);
        }
    }
    answers
}

/// Tags and messages of a round in which about three users of four are in a conversation, in random places.
pub(super) fn talk(users: usize, message_bytes: usize, rng: &mut impl Rng) -> Vec<(u64, Vec<u8>)> {
    let mut tags: Vec<u64> = (0..users).map(|_| rng.random()).collect();
    let mut places: Vec<usize> = (0..users).collect();
    places.shuffle(rng);
    for pair in places.chunks_exact(2) {
        if rng.random_ratio(3, 4) {
            tags[pair[1]] = tags[pair[0]];
        }
    }
    let message = |rng: &mut _| {
        let mut bytes = vec![0; message_bytes];
        Rng::fill_bytes(rng, &mut bytes);
        bytes
    };
    tags.into_iter().map(|tag| (tag, message(rng))).collect()
}

/// A round in which about one user of two waits, and each of the others calls anybody.
pub(super) fn calls(users: usize, rng: &mut impl Rng) -> Vec<Dial> {
    let mut addresses = BTreeSet::new();
    while addresses.len() < users {
        addresses.insert(rng.random_range(1..u64::MAX));
    }
    let mut addresses: Vec<u64> = addresses.into_iter().collect();
    addresses.shuffle(rng);
    let dial = |&address: &u64| {
        let called = addresses[rng.random_range(0..users)];
        Dial { address, calls: rng.random::<bool>().then_some(called) }
    };
    addresses.iter().map(dial).collect()
}
