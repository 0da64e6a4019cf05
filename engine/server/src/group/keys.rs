//! The session keys of an epoch: rows while they are dialled, select words once dialling is over.

use crate::limits::TILE_SENDERS;
use crate::transpose::select_words;
use fixedbitset::FixedBitSet;
use std::sync::Arc;
use twincast_protocol::error::ProtocolError;
use twincast_protocol::session_key::SessionKey;
use twincast_protocol::wire::Code;

/// The session keys of all senders and slots.
///
/// Select words depend on the epoch and not on the round, so they are made once, when dialling ends, and every tile
/// of the epoch shares them; the rows are dropped then.
pub(super) struct SessionKeys {
    members: usize,
    slots: usize,
    /// `[slot][sender][ceil(members / 64)]`, empty once sealed.
    rows: Vec<u64>,
    /// `[slot][tile]`, a word for each member; empty until sealed.
    select: Vec<Arc<[u64]>>,
    /// `[slot][sender]`.
    dialled: FixedBitSet,
    /// Members all of whose slots are dialled.
    members_dialled: FixedBitSet,
    dials: usize,
}

impl SessionKeys {
    pub(super) fn new(members: usize, slots: usize) -> SessionKeys {
        SessionKeys {
            members,
            slots,
            rows: vec![0; slots * members * members.div_ceil(64)],
            select: Vec::new(),
            dialled: FixedBitSet::with_capacity(slots * members),
            members_dialled: FixedBitSet::with_capacity(members),
            dials: 0,
        }
    }

    /// Keeps a session key.
    pub(super) fn put(&mut self, sender: usize, slot: usize, key: &[u8]) -> Result<(), Code> {
        // Checked here, once for every key that a server holds: length, and no bit beyond the last member.
        let key = SessionKey::from_bytes(self.members as u32, key).map_err(|error| match error {
            ProtocolError::SessionKeyPadding { .. } => Code::KeyPadding,
            _ => Code::LengthWrong,
        })?;
        let index = slot * self.members + sender;
        if self.dialled.contains(index) {
            return Err(Code::AlreadyDialled);
        }
        let width = self.members.div_ceil(64);
        let row = &mut self.rows[index * width..][..width];
        for (word, bytes) in row.iter_mut().zip(key.as_bytes().chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_le_bytes(padded);
        }
        self.dialled.insert(index);
        self.dials += 1;
        if (0..self.slots).all(|slot| self.dialled.contains(slot * self.members + sender)) {
            self.members_dialled.insert(sender);
        }
        Ok(())
    }

    pub(super) fn all_dialled(&self) -> bool {
        self.dials == self.slots * self.members
    }

    /// Whether every slot of this member is dialled.
    pub(super) fn is_dialled(&self, sender: usize) -> bool {
        self.members_dialled.contains(sender)
    }

    /// Members all of whose slots are dialled.
    pub(super) fn members_dialled(&self) -> &FixedBitSet {
        &self.members_dialled
    }

    /// Dialling is over: makes the select words and drops the rows.
    pub(super) fn seal(&mut self) {
        let width = self.members.div_ceil(64);
        let slot_rows = std::mem::take(&mut self.rows);
        for rows in slot_rows.chunks(self.members * width) {
            for tile in rows.chunks(TILE_SENDERS * width) {
                let mut words = vec![0; self.members];
                select_words(tile.chunks_exact(width), &mut words);
                self.select.push(words.into());
            }
        }
    }

    /// The select words of a tile, one for each member.
    pub(super) fn select(&self, slot: usize, tile: usize) -> Arc<[u64]> {
        self.select[slot * self.members.div_ceil(TILE_SENDERS) + tile].clone()
    }

    /// Bit `s`: sender `first + s`, of `senders`, dialled this slot.
    pub(super) fn dialled_word(&self, slot: usize, first: usize, senders: usize) -> u64 {
        (0..senders)
            .filter(|sender| self.dialled.contains(slot * self.members + first + sender))
            .fold(0, |word, sender| word | 1 << sender)
    }
}

impl std::fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionKeys").field("dials", &self.dials).finish_non_exhaustive()
    }
}
