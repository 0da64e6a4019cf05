//! What a server was told, and what it therefore has to send: by hand from `engine/docs/WIRE.md`, bit by bit.

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::collections::BTreeMap;
use twincast_protocol::confirm::expand_seed;
use twincast_server::config::GroupConfig;

/// Senders to a tile.
const TILE: usize = 64;
/// Bytes of a confirmation.
const PART: usize = 64;

/// One group on one server.
pub(crate) struct Model {
    pub(crate) group: u32,
    pub(crate) members: usize,
    pub(crate) slots: usize,
    pub(crate) share_bytes: usize,
    pub(crate) seed: u64,
    rng: Xoshiro256PlusPlus,
    /// By (sender, slot).
    keys: BTreeMap<(u32, u32), Vec<u8>>,
    /// By (round, sender): half 0 and half 1 of each slot.
    shares: BTreeMap<(u64, u32), Vec<u8>>,
    /// By (sender, slot): one part for each member.
    parts: BTreeMap<(u32, u32), Vec<u8>>,
}

impl Model {
    pub(crate) fn new(config: &GroupConfig, seed: u64) -> Model {
        Model {
            group: config.id,
            members: config.members as usize,
            slots: config.slots as usize,
            share_bytes: config.frame_bytes as usize + 48,
            seed,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            keys: BTreeMap::new(),
            shares: BTreeMap::new(),
            parts: BTreeMap::new(),
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
        let frame = dial_frame(dial_id(sender, slot), 0, sender, slot, &key);
        self.keys.insert((sender, slot), key);
        frame
    }

    /// A SUBMIT of random shares, which the server takes.
    pub(crate) fn submit(&mut self, round: u64, sender: u32) -> Vec<u8> {
        let shares = self.random(2 * self.slots * self.share_bytes);
        self.submit_with(round, sender, shares)
    }

    /// A SUBMIT of these shares, which the server takes.
    pub(crate) fn submit_with(&mut self, round: u64, sender: u32, shares: Vec<u8>) -> Vec<u8> {
        let frame = submit_frame(round, sender, &shares);
        self.shares.insert((round, sender), shares);
        frame
    }

    /// A SUBMIT that the server does not take.
    pub(crate) fn submit_in_vain(&mut self, round: u64, sender: u32) -> Vec<u8> {
        submit_frame(round, sender, &self.random(2 * self.slots * self.share_bytes))
    }

    /// The server did not take that SUBMIT after all.
    pub(crate) fn forget(&mut self, round: u64, sender: u32) {
        self.shares.remove(&(round, sender));
    }

    /// A CONFIRM_SEED of a random seed, which the server takes.
    pub(crate) fn confirm_seed(&mut self, sender: u32, slot: u32) -> Vec<u8> {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        self.confirm_seed_with(sender, slot, &seed)
    }

    /// A CONFIRM_SEED of this seed, which the server takes.
    pub(crate) fn confirm_seed_with(&mut self, sender: u32, slot: u32, seed: &[u8; 32]) -> Vec<u8> {
        let mut parts = vec![0; self.members * PART];
        expand_seed(seed, 0, &mut parts);
        self.parts.insert((sender, slot), parts);
        confirm_frame(0x03, 0, sender, slot, seed)
    }

    /// A CONFIRM_PARTS of random parts, which the server takes.
    pub(crate) fn confirm_parts(&mut self, sender: u32, slot: u32) -> Vec<u8> {
        let parts = self.random(self.members * PART);
        self.confirm_parts_with(sender, slot, parts)
    }

    /// A CONFIRM_PARTS of these parts, which the server takes.
    pub(crate) fn confirm_parts_with(&mut self, sender: u32, slot: u32, parts: Vec<u8>) -> Vec<u8> {
        let frame = confirm_frame(0x04, 0, sender, slot, &parts);
        self.parts.insert((sender, slot), parts);
        frame
    }

    /// Members all of whose slots are dialled.
    pub(crate) fn members_dialled(&self) -> u32 {
        let all = |member: &u32| (0..self.slots as u32).all(|slot| self.keys.contains_key(&(*member, slot)));
        (0..self.members as u32).filter(all).count() as u32
    }

    /// EPOCH_OPEN.
    pub(crate) fn epoch_open(&self) -> Vec<u8> {
        let mut body = 0u32.to_le_bytes().to_vec();
        body.extend(self.members_dialled().to_le_bytes());
        body.extend(1u64.to_le_bytes());
        frame(0x84, &body)
    }

    /// DIALLED.
    pub(crate) fn dialled(&self, sender: u32, slot: u32) -> Vec<u8> {
        let mut body = dial_id(sender, slot).to_le_bytes().to_vec();
        for number in [0, sender, slot, 0] {
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
        frame(0x86, &body)
    }

    /// DELIVER of messages.
    pub(crate) fn deliver(&self, round: u64, tile: usize, slot: usize, users: &[u32]) -> Vec<u8> {
        let first = tile * TILE;
        let senders = TILE.min(self.members - first);
        let rows: Vec<Option<(&[u8], &[u8])>> = (first..first + senders)
            .map(|sender| {
                let shares = self.shares.get(&(round, sender as u32))?;
                Some((&self.keys[&(sender as u32, slot as u32)][..], &shares[..]))
            })
            .collect();
        let absent = vec![0; self.share_bytes];
        let cell = |row: &Option<(&'_ [u8], &'_ [u8])>, user: u32| match row {
            None => absent.clone(),
            Some((key, shares)) => {
                let half = usize::from(key[user as usize / 8] >> (user % 8) & 1);
                shares[(2 * slot + half) * self.share_bytes..][..self.share_bytes].to_vec()
            }
        };
        let head = (round, slot, tile, first, self.share_bytes, 0);
        deliver_frame(head, &rows, users, cell)
    }

    /// DELIVER of confirmations, of tiles of so many senders.
    pub(crate) fn confirmations(
        &self,
        tile_senders: usize,
        tile: usize,
        slot: usize,
        users: &[u32],
    ) -> Vec<u8> {
        let first = tile * tile_senders;
        let senders = tile_senders.min(self.members - first);
        let rows: Vec<Option<&Vec<u8>>> =
            (first..first + senders).map(|sender| self.parts.get(&(sender as u32, slot as u32))).collect();
        let cell = |row: &Option<&Vec<u8>>, user: u32| match row {
            None => vec![0; PART],
            Some(parts) => parts[user as usize * PART..][..PART].to_vec(),
        };
        deliver_frame((0, slot, tile, first, PART, 1), &rows, users, cell)
    }
}

/// DELIVER: (round, slot, tile, first sender, cell bytes, purpose), and the cells.
fn deliver_frame<R>(
    head: (u64, usize, usize, usize, usize, u32),
    rows: &[Option<R>],
    users: &[u32],
    cell: impl Fn(&Option<R>, u32) -> Vec<u8>,
) -> Vec<u8> {
    let (round, slot, tile, first, cell_bytes, purpose) = head;
    let present = rows.iter().rev().fold(0u64, |word, row| word << 1 | u64::from(row.is_some()));
    let mut body = round.to_le_bytes().to_vec();
    body.extend(present.to_le_bytes());
    for number in [0, slot, tile, first, rows.len(), cell_bytes, users.len()] {
        body.extend((number as u32).to_le_bytes());
    }
    body.extend(purpose.to_le_bytes());
    body.extend(0u64.to_le_bytes());
    for &user in users {
        for row in rows {
            body.extend(cell(row, user));
        }
    }
    frame(0x85, &body)
}

/// The number that the model gives a dial.
fn dial_id(sender: u32, slot: u32) -> u64 {
    u64::from(sender) << 32 | u64::from(slot)
}

/// A frame of this version.
pub(crate) fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![1, kind, 0, 0];
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

/// CONFIRM_SEED or CONFIRM_PARTS.
pub(crate) fn confirm_frame(kind: u8, epoch: u32, sender: u32, slot: u32, tail: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for number in [epoch, sender, slot, 0] {
        body.extend(number.to_le_bytes());
    }
    body.extend(tail);
    frame(kind, &body)
}

pub(crate) fn submit_frame(round: u64, sender: u32, shares: &[u8]) -> Vec<u8> {
    let mut body = round.to_le_bytes().to_vec();
    body.extend(sender.to_le_bytes());
    body.extend(0u32.to_le_bytes());
    body.extend(shares);
    frame(0x05, &body)
}

/// ROUND_SKIPPED.
pub(crate) fn skipped_frame(round: u64) -> Vec<u8> {
    frame(0x87, &round.to_le_bytes())
}

/// GRANT, for epoch 0.
pub(crate) fn grant_frame(slot: usize, first_sender: usize, senders: usize) -> Vec<u8> {
    let mut body = 0u32.to_le_bytes().to_vec();
    for number in [slot, first_sender, senders] {
        body.extend((number as u32).to_le_bytes());
    }
    frame(0x83, &body)
}
