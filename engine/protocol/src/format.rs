//! How a group's messages become shares: the profile, the frame size, and how a set of recipients is reached.
//!
//! Everything that server, client and load generator need to know about sizes is here, and nothing else in
//! the engine knows a profile. Bytes of one string, L:
//!
//! | profile | frame F | longest message | L |
//! |---|---|---|---|
//! | compact | multiple of 16, 16 to 65536 | F - 3 | F + 48 |
//! | paper-xor | 256 | 256 | 771 |
//! | paper-add | 256 | 256 | 772 |
//! | paper-xor, paper-add, hash-authenticated | 257 to 65536 | F | 771 or 772, + F |
//!
//! A compact message comes back as it was. The paper's frame has no length: there a shorter message is padded
//! with zeros at its end, and comes back with them.
//!
//! ```
//! use twincast_protocol::context::{Context, Purpose};
//! use twincast_protocol::format::{Opener, Profile, Scheme, ShareFormat, dial, split};
//! use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, ServerSide, SlotIndex};
//! use twincast_protocol::receive::{Expected, TileCells};
//!
//! # fn main() -> Result<(), twincast_protocol::error::ProtocolError> {
//! let context = Context {
//!     group: GroupId(1),
//!     epoch: Epoch(1),
//!     round: RoundNumber::FIRST,
//!     sender: MemberIndex(0),
//!     slot: SlotIndex(0),
//!     purpose: Purpose::Message,
//! };
//! let format = ShareFormat::new(Profile::Compact, 288, Scheme::Algorithm4)?;
//! format.check_members(6)?;
//! let mut rng = rand::rng();
//! let (p1, p2, aim) = dial(&format, 6, &[MemberIndex(3), MemberIndex(4)], &mut rng)?;
//! let [mut row1, mut row2] = ServerSide::BOTH.map(|side| vec![0; format.row_bytes(side)]);
//! split(&format, &context, &aim, b"hello", &mut rng, [&mut row1, &mut row2])?;
//!
//! let mut opener = Opener::new(format);
//! for member in (0..6).map(MemberIndex) {
//!     let cell1 = row1.chunks(format.cell_bytes(ServerSide::One)).nth(p1.bit(member).into()).unwrap();
//!     let cell2 = row2.chunks(format.cell_bytes(ServerSide::Two)).nth(p2.bit(member).into()).unwrap();
//!     let tile = TileCells { count: 1, cells: [cell1, cell2], present: [1, 1] };
//!     let verdicts = opener.open(&context, &tile, Expected::UNCONFIRMED);
//!     match member.0 {
//!         3 | 4 => assert_eq!(opener.message(0), b"hello"),
//!         _ => assert_eq!(verdicts.ignore, 1),
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod open;
mod send;
mod share_code;

use std::fmt;
use std::str::FromStr;

pub use open::Opener;
pub use send::{Aim, dial, split, split_one_to_many};
pub use share_code::{CompactCode, ShareCode};

use crate::algorithm4;
use crate::error::ProtocolError;
use crate::frame::FrameBytes;
use crate::ids::ServerSide;
use crate::paper::shares::{PaperFrame, Sharing};

/// How a message becomes shares. The numbers are those on the wire and in a codeword's context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Profile {
    /// The paper's code, XOR shares: a baseline.
    PaperXor = 0,
    /// The paper's code, shares in Z_p: a baseline.
    PaperAdd = 1,
    /// The code of [`codeword`](crate::codeword): the default.
    Compact = 2,
}

impl Profile {
    /// All of them, in the order of their numbers.
    pub const ALL: [Profile; 3] = [Profile::PaperXor, Profile::PaperAdd, Profile::Compact];

    /// The profile's number.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The profile with this number, if there is one.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Profile> {
        Profile::ALL.into_iter().find(|profile| profile.number() == number)
    }

    /// Whether it is one of the paper's: refused unless the operator insists.
    #[must_use]
    pub fn is_paper(self) -> bool {
        self != Profile::Compact
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Profile::PaperXor => "paper-xor",
            Profile::PaperAdd => "paper-add",
            Profile::Compact => "compact",
        })
    }
}

impl FromStr for Profile {
    type Err = ProtocolError;

    fn from_str(name: &str) -> Result<Profile, ProtocolError> {
        let named = Profile::ALL.into_iter().find(|profile| profile.to_string() == name);
        named.ok_or(ProtocolError::UnknownProfile)
    }
}

/// How a sender's shares reach a set of recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Two halves a server. Compact: any set. Paper: at most one recipient (Algorithm 1).
    Plain,
    /// The paper's Algorithm 4: S1's halves are pairs. n even, at most half the group.
    Algorithm4,
    /// The paper's 5.4.2: each round deals the group into disjoint subgroups, each an independent dial. A
    /// member's choice word, which comes with the round's shares, is `2 * subgroup + bit`.
    OneToMany {
        /// The most subgroups in a round, noise included.
        subgroups_max: u16,
    },
}

/// The most subgroups that a format can have: the choice word has 16 bits, one of which is the half's.
pub const SUBGROUPS_MAX: u16 = 1 << 15;

/// A group's profile, frame size and scheme, which together decide every size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareFormat {
    code: Code,
    scheme: Scheme,
}

/// The profile with its frame size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    Compact(FrameBytes),
    Paper(Sharing, PaperFrame),
}

impl ShareFormat {
    /// The format of a group.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::FrameBytes`] or [`ProtocolError::PaperFrameBytes`] for a frame that the profile does
    /// not have, [`ProtocolError::Subgroups`] for no subgroups or more than [`SUBGROUPS_MAX`].
    pub fn new(profile: Profile, frame_bytes: u32, scheme: Scheme) -> Result<ShareFormat, ProtocolError> {
        let code = match profile {
            Profile::Compact => Code::Compact(FrameBytes::new(frame_bytes)?),
            Profile::PaperXor => Code::Paper(Sharing::Xor, PaperFrame::new(frame_bytes)?),
            Profile::PaperAdd => Code::Paper(Sharing::Add, PaperFrame::new(frame_bytes)?),
        };
        match scheme {
            Scheme::OneToMany { subgroups_max } if !(1..=SUBGROUPS_MAX).contains(&subgroups_max) => {
                let subgroups = subgroups_max.into();
                Err(ProtocolError::Subgroups { subgroups, subgroups_max: SUBGROUPS_MAX.into() })
            }
            _ => Ok(ShareFormat { code, scheme }),
        }
    }

    /// How a message becomes shares.
    #[must_use]
    pub fn profile(&self) -> Profile {
        match self.code {
            Code::Compact(_) => Profile::Compact,
            Code::Paper(Sharing::Xor, _) => Profile::PaperXor,
            Code::Paper(Sharing::Add, _) => Profile::PaperAdd,
        }
    }

    /// How a set of recipients is reached.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// F, in bytes.
    #[must_use]
    pub fn frame_bytes(&self) -> usize {
        match self.code {
            Code::Compact(size) => size.bytes(),
            Code::Paper(_, frame) => frame.bytes(),
        }
    }

    /// The longest message, in bytes.
    #[must_use]
    pub fn message_bytes_max(&self) -> usize {
        match self.code {
            Code::Compact(size) => size.message_bytes_max(),
            Code::Paper(_, frame) => frame.bytes(),
        }
    }

    /// L, the size of one string, in bytes.
    #[must_use]
    pub fn share_bytes(&self) -> usize {
        match self.code {
            Code::Compact(size) => size.share_bytes(),
            Code::Paper(sharing, frame) => frame.share_bytes(sharing),
        }
    }

    /// What a recipient gets of one sender's slot from this server, in bytes: L, but 2 L from S1 in Algorithm
    /// 4.
    #[must_use]
    pub fn cell_bytes(&self, side: ServerSide) -> usize {
        match (self.scheme, side) {
            (Scheme::Algorithm4, ServerSide::One) => 2 * self.share_bytes(),
            _ => self.share_bytes(),
        }
    }

    /// How many strings (or pairs) a sender gives each server for a slot: 2, and 2 a subgroup in one-to-many.
    #[must_use]
    pub fn halves(&self) -> usize {
        match self.scheme {
            Scheme::OneToMany { subgroups_max } => 2 * usize::from(subgroups_max),
            Scheme::Plain | Scheme::Algorithm4 => 2,
        }
    }

    /// What a sender gives this server for a slot, in bytes, choice words not counted: half after half.
    #[must_use]
    pub fn row_bytes(&self, side: ServerSide) -> usize {
        self.halves() * self.cell_bytes(side)
    }

    /// Whether a group of `members` can use it.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::OddMembers`] for an odd group under Algorithm 4, [`ProtocolError::Subgroups`] for
    /// more one-to-many subgroups than members.
    pub fn check_members(&self, members: u32) -> Result<(), ProtocolError> {
        match self.scheme {
            Scheme::Plain => Ok(()),
            Scheme::Algorithm4 => algorithm4::check_members(members),
            Scheme::OneToMany { subgroups_max } if u32::from(subgroups_max) <= members => Ok(()),
            Scheme::OneToMany { subgroups_max } => {
                let subgroups = subgroups_max.into();
                Err(ProtocolError::Subgroups { subgroups, subgroups_max: members })
            }
        }
    }
}
