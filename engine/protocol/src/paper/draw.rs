//! Uniform numbers and orders, as the paper's algorithms draw them.

use num_bigint::BigUint;
use num_traits::{One, Zero};
use rand::CryptoRng;
use zeroize::Zeroize;

/// A uniform number in `0..bound`. Draws as many big-endian bytes as `bound - 1` has, cleared above its
/// highest bit, until they are below `bound`; nothing for a bound of 1.
///
/// # Panics
///
/// When `bound` is 0.
pub fn below(bound: u32, rng: &mut impl CryptoRng) -> u32 {
    assert!(bound > 0, "no number is below 0");
    let bits = u32::BITS - (bound - 1).leading_zeros();
    let bytes = bits.div_ceil(8) as usize;
    loop {
        let mut drawn = [0; 4];
        rng.fill_bytes(&mut drawn[4 - bytes..]);
        let number = u32::from_be_bytes(drawn) & 1u32.checked_shl(bits).map_or(u32::MAX, |above| above - 1);
        if number < bound {
            return number;
        }
    }
}

/// [`below`] for large numbers.
///
/// # Panics
///
/// When `bound` is 0.
pub fn number_below(bound: &BigUint, rng: &mut impl CryptoRng) -> BigUint {
    assert!(!bound.is_zero(), "no number is below 0");
    let bits = (bound - BigUint::one()).bits();
    let mut drawn = vec![0; usize::try_from(bits.div_ceil(8)).expect("a number in memory")];
    loop {
        rng.fill_bytes(&mut drawn);
        if let Some(first) = drawn.first_mut()
            && !bits.is_multiple_of(8)
        {
            *first &= (1 << (bits % 8)) - 1;
        }
        let number = BigUint::from_bytes_be(&drawn);
        if number < *bound {
            drawn.zeroize();
            return number;
        }
    }
}

/// Puts `items` into a uniformly random order: each from the last down changes places with one not above it.
///
/// # Panics
///
/// When there are `2^32` items or more.
pub fn shuffle<T>(items: &mut [T], rng: &mut impl CryptoRng) {
    for last in (1..items.len()).rev() {
        let other = below(u32::try_from(last + 1).expect("fewer than 2^32 items"), rng);
        items.swap(last, other as usize);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn numbers_are_below_their_bound_and_uniform() {
        let seed = 2;
        let mut rng = StdRng::seed_from_u64(seed);
        for bound in [1, 2, 3, 6, 8, 9] {
            let mut counts = vec![0; bound as usize];
            (0..1000 * bound).for_each(|_| counts[below(bound, &mut rng) as usize] += 1);
            assert!(counts.iter().all(|count| (800..1200).contains(count)), "seed {seed}: {counts:?}");
        }
        assert!((0..100).map(|_| below(u32::MAX, &mut rng)).any(|number| number > 1 << 31));
    }

    #[test]
    fn large_and_small_numbers_are_drawn_alike() {
        for bound in [1, 2, 255, 256, 257, 1 << 16, (1 << 16) + 1, 1 << 31, u32::MAX] {
            let [mut rng1, mut rng2] = [(); 2].map(|()| StdRng::seed_from_u64(bound.into()));
            for _ in 0..50 {
                let large = number_below(&bound.into(), &mut rng1);
                assert_eq!(large, BigUint::from(below(bound, &mut rng2)), "bound {bound}");
            }
        }
    }

    #[test]
    fn every_order_is_as_likely() {
        let seed = 4;
        let mut rng = StdRng::seed_from_u64(seed);
        let mut counts = BTreeMap::new();
        for _ in 0..24_000 {
            let mut items = [0, 1, 2, 3];
            shuffle(&mut items, &mut rng);
            *counts.entry(items).or_insert(0) += 1;
        }
        let even = counts.values().all(|count| (800..1200).contains(count));
        assert!(counts.len() == 24 && even, "seed {seed}: {counts:?}");
        shuffle::<u8>(&mut [], &mut rng);
    }
}
