//! What a client asks its caller, and what it tells it.

use crate::decoder::Decoder;
use crate::event::Event;
use std::fmt;
use twincast_protocol::accountable::evidence::Evidence;
use twincast_protocol::answer::record::Readers;
use twincast_protocol::identity::{SigningKey, VerifyingKey};
use twincast_protocol::ids::{Epoch, MemberIndex, RoundNumber, SlotIndex, UserId};
use twincast_protocol::receive::{Verdict, Verdicts};
use twincast_protocol::sealed::SealKey;

/// One of the users that a client plays, as a member of the epoch in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// Its position in the client's list: an index into tables of the caller.
    pub position: usize,
    /// Its number, which lasts.
    pub id: UserId,
    /// Its index in this epoch.
    pub member: MemberIndex,
}

/// A tile of one round: up to 64 consecutive senders of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// The epoch, whose members the senders are.
    pub epoch: Epoch,
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
pub struct Messages<'a>(pub(crate) Option<&'a Decoder>);

impl Messages<'_> {
    /// The message of a sender with a bit in [`Verdicts::accept`], by its position in the tile. One that came sealed
    /// is the plaintext. In a paper profile zeros may follow it, up to the frame's end.
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

/// What one user says in a round of the one-to-many scheme.
#[derive(Clone, Copy, Default)]
pub struct Deal<'a> {
    /// Recipients, all different, and what each is to read. A recipient that the epoch does not have is left out.
    pub messages: &'a [(UserId, Vec<u8>)],
    /// Subgroups more that have no recipient. Messages and noise are at most the group's subgroups; with neither,
    /// there is one subgroup of noise.
    pub noise: u16,
}

impl Deal<'_> {
    /// Nothing to say: cover.
    pub const EMPTY: Deal<'static> = Deal { messages: &[], noise: 0 };
}

/// `Debug` shows neither recipients nor messages.
impl fmt::Debug for Deal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deal").finish_non_exhaustive()
    }
}

/// How a message is sealed, where the caller decides that instead of the client.
#[derive(Clone, Copy, Debug)]
pub enum Sealing<'a> {
    /// Not at all.
    Plain,
    /// Under a key of the caller's, which the recipients know as a key of this sender.
    Key {
        /// The key. Nothing else may be sealed with it in this round and slot.
        key: &'a SealKey,
        /// The number that the recipients know their set by.
        recipient_set: u64,
    },
}

/// What one user's records are made with.
#[derive(Clone, Copy)]
pub struct Author<'a> {
    /// What it signs with.
    pub signing: &'a SigningKey,
    /// Whom its record of the round is for; nobody: it is cover.
    pub readers: Option<Readers<'a>>,
}

/// `Debug` does not even show whether it is cover.
impl fmt::Debug for Author<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Author").finish_non_exhaustive()
    }
}

/// What a reader knows of a sender whose records it asks for.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// What the sender signs with.
    pub verifying: VerifyingKey,
    /// What its records open with, if the reader has it.
    pub readers: Option<Readers<'a>>,
}

/// `Debug` shows nothing of it: a key names a sender.
impl fmt::Debug for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").finish_non_exhaustive()
    }
}

/// What a client asks its caller for when it makes bytes for the servers.
pub trait Outbox {
    /// Whom `sender` dials for `slot` of `epoch`: any set that the group's format can reach, also nobody. In a group
    /// whose delivery is `answer`: the one member whose records it wants to read, or nobody. Asked once for each dial.
    /// Users whom the epoch does not have are left out, with [`Event::RecipientGone`](crate::Event::RecipientGone).
    fn recipients(&mut self, epoch: Epoch, sender: User, slot: SlotIndex) -> &[UserId];

    /// What `sender` says in `slot` of `round`: any bytes that fit
    /// ([`message_bytes_max`](crate::GroupSettings::message_bytes_max)). Nothing (an empty message, to nobody) is
    /// cover, and looks the same to the servers. Asked once for each, slots ascending; not in the one-to-many scheme.
    fn message(&mut self, round: RoundNumber, sender: User, slot: SlotIndex) -> &[u8];

    /// What `sender` says in `round` of the one-to-many scheme, and to whom. Asked once for each.
    fn deal(&mut self, _round: RoundNumber, _sender: User) -> Deal<'_> {
        Deal::EMPTY
    }

    /// Whom `sender` wants to share a key with in `epoch`, in a group that exchanges keys. Asked once for each.
    fn key_partners(&mut self, _epoch: Epoch, _sender: User) -> &[UserId] {
        &[]
    }

    /// How the message of `sender` in `slot` of `round` is sealed, in a group that exchanges keys. None leaves it to
    /// the client: with the key of the pair where there is one recipient, and a key shared with it; else not at all.
    fn seal_with(&mut self, _round: RoundNumber, _sender: User, _slot: SlotIndex) -> Option<Sealing<'_>> {
        None
    }

    /// In a group whose delivery is `answer`: what the record of `sender` for `round` is signed with, and whom it is
    /// for. What it says is the [`message`](Outbox::message) of slot 0, which is asked for right before. Asked once for
    /// each. None: the user sends nothing, and is absent.
    fn author(&mut self, _round: RoundNumber, _sender: User) -> Option<Author<'_>> {
        None
    }

    /// What `user` signs with, in a group whose users are registered: with it the user proves to each server who it is,
    /// on each new channel, and in an accountable group it signs its dials and uploads. None: it signs nothing. Proofs
    /// go with the greeting, which is before a server has said what the group is: if there is a key for every user of
    /// the client, and else for none.
    fn identity(&mut self, _user: UserId) -> Option<&SigningKey> {
        None
    }

    /// The shares, or the record, of `sender` for `round` are made and go to the servers next.
    fn submitted(&mut self, _round: RoundNumber, _sender: User) {}
}

/// Who is told what arrives.
pub trait Observer {
    /// Whether the cells of `tile` for `user` are to be decoded. Asked right before they are.
    fn wants(&mut self, _tile: &Tile, _user: User) -> bool {
        true
    }

    /// The key, and the number of the recipient set, that a sealed message of `sender` to `user` is opened with where
    /// the two share no key by themselves, or it opens with none that they share.
    fn opens_with(&mut self, _tile: &Tile, _user: User, _sender: UserId) -> Option<(&SealKey, u64)> {
        None
    }

    /// The verdicts on the cells of `tile` for `user`, each once; `messages` has those that were accepted. A message
    /// that is sealed and does not open is an `Ignore`.
    fn verdicts(&mut self, tile: &Tile, user: User, verdicts: &Verdicts, messages: &Messages<'_>);

    /// Both servers delivered the cells of `tile` for `user`, who does not want them.
    fn unread(&mut self, _tile: &Tile, _user: User) {}

    /// In a group whose delivery is `answer`: what `user` knows of `sender`, whose records it asked for. None: it can
    /// verify nothing, and every answer is `Incomplete`. An alarm would come without any attack, and with some targets
    /// only. But where servers do tamper, silence would show the same; so nobody should be asked for records of whom
    /// nothing is known.
    fn known(&mut self, _epoch: Epoch, _user: User, _sender: UserId) -> Option<Known<'_>> {
        None
    }

    /// In a group whose delivery is `answer`: the verdict on what `user` read in `slot` of `round`, each once, in no
    /// order within the round. `sender` is whose record it asked for; none where it asked for nobody's, or the dial is
    /// not in effect or an earlier client's, which makes it `Incomplete`.
    fn answer(
        &mut self,
        _round: RoundNumber,
        _user: User,
        _slot: SlotIndex,
        _sender: Option<UserId>,
        _verdict: Verdict<'_>,
    ) {
    }

    /// In an accountable group: evidence about a cell that did not decode for `user`, or a server that contradicts
    /// itself. [`blame`](twincast_protocol::accountable::blame::blame) says whom it convicts, if anybody, and anyone can
    /// ask it. It comes with the headers of a turn of `user`. Evidence made public shows what is in it to the servers,
    /// too: where a server is at fault, the half which `user` was given of the sender at one server, from which the other
    /// server learns whether that sender had dialled `user`; where the sender is convicted by what both gave, both halves.
    /// What blames nobody shows who was present, and no more.
    #[expect(clippy::boxed_local, reason = "evidence is large, and whoever keeps it keeps it on the heap")]
    fn evidence(&mut self, _user: User, _evidence: Box<Evidence>) {}

    /// Something else happened.
    fn event(&mut self, _event: Event) {}
}
