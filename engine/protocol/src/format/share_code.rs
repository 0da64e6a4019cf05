//! What Algorithms 2 and 4 and Protocol 3 need of a profile: codewords, and a group to share them in.

use rand::CryptoRng;

use crate::codeword;
use crate::context::Context;
use crate::error::ProtocolError;
use crate::frame::FrameBytes;

/// A code and an abelian group in which its codewords are shared. Every buffer is one share long.
pub trait ShareCode {
    /// The size of a share, in bytes.
    fn share_bytes(&self) -> usize;

    /// Writes a codeword of `message` that its reader accepts.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::MessageTooLong`], before anything is drawn or written.
    fn real(&self, message: &[u8], rng: &mut impl CryptoRng, out: &mut [u8]) -> Result<(), ProtocolError>;

    /// Writes a fresh codeword that its reader ignores.
    fn dummy(&self, rng: &mut impl CryptoRng, out: &mut [u8]);

    /// Writes a uniform share.
    fn random(&self, rng: &mut impl CryptoRng, out: &mut [u8]);

    /// `sum += share`, both of them elements of the group.
    fn add(&self, sum: &mut [u8], share: &[u8]);

    /// `difference -= share`, both of them elements of the group.
    fn subtract(&self, difference: &mut [u8], share: &[u8]);
}

/// The compact profile's code under one context, shared by XOR.
#[derive(Clone, Copy, Debug)]
pub struct CompactCode {
    /// The group's frame size.
    pub size: FrameBytes,
    /// What the codewords are bound to.
    pub context: Context,
}

impl ShareCode for CompactCode {
    fn share_bytes(&self) -> usize {
        self.size.share_bytes()
    }

    fn real(&self, message: &[u8], rng: &mut impl CryptoRng, out: &mut [u8]) -> Result<(), ProtocolError> {
        codeword::real(self.size, &self.context, message, rng, out)
    }

    fn dummy(&self, rng: &mut impl CryptoRng, out: &mut [u8]) {
        codeword::dummy(self.size, &self.context, rng, out);
    }

    fn random(&self, rng: &mut impl CryptoRng, out: &mut [u8]) {
        rng.fill_bytes(out);
    }

    fn add(&self, sum: &mut [u8], share: &[u8]) {
        assert_eq!(sum.len(), share.len(), "two shares");
        sum.iter_mut().zip(share).for_each(|(sum, byte)| *sum ^= byte);
    }

    fn subtract(&self, difference: &mut [u8], share: &[u8]) {
        self.add(difference, share);
    }
}
