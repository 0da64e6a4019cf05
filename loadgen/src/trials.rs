//! Runs that a program looks at, one after another, at the same places: what the search for settings is made of.

use crate::coordinator::RunError;
use crate::plan::Plan;
use crate::result::RunResult;
use std::path::Path;

/// What a plan file says of trials: where they run, and the plan that they begin with.
#[derive(Debug)]
pub struct TrialsFile {
    /// What the file's `[run]` says; one group size.
    pub plan: Plan,
    /// A word for it.
    pub name: String,
    /// The file's table `[tune]`, which this crate does not look into; none: there is none.
    pub tune: Option<toml::Table>,
}

/// One run that came to its result.
#[derive(Clone, Debug)]
pub struct Trial {
    /// All its figures.
    pub result: RunResult,
    /// Round by round, the seconds of the slowest host.
    pub rounds: Vec<f64>,
}

/// Makes runs. Ctrl-C ends the one that goes on, and everything that it had started.
#[derive(Debug)]
pub struct Trials {}

impl TrialsFile {
    /// Reads a file. Without `[[servers]]` and `[[hosts]]` all is on this machine, as in `local`.
    ///
    /// # Errors
    /// A sentence with the file, the line and the key.
    pub fn read(path: &Path) -> Result<TrialsFile, String> {
        Err(format!("{}: cannot be read yet", path.display()))
    }
}

impl Trials {
    /// At the places of a file.
    ///
    /// # Errors
    /// The machine got in the way.
    pub fn start(file: &TrialsFile) -> Result<Trials, RunError> {
        Err(RunError::Usage(format!("{} cannot be run yet", file.name)))
    }

    /// One run, without a roof. After an error the next one is of a new team.
    ///
    /// # Errors
    /// The run did not come to a result; nothing that it started is left.
    pub fn run(&mut self, plan: &Plan) -> Result<Trial, RunError> {
        Err(RunError::Usage(format!("a group of {} cannot be run yet", plan.group)))
    }
}
