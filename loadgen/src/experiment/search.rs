//! The search for the highest round rate that loses nothing and lets no backlog grow.
//!
//! It begins a little below the rate of lockstep rounds, goes up or down from there until one rate passed and another did
//! not, and halves what is between (on a logarithmic scale) until the two are near or only the trials for confirming are
//! left. The highest rate that passed is then played again for longer, and if it does not hold, a lower one. Each trial
//! is a run in open loop with servers and hosts of its own.

mod trial;

pub use trial::Trial;
pub(super) use trial::{Length, plan};

use crate::coordinator::RunError;
use crate::limits::{
    CONFIRMING_TIMES, TRIAL_ROUNDS_MIN, TRIAL_SECONDS, TRIAL_SECONDS_MAX, TRIALS_CONFIRMING, TRIALS_MAX,
};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// The first rate, as a part of that of lockstep rounds: most groups bear it, which leaves trials for what is above.
const FIRST: f64 = 0.95;
/// How much faster or slower the second rate is; each further one is by the square of the step before it, up to
/// [`STEP_MAX`], while only one side is known.
const STEP: f64 = 1.15;
const STEP_MAX: f64 = 4.0;
/// How much slower the next rate is after one that a longer run did not bear; the step then grows as well.
const STEP_BACK: f64 = 1.05;
/// Rates this near are not told apart by so short a run.
const NEAR: f64 = 1.03;

/// What the search found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HighestRate {
    /// The highest rate that a longer run confirmed, rounds per second; none if none did. It is below every rate that
    /// failed.
    pub rounds_per_s: Option<f64>,
    /// The lowest rate that did not pass; none if every trial did.
    pub fails_at: Option<f64>,
    /// The rate of lockstep rounds, near which the search began.
    pub lockstep_rounds_per_s: f64,
    /// How long a trial is planned to last, but for the fewest rounds.
    pub trial_seconds: f64,
    /// How long a trial of the fewest rounds may be planned to last, but for one that confirms.
    pub trial_seconds_max: f64,
    /// Each, in order.
    pub trials: Vec<Trial>,
}

impl HighestRate {
    /// Each trial, and the answer with its bounds.
    pub(super) fn in_words(&self, group: u32) -> String {
        let mut text = format!(
            "Highest rate that loses nothing, groups of {group}; lockstep was {:.3} rounds/s. A trial takes {} s or \
             {TRIAL_ROUNDS_MIN} rounds, whichever is longer, but no more than {} s; the last ones, to confirm, \
             {CONFIRMING_TIMES} times as many rounds:\n",
            self.lockstep_rounds_per_s, self.trial_seconds, self.trial_seconds_max
        );
        self.trials.iter().for_each(|trial| {
            writeln!(text, "{}", trial.in_words()).expect("a string takes it");
        });
        writeln!(text, "Highest rate: {}.", self.answer()).expect("a string takes it");
        let back = self.trials.iter().find(|trial| trial.confirms && !trial.passed);
        if let Some(back) = back.filter(|back| self.has_passed(back.rounds_per_s)) {
            writeln!(
                text,
                "{:.3} rounds/s passed its trial and did not hold for longer; lower ones were tried instead.",
                back.rounds_per_s
            )
            .expect("a string takes it");
        }
        text
    }

    fn answer(&self) -> String {
        let confirmed = self.trials.iter().find(|trial| trial.confirms && trial.passed);
        let rounds = confirmed.map_or(0, |trial| trial.rounds);
        match (self.rounds_per_s, self.fails_at) {
            (Some(passes), Some(fails)) => {
                format!(
                    "{passes:.3} rounds/s, held for {rounds} rounds; the lowest that failed was {fails:.3}"
                )
            }
            (Some(passes), None) => {
                format!("at least {passes:.3} rounds/s, held for {rounds} rounds: no trial failed")
            }
            (None, Some(fails)) if self.trials.iter().any(|trial| trial.passed) => {
                format!("below {fails:.3} rounds/s: what passed was not confirmed by a longer run")
            }
            (None, Some(fails)) => format!("below {fails:.3} rounds/s: no trial passed"),
            (None, None) => "not searched".into(),
        }
    }

    /// Whether a short trial of this very rate passed.
    fn has_passed(&self, rate: f64) -> bool {
        self.trials.iter().any(|trial| trial.passed && !trial.confirms && trial.rounds_per_s == rate)
    }
}

/// Where the search stands.
#[derive(Default)]
struct Search {
    /// The highest rate that a short trial passed, below every rate that failed.
    passes: Option<f64>,
    fails: Option<f64>,
    /// Rates that a trial was to confirm and that failed.
    failed_to_confirm: u32,
    confirming: bool,
}

impl Search {
    /// The next rate and how long it is tried; `tried` trials were played.
    fn next(&mut self, lockstep: f64, tried: u32) -> (f64, Length) {
        let near = matches!((self.passes, self.fails), (Some(passes), Some(fails)) if fails / passes <= NEAR);
        self.confirming |= near || tried >= TRIALS_MAX - TRIALS_CONFIRMING;
        if self.confirming {
            let back = STEP_BACK.powi(1 << self.failed_to_confirm.saturating_sub(1).min(5));
            let rate = match (self.passes, self.fails) {
                (Some(passes), _) => passes,
                (None, Some(fails)) => fails / back,
                (None, None) => unreachable!("a trial passes or fails"),
            };
            return (rate, Length::Confirming);
        }
        let step = STEP.powi(1 << tried.saturating_sub(1).min(5)).min(STEP_MAX);
        let rate = match (self.passes, self.fails) {
            (Some(passes), Some(fails)) => (passes * fails).sqrt(),
            (Some(passes), None) => passes * step,
            (None, Some(fails)) => fails / step,
            (None, None) => lockstep * FIRST,
        };
        (rate, Length::Short)
    }

    /// Takes a trial's verdict.
    fn take(&mut self, rate: f64, passed: bool) {
        if passed {
            self.passes = Some(rate);
        } else {
            self.fails = Some(rate);
            self.failed_to_confirm += u32::from(self.confirming);
            // What a longer run did not bear has not passed.
            self.passes = self.passes.filter(|passes| *passes < rate);
        }
    }
}

/// Searches from the rate of lockstep rounds on; `trial` plays one.
///
/// # Errors
/// What `trial` says: the search ends there.
pub(super) fn highest_rate(
    lockstep: f64,
    mut trial: impl FnMut(f64, Length) -> Result<Trial, RunError>,
) -> Result<HighestRate, RunError> {
    let mut found = HighestRate {
        rounds_per_s: None,
        fails_at: None,
        lockstep_rounds_per_s: lockstep,
        trial_seconds: TRIAL_SECONDS,
        trial_seconds_max: TRIAL_SECONDS_MAX,
        trials: Vec::new(),
    };
    let mut search = Search::default();
    for tried in 0..TRIALS_MAX {
        let (rate, length) = search.next(lockstep, tried);
        let played = trial(rate, length)?;
        let passed = played.passed;
        found.trials.push(played);
        search.take(rate, passed);
        if passed && length == Length::Confirming {
            found.rounds_per_s = Some(rate);
            break;
        }
    }
    found.fails_at = search.fails;
    Ok(found)
}

#[cfg(test)]
pub(super) mod tests;
