//! Key exchange: at the start of an epoch each member that wants keys sends every member a codeword of its own,
//! a real one with its public key to those it wants a key with, a dummy to the rest; the answer travels the same
//! way (Bowers et al. 2022, section 5.3, with one share pair for each user).
//!
//! The parts are those of [`parts`](crate::parts), kinds `Key` and `KeyReply`: 96 bytes a member from each server.
//! Everybody gets the same number of bytes and each server sees uniform strings, whoever is wanted. Nobody else
//! learns anything, whatever set of others pools what it got: each member's codeword is of its own coins. The
//! paper's cheaper form, where several members share one codeword, is the baseline [`partitions`].
//!
//! ```
//! use twincast_protocol::ids::{Epoch, GroupId, MemberIndex};
//! use twincast_protocol::keys::{KeyKind, KeyPartsMaker, Keypair, Role, open_keys, pair_key};
//! use twincast_protocol::parts::{PartKind, expand_parts};
//! use twincast_protocol::receive::TileCells;
//!
//! # fn main() -> Result<(), twincast_protocol::error::ProtocolError> {
//! let (group, epoch) = (GroupId(1), Epoch(1));
//! let (alice, bob) = (MemberIndex(0), MemberIndex(2));
//! let mut rng = rand::rng();
//! let [alices, bobs] = [(); 2].map(|()| Keypair::random(&mut rng));
//!
//! // Alice: a seed for S1, three parts for S2.
//! let (seed, mut parts) = ([7; 32], [0; 3 * 96]);
//! let wanted = |member| member == bob;
//! KeyPartsMaker::new(group, epoch, alice, KeyKind::Key, alices.public(), &wanted)
//!     .parts(&seed, MemberIndex(0), &mut rng, &mut parts);
//!
//! // Bob: one cell from each server.
//! let mut cell1 = [0; 96];
//! expand_parts(&seed, PartKind::Key, bob.0, &mut cell1);
//! let tile = TileCells { count: 1, cells: [&cell1, &parts[2 * 96..]], present: [1, 1] };
//! let cells = open_keys(group, epoch, alice, KeyKind::Key, &tile);
//! assert_eq!((cells.accepted, &cells.keys[0]), (1, alices.public()));
//!
//! // The reply goes the same way; then both have the same two keys.
//! let at_bob = pair_key(&bobs, bob, &cells.keys[0], alice, group, epoch, Role::Responder)?;
//! let at_alice = pair_key(&alices, alice, bobs.public(), bob, group, epoch, Role::Initiator)?;
//! assert!(at_alice.send == at_bob.receive && at_alice.receive == at_bob.send);
//! # Ok(())
//! # }
//! ```

mod open;
mod pair;
pub mod partitions;
mod parts_maker;

pub use open::{KeyCells, open_keys};
pub use pair::{Keypair, PairKey, Role, pair_key};
pub use parts_maker::KeyPartsMaker;

use crate::parts::PartKind;

/// The size of an X25519 public key, in bytes.
pub const PUBLIC_KEY_BYTES: usize = 32;

/// The size of a key's codeword and of each server's part of it, in bytes.
pub const KEY_PART_BYTES: usize = 96;

/// Which of the two directions of an exchange a set of parts is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// The first: to those that a key is wanted with.
    Key,
    /// The answer.
    Reply,
}

impl From<KeyKind> for PartKind {
    fn from(kind: KeyKind) -> PartKind {
        match kind {
            KeyKind::Key => PartKind::Key,
            KeyKind::Reply => PartKind::KeyReply,
        }
    }
}
