//! The real binary on this machine: what it prints, how it ends, what it refuses.

use std::process::{Command, Output};
use twincast_node::{Report, Role, Verdict};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_twincast-tune")).arg("check").args(arguments).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Runs it and says what it refused; nothing may be printed then.
fn refused(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &[][..]), "{}", told(&output));
    told(&output)
}

/// Runs it with `--json`; its exit status says whether anything failed.
fn report(arguments: &[&str]) -> Report {
    let output = run(&[arguments, &["--json"]].concat());
    let report: Report =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", told(&output)));
    let code = if report.failures().next().is_some() { 1 } else { 0 };
    assert_eq!(output.status.code(), Some(code), "{report:?}");
    report
}

#[test]
fn json_is_a_report_and_the_exit_status_says_whether_anything_failed() {
    for (role, name) in [(Role::Server, "server"), (Role::Host, "host"), (Role::Everything, "everything")] {
        let report = report(&["--role", name]);
        assert_eq!((report.schema.as_str(), report.role), ("twincast-check/1", role));
        assert_eq!(report.findings.len(), 25);
        assert!(report.findings.iter().all(|finding| !finding.reason.is_empty()), "{report:?}");
        assert!(
            report
                .findings
                .iter()
                .all(|finding| finding.verdict >= Verdict::Warn || finding.remedy.is_empty())
        );
    }
}

#[test]
fn the_table_is_narrow_and_ends_with_what_it_means() {
    let output = run(&["--interface", "lo"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let report = report(&["--interface", "lo"]);
    assert_eq!((report.interface.as_deref(), report.role), (Some("lo"), Role::Everything));
    let is_remedy = |line: &str| report.findings.iter().any(|finding| finding.remedy == line.trim());
    for line in text.lines().filter(|line| !is_remedy(line)) {
        assert!(line.chars().count() <= 100, "{line}");
    }
    for finding in &report.findings {
        assert!(text.contains(&finding.name), "{}: {text}", finding.name);
    }
    assert!(text.contains(" FAIL, ") && text.contains("line rate") && !text.contains('\x1b'), "{text}");
}

#[test]
fn a_configuration_says_where_to_look() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.toml");
    let path = path.to_str().unwrap();
    std::fs::write(
        path,
        "side = 1\nlisten = \"127.0.0.1:0\"\n[limits]\nconnections_max = 9\n[[groups]]\nid = 0\nmembers = 10\n",
    )
    .unwrap();
    let report = report(&["--config", path]);
    assert_eq!((report.interface.as_deref(), report.role), (Some("lo"), Role::Server));
    let files = report.findings.iter().find(|finding| finding.name == "open_files").unwrap();
    assert!(files.reason.contains("9 connections"), "{files:?}");
    // An address that no machine has: it is for documents.
    std::fs::write(path, "side = 1\nlisten = \"192.0.2.77:0\"\n[[groups]]\nid = 0\nmembers = 10\n").unwrap();
    assert!(refused(&["--config", path]).contains("no interface here has the address 192.0.2.77"));
    assert!(refused(&["--config", path, "--role", "host"]).contains("--role host has no server"));
    std::fs::write(path, "side = 3\nlisten = \"127.0.0.1:0\"\n[[groups]]\nid = 0\nmembers = 10\n").unwrap();
    assert!(refused(&["--config", path]).contains("side = 3 is out of bounds: 1 to 2"));
    std::fs::write(path, "sides = 1\n").unwrap();
    assert!(refused(&["--config", path]).contains("unknown field `sides`"));
    assert!(
        refused(&["--config", "/nowhere/server.toml"])
            .contains("--config /nowhere/server.toml: No such file")
    );
}

#[test]
fn what_cannot_be_is_refused_with_the_remedy() {
    let sentence = refused(&["--interface", "nonesuch0"]);
    assert!(sentence.contains("there is no interface nonesuch0 here: there "), "{sentence}");
    assert!(sentence.contains("lo") && sentence.contains("name one of these"), "{sentence}");
    assert!(refused(&["--role", "router"]).contains("possible values: server, host, everything"));
    assert!(refused(&["--link", "fast"]).contains("give a rate such as 1gbit"));
    assert!(refused(&["--peer", "somewhere"]).contains("--peer"));
    assert!(refused(&["--link", "10gbit"]).contains("say which with --interface IF"));
}
