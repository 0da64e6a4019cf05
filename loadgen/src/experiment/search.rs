//! The search for the highest round rate that loses nothing.
//!
//! It begins at the rate of lockstep rounds, goes up or down from there until one rate passed and another did not, and
//! halves what is between (on a logarithmic scale) until the two are near or the trials are spent. Each trial is a short
//! run in open loop with servers and hosts of its own.

use crate::coordinator::{Measurement, RunError};
use crate::limits::{ROUNDS_MAX, TRIAL_ROUNDS_MIN, TRIAL_SECONDS, TRIALS_MAX};
use crate::plan::Plan;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// How much faster or slower the next rate is while only one side is known.
const STEP: f64 = 2.0;
/// Rates this near are not told apart by so short a run.
const NEAR: f64 = 1.02;

/// What the search found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HighestRate {
    /// The highest rate that passed, rounds per second; none if no trial did.
    pub rounds_per_s: Option<f64>,
    /// The lowest rate that did not pass; none if every trial did.
    pub fails_at: Option<f64>,
    /// The rate of lockstep rounds, from which the search began.
    pub lockstep_rounds_per_s: f64,
    /// How long a trial is planned to last, but for the fewest rounds.
    pub trial_seconds: f64,
    /// Each, in order.
    pub trials: Vec<Trial>,
}

/// One short run at a rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// Rounds per second that were planned.
    pub rounds_per_s: f64,
    /// Rounds that were measured.
    pub rounds: u32,
    /// Whether nothing was lost, skipped or late.
    pub passed: bool,
    /// Messages that did not arrive.
    pub lost: u64,
    /// Rounds that a server left out.
    pub rounds_skipped: u64,
    /// Rounds that a host began a whole interval or more late.
    pub missed_slots: u64,
    /// What was wrong first; empty if it passed.
    pub why: String,
}

/// A trial's plan.
pub(super) fn plan(plan: &Plan, rate: f64) -> Plan {
    let rounds = (rate * TRIAL_SECONDS).ceil() as u32;
    let rounds = rounds.clamp(TRIAL_ROUNDS_MIN, ROUNDS_MAX);
    Plan { rate: Some(rate), rounds, warmup: 1, ..plan.clone() }
}

impl Trial {
    /// Of a run that was measured.
    pub(super) fn of(measured: &Measurement) -> Trial {
        let result = &measured.result;
        let missed_slots = result.load.missed_slots;
        let totals = &result.totals;
        let why = if missed_slots > 0 {
            format!("{missed_slots} slots were missed")
        } else {
            result.failures.first().cloned().unwrap_or_default()
        };
        Trial {
            rounds_per_s: result.plan.rate.unwrap_or(0.0),
            rounds: result.plan.rounds,
            passed: why.is_empty() && totals.lost == 0 && totals.rounds_skipped == 0,
            lost: totals.lost,
            rounds_skipped: totals.rounds_skipped,
            missed_slots,
            why,
        }
    }

    /// A line.
    pub(super) fn in_words(&self) -> String {
        let seconds = f64::from(self.rounds) / self.rounds_per_s.max(1e-9);
        let verdict = if self.passed { "passed".into() } else { format!("failed: {}", self.why) };
        format!(
            "  {:>9.3} rounds/s, {} rounds planned in {seconds:.1} s: {verdict}",
            self.rounds_per_s, self.rounds
        )
    }
}

impl HighestRate {
    /// Each trial, and the answer with its bounds.
    pub(super) fn in_words(&self, group: u32) -> String {
        let mut text = format!(
            "Highest rate that loses nothing, groups of {group}; trials of {} s each, {TRIAL_ROUNDS_MIN} rounds at \
             least; lockstep was {:.3} rounds/s:\n",
            self.trial_seconds, self.lockstep_rounds_per_s
        );
        self.trials.iter().for_each(|trial| {
            writeln!(text, "{}", trial.in_words()).expect("a string takes it");
        });
        let answer = match (self.rounds_per_s, self.fails_at) {
            (Some(passes), Some(fails)) => {
                format!("{passes:.3} rounds/s; the lowest that failed was {fails:.3}")
            }
            (Some(passes), None) => format!("at least {passes:.3} rounds/s: no trial failed"),
            (None, Some(fails)) => format!("below {fails:.3} rounds/s: no trial passed"),
            (None, None) => "not searched".into(),
        };
        writeln!(text, "Highest rate: {answer}.").expect("a string takes it");
        text
    }
}

/// Searches from the rate of lockstep rounds on; `trial` plays one.
pub(super) fn highest_rate(
    lockstep: f64,
    mut trial: impl FnMut(f64) -> Result<Trial, RunError>,
) -> Result<HighestRate, RunError> {
    let mut found = HighestRate {
        rounds_per_s: None,
        fails_at: None,
        lockstep_rounds_per_s: lockstep,
        trial_seconds: TRIAL_SECONDS,
        trials: Vec::new(),
    };
    let mut rate = lockstep;
    for _ in 0..TRIALS_MAX {
        let tried = trial(rate)?;
        let bound = if tried.passed { &mut found.rounds_per_s } else { &mut found.fails_at };
        *bound = Some(rate);
        found.trials.push(tried);
        rate = match (found.rounds_per_s, found.fails_at) {
            (Some(passes), Some(fails)) if fails / passes <= NEAR => break,
            (Some(passes), Some(fails)) => (passes * fails).sqrt(),
            (Some(passes), None) => passes * STEP,
            (None, Some(fails)) => fails / STEP,
            (None, None) => unreachable!("a trial passes or fails"),
        };
    }
    Ok(found)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn tried(rate: f64, passed: bool) -> Trial {
        Trial {
            rounds_per_s: rate,
            rounds: 9,
            passed,
            lost: 0,
            rounds_skipped: 0,
            missed_slots: u64::from(!passed),
            why: if passed { String::new() } else { "1 slots were missed".into() },
        }
    }

    /// Where every rate up to 33 passes, from a lockstep rate.
    fn search(lockstep: f64, limit: f64) -> HighestRate {
        highest_rate(lockstep, |rate| Ok(tried(rate, rate <= limit))).unwrap()
    }

    pub(crate) fn found() -> HighestRate {
        search(20.0, 33.0)
    }

    #[test]
    fn the_limit_is_between_its_bounds_wherever_it_begins() {
        for lockstep in [5.0, 20.0, 32.9, 33.1, 60.0, 200.0] {
            let found = search(lockstep, 33.0);
            let (passes, fails) = (found.rounds_per_s.unwrap(), found.fails_at.unwrap());
            assert!(passes <= 33.0 && fails > 33.0, "from {lockstep}: {passes} {fails}");
            assert!(found.trials.len() <= TRIALS_MAX as usize);
            assert!(fails / passes < 1.3, "from {lockstep}: {passes} {fails}");
        }
        let near = search(30.0, 33.0);
        assert!(near.fails_at.unwrap() / near.rounds_per_s.unwrap() < 1.03, "{near:?}");
    }

    #[test]
    fn a_search_that_finds_one_side_only_says_so() {
        let never = search(10.0, 0.0);
        assert_eq!((never.rounds_per_s, never.trials.len()), (None, TRIALS_MAX as usize));
        assert!(never.in_words(130).contains("no trial passed"));
        let always = search(10.0, f64::INFINITY);
        assert_eq!(always.fails_at, None);
        assert!(
            always.in_words(130).contains("at least") && always.in_words(130).contains("no trial failed")
        );
    }

    #[test]
    fn a_failure_ends_the_search() {
        assert!(highest_rate(1.0, |_| Err(RunError::Interrupted)).is_err());
    }

    #[test]
    fn a_trial_is_short_and_in_open_loop() {
        let base = Plan { rounds: 1_000, warmup: 9, ..Plan::default() };
        let trial = plan(&base, 50.0);
        assert_eq!((trial.rate, trial.rounds, trial.warmup), (Some(50.0), (50.0 * TRIAL_SECONDS) as u32, 1));
        assert_eq!(plan(&base, 0.01).rounds, TRIAL_ROUNDS_MIN);
    }
}
