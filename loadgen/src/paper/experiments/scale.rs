//! How much is run, in numbers.

use super::PROJECTED;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::fmt;

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

/// The numbers that make a scale.
pub(super) struct Sizes {
    pub(super) groups: &'static [u32],
    pub(super) main: u32,
    pub(super) mcmix_users: &'static [u32],
    pub(super) population: u64,
    pub(super) population_groups: &'static [u32],
    pub(super) hosts: u32,
    pub(super) rounds: u32,
    pub(super) repeats: u32,
    /// Seconds of one repeat at the most; of Figure 3's, which have no repeats, three times as much.
    pub(super) repeat_s_max: f64,
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

    /// Client hosts.
    #[must_use]
    pub fn hosts(self) -> u32 {
        self.sizes().hosts
    }

    pub(super) fn sizes(self) -> Sizes {
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
                repeat_s_max: 15.0,
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
