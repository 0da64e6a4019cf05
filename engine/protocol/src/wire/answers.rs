//! ANSWERS: what a server sends at the end of a round of a group whose delivery is `answer`.

use super::{Body, Code, HEADER_BYTES, Kind};
use crate::answer::RECORD_BYTES;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Head of ANSWERS; then, for each of the connection's users ascending, `queries` answers of `record_bytes`, slots
/// ascending. It ends the round.
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
    /// Members whose records are in the table; the others' say that they are absent.
    pub senders_present: U32,
    /// Zero.
    pub reserved: U32,
    /// [`tree_hash`](crate::answer::table::tree_hash) over the digests of all records. A client compares what both
    /// servers say.
    pub root: [u8; 32],
}

/// Bytes that an ANSWERS frame has before its first answer.
pub const ANSWERS_HEAD_BYTES: usize = HEADER_BYTES + size_of::<Answers>();
const _: () = assert!(ANSWERS_HEAD_BYTES == 72);

impl Body for Answers {
    const KIND: Kind = Kind::Answers;
}

impl Answers {
    /// Bytes of all answers that follow the head, or `u64::MAX` where a head of nonsense says even more.
    #[must_use]
    pub fn answers_bytes(&self) -> u64 {
        let answers = u64::from(self.users.get()) * u64::from(self.queries.get());
        answers.saturating_mul(u64::from(self.record_bytes.get()))
    }

    /// Reads the head of an ANSWERS frame whose header announced `body_bytes`.
    ///
    /// # Errors
    /// [`Code::LengthWrong`] when head, answers and announced length do not agree, or an answer is not
    /// [`RECORD_BYTES`] long; [`Code::ReservedSet`].
    pub fn read(head: &[u8], body_bytes: u32) -> Result<Answers, Code> {
        let answers = Answers::parse(head)?;
        let length = answers.answers_bytes().saturating_add(size_of::<Answers>() as u64);
        if length != u64::from(body_bytes) || answers.record_bytes.get() as usize != RECORD_BYTES {
            return Err(Code::LengthWrong);
        }
        if answers.reserved.get() != 0 {
            return Err(Code::ReservedSet);
        }
        Ok(answers)
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
            reserved: 0.into(),
            root: [7; 32],
        };
        let body_bytes = 64 + 6 * 352;
        assert_eq!(Answers::read(good.as_bytes(), body_bytes), Ok(good));
        assert_eq!(Answers::read(good.as_bytes(), body_bytes + 1), Err(Code::LengthWrong));
        assert_eq!(Answers::read(&good.as_bytes()[1..], body_bytes), Err(Code::LengthWrong));
        let reserved = Answers { reserved: 1.into(), ..good };
        assert_eq!(Answers::read(reserved.as_bytes(), body_bytes), Err(Code::ReservedSet));
        let short = Answers { record_bytes: 176.into(), queries: 4.into(), ..good };
        assert_eq!(Answers::read(short.as_bytes(), body_bytes), Err(Code::LengthWrong));
        let nonsense = Answers { users: u32::MAX.into(), queries: u32::MAX.into(), ..good };
        assert_eq!(Answers::read(nonsense.as_bytes(), 64), Err(Code::LengthWrong));
    }
}
