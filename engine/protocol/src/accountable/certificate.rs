//! A user's key with both servers' signatures: who signed what can be told without asking anybody.

use crate::error::ProtocolError;
use crate::identity::{KEY_BYTES, SIGNATURE_BYTES, VerifyingKey};
use crate::ids::{Epoch, GroupId, ServerSide, UserId};
use crate::statements;

/// A user's key, and both servers' word that it is that user's from an epoch on (the cross-signed key of Bowers et al.
/// 2022, 5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The user's key.
    pub key: VerifyingKey,
    /// The epoch that both signatures name.
    pub epoch: Epoch,
    /// S1's and S2's signature over [`key`](statements::key).
    pub signatures: [[u8; SIGNATURE_BYTES]; 2],
}

impl Certificate {
    /// Bytes on the wire: `key 32, epoch u32, 0 u32, signature of S1 64, signature of S2 64`.
    pub const BYTES: usize = KEY_BYTES + 8 + 2 * SIGNATURE_BYTES;

    /// Whether both servers signed it for that user.
    #[must_use]
    pub fn verify(&self, group: GroupId, user: UserId, servers: &[VerifyingKey; 2]) -> bool {
        ServerSide::BOTH
            .into_iter()
            .zip(servers)
            .all(|(side, server)| self.is_signed_by(side, group, user, server))
    }

    /// Whether that server, whose key is `server`, signed it for that user.
    #[must_use]
    pub fn is_signed_by(
        &self,
        side: ServerSide,
        group: GroupId,
        user: UserId,
        server: &VerifyingKey,
    ) -> bool {
        let statement = statements::key(group, self.epoch, user, &self.key);
        server.verify(&statement, &self.signatures[side.index()])
    }

    /// Its bytes on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Certificate::BYTES] {
        let mut out = [0; Certificate::BYTES];
        out[..KEY_BYTES].copy_from_slice(&self.key.to_bytes());
        out[KEY_BYTES..KEY_BYTES + 4].copy_from_slice(&self.epoch.0.to_le_bytes());
        out[KEY_BYTES + 8..].copy_from_slice(self.signatures.as_flattened());
        out
    }

    /// Reads one. Its signatures are not verified.
    ///
    /// # Errors
    /// [`ProtocolError::VerifyingKey`] where its key is none, or its reserved bytes are not zero.
    pub fn from_bytes(bytes: &[u8; Certificate::BYTES]) -> Result<Certificate, ProtocolError> {
        let (key, rest) = bytes.split_first_chunk().expect("the constant has it so");
        let (epoch, rest) = rest.split_first_chunk().expect("the constant has it so");
        let (reserved, signatures) = rest.split_first_chunk().expect("the constant has it so");
        if *reserved != [0; 4] {
            return Err(ProtocolError::VerifyingKey);
        }
        let (signatures, _) = signatures.as_chunks();
        Ok(Certificate {
            key: VerifyingKey::from_bytes(key)?,
            epoch: Epoch(u32::from_le_bytes(*epoch)),
            signatures: [signatures[0], signatures[1]],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SigningKey;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn a_certificate_is_one_users_in_one_group_and_needs_both_servers() {
        let mut rng = StdRng::seed_from_u64(1);
        let [user, one, two] = std::array::from_fn(|_| SigningKey::random(&mut rng));
        let servers = [one.verifying_key(), two.verifying_key()];
        let statement = statements::key(GroupId(1), Epoch(2), UserId(3), &user.verifying_key());
        let good = Certificate {
            key: user.verifying_key(),
            epoch: Epoch(2),
            signatures: [one.sign(&statement), two.sign(&statement)],
        };
        assert!(good.verify(GroupId(1), UserId(3), &servers));
        assert_eq!(Certificate::from_bytes(&good.to_bytes()), Ok(good));

        let [server1, server2] = servers;
        assert!(!good.verify(GroupId(2), UserId(3), &servers));
        assert!(!good.verify(GroupId(1), UserId(4), &servers));
        assert!(!good.verify(GroupId(1), UserId(3), &[server2, server1]));
        assert!(!Certificate { epoch: Epoch(3), ..good }.verify(GroupId(1), UserId(3), &servers));
        assert!(!Certificate { key: server1, ..good }.verify(GroupId(1), UserId(3), &servers));
        let [signature1, _] = good.signatures;
        let half = Certificate { signatures: [signature1; 2], ..good };
        assert!(half.is_signed_by(ServerSide::One, GroupId(1), UserId(3), &server1));
        assert!(!half.verify(GroupId(1), UserId(3), &servers));

        let mut reserved = good.to_bytes();
        reserved[KEY_BYTES + 4] = 1;
        assert!(Certificate::from_bytes(&reserved).is_err());
        assert!(Certificate::from_bytes(&[0; Certificate::BYTES]).is_err(), "a key of small order");
    }
}
