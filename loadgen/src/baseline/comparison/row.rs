//! The figures that Twincast and its baselines have in common.

use super::Mcmix;
use crate::baseline::BaselineResult;
use crate::result::RunResult;
use crate::stats::Spread;
use serde::{Deserialize, Serialize};
use twincast_baselines::mcmix::Cost;

/// One of those that are compared. A figure is `None` where it has none that could be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    /// Who.
    pub(crate) name: String,
    /// Messages per second that came to all members; of MCMix, to the one whom each is for.
    pub(crate) messages_per_s: Option<Spread>,
    /// Deliveries per second of each server.
    pub(crate) deliveries_per_s: Option<Spread>,
    /// Seconds of a round in which all members send, on its slowest host, the median round.
    pub(crate) round_seconds: Option<Spread>,
    /// Seconds until all users were attached and had dialled or subscribed, and confirmed where that is a part of it.
    pub(crate) dial_seconds: Option<Spread>,
    /// CPU microseconds of a server for each delivery.
    pub(crate) server_cpu_us_per_delivery: Option<Spread>,
    /// CPU microseconds of all servers for each message.
    pub(crate) server_cpu_us_per_message: Option<Spread>,
    /// Twincast's messages per second over this one's, in the same repeat.
    pub(crate) messages_ratio: Option<Spread>,
    /// This one's CPU time for a delivery over Twincast's, in the same repeat.
    pub(crate) cpu_per_delivery_ratio: Option<Spread>,
    /// This one's CPU time for a message over Twincast's, in the same repeat.
    pub(crate) cpu_per_message_ratio: Option<Spread>,
    /// Whether some figure is of a sample.
    pub(crate) sampled: bool,
    /// Whether some figure is modelled.
    pub(crate) modelled: bool,
    /// What was measured, sampled, scaled and modelled, in words.
    pub(crate) note: String,
}

/// One value for each repeat; 0, or nothing, where there is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures {
    messages_per_s: Vec<f64>,
    deliveries_per_s: Vec<f64>,
    round_seconds: Vec<f64>,
    dial_seconds: Vec<f64>,
    cpu_us_per_delivery: Vec<f64>,
    cpu_us_per_message: Vec<f64>,
}

impl Figures {
    /// Of Twincast's runs.
    pub(super) fn of_twincast(results: &[RunResult]) -> Figures {
        let mut all = Figures::default();
        for result in results {
            let servers = &result.servers;
            let rate = servers.iter().map(|server| server.shares_per_s).sum::<f64>();
            let rate = rate / servers.len().max(1) as f64;
            let cpu_us = servers.iter().map(|server| server.cpu_seconds).sum::<f64>() * 1e6;
            let group = f64::from(result.plan.group);
            all.messages_per_s.push(rate / group);
            all.deliveries_per_s.push(rate);
            all.round_seconds.push(result.round_seconds.p50.unwrap_or(0.0));
            all.dial_seconds.push(result.dial.seconds);
            all.cpu_us_per_delivery.push(cpu_us / shares(result).max(1) as f64);
            all.cpu_us_per_message.push(cpu_us / (group * f64::from(result.plan.rounds)));
        }
        all
    }

    fn row(self, name: String, twincast: &Figures) -> Row {
        Row {
            name,
            messages_ratio: ratio(&twincast.messages_per_s, &self.messages_per_s),
            cpu_per_delivery_ratio: ratio(&self.cpu_us_per_delivery, &twincast.cpu_us_per_delivery),
            cpu_per_message_ratio: ratio(&self.cpu_us_per_message, &twincast.cpu_us_per_message),
            messages_per_s: spread(&self.messages_per_s),
            deliveries_per_s: spread(&self.deliveries_per_s),
            round_seconds: spread(&self.round_seconds),
            dial_seconds: spread(&self.dial_seconds),
            server_cpu_us_per_delivery: spread(&self.cpu_us_per_delivery),
            server_cpu_us_per_message: spread(&self.cpu_us_per_message),
            sampled: false,
            modelled: false,
            note: String::new(),
        }
    }
}

/// Twincast itself.
pub(super) fn twincast(result: &RunResult, own: &Figures) -> Row {
    let note = format!(
        "Two servers; dial time is with attaching users{}. Hosts count shares and decode none.",
        if result.plan.confirm { " and confirming bits" } else { "" }
    );
    Row { note, ..own.clone().row(format!("Twincast, {}", result.plan.profile), own) }
}

/// Plain `send` of as many bytes, if the run measured it.
pub(super) fn roof(result: &RunResult, own: &Figures) -> Option<Row> {
    let (rate, cpu_per_gb) =
        result.roof.plain_send_bits_per_s.zip(result.roof.plain_send_cpu_seconds_per_gb)?;
    let egress = result.servers.iter().map(|server| server.egress_bytes).sum::<u64>();
    let bytes = egress as f64 / shares(result).max(1) as f64;
    let (group, servers) = (f64::from(result.plan.group), result.servers.len() as f64);
    let deliveries_per_s = rate / 8.0 / bytes.max(1.0);
    let cpu_us = cpu_per_gb / 1e9 * bytes * 1e6;
    let figures = Figures {
        messages_per_s: vec![deliveries_per_s / group],
        deliveries_per_s: vec![deliveries_per_s],
        round_seconds: vec![group * group / deliveries_per_s],
        dial_seconds: Vec::new(),
        cpu_us_per_delivery: vec![cpu_us],
        cpu_us_per_message: vec![cpu_us * group * servers],
    };
    let note = format!(
        "One thread for each server sends one ready buffer over as many connections, to readers that discard: the roof. \
         Its rate and its CPU time for a byte were measured, the medians of {} repeats of its own in the first repeat; a delivery is \
         the {bytes:.1} bytes that Twincast sent for one, and the round is computed from the rate.",
        result.roof.repeats
    );
    Some(Row { note, ..figures.row("plain send".into(), own) })
}

/// All repeats of a baseline over sockets; `None` of nothing.
pub(super) fn baseline(repeats: &[&BaselineResult], own: &Figures) -> Option<Row> {
    let first = repeats.first()?;
    let all = |of: fn(&BaselineResult) -> f64| repeats.iter().map(|one| of(one)).collect::<Vec<f64>>();
    let figures = Figures {
        messages_per_s: all(|one| one.messages_per_s),
        deliveries_per_s: all(|one| one.deliveries_per_s),
        round_seconds: all(|one| one.whole_round_seconds),
        dial_seconds: all(|one| one.dial_seconds),
        cpu_us_per_delivery: all(|one| one.server_cpu_us_per_delivery),
        cpu_us_per_message: all(|one| one.server_cpu_us_per_message),
    };
    let sampled = repeats.iter().any(|one| one.sampled);
    Some(Row { sampled, note: first.note.clone(), ..figures.row(first.name.clone(), own) })
}

/// MCMix's two protocols.
pub(super) fn mcmix(mcmix: &Mcmix, own: &Figures) -> [Row; 2] {
    let seconds = |costs: &[Cost]| {
        costs.iter().map(|cost| cost.total_seconds(mcmix.latency_s, mcmix.bits_per_s)).collect::<Vec<f64>>()
    };
    let users = mcmix.conversation.first().map_or(0.0, |cost| cost.users as f64);
    let cpu = |cost: &Cost| cost.local_seconds_by_party.iter().sum::<f64>() * 1e6 / cost.users.max(1) as f64;
    let rounds = seconds(&mcmix.conversation);
    let conversation = Figures {
        messages_per_s: rounds.iter().map(|round| users / round.max(1e-9)).collect(),
        round_seconds: rounds,
        cpu_us_per_message: mcmix.conversation.iter().map(cpu).collect(),
        ..Figures::default()
    };
    let dialling = Figures { dial_seconds: seconds(&mcmix.dialling), ..Figures::default() };
    let note = format!(
        "A model of our own in one process: the CPU time of its three parties is measured, communication rounds and bytes \
         are counted, and the network time is modelled, {:.0} us a round from server to server and {:.3} Gbit/s out of \
         each ({}). A message of {} bytes goes to one user and to nobody else.",
        mcmix.latency_s * 1e6,
        mcmix.bits_per_s / 1e9,
        mcmix.rate_from,
        mcmix.conversation.first().map_or(0, |cost| cost.message_bytes),
    );
    let dial_note = "As above: every user dials once.".to_owned();
    [
        Row { modelled: true, note, ..conversation.row("MCMix conversation".into(), own) },
        Row { modelled: true, note: dial_note, ..dialling.row("MCMix dialling".into(), own) },
    ]
}

fn shares(result: &RunResult) -> u64 {
    result.servers.iter().map(|server| server.egress_shares).sum()
}

/// Of those that are above 0: a server whose CPU time is too little for the kernel's ticks has none that could be told.
fn spread(values: &[f64]) -> Option<Spread> {
    Spread::of(&values.iter().copied().filter(|value| *value > 0.0).collect::<Vec<_>>())
}

/// Repeat by repeat, where both have a figure.
fn ratio(of: &[f64], over: &[f64]) -> Option<Spread> {
    let both = of.iter().zip(over).filter(|(of, over)| **of > 0.0 && **over > 0.0);
    Spread::of(&both.map(|(of, over)| of / over).collect::<Vec<_>>())
}
