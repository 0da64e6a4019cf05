//! The codeword of the compact profile, `L = F + 48` bytes:
//!
//! ```text
//! frame, F bytes | rho, 16 | x, 16 | tag, 16        tag = h^t + sum s_i h^i,  h = x * z^-128
//! s_1 = rho; s_2 .. = the frame's blocks in order; then the two blocks of the context
//! ```
//!
//! Not a plain polynomial MAC: a server holds two shares whose XOR is real ^ dummy, and with the message known
//! that would give it the key. rho makes what a server sees independent of the message; t, with two empty
//! coefficients below the leading one, keeps its chance to forge at `(t - 2) / 2^128`.

use rand::CryptoRng;

use crate::clmul::{Arithmetic, Polynomial};
use crate::context::Context;
use crate::error::ProtocolError;
use crate::frame::{self, BLOCK, FrameBytes};

/// Writes the codeword of `message` over `out`, L bytes. Draws rho, then x.
///
/// # Errors
///
/// [`ProtocolError::MessageTooLong`], before anything is drawn or written.
///
/// # Panics
///
/// When `out` is not L bytes.
pub fn real(
    size: FrameBytes,
    context: &Context,
    message: &[u8],
    rng: &mut impl CryptoRng,
    out: &mut [u8],
) -> Result<(), ProtocolError> {
    assert_eq!(out.len(), size.share_bytes(), "a codeword's buffer");
    let (frame, code) = out.split_at_mut(size.bytes());
    frame::write_real(size, message, frame)?;
    rng.fill_bytes(&mut code[..2 * BLOCK]);
    write_tag(size, context, out);
    Ok(())
}

/// Writes a fresh dummy codeword over `out`, L bytes. Draws F - 1 frame bytes, then rho, then x.
///
/// # Panics
///
/// When `out` is not L bytes.
pub fn dummy(size: FrameBytes, context: &Context, rng: &mut impl CryptoRng, out: &mut [u8]) {
    assert_eq!(out.len(), size.share_bytes(), "a codeword's buffer");
    out[0] = frame::KIND_DUMMY;
    rng.fill_bytes(&mut out[1..size.bytes() + 2 * BLOCK]);
    write_tag(size, context, out);
}

/// Whether the tag of `codeword`, L bytes, is right under `context`.
pub(crate) fn verify(size: FrameBytes, context: &Context, codeword: &[u8]) -> bool {
    stored_tag(codeword) == compute_tag(size, context, codeword)
}

/// The last block of a codeword.
pub(crate) fn stored_tag(codeword: &[u8]) -> u128 {
    u128::from_le_bytes(*codeword.last_chunk().expect("a codeword is longer than its tag"))
}

fn write_tag(size: FrameBytes, context: &Context, codeword: &mut [u8]) {
    let tag = compute_tag(size, context, codeword);
    *codeword.last_chunk_mut().expect("a codeword is longer than its tag") = tag.to_le_bytes();
}

fn compute_tag(size: FrameBytes, context: &Context, codeword: &[u8]) -> u128 {
    Arithmetic::detect().tag(Polynomial::new(size, context.blocks(), 0), codeword)
}
