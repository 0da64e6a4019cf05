//! An epoch's state on one server: while it comes, and while it runs.

use super::Shape;
use super::accountable::Commitments;
use super::delivery::EpochRounds;
use super::dials::Dials;
use super::parts::PartsPhase;
use super::store::PartsStore;
use crate::roster::Roster;
use fixedbitset::FixedBitSet;
use std::sync::Arc;
use std::time::Duration;
use twincast_protocol::ids::{Epoch, RoundNumber};
use twincast_protocol::wire::link::Change;

/// Keeps how far a group's epochs have come, so that what was signed by an epoch's number is signed once, even where the
/// server starts again.
pub trait EpochKeeper: std::fmt::Debug {
    /// No later start of the group begins with this epoch or one before it, once this has returned true. False: that cannot
    /// be kept, and the epoch must not begin.
    fn keep(&mut self, epoch: Epoch) -> bool;
}

/// How far an epoch that comes has got.
#[derive(Debug)]
pub(super) enum Stage {
    /// Session keys come in. The deadline is that of an epoch before which none runs; it is there once somebody is.
    Dialling { deadline: Option<Duration> },
    /// S1 takes no further dial, and waits for S2 to say the same.
    Closing { deadline: Duration },
    /// Both know which dials are effective. The epoch before is to end.
    Closed { since: Duration },
    /// Parts are pulled and delivered.
    Parts(PartsPhase),
}

/// An epoch that comes.
#[derive(Debug)]
pub(super) struct Coming {
    /// No other one of the group has it: an epoch that is dialled anew may have the number and not the members.
    pub(super) serial: u64,
    pub(super) roster: Arc<Roster>,
    pub(super) first: RoundNumber,
    /// What was agreed, to say it again.
    pub(super) change: Change,
    /// S2: what S1 proposed.
    pub(super) asked: Option<Change>,
    /// S1: since when the change is proposed once more, over a new link. S2 may have given it up.
    pub(super) unanswered: Option<Duration>,
    pub(super) dials: Dials,
    pub(super) store: PartsStore,
    /// In an accountable group.
    pub(super) commitments: Option<Commitments>,
    /// Members that are attached.
    pub(super) attached: FixedBitSet,
    /// DIAL frames of each member, over whichever connections.
    pub(super) dial_frames: Vec<u64>,
    /// Since when it is dialled.
    pub(super) announced: Duration,
    /// Since when all parts are delivered.
    pub(super) delivered: Option<Duration>,
    pub(super) stage: Stage,
}

impl Coming {
    pub(super) fn new(shape: &Shape, serial: u64, roster: Arc<Roster>, change: Change) -> Coming {
        let members = roster.members();
        let dials = if shape.chooses_per_round() {
            Dials::of_attendance(members, shape.linked)
        } else if let Some(queries) = shape.queries(members) {
            Dials::of_queries(&queries, members, shape.slots, shape.linked)
        } else {
            Dials::new(members, shape.slots, shape.linked)
        };
        Coming {
            serial,
            first: change.first_round,
            change,
            asked: None,
            unanswered: None,
            dials,
            store: PartsStore::new(shape, &roster),
            commitments: None,
            attached: FixedBitSet::with_capacity(members),
            dial_frames: vec![0; members],
            announced: Duration::ZERO,
            delivered: None,
            roster,
            stage: Stage::Dialling { deadline: None },
        }
    }

    /// Whether the servers have begun to settle which dials are effective: no way back to the epoch before.
    pub(super) fn is_settled(&self) -> bool {
        !matches!(self.stage, Stage::Dialling { .. })
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.roster.epoch()
    }
}

/// An epoch that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) roster: Arc<Roster>,
    pub(super) dials: Dials,
    pub(super) store: PartsStore,
    /// In an accountable group.
    pub(super) commitments: Option<Commitments>,
    /// Members whom a round in lockstep waits for: attached since before the epoch opened, or since then and have
    /// submitted; and all slots dialled. Whoever missed a round until its time limit is not waited for until it
    /// submits again: one who is silent costs the others one round's time, and not that of every round.
    pub(super) waited_for: FixedBitSet,
    pub(super) rounds: EpochRounds,
    /// The round with which the next epoch is to begin, where this server decides.
    pub(super) planned: Option<RoundNumber>,
    /// When the last round was released.
    pub(super) ended_at: Option<Duration>,
}

impl Running {
    pub(super) fn epoch(&self) -> Epoch {
        self.roster.epoch()
    }
}
