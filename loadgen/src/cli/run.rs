//! `twincast-loadgen run`: what a plan file says, on the machines that it names.

use crate::coordinator::{self, RunError};
use crate::plan_file::PlanFile;
use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  twincast-loadgen run --plan plan.toml --check
      says what would be run where, and connects to nobody
  twincast-loadgen run --plan plan.toml --json result.json
      runs it (loadgen/plan.example.toml shows a plan with every table; agents are started by `agent`)";

/// The flags of `run`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RunArgs {
    /// The plan: servers, hosts and what is run (TOML; the keys of [run] are the flags of `local`)
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,

    /// Only read the plan, and say what it is
    #[arg(long)]
    check: bool,

    /// The folder in which a folder of results is made, named by the time and the name; or off [default: results]
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,

    /// Also write the result to this file (loadgen/RESULT.md; of a sweep loadgen/RESULTS.md)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Leave out the roof: what plain sends of ready buffers to the same readers take
    #[arg(long)]
    no_roof: bool,
}

impl RunArgs {
    /// Does what the plan says; true if every check passed.
    ///
    /// # Errors
    /// The plan is none, or a run did not come to its result.
    pub fn run(&self) -> Result<bool, RunError> {
        let plan = PlanFile::read(&self.plan, &self.more()).map_err(RunError::Usage)?;
        if self.check {
            coordinator::print(&plan.in_words())?;
            return Ok(true);
        }
        plan.run()
    }

    /// The flags of what is kept, which are the command line's and no key of the plan.
    fn more(&self) -> Vec<String> {
        let path = |flag: &str, path: &Option<PathBuf>| {
            path.as_ref().map(|path| format!("--{flag}={}", path.display()))
        };
        let roof = self.no_roof.then(|| "--no-roof".to_owned());
        [path("results", &self.results), path("json", &self.json), roof].into_iter().flatten().collect()
    }
}
