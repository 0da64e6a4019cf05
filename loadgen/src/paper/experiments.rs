//! What is run, at each scale: pure data, with an estimate of the time that each thing takes.
//!
//! The estimates are rules of thumb for a machine with two cores, and the time that the links need by the cost model.
//! They decide only what is left out or played in part, never a figure.

mod estimate;
mod job;
mod scale;

pub use job::{Job, Variant, Work, is_sampled};
pub use scale::Scale;

use scale::Sizes;

use super::model::link_dial_seconds;
use crate::baseline::{Baseline, Setup};
use crate::cli::plan_of;
use crate::limits::GROUPS_MAX;
use crate::net::Link;
use crate::plan::{Plan, ProfileName};
use crate::units::thousands;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Bytes of a share of the paper-faithful baseline and of a message of the broker: Twincast's own, so that what differs
/// is only how shares are sent. The paper's own strings are more than twice as long.
pub const RIVAL_SHARE_BYTES: u32 = 336;
/// Users of the fixed population that small scale is extrapolated to.
pub const PROJECTED: u64 = 1_000_000;
/// Measured rounds of a rival.
pub const RIVAL_ROUNDS: u32 = 3;
/// Bytes of every message, the paper's.
pub const MESSAGE_BYTES: usize = 256;
/// Above this many members only a part of a rival's senders may send, and the rest is worked out.
pub const SAMPLED_ABOVE: u32 = 1_000;

/// What every run of Twincast has besides: its figures stand beside those of programs whose channels are plain.
const PLAIN: &str = "--channel plain";
/// Groups that are played side by side at the most.
const GROUPS_PLAYED_MAX: u64 = if GROUPS_MAX < 1_000 { GROUPS_MAX as u64 } else { 1_000 };
/// The part of a scale's time that experiments may be expected to take.
const BUDGET_PART: f64 = 0.9;

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
        all.keep_to_the_budget();
        Ok(all)
    }

    /// Seconds that all of it is expected to take.
    #[must_use]
    pub fn estimate_s(&self) -> f64 {
        self.jobs.iter().map(|job| job.estimate_s).sum()
    }

    /// Leaves out what comes when most of the time is spent.
    fn keep_to_the_budget(&mut self) {
        let Some(budget) = self.scale.budget_s() else { return };
        let mut spent = 0.0;
        let (kept, left): (Vec<Job>, Vec<Job>) = self.jobs.drain(..).partition(|job| {
            let fits = job.headline || spent + job.estimate_s <= BUDGET_PART * budget;
            spent += if fits { job.estimate_s } else { 0.0 };
            fits
        });
        self.jobs = kept;
        self.left_out.extend(left.iter().map(|job| LeftOut {
            what: job.title(),
            why: format!("it would take about {:.0} s, and all of it {budget:.0}", job.estimate_s),
        }));
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
        let headline = variant == Variant::Plain && group == sizes.main;
        if dial_s + round_s > most_s && !headline {
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
                // Twice a round: the first warms up.
                groups.min((most_s / (dial_s + 2.0 * round_s)) as u64).clamp(1, GROUPS_PLAYED_MAX)
            }
            _ => 1,
        };
        let rounds = match variant {
            Variant::Population { .. } => 1,
            Variant::Quarter => ((most_s / 2.0 / round_s) as u32).clamp(1, sizes.rounds.min(2)),
            Variant::Plain => ((most_s / 2.0 / round_s) as u32).clamp(1, sizes.rounds),
        };
        let (words, plan) = plan_for(groups, rounds)?;
        if let Variant::Population { groups: wanted } = variant
            && groups < wanted
        {
            let (what, played) = (thousands(wanted), thousands(groups));
            self.left_out.push(LeftOut {
                what: format!(
                    "{profile}, {} of {what} groups, n = {}",
                    variant.words(),
                    thousands(group.into())
                ),
                why: format!("{played} of them are played, and the whole is {what}/{played} times as much"),
            });
        }
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
        let is_paper = profile.is_paper();
        let peers = if variant == Variant::Quarter { "subgroup:25%" } else { "self" };
        // The paper's dial has no confirmation; Twincast's has, unless it is told otherwise.
        let paper = if is_paper { " --insecure-baseline --no-confirm" } else { "" };
        format!(
            "--group {group} --groups {groups} --hosts {} --rounds {rounds} --warmup 1 --peers {peers} --profile \
             {profile}{paper} {PLAIN} --link {} --mtu {}",
            sizes.hosts, self.link.rate, self.link.mtu
        )
    }

    fn rival(&mut self, sizes: &Sizes, rival: Baseline, group: u32) {
        let hosts = sizes.hosts;
        let senders = if group <= SAMPLED_ABOVE {
            group
        } else {
            // Half as many deliveries as in the largest group that is played whole.
            (SAMPLED_ABOVE * SAMPLED_ABOVE / 2 / group).clamp(hosts, group)
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

/// Whether it is compared at one size only.
fn is_only_main(rival: Baseline) -> bool {
    matches!(rival, Baseline::Pki | Baseline::Broker)
}

/// Seconds in which the links carry a dial of a plan at the least.
#[must_use]
pub fn link_dial_floor(plan: &Plan) -> f64 {
    link_dial_seconds(plan).unwrap_or(0.0)
}

#[cfg(test)]
mod tests;
