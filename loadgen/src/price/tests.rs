//! Pairs, their ratios, and what is told of them.

use super::*;
use crate::result::tests::sample;

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
    for part in ["server CPU of a byte", "  noise / plain", "2.000", "egress, a member and round", "12,345"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // CPU is 2.0 times, the round's time 1.5 times.
    assert_eq!(text.matches("at most 2.00 times is wanted: met").count(), 2, "{text}");
    let mut dear = price();
    dear.ratios[0].name = "accountable".into();
    let egress = Spread::of(&[1.03]).unwrap();
    dear.ratios[0].figures.insert("guard.egress_bytes_per_member".into(), egress);
    let dear = table::render(&dear);
    assert!(dear.contains("at most 1.02 times is wanted: NOT met"), "{dear}");
    assert!(text.ends_with("FAILED:\n  noise, run 2: 2 messages were lost\n"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 132), "{text}");
}

#[test]
fn one_core_does_more_in_batches_than_one_by_one_can_be_measured() {
    let all = alone::measure();
    assert_eq!(all.len(), 4);
    assert!(all.iter().all(|one| one.per_second.min > 0.0), "{all:?}");
}
