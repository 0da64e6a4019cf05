//! Newtypes for the numbers that must not be mixed up.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A group of users who may write to each other.
    GroupId(u32)
}
number! {
    /// A user, in every epoch of a group.
    UserId(u32)
}
number! {
    /// A user's position in the member list of an epoch, which is ordered by [`UserId`]: `0..n`.
    MemberIndex(u32)
}
number! {
    /// A run of rounds with one fixed member list and one set of session keys.
    Epoch(u32)
}
number! {
    /// A round of a group. Rounds count from 1; 0 is the context of everything that is dialled.
    RoundNumber(u64)
}
number! {
    /// One of the K independent messages that a member sends in each round, `0..K`.
    SlotIndex(u32)
}

impl RoundNumber {
    /// The round of everything that belongs to the dial, not to a round of messages.
    pub const DIAL: RoundNumber = RoundNumber(0);
    /// The first round of a group.
    pub const FIRST: RoundNumber = RoundNumber(1);

    /// The round after this one.
    #[must_use]
    pub fn next(self) -> RoundNumber {
        RoundNumber(self.0 + 1)
    }
}

/// Which of the two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ServerSide {
    /// S1: gets P1 of every dial, and a seed for its part of the bit confirmations.
    One,
    /// S2: gets P2, and the confirmation parts themselves.
    Two,
}

impl ServerSide {
    /// Both servers, in order.
    pub const BOTH: [ServerSide; 2] = [ServerSide::One, ServerSide::Two];

    /// 0 for S1, 1 for S2: an index into arrays of two.
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            ServerSide::One => 0,
            ServerSide::Two => 1,
        }
    }

    /// The other server.
    #[must_use]
    pub fn other(self) -> ServerSide {
        match self {
            ServerSide::One => ServerSide::Two,
            ServerSide::Two => ServerSide::One,
        }
    }
}

impl fmt::Display for ServerSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ServerSide::One => "S1",
            ServerSide::Two => "S2",
        })
    }
}
