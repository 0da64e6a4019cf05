//! Comparisons on bit planes: 64 rows to a word, so that a gate sends one bit for each row.

use super::gate::and;
use super::session::{Session, unzip, zip};
use super::share::{Share, Shared, Xor};

/// Words for one bit of every row.
pub(super) fn plane_words(rows: usize) -> usize {
    rows.div_ceil(64)
}

/// The low `bits` bits of one word of each row as planes, the most significant first. Rows that fill up the
/// last word are 0.
pub(super) fn planes(rows: usize, bits: u32, word: impl Fn(usize) -> u64) -> Vec<u64> {
    let width = plane_words(rows);
    let mut planes = vec![0; bits as usize * width];
    for block in 0..width {
        let mut square: [u64; 64] = std::array::from_fn(|index| {
            let row = 64 * block + index;
            if row < rows { word(row) } else { 0 }
        });
        transpose(&mut square);
        for (plane, bit) in (0..bits as usize).rev().enumerate() {
            planes[plane * width + block] = square[bit];
        }
    }
    planes
}

/// Bit c of word r becomes bit r of word c.
fn transpose(square: &mut [u64; 64]) {
    let mut distance = 32;
    let mut mask = u64::MAX >> 32;
    while distance != 0 {
        let mut row = 0;
        while row < 64 {
            let swap = ((square[row] >> distance) ^ square[row + distance]) & mask;
            square[row] ^= swap << distance;
            square[row + distance] ^= swap;
            row = (row + distance + 1) & !distance;
        }
        distance >>= 1;
        mask ^= mask << distance;
    }
}

/// For each row of one plane a word of that bit only: 0 or all ones.
pub(super) fn spread(plane: &[u64], rows: usize) -> Vec<u64> {
    (0..rows).map(|row| (plane[row / 64] >> (row % 64) & 1).wrapping_neg()).collect()
}

/// Row r gets the bit of row r - 1; row 0 gets 0.
pub(super) fn from_row_before(plane: &[u64]) -> Vec<u64> {
    let mut carry = 0;
    plane.iter().map(|&word| (word << 1) | std::mem::replace(&mut carry, word >> 63)).collect()
}

/// Row r gets the bit of row r + 1; the last row gets 0.
pub(super) fn from_row_after(plane: &[u64]) -> Vec<u64> {
    let after = plane.iter().skip(1).chain([&0]);
    plane.iter().zip(after).map(|(word, after)| (word >> 1) | (after << 63)).collect()
}

/// Clears the bits of row `rows` and beyond.
pub(super) fn keep_rows(plane: &[u64], rows: usize) -> Vec<u64> {
    let kept = |index: usize| match rows.saturating_sub(64 * index) {
        0 => 0,
        left @ 1..64 => (1 << left) - 1,
        _ => u64::MAX,
    };
    plane.iter().enumerate().map(|(index, &word)| word & kept(index)).collect()
}

/// Whether row by row `left` < `right` as unsigned numbers, as one plane. Both are planes, the most
/// significant first.
///
/// Each bit is compared by one gate; then neighbours are joined in a tree: the higher one decides unless it
/// is equal. For k bits 1 + ceil(log2 k) rounds and fewer than 3k gates a row. It stands in for Sharemind's
/// less-than protocol.
pub(super) fn less_than(session: &mut Session, left: Shared<Xor>, right: Shared<Xor>) -> Shared<Xor> {
    let leaves = session.local(zip(left, right), |party, (left, right)| {
        let equal = left.plus(&right).not(party.index);
        ((left.not(party.index), right), equal)
    });
    let (factors, mut equal) = unzip(leaves);
    let (left, right) = unzip(factors);
    let mut less = and(session, left, right);
    while less[0].rows() > 1 {
        let nodes = less[0].rows();
        let (pairs, decisive) = (nodes / 2, nodes.div_ceil(2) - 1);
        let factors = session.local(zip(less.each_ref(), equal.each_ref()), |_, (less, equal)| {
            let high = pick(equal, (0..pairs).chain(0..decisive).map(|pair| 2 * pair));
            let low = pick(less, (0..pairs).map(|pair| 2 * pair + 1));
            (high, low.then(&pick(equal, (0..decisive).map(|pair| 2 * pair + 1))))
        });
        let (high, low) = unzip(factors);
        let product = and(session, high, low);
        let joined = session.local(zip(less, product), |_, (less, product)| {
            let joined = pick(&less, (0..pairs).map(|pair| 2 * pair)).plus(&pick(&product, 0..pairs));
            // The last node of an odd number waits for the next turn.
            let joined = joined.then(&pick(&less, 2 * pairs..nodes));
            (joined, pick(&product, pairs..pairs + decisive))
        });
        (less, equal) = unzip(joined);
    }
    less
}

/// Whether row by row `left` = `right`, as one plane: for k bits ceil(log2 k) rounds and k - 1 gates a row.
pub(super) fn equal(session: &mut Session, left: Shared<Xor>, right: Shared<Xor>) -> Shared<Xor> {
    let mut equal =
        session.local(zip(left, right), |party, (left, right)| left.plus(&right).not(party.index));
    while equal[0].rows() > 1 {
        let (nodes, half) = (equal[0].rows(), equal[0].rows() / 2);
        let factors =
            session.local(equal.each_ref(), |_, equal| (pick(equal, 0..half), pick(equal, half..2 * half)));
        let (left, right) = unzip(factors);
        let product = and(session, left, right);
        equal = session
            .local(zip(equal, product), |_, (equal, product)| product.then(&pick(&equal, 2 * half..nodes)));
    }
    equal
}

/// The named planes, in that order.
pub(super) fn pick(share: &Share<Xor>, planes: impl Iterator<Item = usize> + Clone) -> Share<Xor> {
    let width = share.width;
    share.linear(width, |words| {
        planes.clone().flat_map(|plane| &words[plane * width..][..width]).copied().collect()
    })
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::mcmix::share::{open, public};

    const EDGES: [u64; 8] = [0, 1, 2, (1 << 63) - 1, 1 << 63, (1 << 63) + 1, u64::MAX - 1, u64::MAX];

    fn shared(session: &mut Session, bits: u32, words: &[u64]) -> Shared<Xor> {
        let planes = planes(words.len(), bits, |row| words[row]);
        public(session, plane_words(words.len()), &planes)
    }

    fn bits_of(plane: &[u64], rows: usize) -> Vec<bool> {
        spread(plane, rows).into_iter().map(|word| word != 0).collect()
    }

    /// Every pair of edges, random pairs, and random pairs that are equal, at several widths.
    #[test]
    fn comparisons_are_right() {
        let mut rng = StdRng::seed_from_u64(12);
        for bits in [1, 2, 3, 7, 17, 63, 64] {
            let mut session = Session::new(&mut rng);
            let low = u64::MAX >> (64 - bits);
            let mut pairs: Vec<(u64, u64)> =
                EDGES.iter().flat_map(|&a| EDGES.map(|b| (a & low, b & low))).collect();
            pairs.extend((0..100).map(|_| (rng.random::<u64>() & low, rng.random::<u64>() & low)));
            pairs.extend((0..100).map(|_| rng.random::<u64>() & low).map(|a| (a, a)));
            pairs.extend((0..bits).map(|bit| (0, 1 << bit)));
            let (left, right): (Vec<u64>, Vec<u64>) = pairs.iter().copied().unzip();
            for words in [&left, &right] {
                assert!(words.iter().all(|word| *word <= low));
            }
            let (a, b) = (shared(&mut session, bits, &left), shared(&mut session, bits, &right));
            let before = (session.network.rounds(), session.network.bytes()[0][2]);
            let less = less_than(&mut session, a, b);
            let after = (session.network.rounds(), session.network.bytes()[0][2]);
            assert_eq!(after.0 - before.0, 1 + u64::from(bits.next_power_of_two().ilog2()));
            assert!(after.1 - before.1 < 8 * 3 * u64::from(bits) * plane_words(pairs.len()) as u64);
            let less = open(&mut session, &less)[0].clone();
            let (a, b) = (shared(&mut session, bits, &left), shared(&mut session, bits, &right));
            let same = equal(&mut session, a, b);
            let same = open(&mut session, &same)[0].clone();
            for (row, (a, b)) in pairs.iter().enumerate() {
                assert_eq!(bits_of(&less, pairs.len())[row], a < b, "{a} < {b} in {bits} bits");
                assert_eq!(bits_of(&same, pairs.len())[row], a == b, "{a} = {b} in {bits} bits");
            }
        }
    }

    #[test]
    fn planes_hold_each_bit_of_each_row() {
        let mut rng = StdRng::seed_from_u64(13);
        for rows in [1, 63, 64, 65, 200] {
            let words: Vec<u64> = (0..rows).map(|_| rng.random()).collect();
            let width = plane_words(rows);
            let planes = planes(rows, 64, |row| words[row]);
            for (row, word) in words.iter().enumerate() {
                let back = (0..64)
                    .fold(0, |word, plane| word << 1 | planes[plane * width + row / 64] >> (row % 64) & 1);
                assert_eq!(back, *word);
            }
        }
    }

    #[test]
    fn planes_move_by_rows_and_are_cut_at_rows() {
        let mut rng = StdRng::seed_from_u64(14);
        let plane: Vec<u64> = (0..3).map(|_| rng.random()).collect();
        let bits = bits_of(&plane, 192);
        let moved = bits_of(&from_row_before(&plane), 192);
        assert!(!moved[0] && moved[1..] == bits[..191]);
        let moved = bits_of(&from_row_after(&plane), 192);
        assert!(!moved[191] && moved[..191] == bits[1..]);
        for rows in [0, 1, 63, 64, 65, 128, 191, 192] {
            let kept = bits_of(&keep_rows(&plane, rows), 192);
            assert!(kept[..rows] == bits[..rows] && !kept[rows..].contains(&true), "{rows} rows");
        }
    }
}
