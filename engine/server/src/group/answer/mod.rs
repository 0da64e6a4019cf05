//! The rounds of an epoch whose delivery is `answer`: the open one and the next one take records.
//!
//! A tile of records is verified as soon as it has all of them, or its round is due; the two servers agree on it; and
//! the answer threads add it to what they answer. A round ends when all tiles were added and the answers are there. It
//! is never answered without the other server's word: where that does not come, the round is left out.
//!
//! | module | what |
//! |---|---|
//! | `tile` | what the two servers settle about 64 senders |
//! | `round` | the tiles of a round |
//! | `peer` | what the other server says of records |
//! | `work` | what the answer threads have done |
//! | `rows` | buffers |

mod peer;
mod round;
mod rows;
mod tile;
mod work;

pub(super) use crate::answer::bits;
pub(super) use rows::{ROUNDS_OF_ROWS, RowsPool};
pub(super) use tile::mask;

use super::timing::{Circumstances, Timing};
use super::{Blame, Counted, Fault, Output, SealedRound, Shape};
use crate::answer::{RoundAnswers, Work};
use crate::config::RoundMode;
use crate::limits::TILE_SENDERS;
use crate::roster::Roster;
use fixedbitset::FixedBitSet;
use round::Round;
use std::sync::Arc;
use std::time::Duration;
use tile::Of;
use twincast_protocol::answer::RECORD_BYTES;
use twincast_protocol::ids::{MemberIndex, RoundNumber};
use twincast_protocol::wire::Code;

/// The open round and the next.
#[derive(Debug)]
pub(super) struct AnswerRounds {
    shape: Shape,
    roster: Arc<Roster>,
    pool: RowsPool,
    open: Round,
    next: Round,
    timing: Timing,
    /// The link was up when it was last looked at.
    link_up: bool,
    /// Tiles in which there was a wrong signature when they were last verified.
    suspects: FixedBitSet,
}

impl AnswerRounds {
    /// The rounds of an epoch from `first` on, with the buffers of the epoch before.
    pub(super) fn new(
        shape: &Shape,
        roster: &Arc<Roster>,
        first: RoundNumber,
        mut pool: RowsPool,
        now: Duration,
    ) -> AnswerRounds {
        let members = roster.members();
        pool.grow(ROUNDS_OF_ROWS * shape.tiles(members));
        let open = Round::new(first, members, shape, &mut pool);
        let next = Round::new(first.next(), members, shape, &mut pool);
        let mut timing = Timing::new(shape, roster, first, now);
        if let Some(used_to) = pool.used_to {
            // Where an epoch was given up, the next one may begin with a number that was used. What the threads have
            // of that round must not be taken for this one's.
            timing.catch_up(used_to.next());
        }
        let roster = roster.clone();
        let suspects = FixedBitSet::with_capacity(shape.tiles(members));
        AnswerRounds { shape: *shape, roster, pool, open, next, timing, link_up: true, suspects }
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
        let waits = self.open.sealed_at.is_some() && !self.open.is_agreed();
        (waits && !self.open.tiles.iter().any(tile::Tile::is_at_work)).then_some(self.open.quiet_since)
    }

    /// Whether the epoch's last round is over.
    pub(super) fn at_end(&self) -> bool {
        self.timing.is_past_end(self.open())
    }

    /// The round that is to be open soon, without anybody's doing.
    pub(super) fn soon_open(&self) -> RoundNumber {
        self.timing.soon_open(self.open())
    }

    /// The epoch is over: its buffers serve the next one.
    pub(super) fn into_pool(self, out: &mut Vec<Output>) -> RowsPool {
        self.abandon(out);
        let AnswerRounds { open, next, mut pool, .. } = self;
        let tiles = open.tiles.into_iter().chain(next.tiles);
        tiles.filter_map(|mut tile| tile.take_rows()).for_each(|rows| pool.give(rows));
        pool
    }

    /// Takes the record that one member submits for one round.
    pub(super) fn place(
        &mut self,
        number: RoundNumber,
        sender: usize,
        record: &[u8; RECORD_BYTES],
        now: Duration,
    ) -> Result<(), Code> {
        let next = self.timing.is_for_next(number, self.open())?;
        let round = if next { &mut self.next } else { &mut self.open };
        round.find_rows(self.roster.members(), &mut self.pool);
        round.place(sender, record, now)
    }

    /// Seals what is complete or overdue, agrees, and gives what is agreed to the answers. Returns whether a round
    /// ended: there may be more to do for the one after it.
    pub(super) fn advance(&mut self, with: &Circumstances<'_>, out: &mut Vec<Output>) -> bool {
        self.find_buffers();
        if self.at_end() {
            return false;
        }
        self.jump(with.now, out);
        let behind = self.timing.is_behind(self.open()) && !self.open.is_agreed();
        let left_out = behind || with.words.is_skipped(self.open()) || self.open.is_spoiled;
        if left_out || (self.timing.skip && !self.open.told) {
            if self.open.is_spoiled {
                out.push(Output::Count(Counted::RoundsUnagreed, 1));
            }
            self.skip_open(with, out);
            return true;
        }
        if std::mem::replace(&mut self.link_up, with.link_up) != with.link_up {
            // A new link is waited for, and what is said over it.
            self.open.quiet_since = with.now;
        }
        let AnswerRounds { shape, roster, pool, open, next, suspects, .. } = self;
        let of = |round| Of { shape, roster, round, link_up: with.link_up, suspects };
        let (of_open, of_next) = (of(open.taken.number), of(next.taken.number));
        for (round, of) in [(&mut *open, &of_open), (next, &of_next)] {
            if round.verify_full(of, out) {
                pool.used_to = pool.used_to.max(Some(of.round));
            }
        }
        if !self.timing.is_begun(&mut open.taken, &next.taken, with) {
            return false;
        }
        if open.sealed_at.is_none() && self.timing.is_due(&open.taken, with) {
            self.timing.note_missed(&open.taken, with.waited_for);
            if !open.has_buffers() {
                self.skip_open(with, out);
                self.timing.look_at_readers(with.lagging_users, out);
                return true;
            }
            open.seal(&of_open, with.now, out);
            pool.used_to = pool.used_to.max(Some(of_open.round));
        }
        // By the clock the other server takes records until it is time: it seals with this one.
        if open.sealed_at.is_some() || shape.round_mode == RoundMode::Lockstep {
            open.look_at_tiles(&of_open, with, out);
        }
        if open.is_given_up(with, shape) {
            out.push(Output::Count(Counted::RoundsUnagreed, 1));
            self.skip_open(with, out);
            return true;
        }
        open.finish(out);
        if !self.end_round(with.now, out) {
            return false;
        }
        self.timing.skip = self.timing.look_at_readers(with.lagging_users, out);
        true
    }

    /// Says everything again that was said of the open round over another link.
    pub(super) fn tell_again(&self, out: &mut Vec<Output>) {
        let of = self.of(true);
        self.open.tiles.iter().for_each(|tile| tile.tell_again(&of, out));
    }

    fn of(&self, link_up: bool) -> Of<'_> {
        let AnswerRounds { shape, roster, suspects, .. } = self;
        Of { shape, roster, round: self.open(), link_up, suspects }
    }

    /// Buffers for the rounds that have none: rows were all on their way when the round was made, and answers are with
    /// readers until they have read them.
    fn find_buffers(&mut self) {
        for round in [&mut self.open, &mut self.next] {
            round.find_rows(self.roster.members(), &mut self.pool);
        }
        if self.pool.has_room() {
            self.open.give_room();
        }
    }

    /// Passes over rounds where there are many to catch up with.
    fn jump(&mut self, now: Duration, out: &mut Vec<Output>) {
        let Some(target) = self.timing.jump_from(self.next.taken.number) else { return };
        if self.open.is_agreed() {
            return;
        }
        self.abandon(out);
        self.turn(now);
        self.turn(now);
        self.open.taken.number = target;
        self.next.taken.number = target.next();
    }

    fn skip_open(&mut self, with: &Circumstances<'_>, out: &mut Vec<Output>) {
        self.timing.tell_skipped(&self.roster, self.open(), with, out);
        self.abandon(out);
        self.turn(with.now);
    }

    /// What was added for the open round is to be forgotten.
    fn abandon(&self, out: &mut Vec<Output>) {
        if self.open.has_answers() {
            out.push(Output::Answer(Work::Abandon { round: self.open() }));
        }
    }

    /// Gives out the answers once they are there. Returns whether they are.
    fn end_round(&mut self, now: Duration, out: &mut Vec<Output>) -> bool {
        let Some(set) = self.open.take_answers() else { return false };
        let senders = self.open.senders_present();
        let (gathered, settled) = self.open.taken.times(self.open.sealed_at, now);
        // Counted before anybody can see it.
        out.push(Output::Sealed(SealedRound {
            epoch: self.roster.epoch(),
            round: self.open(),
            members: self.roster.members() as u32,
            senders,
            unagreed: 0,
            gathered,
            settled,
        }));
        let answers = Arc::new(RoundAnswers {
            round: self.open(),
            roster: self.roster.clone(),
            slots: self.shape.slots,
            senders_present: senders,
            absent: self.open.absent(),
            root: self.open.root(),
            set,
        });
        self.pool.hold(&answers);
        out.push(Output::Answers(answers));
        self.turn(now);
        true
    }

    /// The next round becomes the open one.
    fn turn(&mut self, now: Duration) {
        for tile in &mut self.open.tiles {
            // Those that are with the answer threads come back later.
            if let Some(rows) = tile.take_rows() {
                self.pool.give(rows);
            }
        }
        let number = self.next.taken.number.next();
        let after = Round::new(number, self.roster.members(), &self.shape, &mut self.pool);
        self.open = std::mem::replace(&mut self.next, after);
        self.open.open(now);
        self.timing.set_seal_at(now);
    }

    fn blame(&self, tile: usize, sender: usize, fault: Fault) -> Output {
        blame(&self.roster, self.open(), tile, sender, fault)
    }
}

/// Names who is at fault over the record of a tile's sender.
fn blame(roster: &Roster, round: RoundNumber, tile: usize, sender: usize, fault: Fault) -> Output {
    let member = MemberIndex((tile * TILE_SENDERS + sender) as u32);
    let user = roster.user(member).expect("a tile's senders are members");
    Output::Blame(Blame { round, user, fault })
}
