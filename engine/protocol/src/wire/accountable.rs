//! What the frames of an accountable group carry besides: signatures at the end of SUBMIT and ROUND_END, the commitment
//! at the end of DIAL, and the two frames of headers.

use super::{Body, Code, HEADER_BYTES, Header, Kind, RoundEnd};
use crate::accountable::delivery::{leaf_index, senders_of, tiles_of};
use crate::accountable::tree::path_hashes;
use crate::identity::SIGNATURE_BYTES;
use crate::ids::{Epoch, MemberIndex, RoundNumber, SlotIndex};
use crate::statements::{HASH_BYTES, Hash};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Members of the largest group that headers can be of: what a head of nonsense may not exceed.
const MEMBERS_MAX: u32 = 1 << 24;
/// Slots of the largest group that headers can be of.
const SLOTS_MAX: u32 = 1 << 10;

/// FETCH_HEADERS: the headers of one tile of one round are wanted. A member asks each server exactly once at its turn
/// ([`is_turn`](crate::accountable::turn::is_turn)), and never else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FetchHeaders {
    /// The round, one of those that may be [asked for](crate::accountable::turn::fetchable).
    pub round: U64,
    /// The epoch of that round.
    pub epoch: U32,
    /// The member that asks: its index in that epoch.
    pub user: U32,
    /// The slot.
    pub slot: U32,
    /// The tile.
    pub tile: U32,
}

/// Head of HEADERS; then the path of the tile in the delivery root, then an entry for each sender of the tile, then the
/// server's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct HeadersHead {
    /// The round.
    pub round: U64,
    /// Bit `i`: sender `first_sender + i` is present, as in the round's receipt.
    pub present: U64,
    /// The epoch.
    pub epoch: U32,
    /// The recipient's index in that epoch.
    pub user: U32,
    /// The slot.
    pub slot: U32,
    /// The tile.
    pub tile: U32,
    /// The first sender of the tile.
    pub first_sender: U32,
    /// Senders in the tile, 1 to 64.
    pub senders: U32,
    /// Hashes in the path of the tile.
    pub path_hashes: U32,
    /// Hashes in the path of the recipient's leaf in each sender's dial.
    pub leaf_hashes: U32,
    /// Slots, K.
    pub slots: U32,
    /// Members of the epoch, n.
    pub members: U32,
    /// Zero.
    pub reserved: [u8; 8],
}

const _: () = assert!(size_of::<FetchHeaders>() == 24);
const _: () = assert!(size_of::<HeadersHead>() == 64);

impl Body for FetchHeaders {
    const KIND: Kind = Kind::FetchHeaders;
}
impl Body for HeadersHead {
    const KIND: Kind = Kind::Headers;
}

impl FetchHeaders {
    /// Asks for one tile.
    #[must_use]
    pub fn new(
        round: RoundNumber,
        epoch: Epoch,
        user: MemberIndex,
        slot: SlotIndex,
        tile: u32,
    ) -> FetchHeaders {
        FetchHeaders {
            round: round.0.into(),
            epoch: epoch.0.into(),
            user: user.0.into(),
            slot: slot.0.into(),
            tile: tile.into(),
        }
    }
}

impl HeadersHead {
    /// The head that answers `fetch` in a group of `members` with `slots`.
    ///
    /// # Panics
    /// If the group has no such user, slot or tile.
    #[must_use]
    pub fn new(fetch: &FetchHeaders, members: u32, slots: u32, present: u64) -> HeadersHead {
        let (slot, tile, user) = (fetch.slot.get(), fetch.tile.get(), fetch.user.get());
        let tiles = tiles_of(members);
        assert!(slot < slots && tile < tiles && user < members, "a tile and a member of the group");
        let index = leaf_index(SlotIndex(slot), tile, tiles);
        HeadersHead {
            round: fetch.round,
            present: present.into(),
            epoch: fetch.epoch,
            user: fetch.user,
            slot: fetch.slot,
            tile: fetch.tile,
            first_sender: (tile * 64).into(),
            senders: senders_of(members, tile).into(),
            path_hashes: (path_hashes(index, (slots * tiles) as usize) as u32).into(),
            leaf_hashes: (path_hashes(user as usize, members as usize) as u32).into(),
            slots: slots.into(),
            members: members.into(),
            reserved: [0; 8],
        }
    }

    /// Whether all its numbers follow from group, recipient and tile, and `present` names senders of the tile alone.
    ///
    /// # Errors
    /// [`Code::LengthWrong`] or [`Code::ReservedSet`].
    pub fn check(&self) -> Result<(), Code> {
        let (members, slots) = (self.members.get(), self.slots.get());
        let in_bounds = (1..=MEMBERS_MAX).contains(&members) && (1..=SLOTS_MAX).contains(&slots);
        let named = self.user.get() < members && self.slot.get() < slots;
        if !in_bounds || !named || self.tile.get() >= tiles_of(members) {
            return Err(Code::LengthWrong);
        }
        let fetch = FetchHeaders {
            round: self.round,
            epoch: self.epoch,
            user: self.user,
            slot: self.slot,
            tile: self.tile,
        };
        let right = HeadersHead::new(&fetch, members, slots, self.present.get());
        let senders = right.senders.get();
        if self.reserved != [0; 8] {
            return Err(Code::ReservedSet);
        }
        if right != *self || (senders < 64 && self.present.get() >> senders != 0) {
            return Err(Code::LengthWrong);
        }
        Ok(())
    }
}

/// A server's word to one recipient about a round: the delivery root, signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SignedRoot {
    /// The root over the recipient's tiles.
    pub root: Hash,
    /// The server's signature over [`delivery`](crate::statements::delivery).
    pub signature: [u8; SIGNATURE_BYTES],
}

const _: () = assert!(size_of::<SignedRoot>() == 96);

/// ROUND_END of an accountable group, which is each connection's own.
#[derive(Clone, Debug)]
pub struct SignedRoundEnd {
    /// The head: its `users` are the roots'.
    pub end: RoundEnd,
    /// Who is present in each tile of a slot; it is the same in all.
    pub present: Vec<u64>,
    /// The server's signature over [`receipt`](crate::statements::receipt).
    pub receipt: [u8; SIGNATURE_BYTES],
    /// For each of the connection's users ascending what it was given.
    pub roots: Vec<SignedRoot>,
}

impl SignedRoundEnd {
    /// Bytes of its body in a group of `members`, for a connection that plays `users` of them.
    #[must_use]
    pub fn body_bytes(members: u32, users: usize) -> usize {
        let fixed = size_of::<RoundEnd>() + 8 * tiles_of(members) as usize + SIGNATURE_BYTES;
        fixed + users * size_of::<SignedRoot>()
    }

    /// The whole frame.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        let tail_bytes =
            8 * self.present.len() + SIGNATURE_BYTES + self.roots.len() * size_of::<SignedRoot>();
        let end = RoundEnd { users: (self.roots.len() as u32).into(), ..self.end };
        let mut out = Vec::with_capacity(HEADER_BYTES + size_of::<RoundEnd>() + tail_bytes);
        end.put(tail_bytes, &mut out);
        self.present.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
        out.extend_from_slice(&self.receipt);
        out.extend_from_slice(self.roots.as_bytes());
        out
    }

    /// Reads a body, of a group of `members`. Nothing is verified.
    ///
    /// # Errors
    /// [`Code::LengthWrong`] when head and length do not agree, or a word names members that there are not.
    pub fn read(body: &[u8], members: u32) -> Result<SignedRoundEnd, Code> {
        let (end, tail) = RoundEnd::parse_prefix(body)?;
        let users = usize::try_from(end.users.get()).map_err(|_| Code::LengthWrong)?;
        let right = users <= members as usize && body.len() == Self::body_bytes(members, users);
        if !right {
            return Err(Code::LengthWrong);
        }
        let (words, tail) = tail.split_at(8 * tiles_of(members) as usize);
        let present: Vec<u64> = words.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let names_members = (0..).zip(&present).all(|(tile, word)| {
            let senders = senders_of(members, tile);
            senders == 64 || word >> senders == 0
        });
        if !names_members {
            return Err(Code::LengthWrong);
        }
        let (receipt, roots) = tail.split_first_chunk().expect("its length was checked");
        let roots = <[SignedRoot]>::ref_from_bytes(roots).map_err(|_| Code::LengthWrong)?;
        Ok(SignedRoundEnd { end, present, receipt: *receipt, roots: roots.to_vec() })
    }
}

/// Splits the last N bytes off a body: the commitment of DIAL, the signature of SUBMIT.
///
/// # Errors
/// [`Code::LengthWrong`] when the body is shorter.
pub fn split_tail<const N: usize>(body: &[u8]) -> Result<(&[u8], &[u8; N]), Code> {
    body.split_last_chunk().ok_or(Code::LengthWrong)
}

/// Bytes of a HEADERS frame with this head: everybody's are of the same length.
///
/// # Panics
/// If the head is not right.
#[must_use]
pub fn headers_frame_bytes(head: &HeadersHead) -> usize {
    assert!(head.check().is_ok(), "a head that was made by `new`, or checked");
    let path_bytes = head.path_hashes.get() as usize * HASH_BYTES;
    let entry_bytes = crate::accountable::headers::entry_bytes(head.slots.get(), head.leaf_hashes.get());
    HEADER_BYTES
        + size_of::<HeadersHead>()
        + path_bytes
        + head.senders.get() as usize * entry_bytes
        + SIGNATURE_BYTES
}

/// The header of a HEADERS frame with this head.
#[must_use]
pub fn headers_header(head: &HeadersHead) -> Header {
    Header { kind: Kind::Headers, body_bytes: (headers_frame_bytes(head) - HEADER_BYTES) as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_round_end_comes_back_and_has_one_length() {
        for (members, users) in [(1, 0), (5, 2), (64, 64), (70, 1)] {
            let tiles = tiles_of(members);
            let roots = vec![SignedRoot { root: [3; 32], signature: [4; 64] }; users];
            let end = SignedRoundEnd {
                end: RoundEnd::new(7, 2 * tiles, 1),
                present: vec![1; tiles as usize],
                receipt: [5; 64],
                roots: roots.clone(),
            };
            let frame = end.frame();
            let body = &frame[HEADER_BYTES..];
            let header = Header::parse(frame.first_chunk().unwrap()).unwrap();
            assert_eq!((header.kind, header.body_bytes as usize), (Kind::RoundEnd, body.len()));
            assert_eq!(body.len(), SignedRoundEnd::body_bytes(members, users));
            let read = SignedRoundEnd::read(body, members).unwrap();
            assert_eq!((read.end.users.get() as usize, read.end.round.get()), (users, 7));
            assert_eq!((read.present, read.receipt, read.roots), (end.present, end.receipt, roots));
            for length in 0..body.len() {
                assert!(SignedRoundEnd::read(&body[..length], members).is_err());
            }
            assert!(SignedRoundEnd::read(&[body, &[0]].concat(), members).is_err());
            assert!(SignedRoundEnd::read(body, members + 64).is_err());
            if members % 64 != 0 {
                let mut beyond = body.to_vec();
                beyond[24 + 8 * tiles as usize - 1] = 0x80;
                assert_eq!(SignedRoundEnd::read(&beyond, members).err(), Some(Code::LengthWrong));
            }
            let mut crowd = body.to_vec();
            crowd[20..24].fill(0xff);
            assert_eq!(SignedRoundEnd::read(&crowd, members).err(), Some(Code::LengthWrong));
        }
    }

    #[test]
    fn a_head_whose_numbers_do_not_follow_from_each_other_is_refused() {
        let fetch = FetchHeaders::new(RoundNumber(8), Epoch(1), MemberIndex(66), SlotIndex(1), 1);
        let good = HeadersHead::new(&fetch, 70, 2, 0b11);
        assert_eq!(good.check(), Ok(()));
        assert_eq!((good.first_sender.get(), good.senders.get()), (64, 6));
        let one = |value: u32| U32::from(value);
        for bad in [
            HeadersHead { user: one(70), ..good },
            HeadersHead { slot: one(2), ..good },
            HeadersHead { tile: one(2), ..good },
            HeadersHead { tile: one(u32::MAX), ..good },
            HeadersHead { first_sender: one(0), ..good },
            HeadersHead { senders: one(64), ..good },
            HeadersHead { path_hashes: one(9), ..good },
            HeadersHead { leaf_hashes: one(0), ..good },
            HeadersHead { slots: one(0), ..good },
            HeadersHead { slots: one(u32::MAX), ..good },
            HeadersHead { members: one(0), ..good },
            HeadersHead { members: one(u32::MAX), ..good },
            HeadersHead { present: (1 << 6).into(), ..good },
        ] {
            assert_eq!(bad.check(), Err(Code::LengthWrong), "{bad:?}");
        }
        assert_eq!(HeadersHead { reserved: [1; 8], ..good }.check(), Err(Code::ReservedSet));
    }

    #[test]
    fn tails_are_split_off_bodies_that_have_them() {
        let body: Vec<u8> = (0..70).collect();
        let (rest, tail) = split_tail::<64>(&body).unwrap();
        assert_eq!((rest.len(), tail[0]), (6, 6));
        assert_eq!(split_tail::<64>(&body[..63]), Err(Code::LengthWrong));
    }
}
