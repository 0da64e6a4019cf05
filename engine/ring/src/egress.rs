//! The engine of one core: its state, its turn, and what the caller may ask of it.
//!
//! A turn reaps a bounded batch of completions, notes what each means for its connection, runs the connections that
//! are ready, and enters the kernel once: to submit, and to sleep if nothing is left to do.

use crate::config::{EgressConfig, Registered, ZeroCopy};
use crate::connection::{
    Close, CloseReason, Closing, Connection, ConnectionKey, Connections, Flight, Source,
};
use crate::doorbell::Doorbell;
use crate::error::RingError;
use crate::limits::{DROP_WAIT_MS_MAX, LOOKS_PER_STALL_TIMEOUT, REGISTERED_PART_OF_MEMLOCK};
use crate::lists::{List, Lists};
use crate::memory::memlock_limit;
use crate::ring::{Completion, Entered, Ring, Wait};
use crate::slabs::SlabPool;
use crate::stats::{EgressStats, TcpTotals};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// What a turn tells the caller.
#[derive(Debug)]
pub enum Event<S> {
    /// Somebody rang since the last time: look into the queue.
    Doorbell,
    /// Nothing of the connection is in flight any more, and its key is stale.
    Closed {
        /// Which.
        key: ConnectionKey,
        /// Its source, rewound to the send position.
        source: S,
        /// Its socket; the egress has no more to do with it.
        socket: OwnedFd,
        /// Why.
        reason: CloseReason,
    },
}

/// The egress engine of one core. It stays on the thread of its ring.
///
/// Dropping it closes no connection gracefully: it waits a moment for what is in flight, and leaves the slabs to the
/// end of the process where the kernel still reads them. A panic leaves the ring, too.
#[derive(Debug)]
pub struct Egress<R: Ring, S: Source> {
    pub(crate) config: EgressConfig,
    // Before the pool: no ring may outlive the memory that it knows of.
    pub(crate) ring: ManuallyDrop<R>,
    pub(crate) pool: ManuallyDrop<SlabPool>,
    pub(crate) connections: Connections<S>,
    pub(crate) lists: Lists,
    pub(crate) doorbell: Doorbell,
    pub(crate) doorbell_polled: bool,
    pub(crate) stats: EgressStats,
    /// Of the connections that are closed.
    pub(crate) tcp_closed: TcpTotals,
    /// When to look for stalled connections next.
    pub(crate) look_at: Duration,
    /// No flush has an earlier deadline.
    pub(crate) flush_deadline: Option<Duration>,
    /// The batch of the turn; empty between turns.
    completions: Vec<Completion>,
}

impl<R: Ring, S: Source> Egress<R, S> {
    /// An egress without connections. Call it on the thread that is to run it.
    ///
    /// # Errors
    ///
    /// `Config` for values out of bounds, `Kernel` when there is no memory for the slabs, `Memlock` when they are to
    /// be registered and cannot be, `NoZeroCopy` when that is to be on and the kernel has none.
    pub fn new(config: EgressConfig, ring: R, doorbell: Doorbell) -> Result<Self, RingError> {
        config.check()?;
        if config.zero_copy == ZeroCopy::On && !ring.has_zero_copy() {
            return Err(RingError::NoZeroCopy);
        }
        let pool = SlabPool::new(config.slab_bytes, config.slabs)?;
        let mut egress = Self {
            ring: ManuallyDrop::new(ring),
            pool: ManuallyDrop::new(pool),
            connections: Connections::new(config.connections_max),
            lists: Lists::new(config.connections_max),
            doorbell,
            doorbell_polled: false,
            stats: EgressStats::default(),
            tcp_closed: TcpTotals::default(),
            look_at: Duration::ZERO,
            flush_deadline: None,
            completions: Vec::with_capacity(config.completions_per_turn_max.min(1 << 16)),
            config,
        };
        egress.register()?;
        Ok(egress)
    }

    fn register(&mut self) -> Result<(), RingError> {
        let (pool_bytes, limit_bytes) = (self.config.pool_bytes(), memlock_limit());
        let wanted = match self.config.registered {
            Registered::On => true,
            Registered::Off => false,
            Registered::Auto if self.config.zero_copy == ZeroCopy::Off || !self.ring.has_zero_copy() => false,
            Registered::Auto => {
                let part = limit_bytes.map(|limit| limit as usize / REGISTERED_PART_OF_MEMLOCK);
                let bytes_max = self.config.registered_bytes_max.or(part).unwrap_or(usize::MAX);
                if pool_bytes > bytes_max {
                    tracing::info!(
                        pool_bytes,
                        bytes_max,
                        "slabs stay unregistered: too many for the memlock limit"
                    );
                }
                pool_bytes <= bytes_max
            }
        };
        if !wanted {
            return Ok(());
        }
        match self.ring.register(&mut self.pool.addresses(), self.config.slab_bytes) {
            Ok(()) => Ok(()),
            Err(error) if self.config.registered == Registered::On => {
                Err(RingError::Memlock { what: "the slabs", needed_bytes: pool_bytes, limit_bytes, error })
            }
            Err(error) => {
                tracing::warn!(%error, pool_bytes, ?limit_bytes, "slabs stay unregistered: raise `ulimit -l`");
                Ok(())
            }
        }
    }

    /// Takes a connected socket, blocking or not, and sends what its source has. Nobody else may write to it.
    ///
    /// # Errors
    ///
    /// `TooManyConnections`, with the socket and the source, when there are `connections_max`.
    pub fn add(
        &mut self,
        socket: OwnedFd,
        source: S,
        now: Duration,
    ) -> Result<ConnectionKey, (RingError, OwnedFd, S)> {
        if !self.connections.has_room() {
            let connections_max = self.config.connections_max;
            return Err((RingError::TooManyConnections { connections_max }, socket, source));
        }
        let key = self.connections.insert(Connection {
            socket,
            source,
            flight: Flight::None,
            unfinished: None,
            full: false,
            closing: Closing::No,
            copies: self.config.zero_copy == ZeroCopy::Off || !self.ring.has_zero_copy(),
            fill_bytes_max: self.config.slab_bytes,
            resting: true,
            progress_at: now,
            bytes_acked: 0,
            retry_at: now,
        });
        self.stats.added += 1;
        self.lists.move_to(key.slot, List::Ready);
        Ok(key)
    }

    /// Connections that were added and not yet reported closed.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// The source of a connection; none when the key is stale. `wake` it after giving it more to send.
    pub fn source_mut(&mut self, key: ConnectionKey) -> Option<&mut S> {
        Some(&mut self.connections.get_mut(key)?.source)
    }

    /// The source has or may have new bytes. A stale key is ignored: its connection has just closed.
    pub fn wake(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        // In any other list or flight the connection looks at its source before it comes to rest.
        if matches!(connection.flight, Flight::None) && self.lists.list(key.slot) == List::None {
            self.lists.move_to(key.slot, List::Ready);
        }
    }

    /// Whether its socket was full when it was last looked at, and has not been found to have room since. No for a stale key.
    pub fn is_blocked(&mut self, key: ConnectionKey) -> bool {
        let connection = self.connections.get_mut(key);
        connection.is_some_and(|connection| connection.full || matches!(connection.flight, Flight::Polling))
    }

    /// Closes a connection; `Event::Closed` follows, from a later turn. A stale key is ignored. `Now` overrides
    /// `Flush`, and a later `Flush` an earlier one.
    pub fn close(&mut self, key: ConnectionKey, close: Close) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match close {
            Close::Now => self.leave(key.slot, CloseReason::Asked),
            Close::Flush { deadline } if !matches!(connection.closing, Closing::Now(_)) => {
                connection.closing = Closing::Flush { deadline };
                self.flush_deadline = Some(self.flush_deadline.map_or(deadline, |first| first.min(deadline)));
                self.wake(key);
            }
            Close::Flush { .. } => {}
        }
    }

    /// One turn of the loop at the time `now`, on any clock that never goes back. Sleeps, at its end, for at most
    /// `wait_max` (none: as long as it takes), and only if nothing is left to do and `events` is empty.
    pub fn turn(&mut self, now: Duration, wait_max: Option<Duration>, events: &mut Vec<Event<S>>) {
        self.stats.turns += 1;
        self.poll_doorbell();
        let mut completions = std::mem::take(&mut self.completions);
        self.ring.reap(&mut completions, self.config.completions_per_turn_max);
        self.stats.completions += completions.len() as u64;
        for completion in completions.drain(..) {
            self.complete(completion, now);
        }
        self.completions = completions;
        self.watch_time(now);
        self.cancel_polls();
        self.run_ready(now);
        self.report_closed(events);
        self.stats.slabs_in_use = self.pool.in_use() as u64;
        self.stats.slabs_in_use_max = self.stats.slabs_in_use_max.max(self.stats.slabs_in_use);
        let wait = self.wait(now, wait_max, events.is_empty());
        if self.ring.enter(wait) == Entered::Interrupted {
            self.stats.interrupted += 1;
        }
        if self.doorbell.answer() {
            events.push(Event::Doorbell);
        }
    }

    /// The counters.
    pub fn stats(&self) -> &EgressStats {
        &self.stats
    }

    /// What `TCP_INFO` says of all connections so far, closed and open. One system call per open connection.
    pub fn tcp_totals(&self) -> TcpTotals {
        let mut totals = self.tcp_closed;
        for (_, connection) in self.connections.iter() {
            if let Ok(info) = self.ring.tcp_info(connection.socket.as_fd()) {
                totals.add(&info);
            }
        }
        totals
    }

    /// Whether and how long to sleep at the end of a turn.
    fn wait(&mut self, now: Duration, wait_max: Option<Duration>, nothing_to_tell: bool) -> Wait {
        let idle =
            [List::Ready, List::Cancelling, List::Leaving].iter().all(|&list| self.lists.len(list) == 0)
                && ([List::Starved, List::PutOff].iter().all(|&list| self.lists.len(list) == 0)
                    || !self.slab_to_be_had());
        if !idle || !nothing_to_tell || !self.doorbell_polled || wait_max == Some(Duration::ZERO) {
            return Wait::No;
        }
        if !self.doorbell.fall_asleep() {
            return Wait::No;
        }
        self.stats.sleeps += 1;
        let timer = self.next_timer().map(|at| at.saturating_sub(now));
        match (timer, wait_max) {
            (Some(timer), Some(wait_max)) => Wait::For(timer.min(wait_max)),
            (Some(time), None) | (None, Some(time)) => Wait::For(time),
            (None, None) => Wait::Forever,
        }
    }

    /// The next instant at which something is due without a completion.
    fn next_timer(&mut self) -> Option<Duration> {
        let blocked = self.lists.len(List::BlockedHolding) + self.lists.len(List::BlockedEmpty);
        let retry = self.lists.front(List::Backoff).map(|slot| self.connections.at(slot).1.retry_at);
        let timers = [(blocked > 0).then_some(self.look_at), self.flush_deadline, retry];
        timers.into_iter().flatten().min()
    }

    pub(crate) fn look_interval(&self) -> Duration {
        self.config.stall_timeout / LOOKS_PER_STALL_TIMEOUT
    }
}

impl<R: Ring, S: Source> Drop for Egress<R, S> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Whatever is in flight keeps its memory and its ring: unwinding frees neither.
            return;
        }
        let until = Instant::now() + Duration::from_millis(DROP_WAIT_MS_MAX);
        while self.pool.held_by_kernel() > 0 && Instant::now() < until {
            self.ring.enter(Wait::For(Duration::from_millis(1)));
            let mut completions = Vec::new();
            self.ring.reap(&mut completions, self.config.completions_per_turn_max);
            for completion in completions {
                self.complete(completion, Duration::ZERO);
            }
        }
        let held = self.pool.held_by_kernel();
        // SAFETY: neither field is used again: this is the end of `drop`, and nothing but `drop` takes them out.
        unsafe { ManuallyDrop::drop(&mut self.ring) };
        if held == 0 {
            // SAFETY: as above; and no send is in flight from the pool, so that nobody reads its memory.
            unsafe { ManuallyDrop::drop(&mut self.pool) };
        } else {
            tracing::info!(
                held,
                "slabs left in the kernel's hands: their memory stays until the process ends"
            );
        }
    }
}
