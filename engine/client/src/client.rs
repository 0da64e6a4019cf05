//! The client itself: what its caller calls, and what it holds.

use crate::accountable::Accounts;
use crate::catching_up::CatchingUp;
use crate::channel::ChannelSettings;
use crate::closed_rounds::ClosedRounds;
use crate::decoder::Decoder;
use crate::dials::Dial;
use crate::error::ClientError;
use crate::event::Event;
use crate::group::GroupSettings;
use crate::limits::GROWTH_WAIT;
use crate::line::Watch;
use crate::observer::{Observer, Outbox};
use crate::receiving::Round;
use crate::sending::{Submission, Workbench};
use crate::session::Session;
use crate::stream::Stream;
use rand::CryptoRng;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;
use twincast_protocol::identity::VerifyingKey;
use twincast_protocol::ids::{Epoch, GroupId, RoundNumber, ServerSide, UserId};
use twincast_protocol::keys::PairKey;
use twincast_protocol::wire::{Body, Leave};

/// What a client is told before it attaches; everything else the servers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// The group.
    pub group: GroupId,
    /// The epoch that must be running or, before the first, being dialled; none if any will do.
    pub epoch: Option<Epoch>,
    /// Whether users whom the group does not have ask to join it.
    pub join: bool,
    /// How many bytes of one server are kept while the other has not sent theirs. At least four users' cells of a
    /// tile are kept in any case.
    pub skew_bytes: usize,
    /// In a group whose delivery is `answer`, and in an accountable one: the last round that an earlier client of these
    /// users may have signed a record, or shares, for ([`Client::signed`]), if the caller kept it, and a time before all
    /// epochs, `(Epoch(0), RoundNumber(0))`, if there was none. This client signs for later rounds alone: a second record
    /// or upload of a round would put its sender at fault, and a record would use a nonce again. None: it is not known,
    /// and a client that comes while rounds are open begins with the second round after the later one of the two that the
    /// servers say are open, which is safe as long as one of them tells the truth. In lockstep that takes others who submit
    /// meanwhile: where all clients of a group are new and know nothing, each waits for the others. So keep it, on the disk
    /// before anything of that round is sent; what is kept too high costs rounds, and what is kept too low the user's name.
    pub signed: Option<(Epoch, RoundNumber)>,
    /// Whether a group with a paper profile will do: a baseline for comparison, which protects neither recipients
    /// nor messages from one server.
    pub accept_baseline: bool,
    /// How it talks to the two servers.
    pub channel: ChannelSettings,
    /// What S1 and S2 sign with, as their operators publish it. Needed in an accountable group, which a client without
    /// them refuses ([`ClientError::Unpinned`]); no other group asks for it.
    pub accountable: Option<[VerifyingKey; 2]>,
}

/// Some users of one group, attached to both servers over one connection each. See the [crate's](crate) page.
pub struct Client {
    pub(crate) settings: ClientSettings,
    pub(crate) ids: Box<[UserId]>,
    pub(crate) streams: [Stream; 2],
    /// The group, once both servers have described it alike.
    pub(crate) group: Option<GroupSettings>,
    /// The epoch that runs or is dialled, and the next one once it is announced.
    pub(crate) sessions: VecDeque<Session>,
    /// How many sessions there were.
    pub(crate) serial: u64,
    /// The same, from before the connections became new.
    pub(crate) kept: VecDeque<Session>,
    pub(crate) decoder: Option<Decoder>,
    /// Users whose next submission says that something was tampered with.
    pub(crate) alarms: Box<[bool]>,
    /// Users who leave.
    leaving: Box<[bool]>,
    pub(crate) round: Round,
    /// Tiles that went out before this client came, while they are fetched.
    pub(crate) catching_up: Option<CatchingUp>,
    /// Rounds whose submissions are not all made.
    pub(crate) submissions: VecDeque<Submission>,
    /// The next round to submit for.
    pub(crate) next_submission: RoundNumber,
    /// Rounds before this one may have records of these users, signed by an earlier client that nothing is known of.
    pub(crate) silent_until: RoundNumber,
    /// The last round that records were signed for, by this client or an earlier one. It outlasts connections, and
    /// servers that begin anew.
    pub(crate) signed: Option<(Epoch, RoundNumber)>,
    pub(crate) workbench: Workbench,
    /// Rounds whose answers are in and have no verdicts yet.
    pub(crate) closed_rounds: ClosedRounds,
    /// What is kept to hold against whoever lies, in an accountable group.
    pub(crate) accounts: Accounts,
    /// What is to be told at the next occasion.
    pub(crate) events: Vec<Event>,
    /// When bytes last came or were used.
    pub(crate) last_progress: Duration,
    received: bool,
    error: Option<ClientError>,
}

impl Client {
    /// A client that plays `users`, in the order in which the servers deliver to them: ascending.
    ///
    /// # Errors
    /// [`ClientError::Users`] when there are none or they are not strictly ascending.
    pub fn new(settings: ClientSettings, users: Vec<UserId>) -> Result<Client, ClientError> {
        if users.is_empty() || !users.is_sorted_by(|a, b| a < b) {
            return Err(ClientError::Users);
        }
        let mut client = Client {
            settings,
            streams: ServerSide::BOTH.map(|server| Stream::new(server, &settings.channel)),
            group: None,
            sessions: VecDeque::new(),
            serial: 0,
            kept: VecDeque::new(),
            decoder: None,
            alarms: vec![false; users.len()].into(),
            leaving: vec![false; users.len()].into(),
            round: Round::default(),
            catching_up: None,
            submissions: VecDeque::new(),
            next_submission: RoundNumber::DIAL,
            silent_until: RoundNumber::DIAL,
            signed: settings.signed,
            workbench: Workbench::default(),
            closed_rounds: ClosedRounds::default(),
            accounts: Accounts::default(),
            events: Vec::new(),
            last_progress: Duration::ZERO,
            received: false,
            error: None,
            ids: users.into(),
        };
        client.greet_both();
        Ok(client)
    }

    /// Begins anew on two new connections, as the same users. What the client has of an epoch that still runs, or is
    /// still dialled, stays of use: dials, keys, confirmations. There are no verdicts any more on the round that was
    /// open, only those on answers that were all in; rounds go on from the first that both servers deliver whole. Parts
    /// that were on their way to S2 are not made again. A client that ended with an error stays ended, unless
    /// all that was wrong is a [broken channel](ClientError::Channel), which new connections mend.
    pub fn reconnect(&mut self) {
        self.error.take_if(|error| matches!(error, ClientError::Channel { .. }));
        // Epochs may have gone by.
        self.settings.epoch = None;
        let channel = &self.settings.channel;
        self.streams = ServerSide::BOTH.map(|server| Stream::new(server, channel));
        for mut session in self.sessions.drain(..) {
            session.reconnect();
            self.kept.retain(|kept| kept.epoch != session.epoch);
            self.kept.push_back(session);
        }
        self.group = None;
        self.accounts.reconnect();
        self.catching_up = None;
        self.round = Round::default();
        self.submissions.clear();
        self.received = false;
        self.greet_both();
    }

    /// Both servers are greeted first, and told what users have asked for since.
    fn greet_both(&mut self) {
        self.streams.iter_mut().for_each(|stream| stream.outbound.greets = true);
        let leaving = self.ids.iter().zip(&self.leaving).filter(|(_, leaving)| **leaving);
        for user in leaving.map(|(user, _)| *user).collect::<Vec<_>>() {
            self.say_leave(user);
        }
    }

    /// The users that it plays.
    #[must_use]
    pub fn users(&self) -> &[UserId] {
        &self.ids
    }

    /// The group, once both servers have described it and an epoch's members.
    #[must_use]
    pub fn group(&self) -> Option<&GroupSettings> {
        self.group.as_ref().filter(|_| !self.sessions.is_empty())
    }

    /// The epoch that runs or, where none does, is dialled.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.sessions.front().map(|session| session.epoch)
    }

    /// The members of an epoch in the order of their indices, if it runs, is dialled or is announced.
    #[must_use]
    pub fn roster(&self, epoch: Epoch) -> Option<&[UserId]> {
        self.sessions.iter().find(|session| session.epoch == epoch).map(|session| &session.roster[..])
    }

    /// The round whose verdicts come next, once the epoch is open at both servers.
    #[must_use]
    pub fn round(&self) -> Option<RoundNumber> {
        self.round.number
    }

    /// In a group whose delivery is `answer`, or that is accountable: the last round that was signed for. A caller that
    /// keeps this before it sends what [`outgoing`](Client::outgoing) gives can tell the next client of the same users
    /// ([`ClientSettings::signed`]).
    #[must_use]
    pub fn signed(&self) -> Option<(Epoch, RoundNumber)> {
        self.signed
    }

    /// Whether every dial of the epoch that runs or is dialled reaches whom [`Outbox::recipients`] named. Not where one of an
    /// earlier client of these users is in effect: that reaches whom that one was for.
    #[must_use]
    pub fn has_own_dials(&self) -> bool {
        let foreign = |dial: &Dial| dial.is_effective() && !dial.is_own();
        !self.sessions.front().is_some_and(|session| session.dials.iter().any(foreign))
    }

    /// The keys that the user at `position` shares with `other` in this epoch, if they exchanged any.
    #[must_use]
    pub fn pair_key(&self, position: usize, other: UserId) -> Option<&PairKey> {
        let session = self.sessions.front()?;
        let here = session.users.binary_search_by_key(&position, |user| user.position).ok()?;
        session.exchange.sealing(here, session.member(other)?)
    }

    /// `user` is a member no more from the next epoch on that is announced. Whether this client plays it.
    pub fn leave(&mut self, user: UserId) -> bool {
        let Ok(position) = self.ids.binary_search(&user) else { return false };
        if !std::mem::replace(&mut self.leaving[position], true) {
            self.say_leave(user);
        }
        true
    }

    fn say_leave(&mut self, user: UserId) {
        for stream in &mut self.streams {
            Leave { user: user.0.into(), reserved: 0.into() }.put(0, &mut stream.outbound.frames);
        }
    }

    /// Whether the user at this position asked to leave.
    pub(crate) fn is_leaving(&self, position: usize) -> bool {
        self.leaving[position]
    }

    /// Shows somebody what goes through the private channel with `server` from here on, in the clear, until the client
    /// [reconnects](Client::reconnect): for measurements, which tell frames apart. On a plain channel the bytes that are
    /// sent and received show the same, and nobody is called.
    pub fn watch(&mut self, server: ServerSide, watch: Watch) {
        self.streams[server.index()].watch(watch);
    }

    /// Where bytes from `server` go. Empty when it is too far ahead of the other one: read the other, and ask again
    /// after [`advance`](Client::advance).
    pub fn space(&mut self, server: ServerSide, now: Duration) -> &mut [u8] {
        let may_grow = now.saturating_sub(self.last_progress) >= GROWTH_WAIT;
        self.streams[server.index()].space(may_grow)
    }

    /// `bytes` bytes from `server` were written to the front of [`space`](Client::space).
    ///
    /// # Panics
    /// When there was less room than that.
    pub fn filled(&mut self, server: ServerSide, bytes: usize) {
        self.received |= bytes > 0;
        self.streams[server.index()].filled(bytes);
    }

    /// `server` has closed the connection: no more bytes of it come. What it did not deliver is `Incomplete`.
    pub fn closed(&mut self, server: ServerSide) {
        self.streams[server.index()].closed = true;
    }

    /// Uses everything that came, as far as both servers' bytes go, and sees to what has become late by `now`.
    /// `now` counts from any fixed instant and never goes back.
    ///
    /// # Errors
    /// A server sent what it must not. The same error comes from then on; nothing of what the offending server sent
    /// after it is used.
    pub fn advance(&mut self, now: Duration, observer: &mut impl Observer) -> Result<(), ClientError> {
        self.check()?;
        self.events.drain(..).for_each(|event| observer.event(event));
        if std::mem::take(&mut self.received) {
            self.last_progress = now;
        }
        self.read_closed(observer);
        let end = self.use_bytes(now, observer);
        self.remember(end)
    }

    fn use_bytes(&mut self, now: Duration, observer: &mut impl Observer) -> Result<(), ClientError> {
        loop {
            let mut moved = false;
            for server in ServerSide::BOTH {
                moved |= self.streams[server.index()].open();
                moved |= self.read_frames(server, now, observer)?;
            }
            moved |= self.read_cells(observer) || self.catch_up(observer) || self.close_if_ended(observer);
            if !moved {
                moved = self.give_up_closed(observer) || self.close_late(now, observer);
            }
            if !moved {
                // What came before it is used.
                return self.streams.iter().try_for_each(|stream| match stream.broken() {
                    Some(reason) => Err(ClientError::Channel { server: stream.server, reason }),
                    None => Ok(()),
                });
            }
            self.last_progress = now;
        }
    }

    /// When [`advance`](Client::advance) should be called at the latest, also if no byte comes. Zero, which is at once,
    /// while answers wait for their verdicts and everything that was submitted is sent; so it is asked after
    /// [`sent`](Client::sent).
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        if self.may_read_closed() { Some(Duration::ZERO) } else { self.round_deadline() }
    }

    /// What is to be sent to `server` next, made as far as is asked for; empty when there is nothing now.
    ///
    /// # Errors
    /// The caller's recipients or messages do not fit the group, or [`advance`](Client::advance) has failed before.
    pub fn outgoing(
        &mut self,
        server: ServerSide,
        rng: &mut impl CryptoRng,
        outbox: &mut impl Outbox,
    ) -> Result<&[u8], ClientError> {
        self.check()?;
        self.streams[server.index()].begin(rng);
        let end = self.make_bytes(server, rng, outbox);
        self.remember(end)?;
        let stream = &mut self.streams[server.index()];
        stream.seal();
        Ok(stream.unsent())
    }

    /// The first `bytes` bytes of [`outgoing`](Client::outgoing) were sent.
    ///
    /// # Panics
    /// When there were fewer.
    pub fn sent(&mut self, server: ServerSide, bytes: usize) {
        self.streams[server.index()].sent(bytes);
    }

    /// Whether everything that can be said to `server` now is made and sent.
    #[must_use]
    pub fn is_drained(&self, server: ServerSide) -> bool {
        self.streams[server.index()].is_sent() && !self.has_more(server)
    }

    /// Starts the submissions of all users for the next round: [`outgoing`](Client::outgoing) makes them. At most one
    /// round ahead of the one whose verdicts come next, which the servers would refuse. Users who have a slot without
    /// a dial in effect are left out, and users without an [`author`](Outbox::author) where that is asked for.
    ///
    /// The round, or none: the epoch is not open, the client is a round ahead already, or the round is the next
    /// epoch's. In a group in which rounds are signed for it is also none as long as these users may have done so for the
    /// round or a later one: see [`ClientSettings::signed`].
    ///
    /// Nothing is signed for a round before both servers are in it or in the one before: what only one of them says of
    /// rounds must not put users ahead of the other one. Where they are further apart the submissions wait
    /// ([`Event::ServersApart`]) until that is over, or the next call puts later ones in their place.
    pub fn submit(&mut self) -> Option<RoundNumber> {
        let unsigned = self.first_unsigned_round()?;
        let round = self.next_submission.max(self.round.number?).max(unsigned);
        if round > self.round.number?.next() || self.is_next_epochs(round) {
            return None;
        }
        // Those of an earlier round that the servers do not take yet are too late for one of them by now.
        let waits = |last: &Submission| last.position == 0 && self.is_too_early(last.round);
        if self.submissions.back().is_some_and(waits) {
            self.submissions.pop_back();
        } else if self.is_too_early(round) {
            let rounds = self.streams.each_ref().map(|stream| stream.round);
            self.events.push(Event::ServersApart { rounds });
        }
        self.submissions.push_back(Submission { round, position: 0 });
        self.next_submission = round.next();
        Some(round)
    }

    /// Whether the submissions that are begun, if there are any, may be made now.
    pub(crate) fn may_make_submissions(&self) -> bool {
        self.submissions.front().is_some_and(|submission| !self.is_too_early(submission.round))
    }

    /// Whether it is too early to sign for a round: a server is in an earlier one than the one before. So nothing is signed
    /// beyond the round after the one that the honest server has open, and whoever comes next and knows nothing of this
    /// client has only [two rounds to leave out](ClientSettings::signed).
    fn is_too_early(&self, round: RoundNumber) -> bool {
        let signs = self.group.is_some_and(|group| group.signs_rounds());
        signs && (self.streams.iter().any(|stream| round > stream.round.next()) || self.is_next_epochs(round))
    }

    /// Whether a round belongs to the next epoch, as far as that is announced and not given up.
    fn is_next_epochs(&self, round: RoundNumber) -> bool {
        let next_epoch = self.sessions.get(1).filter(|next| next.waits != [true; 2]);
        next_epoch.and_then(|next| next.first_round).is_some_and(|first| round >= first)
    }

    /// The first round of the epoch that these users have certainly not signed for. None: they have signed for rounds of a
    /// later epoch, so that this one comes a second time.
    pub(crate) fn first_unsigned_round(&self) -> Option<RoundNumber> {
        if !self.group?.signs_rounds() {
            return Some(RoundNumber::DIAL);
        }
        let epoch = self.sessions.front()?.epoch;
        match self.signed {
            Some((signed, _)) if signed > epoch => None,
            Some((signed, round)) if signed == epoch => {
                Some(RoundNumber(round.0.saturating_add(1)).max(self.silent_until))
            }
            _ => Some(self.silent_until),
        }
    }

    fn check(&self) -> Result<(), ClientError> {
        self.error.clone().map_or(Ok(()), Err)
    }

    fn remember(&mut self, end: Result<(), ClientError>) -> Result<(), ClientError> {
        if let Err(error) = &end {
            self.error = Some(error.clone());
        }
        end
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("settings", &self.settings)
            .field("users", &self.ids.len())
            .field("group", &self.group())
            .field("epoch", &self.epoch())
            .field("round", &self.round())
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}
