//! One tile of a round's table, from its first record until it is answered from.
//!
//! ```text
//! Open -> Verifying -> Verified -> Differs -> Absent -> Filling -> Final -> Added
//!                          \__________________/ hashes equal
//!                          \___________________________________/ and nobody absent
//! ```
//!
//! In `Verifying` and `Filling` its rows are with the answer threads. What was said of it is kept until the round is
//! over, to be said again over a new link.

use super::blame;
use super::rows::unshared;
use crate::answer::{Rows, Work, bits};
use crate::group::{Fault, Output, Shape};
use crate::limits::TILE_SENDERS;
use crate::roster::Roster;
use fixedbitset::FixedBitSet;
use std::sync::Arc;
use twincast_protocol::answer::RECORD_BYTES;
use twincast_protocol::answer::table::{Digest, NO_DIGEST, tree_hash};
use twincast_protocol::identity::SIGNATURE_BYTES;
use twincast_protocol::ids::RoundNumber;
use twincast_protocol::wire::Code;
use twincast_protocol::wire::link::{LinkFrame, RecordTile};

/// How far a tile is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// It takes records.
    Open,
    /// Its signatures are being verified.
    Verifying,
    /// They are. Once its round is open the other server is told, whose own hash is waited for.
    Verified,
    /// The two hashes differ: the other server's digests are waited for.
    Differs,
    /// It is agreed who is absent: signatures of that are made here, and waited for.
    Absent,
    /// The rows of the absent are being cleared.
    Filling,
    /// All its records are there.
    Final,
    /// It is given to the answers.
    Added,
}

/// What a tile is part of.
pub(super) struct Of<'a> {
    pub(super) shape: &'a Shape,
    pub(super) roster: &'a Arc<Roster>,
    pub(super) round: RoundNumber,
    pub(super) link_up: bool,
    /// Tiles in which there was a wrong signature when they were last verified.
    pub(super) suspects: &'a FixedBitSet,
}

/// Senders whose records the two servers have different ones of.
#[derive(Debug)]
struct Conflict {
    senders: u64,
    /// This server's records, ascending by sender.
    shown: Vec<[u8; RECORD_BYTES]>,
    /// What the other server said of its own, likewise.
    digests: Vec<Digest>,
    /// The other server has shown its own.
    answered: bool,
}

/// One tile.
#[derive(Debug)]
pub(super) struct Tile {
    index: usize,
    senders: usize,
    /// None while they are with the answer threads.
    rows: Option<Arc<Rows>>,
    /// Who has submitted.
    submitted: u64,
    stage: Stage,
    /// Whose records are valid here, their digests, and the hash over those; then the hash over the final records.
    valid: u64,
    digests: Vec<Digest>,
    hash: Digest,
    told: bool,
    said_digests: bool,
    conflict: Option<Box<Conflict>>,
    /// Whose records both servers have.
    agreed: u64,
    /// Signatures that the others are absent, ascending by sender: this server's and the other one's.
    absences: [Option<Vec<[u8; SIGNATURE_BYTES]>>; 2],
    final_hash: Digest,
}

impl Tile {
    pub(super) fn new(rows: Arc<Rows>) -> Tile {
        Tile {
            index: rows.tile,
            senders: rows.senders,
            rows: Some(rows),
            submitted: 0,
            stage: Stage::Open,
            valid: 0,
            digests: Vec::new(),
            hash: NO_DIGEST,
            told: false,
            said_digests: false,
            conflict: None,
            agreed: 0,
            absences: [None, None],
            final_hash: NO_DIGEST,
        }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether the answer threads have something of it that they give back.
    pub(super) fn is_at_work(&self) -> bool {
        matches!(self.stage, Stage::Verifying | Stage::Filling)
            || (self.stage == Stage::Absent && self.absences[0].is_none())
    }

    /// Members whose records are in the table.
    pub(super) fn senders_present(&self) -> u32 {
        self.agreed.count_ones()
    }

    /// The hash over all its records, once it is final.
    pub(super) fn final_hash(&self) -> Digest {
        self.final_hash
    }

    /// Senders whose records are valid here, and not in the table.
    pub(super) fn half(&self) -> u64 {
        self.valid & !self.agreed
    }

    pub(super) fn take_rows(&mut self) -> Option<Arc<Rows>> {
        self.rows.take()
    }

    /// Takes a sender's record. Returns whether it was the last one.
    pub(super) fn put(&mut self, row: usize, record: &[u8; RECORD_BYTES]) -> bool {
        let rows = self.rows.as_mut().expect("rows of an open tile are here");
        unshared(rows).records[row] = *record;
        self.submitted |= 1 << row;
        self.submitted == mask(self.senders)
    }

    /// It takes no further record: their signatures are verified.
    pub(super) fn verify(&mut self, of: &Of<'_>, out: &mut Vec<Output>) {
        let rows = self.rows.take().expect("rows of an open tile are here");
        self.stage = Stage::Verifying;
        let (round, roster, senders) = (of.round, of.roster.clone(), self.submitted);
        let alone = of.suspects.contains(self.index);
        out.push(Output::Answer(Work::Verify { round, roster, rows, senders, alone }));
    }

    /// The signatures are verified. Returns the senders whose own were wrong, or the rows where they are not waited
    /// for.
    pub(super) fn verified(
        &mut self,
        rows: Arc<Rows>,
        valid: u64,
        digests: Vec<Digest>,
        hash: Digest,
    ) -> Result<u64, Arc<Rows>> {
        if self.stage != Stage::Verifying {
            return Err(rows);
        }
        (self.rows, self.stage) = (Some(rows), Stage::Verified);
        (self.valid, self.digests, self.hash) = (valid, digests, hash);
        Ok(self.submitted & !valid)
    }

    /// Its round is open: the other server is told what there is, once, or by [`Tile::tell_again`].
    pub(super) fn tell(&mut self, of: &Of<'_>, out: &mut Vec<Output>) {
        if !std::mem::replace(&mut self.told, true) {
            self.tell_hash(of, out);
        }
    }

    /// Compares with what the other server has, once it is known.
    pub(super) fn compare(&mut self, of: &Of<'_>, theirs: (u64, Digest), out: &mut Vec<Output>) {
        debug_assert_eq!(self.stage, Stage::Verified);
        if theirs == (self.valid, self.hash) {
            self.agree(of, self.valid, out);
        } else {
            (self.stage, self.said_digests) = (Stage::Differs, true);
            self.tell_digests(of, out);
        }
    }

    /// The other server's digests. `said`: whose records it said that it has, and the hash over them.
    ///
    /// # Errors
    /// [`Code::EpochMismatch`]: they are not what it said, or were not to be said.
    pub(super) fn take_digests(
        &mut self,
        of: &Of<'_>,
        said: Option<(u64, Digest)>,
        senders: u64,
        digests: &[Digest],
        out: &mut Vec<Output>,
    ) -> Result<bool, Code> {
        if self.stage > Stage::Differs && self.said_digests {
            // Said again over a new link.
            return Ok(false);
        }
        let mut all = [NO_DIGEST; TILE_SENDERS];
        bits(senders).zip(digests).for_each(|(sender, digest)| all[sender] = *digest);
        if self.stage != Stage::Differs || said != Some((senders, tree_hash(&all[..self.senders]))) {
            return Err(Code::EpochMismatch);
        }
        let both = self.valid & senders;
        let same = bits(both).filter(|&sender| all[sender] == self.digests[sender]);
        let agreed = same.fold(0, |agreed, sender| agreed | 1 << sender);
        let senders = both & !agreed;
        if senders != 0 {
            let rows = self.rows.as_ref().expect("rows of a verified tile are here");
            let shown = bits(senders).map(|sender| rows.records[sender]).collect();
            let digests = bits(senders).map(|sender| all[sender]).collect();
            self.conflict = Some(Box::new(Conflict { senders, shown, digests, answered: false }));
            self.tell_shown(of, out);
        }
        self.agree(of, agreed, out);
        Ok(true)
    }

    /// Records that the other server shows.
    ///
    /// # Errors
    /// [`Code::EpochMismatch`]: they are not those that differ.
    pub(super) fn take_shown(
        &mut self,
        of: &Of<'_>,
        senders: u64,
        shown: Vec<[u8; RECORD_BYTES]>,
        out: &mut Vec<Output>,
    ) -> Result<bool, Code> {
        let conflict = self.conflict.as_mut().filter(|conflict| conflict.senders == senders);
        let conflict = conflict.ok_or(Code::EpochMismatch)?;
        if std::mem::replace(&mut conflict.answered, true) {
            return Ok(false);
        }
        out.push(Output::Answer(Work::Judge {
            round: of.round,
            roster: of.roster.clone(),
            tile: self.index,
            senders,
            shown,
            digests: conflict.digests.clone(),
        }));
        Ok(true)
    }

    /// This server's signatures that senders are absent.
    pub(super) fn absences_signed(
        &mut self,
        of: &Of<'_>,
        senders: u64,
        signatures: Vec<[u8; SIGNATURE_BYTES]>,
        out: &mut Vec<Output>,
    ) {
        if self.stage == Stage::Absent && self.absences[0].is_none() && senders == self.absent() {
            self.absences[0] = Some(signatures);
            self.tell_absences(of, out);
            self.fill(of, out);
        }
    }

    /// The other server's signatures that senders are absent.
    ///
    /// # Errors
    /// [`Code::EpochMismatch`]: they are others than are agreed to be, or it is not agreed yet.
    pub(super) fn take_absences(
        &mut self,
        of: &Of<'_>,
        senders: u64,
        signatures: Vec<[u8; SIGNATURE_BYTES]>,
        out: &mut Vec<Output>,
    ) -> Result<bool, Code> {
        if self.stage < Stage::Absent || senders != self.absent() {
            return Err(Code::EpochMismatch);
        }
        if self.stage > Stage::Absent || self.absences[1].is_some() {
            return Ok(false);
        }
        self.absences[1] = Some(signatures);
        // It shows before it says who is absent, over every link anew: so it has nothing to show. That nothing has come
        // for long proves nothing.
        let not_shown = self.conflict.as_ref().filter(|conflict| !conflict.answered);
        let not_shown = not_shown.map_or(0, |conflict| conflict.senders);
        let name = |sender| blame(of.roster, of.round, self.index, sender, Fault::PeerShowedNothing);
        out.extend(bits(not_shown).map(name));
        self.fill(of, out);
        Ok(true)
    }

    /// The rows of the absent are cleared, or cannot be. Returns the rows where they are not waited for.
    ///
    /// # Errors
    /// The first absent sender: a signature of the other server's is wrong.
    pub(super) fn filled(
        &mut self,
        rows: Arc<Rows>,
        hash: Option<Digest>,
    ) -> Result<Option<Arc<Rows>>, usize> {
        if self.stage != Stage::Filling {
            return Ok(Some(rows));
        }
        self.rows = Some(rows);
        let first = self.absent().trailing_zeros() as usize;
        (self.final_hash, self.stage) = (hash.ok_or(first)?, Stage::Final);
        Ok(None)
    }

    /// It is final, and given to the answers.
    pub(super) fn add(&mut self, of: &Of<'_>, out: &mut Vec<Output>) {
        debug_assert_eq!(self.stage, Stage::Final);
        self.stage = Stage::Added;
        let rows = self.rows.clone().expect("rows of a final tile are here");
        out.push(Output::Answer(Work::Add { round: of.round, rows }));
    }

    /// Says everything that was said of it over an older link.
    pub(super) fn tell_again(&self, of: &Of<'_>, out: &mut Vec<Output>) {
        if !self.told {
            return;
        }
        self.tell_hash(of, out);
        if self.said_digests {
            self.tell_digests(of, out);
        }
        self.tell_shown(of, out);
        self.tell_absences(of, out);
    }

    fn tell_hash(&self, of: &Of<'_>, out: &mut Vec<Output>) {
        self.say(of, out, self.valid, |tile| LinkFrame::TileHash(tile, self.hash));
    }

    fn tell_digests(&self, of: &Of<'_>, out: &mut Vec<Output>) {
        let digests = bits(self.valid).map(|sender| self.digests[sender]).collect();
        self.say(of, out, self.valid, |tile| LinkFrame::Digests(tile, digests));
    }

    fn tell_shown(&self, of: &Of<'_>, out: &mut Vec<Output>) {
        if let Some(conflict) = &self.conflict {
            self.say(of, out, conflict.senders, |tile| LinkFrame::Shown(tile, conflict.shown.clone()));
        }
    }

    fn tell_absences(&self, of: &Of<'_>, out: &mut Vec<Output>) {
        if let Some(signatures) = &self.absences[0] {
            self.say(of, out, self.absent(), |tile| LinkFrame::Absences(tile, signatures.clone()));
        }
    }

    fn say(
        &self,
        of: &Of<'_>,
        out: &mut Vec<Output>,
        senders: u64,
        frame: impl FnOnce(RecordTile) -> LinkFrame,
    ) {
        if of.link_up {
            out.push(Output::Peer(frame(RecordTile {
                group: of.shape.group.0.into(),
                epoch: of.roster.epoch().0.into(),
                round: of.round.0.into(),
                senders: senders.into(),
                tile: (self.index as u32).into(),
                reserved: 0.into(),
            })));
        }
    }

    /// Both servers know whose records both have.
    fn agree(&mut self, of: &Of<'_>, agreed: u64, out: &mut Vec<Output>) {
        self.agreed = agreed;
        if self.absent() == 0 {
            (self.stage, self.final_hash) = (Stage::Final, self.hash);
            return;
        }
        self.stage = Stage::Absent;
        let (epoch, senders) = (of.roster.epoch(), self.absent());
        out.push(Output::Answer(Work::SignAbsences { round: of.round, epoch, tile: self.index, senders }));
    }

    /// Has the rows of the absent cleared once both servers have signed for all of them.
    fn fill(&mut self, of: &Of<'_>, out: &mut Vec<Output>) {
        let [Some(_), Some(theirs)] = &self.absences else { return };
        let signatures = theirs.clone();
        let rows = self.rows.take().expect("rows of an agreed tile are here");
        self.stage = Stage::Filling;
        let (round, epoch, absent) = (of.round, of.roster.epoch(), self.absent());
        out.push(Output::Answer(Work::Fill { round, epoch, rows, absent, signatures }));
    }

    /// Whose records are not in the table, once that is agreed.
    pub(super) fn absent(&self) -> u64 {
        mask(self.senders) & !self.agreed
    }
}

/// A bit for each of a tile's senders.
pub(in super::super) fn mask(senders: usize) -> u64 {
    u64::MAX >> (TILE_SENDERS - senders)
}
