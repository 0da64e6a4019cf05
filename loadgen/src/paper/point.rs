//! What a figure is before it is drawn: named series of points, each of which says how it came about.

use crate::stats::Spread;
use serde::{Deserialize, Serialize};

/// How a value came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It was measured, whole.
    Measured,
    /// A part was measured (fewer senders than members), and the whole is as many times as much.
    Sampled,
    /// What would have been sent was counted, and none of it was sent.
    Counted,
    /// It follows from a stated cost model, a part of which may have been measured.
    Modelled,
    /// It was not run; it follows from the largest size that was.
    Extrapolated,
}

impl Kind {
    /// As tables and legends say it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Kind::Measured => "measured",
            Kind::Sampled => "sampled",
            Kind::Counted => "counted",
            Kind::Modelled => "modelled",
            Kind::Extrapolated => "extrapolated",
        }
    }

    /// Whether something was run at this very place.
    #[must_use]
    pub fn is_run(self) -> bool {
        matches!(self, Kind::Measured | Kind::Sampled)
    }
}

/// One value: the median of its repeats, and their least and greatest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Along the horizontal axis.
    pub x: f64,
    /// The median.
    pub y: f64,
    /// The least of the repeats.
    pub low: f64,
    /// The greatest of the repeats.
    pub high: f64,
    /// How often it was run; 0 where it was not.
    pub repeats: u32,
    /// How it came about.
    pub kind: Kind,
}

impl Point {
    /// Of the values of repeats; none of none, or where a value is no number above 0: axes are logarithmic.
    #[must_use]
    pub fn of_repeats(x: f64, values: &[f64], kind: Kind) -> Option<Point> {
        let Spread { median: y, min: low, max: high, n: repeats, .. } = Spread::of(values)?;
        let drawable = x > 0.0 && low > 0.0 && high.is_finite();
        drawable.then_some(Point { x, y, low, high, repeats, kind })
    }

    /// A value that was not run.
    #[must_use]
    pub fn worked_out(x: f64, y: f64, kind: Kind) -> Point {
        Point { x, y, low: y, high: y, repeats: 0, kind }
    }

    /// The same in another unit, or for one of so many.
    #[must_use]
    pub fn times(self, factor: f64) -> Point {
        Point { y: self.y * factor, low: self.low * factor, high: self.high * factor, ..self }
    }
}

/// The middle of some values, of an even number of them the mean of the middle two; the report has no other median.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    Spread::of(values).map(|spread| spread.median)
}

/// What is drawn in which colour and with which mark; the same in every figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Look {
    /// Twincast's compact profile.
    Compact,
    /// The same with something left out or added.
    CompactOther,
    /// The paper's arithmetic on Twincast's engine.
    PaperXor,
    /// The paper's way of sending, Nagle's algorithm on.
    FaithfulNagle,
    /// The same with Nagle's algorithm off.
    FaithfulNoNagle,
    /// MCMix.
    Mcmix,
    /// What a link allows.
    Link,
    /// What a link allows to longer shares.
    LinkPaper,
    /// What a link allows where something is left out.
    LinkOther,
}

/// A named series of points.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// What the legend says.
    pub name: String,
    /// How it is drawn.
    pub look: Look,
    /// From left to right.
    pub points: Vec<Point>,
    /// Why there are no points, or fewer than there should be.
    pub missing: Option<String>,
    /// What has to be known of its points, in a sentence.
    pub note: Option<String>,
}

impl Series {
    /// A series, its points from left to right.
    #[must_use]
    pub fn new(name: impl Into<String>, look: Look, mut points: Vec<Point>) -> Series {
        points.sort_by(|a, b| a.x.total_cmp(&b.x));
        Series { name: name.into(), look, points, missing: None, note: None }
    }

    /// With the reason for what is not there.
    #[must_use]
    pub fn missing(mut self, why: Option<String>) -> Series {
        self.missing = why;
        self
    }

    /// With what has to be known of its points.
    #[must_use]
    pub fn noted(mut self, note: Option<String>) -> Series {
        self.note = note;
        self
    }

    /// What the legend says: the name, and how points came about where they were not simply measured.
    #[must_use]
    pub fn label(&self) -> String {
        let mut kinds: Vec<Kind> =
            self.points.iter().map(|point| point.kind).filter(|kind| *kind != Kind::Measured).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let words: Vec<&str> = kinds.into_iter().map(Kind::words).collect();
        let all = self.points.iter().all(|point| point.kind != Kind::Measured);
        match (self.points.is_empty(), words.is_empty(), all) {
            (true, _, _) => format!("{} (none: see table)", self.name),
            (_, true, _) => self.name.clone(),
            (_, _, true) => format!("{} ({})", self.name, words.join(", ")),
            _ => format!("{} (partly {})", self.name, words.join(", ")),
        }
    }
}

/// An axis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// What is along it.
    pub name: String,
    /// In which unit.
    pub unit: String,
}

impl Axis {
    /// An axis.
    #[must_use]
    pub fn new(name: &str, unit: &str) -> Axis {
        Axis { name: name.into(), unit: unit.into() }
    }

    /// As it is written along the axis.
    #[must_use]
    pub fn label(&self) -> String {
        if self.unit.is_empty() { self.name.clone() } else { format!("{} [{}]", self.name, self.unit) }
    }
}

/// One drawing: both axes are logarithmic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Panel {
    /// Its file's name without an ending.
    pub id: String,
    /// What it shows.
    pub title: String,
    /// Along.
    pub x: Axis,
    /// Up.
    pub y: Axis,
    /// What is drawn.
    pub series: Vec<Series>,
    /// What was measured and what was modelled, and how.
    pub caption: String,
}

/// A figure of the paper: one or more drawings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// `fig2` to `fig6`.
    pub id: String,
    /// The paper's number and what it is about.
    pub title: String,
    /// Its drawings.
    pub panels: Vec<Panel>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_the_median_of_its_repeats_with_their_spread() {
        let point = Point::of_repeats(10.0, &[3.0, 1.0, 2.0], Kind::Measured).unwrap();
        assert_eq!((point.y, point.low, point.high, point.repeats), (2.0, 1.0, 3.0, 3));
        assert_eq!(Point::of_repeats(10.0, &[1.0, 2.0], Kind::Measured).unwrap().y, 1.5);
        assert_eq!(point.times(0.5).high, 1.5);
        for bad in [&[][..], &[0.0], &[1.0, f64::NAN], &[-1.0]] {
            assert_eq!(Point::of_repeats(10.0, bad, Kind::Measured), None, "{bad:?}");
        }
    }

    #[test]
    fn a_label_says_what_was_not_simply_measured() {
        let measured = Point::worked_out(1.0, 1.0, Kind::Measured);
        let extrapolated = Point::worked_out(2.0, 1.0, Kind::Extrapolated);
        let label = |points| Series::new("compact", Look::Compact, points).label();
        assert_eq!(label(vec![measured]), "compact");
        assert_eq!(label(vec![measured, extrapolated]), "compact (partly extrapolated)");
        assert_eq!(label(vec![extrapolated]), "compact (extrapolated)");
        assert_eq!(label(vec![]), "compact (none: see table)");
    }
}
