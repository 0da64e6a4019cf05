//! The registry's thread: hears what there is, commits what changes all at once, and only then says what came of it.

use super::book::{Book, Effect, Ticket, Who};
use super::command::Reply;
use super::handle::Told;
use super::store::{Account, RegistryError, Store};
use super::throttle::Throttle;
use super::{AccountsHandle, Directory};
use crate::front::{FrontHandle, FrontMessage, Outcome};
use crate::limits::REGISTRY_BATCH_MAX;
use crate::link::{LinkHandle, SessionId, ToLink};
use crate::metrics::Metrics;
use crossbeam::channel::{Receiver, RecvTimeoutError};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};
use twincast_protocol::ids::GroupId;
use twincast_protocol::wire::Code;
use twincast_protocol::wire::link::LinkFrame;

/// How long it waits before it looks at the link and at time limits.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How soon something that found no room is tried again.
const RETRY: Duration = Duration::from_millis(1);
/// How soon a file that failed is opened anew. Each time all accounts are read, which strangers must not ask for at will.
const REOPEN_AFTER: Duration = Duration::from_secs(1);
/// Keys that are said to the other server in one turn.
const SAY_MAX: usize = 512;

/// Makes the book of what is in the file.
pub(super) type Reopen = Box<dyn Fn(&Store) -> Result<Book, RegistryError> + Send>;

/// The state of the thread.
pub(super) struct Registrar {
    pub(super) book: Book,
    /// None: all groups have lists, and nothing is kept.
    pub(super) store: Option<Arc<Store>>,
    pub(super) directory: Arc<Directory>,
    pub(super) handle: Arc<AccountsHandle>,
    pub(super) told: Receiver<Told>,
    pub(super) fronts: Vec<Arc<FrontHandle>>,
    /// By group: the executor that owns it.
    pub(super) owner: Box<dyn Fn(GroupId) -> Option<usize> + Send>,
    pub(super) link: Option<Arc<LinkHandle>>,
    pub(super) metrics: Arc<Metrics>,
    /// The link's session, as far as this thread has followed it.
    pub(super) session: Option<SessionId>,
    /// Messages for executors whose queue was full, in order.
    pub(super) unsent: VecDeque<(usize, FrontMessage)>,
    /// What makes the book anew from the file, where a change could not be kept.
    pub(super) reopen: Reopen,
    /// None: the book has what is on the disk.
    pub(super) failed: Option<Failed>,
    /// When time limits were looked at last.
    pub(super) looked: Option<Instant>,
    /// What others can make the log say.
    pub(super) said_false: Throttle,
    pub(super) unequal: Throttle,
    pub(super) epochs_unequal: Throttle,
}

/// Something could not be kept: the book has more than the disk may have, and nobody is answered from it.
#[derive(Debug)]
pub(super) struct Failed {
    /// Why.
    sentence: String,
    /// Whose accounts were to change: the disk has it, or has it not.
    users: BTreeSet<Who>,
    /// When the file is read again.
    again: Instant,
}

impl Registrar {
    /// Runs until the server stops.
    pub(super) fn run(mut self) {
        let mut effects = Vec::new();
        let mut replies: Vec<(SyncSender<Reply>, Reply)> = Vec::new();
        loop {
            let busy = self.book.has_to_say() || !self.unsent.is_empty();
            let first = self.told.recv_timeout(if busy { RETRY } else { LOOK_EVERY });
            let now = Instant::now();
            self.recover(now);
            self.follow_link(now);
            let mut next = match first {
                Ok(told) => Some(told),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let (mut stop, mut taken) = (false, 0);
            while let Some(told) = next.take() {
                stop = self.hear(told, now, &mut effects, &mut replies);
                taken += 1;
                if !stop && taken < REGISTRY_BATCH_MAX {
                    next = self.told.try_recv().ok();
                }
            }
            // All that wait are looked at: not at each of the turns that strangers' registrations make.
            if self.looked.is_none_or(|looked| now >= looked + LOOK_EVERY) {
                self.looked = Some(now);
                self.book.expire(now, &mut effects);
            }
            let link = self.link.as_ref().filter(|link| self.session.is_some() && link.has_room());
            if link.is_some() {
                self.book.speak(SAY_MAX, now, &mut effects);
            }
            self.settle(now, &mut effects, &mut replies);
            self.metrics.registrations_pending.store(self.book.pending() as u64, Relaxed);
            if stop {
                return;
            }
        }
    }

    /// Takes one message. Returns whether it is the last.
    fn hear(
        &mut self,
        told: Told,
        now: Instant,
        effects: &mut Vec<Effect>,
        replies: &mut Vec<(SyncSender<Reply>, Reply)>,
    ) -> bool {
        if let Some(failed) = &self.failed {
            match told {
                Told::Register(registration) => {
                    effects.push(Effect::Answer(registration.ticket, Err(Code::RegistrationHalf)));
                }
                Told::Command(_, sender) => replies.push((sender, Err(failed.sentence.clone()))),
                // All that lacks a signature is said again once the file is well, and this one after it.
                Told::Signed(_) => {}
                Told::Stop => return true,
            }
            return false;
        }
        match told {
            Told::Register(registration) => self.book.register(registration, now, effects),
            Told::Signed(signed) => self.book.signed(&signed, now, effects),
            Told::Command(command, sender) => {
                let reply = command.perform(&mut self.book, now, effects);
                replies.push((sender, reply));
            }
            Told::Stop => return true,
        }
        false
    }

    /// A new session of the link: the other server hears of every key that it has not signed.
    fn follow_link(&mut self, now: Instant) {
        let session = self.handle.session();
        if session != self.session && self.failed.is_none() {
            self.session = session;
            match session {
                Some(_) => self.book.link_up(now),
                None => self.book.link_down(),
            }
        }
    }

    /// Keeps what changed, and then says what came of it. Where it cannot be kept, nothing has changed, and whoever waits
    /// hears that.
    fn settle(
        &mut self,
        now: Instant,
        effects: &mut Vec<Effect>,
        replies: &mut Vec<(SyncSender<Reply>, Reply)>,
    ) {
        let (kept, users) = self.keep(effects);
        if let Err(error) = kept {
            tracing::error!(%error, "accounts could not be kept: registrations and admin commands of this moment are void");
            self.metrics.registry_failures.fetch_add(1, Relaxed);
            // The book that is read anew knows of nobody who waits.
            self.book.fail_all(Code::RegistrationHalf, effects);
            self.book.link_down();
            let sentence = error.to_string();
            for effect in effects.drain(..) {
                if let Effect::Answer(ticket, _) = effect {
                    self.answer(ticket, Err(Code::RegistrationHalf));
                }
            }
            for (sender, reply) in replies.drain(..) {
                let _ = sender.send(reply.and_then(|_| Err(sentence.clone())));
            }
            self.failed = Some(Failed { sentence, users, again: now + REOPEN_AFTER });
        }
        for effect in effects.drain(..) {
            self.perform(effect, now);
        }
        for (sender, reply) in replies.drain(..) {
            // An operator who has gone away does not hear it.
            let _ = sender.send(reply);
        }
        while let Some((front, message)) = self.unsent.pop_front() {
            if let Err(message) = self.fronts[front].send(message) {
                self.unsent.push_front((front, message));
                break;
            }
        }
    }

    /// Reads the file again where it failed. A commit that failed may be on the disk: what the file says is what holds.
    fn recover(&mut self, now: Instant) {
        let Some(failed) = self.failed.as_mut().filter(|failed| now >= failed.again) else { return };
        let Some(store) = &self.store else { return };
        match (self.reopen)(store) {
            Ok(book) => {
                let users = std::mem::take(&mut failed.users);
                (self.book, self.failed, self.session) = (book, None, None);
                users.into_iter().for_each(|who| self.serve_as_kept(who));
                tracing::warn!("accounts were read anew: registrations and admin commands are taken again");
            }
            Err(error) => {
                (failed.sentence, failed.again) = (error.to_string(), now + REOPEN_AFTER);
                tracing::error!(%error, "the registry cannot be read either: nobody registers, and those that are served are \
                                         served on");
            }
        }
    }

    /// Serves a user's account as the file has it.
    fn serve_as_kept(&mut self, who: Who) {
        let before = self.directory.key(who.0, who.1);
        let account = self.book.accounts().get(&who).copied();
        match account {
            Some(account) => {
                let serves = self.book.serves(who.0, &account);
                self.directory.keep(who.0, who.1, &account, serves);
            }
            None => self.directory.remove(who.0, who.1),
        }
        if before.is_some_and(|before| account.is_none_or(|account| account.key != before)) {
            self.perform(Effect::Revoke(who), Instant::now());
        }
    }

    /// Keeps what changed. Whose accounts that are goes with it.
    fn keep(&self, effects: &[Effect]) -> (Result<(), RegistryError>, BTreeSet<Who>) {
        let Some(store) = &self.store else { return (Ok(()), BTreeSet::new()) };
        let listed = |who: &Who| self.book.rules(who.0).is_some_and(|rules| rules.listed);
        let change = |effect: &Effect| match effect {
            Effect::Keep(who, account) if !listed(who) => Some((*who, Some(*account))),
            Effect::Forget(who) => Some((*who, None)),
            _ => None,
        };
        let changes: Vec<(Who, Option<Account>)> = effects.iter().filter_map(change).collect();
        let users = changes.iter().map(|(who, _)| *who).collect();
        (if changes.is_empty() { Ok(()) } else { store.commit(changes) }, users)
    }

    fn perform(&mut self, effect: Effect, now: Instant) {
        match effect {
            Effect::Keep((group, user), account) => {
                let serves = self.book.serves(group, &account);
                self.directory.keep(group, user, &account, serves);
            }
            Effect::Forget((group, user)) => self.directory.remove(group, user),
            Effect::Revoke((group, user)) => {
                if let Some(front) = (self.owner)(group) {
                    self.tell(front, FrontMessage::Revoked(group, user));
                }
            }
            Effect::Say(signed) => {
                if let (Some(link), Some(session)) = (&self.link, self.session) {
                    link.send(ToLink::Frame(session, LinkFrame::KeySigned(signed)));
                }
            }
            Effect::Answer(ticket, outcome) => self.answer(ticket, outcome),
            Effect::SignedFalse((group, user)) => {
                self.metrics.keys_signed_false.fetch_add(1, Relaxed);
                if let Some(more) = self.said_false.pass(now) {
                    tracing::warn!(
                        group = group.0,
                        user = user.0,
                        more,
                        "the other server's signature of a user's key is wrong"
                    );
                }
            }
            Effect::EpochsUnequal((group, user), [here, there]) => {
                if let Some(more) = self.epochs_unequal.pass(now) {
                    tracing::warn!(
                        group = group.0,
                        user = user.0,
                        here = here.0,
                        there = there.0,
                        more,
                        "the two servers have a user's key from different epochs on: `admin rotate --epoch` with the same key, \
                         where it is lower"
                    );
                }
            }
            Effect::Unequal((group, user)) => {
                self.metrics.keys_unequal.fetch_add(1, Relaxed);
                if let Some(more) = self.unequal.pass(now) {
                    tracing::warn!(
                        group = group.0,
                        user = user.0,
                        more,
                        "the two servers were given different keys for a user"
                    );
                }
            }
        }
    }

    fn answer(&mut self, ticket: Ticket, outcome: Outcome) {
        if outcome.is_ok() {
            self.metrics.registrations.fetch_add(1, Relaxed);
        }
        self.tell(ticket.front, FrontMessage::Registered(ticket.connection, ticket.index, Box::new(outcome)));
    }

    fn tell(&mut self, front: usize, message: FrontMessage) {
        if !self.unsent.is_empty() {
            return self.unsent.push_back((front, message));
        }
        if let Err(message) = self.fronts[front].send(message) {
            self.unsent.push_back((front, message));
        }
    }
}

#[cfg(test)]
#[path = "thread_tests.rs"]
mod tests;
