//! A result of fixed inputs, and what must hold of any.

use super::*;
use crate::check::tests::machine;
use crate::control::{Evidence, EvidencePiece, Phase};
use crate::cost::model;
use crate::environment::Versions;
use crate::fault::{Fault, FaultKind};
use crate::latency::{histogram, to_text};
use crate::limits::EVIDENCE_KEPT_MAX;
use crate::net::{Sent, Shape, WireCounts};
use crate::plan::tests::{answer_plan, plan};
use crate::plan::{Peers, Verify};
use serde_json::Value;
use std::collections::BTreeSet;
use twincast_node::Verdict;

/// A good run of 130 members on two hosts, three rounds.
pub(crate) fn measured() -> Measured {
    let plan = Plan {
        group: 130,
        hosts: 2,
        rounds: 3,
        users_per_connection: 65,
        keys: true,
        keys_kappa: 13,
        ..plan()
    };
    let model = model(&plan, 0).unwrap();
    let half =
        |flow: Flow| Flow { up: flow.up.map(|bytes| bytes / 2), down: flow.down.map(|bytes| bytes / 2) };
    let latencies = |unit: u64| {
        let mut histogram = histogram();
        (1..=100).for_each(|step| histogram.record(step * unit * 1_000).unwrap());
        to_text(&histogram)
    };
    let host = |index: u64| PlayReport {
        round_seconds: vec![0.010, 0.020 + index as f64 / 1e3, 0.015],
        seconds: 0.05,
        totals: Totals {
            messages_sent: 195,
            accepted: 195,
            ignored: 25_155,
            shares_verified: 25_350,
            ..Totals::default()
        },
        bytes_in: [8_520_000, 8_520_000],
        bytes_out: [140_000, 140_000],
        message_latency_ns: latencies(100 + index),
        delivery_latency_ns: latencies(110),
        generate_ns: latencies(1),
        round_trip_ns: latencies(20),
        reconstruct_ns: latencies(2),
        broken: Vec::new(),
        evidence: Evidence::default(),
        attach: half(model.attach),
        messages: half(model.round.times(3)),
        headers: Flow::default(),
        other: Flow::default(),
        epochs: vec![EpochReport {
            epoch: 0,
            open: true,
            members: half(model.members),
            grants: half(model.grants),
            dial: Phase { bytes: half(model.dial), seconds: 0.03 },
            confirm: Phase { bytes: half(model.confirm), seconds: 0.2 },
            keys: Phase { bytes: half(model.keys), seconds: 0.1 },
            confirm_cells: 8_450,
            confirm_failed: 0,
            key_pairs: 65,
            keys_failed: 0,
        }],
        cpu_seconds: 0.02,
        peak_rss_bytes: 40 << 20,
        complaints: Vec::new(),
        retransmits: 0,
        missed_slots: 0,
        late_seconds: 0.0,
        interface: crate::control::InterfaceBytes { sent: 300_000, received: 17_600_000 },
    };
    let server = ServerReport {
        egress_bytes: 17_040_000,
        egress_shares: 50_700,
        link_bytes: 2_400,
        cpu_seconds: 0.01,
        peak_rss_bytes: 64 << 20,
        tcp_busy_us: 30_000,
        tcp_rwnd_limited_us: 3_000,
        interface: crate::control::InterfaceBytes { sent: 17_500_000, received: 700_000 },
        ..ServerReport::default()
    };
    let dial = |seconds| DialReport {
        seconds,
        bytes_in: 1_100_000,
        bytes_out: 560_000,
        confirm_cells: 8_450,
        confirm_failed: 0,
        late_seconds: 0.0,
    };
    let wire = Sent { wire_bytes: 18_100_000, packets: 12_000 };
    Measured {
        plan,
        medium: Medium::Namespaces(Some(Shape::of(10_000_000_000, 1_500))),
        environment: Environment {
            kernel: "Linux 6.18.0".into(),
            cpu: "Some CPU".into(),
            cores: 2,
            mtu: 1_500,
            hosts: "processes in network namespaces".into(),
            congestion_control: Some("cubic".into()),
            versions: Versions { twincast: "0.1.0".into(), wire: 2 },
            git_commit: "unknown".into(),
        },
        checks: vec![
            machine(
                "server 1",
                &[("mtu", Verdict::Pass), ("governor", Verdict::Fail), ("qdisc", Verdict::Warn)],
            ),
            MachineCheck::of("host 1 at 10.0.0.2:7400".into(), Err("said nothing in time".into())),
        ],
        dial: vec![dial(0.2), dial(0.3)],
        play: Play {
            hosts: vec![host(0), host(1)],
            servers: [server.clone(), server],
            wall_seconds: 0.06,
            machine_busy: Some(0.95),
            interface_bytes: Some(35_000_000),
            wire: Some(WireCounts { servers: [wire; 2], dropped: 0 }),
        },
        warmup_bytes_in: 11_357_696,
        faults_done: 0,
        clocks: vec![ClockResult {
            name: "host 1 at 10.0.0.2:7400".into(),
            offset_us: -1_250.5,
            round_trip_us: 180.25,
        }],
        roof: Some(Roof {
            plain_send_bits_per_s: Some(9.5e9),
            server_cpu_ratio: Some(1.25),
            server_cpu_ratio_min: Some(1.1),
            server_cpu_ratio_max: Some(1.4),
            server_cpu_seconds_per_gb: Some(0.25),
            plain_send_cpu_seconds_per_gb: Some(0.2),
            server_bits_per_s: Some(7.25e9),
            connections: 2,
            repeats: 3,
        }),
        bad_to_stop: Vec::new(),
    }
}

/// [`measured`], put together.
pub(crate) fn sample() -> RunResult {
    RunResult::of(measured()).unwrap()
}

/// The same run with two messages lost.
pub(crate) fn broken() -> RunResult {
    let mut measured = measured();
    let totals = &mut measured.play.hosts[0].totals;
    totals.accepted -= 2;
    totals.lost += 2;
    RunResult::of(measured).unwrap()
}

/// The same run in answer delivery: two queries each, as many bytes as the model says.
pub(crate) fn answered() -> RunResult {
    let mut measured = measured();
    let plan = Plan {
        delivery: crate::plan::Delivery::Answer,
        slots: 2,
        keys: false,
        keys_kappa: 0,
        ..answer_plan()
    };
    let Plan { group, hosts, rounds, users_per_connection, .. } = measured.plan;
    measured.plan = Plan { group, hosts, rounds, users_per_connection, ..plan };
    (measured.warmup_bytes_in, measured.roof) = (100_000, None);
    let model = model(&measured.plan, 0).unwrap();
    let half =
        |flow: Flow| Flow { up: flow.up.map(|bytes| bytes / 2), down: flow.down.map(|bytes| bytes / 2) };
    for host in &mut measured.play.hosts {
        host.totals = Totals { messages_sent: 390, accepted: 390, shares_verified: 390, ..Totals::default() };
        host.messages = half(model.round.times(3));
        host.bytes_in = host.messages.down;
        let epoch = &mut host.epochs[0];
        (epoch.members, epoch.dial.bytes) = (half(model.members), half(model.dial));
        (epoch.grants, epoch.confirm, epoch.keys) = Default::default();
        (epoch.confirm_cells, epoch.key_pairs) = (0, 0);
    }
    RunResult::of(measured).unwrap()
}

#[test]
fn a_good_run_of_answers_adds_up_and_tells_what_they_took() {
    let result = answered();
    assert_eq!(result.failures, Vec::<String>::new());
    assert!(result.bytes.iter().all(Bytes::is_exact), "{:?}", result.bytes);
    let answer = result.answer.unwrap();
    assert_eq!((answer.queries, answer.payload_bytes), (2, 2 * 3 * 130 * 2 * 352));
    let frames = 1.0 + 2.0 * 72.0 / (130.0 * 2.0 * 352.0);
    assert!((answer.frames_ratio.unwrap() - frames).abs() < 1e-6, "{answer:?}");
    assert_eq!(answer.clients_ratio, answer.frames_ratio);
    let all = 2.0 * 1_100_000.0 + 100_000.0 + answer.clients_ratio.unwrap() * answer.payload_bytes as f64;
    let run = all / (4.0 / 3.0 * answer.payload_bytes as f64);
    assert!((answer.run_ratio.unwrap() - run).abs() < 1e-6, "{answer:?}");
    let link = 4_800.0 / answer.payload_bytes as f64;
    assert!((answer.link_ratio.unwrap() - link).abs() < 1e-6, "{answer:?}");
    assert_eq!(result.cost.message_bytes_in, Some(2.0 * (8.0 + 16.0 + 352.0)));
    assert_eq!((result.format.share_bytes, result.format.row_bytes), (352, [352; 2]));
    let report = crate::report::render(&result);
    for part in [
        "2 queries",
        "answer delivery, records of 352",
        "every answer verified",
        "Answers are",
        "verify, an answer (wall)",
        "epoch 0: queries",
        "a record (or cover)",
        "Reads ",
        "\nin all, with the warm-up, the lists of members and all dialling, 3.",
        "No roof: ",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
    assert!(!report.contains("hares") && !report.contains("session keys"), "{report}");
    assert_eq!(sample().answer, None);
}

/// The cost model has nobody come or go; what answers took is told all the same.
#[test]
fn a_run_with_churn_tells_what_its_answers_took() {
    let mut result = answered();
    result.plan.churn = 1;
    result.bytes.clear();
    let report = crate::report::render(&result);
    assert!(report.contains("\nAnswers are ") && report.contains("\nLink between the servers"), "{report}");
    assert!(!report.contains("Bytes, both servers"), "{report}");
}

#[test]
fn a_result_from_before_there_were_answers_is_read() {
    let mut old = serde_json::to_value(sample()).unwrap();
    old.as_object_mut().unwrap().remove("answer");
    for key in ["delivery", "answer_threads"] {
        old["plan"].as_object_mut().unwrap().remove(key);
    }
    assert_eq!(serde_json::from_value::<RunResult>(old).unwrap(), sample());
}

#[test]
fn a_good_run_has_no_failures_and_adds_up() {
    let result = sample();
    assert_eq!(result.failures, Vec::<String>::new());
    assert_eq!((result.totals.messages_sent, result.totals.accepted), (390, 390));
    assert_eq!((result.dial.seconds, result.dial.confirm_cells), (0.3, 16_900));
    assert_eq!((result.round_seconds.p50, result.round_seconds.max), (Some(0.015), Some(0.021)));
    assert!((result.delivering_seconds - 0.046).abs() < 1e-9);
    let server = &result.servers[0];
    assert!((server.bits_per_s - 17_040_000.0 * 8.0 / 0.046).abs() < 1.0);
    assert!((server.bits_per_s_wall - 17_040_000.0 * 8.0 / 0.06).abs() < 1.0);
    assert!(result.limited_by.starts_with("machine bound"), "{}", result.limited_by);
}

/// The same run with a cell flipped that is a message; its counts as they must be, but for `change`.
fn faulty(change: impl Fn(&mut Totals)) -> RunResult {
    let mut measured = measured();
    let fault = Fault { kind: FaultKind::Flip, round: 2, hold_ms: 0 };
    measured.plan.peers = Peers::Own;
    measured.plan.warmup = 0;
    measured.plan.fault = Some(fault);
    measured.faults_done = 1;
    let expected = crate::fault::expected::expected(&measured.plan, &fault);
    measured.play.hosts[0].totals = Totals::default();
    measured.play.hosts[1].totals = expected;
    change(&mut measured.play.hosts[1].totals);
    RunResult::of(measured).unwrap()
}

#[test]
fn a_fault_passes_if_it_causes_exactly_what_it_must() {
    let result = faulty(|_| ());
    assert_eq!((result.failures.as_slice(), result.totals.tampered), (&[][..], 1));
    assert!(result.fault.unwrap().as_expected);
    for (change, said) in [
        (
            (|totals| totals.tampered = 0) as fn(&mut Totals),
            "tampered: 0 counted, and the fault must cause 1",
        ),
        (|totals| totals.lost += 1, "lost: 1 counted, and the fault must cause 0"),
        (|totals| totals.misdelivered += 1, "misdelivered: 1 counted"),
    ] {
        let result = faulty(change);
        assert!(result.failures.iter().any(|failure| failure.starts_with(said)), "{:?}", result.failures);
        assert!(!result.fault.unwrap().as_expected);
    }
}

#[test]
fn a_fault_that_was_not_done_fails_the_run() {
    let mut measured = measured();
    measured.plan.fault = Some(Fault { kind: FaultKind::Drop, round: 2, hold_ms: 0 });
    let failures = RunResult::of(measured).unwrap().failures;
    assert!(failures[0].starts_with("the fault was not done: round 2"), "{failures:?}");
}

#[test]
fn costs_are_told_for_a_message_and_for_a_delivery() {
    let result = sample();
    assert!(result.bytes.iter().all(Bytes::is_exact), "{:?}", result.bytes);
    assert_eq!(result.bytes.len(), 9);
    // One recipient each, so that both are the same.
    assert_eq!(result.cost.message_bytes_in, result.cost.delivered_bytes_in);
    assert_eq!(result.cost.message_bytes_in, Some(2.0 * (8.0 + 16.0 + 2.0 * 336.0)));
    assert_eq!(result.format.cell_bytes, [336, 336]);
    let epoch = result.epochs[0];
    assert_eq!((epoch.confirm_cells, epoch.key_pairs, epoch.dial.seconds), (16_900, 130, 0.03));
    let mut off = measured();
    off.play.hosts[0].messages.up[1] += 1;
    let off = RunResult::of(off).unwrap();
    assert!(off.bytes.iter().any(|row| row.part == "rounds" && !row.is_exact()));
    let said =
        "bytes of rounds: 542,881 in and 34,073,088 out were measured, and the cost model has 542,880 in";
    assert!(off.failures.iter().any(|failure| failure.starts_with(said)), "{:?}", off.failures);
    let mut dialled = measured();
    dialled.play.hosts[1].epochs[0].dial.bytes.down[0] += 8;
    let dialled = RunResult::of(dialled).unwrap();
    assert!(
        dialled.failures.iter().any(|failure| failure.starts_with("bytes of dial: ")),
        "{:?}",
        dialled.failures
    );
    // Who is quicker decides how much of these comes.
    let mut granted = measured();
    granted.play.hosts[1].epochs[0].grants.down[0] += 32;
    assert_eq!(RunResult::of(granted).unwrap().failures, Vec::<String>::new());
}

#[test]
fn an_open_loop_tells_its_rate_and_the_slots_of_the_slowest_host() {
    let mut measured = measured();
    measured.plan.rate = Some(100.0);
    measured.play.hosts[1].missed_slots = 2;
    measured.play.hosts[0].missed_slots = 1;
    measured.play.hosts[0].late_seconds = 0.2;
    let result = RunResult::of(measured).unwrap();
    let load = result.load;
    // Three rounds in 50 ms, as the hosts say; the schedule has 30 ms for them.
    assert_eq!((load.rate, load.achieved_rate, load.missed_slots), (Some(100.0), Some(60.0), 2));
    assert_eq!((result.hosts[0].missed_slots, result.hosts[1].missed_slots), (1, 2));
    assert_eq!(result.failures, Vec::<String>::new(), "a round that is late is no round that is lost");
    let report = crate::report::render(&result);
    assert!(report.contains("(open loop at 100 rounds/s: 2 slots missed, 60.000 rounds/s;"), "{report}");
    assert!(report.contains("(a host was ready 200.0 ms after the instant"), "{report}");
    // Rounds that end before their slot does make nobody faster than the schedule.
    let slow = |rate| {
        let mut measured = super::tests::measured();
        measured.plan.rate = Some(rate);
        RunResult::of(measured).unwrap().load.achieved_rate
    };
    assert_eq!(slow(2.0), Some(2.0));
}

#[test]
fn overlapping_rounds_do_not_count_their_time_twice() {
    let overlapping =
        PlayReport { round_seconds: vec![0.4, 0.4, 0.4], seconds: 0.7, ..PlayReport::default() };
    assert!((delivering_seconds(&[overlapping]) - 0.7).abs() < 1e-9);
}

#[test]
fn whatever_is_wrong_with_a_run_is_said() {
    type Spoil = fn(&mut Measured);
    let table: [(&str, Spoil); 20] = [
        ("2 messages were lost", |of| of.play.hosts[1].totals.lost = 2),
        ("1 messages were misdelivered", |of| of.play.hosts[1].totals.misdelivered = 1),
        ("1 messages were altered", |of| of.play.hosts[1].totals.altered = 1),
        ("1 messages were accepted that nobody sent", |of| of.play.hosts[0].totals.extra = 1),
        ("3 cells were tampered with", |of| of.play.hosts[0].totals.tampered = 3),
        ("4 cells came from one server only", |of| of.play.hosts[0].totals.incomplete = 4),
        ("5 cells had no sender", |of| of.play.hosts[0].totals.absent = 5),
        ("1 rounds were left out", |of| of.play.hosts[0].totals.rounds_skipped = 1),
        ("6 bit confirmations were missing", |of| of.dial[0].confirm_failed = 6),
        ("7 connections were closed", |of| of.play.servers[1].slow_readers_closed = 7),
        ("389 messages were accepted and 390 sent", |of| of.play.hosts[0].totals.accepted = 194),
        ("50,699 cells arrived and 50,700 were planned", |of| of.play.hosts[0].totals.shares_verified -= 1),
        ("10 cells were not verified", |of| of.play.hosts[0].totals.shares_counted = 10),
        ("host 1 closed 2 rounds of 3", |of| of.play.hosts[1].round_seconds.truncate(2)),
        ("0 epochs were opened of the 1", |of| of.play.hosts[1].epochs[0].open = false),
        ("0 epochs were opened of the 1", |of| of.play.hosts[1].epochs.clear()),
        ("epoch 0: 3 keys were missing", |of| of.play.hosts[0].epochs[0].keys_failed = 3),
        ("epoch 0: nobody got a key", |of| {
            of.play.hosts.iter_mut().for_each(|host| host.epochs[0].key_pairs = 0);
        }),
        ("server 1 did not stop", |of| of.bad_to_stop.push("server 1".into())),
        ("host 0: a complaint", |of| of.play.hosts[0].complaints.push("a complaint".into())),
    ];
    for (said, spoil) in table {
        let mut measured = measured();
        spoil(&mut measured);
        let failures = RunResult::of(measured).unwrap().failures;
        assert!(failures.iter().any(|failure| failure.starts_with(said)), "{said}: {failures:?}");
    }
}

#[test]
fn a_run_that_only_counts_needs_no_accepted_messages() {
    let mut measured = measured();
    measured.plan.verify = Verify::Count;
    for host in &mut measured.play.hosts {
        host.totals = Totals { messages_sent: 195, shares_counted: 25_350, ..Totals::default() };
    }
    assert_eq!(RunResult::of(measured).unwrap().failures, Vec::<String>::new());
}

#[test]
fn json_and_its_documentation_name_the_same_fields() {
    let mut told = BTreeSet::new();
    collect("", &serde_json::to_value(faulty(|_| ())).unwrap(), &mut told);
    assert!(told.remove("answer"), "null in broadcast");
    collect("answer", &serde_json::to_value(answered().answer).unwrap(), &mut told);
    assert!(told.remove("guard.broken") && told.remove("guard.verdicts"), "empty in this run");
    let verdict = EvidenceVerdict { against: None, verdict: String::new() };
    let guard =
        GuardResult { broken: vec![String::new()], verdicts: vec![verdict], ..GuardResult::default() };
    collect("guard", &serde_json::to_value(guard).unwrap(), &mut told);
    let text = include_str!("../../RESULT.md");
    let documented: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(field, _)| field.to_owned()))
        .collect();
    assert_eq!(told.difference(&documented).collect::<Vec<_>>(), Vec::<&String>::new(), "not in RESULT.md");
    assert_eq!(documented.difference(&told).collect::<Vec<_>>(), Vec::<&String>::new(), "only in RESULT.md");
}

/// The paths of all leaves; the elements of a list share one.
fn collect(path: &str, value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            let dot = if path.is_empty() { "" } else { "." };
            fields.iter().for_each(|(name, value)| collect(&format!("{path}{dot}{name}"), value, into));
        }
        Value::Array(elements) if !elements.is_empty() => {
            elements.iter().for_each(|element| collect(&format!("{path}[]"), element, into));
        }
        _ => drop(into.insert(path.to_owned())),
    }
}

/// Evidence against a server, or against nobody.
fn piece(against: Option<u8>) -> EvidencePiece {
    let verdict = match against {
        Some(_) => "server S1 is at fault: it signed two receipts",
        None => "nobody can be blamed: it decodes",
    };
    EvidencePiece { verdict: verdict.into(), against, file: "{}".into() }
}

/// A host's evidence.
fn evidence(pieces: impl IntoIterator<Item = Option<u8>>) -> Evidence {
    let mut all = Evidence::default();
    pieces.into_iter().for_each(|against| all.push(piece(against)));
    all
}

#[test]
fn evidence_against_somebody_fails_a_run_and_against_nobody_is_told() {
    let with = |evidence: Evidence| {
        let mut measured = measured();
        measured.play.hosts[1].evidence = evidence;
        RunResult::of(measured).unwrap()
    };
    let nobody = with(evidence([None]));
    assert_eq!((nobody.failures.len(), nobody.guard.evidence), (0, 1));
    let report = crate::report::render(&nobody);
    assert!(report.contains("Evidence, in pieces: 1 against nobody.\n  nobody can be blamed"), "{report}");
    let server = with(evidence([Some(1), None, Some(1)]));
    assert_eq!(server.failures, ["there is evidence: server S1 is at fault: it signed two receipts"]);
    // A host's news may say that there is more than it keeps.
    let counted = with(Evidence { pieces: 7, against: [0, 2, 5], kept: Vec::new() });
    assert_eq!(
        counted.failures,
        [
            "there is evidence: 2 more pieces against S2 that are not kept",
            "there is evidence: 5 more pieces against users that are not kept"
        ]
    );
}

#[test]
fn evidence_that_blames_nobody_hides_none_that_convicts() {
    let many = 5 * EVIDENCE_KEPT_MAX;
    for convicting in [0, 1] {
        let mut measured = measured();
        for (host, report) in measured.play.hosts.iter_mut().enumerate() {
            // The one that convicts comes last, on either host.
            let last = (host == convicting).then_some(Some(1));
            report.evidence = evidence(std::iter::repeat_n(None, many).chain(last));
        }
        let result = RunResult::of(measured).unwrap();
        assert_eq!(result.failures, ["there is evidence: server S1 is at fault: it signed two receipts"]);
        let guard = &result.guard;
        assert_eq!((guard.evidence, guard.evidence_against), (2 * many as u64 + 1, [1, 0, 0]));
        assert_eq!(guard.verdicts.len(), EVIDENCE_KEPT_MAX);
        let report = crate::report::render(&result);
        let not_kept = 2 * many + 1 - EVIDENCE_KEPT_MAX;
        for words in [
            format!("Evidence, in pieces: 1 against S1, {} against nobody", 2 * many),
            format!("; {not_kept} of them are judged and counted, and not kept."),
        ] {
            assert!(report.contains(&words), "{words}: {report}");
        }
    }
}

#[test]
fn a_fault_must_show_what_it_has_to_and_blame_nobody_else() {
    let shown = |kind: FaultKind, accountable: bool, broken: &[&str], pieces: &[Option<u8>]| {
        let mut measured = measured();
        let fault = Fault { kind, round: 2, hold_ms: 0 };
        (measured.plan.fault, measured.plan.accountable) = (Some(fault), accountable);
        measured.faults_done = 1;
        let expected = crate::fault::expected::expected(&measured.plan, &fault);
        measured.play.hosts[0].totals = expected;
        measured.play.hosts[1].totals = Totals::default();
        measured.play.hosts[0].broken = broken.iter().map(|said| (*said).to_owned()).collect();
        measured.play.hosts[0].evidence = evidence(pieces.iter().copied());
        RunResult::of(measured).unwrap().failures
    };
    let said = "the private channel with S1 is broken: a record does not open: it was changed";
    assert_eq!(shown(FaultKind::NetFlip, false, &[said], &[]), Vec::<String>::new());
    assert!(shown(FaultKind::NetFlip, false, &[], &[])[0].ends_with("and nobody did"));
    assert!(shown(FaultKind::NetFlip, false, &[said, said], &[])[0].contains("one client must say"));
    assert!(shown(FaultKind::NetFlip, false, &["S1 closed"], &[])[0].ends_with("said: S1 closed"));
    assert!(shown(FaultKind::Flip, false, &["S1 closed"], &[])[0].contains("none should"));
    assert_eq!(shown(FaultKind::SwapHalf, true, &[], &[Some(1), None]), Vec::<String>::new());
    assert!(shown(FaultKind::SwapHalf, true, &[], &[None])[0].contains("against S1 must come"));
    for innocent in [0, 2] {
        let failures = shown(FaultKind::SwapHalf, true, &[], &[Some(1), Some(innocent)]);
        assert!(failures[0].starts_with("evidence against who did nothing"), "{failures:?}");
    }
}

#[test]
fn a_result_from_before_machines_were_checked_is_read_and_claims_nothing() {
    let mut old = serde_json::to_value(sample()).unwrap();
    assert!(old.as_object_mut().unwrap().remove("checks").is_some());
    for server in old["link"]["servers"].as_array_mut().unwrap() {
        for name in ["line_rate", "emulated_line_rate"] {
            assert!(server.as_object_mut().unwrap().remove(name).is_some());
        }
    }
    for name in ["server", "channel", "identities", "accountable", "header_rounds"] {
        assert!(old["plan"].as_object_mut().unwrap().remove(name).is_some());
    }
    assert!(old.as_object_mut().unwrap().remove("guard").is_some());
    let old: RunResult = serde_json::from_value(old).unwrap();
    assert_eq!((old.link.servers[0].line_rate, old.link.servers[0].emulated_line_rate), (None, None));
    assert_eq!(old.why_not_line_rate(0).as_deref(), Some("no machine was checked"));
    assert!(!crate::report::render(&old).contains("Machine checks"));
}

#[test]
fn a_result_is_read_back_as_it_was_written() {
    let text = serde_json::to_string(&sample()).unwrap();
    assert_eq!(serde_json::from_str::<RunResult>(&text).unwrap(), sample());
}
