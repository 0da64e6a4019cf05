//! The links of a run, and how much of what they can carry the servers used.

use crate::control::InterfaceBytes;
use crate::coordinator::stage::Play;
use crate::net::{Medium, goodput_bits_per_s};
use crate::plan::Plan;
use serde::{Deserialize, Serialize};

/// What joined servers and hosts, and what it carried while the measured rounds were played.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkResult {
    /// `namespaces`, `loopback` or `machines`.
    pub medium: String,
    /// Why links were asked for and not made.
    pub not_shaped: Option<String>,
    /// Bits per second of every server's link, each way, all of Ethernet's bytes included.
    pub rate_bits_per_s: Option<u64>,
    /// Largest packet.
    pub mtu: u64,
    /// Rate of the token buckets, as the kernel has it.
    pub tbf_rate_bits_per_s: Option<u64>,
    /// What they let through at once.
    pub tbf_burst_bytes: Option<u64>,
    /// What the queues before them hold.
    pub tbf_queue_bytes: Option<u64>,
    /// Payload that TCP can carry at that rate.
    pub goodput_bits_per_s: Option<f64>,
    /// Packets that a queue had no room for.
    pub dropped_packets: Option<u64>,
    /// S1 and S2.
    pub servers: Vec<ServerLink>,
    /// Host by host.
    pub hosts: Vec<HostLink>,
}

/// The link of one server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerLink {
    /// Its egress, as a part of the payload that TCP can carry while rounds are delivered.
    pub goodput_fraction: Option<f64>,
    /// Everything that it put on the wire, as a part of the rate.
    pub raw_fraction: Option<f64>,
    /// Bytes that it put on the wire, all of Ethernet's included.
    pub wire_bytes: Option<u64>,
    /// Packets of them.
    pub wire_packets: Option<u64>,
    /// Bytes that its interface counted.
    pub interface: InterfaceBytes,
    /// Bytes that the program sent and its clients gave it.
    pub program: InterfaceBytes,
}

/// The link of one host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostLink {
    /// Bytes that its interface counted.
    pub interface: InterfaceBytes,
    /// Bytes that the program sent and received.
    pub program: InterfaceBytes,
}

/// What the links carried in these rounds.
pub(super) fn result(plan: &Plan, medium: &Medium, play: &Play, delivering_seconds: f64) -> LinkResult {
    let rate = medium.rate_bits_per_s(&plan.link);
    let shape = match medium {
        Medium::Namespaces(shape) => *shape,
        Medium::Loopback(_) | Medium::Machines => None,
    };
    let goodput = rate.map(|rate| goodput_bits_per_s(rate, plan.link.mtu));
    // After the pause between two rounds the bucket is full, and what it holds does not wait for the rate.
    let bursts = shape.map_or(0.0, |shape| shape.burst_payload_bytes(plan.link.mtu)) * f64::from(plan.rounds);
    let server = |side: usize| {
        let (report, sent) = (&play.servers[side], play.wire.map(|wire| wire.servers[side]));
        let of = |bytes: f64, most: f64| if most > 0.0 { bytes * 8.0 / most } else { 0.0 };
        ServerLink {
            goodput_fraction: goodput
                .map(|goodput| of(report.egress_bytes as f64, goodput * delivering_seconds + bursts * 8.0)),
            raw_fraction: rate
                .zip(sent)
                .map(|(rate, sent)| of(sent.wire_bytes as f64, rate as f64 * delivering_seconds)),
            wire_bytes: sent.map(|sent| sent.wire_bytes),
            wire_packets: sent.map(|sent| sent.packets),
            interface: report.interface,
            program: InterfaceBytes {
                sent: report.egress_bytes + report.link_bytes,
                received: play.hosts.iter().map(|host| host.bytes_out[side]).sum(),
            },
        }
    };
    LinkResult {
        medium: match medium {
            Medium::Loopback(_) => "loopback",
            Medium::Namespaces(_) => "namespaces",
            Medium::Machines => "machines",
        }
        .into(),
        not_shaped: match medium {
            Medium::Loopback(why) => why.clone(),
            Medium::Namespaces(_) | Medium::Machines => None,
        },
        rate_bits_per_s: rate,
        mtu: medium.mtu(&plan.link),
        tbf_rate_bits_per_s: shape.map(|shape| shape.tbf_rate_bits_per_s),
        tbf_burst_bytes: shape.map(|shape| shape.tbf_burst_bytes),
        tbf_queue_bytes: shape.map(|shape| shape.tbf_queue_bytes),
        goodput_bits_per_s: goodput,
        dropped_packets: play.wire.map(|wire| wire.dropped),
        servers: vec![server(0), server(1)],
        hosts: play
            .hosts
            .iter()
            .map(|host| HostLink {
                interface: host.interface,
                program: InterfaceBytes {
                    sent: host.bytes_out.iter().sum(),
                    received: host.bytes_in.iter().sum(),
                },
            })
            .collect(),
    }
}

impl LinkResult {
    /// The greatest part of its link's payload that a server used: which one, and how much.
    #[must_use]
    pub fn fullest(&self) -> Option<(usize, f64)> {
        let fractions = self.servers.iter().enumerate();
        let fractions = fractions.filter_map(|(side, server)| Some((side, server.goodput_fraction?)));
        fractions.max_by(|one, other| one.1.total_cmp(&other.1))
    }

    /// What cannot be: more payload than the link can carry.
    pub(super) fn failures(&self) -> Vec<String> {
        let beyond = |(side, server): (usize, &ServerLink)| {
            let fraction = server.goodput_fraction.filter(|fraction| *fraction > 1.0)?;
            Some(format!(
                "server {} is said to have sent {fraction:.4} of what TCP can carry on its link: what was measured, or \
                 the link's rate, is wrong",
                side + 1
            ))
        };
        self.servers.iter().enumerate().filter_map(beyond).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{LinkRate, Shape};
    use crate::result::tests::measured;

    fn of(medium: &Medium, seconds: f64) -> LinkResult {
        let mut measured = measured();
        measured.plan.link.rate = LinkRate::Rate(1_000_000_000);
        result(&measured.plan, medium, &measured.play, seconds)
    }

    #[test]
    fn a_fraction_is_what_was_sent_of_what_the_rate_and_the_buckets_let_through() {
        let shaped = Medium::Namespaces(Some(Shape::of(1_000_000_000, 1_500)));
        let link = of(&shaped, 0.2);
        let carried = 941.482e6 / 8.0 * 0.2 + 3.0 * 131_322.0 * 1_448.0 / 1_514.0;
        let fraction = link.servers[0].goodput_fraction.unwrap();
        assert!((fraction - 17_040_000.0 / carried).abs() < 1e-5, "{fraction}");
        assert_eq!(link.servers[0].raw_fraction, Some(18_100_000.0 * 8.0 / (1e9 * 0.2)));
        assert_eq!(link.failures(), Vec::<String>::new());
        assert_eq!(link.fullest().map(|(side, _)| side), Some(1), "the last of equals");
        let program = link.servers[1].program;
        assert_eq!((program.sent, program.received), (17_042_400, 280_000));
    }

    #[test]
    fn more_than_a_link_can_carry_is_an_error_of_measuring() {
        let shaped = Medium::Namespaces(Some(Shape::of(1_000_000_000, 1_500)));
        let failures = of(&shaped, 0.1).failures();
        assert_eq!(failures.len(), 2);
        assert!(failures[0].starts_with("server 1 is said to have sent 1.4"), "{failures:?}");
    }

    #[test]
    fn what_has_no_rate_has_no_fraction() {
        for medium in [Medium::Loopback(Some("no".into())), Medium::Namespaces(None)] {
            let link = of(&medium, 0.2);
            assert_eq!((link.fullest(), link.rate_bits_per_s, link.goodput_bits_per_s), (None, None, None));
        }
        assert_eq!(of(&Medium::Loopback(Some("no".into())), 0.2).not_shaped.as_deref(), Some("no"));
        let machines = of(&Medium::Machines, 0.2);
        assert!(machines.fullest().is_some() && machines.tbf_rate_bits_per_s.is_none());
    }
}
