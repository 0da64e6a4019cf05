//! What a host tells second by second while it plays: what grew since the last time it told.

use super::figures::Shared;
use crate::control::HostSecond;
use crate::process::cpu_seconds;
use std::rc::Rc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// The readings at the end of the last part.
pub(super) struct Seconds {
    /// The instant at which the rounds began.
    begin: Duration,
    end: Duration,
    rounds: u32,
    missed_slots: u64,
    bytes_in: [u64; 2],
    bytes_out: [u64; 2],
    cpu_seconds: f64,
}

impl Seconds {
    /// Rounds begin now.
    pub(super) fn begin(shared: &Shared, now: Duration) -> Seconds {
        let (bytes_in, bytes_out) = shared.bytes();
        let cpu_seconds = cpu_seconds();
        Seconds { begin: now, end: now, rounds: 0, missed_slots: 0, bytes_in, bytes_out, cpu_seconds }
    }

    /// When the part that goes on is to be told: at whole seconds since the begin, so that one that was told late does
    /// not make the others late.
    pub(super) fn due(&self) -> Duration {
        self.begin + SECOND * ((self.end - self.begin).as_secs() as u32 + 1)
    }

    /// Ends the part that goes on.
    pub(super) fn take(&mut self, shared: &Shared, now: Duration) -> HostSecond {
        let mut figures = shared.figures.borrow_mut();
        let (bytes_in, bytes_out) = shared.bytes();
        let grown = |now: [u64; 2], before: [u64; 2]| [now[0] - before[0], now[1] - before[1]];
        let later = Seconds {
            begin: self.begin,
            end: now,
            rounds: figures.rounds_closed(),
            missed_slots: figures.missed_slots(),
            bytes_in,
            bytes_out,
            cpu_seconds: cpu_seconds(),
        };
        let second = HostSecond {
            at_s: (later.end - later.begin).as_secs_f64(),
            seconds: (later.end - self.end).as_secs_f64(),
            rounds: later.rounds - self.rounds,
            missed_slots: later.missed_slots - self.missed_slots,
            bytes_in: grown(later.bytes_in, self.bytes_in),
            bytes_out: grown(later.bytes_out, self.bytes_out),
            cpu_seconds: later.cpu_seconds - self.cpu_seconds,
            message_latency_ns: figures.message_latency_ns.end_part(),
            delivery_latency_ns: figures.delivery_latency_ns.end_part(),
        };
        *self = later;
        second
    }
}

/// Wakes the main task every second.
pub(super) async fn tick(shared: Rc<Shared>) {
    loop {
        glommio::timer::sleep(SECOND).await;
        shared.wake_main();
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::Figures;
    use super::*;
    use crate::latency::{from_text, merge};
    use twincast_protocol::ids::ServerSide;

    #[test]
    fn the_parts_are_the_whole() {
        let shared = Shared::new();
        shared.received(ServerSide::One, 1_000);
        *shared.figures.borrow_mut() = Figures::new(vec![1; 5]);
        let at = Duration::from_millis;
        let mut seconds = Seconds::begin(&shared, at(500));
        assert_eq!(seconds.due(), at(1_500));
        let mut parts = Vec::new();
        for (now, round) in [(at(1_510), 0), (at(2_500), 1), (at(4_700), 2), (at(4_800), 3)] {
            {
                let mut figures = shared.figures.borrow_mut();
                figures.planned(round, now);
                if round == 2 {
                    figures.missed(round);
                    figures.missed(round);
                }
                for time in 1..=100 * (round as u64 + 1) {
                    figures.message_latency_ns.record(Duration::from_micros(time));
                    figures.delivery_latency_ns.record(Duration::from_micros(7 * time));
                }
                figures.closed(round, now, false);
            }
            shared.received(ServerSide::Two, 10);
            shared.sent(ServerSide::One, 3);
            parts.push(seconds.take(&shared, now));
        }
        // Told late, or after a long wait: the next is told at a whole second again.
        assert_eq!(seconds.due(), at(5_500));
        let report = shared.figures.borrow_mut().report();
        assert_eq!(parts.iter().map(|part| part.seconds).sum::<f64>(), 4.3);
        assert_eq!(parts.iter().map(|part| part.at_s).collect::<Vec<_>>(), [1.01, 2.0, 4.2, 4.3]);
        assert!(parts.iter().all(|part| (part.rounds, part.bytes_in) == (1, [0, 10])));
        assert!(parts.iter().all(|part| part.bytes_out == [3, 0]));
        assert_eq!(parts.iter().map(|part| part.missed_slots).collect::<Vec<_>>(), [0, 0, 1, 0]);
        assert_eq!(report.missed_slots, 1);
        let sum = |of: fn(&HostSecond) -> &String| merge(parts.iter().map(|part| of(part).as_str())).unwrap();
        let message = sum(|part| &part.message_latency_ns);
        assert_eq!(message, from_text(&report.message_latency_ns).unwrap());
        assert_eq!(sum(|part| &part.delivery_latency_ns), from_text(&report.delivery_latency_ns).unwrap());
        assert_eq!(message.len(), 1_000);
    }
}
