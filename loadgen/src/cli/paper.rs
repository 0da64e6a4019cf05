//! `twincast-loadgen paper`: the paper's experiments.

use super::plan::PlanArgs;
use super::values::{link, within};
use crate::net::{LINK_DEFAULT, Link, LinkRate, MTU_MAX, MTU_MIN};
use crate::paper::{FigureName, Order, Scale};
use crate::plan::Plan;
use clap::{Args, Parser};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  twincast-loadgen paper --scale small
      every figure, as far as two cores come in ten minutes
  twincast-loadgen paper --scale small --link 1gbit --only fig2,fig4
      two figures over slower links
  twincast-loadgen paper --quick --out /tmp/paper
      groups of 10 and 40: whether everything works, in seconds
  twincast-loadgen paper --scale full
      a million users: hours, on a large machine

Channels are plain in all of it, Twincast's too, as those of what it is compared with: nothing between users and servers is
encrypted. price tells what private channels and accountable groups cost.";

/// The flags of `paper`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PaperArgs {
    /// How much is run: small is what fits two cores in ten minutes, and what lies beyond is extrapolated and drawn
    /// dashed; full is a million users
    #[arg(long, value_enum, value_name = "SCALE", default_value = "small")]
    scale: Scale,

    /// Groups of 10 and 40 in place of a scale's: whether everything works, not how fast it is
    #[arg(long, conflicts_with = "scale")]
    quick: bool,

    /// The link of each server and host: a rate such as 1gbit or 10gbit, off, or loopback
    #[arg(long, value_name = "RATE", value_parser = link)]
    link: Option<LinkRate>,

    /// Largest packet of those links
    #[arg(long, value_name = "BYTES", default_value = "1500", value_parser = within(MTU_MIN, MTU_MAX))]
    mtu: u32,

    /// The folder that everything is written to; it is made, and must not be there yet, or be empty
    /// [default: results/TIME-paper-SCALE]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Only these figures, and the table that the report opens with [default: all]
    #[arg(long, value_enum, value_name = "FIGURES", value_delimiter = ',')]
    only: Vec<FigureName>,
}

impl PaperArgs {
    /// What is asked for.
    pub fn order(&self) -> Order {
        Order {
            scale: if self.quick { Scale::Quick } else { self.scale },
            link: Link { rate: self.link.unwrap_or(LINK_DEFAULT), mtu: self.mtu },
            out: self.out.clone(),
            only: if self.only.is_empty() { FigureName::ALL.to_vec() } else { self.only.clone() },
        }
    }
}

/// Flags of `local` by themselves.
#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
struct Words {
    #[command(flatten)]
    plan: PlanArgs,
}

/// The plan that `local` makes of these flags.
///
/// # Errors
/// What `local` would say.
pub(crate) fn plan_of(words: &str) -> Result<Plan, String> {
    Words::try_parse_from(words.split_whitespace()).map_err(|error| error.to_string())?.plan.plan()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_make_the_plan_that_local_makes() {
        let plan = plan_of("--group 500 --link 1gbit --peers self").unwrap();
        assert_eq!((plan.group, plan.hosts, plan.link.rate), (500, 5, LinkRate::Rate(1_000_000_000)));
        assert!(plan_of("--group 1").unwrap_err().contains("from 2"));
    }

    #[test]
    fn help_says_that_channels_are_plain() {
        let help = <crate::cli::Cli as clap::CommandFactory>::command();
        for name in ["paper", "baselines"] {
            let mut command = help.find_subcommand(name).expect("it is there").clone();
            assert!(command.render_help().to_string().contains("Channels are plain"), "{name}");
        }
    }
}
