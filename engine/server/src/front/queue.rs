//! How other threads reach a front executor: a bounded queue and a byte on a socket pair.

use super::inlet::Incoming;
use super::strangers::Stranger;
use crate::accounts::Proved;
use crate::answer::Done;
use crate::group::ConnectionId;
use crate::limits::FRONT_QUEUE_MAX;
use crate::link::SessionId;
use crossbeam::queue::ArrayQueue;
use std::fmt;
use std::io::{self, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use twincast_protocol::channel::SendKeys;
use twincast_protocol::identity::SIGNATURE_BYTES;
use twincast_protocol::ids::{Epoch, GroupId, UserId};
use twincast_protocol::statements::Binding;
use twincast_protocol::wire::Code;
use twincast_protocol::wire::link::{LinkFrame, LinkGroup};

/// What a front executor is told.
#[derive(Debug)]
pub enum FrontMessage {
    /// A connection came in; this executor hears its HELLO.
    Accepted(ConnectionId, TcpStream, Stranger),
    /// A connection said HELLO for a group of this executor.
    Adopt(Box<Adopted>),
    /// A fan-out core has closed this connection.
    Closed(ConnectionId),
    /// A connection with the other server begins: say how the groups of this executor stand.
    LinkAsk(SessionId),
    /// It is up, and this is how the other server's groups stand.
    LinkUp(SessionId, Arc<[LinkGroup]>),
    /// A frame of the other server, about a group of this executor.
    Peer(GroupId, LinkFrame),
    /// It is down.
    LinkDown,
    /// The answer threads have done something that this group wanted.
    Worked(GroupId, Done),
    /// What came of a registration of this connection, by its number.
    Registered(ConnectionId, usize, Box<Outcome>),
    /// A user of a group of this executor has lost its key: whoever is attached by it is so no longer.
    Revoked(GroupId, UserId),
    /// Finish the open rounds, close everything and end.
    Stop,
}

/// What came of a registration: from which epoch on the key is the user's, and the signatures of S1 and S2.
pub type Outcome = Result<(Epoch, [[u8; SIGNATURE_BYTES]; 2]), Code>;

/// A connection after its HELLO.
pub struct Adopted {
    /// Its number.
    pub connection: ConnectionId,
    /// Its socket.
    pub socket: TcpStream,
    /// Its group.
    pub group: GroupId,
    /// The epoch that it believes to be running.
    pub epoch: Epoch,
    /// Whether users whom the group does not have ask to join it.
    pub join: bool,
    /// The users that it plays, ascending.
    pub users: Box<[UserId]>,
    /// What ties proofs to its channel.
    pub binding: Binding,
    /// What its users proved of themselves.
    pub proved: Proved,
    /// Bytes that came after HELLO, in plain.
    pub rest: Vec<u8>,
    /// What opens its records, where its channel is private.
    pub incoming: Option<Incoming>,
    /// What seals the records that it is sent.
    pub outgoing: Option<SendKeys>,
}

impl fmt::Debug for Adopted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What came after HELLO may hold a session key.
        f.debug_struct("Adopted")
            .field("connection", &self.connection)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

/// The other threads' end.
#[derive(Debug)]
pub struct FrontHandle {
    queue: ArrayQueue<FrontMessage>,
    bell: UnixStream,
    /// A byte is on its way and not read yet.
    rung: AtomicBool,
}

impl FrontHandle {
    /// A handle, and the socket on which its executor hears the bell.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn new() -> io::Result<(FrontHandle, UnixStream)> {
        let (bell, ear) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        let queue = ArrayQueue::new(FRONT_QUEUE_MAX);
        Ok((FrontHandle { queue, bell, rung: AtomicBool::new(false) }, ear))
    }

    /// Queues a message and wakes the executor.
    ///
    /// # Errors
    /// The message, when the queue is full.
    pub fn send(&self, message: FrontMessage) -> Result<(), FrontMessage> {
        let sent = self.queue.push(message);
        if !self.rung.swap(true, Ordering::AcqRel) {
            // A full pipe or a closed one needs no bell: it rings already, or nobody is there to hear.
            let _ = (&self.bell).write(&[1]);
        }
        sent
    }

    /// Messages that wait for the executor now.
    pub(crate) fn queue_length(&self) -> usize {
        self.queue.len()
    }

    /// The executor's: the bell was heard, and the queue is looked at after this.
    pub(crate) fn heard(&self) {
        self.rung.store(false, Ordering::Release);
    }

    /// The executor's: the next message.
    pub(crate) fn pop(&self) -> Option<FrontMessage> {
        self.queue.pop()
    }
}
