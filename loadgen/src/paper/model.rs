//! What is said without being run: what a link allows, lines through measured points, and how long experiments take.

use crate::cost;
use crate::net::{Link, LinkRate};
use crate::plan::Plan;

/// Bits per second of payload that TCP carries over a link with full packets; none where nothing is shaped.
#[must_use]
pub fn goodput_bits_per_s(link: &Link) -> Option<f64> {
    let LinkRate::Rate(rate) = link.rate else { return None };
    Some(crate::net::goodput_bits_per_s(rate, link.mtu))
}

/// Seconds that the links need for these bytes at the least: each server and each host has a link of its own, each way.
#[must_use]
pub fn link_seconds(plan: &Plan, flow: crate::control::Flow) -> Option<f64> {
    let goodput = goodput_bits_per_s(&plan.link)?;
    let hosts = f64::from(plan.hosts);
    let bytes = [flow.up, flow.down].map(|way| {
        let of_servers = way.into_iter().max().unwrap_or(0) as f64;
        let of_a_host = way.iter().sum::<u64>() as f64 / hosts;
        of_servers.max(of_a_host)
    });
    Some(bytes[0].max(bytes[1]) * 8.0 / goodput)
}

/// Seconds that the links need for a round of a plan, by the cost model.
#[must_use]
pub fn link_round_seconds(plan: &Plan) -> Option<f64> {
    link_seconds(plan, cost::model(plan, 0).ok()?.round)
}

/// Seconds that the links need for dialling and confirming, by the cost model.
#[must_use]
pub fn link_dial_seconds(plan: &Plan) -> Option<f64> {
    let model = cost::model(plan, 0).ok()?;
    link_seconds(plan, model.members + model.dial + model.grants + model.confirm)
}

/// Seconds in which the links bring the median member its own cell of a round at the least: a server sends to one member
/// after another, so that half of the members have theirs with half of the round's bytes.
#[must_use]
pub fn link_latency_seconds(plan: &Plan) -> Option<f64> {
    link_round_seconds(plan).map(|seconds| seconds / 2.0)
}

/// What sizes beyond those that were run take: for each unit of work as much as the largest that was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beyond {
    /// The work of the largest.
    pub largest: f64,
    /// What it took for each unit.
    pub each: f64,
    /// By what part of it a point that was run lies off at the most.
    pub off: f64,
}

/// The part of a point by which [`Beyond`] may be off before the report says so.
const OFF_MAX: f64 = 0.2;

impl Beyond {
    /// Of (work, amount); `None` without a point.
    #[must_use]
    pub fn of(points: &[(f64, f64)]) -> Option<Beyond> {
        let run = || points.iter().filter(|(work, amount)| *work > 0.0 && *amount > 0.0);
        let (largest, amount) = run().copied().max_by(|a, b| a.0.total_cmp(&b.0))?;
        let each = amount / largest;
        let off = run().map(|(work, amount)| (each * work / amount - 1.0).abs()).fold(0.0, f64::max);
        Some(Beyond { largest, each, off })
    }

    /// What so much work takes, if it is more than was ever run.
    #[must_use]
    pub fn at(&self, work: f64) -> Option<f64> {
        (work > self.largest).then_some(self.each * work)
    }

    /// What has to be said of it: where it follows from, and how far off it is.
    #[must_use]
    pub fn in_words(&self, largest: &str, unit: &str) -> String {
        let off = if self.off > OFF_MAX {
            format!("; the same would be off by up to {:.0}% at the sizes that were run", self.off * 100.0)
        } else {
            String::new()
        };
        format!("beyond {largest} every {unit} is taken to cost what it costs there{off}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::LINK_DEFAULT;

    #[test]
    fn goodput_is_what_headers_leave() {
        let of = |rate, mtu| goodput_bits_per_s(&Link { rate, mtu });
        let gigabit = LinkRate::Rate(1_000_000_000);
        assert!((of(gigabit, 1_500).unwrap() / 1e9 - 0.9415).abs() < 1e-4);
        assert!((of(gigabit, 9_000).unwrap() / 1e9 - 0.990).abs() < 1e-3);
        assert_eq!((of(LinkRate::Off, 1_500), of(LinkRate::Loopback, 1_500)), (None, None));
    }

    #[test]
    fn a_round_of_a_thousand_takes_a_10_gigabit_link_0_29_seconds() {
        let plan = Plan { link: Link { rate: LINK_DEFAULT, mtu: 1_500 }, ..Plan::default() };
        let seconds = link_round_seconds(&plan).unwrap();
        assert!((seconds - 0.286).abs() < 0.003, "{seconds}");
        let one_host = link_round_seconds(&Plan { hosts: 1, ..plan.clone() }).unwrap();
        assert!((one_host / seconds - 2.0).abs() < 0.01, "one host takes what both servers send");
        assert!(link_dial_seconds(&plan).unwrap() > 1_000.0 * 1_000.0 * 64.0 * 8.0 / 1e10);
    }

    #[test]
    fn a_latency_is_half_of_a_round() {
        let plan = Plan { link: Link { rate: LINK_DEFAULT, mtu: 1_500 }, ..Plan::default() };
        let (latency, round) = (link_latency_seconds(&plan).unwrap(), link_round_seconds(&plan).unwrap());
        assert!((round / latency - 2.0).abs() < 1e-9);
    }

    #[test]
    fn beyond_the_largest_that_was_run_its_cost_holds_and_nothing_is_said_within() {
        let straight = Beyond::of(&[(4.0, 2.0), (100.0, 55.0), (10.0, 5.0)]).unwrap();
        assert!((straight.at(200.0).unwrap() - 110.0).abs() < 1e-9);
        assert_eq!((straight.at(100.0), straight.at(50.0)), (None, None));
        assert_eq!((Beyond::of(&[]), Beyond::of(&[(0.0, 1.0)])), (None, None));
    }

    #[test]
    fn what_is_more_than_a_fifth_off_says_so() {
        let near = Beyond::of(&[(10.0, 5.5), (100.0, 50.0)]).unwrap();
        assert!(near.off < OFF_MAX && !near.in_words("n = 10", "pair").contains("off by"), "{near:?}");
        // The smallest is odd: the rest, and what is beyond, have nothing of it.
        let odd = Beyond::of(&[(1.0, 0.1), (10.0, 8.66), (100.0, 86.6)]).unwrap();
        assert!((odd.at(1_000.0).unwrap() - 866.0).abs() < 1e-9);
        assert!(
            odd.in_words("n = 10", "pair").contains("off by up to 766%"),
            "{}",
            odd.in_words("n = 10", "pair")
        );
    }
}
