//! Rows of tiles, used again round after round, and how many answers wait for readers.

use crate::answer::{RoundAnswers, Rows};
use crate::limits::{ROUNDS_BUFFERED, TILE_SENDERS};
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use twincast_protocol::answer::RECORD_BYTES;
use twincast_protocol::ids::RoundNumber;

/// Rounds that there are rows for: the open one, the next one, and one that was left out or is over, of which the
/// answer threads still have some.
pub(in super::super) const ROUNDS_OF_ROWS: usize = 3;

/// Rows that no round has. It outlives the epochs.
#[derive(Debug, Default)]
pub(in super::super) struct RowsPool {
    /// Oldest first: rows come free in about the order in which they were given back.
    free: VecDeque<Arc<Rows>>,
    /// How many there are, those that are taken counted.
    made: usize,
    /// The newest round of any epoch that the answer threads were given something of.
    pub(in super::super) used_to: Option<RoundNumber>,
    /// Answers that somebody may not have read: their buffers are not free.
    held: Vec<Weak<RoundAnswers>>,
}

impl RowsPool {
    /// Makes as many further rows as it takes to have made `count`.
    pub(super) fn grow(&mut self, count: usize) {
        while self.made < count {
            let records = vec![[0; RECORD_BYTES]; TILE_SENDERS].into();
            self.free.push_back(Arc::new(Rows { tile: 0, senders: 0, records }));
            self.made += 1;
        }
    }

    /// Takes rows that nobody else holds for every tile of a table, or none.
    pub(super) fn take_table(&mut self, members: usize) -> Option<Vec<Arc<Rows>>> {
        let tiles = members.div_ceil(TILE_SENDERS);
        let is_free = |rows: &&Arc<Rows>| Arc::strong_count(rows) == 1;
        if self.free.iter().filter(is_free).take(tiles).count() < tiles {
            return None;
        }
        let mut taken = Vec::with_capacity(tiles);
        let mut at = 0;
        while taken.len() < tiles {
            if Arc::strong_count(&self.free[at]) > 1 {
                at += 1;
                continue;
            }
            let mut rows = self.free.remove(at).expect("it is there");
            let (tile, writable) = (taken.len(), unshared(&mut rows));
            writable.tile = tile;
            writable.senders = TILE_SENDERS.min(members - tile * TILE_SENDERS);
            taken.push(rows);
        }
        Some(taken)
    }

    /// Answers go to their readers.
    pub(super) fn hold(&mut self, answers: &Arc<RoundAnswers>) {
        self.held.push(Arc::downgrade(answers));
    }

    /// Whether there is room for the answers of one more round.
    pub(super) fn has_room(&mut self) -> bool {
        self.held.retain(|answers| answers.strong_count() > 0);
        self.held.len() < ROUNDS_BUFFERED
    }

    /// Gives rows back; they can be taken again once all other holders have dropped them.
    pub(in super::super) fn give(&mut self, rows: Arc<Rows>) {
        self.free.push_back(rows);
    }
}

/// Rows, to be written.
///
/// # Panics
/// If somebody else holds them, which the stages of a tile rule out.
pub(super) fn unshared(rows: &mut Arc<Rows>) -> &mut Rows {
    Arc::get_mut(rows).expect("rows that are written have one holder")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_all_its_rows_or_none_and_none_that_somebody_holds() {
        let mut pool = RowsPool::default();
        pool.grow(5);
        let table = pool.take_table(130).unwrap();
        let shape: Vec<_> = table.iter().map(|rows| (rows.tile, rows.senders, rows.records.len())).collect();
        assert_eq!(shape, [(0, 64, 64), (1, 64, 64), (2, 2, 64)]);
        assert!(pool.take_table(130).is_none(), "two are left");
        let held = table[0].clone();
        table.into_iter().for_each(|rows| pool.give(rows));
        pool.grow(5);
        assert_eq!(pool.free.len(), 5, "what is taken counts");
        assert!(pool.take_table(5 * 64).is_none() && pool.free.len() == 5, "one is held");
        assert_eq!(pool.take_table(4 * 64).unwrap().len(), 4);
        drop(held);
        assert!(pool.take_table(1).is_some());
    }
}
