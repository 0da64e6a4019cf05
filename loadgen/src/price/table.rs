//! What a person reads of it.

use super::{Beside, Bound, FIGURES, Price, Runs};
use crate::report::guard_in_words;
use crate::stats::Spread;
use crate::units::{bytes, seconds, thousands};
use std::fmt::Write as _;

/// How a figure is called, and written.
type Form = (&'static str, fn(f64) -> String);

fn form(figure: &str) -> Form {
    match figure {
        "guard.server_cpu_ns_per_byte" => ("server CPU of a byte sent", |value| format!("{value:.3} ns")),
        "round_seconds.p50" => ("round time", seconds),
        "guard.egress_bytes_per_member" => ("egress of a server, a member and round", bytes),
        _ => ("dialling", seconds),
    }
}

/// All of it, with the verdict as its last line.
pub(super) fn render(price: &Price) -> String {
    let mut text = String::new();
    let mut line = |words: &str| writeln!(text, "{}", words.trim_end()).expect("a string takes it");
    let environment = &price.environment;
    let repeats =
        price.runs.iter().flat_map(|runs| runs.figures.values()).map(|spread| spread.n).max().unwrap_or(0);
    let turns = match repeats {
        1 => "one run of each".to_owned(),
        repeats => format!("{repeats} runs of each, in turns"),
    };
    line(&format!("What guarding costs with Twincast {}: {turns}", environment.versions.twincast));
    for Runs { name, plan, .. } in &price.runs {
        line(&format!(
            "  {name}: a group of {} on {} hosts, {} rounds; {}",
            thousands(plan.group.into()),
            plan.hosts,
            plan.rounds,
            guard_in_words(plan)
        ));
    }
    if price.runs.iter().any(|runs| runs.plan.accountable) {
        line(
            "  (rounds are whole periods of headers, rounded up: every member has as many turns as any other)",
        );
    }
    line(&format!("{}, {} cores, {}", environment.cpu, environment.cores, environment.kernel));
    line(&environment.hosts);
    line(&format!("commit {}", environment.git_commit));
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
            let its = |bound: &&Bound| bound.figure == figure && &bound.name == beside_name;
            if let Some(bound) = price.bounds.iter().find(its) {
                let word = if bound.is_met { "met" } else { "NOT met" };
                line(&format!("    at most {:.2} times is wanted: {word} by the median", bound.at_most));
            }
        }
    }
    line("");
    line(&row(
        "One core alone, in a second of its CPU time",
        ["median", "least", "greatest"].map(str::to_owned),
    ));
    for alone in &price.alone {
        let whole = |value: f64| thousands(value as u64);
        line(&row(&format!("  {}", alone.name), ends(&alone.per_second, whole)));
    }
    line("");
    limits(price).iter().for_each(|words| line(words));
    if !price.is_good() {
        line("FAILED:");
        price.failures.iter().for_each(|failure| line(&format!("  {failure}")));
    }
    line(&verdict(price));
    text
}

/// What limited the runs: of those of one plan that were limited alike the first, and how many more there were.
fn limits(price: &Price) -> Vec<String> {
    // The name, what limited it, and with which figures.
    let kind = |sentence: &str| sentence.splitn(3, ": ").take(2).collect::<Vec<_>>().join(": ");
    let mut kinds: Vec<(String, &str, u32)> = Vec::new();
    for sentence in &price.limited_by {
        match kinds.iter_mut().find(|(known, ..)| *known == kind(sentence)) {
            Some((.., more)) => *more += 1,
            None => kinds.push((kind(sentence), sentence, 0)),
        }
    }
    let told = kinds.into_iter().map(|(_, sentence, more)| match more {
        0 => format!("Limited by: {sentence}."),
        _ => format!("Limited by: {sentence}; {more} more the same way."),
    });
    told.collect()
}

/// Whether the runs' own checks passed, and which bounds are missed, which is not the same.
fn verdict(price: &Price) -> String {
    let checks = if price.is_good() { "Every check of every run passed" } else { "Not every check passed" };
    let missed = price.bounds.iter().filter(|bound| !bound.is_met);
    let missed: Vec<String> = missed
        .map(|Bound { figure, name, over, at_most, median, .. }| {
            format!("{}, {name} / {over}, {median:.3} and not {at_most:.2}", form(figure).0)
        })
        .collect();
    match missed.as_slice() {
        [] => format!("{checks}; every bound is met."),
        missed => format!("{checks}; bounds missed: {}.", missed.join("; ")),
    }
}

fn ends(of: &Spread, write: impl Fn(f64) -> String) -> [String; 3] {
    [of.median, of.min, of.max].map(write)
}

fn row(name: &str, [one, two, three]: [String; 3]) -> String {
    format!("{name:<50}{one:>14}{two:>14}{three:>14}")
}
