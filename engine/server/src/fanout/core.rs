//! One fan-out core: the thread's loop, and the handle with which front executors reach it.

use super::cursor::{Cursor, End};
use super::log::{Item, Log};
use super::patience::Patience;
use super::sealed::{SEALED_SLAB_BYTES_MIN, Sealed};
use crate::front::{FrontHandle, FrontMessage};
use crate::group::ConnectionId;
use crate::limits::{CORE_QUEUE_MAX, FLUSH_TIMEOUT_MS, ROUNDS_LATE_MAX};
use crate::metrics::Span;
use crate::roster::Roster;
use bytes::Bytes;
use crossbeam::queue::ArrayQueue;
use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};
use twincast_protocol::channel::SendKeys;
use twincast_protocol::ids::{GroupId, RoundNumber, UserId};
use twincast_protocol::wire::Code;
use twincast_ring::{
    Close, CloseReason, ConnectionKey, Doorbell, Egress, EgressConfig, EgressStats, Event, KernelRing,
    RingError, Source, TcpTotals,
};

/// How soon a message for a full queue is tried again.
const RETRY: Duration = Duration::from_millis(1);

/// A connection that a core is to write to.
#[derive(Debug)]
pub struct Newcomer {
    /// Its number.
    pub connection: ConnectionId,
    /// Its group.
    pub group: GroupId,
    /// A duplicate of the front's socket.
    pub socket: OwnedFd,
    /// The users that it plays, ascending.
    pub users: Box<[UserId]>,
    /// Frames for it alone that may wait.
    pub private_max: usize,
    /// The executor to tell when it is closed.
    pub front: usize,
    /// What its stream is sealed with from here on; none where its channel is plain. Their next number is that of the
    /// first record that the core sends: records that the front sealed before must have gone out.
    pub channel: Option<SendKeys>,
}

/// What a front executor tells a core. A core takes messages in the order in which one executor sent them.
#[derive(Debug)]
pub enum CoreMessage {
    /// Write to this socket from now on.
    Add(Box<Newcomer>),
    /// Send this frame to one connection.
    Private(ConnectionId, Bytes),
    /// Send this to every connection of the group.
    Shared(GroupId, Item),
    /// Close the connections of the group that lag.
    CloseLagging(GroupId),
    /// Close this connection soon: after the piece that is on its way and this frame, if there is one.
    Close(ConnectionId, Option<Bytes>),
    /// Close this connection once it has all that its group has for it, and this frame.
    Finish(ConnectionId, Bytes),
    /// Send the counters there.
    Count(SyncSender<CoreCounters>),
    /// End the thread; whatever is still open is dropped.
    Stop,
}

/// What a core counts, for `/metrics` and reports.
#[derive(Clone, Debug, Default)]
pub struct CoreCounters {
    /// The egress engine's.
    pub egress: EgressStats,
    /// Summed over its connections.
    pub tcp: TcpTotals,
    /// Message cells sent whole.
    pub shares: u64,
    /// Parts sent whole, of confirmations, keys and replies.
    pub parts: u64,
    /// Answers sent whole.
    pub answers: u64,
    /// Rounds, each from its first tile, or its answers, to its last byte that the kernel took.
    pub delivered: Span,
    /// Connections now.
    pub connections: u64,
    /// Connections closed because they took nothing for too long, lagged, or let answers pile up.
    pub slow_readers_closed: u64,
}

/// What other threads see of a core.
#[derive(Debug)]
pub struct CoreHandle {
    queue: ArrayQueue<CoreMessage>,
    doorbell: Doorbell,
    /// Users that this core's connections play: what a new connection is placed by.
    pub users: AtomicU64,
    /// By group: members who were more than two rounds behind when the last round was sealed.
    lagging: HashMap<GroupId, AtomicU32>,
}

impl CoreHandle {
    /// A handle for a core that is yet to start.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new(groups: impl Iterator<Item = GroupId>) -> Result<Arc<CoreHandle>, RingError> {
        Ok(Arc::new(CoreHandle {
            queue: ArrayQueue::new(CORE_QUEUE_MAX),
            doorbell: Doorbell::new()?,
            users: AtomicU64::new(0),
            lagging: groups.map(|group| (group, AtomicU32::new(0))).collect(),
        }))
    }

    /// Queues a message and wakes the core.
    ///
    /// # Errors
    /// The message, when the queue is full: the caller keeps it and tries again, in order.
    pub fn send(&self, message: CoreMessage) -> Result<(), CoreMessage> {
        let sent = self.queue.push(message);
        self.doorbell.ring();
        sent
    }

    /// Messages that wait for the core now.
    pub(crate) fn queue_length(&self) -> usize {
        self.queue.len()
    }

    /// Members of the group who lag on this core.
    #[must_use]
    pub fn lagging(&self, group: GroupId) -> u32 {
        self.lagging.get(&group).map_or(0, |users| users.load(Relaxed))
    }
}

#[derive(Debug)]
struct Place {
    key: ConnectionKey,
    group: GroupId,
    private_max: usize,
    front: usize,
    /// Told to close: nothing further is queued for it.
    closing: bool,
}

/// The connections of one group on this core, and what they are to send.
#[derive(Debug, Default)]
struct Audience {
    log: Rc<RefCell<Log>>,
    /// Those that are not closing.
    connections: HashMap<ConnectionId, ConnectionKey>,
    /// The members of the newest epoch of which a tile or answers came: who lags is counted among them.
    roster: Option<Arc<Roster>>,
}

/// Turns after which everything that a reader had room for is known to be sent.
const TURNS_BEFORE_JUDGEMENT: u32 = 2;

/// What is done about readers who lag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    /// A round has ended: their members are counted.
    Count,
    /// They are closed.
    Close,
}

/// A connection that is too far behind.
struct Lag {
    connection: ConnectionId,
    /// How many members of the group's epoch it plays.
    played: usize,
    /// It has room for more, and the core has not signed all yet that is for it: the group waits for that, and nobody is
    /// closed for it.
    owed: bool,
}

/// One fan-out core.
pub struct Core {
    handle: Arc<CoreHandle>,
    fronts: Vec<Arc<FrontHandle>>,
    egress: Egress<KernelRing, Sealed<Cursor>>,
    patience: Patience,
    audiences: HashMap<GroupId, Audience>,
    places: HashMap<ConnectionId, Place>,
    /// By the egress's slot.
    connections: Vec<Option<ConnectionId>>,
    /// Messages for fronts whose queue was full.
    unsent: Vec<(usize, FrontMessage)>,
    /// Groups whose readers are to be judged, and the turns since the first of them was named.
    judgements: Vec<(GroupId, Judgement)>,
    turns: u32,
    slow_readers_closed: u64,
    slab_bytes: usize,
    reader_timeout: Duration,
    clock: Instant,
}

impl Core {
    /// A core on this thread.
    ///
    /// # Errors
    /// What the egress says: bounds, kernel, locked memory.
    pub fn new(
        config: EgressConfig,
        handle: Arc<CoreHandle>,
        fronts: Vec<Arc<FrontHandle>>,
    ) -> Result<Core, RingError> {
        // What is refilled in small pieces is whole records.
        let fill_bytes_min = config.fill_bytes_min.max(SEALED_SLAB_BYTES_MIN).min(config.slab_bytes);
        let config = EgressConfig { fill_bytes_min, ..config };
        let ring = KernelRing::new(&config)?;
        let slab_bytes = config.slab_bytes;
        let (connections_max, reader_timeout) = (config.connections_max, config.stall_timeout);
        let egress = Egress::new(config, ring, handle.doorbell.clone())?;
        let audiences = handle.lagging.keys().map(|&group| (group, Audience::default())).collect();
        Ok(Core {
            handle,
            fronts,
            egress,
            patience: Patience::new(),
            audiences,
            places: HashMap::with_capacity(connections_max),
            connections: vec![None; connections_max],
            unsent: Vec::new(),
            judgements: Vec::new(),
            turns: 0,
            slow_readers_closed: 0,
            slab_bytes,
            reader_timeout,
            clock: Instant::now(),
        })
    }

    /// Works until it is told to stop.
    pub fn run(mut self) {
        let mut events = Vec::new();
        while self.turn(&mut events) {}
    }

    /// One turn. Returns whether there is to be another.
    fn turn(&mut self, events: &mut Vec<Event<Sealed<Cursor>>>) -> bool {
        let wait_max = match (self.judgements.is_empty(), self.unsent.is_empty()) {
            (false, _) => Some(Duration::ZERO),
            (true, false) => Some(RETRY),
            (true, true) => None,
        };
        self.patience.renew();
        self.egress.turn(self.clock.elapsed(), wait_max, events);
        for event in events.drain(..) {
            if let Event::Closed { key, source, reason, .. } = event {
                self.closed(key, source, reason);
            }
        }
        self.judge();
        // The queue is looked at in every turn, rung or not: under load that spares most of the rings.
        while let Some(message) = self.handle.queue.pop() {
            if matches!(message, CoreMessage::Stop) {
                return false;
            }
            self.take(message);
        }
        for (front, message) in std::mem::take(&mut self.unsent) {
            self.tell(front, message);
        }
        true
    }

    fn take(&mut self, message: CoreMessage) {
        match message {
            CoreMessage::Add(newcomer) => self.add(*newcomer),
            CoreMessage::Private(connection, frame) => self.send_private(connection, frame),
            CoreMessage::Shared(group, item) => self.share(group, item),
            CoreMessage::CloseLagging(group) => self.judgements.push((group, Judgement::Close)),
            CoreMessage::Close(connection, last) => self.close(connection, End::Now, last),
            CoreMessage::Finish(connection, last) => self.close(connection, End::AfterLog, Some(last)),
            CoreMessage::Count(reply) => {
                // Whoever asked may have given up.
                let _ = reply.try_send(self.counters());
            }
            CoreMessage::Stop => unreachable!("the loop takes it"),
        }
    }

    fn add(&mut self, newcomer: Newcomer) {
        let Newcomer { connection, group, socket, users, private_max, front, channel } = newcomer;
        assert!(channel.is_none() || self.slab_bytes >= SEALED_SLAB_BYTES_MIN, "a slab holds a whole record");
        let audience = self.audiences.get_mut(&group).expect("the front knows the groups");
        let log = audience.log.clone();
        let stream = Sealed::new(Cursor::new(log, self.patience.clone(), users), channel);
        match self.egress.add(socket, stream, self.clock.elapsed()) {
            Ok(key) => {
                audience.connections.insert(connection, key);
                self.connections[key.slot()] = Some(connection);
                self.places.insert(connection, Place { key, group, private_max, front, closing: false });
            }
            Err((error, _, stream)) => {
                let mut cursor = stream.into_source();
                tracing::warn!(connection = connection.0, %error, "a connection was not taken");
                cursor.leave();
                self.forget_users(cursor.users());
                self.tell(front, FrontMessage::Closed(connection));
            }
        }
    }

    fn send_private(&mut self, connection: ConnectionId, frame: Bytes) {
        let Some(place) = self.places.get(&connection).filter(|place| !place.closing) else { return };
        let (key, private_max) = (place.key, place.private_max);
        let waiting = self.egress.source_mut(key).map_or(0, |stream| stream.source_mut().push_private(frame));
        self.egress.wake(key);
        if waiting > private_max {
            self.slow_readers_closed += 1;
            tracing::warn!(
                connection = connection.0,
                "closed: it does not read the answers to what it sends"
            );
            self.close(connection, End::Now, Some(Code::SlowReader.frame(u32::MAX, u32::MAX, 0)));
        }
    }

    fn share(&mut self, group: GroupId, item: Item) {
        let audience = self.audiences.get_mut(&group).expect("the front knows the groups");
        // Readers are judged when a round ends, and a round ends with a frame, or with its answers.
        let ends_a_round = match &item {
            Item::Frame(round, _) => *round != RoundNumber::DIAL,
            Item::Answers(_) | Item::RoundEnd(_) => true,
            Item::Tile(_) => false,
        };
        match &item {
            Item::Tile(tile) => audience.roster = Some(tile.roster().clone()),
            Item::Answers(answers) => audience.roster = Some(answers.roster.clone()),
            Item::Frame(..) | Item::RoundEnd(_) => {}
        }
        audience.log.borrow_mut().push(item);
        for &key in audience.connections.values() {
            self.egress.wake(key);
        }
        if ends_a_round {
            self.judgements.push((group, Judgement::Count));
        }
    }

    /// Judges the readers of groups whose round has ended, or where it was asked for, once what could be sent to them is
    /// sent and known to be: one turn sends it, and the next one reaps the completions. Otherwise several rounds that the
    /// queue brings at once would count as the lag of readers that have long taken all that they were sent.
    fn judge(&mut self) {
        if self.judgements.is_empty() {
            return;
        }
        self.turns += 1;
        if self.turns < TURNS_BEFORE_JUDGEMENT {
            return;
        }
        self.turns = 0;
        let mut judgements = std::mem::take(&mut self.judgements);
        for (group, judgement) in judgements.drain(..) {
            let mut members = 0;
            for Lag { connection, played, owed } in self.lagging(group) {
                members += played as u32;
                // No round is left out for those who take no part in it, however many they say that they are.
                if !owed && (played == 0 || judgement == Judgement::Close) {
                    self.close_lagging(group, connection);
                }
            }
            if judgement == Judgement::Count {
                self.handle.lagging[&group].store(members, Relaxed);
            }
        }
        self.judgements = judgements;
    }

    /// The group's connections that are too far behind.
    fn lagging(&mut self, group: GroupId) -> Vec<Lag> {
        let (egress, audience) = (&mut self.egress, &self.audiences[&group]);
        let behind = audience.connections.iter().filter_map(|(&connection, &key)| {
            let cursor = egress.source_mut(key)?.source();
            if cursor.rounds_behind() <= ROUNDS_LATE_MAX {
                return None;
            }
            let played = audience.roster.as_ref().map_or(0, |roster| cursor.members_of(roster));
            let to_sign = cursor.has_to_sign();
            Some(Lag { connection, played, owed: to_sign && !egress.is_blocked(key) })
        });
        behind.collect()
    }

    fn close_lagging(&mut self, group: GroupId, connection: ConnectionId) {
        self.slow_readers_closed += 1;
        tracing::warn!(connection = connection.0, group = group.0, "closed: more than two rounds behind");
        self.close(connection, End::Now, Some(Code::SlowReader.frame(u32::MAX, u32::MAX, 0)));
    }

    fn close(&mut self, connection: ConnectionId, end: End, last: Option<Bytes>) {
        let Some(place) = self.places.get_mut(&connection).filter(|place| !place.closing) else { return };
        place.closing = true;
        let (key, group) = (place.key, place.group);
        let audience = self.audiences.get_mut(&group).expect("the front knows the groups");
        audience.connections.remove(&connection);
        if let Some(stream) = self.egress.source_mut(key) {
            stream.source_mut().end(end, last);
        }
        let patience = match end {
            End::Now => Duration::from_millis(FLUSH_TIMEOUT_MS),
            End::AfterLog => self.reader_timeout,
        };
        self.egress.close(key, Close::Flush { deadline: self.clock.elapsed() + patience });
    }

    fn closed(&mut self, key: ConnectionKey, stream: Sealed<Cursor>, reason: CloseReason) {
        let mut cursor = stream.into_source();
        let connection =
            self.connections[key.slot()].take().expect("a connection of the egress has a number");
        let place = self.places.remove(&connection).expect("a connection with a number has a place");
        let audience = self.audiences.get_mut(&place.group).expect("the front knows the groups");
        audience.connections.remove(&connection);
        cursor.leave();
        if reason == CloseReason::Stalled {
            self.slow_readers_closed += 1;
        }
        if reason != CloseReason::Asked {
            tracing::info!(connection = connection.0, %reason, unsent = cursor.pending(), "connection closed");
        }
        self.forget_users(cursor.users());
        self.tell(place.front, FrontMessage::Closed(connection));
    }

    fn forget_users(&self, users: usize) {
        self.handle.users.fetch_sub(users as u64, Relaxed);
    }

    fn tell(&mut self, front: usize, message: FrontMessage) {
        if let Err(message) = self.fronts[front].send(message) {
            self.unsent.push((front, message));
        }
    }

    fn counters(&self) -> CoreCounters {
        let of_logs = |count: fn(&Log) -> u64| {
            self.audiences.values().map(|audience| count(&audience.log.borrow())).sum()
        };
        CoreCounters {
            egress: *self.egress.stats(),
            tcp: self.egress.tcp_totals(),
            shares: of_logs(|log| log.shares_sent),
            parts: of_logs(|log| log.parts_sent),
            answers: of_logs(|log| log.answers_sent),
            delivered: self.audiences.values().map(|audience| audience.log.borrow().delivered).sum(),
            connections: self.places.len() as u64,
            slow_readers_closed: self.slow_readers_closed,
        }
    }
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
