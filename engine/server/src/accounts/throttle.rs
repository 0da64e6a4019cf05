//! Lines of the log that others can bring about: one a minute, with how many there were since.

use std::time::{Duration, Instant};

/// How often a line is written at the most.
const EVERY: Duration = Duration::from_secs(60);

/// One kind of line.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    last: Option<Instant>,
    left_out: u64,
}

impl Throttle {
    /// Whether the line is written now, and then how many were left out since the last one.
    pub(super) fn pass(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now < last + EVERY) {
            self.left_out += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_others_bring_about_comes_once_a_minute_with_a_count() {
        let mut throttle = Throttle::default();
        let begun = Instant::now();
        assert_eq!(throttle.pass(begun), Some(0));
        assert!((0..1_000).all(|_| throttle.pass(begun + EVERY / 2).is_none()));
        assert_eq!(throttle.pass(begun + EVERY), Some(1_000));
        assert_eq!(throttle.pass(begun + EVERY * 2), Some(0));
    }
}
