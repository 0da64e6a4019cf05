//! `twincast-loadgen baselines`: Twincast beside what it is compared with.

use super::plan::PlanArgs;
use super::values::{link, within};
use crate::baseline::comparison::Asked;
use crate::baseline::{Baseline, Setup};
use crate::limits::{GROUP_MIN, HOSTS_MAX, REPEATS_MAX, ROUNDS_MAX};
use crate::net::LinkRate;
use crate::plan::Plan;
use clap::{Args, Parser, ValueEnum};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  twincast-loadgen baselines
      a group of 1,000 on links of 10 Gb/s: Twincast, plain sends, the paper's set-up with Nagle's
      algorithm off and on, the PKI broadcast, nats-server where it is installed, and MCMix
  twincast-loadgen baselines --link 1gbit
      the same where the link is the limit
  twincast-loadgen baselines --group 10000 --senders 20 --rounds 1 --repeats 1
      a large group, of which the baselines play 20 senders
  twincast-loadgen baselines --share-bytes 771
      the paper's set-up with shares as long as its own arithmetic makes them
  twincast-loadgen baselines --only nagle-off,nagle-on
      the paper's set-up alone
  twincast-loadgen baselines --json baselines.json
      the same figures for a program (loadgen/RESULTS.md). No folder of results is made

Channels are plain in all of it, Twincast's too, as those of what it is compared with: nothing
between users and servers is encrypted. price tells what private channels and accountable groups
cost.";

/// The flags of `baselines`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct BaselinesArgs {
    /// Members of the group, n
    #[arg(long, value_name = "N", default_value = "1000",
          value_parser = within(GROUP_MIN, twincast_baselines::MEMBERS_MAX))]
    group: u32,

    /// Client hosts [default: 5, fewer in a smaller group]
    #[arg(long, value_name = "H", value_parser = within(1, HOSTS_MAX))]
    hosts: Option<u32>,

    /// Rounds of each that are measured; one more is played before them, and the broker plays more, for its CPU time is
    /// told in ticks
    #[arg(long, value_name = "R", default_value = "3", value_parser = within(1, ROUNDS_MAX))]
    rounds: u32,

    /// How often all of them are played, one after another: the table has medians, and the least and the greatest
    #[arg(long, value_name = "K", default_value = "3", value_parser = within(1, REPEATS_MAX))]
    repeats: u32,

    /// Members that send in the baselines, to all members: a sample, where a whole round takes too long. At least one
    /// for each host [default: all]
    #[arg(long, value_name = "M")]
    senders: Option<u32>,

    /// Bytes of a share of the paper's set-up, and of the broker's message: 336 as in the compact profile, or 771 as
    /// in the paper's
    #[arg(long, value_name = "BYTES", default_value = "336",
          value_parser = within(twincast_baselines::SHARE_BYTES_MIN, twincast_baselines::SHARE_BYTES_MAX))]
    share_bytes: u32,

    /// The link of each server and host: a rate such as 1gbit, off, or loopback [default: 10gbit]
    #[arg(long, value_name = "RATE", value_parser = link)]
    link: Option<LinkRate>,

    /// Largest packet of those links [default: 1500]
    #[arg(long, value_name = "BYTES")]
    mtu: Option<u32>,

    /// Play only these baselines [default: all]
    #[arg(long, value_name = "BASELINE", value_delimiter = ',')]
    only: Vec<Which>,

    /// Also write the figures to this file, schema twincast-baselines/1 (loadgen/RESULTS.md); no folder of results is
    /// made
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A [`Baseline`], or one of those without servers of their own, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    /// The paper's set-up with TCP_NODELAY
    NagleOff,
    /// The paper's set-up with Nagle's algorithm, Boost.Asio's default
    NagleOn,
    /// The single-server broadcast of the paper's section 3.1
    Pki,
    /// nats-server
    Broker,
    /// Plain sends of ready buffers: the roof
    Roof,
    /// MCMix in one process, its network modelled
    Mcmix,
}

/// A command line of nothing but the flags that describe a run.
#[derive(Debug, Parser)]
struct PlanLine {
    #[command(flatten)]
    plan: PlanArgs,
}

impl BaselinesArgs {
    /// What Twincast plays: as `local` would over plain channels, as the baselines' are, counting what arrives as their
    /// hosts do.
    ///
    /// # Errors
    /// A sentence with the flag, its bound and the remedy.
    pub fn plan(&self) -> Result<Plan, String> {
        let mut line = format!(
            "baselines --group {} --rounds {} --warmup 1 --verify count --channel plain",
            self.group, self.rounds
        );
        let mut put = |flag: &str, value: Option<String>| {
            value.into_iter().for_each(|value| line.push_str(&format!(" {flag} {value}")));
        };
        put("--hosts", self.hosts.map(|hosts| hosts.to_string()));
        put("--link", self.link.map(|link| link.to_string()));
        put("--mtu", self.mtu.map(|mtu| mtu.to_string()));
        let parsed = PlanLine::try_parse_from(line.split_whitespace());
        // The first line of clap's message is its sentence; the others tell usage of a command that nobody typed.
        let sentence = |error: clap::Error| {
            let text = error.to_string();
            text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
        };
        parsed.map_err(sentence)?.plan.plan()
    }

    /// What the baselines play.
    pub fn setup(&self) -> Setup {
        Setup {
            members: self.group,
            senders: self.senders.unwrap_or(self.group),
            share_bytes: self.share_bytes,
            rounds: self.rounds,
        }
    }

    /// What Twincast is compared with, and how often.
    pub(crate) fn asked(&self) -> Asked {
        let asked = |one: Which| self.only.is_empty() || self.only.contains(&one);
        let kinds = Baseline::ALL.into_iter().filter(|kind| asked(Which::of(*kind))).collect();
        Asked { kinds, roof: asked(Which::Roof), mcmix: asked(Which::Mcmix), repeats: self.repeats }
    }

    /// Where the figures go besides the table.
    pub fn json(&self) -> Option<&std::path::Path> {
        self.json.as_deref()
    }
}

impl Which {
    fn of(kind: Baseline) -> Which {
        match kind {
            Baseline::Faithful { nagle: false } => Which::NagleOff,
            Baseline::Faithful { nagle: true } => Which::NagleOn,
            Baseline::Pki => Which::Pki,
            Baseline::Broker => Which::Broker,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Verify;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: BaselinesArgs,
    }

    fn args(line: &str) -> BaselinesArgs {
        Line::try_parse_from(std::iter::once("baselines").chain(line.split_whitespace())).unwrap().args
    }

    #[test]
    fn twincast_counts_as_the_baselines_do() {
        let args = args("--group 40 --hosts 4 --rounds 2 --link 1gbit --mtu 9000 --senders 8");
        let plan = args.plan().unwrap();
        assert_eq!((plan.group, plan.hosts, plan.rounds, plan.warmup), (40, 4, 2, 1));
        assert_eq!((plan.link.rate, plan.link.mtu), (LinkRate::Rate(1_000_000_000), 9_000));
        assert_eq!(plan.verify, Verify::Count);
        assert_eq!(args.setup(), Setup { members: 40, senders: 8, share_bytes: 336, rounds: 2 });
    }

    #[test]
    fn baselines_are_chosen_by_name() {
        let all = Asked { kinds: Baseline::ALL.to_vec(), roof: true, mcmix: true, repeats: 3 };
        assert_eq!(args("").asked(), all);
        let kinds = vec![Baseline::Faithful { nagle: true }, Baseline::Broker];
        let some = Asked { kinds, roof: false, mcmix: false, repeats: 1 };
        assert_eq!(args("--only broker,nagle-on --repeats 1").asked(), some);
        let none = Asked { kinds: Vec::new(), roof: false, mcmix: true, repeats: 3 };
        assert_eq!(args("--only mcmix").asked(), none);
    }

    #[test]
    fn examples_fit_into_the_columns_that_help_is_wrapped_at() {
        assert!(EXAMPLES.lines().all(|line| line.len() <= 100), "{EXAMPLES}");
    }

    #[test]
    fn a_packet_size_out_of_bounds_is_told_by_its_flag() {
        let sentence = args("--mtu 5").plan().unwrap_err();
        assert!(sentence.contains("--mtu"), "{sentence}");
    }
}
