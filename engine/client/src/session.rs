//! What a client has of one epoch.

use crate::dials::Dial;
use crate::error::ClientError;
use crate::exchange::Exchange;
use crate::group::GroupSettings;
use crate::limits::{CONFIRMED_BYTES_MAX, TILE_SENDERS};
use crate::observer::{Tile, User};
use crate::roster::Said;
use crate::table::{Confirmed, TilesRead};
use std::collections::VecDeque;
use twincast_protocol::ids::{Epoch, MemberIndex, RoundNumber, ServerSide, SlotIndex, UserId};
use twincast_protocol::parts::PartKind;

/// One epoch that both servers described alike: the one that runs or is dialled first, or the next one.
pub(crate) struct Session {
    /// Its number among all sessions of the client.
    pub(crate) serial: u64,
    pub(crate) epoch: Epoch,
    /// Its first round, where it was announced.
    pub(crate) first_round: Option<RoundNumber>,
    pub(crate) roster: Box<[UserId]>,
    pub(crate) hash: [u8; 32],
    /// The client's users who are members of it, ascending.
    pub(crate) users: Vec<User>,
    /// The dial of the user at position p of `users` for slot k: `p * K + k`. None where the scheme has no dials.
    pub(crate) dials: Vec<Dial>,
    /// The position of the next dial that each server is sent.
    pub(crate) next_dial: [usize; 2],
    /// Dials that each server has called void, and is sent once more.
    pub(crate) redial: [VecDeque<usize>; 2],
    /// How many dials are in effect.
    pub(crate) effective: usize,
    pub(crate) confirmed: Confirmed,
    /// Confirmation cells opened.
    pub(crate) confirmed_cells: u64,
    pub(crate) exchange: Exchange,
    /// Which tiles of parts are read, by kind.
    pub(crate) read: [TilesRead; 3],
    /// The first round at each server that has opened it, or the round that was open when this client came.
    pub(crate) opened: [Option<RoundNumber>; 2],
    /// Tiles of its parts went out before this client read them: they are to be fetched.
    pub(crate) missed: bool,
    /// The servers that cannot open it, because the other one is away.
    pub(crate) waits: [bool; 2],
    /// Users whose confirmations failed have raised their one alarm for it.
    pub(crate) alarmed: bool,
}

impl Session {
    /// The epoch that both servers described, for those of `users` who are members of it.
    pub(crate) fn new(
        serial: u64,
        group: &GroupSettings,
        said: Said,
        users: &[UserId],
    ) -> Result<Session, ClientError> {
        let Said { epoch, members, hash, first_round, roster } = said;
        let refused = ClientError::Group { server: ServerSide::One, field: "members", said: members.into() };
        if group.format.check_members(members).is_err() {
            return Err(refused);
        }
        let member = |(position, id): (usize, &UserId)| {
            let index = roster.binary_search(id).ok()?;
            Some(User { position, id: *id, member: MemberIndex(index as u32) })
        };
        let users: Vec<User> = users.iter().enumerate().filter_map(member).collect();
        if Confirmed::bytes(members, group.slots, users.len()) > CONFIRMED_BYTES_MAX {
            return Err(refused);
        }
        let dials = if group.dials() { users.len() * group.slots as usize } else { 0 };
        Ok(Session {
            serial,
            epoch,
            first_round,
            roster: roster.into(),
            hash,
            dials: std::iter::repeat_with(Dial::default).take(dials).collect(),
            next_dial: [0; 2],
            effective: 0,
            confirmed: Confirmed::new(group, members, users.len()),
            confirmed_cells: 0,
            redial: Default::default(),
            exchange: Exchange::new(users.len()),
            read: PartKind::ALL.map(|kind| TilesRead::new(kind, group, members)),
            opened: [None; 2],
            missed: false,
            waits: [false; 2],
            alarmed: false,
            users,
        })
    }

    /// The connections are new: what is in effect and what is read stays.
    pub(crate) fn reconnect(&mut self) {
        self.dials.iter_mut().for_each(Dial::reconnect);
        self.exchange.reconnect();
        self.next_dial = [0; 2];
        self.redial = Default::default();
        self.opened = [None; 2];
        self.missed = true;
        self.waits = [false; 2];
    }

    /// n.
    pub(crate) fn members(&self) -> u32 {
        self.roster.len() as u32
    }

    /// Tiles of one slot of a round.
    pub(crate) fn tiles(&self) -> u32 {
        self.members().div_ceil(TILE_SENDERS)
    }

    /// A user's index in this epoch.
    pub(crate) fn member(&self, id: UserId) -> Option<MemberIndex> {
        self.roster.binary_search(&id).ok().map(|index| MemberIndex(index as u32))
    }

    /// The position among `users` of a member that this client plays.
    pub(crate) fn position_of(&self, member: u32) -> Option<usize> {
        self.users.binary_search_by_key(&member, |user| user.member.0).ok()
    }

    /// The tiles of parts of one kind.
    pub(crate) fn read_mut(&mut self, kind: PartKind) -> &mut TilesRead {
        &mut self.read[usize::from(kind.number()) - 1]
    }

    /// Whether all tiles of this kind are read.
    pub(crate) fn has_read(&self, kind: PartKind) -> bool {
        self.read[usize::from(kind.number()) - 1].is_whole()
    }

    /// Whether it is open at both servers.
    pub(crate) fn is_open(&self) -> bool {
        self.opened.iter().all(Option::is_some)
    }

    /// Cells of keys and replies that nobody delivered.
    pub(crate) fn keys_missing(&self, group: &GroupSettings) -> u64 {
        let mut cells = 0;
        for read in &self.read[1..] {
            for (_, tile, _) in read.missing(1) {
                let tile_senders = group.part_tile_senders(read.kind, self.members());
                cells += u64::from(tile_range(self.members(), tile_senders, tile).1);
            }
        }
        cells * self.users.len() as u64
    }

    /// The tile of a round at this place.
    pub(crate) fn tile(&self, round: RoundNumber, tile: u32, slot: u32) -> Tile {
        let (first_sender, senders) = tile_range(self.members(), TILE_SENDERS, tile);
        let (epoch, slot, first_sender) = (self.epoch, SlotIndex(slot), MemberIndex(first_sender));
        Tile { epoch, round, slot, tile, first_sender, senders }
    }

    /// Whether each of a user's slots has a dial in effect that it can use.
    pub(crate) fn may_send(&self, group: &GroupSettings, position: usize) -> bool {
        if !group.dials() {
            return true;
        }
        let slots = group.slots as usize;
        let mut dials = self.dials[position * slots..][..slots].iter();
        match group.needs_aim() {
            true => dials.all(|dial| dial.aim().is_some()),
            false => dials.all(Dial::is_effective),
        }
    }
}

/// The first sender of a tile, and how many it has.
pub(crate) fn tile_range(members: u32, tile_senders: u32, tile: u32) -> (u32, u32) {
    let first = tile * tile_senders;
    (first, tile_senders.min(members - first))
}
