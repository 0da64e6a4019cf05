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
const COMPACT_S: f64 = 0.25e-6;
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
            result.message_latency_us.p50 = Some(seconds * 0.9e6);
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
                "round_seconds_p50": seconds, "round_seconds_max": seconds, "whole_round_seconds": whole,
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
        let kind = if id == "fig6-bytes" { Kind::Measured } else { Kind::Modelled };
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
    let expected = 25e6 * COMPACT_S;
    assert!((last.y / expected - 1.0).abs() < 0.1, "{} against {expected}", last.y);
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
    assert!(faithful.points.iter().all(|point| point.kind == Kind::Extrapolated));
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
    let nothing = Headline::of(&all, &[]);
    assert!(nothing.rows.iter().all(|row| row.missing.is_some()) && nothing.limited_by.is_none());
}
