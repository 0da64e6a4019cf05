//! What a run cost, and the network time that follows from it.

use serde::{Deserialize, Serialize};

use super::network::PARTIES;
use super::session::Session;

/// The cost of one run: what was measured and counted, without any network time.
///
/// Rounds, comparisons and bytes between servers vary a little from run to run, since the depth of quicksort
/// is random; they do not depend on who talks to whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Users, n.
    pub users: u64,
    /// Bytes of each user's message; 0 for dialling.
    pub message_bytes: u64,
    /// Measured: CPU seconds of each party's own computation. Each party runs on one thread, and only its own
    /// steps are on its account. Sharing and combining at the users is on nobody's.
    pub local_seconds_by_party: [f64; PARTIES],
    /// Counted: rounds of communication between the servers. Messages of a round all go at once.
    pub rounds: u64,
    /// Counted: payload bytes that each party sent to the other two, without framing.
    pub bytes_by_party: [u64; PARTIES],
    /// Counted: the same bytes as `[from][to]`.
    pub bytes_between: [[u64; PARTIES]; PARTIES],
    /// Counted: payload bytes from all users to all three parties.
    pub client_bytes_in: u64,
    /// Counted: payload bytes from all three parties to all users.
    pub client_bytes_out: u64,
    /// Counted: comparisons in the two sorts, each of which opened one bit.
    pub comparisons: u64,
    /// Counted: levels of the two sorts.
    pub sort_levels: u64,
}

impl Cost {
    /// Modelled: seconds on the network between the servers, from the one-way latency in seconds and the rate
    /// in bits per second of each party's way out.
    ///
    /// `rounds * latency_s + max over parties of 8 * bytes / bits_per_s`: every round waits for one latency,
    /// and the busiest party sends without a pause. The users' links are not in it.
    pub fn network_seconds(&self, latency_s: f64, bits_per_s: f64) -> f64 {
        let bytes = self.bytes_by_party.iter().max().copied().unwrap_or(0);
        self.rounds as f64 * latency_s + 8.0 * bytes as f64 / bits_per_s
    }

    /// Measured and modelled together: the slowest party's computation and [`Cost::network_seconds`], one
    /// after the other.
    pub fn total_seconds(&self, latency_s: f64, bits_per_s: f64) -> f64 {
        self.local_seconds() + self.network_seconds(latency_s, bits_per_s)
    }

    /// Measured: the slowest party's computation in seconds. The three compute at the same time in a real
    /// deployment.
    pub fn local_seconds(&self) -> f64 {
        self.local_seconds_by_party.iter().copied().fold(0.0, f64::max)
    }

    pub(super) fn of(session: &Session, users: usize, message_bytes: usize) -> Cost {
        let bytes_between = session.network.bytes();
        let (client_bytes_in, client_bytes_out) = session.network.client_bytes();
        Cost {
            users: users as u64,
            message_bytes: message_bytes as u64,
            local_seconds_by_party: session.cpu_seconds(),
            rounds: session.network.rounds(),
            bytes_by_party: bytes_between.map(|to| to.iter().sum()),
            bytes_between,
            client_bytes_in,
            client_bytes_out,
            comparisons: session.comparisons,
            sort_levels: session.sort_levels,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_time_is_latency_and_the_busiest_party() {
        let cost = Cost {
            users: 1,
            message_bytes: 8,
            local_seconds_by_party: [0.25, 0.5, 0.125],
            rounds: 100,
            bytes_by_party: [1000, 125_000, 0],
            bytes_between: [[0, 1000, 0], [125_000, 0, 0], [0; 3]],
            client_bytes_in: 1 << 40,
            client_bytes_out: 1 << 40,
            comparisons: 0,
            sort_levels: 0,
        };
        assert!((cost.network_seconds(1e-3, 1e9) - 0.101).abs() < 1e-12);
        assert!((cost.total_seconds(1e-3, 1e9) - 0.601).abs() < 1e-12);
    }
}
