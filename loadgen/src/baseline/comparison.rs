//! Twincast and everything that it is compared with, one after another in the same places: the subcommand `baselines`.

use super::{Baseline, BaselineResult, Setup, measure, table};
use crate::coordinator::place::Deployment;
use crate::coordinator::team::Team;
use crate::coordinator::{self, Progress, RunError};
use crate::environment::Environment;
use crate::plan::Plan;
use crate::result::RunResult;
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The schema's name and version.
pub(crate) const SCHEMA: &str = "twincast-baselines/1";

/// Twincast beside its baselines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Comparison {
    /// [`SCHEMA`].
    pub(crate) schema: String,
    /// Where.
    pub(crate) environment: Environment,
    /// What Twincast played.
    pub(crate) plan: Plan,
    /// What the baselines played.
    pub(crate) setup: Setup,
    /// Twincast, then each baseline that could be measured.
    pub(crate) rows: Vec<Row>,
    /// The baselines, whole.
    pub(crate) baselines: Vec<BaselineResult>,
    /// What limited Twincast's run.
    pub(crate) limited_by: String,
    /// Baselines that were left out, a sentence each with the remedy.
    pub(crate) left_out: Vec<String>,
    /// What is wrong with Twincast's run, a sentence each; empty: every check passed.
    pub(crate) failures: Vec<String>,
}

/// The figures that all have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    /// Who.
    pub(crate) name: String,
    /// Messages per second that came to all members.
    pub(crate) messages_per_s: f64,
    /// Deliveries per second of each server.
    pub(crate) deliveries_per_s: f64,
    /// Seconds of a round in which all members send, on its slowest host, the median.
    pub(crate) round_seconds: f64,
    /// CPU microseconds of a server for each delivery.
    pub(crate) server_cpu_us_per_delivery: f64,
    /// Twincast's messages per second over this one's.
    pub(crate) messages_ratio: f64,
    /// This one's CPU time for a delivery over Twincast's.
    pub(crate) cpu_ratio: f64,
    /// Whether some figure is of a sample.
    pub(crate) sampled: bool,
}

/// Runs the comparison and prints it; true if every check of Twincast's own run passed.
///
/// # Errors
/// Some run did not come to a result; nothing that was started is left.
pub(crate) fn run(
    plan: &Plan,
    setup: &Setup,
    kinds: &[Baseline],
    json: Option<&Path>,
) -> Result<bool, RunError> {
    setup.check(plan.hosts)?;
    let file = json.map(JsonFile::open).transpose()?;
    let mut team = Team::new()?;
    let deployment = Deployment::here(plan);
    let mut progress = Progress::new();
    let compared = compare(&mut team, &deployment, plan, setup, kinds, &mut progress);
    progress.finish();
    if compared.is_err() {
        team.cut();
    }
    let compared = compared?;
    if let Some(file) = file {
        file.write(&compared)?;
    }
    let mut stdout = std::io::stdout().lock();
    let printed = stdout.write_all(table::render(&compared).as_bytes()).and_then(|()| stdout.flush());
    printed.map_err(RunError::Report)?;
    Ok(compared.failures.is_empty())
}

/// Twincast, whose hosts count and decode nothing as the baselines' do, and then each of these baselines. No other peer of the
/// team may be at work.
pub(crate) fn compare(
    team: &mut Team,
    deployment: &Deployment,
    plan: &Plan,
    setup: &Setup,
    kinds: &[Baseline],
    progress: &mut Progress,
) -> Result<Comparison, RunError> {
    let twincast = coordinator::measure(team, deployment, plan, false, progress)?;
    let (mut baselines, mut left_out) = (Vec::new(), Vec::new());
    for kind in kinds {
        match measure(team, deployment, *kind, setup, progress) {
            Ok(result) => baselines.push(result),
            // The team is whole: the one process that looked for the broker has stopped.
            Err(RunError::Usage(remedy)) if *kind == Baseline::Broker => left_out.push(remedy),
            Err(error) => return Err(error),
        }
    }
    let first = of_twincast(&twincast);
    let rows = std::iter::once(first.clone()).chain(baselines.iter().map(|one| of_baseline(one, &first)));
    Ok(Comparison {
        schema: SCHEMA.into(),
        rows: rows.collect(),
        setup: *setup,
        baselines,
        left_out,
        limited_by: twincast.limited_by,
        failures: twincast.failures,
        plan: twincast.plan,
        environment: twincast.environment,
    })
}

fn of_twincast(result: &RunResult) -> Row {
    let servers = &result.servers;
    let deliveries_per_s =
        servers.iter().map(|server| server.shares_per_s).sum::<f64>() / servers.len().max(1) as f64;
    let cpu_seconds = servers.iter().map(|server| server.cpu_seconds).sum::<f64>();
    let shares = servers.iter().map(|server| server.egress_shares).sum::<u64>();
    Row {
        name: format!("Twincast, {}", result.plan.profile),
        messages_per_s: deliveries_per_s / f64::from(result.plan.group),
        deliveries_per_s,
        round_seconds: result.round_seconds.p50.unwrap_or(0.0),
        server_cpu_us_per_delivery: cpu_seconds / shares.max(1) as f64 * 1e6,
        messages_ratio: 1.0,
        cpu_ratio: 1.0,
        sampled: false,
    }
}

fn of_baseline(result: &BaselineResult, twincast: &Row) -> Row {
    Row {
        name: result.name.clone(),
        messages_per_s: result.messages_per_s,
        deliveries_per_s: result.deliveries_per_s,
        round_seconds: result.whole_round_seconds,
        server_cpu_us_per_delivery: result.server_cpu_us_per_delivery,
        messages_ratio: ratio(twincast.messages_per_s, result.messages_per_s),
        cpu_ratio: ratio(result.server_cpu_us_per_delivery, twincast.server_cpu_us_per_delivery),
        sampled: result.sampled,
    }
}

/// 0 where there is nothing to divide by, which JSON can tell.
fn ratio(of: f64, over: f64) -> f64 {
    if over > 0.0 { of / over } else { 0.0 }
}

/// The file of `--json`: opened before the runs, so that a bad path costs nobody a run; a run without a result leaves
/// no empty file.
struct JsonFile {
    path: PathBuf,
    remove: bool,
}

impl JsonFile {
    fn open(path: &Path) -> Result<JsonFile, RunError> {
        let remove = !path.exists();
        std::fs::OpenOptions::new().append(true).create(true).open(path).map_err(|error| {
            RunError::Usage(format!(
                "--json {}: {error}; give a file in a directory that exists and may be written to",
                path.display()
            ))
        })?;
        Ok(JsonFile { path: path.to_owned(), remove })
    }

    fn write(mut self, comparison: &Comparison) -> Result<(), RunError> {
        let mut text =
            serde_json::to_string_pretty(comparison).expect("a comparison has no keys but strings");
        text.push('\n');
        std::fs::write(&self.path, text).map_err(RunError::Report)?;
        self.remove = false;
        Ok(())
    }
}

impl Drop for JsonFile {
    fn drop(&mut self) {
        if self.remove {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
