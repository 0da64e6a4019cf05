//! Candidates measured for real: runs of the load generator.

use super::knobs::Candidate;
use super::search::{Failure, Measure, Run};
use super::space::Space;
use super::tune_file::Objective;
use std::time::Instant;
use twincast_loadgen::coordinator::RunError;
use twincast_loadgen::result::RunResult;
use twincast_loadgen::trials::{Trial, Trials};

/// The places of a plan, where runs are made one after another.
pub(crate) struct Runs<'a> {
    trials: Trials,
    space: &'a Space,
    objective: Objective,
    began: Instant,
}

impl<'a> Runs<'a> {
    pub(crate) fn new(trials: Trials, space: &'a Space, objective: Objective) -> Runs<'a> {
        Runs { trials, space, objective, began: Instant::now() }
    }
}

impl Measure for Runs<'_> {
    fn now_s(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    fn measure(&mut self, candidate: &Candidate, rounds: u32) -> Result<Run, Failure> {
        let mut plan = self.space.plan_of(candidate);
        plan.rounds = rounds;
        match self.trials.run(&plan) {
            Ok(trial) => run_of(&trial, self.objective),
            Err(RunError::Interrupted) => Err(Failure::Interrupted),
            Err(error) => {
                Err(Failure::Bad { why: error.to_string(), is_usage: matches!(error, RunError::Usage(_)) })
            }
        }
    }
}

/// What a run cost; a run that failed its checks is none.
fn run_of(trial: &Trial, objective: Objective) -> Result<Run, Failure> {
    let bad = |why: String| Err(Failure::Bad { why, is_usage: false });
    if !trial.result.failures.is_empty() {
        return bad(trial.result.failures.join("; "));
    }
    let costs = match objective {
        Objective::Round => trial.rounds.clone(),
        Objective::SharesPerCpuS => vec![cpu_s_per_share(&trial.result)],
    };
    if costs.is_empty() || costs.iter().any(|cost| !cost.is_finite() || *cost <= 0.0) {
        return bad("its figures say nothing: no round was measured, or no CPU time was counted".into());
    }
    Ok(Run { costs, rounds_s: trial.rounds.iter().sum() })
}

/// CPU seconds of both servers for each share, or answer, that they sent.
fn cpu_s_per_share(result: &RunResult) -> f64 {
    let cpu_s: f64 = result.servers.iter().map(|server| server.cpu_seconds).sum();
    let shares: u64 = result.servers.iter().map(|server| server.egress_shares).sum();
    cpu_s / shares as f64
}
