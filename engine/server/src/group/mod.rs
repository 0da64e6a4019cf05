//! One group on one server: who is attached, what is dialled, which epoch runs and which round is open. A pure state
//! machine: frames and times come in, frames and sealed tiles go out, and nothing here knows a socket, a clock or a
//! thread.
//!
//! An epoch *comes*: it is dialled until both servers have settled which dials are effective, and its parts
//! (confirmations, keys, replies) are delivered. Then it *runs*: rounds, one after the other. The next epoch is
//! announced and dialled meanwhile, so there are at most two: one that runs and one that comes.
//!
//! | module | what it decides |
//! |---|---|
//! | `dials` | which dials are effective |
//! | `store`, `parts`, `upload` | which parts are kept, pulled and delivered |
//! | `timing` | when a round begins, is sealed, or is left out |
//! | `rounds`, `words` | when a tile of shares is sealed, and when it is released |
//! | `answer` | when a tile of records is agreed, and when a round is answered |
//! | `accountable` | whether senders gave what they signed, and what is shown of it later |
//! | `membership` | who sits where, and what change of members is possible |
//! | `epochs` | when an epoch is announced, closed, opened or given up |
//! | `peer` | what the other server says |
//! | `greeting`, `fetch` | what a connection is told, and what it asks for later |

mod accountable;
mod answer;
mod delivery;
mod dials;
mod epoch;
mod epochs;
mod fetch;
mod greeting;
mod keys;
mod membership;
mod output;
mod parts;
mod peer;
mod rounds;
mod shape;
mod store;
#[cfg(test)]
mod tests;
mod timing;
mod upload;
mod words;

pub use epoch::EpochKeeper;
pub use output::{Blame, ConnectionId, Counted, Fault, Output, Refusal, SealedRound};
pub use parts::Upload;
pub use shape::Shape;

use crate::accountable::Accounting;
use crate::answer::Setup;
use crate::config::Delivery;
use crate::limits::{DIALS_PER_SLOT_MAX, MEMBER_DIALS_PER_SLOT_MAX, SUBMISSIONS_REFUSED_MAX};
use crate::parts_box::PartsBox;
use crate::roster::Roster;
use accountable::{Commitments, HeaderFetches, Past};
use delivery::{Buffers, Submission};
use dials::Dialling;
use epoch::{Coming, Running, Stage};
use fetch::Fetches;
use membership::{Places, Seats};
use peer::Link;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;
use store::{Kept, Whose};
use twincast_protocol::ids::{Epoch, MemberIndex, RoundNumber, ServerSide, UserId};
use twincast_protocol::parts::PartKind;
use twincast_protocol::wire::link::{Change, LinkGroup};
use twincast_protocol::wire::{Code, Dial, EPOCH_ANY, Leave, Submit, split_tail};
use words::PeerWords;

/// One group on one server.
#[derive(Debug)]
pub struct Group {
    shape: Shape,
    setup: Option<Arc<Setup>>,
    accounting: Option<Arc<Accounting>>,
    kept: Kept,
    epoch_keeper: Option<Box<dyn EpochKeeper>>,
    seats: Seats,
    fetches: Fetches,
    header_fetches: HeaderFetches,
    running: Option<Running>,
    coming: Option<Coming>,
    /// In an accountable group: what is still asked for of the epoch before the one that runs.
    past: Option<Past>,
    /// Epochs that came so far, whatever their numbers.
    serial: u64,
    /// What rounds are kept in, while no epoch runs that has it.
    buffers: Option<Buffers>,
    link: Link,
    words: PeerWords,
    /// What the last new link was told, which is what the other server compares with.
    told: Cell<Option<LinkGroup>>,
    /// S1: a change that S2 has not answered.
    proposed: Option<Change>,
    /// S2: a proposal for the epoch after one that is not open here yet.
    early: Option<Change>,
    /// Users of the group who were more than two whole rounds behind when that was last said.
    lagging_users: u32,
    alarms: u64,
    stopping: bool,
    /// An epoch could not be kept: nobody is served until the server starts again.
    halted: bool,
}

impl Group {
    /// A group that waits for the users `0..members` to dial its first epoch. `parts_box`: where S2 keeps parts.
    /// `setup`: what a group whose delivery is `answer` signs and verifies with; such a group has it and no other has.
    #[must_use]
    pub fn new(shape: Shape, parts_box: Option<Box<dyn PartsBox>>, setup: Option<Arc<Setup>>) -> Group {
        debug_assert_eq!(setup.is_some(), shape.delivery == Delivery::Answer);
        let first_epoch = shape.first_epoch();
        let change = Change {
            group: shape.group,
            epoch: first_epoch,
            first_round: RoundNumber::FIRST,
            joins: Vec::new(),
            leaves: Vec::new(),
        };
        let roster = Roster::initial(shape.group, first_epoch, shape.members);
        Group {
            shape,
            setup,
            accounting: None,
            // Seeds are small: S1 keeps them all.
            kept: parts_box.filter(|_| shape.side == ServerSide::Two),
            epoch_keeper: None,
            seats: Seats::default(),
            fetches: Fetches::default(),
            header_fetches: HeaderFetches::default(),
            running: None,
            coming: Some(Coming::new(&shape, 0, roster, change)),
            past: None,
            serial: 0,
            buffers: None,
            link: if shape.linked { Link::Down { since: Duration::ZERO } } else { Link::Alone },
            words: PeerWords::default(),
            told: Cell::new(None),
            proposed: None,
            early: None,
            lagging_users: 0,
            alarms: 0,
            stopping: false,
            halted: false,
        }
    }

    /// The same group, with what keeps the epochs after its first one, which is kept already.
    #[must_use]
    pub fn with_epoch_keeper(mut self, keeper: Box<dyn EpochKeeper>) -> Group {
        self.epoch_keeper = Some(keeper);
        self
    }

    /// The same group, with what an accountable one signs and verifies with; such a group has it and no other has.
    ///
    /// # Panics
    /// If the group is not accountable, or has begun.
    #[must_use]
    pub fn with_accounting(mut self, accounting: Arc<Accounting>) -> Group {
        assert!(self.shape.accountable && self.seats.is_empty(), "an accountable group that has not begun");
        self.accounting = Some(accounting);
        if let Some(coming) = &mut self.coming {
            coming.commitments = commitments(self.accounting.as_ref(), &self.shape, &coming.roster);
        }
        self
    }

    /// What never changes.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Users that are attached.
    #[must_use]
    pub fn attached(&self) -> usize {
        self.seats.users()
    }

    /// The round that is open, [`RoundNumber::DIAL`] while no epoch runs.
    #[must_use]
    pub fn open_round(&self) -> RoundNumber {
        self.running.as_ref().map_or(RoundNumber::DIAL, |running| running.rounds.open())
    }

    /// The epoch that is running or, where none is, being dialled: that of WELCOME.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.roster().epoch()
    }

    /// The connection that attached a user.
    #[must_use]
    pub fn holder_of(&self, user: UserId) -> Option<ConnectionId> {
        self.seats.connection_of(user)
    }

    /// Members of that epoch, which SUBMIT's length may depend on.
    #[must_use]
    pub fn members(&self) -> usize {
        self.roster().members()
    }

    /// Members of an epoch that runs or comes, which the lengths of DIAL and PARTS depend on.
    #[must_use]
    pub fn members_of(&self, epoch: Epoch) -> Option<usize> {
        let running = self.running.iter().map(|running| &running.roster);
        let coming = self.coming.iter().map(|coming| &coming.roster);
        running.chain(coming).find(|roster| roster.epoch() == epoch).map(|roster| roster.members())
    }

    /// Submissions so far that carried an alarm.
    #[must_use]
    pub fn alarms(&self) -> u64 {
        self.alarms
    }

    /// Attaches users, strictly ascending, to a connection. It is answered with WELCOME and what belongs to it;
    /// connections that had one of them are closed. `epoch`: the one that [`Group::epoch`] says, or [`EPOCH_ANY`].
    /// `join`: users who are no members ask to become some. Who finds no room gets no seat, and the connection is told
    /// so once; where none of its users has a seat it is closed.
    ///
    /// # Errors
    /// [`Code::UserUnknown`], [`Code::KeyUnknown`], [`Code::UsersTooMany`], [`Code::HelloEpochWrong`],
    /// [`Code::SettingsDiffer`] or [`Code::ShuttingDown`].
    pub fn attach(
        &mut self,
        connection: ConnectionId,
        epoch: Epoch,
        join: bool,
        users: &[UserId],
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        if self.stopping {
            return Err(Refusal::of_form(Code::ShuttingDown));
        }
        if self.link == Link::Refused {
            return Err(Refusal::of_form(Code::SettingsDiffer));
        }
        if epoch != EPOCH_ANY && epoch != self.epoch() {
            return Err(Refusal::of_form(Code::HelloEpochWrong));
        }
        if users.len() > self.shape.users_per_connection_max().min(self.shape.members_max) {
            return Err(Refusal::of_form(Code::UsersTooMany));
        }
        if let Some(user) = users.iter().find(|user| !join && !self.is_known(**user)) {
            return Err(Refusal { sender: user.0, ..Refusal::of_form(Code::UserUnknown) });
        }
        if let Some(setup) = &self.setup
            && let Some(user) = users.iter().find(|user| setup.members.key(**user).is_none())
        {
            return Err(Refusal { sender: user.0, ..Refusal::of_form(Code::KeyUnknown) });
        }
        let Places { seated, candidates, turned_away } = self.places(users, join);
        if seated.is_empty() && turned_away.is_some() {
            out.push(Output::Close(connection, Code::GroupFull));
            return Ok(());
        }
        for older in self.seats.holders(&seated) {
            self.stand_up(older);
            out.push(Output::Close(older, Code::Superseded));
        }
        self.seats.sit(connection, &seated, join);
        self.seats.joins.extend(candidates);
        for &user in &seated {
            self.sit_in_epochs(user);
        }
        if let Some(Coming { stage: Stage::Dialling { deadline: deadline @ None }, .. }) = &mut self.coming
            && self.running.is_none()
        {
            *deadline = Some(now + self.shape.dial_timeout);
        }
        self.greet(connection, &seated, out);
        if let Some(user) = turned_away {
            out.push(Output::To(connection, Code::GroupFull.frame(user.0, u32::MAX, 0)));
        }
        // Only now: what was waited for from the users that moved is still waited for, from their new connection,
        // and it is welcomed before anything else. The others of the older connections are absent.
        self.advance(now, out);
        Ok(())
    }

    /// The connection is gone or going: its users are absent from now on.
    pub fn detach(&mut self, connection: ConnectionId, now: Duration, out: &mut Vec<Output>) {
        self.stand_up(connection);
        self.advance(now, out);
    }

    /// A LEAVE: a user of the connection is no member from the next announced epoch on.
    ///
    /// # Errors
    /// [`Code::NotAttached`] or [`Code::ReservedSet`].
    pub fn leave(
        &mut self,
        connection: ConnectionId,
        leave: &Leave,
        _out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let user = UserId(leave.user.get());
        let refuse = |code| Refusal { sender: user.0, ..Refusal::of_form(code) };
        if leave.reserved.get() != 0 {
            return Err(refuse(Code::ReservedSet));
        }
        if self.seats.connection_of(user) != Some(connection) {
            return Err(refuse(Code::NotAttached));
        }
        self.seats.joins.remove(&user);
        if self.is_known(user) {
            self.seats.leaves.insert(user);
        }
        Ok(())
    }

    /// A DIAL of the connection: a session key, and in an accountable group what its sender commits to.
    ///
    /// # Errors
    /// What is wrong with it, as `engine/docs/WIRE.md` lists.
    pub fn dial(
        &mut self,
        connection: ConnectionId,
        dial: &Dial,
        key: &[u8],
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let (sender, slot) = (dial.sender.get(), dial.slot.get());
        let refuse = |code| Refusal { code, sender, slot, round: 0 };
        if dial.reserved.get() != 0 {
            return Err(refuse(Code::ReservedSet));
        }
        let seat = self.seats.get_mut(connection).ok_or(refuse(Code::NotAttached))?;
        seat.dials += 1;
        if seat.dials > DIALS_PER_SLOT_MAX * (seat.users.len() * self.shape.slots) as u64 {
            return Err(refuse(Code::DialFlood));
        }
        let epoch = Epoch(dial.epoch.get());
        let coming = self.coming.as_mut().filter(|coming| coming.epoch() == epoch);
        let Some(coming) = coming else {
            let runs = self.running.as_ref().is_some_and(|running| running.epoch() == epoch);
            return Err(refuse(if runs { Code::DialClosed } else { Code::EpochWrong }));
        };
        check_sender(&self.seats, &coming.roster, connection, sender).map_err(refuse)?;
        // A new connection is no new leave to dial without end.
        let dial_frames = &mut coming.dial_frames[sender as usize];
        *dial_frames += 1;
        if *dial_frames > MEMBER_DIALS_PER_SLOT_MAX * self.shape.slots as u64 {
            return Err(refuse(Code::DialFlood));
        }
        if slot as usize >= self.shape.slots {
            return Err(refuse(Code::SlotOutOfRange));
        }
        if coming.is_settled() || self.shape.chooses_per_round() {
            return Err(refuse(Code::DialClosed));
        }
        let dialling = Dialling { sender: sender as usize, slot: slot as usize, dial_id: dial.dial_id.get() };
        let effective = match &mut coming.commitments {
            None => coming.dials.put(dialling, key).map_err(refuse)?,
            Some(commitments) => {
                let (key, tail) = split_tail(key).map_err(refuse)?;
                if coming.dials.effective(dialling.sender, dialling.slot).is_some() {
                    return Err(refuse(Code::AlreadyDialled));
                }
                let tail = commitments.verify(&coming.roster, dialling, tail).map_err(refuse)?;
                let effective = coming.dials.put(dialling, key).map_err(refuse)?;
                commitments.put(dialling, tail);
                effective
            }
        };
        let whose = Whose { kind: PartKind::Confirmation, slot: slot as usize, sender: sender as usize };
        if coming.store.has(whose.kind, whose.slot) {
            coming.store.forget(whose);
        }
        if effective {
            self.confirm_dial(dialling, out);
        }
        self.advance(now, out);
        Ok(())
    }

    /// A SUBMIT: the shares of one member for one round, behind its choice words where the scheme has those and before its
    /// signature in an accountable group, or its
    /// record, as
    /// [`Shape::submit_body_bytes`] says. `lagging_users` of the group are more than two whole rounds behind.
    ///
    /// # Errors
    /// What is wrong with it, as `engine/docs/WIRE.md` lists; [`Code::SubmissionFlood`] where something was again and again.
    pub fn submit(
        &mut self,
        connection: ConnectionId,
        submit: &Submit,
        shares: &[u8],
        now: Duration,
        lagging_users: u32,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let taken = self.take_submission(connection, submit, shares, now, lagging_users, out);
        taken.map_err(|refusal| self.count_refused(connection, submit.sender.get(), refusal))
    }

    /// Counts a submission that is refused. Who sends such again and again costs the others time: its connection is
    /// closed.
    fn count_refused(&mut self, connection: ConnectionId, sender: u32, refusal: Refusal) -> Refusal {
        if refusal.code == Code::ShuttingDown {
            return refusal;
        }
        let round = self.open_round();
        let user = self.roster().user(MemberIndex(sender));
        let Some(seat) = self.seats.get_mut(connection) else { return refusal };
        let place = user.and_then(|user| seat.users.binary_search(&user).ok());
        let most = match place {
            Some(_) => SUBMISSIONS_REFUSED_MAX,
            None => SUBMISSIONS_REFUSED_MAX.saturating_mul(seat.users.len() as u32),
        };
        if seat.refused.count(round, place, seat.users.len()) < most {
            return refusal;
        }
        Refusal { code: Code::SubmissionFlood, ..refusal }
    }

    fn take_submission(
        &mut self,
        connection: ConnectionId,
        submit: &Submit,
        shares: &[u8],
        now: Duration,
        lagging_users: u32,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let (sender, round) = (submit.sender.get(), submit.round.get());
        let refuse = |code| Refusal { code, sender, slot: u32::MAX, round };
        let Some(running) = &mut self.running else {
            let coming = self.coming.as_ref().expect("an epoch comes where none runs");
            check_sender(&self.seats, &coming.roster, connection, sender).map_err(refuse)?;
            return Err(refuse(Code::EpochNotOpen));
        };
        check_sender(&self.seats, &running.roster, connection, sender).map_err(refuse)?;
        let members = running.roster.members();
        if shares.len() + size_of::<Submit>() != self.shape.submit_body_bytes(members) {
            return Err(refuse(Code::LengthWrong));
        }
        if !running.dials.is_dialled(sender as usize) {
            return Err(refuse(Code::NotDialled));
        }
        let (signature, shares) = match &mut running.commitments {
            None => (None, shares),
            Some(commitments) => {
                // What could not be shown later is not delivered.
                if !commitments.may_upload(&running.roster, sender as usize) {
                    return Err(refuse(Code::PartsUnsigned));
                }
                let (shares, signature) = split_tail(shares).map_err(refuse)?;
                (Some(signature), shares)
            }
        };
        if self.stopping && !(running.rounds.open().0 == round && running.rounds.begun()) {
            return Err(refuse(Code::ShuttingDown));
        }
        let (choices, shares) = shares.split_at(self.shape.choice_bytes(members));
        let halves = self.shape.format.halves();
        if choices.as_chunks::<2>().0.iter().any(|word| usize::from(u16::from_le_bytes(*word)) >= halves) {
            return Err(refuse(Code::ChoiceOutOfRange));
        }
        let submission = Submission { sender: sender as usize, choices, shares, signature };
        let placed = running.rounds.place(RoundNumber(round), &submission, now);
        // Also one that comes too late: its sender is there again.
        if let Ok(()) | Err(Code::RoundSkipped | Code::RoundSealed) = placed {
            running.waited_for.insert(sender as usize);
        }
        placed.map_err(refuse)?;
        self.refuse_uploads(out);
        self.alarms += u64::from(submit.alarm.get() != 0);
        self.lagging_users = lagging_users;
        self.advance(now, out);
        Ok(())
    }

    /// Time passes: what is overdue is sealed, released or given up, and the other server is told of new dials.
    pub fn tick(&mut self, now: Duration, lagging_users: u32, out: &mut Vec<Output>) {
        self.lagging_users = lagging_users;
        self.advance(now, out);
        self.report_dials(out);
    }

    /// The server stops: the open round is finished if it has begun, nothing new is taken.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// Whether nothing of an open round is left to finish, after [`Group::stop`].
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.running.as_ref().is_none_or(|running| !running.rounds.begun())
    }

    /// The members of the epoch that is running or, where none is, being dialled.
    fn roster(&self) -> &Arc<Roster> {
        match (&self.running, &self.coming) {
            (Some(running), _) => &running.roster,
            (None, Some(coming)) => &coming.roster,
            (None, None) => unreachable!("an epoch runs or comes"),
        }
    }

    /// Whether a user is a member now, or announced to be one.
    fn is_known(&self, user: UserId) -> bool {
        let running = self.running.iter().map(|running| &running.roster);
        let coming = self.coming.iter().map(|coming| &coming.roster);
        running.chain(coming).any(|roster| roster.index_of(user).is_some())
    }

    fn sit_in_epochs(&mut self, user: UserId) {
        let chooses = self.shape.chooses_per_round();
        if let Some(coming) = &mut self.coming
            && let Some(index) = coming.roster.index_of(user)
        {
            coming.attached.insert(index.0 as usize);
            match (chooses, coming.is_settled()) {
                (false, _) => {}
                (true, false) => coming.dials.attend(index.0 as usize),
                (true, true) => coming.dials.attend_late(index.0 as usize),
            }
        }
        if chooses
            && let Some(running) = &mut self.running
            && let Some(index) = running.roster.index_of(user)
        {
            running.dials.attend_late(index.0 as usize);
        }
    }

    fn stand_up(&mut self, connection: ConnectionId) {
        for user in self.seats.stand_up(connection) {
            if let Some(coming) = &mut self.coming
                && let Some(index) = coming.roster.index_of(user)
            {
                coming.attached.remove(index.0 as usize);
            }
            if let Some(running) = &mut self.running
                && let Some(index) = running.roster.index_of(user)
            {
                running.waited_for.remove(index.0 as usize);
            }
        }
    }
}

/// What an accountable group keeps of the dials of an epoch.
fn commitments(accounting: Option<&Arc<Accounting>>, shape: &Shape, roster: &Roster) -> Option<Commitments> {
    accounting.map(|accounting| Commitments::new(accounting, roster, shape.slots))
}

/// Whether the connection attached the member with this index.
fn check_sender(seats: &Seats, roster: &Roster, connection: ConnectionId, sender: u32) -> Result<(), Code> {
    let user = roster.user(MemberIndex(sender)).ok_or(Code::NotAttached)?;
    if seats.connection_of(user) != Some(connection) {
        return Err(Code::NotAttached);
    }
    Ok(())
}

fn connection_of(seats: &Seats, roster: &Roster, sender: usize) -> Option<ConnectionId> {
    seats.connection_of(roster.user(MemberIndex(sender as u32))?)
}
