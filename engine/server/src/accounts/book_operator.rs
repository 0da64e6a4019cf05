//! What the operator changes: accounts that are kept at once, and serve once the other operator has made them, too.

use super::*;

impl Book {
    /// The operator adds accounts: all of them, or none.
    ///
    /// # Errors
    /// A sentence about the first that cannot be.
    pub(in crate::accounts) fn add(
        &mut self,
        group: GroupId,
        epoch: Epoch,
        users: &[(UserId, VerifyingKey)],
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<usize, String> {
        self.changeable(group)?;
        check_epoch(epoch)?;
        let mut keys: HashMap<[u8; KEY_BYTES], UserId> = HashMap::new();
        let mut new = BTreeMap::new();
        for &(user, key) in users {
            match self.accounts.get(&(group, user)) {
                Some(account) if account.key == key => continue,
                Some(_) => {
                    return Err(format!(
                        "user {} of group {group} has an account with another key: `rotate` gives it a new one",
                        user.0
                    ));
                }
                None => {}
            }
            let held = self.accounts_holder(group, &key).or_else(|| keys.insert(key.to_bytes(), user));
            if let Some(holder) = held.filter(|holder| *holder != user) {
                return Err(format!(
                    "users {} and {} of group {group} would have one key: each user has a key of its own",
                    holder.0, user.0
                ));
            }
            if new.insert(user, key).is_some_and(|before| before != key) {
                return Err(format!("user {} is there twice, with two keys: each user has one", user.0));
            }
        }
        for (&user, &key) in &new {
            let who = (group, user);
            // Who comes over the network meanwhile has the same key, or loses.
            self.fail(who, Code::AccountTaken, out);
            self.fail_holder(group, &key, out);
            self.establish(who, Account::new(key, epoch), now, out);
        }
        Ok(new.len())
    }

    /// The operator gives a user a new key, from the next epoch of the account on, or from a later one that is named: then
    /// it may be the same key, so that two servers that have it from different epochs on come together.
    ///
    /// # Errors
    /// A sentence: there is no such account, or the key is another user's, or the same, or the epoch is none after it.
    pub(in crate::accounts) fn rotate(
        &mut self,
        who: Who,
        key: VerifyingKey,
        epoch: Option<Epoch>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<Epoch, String> {
        let (group, user) = who;
        self.changeable(group)?;
        let no_account = || format!("user {} of group {group} has no account: `add` makes one", user.0);
        let account = *self.accounts.get(&who).ok_or_else(no_account)?;
        let next = epoch.map_or(account.epoch.0.checked_add(1), |epoch| Some(epoch.0));
        let next = next.filter(|next| *next > account.epoch.0).ok_or_else(|| {
            format!(
                "user {} of group {group} has its key from epoch {} on: the new one has to be from a later epoch on",
                user.0, account.epoch.0
            )
        })?;
        let next = Epoch(next);
        check_epoch(next)?;
        let holder = self.accounts_holder(group, &key);
        if let Some(holder) = holder.filter(|holder| *holder != user || epoch.is_none()) {
            return Err(match holder == user {
                true => format!("that is the key that user {} of group {group} has", user.0),
                false => {
                    format!("user {} of group {group} has that key: each user has a key of its own", holder.0)
                }
            });
        }
        self.fail_holder(group, &key, out);
        self.fail(who, Code::AccountTaken, out);
        self.holders.remove(&(group, account.key.to_bytes()));
        self.establish(who, Account::new(key, next), now, out);
        out.push(Effect::Revoke(who));
        Ok(next)
    }

    /// The operator removes an account.
    ///
    /// # Errors
    /// A sentence: there is none.
    pub(in crate::accounts) fn remove(&mut self, who: Who, out: &mut Vec<Effect>) -> Result<(), String> {
        let (group, user) = who;
        self.changeable(group)?;
        let Some(account) = self.accounts.remove(&who) else {
            return Err(format!("user {} of group {group} has no account", user.0));
        };
        self.fail(who, Code::NotRegistered, out);
        self.holders.remove(&(group, account.key.to_bytes()));
        self.offers_for(who);
        *self.counts.entry(group).or_default() -= 1;
        out.push(Effect::Forget(who));
        out.push(Effect::Revoke(who));
        Ok(())
    }

    fn changeable(&self, group: GroupId) -> Result<Rules, String> {
        let rules = self.rules(group).ok_or_else(|| {
            format!("group {group} has no accounts here: it needs identities = \"registered\" in [[groups]]")
        })?;
        match rules.listed {
            true => {
                Err(format!("group {group} has a list of users: change its verifying_keys file, and restart"))
            }
            false => Ok(rules),
        }
    }
}

/// Whether there may be such an epoch.
fn check_epoch(epoch: Epoch) -> Result<(), String> {
    match epoch.0 <= EPOCH_MAX {
        true => Ok(()),
        false => Err(format!("epoch {} is beyond the last one, {EPOCH_MAX}", epoch.0)),
    }
}
