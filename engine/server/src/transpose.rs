//! Turns session keys (a row of bits per sender) into select words (a word of 64 senders' bits per recipient).

/// Transposes a 64 x 64 bit matrix in place: afterwards bit `c` of `rows[r]` is what bit `r` of `rows[c]` was.
///
/// Swaps ever smaller off-diagonal blocks: 6 steps of 32 swaps (Warren, Hacker's Delight, 7-3).
pub fn transpose_64(rows: &mut [u64; 64]) {
    let mut width = 32;
    let mut mask = 0x0000_0000_ffff_ffff_u64;
    while width != 0 {
        let mut row = 0;
        while row < 64 {
            let swap = ((rows[row] >> width) ^ rows[row + width]) & mask;
            rows[row] ^= swap << width;
            rows[row + width] ^= swap;
            row = (row + width + 1) & !width;
        }
        width >>= 1;
        mask ^= mask << width;
    }
}

/// The select words of one tile: word `u` has at bit `s` the bit of sender `s`'s session key for recipient `u`.
///
/// `keys` are the session keys of up to 64 consecutive senders, `ceil(members / 64)` words each with recipient `u` at
/// bit `u % 64` of word `u / 64`; `words` has one place for each of the `members`.
///
/// # Panics
/// If there are more than 64 keys, or a key is too short.
pub fn select_words<'k>(keys: impl ExactSizeIterator<Item = &'k [u64]> + Clone, words: &mut [u64]) {
    assert!(keys.len() <= 64, "a tile has at most 64 senders");
    for (block, words) in words.chunks_mut(64).enumerate() {
        let mut rows = [0; 64];
        for (row, key) in rows.iter_mut().zip(keys.clone()) {
            *row = key[block];
        }
        transpose_64(&mut rows);
        words.copy_from_slice(&rows[..words.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    #[test]
    fn every_bit_changes_places() {
        let seed = 1;
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let before: [u64; 64] = std::array::from_fn(|_| rng.random());
        let mut after = before;
        transpose_64(&mut after);
        for (row, after) in after.iter().enumerate() {
            for (column, before) in before.iter().enumerate() {
                assert_eq!(after >> column & 1, before >> row & 1, "seed {seed} ({row}, {column})");
            }
        }
    }

    #[test]
    fn select_words_agree_with_the_naive_lookup() {
        let seed = 2;
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        for (senders, members) in [(1, 2), (3, 64), (64, 65), (37, 130), (64, 1000)] {
            let width = usize::div_ceil(members, 64);
            let keys: Vec<u64> = (0..senders * width).map(|_| rng.random()).collect();
            let mut words = vec![0; members];
            select_words(keys.chunks_exact(width), &mut words);
            for (recipient, word) in words.iter().enumerate() {
                for sender in 0..64 {
                    let bit = if sender < senders {
                        keys[sender * width + recipient / 64] >> (recipient % 64) & 1
                    } else {
                        0
                    };
                    assert_eq!(word >> sender & 1, bit, "seed {seed}: {senders} senders, {members} members");
                }
            }
        }
    }
}
