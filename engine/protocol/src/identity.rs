//! Who signed what: Ed25519 (RFC 8032) by the rule of ZIP-215, under which a batch is valid exactly if every signature
//! in it is. So two servers never differ about a signature, however each of them verifies it.

use crate::error::ProtocolError;
use ed25519_zebra::batch::{Item, Verifier};
use ed25519_zebra::{Signature, VerificationKey, VerificationKeyBytes};
use rand::CryptoRng;
use std::fmt;
use zeroize::Zeroize;

/// Bytes of a verifying key, and of the seed of a signing key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// What somebody signs with. Wiped on drop; `Debug` shows nothing.
pub struct SigningKey(Box<ed25519_zebra::SigningKey>);

impl SigningKey {
    /// A fresh key.
    #[must_use]
    pub fn random(rng: &mut impl CryptoRng) -> SigningKey {
        let mut seed = [0; KEY_BYTES];
        rng.fill_bytes(&mut seed);
        let key = SigningKey::from_seed(&seed);
        seed.zeroize();
        key
    }

    /// The key of a seed: the private key of RFC 8032.
    #[must_use]
    pub fn from_seed(seed: &[u8; KEY_BYTES]) -> SigningKey {
        SigningKey(Box::new(ed25519_zebra::SigningKey::from(*seed)))
    }

    /// What its signatures are verified with.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(VerificationKeyBytes::from(&*self.0))
    }

    /// Signs.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(message).to_bytes()
    }
}

impl Drop for SigningKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").finish_non_exhaustive()
    }
}

/// What somebody's signatures are verified with: public.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VerifyingKey(VerificationKeyBytes);

impl VerifyingKey {
    /// A key that came from somebody else.
    ///
    /// # Errors
    /// [`ProtocolError::VerifyingKey`] where the bytes encode no point, or one of small order, for which anybody can
    /// sign.
    pub fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Result<VerifyingKey, ProtocolError> {
        let bytes = VerificationKeyBytes::from(*bytes);
        VerificationKey::try_from(bytes).map_err(|_| ProtocolError::VerifyingKey)?;
        let key = VerifyingKey(bytes);
        // R the identity, s zero: 8 R + 8 k A = 8 s B holds for points of small order alone.
        let mut trivial = [0; SIGNATURE_BYTES];
        trivial[0] = 1;
        if key.verify(b"twincast/small-order/v1", &trivial) {
            return Err(ProtocolError::VerifyingKey);
        }
        Ok(key)
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; KEY_BYTES] {
        self.0.into()
    }

    /// Whether the signature is one of this key for the message.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        Item::from((self.0, Signature::from_bytes(signature), message)).verify_single().is_ok()
    }
}

/// Signatures that are verified together, which costs about half as much for each.
#[derive(Default)]
pub struct Batch {
    items: Vec<Item>,
}

/// Items that are verified one by one when a batch of them is not valid.
const SINGLY: usize = 4;

impl Batch {
    /// Adds one. What is signed is hashed now and not kept.
    pub fn push(&mut self, key: &VerifyingKey, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) {
        self.items.push(Item::from((key.0, Signature::from_bytes(signature), message)));
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Which are valid, in the order in which they were added; then it is empty. Where all are, that takes one
    /// equation; a bad one is looked for by halves.
    pub fn verify(&mut self, rng: &mut impl CryptoRng) -> Vec<bool> {
        let items = std::mem::take(&mut self.items);
        let mut valid = vec![true; items.len()];
        search(&items, &mut valid, rng);
        self.items = items;
        self.items.clear();
        valid
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("len", &self.items.len()).finish_non_exhaustive()
    }
}

fn search(items: &[Item], valid: &mut [bool], rng: &mut impl CryptoRng) {
    if items.len() <= SINGLY {
        for (item, valid) in items.iter().zip(valid) {
            *valid = item.clone().verify_single().is_ok();
        }
        return;
    }
    let mut all = Verifier::new();
    items.iter().for_each(|item| all.queue(item.clone()));
    if all.verify(&mut *rng).is_err() {
        let half = items.len() / 2;
        let (first, second) = valid.split_at_mut(half);
        search(&items[..half], first, rng);
        search(&items[half..], second, rng);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn a_signature_is_its_keys_and_its_messages() {
        let mut rng = StdRng::seed_from_u64(1);
        let (key, other) = (SigningKey::random(&mut rng), SigningKey::random(&mut rng));
        let signature = key.sign(b"one");
        assert!(key.verifying_key().verify(b"one", &signature));
        assert!(!key.verifying_key().verify(b"two", &signature));
        assert!(!other.verifying_key().verify(b"one", &signature));
        let bytes = key.verifying_key().to_bytes();
        assert_eq!(VerifyingKey::from_bytes(&bytes), Ok(key.verifying_key()));
        assert_eq!(VerifyingKey::from_bytes(&[2; 32]), Err(ProtocolError::VerifyingKey));
        assert_eq!(format!("{key:?}"), "SigningKey { .. }");
    }

    #[test]
    fn a_batch_finds_exactly_the_bad_ones() {
        let mut rng = StdRng::seed_from_u64(2);
        let keys: Vec<SigningKey> = (0..37).map(|_| SigningKey::random(&mut rng)).collect();
        let mut batch = Batch::default();
        for bad in [vec![], vec![0], vec![36, 5, 6], (0..37).collect()] {
            for (index, key) in keys.iter().enumerate() {
                let mut signature = key.sign(&[index as u8]);
                signature[index % 64] ^= u8::from(bad.contains(&index));
                batch.push(&key.verifying_key(), &[index as u8], &signature);
            }
            let valid = batch.verify(&mut rng);
            let found: Vec<usize> = (0..37).filter(|index| !valid[*index]).collect();
            let mut bad = bad;
            bad.sort_unstable();
            assert_eq!((found, batch.len()), (bad, 0));
        }
    }
}
