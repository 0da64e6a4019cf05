//! Trials, as a program that is not the load generator makes them: this one starts itself again for each server and host.

use std::process::ExitCode;
use twincast_loadgen::cli::role;
use twincast_loadgen::coordinator::RunError;
use twincast_loadgen::plan::{Plan, ServerSettings};
use twincast_loadgen::trials::{Trials, TrialsFile};

const FILE: &str = "\
[run]
group = 30
hosts = 2
rounds = 3
link = \"loopback\"

[tune]
slabs = [4, 8]
";

fn main() -> ExitCode {
    if let Some(end) = role() {
        return end;
    }
    // `cargo test NAME` filters by name, and there is one.
    let name = "trials_run_one_after_another_and_go_on_after_an_error";
    let filter = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    if filter.is_some_and(|filter| !name.contains(&filter)) {
        return ExitCode::SUCCESS;
    }
    trials_run_one_after_another_and_go_on_after_an_error();
    println!("test {name} ... ok");
    ExitCode::SUCCESS
}

fn trials_run_one_after_another_and_go_on_after_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tune.toml");
    std::fs::write(&path, FILE).unwrap();
    let file = TrialsFile::read(&path).unwrap();
    assert!(file.is_here() && file.name == "tune" && file.tune.is_some());
    let mut trials = Trials::start(&file).unwrap();

    let first = trials.run(&file.plan).unwrap();
    assert_eq!((first.rounds.len(), first.result.failures.len()), (3, 0), "{:?}", first.result.failures);
    assert_eq!(first.result.checks.len(), 1);

    let server =
        ServerSettings { slab_bytes: Some(65_536), fan_out_threads: Some(2), ..ServerSettings::default() };
    let second = trials.run(&Plan { server: server.clone(), ..file.plan.clone() }).unwrap();
    assert_eq!((second.result.plan.server, second.result.totals), (server, first.result.totals));

    let refused = trials.run(&Plan { group: 60_000, slots: 8, ..file.plan.clone() }).unwrap_err();
    assert!(matches!(refused, RunError::Usage(_)), "{refused}");
    let third = trials.run(&file.plan).unwrap();
    assert_eq!(third.result.totals, first.result.totals);
    let own = std::fs::read_to_string(format!("/proc/self/task/{0}/children", std::process::id())).unwrap();
    assert_eq!(own.trim(), "", "nothing that a trial has started is left");
}
