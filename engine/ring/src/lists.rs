//! Lists of slots, linked through one table: each slot is in one list at most, and every operation takes constant
//! time and no memory.

/// The list a slot is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    /// In none: it waits for the caller or for a send in flight.
    None = 0,
    /// Something can be done for it.
    Ready = 1,
    /// Its socket has no room, and it holds an unfinished slab. The longest blocked is in front.
    BlockedHolding = 2,
    /// Its socket has no room, and it holds no slab.
    BlockedEmpty = 3,
    /// It could send, but there was no slab.
    Starved = 4,
    /// The kernel was out of buffers; it waits for a moment.
    Backoff = 5,
    /// Its wait for room is to be withdrawn.
    Cancelling = 6,
    /// Nothing of it is in flight, and it is to be reported closed.
    Leaving = 7,
    /// What its source has takes long to make, or was left to a later turn. The longest put off is in front.
    PutOff = 8,
}

const LISTS: usize = 9;
const NIL: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Link {
    before: u32,
    after: u32,
    list: List,
}

/// The lists of all slots.
#[derive(Debug)]
pub(crate) struct Lists {
    links: Vec<Link>,
    fronts: [u32; LISTS],
    backs: [u32; LISTS],
    lens: [usize; LISTS],
}

impl Lists {
    /// Every slot is in `List::None`, which has no order and no front.
    pub(crate) fn new(slots: usize) -> Self {
        let link = Link { before: NIL, after: NIL, list: List::None };
        Self { links: vec![link; slots], fronts: [NIL; LISTS], backs: [NIL; LISTS], lens: [0; LISTS] }
    }

    pub(crate) fn list(&self, slot: u32) -> List {
        self.links[slot as usize].list
    }

    pub(crate) fn len(&self, list: List) -> usize {
        self.lens[list as usize]
    }

    pub(crate) fn front(&self, list: List) -> Option<u32> {
        some(self.fronts[list as usize])
    }

    /// The slot behind this one in its list.
    pub(crate) fn after(&self, slot: u32) -> Option<u32> {
        some(self.links[slot as usize].after)
    }

    /// Takes the slot out of the list it is in and puts it at the back of `list`.
    pub(crate) fn move_to(&mut self, slot: u32, list: List) {
        self.unlink(slot);
        if list == List::None {
            return;
        }
        let before = std::mem::replace(&mut self.backs[list as usize], slot);
        match some(before) {
            Some(before) => self.links[before as usize].after = slot,
            None => self.fronts[list as usize] = slot,
        }
        self.links[slot as usize] = Link { before, after: NIL, list };
        self.lens[list as usize] += 1;
    }

    fn unlink(&mut self, slot: u32) {
        let Link { before, after, list } = self.links[slot as usize];
        if list == List::None {
            return;
        }
        match some(before) {
            Some(before) => self.links[before as usize].after = after,
            None => self.fronts[list as usize] = after,
        }
        match some(after) {
            Some(after) => self.links[after as usize].before = before,
            None => self.backs[list as usize] = before,
        }
        self.links[slot as usize] = Link { before: NIL, after: NIL, list: List::None };
        self.lens[list as usize] -= 1;
    }
}

fn some(slot: u32) -> Option<u32> {
    (slot != NIL).then_some(slot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_xoshiro::SplitMix64;
    use rand_xoshiro::rand_core::{Rng, SeedableRng};
    use std::collections::VecDeque;

    #[test]
    fn agrees_with_a_queue_per_list() {
        const SLOTS: u32 = 9;
        let lists = [List::None, List::Ready, List::BlockedHolding, List::Leaving];
        let mut random = SplitMix64::seed_from_u64(1);
        let mut fast = Lists::new(SLOTS as usize);
        let mut naive: Vec<VecDeque<u32>> = vec![VecDeque::new(); LISTS];
        for step in 0..20_000 {
            let slot = random.next_u32() % SLOTS;
            let list = lists[random.next_u32() as usize % lists.len()];
            fast.move_to(slot, list);
            naive.iter_mut().for_each(|queue| queue.retain(|&other| other != slot));
            if list != List::None {
                naive[list as usize].push_back(slot);
            }
            assert_eq!(fast.list(slot), list);
            for list in &lists[1..] {
                let walk: Vec<u32> =
                    std::iter::successors(fast.front(*list), |&slot| fast.after(slot)).collect();
                assert_eq!(walk, Vec::from(naive[*list as usize].clone()), "step {step}");
                assert_eq!(fast.len(*list), walk.len());
            }
        }
    }
}
