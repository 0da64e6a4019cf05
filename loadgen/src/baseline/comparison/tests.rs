use super::*;
use crate::baseline::result::tests::sample as rival;
use crate::result::tests::{broken, sample};
use crate::store::leaf_paths;
use serde_json::json;
use std::collections::BTreeSet;

fn setup() -> Setup {
    Setup { members: 130, senders: 130, share_bytes: 336, rounds: 2 }
}

/// Two repeats of Twincast and the baselines over sockets, one of MCMix.
fn compared() -> Comparison {
    let mut mcmix =
        Mcmix { latency_s: 1e-4, bits_per_s: 1e9, rate_from: "stated".into(), ..Mcmix::default() };
    mcmix.play(10, 0).unwrap();
    let baselines = [Baseline::Faithful { nagle: false }, Baseline::Pki].map(rival).to_vec();
    let baselines = [baselines.clone(), baselines].concat();
    let plan = sample().plan;
    let left_out = vec!["the broker is not installed".to_owned()];
    together(&plan, &setup(), vec![sample(), sample()], baselines, Some(mcmix), left_out).unwrap()
}

#[test]
fn rows_are_over_all_repeats_and_ratios_of_the_same_one() {
    let compared = compared();
    let names: Vec<&str> = compared.rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names[1..3], ["plain send", "paper-faithful, Nagle off"]);
    assert_eq!(names[3..], ["PKI broadcast", "MCMix conversation", "MCMix dialling"]);
    let [twincast, roof, faithful, _, talk, calls] = compared.rows.as_slice() else { panic!("{names:?}") };
    let of = |spread: &Option<crate::stats::Spread>| spread.as_ref().map(|spread| (spread.median, spread.n));
    assert_eq!(of(&twincast.messages_ratio), Some((1.0, 2)));
    assert_eq!(of(&roof.messages_ratio).unwrap().1, 1, "the roof is measured once");
    let (delivery, message) = (
        of(&twincast.server_cpu_us_per_delivery).unwrap().0,
        of(&twincast.server_cpu_us_per_message).unwrap().0,
    );
    assert!(message > delivery, "a message is a delivery to everybody from each server");
    let ratio = of(&faithful.server_cpu_us_per_delivery).unwrap().0 / delivery;
    assert!((of(&faithful.cpu_per_delivery_ratio).unwrap().0 - ratio).abs() < 1e-9);
    let ratio = of(&faithful.server_cpu_us_per_message).unwrap().0 / message;
    assert!((of(&faithful.cpu_per_message_ratio).unwrap().0 - ratio).abs() < 1e-9);
    assert!(talk.modelled && talk.server_cpu_us_per_delivery.is_none() && talk.dial_seconds.is_none());
    assert!(calls.modelled && calls.round_seconds.is_none() && calls.dial_seconds.is_some());
    assert_eq!(compared.limited_by.len(), 1, "the same sentence is told once");
}

#[test]
fn the_roof_is_told_for_a_delivery_of_as_many_bytes() {
    let result = sample();
    let row = compared().rows[1].clone();
    let bytes: u64 = result.servers.iter().map(|server| server.egress_bytes).sum();
    let shares: u64 = result.servers.iter().map(|server| server.egress_shares).sum();
    let cpu_us = result.roof.plain_send_cpu_seconds_per_gb.unwrap() / 1e3 * bytes as f64 / shares as f64;
    assert!((row.server_cpu_us_per_delivery.unwrap().median / cpu_us - 1.0).abs() < 1e-9);
    let seconds =
        130.0 * 130.0 * 8.0 * bytes as f64 / shares as f64 / result.roof.plain_send_bits_per_s.unwrap();
    assert!((row.round_seconds.unwrap().median / seconds - 1.0).abs() < 1e-9);
}

#[test]
fn a_failure_of_any_repeat_fails_the_comparison() {
    let plan = sample().plan;
    let all = together(&plan, &setup(), vec![sample(), broken()], Vec::new(), None, Vec::new()).unwrap();
    assert!(!all.failures.is_empty());
    assert!(table::render(&all).contains("FAILED: "));
}

#[test]
fn the_table_says_what_was_measured_and_where() {
    let text = table::render(&compared());
    // Lines are wrapped wherever they are full.
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "congestion control cubic",
        "no delay is emulated",
        "counts as server CPU",
        "CPU a message",
        "MCMix dialling +",
        "compared with has plain channels, too",
    ] {
        assert!(flat.contains(words), "{words}: {text}");
    }
    assert!(text.contains("Every check passed.") && text.contains(".."), "{text}");
}

#[test]
fn the_figures_and_their_documentation_name_the_same_fields() {
    let mut whole = serde_json::to_value(compared()).unwrap();
    whole["environment"] = json!("as in a result");
    whole["plan"] = json!("as in a result");
    whole["roof"] = json!("as in a result");
    for baseline in whole["baselines"].as_array_mut().unwrap() {
        assert_eq!(baseline["checks"][0]["name"], "this machine");
        baseline["checks"] = json!("as in a result");
    }
    for row in whole["rows"].as_array_mut().unwrap() {
        for figure in row.as_object_mut().unwrap().values_mut() {
            if figure.is_object() {
                *figure = json!("as figures.NAME of a summary");
            }
        }
    }
    let mut told = leaf_paths(&whole);
    // What is tagged by its kind has no more than that.
    told.retain(|field| field != "baselines[].baseline.faithful.nagle");
    let all = include_str!("../../../RESULTS.md");
    let (_, own) = all.split_once("# `twincast-baselines/1`").expect("it has a section");
    let own = own.split("\n# ").next().unwrap_or_default();
    let documented: BTreeSet<String> = own
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(field, _)| field.to_owned()))
        .collect();
    assert_eq!(told.difference(&documented).collect::<Vec<_>>(), Vec::<&String>::new(), "not in RESULTS.md");
    assert_eq!(documented.difference(&told).collect::<Vec<_>>(), Vec::<&String>::new(), "only in RESULTS.md");
}
