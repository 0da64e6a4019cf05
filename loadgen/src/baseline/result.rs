//! What a baseline did, in figures.

use super::orders::{HostPlay, ServerFigures};
use super::{Baseline, Setup};
use crate::check::MachineCheck;
use crate::coordinator::RunError;
use crate::latency::nearest_rank;
use crate::stats::Spread;
use serde::{Deserialize, Serialize};
use twincast_baselines::pki::{CIPHERTEXT_BYTES, Trials};

/// What a baseline did.
///
/// A *delivery* is one share, ciphertext or message that came from one server to one user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaselineResult {
    /// Which.
    pub baseline: Baseline,
    /// The same for a person.
    pub name: String,
    /// Whether Nagle's algorithm was on at the servers, as their sockets said; none for the broker, whose own it is.
    pub nagle: Option<bool>,
    /// Servers.
    pub servers: u64,
    /// Members of the group.
    pub members: u32,
    /// Members that sent.
    pub senders: u32,
    /// Bytes of a share, ciphertext or message.
    pub share_bytes: u32,
    /// Rounds that counted.
    pub rounds: u32,
    /// Whether some figure is of a sample: fewer senders than members, or fewer trial decryptions than pairs.
    pub sampled: bool,
    /// Seconds until all users were attached, and had dialled or subscribed, on the slowest host.
    pub dial_seconds: f64,
    /// Seconds of a round on its slowest host, the median, with `senders` senders.
    pub round_seconds_p50: f64,
    /// The quickest round.
    pub round_seconds_min: f64,
    /// The slowest round.
    pub round_seconds_max: f64,
    /// Seconds of a round in which all members send: the median, scaled by `members / senders` where fewer did.
    pub whole_round_seconds: f64,
    /// Seconds from a host's first byte of a round until a sender's own share had come back to it from both servers: the
    /// median over senders and rounds, with `senders` senders, as Twincast's `message_latency_us` counts in lockstep. Hosts
    /// check shares and decode none. None but for the paper-faithful baseline: elsewhere nobody waits for his own.
    pub own_share_seconds_p50: Option<f64>,
    /// Deliveries to all users from all servers, as hosts counted them.
    pub deliveries: u64,
    /// Deliveries per second with a round in flight, of each server.
    pub deliveries_per_s: f64,
    /// Messages per second that came from all servers to all members.
    pub messages_per_s: f64,
    /// CPU seconds of each server's process.
    pub server_cpu_seconds: Vec<f64>,
    /// CPU microseconds of a server for each delivery.
    pub server_cpu_us_per_delivery: f64,
    /// CPU microseconds of all servers for each message that came to all members.
    pub server_cpu_us_per_message: f64,
    /// Bytes that came from each server, headers included.
    pub server_egress_bytes: Vec<u64>,
    /// Calls of `write` of all servers, those included that went on after a socket had taken a part; none for the
    /// broker.
    pub server_writes: Option<u64>,
    /// CPU seconds of each host's process.
    pub host_cpu_seconds: Vec<f64>,
    /// CPU microseconds of one trial decryption; none but for the PKI broadcast.
    pub trial_us: Option<f64>,
    /// Trial decryptions that were done, of `members x members` a round; 0 but for the PKI broadcast.
    pub trials: u64,
    /// CPU seconds of one user's trial decryptions of a round in which all members send.
    pub user_trial_seconds: Option<f64>,
    /// What was measured, what was sampled and what was scaled, in words.
    pub note: String,
    /// What was found on each machine before the rounds; empty in results of versions that checked nothing.
    #[serde(default)]
    pub checks: Vec<MachineCheck>,
}

/// The middle of some values; `None` of nothing.
fn median(values: &[f64]) -> Option<f64> {
    Spread::of(values).map(|spread| spread.median)
}

/// What the coordinator collected.
pub(super) struct Measured {
    pub(super) kind: Baseline,
    pub(super) setup: Setup,
    pub(super) checks: Vec<MachineCheck>,
    pub(super) dials: Vec<f64>,
    pub(super) plays: Vec<HostPlay>,
    pub(super) before: Vec<ServerFigures>,
    pub(super) after: Vec<ServerFigures>,
    pub(super) trials: Option<Vec<Trials>>,
}

impl Measured {
    /// Puts the reports together.
    ///
    /// # Errors
    /// Reports that do not fit together, or a socket option that is not as it was set: a bug.
    pub(super) fn result(&self) -> Result<BaselineResult, RunError> {
        let Setup { members, senders, rounds, .. } = self.setup;
        let servers = self.kind.servers();
        let deliveries = self.plays.iter().map(|host| host.play.deliveries).sum::<u64>();
        let expected = self.setup.deliveries_of_round() * u64::from(rounds) * servers as u64;
        if deliveries != expected || self.before.len() != servers || self.after.len() != servers {
            return Err(RunError::News(format!("{deliveries} deliveries of a baseline, not {expected}")));
        }
        let per_round = self.slowest();
        let round_p50 = median(&per_round).unwrap_or(0.0);
        let total = |host: &HostPlay| host.play.round_seconds.iter().sum::<f64>();
        let seconds = self.plays.iter().map(total).fold(1e-9, f64::max);
        let deliveries_per_s = deliveries as f64 / servers as f64 / seconds;
        let grown = || self.after.iter().zip(&self.before);
        let cpu: Vec<f64> = grown().map(|(after, before)| after.cpu_seconds - before.cpu_seconds).collect();
        let cpu_us = cpu.iter().sum::<f64>() / deliveries as f64 * 1e6;
        let writes = |figures: &ServerFigures| figures.relay.map(|relay| relay.writes);
        let writes_of =
            |(after, before)| writes(after).zip(writes(before)).map(|(after, before)| after - before);
        let opened = self.opened();
        Ok(BaselineResult {
            baseline: self.kind,
            name: self.kind.to_string(),
            nagle: self.nagle()?,
            servers: servers as u64,
            members,
            senders,
            share_bytes: self.share_bytes(),
            rounds,
            sampled: senders < members
                || opened.is_some_and(|all| all.trials < u64::from(members) * u64::from(members)),
            dial_seconds: self.dials.iter().copied().fold(0.0, f64::max),
            round_seconds_p50: round_p50,
            round_seconds_min: nearest_rank(&per_round, 0.0).unwrap_or(0.0),
            round_seconds_max: nearest_rank(&per_round, 1.0).unwrap_or(0.0),
            whole_round_seconds: round_p50 * f64::from(members) / f64::from(senders),
            own_share_seconds_p50: self.own_share(),
            deliveries,
            deliveries_per_s,
            messages_per_s: deliveries_per_s / f64::from(members),
            server_cpu_us_per_delivery: cpu_us,
            server_cpu_us_per_message: cpu_us * f64::from(members) * servers as f64,
            server_cpu_seconds: cpu,
            server_egress_bytes: (0..servers).map(|server| self.bytes_from(server)).collect(),
            server_writes: grown().map(writes_of).sum(),
            host_cpu_seconds: self.plays.iter().map(|host| host.cpu_seconds).collect(),
            trial_us: opened.map(|all| all.cpu_seconds / all.trials.max(1) as f64 * 1e6),
            trials: opened.map_or(0, |all| all.trials),
            user_trial_seconds: opened
                .map(|all| all.cpu_seconds / all.trials.max(1) as f64 * f64::from(members)),
            note: self.note(opened),
            checks: self.checks.clone(),
        })
    }

    /// Round by round, the seconds of the slowest host.
    fn slowest(&self) -> Vec<f64> {
        let of = |round: usize| self.plays.iter().filter_map(move |host| host.play.round_seconds.get(round));
        (0..self.setup.rounds as usize).map(|round| of(round).copied().fold(0.0, f64::max)).collect()
    }

    /// Over all senders and rounds.
    fn own_share(&self) -> Option<f64> {
        let all = self.plays.iter().flat_map(|host| &host.play.own_share_us);
        median(&all.map(|us| *us as f64 / 1e6).collect::<Vec<_>>())
    }

    fn share_bytes(&self) -> u32 {
        if self.kind == Baseline::Pki { CIPHERTEXT_BYTES as u32 } else { self.setup.share_bytes }
    }

    fn bytes_from(&self, server: usize) -> u64 {
        self.plays.iter().filter_map(|host| host.play.bytes_in.get(server)).sum()
    }

    /// What the servers' sockets say of Nagle's algorithm.
    fn nagle(&self) -> Result<Option<bool>, RunError> {
        let relays: Vec<_> = self.after.iter().filter_map(|figures| figures.relay).collect();
        if relays.is_empty() {
            return Ok(None);
        }
        let nagle = matches!(self.kind, Baseline::Faithful { nagle: true });
        let right = relays.iter().all(|relay| {
            relay.nodelay_connections == if nagle { 0 } else { relay.connections } && relay.connections > 0
        });
        let wrong = || RunError::News(format!("{}: TCP_NODELAY is not as it was set", self.kind));
        right.then_some(Some(nagle)).ok_or_else(wrong)
    }

    fn opened(&self) -> Option<Trials> {
        let sum = |all: Trials, one: &Trials| Trials {
            trials: all.trials + one.trials,
            opened: all.opened + one.opened,
            users: all.users + one.users,
            cpu_seconds: all.cpu_seconds + one.cpu_seconds,
        };
        self.trials.as_ref().map(|trials| trials.iter().fold(Trials::default(), sum))
    }

    fn note(&self, opened: Option<Trials>) -> String {
        let Setup { members, senders, .. } = self.setup;
        let sample = if senders < members {
            format!(
                " {senders} of {members} members sent, to all members: what a delivery costs is measured, and a whole \
                 round is that of the sample times {members}/{senders}."
            )
        } else {
            String::new()
        };
        let what = match self.kind {
            Baseline::Faithful { nagle } => format!(
                "Two servers of one thread each, one write for each share, Nagle's algorithm {}; every share that came \
                 was checked against the half that its sender's bit selects, and counted, not decoded.",
                if nagle { "on (Boost.Asio's default)" } else { "off (TCP_NODELAY)" }
            ),
            Baseline::Pki => {
                let all = opened.unwrap_or_default();
                format!(
                    "One server of one thread, all ciphertexts to every user in large writes; sealing is in no figure. \
                     Trial decryption is measured after the rounds: {} of {} pairs of the last round, {} of them opened, \
                     as they had to; its time for a user is scaled from one trial.",
                    all.trials,
                    u64::from(members) * u64::from(members),
                    all.opened
                )
            }
            Baseline::Broker => {
                "One nats-server with its default settings, a subscription for each user, messages in clear; its CPU time is \
                 what the kernel counts, in ticks, over as many rounds as that takes."
                    .to_owned()
            }
        };
        what + &sample
    }
}

#[cfg(test)]
pub(super) mod tests;
