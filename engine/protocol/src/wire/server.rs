//! What a server sends: the bodies of its frames, all of fixed size but DELIVER's cells and ERROR's sentence.

use super::{Body, Code, HEADER_BYTES, Kind};
use crate::context::Purpose;
use crate::ids::{Epoch, GroupId, MemberIndex, RoundNumber, SlotIndex, UserId};
use sha2::{Digest, Sha256};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// WELCOME: the settings of the group and of its epoch. A client compares what both servers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Welcome {
    /// The group.
    pub group: U32,
    /// The epoch that is running or, where none is, being dialled.
    pub epoch: U32,
    /// Members in that epoch, n. ROSTER says who they are.
    pub members: U32,
    /// Slots a member fills in each round, K.
    pub slots: U32,
    /// Bytes of a frame, F.
    pub frame_bytes: U32,
    /// Bytes of a cell from this server: a share, or a pair of them where the scheme has it so.
    pub share_bytes: U32,
    /// Senders to a tile of confirmations; 0 where the group has no bit confirmation.
    pub confirm_tile_senders: U32,
    /// Senders to a tile of keys, and of replies; 0 where members do not exchange keys.
    pub key_tile_senders: U32,
    /// A round closes at the client this long after the first server ended it, in milliseconds.
    pub round_timeout_ms: U32,
    /// Time between two seals where rounds go by the clock, in milliseconds; 0 in lockstep.
    pub interval_ms: U32,
    /// Rounds of an epoch; 0 where it has no end.
    pub epoch_rounds: U32,
    /// How many rounds before an epoch's first it is announced and can be dialled.
    pub announce_rounds: U32,
    /// Every so many rounds each member asks for the headers of one tile; 0 where the group is not accountable.
    pub header_rounds: U32,
    /// The round that is open, which the first submission of a client is for.
    pub round: U64,
    /// [`roster_hash`] of the epoch's members.
    pub roster_hash: [u8; 32],
    /// How messages become shares: 0 paper-xor, 1 paper-add, 2 compact.
    pub profile: u8,
    /// How shares reach a set of recipients: 0 plain, 1 Algorithm 4, 2 one-to-many.
    pub scheme: u8,
    /// Subgroups of a round at the most in the one-to-many scheme, else 0.
    pub subgroups_max: U16,
    /// 1: the epoch is open and rounds take submissions; 0: the group is dialling.
    pub open: u8,
    /// The group's way out: 0 broadcast, 1 answer.
    pub delivery: u8,
    /// 1 if the server is linked to the other one, 0 if it runs alone.
    pub linked: u8,
    /// [`Welcome::REGISTERED`] and [`Welcome::ACCOUNTABLE`]; other bits are 0.
    pub flags: u8,
}

/// DIALLED: the dial is effective. The server has this session key and, where it is linked, so has the other one.
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

/// GRANT: the parts of these senders are wanted now.
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
    /// What parts: 1 confirmations, 2 keys, 3 key replies.
    pub purpose: U32,
    /// Zero.
    pub reserved: U32,
}

/// EPOCH_OPEN: dialling is over.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct EpochOpen {
    /// The epoch that runs from now on.
    pub epoch: U32,
    /// Members all of whose slots have an effective dial.
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
    /// 0: messages, 1: bit confirmations, 2: keys, 3: key replies (the purpose of the codewords inside).
    pub purpose: U32,
    /// Bit `i`: sender `first_sender + i` gave its parts, and this server did not keep them, for want of room. Zero
    /// but in the answer to FETCH.
    pub lost: U64,
}

/// ROUND_END: every tile of the round has been sent.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RoundEnd {
    /// The round.
    pub round: U64,
    /// Tiles delivered for it, over all slots.
    pub tiles: U32,
    /// Members who submitted; to both servers, where they are linked.
    pub senders_present: U32,
    /// Tiles among them that were released without the other server's word, which did not come in time.
    pub unagreed: U32,
    /// In an accountable group, users of this connection for each of whom a signed root follows; else 0.
    pub users: U32,
}

/// ROUND_SKIPPED: nothing is delivered for this round.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RoundSkipped {
    /// The round that was left out; the next one is open.
    pub round: U64,
}

/// ANNOUNCE: an epoch that is to come, and can be dialled from now on. A client compares what both servers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Announce {
    /// The epoch.
    pub epoch: U32,
    /// Its members, n. ROSTER says who they are.
    pub members: U32,
    /// Its first round.
    pub first_round: U64,
    /// [`roster_hash`] of its members.
    pub roster_hash: [u8; 32],
}

/// Head of ROSTER; `count` user ids (u32 each) follow: the members of an epoch from `first` on, strictly ascending.
/// A member's position in the whole list is its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Roster {
    /// The epoch.
    pub epoch: U32,
    /// All its members, n.
    pub members: U32,
    /// The index of the first member of this frame.
    pub first: U32,
    /// How many follow, 1 to [`ROSTER_USERS_MAX`].
    pub count: U32,
}

/// User ids in one ROSTER frame.
pub const ROSTER_USERS_MAX: u32 = 4096;

/// What both servers must agree on about an epoch's members: SHA-256 over "twincast/roster/v1", group, epoch, n and
/// every member's id, ascending, integers as u32 little-endian.
#[must_use]
pub fn roster_hash(group: GroupId, epoch: Epoch, members: &[UserId]) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(b"twincast/roster/v1");
    for number in [group.0, epoch.0, members.len() as u32] {
        hash.update(number.to_le_bytes());
    }
    for member in members {
        hash.update(member.0.to_le_bytes());
    }
    hash.finalize().into()
}

const _: () = assert!(size_of::<Welcome>() == 100);
const _: () = assert!(size_of::<Announce>() == 48);
const _: () = assert!(size_of::<Roster>() == 16);
const _: () = assert!(size_of::<Dialled>() == 24);
const _: () = assert!(size_of::<Grant>() == 24);
const _: () = assert!(size_of::<EpochOpen>() == 16);
const _: () = assert!(size_of::<Deliver>() == 56);
const _: () = assert!(size_of::<RoundEnd>() == 24);
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
impl Body for Announce {
    const KIND: Kind = Kind::Announce;
}
impl Body for Roster {
    const KIND: Kind = Kind::Roster;
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
    /// Grants the parts of `senders` senders from `first_sender` on.
    #[must_use]
    pub fn new(
        purpose: Purpose,
        epoch: Epoch,
        slot: SlotIndex,
        first_sender: MemberIndex,
        senders: u32,
    ) -> Grant {
        Grant {
            epoch: epoch.0.into(),
            slot: slot.0.into(),
            first_sender: first_sender.0.into(),
            senders: senders.into(),
            purpose: (purpose as u32).into(),
            reserved: 0.into(),
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

impl Welcome {
    /// Flag: the group's users are registered, and HELLO proves who they are.
    pub const REGISTERED: u8 = 1;
    /// Flag: members and servers sign what they send, so that who is at fault can be shown.
    pub const ACCOUNTABLE: u8 = 2;

    /// Whether the group's users are registered.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.flags & Welcome::REGISTERED != 0
    }

    /// Whether members and servers sign what they send.
    #[must_use]
    pub fn is_accountable(&self) -> bool {
        self.flags & Welcome::ACCOUNTABLE != 0
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
    /// senders, or `present` or `lost` names senders that the tile does not have.
    pub fn read(head: &[u8], body_bytes: u32) -> Result<Deliver, Code> {
        let deliver = Deliver::parse(head)?;
        let senders = deliver.senders.get();
        let length = deliver.cells_bytes().saturating_add(size_of::<Deliver>() as u64);
        let length_right = length == u64::from(body_bytes);
        if !length_right || senders == 0 || senders > 64 {
            return Err(Code::LengthWrong);
        }
        if senders < 64 && (deliver.present.get() | deliver.lost.get()) >> senders != 0 {
            return Err(Code::LengthWrong);
        }
        Ok(deliver)
    }
}

impl RoundEnd {
    /// The end of `round`, all of whose tiles the other server agreed to.
    #[must_use]
    pub fn new(round: u64, tiles: u32, senders_present: u32) -> RoundEnd {
        RoundEnd {
            round: round.into(),
            tiles: tiles.into(),
            senders_present: senders_present.into(),
            unagreed: 0.into(),
            users: 0.into(),
        }
    }
}

impl Roster {
    /// The frames that list the members of `epoch`, as many as it takes.
    #[must_use]
    pub fn frames(epoch: Epoch, members: &[UserId]) -> bytes::Bytes {
        let mut out = Vec::new();
        let firsts = (0..).step_by(ROSTER_USERS_MAX as usize);
        for (first, part) in firsts.zip(members.chunks(ROSTER_USERS_MAX as usize)) {
            let head = Roster {
                epoch: epoch.0.into(),
                members: (members.len() as u32).into(),
                first: u32::into(first),
                count: (part.len() as u32).into(),
            };
            head.put(part.len() * 4, &mut out);
            for member in part {
                out.extend_from_slice(&member.0.to_le_bytes());
            }
        }
        out.into()
    }

    /// Reads a ROSTER body: the head, and the users that it lists.
    ///
    /// # Errors
    /// [`Code::LengthWrong`] when head and length do not agree or the range is none of the list's,
    /// [`Code::UsersNotAscending`].
    pub fn read(body: &[u8]) -> Result<(Roster, Vec<UserId>), Code> {
        let (roster, list) = Roster::parse_prefix(body)?;
        let (first, count) = (u64::from(roster.first.get()), roster.count.get());
        let in_list = first + u64::from(count) <= u64::from(roster.members.get());
        if count == 0 || count > ROSTER_USERS_MAX || list.len() != count as usize * 4 || !in_list {
            return Err(Code::LengthWrong);
        }
        let users: Vec<UserId> = super::read_users(list).collect();
        if !users.is_sorted_by(|a, b| a < b) {
            return Err(Code::UsersNotAscending);
        }
        Ok((roster, users))
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
            lost: 0.into(),
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

    #[test]
    fn a_roster_comes_in_pieces_and_broken_ones_are_refused() {
        let members: Vec<UserId> = (0..ROSTER_USERS_MAX + 3).map(|index| UserId(2 * index)).collect();
        let frames = Roster::frames(Epoch(4), &members);
        let first_bytes = HEADER_BYTES + 16 + 4 * ROSTER_USERS_MAX as usize;
        let (head, users) = Roster::read(&frames[HEADER_BYTES..first_bytes]).unwrap();
        assert_eq!((head.first.get(), head.members.get()), (0, members.len() as u32));
        assert_eq!(users, members[..ROSTER_USERS_MAX as usize]);
        let body = &frames[first_bytes + HEADER_BYTES..];
        let (head, users) = Roster::read(body).unwrap();
        assert_eq!((head.first.get(), users.as_slice()), (ROSTER_USERS_MAX, &members[4096..]));

        assert_eq!(Roster::read(&body[..body.len() - 4]).err(), Some(Code::LengthWrong));
        let mut twice = body.to_vec();
        twice.copy_within(16..20, 20);
        assert_eq!(Roster::read(&twice).err(), Some(Code::UsersNotAscending));
        let mut beyond = body.to_vec();
        beyond[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Roster::read(&beyond).err(), Some(Code::LengthWrong));
    }

    #[test]
    fn the_roster_hash_depends_on_everything_that_it_names() {
        let hash = |group, epoch, members: &[u32]| {
            let members: Vec<UserId> = members.iter().copied().map(UserId).collect();
            roster_hash(GroupId(group), Epoch(epoch), &members)
        };
        let hashes = [hash(1, 2, &[3, 4]), hash(2, 2, &[3, 4]), hash(1, 3, &[3, 4]), hash(1, 2, &[3, 5])];
        for (index, first) in hashes.iter().enumerate() {
            assert!(hashes[..index].iter().all(|other| other != first));
        }
        assert_ne!(hash(1, 2, &[]), hash(1, 2, &[0]));
    }
}
