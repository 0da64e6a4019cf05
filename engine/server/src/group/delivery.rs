//! The two ways out of a running epoch, behind one surface.

use super::accountable::Ledger;
use super::answer::{AnswerRounds, RowsPool};
use super::rounds::Rounds;
use super::timing::{Circumstances, Timing};
use super::{Output, Shape};
use crate::config::Delivery;
use crate::roster::Roster;
use crate::tile::TilePool;
use fixedbitset::FixedBitSet;
use std::sync::Arc;
use std::time::Duration;
use twincast_protocol::identity::SIGNATURE_BYTES;
use twincast_protocol::ids::RoundNumber;
use twincast_protocol::wire::Code;

/// The rounds of an epoch.
#[derive(Debug)]
pub(super) enum EpochRounds {
    /// Every member gets a cell of every sender.
    Shares(Box<Rounds>),
    /// Every member gets a record for each of its queries.
    Answers(Box<AnswerRounds>),
}

/// What rounds keep what they are given in. It outlives their epoch.
#[derive(Debug)]
pub(super) enum Buffers {
    Tiles(TilePool),
    Rows(RowsPool),
}

impl Buffers {
    /// None yet.
    pub(super) fn none(shape: &Shape) -> Buffers {
        match shape.delivery {
            Delivery::Broadcast => Buffers::Tiles(TilePool::new(0, || unreachable!("no tile is made"))),
            Delivery::Answer => Buffers::Rows(RowsPool::default()),
        }
    }
}

/// What one member submits for a round.
pub(super) struct Submission<'a> {
    pub(super) sender: usize,
    /// Choice words, if there are any.
    pub(super) choices: &'a [u8],
    /// `[slot][half][cell_bytes]`, or a record.
    pub(super) shares: &'a [u8],
    /// The sender's, in an accountable group.
    pub(super) signature: Option<&'a [u8; SIGNATURE_BYTES]>,
}

impl EpochRounds {
    /// The rounds of an epoch from `first` on. `ledger`: what an accountable group keeps of them.
    pub(super) fn new(
        shape: &Shape,
        roster: &Arc<Roster>,
        first: RoundNumber,
        buffers: Buffers,
        ledger: Option<Ledger>,
        now: Duration,
    ) -> EpochRounds {
        match buffers {
            Buffers::Tiles(pool) => {
                EpochRounds::Shares(Box::new(Rounds::new(shape, roster, first, pool, ledger, now)))
            }
            Buffers::Rows(pool) => {
                EpochRounds::Answers(Box::new(AnswerRounds::new(shape, roster, first, pool, now)))
            }
        }
    }

    fn timing(&mut self) -> &mut Timing {
        match self {
            EpochRounds::Shares(rounds) => rounds.timing(),
            EpochRounds::Answers(rounds) => rounds.timing(),
        }
    }

    /// The open round.
    pub(super) fn open(&self) -> RoundNumber {
        match self {
            EpochRounds::Shares(rounds) => rounds.open(),
            EpochRounds::Answers(rounds) => rounds.open(),
        }
    }

    /// Whether the open round has submissions.
    pub(super) fn begun(&self) -> bool {
        match self {
            EpochRounds::Shares(rounds) => rounds.begun(),
            EpochRounds::Answers(rounds) => rounds.begun(),
        }
    }

    /// Since when the open round is sealed and waits for the other server.
    #[cfg(test)]
    pub(super) fn waits_since(&self) -> Option<Duration> {
        match self {
            EpochRounds::Shares(rounds) => rounds.waits_since(),
            EpochRounds::Answers(rounds) => rounds.waits_since(),
        }
    }

    /// Rounds from this one on are not this epoch's.
    pub(super) fn set_end(&mut self, end: Option<RoundNumber>) {
        self.timing().set_end(end);
    }

    /// Whether the epoch's last round is over.
    pub(super) fn at_end(&self) -> bool {
        match self {
            EpochRounds::Shares(rounds) => rounds.at_end(),
            EpochRounds::Answers(rounds) => rounds.at_end(),
        }
    }

    /// Leaves out the rounds before this one.
    pub(super) fn catch_up(&mut self, round: RoundNumber) {
        self.timing().catch_up(round);
    }

    /// The round that is to be open soon, without anybody's doing.
    pub(super) fn soon_open(&self) -> RoundNumber {
        match self {
            EpochRounds::Shares(rounds) => rounds.soon_open(),
            EpochRounds::Answers(rounds) => rounds.soon_open(),
        }
    }

    /// Members who missed a round and are not to be waited for until they submit again.
    pub(super) fn take_given_up(&mut self) -> Option<FixedBitSet> {
        self.timing().take_given_up()
    }

    /// The epoch is over: its buffers serve the next one. What an accountable group keeps of its rounds is left.
    pub(super) fn into_buffers(self, out: &mut Vec<Output>) -> (Buffers, Option<Ledger>) {
        match self {
            EpochRounds::Shares(rounds) => {
                let (pool, ledger) = rounds.into_pool();
                (Buffers::Tiles(pool), ledger)
            }
            EpochRounds::Answers(rounds) => (Buffers::Rows(rounds.into_pool(out)), None),
        }
    }

    /// What an accountable group keeps of the rounds.
    pub(super) fn ledger(&self) -> Option<&Ledger> {
        match self {
            EpochRounds::Shares(rounds) => rounds.ledger(),
            EpochRounds::Answers(_) => None,
        }
    }

    /// Whose uploads were signed falsely since this was last asked for, and in which round.
    pub(super) fn take_wrong(&mut self) -> Vec<(RoundNumber, usize)> {
        match self {
            EpochRounds::Shares(rounds) => rounds.take_wrong(),
            EpochRounds::Answers(_) => Vec::new(),
        }
    }

    /// Takes what one member submits for one round.
    pub(super) fn place(
        &mut self,
        number: RoundNumber,
        submission: &Submission<'_>,
        now: Duration,
    ) -> Result<(), Code> {
        match self {
            EpochRounds::Shares(rounds) => rounds.place(number, submission, now),
            EpochRounds::Answers(rounds) => {
                let Submission { sender, shares, .. } = *submission;
                let record = shares.try_into().map_err(|_| Code::LengthWrong)?;
                rounds.place(number, sender, record, now)
            }
        }
    }

    /// Does what is due. Returns whether a round ended: there may be more to do for the one after it.
    pub(super) fn advance(&mut self, with: &Circumstances<'_>, out: &mut Vec<Output>) -> bool {
        match self {
            EpochRounds::Shares(rounds) => rounds.advance(with, out),
            EpochRounds::Answers(rounds) => rounds.advance(with, out),
        }
    }

    /// Says again what was said of the open round: it went over another link.
    pub(super) fn tell_again(&self, out: &mut Vec<Output>) {
        match self {
            EpochRounds::Shares(rounds) => rounds.tell_again(out),
            EpochRounds::Answers(rounds) => rounds.tell_again(out),
        }
    }
}
