//! Figures over repeats: their spread, and whether two sets of them differ.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF as _, StudentsT};

/// Repeats of each side from which an interval says something.
pub const REPEATS_MIN: usize = 3;
/// How sure an interval is.
pub const CONFIDENCE: f64 = 0.95;

/// A figure over repeats, in its own unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Half of all are at most this; the mean of the middle two where their number is even.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// Their mean.
    pub mean: f64,
    /// The sample's standard deviation (divided by n - 1); none of a single one.
    pub stdev: Option<f64>,
    /// How many there are.
    pub n: u32,
    /// Each, in the order of the repeats.
    pub values: Vec<f64>,
}

impl Spread {
    /// Of some values; `None` of nothing.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Spread> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        } else {
            sorted[middle]
        };
        let stdev = (sorted.len() > 1).then(|| variance(values).sqrt());
        Some(Spread {
            median,
            min,
            max,
            mean: mean(values),
            stdev,
            n: values.len() as u32,
            values: values.to_vec(),
        })
    }
}

/// How many times as great as another a figure is, by the geometric means of both, and where that lies by Welch's test
/// on the logarithms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ratio {
    /// The second over the first.
    pub ratio: f64,
    /// The ends of its interval of [`CONFIDENCE`]; none with fewer than [`REPEATS_MIN`] repeats of either.
    pub interval: Option<[f64; 2]>,
}

impl Ratio {
    /// Of `b` over `a`; `None` where one of them has a value that is not above 0, or none at all.
    #[must_use]
    pub fn of(a: &[f64], b: &[f64]) -> Option<Ratio> {
        let (a, b) = (logarithms(a)?, logarithms(b)?);
        let difference = mean(&b) - mean(&a);
        let enough = a.len().min(b.len()) >= REPEATS_MIN;
        let interval = enough.then(|| {
            let half = half_width(&a, &b);
            [(difference - half).exp(), (difference + half).exp()]
        });
        Some(Ratio { ratio: difference.exp(), interval })
    }

    /// Whether the interval leaves out 1: below it, or above.
    #[must_use]
    pub fn differs(&self) -> Option<std::cmp::Ordering> {
        match self.interval? {
            [_, high] if high < 1.0 => Some(std::cmp::Ordering::Less),
            [low, _] if low > 1.0 => Some(std::cmp::Ordering::Greater),
            _ => Some(std::cmp::Ordering::Equal),
        }
    }
}

/// Half of the interval of the difference of two means.
fn half_width(a: &[f64], b: &[f64]) -> f64 {
    let squared_error = squared_error(a) + squared_error(b);
    if squared_error <= 0.0 {
        return 0.0;
    }
    let student = StudentsT::new(0.0, 1.0, freedom(a, b)).expect("there are degrees of freedom");
    student.inverse_cdf(f64::midpoint(1.0, CONFIDENCE)) * squared_error.sqrt()
}

/// Welch's and Satterthwaite's degrees of freedom.
fn freedom(a: &[f64], b: &[f64]) -> f64 {
    let part = |values: &[f64]| squared_error(values).powi(2) / (values.len() as f64 - 1.0);
    (squared_error(a) + squared_error(b)).powi(2) / (part(a) + part(b))
}

/// Of a mean.
fn squared_error(values: &[f64]) -> f64 {
    variance(values) / values.len() as f64
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The sample's, divided by n - 1.
fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0)
}

fn logarithms(values: &[f64]) -> Option<Vec<f64>> {
    let good = !values.is_empty() && values.iter().all(|value| *value > 0.0 && value.is_finite());
    good.then(|| values.iter().map(|value| value.ln()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Ordering;

    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-4 * expected.abs().max(1.0), "{value} is not {expected}");
    }

    fn powers(exponents: &[f64]) -> Vec<f64> {
        exponents.iter().map(|exponent| exponent.exp()).collect()
    }

    #[test]
    fn a_spread_is_that_of_the_textbook() {
        let spread = Spread::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max, spread.mean, spread.n), (4.5, 2.0, 9.0, 5.0, 8));
        near(spread.stdev.unwrap(), (32.0f64 / 7.0).sqrt());
        let single = Spread::of(&[3.0]).unwrap();
        assert_eq!((single.median, single.stdev, single.n), (3.0, None, 1));
        assert_eq!(Spread::of(&[9.0, 1.0, 3.0]).unwrap().median, 3.0);
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn an_interval_is_students_for_equal_variances() {
        // Logarithms 1, 2, 3 and 2, 3, 4: a standard error of sqrt(2/3), 4 degrees of freedom, and Student's 0.975
        // quantile 2.776445 of a table.
        let ratio = Ratio::of(&powers(&[1.0, 2.0, 3.0]), &powers(&[2.0, 3.0, 4.0])).unwrap();
        let half = 2.776_445 * (2.0f64 / 3.0).sqrt();
        near(ratio.ratio, 1f64.exp());
        let [low, high] = ratio.interval.unwrap();
        near(low, (1.0 - half).exp());
        near(high, (1.0 + half).exp());
        assert_eq!(ratio.differs(), Some(Ordering::Equal));
    }

    #[test]
    fn unequal_variances_have_welchs_degrees_of_freedom() {
        // Variances 2.5 of five and 4 of three: (0.5 + 4/3)^2 / (0.5^2/4 + (4/3)^2/2).
        near(freedom(&[1.0, 2.0, 3.0, 4.0, 5.0], &[2.0, 4.0, 6.0]), 3.532_85);
    }

    #[test]
    fn what_clearly_differs_is_said_to_and_which_way() {
        let (slow, fast) = ([10.0, 10.1, 9.9, 10.0], [5.0, 5.1, 4.9, 5.0]);
        assert_eq!(Ratio::of(&slow, &fast).unwrap().differs(), Some(Ordering::Less));
        assert_eq!(Ratio::of(&fast, &slow).unwrap().differs(), Some(Ordering::Greater));
        assert_eq!(Ratio::of(&slow, &slow).unwrap().differs(), Some(Ordering::Equal));
        let same = [2.0, 2.0, 2.0];
        assert_eq!(Ratio::of(&same, &same).unwrap().interval, Some([1.0, 1.0]), "no spread at all");
    }

    #[test]
    fn too_few_repeats_have_a_ratio_and_no_interval() {
        let ratio = Ratio::of(&[4.0, 1.0], &[1.0, 1.0, 1.0]).unwrap();
        near(ratio.ratio, 0.5);
        assert_eq!((ratio.interval, ratio.differs()), (None, None));
    }

    #[test]
    fn nothing_and_zero_have_no_ratio() {
        assert_eq!(Ratio::of(&[], &[1.0]), None);
        assert_eq!(Ratio::of(&[0.0], &[1.0]), None);
        assert_eq!(Ratio::of(&[1.0], &[f64::NAN]), None);
    }
}
