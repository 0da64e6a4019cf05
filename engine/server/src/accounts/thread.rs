//! The registry's thread: hears what there is, commits what changes all at once, and only then says what came of it.

use super::book::{Book, Effect, Ticket, Who};
use super::command::Reply;
use super::directory::Served;
use super::handle::Told;
use super::store::{Account, RegistryError, Store};
use super::{AccountsHandle, Directory};
use crate::front::{FrontHandle, FrontMessage, Outcome};
use crate::limits::REGISTRY_BATCH_MAX;
use crate::link::{LinkHandle, SessionId, ToLink};
use crate::metrics::Metrics;
use crossbeam::channel::{Receiver, RecvTimeoutError};
use std::collections::VecDeque;
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
/// Keys that are said to the other server in one turn, of those that it has to hear once the link is up.
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
    /// What the other server has yet to hear in this session.
    pub(super) to_say: VecDeque<Who>,
    /// Messages for executors whose queue was full, in order.
    pub(super) unsent: VecDeque<(usize, FrontMessage)>,
    /// What makes the book anew from the file, where a change could not be kept.
    pub(super) reopen: Reopen,
}

impl Registrar {
    /// Runs until the server stops.
    pub(super) fn run(mut self) {
        let mut effects = Vec::new();
        let mut replies: Vec<(SyncSender<Reply>, Reply)> = Vec::new();
        loop {
            let busy = !self.to_say.is_empty() || !self.unsent.is_empty();
            let first = self.told.recv_timeout(if busy { RETRY } else { LOOK_EVERY });
            let now = Instant::now();
            self.follow_link(now, &mut effects);
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
            self.book.expire(now, &mut effects);
            self.settle(&mut effects, &mut replies);
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
    fn follow_link(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let session = self.handle.session();
        if session != self.session {
            self.session = session;
            self.to_say = if session.is_some() { self.book.unsigned().into() } else { VecDeque::new() };
        }
        for _ in 0..SAY_MAX {
            if !self.link.as_ref().is_some_and(|link| link.has_room()) {
                return;
            }
            let Some(who) = self.to_say.pop_front() else { return };
            self.book.say(who, now, effects);
        }
    }

    /// Keeps what changed, and then says what came of it. Where it cannot be kept, nothing has changed, and whoever waits
    /// hears that.
    fn settle(&mut self, effects: &mut Vec<Effect>, replies: &mut Vec<(SyncSender<Reply>, Reply)>) {
        let kept = self.keep(effects);
        if let Err(error) = kept {
            tracing::error!(%error, "accounts could not be kept: registrations and admin commands of this moment are void");
            self.metrics.registry_failures.fetch_add(1, Relaxed);
            // The book that is read anew knows of nobody who waits.
            self.book.fail_all(Code::RegistrationHalf, effects);
            let reopened = self.store.as_ref().map(|store| (self.reopen)(store));
            match reopened {
                Some(Ok(book)) => self.book = book,
                Some(Err(error)) => tracing::error!(%error, "the registry cannot be read either"),
                None => {}
            }
            for effect in effects.drain(..) {
                if let Effect::Answer(ticket, _) = effect {
                    self.answer(ticket, Err(Code::RegistrationHalf));
                }
            }
            for (sender, reply) in replies.drain(..) {
                let _ = sender.send(reply.and_then(|_| Err(error.to_string())));
            }
            return;
        }
        for effect in effects.drain(..) {
            self.perform(effect);
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

    fn keep(&self, effects: &[Effect]) -> Result<(), RegistryError> {
        let Some(store) = &self.store else { return Ok(()) };
        let listed = |who: &Who| self.book.rules(who.0).is_some_and(|rules| rules.listed);
        let change = |effect: &Effect| match effect {
            Effect::Keep(who, account) if !listed(who) => Some((*who, Some(*account))),
            Effect::Forget(who) => Some((*who, None)),
            _ => None,
        };
        let changes: Vec<(Who, Option<Account>)> = effects.iter().filter_map(change).collect();
        if changes.is_empty() { Ok(()) } else { store.commit(changes) }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Keep((group, user), account) => match self.book.serves(group, &account) {
                true => self.directory.put(group, user, Served::from(&account)),
                // A new key that the other server has not signed: the old one serves no more.
                false => self.directory.remove(group, user),
            },
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
                tracing::warn!(
                    group = group.0,
                    user = user.0,
                    "the other server's signature of a user's key is wrong"
                );
            }
            Effect::EpochsUnequal((group, user), [here, there]) => tracing::warn!(
                group = group.0,
                user = user.0,
                here = here.0,
                there = there.0,
                "the two servers have a user's key from different epochs on: `admin rotate --epoch` with the same key, where it \
                 is lower"
            ),
            Effect::Unequal((group, user)) => {
                self.metrics.keys_unequal.fetch_add(1, Relaxed);
                tracing::warn!(
                    group = group.0,
                    user = user.0,
                    "the two servers were given different keys for a user"
                );
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
