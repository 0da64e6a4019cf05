//! What a link's rate means for the token bucket that holds it, and for TCP.

/// Bytes of every packet on the wire beside the IP packet: preamble, header, checksum and gap of Ethernet.
pub const ETHERNET_BYTES: u32 = 38;
/// Bytes of them that the kernel counts: the header.
const HEADER_BYTES: u32 = 14;
/// Headers of IPv4 and TCP with its timestamps.
const TCP_BYTES: u32 = 52;
/// Least that the bucket holds: two of the largest batches of segments that TCP hands down at once.
const BURST_BYTES_MIN: u64 = 128 << 10;
/// Least that a queue holds.
const QUEUE_BYTES_MIN: u64 = 16 << 20;

/// A token bucket filter (`tbf`), as it is set at both ends of a link.
///
/// The kernel counts 24 bytes a packet less than Ethernet sends, so the bucket fills at
/// `rate x (MTU + 14) / (MTU + 38)`: exact for packets of the full size, while smaller ones pass a little too fast.
///
/// The queue before the bucket holds 16 MiB, or 10 ms of the rate if that is more. That takes a round's submissions of
/// five hosts to one server, and what two servers send to one host at once, without a loss; in turn a packet may wait
/// there for as long as 16 MiB take (134 ms at 1 Gbit/s, 13 ms at 10 Gbit/s), longer than in the shallow buffers of many
/// a switch. What it lost all the same is counted ([`super::WireCounts`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The link's rate, bits per second of the wire.
    pub rate_bits_per_s: u64,
    /// Rate of the bucket, bits per second of what the kernel counts.
    pub tbf_rate_bits_per_s: u64,
    /// Bytes that the bucket holds: what passes at once after a pause.
    pub tbf_burst_bytes: u64,
    /// Bytes that the queue before it holds.
    pub tbf_queue_bytes: u64,
}

impl Shape {
    /// What a link of this rate takes.
    #[must_use]
    pub fn of(rate_bits_per_s: u64, mtu: u32) -> Shape {
        let counted = |bytes: u32| u128::from(mtu + bytes);
        let tbf = u128::from(rate_bits_per_s) * counted(HEADER_BYTES) / counted(ETHERNET_BYTES);
        let tbf_rate_bits_per_s = tbf as u64;
        Shape {
            rate_bits_per_s,
            tbf_rate_bits_per_s,
            // The kernel keeps a burst as whole microseconds of the rate, rounded down; two more make up for it.
            tbf_burst_bytes: (rate_bits_per_s / 8 / 1_000).max(BURST_BYTES_MIN)
                + rate_bits_per_s / 8 / 500_000,
            tbf_queue_bytes: (rate_bits_per_s / 8 / 100).max(QUEUE_BYTES_MIN),
        }
    }

    /// As `tc` takes it.
    pub(super) fn arguments(&self) -> String {
        let Shape { tbf_rate_bits_per_s, tbf_burst_bytes, tbf_queue_bytes, .. } = self;
        format!("tbf rate {tbf_rate_bits_per_s}bit burst {tbf_burst_bytes} limit {tbf_queue_bytes}")
    }

    /// Payload bytes of TCP that a full bucket lets through.
    #[must_use]
    pub fn burst_payload_bytes(&self, mtu: u32) -> f64 {
        self.tbf_burst_bytes as f64 * f64::from(mtu.saturating_sub(TCP_BYTES)) / f64::from(mtu + HEADER_BYTES)
    }
}

/// Payload bits per second that TCP with timestamps can carry over IPv4 on a link of this rate:
/// `rate x (MTU - 52) / (MTU + 38)`.
#[must_use]
pub fn goodput_bits_per_s(rate_bits_per_s: u64, mtu: u32) -> f64 {
    rate_bits_per_s as f64 * f64::from(mtu.saturating_sub(TCP_BYTES)) / f64::from(mtu + ETHERNET_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_makes_up_for_what_the_kernel_does_not_count() {
        let shape = Shape::of(1_000_000_000, 1_500);
        assert_eq!(shape.tbf_rate_bits_per_s, 984_395_318);
        assert_eq!((shape.tbf_burst_bytes, shape.tbf_queue_bytes), (131_322, 16 << 20));
        assert_eq!(shape.arguments(), "tbf rate 984395318bit burst 131322 limit 16777216");
        let fast = Shape::of(10_000_000_000, 9_000);
        assert_eq!((fast.tbf_rate_bits_per_s, fast.tbf_burst_bytes), (9_973_445_452, 1_252_500));
        assert_eq!(Shape::of(400_000_000_000, 1_500).tbf_queue_bytes, 500_000_000);
    }

    #[test]
    fn tcp_carries_what_its_headers_leave() {
        assert!((goodput_bits_per_s(1_000_000_000, 1_500) / 1e9 - 0.9415).abs() < 1e-4);
        assert!((goodput_bits_per_s(1_000_000_000, 9_000) / 1e9 - 0.9900).abs() < 1e-4);
        let burst = Shape::of(1_000_000_000, 1_500).burst_payload_bytes(1_500);
        assert!((burst - 131_322.0 * 1_448.0 / 1_514.0).abs() < 1e-6);
    }
}
