//! One message to a set of recipients by the paper's Algorithm 4 (Bowers et al. 2022), mended.
//!
//! The group is halved: one half, the side of the recipient set T, and the other; as many decoys as
//! recipients are taken from the other half, and S2 gets the partition with recipients and decoys swapped. n
//! must be even and `|T| <= n / 2`. S1 hands out pairs `(share, extra)`, S2 plain shares; for T at half 0 (at
//! half 1 the two servers' shares change places as in [`protocol3`]):
//!
//! | | half 0, T's | half 1, the decoys' |
//! |---|---|---|
//! | S1 | m1, m3 | r2, r3 |
//! | S2 | r1 | m2 |
//!
//! A recipient reads `m1 + m2 = M`. A decoy gets r2 and r1, which are no codeword together; its extra makes
//! them one: `r3 = D3 - r2 - r1`, with a third dummy D3. That is `D3 - D1 - r2 + m1`: a difference of two
//! dummies, less the share beside it, plus the other half's. m3 is made to look alike: `m3 = E1 - E2 - m1 +
//! r2`, with two more dummies.
//!
//! Receive ([`Receiver::Mended`]): `share + other`; if that does not decode, `share + extra + other`. Never
//! `share + extra`: both are from one server, which could choose them so that they decode. The paper's
//! receiver ([`Receiver::AsPrinted`]) tries every combination, and that is what lets S1 forge.
//!
//! What it hides is less than a plain dial of the compact profile does: a server's partition is uniform among
//! the halvings that keep T together. For one recipient those are all; of several the server learns that they
//! are in one half, and of a set that is dialled again and again who they are.
//!
//! Works over the paper's code and over the compact one: [`ShareCode`].

use rand::CryptoRng;
use zeroize::Zeroizing;

use crate::compact::SplitBuffers;
use crate::error::ProtocolError;
use crate::format::ShareCode;
use crate::ids::MemberIndex;
use crate::paper::draw::{below, shuffle};
use crate::paper::protocol3;
use crate::session_key::SessionKey;

/// What a dial for Algorithm 4 gives the sender.
#[derive(Debug)]
pub struct Partition {
    /// For S1.
    pub p1: SessionKey,
    /// For S2: with recipients and decoys swapped.
    pub p2: SessionKey,
    /// The recipients' bit at S1. A secret.
    pub side: Side,
}

/// The recipients' bit at S1. `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Side(pub bool);

impl std::fmt::Debug for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Side(..)")
    }
}

/// Whether a group of `members` can be halved.
///
/// # Errors
///
/// [`ProtocolError::OddMembers`] when it cannot.
pub fn check_members(members: u32) -> Result<(), ProtocolError> {
    match members % 2 {
        0 => Ok(()),
        _ => Err(ProtocolError::OddMembers { members }),
    }
}

/// Draws the partitions that reach `recipients`, a set in any order (a repeated member counts once), also
/// empty: T's side; who of the others joins it; who of the rest is a decoy.
///
/// # Errors
///
/// [`ProtocolError::OddMembers`], [`ProtocolError::RecipientOutOfRange`], [`ProtocolError::SubsetTooLarge`]
/// over n / 2 recipients; all before anything is drawn.
pub fn dial(
    members: u32,
    recipients: &[MemberIndex],
    rng: &mut impl CryptoRng,
) -> Result<Partition, ProtocolError> {
    check_members(members)?;
    if let Some(&recipient) = recipients.iter().find(|recipient| recipient.0 >= members) {
        return Err(ProtocolError::RecipientOutOfRange { recipient, members });
    }
    let mut is_recipient = Zeroizing::new(vec![false; members as usize]);
    recipients.iter().for_each(|recipient| is_recipient[recipient.0 as usize] = true);
    let mut others = Zeroizing::new(Vec::with_capacity(members as usize));
    others.extend((0..members).filter(|member| !is_recipient[*member as usize]));
    let half = members as usize / 2;
    let recipient_count = members as usize - others.len();
    let Some(joining) = half.checked_sub(recipient_count) else {
        return Err(ProtocolError::SubsetTooLarge {
            recipients: recipient_count,
            recipients_max: members / 2,
        });
    };

    let side = below(2, rng) == 1;
    shuffle(&mut others, rng);
    let (joined, opposite) = others.split_at_mut(joining);
    opposite.sort_unstable();
    shuffle(opposite, rng);
    let decoys = &opposite[..recipient_count];

    let mut at_side1 = is_recipient.clone();
    joined.iter().for_each(|member| at_side1[*member as usize] = true);
    let mut at_side2 = Zeroizing::new(vec![false; members as usize]);
    joined.iter().chain(decoys).for_each(|member| at_side2[*member as usize] = true);
    let [p1, p2] = [&at_side1, &at_side2].map(|at_side| key(members, at_side, side));
    Ok(Partition { p1, p2, side: Side(side) })
}

/// The key whose bit is `side` for the members that are at the recipients' side.
fn key(members: u32, at_side: &[bool], side: bool) -> SessionKey {
    let mut bits = Zeroizing::new(vec![0u8; SessionKey::bytes_for(members)]);
    for (member, at_side) in at_side.iter().enumerate() {
        bits[member / 8] |= u8::from(*at_side == side) << (member % 8);
    }
    SessionKey::from_bytes(members, &bits).expect("as many bits as members")
}

/// Writes the halves of `message`: S1's are pairs, two shares long each, S2's one. Draws what
/// [`protocol3::split`] does, then the dummies D3, E1 and E2.
///
/// # Errors
///
/// [`ProtocolError::MessageTooLong`], before anything is drawn or written.
///
/// # Panics
///
/// When a buffer has another size.
pub fn split(
    code: &impl ShareCode,
    side: Side,
    message: &[u8],
    rng: &mut impl CryptoRng,
    out: SplitBuffers<'_>,
) -> Result<(), ProtocolError> {
    let share_bytes = code.share_bytes();
    let SplitBuffers { s1, s2: [other0, other1] } = out;
    let [(share0, extra0), (share1, extra1)] = s1.map(|pair| pair.split_at_mut(share_bytes));
    let shares = SplitBuffers { s1: [&mut *share0, &mut *share1], s2: [&mut *other0, &mut *other1] };
    protocol3::split(code, side.0, message, rng, shares)?;

    let [side, opposite] = [usize::from(side.0), usize::from(!side.0)];
    let shares = [&*share0, &*share1];
    let (side_share, opposite_share) = (shares[side], shares[opposite]);
    let (side_extra, opposite_extra) = if side == 0 { (extra0, extra1) } else { (extra1, extra0) };
    // A decoy's bits are the recipients' turned round: at S2 it gets the half of their side at S1.
    let decoy_other = [&*other0, &*other1][side];
    code.dummy(rng, opposite_extra);
    code.subtract(opposite_extra, opposite_share);
    code.subtract(opposite_extra, decoy_other);

    let mut dummy = Zeroizing::new(vec![0; share_bytes]);
    code.dummy(rng, side_extra);
    code.dummy(rng, &mut dummy);
    code.subtract(side_extra, &dummy);
    code.subtract(side_extra, side_share);
    code.add(side_extra, opposite_share);
    Ok(())
}

/// One of the strings that a member adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// S1's share.
    Share,
    /// S1's extra.
    Extra,
    /// S2's share.
    Other,
}

/// Which sums a receiver looks at, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// `share + other`, then `share + extra + other`.
    Mended,
    /// Every combination, as the paper has it: also `share + extra`, which S1 alone decides. For showing what
    /// follows from that; no [`Opener`](crate::format::Opener) receives so.
    AsPrinted,
}

impl Receiver {
    /// The sums, in the order in which they are tried; the first that decodes is what was received.
    #[must_use]
    pub fn sums(self) -> &'static [&'static [Piece]] {
        use Piece::{Extra, Other, Share};
        match self {
            Receiver::Mended => &[&[Share, Other], &[Share, Extra, Other]],
            Receiver::AsPrinted => {
                &[&[Share, Other], &[Extra, Other], &[Share, Extra], &[Share, Extra, Other]]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn members(indices: &[u32]) -> Vec<MemberIndex> {
        indices.iter().copied().map(MemberIndex).collect()
    }

    #[test]
    fn both_partitions_are_halves_and_differ_in_recipients_and_as_many_decoys() {
        let mut rng = StdRng::seed_from_u64(1);
        for n in (0..=20).step_by(2) {
            for size in 0..=n / 2 {
                let recipients: Vec<_> =
                    (0..n).rev().step_by(2).take(size as usize).map(MemberIndex).collect();
                let Partition { p1, p2, side } = dial(n, &recipients, &mut rng).expect("half at most");
                let everybody = || (0..n).map(MemberIndex);
                for key in [&p1, &p2] {
                    assert_eq!(everybody().filter(|member| key.bit(*member)).count(), n as usize / 2);
                }
                let decoys: Vec<_> = everybody()
                    .filter(|member| p1.bit(*member) != p2.bit(*member) && !recipients.contains(member))
                    .collect();
                assert_eq!(decoys.len(), recipients.len());
                assert!(
                    recipients.iter().all(|member| p1.bit(*member) == side.0 && p2.bit(*member) != side.0)
                );
                assert!(decoys.iter().all(|member| p1.bit(*member) != side.0 && p2.bit(*member) == side.0));
            }
        }
    }

    /// How often each halving of four members is dialled: at S1, at S2.
    fn halvings(recipients: &[u32], seed: u64) -> [BTreeMap<u8, u32>; 2] {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut counts = [BTreeMap::new(), BTreeMap::new()];
        for _ in 0..6000 {
            let Partition { p1, p2, .. } = dial(4, &members(recipients), &mut rng).expect("half at most");
            for (counts, key) in counts.iter_mut().zip([p1, p2]) {
                *counts.entry(key.as_bytes()[0]).or_insert(0) += 1;
            }
        }
        counts
    }

    #[test]
    fn each_halving_is_as_likely_for_one_recipient_and_for_none() {
        let seed = 7;
        for recipients in [&[][..], &[0], &[3]] {
            for counts in halvings(recipients, seed) {
                let even = counts.values().all(|count| (800..1200).contains(count));
                assert!(counts.len() == 6 && even, "seed {seed}, {recipients:?}: {counts:?}");
            }
        }
    }

    /// What Algorithm 4 does not hide.
    #[test]
    fn several_recipients_are_always_in_one_half() {
        for counts in halvings(&[1, 2], 8) {
            assert!(
                counts.into_keys().eq([0b0110, 0b1001]),
                "either half may be the recipients', but no other"
            );
        }
    }

    #[test]
    fn the_mended_receiver_adds_nothing_up_without_the_other_server() {
        for sum in Receiver::Mended.sums() {
            assert!(sum.contains(&Piece::Other));
        }
        assert!(Receiver::AsPrinted.sums().iter().any(|sum| !sum.contains(&Piece::Other)));
    }

    #[test]
    fn debug_shows_no_side() {
        let partition = dial(2, &[], &mut rand::rng()).expect("an even group");
        assert!(format!("{partition:?}").ends_with("side: Side(..) }"));
    }
}
