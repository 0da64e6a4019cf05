//! Logarithmic axes with few, round ticks.

use crate::units::thousands;
use plotters::coord::combinators::{BindKeyPoints as _, IntoLogRange as _, LogCoord, WithKeyPoints};

/// From where to where an axis goes, and where it has ticks.
pub(super) struct Scale {
    low: f64,
    high: f64,
    ticks: Vec<f64>,
}

/// Decades from which on only powers of ten, and powers of a thousand, are told.
const DECADES: [f64; 2] = [2.2, 7.5];

impl Scale {
    /// Around these values, with room by a factor on either side.
    pub(super) fn of(values: &[f64], room: f64) -> Scale {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(0.0, f64::max);
        let (low, high) = if low < f64::INFINITY && high > 0.0 { (low, high) } else { (1.0, 10.0) };
        let (mut low, mut high) = (low / room, high * room);
        if high / low < 4.0 {
            let middle = (low * high).sqrt();
            (low, high) = (middle / 2.0, middle * 2.0);
        }
        Scale { low, high, ticks: ticks(low, high) }
    }

    pub(super) fn coordinate(&self) -> WithKeyPoints<LogCoord<f64>> {
        let range = (self.low..self.high).log_scale();
        range.with_key_points(self.ticks.clone())
    }
}

fn ticks(low: f64, high: f64) -> Vec<f64> {
    let decades = (high / low).log10();
    let (steps, stride): (&[f64], usize) = match decades {
        _ if decades < DECADES[0] => (&[1.0, 2.0, 5.0], 1),
        _ if decades < DECADES[1] => (&[1.0], 1),
        _ => (&[1.0], 3),
    };
    let first = (low.log10().floor() as i32).div_euclid(stride as i32) * stride as i32;
    let last = high.log10().ceil() as i32;
    let all = (first..=last)
        .step_by(stride)
        .flat_map(|power| steps.iter().map(move |step| step * 10f64.powi(power)));
    all.filter(|tick| (low..=high).contains(tick)).collect()
}

/// A tick as a person reads it: with its unit, where that is a second or a byte.
pub(super) fn tick(value: f64, unit: &str) -> String {
    let (scaled, prefix) = match (unit, value) {
        ("s", ..0.999e-6) => (value * 1e9, " ns"),
        ("s", ..0.999e-3) => (value * 1e6, " us"),
        ("s", ..0.999) => (value * 1e3, " ms"),
        ("s", _) => (value, " s"),
        ("B", ..999.0) => (value, " B"),
        ("B", ..999e3) => (value / 1e3, " kB"),
        ("B", ..999e6) => (value / 1e6, " MB"),
        ("B", _) => (value / 1e9, " GB"),
        _ => (value, ""),
    };
    if scaled >= 0.999 {
        format!("{}{prefix}", thousands(scaled.round() as u64))
    } else {
        format!("{scaled:.2}{prefix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_few_and_round() {
        assert_eq!(ticks(80.0, 6_000.0), [100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0]);
        assert_eq!(ticks(0.5, 1e4), [1.0, 10.0, 100.0, 1_000.0, 10_000.0]);
        let wide = ticks(1e-5, 1e5);
        assert!((2..5).contains(&wide.len()), "{wide:?}");
        assert!(!Scale::of(&[], 1.5).ticks.is_empty() && !Scale::of(&[3.0], 1.1).ticks.is_empty());
    }

    #[test]
    fn ticks_have_units_that_fit() {
        let said = [5e-9, 1e-6, 1e-3, 0.5, 1.0, 200.0].map(|value| tick(value, "s"));
        assert_eq!(said, ["5 ns", "1 us", "1 ms", "500 ms", "1 s", "200 s"]);
        assert_eq!([1.0, 1e3, 2e6, 1e9].map(|value| tick(value, "B")), ["1 B", "1 kB", "2 MB", "1 GB"]);
        assert_eq!((tick(10_000.0, ""), tick(0.5, "")), ("10,000".into(), "0.50".into()));
    }
}
