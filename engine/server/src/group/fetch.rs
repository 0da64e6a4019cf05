//! Hands parts over to those who were not there when they were delivered.

use super::store::Whose;
use super::{ConnectionId, Group, Output, Refusal};
use crate::limits::FETCHED_TILES_MAX;
use bytes::Bytes;
use std::sync::Arc;
use twincast_protocol::ids::MemberIndex;
use twincast_protocol::parts::PartKind;
use twincast_protocol::wire::{Body, Code, DELIVER_HEAD_BYTES, Deliver, FETCH_TILES_MAX, Fetch};

/// The answer for one tile; the seat that asked can see whether it is still on its way.
struct Fetched {
    frame: Vec<u8>,
    _held: Arc<()>,
}

impl AsRef<[u8]> for Fetched {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}

impl Group {
    /// A FETCH: tiles of parts of the running epoch, for the members of this connection.
    ///
    /// # Errors
    /// [`Code::NotAttached`], [`Code::EpochWrong`], [`Code::ReservedSet`] or [`Code::FetchRange`]; the last also
    /// where earlier answers are still on their way.
    pub fn fetch(
        &mut self,
        connection: ConnectionId,
        fetch: &Fetch,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let refuse = |code| Refusal { slot: fetch.slot.get(), ..Refusal::of_form(code) };
        if fetch.reserved.get() != 0 {
            return Err(refuse(Code::ReservedSet));
        }
        let seat = self.seats.get_mut(connection).ok_or(refuse(Code::NotAttached))?;
        let running = self.running.as_mut().filter(|running| running.epoch().0 == fetch.epoch.get());
        let running = running.ok_or(refuse(Code::EpochWrong))?;
        let users = running.roster.indices(&seat.users);
        if users.is_empty() {
            return Err(refuse(Code::NotAttached));
        }
        let kind = u8::try_from(fetch.purpose.get()).ok().and_then(PartKind::from_number);
        let slot = fetch.slot.get() as usize;
        let kind = kind.filter(|kind| running.store.has(*kind, slot)).ok_or(refuse(Code::FetchRange))?;
        let members = running.roster.members();
        let tile_senders = self.shape.part_tile_senders(kind, members);
        let tiles = members.div_ceil(tile_senders) as u64;
        let (first_tile, count) = (fetch.first_tile.get(), fetch.tiles.get());
        let in_range = u64::from(first_tile) + u64::from(count) <= tiles;
        let on_their_way = Arc::strong_count(&seat.fetched) - 1;
        if count == 0
            || count > FETCH_TILES_MAX
            || !in_range
            || on_their_way + count as usize > FETCHED_TILES_MAX
        {
            return Err(refuse(Code::FetchRange));
        }
        for tile in first_tile..first_tile + count {
            let first_sender = tile as usize * tile_senders;
            let senders = tile_senders.min(members - first_sender);
            let delivered = *running.store.delivered(kind, slot, tile as usize);
            let whose = |row: usize| Whose { kind, slot, sender: first_sender + row };
            let cells_bytes = users.len() * senders * kind.bytes();
            let mut frame = vec![0; DELIVER_HEAD_BYTES + cells_bytes];
            let cells = &mut frame[DELIVER_HEAD_BYTES..];
            let mut present = 0;
            for row in (0..senders).filter(|row| delivered >> row & 1 == 1) {
                if !running.store.is_kept(whose(row)) {
                    continue;
                }
                let places = (row..users.len() * senders).step_by(senders).map(|cell| cell * kind.bytes());
                let whole = users.iter().zip(places.clone()).all(|(&user, at)| {
                    let cell = &mut cells[at..at + kind.bytes()];
                    running.store.part(whose(row), user, cell, &mut self.kept)
                });
                if whole {
                    present |= 1 << row;
                } else {
                    places.for_each(|at| cells[at..at + kind.bytes()].fill(0));
                }
            }
            let deliver = Deliver {
                round: 0.into(),
                present: present.into(),
                epoch: fetch.epoch,
                slot: fetch.slot,
                tile: tile.into(),
                first_sender: MemberIndex(first_sender as u32).0.into(),
                senders: (senders as u32).into(),
                cell_bytes: (kind.bytes() as u32).into(),
                users: (users.len() as u32).into(),
                purpose: u32::from(kind.number()).into(),
                lost: (delivered & !present).into(),
            };
            let mut head = Vec::with_capacity(DELIVER_HEAD_BYTES);
            deliver.put(cells_bytes, &mut head);
            frame[..DELIVER_HEAD_BYTES].copy_from_slice(&head);
            let fetched = Fetched { frame, _held: seat.fetched.clone() };
            out.push(Output::To(connection, Bytes::from_owner(fetched)));
        }
        Ok(())
    }
}
