//! The task that reads a connection whose peer has said who it is: frames until the peer stops.

use super::executor::{Executor, Handle};
use super::frames::{Buffer, Lengths, Next};
use super::inlet::{Cut, Inlet};
use super::net::{Ear, give_way};
use super::queue::Adopted;
use crate::group::{ConnectionId, Refusal, Upload};
use crate::limits::{READ_BYTES, READS_PER_TURN};
use std::sync::atomic::Ordering::Relaxed;
use twincast_protocol::ids::{Epoch, GroupId, ServerSide};
use twincast_protocol::parts::PartKind;
use twincast_protocol::wire::{
    Body, Code, Dial, Fetch, FetchHeaders, HEADER_BYTES, Kind, Leave, PartsHead, Submit,
};

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
    let adopting = executor.borrow_mut().adopt(&mut adopted);
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
    let mut inlet = Inlet::of_member(Ear::new(socket), adopted.incoming.take());
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
        let read = inlet.read(buffer.room()).await;
        shared.metrics.ingress_bytes.fetch_add(inlet.take_received() as u64, Relaxed);
        match read {
            Ok(bytes @ 1..) => buffer.filled(bytes),
            Err(Cut::Broken) => {
                executor.borrow_mut().refuse(connection, &Refusal::of_form(Code::ChannelBroken));
                break;
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
                if !self.take_parts(connection, group, buffer, coming) {
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
            Kind::FetchHeaders if self.groups[&group].shape().accountable => {
                let fetch = FetchHeaders::parse(body).map_err(Refusal::of_form)?;
                self.act(group, |group, _, _, out| group.fetch_headers(connection, &fetch, out))?;
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
    fn take_parts(
        &mut self,
        connection: ConnectionId,
        group: GroupId,
        buffer: &mut Buffer,
        parts: &mut Parts,
    ) -> bool {
        let piece = buffer.take_piece(parts.bytes - parts.at);
        let Parts { at, bytes, upload } = *parts;
        parts.at += piece.len();
        let whole = parts.at == bytes;
        if let Some(upload) = upload {
            let state = self.groups.get_mut(&group).expect("a connection's group is this executor's");
            state.parts_bytes(&upload, at, piece);
            if whole {
                match self.act(group, |group, now, _, out| group.parts_end(&upload, now, out)) {
                    Ok(()) => _ = self.shared.metrics.parts.fetch_add(1, Relaxed),
                    Err(refusal) => self.refuse(connection, &refusal),
                }
            }
        }
        whole
    }
}

/// Refuses bytes that must be zero and are not.
fn clear(set: bool) -> Result<(), Refusal> {
    if set { Err(Refusal::of_form(Code::ReservedSet)) } else { Ok(()) }
}
