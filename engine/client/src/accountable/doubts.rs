//! Cells that did not decode, kept until their headers come. Bounded: a server or a sender that spoils everything fills
//! what there is room for, and is found out all the same.

use super::round_ends::Word;
use crate::limits::{ACCUSED_MAX, DOUBT_BYTES_MAX, DOUBTS_OF_USER_MAX};
use crate::observer::{Tile, User};
use std::collections::VecDeque;
use std::fmt;
use std::ops::RangeInclusive;
use twincast_protocol::ids::{MemberIndex, RoundNumber, UserId};
use zeroize::Zeroizing;

/// The doubts of all users.
#[derive(Default)]
pub(crate) struct Doubts {
    doubts: Vec<Doubt>,
    /// Of all doubts, those that are asked about among them.
    bytes: usize,
    /// Users and members that evidence was made for: others come first.
    accused: VecDeque<(UserId, MemberIndex)>,
}

/// Both servers' cells of a sender, by its position in the tile. Wiped on drop.
type Cells = (u32, [Zeroizing<Box<[u8]>>; 2]);

/// What one user was given of one tile and did not decode.
pub(crate) struct Doubt {
    pub(crate) user: User,
    pub(crate) tile: Tile,
    /// Of each sender in question.
    cells: Vec<Cells>,
    /// What the servers signed at the round's end.
    pub(crate) words: [Option<Word>; 2],
}

impl Doubt {
    /// The senders in question.
    pub(crate) fn senders(&self) -> impl Iterator<Item = MemberIndex> {
        self.cells.iter().map(|(position, _)| MemberIndex(self.tile.first_sender.0 + position))
    }

    /// Both servers' cells of a sender, by its position in the tile.
    pub(crate) fn cells_of(&self, position: u32) -> Option<[&[u8]; 2]> {
        let (_, cells) = self.cells.iter().find(|(kept, _)| *kept == position)?;
        Some(cells.each_ref().map(|cell| &cell[..]))
    }

    fn bytes(&self) -> usize {
        self.cells.iter().flat_map(|(_, cells)| cells).map(|cell| cell.len()).sum()
    }
}

impl Doubts {
    /// Keeps what did not decode of a tile for a user, if there is room.
    pub(crate) fn keep(&mut self, tile: &Tile, user: User, tampered: u64, cells: [&[u8]; 2]) {
        let senders = (0..tile.senders).filter(|position| tampered >> position & 1 == 1);
        let cell_bytes = cells.map(|cells| cells.len() / tile.senders as usize);
        let room = DOUBT_BYTES_MAX.saturating_sub(self.bytes) / (cell_bytes[0] + cell_bytes[1]).max(1);
        let copy = |position: u32| {
            let cell = |server: usize| {
                let start = position as usize * cell_bytes[server];
                Zeroizing::new(Box::from(&cells[server][start..][..cell_bytes[server]]))
            };
            (position, [cell(0), cell(1)])
        };
        let cells: Vec<Cells> = senders.take(room).map(copy).collect();
        if cells.is_empty() {
            return;
        }
        let doubt = Doubt { user, tile: *tile, cells, words: [None, None] };
        let of_user = self.doubts.iter().filter(|kept| kept.user.id == user.id).count();
        if of_user >= DOUBTS_OF_USER_MAX {
            // Only a doubt about somebody new is worth the place of one about somebody known.
            let old = |kept: &Doubt| kept.user.id == user.id && !self.is_news(kept);
            let Some(place) = self.doubts.iter().position(old).filter(|_| self.is_news(&doubt)) else {
                return;
            };
            let known = self.doubts.remove(place);
            self.forget(Some(known));
        }
        self.bytes += doubt.bytes();
        self.doubts.push(doubt);
    }

    /// A doubt that was asked about, and of which nothing came: it is asked about again.
    pub(crate) fn take_back(&mut self, doubt: Option<Doubt>) {
        self.doubts.extend(doubt);
    }

    /// A doubt that was asked about is settled: there is room for others.
    pub(crate) fn forget(&mut self, doubt: Option<Doubt>) {
        self.bytes -= doubt.map_or(0, |doubt| doubt.bytes());
    }

    /// Forgets doubts about tiles that nobody can be asked about any more.
    pub(crate) fn forget_if(&mut self, is_late: impl Fn(&Tile) -> bool) {
        for doubt in self.doubts.extract_if(.., |doubt| is_late(&doubt.tile)) {
            self.bytes -= doubt.bytes();
        }
    }

    /// The doubts about a round.
    pub(crate) fn of_round(&mut self, round: RoundNumber) -> impl Iterator<Item = &mut Doubt> {
        self.doubts.iter_mut().filter(move |doubt| doubt.tile.round == round)
    }

    /// Takes the doubt of a user that is asked about at a turn at which these rounds may be: the first about somebody new,
    /// else the first. Its bytes count until it is [settled](Doubts::forget), or taken back.
    pub(crate) fn take(&mut self, user: UserId, rounds: &RangeInclusive<RoundNumber>) -> Option<Doubt> {
        let may_be = |doubt: &Doubt| doubt.user.id == user && rounds.contains(&doubt.tile.round);
        let news = self.doubts.iter().position(|doubt| may_be(doubt) && self.is_news(doubt));
        let place = news.or_else(|| self.doubts.iter().position(may_be))?;
        Some(self.doubts.remove(place))
    }

    /// Evidence was made of what `sender` sent to a user.
    pub(crate) fn accuse(&mut self, user: UserId, sender: MemberIndex) {
        if self.accused.contains(&(user, sender)) {
            return;
        }
        if self.accused.len() >= ACCUSED_MAX {
            self.accused.pop_front();
        }
        self.accused.push_back((user, sender));
    }

    fn is_news(&self, doubt: &Doubt) -> bool {
        doubt.senders().any(|sender| !self.accused.contains(&(doubt.user.id, sender)))
    }
}

impl fmt::Debug for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doubt").field("user", &self.user).field("tile", &self.tile).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twincast_protocol::ids::{Epoch, SlotIndex};

    const ALL: RangeInclusive<RoundNumber> = RoundNumber(0)..=RoundNumber(99);

    const CELL: usize = 96;

    fn user(member: u32) -> User {
        User { position: 0, id: UserId(member), member: MemberIndex(member) }
    }

    fn keep(doubts: &mut Doubts, round: u64, member: u32, tampered: u64) {
        let (epoch, round, slot, first_sender) =
            (Epoch(1), RoundNumber(round), SlotIndex(0), MemberIndex(64));
        let tile = Tile { epoch, round, slot, tile: 1, first_sender, senders: 5 };
        let cells: [Vec<u8>; 2] =
            [0, 100].map(|server| (0..5).flat_map(|cell| [server + cell; CELL]).collect());
        doubts.keep(&tile, user(member), tampered, [&cells[0], &cells[1]]);
    }

    #[test]
    fn cells_are_kept_of_whom_they_are_and_asked_about_from_the_first_on() {
        let mut doubts = Doubts::default();
        keep(&mut doubts, 7, 1, 0b10010);
        keep(&mut doubts, 8, 1, 0b00001);
        keep(&mut doubts, 7, 2, 0b00100);
        assert_eq!(doubts.bytes, 4 * 2 * CELL);
        // A turn serves for rounds up to its own, and not for those that are too old for it.
        for rounds in [1..=6, 9..=12] {
            let rounds = RoundNumber(*rounds.start())..=RoundNumber(*rounds.end());
            assert!(doubts.take(UserId(1), &rounds).is_none());
        }
        let first = doubts.take(UserId(1), &ALL).expect("a doubt");
        assert_eq!(first.senders().collect::<Vec<_>>(), [65, 68].map(MemberIndex));
        let cells = first.cells_of(4).expect("kept");
        assert!(cells[0] == [4; CELL] && cells[1] == [104; CELL]);
        assert!(first.cells_of(0).is_none());
        assert_eq!(doubts.of_round(RoundNumber(7)).count(), 1);
        doubts.take_back(Some(first));
        assert_eq!(doubts.of_round(RoundNumber(7)).count(), 2);
        assert_eq!(doubts.bytes, 4 * 2 * CELL, "as before");
        doubts.forget_if(|tile| tile.round == RoundNumber(7));
        let later = doubts.take(UserId(1), &ALL).expect("a doubt");
        assert_eq!(later.tile.round, RoundNumber(8));
        assert!([1, 2].iter().all(|user| doubts.take(UserId(*user), &ALL).is_none()));
        doubts.forget(Some(later));
        assert_eq!(doubts.bytes, 0);
    }

    #[test]
    fn somebody_new_comes_before_somebody_known() {
        let mut doubts = Doubts::default();
        (1..=9).for_each(|round| keep(&mut doubts, round, 1, 0b1));
        assert_eq!(doubts.doubts.len(), DOUBTS_OF_USER_MAX);
        keep(&mut doubts, 10, 1, 0b10);
        assert_eq!(doubts.of_round(RoundNumber(10)).count(), 0, "nobody is known yet");
        doubts.accuse(UserId(1), MemberIndex(64));
        keep(&mut doubts, 11, 1, 0b1);
        keep(&mut doubts, 12, 1, 0b10);
        let next = doubts.take(UserId(1), &ALL).expect("a doubt");
        assert_eq!(next.tile.round, RoundNumber(12));
        let next = doubts.take(UserId(1), &ALL).expect("a doubt");
        assert_eq!(next.tile.round, RoundNumber(2));
    }

    #[test]
    fn there_is_a_most_that_all_of_them_may_hold_and_those_that_are_asked_about() {
        let mut doubts = Doubts::default();
        let users = DOUBT_BYTES_MAX / (5 * 2 * CELL) + 10;
        let mut asked = Vec::new();
        for round in [1, 2] {
            for member in 0..users as u32 {
                keep(&mut doubts, round, member, u64::MAX);
                asked.extend(doubts.take(UserId(member), &ALL));
            }
            assert!(doubts.bytes <= DOUBT_BYTES_MAX && doubts.bytes > DOUBT_BYTES_MAX - 2 * CELL);
            assert_eq!(doubts.bytes, asked.iter().map(Doubt::bytes).sum::<usize>(), "nobody answers");
        }
        asked.into_iter().for_each(|doubt| doubts.forget(Some(doubt)));
        keep(&mut doubts, 3, 1, 0b1);
        assert_eq!(doubts.bytes, 2 * CELL, "there is room again");
    }
}
