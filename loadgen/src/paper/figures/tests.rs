//! Figures of made-up runs: everything costs what it does on paper.

use super::*;
use crate::net::Link;
use crate::paper::experiments::{Scale, Work};
use crate::paper::headline::Headline;
use crate::paper::outcome::Outcome;
use crate::paper::point::Kind;
use crate::result::RunResult;
use serde_json::json;
use std::sync::LazyLock;

/// Seconds for each share of a round, by what is played.
const COMPACT_S: f64 = 0.32e-6;
const FAITHFUL_S: f64 = 3e-6;

pub(in crate::paper) fn experiments(scale: Scale, rate: &str) -> Experiments {
    let link = Link { rate: rate.parse().unwrap(), mtu: 1_500 };
    Experiments::of(scale, link, &FigureName::ALL).unwrap()
}

/// Every job of a scale, done.
pub(in crate::paper) fn done(all: &Experiments) -> Vec<Done> {
    let one = |job: &crate::paper::experiments::Job| Done {
        job: job.clone(),
        outcomes: (0..job.repeats).map(|repeat| outcome(&job.work, 1.0 + f64::from(repeat) / 10.0)).collect(),
        seconds: 1.0,
        failure: None,
        left_out: None,
    };
    all.jobs.iter().map(one).collect()
}

fn outcome(work: &Work, slowness: f64) -> Outcome {
    match work {
        Work::Twincast { plan, .. } => {
            // Making one merges histograms, which takes a while.
            static SAMPLE: LazyLock<RunResult> = LazyLock::new(crate::result::tests::sample);
            let mut result = SAMPLE.clone();
            let cells = f64::from(plan.group) * f64::from(plan.group) * f64::from(plan.groups);
            let seconds = cells * COMPACT_S * slowness * if plan.profile.is_paper() { 9.0 } else { 1.0 };
            result.plan = plan.as_ref().clone();
            result.round_seconds.p50 = Some(seconds);
            result.message_latency_us.p50 = Some(seconds * 0.55e6);
            result.delivering_seconds = seconds * f64::from(plan.rounds);
            result.dial.seconds = 0.01 + cells * 0.1e-6;
            for server in &mut result.servers {
                server.cpu_seconds = result.delivering_seconds / 2.0;
                server.egress_bytes = (cells * 340.0) as u64 * u64::from(plan.rounds);
                server.egress_shares = cells as u64 * u64::from(plan.rounds);
            }
            Outcome::Twincast(Box::new(result))
        }
        Work::Rival { rival, setup } => {
            let deliveries = f64::from(setup.members) * f64::from(setup.senders);
            let seconds = deliveries * FAITHFUL_S;
            let whole = seconds * f64::from(setup.members) / f64::from(setup.senders);
            let result = json!({
                "baseline": rival, "name": rival.to_string(), "nagle": null, "servers": 2,
                "members": setup.members, "senders": setup.senders, "share_bytes": setup.share_bytes,
                "rounds": setup.rounds, "sampled": setup.senders < setup.members, "dial_seconds": 0.02,
                "round_seconds_p50": seconds, "round_seconds_min": seconds * 0.9, "round_seconds_max": seconds * 1.2,
                "own_share_seconds_p50": seconds / 2.0, "whole_round_seconds": whole,
                "deliveries": 1, "deliveries_per_s": 1.0 / FAITHFUL_S,
                "messages_per_s": 1.0 / FAITHFUL_S / f64::from(setup.members),
                "server_cpu_seconds": [1.0, 1.0], "server_cpu_us_per_delivery": 2.5,
                "server_cpu_us_per_message": 5.0 * f64::from(setup.members),
                "server_egress_bytes": [1, 1], "server_writes": null, "host_cpu_seconds": [1.0],
                "trial_us": null, "trials": 0, "user_trial_seconds": null, "note": "Made up <here>."
            });
            Outcome::Rival(serde_json::from_value(result).unwrap())
        }
        Work::Mcmix { users, dialling } => {
            let message_bytes = if *dialling { 0 } else { 256 };
            let cost = json!({
                "users": users, "message_bytes": message_bytes, "local_seconds_by_party": [0.1, 0.2, 0.1],
                "rounds": 500, "bytes_by_party": [1_000_000, 1_000_000, 1_000_000],
                "bytes_between": [[0, 1, 1], [1, 0, 1], [1, 1, 0]],
                "client_bytes_in": 1_000, "client_bytes_out": 1_000, "comparisons": 1, "sort_levels": 1
            });
            Outcome::Mcmix(serde_json::from_value(cost).unwrap())
        }
    }
}

fn panel<'a>(figures: &'a [Figure], id: &str) -> &'a Panel {
    figures.iter().flat_map(|figure| &figure.panels).find(|panel| panel.id == id).expect(id)
}

fn series<'a>(panel: &'a Panel, name: &str) -> &'a Series {
    panel.series.iter().find(|series| series.name == name).unwrap_or_else(|| panic!("{name} in {}", panel.id))
}

#[test]
fn every_figure_has_every_series_that_was_promised() {
    let all = experiments(Scale::Small, "10gbit");
    let figures = figures(&all, &done(&all), &FigureName::ALL);
    assert_eq!(figures.len(), 5);
    let four =
        ["Twincast compact", "Twincast paper-xor", "paper-faithful, Nagle on", "paper-faithful, Nagle off"];
    for panel in figures.iter().flat_map(|figure| &figure.panels) {
        let links = panel.series.iter().filter(|series| series.name.starts_with("link allows"));
        assert!(
            links.clone().count() > 0 && links.clone().all(|series| series.points.len() > 1),
            "{}",
            panel.id
        );
        for series in &panel.series {
            assert!(!series.points.is_empty() && series.missing.is_none(), "{}: {}", panel.id, series.name);
        }
        if panel.id != "fig2-amortised" {
            four.iter()
                .for_each(|name| assert!(series(panel, name).points.len() > 3, "{}: {name}", panel.id));
        }
        assert!(panel.caption.len() > 20);
    }
    for id in ["fig4-round", "fig4-per-user", "fig6-bytes"] {
        let kind = if id == "fig6-bytes" { Kind::Counted } else { Kind::Modelled };
        assert!(
            series(panel(&figures, id), "MCMix conversation").points.iter().all(|point| point.kind == kind)
        );
    }
    assert!(!series(panel(&figures, "fig5-round"), "MCMix dialling").points.is_empty());
}

#[test]
fn without_a_rate_there_is_no_line_of_a_link_and_it_is_said_why() {
    let all = experiments(Scale::Quick, "loopback");
    for panel in figures(&all, &done(&all), &FigureName::ALL).iter().flat_map(|figure| &figure.panels) {
        let link = panel.series.iter().find(|series| series.look == Look::Link).unwrap();
        assert!(
            link.points.is_empty() && link.missing.as_ref().unwrap().contains("loopback"),
            "{}",
            panel.id
        );
    }
}

#[test]
fn what_was_not_run_is_extrapolated_from_what_was() {
    let all = experiments(Scale::Small, "10gbit");
    let done: Vec<Done> =
        done(&all).into_iter().filter(|done| !(done.size() == 5_000 && done.twincast().is_some())).collect();
    let headline = headline(&all, &done);
    let compact = series(&headline, "Twincast compact");
    let last = compact.points.last().unwrap();
    assert_eq!((last.x, last.kind, last.repeats), (5_000.0, Kind::Extrapolated, 0));
    // The median of three repeats is a tenth slower than the first.
    let expected = 25e6 * COMPACT_S * 1.1;
    assert!((last.y / expected - 1.0).abs() < 0.01, "{} against {expected}", last.y);
    assert!(compact.points[..5].iter().all(|point| point.kind == Kind::Measured && point.high >= point.y));
    let sampled = &series(&headline, "paper-faithful, Nagle on").points;
    assert!(sampled.iter().all(|point| (point.kind == Kind::Sampled) == (point.x > 1_000.0)));
}

#[test]
fn a_message_to_a_quarter_costs_each_recipient_a_quarter_of_ns_part() {
    let all = experiments(Scale::Small, "10gbit");
    let figures = figures(&all, &done(&all), &[FigureName::Fig2]);
    let at_1000 = |id: &str, name: &str| {
        *series(panel(&figures, id), name).points.iter().find(|point| point.x == 1_000.0).unwrap()
    };
    let plain = at_1000("fig2-latency", "paper-faithful, Nagle on");
    let each = at_1000("fig2-amortised", "paper-faithful, Nagle on");
    assert!((plain.y / each.y - 250.0).abs() < 1e-6);
    assert_eq!((plain.kind, each.kind), (Kind::Measured, Kind::Modelled));
    assert_eq!(at_1000("fig2-amortised", "Twincast compact, to 25%").kind, Kind::Measured);
    let users = at_1000("fig2-per-user", "Twincast compact");
    let round = headline(&all, &done(&all));
    let round = series(&round, "Twincast compact").points.iter().find(|point| point.x == 1_000.0).unwrap().y;
    assert!((round / users.y - 1_000.0).abs() < 1e-6);
}

#[test]
fn a_population_is_measured_sampled_or_extrapolated_and_the_million_only_extrapolated() {
    let all = experiments(Scale::Small, "10gbit");
    let figures = figures(&all, &done(&all), &[FigureName::Fig3]);
    let compact = series(panel(&figures, "fig3-round"), "Twincast compact");
    assert_eq!(compact.points.len(), all.population_groups.len());
    assert_eq!(compact.points[0].kind, Kind::Measured);
    for point in &compact.points {
        let expected = all.population as f64 * point.x * COMPACT_S;
        assert!((point.y / expected - 1.0).abs() < 0.1, "{point:?} against {expected}");
    }
    let million = panel(&figures, "fig3-million");
    let points = million
        .series
        .iter()
        .filter(|series| !series.name.starts_with("link"))
        .flat_map(|series| &series.points);
    assert!(points.clone().count() >= 20 && points.clone().all(|point| point.kind == Kind::Extrapolated));
    let faithful = series(panel(&figures, "fig3-round"), "paper-faithful, Nagle off");
    for point in &faithful.points {
        let kind = if point.x > 5_000.0 { Kind::Extrapolated } else { Kind::Sampled };
        let expected = all.population as f64 * point.x * FAITHFUL_S;
        assert!((point.y / expected - 1.0).abs() < 1e-6 && point.kind == kind, "{point:?}, not {expected}");
    }
}

#[test]
fn an_odd_small_group_moves_no_other_point() {
    let all = experiments(Scale::Small, "10gbit");
    let mut done = done(&all);
    for done in done.iter_mut().filter(|done| done.size() == 100) {
        for outcome in &mut done.outcomes {
            if let Outcome::Rival(result) = outcome {
                result.whole_round_seconds /= 4.0;
            }
        }
    }
    let figures = figures(&all, &done, &[FigureName::Fig2, FigureName::Fig3]);
    let population = series(panel(&figures, "fig3-round"), "paper-faithful, Nagle on");
    let single = series(panel(&figures, "fig2-per-user"), "paper-faithful, Nagle on");
    for point in population.points.iter().filter(|point| point.kind == Kind::Sampled) {
        let one = single.points.iter().find(|one| one.x == point.x).unwrap();
        assert!((point.y / (one.y * all.population as f64) - 1.0).abs() < 1e-6, "{point:?} of {one:?}");
    }
    let expected = all.population as f64 * 10_000.0 * FAITHFUL_S;
    assert!((population.points.last().unwrap().y / expected - 1.0).abs() < 1e-6);
    let beyond = series(panel(&figures, "fig2-per-user"), "Twincast paper-xor");
    assert!(beyond.note.as_ref().is_some_and(|note| note.contains("beyond n = 2,000")), "{:?}", beyond.note);
}

#[test]
fn nothing_that_was_run_lies_below_the_line_of_its_link() {
    let all = experiments(Scale::Small, "10gbit");
    for panel in figures(&all, &done(&all), &FigureName::ALL).iter().flat_map(|figure| &figure.panels) {
        if panel.id == "fig6-bytes" {
            continue; // There the line is of what may be, not of what must.
        }
        let line = |look| panel.series.iter().find(|series| series.look == look);
        let mut compared = 0;
        for series in &panel.series {
            let link = match series.look {
                Look::Compact => line(Look::Link),
                Look::PaperXor => line(Look::LinkPaper),
                Look::CompactOther | Look::FaithfulNagle | Look::FaithfulNoNagle => {
                    line(Look::LinkOther).or_else(|| line(Look::Link))
                }
                Look::Mcmix | Look::Link | Look::LinkPaper | Look::LinkOther => continue,
            };
            for point in &series.points {
                let at = |link: &&Point| link.x == point.x;
                let Some(least) = link.and_then(|link| link.points.iter().find(at)) else { continue };
                assert!(
                    point.y >= 0.98 * least.y,
                    "{}, {}: {point:?} below {least:?}",
                    panel.id,
                    series.name
                );
                compared += 1;
            }
        }
        assert!(compared > 15, "{}: {compared}", panel.id);
    }
}

#[test]
fn a_rivals_bar_is_of_its_rounds() {
    let all = experiments(Scale::Small, "10gbit");
    let panel = headline(&all, &done(&all));
    let point = series(&panel, "paper-faithful, Nagle on").points[3];
    assert!(
        (point.low / point.y - 0.9).abs() < 1e-9 && (point.high / point.y - 1.2).abs() < 1e-9,
        "{point:?}"
    );
}

#[test]
fn the_opening_table_has_ratios_to_twincast() {
    let all = experiments(Scale::Small, "10gbit");
    let headline = Headline::of(&all, &done(&all));
    assert_eq!(headline.rows.len(), 6);
    let (ours, rival) = (&headline.rows[0], &headline.rows[2]);
    assert!((ours.messages_ratio.unwrap() - 1.0).abs() < 1e-9);
    let ratio = ours.messages_per_s.unwrap() / rival.messages_per_s.unwrap();
    assert!((rival.messages_ratio.unwrap() - ratio).abs() < 1e-9 && ratio > 5.0);
    assert!((rival.cpu_us_per_message.unwrap() - 5_000.0).abs() < 1e-6);
    assert!(headline.limited_by.is_some() && headline.notes.len() == 4);
    let plot = super::headline(&all, &done(&all));
    for (row, name) in headline.rows[..2].iter().zip(["Twincast compact", "Twincast paper-xor"]) {
        let point = series(&plot, name).points.iter().find(|point| point.x == 1_000.0).unwrap();
        assert_eq!(row.round_s, Some(point.y), "the table and the plot say the same of {name}");
    }
    let mut told = done(&all);
    for (index, outcome) in told[0].outcomes.iter_mut().enumerate() {
        if let Outcome::Twincast(result) = outcome {
            result.limited_by = format!("run {index}");
        }
    }
    assert_eq!(
        Headline::of(&all, &told).limited_by.as_deref(),
        Some("run 1"),
        "the median run, not the first"
    );
    let nothing = Headline::of(&all, &[]);
    assert!(nothing.rows.iter().all(|row| row.missing.is_some()) && nothing.limited_by.is_none());
}
