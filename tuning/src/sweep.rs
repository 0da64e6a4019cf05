//! Searches for the settings of a server that are best on a machine for a group, by measuring.

use crate::TuneError;
use clap::Args;
use std::path::PathBuf;

/// `sweep`.
#[derive(Debug, Args)]
pub struct SweepArgs {
    /// What is run, where, and what is searched (TOML).
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
}

impl SweepArgs {
    /// Does what the command line says.
    ///
    /// # Errors
    /// A sentence with the remedy.
    pub fn run(&self) -> Result<(), TuneError> {
        Err(TuneError::Usage(format!("--plan {}: not here yet", self.plan.display())))
    }
}
