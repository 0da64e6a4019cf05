//! What a server of an accountable group keeps and signs, as naive as can be; and how it may lie about it.

use super::{EPOCH, GROUP, Server, id};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::cell::RefCell;
use std::collections::HashMap;
use twincast_protocol::accountable::Certificate;
use twincast_protocol::accountable::delivery::{BlindSecret, blinded, leaf_index, tile_hash, tiles_of};
use twincast_protocol::accountable::dial::{DIAL_TAIL_BYTES, DialTail, DialTree, SignedDial};
use twincast_protocol::accountable::headers::{Entry, Signed, headers_frame};
use twincast_protocol::accountable::tree::{path, tree_hash};
use twincast_protocol::accountable::upload::{SUBMIT_TAIL_BYTES, UploadOf, half_hashes, share_hash};
use twincast_protocol::identity::SigningKey;
use twincast_protocol::ids::{Epoch, MemberIndex, RoundNumber, ServerSide, SlotIndex, UserId};
use twincast_protocol::session_key::SessionKey;
use twincast_protocol::statements::{self, Hash};
use twincast_protocol::wire::{
    Code, FetchHeaders, HeadersHead, RoundEnd, SignedRoot, SignedRoundEnd, roster_hash, split_tail,
};

/// What a server signs with.
pub fn server_key(side: ServerSide) -> SigningKey {
    SigningKey::from_seed(&[0xa0 + side.index() as u8; 32])
}

/// What a user signs with.
pub fn user_key(user: UserId) -> SigningKey {
    let mut seed = [0xbb; 32];
    seed[..4].copy_from_slice(&user.0.to_le_bytes());
    SigningKey::from_seed(&seed)
}

thread_local! {
    /// Certificates that were made: each takes a while.
    static CERTIFICATES: RefCell<HashMap<UserId, Certificate>> = RefCell::default();
}

pub fn certificate(user: UserId) -> Certificate {
    CERTIFICATES.with_borrow_mut(|made| *made.entry(user).or_insert_with(|| certify(user)))
}

fn certify(user: UserId) -> Certificate {
    let key = user_key(user).verifying_key();
    let statement = statements::key(GROUP, EPOCH, user, &key);
    let signatures = ServerSide::BOTH.map(|side| server_key(side).sign(&statement));
    Certificate { key, epoch: EPOCH, signatures }
}

/// What one server does to one sender's share for one user in one round, in slot 0.
#[derive(Clone, Copy, Debug)]
pub struct Lie {
    pub round: u64,
    pub sender: u32,
    pub user: u32,
    pub mischief: Mischief,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mischief {
    /// Another byte.
    Alter,
    /// Zeros in the place of the share.
    Withhold,
    /// The other half.
    Swap,
    /// The share of the round before.
    Replay,
    /// Another byte, and it signs that it gave the right one.
    AlterInSilence,
    /// Another byte, and headers that say it gave the right one, under a root that says it did not.
    LyingRoot,
    /// Another byte, and the upload in its headers has other hashes.
    OtherUpload,
    /// Another byte, and another opening in its headers.
    OtherOpening,
    /// Another byte, and a dial that nobody signed.
    OtherDial,
    /// Another byte, and a certificate that it signed alone.
    OtherCertificate,
    /// Another byte, and no headers.
    NoHeaders,
    /// Another byte, and headers with a wrong signature.
    UnsignedHeaders,
    /// Another byte, and a root with a wrong signature.
    UnsignedRoot,
    /// Another byte, and a receipt with a wrong signature.
    UnsignedReceipt,
    /// Nothing is done to the share, and the headers say that the sender is absent.
    SaysAbsent,
}

/// What is done to what a sender submits.
pub type Spoil = fn(&mut [u8]);

/// What it keeps.
pub struct Books {
    key: SigningKey,
    blinds: BlindSecret,
    /// (epoch, sender, slot).
    pub dials: HashMap<(u32, u32, u32), (u64, DialTail)>,
    uploads: HashMap<(u64, u32), [u8; 64]>,
    pub lie: Option<Lie>,
    /// A sender, a round, and what becomes of its rows before it signs them.
    pub spoil: Option<(u32, u64, Spoil)>,
    pub fetched: Vec<FetchHeaders>,
    /// Epochs that were opened, each with its first round.
    opened: Vec<(u64, Epoch)>,
    /// Whether it keeps its HEADERS to itself for now, and those that it has, by connection.
    pub holds: bool,
    pub held: Vec<(usize, Vec<u8>)>,
}

impl Books {
    pub fn new(side: ServerSide) -> Books {
        Books {
            key: server_key(side),
            blinds: BlindSecret::random(&mut StdRng::seed_from_u64(side.index() as u64)),
            dials: HashMap::new(),
            uploads: HashMap::new(),
            lie: None,
            spoil: None,
            fetched: Vec::new(),
            opened: Vec::new(),
            holds: false,
            held: Vec::new(),
        }
    }

    /// The running epoch is open from this round on.
    pub fn open(&mut self, first_round: u64, epoch: Epoch) {
        self.opened.push((first_round, epoch));
    }
}

impl Server {
    fn is_accountable(&self) -> bool {
        self.shape.header_rounds > 0
    }

    /// The epoch that a round is of.
    fn epoch_of(&self, round: u64) -> Epoch {
        let opened = self.books.opened.iter().rev().find(|(first_round, _)| *first_round <= round);
        opened.map_or(self.epoch, |(_, epoch)| *epoch)
    }

    fn user(&self, epoch: Epoch, member: u32) -> UserId {
        self.rosters[&epoch.0][member as usize]
    }

    /// Takes the tail of DIAL off, and verifies it.
    pub fn keep_dial_tail<'a>(&mut self, place: (u32, u32, u32), dial_id: u64, body: &'a [u8]) -> &'a [u8] {
        if !self.is_accountable() {
            return body;
        }
        let (key, tail) = split_tail::<DIAL_TAIL_BYTES>(body).unwrap();
        let tail = DialTail::from_bytes(tail);
        let epoch = Epoch(place.0);
        let sender = self.user(epoch, place.1);
        let user_key = user_key(sender).verifying_key();
        assert!(tail.signed(dial_id).verify(&user_key, GROUP, epoch, sender, SlotIndex(place.2)));
        self.books.dials.insert(place, (dial_id, tail));
        key
    }

    /// Takes the tail of SUBMIT off, and verifies it; then does to the rows what the sender would have done.
    pub fn keep_upload_tail(&mut self, place: (u64, u32), body: &[u8]) -> Vec<u8> {
        if !self.is_accountable() {
            return body.to_vec();
        }
        let (rows, tail) = split_tail::<SUBMIT_TAIL_BYTES>(body).unwrap();
        let mut rows = rows.to_vec();
        let key = user_key(self.user(self.epoch_of(place.0), place.1));
        let halves = self.halves_of(&rows);
        assert!(self.upload_of(place, &halves).verify(&key.verifying_key(), tail), "{place:?}");
        let mut signature = *tail;
        if let Some((_, _, spoil)) = self.books.spoil.filter(|(sender, round, _)| (*round, *sender) == place)
        {
            spoil(&mut rows);
            signature = self.upload_of(place, &self.halves_of(&rows)).sign(&key);
        }
        self.books.uploads.insert(place, signature);
        rows
    }

    fn halves_of(&self, rows: &[u8]) -> Vec<[Hash; 2]> {
        half_hashes(rows, self.shape.format().cell_bytes(self.side))
    }

    fn upload_of<'a>(&self, (round, sender): (u64, u32), halves: &'a [[Hash; 2]]) -> UploadOf<'a> {
        let epoch = self.epoch_of(round);
        UploadOf {
            group: GROUP,
            epoch,
            round: RoundNumber(round),
            sender: self.user(epoch, sender),
            server: self.side,
            halves,
        }
    }

    fn parts_of(&self, (epoch, sender, slot): (u32, u32, u32)) -> &[u8] {
        &self.parts[&(epoch, 1, sender, slot)]
    }

    pub fn tree(&self, place: (u32, u32, u32)) -> DialTree {
        DialTree::new(&self.books.dials[&place].1.salt, &self.keys[&place].0, self.parts_of(place))
    }

    /// Every dial's parts are those that its sender committed to.
    pub fn check_trees(&self) {
        for (place, (_, tail)) in &self.books.dials {
            assert_eq!(self.tree(*place).root(), tail.roots[self.side.index()], "{place:?} at {}", self.side);
        }
    }

    /// A sender dialled another key for a user, or gave it other parts, than its client did, at S1; and signed that.
    pub fn dial_otherwise(
        servers: &mut [Server; 2],
        sender: u32,
        change: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>),
    ) {
        let place = (servers[0].epoch.0, sender, 0);
        let one = &mut servers[0];
        let (key, dial_id) = &one.keys[&place];
        let (mut bits, dial_id) = (key.as_bytes().to_vec(), *dial_id);
        change(&mut bits, one.parts.get_mut(&(place.0, 1, sender, 0)).unwrap());
        let key = SessionKey::from_bytes(one.members(one.epoch), &bits).unwrap();
        one.keys.insert(place, (key, dial_id));
        let roots = [one.tree(place).root(), servers[1].tree(place).root()];
        let epoch = servers[0].epoch;
        let user = servers[0].user(epoch, sender);
        let signed = SignedDial::sign(&user_key(user), GROUP, epoch, user, SlotIndex(0), dial_id, roots);
        for server in servers {
            let tail = &mut server.books.dials.get_mut(&place).unwrap().1;
            *tail = signed.tail(tail.salt);
        }
    }

    fn lies(&self, round: u64, sender: u32, slot: u32, user: MemberIndex) -> Option<Mischief> {
        let lie = self
            .books
            .lie
            .filter(|lie| slot == 0 && (lie.round, lie.sender, lie.user) == (round, sender, user.0));
        lie.map(|lie| lie.mischief)
    }

    /// What a user is given of these halves.
    pub fn given(
        &self,
        round: u64,
        sender: u32,
        slot: u32,
        user: MemberIndex,
        halves: [Vec<u8>; 2],
        half: usize,
    ) -> Vec<u8> {
        let mut cell = halves[half].clone();
        match self.lies(round, sender, slot, user) {
            None | Some(Mischief::SaysAbsent) => {}
            Some(Mischief::Withhold) => cell.fill(0),
            Some(Mischief::Swap) => cell.clone_from(&halves[1 - half]),
            Some(Mischief::Replay) => {
                let cell_bytes = cell.len();
                cell = self.shares[&(round - 1, sender)][half * cell_bytes..][..cell_bytes].to_vec();
            }
            Some(_) => cell[5] ^= 0x10,
        }
        cell
    }

    /// The hash that it signs of what a user is given, or `shown` in headers.
    fn signed_hash(&self, round: u64, sender: u32, slot: u32, user: MemberIndex, shown: bool) -> Hash {
        let cell_bytes = self.shape.format().cell_bytes(self.side);
        let Some(rows) = self.shares.get(&(round, sender)) else { return share_hash(&vec![0; cell_bytes]) };
        let half = usize::from(self.keys[&(self.epoch_of(round).0, sender, slot)].0.bit(user));
        let row = &rows[2 * slot as usize * cell_bytes..];
        let halves = [0, 1].map(|half: usize| row[half * cell_bytes..][..cell_bytes].to_vec());
        match (self.lies(round, sender, slot, user), shown) {
            (Some(Mischief::AlterInSilence), _) | (Some(Mischief::LyingRoot), true) => {
                share_hash(&halves[half])
            }
            _ => share_hash(&self.given(round, sender, slot, user, halves, half)),
        }
    }

    fn senders(&self, epoch: Epoch, tile: u32) -> std::ops::Range<u32> {
        64 * tile..self.members(epoch).min(64 * tile + 64)
    }

    fn present(&self, round: u64, tile: u32) -> u64 {
        let bit = |sender: u32| u64::from(self.shares.contains_key(&(round, sender))) << (sender % 64);
        self.senders(self.epoch_of(round), tile).map(bit).fold(0, |word, bit| word | bit)
    }

    /// The tiles' hashes of one user, slot by slot.
    fn leaves(&self, round: u64, user: MemberIndex) -> Vec<Hash> {
        let epoch = self.epoch_of(round);
        let tiles = tiles_of(self.members(epoch));
        let places = (0..self.shape.slots).flat_map(|slot| (0..tiles).map(move |tile| (slot, tile)));
        let leaf = |(slot, tile): (u32, u32)| {
            let blinds = self.books.blinds.recipient(self.user(epoch, user.0));
            let blinds = blinds.tile(RoundNumber(round), leaf_index(SlotIndex(slot), tile, tiles));
            let hidden = |sender: u32| {
                let hash = self.signed_hash(round, sender, slot, user, false);
                blinded(&blinds[sender as usize % 64], self.user(epoch, sender), &hash)
            };
            tile_hash(&self.senders(epoch, tile).map(hidden).collect::<Vec<_>>())
        };
        places.map(leaf).collect()
    }

    /// ROUND_END for the users of one connection.
    pub fn signed_end(&self, round: u64, users: &[MemberIndex]) -> Vec<u8> {
        let epoch = self.epoch_of(round);
        let members = self.members(epoch);
        let (tiles, number) = (tiles_of(members), RoundNumber(round));
        let does = |mischief, user: &MemberIndex| {
            let lie = self.books.lie.filter(|lie| (lie.round, lie.mischief) == (round, mischief));
            lie.is_some_and(|lie| lie.user == user.0)
        };
        let present: Vec<u64> = (0..tiles).map(|tile| self.present(round, tile)).collect();
        let roster = roster_hash(GROUP, epoch, &self.rosters[&epoch.0]);
        let receipt = statements::receipt(GROUP, epoch, number, self.side, &roster, &present);
        let mut receipt = self.books.key.sign(&receipt);
        receipt[40] ^= u8::from(users.iter().any(|user| does(Mischief::UnsignedReceipt, user)));
        let root = |user: &MemberIndex| {
            let root = tree_hash(&self.leaves(round, *user));
            let id = self.user(epoch, user.0);
            let delivery = statements::delivery(GROUP, epoch, number, self.side, id, &root);
            let mut signature = self.books.key.sign(&delivery);
            signature[40] ^= u8::from(does(Mischief::UnsignedRoot, user));
            SignedRoot { root, signature }
        };
        let delivered = if users.is_empty() { 0 } else { tiles * self.shape.slots };
        let end = RoundEnd::new(round, delivered, present.iter().map(|word| word.count_ones()).sum());
        SignedRoundEnd { end, present, receipt, roots: users.iter().map(root).collect() }.frame()
    }

    /// HEADERS, in answer to a user of a connection.
    pub fn headers(&mut self, users: &[UserId], fetch: &FetchHeaders) -> Vec<u8> {
        self.books.fetched.push(*fetch);
        let (round, user, slot) = (fetch.round.get(), MemberIndex(fetch.user.get()), fetch.slot.get());
        let (tile, epoch) = (fetch.tile.get(), Epoch(fetch.epoch.get()));
        let members = self.members(epoch);
        let recipient = self.user(epoch, user.0);
        assert!(users.contains(&recipient) && epoch == self.epoch_of(round));
        let lies = |sender| self.lies(round, sender, slot, user);
        let refused = round >= self.round
            || self.senders(epoch, tile).any(|sender| lies(sender) == Some(Mischief::NoHeaders));
        if refused {
            return Code::HeadersRange.frame(user.0, slot, round).to_vec();
        }
        let absent = self.senders(epoch, tile).find(|sender| lies(*sender) == Some(Mischief::SaysAbsent));
        let present = self.present(round, tile) & !absent.map_or(0, |sender| 1 << (sender % 64));
        let head = HeadersHead::new(fetch, members, self.shape.slots, present);
        let index = leaf_index(SlotIndex(slot), tile, tiles_of(members));
        let blinds = self.books.blinds.recipient(recipient).tile(RoundNumber(round), index);
        let entry = |sender: u32| {
            let position = sender % 64;
            let signed =
                (present >> position & 1 == 1).then(|| self.what_was_signed(round, sender, slot, user));
            let share_hash = self.signed_hash(round, sender, slot, user, true);
            Entry {
                user: self.user(epoch, sender),
                position,
                blind: blinds[position as usize],
                share_hash,
                signed,
            }
        };
        let entries: Vec<Entry> = self.senders(epoch, tile).map(entry).collect();
        let path = path(&self.leaves(round, user), index);
        let mut frame = headers_frame(GROUP, self.side, recipient, &head, &path, &entries, &self.books.key);
        if self.senders(epoch, tile).any(|sender| lies(sender) == Some(Mischief::UnsignedHeaders)) {
            *frame.last_mut().unwrap() ^= 1;
        }
        frame
    }

    fn what_was_signed(&self, round: u64, sender: u32, slot: u32, user: MemberIndex) -> Signed {
        let epoch = self.epoch_of(round);
        let place = (epoch.0, sender, slot);
        let (dial_id, tail) = &self.books.dials[&place];
        let (tree, key) = (self.tree(place), &self.keys[&place].0);
        let (first, count) = tree.group_of(user);
        let parts = &self.parts_of(place)[64 * first.0 as usize..][..64 * count as usize];
        let mut signed = Signed {
            halves: self.halves_of(&self.shares[&(round, sender)]),
            upload: self.books.uploads[&(round, sender)],
            dial: tail.signed(*dial_id),
            certificate: certificate(self.user(epoch, sender)),
            opening: tree.open(&tail.salt, |member| key.bit(member), user, parts),
        };
        match self.lies(round, sender, slot, user) {
            Some(Mischief::OtherUpload) => {
                let given = self.signed_hash(round, sender, slot, user, true);
                signed.halves[slot as usize] = [given, [1; 32]];
            }
            Some(Mischief::OtherOpening) => signed.opening.bit = !signed.opening.bit,
            Some(Mischief::OtherDial) => signed.dial.dial_id ^= 1,
            Some(Mischief::OtherCertificate) => {
                signed.certificate.key = user_key(id(9999)).verifying_key();
                let (from, user) = (signed.certificate.epoch, self.user(epoch, sender));
                let statement = statements::key(GROUP, from, user, &signed.certificate.key);
                signed.certificate.signatures = [self.books.key.sign(&statement); 2];
            }
            _ => {}
        }
        signed
    }
}
