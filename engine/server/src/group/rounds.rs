//! The rounds of an epoch: the open one and the next one take submissions. A round is sealed tile by tile; a sealed
//! tile is released once the other server has said who is present in it there, or need not be waited for.

use super::accountable::{Ledger, Uploads};
use super::delivery::Submission;
use super::timing::{Circumstances, Submitted, Timing, present};
use super::{Output, SealedRound, Shape};
use crate::config::RoundMode;
use crate::limits::{ROUNDS_BUFFERED, TILE_SENDERS};
use crate::roster::Roster;
use crate::tile::{Tile, TileHead, TilePool, unsealed};
use std::sync::Arc;
use std::time::Duration;
use twincast_protocol::context::Purpose;
use twincast_protocol::ids::{MemberIndex, RoundNumber, SlotIndex};
use twincast_protocol::wire::{Body, Code, RoundEnd};

/// One round that takes submissions.
#[derive(Debug)]
struct Round {
    taken: Submitted,
    /// `[tile][slot]`, empty where no buffers are free for the round: if it begins like that, it is left out at its
    /// end.
    tiles: Vec<Arc<Tile>>,
    /// Tiles (all slots of 64 senders each) that are sealed.
    sealed: usize,
    /// When the last of them was.
    sealed_at: Option<Duration>,
    /// Tiles (likewise) that are released.
    released: usize,
    /// Senders present in those.
    senders: u32,
    /// Those of them that were released without the other server's word.
    unagreed: u32,
    /// What was signed of it, in an accountable group.
    uploads: Option<Uploads>,
}

/// The open round and the next.
#[derive(Debug)]
pub(super) struct Rounds {
    shape: Shape,
    roster: Arc<Roster>,
    pool: TilePool,
    open: Round,
    next: Round,
    timing: Timing,
    /// In an accountable group.
    ledger: Option<Ledger>,
}

impl Rounds {
    /// The rounds of an epoch from `first` on, with the buffers of the epoch before. `ledger`: what an accountable group
    /// keeps of them.
    pub(super) fn new(
        shape: &Shape,
        roster: &Arc<Roster>,
        first: RoundNumber,
        mut pool: TilePool,
        mut ledger: Option<Ledger>,
        now: Duration,
    ) -> Rounds {
        let members = roster.members();
        pool.grow(ROUNDS_BUFFERED * shape.tiles(members) * shape.slots, || new_tile(shape));
        let open = Round::new(first, members, shape, &mut pool, &mut ledger);
        let next = Round::new(first.next(), members, shape, &mut pool, &mut ledger);
        let roster = roster.clone();
        let timing = Timing::new(shape, &roster, first, now);
        Rounds { shape: *shape, roster, pool, open, next, timing, ledger }
    }

    pub(super) fn timing(&mut self) -> &mut Timing {
        &mut self.timing
    }

    pub(super) fn open(&self) -> RoundNumber {
        self.open.taken.number
    }

    /// Whether the open round has submissions.
    pub(super) fn begun(&self) -> bool {
        self.open.taken.begun_at.is_some()
    }

    /// Since when the open round is sealed and waits for the other server.
    #[cfg(test)]
    pub(super) fn waits_since(&self) -> Option<Duration> {
        self.open.sealed_at
    }

    /// Whether the epoch's last round is released.
    pub(super) fn at_end(&self) -> bool {
        self.timing.is_past_end(self.open())
    }

    /// The round that is to be open soon, without anybody's doing.
    pub(super) fn soon_open(&self) -> RoundNumber {
        self.timing.soon_open(self.open())
    }

    /// The epoch is over: its buffers serve the next one. What an accountable group keeps of its rounds is left.
    pub(super) fn into_pool(mut self) -> (TilePool, Option<Ledger>) {
        let Rounds { open, next, pool, .. } = &mut self;
        open.tiles.drain(..).chain(next.tiles.drain(..)).for_each(|tile| pool.give(tile));
        pool.forget_choices();
        (self.pool, self.ledger)
    }

    /// What an accountable group keeps of the rounds.
    pub(super) fn ledger(&self) -> Option<&Ledger> {
        self.ledger.as_ref()
    }

    /// Whose uploads were signed falsely since this was last asked for, and in which round.
    pub(super) fn take_wrong(&mut self) -> Vec<(RoundNumber, usize)> {
        self.ledger.as_mut().map(Ledger::take_wrong).unwrap_or_default()
    }

    /// Takes what one member submits for one round. In an accountable group its signature is verified with those of the
    /// others of its tile: at the latest before that is sealed.
    pub(super) fn place(
        &mut self,
        number: RoundNumber,
        submission: &Submission<'_>,
        now: Duration,
    ) -> Result<(), Code> {
        let Submission { sender, choices, shares, signature } = *submission;
        let next = self.timing.is_for_next(number, self.open())?;
        let round = if next { &mut self.next } else { &mut self.open };
        let (tile, row) = (sender / TILE_SENDERS, sender % TILE_SENDERS);
        if tile < round.sealed || round.sealed_at.is_some() {
            // The tile waits for the other server's word.
            let twice = round.taken.by.contains(sender);
            return Err(if twice { Code::DuplicateSubmission } else { Code::RoundSealed });
        }
        round.find_buffers(self.roster.members(), &self.shape, &mut self.pool);
        if round.tiles.is_empty() {
            // Counted all the same: the round that is left out has the pace of one that is played.
            round.taken.insert(sender, now);
            return Err(Code::RoundSkipped);
        }
        if round.taken.by.contains(sender) {
            return Err(Code::DuplicateSubmission);
        }
        for (slot, halves) in shares.chunks_exact(self.shape.row_bytes()).enumerate() {
            let tile = unsealed(&mut round.tiles[tile * self.shape.slots + slot]);
            tile.row_mut(row).copy_from_slice(halves);
            if !choices.is_empty() {
                tile.choose(row, choices);
            }
            tile.set_present(row);
        }
        round.taken.insert(sender, now);
        if let (Some(uploads), Some(signature)) = (&mut round.uploads, signature) {
            uploads.put(sender, signature);
            if round.has_all(tile, self.roster.members()) {
                round.verify(tile, &self.shape, &mut self.ledger);
            }
        }
        Ok(())
    }

    /// Seals what is complete or overdue and releases what is agreed or overdue. Returns whether a round ended: there
    /// may be more to do for the one after it.
    pub(super) fn advance(&mut self, with: &Circumstances<'_>, out: &mut Vec<Output>) -> bool {
        self.find_buffers();
        if self.at_end() {
            return false;
        }
        self.jump(with.now);
        let left_out = with.words.is_skipped(self.open()) || self.timing.is_behind(self.open());
        if (left_out && self.open.released == 0) || (self.timing.skip && self.open.sealed == 0) {
            self.skip_open(with, out);
            return true;
        }
        if !self.timing.is_begun(&mut self.open.taken, &self.next.taken, with) {
            return false;
        }
        let without_buffers = self.open.tiles.is_empty();
        if self.open.sealed_at.is_none() {
            if !without_buffers && self.shape.round_mode == RoundMode::Lockstep {
                self.seal_full_tiles(with, out);
            }
            if !self.timing.is_due(&self.open.taken, with) {
                self.release(with, out);
                return false;
            }
            self.timing.note_missed(&self.open.taken, with.waited_for);
            if without_buffers {
                self.skip_open(with, out);
                self.timing.look_at_readers(with.lagging_users, out);
                return true;
            }
            while self.open.sealed < self.tiles() {
                self.seal_tile(with, out);
            }
            self.open.sealed_at = Some(with.now);
        }
        self.release(with, out);
        if self.open.released < self.tiles() {
            return false;
        }
        self.end_round(with.now, out);
        self.timing.skip = self.timing.look_at_readers(with.lagging_users, out);
        true
    }

    /// Tells the other server of the tiles that wait for its word: what was said before went over another link.
    pub(super) fn tell_again(&self, out: &mut Vec<Output>) {
        for tile in 0..self.open.sealed {
            let word = self.open.tiles[tile * self.shape.slots].head().present;
            out.push(present(&self.shape, &self.roster, self.open(), tile, word, false));
        }
    }

    /// Passes over rounds where there are many to catch up with.
    fn jump(&mut self, now: Duration) {
        let Some(target) = self.timing.jump_from(self.next.taken.number) else { return };
        if self.open.released > 0 {
            return;
        }
        self.turn(now);
        self.turn(now);
        self.open.taken.number = target;
        self.next.taken.number = target.next();
    }

    /// Buffers for the rounds that have none: they were all on their way when the round was made.
    fn find_buffers(&mut self) {
        for round in [&mut self.open, &mut self.next] {
            round.find_buffers(self.roster.members(), &self.shape, &mut self.pool);
        }
    }

    fn tiles(&self) -> usize {
        self.shape.tiles(self.roster.members())
    }

    /// Senders of a tile.
    fn senders(&self, tile: usize) -> usize {
        TILE_SENDERS.min(self.roster.members() - tile * TILE_SENDERS)
    }

    /// Seals the tiles that have all their senders, as far as none before them has not.
    fn seal_full_tiles(&mut self, with: &Circumstances<'_>, out: &mut Vec<Output>) {
        while self.open.sealed < self.tiles() {
            if !self.open.has_all(self.open.sealed, self.roster.members()) {
                return;
            }
            self.seal_tile(with, out);
        }
    }

    /// Seals the next tile of the open round and tells the other server.
    fn seal_tile(&mut self, with: &Circumstances<'_>, out: &mut Vec<Output>) {
        let index = self.open.sealed;
        let senders = self.senders(index);
        self.open.verify(index, &self.shape, &mut self.ledger);
        let mut word = 0;
        for slot in 0..self.shape.slots {
            let tile = unsealed(&mut self.open.tiles[index * self.shape.slots + slot]);
            let present = tile.head().present;
            let head = TileHead {
                epoch: self.roster.epoch(),
                round: self.open.taken.number,
                purpose: Purpose::Message,
                slot: SlotIndex(slot as u32),
                tile: index as u32,
                first_sender: MemberIndex((index * TILE_SENDERS) as u32),
                senders,
                present,
            };
            tile.begin_messages(head, self.roster.clone(), with.dials.keys().select(slot, index));
            word = present;
        }
        self.open.sealed += 1;
        if with.link_up {
            out.push(present(&self.shape, &self.roster, self.open(), index, word, false));
        }
    }

    /// Releases the sealed tiles whose time has come, in order.
    fn release(&mut self, with: &Circumstances<'_>, out: &mut Vec<Output>) {
        while self.open.released < self.open.sealed {
            let index = self.open.released;
            let agreed = with.words.get(self.open(), index);
            let patience_over =
                self.open.sealed_at.is_some_and(|sealed| with.now >= sealed + self.shape.peer_timeout);
            let to_come = with.link_up && !with.words.is_skipped(self.open());
            if agreed.is_none() && to_come && !patience_over {
                return;
            }
            for slot in 0..self.shape.slots {
                let tile = &mut self.open.tiles[index * self.shape.slots + slot];
                let writable = unsealed(tile);
                writable.keep_present(agreed.unwrap_or(u64::MAX));
                writable.clear_absent();
                if slot == 0 {
                    self.open.senders += writable.head().present.count_ones();
                }
                if let (Some(ledger), Some(uploads)) = (&mut self.ledger, &mut self.open.uploads) {
                    ledger.released(uploads, index, tile.head().present);
                }
                #[cfg(not(feature = "fault-swap-half"))]
                out.push(Output::Deliver(tile.clone()));
                #[cfg(feature = "fault-swap-half")]
                out.push(Output::Deliver(match &mut self.ledger {
                    Some(ledger) => ledger.cheat(tile.clone()),
                    None => tile.clone(),
                }));
            }
            self.open.released += 1;
            if self.shape.linked && agreed.is_none() {
                self.open.unagreed += self.shape.slots as u32;
            }
        }
    }

    fn end_round(&mut self, now: Duration, out: &mut Vec<Output>) {
        let Round { senders, unagreed, sealed_at, .. } = self.open;
        let (gathered, settled) = self.open.taken.times(sealed_at, now);
        let number = self.open();
        let tiles = (self.tiles() * self.shape.slots) as u32;
        // Counted before anybody can see it.
        out.push(Output::Sealed(SealedRound {
            epoch: self.roster.epoch(),
            round: number,
            members: self.roster.members() as u32,
            senders,
            unagreed,
            gathered,
            settled,
        }));
        match (&mut self.ledger, self.open.uploads.take()) {
            (Some(ledger), Some(uploads)) => {
                out.push(Output::RoundEnd(ledger.end(uploads, number, unagreed)));
            }
            _ => {
                let end = RoundEnd { unagreed: unagreed.into(), ..RoundEnd::new(number.0, tiles, senders) };
                out.push(Output::All(number, end.frame()));
            }
        }
        self.turn(now);
    }

    fn skip_open(&mut self, with: &Circumstances<'_>, out: &mut Vec<Output>) {
        self.timing.tell_skipped(&self.roster, self.open(), with, out);
        self.turn(with.now);
    }

    /// The next round becomes the open one.
    fn turn(&mut self, now: Duration) {
        // Out of the round first: the tiles have other holders, and come back to the pool when those are done.
        for tile in self.open.tiles.drain(..) {
            self.pool.give(tile);
        }
        if let (Some(ledger), Some(uploads)) = (&mut self.ledger, self.open.uploads.take()) {
            ledger.give_back(uploads);
        }
        let members = self.roster.members();
        let after = self.next.taken.number.next();
        let after = Round::new(after, members, &self.shape, &mut self.pool, &mut self.ledger);
        self.open = std::mem::replace(&mut self.next, after);
        if let Some(begun_at) = &mut self.open.taken.begun_at {
            *begun_at = now;
        }
        self.timing.set_seal_at(now);
    }
}

impl Round {
    fn new(
        number: RoundNumber,
        members: usize,
        shape: &Shape,
        pool: &mut TilePool,
        ledger: &mut Option<Ledger>,
    ) -> Round {
        Round {
            taken: Submitted::new(number, members),
            tiles: take_tiles(members, shape, pool),
            sealed: 0,
            sealed_at: None,
            released: 0,
            senders: 0,
            unagreed: 0,
            uploads: ledger.as_mut().map(Ledger::uploads),
        }
    }

    /// Whether all senders of a tile have submitted.
    fn has_all(&self, tile: usize, members: usize) -> bool {
        let first = tile * TILE_SENDERS;
        self.taken.by.contains_all_in_range(first..members.min(first + TILE_SENDERS))
    }

    /// Verifies what was signed of a tile and is not verified.
    fn verify(&mut self, tile: usize, shape: &Shape, ledger: &mut Option<Ledger>) {
        if let (Some(ledger), Some(uploads)) = (ledger, &mut self.uploads) {
            let tiles = &mut self.tiles[tile * shape.slots..][..shape.slots];
            ledger.verify(uploads, self.taken.number, tile, tiles);
        }
    }

    /// Buffers, if it has none and has not begun without.
    fn find_buffers(&mut self, members: usize, shape: &Shape, pool: &mut TilePool) {
        if self.tiles.is_empty() && self.taken.begun_at.is_none() {
            self.tiles = take_tiles(members, shape, pool);
        }
    }
}

fn new_tile(shape: &Shape) -> Tile {
    if shape.chooses_per_round() {
        Tile::for_choices(shape.format.halves(), shape.members_max, shape.cell_bytes())
    } else {
        Tile::for_messages(shape.cell_bytes())
    }
}

/// All tiles of a round, unused, or none.
fn take_tiles(members: usize, shape: &Shape, pool: &mut TilePool) -> Vec<Arc<Tile>> {
    let count = shape.tiles(members) * shape.slots;
    if !pool.has_free(count) {
        return Vec::new();
    }
    let mut tiles: Vec<Arc<Tile>> = (0..count).map(|_| pool.take().expect("there were enough")).collect();
    for tile in &mut tiles {
        unsealed(tile).clear();
    }
    tiles
}
