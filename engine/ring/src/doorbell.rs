//! Wakes a core that sleeps in its ring.
//!
//! The state says what the core does: awake, rung, asleep. A ring sets it to rung, and only one that found the core
//! asleep writes to the eventfd: many rings of an awake core cost one atomic swap each and no system call. The core
//! goes to sleep only if nobody rang since it last looked, and that is one compare-and-swap, so no ring is lost: it
//! comes before the swap, and the core does not sleep, or after it, and finds the core asleep.
//!
//! The core keeps a multishot poll on the eventfd and never reads its counter: each write wakes the poll anew.

use crate::error::RingError;
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const AWAKE: u8 = 0;
const RUNG: u8 = 1;
const ASLEEP: u8 = 2;

/// A handle with which any thread wakes a core. Cheap to clone.
///
/// Put the message into the queue first, then ring; the core drains the queue after `Event::Doorbell`.
#[derive(Debug, Clone)]
pub struct Doorbell {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: AtomicU8,
    eventfd: OwnedFd,
}

impl Doorbell {
    /// A doorbell for one core, which gets a clone in `Egress::new`.
    ///
    /// # Errors
    ///
    /// `RingError::Kernel` when the process has no descriptor left.
    pub fn new() -> Result<Self, RingError> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC)
            .map_err(|error| RingError::Kernel { what: "eventfd", error: error.into() })?;
        Ok(Self { inner: Arc::new(Inner { state: AtomicU8::new(AWAKE), eventfd }) })
    }

    /// Has the core report `Event::Doorbell` soon. Returns whether that took a system call.
    pub fn ring(&self) -> bool {
        if self.inner.state.swap(RUNG, Ordering::AcqRel) != ASLEEP {
            return false;
        }
        let written = rustix::io::write(&self.inner.eventfd, &1u64.to_ne_bytes());
        assert_eq!(written, Ok(8), "an eventfd takes 2^64 - 2 rings");
        true
    }

    /// The core's: whether it may sleep. If so, the next ring writes to the eventfd.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.inner.state.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The core's: it is awake now. Whether somebody rang since it last asked.
    pub(crate) fn answer(&self) -> bool {
        self.inner.state.swap(AWAKE, Ordering::AcqRel) == RUNG
    }

    /// What the core polls.
    pub(crate) fn eventfd(&self) -> BorrowedFd<'_> {
        self.inner.eventfd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sleeping_core_costs_a_system_call() {
        let doorbell = Doorbell::new().unwrap();
        assert!(!doorbell.ring() && !doorbell.ring());
        assert!(!doorbell.fall_asleep(), "a rung core has to look first");
        assert!(doorbell.answer());
        assert!(!doorbell.answer(), "one answer per ring");
        assert!(doorbell.fall_asleep());
        assert!(doorbell.ring());
        assert!(!doorbell.ring(), "the second ring finds the core woken");
        assert!(doorbell.answer());
    }
}
