//! What a group wants done, and why it refuses a frame.

use crate::accountable::SignedRound;
use crate::answer::{RoundAnswers, Work};
use crate::tile::Tile;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use twincast_protocol::ids::{Epoch, RoundNumber, UserId};
use twincast_protocol::wire::Code;
use twincast_protocol::wire::link::LinkFrame;

/// A connection, by the number that the server gave it; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// What a group wants done. Outputs are done in their order.
#[derive(Debug)]
pub enum Output {
    /// Send this frame to one connection.
    To(ConnectionId, Bytes),
    /// Send this frame to every connection of the group; it belongs to a round.
    All(RoundNumber, Bytes),
    /// Send every connection of the group the end of this round, with what was signed of it for the connection's users.
    RoundEnd(Arc<SignedRound>),
    /// Deliver this tile to every connection of the group that plays members of its epoch.
    Deliver(Arc<Tile>),
    /// Give this to the answer threads.
    Answer(Work),
    /// Send every connection of the group that plays members of the epoch the answers to their queries.
    Answers(Arc<RoundAnswers>),
    /// Somebody is at fault: to be logged and counted.
    Blame(Blame),
    /// Tell the other server. Dropped while the link is down.
    Peer(LinkFrame),
    /// Close this connection after an error frame with this code.
    Close(ConnectionId, Code),
    /// Close the connections that lag.
    CloseLagging,
    /// A round was left out.
    Skipped(RoundNumber),
    /// A round was sealed and released.
    Sealed(SealedRound),
    /// Something to count, and how many of it.
    Count(Counted, u32),
}

/// Who is at fault in a round of a group whose delivery is `answer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blame {
    /// The round.
    pub round: RoundNumber,
    /// Whose record it is about.
    pub user: UserId,
    /// Who, and of what.
    pub fault: Fault,
}

/// What somebody did that none who is honest does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The user signed two records for the round, and gave each server another one.
    SenderSignedTwo,
    /// The other server shows a record that the user did not sign, or not the one that it said it had.
    PeerShowedFalse,
    /// The other server said that it has another record, and then that the user is absent, without having shown it.
    PeerShowedNothing,
    /// The other server's signature that the user is absent is wrong.
    PeerSignedFalse,
}

/// A round that was sealed and released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedRound {
    /// Its epoch.
    pub epoch: Epoch,
    /// Its number.
    pub round: RoundNumber,
    /// Members of the epoch.
    pub members: u32,
    /// Members who are present in what was released.
    pub senders: u32,
    /// Tiles, over all slots, that were released without the other server's word.
    pub unagreed: u32,
    /// From its first submission, or its opening if that was later, to its seal; nothing if nobody submitted.
    pub gathered: Duration,
    /// From its seal to its release.
    pub settled: Duration,
}

/// What a group counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    /// Dials that became void: only one server had them, or their epoch was given up.
    DialsVoid,
    /// Epochs that were opened.
    EpochsOpened,
    /// Epochs that were given up: the other server did not answer, or was in another epoch.
    EpochsGivenUp,
    /// Users who became members at an announcement.
    Joined,
    /// Members who left at an announcement.
    Left,
    /// Rounds that were left out because the two servers did not agree on their records.
    RoundsUnagreed,
    /// Senders whose parts S2's box had no room for.
    BoxFull,
    /// Senders whose parts the box could not write or read.
    BoxFailed,
}

/// Why a frame was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was wrong.
    pub code: Code,
    /// The member it concerns, `u32::MAX` for none.
    pub sender: u32,
    /// The slot it concerns, `u32::MAX` for none.
    pub slot: u32,
    /// The round it concerns, 0 for none.
    pub round: u64,
}

impl Refusal {
    /// A refusal that concerns no member, slot or round.
    #[must_use]
    pub fn of_form(code: Code) -> Refusal {
        Refusal { code, sender: u32::MAX, slot: u32::MAX, round: 0 }
    }

    /// The error frame that says it.
    #[must_use]
    pub fn frame(&self) -> Bytes {
        self.code.frame(self.sender, self.slot, self.round)
    }
}
