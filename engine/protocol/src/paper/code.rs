//! The paper's authentication code (Bowers et al. 2022, section 4): `c = mhat * r mod q`, with the flag as
//! the bit of `mhat` above the message. All numbers are big-endian and of one size, that of q:
//!
//! ```text
//! c | r | mhat        mhat = flag * 2^message_bits + message,  r uniform in [1, q - 1]
//! ```
//!
//! Nothing else enters it: no group, no round, no sender. A codeword of one round verifies in every other.

use std::fmt;

use num_bigint::BigUint;
use num_traits::{One, Zero};
use rand::CryptoRng;

use super::buffers::{Loader, store};
use super::draw::number_below;
use crate::error::ProtocolError;

/// The largest modulus of a code, in bits.
pub const MODULUS_BITS_MAX: u64 = 4096;

/// The code over one modulus.
#[derive(Clone, Debug)]
pub struct PaperCode {
    q: BigUint,
    message_bits: u64,
    number_bytes: usize,
}

/// A codeword's three numbers. No `Debug`: they are the message and its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Codeword {
    /// The tag, in `0..q`.
    pub c: BigUint,
    /// The key, in `1..q`.
    pub r: BigUint,
    /// Flag and message, in `1..q`.
    pub mhat: BigUint,
}

impl PaperCode {
    /// The code over `q` for messages of `message_bits` bits. q must have room for a flag above the message:
    /// `2^(message_bits + 1) - 1 <= q`. That it is prime is not looked at, so that it can be shown what
    /// follows from a q of the form `2^k - 1`.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::PaperModulus`] when it has no room, or q has more than [`MODULUS_BITS_MAX`] bits.
    pub fn new(q: BigUint, message_bits: u64) -> Result<PaperCode, ProtocolError> {
        let bits_min = message_bits.saturating_add(1);
        let bits = q.bits();
        let roomy = (bits_min..=MODULUS_BITS_MAX).contains(&bits) && (&q + BigUint::one()).bits() > bits_min;
        if !roomy || bits < 2 {
            return Err(ProtocolError::PaperModulus { bits, bits_min, bits_max: MODULUS_BITS_MAX });
        }
        let number_bytes = bits.div_ceil(8) as usize;
        Ok(PaperCode { q, message_bits, number_bytes })
    }

    /// q.
    #[must_use]
    pub fn modulus(&self) -> &BigUint {
        &self.q
    }

    /// The size of each of the three numbers, in bytes.
    #[must_use]
    pub fn number_bytes(&self) -> usize {
        self.number_bytes
    }

    /// The size of a codeword, in bytes: 771 over the profiles' q.
    #[must_use]
    pub fn codeword_bytes(&self) -> usize {
        3 * self.number_bytes
    }

    /// Flag and message as one number; `message` is big-endian.
    ///
    /// # Panics
    ///
    /// When the message has more than `message_bits` bits.
    #[must_use]
    pub fn mhat(&self, flag: bool, message: &[u8]) -> BigUint {
        let mut mhat = BigUint::from_bytes_be(message);
        assert!(mhat.bits() <= self.message_bits, "a message of {} bits", mhat.bits());
        mhat.set_bit(self.message_bits, flag);
        mhat
    }

    /// Writes the codeword of `mhat` under the key `r`.
    ///
    /// # Panics
    ///
    /// When `mhat` or `r` is not in `1..q`, or `out` not [`codeword_bytes`](PaperCode::codeword_bytes) long.
    pub fn write(&self, mhat: &BigUint, r: &BigUint, out: &mut [u8]) {
        assert!([mhat, r].iter().all(|number| !number.is_zero() && **number < self.q), "numbers below q");
        assert_eq!(out.len(), self.codeword_bytes(), "a codeword's buffer");
        let (c_out, rest) = out.split_at_mut(self.number_bytes);
        let (r_out, mhat_out) = rest.split_at_mut(self.number_bytes);
        store(&(mhat * r % &self.q), c_out);
        store(r, r_out);
        store(mhat, mhat_out);
    }

    /// Writes a fresh codeword of `flag` and `message`. Draws r.
    ///
    /// # Panics
    ///
    /// As [`mhat`](PaperCode::mhat) and [`write`](PaperCode::write) do.
    pub fn encode(&self, flag: bool, message: &[u8], rng: &mut impl CryptoRng, out: &mut [u8]) {
        let mhat = self.mhat(flag, message);
        let r = number_below(&(&self.q - BigUint::one()), rng) + BigUint::one();
        self.write(&mhat, &r, out);
    }

    /// The three numbers of a codeword, whatever they are; none for a wrong length.
    #[must_use]
    pub fn parse(&self, codeword: &[u8]) -> Option<Codeword> {
        if codeword.len() != self.codeword_bytes() {
            return None;
        }
        let (c, rest) = codeword.split_at(self.number_bytes);
        let (r, mhat) = rest.split_at(self.number_bytes);
        let [c, r, mhat] = [c, r, mhat].map(BigUint::from_bytes_be);
        Some(Codeword { c, r, mhat })
    }
}

/// Verifies codewords of one code, with buffers that it keeps.
///
/// The division by q is what a decode costs. It normalises its divisor to whole words first, so q, c and r
/// are kept shifted up to them: `mhat * (r * 2^s) mod (q * 2^s)` is the wanted remainder times `2^s`, and no
/// number is ever shifted. The time depends on what is verified: constant time is not among this baseline's
/// virtues.
pub struct Verifier {
    code: PaperCode,
    shift_bytes: usize,
    q_shifted: BigUint,
    loader: Loader,
    c: BigUint,
    r: BigUint,
    mhat: BigUint,
}

impl Verifier {
    /// A verifier for `code`.
    #[must_use]
    pub fn new(code: &PaperCode) -> Verifier {
        let shift_bytes = code.number_bytes.next_multiple_of(8) - code.number_bytes;
        let [c, r, mhat] = [BigUint::ZERO; 3];
        let q_shifted = &code.q << (8 * shift_bytes);
        Verifier { code: code.clone(), shift_bytes, q_shifted, loader: Loader::default(), c, r, mhat }
    }

    /// The flag of `codeword`, if it is one: the right length, `0 <= c < q`, `0 < r < q`, `0 < mhat < q`,
    /// nothing above the flag, and `c = mhat * r mod q`.
    pub fn verify(&mut self, codeword: &[u8]) -> Option<bool> {
        if codeword.len() != self.code.codeword_bytes() {
            return None;
        }
        let (c, rest) = codeword.split_at(self.code.number_bytes);
        let (r, mhat) = rest.split_at(self.code.number_bytes);
        self.loader.load(c, self.shift_bytes, &mut self.c);
        self.loader.load(r, self.shift_bytes, &mut self.r);
        self.loader.load(mhat, 0, &mut self.mhat);
        let in_range = self.c < self.q_shifted
            && !self.r.is_zero()
            && self.r < self.q_shifted
            && !self.mhat.is_zero()
            && self.mhat < self.code.q
            && self.mhat.bits() <= self.code.message_bits + 1;
        let verified = in_range && &self.mhat * &self.r % &self.q_shifted == self.c;
        verified.then(|| self.mhat.bit(self.code.message_bits))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("code", &self.code).finish_non_exhaustive()
    }
}
