//! The dialling protocol: a user who waits for calls learns one caller.

use std::collections::BTreeSet;

use rand::CryptoRng;

use super::bits::{equal, from_row_before, pick, plane_words, planes, spread};
use super::gate::{and, sums_to_bits};
use super::network::PARTIES;
use super::session::{Session, unzip, zip};
use super::share::{Share, Shared, Xor, enter, leave, public, side_by_side};
use super::shuffle::shuffle;
use super::sort::{in_order, sort};
use super::{Cost, McmixError, check_users, index_bits};

/// No address: what a user gets whom nobody called.
const NOBODY: u64 = 0;

/// Stands in a caller's place in the row of a user who waits for calls.
const WAITING: u64 = u64::MAX;

/// What one user does in a round of dialling.
#[derive(Clone, Copy, Debug)]
pub struct Dial {
    /// The user's own address, which the servers know: not 0, not `u64::MAX`, and nobody else's.
    pub address: u64,
    /// The address called, or `None` to wait for calls. As in the paper a user does one or the other in a
    /// round.
    pub calls: Option<u64>,
}

/// One round of dialling: the cost, and the address of a caller for each user, in the users' order.
///
/// A user who waits gets one of the callers: the nearest before it in the servers' list of users, if there is
/// one, else the nearest after it. A user who calls gets nothing.
///
/// # Errors
///
/// [`McmixError::Users`] without users or with more than [`super::USERS_MAX`]; [`McmixError::Address`] if an
/// own address is reserved or appears twice, or a called one is reserved.
pub fn dialling(dials: &[Dial], rng: &mut impl CryptoRng) -> Result<(Cost, Vec<Option<u64>>), McmixError> {
    let users = check_users(dials.len())?;
    let reserved = |address: u64| matches!(address, NOBODY | WAITING);
    let mut taken = BTreeSet::new();
    for dial in dials {
        if reserved(dial.address) || dial.calls.is_some_and(reserved) || !taken.insert(dial.address) {
            return Err(McmixError::Address);
        }
    }
    let row = |dial: &Dial| match dial.calls {
        Some(called) => [dial.address, called],
        None => [WAITING, dial.address],
    };
    let rows: Vec<u64> = dials.iter().flat_map(row).collect();
    let addresses: Vec<u64> = dials.iter().map(|dial| dial.address).collect();
    let mut session = Session::new(rng);
    let callers = find_callers(&mut session, users, &rows, &addresses, rng);
    let callers = callers.into_iter().map(|caller| (caller != NOBODY).then_some(caller)).collect();
    Ok((Cost::of(&session, users, 0), callers))
}

/// The three parties' part, from entry to exit: rows of a caller and a called one in, rows of a caller out.
pub(super) fn find_callers(
    session: &mut Session,
    users: usize,
    rows: &[u64],
    addresses: &[u64],
    rng: &mut impl CryptoRng,
) -> Vec<u64> {
    let entered = enter(session, 2, rows, rng);
    let rows = sums_to_bits(session, &entered);
    let rows = only_own(session, rows, addresses);
    let places: Vec<u64> = (0..users as u64).collect();
    let places = public(session, 1, &places);
    let rows = side_by_side(session, rows, places);

    // Sort by the called address. The place makes equal ones different.
    let none = nothing_else(session);
    let (rows, none) = shuffle(session, rows, none);
    let orders = sort(session, &rows, &[(1, 64), (2, index_bits(users))]);
    let (rows, none) = in_order(session, &orders, &rows, &none);

    let callers = neighbours_callers(session, &rows, users);
    let places = session.local(rows, |_, rows| rows.columns(2..3));
    let answers = side_by_side(session, callers, places);
    let (answers, none) = shuffle(session, answers, none);
    let orders = sort(session, &answers, &[(1, index_bits(users))]);
    let (answers, _) = in_order(session, &orders, &answers, &none);
    let callers = session.local(answers, |_, answers| answers.columns(0..1));
    leave(session, callers)
}

/// Dialling carries nothing besides its keys through the shuffle.
fn nothing_else(session: &mut Session) -> [Share<super::share::Sum>; PARTIES] {
    session.local([(); PARTIES], |_, ()| Share::new(0, Vec::new(), Vec::new()))
}

/// Clears every row in which the user's own address stands in neither place: nobody may call in another's
/// name.
fn only_own(session: &mut Session, rows: Shared<Xor>, addresses: &[u64]) -> Shared<Xor> {
    let users = addresses.len();
    let width = plane_words(users);
    let own = planes(users, 64, |row| addresses[row]);
    let own = public(session, 2 * width, &doubled(&own, width));
    let both = column_planes(session, &rows, users, &[(0, 0), (1, 0)]);
    let same = equal(session, both, own);
    let factors = session.local(same, |party, same| {
        let differs = same.not(party.index);
        (
            differs.linear(width, |plane| plane[..width].to_vec()),
            differs.linear(width, |plane| plane[width..].to_vec()),
        )
    });
    let (first, second) = unzip(factors);
    let invalid = and(session, first, second);
    let valid = session.local(invalid, |party, invalid| {
        let plane = invalid.not(party.index);
        plane.linear(2, |plane| spread(plane, users).into_iter().flat_map(|word| [word, word]).collect())
    });
    and(session, rows, valid)
}

/// Each plane twice, side by side.
fn doubled(planes: &[u64], width: usize) -> Vec<u64> {
    planes.chunks_exact(width).flat_map(|plane| [plane, plane].concat()).collect()
}

/// Planes of several columns side by side, so that one comparison takes them all: each as (column, rows
/// further down).
fn column_planes(
    session: &mut Session,
    rows: &Shared<Xor>,
    users: usize,
    columns: &[(usize, usize)],
) -> Shared<Xor> {
    let width = plane_words(users);
    session.local(rows.each_ref(), |_, rows| {
        rows.linear(columns.len() * width, |words| {
            let of_column = |&(column, down): &(usize, usize)| {
                planes(users, 64, |row| words.get((row + down) * rows.width + column).copied().unwrap_or(0))
            };
            let each: Vec<Vec<u64>> = columns.iter().map(of_column).collect();
            (0..64)
                .flat_map(|plane| each.iter().flat_map(move |planes| &planes[plane * width..][..width]))
                .copied()
                .collect()
        })
    })
}

/// For each row of (caller, called, place) in order: the neighbour's caller if this row's user waits and the
/// neighbour calls the same address, else nobody. The row before goes first.
fn neighbours_callers(session: &mut Session, rows: &Shared<Xor>, users: usize) -> Shared<Xor> {
    let width = plane_words(users);
    let left = column_planes(session, rows, users, &[(0, 0), (1, 0)]);
    let after = column_planes(session, rows, users, &[(1, 1)]);
    let waiting = planes(users, 64, |_| WAITING);
    let right = session.local(after, |party, after| {
        let zeros = vec![0; waiting.len()];
        let waiting =
            Share::new(width, zeros.clone(), zeros).plus_public(party.index, waiting.iter().copied());
        let join = |a: &[u64], b: &[u64]| {
            a.chunks_exact(width).zip(b.chunks_exact(width)).flat_map(|(a, b)| [a, b].concat()).collect()
        };
        Share::new(2 * width, join(&waiting.own, &after.own), join(&waiting.next, &after.next))
    });
    let same = equal(session, left, right);
    let factors = session.local(same, |_, same| {
        let waits = same.linear(width, |plane| plane[..width].to_vec());
        // After the last row comes one of zeros, and nobody who waits has that address.
        let after = same.linear(width, |plane| plane[width..].to_vec());
        let before = after.linear(width, from_row_before);
        let twice = waits.linear(width, |plane| [plane, plane].concat());
        (twice, before.then(&after))
    });
    let (waits, same) = unzip(factors);
    let by_neighbour = and(session, waits, same);
    let factors =
        session.local(by_neighbour.each_ref(), |party, by| (pick(by, 0..1).not(party.index), pick(by, 1..2)));
    let (not_before, after) = unzip(factors);
    let after = and(session, not_before, after);
    let factors = session.local(zip(zip(by_neighbour, after), rows.each_ref()), |_, ((by, after), rows)| {
        let masks = pick(&by, 0..1).linear(1, |plane| spread(plane, users));
        let masks = masks.then(&after.linear(1, |plane| spread(plane, users)));
        let callers = rows.columns(0..1);
        let before = callers.linear(1, |callers| [&[0], &callers[..users - 1]].concat());
        let after = callers.linear(1, |callers| [&callers[1..], &[0]].concat());
        (masks, before.then(&after))
    });
    let (masks, callers) = unzip(factors);
    let chosen = and(session, masks, callers);
    session.local(chosen, |_, chosen| {
        let half = |words: std::ops::Range<usize>| chosen.linear(1, |chosen| chosen[words.clone()].to_vec());
        half(0..users).plus(&half(users..2 * users))
    })
}
