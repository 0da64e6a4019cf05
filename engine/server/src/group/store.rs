//! The parts of an epoch that this server has been given: S1's as seeds, S2's in its box.

use super::Shape;
use crate::parts_box::{PartsBox, PartsKey};
use crate::roster::Roster;
use fixedbitset::FixedBitSet;
use std::sync::Arc;
use twincast_protocol::ids::{Epoch, MemberIndex, ServerSide, SlotIndex};
use twincast_protocol::parts::{PartKind, expand_parts};
use zeroize::Zeroizing;

/// A group's box, if it has one.
pub(super) type Kept = Option<Box<dyn PartsBox>>;

/// Whose parts, in one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whose {
    pub(super) kind: PartKind,
    pub(super) slot: usize,
    pub(super) sender: usize,
}

/// What has been given for one epoch.
pub(super) struct PartsStore {
    side: ServerSide,
    epoch: Epoch,
    members: usize,
    /// The kinds that the group has, and for how many slots.
    runs: Vec<(PartKind, usize)>,
    /// `[kind and slot][sender]`: the parts came, all of them.
    given: FixedBitSet,
    /// Those that were given and not taken: they are not asked for twice.
    refused: FixedBitSet,
    /// S2: the box has room for them, and has not failed.
    boxed: FixedBitSet,
    /// S1.
    seeds: Zeroizing<Vec<[u8; 32]>>,
    /// `[kind and slot][tile]`: who was present in the tile that was delivered.
    delivered: Vec<Vec<u64>>,
}

impl PartsStore {
    pub(super) fn new(shape: &Shape, roster: &Arc<Roster>) -> PartsStore {
        let (members, runs) = (roster.members(), shape.part_runs());
        let rows: usize = runs.iter().map(|(_, slots)| slots).sum();
        let seeds = if shape.side == ServerSide::One { rows * members } else { 0 };
        let delivered = runs.iter().flat_map(|&(kind, slots)| {
            let tiles = members.div_ceil(shape.part_tile_senders(kind, members));
            std::iter::repeat_n(vec![0; tiles], slots)
        });
        PartsStore {
            side: shape.side,
            epoch: roster.epoch(),
            members,
            delivered: delivered.collect(),
            runs,
            given: FixedBitSet::with_capacity(rows * members),
            refused: FixedBitSet::with_capacity(rows * members),
            boxed: FixedBitSet::with_capacity(rows * members),
            seeds: Zeroizing::new(vec![[0; 32]; seeds]),
        }
    }

    /// Whether the group has such parts.
    pub(super) fn has(&self, kind: PartKind, slot: usize) -> bool {
        self.runs.iter().any(|&(run, slots)| run == kind && slot < slots)
    }

    pub(super) fn is_given(&self, whose: Whose) -> bool {
        self.given.contains(self.place(whose))
    }

    /// Whether the box has room for them.
    pub(super) fn is_boxed(&self, whose: Whose) -> bool {
        self.boxed.contains(self.place(whose))
    }

    /// Whether they can be handed over now and later.
    pub(super) fn is_kept(&self, whose: Whose) -> bool {
        let place = self.place(whose);
        let taken = self.given.contains(place) && !self.refused.contains(place);
        taken && (self.side == ServerSide::One || self.is_boxed(whose))
    }

    /// S1: keeps a seed.
    pub(super) fn put_seed(&mut self, whose: Whose, seed: &[u8; 32]) {
        let place = self.place(whose);
        self.seeds[place] = *seed;
        self.given.insert(place);
    }

    /// S2: sets room aside in the box. False: there is none, or no box.
    ///
    /// # Errors
    /// The box failed; the parts are not kept.
    pub(super) fn reserve(&mut self, whose: Whose, kept: &mut Kept) -> std::io::Result<bool> {
        let place = self.place(whose);
        let Some(parts_box) = kept else { return Ok(false) };
        if !self.boxed.contains(place) {
            let room = parts_box.reserve(self.key(whose), self.members * whose.kind.bytes())?;
            self.boxed.set(place, room);
        }
        Ok(self.boxed.contains(place))
    }

    /// S2: passes bytes on to the box. False: it failed, and the parts are not kept.
    pub(super) fn write(&mut self, whose: Whose, at: usize, bytes: &[u8], kept: &mut Kept) -> bool {
        let place = self.place(whose);
        let Some(parts_box) = kept.as_mut().filter(|_| self.boxed.contains(place)) else { return true };
        let wrote = parts_box.write(self.key(whose), at, bytes).is_ok();
        if !wrote {
            self.boxed.remove(place);
        }
        wrote
    }

    /// All parts came.
    pub(super) fn set_given(&mut self, whose: Whose) {
        let place = self.place(whose);
        self.given.insert(place);
    }

    /// All parts came, and are not what they have to be.
    pub(super) fn refuse(&mut self, whose: Whose) {
        let place = self.place(whose);
        self.given.insert(place);
        self.refused.insert(place);
    }

    /// Whether parts came that are not taken.
    pub(super) fn is_refused(&self, whose: Whose) -> bool {
        self.refused.contains(self.place(whose))
    }

    /// The dial that they belong to was replaced.
    pub(super) fn forget(&mut self, whose: Whose) {
        let place = self.place(whose);
        self.given.remove(place);
        self.refused.remove(place);
        if let Some(seed) = self.seeds.get_mut(place) {
            *seed = [0; 32];
        }
    }

    /// Writes what is kept to a tile's row. False: the box failed.
    pub(super) fn fill(&mut self, whose: Whose, row: &mut [u8], kept: &mut Kept) -> bool {
        let place = self.place(whose);
        if self.side == ServerSide::One {
            expand_parts(&self.seeds[place], whose.kind, 0, row);
            return true;
        }
        let read = kept.as_mut().is_some_and(|parts_box| parts_box.read(self.key(whose), 0, row).is_ok());
        if !read {
            self.boxed.remove(place);
        }
        read
    }

    /// The parts for the members from one on, as many as `out` has room for, from what is kept. False: the box failed.
    pub(super) fn part(&self, whose: Whose, user: MemberIndex, out: &mut [u8], kept: &mut Kept) -> bool {
        if self.side == ServerSide::One {
            expand_parts(&self.seeds[self.place(whose)], whose.kind, user.0, out);
            return true;
        }
        let at = user.0 as usize * whose.kind.bytes();
        kept.as_mut().is_some_and(|parts_box| parts_box.read(self.key(whose), at, out).is_ok())
    }

    /// Who was present in a tile that was delivered.
    pub(super) fn delivered(&mut self, kind: PartKind, slot: usize, tile: usize) -> &mut u64 {
        let row = self.row(kind, slot);
        &mut self.delivered[row][tile]
    }

    fn key(&self, whose: Whose) -> PartsKey {
        PartsKey {
            epoch: self.epoch,
            kind: whose.kind,
            sender: MemberIndex(whose.sender as u32),
            slot: SlotIndex(whose.slot as u32),
        }
    }

    fn place(&self, whose: Whose) -> usize {
        self.row(whose.kind, whose.slot) * self.members + whose.sender
    }

    fn row(&self, kind: PartKind, slot: usize) -> usize {
        let before =
            self.runs.iter().take_while(|(run, _)| *run != kind).map(|(_, slots)| slots).sum::<usize>();
        before + slot
    }
}

impl std::fmt::Debug for PartsStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartsStore").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}
