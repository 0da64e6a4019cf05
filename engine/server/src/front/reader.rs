//! The task that reads one connection: HELLO first, then frames until the peer stops.

use super::executor::{Executor, Handle, Shared};
use super::frames::{Buffer, Lengths, Next};
use super::net::{Ear, give_way, within};
use super::queue::{Adopted, FrontMessage};
use crate::group::{ConnectionId, Refusal, Upload};
use crate::limits::{FLUSH_TIMEOUT_MS, READ_BYTES, READS_PER_TURN, STRANGER_BYTES};
use crate::metrics::Metrics;
use rustix::net::{SendFlags, send};
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use twincast_protocol::ids::{Epoch, GroupId, ServerSide};
use twincast_protocol::parts::PartKind;
use twincast_protocol::wire::{Body, Code, Dial, Fetch, HEADER_BYTES, Hello, Kind, Leave, PartsHead, Submit};

/// Bytes of a HELLO without its users.
const HELLO_HEAD_BYTES: usize = size_of::<Hello>();

/// Hears a new connection's HELLO, and passes it on to the executor that owns its group.
pub(super) async fn greet(executor: Handle, connection: ConnectionId, socket: Rc<TcpStream>) {
    let shared = executor.borrow().shared.clone();
    let adopted = meet(&executor, connection, &socket).await;
    executor.borrow_mut().greeting.remove(&connection);
    drop(socket);
    if let Some(adopted) = adopted {
        let owner = shared.owner(adopted.group).expect("the group was looked up");
        if owner == executor.borrow().index {
            serve(executor, adopted).await;
            return;
        }
        if shared.fronts[owner].send(FrontMessage::Adopt(Box::new(adopted))).is_ok() {
            return;
        }
        shared.metrics.connections_dropped.fetch_add(1, Relaxed);
        tracing::warn!("a connection was dropped: its executor has too much to do");
    }
    shared.metrics.connections.fetch_sub(1, Relaxed);
}

/// Hears HELLO, or turns the peer away.
async fn meet(executor: &Handle, connection: ConnectionId, socket: &TcpStream) -> Option<Adopted> {
    let shared = executor.borrow().shared.clone();
    let Ok(copy) = socket.try_clone() else {
        shared.metrics.connections_dropped.fetch_add(1, Relaxed);
        tracing::warn!("a connection was dropped: no descriptor is left; raise `ulimit -n`");
        return None;
    };
    let mut ear = Ear::new(copy);
    let limits = &shared.config.limits;
    let timeout = Duration::from_millis(limits.hello_timeout_ms);
    let hello = hear_hello(&mut ear, limits.users_per_connection_max, &shared.metrics);
    let adopted = match within(timeout, hello).await.unwrap_or(Err(Some(Code::HelloTimeout))) {
        Ok((body, buffer)) => read_hello(&shared, connection, socket, body, &buffer),
        Err(code) => Err(code),
    };
    let stopping = executor.borrow().is_stopping();
    let code = match adopted {
        // A stop ends the stream, so that nobody waits for a HELLO.
        Ok(_) | Err(None) if stopping => Code::ShuttingDown,
        Ok(adopted) => return Some(adopted),
        Err(Some(code)) => code,
        Err(None) => return None,
    };
    turn_away(&shared, socket, &mut ear, code).await;
    None
}

/// Reads until HELLO is there. No code: the peer went away.
async fn hear_hello(
    ear: &mut Ear,
    users_max: u32,
    metrics: &Metrics,
) -> Result<(Range<usize>, Buffer), Option<Code>> {
    let body_bytes_max = HELLO_HEAD_BYTES + 4 * users_max as usize;
    let mut buffer = Buffer::new(STRANGER_BYTES, &[]);
    loop {
        if let Some(body) = buffer.hello(body_bytes_max)? {
            return Ok((body, buffer));
        }
        match ear.read(buffer.room()).await {
            Ok(bytes @ 1..) => buffer.filled(bytes),
            Ok(0) | Err(_) => {
                metrics.cut_frames.fetch_add(u64::from(!buffer.rest().is_empty()), Relaxed);
                return Err(None);
            }
        }
    }
}

fn read_hello(
    shared: &Shared,
    connection: ConnectionId,
    socket: &TcpStream,
    body: Range<usize>,
    buffer: &Buffer,
) -> Result<Adopted, Option<Code>> {
    let (hello, side, users, _proofs) = Hello::read(buffer.get(body))?;
    let group = GroupId(hello.group.get());
    if side != shared.side {
        return Err(Some(Code::SideWrong));
    }
    if shared.owner(group).is_none() {
        return Err(Some(Code::GroupUnknown));
    }
    let socket = socket.try_clone().map_err(|_| None)?;
    let (epoch, join) = (Epoch(hello.epoch.get()), hello.join == 1);
    Ok(Adopted { connection, socket, group, epoch, join, users: users.into(), rest: buffer.rest().to_vec() })
}

/// Says why, and closes: nobody else writes to this socket yet.
async fn turn_away(shared: &Shared, socket: &TcpStream, ear: &mut Ear, code: Code) {
    shared.metrics.refused(code);
    let frame = code.frame(u32::MAX, u32::MAX, 0);
    // A socket that was never written to has room for it, or its peer is gone.
    let _ = send(socket, &frame, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    let _ = socket.shutdown(Shutdown::Write);
    // Bytes that are not read when the socket is closed would take the frame back.
    let mut dropped = [0; 4096];
    within(Duration::from_millis(FLUSH_TIMEOUT_MS), async {
        while matches!(ear.read(&mut dropped).await, Ok(1..)) {}
    })
    .await;
}

/// A PARTS body that is coming in.
struct Parts {
    at: usize,
    bytes: usize,
    /// What the group takes them for, unless it refused them.
    upload: Option<Upload>,
}

/// Serves a connection of this executor until its peer sends no more.
pub(super) async fn serve(executor: Handle, mut adopted: Adopted) {
    let (connection, group) = (adopted.connection, adopted.group);
    let adopting = executor.borrow_mut().adopt(&adopted);
    let shared = executor.borrow().shared.clone();
    let socket = adopting.and_then(|()| adopted.socket.try_clone());
    let Ok(socket) = socket else {
        shared.metrics.connections_dropped.fetch_add(1, Relaxed);
        tracing::warn!("a connection was dropped: no descriptor is left; raise `ulimit -n`");
        let known = executor.borrow().connections.contains_key(&connection);
        if known {
            executor.borrow_mut().reader_done(connection);
        } else {
            shared.metrics.connections.fetch_sub(1, Relaxed);
        }
        return;
    };
    let mut ear = Ear::new(socket);
    let (lengths, submit_bytes) = {
        let executor = executor.borrow();
        let shape = executor.groups[&group].shape();
        (Lengths::new(shape), shape.submit_body_bytes(shape.members_max))
    };
    let submissions = adopted.users.len() * (HEADER_BYTES + submit_bytes);
    let capacity = submissions.min(READ_BYTES).max(lengths.whole_max()).next_multiple_of(4096);
    let mut buffer = Buffer::new(capacity, &std::mem::take(&mut adopted.rest));
    // The executor has its own handle; this one would keep the socket open for longer.
    drop(adopted);
    let mut parts = None;
    let mut reads = 0;
    loop {
        executor.borrow_mut().take_frames(connection, group, &mut buffer, &mut parts, &lengths);
        match ear.read(buffer.room()).await {
            Ok(bytes @ 1..) => {
                shared.metrics.ingress_bytes.fetch_add(bytes as u64, Relaxed);
                buffer.filled(bytes);
            }
            Ok(0) | Err(_) => break,
        }
        reads += 1;
        if reads % READS_PER_TURN == 0 {
            give_way().await;
        }
    }
    if !buffer.rest().is_empty() || parts.is_some() {
        shared.metrics.cut_frames.fetch_add(1, Relaxed);
    }
    executor.borrow_mut().reader_done(connection);
}

impl Executor {
    /// Takes every frame that is whole. After an error of form nothing of this peer is looked at any more.
    fn take_frames(
        &mut self,
        connection: ConnectionId,
        group: GroupId,
        buffer: &mut Buffer,
        parts: &mut Option<Parts>,
        lengths: &Lengths,
    ) {
        loop {
            if self.connections.get(&connection).is_none_or(|connected| connected.closing) {
                *parts = None;
                buffer.clear();
                return;
            }
            if let Some(coming) = parts {
                if !self.take_parts(group, buffer, coming) {
                    return;
                }
                *parts = None;
            }
            let taken = match buffer.next(lengths) {
                Ok(Next::More) => return,
                Ok(Next::Body(kind, body)) => self.take_body(connection, group, kind, buffer.get(body)),
                Ok(Next::PartsHead(head, bytes)) => {
                    self.begin_parts(connection, group, buffer.get(head), bytes).map(|(begun, refused)| {
                        *parts = Some(begun);
                        if let Some(refusal) = refused {
                            self.refuse(connection, &refusal);
                        }
                    })
                }
                Err(code) => Err(Refusal::of_form(code)),
            };
            match taken {
                // Said to all once the open round is delivered: to close now would cut this peer's.
                Err(refusal) if refusal.code == Code::ShuttingDown => {}
                Err(refusal) => self.refuse(connection, &refusal),
                Ok(()) => {}
            }
        }
    }

    fn take_body(
        &mut self,
        connection: ConnectionId,
        group: GroupId,
        kind: Kind,
        body: &[u8],
    ) -> Result<(), Refusal> {
        let metrics = self.shared.metrics.clone();
        match kind {
            Kind::Submit => {
                let (submit, shares) = Submit::parse_prefix(body).map_err(Refusal::of_form)?;
                clear(submit.alarm.get() > 1)?;
                self.act(group, |group, now, lagging, out| {
                    group.submit(connection, &submit, shares, now, lagging, out)
                })?;
                metrics.submissions.fetch_add(1, Relaxed);
                metrics.alarms.fetch_add(submit.alarm.get().into(), Relaxed);
            }
            Kind::Dial => {
                let (dial, key) = Dial::parse_prefix(body).map_err(Refusal::of_form)?;
                clear(dial.reserved.get() != 0)?;
                // A length that no key of this epoch has is an error of form, whether it is wanted or not.
                let state = &self.groups[&group];
                let members = state.members_of(Epoch(dial.epoch.get()));
                if members.is_some_and(|members| state.shape().dial_body_bytes(members) != body.len()) {
                    return Err(Refusal::of_form(Code::LengthWrong));
                }
                self.act(group, |group, now, _, out| group.dial(connection, &dial, key, now, out))?;
                metrics.dials.fetch_add(1, Relaxed);
            }
            Kind::PartsSeed => {
                let (head, seed) = PartsHead::parse_prefix(body).map_err(Refusal::of_form)?;
                let seed: &[u8; 32] = seed.try_into().map_err(|_| Refusal::of_form(Code::LengthWrong))?;
                self.check_form(&head, ServerSide::One)?;
                self.act(group, |group, now, _, out| group.parts_seed(connection, &head, seed, now, out))?;
                metrics.parts.fetch_add(1, Relaxed);
            }
            Kind::Leave => {
                let leave = Leave::parse(body).map_err(Refusal::of_form)?;
                clear(leave.reserved.get() != 0)?;
                self.act(group, |group, _, _, out| group.leave(connection, &leave, out))?;
            }
            Kind::Fetch => {
                let fetch = Fetch::parse(body).map_err(Refusal::of_form)?;
                clear(fetch.reserved.get() != 0)?;
                self.act(group, |group, _, _, out| group.fetch(connection, &fetch, out))?;
                metrics.fetches.fetch_add(1, Relaxed);
            }
            _ => return Err(Refusal::of_form(Code::KindUnknown)),
        }
        Ok(())
    }

    /// Parts come as seeds at S1 and one by one at S2, and are of a kind.
    fn check_form(&self, head: &PartsHead, side: ServerSide) -> Result<PartKind, Refusal> {
        let kind = u8::try_from(head.purpose.get()).ok().and_then(PartKind::from_number);
        kind.filter(|_| self.shared.side == side).ok_or(Refusal::of_form(Code::PartsForm))
    }

    fn begin_parts(
        &mut self,
        connection: ConnectionId,
        group: GroupId,
        head: &[u8],
        bytes: usize,
    ) -> Result<(Parts, Option<Refusal>), Refusal> {
        let head = PartsHead::parse(head).map_err(Refusal::of_form)?;
        let kind = self.check_form(&head, ServerSide::Two)?;
        // A length that no set of parts of this epoch has is an error of form, whether they are wanted or not. Those of
        // an epoch that is over may have the length that they had then, and are passed over.
        let state = &self.groups[&group];
        let members = state.members_of(Epoch(head.epoch.get()));
        let wrong = members.is_some_and(|members| state.shape().parts_bytes(kind, members) != bytes);
        if wrong || !bytes.is_multiple_of(kind.bytes()) {
            return Err(Refusal::of_form(Code::LengthWrong));
        }
        let begun = self.act(group, |group, _, _, _| group.parts_begin(connection, &head));
        let upload = begun.as_ref().ok().copied().filter(|upload| upload.bytes == bytes);
        Ok((Parts { at: 0, bytes, upload }, begun.err()))
    }

    /// Takes what is there of a PARTS body. Returns whether that was the end of it.
    fn take_parts(&mut self, group: GroupId, buffer: &mut Buffer, parts: &mut Parts) -> bool {
        let piece = buffer.take_piece(parts.bytes - parts.at);
        let Parts { at, bytes, upload } = *parts;
        parts.at += piece.len();
        let whole = parts.at == bytes;
        if let Some(upload) = upload {
            let state = self.groups.get_mut(&group).expect("a connection's group is this executor's");
            state.parts_bytes(&upload, at, piece);
            if whole {
                self.act(group, |group, now, _, out| group.parts_end(&upload, now, out));
                self.shared.metrics.parts.fetch_add(1, Relaxed);
            }
        }
        whole
    }
}

/// Refuses bytes that must be zero and are not.
fn clear(set: bool) -> Result<(), Refusal> {
    if set { Err(Refusal::of_form(Code::ReservedSet)) } else { Ok(()) }
}
