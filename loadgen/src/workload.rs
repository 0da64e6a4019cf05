//! Who writes what to whom: pure functions of the plan's seed, the same on every host.
//!
//! A sender's recipients stay the same for a whole run, as session keys are dialled for an epoch. A message begins
//! with what it is (group, round, sender, slot), in clear, so that one that turns up elsewhere is recognised; the
//! rest is drawn from the seed and that.
//!
//! ```
//! # use twincast_loadgen::plan::{Peers, Plan, Verify};
//! use twincast_loadgen::workload::Workload;
//!
//! # let plan = Plan {
//! #     group: 100, groups: 1, hosts: 1, rounds: 1, warmup: 0, slots: 1, frame_bytes: 288, message_bytes: 256,
//! #     peers: Peers::Random, confirm: true, users_per_connection: 100, ahead: 0, verify: Verify::All, seed: 1,
//! #     host_skew_bytes: 1 << 20,
//! # };
//! let workload = Workload::new(&plan, 0);
//! let mut recipients = Vec::new();
//! workload.recipients(7, 0, &mut recipients);
//! assert_eq!(recipients.len(), 1);
//! let mut message = Vec::new();
//! workload.message(3, 7, 0, &mut message);
//! assert_eq!(message.len(), 256);
//! assert_eq!(workload.whose(&message).map(|origin| origin.sender), Some(7));
//! ```

use crate::plan::{Peers, Plan};
use rand::seq::{SliceRandom as _, index};
use rand::{Rng as _, SeedableRng as _};
use rand_xoshiro::{SplitMix64, Xoshiro256PlusPlus};

/// Bytes at the start of a message that say what it is.
pub const ORIGIN_BYTES: usize = 20;

/// What is drawn, so that no two draws share their numbers.
#[derive(Clone, Copy)]
#[repr(u64)]
enum Draw {
    Permutation = 1,
    Recipients = 2,
    Message = 3,
    Sample = 4,
}

/// The workload of one group.
#[derive(Clone, Debug)]
pub struct Workload {
    seed: u64,
    group: u32,
    members: u32,
    slots: u32,
    message_bytes: usize,
    peers: Peers,
    /// Of [`Peers::Random`]: for each slot, whom each member writes to.
    permutations: Vec<Vec<u32>>,
}

/// What the start of a message says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The group.
    pub group: u32,
    /// The round.
    pub round: u64,
    /// Who wrote it.
    pub sender: u32,
    /// In which slot.
    pub slot: u32,
}

impl Workload {
    /// The workload of a group of this plan.
    #[must_use]
    pub fn new(plan: &Plan, group: u32) -> Workload {
        let mut workload = Workload {
            seed: plan.seed,
            group,
            members: plan.group,
            slots: plan.slots,
            message_bytes: plan.message_bytes as usize,
            peers: plan.peers,
            permutations: Vec::new(),
        };
        if plan.peers == Peers::Random {
            workload.permutations = (0..plan.slots)
                .map(|slot| {
                    let mut permutation: Vec<u32> = (0..plan.group).collect();
                    permutation.shuffle(&mut workload.draw(Draw::Permutation, [slot.into(), 0, 0]));
                    permutation
                })
                .collect();
        }
        workload
    }

    /// Writes the recipients of `sender` in `slot` over `out`, each once.
    pub fn recipients(&self, sender: u32, slot: u32, out: &mut Vec<u32>) {
        out.clear();
        match self.peers {
            Peers::Own => out.push(sender),
            Peers::Random => out.push(self.permutations[slot as usize][sender as usize]),
            Peers::Subset(recipients) => {
                let mut rng = self.draw(Draw::Recipients, [sender.into(), slot.into(), 0]);
                let amount = recipients.min(self.members) as usize;
                let sample = index::sample(&mut rng, self.members as usize, amount);
                out.extend(sample.into_iter().map(|member| member as u32));
            }
        }
    }

    /// How many recipients every sender has in every slot.
    #[must_use]
    pub fn recipients_each(&self) -> u32 {
        match self.peers {
            Peers::Own | Peers::Random => 1,
            Peers::Subset(recipients) => recipients.min(self.members),
        }
    }

    /// Writes the message of `sender` in `slot` of `round` over `out`.
    pub fn message(&self, round: u64, sender: u32, slot: u32, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.group.to_le_bytes());
        out.extend_from_slice(&round.to_le_bytes());
        out.extend_from_slice(&sender.to_le_bytes());
        out.extend_from_slice(&slot.to_le_bytes());
        out.resize(self.message_bytes, 0);
        if let Some(rest) = out.get_mut(ORIGIN_BYTES..) {
            self.draw(Draw::Message, [round, sender.into(), slot.into()]).fill_bytes(rest);
        }
    }

    /// What a message of this group says it is; none if it is too short or names what the group does not have.
    #[must_use]
    pub fn whose(&self, message: &[u8]) -> Option<Origin> {
        let (group, rest) = message.split_first_chunk()?;
        let (round, rest) = rest.split_first_chunk()?;
        let (sender, rest) = rest.split_first_chunk()?;
        let slot = rest.first_chunk()?;
        let origin = Origin {
            group: u32::from_le_bytes(*group),
            round: u64::from_le_bytes(*round),
            sender: u32::from_le_bytes(*sender),
            slot: u32::from_le_bytes(*slot),
        };
        let known = origin.group == self.group && origin.sender < self.members && origin.slot < self.slots;
        known.then_some(origin)
    }

    /// Who writes to each of `users` (member indices, ascending): for (slot, tile, user), users innermost, a word with
    /// a bit for each sender of the tile.
    #[must_use]
    pub fn senders_to(&self, users: &[u32]) -> Vec<u64> {
        let tiles = self.members.div_ceil(64) as usize;
        let mut words = vec![0; self.slots as usize * tiles * users.len()];
        let mut recipients = Vec::new();
        for slot in 0..self.slots {
            for sender in 0..self.members {
                self.recipients(sender, slot, &mut recipients);
                let row = (slot as usize * tiles + sender as usize / 64) * users.len();
                for position in recipients.iter().filter_map(|user| users.binary_search(user).ok()) {
                    words[row + position] |= 1u64 << (sender % 64);
                }
            }
        }
        words
    }

    /// Whether this user's cells of this tile are in a sample of that `share` of all.
    #[must_use]
    pub fn is_sampled(&self, share: f64, round: u64, user: u32, slot: u32, tile: u32) -> bool {
        let place = u64::from(slot) << 32 | u64::from(tile);
        let number = self.mix(Draw::Sample, [round, user.into(), place]);
        ((number >> 11) as f64) < share * (1u64 << 53) as f64
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Verify;

    fn workload(members: u32, slots: u32, peers: Peers) -> Workload {
        Workload::new(&plan(members, slots, peers), 3)
    }

    fn plan(members: u32, slots: u32, peers: Peers) -> Plan {
        Plan {
            group: members,
            groups: 4,
            hosts: 3,
            rounds: 1,
            warmup: 0,
            slots,
            frame_bytes: 288,
            message_bytes: 256,
            peers,
            confirm: true,
            users_per_connection: 100,
            ahead: 0,
            verify: Verify::All,
            seed: 99,
            host_skew_bytes: 1 << 20,
        }
    }

    fn recipients(workload: &Workload, sender: u32, slot: u32) -> Vec<u32> {
        let mut out = vec![1, 2, 3];
        workload.recipients(sender, slot, &mut out);
        out
    }

    #[test]
    fn random_peers_are_a_permutation_of_their_own_for_each_slot() {
        let workload = workload(130, 2, Peers::Random);
        let slots = [0, 1].map(|slot| {
            let mut all: Vec<u32> = (0..130).flat_map(|sender| recipients(&workload, sender, slot)).collect();
            let as_drawn = all.clone();
            all.sort_unstable();
            assert_eq!(all, (0..130).collect::<Vec<u32>>());
            as_drawn
        });
        assert_ne!(slots[0], slots[1]);
    }

    #[test]
    fn subsets_have_distinct_recipients_and_no_more_than_there_are() {
        for (members, amount) in [(100, 16), (5, 5), (5, 9), (64, 0)] {
            let workload = workload(members, 2, Peers::Subset(amount));
            for sender in 0..members {
                let mut some = recipients(&workload, sender, 1);
                some.sort_unstable();
                some.dedup();
                assert_eq!(some.len() as u32, amount.min(members));
                assert_eq!(some.len() as u32, workload.recipients_each());
                assert!(some.iter().all(|user| *user < members));
            }
        }
        assert_eq!(recipients(&workload(9, 1, Peers::Own), 4, 0), [4]);
    }

    #[test]
    fn everything_is_a_function_of_seed_and_place() {
        let (one, two) = (workload(200, 2, Peers::Subset(3)), workload(200, 2, Peers::Subset(3)));
        let (mut first, mut second) = (Vec::new(), vec![9; 999]);
        for sender in 0..200 {
            assert_eq!(recipients(&one, sender, 1), recipients(&two, sender, 1));
            one.message(5, sender, 1, &mut first);
            two.message(5, sender, 1, &mut second);
            assert_eq!(first, second);
        }
        let other_seed = Workload::new(&Plan { seed: 100, ..plan(200, 2, Peers::Subset(3)) }, 3);
        let other_group = Workload::new(&plan(200, 2, Peers::Subset(3)), 2);
        for other in [other_seed, other_group] {
            assert!((0..200).any(|sender| recipients(&one, sender, 0) != recipients(&other, sender, 0)));
            one.message(5, 6, 1, &mut first);
            other.message(5, 6, 1, &mut second);
            assert_ne!(first[ORIGIN_BYTES..], second[ORIGIN_BYTES..]);
        }
    }

    #[test]
    fn senders_to_is_the_inverse_of_recipients() {
        for peers in [Peers::Own, Peers::Random, Peers::Subset(7)] {
            let workload = workload(150, 2, peers);
            let users: Vec<u32> = (1..150).step_by(5).collect();
            let words = workload.senders_to(&users);
            for (slot, sender) in (0..2).flat_map(|slot| (0..150).map(move |sender| (slot, sender))) {
                let to = recipients(&workload, sender, slot);
                for (position, user) in users.iter().enumerate() {
                    let word = words[(slot as usize * 3 + sender as usize / 64) * users.len() + position];
                    assert_eq!(word >> (sender % 64) & 1 == 1, to.contains(user));
                }
            }
        }
    }

    #[test]
    fn a_message_says_whose_it_is() {
        let workload = workload(50, 3, Peers::Own);
        let mut message = Vec::new();
        workload.message(1 << 40, 49, 2, &mut message);
        let origin = Origin { group: 3, round: 1 << 40, sender: 49, slot: 2 };
        assert_eq!(workload.whose(&message), Some(origin));
        assert_eq!(workload.whose(&message[..ORIGIN_BYTES - 1]), None);
        message[12] = 50; // a sender that the group does not have
        assert_eq!(workload.whose(&message), None);
    }

    #[test]
    fn short_messages_are_cut_and_empty_ones_are_cover() {
        for bytes in [0, 7, 20, 21] {
            let workload = Workload::new(&Plan { message_bytes: bytes, ..plan(50, 1, Peers::Own) }, 0);
            let mut message = vec![1; 300];
            workload.message(1, 2, 0, &mut message);
            assert_eq!(message.len(), bytes as usize);
        }
    }

    #[test]
    fn a_sample_has_about_its_share() {
        let workload = workload(50, 1, Peers::Own);
        let sampled = |share| (0..20_000).filter(|user| workload.is_sampled(share, 1, *user, 0, 3)).count();
        assert_eq!((sampled(0.0), sampled(1.0)), (0, 20_000));
        assert!((1_700..2_300).contains(&sampled(0.1)), "{}", sampled(0.1));
    }
}
