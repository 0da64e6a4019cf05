//! One key of a cipher, with Noise's numbering: what the handshake and the records are sealed by.

use super::{Cipher, KEY_BYTES, TAG_BYTES};
use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use std::fmt;
use zeroize::Zeroizing;

/// What does not open. Says no more, as there is no more to be known.
#[derive(Debug)]
pub(super) struct DoesNotOpen;

/// The number that Noise keeps for its rekey.
const REKEY_NUMBER: u64 = u64::MAX;

/// One key. The library wipes it when it is dropped; `Debug` shows nothing.
pub(super) struct Aead {
    cipher: Cipher,
    key: LessSafeKey,
}

impl Aead {
    pub(super) fn new(cipher: Cipher, key: &[u8; KEY_BYTES]) -> Aead {
        let algorithm = match cipher {
            Cipher::AesGcm => &AES_256_GCM,
            Cipher::ChaChaPoly => &CHACHA20_POLY1305,
        };
        let key = UnboundKey::new(algorithm, key).expect("the key has the cipher's length");
        Aead { cipher, key: LessSafeKey::new(key) }
    }

    /// Seals in place. Whoever calls never seals two plaintexts under one number.
    pub(super) fn seal(&self, number: u64, associated: &[u8], text: &mut [u8]) -> [u8; TAG_BYTES] {
        let tag = self
            .key
            .seal_in_place_separate_tag(self.nonce(number), Aad::from(associated), text)
            .expect("the cipher takes texts of a record's length");
        tag.as_ref().try_into().expect("a tag is 16 bytes")
    }

    /// Opens `sealed`, a ciphertext and its tag, into `plain`, which is as long as the ciphertext. Where it does not
    /// open, nothing of the plaintext is left in there.
    pub(super) fn open(
        &self,
        number: u64,
        associated: &[u8],
        sealed: &[u8],
        plain: &mut [u8],
    ) -> Result<(), DoesNotOpen> {
        let (text, tag) = sealed.split_last_chunk::<TAG_BYTES>().ok_or(DoesNotOpen)?;
        let nonce = self.nonce(number);
        let opened = self.key.open_separate_gather(nonce, Aad::from(associated), text, tag, plain);
        opened.map_err(|_| {
            plain.fill(0);
            DoesNotOpen
        })
    }

    /// The same in place: the plaintext comes to be at the beginning.
    pub(super) fn open_in_place(&self, number: u64, sealed: &mut [u8]) -> Result<(), DoesNotOpen> {
        let (text, tag) = sealed.split_last_chunk_mut::<TAG_BYTES>().ok_or(DoesNotOpen)?;
        let opened = self.key.open_in_place_separate_tag(self.nonce(number), Aad::empty(), tag, text);
        opened.map(|_| ()).map_err(|_| DoesNotOpen)
    }

    /// The key that comes after this one: Noise's rekey, the first 32 bytes of zeros sealed under the last number.
    pub(super) fn after(&self) -> Aead {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        self.seal(REKEY_NUMBER, &[], &mut key[..]);
        Aead::new(self.cipher, &key)
    }

    /// Noise's nonces: 4 zero bytes and the number, big-endian for AESGCM and little-endian for ChaChaPoly.
    fn nonce(&self, number: u64) -> Nonce {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&match self.cipher {
            Cipher::AesGcm => number.to_be_bytes(),
            Cipher::ChaChaPoly => number.to_le_bytes(),
        });
        Nonce::assume_unique_for_key(nonce)
    }
}

impl fmt::Debug for Aead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aead").field("cipher", &self.cipher).finish_non_exhaustive()
    }
}
