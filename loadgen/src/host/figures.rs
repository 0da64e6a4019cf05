//! What a host measures, and what its tasks share.

use super::meter::{Meter, Scanner, Way};
use super::pace::Pace;
use crate::control::{PlayReport, Totals};
use crate::latency::{histogram, to_text};
use crate::process::{cpu_seconds, peak_rss_bytes};
use hdrhistogram::Histogram;
use rand::rngs::StdRng;
use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};
use twincast_client::Client;
use twincast_protocol::ids::ServerSide;

/// What all tasks of a host share.
pub(super) struct Shared {
    start: Instant,
    /// Draws every secret: seeded by the operating system.
    pub(super) rng: RefCell<StdRng>,
    pub(super) figures: RefCell<Figures>,
    /// Bytes received from and sent to each server.
    bytes_in: [Cell<u64>; 2],
    bytes_out: [Cell<u64>; 2],
    /// What the connections' bytes were for. Clients show private channels to it, and may be sent to other threads.
    meter: Arc<Mutex<Meter>>,
    /// No round after this one is submitted yet: users of the next epoch are still to come.
    pub(super) last_round: Cell<u64>,
    /// When the rounds of the present order are planned.
    pub(super) pace: Cell<Pace>,
    failure: RefCell<Option<String>>,
    main: RefCell<Option<Waker>>,
}

impl Shared {
    pub(super) fn new() -> Shared {
        Shared {
            start: Instant::now(),
            rng: RefCell::new(rand::make_rng()),
            figures: RefCell::new(Figures::new(Vec::new())),
            bytes_in: Default::default(),
            bytes_out: Default::default(),
            meter: Arc::default(),
            last_round: Cell::new(u64::MAX),
            pace: Cell::default(),
            failure: RefCell::default(),
            main: RefCell::default(),
        }
    }

    /// What the connections' bytes were for.
    pub(super) fn meter(&self) -> MutexGuard<'_, Meter> {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a client's private channels shown to the meter.
    pub(super) fn watch(&self, client: &mut Client) {
        for server in ServerSide::BOTH {
            let (meter, start) = (Arc::clone(&self.meter), self.start);
            let [mut up, mut down] = [Way::Up, Way::Down].map(|way| Scanner::new(server, way));
            let show = move |is_up: bool, bytes: &[u8]| {
                let scanner = if is_up { &mut up } else { &mut down };
                let mut meter = meter.lock().unwrap_or_else(PoisonError::into_inner);
                scanner.pass(bytes, start.elapsed(), &mut meter);
            };
            client.watch(server, Box::new(show));
        }
    }

    /// Time since the host began.
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub(super) fn received(&self, server: ServerSide, bytes: usize) {
        let cell = &self.bytes_in[server.index()];
        cell.set(cell.get() + bytes as u64);
    }

    pub(super) fn sent(&self, server: ServerSide, bytes: usize) {
        let cell = &self.bytes_out[server.index()];
        cell.set(cell.get() + bytes as u64);
    }

    /// Bytes received from and sent to each server so far.
    pub(super) fn bytes(&self) -> ([u64; 2], [u64; 2]) {
        (self.bytes_in.each_ref().map(Cell::get), self.bytes_out.each_ref().map(Cell::get))
    }

    /// The run cannot go on. The first reason counts.
    pub(super) fn fail(&self, sentence: String) {
        self.failure.borrow_mut().get_or_insert(sentence);
        self.wake_main();
    }

    /// Something happened that the main task waits for.
    pub(super) fn wake_main(&self) {
        self.main.borrow_mut().take().into_iter().for_each(Waker::wake);
    }

    /// Why the run cannot go on, if it cannot; wakes `waker` at the next change.
    pub(super) fn poll_failure(&self, waker: &Waker) -> Poll<String> {
        *self.main.borrow_mut() = Some(waker.clone());
        self.failure.borrow_mut().take().map_or(Poll::Pending, Poll::Ready)
    }
}

/// What is measured while rounds are played.
pub(super) struct Figures {
    pub(super) message_latency_ns: Parted,
    pub(super) delivery_latency_ns: Parted,
    pub(super) generate_ns: Histogram<u64>,
    pub(super) round_trip_ns: Histogram<u64>,
    pub(super) reconstruct_ns: Histogram<u64>,
    rounds: Vec<RoundFigures>,
    closed: u32,
    missed_slots: u64,
    cpu_before: f64,
}

/// A histogram that is told in parts, and in the end whole.
pub(super) struct Parted {
    part: Histogram<u64>,
    /// All parts that have ended.
    whole: Histogram<u64>,
}

impl Parted {
    fn new() -> Parted {
        Parted { part: histogram(), whole: histogram() }
    }

    pub(super) fn record(&mut self, time: Duration) {
        record(&mut self.part, time);
    }

    /// Ends the part that goes on; it, as text.
    pub(super) fn end_part(&mut self) -> String {
        let text = to_text(&self.part);
        self.whole.add(&self.part).expect("both have the same bounds");
        self.part.reset();
        text
    }

    /// All of it, as text.
    fn text(&mut self) -> String {
        self.end_part();
        to_text(&self.whole)
    }
}

#[derive(Clone, Copy, Default)]
struct RoundFigures {
    planned: Option<Duration>,
    last_verdict: Duration,
    /// Connection pairs that play it, and those of them that have closed it.
    pairs: u32,
    closed_pairs: u32,
    skipped: bool,
    /// Some pair began it a whole interval or more late.
    missed: bool,
}

impl Figures {
    /// For rounds played over so many connection pairs each.
    pub(super) fn new(pairs: Vec<u32>) -> Figures {
        let round = |pairs| RoundFigures { pairs, ..RoundFigures::default() };
        Figures {
            message_latency_ns: Parted::new(),
            delivery_latency_ns: Parted::new(),
            generate_ns: histogram(),
            round_trip_ns: histogram(),
            reconstruct_ns: histogram(),
            rounds: pairs.into_iter().map(round).collect(),
            closed: 0,
            missed_slots: 0,
            cpu_before: cpu_seconds(),
        }
    }

    /// A round (counted from the order to play) was planned for this instant; of several, the first counts.
    pub(super) fn planned(&mut self, round: usize, now: Duration) {
        if let Some(figures) = self.rounds.get_mut(round) {
            figures.planned.get_or_insert(now);
        }
    }

    /// A pair begins a round a whole interval or more late. However many do, that is one slot.
    pub(super) fn missed(&mut self, round: usize) {
        if let Some(figures) = self.rounds.get_mut(round)
            && !std::mem::replace(&mut figures.missed, true)
        {
            self.missed_slots += 1;
        }
    }

    /// Slots missed so far.
    pub(super) fn missed_slots(&self) -> u64 {
        self.missed_slots
    }

    /// A pair has its last verdict of a round. Whether all pairs have theirs now.
    pub(super) fn closed(&mut self, round: usize, now: Duration, skipped: bool) -> bool {
        let Some(figures) = self.rounds.get_mut(round) else { return false };
        figures.last_verdict = figures.last_verdict.max(now);
        figures.closed_pairs += 1;
        figures.skipped |= skipped;
        let by_all = figures.closed_pairs == figures.pairs;
        self.closed += u32::from(by_all);
        by_all
    }

    /// A pair plays no round from this one on. Rounds that all others have closed are closed.
    pub(super) fn left(&mut self, from: usize) {
        for figures in self.rounds.iter_mut().skip(from) {
            figures.pairs = figures.pairs.saturating_sub(1);
            self.closed += u32::from(figures.closed_pairs == figures.pairs);
        }
    }

    /// Rounds that all pairs have closed.
    pub(super) fn rounds_closed(&self) -> u32 {
        self.closed
    }

    /// The report on them; the caller adds what the judges counted and the sockets know.
    pub(super) fn report(&mut self) -> PlayReport {
        let planned = |round: &RoundFigures| round.planned.unwrap_or(round.last_verdict);
        // A round that a server left out may be closed before it was planned here.
        let seconds = |round: &RoundFigures| round.last_verdict.saturating_sub(planned(round)).as_secs_f64();
        let first = self.rounds.first().map(planned).unwrap_or_default();
        let last = self.rounds.iter().map(|round| round.last_verdict).max().unwrap_or_default();
        PlayReport {
            round_seconds: self.rounds.iter().map(seconds).collect(),
            seconds: last.saturating_sub(first).as_secs_f64(),
            totals: Totals {
                rounds_skipped: self.rounds.iter().filter(|round| round.skipped).count() as u64,
                ..Totals::default()
            },
            message_latency_ns: self.message_latency_ns.text(),
            delivery_latency_ns: self.delivery_latency_ns.text(),
            generate_ns: to_text(&self.generate_ns),
            round_trip_ns: to_text(&self.round_trip_ns),
            reconstruct_ns: to_text(&self.reconstruct_ns),
            cpu_seconds: cpu_seconds() - self.cpu_before,
            peak_rss_bytes: peak_rss_bytes(),
            missed_slots: self.missed_slots,
            ..PlayReport::default()
        }
    }
}

/// Records a time in microseconds; a longer one than the histogram tells apart counts as its longest.
pub(super) fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(time.as_nanos() as u64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_lasts_from_the_first_submission_to_the_last_verdict_of_all_pairs() {
        let at = Duration::from_millis;
        let mut figures = Figures::new(vec![2, 2]);
        figures.planned(0, at(10));
        figures.planned(0, at(12));
        assert!(!figures.closed(0, at(50), false));
        figures.planned(1, at(51));
        assert!(figures.closed(0, at(40), false));
        assert!(!figures.closed(1, at(70), true));
        assert_eq!(figures.rounds_closed(), 1);
        assert!(figures.closed(1, at(90), true));
        assert!(!figures.closed(2, at(99), false), "a round beyond the order");
        let mut broken = Figures::new(vec![2, 2, 1]);
        assert!(!broken.closed(0, at(50), false) && !broken.closed(1, at(60), false));
        broken.left(1);
        assert_eq!(broken.rounds_closed(), 2, "round 1 by the other pair, and round 2 by nobody");
        assert!(broken.closed(0, at(70), false));
        assert_eq!(broken.rounds_closed(), 3);
        let report = figures.report();
        assert_eq!((report.round_seconds, report.seconds), (vec![0.04, 0.039], 0.08));
        assert_eq!((report.totals.rounds_skipped, figures.rounds_closed()), (1, 2));
    }
}
