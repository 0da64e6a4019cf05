//! Sending in the compact profile: a message becomes two halves for each server.
//!
//! | | half 0 | half 1 |
//! |---|---|---|
//! | S1 | A | A ^ M ^ D |
//! | S2 | A ^ D | A ^ M |
//!
//! M is the codeword of the message, D a fresh dummy codeword, A uniform. A member whose two dialled bits are
//! equal gets D, one whose bits differ gets M: any recipient set works in one round, none (cover) and all too,
//! and its size does not show. Takes the place of Bowers et al. 2022, Algorithms 2 to 4.
//!
//! ```
//! use twincast_protocol::compact::{SplitBuffers, split};
//! use twincast_protocol::context::{Context, Purpose};
//! use twincast_protocol::frame::FrameBytes;
//! use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, SlotIndex};
//! use twincast_protocol::receive::{Expectation, Verdict, open};
//! use twincast_protocol::session_key::dial;
//!
//! # fn main() -> Result<(), twincast_protocol::error::ProtocolError> {
//! let context = Context {
//!     group: GroupId(1),
//!     epoch: Epoch(1),
//!     round: RoundNumber::FIRST,
//!     sender: MemberIndex(0),
//!     slot: SlotIndex(0),
//!     purpose: Purpose::Message,
//! };
//! let mut rng = rand::rng();
//! let (p1, p2) = dial(5, &[MemberIndex(3)], &mut rng)?;
//! let [mut a, mut b, mut c, mut d] = [[0; 336]; 4];
//! let out = SplitBuffers { s1: [&mut a, &mut b], s2: [&mut c, &mut d] };
//! split(FrameBytes::DEFAULT, &context, b"hello", &mut rng, out)?;
//!
//! let member = MemberIndex(3);
//! let share1 = if p1.bit(member) { &b } else { &a };
//! let share2 = if p2.bit(member) { &d } else { &c };
//! let mut scratch = [0; 336];
//! let verdict =
//!     open(FrameBytes::DEFAULT, &context, Some(share1), Some(share2), Expectation::Real, &mut scratch);
//! assert_eq!(verdict, Verdict::Accept(b"hello"));
//! # Ok(())
//! # }
//! ```
//!
//! Coins come from a `CryptoRng`; a generator for workloads cannot be passed where a secret is drawn:
//!
//! ```compile_fail,E0277
//! use rand::SeedableRng;
//! let mut rng = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(1);
//! let _ = twincast_protocol::session_key::dial(5, &[], &mut rng);
//! ```

use rand::CryptoRng;

use crate::codeword;
use crate::context::Context;
use crate::error::ProtocolError;
use crate::frame::FrameBytes;

/// Where the four halves go, each L bytes: straight into the two servers' SUBMIT frames.
/// No `Debug`: the four together are the message.
pub struct SplitBuffers<'a> {
    /// S1's half 0 and half 1.
    pub s1: [&'a mut [u8]; 2],
    /// S2's half 0 and half 1.
    pub s2: [&'a mut [u8]; 2],
}

/// Splits `message` for one slot of one round. Draws M's rho and x; D's F - 1 frame bytes, rho and x; A.
///
/// The servers must be sent what is written for them and nothing else: S1's halves together with S2's are the
/// message.
///
/// # Errors
///
/// [`ProtocolError::MessageTooLong`], before anything is drawn or written.
///
/// # Panics
///
/// When a buffer is not L = `size.share_bytes()` bytes.
pub fn split(
    size: FrameBytes,
    context: &Context,
    message: &[u8],
    rng: &mut impl CryptoRng,
    out: SplitBuffers<'_>,
) -> Result<(), ProtocolError> {
    let SplitBuffers { s1: [a, a_real_dummy], s2: [a_dummy, a_real] } = out;
    assert!([&*a, a_real_dummy].iter().all(|half| half.len() == size.share_bytes()), "a half's buffer");
    codeword::real(size, context, message, rng, a_real)?;
    codeword::dummy(size, context, rng, a_dummy);
    rng.fill_bytes(a);
    let halves = a.iter().zip(a_real_dummy).zip(a_dummy.iter_mut().zip(a_real));
    for ((a, a_real_dummy), (dummy, real)) in halves {
        *a_real_dummy = a ^ *real ^ *dummy;
        *dummy ^= a;
        *real ^= a;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Purpose;
    use crate::ids::{Epoch, GroupId, MemberIndex, RoundNumber, SlotIndex};

    #[test]
    fn a_message_too_long_writes_nothing() {
        let size = FrameBytes::new(32).expect("a multiple of 16");
        let context = Context {
            group: GroupId(1),
            epoch: Epoch(2),
            round: RoundNumber(3),
            sender: MemberIndex(4),
            slot: SlotIndex(5),
            purpose: Purpose::Message,
        };
        let mut halves = [[0xa5; 80]; 4];
        let [a, b, c, d] = halves.each_mut();
        let out = SplitBuffers { s1: [a, b], s2: [c, d] };
        let result = split(size, &context, &[0; 30], &mut rand::rng(), out);
        assert_eq!(result, Err(ProtocolError::MessageTooLong { bytes: 30, bytes_max: 29 }));
        assert_eq!(halves, [[0xa5; 80]; 4]);
    }
}
