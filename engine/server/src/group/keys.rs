//! The session keys of an epoch: rows while they are dialled, select words once dialling is over; or queries.

use crate::limits::TILE_SENDERS;
use crate::tile::SelectWords;
use crate::transpose::select_words;
use std::sync::Arc;
use twincast_answer::Queries;
use twincast_protocol::error::ProtocolError;
use twincast_protocol::session_key::SessionKey;
use twincast_protocol::wire::Code;
use zeroize::Zeroize;

/// What the session keys of an epoch are for.
pub(super) enum Keys {
    /// They choose halves.
    Select(SessionKeys),
    /// They are queries over the records of each round.
    Queries {
        /// The `k`-th of member `u` is `u * slots + k`. The answer threads have them as well once dialling is over.
        queries: Arc<Queries>,
        slots: usize,
    },
}

impl Keys {
    pub(super) fn of_queries(shape: &twincast_answer::Shape, slots: usize) -> Keys {
        Keys::Queries { queries: Arc::new(Queries::new(shape)), slots }
    }

    /// Keeps a session key, in place of what the slot had.
    pub(super) fn put(&mut self, sender: usize, slot: usize, key: &[u8]) -> Result<(), Code> {
        match self {
            Keys::Select(keys) => keys.put(sender, slot, key),
            Keys::Queries { queries, slots } => {
                let key = checked(queries.shape().records(), key)?;
                let queries = Arc::get_mut(queries).expect("queries that are dialled are nobody else's");
                queries.set(sender * *slots + slot, key.as_bytes()).map_err(|_| Code::LengthWrong)
            }
        }
    }

    /// Wipes a session key: it is void.
    pub(super) fn clear(&mut self, sender: usize, slot: usize) {
        match self {
            Keys::Select(keys) => keys.clear(sender, slot),
            Keys::Queries { queries, slots } => {
                let queries = Arc::get_mut(queries).expect("queries that are dialled are nobody else's");
                queries.clear(sender * *slots + slot).expect("a dial is of a member and a slot");
            }
        }
    }

    /// Dialling is over.
    pub(super) fn seal(&mut self) {
        if let Keys::Select(keys) = self {
            keys.seal();
        }
    }

    /// The select words of a tile.
    ///
    /// # Panics
    /// If these are queries.
    pub(super) fn select(&self, slot: usize, tile: usize) -> SelectWords {
        match self {
            Keys::Select(keys) => keys.select(slot, tile),
            Keys::Queries { .. } => unreachable!("queries select no halves"),
        }
    }

    /// Bit `user` of a session key, dialled or sealed.
    ///
    /// # Panics
    /// If these are queries.
    pub(super) fn bit(&self, sender: usize, slot: usize, user: usize) -> bool {
        match self {
            Keys::Select(keys) => keys.bit(sender, slot, user),
            Keys::Queries { .. } => unreachable!("queries select no halves"),
        }
    }

    /// All select words, `[slot][tile]`: what each recipient is given of whom in this epoch.
    ///
    /// # Panics
    /// If these are queries.
    pub(super) fn all_select(&self) -> Vec<SelectWords> {
        match self {
            Keys::Select(keys) => keys.select.clone(),
            Keys::Queries { .. } => unreachable!("queries select no halves"),
        }
    }

    /// All queries, if these are queries.
    pub(super) fn queries(&self) -> Option<Arc<Queries>> {
        match self {
            Keys::Select(_) => None,
            Keys::Queries { queries, .. } => Some(queries.clone()),
        }
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

/// A session key, checked once for every one that a server holds: length, and no bit beyond the last member.
fn checked(members: usize, key: &[u8]) -> Result<SessionKey, Code> {
    SessionKey::from_bytes(members as u32, key).map_err(|error| match error {
        ProtocolError::SessionKeyPadding { .. } => Code::KeyPadding,
        _ => Code::LengthWrong,
    })
}

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
        let key = checked(self.members, key)?;
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

    /// Bit `user` of a session key.
    fn bit(&self, sender: usize, slot: usize, user: usize) -> bool {
        if self.select.is_empty() {
            let width = self.members.div_ceil(64);
            let row = &self.rows[(slot * self.members + sender) * width..][..width];
            return row[user / 64] >> (user % 64) & 1 == 1;
        }
        let tile = slot * self.members.div_ceil(TILE_SENDERS) + sender / TILE_SENDERS;
        self.select[tile][user] >> (sender % TILE_SENDERS) & 1 == 1
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
