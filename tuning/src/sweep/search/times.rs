//! How long runs take, as far as those that were made say.

use super::super::tune_file::ROUNDS_MAX;
use super::Candidate;

/// How much longer than estimated a run is taken to be.
const SPARE: f64 = 1.1;

/// Of each run that came to its result, how long it took.
#[derive(Default)]
pub(super) struct Times(Vec<Time>);

struct Time {
    candidate: Candidate,
    /// Seconds that were no measured round: start, dialling, warm-up, and the end.
    start_s: f64,
    /// Seconds of a measured round.
    round_s: f64,
}

/// How long a run is taken to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Estimate {
    start_s: f64,
    round_s: f64,
}

impl Times {
    /// Remembers a run of so many rounds that took `seconds`, `rounds_s` of them for its measured rounds.
    pub(super) fn push(&mut self, candidate: &Candidate, rounds: u32, seconds: f64, rounds_s: f64) {
        self.0.push(Time {
            candidate: candidate.clone(),
            start_s: (seconds - rounds_s).max(0.0),
            round_s: rounds_s / f64::from(rounds),
        });
    }

    /// A run of anything, by all runs.
    pub(super) fn of_any(&self) -> Estimate {
        Estimate::of(&self.0, |_| true)
    }

    /// Two runs, one of each, by the runs of these two alone: those of others, which are slower, say nothing of them. Both
    /// have been measured.
    pub(super) fn of_pair(&self, one: &Candidate, other: &Candidate) -> Estimate {
        let [one, other] = [one, other].map(|of| Estimate::of(&self.0, |candidate| candidate == of));
        Estimate { start_s: one.start_s + other.start_s, round_s: one.round_s + other.round_s }
    }
}

impl Estimate {
    fn of(times: &[Time], is_of: impl Fn(&Candidate) -> bool) -> Estimate {
        let times: Vec<&Time> = times.iter().filter(|time| is_of(&time.candidate)).collect();
        assert!(!times.is_empty(), "estimates are asked for once there are runs");
        let mean =
            |part: fn(&Time) -> f64| times.iter().map(|time| part(time)).sum::<f64>() / times.len() as f64;
        Estimate { start_s: SPARE * mean(|time| time.start_s), round_s: SPARE * mean(|time| time.round_s) }
    }

    /// Seconds of a run of so many rounds.
    pub(super) fn run_s(&self, rounds: u32) -> f64 {
        self.start_s + f64::from(rounds) * self.round_s
    }

    /// The most rounds of a run that takes so many seconds; 0: not even its start fits.
    pub(super) fn rounds_in(&self, seconds: f64) -> u32 {
        let rounds = (seconds - self.start_s) / self.round_s.max(f64::MIN_POSITIVE);
        rounds.clamp(0.0, f64::from(ROUNDS_MAX)) as u32
    }

    /// Rounds that together take at least as long as what is no round: with fewer, most of the time would go to starts.
    pub(super) fn rounds_of_a_start(&self) -> u32 {
        let rounds = (self.start_s / self.round_s.max(f64::MIN_POSITIVE)).ceil();
        rounds.clamp(1.0, f64::from(ROUNDS_MAX)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::knobs::{Knob, Value};

    #[test]
    fn estimates_are_means_with_something_to_spare() {
        let [default, pick] = [Candidate::default(), Candidate::of(Knob::FanOutThreads, Value::Whole(2))];
        let mut times = Times::default();
        times.push(&default, 2, 4.0, 2.0);
        times.push(&default, 4, 8.0, 4.0);
        times.push(&pick, 1, 7.5, 0.5);
        let near = |one: f64, other: f64| (one - other).abs() < 1e-9;
        let [any, pair] = [times.of_any(), times.of_pair(&default, &pick)];
        assert!(
            near(any.run_s(0), SPARE * 13.0 / 3.0) && near(any.run_s(3) - any.run_s(0), SPARE * 2.5),
            "{any:?}"
        );
        assert!(near(pair.run_s(2), SPARE * (3.0 + 7.0 + 2.0 * 1.5)), "{pair:?}");
        assert_eq!((pair.rounds_in(pair.run_s(5) + 0.01), pair.rounds_in(1.0)), (5, 0));
        // 10 s of starts, 1.5 s of a round of each.
        assert_eq!(pair.rounds_of_a_start(), 7);
    }

    #[test]
    fn rounds_that_take_no_time_are_bounded() {
        let mut times = Times::default();
        times.push(&Candidate::default(), 1, 1.0, 0.0);
        assert_eq!(
            (times.of_any().rounds_in(5.0), times.of_any().rounds_of_a_start()),
            (ROUNDS_MAX, ROUNDS_MAX)
        );
    }
}
