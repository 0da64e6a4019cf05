//! Both servers' cells of parts: confirmations, keys and replies.

use crate::client::Client;
use crate::event::Event;
use crate::observer::Observer;
use crate::session::Session;
use twincast_protocol::confirm::open_confirmations;
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex};
use twincast_protocol::keys::{KeyKind, open_keys};
use twincast_protocol::parts::PartKind;
use twincast_protocol::receive::TileCells;

use crate::key::Class;
use crate::observer::Tile;

impl Client {
    /// Reads the cells of a tile of parts that both servers deliver. Whether there were any.
    pub(crate) fn read_parts(&mut self, observer: &mut impl Observer) -> bool {
        let Client { streams: [one, two], sessions, group: Some(group), .. } = self else { return false };
        let (Some(first), Some(second)) = (one.delivery, two.delivery) else { return false };
        let tile = first.tile;
        let kind = match first.key.class() {
            Class::Confirmations => PartKind::Confirmation,
            Class::Keys => PartKind::Key,
            Class::Replies => PartKind::KeyReply,
            Class::Messages => return false,
        };
        let Some(session) = sessions.iter_mut().find(|session| session.epoch == tile.epoch) else {
            return false;
        };
        let users = session.users.len();
        let mut position = first.position;
        while position < users {
            let (Some(cells1), Some(cells2)) = (one.piece(first.piece_bytes), two.piece(second.piece_bytes))
            else {
                break;
            };
            let present = [first.present, second.present];
            let cells = TileCells { count: tile.senders as usize, cells: [cells1, cells2], present };
            session.take_parts(group.group, kind, &tile, position, &cells);
            if kind == PartKind::Confirmation {
                session.tell_lost(&tile, position, first.lost | second.lost, observer);
            }
            one.piece_read();
            two.piece_read();
            position += 1;
        }
        if position == users {
            session.read_mut(kind).set(tile.slot.0, tile.tile);
        }
        position > first.position
    }
}

impl Session {
    /// Takes what a tile of parts says to the user at this position.
    fn take_parts(
        &mut self,
        group: GroupId,
        kind: PartKind,
        tile: &Tile,
        position: usize,
        cells: &TileCells<'_>,
    ) {
        let (epoch, first): (Epoch, MemberIndex) = (self.epoch, tile.first_sender);
        let key_kind = match kind {
            PartKind::Confirmation => {
                let said = open_confirmations(group, epoch, first, tile.slot, cells);
                self.confirmed.set(tile.slot.0, first.0, tile.senders, position, &said);
                self.confirmed_cells += u64::from(tile.senders);
                return;
            }
            PartKind::Key => KeyKind::Key,
            PartKind::KeyReply => KeyKind::Reply,
        };
        let opened = open_keys(group, epoch, first, key_kind, cells);
        let member = self.users[position].member;
        self.exchange.take((group, epoch), key_kind, (position, member), first, &opened);
    }

    /// Tells of confirmations that a server had no room to keep.
    fn tell_lost(&self, tile: &Tile, position: usize, lost: u64, observer: &mut impl Observer) {
        for sender in (0..tile.senders).filter(|sender| lost >> sender & 1 == 1) {
            let (epoch, user) = (self.epoch, self.users[position].id);
            let sender = MemberIndex(tile.first_sender.0 + sender);
            observer.event(Event::Lost { epoch, user, sender, slot: tile.slot });
        }
    }
}
