//! What a run cost: for each message, for each part of an epoch, and against the model.

use super::{Bytes, Cost, Format};
use crate::control::{EpochReport, Flow, PlayReport, Totals};
use crate::cost::{headers, model};
use crate::plan::{Plan, RECORD_BYTES};
use twincast_protocol::format::Scheme;
use twincast_protocol::ids::ServerSide;

/// The share format of a plan.
pub(super) fn format(plan: &Plan) -> Result<Format, String> {
    let format = plan.format()?;
    if plan.answers() {
        return Ok(Format {
            scheme: "plain".to_owned(),
            share_bytes: RECORD_BYTES,
            cell_bytes: [RECORD_BYTES; 2],
            row_bytes: [RECORD_BYTES; 2],
        });
    }
    let scheme = match format.scheme() {
        Scheme::Plain => "plain".to_owned(),
        Scheme::Algorithm4 => "algorithm4".to_owned(),
        Scheme::OneToMany { .. } => "one-to-many".to_owned(),
    };
    Ok(Format {
        scheme,
        share_bytes: format.share_bytes() as u64,
        cell_bytes: ServerSide::BOTH.map(|side| format.cell_bytes(side) as u64),
        row_bytes: ServerSide::BOTH.map(|side| format.row_bytes(side) as u64),
    })
}

/// What one message, and one delivery of a message, cost. Cover counts as messages do: nobody can tell them apart.
pub(super) fn cost(plan: &Plan, totals: &Totals, delivering_seconds: f64, messages: Flow) -> Cost {
    let each = u64::from(plan.messages_each());
    let sent = u64::from(plan.group) * each * u64::from(plan.groups) * u64::from(plan.rounds);
    // To thousandths, which JSON brings back as they were.
    let per = |amount: f64, count: u64| (count > 0).then(|| (amount / count as f64 * 1e3).round() / 1e3);
    let (up, down) = (messages.up_all() as f64, messages.down_all() as f64);
    Cost {
        message_us: per(delivering_seconds * 1e6, sent),
        message_bytes_in: per(up, sent),
        message_bytes_out: per(down, sent),
        delivered_us: per(delivering_seconds * 1e6, totals.accepted),
        delivered_bytes_in: per(up, totals.accepted),
        delivered_bytes_out: per(down, totals.accepted),
    }
}

/// Every epoch that all hosts had open, all hosts together.
pub(super) fn epochs(hosts: &[PlayReport]) -> Vec<EpochReport> {
    let Some((first, rest)) = hosts.split_first() else { return Vec::new() };
    let of_all = |epoch: &EpochReport| {
        rest.iter().try_fold(*epoch, |all, host| {
            host.epochs.iter().find(|other| other.epoch == all.epoch).map(|other| all.with(other))
        })
    };
    first.epochs.iter().filter_map(of_all).filter(|epoch| epoch.open).collect()
}

/// The model's bytes beside those measured: of the first epoch, and of the measured rounds.
pub(super) fn bytes(plan: &Plan, hosts: &[PlayReport], epochs: &[EpochReport]) -> Result<Vec<Bytes>, String> {
    let sum =
        |of: fn(&PlayReport) -> Flow| hosts.iter().map(of).fold(Flow::default(), |all, host| all + host);
    // The model has nobody come or go.
    if plan.churn > 0 {
        return Ok(Vec::new());
    }
    let model = model(plan, 0)?;
    let first = epochs.first().filter(|epoch| epoch.epoch == 0).copied().unwrap_or_default();
    let row = |part: &str, model: Flow, measured: Flow| Bytes { part: part.into(), model, measured };
    let rounds = model.round.times(plan.rounds.into());
    Ok(vec![
        row("attach", model.attach, sum(|host| host.attach)),
        row("members", model.members, first.members),
        row("dial", model.dial, first.dial.bytes),
        row("grants", model.grants, first.grants),
        row("confirm", model.confirm, first.confirm.bytes),
        row("keys", model.keys, first.keys.bytes),
        row("rounds", rounds, sum(|host| host.messages)),
        row("headers", headers(plan), sum(|host| host.headers)),
        row("other", Flow::default(), sum(|host| host.other)),
    ])
}
