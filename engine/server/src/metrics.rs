//! What the server counts, and the page that shows it.

use crate::fanout::CoreCounters;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use twincast_protocol::wire::Code;

macro_rules! counters {
    ($( $(#[doc = $doc:literal])* $name:ident: $kind:literal; )*) => {
        /// Counters of the front, shared by its threads.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $( $(#[doc = $doc])* pub $name: AtomicU64, )*
            /// By index in [`Code::ALL`]: error frames.
            errors: [AtomicU64; Code::ALL.len()],
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
    /// Bit confirmations taken, one a sender and slot.
    confirmations: "counter";
    /// Submissions taken, one a member and round.
    submissions: "counter";
    /// Submissions that carried an alarm.
    alarms: "counter";
    /// Tiles sealed.
    tiles_sealed: "counter";
    /// Rounds sealed.
    rounds_sealed: "counter";
    /// Rounds left out because too many readers lagged.
    rounds_skipped: "counter";
    /// Members missing from sealed rounds, summed.
    members_absent: "counter";
    /// Connections that ended in the middle of a frame.
    cut_frames: "counter";
    /// Messages that waited because a core's queue was full.
    core_queue_full: "counter";
}

impl Metrics {
    /// Counts an error frame.
    pub fn refused(&self, code: Code) {
        let index = Code::ALL.iter().position(|&other| other == code).expect("ALL has every code");
        self.errors[index].fetch_add(1, Relaxed);
    }

    /// How many error frames with this code there were.
    #[must_use]
    pub fn refusals(&self, code: Code) -> u64 {
        Code::ALL
            .iter()
            .zip(&self.errors)
            .find(|(other, _)| **other == code)
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
        for (code, errors) in Code::ALL.iter().zip(&self.errors) {
            let _ =
                writeln!(page, "twincast_errors_total{{code=\"{}\"}} {}", code.label(), errors.load(Relaxed));
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
        let metrics = Metrics::default();
        metrics.refused(Code::SlowReader);
        metrics.submissions.store(7, Relaxed);
        let page = metrics.page(&[CoreCounters::default(), CoreCounters::default()]);
        assert!(page.contains("twincast_submissions_total 7\n"), "{page}");
        assert!(page.contains("twincast_errors_total{code=\"slow_reader\"} 1\n"));
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
