//! `paper --quick` with the real binary: every file, every figure, every series.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn paper(arguments: &[&str], out: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twincast-loadgen"));
    command.arg("paper").args(arguments).arg("--out").arg(out);
    command.stdin(Stdio::null()).env_remove("RUST_LOG").output().unwrap()
}

fn told(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr))
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn list<'a>(value: &'a Value, name: &str) -> &'a Vec<Value> {
    value[name].as_array().unwrap_or_else(|| panic!("{name} is a list"))
}

#[test]
fn a_quick_run_makes_every_figure_with_every_series() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("report");
    let output = paper(&["--quick", "--link", "loopback"], &out);
    assert!(output.status.success(), "{}", told(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("Nothing failed."), "{}", told(&output));

    let json: Value = serde_json::from_str(&read(&out, "paper.json")).unwrap();
    assert_eq!(json["schema"], "twincast-paper/1");
    assert_eq!(list(&json, "failures").len(), 0);
    assert!(!out.join("paper.jsonl").exists(), "everything is in paper.json");
    for run in list(&json, "runs") {
        let work = &run["job"]["work"];
        if let Some(plan) = work["twincast"]["plan"].as_object() {
            assert_eq!(plan["warmup"], 1, "every run has a round to warm up");
        }
        if let Some(setup) = work["rival"]["setup"].as_object() {
            assert!(setup["rounds"].as_u64() >= Some(3), "{setup:?}");
        }
    }
    let page = read(&out, "paper.html");
    assert!(
        page.contains("What limited Twincast's run at n = 40")
            || page.contains("What limited Twincast&#39;s run")
    );
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("<script"));

    let names: Vec<&str> =
        list(&json, "figures").iter().map(|figure| figure["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["fig2", "fig3", "fig4", "fig5", "fig6"]);
    for panel in list(&json, "figures").iter().flat_map(|figure| list(figure, "panels")) {
        let id = panel["id"].as_str().unwrap();
        let (svg, csv) = (read(&out, &format!("{id}.svg")), read(&out, &format!("{id}.csv")));
        assert!(
            svg.starts_with("<svg ") && !svg.contains("var(") && svg.trim_end().ends_with("</svg>"),
            "{id}"
        );
        let mut drawn = 0;
        for series in list(panel, "series") {
            let name = series["name"].as_str().unwrap();
            assert!(svg.contains(name) && page.contains(name), "{id}: {name}");
            let points = list(series, "points").len();
            assert!(
                points > 0 || series["missing"].as_str().is_some_and(|why| !why.is_empty()),
                "{id}: {name}"
            );
            drawn += points;
        }
        assert_eq!(csv.lines().count(), drawn + 1, "{id}: a line for each point, and the head");
        let has = |part: &str| {
            list(panel, "series").iter().any(|series| {
                series["name"].as_str().unwrap().contains(part) && !list(series, "points").is_empty()
            })
        };
        for part in ["compact", "paper-xor", "Nagle on", "Nagle off"] {
            assert!(has(part), "{id}: {part}");
        }
        assert!(has("MCMix") == ["fig4", "fig5", "fig6"].iter().any(|figure| id.starts_with(figure)), "{id}");
    }
}

#[test]
fn only_what_is_asked_for_is_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let output = paper(&["--quick", "--link", "loopback", "--only", "fig6"], folder.path());
    assert!(output.status.success(), "{}", told(&output));
    let json: Value = serde_json::from_str(&read(folder.path(), "paper.json")).unwrap();
    assert_eq!(list(&json, "figures").len(), 1);
    assert_eq!(json["headline"]["rows"].as_array().unwrap().len(), 6);
    assert!(json["headline"]["rows"][0]["messages_per_s"].as_f64().unwrap() > 0.0);
    assert!(!folder.path().join("fig2-latency.svg").exists());
}

#[test]
fn a_folder_with_something_in_it_is_refused_before_anything_is_run() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine.txt"), "mine").unwrap();
    let output = paper(&["--quick", "--link", "loopback"], folder.path());
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("--out") && said.contains("there is something in it"), "{said}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_figure_that_is_not_there_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    let output = paper(&["--quick", "--only", "fig9"], folder.path());
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
}
