//! What the server counts, and the page that shows it.

use crate::fanout::CoreCounters;
use crate::group::Fault;
use std::collections::BTreeMap;
use std::fmt::Write;
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
            /// By group: the epoch, and the open round.
            groups: BTreeMap<GroupId, [AtomicU64; 2]>,
        }

        impl Metrics {
            fn front_rows(&self) -> impl Iterator<Item = (&'static str, &'static str, &'static str, u64)> {
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

    /// Says which epoch of a group runs or is dialled, and which round is open, 0 for none.
    pub fn stands(&self, group: GroupId, epoch: Epoch, round: RoundNumber) {
        if let Some([epoch_now, round_now]) = self.groups.get(&group) {
            epoch_now.store(epoch.0.into(), Relaxed);
            round_now.store(round.0, Relaxed);
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

    /// The page for Prometheus, in its text format.
    #[must_use]
    pub fn page(&self, cores: &[CoreCounters]) -> String {
        let mut page = String::new();
        let head = |page: &mut String, name: &str, help: &str, kind: &str| {
            let _ = writeln!(page, "# HELP {name} {}\n# TYPE {name} {kind}", help.trim());
        };
        for (name, help, kind, value) in self.front_rows() {
            let suffix = if kind == "counter" { "_total" } else { "" };
            let name = format!("twincast_{name}{suffix}");
            head(&mut page, &name, help, kind);
            let _ = writeln!(page, "{name} {value}");
        }
        head(&mut page, "twincast_errors_total", "Error frames, by code.", "counter");
        for (code, errors) in Code::ALL.iter().zip(&self.errors.0) {
            let _ =
                writeln!(page, "twincast_errors_total{{code=\"{}\"}} {}", code.label(), errors.load(Relaxed));
        }
        head(&mut page, "twincast_blames_total", "Whose fault something was, by fault.", "counter");
        for ((_, label), blames) in FAULTS.iter().zip(&self.blames) {
            let _ = writeln!(page, "twincast_blames_total{{fault=\"{label}\"}} {}", blames.load(Relaxed));
        }
        let rows = [
            ("twincast_group_epoch", "The epoch that runs or, where none does, is dialled."),
            ("twincast_group_round", "The open round, 0 while the first epoch is dialled."),
        ];
        for (index, (name, help)) in rows.into_iter().enumerate() {
            head(&mut page, name, help, "gauge");
            for (group, stands) in &self.groups {
                let _ = writeln!(page, "{name}{{group=\"{group}\"}} {}", stands[index].load(Relaxed));
            }
        }
        for (name, help, kind, value) in CORE_ROWS {
            head(&mut page, name, help, kind);
            for (index, core) in cores.iter().enumerate() {
                let _ = writeln!(page, "{name}{{core=\"{index}\"}} {}", value(core));
            }
        }
        page
    }
}

type CoreRow = (&'static str, &'static str, &'static str, fn(&CoreCounters) -> u64);

const CORE_ROWS: &[CoreRow] = &[
    ("twincast_core_connections", "Connections of the core now.", "gauge", |core| core.connections),
    ("twincast_egress_bytes_total", "Bytes that the kernel took.", "counter", |core| core.egress.sent_bytes),
    ("twincast_egress_shares_total", "Message cells sent whole.", "counter", |core| core.shares),
    ("twincast_egress_answers_total", "Answers sent whole.", "counter", |core| core.answers),
    (
        "twincast_slow_readers_closed_total",
        "Connections closed because they did not read.",
        "counter",
        |core| core.slow_readers_closed,
    ),
    ("twincast_sends_total", "Sends that took bytes.", "counter", |core| core.egress.sends),
    ("twincast_short_sends_total", "Sends that took less than all.", "counter", |core| {
        core.egress.short_sends
    }),
    ("twincast_zero_copy_sends_total", "Sends without a copy asked for.", "counter", |core| {
        core.egress.zc_sends
    }),
    ("twincast_zero_copy_copied_total", "Those that the kernel copied.", "counter", |core| {
        core.egress.zc_copied
    }),
    ("twincast_slabs_reclaimed_total", "Slabs taken back from blocked connections.", "counter", |core| {
        core.egress.slabs_reclaimed
    }),
    ("twincast_tcp_retransmits_total", "Segments sent again.", "counter", |core| core.tcp.retransmits),
    ("twincast_tcp_busy_microseconds_total", "Time with data to send, summed.", "counter", |core| {
        core.tcp.busy_us
    }),
    (
        "twincast_tcp_rwnd_limited_microseconds_total",
        "Part of it in which the peer's window was closed.",
        "counter",
        |core| core.tcp.rwnd_limited_us,
    ),
    (
        "twincast_tcp_sndbuf_limited_microseconds_total",
        "Part of it in which the send buffer was too small.",
        "counter",
        |core| core.tcp.sndbuf_limited_us,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_page_has_the_form_that_prometheus_reads() {
        let metrics = Metrics::new([GroupId(4), GroupId(9)].into_iter());
        metrics.refused(Code::SlowReader);
        metrics.stands(GroupId(9), Epoch(2), RoundNumber(31));
        // Of a group that the server has not.
        metrics.stands(GroupId(5), Epoch(2), RoundNumber(31));
        metrics.submissions.store(7, Relaxed);
        metrics.blamed(Fault::PeerSignedFalse);
        assert_eq!(FAULTS.map(|(fault, _)| metrics.blames(fault)), [0, 0, 0, 1]);
        let page = metrics.page(&[CoreCounters::default(), CoreCounters::default()]);
        assert!(page.contains("twincast_submissions_total 7\n"), "{page}");
        assert!(page.contains("twincast_errors_total{code=\"slow_reader\"} 1\n"));
        assert!(page.contains("twincast_blames_total{fault=\"peer_signed_false\"} 1\n"));
        assert!(page.contains("twincast_group_epoch{group=\"9\"} 2\n"));
        assert!(page.contains("twincast_group_round{group=\"9\"} 31\n"));
        assert!(page.contains("twincast_group_round{group=\"4\"} 0\n") && !page.contains("group=\"5\""));
        assert!(page.contains("twincast_egress_bytes_total{core=\"1\"} 0\n"));
        for line in page.lines().filter(|line| !line.starts_with("# ")) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with("twincast_") && value.parse::<u64>().is_ok(), "{line}");
        }
        let heads = page.lines().filter(|line| line.starts_with("# HELP")).count();
        let types = page.lines().filter(|line| line.starts_with("# TYPE")).count();
        assert_eq!(heads, types);
    }
}
