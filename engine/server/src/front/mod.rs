//! The front: glommio executors that take what clients send, keep the groups, and hand sealed tiles to the cores.
//!
//! A connection is accepted by a thread of its own (`accept`), says HELLO on some executor, and moves to the one that
//! owns its group. From then on that executor reads the socket and a fan-out core writes it; nobody else touches it.

mod accept;
mod dispatch;
mod executor;
mod frames;
mod net;
mod queue;
mod reader;

pub use accept::{Acceptor, Taking};
pub use executor::{Executor, Shared};
pub use net::{Joiner, watched};
pub use queue::{FrontHandle, FrontMessage};
