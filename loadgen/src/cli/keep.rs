//! The flags of how often a plan is run, and what is kept of it; `local` and `sweep` take them.

use super::values::within;
use crate::coordinator::Outputs;
use crate::experiment::Experiment;
use crate::limits::REPEATS_MAX;
use crate::plan::Plan;
use clap::Args;
use std::path::PathBuf;

/// The longest name of an experiment.
const NAME_CHARS_MAX: usize = 80;

/// The flags of how often a plan is run, and what is kept of it.
#[derive(Debug, Args)]
pub struct KeepArgs {
    /// Runs of each plan, each with servers and hosts of its own; figures are told with their spread
    #[arg(long, value_name = "K", default_value = "1", value_parser = within(1, REPEATS_MAX))]
    repeats: u32,

    /// Afterwards search for the highest round rate that loses nothing and lets no backlog grow, by at most 10 runs in open
    /// loop of 3 s or 20 rounds, whichever is longer, but no more than a minute; the last, twice as long, confirms it
    #[arg(long)]
    find_rate: bool,

    /// The folder in which a folder of results is made, named by the time and the name: JSON, CSV, HdrHistogram logs
    /// (loadgen/RESULTS.md tells every file); or off
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,

    /// A word for the folder's name [default: local-n1000 and the like]
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<String>,

    /// Also write the result to this file: of one plan schema twincast-result/1 (loadgen/RESULT.md), with repeats that of
    /// the run with the median round time; of a sweep twincast-summary/1 (loadgen/RESULTS.md)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Leave out the roof: what plain sends of ready buffers to the same readers take on this machine
    #[arg(long)]
    no_roof: bool,
}

impl KeepArgs {
    /// What is made of the runs.
    pub fn outputs(&self, has_fault: bool) -> Outputs {
        Outputs {
            json: self.json.clone(),
            roof: !self.no_roof && !has_fault,
            results: (self.results.as_os_str() != "off").then(|| self.results.clone()),
        }
    }

    /// The experiment of these plans.
    ///
    /// # Errors
    /// A sentence: a flag does not go with the plans.
    pub(crate) fn experiment(&self, plans: Vec<Plan>, name: String) -> Result<Experiment, String> {
        let is = |of: fn(&Plan) -> bool| plans.iter().any(of);
        if is(|plan| plan.fault.is_some()) && (self.repeats > 1 || self.find_rate || plans.len() > 1) {
            return Err(
                "--fault breaks one run: leave out --repeats and --find-rate, and give one --group".into()
            );
        }
        if self.find_rate && is(|plan| plan.rate.is_some()) {
            return Err(
                "--find-rate tries rates of its own, from that of lockstep rounds on: leave out --rate"
                    .into(),
            );
        }
        let name = self.name.clone().unwrap_or(name);
        Ok(Experiment { name, plans, repeats: self.repeats, find_rate: self.find_rate })
    }
}

/// A word that is part of a folder's name.
fn name(text: &str) -> Result<String, String> {
    let good = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
    if (1..=NAME_CHARS_MAX).contains(&text.len()) && text.chars().all(good) {
        Ok(text.into())
    } else {
        Err(format!("give 1 to {NAME_CHARS_MAX} letters, digits, dots, hyphens and underscores"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_part_of_a_path_and_never_a_path() {
        assert_eq!(name("ten-gbit_v1.2").unwrap(), "ten-gbit_v1.2");
        for bad in ["", "a/b", "a b", "ä", &"x".repeat(81)] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
