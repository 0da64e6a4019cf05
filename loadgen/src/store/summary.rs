//! All runs of an experiment in one object, schema `twincast-summary/1`: `summary.json` of a results folder.
//!
//! `RESULTS.md` beside the crate's manifest tells every field; a test holds the two together.

use super::figures::figures;
use crate::experiment::{Cell, Experiment, HighestRate};
use crate::stats::Spread;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The schema's name and version.
pub const SCHEMA: &str = "twincast-summary/1";

/// An experiment, whole. Plans and environments are kept as they were written, so that a later version still reads what
/// an earlier one wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// [`SCHEMA`].
    pub schema: String,
    /// The experiment's name.
    pub name: String,
    /// When it began, UTC.
    pub time: String,
    /// Where.
    pub environment: Value,
    /// What each group size was like, in the order in which they were swept.
    pub cells: Vec<CellSummary>,
}

/// All repeats of one plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellSummary {
    /// Members of a group.
    pub group: u32,
    /// What was asked for.
    pub plan: Value,
    /// The numbers of its runs: `run-N.json`.
    pub runs: Vec<u32>,
    /// What was wrong with any of them, a sentence each.
    pub failures: Vec<String>,
    /// What limited them, each sentence once.
    pub limited_by: Vec<String>,
    /// Every figure over the runs that have it.
    pub figures: BTreeMap<String, Spread>,
    /// The highest round rate that lost nothing, where it was searched.
    pub highest_rate: Option<HighestRate>,
}

impl Summary {
    /// Of all that an experiment measured.
    pub(crate) fn of(experiment: &Experiment, time: &str, cells: &[Cell]) -> Summary {
        let first = cells.iter().flat_map(|cell| &cell.runs).next();
        Summary {
            schema: SCHEMA.into(),
            name: experiment.name.clone(),
            time: time.into(),
            environment: first.map_or(Value::Null, |run| value(&run.result.environment)),
            cells: cells.iter().map(CellSummary::of).collect(),
        }
    }
}

impl CellSummary {
    pub(crate) fn of(cell: &Cell) -> CellSummary {
        let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for run in &cell.runs {
            for (name, number) in figures(&value(&run.result)) {
                values.entry(name).or_default().push(number);
            }
        }
        let results = || cell.runs.iter().map(|run| &run.result);
        CellSummary {
            group: cell.plan.group,
            plan: value(&cell.plan),
            runs: cell.runs.iter().map(|run| run.number).collect(),
            failures: results().flat_map(|result| result.failures.clone()).collect(),
            limited_by: results()
                .map(|result| result.limited_by.clone())
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
            figures: values
                .into_iter()
                .filter_map(|(name, values)| Some((name, Spread::of(&values)?)))
                .collect(),
            highest_rate: cell.highest_rate.clone(),
        }
    }
}

pub(crate) fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).expect("results have no keys but strings")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::experiment::tests::{cell, experiment};
    use serde_json::json;

    pub(crate) fn summary() -> Summary {
        Summary::of(&experiment(), "2026-11-22T06:20:00Z", &[cell()])
    }

    /// The paths of all leaves; the elements of a list share one.
    pub(crate) fn leaf_paths(of: &Value) -> BTreeSet<String> {
        let mut paths = BTreeSet::new();
        collect("", of, &mut paths);
        paths
    }

    #[test]
    fn figures_are_over_all_runs() {
        let summary = summary();
        let cell = &summary.cells[0];
        assert_eq!((cell.group, cell.runs.as_slice()), (130, &[1, 2, 3][..]));
        let round = &cell.figures["round_seconds.p50"];
        assert_eq!((round.n, round.median, round.min, round.max), (3, 0.015, 0.015, 0.03));
        assert!(cell.failures.is_empty() && cell.limited_by.len() == 1);
    }

    #[test]
    fn a_summary_travels_as_it_is() {
        let whole = value(&summary());
        assert!(serde_json::from_value::<Summary>(whole).unwrap() == summary());
        // Written down, a number may change in its last digit and nothing else.
        let text = serde_json::to_string(&summary()).unwrap();
        let read: Summary = serde_json::from_str(&text).unwrap();
        assert_eq!(read.cells[0].figures["round_seconds.p50"].values, [0.015, 0.03, 0.015]);
    }

    #[test]
    fn the_summary_and_its_documentation_name_the_same_fields() {
        let mut whole = value(&summary());
        whole["environment"] = json!("as in a result");
        whole["cells"][0]["plan"] = json!("as in a result");
        let figure = whole["cells"][0]["figures"]["round_seconds.p50"].clone();
        whole["cells"][0]["figures"] = json!({ "NAME": figure });
        let told = leaf_paths(&whole);
        // The file tells of other schemas too, each under a heading of its own.
        let section = include_str!("../../RESULTS.md")
            .split("\n# ")
            .find(|part| part.lines().next().is_some_and(|heading| heading.contains(SCHEMA)));
        let documented: BTreeSet<String> = section
            .expect("the schema has its heading")
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(field, _)| field.to_owned()))
            .collect();
        assert_eq!(
            told.difference(&documented).collect::<Vec<_>>(),
            Vec::<&String>::new(),
            "not in RESULTS.md"
        );
        assert_eq!(
            documented.difference(&told).collect::<Vec<_>>(),
            Vec::<&String>::new(),
            "only in RESULTS.md"
        );
    }

    fn collect(path: &str, of: &Value, into: &mut BTreeSet<String>) {
        match of {
            Value::Object(fields) => {
                let dot = if path.is_empty() { "" } else { "." };
                fields.iter().for_each(|(name, value)| collect(&format!("{path}{dot}{name}"), value, into));
            }
            Value::Array(elements) => {
                into.extend(elements.is_empty().then(|| format!("{path}[]")));
                elements.iter().for_each(|value| collect(&format!("{path}[]"), value, into));
            }
            _ => {
                into.insert(path.into());
            }
        }
    }
}
