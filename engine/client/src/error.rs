//! The one error type of this crate.

use twincast_protocol::error::ProtocolError;
use twincast_protocol::ids::ServerSide;
use twincast_protocol::ids::{MemberIndex, RoundNumber, SlotIndex};
use twincast_protocol::wire::{Code, Kind};

/// Why a client cannot go on. It has taken nothing of the offending frame, and gives the same answer from then on;
/// the caller closes both connections.
///
/// What a server refuses is no error of this type but an [`Event::Refused`](crate::Event::Refused).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No users, or users that are not strictly ascending. The caller's doing.
    #[error("a client plays at least one member, and lists them strictly ascending")]
    Users,
    /// Bytes that are no frame of this format. The server's doing.
    #[error("{server} sent what is no frame of this wire format: {}", code.sentence())]
    Form {
        /// Which server.
        server: ServerSide,
        /// What is wrong with it.
        code: Code,
    },
    /// A frame whose body has not the length of its kind. The server's doing.
    #[error("{server} sent a {kind:?} frame of a wrong length: a body of {body_bytes} bytes")]
    Length {
        /// Which server.
        server: ServerSide,
        /// The frame's kind.
        kind: Kind,
        /// What its header announced.
        body_bytes: u32,
    },
    /// A frame that has no place there. The server's doing.
    #[error("{server} sent a {kind:?} frame {when}")]
    Unexpected {
        /// Which server.
        server: ServerSide,
        /// The frame's kind.
        kind: Kind,
        /// Where it has no place.
        when: &'static str,
    },
    /// A field that is not what it must be. The server's doing.
    #[error("{server} sent a {kind:?} frame with {field} {said}, where it must be {expected}")]
    Field {
        /// Which server.
        server: ServerSide,
        /// The frame's kind.
        kind: Kind,
        /// The field's name.
        field: &'static str,
        /// What it says.
        said: u64,
        /// What it should say.
        expected: u64,
    },
    /// A group that no client takes part in. The operator's doing, or the server's.
    #[error("{server} describes a group with {field} {said}, which no client takes part in")]
    Group {
        /// Which server.
        server: ServerSide,
        /// The field's name.
        field: &'static str,
        /// What it says.
        said: u64,
    },
    /// The two servers describe different groups: one of them lies, or they are configured differently. Nothing is
    /// dialled.
    #[error("S1 and S2 describe different groups: {field} is {} at S1 and {} at S2", said[0], said[1])]
    ServersDiffer {
        /// The field that differs.
        field: &'static str,
        /// What S1 and S2 say.
        said: [u64; 2],
    },
    /// The epoch runs already, so that nothing can be dialled. The caller attaches before dialling ends.
    #[error("the epoch is open at {server} already: members attach and dial before it opens")]
    AlreadyOpen {
        /// Which server.
        server: ServerSide,
    },
    /// A delivery, grant or round end that does not follow the one before it. The server's doing.
    #[error("{server} sent a {kind:?} frame out of order: {what}")]
    OutOfOrder {
        /// Which server.
        server: ServerSide,
        /// The frame's kind.
        kind: Kind,
        /// What does not follow.
        what: &'static str,
    },
    /// A recipient that the group does not have. The caller's doing; the slot is not dialled.
    #[error("member {sender} cannot dial slot {slot}: {reason}")]
    Recipients {
        /// Who was to dial.
        sender: MemberIndex,
        /// The slot.
        slot: SlotIndex,
        /// Which recipient.
        reason: ProtocolError,
    },
    /// A message that does not fit the group's frame. The caller's doing; nothing of that member's round is sent.
    #[error("member {sender} cannot send in slot {slot} of round {round}: {reason}")]
    Message {
        /// Who was to send.
        sender: MemberIndex,
        /// The slot.
        slot: SlotIndex,
        /// The round.
        round: RoundNumber,
        /// How long the message is, and may be.
        reason: ProtocolError,
    },
}
