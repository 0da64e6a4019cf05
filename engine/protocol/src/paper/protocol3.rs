//! The four halves of one message (Bowers et al. 2022, Algorithm 2), placed as Protocol 3 has them, with one
//! mend.
//!
//! | recipient's bit at S1 | S1: half 0 | half 1 | S2: half 0 | half 1 |
//! |---|---|---|---|---|
//! | 0 | m1 | r2 | r1 | m2 |
//! | 1 | r1 | m2 | m1 | r2 |
//!
//! `m1 + m2 = M`, `m1 + r1 = D1`, `m2 + r2 = D2`: whose bits differ as the recipient's do reads the message,
//! whose bits are equal reads one of two dummies. The paper takes the side from a coin, which makes the
//! recipient read `r1 + r2`, noise, half the time; here it is the recipient's bit at S1.

use rand::CryptoRng;
use zeroize::Zeroizing;

use crate::compact::SplitBuffers;
use crate::error::ProtocolError;
use crate::format::ShareCode;

/// Writes the halves of `message` for a recipient whose bit at S1 is `side`. Draws the codeword M, the share
/// m1, and the dummies D1 and D2.
///
/// # Errors
///
/// [`ProtocolError::MessageTooLong`], before anything is drawn or written.
///
/// # Panics
///
/// When a buffer is not one share long.
pub fn split(
    code: &impl ShareCode,
    side: bool,
    message: &[u8],
    rng: &mut impl CryptoRng,
    out: SplitBuffers<'_>,
) -> Result<(), ProtocolError> {
    let SplitBuffers { s1, s2 } = out;
    let ([m1, r2], [r1, m2]) = if side { (s2, s1) } else { (s1, s2) };
    let mut real = Zeroizing::new(vec![0; code.share_bytes()]);
    code.real(message, rng, &mut real)?;
    code.random(rng, m1);
    code.dummy(rng, r1);
    code.subtract(r1, m1);
    m2.copy_from_slice(&real);
    code.subtract(m2, m1);
    code.dummy(rng, r2);
    code.subtract(r2, m2);
    Ok(())
}
