//! `twincast-loadgen report`: stored results, printed again or compared.

use crate::compare;
use crate::coordinator::RunError;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// The flags of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Prints what a run or an experiment printed.
    Show {
        /// A results folder, or a result as JSON
        #[arg(value_name = "RESULTS")]
        of: PathBuf,
    },
    /// Compares two: each figure's ratio, B over A, with its 95% confidence interval over the repeats.
    Compare {
        /// A results folder, its summary.json, or the JSON of one run
        #[arg(value_name = "A")]
        a: PathBuf,
        /// The same
        #[arg(value_name = "B")]
        b: PathBuf,
        /// Also write the comparison to this file, schema twincast-compare/1
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
}

impl ReportArgs {
    /// Prints what was asked for.
    ///
    /// # Errors
    /// [`RunError::Usage`]: there are no such results. [`RunError::Report`]: it could not be printed.
    pub fn print(&self) -> Result<(), RunError> {
        match &self.what {
            What::Show { of } => compare::show(of),
            What::Compare { a, b, json } => compare::compare(a, b, json.as_deref()),
        }
    }
}
