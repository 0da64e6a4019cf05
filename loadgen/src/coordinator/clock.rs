//! How far another machine's clock is from this one's.

use std::time::{Duration, Instant};

/// Looks at the other clock.
const PINGS: u32 = 64;
/// So many looks are taken however long they take.
const PINGS_MIN: u32 = 4;
/// Time for all looks after those.
const PINGS_TIME: Duration = Duration::from_secs(1);

/// What one place's clock says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Clock {
    /// To be added to this machine's time for that of the other one.
    pub(crate) offset_ns: i64,
    /// Of the quickest look. The offset is right to half of it.
    pub(crate) round_trip_ns: u64,
}

impl Clock {
    /// Looks often, and keeps what the quickest look said: the others waited somewhere on their way, nobody knows on
    /// which.
    pub(super) fn read<E>(mut ask: impl FnMut() -> Result<u64, E>) -> Result<Clock, E> {
        let start = Instant::now();
        let mut best: Option<Clock> = None;
        for ping in 0..PINGS {
            if ping >= PINGS_MIN && start.elapsed() > PINGS_TIME {
                break;
            }
            let (sent_ns, sent) = (crate::process::now_ns(), Instant::now());
            let theirs_ns = ask()?;
            let look = Clock::of(sent_ns, theirs_ns, sent.elapsed());
            if best.is_none_or(|best| look.round_trip_ns < best.round_trip_ns) {
                best = Some(look);
            }
        }
        Ok(best.unwrap_or_default())
    }

    fn of(sent_ns: u64, theirs_ns: u64, round_trip: Duration) -> Clock {
        let round_trip_ns = round_trip.as_nanos() as u64;
        let ours_ns = sent_ns.saturating_add(round_trip_ns / 2);
        Clock { offset_ns: theirs_ns.wrapping_sub(ours_ns).cast_signed(), round_trip_ns }
    }

    /// An instant of this machine's clock, by the other one.
    pub(crate) fn there(self, here_ns: u64) -> u64 {
        here_ns.saturating_add_signed(self.offset_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_to_the_middle_of_the_round_trip() {
        let ahead = Clock::of(1_000_000, 5_050_000, Duration::from_nanos(100_000));
        assert_eq!(ahead, Clock { offset_ns: 4_000_000, round_trip_ns: 100_000 });
        assert_eq!(ahead.there(2_000_000), 6_000_000);
        let behind = Clock::of(5_000_000, 1_050_000, Duration::from_nanos(100_000));
        assert_eq!(behind.offset_ns, -4_000_000);
        assert_eq!(behind.there(5_000_000), 1_000_000);
        assert_eq!(Clock::default().there(7), 7);
    }

    #[test]
    fn the_quickest_look_counts_and_this_machines_own_clock_is_near() {
        let mut looks = 0;
        let clock = Clock::read(|| {
            looks += 1;
            if looks % 2 == 0 {
                std::thread::sleep(Duration::from_millis(3));
            }
            Ok::<u64, ()>(crate::process::now_ns())
        });
        let clock = clock.unwrap();
        assert!(looks >= PINGS_MIN);
        // One clock, read twice: no further apart than the look took, were it not set meanwhile.
        assert!(clock.offset_ns.unsigned_abs() <= clock.round_trip_ns.max(1_000_000), "{clock:?}");
        assert_eq!(Clock::read(|| Err::<u64, _>("gone")), Err("gone"));
    }
}
