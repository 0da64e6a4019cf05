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
use crate::plan::Plan;
use clap::Parser;
use flags::Flags;
use places::PlaceTable;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// The group of a plan that names none, as that of `local`.
const GROUP_DEFAULT: u32 = 1_000;
/// Where to look for how it is done.
const SHOWN: &str = "a plan has two [[servers]], some [[hosts]] and what is run in [run]: loadgen/plan.example.toml shows one";

/// A file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Option<Spanned<String>>,
    repeats: Option<Spanned<toml::Value>>,
    find_rate: Option<Spanned<toml::Value>>,
    token_file: Option<PathBuf>,
    shared: Option<bool>,
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
        if text.trim().is_empty() {
            return Err(Problem::at(0..0, format!("the file is empty; {SHOWN}")));
        }
        let file: File = toml::from_str(text).map_err(|error| broken(&error))?;
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
        enough_users(&file)?;
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
        // Places that are all here have links as those of `local`, if the file asks for some.
        let laid = |plan: &Plan| Ok(self.deployment.laid_for(plan));
        let at = Places::At(&self.deployment);
        let places = if self.deployment.is_here() { Places::Made(&laid) } else { at };
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

/// What the reader of TOML says, in the words of this file's tables where one is missing.
fn broken(error: &toml::de::Error) -> Problem {
    let said = error.message().replace('\n', " ");
    let missing = ["servers", "hosts"].into_iter().find(|table| said == format!("missing field `{table}`"));
    let what = missing.map_or(said, |table| format!("there are no [[{table}]]; {SHOWN}"));
    // A table that is missing is missing nowhere in particular.
    let at = if missing.is_some() { None } else { error.span().map(|span| span.start) };
    Problem { at, what }
}

/// Every host plays at least one user of each group.
fn enough_users(file: &File) -> Result<(), Problem> {
    let hosts = file.hosts.get_ref().len();
    let run = file.run.iter().find(|(key, _)| key.get_ref() == "group");
    let run = run.and_then(|(_, value)| Some(("run.group", value.span(), value.get_ref().as_integer()?)));
    let sweep = file.sweep.iter().filter_map(|sweep| {
        let least = i64::from(*sweep.group.get_ref().iter().min()?);
        Some(("sweep.group", sweep.group.span(), least))
    });
    match run
        .into_iter()
        .chain(sweep)
        .find(|(.., group)| usize::try_from(*group).is_ok_and(|group| group < hosts))
    {
        Some((key, span, group)) => Err(Problem::at(
            span,
            format!("{key}: [[hosts]] has {hosts} and group is {group}: every host plays at least one user"),
        )),
        None => Ok(()),
    }
}

fn name_value(name: &Spanned<String>) -> Spanned<toml::Value> {
    Spanned::new(name.span(), toml::Value::String(name.get_ref().clone()))
}

#[cfg(test)]
mod tests;
