//! The table over group sizes: one line for each, with the spread over its repeats.

use super::Cell;
use crate::stats::Spread;
use crate::store::{CellSummary, csv_field};
use crate::units::{bits_per_s, micros, seconds, thousands};
use std::fmt::Write as _;

/// The figures that the table has a column for, and what `table.csv` calls them.
const COLUMNS: [(&str, &str); 8] = [
    ("round_s", "round_seconds.p50"),
    ("shares_per_s", "shares_per_s"),
    ("egress_bits_per_s", "egress_bits_per_s"),
    ("link_fraction", "link_fraction"),
    ("server_cpu_ratio", "roof.server_cpu_ratio"),
    ("message_latency_p50_us", "message_latency_us.p50"),
    ("message_latency_p99_us", "message_latency_us.p99"),
    ("delivery_latency_p99_us", "delivery_latency_us.p99"),
];

/// One table over all cells, as it is printed.
pub(super) fn render(cells: &[Cell]) -> String {
    let answers = cells.iter().any(|cell| cell.plan.answers());
    let head = [
        "group",
        "runs",
        "round p50",
        "[min .. max]",
        if answers { "answers/s" } else { "shares/s" },
        "egress",
        "of link",
        "CPU/roof",
        "latency p50",
        "p99",
        "limited by",
    ];
    let rows = cells.iter().map(|cell| row(&CellSummary::of(cell)));
    let rows: Vec<Vec<String>> =
        std::iter::once(head.iter().map(|name| (*name).to_owned()).collect()).chain(rows).collect();
    let widths: Vec<usize> = (0..head.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in &rows {
        let (last, figures) = row.split_last().expect("a row has columns");
        for (figure, width) in figures.iter().zip(&widths) {
            write!(text, "{figure:>width$}  ").expect("a string takes it");
        }
        writeln!(text, "{last}").expect("a string takes it");
    }
    text.push_str(match answers {
        true => {
            "Delivery answer: medians over the runs of each group; egress and answers are of one server. There is no roof.\n"
        }
        false => "Medians over the runs of each group; egress and shares are of one server.\n",
    });
    text
}

fn row(cell: &CellSummary) -> Vec<String> {
    let figure = |name: &str| cell.figures.get(name);
    let median = |name: &str, form: &dyn Fn(f64) -> String| {
        figure(name).map_or_else(|| "-".to_owned(), |spread| form(spread.median))
    };
    let range = |spread: &Spread| format!("[{} .. {}]", seconds(spread.min), seconds(spread.max));
    vec![
        thousands(u64::from(cell.group)),
        cell.runs.len().to_string(),
        median("round_seconds.p50", &seconds),
        figure("round_seconds.p50").map_or_else(|| "-".to_owned(), range),
        median("shares_per_s", &|shares| thousands(shares as u64)),
        median("egress_bits_per_s", &bits_per_s),
        median("link_fraction", &|fraction| format!("{fraction:.3}")),
        median("roof.server_cpu_ratio", &|ratio| format!("{ratio:.2}")),
        median("message_latency_us.p50", &|us| micros(Some(us))),
        median("message_latency_us.p99", &|us| micros(Some(us))),
        if cell.failures.is_empty() { bounds(&cell.limited_by) } else { "FAILED its checks".into() },
    ]
}

/// What limited the runs, without the figures that the sentences go on with.
fn bounds(sentences: &[String]) -> String {
    let mut bounds: Vec<&str> =
        sentences.iter().map(|sentence| sentence.split(':').next().unwrap_or_default()).collect();
    bounds.dedup();
    bounds.join(", ")
}

/// The same for a spreadsheet: median, least and greatest of each column.
pub(super) fn csv(cells: &[Cell]) -> String {
    let names = COLUMNS.iter().map(|(name, _)| format!("{name},{name}_min,{name}_max"));
    let mut text = format!("group,delivery,runs,{},limited_by\n", names.collect::<Vec<_>>().join(","));
    for cell in cells {
        let delivery = cell.plan.delivery;
        let cell = CellSummary::of(cell);
        let figures = COLUMNS.iter().map(|(_, name)| match cell.figures.get(*name) {
            Some(spread) => format!("{},{},{}", spread.median, spread.min, spread.max),
            None => ",,".into(),
        });
        let figures = figures.collect::<Vec<_>>().join(",");
        let bounds = csv_field(&bounds(&cell.limited_by));
        writeln!(text, "{},{delivery},{},{figures},{bounds}", cell.group, cell.runs.len())
            .expect("a string takes it");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::cell;
    use super::*;

    #[test]
    fn the_table_has_a_line_for_each_group_with_its_spread() {
        let table = render(&[cell()]);
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[0].trim_start().starts_with("group"), "{table}");
        assert!(lines[1].contains("15.0 ms  [15.0 ms .. 30.0 ms]"), "{table}");
        assert!(lines[1].ends_with("machine bound"), "{table}");
        assert!(lines.iter().all(|line| line.chars().count() <= 150), "{table}");
    }

    #[test]
    fn a_group_that_failed_says_so() {
        let mut cell = cell();
        cell.runs[1].result.failures.push("a message was lost".into());
        assert!(render(&[cell]).contains("FAILED its checks"));
    }

    #[test]
    fn every_line_of_the_csv_has_as_many_fields() {
        let csv = csv(&[cell()]);
        let fields: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
        assert_eq!(fields, [3 + 3 * COLUMNS.len() + 1; 2], "{csv}");
        assert!(csv.lines().nth(1).is_some_and(|line| line.starts_with("130,broadcast,")), "{csv}");
    }

    #[test]
    fn a_table_of_answers_says_so() {
        let mut cell = cell();
        cell.plan.delivery = crate::plan::Delivery::Answer;
        let (table, csv) = (render(std::slice::from_ref(&cell)), csv(&[cell]));
        assert!(table.contains("answers/s") && table.contains("Delivery answer: "), "{table}");
        assert!(!table.contains("shares"), "{table}");
        assert!(csv.lines().nth(1).is_some_and(|line| line.starts_with("130,answer,")), "{csv}");
    }
}
