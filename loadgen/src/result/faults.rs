//! Whether a fault had exactly the effect that it must have.

use super::FaultResult;
use crate::control::Totals;
use crate::fault::FaultKind;
use crate::fault::expected::expected;
use crate::plan::Plan;

/// What the plan's fault did, if it has one; `done` is how often the proxy did it.
pub(super) fn result(plan: &Plan, totals: &Totals, done: u64) -> Option<FaultResult> {
    let fault = plan.fault?;
    let expected = expected(plan, &fault);
    let times = if fault.kind == FaultKind::SwapHalf { 1 } else { done };
    Some(FaultResult {
        done: fault.in_words(plan),
        times,
        expected,
        as_expected: times > 0 && *totals == expected,
    })
}

/// What is wrong with a run with a fault, a sentence each.
pub(super) fn failures(fault: &FaultResult, totals: &Totals) -> Vec<String> {
    if fault.times == 0 {
        return vec![format!("the fault was not done: {}", fault.done)];
    }
    let pairs = counts(totals).into_iter().zip(counts(&fault.expected));
    pairs
        .filter(|((_, counted), (_, must))| counted != must)
        .map(|((name, counted), (_, must))| {
            format!("{name}: {counted} counted, and the fault must cause {must}")
        })
        .collect()
}

/// The counts of a run by name.
fn counts(totals: &Totals) -> [(&'static str, u64); 13] {
    let Totals {
        messages_sent,
        accepted,
        ignored,
        lost,
        misdelivered,
        altered,
        extra,
        tampered,
        incomplete,
        absent,
        shares_verified,
        shares_counted,
        rounds_skipped,
    } = *totals;
    [
        ("sent", messages_sent),
        ("accepted", accepted),
        ("ignored", ignored),
        ("lost", lost),
        ("misdelivered", misdelivered),
        ("altered", altered),
        ("extra", extra),
        ("tampered", tampered),
        ("incomplete", incomplete),
        ("absent", absent),
        ("verified", shares_verified),
        ("not verified", shares_counted),
        ("rounds left out", rounds_skipped),
    ]
}
