//! `twincast-loadgen local`: its flags, and the plan that they make.

use super::values::{peers, verify, within};
use crate::coordinator::Outputs;
use crate::limits::{
    FRAME_BYTES, GROUP_MAX, GROUP_MIN, GROUPS_MAX, HOST_BUFFER_BYTES, HOST_SKEW_BYTES, HOSTS_MAX,
    MESSAGE_BYTES, ROUNDS_MAX, SLOTS_MAX, USERS_PER_CONNECTION_DEFAULT, USERS_PER_CONNECTION_MAX, WARMUP_MAX,
};
use crate::plan::{Peers, Plan, Verify};
use clap::Args;
use std::path::PathBuf;

const HOSTS_DEFAULT: u32 = 5;

const EXAMPLES: &str = "\
Examples:
  twincast-loadgen local
      a group of 1,000, five rounds, every share verified
  twincast-loadgen local --group 10000 --rounds 1
      one round of 100 million shares from each server
  twincast-loadgen local --peers self --no-confirm
      the set-up of the paper
  twincast-loadgen local --users-per-connection 1
      every user on a connection of its own
  twincast-loadgen local --verify count --ahead 1
      the servers' pace, little held up by the clients' work
  twincast-loadgen local --json result.json
      the same figures for a program (loadgen/RESULT.md)";

/// The flags of `local`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct LocalArgs {
    /// Members of each group, n. Every round moves n x n shares out of each server
    #[arg(long, value_name = "N", default_value = "1000", value_parser = within(GROUP_MIN, GROUP_MAX))]
    group: u32,

    /// Independent groups of that size on the same two servers
    #[arg(long, value_name = "G", default_value = "1", value_parser = within(1, GROUPS_MAX))]
    groups: u32,

    /// Client hosts: processes that play the users, user u on host u mod H [default: 5, fewer in a smaller group]
    #[arg(long, value_name = "H", value_parser = within(1, HOSTS_MAX))]
    hosts: Option<u32>,

    /// Rounds that are measured
    #[arg(long, value_name = "R", default_value = "5", value_parser = within(1, ROUNDS_MAX))]
    rounds: u32,

    /// Rounds played before them and dropped from every figure [default: 1, or 0 with --rounds 1]
    #[arg(long, value_name = "W", value_parser = within(0, WARMUP_MAX))]
    warmup: Option<u32>,

    /// Messages that every member may send in a round; each slot is filled, with cover if need be
    #[arg(long, value_name = "K", default_value = "1", value_parser = within(1, SLOTS_MAX))]
    slots: u32,

    /// Who writes to whom: self (everybody to themselves, the paper's set-up), random (a random permutation), or
    /// subset:K (K random recipients for each sender and slot)
    #[arg(long, value_name = "WHO", default_value = "random", value_parser = peers)]
    peers: Peers,

    /// Leave out bit confirmation, in which every user learns at dialling which senders' messages are for it
    #[arg(long)]
    no_confirm: bool,

    /// Users on one connection to each server [default: all users that a host plays of a group, at most 512]
    #[arg(long, value_name = "U", value_parser = within(1, USERS_PER_CONNECTION_MAX))]
    users_per_connection: Option<u32>,

    /// Rounds submitted ahead of the one being delivered, 0 or 1. With 1 the link is never idle between rounds
    #[arg(long, value_name = "A", default_value = "0", value_parser = within(0, 1))]
    ahead: u32,

    /// What is decoded and checked of what arrives: all, sample:P (each user and tile with probability P, and always
    /// what a user sent or should get), or count (nothing is decoded)
    #[arg(long, value_name = "HOW", default_value = "all", value_parser = verify)]
    verify: Verify,

    /// Messages, recipients and samples are drawn from this number; secrets never are
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,

    /// Also write the result to this file, schema twincast-result/1 (loadgen/RESULT.md tells every field)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Leave out the roof: what plain sends of ready buffers to the same readers take on this machine
    #[arg(long)]
    no_roof: bool,
}

impl LocalArgs {
    /// The run that the flags describe.
    ///
    /// # Errors
    /// A sentence with the flag, its bound and the remedy: two flags do not go together.
    pub fn plan(&self) -> Result<Plan, String> {
        let hosts = self.hosts.unwrap_or(HOSTS_DEFAULT.min(self.group));
        if hosts > self.group {
            return Err(format!(
                "--hosts {hosts} is more than the {} members of --group: every host plays at least one; give at \
                 most --hosts {}",
                self.group, self.group
            ));
        }
        if let Peers::Subset(recipients) = self.peers
            && recipients > self.group
        {
            return Err(format!(
                "--peers subset:{recipients} is more than the {} members of --group; give at most subset:{}",
                self.group, self.group
            ));
        }
        let users_per_connection =
            self.users_per_connection.unwrap_or_else(|| default_users_per_connection(self.group, hosts));
        Ok(Plan {
            group: self.group,
            groups: self.groups,
            hosts,
            rounds: self.rounds,
            warmup: self.warmup.unwrap_or(u32::from(self.rounds > 1)),
            slots: self.slots,
            frame_bytes: FRAME_BYTES,
            message_bytes: MESSAGE_BYTES,
            peers: self.peers,
            confirm: !self.no_confirm,
            users_per_connection,
            ahead: self.ahead,
            verify: self.verify,
            seed: self.seed,
            host_skew_bytes: host_skew_bytes(self.group, self.groups, hosts, users_per_connection),
        })
    }

    /// What the run makes besides its table.
    pub fn outputs(&self) -> Outputs {
        Outputs { json: self.json.clone(), roof: !self.no_roof }
    }
}

/// All the users that a host plays of a group on one connection, up to [`USERS_PER_CONNECTION_DEFAULT`].
fn default_users_per_connection(group: u32, hosts: u32) -> u32 {
    group.div_ceil(hosts).min(USERS_PER_CONNECTION_DEFAULT)
}

/// How far a host reads one server ahead of the other, per connection: what keeps a host's buffers in bounds.
fn host_skew_bytes(group: u32, groups: u32, hosts: u32, users_per_connection: u32) -> u64 {
    let pairs = u64::from(group.div_ceil(hosts).div_ceil(users_per_connection)) * u64::from(groups);
    HOST_SKEW_BYTES.min(HOST_BUFFER_BYTES / (2 * pairs))
}

#[cfg(test)]
mod tests {
    use super::super::{Cli, Command};
    use super::*;
    use clap::Parser as _;
    use clap::error::ErrorKind;

    fn args(line: &str) -> Result<LocalArgs, clap::Error> {
        let words = ["twincast-loadgen", "local"].into_iter().chain(line.split_whitespace());
        Cli::try_parse_from(words).map(|cli| match cli.command {
            Command::Local(args) => *args,
            _ => unreachable!("the line says local"),
        })
    }

    fn plan(line: &str) -> Plan {
        args(line).unwrap().plan().unwrap()
    }

    #[test]
    fn the_defaults_are_the_main_job() {
        let plan = plan("");
        assert_eq!((plan.group, plan.groups, plan.hosts, plan.rounds, plan.warmup), (1_000, 1, 5, 5, 1));
        assert_eq!((plan.slots, plan.peers, plan.confirm, plan.ahead), (1, Peers::Random, true, 0));
        assert_eq!((plan.users_per_connection, plan.verify), (200, Verify::All));
        assert!(args("").unwrap().outputs().roof);
    }

    #[test]
    fn every_flag_reaches_the_plan() {
        let line = "--group 130 --groups 2 --hosts 3 --rounds 4 --warmup 2 --slots 2 --peers subset:3 --no-confirm \
                    --users-per-connection 1 --ahead 1 --verify sample:0.5 --seed 9 --json x.json --no-roof";
        let plan = plan(line);
        assert_eq!((plan.group, plan.groups, plan.hosts, plan.rounds, plan.warmup), (130, 2, 3, 4, 2));
        assert_eq!((plan.slots, plan.peers, plan.confirm, plan.ahead), (2, Peers::Subset(3), false, 1));
        assert_eq!((plan.users_per_connection, plan.verify, plan.seed), (1, Verify::Sample(0.5), 9));
        let outputs = args(line).unwrap().outputs();
        assert_eq!((outputs.json, outputs.roof), (Some("x.json".into()), false));
    }

    #[test]
    fn defaults_follow_the_other_flags() {
        assert_eq!(plan("--rounds 1").warmup, 0);
        assert_eq!(plan("--rounds 1 --warmup 3").warmup, 3);
        assert_eq!(plan("--group 3").hosts, 3);
        assert_eq!(plan("--group 10000").users_per_connection, 512);
        assert_eq!(plan("--group 7 --hosts 2").users_per_connection, 4);
    }

    #[test]
    fn a_value_out_of_bounds_names_flag_bound_and_remedy() {
        for (line, flag, remedy) in [
            ("--group 1", "--group", "from 2 to 65,536"),
            ("--group 70000", "--group", "from 2 to 65,536"),
            ("--groups 0", "--groups", "from 1 to 1,024"),
            ("--hosts 0", "--hosts", "from 1 to 64"),
            ("--rounds 0", "--rounds", "from 1 to 1,000,000"),
            ("--rounds x", "--rounds", "from 1 to 1,000,000"),
            ("--warmup 10001", "--warmup", "from 0 to 10,000"),
            ("--slots 0", "--slots", "from 1 to 256"),
            ("--peers me", "--peers", "give self, random, or subset:K"),
            ("--users-per-connection 0", "--users-per-connection", "from 1 to 16,384"),
            ("--ahead 2", "--ahead", "from 0 to 1"),
            ("--verify sample:2", "--verify", "above 0 and at most 1"),
        ] {
            let error = args(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert_eq!(error.kind(), ErrorKind::ValueValidation, "{line}");
            let text = error.to_string();
            assert!(text.contains(flag) && text.contains(remedy), "{line}: {text}");
        }
        assert_eq!(args("--fast").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn flags_that_do_not_go_together_are_refused_with_the_remedy() {
        let sentence = args("--group 3 --hosts 4").unwrap().plan().unwrap_err();
        assert!(sentence.contains("--hosts 4") && sentence.contains("at most --hosts 3"), "{sentence}");
        let sentence = args("--group 3 --peers subset:4").unwrap().plan().unwrap_err();
        assert!(sentence.contains("subset:4") && sentence.contains("at most subset:3"), "{sentence}");
    }
}
