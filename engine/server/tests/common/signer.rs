//! Honest members of an accountable group, all of them in one place: what they dial, commit to, give and sign.
#![allow(dead_code, reason = "each test file uses a part of it")]

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sha2::{Digest, Sha256};
use twincast_protocol::accountable::Certificate;
use twincast_protocol::accountable::dial::{DialTail, DialTree, SignedDial};
use twincast_protocol::accountable::upload::{UploadOf, half_hashes};
use twincast_protocol::confirm::{confirmation_parts, expand_seed};
use twincast_protocol::context::{Context, Purpose};
use twincast_protocol::format::{self, Aim, Profile, Scheme, ShareFormat};
use twincast_protocol::identity::SigningKey;
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, ServerSide, SlotIndex, UserId};
use twincast_protocol::session_key::SessionKey;
use twincast_protocol::statements::{self, Hash};

/// A dial of one member for one slot.
pub(crate) struct Dialled {
    pub(crate) signed: SignedDial,
    pub(crate) keys: [SessionKey; 2],
    pub(crate) seed: [u8; 32],
    /// Each server's parts, 64 bytes a member.
    pub(crate) parts: [Vec<u8>; 2],
    pub(crate) salts: [Hash; 2],
    aim: Aim,
}

/// The members of a first epoch, who are the users `0..members`, and both servers' keys.
pub(crate) struct Signers {
    pub(crate) group: GroupId,
    pub(crate) epoch: Epoch,
    pub(crate) members: u32,
    pub(crate) slots: u32,
    pub(crate) format: ShareFormat,
    pub(crate) servers: [SigningKey; 2],
    pub(crate) users: Vec<SigningKey>,
    /// By sender and slot.
    pub(crate) dials: Vec<Dialled>,
    pub(crate) rng: StdRng,
}

impl Signers {
    pub(crate) fn new(
        group: u32,
        epoch: u32,
        members: u32,
        slots: u32,
        frame_bytes: u32,
        seed: u64,
    ) -> Signers {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut signers = Signers {
            group: GroupId(group),
            epoch: Epoch(epoch),
            members,
            slots,
            format: ShareFormat::new(Profile::Compact, frame_bytes, Scheme::Plain).unwrap(),
            servers: [0; 2].map(|_| SigningKey::random(&mut rng)),
            users: (0..members).map(|_| SigningKey::random(&mut rng)).collect(),
            dials: Vec::new(),
            rng,
        };
        signers.dial_all(epoch);
        signers
    }

    /// Everybody draws its dials for an epoch.
    pub(crate) fn dial_all(&mut self, epoch: u32) {
        self.epoch = Epoch(epoch);
        self.dials.clear();
        for sender in 0..self.members {
            for slot in 0..self.slots {
                let dialled = self.draw(sender, slot);
                self.dials.push(dialled);
            }
        }
    }

    fn draw(&mut self, sender: u32, slot: u32) -> Dialled {
        let Signers { group, epoch, members, format, users, rng, .. } = self;
        let recipients = [MemberIndex((sender + slot + 1) % *members)];
        let (p1, p2, aim) = format::dial(format, *members, &recipients, rng).unwrap();
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let mut parts = [0; 2].map(|_: i32| vec![0; *members as usize * 64]);
        expand_seed(&seed, 0, &mut parts[0]);
        let (index, slot) = (MemberIndex(sender), SlotIndex(slot));
        confirmation_parts(*group, *epoch, index, slot, &p1, &p2, &seed, rng, &mut parts[1]);
        let mut salts = [[0; 32]; 2];
        salts.iter_mut().for_each(|salt| rng.fill_bytes(salt));
        let roots = [
            DialTree::new(&salts[0], &p1, &parts[0]).root(),
            DialTree::new(&salts[1], &p2, &parts[1]).root(),
        ];
        let mut id = [0; 8];
        rng.fill_bytes(&mut id);
        let key = &users[sender as usize];
        let id = u64::from_le_bytes(id);
        let signed = SignedDial::sign(key, *group, *epoch, UserId(sender), slot, id, roots);
        Dialled { signed, keys: [p1, p2], seed, parts, salts, aim }
    }

    pub(crate) fn dialled(&self, sender: u32, slot: u32) -> &Dialled {
        &self.dials[(sender * self.slots + slot) as usize]
    }

    /// What follows DIAL's head for a server: the key, and the commitment.
    pub(crate) fn dial_tail(&self, side: usize, sender: u32, slot: u32) -> Vec<u8> {
        let dialled = self.dialled(sender, slot);
        let tail: DialTail = dialled.signed.tail(dialled.salts[side]);
        [dialled.keys[side].as_bytes(), &tail.to_bytes()].concat()
    }

    pub(crate) fn certificate(&self, user: u32) -> Certificate {
        let key = self.users[user as usize].verifying_key();
        let statement = statements::key(self.group, Epoch(0), UserId(user), &key);
        let signatures = self.servers.each_ref().map(|server| server.sign(&statement));
        Certificate { key, epoch: Epoch(0), signatures }
    }

    /// What a member gives both servers in a round: the rows of all slots, unsigned.
    pub(crate) fn rows(&mut self, round: u64, sender: u32) -> [Vec<u8>; 2] {
        let mut rows = [Vec::new(), Vec::new()];
        for slot in 0..self.slots {
            let context = Context {
                group: self.group,
                epoch: self.epoch,
                round: RoundNumber(round),
                sender: MemberIndex(sender),
                slot: SlotIndex(slot),
                purpose: Purpose::Message,
            };
            let aim = self.dialled(sender, slot).aim.clone();
            let mut both = [0; 2].map(|_: i32| vec![0; 2 * self.format.share_bytes()]);
            let [one, two] = &mut both;
            let message = [round as u8, sender as u8, slot as u8];
            format::split(&self.format, &context, &aim, &message, &mut self.rng, [one, two]).unwrap();
            rows.iter_mut().zip(both).for_each(|(rows, row)| rows.extend(row));
        }
        rows
    }

    /// The sender's signature of rows.
    pub(crate) fn sign(&self, side: usize, round: u64, sender: u32, rows: &[u8]) -> [u8; 64] {
        let of = UploadOf {
            group: self.group,
            epoch: self.epoch,
            round: RoundNumber(round),
            sender: UserId(sender),
            server: ServerSide::BOTH[side],
            halves: &half_hashes(rows, self.format.share_bytes()),
        };
        of.sign(&self.users[sender as usize])
    }

    /// What a member gives both servers in a round, behind SUBMIT's head.
    pub(crate) fn uploads(&mut self, round: u64, sender: u32) -> [Vec<u8>; 2] {
        let rows = self.rows(round, sender);
        [0, 1].map(|side| [&rows[side][..], &self.sign(side, round, sender, &rows[side])].concat())
    }

    /// The half that a recipient is to be given of rows.
    pub(crate) fn cell<'a>(
        &self,
        side: usize,
        sender: u32,
        slot: u32,
        recipient: u32,
        rows: &'a [u8],
    ) -> &'a [u8] {
        let bit = usize::from(self.dialled(sender, slot).keys[side].bit(MemberIndex(recipient)));
        let share_bytes = self.format.share_bytes();
        &rows[(2 * slot as usize + bit) * share_bytes..][..share_bytes]
    }
}

/// SHA-256 of some pieces, one behind the other.
pub(crate) fn sha256(pieces: &[&[u8]]) -> Hash {
    let mut hash = Sha256::new();
    pieces.iter().for_each(|piece| hash.update(piece));
    hash.finalize().into()
}

/// An entry of HEADERS by hand, byte for byte, with the blind that the server chose: `given` is the cell that the recipient
/// got, `rows` what the sender gave that server with its signature, if it is present.
#[allow(clippy::too_many_arguments, reason = "each is one part of the entry")]
pub(crate) fn entry(
    signers: &Signers,
    side: usize,
    sender: u32,
    slot: u32,
    recipient: u32,
    given: &[u8],
    rows: Option<&[u8]>,
    blind: &[u8],
) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(sender.to_le_bytes());
    out.extend((sender % 64).to_le_bytes());
    out.extend(blind);
    out.extend(sha256(&[given]));
    // Of who is absent there is nothing more: zeros, as many as others have.
    let Some(rows) = rows else { return out };
    let (rows, signature) = rows.split_at(rows.len() - 64);
    for half in rows.chunks(signers.format.share_bytes()) {
        out.extend(sha256(&[half]));
    }
    out.extend(signature);
    let dialled = signers.dialled(sender, slot);
    out.extend(dialled.signed.dial_id.to_le_bytes());
    out.extend(dialled.signed.roots.as_flattened());
    out.extend(dialled.signed.signature);
    let certificate = signers.certificate(sender);
    out.extend(certificate.key.to_bytes());
    out.extend([0; 8]);
    out.extend(certificate.signatures.as_flattened());
    // The opening: the leaf, and the hashes beside its way up.
    let salts = keystream(&dialled.salts[side], 16 * signers.members as usize);
    let leaf_of = |member: u32| {
        let at = member as usize;
        let bit = u8::from(dialled.keys[side].bit(MemberIndex(member)));
        let part = &dialled.parts[side][64 * at..][..64];
        let salt = &salts[16 * at..][..16];
        (sha256(&[&[0], salt, &member.to_le_bytes(), &[bit], part]), salt.to_vec(), bit, part.to_vec())
    };
    let leaves: Vec<Hash> = (0..signers.members).map(|member| leaf_of(member).0).collect();
    let (_, salt, bit, part) = leaf_of(recipient);
    out.extend(salt);
    out.extend([bit, 0, 0, 0, 0, 0, 0, 0]);
    out.extend(part);
    beside(&leaves, recipient as usize, &mut out);
    out
}

/// The tree of RFC 6962 over leaves that are hashed already.
pub(crate) fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [only] => *only,
        _ => {
            let half = leaves.len().next_power_of_two() / 2;
            sha256(&[&[1], &root(&leaves[..half]), &root(&leaves[half..])])
        }
    }
}

/// Appends the hashes beside a leaf's way to the root, from the leaf upwards.
pub(crate) fn beside(leaves: &[Hash], index: usize, out: &mut Vec<u8>) {
    if leaves.len() == 1 {
        return;
    }
    let half = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(half);
    if index < half {
        beside(left, index, out);
        out.extend(root(right));
    } else {
        beside(right, index - half, out);
        out.extend(root(left));
    }
}

/// ChaCha20's keystream under the zero nonce: what S1's parts are of a seed, so those are asked.
fn keystream(key: &Hash, bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes.next_multiple_of(64)];
    expand_seed(key, 0, &mut out);
    out.truncate(bytes);
    out
}
