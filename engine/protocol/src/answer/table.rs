//! Digests of records, and the hash tree over a round's table: what the two servers compare before they answer.
//!
//! The [tree](crate::accountable::tree) is over the digests of all n records, which have leaf prefix 0. A tile is 64
//! consecutive leaves, a whole subtree, so that its hash can be made when the tile seals.

use super::RECORD_BYTES;
use sha2::{Digest as _, Sha256};

pub use crate::accountable::tree::tree_hash;

/// A hash.
pub type Digest = [u8; 32];

/// In the place of the digest of a record that is not there: the hash of nothing.
pub const NO_DIGEST: Digest = [0; 32];

/// The digest of a record: a leaf of the tree.
#[must_use]
pub fn digest(record: &[u8; RECORD_BYTES]) -> Digest {
    Sha256::new_with_prefix([0]).chain_update(record).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_have_the_root_of_their_records() {
        for records in [1_usize, 2, 63, 64, 65, 127, 128, 130, 200, 641] {
            let digests: Vec<Digest> = (0..records).map(|record| [record as u8; 32]).collect();
            let tiles: Vec<Digest> = digests.chunks(64).map(tree_hash).collect();
            assert_eq!(tree_hash(&tiles), tree_hash(&digests), "{records} records");
        }
    }

    #[test]
    fn every_record_and_every_place_shows_in_the_root() {
        let digests: Vec<Digest> = (0..67).map(|record| [record; 32]).collect();
        let root = tree_hash(&digests);
        for place in 0..67 {
            let mut other = digests.clone();
            other[place][31] ^= 1;
            assert_ne!(tree_hash(&other), root, "record {place}");
        }
        let mut other = digests.clone();
        other.swap(3, 4);
        assert_ne!(tree_hash(&other), root);
        assert_ne!(tree_hash(&digests[..66]), root);
        assert_ne!(digest(&[0; RECORD_BYTES]), NO_DIGEST);
    }
}
