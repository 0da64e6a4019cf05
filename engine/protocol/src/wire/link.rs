//! What the two servers tell each other, over one connection: small frames of the same form as a client's.
//!
//! Both begin with LINK_HELLO. From then on frames are about one group each, and are answered, if at all, by frames
//! of their own; nothing on the link waits for anything else on it.

use super::{Body, Code, Kind, read_users};
use crate::answer::RECORD_BYTES;
use crate::answer::table::Digest;
use crate::identity::{KEY_BYTES, SIGNATURE_BYTES};
use crate::ids::{Epoch, GroupId, MemberIndex, RoundNumber, SlotIndex, UserId};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The largest body of a frame on the link, in bytes: a proposal that replaces every member of the largest group.
pub const LINK_BODY_BYTES_MAX: u32 = 1 << 22;

/// Entries in one HELD frame.
pub const HELD_ENTRIES_MAX: usize = 4096;

/// Head of LINK_HELLO; `groups` [`LinkGroup`]s follow, by ascending number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct LinkHello {
    /// Which server speaks: 1 or 2.
    pub side: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// How many groups it serves.
    pub groups: U32,
}

/// How one group stands at the server that speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct LinkGroup {
    /// The group.
    pub group: U32,
    /// The epoch that is running or, where none is, being dialled.
    pub epoch: U32,
    /// 1 if rounds of that epoch take submissions, else 0.
    pub open: u8,
    /// Zero.
    pub reserved: [u8; 7],
    /// The open round, 0 where there is none.
    pub round: U64,
    /// A hash over all settings that both servers must share.
    pub settings_hash: [u8; 32],
    /// [`roster_hash`](super::roster_hash) of the epoch's members.
    pub roster_hash: [u8; 32],
}

/// Head of PROPOSE and of AGREE; `joins` and then `leaves` user ids (u32 each, each list ascending) follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Proposal {
    /// The group.
    pub group: U32,
    /// The epoch to come.
    pub epoch: U32,
    /// Its first round.
    pub first_round: U64,
    /// Users who asked to join: PROPOSE, at S1; AGREE, at both.
    pub joins: U32,
    /// Members who asked to leave, likewise.
    pub leaves: U32,
}

/// Head of HELD; `entries` [`HeldDial`]s follow: dials that the server has taken since it last said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Held {
    /// The group.
    pub group: U32,
    /// The epoch that is dialled.
    pub epoch: U32,
    /// How many dials, 1 to [`HELD_ENTRIES_MAX`].
    pub entries: U32,
    /// Zero.
    pub reserved: U32,
}

/// A dial, by all that both servers see of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct HeldDial {
    /// The client's number.
    pub dial_id: U64,
    /// Who dialled.
    pub sender: U32,
    /// The slot.
    pub slot: U32,
}

/// CLOSE: dialling for the epoch is over here; every HELD of it came before. S1 says it first and S2 answers with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Close {
    /// The group.
    pub group: U32,
    /// The epoch.
    pub epoch: U32,
}

/// PRESENT: who submitted, of the 64 senders of a tile, all slots. Both servers release what both have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Present {
    /// The group.
    pub group: U32,
    /// The epoch.
    pub epoch: U32,
    /// The round.
    pub round: U64,
    /// Bit `i`: the tile's sender `i` submitted here.
    pub present: U64,
    /// The tile.
    pub tile: U32,
    /// 1 if the round is left out here: none of its tiles is released by either server.
    pub skipped: U32,
}

const _: () = assert!(size_of::<LinkHello>() == 8);
const _: () = assert!(size_of::<LinkGroup>() == 88);
const _: () = assert!(size_of::<Proposal>() == 24);
const _: () = assert!(size_of::<Held>() == 16);
const _: () = assert!(size_of::<HeldDial>() == 16);
const _: () = assert!(size_of::<Close>() == 8);
const _: () = assert!(size_of::<Present>() == 32);

/// KEY_SIGNED: the server that speaks has a valid registration of this key for the user, or its operator added it, and
/// this is its signature over [`key`](crate::statements::key).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct KeySigned {
    /// The group.
    pub group: U32,
    /// From which epoch on it is the user's key.
    pub epoch: U32,
    /// The user.
    pub user: U32,
    /// Zero.
    pub reserved: U32,
    /// The key.
    pub key: [u8; KEY_BYTES],
    /// The server's signature.
    pub signature: [u8; SIGNATURE_BYTES],
}

const _: () = assert!(size_of::<KeySigned>() == 112);

/// Which tile of records a frame is about, in a group whose delivery is `answer`, and some of its up to 64 senders.
/// The head of TILE_HASH (a hash follows), DIGESTS (a digest of each), SHOWN (a record of each) and ABSENCES (a
/// signature of each).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RecordTile {
    /// The group.
    pub group: U32,
    /// The epoch.
    pub epoch: U32,
    /// The round.
    pub round: U64,
    /// Bit `i`: the tile's sender `i`. TILE_HASH and DIGESTS: those of whom there is a valid record; SHOWN: those of
    /// whom the two servers have different ones; ABSENCES: those who are absent.
    pub senders: U64,
    /// The tile.
    pub tile: U32,
    /// Zero.
    pub reserved: U32,
}

const _: () = assert!(size_of::<RecordTile>() == 32);

impl RecordTile {
    /// How many senders it names.
    #[must_use]
    pub fn count(&self) -> usize {
        self.senders.get().count_ones() as usize
    }

    fn read(body: &[u8]) -> Result<(RecordTile, &[u8]), Code> {
        let (tile, rest) = RecordTile::read_from_prefix(body).map_err(|_| Code::LengthWrong)?;
        if tile.reserved.get() != 0 {
            return Err(Code::ReservedSet);
        }
        Ok((tile, rest))
    }

    fn put(&self, kind: Kind, tail: &[u8], out: &mut Vec<u8>) {
        let body_bytes = (size_of::<RecordTile>() + tail.len()) as u32;
        out.extend_from_slice(&super::Header { kind, body_bytes }.to_bytes());
        out.extend_from_slice(self.as_bytes());
        out.extend_from_slice(tail);
    }
}

/// One frame on the link, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkFrame {
    /// The first one.
    Hello(u8, Vec<LinkGroup>),
    /// S1's: an epoch to come.
    Propose(Change),
    /// S2's answer: what it agrees to.
    Agree(Change),
    /// Dials that the other server has.
    Held(GroupId, Epoch, Vec<HeldDial>),
    /// The other server takes no further dial.
    Close(GroupId, Epoch),
    /// Who is present in a tile at the other server.
    Present(Present),
    /// Whose valid records of a tile the other server has, and the tree hash over the digests of all 64, with
    /// [`NO_DIGEST`](crate::answer::table::NO_DIGEST) for those it has not.
    TileHash(RecordTile, Digest),
    /// The digests of those records, ascending by sender: said once the two hashes differ.
    Digests(RecordTile, Vec<Digest>),
    /// Records whose digests differ, ascending by sender.
    Shown(RecordTile, Vec<[u8; RECORD_BYTES]>),
    /// The other server's signatures that these senders are absent, ascending by sender.
    Absences(RecordTile, Vec<[u8; SIGNATURE_BYTES]>),
    /// A user's key, with the other server's signature.
    KeySigned(KeySigned),
}

/// An epoch to come, as it is proposed and agreed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The group.
    pub group: GroupId,
    /// The epoch.
    pub epoch: Epoch,
    /// Its first round.
    pub first_round: RoundNumber,
    /// Who joins, ascending.
    pub joins: Vec<UserId>,
    /// Who leaves, ascending.
    pub leaves: Vec<UserId>,
}

impl HeldDial {
    /// A dial that this server has.
    #[must_use]
    pub fn new(dial_id: u64, sender: MemberIndex, slot: SlotIndex) -> HeldDial {
        HeldDial { dial_id: dial_id.into(), sender: sender.0.into(), slot: slot.0.into() }
    }
}

impl LinkFrame {
    /// The group that it is about; none for HELLO.
    #[must_use]
    pub fn group(&self) -> Option<GroupId> {
        match self {
            LinkFrame::Hello(..) => None,
            LinkFrame::Propose(change) | LinkFrame::Agree(change) => Some(change.group),
            LinkFrame::Held(group, ..) | LinkFrame::Close(group, _) => Some(*group),
            LinkFrame::Present(present) => Some(GroupId(present.group.get())),
            LinkFrame::TileHash(tile, _)
            | LinkFrame::Digests(tile, _)
            | LinkFrame::Shown(tile, _)
            | LinkFrame::Absences(tile, _) => Some(GroupId(tile.group.get())),
            LinkFrame::KeySigned(signed) => Some(GroupId(signed.group.get())),
        }
    }

    /// Appends its bytes, header and all.
    ///
    /// # Panics
    /// When it lists more than a frame may: HELD more than [`HELD_ENTRIES_MAX`], others more than fit
    /// [`LINK_BODY_BYTES_MAX`].
    pub fn put(&self, out: &mut Vec<u8>) {
        let start = out.len();
        match self {
            LinkFrame::Hello(side, groups) => {
                let head = LinkHello { side: *side, reserved: [0; 3], groups: (groups.len() as u32).into() };
                head.put(size_of_val(groups.as_slice()), out);
                out.extend_from_slice(groups.as_bytes());
            }
            LinkFrame::Propose(change) => change.put(Kind::Propose, out),
            LinkFrame::Agree(change) => change.put(Kind::Agree, out),
            LinkFrame::Held(group, epoch, dials) => {
                assert!(dials.len() <= HELD_ENTRIES_MAX, "{} dials in one frame", dials.len());
                let head = Held {
                    group: group.0.into(),
                    epoch: epoch.0.into(),
                    entries: (dials.len() as u32).into(),
                    reserved: 0.into(),
                };
                head.put(size_of_val(dials.as_slice()), out);
                out.extend_from_slice(dials.as_bytes());
            }
            LinkFrame::Close(group, epoch) => {
                Close { group: group.0.into(), epoch: epoch.0.into() }.put(0, out);
            }
            LinkFrame::Present(present) => present.put(0, out),
            LinkFrame::TileHash(tile, hash) => tile.put(Kind::TileHash, hash, out),
            LinkFrame::Digests(tile, digests) => tile.put(Kind::Digests, digests.as_flattened(), out),
            LinkFrame::Shown(tile, records) => tile.put(Kind::Shown, records.as_flattened(), out),
            LinkFrame::Absences(tile, signed) => tile.put(Kind::Absences, signed.as_flattened(), out),
            LinkFrame::KeySigned(signed) => signed.put(0, out),
        }
        let bytes = out.len() - start;
        assert!(bytes <= super::HEADER_BYTES + LINK_BODY_BYTES_MAX as usize, "a link frame of {bytes} bytes");
    }

    /// Reads the body of a frame of this kind.
    ///
    /// # Errors
    /// [`Code::KindUnknown`] for a kind that has no place on the link, [`Code::LengthWrong`], [`Code::ReservedSet`],
    /// [`Code::UsersNotAscending`] or [`Code::SideWrong`].
    pub fn read(kind: Kind, body: &[u8]) -> Result<LinkFrame, Code> {
        match kind {
            Kind::LinkHello => {
                let (head, list) = LinkHello::parse_prefix(body)?;
                if head.reserved != [0; 3] {
                    return Err(Code::ReservedSet);
                }
                if !(1..=2).contains(&head.side) {
                    return Err(Code::SideWrong);
                }
                let groups: Vec<LinkGroup> = read_list(list, head.groups.get())?;
                if groups.iter().any(|group| group.reserved != [0; 7] || group.open > 1) {
                    return Err(Code::ReservedSet);
                }
                Ok(LinkFrame::Hello(head.side, groups))
            }
            Kind::Propose => Change::read(body).map(LinkFrame::Propose),
            Kind::Agree => Change::read(body).map(LinkFrame::Agree),
            Kind::Held => {
                let (head, list) = Held::parse_prefix(body)?;
                if head.reserved.get() != 0 {
                    return Err(Code::ReservedSet);
                }
                let entries = head.entries.get();
                if entries == 0 || entries as usize > HELD_ENTRIES_MAX {
                    return Err(Code::LengthWrong);
                }
                let dials = read_list(list, entries)?;
                Ok(LinkFrame::Held(GroupId(head.group.get()), Epoch(head.epoch.get()), dials))
            }
            Kind::Close => {
                let close = Close::parse(body)?;
                Ok(LinkFrame::Close(GroupId(close.group.get()), Epoch(close.epoch.get())))
            }
            Kind::Present => {
                let present = Present::parse(body)?;
                if present.skipped.get() > 1 {
                    return Err(Code::ReservedSet);
                }
                Ok(LinkFrame::Present(present))
            }
            Kind::TileHash => {
                let (tile, hash) = RecordTile::read(body)?;
                let hash = hash.try_into().map_err(|_| Code::LengthWrong)?;
                Ok(LinkFrame::TileHash(tile, hash))
            }
            Kind::Digests => read_each(body).map(|(tile, all)| LinkFrame::Digests(tile, all)),
            Kind::Shown => read_each(body).map(|(tile, all)| LinkFrame::Shown(tile, all)),
            Kind::Absences => read_each(body).map(|(tile, all)| LinkFrame::Absences(tile, all)),
            Kind::KeySigned => {
                let signed = KeySigned::parse(body)?;
                if signed.reserved.get() != 0 {
                    return Err(Code::ReservedSet);
                }
                Ok(LinkFrame::KeySigned(signed))
            }
            _ => Err(Code::KindUnknown),
        }
    }
}

impl Change {
    fn put(&self, kind: Kind, out: &mut Vec<u8>) {
        let head = Proposal {
            group: self.group.0.into(),
            epoch: self.epoch.0.into(),
            first_round: self.first_round.0.into(),
            joins: (self.joins.len() as u32).into(),
            leaves: (self.leaves.len() as u32).into(),
        };
        let body_bytes = (size_of::<Proposal>() + 4 * (self.joins.len() + self.leaves.len())) as u32;
        out.extend_from_slice(&super::Header { kind, body_bytes }.to_bytes());
        out.extend_from_slice(head.as_bytes());
        for user in self.joins.iter().chain(&self.leaves) {
            out.extend_from_slice(&user.0.to_le_bytes());
        }
    }

    fn read(body: &[u8]) -> Result<Change, Code> {
        let (head, list) = Proposal::parse_prefix(body)?;
        let (joins, leaves) = (u64::from(head.joins.get()), u64::from(head.leaves.get()));
        if list.len() as u64 != 4 * (joins + leaves) {
            return Err(Code::LengthWrong);
        }
        let mut joins_then_leaves = read_users(list);
        let joins: Vec<UserId> = joins_then_leaves.by_ref().take(joins as usize).collect();
        let leaves: Vec<UserId> = joins_then_leaves.collect();
        if ![&joins, &leaves].iter().all(|users| users.is_sorted_by(|a, b| a < b)) {
            return Err(Code::UsersNotAscending);
        }
        Ok(Change {
            group: GroupId(head.group.get()),
            epoch: Epoch(head.epoch.get()),
            first_round: RoundNumber(head.first_round.get()),
            joins,
            leaves,
        })
    }
}

/// A tile, and so many bytes for each sender that it names.
fn read_each<const BYTES: usize>(body: &[u8]) -> Result<(RecordTile, Vec<[u8; BYTES]>), Code> {
    let (tile, rest) = RecordTile::read(body)?;
    match rest.as_chunks::<BYTES>() {
        (all, []) if all.len() == tile.count() => Ok((tile, all.to_vec())),
        _ => Err(Code::LengthWrong),
    }
}

/// `count` structs that fill `bytes` exactly.
fn read_list<T: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned + Copy>(
    bytes: &[u8],
    count: u32,
) -> Result<Vec<T>, Code> {
    if bytes.len() as u64 != u64::from(count) * size_of::<T>() as u64 {
        return Err(Code::LengthWrong);
    }
    bytes
        .chunks_exact(size_of::<T>())
        .map(|entry| T::read_from_bytes(entry).map_err(|_| Code::LengthWrong))
        .collect()
}

impl Body for LinkHello {
    const KIND: Kind = Kind::LinkHello;
}
impl Body for Held {
    const KIND: Kind = Kind::Held;
}
impl Body for Close {
    const KIND: Kind = Kind::Close;
}
impl Body for Present {
    const KIND: Kind = Kind::Present;
}
impl Body for KeySigned {
    const KIND: Kind = Kind::KeySigned;
}

// PROPOSE and AGREE share a head, which therefore is read as a struct without a kind of its own.
impl Body for Proposal {
    const KIND: Kind = Kind::Propose;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{HEADER_BYTES, Header};
    use proptest::prelude::*;

    fn examples() -> Vec<LinkFrame> {
        let group = LinkGroup {
            group: 3.into(),
            epoch: 4.into(),
            open: 1,
            reserved: [0; 7],
            round: 9.into(),
            settings_hash: [1; 32],
            roster_hash: [2; 32],
        };
        let change = Change {
            group: GroupId(3),
            epoch: Epoch(5),
            first_round: RoundNumber(12),
            joins: vec![UserId(1), UserId(70)],
            leaves: vec![UserId(2)],
        };
        let dial = HeldDial::new(7, MemberIndex(8), SlotIndex(0));
        let present = Present {
            group: 3.into(),
            epoch: 4.into(),
            round: 9.into(),
            present: u64::MAX.into(),
            tile: 2.into(),
            skipped: 0.into(),
        };
        let tile = RecordTile {
            group: 3.into(),
            epoch: 4.into(),
            round: 9.into(),
            senders: 0x8001.into(),
            tile: 2.into(),
            reserved: 0.into(),
        };
        vec![
            LinkFrame::Hello(1, vec![group, group]),
            LinkFrame::Propose(change.clone()),
            LinkFrame::Agree(change),
            LinkFrame::Held(GroupId(3), Epoch(4), vec![dial]),
            LinkFrame::Close(GroupId(3), Epoch(4)),
            LinkFrame::Present(present),
            LinkFrame::TileHash(tile, [9; 32]),
            LinkFrame::Digests(tile, vec![[1; 32], [2; 32]]),
            LinkFrame::Shown(tile, vec![[3; RECORD_BYTES], [4; RECORD_BYTES]]),
            LinkFrame::Absences(tile, vec![[5; SIGNATURE_BYTES], [6; SIGNATURE_BYTES]]),
            LinkFrame::KeySigned(KeySigned {
                group: 3.into(),
                epoch: 4.into(),
                user: 9.into(),
                reserved: 0.into(),
                key: [7; KEY_BYTES],
                signature: [8; SIGNATURE_BYTES],
            }),
        ]
    }

    fn read(bytes: &[u8]) -> Result<LinkFrame, Code> {
        let header = Header::parse(bytes.first_chunk().ok_or(Code::LengthWrong)?)?;
        LinkFrame::read(header.kind, &bytes[HEADER_BYTES..])
    }

    #[test]
    fn every_frame_survives_the_link_and_no_other_length_does() {
        for frame in examples() {
            let mut bytes = Vec::new();
            frame.put(&mut bytes);
            assert_eq!(read(&bytes), Ok(frame.clone()));
            bytes.push(0);
            assert_eq!(read(&bytes), Err(Code::LengthWrong), "{frame:?}");
            bytes.truncate(bytes.len() - 2);
            assert_eq!(read(&bytes), Err(Code::LengthWrong), "{frame:?}");
        }
    }

    #[test]
    fn lists_that_do_not_ascend_and_kinds_of_clients_are_refused() {
        let change = Change {
            group: GroupId(0),
            epoch: Epoch(0),
            first_round: RoundNumber(1),
            joins: vec![UserId(2), UserId(2)],
            leaves: vec![],
        };
        let mut bytes = Vec::new();
        LinkFrame::Propose(change).put(&mut bytes);
        assert_eq!(read(&bytes), Err(Code::UsersNotAscending));
        assert_eq!(LinkFrame::read(Kind::Submit, &[]), Err(Code::KindUnknown));
        assert_eq!(LinkFrame::read(Kind::LinkHello, &[3, 0, 0, 0, 0, 0, 0, 0]), Err(Code::SideWrong));
    }

    proptest! {
        #[test]
        fn no_bytes_of_the_other_server_panic(kind in 0x41_u8..0x4c, body in prop::collection::vec(any::<u8>(), 0..200)) {
            let kind = Kind::from_number(kind).unwrap();
            let _ = LinkFrame::read(kind, &body);
        }
    }
}
