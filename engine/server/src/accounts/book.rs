//! Who has an account, and who is about to: the rules, without a disk, a socket or a clock.
//!
//! A registration waits until the other server has signed the same key for the same user from the same epoch on; until
//! then nothing of it is kept, so that nobody takes a user's number by coming to one server alone. An account that the
//! operator adds is kept at once, and serves nobody before the other server has signed it, too: the two operators add it
//! one after the other. Whoever hears a KEY_SIGNED that agrees with what it has says its own, once in a while, so that
//! the two come together whichever of them had forgotten what.

use super::store::Account;
use crate::front::Outcome;
use crate::group::ConnectionId;
use crate::limits::{ACCOUNTS_PER_MEMBER_MAX, EPOCH_MAX, REGISTRATIONS_PENDING_MAX};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use twincast_protocol::identity::{KEY_BYTES, SIGNATURE_BYTES, SigningKey, VerifyingKey};
use twincast_protocol::ids::{Epoch, GroupId, ServerSide, UserId};
use twincast_protocol::statements;
use twincast_protocol::wire::Code;
use twincast_protocol::wire::link::KeySigned;

/// How long a server that has said a key does not say it again.
const SAID: Duration = Duration::from_secs(1);

/// A user of a group.
pub(super) type Who = (GroupId, UserId);

/// Where a registration is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The executor.
    pub(crate) front: usize,
    /// The connection.
    pub(crate) connection: ConnectionId,
    /// Which registration of the connection.
    pub(crate) index: usize,
}

/// A key that its owner has signed, which was verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registration {
    /// Where it is answered.
    pub(crate) ticket: Ticket,
    /// The group, whose users are registered.
    pub(crate) group: GroupId,
    /// From which epoch on.
    pub(crate) epoch: Epoch,
    /// The user.
    pub(crate) user: UserId,
    /// The key.
    pub(crate) key: VerifyingKey,
}

/// What follows from what was heard, in order.
#[derive(Debug)]
pub(super) enum Effect {
    /// The account is kept, and serves if it may.
    Keep(Who, Account),
    /// There is no such account any more.
    Forget(Who),
    /// Whoever is attached as this user is so no longer.
    Revoke(Who),
    /// The other server hears of a key.
    Say(KeySigned),
    /// A registration is answered.
    Answer(Ticket, Outcome),
    /// The other server's signature of a key is wrong.
    SignedFalse(Who),
    /// The two servers were given different keys.
    Unequal(Who),
    /// The two servers have the same key, from other epochs on: this one's, and the other's.
    EpochsUnequal(Who, [Epoch; 2]),
}

/// How a group's accounts come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// Users may register over the network.
    pub(super) open: bool,
    /// The group has a list of users, which only its file changes: it is not kept, and serves without signatures.
    pub(super) listed: bool,
    /// The most accounts.
    pub(super) accounts_max: usize,
}

impl Rules {
    /// Those of a group of at most so many members.
    pub(super) fn new(open: bool, listed: bool, members_max: u32) -> Rules {
        let accounts_max = members_max as usize * ACCOUNTS_PER_MEMBER_MAX;
        Rules { open: open && !listed, listed, accounts_max }
    }
}

/// Who this server is to the other one.
#[derive(Debug)]
pub(super) struct Signers {
    pub(super) side: ServerSide,
    pub(super) own: Arc<SigningKey>,
    /// None: this server runs alone, and its own signature makes an account whole.
    pub(super) peer: Option<VerifyingKey>,
}

/// The state of all accounts of a server.
#[derive(Debug)]
pub(super) struct Book {
    signers: Signers,
    rules: HashMap<GroupId, Rules>,
    accounts: BTreeMap<Who, Account>,
    /// Whose each key is, registrations that wait among them.
    holders: HashMap<(GroupId, [u8; KEY_BYTES]), UserId>,
    /// By group.
    counts: HashMap<GroupId, usize>,
    pending: HashMap<Who, Pending>,
    /// What the other server signed and this one has no use for yet.
    offers: HashMap<Who, Offer>,
    said: HashMap<Who, Instant>,
    timeout: Duration,
}

/// A registration that waits for the other server.
#[derive(Debug)]
struct Pending {
    account: Account,
    waiters: Vec<Ticket>,
    until: Instant,
}

#[derive(Debug)]
struct Offer {
    key: VerifyingKey,
    epoch: Epoch,
    signature: [u8; SIGNATURE_BYTES],
    until: Instant,
}

impl Book {
    /// These accounts, by these rules. A registration waits for `timeout` at the most.
    pub(super) fn new(
        signers: Signers,
        rules: HashMap<GroupId, Rules>,
        accounts: BTreeMap<Who, Account>,
        timeout: Duration,
    ) -> Book {
        let holders =
            accounts.iter().map(|((group, user), account)| ((*group, account.key.to_bytes()), *user));
        let mut counts = HashMap::new();
        accounts.keys().for_each(|(group, _)| *counts.entry(*group).or_default() += 1);
        Book {
            holders: holders.collect(),
            counts,
            signers,
            rules,
            accounts,
            pending: HashMap::new(),
            offers: HashMap::new(),
            said: HashMap::new(),
            timeout,
        }
    }

    /// All accounts, ascending.
    pub(super) fn accounts(&self) -> &BTreeMap<Who, Account> {
        &self.accounts
    }

    /// How a group's accounts come about; none: its users are not known here.
    pub(super) fn rules(&self, group: GroupId) -> Option<Rules> {
        self.rules.get(&group).copied()
    }

    /// Registrations that wait.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Whether an account serves.
    pub(super) fn serves(&self, group: GroupId, account: &Account) -> bool {
        self.rules(group).is_some_and(|rules| rules.listed) || self.is_whole(account)
    }

    /// Takes a registration.
    pub(super) fn register(&mut self, registration: Registration, now: Instant, out: &mut Vec<Effect>) {
        let Registration { ticket, group, epoch, user, key } = registration;
        let who = (group, user);
        if let Err(code) = self.take(who, key, epoch, ticket, now, out) {
            out.push(Effect::Answer(ticket, Err(code)));
        }
    }

    fn take(
        &mut self,
        who: Who,
        key: VerifyingKey,
        epoch: Epoch,
        ticket: Ticket,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Code> {
        let (group, user) = who;
        let rules = self.rules(group).ok_or(Code::RegistrationClosed)?;
        if epoch.0 > EPOCH_MAX {
            return Err(Code::RegistrationWrong);
        }
        let until = now + self.timeout;
        if let Some(account) = self.accounts.get(&who).copied() {
            if account.key != key {
                return Err(Code::AccountTaken);
            }
            if self.is_whole(&account) {
                out.push(Effect::Answer(ticket, Ok(self.outcome(&account))));
                return Ok(());
            }
            self.wait(who, account, ticket, until)?;
        } else {
            if !rules.open {
                return Err(Code::RegistrationClosed);
            }
            let holder = self.holders.get(&(group, key.to_bytes()));
            if holder.is_some_and(|holder| *holder != user) {
                return Err(Code::AccountTaken);
            }
            let same = |pending: &Pending| pending.account.key == key && pending.account.epoch == epoch;
            let waiting = self.pending.get(&who);
            if waiting.is_some_and(|pending| !same(pending)) {
                return Err(Code::AccountTaken);
            }
            let is_new = waiting.is_none();
            if self.counts.get(&group).is_some_and(|count| *count >= rules.accounts_max) {
                return Err(Code::GroupFull);
            }
            let account = Account::new(key, epoch);
            if self.is_whole(&account) {
                let account = self.keep(who, account, out);
                out.push(Effect::Answer(ticket, Ok(self.outcome(&account))));
                return Ok(());
            }
            self.wait(who, account, ticket, until)?;
            self.holders.insert((group, key.to_bytes()), user);
            if is_new {
                // What was said of an earlier registration is no word of this one.
                self.said.remove(&who);
            }
        }
        self.say(who, now, out);
        if let Some(offer) = self.offers.remove(&who) {
            self.compare(who, offer.key, offer.epoch, offer.signature, now, out);
        }
        Ok(())
    }

    /// Waits for the other server's signature.
    fn wait(&mut self, who: Who, account: Account, ticket: Ticket, until: Instant) -> Result<(), Code> {
        let full = self.pending.len() >= REGISTRATIONS_PENDING_MAX;
        match self.pending.entry(who) {
            // Who asks again and again is answered all at once; each connection waits for few.
            Entry::Occupied(mut pending) => pending.get_mut().waiters.push(ticket),
            Entry::Vacant(_) if full => return Err(Code::StrangersFull),
            Entry::Vacant(vacant) => {
                vacant.insert(Pending { account, waiters: vec![ticket], until });
            }
        }
        Ok(())
    }

    /// The other server says that it has this key for this user.
    pub(super) fn signed(&mut self, signed: &KeySigned, now: Instant, out: &mut Vec<Effect>) {
        let who = (GroupId(signed.group.get()), UserId(signed.user.get()));
        let epoch = Epoch(signed.epoch.get());
        if self.rules(who.0).is_none() {
            return;
        }
        let key = VerifyingKey::from_bytes(&signed.key).ok().filter(|key| {
            let statement = statements::key(who.0, epoch, who.1, key);
            self.signers.peer.is_some_and(|peer| peer.verify(&statement, &signed.signature))
        });
        match key {
            Some(key) => self.compare(who, key, epoch, signed.signature, now, out),
            None => {
                out.push(Effect::SignedFalse(who));
                self.fail(who, Code::RegistrationWrong, out);
            }
        }
    }

    /// Compares what the other server signed with what is here.
    fn compare(
        &mut self,
        who: Who,
        key: VerifyingKey,
        epoch: Epoch,
        signature: [u8; SIGNATURE_BYTES],
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let other = self.signers.side.other().index();
        let equal = |account: &Account| account.key == key && account.epoch == epoch;
        let until = now + self.timeout;
        if let Some(account) = self.accounts.get(&who).copied() {
            if equal(&account) {
                if account.signatures[other].is_none() {
                    let mut account = account;
                    account.signatures[other] = Some(signature);
                    let account = self.keep(who, account, out);
                    self.answer_all(who, &account, out);
                    // The other server may have forgotten what it heard just now: it hears it once for each signature
                    // that is new here, which ends.
                    if self.said.get(&who).is_some_and(|said| *said < now) {
                        self.said.remove(&who);
                    }
                }
                self.say(who, now, out);
                return;
            }
            if key == account.key {
                out.push(Effect::EpochsUnequal(who, [account.epoch, epoch]));
            }
            if epoch > account.epoch {
                // The other operator gave the user a new key first.
                self.offer(who, Offer { key, epoch, signature, until });
            } else {
                out.push(Effect::Unequal(who));
                self.say(who, now, out);
            }
            return;
        }
        match self.pending.get(&who).map(|pending| pending.account) {
            Some(mut account) if equal(&account) => {
                account.signatures[other] = Some(signature);
                let account = self.keep(who, account, out);
                self.answer_all(who, &account, out);
                self.say(who, now, out);
            }
            Some(_) => {
                // The other server finds the same, from what this one says.
                self.say(who, now, out);
                out.push(Effect::Unequal(who));
                self.fail(who, Code::KeysUnequal, out);
            }
            None => self.offer(who, Offer { key, epoch, signature, until }),
        }
    }

    fn offer(&mut self, who: Who, offer: Offer) {
        // What does not fit is said again by the other server when this one says its own.
        if self.offers.len() < REGISTRATIONS_PENDING_MAX || self.offers.contains_key(&who) {
            self.offers.insert(who, offer);
        }
    }

    /// The operator adds accounts: all of them, or none.
    ///
    /// # Errors
    /// A sentence about the first that cannot be.
    pub(super) fn add(
        &mut self,
        group: GroupId,
        epoch: Epoch,
        users: &[(UserId, VerifyingKey)],
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<usize, String> {
        let rules = self.changeable(group)?;
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
        if self.counts.get(&group).copied().unwrap_or_default() + new.len() > rules.accounts_max {
            return Err(format!("group {group} may have {} accounts at the most", rules.accounts_max));
        }
        for (&user, &key) in &new {
            let who = (group, user);
            // Who comes over the network meanwhile has the same key, or loses.
            self.fail(who, Code::AccountTaken, out);
            if let Some(holder) = self.holders.get(&(group, key.to_bytes())).copied() {
                self.fail((group, holder), Code::AccountTaken, out);
            }
            self.establish(who, Account::new(key, epoch), now, out);
        }
        Ok(new.len())
    }

    /// The operator gives a user a new key, from the next epoch of the account on, or from a later one that is named: then
    /// it may be the same key, so that two servers that have it from different epochs on come together.
    ///
    /// # Errors
    /// A sentence: there is no such account, or the key is another user's, or the same, or the epoch is none after it.
    pub(super) fn rotate(
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
        if let Some(holder) = self.holders.get(&(group, key.to_bytes())).copied() {
            self.fail((group, holder), Code::AccountTaken, out);
        }
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
    pub(super) fn remove(&mut self, who: Who, out: &mut Vec<Effect>) -> Result<(), String> {
        let (group, user) = who;
        self.changeable(group)?;
        let Some(account) = self.accounts.remove(&who) else {
            return Err(format!("user {} of group {group} has no account", user.0));
        };
        self.fail(who, Code::NotRegistered, out);
        self.holders.remove(&(group, account.key.to_bytes()));
        self.offers.remove(&who);
        *self.counts.entry(group).or_default() -= 1;
        out.push(Effect::Forget(who));
        out.push(Effect::Revoke(who));
        Ok(())
    }

    /// The link is up: what the other server has to hear, which [`Book::say`] says one by one.
    pub(super) fn unsigned(&mut self) -> Vec<Who> {
        self.said.clear();
        let other = self.signers.side.other().index();
        let unsigned = self.accounts.iter().filter(|(_, account)| account.signatures[other].is_none());
        let unsigned = unsigned.map(|(who, _)| *who);
        unsigned.chain(self.pending.keys().copied().filter(|who| !self.accounts.contains_key(who))).collect()
    }

    /// Says the key of a user to the other server, unless it was said just now.
    pub(super) fn say(&mut self, who: Who, now: Instant, out: &mut Vec<Effect>) {
        if self.said.get(&who).is_some_and(|said| now < *said + SAID) {
            return;
        }
        let pending = self.pending.get(&who).map(|pending| pending.account);
        let Some(account) = self.accounts.get(&who).copied().or(pending) else { return };
        let own = self.signers.side.index();
        let signature = account.signatures[own].unwrap_or_else(|| self.sign(who, &account));
        if let Some(kept) = self.accounts.get_mut(&who) {
            kept.signatures[own] = Some(signature);
        }
        self.said.insert(who, now);
        out.push(Effect::Say(KeySigned {
            group: who.0.0.into(),
            epoch: account.epoch.0.into(),
            user: who.1.0.into(),
            reserved: 0.into(),
            key: account.key.to_bytes(),
            signature,
        }));
    }

    /// What waited too long is over.
    pub(super) fn expire(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let late = self.pending.iter().filter(|(_, pending)| now >= pending.until);
        let late: Vec<Who> = late.map(|(who, _)| *who).collect();
        late.into_iter().for_each(|who| self.fail(who, Code::RegistrationHalf, out));
        self.offers.retain(|_, offer| now < offer.until);
        self.said.retain(|_, said| now < *said + SAID);
    }

    /// Keeps an account that the operator made, with the other server's signature if that came before.
    fn establish(&mut self, who: Who, account: Account, now: Instant, out: &mut Vec<Effect>) {
        self.said.remove(&who);
        self.keep(who, account, out);
        self.say(who, now, out);
        if let Some(offer) = self.offers.remove(&who) {
            self.compare(who, offer.key, offer.epoch, offer.signature, now, out);
        }
    }

    /// Keeps an account, which this server signs if it has not.
    fn keep(&mut self, who: Who, mut account: Account, out: &mut Vec<Effect>) -> Account {
        let own = self.signers.side.index();
        if account.signatures[own].is_none() {
            account.signatures[own] = Some(self.sign(who, &account));
        }
        self.holders.insert((who.0, account.key.to_bytes()), who.1);
        if self.accounts.insert(who, account).is_none() {
            *self.counts.entry(who.0).or_default() += 1;
        }
        out.push(Effect::Keep(who, account));
        account
    }

    fn answer_all(&mut self, who: Who, account: &Account, out: &mut Vec<Effect>) {
        let outcome = self.outcome(account);
        let waiters = self.pending.remove(&who).map(|pending| pending.waiters).unwrap_or_default();
        out.extend(waiters.into_iter().map(|ticket| Effect::Answer(ticket, Ok(outcome))));
    }

    /// Ends a registration that waits, and keeps nothing of it.
    fn fail(&mut self, who: Who, code: Code, out: &mut Vec<Effect>) {
        let Some(pending) = self.pending.remove(&who) else { return };
        if !self.accounts.contains_key(&who) {
            self.holders.remove(&(who.0, pending.account.key.to_bytes()));
        }
        out.extend(pending.waiters.into_iter().map(|ticket| Effect::Answer(ticket, Err(code))));
    }

    /// Ends all registrations that wait.
    pub(super) fn fail_all(&mut self, code: Code, out: &mut Vec<Effect>) {
        let waiting: Vec<Who> = self.pending.keys().copied().collect();
        waiting.into_iter().for_each(|who| self.fail(who, code, out));
    }

    /// Who of the accounts has a key; who waits with it is not asked.
    fn accounts_holder(&self, group: GroupId, key: &VerifyingKey) -> Option<UserId> {
        let holder = self.holders.get(&(group, key.to_bytes())).copied()?;
        let account = self.accounts.get(&(group, holder))?;
        (account.key == *key).then_some(holder)
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

    fn is_whole(&self, account: &Account) -> bool {
        let other = self.signers.side.other().index();
        self.signers.peer.is_none() || account.signatures[other].is_some()
    }

    fn outcome(&self, account: &Account) -> (Epoch, [[u8; SIGNATURE_BYTES]; 2]) {
        (account.epoch, account.signatures.map(|signature| signature.unwrap_or([0; SIGNATURE_BYTES])))
    }

    fn sign(&self, (group, user): Who, account: &Account) -> [u8; SIGNATURE_BYTES] {
        self.signers.own.sign(&statements::key(group, account.epoch, user, &account.key))
    }
}

/// Whether there may be such an epoch.
fn check_epoch(epoch: Epoch) -> Result<(), String> {
    match epoch.0 <= EPOCH_MAX {
        true => Ok(()),
        false => Err(format!("epoch {} is beyond the last one, {EPOCH_MAX}", epoch.0)),
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
