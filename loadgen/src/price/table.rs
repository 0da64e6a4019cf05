//! What a person reads of it.

use super::{Beside, FIGURES, Price, Runs};
use crate::stats::Spread;
use crate::units::{bytes, seconds, thousands};
use std::fmt::Write as _;

/// How a figure is called, and written.
type Form = (&'static str, fn(f64) -> String);

fn form(figure: &str) -> Form {
    match figure {
        "guard.server_cpu_ns_per_byte" => ("server CPU of a byte", |value| format!("{value:.3} ns")),
        "round_seconds.p50" => ("round time", seconds),
        "guard.egress_bytes_per_member" => ("egress, a member and round", bytes),
        _ => ("dialling", seconds),
    }
}

/// What a figure may be at the most beside the runs that are guarded less: private channels double the CPU and the time
/// of a round at the most, and what an accountable group adds to the bytes is small.
fn bound(figure: &str, name: &str) -> Option<f64> {
    match (name, figure) {
        ("noise", "guard.server_cpu_ns_per_byte" | "round_seconds.p50") => Some(2.0),
        ("accountable", "guard.egress_bytes_per_member") => Some(1.02),
        _ => None,
    }
}

/// All of it, with the verdict as its last line.
pub(super) fn render(price: &Price) -> String {
    let mut text = String::new();
    let mut line = |words: &str| writeln!(text, "{}", words.trim_end()).expect("a string takes it");
    let environment = &price.environment;
    line(&format!(
        "What guarding costs: {} runs of each in turns, on {}, {} cores, {}",
        price.runs.iter().flat_map(|runs| runs.figures.values()).map(|spread| spread.n).max().unwrap_or(0),
        environment.cpu,
        environment.cores,
        environment.kernel
    ));
    for Runs { name, plan, .. } in &price.runs {
        line(&format!(
            "  {name}: a group of {} on {} hosts, {} rounds; {} channels, users {}{}",
            thousands(plan.group.into()),
            plan.hosts,
            plan.rounds,
            plan.channel,
            plan.identities,
            if plan.accountable {
                format!(", accountable with headers every {} rounds", plan.header_rounds)
            } else {
                String::new()
            }
        ));
    }
    if price.runs.iter().any(|runs| runs.plan.accountable) {
        line(
            "  (rounds are whole periods of headers, rounded up: every member has as many turns as any other)",
        );
    }
    for (figure, _) in FIGURES {
        let (name, write) = form(figure);
        line("");
        line(&row(name, ["median", "least", "greatest"].map(str::to_owned)));
        for Runs { name, figures, .. } in &price.runs {
            figures.get(figure).into_iter().for_each(|of| line(&row(&format!("  {name}"), ends(of, write))));
        }
        for Beside { name: beside_name, over, figures } in &price.ratios {
            let ratio = |value: f64| format!("{value:.3}");
            let name = format!("  {beside_name} / {over}");
            let Some(of) = figures.get(figure) else { continue };
            line(&row(&name, ends(of, ratio)));
            if let Some(most) = bound(figure, beside_name) {
                let word = if of.median <= most { "met" } else { "NOT met" };
                line(&format!("    at most {most:.2} times is wanted: {word} by the median"));
            }
        }
    }
    line("");
    line(&row("One core alone, a second", ["median", "least", "greatest"].map(str::to_owned)));
    for alone in &price.alone {
        let whole = |value: f64| thousands(value as u64);
        line(&row(&format!("  {}", alone.name), ends(&alone.per_second, whole)));
    }
    line("");
    price.limited_by.iter().for_each(|sentence| line(&format!("Limited by: {sentence}.")));
    if price.failures.is_empty() {
        line("Every check passed.");
    } else {
        line("FAILED:");
        price.failures.iter().for_each(|failure| line(&format!("  {failure}")));
    }
    text
}

fn ends(of: &Spread, write: impl Fn(f64) -> String) -> [String; 3] {
    [of.median, of.min, of.max].map(write)
}

fn row(name: &str, [one, two, three]: [String; 3]) -> String {
    format!("{name:<50}{one:>14}{two:>14}{three:>14}")
}
