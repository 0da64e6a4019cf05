//! What makes a run fail its checks.

use super::RunResult;
use crate::coordinator::stage::Play;
use crate::limits::pairs;
use crate::plan::Verify;
use crate::units::thousands;

/// Complaints of hosts that are repeated at the most.
const COMPLAINTS_MAX: usize = 5;

/// What is wrong with a run, a sentence each.
pub(super) fn failures(result: &RunResult, play: &Play, bad_to_stop: &[String]) -> Vec<String> {
    let totals = &result.totals;
    let mut failures = Vec::new();
    let mut none_of = |count: u64, what: &str| {
        if count > 0 {
            failures.push(format!("{} {what}", thousands(count)));
        }
    };
    none_of(totals.lost, "messages were lost");
    none_of(totals.misdelivered, "messages were misdelivered: accepted by somebody they were not for");
    none_of(totals.altered, "messages were altered: accepted by their recipient with other bytes");
    none_of(totals.extra, "messages were accepted that nobody sent");
    none_of(totals.tampered, "cells were tampered with: they did not decode");
    none_of(totals.incomplete, "cells came from one server only");
    none_of(totals.absent, "cells had no sender, though nobody was away");
    none_of(totals.rounds_skipped, "rounds were left out by a server, because too many readers lagged");
    none_of(result.dial.confirm_failed, "bit confirmations were missing or did not decode");
    none_of(
        result.servers.iter().map(|server| server.slow_readers_closed).sum(),
        "connections were closed by a server because they did not read",
    );
    if result.plan.verify != Verify::Count && totals.accepted != totals.messages_sent {
        failures.push(format!(
            "{} messages were accepted and {} sent",
            thousands(totals.accepted),
            thousands(totals.messages_sent)
        ));
    }
    cells(result, &mut failures);
    for (index, host) in play.hosts.iter().enumerate() {
        if host.round_seconds.len() != result.plan.rounds as usize {
            failures.push(format!(
                "host {index} closed {} rounds of {}",
                host.round_seconds.len(),
                result.plan.rounds
            ));
        }
    }
    failures.extend(bad_to_stop.iter().map(|name| format!("{name} did not stop when it was told to")));
    let complaints = play.hosts.iter().enumerate();
    let complaints =
        complaints.flat_map(|(host, report)| report.complaints.iter().map(move |said| (host, said)));
    failures.extend(complaints.take(COMPLAINTS_MAX).map(|(host, said)| format!("host {host}: {said}")));
    failures
}

/// Every cell is decoded or counted, and in a full verification every one is decoded.
fn cells(result: &RunResult, failures: &mut Vec<String>) {
    let totals = &result.totals;
    let planned = pairs(&result.plan) * u64::from(result.plan.rounds);
    let seen = totals.shares_verified + totals.shares_counted + totals.incomplete + totals.absent;
    if seen != planned {
        failures.push(format!("{} cells arrived and {} were planned", thousands(seen), thousands(planned)));
    }
    if result.plan.verify == Verify::All && totals.shares_counted > 0 {
        failures.push(format!("{} cells were not verified", thousands(totals.shares_counted)));
    }
}
