//! Latencies: recorded by hosts, sent as text, merged by the coordinator, and never averaged.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};
use serde::{Deserialize, Serialize};

/// Significant digits of every histogram.
pub const DIGITS: u8 = 3;
/// The longest time that a histogram tells apart, in nanoseconds: an hour.
pub const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

/// An empty histogram of nanoseconds; every host and the coordinator use this one shape.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, DIGITS).expect("the bounds are constants")
}

/// A histogram as HdrHistogram V2 in base64, as reports carry it.
pub fn to_text(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2Serializer::new().serialize(histogram, &mut bytes).expect("a vector takes every byte");
    STANDARD.encode(bytes)
}

/// What [`to_text`] made; an empty text is an empty histogram.
///
/// # Errors
/// A sentence: the text is no histogram.
pub fn from_text(text: &str) -> Result<Histogram<u64>, String> {
    if text.is_empty() {
        return Ok(histogram());
    }
    let bytes = STANDARD.decode(text).map_err(|error| format!("a histogram is not base64: {error}"))?;
    Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| format!("a histogram is not HdrHistogram V2: {error}"))
}

/// Merges the hosts' histograms.
///
/// # Errors
/// A sentence: a text is no histogram, or holds a value beyond [`LATENCY_NS_MAX`].
pub fn merge<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Histogram<u64>, String> {
    let mut all = histogram();
    for text in texts {
        all.add(from_text(text)?).map_err(|error| format!("histograms do not merge: {error}"))?;
    }
    Ok(all)
}

/// Percentiles of a latency in microseconds; `None` where nothing was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Percentiles {
    /// Half of all were as quick or quicker.
    pub p50: Option<f64>,
    /// Nine of ten.
    pub p90: Option<f64>,
    /// 99 of a hundred.
    pub p99: Option<f64>,
    /// 999 of a thousand.
    pub p999: Option<f64>,
    /// The slowest.
    pub max: Option<f64>,
}

impl Percentiles {
    /// Of a merged histogram.
    pub fn of(histogram: &Histogram<u64>) -> Percentiles {
        let at =
            |quantile| (!histogram.is_empty()).then(|| histogram.value_at_quantile(quantile) as f64 / 1e3);
        Percentiles { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: at(1.0) }
    }
}

/// The value that a fraction of all values do not exceed (nearest rank); `None` of nothing.
pub fn nearest_rank(values: &[f64], fraction: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (fraction * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_percentiles_are_those_of_all_values_together() {
        let (mut fast, mut slow, mut both) = (histogram(), histogram(), histogram());
        for value in 1..=900 {
            fast.record(value).unwrap();
            both.record(value).unwrap();
        }
        for value in 0..100 {
            slow.record(1_000_000 + value * 1_000).unwrap();
            both.record(1_000_000 + value * 1_000).unwrap();
        }
        let merged = merge([to_text(&fast).as_str(), "", to_text(&slow).as_str()]).unwrap();
        assert_eq!(merged.len(), 1_000);
        assert_eq!(Percentiles::of(&merged), Percentiles::of(&both));
        assert_eq!(Percentiles::of(&merged).p50, Some(0.5));
        assert!(Percentiles::of(&merged).p99.unwrap() > 1_000.0, "an average of both p99 would be far below");
    }

    #[test]
    fn nothing_recorded_has_no_percentiles() {
        assert_eq!(Percentiles::of(&merge([]).unwrap()), Percentiles::default());
        assert_eq!(nearest_rank(&[], 0.5), None);
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        assert!(from_text("???").unwrap_err().contains("base64"));
        assert!(from_text("AAAA").unwrap_err().contains("HdrHistogram"));
    }

    #[test]
    fn nearest_rank_picks_a_value_that_was_measured() {
        let values = [3.0, 1.0, 2.0, 4.0];
        assert_eq!(nearest_rank(&values, 0.5), Some(2.0));
        assert_eq!(nearest_rank(&values, 0.99), Some(4.0));
        assert_eq!(nearest_rank(&values, 1.0), Some(4.0));
        assert_eq!(nearest_rank(&values, 0.0), Some(1.0));
    }
}
