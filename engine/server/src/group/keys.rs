//! The session keys of an epoch: rows while they are dialled, select words once dialling is over.

use crate::limits::TILE_SENDERS;
use crate::tile::SelectWords;
use crate::transpose::select_words;
use twincast_protocol::error::ProtocolError;
use twincast_protocol::session_key::SessionKey;
use twincast_protocol::wire::Code;
use zeroize::Zeroize;

/// The session keys of all senders and slots.
///
/// Select words depend on the epoch and not on the round, so they are made once, when dialling ends, and every tile
/// of the epoch shares them; the rows are wiped then, and the words with the last tile that has them.
pub(super) struct SessionKeys {
    members: usize,
    slots: usize,
    /// `[slot][sender][ceil(members / 64)]`, empty once sealed.
    rows: Vec<u64>,
    /// `[slot][tile]`, a word for each member; empty until sealed.
    select: Vec<SelectWords>,
}

impl SessionKeys {
    pub(super) fn new(members: usize, slots: usize) -> SessionKeys {
        let rows = vec![0; slots * members * members.div_ceil(64)];
        SessionKeys { members, slots, rows, select: Vec::new() }
    }

    /// No keys at all: members choose their halves with each submission.
    pub(super) fn none(members: usize) -> SessionKeys {
        SessionKeys { members, slots: 0, rows: Vec::new(), select: Vec::new() }
    }

    /// Keeps a session key, in place of what the slot had.
    pub(super) fn put(&mut self, sender: usize, slot: usize, key: &[u8]) -> Result<(), Code> {
        // Checked here, once for every key that a server holds: length, and no bit beyond the last member.
        let key = SessionKey::from_bytes(self.members as u32, key).map_err(|error| match error {
            ProtocolError::SessionKeyPadding { .. } => Code::KeyPadding,
            _ => Code::LengthWrong,
        })?;
        for (word, bytes) in self.row(sender, slot).iter_mut().zip(key.as_bytes().chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_le_bytes(padded);
            padded.zeroize();
        }
        Ok(())
    }

    /// Wipes a session key: it is void.
    pub(super) fn clear(&mut self, sender: usize, slot: usize) {
        self.row(sender, slot).zeroize();
    }

    fn row(&mut self, sender: usize, slot: usize) -> &mut [u64] {
        let width = self.members.div_ceil(64);
        &mut self.rows[(slot * self.members + sender) * width..][..width]
    }

    /// Dialling is over: makes the select words and wipes the rows.
    pub(super) fn seal(&mut self) {
        let width = self.members.div_ceil(64);
        let mut slot_rows = std::mem::take(&mut self.rows);
        for rows in slot_rows.chunks(self.members * width) {
            for tile in rows.chunks(TILE_SENDERS * width) {
                let mut words = vec![0; self.members];
                select_words(tile.chunks_exact(width), &mut words);
                self.select.push(SelectWords::new(words));
            }
        }
        slot_rows.zeroize();
    }

    /// The select words of a tile, one for each member; none where members choose with each submission.
    pub(super) fn select(&self, slot: usize, tile: usize) -> SelectWords {
        if self.slots == 0 {
            return SelectWords::new(Vec::new());
        }
        self.select[slot * self.members.div_ceil(TILE_SENDERS) + tile].clone()
    }
}

impl Drop for SessionKeys {
    fn drop(&mut self) {
        self.rows.zeroize();
    }
}

impl std::fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionKeys").field("members", &self.members).finish_non_exhaustive()
    }
}
