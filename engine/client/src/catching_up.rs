//! Coming late, or back: the parts that went out meanwhile are fetched, and rounds begin at a boundary.
//!
//! Tiles are fetched in windows, from both servers alike, and read together as they come. What comes for all in the
//! meantime is dropped. If the next epoch opens before everything is there, its parts are fetched instead.

use crate::client::Client;
use crate::key::{Class, Key};
use crate::observer::Observer;
use crate::receiving::Round;
use crate::stream::{Fetching, Kin, Stream};
use std::collections::VecDeque;
use twincast_protocol::ids::ServerSide;
use twincast_protocol::parts::PartKind;
use twincast_protocol::wire::{Body, FETCH_TILES_MAX, Fetch};

/// What is still to be fetched.
#[derive(Debug)]
pub(crate) struct CatchingUp {
    /// The first one is asked for, once `asked`.
    windows: VecDeque<Window>,
    asked: bool,
}

/// What one FETCH asks for.
#[derive(Clone, Copy, Debug)]
struct Window {
    kind: PartKind,
    slot: u32,
    first_tile: u32,
    tiles: u32,
}

impl Client {
    /// Looks for tiles that went out before this client read them, once the epoch is open. Whether there are any.
    pub(crate) fn start_catching_up(&mut self) -> bool {
        let Some(session) = self.sessions.front().filter(|session| session.missed) else { return false };
        if session.users.is_empty() {
            return false;
        }
        let mut windows = VecDeque::new();
        for read in &session.read {
            // Who has no key of its own from before has no use for keys and replies.
            if read.kind != PartKind::Confirmation && !session.exchange.is_drawn() {
                continue;
            }
            let window = |(slot, first_tile, tiles)| Window { kind: read.kind, slot, first_tile, tiles };
            windows.extend(read.missing(FETCH_TILES_MAX).into_iter().map(window));
        }
        if windows.is_empty() {
            return false;
        }
        self.round = Round::default();
        for stream in &mut self.streams {
            let waits = |key: Key| key.class() == Class::Messages && key.epoch() == session.epoch;
            if let Some(delivery) = stream.delivery.as_mut().filter(|delivery| waits(delivery.key)) {
                delivery.dropped = true;
                stream.partial = Some(delivery.tile.round);
            }
        }
        self.catching_up = Some(CatchingUp { windows, asked: false });
        true
    }

    /// Asks for the next tiles once those that were asked for are there, and begins to read rounds once all are.
    /// Whether it did anything.
    pub(crate) fn catch_up(&mut self, observer: &mut impl Observer) -> bool {
        let Client { streams, sessions, catching_up: Some(catching_up), .. } = self else { return false };
        let Some(session) = sessions.front() else { return false };
        // A server that is gone, or in the next epoch already, has no more to say about this one.
        let waits = |stream: &Stream| {
            stream.fetching.is_some() || stream.floor == Key::LAST || stream.epoch != session.epoch
        };
        if streams.iter().any(waits) {
            return false;
        }
        if std::mem::replace(&mut catching_up.asked, true) {
            catching_up.windows.pop_front();
        }
        let Some(window) = catching_up.windows.front() else {
            self.catching_up = None;
            self.begin(observer);
            return true;
        };
        let Window { kind, slot, first_tile, tiles } = *window;
        let fetch = Fetch {
            epoch: session.epoch.0.into(),
            purpose: u32::from(kind.number()).into(),
            slot: slot.into(),
            first_tile: first_tile.into(),
            tiles: tiles.into(),
            reserved: 0.into(),
        };
        for stream in streams {
            fetch.put(0, &mut stream.outbound.frames);
            let next = Key::parts(session.epoch, kind, slot, first_tile);
            stream.fetching = Some(Fetching { next, left: tiles, dropped: false });
        }
        true
    }

    /// `server` refuses what was fetched last: what the other one sends of it is of no use.
    pub(crate) fn fetch_refused(&mut self, server: ServerSide) {
        let stream = &mut self.streams[server.index()];
        if stream.stale_fetches > 0 {
            stream.stale_fetches -= 1;
            return;
        }
        if stream.fetching.take().is_none() {
            return;
        }
        let other = &mut self.streams[server.other().index()];
        if let Some(fetching) = &mut other.fetching {
            fetching.dropped = true;
        }
        if let Some(delivery) = other.delivery.as_mut().filter(|delivery| delivery.kin == Kin::Fetched) {
            delivery.dropped = true;
        }
    }
}
