//! What a search came to, for programs (schema `twincast-sweep/1`) and for the table.
//!
//! A figure is in the objective's own unit: seconds of a round, or shares for each CPU second. Whatever says by how much
//! something is better is a part of the default: 0.05 is 5% better, below 0 it is worse.

use super::knobs::{Candidate, Knob, Value};
use super::search::{Fate, Final, Found, Row, Rung};
use super::space::{Choice, Space};
use super::tune_file::{Objective, Settings};
use super::verdict::{Comparison, spread};
use crate::constants::Origin;
use serde::Serialize;
use std::path::PathBuf;
use twincast_loadgen::plan::Plan;
use twincast_protocol::receive::TILE_SENDERS;

/// The schema's name and version.
pub const SCHEMA: &str = "twincast-sweep/1";

/// A search, whole or as far as it came.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// [`SCHEMA`].
    pub schema: String,
    /// The plan's name.
    pub name: String,
    /// Where and when.
    pub origin: Origin,
    /// The plan of the default; `rounds` is each rung's own.
    pub plan: Plan,
    /// How was searched.
    pub settings: Settings,
    /// The knobs, with what was tried of each.
    pub knobs: Vec<Choice>,
    /// Senders of a tile, which is no knob.
    pub tile_senders: usize,
    /// What was measured.
    pub rungs: Vec<RungOutcome>,
    /// Knobs turned alone for which the budget had no room.
    pub not_tried: Vec<Candidate>,
    /// What each knob does alone, from the first rung.
    pub effects: Vec<Effect>,
    /// The pick against the default; none: there was none.
    pub comparison: Option<FinalOutcome>,
    /// Whether the pick beats the default by more than the noise.
    pub beats: bool,
    /// The same in a sentence.
    pub verdict: String,
    /// What is best, as far as is shown: the pick's changes, or none.
    pub best: Candidate,
    /// Users on one connection, with which clients have as many connections as the best has.
    pub users_per_connection: u32,
    /// Runs, all together.
    pub runs: u32,
    /// Seconds that all of it took.
    pub seconds: f64,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
    /// The server configuration that was written.
    pub configuration: Option<PathBuf>,
}

/// Candidates that were measured in the same way.
#[derive(Clone, Debug, Serialize)]
pub struct RungOutcome {
    /// Measured rounds of each run.
    pub rounds: u32,
    /// How many of the rows are combinations of the best single values of the first rung, new in this one.
    pub combined: usize,
    /// The default first.
    pub rows: Vec<RowOutcome>,
}

/// A candidate in a rung.
#[derive(Clone, Debug, Serialize)]
pub struct RowOutcome {
    /// What it changes; nothing: the default.
    pub changes: Candidate,
    /// Its runs.
    pub runs: usize,
    /// The median; none: it has none.
    pub figure: Option<f64>,
    /// How far the middle half of the values reaches, as a part of the median.
    pub spread: Option<f64>,
    /// By how much it is better than the default in the same rung.
    pub better: Option<f64>,
    /// Whether that is no more than the middle half of the default's values, or of its own, reaches. So is whatever there
    /// is no spread of the default for.
    pub within_noise: Option<bool>,
    /// Of each round, or of each run where shares are counted.
    pub values: Vec<f64>,
    /// `kept`, `dropped`, `failed` or `no_time`.
    pub fate: &'static str,
    /// Why it failed.
    pub why: Option<String>,
}

/// A knob turned alone.
#[derive(Clone, Debug, Serialize)]
pub struct Effect {
    /// Which one.
    pub knob: Knob,
    /// To what.
    pub value: Value,
    /// By how much that is better than the default; none: it failed, or there was no time.
    pub better: Option<f64>,
    /// The spread of its row in the first rung.
    pub spread: Option<f64>,
    /// Whether `better` is within the noise of that rung, as its row says.
    pub within_noise: Option<bool>,
}

/// The pick against the default.
#[derive(Clone, Debug, Serialize)]
pub struct FinalOutcome {
    /// What it changes.
    pub pick: Candidate,
    /// Measured rounds of each run.
    pub rounds: u32,
    /// The figures of each pair of runs, default and pick.
    pub pairs: Vec<[f64; 2]>,
    /// By how much the pick is better, by the medians; none: there are too few pairs.
    pub better: Option<f64>,
    /// Where that lies, in 95 of a hundred.
    pub better_interval: Option<[f64; 2]>,
    /// By how much the default differs from itself, in 95 of a hundred.
    pub noise: Option<f64>,
    /// Why the pick is out, if it failed here.
    pub failed: Option<String>,
}

impl Objective {
    /// A cost in the figure's unit, and the other way round.
    #[must_use]
    pub fn figure(self, cost: f64) -> f64 {
        match self {
            Objective::Round => cost,
            Objective::SharesPerCpuS => 1.0 / cost,
        }
    }

    /// By how much something is better that costs so many times as much.
    #[must_use]
    pub fn better(self, ratio: f64) -> f64 {
        match self {
            Objective::Round => 1.0 - ratio,
            Objective::SharesPerCpuS => 1.0 / ratio - 1.0,
        }
    }

    /// What more of it is called.
    #[must_use]
    pub fn gain(self) -> &'static str {
        match self {
            Objective::Round => "shorter rounds",
            Objective::SharesPerCpuS => "more shares per CPU second",
        }
    }
}

impl Outcome {
    /// Of what was found.
    #[must_use]
    pub fn of(name: &str, space: &Space, settings: &Settings, found: &Found, interrupted: bool) -> Outcome {
        let objective = settings.objective;
        let rungs: Vec<RungOutcome> = found.rungs.iter().map(|rung| rung_outcome(objective, rung)).collect();
        let compared = found.last.as_ref().filter(|last| {
            !interrupted && last.failed.is_none() && last.pairs.len() >= settings.repeats as usize
        });
        let compared = compared.map(|last| Comparison::of(&last.pairs, settings.seed));
        let beats = compared.is_some_and(|comparison| comparison.beats());
        let comparison = found.last.as_ref().map(|last| final_outcome(objective, last, compared.as_ref()));
        let best = match &comparison {
            Some(comparison) if beats => comparison.pick.clone(),
            _ => Candidate::default(),
        };
        Outcome {
            schema: SCHEMA.into(),
            name: name.into(),
            origin: Origin::here(),
            plan: space.plan.clone(),
            settings: settings.clone(),
            knobs: space.choices.clone(),
            tile_senders: TILE_SENDERS,
            effects: effects(space, &rungs),
            rungs,
            not_tried: found.not_tried.clone(),
            verdict: verdict(settings, comparison.as_ref(), beats, interrupted),
            comparison,
            beats,
            users_per_connection: space.plan_of(&best).users_per_connection,
            best,
            runs: found.runs,
            seconds: found.seconds,
            interrupted,
            configuration: None,
        }
    }
}

fn rung_outcome(objective: Objective, rung: &Rung) -> RungOutcome {
    // How far the middle half of a row's costs reaches, in the unit of costs.
    let reach = |row: &Row| Some(spread(&row.costs())? * row.cost()?);
    let (default, noise) = (rung.rows[0].cost(), reach(&rung.rows[0]));
    let rows = rung.rows.iter().enumerate().map(|(index, row)| {
        let costs = row.costs();
        let (fate, why) = match &row.fate {
            Fate::Kept => ("kept", None),
            Fate::Dropped => ("dropped", None),
            Fate::Failed(why) => ("failed", Some(why.clone())),
            Fate::NoTime => ("no_time", None),
        };
        let costs_of_both = row.cost().zip(default).filter(|_| index > 0);
        let is_noise = |(cost, default): (f64, f64)| {
            noise.is_none_or(|noise| (cost - default).abs() <= noise.max(reach(row).unwrap_or(0.0)))
        };
        RowOutcome {
            changes: row.candidate.clone(),
            runs: row.runs.len(),
            figure: row.cost().map(|cost| objective.figure(cost)),
            spread: spread(&costs),
            better: costs_of_both.map(|(cost, default)| objective.better(cost / default)),
            within_noise: costs_of_both.map(is_noise),
            values: costs.iter().map(|cost| objective.figure(*cost)).collect(),
            fate,
            why,
        }
    });
    RungOutcome { rounds: rung.rounds, combined: rung.combined, rows: rows.collect() }
}

/// Every value of every knob, with what the first rung says of it alone.
fn effects(space: &Space, rungs: &[RungOutcome]) -> Vec<Effect> {
    let Some(first) = rungs.first() else { return Vec::new() };
    let mut effects = Vec::new();
    for choice in &space.choices {
        for value in &choice.values {
            let candidate = space.turned(&[(choice.knob, value.clone())]);
            let row = first.rows.iter().find(|row| row.changes == candidate);
            effects.push(Effect {
                knob: choice.knob,
                value: value.clone(),
                better: row.and_then(|row| row.better),
                spread: row.and_then(|row| row.spread),
                within_noise: row.and_then(|row| row.within_noise),
            });
        }
    }
    effects
}

fn final_outcome(objective: Objective, last: &Final, compared: Option<&Comparison>) -> FinalOutcome {
    let figures = |pair: &super::verdict::Pair| [pair.default, pair.pick].map(|cost| objective.figure(cost));
    FinalOutcome {
        pick: last.pick.clone(),
        rounds: last.rounds,
        pairs: last.pairs.iter().map(figures).collect(),
        better: compared.map(|compared| objective.better(compared.ratio)),
        better_interval: compared.map(|compared| {
            let [low, high] = compared.interval;
            [objective.better(high), objective.better(low)]
        }),
        noise: compared.map(|compared| compared.noise - 1.0),
        failed: last.failed.clone(),
    }
}

fn verdict(settings: &Settings, last: Option<&FinalOutcome>, beats: bool, interrupted: bool) -> String {
    if interrupted {
        return "The search was stopped before its end, so nothing is shown to beat the default.".into();
    }
    let Some(last) = last else {
        return "There is nothing to compare with the default: every candidate failed, or was not tried. Keep the default."
            .into();
    };
    if let Some(why) = &last.failed {
        return format!("{} failed in the final comparison ({why}). Keep the default.", last.pick);
    }
    let (Some(better), Some([low, high]), Some(noise)) = (last.better, last.better_interval, last.noise)
    else {
        return "The final comparison has too few pairs to say anything. Keep the default.".into();
    };
    let figures = format!(
        "{:+.1}% (95%: {:+.1} to {:+.1}%; the default against itself: {:.1}%)",
        100.0 * better,
        100.0 * low,
        100.0 * high,
        100.0 * noise
    );
    match beats {
        true => format!("{} beats the default by {figures}: {}.", last.pick, settings.objective.gain()),
        false => {
            let more = if high > 0.0 && last.pairs.len() < settings.repeats_max as usize {
                " A larger budget has room for more pairs of runs."
            } else {
                ""
            };
            format!(
                "{} does not beat the default by more than the noise: {figures}. Keep the default.{more}",
                last.pick
            )
        }
    }
}
