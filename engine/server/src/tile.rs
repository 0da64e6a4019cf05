//! Tiles: the sealed cells of up to 64 senders, shared by every fan-out core, and the pool that they come from.
//!
//! A tile of messages holds two halves a sender, and a select word for each recipient says which of the two it gets.
//! Where senders deal the group into subgroups anew in each round (the paper's 5.4.2) it holds two halves a subgroup,
//! and a choice word for each recipient and sender says which of all those it is. A tile of parts holds one part a
//! sender and recipient. To whom a tile goes makes no other difference: [`Tile::gather`] writes one recipient's
//! cells, senders ascending. Recipients are indices of the tile's roster.

use crate::limits::TILE_SENDERS;
use crate::roster::Roster;
use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::Arc;
use twincast_protocol::context::Purpose;
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, SlotIndex};
use twincast_protocol::parts::PartKind;
use twincast_protocol::wire::{Body, DELIVER_HEAD_BYTES, Deliver};
use zerocopy::IntoBytes;
use zeroize::{Zeroize, Zeroizing};

/// The select words of a tile, a word for each recipient: session keys, transposed. All tiles of an epoch share them,
/// and the last one wipes them.
#[derive(Clone)]
pub struct SelectWords(Arc<Words>);

struct Words(Box<[u64]>);

impl SelectWords {
    /// Takes the words over, without a copy where the vector has no spare room.
    #[must_use]
    pub fn new(words: Vec<u64>) -> SelectWords {
        SelectWords(Arc::new(Words(words.into_boxed_slice())))
    }
}

impl FromIterator<u64> for SelectWords {
    fn from_iter<I: IntoIterator<Item = u64>>(words: I) -> SelectWords {
        SelectWords::new(words.into_iter().collect())
    }
}

impl Deref for SelectWords {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        &self.0.0
    }
}

impl std::fmt::Debug for SelectWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SelectWords").field("recipients", &self.len()).finish_non_exhaustive()
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// What a recipient's cell of a sender is taken by.
#[derive(Clone)]
enum Source {
    /// Bit `s` of word `u` chooses the half of sender `s` that recipient `u` gets.
    Bit(SelectWords),
    /// Word `s` of row `u` is the half of sender `s` that recipient `u` gets, of as many as a sender has: 64 words
    /// a row.
    Choice(Zeroizing<Box<[u16]>>),
    /// Each of so many recipients has a part of its own.
    User { members: usize },
}

/// Which tile it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileHead {
    /// The epoch.
    pub epoch: Epoch,
    /// The round; [`RoundNumber::DIAL`] for parts.
    pub round: RoundNumber,
    /// What the codewords inside are for.
    pub purpose: Purpose,
    /// The slot.
    pub slot: SlotIndex,
    /// Position among the tiles of its round and slot.
    pub tile: u32,
    /// The first of its senders.
    pub first_sender: MemberIndex,
    /// How many, 1 to 64.
    pub senders: usize,
    /// Bit `s`: sender `first_sender + s` submitted.
    pub present: u64,
}

/// The cells of up to 64 consecutive senders of one slot. Written while its group has it alone, never once sealed.
pub struct Tile {
    head: TileHead,
    roster: Arc<Roster>,
    source: Source,
    cell_bytes: usize,
    /// Halves of a sender; 1 where each recipient has a part.
    halves: usize,
    /// `[sender][half][cell_bytes]`, or `[sender][member][cell_bytes]`.
    bytes: Box<[u8]>,
    /// What one recipient is given in the place of its cell, by a server that cheats.
    #[cfg(feature = "fault-swap-half")]
    forged: Option<Forged>,
}

/// A cell that is not the sender's.
#[cfg(feature = "fault-swap-half")]
#[derive(Clone)]
struct Forged {
    user: MemberIndex,
    sender: usize,
    cell: Box<[u8]>,
}

impl Tile {
    /// An unused tile for messages of two halves a sender, `cell_bytes` each.
    #[must_use]
    pub fn for_messages(cell_bytes: usize) -> Tile {
        Tile::new(Source::Bit(SelectWords::new(Vec::new())), cell_bytes, 2, 2 * TILE_SENDERS * cell_bytes)
    }

    /// An unused tile for messages of `halves` halves a sender, of which each of at most `members` recipients is
    /// given one by a choice word.
    #[must_use]
    pub fn for_choices(halves: usize, members: usize, cell_bytes: usize) -> Tile {
        let choices = Zeroizing::new(vec![0; members * TILE_SENDERS].into());
        Tile::new(Source::Choice(choices), cell_bytes, halves, halves * TILE_SENDERS * cell_bytes)
    }

    /// An unused tile for the parts of `senders` senders for `members` recipients.
    #[must_use]
    pub fn for_parts(senders: usize, members: usize, cell_bytes: usize) -> Tile {
        Tile::new(Source::User { members }, cell_bytes, 1, senders * members * cell_bytes)
    }

    fn new(source: Source, cell_bytes: usize, halves: usize, bytes: usize) -> Tile {
        let roster = Roster::initial(GroupId(0), Epoch(0), 0);
        Tile {
            head: TileHead::UNUSED,
            roster,
            source,
            cell_bytes,
            halves,
            bytes: vec![0; bytes].into(),
            #[cfg(feature = "fault-swap-half")]
            forged: None,
        }
    }

    /// Which tile it is.
    #[must_use]
    pub fn head(&self) -> &TileHead {
        &self.head
    }

    /// The members that it goes to, and that its senders are among.
    #[must_use]
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Whether it holds messages (and not parts).
    #[must_use]
    pub fn is_message(&self) -> bool {
        !matches!(self.source, Source::User { .. })
    }

    /// Bytes of one cell.
    #[must_use]
    pub fn cell_bytes(&self) -> usize {
        self.cell_bytes
    }

    /// Bytes of all cells of one recipient.
    #[must_use]
    pub fn user_bytes(&self) -> usize {
        self.head.senders * self.cell_bytes
    }

    /// The head of the DELIVER frame that hands this tile to `users` users.
    #[must_use]
    pub fn deliver_head(&self, users: usize) -> [u8; DELIVER_HEAD_BYTES] {
        let deliver = Deliver {
            round: self.head.round.0.into(),
            present: self.head.present.into(),
            epoch: self.head.epoch.0.into(),
            slot: self.head.slot.0.into(),
            tile: self.head.tile.into(),
            first_sender: self.head.first_sender.0.into(),
            senders: (self.head.senders as u32).into(),
            cell_bytes: (self.cell_bytes as u32).into(),
            users: (users as u32).into(),
            purpose: (self.head.purpose as u32).into(),
            lost: 0.into(),
        };
        let mut head = [0; DELIVER_HEAD_BYTES];
        let (frame, body) = head.split_at_mut(DELIVER_HEAD_BYTES - size_of::<Deliver>());
        frame.copy_from_slice(&deliver.header(users * self.user_bytes()).to_bytes());
        body.copy_from_slice(deliver.as_bytes());
        head
    }

    /// Writes the cells of `user`, from byte `from` of them on, to the start of `out`; returns how many bytes, which
    /// is less than `out` holds only where the user's cells end.
    ///
    /// # Panics
    /// If the group has no such user: connections are checked when they attach.
    pub fn gather(&self, user: MemberIndex, from: usize, out: &mut [u8]) -> usize {
        let out_bytes = out.len().min(self.user_bytes() - from);
        let out = &mut out[..out_bytes];
        match &self.source {
            Source::Bit(select) => {
                let word = select[user.0 as usize];
                let half_at = |sender: usize| 2 * sender + (word >> sender & 1) as usize;
                self.gather_cells(from, out, half_at);
            }
            Source::Choice(choices) => {
                let row = &choices[user.0 as usize * TILE_SENDERS..][..TILE_SENDERS];
                let halves = self.halves;
                self.gather_cells(from, out, |sender| halves * sender + usize::from(row[sender]));
            }
            Source::User { members } => {
                self.gather_cells(from, out, |sender| sender * members + user.0 as usize);
            }
        }
        #[cfg(feature = "fault-swap-half")]
        if let Some(forged) = self.forged.as_ref().filter(|forged| forged.user == user) {
            let first = forged.sender * self.cell_bytes;
            for (place, byte) in (first..).zip(&forged.cell) {
                if let Some(place) = place.checked_sub(from).and_then(|place| out.get_mut(place)) {
                    *place = *byte;
                }
            }
        }
        out_bytes
    }

    /// Copies cell after cell, the one of sender `s` from the `place(s)`th cell of the tile.
    #[inline(always)]
    fn gather_cells(&self, from: usize, out: &mut [u8], place: impl Fn(usize) -> usize) {
        let cell_bytes = self.cell_bytes;
        let (mut sender, within) = (from / cell_bytes, from % cell_bytes);
        let head_bytes = if within == 0 { 0 } else { out.len().min(cell_bytes - within) };
        let (head, cells) = out.split_at_mut(head_bytes);
        if head_bytes > 0 {
            let at = place(sender) * cell_bytes + within;
            head.copy_from_slice(&self.bytes[at..at + head_bytes]);
            sender += 1;
        }
        // A length known to the compiler turns each copy into a few vector moves, without a call.
        match cell_bytes {
            336 => copy_cells::<336>(&self.bytes, sender, cells, place),
            64 => copy_cells::<64>(&self.bytes, sender, cells, place),
            96 => copy_cells::<96>(&self.bytes, sender, cells, place),
            771 => copy_cells::<771>(&self.bytes, sender, cells, place),
            772 => copy_cells::<772>(&self.bytes, sender, cells, place),
            _ => {
                for (index, cell) in cells.chunks_mut(cell_bytes).enumerate() {
                    let at = place(sender + index) * cell_bytes;
                    cell.copy_from_slice(&self.bytes[at..at + cell.len()]);
                }
            }
        }
    }

    /// Makes an unused tile the one of `head`, with this select word for each recipient; choice words, where halves
    /// are taken by those, are there already.
    ///
    /// # Panics
    /// If it is one for parts.
    pub fn begin_messages(&mut self, head: TileHead, roster: Arc<Roster>, select: SelectWords) {
        match &mut self.source {
            Source::Bit(words) => *words = select,
            Source::Choice(_) => {}
            Source::User { .. } => panic!("a tile for parts takes no halves"),
        }
        self.head = head;
        self.roster = roster;
    }

    /// Makes an unused tile the one of `head`.
    ///
    /// # Panics
    /// If it is one for messages.
    pub fn begin_parts(&mut self, head: TileHead, roster: Arc<Roster>) {
        assert!(!self.is_message(), "a tile for halves takes no parts");
        self.head = head;
        self.roster = roster;
    }

    /// The same tile, but that `user` gets the other half of sender `sender`: what a server does that cheats.
    #[cfg(feature = "fault-swap-half")]
    #[must_use]
    pub fn with_swapped_half(&self, user: MemberIndex, sender: usize) -> Tile {
        let user = user.0 as usize;
        let source = match &self.source {
            Source::Bit(words) => {
                let mut words = words.to_vec();
                words[user] ^= 1 << sender;
                Source::Bit(SelectWords::new(words))
            }
            Source::Choice(choices) => {
                let mut choices = choices.clone();
                choices[user * TILE_SENDERS + sender] ^= 1;
                Source::Choice(choices)
            }
            Source::User { members } => Source::User { members: *members },
        };
        let (head, roster, bytes) = (self.head, self.roster.clone(), self.bytes.clone());
        Tile { head, roster, source, cell_bytes: self.cell_bytes, halves: self.halves, bytes, forged: None }
    }

    /// The same tile, but that `user` gets this in the place of its cell of sender `sender`: what a server does that cheats.
    #[cfg(feature = "fault-swap-half")]
    #[must_use]
    pub fn with_cell(&self, user: MemberIndex, sender: usize, cell: &[u8]) -> Tile {
        Tile {
            head: self.head,
            roster: self.roster.clone(),
            source: self.source.clone(),
            cell_bytes: self.cell_bytes,
            halves: self.halves,
            bytes: self.bytes.clone(),
            forged: Some(Forged { user, sender, cell: cell.into() }),
        }
    }

    /// Says which half of sender `sender` each recipient gets: a u16 (little-endian) for each, below the number of
    /// halves, which the caller has checked.
    ///
    /// # Panics
    /// If halves are not taken by choice words, or there are more than recipients.
    pub fn choose(&mut self, sender: usize, words: &[u8]) {
        let Source::Choice(choices) = &mut self.source else { panic!("halves are not chosen by words here") };
        let (words, _) = words.as_chunks::<2>();
        assert!(words.len() * TILE_SENDERS <= choices.len(), "a word for each recipient");
        for (row, word) in choices.chunks_exact_mut(TILE_SENDERS).zip(words) {
            row[sender] = u16::from_le_bytes(*word);
        }
    }

    /// What sender `sender` of the tile submits: both halves, or one part for each member.
    pub fn row_mut(&mut self, sender: usize) -> &mut [u8] {
        let row_bytes = self.row_bytes();
        &mut self.bytes[sender * row_bytes..][..row_bytes]
    }

    /// What sender `sender` of the tile has submitted, as far as it is there.
    #[must_use]
    pub fn row(&self, sender: usize) -> &[u8] {
        let row_bytes = self.row_bytes();
        &self.bytes[sender * row_bytes..][..row_bytes]
    }

    /// Marks sender `sender` as present.
    pub fn set_present(&mut self, sender: usize) {
        self.head.present |= 1 << sender;
    }

    /// Forgets which tile it was: nobody is present any more.
    pub fn clear(&mut self) {
        self.head = TileHead::UNUSED;
    }

    /// Wipes what chose the halves: its epoch is over.
    pub fn forget_choices(&mut self) {
        match &mut self.source {
            Source::Bit(words) => *words = SelectWords::new(Vec::new()),
            Source::Choice(choices) => choices.zeroize(),
            Source::User { .. } => {}
        }
    }

    /// Leaves only those senders present who are in `word`.
    pub fn keep_present(&mut self, word: u64) {
        self.head.present &= word;
    }

    /// Zeroes the rows of the senders who are not present: what an earlier use left there is nobody's to see.
    pub fn clear_absent(&mut self) {
        for sender in 0..self.head.senders {
            if self.head.present >> sender & 1 == 0 {
                self.row_mut(sender).fill(0);
            }
        }
    }

    fn row_bytes(&self) -> usize {
        match self.source {
            Source::Bit(_) | Source::Choice(_) => self.halves * self.cell_bytes,
            Source::User { members } => members * self.cell_bytes,
        }
    }
}

impl std::fmt::Debug for Tile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tile").field("head", &self.head).finish_non_exhaustive()
    }
}

impl TileHead {
    /// The head of a tile of parts in which nobody is present yet.
    #[must_use]
    pub fn of_parts(
        kind: PartKind,
        epoch: Epoch,
        slot: SlotIndex,
        tile: u32,
        first_sender: MemberIndex,
        senders: usize,
    ) -> TileHead {
        let (round, purpose) = (RoundNumber::DIAL, kind.purpose());
        TileHead { epoch, round, purpose, slot, tile, first_sender, senders, present: 0 }
    }

    const UNUSED: TileHead = TileHead {
        epoch: Epoch(0),
        round: RoundNumber::DIAL,
        purpose: Purpose::Message,
        slot: SlotIndex(0),
        tile: 0,
        first_sender: MemberIndex(0),
        senders: 0,
        present: 0,
    };
}

fn copy_cells<const CELL: usize>(bytes: &[u8], first: usize, out: &mut [u8], place: impl Fn(usize) -> usize) {
    let (cells, tail) = out.as_chunks_mut::<CELL>();
    let whole = cells.len();
    for (index, cell) in cells.iter_mut().enumerate() {
        let at = place(first + index) * CELL;
        cell.copy_from_slice(&bytes[at..at + CELL]);
    }
    if !tail.is_empty() {
        let at = place(first + whole) * CELL;
        tail.copy_from_slice(&bytes[at..at + tail.len()]);
    }
}

/// Tiles of one shape, allocated at the start and used again once no core holds them any more.
#[derive(Debug)]
pub struct TilePool {
    /// Oldest first: tiles come free in about the order in which they were given back.
    tiles: VecDeque<Arc<Tile>>,
}

impl TilePool {
    /// A pool of `count` tiles.
    #[must_use]
    pub fn new(count: usize, make: impl Fn() -> Tile) -> TilePool {
        TilePool { tiles: (0..count).map(|_| Arc::new(make())).collect() }
    }

    /// Makes as many further tiles as it takes to have `count`, those that are taken not counted.
    pub fn grow(&mut self, count: usize, make: impl Fn() -> Tile) {
        let missing = count.saturating_sub(self.tiles.len());
        self.tiles.extend((0..missing).map(|_| Arc::new(make())));
    }

    /// Takes a tile that nobody else holds, if there is one.
    pub fn take(&mut self) -> Option<Arc<Tile>> {
        let index = self.tiles.iter().position(|tile| Arc::strong_count(tile) == 1)?;
        self.tiles.remove(index)
    }

    /// Gives a tile back, sealed or unused; it can be taken again once all other holders have dropped it.
    pub fn give(&mut self, tile: Arc<Tile>) {
        self.tiles.push_back(tile);
    }

    /// Wipes what chose the halves in the tiles that nobody else holds: their epoch is over.
    pub fn forget_choices(&mut self) {
        self.tiles.iter_mut().filter_map(Arc::get_mut).for_each(Tile::forget_choices);
    }

    /// Whether there are `count` tiles that nobody else holds.
    #[must_use]
    pub fn has_free(&self, count: usize) -> bool {
        self.tiles.iter().filter(|tile| Arc::strong_count(tile) == 1).take(count).count() == count
    }
}

/// The tile, to be written: it was taken from a pool and not sealed yet.
///
/// # Panics
/// If somebody else holds it, which the pool rules out.
pub fn unsealed(tile: &mut Arc<Tile>) -> &mut Tile {
    Arc::get_mut(tile).expect("a tile that is not sealed has one holder")
}

#[cfg(test)]
#[path = "tile_tests.rs"]
mod tests;
