//! Predictions beside what was measured, how both grow with the group, and what that means for groups that nobody has run.
//!
//! Servers and hosts of a local run share the machine, so its prediction is the CPU time of all of them over its cores.

use crate::constants::{Constants, Origin};
use crate::group::{Delivery, Group, Machine};
use crate::plan::Plan;
use crate::prediction::Prediction;
use crate::results::Run;
use serde::{Deserialize, Serialize};
use twincast_loadgen::net::LinkRate;

/// The schema's name and version.
pub const SCHEMA: &str = "twincast-predictions/1";

/// What is predicted for at the end: members, and cores of each server.
const LARGE: [u32; 2] = [100_000, 1_000_000];
const CORES: u32 = 48;
const LINKS: [u64; 2] = [10_000_000_000, 100_000_000_000];

/// Cores that other work may take before it is told.
const OTHERS_CORES_MAX: f64 = 0.25;

/// Predictions beside measurements: schema `twincast-predictions/1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// [`SCHEMA`].
    pub schema: String,
    /// Where the constants come from.
    pub origin: Origin,
    /// What else to mind; sentences.
    pub warnings: Vec<String>,
    /// Each group that was run, broadcast first, ascending.
    pub rows: Vec<Row>,
    /// How rounds grow, of each delivery with two group sizes or more.
    pub growth: Vec<Growth>,
    /// Large groups: predictions for machines that were not measured.
    pub large: Vec<Plan>,
}

/// One group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its delivery.
    pub delivery: Delivery,
    /// The group.
    pub group: Group,
    /// The machine of all.
    pub machine: Machine,
    /// Runs whose median this is.
    pub runs: usize,
    /// A round, seconds.
    pub round_s: Pair,
    /// CPU of both servers in a round, seconds of one core.
    pub servers_s: Pair,
    /// CPU of all hosts in a round, seconds of one core.
    pub hosts_s: Pair,
}

/// A figure twice.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// By the formulas.
    pub predicted: f64,
    /// By the load generator.
    pub measured: f64,
    /// Predicted over measured.
    pub ratio: f64,
}

/// Slope of the round's time over the members, on logarithmic axes: 1 is in proportion, 2 is with the square.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Growth {
    /// Of which delivery.
    pub delivery: Delivery,
    /// Slots or queries of a member.
    pub slots: u32,
    /// The fewest members.
    pub from: u32,
    /// The most.
    pub to: u32,
    /// By the formulas, and by the load generator.
    pub slope: Pair,
}

impl Pair {
    fn new(predicted: f64, measured: f64) -> Pair {
        Pair { predicted, measured, ratio: predicted / measured }
    }
}

impl Comparison {
    /// Compares runs with what these constants predict. `here`: the machine that this is worked out on.
    ///
    /// # Errors
    /// A sentence: a run has a frame that cannot be.
    pub fn new(runs: &[Run], constants: &Constants, here: &Origin) -> Result<Comparison, String> {
        let mut rows = Vec::new();
        let mut left: Vec<&Run> = runs.iter().collect();
        while let Some(first) = left.first().copied() {
            let (alike, others): (Vec<&Run>, Vec<&Run>) =
                left.into_iter().partition(|run| is_alike(run, first));
            rows.push(Row::of(&alike, constants)?);
            left = others;
        }
        rows.sort_by_key(|row| (row.delivery as u8, row.group.slots, row.group.members));
        let plans = LARGE.iter().flat_map(|members| LINKS.map(|rate| (*members, rate)));
        let large = plans.map(|(members, rate)| {
            let machine = Machine {
                cores: CORES,
                memory_bytes: constants.origin.memory_bytes,
                link: LinkRate::Rate(rate),
                mtu: 1_500,
                everything: false,
            };
            Plan::new(&Group::new(members), &machine, constants, here)
        });
        Ok(Comparison {
            schema: SCHEMA.into(),
            origin: constants.origin.clone(),
            warnings: warnings(runs, constants),
            growth: growth(&rows),
            rows,
            large: large.collect::<Result<_, String>>()?,
        })
    }
}

/// Whether two runs are repeats of one plan on one machine.
fn is_alike(one: &Run, two: &Run) -> bool {
    (one.delivery, one.group, one.machine, &one.cpu) == (two.delivery, two.group, two.machine, &two.cpu)
        && one.decoded.to_bits() == two.decoded.to_bits()
}

impl Row {
    fn of(runs: &[&Run], constants: &Constants) -> Result<Row, String> {
        let Run { delivery, group, machine, decoded, .. } = runs[0];
        let predicted = Prediction::of(*delivery, group, machine, constants, *decoded)?;
        let measured = |of: fn(&Run) -> f64| median(runs.iter().map(|run| of(run)).collect());
        let clients_s = f64::from(group.members) * predicted.client.total_s();
        Ok(Row {
            delivery: *delivery,
            group: *group,
            machine: *machine,
            runs: runs.len(),
            round_s: Pair::new(predicted.times.round_s, measured(|run| run.round_s)),
            servers_s: Pair::new(2.0 * predicted.server.total_s(), measured(|run| run.servers_s)),
            hosts_s: Pair::new(clients_s, measured(|run| run.hosts_s)),
        })
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { values[middle - 1].midpoint(values[middle]) } else { values[middle] }
}

fn warnings(runs: &[Run], constants: &Constants) -> Vec<String> {
    let mut warnings = Vec::new();
    let foreign = runs.iter().find(|run| run.cpu != constants.origin.cpu);
    if let Some(run) = foreign {
        warnings.push(format!(
            "the constants are those of {}, and a result is of {}: measure there with --measure",
            constants.origin.cpu, run.cpu
        ));
    }
    let failed = runs.iter().filter(|run| run.failures > 0).count();
    if failed > 0 {
        warnings.push(format!("{failed} of {} runs failed their own checks", runs.len()));
    }
    let most = runs.iter().filter_map(|run| run.others_cores).fold(0.0, f64::max);
    if most > OTHERS_CORES_MAX {
        warnings.push(format!(
            "other work took up to {most:.1} cores of the machine meanwhile, so rounds took longer than they need"
        ));
    }
    if !constants.origin.optimised {
        warnings.push(
            "the constants were measured by a program built without optimisation: use --release".into(),
        );
    }
    warnings
}

/// The slopes of all deliveries that have two sizes or more.
fn growth(rows: &[Row]) -> Vec<Growth> {
    let mut kinds: Vec<(Delivery, u32)> = rows.iter().map(|row| (row.delivery, row.group.slots)).collect();
    kinds.dedup();
    let of_kind = |(delivery, slots): (Delivery, u32)| {
        let rows: Vec<&Row> =
            rows.iter().filter(|row| (row.delivery, row.group.slots) == (delivery, slots)).collect();
        let points = |of: fn(&Row) -> f64| -> Vec<(f64, f64)> {
            rows.iter().map(|row| (f64::from(row.group.members), of(row))).collect()
        };
        let (predicted, measured) =
            (slope(&points(|row| row.round_s.predicted))?, slope(&points(|row| row.round_s.measured))?);
        let members = || rows.iter().map(|row| row.group.members);
        let (from, to) = (members().min()?, members().max()?);
        Some(Growth { delivery, slots, from, to, slope: Pair::new(predicted, measured) })
    };
    kinds.into_iter().filter_map(of_kind).collect()
}

/// The slope of the straight line through the logarithms that has the least squares; none through one size.
#[must_use]
pub fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / logs.len() as f64;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = logs.iter().map(|point| (point.0 - x).powi(2)).sum();
    let together: f64 = logs.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    (spread > 1e-12).then(|| together / spread)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constants::tests::constants;
    use crate::results::{run, tests::result};

    #[test]
    fn slopes_are_those_of_powers() {
        let points = |power: i32| [1.0, 10.0, 50.0].map(|x: f64| (x, 3.0 * x.powi(power)));
        for power in [1, 2, 3] {
            assert!((slope(&points(power)).unwrap() - f64::from(power)).abs() < 1e-9);
        }
        assert_eq!(slope(&[(10.0, 1.0), (10.0, 2.0)]), None);
        assert_eq!(slope(&[]), None);
    }

    #[test]
    fn repeats_are_one_row_and_everything_shares_the_machine() {
        let constants = constants();
        let runs: Vec<Run> = [
            (Some("answer"), 10_000, 0.7),
            (None, 1_000, 0.2),
            (None, 1_000, 0.4),
            (Some("answer"), 1_000, 0.1),
        ]
        .map(|(delivery, group, round_s)| run(&result(delivery, group, round_s)).unwrap())
        .into();
        let compared = Comparison::new(&runs, &constants, &constants.origin).unwrap();
        let rows: Vec<_> =
            compared.rows.iter().map(|row| (row.delivery, row.group.members, row.runs)).collect();
        assert_eq!(
            rows,
            [(Delivery::Broadcast, 1_000, 2), (Delivery::Answer, 1_000, 1), (Delivery::Answer, 10_000, 1)]
        );
        for row in &compared.rows {
            let cores = (row.servers_s.predicted + row.hosts_s.predicted) / 2.0;
            assert!(row.round_s.predicted >= cores - 1e-12, "{row:?}");
            assert!((row.round_s.ratio - row.round_s.predicted / row.round_s.measured).abs() < 1e-12);
        }
        assert!((compared.rows[0].round_s.measured - 0.3).abs() < 1e-12);
        assert_eq!(compared.growth.len(), 1, "broadcast was run at one size");
        let growth = compared.growth[0];
        assert_eq!((growth.from, growth.to), (1_000, 10_000));
        assert!((growth.slope.measured - 7f64.log10()).abs() < 1e-9);
        assert_eq!(
            compared.large.iter().map(|plan| plan.group.members).collect::<Vec<_>>(),
            [100_000, 100_000, 1_000_000, 1_000_000]
        );
        assert!(compared.large.iter().all(|plan| plan.machine.cores == 48 && !plan.marks.is_empty()));
        assert!(compared.warnings.is_empty(), "{:?}", compared.warnings);
    }

    #[test]
    fn constants_of_another_processor_and_failed_runs_are_told() {
        let constants = constants();
        let mut one = run(&result(None, 100, 0.1)).unwrap();
        (one.cpu, one.failures) = ("Another CPU".into(), 2);
        one.others_cores = Some(1.1);
        let warnings = Comparison::new(&[one], &constants, &constants.origin).unwrap().warnings.join("; ");
        assert!(warnings.contains("a result is of Another CPU"), "{warnings}");
        assert!(warnings.contains("1 of 1 runs failed"), "{warnings}");
        assert!(warnings.contains("other work took up to 1.1 cores"), "{warnings}");
    }
}
