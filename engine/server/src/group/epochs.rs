//! When an epoch is announced, closed, opened or given up.

use super::accountable::Past;
use super::delivery::{Buffers, EpochRounds};
use super::epoch::{Coming, Running, Stage};
use super::greeting::{announcement, roster_frames};
use super::membership::fit;
use super::parts::{Given, PartsPhase};
use super::peer::{Link, epoch_after};
use super::timing::Circumstances;
use super::{Counted, Group, Output, commitments, connection_of};
use crate::answer::Work;
use crate::config::Delivery;
use crate::roster::Roster;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use twincast_protocol::ids::{Epoch, RoundNumber, ServerSide, UserId};
use twincast_protocol::wire::link::{Change, HELD_ENTRIES_MAX, LinkFrame};
use twincast_protocol::wire::{Body, Code, EpochOpen};

impl Group {
    /// Whether this server decides when epochs change: S1, and whoever runs alone.
    pub(super) fn leads(&self) -> bool {
        !self.shape.linked || self.shape.side == ServerSide::One
    }

    /// Does everything that is due.
    pub(super) fn advance(&mut self, now: Duration, out: &mut Vec<Output>) {
        loop {
            let round_ended = self.advance_rounds(now, out);
            if self.stopping {
                // The open round is finished, and no further one begins.
                return;
            }
            let planned = self.plan(now, out);
            let came_on = self.advance_coming(now, out);
            if !round_ended && !planned && !came_on {
                return;
            }
        }
    }

    /// Seals and releases; one round at the most, since the epoch may end after it.
    fn advance_rounds(&mut self, now: Duration, out: &mut Vec<Output>) -> bool {
        let Some(running) = &mut self.running else { return false };
        let coming = self.coming.as_ref().map(|coming| coming.first);
        let proposed = self.proposed.as_ref().map(|change| change.first_round);
        running.rounds.set_end(coming.or(proposed).or(running.planned));
        let with = Circumstances {
            dials: &running.dials,
            waited_for: &running.waited_for,
            words: &self.words,
            link_up: self.link == Link::Up,
            now,
            stopping: self.stopping,
            lagging_users: self.lagging_users,
        };
        let mut ended = running.rounds.advance(&with, out);
        self.words.forget_before(running.rounds.open());
        if let Some(given_up) = running.rounds.take_given_up() {
            running.waited_for.difference_with(&given_up);
        }
        if running.rounds.at_end() {
            running.ended_at.get_or_insert(now);
        } else {
            running.ended_at = None;
        }
        ended |= self.refuse_uploads(out);
        self.forget_past();
        ended
    }

    /// Announces or proposes the next epoch when it is time. Returns whether anything changed.
    fn plan(&mut self, now: Duration, out: &mut Vec<Output>) -> bool {
        let Some(running) = &mut self.running else { return false };
        let Some(planned) = running.planned else { return false };
        if self.coming.is_some() {
            return false;
        }
        let open = running.rounds.open();
        let later = RoundNumber(running.rounds.soon_open().0 + self.shape.epoch_rounds);
        if let Some(proposed) = &self.proposed {
            let over = running.ended_at.is_some_and(|ended| now >= ended + self.shape.peer_timeout);
            if open < proposed.first_round || (!over && self.link == Link::Up) {
                return false;
            }
            // S2 does not answer: the epoch goes on.
            self.proposed = None;
            running.planned = Some(later);
            out.push(Output::Count(Counted::EpochsGivenUp, 1));
            out.push(all(Code::PeerAbsent));
            return true;
        }
        if open.0 + self.shape.announce_rounds < planned.0 {
            return false;
        }
        if !matches!(self.link, Link::Up | Link::Alone) {
            if open >= planned {
                running.planned = Some(later);
                out.push(Output::Count(Counted::EpochsGivenUp, 1));
                out.push(all(Code::PeerAbsent));
                return true;
            }
            return false;
        }
        let Some(epoch) = epoch_after(running.epoch()) else { return false };
        if !self.keeps(epoch) {
            let running = self.running.as_mut().expect("it runs");
            running.planned = Some(later);
            out.push(Output::Count(Counted::EpochsGivenUp, 1));
            out.push(all(Code::EpochGivenUp));
            return true;
        }
        let Some(running) = &self.running else { return false };
        // The open round and the next one may have submissions.
        let first_round = RoundNumber(planned.0.max(open.0 + 2));
        let roster = running.roster.clone();
        let (joins, leaves) = self.change_of(&roster, |_| true);
        let change = Change { group: self.shape.group, epoch, first_round, joins, leaves };
        if self.link == Link::Up {
            out.push(Output::Peer(LinkFrame::Propose(change.clone())));
            self.proposed = Some(change);
        } else {
            self.announce(change, now, out);
        }
        true
    }

    /// Who joins and leaves of those who asked and for whom `also` holds, as far as the group can be so many.
    pub(super) fn change_of(
        &self,
        base: &Roster,
        also: impl Fn(UserId) -> bool,
    ) -> (Vec<UserId>, Vec<UserId>) {
        let is_member = |user: UserId| base.index_of(user).is_some();
        let joins = self.seats.joins.iter().copied().filter(|&user| also(user) && !is_member(user));
        let leaves = self.seats.leaves.iter().copied().filter(|&user| also(user) && is_member(user));
        let (joins, leaves) = (joins.collect(), leaves.collect());
        fit(base.members(), self.shape.members_max, &self.shape.format, joins, leaves)
    }

    /// The next epoch is agreed: everybody is told, and it is dialled from now on.
    pub(super) fn announce(&mut self, change: Change, now: Duration, out: &mut Vec<Output>) {
        let base = self.roster().clone();
        let mut ids: BTreeSet<UserId> = base.ids().iter().copied().collect();
        ids.extend(&change.joins);
        for user in &change.leaves {
            ids.remove(user);
            self.seats.leaves.remove(user);
        }
        for user in &change.joins {
            self.seats.joins.remove(user);
        }
        self.proposed = None;
        out.push(Output::Count(Counted::Joined, change.joins.len() as u32));
        out.push(Output::Count(Counted::Left, change.leaves.len() as u32));
        let roster = Roster::new(self.shape.group, change.epoch, ids.into_iter().collect());
        self.begin_dialling(roster, change, now, out);
    }

    fn new_coming(&mut self, roster: Arc<Roster>, change: Change, now: Duration) -> Coming {
        self.serial += 1;
        let commitments = commitments(self.accounting.as_ref(), &self.shape, &roster);
        Coming { announced: now, commitments, ..Coming::new(&self.shape, self.serial, roster, change) }
    }

    /// Whether an epoch may begin, as far as its number has to be kept.
    pub(super) fn keeps(&mut self, epoch: Epoch) -> bool {
        self.epoch_keeper.as_mut().is_none_or(|keeper| keeper.keep(epoch))
    }

    fn begin_dialling(&mut self, roster: Arc<Roster>, change: Change, now: Duration, out: &mut Vec<Output>) {
        if !self.keeps(roster.epoch()) {
            // There is no way back to the epoch before. What comes stands for what would have, and is never dialled.
            self.stop();
            self.halted = true;
            self.refuse_everybody(Code::ShuttingDown, out);
        }
        let mut coming = self.new_coming(roster, change, now);
        for (_, seat) in self.seats.iter() {
            for index in coming.roster.indices(&seat.users) {
                coming.attached.insert(index.0 as usize);
                if self.shape.chooses_per_round() {
                    coming.dials.attend(index.0 as usize);
                }
            }
        }
        if self.running.is_none() && !self.seats.is_empty() {
            coming.stage = Stage::Dialling { deadline: Some(now + self.shape.dial_timeout) };
        }
        self.seats.forget_dials();
        out.push(Output::All(RoundNumber::DIAL, announcement(&coming).frame()));
        out.push(Output::All(RoundNumber::DIAL, roster_frames(&coming.roster)));
        self.coming = Some(coming);
    }

    /// Moves the epoch that comes through its stages. Returns whether it got on.
    fn advance_coming(&mut self, now: Duration, out: &mut Vec<Output>) -> bool {
        let leads = self.leads();
        let Some(coming) = &mut self.coming else { return false };
        let ended_at = self.running.as_ref().map(|running| running.ended_at);
        match &mut coming.stage {
            Stage::Dialling { deadline } => {
                let deadline = *deadline;
                match ended_at {
                    None => self.dial_first(deadline, leads, now, out),
                    Some(Some(ended)) => self.dial_next(ended, leads, now, out),
                    // Rounds go on.
                    Some(None) => false,
                }
            }
            Stage::Closing { deadline } => {
                if now < *deadline {
                    return false;
                }
                // S2 may have closed, and may open the epoch: who gives it up must not take up its number again.
                out.push(all(Code::PeerAbsent));
                if self.running.is_some() {
                    self.give_up(out);
                } else {
                    let (epoch, first) = (coming.epoch(), coming.first);
                    self.reset(epoch_after(epoch).unwrap_or(epoch), first, now, out);
                }
                true
            }
            Stage::Closed { since } => {
                let since = *since;
                if let Some(running) = &mut self.running
                    && !running.rounds.at_end()
                {
                    // S1 has ended the old epoch. What is left of it here is left out after a while.
                    if now < since + self.shape.round_timeout + self.shape.peer_timeout {
                        return false;
                    }
                    running.rounds.catch_up(coming.first);
                    return self.advance_rounds(now, out);
                }
                coming.stage = Stage::Parts(PartsPhase::new(&self.shape, &coming.roster));
                true
            }
            Stage::Parts(phase) => {
                let mut given = Given {
                    dials: &coming.dials,
                    store: &mut coming.store,
                    kept: &mut self.kept,
                    attached: &coming.attached,
                };
                phase.advance(&mut given, now, out);
                if !phase.is_done() {
                    return false;
                }
                // Just after a start the other server may still be signing users' keys.
                let patience = *coming.delivered.get_or_insert(now) + self.shape.peer_timeout;
                if let Some(commitments) = &mut coming.commitments
                    && now < patience
                    && !commitments.are_all_uploading(&coming.roster)
                {
                    return false;
                }
                self.open_epoch(now, out);
                true
            }
        }
    }

    /// Dialling of an epoch before which none runs: until everybody has dialled, or the time is over.
    fn dial_first(
        &mut self,
        deadline: Option<Duration>,
        leads: bool,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> bool {
        let coming = self.coming.as_mut().expect("it is dialled");
        let Some(deadline) = deadline else { return false };
        let all_dialled = coming.dials.all_dialled();
        if !all_dialled && now < deadline {
            return false;
        }
        if leads && matches!(self.link, Link::Up | Link::Alone) {
            if coming.dials.members_dialled().is_clear() {
                // Nobody could send in this epoch: it waits for somebody.
                let again = Some(now + self.shape.dial_timeout);
                coming.stage = Stage::Dialling { deadline: again };
                return false;
            }
            self.close(now, out);
            return true;
        }
        if self.link == Link::Up || now < deadline {
            // S1 says when.
            return false;
        }
        // No dial can take effect without the other server: dialling starts over.
        out.push(all(Code::PeerAbsent));
        let (roster, change, attached) =
            (coming.roster.clone(), coming.change.clone(), coming.attached.clone());
        let mut again = self.new_coming(roster, change, now);
        again.attached = attached;
        for member in again.attached.ones().filter(|_| self.shape.chooses_per_round()) {
            again.dials.attend(member);
        }
        again.stage = Stage::Dialling { deadline: Some(now + self.shape.dial_timeout) };
        self.void_dials(out);
        self.seats.forget_dials();
        self.coming = Some(again);
        true
    }

    /// Dialling of the next epoch, once the last round is over: until everybody who is there has dialled, or the time
    /// since the announcement is over, so that rounds stop for no longer than what is left of it.
    fn dial_next(&mut self, ended: Duration, leads: bool, now: Duration, out: &mut Vec<Output>) -> bool {
        let coming = self.coming.as_mut().expect("it is dialled");
        let nobody_dialled = coming.dials.members_dialled().is_clear();
        if nobody_dialled && coming.attached.is_clear() {
            // Nobody is there to whom it matters.
            return false;
        }
        let dial_end = ended.max(coming.announced + self.shape.dial_timeout);
        let (patience, peer_absent) = match (self.link, coming.unanswered) {
            // S1's last round and its announcement may be later than here, by a round.
            (Link::Up, _) if !leads => {
                let later = self.shape.round_timeout + 2 * self.shape.peer_timeout;
                (dial_end + later, !nobody_dialled)
            }
            // S2 may be about to announce it anew: what it heard of dials may be of another change.
            (Link::Up, Some(since)) => (ended.max(since) + self.shape.peer_timeout, true),
            // Nobody could send in it.
            (Link::Up | Link::Alone, _) if nobody_dialled => (dial_end, false),
            (Link::Up | Link::Alone, _) => {
                let all_dialled = coming.attached.is_subset(coming.dials.members_dialled());
                if !all_dialled && now < dial_end {
                    return false;
                }
                self.close(now, out);
                return true;
            }
            (Link::Down { since }, _) => (ended.max(since) + self.shape.peer_timeout, true),
            (Link::Refused, _) => (ended, true),
        };
        if now < patience {
            return false;
        }
        if peer_absent {
            out.push(all(Code::PeerAbsent));
        }
        self.give_up(out);
        true
    }

    /// Whoever leads takes no further dial.
    fn close(&mut self, now: Duration, out: &mut Vec<Output>) {
        let coming = self.coming.as_mut().expect("it is dialled");
        if self.link == Link::Alone {
            self.close_dialling(now, out);
        } else {
            coming.stage = Stage::Closing { deadline: now + self.shape.peer_timeout };
            let epoch = coming.epoch();
            self.report_dials(out);
            out.push(Output::Peer(LinkFrame::Close(self.shape.group, epoch)));
        }
    }

    /// Both servers know which dials are effective; the others are void.
    pub(super) fn close_dialling(&mut self, now: Duration, out: &mut Vec<Output>) {
        let coming = self.coming.as_mut().expect("it is dialled");
        let void = coming.dials.close();
        coming.stage = Stage::Closed { since: now };
        let void = if self.shape.chooses_per_round() { Vec::new() } else { void };
        out.push(Output::Count(Counted::DialsVoid, void.len() as u32));
        for dial in void {
            if let Some(connection) = connection_of(&self.seats, &coming.roster, dial.sender) {
                let frame = Code::DialHalf.frame(dial.sender as u32, dial.slot as u32, 0);
                out.push(Output::To(connection, frame));
            }
        }
        if coming.dials.members_dialled().is_clear() && !self.shape.chooses_per_round() {
            // Nobody could send in it. Both servers see that alike, and do the same.
            if self.running.is_some() {
                self.give_up(out);
            } else {
                let (epoch, first) = (coming.epoch(), coming.first);
                self.reset(epoch_after(epoch).unwrap_or(epoch), first, now, out);
            }
        }
    }

    fn open_epoch(&mut self, now: Duration, out: &mut Vec<Output>) {
        let Coming { roster, first, mut dials, store, mut commitments, attached, .. } =
            self.coming.take().expect("it is to be opened");
        if self.shape.chooses_per_round() {
            // Who came after it was settled may submit as well.
            attached.ones().for_each(|member| dials.attend_late(member));
        }
        self.end_running(first, out);
        let members_dialled = dials.members_dialled().count_ones(..) as u32;
        let open = EpochOpen::new(roster.epoch(), members_dialled, first);
        out.push(Output::Count(Counted::EpochsOpened, 1));
        out.push(Output::All(RoundNumber::DIAL, open.frame()));
        let mut waited_for = attached;
        waited_for.intersect_with(dials.members_dialled());
        if let Some(commitments) = &mut commitments {
            waited_for.intersect_with(&commitments.members_uploading(&roster));
        }
        let buffers = self.buffers.take().unwrap_or_else(|| Buffers::none(&self.shape));
        let ledger = commitments.as_ref().map(|commitments| self.new_ledger(&roster, &dials, commitments));
        let rounds = EpochRounds::new(&self.shape, &roster, first, buffers, ledger, now);
        if let Some(queries) = dials.keys().queries() {
            out.push(Output::Answer(Work::Open { roster: roster.clone(), queries }));
        }
        let planned = RoundNumber(first.0.saturating_add(self.shape.epoch_rounds));
        let planned = (self.leads() && self.shape.epoch_rounds > 0).then_some(planned);
        self.running =
            Some(Running { roster, dials, store, commitments, waited_for, rounds, planned, ended_at: None });
        if let Some(early) = self.early.take() {
            // Proposed while this epoch was on its way here: what is wrong with it shows at the next new link.
            let _ = self.answer_proposal(early, now, out);
        }
    }

    /// The epoch that runs is over, and the next one begins with round `first`. Returns whether there was one. What is kept
    /// of an accountable group's can be asked for a while longer.
    fn end_running(&mut self, first: RoundNumber, out: &mut Vec<Output>) -> bool {
        let Some(old) = self.running.take() else { return false };
        if let Some(past) = self.past.take() {
            self.forget_parts(past.epoch());
        }
        let Running { roster, dials, store, commitments, rounds, .. } = old;
        let (buffers, ledger) = rounds.into_buffers(out);
        self.buffers = Some(buffers);
        match (commitments, ledger) {
            (Some(commitments), Some(ledger)) => {
                self.past = Some(Past::new(dials, store, commitments, ledger, first));
            }
            _ => self.forget_parts(roster.epoch()),
        }
        true
    }

    /// The next epoch cannot be had: the one that runs goes on.
    fn give_up(&mut self, out: &mut Vec<Output>) {
        out.push(all(Code::EpochGivenUp));
        self.drop_coming(out);
        let epoch_rounds = self.shape.epoch_rounds;
        if let Some(running) = &mut self.running {
            let later = RoundNumber(running.rounds.soon_open().0 + epoch_rounds);
            running.planned = running.planned.map(|_| later);
        }
    }

    /// Drops the epoch that comes: its dials are void, and who asked for its change still asks.
    pub(super) fn drop_coming(&mut self, out: &mut Vec<Output>) {
        self.void_dials(out);
        let Some(coming) = self.coming.take() else { return };
        out.push(Output::Count(Counted::EpochsGivenUp, 1));
        self.forget_parts(coming.epoch());
        let Some(running) = &self.running else { return };
        self.seats.ask_again(|user| running.roster.index_of(user).is_some());
        let leaves = coming.change.leaves.iter().filter(|user| running.roster.index_of(**user).is_some());
        self.seats.leaves.extend(leaves);
    }

    /// Tells every sender that its dials of the epoch that comes are void.
    fn void_dials(&mut self, out: &mut Vec<Output>) {
        let Some(coming) = self.coming.as_ref().filter(|_| !self.shape.chooses_per_round()) else { return };
        let mut void = 0;
        for dial in coming.dials.held() {
            void += 1;
            if let Some(connection) = connection_of(&self.seats, &coming.roster, dial.sender) {
                let frame = Code::DialHalf.frame(dial.sender as u32, dial.slot as u32, 0);
                out.push(Output::To(connection, frame));
            }
        }
        out.push(Output::Count(Counted::DialsVoid, void));
    }

    /// Gives up whatever runs and comes, and begins to dial `epoch` with the members of the first one.
    pub(super) fn reset(&mut self, epoch: Epoch, first: RoundNumber, now: Duration, out: &mut Vec<Output>) {
        out.push(all(Code::EpochMismatch));
        self.drop_coming(out);
        if self.end_running(first, out) && self.shape.delivery == Delivery::Answer {
            out.push(Output::Answer(Work::Close));
        }
        self.proposed = None;
        self.early = None;
        self.words = super::PeerWords::default();
        let roster: Arc<Roster> = Roster::initial(self.shape.group, epoch, self.shape.members);
        self.seats.leaves.clear();
        self.seats.joins.clear();
        self.seats.ask_again(|user| roster.index_of(user).is_some());
        let (group, joins, leaves) = (self.shape.group, Vec::new(), Vec::new());
        let change = Change { group, epoch, first_round: first, joins, leaves };
        self.begin_dialling(roster, change, now, out);
    }

    /// Tells the other server of the dials that it has not been told of.
    pub(super) fn report_dials(&mut self, out: &mut Vec<Output>) {
        if self.link != Link::Up {
            return;
        }
        let Some(coming) = &mut self.coming else { return };
        let (group, epoch) = (self.shape.group, coming.epoch());
        for held in coming.dials.take_unreported().chunks(HELD_ENTRIES_MAX) {
            out.push(Output::Peer(LinkFrame::Held(group, epoch, held.to_vec())));
        }
    }

    pub(super) fn forget_parts(&mut self, epoch: Epoch) {
        if let Some(parts_box) = &mut self.kept {
            parts_box.forget(epoch);
        }
    }
}

/// An error that is said to everybody.
fn all(code: Code) -> Output {
    Output::All(RoundNumber::DIAL, code.frame(u32::MAX, u32::MAX, 0))
}
