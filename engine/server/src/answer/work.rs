//! What a group and the answer threads tell each other.

use crate::accounts::Directory;
use crate::roster::Roster;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use twincast_answer::{AnswerSet, Answers, Queries};
use twincast_protocol::answer::RECORD_BYTES;
use twincast_protocol::answer::table::Digest;
use twincast_protocol::identity::{SIGNATURE_BYTES, SigningKey, VerifyingKey};
use twincast_protocol::ids::{Epoch, GroupId, RoundNumber, ServerSide, UserId};
use twincast_protocol::wire::{self, ANSWERS_HEAD_BYTES, AbsentTile, Body as _, HEADER_BYTES};
use zerocopy::IntoBytes as _;

/// What a group whose delivery is `answer` signs and verifies with: given at its start, the same for its life.
pub struct Setup {
    /// The group: every signature is bound to it.
    pub group: GroupId,
    /// Which server this is.
    pub side: ServerSide,
    /// This server's key.
    pub signing: SigningKey,
    /// The other server's.
    pub peer: VerifyingKey,
    /// Whose key is whose.
    pub members: Members,
}

/// Whose key is whose in a group whose delivery is `answer`.
#[derive(Clone, Debug)]
pub enum Members {
    /// The same for the life of the group, and the same at both servers.
    List(HashMap<UserId, VerifyingKey>),
    /// Whoever has an account now.
    Registry(Arc<Directory>, GroupId),
}

impl Members {
    /// A user's key.
    #[must_use]
    pub fn key(&self, user: UserId) -> Option<VerifyingKey> {
        match self {
            Members::List(list) => list.get(&user).copied(),
            Members::Registry(directory, group) => directory.key(*group, user),
        }
    }
}

impl FromIterator<(UserId, VerifyingKey)> for Members {
    fn from_iter<T: IntoIterator<Item = (UserId, VerifyingKey)>>(list: T) -> Members {
        Members::List(list.into_iter().collect())
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("group", &self.group).field("side", &self.side).finish_non_exhaustive()
    }
}

/// The rows of one tile of a round's table: records of up to 64 consecutive senders.
#[derive(Clone)]
pub struct Rows {
    /// Its position in the table.
    pub tile: usize,
    /// Its senders, 1 to 64.
    pub senders: usize,
    /// `[sender][352]`: always 64 rows, those beyond `senders` unused.
    pub records: Box<[[u8; RECORD_BYTES]]>,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows")
            .field("tile", &self.tile)
            .field("senders", &self.senders)
            .finish_non_exhaustive()
    }
}

/// What a group wants done. Works on the tables of an epoch (`Open`, `Close`, `Add`, `Finish`, `Abandon`) are done in their
/// order by every thread; the others by any, in any order.
#[derive(Clone, Debug)]
pub enum Work {
    /// An epoch opens: its queries, and how its members are numbered. Answered by nothing.
    Open {
        /// The members.
        roster: Arc<Roster>,
        /// All queries, member-major: the `k`-th of member `u` is `u * K + k`.
        queries: Arc<Queries>,
    },
    /// The epoch is given up, and none follows yet: forget its queries. Answered by nothing.
    Close,
    /// Verify the signatures of these senders of a tile. The group gives the rows away and gets them back.
    Verify {
        /// The round.
        round: RoundNumber,
        /// The members.
        roster: Arc<Roster>,
        /// The rows; nobody else holds them.
        rows: Arc<Rows>,
        /// Bit `i`: sender `i` of the tile has a record.
        senders: u64,
        /// With no other tile: a wrong signature, which is looked for by halves, makes those dear that are verified with it.
        alone: bool,
    },
    /// Sign that these senders of a tile are absent.
    SignAbsences {
        /// The round.
        round: RoundNumber,
        /// The epoch.
        epoch: Epoch,
        /// The tile.
        tile: usize,
        /// Bit `i`: sender `i` of the tile.
        senders: u64,
    },
    /// Verify the other server's signatures, clear the rows of the absent, and make the tile's final hash.
    Fill {
        /// The round.
        round: RoundNumber,
        /// The epoch.
        epoch: Epoch,
        /// The rows; nobody else holds them.
        rows: Arc<Rows>,
        /// Bit `i`: sender `i` of the tile is absent.
        absent: u64,
        /// The other server's signature for each of those, ascending.
        signatures: Vec<[u8; SIGNATURE_BYTES]>,
    },
    /// Look at records that the other server shows, and that this one has others of.
    Judge {
        /// The round.
        round: RoundNumber,
        /// The members.
        roster: Arc<Roster>,
        /// The tile.
        tile: usize,
        /// Bit `i`: sender `i` of the tile.
        senders: u64,
        /// What the other server shows, ascending by sender.
        shown: Vec<[u8; RECORD_BYTES]>,
        /// What it said that their digests are.
        digests: Vec<Digest>,
    },
    /// A tile is agreed and final: add it to the answers.
    Add {
        /// The round.
        round: RoundNumber,
        /// Its rows, from now on for reading.
        rows: Arc<Rows>,
    },
    /// All tiles of the round are added: its answers are wanted.
    Finish {
        /// The round.
        round: RoundNumber,
    },
    /// The round is left out: forget what was added.
    Abandon {
        /// The round.
        round: RoundNumber,
    },
}

impl Work {
    /// Whether it is on a table, and every thread has a part in it.
    #[must_use]
    pub fn is_on_table(&self) -> bool {
        match self {
            Work::Open { .. } | Work::Close => true,
            Work::Add { .. } | Work::Finish { .. } | Work::Abandon { .. } => true,
            Work::Verify { .. } | Work::SignAbsences { .. } | Work::Fill { .. } | Work::Judge { .. } => false,
        }
    }
}

/// What was done.
#[derive(Debug)]
pub enum Done {
    /// Of [`Work::Verify`].
    Verified {
        /// The round.
        round: RoundNumber,
        /// The rows, back.
        rows: Arc<Rows>,
        /// Bit `i`: sender `i` has a valid record. The rows of the others are zeroed.
        valid: u64,
        /// Of each of the tile's senders, [`NO_DIGEST`](twincast_protocol::answer::table::NO_DIGEST) where there is no
        /// valid record.
        digests: Vec<Digest>,
        /// The tree hash over those.
        hash: Digest,
    },
    /// Of [`Work::SignAbsences`]: a signature for each, ascending.
    AbsencesSigned {
        /// The round.
        round: RoundNumber,
        /// The tile.
        tile: usize,
        /// Bit `i`: sender `i` of the tile.
        senders: u64,
        /// Ascending by sender.
        signatures: Vec<[u8; SIGNATURE_BYTES]>,
    },
    /// Of [`Work::Fill`].
    Filled {
        /// The round.
        round: RoundNumber,
        /// The rows, back.
        rows: Arc<Rows>,
        /// The tree hash over all its records, with [`ABSENT`](twincast_protocol::answer::ABSENT) for each who is absent;
        /// none: a signature of the other server's is wrong.
        hash: Option<Digest>,
    },
    /// Of [`Work::Judge`].
    Judged {
        /// The round.
        round: RoundNumber,
        /// The members.
        roster: Arc<Roster>,
        /// The tile.
        tile: usize,
        /// Bit `i`: sender `i` signed both records.
        signed_two: u64,
        /// Bit `i`: what the other server shows of sender `i` is not signed by it, or has not the digest that it said.
        false_shown: u64,
    },
    /// Of [`Work::Finish`]: one part of the answers. There are as many parts as answer threads.
    Part {
        /// The round.
        round: RoundNumber,
        /// Which part.
        part: usize,
        /// Its answers.
        answers: Arc<Answers>,
    },
}

/// The answers of one round, as fan-out cores send them.
pub struct RoundAnswers {
    /// The round.
    pub round: RoundNumber,
    /// The members, who are also the readers.
    pub roster: Arc<Roster>,
    /// Queries of each member, K.
    pub slots: usize,
    /// Members whose records are in the table.
    pub senders_present: u32,
    /// Whose are not, in the form in which everybody is told.
    pub absent: Vec<AbsentTile>,
    /// The table's root.
    pub root: Digest,
    /// The answers, by query.
    pub set: AnswerSet,
}

impl RoundAnswers {
    /// The frame's header and head of ANSWERS, for a connection that plays so many members. The list of absent senders
    /// and the answers follow.
    #[must_use]
    pub fn head(&self, users: usize) -> [u8; ANSWERS_HEAD_BYTES] {
        let head = wire::Answers {
            round: self.round.0.into(),
            epoch: self.roster.epoch().0.into(),
            users: (users as u32).into(),
            queries: (self.slots as u32).into(),
            record_bytes: (RECORD_BYTES as u32).into(),
            senders_present: self.senders_present.into(),
            absent_tiles: (self.absent.len() as u32).into(),
            root: self.root,
        };
        let mut bytes = [0; ANSWERS_HEAD_BYTES];
        let (frame, body) = bytes.split_at_mut(HEADER_BYTES);
        frame.copy_from_slice(&head.header((head.absent_bytes() + head.answers_bytes()) as usize).to_bytes());
        body.copy_from_slice(head.as_bytes());
        bytes
    }
}

impl fmt::Debug for RoundAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoundAnswers").field("round", &self.round).finish_non_exhaustive()
    }
}

/// The places of the bits that are set, ascending.
pub(crate) fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = (word != 0).then(|| word.trailing_zeros() as usize)?;
        word &= word - 1;
        Some(place)
    })
}
