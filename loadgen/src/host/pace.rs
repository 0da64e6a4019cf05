//! When a host begins: at an ordered instant, and then, in open loop, round by round on a schedule.
//!
//! Round k of an order is planned at start + k / rate on the host's own clock, whatever became of the rounds before it.
//! It is submitted then if the servers' window allows it, and as soon as it does otherwise (once it has missed its slot,
//! when the round before is done); what is measured counts from
//! the planned instant all the same, so that a round that waits is slow and not left out.

use super::figures::Shared;
use super::pair::Pairs;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The planned instants of an order's rounds, by the host's clock; in lockstep there are none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    first_round: u64,
    start: Duration,
    /// Rounds per second.
    rate: Option<f64>,
}

impl Pace {
    pub(super) fn new(first_round: u64, start: Duration, rate: Option<f64>) -> Pace {
        Pace { first_round, start, rate }
    }

    /// The planned instant of a round; none in lockstep.
    pub(super) fn planned(&self, round: u64) -> Option<Duration> {
        self.at(round.saturating_sub(self.first_round))
    }

    fn at(&self, slot: u64) -> Option<Duration> {
        self.rate.map(|rate| self.start + Duration::from_secs_f64(slot as f64 / rate))
    }

    /// Whether a round may be begun. In lockstep the rounds before it alone decide, and the clock is not read.
    pub(super) fn is_due(&self, round: u64, now: impl FnOnce() -> Duration) -> bool {
        self.planned(round).is_none_or(|planned| planned <= now())
    }

    /// Whether a round may be begun while the one before it is being delivered, because its planned instant has come and
    /// its slot is not over. A round that has missed its slot waits for the one before as in lockstep, so that a rate that
    /// nobody bears ends in late rounds and not in servers that leave rounds out.
    pub(super) fn may_overlap(&self, round: u64, now: impl FnOnce() -> Duration) -> bool {
        self.planned(round + 1).is_some_and(|next| now() < next)
    }

    /// Whether a round that is begun now is a whole interval or more late.
    pub(super) fn is_missed(&self, round: u64, now: impl FnOnce() -> Duration) -> bool {
        self.planned(round + 1).is_some_and(|next| next <= now())
    }

    /// The first planned instant after `now` of a round before `end`.
    fn next_after(&self, now: Duration, end: u64) -> Option<Duration> {
        let passed = now.saturating_sub(self.start).as_secs_f64() * self.rate?;
        // The quotient may be off by a rounding, either way.
        let mut slot = (passed as u64).saturating_sub(1);
        while self.at(slot)? <= now {
            slot += 1;
        }
        if self.first_round + slot < end { self.at(slot) } else { None }
    }
}

/// Submits at every planned instant what may be submitted then, for as long as there are rounds before `end`.
pub(super) async fn keep(shared: Rc<Shared>, pairs: Pairs, end: u64) {
    let pace = shared.pace.get();
    while let Some(instant) = pace.next_after(shared.now(), end) {
        sleep_until(&shared, instant).await;
        for pair in pairs.borrow().iter() {
            pair.borrow_mut().submit();
        }
    }
}

/// Sleeps until an instant of the host's clock, and never a little less.
pub(super) async fn sleep_until(shared: &Shared, instant: Duration) {
    loop {
        let left = instant.saturating_sub(shared.now());
        if left.is_zero() {
            return;
        }
        glommio::timer::sleep(left).await;
    }
}

/// When an order is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Appointment {
    /// By the host's clock: the ordered instant, or now if that has passed.
    pub(super) instant: Duration,
    /// How long it had passed.
    pub(super) late: Duration,
}

impl Appointment {
    /// Of an instant in nanoseconds since 1970, where it is `now` by the host's clock and `now_ns` since 1970.
    pub(super) fn of(start_ns: Option<u64>, now: Duration, now_ns: u64) -> Appointment {
        let start_ns = start_ns.unwrap_or(now_ns);
        Appointment {
            instant: now + Duration::from_nanos(start_ns.saturating_sub(now_ns)),
            late: Duration::from_nanos(now_ns.saturating_sub(start_ns)),
        }
    }
}

/// Nanoseconds since 1970 by this machine's clock.
pub(super) fn realtime_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(7);

    fn ms(time: u64) -> Duration {
        START + Duration::from_millis(time)
    }

    #[test]
    fn rounds_are_planned_at_equal_distances_whatever_became_of_those_before() {
        let pace = Pace::new(11, START, Some(4.0));
        assert_eq!([11, 12, 19].map(|round| pace.planned(round).unwrap()), [ms(0), ms(250), ms(2_000)]);
        assert!(!pace.is_due(12, || ms(249)) && pace.is_due(12, || ms(250)) && pace.is_due(12, || ms(9_999)));
        // A million rounds later the schedule is still the same to the microsecond.
        let thirds = Pace::new(1, START, Some(3.0));
        let late = thirds.planned(3_000_001).unwrap() - START;
        assert!(late.abs_diff(Duration::from_secs(1_000_000)) < Duration::from_micros(1));
    }

    #[test]
    fn a_slot_is_missed_from_a_whole_interval_on() {
        let pace = Pace::new(11, START, Some(4.0));
        assert!(!pace.is_missed(11, || ms(0)) && !pace.is_missed(11, || ms(249)));
        assert!(pace.is_missed(11, || ms(250)) && pace.is_missed(11, || ms(10_000)));
        assert!(!pace.is_missed(12, || ms(499)) && pace.is_missed(12, || ms(500)));
        assert!(pace.may_overlap(12, || ms(499)) && !pace.may_overlap(12, || ms(500)));
    }

    #[test]
    fn the_next_planned_instant_is_never_now_and_never_beyond_the_order() {
        for rate in [0.001, 1.0 / 3.0, 2.5, 4.0, 977.0, 100_000.0] {
            let pace = Pace::new(11, START, Some(rate));
            let mut now = Duration::ZERO;
            let mut seen = Vec::new();
            while let Some(next) = pace.next_after(now, 11 + 500) {
                assert!(next > now, "{rate}: {next:?} after {now:?}");
                seen.push(next);
                now = next;
            }
            let planned: Vec<Duration> = (11..11 + 500).map(|round| pace.planned(round).unwrap()).collect();
            assert_eq!(seen, planned, "at {rate}");
        }
        // Whoever comes late goes on with what is still to come.
        let pace = Pace::new(1, START, Some(100_000.0));
        assert_eq!(pace.next_after(ms(5), 1_000), Some(START + Duration::from_micros(5_010)));
        assert_eq!(pace.next_after(ms(50), 1_000), None);
    }

    #[test]
    fn in_lockstep_nothing_is_planned_and_the_clock_is_not_read() {
        let pace = Pace::new(11, START, None);
        let unread = || -> Duration { panic!("the clock is read") };
        assert!(pace.planned(11).is_none() && pace.is_due(12, unread));
        assert!(!pace.is_missed(12, unread) && !pace.may_overlap(12, unread));
        assert_eq!(pace.next_after(Duration::ZERO, 100), None);
    }

    #[test]
    fn an_instant_is_kept_if_it_is_to_come_and_begun_at_once_if_it_has_passed() {
        let now_ns = 1_000_000_000_000_000_000;
        let of = |start_ns| Appointment::of(start_ns, START, now_ns);
        assert_eq!(of(None), Appointment { instant: START, late: Duration::ZERO });
        assert_eq!(of(Some(now_ns + 5_000_000)), Appointment { instant: ms(5), late: Duration::ZERO });
        assert_eq!(of(Some(now_ns - 5_000_000)), Appointment { instant: START, late: ms(5) - START });
        assert!(of(Some(0)).late > Duration::from_secs(1 << 29) && of(Some(u64::MAX)).instant > START);
    }
}
