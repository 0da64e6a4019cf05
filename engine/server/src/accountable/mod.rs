//! Accountable rounds on a server: what it keeps and signs of a round, so that it can be told later who is at fault.
//!
//! A group makes a [`SignedRound`] when it ends a round. A fan-out core signs from it what each of its connections was
//! delivered ([`RoundEndMaker`]), the group shows single tiles of it later. Nothing of it changes once it is made, and both
//! come to the same hashes: whoever asks twice is told the same.

mod end;
mod round;

pub use end::RoundEndMaker;
#[cfg(feature = "fault-swap-half")]
pub use round::ForgedCell;
pub use round::{Book, RoundOf, SignedRound};

use crate::accounts::Directory;
#[cfg(feature = "fault-swap-half")]
use crate::config::AccountableFault;
use std::fmt;
use std::sync::Arc;
use twincast_protocol::accountable::Certificate;
use twincast_protocol::identity::{SigningKey, VerifyingKey};
use twincast_protocol::ids::{GroupId, ServerSide, UserId};

/// Where the keys of users come from, with what both servers signed of them.
pub trait Certificates: fmt::Debug + Send + Sync {
    /// The key of a user who has an account.
    fn key(&self, group: GroupId, user: UserId) -> Option<VerifyingKey>;

    /// A user's key with both servers' signatures, once both are here.
    fn certificate(&self, group: GroupId, user: UserId) -> Option<Certificate>;
}

impl Certificates for Directory {
    fn key(&self, group: GroupId, user: UserId) -> Option<VerifyingKey> {
        Directory::key(self, group, user)
    }

    fn certificate(&self, group: GroupId, user: UserId) -> Option<Certificate> {
        Directory::certificate(self, group, user)
    }
}

/// What an accountable group signs and verifies with: given at its start, the same for its life.
pub struct Accounting {
    /// The group: every signature is bound to it.
    pub group: GroupId,
    /// Which server this is.
    pub side: ServerSide,
    /// This server's key.
    pub signing: SigningKey,
    /// The users'.
    pub accounts: Arc<dyn Certificates>,
    /// What this server does wrong, for tests of who notices.
    #[cfg(feature = "fault-swap-half")]
    pub fault: Option<AccountableFault>,
}

impl fmt::Debug for Accounting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("Accounting");
        f.field("group", &self.group).field("side", &self.side).finish_non_exhaustive()
    }
}
