//! Stored results as they are compared: from a results folder, a summary, or the JSON of one run.

use crate::coordinator::RunError;
use crate::result;
use crate::store::{self, Summary, figures};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// All repeats of one plan.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Side {
    pub(super) group: u64,
    pub(super) plan: Value,
    pub(super) environment: Value,
    /// How many of its runs failed their checks, or sentences that say so.
    pub(super) failures: usize,
    /// Each figure's values, run by run.
    pub(super) figures: BTreeMap<String, Vec<f64>>,
}

/// What a path holds, plan by plan.
///
/// # Errors
/// [`RunError::Usage`]: there is nothing at the path, no result in the folder, or JSON of another schema.
pub(super) fn load(path: &Path) -> Result<Vec<Side>, RunError> {
    if !path.is_dir() {
        return sides(path, read(path)?);
    }
    let summary = path.join("summary.json");
    if summary.exists() {
        return sides(&summary, read(&summary)?);
    }
    // An experiment that was cut short has runs and no summary.
    let mut together: Vec<Side> = Vec::new();
    for run in super::runs(path)? {
        for side in sides(&run, read(&run)?)? {
            match together.iter_mut().find(|one| one.plan == side.plan) {
                Some(one) => one.add(side),
                None => together.push(side),
            }
        }
    }
    if together.is_empty() {
        return Err(RunError::Usage(format!(
            "{} holds no results: neither summary.json nor run-1.json; give a folder that local, sweep or run has made",
            path.display()
        )));
    }
    Ok(together)
}

impl Side {
    /// How its messages reach their readers; a result from before there were answers does not say so.
    pub(super) fn delivery(&self) -> &str {
        self.plan["delivery"].as_str().unwrap_or("broadcast")
    }

    fn add(&mut self, other: Side) {
        self.failures += other.failures;
        for (name, values) in other.figures {
            self.figures.entry(name).or_default().extend(values);
        }
    }
}

/// A JSON file.
pub(super) fn read(path: &Path) -> Result<Value, RunError> {
    let bytes = std::fs::read(path).map_err(|error| {
        RunError::Usage(format!("{}: {error}; give a results folder or a file of results", path.display()))
    })?;
    serde_json::from_slice(&bytes).map_err(|error| {
        RunError::Usage(format!("{} is no JSON: {error}; give a file of results", path.display()))
    })
}

fn sides(path: &Path, whole: Value) -> Result<Vec<Side>, RunError> {
    let bad = |why: String| {
        let (one, other) = (store::SCHEMA, result::SCHEMA);
        RunError::Usage(format!("{} {why}; give one of schema {one} or {other}", path.display()))
    };
    match whole["schema"].as_str() {
        Some(store::SCHEMA) => {
            let summary: Summary = serde_json::from_value(whole)
                .map_err(|error| bad(format!("is not what its schema says: {error}")))?;
            let environment = summary.environment;
            Ok(summary
                .cells
                .into_iter()
                .map(|cell| Side {
                    group: cell.group.into(),
                    plan: cell.plan,
                    environment: environment.clone(),
                    failures: cell.failures.len(),
                    figures: cell.figures.into_iter().map(|(name, spread)| (name, spread.values)).collect(),
                })
                .collect())
        }
        Some(result::SCHEMA) => Ok(vec![Side {
            group: whole["plan"]["group"].as_u64().ok_or_else(|| bad("has no plan.group".into()))?,
            plan: whole["plan"].clone(),
            environment: whole["environment"].clone(),
            failures: whole["failures"].as_array().map_or(0, Vec::len),
            figures: figures(&whole).into_iter().map(|(name, value)| (name, vec![value])).collect(),
        }]),
        Some(schema) => Err(bad(format!("is of schema {schema}"))),
        None => Err(bad("names no schema".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::sample;
    use crate::store::{sample_summary, value};

    fn refused(path: &Path) -> String {
        match load(path) {
            Err(RunError::Usage(sentence)) => sentence,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_folder_a_summary_and_a_run_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run-1.json");
        std::fs::write(&run, value(&sample()).to_string()).unwrap();
        std::fs::write(folder.path().join("run-2.json"), value(&sample()).to_string()).unwrap();
        assert_eq!(load(&run).unwrap()[0].figures["round_seconds.p50"], [0.015]);
        let runs = load(folder.path()).unwrap();
        assert_eq!((runs.len(), &runs[0].figures["round_seconds.p50"]), (1, &vec![0.015; 2]));
        let summary = folder.path().join("summary.json");
        std::fs::write(&summary, value(&sample_summary()).to_string()).unwrap();
        let sides = load(folder.path()).unwrap();
        assert_eq!(
            (sides[0].group, &sides[0].figures["round_seconds.p50"]),
            (130, &vec![0.015, 0.03, 0.015])
        );
        assert_eq!(load(&summary).unwrap(), sides);
    }

    #[test]
    fn what_is_no_result_is_refused_in_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        assert!(refused(folder.path()).contains("holds no results"));
        assert!(refused(&folder.path().join("nothing")).contains("No such file"));
        assert!(refused(&file("a", "?")).contains("is no JSON"));
        assert!(
            refused(&file("b", "{\"schema\":\"twincast-result/9\"}"))
                .contains("is of schema twincast-result/9")
        );
        assert!(refused(&file("c", "[]")).contains("names no schema"));
        assert!(
            refused(&file("d", "{\"schema\":\"twincast-summary/1\"}"))
                .contains("is not what its schema says")
        );
        assert!(refused(&file("e", "{\"schema\":\"twincast-result/1\"}")).contains("has no plan.group"));
    }
}
