//! What a client host tells after rounds.

use serde::{Deserialize, Serialize};

/// What a client host saw of some rounds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Play {
    /// Seconds of each round, from the host's first submitted byte to its last delivered.
    pub round_seconds: Vec<f64>,
    /// Shares, ciphertexts or messages that came to this host's users, from all servers.
    pub deliveries: u64,
    /// Bytes that came from each server.
    pub bytes_in: Vec<u64>,
    /// Microseconds from the host's first submitted byte of a round until a sender's own share had come back from all
    /// servers: round by round, the host's senders ascending. Empty for a baseline in which nobody is sent his own.
    #[serde(default)]
    pub own_share_us: Vec<u64>,
}
