//! What is run, at each scale: pure data, with an estimate of the time that each thing takes.
//!
//! The estimates are rules of thumb for a machine with two cores, and the time that the links need by the cost model.
//! They decide only what is left out or played in part, never a figure.

mod estimate;

use super::model::link_dial_seconds;
use crate::baseline::{Baseline, Setup};
use crate::cli::plan_of;
use crate::limits::GROUPS_MAX;
use crate::net::Link;
use crate::plan::{Plan, ProfileName};
use crate::units::thousands;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes of a share of the paper-faithful baseline and of a message of the broker: Twincast's own, so that what differs
/// is only how shares are sent. The paper's own strings are more than twice as long.
pub const RIVAL_SHARE_BYTES: u32 = 336;
/// Users of the fixed population that small scale is extrapolated to.
pub const PROJECTED: u64 = 1_000_000;
/// Measured rounds of a rival.
pub const RIVAL_ROUNDS: u32 = 2;
/// Bytes of every message, the paper's.
pub const MESSAGE_BYTES: usize = 256;
/// Above this many members only a part of a rival's senders may send, and the rest is worked out.
pub const SAMPLED_ABOVE: u32 = 1_000;

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Tiny groups, seconds in all: whether everything works, not how fast it is.
    #[value(skip)]
    Quick,
    /// What fits two cores in ten minutes.
    Small,
    /// A million users: hours on a large machine.
    Full,
}

/// A figure of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the paper's numbers")]
pub enum FigureName {
    Fig2,
    Fig3,
    Fig4,
    Fig5,
    Fig6,
}

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

/// What was left out from the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// What.
    pub what: String,
    /// Why, in a sentence.
    pub why: String,
}

/// Everything of one scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Experiments {
    /// How much.
    pub scale: Scale,
    /// The link of every server and host.
    pub link: Link,
    /// Members of the group of the table that the report opens with.
    pub main: u32,
    /// Users of Figure 3's fixed population.
    pub population: u64,
    /// Sizes of its groups.
    pub population_groups: Vec<u32>,
    /// Sizes of single groups.
    pub groups: Vec<u32>,
    /// What is run, in this order.
    pub jobs: Vec<Job>,
    /// What is not.
    pub left_out: Vec<LeftOut>,
}

/// The numbers that make a scale.
struct Sizes {
    groups: &'static [u32],
    main: u32,
    mcmix_users: &'static [u32],
    population: u64,
    population_groups: &'static [u32],
    hosts: u32,
    rounds: u32,
    repeats: u32,
    /// Seconds of one repeat at the most; of Figure 3's, which have no repeats, three times as much.
    repeat_s_max: f64,
}

impl Scale {
    /// Seconds that the whole may take; none: as long as it takes.
    #[must_use]
    pub fn budget_s(self) -> Option<f64> {
        match self {
            Scale::Quick => Some(120.0),
            Scale::Small => Some(600.0),
            Scale::Full => None,
        }
    }

    fn sizes(self) -> Sizes {
        let groups: &[u32] = &[100, 200, 500, 1_000, 2_000, 5_000, 10_000];
        let population_groups: &[u32] = &[500, 1_000, 2_000, 5_000, 10_000];
        let common = Sizes {
            groups: &[10, 40],
            main: 40,
            mcmix_users: &[10, 40],
            population: 80,
            population_groups: &[10, 40, 80],
            hosts: 2,
            rounds: 2,
            repeats: 1,
            repeat_s_max: 2.0,
        };
        match self {
            Scale::Quick => common,
            Scale::Small => Sizes {
                groups: &groups[..6],
                main: 1_000,
                mcmix_users: groups,
                population: 10_000,
                population_groups,
                hosts: 5,
                rounds: 5,
                repeats: 3,
                repeat_s_max: 10.0,
            },
            Scale::Full => Sizes {
                groups,
                main: 1_000,
                mcmix_users: &[100, 200, 500, 1_000, 2_000, 5_000, 10_000, 100_000],
                population: PROJECTED,
                population_groups,
                hosts: 5,
                rounds: 9,
                repeats: 5,
                repeat_s_max: 3_600.0,
            },
        }
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scale::Quick => "quick",
            Scale::Small => "small",
            Scale::Full => "full",
        })
    }
}

impl FigureName {
    /// All.
    pub const ALL: [FigureName; 5] =
        [FigureName::Fig2, FigureName::Fig3, FigureName::Fig4, FigureName::Fig5, FigureName::Fig6];
}

impl Experiments {
    /// What a scale runs over a link; `only` these figures, the opening table always.
    ///
    /// # Errors
    /// A sentence: a plan cannot be, which is a bug, or the link's doing.
    pub fn of(scale: Scale, link: Link, only: &[FigureName]) -> Result<Experiments, String> {
        let sizes = scale.sizes();
        let mut all = Experiments {
            scale,
            link,
            main: sizes.main,
            population: sizes.population,
            population_groups: sizes.population_groups.to_vec(),
            groups: sizes.groups.to_vec(),
            jobs: Vec::new(),
            left_out: Vec::new(),
        };
        // What the report opens with comes first, then what little time shows most of.
        let mut groups = sizes.groups.to_vec();
        groups.sort_by_key(|group| (*group != sizes.main, *group));
        for profile in [ProfileName::Compact, ProfileName::PaperXor] {
            for group in &groups {
                all.twincast(&sizes, profile, *group, Variant::Plain)?;
            }
        }
        for rival in Baseline::ALL {
            for group in groups.iter().filter(|group| !is_only_main(rival) || **group == sizes.main) {
                all.rival(&sizes, rival, *group);
            }
        }
        for users in sizes.mcmix_users {
            all.mcmix(*users);
        }
        for profile in [ProfileName::Compact, ProfileName::PaperXor] {
            for group in &groups {
                all.twincast(&sizes, profile, *group, Variant::Quarter)?;
            }
        }
        for profile in [ProfileName::Compact, ProfileName::PaperXor] {
            for group in sizes.population_groups {
                let groups = (sizes.population / u64::from(*group)).max(1);
                all.twincast(&sizes, profile, *group, Variant::Population { groups })?;
            }
        }
        all.jobs.sort_by_key(|job| !job.headline);
        all.jobs.retain(|job| job.headline || job.figures.iter().any(|figure| only.contains(figure)));
        Ok(all)
    }

    /// Seconds that all of it is expected to take.
    #[must_use]
    pub fn estimate_s(&self) -> f64 {
        self.jobs.iter().map(|job| job.estimate_s).sum()
    }

    fn twincast(
        &mut self,
        sizes: &Sizes,
        profile: ProfileName,
        group: u32,
        variant: Variant,
    ) -> Result<(), String> {
        let plan_for = |groups: u64, rounds: u32| {
            let words = self.words(sizes, profile, group, variant, groups, rounds);
            plan_of(&words).map(|plan| (words, plan))
        };
        let one = plan_for(1, 1)?.1;
        let (round_s, dial_s) = (estimate::round_s(&one), estimate::dial_s(&one));
        let is_population = matches!(variant, Variant::Population { .. });
        let most_s = if is_population { 3.0 * sizes.repeat_s_max } else { sizes.repeat_s_max };
        if estimate::START_S + dial_s + round_s > most_s + estimate::START_S {
            let what = format!("{profile}, {}, n = {}", variant.words(), thousands(group.into()));
            let why = format!(
                "a round would take about {:.0} s here, and dialling {dial_s:.0} s; points there are extrapolated",
                round_s
            );
            self.left_out.push(LeftOut { what, why });
            return Ok(());
        }
        let groups = match variant {
            Variant::Population { groups } => {
                groups.min((most_s / (dial_s + round_s)) as u64).clamp(1, u64::from(GROUPS_MAX).min(1_000))
            }
            _ => 1,
        };
        let rounds = match variant {
            Variant::Population { .. } => 1,
            Variant::Quarter => ((most_s / 2.0 / round_s) as u32).clamp(1, sizes.rounds.min(2)),
            Variant::Plain => ((most_s / 2.0 / round_s) as u32).clamp(1, sizes.rounds),
        };
        let (words, plan) = plan_for(groups, rounds)?;
        let headline = variant == Variant::Plain && group == sizes.main;
        let one_s = estimate::run_s(&plan);
        let repeats = match variant {
            Variant::Plain => ((2.0 * most_s / one_s) as u32).clamp(1, sizes.repeats),
            _ => 1,
        };
        let figures = match variant {
            // Lines through measured points say what is not run, in Figure 3 too.
            Variant::Plain => FigureName::ALL.to_vec(),
            Variant::Quarter => vec![FigureName::Fig2],
            Variant::Population { .. } => vec![FigureName::Fig3],
        };
        let roof = headline && profile == ProfileName::Compact && self.scale != Scale::Quick;
        let roof_s = if roof { estimate::roof_s(&plan) } else { 0.0 };
        let estimate_s = one_s * f64::from(repeats) + roof_s;
        let work = Work::Twincast { variant, words, plan: Box::new(plan), roof };
        self.jobs.push(Job { work, repeats, figures, headline, estimate_s });
        Ok(())
    }

    fn words(
        &self,
        sizes: &Sizes,
        profile: ProfileName,
        group: u32,
        variant: Variant,
        groups: u64,
        rounds: u32,
    ) -> String {
        let warmup = u32::from(rounds > 1);
        let is_paper = profile.is_paper();
        let peers = if variant == Variant::Quarter { "subgroup:25%" } else { "self" };
        // The paper's dial has no confirmation; Twincast's has, unless it is told otherwise.
        let paper = if is_paper { " --insecure-baseline --no-confirm" } else { "" };
        format!(
            "--group {group} --groups {groups} --hosts {} --rounds {rounds} --warmup {warmup} --peers {peers} --profile \
             {profile}{paper} --link {} --mtu {}",
            sizes.hosts, self.link.rate, self.link.mtu
        )
    }

    fn rival(&mut self, sizes: &Sizes, rival: Baseline, group: u32) {
        let hosts = sizes.hosts;
        let senders = if group <= SAMPLED_ABOVE {
            group
        } else {
            // As many deliveries as in the largest group that is played whole.
            (SAMPLED_ABOVE * SAMPLED_ABOVE / group).clamp(hosts, group)
        };
        let setup = Setup { members: group, senders, share_bytes: RIVAL_SHARE_BYTES, rounds: RIVAL_ROUNDS };
        let estimate_s = estimate::rival_s(rival, &setup, &self.link);
        let headline = group == sizes.main;
        if estimate_s > 4.0 * sizes.repeat_s_max && !headline {
            let what = format!("{rival}, n = {}", thousands(group.into()));
            let why = format!("it would take about {estimate_s:.0} s here");
            self.left_out.push(LeftOut { what, why });
            return;
        }
        let figures = match rival {
            Baseline::Faithful { .. } => FigureName::ALL.to_vec(),
            Baseline::Pki | Baseline::Broker => vec![],
        };
        self.jobs.push(Job { work: Work::Rival { rival, setup }, repeats: 1, figures, headline, estimate_s });
    }

    fn mcmix(&mut self, users: u32) {
        for (dialling, figures) in
            [(false, vec![FigureName::Fig4, FigureName::Fig6]), (true, vec![FigureName::Fig5])]
        {
            let estimate_s = estimate::mcmix_s(users);
            let work = Work::Mcmix { users, dialling };
            self.jobs.push(Job { work, repeats: 1, figures, headline: false, estimate_s });
        }
    }
}

/// Whether fewer than all members send.
#[must_use]
pub fn is_sampled(setup: &Setup) -> bool {
    setup.senders < setup.members
}

/// Whether it is compared at one size only.
fn is_only_main(rival: Baseline) -> bool {
    matches!(rival, Baseline::Pki | Baseline::Broker)
}

impl Variant {
    fn words(self) -> &'static str {
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

/// Seconds in which the links carry a dial of a plan at the least.
#[must_use]
pub fn link_dial_floor(plan: &Plan) -> f64 {
    link_dial_seconds(plan).unwrap_or(0.0)
}

#[cfg(test)]
mod tests;
