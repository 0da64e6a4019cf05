//! How rounds were planned, and how the plan was kept.

use crate::control::{DialReport, PlayReport};
use crate::plan::Plan;
use serde::{Deserialize, Serialize};

/// How the measured rounds were planned, and how that was kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadResult {
    /// Rounds per second that were planned (open loop); none in lockstep.
    pub rate: Option<f64>,
    /// Rounds per second from the first planned instant to the last verdict or, in open loop, the end of the last round's
    /// slot, whichever is later: never more than `rate`.
    pub achieved_rate: Option<f64>,
    /// Rounds that were begun a whole interval or more late, on the host with the most.
    pub missed_slots: u64,
    /// How long the instant at which all hosts were to begin had passed when the last of them was ready, in seconds.
    pub start_late_seconds: f64,
}

impl LoadResult {
    pub(super) fn of(plan: &Plan, dial: &[DialReport], hosts: &[PlayReport]) -> LoadResult {
        let most = |of: &mut dyn Iterator<Item = f64>| of.fold(0.0, f64::max);
        let rounds = f64::from(plan.rounds);
        let scheduled = plan.rate.map_or(0.0, |rate| rounds / rate);
        let seconds = most(&mut hosts.iter().map(|host| host.seconds)).max(scheduled);
        let late =
            dial.iter().map(|host| host.late_seconds).chain(hosts.iter().map(|host| host.late_seconds));
        LoadResult {
            rate: plan.rate,
            achieved_rate: (seconds > 0.0).then(|| rounds / seconds),
            missed_slots: hosts.iter().map(|host| host.missed_slots).max().unwrap_or(0),
            start_late_seconds: most(&mut { late }),
        }
    }
}
