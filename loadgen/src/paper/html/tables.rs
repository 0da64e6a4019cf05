//! The tables of the page.

use super::escape;
use crate::paper::Paper;
use crate::paper::experiments::Work;
use crate::paper::headline::{Headline, Row};
use crate::paper::point::{Panel, Series};
use crate::paper::run::minutes;
use crate::units::thousands;
use std::fmt::Write as _;

/// The columns of the table that the page opens with.
const COLUMNS: [&str; 6] = [
    "",
    "messages / s",
    "server CPU / message",
    "server CPU / delivery",
    "time of a round",
    "bytes out / message / server",
];

/// The table that the page opens with.
pub(super) fn headline(body: &mut String, headline: &Headline, channels: &str, congestion: &str) {
    body.push_str("<div class=\"scroll\"><table class=\"opening\"><thead><tr>");
    let units = Units::of(&headline.rows);
    for column in COLUMNS {
        let _ = write!(body, "<th scope=\"col\">{column}</th>");
    }
    body.push_str("</tr></thead><tbody>\n");
    for (index, row) in headline.rows.iter().enumerate() {
        let class = if index == 0 { " class=\"ours\"" } else { "" };
        let _ = write!(body, "<tr{class}><th scope=\"row\">{}</th>", escape(&row.label()));
        if let Some(why) = &row.missing {
            let _ = writeln!(body, "<td class=\"kind\" colspan=\"5\">none: {}</td></tr>", escape(why));
            continue;
        }
        for (cell, ratio) in cells(row, &units) {
            let ratio = ratio.map(|ratio| format!("<span>{ratio}</span>")).unwrap_or_default();
            let _ = write!(body, "<td>{cell}{ratio}</td>");
        }
        body.push_str("</tr>\n");
    }
    let group = thousands(headline.group.into());
    let _ = writeln!(
        body,
        "</tbody></table></div>\n<p class=\"note\">One group of {group} members, messages of 256 bytes, all on the same links \
         in the same run, one after another; medians. A message counts when it has come to all {group} members. CPU is that \
         of all servers&#39; processes for a message, the kernel&#39;s work for them included, and of one server for one share, ciphertext \
         or message delivered to one member. Beneath a figure: how many times as many messages Twincast&#39;s compact profile \
         carries, and how many times as much CPU the other takes. Compare with Nagle&#39;s algorithm off first: with it on, a \
         server&#39;s small writes wait for acknowledgements, so that those rows hang on TCP (congestion control: {}). \
         Twincast: {}; {}. What private channels cost is told by <code>twincast-loadgen price</code>.</p>",
        escape(congestion),
        escape(channels),
        super::OTHERS
    );
    if headline.notes.is_empty() {
        return;
    }
    body.push_str("<details><summary>What the baselines are, and what was measured of them</summary><ul>\n");
    for note in &headline.notes {
        let _ = writeln!(body, "<li>{}</li>", escape(note));
    }
    body.push_str("</ul></details>\n");
}

/// The same as text.
pub(super) fn headline_text(headline: &Headline) -> String {
    let names = ["messages/s", "x", "CPU/message", "x", "CPU/delivery", "x", "round", "bytes"];
    let units = Units::of(&headline.rows);
    let mut text = format!("{:34}", format!("n = {}", thousands(headline.group.into())));
    names.iter().for_each(|name| text += &format!(" {name:>12}"));
    text.push('\n');
    for row in &headline.rows {
        let _ = write!(text, "{:34}", row.label());
        match &row.missing {
            Some(why) => text += &format!(" none: {why}"),
            None => cells(row, &units).into_iter().for_each(|(cell, ratio)| {
                let _ = write!(text, " {cell:>12}");
                if let Some(ratio) = ratio {
                    let _ = write!(text, " {ratio:>12}");
                }
            }),
        }
        text.push('\n');
    }
    text.push_str(
        "(medians; x: how many times as many messages Twincast's compact profile carries, how many times as much server CPU the \
         other takes;\n CPU of a message: of all servers, of a delivery: of one; bytes: out of one server for a message)\n",
    );
    text
}

/// The units of the columns: one for all rows, so that a column can be read down.
struct Units {
    cpu: Unit,
    round: Unit,
}

impl Units {
    fn of(rows: &[Row]) -> Units {
        Units {
            cpu: Unit::of(rows.iter().filter_map(|row| row.cpu_us_per_message).map(|us| us / 1e6)),
            round: Unit::of(rows.iter().filter_map(|row| row.round_s)),
        }
    }
}

/// A unit of time: how many are a second, and its name.
#[derive(Clone, Copy)]
pub(super) struct Unit(f64, &'static str);

impl Unit {
    /// The unit in which the least of some seconds is 1 or more.
    pub(super) fn of(seconds: impl Iterator<Item = f64>) -> Unit {
        match seconds.fold(f64::INFINITY, f64::min) {
            ..1e-3 => Unit(1e6, "us"),
            ..1.0 => Unit(1e3, "ms"),
            _ => Unit(1.0, "s"),
        }
    }

    pub(super) fn words(self, seconds: f64) -> String {
        format!("{} {}", rounded(seconds * self.0), self.1)
    }
}

/// What a row says, each figure with its ratio to Twincast's where one is told.
fn cells(row: &Row, units: &Units) -> [(String, Option<String>); 5] {
    let ratio = |ratio: Option<f64>| Some(ratio.map_or_else(dash, |ratio| format!("{} x", rounded(ratio))));
    let cpu = row.cpu_us_per_message.map_or_else(dash, |us| units.cpu.words(us / 1e6));
    [
        (row.messages_per_s.map_or_else(dash, rounded), ratio(row.messages_ratio)),
        (cpu, ratio(row.cpu_ratio)),
        (row.cpu_us_per_delivery.map_or_else(dash, |us| format!("{us:.3} us")), ratio(row.delivery_ratio)),
        (row.round_s.map_or_else(dash, |seconds| units.round.words(seconds)), None),
        (row.bytes_out.map_or_else(dash, |bytes| format!("{} B", thousands(bytes.round() as u64))), None),
    ]
}

fn dash() -> String {
    "-".into()
}

pub(super) fn rounded(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => thousands(value.round() as u64),
    }
}

/// The data behind a drawing: how each point came about, in words.
pub(super) fn points(body: &mut String, panel: &Panel) {
    let _ = writeln!(
        body,
        "<details><summary>The data ({0}.csv)</summary><div class=\"scroll\"><table><thead><tr><th scope=\"col\">series</th>\
         <th scope=\"col\">{1}</th><th scope=\"col\">{2}</th><th scope=\"col\">least</th><th scope=\"col\">greatest</th>\
         <th scope=\"col\">repeats</th><th scope=\"col\">how</th></tr></thead><tbody>",
        panel.id,
        escape(&panel.x.label()),
        escape(&panel.y.label())
    );
    let seconds = panel.series.iter().flat_map(|series| &series.points).map(|point| point.low);
    let unit = Some(Unit::of(seconds)).filter(|_| panel.y.unit != "B");
    panel.series.iter().for_each(|series| series_rows(body, series, unit));
    body.push_str("</tbody></table></div></details>\n");
}

fn series_rows(body: &mut String, series: &Series, unit: Option<Unit>) {
    let name = escape(&series.name);
    let bytes = |bytes: f64| format!("{} B", thousands(bytes.round() as u64));
    let value = |value: f64| unit.map_or_else(|| bytes(value), |unit| unit.words(value));
    for point in &series.points {
        let _ = writeln!(
            body,
            "<tr><th scope=\"row\">{name}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td \
             class=\"kind\">{}</td></tr>",
            thousands(point.x as u64),
            value(point.y),
            value(point.low),
            value(point.high),
            point.repeats,
            point.kind.words()
        );
    }
    if let Some(why) = &series.missing {
        let _ = writeln!(
            body,
            "<tr><th scope=\"row\">{name}</th><td class=\"kind\" colspan=\"6\">not there: {}</td></tr>",
            escape(why)
        );
    }
}

/// Every run, and how to make it again.
pub(super) fn runs(body: &mut String, paper: &Paper) {
    body.push_str(
        "<section><h2>The runs</h2><details><summary>Every run, in the order in which they were made</summary><div \
         class=\"scroll\"><table><thead><tr><th scope=\"col\">run</th><th scope=\"col\">repeats</th><th scope=\"col\">took</th>\
         <th scope=\"col\">by hand; what limited it</th></tr></thead><tbody>\n",
    );
    for done in &paper.runs {
        let by_hand = match &done.job.work {
            Work::Twincast { words, .. } => format!("<code>local {}</code>", escape(words)),
            Work::Rival { .. } => "a baseline over sockets".into(),
            Work::Mcmix { .. } => "MCMix in one process".into(),
        };
        let limit = done.median_run().map(|result| escape(&result.limited_by));
        let state = match (&done.failure, &done.left_out) {
            (Some(why), _) => format!("<br>failed: {}", escape(why)),
            (None, Some(why)) => format!("<br>left out: {}", escape(why)),
            (None, None) => limit.map(|limit| format!("<br>{limit}")).unwrap_or_default(),
        };
        let _ = writeln!(
            body,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td class=\"kind wide\">{by_hand}{state}</td></tr>",
            escape(&done.job.title()),
            done.outcomes.len(),
            minutes(done.seconds)
        );
    }
    body.push_str("</tbody></table></div></details></section>\n");
}
