//! Inside the message: authenticated encryption between members who share a key.
//!
//! What a message's shares protect it from is one server. Two members in different halves can pool what they got,
//! a server and one member can, and a share that was handed to the wrong member shows itself; so the message is
//! sealed end to end before it is split: ChaCha20-Poly1305 (RFC 8439), the tag of 16 bytes after the ciphertext.
//!
//! ```text
//! associated data, 40 bytes   group u32 | epoch u32 | round u64 | sender u32 | 4 zero bytes | set u64 | sequence u64
//! nonce, 12 bytes             round u64 | sequence u32
//! ```
//!
//! Integers are little-endian, and none of this is sent: the receiver knows it.
//!
//! **A nonce never repeats under one key**, because a key has one sender ([`pair_key`](crate::keys::pair_key) gives
//! each direction its own; members who share a key of a larger set derive one for each sender), because rounds of a
//! group never repeat, and because a sender numbers its messages of a round differently. The number that enters the
//! nonce has 32 bits, which [`SEQUENCE_MAX`] bounds. [`Sealer`] sees to it: it refuses what is not after the last.
//!
//! What does not open is silent: it counts as `Ignore` ([`open_verdict`]). A complaint would show who the
//! recipients are.

use std::fmt;

use chacha20poly1305::aead::{AeadInOut, inout::InOutBuf};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce, Tag};
use rand::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::ZeroizeOnDrop;

use crate::error::ProtocolError;
use crate::ids::{Epoch, GroupId, MemberIndex, RoundNumber};
use crate::receive::Verdict;

/// The size of a key, in bytes.
pub const SEAL_KEY_BYTES: usize = 32;

/// What sealing adds to a message, in bytes.
pub const SEAL_OVERHEAD_BYTES: usize = 16;

/// The largest sequence number: what its place in the nonce holds.
pub const SEQUENCE_MAX: u64 = u32::MAX as u64;

/// A key for what one member sends, to a partner or to a set. Wiped on drop, `Debug` shows nothing, equality
/// takes constant time.
#[derive(ZeroizeOnDrop)]
pub struct SealKey([u8; SEAL_KEY_BYTES]);

impl SealKey {
    /// A fresh key: also what cover is sealed with, which nobody is to open.
    #[must_use]
    pub fn random(rng: &mut impl CryptoRng) -> SealKey {
        let mut key = SealKey([0; SEAL_KEY_BYTES]);
        rng.fill_bytes(&mut key.0);
        key
    }

    /// Its bytes, to derive others from.
    pub(crate) fn as_bytes(&self) -> &[u8; SEAL_KEY_BYTES] {
        &self.0
    }

    /// A key that was agreed on.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; SEAL_KEY_BYTES]) -> SealKey {
        SealKey(*bytes)
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealKey").finish_non_exhaustive()
    }
}

impl PartialEq for SealKey {
    fn eq(&self, other: &SealKey) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SealKey {}

/// What a sealed message is bound to. Not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Associated {
    /// The group that the message is sent in.
    pub group: GroupId,
    /// The epoch of the key.
    pub epoch: Epoch,
    /// The round that carries it.
    pub round: RoundNumber,
    /// Who sent it.
    pub sender: MemberIndex,
    /// Whom it is for: a number that the members of the set agreed on with their key.
    pub recipient_set: u64,
    /// Tells the sender's messages of one round under one key apart, 0 to [`SEQUENCE_MAX`]: the slot, for example.
    pub sequence: u64,
}

impl Associated {
    fn bytes(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[0..4].copy_from_slice(&self.group.0.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.epoch.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.round.0.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.sender.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.recipient_set.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.sequence.to_le_bytes());
        bytes
    }

    /// None where the sequence number has no place in a nonce.
    fn nonce(&self) -> Option<Nonce> {
        let sequence = u32::try_from(self.sequence).ok()?;
        let mut nonce = Nonce::default();
        nonce[..8].copy_from_slice(&self.round.0.to_le_bytes());
        nonce[8..].copy_from_slice(&sequence.to_le_bytes());
        Some(nonce)
    }
}

/// Writes `plaintext`, sealed, over `out`.
///
/// The caller's promise: this key never seals twice under the same round and sequence number, not even the same
/// message changed. [`Sealer`] keeps it for a sender who numbers messages as they come.
///
/// # Panics
///
/// When `out` is not [`SEAL_OVERHEAD_BYTES`] longer than `plaintext`, or the sequence number is over
/// [`SEQUENCE_MAX`].
pub fn seal(key: &SealKey, associated: &Associated, plaintext: &[u8], out: &mut [u8]) {
    assert_eq!(out.len(), plaintext.len() + SEAL_OVERHEAD_BYTES, "a sealed message's buffer");
    let nonce = associated.nonce().expect("a sequence number that a nonce holds");
    let (ciphertext, tag) = out.split_at_mut(plaintext.len());
    let buffer = InOutBuf::new(plaintext, ciphertext).expect("two buffers of one length");
    let sealed =
        ChaCha20Poly1305::new((&key.0).into()).encrypt_inout_detached(&nonce, &associated.bytes(), buffer);
    tag.copy_from_slice(&sealed.expect("a message is shorter than 256 GiB"));
}

/// Opens `sealed` into the start of `out`, or says nothing about why not: another key, other associated data,
/// altered or shortened bytes.
///
/// # Panics
///
/// When `out` is shorter than the plaintext. Nothing of `sealed` panics.
#[must_use]
pub fn open<'a>(
    key: &SealKey,
    associated: &Associated,
    sealed: &[u8],
    out: &'a mut [u8],
) -> Option<&'a mut [u8]> {
    let (ciphertext, tag) = sealed.split_last_chunk::<SEAL_OVERHEAD_BYTES>()?;
    let nonce = associated.nonce()?;
    let plaintext = &mut out[..ciphertext.len()];
    let buffer = InOutBuf::new(ciphertext, plaintext).ok()?;
    ChaCha20Poly1305::new((&key.0).into())
        .decrypt_inout_detached(&nonce, &associated.bytes(), buffer, &Tag::from(*tag))
        .ok()?;
    Some(plaintext)
}

/// The verdict on a cell whose message is sealed: an accepted message that opens is `Accept` of what was sealed,
/// one that does not is `Ignore`, and every other verdict stays. Never an alarm: it would show a recipient.
///
/// Opening takes time that an `Ignore` does not: what a member sends next must not wait for it.
///
/// # Panics
///
/// When `out` is shorter than the plaintext.
#[must_use]
pub fn open_verdict<'a>(
    verdict: Verdict<'_>,
    key: &SealKey,
    associated: &Associated,
    out: &'a mut [u8],
) -> Verdict<'a> {
    match verdict {
        Verdict::Accept(sealed) => match open(key, associated, sealed, out) {
            Some(plaintext) => Verdict::Accept(plaintext),
            None => Verdict::Ignore,
        },
        Verdict::Ignore => Verdict::Ignore,
        Verdict::Tampered => Verdict::Tampered,
        Verdict::Absent => Verdict::Absent,
        Verdict::Incomplete => Verdict::Incomplete,
    }
}

/// A sender's key and the last nonce that it used: seals messages in ascending (round, sequence number) and
/// refuses any other, so that no nonce repeats. `Debug` does not show for whom it is.
pub struct Sealer {
    key: SealKey,
    group: GroupId,
    epoch: Epoch,
    sender: MemberIndex,
    recipient_set: u64,
    last: Option<(RoundNumber, u64)>,
}

impl Sealer {
    /// For everything that `sender` seals with `key`, which no other sealer may have.
    #[must_use]
    pub fn new(
        key: SealKey,
        group: GroupId,
        epoch: Epoch,
        sender: MemberIndex,
        recipient_set: u64,
    ) -> Sealer {
        Sealer { key, group, epoch, sender, recipient_set, last: None }
    }

    /// Writes `plaintext`, sealed, over `out`; the receiver opens it under the returned data.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::SealedBefore`] unless (`round`, `sequence`) is after that of the last message,
    /// [`ProtocolError::SequenceNumber`] when the number is over [`SEQUENCE_MAX`]. Nothing was sealed.
    ///
    /// # Panics
    ///
    /// When `out` is not [`SEAL_OVERHEAD_BYTES`] longer than `plaintext`.
    pub fn seal(
        &mut self,
        round: RoundNumber,
        sequence: u64,
        plaintext: &[u8],
        out: &mut [u8],
    ) -> Result<Associated, ProtocolError> {
        let after_the_last = self.last.is_none_or(|last| (round, sequence) > last);
        if !after_the_last {
            return Err(ProtocolError::SealedBefore { round, sequence });
        }
        if sequence > SEQUENCE_MAX {
            return Err(ProtocolError::SequenceNumber { sequence });
        }
        self.last = Some((round, sequence));
        let Sealer { group, epoch, sender, recipient_set, .. } = *self;
        let associated = Associated { group, epoch, round, sender, recipient_set, sequence };
        seal(&self.key, &associated, plaintext, out);
        Ok(associated)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("last", &self.last).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
