//! The parts phase of an epoch: confirmations, keys and replies are pulled, a window of tiles at a time, and
//! delivered like shares. What was given and kept before is there already and not pulled.

use super::dials::Dials;
use super::store::{Kept, PartsStore, Whose};
use super::{Counted, Output, Shape};
use crate::limits::{CONFIRM_TILES_BUFFERED, PARTS_FILL_BYTES_MAX};
use crate::roster::Roster;
use crate::tile::{Tile, TileHead, TilePool, unsealed};
use fixedbitset::FixedBitSet;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use twincast_protocol::ids::{MemberIndex, RoundNumber, SlotIndex};
use twincast_protocol::parts::PartKind;
use twincast_protocol::wire::{Body, Grant};

/// A tile that is granted and not sealed.
#[derive(Debug)]
struct Wanted {
    tile: Arc<Tile>,
    /// Senders who dialled and whose parts are not in the tile.
    missing: u64,
    /// Senders whose parts have come into the tile from their first byte on.
    live: u64,
}

/// Parts that are on their way to S2, and what they belong to: the same numbers may mean somebody else's by the time
/// that they are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upload {
    /// How many bytes they have.
    pub bytes: usize,
    pub(super) whose: Whose,
    /// The epoch that came when they were begun.
    pub(super) serial: u64,
    /// The dial that they belong to.
    pub(super) dial_id: Option<u64>,
}

/// The parts of one kind.
#[derive(Clone, Copy, Debug)]
struct Run {
    kind: PartKind,
    /// Senders to a tile.
    senders: usize,
    tiles_per_slot: usize,
    tiles: usize,
}

/// What the phase works with, all of it the epoch's.
pub(super) struct Given<'a> {
    pub(super) dials: &'a Dials,
    pub(super) store: &'a mut PartsStore,
    pub(super) kept: &'a mut Kept,
    pub(super) attached: &'a FixedBitSet,
}

/// The parts phase of one epoch.
#[derive(Debug)]
pub(super) struct PartsPhase {
    roster: Arc<Roster>,
    timeout: Duration,
    /// Those to come; the first is being delivered.
    runs: VecDeque<Run>,
    /// Tiles of the first run.
    pool: TilePool,
    /// Granted and not sealed, in the order of delivery.
    wanted: VecDeque<Wanted>,
    /// The next tile of the run to grant, counted over all slots.
    next: usize,
    /// When the first of the wanted tiles is given up.
    deadline: Option<Duration>,
}

impl PartsPhase {
    pub(super) fn new(shape: &Shape, roster: &Arc<Roster>) -> PartsPhase {
        let members = roster.members();
        let runs = shape.part_runs().into_iter().map(|(kind, slots)| {
            let senders = shape.part_tile_senders(kind, members);
            let tiles_per_slot = members.div_ceil(senders);
            Run { kind, senders, tiles_per_slot, tiles: slots * tiles_per_slot }
        });
        let mut phase = PartsPhase {
            roster: roster.clone(),
            timeout: shape.round_timeout,
            runs: runs.collect(),
            pool: TilePool::new(0, || unreachable!("no tile is made")),
            wanted: VecDeque::with_capacity(CONFIRM_TILES_BUFFERED),
            next: 0,
            deadline: None,
        };
        phase.begin_run();
        phase
    }

    /// Whether every tile of every run is sealed.
    pub(super) fn is_done(&self) -> bool {
        self.runs.is_empty()
    }

    /// What is granted now, for a connection that comes late.
    pub(super) fn grants(&self) -> Vec<Grant> {
        self.wanted.iter().flat_map(|wanted| self.grants_of(wanted)).collect()
    }

    /// Whether the parts are to go into a tile of the window.
    pub(super) fn wants(&self, whose: Whose) -> bool {
        self.place(whose).is_some()
    }

    /// Whether the tile that the parts belong to is sealed.
    pub(super) fn is_past(&self, whose: Whose) -> bool {
        let Some(run) = self.runs.front() else { return true };
        if run.kind != whose.kind {
            return !self.runs.iter().any(|run| run.kind == whose.kind);
        }
        let number = whose.slot * run.tiles_per_slot + whose.sender / run.senders;
        number + self.wanted.len() < self.next
    }

    /// S2: bytes of parts that come in.
    pub(super) fn put_bytes(&mut self, whose: Whose, at: usize, bytes: &[u8]) {
        let Some((index, row)) = self.place(whose) else { return };
        let wanted = &mut self.wanted[index];
        if at == 0 {
            wanted.live |= 1 << row;
        }
        if wanted.live >> row & 1 == 1 {
            let row = unsealed(&mut wanted.tile).row_mut(row);
            row[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }

    /// The parts are given: as they came, or from what is kept. False: the box failed.
    pub(super) fn complete(&mut self, whose: Whose, store: &mut PartsStore, kept: &mut Kept) -> bool {
        let Some((index, row)) = self.place(whose) else { return true };
        let wanted = &mut self.wanted[index];
        let tile = unsealed(&mut wanted.tile);
        if wanted.live >> row & 1 == 0 && !store.fill(whose, tile.row_mut(row), kept) {
            return false;
        }
        wanted.missing &= !(1 << row);
        tile.set_present(row);
        true
    }

    /// The parts are given and not taken: nothing of their sender is to come.
    pub(super) fn refuse(&mut self, whose: Whose) {
        if let Some((index, row)) = self.place(whose) {
            self.wanted[index].missing &= !(1 << row);
        }
    }

    /// Seals tiles that are overdue or have all that is to come, in order, and grants further ones. Nothing is to
    /// come from senders who are not attached.
    pub(super) fn advance(&mut self, given: &mut Given<'_>, now: Duration, out: &mut Vec<Output>) {
        let mut fill_bytes = 0;
        loop {
            self.grant_more(given, &mut fill_bytes, out);
            let Some(first) = self.wanted.front() else {
                let Some(run) = self.runs.front() else { return };
                if self.next < run.tiles {
                    return;
                }
                self.runs.pop_front();
                self.begin_run();
                continue;
            };
            let deadline = *self.deadline.get_or_insert(now + self.timeout);
            if first.waits_for(given.attached) && now < deadline {
                return;
            }
            let mut wanted = self.wanted.pop_front().expect("it was there");
            let tile = unsealed(&mut wanted.tile);
            tile.clear_absent();
            let TileHead { slot, tile: index, present, .. } = *tile.head();
            let kind = self.runs[0].kind;
            *given.store.delivered(kind, slot.0 as usize, index as usize) = present;
            self.deadline = None;
            self.pool.give(wanted.tile.clone());
            out.push(Output::Deliver(wanted.tile));
        }
    }

    fn begin_run(&mut self) {
        self.next = 0;
        let Some(&Run { kind, senders, .. }) = self.runs.front() else { return };
        let members = self.roster.members();
        self.pool = TilePool::new(CONFIRM_TILES_BUFFERED, || Tile::for_parts(senders, members, kind.bytes()));
    }

    /// Takes further tiles into the window: fills what is kept, grants what is missing.
    fn grant_more(&mut self, given: &mut Given<'_>, fill_bytes: &mut usize, out: &mut Vec<Output>) {
        let Some(&run) = self.runs.front() else { return };
        // What is kept for a large group takes a while: others have their turn in between.
        while self.next < run.tiles && *fill_bytes < PARTS_FILL_BYTES_MAX {
            let Some(mut tile) = self.pool.take() else { return };
            let (slot, index) = (self.next / run.tiles_per_slot, self.next % run.tiles_per_slot);
            let first = index * run.senders;
            let senders = run.senders.min(self.roster.members() - first);
            let head = TileHead::of_parts(
                run.kind,
                self.roster.epoch(),
                SlotIndex(slot as u32),
                index as u32,
                MemberIndex(first as u32),
                senders,
            );
            let writable = unsealed(&mut tile);
            writable.begin_parts(head, self.roster.clone());
            let mut missing = match run.kind {
                PartKind::Confirmation => given.dials.slot_word(slot, first, senders),
                PartKind::Key | PartKind::KeyReply => given.dials.member_word(first, senders),
            };
            for row in 0..senders {
                let whose = Whose { kind: run.kind, slot, sender: first + row };
                if given.store.is_refused(whose) {
                    missing &= !(1 << row);
                }
                if missing >> row & 1 == 0 || !given.store.is_kept(whose) {
                    continue;
                }
                let row_bytes = writable.row_mut(row);
                *fill_bytes += row_bytes.len();
                if given.store.fill(whose, row_bytes, given.kept) {
                    writable.set_present(row);
                } else {
                    out.push(Output::Count(Counted::BoxFailed, 1));
                }
                // What was given and cannot be read is not asked for twice.
                missing &= !(1 << row);
            }
            let wanted = Wanted { tile, missing, live: 0 };
            let grants = self.grants_of(&wanted);
            out.extend(grants.iter().map(|grant| Output::All(RoundNumber::DIAL, grant.frame())));
            self.wanted.push_back(wanted);
            self.next += 1;
        }
    }

    /// A grant for each run of senders who are missing.
    fn grants_of(&self, wanted: &Wanted) -> Vec<Grant> {
        let TileHead { slot, first_sender, epoch, purpose, .. } = *wanted.tile.head();
        let (mut grants, mut rest, mut row) = (Vec::new(), wanted.missing, 0);
        while rest != 0 {
            let skip = rest.trailing_zeros();
            rest >>= skip;
            row += skip;
            let senders = rest.trailing_ones();
            grants.push(Grant::new(purpose, epoch, slot, MemberIndex(first_sender.0 + row), senders));
            rest = rest.checked_shr(senders).unwrap_or(0);
            row += senders;
        }
        grants
    }

    /// Index among the wanted tiles, and row in it, of parts that are missing.
    fn place(&self, whose: Whose) -> Option<(usize, usize)> {
        let run = self.runs.front().filter(|run| run.kind == whose.kind)?;
        let number = whose.slot * run.tiles_per_slot + whose.sender / run.senders;
        let index = (number + self.wanted.len()).checked_sub(self.next)?;
        let row = whose.sender % run.senders;
        let wanted = self.wanted.get(index)?;
        (wanted.missing >> row & 1 == 1).then_some((index, row))
    }
}

impl Wanted {
    fn waits_for(&self, attached: &FixedBitSet) -> bool {
        let TileHead { first_sender, senders, .. } = *self.tile.head();
        (0..senders)
            .any(|row| self.missing >> row & 1 == 1 && attached.contains(first_sender.0 as usize + row))
    }
}
