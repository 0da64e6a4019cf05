//! What the token buckets of links have counted: every packet on its way, segments one by one.
//!
//! An interface counts a batch of segments that the kernel hands down at once as one packet with one header, and so
//! counts less than is sent. The bucket counts each segment and its headers.

use super::ETHERNET_BYTES;
use super::tools::Tool;
use serde_json::Value;
use std::io;

/// Bytes of Ethernet that a bucket does not count in each packet.
const UNCOUNTED_BYTES: u64 = ETHERNET_BYTES as u64 - 14;

/// Reads the counters of a set of links.
#[derive(Clone, Debug)]
pub struct Meter {
    pub(super) switch: String,
    pub(super) servers: [String; 2],
    pub(super) interface: &'static str,
}

/// What links have carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WireCounts {
    /// What S1 and S2 sent.
    pub servers: [Sent; 2],
    /// Packets that a queue had no room for: of the servers, and of the switch on their way to anybody.
    pub dropped: u64,
}

/// Packets of one end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Bytes on the wire, all of Ethernet's included.
    pub wire_bytes: u64,
    /// How many.
    pub packets: u64,
}

impl Sent {
    /// What the bucket counts of them, and holds to its rate.
    #[must_use]
    pub fn bucket_bytes(&self) -> u64 {
        self.wire_bytes.saturating_sub(UNCOUNTED_BYTES * self.packets)
    }
}

impl Meter {
    /// Now.
    ///
    /// # Errors
    /// The links are gone, or `tc` is.
    pub fn read(&self) -> io::Result<WireCounts> {
        let mut counts = WireCounts::default();
        for (namespace, sent) in self.servers.iter().zip(&mut counts.servers) {
            let buckets = buckets(namespace, Some(self.interface))?;
            *sent = sent_by(&buckets);
            counts.dropped += dropped(&buckets);
        }
        counts.dropped += dropped(&buckets(&self.switch, None)?);
        Ok(counts)
    }

    /// Rate (bits per second) and burst (bytes) that the kernel has set.
    ///
    /// # Errors
    /// As [`Meter::read`].
    pub(super) fn as_set(&self) -> io::Result<(u64, u64)> {
        let buckets = buckets(&self.servers[0], Some(self.interface))?;
        let option = |name: &str| buckets.first()?.get("options")?.get(name)?.as_u64();
        let set = option("rate").zip(option("burst"));
        let (bytes_per_s, burst) =
            set.ok_or_else(|| io::Error::other("`tc` does not say what it has set"))?;
        Ok((bytes_per_s * 8, burst))
    }
}

impl WireCounts {
    /// What was counted since then.
    #[must_use]
    pub fn since(self, before: WireCounts) -> WireCounts {
        let grown = |side: usize| Sent {
            wire_bytes: self.servers[side].wire_bytes.saturating_sub(before.servers[side].wire_bytes),
            packets: self.servers[side].packets.saturating_sub(before.servers[side].packets),
        };
        WireCounts { servers: [grown(0), grown(1)], dropped: self.dropped.saturating_sub(before.dropped) }
    }
}

/// The token buckets of a namespace, or of one interface of it, as `tc` tells them.
fn buckets(namespace: &str, interface: Option<&str>) -> io::Result<Vec<Value>> {
    let mut arguments = vec!["-s", "-j", "qdisc", "show"];
    arguments.extend(interface.iter().flat_map(|interface| ["dev", *interface]));
    let said = Tool { name: "tc", namespace: Some(namespace) }.ask(&arguments)?;
    let mut rows: Vec<Value> = serde_json::from_slice(&said)?;
    rows.retain(|row| row["kind"] == "tbf");
    Ok(rows)
}

fn sum(buckets: &[Value], field: &str) -> u64 {
    buckets.iter().filter_map(|bucket| bucket[field].as_u64()).sum()
}

fn sent_by(buckets: &[Value]) -> Sent {
    let packets = sum(buckets, "packets");
    Sent { wire_bytes: sum(buckets, "bytes") + UNCOUNTED_BYTES * packets, packets }
}

fn dropped(buckets: &[Value]) -> u64 {
    sum(buckets, "drops")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_has_24_bytes_more_than_the_bucket_counts_in_each_packet() {
        let buckets = [serde_json::json!({"kind": "tbf", "bytes": 15_140, "packets": 10, "drops": 3})];
        assert_eq!(sent_by(&buckets), Sent { wire_bytes: 15_380, packets: 10 });
        assert_eq!((dropped(&buckets), sent_by(&buckets).bucket_bytes()), (3, 15_140));
        let early = WireCounts { servers: [sent_by(&buckets); 2], dropped: 1 };
        let late =
            WireCounts { servers: [Sent { wire_bytes: 20_000, packets: 12 }, Sent::default()], dropped: 4 };
        let grown = late.since(early);
        assert_eq!(grown.servers, [Sent { wire_bytes: 4_620, packets: 2 }, Sent::default()]);
        assert_eq!(grown.dropped, 3);
    }
}
