//! Both servers' cells become verdicts, round after round.
//!
//! Each server's tiles come in ascending order. Tiles of the same place are read together, a user at a time, as soon
//! as both servers' cells of that user are there; a tile that the other server has passed without delivering it is
//! incomplete. One round is open at a time: what a server says of the next one waits in its buffer.

use crate::answers::Sums;
use crate::client::Client;
use crate::decoder::Decoder;
use crate::event::Event;
use crate::group::{Delivery as GroupDelivery, GroupSettings};
use crate::key::{Class, Key};
use crate::observer::{Messages, Observer, Tile, User};
use crate::session::Session;
use crate::stream::{Delivery, Kin, Stream};
use std::time::Duration;
use twincast_protocol::context::{Context, Purpose};
use twincast_protocol::ids::{MemberIndex, RoundNumber, ServerSide};
use twincast_protocol::receive::{TileCells, Verdicts};
use twincast_protocol::sealed::{self, Associated};

/// How a server has ended a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Delivered,
    Skipped,
}

/// The round whose verdicts come next.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// None until the epoch is open at both servers and caught up with.
    pub(crate) number: Option<RoundNumber>,
    /// The tile and slot from which on there are no verdicts yet, or not for all users.
    next: (u32, u32),
    ended: [Option<End>; 2],
    first_end: Option<Duration>,
    unagreed: [u32; 2],
    /// What is there of its answers, in a group that has those.
    pub(crate) sums: Sums,
}

impl Round {
    /// Nothing is known of this round yet.
    pub(crate) fn begin(number: RoundNumber) -> Round {
        Round { number: Some(number), ..Round::default() }
    }

    /// `server` has ended this round.
    pub(crate) fn end(&mut self, server: ServerSide, end: End, unagreed: u32, now: Duration) {
        self.ended[server.index()] = Some(end);
        self.unagreed[server.index()] = unagreed;
        self.first_end.get_or_insert(now);
    }

    /// Whether neither server has said anything of it.
    fn is_untouched(&self) -> bool {
        self.next == (0, 0) && self.sums.is_untouched()
    }

    fn tile_done(&mut self, tile: &Tile, slots: u32) {
        let slot = tile.slot.0 + 1;
        self.next = if slot < slots { (tile.tile, slot) } else { (tile.tile + 1, 0) };
    }
}

/// What is at hand when verdicts are given.
struct Desk<'a> {
    group: &'a GroupSettings,
    session: &'a Session,
    round: &'a mut Round,
}

impl Client {
    /// Reads cells as far as both servers' go. Whether there were any.
    pub(crate) fn read_cells(&mut self, observer: &mut impl Observer) -> bool {
        let mut moved = false;
        for stream in &mut self.streams {
            if stream.delivery.is_some_and(|delivery| delivery.dropped) {
                moved |= stream.drop_cells();
            }
        }
        let waiting = self.streams.each_ref().map(|stream| stream.waiting().copied());
        let floors = self.streams.each_ref().map(|stream| stream.floor);
        let alone = |server: usize| {
            let passed =
                |delivery: Delivery| delivery.kin == Kin::InOrder && floors[1 - server] > delivery.key;
            waiting[server].is_some_and(passed)
        };
        let end = match waiting {
            [Some(first), Some(second)] if first.key == second.key => match first.key.class() {
                Class::Messages if first.root.is_some() => self.read_answers(),
                Class::Messages => self.read_messages(observer),
                Class::Confirmations | Class::Keys | Class::Replies => self.read_parts(observer),
            },
            _ if alone(0) => self.read_alone(0, observer),
            _ if alone(1) => self.read_alone(1, observer),
            _ => false,
        };
        moved | end
    }

    /// Closes the round if both servers have ended it, or one has and the other is past it, or both have left it out
    /// without a word. Whether it did.
    pub(crate) fn close_if_ended(&mut self, observer: &mut impl Observer) -> bool {
        let (Some(session), Some(number)) = (self.sessions.front(), self.round.number) else { return false };
        let (epoch, ended) = (session.epoch, self.round.ended);
        let past = self.streams.each_ref().map(|stream| stream.is_past(epoch, number));
        if ended != [None; 2] {
            let over = (0..2).all(|server| ended[server].is_some() || past[server]);
            if over {
                self.close_round(false, false, observer);
            }
            return over;
        }
        let left_out = self.streams.iter().all(|stream| stream.has_left_out(epoch, number));
        if left_out {
            self.close_round(false, true, observer);
            // However many they left out: there is nothing to tell of each.
            let [one, two] = self.streams.each_ref().map(|stream| stream.round);
            let next = one.min(two).max(number.next());
            self.round = Round::begin(next);
            self.next_submission = self.next_submission.max(next);
        }
        left_out
    }

    /// Closes the round, which both servers are past, and goes on to a later one: there is nothing to tell of each
    /// between.
    fn leave_behind(&mut self, next: RoundNumber, observer: &mut impl Observer) {
        let (Some(session), Some(number)) = (self.sessions.front(), self.round.number) else { return };
        let epoch = session.epoch;
        let left_out = self.streams.iter().all(|stream| stream.has_left_out(epoch, number));
        self.close_round(false, left_out && self.round.ended == [None; 2], observer);
        self.round = Round::begin(next.max(number.next()));
        self.next_submission = self.next_submission.max(next);
    }

    /// Takes note of a closed connection whose last bytes are used. Whether there was one.
    pub(crate) fn give_up_closed(&mut self, observer: &mut impl Observer) -> bool {
        let [one, two] = &mut self.streams;
        let gave_up = one.give_up() | two.give_up();
        if gave_up {
            self.close_if_ended(observer);
        }
        gave_up
    }

    /// Closes the round if it is late by `now`. Whether it was.
    pub(crate) fn close_late(&mut self, now: Duration, observer: &mut impl Observer) -> bool {
        let late = self.round_deadline().is_some_and(|deadline| now >= deadline);
        if late {
            self.close_round(true, false, observer);
        }
        late
    }

    /// The round closes `round_timeout` after the first server ended it, or after the last byte of any use while one
    /// server's cells wait for the other's.
    pub(crate) fn round_deadline(&self) -> Option<Duration> {
        let (session, number) = (self.sessions.front()?, self.round.number?);
        let waits = |stream: &Stream| {
            let of_this_round = |delivery: &Delivery| delivery.key < Key::round(session.epoch, number.next());
            stream.messages_wait() && stream.waiting().is_some_and(of_this_round)
        };
        let stalled = self.streams.iter().any(waits).then_some(self.last_progress);
        let since = match (self.round.first_end, stalled) {
            (Some(end), Some(stalled)) => end.min(stalled),
            (end, stalled) => end.or(stalled)?,
        };
        Some(since + self.group?.round_timeout)
    }

    /// Closes the rounds that somebody has begun, when their epoch is over: this client by submitting, or a server.
    pub(crate) fn close_begun(&mut self, observer: &mut impl Observer) {
        // Where members get answers, there is no word of rounds for a client that plays none.
        let plays = self.sessions.front().is_some_and(|session| !session.users.is_empty());
        let hears = plays || self.group.is_some_and(|group| group.delivery == GroupDelivery::Broadcast);
        // It submits at most a round ahead. What comes next may be far beyond that, where a server once said so.
        let furthest = RoundNumber(self.round.number.unwrap_or_default().0.saturating_add(2));
        let submitted = self.next_submission.min(furthest);
        while let Some(number) = self.round.number {
            if self.close_if_ended(observer) {
                continue;
            }
            if !hears {
                return;
            }
            let untouched = self.round.is_untouched() && self.round.ended == [None; 2];
            if submitted <= number && untouched {
                return;
            }
            self.close_round(true, false, observer);
        }
    }

    /// Gives the verdicts that are missing and goes on to the next round. There are none on a round that is left out.
    pub(crate) fn close_round(&mut self, timed_out: bool, left_out: bool, observer: &mut impl Observer) {
        let Client { settings, streams, sessions, group: Some(group), round, closed_rounds, .. } = self
        else {
            return;
        };
        let (Some(session), Some(number)) = (sessions.front(), round.number) else { return };
        let skipped = match left_out && round.is_untouched() {
            true => [true; 2],
            false => round.ended.map(|end| end == Some(End::Skipped)),
        };
        let mut deliveries = streams.each_mut().map(|stream| {
            stream.delivery.as_mut().filter(|delivery| {
                let key = delivery.key;
                let of_messages = key.class() == Class::Messages && delivery.kin == Kin::InOrder;
                of_messages && (key.epoch(), key.round_number()) == (session.epoch, number)
            })
        });
        match group.delivery {
            GroupDelivery::Answer => closed_rounds.push(settings, session, round, skipped == [true; 2]),
            GroupDelivery::Broadcast if skipped != [true; 2] => {
                let mut desk = Desk { group, session, round };
                desk.finish_tile(&deliveries, observer);
                desk.miss_until((session.tiles(), 0), observer);
            }
            GroupDelivery::Broadcast => {}
        }
        for delivery in deliveries.iter_mut().flatten() {
            delivery.dropped = true;
        }
        let unagreed = round.unagreed;
        *round = Round::begin(number.next());
        self.next_submission = self.next_submission.max(number.next());
        observer.event(Event::RoundClosed { round: number, skipped, timed_out, unagreed });
        self.account_for(number, observer);
    }

    /// Reads the cells of a tile of messages that both servers deliver. Whether there were any.
    fn read_messages(&mut self, observer: &mut impl Observer) -> bool {
        let Client { streams: [one, two], sessions, group: Some(group), round, .. } = self else {
            return false;
        };
        let Client { decoder, alarms, accounts, .. } = self;
        let (Some(first), Some(second)) = (one.delivery, two.delivery) else { return false };
        let (Some(session), Some(decoder)) = (sessions.front(), decoder) else { return false };
        let Delivery { tile, piece_bytes, .. } = first;
        if tile.epoch != session.epoch || round.number != Some(tile.round) {
            return false;
        }
        let mut desk = Desk { group, session, round };
        desk.miss_until((tile.tile, tile.slot.0), observer);
        let context = Context {
            group: group.group,
            epoch: tile.epoch,
            round: tile.round,
            sender: tile.first_sender,
            slot: tile.slot,
            purpose: Purpose::Message,
        };
        let present = [first.present, second.present];
        let mut position = first.position;
        while let Some(user) = session.users.get(position).copied() {
            let (Some(cells1), Some(cells2)) = (one.piece(piece_bytes), two.piece(second.piece_bytes)) else {
                break;
            };
            if present[0] & present[1] == 0 {
                observer.verdicts(&tile, user, &unread_verdicts(&tile, present), &Messages(None));
            } else if observer.wants(&tile, user) {
                let count = tile.senders as usize;
                let cells = TileCells { count, cells: [cells1, cells2], present };
                let expected = session.confirmed.expected(tile.slot.0, tile.tile, position);
                let mut verdicts = decoder.decode(&context, &cells, expected);
                // A confirmation that failed has raised its one alarm when the epoch was opened.
                alarms[user.position] |= verdicts.tampered & !expected.failed != 0;
                if group.accountable && verdicts.tampered != 0 {
                    accounts.doubt(&tile, user, verdicts.tampered, [cells1, cells2]);
                }
                if decoder.has_marks() && verdicts.accept != 0 {
                    unseal(decoder, &mut verdicts, &context, &tile, (session, position), observer);
                }
                observer.verdicts(&tile, user, &verdicts, &Messages(Some(decoder)));
            } else {
                observer.unread(&tile, user);
            }
            one.piece_read();
            two.piece_read();
            position += 1;
        }
        if position == session.users.len() {
            desk.round.tile_done(&tile, group.slots);
        }
        position > first.position
    }

    /// Gives up on a tile that the other server does not deliver.
    fn read_alone(&mut self, server: usize, observer: &mut impl Observer) -> bool {
        let Client { streams, sessions, group: Some(group), round, last_progress, .. } = self else {
            return false;
        };
        let side = streams[server].server;
        let Some(delivery) = &mut streams[server].delivery else { return false };
        // Answers end their round. The one before it comes first, which neither server has more to say of.
        let later = round.number.is_some_and(|number| delivery.tile.round > number);
        if delivery.root.is_some()
            && later
            && sessions.front().is_some_and(|front| front.epoch == delivery.tile.epoch)
        {
            let next = delivery.tile.round;
            self.leave_behind(next, observer);
            return true;
        }
        delivery.dropped = true;
        let tile = delivery.tile;
        let Some(session) = sessions.front().filter(|session| session.epoch == tile.epoch) else {
            return true;
        };
        if delivery.root.is_some() && round.number == Some(tile.round) {
            round.end(side, End::Delivered, 0, *last_progress);
        } else if delivery.key.class() == Class::Messages && round.number == Some(tile.round) {
            let mut desk = Desk { group, session, round };
            desk.miss_until((tile.tile, tile.slot.0), observer);
            let verdicts = unread_verdicts(&tile, [delivery.present, 0]);
            report(&tile, delivery.position, &verdicts, &session.users, observer);
            desk.round.tile_done(&tile, group.slots);
        }
        true
    }
}

impl Desk<'_> {
    /// Verdicts for whoever has none yet in the tile that is being read when its round is closed.
    fn finish_tile(&mut self, deliveries: &[Option<&mut Delivery>; 2], observer: &mut impl Observer) {
        let place = self.round.next;
        let here = |delivery: &Option<&mut Delivery>| {
            let delivery = delivery.as_ref().filter(|delivery| !delivery.dropped)?;
            let same = (delivery.tile.tile, delivery.tile.slot.0) == place;
            same.then_some((delivery.tile, delivery.present, delivery.position))
        };
        if let [Some((tile, present1, position)), Some((_, present2, _))] = deliveries.each_ref().map(here) {
            let verdicts = unread_verdicts(&tile, [present1 | present2, 0]);
            report(&tile, position, &verdicts, &self.session.users, observer);
            self.round.tile_done(&tile, self.group.slots);
        }
    }

    /// Verdicts on the tiles below `end` that neither server has delivered.
    fn miss_until(&mut self, end: (u32, u32), observer: &mut impl Observer) {
        while self.round.next < end {
            let number = self.round.number.unwrap_or_default();
            let tile = self.session.tile(number, self.round.next.0, self.round.next.1);
            let verdicts = unread_verdicts(&tile, [u64::MAX, 0]);
            report(&tile, 0, &verdicts, &self.session.users, observer);
            self.round.tile_done(&tile, self.group.slots);
        }
    }
}

/// Opens what was accepted and came sealed.
fn unseal(
    decoder: &mut Decoder,
    verdicts: &mut Verdicts,
    context: &Context,
    tile: &Tile,
    (session, position): (&Session, usize),
    observer: &mut impl Observer,
) {
    let user = session.users[position];
    decoder.unseal(verdicts, |sender_in_tile, sealed, out| {
        let sender = MemberIndex(tile.first_sender.0 + sender_in_tile as u32);
        let associated = |recipient_set| Associated {
            group: context.group,
            epoch: context.epoch,
            round: context.round,
            sender,
            recipient_set,
            sequence: context.slot.0.into(),
        };
        let pair = associated(user.id.0.into());
        for keys in session.exchange.opening(position, sender) {
            if let Some(plaintext) = sealed::open(&keys.receive, &pair, sealed, out) {
                return Some(plaintext.len());
            }
        }
        let id = *session.roster.get(sender.0 as usize)?;
        let (key, recipient_set) = observer.opens_with(tile, user, id)?;
        sealed::open(key, &associated(recipient_set), sealed, out).map(|plaintext| plaintext.len())
    });
}

/// Verdicts on cells that are not read, from what the servers say of who is there.
fn unread_verdicts(tile: &Tile, [present1, present2]: [u64; 2]) -> Verdicts {
    let mask = tile.mask();
    Verdicts {
        absent: !(present1 | present2) & mask,
        incomplete: (present1 ^ present2) & mask,
        ..Verdicts::default()
    }
}

/// The same verdicts for every user from `position` on.
fn report(tile: &Tile, position: usize, verdicts: &Verdicts, users: &[User], observer: &mut impl Observer) {
    for user in users.iter().skip(position) {
        observer.verdicts(tile, *user, verdicts, &Messages(None));
    }
}
