//! The task that reads one connection: HELLO first, then frames until the peer stops.

use super::executor::{Executor, Handle, Shared};
use super::frames::{Buffer, Lengths, Next};
use super::net::{Ear, give_way, within};
use super::queue::{Adopted, FrontMessage};
use crate::group::{ConnectionId, Refusal, Shape};
use crate::limits::{FLUSH_TIMEOUT_MS, READ_BYTES, READS_PER_TURN, STRANGER_BYTES};
use crate::metrics::Metrics;
use rustix::net::{SendFlags, send};
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, ServerSide, SlotIndex};
use twincast_protocol::wire::{Body, Code, ConfirmHead, Dial, HEADER_BYTES, Hello, Kind, Submit};

/// Bytes of a HELLO without its members.
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
    let (hello, side, users) = Hello::read(buffer.get(body))?;
    let group = GroupId(hello.group.get());
    if side != shared.side {
        return Err(Some(Code::SideWrong));
    }
    if shared.owner(group).is_none() {
        return Err(Some(Code::GroupUnknown));
    }
    let socket = socket.try_clone().map_err(|_| None)?;
    let epoch = Epoch(hello.epoch.get());
    Ok(Adopted { connection, socket, group, epoch, users: users.into(), rest: buffer.rest().to_vec() })
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

/// A CONFIRM_PARTS body that is coming in.
struct Parts {
    sender: MemberIndex,
    slot: SlotIndex,
    at: usize,
    bytes: usize,
    /// Not refused: the group takes them.
    wanted: bool,
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
    let shape = *executor.borrow().groups[&group].shape();
    let lengths = lengths(&shape);
    let submissions = adopted.users.len() * (HEADER_BYTES + lengths.submit);
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

fn lengths(shape: &Shape) -> Lengths {
    let confirm_head = size_of::<ConfirmHead>();
    Lengths {
        dial: shape.dial_body_bytes(),
        submit: shape.submit_body_bytes(),
        confirm_seed: confirm_head + 32,
        confirm_parts: confirm_head + shape.parts_bytes(),
        confirm_head,
    }
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
                self.act(group, |group, now, lagging, out| {
                    group.submit(connection, &submit, shares, now, lagging, out)
                })?;
                metrics.submissions.fetch_add(1, Relaxed);
                metrics.alarms.fetch_add(u64::from(submit.alarm.get() != 0), Relaxed);
            }
            Kind::Dial => {
                let (dial, key) = Dial::parse_prefix(body).map_err(Refusal::of_form)?;
                self.act(group, |group, now, _, out| group.dial(connection, &dial, key, now, out))?;
                metrics.dials.fetch_add(1, Relaxed);
            }
            Kind::ConfirmSeed => {
                let (head, seed) = ConfirmHead::parse_prefix(body).map_err(Refusal::of_form)?;
                let seed: &[u8; 32] = seed.try_into().map_err(|_| Refusal::of_form(Code::LengthWrong))?;
                if self.shared.side != ServerSide::One {
                    return Err(Refusal::of_form(Code::ConfirmForm));
                }
                let (sender, slot) = (MemberIndex(head.sender.get()), SlotIndex(head.slot.get()));
                self.act(group, |group, now, _, out| {
                    group.confirm_begin(connection, &head)?;
                    group.confirm_seed(sender, slot, seed);
                    group.confirm_end(sender, slot, now, out);
                    Ok(())
                })?;
                metrics.confirmations.fetch_add(1, Relaxed);
            }
            _ => return Err(Refusal::of_form(Code::KindUnknown)),
        }
        Ok(())
    }

    fn begin_parts(
        &mut self,
        connection: ConnectionId,
        group: GroupId,
        head: &[u8],
        bytes: usize,
    ) -> Result<(Parts, Option<Refusal>), Refusal> {
        let head = ConfirmHead::parse(head).map_err(Refusal::of_form)?;
        if self.shared.side != ServerSide::Two {
            return Err(Refusal::of_form(Code::ConfirmForm));
        }
        let begun = self.act(group, |group, _, _, _| group.confirm_begin(connection, &head));
        let (sender, slot) = (MemberIndex(head.sender.get()), SlotIndex(head.slot.get()));
        Ok((Parts { sender, slot, at: 0, bytes, wanted: begun.is_ok() }, begun.err()))
    }

    /// Takes what is there of a CONFIRM_PARTS body. Returns whether that was the end of it.
    fn take_parts(&mut self, group: GroupId, buffer: &mut Buffer, parts: &mut Parts) -> bool {
        let piece = buffer.take_piece(parts.bytes - parts.at);
        let Parts { sender, slot, at, bytes, wanted } = *parts;
        parts.at += piece.len();
        let whole = parts.at == bytes;
        if wanted {
            let state = self.groups.get_mut(&group).expect("a connection's group is this executor's");
            state.confirm_bytes(sender, slot, at, piece);
            if whole {
                self.act(group, |group, now, _, out| group.confirm_end(sender, slot, now, out));
                self.shared.metrics.confirmations.fetch_add(1, Relaxed);
            }
        }
        whole
    }
}
