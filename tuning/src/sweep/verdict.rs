//! Whether the pick beats the default by more than the noise: pairs of runs, one of each, side by side in time.

use rand::{RngExt as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Serialize;

/// How often the pairs are drawn again.
const RESAMPLES: usize = 4_000;
/// What is cut off at each end of an interval of 95%.
const TAIL: f64 = 0.025;

/// Two runs of a pair, by what each cost: less is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Of the default.
    pub default: f64,
    /// Of the pick.
    pub pick: f64,
}

/// What pairs say.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The median of the pick's costs over that of the default's.
    pub ratio: f64,
    /// Where the ratio lies, in 95 of a hundred: by the bootstrap over pairs.
    pub interval: [f64; 2],
    /// By which factor, above 1, two medians of as many runs of the default differ at most, in 95 of a hundred: the
    /// default against itself.
    pub noise: f64,
}

impl Comparison {
    /// Of some pairs, at least one; the same seed gives the same.
    ///
    /// # Panics
    /// If there are no pairs.
    #[must_use]
    pub fn of(pairs: &[Pair], seed: u64) -> Comparison {
        assert!(!pairs.is_empty(), "there is something to compare");
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut drawn =
            || -> Vec<Pair> { pairs.iter().map(|_| pairs[rng.random_range(0..pairs.len())]).collect() };
        let (mut ratios, mut noises) = (Vec::with_capacity(RESAMPLES), Vec::with_capacity(RESAMPLES));
        for _ in 0..RESAMPLES {
            let (one, other) = (drawn(), drawn());
            ratios.push(ratio(&one));
            noises.push((of_defaults(&one) / of_defaults(&other)).ln().abs());
        }
        Comparison {
            ratio: ratio(pairs),
            interval: [quantile(&mut ratios, TAIL), quantile(&mut ratios, 1.0 - TAIL)],
            noise: quantile(&mut noises, 1.0 - 2.0 * TAIL).exp(),
        }
    }

    /// Whether the pick is better by more than the noise: the whole interval is, and the ratio is further from 1 than the
    /// default is from itself.
    #[must_use]
    pub fn beats(&self) -> bool {
        self.interval[1] < 1.0 && self.ratio * self.noise < 1.0
    }
}

fn of_defaults(pairs: &[Pair]) -> f64 {
    median(pairs.iter().map(|pair| pair.default)).expect("there are pairs")
}

fn ratio(pairs: &[Pair]) -> f64 {
    median(pairs.iter().map(|pair| pair.pick)).expect("there are pairs") / of_defaults(pairs)
}

/// The middle one, or the mean of the middle two; of nothing none.
#[must_use]
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.into_iter().collect();
    twincast_loadgen::stats::Spread::of(&values).map(|spread| spread.median)
}

/// How far the middle half of some values reaches, as a part of their median; none of fewer than two.
#[must_use]
pub fn spread(values: &[f64]) -> Option<f64> {
    let middle = median(values.iter().copied()).filter(|_| values.len() > 1)?;
    let mut values = values.to_vec();
    Some((quantile(&mut values, 0.75) - quantile(&mut values, 0.25)) / middle)
}

/// Between the nearest two, in proportion.
fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = part * (values.len() - 1) as f64;
    let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
    low + (high - low) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(all: &[(f64, f64)]) -> Vec<Pair> {
        all.iter().map(|(default, pick)| Pair { default: *default, pick: *pick }).collect()
    }

    #[test]
    fn what_is_clearly_better_beats_and_the_same_seed_says_the_same() {
        let all = pairs(&[(1.00, 0.90), (1.02, 0.91), (0.99, 0.89), (1.01, 0.92), (1.00, 0.90)]);
        let comparison = Comparison::of(&all, 1);
        assert!((comparison.ratio - 0.90).abs() < 1e-9 && comparison.beats(), "{comparison:?}");
        let [low, high] = comparison.interval;
        assert!(low <= 0.90 && 0.90 <= high && 0.87 < low && high < 0.93, "{comparison:?}");
        assert!(comparison.noise > 1.0 && comparison.noise < 1.04, "{comparison:?}");
        assert_eq!(comparison, Comparison::of(&all, 1));
    }

    #[test]
    fn less_than_the_default_differs_from_itself_is_noise() {
        let all = pairs(&[(1.0, 0.99), (1.1, 1.08), (0.9, 0.89), (1.05, 1.04), (0.95, 0.94)]);
        let comparison = Comparison::of(&all, 1);
        assert!(comparison.ratio < 1.0 && !comparison.beats(), "{comparison:?}");
        let worse = pairs(&[(1.0, 1.2); 5]);
        assert!(!Comparison::of(&worse, 1).beats());
    }

    #[test]
    fn the_middle_half_is_that_of_the_textbook() {
        assert_eq!(spread(&[1.0, 2.0, 3.0, 4.0, 5.0]), Some(2.0 / 3.0));
        assert_eq!(spread(&[4.0]), None);
        assert_eq!(median([]), None);
    }
}
