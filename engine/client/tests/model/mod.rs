//! Two servers in memory, as `engine/docs/WIRE.md` has them and as naive as can be, and a group of clients.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::HashMap;
use std::time::Duration;
use twincast_client::{Client, ClientError, ClientSettings, Event, Messages, Observer, Outbox, Tile, User};
use twincast_protocol::confirm::{CONFIRMATION_BYTES, expand_seed};
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, ServerSide, SlotIndex};
use twincast_protocol::receive::Verdicts;
use twincast_protocol::session_key::SessionKey;
use twincast_protocol::wire::{
    Body, ConfirmHead, Deliver, Dial, Dialled, EpochOpen, Grant, HEADER_BYTES, Header, Hello, Kind, RoundEnd,
    RoundSkipped, Submit, Welcome,
};

pub const GROUP: GroupId = GroupId(7);
pub const EPOCH: Epoch = Epoch(3);
pub const FRAME_BYTES: u32 = 48;
pub const SHARE_BYTES: usize = FRAME_BYTES as usize + 48;
pub const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub members: u32,
    pub slots: u32,
    pub confirm_tile_senders: u32,
}

impl Shape {
    pub fn welcome(&self) -> Welcome {
        Welcome {
            group: GROUP.0.into(),
            epoch: EPOCH.0.into(),
            members: self.members.into(),
            slots: self.slots.into(),
            frame_bytes: FRAME_BYTES.into(),
            share_bytes: (SHARE_BYTES as u32).into(),
            confirm_tile_senders: self.confirm_tile_senders.into(),
            round_timeout_ms: (TIMEOUT.as_millis() as u32).into(),
            round: 1.into(),
            profile: 2,
            open: 0,
            reserved: [0; 6],
        }
    }

    pub fn tiles(&self) -> u32 {
        self.members.div_ceil(64)
    }
}

pub struct Server {
    pub side: ServerSide,
    pub shape: Shape,
    keys: HashMap<(u32, u32), SessionKey>,
    parts: HashMap<(u32, u32), Vec<u8>>,
    pub shares: HashMap<(u64, u32), Vec<u8>>,
    pub alarms: HashMap<(u64, u32), bool>,
    unread: HashMap<usize, Vec<u8>>,
}

impl Server {
    pub fn new(side: ServerSide, shape: Shape) -> Server {
        Server {
            side,
            shape,
            keys: HashMap::new(),
            parts: HashMap::new(),
            shares: HashMap::new(),
            alarms: HashMap::new(),
            unread: HashMap::new(),
        }
    }

    /// Takes bytes of a connection, answers what has an answer.
    pub fn take(&mut self, connection: usize, bytes: &[u8]) -> Vec<u8> {
        let mut data = self.unread.remove(&connection).unwrap_or_default();
        data.extend_from_slice(bytes);
        let (mut at, mut out) = (0, Vec::new());
        while let Some(header) = data[at..].first_chunk::<HEADER_BYTES>() {
            let Header { kind, body_bytes } =
                Header::parse(header).expect("a client's frames are well formed");
            let Some(body) = data[at + HEADER_BYTES..].get(..body_bytes as usize) else { break };
            self.frame(kind, body, &mut out);
            at += HEADER_BYTES + body.len();
        }
        self.unread.insert(connection, data.split_off(at));
        out
    }

    fn frame(&mut self, kind: Kind, body: &[u8], out: &mut Vec<u8>) {
        match kind {
            Kind::Hello => {
                let (hello, side, _) = Hello::read(body).unwrap();
                assert_eq!((hello.group.get(), hello.epoch.get(), side), (GROUP.0, EPOCH.0, self.side));
                self.shape.welcome().put(0, out);
            }
            Kind::Dial => {
                let (dial, key) = Dial::parse_prefix(body).unwrap();
                let (sender, slot) = (dial.sender.get(), dial.slot.get());
                let key = SessionKey::from_bytes(self.shape.members, key).expect("a valid key");
                assert!(self.keys.insert((sender, slot), key).is_none(), "dialled twice");
                Dialled::new(dial.dial_id.get(), EPOCH, MemberIndex(sender), SlotIndex(slot)).put(0, out);
            }
            Kind::ConfirmSeed => {
                assert_eq!(self.side, ServerSide::One);
                let (head, seed) = ConfirmHead::parse_prefix(body).unwrap();
                let mut parts = vec![0; self.shape.members as usize * CONFIRMATION_BYTES];
                expand_seed(seed.try_into().unwrap(), 0, &mut parts);
                self.confirmed(&head, parts);
            }
            Kind::ConfirmParts => {
                assert_eq!(self.side, ServerSide::Two);
                let (head, parts) = ConfirmHead::parse_prefix(body).unwrap();
                self.confirmed(&head, parts.to_vec());
            }
            Kind::Submit => {
                let (submit, shares) = Submit::parse_prefix(body).unwrap();
                assert_eq!(shares.len(), self.shape.slots as usize * 2 * SHARE_BYTES);
                let key = (submit.round.get(), submit.sender.get());
                assert!(self.shares.insert(key, shares.to_vec()).is_none(), "submitted twice");
                self.alarms.insert(key, submit.alarm.get() == 1);
            }
            kind => panic!("a client sent {kind:?}"),
        }
    }

    fn confirmed(&mut self, head: &ConfirmHead, parts: Vec<u8>) {
        assert_eq!(parts.len(), self.shape.members as usize * CONFIRMATION_BYTES);
        let key = (head.sender.get(), head.slot.get());
        assert!(self.parts.insert(key, parts).is_none(), "confirmed twice");
    }

    pub fn grants(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for slot in 0..self.shape.slots {
            for first in (0..self.shape.members).step_by(self.shape.confirm_tile_senders.max(1) as usize) {
                let senders = self.shape.confirm_tile_senders.min(self.shape.members - first);
                Grant::new(EPOCH, SlotIndex(slot), MemberIndex(first), senders).put(0, &mut out);
            }
        }
        out
    }

    pub fn confirmations(&self, slot: u32, tile: u32, users: &[MemberIndex]) -> Vec<u8> {
        let first = tile * self.shape.confirm_tile_senders;
        let senders = self.shape.confirm_tile_senders.min(self.shape.members - first);
        let cell = |user: MemberIndex, sender: u32| {
            self.parts
                .get(&(sender, slot))
                .map(|parts| parts[user.0 as usize * CONFIRMATION_BYTES..][..CONFIRMATION_BYTES].to_vec())
        };
        deliver(0, 1, (slot, tile), (first, senders), CONFIRMATION_BYTES, users, cell)
    }

    pub fn all_confirmations(&self, users: &[MemberIndex]) -> Vec<u8> {
        let mut out = Vec::new();
        for slot in 0..self.shape.slots {
            for tile in 0..self.shape.members.div_ceil(self.shape.confirm_tile_senders) {
                out.extend(self.confirmations(slot, tile, users));
            }
        }
        out
    }

    pub fn open(&self, first_round: u64) -> Vec<u8> {
        EpochOpen::new(EPOCH, self.shape.members, RoundNumber(first_round)).frame().to_vec()
    }

    pub fn tile(&self, round: u64, tile: u32, slot: u32, users: &[MemberIndex]) -> Vec<u8> {
        let first = tile * 64;
        let senders = (self.shape.members - first).min(64);
        let cell = |user: MemberIndex, sender: u32| {
            let shares = self.shares.get(&(round, sender))?;
            let half = usize::from(self.keys.get(&(sender, slot))?.bit(user));
            Some(shares[(slot as usize * 2 + half) * SHARE_BYTES..][..SHARE_BYTES].to_vec())
        };
        deliver(round, 0, (slot, tile), (first, senders), SHARE_BYTES, users, cell)
    }

    pub fn round(&self, round: u64, users: &[MemberIndex]) -> Vec<u8> {
        let mut out = Vec::new();
        for tile in 0..self.shape.tiles() {
            for slot in 0..self.shape.slots {
                out.extend(self.tile(round, tile, slot, users));
            }
        }
        out.extend(self.end(round, self.shape.tiles() * self.shape.slots));
        out
    }

    pub fn end(&self, round: u64, tiles: u32) -> Vec<u8> {
        RoundEnd::new(round, tiles, self.shape.members).frame().to_vec()
    }

    pub fn skip(&self, round: u64) -> Vec<u8> {
        RoundSkipped { round: round.into() }.frame().to_vec()
    }
}

fn deliver(
    round: u64,
    purpose: u32,
    (slot, tile): (u32, u32),
    (first, senders): (u32, u32),
    cell_bytes: usize,
    users: &[MemberIndex],
    cell: impl Fn(MemberIndex, u32) -> Option<Vec<u8>>,
) -> Vec<u8> {
    let mut present = 0u64;
    let mut cells = Vec::new();
    for user in users {
        for position in 0..senders {
            let bytes = cell(*user, first + position);
            present |= u64::from(bytes.is_some()) << position;
            cells.extend(bytes.unwrap_or_else(|| vec![0; cell_bytes]));
        }
    }
    let head = Deliver {
        round: round.into(),
        present: present.into(),
        epoch: EPOCH.0.into(),
        slot: slot.into(),
        tile: tile.into(),
        first_sender: first.into(),
        senders: senders.into(),
        cell_bytes: (cell_bytes as u32).into(),
        users: (users.len() as u32).into(),
        purpose: purpose.into(),
        reserved: 0.into(),
    };
    let mut out = Vec::new();
    head.put(cells.len(), &mut out);
    out.extend(cells);
    out
}

/// Whom everybody writes to and what: recipients are the sender's own number and the next `slot + 1` members.
#[derive(Default)]
pub struct Workload {
    pub members: u32,
    recipients: Vec<MemberIndex>,
    message: Vec<u8>,
    pub submitted: Vec<(RoundNumber, MemberIndex)>,
}

impl Workload {
    pub fn new(members: u32) -> Workload {
        Workload { members, ..Workload::default() }
    }

    pub fn is_for(members: u32, sender: u32, slot: u32, user: u32) -> bool {
        (user + members - sender) % members <= slot + 1
    }

    pub fn text(round: u64, sender: u32, slot: u32) -> Vec<u8> {
        format!("round {round}, {sender}, {slot}").into_bytes()
    }
}

impl Outbox for Workload {
    fn recipients(&mut self, sender: User, slot: SlotIndex) -> &[MemberIndex] {
        let members = self.members;
        let is_for = |user: &u32| Workload::is_for(members, sender.member.0, slot.0, *user);
        self.recipients = (0..members).filter(is_for).map(MemberIndex).collect();
        &self.recipients
    }

    fn message(&mut self, round: RoundNumber, sender: User, slot: SlotIndex) -> &[u8] {
        self.message = Workload::text(round.0, sender.member.0, slot.0);
        &self.message
    }

    fn submitted(&mut self, round: RoundNumber, sender: User) {
        self.submitted.push((round, sender.member));
    }
}

/// Keeps everything that a client tells.
#[derive(Default)]
pub struct Record {
    pub verdicts: HashMap<(u64, u32, u32, u32), Verdicts>,
    pub messages: HashMap<(u64, u32, u32, u32), Vec<u8>>,
    pub events: Vec<Event>,
    pub unread: usize,
    pub refuse_all: bool,
}

impl Observer for Record {
    fn wants(&mut self, _tile: &Tile, _user: User) -> bool {
        !self.refuse_all
    }

    fn verdicts(&mut self, tile: &Tile, user: User, verdicts: &Verdicts, messages: &Messages<'_>) {
        let Verdicts { accept, ignore, tampered, absent, incomplete } = *verdicts;
        let masks = [accept, ignore, tampered, absent, incomplete];
        assert_eq!(masks.iter().fold(0, |all, mask| all | mask), tile.mask(), "a verdict for each sender");
        assert_eq!(masks.iter().map(|mask| mask.count_ones()).sum::<u32>(), tile.senders, "and one only");
        let key = (tile.round.0, tile.tile, tile.slot.0, user.member.0);
        assert!(self.verdicts.insert(key, *verdicts).is_none(), "two verdicts on {key:?}");
        for position in (0..tile.senders).filter(|position| accept >> position & 1 == 1) {
            let sender = tile.first_sender.0 + position;
            let text = messages.get(position as usize).to_vec();
            self.messages.insert((tile.round.0, sender, tile.slot.0, user.member.0), text);
        }
    }

    fn unread(&mut self, _tile: &Tile, _user: User) {
        self.unread += 1;
    }

    fn event(&mut self, event: Event) {
        self.events.push(event);
    }
}

impl Record {
    pub fn closed(&self) -> Vec<u64> {
        let round = |event: &Event| match event {
            Event::RoundClosed { round, .. } => Some(round.0),
            _ => None,
        };
        self.events.iter().filter_map(round).collect()
    }

    pub fn sum(&self, mask: impl Fn(&Verdicts) -> u64) -> u32 {
        self.verdicts.values().map(|verdicts| mask(verdicts).count_ones()).sum()
    }

    /// Checks that exactly the messages of `round` that are for `users` have come, and everything else was dummies.
    pub fn check_round(&self, shape: Shape, round: u64, users: &[MemberIndex]) {
        for user in users {
            for (sender, slot) in (0..shape.members).flat_map(|s| (0..shape.slots).map(move |k| (s, k))) {
                let verdicts = self.verdicts[&(round, sender / 64, slot, user.0)];
                let message = self.messages.get(&(round, sender, slot, user.0));
                if Workload::is_for(shape.members, sender, slot, user.0) {
                    assert_eq!(message, Some(&Workload::text(round, sender, slot)));
                } else {
                    assert_eq!(message, None);
                    assert_eq!(verdicts.ignore >> (sender % 64) & 1, 1);
                }
            }
        }
    }
}

/// One client and what it has been told.
pub struct Player {
    pub client: Client,
    pub users: Vec<MemberIndex>,
    pub record: Record,
    pub workload: Workload,
    /// Bytes from S1 and S2 that it has not taken.
    pub coming: [Vec<u8>; 2],
}

impl Player {
    pub fn new(shape: Shape, users: Vec<u32>) -> Player {
        let users: Vec<MemberIndex> = users.into_iter().map(MemberIndex).collect();
        let settings = ClientSettings { group: GROUP, epoch: EPOCH, skew_bytes: 1 << 20 };
        Player {
            client: Client::new(settings, users.clone()).unwrap(),
            users,
            record: Record::default(),
            workload: Workload::new(shape.members),
            coming: Default::default(),
        }
    }

    /// Everything that the client has for a server now.
    pub fn outgoing(&mut self, side: ServerSide, rng: &mut StdRng) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            let bytes = self.client.outgoing(side, rng, &mut self.workload).unwrap();
            if bytes.is_empty() {
                assert!(self.client.is_drained(side));
                return out;
            }
            let some = bytes.len().min(rng.random_range(1..=100_000));
            out.extend_from_slice(&bytes[..some]);
            self.client.sent(side, some);
        }
    }

    /// Gives the client some bytes of one server; how many it took.
    pub fn give(&mut self, side: ServerSide, most: usize, now: Duration) -> Result<usize, ClientError> {
        let coming = &mut self.coming[side.index()];
        let space = self.client.space(side, now);
        let some = coming.len().min(space.len()).min(most);
        space[..some].copy_from_slice(&coming[..some]);
        coming.drain(..some);
        self.client.filled(side, some);
        self.client.advance(now, &mut self.record)?;
        Ok(some)
    }

    /// Gives what is coming in random pieces, as far as the client takes it.
    pub fn give_all(&mut self, rng: &mut StdRng, now: Duration) -> Result<(), ClientError> {
        let mut refused = [false; 2];
        while refused != [true; 2] {
            let side = ServerSide::BOTH[rng.random_range(0..2)];
            let most = if rng.random() { rng.random_range(1..100) } else { rng.random_range(1..50_000) };
            match self.give(side, most, now)? {
                0 => refused[side.index()] = true,
                _ => refused = [false; 2],
            }
        }
        Ok(())
    }
}

/// A whole group: clients and both servers.
pub struct World {
    pub shape: Shape,
    pub servers: [Server; 2],
    pub players: Vec<Player>,
    pub rng: StdRng,
    pub now: Duration,
}

impl World {
    /// Members are dealt to two clients in turn.
    pub fn new(shape: Shape, seed: u64) -> World {
        let dealt = |turn: u32| (0..shape.members).filter(|member| member % 3 % 2 == turn).collect();
        World {
            shape,
            servers: ServerSide::BOTH.map(|side| Server::new(side, shape)),
            players: vec![Player::new(shape, dealt(0)), Player::new(shape, dealt(1))],
            rng: StdRng::seed_from_u64(seed),
            now: Duration::from_secs(1),
        }
    }

    /// Carries what the clients have to send to the servers, and the answers to the clients' doors.
    pub fn carry(&mut self) {
        for (connection, player) in self.players.iter_mut().enumerate() {
            for side in ServerSide::BOTH {
                let bytes = player.outgoing(side, &mut self.rng);
                let answers = self.servers[side.index()].take(connection, &bytes);
                player.coming[side.index()].extend(answers);
            }
        }
    }

    /// Puts what `make` makes for each client at its door.
    pub fn put(&mut self, side: ServerSide, make: impl Fn(&Server, &[MemberIndex]) -> Vec<u8>) {
        for player in &mut self.players {
            let bytes = make(&self.servers[side.index()], &player.users);
            player.coming[side.index()].extend(bytes);
        }
    }

    pub fn put_both(&mut self, make: impl Fn(&Server, &[MemberIndex]) -> Vec<u8>) {
        for side in ServerSide::BOTH {
            self.put(side, &make);
        }
    }

    pub fn give_all(&mut self) {
        for player in &mut self.players {
            player.give_all(&mut self.rng, self.now).unwrap();
        }
    }

    /// Attaches, dials, confirms and opens round 1.
    pub fn opened(shape: Shape, seed: u64) -> World {
        let mut world = World::dialled(shape, seed);
        if shape.confirm_tile_senders > 0 {
            world.put_both(|server, users| server.all_confirmations(users));
        }
        world.put_both(|server, _| server.open(1));
        world.give_all();
        world
    }

    /// Attaches, dials and uploads confirmations.
    pub fn dialled(shape: Shape, seed: u64) -> World {
        let mut world = World::new(shape, seed);
        world.carry();
        world.give_all();
        world.carry();
        world.give_all();
        if shape.confirm_tile_senders > 0 {
            world.put_both(|server, _| server.grants());
            world.give_all();
            world.carry();
        }
        world
    }

    /// Everybody submits for the next round.
    pub fn submit(&mut self, round: u64) {
        for player in &mut self.players {
            assert_eq!(player.client.submit(), Some(RoundNumber(round)));
        }
        self.carry();
    }
}
