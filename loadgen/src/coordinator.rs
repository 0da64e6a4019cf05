//! Leads a run: starts servers and hosts as children of this process, orders the phases, collects what they say.
//!
//! Every child is a member of the team (`team.rs`) behind a channel of JSON lines ([`crate::control`]). The coordinator is one
//! thread that only ever waits in `Team::gather`, which ends on news, on a child's death, on a signal, or when a
//! child was silent for too long: a run cannot hang, and whatever ends it, every child is stopped.

mod child;
mod error;
mod folder;
mod machine;
pub(crate) mod place;
mod progress;
pub(crate) mod series;
mod signals;
pub(crate) mod stage;
pub(crate) mod team;

pub use error::RunError;
pub(crate) use machine::{connections, connections_by_host, connections_max};
pub(crate) use progress::Progress;

use crate::environment::Environment;
use crate::plan::Plan;
use crate::report;
use crate::result::{Measured, RunResult};
use crate::roof;
use place::Deployment;
use stage::Stage;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use team::Team;

/// The hidden subcommand of a server process.
pub const ROLE_SERVER: &str = "role-server";
/// The hidden subcommand of a host process.
pub const ROLE_HOST: &str = "role-host";
/// The hidden subcommand of a process that measures the roof's sending side.
pub const ROLE_ROOF_SENDER: &str = "role-roof-sender";

/// What a run makes besides its table.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// Where the result goes as JSON.
    pub json: Option<PathBuf>,
    /// Whether the roof is measured.
    pub roof: bool,
}

/// Both servers and all hosts on this machine. Prints the report; true if every check passed.
///
/// # Errors
/// The run did not come to a report; nothing that it started is left.
pub fn local(plan: &Plan, outputs: &Outputs) -> Result<bool, RunError> {
    machine::check(plan)?;
    let mut json = outputs.json.as_deref().map(JsonFile::open).transpose()?;
    let mut team = Team::new()?;
    let deployment = Deployment::loopback(plan.hosts);
    let mut progress = Progress::new();
    let result = measure(&mut team, &deployment, plan, outputs.roof, &mut progress);
    progress.finish();
    if result.is_err() {
        team.cut();
    }
    if let Some(said) = plan.fault.and_then(|fault| fault.kind.refusal()) {
        let (as_expected, text) = refused(plan, said, result)?;
        print(&text)?;
        return Ok(as_expected);
    }
    let result = result?;
    if let Some(json) = &mut json {
        json.write(&result)?;
    }
    print(&report::render(&result))?;
    Ok(result.failures.is_empty())
}

/// The end of a run whose fault leaves a client nothing but to stop: whether it did and said why, and what to print.
fn refused(
    plan: &Plan,
    must_say: &str,
    result: Result<RunResult, RunError>,
) -> Result<(bool, String), RunError> {
    let done = plan.fault.map(|fault| fault.in_words(plan)).unwrap_or_default();
    let (as_expected, caused) = match result {
        Err(RunError::Child { name, what, .. }) => (what.contains(must_say), format!("{name} {what}")),
        Err(other) => return Err(other),
        Ok(_) => (false, "nobody stopped".to_owned()),
    };
    let verdict =
        if as_expected { "Every check passed." } else { "FAILED: a client must stop, and say why." };
    Ok((as_expected, format!("Done: {done}.\nCaused: {caused}.\n{verdict}\n")))
}

fn print(text: &str) -> Result<(), RunError> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(RunError::Report)
}

/// One run: starts servers and hosts, plays, stops them, and measures the roof if it is asked for. No other peer of the
/// team may be at work.
///
/// # Errors
/// The run did not come to a result; the caller cuts the team.
pub(crate) fn measure(
    team: &mut Team,
    deployment: &Deployment,
    plan: &Plan,
    with_roof: bool,
    progress: &mut Progress,
) -> Result<RunResult, RunError> {
    let environment = Environment::of_this_machine(&deployment.words);
    let stage = Stage::open(team, deployment, plan, progress)?;
    if plan.warmup > 0 {
        stage.play(team, plan.warmup, "warming up", progress)?;
    }
    let play = stage.play(team, plan.rounds, "playing", progress)?;
    let faults_done = stage.faults_done();
    let dial = stage.dial.clone();
    let bad_to_stop = team.stop_all()?;
    drop(stage);
    let roof = if with_roof { Some(roof::measure(team, deployment, plan, progress)?) } else { None };
    let measured = Measured { plan: plan.clone(), environment, dial, play, faults_done, roof, bad_to_stop };
    RunResult::of(measured).map_err(RunError::News)
}

/// The file of `--json`: opened before the run, so that a bad path costs nobody a run.
struct JsonFile<'a> {
    path: &'a Path,
    remove: bool,
}

impl<'a> JsonFile<'a> {
    fn open(path: &'a Path) -> Result<JsonFile<'a>, RunError> {
        let new = !path.exists();
        let opened = std::fs::OpenOptions::new().append(true).create(true).open(path);
        let refused = |error| {
            RunError::Usage(format!(
                "--json {}: {error}; give a file in a directory that exists and may be written to",
                path.display()
            ))
        };
        opened.map_err(refused).map(|_| JsonFile { path, remove: new })
    }

    fn write(&mut self, result: &RunResult) -> Result<(), RunError> {
        let mut text = serde_json::to_string_pretty(result).expect("a result has no keys but strings");
        text.push('\n');
        std::fs::write(self.path, text).map_err(RunError::Report)?;
        self.remove = false;
        Ok(())
    }
}

impl Drop for JsonFile<'_> {
    /// A run without a result leaves no empty file.
    fn drop(&mut self) {
        if self.remove {
            let _ = std::fs::remove_file(self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_path_that_cannot_be_written_is_wrong_usage() {
        let Err(RunError::Usage(sentence)) = JsonFile::open(Path::new("/no/such/directory/x.json")) else {
            panic!("the directory does not exist");
        };
        assert!(sentence.contains("--json /no/such/directory/x.json"), "{sentence}");
    }

    #[test]
    fn a_fault_that_must_stop_a_client_passes_only_if_it_says_why() {
        use crate::fault::{Fault, FaultKind};
        let fault = Fault { kind: FaultKind::DropFrame, round: 2, hold_ms: 0 };
        let plan = Plan { fault: Some(fault), ..Plan::default() };
        let said = fault.kind.refusal().unwrap();
        let child = |what: String| Err(RunError::Child { name: "host 0".into(), what, log: vec![] });
        let (good, text) = refused(&plan, said, child(format!("cannot go on: {said} 2"))).unwrap();
        assert!(
            good && text.contains("Caused: host 0 cannot go on") && text.contains("was cut out"),
            "{text}"
        );
        let (good, text) = refused(&plan, said, child("was killed by signal 9".into())).unwrap();
        assert!(!good && text.ends_with("FAILED: a client must stop, and say why.\n"), "{text}");
        assert!(refused(&plan, said, Err(RunError::Interrupted)).is_err());
    }

    #[test]
    fn a_run_without_a_result_leaves_no_json_file_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let (new, old) = (directory.path().join("new.json"), directory.path().join("old.json"));
        std::fs::write(&old, "{}").unwrap();
        drop(JsonFile::open(&new).unwrap());
        drop(JsonFile::open(&old).unwrap());
        assert!(!new.exists());
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "{}");
    }
}
