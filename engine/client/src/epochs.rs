//! Epochs follow each other: the first of a connection, the next, and another one in place of all.

use crate::announcements::round_in_bounds;
use crate::client::Client;
use crate::error::{ClientError, field};
use crate::event::Event;
use crate::group::GroupSettings;
use crate::key::Key;
use crate::observer::Observer;
use crate::outbound::Wanted;
use crate::receiving::Round;
use crate::session::Session;
use crate::stream::Stream;
use twincast_protocol::ids::{Epoch, RoundNumber, ServerSide};
use twincast_protocol::parts::PartKind;
use twincast_protocol::wire::{EpochOpen, Kind};

/// What becomes of a frame that names an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is for the session at this position.
    Session(usize),
    /// It waits until the other server has described the epoch too.
    Wait,
    /// The epoch is over.
    Drop,
}

impl Client {
    /// The first session of these connections.
    pub(crate) fn attach(
        &mut self,
        group: GroupSettings,
        mut session: Session,
        observer: &mut impl Observer,
    ) {
        let (epoch, members) = (session.epoch, session.members());
        self.group = Some(GroupSettings { epoch, members, ..group });
        for stream in &mut self.streams {
            stream.said.retain(|said| said.epoch > epoch);
            if stream.gave_up {
                stream.start_over(epoch);
            }
            if stream.open && stream.epoch == epoch {
                session.opened[stream.server.index()] = Some(stream.round);
                session.missed = true;
            }
        }
        observer.event(Event::Attached(GroupSettings { epoch, members, ..group }));
        if !self.settings.join {
            for user in self.ids.iter().filter(|user| session.member(**user).is_none()) {
                observer.event(Event::NotAdmitted { epoch, user: *user });
            }
        }
        self.tell_dialled(&session, observer);
        self.sessions.push_back(session);
        if self.sessions[0].is_open() {
            self.opened(observer);
        }
    }

    /// Both servers gave everything up, and announced this epoch in its place.
    pub(crate) fn start_over(&mut self, session: Session, observer: &mut impl Observer) {
        self.close_begun(observer);
        self.tell_announced(&session, &self.sessions[0], observer);
        self.sessions.clear();
        self.kept.clear();
        self.catching_up = None;
        self.round = Round::default();
        self.submissions.clear();
        for stream in &mut self.streams {
            stream.said.retain(|said| said.epoch > session.epoch);
            stream.start_over(session.epoch);
            stream.outbound.wanted.clear();
        }
        self.sessions.push_back(session);
    }

    /// Tells of an announced epoch, and who of this client's users is in it.
    pub(crate) fn tell_announced(&self, session: &Session, before: &Session, observer: &mut impl Observer) {
        let epoch = session.epoch;
        let first_round = session.first_round.unwrap_or_default();
        observer.event(Event::Announced { epoch, first_round, members: session.members() });
        for (position, user) in self.ids.iter().enumerate() {
            if session.member(*user).is_some() {
                continue;
            }
            if before.member(*user).is_some() {
                observer.event(Event::Left { epoch, user: *user });
            } else if !self.is_leaving(position) {
                observer.event(Event::NotAdmitted { epoch, user: *user });
            }
        }
        self.tell_dialled(session, observer);
    }

    /// What is not to be dialled, or was before the connections became new, is dialled at once.
    fn tell_dialled(&self, session: &Session, observer: &mut impl Observer) {
        if session.effective == session.dials.len() && !session.users.is_empty() {
            observer.event(Event::Dialled { epoch: session.epoch });
        }
    }

    /// Nobody wants the parts of this epoch any more.
    pub(crate) fn cancel(&mut self, epoch: Epoch) {
        for stream in &mut self.streams {
            stream.outbound.wanted.retain(|wanted| wanted.epoch != epoch);
        }
    }

    /// What becomes of a frame of `server` that names this epoch.
    pub(crate) fn place(&self, server: ServerSide, kind: Kind, epoch: Epoch) -> Result<Place, ClientError> {
        let stream = &self.streams[server.index()];
        if let Some(position) = self.sessions.iter().position(|session| session.epoch == epoch) {
            return Ok(if stream.gave_up { Place::Drop } else { Place::Session(position) });
        }
        let over = match self.sessions.front() {
            Some(session) => epoch < session.epoch,
            None => self.is_behind(server) && epoch <= stream.epoch,
        };
        if over {
            return Ok(Place::Drop);
        }
        if stream.said.iter().any(|said| said.epoch == epoch) {
            return Ok(Place::Wait);
        }
        let known = self.sessions.back().map_or(stream.epoch, |session| session.epoch);
        Err(ClientError::Field {
            server,
            kind,
            field: "epoch",
            said: epoch.0.into(),
            expected: known.0.into(),
        })
    }

    /// Whether `server` is in an earlier epoch than the first that this client takes part in.
    pub(crate) fn is_behind(&self, server: ServerSide) -> bool {
        let stream = &self.streams[server.index()];
        match self.sessions.front() {
            Some(session) => stream.epoch < session.epoch,
            None => {
                let other = &self.streams[server.other().index()];
                other.welcome.is_some() && stream.epoch < other.epoch
            }
        }
    }

    /// Takes an EPOCH_OPEN; false if it must wait.
    pub(crate) fn epoch_open(
        &mut self,
        server: ServerSide,
        open: &EpochOpen,
        observer: &mut impl Observer,
    ) -> Result<bool, ClientError> {
        let kind = Kind::EpochOpen;
        let epoch = Epoch(open.epoch.get());
        let place = self.place(server, kind, epoch)?;
        let stream = &mut self.streams[server.index()];
        if place == Place::Wait {
            return Ok(false);
        }
        if stream.gave_up {
            return Ok(true);
        }
        if stream.open && epoch == stream.epoch {
            return Err(ClientError::Unexpected { server, kind, when: "a second time" });
        }
        let expected = if stream.open { next(stream.epoch) } else { stream.epoch };
        field(server, kind, "epoch", epoch.0.into(), expected.0.into())?;
        let first_round = round_in_bounds(server, "first_round", open.first_round.get())?;
        let announced = match place {
            Place::Session(position) => self.sessions[position].first_round,
            Place::Wait | Place::Drop => None,
        };
        field(server, kind, "first_round", first_round.0, announced.unwrap_or(first_round).0)?;
        let nothing_came = stream.floor <= Key::start(epoch);
        if stream.open && stream.in_step {
            stream.leave_out_before(first_round);
            if stream.tiles_in_round > 0 {
                return Err(ClientError::OutOfOrder { server, kind, what: "the last round has not ended" });
            }
            field(server, kind, "first_round", first_round.0, stream.round.0)?;
        }
        stream.epoch = epoch;
        stream.open = true;
        stream.round = first_round;
        stream.floor = Key::round(epoch, first_round);
        stream.in_step = true;
        (stream.partial, stream.tiles_in_round) = (None, 0);
        stream.outbound.wanted.retain(|wanted| wanted.epoch != epoch);
        let Place::Session(position) = place else { return Ok(true) };
        let session = &mut self.sessions[position];
        session.missed |= nothing_came && session.first_round.is_none();
        session.opened[server.index()] = Some(first_round);
        if !session.is_open() {
            return Ok(true);
        }
        let came_later = |stream: &Stream| {
            stream.welcome.is_some_and(|welcome| welcome.open == 1 && welcome.epoch == epoch.0)
        };
        if let [Some(one), Some(two)] = session.opened
            && one != two
            && !self.streams.iter().any(came_later)
        {
            return Err(ClientError::ServersDiffer { field: "first_round", said: [one.0, two.0] });
        }
        if position == 1 {
            self.switch(observer);
        }
        self.opened(observer);
        Ok(true)
    }

    /// The next epoch is open at both servers: the one before it is over.
    fn switch(&mut self, observer: &mut impl Observer) {
        self.close_begun(observer);
        self.sessions.pop_front();
        self.catching_up = None;
        self.round = Round::default();
        self.submissions.clear();
        self.streams.iter_mut().for_each(Stream::stop_fetching);
    }

    /// The epoch in front is open at both servers.
    fn opened(&mut self, observer: &mut impl Observer) {
        let Some(session) = self.sessions.front_mut() else { return };
        let begun = self.streams[1].outbound.begun.map(|begun| begun.parts);
        let of_this =
            |parts: &Wanted| parts.session == session.serial && parts.kind == PartKind::Confirmation;
        let half_sent = begun.filter(of_this);
        let slots = self.group.map_or(0, |group| group.slots as usize);
        let half_sent = half_sent.map(|parts| parts.position * slots + parts.slot.0 as usize);
        for (position, dial) in session.dials.iter_mut().enumerate() {
            if half_sent != Some(position) {
                dial.forget();
            }
        }
        if !self.start_catching_up() {
            self.begin(observer);
        }
    }

    /// Reads rounds from now on: from the first that both servers deliver whole.
    pub(crate) fn begin(&mut self, observer: &mut impl Observer) {
        let silent_until = self.rounds_of_earlier_clients();
        let (Some(session), Some(group)) = (self.sessions.front_mut(), &self.group) else { return };
        let failed = session.confirmed.failed();
        if !std::mem::replace(&mut session.alarmed, true) {
            for (user, failed) in session.users.iter().zip(&failed) {
                self.alarms[user.position] |= *failed > 0;
            }
        }
        let [one, two] = self.streams.each_ref().map(Stream::next_whole_round);
        let first_round = one.max(two);
        self.round = Round::begin(first_round);
        // Who is no member yet has signed nothing.
        let may_have_signed = self.signed.is_none() && !session.users.is_empty();
        if self.next_submission == RoundNumber::DIAL && may_have_signed {
            self.silent_until = silent_until;
        }
        // Where rounds are signed for, that says by itself what not to submit for again. A server that once said that it was
        // far ahead must not keep users from it any longer.
        let submitted = if group.signs_rounds() { first_round } else { self.next_submission };
        self.next_submission = first_round.max(submitted);
        for stream in &mut self.streams {
            let epoch = session.epoch;
            let early =
                |key: Key| key >= Key::round(epoch, RoundNumber(0)) && key < Key::round(epoch, first_round);
            if let Some(delivery) = stream.delivery.as_mut().filter(|delivery| early(delivery.key)) {
                delivery.dropped = true;
            }
        }
        if session.exchange.is_drawn() {
            let failed = session.exchange.failed + session.keys_missing(group);
            let pairs = session.exchange.pairs();
            observer.event(Event::KeysExchanged { epoch: session.epoch, pairs, failed });
        }
        let (confirmed, failed) = (session.confirmed_cells, failed.iter().sum());
        let (epoch, plays) = (session.epoch, !session.users.is_empty());
        observer.event(Event::EpochOpen { epoch, first_round, confirmed, failed });
        let until = self.first_unsigned_round();
        if plays && until.is_none_or(|until| until > first_round.next()) {
            observer.event(Event::Silent { epoch, until });
        }
    }
}

impl Client {
    /// The first round for which no earlier client of these users can have signed a record, where nothing is known of
    /// one: servers take them for the open round and the next one.
    fn rounds_of_earlier_clients(&self) -> RoundNumber {
        let welcomes = self.streams.iter().filter_map(|stream| stream.welcome.as_ref());
        let open = welcomes.filter(|welcome| welcome.open == 1).map(|welcome| welcome.round.get());
        open.max().map_or(RoundNumber::DIAL, |open| RoundNumber(open.saturating_add(2)))
    }
}

/// The epoch after this one.
pub(crate) fn next(epoch: Epoch) -> Epoch {
    Epoch(epoch.0.saturating_add(1))
}
