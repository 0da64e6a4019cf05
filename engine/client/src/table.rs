//! What the bit confirmations said: two bits for each user, sender and slot.

use crate::group::GroupSettings;
use crate::limits::TILE_SENDERS;
use twincast_protocol::confirm::Confirmations;
use twincast_protocol::receive::Expected;

/// A word of each kind for (slot, tile, user), users innermost as they are delivered. 16 bytes for 64 senders:
/// 2.5 kB for a user of a group of 10,000.
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
    /// Nothing confirmed yet: everything failed. Empty where the group has no bit confirmation.
    pub(crate) fn new(group: &GroupSettings, users: usize) -> Confirmed {
        let tiles = group.tiles() as usize;
        let words = if group.confirms() { group.slots as usize * tiles * users } else { 0 };
        let none = Words { real: 0, failed: u64::MAX };
        Confirmed { words: vec![none; words].into(), users, tiles, members: group.members }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use twincast_protocol::frame::FrameBytes;
    use twincast_protocol::ids::{Epoch, GroupId};

    fn group(members: u32, confirm_tile_senders: u32) -> GroupSettings {
        GroupSettings {
            group: GroupId(1),
            epoch: Epoch(0),
            members,
            slots: 2,
            frame: FrameBytes::DEFAULT,
            confirm_tile_senders,
            round_timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn ranges_land_in_their_bits_and_what_never_came_has_failed() {
        let mut confirmed = Confirmed::new(&group(70, 4), 3);
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
        let confirmed = Confirmed::new(&group(70, 0), 3);
        assert_eq!(confirmed.expected(1, 1, 2), Expected::UNCONFIRMED);
        assert_eq!(confirmed.failed(), [0; 3]);
    }
}
