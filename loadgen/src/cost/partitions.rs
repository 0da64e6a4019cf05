//! The paper's own key exchange beside the one that is played: what it costs, and how often it fails.

use crate::plan::Plan;
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex};
use twincast_protocol::keys::partitions::{Partitions, probability_read};
use twincast_protocol::keys::{KEY_PART_BYTES, KeyKind, KeyPartsMaker, PUBLIC_KEY_BYTES, open_keys};
use twincast_protocol::parts::{PartKind, expand_parts};
use twincast_protocol::receive::TileCells;

/// Members that all deals of a measurement have together, about.
const DEALT: u32 = 20_000_000;
/// Deals of a measurement, at the least and at the most.
const DEALS: (u32, u32) = (50, 2_000);
/// Accounts of other users that open what they get, for each deal.
const ACCOUNTS: u32 = 50;
/// What is exchanged in a measurement: any group, epoch and sender do.
const GROUP: GroupId = GroupId(0);
const EPOCH: Epoch = Epoch(0);
const SENDER: MemberIndex = MemberIndex(0);

/// The exchange with kappa partitions (Bowers et al. 2022, section 5.3), for one member.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionsCost {
    /// How many partitions.
    pub kappa: u32,
    /// Its keys, to each server.
    pub upload_bytes: u64,
    /// Its keys, from each server to all.
    pub delivered_bytes: u64,
    /// A reply over the same partitions, to each server.
    pub reply_upload_bytes: u64,
    /// A reply, from each server to all.
    pub reply_delivered_bytes: u64,
    /// Probability that an account of another user reads the key, by the formula.
    pub probability: f64,
    /// How often it did: keys were dealt, made and opened to see.
    pub measured: f64,
}

/// What the plan's number of partitions would cost a member of its groups, if it asks for them.
///
/// # Errors
/// A sentence: there are not so many partitions.
pub fn partitions(plan: &Plan) -> Result<Option<PartitionsCost>, String> {
    let (members, kappa) = (plan.group, plan.keys_kappa);
    if kappa == 0 {
        return Ok(None);
    }
    // Nothing is kept secret by these deals: the run's seed draws them.
    let mut rng = StdRng::seed_from_u64(plan.seed);
    let probability = probability_read(members, kappa, 1).map_err(|error| error.to_string())?;
    let deals = (DEALT / members).clamp(DEALS.0, DEALS.1);
    let (mut read, mut cost) = (0u32, None);
    for _ in 0..deals {
        let dealt = Partitions::deal(members, kappa, &mut rng).map_err(|error| error.to_string())?;
        let target = rng.random_range(0..members);
        let exchange = Exchange::new(&dealt, MemberIndex(target), &mut rng);
        for _ in 0..ACCOUNTS {
            let other = (target + rng.random_range(1..members)) % members;
            read += u32::from(exchange.reads(&dealt, MemberIndex(other)));
        }
        cost = Some(dealt.cost());
    }
    let measured = f64::from(read) / f64::from(deals * ACCOUNTS);
    Ok(cost.map(|cost| PartitionsCost {
        kappa,
        upload_bytes: cost.upload_bytes,
        delivered_bytes: cost.delivered_bytes,
        reply_upload_bytes: cost.reply_upload_bytes,
        reply_delivered_bytes: cost.reply_delivered_bytes,
        probability,
        measured,
    }))
}

/// What one member uploads for its partitions: S1's seed and S2's parts, one for each partition.
struct Exchange {
    public: [u8; PUBLIC_KEY_BYTES],
    seed: [u8; 32],
    parts: Vec<u8>,
}

impl Exchange {
    /// A key for the partition that `target` is in, and dummies for the others.
    fn new(dealt: &Partitions, target: MemberIndex, rng: &mut StdRng) -> Exchange {
        let (mut public, mut seed) = ([0; PUBLIC_KEY_BYTES], [0; 32]);
        rng.fill_bytes(&mut public);
        rng.fill_bytes(&mut seed);
        let real = dealt.of(target);
        // To the maker a partition is a member.
        let wanted = |partition: MemberIndex| partition.0 == real;
        let maker = KeyPartsMaker::new(GROUP, EPOCH, SENDER, KeyKind::Key, &public, &wanted);
        let mut parts = vec![0; dealt.kappa() as usize * KEY_PART_BYTES];
        maker.parts(&seed, MemberIndex(0), rng, &mut parts);
        Exchange { public, seed, parts }
    }

    /// Whether an account opens the key in what both servers hand to its partition.
    fn reads(&self, dealt: &Partitions, account: MemberIndex) -> bool {
        let partition = dealt.of(account);
        let mut cell1 = [0; KEY_PART_BYTES];
        expand_parts(&self.seed, PartKind::Key, partition, &mut cell1);
        let cell2 = &self.parts[partition as usize * KEY_PART_BYTES..][..KEY_PART_BYTES];
        let cells = TileCells { count: 1, cells: [&cell1, cell2], present: [1, 1] };
        let opened = open_keys(GROUP, EPOCH, SENDER, KeyKind::Key, &cells);
        opened.accepted == 1 && opened.keys[0] == self.public
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::plan;

    #[test]
    fn what_is_measured_is_what_the_formula_says() {
        for (group, kappa) in [(100, 2), (100, 10), (130, 65)] {
            let cost = partitions(&Plan { group, keys_kappa: kappa, ..plan() }).unwrap().unwrap();
            // Fifty accounts of one deal are not independent: eight times the spread of as many that are.
            let spread = (cost.probability * (1.0 - cost.probability) / f64::from(DEALS.1 * ACCOUNTS)).sqrt();
            let distance = (cost.measured - cost.probability).abs();
            assert!(distance < 8.0 * spread, "{group} into {kappa}: {cost:?}");
            assert_eq!(cost.upload_bytes, u64::from(4 * group + 96 * kappa));
        }
    }

    #[test]
    fn a_partition_for_each_member_is_read_by_nobody_else() {
        let cost = partitions(&Plan { group: 64, keys_kappa: 64, ..plan() }).unwrap().unwrap();
        assert!(cost.probability.abs() < f64::EPSILON && cost.measured.abs() < f64::EPSILON);
        assert_eq!(partitions(&plan()), Ok(None));
        assert!(partitions(&Plan { group: 8, keys_kappa: 9, ..plan() }).is_err());
    }
}
