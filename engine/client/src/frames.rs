//! What each frame of a server does to a client.

use crate::client::Client;
use crate::epochs::Place;
use crate::error::{ClientError, field};
use crate::event::Event;
use crate::key::Key;
use crate::limits::ROUND_MAX;
use crate::observer::Observer;
use crate::receiving::End;
use crate::stream::Frame;
use std::time::Duration;
use twincast_protocol::ids::{Epoch, RoundNumber, ServerSide};
use twincast_protocol::wire::{Code, ErrorFrame, Kind};

/// How a server says that it ended a round.
#[derive(Clone, Copy, Debug)]
struct RoundOver {
    round: u64,
    /// How many tiles of it were delivered, and how many of those without the other server's word; none if it was
    /// left out.
    tiles: Option<(u32, u32)>,
}

impl Client {
    /// Takes `server`'s frames up to the next cells. Whether there were any.
    pub(crate) fn read_frames(
        &mut self,
        server: ServerSide,
        now: Duration,
        observer: &mut impl Observer,
    ) -> Result<bool, ClientError> {
        let mut moved = false;
        while self.streams[server.index()].delivery.is_none() {
            let Some((frame, bytes)) = self.streams[server.index()].peek()? else { break };
            if !self.take(server, frame, now, observer)? {
                break;
            }
            self.streams[server.index()].inbound.consume(bytes);
            moved = true;
        }
        Ok(moved)
    }

    /// Takes a frame; false if it must wait for the other server.
    fn take(
        &mut self,
        server: ServerSide,
        frame: Frame,
        now: Duration,
        observer: &mut impl Observer,
    ) -> Result<bool, ClientError> {
        let kind = frame.kind();
        let unexpected = |when| Err(ClientError::Unexpected { server, kind, when });
        match (&frame, self.streams[server.index()].welcome.is_some()) {
            (Frame::Error(head, sentence), _) => {
                self.refused(server, head, sentence, observer);
                return Ok(true);
            }
            (Frame::Welcome(welcome), false) => return self.welcome(server, *welcome).map(|()| true),
            (Frame::Welcome(_), true) => return unexpected("a second time"),
            (_, false) => return unexpected("before WELCOME"),
            (_, true) => {}
        }
        match &frame {
            Frame::Announce(announce) => self.announce(server, announce)?,
            Frame::Roster(head, users) => self.roster_frame(server, head, users, observer)?,
            Frame::EpochOpen(open) => return self.epoch_open(server, open, observer),
            Frame::Deliver(_) | Frame::RoundEnd(_) if self.is_answered(server) => {
                return unexpected("in a group whose delivery is `answer`");
            }
            Frame::Answers(_) if !self.is_answered(server) => {
                return unexpected("in a group whose delivery is `broadcast`");
            }
            Frame::Answers(answers) => return self.answers_head(server, answers),
            Frame::Deliver(deliver) => return self.deliver(server, deliver, observer),
            Frame::RoundEnd(end) => {
                if self.streams[server.index()].signed.is_none() {
                    field(server, kind, "users", end.users.get().into(), 0)?;
                }
                let tiles = Some((end.tiles.get(), end.unagreed.get()));
                return self.end(server, RoundOver { round: end.round.get(), tiles }, now, observer);
            }
            Frame::Headers(head) => self.headers(server, head, observer)?,
            Frame::RoundSkipped(skipped) => {
                let over = RoundOver { round: skipped.round.get(), tiles: None };
                return self.end(server, over, now, observer);
            }
            Frame::Dialled(dialled) => {
                return match self.place(server, kind, Epoch(dialled.epoch.get()))? {
                    Place::Wait => Ok(false),
                    Place::Drop => Ok(true),
                    Place::Session(position) => {
                        self.dialled(server, position, dialled, observer).map(|()| true)
                    }
                };
            }
            Frame::Grant(grant) => {
                return match self.place(server, kind, Epoch(grant.epoch.get()))? {
                    Place::Wait => Ok(false),
                    Place::Drop => Ok(true),
                    Place::Session(position) => self.grant(server, position, grant).map(|()| true),
                };
            }
            Frame::Welcome(_) | Frame::Error(..) => unreachable!("taken above"),
        }
        Ok(true)
    }

    /// `server` has ended a round. False if it must wait: an earlier round is not closed, or the epoch not open at
    /// the other server.
    fn end(
        &mut self,
        server: ServerSide,
        over: RoundOver,
        now: Duration,
        observer: &mut impl Observer,
    ) -> Result<bool, ClientError> {
        let kind = if over.tiles.is_some() { Kind::RoundEnd } else { Kind::RoundSkipped };
        let behind = self.is_behind(server);
        let Some(session) = self.sessions.front() else {
            if !behind {
                return Ok(false);
            }
            return self.pass_round(server, over.round, kind);
        };
        let (epoch, reads) = (session.epoch, !session.users.is_empty());
        let answered = self.is_answered(server);
        let stream = &mut self.streams[server.index()];
        if stream.gave_up {
            return Ok(true);
        }
        if behind {
            return self.pass_round(server, over.round, kind);
        }
        if !stream.open {
            return Err(ClientError::Unexpected { server, kind, when: "before EPOCH_OPEN" });
        }
        if stream.epoch != epoch || self.round.number.is_none() && self.catching_up.is_none() {
            return Ok(false);
        }
        stream.leave_out_before(RoundNumber(over.round));
        if stream.in_step {
            field(server, kind, "round", over.round, stream.round.0)?;
        }
        if answered && !reads {
            // Of answers to others there is no word: rounds that this client hears of need not follow each other.
            return self.pass_round(server, over.round, kind);
        }
        let round = RoundNumber(over.round);
        let whole = stream.in_step && stream.partial != Some(round) && reads;
        if whole && stream.floor.epoch() == epoch {
            let delivered = stream.tiles_in_round;
            field(server, kind, "tiles", over.tiles.map_or(0, |tiles| tiles.0).into(), delivered.into())?;
        }
        if self.round.number.is_some_and(|current| round > current) {
            return Ok(false);
        }
        if over.tiles.is_some() {
            self.signed_end(server, round, whole)?;
        }
        self.pass_round(server, over.round, kind)?;
        if self.round.number == Some(round) {
            let (end, unagreed) = match over.tiles {
                Some((_, unagreed)) => (End::Delivered, unagreed),
                None => (End::Skipped, 0),
            };
            self.round.end(server, end, unagreed, now);
            self.close_if_ended(observer);
        }
        Ok(true)
    }

    /// `server` goes on to the round after this one.
    fn pass_round(&mut self, server: ServerSide, round: u64, kind: Kind) -> Result<bool, ClientError> {
        let stream = &mut self.streams[server.index()];
        if round > ROUND_MAX {
            let expected = stream.round.0;
            return Err(ClientError::Field { server, kind, field: "round", said: round, expected });
        }
        if stream.floor.epoch() > stream.epoch {
            let what = "the parts of the next epoch have begun";
            return Err(ClientError::OutOfOrder { server, kind, what });
        }
        stream.pass(RoundNumber(round));
        Ok(true)
    }

    /// Takes an ERROR.
    fn refused(
        &mut self,
        server: ServerSide,
        head: &ErrorFrame,
        sentence: &str,
        observer: &mut impl Observer,
    ) {
        let index = server.index();
        match Code::from_number(head.code.get()) {
            Some(Code::DialHalf) if self.dial_void(server, head, observer) => return,
            Some(Code::PeerAbsent | Code::EpochGivenUp) => {
                if let Some(next) = self.sessions.get_mut(1) {
                    next.waits[index] = true;
                }
            }
            Some(Code::HeadersRange) => {
                self.headers_refused(server, head, observer);
            }
            Some(Code::EpochMismatch) if self.streams[index].welcome.is_some() => {
                let last = self.sessions.back().map(|session| session.epoch);
                let stream = &mut self.streams[index];
                stream.gave_up = true;
                stream.stop_fetching();
                stream.floor = Key::end(last.unwrap_or(stream.epoch));
            }
            Some(Code::FetchRange | Code::EpochWrong | Code::EpochNotOpen)
                if head.sender.get() == u32::MAX =>
            {
                self.fetch_refused(server);
            }
            _ => {}
        }
        observer.event(Event::refused(server, head, sentence));
    }
}
