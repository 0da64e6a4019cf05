//! The key that says who somebody is on a channel.

use super::KEY_BYTES;
use rand::CryptoRng;
use std::fmt;
use std::sync::Arc;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// An X25519 key pair that outlives a handshake: a server's, which clients pin, or a client's, which may be fresh for
/// each connection. The private half lies at one place, which clones share and where it is wiped when the last of them is
/// dropped; `Debug` shows nothing of it.
#[derive(Clone)]
pub struct StaticKey {
    secret: Arc<StaticSecret>,
    public: [u8; KEY_BYTES],
}

impl StaticKey {
    /// A fresh key.
    #[must_use]
    pub fn random(rng: &mut impl CryptoRng) -> StaticKey {
        StaticKey::of(StaticSecret::random_from_rng(rng))
    }

    /// The key of a private half that was kept.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; KEY_BYTES]) -> StaticKey {
        StaticKey::of(StaticSecret::from(*bytes))
    }

    fn of(secret: StaticSecret) -> StaticKey {
        let secret = Arc::new(secret);
        let public = PublicKey::from(&*secret).to_bytes();
        StaticKey { secret, public }
    }

    /// The public half: what peers pin.
    #[must_use]
    pub fn public(&self) -> [u8; KEY_BYTES] {
        self.public
    }

    /// The private half, to be kept in a file that nobody else reads.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; KEY_BYTES]> {
        Zeroizing::new(self.secret.to_bytes())
    }

    /// Whether anybody can have a channel with who has this public key: not where it is of small order, so that every
    /// secret agreed on with it is known to all.
    #[must_use]
    pub fn agrees_with(public: &[u8; KEY_BYTES]) -> bool {
        // Every private half is a multiple of the small orders, so that any one of them tells.
        StaticKey::from_bytes(&[1; KEY_BYTES]).agree(public).is_some()
    }

    /// The shared secret with a public key. None where that key is of small order, so that anybody knows the secret.
    pub(super) fn agree(&self, public: &[u8; KEY_BYTES]) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
        let shared = self.secret.diffie_hellman(&PublicKey::from(*public));
        shared.was_contributory().then(|| Zeroizing::new(shared.to_bytes()))
    }
}

impl fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticKey").finish_non_exhaustive()
    }
}
