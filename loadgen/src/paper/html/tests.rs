//! The page of made-up runs.

use super::*;
use crate::paper::experiments::Scale;
use crate::paper::figures::tests::{done, experiments};
use crate::paper::headline::Headline;
use crate::paper::{FigureName, SCHEMA, figures};

fn paper() -> Paper {
    let all = experiments(Scale::Small, "1gbit");
    let mut runs = done(&all);
    runs[3].failure = Some("host 0 <said> nothing".into());
    Paper {
        schema: SCHEMA.into(),
        time: "2026-01-01 00:00:00 UTC".into(),
        command: "cargo run --release -- paper --scale small".into(),
        scale: all.scale,
        link: all.link,
        environment: crate::result::tests::sample().environment,
        headline: Headline::of(&all, &runs),
        headline_plot: figures::headline(&all, &runs),
        figures: figures::figures(&all, &runs, &FigureName::ALL),
        runs,
        left_out: all.left_out.clone(),
        failures: vec!["this & that failed".into()],
        estimate_s: 100.0,
        seconds: 120.0,
    }
}

#[test]
fn the_page_opens_with_the_table_the_sentence_and_the_plot() {
    let page = page(&paper());
    let body = page.split_once("</header>").unwrap().1;
    assert!(
        body.trim_start().starts_with("<div class=\"scroll\"><table class=\"opening\">"),
        "{}",
        &body[..80]
    );
    let place = |what: &str| body.find(what).unwrap_or_else(|| panic!("{what} is there"));
    let order = [
        "<table class=\"opening\">",
        "What limited Twincast",
        "<svg",
        "this &amp; that failed",
        "Figure 2",
        "Where and how",
    ];
    let places: Vec<usize> = order.iter().map(|what| place(what)).collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let page = page(&paper());
    for foreign in ["http://", "https://", "<script", "src=", "@import", "url(", "<link"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    let body = &page[page.find("<main>").unwrap()..page.find("</body>").unwrap()];
    let xml = body.replace("<br>", "<br/>").replace("&#39;", "'");
    crate::paper::figure::tests::is_well_formed(&xml).unwrap();
}

#[test]
fn the_page_says_of_every_point_how_it_came_about() {
    let paper = paper();
    let page = page(&paper);
    for words in ["measured", "sampled", "counted", "modelled", "extrapolated"] {
        assert!(page.contains(&format!("<td class=\"kind\">{words}</td>")), "{words}");
    }
    for panel in paper.figures.iter().flat_map(|figure| &figure.panels) {
        for series in &panel.series {
            assert!(page.contains(&escape(&series.label())), "{}: {}", panel.id, series.label());
        }
    }
    for caveat in ["No delay is emulated", "text of the paper", "share one machine", "veth pair, bridge"] {
        assert!(page.contains(caveat), "{caveat}");
    }
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("@media print"));
}

#[test]
fn page_and_terminal_say_what_the_channels_are() {
    let mut paper = paper();
    let said = "plain channels; users are whoever comes; what it is compared with has plain channels, too";
    assert_eq!(page(&paper).matches(said).count(), 2, "beneath the opening table, and where and how");
    assert!(in_words(&paper).contains(said));
    // What is told follows from what was played.
    for done in &mut paper.runs {
        if let Work::Twincast { plan, .. } = &mut done.job.work {
            plan.channel = crate::plan::ChannelName::Noise;
        }
    }
    assert!(page(&paper).contains("private channels; users are whoever comes"));
}

#[test]
fn a_column_has_one_unit_and_nagle_off_is_told_first() {
    let mut paper = paper();
    paper.environment.congestion_control = Some("cubic".into());
    paper.headline.rows[0].cpu_us_per_message = Some(74.716);
    paper.headline.rows[1].cpu_us_per_message = Some(11_030.99);
    let text = in_words(&paper);
    assert!(text.contains(" 74.7 us") && text.contains(" 11,031 us"), "{text}");
    let places = ["Nagle's algorithm off (and", "with it on); TCP's congestion control: cubic"];
    let places = places.map(|words| text.find(words).unwrap_or_else(|| panic!("{words} in {text}")));
    assert!(places.is_sorted());
    assert!(page(&paper).contains("(congestion control: cubic)"));
}

#[test]
fn the_terminal_gets_the_same_table() {
    let text = in_words(&paper());
    assert!(
        text.contains("Twincast, compact") && text.contains("broker") | text.contains("nats-server"),
        "{text}"
    );
    assert!(text.contains("FAILED:\n  this & that failed"), "{text}");
    assert!(text.contains("(medians; x: how many times as many messages"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() < 400));
}

#[test]
fn everything_travels_as_json() {
    let paper = paper();
    let text = serde_json::to_string(&paper).unwrap();
    let again: Paper = serde_json::from_str(&text).unwrap();
    // Numbers come back within their last digit, so only what is no fraction is compared.
    let counts = |paper: &Paper| [paper.headline.rows.len(), paper.figures.len(), paper.runs.len()];
    assert_eq!(counts(&again), counts(&paper));
    assert_eq!((again.schema, again.failures), (paper.schema, paper.failures));
}
