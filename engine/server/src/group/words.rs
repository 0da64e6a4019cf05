//! What the other server said of who is present in the tiles of its rounds.

use crate::limits::PEER_ROUNDS_AHEAD_MAX;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use twincast_protocol::answer::table::Digest;
use twincast_protocol::ids::RoundNumber;
use twincast_protocol::wire::Code;

/// The other server's words, for the open round and a few after it.
#[derive(Debug, Default)]
pub(super) struct PeerWords {
    rounds: BTreeMap<u64, RoundWords>,
    /// The newest round of which it has sealed a tile or that it has left out.
    newest: u64,
}

#[derive(Debug, Default)]
struct RoundWords {
    skipped: bool,
    /// By tile.
    words: BTreeMap<u32, u64>,
    /// By tile, where records are delivered: the hash of those that it has.
    hashes: BTreeMap<u32, Digest>,
}

impl PeerWords {
    /// Who is present in a tile at the other server. `open` is the open round here; words for rounds far beyond it
    /// are dropped.
    pub(super) fn put(&mut self, open: RoundNumber, round: RoundNumber, tile: u32, word: u64) {
        if let Some(words) = self.round(open, round) {
            words.words.insert(tile, word);
        }
    }

    /// Whose records of a tile the other server has, and their hash. Returns whether that is new.
    ///
    /// # Errors
    /// [`Code::EpochMismatch`]: it said something else before.
    pub(super) fn put_hash(
        &mut self,
        open: RoundNumber,
        round: RoundNumber,
        tile: u32,
        (word, hash): (u64, Digest),
    ) -> Result<bool, Code> {
        let Some(words) = self.round(open, round) else { return Ok(false) };
        match words.hashes.entry(tile) {
            Entry::Vacant(place) => {
                place.insert(hash);
                words.words.insert(tile, word);
                Ok(true)
            }
            Entry::Occupied(known) if *known.get() == hash && words.words.get(&tile) == Some(&word) => {
                Ok(false)
            }
            Entry::Occupied(_) => Err(Code::EpochMismatch),
        }
    }

    /// Whose records of a tile the other server has, and their hash, if it has said so.
    pub(super) fn hash(&self, round: RoundNumber, tile: usize) -> Option<(u64, Digest)> {
        let words = self.rounds.get(&round.0)?;
        let tile = tile as u32;
        Some((*words.words.get(&tile)?, *words.hashes.get(&tile)?))
    }

    /// The other server left a round out.
    pub(super) fn put_skipped(&mut self, open: RoundNumber, round: RoundNumber) {
        if let Some(words) = self.round(open, round) {
            words.skipped = true;
        }
    }

    fn round(&mut self, open: RoundNumber, round: RoundNumber) -> Option<&mut RoundWords> {
        if round < open {
            return None;
        }
        // A claim to be far ahead drives nobody through all the rounds up to there.
        self.newest = self.newest.max(round.0.min(open.0.saturating_add(PEER_ROUNDS_AHEAD_MAX)));
        (round.0 - open.0 <= PEER_ROUNDS_AHEAD_MAX).then(|| self.rounds.entry(round.0).or_default())
    }

    /// The word for a tile, if it is there.
    pub(super) fn get(&self, round: RoundNumber, tile: usize) -> Option<u64> {
        self.rounds.get(&round.0)?.words.get(&(tile as u32)).copied()
    }

    /// Whether the other server left the round out.
    pub(super) fn is_skipped(&self, round: RoundNumber) -> bool {
        self.rounds.get(&round.0).is_some_and(|words| words.skipped)
    }

    /// Whether all of so many tiles have a word.
    pub(super) fn is_whole(&self, round: RoundNumber, tiles: usize) -> bool {
        self.rounds.get(&round.0).is_some_and(|words| words.words.len() >= tiles)
    }

    /// Whether the other server has begun to seal this round, or a later one.
    pub(super) fn has_begun(&self, round: RoundNumber) -> bool {
        self.newest >= round.0
    }

    /// Rounds before this one are over.
    pub(super) fn forget_before(&mut self, round: RoundNumber) {
        while self.rounds.first_key_value().is_some_and(|(known, _)| *known < round.0) {
            self.rounds.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_kept_for_a_few_rounds_and_no_more() {
        let mut words = PeerWords::default();
        let open = RoundNumber(10);
        words.put(open, RoundNumber(9), 0, 1);
        words.put(open, RoundNumber(10), 3, 5);
        words.put(open, RoundNumber(10 + PEER_ROUNDS_AHEAD_MAX), 0, 7);
        words.put(open, RoundNumber(u64::MAX), 0, 9);
        assert_eq!(words.get(RoundNumber(9), 0), None, "that round is over");
        assert_eq!(words.get(RoundNumber(10), 3), Some(5));
        assert_eq!(words.get(RoundNumber(10), 0), None);
        assert_eq!(words.get(RoundNumber(10 + PEER_ROUNDS_AHEAD_MAX), 0), Some(7));
        assert_eq!(words.get(RoundNumber(u64::MAX), 0), None, "too far ahead to keep");
        assert!(words.has_begun(RoundNumber(10 + PEER_ROUNDS_AHEAD_MAX)), "but it was said");
        assert!(!words.has_begun(RoundNumber(11 + PEER_ROUNDS_AHEAD_MAX)), "and is believed so far");
        assert!(words.is_whole(RoundNumber(10), 1) && !words.is_whole(RoundNumber(10), 2));
        words.put_skipped(open, RoundNumber(11));
        assert!(words.is_skipped(RoundNumber(11)) && !words.is_skipped(RoundNumber(10)));
        words.forget_before(RoundNumber(11));
        assert_eq!(words.get(RoundNumber(10), 3), None);
    }
}
