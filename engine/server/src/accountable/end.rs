//! ROUND_END of an accountable group, as one connection is sent it: made once, a few users at a time.
//!
//! ```text
//! header 8 | head 24 | present u64 a tile of one slot | receipt's signature 64 | then for each user: root 32, signature 64
//! ```

use super::SignedRound;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use twincast_protocol::identity::SIGNATURE_BYTES;
use twincast_protocol::ids::MemberIndex;
use twincast_protocol::statements::{HASH_BYTES, Hash};
use twincast_protocol::wire::{Body as _, HEADER_BYTES, RoundEnd};

/// Bytes for each user.
const USER_BYTES: usize = HASH_BYTES + SIGNATURE_BYTES;

/// The frame for one connection. What is made of it stays as it is.
pub struct RoundEndMaker {
    round: Arc<SignedRound>,
    users: Rc<[MemberIndex]>,
    made: Vec<u8>,
    /// How many users' part is made.
    done: usize,
    scratch: Vec<Hash>,
}

impl RoundEndMaker {
    /// The frame for a connection that plays these members of the round's epoch, ascending.
    #[must_use]
    pub fn new(round: Arc<SignedRound>, users: Rc<[MemberIndex]>) -> RoundEndMaker {
        RoundEndMaker { round, users, made: Vec::new(), done: 0, scratch: Vec::new() }
    }

    /// Bytes of the whole frame.
    #[must_use]
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + size_of::<RoundEnd>() + self.tail_bytes()
    }

    fn tail_bytes(&self) -> usize {
        8 * self.round.present().len() + SIGNATURE_BYTES + USER_BYTES * self.users.len()
    }

    /// Makes the frame up to byte `until`, as far as `patience`, in cells to hash, goes. A user is made whole: it takes all
    /// that is left where it needs more, and where nothing is left, nothing is made.
    pub fn make(&mut self, until: usize, patience: &mut usize) {
        let until = until.min(self.bytes());
        // What is for all goes with the first user.
        if self.made.is_empty() && (*patience > 0 || self.users.is_empty()) {
            self.made.reserve_exact(self.bytes());
            self.round.end(self.users.len()).put(self.tail_bytes(), &mut self.made);
            self.round.present().iter().for_each(|word| self.made.extend_from_slice(&word.to_le_bytes()));
            self.made.extend_from_slice(self.round.receipt());
        }
        while self.made.len() < until && *patience > 0 {
            let (root, signature) = self.round.delivery(self.users[self.done], &mut self.scratch);
            self.made.extend_from_slice(&root);
            self.made.extend_from_slice(&signature);
            self.done += 1;
            *patience = patience.saturating_sub(self.round.cells());
        }
    }

    /// Whether users are left for whom nothing is signed yet.
    #[must_use]
    pub fn takes_long(&self) -> bool {
        self.done < self.users.len()
    }

    /// What is made so far.
    #[must_use]
    pub fn made(&self) -> &[u8] {
        &self.made
    }
}

impl fmt::Debug for RoundEndMaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoundEndMaker").field("round", &self.round).field("done", &self.done).finish()
    }
}
