//! Pairs, their ratios, and what is told of them.

use super::*;
use crate::result::tests::sample;
use crate::store::leaf_paths;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// Two repeats of two plans: the second costs twice as much CPU, and once three times.
fn price() -> Price {
    let run = |cpu: f64, round: f64| {
        let mut run = sample();
        run.guard.server_cpu_ns_per_byte = Some(cpu);
        run.round_seconds.p50 = Some(round);
        run
    };
    let plain = vec![run(1.0, 0.010), run(2.0, 0.020), run(1.0, 0.010)];
    let mut noise = vec![run(2.0, 0.020), run(4.0, 0.030), run(3.0, 0.010)];
    noise[1].failures.push("2 messages were lost".into());
    let plan = sample().plan;
    let plans = vec![("plain".to_owned(), plan.clone()), ("noise".to_owned(), plan)];
    let asked = Asked { plans, repeats: 3 };
    let alone = vec![Alone { name: "handshakes".into(), per_second: Spread::of(&[12_345.6]).unwrap() }];
    Price::of(&asked, &[plain, noise], alone)
}

#[test]
fn ratios_are_of_the_runs_of_one_repeat() {
    let price = price();
    let [beside] = price.ratios.as_slice() else { panic!("{:?}", price.ratios) };
    assert_eq!((beside.name.as_str(), beside.over.as_str()), ("noise", "plain"));
    let cpu = &beside.figures["guard.server_cpu_ns_per_byte"];
    assert_eq!((cpu.median, cpu.min, cpu.max, cpu.n), (2.0, 2.0, 3.0, 3));
    assert_eq!(beside.figures["round_seconds.p50"].values, [2.0, 1.5, 1.0]);
    assert_eq!(price.failures, ["noise, run 2: 2 messages were lost"]);
    let text = serde_json::to_string(&price).unwrap();
    assert_eq!(serde_json::from_str::<Price>(&text).unwrap(), price);
}

#[test]
fn the_table_has_every_figure_and_says_what_failed() {
    let text = table::render(&price());
    for part in ["server CPU of a byte", "  noise / plain", "2.000", "a member and round", "12,345"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // CPU is 2.0 times, the round's time 1.5 times.
    assert_eq!(text.matches("at most 2.00 times is wanted: met").count(), 2, "{text}");
    let mut dear = price();
    dear.ratios[0].name = "accountable".into();
    let egress = Spread::of(&[1.03]).unwrap();
    dear.ratios[0].figures.insert("guard.egress_bytes_per_member".into(), egress);
    dear.bounds = dear.ratios[0].bounds().collect();
    let dear = table::render(&dear);
    assert!(dear.contains("at most 1.02 times is wanted: NOT met"), "{dear}");
    let failed =
        "FAILED:\n  noise, run 2: 2 messages were lost\nNot every check passed; every bound is met.\n";
    assert!(text.ends_with(failed), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 132), "{text}");
}

#[test]
fn a_bound_that_is_missed_is_told_last_and_fails_nothing() {
    let mut price = price();
    price.failures.clear();
    let last = |price: &Price| table::render(price).lines().last().unwrap().to_owned();
    assert_eq!(last(&price), "Every check of every run passed; every bound is met.");
    // CPU is 2.0 times, which is met, and the round now is more.
    let rounds = Spread::of(&[2.0, 2.25, 2.5]).unwrap();
    price.ratios[0].figures.insert("round_seconds.p50".into(), rounds);
    price.bounds = price.ratios[0].bounds().collect();
    assert!(price.is_good());
    assert_eq!(
        last(&price),
        "Every check of every run passed; bounds missed: round time, noise / plain, 2.250 and not 2.00."
    );
    price.limited_by = ["plain: machine bound: 90%", "plain: machine bound: 95%", "noise: not bound"]
        .map(String::from)
        .into();
    let text = table::render(&price);
    assert!(
        text.contains("Limited by: plain: machine bound: 90%; 1 more the same way.\nLimited by: noise: not"),
        "{text}"
    );
    price.failures.push("noise, run 2: 2 messages were lost".into());
    assert!(!price.is_good());
    assert!(last(&price).starts_with("Not every check passed; bounds missed: round time"));
}

#[test]
fn the_figures_and_their_documentation_name_the_same_fields() {
    let mut whole = serde_json::to_value(price()).unwrap();
    whole["environment"] = json!("as in a result");
    for list in ["runs", "ratios"] {
        for one in whole[list].as_array_mut().unwrap() {
            assert!(one["figures"]["round_seconds.p50"]["median"].is_number());
            one["figures"] = json!({ "NAME": "as figures.NAME of a summary" });
        }
    }
    for run in whole["runs"].as_array_mut().unwrap() {
        run["plan"] = json!("as in a result");
    }
    for alone in whole["alone"].as_array_mut().unwrap() {
        alone["per_second"] = json!("as figures.NAME of a summary");
    }
    let told = leaf_paths(&whole);
    let (_, own) =
        include_str!("../../RESULTS.md").split_once("# `twincast-price/1`").expect("it has a section");
    let own = own.split("\n# ").next().unwrap_or_default();
    let documented: BTreeSet<String> = own
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(field, _)| field.to_owned()))
        .collect();
    assert_eq!(told.difference(&documented).collect::<Vec<_>>(), Vec::<&String>::new(), "not in RESULTS.md");
    assert_eq!(documented.difference(&told).collect::<Vec<_>>(), Vec::<&String>::new(), "only in RESULTS.md");
}

#[test]
fn a_core_that_waits_does_nothing_by_its_clock() {
    let wait = Duration::from_millis(20);
    let ((), took) = alone::timed(|| std::thread::sleep(wait));
    assert!(took < wait, "{took:?} of CPU while asleep");
    let mut sum = 0u64;
    let ((), took) = alone::timed(|| (0..1_000_000).for_each(|number| sum ^= std::hint::black_box(number)));
    assert!(took > Duration::ZERO, "{sum}");
}

#[test]
fn one_core_does_more_in_batches_than_one_by_one_can_be_measured() {
    let all = alone::measure();
    assert_eq!(all.len(), 4);
    assert!(all.iter().all(|one| one.per_second.min > 0.0), "{all:?}");
}
