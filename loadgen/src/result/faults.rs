//! Whether a fault had exactly the effect that it must have.

use super::{FaultResult, GuardResult};
use crate::control::{ACCUSED, Totals};
use crate::fault::FaultKind;
use crate::fault::expected::expected;
use crate::plan::Plan;

/// Who hands out the wrong half, by its place in [`ACCUSED`].
const S1: usize = 0;

/// What the plan's fault did, if it has one; `done` is how often the proxy did it.
pub(super) fn result(plan: &Plan, totals: &Totals, guard: &GuardResult, done: u64) -> Option<FaultResult> {
    let fault = plan.fault?;
    let expected = expected(plan, &fault);
    let times = if fault.kind == FaultKind::SwapHalf { 1 } else { done };
    Some(FaultResult {
        done: fault.in_words(plan),
        times,
        expected,
        as_expected: times > 0 && *totals == expected && shown(plan, guard).is_empty(),
    })
}

/// What a fault must show besides its counts, and did not, a sentence each: that a client whose connection breaks says why,
/// and that in an accountable group there is evidence against the server that did it.
fn shown(plan: &Plan, guard: &GuardResult) -> Vec<String> {
    let Some(fault) = plan.fault else { return Vec::new() };
    let mut failures = Vec::new();
    match (fault.kind.breaks(), guard.broken.as_slice()) {
        (None, []) => {}
        (Some(must_say), [said]) if said.contains(must_say) => {}
        (None, said) => failures.push(format!("connections broke, and none should: {}", said.join("; "))),
        (Some(must_say), said) => failures.push(format!(
            "one client must say that {must_say}, and {}",
            if said.is_empty() { "nobody did".to_owned() } else { format!("said: {}", said.join("; ")) }
        )),
    }
    let must_blame = plan.accountable && fault.kind == FaultKind::SwapHalf;
    if must_blame && guard.blames_of(S1).is_empty() {
        failures.push("evidence against S1 must come, and none did".into());
    }
    let innocent = (0..ACCUSED.len()).filter(|whom| !(must_blame && *whom == S1));
    let said = innocent.flat_map(|whom| guard.blames_of(whom));
    failures.extend(said.map(|said| format!("evidence against who did nothing: {said}")));
    failures
}

/// What is wrong with a run with a fault, a sentence each.
pub(super) fn failures(
    plan: &Plan,
    fault: &FaultResult,
    totals: &Totals,
    guard: &GuardResult,
) -> Vec<String> {
    if fault.times == 0 {
        return vec![format!("the fault was not done: {}", fault.done)];
    }
    let shown = shown(plan, guard);
    let pairs = counts(totals).into_iter().zip(counts(&fault.expected));
    pairs
        .filter(|((_, counted), (_, must))| counted != must)
        .map(|((name, counted), (_, must))| {
            format!("{name}: {counted} counted, and the fault must cause {must}")
        })
        .chain(shown)
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
