//! Applies a profile to a machine, and undoes it.

use crate::TuneError;
use clap::Args;

/// `apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// The profile's name, or a file.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

impl ApplyArgs {
    /// Does what the command line says.
    ///
    /// # Errors
    /// A sentence; nothing was changed, or what was changed is as it was before.
    pub fn run(&self) -> Result<(), TuneError> {
        Err(TuneError::Usage(format!("--profile {:?}: not here yet", self.profile)))
    }
}
