//! `twincast-loadgen baselines` with the real binary: every baseline beside Twincast over loopback, and its bad ends.

use serde_json::Value;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use twincast_baselines::broker::{PROGRAM, installed};

fn loadgen(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twincast-loadgen"));
    command.arg("baselines").args(arguments.split_whitespace());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env_remove("RUST_LOG");
    command
}

fn told(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{}\n{out}\n{err}", output.status)
}

/// A run to its good end: its figures and its table.
fn good_run(arguments: &str) -> (Value, String) {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("figures.json");
    let line = format!("--link loopback {arguments} --json {}", json.display());
    let output = loadgen(&line).output().unwrap();
    assert!(output.status.success(), "{arguments}: {}", told(&output));
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("Every check passed."), "{table}");
    (serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap(), table)
}

fn number(of: &Value, key: &str) -> u64 {
    of[key].as_u64().unwrap_or_else(|| panic!("{key} is a number: {of}"))
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
        let rounds = number(one, "rounds");
        // The broker plays for about a second's CPU time, for the ticks in which that is told.
        assert_eq!(rounds, if one["baseline"] == "broker" { 1_000 } else { 2 }, "{one}");
        assert_eq!(number(one, "deliveries"), rounds * 20 * 20 * number(one, "servers"), "{one}");
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
        assert!(number(faithful, "server_writes") >= number(faithful, "deliveries") - 2, "{faithful}");
    }
    assert_eq!(number(&baselines[2], "trials"), 20 * 20);
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
    assert_eq!(number(one, "deliveries"), 2 * 4 * 40);
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
        let output = loadgen(arguments).output().unwrap();
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
    let run = loadgen("--link loopback --group 30 --hosts 2 --rounds 300 --only nagle-off").spawn().unwrap();
    let server = wait_for("a baseline's server", || in_role(run.id(), "role-baseline-server"));
    signal(server, rustix::process::Signal::KILL);
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
    let mut run = loadgen("--link loopback --group 4 --hosts 2 --rounds 2000 --only broker").spawn().unwrap();
    let broker = wait_for("the broker", || {
        let server = in_role(run.id(), "role-baseline-server")?;
        children(server).first().copied()
    });
    run.kill().unwrap();
    run.wait().unwrap();
    wait_for("the broker's end", || (!lives(broker)).then_some(()));
}

/// Processes that a process has started and that are there.
fn children(of: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{of}/task")).into_iter().flatten().flatten();
    let lists = tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists
        .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}

fn in_role(run: u32, role: &str) -> Option<u32> {
    children(run).into_iter().find(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == role.as_bytes())
    })
}

/// Whether a process is there and is no zombie.
fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Polls until something is there.
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("{what} did not come within a minute");
}
