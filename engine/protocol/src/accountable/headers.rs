//! Headers: what senders signed of one tile, and what a server chose of it for one recipient, under that server's
//! signature.
//!
//! An entry's digest is `SHA-256(front | SHA-256(opening))`, and what the server signs is over
//! `SHA-256(head | path | e_s of each sender | digest of each entry)`. So one entry can be shown without the others, and
//! without its opening: the salts and blinds in them keep what is not shown from being guessed. The e_s are in it so that
//! who shows one entry cannot put others beside it that do not lead to the server's delivery root.

use super::certificate::Certificate;
use super::delivery::{BLIND_BYTES, Blind, blinded, leaf_index, tile_hash, tiles_of};
use super::dial::{Opening, SignedDial};
use super::tree::root_of;
use crate::identity::{SIGNATURE_BYTES, SigningKey, VerifyingKey};
use crate::ids::{GroupId, ServerSide, SlotIndex, UserId};
use crate::statements::{self, HASH_BYTES, Hash};
use crate::wire::{Body, Code, HeadersHead, headers_frame_bytes, headers_header};
use sha2::{Digest as _, Sha256};
use std::fmt;
use zerocopy::IntoBytes;

/// Bytes of an entry that every sender's has: `user u32 | position u32 | blind 16 | share hash 32`.
const FIXED_BYTES: usize = 8 + BLIND_BYTES + HASH_BYTES;

/// Bytes of an entry's front before what the sender signed.
pub(super) const fn fixed_bytes() -> usize {
    FIXED_BYTES
}

/// Bytes of an entry's front: all but the opening.
#[must_use]
pub fn front_bytes(slots: u32) -> usize {
    FIXED_BYTES + slots as usize * 2 * HASH_BYTES + SIGNATURE_BYTES + SignedDial::BYTES + Certificate::BYTES
}

/// Bytes of an entry in a group with that many slots, for a recipient whose leaf has a path of so many hashes.
#[must_use]
pub fn entry_bytes(slots: u32, leaf_hashes: u32) -> usize {
    front_bytes(slots) + Opening::FIXED_BYTES + leaf_hashes as usize * HASH_BYTES
}

/// What one server says about one sender of the tile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The sender.
    pub user: UserId,
    /// Its position in the tile.
    pub position: u32,
    /// What hides its share hash in the tile's hash.
    pub blind: Blind,
    /// The hash of the share that the recipient was given: of zeros where the sender is absent.
    pub share_hash: Hash,
    /// What the sender signed; none exactly where it is absent.
    pub signed: Option<Signed>,
}

/// What a sender signed, as a server that took its upload has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// For each slot the hashes of half 0 and half 1.
    pub halves: Vec<[Hash; 2]>,
    /// The signature of the upload.
    pub upload: [u8; SIGNATURE_BYTES],
    /// The dial of the tile's slot.
    pub dial: SignedDial,
    /// The key that dial and upload were verified with.
    pub certificate: Certificate,
    /// The recipient's leaf of that dial's tree at this server.
    pub opening: Opening,
}

impl Entry {
    /// e_s: its leaf in the tile's hash.
    #[must_use]
    pub fn blinded(&self) -> Hash {
        blinded(&self.blind, self.user, &self.share_hash)
    }

    /// Its front and its opening, as they lie in HEADERS one behind the other.
    #[must_use]
    pub fn parts(&self, head: &HeadersHead) -> (Vec<u8>, Vec<u8>) {
        let (front_bytes, opening_bytes) = part_bytes(head);
        let (mut front, mut opening) = (Vec::with_capacity(front_bytes), Vec::with_capacity(opening_bytes));
        front.extend_from_slice(&self.user.0.to_le_bytes());
        front.extend_from_slice(&self.position.to_le_bytes());
        front.extend_from_slice(&self.blind);
        front.extend_from_slice(&self.share_hash);
        if let Some(signed) = &self.signed {
            front.extend_from_slice(signed.halves.as_flattened().as_flattened());
            front.extend_from_slice(&signed.upload);
            front.extend_from_slice(&signed.dial.dial_id.to_le_bytes());
            front.extend_from_slice(signed.dial.roots.as_flattened());
            front.extend_from_slice(&signed.dial.signature);
            front.extend_from_slice(&signed.certificate.to_bytes());
            signed.opening.put(&mut opening);
            assert_eq!((front.len(), opening.len()), (front_bytes, opening_bytes), "an entry of this tile");
        }
        front.resize(front_bytes, 0);
        opening.resize(opening_bytes, 0);
        (front, opening)
    }
}

/// Bytes of front and opening of an entry under this head.
pub(super) fn part_bytes(head: &HeadersHead) -> (usize, usize) {
    let opening_bytes = Opening::FIXED_BYTES + head.leaf_hashes.get() as usize * HASH_BYTES;
    (front_bytes(head.slots.get()), opening_bytes)
}

/// The digest of an entry, from its front and the hash of its opening.
#[must_use]
pub fn entry_digest(front: &[u8], opening_hash: &Hash) -> Hash {
    Sha256::new_with_prefix(front).chain_update(opening_hash).finalize().into()
}

/// What a server signs of a tile's headers, less group, server and recipient.
#[must_use]
pub fn headers_digest(head: &HeadersHead, path: &[Hash], blinded: &[Hash], entries: &[Hash]) -> Hash {
    let hash = Sha256::new_with_prefix(head.as_bytes()).chain_update(path.as_flattened());
    hash.chain_update(blinded.as_flattened()).chain_update(entries.as_flattened()).finalize().into()
}

/// The frame that answers FETCH_HEADERS, signed: the head, the path of the tile's hash in the delivery root, and an entry
/// for each sender of the tile, ascending.
///
/// # Panics
/// If head, path and entries do not agree: an entry is `signed` exactly where the head has its sender present.
#[must_use]
pub fn headers_frame(
    group: GroupId,
    server: ServerSide,
    recipient: UserId,
    head: &HeadersHead,
    path: &[Hash],
    entries: &[Entry],
    key: &SigningKey,
) -> Vec<u8> {
    let frame_bytes = headers_frame_bytes(head);
    assert_eq!(path.len(), head.path_hashes.get() as usize, "the path of the tile");
    assert_eq!(entries.len(), head.senders.get() as usize, "an entry a sender");
    let mut out = Vec::with_capacity(frame_bytes);
    out.extend_from_slice(&headers_header(head).to_bytes());
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(path.as_flattened());
    let mut digests = Vec::with_capacity(entries.len());
    for (position, entry) in (0..).zip(entries) {
        let present = head.present.get() >> position & 1 == 1;
        assert!(
            entry.position == position && entry.signed.is_some() == present,
            "entry {position} of the tile"
        );
        let (front, opening) = entry.parts(head);
        digests.push(entry_digest(&front, &Sha256::digest(&opening).into()));
        out.extend_from_slice(&front);
        out.extend_from_slice(&opening);
    }
    let blinded: Vec<Hash> = entries.iter().map(Entry::blinded).collect();
    let digest = headers_digest(head, path, &blinded, &digests);
    out.extend_from_slice(&key.sign(&statements::headers(group, server, recipient, &digest)));
    assert_eq!(out.len(), frame_bytes, "headers of one length");
    out
}

/// An entry as it came. `Debug` shows no opening.
#[derive(Clone, PartialEq, Eq)]
struct EntryBytes {
    front: Box<[u8]>,
    opening: Box<[u8]>,
}

impl fmt::Debug for EntryBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntryBytes").finish_non_exhaustive()
    }
}

/// Headers as they came: their bytes are kept, because those are what was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers {
    /// The head.
    pub head: HeadersHead,
    /// From the tile's hash to the delivery root.
    pub path: Vec<Hash>,
    /// Each sender's entry.
    entries: Vec<EntryBytes>,
    /// The server's signature.
    pub signature: [u8; SIGNATURE_BYTES],
}

impl Headers {
    /// Reads the body of HEADERS. No signature is verified, and what is inside the entries is not looked at: nonsense
    /// there is for [`blame`](super::blame()) to find.
    ///
    /// # Errors
    /// What [`HeadersHead::check`] says, or [`Code::LengthWrong`].
    pub fn read(body: &[u8]) -> Result<Headers, Code> {
        let (head, tail) = HeadersHead::parse_prefix(body)?;
        head.check()?;
        if body.len() != headers_header(&head).body_bytes as usize {
            return Err(Code::LengthWrong);
        }
        let (path, tail) = tail.split_at(head.path_hashes.get() as usize * HASH_BYTES);
        let (entries, signature) = tail.split_last_chunk().ok_or(Code::LengthWrong)?;
        let (front_bytes, opening_bytes) = part_bytes(&head);
        let entries = entries.chunks_exact(front_bytes + opening_bytes);
        let entries = entries.map(|entry| entry.split_at(front_bytes));
        Ok(Headers {
            head,
            path: path.as_chunks().0.to_vec(),
            entries: entries
                .map(|(front, opening)| EntryBytes { front: front.into(), opening: opening.into() })
                .collect(),
            signature: *signature,
        })
    }

    /// Front and opening of one sender's entry, by its position in the tile.
    #[must_use]
    pub fn parts(&self, position: u32) -> Option<(&[u8], &[u8])> {
        self.entries.get(position as usize).map(|entry| (&*entry.front, &*entry.opening))
    }

    /// The digests of all entries.
    #[must_use]
    pub fn digests(&self) -> Vec<Hash> {
        let digest = |entry: &EntryBytes| entry_digest(&entry.front, &Sha256::digest(&entry.opening).into());
        self.entries.iter().map(digest).collect()
    }

    /// The e_s of all senders.
    #[must_use]
    pub fn blinded(&self) -> Vec<Hash> {
        self.entries.iter().map(|entry| Fixed::read(&entry.front).blinded()).collect()
    }

    /// The hash of the share that the recipient was given of a sender, by its position in the tile.
    #[must_use]
    pub fn share_hash(&self, position: u32) -> Option<Hash> {
        self.parts(position).map(|(front, _)| Fixed::read(front).share_hash)
    }

    /// Whether the server with this key signed them for that recipient.
    #[must_use]
    pub fn verify(&self, group: GroupId, server: ServerSide, recipient: UserId, key: &VerifyingKey) -> bool {
        let digest = headers_digest(&self.head, &self.path, &self.blinded(), &self.digests());
        key.verify(&statements::headers(group, server, recipient, &digest), &self.signature)
    }

    /// The delivery root that these headers lead to.
    #[must_use]
    pub fn delivery_root(&self) -> Option<Hash> {
        delivery_root(&self.head, &self.path, &self.blinded())
    }
}

/// The delivery root to which a tile's e_s lead.
pub(super) fn delivery_root(head: &HeadersHead, path: &[Hash], blinded: &[Hash]) -> Option<Hash> {
    let tiles = tiles_of(head.members.get());
    let index = leaf_index(SlotIndex(head.slot.get()), head.tile.get(), tiles);
    root_of(&tile_hash(blinded), index, head.slots.get() as usize * tiles as usize, path)
}

impl Signed {
    /// Reads what a sender signed from an entry's front; `opening` is none where it is not shown. None if these bytes are
    /// no certificate, or no opening.
    pub(super) fn read(head: &HeadersHead, front: &[u8], opening: Option<&[u8]>) -> Option<FrontSigned> {
        let (halves, rest) = front[FIXED_BYTES..].split_at(head.slots.get() as usize * 2 * HASH_BYTES);
        let (halves, _) = halves.as_chunks::<HASH_BYTES>();
        let (upload, rest) = rest.split_first_chunk()?;
        let (dial_id, rest) = rest.split_first_chunk()?;
        let (roots, rest) = rest.split_first_chunk::<{ 2 * HASH_BYTES }>()?;
        let (dial, certificate) = rest.split_first_chunk()?;
        let (roots, _) = roots.as_chunks();
        Some(FrontSigned {
            halves: halves.as_chunks().0.to_vec(),
            upload: *upload,
            dial: SignedDial {
                dial_id: u64::from_le_bytes(*dial_id),
                roots: [roots[0], roots[1]],
                signature: *dial,
            },
            certificate: Certificate::from_bytes(certificate.try_into().ok()?).ok()?,
            opening: match opening {
                Some(opening) => Some(Opening::read(opening)?),
                None => None,
            },
        })
    }
}

/// [`Signed`], of which the opening may be hidden.
#[derive(Debug)]
pub(super) struct FrontSigned {
    pub(super) halves: Vec<[Hash; 2]>,
    pub(super) upload: [u8; SIGNATURE_BYTES],
    pub(super) dial: SignedDial,
    pub(super) certificate: Certificate,
    pub(super) opening: Option<Opening>,
}

/// The beginning of an entry's front.
pub(super) struct Fixed {
    pub(super) user: UserId,
    pub(super) position: u32,
    pub(super) blind: Blind,
    pub(super) share_hash: Hash,
}

impl Fixed {
    /// # Panics
    /// If these are too few bytes for an entry's front.
    pub(super) fn read(front: &[u8]) -> Fixed {
        let (user, rest) = front.split_first_chunk().expect("an entry's front");
        let (position, rest) = rest.split_first_chunk().expect("an entry's front");
        let (blind, rest) = rest.split_first_chunk().expect("an entry's front");
        let share_hash = rest.first_chunk().expect("an entry's front");
        Fixed {
            user: UserId(u32::from_le_bytes(*user)),
            position: u32::from_le_bytes(*position),
            blind: *blind,
            share_hash: *share_hash,
        }
    }

    pub(super) fn blinded(&self) -> Hash {
        blinded(&self.blind, self.user, &self.share_hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes of WIRE.md.
    #[test]
    fn entries_have_the_sizes_that_the_document_says() {
        for (slots, leaf_hashes) in [(1, 0), (3, 7)] {
            let front = 56 + (64 * slots as usize + 64) + 136 + 168;
            assert_eq!(front_bytes(slots), front);
            assert_eq!(entry_bytes(slots, leaf_hashes), front + 88 + 32 * leaf_hashes as usize);
        }
    }
}
