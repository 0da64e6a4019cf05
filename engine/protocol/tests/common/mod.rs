//! What the integration tests share.

use std::convert::Infallible;

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use rand::{TryCryptoRng, TryRng};

/// The documented random stream of the test vectors: the ChaCha20 keystream of a published seed, in order.
/// Never a source of secrets.
pub(crate) struct Stream {
    keystream: ChaCha20,
    pub(crate) bytes_used: u64,
}

impl Stream {
    pub(crate) fn new(seed: &[u8; 32]) -> Stream {
        Stream { keystream: ChaCha20::new(seed.into(), &[0; 12].into()), bytes_used: 0 }
    }
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.fill(0);
        self.keystream.apply_keystream(out);
        self.bytes_used += out.len() as u64;
        Ok(())
    }
}

impl TryCryptoRng for Stream {}
