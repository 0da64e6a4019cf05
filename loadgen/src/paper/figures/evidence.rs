//! What was run, asked for by subject and quantity; what was not is extrapolated here.

use crate::baseline::Baseline;
use crate::paper::experiments::{Experiments, Variant, Work};
use crate::paper::model::Beyond;
use crate::paper::outcome::{Done, Figures};
use crate::paper::point::{Kind, Look, Point, Series};
use crate::plan::{Plan, ProfileName};
use crate::units::thousands;

/// What all figures are made of.
#[derive(Clone, Copy)]
pub(super) struct Evidence<'a> {
    pub(super) all: &'a Experiments,
    pub(super) done: &'a [Done],
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Compact,
    CompactKeysOnly,
    CompactQuarter,
    PaperXor,
    PaperQuarter,
    Rival(Baseline),
    Mcmix { dialling: bool },
}

/// What is compared of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    Round,
    Latency,
    Dial,
    KeysOnly,
    BytesOut,
}

impl Subject {
    /// Those of every figure.
    pub(super) const FOUR: [Subject; 4] = [
        Subject::Compact,
        Subject::PaperXor,
        Subject::Rival(Baseline::Faithful { nagle: true }),
        Subject::Rival(Baseline::Faithful { nagle: false }),
    ];

    pub(super) fn name(self) -> String {
        match self {
            Subject::Compact => "Twincast compact".into(),
            Subject::CompactKeysOnly => "compact, session keys only".into(),
            Subject::CompactQuarter => "Twincast compact, to 25%".into(),
            Subject::PaperXor => "Twincast paper-xor".into(),
            Subject::PaperQuarter => "paper-xor, Algorithm 4, to 25%".into(),
            Subject::Rival(rival) => rival.to_string(),
            Subject::Mcmix { dialling: true } => "MCMix dialling".into(),
            Subject::Mcmix { dialling: false } => "MCMix conversation".into(),
        }
    }

    pub(super) fn look(self) -> Look {
        match self {
            Subject::Compact | Subject::CompactQuarter => Look::Compact,
            Subject::CompactKeysOnly => Look::CompactOther,
            Subject::PaperXor | Subject::PaperQuarter => Look::PaperXor,
            Subject::Rival(Baseline::Faithful { nagle: true }) => Look::FaithfulNagle,
            Subject::Rival(_) => Look::FaithfulNoNagle,
            Subject::Mcmix { .. } => Look::Mcmix,
        }
    }

    pub(super) fn is(self, done: &Done) -> bool {
        let plain = |profile| done.twincast() == Some((profile, Variant::Plain));
        let quarter = |profile| done.twincast() == Some((profile, Variant::Quarter));
        match self {
            Subject::Compact | Subject::CompactKeysOnly => plain(ProfileName::Compact),
            Subject::PaperXor => plain(ProfileName::PaperXor),
            Subject::CompactQuarter => quarter(ProfileName::Compact),
            Subject::PaperQuarter => quarter(ProfileName::PaperXor),
            Subject::Rival(rival) => done.rival() == Some(rival),
            Subject::Mcmix { dialling: wanted } => {
                matches!(done.job.work, Work::Mcmix { dialling, .. } if dialling == wanted)
            }
        }
    }
}

impl Quantity {
    /// Its value in each repeat.
    pub(super) fn of(self, figures: &Figures) -> Vec<f64> {
        match self {
            Quantity::Round => figures.round_s.clone(),
            Quantity::Latency => figures.latency_s.clone(),
            Quantity::Dial => figures.dial_s.clone(),
            Quantity::KeysOnly => figures.keys_only_s.clone(),
            Quantity::BytesOut => figures.bytes_out.clone(),
        }
    }

    /// How it came about: of a sample only times of rounds are scaled; a dial is everybody's, a byte is a byte, and
    /// a byte of a model is counted.
    fn kind(self, kind: Kind) -> Kind {
        match (self, kind) {
            (Quantity::Dial | Quantity::KeysOnly | Quantity::BytesOut, Kind::Sampled) => Kind::Measured,
            (Quantity::BytesOut, Kind::Modelled) => Kind::Counted,
            _ => kind,
        }
    }
}

impl Evidence<'_> {
    /// A quantity of a subject against the size of the group: what was run, and extrapolated what is beyond the largest.
    pub(super) fn series(&self, subject: Subject, quantity: Quantity) -> Series {
        let of_subject = || self.done.iter().filter(|done| subject.is(done));
        let mut points: Vec<Point> = of_subject().filter_map(|done| self.point(done, quantity)).collect();
        // Bytes of a message are one share a member; everything else is work for each pair of members.
        let is_bytes = quantity == Quantity::BytesOut;
        let work = |x: f64| if is_bytes { x } else { x * x };
        let unit = if is_bytes { "member" } else { "pair of members" };
        let run: Vec<(f64, f64)> = points.iter().map(|point| (work(point.x), point.y)).collect();
        let largest = points.iter().map(|point| point.x).fold(0.0, f64::max);
        let enough = run.len() > 1 && !matches!(subject, Subject::Mcmix { .. });
        let mut note = None;
        if let Some(beyond) = Beyond::of(&run).filter(|_| enough) {
            for x in self.all.groups.iter().map(|group| f64::from(*group)) {
                let Some(y) = beyond.at(work(x)) else { continue };
                points.push(Point::worked_out(x, y, Kind::Extrapolated));
                note = Some(beyond.in_words(&format!("n = {}", thousands(largest as u64)), unit));
            }
        }
        let why = of_subject().find_map(|done| done.failure.clone().or_else(|| done.left_out.clone()));
        let none = || points.is_empty().then(|| "nothing of it was run".to_owned());
        let why = why.or_else(none);
        Series::new(subject.name(), subject.look(), points).missing(why).noted(note)
    }

    /// What was run, at its size.
    pub(super) fn point(&self, done: &Done, quantity: Quantity) -> Option<Point> {
        let figures = done.figures(&self.all.link);
        let kind = quantity.kind(done.kind());
        let point = Point::of_repeats(f64::from(done.size()), &quantity.of(&figures), kind)?;
        Some(match figures.round_range_s.filter(|_| quantity == Quantity::Round) {
            Some([low, high]) if low > 0.0 => Point { low, high, ..point },
            _ => point,
        })
    }

    /// A plan like those that were run, for what a link allows.
    pub(super) fn plan(&self, wanted: ProfileName, group: u32, groups: u32) -> Option<Plan> {
        self.all.jobs.iter().find_map(|job| match &job.work {
            Work::Twincast { plan, variant: Variant::Plain, .. } if plan.profile == wanted => {
                Some(Plan { group, groups, ..plan.as_ref().clone() })
            }
            _ => None,
        })
    }
}
