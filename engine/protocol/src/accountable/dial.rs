//! Dials: a sender commits to what it dials at each server, one leaf for each recipient.
//!
//! Server i's tree has, for each member w ascending, the leaf
//!
//! ```text
//! SHA-256(0x00 | salt_w 16 | w u32 | bit 1 | part 64)
//! ```
//!
//! with w's bit of the session key that the sender dials there and w's confirmation part from there. `salt_w` is bytes
//! `[16 w, 16 w + 16)` of the ChaCha20 (RFC 8439) keystream of a fresh salt that this server alone is told, under the zero
//! nonce. So a server can open to each recipient its own leaf, the other leaves stay hidden behind their salts, and to the
//! other server the root says nothing.
//!
//! A server keeps salt and [`DialTree`]: a hash for each 64 leaves. Leaves are made again, 64 at a time, when one is opened.

use crate::confirm::CONFIRMATION_BYTES;
use crate::identity::{SIGNATURE_BYTES, SigningKey, VerifyingKey};
use crate::ids::{Epoch, GroupId, MemberIndex, SlotIndex, UserId};
use crate::session_key::SessionKey;
use crate::statements::{self, HASH_BYTES, Hash};
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use sha2::{Digest as _, Sha256};
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::tree::{GROUP_LEAVES, path_in_groups, root_of, tree_hash};

/// Bytes of one leaf's salt.
pub const LEAF_SALT_BYTES: usize = 16;
/// Bytes that DIAL has behind the session key: salt, both roots, signature.
pub const DIAL_TAIL_BYTES: usize = 3 * HASH_BYTES + SIGNATURE_BYTES;

/// The tail of DIAL. `Debug` does not show the salt, which is wiped on drop.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct DialTail {
    /// The salt of this server's tree: the other server must not have it.
    pub salt: Hash,
    /// The roots of S1's and of S2's tree.
    #[zeroize(skip)]
    pub roots: [Hash; 2],
    /// The sender's signature over [`dial`](statements::dial).
    #[zeroize(skip)]
    pub signature: [u8; SIGNATURE_BYTES],
}

impl DialTail {
    /// Its bytes: `salt 32 | root of S1's tree 32 | root of S2's tree 32 | signature 64`.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; DIAL_TAIL_BYTES] {
        let mut out = [0; DIAL_TAIL_BYTES];
        out[..HASH_BYTES].copy_from_slice(&self.salt);
        out[HASH_BYTES..3 * HASH_BYTES].copy_from_slice(self.roots.as_flattened());
        out[3 * HASH_BYTES..].copy_from_slice(&self.signature);
        out
    }

    /// Reads it. Nothing is verified.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; DIAL_TAIL_BYTES]) -> DialTail {
        let (hashes, signature) = bytes.split_at(3 * HASH_BYTES);
        let (hashes, _) = hashes.as_chunks::<HASH_BYTES>();
        DialTail {
            salt: hashes[0],
            roots: [hashes[1], hashes[2]],
            signature: signature.try_into().expect("the constant has it so"),
        }
    }

    /// What is kept of it to be shown to recipients.
    #[must_use]
    pub fn signed(&self, dial_id: u64) -> SignedDial {
        SignedDial { dial_id, roots: self.roots, signature: self.signature }
    }
}

impl fmt::Debug for DialTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DialTail").field("roots", &self.roots).finish_non_exhaustive()
    }
}

/// A dial as its sender signed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedDial {
    /// The sender's number for it, of which it never signs two.
    pub dial_id: u64,
    /// The roots of S1's and of S2's tree.
    pub roots: [Hash; 2],
    /// The sender's signature over [`dial`](statements::dial).
    pub signature: [u8; SIGNATURE_BYTES],
}

impl SignedDial {
    /// Bytes on the wire: `dial_id u64, root of S1's tree 32, root of S2's tree 32, signature 64`.
    pub const BYTES: usize = 8 + 2 * HASH_BYTES + SIGNATURE_BYTES;

    /// Signs a dial.
    #[must_use]
    pub fn sign(
        key: &SigningKey,
        group: GroupId,
        epoch: Epoch,
        sender: UserId,
        slot: SlotIndex,
        dial_id: u64,
        roots: [Hash; 2],
    ) -> SignedDial {
        let signature = key.sign(&statements::dial(group, epoch, sender, slot, dial_id, &roots));
        SignedDial { dial_id, roots, signature }
    }

    /// Whether `key` signed it.
    #[must_use]
    pub fn verify(
        &self,
        key: &VerifyingKey,
        group: GroupId,
        epoch: Epoch,
        sender: UserId,
        slot: SlotIndex,
    ) -> bool {
        let statement = statements::dial(group, epoch, sender, slot, self.dial_id, &self.roots);
        key.verify(&statement, &self.signature)
    }

    /// The tail of the DIAL that goes to the server with this salt.
    #[must_use]
    pub fn tail(&self, salt: Hash) -> DialTail {
        DialTail { salt, roots: self.roots, signature: self.signature }
    }
}

/// Makes a tree while the parts come in. Holds salt and the leaves of the last 64: wiped on drop, not shown by `Debug`.
#[derive(ZeroizeOnDrop)]
pub struct TreeMaker {
    salt: Hash,
    #[zeroize(skip)]
    members: u32,
    #[zeroize(skip)]
    next: u32,
    /// The beginning of a part whose end has not come.
    piece: [u8; CONFIRMATION_BYTES],
    #[zeroize(skip)]
    piece_bytes: usize,
    leaves: Vec<Hash>,
    #[zeroize(skip)]
    groups: Vec<Hash>,
}

impl TreeMaker {
    /// The tree of a group of `members` under this server's salt.
    ///
    /// # Panics
    /// If there are no members.
    #[must_use]
    pub fn new(salt: &Hash, members: u32) -> TreeMaker {
        assert!(members > 0, "a group has members");
        let leaves = Vec::with_capacity(GROUP_LEAVES);
        TreeMaker {
            salt: *salt,
            members,
            next: 0,
            piece: [0; CONFIRMATION_BYTES],
            piece_bytes: 0,
            leaves,
            groups: Vec::new(),
        }
    }

    /// Takes the next bytes of the members' parts, which come in their order, in pieces of any length; `bit` says which
    /// half a member gets.
    ///
    /// # Panics
    /// If there are more parts than members.
    pub fn push(&mut self, bit: impl Fn(MemberIndex) -> bool, mut bytes: &[u8]) {
        if self.piece_bytes > 0 {
            let taken = bytes.len().min(CONFIRMATION_BYTES - self.piece_bytes);
            self.piece[self.piece_bytes..][..taken].copy_from_slice(&bytes[..taken]);
            self.piece_bytes += taken;
            bytes = &bytes[taken..];
            if self.piece_bytes < CONFIRMATION_BYTES {
                return;
            }
            let piece = self.piece;
            self.piece_bytes = 0;
            self.parts(&bit, &[piece]);
        }
        let (parts, rest) = bytes.as_chunks();
        self.parts(&bit, parts);
        self.piece[..rest.len()].copy_from_slice(rest);
        self.piece_bytes = rest.len();
    }

    fn parts(&mut self, bit: &impl Fn(MemberIndex) -> bool, parts: &[[u8; CONFIRMATION_BYTES]]) {
        assert!(
            parts.len() <= (self.members - self.next) as usize,
            "more parts than {} members",
            self.members
        );
        let mut salts = Salts::new(&self.salt, self.next);
        for part in parts {
            let member = MemberIndex(self.next);
            self.leaves.push(leaf(&salts.next(), member, bit(member), part));
            self.next += 1;
            if self.leaves.len() == GROUP_LEAVES || self.next == self.members {
                self.groups.push(tree_hash(&self.leaves));
                self.leaves.clear();
            }
        }
    }

    /// The tree, if every member's part has come.
    #[must_use]
    pub fn finish(mut self) -> Option<DialTree> {
        let whole = self.next == self.members && self.piece_bytes == 0;
        whole.then(|| DialTree { members: self.members, groups: std::mem::take(&mut self.groups) })
    }
}

impl fmt::Debug for TreeMaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("TreeMaker");
        f.field("members", &self.members).field("next", &self.next).finish_non_exhaustive()
    }
}

/// A dial's tree at one server, down to its groups of 64 leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialTree {
    members: u32,
    groups: Vec<Hash>,
}

impl DialTree {
    /// The tree of a session key and all its members' parts, 64 bytes each.
    ///
    /// # Panics
    /// If there is not one part a member.
    #[must_use]
    pub fn new(salt: &Hash, key: &SessionKey, parts: &[u8]) -> DialTree {
        let mut maker = TreeMaker::new(salt, key.members());
        maker.push(|member| key.bit(member), parts);
        maker.finish().expect("one part a member")
    }

    /// The root, which the sender signs.
    #[must_use]
    pub fn root(&self) -> Hash {
        tree_hash(&self.groups)
    }

    /// The members whose parts [`open`](DialTree::open) needs to open the leaf of one: the first, and how many.
    #[must_use]
    pub fn group_of(&self, member: MemberIndex) -> (MemberIndex, u32) {
        let first = member.0 / GROUP_LEAVES as u32 * GROUP_LEAVES as u32;
        (MemberIndex(first), (self.members - first).min(GROUP_LEAVES as u32))
    }

    /// Opens one member's leaf. `parts` are those of [`group_of`](DialTree::group_of), 64 bytes each; salt and bits are
    /// those of the dial.
    ///
    /// # Panics
    /// If there is no such member, or `parts` are not those of its group.
    #[must_use]
    pub fn open(
        &self,
        salt: &Hash,
        bit: impl Fn(MemberIndex) -> bool,
        member: MemberIndex,
        parts: &[u8],
    ) -> Opening {
        assert!(member.0 < self.members, "member {member} of {}", self.members);
        let (first, count) = self.group_of(member);
        let (parts, rest) = parts.as_chunks::<CONFIRMATION_BYTES>();
        assert!(parts.len() == count as usize && rest.is_empty(), "the parts of {count} members");
        let mut salts = Salts::new(salt, first.0);
        let mut own = None;
        let mut leaves = Vec::with_capacity(parts.len());
        for (other, part) in (first.0..).map(MemberIndex).zip(parts) {
            let salt = salts.next();
            leaves.push(leaf(&salt, other, bit(other), part));
            if other == member {
                own = Some((salt, bit(other), *part));
            }
        }
        let (salt, bit, part) = own.expect("a member is in its group");
        Opening { salt, bit, part, path: path_in_groups(&leaves, &self.groups, member.0 as usize) }
    }
}

/// One leaf of a dial's tree, with its path: what the sender gave one server for one recipient. A secret of these three;
/// not shown by `Debug`.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct Opening {
    /// The leaf's salt.
    pub salt: [u8; LEAF_SALT_BYTES],
    /// Which half the recipient gets.
    pub bit: bool,
    /// Its confirmation part.
    pub part: [u8; CONFIRMATION_BYTES],
    /// From the leaf to the root.
    #[zeroize(skip)]
    pub path: Vec<Hash>,
}

impl Opening {
    /// Bytes on the wire without the path: `salt 16, bit u8, 0 x 7, part 64`.
    pub const FIXED_BYTES: usize = LEAF_SALT_BYTES + 8 + CONFIRMATION_BYTES;

    /// The root of the tree of `members` in which this is that member's leaf, if there is one.
    #[must_use]
    pub fn root(&self, member: MemberIndex, members: u32) -> Option<Hash> {
        let leaf = leaf(&self.salt, member, self.bit, &self.part);
        root_of(&leaf, member.0 as usize, members as usize, &self.path)
    }

    /// Appends its bytes on the wire.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&[u8::from(self.bit), 0, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(&self.part);
        out.extend_from_slice(self.path.as_flattened());
    }

    /// Reads one whose path has as many hashes as there are bytes for; none if these bytes are no opening.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Opening> {
        let (salt, rest) = bytes.split_first_chunk()?;
        let (bit, rest) = rest.split_first_chunk::<8>()?;
        let (part, path) = rest.split_first_chunk()?;
        let (path, over) = path.as_chunks();
        let is_opening = bit[0] <= 1 && bit[1..] == [0; 7] && over.is_empty();
        is_opening.then(|| Opening { salt: *salt, bit: bit[0] == 1, part: *part, path: path.to_vec() })
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening").finish_non_exhaustive()
    }
}

/// The salts of the members from one on.
struct Salts(ChaCha20);

impl Salts {
    fn new(salt: &Hash, first: u32) -> Salts {
        let mut keystream = ChaCha20::new(salt.into(), &[0; 12].into());
        keystream.seek(u64::from(first) * LEAF_SALT_BYTES as u64);
        Salts(keystream)
    }

    fn next(&mut self) -> [u8; LEAF_SALT_BYTES] {
        let mut salt = [0; LEAF_SALT_BYTES];
        self.0.apply_keystream(&mut salt);
        salt
    }
}

fn leaf(
    salt: &[u8; LEAF_SALT_BYTES],
    member: MemberIndex,
    bit: bool,
    part: &[u8; CONFIRMATION_BYTES],
) -> Hash {
    let mut bytes = [0; 1 + LEAF_SALT_BYTES + 5 + CONFIRMATION_BYTES];
    bytes[1..17].copy_from_slice(salt);
    bytes[17..21].copy_from_slice(&member.0.to_le_bytes());
    bytes[21] = u8::from(bit);
    bytes[22..].copy_from_slice(part);
    let hash = Sha256::digest(bytes).into();
    bytes.zeroize();
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    fn dialled(members: u32, seed: u64) -> (Hash, SessionKey, Vec<u8>) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut parts = vec![0; members as usize * CONFIRMATION_BYTES];
        rng.fill(&mut parts[..]);
        (rng.random(), SessionKey::random(members, &mut rng), parts)
    }

    #[test]
    fn every_member_is_opened_its_own_leaf_and_no_other() {
        for members in [1, 2, 63, 64, 65, 130, 200] {
            let (salt, key, parts) = dialled(members, 1);
            let tree = DialTree::new(&salt, &key, &parts);
            for member in (0..members).map(MemberIndex) {
                let (first, count) = tree.group_of(member);
                let group = &parts[first.0 as usize * 64..][..count as usize * 64];
                let opening = tree.open(&salt, |member| key.bit(member), member, group);
                assert_eq!(opening.root(member, members), Some(tree.root()), "{member} of {members}");
                assert_eq!(opening.bit, key.bit(member));
                let mut bytes = Vec::new();
                opening.put(&mut bytes);
                assert_eq!(Opening::read(&bytes).as_ref(), Some(&opening));
                let mut other = opening.clone();
                other.bit = !other.bit;
                assert_ne!(other.root(member, members), Some(tree.root()));
                let next = MemberIndex((member.0 + 1) % members);
                if members > 1 {
                    assert_ne!(opening.root(next, members), Some(tree.root()), "{member} as {next}");
                }
            }
        }
    }

    #[test]
    fn parts_may_come_in_pieces_of_any_length() {
        let (salt, key, parts) = dialled(130, 2);
        let root = DialTree::new(&salt, &key, &parts).root();
        for piece_bytes in [1, 7, 63, 64, 65, 1000, parts.len()] {
            let mut maker = TreeMaker::new(&salt, 130);
            parts.chunks(piece_bytes).for_each(|piece| maker.push(|member| key.bit(member), piece));
            let tree = maker.finish().expect("all of them came");
            assert_eq!(tree.root(), root, "pieces of {piece_bytes}");
        }
        let mut maker = TreeMaker::new(&salt, 130);
        maker.push(|member| key.bit(member), &parts[..parts.len() - 1]);
        assert_eq!(maker.finish(), None);
    }

    #[test]
    fn salts_differ_by_member_and_by_dial() {
        let mut salts = Salts::new(&[1; 32], 0);
        let first: Vec<_> = (0..100).map(|_| salts.next()).collect();
        assert_eq!(Salts::new(&[1; 32], 70).next(), first[70]);
        assert_ne!(Salts::new(&[2; 32], 0).next(), first[0]);
        assert_ne!(first[0], first[1]);
    }

    #[test]
    fn nothing_secret_is_shown_and_what_is_no_opening_is_refused() {
        let (salt, key, parts) = dialled(2, 3);
        let tree = DialTree::new(&salt, &key, &parts);
        let opening = tree.open(&salt, |member| key.bit(member), MemberIndex(0), &parts);
        assert_eq!(format!("{opening:?}"), "Opening { .. }");
        let tail = DialTail { salt: [0xab; 32], roots: [[1; 32], [2; 32]], signature: [3; 64] };
        assert!(!format!("{tail:?}").contains("171"));
        assert_eq!(DialTail::from_bytes(&tail.to_bytes()), tail);
        let mut bytes = Vec::new();
        opening.put(&mut bytes);
        for (at, value) in [(16, 2), (17, 1), (23, 0x80)] {
            let mut changed = bytes.clone();
            changed[at] = value;
            assert_eq!(Opening::read(&changed), None, "byte {at}");
        }
        assert_eq!(Opening::read(&bytes[1..]), None);
        assert_eq!(Opening::read(&[]), None);
    }
}
