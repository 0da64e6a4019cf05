//! A strict reader of Prometheus's text format: stricter than Prometheus itself, which forgives much of what it is to
//! find here.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};

/// Labels in their order, by name.
pub(crate) type Labels = BTreeMap<String, String>;

/// All samples of one metric.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) help: String,
    /// Name, labels, value: of a summary its sum and its count.
    pub(crate) samples: Vec<(String, Labels, f64)>,
}

/// A whole page, by the metrics' names.
#[derive(Debug)]
pub(crate) struct Page(pub(crate) BTreeMap<String, Family>);

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    /// The line, and what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Page, String> {
        let mut page = Page(BTreeMap::new());
        if !text.ends_with('\n') {
            return Err("the last line does not end".into());
        }
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let (name, help) =
                line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')).ok_or_else(|| {
                    format!("not the head of a metric, or a sample after another metric's: {line}")
                })?;
            let head = lines.next().unwrap_or_default();
            let kind = head
                .strip_prefix("# TYPE ")
                .and_then(|rest| rest.strip_prefix(name)?.strip_prefix(' '))
                .ok_or_else(|| format!("HELP of {name} is not followed by its TYPE: {head}"))?;
            check_head(name, kind, help)?;
            let mut family = Family { kind: kind.into(), help: help.into(), samples: Vec::new() };
            let mut seen = BTreeSet::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with("# ")) {
                let (sample, labels, value) =
                    sample(line).ok_or_else(|| format!("not a sample of {name}: {line}"))?;
                if family.names(name).iter().all(|known| *known != sample) {
                    return Err(format!("a sample of another metric among those of {name}: {line}"));
                }
                if !seen.insert((sample.clone(), labels.clone())) {
                    return Err(format!("twice there: {line}"));
                }
                if kind == "counter" && !(value >= 0.0 && value.is_finite()) {
                    return Err(format!("no counter has this value: {line}"));
                }
                family.samples.push((sample, labels, value));
            }
            let names = |labels: &Labels| labels.keys().cloned().collect::<Vec<_>>();
            if family.samples.windows(2).any(|two| names(&two[0].1) != names(&two[1].1)) {
                return Err(format!("samples of {name} have different labels"));
            }
            if page.0.insert(name.into(), family).is_some() {
                return Err(format!("{name} is there twice"));
            }
        }
        Ok(page)
    }

    /// Every name that a query can select, with the names of its labels.
    pub(crate) fn names(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut names = BTreeMap::<String, BTreeSet<String>>::new();
        for (name, family) in &self.0 {
            for of_kind in family.names(name) {
                let samples = family.samples.iter().filter(|(sample, ..)| *sample == of_kind);
                let labels = samples.flat_map(|(_, labels, _)| labels.keys().cloned()).collect();
                names.insert(of_kind, labels);
            }
        }
        names
    }

    /// The sum of all samples of this name.
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        let all = self.0.values().flat_map(|family| &family.samples);
        let values: Vec<f64> = all.filter(|(sample, ..)| sample == name).map(|(.., value)| *value).collect();
        assert!(!values.is_empty(), "{name} is not on the page");
        values.iter().sum()
    }

    /// Everything that must never go back: counters, and the sums and counts of summaries.
    pub(crate) fn counters(&self) -> BTreeMap<(String, Labels), f64> {
        let counters = self.0.values().filter(|family| family.kind != "gauge");
        counters
            .flat_map(|family| &family.samples)
            .map(|(name, labels, value)| ((name.clone(), labels.clone()), *value))
            .collect()
    }
}

impl Family {
    /// What its samples are called.
    fn names(&self, name: &str) -> Vec<String> {
        if self.kind == "summary" {
            vec![format!("{name}_sum"), format!("{name}_count")]
        } else {
            vec![name.into()]
        }
    }
}

fn check_head(name: &str, kind: &str, help: &str) -> Result<(), String> {
    if !is_name(name) {
        return Err(format!("not a metric's name: {name}"));
    }
    if !["counter", "gauge", "summary"].contains(&kind) {
        return Err(format!("{name} has no kind that is known: {kind}"));
    }
    if (kind == "counter") != name.ends_with("_total") {
        return Err(format!("{name} is a {kind}: counters end in _total, and nothing else does"));
    }
    if !help.ends_with('.') || help.contains('\\') || help.trim() != help {
        return Err(format!("HELP of {name} is no sentence: {help}"));
    }
    Ok(())
}

/// `name{label="value",…} value`
fn sample(line: &str) -> Option<(String, Labels, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        None => (series, Labels::new()),
        Some((name, labels)) => {
            let mut all = Labels::new();
            for label in labels.strip_suffix('}')?.split(',') {
                let (label, value) = label.split_once('=')?;
                let value = value.strip_prefix('"')?.strip_suffix('"')?;
                let plain = value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
                if !is_name(label) || !plain || all.insert(label.into(), value.into()).is_some() {
                    return None;
                }
            }
            (name, all)
        }
    };
    is_name(name).then_some(())?;
    Some((name.into(), labels, value.parse().ok()?))
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}
