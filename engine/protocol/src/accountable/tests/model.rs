//! A small group with real codewords, dials and signatures, in which one party misbehaves.

use crate::accountable::certificate::Certificate;
use crate::accountable::delivery::{
    BlindSecret, leaf_index, senders_of, tile_and_position, tile_hash, tiles_of,
};
use crate::accountable::dial::{DialTree, SignedDial};
use crate::accountable::evidence::{About, Evidence, GivenBy};
use crate::accountable::headers::{Entry, Headers, Signed, headers_frame};
use crate::accountable::tree::{path, tree_hash};
use crate::accountable::upload::{UploadOf, half_hashes, share_hash};
use crate::compact::{SplitBuffers, split};
use crate::confirm::{CONFIRMATION_BYTES, ConfirmationMaker, expand_seed};
use crate::context::{Context, Purpose};
use crate::frame::FrameBytes;
use crate::identity::{SIGNATURE_BYTES, SigningKey, VerifyingKey};
use crate::ids::{Epoch, GroupId, MemberIndex, RoundNumber, ServerSide, SlotIndex, UserId};
use crate::session_key::{SessionKey, dial};
use crate::statements::{self, Hash};
use crate::wire::{FetchHeaders, HeadersHead, SignedRoot, roster_hash};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::HashMap;

pub(super) const GROUP: GroupId = GroupId(5);
pub(super) const EPOCH: Epoch = Epoch(9);
pub(super) const ROUND: RoundNumber = RoundNumber(40);
pub(super) const SLOT: SlotIndex = SlotIndex(1);
const SLOTS: u32 = 2;

/// What a server does, or a sender; for the rest they are honest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mischief {
    Alter,
    Withhold,
    Swap,
    ReplayShare,
    GiveOtherServers,
    ForgeUpload,
    ForgeDial,
    ForgeOpening,
    ForgeCertificate,
    OtherBlind,
    LieInRoot,
    LieInReceipt,
    LieAboutPosition,
    Undecodable,
    OtherLayout,
    LyingConfirmation,
    NoConfirmation,
    EqualHalves,
    ReplayUpload,
    TwoDials,
}

pub(super) const BY_SERVER: [Mischief; 13] = [
    Mischief::Alter,
    Mischief::Withhold,
    Mischief::Swap,
    Mischief::ReplayShare,
    Mischief::GiveOtherServers,
    Mischief::ForgeUpload,
    Mischief::ForgeDial,
    Mischief::ForgeOpening,
    Mischief::ForgeCertificate,
    Mischief::OtherBlind,
    Mischief::LieInRoot,
    Mischief::LieInReceipt,
    Mischief::LieAboutPosition,
];

pub(super) const BY_SENDER: [Mischief; 7] = [
    Mischief::Undecodable,
    Mischief::OtherLayout,
    Mischief::LyingConfirmation,
    Mischief::NoConfirmation,
    Mischief::EqualHalves,
    Mischief::ReplayUpload,
    Mischief::TwoDials,
];

/// Who misbehaves, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Nobody,
    Server(ServerSide, Mischief),
    Sender(Mischief),
}

pub(super) struct World {
    pub(super) roster: Vec<UserId>,
    pub(super) server_keys: [SigningKey; 2],
    user_keys: Vec<SigningKey>,
    user_seeds: Vec<[u8; 32]>,
    blinds: [BlindSecret; 2],
    size: FrameBytes,
    rng: StdRng,
    /// Who sends in every round: the first is the one that misbehaves, where a sender does.
    senders: Vec<MemberIndex>,
    /// Whom every sender dials.
    targets: Vec<MemberIndex>,
    dialled: HashMap<MemberIndex, Dialled>,
    rows: HashMap<(MemberIndex, RoundNumber), [Vec<u8>; 2]>,
}

/// What one member dialled.
struct Dialled {
    keys: [SessionKey; 2],
    salts: [Hash; 2],
    parts: [Vec<u8>; 2],
    trees: [DialTree; 2],
    signed: [SignedDial; 2],
}

/// What a recipient has from one server.
pub(super) struct Gave {
    pub(super) present: Vec<u64>,
    pub(super) receipt: [u8; SIGNATURE_BYTES],
    pub(super) root: SignedRoot,
    pub(super) headers: Headers,
    pub(super) cell: Vec<u8>,
    pub(super) server: ServerSide,
    pub(super) entries: Vec<Entry>,
    pub(super) position: usize,
    frame: Vec<u8>,
}

impl Gave {
    /// The body of its HEADERS.
    pub(super) fn body(&self) -> Vec<u8> {
        self.frame[8..].to_vec()
    }

    pub(super) fn given(&self) -> GivenBy<'_> {
        GivenBy {
            receipt: Some((&self.present, &self.receipt)),
            root: Some(&self.root),
            headers: Some(&self.headers),
            cell: Some(&self.cell),
        }
    }
}

/// One share and all that was signed about it.
pub(super) struct Played {
    pub(super) about: About,
    pub(super) gave: [Gave; 2],
}

impl World {
    /// A group in which these members send to those in every round, and the rest are away.
    pub(super) fn new(seed: u64, members: u32, senders: &[u32], targets: &[u32]) -> World {
        let mut rng = StdRng::seed_from_u64(seed);
        let user_seeds: Vec<[u8; 32]> = (0..members).map(|_| rng.random()).collect();
        World {
            roster: (0..members).map(|index| UserId(3 * index + 2)).collect(),
            server_keys: std::array::from_fn(|_| SigningKey::random(&mut rng)),
            user_keys: user_seeds.iter().map(SigningKey::from_seed).collect(),
            user_seeds,
            blinds: std::array::from_fn(|_| BlindSecret::random(&mut rng)),
            size: FrameBytes::new(32).expect("a multiple of 16"),
            rng,
            senders: senders.iter().copied().map(MemberIndex).collect(),
            targets: targets.iter().copied().map(MemberIndex).collect(),
            dialled: HashMap::new(),
            rows: HashMap::new(),
        }
    }

    pub(super) fn members(&self) -> u32 {
        self.roster.len() as u32
    }

    pub(super) fn servers(&self) -> [VerifyingKey; 2] {
        self.server_keys.each_ref().map(SigningKey::verifying_key)
    }

    pub(super) fn certificate(&self, member: MemberIndex) -> Certificate {
        let (user, key) = (self.roster[member.0 as usize], self.user_keys[member.0 as usize].verifying_key());
        let statement = statements::key(GROUP, Epoch(0), user, &key);
        let signatures = self.server_keys.each_ref().map(|server| server.sign(&statement));
        Certificate { key, epoch: Epoch(0), signatures }
    }

    fn dial(&mut self, sender: MemberIndex, recipients: &[MemberIndex], who: Who) -> Dialled {
        let members = self.members();
        let (p1, p2) = dial(members, recipients, &mut self.rng).expect("members");
        let seed: [u8; 32] = self.rng.random();
        let salts = [self.rng.random(), self.rng.random()];
        let bytes = members as usize * CONFIRMATION_BYTES;
        let mut parts = [vec![0; bytes], vec![0; bytes]];
        expand_seed(&seed, 0, &mut parts[0]);
        let confirmed = match who {
            // The bits of nobody's dial: everybody is told the other kind.
            Who::Sender(Mischief::LyingConfirmation) => {
                let others: Vec<MemberIndex> = (0..members)
                    .map(MemberIndex)
                    .filter(|member| p1.bit(*member) == p2.bit(*member))
                    .collect();
                let mut flipped = p1.as_bytes().to_vec();
                others.iter().for_each(|member| flipped[member.0 as usize / 8] ^= 1 << (member.0 % 8));
                SessionKey::from_bytes(members, &flipped).expect("members alone were flipped")
            }
            _ => p2.clone(),
        };
        let maker = ConfirmationMaker::new(GROUP, EPOCH, sender, SLOT, &p1, &confirmed);
        maker.parts(&seed, MemberIndex(0), &mut self.rng, &mut parts[1]);
        if who == Who::Sender(Mischief::NoConfirmation) {
            self.rng.fill(&mut parts[1][..]);
        }
        let keys = [p1, p2];
        let trees: [DialTree; 2] =
            std::array::from_fn(|side| DialTree::new(&salts[side], &keys[side], &parts[side]));
        let roots = trees.each_ref().map(DialTree::root);
        let dial_id = self.rng.random();
        let key = &self.user_keys[sender.0 as usize];
        let user = self.roster[sender.0 as usize];
        let sign = |roots| SignedDial::sign(key, GROUP, EPOCH, user, SLOT, dial_id, roots);
        let mut signed = [sign(roots); 2];
        if who == Who::Sender(Mischief::TwoDials) {
            // Each server is shown its own root beside another of the other server's.
            signed = [sign([roots[0], [7; 32]]), sign([[8; 32], roots[1]])];
        }
        Dialled { keys, salts, parts, trees, signed }
    }

    /// The rows of all slots for both servers.
    fn rows(&mut self, sender: MemberIndex, round: RoundNumber, who: Who) -> [Vec<u8>; 2] {
        let row_bytes = 2 * self.size.share_bytes();
        let mut rows = [vec![0; SLOTS as usize * row_bytes], vec![0; SLOTS as usize * row_bytes]];
        for slot in 0..SLOTS {
            let context = Context {
                group: GROUP,
                epoch: EPOCH,
                round: if who == Who::Sender(Mischief::ReplayUpload) {
                    RoundNumber(round.0 - 1)
                } else {
                    round
                },
                sender,
                slot: SlotIndex(slot),
                purpose: Purpose::Message,
            };
            let [row1, row2] =
                rows.each_mut().map(|rows| &mut rows[slot as usize * row_bytes..][..row_bytes]);
            let out = SplitBuffers {
                s1: row1.split_at_mut(row_bytes / 2).into(),
                s2: row2.split_at_mut(row_bytes / 2).into(),
            };
            split(self.size, &context, b"hello", &mut self.rng, out).expect("it fits");
            match who {
                Who::Sender(Mischief::Undecodable) => self.rng.fill(row1),
                Who::Sender(Mischief::OtherLayout) => row1.rotate_left(row_bytes / 2),
                Who::Sender(Mischief::EqualHalves) => row1.copy_within(..row_bytes / 2, row_bytes / 2),
                _ => {}
            }
        }
        rows
    }

    /// One share of `sender` for `recipient`.
    pub(super) fn play(&mut self, sender: u32, recipient: u32, round: RoundNumber, who: Who) -> Played {
        let [sender, recipient] = [sender, recipient].map(MemberIndex);
        for own in self.senders.clone() {
            let who = if own == self.senders[0] { who } else { Who::Nobody };
            if !self.dialled.contains_key(&own) {
                let dialled = self.dial(own, &self.targets.clone(), who);
                self.dialled.insert(own, dialled);
            }
            for (round, who) in [(round, who), (RoundNumber(round.0 - 1), Who::Nobody)] {
                if !self.rows.contains_key(&(own, round)) {
                    let rows = self.rows(own, round, who);
                    self.rows.insert((own, round), rows);
                }
            }
        }
        let gave = ServerSide::BOTH.map(|server| {
            let mischief = match who {
                Who::Server(side, mischief) if side == server => Some(mischief),
                _ => None,
            };
            self.deliver(server, sender, recipient, round, mischief)
        });
        let [sender, recipient] = [sender, recipient].map(|member| self.roster[member.0 as usize]);
        Played { about: About { group: GROUP, epoch: EPOCH, round, slot: SLOT, sender, recipient }, gave }
    }

    /// One sender's share for one recipient at one server, and what the sender signed.
    fn chosen(
        &self,
        server: ServerSide,
        sender: MemberIndex,
        recipient: MemberIndex,
        round: RoundNumber,
        mischief: Option<Mischief>,
    ) -> (Vec<u8>, Signed) {
        let (side, share_bytes) = (server.index(), self.size.share_bytes());
        let (user, user_key) = (self.roster[sender.0 as usize], &self.user_keys[sender.0 as usize]);
        let dialled = &self.dialled[&sender];
        let [rows, old] = [round, RoundNumber(round.0 - 1)].map(|round| &self.rows[&(sender, round)]);

        let halves = half_hashes(&rows[side], share_bytes);
        let upload = UploadOf { group: GROUP, epoch: EPOCH, round, sender: user, server, halves: &halves };
        let upload = upload.sign(user_key);
        let bit = dialled.keys[side].bit(recipient);
        let half = |rows: &[u8], bit: bool| {
            let first = (2 * SLOT.0 as usize + usize::from(bit)) * share_bytes;
            rows[first..first + share_bytes].to_vec()
        };
        let mut cell = half(&rows[side], bit);
        match mischief {
            Some(Mischief::Alter) => cell[7] ^= 1,
            Some(Mischief::Withhold) => cell.fill(0),
            Some(Mischief::Swap) => cell = half(&rows[side], !bit),
            Some(Mischief::ReplayShare) => cell = half(&old[side], bit),
            Some(Mischief::GiveOtherServers) => cell = half(&rows[1 - side], bit),
            _ => {}
        }

        let (first, count) = dialled.trees[side].group_of(recipient);
        let parts = &dialled.parts[side][first.0 as usize * CONFIRMATION_BYTES..];
        let parts = &parts[..count as usize * CONFIRMATION_BYTES];
        let keys = &dialled.keys[side];
        let opening =
            dialled.trees[side].open(&dialled.salts[side], |member| keys.bit(member), recipient, parts);
        let mut signed = Signed {
            halves: halves.clone(),
            upload,
            dial: dialled.signed[side],
            certificate: self.certificate(sender),
            opening,
        };
        match mischief {
            Some(Mischief::ForgeUpload) => signed.upload[3] ^= 1,
            Some(Mischief::ForgeDial) => signed.dial.dial_id ^= 1,
            Some(Mischief::ForgeOpening) => signed.opening.part[9] ^= 1,
            Some(Mischief::ForgeCertificate) => signed.certificate.epoch = Epoch(1),
            _ => {}
        }
        (cell, signed)
    }

    fn deliver(
        &mut self,
        server: ServerSide,
        sender: MemberIndex,
        recipient: MemberIndex,
        round: RoundNumber,
        mischief: Option<Mischief>,
    ) -> Gave {
        let side = server.index();
        let members = self.members();
        let (tiles, (tile, position)) = (tiles_of(members), tile_and_position(sender));
        let to = self.roster[recipient.0 as usize];
        let key = &self.server_keys[side];
        let index = leaf_index(SLOT, tile, tiles);
        let blinds = self.blinds[side].recipient(to).tile(round, index);
        let senders = senders_of(members, tile);
        let mut own_cell = Vec::new();
        let mut entries: Vec<Entry> = (0..senders)
            .map(|other| {
                let member = MemberIndex(tile * 64 + other);
                let mischief = mischief.filter(|_| member == sender);
                let chosen = self.senders.contains(&member);
                let chosen = chosen.then(|| self.chosen(server, member, recipient, round, mischief));
                let (cell, signed) = chosen.unzip();
                let cell = cell.unwrap_or_else(|| vec![0; self.size.share_bytes()]);
                let share_hash = share_hash(&cell);
                if member == sender {
                    own_cell = cell;
                }
                let (user, blind) = (self.roster[member.0 as usize], blinds[other as usize]);
                Entry { user, position: other, blind, share_hash, signed }
            })
            .collect();
        if mischief == Some(Mischief::LieAboutPosition) {
            let at = [position, (position + 1) % senders].map(|position| position as usize);
            (entries[at[0]].user, entries[at[1]].user) = (entries[at[1]].user, entries[at[0]].user);
        }
        let hash = tile_hash(&entries.iter().map(Entry::blinded).collect::<Vec<Hash>>());
        let mut hashes: Vec<Hash> = (0..SLOTS * tiles).map(|leaf| [leaf as u8; 32]).collect();
        hashes[index] = hash;
        let mut root = tree_hash(&hashes);
        match mischief {
            Some(Mischief::LieInRoot) => root[0] ^= 1,
            Some(Mischief::OtherBlind) => entries[position as usize].blind[0] ^= 1,
            _ => {}
        }
        let signature = key.sign(&statements::delivery(GROUP, EPOCH, round, server, to, &root));
        let root = SignedRoot { root, signature };

        let mut present = vec![0; tiles as usize];
        self.senders.iter().for_each(|own| present[own.0 as usize / 64] |= 1 << (own.0 % 64));
        let fetch = FetchHeaders::new(round, EPOCH, recipient, SLOT, tile);
        let head = HeadersHead::new(&fetch, members, SLOTS, present[tile as usize]);
        let frame = headers_frame(GROUP, server, to, &head, &path(&hashes, index), &entries, key);
        let headers = Headers::read(&frame[8..]).expect("what a server made");
        assert!(headers.verify(GROUP, server, to, &key.verifying_key()));
        if mischief == Some(Mischief::LieInReceipt) {
            present[tile as usize] ^= 1 << ((position + 1) % senders);
        }
        let roster_hash = roster_hash(GROUP, EPOCH, &self.roster);
        let receipt = key.sign(&statements::receipt(GROUP, EPOCH, round, server, &roster_hash, &present));
        let position = position as usize;
        Gave { present, receipt, root, headers, cell: own_cell, server, entries, position, frame }
    }

    /// Every sender makes its rows anew, and signs again: what an honest one never does for the same round.
    pub(super) fn forget_rows(&mut self) {
        self.rows.clear();
    }

    pub(super) fn user_seed(&self, member: u32) -> [u8; 32] {
        self.user_seeds[member as usize]
    }

    /// The same headers with other words of the sender, signed by their server.
    pub(super) fn sign_headers_again(&self, mut gave: Gave, about: &About, signed: Signed) -> Gave {
        gave.entries[gave.position].signed = Some(signed);
        let (head, path, key) =
            (&gave.headers.head, &gave.headers.path, &self.server_keys[gave.server.index()]);
        gave.frame = headers_frame(GROUP, gave.server, about.recipient, head, path, &gave.entries, key);
        gave.headers = Headers::read(&gave.frame[8..]).expect("what a server made");
        gave
    }

    /// All of it, judged and reduced as a client does.
    pub(super) fn evidence(&self, played: &Played) -> (Evidence, crate::accountable::Verdict) {
        let given = played.gave.each_ref().map(Gave::given);
        Evidence::share(played.about, &self.roster, self.servers(), given).expect("a share of the group")
    }

    /// All of it, nothing left out.
    pub(super) fn whole(&self, played: &Played) -> Evidence {
        let given = played.gave.each_ref().map(Gave::given);
        Evidence::whole(played.about, &self.roster, self.servers(), given).expect("a share of the group")
    }
}
