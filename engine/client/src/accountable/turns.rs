//! Turns: every member asks both servers for headers once in `header_rounds` rounds, of a tile that it has doubts about
//! or else of any.
//!
//! A turn is over once no server has to keep any round that it may ask about: `rounds_kept` rounds, which is
//! `2 header_rounds + 2`, after its own. What was not asked by then is not asked, and what was not answered is given up. So
//! nothing is given up that a server still has, and a user has at most one turn waiting for each that falls into
//! `rounds_kept` rounds: 3, or 4 where every round is a turn, and one more where an epoch ends among them.

use super::doubts::Doubt;
use super::round_ends::Word;
use super::{Accounts, Facts};
use crate::client::Client;
use crate::error::{ClientError, field};
use crate::observer::{Observer, User};
use crate::stream::Stream;
use rand::{CryptoRng, RngExt};
use twincast_protocol::accountable::headers::Headers;
use twincast_protocol::accountable::turn::{fetchable, is_turn, rounds_kept};
use twincast_protocol::ids::{Epoch, RoundNumber, ServerSide, SlotIndex, UserId};
use twincast_protocol::wire::{Body, ErrorFrame, FetchHeaders, HeadersHead, Kind};

/// A user's turn: the round that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    epoch: Epoch,
    user: UserId,
    round: RoundNumber,
}

/// Where headers are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) epoch: Epoch,
    pub(crate) round: RoundNumber,
    /// The user that asks, as a member of that epoch.
    pub(crate) user: User,
    pub(crate) slot: SlotIndex,
    pub(crate) tile: u32,
}

/// Headers that were asked for at both servers.
pub(crate) struct Asked {
    /// The turn's round.
    turn: RoundNumber,
    pub(crate) place: Place,
    /// What the servers signed at the round's end.
    pub(crate) words: [Option<Word>; 2],
    pub(crate) doubt: Option<Doubt>,
    pub(crate) answers: [Answer; 2],
}

/// What a server answers.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Nothing yet.
    Waiting,
    /// That it has none, or nothing in time.
    Nothing,
    Headers(Box<Headers>),
}

impl Answer {
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self, Answer::Waiting)
    }
}

impl Place {
    fn is_of(&self, head: &HeadersHead) -> bool {
        let said = (head.epoch.get(), head.round.get(), head.user.get(), head.slot.get(), head.tile.get());
        said == (self.epoch.0, self.round.0, self.user.member.0, self.slot.0, self.tile)
    }

    /// Whether a refusal is about it: that names no epoch and no tile, and no round is of two epochs.
    fn is_refused_by(&self, head: &ErrorFrame) -> bool {
        let said = (head.round.get(), head.sender.get(), head.slot.get());
        said == (self.round.0, self.user.member.0, self.slot.0)
    }
}

impl Asked {
    fn is_answered(&self) -> bool {
        !self.answers.iter().any(Answer::is_waiting)
    }
}

impl Accounts {
    /// Where a user asks at its turn: where its doubt is, else in any of the rounds that both servers have signed, and
    /// any tile of it.
    fn place(
        &mut self,
        turn: &Turn,
        (slots, header_rounds): (u32, u32),
        rng: &mut impl CryptoRng,
    ) -> Option<(Place, Option<Doubt>)> {
        let rounds = fetchable(turn.round, header_rounds);
        let first = *rounds.start();
        if let Some(doubt) = self.doubts.take(turn.user, &rounds) {
            let tile = &doubt.tile;
            let place = Place {
                epoch: tile.epoch,
                round: tile.round,
                user: doubt.user,
                slot: tile.slot,
                tile: tile.tile,
            };
            return Some((place, Some(doubt)));
        }
        let of_epoch = |epoch: Epoch| self.epochs.iter().find(|facts| facts.epoch == epoch);
        let was_there = |epoch: Epoch| of_epoch(epoch).is_some_and(|facts| facts.user(turn.user).is_some());
        let rounds = self.ends.signed_by_both(first, turn.round).filter(|(epoch, _)| was_there(*epoch));
        let rounds: Vec<(Epoch, RoundNumber)> = rounds.collect();
        // Where there is nothing to ask about, it asks about its turn, as if there were.
        let chosen = match rounds.len() {
            0 => (turn.epoch, turn.round),
            some => rounds[rng.random_range(0..some)],
        };
        let facts = of_epoch(chosen.0)?;
        let user = facts.user(turn.user)?;
        let (slot, tile) = (SlotIndex(rng.random_range(0..slots)), rng.random_range(0..facts.tiles()));
        Some((Place { epoch: chosen.0, round: chosen.1, user, slot, tile }, None))
    }

    /// Gives up the turns that are over once `closed` is, and with them what was asked at them and is not answered; and
    /// doubts that no later turn can ask about.
    fn give_up_late(&mut self, closed: RoundNumber, header_rounds: u32) {
        let kept = rounds_kept(header_rounds) as u64;
        // None is ahead of it, but where servers began anew.
        let is_over = |round: RoundNumber| round > closed || round.0.saturating_add(kept) <= closed.0;
        self.turns.retain(|turn| !is_over(turn.round));
        for asked in self.asked.iter_mut().filter(|asked| is_over(asked.turn)) {
            for (answer, stale) in asked.answers.iter_mut().zip(&mut self.stale) {
                if answer.is_waiting() {
                    *answer = Answer::Nothing;
                    *stale += 1;
                }
            }
        }
        let epochs = &self.epochs;
        let is_kept = |epoch: Epoch| epochs.iter().any(|facts| facts.epoch == epoch);
        self.doubts.forget_if(|tile| is_over(tile.round) || !is_kept(tile.epoch));
    }

    /// The first that waits for `server` among those of which `is_it` says so.
    fn waiting(&mut self, server: ServerSide, mut is_it: impl FnMut(&Place) -> bool) -> Option<&mut Answer> {
        let index = server.index();
        let asked =
            self.asked.iter_mut().find(|asked| asked.answers[index].is_waiting() && is_it(&asked.place));
        asked.map(|asked| &mut asked.answers[index])
    }
}

impl Facts {
    fn tiles(&self) -> u32 {
        (self.roster.len() as u32).div_ceil(crate::limits::TILE_SENDERS)
    }

    fn user(&self, id: UserId) -> Option<User> {
        self.users.iter().copied().find(|user| user.id == id)
    }
}

impl Client {
    /// A round is closed: whoever's turn it is asks for headers, and what the servers signed of cells that did not
    /// decode is verified.
    pub(crate) fn account_for(&mut self, round: RoundNumber, observer: &mut impl Observer) {
        let (Some(session), Some(group)) = (self.sessions.front(), &self.group) else { return };
        if !group.accountable {
            return;
        }
        let epoch = session.epoch;
        let members = session.users.iter().filter(|user| is_turn(round, user.member, group.header_rounds));
        let turns = members.map(|user| Turn { epoch, user: user.id, round });
        self.accounts.turns.extend(turns);
        self.accounts.give_up_late(round, group.header_rounds);
        self.verify_doubts(epoch, round, observer);
        self.conclude(observer);
    }

    /// Whether a turn has come: its round has ended at both servers.
    pub(crate) fn turn_has_come(&self) -> bool {
        let Some(turn) = self.accounts.turns.front() else { return false };
        self.streams.iter().all(|stream: &Stream| stream.is_past(turn.epoch, turn.round))
    }

    /// Asks both servers for the headers of the turn that has come.
    pub(crate) fn ask_headers(&mut self, rng: &mut impl CryptoRng) {
        let Client { accounts, streams, group: Some(group), .. } = self else { return };
        let Some(turn) = accounts.turns.pop_front() else { return };
        let Some((place, doubt)) = accounts.place(&turn, (group.slots, group.header_rounds), rng) else {
            return;
        };
        let Place { epoch, round, user, slot, tile } = place;
        let fetch = FetchHeaders::new(round, epoch, user.member, slot, tile);
        for stream in streams {
            fetch.put(0, &mut stream.outbound.frames);
        }
        let kept = accounts.words(epoch, round, user.id);
        let words = match &doubt {
            Some(doubt) => [0, 1].map(|server| doubt.words[server].clone().or(kept[server].clone())),
            None => kept,
        };
        let answers = [Answer::Waiting, Answer::Waiting];
        accounts.asked.push_back(Asked { turn: turn.round, place, words, doubt, answers });
    }

    /// Takes HEADERS of `server`.
    pub(crate) fn headers(
        &mut self,
        server: ServerSide,
        head: &HeadersHead,
        observer: &mut impl Observer,
    ) -> Result<(), ClientError> {
        let kind = Kind::Headers;
        let Client { accounts, streams, group: Some(group), .. } = &mut *self else { return Ok(()) };
        let headers = streams[server.index()].read_headers()?;
        let facts = accounts.epochs.iter().find(|facts| facts.epoch.0 == head.epoch.get());
        if let Some(facts) = facts {
            field(server, kind, "members", head.members.get().into(), facts.roster.len() as u64)?;
            field(server, kind, "slots", head.slots.get().into(), group.slots.into())?;
        }
        if let Some(answer) = accounts.waiting(server, |place| place.is_of(head)) {
            *answer = Answer::Headers(Box::new(headers));
        } else if accounts.stale[server.index()] > 0 {
            accounts.stale[server.index()] -= 1;
        } else {
            return Err(ClientError::Unexpected { server, kind, when: "that nobody asked for" });
        }
        self.conclude(observer);
        Ok(())
    }

    /// `server` has no headers where a user asked for them, which waits for them no more.
    pub(crate) fn headers_refused(
        &mut self,
        server: ServerSide,
        head: &ErrorFrame,
        observer: &mut impl Observer,
    ) {
        match self.accounts.waiting(server, |place| place.is_refused_by(head)) {
            Some(answer) => *answer = Answer::Nothing,
            None => {
                let stale = &mut self.accounts.stale[server.index()];
                *stale = stale.saturating_sub(1);
            }
        }
        self.conclude(observer);
    }

    /// Shows what came of everything that both servers have answered.
    fn conclude(&mut self, observer: &mut impl Observer) {
        while let Some(place) = self.accounts.asked.iter().position(Asked::is_answered) {
            if let Some(asked) = self.accounts.asked.remove(place) {
                self.show(&asked, observer);
                self.accounts.doubts.forget(asked.doubt);
            }
        }
    }
}
