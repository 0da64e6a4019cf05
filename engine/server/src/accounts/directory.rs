//! Whose key is whose, for all threads: read by whoever verifies a signature, written by the registry's thread alone.

use super::store::Account;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use twincast_protocol::accountable::Certificate;
use twincast_protocol::identity::{SIGNATURE_BYTES, VerifyingKey};
use twincast_protocol::ids::{Epoch, GroupId, UserId};

/// What the settings of a group whose users are known are hashed with further.
const SETTINGS_PREFIX: &[u8] = b"twincast/settings/accounts/v1";

/// The accounts that are served now. A reader holds the lock for one look-up, a writer for one change.
#[derive(Debug, Default)]
pub struct Directory {
    groups: RwLock<HashMap<GroupId, HashMap<UserId, Served>>>,
    /// Keys of accounts that one server alone has signed: they serve nobody yet, and their users may register them.
    halves: RwLock<HashMap<(GroupId, UserId), VerifyingKey>>,
    /// Accounts that lost their key since the server started.
    revocations: AtomicU64,
    /// By group whose users are known: a hash over what both servers have to know the same of them.
    bound: HashMap<GroupId, [u8; 32]>,
}

/// A user's account, as it is served.
#[derive(Clone, Debug)]
pub(super) struct Served {
    pub(super) key: VerifyingKey,
    pub(super) epoch: Epoch,
    /// Of S1 and of S2, once both are here.
    pub(super) signatures: Option<Box<[[u8; SIGNATURE_BYTES]; 2]>>,
}

impl From<&Account> for Served {
    fn from(account: &Account) -> Served {
        let [one, two] = account.signatures;
        let signatures = one.zip(two).map(|(one, two)| Box::new([one, two]));
        Served { key: account.key, epoch: account.epoch, signatures }
    }
}

impl Directory {
    /// A directory of lists that the caller has, without certificates: what the configuration and tests give.
    #[must_use]
    pub fn of_lists(lists: &HashMap<GroupId, HashMap<UserId, VerifyingKey>>) -> Directory {
        let served = |key: &VerifyingKey| Served { key: *key, epoch: Epoch(0), signatures: None };
        let group = |list: &HashMap<UserId, VerifyingKey>| {
            list.iter().map(|(user, key)| (*user, served(key))).collect()
        };
        let groups = lists.iter().map(|(id, list)| (*id, group(list))).collect();
        Directory { groups: RwLock::new(groups), ..Directory::default() }
    }

    /// The same without accounts, for groups of which both servers have to know the same.
    pub(super) fn of_groups(bound: HashMap<GroupId, [u8; 32]>) -> Directory {
        Directory { bound, ..Directory::default() }
    }

    /// A hash over a group's settings and what both servers have to know the same of its users: two servers who know
    /// others under a name never serve the group together.
    pub(crate) fn settings_hash(&self, group: GroupId, settings: &[u8; 32]) -> [u8; 32] {
        let Some(bound) = self.bound.get(&group) else { return *settings };
        Sha256::new_with_prefix(SETTINGS_PREFIX).chain_update(settings).chain_update(bound).finalize().into()
    }

    /// The key of a user who has an account.
    #[must_use]
    pub fn key(&self, group: GroupId, user: UserId) -> Option<VerifyingKey> {
        self.with(group, user, |served| served.key)
    }

    /// The key of an account, whether it serves or the other server has yet to sign it.
    #[must_use]
    pub fn account_key(&self, group: GroupId, user: UserId) -> Option<VerifyingKey> {
        let half = || self.halves.read().expect("nobody panics with it").get(&(group, user)).copied();
        self.key(group, user).or_else(half)
    }

    /// The keys of users, in their order.
    ///
    /// # Errors
    /// The first user who has no account.
    pub fn keys(&self, group: GroupId, users: &[UserId]) -> Result<Vec<VerifyingKey>, UserId> {
        let groups = self.groups.read().expect("nobody panics with it");
        let accounts = groups.get(&group);
        let key = |user: &UserId| accounts.and_then(|accounts| accounts.get(user)).map(|served| served.key);
        users.iter().map(|user| key(user).ok_or(*user)).collect()
    }

    /// A user's key with both servers' signatures, once both are here.
    #[must_use]
    pub fn certificate(&self, group: GroupId, user: UserId) -> Option<Certificate> {
        self.with(group, user, |served| {
            let signatures = **served.signatures.as_ref()?;
            Some(Certificate { key: served.key, epoch: served.epoch, signatures })
        })?
    }

    /// How many users of a group have an account.
    #[must_use]
    pub fn users(&self, group: GroupId) -> usize {
        self.groups.read().expect("nobody panics with it").get(&group).map_or(0, HashMap::len)
    }

    /// How many accounts were removed or given another key since the server started. What was proved by a key holds for
    /// as long as this stays: a key is gone from here before the number grows, and that before its connection is closed.
    #[must_use]
    pub fn revocations(&self) -> u64 {
        self.revocations.load(Ordering::Acquire)
    }

    /// An account is kept. Where it does not serve, the one before it does so no more.
    pub(super) fn keep(&self, group: GroupId, user: UserId, account: &Account, serves: bool) {
        match serves {
            true => self.put(group, user, Served::from(account)),
            false => self.remove(group, user),
        }
        let mut halves = self.halves.write().expect("nobody panics with it");
        match serves {
            true => halves.remove(&(group, user)),
            false => halves.insert((group, user), account.key),
        };
    }

    /// Serves an account from now on; one with another key before it is revoked.
    fn put(&self, group: GroupId, user: UserId, served: Served) {
        let key = served.key;
        let before = self
            .groups
            .write()
            .expect("nobody panics with it")
            .entry(group)
            .or_default()
            .insert(user, served);
        if before.is_some_and(|before| before.key != key) {
            self.revocations.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// A user has no account any more.
    pub(super) fn remove(&self, group: GroupId, user: UserId) {
        self.halves.write().expect("nobody panics with it").remove(&(group, user));
        let mut groups = self.groups.write().expect("nobody panics with it");
        if groups.get_mut(&group).and_then(|accounts| accounts.remove(&user)).is_some() {
            self.revocations.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn with<T>(&self, group: GroupId, user: UserId, look: impl FnOnce(&Served) -> T) -> Option<T> {
        self.groups.read().expect("nobody panics with it").get(&group)?.get(&user).map(look)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twincast_protocol::identity::SigningKey;

    fn key(seed: u8) -> VerifyingKey {
        SigningKey::from_seed(&[seed; 32]).verifying_key()
    }

    #[test]
    fn whoever_lost_a_key_is_counted_and_found_no_more() {
        let (group, user) = (GroupId(1), UserId(5));
        let directory = Directory::of_lists(&HashMap::from([(group, HashMap::from([(user, key(1))]))]));
        assert_eq!((directory.key(group, user), directory.users(group)), (Some(key(1)), 1));
        assert!(directory.certificate(group, user).is_none() && directory.key(GroupId(2), user).is_none());
        assert_eq!(directory.keys(group, &[user, UserId(6)]), Err(UserId(6)));

        let whole =
            |seed| Served { key: key(seed), epoch: Epoch(3), signatures: Some(Box::new([[1; 64], [2; 64]])) };
        directory.put(group, user, whole(1));
        assert_eq!(directory.revocations(), 0, "the same key with its signatures");
        let certificate = directory.certificate(group, user).unwrap();
        assert_eq!((certificate.key, certificate.epoch, certificate.signatures[1][0]), (key(1), Epoch(3), 2));
        directory.put(group, user, whole(2));
        assert_eq!((directory.revocations(), directory.key(group, user)), (1, Some(key(2))));
        directory.remove(group, user);
        directory.remove(group, user);
        assert_eq!((directory.revocations(), directory.key(group, user)), (2, None));
        assert_eq!(directory.account_key(group, user), None);
    }

    #[test]
    fn an_account_that_one_server_signed_is_known_and_serves_nobody() {
        let (group, user) = (GroupId(1), UserId(5));
        let directory = Directory::default();
        let account = |seed| Account::new(key(seed), Epoch(0));
        let keys = || (directory.key(group, user), directory.account_key(group, user));
        directory.keep(group, user, &account(1), false);
        assert_eq!(keys(), (None, Some(key(1))));
        directory.keep(group, user, &account(1), true);
        assert_eq!(keys(), (Some(key(1)), Some(key(1))));
        directory.keep(group, user, &account(2), false);
        assert_eq!((keys(), directory.revocations()), ((None, Some(key(2))), 1));
        directory.remove(group, user);
        assert_eq!(keys(), (None, None));
    }
}
