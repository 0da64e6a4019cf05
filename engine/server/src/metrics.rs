//! What the server counts, and the page that shows it.
//!
//! Counters are per server, per thread or per group, never per user or connection. Who reads the page often learns from
//! them how many members a round had, when one joined, and how late the slowest was, which anybody on the network sees too; not
//! who that was, nor whom anybody writes to. It is for the operator (THREAT_MODEL.md). Nothing is counted per share; what the
//! way of a share needs is counted by its thread, which tells it when it is asked.

mod page;
mod process;
mod settings;
mod span;

pub(crate) use page::{Standing, page};
pub(crate) use settings::{Setting, settings};
pub use span::{Span, SpanCounter};

use crate::group::Fault;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use twincast_protocol::ids::{Epoch, GroupId, RoundNumber};
use twincast_protocol::wire::Code;

macro_rules! counters {
    ($( $(#[doc = $doc:literal])* $name:ident: $kind:literal; )*) => {
        /// Counters of the front, shared by its threads.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $( $(#[doc = $doc])* pub $name: AtomicU64, )*
            /// By index in [`Code::ALL`]: error frames.
            errors: Errors,
            /// By index in [`FAULTS`].
            blames: [AtomicU64; FAULTS.len()],
            /// From a round's first submission, or its opening if that was later, to its seal.
            pub round_seal: SpanCounter,
            /// From a round's seal to its release.
            pub round_release: SpanCounter,
            /// By group: the epoch, the open round, and the members of the epoch.
            groups: BTreeMap<GroupId, [AtomicU64; 3]>,
        }

        impl Metrics {
            pub(super) fn front_rows(&self) -> impl Iterator<Item = (&'static str, &'static str, &'static str, u64)> {
                [ $( (stringify!($name), concat!($($doc),*), $kind, self.$name.load(Relaxed)), )* ].into_iter()
            }
        }
    };
}

counters! {
    /// Connections now, from their acceptance to their close.
    connections: "gauge";
    /// Connections accepted.
    connections_accepted: "counter";
    /// Tries to accept a connection that failed, for want of descriptors mostly.
    accept_errors: "counter";
    /// Connections dropped without a word: no descriptor was left, or the executor had too much to do.
    connections_dropped: "counter";
    /// Connections turned away because their address had too many that had not said who they are, or they came too often or
    /// had sent too much.
    strangers_refused: "counter";
    /// Handshakes of private channels with clients that were done.
    handshakes: "counter";
    /// Those that were not: no handshake, changed on the way, for another server's key, or cut.
    handshakes_failed: "counter";
    /// Time that front executors worked on handshakes, summed.
    handshake_busy_microseconds: "counter";
    /// Bytes read from clients.
    ingress_bytes: "counter";
    /// Session keys taken.
    dials: "counter";
    /// Dials that did not take effect, since the other server did not have them.
    dials_void: "counter";
    /// Sets of parts taken, of confirmations, keys and replies: one a sender and slot.
    parts: "counter";
    /// Requests for parts that were delivered before the connection came.
    fetches: "counter";
    /// Submissions taken, one a member and round.
    submissions: "counter";
    /// Submissions that carried an alarm.
    alarms: "counter";
    /// Tiles sealed.
    tiles_sealed: "counter";
    /// Rounds sealed.
    rounds_sealed: "counter";
    /// Rounds left out: too many readers lagged, or the two servers had not both the same of it.
    rounds_skipped: "counter";
    /// Members missing from sealed rounds, summed.
    members_absent: "counter";
    /// Tiles released without the other server's word.
    tiles_unagreed: "counter";
    /// Epochs opened.
    epochs_opened: "counter";
    /// Epochs given up: the other server did not answer, or was in another epoch.
    epochs_given_up: "counter";
    /// Users who became members of a group, with an epoch that was announced.
    joins: "counter";
    /// Members who left a group, likewise.
    leaves: "counter";
    /// Bytes in boxes now.
    box_bytes: "gauge";
    /// Sets of parts for which a box had no room.
    box_refusals: "counter";
    /// Sets of parts that a box could not write or read.
    box_failures: "counter";
    /// 1 while the other server is linked, else 0.
    link_up: "gauge";
    /// Times that the link came up.
    link_ups: "counter";
    /// Groups that were not the same at both servers when the link came up last: nobody is served in these.
    groups_differing: "gauge";
    /// Connections to the link's address that came from elsewhere than the other server's, and were dropped.
    link_strangers: "counter";
    /// Handshakes with the other server that failed: changed on the way, or somebody else's.
    link_handshakes_failed: "counter";
    /// Registrations answered with both servers' signatures.
    registrations: "counter";
    /// Registrations that wait for the other server's signature now.
    registrations_pending: "gauge";
    /// Keys for which the two servers were given different ones.
    keys_unequal: "counter";
    /// Keys for which the other server's signature was wrong.
    keys_signed_false: "counter";
    /// Times that the registry could not be written.
    registry_failures: "counter";
    /// Frames from the other server.
    link_frames_in: "counter";
    /// Frames to the other server.
    link_frames_out: "counter";
    /// Bytes from the other server.
    link_bytes_in: "counter";
    /// Bytes to the other server.
    link_bytes_out: "counter";
    /// Connections that ended in the middle of a frame.
    cut_frames: "counter";
    /// Messages that waited because a core's queue was full.
    core_queue_full: "counter";
    /// Works that waited because the answer threads' queue was full.
    answer_queue_full: "counter";
    /// Records whose signatures were verified and are good.
    signatures_verified: "counter";
    /// Records that their senders had not signed.
    signatures_refused: "counter";
    /// Rounds of answers left out because the two servers did not agree on their records in time.
    rounds_unagreed: "counter";
    /// Time that answer threads were busy, summed.
    answer_busy_microseconds: "counter";
    /// Answer threads that panicked: groups whose delivery is `answer` are closed from then on.
    answer_threads_failed: "gauge";
    /// Bytes of the queries that are answered, and of the buffers that answers are in.
    answer_memory_bytes: "gauge";
}

/// Every fault and its name on `/metrics`.
const FAULTS: [(Fault, &str); 4] = [
    (Fault::SenderSignedTwo, "sender_signed_two"),
    (Fault::PeerShowedFalse, "peer_showed_false"),
    (Fault::PeerShowedNothing, "peer_showed_nothing"),
    (Fault::PeerSignedFalse, "peer_signed_false"),
];

#[derive(Debug)]
struct Errors([AtomicU64; Code::ALL.len()]);

impl Default for Errors {
    fn default() -> Errors {
        Errors(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Metrics {
    /// Counters that stand at zero, for these groups.
    #[must_use]
    pub fn new(groups: impl Iterator<Item = GroupId>) -> Metrics {
        Metrics { groups: groups.map(|group| (group, Default::default())).collect(), ..Metrics::default() }
    }

    /// Says which epoch of a group runs or is dialled, which round is open, 0 for none, and how many members the epoch
    /// has.
    pub fn stands(&self, group: GroupId, epoch: Epoch, round: RoundNumber, members: usize) {
        if let Some([epoch_now, round_now, members_now]) = self.groups.get(&group) {
            epoch_now.store(epoch.0.into(), Relaxed);
            round_now.store(round.0, Relaxed);
            members_now.store(members as u64, Relaxed);
        }
    }

    /// Counts an error frame.
    pub fn refused(&self, code: Code) {
        let index = Code::ALL.iter().position(|&other| other == code).expect("ALL has every code");
        self.errors.0[index].fetch_add(1, Relaxed);
    }

    /// How many error frames with this code there were.
    #[must_use]
    pub fn refusals(&self, code: Code) -> u64 {
        Code::ALL
            .iter()
            .zip(&self.errors.0)
            .find(|(other, _)| **other == code)
            .map_or(0, |(_, n)| n.load(Relaxed))
    }

    /// Counts somebody's fault.
    pub fn blamed(&self, fault: Fault) {
        let index = FAULTS.iter().position(|(other, _)| *other == fault).expect("FAULTS has every fault");
        self.blames[index].fetch_add(1, Relaxed);
    }

    /// How often somebody was blamed for this.
    #[must_use]
    pub fn blames(&self, fault: Fault) -> u64 {
        FAULTS
            .iter()
            .zip(&self.blames)
            .find(|((other, _), _)| *other == fault)
            .map_or(0, |(_, n)| n.load(Relaxed))
    }
}
