//! What an epoch's parts said, and which of their tiles are read.

use crate::group::GroupSettings;
use crate::limits::TILE_SENDERS;
use twincast_protocol::confirm::Confirmations;
use twincast_protocol::parts::PartKind;
use twincast_protocol::receive::Expected;

/// What the bit confirmations said: a word of each kind for (slot, tile, user), users innermost as they are
/// delivered. 16 bytes for 64 senders: 2.5 kB for a user of a group of 10,000.
pub(crate) struct Confirmed {
    words: Box<[Words]>,
    users: usize,
    tiles: usize,
    members: u32,
}

#[derive(Clone, Copy)]
struct Words {
    real: u64,
    /// Set until the confirmation has decoded.
    failed: u64,
}

impl Confirmed {
    /// Bytes of the table for so many members, slots and users.
    pub(crate) fn bytes(members: u32, slots: u32, users: usize) -> u64 {
        let words = u64::from(members.div_ceil(TILE_SENDERS)) * u64::from(slots) * users as u64;
        words * size_of::<Words>() as u64
    }

    /// Nothing confirmed yet: everything failed. Empty where the group has no bit confirmation.
    pub(crate) fn new(group: &GroupSettings, members: u32, users: usize) -> Confirmed {
        let tiles = members.div_ceil(TILE_SENDERS) as usize;
        let words = if group.confirms() { group.slots as usize * tiles * users } else { 0 };
        let none = Words { real: 0, failed: u64::MAX };
        Confirmed { words: vec![none; words].into(), users, tiles, members }
    }

    /// Takes what the confirmations of `senders` senders from `first_sender` on said to the user at `position`. They
    /// lie in one tile.
    pub(crate) fn set(
        &mut self,
        slot: u32,
        first_sender: u32,
        senders: u32,
        position: usize,
        said: &Confirmations,
    ) {
        let shift = first_sender % TILE_SENDERS;
        let mask = (u64::MAX >> (64 - senders)) << shift;
        let index = self.index(slot, first_sender / TILE_SENDERS, position);
        let words = &mut self.words[index];
        words.real = words.real & !mask | said.real << shift & mask;
        words.failed = words.failed & !mask | said.failed << shift & mask;
    }

    /// What a tile of messages is decoded with.
    #[inline]
    pub(crate) fn expected(&self, slot: u32, tile: u32, position: usize) -> Expected {
        if self.words.is_empty() {
            return Expected::UNCONFIRMED;
        }
        let words = self.words[self.index(slot, tile, position)];
        Expected { confirmed: true, real: words.real, failed: words.failed }
    }

    /// How many confirmations failed for the user at each position.
    pub(crate) fn failed(&self) -> Vec<u64> {
        let mut failed = vec![0; self.users];
        for (index, words) in self.words.iter().enumerate() {
            let tile = (index / self.users % self.tiles) as u32;
            let senders = (self.members - tile * TILE_SENDERS).min(TILE_SENDERS);
            let missing = words.failed & (u64::MAX >> (64 - senders));
            failed[index % self.users] += u64::from(missing.count_ones());
        }
        failed
    }

    #[inline]
    fn index(&self, slot: u32, tile: u32, position: usize) -> usize {
        (slot as usize * self.tiles + tile as usize) * self.users + position
    }
}

/// Which tiles of parts of one kind are read.
#[derive(Debug)]
pub(crate) struct TilesRead {
    pub(crate) kind: PartKind,
    read: Box<[bool]>,
    tiles: u32,
    left: usize,
}

impl TilesRead {
    /// None of them; there are none where the group has no such parts.
    pub(crate) fn new(kind: PartKind, group: &GroupSettings, members: u32) -> TilesRead {
        let tiles = match group.part_tile_senders(kind, members) {
            0 => 0,
            senders => members.div_ceil(senders),
        };
        let all = tiles as usize * group.part_slots(kind) as usize;
        TilesRead { kind, read: vec![false; all].into(), tiles, left: all }
    }

    /// This tile is read.
    pub(crate) fn set(&mut self, slot: u32, tile: u32) {
        let read = &mut self.read[slot as usize * self.tiles as usize + tile as usize];
        self.left -= usize::from(!std::mem::replace(read, true));
    }

    /// Whether this tile is read.
    pub(crate) fn is_read(&self, slot: u32, tile: u32) -> bool {
        self.read[slot as usize * self.tiles as usize + tile as usize]
    }

    /// Whether all of them are.
    pub(crate) fn is_whole(&self) -> bool {
        self.left == 0
    }

    /// Those that are not, as runs of at most `tiles_max` in one slot: (slot, first tile, tiles).
    pub(crate) fn missing(&self, tiles_max: u32) -> Vec<(u32, u32, u32)> {
        let mut runs: Vec<(u32, u32, u32)> = Vec::new();
        let slots = (self.read.len() as u32).checked_div(self.tiles).unwrap_or(0);
        for slot in 0..slots {
            for tile in (0..self.tiles).filter(|tile| !self.is_read(slot, *tile)) {
                match runs.last_mut() {
                    Some((of, first, tiles))
                        if (*of, *first + *tiles) == (slot, tile) && *tiles < tiles_max =>
                    {
                        *tiles += 1;
                    }
                    _ => runs.push((slot, tile, 1)),
                }
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::Delivery;
    use std::time::Duration;
    use twincast_protocol::format::{Profile, Scheme, ShareFormat};
    use twincast_protocol::ids::{Epoch, GroupId};

    fn group(members: u32, confirm_tile_senders: u32) -> GroupSettings {
        GroupSettings {
            group: GroupId(1),
            epoch: Epoch(0),
            members,
            slots: 2,
            delivery: Delivery::Broadcast,
            format: ShareFormat::new(Profile::Compact, 288, Scheme::Plain).expect("a format"),
            confirm_tile_senders,
            key_tile_senders: 0,
            round_timeout: Duration::from_secs(1),
            interval: Duration::ZERO,
            epoch_rounds: 0,
            announce_rounds: 0,
            linked: false,
            registered: false,
            accountable: false,
            header_rounds: 0,
            fills_tiles: false,
        }
    }

    #[test]
    fn ranges_land_in_their_bits_and_what_never_came_has_failed() {
        let mut confirmed = Confirmed::new(&group(70, 4), 70, 3);
        assert_eq!(confirmed.failed(), [140; 3]);
        let said = Confirmations { real: 0b0101, failed: 0b1000, ..Confirmations::default() };
        confirmed.set(1, 60, 4, 2, &said);
        confirmed.set(1, 64, 4, 2, &said);
        let first = confirmed.expected(1, 0, 2);
        assert_eq!((first.real, first.failed), (0b0101 << 60, !(0b0111 << 60)));
        let second = confirmed.expected(1, 1, 2);
        assert_eq!((second.real, second.failed), (0b0101, !0b0111));
        assert_eq!(confirmed.failed(), [140, 140, 134]);
        assert_eq!(confirmed.expected(0, 0, 2).failed, u64::MAX);
    }

    #[test]
    fn without_confirmation_nothing_is_expected() {
        let confirmed = Confirmed::new(&group(70, 0), 70, 3);
        assert_eq!(confirmed.expected(1, 1, 2), Expected::UNCONFIRMED);
        assert_eq!(confirmed.failed(), [0; 3]);
    }

    #[test]
    fn missing_tiles_are_runs_within_a_slot() {
        let mut tiles = TilesRead::new(PartKind::Confirmation, &group(40, 4), 40);
        assert_eq!(tiles.missing(8), [(0, 0, 8), (0, 8, 2), (1, 0, 8), (1, 8, 2)]);
        (0..10).for_each(|tile| tiles.set(0, tile));
        [0, 4, 5].into_iter().for_each(|tile| tiles.set(1, tile));
        tiles.set(1, 5);
        assert_eq!(tiles.missing(3), [(1, 1, 3), (1, 6, 3), (1, 9, 1)]);
        [1, 2, 3, 6, 7, 8, 9].into_iter().for_each(|tile| tiles.set(1, tile));
        assert!(tiles.is_whole() && tiles.missing(3).is_empty());
        assert!(TilesRead::new(PartKind::Key, &group(40, 4), 40).is_whole(), "a group without keys");
    }
}
