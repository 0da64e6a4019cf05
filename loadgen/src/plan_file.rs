//! A plan file: what is run, how often, and on which machines. `plan.example.toml` beside the crate's manifest shows all of
//! it.
//!
//! The keys of `[run]` are the flags of `local` with underscores, and are read by the same parser: there is one set of
//! names, bounds and refusals. No key is a command; `program` is the path of this program on a machine that ssh reaches.

mod flags;
mod places;
mod trials;

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

pub(crate) use trials::read as read_for_trials;

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
    /// What a search for settings tries: its program reads it, and a run does without.
    tune: Option<toml::Table>,
    servers: Option<PlaceTables>,
    hosts: Option<PlaceTables>,
}

/// `[[servers]]` or `[[hosts]]`.
type PlaceTables = Spanned<Vec<Spanned<PlaceTable>>>;

/// Both of them.
#[derive(Clone, Copy)]
struct Tables<'a> {
    servers: &'a PlaceTables,
    hosts: &'a PlaceTables,
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

    /// With the file, and the line of this text of it.
    fn told(&self, path: &Path, text: &str) -> String {
        let line = self.at.map(|at| text[..at.min(text.len())].matches('\n').count() + 1);
        let line = line.map_or_else(String::new, |line| format!(":{line}"));
        format!("{}{line}: {}", path.display(), self.what.trim())
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
        let (text, folder, name) = opened(path)?;
        PlanFile::of(&text, folder, &name, more).map_err(|problem| problem.told(path, &text))
    }

    fn of(text: &str, folder: &Path, name: &str, more: &[String]) -> Result<PlanFile, Problem> {
        let file = File::read(text)?;
        let tables = file.tables()?.ok_or_else(|| without("servers"))?;
        let deployment = places::deployment(&file, tables, folder)?;
        let args = file.flags(name, Some(&deployment))?.parse(more)?;
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

impl File {
    fn read(text: &str) -> Result<File, Problem> {
        if text.trim().is_empty() {
            return Err(Problem::at(0..0, format!("the file is empty; {SHOWN}")));
        }
        toml::from_str(text).map_err(|error| Problem {
            at: error.span().map(|span| span.start),
            what: error.message().replace('\n', " "),
        })
    }

    /// The tables of places; none if neither is there.
    fn tables(&self) -> Result<Option<Tables<'_>>, Problem> {
        match (&self.servers, &self.hosts) {
            (Some(servers), Some(hosts)) => Ok(Some(Tables { servers, hosts })),
            (None, None) => Ok(None),
            (None, Some(_)) => Err(without("servers")),
            (Some(_), None) => Err(without("hosts")),
        }
    }

    /// The file's keys as flags; `name` is that of the file. Without a deployment all of it is on this machine, which has
    /// as many hosts and such links as `[run]` says.
    fn flags(&self, name: &str, deployment: Option<&Deployment>) -> Result<Flags, Problem> {
        let mut flags = Flags::new(deployment.is_some());
        for (key, value) in &self.run {
            flags.put(key, value)?;
        }
        for (key, value) in [("repeats", &self.repeats), ("find_rate", &self.find_rate)] {
            if let Some(value) = value {
                flags.keep(key, value)?;
            }
        }
        if let Some(sweep) = &self.sweep {
            flags.sweep(&sweep.group)?;
        }
        match &self.name {
            Some(name) => flags.keep("name", &name_value(name))?,
            None => flags.name(name),
        }
        if let Some(deployment) = deployment {
            flags.places(deployment, self)?;
            enough_users(self, deployment.hosts.len())?;
        }
        Ok(flags)
    }
}

/// A file's text, its folder, and its name without an extension.
fn opened(path: &Path) -> Result<(String, &Path, String), String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("the plan {} cannot be read: {error}", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Ok((text, folder, name))
}

/// A table that is missing is missing nowhere in particular.
fn without(table: &str) -> Problem {
    Problem { at: None, what: format!("there are no [[{table}]]; {SHOWN}") }
}

/// Every host plays at least one user of each group.
fn enough_users(file: &File, hosts: usize) -> Result<(), Problem> {
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
