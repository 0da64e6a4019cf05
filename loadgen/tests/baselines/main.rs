//! `twincast-loadgen baselines` with the real binary: every baseline beside Twincast over loopback, and its bad ends.

#[allow(dead_code, reason = "other tests need the rest")]
#[path = "../local/common.rs"]
mod common;

use common::{child_in_role, children, lives, loadgen, number, signal, told, wait_for};
use serde_json::Value;
use std::process::Command;
use twincast_baselines::broker::{PROGRAM, installed};

fn baselines(arguments: &str) -> Command {
    loadgen(&format!("baselines {arguments}"))
}

/// A run to its good end: its figures and its table.
fn good_run(arguments: &str) -> (Value, String) {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("figures.json");
    let line = format!("--link loopback {arguments} --json {}", json.display());
    let output = baselines(&line).output().unwrap();
    assert!(output.status.success(), "{arguments}: {}", told(&output));
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("Every check passed."), "{table}");
    (serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap(), table)
}

#[test]
fn every_baseline_delivers_everything_beside_twincast() {
    let (figures, table) = good_run("--group 20 --hosts 3 --rounds 2 --repeats 1");
    assert_eq!(figures["schema"], "twincast-baselines/1");
    let baselines = figures["baselines"].as_array().unwrap();
    let names: Vec<&str> = baselines.iter().map(|one| one["name"].as_str().unwrap()).collect();
    let mut wanted = vec!["paper-faithful, Nagle off", "paper-faithful, Nagle on", "PKI broadcast"];
    if installed().is_some() {
        wanted.push(PROGRAM);
    } else {
        eprintln!("SKIPPED in part: {PROGRAM} is not installed (apt install {PROGRAM})");
        assert!(table.contains("apt install"), "{table}");
    }
    assert_eq!(names, wanted);
    for one in baselines {
        let rounds = number(one, "/rounds");
        // The broker plays for about a second's CPU time, for the ticks in which that is told.
        assert_eq!(rounds, if one["baseline"] == "broker" { 1_000 } else { 2 }, "{one}");
        assert_eq!(number(one, "/deliveries"), rounds * 20 * 20 * number(one, "/servers"), "{one}");
        assert_eq!(one["sampled"], false, "{one}");
        assert!(one["server_cpu_us_per_delivery"].as_f64().unwrap() >= 0.0, "{one}");
    }
    for (one, nagle) in baselines.iter().zip([false, true, false]) {
        assert_eq!(one["nagle"], nagle, "{one}");
    }
    for faithful in &baselines[..2] {
        let [own, round] = ["own_share_seconds_p50", "round_seconds_max"].map(|key| faithful[key].as_f64());
        assert!(own > Some(0.0) && own <= round, "{faithful}");
        // Two rounds of shares of 336 bytes behind headers of 8.
        assert_eq!(faithful["server_egress_bytes"], serde_json::json!([275_200, 275_200]));
        assert!(number(faithful, "/server_writes") >= number(faithful, "/deliveries") - 2, "{faithful}");
    }
    assert_eq!(number(&baselines[2], "/trials"), 20 * 20);
    let rows = figures["rows"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|one| one["name"].as_str().unwrap()).collect();
    let own = ["Twincast, compact", "plain send"].into_iter().chain(wanted);
    assert_eq!(names, own.chain(["MCMix conversation", "MCMix dialling"]).collect::<Vec<_>>());
    for row in &rows[..2] {
        assert!(row["server_cpu_us_per_message"]["median"].as_f64() > Some(0.0), "{row}");
    }
    assert!(table.contains("Twincast is better by"), "{table}");
}

#[test]
fn a_sample_is_marked() {
    let (figures, table) = good_run(
        "--group 40 --hosts 2 --rounds 1 --senders 4 --only nagle-off --share-bytes 771 --repeats 2",
    );
    assert_eq!(figures["baselines"].as_array().unwrap().len(), 2, "one of each repeat");
    assert_eq!(figures["rows"][1]["messages_ratio"]["n"], 2);
    let one = &figures["baselines"][0];
    assert_eq!(one["sampled"], true);
    assert_eq!(number(one, "/deliveries"), 2 * 4 * 40);
    assert!(
        table.contains("paper-faithful, Nagle off *") && table.contains("4 of 40 members sent"),
        "{table}"
    );
}

#[test]
fn what_cannot_be_is_wrong_usage_at_once() {
    for (arguments, says) in [
        ("--group 20 --senders 21", "21 senders"),
        ("--group 20 --hosts 5 --senders 4", "one on each of the 5 hosts"),
        ("--group 20 --mtu 5", "--mtu"),
        ("--group 20 --only everything", "--only"),
        ("--json /no/such/directory/figures.json", "--json"),
    ] {
        let output = baselines(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments}: {}", told(&output));
        assert!(told(&output).contains(says), "{arguments}: {}", told(&output));
    }
}

#[test]
fn limits_that_are_too_low_are_told_before_anything_is_started() {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 40 && exec \"$0\" baselines --link loopback --group 20"]);
    let output = command.arg(env!("CARGO_BIN_EXE_twincast-loadgen")).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    assert!(told(&output).contains("ulimit -Hn"), "{}", told(&output));
}

#[test]
fn a_server_that_is_killed_ends_the_run_by_its_name() {
    let run =
        baselines("--link loopback --group 30 --hosts 2 --rounds 300 --only nagle-off").spawn().unwrap();
    signal(child_in_role(&run, "role-baseline-server"), rustix::process::Signal::KILL);
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(told(&output).contains("of the baseline (paper-faithful, Nagle off)"), "{}", told(&output));
}

#[test]
fn the_broker_does_not_outlive_a_coordinator_that_is_killed() {
    if installed().is_none() {
        eprintln!("SKIPPED: {PROGRAM} is not installed (apt install {PROGRAM})");
        return;
    }
    let mut run =
        baselines("--link loopback --group 4 --hosts 2 --rounds 2000 --only broker").spawn().unwrap();
    let server = child_in_role(&run, "role-baseline-server");
    let broker = wait_for("the broker", || children(server).first().copied());
    run.kill().unwrap();
    run.wait().unwrap();
    wait_for("the broker's end", || (!lives(broker)).then_some(()));
}
