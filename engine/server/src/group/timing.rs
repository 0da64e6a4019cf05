//! When a round begins, when it is sealed, and whether one is left out: the same whatever is delivered.

use super::dials::Dials;
use super::words::PeerWords;
use super::{Output, Shape};
use crate::config::RoundMode;
use crate::limits::{LAGGING_PART_MAX, ROUNDS_CAUGHT_UP_MAX};
use crate::roster::Roster;
use fixedbitset::FixedBitSet;
use std::time::Duration;
use twincast_protocol::ids::RoundNumber;
use twincast_protocol::wire::link::{LinkFrame, Present};
use twincast_protocol::wire::{Body, Code, RoundSkipped};

/// What rounds work with beside themselves.
pub(super) struct Circumstances<'a> {
    pub(super) dials: &'a Dials,
    /// Members whom a round in lockstep waits for.
    pub(super) waited_for: &'a FixedBitSet,
    pub(super) words: &'a PeerWords,
    /// The link is up: the other server's words can come.
    pub(super) link_up: bool,
    pub(super) now: Duration,
    /// The server stops: no further round begins.
    pub(super) stopping: bool,
    /// Users of the group who are more than two whole rounds behind.
    pub(super) lagging_users: u32,
}

/// Who has submitted for one round, and since when.
#[derive(Debug)]
pub(super) struct Submitted {
    pub(super) number: RoundNumber,
    pub(super) by: FixedBitSet,
    /// When the first submission came, or the round was opened if that was later: what comes early takes nothing of
    /// the time that the others have.
    pub(super) begun_at: Option<Duration>,
}

impl Submitted {
    pub(super) fn new(number: RoundNumber, members: usize) -> Submitted {
        Submitted { number, by: FixedBitSet::with_capacity(members), begun_at: None }
    }

    pub(super) fn insert(&mut self, sender: usize, now: Duration) {
        self.by.insert(sender);
        self.begun_at.get_or_insert(now);
    }

    /// Of a round that was sealed then and is released now: the time that its submissions took to come, and the time
    /// since its seal.
    pub(super) fn times(&self, sealed_at: Option<Duration>, now: Duration) -> (Duration, Duration) {
        let sealed_at = sealed_at.unwrap_or(now);
        let begun_at = self.begun_at.unwrap_or(sealed_at);
        (sealed_at.saturating_sub(begun_at), now.saturating_sub(sealed_at))
    }
}

/// The pace of an epoch's rounds.
#[derive(Debug)]
pub(super) struct Timing {
    shape: Shape,
    members: usize,
    /// The first round that is not this epoch's.
    end: Option<RoundNumber>,
    /// Too many readers lagged when the last round was sealed: one is left out.
    pub(super) skip: bool,
    /// Rounds before this one are left out: the other server is there already.
    catch_up: RoundNumber,
    /// Timed: when the open round is sealed.
    seal_at: Duration,
    /// Lockstep: members whom the last round has waited for in vain, and those of them to wait for no longer.
    missed: FixedBitSet,
    given_up: Option<FixedBitSet>,
}

impl Timing {
    /// Of an epoch that begins with round `first` now.
    pub(super) fn new(shape: &Shape, roster: &Roster, first: RoundNumber, now: Duration) -> Timing {
        let mut timing = Timing {
            shape: *shape,
            members: roster.members(),
            end: None,
            skip: false,
            catch_up: first,
            seal_at: now,
            missed: FixedBitSet::with_capacity(roster.members()),
            given_up: None,
        };
        // The first round has at least half an interval, so that somebody can submit.
        timing.set_seal_at(now + shape.interval / 2);
        timing
    }

    /// Rounds from this one on are not this epoch's.
    pub(super) fn set_end(&mut self, end: Option<RoundNumber>) {
        self.end = end;
    }

    /// Whether a round is beyond this epoch's last one.
    pub(super) fn is_past_end(&self, round: RoundNumber) -> bool {
        self.end.is_some_and(|end| round >= end)
    }

    /// Leaves out the rounds before this one.
    pub(super) fn catch_up(&mut self, round: RoundNumber) {
        self.catch_up = self.catch_up.max(round);
    }

    /// The round that is to be open soon, without anybody's doing.
    pub(super) fn soon_open(&self, open: RoundNumber) -> RoundNumber {
        open.max(self.catch_up)
    }

    /// Whether the other server has left the open round out, or is past it.
    pub(super) fn is_behind(&self, open: RoundNumber) -> bool {
        open < self.catch_up
    }

    /// The round to pass on to at once: where there is much to catch up with, most of it is not even said.
    pub(super) fn jump_from(&self, next: RoundNumber) -> Option<RoundNumber> {
        let catch_up = self.end.map_or(self.catch_up, |end| self.catch_up.min(end));
        let target = RoundNumber(catch_up.0.saturating_sub(ROUNDS_CAUGHT_UP_MAX));
        (target > next).then_some(target)
    }

    /// Members who missed a round and are not to be waited for until they submit again.
    pub(super) fn take_given_up(&mut self) -> Option<FixedBitSet> {
        self.given_up.take()
    }

    /// Whether what is submitted for this round is for the next one, and not for the open one.
    ///
    /// # Errors
    /// [`Code::EpochNotOpen`], [`Code::RoundSealed`] or [`Code::RoundTooFar`].
    pub(super) fn is_for_next(&self, number: RoundNumber, open: RoundNumber) -> Result<bool, Code> {
        if self.is_past_end(number) {
            Err(Code::EpochNotOpen)
        } else if number < open {
            Err(Code::RoundSealed)
        } else if number <= open.next() {
            Ok(number != open)
        } else {
            Err(Code::RoundTooFar)
        }
    }

    /// Whether the open round has begun here or at the other server, or goes by the clock. Whoever may have signed for it
    /// before is silent in it and goes on with the `next` one: with that it has begun, too, or would never end where
    /// everybody is silent.
    pub(super) fn is_begun(&self, open: &mut Submitted, next: &Submitted, with: &Circumstances<'_>) -> bool {
        if (with.words.has_begun(open.number) || next.begun_at.is_some()) && !with.stopping {
            open.begun_at.get_or_insert(with.now);
        }
        open.begun_at.is_some() || self.shape.round_mode == RoundMode::Timed
    }

    /// Whether the open round, which has begun, is to be sealed now, whoever is missing.
    pub(super) fn is_due(&self, open: &Submitted, with: &Circumstances<'_>) -> bool {
        match self.shape.round_mode {
            RoundMode::Lockstep => {
                let begun = open.begun_at.expect("it has begun");
                with.waited_for.is_subset(&open.by) || with.now >= begun + self.shape.round_timeout
            }
            // Once the other server has sealed it, further submissions would be half ones.
            RoundMode::Timed => {
                let tiles = self.shape.tiles(self.members);
                with.now >= self.seal_at || with.words.is_whole(open.number, tiles)
            }
        }
    }

    /// The open round is due. In lockstep, whoever misses a round is not to be waited for in the next one. Where most
    /// do, the round is to blame, and they are given up if they miss another: else the first to submit would have the
    /// next round alone.
    pub(super) fn note_missed(&mut self, open: &Submitted, waited_for: &FixedBitSet) {
        if self.shape.round_mode != RoundMode::Lockstep {
            return;
        }
        let missed: FixedBitSet = waited_for.difference(&open.by).collect();
        let most = 2 * missed.count_ones(..) > waited_for.count_ones(..);
        let given_up: FixedBitSet =
            if most { missed.intersection(&self.missed).collect() } else { missed.clone() };
        self.given_up = (!given_up.is_clear()).then_some(given_up);
        self.missed = missed;
    }

    /// Timed: the open round is sealed at the next multiple of the interval on the Unix clock.
    pub(super) fn set_seal_at(&mut self, from: Duration) {
        if self.shape.round_mode == RoundMode::Timed {
            let (unix, interval) = (from + self.shape.unix_at_zero, self.shape.interval);
            let past = Duration::from_nanos((unix.as_nanos() % interval.as_nanos()) as u64);
            self.seal_at = from + (interval - past);
        }
    }

    /// A few readers who lag are closed. If many do, it is too fast a pace for this group: nobody is closed, and a
    /// round is to be left out.
    pub(super) fn look_at_readers(&self, lagging_users: u32, out: &mut Vec<Output>) -> bool {
        let many = lagging_users as usize * LAGGING_PART_MAX as usize > self.members;
        if lagging_users > 0 && !many {
            out.push(Output::CloseLagging);
        }
        many
    }

    /// The open round is left out: everybody is told.
    pub(super) fn tell_skipped(
        &mut self,
        roster: &Roster,
        number: RoundNumber,
        with: &Circumstances<'_>,
        out: &mut Vec<Output>,
    ) {
        if with.link_up {
            out.push(present(&self.shape, roster, number, 0, 0, true));
        }
        out.push(Output::Skipped(number));
        out.push(Output::All(number, RoundSkipped { round: number.0.into() }.frame()));
        self.skip = false;
    }
}

/// PRESENT for a tile of the open round, or for all of one that is left out.
pub(super) fn present(
    shape: &Shape,
    roster: &Roster,
    number: RoundNumber,
    tile: usize,
    present: u64,
    skipped: bool,
) -> Output {
    Output::Peer(LinkFrame::Present(Present {
        group: shape.group.0.into(),
        epoch: roster.epoch().0.into(),
        round: number.0.into(),
        present: present.into(),
        tile: (tile as u32).into(),
        skipped: u32::from(skipped).into(),
    }))
}
