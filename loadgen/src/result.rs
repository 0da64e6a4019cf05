//! The result of a run, schema `twincast-result/1`: what `--json` writes and what the report prints.
//!
//! `RESULT.md` beside the crate's manifest tells every field with its unit; a test holds the two together.

mod answer;
mod checks;
mod costs;
mod faults;
mod guard;
mod limited_by;
mod line_rate;
mod link;
mod load;

use crate::check::MachineCheck;
use crate::control::{DialReport, EpochReport, Flow, PlayReport, ServerReport, Totals};
use crate::coordinator::stage::Play;
use crate::cost::{PartitionsCost, partitions};
use crate::environment::Environment;
use crate::latency::{Percentiles, merge, nearest_rank};
use crate::net::Medium;
use crate::plan::Plan;
use crate::roof::Roof;
pub use answer::AnswerResult;
pub(crate) use guard::of_all as evidence_of_all;
pub use guard::{EvidenceVerdict, GuardResult};
use limited_by::Load;
pub use link::{HostLink, LinkResult, ServerLink};
pub use load::LoadResult;
use serde::{Deserialize, Serialize};

/// The schema's name and version.
pub const SCHEMA: &str = "twincast-result/1";

/// What the coordinator collected.
pub(crate) struct Measured {
    pub(crate) plan: Plan,
    /// What joined servers and hosts.
    pub(crate) medium: Medium,
    pub(crate) environment: Environment,
    pub(crate) checks: Vec<MachineCheck>,
    pub(crate) dial: Vec<DialReport>,
    /// What hosts received in the rounds of the warm-up.
    pub(crate) warmup_bytes_in: u64,
    pub(crate) play: Play,
    /// How often the fault was done, if the plan has one that a proxy does.
    pub(crate) faults_done: u64,
    pub(crate) clocks: Vec<ClockResult>,
    pub(crate) roof: Option<Roof>,
    /// Children that did not stop when they were told to.
    pub(crate) bad_to_stop: Vec<String>,
}

/// A run, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunResult {
    /// [`SCHEMA`].
    pub schema: String,
    /// What was asked for.
    pub plan: Plan,
    /// Where.
    pub environment: Environment,
    /// What was found on each machine before the rounds; of results that are older than that, nothing.
    #[serde(default)]
    pub checks: Vec<MachineCheck>,
    /// How messages became shares.
    pub format: Format,
    /// Messages and cells of the measured rounds.
    pub totals: Totals,
    /// Dialling, before the rounds.
    pub dial: Dial,
    /// What each epoch took before its first round.
    pub epochs: Vec<EpochReport>,
    /// The paper's own key exchange beside it, if the plan asks for it.
    pub partitions: Option<PartitionsCost>,
    /// What one message cost.
    pub cost: Cost,
    /// The cost model's bytes beside those measured.
    pub bytes: Vec<Bytes>,
    /// What answers took beside what they are, in answer delivery.
    pub answer: Option<AnswerResult>,
    /// What was done to the run, and what that had to cause.
    pub fault: Option<FaultResult>,
    /// What guarding the run cost, and what it showed; of results that are older than that, nothing.
    #[serde(default)]
    pub guard: GuardResult,
    /// How the rounds were planned, and how that was kept.
    pub load: LoadResult,
    /// Seconds of a round on its slowest host.
    pub round_seconds: RoundSeconds,
    /// Seconds with a round in flight.
    pub delivering_seconds: f64,
    /// Seconds from the coordinator's order to the last host's report.
    pub wall_seconds: f64,
    /// From a sender's planned instant of a round (lockstep: when its shares are begun) to the decoding of its own cell,
    /// microseconds.
    pub message_latency_us: Percentiles,
    /// From a host's planned instant of a round to a message's acceptance there, microseconds.
    pub delivery_latency_us: Percentiles,
    /// The parts of a round.
    pub stages_us: Stages,
    /// S1 and S2.
    pub servers: Vec<ServerResult>,
    /// Host by host.
    pub hosts: Vec<HostResult>,
    /// The clocks of servers and hosts on other machines. No latency depends on them.
    pub clocks: Vec<ClockResult>,
    /// Bytes that the interfaces of all servers and hosts sent while the rounds were played; on loopback, everybody's. None
    /// on other machines, where several processes may share one.
    pub interface_bytes: Option<u64>,
    /// The part of all cores' time that was not idle, whoever used it. None on other machines.
    pub machine_busy: Option<f64>,
    /// What plain sends take on the same machine.
    pub roof: Roof,
    /// The links, and what they carried.
    pub link: LinkResult,
    /// What limited the run, in one sentence.
    pub limited_by: String,
    /// What is wrong with the run, a sentence each; empty: every check passed.
    pub failures: Vec<String>,
}

/// How messages became shares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Format {
    /// How shares reach a set of recipients: `plain`, `algorithm4` or `one-to-many`.
    pub scheme: String,
    /// One string.
    pub share_bytes: u64,
    /// What a member gets for each sender and slot, from S1 and from S2.
    pub cell_bytes: [u64; 2],
    /// What a sender gives for each slot to S1 and to S2.
    pub row_bytes: [u64; 2],
}

/// What messages cost in the measured rounds, both servers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Microseconds with a round in flight, for each sender and slot of a round.
    pub message_us: Option<f64>,
    /// To both servers.
    pub message_bytes_in: Option<f64>,
    /// From both servers to all members.
    pub message_bytes_out: Option<f64>,
    /// The same for each message that a recipient accepted.
    pub delivered_us: Option<f64>,
    /// To both servers.
    pub delivered_bytes_in: Option<f64>,
    /// From both servers.
    pub delivered_bytes_out: Option<f64>,
}

/// One part of a run's bytes, frames and all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bytes {
    /// `attach`, `members`, `dial`, `grants`, `confirm`, `keys` (of the first epoch), `rounds` (the
    /// measured ones), `headers` or `other` (all).
    pub part: String,
    /// What the cost model says; of `grants` the least, of `headers` the most.
    pub model: Flow,
    /// What passed the hosts' sockets.
    pub measured: Flow,
}

/// A fault, and whether it had exactly the effect that it must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultResult {
    /// What was done, in a sentence.
    pub done: String,
    /// To how many connections, frames or cells; 1 where a server does it.
    pub times: u64,
    /// What all users that are left must count.
    pub expected: Totals,
    /// Whether they did.
    pub as_expected: bool,
}

/// Dialling, all hosts together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dial {
    /// From the first connect to the epoch's opening, on the slowest host.
    pub seconds: f64,
    /// Bytes that hosts received.
    pub bytes_in: u64,
    /// Bytes that hosts sent.
    pub bytes_out: u64,
    /// Confirmation cells opened.
    pub confirm_cells: u64,
    /// Confirmations that were missing or did not decode.
    pub confirm_failed: u64,
}

/// Seconds of a round on its slowest host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundSeconds {
    /// Half of all rounds were as quick or quicker.
    pub p50: Option<f64>,
    /// 99 of a hundred.
    pub p99: Option<f64>,
    /// The slowest.
    pub max: Option<f64>,
}

/// The parts of a round, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stages {
    /// Making one member's shares of a round.
    pub generate: Percentiles,
    /// From a connection's last SUBMIT byte to its first cell.
    pub round_trip: Percentiles,
    /// Decoding one user's cells of one tile.
    pub reconstruct: Percentiles,
}

/// One server, while the measured rounds were played.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerResult {
    /// Bytes that its kernel took for clients.
    pub egress_bytes: u64,
    /// Message cells, or answers, among them.
    pub egress_shares: u64,
    /// Egress bits per second with a round in flight.
    pub bits_per_s: f64,
    /// The same over the wall clock.
    pub bits_per_s_wall: f64,
    /// Cells per second with a round in flight.
    pub shares_per_s: f64,
    /// Bytes that it sent to the other server.
    pub link_bytes: u64,
    /// CPU seconds of the process.
    pub cpu_seconds: f64,
    /// Its largest resident set, since its start.
    pub peak_rss_bytes: u64,
    /// Zero-copy sends.
    pub zero_copy: ZeroCopy,
    /// Connections closed because they did not read.
    pub slow_readers_closed: u64,
    /// What TCP says, all connections together.
    pub tcp: Tcp,
}

/// Zero-copy sends of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZeroCopy {
    /// All.
    pub sends: u64,
    /// Those that the kernel copied after all.
    pub copied: u64,
}

/// `TCP_INFO` of a server's connections, summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tcp {
    /// Time with data to send, microseconds.
    pub busy_us: u64,
    /// Of that, with the reader's window closed.
    pub rwnd_limited_us: u64,
    /// Of that, with too small a send buffer.
    pub sndbuf_limited_us: u64,
    /// Segments sent again.
    pub retransmits: u64,
}

/// One host, while the measured rounds were played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostResult {
    /// CPU seconds of the process.
    pub cpu_seconds: f64,
    /// Its largest resident set, since its start.
    pub peak_rss_bytes: u64,
    /// Bytes received from both servers.
    pub bytes_in: u64,
    /// Bytes sent to both servers.
    pub bytes_out: u64,
    /// Segments sent again.
    pub retransmits: u64,
    /// Rounds that it began a whole interval or more late (open loop).
    pub missed_slots: u64,
}

/// Another machine's clock against the coordinator's, read before its process was started there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockResult {
    /// The server or host, and where it is.
    pub name: String,
    /// How far it is ahead, in microseconds: right to half of the round trip.
    pub offset_us: f64,
    /// Of the quickest of the looks at it, in microseconds.
    pub round_trip_us: f64,
}

impl Bytes {
    /// Whether the two are the same to the byte.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.model == self.measured
    }
}

impl RunResult {
    /// Puts the reports together.
    ///
    /// # Errors
    /// A sentence: a host's histogram cannot be read.
    pub(crate) fn of(measured: Measured) -> Result<RunResult, String> {
        let Measured { plan, medium, environment, checks, dial, warmup_bytes_in, .. } = measured;
        let Measured { play, faults_done, clocks, roof, bad_to_stop, .. } = measured;
        let percentiles = |of: fn(&PlayReport) -> &String| {
            merge(play.hosts.iter().map(|host| of(host).as_str())).map(|all| Percentiles::of(&all))
        };
        let mut totals = Totals::default();
        play.hosts.iter().for_each(|host| totals.add(&host.totals));
        let load = LoadResult::of(&plan, &dial, &play.hosts);
        let link_bytes = play.servers.iter().map(|server| server.link_bytes).sum();
        let answer = AnswerResult::of(&plan, &dial, warmup_bytes_in, &play.hosts, link_bytes);
        let guard = GuardResult::of(&plan, &play.hosts, &play.servers);
        let dial = dial_of_all(&dial);
        let delivering_seconds = delivering_seconds(&play.hosts);
        let rounds = slowest(&play.hosts);
        let link = link::result(&plan, &medium, &play, delivering_seconds);
        let limited_by = limited_by::sentence(&Load::of(&plan, &environment, &play, &link));
        let servers = play.servers.iter();
        let epochs = costs::epochs(&play.hosts);
        let messages = play.hosts.iter().fold(Flow::default(), |all, host| all + host.messages);
        let mut result = RunResult {
            schema: SCHEMA.into(),
            checks,
            format: costs::format(&plan)?,
            totals,
            dial,
            cost: costs::cost(&plan, &totals, delivering_seconds, messages),
            bytes: costs::bytes(&plan, &play.hosts, &epochs)?,
            answer,
            epochs,
            partitions: partitions(&plan)?,
            fault: faults::result(&plan, &totals, &guard, faults_done),
            guard,
            load,
            round_seconds: RoundSeconds {
                p50: nearest_rank(&rounds, 0.5),
                p99: nearest_rank(&rounds, 0.99),
                max: nearest_rank(&rounds, 1.0),
            },
            delivering_seconds,
            wall_seconds: play.wall_seconds,
            message_latency_us: percentiles(|host| &host.message_latency_ns)?,
            delivery_latency_us: percentiles(|host| &host.delivery_latency_ns)?,
            stages_us: Stages {
                generate: percentiles(|host| &host.generate_ns)?,
                round_trip: percentiles(|host| &host.round_trip_ns)?,
                reconstruct: percentiles(|host| &host.reconstruct_ns)?,
            },
            servers: servers
                .map(|server| server_result(server, delivering_seconds, play.wall_seconds))
                .collect(),
            hosts: play.hosts.iter().map(host_result).collect(),
            clocks,
            interface_bytes: play.interface_bytes,
            machine_busy: play.machine_busy,
            roof: roof.unwrap_or(Roof::NONE),
            link,
            limited_by,
            failures: Vec::new(),
            plan,
            environment,
        };
        result.failures = checks::failures(&result, &play, &bad_to_stop);
        result.judge_line_rate();
        Ok(result)
    }
}

/// Round by round, the seconds of the slowest host.
pub(crate) fn slowest(hosts: &[PlayReport]) -> Vec<f64> {
    let rounds = hosts.iter().map(|host| host.round_seconds.len()).max().unwrap_or(0);
    let of_round = |round: usize| hosts.iter().filter_map(move |host| host.round_seconds.get(round)).copied();
    (0..rounds).map(|round| of_round(round).fold(0.0, f64::max)).collect()
}

/// Seconds with a round in flight: the rounds' times one after another, or, where rounds overlap (`--ahead 1`), the
/// time of all of them, whichever is less.
pub(crate) fn delivering_seconds(hosts: &[PlayReport]) -> f64 {
    let all = hosts.iter().map(|host| host.seconds).fold(0.0, f64::max);
    let one_after_another: f64 = slowest(hosts).iter().sum();
    if all > 0.0 { one_after_another.min(all) } else { one_after_another }
}

fn dial_of_all(hosts: &[DialReport]) -> Dial {
    hosts.iter().fold(Dial::default(), |all, host| Dial {
        seconds: all.seconds.max(host.seconds),
        bytes_in: all.bytes_in + host.bytes_in,
        bytes_out: all.bytes_out + host.bytes_out,
        confirm_cells: all.confirm_cells + host.confirm_cells,
        confirm_failed: all.confirm_failed + host.confirm_failed,
    })
}

fn server_result(server: &ServerReport, delivering_seconds: f64, wall_seconds: f64) -> ServerResult {
    let per = |amount: u64, seconds: f64| if seconds > 0.0 { (amount as f64 / seconds).round() } else { 0.0 };
    ServerResult {
        egress_bytes: server.egress_bytes,
        egress_shares: server.egress_shares,
        link_bytes: server.link_bytes,
        bits_per_s: per(server.egress_bytes * 8, delivering_seconds),
        bits_per_s_wall: per(server.egress_bytes * 8, wall_seconds),
        shares_per_s: per(server.egress_shares, delivering_seconds),
        cpu_seconds: server.cpu_seconds,
        peak_rss_bytes: server.peak_rss_bytes,
        zero_copy: ZeroCopy { sends: server.zero_copy_sends, copied: server.zero_copy_copied },
        slow_readers_closed: server.slow_readers_closed,
        tcp: Tcp {
            busy_us: server.tcp_busy_us,
            rwnd_limited_us: server.tcp_rwnd_limited_us,
            sndbuf_limited_us: server.tcp_sndbuf_limited_us,
            retransmits: server.tcp_retransmits,
        },
    }
}

fn host_result(host: &PlayReport) -> HostResult {
    HostResult {
        cpu_seconds: host.cpu_seconds,
        peak_rss_bytes: host.peak_rss_bytes,
        bytes_in: host.bytes_in.iter().sum(),
        bytes_out: host.bytes_out.iter().sum(),
        retransmits: host.retransmits,
        missed_slots: host.missed_slots,
    }
}

#[cfg(test)]
pub(crate) mod tests;
