//! What the other server says, and how the two find together again over a new link.
//!
//! A link is whole or gone: frames on it come in order and none is lost. So the two can only come apart while it is
//! down, or where one gave up waiting. Then they are in different epochs, which shows as soon as a new link compares
//! where they stand; a frame that makes no sense here is answered by closing the link, which makes a new one.

use super::epoch::Stage;
use super::{Group, Output, Shape};
use crate::config::Delivery;
use crate::limits::{EPOCH_MAX, EPOCHS_AHEAD_MAX, MEMBERS_MIN, ROUNDS_APART_MAX};
use std::time::Duration;
use twincast_protocol::ids::{Epoch, RoundNumber, ServerSide};
use twincast_protocol::wire::Code;
use twincast_protocol::wire::link::{Change, HELD_ENTRIES_MAX, HeldDial, LinkFrame, LinkGroup, Present};

/// How this server and the other one are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// There is no other server.
    Alone,
    /// Not now.
    Down { since: Duration },
    /// Connected.
    Up,
    /// The other server has other settings for the group, or does not serve it: nobody is served here either.
    Refused,
}

/// Rounds beyond this, as epochs beyond [`EPOCH_MAX`], are nothing that two servers came to by counting.
const ROUND_MAX: u64 = 1 << 62;

/// The epoch after one, if counting can come to it.
pub(super) fn epoch_after(epoch: Epoch) -> Option<Epoch> {
    epoch.0.checked_add(1).filter(|next| *next <= EPOCH_MAX).map(Epoch)
}

/// The latest round with which an epoch that is agreed on may begin, where this one is open here or was asked for.
fn first_round_max(shape: &Shape, round: RoundNumber) -> RoundNumber {
    RoundNumber(round.0.saturating_add(shape.epoch_rounds + ROUNDS_APART_MAX).min(ROUND_MAX))
}

impl Group {
    /// How the group stands here, for LINK_HELLO. To be asked for each new link: what was said last is what the
    /// other server compares with.
    #[must_use]
    pub fn standing(&self) -> LinkGroup {
        let settled = self.coming.as_ref().filter(|coming| coming.is_settled());
        let (roster, open, round) = match (settled, &self.running, &self.coming) {
            (None, Some(running), _) => (&running.roster, 1, running.rounds.open().0),
            // Where dialling is settled nothing leads back to the epoch before. The round before its first one
            // is the last that may have been used.
            (Some(coming), ..) | (None, None, Some(coming)) => (&coming.roster, 0, coming.first.0 - 1),
            (None, None, None) => unreachable!("an epoch runs or comes"),
        };
        let standing = LinkGroup {
            group: self.shape.group.0.into(),
            epoch: roster.epoch().0.into(),
            open,
            reserved: [0; 7],
            round: round.into(),
            settings_hash: self.shape.settings_hash,
            roster_hash: *roster.hash(),
        };
        self.told.set(Some(standing));
        standing
    }

    /// A new link stands. `theirs`: how the group stands at the other server, none where it does not serve it.
    ///
    /// # Errors
    /// [`Code::EpochMismatch`]: it says an epoch or a round that nobody comes to by counting. Nothing has changed
    /// here, and the link is to be closed.
    pub fn link_up(
        &mut self,
        theirs: Option<&LinkGroup>,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Result<(), Code> {
        if !self.shape.linked || self.halted {
            return Ok(());
        }
        let mine = self.told.take().unwrap_or_else(|| self.standing());
        // Of an accountable group no epoch may come again, and after a start they begin with the clock.
        let clock = (self.shape.unix_at_zero + now).as_secs().min(EPOCH_MAX.into()) as u32;
        let newest = clock.max(self.shape.first_epoch().0).saturating_add(EPOCHS_AHEAD_MAX);
        let epoch_max = if self.shape.accountable { newest.min(EPOCH_MAX) } else { EPOCH_MAX };
        let counted = |theirs: &LinkGroup| {
            theirs.epoch.get() <= epoch_max
                && theirs.round.get() <= ROUND_MAX
                // One that is to be given up has one after it.
                && (theirs.epoch == mine.epoch || epoch_after(Epoch(theirs.epoch.get())).is_some())
        };
        if theirs.is_some_and(|theirs| theirs.settings_hash == self.shape.settings_hash && !counted(theirs)) {
            return Err(Code::EpochMismatch);
        }
        let Some(theirs) = theirs.filter(|theirs| {
            let same_epoch = theirs.epoch == mine.epoch;
            let same_members = theirs.roster_hash == mine.roster_hash;
            theirs.settings_hash == self.shape.settings_hash && (!same_epoch || same_members)
        }) else {
            self.refuse_everybody(Code::SettingsDiffer, out);
            return Ok(());
        };
        let epoch = Epoch(mine.epoch.get().max(theirs.epoch.get()));
        let round = RoundNumber(mine.round.get().max(theirs.round.get()));
        let dialling = self.coming.as_ref().is_some_and(|coming| !coming.is_settled());
        if theirs.epoch != mine.epoch {
            let next = epoch_after(epoch).ok_or(Code::EpochMismatch)?;
            self.link = Link::Up;
            self.reset(next, round.next(), now, out);
            if self.halted {
                return Ok(());
            }
        } else if mine.open == 0 && theirs.open == 1 && dialling {
            // It opened the epoch with a server that has lost its state since.
            let next = epoch_after(epoch).ok_or(Code::EpochMismatch)?;
            self.link = Link::Up;
            self.fall_apart(next, round, now, out);
        } else {
            self.link = Link::Up;
            if let Some(running) = &mut self.running
                && theirs.open == 1
                && running.epoch().0 == theirs.epoch.get()
            {
                running.rounds.catch_up(RoundNumber(theirs.round.get()));
                let soon = running.rounds.soon_open();
                if running.planned.is_some_and(|planned| planned <= soon) {
                    running.planned = Some(RoundNumber(soon.0 + self.shape.epoch_rounds));
                }
            }
            self.say_again(now, out);
        }
        self.advance(now, out);
        Ok(())
    }

    /// The link is gone.
    pub fn link_down(&mut self, now: Duration, out: &mut Vec<Output>) {
        if self.link == Link::Up {
            self.link = Link::Down { since: now };
        }
        self.advance(now, out);
    }

    /// A frame of the other server.
    ///
    /// # Errors
    /// What it must not say, or says of an epoch that is not here: the link is to be closed, and a new one to be
    /// made, so that both see where they stand.
    pub fn peer(&mut self, frame: LinkFrame, now: Duration, out: &mut Vec<Output>) -> Result<(), Code> {
        if frame.group().is_some_and(|group| group != self.shape.group) {
            return Err(Code::GroupUnknown);
        }
        if self.link != Link::Up {
            return Ok(());
        }
        let side = self.shape.side;
        match frame {
            LinkFrame::Propose(change) if side == ServerSide::Two => self.proposed(change, now, out)?,
            LinkFrame::Agree(change) if side == ServerSide::One => self.agreed(change, now, out)?,
            LinkFrame::Held(_, epoch, dials) => self.held(epoch, &dials, now, out)?,
            LinkFrame::Close(_, epoch) => self.closed(epoch, now, out)?,
            LinkFrame::Present(present) => self.present(&present)?,
            LinkFrame::TileHash(tile, _)
            | LinkFrame::Digests(tile, _)
            | LinkFrame::Shown(tile, _)
            | LinkFrame::Absences(tile, _) => self.peer_tile(&tile, frame, now, out)?,
            LinkFrame::Hello(..)
            | LinkFrame::Propose(_)
            | LinkFrame::Agree(_)
            // An account is no group's.
            | LinkFrame::KeySigned(_) => {
                return Err(Code::KindUnknown);
            }
        }
        self.advance(now, out);
        Ok(())
    }

    /// Whoever is there goes, and nobody comes.
    pub(super) fn refuse_everybody(&mut self, code: Code, out: &mut Vec<Output>) {
        self.link = Link::Refused;
        let connections: Vec<_> = self.seats.iter().map(|(connection, _)| connection).collect();
        for connection in connections {
            self.stand_up(connection);
            out.push(Output::Close(connection, code));
        }
    }

    /// The two are in the same epoch by number alone. It is given up here, and a frame that is nonsense to the other
    /// server makes it close the link: the next one shows both that they are apart.
    fn fall_apart(&mut self, next: Epoch, round: RoundNumber, now: Duration, out: &mut Vec<Output>) {
        self.reset(next, round.next(), now, out);
        if self.halted {
            return;
        }
        out.push(Output::Peer(LinkFrame::Close(self.shape.group, next)));
    }

    /// What was said over the last link and may not have come.
    fn say_again(&mut self, now: Duration, out: &mut Vec<Output>) {
        if let Some(running) = &self.running {
            running.rounds.tell_again(out);
        }
        let leads = self.leads();
        if let Some(change) = &self.proposed {
            out.push(Output::Peer(LinkFrame::Propose(change.clone())));
        }
        let Some(coming) = &mut self.coming else { return };
        if matches!(coming.stage, Stage::Closed { .. } | Stage::Parts(_)) {
            return;
        }
        if leads && self.running.is_some() && !coming.is_settled() {
            out.push(Output::Peer(LinkFrame::Propose(coming.change.clone())));
            coming.unanswered = Some(now);
        }
        coming.dials.forget_peer();
        coming.dials.report_all();
        let closing = match &mut coming.stage {
            Stage::Closing { deadline } => {
                *deadline = now + self.shape.peer_timeout;
                Some(coming.epoch())
            }
            _ => None,
        };
        self.report_dials(out);
        if let Some(epoch) = closing {
            out.push(Output::Peer(LinkFrame::Close(self.shape.group, epoch)));
        }
    }

    /// S2: an epoch that S1 proposes.
    fn proposed(&mut self, change: Change, now: Duration, out: &mut Vec<Output>) -> Result<(), Code> {
        let Some(running) = &self.running else {
            // It is for the epoch after the one that is on its way here.
            let coming = self.coming.as_ref().filter(|coming| coming.is_settled());
            let coming = coming.ok_or(Code::EpochMismatch)?;
            if Some(change.epoch) != epoch_after(coming.epoch()) {
                return Err(Code::EpochMismatch);
            }
            self.early = Some(change);
            return Ok(());
        };
        let epoch = running.epoch().0;
        let settled = self.coming.as_ref().is_some_and(|coming| coming.is_settled());
        match change.epoch.0.checked_sub(epoch) {
            None | Some(0) => Ok(()),
            Some(1) if !settled => self.answer_proposal(change, now, out),
            Some(2) if settled => {
                self.early = Some(change);
                Ok(())
            }
            Some(_) => Err(Code::EpochMismatch),
        }
    }

    /// S2: answers a proposal for the epoch after the running one, and announces what it agrees to.
    pub(super) fn answer_proposal(
        &mut self,
        change: Change,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Result<(), Code> {
        let running = self.running.as_ref().ok_or(Code::EpochMismatch)?;
        let (roster, soon) = (running.roster.clone(), running.rounds.soon_open());
        let is_member = |user| roster.index_of(user).is_some();
        let known = change.leaves.iter().all(|user| is_member(*user));
        let new = !change.joins.iter().any(|user| is_member(*user));
        if !known || !new || Some(change.epoch) != epoch_after(roster.epoch()) {
            return Err(Code::EpochMismatch);
        }
        if change.first_round > first_round_max(&self.shape, soon) {
            return Err(Code::EpochMismatch);
        }
        if !self.keeps(change.epoch) {
            // S1 goes on with the epoch that runs when no answer comes.
            return Ok(());
        }
        if let Some(coming) = &mut self.coming {
            if coming.asked.as_ref() == Some(&change) || coming.change == change {
                // Said again over a new link. S1 may not have known what the dials were for that it was told of.
                out.push(Output::Peer(LinkFrame::Agree(coming.change.clone())));
                coming.dials.report_all();
                self.report_dials(out);
                return Ok(());
            }
            self.drop_coming(out);
        }
        let open = self.running.as_ref().map_or(0, |running| running.rounds.open().0);
        let asked =
            |user| change.joins.binary_search(&user).is_ok() || change.leaves.binary_search(&user).is_ok();
        let (joins, leaves) = self.change_of(&roster, asked);
        // The open round and the next one may have submissions here.
        let first_round = RoundNumber(change.first_round.0.max(open + 2));
        let agreed = Change { first_round, joins, leaves, ..change.clone() };
        out.push(Output::Peer(LinkFrame::Agree(agreed.clone())));
        self.announce(agreed, now, out);
        if let Some(coming) = &mut self.coming {
            coming.asked = Some(change);
        }
        Ok(())
    }

    /// S1: what S2 agrees to.
    fn agreed(&mut self, change: Change, now: Duration, out: &mut Vec<Output>) -> Result<(), Code> {
        let Some(running) = &mut self.running else {
            let coming = self.coming.as_ref().map_or(self.shape.first_epoch(), |coming| coming.epoch());
            return if change.epoch <= coming { Ok(()) } else { Err(Code::EpochMismatch) };
        };
        let epoch = running.epoch().0;
        match change.epoch.0.checked_sub(epoch) {
            None | Some(0) => return Ok(()),
            Some(1) => {}
            Some(_) => return Err(Code::EpochMismatch),
        }
        let soon = running.rounds.soon_open();
        let within = |asked: &Change| {
            let first_round_max = first_round_max(&self.shape, soon.max(asked.first_round));
            let part = |some: &[_], all: &[_]| some.iter().all(|user| all.binary_search(user).is_ok());
            part(&change.joins, &asked.joins)
                && part(&change.leaves, &asked.leaves)
                && (asked.first_round..=first_round_max).contains(&change.first_round)
        };
        let after = running.roster.members() + change.joins.len();
        let after = after.checked_sub(change.leaves.len()).ok_or(Code::EpochMismatch)?;
        let possible = after <= self.shape.members_max
            && after >= MEMBERS_MIN as usize
            && self.shape.format.check_members(after as u32).is_ok();
        match (&mut self.coming, &self.proposed) {
            (Some(coming), _) if coming.change == change => {
                coming.unanswered = None;
                return Ok(());
            }
            (Some(coming), _) if coming.is_settled() || !possible || !within(&coming.change) => {
                return Err(Code::EpochMismatch);
            }
            // S2 had given up what both had announced: announced anew, and dialled anew.
            (Some(_), _) => self.drop_coming(out),
            (None, Some(proposed)) if !possible || !within(proposed) => return Err(Code::EpochMismatch),
            (None, Some(_)) => {}
            (None, None) => {
                // Too late: the epoch goes on here. S2 is told by a proposal that replaces what it agreed to.
                running.planned = running.planned.map(|_| running.rounds.open());
                return Ok(());
            }
        }
        self.announce(change, now, out);
        Ok(())
    }

    /// Dials that the other server has.
    fn held(
        &mut self,
        epoch: Epoch,
        dials: &[HeldDial],
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Result<(), Code> {
        let settled = match (&self.coming, &self.running) {
            (Some(coming), _) if coming.epoch() == epoch => {
                matches!(coming.stage, Stage::Closed { .. } | Stage::Parts(_)).then_some(&coming.dials)
            }
            (_, Some(running)) if running.epoch() == epoch => Some(&running.dials),
            _ => return self.check_old(epoch),
        };
        if let Some(settled) = settled {
            if dials.iter().all(|held| settled.peer_had(held)) {
                // Said again over a new link.
                return Ok(());
            }
            // It has lost its state since, and dials this epoch anew.
            let round = self.running.as_ref().map(|running| running.rounds.open());
            let round = round.max(self.coming.as_ref().map(|coming| coming.first));
            let next = epoch_after(epoch).ok_or(Code::EpochMismatch)?;
            self.fall_apart(next, round.unwrap_or(RoundNumber::FIRST), now, out);
            return Err(Code::EpochMismatch);
        }
        let coming = self.coming.as_mut().expect("it is dialled");
        let settled = dials.iter().map(|held| coming.dials.peer_has(held));
        let effective: Vec<_> = settled.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        if let Stage::Dialling { deadline: deadline @ None } = &mut coming.stage
            && self.running.is_none()
        {
            *deadline = Some(now + self.shape.dial_timeout);
        }
        for dial in effective {
            self.confirm_dial(dial, out);
        }
        Ok(())
    }

    /// The other server takes no further dial.
    fn closed(&mut self, epoch: Epoch, now: Duration, out: &mut Vec<Output>) -> Result<(), Code> {
        let leads = self.leads();
        let group = self.shape.group;
        let say_all = |dials: &mut super::dials::Dials, out: &mut Vec<Output>| {
            dials.report_all();
            for held in dials.take_unreported().chunks(HELD_ENTRIES_MAX) {
                out.push(Output::Peer(LinkFrame::Held(group, epoch, held.to_vec())));
            }
            out.push(Output::Peer(LinkFrame::Close(group, epoch)));
        };
        if let Some(coming) = self.coming.as_mut().filter(|coming| coming.epoch() == epoch) {
            match (&coming.stage, leads) {
                (Stage::Dialling { .. }, false) => {
                    self.report_dials(out);
                    out.push(Output::Peer(LinkFrame::Close(group, epoch)));
                    self.close_dialling(now, out);
                }
                (Stage::Closing { .. }, true) => self.close_dialling(now, out),
                (Stage::Dialling { .. }, true) => return Err(Code::EpochMismatch),
                // S1 asks again over a new link: it has not heard the answer.
                (_, false) => say_all(&mut coming.dials, out),
                (_, true) => {}
            }
            return Ok(());
        }
        if let Some(running) = self.running.as_mut().filter(|running| running.epoch() == epoch) {
            if !leads {
                say_all(&mut running.dials, out);
            }
            return Ok(());
        }
        let newest = self.newest();
        if epoch < newest { Ok(()) } else { Err(Code::EpochMismatch) }
    }

    /// Who is present in a tile at the other server, or that a round is left out there.
    fn present(&mut self, present: &Present) -> Result<(), Code> {
        let (epoch, round) = (Epoch(present.epoch.get()), RoundNumber(present.round.get()));
        let skipped = present.skipped.get() == 1;
        if !skipped && self.shape.delivery == Delivery::Answer {
            return Err(Code::KindUnknown);
        }
        let tile = present.tile.get();
        let Some((first, _)) = self.place_of(epoch, round, tile as usize)? else { return Ok(()) };
        if skipped {
            self.words.put_skipped(first, round);
        } else {
            self.words.put(first, round, tile, present.present.get());
        }
        Ok(())
    }

    /// The oldest round that a frame about a tile of a round may be about, and the members of its epoch. None: it is
    /// about a round that is over, or that will not be.
    pub(super) fn place_of(
        &self,
        epoch: Epoch,
        round: RoundNumber,
        tile: usize,
    ) -> Result<Option<(RoundNumber, usize)>, Code> {
        if round.0 > ROUND_MAX {
            return Err(Code::RoundTooFar);
        }
        let running = self.running.as_ref().filter(|running| running.epoch() == epoch);
        let coming = self.coming.as_ref().filter(|coming| coming.epoch() == epoch);
        let (roster, first) = match (running, coming) {
            (Some(running), _) => (&running.roster, running.rounds.open()),
            (None, Some(coming)) => (&coming.roster, coming.first),
            (None, None) => return if epoch < self.newest() { Ok(None) } else { Err(Code::EpochMismatch) },
        };
        if tile >= self.shape.tiles(roster.members()) {
            return Err(Code::LengthWrong);
        }
        let after = coming.is_none().then(|| self.coming.as_ref().map(|coming| coming.first)).flatten();
        let is_over = round < first || after.is_some_and(|end| round >= end);
        Ok((!is_over).then_some((first, roster.members())))
    }

    /// A frame about an epoch that does not come here: it is an old one, or was given up, or the two are apart.
    fn check_old(&self, epoch: Epoch) -> Result<(), Code> {
        let given_up = self.running.as_ref().and_then(|running| epoch_after(running.epoch()));
        if epoch < self.newest() || given_up == Some(epoch) { Ok(()) } else { Err(Code::EpochMismatch) }
    }

    /// The newest epoch here.
    fn newest(&self) -> Epoch {
        self.coming.as_ref().map_or_else(|| self.epoch(), |coming| coming.epoch())
    }
}
