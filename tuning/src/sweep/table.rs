//! A search as a person reads it: at most 100 columns.

use super::knobs::{Candidate, Knob};
use super::outcome::{Outcome, RowOutcome, RungOutcome};
use super::search::defaults;
use super::space::{Space, setting};
use super::tune_file::{Objective, Settings};
use crate::units::thousands;
use std::fmt::Write as _;
use twincast_loadgen::plan::{Plan, Verify};
use twincast_protocol::receive::TILE_SENDERS;

/// The widest line.
pub(crate) const COLUMNS: usize = 100;
/// Of a row, what is left of its figures.
const NAME_COLUMNS: usize = 52;

/// What was searched, what was found, and what that means.
pub(crate) fn outcome(outcome: &Outcome) -> String {
    let mut text = head(&outcome.plan, &outcome.settings);
    for (index, rung) in outcome.rungs.iter().enumerate() {
        rung_table(&mut text, index + 1, rung, outcome.settings.objective);
    }
    if !outcome.not_tried.is_empty() {
        let all: Vec<String> = outcome.not_tried.iter().map(Candidate::to_string).collect();
        wrap(&mut text, &format!("The budget had no room for: {}.", all.join("; ")), 0);
    }
    if !outcome.rungs.is_empty() {
        effects(&mut text, outcome);
    }
    if let Some(last) = outcome.comparison.as_ref().filter(|last| !last.pairs.is_empty()) {
        let _ = writeln!(text, "\nthe pick against the default: {} rounds each, pairs of runs", last.rounds);
        let _ = writeln!(text, "  {:>14}{:>14}", "default", "pick");
        for [default, pick] in &last.pairs {
            let [default, pick] = [default, pick].map(|value| figure(outcome.settings.objective, *value));
            let _ = writeln!(text, "  {default:>14}{pick:>14}");
        }
    }
    text.push('\n');
    wrap(&mut text, &outcome.verdict, 0);
    let took = format!(
        "{} runs in {:.0} s of a budget of {:.0} s.",
        outcome.runs, outcome.seconds, outcome.settings.budget_s
    );
    wrap(&mut text, &took, 0);
    text
}

/// What a dry run says.
pub(crate) fn dry_run(space: &Space, settings: &Settings) -> String {
    let mut text = head(&space.plan, settings);
    let singles: Vec<_> = space.singles();
    let number: usize = singles.iter().map(|(_, values)| values.len()).sum();
    text.push_str("\nknobs, each turned alone in the first rung\n");
    for choice in &space.choices {
        let values: Vec<String> = choice.values.iter().map(ToString::to_string).collect();
        let values = if values.is_empty() { "nothing".into() } else { values.join(", ") };
        let note = choice.note.as_ref().map_or_else(String::new, |note| format!(" ({note})"));
        let line = format!("  {:<21} default {}; tried: {values}{note}", choice.knob.name(), choice.default);
        wrap(&mut text, &line, 2);
    }
    let _ = writeln!(text, "  {}\n", tile_line());
    let least = 1 + number + defaults(number) + 2 * settings.repeats as usize;
    wrap(
        &mut text,
        &format!(
            "It takes {} s at the most, which is the budget. How long a run takes is known after the first: for every \
             value above to be tried alone and {} pairs of runs in the end there are at least {least} runs, which may \
             take {:.1} s each, start and dialling included. Where they take less, combinations are drawn as well (seed \
             {}), and rungs have more rounds; where they take more, values are left out, and said.",
            settings.budget_s,
            settings.repeats,
            settings.budget_s / least as f64,
            settings.seed
        ),
        0,
    );
    text.push_str("Nothing was measured.\n");
    text
}

fn head(plan: &Plan, settings: &Settings) -> String {
    let mut text = String::new();
    let verified = match plan.verify {
        Verify::All => "every share verified".into(),
        Verify::Sample(part) => format!("a part of {part} of the shares verified"),
        Verify::Count => "shares counted and not verified".into(),
    };
    let figure = match settings.objective {
        Objective::Round => "the median round, less is better",
        Objective::SharesPerCpuS => "shares for each CPU second of both servers, more is better",
    };
    let first = format!(
        "Group of {}, {} hosts, link {} at MTU {}, {verified}. Figure: {figure}.",
        thousands(plan.group.into()),
        plan.hosts,
        plan.link.rate,
        plan.link.mtu
    );
    wrap(&mut text, &first, 0);
    let all: Vec<String> = Knob::ALL.iter().map(|knob| format!("{knob} {}", setting(plan, *knob))).collect();
    wrap(&mut text, &format!("The default: {}.", all.join(", ")), 0);
    text
}

fn rung_table(text: &mut String, number: usize, rung: &RungOutcome, objective: Objective) {
    let _ = writeln!(text, "\nrung {number}: {} rounds in each run", rung.rounds);
    let _ = writeln!(
        text,
        "  {:<NAME_COLUMNS$}{:>5}{:>12}{:>8}{:>9}",
        "settings that differ from the default", "runs", "median", "spread", "better"
    );
    let mut rows: Vec<&RowOutcome> = rung.rows.iter().collect();
    let rank = |row: &RowOutcome| match (row.figure, objective) {
        (None, _) => f64::INFINITY,
        (Some(figure), Objective::Round) => figure,
        (Some(figure), Objective::SharesPerCpuS) => -figure,
    };
    rows.sort_by(|one, other| rank(one).total_cmp(&rank(other)));
    for row in rows {
        row_lines(text, row, objective);
    }
}

fn row_lines(text: &mut String, row: &RowOutcome, objective: Objective) {
    let mut names = String::new();
    wrap_to(&mut names, &row.changes.to_string(), 0, NAME_COLUMNS - 1);
    let mut names = names.lines();
    let figures = match row.figure {
        Some(value) => format!(
            "{:>5}{:>12}{:>8}{:>9}  {}",
            row.runs,
            figure(objective, value),
            row.spread.map_or_else(|| "-".into(), |spread| format!("{:.1}%", 100.0 * spread)),
            row.better.map_or_else(|| "-".into(), |better| format!("{:+.1}%", 100.0 * better)),
            if row.changes.is_default() { "stays" } else { row.fate }
        ),
        None if row.fate == "failed" => format!("{:>5}  failed", row.runs),
        None => format!("{:>5}  no time", row.runs),
    };
    let _ = writeln!(text, "  {:<NAME_COLUMNS$}{}", names.next().unwrap_or_default(), figures.trim_end());
    for more in names {
        let _ = writeln!(text, "  {more}");
    }
    if let Some(why) = &row.why {
        wrap(text, &format!("    {why}"), 0);
    }
}

fn effects(text: &mut String, outcome: &Outcome) {
    text.push_str("\neach knob alone, in the first rung: by how much it is better than the default\n");
    for choice in &outcome.knobs {
        let of = outcome.effects.iter().filter(|effect| effect.knob == choice.knob);
        let all: Vec<String> = of
            .map(|effect| {
                let better = effect.better.map(|better| format!("{:+.1}%", 100.0 * better));
                format!("{} {}", effect.value, better.unwrap_or_else(|| "not measured".into()))
            })
            .collect();
        let all = if all.is_empty() { "nothing tried".into() } else { all.join(", ") };
        let note = choice.note.as_ref().map_or_else(String::new, |note| format!(" ({note})"));
        wrap(text, &format!("  {:<21} {all}{note}", choice.knob.name()), 2);
    }
    let _ = writeln!(text, "  {}", tile_line());
}

/// What the table says of what is no knob.
fn tile_line() -> String {
    format!(
        "{:<21} {TILE_SENDERS}, fixed: a select word has {TILE_SENDERS} bits, and the wire has it so",
        "senders of a tile"
    )
}

/// A figure in its unit, with so many digits that a hundredth is seen.
pub(crate) fn figure(objective: Objective, value: f64) -> String {
    match (objective, value) {
        (Objective::SharesPerCpuS, _) => format!("{}/s", thousands(value.round() as u64)),
        (Objective::Round, 1.0..) => format!("{value:.3} s"),
        (Objective::Round, 0.1..) => format!("{:.1} ms", value * 1e3),
        (Objective::Round, _) => format!("{:.2} ms", value * 1e3),
    }
}

fn wrap(text: &mut String, paragraph: &str, indent: usize) {
    wrap_to(text, paragraph, indent, COLUMNS);
}

/// Puts a paragraph into lines; its own indent stays, and later lines have two columns and `indent` more.
fn wrap_to(text: &mut String, paragraph: &str, indent: usize, columns: usize) {
    let lead = paragraph.len() - paragraph.trim_start().len();
    let mut line = " ".repeat(lead);
    let mut begins = true;
    // Runs of spaces inside a line are columns, and stay.
    for word in paragraph.trim_start().split_inclusive(' ') {
        if !begins && line.chars().count() + word.trim_end().chars().count() > columns {
            let _ = writeln!(text, "{}", line.trim_end());
            line = " ".repeat(lead + 2 + indent);
        }
        line.push_str(word);
        begins = false;
    }
    let _ = writeln!(text, "{}", line.trim_end());
}

#[cfg(test)]
mod tests {
    use super::super::space::tests::space;
    use super::*;

    #[test]
    fn lines_are_narrow_and_a_dry_run_tells_all() {
        let said = dry_run(&space(8), &Settings::default());
        assert!(said.lines().all(|line| line.chars().count() <= COLUMNS), "{said}");
        for knob in Knob::ALL {
            assert!(said.contains(&format!("\n  {}", knob.name())), "{said}");
        }
        assert!(said.contains("64, fixed: a select word has 64 bits"), "{said}");
        assert!(said.contains("fan_out_threads       default 1; tried: 2, 4, 8"), "{said}");
        assert!(said.ends_with("Nothing was measured.\n"), "{said}");
    }

    #[test]
    fn figures_show_a_hundredth() {
        let round = |value| figure(Objective::Round, value);
        assert_eq!([1.2345, 0.41236, 0.012345].map(round), ["1.234 s", "412.4 ms", "12.35 ms"]);
        assert_eq!(figure(Objective::SharesPerCpuS, 1_234_567.4), "1,234,567/s");
    }
}
