//! Every number of a result by its name, and a few that follow from them.

use serde_json::Value;
use std::collections::BTreeMap;

/// Sections of a result that are no figures.
const NO_FIGURES: [&str; 4] = ["plan", "environment", "bytes", "fault"];

/// Every number of a `twincast-result/1`, named as in `RESULT.md` with the place in a list written out
/// (`servers[0].cpu_seconds`), and a few that follow from them (`RESULTS.md`).
#[must_use]
pub fn figures(result: &Value) -> BTreeMap<String, f64> {
    let mut figures = BTreeMap::new();
    for (name, value) in result.as_object().into_iter().flatten() {
        if !NO_FIGURES.contains(&name.as_str()) {
            collect(name, value, &mut figures);
        }
    }
    // A roof that was left out has no figures, and no repeats either.
    if figures.get("roof.repeats") == Some(&0.0) {
        figures.retain(|name, _| !name.starts_with("roof."));
    }
    let derived = derived(&figures);
    figures.extend(derived.into_iter().map(|(name, value)| (name.to_owned(), value)));
    figures
}

fn collect(name: &str, value: &Value, into: &mut BTreeMap<String, f64>) {
    match value {
        Value::Number(number) => {
            into.extend(number.as_f64().map(|number| (name.to_owned(), number)));
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(field, value)| collect(&format!("{name}.{field}"), value, into));
        }
        Value::Array(elements) => {
            let elements = elements.iter().enumerate();
            elements.for_each(|(index, value)| collect(&format!("{name}[{index}]"), value, into));
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// What a person asks first: of both servers or all hosts together.
fn derived(of: &BTreeMap<String, f64>) -> Vec<(&'static str, f64)> {
    let all = |list: &str, field: &str| -> Vec<f64> {
        let is_one = |name: &str| name.starts_with(list) && name.ends_with(field);
        of.iter().filter(|(name, _)| is_one(name)).map(|(_, value)| *value).collect()
    };
    let sum = |list: &str, field: &str| all(list, field).iter().sum::<f64>();
    let mean = |list: &str, field: &str| {
        let all = all(list, field);
        (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
    };
    let over = |part: f64, whole: f64| (whole > 0.0).then_some(part / whole);
    let shares = sum("servers[", "].egress_shares");
    let figures = [
        ("shares_per_s", mean("servers[", "].shares_per_s")),
        ("egress_bits_per_s", mean("servers[", "].bits_per_s")),
        ("link_fraction", mean("link.", ".goodput_fraction")),
        ("server_cpu_ns_per_share", over(sum("servers[", "].cpu_seconds") * 1e9, shares)),
        ("host_cpu_ns_per_share", over(sum("hosts[", "].cpu_seconds") * 1e9, shares)),
        ("server_rss_bytes", mean("servers[", "].peak_rss_bytes")),
        ("host_rss_bytes", mean("hosts[", "].peak_rss_bytes")),
    ];
    figures.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::sample;

    #[test]
    fn every_number_has_a_name() {
        let result = sample();
        let figures = figures(&serde_json::to_value(&result).unwrap());
        assert_eq!(figures["round_seconds.p50"], 0.015);
        assert_eq!(figures["servers[1].cpu_seconds"], 0.01);
        assert_eq!(figures["roof.server_cpu_ratio"], 1.25);
        assert!(!figures.keys().any(|name| name.starts_with("plan") || name.starts_with("environment")));
    }

    #[test]
    fn what_follows_is_of_both_servers() {
        let result = sample();
        let figures = figures(&serde_json::to_value(&result).unwrap());
        assert_eq!(figures["shares_per_s"], result.servers[0].shares_per_s);
        let per_share = 0.02e9 / (2.0 * 50_700.0);
        assert!((figures["server_cpu_ns_per_share"] - per_share).abs() < 1e-6);
        assert_eq!(figures["host_rss_bytes"], f64::from(40 << 20));
    }

    #[test]
    fn a_result_of_nothing_has_no_figures() {
        assert!(figures(&serde_json::json!({ "schema": "x", "roof": { "rate": null } })).is_empty());
    }
}
