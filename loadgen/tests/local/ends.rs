//! However a run ends, nothing of it is left.

use super::common::{child_in_role, children, ended, is_written, lives, loadgen, signal, told, wait_for};
use rustix::process::Signal;
use std::process::Child;

/// A run that goes on until something ends it.
const ENDLESS: &str = "local --group 130 --hosts 3 --rounds 1000000 --warmup 0 --no-roof";

/// Starts an endless run; the run and its five children, the last of which is there.
fn endless() -> (Child, Vec<u32>) {
    let run = loadgen(ENDLESS).spawn().unwrap();
    let all = wait_for("five children", || Some(children(run.id())).filter(|all| all.len() == 5));
    (run, all)
}

#[test]
fn ctrl_c_leaves_no_process_and_no_file() {
    for sent in [Signal::INT, Signal::TERM] {
        let directory = tempfile::tempdir().unwrap();
        let json = directory.path().join("result.json");
        let mut command = loadgen(ENDLESS);
        let run = command.args(["--json".as_ref(), json.as_os_str()]).spawn().unwrap();
        let all = wait_for("five children", || Some(children(run.id())).filter(|all| all.len() == 5));
        signal(run.id(), sent);
        let output = ended(run, &all);
        assert_eq!(output.status.code(), Some(130), "{}", told(&output));
        assert!(!is_written(&json) && !json.exists());
    }
}

#[test]
fn ctrl_c_in_the_first_moment_is_as_good() {
    for milliseconds in [0, 20, 50, 100, 200] {
        let run = loadgen(ENDLESS).spawn().unwrap();
        // The signal handler stands once the first child does.
        let first = wait_for("a child", || children(run.id()).first().copied());
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        let all = children(run.id());
        signal(run.id(), Signal::INT);
        let output = ended(run, &all);
        assert!(!lives(first));
        assert_eq!(output.status.code(), Some(130), "{}", told(&output));
    }
}

#[test]
fn a_server_that_dies_ends_the_run_and_is_named() {
    let (run, all) = endless();
    signal(child_in_role(&run, "role-server"), Signal::KILL);
    let output = ended(run, &all);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("server ") && stderr.contains("was killed by signal 9"), "{stderr}");
}

#[test]
fn a_host_that_dies_ends_the_run_and_is_named() {
    let (run, all) = endless();
    signal(child_in_role(&run, "role-host"), Signal::KILL);
    let output = ended(run, &all);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("host ") && stderr.contains("was killed by signal 9"), "{stderr}");
}

#[test]
fn children_go_when_the_coordinator_is_killed() {
    let (mut run, all) = endless();
    signal(run.id(), Signal::KILL);
    run.wait().unwrap();
    wait_for("the end of all children", || all.iter().all(|child| !lives(*child)).then_some(()));
}

#[test]
fn a_stopped_child_does_not_keep_the_others() {
    let (run, all) = endless();
    signal(child_in_role(&run, "role-host"), Signal::STOP);
    signal(run.id(), Signal::INT);
    let output = ended(run, &all);
    assert_eq!(output.status.code(), Some(130), "{}", told(&output));
}
