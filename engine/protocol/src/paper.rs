//! The paper's own arithmetic: the profiles `paper-xor` and `paper-add`. A baseline, not to be relied on.
//!
//! Bowers et al. 2022: the code of section 4 ([`code`]), shared by XOR or in Z_p ([`sharing`]); the
//! recipient's half from Algorithm 1, the four halves of Algorithm 2 and Protocol 3 ([`protocol3`]). What one
//! server can do to these profiles is why the compact profile is the default: its view depends on the
//! message, in `paper-add` it sees the recipient's side and forges a message that it knows, and a wrong half
//! goes unnoticed. The code covers no context at all: what a sender once sent verifies again in any round,
//! epoch, group and slot.
//!
//! What is wiped: every buffer of bytes that held a message, a key or a share. What is not: the numbers that
//! `num-bigint` computes with, whose memory it gives no hand on.
//!
//! ```
//! use twincast_protocol::format::ShareCode;
//! use twincast_protocol::paper::shares::{PaperFrame, PaperShares, PlaintextVerifier, Sharing};
//!
//! # fn main() -> Result<(), twincast_protocol::error::ProtocolError> {
//! let shares = PaperShares::new(Sharing::Add, PaperFrame::new(256)?);
//! let mut rng = rand::rng();
//! let mut m1 = vec![0; shares.share_bytes()];
//! let mut m2 = m1.clone();
//! shares.random(&mut rng, &mut m1);
//! shares.real(b"hello", &mut rng, &mut m2)?;
//! shares.subtract(&mut m2, &m1);
//!
//! shares.add(&mut m1, &m2);
//! assert_eq!(PlaintextVerifier::new(&shares).verify(&m1), Some(true));
//! assert!(shares.message(&m1).starts_with(b"hello\0\0"));
//! # Ok(())
//! # }
//! ```

mod buffers;
pub mod code;
pub mod draw;
pub mod moduli;
pub mod protocol3;
pub mod shares;
pub mod sharing;
