//! What came of a run, and the figures that are drawn of it.

use super::experiments::{Job, MESSAGE_BYTES, Variant, Work, is_sampled};
use super::model::goodput_bits_per_s;
use super::point::{Kind, median};
use crate::baseline::{Baseline, BaselineResult};
use crate::net::Link;
use crate::plan::ProfileName;
use crate::result::RunResult;
use serde::{Deserialize, Serialize};
use twincast_baselines::mcmix::Cost;

/// One-way latency between MCMix's servers, in seconds: a network of one data centre. It is stated, not measured.
pub const MCMIX_LATENCY_S: f64 = 100e-6;
/// The rate between MCMix's servers where the run's links have none, in bits per second.
pub const MCMIX_BITS_PER_S: f64 = 10e9;

/// One repeat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Of Twincast.
    Twincast(Box<RunResult>),
    /// Of a baseline over sockets.
    Rival(Box<BaselineResult>),
    /// Of MCMix.
    Mcmix(Cost),
}

/// A job, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// What was to be run.
    pub job: Job,
    /// Every repeat that came to a result.
    pub outcomes: Vec<Outcome>,
    /// Seconds that it took.
    pub seconds: f64,
    /// Why there are fewer results than repeats, if that is a failure.
    pub failure: Option<String>,
    /// Why it was not run, or not as often as planned, if that is none.
    pub left_out: Option<String>,
}

/// What is known of one thing at one size, whatever it is; one value for each repeat.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Seconds of a round in which every member sends.
    pub round_s: Vec<f64>,
    /// Seconds from a message's first byte to its coming back, the median user.
    pub latency_s: Vec<f64>,
    /// Seconds of the grouping phase, confirmations included.
    pub dial_s: Vec<f64>,
    /// Seconds of session keys alone.
    pub keys_only_s: Vec<f64>,
    /// Messages that came to all members, per second.
    pub messages_per_s: Vec<f64>,
    /// CPU seconds of all servers for a message.
    pub cpu_s: Vec<f64>,
    /// CPU seconds of a server for each thing that it delivered.
    pub cpu_delivery_s: Vec<f64>,
    /// Bytes out of a server for a message.
    pub bytes_out: Vec<f64>,
    /// Seconds of the quickest and of the slowest round, where rounds and not repeats show how far values are apart.
    pub round_range_s: Option<[f64; 2]>,
}

impl Done {
    /// The profile and what for, if it is a run of Twincast.
    #[must_use]
    pub fn twincast(&self) -> Option<(ProfileName, Variant)> {
        match &self.job.work {
            Work::Twincast { variant, plan, .. } => Some((plan.profile, *variant)),
            _ => None,
        }
    }

    /// Which baseline, if it is one.
    #[must_use]
    pub fn rival(&self) -> Option<Baseline> {
        match &self.job.work {
            Work::Rival { rival, .. } => Some(*rival),
            _ => None,
        }
    }

    /// Members of a group, or users of MCMix.
    #[must_use]
    pub fn size(&self) -> u32 {
        match &self.job.work {
            Work::Twincast { plan, .. } => plan.group,
            Work::Rival { setup, .. } => setup.members,
            Work::Mcmix { users, .. } => *users,
        }
    }

    /// How a value of it came about.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match &self.job.work {
            Work::Rival { setup, .. } if is_sampled(setup) => Kind::Sampled,
            Work::Twincast { variant: Variant::Population { groups }, plan, .. }
                if u64::from(plan.groups) < *groups =>
            {
                Kind::Sampled
            }
            Work::Mcmix { .. } => Kind::Modelled,
            _ => Kind::Measured,
        }
    }

    /// How many times as much the whole is as what was played: groups of a population.
    #[must_use]
    pub fn whole(&self) -> f64 {
        match &self.job.work {
            Work::Twincast { variant: Variant::Population { groups }, plan, .. } => {
                *groups as f64 / f64::from(plan.groups)
            }
            _ => 1.0,
        }
    }

    /// Groups that were played side by side.
    #[must_use]
    pub fn groups(&self) -> f64 {
        match &self.job.work {
            Work::Twincast { plan, .. } => f64::from(plan.groups),
            _ => 1.0,
        }
    }

    /// What is known, all repeats.
    #[must_use]
    pub fn figures(&self, link: &Link) -> Figures {
        let mut all = Figures::default();
        for outcome in &self.outcomes {
            match outcome {
                Outcome::Twincast(result) => all.add_twincast(result),
                Outcome::Rival(result) => all.add_rival(result),
                Outcome::Mcmix(cost) => all.add_mcmix(cost, link),
            }
        }
        all
    }

    /// The repeat whose rounds are nearest to the median of all.
    #[must_use]
    pub fn median_run(&self) -> Option<&RunResult> {
        let runs = || {
            self.outcomes.iter().filter_map(|outcome| match outcome {
                Outcome::Twincast(result) => Some((result.as_ref(), result.round_seconds.p50?)),
                _ => None,
            })
        };
        let middle = median(&runs().map(|(_, seconds)| seconds).collect::<Vec<_>>())?;
        let off = |seconds: f64| (seconds - middle).abs();
        runs().min_by(|a, b| off(a.1).total_cmp(&off(b.1))).map(|(result, _)| result)
    }
}

impl Figures {
    fn add_twincast(&mut self, result: &RunResult) {
        let plan = &result.plan;
        let users = f64::from(plan.group) * f64::from(plan.groups) * f64::from(plan.slots);
        let messages = users * f64::from(plan.rounds);
        let servers = &result.servers;
        let cpu: f64 = servers.iter().map(|server| server.cpu_seconds).sum();
        let out: u64 = servers.iter().map(|server| server.egress_bytes).sum();
        let shares: u64 = servers.iter().map(|server| server.egress_shares).sum();
        let two = servers.len().max(1) as f64;
        self.round_s.extend(result.round_seconds.p50);
        self.latency_s.extend(result.message_latency_us.p50.map(|us| us / 1e6));
        self.dial_s.push(result.dial.seconds);
        let keys_only: f64 = result.epochs.first().map_or(0.0, |epoch| epoch.dial.seconds);
        self.keys_only_s.push(keys_only);
        self.messages_per_s.push(messages / result.delivering_seconds.max(1e-9));
        self.cpu_s.push(cpu / messages);
        self.cpu_delivery_s.push(cpu / shares.max(1) as f64);
        self.bytes_out.push(out as f64 / two / messages);
    }

    fn add_rival(&mut self, result: &BaselineResult) {
        let servers = result.servers as f64;
        let messages = f64::from(result.senders) * f64::from(result.rounds);
        let out = result.server_egress_bytes.iter().sum::<u64>() as f64 / servers / messages;
        self.round_s.push(result.whole_round_seconds);
        let whole = f64::from(result.members) / f64::from(result.senders);
        self.round_range_s = Some([result.round_seconds_min, result.round_seconds_max].map(|of| of * whole));
        self.latency_s.extend(result.own_share_seconds_p50.map(|seconds| seconds * whole));
        self.dial_s.push(result.dial_seconds);
        self.messages_per_s.push(result.messages_per_s);
        // The broker's CPU is told in ticks: less than one is no figure.
        if result.server_cpu_us_per_message > 0.0 {
            self.cpu_s.push(result.server_cpu_us_per_message / 1e6);
            self.cpu_delivery_s.push(result.server_cpu_us_per_delivery / 1e6);
        }
        self.bytes_out.push(out);
    }

    fn add_mcmix(&mut self, cost: &Cost, link: &Link) {
        let seconds =
            cost.total_seconds(MCMIX_LATENCY_S, goodput_bits_per_s(link).unwrap_or(MCMIX_BITS_PER_S));
        let users = cost.users as f64;
        let servers = cost.bytes_by_party.len() as f64;
        let between: u64 = cost.bytes_by_party.iter().sum();
        let out = (between + cost.client_bytes_out) as f64 / servers / users;
        if cost.message_bytes == 0 {
            self.dial_s.push(seconds);
        } else {
            self.round_s.push(seconds);
            self.latency_s.push(seconds);
            self.messages_per_s.push(users / seconds);
            self.bytes_out.push(out);
        }
    }
}

/// The rate between MCMix's servers in a run, in bits per second, and where it is from.
#[must_use]
pub fn mcmix_rate(link: &Link) -> (f64, &'static str) {
    match goodput_bits_per_s(link) {
        Some(goodput) => (goodput, "what TCP carries over the run's links"),
        None => (MCMIX_BITS_PER_S, "assumed, for the run's links have no rate"),
    }
}

/// Runs MCMix once.
///
/// # Errors
/// A sentence: its answers were wrong, which is a bug of the model.
pub fn run_mcmix(users: u32, dialling: bool, seed: u64) -> Result<Cost, String> {
    use twincast_baselines::mcmix::{run_conversation, run_dialling};
    let users = users as usize;
    let cost =
        if dialling { run_dialling(users, seed) } else { run_conversation(users, MESSAGE_BYTES, seed) };
    cost.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::LinkRate;

    #[test]
    fn mcmix_has_its_network_modelled_at_the_links_goodput() {
        let cost = run_mcmix(10, false, 1).unwrap();
        let figures = |rate| {
            let mut figures = Figures::default();
            figures.add_mcmix(&cost, &Link { rate, mtu: 1_500 });
            figures.round_s[0]
        };
        let slow = figures(LinkRate::Rate(1_000_000));
        let network = cost.network_seconds(MCMIX_LATENCY_S, 1e6 * 1448.0 / 1538.0);
        assert!((slow - cost.local_seconds() - network).abs() < 1e-12);
        assert!(figures(LinkRate::Loopback) < slow);
        assert_eq!(run_mcmix(10, true, 1).unwrap().message_bytes, 0);
    }

    #[test]
    fn a_result_of_twincast_is_told_for_each_message() {
        let result = crate::result::tests::sample();
        let mut figures = Figures::default();
        figures.add_twincast(&result);
        let messages = f64::from(result.plan.group) * f64::from(result.plan.rounds);
        let cpu: f64 = result.servers.iter().map(|server| server.cpu_seconds).sum();
        assert!((figures.cpu_s[0] - cpu / messages).abs() < 1e-12);
        assert!((figures.messages_per_s[0] * result.delivering_seconds - messages).abs() < 1e-6);
        assert_eq!(figures.round_s, result.round_seconds.p50.map_or(vec![], |seconds| vec![seconds]));
    }
}
