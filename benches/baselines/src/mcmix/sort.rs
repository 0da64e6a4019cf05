//! Quicksort of shuffled rows, with opened comparisons.

use super::bits::{less_than, plane_words, planes};
use super::network::PARTIES;
use super::session::{Session, unzip, zip};
use super::share::{Share, Shared, Sum, Xor, open};

/// The rows' order by the given columns, the most significant first, each as (column, number of low bits that
/// count).
///
/// The rows must have been shuffled, and their keys must all be different. Then what the opened comparisons
/// tell is a uniformly random order and nothing else (Hamada et al. 2012, on which Sharemind's quicksort is
/// built). All partitions of a level are compared at once. Every party works out the order for itself; the
/// three orders are the same.
pub(super) fn sort(session: &mut Session, rows: &Shared<Xor>, keys: &[(usize, u32)]) -> [Vec<u32>; PARTIES] {
    let count = rows[0].rows();
    let mut states = session.local([(); PARTIES], |_, ()| Quicksort::new(count));
    while !states[0].parts.is_empty() {
        let compared = session.local(zip(states.each_ref(), rows.each_ref()), |_, (state, share)| {
            let pairs = state.pairs();
            (key_planes(share, keys, &pairs, |pair| pair.0), key_planes(share, keys, &pairs, |pair| pair.1))
        });
        let comparisons: usize = states[0].parts.iter().map(|part| part.len() - 1).sum();
        let (left, right) = unzip(compared);
        let less = less_than(session, left, right);
        let opened = open(session, &less);
        session.comparisons += comparisons as u64;
        session.sort_levels += 1;
        states = session.local(zip(states, opened), |_, (state, less)| state.split(&less));
    }
    states.map(|state| state.order)
}

/// Both matrices in an order that all parties know.
pub(super) fn in_order(
    session: &mut Session,
    orders: &[Vec<u32>; PARTIES],
    bits: &Shared<Xor>,
    sums: &Shared<Sum>,
) -> (Shared<Xor>, Shared<Sum>) {
    let both = zip(bits.each_ref(), sums.each_ref());
    let selected = session.local(zip(orders.each_ref(), both), |_, (order, (bits, sums))| {
        (bits.select(order), sums.select(order))
    });
    unzip(selected)
}

/// The key columns of one row of each pair, as planes.
fn key_planes(
    share: &Share<Xor>,
    keys: &[(usize, u32)],
    pairs: &[(u32, u32)],
    row: impl Fn(&(u32, u32)) -> u32,
) -> Share<Xor> {
    share.linear(plane_words(pairs.len()), |words| {
        let key = |&(column, bits): &(usize, u32)| {
            planes(pairs.len(), bits, |pair| words[row(&pairs[pair]) as usize * share.width + column])
        };
        keys.iter().flat_map(key).collect()
    })
}

/// One party's state between two levels.
struct Quicksort {
    /// Rows, in the order found so far.
    order: Vec<u32>,
    /// The stretches of `order` that are not sorted yet, each of at least two rows. The first row is the
    /// pivot: the rows were shuffled, and each level keeps their relative order, so it is a random one.
    parts: Vec<std::ops::Range<usize>>,
}

impl Quicksort {
    fn new(rows: usize) -> Quicksort {
        let order = (0..u32::try_from(rows).expect("the number of users is limited")).collect();
        Quicksort { order, parts: if rows < 2 { Vec::new() } else { std::iter::once(0..rows).collect() } }
    }

    /// Who is compared in this level: (row, pivot of its part).
    fn pairs(&self) -> Vec<(u32, u32)> {
        let part = |part: &std::ops::Range<usize>| {
            let pivot = self.order[part.start];
            self.order[part.start + 1..part.end].iter().map(move |&row| (row, pivot))
        };
        self.parts.iter().flat_map(part).collect()
    }

    /// The next level, from the opened comparisons: bit p says that the row of pair p comes before its pivot.
    fn split(mut self, less: &[u64]) -> Quicksort {
        let mut parts = Vec::with_capacity(2 * self.parts.len());
        let mut pair = 0;
        let mut after = Vec::new();
        for part in self.parts {
            let pivot = self.order[part.start];
            let mut end = part.start;
            after.clear();
            for position in part.start + 1..part.end {
                let row = self.order[position];
                if less[pair / 64] >> (pair % 64) & 1 == 1 {
                    self.order[end] = row;
                    end += 1;
                } else {
                    after.push(row);
                }
                pair += 1;
            }
            self.order[end] = pivot;
            self.order[end + 1..part.end].copy_from_slice(&after);
            parts.extend([part.start..end, end + 1..part.end].into_iter().filter(|part| part.len() > 1));
        }
        Quicksort { order: self.order, parts }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::StdRng;
    use rand::seq::SliceRandom;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::mcmix::share::public;
    use crate::mcmix::shuffle::shuffle;

    /// Rows of a key that may repeat and an index that does not, against a plain sort.
    #[test]
    fn rows_come_out_as_a_plain_sort_has_them() {
        for (seed, rows, spread) in [
            (15, 1, 1),
            (16, 2, 1),
            (17, 3, 2),
            (18, 64, 5),
            (19, 65, u64::MAX),
            (20, 700, 40),
            (21, 700, u64::MAX),
        ] {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut session = Session::new(&mut rng);
            let mut index: Vec<u64> = (0..rows).collect();
            index.shuffle(&mut rng);
            let mut expected: Vec<(u64, u64)> =
                index.iter().map(|&i| (rng.random_range(0..spread), i)).collect();
            let words: Vec<u64> = expected.iter().flat_map(|&(key, index)| [key, index]).collect();
            let shared = public(&mut session, 2, &words);
            let orders = sort(&mut session, &shared, &[(0, 64), (1, 10)]);
            assert!(orders[0] == orders[1] && orders[1] == orders[2]);
            let found: Vec<(u64, u64)> = orders[0].iter().map(|&row| expected[row as usize]).collect();
            expected.sort_unstable();
            assert_eq!(found, expected, "seed {seed}, {rows} rows");
        }
    }

    /// What is opened is one bit a comparison, and its distribution is that of a random order, whatever the
    /// keys are: here all equal but for the index, and all different.
    #[test]
    fn opened_words_tell_a_random_order_and_no_more() {
        const TRIES: u32 = 3000;
        let mut rng = StdRng::seed_from_u64(22);
        let mut session = Session::new(&mut rng);
        let mut seen: [BTreeMap<Vec<u64>, u32>; 2] = Default::default();
        for (keys, seen) in [[9, 9, 9], [1 << 63, 7, u64::MAX]].into_iter().zip(&mut seen) {
            for _ in 0..TRIES {
                let words: Vec<u64> =
                    keys.into_iter().zip(0..).flat_map(|(key, index)| [key, index]).collect();
                let shared = public(&mut session, 2, &words);
                let none = session.local([(); PARTIES], |_, ()| Share::new(0, Vec::new(), Vec::new()));
                let (shared, _) = shuffle(&mut session, shared, none);
                session.opened.clear();
                let comparisons = session.comparisons;
                sort(&mut session, &shared, &[(0, 64), (1, 2)]);
                // Two rows against the pivot, and one more comparison where both fall on one side of it.
                assert!(matches!(session.comparisons - comparisons, 2 | 3));
                assert!(session.opened[0] < 4 && session.opened[1..].iter().all(|word| *word < 2));
                *seen.entry(session.opened.clone()).or_default() += 1;
            }
        }
        // [0, 0], [0, 1], [1], [2], [3, 0] and [3, 1] stand for one order each.
        for seen in &seen {
            let expected = f64::from(TRIES) / 6.0;
            let chi: f64 = seen.values().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum();
            assert!(seen.len() == 6 && chi < 25.0, "{chi}: {seen:?}");
        }
    }
}
