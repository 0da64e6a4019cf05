//! The one error type of this crate.

use crate::ids::{MemberIndex, RoundNumber};

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
    /// 32 bytes that are no Ed25519 verifying key: they encode no point of the curve, or one of small order. The operator's doing, or a peer's; the
    /// key is not used.
    #[error("32 bytes that are no Ed25519 verifying key, or one for which anybody can sign")]
    VerifyingKey,
    /// A recipient that the group does not have. The caller's doing; nothing was dialled.
    #[error("recipient {recipient} is not one of the group's {members} members")]
    RecipientOutOfRange {
        /// The recipient that was asked for.
        recipient: MemberIndex,
        /// The group's n.
        members: u32,
    },
    /// A frame size that no group of a paper profile can have. The operator's doing (or a peer's, in a
    /// group's description); the group is not opened.
    #[error("a paper profile's frame of {bytes} bytes: it must be from 256 to 65536")]
    PaperFrameBytes {
        /// The refused size, in bytes.
        bytes: u32,
    },
    /// A modulus q that the paper's code cannot work over: no room for a flag above the message, or too
    /// large. The caller's doing.
    #[error(
        "a modulus q of {bits} bits: it must have room for a flag above the message, {bits_min} bits, \
         and at most {bits_max}"
    )]
    PaperModulus {
        /// The refused modulus's size, in bits.
        bits: u64,
        /// The message and its flag, in bits.
        bits_min: u64,
        /// The most that is worked with, in bits.
        bits_max: u64,
    },
    /// A modulus p that codewords cannot be shared under: not above all of them, or too large. The caller's
    /// doing.
    #[error(
        "a modulus p of {bits} bits: it must be above every codeword, {bits_min} bits, and have at \
         most {bits_max}"
    )]
    PaperPrime {
        /// The refused modulus's size, in bits.
        bits: u64,
        /// One bit more than a codeword has.
        bits_min: u64,
        /// The most that is worked with, in bits.
        bits_max: u64,
    },
    /// A name that no profile has. The operator's doing; the configuration is refused.
    #[error("an unknown profile: it must be one of paper-xor, paper-add, compact")]
    UnknownProfile,
    /// A call that the group's scheme has no answer to, as dialling where every round deals its own
    /// subgroups. The caller's doing; nothing was drawn or written.
    #[error("the group's scheme has no such operation")]
    WrongScheme,
    /// More recipients than the paper's Algorithm 1 reaches, which is one. The caller's doing; nothing was
    /// dialled.
    #[error("{recipients} recipients in a paper profile's plain dial: it reaches one at most")]
    PaperRecipients {
        /// How many different recipients were asked for.
        recipients: usize,
    },
    /// Algorithm 4 in a group with an odd number of members, which no partition halves. The operator's doing;
    /// the group is not opened.
    #[error("Algorithm 4 in a group of {members} members: their number must be even")]
    OddMembers {
        /// The group's n.
        members: u32,
    },
    /// A recipient set that Algorithm 4 finds no decoys for. The caller's doing; nothing was dialled.
    #[error("{recipients} recipients for Algorithm 4: half of the group, {recipients_max}, at most")]
    SubsetTooLarge {
        /// How many different recipients were asked for.
        recipients: usize,
        /// n / 2.
        recipients_max: u32,
    },
    /// A number of one-to-many subgroups that the group or the round cannot have. The operator's doing where
    /// it is the group's, which is not opened; the caller's where it is a round's, of which nothing was drawn
    /// or written.
    #[error("{subgroups} one-to-many subgroups: there must be from 1 to {subgroups_max}")]
    Subgroups {
        /// The refused number.
        subgroups: usize,
        /// The most that there may be.
        subgroups_max: u32,
    },
    /// A member that is to get two of the messages of one one-to-many round, of which it reads one at most.
    /// The caller's doing; nothing was drawn or written.
    #[error("recipient {recipient} has more than one message in a one-to-many round")]
    RepeatedRecipient {
        /// The member.
        recipient: MemberIndex,
    },
    /// A public key of low order: the secret shared with it is zero for everybody. The peer's doing; there is
    /// no key for this pair.
    #[error("the public key of member {member} is of low order: no secret can be shared with it")]
    KeyOfLowOrder {
        /// Whose key it is.
        member: MemberIndex,
    },
    /// A number of partitions that the paper's key exchange cannot have. The caller's doing; nothing was
    /// dealt.
    #[error("{partitions} partitions of {members} members: it must be more than 1, and at most one for each")]
    Partitions {
        /// The number that was asked for.
        partitions: u32,
        /// The group's n.
        members: u32,
    },
    /// A message that would be sealed under a nonce that its key has used, or passed over. The caller's
    /// doing; nothing was sealed.
    #[error("round {round}, sequence number {sequence} is not after the last message sealed with this key")]
    SealedBefore {
        /// The round that was asked for.
        round: RoundNumber,
        /// The sequence number that was asked for.
        sequence: u64,
    },
    /// A sequence number that has no place in a nonce. The caller's doing; nothing was sealed.
    #[error("sequence number {sequence} of a round: the largest is 4294967295")]
    SequenceNumber {
        /// The number that was asked for.
        sequence: u64,
    },
}
