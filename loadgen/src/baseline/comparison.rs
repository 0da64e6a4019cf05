//! Twincast and everything that it is compared with, one after another in the same places: the subcommand `baselines`.
//!
//! A repeat plays all of them once, so that what a machine does meanwhile meets all alike. The roof is measured with the
//! first repeat, which has repeats of its own.

mod row;

pub(crate) use row::Row;

use super::{Baseline, BaselineResult, Setup, measure, table};
use crate::coordinator::place::Deployment;
use crate::coordinator::team::Team;
use crate::coordinator::{self, Checks, Progress, RunError, check};
use crate::environment::Environment;
use crate::json_file::JsonFile;
use crate::net::{Link, LinkRate};
use crate::paper::outcome::{MCMIX_LATENCY_S, mcmix_rate, run_mcmix};
use crate::plan::Plan;
use crate::result::RunResult;
use crate::roof::Roof;
use row::Figures;
use serde::{Deserialize, Serialize};
use std::path::Path;
use twincast_baselines::mcmix::Cost;

/// The schema's name and version.
pub(crate) const SCHEMA: &str = "twincast-baselines/1";

/// What is compared, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Baselines over sockets.
    pub(crate) kinds: Vec<Baseline>,
    /// Whether the roof is measured.
    pub(crate) roof: bool,
    /// Whether MCMix is run.
    pub(crate) mcmix: bool,
    /// How often everything is played; at least once.
    pub(crate) repeats: u32,
}

/// Twincast beside its baselines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Comparison {
    /// [`SCHEMA`].
    pub(crate) schema: String,
    /// Where.
    pub(crate) environment: Environment,
    /// What joined servers and hosts, in words.
    pub(crate) link: String,
    /// What Twincast played.
    pub(crate) plan: Plan,
    /// What the baselines played.
    pub(crate) setup: Setup,
    /// How often everything was played.
    pub(crate) repeats: u32,
    /// Twincast, then each baseline that could be measured.
    pub(crate) rows: Vec<Row>,
    /// The baselines over sockets, whole: those of the first repeat, then those of the second, and so on.
    pub(crate) baselines: Vec<BaselineResult>,
    /// Plain `send` of ready buffers; all `None` where it was not asked for.
    pub(crate) roof: Roof,
    /// MCMix, where it was asked for.
    pub(crate) mcmix: Option<Mcmix>,
    /// What limited Twincast's runs, each sentence once.
    pub(crate) limited_by: Vec<String>,
    /// Baselines that were left out, a sentence each with the remedy.
    pub(crate) left_out: Vec<String>,
    /// What is wrong with Twincast's runs, a sentence each; empty: every check passed.
    pub(crate) failures: Vec<String>,
}

/// MCMix: measured and counted in one process, and the network that it is thought to have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mcmix {
    /// Stated: seconds from one server to another.
    pub(crate) latency_s: f64,
    /// Bits per second out of each server.
    pub(crate) bits_per_s: f64,
    /// Where that rate is from.
    pub(crate) rate_from: String,
    /// Conversation, repeat by repeat.
    pub(crate) conversation: Vec<Cost>,
    /// Dialling, repeat by repeat.
    pub(crate) dialling: Vec<Cost>,
}

/// Runs the comparison and prints it; true if every check of Twincast's own runs passed.
///
/// # Errors
/// Some run did not come to a result; nothing that was started is left.
pub(crate) fn run(plan: &Plan, setup: &Setup, asked: &Asked, json: Option<&Path>) -> Result<bool, RunError> {
    setup.check(plan.hosts)?;
    check(plan)?;
    let file = json.map(JsonFile::open).transpose()?;
    let mut team = Team::new()?;
    let deployment = Deployment::here(plan);
    let mut progress = Progress::new();
    let compared = compare(&mut team, &deployment, plan, setup, asked, &mut progress);
    progress.finish();
    if compared.is_err() {
        team.cut();
    }
    let compared = compared?;
    if let Some(file) = file {
        file.write(&compared)?;
    }
    coordinator::print(&table::render(&compared))?;
    Ok(compared.failures.is_empty())
}

/// Twincast, whose hosts count and decode nothing as the baselines' do, and then what it is compared with. No other peer
/// of the team may be at work.
fn compare(
    team: &mut Team,
    deployment: &Deployment,
    plan: &Plan,
    setup: &Setup,
    asked: &Asked,
    progress: &mut Progress,
) -> Result<Comparison, RunError> {
    let mut kinds = asked.kinds.clone();
    let (mut twincast, mut baselines, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    let mut checks = Checks::default();
    let mut mcmix = asked.mcmix.then(|| Mcmix::on(deployment, plan));
    for repeat in 0..asked.repeats.max(1) {
        let with_roof = asked.roof && repeat == 0;
        let looks = (&mut checks, &mut *progress);
        twincast.push(coordinator::measure(team, deployment, plan, with_roof, looks)?);
        let mut missing = None;
        for kind in &kinds {
            match measure(team, deployment, *kind, setup, (plan, &mut checks, &mut *progress)) {
                Ok(result) => baselines.push(result),
                // The team is whole: the one process that looked for the broker has stopped.
                Err(RunError::Usage(remedy)) if *kind == Baseline::Broker => missing = Some(remedy),
                Err(error) => return Err(error),
            }
        }
        if let Some(remedy) = missing {
            left_out.push(remedy);
            kinds.retain(|kind| *kind != Baseline::Broker);
        }
        if let Some(mcmix) = &mut mcmix {
            progress.spin("MCMix in one process");
            mcmix.play(plan.group, repeat)?;
        }
    }
    together(plan, setup, twincast, baselines, mcmix, left_out)
}

/// All repeats of everything, Twincast's not empty.
fn together(
    plan: &Plan,
    setup: &Setup,
    twincast: Vec<RunResult>,
    baselines: Vec<BaselineResult>,
    mcmix: Option<Mcmix>,
    left_out: Vec<String>,
) -> Result<Comparison, RunError> {
    let Some(first) = twincast.first() else { return Err(RunError::News("nothing was compared".into())) };
    let own = Figures::of_twincast(&twincast);
    let mut rows = vec![row::twincast(first, &own)];
    rows.extend(row::roof(first, &own));
    let kinds = Baseline::ALL.into_iter();
    rows.extend(kinds.filter_map(|kind| {
        let repeats: Vec<_> = baselines.iter().filter(|one| one.baseline == kind).collect();
        row::baseline(&repeats, &own)
    }));
    rows.extend(mcmix.iter().flat_map(|mcmix| row::mcmix(mcmix, &own)));
    let mut limited_by: Vec<String> = Vec::new();
    for sentence in twincast.iter().map(|result| &result.limited_by) {
        if !limited_by.contains(sentence) {
            limited_by.push(sentence.clone());
        }
    }
    Ok(Comparison {
        schema: SCHEMA.into(),
        environment: first.environment.clone(),
        link: link_in_words(first),
        plan: plan.clone(),
        setup: *setup,
        repeats: twincast.len() as u32,
        rows,
        baselines,
        roof: first.roof.clone(),
        mcmix,
        limited_by,
        left_out,
        failures: twincast.iter().flat_map(|result| result.failures.clone()).collect(),
    })
}

impl Mcmix {
    /// None yet, over the links of a run.
    fn on(deployment: &Deployment, plan: &Plan) -> Mcmix {
        // Links that could not be shaped have no rate, whatever the plan says.
        let held = deployment.medium.rate_bits_per_s(&plan.link).is_some();
        let rate = if held { plan.link.rate } else { LinkRate::Off };
        let (bits_per_s, rate_from) = mcmix_rate(&Link { rate, ..plan.link });
        Mcmix { latency_s: MCMIX_LATENCY_S, bits_per_s, rate_from: rate_from.into(), ..Mcmix::default() }
    }

    /// One more repeat; wrong answers are a bug of the model.
    fn play(&mut self, users: u32, repeat: u32) -> Result<(), RunError> {
        let run = |dialling| run_mcmix(users, dialling, repeat.into()).map_err(RunError::News);
        self.conversation.push(run(false)?);
        self.dialling.push(run(true)?);
        Ok(())
    }
}

fn link_in_words(result: &RunResult) -> String {
    let (link, rate) = (&result.link, &result.plan.link.rate);
    match (&link.not_shaped, link.medium.as_str()) {
        (Some(why), _) => format!("links were not shaped: {why}"),
        (None, "loopback") => "loopback, no links".into(),
        (None, _) if link.goodput_bits_per_s.is_none() => "links without a limit".into(),
        (None, _) => format!("links of {rate} each way"),
    }
}

#[cfg(test)]
mod tests;
