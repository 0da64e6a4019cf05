//! How executors reach the link's thread: a bounded queue and an eventfd.

use crate::limits::LINK_QUEUE_MAX;
use crossbeam::queue::ArrayQueue;
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use twincast_protocol::ids::GroupId;
use twincast_protocol::wire::Code;
use twincast_protocol::wire::link::{LinkFrame, LinkGroup};

/// One time that the link is up, by number from 1; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// What executors tell the link's thread.
#[derive(Debug)]
pub enum ToLink {
    /// How all groups of this executor stand, for the LINK_HELLO of this session.
    Standing(SessionId, usize, Vec<LinkGroup>),
    /// A frame for the other server.
    Frame(SessionId, LinkFrame),
    /// The other server said about this group what it must not say.
    Refused(SessionId, GroupId, Code),
}

impl ToLink {
    fn session(&self) -> SessionId {
        match self {
            ToLink::Standing(session, ..) | ToLink::Frame(session, _) | ToLink::Refused(session, ..) => {
                *session
            }
        }
    }
}

/// The executors' end of the link.
#[derive(Debug)]
pub struct LinkHandle {
    queue: ArrayQueue<ToLink>,
    bell: OwnedFd,
    /// The bell was rung and the thread has not looked yet.
    rung: AtomicBool,
    /// The newest session that lost a message, for want of room in the queue; 0: none.
    lossy: AtomicU64,
    stopping: AtomicBool,
}

impl LinkHandle {
    /// A handle with an empty queue.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> io::Result<LinkHandle> {
        Ok(LinkHandle {
            queue: ArrayQueue::new(LINK_QUEUE_MAX),
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            rung: AtomicBool::new(false),
            lossy: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        })
    }

    /// Queues a message and wakes the thread. Where the queue is full the session ends: the other server cannot take
    /// what there is to say.
    pub fn send(&self, message: ToLink) {
        if let Err(message) = self.queue.push(message) {
            self.lossy.fetch_max(message.session().0, Ordering::AcqRel);
        }
        self.ring();
    }

    /// Whether there is room for a long list of messages, one part of it at a time.
    pub(crate) fn has_room(&self) -> bool {
        self.queue.len() < LINK_QUEUE_MAX / 2
    }

    /// The thread is to end.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.ring();
    }

    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // Only a counter near 2^64 would refuse it, and then it rings already.
            let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
        }
    }

    /// The thread's: what to wait for.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// The thread's: the bell was heard, and the queue is looked at after this.
    pub(super) fn heard(&self) {
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        self.rung.store(false, Ordering::Release);
    }

    /// The thread's: the next message.
    pub(super) fn pop(&self) -> Option<ToLink> {
        self.queue.pop()
    }

    /// The thread's: whether there is no message.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The thread's: whether this session has lost a message.
    pub(super) fn is_lossy(&self, session: SessionId) -> bool {
        self.lossy.load(Ordering::Acquire) >= session.0
    }

    /// The thread's: whether it is to end.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}
