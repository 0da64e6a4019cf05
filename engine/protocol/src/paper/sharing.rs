//! How a codeword, and the body of a long message behind it, becomes shares: an abelian group.
//!
//! ```text
//! paper-xor   codeword, 771 bytes     | body      bit strings under XOR
//! paper-add   number below p, 772     | body      Z_p, times bit strings under XOR
//! ```
//!
//! In `paper-add` the number is the codeword read as a big-endian number, so a codeword is written behind a
//! zero byte. The body has nothing of the code's arithmetic in it and is XOR-shared in both.

use num_bigint::BigUint;
use rand::CryptoRng;

use super::buffers::{Loader, store};
use super::draw::number_below;
use crate::error::ProtocolError;

/// The largest modulus of additive shares, in bits.
pub const PRIME_BITS_MAX: u64 = 12288;

/// A group that plaintexts are shared in. Its elements are byte strings of
/// [`share_bytes`](ShareGroup::share_bytes).
#[derive(Clone, Debug)]
pub struct ShareGroup {
    /// p of additive shares; none for XOR.
    prime: Option<BigUint>,
    /// What the code's part of an element takes.
    number_bytes: usize,
    plaintext_bytes: usize,
    body_bytes: usize,
}

/// Two numbers and the means to read them, kept from one sum to the next.
#[derive(Default)]
pub struct SumBuffers {
    loader: Loader,
    sum: BigUint,
    other: BigUint,
}

impl ShareGroup {
    /// XOR shares of codewords of `codeword_bytes` with bodies of `body_bytes`.
    #[must_use]
    pub fn xor(codeword_bytes: usize, body_bytes: usize) -> ShareGroup {
        ShareGroup { prime: None, number_bytes: codeword_bytes, plaintext_bytes: codeword_bytes, body_bytes }
    }

    /// Shares in Z_p. p must be above every codeword: `2^(8 * codeword_bytes) <= p`.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::PaperPrime`] when it is not, or has more than [`PRIME_BITS_MAX`] bits.
    pub fn additive(
        prime: BigUint,
        codeword_bytes: usize,
        body_bytes: usize,
    ) -> Result<ShareGroup, ProtocolError> {
        let (bits, bits_min) = (prime.bits(), 8 * codeword_bytes as u64 + 1);
        if !(bits_min..=PRIME_BITS_MAX).contains(&bits) {
            return Err(ProtocolError::PaperPrime { bits, bits_min, bits_max: PRIME_BITS_MAX });
        }
        let number_bytes = bits.div_ceil(8) as usize;
        Ok(ShareGroup { prime: Some(prime), number_bytes, plaintext_bytes: codeword_bytes, body_bytes })
    }

    /// The same group with bodies of `body_bytes`.
    #[must_use]
    pub fn with_body(self, body_bytes: usize) -> ShareGroup {
        ShareGroup { body_bytes, ..self }
    }

    /// The size of a share, in bytes.
    #[must_use]
    pub fn share_bytes(&self) -> usize {
        self.number_bytes + self.body_bytes
    }

    /// Where the codeword begins in an element that is a plaintext; zeros are before it.
    #[must_use]
    pub fn codeword_at(&self) -> usize {
        self.number_bytes - self.plaintext_bytes
    }

    /// Whether `element` is a plaintext: the right length, and zeros before the codeword.
    #[must_use]
    pub fn is_plaintext(&self, element: &[u8]) -> bool {
        element.len() == self.share_bytes() && element[..self.codeword_at()].iter().all(|byte| *byte == 0)
    }

    /// A uniform share. Draws the number below p, or its bytes, then the body's.
    ///
    /// # Panics
    ///
    /// When `out` is not a share long.
    pub fn random(&self, rng: &mut impl CryptoRng, out: &mut [u8]) {
        assert_eq!(out.len(), self.share_bytes(), "a share's buffer");
        let (number, body) = out.split_at_mut(self.number_bytes);
        match &self.prime {
            Some(prime) => store(&number_below(prime, rng), number),
            None => rng.fill_bytes(number),
        }
        rng.fill_bytes(body);
    }

    /// `sum += share`. False, and `sum` is nothing, where one of the two is no element of the group: a wrong
    /// length, or a number that is not below p.
    #[must_use]
    pub fn add(&self, buffers: &mut SumBuffers, sum: &mut [u8], share: &[u8]) -> bool {
        self.combine(buffers, sum, share, |prime, sum, share| {
            *sum += share;
            if *sum >= *prime {
                *sum -= prime;
            }
        })
    }

    /// `difference -= share`, as [`add`](ShareGroup::add).
    #[must_use]
    pub fn subtract(&self, buffers: &mut SumBuffers, difference: &mut [u8], share: &[u8]) -> bool {
        self.combine(buffers, difference, share, |prime, difference, share| {
            if *difference < *share {
                *difference += prime;
            }
            *difference -= share;
        })
    }

    fn combine(
        &self,
        buffers: &mut SumBuffers,
        into: &mut [u8],
        share: &[u8],
        numbers: impl FnOnce(&BigUint, &mut BigUint, &BigUint),
    ) -> bool {
        if [into.len(), share.len()] != [self.share_bytes(); 2] {
            return false;
        }
        let Some(prime) = &self.prime else {
            xor(into, share);
            return true;
        };
        let (number, body) = into.split_at_mut(self.number_bytes);
        let (other_number, other_body) = share.split_at(self.number_bytes);
        let SumBuffers { loader, sum, other } = buffers;
        loader.load(number, 0, sum);
        loader.load(other_number, 0, other);
        if *sum >= *prime || *other >= *prime {
            return false;
        }
        numbers(prime, sum, other);
        store(sum, number);
        xor(body, other_body);
        true
    }
}

fn xor(into: &mut [u8], other: &[u8]) {
    into.iter_mut().zip(other).for_each(|(byte, other)| *byte ^= other);
}
