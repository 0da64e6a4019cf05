//! The rounds of a running group: the open one and the next one take submissions; a round is sealed tile by tile.

use super::keys::SessionKeys;
use super::{Output, Shape};
use crate::limits::{LAGGING_PART_MAX, ROUNDS_BUFFERED, TILE_SENDERS};
use crate::tile::{Tile, TileHead, TilePool, unsealed};
use fixedbitset::FixedBitSet;
use std::sync::Arc;
use std::time::Duration;
use twincast_protocol::ids::{Epoch, MemberIndex, RoundNumber, SlotIndex};
use twincast_protocol::wire::{Body, Code, RoundEnd, RoundSkipped};

/// One round that takes submissions.
#[derive(Debug)]
struct Round {
    number: RoundNumber,
    /// `[tile][slot]`, empty where no buffers are free for the round: if it begins like that, it is left out at its
    /// end.
    tiles: Vec<Arc<Tile>>,
    submitted: FixedBitSet,
    senders: u32,
    /// When the first submission came, or the round was opened if that was later: what comes early takes nothing of
    /// the time that the others have.
    begun_at: Option<Duration>,
    /// Tiles (all slots of 64 senders each) that are sealed.
    sealed: usize,
}

/// The open round and the next.
#[derive(Debug)]
pub(super) struct Rounds {
    shape: Shape,
    epoch: Epoch,
    pool: TilePool,
    open: Round,
    next: Round,
    /// Too many readers lagged when the last round was sealed.
    skip: bool,
}

impl Rounds {
    pub(super) fn new(shape: &Shape, epoch: Epoch) -> Rounds {
        let tiles = ROUNDS_BUFFERED * shape.tiles() * shape.slots;
        let mut pool = TilePool::new(tiles, || Tile::for_messages(shape.frame.share_bytes()));
        let open = Round::new(RoundNumber::FIRST, shape, &mut pool);
        let next = Round::new(RoundNumber::FIRST.next(), shape, &mut pool);
        Rounds { shape: *shape, epoch, pool, open, next, skip: false }
    }

    pub(super) fn open(&self) -> RoundNumber {
        self.open.number
    }

    /// Whether the open round has submissions.
    pub(super) fn begun(&self) -> bool {
        self.open.begun_at.is_some()
    }

    /// Takes the shares of one member for one round: `[slot][half][share_bytes]`.
    pub(super) fn place(
        &mut self,
        number: RoundNumber,
        sender: usize,
        shares: &[u8],
        now: Duration,
    ) -> Result<(), Code> {
        let round = if number < self.open.number {
            return Err(Code::RoundSealed);
        } else if number == self.open.number {
            &mut self.open
        } else if number == self.next.number {
            &mut self.next
        } else {
            return Err(Code::RoundTooFar);
        };
        round.find_buffers(&self.shape, &mut self.pool);
        if round.tiles.is_empty() {
            // Counted all the same: the round that is left out has the pace of one that is played.
            round.submitted.insert(sender);
            round.begun_at.get_or_insert(now);
            return Err(Code::RoundSkipped);
        }
        if round.submitted.contains(sender) {
            return Err(Code::DuplicateSubmission);
        }
        let (tile, row) = (sender / TILE_SENDERS, sender % TILE_SENDERS);
        let row_bytes = 2 * self.shape.frame.share_bytes();
        for (slot, halves) in shares.chunks_exact(row_bytes).enumerate() {
            let tile = unsealed(&mut round.tiles[tile * self.shape.slots + slot]);
            tile.row_mut(row).copy_from_slice(halves);
            tile.set_present(row);
        }
        round.submitted.insert(sender);
        round.senders += 1;
        round.begun_at.get_or_insert(now);
        Ok(())
    }

    /// Seals what is complete or overdue. The open round waits for `waited_for`, and for a time limit from its
    /// first submission on. A round that had no buffers when it began is left out then.
    pub(super) fn advance(
        &mut self,
        keys: &SessionKeys,
        waited_for: &FixedBitSet,
        now: Duration,
        lagging_users: u32,
        stopping: bool,
        out: &mut Vec<Output>,
    ) {
        self.find_buffers();
        while self.open.begun_at.is_some() || self.skip {
            if self.skip && self.open.sealed == 0 {
                self.skip_open(now, out);
                continue;
            }
            let without_buffers = self.open.tiles.is_empty();
            if !without_buffers {
                self.seal_full_tiles(keys, out);
            }
            let overdue = self.open.begun_at.is_some_and(|begun| now >= begun + self.shape.round_timeout);
            let all_in = waited_for.is_subset(&self.open.submitted);
            if !all_in && !overdue {
                return;
            }
            if without_buffers {
                self.skip_open(now, out);
            } else {
                self.seal_round(keys, now, out);
            }
            let many_lag = self.look_at_readers(lagging_users, out);
            self.skip = many_lag && !without_buffers;
            if stopping {
                return;
            }
        }
    }

    /// Buffers for the rounds that have none: they were all on their way when the round was made.
    fn find_buffers(&mut self) {
        for round in [&mut self.open, &mut self.next] {
            round.find_buffers(&self.shape, &mut self.pool);
        }
    }

    /// Senders of a tile.
    fn senders(&self, tile: usize) -> usize {
        TILE_SENDERS.min(self.shape.members - tile * TILE_SENDERS)
    }

    /// Seals the tiles that have all their senders, as far as none before them has not.
    fn seal_full_tiles(&mut self, keys: &SessionKeys, out: &mut Vec<Output>) {
        while self.open.sealed < self.shape.tiles() {
            let tile = self.open.sealed;
            let senders = self.senders(tile);
            let present = self.open.tiles[tile * self.shape.slots].head().present;
            if present.count_ones() as usize != senders {
                return;
            }
            self.seal_tile(keys, out);
        }
    }

    fn seal_tile(&mut self, keys: &SessionKeys, out: &mut Vec<Output>) {
        let index = self.open.sealed;
        let senders = self.senders(index);
        for slot in 0..self.shape.slots {
            let tile = &mut self.open.tiles[index * self.shape.slots + slot];
            let writable = unsealed(tile);
            let head = TileHead {
                epoch: self.epoch,
                round: self.open.number,
                slot: SlotIndex(slot as u32),
                tile: index as u32,
                first_sender: MemberIndex((index * TILE_SENDERS) as u32),
                senders,
                present: writable.head().present,
            };
            writable.begin_messages(head, keys.select(slot, index));
            writable.clear_absent();
            out.push(Output::Deliver(tile.clone()));
        }
        self.open.sealed += 1;
    }

    fn seal_round(&mut self, keys: &SessionKeys, now: Duration, out: &mut Vec<Output>) {
        while self.open.sealed < self.shape.tiles() {
            self.seal_tile(keys, out);
        }
        let (number, senders) = (self.open.number, self.open.senders);
        let tiles = (self.shape.tiles() * self.shape.slots) as u32;
        // Counted before anybody can see it.
        out.push(Output::Sealed(number, senders));
        out.push(Output::All(number, RoundEnd::new(number.0, tiles, senders).frame()));
        self.turn(now);
    }

    fn skip_open(&mut self, now: Duration, out: &mut Vec<Output>) {
        let number = self.open.number;
        out.push(Output::Skipped(number));
        out.push(Output::All(number, RoundSkipped { round: number.0.into() }.frame()));
        self.skip = false;
        self.turn(now);
    }

    /// The next round becomes the open one.
    fn turn(&mut self, now: Duration) {
        // Out of the round first: the tiles have other holders, and come back to the pool when those are done.
        for tile in self.open.tiles.drain(..) {
            self.pool.give(tile);
        }
        let after = Round::new(self.next.number.next(), &self.shape, &mut self.pool);
        self.open = std::mem::replace(&mut self.next, after);
        if let Some(begun_at) = &mut self.open.begun_at {
            *begun_at = now;
        }
    }

    /// A few readers who lag are closed. If many do, it is too fast a pace for this group: nobody is closed, and a
    /// round is to be left out.
    fn look_at_readers(&self, lagging_users: u32, out: &mut Vec<Output>) -> bool {
        let many = lagging_users as usize * LAGGING_PART_MAX as usize > self.shape.members;
        if lagging_users > 0 && !many {
            out.push(Output::CloseLagging);
        }
        many
    }
}

impl Round {
    fn new(number: RoundNumber, shape: &Shape, pool: &mut TilePool) -> Round {
        Round {
            number,
            tiles: take_tiles(shape, pool),
            submitted: FixedBitSet::with_capacity(shape.members),
            senders: 0,
            begun_at: None,
            sealed: 0,
        }
    }

    /// Buffers, if it has none and has not begun without.
    fn find_buffers(&mut self, shape: &Shape, pool: &mut TilePool) {
        if self.tiles.is_empty() && self.begun_at.is_none() {
            self.tiles = take_tiles(shape, pool);
        }
    }
}

/// All tiles of a round, unused, or none.
fn take_tiles(shape: &Shape, pool: &mut TilePool) -> Vec<Arc<Tile>> {
    let count = shape.tiles() * shape.slots;
    if !pool.has_free(count) {
        return Vec::new();
    }
    let mut tiles: Vec<Arc<Tile>> = (0..count).map(|_| pool.take().expect("there were enough")).collect();
    for tile in &mut tiles {
        unsealed(tile).clear();
    }
    tiles
}
