//! `twincast-loadgen price`: what it costs to guard a run.

use super::plan::PlanArgs;
use super::values::within;
use crate::limits::REPEATS_MAX;
use crate::plan::{ChannelName, Plan};
use crate::price::Asked;
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  twincast-loadgen price --group 500 --link loopback
      plain, private and accountable in turns, three runs of each
  twincast-loadgen price --only channel --verify count --repeats 7
      private channels beside plain ones, little held up by the clients' work
  twincast-loadgen price --group 130 --rounds 16 --only accountable
      sixteen rounds: every member asks for headers once

Beside the accountable runs, measured rounds are rounded up to a whole number of --header-rounds, so that every member has
as many turns as any other. The egress of an accountable group is to be at most 1.02 times another's: what signatures and
headers add is shared by more shares the larger the group is, and with headers every 16 rounds some 500 members have so many.
Private channels are to take at most 2 times the server CPU of a byte, and 2 times the round, of plain ones.

Exit status: 0 every run passed its own checks, as those of local are; a bound that is missed is told in the last line and is
no failure, for it hangs on the machine and on the group's size; 1 a run failed a check, or could not go on; 2 wrong usage, or
this machine's limits are too low; 130 stopped by a signal.";

/// The flags of `price`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PriceArgs {
    /// What is run.
    #[command(flatten)]
    plan: PlanArgs,

    /// Runs of each, in turns; figures and their ratios are told with their spread
    #[arg(long, value_name = "K", default_value = "3", value_parser = within(1, REPEATS_MAX))]
    repeats: u32,

    /// Only one of the two prices: of private channels beside plain ones, or of accountable groups beside others
    #[arg(long, value_name = "WHAT")]
    only: Option<Only>,

    /// Also write the figures to this file, schema twincast-price/1 (loadgen/RESULTS.md); no folder of results is made
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// One of the two prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Only {
    /// Private channels and registered users beside plain channels and whoever comes
    Channel,
    /// Accountable groups beside others, over private channels
    Accountable,
}

impl PriceArgs {
    /// What is played.
    ///
    /// # Errors
    /// A sentence: two flags do not go together, or a flag sets what `price` changes from run to run.
    pub(crate) fn asked(&self) -> Result<Asked, String> {
        self.plan.refuse_for_price()?;
        let guards = [
            ("plain", ChannelName::Plain, false, self.only != Some(Only::Accountable)),
            ("noise", ChannelName::Noise, false, true),
            ("accountable", ChannelName::Noise, true, self.only != Some(Only::Channel)),
        ];
        let plans = guards.into_iter().filter(|(.., wanted)| *wanted);
        let plans = plans.map(|(name, channel, accountable, _)| {
            let plan = self.plan.guarded(channel, accountable);
            let remedy = if accountable { "; or give --only channel" } else { "" };
            Ok((name.to_owned(), plan.map_err(|sentence| format!("{sentence}{remedy}"))?))
        });
        let mut plans: Vec<(String, Plan)> = plans.collect::<Result<_, String>>()?;
        // A part of a period has the turns of some members, and its egress is no average.
        let period = plans.iter().map(|(_, plan)| plan.header_rounds).max().unwrap_or(0).max(1);
        for (_, plan) in &mut plans {
            plan.rounds = plan.rounds.next_multiple_of(period);
        }
        Ok(Asked { plans, repeats: self.repeats })
    }

    /// Where the figures go besides the table.
    pub(crate) fn json(&self) -> Option<&Path> {
        self.json.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::{Cli, Command};
    use crate::plan::{ChannelName, IdentitiesName};
    use crate::price::Asked;
    use clap::Parser as _;

    fn price(line: &str) -> Result<Asked, String> {
        let words = ["twincast-loadgen", "price"].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(words).map_err(|error| error.to_string())?.command {
            Command::Price(args) => args.asked(),
            _ => unreachable!("the line says price"),
        }
    }

    #[test]
    fn the_plans_differ_in_their_guards_alone() {
        let asked = price("--group 130 --hosts 3 --rounds 8").unwrap();
        let [(_, plain), (_, noise), (last, accountable)] = asked.plans.as_slice() else {
            panic!("{asked:?}")
        };
        assert_eq!((asked.repeats, last.as_str()), (3, "accountable"));
        assert_eq!((plain.channel, plain.identities), (ChannelName::Plain, IdentitiesName::Open));
        assert_eq!((noise.channel, noise.identities), (ChannelName::Noise, IdentitiesName::Registered));
        assert!(accountable.accountable && !noise.accountable);
        let mut same = accountable.clone();
        (same.accountable, same.header_rounds, same.box_mib) = (false, 0, 0);
        assert_eq!(&same, noise);
        (same.channel, same.identities) = (plain.channel, plain.identities);
        assert_eq!(&same, plain);
        let rounds = |line: &str| -> Vec<u32> {
            price(line).unwrap().plans.iter().map(|(_, plan)| plan.rounds).collect()
        };
        assert_eq!(rounds("--rounds 5 --only accountable"), [16, 16], "whole periods of headers");
        assert_eq!(rounds("--rounds 5 --header-rounds 2"), [6, 6, 6]);
        assert_eq!(rounds("--rounds 5 --only channel"), [5, 5]);
        let names = |line: &str| price(line).unwrap().plans.into_iter().map(|(name, _)| name);
        assert!(names("--only channel").eq(["plain", "noise"]));
        assert!(names("--only accountable").eq(["noise", "accountable"]));
    }

    #[test]
    fn what_it_changes_itself_is_refused() {
        for (line, said) in [
            ("--channel plain", "--channel"),
            ("--identities open", "--identities"),
            ("--accountable", "--accountable"),
            ("--fault flip@1", "--fault"),
            ("--no-confirm", "or give --only channel"),
        ] {
            let error = price(line).unwrap_err();
            assert!(error.contains(said), "{line}: {error}");
        }
        price("--no-confirm --only channel").unwrap();
    }
}
