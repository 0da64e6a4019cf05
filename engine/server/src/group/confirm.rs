//! The confirming phase: bit confirmations are pulled, a window of tiles at a time, and delivered like shares.

use super::keys::SessionKeys;
use super::{Output, Shape};
use crate::limits::CONFIRM_TILES_BUFFERED;
use crate::tile::{Tile, TileHead, TilePool, unsealed};
use fixedbitset::FixedBitSet;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use twincast_protocol::confirm::{CONFIRMATION_BYTES, expand_seed};
use twincast_protocol::ids::{Epoch, MemberIndex, RoundNumber, ServerSide, SlotIndex};
use twincast_protocol::wire::{Body, Grant};

/// A tile that is granted and not sealed.
#[derive(Debug)]
struct Wanted {
    tile: Arc<Tile>,
    /// Senders who dialled the slot and have not confirmed.
    missing: u64,
}

impl Wanted {
    fn waits_for(&self, attached: &FixedBitSet) -> bool {
        let TileHead { first_sender, senders, .. } = *self.tile.head();
        (0..senders)
            .any(|row| self.missing >> row & 1 == 1 && attached.contains(first_sender.0 as usize + row))
    }
}

/// The confirming phase of one epoch.
#[derive(Debug)]
pub(super) struct Confirming {
    shape: Shape,
    epoch: Epoch,
    senders: usize,
    pool: TilePool,
    /// Granted and not sealed, in the order of delivery.
    wanted: VecDeque<Wanted>,
    /// The next tile to grant, counted over all slots.
    next: usize,
    /// When the first of the wanted tiles is given up.
    deadline: Option<Duration>,
}

impl Confirming {
    pub(super) fn new(shape: &Shape, epoch: Epoch) -> Confirming {
        let senders = shape.confirm_tile_senders();
        let tile = || Tile::for_parts(senders, shape.members, CONFIRMATION_BYTES);
        Confirming {
            shape: *shape,
            epoch,
            senders,
            pool: TilePool::new(CONFIRM_TILES_BUFFERED, tile),
            wanted: VecDeque::with_capacity(CONFIRM_TILES_BUFFERED),
            next: 0,
            deadline: None,
        }
    }

    /// What is granted now, for a connection that comes late.
    pub(super) fn grants(&self) -> impl Iterator<Item = Grant> {
        self.wanted.iter().map(|wanted| self.grant(wanted.tile.head()))
    }

    pub(super) fn wants(&self, sender: usize, slot: usize) -> bool {
        self.place(sender, slot).is_some()
    }

    pub(super) fn put_bytes(&mut self, sender: usize, slot: usize, at: usize, bytes: &[u8]) {
        if let Some((index, row)) = self.place(sender, slot) {
            let row = unsealed(&mut self.wanted[index].tile).row_mut(row);
            row[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }

    pub(super) fn put_seed(&mut self, sender: usize, slot: usize, seed: &[u8; 32]) {
        debug_assert_eq!(self.shape.side, ServerSide::One, "the front lets no seed through to S2");
        if let Some((index, row)) = self.place(sender, slot) {
            expand_seed(seed, 0, unsealed(&mut self.wanted[index].tile).row_mut(row));
        }
    }

    pub(super) fn complete(&mut self, sender: usize, slot: usize) {
        if let Some((index, row)) = self.place(sender, slot) {
            let wanted = &mut self.wanted[index];
            wanted.missing &= !(1 << row);
            unsealed(&mut wanted.tile).set_present(row);
        }
    }

    /// Seals tiles that are overdue or have all that is to come, in order, and grants further ones. Nothing is to
    /// come from senders who are not attached.
    pub(super) fn advance(
        &mut self,
        keys: &SessionKeys,
        attached: &FixedBitSet,
        now: Duration,
        out: &mut Vec<Output>,
    ) {
        loop {
            self.grant_more(keys, out);
            let Some(first) = self.wanted.front() else { return };
            let deadline = *self.deadline.get_or_insert(now + self.shape.round_timeout);
            if first.waits_for(attached) && now < deadline {
                return;
            }
            let mut wanted = self.wanted.pop_front().expect("it was there");
            unsealed(&mut wanted.tile).clear_absent();
            self.deadline = None;
            self.pool.give(wanted.tile.clone());
            out.push(Output::Deliver(wanted.tile));
        }
    }

    /// Whether every tile of every slot is sealed.
    pub(super) fn is_done(&self) -> bool {
        self.next == self.tiles() && self.wanted.is_empty()
    }

    fn tiles_per_slot(&self) -> usize {
        self.shape.members.div_ceil(self.senders)
    }

    fn tiles(&self) -> usize {
        self.tiles_per_slot() * self.shape.slots
    }

    fn grant_more(&mut self, keys: &SessionKeys, out: &mut Vec<Output>) {
        while self.next < self.tiles() {
            let Some(mut tile) = self.pool.take() else { return };
            let (slot, index) = (self.next / self.tiles_per_slot(), self.next % self.tiles_per_slot());
            let first = index * self.senders;
            let senders = self.senders.min(self.shape.members - first);
            let head = TileHead {
                epoch: self.epoch,
                round: RoundNumber::DIAL,
                slot: SlotIndex(slot as u32),
                tile: index as u32,
                first_sender: MemberIndex(first as u32),
                senders,
                present: 0,
            };
            unsealed(&mut tile).begin_parts(head);
            self.wanted.push_back(Wanted { tile, missing: keys.dialled_word(slot, first, senders) });
            self.next += 1;
            out.push(Output::All(RoundNumber::DIAL, self.grant(&head).frame()));
        }
    }

    fn grant(&self, head: &TileHead) -> Grant {
        Grant::new(self.epoch, head.slot, head.first_sender, head.senders as u32)
    }

    /// Index among the wanted tiles, and row in it, of a confirmation that is missing.
    fn place(&self, sender: usize, slot: usize) -> Option<(usize, usize)> {
        let number = slot * self.tiles_per_slot() + sender / self.senders;
        let index = (number + self.wanted.len()).checked_sub(self.next)?;
        let row = sender % self.senders;
        let wanted = self.wanted.get(index)?;
        (wanted.missing >> row & 1 == 1).then_some((index, row))
    }
}
