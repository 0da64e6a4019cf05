//! Programs that look at a machine and never end: whoever ends, takes them along.

use super::common::{children, lives, loadgen, signal, told, wait_for};
use super::fixture::{Agent, Folder, gone};
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Child;

/// A folder of programs that look at a machine, of which `timedatectl` never ends, before those of the machine: the value
/// of `PATH`. It writes its number into the file `hangs` first.
fn hanging_programs(folder: &Path) -> String {
    let path = folder.join("timedatectl");
    let script = format!("#!/bin/sh\necho $$ >> '{}'\nsleep 300\n", folder.join("hangs").display());
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default())
}

/// The number of a program that hangs, once there is one that has not been told yet.
fn hanging(folder: &Path, told: &[u32]) -> u32 {
    wait_for("a program that hangs", || {
        let text = std::fs::read_to_string(folder.join("hangs")).unwrap_or_default();
        let whole = &text[..text.rfind('\n')?];
        whole.lines().map(|pid| pid.parse().unwrap()).find(|pid| !told.contains(pid))
    })
}

/// A run that is at its checks, with an agent whose program hangs; that program.
fn checking(folder: &Folder, agent: &Agent, before: &[u32]) -> (Child, u32) {
    let far = [agent.place(), "local = true".into()];
    let run = folder.run("token_file = \"token\"", &far, &far[1..]).spawn().unwrap();
    (run, hanging(folder.path(), before))
}

#[test]
fn an_agent_ends_what_its_check_has_started_with_its_coordinator_and_with_itself() {
    let folder = Folder::new();
    let path = hanging_programs(folder.path());
    let mut agent = Agent::start_with_path(&folder, "server", &path);
    let (mut run, first) = checking(&folder, &agent, &[]);
    run.kill().unwrap();
    run.wait().unwrap();
    gone(&[first]);
    wait_for("the end of what the agent did", || children(agent.process.id()).is_empty().then_some(()));

    // It serves on, and is told to stop in the middle of the next check.
    let (mut run, second) = checking(&folder, &agent, &[first]);
    let inner = children(second);
    signal(agent.process.id(), Signal::TERM);
    assert_eq!(agent.process.wait().unwrap().code(), Some(130));
    gone(&[second]);
    gone(&inner);
    signal(run.id(), Signal::INT);
    run.wait().unwrap();
}

#[test]
fn a_local_run_ends_what_its_check_has_started() {
    let folder = Folder::new();
    let mut command = loadgen("local --group 10 --rounds 1");
    let run = command.env("PATH", hanging_programs(folder.path())).spawn().unwrap();
    let program = hanging(folder.path(), &[]);
    assert!(lives(program));
    signal(run.id(), Signal::INT);
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", told(&output));
    gone(&[program]);
}
