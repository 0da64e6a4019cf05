//! Every bound and time limit of the load generator, named once.

use crate::plan::{Plan, RECORD_BYTES};
use std::time::Duration;
use twincast_server::limits::TIMEOUT_MS_MAX;

const _: () = assert!(
    twincast_protocol::confirm::CONFIRMATION_BYTES as u64 == CONFIRM_PART_BYTES,
    "a confirmation's part is as large as the protocol says"
);

/// Members of a group.
pub const GROUP_MIN: u32 = 2;
/// As many as a server takes in broadcast delivery.
pub const GROUP_MAX: u32 = 65_536;
/// As many as a server takes in answer delivery.
pub const ANSWER_GROUP_MAX: u32 = twincast_server::limits::ANSWER_MEMBERS_MAX;
/// Threads of a server that work out answers.
pub const ANSWER_THREADS_MAX: u32 = 256;
/// Independent groups of a run.
pub const GROUPS_MAX: u32 = 1_024;
/// Host processes of a local run.
pub const HOSTS_MAX: u32 = 64;
/// Measured rounds of a run.
pub const ROUNDS_MAX: u32 = 1_000_000;
/// Rounds dropped before them.
pub const WARMUP_MAX: u32 = 10_000;
/// Slots of a member.
pub const SLOTS_MAX: u32 = 256;
/// Users on one connection.
pub const USERS_PER_CONNECTION_MAX: u32 = 16_384;
/// Users on one connection unless the command line says otherwise.
pub const USERS_PER_CONNECTION_DEFAULT: u32 = 512;
/// How far one server may be read ahead of the other, per connection.
pub const HOST_SKEW_BYTES: u64 = 32 << 20;
/// Receive buffers of all connections of a host together, at most: a connection's part of it may be less than
/// [`HOST_SKEW_BYTES`].
pub const HOST_BUFFER_BYTES: u64 = 96 << 20;
/// Room of a connection of a host beyond two rounds of answers: what comes between rounds.
pub const HOST_ANSWERS_SPARE_BYTES: u64 = 64 << 10;

/// Runs of each plan of an experiment.
pub const REPEATS_MAX: u32 = 1_000;
/// Group sizes of a sweep.
pub const SWEEP_MAX: usize = 64;
/// Trials of the search for the highest round rate, those that confirm it among them.
pub const TRIALS_MAX: u32 = 10;
/// So many trials at the end are kept for confirming.
pub const TRIALS_CONFIRMING: u32 = 3;
/// How long a trial is planned to last, in seconds, if it has rounds enough.
pub const TRIAL_SECONDS: f64 = 3.0;
/// The fewest rounds of a trial, in which a backlog has time to show.
pub const TRIAL_ROUNDS_MIN: u32 = 20;
/// How long a trial of so few rounds may last, in seconds: a slower group has fewer rounds.
pub const TRIAL_SECONDS_MAX: f64 = 60.0;
/// The fewest rounds of a trial however slow they are: two in each third.
pub const TRIAL_ROUNDS_LEAST: u32 = 6;
/// A trial that confirms has so many times the rounds of another.
pub const CONFIRMING_TIMES: u32 = 2;
const _: () = assert!(TRIALS_CONFIRMING < TRIALS_MAX && TRIAL_ROUNDS_LEAST < TRIAL_ROUNDS_MIN);
/// Room that a results folder must have when an experiment begins.
pub const RESULTS_ROOM_BYTES: usize = 1 << 20;

/// Bytes of a frame of the compact profile, unless the command line says otherwise.
pub const FRAME_BYTES: u32 = 288;
/// Bytes of every message in it.
pub const MESSAGE_BYTES: u32 = 256;
/// Bytes of a frame of the paper's profiles, unless the command line says otherwise: the paper's own.
pub const PAPER_FRAME_BYTES: u32 = 256;
/// The largest frame of any profile.
pub const FRAME_BYTES_MAX: u32 = 65_536;
/// The smallest frame of the compact profile; all are multiples of it.
pub const FRAME_BYTES_MIN: u32 = 16;

/// The shortest epoch: the next one is announced at least this many rounds before it begins.
pub const ANNOUNCE_ROUNDS_MIN: u32 = twincast_server::limits::ANNOUNCE_ROUNDS_MIN;
/// Rounds between the opening of an epoch and the announcement of the next in which users who come and go are heard.
pub const CHURN_ROUNDS: u32 = 2;
/// Every so many rounds each member of an accountable group asks for headers, unless the command line says otherwise.
pub const HEADER_ROUNDS_DEFAULT: u32 = twincast_server::limits::HEADER_ROUNDS_DEFAULT;
/// The most that it may say.
pub const HEADER_ROUNDS_MAX: u32 = twincast_server::limits::HEADER_ROUNDS_MAX;
/// Bytes of a part of a bit's confirmation.
pub const CONFIRM_PART_BYTES: u64 = 64;
/// Bytes of a part of a key, or of its reply.
pub const KEY_PART_BYTES: u64 = 96;
/// Evidence of a run that is kept as files, and as much of each of its hosts, in pieces. All of it is judged and counted.
pub const EVIDENCE_KEPT_MAX: usize = 16;
/// How long after the last round a host waits for evidence that the run's fault must bring.
pub const EVIDENCE_WAIT: Duration = Duration::from_secs(30);
/// The largest box of S2, in MiB.
pub const BOX_MIB_MAX: u32 = 1 << 20;
/// The longest time limit of a round, in milliseconds.
pub const ROUND_TIMEOUT_MS_MAX: u32 = 600_000;
/// How long a round of a run with a fault waits for who does not come, in milliseconds.
pub const FAULT_ROUND_TIMEOUT_MS: u32 = 5_000;
/// How much longer than a round's time limit a server waits for the other one's word, in milliseconds: so long that
/// what the other one seals at its own time limit is still agreed on.
pub const PEER_TIMEOUT_SPARE_MS: u64 = 2_000;

/// Locked memory that glommio needs for each executor; hosts and servers have one each.
pub const EXECUTOR_MEMLOCK_BYTES: u64 = 512 << 10;
/// Connections that a server takes beyond those of the plan: somebody may look at it.
pub const CONNECTIONS_SPARE: u64 = 16;
/// Descriptors of a server for each connection that it takes, while all of them are handed over at once.
pub const DESCRIPTORS_PER_CONNECTION: u64 = 4;
/// Descriptors of a process for everything that is no connection.
pub const DESCRIPTORS_SPARE: u64 = 64;

/// The longest line that a child may say: histograms, and a time for each of [`ROUNDS_MAX`] rounds.
pub const LINE_BYTES_MAX: u64 = 64 << 20;
/// Lines of a child's log that are kept to be shown when it fails.
pub const LOG_LINES_KEPT: usize = 20;
/// Those that are shown where none tells of trouble.
pub const LOG_LINES_TOLD: usize = 5;

/// The least part of what TCP can carry on its link that a server's egress is called line rate from.
pub const LINE_RATE_MIN: f64 = 0.95;

/// How late a host may be for the instant at which it is to begin, before the report says so.
pub const START_LATE_MAX: Duration = Duration::from_millis(50);
/// Time for a child to start and say that it is there.
pub const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Who lives says so this often, whatever else there is to say.
pub const BEAT: Duration = Duration::from_secs(1);
/// How long nothing at all may come from a process that says every [`BEAT`] that it lives. A connection that the kernel
/// finds broken is told sooner, and as that.
pub const STANDSTILL_MAX: Duration = Duration::from_secs(10);
/// Looks at who stands still, in that time.
pub const STANDSTILL_LOOKS: u32 = 5;
/// How often a signal is looked for while an agent is joined.
pub const SIGNAL_LOOK: Duration = Duration::from_millis(50);
/// Time for an answer that takes no work.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a server to count what its clients have received.
pub const COUNTED_TIMEOUT: Duration = Duration::from_secs(1);
/// Time between two looks at what it has counted.
pub const COUNTED_RETRY: Duration = Duration::from_millis(5);
/// Time for a child to stop gracefully before it is killed.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a child to go after its input was closed, when a run is cut short.
pub const CUT_TIMEOUT: Duration = Duration::from_secs(2);
/// Time in which other children's news are taken after the first bad ones, to name the one that began it.
pub const BLAME_TIME: Duration = Duration::from_millis(300);

/// Time for a coordinator to prove itself to an agent, and for an agent to prove itself in turn. The coordinator gives the
/// agent no more for all that comes before the child's own lines: the proofs, the clock, and the child's start.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a machine to answer a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for an agent's child to go after its coordinator has gone, before it is killed.
pub const AGENT_GRACE: Duration = Duration::from_secs(1);
/// The longest line before an agent and its coordinator have proved themselves.
pub const AGENT_LINE_BYTES_MAX: usize = 4096;
/// The longest line in which an agent tells what it found on its machine.
pub const CHECK_LINE_BYTES_MAX: usize = 64 << 10;
/// Time for a look at a machine: programs are started for that, and packets sent. One that goes on then is ended.
pub const CHECK_TIME: Duration = Duration::from_secs(15);
/// Time for what was found until then to be put together.
pub const CHECK_GRACE: Duration = Duration::from_secs(2);
/// Time for an agent to say what it has found.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(20);
/// How long what was found on a machine is taken to be true: runs after each other that ask for the same have it looked at
/// anew after that, since somebody may have changed the machine meanwhile.
pub const CHECKS_KEPT: Duration = Duration::from_secs(120);
/// The longest sentence or command that is taken from another machine's check.
pub const CHECK_TEXT_CHARS_MAX: usize = 4096;
/// Connections to an agent that have proved nothing yet.
pub const AGENT_HANDSHAKES_MAX: usize = 32;
/// Children of an agent at once.
pub const AGENT_SESSIONS_MAX: usize = HOSTS_MAX as usize;
/// How long before the instant at which all hosts begin they are told of it, on one machine.
pub const START_LEAD: Duration = Duration::from_millis(20);
/// The same where an order travels between machines.
pub const START_LEAD_FAR: Duration = Duration::from_millis(200);

/// A rate that even a slow machine keeps up, all processes together: time limits are sized by it.
const SLOWEST_BYTES_PER_S: u64 = 20_000_000;
/// The same of records that queries are worked out over, n * n * K of them: a portable kernel that is not optimised.
const SLOWEST_ANSWER_BYTES_PER_S: u64 = 1_000_000_000;
/// Signatures that even a slow machine makes or verifies in a second, all processes together.
const SLOWEST_SIGNATURES_PER_S: u64 = 500;

/// How long a host may be silent while it dials: the time to move every session key and every confirmation, slowly.
pub fn dial_silence_max(plan: &Plan) -> Duration {
    let members = u64::from(plan.group) * u64::from(plan.groups);
    if plan.answers() {
        let bytes = 2 * pairs(plan) * u64::from(plan.group).div_ceil(8);
        // Before it dials, a host derives everybody's keys whom it knows.
        let keys = (members + pairs(plan)) / SLOWEST_SIGNATURES_PER_S;
        return Duration::from_secs(120 + keys + bytes / SLOWEST_BYTES_PER_S);
    }
    let confirmation = if plan.confirm { 64 * 3 } else { 0 };
    let keys = if plan.keys { 2 * 96 * 3 } else { 0 };
    let pair_bytes = 1 + confirmation + keys;
    Duration::from_secs(120 + pairs(plan) * pair_bytes / SLOWEST_BYTES_PER_S)
}

/// How long a host may be silent in a round: the time to move all its cells from both servers, slowly, to dial the
/// next epoch if it is the last of one, and to wait for the planned instant of a round.
pub fn round_silence_max(plan: &Plan) -> Duration {
    let dialling = if plan.epoch_rounds > 0 { dial_silence_max(plan) } else { Duration::ZERO };
    let waiting = dialling + plan.interval().unwrap_or_default();
    if plan.answers() {
        return Duration::from_secs(60 + answer_seconds_max(plan)) + waiting;
    }
    // A cell of the paper's takes a hundred times as long to decode as one of the compact profile takes to arrive.
    let decoding = if plan.profile.is_paper() { 10 } else { 1 };
    let seconds = pairs(plan) * 2 * u64::from(share_bytes(plan)) * decoding / SLOWEST_BYTES_PER_S;
    Duration::from_secs(60 + seconds) + waiting
}

/// The seconds of a round in answer delivery, slowly: records are signed, verified twice, added to every query of both
/// servers, carried, and verified by who reads them.
fn answer_seconds_max(plan: &Plan) -> u64 {
    let records = u64::from(plan.group) * u64::from(plan.groups);
    let added_bytes = 2 * pairs(plan) * u64::from(plan.group) * RECORD_BYTES;
    let signatures = 3 * records + pairs(plan);
    let carried_bytes = 2 * (records + pairs(plan)) * RECORD_BYTES;
    added_bytes / SLOWEST_ANSWER_BYTES_PER_S
        + signatures / SLOWEST_SIGNATURES_PER_S
        + carried_bytes / SLOWEST_BYTES_PER_S
}

/// The time limit of a round: as generous as the coordinator's, but for what a server takes.
pub fn round_timeout_ms(plan: &Plan) -> u64 {
    match plan.round_timeout_ms {
        0 => (round_silence_max(plan).as_millis() as u64).min(TIMEOUT_MS_MAX - PEER_TIMEOUT_SPARE_MS),
        configured => configured.into(),
    }
}

/// The time limit of dialling, likewise.
pub fn dial_timeout_ms(plan: &Plan) -> u64 {
    (dial_silence_max(plan).as_millis() as u64).min(TIMEOUT_MS_MAX)
}

/// (sender, recipient, slot) of one round, all groups; in answer delivery (reader, query).
pub fn pairs(plan: &Plan) -> u64 {
    let senders = if plan.answers() { 1 } else { u64::from(plan.group) };
    senders * u64::from(plan.group) * u64::from(plan.slots) * u64::from(plan.groups)
}

/// Bytes of one share, or of one answer; of a pair of them, half.
pub fn share_bytes(plan: &Plan) -> u32 {
    if plan.answers() {
        return RECORD_BYTES as u32;
    }
    plan.format().map_or(plan.frame_bytes, |format| format.share_bytes() as u32)
}

const _: () = assert!(MESSAGE_BYTES + 3 <= FRAME_BYTES, "a message fits its frame");
const _: () = assert!(FRAME_BYTES.is_multiple_of(16), "frames are whole blocks");
const _: () = assert!(USERS_PER_CONNECTION_DEFAULT <= USERS_PER_CONNECTION_MAX);
const _: () = assert!(LINE_BYTES_MAX > 32 * ROUNDS_MAX as u64, "a report of every round fits into a line");
const _: () = assert!(CUT_TIMEOUT.as_millis() < STOP_TIMEOUT.as_millis());
const _: () = assert!(CHECK_TIME.as_millis() + CHECK_GRACE.as_millis() < CHECK_TIMEOUT.as_millis());
const _: () = assert!(STANDSTILL_MAX.as_millis() >= 5 * BEAT.as_millis(), "a few beats may be late");
const _: () = assert!(STANDSTILL_MAX.as_millis() < ANSWER_TIMEOUT.as_millis());
const _: () = assert!(
    AGENT_GRACE.as_millis() < CUT_TIMEOUT.as_millis(),
    "the agent ends its child while the coordinator waits"
);
