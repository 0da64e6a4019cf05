//! Whole runs of a group of two tiles and a bit, in every variant, every message accounted for.

use super::common::{good_run, loadgen, number, told};
use serde_json::Value;

/// Members: two tiles of 64 and two more. Not a multiple of the hosts, nor of eight.
const GROUP: u64 = 130;

fn run(arguments: &str) -> Value {
    good_run(&format!("--group {GROUP} --hosts 3 --rounds 2 --no-roof {arguments}"))
}

/// The counts that hold in any run that verifies everything.
fn adds_up(result: &Value, messages_a_round: u64, cells_a_round: u64) {
    assert_eq!(number(result, "/totals/messages_sent"), 2 * messages_a_round);
    assert_eq!(number(result, "/totals/accepted"), 2 * messages_a_round);
    assert_eq!(number(result, "/totals/shares_verified"), 2 * cells_a_round);
    for nothing in ["lost", "misdelivered", "altered", "extra", "tampered", "incomplete", "absent"] {
        assert_eq!(number(result, &format!("/totals/{nothing}")), 0, "{nothing}");
    }
    for server in [0, 1] {
        assert_eq!(number(result, &format!("/servers/{server}/egress_shares")), 2 * cells_a_round);
        assert!(number(result, &format!("/servers/{server}/egress_bytes")) > 2 * cells_a_round * 336);
        assert!(result.pointer(&format!("/servers/{server}/bits_per_s")).unwrap().as_f64().unwrap() > 0.0);
        assert!(number(result, &format!("/servers/{server}/peak_rss_bytes")) > 0);
    }
    assert_eq!(result["hosts"].as_array().unwrap().len(), 3);
    assert!(result["limited_by"].as_str().unwrap().contains("bound"));
    assert!(result["round_seconds"]["p50"].as_f64().unwrap() > 0.0);
    for latency in ["message_latency_us", "delivery_latency_us"] {
        assert!(
            result[latency]["p50"].as_f64().unwrap() <= result[latency]["max"].as_f64().unwrap(),
            "{latency}"
        );
    }
}

#[test]
fn everybody_writes_to_themselves() {
    let result = run("--peers self");
    adds_up(&result, GROUP, GROUP * GROUP);
    assert_eq!(number(&result, "/dial/confirm_cells"), GROUP * GROUP);
    assert_eq!(result["plan"]["peers"], "self");
}

#[test]
fn servers_that_are_set_up_otherwise_deliver_the_same() {
    let settings = "--fan-out-threads 2 --fan-out-cores none --front-cores none --slab-bytes 65536 --slabs 4 \
                    --zero-copy off --send-buffer-bytes 65536";
    let result = run(settings);
    adds_up(&result, GROUP, GROUP * GROUP);
    let server = &result["plan"]["server"];
    assert_eq!((number(&result, "/plan/server/slab_bytes"), &server["zero_copy"]), (65_536, &"off".into()));
    let output =
        loadgen(&format!("local --group 20 --hosts 2 --rounds 1 --no-roof {settings}")).output().unwrap();
    let printed = told(&output);
    assert!(
        printed.contains("both servers set up with front.cores = \"none\", fan_out.threads = 2"),
        "{printed}"
    );
    let output = loadgen("local --group 20 --fan-out-cores 1023").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    assert!(told(&output).contains("--fan-out-cores: there is no core 1023"), "{}", told(&output));
}

#[test]
fn a_random_permutation_without_confirmation() {
    let result = run("--peers random --no-confirm --seed 7");
    adds_up(&result, GROUP, GROUP * GROUP);
    assert_eq!(number(&result, "/dial/confirm_cells"), 0);
}

#[test]
fn three_recipients_of_each_message_in_two_slots() {
    let result = run("--peers subset:3 --slots 2");
    adds_up(&result, 3 * 2 * GROUP, 2 * GROUP * GROUP);
    assert_eq!(number(&result, "/dial/confirm_cells"), 2 * GROUP * GROUP);
}

#[test]
fn nobody_is_a_recipient() {
    adds_up_without_messages(&run("--peers subset:0 --no-confirm"));
}

fn adds_up_without_messages(result: &Value) {
    assert_eq!(number(result, "/totals/messages_sent"), 0);
    assert_eq!(number(result, "/totals/accepted"), 0);
    assert_eq!(number(result, "/totals/ignored"), 2 * GROUP * GROUP);
}

#[test]
fn everybody_is_a_recipient() {
    let result = run(&format!("--peers subset:{GROUP} --no-confirm"));
    adds_up(&result, GROUP * GROUP, GROUP * GROUP);
}

#[test]
fn a_round_ahead() {
    adds_up(&run("--ahead 1"), GROUP, GROUP * GROUP);
}

#[test]
fn a_round_ahead_in_two_slots_without_warm_up() {
    adds_up(&run("--ahead 1 --slots 2 --warmup 0"), 2 * GROUP, 2 * GROUP * GROUP);
}

#[test]
fn every_user_on_a_connection_of_its_own() {
    adds_up(&run("--users-per-connection 1"), GROUP, GROUP * GROUP);
}

#[test]
fn two_groups_on_the_same_servers() {
    adds_up(&run("--groups 2 --users-per-connection 20"), 2 * GROUP, 2 * GROUP * GROUP);
}

#[test]
fn a_sample_still_finds_every_message() {
    let result = run("--verify sample:0.1");
    assert_eq!(number(&result, "/totals/accepted"), 2 * GROUP);
    let (verified, counted) =
        (number(&result, "/totals/shares_verified"), number(&result, "/totals/shares_counted"));
    assert_eq!(verified + counted, 2 * GROUP * GROUP);
    assert!(verified > 0 && counted > 0, "{verified} and {counted}");
}

#[test]
fn counting_decodes_nothing() {
    let result = run("--verify count");
    assert_eq!(number(&result, "/totals/shares_counted"), 2 * GROUP * GROUP);
    assert_eq!(number(&result, "/totals/shares_verified"), 0);
    assert_eq!(number(&result, "/totals/accepted"), 0);
}

#[test]
fn the_roof_stands_beside() {
    let result = good_run("--group 130 --hosts 2 --rounds 1");
    assert_eq!(result["roof"]["repeats"], 3);
    assert_eq!(result["roof"]["connections"], 2);
    for figure in ["plain_send_bits_per_s", "server_cpu_ratio", "server_bits_per_s"] {
        assert!(result["roof"][figure].as_f64().unwrap() > 0.0, "{figure}");
    }
    assert_eq!(number(&result, "/plan/warmup"), 0);
}

#[test]
fn two_runs_at_once_do_not_collide() {
    let one = std::thread::spawn(|| run("--seed 1"));
    let other = std::thread::spawn(|| run("--seed 2"));
    adds_up(&one.join().unwrap(), GROUP, GROUP * GROUP);
    adds_up(&other.join().unwrap(), GROUP, GROUP * GROUP);
}

#[test]
fn the_smallest_group_on_one_host() {
    let result = good_run("--group 2 --hosts 1 --rounds 3 --peers self --no-roof");
    assert_eq!(number(&result, "/totals/accepted"), 6);
}

#[test]
fn wrong_usage_exits_2_and_starts_nothing() {
    for (arguments, said) in [
        ("local --group 1", "'--group <N>': give a whole number from 2 to 262,144"),
        ("local --group 3 --hosts 4", "--hosts 4 is more than the 3 members of --group"),
        ("local --peers everybody", "give self, random, subset:K"),
        (
            "local --profile paper-xor",
            "one server alone can find recipients or forge messages (read engine/docs/THREAT_MODEL.md)",
        ),
        ("local --frame-bytes 100", "a multiple of 16 from 16 to 65,536"),
        ("local --insecure-baseline --profile paper-add --frame-bytes 128", "256, or more up to 65,536"),
        (
            "local --group 131 --insecure-baseline --profile paper-xor --peers subset:4",
            "Algorithm 4, which needs an even group",
        ),
        (
            "local --group 130 --insecure-baseline --profile paper-xor --peers subgroup:60%",
            "78 recipients are more than half of 130",
        ),
        ("local --peers many:300", "a member has at most 256"),
        ("local --epoch-rounds 3 --announce-rounds 9", "give at most 3"),
        ("local --fault melt@1", "give KIND@ROUND"),
        ("local --fault flip@9", "from 1 to the last of --rounds, 5"),
        ("local --json /no/such/directory/result.json", "give a file in a directory that exists"),
        ("locl", "local"),
    ] {
        let output = loadgen(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments}: {}", told(&output));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(said), "{arguments}: {stderr}");
    }
}
