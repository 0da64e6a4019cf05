//! The proofs of HELLO: that each user holds the key of its account, for this server and this channel alone.

use super::Directory;
use rand::CryptoRng;
use twincast_protocol::identity::{Batch, VerifyingKey};
use twincast_protocol::ids::{Epoch, GroupId, UserId};
use twincast_protocol::statements::{self, Binding};
use twincast_protocol::wire::{Code, Proofs};

/// What was proved holds for as long as [`Directory::revocations`] stays as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proved {
    /// None: nothing was to be proved.
    revocations: Option<u64>,
}

impl Proved {
    /// Nothing was to be proved: whoever says so may be a user of the group.
    #[must_use]
    pub fn nothing() -> Proved {
        Proved { revocations: None }
    }

    /// Whether nobody has lost a key since.
    #[must_use]
    pub fn holds(&self, directory: &Directory) -> bool {
        self.revocations.is_none_or(|revocations| revocations == directory.revocations())
    }
}

/// Proofs that are verified by one equation. Where it does not hold each of them is looked at, and nothing after them.
pub(crate) const VERIFIED_TOGETHER: usize = 32;

/// Verifies one proof for each user, some at a time, up to the first that is wrong. The epoch is the one that HELLO names.
///
/// # Errors
/// [`Code::ProofWanted`], [`Code::NotRegistered`] or [`Code::ProofWrong`], and the user whom it concerns, where it is one.
pub fn check_proofs(
    directory: &Directory,
    binding: &Binding,
    (group, epoch): (GroupId, Epoch),
    users: &[UserId],
    proofs: Proofs<'_>,
    rng: &mut impl CryptoRng,
) -> Result<Proved, (Code, Option<UserId>)> {
    if proofs.len() != users.len() {
        return Err((Code::ProofWanted, None));
    }
    let proved = Proved { revocations: Some(directory.revocations()) };
    let keys = directory.keys(group, users).map_err(|user| (Code::NotRegistered, Some(user)))?;
    let mut proofs = proofs.iter();
    for (users, keys) in users.chunks(VERIFIED_TOGETHER).zip(keys.chunks(VERIFIED_TOGETHER)) {
        let mut batch = Batch::default();
        for ((user, key), proof) in users.iter().zip(keys).zip(proofs.by_ref()) {
            push(&mut batch, binding, group, epoch, *user, key, proof);
        }
        if let Some(index) = batch.verify(rng).iter().position(|valid| !valid) {
            return Err((Code::ProofWrong, Some(users[index])));
        }
    }
    Ok(proved)
}

fn push(
    batch: &mut Batch,
    binding: &Binding,
    group: GroupId,
    epoch: Epoch,
    user: UserId,
    key: &VerifyingKey,
    proof: &[u8; twincast_protocol::identity::SIGNATURE_BYTES],
) {
    batch.push(key, &statements::attach(binding, group, epoch, user), proof);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::collections::HashMap;
    use twincast_protocol::identity::SigningKey;

    const GROUP: GroupId = GroupId(3);

    fn key(user: u32) -> SigningKey {
        SigningKey::from_seed(&[user as u8 + 1; 32])
    }

    fn prove(binding: &Binding, epoch: Epoch, users: &[UserId]) -> Vec<[u8; 64]> {
        users.iter().map(|user| key(user.0).sign(&statements::attach(binding, GROUP, epoch, *user))).collect()
    }

    #[test]
    fn a_proof_is_its_users_its_channels_and_its_servers() {
        let users: Vec<UserId> = (0..9).map(UserId).collect();
        let list = users.iter().map(|user| (*user, key(user.0).verifying_key())).collect();
        let directory = Directory::of_lists(&HashMap::from([(GROUP, list)]));
        let binding = Binding { server: [1; 32], handshake: [2; 32] };
        let mut rng = StdRng::seed_from_u64(1);
        let mut check = |users: &[UserId], proofs: &[[u8; 64]]| {
            check_proofs(&directory, &binding, (GROUP, Epoch(5)), users, proofs, &mut rng)
        };
        let good = prove(&binding, Epoch(5), &users);
        assert!(check(&users, &good).unwrap().holds(&directory));
        assert_eq!(check(&users, &[]), Err((Code::ProofWanted, None)));
        assert_eq!(check(&[UserId(8), UserId(9)], &good[..2]), Err((Code::NotRegistered, Some(UserId(9)))));
        for other in [
            Binding { server: [3; 32], ..binding },
            Binding { handshake: [3; 32], ..binding },
            Binding::PLAIN,
        ] {
            let proofs = prove(&other, Epoch(5), &users);
            assert_eq!(check(&users, &proofs), Err((Code::ProofWrong, Some(UserId(0)))));
        }
        assert_eq!(check(&users, &prove(&binding, Epoch(4), &users)).unwrap_err().0, Code::ProofWrong);
        let mut swapped = good.clone();
        swapped.swap(6, 7);
        assert_eq!(check(&users, &swapped), Err((Code::ProofWrong, Some(UserId(6)))));
    }
}
