//! What the load generator has measured: `twincast-result/1`, a file of `--json` or all runs of a results folder.
//!
//! Read leniently: fields that a comparison does not need may be missing or new. `plan.delivery` that is missing is broadcast.

use crate::TuneError;
use crate::group::{Delivery, Group, Machine};
use serde_json::Value;
use std::path::{Path, PathBuf};
use twincast_loadgen::result::SCHEMA;

/// One run, as far as it is compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The way out.
    pub delivery: Delivery,
    /// Who played.
    pub group: Group,
    /// The one machine of the servers and hosts.
    pub machine: Machine,
    /// The processor's name for itself.
    pub cpu: String,
    /// Which part of what arrived was decoded.
    pub decoded: f64,
    /// Median round, seconds.
    pub round_s: f64,
    /// CPU of both servers in a round, seconds of one core.
    pub servers_s: f64,
    /// CPU of all hosts in a round, seconds of one core.
    pub hosts_s: f64,
    /// Cores that neither servers nor hosts kept busy, but others; none where it is not known.
    pub others_cores: Option<f64>,
    /// How many checks the run failed.
    pub failures: usize,
}

/// All runs of a file or folder.
///
/// # Errors
/// [`TuneError::Usage`]: there is none, or one that cannot be compared; the sentence names the file.
pub fn load(path: &Path) -> Result<Vec<Run>, TuneError> {
    let refused = |path: &Path, what: String| TuneError::Usage(format!("{}: {what}", path.display()));
    let files = if path.is_dir() { runs_of(path) } else { Ok(vec![path.to_owned()]) };
    let files = files.map_err(|error| refused(path, error.to_string()))?;
    if files.is_empty() {
        return Err(refused(
            path,
            "holds no results: no run-1.json; give a folder that twincast-loadgen has made, or a file of its --json".into(),
        ));
    }
    files
        .iter()
        .map(|file| {
            let text = std::fs::read(file).map_err(|error| refused(file, error.to_string()))?;
            let value = serde_json::from_slice(&text).map_err(|error| {
                refused(file, format!("{error}; give a file that twincast-loadgen has written with --json"))
            })?;
            run(&value).map_err(|what| refused(file, what))
        })
        .collect()
}

/// `run-1.json` and so on, in their order.
fn runs_of(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut numbered: Vec<(u64, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("run-")?.strip_suffix(".json"));
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            numbered.push((number, entry.path()));
        }
    }
    numbered.sort();
    Ok(numbered.into_iter().map(|(_, path)| path).collect())
}

/// A run of its JSON.
///
/// # Errors
/// A phrase: it is of another schema, a figure is missing, or it was not made on one machine with one group.
pub fn run(value: &Value) -> Result<Run, String> {
    let schema = value["schema"].as_str().unwrap_or("none");
    if schema != SCHEMA {
        return Err(format!("is of schema {schema}, and this program reads {SCHEMA}; give a file of --json"));
    }
    let plan = &value["plan"];
    let (profile, groups) = (plan["profile"].as_str().unwrap_or("compact"), count(plan, "groups")?);
    if profile != "compact" {
        return Err(format!("is of profile {profile}, and only compact is predicted"));
    }
    if groups != 1 {
        return Err(format!("has {groups} groups, and one is predicted"));
    }
    let epoch_rounds = plan["epoch_rounds"].as_u64().unwrap_or(0);
    if epoch_rounds > 0 {
        return Err(format!(
            "has epochs of {epoch_rounds} rounds, and what epochs take beside rounds is not predicted; give runs without \
             --epoch-rounds"
        ));
    }
    if value["link"]["medium"].as_str() == Some("machines") {
        return Err(
            "was made on several machines, and a run on one is predicted; compare it with plan".into()
        );
    }
    let rounds = f64::from(count(plan, "rounds")?);
    let cpu_s = |of: &str| -> Result<f64, String> {
        let each = value[of].as_array().ok_or_else(|| missing(of))?;
        Ok(each.iter().filter_map(|one| one["cpu_seconds"].as_f64()).sum::<f64>() / rounds)
    };
    let (servers_s, hosts_s) = (cpu_s("servers")?, cpu_s("hosts")?);
    let cores = count(&value["environment"], "cores")?;
    let others_cores =
        value["machine_busy"].as_f64().zip(value["wall_seconds"].as_f64()).map(|(busy, wall_s)| {
            (busy * f64::from(cores) - (servers_s + hosts_s) * rounds / wall_s.max(1e-9)).max(0.0)
        });
    let link = plan["link"]["rate"].as_str().ok_or_else(|| missing("plan.link.rate"))?;
    // A run whose links could not be shaped went over loopback.
    let link = if value["link"]["not_shaped"].is_string() { "loopback" } else { link };
    Ok(Run {
        delivery: match plan["delivery"].as_str() {
            None | Some("broadcast") => Delivery::Broadcast,
            Some("answer") => Delivery::Answer,
            Some(other) => {
                return Err(format!("has delivery {other}, which is neither broadcast nor answer"));
            }
        },
        group: Group {
            members: count(plan, "group")?,
            slots: count(plan, "slots")?,
            hosts: count(plan, "hosts")?,
            users_per_connection: count(plan, "users_per_connection")?,
            frame_bytes: count(plan, "frame_bytes")?,
            confirm: plan["confirm"].as_bool().unwrap_or(true),
        },
        machine: Machine {
            cores,
            memory_bytes: u64::MAX,
            link: link.parse()?,
            mtu: count(&plan["link"], "mtu")?,
            everything: true,
        },
        cpu: value["environment"]["cpu"].as_str().unwrap_or("unknown").into(),
        decoded: match &plan["verify"] {
            Value::String(all) if all == "all" => 1.0,
            Value::String(count) if count == "count" => 0.0,
            sample => sample["sample"].as_f64().ok_or_else(|| missing("plan.verify"))?,
        },
        round_s: value["round_seconds"]["p50"]
            .as_f64()
            .filter(|round_s| *round_s > 0.0)
            .ok_or_else(|| missing("round_seconds.p50"))?,
        servers_s,
        hosts_s,
        others_cores,
        failures: value["failures"].as_array().map_or(0, Vec::len),
    })
}

/// A whole number from 1 on.
fn count(of: &Value, name: &str) -> Result<u32, String> {
    let number = of[name].as_u64().and_then(|number| u32::try_from(number).ok());
    number.filter(|number| *number > 0).ok_or_else(|| missing(name))
}

fn missing(name: &str) -> String {
    format!("has no {name}, or one that cannot be; give a file that twincast-loadgen has written with --json")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// A run of the load generator, as far as it is read, and a field from the future.
    pub(crate) fn result(delivery: Option<&str>, group: u32, round_s: f64) -> Value {
        let mut value = json!({
            "schema": SCHEMA,
            "failures": [],
            "plan": {
                "group": group, "groups": 1, "hosts": 5, "rounds": 4, "slots": 1, "profile": "compact",
                "epoch_rounds": 0, "frame_bytes": 288, "confirm": true, "users_per_connection": 512, "verify": "all",
                "link": {"rate": "10gbit", "mtu": 1500}, "future": 1
            },
            "environment": {"cpu": "Some CPU", "cores": 2},
            "link": {"medium": "namespaces", "not_shaped": null},
            "round_seconds": {"p50": round_s}, "machine_busy": 0.9, "wall_seconds": 4.0,
            "servers": [{"cpu_seconds": 1.0}, {"cpu_seconds": 1.4}],
            "hosts": [{"cpu_seconds": 2.0}, {"cpu_seconds": 2.0}]
        });
        if let Some(delivery) = delivery {
            value["plan"]["delivery"] = delivery.into();
        }
        value
    }

    #[test]
    fn a_result_is_read_and_absent_delivery_is_broadcast() {
        let one = run(&result(None, 1_000, 0.25)).unwrap();
        assert_eq!((one.delivery, one.group.members, one.round_s), (Delivery::Broadcast, 1_000, 0.25));
        assert!((one.servers_s - 0.6).abs() < 1e-12 && (one.hosts_s - 1.0).abs() < 1e-12);
        assert!(one.machine.everything && one.machine.cores == 2);
        // 1.8 of 2 cores were busy, and 6.4 s of 4 s a core were ours.
        assert!((one.others_cores.unwrap() - 0.2).abs() < 1e-12);
        assert_eq!(run(&result(Some("broadcast"), 10, 1.0)).unwrap().delivery, Delivery::Broadcast);
        assert_eq!(run(&result(Some("answer"), 10, 1.0)).unwrap().delivery, Delivery::Answer);
        let mut other = result(None, 10, 1.0);
        other["link"]["not_shaped"] = "no rights".into();
        other["machine_busy"] = Value::Null;
        other["plan"]["verify"] = json!({"sample": 0.25});
        let other = run(&other).unwrap();
        assert_eq!(
            (other.machine.goodput_bits_per_s(), other.decoded, other.others_cores),
            (None, 0.25, None)
        );
    }

    #[test]
    fn what_cannot_be_compared_is_refused_by_name() {
        for (pointer, new, said) in [
            ("/schema", json!("somebody-elses/3"), "is of schema somebody-elses/3"),
            ("/plan/profile", json!("paper-xor"), "profile paper-xor"),
            ("/plan/groups", json!(3), "has 3 groups"),
            ("/plan/epoch_rounds", json!(4), "has epochs of 4 rounds"),
            ("/plan/group", json!(0), "has no group"),
            ("/plan/group", json!("many"), "has no group"),
            ("/plan/verify", json!("some"), "has no plan.verify"),
            ("/plan/link/rate", json!("fast"), "give a rate"),
            ("/round_seconds/p50", json!(null), "has no round_seconds.p50"),
            ("/hosts", json!(null), "has no hosts"),
            ("/link/medium", json!("machines"), "several machines"),
        ] {
            let mut value = result(Some("answer"), 10, 1.0);
            *value.pointer_mut(pointer).unwrap() = new;
            let refusal = run(&value).unwrap_err();
            assert!(refusal.contains(said), "{pointer}: {refusal}");
        }
        let refusal = run(&result(Some("pigeon"), 10, 1.0)).unwrap_err();
        assert!(refusal.contains("delivery pigeon"), "{refusal}");
    }

    #[test]
    fn a_folder_has_its_runs_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let refused = load(directory.path()).unwrap_err().to_string();
        assert!(refused.contains("holds no results"), "{refused}");
        for number in [10, 2, 1] {
            let text = result(None, 100 * number, 1.0).to_string();
            std::fs::write(directory.path().join(format!("run-{number}.json")), text).unwrap();
        }
        std::fs::write(directory.path().join("plan.json"), "{}").unwrap();
        let members: Vec<u32> = load(directory.path()).unwrap().iter().map(|run| run.group.members).collect();
        assert_eq!(members, [100, 200, 1_000]);
        let refused = load(&directory.path().join("plan.json")).unwrap_err().to_string();
        assert!(refused.contains("plan.json: is of schema none"), "{refused}");
    }
}
