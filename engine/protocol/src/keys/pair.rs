//! From two public keys to the two keys of a pair.

use std::fmt;

use hkdf::Hkdf;
use rand::CryptoRng;
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::PUBLIC_KEY_BYTES;
use crate::error::ProtocolError;
use crate::ids::{Epoch, GroupId, MemberIndex};
use crate::sealed::{SEAL_KEY_BYTES, SealKey};

/// What a derived key is for, before everything it is bound to.
const LABEL: &[u8] = b"twincast/pair/v1";

/// A member's X25519 key pair, fresh for each epoch. The secret half is wiped on drop and nothing hands it out;
/// `Debug` shows neither half.
pub struct Keypair {
    secret: StaticSecret,
    public: [u8; PUBLIC_KEY_BYTES],
}

impl Keypair {
    /// A fresh key pair.
    #[must_use]
    pub fn random(rng: &mut impl CryptoRng) -> Keypair {
        let secret = StaticSecret::random_from_rng(rng);
        let public = PublicKey::from(&secret).to_bytes();
        Keypair { secret, public }
    }

    /// The half that partners are sent.
    #[must_use]
    pub fn public(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        &self.public
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keypair").finish_non_exhaustive()
    }
}

/// Which end of an exchange a member is. Two members who both wanted a key of each other have two exchanges, with
/// keys of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sent the key that was replied to.
    Initiator,
    /// Sent the reply.
    Responder,
}

/// The keys of a pair, one for each direction, so that no nonce serves both and nothing that a member sent can be
/// brought back to it as if its partner had. Wiped on drop; `Debug` shows nothing.
pub struct PairKey {
    /// Seals what this member sends to its partner.
    pub send: SealKey,
    /// Opens what the partner sends to this member.
    pub receive: SealKey,
}

impl fmt::Debug for PairKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PairKey").finish_non_exhaustive()
    }
}

/// Derives the keys that `own_index` shares with `their_index`: HKDF-SHA256 of the X25519 secret without salt, and
///
/// ```text
/// info = "twincast/pair/v1" | group u32 | epoch u32 | initiator u32 | responder u32
///        | initiator's public key | responder's public key
/// output = initiator's sending key, 32 bytes | responder's sending key, 32 bytes
/// ```
///
/// with little-endian integers. Both ends derive the same two keys if and only if they agree on all of it: a key
/// that was taken from another epoch, or passed off as another member's, gives keys that open nothing.
///
/// # Errors
///
/// [`ProtocolError::KeyOfLowOrder`] when the secret is all zeros, which anybody could compute.
pub fn pair_key(
    own: &Keypair,
    own_index: MemberIndex,
    their_public: &[u8; PUBLIC_KEY_BYTES],
    their_index: MemberIndex,
    group: GroupId,
    epoch: Epoch,
    role: Role,
) -> Result<PairKey, ProtocolError> {
    let secret = own.secret.diffie_hellman(&PublicKey::from(*their_public));
    if !secret.was_contributory() {
        return Err(ProtocolError::KeyOfLowOrder { member: their_index });
    }
    let ends = [(own_index, &own.public), (their_index, their_public)];
    let [initiator, responder] = match role {
        Role::Initiator => ends,
        Role::Responder => [ends[1], ends[0]],
    };
    let info = [
        LABEL,
        &group.0.to_le_bytes(),
        &epoch.0.to_le_bytes(),
        &initiator.0.0.to_le_bytes(),
        &responder.0.0.to_le_bytes(),
        initiator.1,
        responder.1,
    ];
    let mut keys = Zeroizing::new([[0; SEAL_KEY_BYTES]; 2]);
    Hkdf::<Sha256>::new(None, secret.as_bytes())
        .expand_multi_info(&info, keys.as_flattened_mut())
        .expect("64 bytes are no more than HKDF gives");
    let [initiators, responders] = keys.each_ref().map(SealKey::from_bytes);
    Ok(match role {
        Role::Initiator => PairKey { send: initiators, receive: responders },
        Role::Responder => PairKey { send: responders, receive: initiators },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId(3);
    const EPOCH: Epoch = Epoch(4);
    const ALICE: MemberIndex = MemberIndex(5);
    const BOB: MemberIndex = MemberIndex(6);

    fn same(a: &PairKey, b: &PairKey) -> bool {
        a.send == b.receive && a.receive == b.send
    }

    #[test]
    fn both_ends_agree_and_every_field_matters() {
        use Role::{Initiator, Responder};
        let mut rng = rand::rng();
        let [alice, bob, eve] = [(); 3].map(|()| Keypair::random(&mut rng));
        let derive = |own: &Keypair, at, theirs: &Keypair, of, group, epoch, role| {
            pair_key(own, at, theirs.public(), of, group, epoch, role).expect("keys of full order")
        };
        let alices = derive(&alice, ALICE, &bob, BOB, GROUP, EPOCH, Initiator);
        assert!(same(&alices, &derive(&bob, BOB, &alice, ALICE, GROUP, EPOCH, Responder)));
        assert!(alices.send != alices.receive, "the directions have keys of their own");
        let others = [
            derive(&bob, BOB, &alice, ALICE, GROUP, EPOCH, Initiator),
            derive(&bob, BOB, &alice, ALICE, GroupId(9), EPOCH, Responder),
            derive(&bob, BOB, &alice, ALICE, GROUP, Epoch(9), Responder),
            derive(&bob, MemberIndex(9), &alice, ALICE, GROUP, EPOCH, Responder),
            derive(&bob, BOB, &alice, MemberIndex(9), GROUP, EPOCH, Responder),
            derive(&eve, BOB, &alice, ALICE, GROUP, EPOCH, Responder),
            derive(&bob, BOB, &eve, ALICE, GROUP, EPOCH, Responder),
        ];
        for (index, other) in others.iter().enumerate() {
            let equal = [(&alices.send, &other.receive), (&alices.receive, &other.send)];
            assert!(equal.iter().all(|(a, b)| a != b), "case {index}");
        }
    }

    #[test]
    fn keys_of_low_order_are_refused_by_name() {
        let own = Keypair::random(&mut rand::rng());
        // The u coordinates 0, 1, p - 1, p, p + 1, and the two of order 8.
        let low_order = [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        ];
        for public in low_order {
            let public = hex::decode(public).expect("hex digits").try_into().expect("32 bytes");
            let result = pair_key(&own, ALICE, &public, BOB, GROUP, EPOCH, Role::Responder);
            assert_eq!(result.err(), Some(ProtocolError::KeyOfLowOrder { member: BOB }));
        }
    }

    #[test]
    fn debug_shows_nothing() {
        let own = Keypair::random(&mut rand::rng());
        let pair = pair_key(&own, ALICE, own.public(), ALICE, GROUP, EPOCH, Role::Initiator).expect("a key");
        assert_eq!(
            format!("{own:?} {pair:?} {:?}", pair.send),
            "Keypair { .. } PairKey { .. } SealKey { .. }"
        );
    }
}
