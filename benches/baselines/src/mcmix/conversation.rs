//! The conversation protocol: users of one tag exchange their messages.

use rand::CryptoRng;

use super::bits::{equal, from_row_after, from_row_before, keep_rows, plane_words, planes, spread};
use super::gate::{and, sums_to_bits};
use super::session::{Session, unzip, zip};
use super::share::{Shared, Xor, enter, leave, public, side_by_side};
use super::shuffle::shuffle;
use super::sort::{in_order, sort};
use super::{Cost, McmixError, check_users, index_bits};

/// What one user submits in a round of conversation.
#[derive(Clone, Copy, Debug)]
pub struct Submission<'a> {
    /// The tag that the two users of a conversation have agreed on for this round; a lonely user takes a
    /// random one.
    pub tag: u64,
    /// The message, as long as everybody's.
    pub message: &'a [u8],
}

/// One round of conversation: the cost, and what each user gets, in the users' order.
///
/// Two users who alone have a tag get each other's message. Everybody else, also three or more users with one
/// tag, gets the own message back.
///
/// # Errors
///
/// [`McmixError::Users`] without users or with more than [`super::USERS_MAX`]; [`McmixError::MessageBytes`]
/// if a message is empty or not as long as the first one.
pub fn conversation(
    submissions: &[Submission<'_>],
    rng: &mut impl CryptoRng,
) -> Result<(Cost, Vec<Vec<u8>>), McmixError> {
    let users = check_users(submissions.len())?;
    let message_bytes = submissions[0].message.len();
    if message_bytes == 0 || submissions.iter().any(|submission| submission.message.len() != message_bytes) {
        return Err(McmixError::MessageBytes);
    }
    let message_words = message_bytes.div_ceil(8);
    let rows: Vec<u64> = submissions.iter().flat_map(row).collect();
    let mut session = Session::new(rng);
    let answers = exchange(&mut session, users, message_words, &rows, rng);
    let message = |words: &[u64]| {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(message_bytes);
        bytes
    };
    let answers = answers.chunks_exact(message_words).map(message).collect();
    Ok((Cost::of(&session, users, message_bytes), answers))
}

/// The tag and the message's words, the last one filled up with zeros.
fn row<'a>(submission: &Submission<'a>) -> impl Iterator<Item = u64> + use<'a> {
    let message = submission.message.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    std::iter::once(submission.tag).chain(message)
}

/// The three parties' part, from entry to exit: rows of a tag and a message in, rows of a message out.
pub(super) fn exchange(
    session: &mut Session,
    users: usize,
    message_words: usize,
    rows: &[u64],
    rng: &mut impl CryptoRng,
) -> Vec<u64> {
    let width = 1 + message_words;
    let entered = enter(session, width, rows, rng);
    let parts = session.local(entered, |_, share| (share.columns(0..1), share.columns(1..width)));
    let (tags, messages) = unzip(parts);
    let tags = sums_to_bits(session, &tags);
    let places: Vec<u64> = (0..users as u64).collect();
    let places = public(session, 1, &places);
    let keyed = side_by_side(session, tags, places);

    // Sort by tag. The place makes equal tags different, so that comparisons tell nothing of ties.
    let (keyed, messages) = shuffle(session, keyed, messages);
    let orders = sort(session, &keyed, &[(0, 64), (1, index_bits(users))]);
    let (keyed, messages) = in_order(session, &orders, &keyed, &messages);

    // It is the places that change hands, one word instead of a message: whoever's row gets my place, I get
    // its message.
    let places = swap_places(session, &keyed, users);
    let (places, messages) = shuffle(session, places, messages);
    let orders = sort(session, &places, &[(0, index_bits(users))]);
    let (_, messages) = in_order(session, &orders, &places, &messages);
    leave(session, messages)
}

/// The places after neighbours of one tag have exchanged theirs, from rows of (tag, place) in order.
fn swap_places(session: &mut Session, keyed: &Shared<Xor>, users: usize) -> Shared<Xor> {
    let pairs = exact_pairs(session, keyed, users);
    let factors = session.local(zip(pairs, keyed.each_ref()), |_, (pairs, keyed)| {
        let pairs = pairs.linear(1, |plane| spread(plane, users));
        let places = keyed.columns(1..2);
        let difference = places.linear(1, |places| {
            let after = places.iter().skip(1).chain([&0]);
            places.iter().zip(after).map(|(place, after)| place ^ after).collect()
        });
        (pairs, difference)
    });
    let (pairs, difference) = unzip(factors);
    let swapped = and(session, pairs, difference);
    session.local(zip(swapped, keyed.each_ref()), |_, (swapped, keyed)| {
        let from_before = swapped.linear(1, |swapped| [&[0], &swapped[..swapped.len() - 1]].concat());
        keyed.columns(1..2).plus(&swapped).plus(&from_before)
    })
}

/// One plane: whether a row and the one after it are the only two of their tag.
fn exact_pairs(session: &mut Session, keyed: &Shared<Xor>, users: usize) -> Shared<Xor> {
    let tags = session.local(keyed.each_ref(), |_, keyed| {
        let tag = |words: &[u64], row: usize| words.get(row * 2).copied().unwrap_or(0);
        let width = plane_words(users);
        let here = keyed.linear(width, |words| planes(users, 64, |row| tag(words, row)));
        (here, keyed.linear(width, |words| planes(users, 64, |row| tag(words, row + 1))))
    });
    let (here, after) = unzip(tags);
    let same = equal(session, here, after);
    let factors = session.local(same, |party, same| {
        // The last row has no row after it.
        let same = same.linear(same.width, |plane| keep_rows(plane, users - 1));
        let first = same.linear(same.width, from_row_before).not(party.index);
        let last = same.linear(same.width, from_row_after).not(party.index);
        (same, (first, last))
    });
    let (same, ends) = unzip(factors);
    let (first, last) = unzip(ends);
    let alone = and(session, first, last);
    and(session, same, alone)
}
