//! What a server was told, and what it therefore has to send: by hand from `engine/docs/WIRE.md`, bit by bit.
//!
//! A model is of one epoch. What belongs to the next one is a further model, made by [`Model::next_epoch`].

use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::collections::BTreeMap;
use twincast_protocol::ids::ServerSide;
use twincast_protocol::parts::{PartKind, expand_parts};
use twincast_server::config::{GroupConfig, SchemeName};

/// Senders to a tile.
const TILE: usize = 64;
/// What parts carry.
pub(crate) const CONFIRMATION: u32 = 1;
pub(crate) const KEY: u32 = 2;
pub(crate) const REPLY: u32 = 3;

/// One group on one server, in one epoch.
pub(crate) struct Model {
    pub(crate) group: u32,
    pub(crate) epoch: u32,
    /// The members' ids, ascending. A sender is a position in it; a user is an id.
    pub(crate) roster: Vec<u32>,
    pub(crate) members: usize,
    pub(crate) slots: usize,
    pub(crate) first_round: u64,
    /// Bytes of a cell from this server.
    pub(crate) cell_bytes: usize,
    /// Halves of a sender's slot.
    pub(crate) halves: usize,
    /// Whether submissions have choice words.
    pub(crate) chooses: bool,
    pub(crate) seed: u64,
    rng: Xoshiro256PlusPlus,
    /// By (sender, slot).
    keys: BTreeMap<(u32, u32), Vec<u8>>,
    /// By (sender, slot): what the dial is called.
    dial_ids: BTreeMap<(u32, u32), u64>,
    /// By (round, sender): choice words, and the halves of each slot.
    shares: BTreeMap<(u64, u32), (Vec<u16>, Vec<u8>)>,
    /// By (purpose, sender, slot): one part for each member.
    parts: BTreeMap<(u32, u32, u32), Vec<u8>>,
    /// Tiles of a round that were released without the other server's word.
    pub(crate) unagreed: BTreeMap<u64, u32>,
}

impl Model {
    pub(crate) fn new(config: &GroupConfig, side: ServerSide, seed: u64) -> Model {
        let share_bytes = match config.profile.as_str() {
            "compact" => config.frame_bytes as usize + 48,
            // Of 256 bytes; longer ones bring their body along.
            "paper-xor" => 771 + config.frame_bytes as usize - 256,
            "paper-add" => 772 + config.frame_bytes as usize - 256,
            other => panic!("no profile is called {other}"),
        };
        let pair = config.scheme == SchemeName::Algorithm4 && side == ServerSide::One;
        let chooses = config.scheme == SchemeName::OneToMany;
        Model {
            group: config.id,
            epoch: 0,
            roster: (0..config.members).collect(),
            members: config.members as usize,
            slots: config.slots as usize,
            first_round: 1,
            cell_bytes: if pair { 2 * share_bytes } else { share_bytes },
            halves: if chooses { 2 * usize::from(config.subgroups_max) } else { 2 },
            chooses,
            seed,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            keys: BTreeMap::new(),
            dial_ids: BTreeMap::new(),
            shares: BTreeMap::new(),
            parts: BTreeMap::new(),
            unagreed: BTreeMap::new(),
        }
    }

    /// The same group in another epoch, of which nothing is known but its members.
    pub(crate) fn next_epoch(&mut self, epoch: u32, roster: Vec<u32>, first_round: u64) -> Model {
        assert!(roster.is_sorted());
        Model {
            epoch,
            members: roster.len(),
            roster,
            first_round,
            rng: Xoshiro256PlusPlus::seed_from_u64(self.rng.random()),
            keys: BTreeMap::new(),
            dial_ids: BTreeMap::new(),
            shares: BTreeMap::new(),
            parts: BTreeMap::new(),
            unagreed: BTreeMap::new(),
            ..*self
        }
    }

    pub(crate) fn rng(&mut self) -> &mut Xoshiro256PlusPlus {
        &mut self.rng
    }

    fn random(&mut self, bytes: usize) -> Vec<u8> {
        let mut out = vec![0; bytes];
        self.rng.fill_bytes(&mut out);
        out
    }

    /// A user's position among the members.
    pub(crate) fn index(&self, user: u32) -> Option<u32> {
        self.roster.iter().position(|&id| id == user).map(|index| index as u32)
    }

    /// The positions of those users who are members.
    pub(crate) fn indices(&self, users: &[u32]) -> Vec<u32> {
        users.iter().filter_map(|&user| self.index(user)).collect()
    }

    /// A DIAL of a random session key, which the server takes.
    pub(crate) fn dial(&mut self, sender: u32, slot: u32) -> Vec<u8> {
        let mut key = self.random(self.members.div_ceil(8));
        if !self.members.is_multiple_of(8) {
            *key.last_mut().expect("a member") &= (1 << (self.members % 8)) - 1;
        }
        self.dial_with(sender, slot, key)
    }

    /// A DIAL of this session key, which the server takes.
    pub(crate) fn dial_with(&mut self, sender: u32, slot: u32, key: Vec<u8>) -> Vec<u8> {
        let dial_id = u64::from(sender) << 32 | u64::from(slot);
        self.dial_as(dial_id, sender, slot, key)
    }

    /// The same, under this number.
    pub(crate) fn dial_as(&mut self, dial_id: u64, sender: u32, slot: u32, key: Vec<u8>) -> Vec<u8> {
        let frame = dial_frame(dial_id, self.epoch, sender, slot, &key);
        self.keys.insert((sender, slot), key);
        self.dial_ids.insert((sender, slot), dial_id);
        frame
    }

    /// That dial did not take effect after all.
    pub(crate) fn forget_dial(&mut self, sender: u32, slot: u32) {
        self.keys.remove(&(sender, slot));
        self.dial_ids.remove(&(sender, slot));
        self.parts.remove(&(CONFIRMATION, sender, slot));
    }

    /// Whether this slot was dialled.
    pub(crate) fn is_dialled(&self, sender: u32, slot: u32) -> bool {
        self.keys.contains_key(&(sender, slot))
    }

    /// A SUBMIT of random shares, which the server takes.
    pub(crate) fn submit(&mut self, round: u64, sender: u32) -> Vec<u8> {
        let shares = self.random(self.slots * self.halves * self.cell_bytes);
        self.submit_with(round, sender, shares)
    }

    /// A SUBMIT of these shares, which the server takes.
    pub(crate) fn submit_with(&mut self, round: u64, sender: u32, shares: Vec<u8>) -> Vec<u8> {
        let words = if self.chooses { self.members } else { 0 };
        let choices: Vec<u16> = (0..words).map(|_| self.rng.random_range(0..self.halves as u16)).collect();
        let frame = submit_frame(round, sender, &with_choices(&choices, &shares));
        self.shares.insert((round, sender), (choices, shares));
        frame
    }

    /// A SUBMIT that the server does not take.
    pub(crate) fn submit_in_vain(&mut self, round: u64, sender: u32) -> Vec<u8> {
        let words = if self.chooses { 2 * self.members } else { 0 };
        let shares = self.random(self.slots * self.halves * self.cell_bytes);
        submit_frame(round, sender, &[vec![0; words], shares].concat())
    }

    /// The server did not take that SUBMIT after all, or the other one did not.
    pub(crate) fn forget(&mut self, round: u64, sender: u32) {
        self.shares.remove(&(round, sender));
    }

    /// PARTS_SEED of a random seed at S1, PARTS of random parts at S2, which the server takes.
    pub(crate) fn give(&mut self, side: ServerSide, purpose: u32, sender: u32, slot: u32) -> Vec<u8> {
        match side {
            ServerSide::One => {
                let mut seed = [0; 32];
                self.rng.fill_bytes(&mut seed);
                self.seed_with(purpose, sender, slot, &seed)
            }
            ServerSide::Two => {
                let parts = self.random(self.members * part_bytes(purpose));
                self.parts_with(purpose, sender, slot, parts)
            }
        }
    }

    /// A PARTS_SEED of this seed, which the server takes.
    pub(crate) fn seed_with(&mut self, purpose: u32, sender: u32, slot: u32, seed: &[u8; 32]) -> Vec<u8> {
        let mut parts = vec![0; self.members * part_bytes(purpose)];
        expand_parts(seed, PartKind::from_number(purpose as u8).expect("a purpose"), 0, &mut parts);
        self.parts.insert((purpose, sender, slot), parts);
        parts_frame(0x03, self.epoch, sender, slot, purpose, seed)
    }

    /// A PARTS of these parts, which the server takes.
    pub(crate) fn parts_with(&mut self, purpose: u32, sender: u32, slot: u32, parts: Vec<u8>) -> Vec<u8> {
        let frame = parts_frame(0x04, self.epoch, sender, slot, purpose, &parts);
        self.parts.insert((purpose, sender, slot), parts);
        frame
    }

    /// Whether these parts were given.
    pub(crate) fn is_given(&self, purpose: u32, sender: u32, slot: u32) -> bool {
        self.parts.contains_key(&(purpose, sender, slot))
    }

    /// Members all of whose slots are dialled.
    pub(crate) fn members_dialled(&self) -> u32 {
        let all = |member: &u32| (0..self.slots as u32).all(|slot| self.keys.contains_key(&(*member, slot)));
        (0..self.members as u32).filter(all).count() as u32
    }

    /// EPOCH_OPEN.
    pub(crate) fn epoch_open(&self) -> Vec<u8> {
        self.epoch_open_with(self.members_dialled())
    }

    /// EPOCH_OPEN, with so many members who dialled.
    pub(crate) fn epoch_open_with(&self, members_dialled: u32) -> Vec<u8> {
        let mut body = self.epoch.to_le_bytes().to_vec();
        body.extend(members_dialled.to_le_bytes());
        body.extend(self.first_round.to_le_bytes());
        frame(0x84, &body)
    }

    /// ROSTER, of up to 4096 members.
    pub(crate) fn roster_frame(&self) -> Vec<u8> {
        assert!(self.members <= 4_096);
        let mut body = Vec::new();
        for number in [self.epoch, self.members as u32, 0, self.members as u32].iter().chain(&self.roster) {
            body.extend(number.to_le_bytes());
        }
        frame(0x8a, &body)
    }

    /// ANNOUNCE.
    pub(crate) fn announce(&self) -> Vec<u8> {
        let mut body = self.epoch.to_le_bytes().to_vec();
        body.extend((self.members as u32).to_le_bytes());
        body.extend(self.first_round.to_le_bytes());
        body.extend(self.roster_hash());
        frame(0x89, &body)
    }

    /// What WELCOME and ANNOUNCE say of the members.
    pub(crate) fn roster_hash(&self) -> [u8; 32] {
        use twincast_protocol::ids::{Epoch, GroupId, UserId};
        let members: Vec<UserId> = self.roster.iter().copied().map(UserId).collect();
        twincast_protocol::wire::roster_hash(GroupId(self.group), Epoch(self.epoch), &members)
    }

    /// DIALLED.
    pub(crate) fn dialled(&self, sender: u32, slot: u32) -> Vec<u8> {
        let mut body = self.dial_ids[&(sender, slot)].to_le_bytes().to_vec();
        for number in [self.epoch, sender, slot, 0] {
            body.extend(number.to_le_bytes());
        }
        frame(0x82, &body)
    }

    /// Tiles of one slot of a round.
    pub(crate) fn tiles(&self) -> usize {
        self.members.div_ceil(TILE)
    }

    /// Members who submitted for a round.
    pub(crate) fn senders(&self, round: u64) -> u32 {
        self.shares.range((round, 0)..=(round, u32::MAX)).count() as u32
    }

    /// All frames of a round for a connection that plays `users`.
    pub(crate) fn round(&self, round: u64, users: &[u32]) -> Vec<Vec<u8>> {
        let mut frames: Vec<Vec<u8>> = (0..self.tiles())
            .flat_map(|tile| (0..self.slots).map(move |slot| (tile, slot)))
            .filter(|_| users.iter().any(|&user| self.index(user).is_some()))
            .map(|(tile, slot)| self.deliver(round, tile, slot, users))
            .collect();
        frames.push(self.round_end(round));
        frames
    }

    /// ROUND_END.
    pub(crate) fn round_end(&self, round: u64) -> Vec<u8> {
        let mut body = round.to_le_bytes().to_vec();
        body.extend(((self.tiles() * self.slots) as u32).to_le_bytes());
        body.extend(self.senders(round).to_le_bytes());
        body.extend(self.unagreed.get(&round).unwrap_or(&0).to_le_bytes());
        body.extend([0; 4]);
        frame(0x86, &body)
    }

    /// DELIVER of messages.
    pub(crate) fn deliver(&self, round: u64, tile: usize, slot: usize, users: &[u32]) -> Vec<u8> {
        let first = tile * TILE;
        let senders = TILE.min(self.members - first);
        type Row<'a> = (&'a [u8], &'a [u16], &'a [u8]);
        let rows: Vec<Option<Row<'_>>> = (first..first + senders)
            .map(|sender| {
                let (choices, shares) = self.shares.get(&(round, sender as u32))?;
                let key = self.keys.get(&(sender as u32, slot as u32)).map_or(&[][..], |key| key);
                Some((key, &choices[..], &shares[..]))
            })
            .collect();
        let absent = vec![0; self.cell_bytes];
        let cell = |row: &Option<Row<'_>>, user: u32| match row {
            None => absent.clone(),
            Some((key, choices, shares)) => {
                let half = match choices.get(user as usize) {
                    Some(&choice) => usize::from(choice),
                    None => usize::from(key[user as usize / 8] >> (user % 8) & 1),
                };
                shares[(self.halves * slot + half) * self.cell_bytes..][..self.cell_bytes].to_vec()
            }
        };
        self.deliver_frame((round, slot, tile, first, self.cell_bytes, 0, 0), &rows, users, cell)
    }

    /// DELIVER of parts, of tiles of so many senders.
    pub(crate) fn parts(
        &self,
        purpose: u32,
        tile_senders: usize,
        tile: usize,
        slot: usize,
        users: &[u32],
    ) -> Vec<u8> {
        self.parts_but(purpose, tile_senders, tile, slot, users, 0)
    }

    /// The same, as the answer to FETCH, where the server did not keep the parts of those in `lost`.
    pub(crate) fn parts_but(
        &self,
        purpose: u32,
        tile_senders: usize,
        tile: usize,
        slot: usize,
        users: &[u32],
        lost: u64,
    ) -> Vec<u8> {
        let first = tile * tile_senders;
        let senders = tile_senders.min(self.members - first);
        let given = |sender: usize| self.parts.get(&(purpose, (first + sender) as u32, slot as u32));
        let rows: Vec<Option<&Vec<u8>>> =
            (0..senders).map(|sender| given(sender).filter(|_| lost >> sender & 1 == 0)).collect();
        let bytes = part_bytes(purpose);
        let cell = |row: &Option<&Vec<u8>>, user: u32| match row {
            None => vec![0; bytes],
            Some(parts) => parts[user as usize * bytes..][..bytes].to_vec(),
        };
        self.deliver_frame((0, slot, tile, first, bytes, purpose, lost), &rows, users, cell)
    }

    /// DELIVER of confirmations, of tiles of so many senders.
    pub(crate) fn confirmations(
        &self,
        tile_senders: usize,
        tile: usize,
        slot: usize,
        users: &[u32],
    ) -> Vec<u8> {
        self.parts(CONFIRMATION, tile_senders, tile, slot, users)
    }

    /// DELIVER: (round, slot, tile, first sender, cell bytes, purpose, lost), and the cells.
    fn deliver_frame<R>(
        &self,
        head: (u64, usize, usize, usize, usize, u32, u64),
        rows: &[Option<R>],
        users: &[u32],
        cell: impl Fn(&Option<R>, u32) -> Vec<u8>,
    ) -> Vec<u8> {
        let (round, slot, tile, first, cell_bytes, purpose, lost) = head;
        let users = self.indices(users);
        let present = rows.iter().rev().fold(0u64, |word, row| word << 1 | u64::from(row.is_some()));
        let mut body = round.to_le_bytes().to_vec();
        body.extend(present.to_le_bytes());
        body.extend(self.epoch.to_le_bytes());
        for number in [slot, tile, first, rows.len(), cell_bytes, users.len()] {
            body.extend((number as u32).to_le_bytes());
        }
        body.extend(purpose.to_le_bytes());
        body.extend(lost.to_le_bytes());
        for &user in &users {
            for row in rows {
                body.extend(cell(row, user));
            }
        }
        frame(0x85, &body)
    }
}

/// Bytes of a member's part.
pub(crate) fn part_bytes(purpose: u32) -> usize {
    if purpose == CONFIRMATION { 64 } else { 96 }
}

/// The tail of a SUBMIT.
pub(crate) fn with_choices(choices: &[u16], shares: &[u8]) -> Vec<u8> {
    let mut tail: Vec<u8> = choices.iter().flat_map(|choice| choice.to_le_bytes()).collect();
    tail.extend(shares);
    tail
}

/// A frame of this version.
pub(crate) fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![3, kind, 0, 0];
    frame.extend((body.len() as u32).to_le_bytes());
    frame.extend(body);
    frame
}

pub(crate) fn dial_frame(dial_id: u64, epoch: u32, sender: u32, slot: u32, key: &[u8]) -> Vec<u8> {
    let mut body = dial_id.to_le_bytes().to_vec();
    for number in [epoch, sender, slot, 0] {
        body.extend(number.to_le_bytes());
    }
    body.extend(key);
    frame(0x02, &body)
}

/// PARTS_SEED (0x03) or PARTS (0x04).
pub(crate) fn parts_frame(
    kind: u8,
    epoch: u32,
    sender: u32,
    slot: u32,
    purpose: u32,
    tail: &[u8],
) -> Vec<u8> {
    let mut body = Vec::new();
    for number in [epoch, sender, slot, purpose] {
        body.extend(number.to_le_bytes());
    }
    body.extend(tail);
    frame(kind, &body)
}

/// PARTS_SEED (0x03) or PARTS (0x04) of confirmations.
pub(crate) fn confirm_frame(kind: u8, epoch: u32, sender: u32, slot: u32, tail: &[u8]) -> Vec<u8> {
    parts_frame(kind, epoch, sender, slot, CONFIRMATION, tail)
}

pub(crate) fn submit_frame(round: u64, sender: u32, tail: &[u8]) -> Vec<u8> {
    let mut body = round.to_le_bytes().to_vec();
    body.extend(sender.to_le_bytes());
    body.extend(0u32.to_le_bytes());
    body.extend(tail);
    frame(0x05, &body)
}

/// LEAVE.
pub(crate) fn leave_frame(user: u32) -> Vec<u8> {
    frame(0x06, &[user.to_le_bytes(), [0; 4]].concat())
}

/// FETCH.
pub(crate) fn fetch_frame(epoch: u32, purpose: u32, slot: u32, first_tile: u32, tiles: u32) -> Vec<u8> {
    let numbers = [epoch, purpose, slot, first_tile, tiles, 0];
    frame(0x07, &numbers.map(u32::to_le_bytes).concat())
}

/// ROUND_SKIPPED.
pub(crate) fn skipped_frame(round: u64) -> Vec<u8> {
    frame(0x87, &round.to_le_bytes())
}

/// GRANT of confirmations, for epoch 0.
pub(crate) fn grant_frame(slot: usize, first_sender: usize, senders: usize) -> Vec<u8> {
    let numbers = [0, slot as u32, first_sender as u32, senders as u32, CONFIRMATION, 0];
    frame(0x83, &numbers.map(u32::to_le_bytes).concat())
}
