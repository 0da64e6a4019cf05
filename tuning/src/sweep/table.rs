//! A search as a person reads it: at most 100 columns.

use super::knobs::{Candidate, Knob};
use super::outcome::{FinalOutcome, Outcome, RowOutcome, RungOutcome};
use super::search::{contestants, defaults};
use super::space::{Space, setting};
use super::tune_file::{Objective, Settings};
use super::verdict::median;
use crate::units::thousands;
use std::fmt::Write as _;
use twincast_loadgen::plan::{Plan, Verify};
use twincast_protocol::receive::TILE_SENDERS;

/// The widest line.
pub(crate) const COLUMNS: usize = 100;
/// Of a row, what is left of its figures.
const NAME_COLUMNS: usize = 41;
/// Pairs of runs in a line.
const PAIRS_PER_LINE: usize = 3;
/// What is said of a difference that the default has from itself.
const NOISE: &str = "within noise";

/// What was searched, what was found, and what that means.
pub(crate) fn outcome(outcome: &Outcome) -> String {
    let mut text = head(&outcome.plan, &outcome.settings);
    for (index, rung) in outcome.rungs.iter().enumerate() {
        rung_table(&mut text, index, rung, outcome.settings.objective);
    }
    if !outcome.rungs.is_empty() {
        let legend = format!(
            "spread: how far the middle half of a row's values reaches. {NOISE}: no further from the default than that, of the \
             default's values or of its own. Rungs choose who goes on; what counts is the comparison in the end."
        );
        text.push('\n');
        wrap(&mut text, &legend, 0);
    }
    if !outcome.not_tried.is_empty() {
        let all: Vec<String> = outcome.not_tried.iter().map(Candidate::to_string).collect();
        wrap(&mut text, &format!("The budget had no room for: {}.", all.join("; ")), 0);
    }
    if !outcome.rungs.is_empty() {
        effects(&mut text, outcome);
    }
    if let Some(last) = outcome.comparison.as_ref().filter(|last| !last.pairs.is_empty()) {
        comparison(&mut text, last, outcome.settings.objective);
    }
    text.push('\n');
    wrap(&mut text, &outcome.verdict, 0);
    let most = outcome.settings.repeats_max;
    let has_most = outcome.comparison.as_ref().is_some_and(|last| last.pairs.len() >= most as usize);
    let took = format!(
        "{} in {:.0} s of a budget of {:.0} s{}.",
        counted(outcome.runs.into(), "run"),
        outcome.seconds,
        outcome.settings.budget_s,
        if has_most { format!(": {most} pairs are the most (repeats_max)") } else { String::new() }
    );
    wrap(&mut text, &took, 0);
    text
}

/// The pairs in the order in which they were made, line by line, and their medians.
fn comparison(text: &mut String, last: &FinalOutcome, objective: Objective) {
    let _ = writeln!(
        text,
        "\nthe pick against the default: {} of runs, {} in each run",
        counted(last.pairs.len() as u64, "pair"),
        counted(last.rounds.into(), "round")
    );
    let line = |pairs: &[[String; 2]]| {
        let all: Vec<String> =
            pairs.iter().map(|[default, pick]| format!("{default:>14}{pick:>14}")).collect();
        format!("  {}", all.join("   "))
    };
    let pairs: Vec<[String; 2]> =
        last.pairs.iter().map(|pair| pair.map(|value| figure(objective, value))).collect();
    let heads = vec![["default".to_owned(), "pick".to_owned()]; pairs.len().min(PAIRS_PER_LINE)];
    let _ = writeln!(text, "{}", line(&heads));
    for pairs in pairs.chunks(PAIRS_PER_LINE) {
        let _ = writeln!(text, "{}", line(pairs));
    }
    let of = |side: usize| median(last.pairs.iter().map(|pair| pair[side]));
    if let Some((default, pick)) = of(0).zip(of(1)) {
        let [default, pick] = [default, pick].map(|value| figure(objective, value));
        let _ = writeln!(text, "  medians: default {default}, pick {pick}");
    }
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
             {}), rungs have more rounds, and the end has more pairs, up to {}; where they take more, values are left out, \
             and said.",
            settings.budget_s,
            settings.repeats,
            settings.budget_s / least as f64,
            settings.seed,
            settings.repeats_max
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
        "Group of {}, {}, link {} at MTU {}, {verified}. Figure: {figure}.",
        thousands(plan.group.into()),
        counted(plan.hosts.into(), "host"),
        plan.link.rate,
        plan.link.mtu
    );
    wrap(&mut text, &first, 0);
    let all: Vec<String> = Knob::ALL.iter().map(|knob| format!("{knob} {}", setting(plan, *knob))).collect();
    wrap(&mut text, &format!("The default: {}.", all.join(", ")), 0);
    text
}

fn rung_table(text: &mut String, index: usize, rung: &RungOutcome, objective: Objective) {
    let _ = writeln!(
        text,
        "\nrung {}: {}, {} in each run",
        index + 1,
        contestants(index == 0, rung.rows.len() - 1, rung.combined),
        counted(rung.rounds.into(), "round")
    );
    let _ = writeln!(
        text,
        "  {:<NAME_COLUMNS$}{:>5}{:>12}{:>8}{:>9}",
        "what differs from the default", "runs", "median", "spread", "better"
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
            "{:>5}{:>12}{:>8}{:>9}  {}{}",
            row.runs,
            figure(objective, value),
            row.spread.map_or_else(|| "-".into(), |spread| format!("{:.1}%", 100.0 * spread)),
            row.better.map_or_else(|| "-".into(), |better| format!("{:+.1}%", 100.0 * better)),
            if row.changes.is_default() { "stays" } else { row.fate },
            if row.within_noise == Some(true) { format!(", {NOISE}") } else { String::new() }
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
    let spread = |spread: Option<f64>| match spread {
        Some(spread) => format!("spread {:.1}%", 100.0 * spread),
        None => "one value".to_owned(),
    };
    let of_default = outcome.rungs.first().and_then(|rung| rung.rows[0].spread);
    let of_default = of_default.map_or_else(
        || "it has too few values for a spread of its own".to_owned(),
        |spread| format!("its own spread is {:.1}%", 100.0 * spread),
    );
    text.push('\n');
    let title = format!(
        "each knob alone, in the first rung: by how much it is better than the default ({of_default})"
    );
    wrap(text, &title, 0);
    for choice in &outcome.knobs {
        let of = outcome.effects.iter().filter(|effect| effect.knob == choice.knob);
        let all: Vec<String> = of
            .map(|effect| {
                let Some(better) = effect.better else { return format!("{} not measured", effect.value) };
                let noise =
                    if effect.within_noise == Some(true) { format!(", {NOISE}") } else { String::new() };
                format!("{} {:+.1}% ({}{noise})", effect.value, 100.0 * better, spread(effect.spread))
            })
            .collect();
        let all = if all.is_empty() { "nothing tried".into() } else { all.join(", ") };
        let note = choice.note.as_ref().map_or_else(String::new, |note| format!(" ({note})"));
        wrap(text, &format!("  {:<21} {all}{note}", choice.knob.name()), 2);
    }
    let _ = writeln!(text, "  {}", tile_line());
    let mut measured = outcome.effects.iter().filter_map(|effect| effect.within_noise).peekable();
    if measured.peek().is_some() && measured.all(|within| within) {
        text.push_str("  No knob alone makes a difference that this rung can tell from noise.\n");
    }
}

/// What the table says of what is no knob.
fn tile_line() -> String {
    format!(
        "{:<21} {TILE_SENDERS}, fixed: a select word has {TILE_SENDERS} bits, and the wire has it so",
        "senders of a tile"
    )
}

/// So many of something, as one says it.
pub(crate) fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(number), if number == 1 { "" } else { "s" })
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
    fn one_is_told_as_one() {
        let [one, more] = [1, 1_200].map(|number| counted(number, "round"));
        assert_eq!((one.as_str(), more.as_str()), ("1 round", "1,200 rounds"));
        assert_eq!(contestants(true, 1, 0), "1 candidate and the default");
        assert_eq!(
            contestants(false, 14, 3),
            "the best 11, 3 combinations of the best values, and the default"
        );
        assert_eq!(
            contestants(false, 2, 1),
            "the best one, 1 combination of the best values, and the default"
        );
        assert_eq!(contestants(false, 4, 0), "the best 4 and the default");
    }

    #[test]
    fn figures_show_a_hundredth() {
        let round = |value| figure(Objective::Round, value);
        assert_eq!([1.2345, 0.41236, 0.012345].map(round), ["1.234 s", "412.4 ms", "12.35 ms"]);
        assert_eq!(figure(Objective::SharesPerCpuS, 1_234_567.4), "1,234,567/s");
    }
}
