//! The link's thread: waits for sockets, executors and deadlines, and passes frames on.

use super::LinkParts;
use super::channel::LinkKeys;
use super::compare::Differences;
use super::entry::{Entry, HELLO_TIMEOUT, Listener, Stranger};
use super::handle::{SessionId, ToLink};
use super::wire::{Brought, Wire};
use crate::front::FrontMessage;
use crate::limits::FLUSH_TIMEOUT_MS;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use twincast_protocol::ids::ServerSide;
use twincast_protocol::wire::link::{KeySigned, LinkFrame, LinkGroup};

/// How soon a message for a full queue is tried again.
const RETRY: Duration = Duration::from_millis(1);

/// The state of the thread.
#[derive(Debug)]
pub(super) struct LinkThread {
    parts: LinkParts,
    keys: LinkKeys,
    entry: Entry,
    session: Option<Session>,
    sessions: u64,
    /// Messages for executors whose queue was full, in order. While there are any, the link is not read.
    unsent: VecDeque<(usize, FrontMessage)>,
    /// A key for which the registry's queue was full: likewise.
    unsent_key: Option<KeySigned>,
    stall_timeout: Duration,
}

/// One connection with the other server.
#[derive(Debug)]
struct Session {
    id: SessionId,
    wire: Wire,
    /// By executor: how its groups stand, once it has said so.
    standings: Vec<Option<Vec<LinkGroup>>>,
    said_hello: bool,
    /// What the other server's LINK_HELLO said.
    theirs: Option<Arc<[LinkGroup]>>,
    /// Both LINK_HELLOs are there, by then at the latest.
    deadline: Instant,
    up_since: Option<Instant>,
}

/// Why a session ends, for the log.
type Reason = String;

impl LinkThread {
    /// What the other server does not take for `stall_timeout` ends the session.
    pub(super) fn new(parts: LinkParts, entry: Entry, stall_timeout: Duration) -> LinkThread {
        let keys = LinkKeys::new(parts.side, parts.channel.clone());
        let unsent = VecDeque::new();
        LinkThread { parts, keys, entry, session: None, sessions: 0, unsent, unsent_key: None, stall_timeout }
    }

    pub(super) fn run(mut self) {
        loop {
            let now = Instant::now();
            if let (Entry::Connect(connector), None) = (&mut self.entry, &self.session) {
                connector.begin(now);
            }
            let ready = match self.wait(now) {
                Ok(ready) => ready,
                Err(error) => {
                    tracing::error!(%error, "the link's thread cannot wait");
                    self.end_session("its thread ends");
                    return;
                }
            };
            self.parts.handle.heard();
            self.send_unsent();
            self.hear_executors();
            if self.parts.handle.is_stopping() {
                return self.finish();
            }
            self.hear_entry(&ready);
            if let Some(reason) = self.serve_session(ready.session) {
                self.end_session(&reason);
            }
        }
    }

    /// Waits until something is to be done.
    fn wait(&self, now: Instant) -> rustix::io::Result<Ready> {
        let mut fds = vec![PollFd::from_borrowed_fd(self.parts.handle.bell(), PollFlags::IN)];
        let mut dues: Vec<Instant> = Vec::new();
        let mut entry_fds = 0;
        let mut strangers = 0;
        match &self.entry {
            Entry::Connect(connector) if self.session.is_none() => {
                fds.extend(connector.poll_fd());
                dues.push(connector.due_at());
            }
            Entry::Connect(_) => {}
            Entry::Listen(listener) => {
                fds.extend(listener.poll_fd(now));
                dues.extend(listener.due_at(now));
                strangers = listener.strangers.len();
            }
        }
        entry_fds += fds.len() - 1;
        if let Entry::Listen(listener) = &self.entry {
            let wires = listener.strangers.iter().map(|stranger| &stranger.wire);
            fds.extend(wires.map(|wire| PollFd::from_borrowed_fd(wire.fd(), PollFlags::IN)));
        }
        if let Some(session) = &self.session {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, self.reads(session));
            flags.set(PollFlags::OUT, session.wire.has_unsent());
            fds.push(PollFd::from_borrowed_fd(session.wire.fd(), flags));
            dues.extend(session.wire.stalls_at(self.stall_timeout));
            dues.extend(session.up_since.is_none().then_some(session.deadline));
        }
        dues.extend(self.has_unsent().then(|| now + RETRY));
        // What waited for room that there is now.
        let has_room = self.session.as_ref().is_none_or(|session| session.wire.has_room());
        dues.extend((has_room && !self.parts.handle.is_empty()).then_some(now));
        // Rounded up, so that what is due is due when poll returns.
        let wait =
            dues.iter().min().map(|due| due.saturating_duration_since(now) + Duration::from_micros(100));
        let wait = wait.map(|wait| Timespec::try_from(wait).expect("time limits are bounded"));
        match poll(&mut fds, wait.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let first_stranger = 1 + entry_fds;
        Ok(Ready {
            entry: entry_fds > 0 && is_ready(&fds[1]),
            strangers: fds[first_stranger..first_stranger + strangers].iter().map(is_ready).collect(),
            session: self.session.is_some() && fds.last().is_some_and(is_ready),
        })
    }

    /// Whether the session's socket is read now: not ahead of the executors, and not before this server has said
    /// LINK_HELLO to one that has.
    fn reads(&self, session: &Session) -> bool {
        !self.has_unsent() && (session.theirs.is_none() || session.up_since.is_some())
    }

    fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || self.unsent_key.is_some()
    }

    fn hear_executors(&mut self) {
        loop {
            // What does not fit the connection yet waits in the queue.
            let full = self.session.as_ref().is_some_and(|session| !session.wire.has_room());
            if full {
                return;
            }
            let Some(message) = self.parts.handle.pop() else { return };
            let Some(session) = &mut self.session else { continue };
            match message {
                ToLink::Standing(id, executor, groups) if id == session.id => {
                    session.standings[executor] = Some(groups);
                    let said = session.say_hello(self.parts.side);
                    self.parts.metrics.link_frames_out.fetch_add(said.into(), Relaxed);
                    self.come_up();
                }
                ToLink::Frame(id, frame) if id == session.id => {
                    self.parts.metrics.link_frames_out.fetch_add(1, Relaxed);
                    session.wire.push(&frame);
                }
                ToLink::Refused(id, group, code) if id == session.id => {
                    let code = code.label();
                    self.end_session(&format!(
                        "the other server said about group {group} what it must not: {code}"
                    ));
                }
                // Of a session that is over.
                _ => {}
            }
        }
    }

    fn hear_entry(&mut self, ready: &Ready) {
        let now = Instant::now();
        match &mut self.entry {
            Entry::Connect(connector) if self.session.is_none() => {
                if let Some(wire) = connector.made(ready.entry, now, self.stall_timeout, &self.keys) {
                    self.begin_session(wire, None);
                }
            }
            Entry::Connect(_) => {}
            Entry::Listen(listener) => {
                let newer = hear_strangers(listener, &ready.strangers, now, &self.parts);
                if ready.entry {
                    listener.accept(now, self.stall_timeout, &self.keys, &self.parts.metrics);
                }
                if let Some((wire, theirs)) = newer {
                    if self.session.is_some() {
                        self.end_session("a newer connection of the other server takes its place");
                    }
                    self.begin_session(wire, Some(theirs.into()));
                }
            }
        }
    }

    fn begin_session(&mut self, wire: Wire, theirs: Option<Arc<[LinkGroup]>>) {
        self.sessions += 1;
        let id = SessionId(self.sessions);
        // Nothing of strangers is counted until they are the other server.
        self.parts.metrics.link_bytes_in.fetch_add(wire.received(), Relaxed);
        self.parts.metrics.link_frames_in.fetch_add(theirs.is_some().into(), Relaxed);
        self.session = Some(Session {
            id,
            wire,
            standings: vec![None; self.parts.fronts.len()],
            said_hello: false,
            theirs,
            deadline: Instant::now() + HELLO_TIMEOUT,
            up_since: None,
        });
        self.tell_all(|| FrontMessage::LinkAsk(id));
    }

    /// Reads and writes what there is. A reason: the session has to end.
    fn serve_session(&mut self, ready: bool) -> Option<Reason> {
        let now = Instant::now();
        let mut session = self.session.take()?;
        let reason = self.serve(&mut session, ready, now).err();
        self.session = Some(session);
        reason
    }

    fn serve(&mut self, session: &mut Session, ready: bool, now: Instant) -> Result<(), Reason> {
        let gone = |error: io::Error| format!("{error}");
        if self.parts.handle.is_lossy(session.id) {
            return Err("the other server takes too little of what there is to say".into());
        }
        if session.up_since.is_none() && now >= session.deadline {
            return Err("no LINK_HELLO came in time; is it another server's link address?".into());
        }
        let written = session.wire.write().map_err(gone)?;
        self.parts.metrics.link_bytes_out.fetch_add(written as u64, Relaxed);
        if session.wire.stalls_at(self.stall_timeout).is_some_and(|at| now >= at) {
            return Err("the other server takes nothing".into());
        }
        self.take_frames(session)?;
        if !ready || !self.reads(session) {
            return Ok(());
        }
        match session.wire.read().map_err(gone)? {
            Brought::Bytes(bytes) => {
                self.parts.metrics.link_bytes_in.fetch_add(bytes as u64, Relaxed);
                self.take_frames(session)
            }
            Brought::Nothing => Ok(()),
            Brought::End if session.up_since.is_some() => Err("the other server closed it".into()),
            Brought::End if session.wire.shakes_hands() => {
                Err("it was closed in the handshake: compare the two servers' channel keys with what each pins, and that \
                     both have the same `channel`"
                    .into())
            }
            Brought::End => {
                Err("it was closed before LINK_HELLO; is it the other server's link address?".into())
            }
        }
    }

    /// Passes on the whole frames that are there, as far as executors take them.
    fn take_frames(&mut self, session: &mut Session) -> Result<(), Reason> {
        while self.reads(session) {
            let frame = session.wire.next().map_err(|code| format!("it is no link: {}", code.label()))?;
            let Some(frame) = frame else { return Ok(()) };
            self.parts.metrics.link_frames_in.fetch_add(1, Relaxed);
            match (frame, session.theirs.is_some()) {
                (LinkFrame::Hello(side, groups), false) => {
                    check_hello(side, &groups, self.parts.side)?;
                    session.theirs = Some(groups.into());
                    self.come_up_with(session);
                }
                (LinkFrame::Hello(..), true) => return Err("the other server said LINK_HELLO twice".into()),
                (_, false) => return Err("it did not begin with LINK_HELLO".into()),
                (LinkFrame::KeySigned(signed), true) => self.tell_registry(signed),
                (frame, true) => {
                    let group = frame.group().expect("all frames but LINK_HELLO are about a group");
                    let Some(&owner) = self.parts.owners.get(&group) else {
                        return Err(format!("it is about group {group}, which is not served here"));
                    };
                    self.tell(owner, FrontMessage::Peer(group, frame));
                }
            }
        }
        Ok(())
    }

    fn come_up(&mut self) {
        if let Some(mut session) = self.session.take() {
            self.come_up_with(&mut session);
            self.session = Some(session);
        }
    }

    /// Tells executors that the link is up, once both have said LINK_HELLO.
    fn come_up_with(&mut self, session: &mut Session) {
        let Some(theirs) =
            session.theirs.clone().filter(|_| session.said_hello && session.up_since.is_none())
        else {
            return;
        };
        session.up_since = Some(Instant::now());
        let ours = session.standings.iter().flatten().flatten();
        let differences = Differences::between(ours, &theirs);
        self.parts.metrics.groups_differing.store(differences.count() as u64, Relaxed);
        self.parts.metrics.link_up.store(1, Relaxed);
        self.parts.metrics.link_ups.fetch_add(1, Relaxed);
        let peer = session.wire.peer();
        match differences.count() {
            0 => tracing::info!(
                %peer,
                groups = theirs.len(),
                "the link to the other server is up; both have the same groups with the same settings"
            ),
            differing => tracing::warn!(
                %peer,
                differing,
                "the link to the other server is up, but groups are not the same at both servers"
            ),
        }
        differences.tell();
        let id = session.id;
        if let Some(accounts) = &self.parts.accounts {
            accounts.link_is(Some(id));
        }
        self.tell_all(|| FrontMessage::LinkUp(id, theirs.clone()));
    }

    fn end_session(&mut self, reason: &str) {
        let Some(session) = self.session.take() else { return };
        let failed = session.wire.shakes_hands();
        self.parts.metrics.link_handshakes_failed.fetch_add(failed.into(), Relaxed);
        let up_for = session.up_since.map(|since| since.elapsed());
        if up_for.is_some() {
            tracing::warn!(peer = %session.wire.peer(), reason, "the link to the other server is down");
            self.parts.metrics.link_up.store(0, Relaxed);
            if let Some(accounts) = &self.parts.accounts {
                accounts.link_is(None);
            }
            self.tell_all(|| FrontMessage::LinkDown);
        }
        match (&mut self.entry, up_for) {
            (Entry::Connect(connector), Some(up_for)) => connector.ended(up_for),
            (Entry::Connect(connector), None) => connector.failed(&reason),
            (Entry::Listen(_), Some(_)) => {}
            (Entry::Listen(_), None) => {
                tracing::warn!(peer = %session.wire.peer(), reason, "no link to the other server");
            }
        }
    }

    fn tell_all(&mut self, message: impl Fn() -> FrontMessage) {
        for front in 0..self.parts.fronts.len() {
            self.tell(front, message());
        }
    }

    fn tell(&mut self, front: usize, message: FrontMessage) {
        if self.unsent.is_empty() {
            let Err(message) = self.parts.fronts[front].send(message) else { return };
            self.unsent.push_back((front, message));
        } else {
            self.unsent.push_back((front, message));
        }
    }

    /// Tells the registry of a key; where nobody's users are known, it means nothing.
    fn tell_registry(&mut self, signed: KeySigned) {
        self.unsent_key = self.parts.accounts.as_ref().and_then(|accounts| accounts.signed(signed).err());
    }

    fn send_unsent(&mut self) {
        if let Some(signed) = self.unsent_key.take() {
            self.tell_registry(signed);
        }
        while let Some((front, message)) = self.unsent.pop_front() {
            if let Err(message) = self.parts.fronts[front].send(message) {
                return self.unsent.push_front((front, message));
            }
        }
    }

    /// The executors have ended: what they said last still goes out, if the other server takes it soon.
    fn finish(mut self) {
        let deadline = Instant::now() + Duration::from_millis(FLUSH_TIMEOUT_MS);
        loop {
            self.hear_executors();
            let Some(session) = self.session.as_mut().filter(|session| session.up_since.is_some()) else {
                return;
            };
            let now = Instant::now();
            if session.wire.write().is_err() || !session.wire.has_unsent() || now >= deadline {
                return;
            }
            let wait = Timespec::try_from(deadline - now).expect("a second");
            let _ = poll(&mut [PollFd::from_borrowed_fd(session.wire.fd(), PollFlags::OUT)], Some(&wait));
        }
    }
}

impl Session {
    /// Says LINK_HELLO once all executors have said how their groups stand. Returns whether it did now.
    fn say_hello(&mut self, side: ServerSide) -> bool {
        if self.said_hello || self.standings.iter().any(Option::is_none) {
            return false;
        }
        let mut groups: Vec<LinkGroup> = self.standings.iter().flatten().flatten().copied().collect();
        groups.sort_by_key(|group| group.group.get());
        self.wire.push(&LinkFrame::Hello(side.index() as u8 + 1, groups));
        self.said_hello = true;
        true
    }
}

/// Which sockets have something.
#[derive(Debug)]
struct Ready {
    entry: bool,
    strangers: Vec<bool>,
    session: bool,
}

/// Reads what strangers say. Whoever says LINK_HELLO as the other server does is one no more; whoever says anything
/// else, or nothing for too long, goes.
fn hear_strangers(
    listener: &mut Listener,
    ready: &[bool],
    now: Instant,
    parts: &LinkParts,
) -> Option<(Wire, Vec<LinkGroup>)> {
    let mut newer = None;
    let strangers = std::mem::take(&mut listener.strangers);
    for (index, mut stranger) in strangers.into_iter().enumerate() {
        let ready = ready.get(index).copied().unwrap_or_default();
        match hear_stranger(&mut stranger, ready, now, parts.side) {
            Ok(Some(theirs)) => newer = Some((stranger.wire, theirs)),
            Ok(None) => listener.strangers.push_back(stranger),
            Err(reason) => {
                let failed = stranger.wire.shakes_hands();
                parts.metrics.link_handshakes_failed.fetch_add(failed.into(), Relaxed);
                tracing::info!(peer = %stranger.wire.peer(), reason, "a connection to the link's address was closed");
            }
        }
    }
    newer
}

fn hear_stranger(
    stranger: &mut Stranger,
    ready: bool,
    now: Instant,
    side: ServerSide,
) -> Result<Option<Vec<LinkGroup>>, Reason> {
    if now >= stranger.deadline {
        return Err("no LINK_HELLO came in time".into());
    }
    if !ready {
        return Ok(None);
    }
    if stranger.wire.read().map_err(|error| error.to_string())? == Brought::End {
        return Err("it ended before LINK_HELLO".into());
    }
    // What the handshake answers: a fresh socket has room for it.
    stranger.wire.write().map_err(|error| error.to_string())?;
    match stranger.wire.next().map_err(|code| format!("it is no link: {}", code.label()))? {
        Some(LinkFrame::Hello(theirs, groups)) => check_hello(theirs, &groups, side).map(|()| Some(groups)),
        Some(_) => Err("it did not begin with LINK_HELLO".into()),
        None => Ok(None),
    }
}

/// A LINK_HELLO is the other server's only if it is of the other side, and lists groups as every server does.
fn check_hello(theirs: u8, groups: &[LinkGroup], ours: ServerSide) -> Result<(), Reason> {
    if usize::from(theirs) != ours.other().index() + 1 {
        return Err(format!(
            "the server at its other end is {ours}, too: one of the two needs side = {}",
            ours.other().index() + 1
        ));
    }
    if groups.is_empty() || !groups.is_sorted_by(|a, b| a.group.get() < b.group.get()) {
        return Err("its LINK_HELLO does not list groups as a server does".into());
    }
    Ok(())
}
