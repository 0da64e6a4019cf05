//! A round as this server signed it: whose shares it has, what they hash to, and what each recipient was given of them.

use super::Accounting;
use crate::limits::TILE_SENDERS;
use crate::roster::Roster;
use crate::tile::SelectWords;
use std::fmt;
use std::sync::Arc;
use twincast_protocol::accountable::delivery::{
    BlindSecret, RecipientBlinds, leaf_index, recipient_tile_hash,
};
use twincast_protocol::accountable::tree::tree_hash;
use twincast_protocol::accountable::upload::share_hash;
use twincast_protocol::identity::SIGNATURE_BYTES;
use twincast_protocol::ids::{MemberIndex, RoundNumber, SlotIndex};
use twincast_protocol::statements::{self, Hash};
use twincast_protocol::wire::RoundEnd;

/// What the rounds of an epoch have in common: its members, who is given which half, and what blinds the hashes.
pub struct Book {
    accounting: Arc<Accounting>,
    roster: Arc<Roster>,
    slots: usize,
    /// `[slot][tile]`, a word for each member.
    select: Vec<SelectWords>,
    blinds: BlindSecret,
    /// The hash of the cell of a sender who is absent.
    zeros: Hash,
}

impl Book {
    /// The book of an epoch that opens.
    #[must_use]
    pub fn new(
        accounting: &Arc<Accounting>,
        roster: &Arc<Roster>,
        slots: usize,
        share_bytes: usize,
        select: Vec<SelectWords>,
    ) -> Arc<Book> {
        Arc::new(Book {
            accounting: accounting.clone(),
            roster: roster.clone(),
            slots,
            select,
            blinds: BlindSecret::random(&mut rand::rng()),
            zeros: share_hash(&vec![0; share_bytes]),
        })
    }

    /// What the group signs and verifies with.
    #[must_use]
    pub fn accounting(&self) -> &Arc<Accounting> {
        &self.accounting
    }

    /// The epoch's members.
    #[must_use]
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Tiles of one slot.
    #[must_use]
    pub fn tiles(&self) -> usize {
        self.roster.members().div_ceil(TILE_SENDERS)
    }

    /// The senders of a tile.
    #[must_use]
    pub fn senders(&self, tile: usize) -> std::ops::Range<usize> {
        let first = tile * TILE_SENDERS;
        first..self.roster.members().min(first + TILE_SENDERS)
    }

    /// Which half of a sender's share a recipient is given.
    fn half(&self, slot: usize, sender: usize, recipient: MemberIndex) -> usize {
        let words = &self.select[slot * self.tiles() + sender / TILE_SENDERS];
        (words[recipient.0 as usize] >> (sender % TILE_SENDERS) & 1) as usize
    }
}

impl fmt::Debug for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Book").field("epoch", &self.roster.epoch()).finish_non_exhaustive()
    }
}

/// What is known of a round when it ends.
#[derive(Debug)]
pub struct RoundOf {
    /// The round.
    pub round: RoundNumber,
    /// By tile of one slot: whose shares were delivered.
    pub present: Vec<u64>,
    /// `[sender][slot]`: the hashes of both halves. Of those who are absent they mean nothing.
    pub halves: Vec<[Hash; 2]>,
    /// By sender: its signature of those.
    pub signatures: Vec<[u8; SIGNATURE_BYTES]>,
    /// Tiles, over all slots, that were released without the other server's word.
    pub unagreed: u32,
}

/// A round that has ended, as this server answers for it.
pub struct SignedRound {
    book: Arc<Book>,
    of: RoundOf,
    /// The signature of who is present.
    receipt: [u8; SIGNATURE_BYTES],
    /// What one recipient was given that is not what its sender gave.
    #[cfg(feature = "fault-swap-half")]
    forged: Option<ForgedCell>,
}

/// A cell that was not delivered as its sender gave it.
#[cfg(feature = "fault-swap-half")]
#[derive(Clone, Copy, Debug)]
pub struct ForgedCell {
    /// Who was given it.
    pub recipient: MemberIndex,
    /// Whose it should be.
    pub sender: usize,
    /// Of which slot.
    pub slot: usize,
    /// What it hashes to.
    pub hash: Hash,
}

impl SignedRound {
    /// Signs who is present.
    #[must_use]
    pub fn new(book: Arc<Book>, of: RoundOf) -> SignedRound {
        let Accounting { group, side, signing, .. } = &*book.accounting;
        let (epoch, roster_hash) = (book.roster.epoch(), book.roster.hash());
        let receipt =
            signing.sign(&statements::receipt(*group, epoch, of.round, *side, roster_hash, &of.present));
        SignedRound {
            book,
            of,
            receipt,
            #[cfg(feature = "fault-swap-half")]
            forged: None,
        }
    }

    /// The same, where one recipient was given something else.
    #[cfg(feature = "fault-swap-half")]
    #[must_use]
    pub fn with_forged(self, forged: Option<ForgedCell>) -> SignedRound {
        SignedRound { forged, ..self }
    }

    /// What it was made of, to be used again.
    #[must_use]
    pub fn into_parts(self) -> RoundOf {
        self.of
    }

    /// The round.
    #[must_use]
    pub fn round(&self) -> RoundNumber {
        self.of.round
    }

    /// What the rounds of its epoch have in common.
    #[must_use]
    pub fn book(&self) -> &Arc<Book> {
        &self.book
    }

    /// The epoch's members.
    #[must_use]
    pub fn roster(&self) -> &Arc<Roster> {
        &self.book.roster
    }

    /// By tile of one slot: whose shares were delivered.
    #[must_use]
    pub fn present(&self) -> &[u64] {
        &self.of.present
    }

    /// The signature of that.
    #[must_use]
    pub fn receipt(&self) -> &[u8; SIGNATURE_BYTES] {
        &self.receipt
    }

    /// Whether a sender's shares were delivered.
    #[must_use]
    pub fn is_present(&self, sender: usize) -> bool {
        self.of.present[sender / TILE_SENDERS] >> (sender % TILE_SENDERS) & 1 == 1
    }

    /// What a sender signed, by slot, and its signature; none where it is absent.
    #[must_use]
    pub fn upload(&self, sender: usize) -> Option<(&[[Hash; 2]], &[u8; SIGNATURE_BYTES])> {
        let slots = self.book.slots;
        self.is_present(sender)
            .then(|| (&self.of.halves[sender * slots..][..slots], &self.of.signatures[sender]))
    }

    /// The hash of the share of a sender that a recipient was given.
    #[must_use]
    pub fn share_hash(&self, slot: usize, sender: usize, recipient: MemberIndex) -> Hash {
        #[cfg(feature = "fault-swap-half")]
        if let Some(forged) = &self.forged
            && (forged.recipient, forged.sender, forged.slot) == (recipient, sender, slot)
        {
            return forged.hash;
        }
        if !self.is_present(sender) {
            return self.book.zeros;
        }
        let half = self.book.half(slot, sender, recipient);
        self.of.halves[sender * self.book.slots + slot][half]
    }

    /// What a recipient's hashes are blinded with.
    ///
    /// # Panics
    /// If there is no such member.
    #[must_use]
    pub fn blinds(&self, recipient: MemberIndex) -> RecipientBlinds {
        let user = self.book.roster.user(recipient).expect("a recipient is a member");
        self.book.blinds.recipient(user)
    }

    /// The hashes of a recipient's tiles, the leaves of its root, into `out`.
    pub fn tile_hashes(&self, recipient: MemberIndex, out: &mut Vec<Hash>) {
        let (book, blinds, tiles) = (&self.book, self.blinds(recipient), self.book.tiles());
        let ids = book.roster.ids();
        out.clear();
        for slot in 0..book.slots {
            for tile in 0..tiles {
                let senders = book.senders(tile);
                let given = senders.map(|sender| (ids[sender], self.share_hash(slot, sender, recipient)));
                let index = leaf_index(SlotIndex(slot as u32), tile as u32, tiles as u32);
                out.push(recipient_tile_hash(&blinds, self.of.round, index, given));
            }
        }
    }

    /// A recipient's root and the signature of it; `scratch` is overwritten.
    #[must_use]
    pub fn delivery(&self, recipient: MemberIndex, scratch: &mut Vec<Hash>) -> (Hash, [u8; SIGNATURE_BYTES]) {
        self.tile_hashes(recipient, scratch);
        let root = tree_hash(scratch);
        let Accounting { group, side, signing, .. } = &*self.book.accounting;
        let user = self.book.roster.user(recipient).expect("a recipient is a member");
        let statement =
            statements::delivery(*group, self.book.roster.epoch(), self.of.round, *side, user, &root);
        (root, signing.sign(&statement))
    }

    /// The head of ROUND_END for a connection that plays so many members.
    #[must_use]
    pub fn end(&self, users: usize) -> RoundEnd {
        let present: u32 = self.of.present.iter().map(|word| word.count_ones()).sum();
        let tiles = (self.book.slots * self.book.tiles()) as u32;
        RoundEnd {
            unagreed: self.of.unagreed.into(),
            users: (users as u32).into(),
            ..RoundEnd::new(self.of.round.0, tiles, present)
        }
    }

    /// Cells whose hashes one recipient's root is made of.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.book.slots * self.book.roster.members()
    }
}

impl fmt::Debug for SignedRound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedRound").field("round", &self.of.round).finish_non_exhaustive()
    }
}
