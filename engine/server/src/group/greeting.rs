//! What a connection is told: when it comes, and when its dials take effect.

use super::dials::Dialling;
use super::epoch::{Coming, Stage};
use super::store::Whose;
use super::{ConnectionId, Counted, Group, Output, connection_of};
use crate::config::Delivery;
use crate::roster::Roster;
use twincast_protocol::context::Purpose;
use twincast_protocol::format::Scheme;
use twincast_protocol::ids::{Epoch, MemberIndex, RoundNumber, ServerSide, SlotIndex, UserId};
use twincast_protocol::parts::PartKind;
use twincast_protocol::wire::{Announce, Body, Code, Dialled, Grant, Roster as RosterFrame, Welcome};

impl Group {
    /// WELCOME and what a new connection needs to know beside it.
    pub(super) fn greet(&mut self, connection: ConnectionId, users: &[UserId], out: &mut Vec<Output>) {
        let mut say = |frame| out.push(Output::To(connection, frame));
        say(self.welcome().frame());
        say(roster_frames(self.roster()));
        if let (Some(_), Some(coming)) = (&self.running, &self.coming) {
            say(announcement(coming).frame());
            say(roster_frames(&coming.roster));
        }
        let running = self.running.iter().map(|running| (&running.roster, &running.dials));
        let coming = self.coming.iter().map(|coming| (&coming.roster, &coming.dials));
        // Where members choose with each submission nobody has dialled.
        let epochs = running.chain(coming).filter(|_| !self.shape.chooses_per_round());
        for (roster, dials) in epochs {
            for index in roster.indices(users) {
                let effective =
                    (0..self.shape.slots).filter_map(|slot| dials.effective(index.0 as usize, slot));
                effective.for_each(|dial| say(dialled(roster.epoch(), &dial)));
            }
        }
        let Some(coming) = &self.coming else { return };
        if let Stage::Parts(phase) = &coming.stage {
            // Whoever comes while parts are wanted is told which.
            phase.grants().iter().for_each(|grant| say(grant.frame()));
            return;
        }
        for index in coming.roster.clone().indices(users) {
            for slot in 0..self.shape.slots {
                self.grant_early(index.0 as usize, slot, out);
            }
        }
    }

    fn welcome(&self) -> Welcome {
        let (shape, roster) = (&self.shape, self.roster());
        let tile_senders = |has: bool, kind| {
            let senders = if has { shape.part_tile_senders(kind, roster.members()) } else { 0 };
            (senders as u32).into()
        };
        let first = self.coming.as_ref().map_or(RoundNumber::FIRST, |coming| coming.first);
        let round = self.running.as_ref().map_or(first, |running| running.rounds.open());
        Welcome {
            group: shape.group.0.into(),
            epoch: roster.epoch().0.into(),
            members: (roster.members() as u32).into(),
            slots: (shape.slots as u32).into(),
            frame_bytes: (shape.frame_bytes() as u32).into(),
            share_bytes: (shape.cell_bytes() as u32).into(),
            confirm_tile_senders: tile_senders(shape.confirm, PartKind::Confirmation),
            key_tile_senders: tile_senders(shape.keys, PartKind::Key),
            round_timeout_ms: (shape.round_timeout.as_millis() as u32).into(),
            interval_ms: (shape.interval.as_millis() as u32).into(),
            epoch_rounds: (shape.epoch_rounds as u32).into(),
            announce_rounds: (shape.announce_rounds as u32).into(),
            round: round.0.into(),
            roster_hash: *roster.hash(),
            profile: shape.format.profile().number(),
            scheme: match shape.format.scheme() {
                Scheme::Plain => 0,
                Scheme::Algorithm4 => 1,
                Scheme::OneToMany { .. } => 2,
            },
            subgroups_max: match shape.format.scheme() {
                Scheme::OneToMany { subgroups_max } => subgroups_max.into(),
                Scheme::Plain | Scheme::Algorithm4 => 0.into(),
            },
            open: u8::from(self.running.is_some()),
            delivery: u8::from(shape.delivery == Delivery::Answer),
            linked: u8::from(shape.linked),
            flags: flag(shape.registered, Welcome::REGISTERED)
                | flag(shape.accountable, Welcome::ACCOUNTABLE),
            header_rounds: if shape.accountable { (shape.header_rounds as u32).into() } else { 0.into() },
        }
    }

    /// Tells a sender that its dial is effective, and what parts can be given at once.
    pub(super) fn confirm_dial(&mut self, dial: Dialling, out: &mut Vec<Output>) {
        let Some(coming) = self.coming.as_ref().filter(|_| !self.shape.chooses_per_round()) else { return };
        if let Some(connection) = connection_of(&self.seats, &coming.roster, dial.sender) {
            out.push(Output::To(connection, dialled(coming.epoch(), &dial)));
            self.grant_early(dial.sender, dial.slot, out);
        }
    }

    /// Grants the confirmations of an effective dial before dialling is over, where they can be kept: its sender may
    /// be gone by then.
    fn grant_early(&mut self, sender: usize, slot: usize, out: &mut Vec<Output>) {
        let Some(coming) = &mut self.coming else { return };
        let whose = Whose { kind: PartKind::Confirmation, slot, sender };
        if !self.shape.confirm
            || coming.dials.effective(sender, slot).is_none()
            || coming.store.is_given(whose)
            || matches!(coming.stage, Stage::Parts(_))
        {
            return;
        }
        let Some(connection) = connection_of(&self.seats, &coming.roster, sender) else { return };
        if self.shape.side == ServerSide::Two {
            match coming.store.reserve(whose, &mut self.kept) {
                Ok(true) => {}
                // Without a box they are granted when dialling is over, as is what finds no room.
                Ok(false) if self.kept.is_none() => return,
                full => {
                    let counted = if full.is_ok() { Counted::BoxFull } else { Counted::BoxFailed };
                    out.push(Output::Count(counted, 1));
                    let frame = Code::BoxFull.frame(sender as u32, slot as u32, 0);
                    out.push(Output::To(connection, frame));
                    return;
                }
            }
        }
        let slot = SlotIndex(slot as u32);
        let grant = Grant::new(Purpose::Confirmation, coming.epoch(), slot, MemberIndex(sender as u32), 1);
        out.push(Output::To(connection, grant.frame()));
    }
}

fn flag(set: bool, flag: u8) -> u8 {
    if set { flag } else { 0 }
}

fn dialled(epoch: Epoch, dial: &Dialling) -> bytes::Bytes {
    let Dialling { sender, slot, dial_id } = *dial;
    Dialled::new(dial_id, epoch, MemberIndex(sender as u32), SlotIndex(slot as u32)).frame()
}

/// ANNOUNCE of the epoch that comes.
pub(super) fn announcement(coming: &Coming) -> Announce {
    Announce {
        epoch: coming.epoch().0.into(),
        members: (coming.roster.members() as u32).into(),
        first_round: coming.first.0.into(),
        roster_hash: *coming.roster.hash(),
    }
}

/// ROSTER, as many frames as it takes.
pub(super) fn roster_frames(roster: &Roster) -> bytes::Bytes {
    RosterFrame::frames(roster.epoch(), roster.ids())
}
