//! What the answers of a run took beside what they are.

use crate::control::{DialReport, PlayReport};
use crate::limits::pairs;
use crate::plan::{Plan, RECORD_BYTES};
use serde::{Deserialize, Serialize};

/// Answers and all that came to clients with them, in the measured rounds unless it says otherwise, both servers together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerResult {
    /// Queries of a member, K.
    pub queries: u32,
    /// Bytes of the answers alone: n * K records a round from each server.
    pub payload_bytes: u64,
    /// Bytes of frames that rounds ended with, over those.
    pub frames_ratio: Option<f64>,
    /// Bytes of everything that clients got meanwhile, over those: dialling for the next epoch is in it.
    pub clients_ratio: Option<f64>,
    /// The same of the whole run: the first epoch's members and dialling, and the rounds of the warm-up, over the answers
    /// of all rounds. None in an older result.
    pub run_ratio: Option<f64>,
    /// Bytes that the servers sent each other meanwhile, over those. In neither of the others.
    pub link_ratio: Option<f64>,
}

impl AnswerResult {
    /// None where nobody asks. `warmup_bytes_in`: what clients got in the rounds of the warm-up.
    pub(super) fn of(
        plan: &Plan,
        dial: &[DialReport],
        warmup_bytes_in: u64,
        hosts: &[PlayReport],
        link_bytes: u64,
    ) -> Option<AnswerResult> {
        if !plan.answers() {
            return None;
        }
        let round_bytes = 2 * pairs(plan) * RECORD_BYTES;
        let payload_bytes = round_bytes * u64::from(plan.rounds);
        // To millionths, which JSON brings back as they were.
        let over = |bytes: u64, payload_bytes: u64| {
            (payload_bytes > 0).then(|| (bytes as f64 / payload_bytes as f64 * 1e6).round() / 1e6)
        };
        let ratio = |bytes| over(bytes, payload_bytes);
        let frames = hosts.iter().map(|host| host.messages.down_all()).sum();
        let clients: u64 = hosts.iter().flat_map(|host| host.bytes_in).sum();
        let dialling: u64 = dial.iter().map(|host| host.bytes_in).sum();
        Some(AnswerResult {
            queries: plan.slots,
            payload_bytes,
            frames_ratio: ratio(frames),
            clients_ratio: ratio(clients),
            run_ratio: over(dialling + warmup_bytes_in + clients, round_bytes * plan.all_rounds()),
            link_ratio: ratio(link_bytes),
        })
    }
}
