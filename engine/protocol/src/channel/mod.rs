//! Private channels: a Noise XK handshake with a pinned key, then records (PROTOCOL.md, section 6).
//!
//! The initiator knows the responder's static key beforehand and says which cipher is used; the responder learns the
//! initiator's static key. Names of Noise: `Noise_XK_25519_AESGCM_SHA256`, `Noise_XK_25519_ChaChaPoly_SHA256`.
//!
//! ```text
//! initiator -> preamble 8 (b"TWCAST" | version 1 | cipher 1 or 2) | 48, u16 big-endian | message 1 (e, es)    FIRST_BYTES
//! responder -> 48, u16 big-endian | message 2 (e, ee)                                                        SECOND_BYTES
//! initiator -> 64, u16 big-endian | message 3 (s, se)                                                         THIRD_BYTES
//! then both: records: length of what follows, u16 big-endian (17..=16382) | ciphertext | tag 16
//! ```
//!
//! The prologue, which both sides must agree on, is `b"twincast/channel/v1"`, the preamble, the [`Purpose`] (0 or 1) and
//! the responder's side (1 or 2). Records carry Noise's transport messages with empty associated data; both directions
//! have a key and a number of their own, so that nothing is shared between who writes and who reads. After every
//! [`REKEY_RECORDS`] records of a direction its key is replaced by Noise's rekey; the number goes on.
//!
//! What a channel promises: each record opens once, in order, unchanged, to somebody who holds the keys; anything else is
//! refused, and from then on so is everything. A record's size is its plaintext's and [`RECORD_OVERHEAD_BYTES`], whatever
//! is in it. What it does not say: that the stream was cut between two records. What the bytes mean has to tell.
//!
//! ```
//! use twincast_protocol::channel::{Cipher, Initiator, Purpose, Responder, StaticKey};
//! use twincast_protocol::ids::ServerSide;
//!
//! # fn main() -> Result<(), twincast_protocol::channel::ChannelError> {
//! let (client, server) = (StaticKey::random(&mut rand::rng()), StaticKey::random(&mut rand::rng()));
//! let side = ServerSide::One;
//! let mut initiator = Initiator::new(&client, server.public(), Cipher::best(), Purpose::Client, side);
//! let mut responder = Responder::new(&server, Purpose::Client, side);
//! let second = responder.first(&initiator.first())?;
//! let (third, mut here) = initiator.second(&second)?;
//! let mut there = responder.third(&third)?;
//! assert_eq!((here.binding, there.peer), (there.binding, client.public()));
//!
//! let mut stream = Vec::new();
//! here.send.seal_all(b"hello", &mut stream);
//! let mut unsealer = there.receive.into_unsealer();
//! unsealer.push(&stream);
//! assert_eq!(unsealer.next_record()?.as_deref(), Some(&b"hello"[..]));
//! # Ok(())
//! # }
//! ```

mod aead;
mod error;
mod handshake;
mod primitives;
mod reader;
mod records;
mod static_key;
#[cfg(test)]
mod tests;

pub use error::ChannelError;
pub use handshake::{Channel, Initiator, Purpose, Responder};
pub use reader::Unsealer;
pub use records::{ReceiveKeys, SendKeys};
pub use static_key::StaticKey;

/// What every channel begins with, which no plain stream does.
pub const MAGIC: [u8; 6] = *b"TWCAST";
/// The version of the handshake and of the records.
pub const VERSION: u8 = 1;
/// Bytes before message 1: the magic, the version and the cipher.
pub const PREAMBLE_BYTES: usize = MAGIC.len() + 2;
/// Bytes of a key of X25519, public or private.
pub const KEY_BYTES: usize = 32;
/// Bytes of the tag at a record's end.
pub const TAG_BYTES: usize = 16;
/// Bytes of the length before each message and record.
pub const LENGTH_BYTES: usize = 2;

/// Bytes that the initiator sends first: the preamble and message 1.
pub const FIRST_BYTES: usize = PREAMBLE_BYTES + SECOND_BYTES;
/// Bytes that the responder answers: message 2.
pub const SECOND_BYTES: usize = LENGTH_BYTES + KEY_BYTES + TAG_BYTES;
/// Bytes that the initiator sends then: message 3.
pub const THIRD_BYTES: usize = LENGTH_BYTES + KEY_BYTES + TAG_BYTES + TAG_BYTES;

/// The most bytes of a record, its length and tag included.
pub const RECORD_BYTES_MAX: usize = 16 << 10;
/// Bytes of a record besides its plaintext.
pub const RECORD_OVERHEAD_BYTES: usize = LENGTH_BYTES + TAG_BYTES;
/// The most bytes of a record's plaintext. The fewest are 1.
pub const RECORD_PLAIN_BYTES_MAX: usize = RECORD_BYTES_MAX - RECORD_OVERHEAD_BYTES;

/// Records that one key seals.
pub const REKEY_RECORDS: u64 = 1 << 20;
/// The most records of a direction, far beyond what anybody sends.
pub const RECORDS_MAX: u64 = 1 << 62;

const _: () = assert!(FIRST_BYTES == 58 && SECOND_BYTES == 50 && THIRD_BYTES == 66);
const _: () = assert!(RECORD_BYTES_MAX - LENGTH_BYTES <= u16::MAX as usize);
// One key of AES-GCM is to see at most 2^32 blocks of 16 bytes, far from where two ciphertexts tell anything.
const _: () = assert!(REKEY_RECORDS * (RECORD_BYTES_MAX as u64 / 16 + 2) <= 1 << 32);
// Noise keeps the last number for its rekey.
const _: () = assert!(RECORDS_MAX < u64::MAX);

/// What records, and the handshake's messages, are sealed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cipher {
    /// AES-256-GCM: the faster one where the CPU has instructions for it.
    AesGcm,
    /// ChaCha20-Poly1305: the faster one, and the only safe one against timing, where it has none.
    ChaChaPoly,
}

impl Cipher {
    /// Both.
    pub const ALL: [Cipher; 2] = [Cipher::AesGcm, Cipher::ChaChaPoly];

    /// The one for this machine's CPU: AES where there are instructions for it.
    #[must_use]
    pub fn best() -> Cipher {
        #[cfg(target_arch = "x86_64")]
        let aes = std::is_x86_feature_detected!("aes") && std::is_x86_feature_detected!("pclmulqdq");
        #[cfg(target_arch = "aarch64")]
        let aes = std::arch::is_aarch64_feature_detected!("aes")
            && std::arch::is_aarch64_feature_detected!("pmull");
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let aes = false;
        if aes { Cipher::AesGcm } else { Cipher::ChaChaPoly }
    }

    /// The byte that names it in the preamble.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Cipher::AesGcm => 1,
            Cipher::ChaChaPoly => 2,
        }
    }

    /// The cipher of a preamble's byte.
    ///
    /// # Errors
    /// [`ChannelError::UnknownCipher`].
    pub fn from_code(code: u8) -> Result<Cipher, ChannelError> {
        Cipher::ALL
            .into_iter()
            .find(|cipher| cipher.code() == code)
            .ok_or(ChannelError::UnknownCipher { code })
    }

    /// Its name among people and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Cipher::AesGcm => "AES-256-GCM",
            Cipher::ChaChaPoly => "ChaCha20-Poly1305",
        }
    }
}
