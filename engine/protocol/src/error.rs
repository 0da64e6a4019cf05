//! The one error type of this crate.

use crate::ids::MemberIndex;

/// Why an input to the protocol was refused. Decoding a cell never fails with one of these: it ends in a
/// [`Verdict`](crate::receive::Verdict).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A frame size that no group can have. The operator's doing (or a peer's, in a group's description); the
    /// group is not opened.
    #[error("a frame of {bytes} bytes: it must be a multiple of 16 from 16 to 65536")]
    FrameBytes {
        /// The refused size, in bytes.
        bytes: u32,
    },
    /// A message that does not fit the group's frame. The caller's doing; nothing was drawn or written, and
    /// the caller sends a shorter message or cover.
    #[error("a message of {bytes} bytes does not fit: this group's frame holds {bytes_max}")]
    MessageTooLong {
        /// The message's length, in bytes.
        bytes: usize,
        /// The most that this frame holds, in bytes.
        bytes_max: usize,
    },
    /// A dialled bit vector that is not `ceil(n / 8)` bytes long. The peer's doing; the dial is refused.
    #[error("a session key of {bytes} bytes: {members} members need {expected}")]
    SessionKeyLength {
        /// The length that came, in bytes.
        bytes: usize,
        /// `ceil(members / 8)`.
        expected: usize,
        /// The group's n.
        members: u32,
    },
    /// A dialled bit vector with a bit set above its last member. The peer's doing; the dial is refused.
    #[error("a session key with a bit set beyond its {members} members")]
    SessionKeyPadding {
        /// The group's n.
        members: u32,
    },
    /// A recipient that the group does not have. The caller's doing; nothing was dialled.
    #[error("recipient {recipient} is not one of the group's {members} members")]
    RecipientOutOfRange {
        /// The recipient that was asked for.
        recipient: MemberIndex,
        /// The group's n.
        members: u32,
    },
}
