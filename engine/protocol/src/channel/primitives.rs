//! What the handshake's state machine computes with: our X25519 and our ciphers, which wipe their keys, and an ephemeral
//! key that was drawn beforehand.
//!
//! The state machine itself (snow) does not wipe what it derives on the way: until that memory is used again, who reads
//! all of a process's memory finds a channel's keys in it, as long as the channel lives and a little longer. The static
//! keys are not among what is left.

use super::aead::Aead;
use super::{Cipher, KEY_BYTES, StaticKey, TAG_BYTES};
use snow::Error;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A secret at one place on the heap: moving it about copies its address, and leaves nothing of it behind.
pub(super) type Secret = Arc<Zeroizing<[u8; KEY_BYTES]>>;

/// The primitives of one handshake.
pub(super) struct Primitives {
    /// Whose public half is known already, which saves a multiplication.
    own: StaticKey,
    /// The ephemeral key's private half, for the one draw that there is.
    ephemeral: Secret,
}

impl Primitives {
    pub(super) fn new(own: &StaticKey, ephemeral: &Secret) -> Primitives {
        Primitives { own: own.clone(), ephemeral: ephemeral.clone() }
    }
}

impl CryptoResolver for Primitives {
    fn resolve_rng(&self) -> Option<Box<dyn types::Random>> {
        Some(Box::new(Drawn(Some(self.ephemeral.clone()))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn types::Dh>> {
        let own = self.own.clone();
        matches!(choice, DHChoice::Curve25519)
            .then(|| Box::new(X25519 { own, key: None }) as Box<dyn types::Dh>)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn types::Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn types::Cipher>> {
        let cipher = match choice {
            CipherChoice::AESGCM => Cipher::AesGcm,
            CipherChoice::ChaChaPoly => Cipher::ChaChaPoly,
        };
        Some(Box::new(Keyed { cipher, key: None }))
    }
}

/// Randomness that was drawn for one key, and gives nothing more.
struct Drawn(Option<Secret>);

impl types::Random for Drawn {
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Error> {
        let drawn = self.0.take().filter(|drawn| drawn.len() == out.len()).ok_or(Error::Rng)?;
        out.copy_from_slice(&drawn[..]);
        Ok(())
    }
}

struct X25519 {
    own: StaticKey,
    key: Option<(StaticKey, [u8; KEY_BYTES])>,
}

impl X25519 {
    fn key(&self) -> &(StaticKey, [u8; KEY_BYTES]) {
        self.key.as_ref().expect("the state machine sets a key before it uses it")
    }
}

impl types::Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        KEY_BYTES
    }

    fn priv_len(&self) -> usize {
        KEY_BYTES
    }

    /// The state machine sets the static key by its private half, which it is not told: it is `own`'s always.
    fn set(&mut self, _private: &[u8]) {
        self.key = Some((self.own.clone(), self.own.public()));
    }

    fn generate(&mut self, random: &mut dyn types::Random) -> Result<(), Error> {
        let mut private = Zeroizing::new([0; KEY_BYTES]);
        random.try_fill_bytes(&mut private[..])?;
        let key = StaticKey::from_bytes(&private);
        let public = key.public();
        self.key = Some((key, public));
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.key().1
    }

    /// Never asked for by a handshake, and not given.
    fn privkey(&self) -> &[u8] {
        &[]
    }

    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let public = public.first_chunk::<KEY_BYTES>().ok_or(Error::Dh)?;
        let shared = self.key().0.agree(public).ok_or(Error::Dh)?;
        out[..KEY_BYTES].copy_from_slice(&shared[..]);
        Ok(())
    }
}

struct Keyed {
    cipher: Cipher,
    key: Option<Aead>,
}

impl Keyed {
    fn key(&self) -> &Aead {
        self.key.as_ref().expect("the state machine sets a key before it uses it")
    }
}

impl types::Cipher for Keyed {
    fn name(&self) -> &'static str {
        match self.cipher {
            Cipher::AesGcm => "AESGCM",
            Cipher::ChaChaPoly => "ChaChaPoly",
        }
    }

    fn set(&mut self, key: &[u8; KEY_BYTES]) {
        self.key = Some(Aead::new(self.cipher, key));
    }

    fn encrypt(&self, number: u64, associated: &[u8], plain: &[u8], out: &mut [u8]) -> usize {
        let (text, rest) = out.split_at_mut(plain.len());
        text.copy_from_slice(plain);
        rest[..TAG_BYTES].copy_from_slice(&self.key().seal(number, associated, text));
        plain.len() + TAG_BYTES
    }

    fn decrypt(&self, number: u64, associated: &[u8], sealed: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let plain_bytes = sealed.len().checked_sub(TAG_BYTES).ok_or(Error::Decrypt)?;
        let plain = out.get_mut(..plain_bytes).ok_or(Error::Decrypt)?;
        self.key().open(number, associated, sealed, plain).map_err(|_| Error::Decrypt)?;
        Ok(plain_bytes)
    }
}
