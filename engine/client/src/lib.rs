//! A Twincast client as a state machine: bytes in, bytes out; no sockets, no clock, no hidden randomness.
//!
//! One [`Client`] plays some members of one group over one connection to each server. Its caller moves bytes:
//!
//! - [`Client::outgoing`] makes what a server is sent next, and asks an [`Outbox`] for recipients and messages.
//! - [`Client::space`] is where a server's bytes go; [`Client::filled`] says how many came.
//! - [`Client::advance`] uses what came, and tells an [`Observer`] verdicts, messages and events.
//!
//! The two directions of the two connections never wait for each other: bytes for a server are made when they are
//! asked for, at most [`SEND_BYTES`](limits::SEND_BYTES) ahead (of submissions two rounds, since both servers'
//! shares are made together), and bytes of a server are taken until it is ahead of the other one by
//! [`skew_bytes`](ClientSettings::skew_bytes). Cells are decoded where they lie, as soon as both servers' cells of
//! a user are there. What servers send is checked field by field; what they must not send ends the client with a
//! [`ClientError`] that says which server it was.
//!
//! ```
//! use std::time::Duration;
//! use twincast_client::{Client, ClientSettings, Event, Messages, Observer, Outbox, Tile, User};
//! use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, ServerSide, SlotIndex};
//! use twincast_protocol::receive::Verdicts;
//! use twincast_protocol::wire::{Body, Welcome};
//!
//! struct Caller(Vec<Event>);
//!
//! impl Outbox for Caller {
//!     fn recipients(&mut self, _sender: User, _slot: SlotIndex) -> &[MemberIndex] {
//!         &[MemberIndex(5)]
//!     }
//!     fn message(&mut self, _round: RoundNumber, _sender: User, _slot: SlotIndex) -> &[u8] {
//!         b"hello"
//!     }
//! }
//!
//! impl Observer for Caller {
//!     fn verdicts(&mut self, tile: &Tile, user: User, verdicts: &Verdicts, messages: &Messages<'_>) {
//!         for sender in (0..64).filter(|sender| verdicts.accept >> sender & 1 == 1) {
//!             let text = messages.get(sender as usize);
//!             println!("{}: {} wrote {text:?}", user.member, tile.first_sender.0 + sender);
//!         }
//!     }
//!     fn event(&mut self, event: Event) {
//!         self.0.push(event);
//!     }
//! }
//!
//! let settings = ClientSettings { group: GroupId(1), epoch: Epoch(0), skew_bytes: 1 << 20 };
//! let mut client = Client::new(settings, vec![MemberIndex(2), MemberIndex(4)])?;
//! let (mut caller, mut rng, now) = (Caller(Vec::new()), rand::rng(), Duration::ZERO);
//!
//! for server in ServerSide::BOTH {
//!     // HELLO goes out ..
//!     let bytes = client.outgoing(server, &mut rng, &mut caller)?.len();
//!     client.sent(server, bytes);
//!     // .. and WELCOME comes in.
//!     let welcome = Welcome {
//!         group: 1.into(), epoch: 0.into(), members: 10.into(), slots: 1.into(),
//!         frame_bytes: 288.into(), share_bytes: 336.into(), confirm_tile_senders: 64.into(),
//!         round_timeout_ms: 10_000.into(), round: 1.into(), profile: 2, open: 0, reserved: [0; 6],
//!     }
//!     .frame();
//!     client.space(server, now)[..welcome.len()].copy_from_slice(&welcome);
//!     client.filled(server, welcome.len());
//!     client.advance(now, &mut caller)?;
//! }
//! assert!(matches!(&caller.0[..], [Event::Attached(group)] if group.members == 10));
//! // Now it has two dials for each server: 8 + 24 + 2 bytes each.
//! assert_eq!(client.outgoing(ServerSide::One, &mut rng, &mut caller)?.len(), 68);
//! # Ok::<(), twincast_client::ClientError>(())
//! ```

#![forbid(unsafe_code)]

mod client;
mod dials;
mod error;
mod frames;
mod group;
mod inbound;
mod key;
pub mod limits;
mod observer;
mod outbound;
mod receiving;
mod sending;
mod stream;
mod table;

pub use client::{Client, ClientSettings};
pub use error::ClientError;
pub use observer::{Event, GroupSettings, Messages, Observer, Outbox, Tile, User};
