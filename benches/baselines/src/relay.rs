//! A server that takes a round's uploads over few shared connections and, when all are there, delivers to every user:
//! what the paper's own set-up and the PKI broadcast have in common.
//!
//! The server is tokio's epoll loop on one thread. What differs is a [`Trade`]: what users bring, and how a round goes out.
//!
//! Wire, little-endian, all sizes known to both ends:
//!
//! | from | what |
//! |---|---|
//! | host | hello: magic u32, host u32 |
//! | host | for each of its users, ascending: user u32, introduction |
//! | server | the welcome, once all users are introduced |
//! | host | a round: for each of its senders, ascending: sender u32, round u32, upload |
//! | server | the round's deliveries, once all uploads are there |
//!
//! A host begins a round when it has all of the last: so a server holds the uploads of two rounds at the most.

mod hall;
mod inbox;
mod link;
mod outlet;
mod server;

pub(crate) use inbox::Inbox;
pub(crate) use link::Link;
pub(crate) use outlet::Outlet;
pub(crate) use server::{Delivery, Trade};
pub use server::{RelayReport, RelayServer};

/// The first word of a connection.
const MAGIC: u32 = u32::from_le_bytes(*b"TCB1");
/// Bytes of what a host says first: magic and host.
const HELLO_BYTES: usize = 8;
/// Bytes of a number of a user before its introduction.
const USER_BYTES: usize = 4;
/// Bytes before an upload: sender and round.
const UPLOAD_HEAD_BYTES: usize = 8;

/// The number at a place that the caller knows to be there.
pub(crate) fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}
