//! Who has an account, and who is about to: the rules, without a disk, a socket or a clock.
//!
//! A registration waits until the other server has signed the same key for the same user from the same epoch on; until
//! then nothing of it is kept, so that nobody takes a user's number by coming to one server alone. Several keys may wait
//! for one number, of whom strangers may be some: S2 signs each of them, and S1 none before S2 has signed it and it has
//! come to S1, too. So S1 decides, and no two keys are ever kept. An account that the operator adds is kept and signed at
//! once, and serves nobody before the other server has signed it, too: the two operators add it one after the other.
//! Whoever hears a KEY_SIGNED that agrees with what it has says its own, once in a while, so that the two come together
//! whichever of them had forgotten what.

use super::saying::Saying;
use super::store::Account;
use super::waiting::{Candidate, KEYS_PER_USER_MAX, Waiting};
use crate::front::Outcome;
use crate::group::ConnectionId;
use crate::limits::{ACCOUNTS_PER_MEMBER_MAX, EPOCH_MAX, REGISTRATIONS_PENDING_MAX};
use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};
use twincast_protocol::identity::{KEY_BYTES, SIGNATURE_BYTES, SigningKey, VerifyingKey};
use twincast_protocol::ids::{Epoch, GroupId, ServerSide, UserId};
use twincast_protocol::statements;
use twincast_protocol::wire::Code;
use twincast_protocol::wire::link::KeySigned;

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
    /// Where it came from: an address has so many places among those that wait.
    pub(crate) address: u64,
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
    /// The most accounts that come by registration.
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
    waiting: Waiting,
    /// What the other server signed and this one has no use for yet, by user and key.
    offers: BTreeMap<(Who, [u8; KEY_BYTES]), Offer>,
    saying: Saying,
    timeout: Duration,
}

#[derive(Clone, Copy, Debug)]
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
            waiting: Waiting::new(rules.values().filter(|rules| rules.open).count()),
            rules,
            accounts,
            offers: BTreeMap::new(),
            saying: Saying::default(),
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
        self.waiting.len()
    }

    /// Whether an account serves.
    pub(super) fn serves(&self, group: GroupId, account: &Account) -> bool {
        self.rules(group).is_some_and(|rules| rules.listed) || self.is_whole(account)
    }

    /// Takes a registration.
    pub(super) fn register(&mut self, registration: Registration, now: Instant, out: &mut Vec<Effect>) {
        let ticket = registration.ticket;
        if let Err(code) = self.take(registration, now, out) {
            out.push(Effect::Answer(ticket, Err(code)));
        }
    }

    fn take(&mut self, registration: Registration, now: Instant, out: &mut Vec<Effect>) -> Result<(), Code> {
        let Registration { ticket, address, group, epoch, user, key } = registration;
        let who = (group, user);
        let rules = self.rules(group).ok_or(Code::RegistrationClosed)?;
        if epoch.0 > EPOCH_MAX {
            return Err(Code::RegistrationWrong);
        }
        let known = self.accounts.get(&who).copied();
        let account = known.unwrap_or_else(|| Account::new(key, epoch));
        match known {
            Some(account) if account.key != key => return Err(Code::AccountTaken),
            Some(_) => {}
            None => {
                if !rules.open {
                    return Err(Code::RegistrationClosed);
                }
                let holder = self.holders.get(&(group, key.to_bytes()));
                if holder.is_some_and(|holder| *holder != user) {
                    return Err(Code::AccountTaken);
                }
                if self.is_full(group) {
                    return Err(Code::GroupFull);
                }
            }
        }
        if self.is_whole(&account) {
            let account = known.unwrap_or_else(|| self.keep(who, account, out));
            out.push(Effect::Answer(ticket, Ok(self.outcome(&account))));
            if self.proposes() {
                // S1 may have forgotten it, and does not ask by itself.
                self.say(who, &key, now);
            }
            return Ok(());
        }
        if !self.waiting.join(who, &account, ticket) {
            self.waiting.room(who, address, rules.accounts_max)?;
            let until = now + self.timeout;
            let candidate = Candidate { account, address, waiters: vec![ticket], until, unequal: false };
            self.waiting.insert(who, candidate);
            self.holders.insert((group, key.to_bytes()), user);
            if known.is_none() {
                // What was said of an earlier registration is no word of this one.
                self.saying.forget(who, key.to_bytes());
            }
        }
        if known.is_some() || self.proposes() {
            self.say(who, &key, now);
        }
        let mut offers = self.offers.range(of(who)).map(|(_, offer)| *offer).peekable();
        let is_offered = offers.peek().is_some();
        let equal = offers.find(|offer| offer.key == key && offer.epoch == account.epoch);
        match equal {
            Some(offer) => self.compare(who, offer, now, out),
            None if known.is_none() && is_offered => self.unequal(who, out),
            None => {}
        }
        Ok(())
    }

    /// Whether this server signs what waits before the other one has.
    fn proposes(&self) -> bool {
        self.signers.side == ServerSide::Two
    }

    fn is_full(&self, group: GroupId) -> bool {
        let most = self.rules(group).map_or(0, |rules| rules.accounts_max);
        self.counts.get(&group).is_some_and(|count| *count >= most)
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
            Some(key) => {
                let until = now + self.timeout;
                self.compare(who, Offer { key, epoch, signature: signed.signature, until }, now, out);
            }
            None => {
                out.push(Effect::SignedFalse(who));
                self.fail(who, Code::RegistrationWrong, out);
            }
        }
    }

    /// Compares what the other server signed with what is here.
    fn compare(&mut self, who: Who, offer: Offer, now: Instant, out: &mut Vec<Effect>) {
        let Offer { key, epoch, signature, .. } = offer;
        let other = self.signers.side.other().index();
        let equal = |account: &Account| account.key == key && account.epoch == epoch;
        if let Some(account) = self.accounts.get(&who).copied() {
            if equal(&account) {
                if account.signatures[other].is_none() {
                    self.complete(who, account, signature, out);
                    // The other server may have forgotten what it heard just now: it hears it once for each signature
                    // that is new here, which ends.
                    self.saying.forget_older(who, key.to_bytes(), now);
                }
                self.say(who, &key, now);
                return;
            }
            if key == account.key {
                out.push(Effect::EpochsUnequal(who, [account.epoch, epoch]));
            }
            if epoch > account.epoch {
                // The other operator gave the user a new key first.
                self.offer(who, offer);
            } else {
                out.push(Effect::Unequal(who));
                self.say(who, &account.key, now);
            }
            return;
        }
        match self.waiting.of(who).iter().find(|candidate| equal(&candidate.account)) {
            Some(_) if !self.proposes() && self.is_full(who.0) => self.fail(who, Code::GroupFull, out),
            Some(candidate) => {
                self.complete(who, candidate.account, signature, out);
                self.say(who, &key, now);
            }
            None => {
                self.offer(who, offer);
                self.unequal(who, out);
            }
        }
    }

    /// Both servers have signed an account: whoever waits for it has it, and whoever waits for the number by another key
    /// does not.
    fn complete(
        &mut self,
        who: Who,
        mut account: Account,
        signature: [u8; SIGNATURE_BYTES],
        out: &mut Vec<Effect>,
    ) {
        account.signatures[self.signers.side.other().index()] = Some(signature);
        let account = self.keep(who, account, out);
        let outcome = self.outcome(&account);
        let equal = |one: &Candidate| one.account.key == account.key && one.account.epoch == account.epoch;
        let candidates = self.waiting.take(who, equal);
        let waiters = candidates.into_iter().flat_map(|candidate| candidate.waiters);
        out.extend(waiters.map(|ticket| Effect::Answer(ticket, Ok(outcome))));
        self.fail(who, Code::AccountTaken, out);
        self.offers_for(who);
    }

    /// The other server signed another key than any that waits here. S1 signs what it keeps, so that is the end of it; of
    /// what S2 signs the right one may come yet.
    fn unequal(&mut self, who: Who, out: &mut Vec<Effect>) {
        if self.waiting.of(who).iter().all(|candidate| candidate.unequal) {
            return;
        }
        out.push(Effect::Unequal(who));
        match self.proposes() {
            true => self.fail(who, Code::KeysUnequal, out),
            false => self.waiting.mark_unequal(who),
        }
    }

    fn offer(&mut self, who: Who, offer: Offer) {
        let of_user = self.offers.range(of(who));
        let (count, oldest) = of_user.fold((0, None), |(count, oldest): (usize, Option<_>), (at, offer)| {
            let older = oldest.filter(|(_, until)| *until <= offer.until);
            (count + 1, older.or(Some((*at, offer.until))))
        });
        // S1 says what it keeps, which is one key; of S2's there are as many as may wait for a number.
        let most = if self.proposes() { 1 } else { KEYS_PER_USER_MAX };
        if let Some((oldest, _)) = oldest.filter(|_| count >= most) {
            self.offers.remove(&oldest);
        }
        let at = (who, offer.key.to_bytes());
        if self.offers.len() < REGISTRATIONS_PENDING_MAX || self.offers.contains_key(&at) {
            self.offers.insert(at, offer);
        }
    }

    /// Takes what the other server signed for a user.
    fn offers_for(&mut self, who: Who) -> Vec<Offer> {
        let offers: Vec<_> = self.offers.range(of(who)).map(|(at, _)| *at).collect();
        offers.iter().filter_map(|at| self.offers.remove(at)).collect()
    }

    /// The link is up: the other server has to hear of all that it has not signed.
    pub(super) fn link_up(&mut self, now: Instant) {
        self.saying.up();
        let other = self.signers.side.other().index();
        let unsigned = self.accounts.iter().filter(|(_, account)| account.signatures[other].is_none());
        let unsigned = unsigned.map(|(who, account)| (*who, account.key));
        let proposed = self.waiting.iter().filter(|_| self.proposes());
        let proposed = proposed.map(|(who, candidate)| (who, candidate.account.key));
        let all: Vec<(Who, VerifyingKey)> = unsigned.chain(proposed).collect();
        all.iter().for_each(|(who, key)| self.say(*who, key, now));
    }

    /// The link is down.
    pub(super) fn link_down(&mut self) {
        self.saying.down();
    }

    /// Whether the other server has something to hear.
    pub(super) fn has_to_say(&self) -> bool {
        self.saying.is_waiting()
    }

    /// Says up to so many keys to the other server, as far as the pace allows it.
    pub(super) fn speak(&mut self, most: usize, now: Instant, out: &mut Vec<Effect>) {
        for _ in 0..most {
            let Some(next) = self.saying.next(now) else { return };
            // Who does not wait any more, or has another key by now, uses up nothing of the pace.
            if let Some(signed) = self.key_signed(next) {
                self.saying.spoke(next, now);
                out.push(Effect::Say(signed));
            }
        }
    }

    /// The other server is to hear of a key, unless it did just now.
    fn say(&mut self, who: Who, key: &VerifyingKey, now: Instant) {
        self.saying.want(who, key.to_bytes(), now);
    }

    /// This server's word of a key that a user has, or that waits for its number.
    fn key_signed(&mut self, (who, key): (Who, [u8; KEY_BYTES])) -> Option<KeySigned> {
        let has_it = |account: &Account| account.key.to_bytes() == key;
        let waiting = self.waiting.of(who).iter().map(|candidate| candidate.account);
        let account = match self.accounts.get(&who).copied() {
            Some(account) => Some(account).filter(has_it)?,
            None => waiting.filter(|_| self.proposes()).find(has_it)?,
        };
        let own = self.signers.side.index();
        let signature = account.signatures[own].unwrap_or_else(|| self.sign(who, &account));
        if let Some(kept) = self.accounts.get_mut(&who) {
            kept.signatures[own] = Some(signature);
        }
        Some(KeySigned {
            group: who.0.0.into(),
            epoch: account.epoch.0.into(),
            user: who.1.0.into(),
            reserved: 0.into(),
            key,
            signature,
        })
    }

    /// What waited too long is over.
    pub(super) fn expire(&mut self, now: Instant, out: &mut Vec<Effect>) {
        for who in self.waiting.late(now) {
            let late = |candidate: &Candidate| now >= candidate.until;
            for candidate in self.release(who, late) {
                let code = if candidate.unequal { Code::KeysUnequal } else { Code::RegistrationHalf };
                out.extend(candidate.waiters.into_iter().map(|ticket| Effect::Answer(ticket, Err(code))));
            }
        }
        self.offers.retain(|_, offer| now < offer.until);
        self.saying.expire(now);
    }

    /// Keeps an account that the operator made, with the other server's signature if that came before.
    fn establish(&mut self, who: Who, account: Account, now: Instant, out: &mut Vec<Effect>) {
        self.saying.forget(who, account.key.to_bytes());
        self.keep(who, account, out);
        self.say(who, &account.key, now);
        for offer in self.offers_for(who) {
            self.compare(who, offer, now, out);
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

    /// Ends the registrations that wait for a user's number, and keeps nothing of them.
    fn fail(&mut self, who: Who, code: Code, out: &mut Vec<Effect>) {
        self.fail_those(who, code, |_| true, out);
    }

    /// Ends the registration that waits with a key, which the operator gives to somebody.
    fn fail_holder(&mut self, group: GroupId, key: &VerifyingKey, out: &mut Vec<Effect>) {
        if let Some(holder) = self.holders.get(&(group, key.to_bytes())).copied() {
            let has_it = |candidate: &Candidate| candidate.account.key == *key;
            self.fail_those((group, holder), Code::AccountTaken, has_it, out);
        }
    }

    fn fail_those(
        &mut self,
        who: Who,
        code: Code,
        meant: impl Fn(&Candidate) -> bool,
        out: &mut Vec<Effect>,
    ) {
        let waiters = self.release(who, meant).into_iter().flat_map(|candidate| candidate.waiters);
        out.extend(waiters.map(|ticket| Effect::Answer(ticket, Err(code))));
    }

    /// Takes those out that are meant, of those who wait for a user's number: their keys are anybody's again.
    fn release(&mut self, who: Who, meant: impl Fn(&Candidate) -> bool) -> Vec<Candidate> {
        let released = self.waiting.take(who, meant);
        for key in released.iter().map(|candidate| candidate.account.key) {
            let still = self.accounts.get(&who).is_some_and(|account| account.key == key)
                || self.waiting.of(who).iter().any(|candidate| candidate.account.key == key);
            if !still {
                self.holders.remove(&(who.0, key.to_bytes()));
            }
        }
        released
    }

    /// Ends all registrations that wait.
    pub(super) fn fail_all(&mut self, code: Code, out: &mut Vec<Effect>) {
        self.waiting.users().into_iter().for_each(|who| self.fail(who, code, out));
    }

    /// Who of the accounts has a key; who waits with it is not asked.
    fn accounts_holder(&self, group: GroupId, key: &VerifyingKey) -> Option<UserId> {
        let holder = self.holders.get(&(group, key.to_bytes())).copied()?;
        let account = self.accounts.get(&(group, holder))?;
        (account.key == *key).then_some(holder)
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

/// Where what the other server signed for a user is.
fn of(who: Who) -> RangeInclusive<(Who, [u8; KEY_BYTES])> {
    (who, [0; KEY_BYTES])..=(who, [u8::MAX; KEY_BYTES])
}

#[path = "book_operator.rs"]
mod operator;

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
