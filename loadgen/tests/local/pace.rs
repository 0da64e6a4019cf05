//! Servers and hosts that are slow, or stand still for a while: nothing is lost and nobody is closed for it.

use super::common::{child_in_role, is_written, loadgen, told, wait_for};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::process::Child;
use std::thread::sleep;
use std::time::Duration;

/// Long enough for what is done to it meanwhile.
const RUN: &str = "local --group 130 --hosts 3 --rounds 60 --warmup 0 --no-roof";

/// A run during which `disturb` is called again and again with the process that plays `role`, until the run ends or
/// `disturb` says that it is done. Checks that every message arrived and no reader was closed.
fn disturbed(role: &str, mut disturb: impl FnMut(u32, &mut Child) -> bool) {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("result.json");
    let mut run = loadgen(&format!("{RUN} --json {}", json.display())).spawn().unwrap();
    let pid = child_in_role(&run, role);
    while run.try_wait().unwrap().is_none() && disturb(pid, &mut run) {}
    let output = run.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    wait_for("the result", || is_written(&json).then_some(()));
    let result: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let totals = &result["totals"];
    assert_eq!((&totals["messages_sent"], &totals["accepted"]), (&7800.into(), &7800.into()));
    for missed in ["incomplete", "absent", "tampered", "rounds_skipped"] {
        assert_eq!(totals[missed], 0, "{missed}");
    }
    for server in 0..2 {
        assert_eq!(result["servers"][server]["slow_readers_closed"], 0, "server {server}");
    }
}

/// Stops a process for so long, if it is there.
fn stand_still(pid: u32, time: Duration, run: &mut Child) {
    if run.try_wait().unwrap().is_some() {
        return;
    }
    tell(pid, Signal::STOP);
    sleep(time);
    tell(pid, Signal::CONT);
}

/// Signals a child of the run, which may have ended meanwhile.
fn tell(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).unwrap();
    let told = kill_process(pid, signal);
    assert!(matches!(told, Ok(()) | Err(Errno::SRCH)), "{told:?}");
}

#[test]
fn one_server_slowed_ten_times_loses_nothing() {
    disturbed("role-server", |pid, run| {
        stand_still(pid, Duration::from_millis(18), run);
        sleep(Duration::from_millis(2));
        true
    });
}

#[test]
fn one_server_stopped_for_three_seconds_loses_nothing() {
    disturbed("role-server", |pid, run| {
        sleep(Duration::from_millis(100));
        stand_still(pid, Duration::from_secs(3), run);
        false
    });
}

#[test]
fn a_host_that_neither_writes_nor_reads_for_a_second_loses_nothing() {
    disturbed("role-host", |pid, run| {
        sleep(Duration::from_millis(100));
        stand_still(pid, Duration::from_secs(1), run);
        false
    });
}
