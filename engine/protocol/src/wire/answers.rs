//! ANSWERS: what a server sends at the end of a round of a group whose delivery is `answer`.

use super::{Body, Code, HEADER_BYTES, Kind};
use crate::answer::RECORD_BYTES;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Head of ANSWERS; then `absent_tiles` [`AbsentTile`]s, ascending; then, for each of the connection's users ascending,
/// `queries` answers of `record_bytes`, slots ascending. It ends the round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Answers {
    /// The round.
    pub round: U64,
    /// The epoch.
    pub epoch: U32,
    /// Users of this connection.
    pub users: U32,
    /// Queries of each, K.
    pub queries: U32,
    /// Bytes of an answer.
    pub record_bytes: U32,
    /// Members whose records are in the table. In the place of the others' there are zeros.
    pub senders_present: U32,
    /// Tiles that have an absent sender.
    pub absent_tiles: U32,
    /// [`tree_hash`](crate::answer::table::tree_hash) over the digests of all records. A client compares what both
    /// servers say.
    pub root: [u8; 32],
}

/// The absent senders of one tile of 64, of whom there is at least one. A client compares what both servers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct AbsentTile {
    /// The tile.
    pub tile: U32,
    /// Bit `i`: the tile's sender `i` is absent.
    pub absent: U64,
}

const _: () = assert!(size_of::<AbsentTile>() == 12);

/// Bytes that an ANSWERS frame has before its first answer.
pub const ANSWERS_HEAD_BYTES: usize = HEADER_BYTES + size_of::<Answers>();
const _: () = assert!(ANSWERS_HEAD_BYTES == 72);

impl Body for Answers {
    const KIND: Kind = Kind::Answers;
}

impl Answers {
    /// Bytes of the list of absent senders, which follows the head.
    #[must_use]
    pub fn absent_bytes(&self) -> u64 {
        u64::from(self.absent_tiles.get()) * size_of::<AbsentTile>() as u64
    }

    /// Bytes of all answers that follow that list, or `u64::MAX` where a head of nonsense says even more.
    #[must_use]
    pub fn answers_bytes(&self) -> u64 {
        let answers = u64::from(self.users.get()) * u64::from(self.queries.get());
        answers.saturating_mul(u64::from(self.record_bytes.get()))
    }

    /// Reads the head of an ANSWERS frame whose header announced `body_bytes`.
    ///
    /// # Errors
    /// [`Code::LengthWrong`] when head, list, answers and announced length do not agree, or an answer is not
    /// [`RECORD_BYTES`] long.
    pub fn read(head: &[u8], body_bytes: u32) -> Result<Answers, Code> {
        let answers = Answers::parse(head)?;
        let fixed = size_of::<Answers>() as u64 + answers.absent_bytes();
        let length = answers.answers_bytes().saturating_add(fixed);
        if length != u64::from(body_bytes) || answers.record_bytes.get() as usize != RECORD_BYTES {
            return Err(Code::LengthWrong);
        }
        Ok(answers)
    }
}

impl AbsentTile {
    /// Reads the list of absent senders, among `members`.
    ///
    /// # Errors
    /// [`Code::LengthWrong`] when these are no entries, they do not ascend, or one names nobody or a sender whom its
    /// tile does not have.
    pub fn read_list(list: &[u8], members: u32) -> Result<Vec<AbsentTile>, Code> {
        let entries = <[AbsentTile]>::ref_from_bytes(list).map_err(|_| Code::LengthWrong)?;
        let ascends = entries.is_sorted_by(|a, b| a.tile.get() < b.tile.get());
        let names_members = |entry: &AbsentTile| {
            let first = entry.tile.get().checked_mul(64).filter(|first| *first < members);
            let senders = first.map_or(0, |first| (members - first).min(64));
            let absent = entry.absent.get();
            senders > 0 && absent != 0 && (senders == 64 || absent >> senders == 0)
        };
        match ascends && entries.iter().all(names_members) {
            true => Ok(entries.to_vec()),
            false => Err(Code::LengthWrong),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_agrees_with_its_length() {
        let good = Answers {
            round: 1.into(),
            epoch: 0.into(),
            users: 3.into(),
            queries: 2.into(),
            record_bytes: 352.into(),
            senders_present: 9.into(),
            absent_tiles: 0.into(),
            root: [7; 32],
        };
        let body_bytes = 64 + 6 * 352;
        assert_eq!(Answers::read(good.as_bytes(), body_bytes), Ok(good));
        assert_eq!(Answers::read(good.as_bytes(), body_bytes + 1), Err(Code::LengthWrong));
        assert_eq!(Answers::read(&good.as_bytes()[1..], body_bytes), Err(Code::LengthWrong));
        let listed = Answers { absent_tiles: 2.into(), ..good };
        assert_eq!(Answers::read(listed.as_bytes(), body_bytes), Err(Code::LengthWrong));
        assert_eq!(Answers::read(listed.as_bytes(), body_bytes + 24), Ok(listed));
        let short = Answers { record_bytes: 176.into(), queries: 4.into(), ..good };
        assert_eq!(Answers::read(short.as_bytes(), body_bytes), Err(Code::LengthWrong));
        let nonsense = Answers { users: u32::MAX.into(), queries: u32::MAX.into(), ..good };
        assert_eq!(Answers::read(nonsense.as_bytes(), 64), Err(Code::LengthWrong));
    }

    #[test]
    fn the_list_of_absent_senders_names_members_once_and_ascends() {
        let entry = |tile: u32, absent: u64| AbsentTile { tile: tile.into(), absent: absent.into() };
        let read = |entries: &[AbsentTile]| AbsentTile::read_list(entries.as_bytes(), 130);
        let good = [entry(0, 1), entry(1, u64::MAX), entry(2, 0b11)];
        assert_eq!(read(&good), Ok(good.to_vec()));
        assert_eq!(read(&[]), Ok(vec![]));
        for bad in [
            vec![entry(0, 0)],
            vec![entry(2, 0b100)],
            vec![entry(3, 1)],
            vec![entry(1 << 26, 1)],
            vec![entry(u32::MAX, 1)],
            vec![entry(1, 1), entry(0, 1)],
            vec![entry(1, 1), entry(1, 2)],
        ] {
            assert_eq!(read(&bad), Err(Code::LengthWrong), "{bad:?}");
        }
        assert_eq!(AbsentTile::read_list(&good.as_bytes()[1..], 130), Err(Code::LengthWrong));
    }
}
