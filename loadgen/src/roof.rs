//! The roof: what this machine's servers could do at most, and how near they are.
//!
//! Two things alternate on the same host processes, over as many connections each, with the same readers, which
//! discard what comes:
//!
//! - *served*: the two servers deliver rounds of a small group (`roof_plan`), nobody decoding;
//! - *plain*: two processes `send` as many bytes out of one ready 256-KiB buffer ([`sender`]), one thread each, the
//!   connections in turn, as a fan-out core does.
//!
//! A first pair warms up and is dropped. `server_cpu_ratio` is the median CPU per egress byte of *served* (the whole
//! server process: front, sealing, gathering, sending) over that of *plain* (the whole sender process).
//! `plain_send_bits_per_s` is the median rate of one plain sender while both send.

pub mod sender;

use crate::coordinator::place::Deployment;
use crate::coordinator::stage::{Play, Stage};
use crate::coordinator::team::{News, PeerId, Role, Take, Team};
use crate::coordinator::{Progress, RunError};
use crate::latency::nearest_rank;
use crate::limits::{START_TIMEOUT, pairs, share_bytes};
use crate::plan::{Peers, Plan, Verify};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::Duration;

/// Members of the roof's group at the most.
const GROUP_MAX: u32 = 1_000;
/// Bytes out of each server in one repeat, about.
const REPEAT_BYTES: u64 = 300_000_000;
/// Rounds of one repeat at the most.
const ROUNDS_MAX: u64 = 100;
/// Pairs of repeats that count.
const REPEATS: usize = 3;
/// Time for a plain sender to send what it was told to.
const SEND_TIMEOUT: Duration = Duration::from_secs(120);

/// What the coordinator tells a plain sender. End of input means: stop at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SenderOrder {
    /// First: connect so often to each reader. Answered by [`SenderNews::Connected`].
    Connect {
        /// Where the readers listen.
        readers: Vec<SocketAddr>,
        /// Connections to each reader, in their order.
        connections: Vec<u64>,
    },
    /// Send so many bytes, spread evenly. Answered by [`SenderNews::Sent`].
    Send {
        /// All connections together.
        bytes: u64,
    },
    /// Exit.
    Stop,
}

/// What a plain sender tells the coordinator.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SenderNews {
    /// The connections stand.
    Connected,
    /// The bytes are sent and acknowledged.
    Sent(Sent),
    /// It cannot go on, and why, in one sentence.
    Failed(String),
}

/// What sending took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sent {
    /// Bytes sent.
    pub bytes: u64,
    /// CPU seconds of the process.
    pub cpu_seconds: f64,
    /// From the first send to the last acknowledgement.
    pub seconds: f64,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roof {
    /// Bits per second of one plain sender while both send.
    pub plain_send_bits_per_s: Option<f64>,
    /// CPU seconds per egress byte, server over plain sender.
    pub server_cpu_ratio: Option<f64>,
    /// The least ratio of one pair of repeats.
    pub server_cpu_ratio_min: Option<f64>,
    /// The greatest ratio of one pair of repeats.
    pub server_cpu_ratio_max: Option<f64>,
    /// CPU seconds per 10^9 egress bytes of a server whose readers discard.
    pub server_cpu_seconds_per_gb: Option<f64>,
    /// CPU seconds per 10^9 bytes of a plain sender.
    pub plain_send_cpu_seconds_per_gb: Option<f64>,
    /// Bits per second of one server whose readers discard, while a round is in flight.
    pub server_bits_per_s: Option<f64>,
    /// Connections of each server and of each plain sender.
    pub connections: u64,
    /// Pairs of repeats that counted.
    pub repeats: u64,
}

impl Roof {
    /// A run that left the roof out.
    pub const NONE: Roof = Roof {
        plain_send_bits_per_s: None,
        server_cpu_ratio: None,
        server_cpu_ratio_min: None,
        server_cpu_ratio_max: None,
        server_cpu_seconds_per_gb: None,
        plain_send_cpu_seconds_per_gb: None,
        server_bits_per_s: None,
        connections: 0,
        repeats: 0,
    };
}

/// One pair of repeats: CPU seconds per byte, and bits per second of one sender.
#[derive(Clone, Copy, Debug)]
struct Pair {
    served_cpu: f64,
    served_rate: f64,
    plain_cpu: f64,
    plain_rate: f64,
}

/// Measures the roof on servers and hosts of its own, and stops them. No other peer of the team may be at work.
pub(crate) fn measure(
    team: &mut Team,
    deployment: &Deployment,
    of: &Plan,
    progress: &mut Progress,
) -> Result<Roof, RunError> {
    let plan = roof_plan(of);
    let stage = Stage::open(team, deployment, &plan, progress)?;
    let readers = stage.roof_readers(team, deployment)?;
    let connections = crate::coordinator::connections_by_host(&plan);
    let senders = [1, 2].map(|side: usize| {
        team.start(Role::RoofSender, format!("plain sender {side}"), &deployment.servers[side - 1].site)
    });
    let [first, second] = senders;
    let senders = [first?, second?];
    let connect = SenderOrder::Connect { readers, connections };
    senders.iter().for_each(|sender| team.tell(*sender, &connect));
    team.gather(&senders, "connecting to the roof's readers", START_TIMEOUT, |_, news| match news {
        News::Sender(SenderNews::Connected) => Take::Done(()),
        news => Take::Unexpected(news),
    })?;
    let mut measured = Vec::new();
    for repeat in 0..=REPEATS {
        let play = stage.play(team, plan.rounds, "measuring the roof", progress)?;
        let bytes = play.servers.iter().map(|server| server.egress_bytes).sum::<u64>() / 2;
        let sent = send(team, &senders, bytes)?;
        if repeat > 0 {
            measured.push(pair(&play, &sent));
        }
    }
    team.stop_all()?;
    Ok(summary(&measured, stage.connections()))
}

fn send(team: &mut Team, senders: &[PeerId; 2], bytes: u64) -> Result<Vec<Sent>, RunError> {
    senders.iter().for_each(|sender| team.tell(*sender, &SenderOrder::Send { bytes }));
    team.gather(senders, "sending plainly", SEND_TIMEOUT, |_, news| match news {
        News::Sender(SenderNews::Sent(sent)) => Take::Done(sent),
        news => Take::Unexpected(news),
    })
}

/// A small group on as many hosts, with as many connections of a host as the run has, if it has users for them;
/// nothing is confirmed and nothing decoded.
fn roof_plan(of: &Plan) -> Plan {
    let group = of.group.min(GROUP_MAX).max(of.hosts);
    let users = group.div_ceil(of.hosts);
    let connections =
        (of.group.div_ceil(of.hosts).div_ceil(of.users_per_connection) * of.groups).clamp(1, users);
    let mut plan = Plan {
        group,
        groups: 1,
        rounds: 1,
        warmup: 0,
        slots: 1,
        peers: Peers::Own,
        confirm: false,
        keys: false,
        epoch_rounds: 0,
        churn: 0,
        box_mib: 0,
        accountable: false,
        header_rounds: 0,
        fault: None,
        users_per_connection: users.div_ceil(connections),
        ahead: 0,
        rate: None,
        verify: Verify::Count,
        ..of.clone()
    };
    if of.answers() {
        // Records are few and small: what a server can send is told by shares, whatever the run's delivery.
        let broadcast = Plan::default();
        plan.delivery = broadcast.delivery;
        (plan.frame_bytes, plan.message_bytes) = (broadcast.frame_bytes, broadcast.message_bytes);
    }
    let round_bytes = pairs(&plan) * u64::from(share_bytes(&plan));
    plan.rounds = REPEAT_BYTES.div_ceil(round_bytes).clamp(1, ROUNDS_MAX) as u32;
    plan
}

fn pair(play: &Play, sent: &[Sent]) -> Pair {
    let egress = play.servers.iter().map(|server| server.egress_bytes).sum::<u64>().max(1) as f64;
    let plain = sent.iter().map(|sent| sent.bytes).sum::<u64>().max(1) as f64;
    let rate = |sent: &Sent| sent.bytes as f64 * 8.0 / sent.seconds.max(1e-9);
    Pair {
        served_cpu: play.servers.iter().map(|server| server.cpu_seconds).sum::<f64>() / egress,
        served_rate: egress * 8.0 / 2.0 / crate::result::delivering_seconds(&play.hosts).max(1e-9),
        plain_cpu: sent.iter().map(|sent| sent.cpu_seconds).sum::<f64>() / plain,
        plain_rate: sent.iter().map(rate).sum::<f64>() / sent.len().max(1) as f64,
    }
}

fn summary(pairs: &[Pair], connections: u64) -> Roof {
    let median = |of: fn(&Pair) -> f64| nearest_rank(&pairs.iter().map(of).collect::<Vec<_>>(), 0.5);
    let ratios: Vec<f64> = pairs.iter().map(|pair| pair.served_cpu / pair.plain_cpu).collect();
    let (served, plain) = (median(|pair| pair.served_cpu), median(|pair| pair.plain_cpu));
    Roof {
        plain_send_bits_per_s: median(|pair| pair.plain_rate),
        server_cpu_ratio: served.zip(plain).map(|(served, plain)| served / plain),
        server_cpu_ratio_min: nearest_rank(&ratios, 0.0),
        server_cpu_ratio_max: nearest_rank(&ratios, 1.0),
        server_cpu_seconds_per_gb: served.map(|seconds| seconds * 1e9),
        plain_send_cpu_seconds_per_gb: plain.map(|seconds| seconds * 1e9),
        server_bits_per_s: median(|pair| pair.served_rate),
        connections,
        repeats: pairs.len() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::{answer_plan, plan};

    #[test]
    fn the_roof_has_as_many_connections_as_the_run() {
        for (group, users_per_connection) in [(1_000, 200), (1_000, 1), (10_000, 512), (130, 26), (7, 1)] {
            let of = Plan { group, users_per_connection, ..plan() };
            let roof = roof_plan(&of);
            let wanted = crate::coordinator::connections_by_host(&of);
            assert_eq!(
                crate::coordinator::connections_by_host(&roof),
                wanted,
                "{group} by {users_per_connection}"
            );
        }
        assert_eq!(
            roof_plan(&Plan { group: 60_000, users_per_connection: 1, ..plan() }).users_per_connection,
            1
        );
    }

    #[test]
    fn the_roof_of_answer_delivery_is_that_of_broadcast() {
        let answer = Plan { group: 10_000, ..answer_plan() };
        let broadcast = Plan { group: 10_000, ..plan() };
        assert_eq!(roof_plan(&answer), roof_plan(&broadcast));
    }

    #[test]
    fn a_repeat_moves_about_as_many_bytes_whatever_the_group() {
        assert_eq!(roof_plan(&plan()).rounds, 1);
        assert_eq!(roof_plan(&Plan { group: 500, ..plan() }).rounds, 4);
        assert_eq!(roof_plan(&Plan { group: 10, hosts: 2, ..plan() }).rounds, 100, "bounded for tiny groups");
    }

    #[test]
    fn the_ratio_is_of_medians_and_its_spread_of_pairs() {
        let pair = |served_cpu, plain_cpu| Pair { served_cpu, plain_cpu, served_rate: 1.0, plain_rate: 2.0 };
        let roof = summary(&[pair(1.2e-9, 1.0e-9), pair(9.0e-9, 1.5e-9), pair(1.8e-9, 1.2e-9)], 5);
        assert!((roof.server_cpu_ratio.unwrap() - 1.5).abs() < 1e-9, "{roof:?}");
        assert!((roof.server_cpu_ratio_min.unwrap() - 1.2).abs() < 1e-9);
        assert!((roof.server_cpu_ratio_max.unwrap() - 6.0).abs() < 1e-9);
        assert!((roof.server_cpu_seconds_per_gb.unwrap() - 1.8).abs() < 1e-9);
        assert_eq!((roof.connections, roof.repeats), (5, 3));
    }
}
