//! One server: it keeps everything that it is sent, and says what a test has it say.

use super::{Books, EPOCH, GROUP, Shape, id};
use std::collections::{HashMap, HashSet};
use twincast_protocol::answer::RECORD_BYTES;
use twincast_protocol::format::Scheme;
use twincast_protocol::ids::{Epoch, MemberIndex, RoundNumber, ServerSide, SlotIndex, UserId};
use twincast_protocol::parts::{PartKind, expand_parts};
use twincast_protocol::session_key::SessionKey;
use twincast_protocol::wire::{
    Announce, Body, Code, Deliver, Dial, Dialled, EpochOpen, Fetch, FetchHeaders, Grant, HEADER_BYTES,
    Header, Hello, Kind, Leave, PartsHead, Roster, RoundEnd, RoundSkipped, Submit, Welcome, roster_hash,
};

pub struct Server {
    pub side: ServerSide,
    pub shape: Shape,
    /// The epoch that runs or is dialled.
    pub epoch: Epoch,
    pub open: bool,
    pub round: u64,
    pub rosters: HashMap<u32, Vec<UserId>>,
    /// (epoch, sender, slot): the key, and the number of the dial.
    pub keys: HashMap<(u32, u32, u32), (SessionKey, u64)>,
    /// (epoch, kind, sender, slot).
    pub parts: HashMap<(u32, u8, u32, u32), Vec<u8>>,
    /// Parts that were given and not kept.
    pub lost: HashSet<(u32, u8, u32, u32)>,
    pub shares: HashMap<(u64, u32), Vec<u8>>,
    pub alarms: HashMap<(u64, u32), bool>,
    pub leaves: Vec<UserId>,
    pub fetched: Vec<(u32, u32, u32, u32)>,
    /// Whether it answers a dial by DIALLED, as it does when the other server has it too.
    pub answers_dials: bool,
    /// Whether a client that has no reason to may not do things twice.
    pub strict: bool,
    /// What it signs and keeps in an accountable group.
    pub books: Books,
    /// The frames of each connection, their kinds and lengths.
    pub heard: HashMap<usize, Vec<(u8, usize)>>,
    connections: HashMap<usize, Vec<UserId>>,
    unread: HashMap<usize, Vec<u8>>,
}

impl Server {
    pub fn new(side: ServerSide, shape: Shape) -> Server {
        Server {
            side,
            shape,
            epoch: EPOCH,
            open: false,
            round: 1,
            rosters: HashMap::from([(EPOCH.0, (0..shape.members).map(id).collect())]),
            keys: HashMap::new(),
            parts: HashMap::new(),
            lost: HashSet::new(),
            shares: HashMap::new(),
            alarms: HashMap::new(),
            leaves: Vec::new(),
            fetched: Vec::new(),
            answers_dials: true,
            strict: true,
            books: Books::new(side),
            heard: HashMap::new(),
            connections: HashMap::new(),
            unread: HashMap::new(),
        }
    }

    /// n of an epoch.
    pub fn members(&self, epoch: Epoch) -> u32 {
        self.rosters[&epoch.0].len() as u32
    }

    /// Those of `users` who are members of an epoch.
    pub fn members_of(&self, epoch: Epoch, users: &[UserId]) -> Vec<MemberIndex> {
        let roster = &self.rosters[&epoch.0];
        let index = |user| roster.binary_search(user).ok().map(|index| MemberIndex(index as u32));
        users.iter().filter_map(index).collect()
    }

    /// A connection is gone.
    pub fn forget(&mut self, connection: usize) {
        self.unread.remove(&connection);
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
            self.heard.entry(connection).or_default().push((kind as u8, body.len()));
            self.frame(connection, kind, body, &mut out);
            at += HEADER_BYTES + body.len();
        }
        self.unread.insert(connection, data.split_off(at));
        out
    }

    fn frame(&mut self, connection: usize, kind: Kind, body: &[u8], out: &mut Vec<u8>) {
        match kind {
            Kind::Hello => {
                let (hello, side, users, _) = Hello::read(body).unwrap();
                assert_eq!((hello.group.get(), side), (GROUP.0, self.side));
                out.extend(self.greeting(&users));
                self.connections.insert(connection, users);
            }
            Kind::Dial => {
                let (dial, key) = Dial::parse_prefix(body).unwrap();
                let (epoch, id) = (Epoch(dial.epoch.get()), dial.dial_id.get());
                let (sender, slot) = (dial.sender.get(), dial.slot.get());
                let place = (epoch.0, sender, slot);
                let key = self.keep_dial_tail(place, id, key);
                let key = SessionKey::from_bytes(self.members(epoch), key).expect("a valid key");
                let again = self.keys.insert(place, (key, id)).is_some();
                assert!(!again || !self.strict, "dialled twice: {place:?}");
                if self.answers_dials {
                    Dialled::new(id, epoch, MemberIndex(sender), SlotIndex(slot)).put(0, out);
                }
            }
            Kind::PartsSeed => {
                assert_eq!(self.side, ServerSide::One);
                let (head, seed) = PartsHead::parse_prefix(body).unwrap();
                let kind = PartKind::from_number(head.purpose.get() as u8).unwrap();
                let mut parts = vec![0; self.members(Epoch(head.epoch.get())) as usize * kind.bytes()];
                expand_parts(seed.try_into().unwrap(), kind, 0, &mut parts);
                self.keep_parts(&head, kind, parts);
            }
            Kind::Parts => {
                assert_eq!(self.side, ServerSide::Two);
                let (head, parts) = PartsHead::parse_prefix(body).unwrap();
                let kind = PartKind::from_number(head.purpose.get() as u8).unwrap();
                self.keep_parts(&head, kind, parts.to_vec());
            }
            Kind::Submit => {
                let (submit, shares) = Submit::parse_prefix(body).unwrap();
                let choices = if self.shape.dials() { 0 } else { 2 * self.members(self.epoch) as usize };
                let rows = match self.shape.answer {
                    true => RECORD_BYTES,
                    false => self.shape.slots as usize * self.shape.format().row_bytes(self.side),
                };
                let key = (submit.round.get(), submit.sender.get());
                let shares = &self.keep_upload_tail(key, shares)[..];
                assert_eq!(shares.len(), choices + rows);
                let again = self.shares.insert(key, shares.to_vec()).is_some();
                assert!(!again || !self.strict, "submitted twice: {key:?}");
                self.alarms.insert(key, submit.alarm.get() == 1);
            }
            Kind::Leave => self.leaves.push(UserId(Leave::parse(body).unwrap().user.get())),
            Kind::Fetch => {
                let fetch = Fetch::parse(body).unwrap();
                let (first, tiles) = (fetch.first_tile.get(), fetch.tiles.get());
                assert!((1..=16).contains(&tiles));
                if fetch.epoch.get() != self.epoch.0 {
                    out.extend_from_slice(&Code::EpochWrong.frame(u32::MAX, u32::MAX, 0));
                    return;
                }
                let kind = PartKind::from_number(fetch.purpose.get() as u8).unwrap();
                self.fetched.push((fetch.purpose.get(), fetch.slot.get(), first, tiles));
                let users = self.members_of(self.epoch, &self.connections[&connection]);
                for tile in first..first + tiles {
                    out.extend(self.parts_tile(self.epoch, kind, fetch.slot.get(), tile, &users, true));
                }
            }
            Kind::FetchHeaders => {
                let fetch = FetchHeaders::parse(body).unwrap();
                let headers = self.headers(&self.connections[&connection].clone(), &fetch);
                match self.books.holds {
                    true => self.books.held.push((connection, headers)),
                    false => out.extend(headers),
                }
            }
            kind => panic!("a client sent {kind:?}"),
        }
    }

    fn keep_parts(&mut self, head: &PartsHead, kind: PartKind, parts: Vec<u8>) {
        let epoch = head.epoch.get();
        assert_eq!(parts.len(), self.members(Epoch(epoch)) as usize * kind.bytes());
        let key = (epoch, kind.number(), head.sender.get(), head.slot.get());
        let again = self.parts.insert(key, parts).is_some();
        assert!(!again || !self.strict, "given twice: {key:?}");
    }

    /// WELCOME, the members, and what is in effect of these users if rounds are open.
    pub fn greeting(&self, users: &[UserId]) -> Vec<u8> {
        let mut out = self.welcome().frame().to_vec();
        out.extend_from_slice(&Roster::frames(self.epoch, &self.rosters[&self.epoch.0]));
        if self.open {
            for member in self.members_of(self.epoch, users) {
                for slot in 0..self.shape.slots {
                    if let Some((_, id)) = self.keys.get(&(self.epoch.0, member.0, slot)) {
                        Dialled::new(*id, self.epoch, member, SlotIndex(slot)).put(0, &mut out);
                    }
                }
            }
        }
        out
    }

    pub fn welcome(&self) -> Welcome {
        let roster = &self.rosters[&self.epoch.0];
        Welcome {
            epoch: self.epoch.0.into(),
            members: (roster.len() as u32).into(),
            roster_hash: roster_hash(GROUP, self.epoch, roster),
            round: self.round.into(),
            open: self.open.into(),
            ..self.shape.welcome(self.side)
        }
    }

    /// ANNOUNCE and ROSTER of an epoch.
    pub fn announce(&self, epoch: Epoch, first_round: u64) -> Vec<u8> {
        let roster = &self.rosters[&epoch.0];
        let announce = Announce {
            epoch: epoch.0.into(),
            members: (roster.len() as u32).into(),
            first_round: first_round.into(),
            roster_hash: roster_hash(GROUP, epoch, roster),
        };
        let mut out = announce.frame().to_vec();
        out.extend_from_slice(&Roster::frames(epoch, roster));
        out
    }

    /// GRANT of every tile of the parts of one kind.
    pub fn grants_of(&self, epoch: Epoch, kind: PartKind) -> Vec<u8> {
        let (mut out, members) = (Vec::new(), self.members(epoch));
        let tile_senders = self.shape.tile_senders(kind);
        for slot in 0..self.shape.part_slots(kind) {
            for first in (0..members).step_by(tile_senders.max(1) as usize) {
                let senders = tile_senders.min(members - first);
                let first = MemberIndex(first);
                Grant::new(kind.purpose(), epoch, SlotIndex(slot), first, senders).put(0, &mut out);
            }
        }
        out
    }

    pub fn grants(&self) -> Vec<u8> {
        self.grants_of(self.epoch, PartKind::Confirmation)
    }

    /// One tile of parts, for all or in answer to a FETCH.
    pub fn parts_tile(
        &self,
        epoch: Epoch,
        kind: PartKind,
        slot: u32,
        tile: u32,
        users: &[MemberIndex],
        fetched: bool,
    ) -> Vec<u8> {
        let (tile_senders, bytes) = (self.shape.tile_senders(kind), kind.bytes());
        let first = tile * tile_senders;
        let senders = tile_senders.min(self.members(epoch) - first);
        let place = |sender| (epoch.0, kind.number(), sender, slot);
        let is_lost = |sender: &u32| fetched && self.lost.contains(&place(first + *sender));
        let cell = |user: MemberIndex, sender: u32| {
            let kept = !is_lost(&(sender - first));
            let parts = self.parts.get(&place(sender)).filter(|_| kept)?;
            Some(parts[user.0 as usize * bytes..][..bytes].to_vec())
        };
        let lost = (0..senders).filter(is_lost).fold(0, |all, sender| all | 1 << sender);
        let head = Head { epoch, round: 0, purpose: kind.number().into(), slot, tile, first, senders, lost };
        deliver(head, bytes, users, cell)
    }

    pub fn confirmations(&self, slot: u32, tile: u32, users: &[MemberIndex]) -> Vec<u8> {
        self.parts_tile(self.epoch, PartKind::Confirmation, slot, tile, users, false)
    }

    pub fn all_parts(&self, epoch: Epoch, kind: PartKind, users: &[MemberIndex]) -> Vec<u8> {
        let mut out = Vec::new();
        for slot in 0..self.shape.part_slots(kind) {
            for tile in 0..self.members(epoch).div_ceil(self.shape.tile_senders(kind)) {
                out.extend(self.parts_tile(epoch, kind, slot, tile, users, false));
            }
        }
        out
    }

    pub fn all_confirmations(&self, users: &[MemberIndex]) -> Vec<u8> {
        self.all_parts(self.epoch, PartKind::Confirmation, users)
    }

    pub fn open(&self, first_round: u64) -> Vec<u8> {
        EpochOpen::new(self.epoch, self.members(self.epoch), RoundNumber(first_round)).frame().to_vec()
    }

    pub fn tile(&self, round: u64, tile: u32, slot: u32, users: &[MemberIndex]) -> Vec<u8> {
        let (first, members) = (tile * 64, self.members(self.epoch));
        let senders = (members - first).min(64);
        let format = self.shape.format();
        let cell_bytes = format.cell_bytes(self.side);
        let cell = |user: MemberIndex, sender: u32| {
            let body = self.shares.get(&(round, sender))?;
            let (half, rows) = match self.shape.scheme {
                Scheme::OneToMany { .. } => {
                    let (choices, rows) = body.split_at(2 * members as usize);
                    let word = &choices[2 * user.0 as usize..][..2];
                    (usize::from(u16::from_le_bytes([word[0], word[1]])), rows)
                }
                Scheme::Plain | Scheme::Algorithm4 => {
                    let (key, _) = self.keys.get(&(self.epoch.0, sender, slot))?;
                    (usize::from(key.bit(user)), &body[..])
                }
            };
            let row = &rows[slot as usize * format.row_bytes(self.side)..];
            let share = |half: usize| row[half * cell_bytes..][..cell_bytes].to_vec();
            match self.shape.header_rounds {
                0 => Some(share(half)),
                _ => Some(self.given(round, sender, slot, user, [0, 1].map(share), half)),
            }
        };
        let head = Head { epoch: self.epoch, round, purpose: 0, slot, tile, first, senders, lost: 0 };
        deliver(head, cell_bytes, users, cell)
    }

    pub fn round(&self, round: u64, users: &[MemberIndex]) -> Vec<u8> {
        if self.shape.answer {
            return self.answers(round, users);
        }
        let (mut out, tiles) = (Vec::new(), self.members(self.epoch).div_ceil(64));
        if !users.is_empty() {
            for tile in 0..tiles {
                (0..self.shape.slots).for_each(|slot| out.extend(self.tile(round, tile, slot, users)));
            }
        }
        match self.shape.header_rounds {
            0 => out.extend(self.end(round, tiles * self.shape.slots)),
            _ => out.extend(self.signed_end(round, users)),
        }
        out
    }

    pub fn end(&self, round: u64, tiles: u32) -> Vec<u8> {
        RoundEnd::new(round, tiles, self.members(self.epoch)).frame().to_vec()
    }

    pub fn skip(&self, round: u64) -> Vec<u8> {
        RoundSkipped { round: round.into() }.frame().to_vec()
    }
}

/// What the head of a DELIVER says besides who is there.
struct Head {
    epoch: Epoch,
    round: u64,
    purpose: u32,
    slot: u32,
    tile: u32,
    first: u32,
    senders: u32,
    lost: u64,
}

fn deliver(
    head: Head,
    cell_bytes: usize,
    users: &[MemberIndex],
    cell: impl Fn(MemberIndex, u32) -> Option<Vec<u8>>,
) -> Vec<u8> {
    let mut present = 0u64;
    let mut cells = Vec::new();
    for user in users {
        for position in 0..head.senders {
            let bytes = cell(*user, head.first + position);
            present |= u64::from(bytes.is_some()) << position;
            cells.extend(bytes.unwrap_or_else(|| vec![0; cell_bytes]));
        }
    }
    let deliver = Deliver {
        round: head.round.into(),
        present: present.into(),
        epoch: head.epoch.0.into(),
        slot: head.slot.into(),
        tile: head.tile.into(),
        first_sender: head.first.into(),
        senders: head.senders.into(),
        cell_bytes: (cell_bytes as u32).into(),
        users: (users.len() as u32).into(),
        purpose: head.purpose.into(),
        lost: head.lost.into(),
    };
    let mut out = Vec::new();
    deliver.put(cells.len(), &mut out);
    out.extend(cells);
    out
}
