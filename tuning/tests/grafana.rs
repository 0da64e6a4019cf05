//! The dashboard, the alerts and engine/docs/TUNING.md against the page of two real servers: what they name is there, and
//! what is there is named.

#[path = "../../engine/server/tests/common/page_format.rs"]
mod page_format;

use page_format::{Labels, Page};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use twincast_protocol::identity::{SigningKey, VerifyingKey};
use twincast_protocol::ids::{GroupId, ServerSide, UserId};
use twincast_server::Server;
use twincast_server::answer::Identities;
use twincast_server::config::Config;

/// What stands in a query beside metrics, labels and numbers.
const WORDS: [&str; 8] = ["sum", "max", "count", "rate", "by", "on", "group_left", "time"];

/// Labels that Prometheus itself gives to every series.
const TARGET_LABELS: [&str; 2] = ["job", "instance"];

fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn dashboard() -> Value {
    serde_json::from_str(&read("tuning/grafana/twincast.json")).expect("the dashboard is JSON")
}

/// Everything on the dashboard but the headings of its rows.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let all = dashboard["panels"].as_array().expect("panels");
    all.iter().filter(|panel| panel["type"] != "row").collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// One of two servers, with a group of each delivery.
fn start(side: ServerSide, link: &str) -> Server {
    let config = format!(
        r#"
        side = {}
        channel = "plain"
        listen = "127.0.0.1:0"
        metrics_listen = "127.0.0.1:0"
        link = {{ {link} }}
        front = {{ cores = "none" }}
        fan_out = {{ cores = "none", slab_bytes = 65536, slabs = 4 }}
        answer = {{ cores = "none" }}
        limits = {{ connections_max = 16 }}
        groups = [{{ id = 1, members = 2, identities = "open" }}, {{ id = 2, members = 2, identities = "open", delivery = "answer", frame_bytes = 272, first_epoch = 0 }}]
        "#,
        side.index() + 1
    );
    let key = |number: u8| SigningKey::from_seed(&[number; 32]).verifying_key();
    let members: HashMap<UserId, VerifyingKey> =
        (0..2).map(|user| (UserId(user), key(10 + user as u8))).collect();
    let groups = [(GroupId(2), members)].into_iter().collect();
    let identities = Identities::new(&[side.index() as u8; 32], key(side.other().index() as u8), groups);
    // What a file of keys would say is given directly.
    let config: Config = toml::from_str(&config).expect("a configuration");
    Server::start_with(config, identities.into()).expect("the configuration is good")
}

fn scrape(address: SocketAddr) -> Page {
    let mut socket = TcpStream::connect(address).expect("the pages are served");
    write!(socket, "GET /metrics HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").expect("a request");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    Page::parse(body).unwrap_or_else(|error| panic!("{error}\n{body}"))
}

/// The page of a server that has everything a page can have.
fn page() -> Page {
    let two = start(ServerSide::Two, r#"listen = "127.0.0.1:0", peer = "127.0.0.1""#);
    let link = two.link_address().expect("it is linked");
    let one = start(ServerSide::One, &format!(r#"connect = "{link}""#));
    let page = scrape(one.metrics_address().expect("it is served"));
    assert_eq!(page.names(), scrape(two.metrics_address().expect("it is served")).names());
    one.stop().expect("no thread panicked");
    two.stop().expect("no thread panicked");
    page
}

/// A query's metrics, and the labels that it matches with what they have to be, and those that it groups by.
#[derive(Debug, Default)]
struct Query {
    metrics: BTreeSet<String>,
    matched: Vec<(String, String, String)>,
    grouped: BTreeSet<String>,
}

/// Reads as much of PromQL as the dashboard needs, and refuses the rest.
fn parse(query: &str) -> Result<Query, String> {
    let mut parsed = Query::default();
    let (mut rest, mut last, mut last_metric) = (query, String::new(), String::new());
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
            let word = &rest[..end];
            if word.starts_with("twincast_") || word.starts_with("process_") {
                parsed.metrics.insert(word.into());
                last_metric = word.into();
            } else if !WORDS.contains(&word) {
                return Err(format!("{word} is no metric and no word that is known"));
            }
            (last, rest) = (word.into(), &rest[end..]);
        } else if first == '{' {
            let end = rest.find('}').ok_or("a brace is not closed")?;
            for matcher in rest[1..end].split(',').map(str::trim) {
                let (label, value) = matcher.split_once('=').ok_or_else(|| format!("no match: {matcher}"))?;
                let value = value.trim_start_matches('~').trim_matches('"');
                parsed.matched.push((last_metric.clone(), label.trim().into(), value.into()));
            }
            rest = &rest[end + 1..];
        } else if first == '(' && ["by", "on", "group_left"].contains(&last.as_str()) {
            let end = rest.find(')').ok_or("a bracket is not closed")?;
            let labels = rest[1..end].split(',').map(str::trim).filter(|label| !label.is_empty());
            parsed.grouped.extend(labels.map(String::from));
            (last, rest) = (String::new(), &rest[end + 1..]);
        } else if first == '[' {
            let end = rest.find(']').ok_or("a range is not closed")?;
            if &rest[..=end] != "[$__rate_interval]" {
                return Err(format!("a range of its own: {}", &rest[..=end]));
            }
            rest = &rest[end + 1..];
        } else if first.is_ascii_digit() {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len());
            rest = &rest[end..];
        } else if " ()+-*/,\n".contains(first) {
            rest = &rest[1..];
        } else {
            return Err(format!("not understood from here: {rest}"));
        }
    }
    Ok(parsed)
}

/// Whether a label can have a value that a pattern asks for: alternatives, each whole or up to `.*`.
fn matches(pattern: &str, value: &str) -> bool {
    pattern.split('|').any(|pattern| match pattern.strip_suffix(".*") {
        Some(prefix) => value.starts_with(prefix),
        None => value == pattern,
    })
}

fn labels_of<'a>(page: &'a Page, metric: &str) -> Vec<&'a Labels> {
    let all = page.0.values().flat_map(|family| &family.samples);
    all.filter(|(name, ..)| name == metric).map(|(_, labels, _)| labels).collect()
}

/// Says what is wrong with a query.
fn check(query: &str, page: &Page) -> Result<(), String> {
    let names = page.names();
    let parsed = parse(query)?;
    if parsed.metrics.is_empty() {
        return Err("it asks for nothing".into());
    }
    for metric in &parsed.metrics {
        let known = names.get(metric).ok_or_else(|| format!("{metric} is not on the page"))?;
        for label in TARGET_LABELS {
            let variable = format!("${label}");
            if !parsed.matched.contains(&(metric.clone(), label.into(), variable)) {
                return Err(format!("{metric} is asked for without {label}=~\"${label}\""));
            }
        }
        let other = |label: &&String| !TARGET_LABELS.contains(&label.as_str());
        if let Some(label) = parsed.grouped.iter().filter(other).find(|label| !known.contains(*label))
            // What it is divided by may have fewer labels.
            && parsed.metrics.iter().all(|metric| !names[metric].contains(label))
        {
            return Err(format!("{metric} has no label {label}"));
        }
    }
    for (metric, label, pattern) in &parsed.matched {
        if TARGET_LABELS.contains(&label.as_str()) {
            continue;
        }
        // Every alternative is somebody.
        for pattern in pattern.split('|') {
            let samples = labels_of(page, metric);
            if !samples.iter().any(|labels| labels.get(label).is_some_and(|value| matches(pattern, value))) {
                return Err(format!("{metric} has nothing with {label}=~\"{pattern}\""));
            }
        }
    }
    Ok(())
}

/// Words of a text that look like metrics.
fn named(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("twincast_") || word.starts_with("process_"))
        .map(String::from)
        .collect()
}

#[test]
fn what_the_dashboard_asks_for_is_on_the_page_and_nothing_on_the_page_is_forgotten() {
    let (page, dashboard) = (page(), dashboard());
    let names = page.names();
    let mut shown = BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = text(&panel["title"]);
        let targets = panel["targets"].as_array().unwrap_or_else(|| panic!("{title} asks for nothing"));
        for query in targets.iter().map(|target| text(&target["expr"])) {
            check(query, &page).unwrap_or_else(|error| panic!("panel \"{title}\": {error}: {query}"));
            shown.extend(parse(query).expect("it was just checked").metrics);
        }
        for word in named(text(&panel["description"])) {
            assert!(names.contains_key(&word), "panel \"{title}\" names {word}");
        }
        for legend in targets.iter().map(|target| text(&target["legendFormat"])) {
            let labels = legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
            let known = names.values().flatten().map(String::as_str).chain(TARGET_LABELS);
            let known: BTreeSet<&str> = known.collect();
            labels.for_each(|label| assert!(known.contains(label), "panel \"{title}\": {label}"));
        }
    }
    let document = named(&read("engine/docs/TUNING.md"));
    for name in &document {
        // A summary may be named whole.
        assert!(
            names.contains_key(name) || page.0.contains_key(name),
            "engine/docs/TUNING.md names {name}, which is not on the page"
        );
    }
    for name in names.keys() {
        let whole = name.trim_end_matches("_sum").trim_end_matches("_count");
        assert!(
            shown.contains(name) || document.contains(name) || document.contains(whole),
            "{name} is on the page, and neither the dashboard nor engine/docs/TUNING.md knows it"
        );
    }
    for name in named(&read("tuning/grafana/alerts.yml")) {
        assert!(names.contains_key(&name), "an alert asks for {name}, which is not on the page");
    }
}

#[test]
fn every_panel_has_its_place_its_unit_and_what_to_do() {
    let dashboard = dashboard();
    assert!(dashboard["schemaVersion"].as_u64().expect("a version") >= 39);
    assert_eq!(text(&dashboard["__inputs"][0]["name"]), "DS_PROMETHEUS");
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    let variables: Vec<&str> = variables.iter().map(|variable| text(&variable["name"])).collect();
    assert_eq!(variables, TARGET_LABELS);
    let (mut ids, mut titles, mut taken) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
    for panel in dashboard["panels"].as_array().expect("panels") {
        let title = text(&panel["title"]);
        assert!(!title.is_empty() && titles.insert(title), "\"{title}\" is no title, or there twice");
        assert!(
            ids.insert(panel["id"].as_u64().expect("a number")),
            "\"{title}\" has another panel's number"
        );
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().expect("a place"));
        assert!(w > 0 && h > 0 && x + w <= 24, "\"{title}\" is not within the grid");
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            if let Some(other) = taken.insert(place, title) {
                panic!("\"{title}\" lies over \"{other}\"");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        let description = text(&panel["description"]);
        assert!(description.len() > 40 && description.ends_with('.'), "\"{title}\" is not described");
        assert!(!text(&panel["fieldConfig"]["defaults"]["unit"]).is_empty(), "\"{title}\" has no unit");
        let targets = panel["targets"].as_array().expect("targets");
        let references: BTreeSet<&str> = targets.iter().map(|target| text(&target["refId"])).collect();
        assert_eq!(references.len(), targets.len(), "\"{title}\" has two targets of one name");
        for of in targets.iter().chain([panel]) {
            assert_eq!(text(&of["datasource"]["uid"]), "${DS_PROMETHEUS}", "\"{title}\"");
        }
    }
    assert!(panels(&dashboard).len() > 20);
}

/// The test itself notices what it is there for.
#[test]
fn queries_that_could_show_nothing_are_found() {
    let page = page();
    let of = r#"{job=~"$job", instance=~"$instance"}"#;
    let good = format!("sum by (instance, core) (rate(twincast_sends_total{of}[$__rate_interval]))");
    check(&good, &page).expect("a good query");
    for (from, to) in [
        ("sends", "sendings"),
        ("core", "kernel"),
        ("$job", "$jobs"),
        ("instance=~", "place=~"),
        (r#"{job=~"$job", "#, "{"),
        ("$__rate_interval", "5m"),
        ("sum by", "summe by"),
        (r#"{job"#, r#"{core="9", job"#),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good);
        check(&bad, &page).expect_err(&bad);
    }
}
