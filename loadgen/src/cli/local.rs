//! `twincast-loadgen local`: a run on this machine.

use super::plan::PlanArgs;
use crate::coordinator::Outputs;
use clap::Args;
use std::path::PathBuf;

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
  twincast-loadgen local --users-per-connection 1
      every user on a connection of its own
  twincast-loadgen local --verify count --ahead 1
      the servers' pace, little held up by the clients' work
  twincast-loadgen local --json result.json
      the same figures for a program (loadgen/RESULT.md)";

/// The flags of `local`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct LocalArgs {
    /// What is run.
    #[command(flatten)]
    pub plan: PlanArgs,

    /// Also write the result to this file, schema twincast-result/1 (loadgen/RESULT.md tells every field)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Leave out the roof: what plain sends of ready buffers to the same readers take on this machine
    #[arg(long)]
    no_roof: bool,
}

impl LocalArgs {
    /// What the run makes besides its table.
    pub fn outputs(&self) -> Outputs {
        Outputs { json: self.json.clone(), roof: !self.no_roof && !self.plan.has_fault() }
    }
}
