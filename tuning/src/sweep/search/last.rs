//! The final comparison: how many rounds and pairs it has, and the pairs.

use super::times::Estimate;
use super::{Candidate, Failure, Final, Pair, Search, Stop, median};

/// What the final comparison may take of the budget for having longer runs than the first rung.
const FINAL_PART: f64 = 0.4;

impl Search<'_> {
    /// Rounds of the final comparison, for which time is set aside before the first rung: those of the second rung, and so
    /// many that starts do not take most of its time; as far as the budget lets them.
    pub(super) fn final_rounds(&self) -> u32 {
        let least = self.settings.rounds;
        let any = self.times.of_any();
        let wanted = least.saturating_mul(self.settings.eta).max(any.rounds_of_a_start());
        let room_s = FINAL_PART * self.settings.budget_s / f64::from(2 * self.settings.repeats);
        wanted.min(any.rounds_in(room_s)).max(least)
    }

    /// Rounds of each run and the number of pairs, out of the time that is left and nothing else. Where it has room for the
    /// most pairs, runs become longer, up to those of the longest rung.
    fn shape(&self, pair: &Estimate, set_aside: u32) -> (u32, u32) {
        let (least, most) = (self.settings.repeats, self.settings.repeats_max);
        let left_s = self.left_s();
        let fitting = |pairs: u32| pair.rounds_in(left_s / f64::from(pairs));
        // What was set aside may have gone to a candidate that took long to fail.
        let wanted = set_aside.max(pair.rounds_of_a_start());
        let rounds = wanted.min(fitting(least)).max(self.settings.rounds);
        let longest = self.found.rungs.iter().map(|rung| rung.rounds).max().unwrap_or(rounds);
        let rounds = rounds.max(fitting(most).min(longest));
        let pairs = (left_s / pair.run_s(rounds)) as u32;
        (rounds, pairs.clamp(least, most))
    }

    /// The pick against the default: default, pick, pick, default and so on. How many pairs there are is settled before the
    /// first of them, by the time that is left; only a machine that has become so slow that the budget would be passed has
    /// fewer. What the pairs say never matters, which would make noise look like a result.
    pub(super) fn last(&mut self, pick: Candidate, set_aside: u32) -> Result<(), Stop> {
        let least = self.settings.repeats;
        let (rounds, pairs) = self.shape(&self.times.of_pair(&Candidate::default(), &pick), set_aside);
        let of_pairs = super::table::counted(pairs.into(), "pair");
        let of_rounds = super::table::counted(rounds.into(), "round");
        self.watch.stage(
            &format!("the pick against the default: {of_pairs}, {of_rounds} in each run"),
            2 * pairs as usize,
            self.left_s(),
        );
        self.found.last = Some(Final { pick: pick.clone(), rounds, pairs: Vec::new(), failed: None });
        let mut longest_s = 0.0f64;
        for number in 0..pairs {
            if number >= least && self.left_s() < longest_s {
                break;
            }
            let before_s = self.machine.now_s();
            let mut costs = [0.0; 2];
            let order = if number % 2 == 0 { [0, 1] } else { [1, 0] };
            for side in order {
                let candidate = if side == 0 { Candidate::default() } else { pick.clone() };
                match self.run(&candidate, rounds)? {
                    Ok(run) => costs[side] = median(run.costs).expect("a good run has costs"),
                    Err(Failure::Bad { why, is_usage }) if side == 0 => {
                        return Err(Stop::Default { why, is_usage });
                    }
                    Err(Failure::Bad { why, .. }) => {
                        self.found.last.as_mut().expect("it was set").failed = Some(why);
                        return Ok(());
                    }
                    Err(Failure::Interrupted) => unreachable!("it stops the search"),
                }
            }
            longest_s = longest_s.max(self.machine.now_s() - before_s);
            let pair = Pair { default: costs[0], pick: costs[1] };
            self.found.last.as_mut().expect("it was set").pairs.push(pair);
        }
        Ok(())
    }
}
