//! What a good experiment leaves behind.

use super::common::{loadgen, told};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The one folder of results in a directory.
pub(super) fn only_folder(results: &Path) -> PathBuf {
    let entries: Vec<PathBuf> =
        std::fs::read_dir(results).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(entries.len(), 1, "{entries:?}");
    entries.into_iter().next().unwrap()
}

/// A file of a folder.
pub(super) fn text(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub(super) fn json(folder: &Path, name: &str) -> Value {
    serde_json::from_str(&text(folder, name)).unwrap()
}

/// Runs an experiment to its good end; its output and its folder.
pub(super) fn experiment(arguments: &str, results: &Path) -> (String, PathBuf) {
    let output = loadgen(&format!("{arguments} --results {}", results.display())).output().unwrap();
    assert!(output.status.success(), "{arguments}: {}", told(&output));
    (String::from_utf8(output.stdout).unwrap(), only_folder(results))
}

#[test]
fn one_run_leaves_every_file() {
    let directory = tempfile::tempdir().unwrap();
    let (printed, folder) = experiment("local --group 70 --hosts 2 --rounds 4 --no-roof", directory.path());
    let name = folder.file_name().unwrap().to_str().unwrap();
    assert!(name.ends_with("Z-local-n70"), "{name}");
    assert!(printed.ends_with(&format!("Kept in {}\n", folder.display())), "{printed}");
    assert!(printed.starts_with(&text(&folder, "report.txt")));
    let (run, summary) = (json(&folder, "run-1.json"), json(&folder, "summary.json"));
    assert_eq!(
        (run["schema"].as_str(), run["plan"]["group"].as_u64()),
        (Some("twincast-result/1"), Some(70))
    );
    assert_eq!(json(&folder, "environment.json"), run["environment"]);
    assert_eq!(json(&folder, "plan.json")["plans"][0], run["plan"]);
    assert_eq!(summary["cells"][0]["figures"]["round_seconds.p50"]["median"], run["round_seconds"]["p50"]);
    assert_eq!(text(&folder, "rounds.csv").lines().count(), 1 + 4);
    let seconds = text(&folder, "seconds.csv");
    assert!(seconds.contains("1,70,host 0,") && seconds.contains("1,70,host 1,"), "{seconds}");
    // A second of each host at the least, and the messages of all rounds in them: none of the warm-up.
    let rounds: u64 = seconds
        .lines()
        .filter(|line| line.contains("host 0"))
        .map(|line| line.split(',').nth(5).unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(rounds, 4, "{seconds}");
    for log in ["host-0.hlog", "host-1.hlog", "merged.hlog"] {
        let log = text(&folder, &format!("hdr/run-1/{log}"));
        assert!(log.contains("#[StartTime: ") && log.contains("Tag=delivery,"), "{log}");
    }
    assert!(!folder.join("failure.txt").exists());
}

#[test]
fn repeats_have_a_spread_and_runs_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("result.json");
    let (printed, folder) = experiment(
        &format!(
            "local --group 20 --hosts 2 --rounds 2 --no-roof --repeats 3 --name three --json {}",
            file.display()
        ),
        &directory.path().join("results"),
    );
    assert!(printed.contains("of 3, the one with the median round time:"), "{printed}");
    assert!(printed.contains("Every check of 3 runs passed."), "{printed}");
    assert!(folder.to_str().unwrap().ends_with("Z-three"));
    let summary = json(&folder, "summary.json");
    let round = &summary["cells"][0]["figures"]["round_seconds.p50"];
    assert_eq!((round["n"].as_u64(), round["values"].as_array().unwrap().len()), (Some(3), 3));
    assert!(round["min"].as_f64() <= round["median"].as_f64() && round["stdev"].is_number(), "{round}");
    let median: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(median["round_seconds"]["p50"], round["median"]);
    for run in 1..=3 {
        assert_eq!(json(&folder, &format!("run-{run}.json"))["plan"]["group"], 20);
    }
}

#[test]
fn a_sweep_has_a_line_for_each_group() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sweep.json");
    let (printed, folder) = experiment(
        &format!("sweep --group 3,40 --rounds 2 --repeats 2 --no-roof --json {}", file.display()),
        &directory.path().join("results"),
    );
    let lines: Vec<&str> = printed.lines().collect();
    assert!(lines[0].contains("round p50") && lines[0].contains("limited by"), "{printed}");
    assert!(
        lines[1].trim_start().starts_with("3  ") && lines[2].trim_start().starts_with("40  "),
        "{printed}"
    );
    assert!(printed.contains("Every check of 4 runs passed."), "{printed}");
    let cells: Vec<String> = text(&folder, "table.csv")
        .lines()
        .map(|line| line.split(',').take(3).collect::<Vec<_>>().join(","))
        .collect();
    assert_eq!(cells, ["group,delivery,runs", "3,broadcast,2", "40,broadcast,2"]);
    let summary: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(summary, json(&folder, "summary.json"));
    // Three users cannot be played by five hosts.
    assert_eq!(
        (&summary["cells"][0]["plan"]["hosts"], &summary["cells"][1]["plan"]["hosts"]),
        (&3.into(), &5.into())
    );
}

#[test]
fn the_search_tells_every_trial_and_its_bounds() {
    let directory = tempfile::tempdir().unwrap();
    let (printed, folder) =
        experiment("local --group 20 --hosts 2 --rounds 5 --no-roof --find-rate", directory.path());
    let found = &json(&folder, "summary.json")["cells"][0]["highest_rate"];
    let trials = found["trials"].as_array().unwrap();
    assert!((1..=10).contains(&trials.len()), "{found}");
    assert_eq!(printed.matches(" rounds planned in ").count(), trials.len(), "{printed}");
    assert!(printed.contains("Highest rate: "), "{printed}");
    let (passes, fails) = (found["rounds_per_s"].as_f64(), found["fails_at"].as_f64());
    assert!(passes.is_some() || fails.is_some(), "{found}");
    for trial in trials {
        let rate = trial["rounds_per_s"].as_f64().unwrap();
        assert!(trial["rounds"].as_u64().unwrap() >= 20, "{trial}");
        if trial["passed"] == false {
            assert!(passes.is_none_or(|passes| passes < rate) && fails.unwrap() <= rate, "{found}");
        }
    }
    let confirmed = |trial: &Value| trial["confirms"] == true && trial["passed"] == true;
    assert_eq!(passes.is_some(), confirmed(trials.last().unwrap()), "{found}");
}

#[test]
fn nothing_is_kept_where_nothing_is_wanted() {
    let directory = tempfile::tempdir().unwrap();
    let mut run = loadgen("local --group 2 --hosts 1 --rounds 1 --no-roof --results off");
    let output = run.current_dir(directory.path()).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
