//! What the run cost, and what was done to it: the sections that only some runs have.

use super::Table;
use crate::control::{Phase, Totals};
use crate::plan::{ChannelName, IdentitiesName, Plan};
use crate::result::RunResult;
use crate::units::{bytes, micros, seconds, thousands, traffic};
use twincast_protocol::format::Profile;

/// Epochs that have rows of their own.
const EPOCHS_SHOWN: usize = 5;

/// Epoch by epoch: session keys, confirmations and keys.
pub(super) fn epochs(table: &mut Table, result: &RunResult) {
    if result.epochs.is_empty() {
        return;
    }
    table.section("Epochs", &["time", "up", "down", "done", "failed"]);
    for epoch in result.epochs.iter().take(EPOCHS_SHOWN) {
        let mut row = |name: &str, phase: &Phase, counts: Option<[u64; 2]>| {
            let (up, down) = (phase.bytes.up_all(), phase.bytes.down_all());
            if up + down > 0 {
                let mut figures = vec![seconds(phase.seconds), traffic(up), traffic(down)];
                figures.extend(counts.into_iter().flatten().map(thousands));
                table.row(&format!("epoch {}: {name}", epoch.epoch), &figures);
            }
        };
        row(if result.plan.answers() { "queries" } else { "session keys" }, &epoch.dial, None);
        row("confirmations", &epoch.confirm, Some([epoch.confirm_cells, epoch.confirm_failed]));
        row("keys", &epoch.keys, Some([epoch.key_pairs, epoch.keys_failed]));
    }
    if result.epochs.len() > EPOCHS_SHOWN {
        table.line(&format!("and {} epochs more", result.epochs.len() - EPOCHS_SHOWN));
    }
}

/// For a message and for a delivery, what answers took beside what they are, and the model beside what was measured.
pub(super) fn costs(table: &mut Table, result: &RunResult) {
    let cost = &result.cost;
    let figures = |time: Option<f64>, up: Option<f64>, down: Option<f64>| {
        let bytes = |amount: Option<f64>| amount.map_or_else(|| "-".into(), bytes);
        [micros(time), bytes(up), bytes(down)]
    };
    table.section("Cost", &["time", "in, both", "out, both"]);
    let message = figures(cost.message_us, cost.message_bytes_in, cost.message_bytes_out);
    let delivered = figures(cost.delivered_us, cost.delivered_bytes_in, cost.delivered_bytes_out);
    let names = match result.plan.answers() {
        true => ["a record (or cover)", "a read record"],
        false => ["a message (or cover)", "a delivered message"],
    };
    table.row(names[0], &message);
    table.row(names[1], &delivered);
    answers(table, result);
    let links: Vec<String> = result.servers.iter().map(|server| traffic(server.link_bytes)).collect();
    table.line(&format!(
        "Link between the servers, sent by each in the rounds, beside these: {}.",
        links.join(", ")
    ));
    if result.fault.is_none() && !result.bytes.is_empty() {
        model(table, result);
    }
}

/// What answers took beside what they are.
fn answers(table: &mut Table, result: &RunResult) {
    let Some(answer) = &result.answer else { return };
    let ratio = |of: Option<f64>| of.map_or_else(|| "-".into(), |ratio| format!("{ratio:.4}"));
    table.line(&format!(
        "Answers are {}; with their frames {} times that, with all else that clients got in the measured rounds {};",
        traffic(answer.payload_bytes),
        ratio(answer.frames_ratio),
        ratio(answer.clients_ratio)
    ));
    table.line(&format!(
        "in all, with the warm-up, the lists of members and all dialling, {} times the answers of all rounds.",
        ratio(answer.run_ratio)
    ));
}

/// The cost model beside what was measured.
fn model(table: &mut Table, result: &RunResult) {
    table.section("Bytes, both servers", &["in: model", "measured", "out: model", "measured", ""]);
    for row in result.bytes.iter().filter(|row| row.model.down_all() + row.measured.down_all() > 0) {
        let pairs =
            [(row.model.up_all(), row.measured.up_all()), (row.model.down_all(), row.measured.down_all())];
        let mut figures: Vec<String> =
            pairs.iter().flat_map(|(model, measured)| [thousands(*model), thousands(*measured)]).collect();
        // What has not come when dialling ends is asked for again.
        let at_least = row.part == "grants" && row.measured.down_all() >= row.model.down_all();
        // Which tile is asked for is drawn, and tiles differ; the last answers may come after the run.
        let at_most = row.part == "headers"
            && row.measured.up_all() <= row.model.up_all()
            && row.measured.down_all() <= row.model.down_all();
        let word = if row.is_exact() {
            "exact"
        } else if at_least {
            "at least"
        } else if at_most {
            "at most"
        } else {
            "DIFFERS"
        };
        figures.push(word.into());
        table.row(&format!("  {}", row.part), &figures);
    }
}

/// The paper's own key exchange.
pub(super) fn partitions(table: &mut Table, result: &RunResult) {
    let Some(cost) = &result.partitions else { return };
    let name = format!("Paper's keys, kappa {}", cost.kappa);
    table.section(&name, &["up", "down", "reply up", "reply down", "read", "measured"]);
    let amounts =
        [cost.upload_bytes, cost.delivered_bytes, cost.reply_upload_bytes, cost.reply_delivered_bytes];
    let mut figures = amounts.map(traffic).to_vec();
    figures.extend([cost.probability, cost.measured].map(|part| format!("{:.3}%", part * 100.0)));
    table.row("a member, each server", &figures);
    table.line("(read: how often a given account of another user reads the key)");
}

/// What was done, what it must cause, and what it caused.
pub(super) fn fault(table: &mut Table, result: &RunResult) {
    let Some(fault) = &result.fault else { return };
    table.section("Fault", &["accepted", "lost", "misdelivered", "tampered", "incomplete", "absent"]);
    let counts = |totals: &Totals| {
        let Totals { accepted, lost, misdelivered, tampered, incomplete, absent, .. } = *totals;
        [accepted, lost, misdelivered, tampered, incomplete, absent].map(thousands)
    };
    table.row("must cause", &counts(&fault.expected));
    table.row("caused", &counts(&result.totals));
    let times = if fault.times == 1 { "once".into() } else { format!("{} times", thousands(fault.times)) };
    table.line(&format!("Done {times}: {}.", fault.done));
}

/// Profile, scheme and sizes, in one line.
pub(super) fn format(plan: &Plan, result: &RunResult) -> String {
    let format = &result.format;
    if plan.answers() {
        return format!(
            "answer delivery, records of {} bytes, frames of {} and messages of {} bytes",
            thousands(format.share_bytes),
            thousands(plan.frame_bytes.into()),
            thousands(plan.message_bytes.into())
        );
    }
    let baseline = if Profile::from(plan.profile).is_paper() { " (insecure baseline)" } else { "" };
    let cells = if format.cell_bytes[0] == format.cell_bytes[1] {
        format!("shares of {} bytes", thousands(format.share_bytes))
    } else {
        format!("shares of {} bytes, two of them from S1", thousands(format.share_bytes))
    };
    format!(
        "profile {}{baseline}, scheme {}, {cells}, frames of {} and messages of {} bytes",
        plan.profile,
        format.scheme,
        thousands(plan.frame_bytes.into()),
        thousands(plan.message_bytes.into())
    )
}

/// Epochs, keys, the link and the box, in one line.
pub(super) fn setting(plan: &Plan) -> String {
    let mut words = vec![match plan.epoch_rounds {
        0 => "one epoch".to_owned(),
        rounds => format!("{} epochs of {rounds} rounds", plan.epochs()),
    }];
    if plan.churn > 0 {
        words.push(format!("{} users leave and {} join at each change", plan.churn, plan.churn));
    }
    if plan.keys {
        words.push("keys exchanged".into());
    }
    words.push(if plan.linked { "servers linked".into() } else { "servers alone".into() });
    if plan.box_mib > 0 {
        words.push(format!("a box of {} MiB", thousands(plan.box_mib.into())));
    }
    words.join("; ")
}

/// How the run was guarded, in a line.
pub(crate) fn guard(plan: &Plan) -> String {
    let mut words = vec![match plan.channel {
        ChannelName::Noise => "private channels".to_owned(),
        ChannelName::Plain => "plain channels".to_owned(),
    }];
    words.push(match plan.identities {
        IdentitiesName::Registered => "users registered".into(),
        IdentitiesName::Open => "users are whoever comes".into(),
    });
    if plan.accountable {
        let rounds = plan.header_rounds;
        words
            .push(format!("accountable, headers every {rounds} round{}", if rounds == 1 { "" } else { "s" }));
    }
    words.join("; ")
}

/// What users of accountable groups got against anybody.
pub(super) fn evidence(table: &mut Table, result: &RunResult) {
    let guard = &result.guard;
    guard.broken.iter().for_each(|said| table.line(&format!("Broken: {said}.")));
    if let Some(words) = guard.evidence_in_words() {
        table.line(&words);
        let mut told = Vec::new();
        for verdict in &guard.verdicts {
            if !told.contains(&&verdict.verdict) {
                table.line(&format!("  {}", verdict.verdict));
                told.push(&verdict.verdict);
            }
        }
    }
}
