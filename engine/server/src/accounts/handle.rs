//! How the other threads reach the registry's thread: a bounded queue, which nobody waits for but who asks for an
//! operator.

use super::book::Registration;
use super::command::{Command, Reply};
use crate::limits::REGISTRY_QUEUE_MAX;
use crate::link::SessionId;
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use twincast_protocol::wire::link::KeySigned;

/// What the registry's thread is told.
#[derive(Debug)]
pub(super) enum Told {
    /// A user registers; an answer goes to its executor.
    Register(Registration),
    /// The other server has signed a key.
    Signed(KeySigned),
    /// The operator wants something.
    Command(Command, SyncSender<Reply>),
    /// The server stops.
    Stop,
}

/// The other threads' end of the registry.
pub struct AccountsHandle {
    sender: Sender<Told>,
    /// The link's session; 0: it is down.
    session: AtomicU64,
}

impl AccountsHandle {
    /// A handle, and the end of the registry's thread.
    pub(super) fn new() -> (AccountsHandle, Receiver<Told>) {
        let (sender, receiver) = bounded(REGISTRY_QUEUE_MAX);
        (AccountsHandle { sender, session: AtomicU64::new(0) }, receiver)
    }

    /// A user registers. Answered by [`FrontMessage::Registered`](crate::front::FrontMessage::Registered).
    ///
    /// # Errors
    /// The registration, when the queue is full.
    pub(crate) fn register(&self, registration: Registration) -> Result<(), Registration> {
        match self.sender.try_send(Told::Register(registration)) {
            Ok(()) => Ok(()),
            Err(_) => Err(registration),
        }
    }

    /// The other server has signed a key.
    ///
    /// # Errors
    /// What it said, when the queue is full: to be tried again soon.
    pub(crate) fn signed(&self, signed: KeySigned) -> Result<(), KeySigned> {
        match self.sender.try_send(Told::Signed(signed)) {
            Err(TrySendError::Full(_)) => Err(signed),
            // Nobody is left to hear it: the server stops.
            Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
        }
    }

    /// The link is up, or down.
    pub(crate) fn link_is(&self, session: Option<SessionId>) {
        self.session.store(session.map_or(0, |session| session.0), Ordering::Release);
    }

    /// The thread's: the link's session, while it is up.
    pub(super) fn session(&self) -> Option<SessionId> {
        Some(self.session.load(Ordering::Acquire)).filter(|session| *session != 0).map(SessionId)
    }

    /// An operator wants something: waits for room in the queue.
    pub(super) fn command(&self, command: Command, reply: SyncSender<Reply>) {
        // Where nobody is left to hear it, the reply's other end finds out.
        let _ = self.sender.send(Told::Command(command, reply));
    }

    /// The thread is to end: waits for room in the queue.
    pub(super) fn stop(&self) {
        let _ = self.sender.send(Told::Stop);
    }
}

impl fmt::Debug for AccountsHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountsHandle").field("waiting", &self.sender.len()).finish_non_exhaustive()
    }
}
