//! An experiment: one or more plans (the groups of a sweep), each run some times, and perhaps a search for the highest
//! round rate that each bears.
//!
//! Every run starts servers and hosts anew, so that repeats are independent of each other. The roof is measured once for
//! each plan, with its first run. `local`, `sweep` and `run` all end here; what they keep is [`crate::store`]'s.

mod search;
mod table;

pub use search::{HighestRate, Trial};

use crate::control::EvidencePiece;
use crate::coordinator::place::Deployment;
use crate::coordinator::team::Team;
use crate::coordinator::{
    Checks, Measurement, Outputs, Progress, RunError, measure_whole, print, refused, take_seconds,
};
use crate::json_file::JsonFile;
use crate::plan::Plan;
use crate::report;
use crate::result::RunResult;
use crate::store::{Store, Summary};
use crate::units::{seconds, thousands};
use std::fmt::Write as _;
use std::io::Write as _;

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// A word for it, which the results' folder is named by.
    pub name: String,
    /// What is run, in this order: one plan, or one for each group size of a sweep.
    pub plans: Vec<Plan>,
    /// Runs of each plan.
    pub repeats: u32,
    /// Whether the highest round rate that loses nothing is searched for each plan.
    pub find_rate: bool,
}

/// Where the processes of each plan run.
pub(crate) enum Places<'a> {
    /// At the same places, whatever the plan; it has as many hosts as each plan has.
    At(&'a Deployment),
    /// At places that are made for a plan, and go with the deployment.
    Made(&'a dyn Fn(&Plan) -> Result<Deployment, RunError>),
}

/// One run that came to its result.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// From 1, over the whole experiment.
    pub(crate) number: u32,
    pub(crate) result: RunResult,
    /// Round by round, the seconds of the slowest host.
    pub(crate) rounds: Vec<f64>,
    /// What users of accountable groups got.
    pub(crate) evidence: Vec<EvidencePiece>,
}

/// All that was measured of one plan.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) plan: Plan,
    pub(crate) runs: Vec<Run>,
    pub(crate) highest_rate: Option<HighestRate>,
}

/// Measures all of it, keeps it and prints it; true if every check of every run passed. Ctrl-C ends it at any time.
///
/// # Errors
/// A run did not come to a result, or what it brought could not be kept; nothing that was started is left, and the
/// results' folder has what there was. Or the report could not be printed: everything is kept before that.
pub(crate) fn run(
    team: &mut Team,
    places: &Places<'_>,
    experiment: &Experiment,
    outputs: &Outputs,
    progress: &mut Progress,
) -> Result<bool, RunError> {
    let json = outputs.json.as_deref().map(JsonFile::open).transpose()?;
    let store = outputs.results.as_deref().map(|results| Store::create(results, experiment)).transpose()?;
    let mut series = Runs {
        team,
        experiment,
        outputs,
        progress,
        checks: Checks::default(),
        store: store.as_ref(),
        cells: Vec::new(),
        number: 0,
    };
    let end = series.play(places);
    series.progress.finish();
    if end.is_err() {
        series.team.cut();
    }
    let end = match refusal(experiment) {
        Some((plan, said)) => refused(plan, said, end).map(Some),
        None => end.map(|()| None),
    };
    if let Err(error) = &end {
        series.keep_what_there_is(error);
    }
    let cells = series.cells;
    let (text, all_good, kept, written) = match end? {
        Some((as_expected, text)) => {
            let kept = store.as_ref().map_or(Ok(()), |store| store.report(&text));
            (text, as_expected, kept, Ok(()))
        }
        None => {
            let text = told(experiment, &cells);
            let kept = store.as_ref().map_or(Ok(()), |store| keep(store, experiment, &cells, &text));
            let time = store.as_ref().map_or_else(String::new, Store::time);
            let written = json.map_or(Ok(()), |json| match cells.as_slice() {
                [cell] => json.write(&cell.median().result),
                cells => json.write(&Summary::of(experiment, &time, cells)),
            });
            let all_good = cells.iter().flat_map(|cell| &cell.runs).all(|run| run.result.failures.is_empty());
            (text, all_good, kept, written)
        }
    };
    // Printed last, and whatever became of the files: a pipe that is closed takes nothing with it, nor a full disk.
    let place = store.as_ref().filter(|_| kept.is_ok());
    let place = place.map(|store| format!("Kept in {}\n", store.folder().display())).unwrap_or_default();
    let printed = print(&(text + &place));
    let end = kept.and(written).and(printed);
    if let (Err(error), Some(store)) = (&end, &store) {
        // What cannot be kept is still told.
        let _ = store.failure(&error.to_string());
    }
    end.map(|()| all_good)
}

/// Keeps what comes of all runs together: each file that can be written, and the first error.
fn keep(store: &Store, experiment: &Experiment, cells: &[Cell], text: &str) -> Result<(), RunError> {
    let all = [store.report(text), store.table(&table::csv(cells)), store.summary(experiment, cells)];
    all.into_iter().collect()
}

/// The plan whose fault must stop a client, and what the client must say.
fn refusal(experiment: &Experiment) -> Option<(&Plan, &'static str)> {
    let plan = experiment.plans.first()?;
    Some((plan, plan.fault?.kind.refusal()?))
}

/// The runs of an experiment, one after another.
struct Runs<'a> {
    team: &'a mut Team,
    experiment: &'a Experiment,
    outputs: &'a Outputs,
    progress: &'a mut Progress,
    checks: Checks,
    store: Option<&'a Store>,
    cells: Vec<Cell>,
    /// Of the run that goes on, or was the last.
    number: u32,
}

impl Runs<'_> {
    fn play(&mut self, places: &Places<'_>) -> Result<(), RunError> {
        for plan in &self.experiment.plans {
            let made;
            let deployment = match places {
                Places::At(deployment) => deployment,
                Places::Made(make) => {
                    made = make(plan)?;
                    &made
                }
            };
            if let Some(store) = self.store.filter(|_| self.cells.is_empty()) {
                store.environment(&deployment.environment(&plan.link))?;
            }
            self.cells.push(Cell { plan: plan.clone(), runs: Vec::new(), highest_rate: None });
            for repeat in 0..self.experiment.repeats {
                self.repeat(deployment, plan, repeat)?;
            }
            if self.experiment.find_rate {
                let found = self.find_rate(deployment, plan)?;
                self.cells.last_mut().expect("it was just pushed").highest_rate = Some(found);
            }
        }
        Ok(())
    }

    fn repeat(&mut self, deployment: &Deployment, plan: &Plan, repeat: u32) -> Result<(), RunError> {
        self.number += 1;
        let (group, of) = (thousands(u64::from(plan.group)), self.experiment.repeats);
        let many = self.experiment.plans.len() > 1 || of > 1;
        let context = if many { format!("n = {group}, run {} of {of}", repeat + 1) } else { String::new() };
        self.progress.context(&context);
        let with_roof = self.outputs.roof && repeat == 0;
        let looks = (&mut self.checks, &mut *self.progress);
        let measured = measure_whole(self.team, deployment, plan, with_roof, looks)?;
        let Measurement { result, rounds, evidence } = measured;
        let run = Run { number: self.number, result, rounds, evidence };
        let seconds_of_it = take_seconds(self.team);
        let kept = self.store.map_or(Ok(()), |store| store.run(&run, &seconds_of_it));
        if many {
            let round = run.result.round_seconds.p50.map_or_else(|| "no round".into(), seconds);
            self.note(&format!("{context}: {round} a round"));
        }
        if kept.is_err() {
            // A run that cannot be kept is at least shown; that it is not kept is what is told, even if nobody looks.
            let _ = print(&report::render(&run.result));
        }
        self.cells.last_mut().expect("its cell was pushed").runs.push(run);
        kept
    }

    fn find_rate(&mut self, deployment: &Deployment, plan: &Plan) -> Result<HighestRate, RunError> {
        let cell = self.cells.last().expect("its cell was pushed");
        let round = cell.median().result.round_seconds.p50.unwrap_or(1.0);
        search::highest_rate(1.0 / round.max(1e-9), |rate, length| {
            let plan = search::plan(plan, rate, length);
            let group = thousands(u64::from(plan.group));
            self.progress.context(&format!("n = {group}, trial at {rate:.3} rounds/s"));
            let looks = (&mut self.checks, &mut *self.progress);
            let trial = match measure_whole(self.team, deployment, &plan, false, looks) {
                Ok(measured) => Trial::of(&plan, length, &measured),
                Err(RunError::Interrupted) => return Err(RunError::Interrupted),
                // A rate under which a process dies is not borne; the next trial has a team of its own.
                Err(error) => {
                    self.team.cut();
                    *self.team = Team::new()?;
                    Trial::failed(&plan, length, &error)
                }
            };
            self.note(&trial.in_words());
            Ok(trial)
        })
    }

    /// A line that stays, on stderr.
    fn note(&mut self, line: &str) {
        self.progress.finish();
        // Nobody may be listening, which is no reason to stop.
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    /// After a failure: the seconds of the run that failed, the runs before it, and the sentence. What cannot be
    /// written now is lost, and the failure itself is what is told.
    fn keep_what_there_is(&self, error: &RunError) {
        let Some(store) = self.store else { return };
        let runs = || self.cells.iter().flat_map(|cell| &cell.runs);
        // A trial of the search, or what is written of a whole run, may fail as well.
        if let Some(cell) = self.cells.last().filter(|_| runs().all(|run| run.number != self.number)) {
            let _ = store.seconds(self.number, cell.plan.group, &self.team.series);
        }
        let done: Vec<Cell> = self.cells.iter().filter(|cell| !cell.runs.is_empty()).cloned().collect();
        if !done.is_empty() {
            let _ = store.summary(self.experiment, &done);
        }
        let _ = store.failure(&error.to_string());
    }
}

impl Cell {
    /// The run whose median round is the median of all runs'; of an even number the quicker of the middle two.
    ///
    /// # Panics
    /// There is none: a cell is asked only after its runs.
    pub(crate) fn median(&self) -> &Run {
        let mut runs: Vec<&Run> = self.runs.iter().collect();
        let round = |run: &Run| run.result.round_seconds.p50.unwrap_or(f64::INFINITY);
        runs.sort_by(|one, other| round(one).total_cmp(&round(other)));
        runs[(runs.len() - 1) / 2]
    }
}

/// What is printed of it all.
fn told(experiment: &Experiment, cells: &[Cell]) -> String {
    let mut text = String::new();
    if let [cell] = cells {
        let median = cell.median();
        if experiment.repeats > 1 {
            let (number, of) = (median.number, experiment.repeats);
            writeln!(text, "Run {number} of {of}, the one with the median round time:\n")
                .expect("a string takes it");
        }
        text.push_str(&report::render(&median.result));
    }
    if experiment.repeats > 1 || cells.len() > 1 {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&table::render(cells));
    }
    for cell in cells {
        if let Some(found) = &cell.highest_rate {
            text.push('\n');
            text.push_str(&found.in_words(cell.plan.group));
        }
    }
    if experiment.repeats > 1 || cells.len() > 1 {
        verdict(&mut text, cells);
    }
    text
}

/// Whether every check of every run passed, or what failed in which run.
fn verdict(text: &mut String, cells: &[Cell]) {
    let runs = || cells.iter().flat_map(|cell| &cell.runs);
    let failures = runs().flat_map(|run| {
        run.result.failures.iter().map(|failure| format!("  run {}: {failure}\n", run.number))
    });
    let failures: String = failures.collect();
    if failures.is_empty() {
        writeln!(text, "Every check of {} runs passed.", runs().count()).expect("a string takes it");
    } else {
        writeln!(text, "FAILED:").expect("a string takes it");
        text.push_str(&failures);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::result::tests::sample;

    /// Three runs of a group of 130.
    pub(crate) fn experiment() -> Experiment {
        Experiment { name: "local-n130".into(), plans: vec![sample().plan], repeats: 3, find_rate: true }
    }

    /// What came of it: medians of 15, 30 and 15 ms a round, and a rate.
    pub(crate) fn cell() -> Cell {
        let run = |number, round| {
            let mut result = sample();
            result.round_seconds.p50 = Some(round);
            Run { number, result, rounds: vec![0.010, round, 0.021], evidence: Vec::new() }
        };
        Cell {
            plan: sample().plan,
            runs: vec![run(1, 0.015), run(2, 0.03), run(3, 0.015)],
            highest_rate: Some(search::tests::found()),
        }
    }

    #[test]
    fn the_median_run_is_the_one_in_the_middle() {
        let mut cell = cell();
        assert_eq!(cell.median().number, 3);
        cell.runs.truncate(2);
        assert_eq!(cell.median().number, 1, "the quicker of two");
    }

    #[test]
    fn repeats_are_told_by_the_median_run_and_the_spread() {
        let text = told(&experiment(), &[cell()]);
        assert!(text.starts_with("Run 3 of 3, the one with the median round time:\n\nTwincast"), "{text}");
        assert!(text.contains("[15.0 ms .. 30.0 ms]") && text.contains("Highest rate"), "{text}");
        assert!(text.ends_with("Every check of 3 runs passed.\n"), "{text}");
    }

    #[test]
    fn a_run_that_failed_its_checks_is_named() {
        let mut cell = cell();
        cell.runs[1].result.failures.push("2 messages were lost".into());
        assert!(told(&experiment(), &[cell]).ends_with("FAILED:\n  run 2: 2 messages were lost\n"));
    }

    #[test]
    fn one_run_is_told_by_its_report_alone() {
        let mut cell = cell();
        cell.runs.truncate(1);
        cell.highest_rate = None;
        let one = Experiment { repeats: 1, find_rate: false, ..experiment() };
        assert_eq!(told(&one, &[cell.clone()]), report::render(&cell.runs[0].result));
    }
}
