//! Sealing a message to a public key: ephemeral X25519, HKDF-SHA256, ChaCha20-Poly1305.

use chacha20poly1305::aead::{AeadInOut, inout::InOutBuf};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce, Tag};
use hkdf::Hkdf;
use rand::CryptoRng;
use sha2::Sha256;
use std::fmt;
use x25519_dalek::{EphemeralSecret, PublicKey, SharedSecret, StaticSecret};
use zeroize::Zeroizing;

/// Bytes of a message, as in the paper.
pub const MESSAGE_BYTES: usize = 256;
/// Bytes of a public key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a message's authentication tag.
const TAG_BYTES: usize = 16;
/// Bytes of a sealed message: the sender's ephemeral key, the message, the tag.
pub const CIPHERTEXT_BYTES: usize = KEY_BYTES + MESSAGE_BYTES + TAG_BYTES;

const LABEL: &[u8] = b"twincast-baselines/pki/v1";

/// A user's key pair; the secret half is zeroised when dropped, and never shown.
pub struct KeyPair {
    secret: StaticSecret,
    public: PublicKey,
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("KeyPair").finish_non_exhaustive()
    }
}

impl KeyPair {
    /// A fresh pair.
    pub fn random(rng: &mut impl CryptoRng) -> KeyPair {
        let secret = StaticSecret::random_from_rng(rng);
        let public = PublicKey::from(&secret);
        KeyPair { secret, public }
    }

    /// The public half.
    pub fn public(&self) -> [u8; KEY_BYTES] {
        self.public.to_bytes()
    }
}

/// Seals a message to the holder of a public key. The ciphertext tells nobody else whose it is.
pub fn seal(
    recipient: &[u8; KEY_BYTES],
    message: &[u8; MESSAGE_BYTES],
    rng: &mut impl CryptoRng,
) -> [u8; CIPHERTEXT_BYTES] {
    let recipient = PublicKey::from(*recipient);
    let secret = EphemeralSecret::random_from_rng(rng);
    let ephemeral = PublicKey::from(&secret);
    let key = key(&secret.diffie_hellman(&recipient), &ephemeral, &recipient);
    let mut sealed = [0; CIPHERTEXT_BYTES];
    let (head, rest) = sealed.split_at_mut(KEY_BYTES);
    let (ciphertext, tag) = rest.split_at_mut(MESSAGE_BYTES);
    head.copy_from_slice(ephemeral.as_bytes());
    let buffer = InOutBuf::new(message, ciphertext).expect("two buffers of one length");
    // The key is of this message alone, so that the nonce may be the same for all.
    let made = ChaCha20Poly1305::new((&*key).into()).encrypt_inout_detached(&Nonce::default(), &[], buffer);
    tag.copy_from_slice(&made.expect("a message is shorter than 256 GiB"));
    sealed
}

/// Tries to open a ciphertext: `None` if it is not for this key pair, or altered.
#[must_use]
pub fn open(keys: &KeyPair, sealed: &[u8; CIPHERTEXT_BYTES]) -> Option<Zeroizing<[u8; MESSAGE_BYTES]>> {
    let (ephemeral, rest) = sealed.split_first_chunk::<KEY_BYTES>()?;
    let (ciphertext, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
    let ephemeral = PublicKey::from(*ephemeral);
    let key = key(&keys.secret.diffie_hellman(&ephemeral), &ephemeral, &keys.public);
    let mut message = Zeroizing::new([0; MESSAGE_BYTES]);
    let buffer = InOutBuf::new(ciphertext, &mut *message).ok()?;
    ChaCha20Poly1305::new((&*key).into())
        .decrypt_inout_detached(&Nonce::default(), &[], buffer, &Tag::from(*tag))
        .ok()?;
    Some(message)
}

fn key(shared: &SharedSecret, ephemeral: &PublicKey, recipient: &PublicKey) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, shared.as_bytes())
        .expand_multi_info(&[LABEL, ephemeral.as_bytes(), recipient.as_bytes()], &mut *key)
        .expect("32 bytes are no more than HKDF gives");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipient_opens_it_and_nobody_else() {
        let mut rng = rand::rng();
        let [keys, other] = [KeyPair::random(&mut rng), KeyPair::random(&mut rng)];
        let message = [7; MESSAGE_BYTES];
        let sealed = seal(&keys.public(), &message, &mut rng);
        assert_eq!(open(&keys, &sealed).as_deref(), Some(&message));
        assert!(open(&other, &sealed).is_none());
        for at in [0, KEY_BYTES, CIPHERTEXT_BYTES - 1] {
            let mut altered = sealed;
            altered[at] ^= 1;
            assert!(open(&keys, &altered).is_none(), "byte {at} altered");
        }
        assert_eq!(format!("{keys:?}"), "KeyPair { .. }");
    }
}
