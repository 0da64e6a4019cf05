//! What servers say of dials, and what they want of parts.

use crate::client::Client;
use crate::error::{ClientError, below, field};
use crate::event::Event;
use crate::observer::Observer;
use crate::outbound::Wanted;
use twincast_protocol::ids::{ServerSide, SlotIndex};
use twincast_protocol::keys::KeyKind;
use twincast_protocol::parts::PartKind;
use twincast_protocol::wire::{Dialled, ErrorFrame, Grant, Kind};

impl Client {
    /// `server` says that a dial for the session at this position is in effect.
    pub(crate) fn dialled(
        &mut self,
        server: ServerSide,
        position: usize,
        dialled: &Dialled,
        observer: &mut impl Observer,
    ) -> Result<(), ClientError> {
        let kind = Kind::Dialled;
        let Some(group) = &self.group else { return Ok(()) };
        let session = &mut self.sessions[position];
        field(server, kind, "reserved", dialled.reserved.get().into(), 0)?;
        if !group.dials() {
            return Err(ClientError::Unexpected { server, kind, when: "in a group without dials" });
        }
        let Some(user) = session.position_of(dialled.sender.get()) else {
            let when = "for a member that this client does not play";
            return Err(ClientError::Unexpected { server, kind, when });
        };
        let slot = dialled.slot.get();
        below(server, kind, "slot", slot, group.slots)?;
        let dial = &mut session.dials[user * group.slots as usize + slot as usize];
        let before = dial.is_effective();
        if !dial.acknowledge(server, dialled.dial_id.get()) {
            return Err(ClientError::Unexpected { server, kind, when: "for another dial than before" });
        }
        if !before && dial.is_effective() {
            if !group.confirms() {
                dial.forget();
            }
            session.effective += 1;
            if session.effective == session.dials.len() {
                observer.event(Event::Dialled { epoch: session.epoch });
            }
        }
        Ok(())
    }

    /// `server` says that a dial is void; whether that names one. It is of the last epoch that is not open there.
    pub(crate) fn dial_void(
        &mut self,
        server: ServerSide,
        head: &ErrorFrame,
        observer: &mut impl Observer,
    ) -> bool {
        let index = server.index();
        let slots = self.group.map_or(0, |group| group.slots);
        if self.streams[index].gave_up {
            // Of an epoch that the server gave up with everything else.
            return true;
        }
        let dialling = self.sessions.iter_mut().rev().find(|session| session.opened[index].is_none());
        let Some(session) = dialling else { return false };
        let (slot, user) = (head.slot.get(), session.position_of(head.sender.get()));
        let Some(user) = user.filter(|_| slot < slots) else { return false };
        let position = user * slots as usize + slot as usize;
        let Some(dial) = session.dials.get_mut(position) else { return false };
        session.effective -= usize::from(dial.is_effective());
        dial.revoke(server);
        // While the other server is away there is no next epoch to dial: it will be announced again.
        if dial.secrets().is_some() && !session.waits[index] {
            session.redial[index].push_back(position);
        }
        if !std::mem::replace(&mut dial.void, true) {
            let (epoch, sender) = (session.epoch, session.users[user].id);
            observer.event(Event::DialVoid { epoch, sender, slot: SlotIndex(slot) });
        }
        true
    }

    /// `server` wants parts of a range of senders, for the session at this position.
    pub(crate) fn grant(
        &mut self,
        server: ServerSide,
        position: usize,
        grant: &Grant,
    ) -> Result<(), ClientError> {
        let Some(group) = &self.group else { return Ok(()) };
        let (frame, session) = (Kind::Grant, &mut self.sessions[position]);
        let number = grant.purpose.get();
        let kind = u8::try_from(number).ok().and_then(PartKind::from_number);
        let Some(kind) = kind.filter(|kind| group.has_parts(*kind)) else {
            let when = "for parts that the group does not have";
            return Err(ClientError::Unexpected { server, kind: frame, when });
        };
        field(server, frame, "reserved", grant.reserved.get().into(), 0)?;
        let (slot, first, senders) = (grant.slot.get(), grant.first_sender.get(), grant.senders.get());
        below(server, frame, "slot", slot, group.part_slots(kind))?;
        below(server, frame, "first_sender", first, session.members())?;
        let left = session.members() - first;
        if senders == 0 || senders > left {
            let (said, expected) = (senders.into(), left.into());
            return Err(ClientError::Field { server, kind: frame, field: "senders", said, expected });
        }
        // What is wanted of an epoch that is open would come too late for its tile.
        if session.opened[server.index()].is_some() {
            return Ok(());
        }
        let from = session.users.partition_point(|user| user.member.0 < first);
        let to = session.users.partition_point(|user| user.member.0 < first + senders);
        for position in from..to {
            let news = match kind {
                PartKind::Confirmation => {
                    let dial = &mut session.dials[position * group.slots as usize + slot as usize];
                    !std::mem::replace(&mut dial.granted[server.index()], true)
                }
                PartKind::Key => session.exchange.grant(position, KeyKind::Key, server),
                PartKind::KeyReply => session.exchange.grant(position, KeyKind::Reply, server),
            };
            if news {
                let (session, epoch) = (session.serial, session.epoch);
                let wanted = Wanted { session, epoch, kind, position, slot: SlotIndex(slot) };
                self.streams[server.index()].outbound.wanted.push_back(wanted);
            }
        }
        Ok(())
    }
}
