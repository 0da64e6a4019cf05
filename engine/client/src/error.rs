//! The one error type of this crate.

use twincast_protocol::channel::ChannelError;
use twincast_protocol::error::ProtocolError;
use twincast_protocol::format::Profile;
use twincast_protocol::ids::{Epoch, RoundNumber, ServerSide, SlotIndex, UserId};
use twincast_protocol::wire::{Code, Kind};

/// Why a client cannot go on. It has taken nothing of the offending frame, and gives the same answer from then on;
/// the caller closes both connections.
///
/// What a server refuses is no error of this type but an [`Event::Refused`](crate::Event::Refused).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No users, or users that are not strictly ascending. The caller's doing.
    #[error("a client plays at least one user, and lists them strictly ascending")]
    Users,
    /// The private channel with a server is broken, by whoever is on the way, or the server is not the one whose key
    /// was given. What came through it before is used. New connections make the client whole
    /// ([`reconnect`](crate::Client::reconnect)).
    #[error("the private channel with {server} is broken: {reason}")]
    Channel {
        /// Which server.
        server: ServerSide,
        /// What is wrong with it.
        reason: ChannelError,
    },
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
    /// A paper profile, which protects neither recipients nor messages from one server, and which the caller did not
    /// accept ([`accept_baseline`](crate::ClientSettings::accept_baseline)). Nothing is dialled.
    #[error(
        "the group's profile is {profile}, a baseline in which one server can find recipients and forge messages: \
         see engine/docs/THREAT_MODEL.md, and accept the baseline to take part all the same"
    )]
    Baseline {
        /// The profile.
        profile: Profile,
    },
    /// An accountable group, and the caller did not say what its servers sign with
    /// ([`accountable`](crate::ClientSettings::accountable)). The caller's doing; nothing is dialled.
    #[error(
        "the group is accountable: a client needs both servers' verifying keys, as `twincast-server keygen` printed them"
    )]
    Unpinned,
    /// A user without a key to sign with, in an accountable group. The caller's doing; nothing is sent for that user.
    #[error("user {user} has no signing key, and in an accountable group every user signs what it sends")]
    Unsigned {
        /// Who was to sign.
        user: UserId,
    },
    /// A list of members that has not the hash that was announced. The server's doing.
    #[error("{server} lists members of epoch {epoch} that have not the hash which it announced")]
    RosterHash {
        /// Which server.
        server: ServerSide,
        /// The epoch.
        epoch: Epoch,
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
    /// A list of absent senders that names somebody who is no member, or does not ascend. The server's doing.
    #[error(
        "{server} sent an Answers frame with a list of absent senders that names nobody, or does not ascend"
    )]
    AbsentList {
        /// Which server.
        server: ServerSide,
    },
    /// More than one member in a query, which asks for one member's records at most. The caller's doing; the slot is
    /// not dialled.
    #[error(
        "user {sender} cannot dial slot {slot}: in a group whose delivery is `answer` it asks for the records of one \
         member or of nobody, not of {asked}"
    )]
    Query {
        /// Who was to dial.
        sender: UserId,
        /// The slot.
        slot: SlotIndex,
        /// How many members were named.
        asked: usize,
    },
    /// Recipients that the group's format cannot reach. The caller's doing; the slot is not dialled.
    #[error("user {sender} cannot dial slot {slot}: {reason}")]
    Recipients {
        /// Who was to dial.
        sender: UserId,
        /// The slot.
        slot: SlotIndex,
        /// Which recipient.
        reason: ProtocolError,
    },
    /// A message that does not fit the group's frame. The caller's doing; nothing of that member's round is sent.
    #[error("user {sender} cannot send in slot {slot} of round {round}: {reason}")]
    Message {
        /// Who was to send.
        sender: UserId,
        /// The slot.
        slot: SlotIndex,
        /// The round.
        round: RoundNumber,
        /// How long the message is, and may be.
        reason: ProtocolError,
    },
    /// A message that fits the group's frame, but not with what comes around it in a group that exchanges keys. The
    /// caller's doing; nothing of that member's round is sent.
    #[error(
        "user {sender} cannot send in slot {slot} of round {round}: a message of {bytes} bytes does not fit: in a \
         group that exchanges keys this frame holds {bytes_max} bytes of a message that is {}", if *sealed { "sealed" } else { "not sealed" }
    )]
    MessageInside {
        /// Who was to send.
        sender: UserId,
        /// The slot.
        slot: SlotIndex,
        /// The round.
        round: RoundNumber,
        /// How long the message is, in bytes.
        bytes: usize,
        /// How long it may be, in bytes.
        bytes_max: usize,
        /// Whether it was to be sealed.
        sealed: bool,
    },
}

/// Refuses a field that is not what it must be.
pub(crate) fn field(
    server: ServerSide,
    kind: Kind,
    field: &'static str,
    said: u64,
    expected: u64,
) -> Result<(), ClientError> {
    match said == expected {
        true => Ok(()),
        false => Err(ClientError::Field { server, kind, field, said, expected }),
    }
}

/// Refuses an index that is not below its limit.
pub(crate) fn below(
    server: ServerSide,
    kind: Kind,
    field: &'static str,
    said: u32,
    limit: u32,
) -> Result<(), ClientError> {
    match said < limit {
        true => Ok(()),
        false => {
            let (said, expected) = (said.into(), u64::from(limit).saturating_sub(1));
            Err(ClientError::Field { server, kind, field, said, expected })
        }
    }
}
