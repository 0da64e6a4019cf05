//! Uploads: a sender signs the hashes of what it gives one server in a round.

use crate::identity::{Batch, SIGNATURE_BYTES, SigningKey, VerifyingKey};
use crate::ids::{Epoch, GroupId, RoundNumber, ServerSide, UserId};
use crate::statements::{self, Hash};
use sha2::{Digest as _, Sha256};

/// Bytes that SUBMIT has at its end: the sender's signature.
pub const SUBMIT_TAIL_BYTES: usize = SIGNATURE_BYTES;

/// The hash of a half, which is that of the cell that a recipient gets of it.
#[must_use]
pub fn share_hash(share: &[u8]) -> Hash {
    Sha256::digest(share).into()
}

/// The hashes of a SUBMIT's rows, all slots: half 0 and half 1 of each, `share_bytes` bytes.
///
/// # Panics
/// When `rows` is not a whole number of rows.
#[must_use]
pub fn half_hashes(rows: &[u8], share_bytes: usize) -> Vec<[Hash; 2]> {
    assert!(rows.len().is_multiple_of(2 * share_bytes), "two halves a slot");
    let halves = rows.chunks_exact(2 * share_bytes).map(|row| row.split_at(share_bytes));
    halves.map(|(half0, half1)| [share_hash(half0), share_hash(half1)]).collect()
}

/// What an upload is: who gives what to whom, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadOf<'a> {
    /// The group.
    pub group: GroupId,
    /// The running epoch.
    pub epoch: Epoch,
    /// The round that it is for.
    pub round: RoundNumber,
    /// Who gives it.
    pub sender: UserId,
    /// Whom it is given to.
    pub server: ServerSide,
    /// For each slot the hashes of half 0 and half 1.
    pub halves: &'a [[Hash; 2]],
}

impl UploadOf<'_> {
    /// What is signed: [`statements::upload`].
    #[must_use]
    pub fn statement(&self) -> Vec<u8> {
        statements::upload(self.group, self.epoch, self.round, self.sender, self.server, self.halves)
    }

    /// The sender's signature, the tail of SUBMIT. A sender that signs two different uploads for one round and server
    /// convicts itself.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> [u8; SIGNATURE_BYTES] {
        key.sign(&self.statement())
    }

    /// Whether the signature is of `key`.
    #[must_use]
    pub fn verify(&self, key: &VerifyingKey, signature: &[u8; SIGNATURE_BYTES]) -> bool {
        key.verify(&self.statement(), signature)
    }

    /// Adds the signature to a batch, which decides exactly as [`verify`](UploadOf::verify) does.
    pub fn push(&self, batch: &mut Batch, key: &VerifyingKey, signature: &[u8; SIGNATURE_BYTES]) {
        batch.push(key, &self.statement(), signature);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_of_each_half_of_each_slot() {
        let rows: Vec<u8> = (0..24).collect();
        let hashes = half_hashes(&rows, 6);
        assert_eq!(hashes.len(), 2);
        assert_eq!(hashes[0], [share_hash(&rows[..6]), share_hash(&rows[6..12])]);
        assert_eq!(hashes[1], [share_hash(&rows[12..18]), share_hash(&rows[18..])]);
    }

    #[test]
    fn an_upload_is_for_one_server_round_epoch_and_group() {
        let key = SigningKey::from_seed(&[1; 32]);
        let halves = [[[1; 32], [2; 32]]];
        let good = UploadOf {
            group: GroupId(1),
            epoch: Epoch(2),
            round: RoundNumber(3),
            sender: UserId(4),
            server: ServerSide::One,
            halves: &halves,
        };
        let signature = good.sign(&key);
        let key = key.verifying_key();
        assert!(good.verify(&key, &signature));
        let others = [
            UploadOf { group: GroupId(2), ..good },
            UploadOf { epoch: Epoch(3), ..good },
            UploadOf { round: RoundNumber(4), ..good },
            UploadOf { sender: UserId(5), ..good },
            UploadOf { server: ServerSide::Two, ..good },
            UploadOf { halves: &[[[2; 32], [1; 32]]], ..good },
            UploadOf { halves: &[], ..good },
        ];
        let mut batch = Batch::default();
        for other in others {
            assert!(!other.verify(&key, &signature), "{other:?}");
            other.push(&mut batch, &key, &signature);
        }
        good.push(&mut batch, &key, &signature);
        let valid = batch.verify(&mut rand::rng());
        assert_eq!(valid, [false, false, false, false, false, false, false, true]);
    }
}
