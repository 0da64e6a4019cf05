//! What a core has to send to every connection of a group, in order: sealed tiles, answers, ends of rounds, and frames for all.

use crate::accountable::SignedRound;
use crate::answer::RoundAnswers;
use crate::metrics::Span;
use crate::tile::Tile;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use twincast_protocol::ids::RoundNumber;

/// One thing to send to every connection of a group.
#[derive(Clone, Debug)]
pub enum Item {
    /// A tile: to each connection the cells of its users.
    Tile(Arc<Tile>),
    /// The answers of a round: to each connection those of its users.
    Answers(Arc<RoundAnswers>),
    /// The end of a round whose delivery is signed: to each connection what was signed for its users.
    RoundEnd(Arc<SignedRound>),
    /// The same bytes to everybody.
    Frame(RoundNumber, Bytes),
}

impl Item {
    /// The round that it belongs to.
    #[must_use]
    pub fn round(&self) -> RoundNumber {
        match self {
            Item::Tile(tile) => tile.head().round,
            Item::Answers(answers) => answers.round,
            Item::RoundEnd(signed) => signed.round(),
            Item::Frame(round, _) => *round,
        }
    }
}

#[derive(Debug)]
struct Entry {
    item: Item,
    /// Connections that have not sent it.
    remaining: u32,
    /// The round that readers are judged by: its own, or the newest where it belongs to none.
    round: RoundNumber,
    /// Of what ends a round that was delivered: when the first of it came.
    begun: Option<Instant>,
}

/// The items of one group that not all connections of this core have sent, and how many still have to.
///
/// Every connection is a place in this log. An item goes when the last one has passed it.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Place of the first item.
    base: u64,
    items: VecDeque<Entry>,
    connections: u32,
    /// Message cells that were sent whole, over all connections.
    pub(super) shares_sent: u64,
    /// Cells of confirmations, keys and replies that were sent whole, likewise.
    pub(super) parts_sent: u64,
    /// Answers that were sent whole, likewise.
    pub(super) answers_sent: u64,
    /// Rounds that all connections have sent, each from its first tile, or its answers, on.
    pub(super) delivered: Span,
    /// The round that is being delivered, and when the first of it came.
    begun: Option<(RoundNumber, Instant)>,
    /// The newest round that an item belongs to.
    newest: RoundNumber,
}

impl Log {
    /// Adds an item, unless nobody is there to get it.
    pub(super) fn push(&mut self, item: Item) {
        self.newest = self.newest.max(item.round());
        if self.connections > 0 {
            // An announcement between two rounds lags no further behind than they do.
            let round = if item.round() == RoundNumber::DIAL { self.newest } else { item.round() };
            let begun = self.begun_of(&item);
            self.items.push_back(Entry { item, remaining: self.connections, round, begun });
        }
    }

    /// Notes when a round's first item comes; of the one that ends it, says when that was. The clock is read once a round.
    fn begun_of(&mut self, item: &Item) -> Option<Instant> {
        match item {
            Item::Tile(tile) if tile.is_message() => {
                let round = tile.head().round;
                if self.begun.is_none_or(|(begun, _)| begun != round) {
                    self.begun = Some((round, Instant::now()));
                }
                None
            }
            Item::Tile(_) => None,
            Item::Answers(_) => Some(Instant::now()),
            // Of a round that was left out there was no tile.
            Item::Frame(..) | Item::RoundEnd(_) => {
                let round = item.round();
                self.begun.take_if(|(begun, _)| *begun == round).map(|(_, at)| at)
            }
        }
    }

    /// A connection joins, behind everything that is there. Returns its place.
    pub(super) fn join(&mut self) -> u64 {
        self.connections += 1;
        self.end()
    }

    /// The place behind the last item.
    pub(super) fn end(&self) -> u64 {
        self.base + self.items.len() as u64
    }

    /// The item at a place, if there is one yet.
    ///
    /// # Panics
    /// If the place was passed by everybody: no cursor points there.
    pub(super) fn get(&self, place: u64) -> Option<&Item> {
        self.entry(place).map(|entry| &entry.item)
    }

    fn entry(&self, place: u64) -> Option<&Entry> {
        let index = place.checked_sub(self.base).expect("a cursor's place is not passed by all");
        self.items.get(index as usize)
    }

    /// A connection has sent the item at this place.
    pub(super) fn pass(&mut self, place: u64) {
        let index = (place - self.base) as usize;
        self.items[index].remaining -= 1;
        while self.items.front().is_some_and(|entry| entry.remaining == 0) {
            let entry = self.items.pop_front().expect("it was there");
            if let Some(begun) = entry.begun {
                self.delivered.add(begun.elapsed());
            }
            self.base += 1;
        }
    }

    /// A connection that has sent everything before this place leaves.
    pub(super) fn leave(&mut self, place: u64) {
        self.connections -= 1;
        for place in place..self.end() {
            self.pass(place);
        }
    }

    /// How many whole rounds a connection at this place is behind the newest.
    pub(super) fn rounds_behind(&self, place: u64) -> u64 {
        self.entry(place).map_or(0, |entry| self.newest.0.saturating_sub(entry.round.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(round: u64) -> Item {
        Item::Frame(RoundNumber(round), Bytes::from_static(b"x"))
    }

    #[test]
    fn an_item_goes_when_the_last_connection_has_passed_it() {
        let mut log = Log::default();
        log.push(frame(1));
        assert_eq!(log.end(), 0, "nobody is there to get it");
        let (a, b) = (log.join(), log.join());
        log.push(frame(1));
        log.push(frame(2));
        log.pass(a);
        assert_eq!((log.base, log.items.len()), (0, 2));
        log.pass(b);
        assert_eq!((log.base, log.items.len()), (1, 1));
        let late = log.join();
        assert_eq!(late, 2);
        log.push(frame(5));
        assert_eq!(log.rounds_behind(1), 3);
        assert_eq!(log.rounds_behind(log.end()), 0);
        log.leave(1);
        log.leave(1);
        assert_eq!((log.base, log.items.len()), (2, 1), "the late one still has an item to send");
        log.pass(late);
        log.leave(3);
        assert_eq!((log.items.len(), log.connections), (0, 0));
    }

    #[test]
    fn an_announcement_does_not_make_its_readers_late() {
        let mut log = Log::default();
        let place = log.join();
        log.push(frame(7));
        log.push(frame(0));
        log.push(frame(8));
        assert_eq!(log.rounds_behind(place), 1);
        log.pass(place);
        assert_eq!(log.rounds_behind(place + 1), 1, "announced during round 7");
    }

    #[test]
    fn leaving_out_of_order_frees_in_order() {
        let mut log = Log::default();
        let (a, _b) = (log.join(), log.join());
        log.push(frame(1));
        log.push(frame(1));
        log.leave(a);
        assert_eq!(log.items.len(), 2);
        log.pass(0);
        assert_eq!((log.base, log.items.len()), (1, 1));
    }
}
