//! The egress engine of one fan-out core: it takes bytes from sources and sends them to sockets, over io_uring.
//!
//! This crate alone speaks io_uring. It knows nothing of shares, tiles or frames: a connection is a socket and a
//! [`Source`], which writes the next bytes of its stream into a slab when asked.
//!
//! One thread owns one [`Egress`]: a ring, a pool of slabs and the connections. The thread calls [`Egress::turn`] in
//! a loop; everything else happens in there. Other threads reach it through a queue of the caller's own and the
//! [`Doorbell`].
//!
//! ```no_run
//! use std::time::Instant;
//! use twincast_ring::{Doorbell, Egress, EgressConfig, Event, KernelRing, RingError, Source};
//!
//! /// Zeros to the end of the stream: the fill position, the send position, the end.
//! struct Zeros(u64, u64, u64);
//! impl Source for Zeros {
//!     fn fill(&mut self, buf: &mut [u8]) -> usize {
//!         let bytes = buf.len().min((self.2 - self.0) as usize);
//!         buf[..bytes].fill(0);
//!         self.0 += bytes as u64;
//!         bytes
//!     }
//!     fn sent(&mut self, bytes: usize) {
//!         self.1 += bytes as u64;
//!     }
//!     fn rewind(&mut self) {
//!         self.0 = self.1;
//!     }
//!     fn pending(&self) -> bool {
//!         self.1 < self.2
//!     }
//! }
//!
//! # fn core(socket: std::os::fd::OwnedFd) -> Result<(), RingError> {
//! let config = EgressConfig::default();
//! let doorbell = Doorbell::new()?;
//! let ring = KernelRing::new(&config)?;
//! let mut egress = Egress::new(config, ring, doorbell.clone())?;
//! let start = Instant::now();
//! let key = egress.add(socket, Zeros(0, 0, 1 << 30), start.elapsed()).map_err(|(error, _, _)| error)?;
//! let mut events = Vec::new();
//! loop {
//!     egress.turn(start.elapsed(), None, &mut events);
//!     for event in events.drain(..) {
//!         match event {
//!             Event::Doorbell => { /* drain the queue; add, wake, close */ }
//!             Event::Closed { reason, .. } => println!("{key:?} closed: {reason}"),
//!         }
//!     }
//! }
//! # }
//! ```
//!
//! # Promises
//!
//! | promise | held by |
//! |---|---|
//! | a peer gets its source's bytes, in order, none twice | `simulation`, `tests/sockets.rs` |
//! | a slab is written to only when the kernel has let go of it | the types in `slabs`, `simulation` |
//! | readers that stop, however many, hold up nobody else | `stopped_readers_hold_up_nobody`, `simulation` |
//! | ready connections take turns | `ready_connections_take_turns` |
//! | what takes long to make keeps nobody waiting, and goes on by itself | `who_is_put_off_goes_on_in_later_turns_and_keeps_nobody_waiting` |
//! | a peer that acknowledges is never stalled | `a_peer_that_acknowledges_does_not_stall` |
//! | a ring of an awake core costs no system call, and none is lost | `doorbell::tests`, `tests/sockets.rs` |
//! | memory in flight is never freed, not even by a panic | `Egress`'s `Drop`; the end is tested, the leak is not |
//! | 1.2 times the CPU of a plain `send` per byte, the gather included | `cargo bench --bench egress` |

mod closing;
mod config;
mod connection;
mod doorbell;
mod egress;
mod error;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
mod kernel;
mod limits;
mod lists;
mod memory;
mod ring;
mod sending;
#[cfg(test)]
mod simulation;
mod slabs;
mod stats;
mod support;
mod tcp_info;
mod user_data;

pub use config::{EgressConfig, Registered, ZeroCopy};
pub use connection::{Close, CloseReason, ConnectionKey, Source};
pub use doorbell::Doorbell;
pub use egress::{Egress, Event};
pub use error::RingError;
pub use kernel::KernelRing;
pub use limits::{SLAB_BYTES_DEFAULT, SLAB_BYTES_MAX, SLAB_BYTES_MIN, SLABS_MAX, SLABS_MIN};
pub use memory::memlock_limit;
pub use ring::{Completion, Entered, Operation, Ring, Wait};
pub use stats::{EgressStats, TcpTotals};
pub use support::{OPERATIONS_NEEDED, Support, support};
pub use tcp_info::{TcpInfo, tcp_info};
