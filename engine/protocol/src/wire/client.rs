//! What a client sends: the heads of its frames' bodies.

use super::{Body, Code, Kind};
use crate::context::Purpose;
use crate::identity::SIGNATURE_BYTES;
use crate::ids::{Epoch, GroupId, MemberIndex, RoundNumber, ServerSide, SlotIndex, UserId};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The epoch that HELLO names to attach to whichever is running or, before the first, being dialled.
pub const EPOCH_ANY: Epoch = Epoch(u32::MAX);

/// Head of HELLO; `users` user ids (u32 each, strictly ascending) follow, and where `proofs` is 1 for each of them, in
/// that order, the signature over [`attach`](crate::statements::attach).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Hello {
    /// The group that this connection is for.
    pub group: U32,
    /// The epoch that the client believes to be running or, before the first, being dialled; or [`EPOCH_ANY`].
    pub epoch: U32,
    /// 1 if the client takes this server for S1, 2 for S2.
    pub side: u8,
    /// 1 if users whom the group does not have ask to join it, from the next epoch on; 0 if there must be none.
    pub join: u8,
    /// 1 if each user proves who it is, else 0.
    pub proofs: u8,
    /// Zero.
    pub reserved: u8,
    /// How many users this connection plays.
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

/// Head of PARTS_SEED (32 bytes of seed follow) and of PARTS (one part a member follows, of 64 bytes for
/// confirmations and 96 for keys and their replies).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct PartsHead {
    /// The epoch that the parts belong to.
    pub epoch: U32,
    /// The sender whose they are.
    pub sender: U32,
    /// The slot; 0 for keys and replies, of which a member has one set.
    pub slot: U32,
    /// The [`Purpose`](crate::context::Purpose) of the codewords inside: 1 confirmation, 2 key, 3 key reply.
    pub purpose: U32,
}

/// Head of SUBMIT; the rows of every slot follow, slots ascending: half 0 and half 1 of `share_bytes` each. Where
/// halves are chosen round by round (the one-to-many scheme) the choice words, one u16 a member, come before them.
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

/// LEAVE: a user of this connection is no member from the next epoch on.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Leave {
    /// The user.
    pub user: U32,
    /// Zero.
    pub reserved: U32,
}

/// FETCH: hand over tiles of parts that were delivered before this connection came. Each is answered by one DELIVER,
/// ascending, between the frames for all.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Fetch {
    /// The epoch, which runs.
    pub epoch: U32,
    /// What parts: 1 confirmations, 2 keys, 3 key replies.
    pub purpose: U32,
    /// The slot.
    pub slot: U32,
    /// The first tile of the range.
    pub first_tile: U32,
    /// How many tiles, at most [`FETCH_TILES_MAX`].
    pub tiles: U32,
    /// Zero.
    pub reserved: U32,
}

/// Tiles that one FETCH may ask for.
pub const FETCH_TILES_MAX: u32 = 16;

const _: () = assert!(size_of::<Hello>() == 16);
const _: () = assert!(size_of::<Dial>() == 24);
const _: () = assert!(size_of::<PartsHead>() == 16);
const _: () = assert!(size_of::<Submit>() == 16);
const _: () = assert!(size_of::<Leave>() == 8);
const _: () = assert!(size_of::<Fetch>() == 24);

impl Body for Hello {
    const KIND: Kind = Kind::Hello;
}
impl Body for Dial {
    const KIND: Kind = Kind::Dial;
}
impl Body for PartsHead {
    const KIND: Kind = Kind::Parts;
}
impl Body for Submit {
    const KIND: Kind = Kind::Submit;
}
impl Body for Leave {
    const KIND: Kind = Kind::Leave;
}
impl Body for Fetch {
    const KIND: Kind = Kind::Fetch;
}

/// The proofs of HELLO, in the order of its users.
pub type Proofs<'a> = &'a [[u8; SIGNATURE_BYTES]];

impl Hello {
    /// The whole frame for these users, who must be strictly ascending, without proofs; `join`: those whom the group
    /// does not have ask to join it.
    #[must_use]
    pub fn frame(group: GroupId, epoch: Epoch, side: ServerSide, join: bool, users: &[UserId]) -> Vec<u8> {
        Hello::frame_with(group, epoch, side, join, users, &[])
    }

    /// The same, with a proof of each user, or none.
    ///
    /// # Panics
    /// If there are proofs, and not as many as users.
    #[must_use]
    pub fn frame_with(
        group: GroupId,
        epoch: Epoch,
        side: ServerSide,
        join: bool,
        users: &[UserId],
        proofs: &[[u8; SIGNATURE_BYTES]],
    ) -> Vec<u8> {
        assert!(proofs.is_empty() || proofs.len() == users.len(), "each user proves who it is, or none does");
        let hello = Hello {
            group: group.0.into(),
            epoch: epoch.0.into(),
            side: side.index() as u8 + 1,
            join: join.into(),
            proofs: u8::from(!proofs.is_empty()),
            reserved: 0,
            users: (users.len() as u32).into(),
        };
        let mut out = Vec::new();
        hello.put(users.len() * 4 + proofs.len() * SIGNATURE_BYTES, &mut out);
        for user in users {
            out.extend_from_slice(&user.0.to_le_bytes());
        }
        out.extend_from_slice(proofs.as_flattened());
        out
    }

    /// Reads a whole HELLO body. There are as many proofs as users, or none.
    ///
    /// # Errors
    /// [`Code::LengthWrong`], [`Code::ReservedSet`], [`Code::SideWrong`] (neither 1 nor 2) or
    /// [`Code::UsersNotAscending`].
    pub fn read(body: &[u8]) -> Result<(Hello, ServerSide, Vec<UserId>, Proofs<'_>), Code> {
        let (hello, list) = Hello::parse_prefix(body)?;
        if hello.reserved != 0 || hello.join > 1 || hello.proofs > 1 {
            return Err(Code::ReservedSet);
        }
        let users = u64::from(hello.users.get());
        let user_bytes = 4 + u64::from(hello.proofs) * SIGNATURE_BYTES as u64;
        if list.len() as u64 != users * user_bytes {
            return Err(Code::LengthWrong);
        }
        let (list, proofs) = list.split_at(4 * users as usize);
        let side = match hello.side {
            1 => ServerSide::One,
            2 => ServerSide::Two,
            _ => return Err(Code::SideWrong),
        };
        let users: Vec<UserId> = super::read_users(list).collect();
        if users.is_empty() || !users.is_sorted_by(|a, b| a < b) {
            return Err(Code::UsersNotAscending);
        }
        Ok((hello, side, users, proofs.as_chunks().0))
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

impl PartsHead {
    /// The parts of `sender` for `slot`.
    #[must_use]
    pub fn new(epoch: Epoch, sender: MemberIndex, slot: SlotIndex, purpose: Purpose) -> PartsHead {
        PartsHead {
            epoch: epoch.0.into(),
            sender: sender.0.into(),
            slot: slot.0.into(),
            purpose: (purpose as u32).into(),
        }
    }

    /// The whole PARTS_SEED frame, for S1.
    #[must_use]
    pub fn seed_frame(&self, seed: &[u8; 32]) -> Vec<u8> {
        let body_bytes = (size_of::<PartsHead>() + seed.len()) as u32;
        let mut out = super::Header { kind: Kind::PartsSeed, body_bytes }.to_bytes().to_vec();
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
        let users = [UserId(1), UserId(5)];
        let frame = Hello::frame(GroupId(3), EPOCH_ANY, ServerSide::Two, true, &users);
        let body = &frame[HEADER_BYTES..];
        let (hello, side, list, proofs) = Hello::read(body).unwrap();
        assert!(proofs.is_empty());
        assert_eq!((hello.group.get(), side, list.as_slice()), (3, ServerSide::Two, &users[..]));
        assert_eq!(hello.join, 1);

        assert_eq!(Hello::read(&body[..body.len() - 1]).err(), Some(Code::LengthWrong));
        let mut wrong_side = body.to_vec();
        wrong_side[8] = 3;
        assert_eq!(Hello::read(&wrong_side).err(), Some(Code::SideWrong));
        let mut joins_twice = body.to_vec();
        joins_twice[9] = 2;
        assert_eq!(Hello::read(&joins_twice).err(), Some(Code::ReservedSet));
        let read = |users: &[UserId]| {
            let frame = Hello::frame(GroupId(3), Epoch(0), ServerSide::Two, false, users);
            Hello::read(&frame[HEADER_BYTES..]).err()
        };
        assert_eq!(read(&[UserId(5), UserId(5)]), Some(Code::UsersNotAscending));
        assert_eq!(read(&[]), Some(Code::UsersNotAscending));
    }
}
