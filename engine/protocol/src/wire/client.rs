//! What a client sends: the heads of its frames' bodies.

use super::{Body, Code, Kind};
use crate::ids::{Epoch, GroupId, MemberIndex, RoundNumber, ServerSide, SlotIndex};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Head of HELLO; `users` member indices (u32 each, strictly ascending) follow.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Hello {
    /// The group that this connection is for.
    pub group: U32,
    /// The epoch that the client believes to be running.
    pub epoch: U32,
    /// 1 if the client takes this server for S1, 2 for S2.
    pub side: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// How many members this connection plays.
    pub users: U32,
}

/// Head of DIAL; the session key, `ceil(n/8)` bytes, follows.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Dial {
    /// The client's number for this dial; comes back in DIALLED.
    pub dial_id: U64,
    /// The epoch that the key is for.
    pub epoch: U32,
    /// The member that dials.
    pub sender: U32,
    /// The slot that the key is for.
    pub slot: U32,
    /// Zero.
    pub reserved: U32,
}

/// Head of CONFIRM_SEED (32 bytes of seed follow) and of CONFIRM_PARTS (64 bytes a member follow).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ConfirmHead {
    /// The epoch that the confirmations belong to.
    pub epoch: U32,
    /// The sender who confirms.
    pub sender: U32,
    /// The slot.
    pub slot: U32,
    /// Zero.
    pub reserved: U32,
}

/// Head of SUBMIT; half 0 and half 1 of every slot follow, slots ascending: `slots * 2 * share_bytes` bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Submit {
    /// The round that the shares are for.
    pub round: U64,
    /// The member that sends.
    pub sender: U32,
    /// 1 if the member raised an alarm in an earlier round, else 0.
    pub alarm: U32,
}

const _: () = assert!(size_of::<Hello>() == 16);
const _: () = assert!(size_of::<Dial>() == 24);
const _: () = assert!(size_of::<ConfirmHead>() == 16);
const _: () = assert!(size_of::<Submit>() == 16);

impl Body for Hello {
    const KIND: Kind = Kind::Hello;
}
impl Body for Dial {
    const KIND: Kind = Kind::Dial;
}
impl Body for ConfirmHead {
    const KIND: Kind = Kind::ConfirmParts;
}
impl Body for Submit {
    const KIND: Kind = Kind::Submit;
}

impl Hello {
    /// The whole frame for these members, who must be strictly ascending.
    #[must_use]
    pub fn frame(group: GroupId, epoch: Epoch, side: ServerSide, users: &[MemberIndex]) -> Vec<u8> {
        let hello = Hello {
            group: group.0.into(),
            epoch: epoch.0.into(),
            side: side.index() as u8 + 1,
            reserved: [0; 3],
            users: (users.len() as u32).into(),
        };
        let mut out = Vec::new();
        hello.put(users.len() * 4, &mut out);
        for user in users {
            out.extend_from_slice(&user.0.to_le_bytes());
        }
        out
    }

    /// Reads a whole HELLO body.
    ///
    /// # Errors
    /// [`Code::LengthWrong`], [`Code::SideWrong`] (neither 1 nor 2) or [`Code::MembersNotAscending`].
    pub fn read(body: &[u8]) -> Result<(Hello, ServerSide, Vec<MemberIndex>), Code> {
        let (hello, list) = Hello::parse_prefix(body)?;
        if hello.reserved != [0; 3] || list.len() as u64 != u64::from(hello.users.get()) * 4 {
            return Err(Code::LengthWrong);
        }
        let side = match hello.side {
            1 => ServerSide::One,
            2 => ServerSide::Two,
            _ => return Err(Code::SideWrong),
        };
        let users: Vec<MemberIndex> = list
            .chunks_exact(4)
            .map(|bytes| MemberIndex(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])))
            .collect();
        if users.is_empty() || !users.is_sorted_by(|a, b| a < b) {
            return Err(Code::MembersNotAscending);
        }
        Ok((hello, side, users))
    }
}

impl Dial {
    /// A dial of `sender` for `slot`.
    #[must_use]
    pub fn new(dial_id: u64, epoch: Epoch, sender: MemberIndex, slot: SlotIndex) -> Dial {
        Dial {
            dial_id: dial_id.into(),
            epoch: epoch.0.into(),
            sender: sender.0.into(),
            slot: slot.0.into(),
            reserved: 0.into(),
        }
    }
}

impl ConfirmHead {
    /// The confirmations of `sender` for `slot`.
    #[must_use]
    pub fn new(epoch: Epoch, sender: MemberIndex, slot: SlotIndex) -> ConfirmHead {
        ConfirmHead {
            epoch: epoch.0.into(),
            sender: sender.0.into(),
            slot: slot.0.into(),
            reserved: 0.into(),
        }
    }

    /// The whole CONFIRM_SEED frame, for S1.
    #[must_use]
    pub fn seed_frame(&self, seed: &[u8; 32]) -> Vec<u8> {
        let body_bytes = (size_of::<ConfirmHead>() + seed.len()) as u32;
        let mut out = super::Header { kind: Kind::ConfirmSeed, body_bytes }.to_bytes().to_vec();
        out.extend_from_slice(self.as_bytes());
        out.extend_from_slice(seed);
        out
    }
}

impl Submit {
    /// The shares of `sender` for `round`.
    #[must_use]
    pub fn new(round: RoundNumber, sender: MemberIndex, alarm: bool) -> Submit {
        Submit { round: round.0.into(), sender: sender.0.into(), alarm: u32::from(alarm).into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::HEADER_BYTES;

    #[test]
    fn hello_round_trip_and_its_errors() {
        let users = [MemberIndex(1), MemberIndex(5)];
        let frame = Hello::frame(GroupId(3), Epoch(0), ServerSide::Two, &users);
        let body = &frame[HEADER_BYTES..];
        let (hello, side, list) = Hello::read(body).unwrap();
        assert_eq!((hello.group.get(), side, list.as_slice()), (3, ServerSide::Two, &users[..]));

        assert_eq!(Hello::read(&body[..body.len() - 1]).err(), Some(Code::LengthWrong));
        let mut wrong_side = body.to_vec();
        wrong_side[8] = 3;
        assert_eq!(Hello::read(&wrong_side).err(), Some(Code::SideWrong));
        let twice = Hello::frame(GroupId(3), Epoch(0), ServerSide::Two, &[MemberIndex(5), MemberIndex(5)]);
        assert_eq!(Hello::read(&twice[HEADER_BYTES..]).err(), Some(Code::MembersNotAscending));
        let nobody = Hello::frame(GroupId(3), Epoch(0), ServerSide::Two, &[]);
        assert_eq!(Hello::read(&nobody[HEADER_BYTES..]).err(), Some(Code::MembersNotAscending));
    }
}
