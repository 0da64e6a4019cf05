//! Runs the experiments one after another, and goes on when one of them fails.

use super::experiments::{Experiments, Job, LeftOut, Work};
use super::headline::Headline;
use super::outcome::{Done, Outcome, run_mcmix};
use super::store::Store;
use super::{Order, Paper, SCHEMA, figures};
use crate::baseline::{self, Baseline};
use crate::cli::plan_of;
use crate::coordinator::place::Deployment;
use crate::coordinator::team::Team;
use crate::coordinator::{self, Checks, Progress, RunError, measure, print};
use crate::environment::Environment;
use crate::net::{Link, LinkRate};
use crate::plan::Plan;
use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Runs what is asked for and writes the report; true if nothing failed.
///
/// # Errors
/// The folder cannot be written to, or a signal came; what was run until then is in the folder.
pub(crate) fn run(order: &Order) -> Result<bool, RunError> {
    let store = Store::create(order)?;
    let report = run_into(&store, order);
    // A folder without a result would only be in the way.
    store.remove_if_empty();
    report
}

fn run_into(store: &Store, order: &Order) -> Result<bool, RunError> {
    // Signals are heard before anything is made that would be left behind.
    let (team, interrupt) = (Team::new()?, Interrupt::watch()?);
    let deployment = deployment(order)?;
    let all = experiments(order, &deployment)?;
    all.jobs.iter().filter_map(plan_of_job).try_for_each(coordinator::check)?;
    eprintln!(
        "{} runs, about {} in all; everything goes to {}",
        all.jobs.len(),
        minutes(all.estimate_s()),
        store.folder().display()
    );
    let mut runner = Runner::new(&all, team, interrupt, deployment);
    let end = runner.all(&all, store);
    let seconds = runner.since.elapsed().as_secs_f64();
    let Runner { done, environment, .. } = runner;
    if done.iter().all(|done| done.outcomes.is_empty()) && end.is_err() {
        return end.map(|()| false);
    }
    let paper = paper(order, store, &all, done, environment, seconds, end.as_ref().err());
    print(&super::html::in_words(&paper))?;
    let written = store.write_all(&paper);
    // Why the runs ended says more than why their report could not be written.
    end?;
    written?;
    print(&format!("\nReport: {}\n", store.folder().join(super::store::PAGE).display()))?;
    Ok(paper.failures.is_empty())
}

/// Whether a signal came, for what is not led through the team.
struct Interrupt {
    came: Arc<AtomicBool>,
    ids: Vec<SigId>,
}

impl Interrupt {
    fn watch() -> Result<Interrupt, RunError> {
        let start = |source| RunError::Start { name: "the coordinator".into(), source };
        let came = Arc::new(AtomicBool::new(false));
        let register = |signal| signal_hook::flag::register(signal, Arc::clone(&came)).map_err(start);
        let ids = [SIGINT, SIGTERM].into_iter().map(register).collect::<Result<_, _>>()?;
        Ok(Interrupt { came, ids })
    }

    /// # Errors
    /// It came.
    fn check(&self) -> Result<(), RunError> {
        if self.came.load(Ordering::Relaxed) { Err(RunError::Interrupted) } else { Ok(()) }
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}

fn plan_of_job(job: &Job) -> Option<&Plan> {
    match &job.work {
        Work::Twincast { plan, .. } => Some(plan),
        _ => None,
    }
}

fn paper(
    order: &Order,
    store: &Store,
    all: &Experiments,
    done: Vec<Done>,
    mut environment: Environment,
    seconds: f64,
    ended_by: Option<&RunError>,
) -> Paper {
    // What a server's connections go by is known when one has run.
    environment.congestion_control =
        done.iter().find_map(|done| done.median_run()?.environment.congestion_control.clone());
    let failed = |done: &Done| done.failure.as_ref().map(|why| format!("{}: {why}", done.job.title()));
    let mut failures: Vec<String> = done.iter().filter_map(failed).collect();
    if let Some(error) = ended_by {
        let why = first_line(&error.to_string());
        failures.push(format!("the runs were ended ({why}); what follows is what there was until then"));
    }
    Paper {
        schema: SCHEMA.into(),
        time: store.time(),
        command: order.command(),
        scale: order.scale,
        link: all.link,
        environment,
        headline: Headline::of(all, &done),
        headline_plot: figures::headline(all, &done),
        figures: figures::figures(all, &done, &order.only),
        runs: done,
        left_out: all.left_out.clone(),
        failures,
        estimate_s: all.estimate_s(),
        seconds,
    }
}

/// What runs leave behind.
struct Runner {
    team: Team,
    interrupt: Interrupt,
    deployment: Deployment,
    checks: Checks,
    link: Link,
    environment: Environment,
    done: Vec<Done>,
    since: Instant,
    /// Seconds expected of what is done.
    expected_s: f64,
}

impl Runner {
    fn new(all: &Experiments, team: Team, interrupt: Interrupt, deployment: Deployment) -> Runner {
        let environment = deployment.environment(&all.link);
        let since = Instant::now();
        let checks = Checks::default();
        let link = all.link;
        Runner {
            team,
            interrupt,
            deployment,
            checks,
            link,
            environment,
            done: Vec::new(),
            since,
            expected_s: 0.0,
        }
    }

    /// Runs every job, and keeps each as it ends; only a signal ends it, or a folder that takes no more.
    fn all(&mut self, all: &Experiments, store: &Store) -> Result<(), RunError> {
        let count = all.jobs.len();
        for (index, job) in all.jobs.iter().enumerate() {
            let mut done =
                Done { job: job.clone(), outcomes: Vec::new(), seconds: 0.0, failure: None, left_out: None };
            if let Some(why) = self.no_time(all, job) {
                eprintln!("[{}/{count}] {}: left out, {why}", index + 1, job.title());
                done.left_out = Some(why);
                self.done.push(done);
                continue;
            }
            let times = if job.repeats > 1 { format!(", {} times", job.repeats) } else { String::new() };
            eprintln!("[{}/{count}] {}{times} (about {})", index + 1, job.title(), minutes(job.estimate_s));
            let start = Instant::now();
            let end = self.interrupt.check().and_then(|()| self.job(all, &mut done));
            done.seconds = start.elapsed().as_secs_f64();
            self.expected_s += job.estimate_s;
            if let Some(why) = &done.failure {
                eprintln!("[{}/{count}] failed: {why}", index + 1);
            }
            let kept = store.keep(&done);
            self.done.push(done);
            end.and(kept)?;
        }
        Ok(())
    }

    /// Why there is no time for a job: what is over of the scale's time is less than it will take, going by what others
    /// took of what was expected of them. What the report opens with is always run.
    fn no_time(&self, all: &Experiments, job: &Job) -> Option<String> {
        let budget = all.scale.budget_s()?;
        let elapsed = self.since.elapsed().as_secs_f64();
        let slowness = if self.expected_s > 0.0 { (elapsed / self.expected_s).clamp(0.5, 10.0) } else { 1.0 };
        let needed = job.estimate_s * slowness;
        (!job.headline && elapsed + needed > budget).then(|| {
            format!(
                "for it takes about {} here and {} of {} are over",
                minutes(needed),
                minutes(elapsed),
                minutes(budget)
            )
        })
    }

    /// Runs all repeats of a job, and notes why it fails.
    fn job(&mut self, all: &Experiments, done: &mut Done) -> Result<(), RunError> {
        let job = done.job.clone();
        for repeat in 0..job.repeats {
            let over = all.scale.budget_s().is_some_and(|budget| self.since.elapsed().as_secs_f64() > budget);
            if repeat > 0 && over {
                done.left_out =
                    Some(format!("after {repeat} of {} repeats there was no time left", job.repeats));
                break;
            }
            let mut progress = Progress::new();
            let outcome = self.one(&job.work, u64::from(repeat), &mut progress);
            let outcome = outcome.and_then(|outcome| self.interrupt.check().map(|()| outcome));
            progress.finish();
            match outcome {
                Ok(outcome) => {
                    if let Outcome::Twincast(result) = &outcome
                        && !result.failures.is_empty()
                    {
                        done.failure = Some(result.failures.join("; "));
                    }
                    done.outcomes.push(outcome);
                }
                Err(RunError::Interrupted) => return Err(RunError::Interrupted),
                Err(RunError::Usage(why)) if is_optional(&job.work) => {
                    done.left_out = Some(why);
                    break;
                }
                Err(error) => {
                    done.failure = Some(first_line(&error.to_string()));
                    self.begin_anew()?;
                    break;
                }
            }
        }
        Ok(())
    }

    fn one(&mut self, work: &Work, repeat: u64, progress: &mut Progress) -> Result<Outcome, RunError> {
        let (team, deployment) = (&mut self.team, &self.deployment);
        match work {
            Work::Twincast { plan, roof, .. } => {
                let plan = Plan { seed: plan.seed + repeat, ..plan.as_ref().clone() };
                let roof = *roof && repeat == 0;
                measure(team, deployment, &plan, roof, (&mut self.checks, progress))
                    .map(|result| Outcome::Twincast(Box::new(result)))
            }
            Work::Rival { rival, setup } => {
                let hosts = deployment.hosts.len() as u32;
                let plan = Plan { group: setup.members, hosts, link: self.link, ..Plan::default() };
                let looks = (&plan, &mut self.checks, progress);
                baseline::measure(team, deployment, *rival, setup, looks)
                    .map(|result| Outcome::Rival(Box::new(result)))
            }
            Work::Mcmix { users, dialling } => {
                progress.spin("computing for three parties");
                run_mcmix(*users, *dialling, repeat + 1).map(Outcome::Mcmix).map_err(RunError::News)
            }
        }
    }

    /// A team of its own for what comes after a failure: nothing of the old one is left.
    fn begin_anew(&mut self) -> Result<(), RunError> {
        self.team.cut();
        self.team = Team::new()?;
        Ok(())
    }
}

/// Lays the links, once for all runs.
fn deployment(order: &Order) -> Result<Deployment, RunError> {
    let words =
        format!("--hosts {} --link {} --mtu {}", order.scale.hosts(), order.link.rate, order.link.mtu);
    plan_of(&words).map(|plan| Deployment::here(&plan)).map_err(RunError::Usage)
}

/// What is run over the links that there are: where the machine gives none, no line of a link may be drawn.
fn experiments(order: &Order, deployment: &Deployment) -> Result<Experiments, RunError> {
    let is_shaped = deployment.medium.rate_bits_per_s(&order.link).is_some();
    let wanted = order.link.rate;
    let missing = matches!(wanted, LinkRate::Rate(_)) && !is_shaped;
    let rate = if missing { LinkRate::Loopback } else { wanted };
    let link = Link { rate, ..order.link };
    let mut all = Experiments::of(order.scale, link, &order.only).map_err(RunError::Usage)?;
    if missing {
        let why = format!("this machine did not let them be: {}", deployment.words);
        all.left_out.insert(0, LeftOut { what: format!("links of {wanted}"), why });
    }
    Ok(all)
}

/// What a machine may well be without.
fn is_optional(work: &Work) -> bool {
    matches!(work, Work::Rival { rival: Baseline::Broker, .. })
}

/// An error without the log that follows it.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.trim_end_matches("; the last lines of its log:").to_owned()
}

/// Seconds as a person reads them.
pub(super) fn minutes(seconds: f64) -> String {
    match seconds {
        ..90.0 => format!("{seconds:.0} s"),
        ..5_400.0 => format!("{:.1} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3_600.0),
    }
}

impl Order {
    /// The command that says the same.
    fn command(&self) -> String {
        let scale = if self.scale == super::Scale::Quick {
            "--quick".into()
        } else {
            format!("--scale {}", self.scale)
        };
        let mut words =
            format!("cargo run --release -- paper {scale} --link {} --mtu {}", self.link.rate, self.link.mtu);
        if self.only.len() < super::FigureName::ALL.len() {
            let names: Vec<String> =
                self.only.iter().map(|name| format!("{name:?}").to_lowercase()).collect();
            words += &format!(" --only {}", names.join(","));
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paper::{FigureName, Scale};

    #[test]
    fn times_read_as_people_say_them() {
        assert_eq!([5.0, 120.0, 7_200.0].map(minutes), ["5 s", "2.0 min", "2.0 h"]);
    }

    #[test]
    fn the_command_says_what_was_asked_for() {
        let link = Link { rate: LinkRate::Rate(1_000_000_000), mtu: 9_000 };
        let order =
            |scale, only: &[FigureName]| Order { scale, link, out: None, only: only.to_vec() }.command();
        let whole = order(Scale::Small, &FigureName::ALL);
        assert_eq!(whole, "cargo run --release -- paper --scale small --link 1gbit --mtu 9000");
        let part = order(Scale::Quick, &[FigureName::Fig2, FigureName::Fig6]);
        assert!(part.contains("paper --quick ") && part.ends_with("--only fig2,fig6"), "{part}");
    }

    #[test]
    fn a_failure_is_told_without_the_log_behind_it() {
        let error = RunError::Child {
            name: "host 0".into(),
            what: "was killed by signal 9".into(),
            log: vec!["x".into()],
        };
        assert_eq!(first_line(&error.to_string()), "host 0 was killed by signal 9");
    }

    #[test]
    fn an_experiment_for_which_there_is_no_time_is_left_out_but_never_the_opening_table() {
        let link = Link { rate: LinkRate::Loopback, mtu: 1_500 };
        let all = Experiments::of(Scale::Small, link, &FigureName::ALL).unwrap();
        let (team, interrupt) = (Team::new().unwrap(), Interrupt::watch().unwrap());
        let mut runner = Runner::new(&all, team, interrupt, Deployment::loopback(5));
        let (first, last) = (all.jobs.first().unwrap(), all.jobs.last().unwrap());
        assert_eq!((runner.no_time(&all, first), runner.no_time(&all, last)), (None, None));
        // Whatever was expected to take next to nothing has taken the whole time.
        runner.since = Instant::now().checked_sub(std::time::Duration::from_secs(599)).unwrap();
        runner.expected_s = 60.0;
        assert_eq!(runner.no_time(&all, first), None);
        assert!(runner.no_time(&all, last).is_some_and(|why| why.contains("10.0 min are over")));
    }

    #[test]
    fn a_signal_ends_runs_that_no_child_has_a_part_in() {
        let link = Link { rate: LinkRate::Loopback, mtu: 1_500 };
        let mut all = Experiments::of(Scale::Quick, link, &[FigureName::Fig4]).unwrap();
        all.jobs.retain(|job| matches!(job.work, Work::Mcmix { .. }));
        let folder = tempfile::tempdir().unwrap();
        let out = Some(folder.path().join("report"));
        let order = Order { scale: Scale::Quick, link, out, only: vec![FigureName::Fig4] };
        let store = Store::create(&order).unwrap();
        let (team, interrupt) = (Team::new().unwrap(), Interrupt::watch().unwrap());
        interrupt.came.store(true, Ordering::Relaxed);
        let mut runner = Runner::new(&all, team, interrupt, Deployment::loopback(2));
        assert!(matches!(runner.all(&all, &store), Err(RunError::Interrupted)));
        assert!(runner.done.iter().all(|done| done.outcomes.is_empty()));
        store.remove_if_empty();
        assert!(!store.folder().exists(), "nothing was measured, and nothing is left");
    }
}
