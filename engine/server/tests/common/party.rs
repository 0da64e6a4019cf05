//! A group's members at one server, on as many connections as a test wants, in step with the model.

use super::client::{is_error, kind, same, show};
use super::model::{grant_frame, skipped_frame};
use super::{Client, Model};
use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;
use std::net::SocketAddr;
use twincast_protocol::ids::ServerSide;
use twincast_protocol::wire::{Code, HEADER_BYTES, Kind, Welcome};
use twincast_server::config::GroupConfig;

/// One connection and the members that it plays.
pub(crate) struct Seat {
    pub(crate) client: Client,
    /// Ascending.
    pub(crate) users: Vec<u32>,
}

/// The members of one group at one server.
pub(crate) struct Party {
    pub(crate) model: Model,
    pub(crate) side: ServerSide,
    pub(crate) seats: Vec<Seat>,
    /// What the last connection was told.
    pub(crate) welcome: Option<Welcome>,
    address: SocketAddr,
}

impl Party {
    /// A party that nobody has joined.
    pub(crate) fn new(address: SocketAddr, group: &GroupConfig, side: ServerSide, seed: u64) -> Party {
        Party { model: Model::new(group, seed), side, seats: Vec::new(), welcome: None, address }
    }

    /// Members at S1, one connection for each of these sets, all attached.
    pub(crate) fn attach(
        address: SocketAddr,
        group: &GroupConfig,
        sets: impl IntoIterator<Item = Vec<u32>>,
        seed: u64,
    ) -> Party {
        let mut party = Party::new(address, group, ServerSide::One, seed);
        for users in sets {
            party.join(users);
        }
        party
    }

    /// The same, and the epoch open.
    pub(crate) fn open(
        address: SocketAddr,
        group: &GroupConfig,
        sets: impl IntoIterator<Item = Vec<u32>>,
        seed: u64,
    ) -> Party {
        let mut party = Party::attach(address, group, sets, seed);
        party.dial();
        party.expect_open();
        party
    }

    /// A further connection.
    pub(crate) fn join(&mut self, users: Vec<u32>) -> &mut Seat {
        self.join_over(Client::connect(self.address), users)
    }

    /// A further connection, which exists already.
    pub(crate) fn join_over(&mut self, mut client: Client, users: Vec<u32>) -> &mut Seat {
        self.welcome = Some(client.hello(self.side, self.model.group, &users));
        self.seats.push(Seat { client, users });
        self.seats.last_mut().expect("one joined")
    }

    /// What goes wrong is said with this in front.
    fn what(&self, seat: usize, what: &str) -> String {
        let Model { seed, group, .. } = self.model;
        format!("seed {seed}, group {group}, connection {seat} at {}: {what}", self.side)
    }

    /// Every member dials every slot and is told so.
    pub(crate) fn dial(&mut self) {
        for seat in 0..self.seats.len() {
            self.dial_seat(seat);
        }
    }

    /// The members of one connection dial every slot and are told so.
    pub(crate) fn dial_seat(&mut self, seat: usize) {
        let users = self.seats[seat].users.clone();
        let slots = self.model.slots as u32;
        let all = || users.iter().flat_map(|&user| (0..slots).map(move |slot| (user, slot)));
        let frames: Vec<u8> = all().flat_map(|(user, slot)| self.model.dial(user, slot)).collect();
        self.seats[seat].client.send(&frames);
        for (user, slot) in all() {
            let what = self.what(seat, "a dial's answer");
            let dialled = self.model.dialled(user, slot);
            self.seats[seat].client.expect(&dialled, &what);
        }
    }

    /// Everybody is told that the epoch is open.
    pub(crate) fn expect_open(&mut self) {
        let open = self.model.epoch_open();
        self.expect_all(&open, "the epoch's opening");
    }

    /// Everybody gets this frame.
    pub(crate) fn expect_all(&mut self, frame: &[u8], what: &str) {
        for seat in 0..self.seats.len() {
            let what = self.what(seat, what);
            self.seats[seat].client.expect(frame, &what);
        }
    }

    /// Everybody submits.
    pub(crate) fn submit(&mut self, round: u64) {
        for seat in 0..self.seats.len() {
            self.submit_seat(round, seat);
        }
    }

    /// The members of one connection submit.
    pub(crate) fn submit_seat(&mut self, round: u64, seat: usize) {
        let Seat { client, users } = &mut self.seats[seat];
        let frames: Vec<u8> = users.iter().flat_map(|&user| self.model.submit(round, user)).collect();
        client.send(&frames);
    }

    /// Everybody gets the round, to the last byte.
    pub(crate) fn expect(&mut self, round: u64) {
        for seat in 0..self.seats.len() {
            self.expect_seat(round, seat);
        }
    }

    /// One connection gets the round, to the last byte.
    pub(crate) fn expect_seat(&mut self, round: u64, seat: usize) {
        let what = self.what(seat, &format!("round {round}"));
        let Seat { client, users } = &mut self.seats[seat];
        for frame in self.model.round(round, users) {
            client.expect(&frame, &what);
        }
    }

    /// A whole round.
    pub(crate) fn play(&mut self, round: u64) {
        self.submit(round);
        self.expect(round);
    }

    /// One connection gets the round, or hears that it is left out. Whether it got it. Errors about submissions for
    /// rounds that were left out may come anywhere between.
    pub(crate) fn expect_or_skipped(&mut self, round: u64, seat: usize) -> bool {
        let what = self.what(seat, &format!("round {round} or nothing"));
        let Seat { client, users } = &mut self.seats[seat];
        let mut next = || {
            loop {
                let frame = client.frame(&what);
                let about_a_round =
                    [Code::RoundSealed, Code::RoundSkipped].iter().any(|&code| is_error(&frame, code));
                if !about_a_round {
                    return frame;
                }
            }
        };
        let first = next();
        if first == skipped_frame(round) {
            return false;
        }
        let mut frames = self.model.round(round, users).into_iter();
        same(&first, &frames.next().expect("a round has frames"), &what);
        for frame in frames {
            same(&next(), &frame, &what);
        }
        true
    }

    /// Everybody confirms what is granted, but those in `missing`, until the epoch is open.
    pub(crate) fn confirm(&mut self, missing: &[(u32, u32)]) {
        let tile_senders = self.tile_senders();
        let tiles = self.model.members.div_ceil(tile_senders);
        let mut delivered = vec![Vec::new(); self.seats.len()];
        for (slot, tile) in (0..self.model.slots).flat_map(|slot| (0..tiles).map(move |tile| (slot, tile))) {
            let first = tile * tile_senders;
            let senders = tile_senders.min(self.model.members - first);
            for (seat, delivered) in delivered.iter_mut().enumerate() {
                let what = self.what(seat, "a grant");
                self.await_grant(seat, &grant_frame(slot, first, senders), delivered, &what);
                let range = first as u32..(first + senders) as u32;
                self.confirm_seat(seat, slot as u32, range, missing);
            }
        }
        let expected: Vec<(usize, usize)> =
            (0..self.model.slots).flat_map(|slot| (0..tiles).map(move |tile| (slot, tile))).collect();
        for (seat, mut delivered) in delivered.into_iter().enumerate() {
            let what = self.what(seat, "confirmations");
            while delivered.len() < expected.len() {
                delivered.push(self.seats[seat].client.frame(&what));
            }
            for (frame, &(slot, tile)) in delivered.iter().zip(&expected) {
                let users = &self.seats[seat].users;
                same(frame, &self.model.confirmations(tile_senders, tile, slot, users), &what);
            }
        }
        self.expect_open();
    }

    /// Senders to a tile of confirmations.
    pub(crate) fn tile_senders(&self) -> usize {
        self.welcome.expect("somebody has joined").confirm_tile_senders.get() as usize
    }

    /// Reads until this grant came; what is delivered before it is kept.
    fn await_grant(&mut self, seat: usize, grant: &[u8], delivered: &mut Vec<Vec<u8>>, what: &str) {
        loop {
            let frame = self.seats[seat].client.frame(what);
            match kind(&frame) {
                Kind::Deliver => delivered.push(frame),
                _ => return same(&frame, grant, what),
            }
        }
    }

    /// The members of one connection in this range confirm a slot.
    pub(crate) fn confirm_seat(
        &mut self,
        seat: usize,
        slot: u32,
        range: std::ops::Range<u32>,
        missing: &[(u32, u32)],
    ) {
        let Seat { client, users } = &mut self.seats[seat];
        for &user in users.iter().filter(|user| range.contains(user)) {
            if missing.contains(&(user, slot)) {
                continue;
            }
            let frame = match self.side {
                ServerSide::One => self.model.confirm_seed(user, slot),
                ServerSide::Two => self.model.confirm_parts(user, slot),
            };
            client.send(&frame);
        }
    }

    /// Takes a connection out of the party.
    pub(crate) fn take(&mut self, seat: usize) -> Client {
        self.seats.remove(seat).client
    }
}

/// All members, on so many connections: each member on a random one, so that their sets interleave.
pub(crate) fn interleaved(members: u32, connections: usize, rng: &mut Xoshiro256PlusPlus) -> Vec<Vec<u32>> {
    let mut sets = vec![Vec::new(); connections];
    for member in 0..members {
        sets[rng.random_range(0..connections)].push(member);
    }
    sets.retain(|set| !set.is_empty());
    sets
}

/// The `present` word of a DELIVER.
pub(crate) fn present(frame: &[u8]) -> u64 {
    assert_eq!(kind(frame), Kind::Deliver, "got {}", show(frame));
    u64::from_le_bytes(*frame[HEADER_BYTES + 8..].first_chunk().expect("a DELIVER has a head"))
}
