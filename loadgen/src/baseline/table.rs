//! The table that a person reads at the end of a comparison.

use super::comparison::{Comparison, Row};
use crate::units::thousands;
use std::fmt::Write as _;

/// Columns of a row's name.
const NAME_WIDTH: usize = 27;
/// What the columns tell.
const COLUMNS: [&str; 6] =
    ["messages/s", "deliveries/s", "round", "CPU a delivery", "messages/s", "CPU a delivery"];
/// Columns of a figure.
const FIGURE_WIDTH: usize = 15;
/// Columns of a line of words.
const LINE_WIDTH: usize = 120;

/// The whole table, with what was measured and what was scaled below it.
pub(super) fn render(compared: &Comparison) -> String {
    let mut text = head(compared);
    let over = format!("{:width$}  Twincast is better by", "", width = NAME_WIDTH + 4 * (FIGURE_WIDTH + 1));
    line(&mut text, &over);
    row(&mut text, "", &COLUMNS.map(str::to_owned));
    for one in &compared.rows {
        let name = if one.sampled { format!("{} *", one.name) } else { one.name.clone() };
        row(&mut text, &name, &figures(one));
    }
    text.push('\n');
    if compared.rows.iter().any(|row| row.sampled) {
        paragraph(&mut text, "* Some figure is of a sample:");
    }
    for one in &compared.baselines {
        paragraph(&mut text, &format!("{}: {}", one.name, one.note));
        if let (Some(trial_us), Some(seconds)) = (one.trial_us, one.user_trial_seconds) {
            let trials = format!(
                "{}: {trial_us:.1} us of CPU for a trial decryption, {seconds:.3} s for each user and round.",
                one.name
            );
            paragraph(&mut text, &trials);
        }
    }
    paragraph(&mut text, &format!("Twincast: {}", compared.limited_by));
    compared.left_out.iter().for_each(|sentence| paragraph(&mut text, &format!("Left out: {sentence}.")));
    verdict(&mut text, &compared.failures);
    text
}

fn head(compared: &Comparison) -> String {
    let (plan, setup, environment) = (&compared.plan, &compared.setup, &compared.environment);
    let mut text = String::new();
    let what = format!(
        "Twincast {} and what it is compared with: a group of {} on {} hosts, {} round{} each, shares of {} bytes",
        environment.versions.twincast,
        thousands(u64::from(setup.members)),
        plan.hosts,
        setup.rounds,
        if setup.rounds == 1 { "" } else { "s" },
        setup.share_bytes
    );
    line(&mut text, &what);
    let place = format!(
        "{}, {} cores, {}, {}\ncommit {}\n",
        environment.cpu, environment.cores, environment.kernel, environment.hosts, environment.git_commit
    );
    line(&mut text, &place);
    text
}

fn figures(row: &Row) -> [String; 6] {
    // A server whose CPU time is too little for the kernel's ticks has none that could be told.
    let known = |of: f64, words: String| if of > 0.0 { words } else { "-".to_owned() };
    let times = |ratio: f64| known(ratio, format!("{ratio:.2} x"));
    let cpu_us = row.server_cpu_us_per_delivery;
    [
        format!("{:.1}", row.messages_per_s),
        thousands(row.deliveries_per_s.round() as u64),
        format!("{:.3} s", row.round_seconds),
        known(cpu_us, format!("{cpu_us:.3} us")),
        times(row.messages_ratio),
        times(row.cpu_ratio),
    ]
}

fn row(text: &mut String, name: &str, figures: &[String; 6]) {
    let mut one = format!("{name:<NAME_WIDTH$}");
    for figure in figures {
        write!(one, " {figure:>FIGURE_WIDTH$}").expect("a string takes it");
    }
    line(text, &one);
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

fn verdict(text: &mut String, failures: &[String]) {
    if failures.is_empty() {
        line(text, "Every check passed.");
    }
    failures.iter().for_each(|failure| line(text, &format!("FAILED: {failure}")));
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
}
