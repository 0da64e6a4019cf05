//! Runs that a program looks at, one after another, at the same places: what the search for settings is made of.
//!
//! The program that makes them starts itself again for each server and host: its `main` calls [`crate::cli::role`] first.
//! Nothing is printed and nothing is drawn.
//!
//! ```no_run
//! use twincast_loadgen::plan::Plan;
//! use twincast_loadgen::trials::{Trials, TrialsFile};
//!
//! let file = TrialsFile::read("sweep.toml".as_ref()).unwrap();
//! let mut trials = Trials::start(&file).unwrap();
//! let as_planned = trials.run(&file.plan).unwrap();
//! let twice_as_many = Plan { rounds: 2 * file.plan.rounds, ..file.plan.clone() };
//! println!("{:?}, {:?}", as_planned.rounds, trials.run(&twice_as_many).unwrap().rounds);
//! ```

use crate::coordinator::place::Deployment;
use crate::coordinator::team::Team;
use crate::coordinator::{Checks, Progress, RunError, check, measure_whole};
use crate::net::Link;
use crate::plan::Plan;
use crate::plan_file;
use crate::result::RunResult;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// What a plan file says of trials: where they run, and the plan that they begin with.
#[derive(Clone, Debug)]
pub struct TrialsFile {
    /// What the file's `[run]` says; one group size.
    pub plan: Plan,
    /// A word for it.
    pub name: String,
    /// The file's table `[tune]`, which this crate does not look into; none: there is none.
    pub tune: Option<toml::Table>,
    pub(crate) places: TrialPlaces,
}

/// Where trials run.
#[derive(Clone, Debug)]
pub(crate) enum TrialPlaces {
    /// On this machine, with the plan's links, if it lets them be; servers have the ports of these, if there are any.
    Here(Option<Arc<Deployment>>),
    /// At these.
    At(Arc<Deployment>),
}

/// One run that came to its result.
#[derive(Clone, Debug)]
pub struct Trial {
    /// All its figures.
    pub result: RunResult,
    /// Round by round, the seconds of the slowest host.
    pub rounds: Vec<f64>,
}

/// Makes runs. Ctrl-C ends the one that goes on, and everything that it had started; one that comes between two runs ends
/// the next.
pub struct Trials {
    places: TrialPlaces,
    team: Team,
    progress: Progress,
    checks: Checks,
    /// The links that were laid last here, of which the next run makes use if it has the same.
    laid: Option<(Link, u32, Deployment)>,
}

impl TrialsFile {
    /// Reads a file. Without `[[servers]]` and `[[hosts]]` all is on this machine, as in `local`. `repeats` and `find_rate`
    /// are for `run`, which takes the same file.
    ///
    /// # Errors
    /// A sentence with the file, the line and the key.
    pub fn read(path: &Path) -> Result<TrialsFile, String> {
        plan_file::read_for_trials(path)
    }

    /// Whether all of it runs on this machine.
    #[must_use]
    pub fn is_here(&self) -> bool {
        matches!(self.places, TrialPlaces::Here(_))
    }
}

impl Trials {
    /// At the places of a file. From here on until it is dropped Ctrl-C is a trial's.
    ///
    /// # Errors
    /// The machine got in the way.
    pub fn start(file: &TrialsFile) -> Result<Trials, RunError> {
        Ok(Trials {
            places: file.places.clone(),
            team: Team::new()?,
            progress: Progress::quiet(),
            checks: Checks::default(),
            laid: None,
        })
    }

    /// One run, without a roof. After an error the next one is of a new team.
    ///
    /// # Errors
    /// The run did not come to a result; nothing that it started is left. [`RunError::Usage`]: the plan cannot be run at
    /// these places, or this machine's limits are too low; nothing was started.
    pub fn run(&mut self, plan: &Plan) -> Result<Trial, RunError> {
        let end = self.play(plan);
        if end.is_err() {
            // Links that somebody removed may be why, and are laid anew.
            self.laid = None;
            self.team.cut();
            self.team = Team::new()?;
        }
        end
    }

    fn play(&mut self, plan: &Plan) -> Result<Trial, RunError> {
        if plan.fault.is_some() {
            return Err(RunError::Usage("a trial has no fault: leave it out of the plan".into()));
        }
        let deployment = match &self.places {
            TrialPlaces::At(deployment) => deployment.as_ref(),
            TrialPlaces::Here(named) => {
                check(plan)?;
                if self
                    .laid
                    .as_ref()
                    .is_some_and(|(link, hosts, _)| (*link, *hosts) != (plan.link, plan.hosts))
                {
                    self.laid = None;
                }
                let lay = || match named {
                    Some(named) => named.laid_for(plan),
                    None => Deployment::here(plan),
                };
                &self.laid.get_or_insert_with(|| (plan.link, plan.hosts, lay())).2
            }
        };
        if deployment.hosts.len() != plan.hosts as usize {
            return Err(RunError::Usage(format!(
                "the plan has {} hosts, and there are places for {}",
                plan.hosts,
                deployment.hosts.len()
            )));
        }
        let looks = (&mut self.checks, &mut self.progress);
        let measured = measure_whole(&mut self.team, deployment, plan, false, looks)?;
        Ok(Trial { result: measured.result, rounds: measured.rounds })
    }
}

impl fmt::Debug for Trials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trials").field("places", &self.places).finish_non_exhaustive()
    }
}
