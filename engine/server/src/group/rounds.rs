//! The rounds of an epoch: the open one and the next one take submissions. A round is sealed tile by tile; a sealed
//! tile is released once the other server has said who is present in it there, or need not be waited for.

use super::dials::Dials;
use super::words::PeerWords;
use super::{Output, SealedRound, Shape};
use crate::config::RoundMode;
use crate::limits::{LAGGING_PART_MAX, ROUNDS_BUFFERED, ROUNDS_CAUGHT_UP_MAX, TILE_SENDERS};
use crate::roster::Roster;
use crate::tile::{Tile, TileHead, TilePool, unsealed};
use fixedbitset::FixedBitSet;
use std::sync::Arc;
use std::time::Duration;
use twincast_protocol::context::Purpose;
use twincast_protocol::ids::{MemberIndex, RoundNumber, SlotIndex};
use twincast_protocol::wire::link::{LinkFrame, Present};
use twincast_protocol::wire::{Body, Code, RoundEnd, RoundSkipped};

/// One round that takes submissions.
#[derive(Debug)]
struct Round {
    number: RoundNumber,
    /// `[tile][slot]`, empty where no buffers are free for the round: if it begins like that, it is left out at its
    /// end.
    tiles: Vec<Arc<Tile>>,
    submitted: FixedBitSet,
    /// When the first submission came, or the round was opened if that was later: what comes early takes nothing of
    /// the time that the others have.
    begun_at: Option<Duration>,
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
}

/// What rounds work with beside themselves.
pub(super) struct Circumstances<'a> {
    pub(super) dials: &'a Dials,
    /// Members whom a round in lockstep waits for.
    pub(super) waited_for: &'a FixedBitSet,
    pub(super) words: &'a PeerWords,
    /// The link is up: the other server's words can come.
    pub(super) link_up: bool,
    pub(super) now: Duration,
    /// The server stops: no further round begins.
    pub(super) stopping: bool,
    /// Users of the group who are more than two whole rounds behind.
    pub(super) lagging_users: u32,
}

/// The open round and the next.
#[derive(Debug)]
pub(super) struct Rounds {
    shape: Shape,
    roster: Arc<Roster>,
    pool: TilePool,
    open: Round,
    next: Round,
    /// The first round that is not this epoch's.
    end: Option<RoundNumber>,
    /// Too many readers lagged when the last round was sealed.
    skip: bool,
    /// Rounds before this one are left out: the other server is there already.
    catch_up: RoundNumber,
    /// Timed: when the open round is sealed.
    seal_at: Duration,
    /// Lockstep: members whom the last round has waited for in vain, and those of them to wait for no longer.
    missed: FixedBitSet,
    given_up: Option<FixedBitSet>,
}

impl Rounds {
    /// The rounds of an epoch from `first` on, with the buffers of the epoch before.
    pub(super) fn new(
        shape: &Shape,
        roster: &Arc<Roster>,
        first: RoundNumber,
        mut pool: TilePool,
        now: Duration,
    ) -> Rounds {
        let members = roster.members();
        pool.grow(ROUNDS_BUFFERED * shape.tiles(members) * shape.slots, || new_tile(shape));
        let open = Round::new(first, members, shape, &mut pool);
        let next = Round::new(first.next(), members, shape, &mut pool);
        let roster = roster.clone();
        let mut rounds = Rounds {
            shape: *shape,
            roster,
            pool,
            open,
            next,
            end: None,
            skip: false,
            catch_up: first,
            seal_at: now,
            missed: FixedBitSet::with_capacity(members),
            given_up: None,
        };
        // The first round has at least half an interval, so that somebody can submit.
        rounds.set_seal_at(now + shape.interval / 2);
        rounds
    }

    pub(super) fn open(&self) -> RoundNumber {
        self.open.number
    }

    /// Whether the open round has submissions.
    pub(super) fn begun(&self) -> bool {
        self.open.begun_at.is_some()
    }

    /// Since when the open round is sealed and waits for the other server.
    #[cfg(test)]
    pub(super) fn waits_since(&self) -> Option<Duration> {
        self.open.sealed_at
    }

    /// Rounds from this one on are not this epoch's.
    pub(super) fn set_end(&mut self, end: Option<RoundNumber>) {
        self.end = end;
    }

    /// Whether the epoch's last round is released.
    pub(super) fn at_end(&self) -> bool {
        self.end.is_some_and(|end| self.open.number >= end)
    }

    /// Leaves out the rounds before this one.
    pub(super) fn catch_up(&mut self, round: RoundNumber) {
        self.catch_up = self.catch_up.max(round);
    }

    /// The round that is to be open soon, without anybody's doing.
    pub(super) fn soon_open(&self) -> RoundNumber {
        self.open.number.max(self.catch_up)
    }

    /// Members who missed a round and are not to be waited for until they submit again.
    pub(super) fn take_given_up(&mut self) -> Option<FixedBitSet> {
        self.given_up.take()
    }

    /// The epoch is over: its buffers serve the next one.
    pub(super) fn into_pool(mut self) -> TilePool {
        let Rounds { open, next, pool, .. } = &mut self;
        open.tiles.drain(..).chain(next.tiles.drain(..)).for_each(|tile| pool.give(tile));
        pool.forget_choices();
        self.pool
    }

    /// Takes what one member submits for one round: choice words if there are any, and `[slot][half][cell_bytes]`.
    pub(super) fn place(
        &mut self,
        number: RoundNumber,
        sender: usize,
        choices: &[u8],
        shares: &[u8],
        now: Duration,
    ) -> Result<(), Code> {
        if self.end.is_some_and(|end| number >= end) {
            return Err(Code::EpochNotOpen);
        }
        let round = if number < self.open.number {
            return Err(Code::RoundSealed);
        } else if number == self.open.number {
            &mut self.open
        } else if number == self.next.number {
            &mut self.next
        } else {
            return Err(Code::RoundTooFar);
        };
        let (tile, row) = (sender / TILE_SENDERS, sender % TILE_SENDERS);
        if tile < round.sealed || round.sealed_at.is_some() {
            // The tile waits for the other server's word.
            let twice = round.submitted.contains(sender);
            return Err(if twice { Code::DuplicateSubmission } else { Code::RoundSealed });
        }
        round.find_buffers(self.roster.members(), &self.shape, &mut self.pool);
        if round.tiles.is_empty() {
            // Counted all the same: the round that is left out has the pace of one that is played.
            round.submitted.insert(sender);
            round.begun_at.get_or_insert(now);
            return Err(Code::RoundSkipped);
        }
        if round.submitted.contains(sender) {
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
        round.submitted.insert(sender);
        round.begun_at.get_or_insert(now);
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
        let left_out = with.words.is_skipped(self.open.number) || self.open.number < self.catch_up;
        if (left_out && self.open.released == 0) || (self.skip && self.open.sealed == 0) {
            self.skip_open(with, out);
            return true;
        }
        if !self.is_begun(with) {
            return false;
        }
        let without_buffers = self.open.tiles.is_empty();
        if self.open.sealed_at.is_none() {
            if !without_buffers && self.shape.round_mode == RoundMode::Lockstep {
                self.seal_full_tiles(with, out);
            }
            if !self.is_due(with) {
                self.release(with, out);
                return false;
            }
            if self.shape.round_mode == RoundMode::Lockstep {
                self.note_missed(with.waited_for);
            }
            if without_buffers {
                self.skip_open(with, out);
                self.look_at_readers(with.lagging_users, out);
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
        self.skip = self.look_at_readers(with.lagging_users, out);
        true
    }

    /// Tells the other server of the tiles that wait for its word: what was said before went over another link.
    pub(super) fn tell_again(&self, out: &mut Vec<Output>) {
        for tile in 0..self.open.sealed {
            let present = self.open.tiles[tile * self.shape.slots].head().present;
            out.push(self.present(tile, present, false));
        }
    }

    /// Where there is much to catch up with, most of it is not even said.
    fn jump(&mut self, now: Duration) {
        let catch_up = self.end.map_or(self.catch_up, |end| self.catch_up.min(end));
        let target = RoundNumber(catch_up.0.saturating_sub(ROUNDS_CAUGHT_UP_MAX));
        if target <= self.next.number || self.open.released > 0 {
            return;
        }
        self.turn(now);
        self.turn(now);
        self.open.number = target;
        self.next.number = target.next();
    }

    /// Whether the round has begun here or at the other server, or goes by the clock.
    fn is_begun(&mut self, with: &Circumstances<'_>) -> bool {
        if with.words.has_begun(self.open.number) && !with.stopping {
            self.open.begun_at.get_or_insert(with.now);
        }
        self.begun() || self.shape.round_mode == RoundMode::Timed
    }

    /// Whether the round is to be sealed now, whoever is missing.
    fn is_due(&self, with: &Circumstances<'_>) -> bool {
        match self.shape.round_mode {
            RoundMode::Lockstep => {
                let begun = self.open.begun_at.expect("it has begun");
                with.waited_for.is_subset(&self.open.submitted)
                    || with.now >= begun + self.shape.round_timeout
            }
            // Once the other server has sealed it, further submissions would be half ones.
            RoundMode::Timed => {
                with.now >= self.seal_at || with.words.is_whole(self.open.number, self.tiles())
            }
        }
    }

    /// Whoever misses a round is not to be waited for in the next one. Where most do, the round is to blame, and they
    /// are given up if they miss another: else the first to submit would have the next round alone.
    fn note_missed(&mut self, waited_for: &FixedBitSet) {
        let missed: FixedBitSet = waited_for.difference(&self.open.submitted).collect();
        let most = 2 * missed.count_ones(..) > waited_for.count_ones(..);
        let given_up: FixedBitSet =
            if most { missed.intersection(&self.missed).collect() } else { missed.clone() };
        self.given_up = (!given_up.is_clear()).then_some(given_up);
        self.missed = missed;
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
            let tile = self.open.sealed;
            let present = self.open.tiles[tile * self.shape.slots].head().present;
            if present.count_ones() as usize != self.senders(tile) {
                return;
            }
            self.seal_tile(with, out);
        }
    }

    /// Seals the next tile of the open round and tells the other server.
    fn seal_tile(&mut self, with: &Circumstances<'_>, out: &mut Vec<Output>) {
        let index = self.open.sealed;
        let senders = self.senders(index);
        let mut word = 0;
        for slot in 0..self.shape.slots {
            let tile = unsealed(&mut self.open.tiles[index * self.shape.slots + slot]);
            let present = tile.head().present;
            let head = TileHead {
                epoch: self.roster.epoch(),
                round: self.open.number,
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
            out.push(self.present(index, word, false));
        }
    }

    /// Releases the sealed tiles whose time has come, in order.
    fn release(&mut self, with: &Circumstances<'_>, out: &mut Vec<Output>) {
        while self.open.released < self.open.sealed {
            let index = self.open.released;
            let agreed = with.words.get(self.open.number, index);
            let patience_over =
                self.open.sealed_at.is_some_and(|sealed| with.now >= sealed + self.shape.peer_timeout);
            let to_come = with.link_up && !with.words.is_skipped(self.open.number);
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
                out.push(Output::Deliver(tile.clone()));
            }
            self.open.released += 1;
            if self.shape.linked && agreed.is_none() {
                self.open.unagreed += self.shape.slots as u32;
            }
        }
    }

    fn end_round(&mut self, now: Duration, out: &mut Vec<Output>) {
        let Round { number, senders, unagreed, .. } = self.open;
        let tiles = (self.tiles() * self.shape.slots) as u32;
        // Counted before anybody can see it.
        out.push(Output::Sealed(SealedRound {
            epoch: self.roster.epoch(),
            round: number,
            members: self.roster.members() as u32,
            senders,
            unagreed,
        }));
        let end = RoundEnd { unagreed: unagreed.into(), ..RoundEnd::new(number.0, tiles, senders) };
        out.push(Output::All(number, end.frame()));
        self.turn(now);
    }

    fn skip_open(&mut self, with: &Circumstances<'_>, out: &mut Vec<Output>) {
        let number = self.open.number;
        if with.link_up {
            out.push(self.present(0, 0, true));
        }
        out.push(Output::Skipped(number));
        out.push(Output::All(number, RoundSkipped { round: number.0.into() }.frame()));
        self.skip = false;
        self.turn(with.now);
    }

    /// The next round becomes the open one.
    fn turn(&mut self, now: Duration) {
        // Out of the round first: the tiles have other holders, and come back to the pool when those are done.
        for tile in self.open.tiles.drain(..) {
            self.pool.give(tile);
        }
        let members = self.roster.members();
        let after = Round::new(self.next.number.next(), members, &self.shape, &mut self.pool);
        self.open = std::mem::replace(&mut self.next, after);
        if let Some(begun_at) = &mut self.open.begun_at {
            *begun_at = now;
        }
        self.set_seal_at(now);
    }

    /// Timed: the open round is sealed at the next multiple of the interval on the Unix clock.
    fn set_seal_at(&mut self, from: Duration) {
        if self.shape.round_mode == RoundMode::Timed {
            let (unix, interval) = (from + self.shape.unix_at_zero, self.shape.interval);
            let past = Duration::from_nanos((unix.as_nanos() % interval.as_nanos()) as u64);
            self.seal_at = from + (interval - past);
        }
    }

    /// A few readers who lag are closed. If many do, it is too fast a pace for this group: nobody is closed, and a
    /// round is to be left out.
    fn look_at_readers(&self, lagging_users: u32, out: &mut Vec<Output>) -> bool {
        let many = lagging_users as usize * LAGGING_PART_MAX as usize > self.roster.members();
        if lagging_users > 0 && !many {
            out.push(Output::CloseLagging);
        }
        many
    }

    fn present(&self, tile: usize, present: u64, skipped: bool) -> Output {
        Output::Peer(LinkFrame::Present(Present {
            group: self.shape.group.0.into(),
            epoch: self.roster.epoch().0.into(),
            round: self.open.number.0.into(),
            present: present.into(),
            tile: (tile as u32).into(),
            skipped: u32::from(skipped).into(),
        }))
    }
}

impl Round {
    fn new(number: RoundNumber, members: usize, shape: &Shape, pool: &mut TilePool) -> Round {
        Round {
            number,
            tiles: take_tiles(members, shape, pool),
            submitted: FixedBitSet::with_capacity(members),
            begun_at: None,
            sealed: 0,
            sealed_at: None,
            released: 0,
            senders: 0,
            unagreed: 0,
        }
    }

    /// Buffers, if it has none and has not begun without.
    fn find_buffers(&mut self, members: usize, shape: &Shape, pool: &mut TilePool) {
        if self.tiles.is_empty() && self.begun_at.is_none() {
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
