//! What a server sends: the bodies of its frames, all of fixed size but DELIVER's cells and ERROR's sentence.

use super::{Body, Code, HEADER_BYTES, Kind};
use crate::ids::{Epoch, MemberIndex, RoundNumber, SlotIndex};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// WELCOME: the settings of the group. A client compares what both servers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Welcome {
    /// The group.
    pub group: U32,
    /// The epoch that is being dialled or running.
    pub epoch: U32,
    /// Members of the group, n.
    pub members: U32,
    /// Slots a member fills in each round, K.
    pub slots: U32,
    /// Bytes of a frame, F.
    pub frame_bytes: U32,
    /// Bytes of a share, and of a cell.
    pub share_bytes: U32,
    /// Senders to a confirmation tile; 0 where the group has no bit confirmation.
    pub confirm_tile_senders: U32,
    /// A round closes at the client this long after the first server ended it, in milliseconds.
    pub round_timeout_ms: U32,
    /// The round that is open, which the first submission of a client is for.
    pub round: U64,
    /// 2: compact.
    pub profile: u8,
    /// 1: the epoch is open and rounds take submissions; 0: the group is dialling.
    pub open: u8,
    /// Zero.
    pub reserved: [u8; 6],
}

/// DIALLED: the server has this session key.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Dialled {
    /// The client's number for the dial.
    pub dial_id: U64,
    /// The epoch of the key.
    pub epoch: U32,
    /// The member that dialled.
    pub sender: U32,
    /// The slot.
    pub slot: U32,
    /// Zero.
    pub reserved: U32,
}

/// GRANT: the bit confirmations of these senders are wanted now.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Grant {
    /// The epoch.
    pub epoch: U32,
    /// The slot.
    pub slot: U32,
    /// The first sender of the range.
    pub first_sender: U32,
    /// How many senders.
    pub senders: U32,
}

/// EPOCH_OPEN: dialling is over.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct EpochOpen {
    /// The epoch that runs from now on.
    pub epoch: U32,
    /// Members with at least one effective dial.
    pub members_dialled: U32,
    /// Its first round.
    pub first_round: U64,
}

/// Head of DELIVER; then, for each of the connection's users ascending, `senders` cells of `cell_bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Deliver {
    /// The round; 0 for bit confirmations.
    pub round: U64,
    /// Bit `i`: sender `first_sender + i` submitted. The cells of those who did not are zeros.
    pub present: U64,
    /// The epoch.
    pub epoch: U32,
    /// The slot.
    pub slot: U32,
    /// Position of the tile among those of its round and slot, from 0.
    pub tile: U32,
    /// The first sender of the tile.
    pub first_sender: U32,
    /// Senders in the tile, 1 to 64.
    pub senders: U32,
    /// Bytes of a cell.
    pub cell_bytes: U32,
    /// Users of this connection.
    pub users: U32,
    /// 0: messages, 1: bit confirmations (the purpose of the codewords inside).
    pub purpose: U32,
    /// Zero.
    pub reserved: U64,
}

/// ROUND_END: every tile of the round has been sent.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RoundEnd {
    /// The round.
    pub round: U64,
    /// Tiles delivered for it, over all slots.
    pub tiles: U32,
    /// Members who submitted.
    pub senders_present: U32,
}

/// ROUND_SKIPPED: nothing is delivered for this round.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RoundSkipped {
    /// The round that was left out; the next one is open.
    pub round: U64,
}

const _: () = assert!(size_of::<Welcome>() == 48);
const _: () = assert!(size_of::<Dialled>() == 24);
const _: () = assert!(size_of::<Grant>() == 16);
const _: () = assert!(size_of::<EpochOpen>() == 16);
const _: () = assert!(size_of::<Deliver>() == 56);
const _: () = assert!(size_of::<RoundEnd>() == 16);
const _: () = assert!(size_of::<RoundSkipped>() == 8);

/// Bytes that a DELIVER frame has before its first cell.
pub const DELIVER_HEAD_BYTES: usize = HEADER_BYTES + size_of::<Deliver>();
const _: () = assert!(DELIVER_HEAD_BYTES == 64);

impl Body for Welcome {
    const KIND: Kind = Kind::Welcome;
}
impl Body for Dialled {
    const KIND: Kind = Kind::Dialled;
}
impl Body for Grant {
    const KIND: Kind = Kind::Grant;
}
impl Body for EpochOpen {
    const KIND: Kind = Kind::EpochOpen;
}
impl Body for Deliver {
    const KIND: Kind = Kind::Deliver;
}
impl Body for RoundEnd {
    const KIND: Kind = Kind::RoundEnd;
}
impl Body for RoundSkipped {
    const KIND: Kind = Kind::RoundSkipped;
}

impl Dialled {
    /// The answer to a dial.
    #[must_use]
    pub fn new(dial_id: u64, epoch: Epoch, sender: MemberIndex, slot: SlotIndex) -> Dialled {
        Dialled {
            dial_id: dial_id.into(),
            epoch: epoch.0.into(),
            sender: sender.0.into(),
            slot: slot.0.into(),
            reserved: 0.into(),
        }
    }
}

impl Grant {
    /// Grants the confirmations of `senders` senders from `first_sender` on.
    #[must_use]
    pub fn new(epoch: Epoch, slot: SlotIndex, first_sender: MemberIndex, senders: u32) -> Grant {
        Grant {
            epoch: epoch.0.into(),
            slot: slot.0.into(),
            first_sender: first_sender.0.into(),
            senders: senders.into(),
        }
    }
}

impl EpochOpen {
    /// Opens `epoch` from `first_round` on.
    #[must_use]
    pub fn new(epoch: Epoch, members_dialled: u32, first_round: RoundNumber) -> EpochOpen {
        EpochOpen {
            epoch: epoch.0.into(),
            members_dialled: members_dialled.into(),
            first_round: first_round.0.into(),
        }
    }
}

impl Deliver {
    /// Bytes of all cells that follow the head, or `u64::MAX` where a head of nonsense says even more.
    #[must_use]
    pub fn cells_bytes(&self) -> u64 {
        let cells = u64::from(self.users.get()) * u64::from(self.senders.get());
        cells.saturating_mul(u64::from(self.cell_bytes.get()))
    }

    /// Reads the head of a DELIVER frame whose header announced `body_bytes`.
    ///
    /// # Errors
    /// [`Code::LengthWrong`] when head, cells and announced length do not agree, there are no or more than 64
    /// senders, or `present` names senders that the tile does not have.
    pub fn read(head: &[u8], body_bytes: u32) -> Result<Deliver, Code> {
        let deliver = Deliver::parse(head)?;
        let senders = deliver.senders.get();
        let length = deliver.cells_bytes().saturating_add(size_of::<Deliver>() as u64);
        let length_right = length == u64::from(body_bytes);
        if !length_right || senders == 0 || senders > 64 || deliver.reserved.get() != 0 {
            return Err(Code::LengthWrong);
        }
        if senders < 64 && deliver.present.get() >> senders != 0 {
            return Err(Code::LengthWrong);
        }
        Ok(deliver)
    }
}

impl RoundEnd {
    /// The end of `round`.
    #[must_use]
    pub fn new(round: u64, tiles: u32, senders_present: u32) -> RoundEnd {
        RoundEnd { round: round.into(), tiles: tiles.into(), senders_present: senders_present.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deliver() -> Deliver {
        Deliver {
            round: 1.into(),
            present: 0b11.into(),
            epoch: 0.into(),
            slot: 0.into(),
            tile: 0.into(),
            first_sender: 0.into(),
            senders: 2.into(),
            cell_bytes: 336.into(),
            users: 3.into(),
            purpose: 0.into(),
            reserved: 0.into(),
        }
    }

    #[test]
    fn deliver_head_agrees_with_its_length() {
        let good = deliver();
        let body_bytes = 56 + 3 * 2 * 336;
        assert_eq!(Deliver::read(good.as_bytes(), body_bytes), Ok(good));
        assert_eq!(Deliver::read(good.as_bytes(), body_bytes + 1), Err(Code::LengthWrong));
        assert_eq!(Deliver::read(&good.as_bytes()[1..], body_bytes), Err(Code::LengthWrong));
    }

    #[test]
    fn deliver_refuses_impossible_senders() {
        let too_many_present = Deliver { present: 0b100.into(), ..deliver() };
        assert_eq!(Deliver::read(too_many_present.as_bytes(), 56 + 6 * 336), Err(Code::LengthWrong));
        let nobody = Deliver { senders: 0.into(), present: 0.into(), ..deliver() };
        assert_eq!(Deliver::read(nobody.as_bytes(), 56), Err(Code::LengthWrong));
        let nonsense = Deliver { users: u32::MAX.into(), senders: u32::MAX.into(), ..deliver() };
        let nonsense = Deliver { cell_bytes: u32::MAX.into(), ..nonsense };
        assert_eq!(Deliver::read(nonsense.as_bytes(), 56), Err(Code::LengthWrong));
        let crowd = Deliver { senders: 65.into(), cell_bytes: 0.into(), ..deliver() };
        assert_eq!(Deliver::read(crowd.as_bytes(), 56), Err(Code::LengthWrong));
    }
}
