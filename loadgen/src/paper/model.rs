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

/// Time as a part that is always there and a part for each unit of work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Seconds without any work.
    pub fixed: f64,
    /// Seconds for each unit.
    pub each: f64,
}

impl Line {
    /// The line through (work, seconds) with the least sum of squared relative errors, neither part below 0: points span
    /// orders of magnitude, and absolute errors would let the largest alone decide. `None` without a point.
    #[must_use]
    pub fn through(points: &[(f64, f64)]) -> Option<Line> {
        let points: Vec<(f64, f64)> = points.iter().copied().filter(|(x, y)| *x > 0.0 && *y > 0.0).collect();
        if points.is_empty() {
            return None;
        }
        // With weights 1/y^2, in u = 1/y and v = x/y: fixed * u + each * v is to be 1.
        let sum = |of: &dyn Fn(f64, f64) -> f64| points.iter().map(|(x, y)| of(1.0 / y, x / y)).sum::<f64>();
        let (uu, uv, vv) = (sum(&|u, _| u * u), sum(&|u, v| u * v), sum(&|_, v| v * v));
        let (u, v) = (sum(&|u, _| u), sum(&|_, v| v));
        let determinant = uu * vv - uv * uv;
        let through_origin = Line { fixed: 0.0, each: v / vv };
        if determinant <= 1e-9 * uu * vv {
            return Some(through_origin);
        }
        let line = Line { fixed: (u * vv - v * uv) / determinant, each: (uu * v - uv * u) / determinant };
        Some(match line {
            Line { fixed: ..0.0, .. } => through_origin,
            Line { each: ..0.0, .. } => Line { fixed: u / uu, each: 0.0 },
            line => line,
        })
    }

    /// Seconds of so much work.
    #[must_use]
    pub fn at(&self, work: f64) -> f64 {
        self.fixed + self.each * work
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
    fn a_line_goes_through_known_points() {
        let near = |line: Line, fixed: f64, each: f64| {
            assert!((line.fixed - fixed).abs() < 1e-9 && (line.each - each).abs() < 1e-9, "{line:?}");
        };
        near(Line::through(&[(1.0, 2.5), (10.0, 7.0), (1e4, 5_002.0)]).unwrap(), 2.0, 0.5);
        near(Line::through(&[(4.0, 2.0)]).unwrap(), 0.0, 0.5);
        near(Line::through(&[(4.0, 2.0), (4.0, 2.0)]).unwrap(), 0.0, 0.5);
        assert_eq!(Line::through(&[]), None);
        assert_eq!(Line::through(&[(0.0, 1.0)]), None);
        assert!((Line { fixed: 2.0, each: 0.5 }.at(100.0) - 52.0).abs() < 1e-9);
    }

    #[test]
    fn no_part_of_a_line_is_below_nothing() {
        let steeper_than_proportional = Line::through(&[(1.0, 1.0), (10.0, 20.0), (100.0, 400.0)]).unwrap();
        assert!(steeper_than_proportional.fixed.abs() < 1e-12 && steeper_than_proportional.each > 0.0);
        let falling = Line::through(&[(1.0, 5.0), (10.0, 1.0)]).unwrap();
        assert!(falling.each.abs() < 1e-12 && falling.fixed > 0.0);
    }
}
