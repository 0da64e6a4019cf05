//! Both servers' cells become verdicts, round after round.
//!
//! Each server's tiles come in ascending order. Tiles of the same place are read together, a user at a time, as soon
//! as both servers' cells of that user are there; a tile that the other server has passed without delivering it is
//! incomplete. One round is open at a time: what a server says of the next one waits in its buffer.

use crate::client::{Client, Session};
use crate::frames::tile_range;
use crate::key::{Class, Key};
use crate::limits::TILE_SENDERS;
use crate::observer::{Event, Messages, Observer, Tile, User};
use crate::stream::{Delivery, Stream};
use std::time::Duration;
use twincast_protocol::confirm::open_confirmations;
use twincast_protocol::context::{Context, Purpose};
use twincast_protocol::ids::{MemberIndex, RoundNumber, ServerSide, SlotIndex};
use twincast_protocol::receive::{TileCells, Verdicts};

/// How a server has ended a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Delivered,
    Skipped,
}

/// The round whose verdicts come next.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// None until the epoch is open at both servers.
    pub(crate) number: Option<RoundNumber>,
    /// The tile and slot from which on there are no verdicts yet, or not for all users.
    next: (u32, u32),
    ended: [Option<End>; 2],
    first_end: Option<Duration>,
}

impl Round {
    /// `server` has ended this round.
    pub(crate) fn end(&mut self, server: ServerSide, end: End, now: Duration) {
        self.ended[server.index()] = Some(end);
        self.first_end.get_or_insert(now);
    }
}

impl Client {
    /// Reads cells as far as both servers' go. Whether there were any.
    pub(crate) fn read_cells(&mut self, observer: &mut impl Observer) -> bool {
        let Client { streams, session: Some(session), users, .. } = self else { return false };
        let mut moved = false;
        for stream in streams.iter_mut() {
            if stream.delivery.is_some_and(|delivery| delivery.dropped) {
                moved |= stream.drop_cells();
            }
        }
        let [one, two] = streams;
        let waiting = |stream: &Stream| stream.delivery.filter(|delivery| !delivery.dropped);
        let end = match (waiting(one), waiting(two)) {
            (Some(first), Some(second)) if first.key == second.key => match first.key.class() {
                Class::Messages => session.read_messages(one, two, users, observer),
                Class::Confirmations => session.read_confirmations(one, two),
            },
            (Some(delivery), _) if two.floor > delivery.key => session.read_alone(one, users, observer),
            (_, Some(delivery)) if one.floor > delivery.key => session.read_alone(two, users, observer),
            _ => false,
        };
        moved | end
    }

    /// Closes the round if both servers have ended it, or one has and the other is gone.
    pub(crate) fn close_if_ended(&mut self, observer: &mut impl Observer) {
        let Some(session) = &self.session else { return };
        let ended = session.round.ended;
        let gone = self.streams.each_ref().map(|stream| stream.floor == Key::LAST);
        let over = (0..2).all(|server| ended[server].is_some() || gone[server]);
        if over && session.round.number.is_some() && ended != [None; 2] {
            self.close_round(false, observer);
        }
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
            self.close_round(true, observer);
        }
        late
    }

    /// The round closes `round_timeout` after the first server ended it, or after the last byte of any use while one
    /// server's cells wait for the other's.
    pub(crate) fn round_deadline(&self) -> Option<Duration> {
        let session = self.session.as_ref()?;
        session.round.number?;
        let waiting = |stream: &Stream| {
            stream
                .delivery
                .is_some_and(|delivery| !delivery.dropped && delivery.key.class() == Class::Messages)
        };
        let stalled = self.streams.iter().any(waiting).then_some(self.last_progress);
        let since = match (session.round.first_end, stalled) {
            (Some(end), Some(stalled)) => end.min(stalled),
            (end, stalled) => end.or(stalled)?,
        };
        Some(since + session.group.round_timeout)
    }

    /// Gives the verdicts that are missing and goes on to the next round.
    fn close_round(&mut self, timed_out: bool, observer: &mut impl Observer) {
        let Client { streams, session: Some(session), users, .. } = self else { return };
        let Some(number) = session.round.number else { return };
        let skipped = session.round.ended.map(|end| end == Some(End::Skipped));
        let mut deliveries = streams.each_mut().map(|stream| {
            stream.delivery.as_mut().filter(|delivery| {
                delivery.key.class() == Class::Messages && delivery.key.round_number() == number
            })
        });
        if skipped != [true; 2] {
            session.finish_tile(&deliveries, users, observer);
            session.miss_until((session.group.tiles(), 0), users, observer);
        }
        for delivery in deliveries.iter_mut().flatten() {
            delivery.dropped = true;
        }
        session.round = Round { number: Some(number.next()), ..Round::default() };
        session.next_submission = session.next_submission.max(number.next());
        observer.event(Event::RoundClosed { round: number, skipped, timed_out });
    }
}

impl Session {
    /// Reads the cells of a tile of messages that both servers deliver. Whether there were any.
    fn read_messages(
        &mut self,
        one: &mut Stream,
        two: &mut Stream,
        users: &[MemberIndex],
        observer: &mut impl Observer,
    ) -> bool {
        let (Some(first), Some(second)) = (one.delivery, two.delivery) else { return false };
        let Delivery { tile, piece_bytes, .. } = first;
        self.miss_until((tile.tile, tile.slot.0), users, observer);
        let context = Context {
            group: self.group.group,
            epoch: self.group.epoch,
            round: tile.round,
            sender: tile.first_sender,
            slot: tile.slot,
            purpose: Purpose::Message,
        };
        let present = [first.present, second.present];
        let mut position = first.position;
        while position < users.len() {
            let (Some(cells1), Some(cells2)) = (one.piece(piece_bytes), two.piece(piece_bytes)) else {
                break;
            };
            let user = User { position, member: users[position] };
            if present[0] & present[1] == 0 {
                observer.verdicts(&tile, user, &unread_verdicts(&tile, present), &Messages(None));
            } else if observer.wants(&tile, user) {
                let count = tile.senders as usize;
                let cells = TileCells { count, cells: [cells1, cells2], present };
                let expected = self.confirmed.expected(tile.slot.0, tile.tile, position);
                let verdicts = self.opener.open(&context, &cells, expected);
                // A confirmation that failed has raised its one alarm when the epoch was opened.
                self.alarms[position] |= verdicts.tampered & !expected.failed != 0;
                observer.verdicts(&tile, user, &verdicts, &Messages(Some(&self.opener)));
            } else {
                observer.unread(&tile, user);
            }
            one.piece_read();
            two.piece_read();
            position += 1;
        }
        if position == users.len() {
            self.tile_done(&tile);
        }
        position > first.position
    }

    /// Reads the cells of a tile of confirmations that both servers deliver. Whether there were any.
    fn read_confirmations(&mut self, one: &mut Stream, two: &mut Stream) -> bool {
        let (Some(first), Some(second)) = (one.delivery, two.delivery) else { return false };
        let Delivery { tile, piece_bytes, .. } = first;
        let mut moved = false;
        while let (Some(delivery), Some(_)) = (one.delivery, two.delivery) {
            let (Some(cells1), Some(cells2)) = (one.piece(piece_bytes), two.piece(piece_bytes)) else {
                break;
            };
            let present = [first.present, second.present];
            let cells = TileCells { count: tile.senders as usize, cells: [cells1, cells2], present };
            let (group, epoch) = (self.group.group, self.group.epoch);
            let said = open_confirmations(group, epoch, tile.first_sender, tile.slot, &cells);
            let first_sender = tile.first_sender.0;
            self.confirmed.set(tile.slot.0, first_sender, tile.senders, delivery.position, &said);
            self.confirmed_cells += u64::from(tile.senders);
            one.piece_read();
            two.piece_read();
            moved = true;
        }
        moved
    }

    /// Gives up on a tile that the other server does not deliver.
    fn read_alone(
        &mut self,
        stream: &mut Stream,
        users: &[MemberIndex],
        observer: &mut impl Observer,
    ) -> bool {
        let Some(delivery) = &mut stream.delivery else { return false };
        delivery.dropped = true;
        if delivery.key.class() == Class::Messages {
            let tile = delivery.tile;
            self.miss_until((tile.tile, tile.slot.0), users, observer);
            let verdicts = unread_verdicts(&tile, [delivery.present, 0]);
            report(&tile, delivery.position, &verdicts, users, observer);
            self.tile_done(&tile);
        }
        true
    }

    /// Verdicts for whoever has none yet in the tile that is being read when its round is closed.
    fn finish_tile(
        &mut self,
        deliveries: &[Option<&mut Delivery>; 2],
        users: &[MemberIndex],
        observer: &mut impl Observer,
    ) {
        let (tile, slot) = self.round.next;
        let here = |delivery: &Option<&mut Delivery>| {
            delivery
                .as_ref()
                .filter(|delivery| {
                    !delivery.dropped && (delivery.tile.tile, delivery.tile.slot.0) == (tile, slot)
                })
                .map(|delivery| (delivery.present, delivery.position))
        };
        if let [Some((present1, position)), Some((present2, _))] = deliveries.each_ref().map(here) {
            let tile = self.tile(tile, slot);
            let verdicts = unread_verdicts(&tile, [present1 | present2, 0]);
            report(&tile, position, &verdicts, users, observer);
            self.tile_done(&tile);
        }
    }

    /// Verdicts on the tiles below `end` that neither server has delivered.
    fn miss_until(&mut self, end: (u32, u32), users: &[MemberIndex], observer: &mut impl Observer) {
        while self.round.next < end {
            let tile = self.tile(self.round.next.0, self.round.next.1);
            report(&tile, 0, &unread_verdicts(&tile, [u64::MAX, 0]), users, observer);
            self.tile_done(&tile);
        }
    }

    fn tile(&self, tile: u32, slot: u32) -> Tile {
        let (first_sender, senders) = tile_range(self.group.members, TILE_SENDERS, tile);
        let round = self.round.number.unwrap_or_default();
        Tile { round, slot: SlotIndex(slot), tile, first_sender: MemberIndex(first_sender), senders }
    }

    fn tile_done(&mut self, tile: &Tile) {
        let slot = tile.slot.0 + 1;
        self.round.next = if slot < self.group.slots { (tile.tile, slot) } else { (tile.tile + 1, 0) };
    }
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
fn report(
    tile: &Tile,
    position: usize,
    verdicts: &Verdicts,
    users: &[MemberIndex],
    observer: &mut impl Observer,
) {
    for (position, member) in users.iter().enumerate().skip(position) {
        observer.verdicts(tile, User { position, member: *member }, verdicts, &Messages(None));
    }
}
