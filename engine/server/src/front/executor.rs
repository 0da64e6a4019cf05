//! One front executor: its groups, its connections, and the tasks that serve them.

use super::net::{self, Ear, Joiner};
use super::queue::{Adopted, FrontHandle, FrontMessage};
use super::register::Waiting;
use super::strangers::Strangers;
use super::{greet, reader};
use crate::accountable::Accounting;
use crate::accounts::{AccountsHandle, Directory, Epochs};
use crate::answer::{AnswerPool, Done, Setup, Work};
use crate::config::{Config, Delivery};
use crate::fanout::{CoreHandle, CoreMessage, Newcomer};
use crate::group::{ConnectionId, Group, Output, Refusal};
use crate::keys::ChannelKeys;
use crate::limits::{
    BACKLOG_MAX, FETCH_BYTES_PER_TURN, FLUSH_TIMEOUT_MS, PRIVATE_FRAMES_MAX, PRIVATE_FRAMES_MOST, TICK_MS,
};
use crate::link::{LinkHandle, SessionId, ToLink};
use crate::metrics::Metrics;
use crate::parts_box::{BoxFolder, PartsBox};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use twincast_protocol::ids::{GroupId, ServerSide, UserId};
use twincast_protocol::wire::Code;
use twincast_protocol::wire::link::{LinkFrame, LinkGroup};

/// What all threads of a server share. Nothing that a share passes is locked in it.
#[derive(Debug)]
pub struct Shared {
    /// As it was checked at the start.
    pub config: Config,
    /// Which server this is.
    pub side: ServerSide,
    /// What private channels are made with; none where they are plain.
    pub channel: Option<Arc<ChannelKeys>>,
    /// Who has connected and not said who they are.
    pub strangers: Arc<Strangers>,
    /// The fan-out cores.
    pub cores: Vec<Arc<CoreHandle>>,
    /// The front executors.
    pub fronts: Vec<Arc<FrontHandle>>,
    /// The front's counters.
    pub metrics: Arc<Metrics>,
    /// The answer threads, if there are any.
    pub answers: Option<Arc<AnswerPool>>,
    /// By group whose delivery is `answer`: what it signs and verifies with.
    pub setups: HashMap<GroupId, Arc<Setup>>,
    /// By accountable group: what it signs and verifies with.
    pub accountings: HashMap<GroupId, Arc<Accounting>>,
    /// Whose key is whose.
    pub directory: Arc<Directory>,
    /// Who registers users' keys, where some group's users are known.
    pub accounts: Option<Arc<AccountsHandle>>,
    /// The epochs of groups that sign by them, where they are kept.
    pub epochs: Option<Epochs>,
    /// The link to the other server, if there is one.
    pub link: Option<Arc<LinkHandle>>,
    /// Where S2 keeps parts.
    pub boxes: Option<Arc<BoxFolder>>,
    /// When the server started: every time limit counts on it.
    pub clock: Instant,
    /// The same instant on the Unix clock.
    pub unix_at_zero: Duration,
}

impl Shared {
    /// The executor that owns a group, if the server has the group.
    #[must_use]
    pub fn owner(&self, group: GroupId) -> Option<usize> {
        let index = self.config.groups.iter().position(|config| config.id == group.0)?;
        Some(index % self.fronts.len())
    }
}

/// A connection that said HELLO to a group of this executor.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) group: GroupId,
    pub(super) core: usize,
    socket: TcpStream,
    /// What it sends is no longer looked at.
    pub(super) closing: bool,
    reader_done: bool,
    core_done: bool,
}

/// The state of one front executor. Its tasks take turns with it and never hold it while they wait.
#[derive(Debug)]
pub struct Executor {
    pub(super) index: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) groups: HashMap<GroupId, Group>,
    pub(super) connections: HashMap<ConnectionId, Connected>,
    /// Connections that have not said HELLO.
    pub(super) greeting: HashMap<ConnectionId, Rc<TcpStream>>,
    /// Connections that register users' keys, and wait for what comes of it.
    pub(super) registering: HashMap<ConnectionId, Rc<Waiting>>,
    /// By core: messages that found its queue full, in order.
    pub(super) backlog: Vec<VecDeque<CoreMessage>>,
    /// By answer thread, and last those for any of them: works that found the queue full, in order.
    pub(super) works: Vec<VecDeque<(GroupId, Work)>>,
    /// Emptied after each use; kept for its memory.
    pub(super) outputs: Vec<Output>,
    /// The link's session, while it is up.
    pub(super) link: Option<SessionId>,
    /// Time to end, with or without the last connections.
    stop_deadline: Option<Duration>,
    finishing: bool,
}

pub(super) type Handle = Rc<RefCell<Executor>>;

impl Executor {
    /// Starts executor `index` on a thread of its own.
    ///
    /// # Errors
    /// When glommio cannot start it, with the remedy where it is a limit.
    pub fn start(
        index: usize,
        core: Option<usize>,
        shared: Arc<Shared>,
        ear: UnixStream,
    ) -> io::Result<Joiner> {
        net::start(&format!("front-{index}"), core, move || async move {
            let executor = Rc::new(RefCell::new(Executor::new(index, shared)));
            net::spawn(hear(executor.clone(), Ear::new(OwnedFd::from(ear))));
            while !executor.borrow_mut().tick() {
                net::sleep(Duration::from_millis(TICK_MS)).await;
            }
            // Tasks that wait for ever keep the executor; what the groups keep on the disk goes all the same.
            executor.borrow_mut().groups.clear();
        })
    }

    fn new(index: usize, shared: Arc<Shared>) -> Executor {
        let groups = shared
            .config
            .groups
            .iter()
            .filter(|config| shared.owner(GroupId(config.id)) == Some(index))
            .map(|config| {
                let id = GroupId(config.id);
                let setup = shared.setups.get(&id).cloned();
                let mut shape = shared.config.shape(config).with_unix_at_zero(shared.unix_at_zero);
                if let Some(setup) = &setup {
                    shape.settings_hash = setup.settings_hash(&shape.settings_hash);
                } else {
                    shape.settings_hash = shared.directory.settings_hash(id, &shape.settings_hash);
                }
                let parts_box = shared
                    .boxes
                    .as_ref()
                    .map(|folder| Box::new(folder.group(id, shared.metrics.clone())) as Box<dyn PartsBox>);
                let kept = shared.epochs.as_ref().and_then(|epochs| epochs.of(id));
                let (first_epoch, epoch_keeper) = kept.unzip();
                shape.first_epoch = first_epoch.or(shape.first_epoch);
                let mut group = Group::new(shape, parts_box, setup);
                if let Some(keeper) = epoch_keeper {
                    group = group.with_epoch_keeper(keeper);
                }
                if let Some(accounting) = shared.accountings.get(&id) {
                    group = group.with_accounting(accounting.clone());
                }
                (id, group)
            })
            .collect();
        let backlog = shared.cores.iter().map(|_| VecDeque::new()).collect();
        let lanes = shared.answers.as_ref().map_or(0, |pool| pool.threads() + 1);
        Executor {
            index,
            shared,
            groups,
            connections: HashMap::new(),
            greeting: HashMap::new(),
            registering: HashMap::new(),
            backlog,
            works: (0..lanes).map(|_| VecDeque::new()).collect(),
            outputs: Vec::new(),
            link: None,
            stop_deadline: None,
            finishing: false,
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.shared.clock.elapsed()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop_deadline.is_some()
    }

    /// Hands a connection to the core with the fewest users and attaches its members.
    ///
    /// # Errors
    /// When the socket cannot be duplicated, for want of descriptors.
    pub(super) fn adopt(&mut self, adopted: &mut Adopted) -> io::Result<()> {
        let Adopted { connection, group, epoch, join, ref users, .. } = *adopted;
        let core = (0..self.shared.cores.len())
            .min_by_key(|&core| self.shared.cores[core].users.load(Relaxed))
            .expect("a server has a core");
        let socket = OwnedFd::from(adopted.socket.try_clone()?);
        let kept = adopted.socket.try_clone()?;
        // What is said of others is not kept.
        let seated = self.groups[&group].seats_for(users, join);
        self.shared.cores[core].users.fetch_add(seated.len() as u64, Relaxed);
        let front = self.index;
        let private_max = (2 * seated.len() * self.groups[&group].shape().slots)
            .clamp(PRIVATE_FRAMES_MAX, PRIVATE_FRAMES_MOST);
        let channel = adopted.outgoing.take();
        let newcomer = Newcomer { connection, group, socket, users: seated, private_max, front, channel };
        self.post(core, CoreMessage::Add(Box::new(newcomer)));
        let connected =
            Connected { group, core, socket: kept, closing: false, reader_done: false, core_done: false };
        self.connections.insert(connection, connected);
        // Who lost its key on the way here proves itself anew.
        let attached = if adopted.proved.holds(&self.shared.directory) {
            self.act(group, |group, now, _, out| group.attach(connection, epoch, join, users, now, out))
        } else {
            Err(Refusal::of_form(Code::NotRegistered))
        };
        if let Err(refusal) = attached {
            self.refuse(connection, &refusal);
        }
        Ok(())
    }

    /// Lets a group do something, and does what it wants done.
    pub(super) fn act<T>(
        &mut self,
        group: GroupId,
        action: impl FnOnce(&mut Group, Duration, u32, &mut Vec<Output>) -> T,
    ) -> T {
        let now = self.now();
        let lagging = self.shared.cores.iter().map(|core| core.lagging(group)).sum();
        let mut outputs = std::mem::take(&mut self.outputs);
        let state = self.groups.get_mut(&group).expect("a connection's group is this executor's");
        let result = action(state, now, lagging, &mut outputs);
        self.dispatch(group, &mut outputs);
        self.outputs = outputs;
        result
    }

    /// Tells the peer what was wrong, and ends the connection if it was an error of form.
    pub(super) fn refuse(&mut self, connection: ConnectionId, refusal: &Refusal) {
        self.shared.metrics.refused(refusal.code);
        tracing::debug!(connection = connection.0, code = refusal.code.label(), "refused");
        let core = self.connections.get(&connection).map(|connected| connected.core);
        if refusal.code.closes() {
            self.close(connection, Some(refusal.code), refusal.frame());
        } else if core.is_some_and(|core| self.backlog[core].len() >= BACKLOG_MAX) {
            // The core is behind, and every further answer would wait here.
            self.shared.metrics.refused(Code::SlowReader);
            self.close(connection, Some(Code::SlowReader), Code::SlowReader.frame(u32::MAX, u32::MAX, 0));
        } else if let Some(connected) = self.connections.get(&connection) {
            self.post(connected.core, CoreMessage::Private(connection, refusal.frame()));
        }
    }

    /// Ends a connection after a last frame: its members are absent from now on.
    pub(super) fn close(&mut self, connection: ConnectionId, why: Option<Code>, last: bytes::Bytes) {
        let Some(connected) = self.connections.get_mut(&connection).filter(|connected| !connected.closing)
        else {
            return;
        };
        connected.closing = true;
        let (core, group) = (connected.core, connected.group);
        tracing::info!(connection = connection.0, why = why.map_or("", Code::label), "closing a connection");
        self.post(core, CoreMessage::Close(connection, Some(last)));
        self.act(group, |group, now, _, out| group.detach(connection, now, out));
    }

    /// The peer sends no more.
    pub(super) fn reader_done(&mut self, connection: ConnectionId) {
        let Some(connected) = self.connections.get_mut(&connection) else { return };
        connected.reader_done = true;
        let (core, group) = (connected.core, connected.group);
        if !std::mem::replace(&mut connected.closing, true) {
            self.post(core, CoreMessage::Close(connection, None));
            self.act(group, |group, now, _, out| group.detach(connection, now, out));
        }
        self.forget_if_done(connection);
    }

    /// The core has closed its end. The peer may still be sending; it gets a moment to see why it was closed, since
    /// closing a socket with unread bytes would take the last frame back.
    fn core_done(&mut self, connection: ConnectionId) -> Option<Duration> {
        let connected = self.connections.get_mut(&connection)?;
        connected.core_done = true;
        let was_closing = std::mem::replace(&mut connected.closing, true);
        let group = connected.group;
        // An error means that the peer is gone already.
        let _ = connected.socket.shutdown(Shutdown::Write);
        if !was_closing {
            self.act(group, |group, now, _, out| group.detach(connection, now, out));
        }
        self.forget_if_done(connection);
        self.connections.contains_key(&connection).then_some(Duration::from_millis(FLUSH_TIMEOUT_MS))
    }

    fn shut(&mut self, connection: ConnectionId) {
        if let Some(connected) = self.connections.get(&connection) {
            // The reader sees the end of the stream, and the connection is forgotten.
            let _ = connected.socket.shutdown(Shutdown::Both);
        }
    }

    fn forget_if_done(&mut self, connection: ConnectionId) {
        let done = |connected: &Connected| connected.reader_done && connected.core_done;
        if self.connections.get(&connection).is_some_and(done) {
            self.connections.remove(&connection);
            self.shared.metrics.connections.fetch_sub(1, Relaxed);
        }
    }

    /// What is due. Returns whether the executor is done.
    fn tick(&mut self) -> bool {
        self.flush_backlog();
        self.flush_works();
        self.close_unanswered();
        let groups: Vec<GroupId> = self.groups.keys().copied().collect();
        // Those who fetch share what is made in a turn.
        let fetching = self.groups.values().filter(|group| group.has_fetches()).count();
        let budget = FETCH_BYTES_PER_TURN.div_ceil(fetching.max(1));
        for id in groups {
            self.act(id, |group, now, lagging, out| {
                group.tick(now, lagging, out);
                group.answer_fetches(budget, out);
            });
            let group = &self.groups[&id];
            self.shared.metrics.stands(id, group.epoch(), group.open_round(), group.members());
        }
        let Some(deadline) = self.stop_deadline else { return false };
        if !self.finishing && self.groups.values().all(Group::is_drained) {
            self.finishing = true;
            self.finish_connections();
        }
        let nobody_left = self.connections.is_empty() && self.greeting.is_empty();
        (self.finishing && nobody_left) || self.now() >= deadline
    }

    fn stop(&mut self) {
        let round_timeout =
            self.groups.values().map(|group| group.shape().round_timeout).max().unwrap_or_default();
        let link = self.shared.config.link.as_ref();
        let peer_timeout = link.map(|link| Duration::from_millis(link.peer_timeout_ms)).unwrap_or_default();
        // The open round, and the next one for which submissions were taken; for both the other server's word.
        let patience = 2 * (round_timeout + peer_timeout);
        let reader_timeout = Duration::from_millis(self.shared.config.limits.reader_timeout_ms);
        let flush = Duration::from_millis(2 * FLUSH_TIMEOUT_MS);
        self.stop_deadline.get_or_insert(self.shared.clock.elapsed() + patience + reader_timeout + flush);
        self.groups.values_mut().for_each(Group::stop);
        for socket in self.greeting.values() {
            // What waits for a HELLO sees the end of the stream. An error means that the peer is gone already.
            let _ = socket.shutdown(Shutdown::Read);
        }
        self.registering.values().for_each(|waiting| waiting.stop());
    }

    /// Tells the link's thread how this executor's groups stand.
    fn link_ask(&mut self, session: SessionId) {
        let groups = self.groups.values().map(Group::standing).collect();
        if let Some(link) = &self.shared.link {
            link.send(ToLink::Standing(session, self.index, groups));
        }
    }

    fn link_up(&mut self, session: SessionId, theirs: &[LinkGroup]) {
        self.link = Some(session);
        let theirs: HashMap<u32, &LinkGroup> =
            theirs.iter().map(|group| (group.group.get(), group)).collect();
        let groups: Vec<GroupId> = self.groups.keys().copied().collect();
        for id in groups {
            let theirs = theirs.get(&id.0).copied();
            if let Err(code) = self.act(id, |group, now, _, out| group.link_up(theirs, now, out))
                && let Some(link) = &self.shared.link
            {
                link.send(ToLink::Refused(session, id, code));
            }
        }
    }

    fn link_down(&mut self) {
        self.link = None;
        let groups: Vec<GroupId> = self.groups.keys().copied().collect();
        for id in groups {
            self.act(id, |group, now, _, out| group.link_down(now, out));
        }
    }

    /// The other server says something about a group.
    fn peer(&mut self, group: GroupId, frame: LinkFrame) {
        let Some(session) = self.link else { return };
        if let Err(code) = self.act(group, |group, now, _, out| group.peer(frame, now, out))
            && let Some(link) = &self.shared.link
        {
            link.send(ToLink::Refused(session, group, code));
        }
    }

    /// The answer threads have done something that this group wanted.
    fn worked(&mut self, group: GroupId, done: Done) {
        let worked = self.act(group, |group, now, _, out| group.worked(done, now, out));
        if let Err(code) = worked
            && let (Some(link), Some(session)) = (&self.shared.link, self.link)
        {
            link.send(ToLink::Refused(session, group, code));
        }
    }

    /// A user has lost its key: whoever is attached by it goes.
    fn revoked(&mut self, group: GroupId, user: UserId) {
        let holder = self.groups.get(&group).and_then(|group| group.holder_of(user));
        if let Some(connection) = holder {
            self.refuse(connection, &Refusal { sender: user.0, ..Refusal::of_form(Code::NotRegistered) });
        }
    }

    /// Closes who waits for answers once an answer thread has failed: there will be none, and they hear of it.
    fn close_unanswered(&mut self) {
        if !self.shared.answers.as_ref().is_some_and(|pool| pool.has_failed()) {
            return;
        }
        let waits = |connected: &Connected| {
            !connected.closing && self.groups[&connected.group].shape().delivery == Delivery::Answer
        };
        let waiting: Vec<ConnectionId> =
            self.connections.iter().filter(|(_, connected)| waits(connected)).map(|(id, _)| *id).collect();
        for connection in waiting {
            self.shared.metrics.refused(Code::ShuttingDown);
            let last = Code::ShuttingDown.frame(u32::MAX, u32::MAX, 0);
            self.close(connection, Some(Code::ShuttingDown), last);
        }
    }

    /// Every connection gets what its group still has for it, the reason, and the end.
    fn finish_connections(&mut self) {
        let open: Vec<(ConnectionId, usize)> = self
            .connections
            .iter_mut()
            .filter(|(_, connected)| !connected.closing)
            .map(|(&connection, connected)| {
                connected.closing = true;
                (connection, connected.core)
            })
            .collect();
        for (connection, core) in open {
            self.shared.metrics.refused(Code::ShuttingDown);
            let last = Code::ShuttingDown.frame(u32::MAX, u32::MAX, 0);
            self.post(core, CoreMessage::Finish(connection, last));
        }
    }
}

/// Takes what other threads tell this executor.
async fn hear(executor: Handle, mut ear: Ear) {
    let queue = {
        let executor = executor.borrow();
        executor.shared.fronts[executor.index].clone()
    };
    let mut bells = [0; 64];
    loop {
        match ear.read(&mut bells).await {
            Ok(1..) => {}
            // The handles live as long as the server: nobody is left to ring.
            Ok(0) | Err(_) => return,
        }
        queue.heard();
        while let Some(message) = queue.pop() {
            take(&executor, message);
        }
    }
}

fn take(executor: &Handle, message: FrontMessage) {
    match message {
        FrontMessage::Accepted(connection, socket, stranger) => {
            let socket = Rc::new(socket);
            executor.borrow_mut().greeting.insert(connection, socket.clone());
            net::spawn(greet::greet(executor.clone(), connection, socket, stranger));
        }
        FrontMessage::Adopt(adopted) => net::spawn(reader::serve(executor.clone(), *adopted)),
        FrontMessage::Closed(connection) => {
            let patience = executor.borrow_mut().core_done(connection);
            if let Some(patience) = patience {
                let executor = executor.clone();
                net::spawn(async move {
                    net::sleep(patience).await;
                    executor.borrow_mut().shut(connection);
                });
            }
        }
        FrontMessage::LinkAsk(session) => executor.borrow_mut().link_ask(session),
        FrontMessage::LinkUp(session, theirs) => executor.borrow_mut().link_up(session, &theirs),
        FrontMessage::Peer(group, frame) => executor.borrow_mut().peer(group, frame),
        FrontMessage::LinkDown => executor.borrow_mut().link_down(),
        FrontMessage::Worked(group, done) => executor.borrow_mut().worked(group, done),
        FrontMessage::Registered(connection, index, outcome) => {
            let waiting = executor.borrow().registering.get(&connection).cloned();
            if let Some(waiting) = waiting {
                waiting.came(index, *outcome);
            }
        }
        FrontMessage::Revoked(group, user) => executor.borrow_mut().revoked(group, user),
        FrontMessage::Stop => executor.borrow_mut().stop(),
    }
}
