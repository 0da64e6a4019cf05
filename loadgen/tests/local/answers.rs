//! Answer delivery, the real binary with its real children: every query answered and verified, every byte as the cost
//! model says, while epochs, users and rounds come and go.

use super::common::{good_run, loadgen, number, told};
use super::formats::epochs_are_as_dear_as_the_model_says;
use serde_json::Value;

/// Members: two tiles of 64 and two more.
const GROUP: u64 = 130;

fn run(arguments: &str) -> Value {
    good_run(&format!("--delivery answer --group {GROUP} --hosts 3 --no-roof {arguments}"))
}

/// Every query of every round gave what it asked for, and the bytes are the model's.
fn adds_up(result: &Value, name: &str) {
    let of_plan = |key: &str| number(result, &format!("/plan/{key}"));
    let answers = of_plan("rounds") * of_plan("slots") * of_plan("groups") * GROUP;
    for count in ["messages_sent", "accepted", "shares_verified"] {
        assert_eq!(number(result, &format!("/totals/{count}")), answers, "{count} of {name}");
    }
    for count in ["ignored", "lost", "misdelivered", "altered", "extra", "tampered", "incomplete", "absent"] {
        assert_eq!(number(result, &format!("/totals/{count}")), 0, "{count} of {name}");
    }
    let parts = result["bytes"].as_array().unwrap();
    assert_eq!(parts.len(), 9, "{name}");
    for row in parts {
        assert_eq!(row["model"], row["measured"], "{name}: {row}");
    }
    assert_eq!(number(result, "/answer/payload_bytes"), 2 * answers * 352, "{name}");
    for server in [0, 1] {
        assert_eq!(number(result, &format!("/servers/{server}/egress_shares")), answers, "{name}");
        assert!(number(result, &format!("/servers/{server}/link_bytes")) > 0, "{name}: they must agree");
    }
}

#[test]
fn everybody_reads_whom_they_ask_for_with_every_query() {
    for flags in [
        "--peers self",
        "--peers random",
        "--peers subset:7",
        "--slots 2 --peers self",
        "--slots 2 --peers random",
        "--slots 2 --peers subset:130",
    ] {
        adds_up(&run(&format!("--rounds 2 {flags}")), flags);
    }
}

#[test]
fn groups_and_connections_of_one_user_get_exactly_their_own() {
    // The bounds are of frames; what seals them is a record's, however little is in it.
    let alone = run("--rounds 2 --users-per-connection 1 --channel plain");
    adds_up(&alone, "one user a connection");
    let ratio = alone["answer"]["clients_ratio"].as_f64().unwrap();
    assert!(ratio > 1.2 && ratio <= 1.25, "{ratio}");
    let groups = run("--rounds 2 --groups 2 --slots 3 --users-per-connection 10 --answer-threads 2");
    adds_up(&groups, "two groups");
    let ratio = groups["answer"]["clients_ratio"].as_f64().unwrap();
    assert!(ratio <= 1.1, "{ratio}");
    assert!(groups["answer"]["frames_ratio"].as_f64().unwrap() <= ratio);
}

#[test]
fn rounds_keep_a_schedule_or_go_ahead() {
    let paced = run("--rounds 6 --rate 10");
    adds_up(&paced, "open loop");
    assert!(paced["load"]["achieved_rate"].as_f64().unwrap() <= 10.0);
    adds_up(&run("--rounds 6 --ahead 1"), "a round ahead");
}

/// Queries are dialled anew for each epoch, while rounds go on, and each epoch is as dear as the model says.
#[test]
fn epochs_change_while_rounds_go_on() {
    for flags in ["", "--ahead 1 --slots 2 --groups 2"] {
        let result = run(&format!("--rounds 8 --epoch-rounds 3 {flags}"));
        adds_up(&result, flags);
        epochs_are_as_dear_as_the_model_says(&result, flags);
        let [measured, all] =
            ["clients_ratio", "run_ratio"].map(|key| result["answer"][key].as_f64().unwrap());
        assert!(
            1.0 < measured && measured < all,
            "{measured} and {all}: the first epoch's dialling is in all"
        );
    }
}

#[test]
fn users_come_and_go_and_nothing_is_lost() {
    for flags in ["--churn 1", "--churn 13 --slots 2", "--churn 65 --users-per-connection 10"] {
        let result = run(&format!("--rounds 13 --warmup 1 --epoch-rounds 5 {flags}"));
        let slots = number(&result, "/plan/slots");
        for count in ["messages_sent", "accepted"] {
            assert_eq!(number(&result, &format!("/totals/{count}")), 13 * GROUP * slots, "{flags}");
        }
        assert!(result["epochs"].as_array().unwrap().len() >= 3, "{flags}");
    }
}

/// A machine without room is told so before anything is started.
#[test]
fn what_does_not_fit_is_refused() {
    let output = loadgen("local --delivery answer --group 262144 --slots 64").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("of memory") && said.contains("a smaller --group"), "{said}");
}
