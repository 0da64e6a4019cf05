//! The pace of rounds: servers and hosts that are slow, or stand still for a while, lose nothing and nobody is closed for
//! it; and an open loop keeps its schedule, or is late, and loses nothing either.

use super::common::{child_in_role, good_run, is_written, loadgen, number, signal, told, wait_for};
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

fn float(result: &Value, pointer: &str) -> f64 {
    result
        .pointer(pointer)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("{pointer} is a number: {result}"))
}

const SMALL: &str = "--group 20 --hosts 2 --link loopback --no-roof";

#[test]
fn a_rate_that_the_machine_bears_is_kept() {
    let result = good_run(&format!("{SMALL} --rounds 5 --warmup 1 --rate 4"));
    assert_eq!(number(&result, "/load/missed_slots"), 0);
    let (rate, achieved) = (float(&result, "/load/rate"), float(&result, "/load/achieved_rate"));
    assert!(rate == 4.0 && achieved > 0.0 && achieved <= rate, "{achieved}");
    // Four intervals lie between the first planned instant and the last.
    assert!(float(&result, "/wall_seconds") >= 1.0, "{result}");
}

#[test]
fn a_rate_that_no_machine_bears_is_late_and_loses_nothing() {
    let result = good_run(&format!("{SMALL} --rounds 60 --warmup 2 --rate 100000"));
    assert_eq!(number(&result, "/totals/accepted"), 20 * 60);
    let missed = number(&result, "/load/missed_slots");
    assert!(missed > 0 && missed <= 60, "{missed}");
    let of_hosts = (0..2).map(|host| number(&result, &format!("/hosts/{host}/missed_slots"))).max();
    assert_eq!(of_hosts, Some(missed));
    assert!(float(&result, "/load/achieved_rate") < 100_000.0);
    // A message waits for all rounds before its own, and that is in its latency: the last one's is about the whole time.
    let whole_us = 60.0 / float(&result, "/load/achieved_rate") * 1e6;
    for latency in ["/message_latency_us/max", "/delivery_latency_us/max", "/round_seconds/max"] {
        let unit = if latency.starts_with("/round") { 1e6 } else { 1.0 };
        let longest = float(&result, latency) * unit;
        assert!(longest > whole_us / 2.0, "{latency}: {longest} us of {whole_us}");
    }
    assert!(float(&result, "/message_latency_us/max") > 4.0 * whole_us / 60.0);
}

#[test]
fn a_rate_that_takes_hours_is_interrupted_at_once() {
    let mut run = loadgen(&format!("local {SMALL} --rounds 5 --warmup 0 --rate 0.001")).spawn().unwrap();
    child_in_role(&run, "role-host");
    sleep(Duration::from_millis(300));
    assert!(run.try_wait().unwrap().is_none(), "it waits for its second round");
    signal(run.id(), Signal::INT);
    wait_for("its end", || run.try_wait().unwrap());
    let output = run.wait_with_output().unwrap();
    assert!(!output.status.success() && told(&output).contains("interrupted"), "{}", told(&output));
}
