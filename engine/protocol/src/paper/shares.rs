//! The paper profiles' shares: codewords over the fixed q, shared by XOR or in Z_p, with the paper's 256-byte
//! message or a longer one that the code authenticates by its hash (the remark in 4.4).
//!
//! ```text
//! 256-byte frame   c | r | mhat           mhat = flag * 2^2048 + message (padded with zeros at its end)
//! longer frame     c | r | mhat | body    mhat = flag * 2^2048 + (hash, 32 bytes | 224 zero bytes)
//!                                         body = message (padded with zeros at its end)
//!                                         hash = SHA-256("twincast/paper/long/v1" | body's length u64 | body)
//! ```
//!
//! A dummy has flag 0 and a uniform message, not all zeros; a long one a uniform body and that body's hash,
//! so that an altered body shows at every reader alike. Everything is big-endian.

use std::fmt;
use std::sync::LazyLock;

use rand::CryptoRng;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::code::{PaperCode, Verifier};
use super::moduli;
use super::sharing::{ShareGroup, SumBuffers};
use crate::error::ProtocolError;
use crate::format::ShareCode;

/// The paper's message, and the code's in every frame, in bytes.
pub const MESSAGE_BYTES: usize = 256;
/// A codeword over the fixed q, in bytes: what a message of 256 bytes shares by XOR.
pub const CODEWORD_BYTES: usize = 3 * (moduli::Q_BITS as usize / 8);
/// A number below the fixed p, in bytes.
pub const ADDITIVE_BYTES: usize = moduli::P_BITS as usize / 8;

const _: () = assert!(CODEWORD_BYTES == 771 && ADDITIVE_BYTES == 772);

const HASH_LABEL: &str = "twincast/paper/long/v1";
const HASH_BYTES: usize = 32;

static CODE: LazyLock<PaperCode> = LazyLock::new(|| {
    PaperCode::new(moduli::q(), 8 * MESSAGE_BYTES as u64).expect("q has room for a flag and 256 bytes")
});
static GROUPS: LazyLock<[ShareGroup; 2]> = LazyLock::new(|| {
    [
        ShareGroup::xor(CODEWORD_BYTES, 0),
        ShareGroup::additive(moduli::p(), CODEWORD_BYTES, 0).expect("p is above every codeword"),
    ]
});

/// Which group the paper's codewords are shared in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// `paper-xor`: bit strings under XOR.
    Xor,
    /// `paper-add`: Z_p.
    Add,
}

/// The frame size of a paper group, in bytes: 256, the paper's, or more for hash-authenticated messages, to
/// 65536.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PaperFrame(u32);

impl PaperFrame {
    /// A frame of `bytes` bytes.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::PaperFrameBytes`] unless `bytes` is from 256 to 65536.
    pub fn new(bytes: u32) -> Result<PaperFrame, ProtocolError> {
        match bytes {
            256..=65536 => Ok(PaperFrame(bytes)),
            _ => Err(ProtocolError::PaperFrameBytes { bytes }),
        }
    }

    /// F, which is also the longest message, in bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.0 as usize
    }

    /// What lies behind the codeword: nothing, or the message.
    #[must_use]
    pub fn body_bytes(self) -> usize {
        if self.bytes() == MESSAGE_BYTES { 0 } else { self.bytes() }
    }

    /// L, in bytes.
    #[must_use]
    pub fn share_bytes(self, sharing: Sharing) -> usize {
        self.body_bytes()
            + match sharing {
                Sharing::Xor => CODEWORD_BYTES,
                Sharing::Add => ADDITIVE_BYTES,
            }
    }
}

/// One paper profile at one frame size.
#[derive(Clone, Debug)]
pub struct PaperShares {
    group: ShareGroup,
    frame: PaperFrame,
}

impl PaperShares {
    /// The profile of `sharing` for frames of this size.
    #[must_use]
    pub fn new(sharing: Sharing, frame: PaperFrame) -> PaperShares {
        let group = GROUPS[sharing as usize].clone().with_body(frame.body_bytes());
        PaperShares { group, frame }
    }

    /// The code of both profiles.
    #[must_use]
    pub fn code() -> &'static PaperCode {
        &CODE
    }

    /// The group that shares are elements of.
    #[must_use]
    pub fn group(&self) -> &ShareGroup {
        &self.group
    }

    /// Where the message lies in a plaintext.
    fn message_at(&self) -> usize {
        self.group.share_bytes() - self.frame.bytes()
    }

    /// The message of a plaintext, padded with zeros to F bytes.
    #[must_use]
    pub fn message<'a>(&self, plaintext: &'a [u8]) -> &'a [u8] {
        &plaintext[self.message_at()..]
    }

    /// Writes the codeword of `flag` and `message` where it belongs in `out`.
    fn encode(&self, flag: bool, message: &[u8; MESSAGE_BYTES], rng: &mut impl CryptoRng, out: &mut [u8]) {
        let at = self.group.codeword_at();
        out[..at].fill(0);
        CODE.encode(flag, message, rng, &mut out[at..at + CODEWORD_BYTES]);
    }

    fn body<'a>(&self, plaintext: &'a [u8]) -> &'a [u8] {
        &plaintext[plaintext.len() - self.frame.body_bytes()..]
    }
}

impl ShareCode for PaperShares {
    fn share_bytes(&self) -> usize {
        self.group.share_bytes()
    }

    fn real(&self, message: &[u8], rng: &mut impl CryptoRng, out: &mut [u8]) -> Result<(), ProtocolError> {
        let bytes_max = self.frame.bytes();
        if message.len() > bytes_max {
            return Err(ProtocolError::MessageTooLong { bytes: message.len(), bytes_max });
        }
        let (used, padding) = out[self.message_at()..].split_at_mut(message.len());
        used.copy_from_slice(message);
        padding.fill(0);
        let authenticated = match self.frame.body_bytes() {
            0 => Zeroizing::new(*out.last_chunk().expect("a share is longer than its message")),
            _ => hash_field(self.body(out)),
        };
        self.encode(true, &authenticated, rng, out);
        Ok(())
    }

    fn dummy(&self, rng: &mut impl CryptoRng, out: &mut [u8]) {
        let mut authenticated = Zeroizing::new([0; MESSAGE_BYTES]);
        if self.frame.body_bytes() == 0 {
            while authenticated.iter().all(|byte| *byte == 0) {
                rng.fill_bytes(&mut *authenticated);
            }
        } else {
            rng.fill_bytes(&mut out[self.message_at()..]);
            authenticated = hash_field(self.body(out));
        }
        self.encode(false, &authenticated, rng, out);
    }

    fn random(&self, rng: &mut impl CryptoRng, out: &mut [u8]) {
        self.group.random(rng, out);
    }

    fn add(&self, sum: &mut [u8], share: &[u8]) {
        assert!(self.group.add(&mut SumBuffers::default(), sum, share), "two elements of the group");
    }

    fn subtract(&self, difference: &mut [u8], share: &[u8]) {
        assert!(
            self.group.subtract(&mut SumBuffers::default(), difference, share),
            "two elements of the group"
        );
    }
}

/// Verifies what shares add up to, with buffers that it keeps.
pub struct PlaintextVerifier {
    shares: PaperShares,
    verifier: Verifier,
}

impl PlaintextVerifier {
    /// A verifier for the plaintexts of `shares`.
    #[must_use]
    pub fn new(shares: &PaperShares) -> PlaintextVerifier {
        PlaintextVerifier { shares: shares.clone(), verifier: Verifier::new(&CODE) }
    }

    /// The flag of `element`, a sum of shares, if it is a plaintext whose codeword verifies and whose body
    /// has the hash that the codeword authenticates. No content or length panics.
    pub fn verify(&mut self, element: &[u8]) -> Option<bool> {
        if !self.shares.group.is_plaintext(element) {
            return None;
        }
        let codeword = &element[self.shares.group.codeword_at()..][..CODEWORD_BYTES];
        let flag = self.verifier.verify(codeword)?;
        let body_right = self.shares.frame.body_bytes() == 0
            || codeword.ends_with(&*hash_field(self.shares.body(element)));
        body_right.then_some(flag)
    }
}

impl fmt::Debug for PlaintextVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlaintextVerifier").field("shares", &self.shares).finish_non_exhaustive()
    }
}

/// What the code authenticates in place of a long message: its hash, and zeros.
fn hash_field(body: &[u8]) -> Zeroizing<[u8; MESSAGE_BYTES]> {
    let length = (body.len() as u64).to_be_bytes();
    let hash = Sha256::new().chain_update(HASH_LABEL).chain_update(length).chain_update(body).finalize();
    let mut field = Zeroizing::new([0; MESSAGE_BYTES]);
    field[..HASH_BYTES].copy_from_slice(&hash);
    field
}
