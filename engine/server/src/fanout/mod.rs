//! Fan-out: plain threads, each with a ring of its own and a set of connections, that write sealed tiles to sockets.
//!
//! A front executor talks to a core through a bounded queue and a doorbell, and never waits for it. What a core has
//! to say (a connection is closed) goes back through the executor's own queue.

mod core;
mod cursor;
mod log;
mod patience;
mod sealed;
#[cfg(test)]
mod signed_rounds;

pub use self::core::{Core, CoreCounters, CoreHandle, CoreMessage, Newcomer};
pub use log::Item;
pub use sealed::{SEALED_SLAB_BYTES_MIN, Sealed};
