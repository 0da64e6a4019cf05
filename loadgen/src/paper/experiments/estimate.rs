//! How long things take on a machine with two cores, about.

use super::link_dial_floor;
use crate::baseline::{Baseline, Setup};
use crate::net::Link;
use crate::paper::model::{goodput_bits_per_s, link_round_seconds};
use crate::plan::{Peers, Plan};

/// Starting and stopping servers and hosts.
pub(super) const START_S: f64 = 0.5;
/// A pair of shares sent, received, decoded and verified, by profile.
const COMPACT_CELL_S: f64 = 0.25e-6;
const PAPER_CELL_S: f64 = 2.2e-6;
const PAPER_QUARTER_CELL_S: f64 = 2.7e-6;
/// A confirmation for one member.
const CONFIRM_CELL_S: f64 = 0.3e-6;
/// A share of a rival, both servers and the hosts together on two cores.
const NAGLE_SHARE_S: f64 = 8.7e-6;
const NO_NAGLE_SHARE_S: f64 = 6.5e-6;
const RELAYED_S: f64 = 0.5e-6;
/// A user of MCMix for each level of its sorts.
const MCMIX_USER_S: f64 = 4e-6;
/// Bytes that both sides of the roof send, warm-up included.
const ROOF_BYTES: f64 = 8.0 * 300e6;
/// Seconds to send a byte of it, the readers included.
const ROOF_BYTE_S: f64 = 2e-9;

fn cells(plan: &Plan) -> f64 {
    f64::from(plan.group) * f64::from(plan.group) * f64::from(plan.groups) * f64::from(plan.slots)
}

/// A round.
pub(super) fn round_s(plan: &Plan) -> f64 {
    let cell_s = match (plan.profile.is_paper(), plan.peers) {
        (false, _) => COMPACT_CELL_S,
        (true, Peers::Subgroup(_)) => PAPER_QUARTER_CELL_S,
        (true, _) => PAPER_CELL_S,
    };
    (cells(plan) * cell_s).max(link_round_seconds(plan).unwrap_or(0.0))
}

/// Attaching, dialling and confirming.
pub(super) fn dial_s(plan: &Plan) -> f64 {
    let confirm_s = if plan.confirm { cells(plan) * CONFIRM_CELL_S } else { 0.0 };
    confirm_s.max(link_dial_floor(plan))
}

/// A whole run.
pub(super) fn run_s(plan: &Plan) -> f64 {
    START_S + dial_s(plan) + plan.all_rounds() as f64 * round_s(plan)
}

/// The roof of a run.
pub(super) fn roof_s(plan: &Plan) -> f64 {
    let link_s = goodput_bits_per_s(&plan.link).map_or(0.0, |goodput| ROOF_BYTES * 8.0 / goodput);
    2.0 * START_S + (ROOF_BYTES * ROOF_BYTE_S).max(link_s)
}

/// A baseline over sockets.
pub(super) fn rival_s(rival: Baseline, setup: &Setup, link: &Link) -> f64 {
    let deliveries = f64::from(setup.members) * f64::from(setup.senders);
    let (share_s, extra_bytes) = match rival {
        Baseline::Faithful { nagle: true } => (NAGLE_SHARE_S, 8.0),
        // Every share is a packet of its own.
        Baseline::Faithful { nagle: false } => (NO_NAGLE_SHARE_S, 98.0),
        Baseline::Pki | Baseline::Broker => (RELAYED_S, 32.0),
    };
    let bytes = deliveries * (f64::from(setup.share_bytes) + extra_bytes);
    let link_s = goodput_bits_per_s(link).map_or(0.0, |goodput| bytes * 8.0 / goodput);
    START_S + f64::from(setup.rounds + 1) * (deliveries * share_s).max(link_s)
}

/// A round of MCMix, its check included.
pub(super) fn mcmix_s(users: u32) -> f64 {
    f64::from(users) * f64::from(users).log2() * MCMIX_USER_S
}
