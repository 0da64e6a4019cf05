//! What coordinator, hosts and servers tell each other: one JSON object a line, over the standard streams of a child
//! process (and, once there are agents, over their connection).

mod evidence;

pub(crate) use evidence::{ACCUSED, accused};
pub use evidence::{Evidence, EvidencePiece};

use crate::keys::{HostKeys, ServerKeys};
use crate::plan::Plan;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::ops::Add;

/// What the coordinator tells a host. End of input means: stop at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[allow(clippy::large_enum_variant, reason = "a few in a run")]
pub enum HostOrder {
    /// First: connect, attach, dial and confirm. Answered by [`HostNews::Dialled`].
    Start {
        /// The run.
        plan: Plan,
        /// Which host this is, `0..plan.hosts`.
        host: u32,
        /// S1 and S2.
        servers: [SocketAddr; 2],
        /// What its users prove, sign and seal with, and what the servers are known by; none in a plain run of whoever
        /// comes.
        keys: Option<HostKeys>,
        /// The instant at which it begins to connect and dial, in nanoseconds since 1970 by this host's clock; none: at
        /// once.
        start_ns: Option<u64>,
    },
    /// Play so many rounds. Answered by [`HostNews::Progress`] a round and one [`HostNews::Played`].
    Play {
        /// Rounds to play from here.
        rounds: u32,
        /// The instant at which the first is planned, in nanoseconds since 1970 by this host's clock; none: at once.
        start_ns: Option<u64>,
    },
    /// Take connections and drop what comes over them: the reader of the roof. Answered by
    /// [`HostNews::RoofListening`].
    RoofListen {
        /// Where.
        address: IpAddr,
    },
    /// Close everything. Answered by [`HostNews::Stopped`], then the host exits.
    Stop,
}

/// What a host tells the coordinator.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[allow(clippy::large_enum_variant, reason = "one a second at the most")]
pub enum HostNews {
    /// Every user is attached, dialled and confirmed at both servers, and the epoch is open.
    Dialled(DialReport),
    /// A round was closed by all users of this host.
    Progress {
        /// Rounds closed since the order.
        rounds: u32,
    },
    /// What happened in about a second of playing.
    Second(HostSecond),
    /// The ordered rounds are played.
    Played(PlayReport),
    /// The roof's reader listens here.
    RoofListening(SocketAddr),
    /// The process lives, said every second from a thread of its own: a busy host says it, too, a stopped one does not.
    Alive,
    /// The host is done.
    Stopped,
    /// The run cannot go on, and why, in one sentence.
    Failed(String),
}

/// What dialling took on one host.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DialReport {
    /// From the first connect to the epoch's opening.
    pub seconds: f64,
    /// Bytes received from both servers.
    pub bytes_in: u64,
    /// Bytes sent to both servers.
    pub bytes_out: u64,
    /// Confirmation cells opened.
    pub confirm_cells: u64,
    /// Confirmations that were missing or did not decode.
    pub confirm_failed: u64,
    /// How long the ordered instant had passed when the host was ready to connect; 0 if it was in time.
    pub late_seconds: f64,
}

/// Bytes between all clients of a host and each server, frame headers included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// To S1 and to S2.
    pub up: [u64; 2],
    /// From S1 and from S2.
    pub down: [u64; 2],
}

impl Add for Flow {
    type Output = Flow;

    fn add(self, other: Flow) -> Flow {
        let sum = |of: [u64; 2], and: [u64; 2]| [of[0] + and[0], of[1] + and[1]];
        Flow { up: sum(self.up, other.up), down: sum(self.down, other.down) }
    }
}

impl Flow {
    /// What it grew by since an earlier reading.
    #[must_use]
    pub fn since(self, earlier: Flow) -> Flow {
        let less = |of: [u64; 2], by: [u64; 2]| [of[0].saturating_sub(by[0]), of[1].saturating_sub(by[1])];
        Flow { up: less(self.up, earlier.up), down: less(self.down, earlier.down) }
    }

    /// Times so many.
    #[must_use]
    pub fn times(self, many: u64) -> Flow {
        Flow { up: self.up.map(|bytes| bytes * many), down: self.down.map(|bytes| bytes * many) }
    }

    /// To both servers.
    #[must_use]
    pub fn up_all(&self) -> u64 {
        self.up.iter().sum()
    }

    /// From both servers.
    #[must_use]
    pub fn down_all(&self) -> u64 {
        self.down.iter().sum()
    }
}

/// One part of what an epoch costs before its first round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// The bytes of its frames.
    pub bytes: Flow,
    /// From its first byte sent to its last byte received.
    pub seconds: f64,
}

impl Phase {
    /// With another host's, which went on at the same time.
    fn with(self, other: Phase) -> Phase {
        Phase { bytes: self.bytes + other.bytes, seconds: self.seconds.max(other.seconds) }
    }
}

/// What an epoch took, from its announcement to its opening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochReport {
    /// Which.
    pub epoch: u32,
    /// Whether all connections have it open.
    pub open: bool,
    /// Who its members are, and that it opens.
    pub members: Flow,
    /// What the servers ask for of confirmations and keys.
    pub grants: Flow,
    /// Session keys.
    pub dial: Phase,
    /// Bit confirmations.
    pub confirm: Phase,
    /// Keys and their replies.
    pub keys: Phase,
    /// Confirmation cells opened.
    pub confirm_cells: u64,
    /// Confirmations that were missing or did not decode.
    pub confirm_failed: u64,
    /// Pairs of members who have a key now; each of the two counts.
    pub key_pairs: u64,
    /// Keys that were missing or did not decode.
    pub keys_failed: u64,
}

impl EpochReport {
    /// With another host's of the same epoch.
    #[must_use]
    pub fn with(self, other: &EpochReport) -> EpochReport {
        EpochReport {
            epoch: self.epoch,
            open: self.open && other.open,
            members: self.members + other.members,
            grants: self.grants + other.grants,
            dial: self.dial.with(other.dial),
            confirm: self.confirm.with(other.confirm),
            keys: self.keys.with(other.keys),
            confirm_cells: self.confirm_cells + other.confirm_cells,
            confirm_failed: self.confirm_failed + other.confirm_failed,
            key_pairs: self.key_pairs + other.key_pairs,
            keys_failed: self.keys_failed + other.keys_failed,
        }
    }
}

/// Messages, counted as (message, recipient) pairs, and cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Pairs that the senders on this host addressed.
    pub messages_sent: u64,
    /// Pairs that arrived where and as they should.
    pub accepted: u64,
    /// Cells that were somebody else's dummies, as they should.
    pub ignored: u64,
    /// Pairs expected by the users of this host that did not arrive.
    pub lost: u64,
    /// Messages accepted by somebody who is no recipient, but is some other message of this round.
    pub misdelivered: u64,
    /// Messages accepted by their recipient with other bytes.
    pub altered: u64,
    /// Messages accepted that nobody sent.
    pub extra: u64,
    /// Cells with that verdict.
    pub tampered: u64,
    /// Cells with that verdict.
    pub incomplete: u64,
    /// Cells with that verdict.
    pub absent: u64,
    /// Cells decoded and verified (a pair of shares each).
    pub shares_verified: u64,
    /// Cells that were counted only.
    pub shares_counted: u64,
    /// Rounds that a server left out.
    pub rounds_skipped: u64,
}

impl Totals {
    /// Adds another host's.
    pub fn add(&mut self, other: &Totals) {
        let Totals {
            messages_sent,
            accepted,
            ignored,
            lost,
            misdelivered,
            altered,
            extra,
            tampered,
            incomplete,
            absent,
            shares_verified,
            shares_counted,
            rounds_skipped,
        } = other;
        self.messages_sent += messages_sent;
        self.accepted += accepted;
        self.ignored += ignored;
        self.lost += lost;
        self.misdelivered += misdelivered;
        self.altered += altered;
        self.extra += extra;
        self.tampered += tampered;
        self.incomplete += incomplete;
        self.absent += absent;
        self.shares_verified += shares_verified;
        self.shares_counted += shares_counted;
        self.rounds_skipped = self.rounds_skipped.max(*rounds_skipped);
    }
}

/// What one host saw of the rounds that it was ordered to play.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PlayReport {
    /// For each round in order: seconds from the host's planned instant (lockstep: its first SUBMIT byte; open loop: the
    /// schedule's) to its last verdict.
    pub round_seconds: Vec<f64>,
    /// From the first round's planned instant to the last verdict of the last.
    pub seconds: f64,
    /// Counts.
    pub totals: Totals,
    /// Bytes received from S1 and from S2.
    pub bytes_in: [u64; 2],
    /// Bytes sent to S1 and to S2.
    pub bytes_out: [u64; 2],
    /// HELLO and WELCOME of all connections, since the host's start.
    pub attach: Flow,
    /// Submissions, deliveries and ends of rounds.
    pub messages: Flow,
    /// Requests for headers, and headers, since the host's start.
    pub headers: Flow,
    /// Errors, and what belongs to nothing else, since the host's start.
    pub other: Flow,
    /// Every epoch since the host's start.
    pub epochs: Vec<EpochReport>,
    /// HdrHistogram V2, base64: nanoseconds from the planned instant (in lockstep: the moment at which the sender's shares
    /// are begun) to the decoding of the sender's own cell; in answer delivery to the verdict on its first answer.
    pub message_latency_ns: String,
    /// HdrHistogram V2, base64: nanoseconds from the recipient host's planned instant of the round to Accept.
    pub delivery_latency_ns: String,
    /// HdrHistogram V2, base64: nanoseconds to make one member's shares of a round, or its record.
    pub generate_ns: String,
    /// HdrHistogram V2, base64: nanoseconds from a connection's last SUBMIT byte to its first cell; in answer delivery
    /// to the last answer of both servers.
    pub round_trip_ns: String,
    /// HdrHistogram V2, base64: nanoseconds to decode one user's cells of one tile; in answer delivery to verify one
    /// answer, as those of a connection are verified together.
    pub reconstruct_ns: String,
    /// CPU seconds of this process during the rounds.
    pub cpu_seconds: f64,
    /// The process's largest resident set so far.
    pub peak_rss_bytes: u64,
    /// The first few things that went wrong, in words.
    pub complaints: Vec<String>,
    /// Connection pairs that the plan's fault broke, and what their clients said, since the host's start. Their users count
    /// as long as they closed rounds.
    pub broken: Vec<String>,
    /// Evidence that its users got since the host's start.
    pub evidence: Evidence,
    /// Summed over the connections, from TCP_INFO of the host's sockets.
    pub retransmits: u64,
    /// Rounds that any connection began a whole interval or more after their planned instant (open loop).
    pub missed_slots: u64,
    /// How long the ordered instant had passed when the host was ready to play; 0 if it was in time.
    pub late_seconds: f64,
    /// What passed the host's interface during the rounds.
    pub interface: InterfaceBytes,
}

/// What a host did in a part of its rounds, about a second long; no part is left out, and none counted twice. The last
/// one, before [`HostNews::Played`], is what was left.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostSecond {
    /// The part's end, in seconds since the instant at which the rounds began: in open loop the first one's planned
    /// instant.
    pub at_s: f64,
    /// Its length.
    pub seconds: f64,
    /// Rounds that this host closed in it.
    pub rounds: u32,
    /// Rounds that a connection began a whole interval or more late in it, each counted once.
    pub missed_slots: u64,
    /// Received from S1 and from S2 in it.
    pub bytes_in: [u64; 2],
    /// Sent to S1 and to S2 in it.
    pub bytes_out: [u64; 2],
    /// Of the process, in it.
    pub cpu_seconds: f64,
    /// HdrHistogram V2, base64: as [`PlayReport::message_latency_ns`], of this part.
    pub message_latency_ns: String,
    /// HdrHistogram V2, base64: as [`PlayReport::delivery_latency_ns`], of this part.
    pub delivery_latency_ns: String,
}

/// Bytes that passed an interface, headers of Ethernet included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterfaceBytes {
    /// Sent.
    pub sent: u64,
    /// Received.
    pub received: u64,
}

impl InterfaceBytes {
    /// What was added since then.
    #[must_use]
    pub fn since(self, before: InterfaceBytes) -> InterfaceBytes {
        InterfaceBytes {
            sent: self.sent.saturating_sub(before.sent),
            received: self.received.saturating_sub(before.received),
        }
    }
}

/// What the coordinator tells a server process. End of input means: stop at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ServerOrder {
    /// First: start with this configuration (TOML). Answered by [`ServerNews::Ready`].
    Start {
        /// As a file for `twincast-server --config` would say it.
        config: String,
        /// What it signs and verifies with, in answer delivery.
        keys: Option<ServerKeys>,
    },
    /// Say how things stand. Answered by [`ServerNews::Report`].
    Report,
    /// Stop gracefully. Answered by [`ServerNews::Stopped`], then the process exits.
    Stop,
}

/// What a server process tells the coordinator.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ServerNews {
    /// It listens.
    Ready {
        /// Where clients connect.
        address: SocketAddr,
        /// Where S1 connects, if this is a linked S2.
        link: Option<SocketAddr>,
    },
    /// Counters since the start.
    Report(ServerReport),
    /// The same, unasked, every second.
    Second(ServerReport),
    /// It has stopped.
    Stopped,
    /// It cannot go on, and why, in one sentence.
    Failed(String),
}

/// A server's counters since its start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerReport {
    /// Seconds from the server's start to this reading, by its own clock.
    pub at_s: f64,
    /// Bytes that the kernel took for clients.
    pub egress_bytes: u64,
    /// Message cells, or answers, among them.
    pub egress_shares: u64,
    /// Bytes that it sent to the other server.
    pub link_bytes: u64,
    /// CPU seconds of the process.
    pub cpu_seconds: f64,
    /// Largest resident set.
    pub peak_rss_bytes: u64,
    /// Zero-copy sends.
    pub zero_copy_sends: u64,
    /// Those of them that the kernel copied after all.
    pub zero_copy_copied: u64,
    /// Connections closed because they did not read.
    pub slow_readers_closed: u64,
    /// Time that the connections had data to send, summed, from TCP_INFO.
    pub tcp_busy_us: u64,
    /// Part of it in which the peer's window was closed.
    pub tcp_rwnd_limited_us: u64,
    /// Part of it in which the send buffer was too small.
    pub tcp_sndbuf_limited_us: u64,
    /// Segments sent again.
    pub tcp_retransmits: u64,
    /// Bytes that clients have acknowledged. They have passed the link, while [`ServerReport::egress_bytes`] may still be
    /// on their way to it.
    pub tcp_bytes_acked: u64,
    /// What passed the server's interface, since the interface is there.
    pub interface: InterfaceBytes,
}
