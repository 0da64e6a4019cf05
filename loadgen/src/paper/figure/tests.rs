//! Drawings of made-up points.

use super::*;
use crate::paper::point::{Axis, Look};

fn panel(series: Vec<Series>) -> Panel {
    Panel {
        id: "test".into(),
        title: "A test".into(),
        x: Axis::new("Members of the group", ""),
        y: Axis::new("Message latency", "s"),
        series,
        caption: String::new(),
    }
}

fn all_kinds() -> Vec<Series> {
    let points = |factor: f64| {
        [Kind::Measured, Kind::Sampled, Kind::Modelled, Kind::Extrapolated]
            .into_iter()
            .enumerate()
            .map(|(index, kind)| Point {
                low: 0.001 * factor,
                high: 0.004 * factor,
                ..Point::worked_out(10f64.powi(index as i32 + 1), 0.002 * factor, kind)
            })
            .collect::<Vec<_>>()
    };
    vec![
        Series::new("compact <&>", Look::Compact, points(1.0)),
        Series::new("paper-xor", Look::PaperXor, points(10.0)),
        Series::new("nagle", Look::FaithfulNagle, points(20.0)),
        Series::new("no nagle", Look::FaithfulNoNagle, points(30.0)),
        Series::new("mcmix", Look::Mcmix, points(40.0)),
        Series::new("link", Look::Link, points(0.5)),
        Series::new("nothing", Look::LinkPaper, vec![]).missing(Some("because".into())),
    ]
}

/// Every tag is closed in its turn, and every attribute quoted; no entity but XML's own.
pub(in crate::paper) fn is_well_formed(xml: &str) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = xml;
    while let Some(start) = rest.find('<') {
        let end = rest[start..].find('>').map(|end| start + end).ok_or("a tag has no end")?;
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        let name = tag.trim_start_matches('/').split([' ', '/', '\n']).next().unwrap_or_default();
        if !tag.matches('"').count().is_multiple_of(2) || tag.contains('<') {
            return Err(format!("<{tag}> is not quoted well"));
        }
        match (tag.starts_with('/'), tag.ends_with('/')) {
            (true, _) if open.pop() != Some(name) => return Err(format!("</{name}> closes something else")),
            (true, _) | (_, true) => {}
            _ => open.push(name),
        }
    }
    let entities = ["&lt;", "&gt;", "&amp;", "&quot;", "&apos;"];
    let known: usize = entities.iter().map(|entity| xml.matches(entity).count()).sum();
    match (open.is_empty(), known == xml.matches('&').count()) {
        (true, true) => Ok(()),
        (false, _) => Err(format!("{open:?} are never closed")),
        (_, false) => Err("a bare & is there".into()),
    }
}

#[test]
fn drawings_are_well_formed_and_name_every_series() {
    for series in [all_kinds(), vec![], all_kinds().split_off(6)] {
        let panel = panel(series);
        let svg = svg(&panel);
        is_well_formed(&svg).unwrap_or_else(|why| panic!("{why}\n{svg}"));
        for series in &panel.series {
            let label = series.label().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            assert!(svg.contains(&label), "{label}");
        }
        assert!(svg.contains("Message latency") && svg.contains(KEY));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}

#[test]
fn colours_are_variables_within_a_page_and_plain_in_a_file() {
    let file = svg(&panel(all_kinds()));
    assert!(file.contains("\"#0072B2\"") && !file.contains("var("), "few programs know variables");
    let svg = svg_with_variables(&panel(all_kinds()));
    assert!(svg.contains("\"var(--tc-compact, #0072B2)\"") && svg.contains("\"var(--tc-page, #FEFEFD)\""));
    assert!(!svg.contains("\"#"), "a colour of which a page knows nothing");
}

#[test]
fn what_was_not_run_is_dashed_and_what_was_sampled_is_hollow() {
    let one = |kinds: [Kind; 2]| {
        let points =
            kinds.iter().zip([10.0, 100.0]).map(|(kind, x)| Point::worked_out(x, 1.0, *kind)).collect();
        svg(&panel(vec![Series::new("compact", Look::Compact, points)]))
    };
    let lines = |svg: &str| svg.matches("<polyline").count();
    let measured = one([Kind::Measured, Kind::Measured]);
    let extrapolated = one([Kind::Measured, Kind::Extrapolated]);
    let sampled = one([Kind::Measured, Kind::Sampled]);
    assert!(lines(&extrapolated) > lines(&measured) + 5, "dashes are many short lines");
    assert_eq!(lines(&sampled), lines(&measured), "a sampled point is joined by a whole line");
    let hollow = |svg: &str| svg.matches("fill=\"#FEFEFD\" stroke=\"none\"").count();
    assert!(hollow(&sampled) > hollow(&measured));
}

#[test]
fn the_judge_of_form_finds_what_is_broken() {
    for bad in ["<a>", "<a></b>", "<a b=\"1></a>", "<a>&nbsp;</a>", "</a>"] {
        assert!(is_well_formed(bad).is_err(), "{bad}");
    }
}
