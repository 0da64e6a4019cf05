//! DELIVER: where a tile has its place, and whether it is read.

use crate::client::Client;
use crate::epochs::Place;
use crate::error::{ClientError, below, field};
use crate::key::{Class, Key};
use crate::limits::{ROUND_MAX, TILE_SENDERS};
use crate::observer::{Observer, Tile};
use crate::session::{Session, tile_range};
use crate::stream::{Delivery, Kin, Stream};
use twincast_protocol::ids::{Epoch, MemberIndex, RoundNumber, ServerSide, SlotIndex};
use twincast_protocol::parts::PartKind;
use twincast_protocol::wire::{Deliver, Kind};

/// `purpose` of DELIVER for messages.
const MESSAGES: u32 = 0;
const KIND: Kind = Kind::Deliver;

impl Client {
    /// Takes the head of a DELIVER; false if it must wait for the other server.
    pub(crate) fn deliver(
        &mut self,
        server: ServerSide,
        deliver: &Deliver,
        observer: &mut impl Observer,
    ) -> Result<bool, ClientError> {
        let position = match self.place(server, KIND, Epoch(deliver.epoch.get()))? {
            Place::Wait => return Ok(false),
            Place::Drop => {
                let left = deliver.cells_bytes() as usize;
                self.streams[server.index()].delivery = Some(stray(Epoch(deliver.epoch.get()), left));
                return Ok(true);
            }
            Place::Session(position) => position,
        };
        let Some(group) = self.group else { return Ok(false) };
        let Client { streams, sessions, .. } = self;
        let (stream, session) = (&mut streams[server.index()], &mut sessions[position]);
        if session.users.is_empty() {
            let when = "of an epoch in which this client plays nobody";
            return Err(ClientError::Unexpected { server, kind: KIND, when });
        }
        let part = match deliver.purpose.get() {
            MESSAGES => None,
            purpose => {
                let kind = u8::try_from(purpose).ok().and_then(PartKind::from_number);
                match kind.filter(|kind| group.has_parts(*kind)) {
                    None => return Err(expected(server, "purpose", purpose.into(), MESSAGES.into())),
                    kind => kind,
                }
            }
        };
        let (tile_senders, slots, cell_bytes) = match part {
            None => (TILE_SENDERS, group.slots, group.format.cell_bytes(server)),
            Some(kind) => {
                (group.part_tile_senders(kind, session.members()), group.part_slots(kind), kind.bytes())
            }
        };
        let (slot, tile, round) = (deliver.slot.get(), deliver.tile.get(), RoundNumber(deliver.round.get()));
        field(server, KIND, "users", deliver.users.get().into(), session.users.len() as u64)?;
        field(server, KIND, "cell_bytes", deliver.cell_bytes.get().into(), cell_bytes as u64)?;
        below(server, KIND, "slot", slot, slots)?;
        below(server, KIND, "tile", tile, session.members().div_ceil(tile_senders))?;
        let (first_sender, senders) = tile_range(session.members(), tile_senders, tile);
        field(server, KIND, "first_sender", deliver.first_sender.get().into(), first_sender.into())?;
        field(server, KIND, "senders", deliver.senders.get().into(), senders.into())?;
        let key = match part {
            None => Key::messages(session.epoch, round, tile, slot),
            Some(kind) => {
                field(server, KIND, "round", round.0, 0)?;
                Key::parts(session.epoch, kind, slot, tile)
            }
        };
        if part.is_none() && stream.open && stream.epoch == session.epoch {
            stream.leave_out_before(round);
        }
        let kin = kin(stream, session, key, deliver)?;
        let mut delivery = Delivery {
            key,
            tile: Tile {
                epoch: session.epoch,
                round,
                slot: SlotIndex(slot),
                tile,
                first_sender: MemberIndex(first_sender),
                senders,
            },
            present: deliver.present.get(),
            lost: deliver.lost.get(),
            position: 0,
            piece_bytes: senders as usize * cell_bytes,
            left: deliver.cells_bytes() as usize,
            kin,
            root: None,
            dropped: false,
        };
        match (kin, part) {
            (Kin::Fetched, _) => delivery.dropped = stream.fetching.is_some_and(|fetching| fetching.dropped),
            (_, Some(kind)) => {
                let first_of_all = stream.floor <= Key::start(session.epoch);
                let earlier = (slot, tile) != (0, 0) || kind == PartKind::KeyReply;
                let earlier = earlier || kind == PartKind::Key && group.confirms();
                session.missed |= session.first_round.is_none() && first_of_all && earlier;
                delivery.dropped = self.catching_up.is_some();
                session.missed |= delivery.dropped;
                stream.floor = key;
            }
            (_, None) => {
                let began_before = !stream.in_step && (slot, tile) != (0, 0);
                stream.in_step = true;
                stream.round = round;
                stream.floor = key;
                if let Some(signed) = &mut stream.signed {
                    signed.deliver(stream.tiles_in_round == 0, deliver);
                }
                stream.tiles_in_round += 1;
                let late = self.round.number.is_some_and(|current| round < current);
                delivery.dropped = self.catching_up.is_some() || late || began_before;
                if delivery.dropped {
                    stream.partial = Some(round);
                }
                if began_before && self.round.number == Some(round) {
                    stream.delivery = Some(delivery);
                    self.close_round(false, true, observer);
                    return Ok(true);
                }
            }
        }
        stream.delivery = Some(delivery);
        Ok(true)
    }
}

/// What a delivery is for its stream, if it has a place there.
fn kin(stream: &Stream, session: &Session, key: Key, deliver: &Deliver) -> Result<Kin, ClientError> {
    let server = stream.server;
    let unexpected = |when| Err(ClientError::Unexpected { server, kind: KIND, when });
    let out_of_order = |what| Err(ClientError::OutOfOrder { server, kind: KIND, what });
    let is_open = stream.open && stream.epoch == session.epoch;
    let kin = match (key.class(), is_open) {
        (Class::Messages, false) => return unexpected("of messages before EPOCH_OPEN"),
        (Class::Messages, true) if stream.in_step => {
            field(server, KIND, "round", key.round_number().0, stream.round.0)?;
            Kin::InOrder
        }
        (Class::Messages, true) => {
            round_in_reach(stream, KIND, key.round_number())?;
            Kin::InOrder
        }
        (_, true) => match &stream.fetching {
            None => return unexpected("of parts after EPOCH_OPEN"),
            Some(fetching) if fetching.next != key => return out_of_order("tiles come as they are fetched"),
            Some(_) => Kin::Fetched,
        },
        (_, false) if stream.open && stream.tiles_in_round > 0 => {
            return out_of_order("the last round has not ended");
        }
        (_, false) => Kin::InOrder,
    };
    if kin == Kin::InOrder && stream.in_step && key < stream.floor {
        return out_of_order("tiles ascend");
    }
    // Only what was to be kept can be lost, and what is there is not.
    let (present, lost) = (deliver.present.get(), deliver.lost.get());
    let may_be_lost = if kin == Kin::Fetched { !present } else { 0 };
    field(server, KIND, "lost", lost, lost & may_be_lost)?;
    Ok(kin)
}

/// For a client that does not know yet which round a server is in: any round there can be.
pub(crate) fn round_in_reach(stream: &Stream, kind: Kind, round: RoundNumber) -> Result<(), ClientError> {
    let last = RoundNumber(ROUND_MAX);
    match (RoundNumber::FIRST..=last).contains(&round) {
        true => Ok(()),
        false => {
            let (server, said, expected) = (stream.server, round.0, stream.round.0);
            Err(ClientError::Field { server, kind, field: "round", said, expected })
        }
    }
}

fn expected(server: ServerSide, field: &'static str, said: u64, expected: u64) -> ClientError {
    ClientError::Field { server, kind: KIND, field, said, expected }
}

/// A delivery of an epoch that is over: it is dropped whatever is in it.
pub(crate) fn stray(epoch: Epoch, left: usize) -> Delivery {
    let tile = Tile {
        epoch,
        round: RoundNumber(0),
        slot: SlotIndex(0),
        tile: 0,
        first_sender: MemberIndex(0),
        senders: 1,
    };
    Delivery {
        key: Key::start(tile.epoch),
        tile,
        present: 0,
        lost: 0,
        position: 0,
        piece_bytes: 0,
        left,
        kin: Kin::Stray,
        root: None,
        dropped: true,
    }
}
