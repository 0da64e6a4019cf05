//! Accountable groups: what a client signs, and how it finds out who altered what it was given.
//!
//! A sender signs its dials ([`commitment`]) and its uploads. A server signs at the end of each round what it gave each
//! user ([`round_ends`]). Cells that do not decode are kept ([`doubts`]), and nothing is said of them but the alarm, which
//! comes as in any other group. Each member asks both servers for the headers of one tile at its turn, whether it has
//! doubts or not ([`turns`]): of a tile that it has doubts about, else of any. What comes is checked, and what is wrong
//! becomes evidence ([`showing`]).
//!
//! Who fetches when is told by the round and the member's index alone; which tile, by what did not decode and by chance.
//! Neither depends on whom anybody writes to: a cell that a server swapped, or a sender spoilt, does not decode for those
//! whom it is for and for those whom it is not.

pub(crate) mod commitment;
mod doubts;
mod frames;
mod round_ends;
mod showing;
mod turns;

pub(crate) use frames::SignedFrames;

use crate::observer::{Tile, User};
use crate::session::Session;
use doubts::Doubts;
use rand::rngs::StdRng;
use rand::{CryptoRng, SeedableRng};
use round_ends::{RoundEnds, Word};
use std::collections::VecDeque;
use turns::{Asked, Turn};
use twincast_protocol::ids::{Epoch, RoundNumber, UserId};
use twincast_protocol::statements::Hash;

/// Epochs whose rounds may be asked about.
const EPOCHS_KEPT: usize = 2;

/// What a client keeps in an accountable group.
#[derive(Default)]
pub(crate) struct Accounts {
    ends: RoundEnds,
    doubts: Doubts,
    /// Turns that have come, and whose headers are not asked for yet.
    turns: VecDeque<Turn>,
    /// Headers that were asked for, and are not there from both servers.
    asked: VecDeque<Asked>,
    /// The epoch that runs, and the one before it: members whose rounds may be asked about.
    epochs: VecDeque<Facts>,
    /// Answers of each server that are still to come, and that nobody waits for any more.
    stale: [u32; 2],
    /// Draws the coefficients of batch verification: they are no secret, but no server may foresee them.
    coefficients: Option<StdRng>,
}

/// What has to be known of an epoch once it is over.
struct Facts {
    epoch: Epoch,
    roster: Box<[UserId]>,
    hash: Hash,
    /// The client's users who were members of it.
    users: Box<[User]>,
}

impl Accounts {
    /// Remembers the epoch that runs.
    fn remember(&mut self, session: &Session) {
        if self.epochs.iter().any(|facts| facts.epoch == session.epoch) {
            return;
        }
        let users = session.users.clone().into();
        self.epochs.push_back(Facts {
            epoch: session.epoch,
            roster: session.roster.clone(),
            hash: session.hash,
            users,
        });
        if self.epochs.len() > EPOCHS_KEPT {
            self.epochs.pop_front();
        }
    }

    /// What the servers signed for a user at the end of a round.
    fn words(&self, epoch: Epoch, round: RoundNumber, user: UserId) -> [Option<Word>; 2] {
        let facts = self.epochs.iter().find(|facts| facts.epoch == epoch);
        let position = facts.and_then(|facts| facts.users.iter().position(|own| own.id == user));
        position.map_or([None, None], |position| self.ends.words(epoch, round, position))
    }

    /// Keeps what did not decode of a tile for a user.
    pub(crate) fn doubt(&mut self, tile: &Tile, user: User, tampered: u64, cells: [&[u8]; 2]) {
        self.doubts.keep(tile, user, tampered, cells);
    }

    /// Seeds what verifies, once.
    pub(crate) fn seed(&mut self, rng: &mut impl CryptoRng) {
        self.coefficients.get_or_insert_with(|| StdRng::from_rng(rng));
    }

    /// The connections are new: what was asked for on the old ones does not come. Doubts wait for another turn.
    pub(crate) fn reconnect(&mut self) {
        for asked in self.asked.drain(..) {
            self.doubts.take_back(asked.doubt);
        }
        self.turns.clear();
        self.stale = [0; 2];
    }
}
