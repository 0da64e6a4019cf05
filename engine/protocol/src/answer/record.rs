//! Records: what a member hands both servers in a round, and what both servers sign of one who did not.
//!
//! The key that a sender and its readers share lasts; what seals a frame is derived from it for each epoch, so that no
//! nonce, which is the round's number, comes again under one key when epochs begin anew.

use super::{CONTEXT_BYTES, FRAME_BYTES, RECORD_BYTES, RecordContext, SEALED_BYTES, frame_bytes};
use crate::error::ProtocolError;
use crate::frame;
use crate::identity::{Batch, SIGNATURE_BYTES, SigningKey, VerifyingKey};
use crate::sealed::{self, Associated, SEAL_KEY_BYTES, SealKey};
use hkdf::Hkdf;
use rand::CryptoRng;
use sha2::Sha256;
use std::fmt;
use zeroize::Zeroizing;

/// What the signature of a record begins with.
const RECORD_PREFIX: &[u8] = b"twincast/record/v1";
/// What the key of an epoch is derived with.
const SEAL_PREFIX: &[u8] = b"twincast/record-seal/v1";
/// What a server's signature that somebody is absent begins with.
const ABSENT_PREFIX: &[u8] = b"twincast/absent/v1";

/// Bytes that the signature of a record covers.
const STATEMENT_BYTES: usize = RECORD_PREFIX.len() + CONTEXT_BYTES + SEALED_BYTES;
/// Bytes that a signature of absence covers.
const ABSENCE_BYTES: usize = ABSENT_PREFIX.len() + CONTEXT_BYTES;

/// Whom a record is for: the key that its readers have, and the number that they know their set by.
/// `Debug` shows neither.
#[derive(Clone, Copy)]
pub struct Readers<'a> {
    /// The key that they share. One record of a round is sealed with what is derived from it.
    pub key: &'a SealKey,
    /// A number that the members of the set agreed on with their key.
    pub recipient_set: u64,
}

impl fmt::Debug for Readers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").finish_non_exhaustive()
    }
}

impl Readers<'_> {
    /// What seals the records of an epoch: HKDF-SHA256 of the key with label, group and epoch.
    pub(super) fn epoch_key(&self, context: &RecordContext) -> SealKey {
        let mut key = Zeroizing::new([0; SEAL_KEY_BYTES]);
        let (group, epoch) = (context.group.0.to_le_bytes(), context.epoch.0.to_le_bytes());
        let info: [&[u8]; 3] = [SEAL_PREFIX, &group, &epoch];
        let expanded = Hkdf::<Sha256>::new(None, self.key.as_bytes()).expand_multi_info(&info, &mut key[..]);
        expanded.expect("HKDF gives 32 bytes");
        SealKey::from_bytes(&key)
    }

    /// What the sealed frame of this record is bound to.
    pub(super) fn associated(&self, context: &RecordContext) -> Associated {
        let RecordContext { group, epoch, round, sender } = *context;
        Associated { group, epoch, round, sender, recipient_set: self.recipient_set, sequence: 0 }
    }
}

/// Writes the record of a message over `out`: sealed for its readers, and signed. Without readers it is cover, sealed
/// under a key that nobody has; it looks the same, and takes the same steps.
///
/// # Errors
/// [`ProtocolError::MessageTooLong`]; nothing was written.
pub fn make(
    context: &RecordContext,
    signing: &SigningKey,
    readers: Option<Readers<'_>>,
    message: &[u8],
    rng: &mut impl CryptoRng,
    out: &mut [u8; RECORD_BYTES],
) -> Result<(), ProtocolError> {
    let mut plain = Zeroizing::new([0; FRAME_BYTES]);
    frame::write_real(frame_bytes(), message, &mut plain[..])?;
    let nobodys = SealKey::random(rng);
    let readers = readers.unwrap_or(Readers { key: &nobodys, recipient_set: 0 });
    let (sealed, signature) = out.split_at_mut(SEALED_BYTES);
    sealed::seal(&readers.epoch_key(context), &readers.associated(context), &plain[..], sealed);
    signature.copy_from_slice(&signing.sign(&statement(context, sealed)));
    Ok(())
}

/// Whether the record is signed by its sender. To verify many, see [`push`].
#[must_use]
pub fn verify(context: &RecordContext, key: &VerifyingKey, record: &[u8; RECORD_BYTES]) -> bool {
    let (sealed, signature) = parts(record);
    key.verify(&statement(context, sealed), signature)
}

/// Adds the signature of a record to a batch.
pub fn push(batch: &mut Batch, context: &RecordContext, key: &VerifyingKey, record: &[u8; RECORD_BYTES]) {
    let (sealed, signature) = parts(record);
    batch.push(key, &statement(context, sealed), signature);
}

/// The sealed frame and the signature of a record.
pub(super) fn parts(record: &[u8; RECORD_BYTES]) -> (&[u8], &[u8; SIGNATURE_BYTES]) {
    record.split_last_chunk().expect("a record is longer than a signature")
}

fn statement(context: &RecordContext, sealed: &[u8]) -> [u8; STATEMENT_BYTES] {
    let mut statement = [0; STATEMENT_BYTES];
    let (prefix, rest) = statement.split_at_mut(RECORD_PREFIX.len());
    let (head, body) = rest.split_at_mut(CONTEXT_BYTES);
    prefix.copy_from_slice(RECORD_PREFIX);
    head.copy_from_slice(&context.bytes());
    body.copy_from_slice(sealed);
    statement
}

/// A server's word that a member has no record in a round, which both servers have to give.
#[must_use]
pub fn sign_absence(context: &RecordContext, server: &SigningKey) -> [u8; SIGNATURE_BYTES] {
    server.sign(&absence(context))
}

/// Adds a server's word that a member is absent to a batch.
pub fn push_absence(
    batch: &mut Batch,
    context: &RecordContext,
    server: &VerifyingKey,
    signature: &[u8; SIGNATURE_BYTES],
) {
    batch.push(server, &absence(context), signature);
}

fn absence(context: &RecordContext) -> [u8; ABSENCE_BYTES] {
    let mut statement = [0; ABSENCE_BYTES];
    let (prefix, head) = statement.split_at_mut(ABSENT_PREFIX.len());
    prefix.copy_from_slice(ABSENT_PREFIX);
    head.copy_from_slice(&context.bytes());
    statement
}
