//! Hands parts over to those who were not there when they were delivered.
//!
//! One small FETCH asks for much: its answer is made a sender's row at a time, so that neither a frame nor a
//! connection keeps an executor from its other work. Connections have their turns one after the other; what one of
//! them asked for is answered in order. What is made and not sent is bounded in bytes, for a connection and for the
//! group: whoever does not read waits.

use super::epoch::Running;
use super::membership::Seat;
use super::store::{Kept, Whose};
use super::{ConnectionId, Group, Output, Refusal, Shape};
use crate::limits::{FETCH_BYTES_PER_TURN, FETCHED_TILES_MAX};
use crate::roster::Roster;
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use twincast_protocol::ids::{MemberIndex, ServerSide};
use twincast_protocol::parts::PartKind;
use twincast_protocol::wire::{Body, Code, DELIVER_HEAD_BYTES, Deliver, FETCH_TILES_MAX, Fetch};

/// What it costs to begin to read a box, or a keystream, at another place: as much as this many bytes of it.
const JUMP_BYTES: [usize; 2] = [256, 2_048];

/// The group's unanswered FETCHes.
#[derive(Debug)]
pub(super) struct Fetches {
    /// Who has one, by turn. Some may be gone.
    turns: VecDeque<ConnectionId>,
    /// Bytes of answers that are made and not sent, also to connections that are gone.
    unsent: Arc<AtomicUsize>,
    /// Bytes of parts that are still made before the others of the executor have their turn.
    budget: usize,
}

impl Default for Fetches {
    fn default() -> Fetches {
        Fetches { turns: VecDeque::new(), unsent: Arc::default(), budget: FETCH_BYTES_PER_TURN }
    }
}

/// What one connection fetches.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    asked: VecDeque<Asked>,
    /// The answer for the first tile of the first of them, as far as it is made.
    making: Option<Making>,
    /// Bytes of answers that are made and not sent; held by each of them.
    unsent: Arc<AtomicUsize>,
    readers: Option<Arc<Readers>>,
}

/// The members of one epoch that a connection plays, ascending.
#[derive(Debug)]
struct Readers {
    roster: Arc<Roster>,
    users: Vec<MemberIndex>,
}

/// What is left of one FETCH.
#[derive(Debug)]
struct Asked {
    readers: Arc<Readers>,
    kind: PartKind,
    slot: usize,
    tiles: Range<u32>,
}

/// The answer for one tile.
#[derive(Debug)]
struct Making {
    answer: Answer,
    first_sender: usize,
    senders: usize,
    /// The next sender of the tile.
    row: usize,
    /// Who was present in what was delivered, and whose parts are in the answer.
    delivered: u64,
    present: u64,
}

/// A frame that counts as unsent for its connection and its group for as long as it is there.
#[derive(Debug)]
pub(super) struct Answer {
    frame: Vec<u8>,
    unsent: [Arc<AtomicUsize>; 2],
}

impl Answer {
    fn new(bytes: usize, unsent: [Arc<AtomicUsize>; 2]) -> Answer {
        Answer::of(vec![0; bytes], unsent)
    }

    /// A frame that is made.
    pub(super) fn of(frame: Vec<u8>, unsent: [Arc<AtomicUsize>; 2]) -> Answer {
        unsent.iter().for_each(|unsent| _ = unsent.fetch_add(frame.len(), Relaxed));
        Answer { frame, unsent }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.unsent.iter().for_each(|unsent| _ = unsent.fetch_sub(self.frame.len(), Relaxed));
    }
}

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}

impl Fetches {
    /// Bytes that may still be made before the others of the executor have their turn.
    pub(super) fn budget(&self) -> usize {
        self.budget
    }

    /// So many bytes are made, or cost as much.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.budget = self.budget.saturating_sub(bytes);
    }
}

/// What came of a connection's turn.
enum Turn {
    /// It has all that it asked for.
    Done,
    /// So many bytes of parts were made for it, and more are to come.
    Made(usize),
    /// It has to take what is on its way first.
    Waits,
}

impl Fetched {
    /// Tiles that were asked for, and are not answered or on their way.
    fn tiles(&self) -> usize {
        let asked: usize = self.asked.iter().map(|asked| asked.tiles.len()).sum();
        let made = Arc::strong_count(&self.unsent) - 1 - usize::from(self.making.is_some());
        asked + made
    }

    /// Who of the users is to read what was delivered in an epoch.
    fn readers(&mut self, roster: &Arc<Roster>, users: &[twincast_protocol::ids::UserId]) -> Arc<Readers> {
        match &self.readers {
            Some(readers) if Arc::ptr_eq(&readers.roster, roster) => readers.clone(),
            _ => {
                let readers = Arc::new(Readers { roster: roster.clone(), users: roster.indices(users) });
                self.readers.insert(readers).clone()
            }
        }
    }
}

impl Group {
    /// A FETCH: tiles of parts of the running epoch, for the members of this connection. It is answered as far as the
    /// bytes that [`Group::answer_fetches`] left allow, and from then on with each turn.
    ///
    /// # Errors
    /// [`Code::NotAttached`], [`Code::EpochWrong`], [`Code::ReservedSet`] or [`Code::FetchRange`]; the last also
    /// where more than [`FETCHED_TILES_MAX`] tiles would be unanswered or on their way.
    pub fn fetch(
        &mut self,
        connection: ConnectionId,
        fetch: &Fetch,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let refuse = |code| Refusal { slot: fetch.slot.get(), ..Refusal::of_form(code) };
        if fetch.reserved.get() != 0 {
            return Err(refuse(Code::ReservedSet));
        }
        let seat = self.seats.get_mut(connection).ok_or(refuse(Code::NotAttached))?;
        let running = self.running.as_ref().filter(|running| running.epoch().0 == fetch.epoch.get());
        let running = running.ok_or(refuse(Code::EpochWrong))?;
        let readers = seat.fetched.readers(&running.roster, &seat.users);
        if readers.users.is_empty() {
            return Err(refuse(Code::NotAttached));
        }
        let kind = u8::try_from(fetch.purpose.get()).ok().and_then(PartKind::from_number);
        let slot = fetch.slot.get() as usize;
        let kind = kind.filter(|kind| running.store.has(*kind, slot)).ok_or(refuse(Code::FetchRange))?;
        let members = running.roster.members();
        let tiles = members.div_ceil(self.shape.part_tile_senders(kind, members)) as u64;
        let (first_tile, count) = (fetch.first_tile.get(), fetch.tiles.get());
        let in_range = u64::from(first_tile) + u64::from(count) <= tiles;
        if count == 0
            || count > FETCH_TILES_MAX
            || !in_range
            || seat.fetched.tiles() + count as usize > FETCHED_TILES_MAX
        {
            return Err(refuse(Code::FetchRange));
        }
        if seat.fetched.asked.is_empty() {
            self.fetches.turns.push_back(connection);
        }
        let tiles = first_tile..first_tile + count;
        seat.fetched.asked.push_back(Asked { readers, kind, slot, tiles });
        self.make_answers(out);
        Ok(())
    }

    /// Whether a FETCH or a FETCH_HEADERS is not answered.
    #[must_use]
    pub fn has_fetches(&self) -> bool {
        !self.fetches.turns.is_empty() || self.has_header_fetches()
    }

    /// Answers what was fetched, with some `budget` bytes until this is called again: a row more where the
    /// last one takes more.
    pub fn answer_fetches(&mut self, budget: usize, out: &mut Vec<Output>) {
        // Each has its part where both are waited for.
        let both = !self.fetches.turns.is_empty() && self.has_header_fetches();
        self.fetches.budget = if both { budget / 2 } else { budget };
        self.make_headers(out);
        self.fetches.budget += if both { budget / 2 } else { 0 };
        self.make_answers(out);
    }

    fn make_answers(&mut self, out: &mut Vec<Output>) {
        let Group { shape, seats, running, kept, fetches, .. } = self;
        let mut waiting = 0;
        while fetches.budget > 0 && waiting < fetches.turns.len() {
            let Some(connection) = fetches.turns.pop_front() else { return };
            let Some(seat) = seats.get_mut(connection) else { continue };
            match turn(shape, connection, seat, running.as_mut(), kept, &fetches.unsent, out) {
                Turn::Done => waiting = 0,
                Turn::Made(bytes) => {
                    waiting = 0;
                    fetches.budget = fetches.budget.saturating_sub(bytes);
                    fetches.turns.push_back(connection);
                }
                Turn::Waits => {
                    waiting += 1;
                    fetches.turns.push_back(connection);
                }
            }
        }
    }
}

/// Makes a row of the answer that a connection waits for.
fn turn(
    shape: &Shape,
    connection: ConnectionId,
    seat: &mut Seat,
    running: Option<&mut Running>,
    kept: &mut Kept,
    group_unsent: &Arc<AtomicUsize>,
    out: &mut Vec<Output>,
) -> Turn {
    let fetched = &mut seat.fetched;
    let Some(asked) = fetched.asked.front_mut() else { return Turn::Done };
    let Some(running) = running.filter(|running| Arc::ptr_eq(&running.roster, &asked.readers.roster)) else {
        // Its epoch is over: as if it had come now.
        let slot = asked.slot as u32;
        let refusal = Refusal { slot, ..Refusal::of_form(Code::EpochWrong) };
        out.push(Output::To(connection, refusal.frame()));
        (fetched.making, _) = (None, fetched.asked.pop_front());
        return if fetched.asked.is_empty() { Turn::Done } else { Turn::Made(0) };
    };
    let users = &asked.readers.users;
    if fetched.making.is_none() {
        let unsent = [fetched.unsent.clone(), group_unsent.clone()];
        let making = Making::begin(shape, asked, running, unsent);
        let Some(making) = making else { return Turn::Waits };
        fetched.making = Some(making);
    }
    let making = fetched.making.as_mut().expect("it was begun");
    let made = making.make_row(shape.side, asked, running, kept);
    if making.row < making.senders {
        return Turn::Made(made);
    }
    let making = fetched.making.take().expect("it was begun");
    let tile = asked.tiles.next().expect("a tile is made while one is asked for");
    out.push(Output::To(connection, making.end(asked, tile, users.len())));
    if asked.tiles.is_empty() {
        fetched.asked.pop_front();
    }
    if fetched.asked.is_empty() { Turn::Done } else { Turn::Made(made) }
}

impl Making {
    /// An answer without a row. None: too much is on its way.
    fn begin(
        shape: &Shape,
        asked: &Asked,
        running: &mut Running,
        unsent: [Arc<AtomicUsize>; 2],
    ) -> Option<Making> {
        let (members, users, tile) = (running.roster.members(), asked.readers.users.len(), asked.tiles.start);
        let tile_senders = shape.part_tile_senders(asked.kind, members);
        let first_sender = tile as usize * tile_senders;
        let senders = tile_senders.min(members - first_sender);
        let bytes = DELIVER_HEAD_BYTES + users * senders * asked.kind.bytes();
        let most = [shape.fetched_bytes_max(users), shape.fetched_bytes_max_of_group()];
        if unsent.iter().zip(most).any(|(unsent, most)| unsent.load(Relaxed) + bytes > most) {
            return None;
        }
        let delivered = *running.store.delivered(asked.kind, asked.slot, tile as usize);
        let answer = Answer::new(bytes, unsent);
        Some(Making { answer, first_sender, senders, row: 0, delivered, present: 0 })
    }

    /// Makes the next row that was delivered and is kept, if there is one. Returns what that cost, in bytes.
    fn make_row(&mut self, side: ServerSide, asked: &Asked, running: &mut Running, kept: &mut Kept) -> usize {
        let Asked { kind, slot, .. } = *asked;
        let whose = |row: usize| Whose { kind, slot, sender: self.first_sender + row };
        let is_there = |row: &usize| self.delivered >> row & 1 == 1 && running.store.is_kept(whose(*row));
        let Some(row) = (self.row..self.senders).find(is_there) else {
            self.row = self.senders;
            return 0;
        };
        let (whose, users, jump) = (whose(row), &asked.readers.users, JUMP_BYTES[side.index()]);
        let near = |a: &MemberIndex, b: &MemberIndex| (b.0 - a.0) as usize * kind.bytes() <= jump;
        let cells = &mut self.answer.frame[DELIVER_HEAD_BYTES..];
        let mut places =
            (row..users.len() * self.senders).step_by(self.senders).map(|cell| cell * kind.bytes());
        let (mut cost, mut whole) = (0, true);
        let mut span = Vec::new();
        for run in users.chunk_by(near) {
            let (first, last) = (run[0], run[run.len() - 1]);
            span.resize((last.0 - first.0 + 1) as usize * kind.bytes(), 0);
            cost += jump + span.len();
            whole = running.store.part(whose, first, &mut span, kept);
            if !whole {
                break;
            }
            for user in run {
                let from = (user.0 - first.0) as usize * kind.bytes();
                let to = places.next().expect("every user has a place");
                cells[to..to + kind.bytes()].copy_from_slice(&span[from..from + kind.bytes()]);
            }
        }
        if whole {
            self.present |= 1 << row;
        } else {
            // What is not whole for everybody is lost.
            let places = (row..users.len() * self.senders).step_by(self.senders);
            places.for_each(|cell| cells[cell * kind.bytes()..][..kind.bytes()].fill(0));
        }
        self.row = row + 1;
        cost
    }

    /// The frame, once all rows are made.
    fn end(mut self, asked: &Asked, tile: u32, users: usize) -> Bytes {
        let cells_bytes = self.answer.frame.len() - DELIVER_HEAD_BYTES;
        let deliver = Deliver {
            round: 0.into(),
            present: self.present.into(),
            epoch: asked.readers.roster.epoch().0.into(),
            slot: (asked.slot as u32).into(),
            tile: tile.into(),
            first_sender: (self.first_sender as u32).into(),
            senders: (self.senders as u32).into(),
            cell_bytes: (asked.kind.bytes() as u32).into(),
            users: (users as u32).into(),
            purpose: u32::from(asked.kind.number()).into(),
            lost: (self.delivered & !self.present).into(),
        };
        let mut head = Vec::with_capacity(DELIVER_HEAD_BYTES);
        deliver.put(cells_bytes, &mut head);
        self.answer.frame[..DELIVER_HEAD_BYTES].copy_from_slice(&head);
        Bytes::from_owner(self.answer)
    }
}
