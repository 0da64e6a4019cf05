//! What makes a run fail its checks.

use super::RunResult;
use crate::coordinator::stage::Play;
use crate::limits::pairs;
use crate::plan::Verify;
use crate::units::thousands;

/// Complaints of hosts that are repeated at the most.
const COMPLAINTS_MAX: usize = 5;

/// Parts of a run's bytes that the cost model has to the byte, in every run that has no fault. Of the others some frames
/// depend on who was quicker.
const EXACT: [&str; 2] = ["dial", "rounds"];

/// What is wrong with a run, a sentence each.
pub(super) fn failures(result: &RunResult, play: &Play, bad_to_stop: &[String]) -> Vec<String> {
    if let Some(fault) = &result.fault {
        let mut failures = super::faults::failures(&result.plan, fault, &result.totals, &result.guard);
        rounds(result, play, &mut failures);
        failures.extend(bad_to_stop.iter().map(|name| not_stopped(name)));
        return failures;
    }
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
    failures.extend(result.guard.blames().into_iter().map(|said| format!("there is evidence: {said}")));
    failures.extend(result.guard.broken.iter().cloned());
    failures.extend(result.link.failures());
    cells(result, &mut failures);
    rounds(result, play, &mut failures);
    epochs(result, &mut failures);
    bytes(result, &mut failures);
    failures.extend(bad_to_stop.iter().map(|name| not_stopped(name)));
    let complaints = play.hosts.iter().enumerate();
    let complaints =
        complaints.flat_map(|(host, report)| report.complaints.iter().map(move |said| (host, said)));
    failures.extend(complaints.take(COMPLAINTS_MAX).map(|(host, said)| format!("host {host}: {said}")));
    failures
}

fn not_stopped(name: &str) -> String {
    format!("{name} did not stop when it was told to")
}

/// Every host closes every round.
fn rounds(result: &RunResult, play: &Play, failures: &mut Vec<String>) {
    for (index, host) in play.hosts.iter().enumerate() {
        if host.round_seconds.len() != result.plan.rounds as usize {
            failures.push(format!(
                "host {index} closed {} rounds of {}",
                host.round_seconds.len(),
                result.plan.rounds
            ));
        }
    }
}

/// Every epoch of the measured rounds is opened, with everybody's confirmations and keys.
fn epochs(result: &RunResult, failures: &mut Vec<String>) {
    let plan = &result.plan;
    let opened = result.epochs.len() as u64;
    if opened < u64::from(plan.epochs()) {
        failures.push(format!("{opened} epochs were opened of the {} that the rounds have", plan.epochs()));
    }
    for epoch in &result.epochs {
        if epoch.epoch > 0 && epoch.confirm_failed > 0 {
            failures.push(format!(
                "epoch {}: {} bit confirmations were missing or did not decode",
                epoch.epoch,
                thousands(epoch.confirm_failed)
            ));
        }
        if epoch.keys_failed > 0 {
            failures.push(format!(
                "epoch {}: {} keys were missing or did not decode",
                epoch.epoch,
                thousands(epoch.keys_failed)
            ));
        }
        if plan.keys && plan.recipients_each() > 0 && epoch.key_pairs == 0 {
            failures.push(format!("epoch {}: nobody got a key", epoch.epoch));
        }
    }
}

/// What passed the hosts' sockets is what the cost model says.
fn bytes(result: &RunResult, failures: &mut Vec<String>) {
    for row in result.bytes.iter().filter(|row| EXACT.contains(&row.part.as_str()) && !row.is_exact()) {
        let [measured, model] = [row.measured, row.model]
            .map(|flow| format!("{} in and {} out", thousands(flow.up_all()), thousands(flow.down_all())));
        failures
            .push(format!("bytes of {}: {measured} were measured, and the cost model has {model}", row.part));
    }
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
