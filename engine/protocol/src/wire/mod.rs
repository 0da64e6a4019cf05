//! The frames between a client and a server, and between the two servers ([`link`]), byte for byte as `engine/docs/WIRE.md` has them.
//!
//! Every frame is an 8-byte [`Header`] and a body. All integers are little-endian, every struct has a fixed size
//! that is asserted when this is compiled, and every body has exactly one valid length once the group is known.
//! Nothing here does I/O; what a peer sent comes back as a [`Code`], never as a panic.
//!
//! ```
//! use twincast_protocol::wire::{Body, Header, Kind, RoundEnd};
//!
//! let frame = RoundEnd::new(7, 16, 1000).frame();
//! let header = Header::parse(frame[..8].try_into().unwrap()).unwrap();
//! assert_eq!(header.kind, Kind::RoundEnd);
//! assert_eq!(RoundEnd::parse(&frame[8..]).unwrap().round.get(), 7);
//! ```

mod accountable;
mod answers;
mod client;
mod error;
pub mod link;
mod register;
mod server;

pub use accountable::{
    FetchHeaders, HeadersHead, SignedRoot, SignedRoundEnd, headers_frame_bytes, headers_header, split_tail,
};
pub use answers::{ANSWERS_HEAD_BYTES, AbsentTile, Answers};
pub use client::{Dial, EPOCH_ANY, FETCH_TILES_MAX, Fetch, Hello, Leave, PartsHead, Proofs, Submit};
pub use error::SENTENCE_BYTES_MAX;
pub use error::{Code, ErrorFrame};
pub use register::{Register, Registered};
pub use server::{
    Announce, DELIVER_HEAD_BYTES, Deliver, Dialled, EpochOpen, Grant, ROSTER_USERS_MAX, Roster, RoundEnd,
    RoundSkipped, Welcome, roster_hash,
};

use crate::ids::UserId;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The version of this wire format; a peer with another one is refused.
pub const VERSION: u8 = 3;
/// Bytes of a frame's header.
pub const HEADER_BYTES: usize = 8;
/// The largest body that any frame may announce, in bytes; a group's own limits are far below it.
pub const BODY_BYTES_MAX: u32 = 1 << 30;

/// What a frame is. Clients send 0x01.., servers each other 0x41.., and clients 0x81...
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// First frame of a connection: group and users.
    Hello = 0x01,
    /// One session key for one slot.
    Dial = 0x02,
    /// A sender's confirmations, keys or replies for S1: the seed.
    PartsSeed = 0x03,
    /// A sender's confirmations, keys or replies for S2: one part a member.
    Parts = 0x04,
    /// One member's shares of one round, all slots.
    Submit = 0x05,
    /// A user is no member from the next epoch on.
    Leave = 0x06,
    /// Parts that were delivered before the connection came are wanted.
    Fetch = 0x07,
    /// First frame of a connection that registers a user's key, and further ones of it.
    Register = 0x08,
    /// Headers of one tile are wanted, in a group that is accountable.
    FetchHeaders = 0x09,
    /// First frame of a server link, both ways: every group, and how it stands.
    LinkHello = 0x41,
    /// An epoch that S1 proposes.
    Propose = 0x42,
    /// What S2 agrees to of it.
    Agree = 0x43,
    /// Dials that this server has.
    Held = 0x44,
    /// This server takes no further dial for an epoch.
    Close = 0x45,
    /// Who is present in a tile.
    Present = 0x46,
    /// Who is present in a tile of records, and a hash of those records.
    TileHash = 0x47,
    /// The digest of each record of a tile.
    Digests = 0x48,
    /// Records of which the two servers have different ones, with their signatures.
    Shown = 0x49,
    /// This server's signatures that senders are absent.
    Absences = 0x4a,
    /// This server's signature over a user's key.
    KeySigned = 0x4b,
    /// The answer to HELLO: the group's settings.
    Welcome = 0x81,
    /// A session key is in.
    Dialled = 0x82,
    /// The server takes the parts of a range of senders.
    Grant = 0x83,
    /// Dialling is over: rounds take submissions.
    EpochOpen = 0x84,
    /// The cells of one tile for the users of this connection.
    Deliver = 0x85,
    /// All tiles of a round have been delivered.
    RoundEnd = 0x86,
    /// A round was left out because too many readers lagged.
    RoundSkipped = 0x87,
    /// What was wrong, in a code and a sentence.
    Error = 0x88,
    /// An epoch that is to come.
    Announce = 0x89,
    /// The members of an epoch, or some of them.
    Roster = 0x8a,
    /// The answers of one round to the queries of this connection's users.
    Answers = 0x8b,
    /// A user's key is registered, with both servers' signatures.
    Registered = 0x8c,
    /// What senders signed of one tile, and what this server chose of it.
    Headers = 0x8d,
}

impl Kind {
    /// The kind with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Kind> {
        use Kind::*;
        [
            Hello,
            Dial,
            PartsSeed,
            Parts,
            Submit,
            Leave,
            Fetch,
            Register,
            FetchHeaders,
            LinkHello,
            Propose,
            Agree,
            Held,
            Close,
            Present,
            TileHash,
            Digests,
            Shown,
            Absences,
            KeySigned,
            Welcome,
            Dialled,
            Grant,
            EpochOpen,
            Deliver,
            RoundEnd,
            RoundSkipped,
            Error,
            Announce,
            Roster,
            Answers,
            Registered,
            Headers,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == number)
    }
}

/// A parsed frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is.
    pub kind: Kind,
    /// Bytes of the body that follows.
    pub body_bytes: u32,
}

impl Header {
    /// The header's bytes: `version | kind | 0 0 | body_bytes u32`.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let [a, b, c, d] = self.body_bytes.to_le_bytes();
        [VERSION, self.kind as u8, 0, 0, a, b, c, d]
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`Code::VersionUnknown`], [`Code::KindUnknown`] (also for a reserved byte that is not zero) or
    /// [`Code::FrameTooLarge`], each the peer's doing.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Header, Code> {
        if bytes[0] != VERSION {
            return Err(Code::VersionUnknown);
        }
        let kind = Kind::from_number(bytes[1]).ok_or(Code::KindUnknown)?;
        if bytes[2] != 0 || bytes[3] != 0 {
            return Err(Code::KindUnknown);
        }
        let body_bytes = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        if body_bytes > BODY_BYTES_MAX {
            return Err(Code::FrameTooLarge);
        }
        Ok(Header { kind, body_bytes })
    }
}

/// A fixed-size struct at the start of a frame's body.
pub trait Body: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned + Copy {
    /// The kind of frame that it heads.
    const KIND: Kind;

    /// Reads a body that is exactly this struct.
    ///
    /// # Errors
    /// [`Code::LengthWrong`] when the body is longer or shorter.
    fn parse(body: &[u8]) -> Result<Self, Code> {
        Self::read_from_bytes(body).map_err(|_| Code::LengthWrong)
    }

    /// Reads this struct from the start of a body and returns what follows it.
    ///
    /// # Errors
    /// [`Code::LengthWrong`] when the body is shorter than the struct.
    fn parse_prefix(body: &[u8]) -> Result<(Self, &[u8]), Code> {
        Self::read_from_prefix(body).map_err(|_| Code::LengthWrong)
    }

    /// Appends header and struct for a body that has `tail_bytes` more bytes, which the caller appends.
    ///
    /// # Panics
    /// If the body would be larger than [`BODY_BYTES_MAX`]: a limit of the group that was not checked.
    fn put(&self, tail_bytes: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header(tail_bytes).to_bytes());
        out.extend_from_slice(self.as_bytes());
    }

    /// The header of a frame with this struct and `tail_bytes` more bytes.
    ///
    /// # Panics
    /// If the body would be larger than [`BODY_BYTES_MAX`].
    fn header(&self, tail_bytes: usize) -> Header {
        let body_bytes = size_of::<Self>() + tail_bytes;
        assert!(body_bytes <= BODY_BYTES_MAX as usize, "frame body of {body_bytes} bytes");
        Header { kind: Self::KIND, body_bytes: body_bytes as u32 }
    }

    /// The whole frame, for a body without a tail.
    fn frame(&self) -> bytes::Bytes {
        let mut out = Vec::with_capacity(HEADER_BYTES + size_of::<Self>());
        self.put(0, &mut out);
        out.into()
    }
}

/// User ids as they lie in a frame, u32 each.
fn read_users(list: &[u8]) -> impl Iterator<Item = UserId> {
    list.as_chunks::<4>().0.iter().map(|bytes| UserId(u32::from_le_bytes(*bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_round_trip_for_every_kind() {
        for number in 0..=255u8 {
            let Some(kind) = Kind::from_number(number) else { continue };
            let header = Header { kind, body_bytes: 12345 };
            assert_eq!(Header::parse(&header.to_bytes()), Ok(header));
        }
    }

    #[test]
    fn broken_headers_are_named() {
        let good = Header { kind: Kind::Submit, body_bytes: 1 }.to_bytes();
        let with = |index: usize, value: u8| {
            let mut bytes = good;
            bytes[index] = value;
            Header::parse(&bytes)
        };
        assert_eq!(with(0, 2), Err(Code::VersionUnknown));
        assert_eq!(with(1, 0x77), Err(Code::KindUnknown));
        assert_eq!(with(2, 1), Err(Code::KindUnknown));
        assert_eq!(with(7, 0xff), Err(Code::FrameTooLarge));
    }

    #[test]
    fn bodies_refuse_trailing_and_missing_bytes() {
        let frame = RoundEnd::new(1, 2, 3).frame();
        assert!(RoundEnd::parse(&frame[8..]).is_ok());
        assert_eq!(RoundEnd::parse(&frame[8..frame.len() - 1]).err(), Some(Code::LengthWrong));
        let mut longer = frame.to_vec();
        longer.push(0);
        assert_eq!(RoundEnd::parse(&longer[8..]).err(), Some(Code::LengthWrong));
    }
}
