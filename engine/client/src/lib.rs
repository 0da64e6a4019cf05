//! A Twincast client as a state machine: bytes in, bytes out; no sockets, no clock, no hidden randomness.
//!
//! One [`Client`] plays some users of one group over one connection to each server. Its caller moves bytes:
//!
//! - [`Client::outgoing`] makes what a server is sent next, and asks an [`Outbox`] for recipients and messages.
//! - [`Client::space`] is where a server's bytes go; [`Client::filled`] says how many came.
//! - [`Client::advance`] uses what came, and tells an [`Observer`] verdicts, messages and events.
//! - [`Client::submit`] begins a round's submissions, after [`Event::EpochOpen`] and each [`Event::RoundClosed`].
//!
//! The two directions of the two connections never wait for each other: bytes for a server are made when they are
//! asked for, at most [`SEND_BYTES`](limits::SEND_BYTES) ahead (of submissions two rounds, since both servers'
//! shares are made together, and before them the rest of a user's parts that are begun), and bytes of a server are
//! taken until it is ahead of the other one by [`skew_bytes`](ClientSettings::skew_bytes). Cells are decoded where
//! they lie, as soon as both servers' cells of a user are there. What servers send is checked field by field; what
//! they must not send ends the client with a [`ClientError`] that says which server it was.
//!
//! # Epochs
//!
//! The client believes what both servers say of an epoch, and stops where they differ. It dials every slot of all its
//! users for each epoch, as soon as that is announced; submits with a dial only once both servers say that it is in
//! effect; and goes on to the next epoch where both have opened it. A user who joins or leaves does so at an epoch's
//! start: [`Event::NotAdmitted`], [`Event::Left`]. Members are known by their [`UserId`], which lasts; a
//! [`MemberIndex`] counts in one epoch alone.
//!
//! A client that comes while rounds are open fetches the confirmations that it missed, and then reads from the first
//! round that both servers deliver whole. One that was connected before ([`Client::reconnect`]) keeps its dials and
//! keys. A new one may still submit with dials that its users made earlier, since the servers report them, if the
//! profile is compact and the scheme plain; in the others a dial has a secret that went with the old client, and its
//! users are silent until the next epoch.
//!
//! # Private channels and identities
//!
//! With [`ChannelSettings::Noise`] everything goes through a private channel with each server, which is the one whose key
//! is pinned. The handshake comes by [`Client::outgoing`] and [`Client::filled`] like everything else, and nothing is said
//! before it is done; the client's own key in it is drawn anew for each connection. Records are opened into the receive
//! buffer, where cells are decoded in place, and their sizes follow from what is sent of each frame's kind, never from what
//! is in it. A record that was changed, dropped, repeated or moved on the way ends the client with
//! [`ClientError::Channel`], once everything before it is used; [`Client::reconnect`] mends that. A server that refuses a
//! connection before there is a channel says so in the clear: [`Event::Refused`] has the code, one of the few that can be
//! said then, and this crate's sentence for it, which says that it is not authenticated.
//!
//! Users of a registered group prove who they are, with a signature over this channel and this server
//! ([`Outbox::identity`]). They get their accounts with a [`Registration`].
//!
//! # Answer delivery
//!
//! In a group whose delivery is [`Answer`](Delivery::Answer) a slot is a *query*: [`Outbox::recipients`] names the one
//! member whose records it asks for, or nobody, and each epoch all are dialled, used or not. A user sends one record a
//! round, the same to both servers, signed and sealed with what [`Outbox::author`] says; and reads the record of whom it
//! asked for, with what [`Observer::known`] says. Both servers list who is absent, and answer with zeros in the place of
//! each; where their lists differ, every query of the round is `Tampered`. What is kept of a client for the next one of
//! the same users is what it has signed last: [`Client::signed`].
//!
//! A round has two ends. With [`Event::RoundClosed`] all answers are there, and it is time to [`Client::submit`]. The
//! verdicts ([`Observer::answer`], then [`Event::RoundRead`]) come with a later [`Client::advance`], once what was
//! submitted is sent to both servers: verifying and opening take time that depends on what was asked, and a server sees
//! when a client sends. [`Client::deadline`] says when. A caller that submits at once when a round is closed, before it
//! advances again, shows nothing. `Tampered` raises the user's alarm, and no other verdict does.
//!
//! Signatures are verified in batches, with coefficients of a generator that is seeded from the one that
//! [`Client::outgoing`] is given when the first query is drawn.
//!
//! # Keys
//!
//! In a group that exchanges keys, two members who wanted to share one ([`Outbox::key_partners`]) do from the start of
//! the epoch on, and a message in a slot with that one recipient is sealed end to end. What is sealed and does not
//! open is an `Ignore` without an alarm: a complaint would show who the recipients are.
//!
//! # Accountable groups
//!
//! In an accountable group users sign what they dial and send ([`Outbox::identity`]), and servers what they deliver; the
//! caller says what the servers sign with ([`ClientSettings::accountable`]). What decodes is never looked at twice. Cells
//! that do not are `Tampered` and raise the alarm as in any other group; and they are kept, up to a
//! [bound](limits::DOUBT_BYTES_MAX). Each user asks both servers, once in `header_rounds` rounds and whatever it was given,
//! what senders signed of one tile: of one that it has doubts about, or else of any. Then comes
//! [`Observer::evidence`], of which anybody can tell who is at fault, or that nobody is; or, where a server does not give
//! what it owes, [`Event::Unaccountable`].
//!
//! Nobody signs two different things for one round, here as in answer delivery. What is signed never runs ahead of either
//! server by more than the round after the one that it has open, whatever the other one says; so a client that comes while
//! rounds are open and does not know what an earlier one has signed ([`ClientSettings::signed`]) begins with the second
//! round after the open one ([`Event::Silent`]), and one that knows goes on at once. While the servers are further apart
//! nothing is signed ([`Event::ServersApart`]).
//!
//! # Example
//!
//! A caller, the first words of both servers, and what the client says to them. A whole program over TCP is
//! `engine/client/src/bin/twincast-client/talk.rs`.
//!
//! ```
//! use std::time::Duration;
//! use twincast_client::{ChannelSettings, Client, ClientSettings, Event, Messages, Observer, Outbox, Tile, User};
//! use twincast_protocol::ids::{Epoch, GroupId, RoundNumber, ServerSide, SlotIndex, UserId};
//! use twincast_protocol::receive::Verdicts;
//! use twincast_protocol::wire::{Body, Roster, Welcome, roster_hash};
//!
//! #[derive(Default)]
//! struct Caller(Vec<Event>);
//!
//! impl Outbox for Caller {
//!     fn recipients(&mut self, _epoch: Epoch, _sender: User, _slot: SlotIndex) -> &[UserId] {
//!         &[UserId(30)]
//!     }
//!     fn message(&mut self, _round: RoundNumber, _sender: User, _slot: SlotIndex) -> &[u8] {
//!         b"hello"
//!     }
//! }
//!
//! impl Observer for Caller {
//!     fn verdicts(&mut self, tile: &Tile, user: User, verdicts: &Verdicts, messages: &Messages<'_>) {
//!         for sender in (0..64).filter(|sender| verdicts.accept >> sender & 1 == 1) {
//!             let text = String::from_utf8_lossy(messages.get(sender as usize));
//!             println!("to {}: member {} wrote {text}", user.id, tile.first_sender.0 + sender);
//!         }
//!     }
//!     fn event(&mut self, event: Event) {
//!         self.0.push(event);
//!     }
//! }
//!
//! let (group, epoch, members) = (GroupId(1), Epoch(0), [10, 20, 30].map(UserId));
//! let settings = ClientSettings {
//!     group,
//!     epoch: None,
//!     join: false,
//!     skew_bytes: 1 << 20,
//!     signed: None,
//!     accept_baseline: false,
//!     channel: ChannelSettings::Plain,
//!     accountable: None,
//! };
//! let mut client = Client::new(settings, vec![members[0], members[1]])?;
//! let (mut caller, mut rng, now) = (Caller::default(), rand::rng(), Duration::ZERO);
//!
//! for server in ServerSide::BOTH {
//!     // HELLO goes out ..
//!     let bytes = client.outgoing(server, &mut rng, &mut caller)?.len();
//!     client.sent(server, bytes);
//!     // .. and WELCOME comes in, with the members.
//!     let welcome = Welcome {
//!         group: group.0.into(), epoch: epoch.0.into(), members: 3.into(), slots: 1.into(),
//!         frame_bytes: 288.into(), share_bytes: 336.into(), confirm_tile_senders: 64.into(),
//!         key_tile_senders: 0.into(), round_timeout_ms: 10_000.into(), interval_ms: 0.into(),
//!         epoch_rounds: 100.into(), announce_rounds: 10.into(), round: 1.into(),
//!         roster_hash: roster_hash(group, epoch, &members), profile: 2, scheme: 0,
//!         subgroups_max: 0.into(), open: 0, delivery: 0, linked: 1, flags: 0, header_rounds: 0.into(),
//!     };
//!     let said = [welcome.frame(), Roster::frames(epoch, &members)].concat();
//!     client.space(server, now)[..said.len()].copy_from_slice(&said);
//!     client.filled(server, said.len());
//!     client.advance(now, &mut caller)?;
//! }
//! assert!(matches!(&caller.0[..], [Event::Attached(group)] if group.members == 3));
//! // Now it has two dials for each server: 8 + 24 + 1 bytes each.
//! assert_eq!(client.outgoing(ServerSide::One, &mut rng, &mut caller)?.len(), 66);
//! # Ok::<(), twincast_client::ClientError>(())
//! ```
//!
//! [`UserId`]: twincast_protocol::ids::UserId
//! [`MemberIndex`]: twincast_protocol::ids::MemberIndex

#![forbid(unsafe_code)]

mod accountable;
mod announcements;
mod answers;
mod catching_up;
mod channel;
mod client;
mod closed_rounds;
mod decoder;
mod deliver;
mod dialling;
mod dials;
mod epochs;
mod error;
mod event;
mod exchange;
mod frames;
mod greeting;
mod group;
mod inbound;
mod key;
pub mod limits;
mod line;
mod observer;
mod outbound;
mod queue;
mod receiving;
mod receiving_parts;
mod registration;
mod roster;
mod sending;
mod sending_parts;
mod session;
mod stream;
mod submitting;
mod submitting_records;
mod table;

pub use channel::ChannelSettings;
pub use client::{Client, ClientSettings};
pub use error::ClientError;
pub use event::{Event, Shortfall};
pub use group::{Delivery, GroupSettings};
pub use line::Watch;
pub use observer::{Author, Deal, Known, Messages, Observer, Outbox, Sealing, Tile, User};
pub use registration::{Account, Registration, RegistrationError};
