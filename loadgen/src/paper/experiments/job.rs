//! One thing to run.

use super::FigureName;
use crate::baseline::{Baseline, Setup};
use crate::plan::Plan;
use crate::units::thousands;
use serde::{Deserialize, Serialize};

/// What a run of Twincast is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// Everybody writes to one: the paper's set-up.
    Plain,
    /// Everybody writes to a quarter of the group.
    Quarter,
    /// A part of a population in groups of one size, or all of it.
    Population {
        /// Groups of the whole population.
        groups: u64,
    },
}

/// One thing to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Twincast itself.
    Twincast {
        /// What for.
        variant: Variant,
        /// The same by hand: the flags of `local`.
        words: String,
        /// What the words say.
        plan: Box<Plan>,
        /// Whether the roof is measured with it.
        roof: bool,
    },
    /// A baseline over sockets.
    Rival {
        /// Which.
        rival: Baseline,
        /// How large.
        setup: Setup,
    },
    /// MCMix in one process.
    Mcmix {
        /// Users.
        users: u32,
        /// Dialling, or else conversation.
        dialling: bool,
    },
}

/// Something to run, how often, and for which figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// What.
    pub work: Work,
    /// How often.
    pub repeats: u32,
    /// For these.
    pub figures: Vec<FigureName>,
    /// Whether the table that the report opens with needs it.
    pub headline: bool,
    /// Seconds that all repeats are expected to take.
    pub estimate_s: f64,
}

/// Whether fewer than all members send.
#[must_use]
pub fn is_sampled(setup: &Setup) -> bool {
    setup.senders < setup.members
}

impl Variant {
    pub(super) fn words(self) -> &'static str {
        match self {
            Variant::Plain => "one recipient",
            Variant::Quarter => "to a quarter",
            Variant::Population { .. } => "fixed population",
        }
    }
}

impl Job {
    /// What it is, for a person.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.work {
            Work::Twincast { variant, plan, .. } => {
                let groups = match plan.groups {
                    1 => String::new(),
                    groups => format!("{groups} groups, "),
                };
                format!("{}, {}, {groups}n = {}", plan.profile, variant.words(), thousands(plan.group.into()))
            }
            Work::Rival { rival, setup } if is_sampled(setup) => {
                let members = thousands(setup.members.into());
                format!("{rival}, n = {members}, {} of them sending", thousands(setup.senders.into()))
            }
            Work::Rival { rival, setup } => format!("{rival}, n = {}", thousands(setup.members.into())),
            Work::Mcmix { users, dialling } => {
                let what = if *dialling { "dialling" } else { "conversation" };
                format!("MCMix {what}, {} users", thousands((*users).into()))
            }
        }
    }
}
