//! How a host's tasks take turns.
//!
//! In glommio 0.9 a task that wakes itself is run again before any socket is looked at, until the preemption timer
//! runs out; and an executor that is kept off the CPU until that timer has run out may sleep although tasks are ready
//! (`twincast_server::front::watched` tells more). So a task that could go on lets the reactor wake it instead, and
//! the timer is set out of reach.

use std::time::Duration;

/// The executor's preemption timer: never.
pub(super) const PREEMPT_TIME: Duration = Duration::from_secs(24 * 3600);

/// Longer than making a timer takes, and over by the time the reactor has looked at the sockets: nobody sleeps for it.
const NO_TIME: Duration = Duration::from_micros(1);

/// Lets the reactor and every other task have their turn.
pub(super) async fn turn() {
    glommio::timer::sleep(NO_TIME).await;
}
