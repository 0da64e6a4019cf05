//! What a client asks its caller, and what it tells it.

use std::fmt;
use twincast_protocol::ids::{MemberIndex, RoundNumber, ServerSide, SlotIndex};
use twincast_protocol::receive::{BatchOpener, Verdicts};
use twincast_protocol::wire::Code;

/// One of the members that a client plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// Its position in the client's list: an index into tables of the caller.
    pub position: usize,
    /// Its index in the group.
    pub member: MemberIndex,
}

/// A tile of one round: up to 64 consecutive senders of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// The round.
    pub round: RoundNumber,
    /// The slot.
    pub slot: SlotIndex,
    /// Its position among the tiles of its round and slot, from 0.
    pub tile: u32,
    /// Its first sender.
    pub first_sender: MemberIndex,
    /// How many senders it has, 1 to 64. Bit i of a mask is `first_sender + i`.
    pub senders: u32,
}

impl Tile {
    /// The bits of the senders that there are.
    #[must_use]
    pub fn mask(&self) -> u64 {
        u64::MAX >> (64 - self.senders)
    }

    /// The bit of `member`, if it is a sender of this tile.
    #[must_use]
    pub fn bit_of(&self, member: MemberIndex) -> Option<u64> {
        let position = member.0.checked_sub(self.first_sender.0)?;
        (position < self.senders).then(|| 1 << position)
    }
}

/// The messages of a tile that were accepted.
pub struct Messages<'a>(pub(crate) Option<&'a BatchOpener>);

impl Messages<'_> {
    /// The message of a sender with a bit in [`Verdicts::accept`], by its position in the tile.
    ///
    /// # Panics
    /// When it was not accepted.
    #[must_use]
    pub fn get(&self, sender_in_tile: usize) -> &[u8] {
        self.0.expect("a message that was accepted").message(sender_in_tile)
    }
}

impl fmt::Debug for Messages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").finish_non_exhaustive()
    }
}

/// What a client asks its caller for when it makes bytes for the servers.
pub trait Outbox {
    /// Whom `sender` dials for `slot`: any set, also nobody. Asked once for each.
    fn recipients(&mut self, sender: User, slot: SlotIndex) -> &[MemberIndex];

    /// What `sender` says in `slot` of `round`: any bytes that fit the frame. Nothing (an empty message, to nobody)
    /// is cover, and looks the same to the servers. Asked once for each, slots ascending.
    fn message(&mut self, round: RoundNumber, sender: User, slot: SlotIndex) -> &[u8];

    /// The shares of `sender` for `round` are made and go to the servers next.
    fn submitted(&mut self, _round: RoundNumber, _sender: User) {}
}

/// Who is told what arrives.
pub trait Observer {
    /// Whether the cells of `tile` for `user` are to be decoded. Asked right before they are.
    fn wants(&mut self, _tile: &Tile, _user: User) -> bool {
        true
    }

    /// The verdicts on the cells of `tile` for `user`, each once; `messages` has those that were accepted.
    fn verdicts(&mut self, tile: &Tile, user: User, verdicts: &Verdicts, messages: &Messages<'_>);

    /// Both servers delivered the cells of `tile` for `user`, who does not want them.
    fn unread(&mut self, _tile: &Tile, _user: User) {}

    /// Something else happened.
    fn event(&mut self, _event: Event) {}
}

/// What happens to a client besides cells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Both servers took the members, and describe the same group.
    Attached(GroupSettings),
    /// Both servers have every session key of every user.
    Dialled,
    /// Rounds take submissions.
    EpochOpen {
        /// The first of them.
        first_round: RoundNumber,
        /// Confirmation cells that were opened.
        confirmed: u64,
        /// Confirmations that are missing or did not decode, of this client's users and all senders and slots.
        failed: u64,
    },
    /// Every verdict on the round is in.
    RoundClosed {
        /// The round.
        round: RoundNumber,
        /// Whether S1 and S2 left it out. If both did, there were no verdicts on it.
        skipped: [bool; 2],
        /// Whether a server took too long, so that the rest was called `Incomplete`.
        timed_out: bool,
    },
    /// A server refused something.
    Refused {
        /// Which server.
        server: ServerSide,
        /// The code's number; [`Code::from_number`] may know it.
        code: u16,
        /// The server's sentence.
        sentence: String,
        /// The member that it concerns.
        sender: Option<MemberIndex>,
        /// The slot that it concerns.
        slot: Option<SlotIndex>,
        /// The round that it concerns, else 0.
        round: RoundNumber,
        /// Whether the server closes the connection.
        closes: bool,
    },
}

impl Event {
    /// The code of a refusal that this version knows.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Event::Refused { code, .. } => Code::from_number(*code),
            _ => None,
        }
    }
}

pub use crate::group::GroupSettings;
