//! The paper's key exchange with kappa partitions (Bowers et al. 2022, section 5.3): a baseline.
//!
//! At the start of an epoch a member deals the group into kappa disjoint partitions and tells both servers. It
//! sends one share pair for each *partition*, real for the one that its target is in; the servers hand everybody
//! the pair of its partition. The reply is cheaper still: a member answers over the partitions that it dealt for
//! its own keys, with one more share pair for each and no new deal.
//!
//! So every member of the target's partition reads the key, and every member of the asker's the reply: the more
//! partitions, the fewer. With one for each member nobody else is left, and that is the exchange of
//! [`keys`](super), which needs no deal and may want any number of members at once.
//!
//! The parts themselves are those of [`KeyPartsMaker`](super::KeyPartsMaker), made for partitions instead of
//! members.

use rand::CryptoRng;

use super::KEY_PART_BYTES;
use crate::error::ProtocolError;
use crate::ids::MemberIndex;
use crate::paper::draw::shuffle;

/// One member's deal of the group into partitions as even as possible: the first `n mod kappa` of them have one
/// member more than the rest. Not a secret: both servers need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partitions {
    partition_of: Box<[u32]>,
    kappa: u32,
}

/// What one member's exchange costs, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeCost {
    /// What the member sends to each server: the deal, 4 bytes a member, and a share for each partition.
    pub upload_bytes: u64,
    /// What each server sends out for it, to all members together.
    pub delivered_bytes: u64,
    /// The reply's upload: the deal is there already.
    pub reply_upload_bytes: u64,
    /// What each server sends out for the reply.
    pub reply_delivered_bytes: u64,
}

impl Partitions {
    /// Deals `members` into `kappa` partitions, uniformly.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::Partitions`] unless `1 < kappa <= members`, before anything is drawn.
    pub fn deal(members: u32, kappa: u32, rng: &mut impl CryptoRng) -> Result<Partitions, ProtocolError> {
        check(members, kappa)?;
        let mut order: Vec<u32> = (0..members).collect();
        shuffle(&mut order, rng);
        let mut partition_of = vec![0; order.len()].into_boxed_slice();
        for (member, partition) in order.into_iter().zip((0..kappa).cycle()) {
            partition_of[member as usize] = partition;
        }
        Ok(Partitions { partition_of, kappa })
    }

    /// The partition that `member` was dealt into, `0..kappa`.
    ///
    /// # Panics
    ///
    /// When the group has no such member.
    #[must_use]
    pub fn of(&self, member: MemberIndex) -> u32 {
        self.partition_of[member.0 as usize]
    }

    /// How many partitions there are.
    #[must_use]
    pub fn kappa(&self) -> u32 {
        self.kappa
    }

    /// What the exchange costs.
    #[must_use]
    pub fn cost(&self) -> ExchangeCost {
        let members = self.partition_of.len() as u64;
        let (shares, cells) =
            (u64::from(self.kappa) * KEY_PART_BYTES as u64, members * KEY_PART_BYTES as u64);
        ExchangeCost {
            upload_bytes: 4 * members + shares,
            delivered_bytes: cells,
            reply_upload_bytes: shares,
            reply_delivered_bytes: cells,
        }
    }
}

/// The probability that one of `accounts` accounts that another user holds reads a key that is not for it: that
/// they are not all outside the target's partition. Exact, over the deal:
///
/// ```text
/// 1 - sum over partitions of (s / n) * C(n - s, a) / C(n - 1, a)        s = the partition's size
/// ```
///
/// which for one account is `sum s (s - 1) / (n (n - 1))`, about `1 / kappa`, and 0 when kappa = n.
///
/// # Errors
///
/// [`ProtocolError::Partitions`] unless `1 < kappa <= members`.
///
/// # Panics
///
/// When there are not more members than accounts: the target is another's.
pub fn probability_read(members: u32, kappa: u32, accounts: u32) -> Result<f64, ProtocolError> {
    check(members, kappa)?;
    assert!(accounts < members, "{accounts} accounts and a target in a group of {members}");
    let (least, larger) = (members / kappa, members % kappa);
    let n = f64::from(members);
    let none_reads = |size: u32| -> f64 {
        // C(n - s, a) / C(n - 1, a), factor by factor; a factor is 0 where there is no room outside.
        let outside = |account| f64::from((members - size).saturating_sub(account));
        (0..accounts).map(|account| outside(account) / (n - 1.0 - f64::from(account))).product()
    };
    let of_size = |count: u32, size: u32| f64::from(count) * f64::from(size) / n * none_reads(size);
    let nobody = of_size(larger, least + 1) + of_size(kappa - larger, least);
    Ok((1.0 - nobody).max(0.0))
}

fn check(members: u32, kappa: u32) -> Result<(), ProtocolError> {
    match 1 < kappa && kappa <= members {
        true => Ok(()),
        false => Err(ProtocolError::Partitions { partitions: kappa, members }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kappa_out_of_bounds_is_refused_by_name() {
        for (members, kappa) in [(8, 0), (8, 1), (8, 9), (0, 0), (1, 1), (0, 2), (8, u32::MAX)] {
            let error = ProtocolError::Partitions { partitions: kappa, members };
            assert_eq!(Partitions::deal(members, kappa, &mut rand::rng()), Err(error));
            assert_eq!(probability_read(members, kappa, 0), Err(error));
        }
    }

    #[test]
    fn partitions_are_as_even_as_possible_and_everybody_is_in_one() {
        for (members, kappa) in [(2, 2), (5, 2), (5, 3), (64, 7), (1000, 250), (1000, 1000)] {
            let dealt = Partitions::deal(members, kappa, &mut rand::rng()).expect("within bounds");
            let mut sizes = vec![0; kappa as usize];
            (0..members).for_each(|member| sizes[dealt.of(MemberIndex(member)) as usize] += 1);
            let larger = (members % kappa) as usize;
            assert!(sizes[..larger].iter().all(|size| *size == members / kappa + 1));
            assert!(sizes[larger..].iter().all(|size| *size == members / kappa));
        }
    }

    #[test]
    fn the_exact_probability_at_its_ends() {
        for members in [2, 3, 10, 1000] {
            assert_eq!(probability_read(members, members, 1), Ok(0.0), "one partition for each member");
            assert_eq!(probability_read(members, members, members - 1), Ok(0.0));
            assert_eq!(probability_read(members, 2, 0), Ok(0.0), "no account reads nothing");
        }
        // Two halves of 2: of the other three members one shares the target's.
        let one = probability_read(4, 2, 1).expect("within bounds");
        assert!((one - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(probability_read(4, 2, 3), Ok(1.0));
    }

    #[test]
    fn costs_are_those_of_the_bytes_sent() {
        let dealt = Partitions::deal(1000, 250, &mut rand::rng()).expect("within bounds");
        let cost = ExchangeCost {
            upload_bytes: 4000 + 24_000,
            delivered_bytes: 96_000,
            reply_upload_bytes: 24_000,
            reply_delivered_bytes: 96_000,
        };
        assert_eq!(dealt.cost(), cost);
    }
}
