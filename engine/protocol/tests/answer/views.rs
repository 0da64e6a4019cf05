//! What one server sees of a query.

use crate::world::bit;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use std::collections::BTreeMap;
use std::convert::Infallible;
use twincast_protocol::ids::{MemberIndex, ServerSide};
use twincast_protocol::session_key;

/// A generator of the bits that it is given, as if each outcome of a coin were tried once.
struct Coins(u8);

impl rand::TryRng for Coins {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.into())
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.into())
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill(self.0);
        Ok(())
    }
}

impl rand::TryCryptoRng for Coins {}

/// Every query vector of a small group, from every outcome of the coins: each server gets each vector equally often,
/// whatever the target is, and if there is none.
#[test]
fn what_one_server_sees_is_independent_of_the_target() {
    for members in 2..=8 {
        for side in ServerSide::BOTH {
            let views: Vec<BTreeMap<Vec<u8>, usize>> = targets(members)
                .map(|target| {
                    let recipients: Vec<MemberIndex> =
                        target.into_iter().map(|target| MemberIndex(target as u32)).collect();
                    let mut seen = BTreeMap::new();
                    for coins in 0..=u8::MAX {
                        let both = session_key::dial(members as u32, &recipients, &mut Coins(coins)).unwrap();
                        let key = [both.0, both.1][side.index()].as_bytes().to_vec();
                        *seen.entry(key).or_default() += 1;
                    }
                    seen
                })
                .collect();
            assert_eq!(views[0].len(), 1 << members);
            assert!(views.iter().all(|view| *view == views[0]), "{members} members, {side:?}");
        }
    }
}

#[test]
fn two_queries_differ_in_the_target_alone() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    // A workload's coins will do: the relation is looked at, not the secrecy.
    struct Workload<'a>(&'a mut Xoshiro256PlusPlus);
    impl rand::TryRng for Workload<'_> {
        type Error = Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            self.0.try_next_u32()
        }
        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            self.0.try_next_u64()
        }
        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
            self.0.try_fill_bytes(bytes)
        }
    }
    impl rand::TryCryptoRng for Workload<'_> {}
    for target in targets(40) {
        let recipients: Vec<MemberIndex> =
            target.into_iter().map(|target| MemberIndex(target as u32)).collect();
        let (p1, p2) = session_key::dial(40, &recipients, &mut Workload(&mut rng)).unwrap();
        let word = |key: &[u8]| key.iter().rev().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
        assert_eq!(word(p1.as_bytes()) ^ word(p2.as_bytes()), bit(target));
    }
}

/// Every target, and none.
pub(crate) fn targets(members: usize) -> impl Iterator<Item = Option<usize>> {
    (0..members).map(Some).chain([None])
}
