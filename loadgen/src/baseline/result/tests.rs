use super::*;
use crate::check::tests::machine;
use twincast_baselines::{Play, RelayReport};

const SETUP: Setup = Setup { members: 20, senders: 20, share_bytes: 336, rounds: 2 };

/// Two hosts and as many servers as the kind has, the second host half as fast.
fn measured(kind: Baseline, setup: Setup) -> Measured {
    let servers = kind.servers();
    let each = setup.deliveries_of_round() * u64::from(setup.rounds) * servers as u64 / 2;
    let host = |seconds: f64| HostPlay {
        play: Play {
            round_seconds: vec![seconds; setup.rounds as usize],
            deliveries: each,
            bytes_in: vec![1_000; servers],
            own_share_us: if servers == 2 { vec![(seconds * 5e5) as u64; 3] } else { Vec::new() },
        },
        cpu_seconds: 0.25,
    };
    let nagle = kind == Baseline::Faithful { nagle: true };
    let figures = |cpu_seconds: f64, writes: u64| ServerFigures {
        cpu_seconds,
        relay: (kind != Baseline::Broker).then_some(RelayReport {
            writes,
            connections: 2,
            nodelay_connections: if nagle { 0 } else { 2 },
            ..RelayReport::default()
        }),
    };
    Measured {
        kind,
        setup,
        checks: vec![machine("this machine", &[("mtu", twincast_node::Verdict::Pass)])],
        dials: vec![0.5, 0.75],
        plays: vec![host(0.1), host(0.2)],
        before: vec![figures(1.0, 10); servers],
        after: vec![figures(1.5, 810); servers],
        trials: None,
    }
}

/// What came of a kind.
pub(in crate::baseline) fn sample(kind: Baseline) -> BaselineResult {
    measured(kind, SETUP).result().unwrap()
}

#[test]
fn rates_are_of_one_server_and_cpu_of_all() {
    let result = measured(Baseline::Faithful { nagle: true }, SETUP).result().unwrap();
    // 400 pairs, two rounds, two servers; the slower host takes 0.4 s.
    assert_eq!(result.deliveries, 1_600);
    assert!((result.deliveries_per_s - 2_000.0).abs() < 1e-6, "{result:?}");
    assert!((result.messages_per_s - 100.0).abs() < 1e-6);
    assert!((result.server_cpu_us_per_delivery - 1.0 / 1_600.0 * 1e6).abs() < 1e-6);
    assert_eq!((result.round_seconds_p50, result.whole_round_seconds), (0.2, 0.2));
    assert_eq!((result.nagle, result.sampled, result.dial_seconds), (Some(true), false, 0.75));
    assert_eq!((result.server_writes, result.server_egress_bytes), (Some(1_600), vec![2_000; 2]));
}

#[test]
fn own_shares_are_those_of_all_senders_and_rounds() {
    let mut faithful = measured(Baseline::Faithful { nagle: false }, SETUP);
    // Hosts of unlike numbers of senders: a median of the hosts' medians would be 0.0225 s.
    faithful.plays[0].play.own_share_us = vec![10_000; 6];
    faithful.plays[1].play.own_share_us = vec![20_000, 50_000];
    assert_eq!(faithful.result().unwrap().own_share_seconds_p50, Some(0.01));
    assert_eq!(measured(Baseline::Pki, SETUP).result().unwrap().own_share_seconds_p50, None);
}

#[test]
fn a_sample_is_marked_and_its_round_scaled() {
    let result = measured(Baseline::Faithful { nagle: false }, Setup { senders: 5, ..SETUP });
    let result = result.result().unwrap();
    assert!(result.sampled && result.note.contains("5 of 20 members sent"), "{}", result.note);
    assert_eq!((result.round_seconds_p50, result.whole_round_seconds), (0.2, 0.8));
    assert_eq!(result.nagle, Some(false));
}

#[test]
fn trials_are_a_sample_unless_they_are_all() {
    let with = |trials: u64| {
        let mut measured = measured(Baseline::Pki, SETUP);
        measured.trials = Some(vec![Trials { trials, opened: 1, users: 0, cpu_seconds: 0.01 }; 2]);
        measured.result().unwrap()
    };
    let (some, all) = (with(100), with(200));
    assert!(some.sampled && !all.sampled);
    assert!((some.trial_us.unwrap() - 100.0).abs() < 1e-6);
    assert!((some.user_trial_seconds.unwrap() - 0.002).abs() < 1e-9);
    assert_eq!((some.trials, some.share_bytes), (200, 304));
}

#[test]
fn figures_that_do_not_fit_are_no_result() {
    let mut missing = measured(Baseline::Broker, SETUP);
    missing.plays[0].play.deliveries -= 1;
    assert!(matches!(missing.result(), Err(RunError::News(_))));
    let mut wrong = measured(Baseline::Faithful { nagle: false }, SETUP);
    wrong.after.iter_mut().for_each(|server| {
        if let Some(relay) = &mut server.relay {
            relay.nodelay_connections = 1;
        }
    });
    assert!(matches!(wrong.result(), Err(RunError::News(_))), "a socket on which Nagle's algorithm is on");
}

#[test]
fn a_result_comes_back_from_json_as_it_was() {
    let result = measured(Baseline::Pki, SETUP).result().unwrap();
    let text = serde_json::to_string(&result).unwrap();
    assert_eq!(serde_json::from_str::<BaselineResult>(&text).unwrap(), result);
    let unknown = text.replacen('{', "{\"unheard\":1,", 1);
    assert!(serde_json::from_str::<BaselineResult>(&unknown).is_err());
}
