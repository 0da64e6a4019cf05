//! How connections come about: S1 makes them, with growing pauses; S2 takes them, from S1's configured address and no
//! other.

use super::channel::LinkKeys;
use super::wire::Wire;
use crate::limits::{
    LINK_HELLO_TIMEOUT_MS, LINK_RETRY_MS_MAX, LINK_RETRY_MS_MIN, LINK_STRANGERS_LOG_MS, LINK_STRANGERS_MAX,
};
use crate::metrics::Metrics;
use rustix::event::{PollFd, PollFlags};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How long a connection may take to come about, or its peer to say LINK_HELLO.
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_millis(LINK_HELLO_TIMEOUT_MS);

/// How long no connection is taken after one that could not be.
const REST: Duration = Duration::from_millis(100);

/// How long nothing is logged of connections from elsewhere after that was done.
const LOG_PAUSE: Duration = Duration::from_millis(LINK_STRANGERS_LOG_MS);

/// Where connections come from.
#[derive(Debug)]
pub(super) enum Entry {
    Connect(Connector),
    Listen(Listener),
}

/// S1's: at most one connection is being made.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) address: SocketAddr,
    making: Option<(TcpStream, Instant)>,
    pause: Duration,
    try_at: Instant,
    /// The operator has been told that there is no link.
    complained: bool,
}

/// S2's: those who have connected from S1's address and not said LINK_HELLO.
#[derive(Debug)]
pub(super) struct Listener {
    listener: TcpListener,
    /// Where S1 connects from.
    peer: IpAddr,
    /// Connections from elsewhere that the log has not told of, and when it did so last.
    untold: u64,
    told_at: Option<Instant>,
    pub(super) strangers: VecDeque<Stranger>,
    /// No connection could be taken: for want of descriptors mostly, which does not pass at once.
    rests_until: Option<Instant>,
}

/// Somebody who may be the other server.
#[derive(Debug)]
pub(super) struct Stranger {
    pub(super) wire: Wire,
    pub(super) deadline: Instant,
}

impl Entry {
    pub(super) fn listen(address: SocketAddr, peer: IpAddr) -> io::Result<Entry> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Entry::Listen(Listener {
            listener,
            // A socket that takes both families shows IPv4 addresses as mapped ones.
            peer: peer.to_canonical(),
            untold: 0,
            told_at: None,
            strangers: VecDeque::new(),
            rests_until: None,
        }))
    }

    pub(super) fn connect(address: SocketAddr) -> Entry {
        let pause = Duration::from_millis(LINK_RETRY_MS_MIN);
        let try_at = Instant::now();
        Entry::Connect(Connector { address, making: None, pause, try_at, complained: false })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Entry::Connect(_) => None,
            Entry::Listen(listener) => listener.listener.local_addr().ok(),
        }
    }
}

impl Connector {
    /// Begins to make a connection if it is time to.
    pub(super) fn begin(&mut self, now: Instant) {
        if self.making.is_some() || now < self.try_at {
            return;
        }
        match connecting(self.address) {
            Ok(socket) => self.making = Some((socket, now + HELLO_TIMEOUT)),
            Err(error) => self.failed(&error),
        }
    }

    /// What to wait for while one is being made.
    pub(super) fn poll_fd(&self) -> Option<PollFd<'_>> {
        self.making.as_ref().map(|(socket, _)| PollFd::new(socket, PollFlags::OUT))
    }

    /// When something is due.
    pub(super) fn due_at(&self) -> Instant {
        self.making.as_ref().map_or(self.try_at, |(_, deadline)| *deadline)
    }

    /// The connection, once it is made.
    pub(super) fn made(
        &mut self,
        ready: bool,
        now: Instant,
        stall_timeout: Duration,
        keys: &LinkKeys,
    ) -> Option<Wire> {
        let (socket, deadline) = self.making.take()?;
        if !ready && now < deadline {
            self.making = Some((socket, deadline));
            return None;
        }
        let outcome = match socket.take_error() {
            Ok(None) if ready => Wire::new(socket, stall_timeout, keys),
            Ok(None) => Err(io::ErrorKind::TimedOut.into()),
            Ok(Some(error)) | Err(error) => Err(error),
        };
        outcome.map_err(|error| self.failed(&error)).ok()
    }

    /// No link came of it: the next try waits for longer.
    pub(super) fn failed(&mut self, error: &dyn std::fmt::Display) {
        if self.complained {
            tracing::debug!(address = %self.address, %error, "no link to the other server");
        } else {
            let address = self.address;
            tracing::warn!(%address, %error, "no link to the other server; it is tried again and again");
        }
        self.complained = true;
        self.try_at = Instant::now() + self.pause;
        self.pause = (2 * self.pause).min(Duration::from_millis(LINK_RETRY_MS_MAX));
    }

    /// A link was up for so long: one that holds makes the next pause short again.
    pub(super) fn ended(&mut self, up_for: Duration) {
        self.complained = false;
        if up_for >= Duration::from_millis(LINK_RETRY_MS_MAX) {
            self.pause = Duration::from_millis(LINK_RETRY_MS_MIN);
        }
        self.try_at = Instant::now() + self.pause;
        self.pause = (2 * self.pause).min(Duration::from_millis(LINK_RETRY_MS_MAX));
    }
}

/// A socket that is being connected.
fn connecting(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
            Err(error)
        }
        _ => Ok(socket.into()),
    }
}

impl Listener {
    /// What to wait for: further connections.
    pub(super) fn poll_fd(&self, now: Instant) -> Option<PollFd<'_>> {
        let rests = self.rests_until.is_some_and(|until| now < until);
        (!rests).then(|| PollFd::new(&self.listener, PollFlags::IN))
    }

    /// When something is due: a stranger has been silent for too long, or there may be descriptors again.
    pub(super) fn due_at(&self, now: Instant) -> Option<Instant> {
        let strangers = self.strangers.iter().map(|stranger| stranger.deadline);
        strangers.chain(self.rests_until.filter(|&until| now < until)).min()
    }

    /// Takes a connection. One from elsewhere than S1's address is dropped before a byte of it is read; of the others
    /// the oldest stranger goes where there are too many.
    pub(super) fn accept(
        &mut self,
        now: Instant,
        stall_timeout: Duration,
        keys: &LinkKeys,
        metrics: &Metrics,
    ) {
        match self.listener.accept() {
            Ok((_, address)) if address.ip().to_canonical() != self.peer => {
                metrics.link_strangers.fetch_add(1, Relaxed);
                self.turn_away(address, now);
            }
            Ok((socket, _)) => {
                // An error: gone already.
                if let Ok(wire) = Wire::new(socket, stall_timeout, keys) {
                    self.strangers.push_back(Stranger { wire, deadline: now + HELLO_TIMEOUT });
                }
                if self.strangers.len() > LINK_STRANGERS_MAX {
                    self.strangers.pop_front();
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                tracing::warn!(%error, "a connection to the link's address cannot be taken; is `ulimit -n` too low?");
                self.rests_until = Some(now + REST);
            }
        }
    }

    /// Tells the operator of connections from elsewhere, not of each: they cost whoever makes them nothing.
    fn turn_away(&mut self, address: SocketAddr, now: Instant) {
        self.untold += 1;
        if self.told_at.is_some_and(|told_at| now < told_at + LOG_PAUSE) {
            return;
        }
        let (connections, peer) = (self.untold, self.peer);
        tracing::warn!(%address, %peer, connections, "dropped at the link's address: it is not from link.peer");
        (self.untold, self.told_at) = (0, Some(now));
    }
}
