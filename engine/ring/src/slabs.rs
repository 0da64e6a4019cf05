//! The pool of slabs of one core, and the states of a slab as types.
//!
//! ```text
//! Free ──take──> Filling ──filled──> Filled ──send──> InFlight ──completed──> Filled ──give_back──> Free
//!                                       ^                                       │  └──> AwaitingNotif ──notified──> Free
//!                                       └────────────── a short send ───────────┘
//! ```
//!
//! A token stands for the slab; it is neither `Clone` nor `Copy`, so a slab has one holder. Only a `Filling` slab can
//! be written to, and a slab becomes that only from `Free`. A slab is free again when the holder gave it back *and*
//! every zero-copy send from it was notified: until then the pool keeps its token.
//!
//! Free slabs are taken last in, first out: the one just sent is in the cache still.

use crate::error::RingError;
use crate::memory::Region;

/// The token of a slab in some state.
#[derive(Debug)]
#[must_use = "a slab that is dropped is lost to the pool"]
pub(crate) struct Slab<State> {
    index: u16,
    state: State,
}

/// Nobody's.
#[derive(Debug)]
pub(crate) struct Free;
/// A source writes to it.
#[derive(Debug)]
pub(crate) struct Filling;
/// It holds bytes that are still to be sent: `start..end`.
#[derive(Debug)]
pub(crate) struct Filled {
    start: u32,
    end: u32,
}
/// The kernel has a send of `start..end`.
#[derive(Debug)]
pub(crate) struct InFlight {
    start: u32,
    end: u32,
    zero_copy: bool,
}
/// Nothing of it is to be sent any more, but the kernel may still read it.
#[derive(Debug)]
pub(crate) struct AwaitingNotif;

/// The bytes of a send in flight, which stay as they are until its completion, and its notification if it has one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SlabBytes {
    pub(crate) address: *const u8,
    pub(crate) len: u32,
    pub(crate) slab: u16,
}

impl<State> Slab<State> {
    pub(crate) fn index(&self) -> u16 {
        self.index
    }
}

impl Slab<Filled> {
    /// Bytes still to be sent: at least one, except after the last completion.
    pub(crate) fn len(&self) -> usize {
        (self.state.end - self.state.start) as usize
    }
    /// Bytes of it that were sent.
    pub(crate) fn sent(&self) -> usize {
        self.state.start as usize
    }
}

impl Slab<InFlight> {
    pub(crate) fn zero_copy(&self) -> bool {
        self.state.zero_copy
    }
}

/// What the pool keeps of a slab that is out.
#[derive(Debug, Default)]
struct Account {
    /// Zero-copy sends from it that the kernel has not let go of.
    notifications_due: u32,
    /// Whether a send from it is in flight.
    in_flight: bool,
    /// Whether that is a zero-copy send.
    zero_copy_in_flight: bool,
    awaiting: Option<Slab<AwaitingNotif>>,
}

impl Account {
    fn held_by_zero_copy(&self) -> bool {
        self.zero_copy_in_flight || self.notifications_due > 0
    }
}

/// The slabs of one core.
#[derive(Debug)]
pub(crate) struct SlabPool {
    region: Region,
    slab_bytes: usize,
    slabs: usize,
    free: Vec<Slab<Free>>,
    accounts: Vec<Account>,
    /// Slabs that a zero-copy send has hold of.
    zero_copy_out: usize,
}

impl SlabPool {
    pub(crate) fn new(slab_bytes: usize, slabs: usize) -> Result<Self, RingError> {
        let region = Region::map(slab_bytes * slabs)?;
        let free = (0..slabs).rev().map(|index| Slab { index: index as u16, state: Free }).collect();
        let accounts = (0..slabs).map(|_| Account::default()).collect();
        Ok(Self { region, slab_bytes, slabs, free, accounts, zero_copy_out: 0 })
    }

    /// Where the slabs are, in order, for the ring to register.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = *const u8> {
        (0..self.slabs).map(|index| self.region.address(index * self.slab_bytes, self.slab_bytes))
    }

    pub(crate) fn free(&self) -> usize {
        self.free.len()
    }

    /// Slabs out of the pool, whoever has them.
    pub(crate) fn in_use(&self) -> usize {
        self.slabs - self.free.len()
    }

    /// Slabs that the kernel may be reading.
    pub(crate) fn held_by_kernel(&self) -> usize {
        self.accounts.iter().filter(|account| account.in_flight || account.notifications_due > 0).count()
    }

    /// Whether one more zero-copy send leaves slabs for those who send by copy. A notification comes when the peer
    /// acknowledged, which a stopped one never does; a copying send always comes back. So a quarter of the pool stays
    /// out of reach of zero-copy, and stopped peers cannot take the whole of it.
    pub(crate) fn zero_copy_allowed(&self, slab: &Slab<Filled>) -> bool {
        self.account(slab.index).held_by_zero_copy()
            || self.zero_copy_out < self.slabs - (self.slabs / 4).max(1)
    }

    pub(crate) fn take(&mut self) -> Option<Slab<Filling>> {
        let Slab { index, state: Free } = self.free.pop()?;
        Some(Slab { index, state: Filling })
    }

    /// The slab's bytes, for a source to write.
    pub(crate) fn bytes_mut(&mut self, slab: &mut Slab<Filling>) -> &mut [u8] {
        self.region.slice_mut(usize::from(slab.index) * self.slab_bytes, self.slab_bytes)
    }

    /// The first `len` bytes are written.
    pub(crate) fn filled(&self, slab: Slab<Filling>, len: usize) -> Slab<Filled> {
        assert!(0 < len && len <= self.slab_bytes, "a source wrote {len} bytes into {}", self.slab_bytes);
        Slab { index: slab.index, state: Filled { start: 0, end: len as u32 } }
    }

    /// The slab goes to the kernel.
    pub(crate) fn send(&mut self, slab: Slab<Filled>, zero_copy: bool) -> (Slab<InFlight>, SlabBytes) {
        let Slab { index, state: Filled { start, end } } = slab;
        assert!(start < end, "a send of nothing");
        self.change(index, |account| {
            account.in_flight = true;
            account.zero_copy_in_flight = zero_copy;
        });
        let len = end - start;
        let offset = usize::from(index) * self.slab_bytes + start as usize;
        let bytes = SlabBytes { address: self.region.address(offset, len as usize), len, slab: index };
        (Slab { index, state: InFlight { start, end, zero_copy } }, bytes)
    }

    /// The kernel took `sent` bytes. `notification_due`: it still reads them and will say when it is done.
    pub(crate) fn completed(
        &mut self,
        slab: Slab<InFlight>,
        sent: usize,
        notification_due: bool,
    ) -> Slab<Filled> {
        let Slab { index, state: InFlight { start, end, zero_copy } } = slab;
        assert!(sent <= (end - start) as usize, "the kernel took more than it was given");
        assert!(zero_copy || !notification_due, "a copying send announced a notification");
        self.change(index, |account| {
            account.in_flight = false;
            account.zero_copy_in_flight = false;
            account.notifications_due += u32::from(notification_due);
        });
        Slab { index, state: Filled { start: start + sent as u32, end } }
    }

    /// Whether giving the slab back would free it at once.
    pub(crate) fn reclaimable(&self, slab: &Slab<Filled>) -> bool {
        self.account(slab.index).notifications_due == 0
    }

    /// The holder wants nothing of it sent any more.
    pub(crate) fn give_back(&mut self, slab: Slab<Filled>) {
        let account = &mut self.accounts[usize::from(slab.index)];
        if account.notifications_due == 0 {
            self.free.push(Slab { index: slab.index, state: Free });
            return;
        }
        let before = account.awaiting.replace(Slab { index: slab.index, state: AwaitingNotif });
        assert!(before.is_none(), "a slab was given back twice");
    }

    /// The source had nothing for it.
    pub(crate) fn give_back_empty(&mut self, slab: Slab<Filling>) {
        self.free.push(Slab { index: slab.index, state: Free });
    }

    /// The kernel let go of one zero-copy send from the slab.
    pub(crate) fn notified(&mut self, index: u16) {
        assert!(self.account(index).notifications_due > 0, "slab {index} had no notification due");
        self.change(index, |account| account.notifications_due -= 1);
        let account = &mut self.accounts[usize::from(index)];
        if account.notifications_due == 0
            && let Some(Slab { index, state: AwaitingNotif }) = account.awaiting.take()
        {
            self.free.push(Slab { index, state: Free });
        }
    }

    fn account(&self, index: u16) -> &Account {
        &self.accounts[usize::from(index)]
    }

    /// Changes an account and keeps the count of the slabs that zero-copy holds.
    fn change(&mut self, index: u16, change: impl FnOnce(&mut Account)) {
        let account = &mut self.accounts[usize::from(index)];
        self.zero_copy_out -= usize::from(account.held_by_zero_copy());
        change(account);
        self.zero_copy_out += usize::from(account.held_by_zero_copy());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(slabs: usize) -> SlabPool {
        SlabPool::new(4096, slabs).unwrap()
    }

    fn take_filled(pool: &mut SlabPool) -> Slab<Filled> {
        let slab = pool.take().unwrap();
        pool.filled(slab, 4096)
    }

    #[test]
    fn the_last_slab_in_is_the_first_out() {
        let mut pool = pool(3);
        let (first, second) = (take_filled(&mut pool), take_filled(&mut pool));
        let index = first.index();
        pool.give_back(first);
        assert_eq!(pool.take().unwrap().index(), index);
        pool.give_back(second);
    }

    #[test]
    fn a_slab_is_free_after_its_last_notification_only() {
        let mut pool = pool(2);
        let slab = take_filled(&mut pool);
        let index = slab.index();
        let (flight, _) = pool.send(slab, true);
        let rest = pool.completed(flight, 1000, true);
        assert_eq!((rest.len(), rest.sent()), (3096, 1000));
        assert!(!pool.reclaimable(&rest));
        let (flight, bytes) = pool.send(rest, true);
        assert_eq!((bytes.len, bytes.slab), (3096, index));
        pool.notified(index);
        let rest = pool.completed(flight, 3096, true);
        assert_eq!(rest.len(), 0);
        pool.give_back(rest);
        assert_eq!((pool.free(), pool.zero_copy_out), (1, 1));
        pool.notified(index);
        assert_eq!((pool.free(), pool.zero_copy_out), (2, 0));
    }

    #[test]
    fn zero_copy_leaves_a_part_of_the_pool() {
        let mut pool = pool(4);
        for _ in 0..3 {
            let slab = take_filled(&mut pool);
            assert!(pool.zero_copy_allowed(&slab));
            let (flight, _) = pool.send(slab, true);
            let slab = pool.completed(flight, 4096, true);
            pool.give_back(slab);
        }
        let slab = take_filled(&mut pool);
        assert!(!pool.zero_copy_allowed(&slab));
        pool.give_back(slab);
        pool.notified(0);
        let slab = take_filled(&mut pool);
        assert!(pool.zero_copy_allowed(&slab));
    }

    #[test]
    #[should_panic(expected = "no notification due")]
    fn a_notification_out_of_the_blue_panics() {
        pool(2).notified(0);
    }
}
