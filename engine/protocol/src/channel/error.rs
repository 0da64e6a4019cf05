//! Why a channel is refused or ends.

use super::{RECORD_BYTES_MAX, RECORD_OVERHEAD_BYTES, VERSION};

/// Why a channel is refused or ends. All of them are the peer's doing, or that of somebody on the way; the connection is
/// closed, and nothing that came after is believed. None of them shows a secret, or bytes that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The first bytes are not those of a channel: a peer that talks plain, or something else altogether.
    #[error("the peer does not begin a private channel: it talks plain, or is no Twincast program")]
    NotAChannel,
    /// A handshake of a version that is not this one.
    #[error("the peer begins a private channel of version {version}: this program speaks version {VERSION}")]
    UnknownVersion {
        /// What came.
        version: u8,
    },
    /// The preamble names a cipher that there is not.
    #[error("the peer asks for cipher {code}: there are 1 (AES-256-GCM) and 2 (ChaCha20-Poly1305)")]
    UnknownCipher {
        /// What came.
        code: u8,
    },
    /// A message of the handshake says that it is longer or shorter than it can be.
    #[error("a handshake message that says it has {bytes} bytes: it must have {expected}")]
    HandshakeLength {
        /// What came, in bytes.
        bytes: u16,
        /// What there must be, in bytes.
        expected: u16,
    },
    /// Message 1 does not open: it was made for another server's key, for another purpose or side, or was changed.
    #[error(
        "the handshake was made for another key than this server's, for another side or purpose, or was changed on \
         its way: compare the channel key that the peer has pinned with the one that this server shows"
    )]
    NotForThisKey,
    /// Message 2 does not open: whoever answers does not hold the pinned key, or the answer was changed.
    #[error(
        "the peer does not hold the pinned channel key, or its answer was changed on its way: compare the pinned \
         key with the one that the server shows"
    )]
    NotThePinnedKey,
    /// Message 3 does not open: it was changed, or somebody else sent it.
    #[error("the last handshake message was changed on its way, or is not of who sent the first")]
    HandshakeChanged,
    /// A handshake came to its end with somebody whose static key is not the expected one.
    #[error("the peer's channel key is not the pinned one: compare the two ends' configurations")]
    UnexpectedPeer,
    /// A record's length is out of its bounds.
    #[error(
        "a record that says it has {bytes} bytes behind its length: it must have {} to {}",
        RECORD_OVERHEAD_BYTES - 1,
        RECORD_BYTES_MAX - 2
    )]
    RecordLength {
        /// What came, in bytes.
        bytes: usize,
    },
    /// A record does not open: it was changed, sent again, left out or put elsewhere on its way.
    #[error("a record does not open: it was changed, repeated, left out or moved on its way")]
    RecordChanged,
    /// A record on a channel of which one did not open before.
    #[error("a record on a channel that is broken: one before it did not open")]
    Broken,
}
