//! A connection: a socket, where its bytes come from, and what the kernel has of it.

use crate::slabs::{Filled, InFlight, Slab};
use crate::user_data::{Kind, UserData, generation_next};
use std::fmt;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Where a connection's bytes come from. The engine calls it, on its own thread, inside `Egress::turn`.
///
/// The stream has two positions: bytes before the *send position* were taken by the kernel, bytes between it and the
/// *fill position* were written into a slab. A source can write the latter again, and the same.
pub trait Source {
    /// Writes the next bytes at the fill position to the start of `buf`, and returns how many.
    ///
    /// 0: nothing to send now, or `buf` is too short for the next piece. `buf` is a slab or what is left of one; with
    /// a whole slab a source that is `pending` makes progress, or leaves its next bytes to a later turn, since they take
    /// long to make and this turn has taken long enough. It is asked again in the next turn, which comes without sleep:
    /// what a turn may take is renewed before each, and is enough for one source to make progress.
    fn fill(&mut self, buf: &mut [u8]) -> usize;
    /// The kernel took `bytes` more: the send position moves on.
    fn sent(&mut self, bytes: usize);
    /// What was filled and not sent is forgotten: the fill position moves back to the send position.
    fn rewind(&mut self);
    /// Whether there is anything between the send position and the end of what is known now.
    fn pending(&self) -> bool;
    /// Whether the next bytes at the fill position are begun and take so long to make that a turn may be spent on them. Such
    /// connections are filled for in turn among themselves, and after the others, the longest waiting one excepted.
    fn takes_long(&self) -> bool {
        false
    }
}

/// A connection of an egress. A key outlives its connection, and is then known as stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionKey {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl ConnectionKey {
    /// The place in the egress's table, below `connections_max`: the caller may keep a table alongside. A slot is
    /// used again after its connection's `Event::Closed`.
    pub fn slot(self) -> usize {
        self.slot as usize
    }

    pub(crate) fn user_data(self, kind: Kind, slab: u16) -> u64 {
        UserData { kind, slot: self.slot, generation: self.generation, slab }.pack()
    }
}

/// How to close a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// As soon as nothing of it is in flight. What was not sent is not.
    Now,
    /// When the source has nothing more, or at the deadline.
    Flush {
        /// On the clock of `Egress::turn`.
        deadline: Duration,
    },
}

/// Why a connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The caller's `close`. Whether all was sent, the source's `pending` tells.
    Asked,
    /// A send failed with this errno: the peer closed or reset the connection, or the network did.
    PeerGone(i32),
    /// The peer took no byte for `stall_timeout`.
    Stalled,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => write!(formatter, "asked for"),
            Self::PeerGone(errno) => {
                write!(formatter, "peer gone ({})", std::io::Error::from_raw_os_error(*errno))
            }
            Self::Stalled => write!(formatter, "stalled: the peer acknowledged nothing within the deadline"),
        }
    }
}

/// What the kernel has of a connection: one ordered send or one wait at a time.
#[derive(Debug)]
pub(crate) enum Flight {
    None,
    Sending(Slab<InFlight>),
    /// A wait for room.
    Polling,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    No,
    Flush { deadline: Duration },
    Now(CloseReason),
}

#[derive(Debug)]
pub(crate) struct Connection<S> {
    pub(crate) socket: OwnedFd,
    pub(crate) source: S,
    pub(crate) flight: Flight,
    /// A slab with bytes that are still to be sent.
    pub(crate) unfinished: Option<Slab<Filled>>,
    /// The last send found the socket full: wait for room before the next.
    pub(crate) full: bool,
    pub(crate) closing: Closing,
    /// Whether zero-copy was found to be of no use or not to work here.
    pub(crate) copies: bool,
    /// The most bytes to fill a slab with: less than a slab after one was reclaimed, so that little is filled twice.
    pub(crate) fill_bytes_max: usize,
    /// The source had nothing to send at the last look.
    pub(crate) resting: bool,
    /// When the peer was last known to take bytes, or to have nothing to take.
    pub(crate) progress_at: Duration,
    /// `bytes_acked` at the last look.
    pub(crate) bytes_acked: u64,
    /// When to try again after the kernel was out of buffers.
    pub(crate) retry_at: Duration,
}

/// The connections of an egress, and the generations of their slots.
#[derive(Debug)]
pub(crate) struct Connections<S> {
    slots: Vec<(u32, Option<Connection<S>>)>,
    /// Slots without a connection; the last is used first.
    free: Vec<u32>,
}

impl<S> Connections<S> {
    pub(crate) fn new(connections_max: usize) -> Self {
        Self {
            slots: (0..connections_max).map(|_| (0, None)).collect(),
            free: (0..connections_max as u32).rev().collect(),
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn insert(&mut self, connection: Connection<S>) -> ConnectionKey {
        let slot = self.free.pop().expect("the caller looked for room");
        let (generation, place) = &mut self.slots[slot as usize];
        *place = Some(connection);
        ConnectionKey { slot, generation: *generation }
    }

    pub(crate) fn remove(&mut self, slot: u32) -> (ConnectionKey, Connection<S>) {
        let (generation, place) = &mut self.slots[slot as usize];
        let connection = place.take().expect("a listed slot has a connection");
        let key = ConnectionKey { slot, generation: *generation };
        *generation = generation_next(*generation);
        self.free.push(slot);
        (key, connection)
    }

    /// The connection of a key, unless the key is stale.
    pub(crate) fn get_mut(&mut self, key: ConnectionKey) -> Option<&mut Connection<S>> {
        match self.slots.get_mut(key.slot as usize)? {
            (generation, Some(connection)) if *generation == key.generation => Some(connection),
            _ => None,
        }
    }

    /// The connection of a slot that is known to have one, with its key.
    pub(crate) fn at(&mut self, slot: u32) -> (ConnectionKey, &mut Connection<S>) {
        let (generation, place) = &mut self.slots[slot as usize];
        let connection = place.as_mut().expect("a listed slot has a connection");
        (ConnectionKey { slot, generation: *generation }, connection)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Connection<S>)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(slot, (_, place))| Some((slot as u32, place.as_ref()?)))
    }

    pub(crate) fn slots(&self) -> u32 {
        self.slots.len() as u32
    }

    pub(crate) fn is_live(&self, slot: u32) -> bool {
        self.slots[slot as usize].1.is_some()
    }
}
