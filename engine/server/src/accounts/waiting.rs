//! Registrations that wait for the other server, and how many there may be.
//!
//! Whoever can connect can register with one server alone, and keeps a place until its time is over. So each group has a
//! share of all places, an address a part of each share, and a user's number a few places, of which an address has one:
//! who takes a number at one server leaves room for whoever comes to both.

use super::book::{Ticket, Who};
use super::store::Account;
use crate::limits::REGISTRATIONS_PENDING_MAX;
use std::collections::HashMap;
use std::time::Instant;
use twincast_protocol::ids::{GroupId, UserId};
use twincast_protocol::wire::Code;

/// Keys that may wait for one user's number.
pub(super) const KEYS_PER_USER_MAX: usize = 4;

/// One address may have this part of the places of a group.
const ADDRESS_PART: usize = 4;

/// A key that waits.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) account: Account,
    /// Whose place it takes.
    pub(super) address: u64,
    pub(super) waiters: Vec<Ticket>,
    pub(super) until: Instant,
    /// The other server was given another key.
    pub(super) unequal: bool,
}

/// All that wait.
#[derive(Debug)]
pub(super) struct Waiting {
    users: HashMap<Who, Vec<Candidate>>,
    places: HashMap<GroupId, Places>,
    /// Places of a group, if it may have as many accounts.
    share_max: usize,
}

/// The places of a group that are taken.
#[derive(Debug, Default)]
struct Places {
    taken: usize,
    addresses: HashMap<u64, usize>,
}

impl Waiting {
    /// Nobody waits in so many groups.
    pub(super) fn new(groups: usize) -> Waiting {
        let share_max = (REGISTRATIONS_PENDING_MAX / groups.max(1)).max(1);
        Waiting { users: HashMap::new(), places: HashMap::new(), share_max }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.places.values().map(|places| places.taken).sum()
    }

    /// Those for a user's number.
    pub(super) fn of(&self, who: Who) -> &[Candidate] {
        self.users.get(&who).map_or(&[], Vec::as_slice)
    }

    /// All.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Who, &Candidate)> {
        self.users.iter().flat_map(|(who, candidates)| candidates.iter().map(|one| (*who, one)))
    }

    /// One more waits for what waits already. False: it does not.
    pub(super) fn join(&mut self, who: Who, account: &Account, ticket: Ticket) -> bool {
        let same =
            |one: &&mut Candidate| one.account.key == account.key && one.account.epoch == account.epoch;
        match self.users.get_mut(&who).and_then(|candidates| candidates.iter_mut().find(same)) {
            Some(candidate) => {
                // Who asks again and again is answered all at once; each connection waits for few.
                candidate.waiters.push(ticket);
                true
            }
            None => false,
        }
    }

    /// Whether an address has room for one more, in a group of so many accounts at the most.
    ///
    /// # Errors
    /// [`Code::AccountTaken`] where a key waits for the number from this address, [`Code::StrangersFull`] where too many wait.
    pub(super) fn room(&self, who: Who, address: u64, accounts_max: usize) -> Result<(), Code> {
        let candidates = self.of(who);
        if candidates.iter().any(|candidate| candidate.address == address) {
            return Err(Code::AccountTaken);
        }
        let share = accounts_max.min(self.share_max);
        let of_address = (share / ADDRESS_PART).max(1);
        let full = self.places.get(&who.0).is_some_and(|places| {
            let taken = places.addresses.get(&address).copied().unwrap_or_default();
            places.taken >= share || taken >= of_address
        });
        if full || candidates.len() >= KEYS_PER_USER_MAX { Err(Code::StrangersFull) } else { Ok(()) }
    }

    /// One more waits; there is [`room`](Waiting::room) for it.
    pub(super) fn insert(&mut self, who: Who, candidate: Candidate) {
        let places = self.places.entry(who.0).or_default();
        places.taken += 1;
        *places.addresses.entry(candidate.address).or_default() += 1;
        self.users.entry(who).or_default().push(candidate);
    }

    /// The other server was given another key than any that waits for a number.
    pub(super) fn mark_unequal(&mut self, who: Who) {
        self.users.get_mut(&who).into_iter().flatten().for_each(|candidate| candidate.unequal = true);
    }

    /// Takes those out that are meant, of those for a user's number.
    pub(super) fn take(&mut self, who: Who, meant: impl Fn(&Candidate) -> bool) -> Vec<Candidate> {
        let Some(candidates) = self.users.get_mut(&who) else { return Vec::new() };
        let taken: Vec<Candidate> = candidates.extract_if(.., |candidate| meant(candidate)).collect();
        if candidates.is_empty() {
            self.users.remove(&who);
        }
        let places = self.places.get_mut(&who.0).expect("they had places");
        for candidate in &taken {
            places.taken -= 1;
            let count = places.addresses.get_mut(&candidate.address).expect("it had a place");
            *count -= 1;
            if *count == 0 {
                places.addresses.remove(&candidate.address);
            }
        }
        taken
    }

    /// For whose numbers somebody has waited too long.
    pub(super) fn late(&self, now: Instant) -> Vec<Who> {
        let late = self.users.iter().filter(|(_, candidates)| candidates.iter().any(|one| now >= one.until));
        late.map(|(who, _)| *who).collect()
    }

    /// For whose numbers somebody waits.
    pub(super) fn users(&self) -> Vec<(GroupId, UserId)> {
        self.users.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::ConnectionId;
    use twincast_protocol::identity::{SigningKey, VerifyingKey};
    use twincast_protocol::ids::Epoch;

    fn key(seed: u8) -> VerifyingKey {
        SigningKey::from_seed(&[seed; 32]).verifying_key()
    }

    /// Waits for a number, if there is room.
    fn wait(
        waiting: &mut Waiting,
        group: u32,
        user: u32,
        seed: u8,
        address: u64,
        most: usize,
    ) -> Result<(), Code> {
        let who = (GroupId(group), UserId(user));
        let account = Account::new(key(seed), Epoch(0));
        let ticket = Ticket { front: 0, connection: ConnectionId(1), index: 0 };
        if !waiting.join(who, &account, ticket) {
            waiting.room(who, address, most)?;
            let until = Instant::now();
            let candidate = Candidate { account, address, waiters: vec![ticket], until, unequal: false };
            waiting.insert(who, candidate);
        }
        Ok(())
    }

    #[test]
    fn one_address_leaves_room_for_others_in_a_group_and_one_group_for_others() {
        let mut waiting = Waiting::new(2);
        let most = 16;
        let mut fill = |group: u32, address: u64| {
            (0..100)
                .filter(|user| {
                    let user = user + 100 * address as u32;
                    wait(&mut waiting, group, user, 1, address, most).is_ok()
                })
                .count()
        };
        // Four accounts each, of sixteen that there may be.
        assert_eq!([1, 2, 3, 4, 5].map(|address| fill(1, address)), [4, 4, 4, 4, 0]);
        assert_eq!(fill(2, 1), 4, "another group has places of its own");
        assert_eq!(waiting.len(), 20);
        for (group, user) in waiting.users() {
            assert_eq!(waiting.take((group, user), |_| true).len(), 1);
        }
        assert_eq!(waiting.len(), 0);
        assert!(waiting.places.values().all(|places| places.taken == 0 && places.addresses.is_empty()));
        assert!(wait(&mut waiting, 1, 7, 1, 1, most).is_ok());
    }

    /// The largest group cannot have all places.
    #[test]
    fn however_large_groups_are_each_has_its_share() {
        let waiting = Waiting::new(4);
        assert_eq!(waiting.share_max, REGISTRATIONS_PENDING_MAX / 4);
        assert_eq!(Waiting::new(0).share_max, REGISTRATIONS_PENDING_MAX);
        assert_eq!(Waiting::new(1 << 20).share_max, 1);
    }

    #[test]
    fn a_number_is_waited_for_by_a_few_keys_one_of_each_address() {
        let mut waiting = Waiting::new(1);
        let most = 1_000;
        assert_eq!(wait(&mut waiting, 1, 7, 1, 1, most), Ok(()));
        assert_eq!(wait(&mut waiting, 1, 7, 1, 9, most), Ok(()), "the same key, from wherever");
        assert_eq!(wait(&mut waiting, 1, 7, 2, 1, most), Err(Code::AccountTaken));
        for number in 2..=KEYS_PER_USER_MAX as u8 {
            assert_eq!(wait(&mut waiting, 1, 7, number, number.into(), most), Ok(()));
        }
        assert_eq!(wait(&mut waiting, 1, 7, 9, 9, most), Err(Code::StrangersFull));
        let who = (GroupId(1), UserId(7));
        assert_eq!(waiting.of(who).len(), KEYS_PER_USER_MAX);
        let one = waiting.take(who, |candidate| candidate.account.key == key(2));
        assert_eq!((one.len(), waiting.of(who).len()), (1, KEYS_PER_USER_MAX - 1));
        assert_eq!(wait(&mut waiting, 1, 7, 9, 9, most), Ok(()));
    }
}
