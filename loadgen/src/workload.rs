//! Who writes what to whom: pure functions of the plan's seed, the same on every host.
//!
//! A sender's recipients stay the same for an epoch, as session keys are dialled for one; in the one-to-many scheme,
//! which deals in every round, for a batch. A message begins with what it is (group, round, sender, which), in clear,
//! so that one that turns up elsewhere is recognised; the rest is drawn from the seed and that. Members are named by
//! their index in the epoch's roster, senders inside messages by their number that lasts ([`Plan::roster`]).
//!
//! ```
//! # use twincast_loadgen::plan::Plan;
//! use twincast_loadgen::workload::Workload;
//!
//! let plan = Plan { group: 100, ..Plan::default() };
//! let workload = Workload::new(&plan, 0);
//! let mut recipients = Vec::new();
//! workload.recipients(0, 7, 0, &mut recipients);
//! assert_eq!(recipients.len(), 1);
//! let mut message = Vec::new();
//! workload.message(3, 7, 0, &mut message);
//! assert_eq!(message.len(), 256);
//! assert_eq!(workload.whose(&message).map(|origin| origin.sender), Some(7));
//! ```

mod arrivals;

pub use arrivals::{Arrival, Arrivals};

use crate::plan::{Peers, Plan};
use rand::seq::{SliceRandom as _, index};
use rand::{Rng as _, SeedableRng as _};
use rand_xoshiro::{SplitMix64, Xoshiro256PlusPlus};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// Bytes at the start of a message that say what it is.
pub const ORIGIN_BYTES: usize = 20;

/// Drawings that are kept: those of an epoch and of the next, or of a few rounds.
const KEPT: usize = 4;

/// What is drawn, so that no two draws share their numbers.
#[derive(Clone, Copy)]
#[repr(u64)]
enum Draw {
    Permutation = 1,
    Recipients = 2,
    Message = 3,
    Sample = 4,
    Batch = 5,
}

/// The workload of one group.
#[derive(Debug)]
pub struct Workload {
    seed: u64,
    group: u32,
    plan: Plan,
    /// Of [`Peers::Random`], by epoch: for each slot, whom each member writes to. In answer delivery whom it reads.
    permutations: RefCell<Kept<u32, Vec<Vec<u32>>>>,
    /// In answer delivery, by epoch: how many queries ask for each member.
    readers: RefCell<Kept<u32, Vec<u32>>>,
    /// By [`Workload::drawing`].
    arrivals: RefCell<Kept<(u32, u64), Arrivals>>,
}

/// The last few of something.
type Kept<K, T> = VecDeque<(K, Rc<T>)>;

/// What the start of a message says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The group.
    pub group: u32,
    /// The round.
    pub round: u64,
    /// Who wrote it, by the number that lasts.
    pub sender: u32,
    /// In which slot; in the one-to-many scheme, to which recipient of the batch.
    pub which: u32,
}

impl Workload {
    /// The workload of a group of this plan.
    #[must_use]
    pub fn new(plan: &Plan, group: u32) -> Workload {
        Workload {
            seed: plan.seed,
            group,
            plan: plan.clone(),
            permutations: RefCell::default(),
            readers: RefCell::default(),
            arrivals: RefCell::default(),
        }
    }

    /// Writes those whom `sender` dials for `slot` in an epoch over `out`, each once. In answer delivery that is the one
    /// whom it wants to read.
    pub fn recipients(&self, epoch: u32, sender: u32, slot: u32, out: &mut Vec<u32>) {
        out.clear();
        let members = self.plan.group;
        if self.plan.answers() {
            return out.extend(self.target(epoch, sender, slot));
        }
        let draw = |slot: u32| self.draw(Draw::Recipients, [sender.into(), slot.into(), epoch.into()]);
        match self.plan.peers {
            Peers::Own => out.push(sender),
            Peers::Random => out.push(self.permutations(epoch)[slot as usize][sender as usize]),
            // A member of each slot, all different.
            Peers::Many(many) => {
                let all = index::sample(&mut draw(0), members as usize, many.recipients as usize);
                out.push(all.index(slot as usize) as u32);
            }
            Peers::Subset(_) | Peers::Subgroup(_) => {
                let amount = self.plan.recipients_each();
                let sample = index::sample(&mut draw(slot), members as usize, amount as usize);
                out.extend(sample.into_iter().map(|member| member as u32));
            }
        }
    }

    /// Whose record a reader asks for with a query of an epoch, in answer delivery: the reader's own, that of another in
    /// a permutation of the group, or that of one whom as many read as the plan says; nobody's where it says none.
    #[must_use]
    pub fn target(&self, epoch: u32, reader: u32, slot: u32) -> Option<u32> {
        let drawn = |place: u32| self.permutations(epoch)[slot as usize][place as usize];
        match self.plan.peers {
            Peers::Own => Some(reader),
            Peers::Random => Some(drawn(reader)),
            Peers::Subset(0) | Peers::Subgroup(_) | Peers::Many(_) => None,
            Peers::Subset(readers) => Some(drawn(reader / readers)),
        }
    }

    /// How many queries of an epoch ask for a sender's records, in answer delivery.
    #[must_use]
    pub fn readers_of(&self, epoch: u32, sender: u32) -> u32 {
        let count = || {
            let mut readers = vec![0; self.plan.group as usize];
            for slot in 0..self.plan.slots {
                let targets = (0..self.plan.group).filter_map(|reader| self.target(epoch, reader, slot));
                targets.for_each(|sender| readers[sender as usize] += 1);
            }
            readers
        };
        kept(&self.readers, epoch, count)[sender as usize]
    }

    /// Writes whom `sender` writes to in a round of the one-to-many scheme over `out`: the recipient's position in the
    /// batch, and its index. Nothing in any other scheme.
    pub fn dealt(&self, round: u64, sender: u32, out: &mut Vec<(u32, u32)>) {
        out.clear();
        let Some(many) = self.plan.dealt() else { return };
        let mut rng = self.draw(Draw::Batch, [many.batch(round), sender.into(), 0]);
        let all = index::sample(&mut rng, self.plan.group as usize, many.recipients as usize);
        out.extend(many.part(round).map(|which| (which, all.index(which as usize) as u32)));
    }

    /// How many pairs of message and recipient a sender addresses in a round; in answer delivery on average.
    #[must_use]
    pub fn pairs_of_round(&self, round: u64) -> u64 {
        match self.plan.dealt() {
            Some(many) => many.part(round).len() as u64,
            None => u64::from(self.plan.messages_each()) * u64::from(self.plan.recipients_each()),
        }
    }

    /// Writes the message that a sender (by its lasting number) has for the round over `out`: that of a slot, or that
    /// to a recipient of the batch.
    pub fn message(&self, round: u64, sender: u32, which: u32, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.group.to_le_bytes());
        out.extend_from_slice(&round.to_le_bytes());
        out.extend_from_slice(&sender.to_le_bytes());
        out.extend_from_slice(&which.to_le_bytes());
        out.resize(self.plan.message_bytes as usize, 0);
        if let Some(rest) = out.get_mut(ORIGIN_BYTES..) {
            self.draw(Draw::Message, [round, sender.into(), which.into()]).fill_bytes(rest);
        }
    }

    /// What a message of this group says it is; none if it is too short or names what the group does not have.
    #[must_use]
    pub fn whose(&self, message: &[u8]) -> Option<Origin> {
        let (group, rest) = message.split_first_chunk()?;
        let (round, rest) = rest.split_first_chunk()?;
        let (sender, rest) = rest.split_first_chunk()?;
        let which = rest.first_chunk()?;
        let origin = Origin {
            group: u32::from_le_bytes(*group),
            round: u64::from_le_bytes(*round),
            sender: u32::from_le_bytes(*sender),
            which: u32::from_le_bytes(*which),
        };
        let roster = self.plan.roster(self.plan.epoch_of(origin.round));
        let messages = self.plan.dealt().map_or(self.plan.messages_each(), |many| many.recipients);
        let known = origin.group == self.group && roster.contains(&origin.sender) && origin.which < messages;
        known.then_some(origin)
    }

    /// Who writes to whom in a round of an epoch.
    #[must_use]
    pub fn arrivals(&self, epoch: u32, round: u64) -> Rc<Arrivals> {
        let drawing = self.drawing(epoch, round);
        kept(&self.arrivals, drawing, || Arrivals::of(self, epoch, round))
    }

    /// Rounds of the same drawing have the same recipients.
    #[must_use]
    pub fn drawing(&self, epoch: u32, round: u64) -> (u32, u64) {
        (epoch, if self.plan.dealt().is_some() { round } else { 0 })
    }

    /// Whether this user's cells of this tile are in a sample of that `share` of all.
    #[must_use]
    pub fn is_sampled(&self, share: f64, round: u64, user: u32, slot: u32, tile: u32) -> bool {
        let place = u64::from(slot) << 32 | u64::from(tile);
        let number = self.mix(Draw::Sample, [round, user.into(), place]);
        ((number >> 11) as f64) < share * (1u64 << 53) as f64
    }

    fn permutations(&self, epoch: u32) -> Rc<Vec<Vec<u32>>> {
        let shuffled = |slot: u32| {
            let mut permutation: Vec<u32> = (0..self.plan.group).collect();
            permutation.shuffle(&mut self.draw(Draw::Permutation, [slot.into(), epoch.into(), 0]));
            permutation
        };
        kept(&self.permutations, epoch, || (0..self.plan.slots).map(shuffled).collect())
    }

    fn draw(&self, draw: Draw, numbers: [u64; 3]) -> Xoshiro256PlusPlus {
        Xoshiro256PlusPlus::seed_from_u64(self.mix(draw, numbers))
    }

    fn mix(&self, draw: Draw, numbers: [u64; 3]) -> u64 {
        let all = [draw as u64, self.group.into(), numbers[0], numbers[1], numbers[2]];
        let step = |state, number| SplitMix64::seed_from_u64(state ^ number).next_u64();
        all.into_iter().fold(self.seed, step)
    }
}

/// What is kept under a key; made, in place of the oldest, if it is not there.
fn kept<K: PartialEq, T>(all: &RefCell<Kept<K, T>>, key: K, make: impl FnOnce() -> T) -> Rc<T> {
    if let Some((_, found)) = all.borrow().iter().find(|(of, _)| *of == key) {
        return Rc::clone(found);
    }
    let made = Rc::new(make());
    let mut all = all.borrow_mut();
    if all.len() == KEPT {
        all.pop_front();
    }
    all.push_back((key, Rc::clone(&made)));
    made
}

#[cfg(test)]
mod tests;
