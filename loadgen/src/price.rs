//! What it costs to guard a run: the same plan in turns, over plain channels, over private ones, and accountable, all on
//! this machine; and what one core does of the cryptography alone ([`alone`]).
//!
//! Runs of one repeat follow each other, and every other repeat has them in the other order, so that what the machine does
//! meanwhile falls on all alike. Ratios are of the runs of one repeat.

pub(crate) mod alone;
mod table;

use crate::coordinator::place::Deployment;
use crate::coordinator::team::Team;
use crate::coordinator::{Checks, Progress, RunError, check, measure, print};
use crate::environment::Environment;
use crate::json_file::JsonFile;
use crate::plan::Plan;
use crate::result::RunResult;
use crate::stats::Spread;
use alone::Alone;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The schema's name and version (`RESULTS.md`).
pub(crate) const SCHEMA: &str = "twincast-price/1";

/// What is measured.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Names and plans, each guarded more than the one before it.
    pub(crate) plans: Vec<(String, Plan)>,
    /// Runs of each.
    pub(crate) repeats: u32,
}

/// What guarding costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Price {
    /// [`SCHEMA`].
    pub(crate) schema: String,
    /// Where.
    pub(crate) environment: Environment,
    /// The plans, in the order of their guards.
    pub(crate) runs: Vec<Runs>,
    /// Each beside the one before it.
    pub(crate) ratios: Vec<Beside>,
    /// What is wanted of the ratios. A measurement that misses a bound is told and fails nothing: it hangs on the machine and
    /// on the plan, while a run's checks do not.
    pub(crate) bounds: Vec<Bound>,
    /// What one core does of it alone.
    pub(crate) alone: Vec<Alone>,
    /// What limited the runs, each sentence once.
    pub(crate) limited_by: Vec<String>,
    /// What is wrong with the runs, a sentence each; empty: every check passed.
    pub(crate) failures: Vec<String>,
}

/// All runs of one plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Runs {
    /// `plain`, `noise` or `accountable`.
    pub(crate) name: String,
    /// What was played.
    pub(crate) plan: Plan,
    /// Figures by their names in a result, with their spread over the runs.
    pub(crate) figures: BTreeMap<String, Spread>,
}

/// One plan beside another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Beside {
    /// Which.
    pub(crate) name: String,
    /// What it is divided by.
    pub(crate) over: String,
    /// Its figure over the other's, repeat by repeat.
    pub(crate) figures: BTreeMap<String, Spread>,
}

/// What is wanted of a ratio.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bound {
    /// Of which figure.
    pub(crate) figure: String,
    /// Whose.
    pub(crate) name: String,
    /// What it is divided by.
    pub(crate) over: String,
    /// The greatest ratio that is wanted.
    pub(crate) at_most: f64,
    /// What the ratio is, the median of the repeats.
    pub(crate) median: f64,
    /// Whether that is at most what is wanted.
    pub(crate) is_met: bool,
}

/// What a figure may be at the most beside the runs that are guarded less: private channels double the CPU and the time
/// of a round at the most, and what an accountable group adds to the bytes is small.
fn at_most(figure: &str, name: &str) -> Option<f64> {
    match (name, figure) {
        ("noise", "guard.server_cpu_ns_per_byte" | "round_seconds.p50") => Some(2.0),
        ("accountable", "guard.egress_bytes_per_member") => Some(1.02),
        _ => None,
    }
}

/// A figure of a run.
type Figure = fn(&RunResult) -> Option<f64>;

/// The figures, by their names in a result or a summary.
const FIGURES: [(&str, Figure); 4] = [
    ("guard.server_cpu_ns_per_byte", |run| run.guard.server_cpu_ns_per_byte),
    ("round_seconds.p50", |run| run.round_seconds.p50),
    ("guard.egress_bytes_per_member", |run| run.guard.egress_bytes_per_member),
    ("dial.seconds", |run| Some(run.dial.seconds)),
];

/// Plays all of it and prints it; true if every check of every run passed, whatever the bounds.
///
/// # Errors
/// Some run did not come to a result; nothing that was started is left.
pub(crate) fn run(asked: &Asked, json: Option<&Path>) -> Result<bool, RunError> {
    asked.plans.iter().try_for_each(|(_, plan)| check(plan))?;
    let file = json.map(JsonFile::open).transpose()?;
    let mut progress = Progress::new();
    let mut team = Team::new()?;
    let played = play(&mut team, asked, &mut progress);
    progress.finish();
    if played.is_err() {
        team.cut();
    }
    let played = played?;
    drop(team);
    let price = Price::of(asked, &played, alone::measure());
    if let Some(file) = file {
        file.write(&price)?;
    }
    print(&table::render(&price))?;
    Ok(price.is_good())
}

/// For each plan its runs.
fn play(team: &mut Team, asked: &Asked, progress: &mut Progress) -> Result<Vec<Vec<RunResult>>, RunError> {
    let mut checks = Checks::default();
    let mut played: Vec<Vec<RunResult>> = asked.plans.iter().map(|_| Vec::new()).collect();
    for repeat in 0..asked.repeats.max(1) {
        let count = asked.plans.len();
        for turn in 0..count {
            let which = if repeat % 2 == 0 { turn } else { count - 1 - turn };
            let (name, plan) = &asked.plans[which];
            progress.context(&format!("{name}, run {} of {}", repeat + 1, asked.repeats));
            let deployment = Deployment::here(plan);
            let looks = (&mut checks, &mut *progress);
            played[which].push(measure(team, &deployment, plan, false, looks)?);
        }
    }
    Ok(played)
}

impl Price {
    fn of(asked: &Asked, played: &[Vec<RunResult>], alone: Vec<Alone>) -> Price {
        let values = |runs: &[RunResult], figure: Figure| -> Vec<f64> {
            // One that a run does not have is none in its pair, either.
            runs.iter().map(|run| figure(run).unwrap_or(f64::NAN)).collect()
        };
        let spread = |values: Vec<f64>| {
            Spread::of(&values.into_iter().filter(|value| value.is_finite()).collect::<Vec<_>>())
        };
        let all = || asked.plans.iter().zip(played);
        let runs = all().map(|((name, plan), runs)| Runs {
            name: name.clone(),
            plan: plan.clone(),
            figures: FIGURES
                .iter()
                .filter_map(|(figure, of)| Some(((*figure).into(), spread(values(runs, *of))?)))
                .collect(),
        });
        let ratios = all().zip(all().skip(1)).map(|(((over, _), before), ((name, _), after))| {
            let of_figure = |of: Figure| {
                let pairs = values(before, of).into_iter().zip(values(after, of));
                spread(pairs.map(|(before, after)| after / before).collect())
            };
            Beside {
                name: name.clone(),
                over: over.clone(),
                figures: FIGURES
                    .iter()
                    .filter_map(|(figure, of)| Some(((*figure).into(), of_figure(*of)?)))
                    .collect(),
            }
        });
        let mut limited_by: Vec<String> = Vec::new();
        let mut failures = Vec::new();
        for ((name, _), runs) in all() {
            for (run, result) in (1..).zip(runs) {
                let sentence = format!("{name}: {}", result.limited_by);
                if !limited_by.contains(&sentence) {
                    limited_by.push(sentence);
                }
                failures
                    .extend(result.failures.iter().map(|failure| format!("{name}, run {run}: {failure}")));
            }
        }
        let (runs, ratios): (_, Vec<Beside>) = (runs.collect(), ratios.collect());
        let bounds = ratios.iter().flat_map(Beside::bounds).collect();
        let environment = played.iter().flatten().next().expect("a run of each").environment.clone();
        Price { schema: SCHEMA.into(), environment, runs, ratios, bounds, alone, limited_by, failures }
    }

    /// Whether every run passed its own checks.
    fn is_good(&self) -> bool {
        self.failures.is_empty()
    }
}

impl Beside {
    /// What is wanted of its figures, in their order.
    fn bounds(&self) -> impl Iterator<Item = Bound> {
        FIGURES.iter().filter_map(|(figure, _)| {
            let (at_most, median) = (at_most(figure, &self.name)?, self.figures.get(*figure)?.median);
            let (figure, name, over) = ((*figure).into(), self.name.clone(), self.over.clone());
            Some(Bound { figure, name, over, at_most, median, is_met: median <= at_most })
        })
    }
}

#[cfg(test)]
mod tests;
