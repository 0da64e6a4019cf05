//! One trial: how long it is, and whether its rate held.

use crate::coordinator::{Measurement, RunError};
use crate::limits::{
    CONFIRMING_TIMES, ROUNDS_MAX, TRIAL_ROUNDS_LEAST, TRIAL_ROUNDS_MIN, TRIAL_SECONDS, TRIAL_SECONDS_MAX,
};
use crate::plan::Plan;
use crate::stats::Spread;
use serde::{Deserialize, Serialize};

/// The part of the planned rate that must be achieved.
const ACHIEVED_MIN: f64 = 0.99;
/// How many times as long after their planned instants the last third's rounds may come as the first third's.
const GROWTH_MAX: f64 = 1.25;
/// And so much longer, in seconds: rounds of a millisecond come and go by as much.
const GROWTH_SLACK_S: f64 = 0.001;
/// The longest round, in intervals between planned instants.
const INTERVALS_MAX: f64 = 2.0;

/// How long a trial is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::experiment) enum Length {
    /// Long enough for a backlog to show.
    Short,
    /// Longer, for a rate that passed.
    Confirming,
}

/// One run at a rate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// Rounds per second that were planned.
    pub rounds_per_s: f64,
    /// Rounds that were planned, and measured unless the run came to no result.
    pub rounds: u32,
    /// Whether it was to confirm a rate, and therefore longer.
    pub confirms: bool,
    /// Whether nothing was lost, skipped or late, and no backlog grew.
    pub passed: bool,
    /// Rounds per second that were achieved; none if the run came to no result.
    pub achieved_rounds_per_s: Option<f64>,
    /// Seconds from a round's planned instant to its end on the slowest host, the median of the first third of rounds.
    pub first_third_seconds: Option<f64>,
    /// The same of the last third.
    pub last_third_seconds: Option<f64>,
    /// The same of the slowest round.
    pub longest_seconds: Option<f64>,
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
pub(in crate::experiment) fn plan(plan: &Plan, rate: f64, length: Length) -> Plan {
    let within = |seconds: f64| (rate * seconds).floor() as u32;
    let rounds =
        within(TRIAL_SECONDS).max(TRIAL_ROUNDS_MIN.min(within(TRIAL_SECONDS_MAX))).max(TRIAL_ROUNDS_LEAST);
    let times = if length == Length::Confirming { CONFIRMING_TIMES } else { 1 };
    let rounds = rounds.saturating_mul(times).min(ROUNDS_MAX);
    Plan { rate: Some(rate), rounds, warmup: 1, ..plan.clone() }
}

impl Trial {
    /// Of a run that was measured, of this plan.
    pub(in crate::experiment) fn of(plan: &Plan, length: Length, measured: &Measurement) -> Trial {
        let result = &measured.result;
        let trial = Trial {
            achieved_rounds_per_s: result.load.achieved_rate,
            lost: result.totals.lost,
            rounds_skipped: result.totals.rounds_skipped,
            missed_slots: result.load.missed_slots,
            ..Trial::begun(plan, length)
        };
        trial.judged(&measured.rounds, result.failures.first())
    }

    /// Of a run that came to no result.
    pub(in crate::experiment) fn failed(plan: &Plan, length: Length, error: &RunError) -> Trial {
        let why = error.to_string();
        Trial { why: why.lines().next().unwrap_or_default().into(), ..Trial::begun(plan, length) }
    }

    fn begun(plan: &Plan, length: Length) -> Trial {
        Trial {
            rounds_per_s: plan.rate.unwrap_or(0.0),
            rounds: plan.rounds,
            confirms: length == Length::Confirming,
            ..Trial::default()
        }
    }

    /// With its verdict, by the seconds of each round from its planned instant on and the first check that failed.
    pub(super) fn judged(mut self, rounds: &[f64], failure: Option<&String>) -> Trial {
        let third = rounds.len().div_ceil(3);
        let median = |part: &[f64]| Spread::of(part).map(|spread| spread.median);
        self.first_third_seconds = median(&rounds[..third]);
        self.last_third_seconds = median(&rounds[rounds.len() - third..]);
        self.longest_seconds = Spread::of(rounds).map(|spread| spread.max);
        self.why = self.fault().or_else(|| failure.cloned()).unwrap_or_default();
        self.passed = self.why.is_empty();
        self
    }

    /// What shows that the rate is not held, if something does.
    fn fault(&self) -> Option<String> {
        let interval = 1.0 / self.rounds_per_s;
        let (Some(achieved), Some(first), Some(last), Some(longest)) = (
            self.achieved_rounds_per_s,
            self.first_third_seconds,
            self.last_third_seconds,
            self.longest_seconds,
        ) else {
            return Some("no round was measured".into());
        };
        if self.lost > 0 {
            Some(format!("{} messages were lost", self.lost))
        } else if self.rounds_skipped > 0 {
            Some(format!("{} rounds were left out", self.rounds_skipped))
        } else if self.missed_slots > 0 {
            Some(format!("{} slots were missed", self.missed_slots))
        } else if achieved < ACHIEVED_MIN * self.rounds_per_s {
            Some(format!("only {achieved:.3} rounds/s were achieved"))
        } else if last > GROWTH_MAX * first + GROWTH_SLACK_S {
            Some(format!(
                "a backlog grew: rounds took {first:.3} s from their planned instants in the first third, {last:.3} \
                 s in the last"
            ))
        } else if longest > INTERVALS_MAX * interval {
            Some(format!("a round took {longest:.3} s, more than {INTERVALS_MAX} intervals"))
        } else {
            None
        }
    }

    /// A line.
    pub(in crate::experiment) fn in_words(&self) -> String {
        let seconds = f64::from(self.rounds) / self.rounds_per_s.max(1e-9);
        let to_confirm = if self.confirms { ", to confirm" } else { "" };
        let verdict = if self.passed { "passed".into() } else { format!("failed: {}", self.why) };
        format!(
            "  {:>9.3} rounds/s, {} rounds planned in {seconds:.1} s{to_confirm}: {verdict}",
            self.rounds_per_s, self.rounds
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: f64 = 2.0;

    /// The verdict on rounds that each take `service` seconds one after another, planned at [`RATE`].
    fn verdict(service: impl Fn(usize) -> f64, rounds: usize) -> Trial {
        let mut free = 0.0_f64;
        let seconds = (0..rounds).map(|round| {
            let planned = round as f64 / RATE;
            free = free.max(planned) + service(round);
            free - planned
        });
        let seconds: Vec<f64> = seconds.collect();
        let end = free.max(rounds as f64 / RATE);
        let achieved = Some(rounds as f64 / end);
        Trial {
            rounds_per_s: RATE,
            rounds: rounds as u32,
            achieved_rounds_per_s: achieved,
            ..Trial::default()
        }
        .judged(&seconds, None)
    }

    #[test]
    fn a_steady_series_passes_and_one_that_comes_and_goes_a_little_does_too() {
        for (service, name) in [(0.49, "just below the interval"), (0.001, "far below")] {
            let steady = verdict(|_| service, 20);
            assert!(steady.passed && steady.why.is_empty(), "{name}: {steady:?}");
        }
        let uneven = verdict(|round| [0.40, 0.48, 0.44][round % 3], 20);
        assert!(uneven.passed, "{uneven:?}");
        // A hiccup that is made up for.
        let hiccup = verdict(|round| if round == 9 { 0.8 } else { 0.3 }, 20);
        assert!(hiccup.passed, "{hiccup:?}");
    }

    #[test]
    fn a_backlog_that_grows_fails_long_before_a_slot_is_missed() {
        // The service takes 3%, and half as long again as, the interval.
        for service in [0.515, 0.75] {
            let late = verdict(|_| service, 20);
            assert!(!late.passed && late.missed_slots == 0, "{service}: {late:?}");
        }
        // Rounds that become slower and slower, each of them in time.
        let slower = verdict(|round| 0.2 + 0.01 * round as f64, 20);
        assert!(slower.why.contains("a backlog grew"), "{slower:?}");
        // The whole at its rate, but for one round that everybody waited for.
        let stopped = verdict(|round| if round == 9 { 1.2 } else { 0.1 }, 20);
        assert!(stopped.why.contains("more than 2 intervals"), "{stopped:?}");
        // The last round alone, in no median, is in the rate.
        let end = verdict(|round| if round == 19 { 0.9 } else { 0.1 }, 20);
        assert!(end.why.contains("were achieved"), "{end:?}");
    }

    #[test]
    fn what_else_is_wrong_is_told_too() {
        let good = verdict(|_| 0.4, 20);
        let seconds = vec![0.4; 20];
        let missed = Trial { missed_slots: 1, ..good.clone() }.judged(&seconds, None);
        assert!(!missed.passed && missed.why == "1 slots were missed");
        let lost = Trial { lost: 2, ..good.clone() }.judged(&seconds, None);
        assert!(!lost.passed && lost.why == "2 messages were lost");
        let skipped = Trial { rounds_skipped: 3, ..good.clone() }.judged(&seconds, None);
        assert!(!skipped.passed && skipped.why == "3 rounds were left out");
        let check = good.clone().judged(&seconds, Some(&"a check failed".into()));
        assert!(!check.passed && check.why == "a check failed");
        let nothing = good.judged(&[], None);
        assert!(!nothing.passed && nothing.why == "no round was measured");
    }

    #[test]
    fn a_trial_is_in_open_loop_and_long_enough_for_a_backlog_to_show() {
        let base = Plan { rounds: 1_000_000, warmup: 9, ..Plan::default() };
        let quick = plan(&base, 50.0, Length::Short);
        assert_eq!((quick.rate, quick.rounds, quick.warmup), (Some(50.0), 150, 1));
        assert_eq!(plan(&base, 50.0, Length::Confirming).rounds, 300);
        assert_eq!(plan(&base, 1.8, Length::Short).rounds, TRIAL_ROUNDS_MIN);
        assert_eq!(plan(&base, 0.2, Length::Short).rounds, 12, "a minute");
        assert_eq!(plan(&base, 0.001, Length::Short).rounds, TRIAL_ROUNDS_LEAST);
        assert_eq!(plan(&base, 1e9, Length::Confirming).rounds, ROUNDS_MAX);
    }
}
