//! Signed uploads of the rounds of one epoch: verified a tile at a time, kept for as long as somebody may ask for them.

use super::super::Shape;
use crate::accountable::{Accounting, Book, RoundOf, SignedRound};
use crate::answer::bits;
use crate::limits::TILE_SENDERS;
use crate::tile::{Tile, unsealed};
use std::collections::VecDeque;
use std::sync::Arc;
use twincast_protocol::accountable::turn::rounds_kept;
use twincast_protocol::accountable::upload::{UploadOf, share_hash};
use twincast_protocol::identity::{Batch, SIGNATURE_BYTES, VerifyingKey};
use twincast_protocol::ids::{MemberIndex, RoundNumber};
use twincast_protocol::statements::{HASH_BYTES, Hash};

/// What was signed of one round that takes submissions.
#[derive(Debug)]
pub(in super::super) struct Uploads {
    /// By sender.
    signatures: Vec<[u8; SIGNATURE_BYTES]>,
    /// `[sender][slot]`, of whom is verified.
    halves: Vec<[Hash; 2]>,
    /// By tile: who submitted and is not verified.
    unverified: Vec<u64>,
    present: Vec<u64>,
}

/// The rounds of an epoch as this server answers for them.
#[derive(Debug)]
pub(in super::super) struct Ledger {
    book: Arc<Book>,
    /// By member: what its uploads are verified with. None where none are taken.
    keys: Vec<Option<VerifyingKey>>,
    slots: usize,
    kept_max: usize,
    /// Those that ended last, the oldest first.
    kept: VecDeque<Arc<SignedRound>>,
    /// To be used again.
    spare: Vec<Uploads>,
    batch: Batch,
    /// Who signed falsely since that was last asked for, and in which round.
    wrong: Vec<(RoundNumber, usize)>,
    #[cfg(feature = "fault-swap-half")]
    cheat: super::cheat::Cheat,
}

impl Ledger {
    /// Of an epoch that opens. `keys`: by member.
    pub(in super::super) fn new(shape: &Shape, book: Arc<Book>, keys: Vec<Option<VerifyingKey>>) -> Ledger {
        Ledger {
            #[cfg(feature = "fault-swap-half")]
            cheat: super::cheat::Cheat::new(book.accounting().fault),
            book,
            keys,
            slots: shape.slots,
            kept_max: rounds_kept(shape.header_rounds as u32),
            kept: VecDeque::new(),
            spare: Vec::new(),
            batch: Batch::default(),
            wrong: Vec::new(),
        }
    }

    /// What the rounds have in common.
    pub(in super::super) fn book(&self) -> &Arc<Book> {
        &self.book
    }

    /// A round that has ended, if it is kept.
    pub(in super::super) fn round(&self, round: RoundNumber) -> Option<&Arc<SignedRound>> {
        self.kept.iter().find(|kept| kept.round() == round)
    }

    /// Who signed falsely since this was last asked for, and in which round.
    pub(in super::super) fn take_wrong(&mut self) -> Vec<(RoundNumber, usize)> {
        std::mem::take(&mut self.wrong)
    }

    /// What a round that takes submissions is kept in.
    pub(in super::super) fn uploads(&mut self) -> Uploads {
        if let Some(mut uploads) = self.spare.pop() {
            uploads.unverified.fill(0);
            uploads.present.fill(0);
            return uploads;
        }
        let (members, tiles) = (self.book.roster().members(), self.book.tiles());
        Uploads {
            signatures: vec![[0; SIGNATURE_BYTES]; members],
            halves: vec![[[0; HASH_BYTES]; 2]; members * self.slots],
            unverified: vec![0; tiles],
            present: vec![0; tiles],
        }
    }

    /// A round was left out.
    pub(in super::super) fn give_back(&mut self, uploads: Uploads) {
        self.spare.push(uploads);
    }

    /// Verifies what was submitted for a tile and is not verified, all of it together. Who signed falsely is taken out of
    /// the tile, which is `tiles`, one for each slot.
    pub(in super::super) fn verify(
        &mut self,
        uploads: &mut Uploads,
        round: RoundNumber,
        tile: usize,
        tiles: &mut [Arc<Tile>],
    ) {
        let unverified = std::mem::take(&mut uploads.unverified[tile]);
        if unverified == 0 {
            return;
        }
        let Accounting { group, side, .. } = **self.book.accounting();
        let roster = self.book.roster();
        let first = tile * TILE_SENDERS;
        for row in bits(unverified) {
            let sender = first + row;
            let halves = &mut uploads.halves[sender * self.slots..][..self.slots];
            for (halves, tile) in halves.iter_mut().zip(&*tiles) {
                let (half0, half1) = tile.row(row).split_at(tile.cell_bytes());
                *halves = [share_hash(half0), share_hash(half1)];
            }
            let of = UploadOf {
                group,
                epoch: roster.epoch(),
                round,
                sender: roster.user(MemberIndex(sender as u32)).expect("a sender is a member"),
                server: side,
                halves,
            };
            let key = self.keys[sender].as_ref().expect("uploads are taken of whom a key is known");
            of.push(&mut self.batch, key, &uploads.signatures[sender]);
        }
        let valid = self.batch.verify(&mut rand::rng());
        let mut right = u64::MAX;
        for (row, valid) in bits(unverified).zip(valid) {
            if !valid {
                right &= !(1 << row);
                self.wrong.push((round, first + row));
            }
        }
        if right != u64::MAX {
            tiles.iter_mut().for_each(|tile| unsealed(tile).keep_present(right));
        }
    }

    /// A tile of the open round is released, and these are present in it.
    pub(in super::super) fn released(&mut self, uploads: &mut Uploads, tile: usize, present: u64) {
        uploads.present[tile] = present;
    }

    /// A round has ended: signs it, and keeps it.
    pub(in super::super) fn end(
        &mut self,
        uploads: Uploads,
        round: RoundNumber,
        unagreed: u32,
    ) -> Arc<SignedRound> {
        let Uploads { signatures, halves, present, unverified: _ } = uploads;
        let of = RoundOf { round, present, halves, signatures, unagreed };
        let signed = SignedRound::new(self.book.clone(), of);
        #[cfg(feature = "fault-swap-half")]
        let signed = signed.with_forged(self.cheat.take_forged());
        let signed = Arc::new(signed);
        while self.kept.len() >= self.kept_max {
            let oldest = self.kept.pop_front().expect("it is not empty");
            // Who is still sent it has it for a while longer.
            if let Ok(oldest) = Arc::try_unwrap(oldest) {
                let RoundOf { signatures, halves, present, .. } = oldest.into_parts();
                let unverified = vec![0; present.len()];
                self.spare.push(Uploads { signatures, halves, unverified, present });
            }
        }
        self.kept.push_back(signed.clone());
        signed
    }

    /// The tile as it is delivered by a server that cheats, if this is what it cheats with.
    #[cfg(feature = "fault-swap-half")]
    pub(in super::super) fn cheat(&mut self, tile: Arc<Tile>) -> Arc<Tile> {
        self.cheat.deliver(tile)
    }
}

impl Uploads {
    /// A sender's submission is placed.
    pub(in super::super) fn put(&mut self, sender: usize, signature: &[u8; SIGNATURE_BYTES]) {
        self.signatures[sender] = *signature;
        self.unverified[sender / TILE_SENDERS] |= 1 << (sender % TILE_SENDERS);
    }
}

/// Bytes that are kept of one round among `members`.
pub(in super::super) fn round_bytes(members: usize, slots: usize) -> usize {
    members * (SIGNATURE_BYTES + slots * 2 * HASH_BYTES) + 2 * 8 * members.div_ceil(TILE_SENDERS)
}
