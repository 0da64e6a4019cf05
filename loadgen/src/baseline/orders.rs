//! What the coordinator says to a baseline's processes, and what they say: JSON lines on their standard streams.

use super::Baseline;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use twincast_baselines::pki::Trials;
use twincast_baselines::{Play, RelayReport, Setup};

/// What the coordinator tells a baseline's server. End of input means: stop at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BaselineServerOrder {
    /// First: listen. Answered by [`BaselineServerNews::Ready`] or [`BaselineServerNews::Missing`].
    Start {
        /// Which baseline.
        kind: Baseline,
        /// The group.
        setup: Setup,
        /// Where; on a free port if that is 0.
        listen: SocketAddr,
    },
    /// Tell the counters. Answered by [`BaselineServerNews::Report`].
    Report,
    /// Exit.
    Stop,
}

/// What a baseline's server tells the coordinator.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BaselineServerNews {
    /// It listens.
    Ready {
        /// For hosts.
        address: SocketAddr,
    },
    /// What it needs is not installed on its machine.
    Missing {
        /// What that is, and how to install it.
        remedy: String,
    },
    /// The counters.
    Report(ServerFigures),
    /// It cannot go on, and why, in one sentence.
    Failed(String),
}

/// What a baseline's server counted since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerFigures {
    /// CPU seconds of the serving process.
    pub cpu_seconds: f64,
    /// What the server counts itself; none for the broker.
    pub relay: Option<RelayReport>,
}

/// What the coordinator tells a baseline's host. End of input means: stop at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BaselineHostOrder {
    /// First: connect, and dial or subscribe for every user. Answered by [`BaselineHostNews::Connected`].
    Start {
        /// Which baseline.
        kind: Baseline,
        /// The group.
        setup: Setup,
        /// Which host this is.
        host: u32,
        /// Where the servers listen.
        servers: Vec<SocketAddr>,
        /// Trial decryptions at the most, for the PKI broadcast.
        trials_max: u64,
        /// When, in nanoseconds since 1970 by the host's clock: all hosts begin at one instant. At once if it has
        /// passed.
        start_ns: u64,
    },
    /// Play so many rounds. Answered by [`BaselineHostNews::Progress`] and then [`BaselineHostNews::Played`].
    Play {
        /// How many.
        rounds: u32,
        /// When, as in [`Start`](Self::Start).
        start_ns: u64,
    },
    /// Try to open what came in the last round, in the PKI broadcast. Answered by [`BaselineHostNews::Opened`].
    Open,
    /// Exit.
    Stop,
}

/// What a baseline's host tells the coordinator.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BaselineHostNews {
    /// The process is there, and waits for orders.
    Up,
    /// All users of all hosts are attached, as far as this host can tell.
    Connected {
        /// Since the instant at which all hosts began.
        dial_seconds: f64,
    },
    /// So many rounds of those that were ordered have wholly come in.
    Progress {
        /// How many.
        rounds: u32,
    },
    /// All of them have.
    Played(HostPlay),
    /// What was tried is opened, or rightly not.
    Opened(Trials),
    /// It cannot go on, and why, in one sentence.
    Failed(String),
}

/// What a baseline's host saw of some rounds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostPlay {
    /// What came.
    pub play: Play,
    /// CPU seconds of the process.
    pub cpu_seconds: f64,
}
