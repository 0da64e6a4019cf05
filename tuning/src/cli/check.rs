//! `twincast-tune check`: what keeps this machine from line rate.

use crate::TuneError;
use clap::Args;

/// `check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

impl CheckArgs {
    /// Does what the command line says; true if nothing failed.
    ///
    /// # Errors
    /// A sentence with the remedy.
    pub(super) fn run(&self) -> Result<bool, TuneError> {
        Err(TuneError::Usage(format!("--json {}: not here yet", self.json)))
    }
}
