//! `twincast-tune sweep`: searches for the settings of a server that are best on a machine for a group, by measuring.
//!
//! `SWEEP.md` beside the crate's manifest says how. What may be tried is a [`space`], the [`mod@search`] goes through it on
//! anything that can [`measure`](search::Measure) a candidate, the [`verdict`] says whether what it picked beats the default
//! by more than the noise, and the [`outcome`] is all of that for programs.

pub mod knobs;
pub mod outcome;
mod progress;
mod runs;
pub mod search;
mod server_file;
pub mod space;
mod table;
#[cfg(test)]
mod tests;
pub mod tune_file;
pub mod verdict;

use crate::TuneError;
use crate::file::JsonFile;
use clap::Args;
use knobs::{Knob, Value};
use outcome::Outcome;
use progress::Progress;
use runs::Runs;
use search::{Stop, search};
use server_file::{Base, Out};
use space::{Machine, Space, users_of_a_host};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use twincast_loadgen::coordinator::RunError;
use twincast_loadgen::limits::USERS_PER_CONNECTION_MAX;
use twincast_loadgen::plan::Plan;
use twincast_loadgen::trials::{Trials, TrialsFile};
use twincast_server::config::Cores;

const EXAMPLES: &str = "\
Examples:
  twincast-tune sweep --plan tuning/sweep.example.toml --dry-run
  twincast-tune sweep --plan tuning/sweep.example.toml --budget 120 --out tuned.toml
  twincast-tune sweep --plan five-hosts.toml --config /etc/twincast/server.toml --out server-tuned.toml --json sweep.json

A plan without [[servers]] and [[hosts]] runs on this machine alone. tuning/SWEEP.md tells how it searches, and what it \
cannot know.

Exit status: 0 good, whether or not the pick beats the default; 1 the machine got in the way, or the default failed its \
checks; 2 wrong usage, or the budget is too small; 130 stopped by Ctrl-C, with no configuration written.";

/// `sweep`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SweepArgs {
    /// What is run, where, and in [tune] what is searched: a plan file of the load generator (TOML).
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// How long it may take, the final comparison included, in place of tune.budget_seconds.
    #[arg(long, value_name = "SECONDS", value_parser = budget)]
    budget: Option<f64>,
    /// The server configuration to begin with: what it says is the default that is compared with [default: the commented
    /// example, whose values are the server's own].
    #[arg(long, value_name = "BASE.toml")]
    config: Option<PathBuf>,
    /// Where the server configuration is written; never over a file that is there.
    #[arg(long, value_name = "FILE", default_value = "twincast-tuned.toml")]
    out: PathBuf,
    /// Writes all figures to this file too, for programs.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Says what would be tried, and measures nothing.
    #[arg(long)]
    dry_run: bool,
}

fn budget(text: &str) -> Result<f64, String> {
    tune_file::budget(text.parse().map_err(|_| "give a number of seconds".to_owned())?)
}

impl SweepArgs {
    /// Does what the command line says.
    ///
    /// # Errors
    /// A sentence with the remedy.
    pub fn run(&self) -> Result<(), TuneError> {
        let file = TrialsFile::read(&self.plan).map_err(TuneError::Usage)?;
        let mut tune = tune_file::read(&self.plan).map_err(TuneError::Usage)?;
        tune.settings.budget_s = self.budget.unwrap_or(tune.settings.budget_s);
        let base = Base::read(self.config.as_deref()).map_err(TuneError::Usage)?;
        let space = self.space(&file, &tune.named, &base)?;
        let out = Out::new(&self.out).map_err(TuneError::Usage)?;
        let json = self.json.as_deref().map(|path| self.json_file(path)).transpose()?;
        if self.dry_run {
            return print(&table::dry_run(&space, &tune.settings));
        }
        let trials = Trials::start(&file).map_err(failed)?;
        let mut runs = Runs::new(trials, &space, tune.settings.objective);
        let mut progress = Progress::new();
        let (found, end) = search(&space, &tune.settings, &mut runs, &mut progress);
        progress.finish();
        drop(runs);
        let stopped = end.is_err();
        let mut outcome = Outcome::of(&file.name, &space, &tune.settings, &found, stopped);
        if let Err(Stop::TooLittle { needed_s }) = end {
            return Err(TuneError::Usage(format!(
                "a budget of {} s is too little: after the first run it looks as if {needed_s:.0} s were the least, for one \
                 candidate and {} pairs of runs in the end; give --budget {needed_s:.0} or more",
                tune.settings.budget_s, tune.settings.repeats
            )));
        }
        let mut written = Ok(());
        if !stopped {
            let text = base.tuned(&space, &outcome).map_err(TuneError::Failed)?;
            written = out.write(&text).map_err(TuneError::Failed);
            outcome.configuration = written.is_ok().then(|| out.path().to_owned());
        }
        // Whatever cannot be written, what was measured is told.
        let mut text = if found.rungs.is_empty() { String::new() } else { table::outcome(&outcome) };
        text.push_str(&self.where_it_is(&outcome));
        let json = json.map_or(Ok(()), |json| json.write(&outcome));
        print(&text).and(written).and(json)?;
        match end {
            Ok(()) => Ok(()),
            Err(Stop::Default { why, is_usage: true }) => Err(TuneError::Usage(why)),
            Err(Stop::Default { why, .. }) => {
                Err(TuneError::Failed(format!("the default itself could not be measured: {why}")))
            }
            Err(Stop::Interrupted) => Err(TuneError::Interrupted(
                "everything that the search had started is stopped; no configuration was written".into(),
            )),
            Err(Stop::TooLittle { .. }) => unreachable!("that was told above"),
        }
    }

    /// What may be tried, each value of it one that a server takes.
    fn space(&self, file: &TrialsFile, named: &tune_file::Named, base: &Base) -> Result<Space, TuneError> {
        let refused = |what: String| TuneError::Usage(format!("{}: {what}", self.plan.display()));
        let mut plan = file.plan.clone();
        if plan.fault.is_some() {
            return Err(refused(
                "run.fault: a search needs runs in which nothing is broken; leave it out".into(),
            ));
        }
        let machine = Machine::here(file.is_here());
        self.cores(&plan, named, base, &machine)?;
        if plan.server.front_cores.is_none() {
            plan.server.front_cores = base.front_cores().cloned();
        }
        let users = users_of_a_host(&plan);
        for value in named.get(&Knob::ConnectionsPerHost).into_iter().flatten() {
            let Value::Whole(connections) = value else { unreachable!("they are counted") };
            let on_one = u64::from(users).div_ceil(*connections);
            if *connections > u64::from(users) || on_one > u64::from(USERS_PER_CONNECTION_MAX) {
                return Err(refused(format!(
                    "tune.values.connections_per_host: {connections} cannot be: a host has {users} users, at least one and at \
                     most {USERS_PER_CONNECTION_MAX} on each connection"
                )));
            }
        }
        let space = Space::new(&plan, base.fan_out(), named, &machine);
        for (knob, candidates) in space.singles() {
            for candidate in candidates {
                let checked = base.check(&space, &candidate);
                checked.map_err(|what| refused(format!("tune.values.{knob}: with {candidate}, {what}")))?;
            }
        }
        Ok(space)
    }

    /// Cores that were named are there, where servers are here: of the default and of what is tried.
    fn cores(
        &self,
        plan: &Plan,
        named: &tune_file::Named,
        base: &Base,
        machine: &Machine,
    ) -> Result<(), TuneError> {
        let config = self.config.as_deref().unwrap_or(Path::new("the example"));
        let of_base = |key: &str| format!("--config {}: {key}", config.display());
        let of_plan = |key: &str| format!("{}: {key}", self.plan.display());
        let server = &plan.server;
        let mut all: Vec<(String, &Cores)> = Vec::new();
        match &server.fan_out_cores {
            Some(cores) => all.push((of_plan("run.fan_out_cores"), cores)),
            None => all.push((of_base("fan_out.cores"), &base.fan_out().cores)),
        }
        match (&server.front_cores, base.front_cores()) {
            (Some(cores), _) => all.push((of_plan("run.front_cores"), cores)),
            (None, Some(cores)) => all.push((of_base("front.cores"), cores)),
            (None, None) => {}
        }
        for value in named.get(&Knob::FanOutCores).into_iter().flatten() {
            let Value::Cores(cores) = value else { unreachable!("they are cores") };
            all.push((of_plan("tune.values.fan_out_cores"), cores));
        }
        for (place, cores) in all {
            machine.has(cores).map_err(|what| TuneError::Usage(format!("{place}: {what}")))?;
        }
        Ok(())
    }

    fn json_file(&self, path: &Path) -> Result<JsonFile, TuneError> {
        if path == self.out {
            let what = format!("--json {} and --out are the same file: name two", path.display());
            return Err(TuneError::Usage(what));
        }
        JsonFile::open("--json", path)
    }

    /// The last lines: what to do with what was found.
    fn where_it_is(&self, outcome: &Outcome) -> String {
        let Some(path) = &outcome.configuration else { return String::new() };
        let of = if outcome.beats { "The pick's" } else { "The default's" };
        let mut text = format!("{of} configuration of a server is in {}.\n", path.display());
        if outcome.best.changes.contains_key(&Knob::ConnectionsPerHost) {
            text.push_str(&format!(
                "Connections are for the clients to make: users_per_connection = {} in [run].\n",
                outcome.users_per_connection
            ));
        }
        text
    }
}

fn failed(error: RunError) -> TuneError {
    match error {
        RunError::Usage(what) => TuneError::Usage(what),
        error => TuneError::Failed(error.to_string()),
    }
}

fn print(text: &str) -> Result<(), TuneError> {
    let mut stdout = std::io::stdout().lock();
    let printed = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    printed.map_err(|error| TuneError::Failed(format!("standard output: {error}")))
}
