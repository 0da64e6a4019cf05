//! `twincast-loadgen local`: a run on this machine.

use super::keep::KeepArgs;
use super::plan::PlanArgs;
use crate::coordinator::Outputs;
use crate::experiment::Experiment;
use clap::Args;

const EXAMPLES: &str = "\
Examples:
  twincast-loadgen local
      a group of 1,000, five rounds, every share verified
  twincast-loadgen local --group 10000 --rounds 1
      one round of 100 million shares from each server
  twincast-loadgen local --group 500 --profile paper-xor --insecure-baseline --peers self --no-confirm
      the set-up of the paper, with its own arithmetic
  twincast-loadgen local --group 500 --profile paper-add --insecure-baseline --peers subgroup:25%
      one message to a quarter of the group by the paper's Algorithm 4
  twincast-loadgen local --group 500 --profile paper-xor --insecure-baseline --peers many:8 --noise 1..4 --spread 2
      different messages to eight members, four a round, by the paper's one-to-many scheme
  twincast-loadgen local --epoch-rounds 4 --rounds 11 --keys
      three epochs, each dialled anew and with keys of its own; messages are sealed end to end
  twincast-loadgen local --group 130 --rounds 3 --fault flip@2
      one bit of one cell is flipped on its way: who notices, and that nobody else is harmed
  twincast-loadgen local --group 130 --rounds 3 --fault net-replay@2
      a sealed record comes twice: the connection breaks, and nobody else is harmed
  twincast-loadgen local --group 500 --accountable --rounds 16
      everybody signs, and members ask what servers signed; price says what that costs
  twincast-loadgen local --users-per-connection 1
      every user on a connection of its own
  twincast-loadgen local --verify count --ahead 1
      the servers' pace, little held up by the clients' work
  twincast-loadgen local --repeats 5 --find-rate
      five runs, their spread, and the highest round rate that loses nothing
  twincast-loadgen local --json result.json --results off
      the same figures for a program (loadgen/RESULT.md), and no folder of results";

/// The flags of `local`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct LocalArgs {
    /// What is run.
    #[command(flatten)]
    pub plan: PlanArgs,

    /// How often, and what is kept.
    #[command(flatten)]
    pub keep: KeepArgs,
}

impl LocalArgs {
    /// One plan, run as often as the flags say.
    ///
    /// # Errors
    /// A sentence: two flags do not go together.
    pub fn experiment(&self) -> Result<Experiment, String> {
        let plan = self.plan.plan()?;
        let name = format!("local-n{}", plan.group);
        self.keep.experiment(vec![plan], name)
    }

    /// What the run makes besides its table.
    pub fn outputs(&self) -> Outputs {
        self.keep.outputs(self.plan.has_fault())
    }
}
