//! The dials of an epoch: what this server holds, what the other one says that it holds, and what takes effect.
//!
//! A dial is effective when both servers hold the same `(sender, slot, dial_id)`; a server that runs alone has only
//! itself to ask. Which dials are effective is settled when dialling ends: each server has then said all that it
//! holds, so both come to the same set. Until then a slot that is not effective may be dialled again, which helps
//! a sender whose dial reached one server only.

use super::keys::{Keys, SessionKeys};
use super::store::Whose;
use fixedbitset::FixedBitSet;
use twincast_protocol::ids::{MemberIndex, SlotIndex};
use twincast_protocol::parts::PartKind;
use twincast_protocol::wire::Code;
use twincast_protocol::wire::link::HeldDial;

/// The number of every attendance.
const ATTENDS: u64 = 1;

/// A dial, as it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dialling {
    pub(super) sender: usize,
    pub(super) slot: usize,
    pub(super) dial_id: u64,
}

/// All dials of one epoch. Places are `slot * members + sender`.
#[derive(Debug)]
pub(super) struct Dials {
    members: usize,
    slots: usize,
    linked: bool,
    /// There are no session keys: dials are attendances.
    keyless: bool,
    keys: Keys,
    mine: Vec<Option<u64>>,
    theirs: Vec<Option<u64>>,
    effective: FixedBitSet,
    /// Places whose sender was told that the dial there is effective.
    told: FixedBitSet,
    /// Members all of whose slots are effective.
    whole: FixedBitSet,
    /// Places whose dials the other server has not been told.
    unreported: Vec<u32>,
}

impl Dials {
    /// Of an epoch in which nobody has dialled.
    pub(super) fn new(members: usize, slots: usize, linked: bool) -> Dials {
        let keys = Keys::Select(SessionKeys::new(members, slots));
        Dials { keys, ..Dials::without_keys(members, slots, linked) }
    }

    fn without_keys(members: usize, slots: usize, linked: bool) -> Dials {
        Dials {
            members,
            slots,
            linked,
            keyless: false,
            keys: Keys::Select(SessionKeys::none(members)),
            mine: vec![None; slots * members],
            theirs: if linked { vec![None; slots * members] } else { Vec::new() },
            effective: FixedBitSet::with_capacity(slots * members),
            told: FixedBitSet::with_capacity(slots * members),
            whole: FixedBitSet::with_capacity(members),
            unreported: Vec::new(),
        }
    }

    /// Of an epoch whose session keys are queries.
    pub(super) fn of_queries(
        queries: &twincast_answer::Shape,
        members: usize,
        slots: usize,
        linked: bool,
    ) -> Dials {
        let keys = Keys::of_queries(queries, slots);
        Dials { keys, ..Dials::without_keys(members, slots, linked) }
    }

    /// Of an epoch without session keys: members choose their halves with each submission, and to attend stands for
    /// the dial. Both servers settle who attends as they settle dials, so that neither opens without whom the other
    /// one has not met.
    pub(super) fn of_attendance(members: usize, linked: bool) -> Dials {
        Dials { keyless: true, ..Dials::without_keys(members, 1, linked) }
    }

    /// A member of an epoch without session keys is there, before the epoch is settled.
    pub(super) fn attend(&mut self, sender: usize) {
        let place = self.place(sender, 0);
        if self.mine[place].is_none() {
            self.mine[place] = Some(ATTENDS);
            if self.linked {
                self.unreported.push(place as u32);
            }
            self.settle(place);
        }
    }

    /// The same once it is settled: it may submit here, and what both servers have of it is released.
    pub(super) fn attend_late(&mut self, sender: usize) {
        self.whole.insert(sender);
    }

    /// Keeps a dial. Returns whether it is effective.
    pub(super) fn put(&mut self, dial: Dialling, key: &[u8]) -> Result<bool, Code> {
        let place = self.place(dial.sender, dial.slot);
        if self.effective.contains(place) {
            return Err(Code::AlreadyDialled);
        }
        self.keys.put(dial.sender, dial.slot, key)?;
        self.mine[place] = Some(dial.dial_id);
        if self.linked {
            self.unreported.push(place as u32);
        }
        let effective = self.settle(place);
        self.told.set(place, effective);
        Ok(effective)
    }

    /// The other server holds this dial. Returns it if it is effective and its sender was not told so.
    pub(super) fn peer_has(&mut self, held: &HeldDial) -> Result<Option<Dialling>, Code> {
        let (sender, slot) = (held.sender.get() as usize, held.slot.get() as usize);
        if sender >= self.members || slot >= self.slots {
            return Err(Code::SlotOutOfRange);
        }
        let place = self.place(sender, slot);
        self.theirs[place] = Some(held.dial_id.get());
        let newly = self.settle(place) && !self.told.put(place);
        Ok(newly.then_some(Dialling { sender, slot, dial_id: held.dial_id.get() }))
    }

    /// Whether the other server said before that it holds this dial.
    pub(super) fn peer_had(&self, held: &HeldDial) -> bool {
        let (sender, slot) = (held.sender.get() as usize, held.slot.get() as usize);
        let there = sender < self.members && slot < self.slots;
        there && self.theirs[self.place(sender, slot)] == Some(held.dial_id.get())
    }

    /// What is to be told to the other server, each dial once.
    pub(super) fn take_unreported(&mut self) -> Vec<HeldDial> {
        let places = std::mem::take(&mut self.unreported);
        let dials = places.into_iter().filter_map(|place| {
            let (slot, sender) = (place / self.members as u32, place % self.members as u32);
            let dial_id = self.mine[place as usize]?;
            Some(HeldDial::new(dial_id, MemberIndex(sender), SlotIndex(slot)))
        });
        dials.collect()
    }

    /// The link is a new one, and the other server may have given up what it said: it says anew what it holds.
    pub(super) fn forget_peer(&mut self) {
        self.theirs.fill(None);
        if self.linked {
            self.effective.clear();
            self.whole.clear();
        }
    }

    /// Everything that is held is to be told: the link is a new one.
    pub(super) fn report_all(&mut self) {
        let held = |(place, id): (usize, &Option<u64>)| id.is_some().then_some(place as u32);
        self.unreported = self.mine.iter().enumerate().filter_map(held).collect();
    }

    /// Dialling is over: makes select words or queries of what is effective, and returns the dials that are void.
    pub(super) fn close(&mut self) -> Vec<Dialling> {
        let void = self.void();
        for dial in void.iter().filter(|_| !self.keyless) {
            self.keys.clear(dial.sender, dial.slot);
        }
        self.unreported = Vec::new();
        self.keys.seal();
        void
    }

    /// The dials that are held here and not effective.
    fn void(&self) -> Vec<Dialling> {
        self.held().filter(|dial| !self.effective.contains(self.place(dial.sender, dial.slot))).collect()
    }

    /// All dials that are held here.
    pub(super) fn held(&self) -> impl Iterator<Item = Dialling> {
        let dial = |(place, id): (usize, &Option<u64>)| {
            let (slot, sender) = (place / self.members, place % self.members);
            id.map(|dial_id| Dialling { sender, slot, dial_id })
        };
        self.mine.iter().enumerate().filter_map(dial)
    }

    /// The effective dial of a slot.
    pub(super) fn effective(&self, sender: usize, slot: usize) -> Option<Dialling> {
        let place = self.place(sender, slot);
        let dial_id = self.mine.get(place).copied().flatten()?;
        self.effective.contains(place).then_some(Dialling { sender, slot, dial_id })
    }

    /// The dial that parts belong to: none where they belong to all dials of their sender.
    pub(super) fn dial_id(&self, whose: Whose) -> Option<u64> {
        let place = self.place(whose.sender, whose.slot);
        self.mine.get(place).copied().flatten().filter(|_| whose.kind == PartKind::Confirmation)
    }

    pub(super) fn all_dialled(&self) -> bool {
        self.whole.count_ones(..) == self.members
    }

    /// Whether every slot of this member is effective.
    pub(super) fn is_dialled(&self, sender: usize) -> bool {
        self.whole.contains(sender)
    }

    /// Members all of whose slots are effective.
    pub(super) fn members_dialled(&self) -> &FixedBitSet {
        &self.whole
    }

    /// Bit `s`: the slot of sender `first + s`, of `senders`, is effective.
    pub(super) fn slot_word(&self, slot: usize, first: usize, senders: usize) -> u64 {
        word(senders, |sender| self.effective.contains(self.place(first + sender, slot)))
    }

    /// Bit `s`: all slots of sender `first + s`, of `senders`, are effective.
    pub(super) fn member_word(&self, first: usize, senders: usize) -> u64 {
        word(senders, |sender| self.whole.contains(first + sender))
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    fn place(&self, sender: usize, slot: usize) -> usize {
        slot * self.members + sender
    }

    /// Looks again at whether a place is effective.
    fn settle(&mut self, place: usize) -> bool {
        let mine = self.mine[place];
        let effective = mine.is_some() && (!self.linked || self.theirs[place] == mine);
        self.effective.set(place, effective);
        let sender = place % self.members;
        let whole = (0..self.slots).all(|slot| self.effective.contains(self.place(sender, slot)));
        self.whole.set(sender, whole);
        effective
    }
}

fn word(senders: usize, holds: impl Fn(usize) -> bool) -> u64 {
    (0..senders).filter(|sender| holds(*sender)).fold(0, |word, sender| word | 1 << sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dial(sender: usize, slot: usize, dial_id: u64) -> Dialling {
        Dialling { sender, slot, dial_id }
    }

    fn held(dial_id: u64, sender: u32, slot: u32) -> HeldDial {
        HeldDial::new(dial_id, MemberIndex(sender), SlotIndex(slot))
    }

    #[test]
    fn a_dial_takes_effect_when_both_hold_the_same_one() {
        let mut dials = Dials::new(3, 2, true);
        assert_eq!(dials.put(dial(1, 0, 7), &[0]), Ok(false));
        assert_eq!(dials.peer_has(&held(8, 1, 0)), Ok(None), "another dial of the same slot");
        assert_eq!(dials.peer_has(&held(7, 1, 0)), Ok(Some(dial(1, 0, 7))));
        assert_eq!(dials.peer_has(&held(7, 1, 0)), Ok(None), "said once");
        assert!(!dials.is_dialled(1), "its other slot is not effective");
        assert_eq!(dials.peer_has(&held(9, 1, 1)), Ok(None));
        assert_eq!(dials.put(dial(1, 1, 9), &[0]), Ok(true), "the other server was first");
        assert!(dials.is_dialled(1));
        assert_eq!(dials.put(dial(1, 1, 9), &[0]), Err(Code::AlreadyDialled));
        assert_eq!(dials.peer_has(&held(1, 3, 0)), Err(Code::SlotOutOfRange));
        assert_eq!(dials.peer_has(&held(1, 0, 2)), Err(Code::SlotOutOfRange));
    }

    #[test]
    fn who_attends_at_one_server_only_is_void_like_a_dial() {
        let (mut one, mut two) = (Dials::of_attendance(2, true), Dials::of_attendance(2, true));
        one.attend(0);
        one.attend(1);
        two.attend(1);
        let [from_one, from_two] = [one.take_unreported(), two.take_unreported()];
        assert_eq!((from_one.len(), from_two.len()), (2, 1));
        for held in from_two {
            assert!(one.peer_has(&held).unwrap().is_some());
        }
        assert!(!one.all_dialled() && !one.is_dialled(0) && one.is_dialled(1));
        for held in from_one {
            two.peer_has(&held).unwrap();
        }
        two.attend(0);
        assert!(two.all_dialled(), "it came to the other server as well");
        assert_eq!(one.close(), [dial(0, 0, ATTENDS)]);
        one.attend_late(0);
        assert!(one.all_dialled());
    }

    #[test]
    fn both_servers_come_to_the_same_set_and_the_rest_is_void() {
        // Replaced at one server while the other had taken the first for effective.
        let (mut one, mut two) = (Dials::new(2, 1, true), Dials::new(2, 1, true));
        one.put(dial(0, 0, 1), &[0]).unwrap();
        two.put(dial(0, 0, 1), &[0]).unwrap();
        for held in one.take_unreported() {
            assert!(two.peer_has(&held).unwrap().is_some());
        }
        one.put(dial(0, 0, 2), &[0]).unwrap();
        for held in two.take_unreported() {
            assert_eq!(one.peer_has(&held).unwrap(), None);
        }
        for held in one.take_unreported() {
            assert_eq!(two.peer_has(&held).unwrap(), None);
        }
        assert_eq!(one.close(), [dial(0, 0, 2)]);
        assert_eq!(two.close(), [dial(0, 0, 1)]);
        assert_eq!(one.slot_word(0, 0, 2), 0);
        assert_eq!(two.slot_word(0, 0, 2), 0);
    }

    #[test]
    fn what_was_said_over_an_older_link_does_not_count() {
        let mut dials = Dials::new(2, 1, true);
        dials.put(dial(0, 0, 1), &[0]).unwrap();
        assert!(dials.peer_has(&held(1, 0, 0)).unwrap().is_some());
        dials.forget_peer();
        assert!(!dials.is_dialled(0));
        assert_eq!(dials.peer_has(&held(1, 0, 0)), Ok(None), "its sender knows");
        assert!(dials.is_dialled(0));
    }

    #[test]
    fn a_new_link_is_told_everything_again() {
        let mut dials = Dials::new(2, 2, true);
        dials.put(dial(1, 1, 5), &[0]).unwrap();
        assert_eq!(dials.take_unreported(), [held(5, 1, 1)]);
        assert!(dials.take_unreported().is_empty());
        dials.report_all();
        assert_eq!(dials.take_unreported(), [held(5, 1, 1)]);
    }
}
