//! Predictions beside what was measured, how both grow with the group, and what that means for groups that nobody has run.
//!
//! Servers and hosts of a local run share the machine, so its prediction is the CPU time of all of them over its cores.

use crate::constants::{Constants, Origin};
use crate::group::{Delivery, Group, Machine};
use crate::plan::Plan;
use crate::prediction::Prediction;
use crate::results::Run;
use serde::{Deserialize, Serialize};
use twincast_loadgen::limits::USERS_PER_CONNECTION_DEFAULT;
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
    /// Each group that was run: those that differ in members alone one after another, broadcast first, ascending.
    pub rows: Vec<Row>,
    /// How rounds grow: of each two sizes or more that differ in nothing else.
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
    /// Its processor's name for itself.
    pub cpu: String,
    /// Which part of what arrived was decoded.
    pub decoded: f64,
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

/// All that is the same in groups of one kind: runs differ in their members alone, or are repeats.
///
/// Members on a connection are a bound. Where it reaches all of a host's members, any bound from there on is the same plan: it
/// counts as [`USERS_PER_CONNECTION_DEFAULT`] if it is less, so that the load generator's own choice is one kind at all sizes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    is_answer: bool,
    pub(crate) slots: u32,
    pub(crate) users_per_connection: u32,
    pub(crate) hosts: u32,
    pub(crate) link: String,
    pub(crate) mtu: u32,
    pub(crate) cores: u32,
    pub(crate) frame_bytes: u32,
    pub(crate) confirm: bool,
    pub(crate) cpu: String,
    /// Of the part that is decoded: numbers from 0 on are ordered as their bits are.
    decoded_bits: u64,
}

impl Kind {
    fn new(delivery: Delivery, group: &Group, machine: &Machine, cpu: &str, decoded: f64) -> Kind {
        let users = group.users_per_connection;
        let has_all = u64::from(users) >= group.members_of_host();
        Kind {
            is_answer: delivery == Delivery::Answer,
            slots: group.slots,
            users_per_connection: if has_all { users.max(USERS_PER_CONNECTION_DEFAULT) } else { users },
            hosts: group.hosts,
            link: machine.link.to_string(),
            mtu: machine.mtu,
            cores: machine.cores,
            frame_bytes: group.frame_bytes,
            confirm: group.confirm,
            cpu: cpu.into(),
            decoded_bits: decoded.to_bits(),
        }
    }

    /// Which part of what arrived was decoded.
    pub(crate) fn decoded(&self) -> f64 {
        f64::from_bits(self.decoded_bits)
    }
}

/// Slope of the round's time over the members, on logarithmic axes: 1 is in proportion, 2 is with the square.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Growth {
    /// Of which delivery.
    pub delivery: Delivery,
    /// The largest of the groups; the others have fewer members and nothing else that differs.
    pub group: Group,
    /// The machine of all.
    pub machine: Machine,
    /// Its processor's name for itself.
    pub cpu: String,
    /// Which part of what arrived was decoded.
    pub decoded: f64,
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
        rows.sort_by_cached_key(|row| (row.kind(), row.group.members));
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

impl Growth {
    /// What its groups have in common.
    pub(crate) fn kind(&self) -> Kind {
        Kind::new(self.delivery, &self.group, &self.machine, &self.cpu, self.decoded)
    }
}

/// Whether two runs are repeats of one plan on one machine.
fn is_alike(one: &Run, two: &Run) -> bool {
    let kind = |run: &Run| Kind::new(run.delivery, &run.group, &run.machine, &run.cpu, run.decoded);
    one.group.members == two.group.members && kind(one) == kind(two)
}

impl Row {
    /// What it has in common with others.
    pub(crate) fn kind(&self) -> Kind {
        Kind::new(self.delivery, &self.group, &self.machine, &self.cpu, self.decoded)
    }

    fn of(runs: &[&Run], constants: &Constants) -> Result<Row, String> {
        let Run { delivery, group, machine, decoded, cpu, .. } = runs[0];
        let predicted = Prediction::of(*delivery, group, machine, constants, *decoded)?;
        let measured = |of: fn(&Run) -> f64| median(runs.iter().map(|run| of(run)).collect());
        let clients_s = f64::from(group.members) * predicted.client.total_s();
        Ok(Row {
            delivery: *delivery,
            group: *group,
            machine: *machine,
            cpu: cpu.clone(),
            decoded: *decoded,
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

/// The slopes of all kinds that have two sizes or more. `rows`: by kind.
fn growth(rows: &[Row]) -> Vec<Growth> {
    let of_kind = |rows: &[Row]| {
        let points = |of: fn(&Row) -> f64| -> Vec<(f64, f64)> {
            rows.iter().map(|row| (f64::from(row.group.members), of(row))).collect()
        };
        let (predicted, measured) =
            (slope(&points(|row| row.round_s.predicted))?, slope(&points(|row| row.round_s.measured))?);
        let (first, last) = (rows.first()?, rows.last()?);
        Some(Growth {
            delivery: last.delivery,
            group: last.group,
            machine: last.machine,
            cpu: last.cpu.clone(),
            decoded: last.decoded,
            from: first.group.members,
            to: last.group.members,
            slope: Pair::new(predicted, measured),
        })
    };
    rows.chunk_by(|one, two| one.kind() == two.kind()).filter_map(of_kind).collect()
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
        let growth = &compared.growth[0];
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
    fn only_groups_that_differ_in_members_alone_are_one_kind() {
        let constants = constants();
        let one = |members, change: &dyn Fn(&mut Run)| {
            let mut one = run(&result(Some("answer"), members, f64::from(members) / 1e4)).unwrap();
            change(&mut one);
            one
        };
        let changes: [&dyn Fn(&mut Run); 7] = [
            &|run| run.group.users_per_connection = 1,
            &|run| run.group.slots = 2,
            &|run| run.group.hosts = 4,
            &|run| run.machine.link = LinkRate::Loopback,
            &|run| run.machine.cores = 3,
            &|run| run.cpu = "Another CPU".into(),
            &|run| run.decoded = 0.5,
        ];
        let unlike: Vec<Run> = (1..).zip(changes).map(|(times, change)| one(1_000 * times, change)).collect();
        let compared = Comparison::new(&unlike, &constants, &constants.origin).unwrap();
        assert_eq!((compared.rows.len(), compared.growth.len()), (7, 0));
        for change in changes {
            let runs: Vec<Run> =
                unlike.iter().cloned().chain([10_000, 20_000].map(|members| one(members, change))).collect();
            let compared = Comparison::new(&runs, &constants, &constants.origin).unwrap();
            assert_eq!((compared.rows.len(), compared.growth.len()), (9, 1));
            assert!((compared.growth[0].slope.measured - 1.0).abs() < 1e-9);
        }
        // All members of a host on one connection, whatever the bound says, and at most 512.
        let bound = |members, users| one(members, &|run| run.group.users_per_connection = users);
        let runs = [bound(1_000, 200), bound(1_000, 512), bound(10_000, 512)];
        let compared = Comparison::new(&runs, &constants, &constants.origin).unwrap();
        assert_eq!((compared.rows.len(), compared.rows[0].runs, compared.growth.len()), (2, 2, 1));
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
