//! The table that the report opens with: Twincast against everything else at one size of a group.

use super::experiments::{Experiments, Variant};
use super::outcome::{Done, Outcome};
use super::point::{Kind, median};
use crate::baseline::Baseline;
use crate::plan::ProfileName;
use crate::result::RunResult;
use serde::{Deserialize, Serialize};

/// The table, and what is said with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Headline {
    /// Members of the group.
    pub group: u32,
    /// Twincast first.
    pub rows: Vec<Row>,
    /// What limited Twincast's median run, in one sentence.
    pub limited_by: Option<String>,
    /// The part of the link's goodput that each server's egress was while rounds were delivered, in the same run.
    pub link_fraction: Option<f64>,
    /// Server CPU for each byte against plain sends of ready buffers, where it was measured.
    pub roof_ratio: Option<f64>,
    /// What the baselines say of themselves.
    pub notes: Vec<String>,
}

/// One line of the table: medians of repeats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Which.
    pub name: String,
    /// How its figures came about.
    pub kind: Kind,
    /// Why there are none.
    pub missing: Option<String>,
    /// Messages that came to all members, per second.
    pub messages_per_s: Option<f64>,
    /// Twincast's over this one's.
    pub messages_ratio: Option<f64>,
    /// CPU microseconds of all servers for a message.
    pub cpu_us_per_message: Option<f64>,
    /// This one's over Twincast's.
    pub cpu_ratio: Option<f64>,
    /// CPU microseconds of a server for each thing that it delivered to one member.
    pub cpu_us_per_delivery: Option<f64>,
    /// This one's over Twincast's.
    pub delivery_ratio: Option<f64>,
    /// Seconds of a round.
    pub round_s: Option<f64>,
    /// Bytes out of a server for a message.
    pub bytes_out: Option<f64>,
}

impl Headline {
    /// Of everything that was run.
    #[must_use]
    pub fn of(all: &Experiments, done: &[Done]) -> Headline {
        let at_main: Vec<&Done> =
            done.iter().filter(|done| done.job.headline && done.size() == all.main).collect();
        let twincast =
            |wanted| at_main.iter().copied().find(|done| done.twincast() == Some((wanted, Variant::Plain)));
        let rival = |wanted: Baseline| at_main.iter().copied().find(|done| done.rival() == Some(wanted));
        let mut rows = vec![
            Row::of("Twincast, compact", twincast(ProfileName::Compact), all),
            Row::of("Twincast, paper-xor", twincast(ProfileName::PaperXor), all),
        ];
        rows.extend(Baseline::ALL.iter().map(|kind| Row::of(&kind.to_string(), rival(*kind), all)));
        let first = rows[0].clone();
        rows.iter_mut().for_each(|row| row.compare(&first));
        let compact = twincast(ProfileName::Compact);
        let result = compact.and_then(Done::median_run);
        let notes = Baseline::ALL.iter().filter_map(|kind| {
            let outcome = rival(*kind)?.outcomes.first()?;
            match outcome {
                Outcome::Rival(result) => Some(format!("{}: {}", result.name, result.note)),
                _ => None,
            }
        });
        Headline {
            group: all.main,
            rows,
            limited_by: result.map(|result| result.limited_by.clone()),
            link_fraction: result.and_then(link_fraction),
            roof_ratio: compact.and_then(roof_ratio),
            notes: notes.collect(),
        }
    }
}

/// Of the one repeat that had the roof measured beside it.
fn roof_ratio(done: &Done) -> Option<f64> {
    done.outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Twincast(result) => result.roof.server_cpu_ratio,
        _ => None,
    })
}

/// The emptier of the servers' links: what they carried over what TCP can carry.
fn link_fraction(result: &RunResult) -> Option<f64> {
    let fractions = result.link.servers.iter().filter_map(|server| server.goodput_fraction);
    fractions.min_by(f64::total_cmp)
}

impl Row {
    fn of(name: &str, done: Option<&Done>, all: &Experiments) -> Row {
        let figures = done.map(|done| done.figures(&all.link)).unwrap_or_default();
        let why = done.map_or_else(
            || Some("it was not run".to_owned()),
            |done| done.failure.clone().or_else(|| done.left_out.clone()),
        );
        Row {
            name: name.into(),
            kind: done.map_or(Kind::Measured, Done::kind),
            missing: why.filter(|_| figures.round_s.is_empty()),
            messages_per_s: median(&figures.messages_per_s),
            messages_ratio: None,
            cpu_us_per_message: median(&figures.cpu_s).map(|seconds| seconds * 1e6),
            cpu_ratio: None,
            cpu_us_per_delivery: median(&figures.cpu_delivery_s).map(|seconds| seconds * 1e6),
            delivery_ratio: None,
            round_s: median(&figures.round_s),
            bytes_out: median(&figures.bytes_out),
        }
    }

    /// The name, and how its figures came about where they were not simply measured.
    #[must_use]
    pub fn label(&self) -> String {
        match self.kind {
            Kind::Measured => self.name.clone(),
            kind => format!("{} ({})", self.name, kind.words()),
        }
    }

    fn compare(&mut self, first: &Row) {
        let ratio = |over: Option<f64>, under: Option<f64>| {
            let (over, under) = (over?, under.filter(|under| *under > 0.0)?);
            Some(over / under)
        };
        self.messages_ratio = ratio(first.messages_per_s, self.messages_per_s);
        self.cpu_ratio = ratio(self.cpu_us_per_message, first.cpu_us_per_message);
        self.delivery_ratio = ratio(self.cpu_us_per_delivery, first.cpu_us_per_delivery);
    }
}
