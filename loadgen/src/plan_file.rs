//! A plan file: what is run, how often, and on which machines. `plan.example.toml` beside the crate's manifest shows all of
//! it.
//!
//! The keys of `[run]` are the flags of `local` with underscores, and are read by the same parser: there is one set of
//! names, bounds and refusals. No key is a command; `program` is the path of this program on a machine that ssh reaches.

mod flags;
mod places;

use crate::cli::{KeepArgs, PlanArgs};
use crate::coordinator::place::Deployment;
use crate::coordinator::team::Team;
use crate::coordinator::{Outputs, Progress, RunError};
use crate::experiment::{self, Experiment, Places};
use clap::Parser;
use flags::Flags;
use places::PlaceTable;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// The group of a plan that names none, as that of `local`.
const GROUP_DEFAULT: u32 = 1_000;

/// A file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Option<Spanned<String>>,
    repeats: Option<Spanned<toml::Value>>,
    find_rate: Option<Spanned<toml::Value>>,
    token_file: Option<PathBuf>,
    ssh_config: Option<PathBuf>,
    #[serde(default)]
    run: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
    sweep: Option<Sweep>,
    servers: Spanned<Vec<Spanned<PlaceTable>>>,
    hosts: Spanned<Vec<Spanned<PlaceTable>>>,
}

/// Group sizes one after another.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sweep {
    group: Spanned<Vec<u32>>,
}

/// The flags that a file's keys are.
#[derive(Debug, Parser)]
#[command(name = "plan", no_binary_name = true)]
struct FileArgs {
    #[command(flatten)]
    plan: PlanArgs,
    #[command(flatten)]
    keep: KeepArgs,
}

/// What a file says.
#[derive(Debug)]
pub struct PlanFile {
    /// What is measured.
    pub experiment: Experiment,
    /// What is made of it.
    pub outputs: Outputs,
    /// Where.
    pub(crate) deployment: Deployment,
}

/// What is wrong at a place of the file.
struct Problem {
    /// Bytes from the file's beginning; none: nowhere in particular.
    at: Option<usize>,
    what: String,
}

impl Problem {
    fn at(span: std::ops::Range<usize>, what: impl Into<String>) -> Problem {
        Problem { at: Some(span.start), what: what.into() }
    }
}

impl From<String> for Problem {
    fn from(what: String) -> Problem {
        Problem { at: None, what }
    }
}

impl PlanFile {
    /// Reads a file; `more` are flags of what is kept, from the command line.
    ///
    /// # Errors
    /// A sentence with the file, the line and the key.
    pub fn read(path: &Path, more: &[String]) -> Result<PlanFile, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("the plan {} cannot be read: {error}", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        PlanFile::of(&text, folder, &name, more).map_err(|problem| {
            let line = problem.at.map(|at| text[..at.min(text.len())].matches('\n').count() + 1);
            let line = line.map_or_else(String::new, |line| format!(":{line}"));
            format!("{}{line}: {}", path.display(), problem.what.trim())
        })
    }

    fn of(text: &str, folder: &Path, name: &str, more: &[String]) -> Result<PlanFile, Problem> {
        let file: File = toml::from_str(text).map_err(|error| Problem {
            at: error.span().map(|span| span.start),
            what: error.message().replace('\n', " "),
        })?;
        let deployment = places::deployment(&file, folder)?;
        let mut flags = Flags::new();
        for (key, value) in &file.run {
            flags.put(key, value)?;
        }
        for (key, value) in [("repeats", &file.repeats), ("find_rate", &file.find_rate)] {
            if let Some(value) = value {
                flags.keep(key, value)?;
            }
        }
        if let Some(sweep) = &file.sweep {
            flags.sweep(&sweep.group)?;
        }
        match &file.name {
            Some(name) => flags.keep("name", &name_value(name))?,
            None => flags.name(name),
        }
        flags.places(&deployment, &file)?;
        let args = flags.parse(more)?;
        let plans = args.plan.plans(&[GROUP_DEFAULT])?;
        let outputs = args.keep.outputs(args.plan.has_fault());
        let experiment = args.keep.experiment(plans, name.to_owned())?;
        Ok(PlanFile { experiment, outputs, deployment })
    }

    /// Measures what the file says, where it says. Prints the report; true if every check passed.
    ///
    /// # Errors
    /// A run did not come to a result; nothing that it started is left, here or there.
    pub fn run(&self) -> Result<bool, RunError> {
        let mut team = Team::new()?;
        let mut progress = Progress::new();
        let places = Places::At(&self.deployment);
        experiment::run(&mut team, &places, &self.experiment, &self.outputs, &mut progress)
    }

    /// What would be run where, for a person.
    #[must_use]
    pub fn in_words(&self) -> String {
        let Experiment { name, plans, repeats, find_rate } = &self.experiment;
        let groups: Vec<String> = plans.iter().map(|plan| plan.group.to_string()).collect();
        let search = if *find_rate { ", then a search for the highest rate" } else { "" };
        let mut text = format!(
            "A good plan: {name}, groups of {}, {repeats} run{} of each{search}; {}.\n",
            groups.join(", "),
            if *repeats == 1 { "" } else { "s" },
            self.deployment.words
        );
        for place in self.deployment.servers.iter().chain(&self.deployment.hosts) {
            text.push_str(&format!("  {}, reached by the others at {}\n", place.name, place.address));
        }
        text
    }
}

fn name_value(name: &Spanned<String>) -> Spanned<toml::Value> {
    Spanned::new(name.span(), toml::Value::String(name.get_ref().clone()))
}

#[cfg(test)]
mod tests;
