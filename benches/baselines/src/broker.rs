//! What a user might take instead: a message broker, `nats-server`, where it is installed.
//!
//! The group is one subject. Every member is a subscription of its own, and the members of a host share its connection,
//! as in the other baselines. Each sender publishes one message of a share's size a round, which the broker delivers to
//! every subscription: as many deliveries as one Twincast server has shares, in clear, from one broker who sees
//! everything. A broker as its users have it: batching, several threads, its default settings.
//!
//! A round goes in *waves*: so many senders publish at a time that what waits for one connection stays well below what
//! the broker lets wait (`max_pending`, 64 MiB) before it closes the connection as a slow consumer's.

mod host;
mod mail;
mod process;
mod text;

pub use host::Host;
pub use process::{Broker, PROGRAM, installed};
