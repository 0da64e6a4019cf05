//! The table that a person reads at the end of a comparison.

use super::comparison::{Comparison, Row};
use crate::report::guard_in_words;
use crate::stats::Spread;
use crate::units::thousands;
use std::fmt::Write as _;

/// Columns of a row's name.
const NAME_WIDTH: usize = 27;
/// Columns of a figure.
const FIGURE_WIDTH: usize = 15;
/// Columns of a line of words.
const LINE_WIDTH: usize = 120;
/// Columns of figures before those that say how much better Twincast is.
const BEFORE_RATIOS: usize = 5;
/// What the others' channels are.
const CHANNELS: &str =
    "What it is compared with has plain channels, too; what private ones cost is told by price.";
/// What each column tells, its unit, and where it is from.
const COLUMNS: [(&str, &str, Of); 8] = [
    ("messages", "1/s", |row| &row.messages_per_s),
    ("round", "s", |row| &row.round_seconds),
    ("dial", "s", |row| &row.dial_seconds),
    ("CPU a delivery", "us", |row| &row.server_cpu_us_per_delivery),
    ("CPU a message", "us", |row| &row.server_cpu_us_per_message),
    ("messages", "x", |row| &row.messages_ratio),
    ("CPU a delivery", "x", |row| &row.cpu_per_delivery_ratio),
    ("CPU a message", "x", |row| &row.cpu_per_message_ratio),
];

/// A column's figure.
type Of = fn(&Row) -> &Option<Spread>;

/// The whole table, with what was measured, scaled and modelled below it.
pub(super) fn render(compared: &Comparison) -> String {
    let mut text = String::new();
    head(&mut text, compared);
    text.push('\n');
    let before = NAME_WIDTH + BEFORE_RATIOS * (FIGURE_WIDTH + 1);
    line(&mut text, &format!("{:before$}  Twincast is better by", ""));
    figures(&mut text, "", |(words, _, _)| (*words).to_owned());
    figures(&mut text, "", |(_, unit, _)| (*unit).to_owned());
    for row in &compared.rows {
        let mark = if row.modelled { " +" } else { "" };
        let star = if row.sampled { " *" } else { "" };
        figures(&mut text, &format!("{}{star}{mark}", row.name), |(_, _, of)| {
            of(row).as_ref().map_or_else(|| "-".to_owned(), |spread| rounded(spread.median))
        });
        if COLUMNS.iter().any(|(_, _, of)| of(row).as_ref().is_some_and(|spread| spread.n > 1)) {
            figures(&mut text, "", |(_, _, of)| of(row).as_ref().map_or_else(String::new, ends));
        }
    }
    text.push('\n');
    below(&mut text, compared);
    text
}

fn head(text: &mut String, compared: &Comparison) {
    let (plan, setup, environment) = (&compared.plan, &compared.setup, &compared.environment);
    paragraph(
        text,
        &format!(
            "Twincast {} and what it is compared with: a group of {} on {} host{}, {} round{} each after one that warms up, \
             shares of {} bytes; {} repeat{}",
            environment.versions.twincast,
            thousands(u64::from(setup.members)),
            plan.hosts,
            plural(plan.hosts),
            setup.rounds,
            plural(setup.rounds),
            setup.share_bytes,
            compared.repeats,
            plural(compared.repeats)
        ),
    );
    paragraph(text, &format!("Twincast: {}. {CHANNELS}", guard_in_words(plan)));
    paragraph(
        text,
        &format!(
            "{}, MTU {}, congestion control {}; no delay is emulated. A packet's way over its link and into its reader's \
             socket is work of this machine, too, and mostly done by the call that sends it: it counts as server CPU, for all \
             alike.",
            compared.link,
            thousands(environment.mtu),
            environment.congestion_control.as_deref().unwrap_or("unknown")
        ),
    );
    paragraph(
        text,
        &format!(
            "{}, {} cores, {}, {}",
            environment.cpu,
            environment.cores,
            environment.kernel,
            // Why links were not shaped was told above.
            environment.hosts.split(';').next().unwrap_or_default()
        ),
    );
    line(text, &format!("commit {}", environment.git_commit));
}

/// What the figures are, row by row, and the verdict.
fn below(text: &mut String, compared: &Comparison) {
    if compared.repeats > 1 {
        paragraph(
            text,
            "Medians over the repeats, the least and the greatest below; ratios are of the same repeat.",
        );
    }
    paragraph(text, "CPU a delivery is of one server, CPU a message of all servers together.");
    if compared.rows.iter().any(|row| row.sampled) {
        paragraph(text, "* Some figure is of a sample.");
    }
    if compared.rows.iter().any(|row| row.modelled) {
        paragraph(text, "+ Some figure is modelled.");
    }
    for row in &compared.rows {
        paragraph(text, &format!("{}: {}", row.name, row.note));
    }
    for one in &compared.baselines {
        if let (Some(trial_us), Some(seconds)) = (one.trial_us, one.user_trial_seconds) {
            let (trial, round) = (rounded(trial_us), rounded(seconds));
            let words =
                format!("{trial} us of CPU for a trial decryption, {round} s for each user and round.");
            paragraph(text, &format!("{}: {words}", one.name));
        }
    }
    compared.limited_by.iter().for_each(|sentence| paragraph(text, &format!("Twincast: {sentence}")));
    compared.left_out.iter().for_each(|sentence| paragraph(text, &format!("Left out: {sentence}.")));
    if compared.failures.is_empty() {
        line(text, "Every check passed.");
    }
    compared.failures.iter().for_each(|failure| line(text, &format!("FAILED: {failure}")));
}

/// A line of the table.
fn figures(text: &mut String, name: &str, of: impl Fn(&(&str, &str, Of)) -> String) {
    let mut one = format!("{name:<NAME_WIDTH$}");
    for column in &COLUMNS {
        write!(one, " {:>FIGURE_WIDTH$}", of(column)).expect("a string takes it");
    }
    line(text, &one);
}

/// The least and the greatest.
fn ends(spread: &Spread) -> String {
    if spread.n > 1 { format!("{}..{}", rounded(spread.min), rounded(spread.max)) } else { String::new() }
}

/// Three digits, or all those before the point: a column has one unit, and its figures may lie far apart.
fn rounded(value: f64) -> String {
    if value.abs() >= 99.95 {
        return thousands(value.round() as u64);
    }
    let magnitude = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    format!("{value:.decimals$}", decimals = (2 - magnitude).clamp(0, 9) as usize)
}

fn plural(number: u32) -> &'static str {
    if number == 1 { "" } else { "s" }
}

fn line(text: &mut String, line: &str) {
    text.push_str(line.trim_end_matches(' '));
    text.push('\n');
}

/// Words over as many lines as they need.
fn paragraph(text: &mut String, words: &str) {
    let mut one = String::new();
    for word in words.split_whitespace() {
        if !one.is_empty() && one.len() + 1 + word.len() > LINE_WIDTH {
            line(text, &one);
            one.clear();
        }
        if !one.is_empty() {
            one.push(' ');
        }
        one.push_str(word);
    }
    line(text, &one);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_broken_and_none_is_lost() {
        let words = "word ".repeat(100);
        let mut text = String::new();
        paragraph(&mut text, &words);
        assert!(text.lines().all(|line| line.len() <= LINE_WIDTH), "{text}");
        assert_eq!(text.split_whitespace().count(), 100);
    }

    #[test]
    fn figures_have_three_digits_whatever_their_size() {
        let told = [0.0, 0.000_512_4, 0.048_26, 1.2345, 61.06, 99.99, 1_234.5, 2e6].map(rounded);
        assert_eq!(told, ["0.00", "0.000512", "0.0483", "1.23", "61.1", "100", "1,235", "2,000,000"]);
    }
}
