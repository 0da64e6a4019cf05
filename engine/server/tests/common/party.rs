//! A group's members at one server, on as many connections as a test wants, in step with the model.

use super::client::{error_frame, hello_frame_for, is_error, kind, same, show};
use super::model::{CONFIRMATION, skipped_frame};
use super::{Client, Model};
use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use twincast_protocol::ids::ServerSide;
use twincast_protocol::wire::{Announce, Body, Code, EPOCH_ANY, Grant, HEADER_BYTES, Kind, Welcome};
use twincast_server::config::GroupConfig;

/// One connection and the users that it plays.
pub(crate) struct Seat {
    pub(crate) client: Client,
    /// Ascending.
    pub(crate) users: Vec<u32>,
    /// (epoch, purpose, sender, slot) that the server has granted, however it put its grants.
    pub(crate) granted: BTreeSet<(u32, u32, u32, u32)>,
    /// Deliveries of parts that came while something else was awaited.
    delivered: Vec<Vec<u8>>,
}

impl Seat {
    pub(crate) fn new(client: Client, users: Vec<u32>) -> Seat {
        Seat { client, users, granted: BTreeSet::new(), delivered: Vec::new() }
    }

    /// The next frame that is no GRANT: these are noted, since when they come depends on who is faster.
    pub(crate) fn frame(&mut self, awaited: &str) -> Vec<u8> {
        loop {
            let frame = self.client.frame(awaited);
            if kind(&frame) != Kind::Grant {
                return frame;
            }
            self.note(&frame);
        }
    }

    fn note(&mut self, frame: &[u8]) {
        let grant = Grant::parse(&frame[HEADER_BYTES..]).expect("a GRANT of its one length");
        let (first, senders) = (grant.first_sender.get(), grant.senders.get());
        assert!(senders > 0, "a GRANT for nobody");
        let all = first..first + senders;
        let (epoch, purpose, slot) = (grant.epoch.get(), grant.purpose.get(), grant.slot.get());
        self.granted.extend(all.map(|sender| (epoch, purpose, sender, slot)));
    }

    /// The next frame but grants has to be exactly this one.
    pub(crate) fn expect(&mut self, expected: &[u8], what: &str) {
        let frame = self.frame(&format!("{what}: {}", show(expected)));
        same(&frame, expected, what);
    }

    /// Reads until this is granted; what is delivered before is kept.
    fn await_grant(&mut self, granted: (u32, u32, u32, u32), what: &str) {
        while !self.granted.contains(&granted) {
            let frame = self.client.frame(what);
            match kind(&frame) {
                Kind::Deliver => self.delivered.push(frame),
                Kind::Grant => self.note(&frame),
                _ => panic!("{what}: got {}", show(&frame)),
            }
        }
    }
}

/// The members of one group at one server.
pub(crate) struct Party {
    pub(crate) model: Model,
    /// The epoch that is announced.
    pub(crate) next: Option<Model>,
    pub(crate) side: ServerSide,
    pub(crate) seats: Vec<Seat>,
    /// What the last connection was told.
    pub(crate) welcome: Option<Welcome>,
    pub(crate) address: SocketAddr,
}

impl Party {
    /// A party that nobody has joined.
    pub(crate) fn new(address: SocketAddr, group: &GroupConfig, side: ServerSide, seed: u64) -> Party {
        Party {
            model: Model::new(group, side, seed),
            next: None,
            side,
            seats: Vec::new(),
            welcome: None,
            address,
        }
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
    pub(crate) fn join_over(&mut self, client: Client, users: Vec<u32>) -> &mut Seat {
        self.say_hello(client, users, false)
    }

    /// A further connection, whose users ask to become members where they are none.
    pub(crate) fn ask_to_join(&mut self, users: Vec<u32>) -> &mut Seat {
        self.say_hello(Client::connect(self.address), users, true)
    }

    fn say_hello(&mut self, mut client: Client, users: Vec<u32>, join: bool) -> &mut Seat {
        client.send(&hello_frame_for(self.side, self.model.group, EPOCH_ANY, join, &users));
        self.welcomed(client, users)
    }

    /// A connection that has said HELLO is told what a client needs to know.
    pub(crate) fn welcomed(&mut self, mut client: Client, users: Vec<u32>) -> &mut Seat {
        let welcome = client.welcome();
        assert_eq!(welcome.epoch.get(), self.model.epoch);
        assert_eq!(welcome.roster_hash, self.model.roster_hash());
        let mut seat = Seat::new(client, users);
        let what = self.what(self.seats.len(), "what a new connection is told");
        if let Some(next) = &self.next {
            seat.expect(&next.announce(), &what);
            seat.expect(&next.roster_frame(), &what);
        }
        // Every dial of these users that is effective, whoever dialled it.
        for model in [Some(&self.model), self.next.as_ref()].into_iter().flatten() {
            for sender in model.indices(&seat.users) {
                for slot in (0..model.slots as u32).filter(|&slot| model.is_dialled(sender, slot)) {
                    seat.expect(&model.dialled(sender, slot), &what);
                }
            }
        }
        self.welcome = Some(welcome);
        self.seats.push(seat);
        self.seats.last_mut().expect("one joined")
    }

    /// What goes wrong is said with this in front.
    pub(crate) fn what(&self, seat: usize, what: &str) -> String {
        let Model { seed, group, epoch, .. } = self.model;
        format!("seed {seed}, group {group}, epoch {epoch}, connection {seat} at {}: {what}", self.side)
    }

    /// Every member dials every slot and is told so.
    pub(crate) fn dial(&mut self) {
        for seat in 0..self.seats.len() {
            self.dial_seat(seat);
        }
    }

    /// The members of one connection dial every slot and are told so.
    pub(crate) fn dial_seat(&mut self, seat: usize) {
        self.send_dials(seat);
        self.expect_dialled(seat);
    }

    /// The members of one connection dial every slot.
    pub(crate) fn send_dials(&mut self, seat: usize) {
        let slots = self.model.slots as u32;
        let senders = self.model.indices(&self.seats[seat].users);
        let all = senders.iter().flat_map(|&sender| (0..slots).map(move |slot| (sender, slot)));
        let frames: Vec<u8> = all.flat_map(|(sender, slot)| self.model.dial(sender, slot)).collect();
        self.seats[seat].client.send(&frames);
    }

    /// They are told so, each in its turn.
    pub(crate) fn expect_dialled(&mut self, seat: usize) {
        let what = self.what(seat, "a dial's answer");
        for sender in self.model.indices(&self.seats[seat].users) {
            for slot in 0..self.model.slots as u32 {
                let dialled = self.model.dialled(sender, slot);
                self.seats[seat].expect(&dialled, &what);
            }
        }
    }

    /// They are told so, in any order: a linked server answers when it hears that the other one has the dial.
    pub(crate) fn expect_dialled_sometime(&mut self, seat: usize) {
        let what = self.what(seat, "a dial's answer");
        let senders = self.model.indices(&self.seats[seat].users);
        let slots = 0..self.model.slots as u32;
        let all = senders.into_iter().flat_map(|sender| slots.clone().map(move |slot| (sender, slot)));
        let mut expected: Vec<_> = all.map(|(sender, slot)| self.model.dialled(sender, slot)).collect();
        expected.sort();
        let mut got: Vec<_> = expected.iter().map(|_| self.seats[seat].frame(&what)).collect();
        got.sort();
        for (got, expected) in got.iter().zip(&expected) {
            same(got, expected, &what);
        }
    }

    /// Everybody is told of the epoch to come, with these members.
    pub(crate) fn expect_announcement(&mut self, roster: Vec<u32>, first_round: u64) {
        let next = self.model.next_epoch(self.model.epoch + 1, roster, first_round);
        self.expect_all(&next.announce(), "an announcement");
        self.expect_all(&next.roster_frame(), "its members");
        self.next = Some(next);
    }

    /// Everybody is told of an epoch to come, the same.
    pub(crate) fn next_announced(&mut self, awaited: &str) -> Announce {
        let frame = self.seats[0].frame(awaited);
        for seat in 1..self.seats.len() {
            self.seats[seat].expect(&frame, awaited);
        }
        assert_eq!(kind(&frame), Kind::Announce, "got {}", show(&frame));
        Announce::parse(&frame[HEADER_BYTES..]).expect("an ANNOUNCE of its one length")
    }

    /// Does something about the epoch to come.
    pub(crate) fn in_next<T>(&mut self, action: impl FnOnce(&mut Party) -> T) -> T {
        let next = self.next.take().expect("it is announced");
        let model = std::mem::replace(&mut self.model, next);
        let done = action(self);
        self.next = Some(std::mem::replace(&mut self.model, model));
        done
    }

    /// The epoch to come is the one that runs, from now on.
    pub(crate) fn begin_next(&mut self) {
        self.model = self.next.take().expect("it is announced");
        self.expect_open();
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
            self.seats[seat].expect(frame, &what);
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
        let Seat { client, users, .. } = &mut self.seats[seat];
        let senders = self.model.indices(users);
        let frames: Vec<u8> = senders.iter().flat_map(|&sender| self.model.submit(round, sender)).collect();
        client.send(&frames);
    }

    /// The members of one connection submit, but these.
    pub(crate) fn submit_seat_without(&mut self, round: u64, seat: usize, missing: &[u32]) {
        let Seat { client, users, .. } = &mut self.seats[seat];
        let senders = self.model.indices(users).into_iter().filter(|sender| !missing.contains(sender));
        let frames: Vec<u8> = senders.flat_map(|sender| self.model.submit(round, sender)).collect();
        client.send(&frames);
    }

    /// The members of one connection submit, and the server has taken it: it answers what comes behind.
    pub(crate) fn submit_surely(&mut self, round: u64, seat: usize) {
        self.submit_seat(round, seat);
        let what = self.what(seat, &format!("that round {round} was submitted"));
        let senders = self.model.indices(&self.seats[seat].users);
        let Some(&sender) = senders.first() else { return };
        let again = self.model.submit_in_vain(round, sender);
        let seat = &mut self.seats[seat];
        seat.client.send(&again);
        seat.expect(&error_frame(Code::DuplicateSubmission, sender, u32::MAX, round), &what);
    }

    /// Everybody submits. Those on the last `newcomers` connections, whom the round does not wait for until they have
    /// done so, are first.
    pub(crate) fn submit_with_newcomers(&mut self, round: u64, newcomers: usize) {
        let old = self.seats.len() - newcomers;
        (old..self.seats.len()).for_each(|seat| self.submit_surely(round, seat));
        (0..old).for_each(|seat| self.submit_seat(round, seat));
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
        let frames = self.model.round(round, &self.seats[seat].users);
        for frame in frames {
            self.seats[seat].expect(&frame, &what);
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
        let Seat { client, users, .. } = &mut self.seats[seat];
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

    /// Everybody gives the confirmations that are granted, but those in `missing`, until the epoch is open.
    pub(crate) fn confirm(&mut self, missing: &[(u32, u32)]) {
        self.give_all(CONFIRMATION, missing);
        self.expect_parts(CONFIRMATION);
        self.expect_open();
    }

    /// Everybody is granted the confirmations of these senders.
    pub(crate) fn expect_grants(&mut self, slot: usize, first: usize, senders: usize) {
        for seat in 0..self.seats.len() {
            let what = self.what(seat, "a grant");
            for sender in first..first + senders {
                let granted = (self.model.epoch, CONFIRMATION, sender as u32, slot as u32);
                self.seats[seat].await_grant(granted, &what);
            }
        }
    }

    /// The members of one connection in this range confirm a slot, once that is granted.
    pub(crate) fn confirm_seat(
        &mut self,
        seat: usize,
        slot: u32,
        range: std::ops::Range<u32>,
        missing: &[(u32, u32)],
    ) {
        self.give_seat(seat, CONFIRMATION, slot, range, missing);
    }

    /// Everybody gives what is granted of these parts, tile by tile, but those in `missing`.
    pub(crate) fn give_all(&mut self, purpose: u32, missing: &[(u32, u32)]) {
        for (slot, tile) in self.part_tiles(purpose) {
            let senders = self.tile_senders(purpose);
            let range = (tile * senders) as u32..((tile + 1) * senders) as u32;
            for seat in 0..self.seats.len() {
                self.give_seat(seat, purpose, slot as u32, range.clone(), missing);
            }
        }
    }

    /// Everybody gets the tiles of these parts.
    pub(crate) fn expect_parts(&mut self, purpose: u32) {
        for seat in 0..self.seats.len() {
            self.expect_parts_seat(seat, purpose);
        }
    }

    /// One connection gets the tiles of these parts, if one of its users is a member.
    pub(crate) fn expect_parts_seat(&mut self, seat: usize, purpose: u32) {
        let what = self.what(seat, "parts");
        let senders = self.tile_senders(purpose);
        let users = self.seats[seat].users.clone();
        if self.model.indices(&users).is_empty() {
            return;
        }
        let early = std::mem::take(&mut self.seats[seat].delivered);
        let tiles = self.part_tiles(purpose);
        for (index, &(slot, tile)) in tiles.iter().enumerate() {
            let expected = self.model.parts(purpose, senders, tile, slot, &users);
            match early.get(index) {
                Some(frame) => same(frame, &expected, &what),
                None => self.seats[seat].expect(&expected, &what),
            }
        }
        self.seats[seat].delivered.extend(early.into_iter().skip(tiles.len()));
    }

    /// (slot, tile) of these parts, in order.
    pub(crate) fn part_tiles(&self, purpose: u32) -> Vec<(usize, usize)> {
        let slots = if purpose == CONFIRMATION { self.model.slots } else { 1 };
        let tiles = self.model.members.div_ceil(self.tile_senders(purpose));
        (0..slots).flat_map(|slot| (0..tiles).map(move |tile| (slot, tile))).collect()
    }

    /// Senders to a tile of parts: as many as fit, and WELCOME says the same of its own epoch.
    pub(crate) fn tile_senders(&self, purpose: u32) -> usize {
        let fit = (16 << 20) / (self.model.members * super::model::part_bytes(purpose));
        1 << fit.clamp(1, 64).ilog2()
    }

    /// The members of one connection in this range give their parts of a slot, as far as they dialled it, once that is
    /// granted.
    pub(crate) fn give_seat(
        &mut self,
        seat: usize,
        purpose: u32,
        slot: u32,
        range: std::ops::Range<u32>,
        missing: &[(u32, u32)],
    ) {
        let what = self.what(seat, &format!("a grant of parts {purpose} of slot {slot}"));
        let (side, model) = (self.side, &mut self.model);
        let seat = &mut self.seats[seat];
        for sender in model.indices(&seat.users).into_iter().filter(|sender| range.contains(sender)) {
            let dialled = (0..model.slots as u32).all(|slot| model.is_dialled(sender, slot));
            let left_out = !dialled && !model.is_dialled(sender, slot) || missing.contains(&(sender, slot));
            if left_out || model.is_given(purpose, sender, slot) {
                continue;
            }
            seat.await_grant((model.epoch, purpose, sender, slot), &what);
            let frame = model.give(side, purpose, sender, slot);
            seat.client.send(&frame);
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

/// The `lost` word of a DELIVER.
pub(crate) fn lost(frame: &[u8]) -> u64 {
    assert_eq!(kind(frame), Kind::Deliver, "got {}", show(frame));
    u64::from_le_bytes(*frame[HEADER_BYTES + 48..].first_chunk().expect("a DELIVER has a head"))
}
