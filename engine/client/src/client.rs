//! The client itself: what its caller calls, and what it holds.

use crate::dials::Dial;
use crate::error::ClientError;
use crate::group::{self, GroupSettings};
use crate::limits::{GROWTH_WAIT, RECEIVE_BYTES};
use crate::observer::{Event, Observer, Outbox};
use crate::receiving::Round;
use crate::sending::Submission;
use crate::stream::Stream;
use crate::table::Confirmed;
use rand::CryptoRng;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, ServerSide};
use twincast_protocol::receive::BatchOpener;
use twincast_protocol::wire::{Hello, Welcome};

/// What a client is told before it attaches; everything else the servers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// The group.
    pub group: GroupId,
    /// The epoch that is being dialled.
    pub epoch: Epoch,
    /// How many bytes of one server are kept while the other has not sent theirs. At least four users' cells of a
    /// tile are kept in any case.
    pub skew_bytes: usize,
}

/// Some members of one group, attached to both servers over one connection each. See the [crate's](crate) page.
pub struct Client {
    pub(crate) settings: ClientSettings,
    pub(crate) users: Box<[MemberIndex]>,
    pub(crate) streams: [Stream; 2],
    pub(crate) session: Option<Session>,
    /// When bytes last came or were used.
    pub(crate) last_progress: Duration,
    received: bool,
    error: Option<ClientError>,
}

/// What there is once both servers have described the group.
pub(crate) struct Session {
    pub(crate) group: GroupSettings,
    /// The dial of the user at position p for slot k: `p * K + k`.
    pub(crate) dials: Vec<Dial>,
    /// How many of them both servers have.
    pub(crate) effective: usize,
    pub(crate) confirmed: Confirmed,
    /// Confirmation cells opened.
    pub(crate) confirmed_cells: u64,
    pub(crate) opener: BatchOpener,
    /// Users whose next submission says that something was tampered with.
    pub(crate) alarms: Box<[bool]>,
    pub(crate) round: Round,
    /// Rounds whose submissions are not all made.
    pub(crate) submissions: VecDeque<Submission>,
    /// The next round to submit for.
    pub(crate) next_submission: RoundNumber,
}

impl Client {
    /// A client that plays `users`, in the order in which the servers deliver to them: ascending.
    ///
    /// # Errors
    /// [`ClientError::Users`] when there are none or they are not strictly ascending.
    pub fn new(settings: ClientSettings, users: Vec<MemberIndex>) -> Result<Client, ClientError> {
        if users.is_empty() || !users.is_sorted_by(|a, b| a < b) {
            return Err(ClientError::Users);
        }
        let mut streams = ServerSide::BOTH.map(Stream::new);
        for stream in &mut streams {
            let hello = Hello::frame(settings.group, settings.epoch, stream.server, &users);
            stream.outbound.end().extend_from_slice(&hello);
        }
        Ok(Client {
            settings,
            users: users.into(),
            streams,
            session: None,
            last_progress: Duration::ZERO,
            received: false,
            error: None,
        })
    }

    /// The members that it plays.
    #[must_use]
    pub fn users(&self) -> &[MemberIndex] {
        &self.users
    }

    /// The group, once both servers have described it.
    #[must_use]
    pub fn group(&self) -> Option<&GroupSettings> {
        self.session.as_ref().map(|session| &session.group)
    }

    /// The round whose verdicts come next, once the epoch is open at both servers.
    #[must_use]
    pub fn round(&self) -> Option<RoundNumber> {
        self.session.as_ref().and_then(|session| session.round.number)
    }

    /// Where bytes from `server` go. Empty when it is too far ahead of the other one: read the other, and ask again
    /// after [`advance`](Client::advance).
    pub fn space(&mut self, server: ServerSide, now: Duration) -> &mut [u8] {
        let may_grow = now.saturating_sub(self.last_progress) >= GROWTH_WAIT;
        self.streams[server.index()].inbound.space(may_grow)
    }

    /// `bytes` bytes from `server` were written to the front of [`space`](Client::space).
    ///
    /// # Panics
    /// When there was less room than that.
    pub fn filled(&mut self, server: ServerSide, bytes: usize) {
        self.received |= bytes > 0;
        self.streams[server.index()].inbound.filled(bytes);
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
        if std::mem::take(&mut self.received) {
            self.last_progress = now;
        }
        let end = self.use_bytes(now, observer);
        self.remember(end)
    }

    fn use_bytes(&mut self, now: Duration, observer: &mut impl Observer) -> Result<(), ClientError> {
        loop {
            let mut moved = false;
            for server in ServerSide::BOTH {
                moved |= self.read_frames(server, now, observer)?;
            }
            moved |= self.read_cells(observer);
            if !moved {
                moved = self.give_up_closed(observer) || self.close_late(now, observer);
            }
            if !moved {
                return Ok(());
            }
            self.last_progress = now;
        }
    }

    /// When [`advance`](Client::advance) should be called at the latest, also if no byte comes.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.round_deadline()
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
        let end = self.make_bytes(server, rng, outbox);
        self.remember(end)?;
        Ok(self.streams[server.index()].outbound.unsent())
    }

    /// The first `bytes` bytes of [`outgoing`](Client::outgoing) were sent.
    ///
    /// # Panics
    /// When there were fewer.
    pub fn sent(&mut self, server: ServerSide, bytes: usize) {
        self.streams[server.index()].outbound.sent(bytes);
    }

    /// Whether everything for `server` is made and sent.
    #[must_use]
    pub fn is_drained(&self, server: ServerSide) -> bool {
        self.streams[server.index()].outbound.unsent().is_empty() && !self.has_more(server)
    }

    /// Starts the submissions of all users for the next round: [`outgoing`](Client::outgoing) makes them. At most one
    /// round ahead of the one whose verdicts come next, which the servers would refuse. Users who have a slot without
    /// an effective dial are left out.
    ///
    /// The round, or none: the epoch is not open, or the client is a round ahead already.
    pub fn submit(&mut self) -> Option<RoundNumber> {
        let session = self.session.as_mut()?;
        let current = session.round.number?;
        let round = session.next_submission.max(current);
        if round > current.next() {
            return None;
        }
        session.submissions.push_back(Submission { round, position: 0 });
        session.next_submission = round.next();
        Some(round)
    }

    /// Both servers have described the same group.
    pub(crate) fn attach(&mut self, group: GroupSettings, observer: &mut impl Observer) {
        let users = self.users.len();
        let piece_bytes = group.piece_bytes();
        let first_bytes = RECEIVE_BYTES.min(users.saturating_mul(piece_bytes));
        for stream in &mut self.streams {
            stream.inbound.resize(first_bytes, self.settings.skew_bytes, piece_bytes);
        }
        let dials = users * group.slots as usize;
        self.session = Some(Session {
            group,
            dials: std::iter::repeat_with(|| Dial::NEW).take(dials).collect(),
            effective: 0,
            confirmed: Confirmed::new(&group, users),
            confirmed_cells: 0,
            opener: BatchOpener::new(group.frame),
            alarms: vec![false; users].into(),
            round: Round::default(),
            submissions: VecDeque::new(),
            next_submission: RoundNumber::DIAL,
        });
        observer.event(Event::Attached(group));
    }

    /// Takes `server`'s WELCOME, which is its first.
    pub(crate) fn welcome(
        &mut self,
        server: ServerSide,
        welcome: Welcome,
        observer: &mut impl Observer,
    ) -> Result<(), ClientError> {
        let asked = (self.settings.group, self.settings.epoch);
        let settings = GroupSettings::read(server, &welcome, asked, &self.users)?;
        if welcome.open != 0 {
            return Err(ClientError::AlreadyOpen { server });
        }
        self.streams[server.index()].welcome = Some(welcome);
        if let [Some(one), Some(two)] = self.streams.each_ref().map(|stream| stream.welcome.as_ref()) {
            group::compare([one, two])?;
            self.attach(settings, observer);
        }
        Ok(())
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
            .field("users", &self.users.len())
            .field("group", &self.group())
            .field("round", &self.round())
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}
