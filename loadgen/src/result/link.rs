//! The links of a run, and how much of what they can carry the servers used.

use crate::control::InterfaceBytes;
use crate::coordinator::stage::Play;
use crate::limits::LINE_RATE_MIN;
use crate::net::{Medium, goodput_bits_per_s};
use crate::plan::Plan;
use serde::{Deserialize, Serialize};

/// The most of its link that a server can have used by the bucket's counters, which go on for a moment after the last
/// verdict: acknowledgements are still under way.
const RAW_MOST: f64 = 1.01;

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
    /// Its egress, as a part of the payload that TCP can carry while rounds are delivered; what the bucket holds before
    /// a round does not wait for the rate, and is added to that.
    pub goodput_fraction: Option<f64>,
    /// Whether that is line rate: enough of it, in a run that did not fail, on machines that were all checked and of which
    /// no check failed, over a link that the server's own check has seen. None where the link has no rate, or is emulated.
    #[serde(default)]
    pub line_rate: Option<bool>,
    /// The same of a link that a queue of this machine holds to its rate, as far as that can be said of one. None where the
    /// link is none of these.
    #[serde(default)]
    pub emulated_line_rate: Option<bool>,
    /// Everything that it sent, as a part of what its bucket lets through in the same time.
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

/// The time in which a bucket lets something pass.
#[derive(Clone, Copy, Debug)]
struct Passes {
    /// With a round in flight.
    seconds: f64,
    /// Between rounds, all pauses together.
    pause_seconds: f64,
    /// How many pauses there are at the most.
    pauses: f64,
}

impl Passes {
    /// Bytes as a part of the most that can have passed: what the rate lets through while rounds are in flight, and what
    /// the bucket held before. It was full when the rounds began; in a pause it fills again, as far as the rate fills it
    /// and a burst is large. Rounds that follow each other without a pause have the one burst.
    fn part(self, bytes: f64, bytes_per_s: f64, burst: f64) -> f64 {
        let refilled = (self.pauses * burst).min(self.pause_seconds * bytes_per_s);
        let most = bytes_per_s * self.seconds + burst + refilled;
        if most > 0.0 { bytes / most } else { 0.0 }
    }
}

/// What the links carried in these rounds.
pub(super) fn result(plan: &Plan, medium: &Medium, play: &Play, delivering_seconds: f64) -> LinkResult {
    let rate = medium.rate_bits_per_s(&plan.link);
    let shape = match medium {
        Medium::Namespaces(shape) => *shape,
        Medium::Loopback(_) | Medium::Machines => None,
    };
    let goodput = rate.map(|rate| goodput_bits_per_s(rate, plan.link.mtu));
    let all_seconds = play.hosts.iter().map(|host| host.seconds).fold(0.0, f64::max);
    let passes = Passes {
        seconds: delivering_seconds,
        pause_seconds: (all_seconds - delivering_seconds).max(0.0),
        pauses: f64::from(plan.rounds.saturating_sub(1)),
    };
    let server = |side: usize| {
        let (report, sent) = (&play.servers[side], play.wire.map(|wire| wire.servers[side]));
        let payload_burst = shape.map_or(0.0, |shape| shape.burst_payload_bytes(plan.link.mtu));
        ServerLink {
            goodput_fraction: goodput
                .map(|goodput| passes.part(report.egress_bytes as f64, goodput / 8.0, payload_burst)),
            // What machines were checked for, and whether the run is good, is known later.
            line_rate: None,
            emulated_line_rate: None,
            // Of what the bucket counts, since that is what it holds to the rate.
            raw_fraction: shape.zip(sent).map(|(shape, sent)| {
                let (rate, burst) = (shape.tbf_rate_bits_per_s as f64 / 8.0, shape.tbf_burst_bytes as f64);
                passes.part(sent.bucket_bytes() as f64, rate, burst)
            }),
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

impl ServerLink {
    /// Whether its egress is as much as can be asked for of its link.
    #[must_use]
    pub fn fills_its_link(&self) -> bool {
        self.goodput_fraction.is_some_and(|fraction| fraction >= LINE_RATE_MIN)
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

    /// What cannot be: more than the link can carry, of payload or of all.
    pub(super) fn failures(&self) -> Vec<String> {
        let beyond = |side: usize, fraction: Option<f64>, most: f64, of: &str| {
            let fraction = fraction.filter(|fraction| *fraction > most)?;
            Some(format!(
                "server {} is said to have sent {fraction:.4} of what {of}: what was measured, or the link's rate, is \
                 wrong",
                side + 1
            ))
        };
        let of_server = |(side, server): (usize, &ServerLink)| {
            let payload = beyond(side, server.goodput_fraction, 1.0, "TCP can carry on its link");
            payload.or_else(|| beyond(side, server.raw_fraction, RAW_MOST, "its link lets through"))
        };
        self.servers.iter().enumerate().filter_map(of_server).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{LinkRate, Shape};
    use crate::result::tests::measured;

    const BURST: f64 = 131_322.0;

    fn of(medium: &Medium, seconds: f64) -> LinkResult {
        let mut measured = measured();
        measured.plan.link.rate = LinkRate::Rate(1_000_000_000);
        result(&measured.plan, medium, &measured.play, seconds)
    }

    #[test]
    fn a_fraction_is_what_was_sent_of_what_the_rate_and_the_buckets_let_through() {
        let shaped = Medium::Namespaces(Some(Shape::of(1_000_000_000, 1_500)));
        let link = of(&shaped, 0.2);
        let carried = 941.482e6 / 8.0 * 0.2 + BURST * 1_448.0 / 1_514.0;
        let fraction = link.servers[0].goodput_fraction.unwrap();
        assert!((fraction - 17_040_000.0 / carried).abs() < 1e-5, "{fraction}");
        let let_through = 984_395_318.0 / 8.0 * 0.2 + BURST;
        let raw = link.servers[0].raw_fraction.unwrap();
        assert!((raw - (18_100_000.0 - 24.0 * 12_000.0) / let_through).abs() < 1e-9, "{raw}");
        assert_eq!(link.failures(), Vec::<String>::new());
        assert_eq!(link.fullest().map(|(side, _)| side), Some(1), "the last of equals");
        let program = link.servers[1].program;
        assert_eq!((program.sent, program.received), (17_042_400, 280_000));
    }

    #[test]
    fn rounds_without_a_pause_between_them_have_one_burst_and_small_groups_a_true_fraction() {
        // Twenty rounds of ten members at 1 Mbit/s: the bucket holds more than three rounds' cells.
        let (shape, rounds) = (Shape::of(1_000_000, 1_500), 20);
        let egress = f64::from(rounds * 10 * 10 * 340);
        let goodput = goodput_bits_per_s(1_000_000, 1_500) / 8.0;
        let burst = shape.burst_payload_bytes(1_500);
        let seconds = (egress - burst) / goodput;
        let mut measured = measured();
        measured.plan.link.rate = LinkRate::Rate(1_000_000);
        measured.plan.rounds = rounds;
        let fraction = |measured: &crate::result::Measured, pause: f64| {
            let mut play = measured.play.clone();
            play.hosts.iter_mut().for_each(|host| host.seconds = seconds + pause);
            play.servers[0].egress_bytes = egress as u64;
            let link = result(&measured.plan, &Medium::Namespaces(Some(shape)), &play, seconds);
            link.servers[0].goodput_fraction.unwrap()
        };
        let full = fraction(&measured, 0.0);
        assert!((full - 1.0).abs() < 1e-9, "the wire was never idle: {full}");
        let paused = fraction(&measured, 1.0);
        assert!(
            (paused - egress / (egress + goodput)).abs() < 1e-9,
            "one second filled the bucket so far: {paused}"
        );
        let far_apart = fraction(&measured, 1_000.0);
        assert!(
            (far_apart - egress / (egress + 19.0 * burst)).abs() < 1e-9,
            "no bucket is fuller than full: {far_apart}"
        );
    }

    #[test]
    fn more_on_the_wire_than_the_bucket_lets_through_is_an_error_of_measuring() {
        let shape = Shape::of(1_000_000_000, 1_500);
        let mut measured = measured();
        measured.plan.link.rate = LinkRate::Rate(1_000_000_000);
        let wire = measured.play.wire.as_mut().unwrap();
        wire.servers[1].wire_bytes = 30_000_000;
        let link = result(&measured.plan, &Medium::Namespaces(Some(shape)), &measured.play, 0.2);
        let failures = link.failures();
        assert!(
            failures.len() == 1 && failures[0].contains("server 2 is said to have sent 1.2"),
            "{failures:?}"
        );
        assert!(failures[0].contains("its link lets through"), "{failures:?}");
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
