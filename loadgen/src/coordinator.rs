//! Leads a run: starts servers and hosts, orders the phases, collects what they say.
//!
//! A server or host is a child of this process, of an agent that listens on another machine, or of an agent that ssh
//! starts there. Wherever it runs, it is a peer of the team (`team.rs`) behind a channel of JSON lines
//! ([`crate::control`]). The coordinator is one thread that only ever waits in `Team::gather`, which ends on news, on a
//! peer's death, on the loss of its agent, on a signal, or when a peer was silent for too long: a run cannot hang, and
//! whatever ends it, every peer is stopped.

mod checks;
pub(crate) mod child;
mod clock;
mod error;
mod far;
mod folder;
mod machine;
pub(crate) mod place;
mod progress;
pub(crate) mod role;
pub(crate) mod series;
pub(crate) mod signals;
mod ssh;
pub(crate) mod stage;
pub(crate) mod team;

pub(crate) use checks::Checks;
pub use error::RunError;
pub(crate) use machine::{check, connections, connections_by_host, connections_max};
pub(crate) use progress::Progress;

use crate::control::EvidencePiece;
use crate::experiment::{self, Experiment, Places};
use crate::net::goodput_bits_per_s;
use crate::plan::Plan;
use crate::result::{Measured, RunResult, evidence_of_all, slowest};
use crate::roof;
use place::Deployment;
use series::Series;
use stage::Stage;
use std::io::Write as _;
use std::path::PathBuf;
use team::Team;

/// The hidden subcommand of a server process.
pub const ROLE_SERVER: &str = "role-server";
/// The hidden subcommand of a host process.
pub const ROLE_HOST: &str = "role-host";
/// The hidden subcommand of a process that measures the roof's sending side.
pub const ROLE_ROOF_SENDER: &str = "role-roof-sender";

/// What an experiment makes besides its table.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// Where the result goes as JSON.
    pub json: Option<PathBuf>,
    /// Whether the roof is measured.
    pub roof: bool,
    /// Where its folder of results is made; none: nowhere.
    pub results: Option<PathBuf>,
}

/// One run, as it was measured.
pub(crate) struct Measurement {
    pub(crate) result: RunResult,
    /// Round by round, the seconds of the slowest host.
    pub(crate) rounds: Vec<f64>,
    /// What users of accountable groups got.
    pub(crate) evidence: Vec<EvidencePiece>,
}

/// Both servers and all hosts on this machine. Prints the report; true if every check passed.
///
/// # Errors
/// The experiment did not come to a report; nothing that it started is left.
pub fn local(experiment: &Experiment, outputs: &Outputs) -> Result<bool, RunError> {
    experiment.plans.iter().try_for_each(machine::check)?;
    let mut team = Team::new()?;
    let mut progress = Progress::new();
    let places = |plan: &Plan| Ok(Deployment::here(plan));
    experiment::run(&mut team, &Places::Made(&places), experiment, outputs, &mut progress)
}

/// The end of a run whose fault leaves a client nothing but to stop: whether it did and said why, and what to print.
pub(crate) fn refused(
    plan: &Plan,
    must_say: &str,
    result: Result<(), RunError>,
) -> Result<(bool, String), RunError> {
    let done = plan.fault.map(|fault| fault.in_words(plan)).unwrap_or_default();
    let (as_expected, caused) = match result {
        Err(RunError::Child { name, what, .. }) => (what.contains(must_say), format!("{name} {what}")),
        Err(other) => return Err(other),
        Ok(()) => (false, "nobody stopped".to_owned()),
    };
    let verdict =
        if as_expected { "Every check passed." } else { "FAILED: a client must stop, and say why." };
    Ok((as_expected, format!("Done: {done}.\nCaused: {caused}.\n{verdict}\n")))
}

pub(crate) fn print(text: &str) -> Result<(), RunError> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(RunError::Report)
}

/// One run: starts servers and hosts, plays, stops them, and measures the roof if it is asked for. Answers have none:
/// it is what servers send of broadcast delivery, beside plain sends. No other peer of the team may be at work.
///
/// # Errors
/// The run did not come to a result; the caller cuts the team.
pub(crate) fn measure(
    team: &mut Team,
    deployment: &Deployment,
    plan: &Plan,
    with_roof: bool,
    looks: (&mut Checks, &mut Progress),
) -> Result<RunResult, RunError> {
    measure_whole(team, deployment, plan, with_roof, looks).map(|measured| measured.result)
}

/// [`measure`], with what a result does not carry. Machines are checked before the rounds unless that was done for a plan
/// that asks for the same. However it ends, `team.series` holds the seconds of the measured
/// rounds: neither those of the warm-up nor the roof's.
///
/// # Errors
/// As [`measure`].
pub(crate) fn measure_whole(
    team: &mut Team,
    deployment: &Deployment,
    plan: &Plan,
    with_roof: bool,
    (checks, progress): (&mut Checks, &mut Progress),
) -> Result<Measurement, RunError> {
    team.series = Series::default();
    let rate = deployment.medium.rate_bits_per_s(&plan.link);
    progress.watch(&mut team.series, plan, rate.map(|rate| goodput_bits_per_s(rate, plan.link.mtu)));
    let environment = deployment.environment(&plan.link);
    let checks = checks.of(team, deployment, plan, progress)?;
    let stage = Stage::open(team, deployment, plan, progress)?;
    let mut warmup_bytes_in = 0;
    if plan.warmup > 0 {
        let warmup = stage.play(team, plan.warmup, "warming up", progress)?;
        warmup_bytes_in = warmup.hosts.iter().flat_map(|host| host.bytes_in).sum();
        take_seconds(team);
    }
    let play = stage.play(team, plan.rounds, "playing", progress)?;
    let series = take_seconds(team);
    let (faults_done, clocks) = (stage.faults_done(), stage.clocks.clone());
    let dial = stage.dial.clone();
    let stopped = team.stop_all();
    drop(stage);
    let roof = stopped.and_then(|bad_to_stop| {
        let roof = (with_roof && !plan.answers())
            .then(|| roof::measure(team, deployment, plan, progress))
            .transpose()?;
        Ok((bad_to_stop, roof))
    });
    team.series = series;
    let (bad_to_stop, roof) = roof?;
    let rounds = slowest(&play.hosts);
    let evidence = evidence_of_all(&play.hosts).kept;
    let (plan, medium) = (plan.clone(), deployment.medium.clone());
    let measured = Measured {
        plan,
        medium,
        environment,
        checks,
        dial,
        warmup_bytes_in,
        play,
        faults_done,
        clocks,
        roof,
        bad_to_stop,
    };
    let result = RunResult::of(measured).map_err(RunError::News)?;
    Ok(Measurement { result, rounds, evidence })
}

/// The seconds that came since they were last taken; whoever looks on goes on looking.
pub(crate) fn take_seconds(team: &mut Team) -> Series {
    let view = team.series.view.clone();
    std::mem::replace(&mut team.series, Series { view, ..Series::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
