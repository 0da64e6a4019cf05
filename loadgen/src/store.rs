//! What is kept of an experiment: a folder `results/<time>-<name>/`.
//!
//! The folder is made, and found to have room, before anything is started, so that a bad path or a full disk costs nobody
//! a run. Each run is written as soon as it ends. An experiment that fails keeps what it has, and says why in
//! `failure.txt`. `RESULTS.md` beside the crate's manifest tells every file.

mod csv;
mod figures;
mod hdr;
mod summary;

pub(crate) use csv::field as csv_field;
pub use figures::figures;
#[cfg(test)]
pub(crate) use summary::tests::{leaf_paths, summary as sample_summary};
#[cfg(test)]
pub(crate) use summary::value;
pub use summary::{CellSummary, SCHEMA, Summary};

use crate::coordinator::RunError;
use crate::coordinator::series::Series;
use crate::environment::Environment;
use crate::experiment::{Cell, Experiment, Run};
use crate::limits::RESULTS_ROOM_BYTES;
use serde::Serialize;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Experiments of the same name that begin in the same second, at most.
const SAME_SECOND_MAX: u32 = 100;

/// The folder of one experiment.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    time: jiff::Timestamp,
}

/// What an experiment is, as `plan.json` keeps it.
#[derive(Serialize)]
struct Planned<'a> {
    name: &'a str,
    time: String,
    repeats: u32,
    find_rate: bool,
    plans: &'a [crate::plan::Plan],
}

impl Store {
    /// Makes the folder and writes down what is planned.
    ///
    /// # Errors
    /// [`RunError::Usage`]: the folder cannot be made or written to, or there is no room.
    pub(crate) fn create(results: &Path, experiment: &Experiment) -> Result<Store, RunError> {
        let refused = |error: &io::Error| {
            RunError::Usage(format!(
                "--results {}: {error}; give a folder that may be written to and has room, or --results off",
                results.display()
            ))
        };
        let time = jiff::Timestamp::now();
        let folder = make_folder(results, &experiment.name, time).map_err(|error| refused(&error))?;
        let store = Store { folder, time };
        let begun = store.has_room().and_then(|()| {
            store.put("plan.json", &json(&store.planned(experiment)))?;
            store.put("rounds.csv", csv::ROUNDS_HEAD.as_bytes())?;
            store.put("seconds.csv", csv::SECONDS_HEAD.as_bytes())
        });
        begun.map_err(|error| {
            // Nothing but what was just written is in it.
            let _ = std::fs::remove_dir_all(&store.folder);
            refused(&error)
        })?;
        Ok(store)
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// When the experiment began, UTC.
    pub(crate) fn time(&self) -> String {
        self.time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// Keeps where the experiment runs.
    pub(crate) fn environment(&self, environment: &Environment) -> Result<(), RunError> {
        self.write("environment.json", &json(environment))
    }

    /// Keeps a run that came to its result.
    pub(crate) fn run(&self, run: &Run, series: &Series) -> Result<(), RunError> {
        self.write(&format!("run-{}.json", run.number), &json(&run.result))?;
        for (piece, evidence) in (1..).zip(&run.evidence) {
            self.write(&format!("evidence-{}-{piece}.json", run.number), evidence.file.as_bytes())?;
        }
        let group = run.result.plan.group;
        self.append("rounds.csv", &csv::rounds(run.number, group, &run.rounds))?;
        self.seconds(run.number, group, series)
    }

    /// Keeps what came of a run second by second.
    pub(crate) fn seconds(&self, run: u32, group: u32, series: &Series) -> Result<(), RunError> {
        self.append("seconds.csv", &csv::seconds(run, group, series))?;
        let (hosts, merged) = hdr::logs(series, begin(series)).map_err(RunError::News)?;
        if hosts.is_empty() {
            return Ok(());
        }
        let folder = format!("hdr/run-{run}");
        let path = self.folder.join(&folder);
        std::fs::create_dir_all(&path).map_err(|error| self.lost(&path, &error))?;
        for (name, log) in &hosts {
            self.write(&format!("{folder}/{}.hlog", file_name(name)), log)?;
        }
        self.write(&format!("{folder}/merged.hlog"), &merged)
    }

    /// Keeps all runs together, and the table that is printed of them.
    pub(crate) fn summary(&self, experiment: &Experiment, cells: &[Cell]) -> Result<(), RunError> {
        self.write("summary.json", &json(&Summary::of(experiment, &self.time(), cells)))
    }

    /// Keeps what is printed.
    pub(crate) fn report(&self, text: &str) -> Result<(), RunError> {
        self.write("report.txt", text.as_bytes())
    }

    /// Keeps a table over group sizes.
    pub(crate) fn table(&self, csv: &str) -> Result<(), RunError> {
        self.write("table.csv", csv.as_bytes())
    }

    /// Keeps why the experiment failed.
    pub(crate) fn failure(&self, sentence: &str) -> Result<(), RunError> {
        self.write("failure.txt", format!("{sentence}\n").as_bytes())
    }

    fn planned<'a>(&self, experiment: &'a Experiment) -> Planned<'a> {
        Planned {
            name: &experiment.name,
            time: self.time(),
            repeats: experiment.repeats,
            find_rate: experiment.find_rate,
            plans: &experiment.plans,
        }
    }

    /// Whether a short experiment's files fit.
    fn has_room(&self) -> io::Result<()> {
        self.put("room", &vec![0; RESULTS_ROOM_BYTES])?;
        std::fs::remove_file(self.folder.join("room"))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), RunError> {
        self.put(name, bytes).map_err(|error| self.lost(&self.folder.join(name), &error))
    }

    /// A file with these bytes, or none: half a file would be read as a whole one.
    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.folder.join(name);
        std::fs::write(&path, bytes).inspect_err(|_| drop(std::fs::remove_file(&path)))
    }

    /// A file that could not be written, and what became of the others.
    fn lost(&self, path: &Path, error: &io::Error) -> RunError {
        let others = if self.folder.join("plan.json").exists() {
            "what was written before is kept"
        } else {
            "the folder was removed while the experiment went on, and what was in it is lost"
        };
        RunError::Report(io::Error::new(error.kind(), format!("{}: {error}; {others}", path.display())))
    }

    fn append(&self, name: &str, text: &str) -> Result<(), RunError> {
        let path = self.folder.join(name);
        let file = OpenOptions::new().append(true).create(true).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| self.lost(&path, &error))
    }
}

/// About when the first of the rounds was planned, if the last second has just come.
fn begin(series: &Series) -> SystemTime {
    let last = series.hosts.iter().map(|(_, second)| second.at_s).fold(0.0, f64::max);
    SystemTime::now() - Duration::try_from_secs_f64(last).unwrap_or_default()
}

/// A new folder with the time and the name.
fn make_folder(results: &Path, name: &str, time: jiff::Timestamp) -> io::Result<PathBuf> {
    std::fs::create_dir_all(results)?;
    let name = format!("{}-{name}", time.strftime("%Y-%m-%dT%H%M%SZ"));
    let names = std::iter::once(name.clone()).chain((2..SAME_SECOND_MAX).map(|no| format!("{name}-{no}")));
    for name in names {
        let folder = results.join(name);
        match std::fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| folder),
        }
    }
    Err(io::Error::other(format!("there are {SAME_SECOND_MAX} folders named {name}")))
}

/// A name that is a file's: a host may be called "host 3 at 10.0.0.13".
fn file_name(name: &str) -> String {
    let good = |char: char| char.is_ascii_alphanumeric() || char == '.' || char == '-';
    name.chars().map(|char| if good(char) { char } else { '-' }).collect()
}

fn json(of: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(of).expect("results have no keys but strings");
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::tests::{cell, experiment};
    use std::os::unix::fs::PermissionsExt as _;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_keeps_plan_runs_and_summary() {
        let results = tempfile::tempdir().unwrap();
        let (experiment, cell) = (experiment(), cell());
        let store = Store::create(&results.path().join("not/yet/there"), &experiment).unwrap();
        for run in &cell.runs {
            store.run(run, &Series::default()).unwrap();
        }
        store.environment(&cell.runs[0].result.environment).unwrap();
        store.summary(&experiment, &[cell]).unwrap();
        store.report("a table\n").unwrap();
        assert_eq!(
            names(store.folder()),
            [
                "environment.json",
                "plan.json",
                "report.txt",
                "rounds.csv",
                "run-1.json",
                "run-2.json",
                "run-3.json",
                "seconds.csv",
                "summary.json"
            ]
        );
        let rounds = std::fs::read_to_string(store.folder().join("rounds.csv")).unwrap();
        assert!(rounds.starts_with("run,group,round,seconds\n1,130,1,"), "{rounds}");
        let name = store.folder().file_name().unwrap().to_str().unwrap();
        assert!(
            name.ends_with("Z-local-n130") && name.len() == "2026-11-22T062000Z-local-n130".len(),
            "{name}"
        );
    }

    #[test]
    fn two_of_the_same_second_do_not_share_a_folder() {
        let results = tempfile::tempdir().unwrap();
        let (one, other) = (
            Store::create(results.path(), &experiment()).unwrap(),
            Store::create(results.path(), &experiment()).unwrap(),
        );
        assert_ne!(one.folder(), other.folder());
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_wrong_usage_and_leaves_nothing() {
        let results = tempfile::tempdir().unwrap();
        let file = results.path().join("file");
        std::fs::write(&file, "").unwrap();
        let Err(RunError::Usage(sentence)) = Store::create(&file, &experiment()) else {
            panic!("a file is no folder");
        };
        assert!(sentence.contains("--results") && sentence.contains("--results off"), "{sentence}");
        let closed = results.path().join("closed");
        std::fs::create_dir(&closed).unwrap();
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o500)).unwrap();
        if std::fs::write(closed.join("probe"), "").is_ok() {
            eprintln!("not tested: this user may write into a folder that is closed to everybody");
            return;
        }
        assert!(matches!(Store::create(&closed, &experiment()), Err(RunError::Usage(_))));
    }

    #[test]
    fn a_folder_that_is_gone_is_said_to_be_and_not_made_anew() {
        let results = tempfile::tempdir().unwrap();
        let store = Store::create(results.path(), &experiment()).unwrap();
        // A file that cannot be written while the others are there.
        std::fs::create_dir(store.folder().join("report.txt")).unwrap();
        let error = store.report("a table\n").unwrap_err().to_string();
        assert!(
            error.contains("report.txt: ") && error.ends_with("what was written before is kept"),
            "{error}"
        );
        std::fs::remove_dir_all(store.folder()).unwrap();
        for end in [store.report("a table\n"), store.run(&cell().runs[0], &Series::default())] {
            let error = end.unwrap_err().to_string();
            assert!(error.contains("was removed") && !error.contains("is kept"), "{error}");
        }
        assert!(!store.folder().exists());
    }

    #[test]
    fn names_of_hosts_are_made_names_of_files() {
        assert_eq!(file_name("host 3 at 10.0.0.13"), "host-3-at-10.0.0.13");
        assert_eq!(file_name("../x"), "..-x");
    }
}
