//! One round of a group whose delivery is `answer`: its tiles, and how far it is as a whole.

use super::rows::RowsPool;
use super::tile::{Of, Stage, Tile};
use crate::answer::Work;
use crate::config::RoundMode;
use crate::group::timing::{Circumstances, Submitted};
use crate::group::{Output, Shape};
use crate::limits::TILE_SENDERS;
use std::sync::Arc;
use std::time::Duration;
use twincast_answer::{AnswerSet, Answers};
use twincast_protocol::answer::RECORD_BYTES;
use twincast_protocol::answer::table::{Digest, tree_hash};
use twincast_protocol::ids::RoundNumber;
use twincast_protocol::wire::{AbsentTile, Code};

/// One round that takes records, or waits for the other server or its answers.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) taken: Submitted,
    /// Empty where no rows are free for the round: if it begins like that, it is left out at its end.
    pub(super) tiles: Vec<Tile>,
    /// Tiles that have all their records, and are not yet verified.
    full: Vec<usize>,
    /// Tiles of which something has come since they were last looked at.
    changed: Vec<usize>,
    /// No record is taken any more.
    pub(super) sealed_at: Option<Duration>,
    /// Since when nothing has come on: here, or from the other server.
    pub(super) quiet_since: Duration,
    /// The other server was told of a tile.
    pub(super) told: bool,
    /// There is room for its answers.
    has_room: bool,
    /// Tiles that are given to the answers.
    added: usize,
    finishing: bool,
    /// By answer thread.
    parts: Vec<Option<Arc<Answers>>>,
    /// What the other server said rules out that it is answered.
    pub(super) is_spoiled: bool,
}

impl Round {
    pub(super) fn new(number: RoundNumber, members: usize, shape: &Shape, pool: &mut RowsPool) -> Round {
        let mut round = Round {
            taken: Submitted::new(number, members),
            tiles: Vec::new(),
            full: Vec::new(),
            changed: Vec::new(),
            sealed_at: None,
            quiet_since: Duration::ZERO,
            told: false,
            has_room: false,
            added: 0,
            finishing: false,
            parts: Vec::new(),
            is_spoiled: false,
        };
        round.parts.resize_with(shape.answer_threads, || None);
        round.find_rows(members, pool);
        round
    }

    /// Rows, if it has none and has not begun without.
    pub(super) fn find_rows(&mut self, members: usize, pool: &mut RowsPool) {
        if self.tiles.is_empty() && self.taken.begun_at.is_none() {
            let table = pool.take_table(members);
            self.tiles = table.into_iter().flatten().map(Tile::new).collect();
        }
    }

    /// The round is the open one from now on.
    pub(super) fn open(&mut self, now: Duration) {
        if let Some(begun_at) = &mut self.taken.begun_at {
            *begun_at = now;
        }
        self.changed.extend(0..self.tiles.len());
    }

    /// The round is open, and there is room for its answers.
    pub(super) fn give_room(&mut self) {
        if !std::mem::replace(&mut self.has_room, true) {
            self.changed.extend(0..self.tiles.len());
        }
    }

    pub(super) fn has_buffers(&self) -> bool {
        !self.tiles.is_empty() && self.has_room
    }

    /// Whether anything was given to the answers.
    pub(super) fn has_answers(&self) -> bool {
        self.added > 0
    }

    /// Whether all is agreed, and only the answers are still to come.
    pub(super) fn is_agreed(&self) -> bool {
        !self.tiles.is_empty() && self.added == self.tiles.len()
    }

    /// Something has come of a tile.
    pub(super) fn touch(&mut self, tile: usize, now: Duration) {
        self.changed.push(tile);
        self.quiet_since = self.quiet_since.max(now);
    }

    /// Takes a member's record.
    pub(super) fn place(
        &mut self,
        sender: usize,
        record: &[u8; RECORD_BYTES],
        now: Duration,
    ) -> Result<(), Code> {
        let (index, row) = (sender / TILE_SENDERS, sender % TILE_SENDERS);
        let closed = self.tiles.get(index).is_some_and(|tile| tile.stage() != Stage::Open);
        if closed || self.sealed_at.is_some() {
            let twice = self.taken.by.contains(sender);
            return Err(if twice { Code::DuplicateSubmission } else { Code::RoundSealed });
        }
        if self.tiles.is_empty() {
            // Counted all the same: the round that is left out has the pace of one that is played.
            self.taken.insert(sender, now);
            return Err(Code::RoundSkipped);
        }
        if self.taken.by.contains(sender) {
            return Err(Code::DuplicateSubmission);
        }
        if self.tiles[index].put(row, record) {
            self.full.push(index);
        }
        self.taken.insert(sender, now);
        Ok(())
    }

    /// Has the signatures of tiles verified that have all their records: of the next round as well. Returns whether
    /// there were any.
    pub(super) fn verify_full(&mut self, of: &Of<'_>, out: &mut Vec<Output>) -> bool {
        let any = !self.full.is_empty();
        for index in self.full.drain(..) {
            let tile = &mut self.tiles[index];
            if tile.stage() == Stage::Open {
                tile.verify(of, out);
            }
        }
        any
    }

    /// Takes no further record.
    pub(super) fn seal(&mut self, of: &Of<'_>, now: Duration, out: &mut Vec<Output>) {
        let open = self.tiles.iter_mut().filter(|tile| tile.stage() == Stage::Open);
        open.for_each(|tile| tile.verify(of, out));
        (self.sealed_at, self.quiet_since) = (Some(now), now);
    }

    /// The open round: does what is to be done for tiles of which something has come.
    pub(super) fn look_at_tiles(&mut self, of: &Of<'_>, with: &Circumstances<'_>, out: &mut Vec<Output>) {
        for index in std::mem::take(&mut self.changed) {
            let tile = &mut self.tiles[index];
            if tile.stage() == Stage::Verified {
                tile.tell(of, out);
                self.told = true;
                if let Some(theirs) = with.words.hash(of.round, index) {
                    tile.compare(of, theirs, out);
                }
            }
            if tile.stage() == Stage::Final && self.has_room {
                tile.add(of, out);
                self.added += 1;
            }
        }
    }

    /// Whether the other server has been waited for long enough, in vain.
    pub(super) fn is_given_up(&self, with: &Circumstances<'_>, shape: &Shape) -> bool {
        if self.sealed_at.is_none() || self.is_agreed() {
            return false;
        }
        // Where it has not sealed all tiles it may be waiting for members who came to this server alone.
        let whole = with.words.is_whole(self.taken.number, self.tiles.len());
        let may_wait = with.link_up && !whole && shape.round_mode == RoundMode::Lockstep;
        let longer = if may_wait { shape.round_timeout } else { Duration::ZERO };
        with.now >= self.quiet_since + shape.peer_timeout + longer && !self.tiles.iter().any(Tile::is_at_work)
    }

    /// Asks for the answers, once, when all tiles are given to them and no other record can come.
    pub(super) fn finish(&mut self, out: &mut Vec<Output>) {
        if self.is_agreed() && self.sealed_at.is_some() && !std::mem::replace(&mut self.finishing, true) {
            out.push(Output::Answer(Work::Finish { round: self.taken.number }));
        }
    }

    /// Takes one part of the answers.
    pub(super) fn put_part(&mut self, part: usize, answers: Arc<Answers>) {
        if let Some(place) = self.parts.get_mut(part).filter(|_| self.finishing) {
            *place = Some(answers);
        }
    }

    /// All answers, once they are there.
    pub(super) fn take_answers(&mut self) -> Option<AnswerSet> {
        if !self.finishing || self.parts.iter().any(Option::is_none) {
            return None;
        }
        Some(AnswerSet::new(self.parts.drain(..).flatten().collect()))
    }

    pub(super) fn senders_present(&self) -> u32 {
        self.tiles.iter().map(Tile::senders_present).sum()
    }

    /// Whose records are not in the table.
    pub(super) fn absent(&self) -> Vec<AbsentTile> {
        let entry = |(tile, absent)| AbsentTile { tile: (tile as u32).into(), absent: u64::into(absent) };
        let absent = self.tiles.iter().map(Tile::absent).enumerate();
        absent.filter(|(_, absent)| *absent != 0).map(entry).collect()
    }

    /// The hash over all records.
    pub(super) fn root(&self) -> Digest {
        let hashes: Vec<Digest> = self.tiles.iter().map(Tile::final_hash).collect();
        tree_hash(&hashes)
    }
}
