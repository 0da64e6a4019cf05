//! The front: glommio executors that take what clients send, keep the groups, and hand sealed tiles to the cores.
//!
//! A connection is accepted by a thread of its own (`accept`), shakes hands and says HELLO on some executor (`greet`), and
//! moves to the one that owns its group. From then on that executor reads the socket (`reader`) and a fan-out core writes
//! it; nobody else touches it. Where channels are private each of the two has the keys of its own direction alone.

mod accept;
mod dispatch;
mod executor;
mod frames;
mod greet;
mod inlet;
mod net;
mod outlet;
mod queue;
mod reader;
mod register;
mod strangers;

pub use accept::{Acceptor, Taking};
pub use executor::{Executor, Shared};
pub use inlet::Incoming;
pub use net::{Joiner, watched};
pub use queue::{Adopted, FrontHandle, FrontMessage, Outcome};
pub use strangers::{Stranger, Strangers};
