//! What each frame of a server does to a client.

use crate::client::{Client, Session};
use crate::error::ClientError;
use crate::key::{Class, Key};
use crate::limits::{ROUND_MAX, TILE_SENDERS};
use crate::observer::{Event, Observer, Tile};
use crate::receiving::End;
use crate::stream::{Delivery, Frame, Stream};
use std::time::Duration;
use twincast_protocol::confirm::CONFIRMATION_BYTES;
use twincast_protocol::ids::{MemberIndex, RoundNumber, ServerSide, SlotIndex};
use twincast_protocol::wire::{Deliver, Dialled, EpochOpen, ErrorFrame, Grant, Kind};

/// `purpose` of DELIVER.
const MESSAGES: u32 = 0;
const CONFIRMATIONS: u32 = 1;

impl Client {
    /// Takes `server`'s frames up to the next cells. Whether there were any.
    pub(crate) fn read_frames(
        &mut self,
        server: ServerSide,
        now: Duration,
        observer: &mut impl Observer,
    ) -> Result<bool, ClientError> {
        let mut moved = false;
        while self.streams[server.index()].delivery.is_none() {
            let Some((frame, bytes)) = self.streams[server.index()].peek()? else { break };
            if !self.take(server, frame, now, observer)? {
                break;
            }
            self.streams[server.index()].inbound.consume(bytes);
            moved = true;
        }
        Ok(moved)
    }

    /// Takes a frame; false if it must wait for the other server.
    fn take(
        &mut self,
        server: ServerSide,
        frame: Frame,
        now: Duration,
        observer: &mut impl Observer,
    ) -> Result<bool, ClientError> {
        let unexpected = |when| Err(ClientError::Unexpected { server, kind: frame.kind(), when });
        let stream = &mut self.streams[server.index()];
        match (&frame, stream.welcome.is_some()) {
            (Frame::Error(head, sentence), _) => {
                observer.event(refused(server, head, sentence));
                return Ok(true);
            }
            (Frame::Welcome(welcome), false) => {
                return self.welcome(server, *welcome, observer).map(|()| true);
            }
            (Frame::Welcome(_), true) => return unexpected("a second time"),
            (_, false) => return unexpected("before WELCOME"),
            (_, true) => {}
        }
        let Some(session) = &mut self.session else { return Ok(false) };
        match &frame {
            Frame::Dialled(dialled) => session.dialled(stream, dialled, observer)?,
            Frame::Grant(grant) => session.grant(stream, grant, &self.users)?,
            Frame::EpochOpen(open) => {
                session.open(stream, open)?;
                self.open_if_both(observer)?;
            }
            Frame::Deliver(deliver) => session.deliver(stream, deliver, self.users.len())?,
            Frame::RoundEnd(end) => {
                let round = end.round.get();
                return self.end(server, round, Some(end.tiles.get()), now, observer);
            }
            Frame::RoundSkipped(skipped) => {
                return self.end(server, skipped.round.get(), None, now, observer);
            }
            Frame::Welcome(_) | Frame::Error(..) => unreachable!("taken above"),
        }
        Ok(true)
    }

    fn open_if_both(&mut self, observer: &mut impl Observer) -> Result<(), ClientError> {
        let [Some(one), Some(two)] = self.streams.each_ref().map(|stream| stream.open) else { return Ok(()) };
        if one != two {
            return Err(ClientError::ServersDiffer { field: "first_round", said: [one.0, two.0] });
        }
        let Some(session) = &mut self.session else { return Ok(()) };
        let half_sent = self.streams[1].outbound.next_part.and(self.streams[1].outbound.wanted.front());
        for (position, dial) in session.dials.iter_mut().enumerate() {
            dial.finish(ServerSide::One);
            if half_sent != Some(&position) {
                dial.forget();
            }
        }
        let failed = session.confirmed.failed();
        for (alarm, failed) in session.alarms.iter_mut().zip(&failed) {
            *alarm = *failed > 0;
        }
        session.round.number = Some(one);
        session.next_submission = one;
        let (confirmed, failed) = (session.confirmed_cells, failed.iter().sum());
        observer.event(Event::EpochOpen { first_round: one, confirmed, failed });
        Ok(())
    }

    /// `server` has ended a round: delivered so many tiles of it, or left it out. False if an earlier round is not
    /// closed yet.
    fn end(
        &mut self,
        server: ServerSide,
        round: u64,
        tiles: Option<u32>,
        now: Duration,
        observer: &mut impl Observer,
    ) -> Result<bool, ClientError> {
        let kind = if tiles.is_some() { Kind::RoundEnd } else { Kind::RoundSkipped };
        let stream = &mut self.streams[server.index()];
        if stream.open.is_none() {
            return Err(ClientError::Unexpected { server, kind, when: "before EPOCH_OPEN" });
        }
        field(server, kind, "round", round, stream.floor.round_number().0)?;
        let delivered = stream.tiles_in_round;
        field(server, kind, "tiles", tiles.unwrap_or(0).into(), delivered.into())?;
        let Some(session) = &mut self.session else { return Ok(false) };
        let round = RoundNumber(round);
        if session.round.number.is_none_or(|current| round > current) {
            return Ok(false);
        }
        stream.floor = Key::round(round.next());
        stream.tiles_in_round = 0;
        if session.round.number == Some(round) {
            let end = if tiles.is_some() { End::Delivered } else { End::Skipped };
            session.round.end(server, end, now);
            self.close_if_ended(observer);
        }
        Ok(true)
    }
}

impl Session {
    fn dialled(
        &mut self,
        stream: &Stream,
        dialled: &Dialled,
        observer: &mut impl Observer,
    ) -> Result<(), ClientError> {
        let (server, kind) = (stream.server, Kind::Dialled);
        let position = (dialled.dial_id.get() as usize).wrapping_sub(1);
        if position >= stream.outbound.next_dial {
            return Err(ClientError::Unexpected { server, kind, when: "for a dial that was not sent" });
        }
        field(server, kind, "epoch", dialled.epoch.get().into(), self.group.epoch.0.into())?;
        field(
            server,
            kind,
            "slot",
            dialled.slot.get().into(),
            position as u64 % u64::from(self.group.slots),
        )?;
        if !self.dials[position].acknowledge(server) {
            return Err(ClientError::Unexpected { server, kind, when: "twice for one dial" });
        }
        if self.dials[position].is_effective() {
            self.effective += 1;
            if self.effective == self.dials.len() {
                observer.event(Event::Dialled);
            }
        }
        Ok(())
    }

    fn grant(
        &mut self,
        stream: &mut Stream,
        grant: &Grant,
        users: &[MemberIndex],
    ) -> Result<(), ClientError> {
        let (server, kind, group) = (stream.server, Kind::Grant, &self.group);
        if !group.confirms() {
            return Err(ClientError::Unexpected { server, kind, when: "in a group without confirmation" });
        }
        if stream.open.is_some() {
            return Err(ClientError::Unexpected { server, kind, when: "after EPOCH_OPEN" });
        }
        field(server, kind, "epoch", grant.epoch.get().into(), group.epoch.0.into())?;
        let (slot, first, senders) = (grant.slot.get(), grant.first_sender.get(), grant.senders.get());
        below(server, kind, "slot", slot, group.slots)?;
        below(server, kind, "first_sender", first, group.members)?;
        let tile = first / group.confirm_tile_senders;
        let (first_expected, senders_expected) = tile_range(group.members, group.confirm_tile_senders, tile);
        field(server, kind, "first_sender", first.into(), first_expected.into())?;
        field(server, kind, "senders", senders.into(), senders_expected.into())?;
        if (slot, first) < stream.grant_floor {
            return Err(ClientError::OutOfOrder { server, kind, what: "ranges ascend" });
        }
        stream.grant_floor = (slot, first + 1);
        let from = users.partition_point(|user| user.0 < first);
        let to = users.partition_point(|user| user.0 < first + senders);
        let slots = group.slots as usize;
        stream.outbound.wanted.extend((from..to).map(|position| position * slots + slot as usize));
        Ok(())
    }

    fn open(&mut self, stream: &mut Stream, open: &EpochOpen) -> Result<(), ClientError> {
        let (server, kind) = (stream.server, Kind::EpochOpen);
        if stream.open.is_some() {
            return Err(ClientError::Unexpected { server, kind, when: "a second time" });
        }
        field(server, kind, "epoch", open.epoch.get().into(), self.group.epoch.0.into())?;
        let first_round = open.first_round.get();
        if first_round == 0 || first_round > ROUND_MAX {
            return Err(ClientError::Group { server, field: "first_round", said: first_round });
        }
        stream.open = Some(RoundNumber(first_round));
        stream.floor = Key::round(RoundNumber(first_round));
        let begun = usize::from(stream.outbound.next_part.is_some());
        stream.outbound.wanted.truncate(begun);
        Ok(())
    }

    fn deliver(&self, stream: &mut Stream, deliver: &Deliver, users: usize) -> Result<(), ClientError> {
        let (server, kind, group) = (stream.server, Kind::Deliver, &self.group);
        let unexpected = |when| Err(ClientError::Unexpected { server, kind, when });
        let (tile_senders, cell_bytes, class) = match deliver.purpose.get() {
            MESSAGES => (TILE_SENDERS, group.frame.share_bytes(), Class::Messages),
            CONFIRMATIONS if group.confirms() => {
                (group.confirm_tile_senders, CONFIRMATION_BYTES, Class::Confirmations)
            }
            purpose => return field(server, kind, "purpose", purpose.into(), MESSAGES.into()),
        };
        match (class, stream.open) {
            (Class::Messages, None) => return unexpected("of messages before EPOCH_OPEN"),
            (Class::Confirmations, Some(_)) => return unexpected("of confirmations after EPOCH_OPEN"),
            _ => {}
        }
        let (slot, tile, round) = (deliver.slot.get(), deliver.tile.get(), RoundNumber(deliver.round.get()));
        field(server, kind, "epoch", deliver.epoch.get().into(), group.epoch.0.into())?;
        field(server, kind, "users", deliver.users.get().into(), users as u64)?;
        field(server, kind, "cell_bytes", deliver.cell_bytes.get().into(), cell_bytes as u64)?;
        field(server, kind, "round", round.0, stream.floor.round_number().0)?;
        below(server, kind, "slot", slot, group.slots)?;
        below(server, kind, "tile", tile, group.members.div_ceil(tile_senders))?;
        let (first_sender, senders) = tile_range(group.members, tile_senders, tile);
        field(server, kind, "first_sender", deliver.first_sender.get().into(), first_sender.into())?;
        field(server, kind, "senders", deliver.senders.get().into(), senders.into())?;
        let key = match class {
            Class::Messages => Key::messages(round, tile, slot),
            Class::Confirmations => Key::confirmations(slot, tile),
        };
        if key < stream.floor {
            return Err(ClientError::OutOfOrder { server, kind, what: "tiles ascend" });
        }
        let late = class == Class::Messages && self.round.number.is_some_and(|current| round < current);
        stream.floor = key;
        stream.tiles_in_round += u32::from(class == Class::Messages);
        stream.delivery = Some(Delivery {
            key,
            tile: Tile {
                round,
                slot: SlotIndex(slot),
                tile,
                first_sender: MemberIndex(first_sender),
                senders,
            },
            present: deliver.present.get(),
            position: 0,
            piece_bytes: senders as usize * cell_bytes,
            left: deliver.cells_bytes() as usize,
            dropped: late,
        });
        Ok(())
    }
}

impl Frame {
    fn kind(&self) -> Kind {
        match self {
            Frame::Welcome(_) => Kind::Welcome,
            Frame::Dialled(_) => Kind::Dialled,
            Frame::Grant(_) => Kind::Grant,
            Frame::EpochOpen(_) => Kind::EpochOpen,
            Frame::Deliver(_) => Kind::Deliver,
            Frame::RoundEnd(_) => Kind::RoundEnd,
            Frame::RoundSkipped(_) => Kind::RoundSkipped,
            Frame::Error(..) => Kind::Error,
        }
    }
}

/// The first sender of a tile, and how many it has.
pub(crate) fn tile_range(members: u32, tile_senders: u32, tile: u32) -> (u32, u32) {
    let first = tile * tile_senders;
    (first, tile_senders.min(members - first))
}

fn field(
    server: ServerSide,
    kind: Kind,
    field: &'static str,
    said: u64,
    expected: u64,
) -> Result<(), ClientError> {
    match said == expected {
        true => Ok(()),
        false => Err(ClientError::Field { server, kind, field, said, expected }),
    }
}

fn below(
    server: ServerSide,
    kind: Kind,
    field: &'static str,
    said: u32,
    limit: u32,
) -> Result<(), ClientError> {
    match said < limit {
        true => Ok(()),
        false => {
            let (said, expected) = (said.into(), u64::from(limit) - 1);
            Err(ClientError::Field { server, kind, field, said, expected })
        }
    }
}

fn refused(server: ServerSide, head: &ErrorFrame, sentence: &str) -> Event {
    let index = |value: u32| (value != u32::MAX).then_some(value);
    Event::Refused {
        server,
        code: head.code.get(),
        sentence: sentence.to_owned(),
        sender: index(head.sender.get()).map(MemberIndex),
        slot: index(head.slot.get()).map(SlotIndex),
        round: RoundNumber(head.round.get()),
        closes: head.closes != 0,
    }
}
