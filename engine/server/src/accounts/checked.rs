//! Whether the signatures in the file are the two servers': whoever shows one that is not convicts itself, however honest.
//!
//! A file that was put back, changed by hand or written by halves may have others. All are verified at each start.

use super::book::{Signers, Who};
use super::store::Account;
use std::collections::{BTreeMap, BTreeSet};
use twincast_protocol::identity::Batch;
use twincast_protocol::statements;

/// Signatures of one server that are verified together.
const TOGETHER: usize = 256;

/// Drops the signatures that are none, and signs anew what lacks this server's signature alone. Returns whose accounts have
/// changed.
pub(super) fn mend(accounts: &mut BTreeMap<Who, Account>, signers: &Signers) -> BTreeSet<Who> {
    let (own, other) = (signers.side.index(), signers.side.other().index());
    let mut mended = BTreeSet::new();
    let mut keys = [signers.peer; 2];
    keys[own] = Some(signers.own.verifying_key());
    for (index, key) in keys.into_iter().enumerate() {
        let signed = accounts.iter().filter(|(_, account)| account.signatures[index].is_some());
        let signed: Vec<Who> = signed.map(|(who, _)| *who).collect();
        for part in signed.chunks(TOGETHER) {
            let mut batch = Batch::default();
            for who in part {
                let account = &accounts[who];
                let statement = statements::key(who.0, account.epoch, who.1, &account.key);
                let signature = account.signatures[index].expect("those that are signed");
                if let Some(key) = key {
                    batch.push(&key, &statement, &signature);
                }
            }
            let valid = batch.verify(&mut rand::rng());
            for (at, who) in part.iter().enumerate() {
                // Without the other server's key nobody can tell.
                if !valid.get(at).is_some_and(|valid| *valid) {
                    accounts.get_mut(who).expect("one of them").signatures[index] = None;
                    mended.insert(*who);
                }
            }
        }
    }
    for (who, account) in accounts.iter_mut() {
        if account.signatures[own].is_none() && account.signatures[other].is_some() {
            let statement = statements::key(who.0, account.epoch, who.1, &account.key);
            account.signatures[own] = Some(signers.own.sign(&statement));
            mended.insert(*who);
        }
    }
    mended
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use twincast_protocol::identity::SigningKey;
    use twincast_protocol::ids::{Epoch, GroupId, ServerSide, UserId};

    fn seed(number: u8) -> SigningKey {
        SigningKey::from_seed(&[number; 32])
    }

    /// An account of a user, signed by two keys.
    fn account(who: Who, signers: [u8; 2]) -> Account {
        let account = Account::new(seed(9).verifying_key(), Epoch(3));
        let statement = statements::key(who.0, account.epoch, who.1, &account.key);
        Account { signatures: signers.map(|signer| Some(seed(signer).sign(&statement))), ..account }
    }

    fn signers() -> Signers {
        Signers { side: ServerSide::One, own: Arc::new(seed(1)), peer: Some(seed(2).verifying_key()) }
    }

    #[test]
    fn signatures_that_are_not_the_servers_are_dropped_and_this_servers_made_anew() {
        let who = |user| (GroupId(7), UserId(user));
        let good = account(who(0), [1, 2]);
        let mut accounts: BTreeMap<Who, Account> =
            (0..600).map(|user| (who(user), account(who(user), [1, 2]))).collect();
        assert_eq!(accounts[&who(0)].signatures, good.signatures);
        assert!(mend(&mut accounts, &signers()).is_empty());
        // Of old keys of this server, of the other one and of both; of another user; and a half account.
        accounts.insert(who(5), account(who(5), [11, 2]));
        accounts.insert(who(300), account(who(300), [1, 12]));
        accounts.insert(who(301), account(who(301), [11, 12]));
        accounts.insert(who(302), account(who(5), [1, 2]));
        accounts.get_mut(&who(303)).unwrap().signatures[1] = None;
        let mended = mend(&mut accounts, &signers());
        assert_eq!(mended, BTreeSet::from([5, 300, 301, 302].map(who)));
        let there = |user| accounts[&who(user)].signatures.map(|signature| signature.is_some());
        assert_eq!(accounts[&who(5)].signatures, account(who(5), [1, 2]).signatures);
        assert_eq!([300, 301, 302, 303].map(there), [[true, false], [false; 2], [false; 2], [true, false]]);
        assert!(mend(&mut accounts, &signers()).is_empty());
    }

    /// How long a start takes longer: `cargo test --release -p twincast-server --lib -- --ignored --nocapture verify_many`.
    #[test]
    #[ignore = "a measurement"]
    fn verify_many() {
        let mut accounts: BTreeMap<Who, Account> = (0..100_000)
            .map(|user| (GroupId(7), UserId(user)))
            .map(|who| (who, account(who, [1, 2])))
            .collect();
        let begun = std::time::Instant::now();
        assert!(mend(&mut accounts, &signers()).is_empty());
        println!("{} accounts: {:?}", accounts.len(), begun.elapsed());
    }
}
