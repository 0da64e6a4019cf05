//! A connection's place in what is to be sent: the source that the egress fills its slabs from.

use super::log::{Item, Log};
use super::patience::Patience;
use crate::accountable::RoundEndMaker;
use crate::answer::RoundAnswers;
use crate::roster::Roster;
use crate::tile::Tile;
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use twincast_protocol::answer::RECORD_BYTES;
use twincast_protocol::ids::{MemberIndex, UserId};
use twincast_protocol::wire::{ANSWERS_HEAD_BYTES, DELIVER_HEAD_BYTES};
use twincast_ring::Source;
use zerocopy::IntoBytes as _;

/// What was begun and is not sent whole yet.
#[derive(Debug)]
enum Piece {
    /// A frame from the group's log; passed there once sent.
    Shared(Bytes),
    /// A tile from the group's log, and the connection's users by their indices in its epoch.
    Tile(Arc<Tile>, Rc<[MemberIndex]>),
    /// Answers from the group's log, to the queries of the connection's users.
    Answers(Arc<RoundAnswers>, Rc<[MemberIndex]>),
    /// The end of a round from the group's log, signed for the connection's users.
    RoundEnd(RoundEndMaker),
    /// For this connection alone.
    Private(Bytes),
}

/// The stream of one connection: private frames and the group's log, never one inside the other.
///
/// Nothing is copied or kept for it but what was signed for its users: `rewind` starts over from the pieces that are not
/// sent whole, which are immutable.
#[derive(Debug)]
pub(super) struct Cursor {
    log: Rc<RefCell<Log>>,
    /// What the core may take over signatures in this turn.
    patience: Patience,
    /// Ascending.
    users: Box<[UserId]>,
    /// The users' indices in the roster of the last tile that was begun: looked up once for each epoch.
    indices: Option<(Arc<Roster>, Rc<[MemberIndex]>)>,
    /// Frames for this connection that are not begun.
    private: VecDeque<Bytes>,
    /// Begun and not sent whole, with the bytes that each is here.
    begun: VecDeque<(Piece, u64)>,
    /// Place in the log of the next item to begin.
    next: u64,
    /// Place in the log of the first item that is not sent whole.
    unsent: u64,
    /// Bytes of `begun[0]` that are sent.
    sent: u64,
    /// Fill position: index into `begun`, and bytes of that piece.
    filled: (usize, u64),
    /// Place in the log where the stream ends, and the frame that ends it.
    end: Option<(u64, Option<Bytes>)>,
}

/// Where a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// After the piece that is on its way.
    Now,
    /// After everything that the group's log has now.
    AfterLog,
}

impl Cursor {
    /// A cursor behind everything that the log has now.
    pub(super) fn new(log: Rc<RefCell<Log>>, patience: Patience, users: Box<[UserId]>) -> Cursor {
        let next = log.borrow_mut().join();
        Cursor {
            log,
            patience,
            users,
            indices: None,
            private: VecDeque::new(),
            begun: VecDeque::new(),
            next,
            unsent: next,
            sent: 0,
            filled: (0, 0),
            end: None,
        }
    }

    /// Adds a frame for this connection alone. Returns how many wait now.
    pub(super) fn push_private(&mut self, frame: Bytes) -> usize {
        self.private.push_back(frame);
        self.private.len()
    }

    /// How many users it is for.
    pub(super) fn users(&self) -> usize {
        self.users.len()
    }

    /// How many of its users are members of an epoch.
    pub(super) fn members_of(&self, roster: &Roster) -> usize {
        self.users.iter().filter(|&&user| roster.index_of(user).is_some()).count()
    }

    /// How many whole rounds it is behind the newest.
    pub(super) fn rounds_behind(&self) -> u64 {
        self.log.borrow().rounds_behind(self.unsent)
    }

    /// Whether it has rounds to send whose ends are not signed for all its users.
    pub(super) fn has_to_sign(&self) -> bool {
        let log = self.log.borrow();
        let begun = |(piece, _): &(Piece, u64)| matches!(piece, Piece::RoundEnd(end) if end.takes_long());
        self.begun.iter().any(begun)
            || (self.next..log.end()).any(|place| matches!(log.get(place), Some(Item::RoundEnd(_))))
    }

    /// Ends the stream: with what the log has now, or with the piece that is on its way; then `last`.
    pub(super) fn end(&mut self, end: End, last: Option<Bytes>) {
        assert!(self.end.is_none(), "a stream ends once");
        let mut log = self.log.borrow_mut();
        let place = match end {
            End::AfterLog => log.end(),
            End::Now => {
                self.private.clear();
                self.next
            }
        };
        log.leave(place);
        self.end = Some((place, last));
    }

    /// The connection is closed: nothing in the log waits for it any more.
    pub(super) fn leave(&mut self) {
        let mut log = self.log.borrow_mut();
        match self.end {
            None => log.leave(self.unsent),
            Some((place, _)) => (self.unsent..place).for_each(|place| log.pass(place)),
        }
    }

    /// Whether there is a piece at the fill position; it is begun now if need be.
    fn begin_piece(&mut self) -> bool {
        if self.filled.0 < self.begun.len() {
            return true;
        }
        if let Some(frame) = self.private.pop_front() {
            let bytes = frame.len() as u64;
            self.begun.push_back((Piece::Private(frame), bytes));
            return true;
        }
        loop {
            if self.end.as_ref().is_some_and(|(place, _)| *place == self.next) {
                let last = self.end.as_mut().and_then(|(_, last)| last.take());
                let Some(frame) = last else { return false };
                let bytes = frame.len() as u64;
                self.begun.push_back((Piece::Private(frame), bytes));
                return true;
            }
            let Some(item) = self.log.borrow().get(self.next).cloned() else { return false };
            self.next += 1;
            let (piece, bytes) = match item {
                Item::Frame(_, frame) => {
                    let bytes = frame.len() as u64;
                    (Piece::Shared(frame), bytes)
                }
                Item::Answers(answers) => {
                    let users = self.indices(&answers.roster);
                    let bytes = match users.len() {
                        0 => 0,
                        users => answers_from(&answers) + users * answers.slots * RECORD_BYTES,
                    };
                    (Piece::Answers(answers, users), bytes as u64)
                }
                Item::RoundEnd(signed) => {
                    let users = self.indices(signed.roster());
                    let end = RoundEndMaker::new(signed, users);
                    let bytes = end.bytes() as u64;
                    (Piece::RoundEnd(end), bytes)
                }
                Item::Tile(tile) => {
                    let users = self.indices(tile.roster());
                    // Nothing for a connection none of whose users is a member of the epoch.
                    let bytes = match users.len() {
                        0 => 0,
                        users => DELIVER_HEAD_BYTES + users * tile.user_bytes(),
                    };
                    (Piece::Tile(tile, users), bytes as u64)
                }
            };
            if bytes > 0 || !self.begun.is_empty() {
                self.begun.push_back((piece, bytes));
                return true;
            }
            // Nothing will be sent that could pass it.
            drop(piece);
            self.log.borrow_mut().pass(self.unsent);
            self.unsent += 1;
        }
    }

    /// The indices of this connection's users in an epoch, ascending as the users do.
    fn indices(&mut self, roster: &Arc<Roster>) -> Rc<[MemberIndex]> {
        if let Some((known, indices)) = &self.indices
            && Arc::ptr_eq(known, roster)
        {
            return indices.clone();
        }
        let indices: Rc<[MemberIndex]> = roster.indices(&self.users).into();
        self.indices = Some((roster.clone(), indices.clone()));
        indices
    }
}

impl Source for Cursor {
    fn fill(&mut self, buf: &mut [u8]) -> usize {
        let mut at = 0;
        while at < buf.len() && self.begin_piece() {
            let (piece, bytes) = &mut self.begun[self.filled.0];
            if let Piece::RoundEnd(end) = piece {
                let until = self.filled.1 as usize + buf.len() - at;
                self.patience.take(|cells| end.make(until, cells));
            }
            let wrote = write(piece, self.filled.1, &mut buf[at..]);
            if wrote == 0 && *bytes > 0 {
                // Its next user is for a later turn.
                break;
            }
            at += wrote;
            self.filled.1 += wrote as u64;
            if self.filled.1 == *bytes {
                self.filled = (self.filled.0 + 1, 0);
            }
        }
        at
    }

    fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        while let Some((_, piece_bytes)) = self.begun.front()
            && self.sent >= *piece_bytes
        {
            self.sent -= piece_bytes;
            // A piece without bytes may go before it is filled again.
            self.filled.0 -= usize::from(*piece_bytes > 0 || self.filled.0 > 0);
            let (piece, _) = self.begun.pop_front().expect("it was there");
            if matches!(piece, Piece::Private(_)) {
                continue;
            }
            let mut log = self.log.borrow_mut();
            match &piece {
                Piece::Tile(tile, users) => {
                    let cells = (users.len() * tile.head().senders) as u64;
                    *(if tile.is_message() { &mut log.shares_sent } else { &mut log.parts_sent }) += cells;
                }
                Piece::Answers(answers, users) => log.answers_sent += (users.len() * answers.slots) as u64,
                _ => {}
            }
            // Out of the log before the log's own clone may be the last one.
            drop(piece);
            log.pass(self.unsent);
            self.unsent += 1;
        }
    }

    fn rewind(&mut self) {
        self.filled = (0, self.sent);
    }

    fn pending(&self) -> bool {
        let more_shared = match &self.end {
            None => self.log.borrow().end() > self.next,
            Some((place, last)) => *place > self.next || last.is_some(),
        };
        more_shared || !self.begun.is_empty() || !self.private.is_empty()
    }

    fn takes_long(&self) -> bool {
        match self.begun.get(self.filled.0) {
            Some((Piece::RoundEnd(end), _)) => end.takes_long(),
            _ => false,
        }
    }
}

/// Writes a piece's bytes from `from` on, as many as fit.
fn write(piece: &Piece, from: u64, out: &mut [u8]) -> usize {
    let from = from as usize;
    match piece {
        Piece::Private(frame) | Piece::Shared(frame) => copy(frame, from, out),
        Piece::RoundEnd(end) => copy(end.made(), from, out),
        Piece::Tile(_, users) | Piece::Answers(_, users) if users.is_empty() => 0,
        Piece::Tile(tile, users) => write_tile(tile, users, from, out),
        Piece::Answers(answers, users) => write_answers(answers, users, from, out),
    }
}

/// Copies bytes from `from` on, as many as there are and fit.
fn copy(bytes: &[u8], from: usize, out: &mut [u8]) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    let length = out.len().min(rest.len());
    out[..length].copy_from_slice(&rest[..length]);
    length
}

/// Where the answers begin in an ANSWERS frame.
fn answers_from(answers: &RoundAnswers) -> usize {
    ANSWERS_HEAD_BYTES + answers.absent.as_bytes().len()
}

fn write_answers(answers: &RoundAnswers, users: &[MemberIndex], from: usize, out: &mut [u8]) -> usize {
    let mut at = if from < ANSWERS_HEAD_BYTES { copy(&answers.head(users.len()), from, out) } else { 0 };
    if let Some(from) = (from + at).checked_sub(ANSWERS_HEAD_BYTES) {
        at += copy(answers.absent.as_bytes(), from, &mut out[at..]);
    }
    let from = (from + at).saturating_sub(answers_from(answers));
    let (mut answer, mut within) = (from / RECORD_BYTES, from % RECORD_BYTES);
    while at < out.len() && answer < users.len() * answers.slots {
        let (user, slot) = (users[answer / answers.slots].0 as usize, answer % answers.slots);
        at += answers.set.gather(user * answers.slots + slot, within, &mut out[at..]);
        (answer, within) = (answer + 1, 0);
    }
    at
}

fn write_tile(tile: &Tile, users: &[MemberIndex], from: usize, out: &mut [u8]) -> usize {
    let mut at = if from < DELIVER_HEAD_BYTES { copy(&tile.deliver_head(users.len()), from, out) } else { 0 };
    let cells_from = (from + at).saturating_sub(DELIVER_HEAD_BYTES);
    let (user, mut within) = (cells_from / tile.user_bytes(), cells_from % tile.user_bytes());
    for &user in &users[user..] {
        if at == out.len() {
            break;
        }
        at += tile.gather(user, within, &mut out[at..]);
        within = 0;
    }
    at
}

#[cfg(test)]
#[path = "cursor_tests.rs"]
mod tests;
