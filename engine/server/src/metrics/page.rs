//! The page for Prometheus, in its text format.

use super::process;
use super::{Code, FAULTS, Metrics, Setting, Span};
use crate::fanout::CoreCounters;
use std::fmt::{Display, Write};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// What is asked of the threads when the page is.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// By fan-out core; nothing of one that did not answer in time, so that no counter goes back.
    pub(crate) cores: Vec<Option<CoreCounters>>,
    /// By fan-out core: messages in its queue.
    pub(crate) core_queues: Vec<usize>,
    /// By front executor: messages in its queue.
    pub(crate) front_queues: Vec<usize>,
    /// Works in the queues of all answer threads.
    pub(crate) answer_queue: usize,
}

/// The page.
pub(crate) fn page(metrics: &Metrics, settings: &[Setting], standing: &Standing) -> String {
    let mut page = Page(String::new());
    for (name, help, kind, value) in metrics.front_rows() {
        let suffix = if kind == "counter" { "_total" } else { "" };
        let name = format!("twincast_{name}{suffix}");
        page.head(&name, help, kind);
        page.sample(&name, "", value);
    }
    page.labelled(
        "twincast_errors_total",
        "Error frames, by code.",
        "counter",
        Code::ALL
            .iter()
            .zip(&metrics.errors.0)
            .map(|(code, n)| (label("code", code.label()), n.load(Relaxed))),
    );
    page.labelled(
        "twincast_blames_total",
        "Whose fault something was, by fault.",
        "counter",
        FAULTS.iter().zip(&metrics.blames).map(|((_, fault), n)| (label("fault", fault), n.load(Relaxed))),
    );
    for (index, (name, help)) in GROUP_ROWS.into_iter().enumerate() {
        let rows = metrics.groups.iter();
        let rows = rows.map(|(group, stands)| (label("group", group), stands[index].load(Relaxed)));
        page.labelled(name, help, "gauge", rows);
    }
    for (name, help, span) in [
        (
            "twincast_round_seal_seconds",
            "From a round's first submission, or its opening if that was later, to its seal.",
            &metrics.round_seal,
        ),
        (
            "twincast_round_release_seconds",
            "From a round's seal to its release: the other server's word, and in answer delivery the answers' work.",
            &metrics.round_release,
        ),
    ] {
        page.head(name, help, "summary");
        page.span(name, "", span.get());
    }
    page.cores(standing);
    page.labelled("twincast_front_queue_length", "Messages that wait for a front executor.", "gauge", {
        standing.front_queues.iter().enumerate().map(|(index, length)| (label("executor", index), length))
    });
    page.head("twincast_answer_queue_length", "Works that wait for answer threads, all queues.", "gauge");
    page.sample("twincast_answer_queue_length", "", standing.answer_queue);
    page.settings(settings);
    page.process();
    page.0
}

const GROUP_ROWS: [(&str, &str); 3] = [
    ("twincast_group_epoch", "The epoch that runs or, where none does, is dialled."),
    ("twincast_group_round", "The open round, 0 while the first epoch is dialled."),
    ("twincast_group_members", "Members of the epoch that runs or, where none does, is dialled."),
];

fn label(name: &str, value: impl Display) -> String {
    format!("{{{name}=\"{value}\"}}")
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        let _ = writeln!(self.0, "# HELP {name} {}\n# TYPE {name} {kind}", help.trim());
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn labelled(
        &mut self,
        name: &str,
        help: &str,
        kind: &str,
        rows: impl Iterator<Item = (String, impl Display)>,
    ) {
        self.head(name, help, kind);
        rows.for_each(|(labels, value)| self.sample(name, &labels, value));
    }

    /// Sum and count of a summary without quantiles.
    fn span(&mut self, name: &str, labels: &str, span: Span) {
        self.sample(&format!("{name}_sum"), labels, span.time.as_secs_f64());
        self.sample(&format!("{name}_count"), labels, span.count);
    }

    fn cores(&mut self, standing: &Standing) {
        let cores = || standing.cores.iter().enumerate();
        let rows = cores().map(|(index, core)| (label("core", index), u8::from(core.is_some())));
        self.labelled(
            "twincast_core_up",
            "1 if the fan-out core said what it counts, else 0.",
            "gauge",
            rows,
        );
        let queues = standing.core_queues.iter().enumerate();
        let queues = queues.map(|(index, length)| (label("core", index), length));
        self.labelled(
            "twincast_core_queue_length",
            "Messages that wait for a fan-out core.",
            "gauge",
            queues,
        );
        let answered = || cores().filter_map(|(index, core)| Some((label("core", index), core.as_ref()?)));
        for (name, help, kind, value) in CORE_ROWS {
            let rows = answered().map(|(labels, core)| (labels, value(core)));
            self.labelled(name, help, kind, rows);
        }
        let name = "twincast_round_deliver_seconds";
        let help = "From a round's first tile, or its answers, at a core to the last byte of it that the kernel took there.";
        self.head(name, help, "summary");
        for (labels, core) in answered() {
            self.span(name, &labels, core.delivered);
        }
    }

    fn settings(&mut self, settings: &[Setting]) {
        let mut last = "";
        for Setting { name, help, labels, value } in settings {
            if *name != last {
                self.head(name, help, "gauge");
            }
            self.sample(name, labels, value);
            last = name;
        }
    }

    fn process(&mut self) {
        for (name, help, kind, value) in process::rows() {
            self.head(name, help, kind);
            self.sample(name, "", value);
        }
        let threads = process::threads();
        let seconds = |time: fn(&process::ThreadTime) -> Duration| {
            threads.iter().map(move |(name, of)| (label("thread", name), time(of).as_secs_f64()))
        };
        self.labelled(
            "twincast_thread_cpu_seconds_total",
            "CPU time of each thread, user and system; the kernel's network work on its behalf is part of it.",
            "counter",
            seconds(|time| time.cpu),
        );
        self.labelled(
            "twincast_thread_waiting_seconds_total",
            "Time that each thread could have run and waited for a core.",
            "counter",
            seconds(|time| time.waiting),
        );
    }
}

type CoreRow = (&'static str, &'static str, &'static str, fn(&CoreCounters) -> u64);

const CORE_ROWS: &[CoreRow] = &[
    ("twincast_core_connections", "Connections of the core now.", "gauge", |core| core.connections),
    ("twincast_core_turns_total", "Turns of the core's loop.", "counter", |core| core.egress.turns),
    ("twincast_core_sleeps_total", "Turns that had nothing to do and slept.", "counter", |core| {
        core.egress.sleeps
    }),
    (
        "twincast_gathered_bytes_total",
        "Bytes written into slabs; above the bytes sent by what was gathered twice.",
        "counter",
        |core| core.egress.filled_bytes,
    ),
    ("twincast_egress_bytes_total", "Bytes that the kernel took.", "counter", |core| core.egress.sent_bytes),
    ("twincast_egress_shares_total", "Message cells sent whole.", "counter", |core| core.shares),
    (
        "twincast_egress_parts_total",
        "Parts sent whole: cells of bit confirmations, of keys and of their replies.",
        "counter",
        |core| core.parts,
    ),
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
    (
        "twincast_blocked_sends_total",
        "Sends that took nothing, as the socket had no room.",
        "counter",
        |core| core.egress.again,
    ),
    (
        "twincast_no_buffer_sends_total",
        "Sends that found the kernel out of buffers or locked memory.",
        "counter",
        |core| core.egress.enobufs,
    ),
    ("twincast_zero_copy_sends_total", "Sends without a copy asked for.", "counter", |core| {
        core.egress.zc_sends
    }),
    ("twincast_zero_copy_copied_total", "Those that the kernel copied.", "counter", |core| {
        core.egress.zc_copied
    }),
    (
        "twincast_zero_copy_refused_total",
        "Sends without a copy that the socket or the kernel does not do.",
        "counter",
        |core| core.egress.zc_refused,
    ),
    ("twincast_slabs_in_use", "Slabs out of the core's pool now.", "gauge", |core| core.egress.slabs_in_use),
    ("twincast_slabs_in_use_max", "The most at a time since the start.", "gauge", |core| {
        core.egress.slabs_in_use_max
    }),
    (
        "twincast_slab_waits_total",
        "Times that a connection that could send had to wait for a slab.",
        "counter",
        |core| core.egress.slab_waits,
    ),
    ("twincast_slabs_reclaimed_total", "Slabs taken back from blocked connections.", "counter", |core| {
        core.egress.slabs_reclaimed
    }),
    ("twincast_tcp_acked_bytes_total", "Bytes that clients acknowledged.", "counter", |core| {
        core.tcp.bytes_acked
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
    use super::super::*;
    use super::*;

    #[test]
    fn every_line_of_the_page_has_the_form_that_prometheus_reads() {
        let metrics = Metrics::new([GroupId(4), GroupId(9)].into_iter());
        metrics.refused(Code::SlowReader);
        metrics.stands(GroupId(9), Epoch(2), RoundNumber(31), 70);
        // Of a group that the server has not.
        metrics.stands(GroupId(5), Epoch(2), RoundNumber(31), 70);
        metrics.submissions.store(7, Relaxed);
        metrics.blamed(Fault::PeerSignedFalse);
        metrics.round_seal.add(Duration::from_millis(250));
        metrics.round_seal.add(Duration::from_millis(500));
        assert_eq!(FAULTS.map(|(fault, _)| metrics.blames(fault)), [0, 0, 0, 1]);
        let mut delivered = Span::default();
        delivered.add(Duration::from_millis(125));
        let standing = Standing {
            cores: vec![
                Some(CoreCounters::default()),
                None,
                Some(CoreCounters { delivered, ..CoreCounters::default() }),
            ],
            core_queues: vec![0, 5, 0],
            front_queues: vec![3],
            answer_queue: 2,
        };
        let page = page(&metrics, &[], &standing);
        for line in [
            "twincast_submissions_total 7",
            "twincast_errors_total{code=\"slow_reader\"} 1",
            "twincast_blames_total{fault=\"peer_signed_false\"} 1",
            "twincast_group_epoch{group=\"9\"} 2",
            "twincast_group_round{group=\"9\"} 31",
            "twincast_group_round{group=\"4\"} 0",
            "twincast_group_members{group=\"9\"} 70",
            "twincast_round_seal_seconds_sum 0.75",
            "twincast_round_seal_seconds_count 2",
            "twincast_round_deliver_seconds_sum{core=\"2\"} 0.125",
            "twincast_core_up{core=\"1\"} 0",
            "twincast_core_up{core=\"2\"} 1",
            "twincast_core_queue_length{core=\"1\"} 5",
            "twincast_front_queue_length{executor=\"0\"} 3",
            "twincast_answer_queue_length 2",
            "twincast_egress_bytes_total{core=\"0\"} 0",
        ] {
            assert!(page.lines().any(|other| other == line), "{line} is not on the page:\n{page}");
        }
        assert!(!page.contains("group=\"5\""));
        // A counter of a core that did not answer is not there: it would seem to begin anew.
        assert!(!page.contains("twincast_egress_bytes_total{core=\"1\"}"));
        for line in page.lines().filter(|line| !line.starts_with("# ")) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let ours = name.starts_with("twincast_") || name.starts_with("process_");
            assert!(ours && value.parse::<f64>().is_ok(), "{line}");
        }
        let heads = page.lines().filter(|line| line.starts_with("# HELP")).count();
        let types = page.lines().filter(|line| line.starts_with("# TYPE")).count();
        assert_eq!(heads, types);
    }
}
