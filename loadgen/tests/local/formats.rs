//! Every profile and scheme: every message accounted for, and every byte as the cost model says.

use super::common::{good_run, number};
use serde_json::Value;
use twincast_loadgen::cost::model;
use twincast_loadgen::plan::Plan;

/// Members: two tiles of 64 and two more; even, for Algorithm 4.
const GROUP: u64 = 130;
const PAPER: &str = "--insecure-baseline --profile";

fn run(arguments: &str) -> Value {
    good_run(&format!("--group {GROUP} --hosts 3 --no-roof {arguments}"))
}

/// Every message arrived, every cell was verified, and the bytes are the model's.
fn adds_up(result: &Value, messages: u64) {
    let name = format!("{} {}", result["plan"]["profile"], result["plan"]["peers"]);
    for count in ["messages_sent", "accepted"] {
        assert_eq!(number(result, &format!("/totals/{count}")), messages, "{count} of {name}");
    }
    let cells = number(result, "/plan/rounds") * number(result, "/plan/slots") * GROUP * GROUP;
    assert_eq!(number(result, "/totals/shares_verified"), cells, "{name}");
    for server in [0, 1] {
        assert_eq!(number(result, &format!("/servers/{server}/egress_shares")), cells, "{name}");
    }
    exact(result, &name);
}

/// Measured bytes are the model's, to the byte. GRANT alone comes again for what is missing when dialling ends, and who
/// comes last in the one-to-many scheme, where nobody dials, may find the epoch open.
fn exact(result: &Value, name: &str) {
    let is_dealt = result["format"]["scheme"] == "one-to-many";
    let mut parts = 0;
    for row in result["bytes"].as_array().unwrap() {
        let (model, measured) = (&row["model"], &row["measured"]);
        let all = |flow: &Value| {
            flow["down"].as_array().unwrap().iter().map(|of| of.as_u64().unwrap()).sum::<u64>()
        };
        match row["part"].as_str().unwrap() {
            "grants" => assert!(all(measured) >= all(model), "{name}: {row}"),
            "members" if is_dealt => assert!(all(measured) <= all(model), "{name}: {row}"),
            _ => assert_eq!(model, measured, "{name}: {row}"),
        }
        parts += 1;
    }
    assert_eq!(parts, 9);
}

#[test]
fn the_compact_profile_in_every_scheme() {
    adds_up(&run("--rounds 2 --peers subgroup:25%"), 2 * GROUP * 33);
    let many = run("--rounds 2 --peers many:3");
    adds_up(&many, 2 * GROUP * 3);
    assert_eq!(number(&many, "/plan/slots"), 3);
    adds_up(&run("--rounds 2 --frame-bytes 16 --peers self"), 2 * GROUP);
    adds_up(&run("--rounds 2 --frame-bytes 1024 --no-confirm"), 2 * GROUP);
}

#[test]
fn the_paper_profiles_with_one_recipient() {
    for (profile, share) in [("paper-xor", 771), ("paper-add", 772)] {
        let result = run(&format!("{PAPER} {profile} --rounds 2 --peers self --no-confirm"));
        adds_up(&result, 2 * GROUP);
        assert_eq!(number(&result, "/format/share_bytes"), share);
        adds_up(&run(&format!("{PAPER} {profile} --rounds 1")), GROUP);
    }
}

#[test]
fn algorithm_4_sends_s1_a_pair() {
    for (profile, peers, each) in [("paper-xor", "subgroup:25%", 33), ("paper-add", "subset:65", 65)] {
        let result = run(&format!("{PAPER} {profile} --rounds 1 --peers {peers}"));
        adds_up(&result, GROUP * each);
        assert_eq!(result["format"]["scheme"], "algorithm4");
        let cell = number(&result, "/format/share_bytes");
        assert_eq!(result["format"]["cell_bytes"], serde_json::json!([2 * cell, cell]));
        // One message reaches many, so a delivery costs less.
        let cost = |of: &str| result["cost"][of].as_f64().unwrap();
        let ratio = cost("message_bytes_out") / cost("delivered_bytes_out");
        assert!((ratio - each as f64).abs() < 0.01 * each as f64, "{ratio}");
    }
}

#[test]
fn one_to_many_spreads_a_batch_over_rounds_with_noise() {
    for (profile, flags, rounds, messages) in [
        ("paper-xor", "--peers many:5 --noise 1..3 --spread 2", 4, 10),
        ("paper-add", "--peers many:3 --spread 3", 3, 3),
        ("paper-xor", "--peers many:4 --noise 0..2", 1, 4),
    ] {
        let result = run(&format!("{PAPER} {profile} {flags} --rounds {rounds}"));
        adds_up(&result, GROUP * messages);
        assert_eq!(result["format"]["scheme"], "one-to-many");
        assert_eq!(number(&result, "/dial/confirm_cells"), 0);
    }
}

#[test]
fn long_messages_in_a_paper_frame_are_authenticated_by_their_hash() {
    let result = run(&format!("{PAPER} paper-add --frame-bytes 1000 --rounds 1"));
    adds_up(&result, GROUP);
    assert_eq!(number(&result, "/plan/message_bytes"), 1000);
    assert!(number(&result, "/format/share_bytes") > 1772 - 1);
}

#[test]
fn keys_are_exchanged_and_messages_sealed() {
    let result = run("--rounds 2 --keys --keys-kappa 13");
    adds_up(&result, 2 * GROUP);
    assert_eq!(number(&result, "/epochs/0/keys_failed"), 0);
    assert!(number(&result, "/epochs/0/key_pairs") >= GROUP);
    assert!(result["epochs"][0]["keys"]["seconds"].as_f64().unwrap() > 0.0);
    let read = |of: &str| result["partitions"][of].as_f64().unwrap();
    assert!((read("measured") - read("probability")).abs() < 0.02, "{}", result["partitions"]);
    let sealed = run(&format!("{PAPER} paper-xor --rounds 1 --keys"));
    adds_up(&sealed, GROUP);
    assert_eq!(number(&sealed, "/plan/message_bytes"), 239);
}

#[test]
fn a_box_and_servers_alone_change_no_byte_of_a_round() {
    adds_up(&run("--rounds 1 --box 16"), GROUP);
    let alone = run("--rounds 1 --no-link --users-per-connection 7");
    adds_up(&alone, GROUP);
    assert_eq!(number(&alone, "/servers/0/link_bytes"), 0);
    assert!(number(&run("--rounds 1"), "/servers/0/link_bytes") > 0);
}

/// Epochs with recipients of their own, each dialled while rounds go on, and each as dear as the model says.
#[test]
fn epochs_change_while_rounds_go_on() {
    let result = run("--rounds 7 --warmup 1 --epoch-rounds 3 --keys");
    assert_eq!(number(&result, "/totals/accepted"), 7 * GROUP);
    epochs_are_as_dear_as_the_model_says(&result, "--keys");
    let epochs = result["epochs"].as_array().unwrap();
    assert!(epochs.iter().all(|epoch| epoch["confirm_cells"] == GROUP * GROUP), "{epochs:?}");
}

/// Three epochs at the least, and of each the bytes of every part.
pub(super) fn epochs_are_as_dear_as_the_model_says(result: &Value, flags: &str) {
    let plan: Plan = serde_json::from_value(result["plan"].clone()).unwrap();
    let epochs = result["epochs"].as_array().unwrap();
    assert!(epochs.len() >= 3, "{flags}: {epochs:?}");
    for (index, epoch) in epochs.iter().enumerate() {
        let model = model(&plan, index as u32).unwrap();
        for (part, must, counted) in [
            ("members", model.members, &epoch["members"]),
            ("dial", model.dial, &epoch["dial"]["bytes"]),
            ("confirm", model.confirm, &epoch["confirm"]["bytes"]),
            ("keys", model.keys, &epoch["keys"]["bytes"]),
        ] {
            assert_eq!(serde_json::to_value(must).unwrap(), *counted, "{part} of epoch {index}, {flags}");
        }
    }
}

#[test]
fn epochs_change_with_a_round_ahead_and_in_a_paper_profile() {
    let ahead = run("--rounds 8 --epoch-rounds 3 --ahead 1 --slots 2 --groups 2");
    assert_eq!(number(&ahead, "/totals/accepted"), 8 * 2 * 2 * GROUP);
    let dealt = run(&format!("{PAPER} paper-xor --peers many:4 --spread 2 --rounds 6 --epoch-rounds 4"));
    assert_eq!(number(&dealt, "/totals/accepted"), 6 * 2 * GROUP);
}

#[test]
fn users_come_and_go_and_nothing_is_lost() {
    for flags in ["--churn 1", "--churn 13 --keys", "--churn 65 --users-per-connection 10 --box 8"] {
        let result = run(&format!("--rounds 13 --warmup 1 --epoch-rounds 5 {flags}"));
        for count in ["messages_sent", "accepted"] {
            assert_eq!(number(&result, &format!("/totals/{count}")), 13 * GROUP, "{flags}");
        }
        assert!(result["epochs"].as_array().unwrap().len() >= 3, "{flags}");
    }
}
