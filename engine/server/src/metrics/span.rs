//! Times that are summed: how often something was done, and how long that took in all.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How often something was done, and the time that it took in all. Their quotient is the mean, over any interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// How often.
    pub count: u64,
    /// In all.
    pub time: Duration,
}

impl Span {
    /// Adds one.
    pub fn add(&mut self, time: Duration) {
        self.count += 1;
        self.time += time;
    }
}

impl std::iter::Sum for Span {
    fn sum<I: Iterator<Item = Span>>(spans: I) -> Span {
        spans.fold(Span::default(), |sum, span| Span {
            count: sum.count + span.count,
            time: sum.time + span.time,
        })
    }
}

/// A [`Span`] that several threads add to.
#[derive(Debug, Default)]
pub struct SpanCounter {
    count: AtomicU64,
    nanoseconds: AtomicU64,
}

impl SpanCounter {
    /// Adds one. After 584 years in all it begins anew.
    pub fn add(&self, time: Duration) {
        self.nanoseconds.fetch_add(time.as_nanos() as u64, Relaxed);
        self.count.fetch_add(1, Relaxed);
    }

    /// What was added so far.
    #[must_use]
    pub fn get(&self) -> Span {
        Span { count: self.count.load(Relaxed), time: Duration::from_nanos(self.nanoseconds.load(Relaxed)) }
    }
}
