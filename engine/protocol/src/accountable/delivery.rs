//! Deliveries: a server commits to what it gives one recipient in a round.
//!
//! For each sender s of a tile, `e_s = SHA-256(blind_s 16 | user id of s u32 | h_s 32)`: h_s is the hash of the share that
//! the recipient is given of s, of zeros where s is absent. A tile's hash is `SHA-256(0x02 | e_0 | e_1 ..)`, and the
//! delivery root is the tree over the tiles, slot by slot. With the blind of one sender its share hash is shown, and the
//! other e_s say nothing.

use crate::ids::{MemberIndex, RoundNumber, SlotIndex, UserId};
use crate::receive::TILE_SENDERS;
use crate::statements::{HASH_BYTES, Hash};
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use rand::CryptoRng;
use sha2::{Digest as _, Sha256};
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of a blind.
pub const BLIND_BYTES: usize = 16;
/// What hides one sender's share hash in a tile's hash.
pub type Blind = [u8; BLIND_BYTES];

/// Tiles of one slot in a group of `members`.
#[must_use]
pub fn tiles_of(members: u32) -> u32 {
    members.div_ceil(TILE_SENDERS as u32)
}

/// Senders in one tile of a group of `members`; 0 where it has no such tile.
#[must_use]
pub fn senders_of(members: u32, tile: u32) -> u32 {
    let first = u64::from(tile) * TILE_SENDERS as u64;
    u64::from(members).saturating_sub(first).min(TILE_SENDERS as u64) as u32
}

/// The place of a tile among the leaves of a delivery root, for a group with that many tiles in a slot.
#[must_use]
pub fn leaf_index(slot: SlotIndex, tile: u32, tiles: u32) -> usize {
    slot.0 as usize * tiles as usize + tile as usize
}

/// e_s: the share hash of one sender, hidden.
#[must_use]
pub fn blinded(blind: &Blind, sender: UserId, share_hash: &Hash) -> Hash {
    let mut bytes = [0; BLIND_BYTES + 4 + HASH_BYTES];
    bytes[..BLIND_BYTES].copy_from_slice(blind);
    bytes[BLIND_BYTES..BLIND_BYTES + 4].copy_from_slice(&sender.0.to_le_bytes());
    bytes[BLIND_BYTES + 4..].copy_from_slice(share_hash);
    Sha256::digest(bytes).into()
}

/// A tile's hash: a leaf of the delivery root, which is [`tree_hash`](super::tree::tree_hash) over them.
#[must_use]
pub fn tile_hash(blinded: &[Hash]) -> Hash {
    Sha256::new_with_prefix([2]).chain_update(blinded.as_flattened()).finalize().into()
}

/// What a server draws the blinds of one epoch from. Wiped on drop; `Debug` shows nothing.
#[derive(ZeroizeOnDrop)]
pub struct BlindSecret([u8; HASH_BYTES]);

impl BlindSecret {
    /// A fresh secret.
    #[must_use]
    pub fn random(rng: &mut impl CryptoRng) -> BlindSecret {
        let mut secret = [0; HASH_BYTES];
        rng.fill_bytes(&mut secret);
        let own = BlindSecret(secret);
        secret.zeroize();
        own
    }

    /// What one recipient's blinds are drawn from.
    #[must_use]
    pub fn recipient(&self, recipient: UserId) -> RecipientBlinds {
        let hash = Sha256::new_with_prefix(b"twincast/blinds/v1").chain_update(self.0);
        RecipientBlinds(hash.chain_update(recipient.0.to_le_bytes()).finalize().into())
    }
}

impl fmt::Debug for BlindSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlindSecret").finish_non_exhaustive()
    }
}

/// The blinds of one recipient: they may be drawn again, and are the same. Wiped on drop; `Debug` shows nothing.
#[derive(ZeroizeOnDrop)]
pub struct RecipientBlinds([u8; HASH_BYTES]);

impl RecipientBlinds {
    /// The blinds of the senders of one tile: ChaCha20 (RFC 8439) under the nonce `round u64 | leaf index u32`.
    ///
    /// # Panics
    /// When `leaf_index` is past `2^32`, beyond any group.
    #[must_use]
    pub fn tile(&self, round: RoundNumber, leaf_index: usize) -> [Blind; TILE_SENDERS] {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&round.0.to_le_bytes());
        nonce[8..].copy_from_slice(&u32::try_from(leaf_index).expect("a tile of a group").to_le_bytes());
        let mut blinds = [[0; BLIND_BYTES]; TILE_SENDERS];
        ChaCha20::new(&self.0.into(), &nonce.into()).apply_keystream(blinds.as_flattened_mut());
        blinds
    }
}

impl fmt::Debug for RecipientBlinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecipientBlinds").finish_non_exhaustive()
    }
}

/// The hash of one recipient's tile: `senders` are the tile's, with the hash of the share that each gives it.
///
/// # Panics
/// When there are more than 64 senders.
#[must_use]
pub fn recipient_tile_hash(
    blinds: &RecipientBlinds,
    round: RoundNumber,
    leaf_index: usize,
    senders: impl ExactSizeIterator<Item = (UserId, Hash)>,
) -> Hash {
    let count = senders.len();
    assert!(count <= TILE_SENDERS, "a tile has at most 64 senders");
    let blinds = blinds.tile(round, leaf_index);
    let mut all = [[0; HASH_BYTES]; TILE_SENDERS];
    for (place, (blind, (sender, share_hash))) in all.iter_mut().zip(blinds.iter().zip(senders)) {
        *place = blinded(blind, sender, &share_hash);
    }
    tile_hash(&all[..count])
}

/// The tile that has a sender, and its position in it.
#[must_use]
pub fn tile_and_position(sender: MemberIndex) -> (u32, u32) {
    (sender.0 / TILE_SENDERS as u32, sender.0 % TILE_SENDERS as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn blinds_are_the_same_again_and_differ_by_recipient_round_and_tile() {
        let secret = BlindSecret::random(&mut StdRng::seed_from_u64(1));
        let blinds = |user, round, leaf| secret.recipient(UserId(user)).tile(RoundNumber(round), leaf);
        let first = blinds(1, 2, 3);
        assert_eq!(blinds(1, 2, 3), first);
        for other in [blinds(2, 2, 3), blinds(1, 3, 3), blinds(1, 2, 4)] {
            assert!(other.iter().zip(&first).all(|(a, b)| a != b));
        }
        assert_eq!(
            format!("{secret:?}{:?}", secret.recipient(UserId(1))),
            "BlindSecret { .. }RecipientBlinds { .. }"
        );
    }

    #[test]
    fn a_recipients_tile_hash_is_over_its_senders_in_their_order() {
        let secret = BlindSecret::random(&mut StdRng::seed_from_u64(2));
        let blinds = secret.recipient(UserId(9));
        let senders = [(UserId(4), [1; 32]), (UserId(6), [2; 32])];
        let hash = recipient_tile_hash(&blinds, RoundNumber(1), 0, senders.into_iter());
        let drawn = blinds.tile(RoundNumber(1), 0);
        let all: Vec<Hash> =
            drawn.iter().zip(senders).map(|(blind, (user, hash))| blinded(blind, user, &hash)).collect();
        assert_eq!(hash, tile_hash(&all));
        let [first, second] = senders;
        assert_ne!(hash, recipient_tile_hash(&blinds, RoundNumber(1), 0, [second, first].into_iter()));
    }

    #[test]
    fn tiles_are_of_64_senders_and_the_last_has_the_rest() {
        assert_eq!([0, 1, 64, 65, 128, 129].map(tiles_of), [0, 1, 1, 2, 2, 3]);
        assert_eq!([0, 1, 2, u32::MAX].map(|tile| senders_of(70, tile)), [64, 6, 0, 0]);
        assert_eq!(tile_and_position(MemberIndex(66)), (1, 2));
        assert_eq!(leaf_index(SlotIndex(2), 1, 3), 7);
    }
}
