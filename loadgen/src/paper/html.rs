//! The report: one HTML page without a script and without anything from a network, readable in light and dark, on paper
//! and on a narrow screen.
//!
//! It opens with the one table and the one plot that matter, and the sentence that says what limited the run.

mod tables;

use super::Paper;
use super::experiments::{Scale, Work};
use super::figure::{self, DARK_COLOURS};
use super::point::Panel;
use super::run::minutes;
use crate::baseline::Baseline;
use crate::report::guard_in_words;
use crate::units::thousands;
use std::fmt::Write as _;

/// How the page looks.
const STYLE: &str = include_str!("html/style.css");

/// What the channels of what Twincast is compared with were, beside its own.
const OTHERS: &str = "what it is compared with has plain channels, too";

/// What no report may leave out.
const CAVEATS: [&str; 6] = [
    "No delay is emulated: links have a rate, and the time that the machine itself takes. Over the internet every round and \
     every dial takes a round trip more, and MCMix one for each of its many rounds.",
    "Servers and hosts share one machine's cores unless the environment says otherwise. Hosts decode and verify every share; \
     a real user decodes only its own, on a device of its own.",
    "Servers and hosts are joined within one machine. What its kernel does for a packet on the way (veth pair, bridge, and the \
     receiver's part of TCP) runs where the packet was sent, and counts as the CPU of who sent it: who sends many small \
     packets, as paper-faithful with Nagle's algorithm off, pays for work that network cards and other machines would do.",
    "The text of the paper was not at hand. What its figures show, and how its time is counted, is our reading of a \
     description; captions are in our words, and no number here is the paper's.",
    "Paper-faithful, the PKI broadcast and MCMix are rebuilt by us from descriptions, and are no one's own program. \
     Paper-faithful and the broker carry 336 bytes a message as Twincast's compact shares have, and their hosts decode \
     nothing.",
    "A broker sees everything: it is what a user might take instead, and keeps nobody anonymous.",
];

/// The page.
#[must_use]
pub fn page(paper: &Paper) -> String {
    let mut body = String::new();
    head(&mut body, paper);
    failures(&mut body, paper);
    for figure in &paper.figures {
        let _ = writeln!(body, "<section id=\"{}\"><h2>{}</h2>", figure.id, escape(&figure.title));
        figure.panels.iter().for_each(|panel| drawing(&mut body, panel));
        body.push_str("</section>\n");
    }
    left_out(&mut body, paper);
    environment(&mut body, paper);
    tables::runs(&mut body, paper);
    caveats(&mut body);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n<style>\n{STYLE}{}</style>\n</head>\n<body>\n\
         <main>\n{body}</main>\n</body>\n</html>\n",
        escape(&title(paper)),
        dark()
    )
}

/// The opening of the page as text.
#[must_use]
pub fn in_words(paper: &Paper) -> String {
    let mut text = format!("\n{}\n", title(paper));
    text += &tables::headline_text(&paper.headline);
    // A sentence a line.
    let _ = writeln!(text, "{}", limits(paper).replace(". ", ".\n"));
    let _ = writeln!(text, "Twincast: {}; {OTHERS}.", channels(paper));
    if paper.failures.is_empty() {
        text.push_str("Nothing failed.\n");
    } else {
        text.push_str("FAILED:\n");
        paper.failures.iter().for_each(|failure| text += &format!("  {failure}\n"));
    }
    text
}

fn title(paper: &Paper) -> String {
    format!("Twincast: the paper's experiments, {} scale, links {}", paper.scale, paper.link.rate)
}

/// Text as HTML has it.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn head(body: &mut String, paper: &Paper) {
    let _ = writeln!(body, "<header><h1>{}</h1></header>", escape(&title(paper)));
    tables::headline(body, &paper.headline, &channels(paper), &congestion(paper));
    let _ = writeln!(body, "<p class=\"limit\">{}</p>", escape(&limits(paper)));
    drawing(body, &paper.headline_plot);
    if paper.scale == Scale::Quick {
        body.push_str(
            "<p class=\"warn\">Groups this small show that everything works, not how fast it is.</p>\n",
        );
    }
}

fn congestion(paper: &Paper) -> String {
    paper.environment.congestion_control.clone().unwrap_or_else(|| "not known".into())
}

/// What Twincast's channels were, and who could be a user.
fn channels(paper: &Paper) -> String {
    let plan = paper.runs.iter().find_map(|done| match &done.job.work {
        Work::Twincast { plan, .. } => Some(plan),
        Work::Rival { .. } | Work::Mcmix { .. } => None,
    });
    plan.map_or_else(|| "not known".into(), |plan| guard_in_words(plan))
}

/// How many times the messages Twincast carried, against the paper's way of sending. Nagle's algorithm off comes first: with
/// it on, rounds wait for acknowledgements.
fn against_the_paper(paper: &Paper) -> Option<String> {
    let ratio = |nagle: bool| {
        let name = Baseline::Faithful { nagle }.to_string();
        paper.headline.rows.iter().find(|row| row.name == name)?.messages_ratio
    };
    let off = ratio(false)?;
    let on =
        ratio(true).map_or_else(String::new, |on| format!(" (and {} times with it on)", tables::rounded(on)));
    Some(format!(
        "It carried {} times the messages of the paper's way of sending with Nagle's algorithm off{on}; TCP's congestion \
         control: {}.",
        tables::rounded(off),
        congestion(paper)
    ))
}

/// What limited the run, in a sentence or two.
fn limits(paper: &Paper) -> String {
    let headline = &paper.headline;
    let group = thousands(headline.group.into());
    let mut text = match &headline.limited_by {
        Some(sentence) => {
            format!("What limited Twincast's run at n = {group}: {}.", sentence.trim_end_matches('.'))
        }
        None => format!("Twincast's run at n = {group} came to no result."),
    };
    if let Some(sentence) = against_the_paper(paper) {
        let _ = write!(text, " {sentence}");
    }
    if let Some(fraction) = headline.link_fraction {
        let _ = write!(
            text,
            " Its emptier server link was filled to {:.1}% of what TCP carries over it while rounds were delivered.",
            fraction * 100.0
        );
    }
    if let Some(ratio) = headline.roof_ratio {
        let _ = write!(
            text,
            " Its servers took {ratio:.2} times the CPU for each byte that plain sends of ready buffers take (the roof)."
        );
    }
    text
}

fn failures(body: &mut String, paper: &Paper) {
    if paper.failures.is_empty() {
        return;
    }
    body.push_str("<section class=\"failed\"><h2>What failed</h2><ul>\n");
    for failure in &paper.failures {
        let _ = writeln!(body, "<li>{}</li>", escape(failure));
    }
    body.push_str("</ul></section>\n");
}

fn drawing(body: &mut String, panel: &Panel) {
    let _ = writeln!(body, "<figure id=\"{}\"><h3>{}</h3>", panel.id, escape(&panel.title));
    body.push_str(&inline(&figure::svg_with_variables(panel), &panel.title));
    let noted = panel.series.iter().filter_map(|series| Some((&series.name, series.note.as_ref()?)));
    let notes: String = noted.map(|(name, note)| format!(" {name}: {note}.")).collect();
    let _ = writeln!(body, "<figcaption>{}{}</figcaption>", escape(&panel.caption), escape(&notes));
    tables::points(body, panel);
    body.push_str("</figure>\n");
}

/// A drawing within the page: of the width that there is, and without the name space, which HTML knows.
fn inline(svg: &str, title: &str) -> String {
    let Some((head, rest)) = svg.split_once('>') else { return String::new() };
    let view = head.split("viewBox=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("0 0 1 1");
    let title = escape(title);
    format!("<div class=\"plot\"><svg viewBox=\"{view}\" role=\"img\" aria-label=\"{title}\">{rest}</div>\n")
}

fn left_out(body: &mut String, paper: &Paper) {
    let late = paper.runs.iter().filter_map(|done| Some((done.job.title(), done.left_out.clone()?)));
    let first = paper.left_out.iter().map(|left| (left.what.clone(), left.why.clone()));
    let all: Vec<(String, String)> = first.chain(late).collect();
    if all.is_empty() {
        return;
    }
    body.push_str("<section><h2>What was left out, and why</h2><ul>\n");
    for (what, why) in all {
        let _ = writeln!(body, "<li>{}: {}.</li>", escape(&what), escape(why.trim_end_matches('.')));
    }
    body.push_str("</ul></section>\n");
}

fn environment(body: &mut String, paper: &Paper) {
    let environment = &paper.environment;
    let rows = [
        ("Command", paper.command.clone()),
        ("When", paper.time.clone()),
        ("Took", format!("{} (expected about {})", minutes(paper.seconds), minutes(paper.estimate_s))),
        ("Processor", format!("{}, {} cores for everything", environment.cpu, environment.cores)),
        ("Kernel", environment.kernel.clone()),
        ("Hosts and links", environment.hosts.clone()),
        ("Congestion control", congestion(paper)),
        ("Channels", format!("{}; {OTHERS}", channels(paper))),
        ("Rate of each link, MTU", format!("{}, {}", paper.link.rate, paper.link.mtu)),
        ("Version", environment.versions.twincast.clone()),
        ("Commit", environment.git_commit.clone()),
    ];
    body.push_str("<section><h2>Where and how</h2><div class=\"scroll\"><table class=\"words\">\n");
    for (name, value) in rows {
        let _ = writeln!(body, "<tr><th scope=\"row\">{name}</th><td>{}</td></tr>", escape(&value));
    }
    body.push_str("</table></div></section>\n");
}

fn caveats(body: &mut String) {
    body.push_str("<section><h2>What to keep in mind</h2><ul>\n");
    for caveat in CAVEATS {
        let _ = writeln!(body, "<li>{}</li>", escape(caveat));
    }
    body.push_str("</ul></section>\n");
}

/// The drawings' colours in the dark.
fn dark() -> String {
    let mut variables = String::new();
    for (name, colour) in DARK_COLOURS {
        let _ = write!(variables, "{name}:{colour};");
    }
    format!("@media screen and (prefers-color-scheme: dark) {{ :root {{ {variables} }} }}\n")
}

#[cfg(test)]
mod tests;
