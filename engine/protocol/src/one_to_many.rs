//! Different messages to several members in one round (Bowers et al. 2022, 5.4.2): the group is dealt into
//! disjoint subgroups, each with one recipient or, as noise, with none, and each subgroup is an independent
//! dial over its own members.
//!
//! Every member still gets one share for the sender from each server. What it costs: both servers see how
//! many subgroups there are (noise hides only how many of them have a recipient), and each recipient's
//! anonymity set is its subgroup. With more recipients than other members some are alone in theirs.

use std::fmt;

use rand::CryptoRng;
use zeroize::{Zeroize, Zeroizing};

use crate::error::ProtocolError;
use crate::ids::MemberIndex;
use crate::paper::draw::shuffle;

/// One subgroup of a round.
#[derive(Clone, PartialEq, Eq)]
pub struct Subgroup {
    /// Its members, ascending. A member's position is its index in the subgroup's dial.
    pub members: Vec<MemberIndex>,
    /// Which of the round's messages is for a member of it; none for noise.
    pub message: Option<usize>,
    /// The recipient's position in `members`.
    pub recipient: Option<MemberIndex>,
}

impl fmt::Debug for Subgroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subgroup").field("members", &self.members.len()).finish_non_exhaustive()
    }
}

impl Drop for Subgroup {
    fn drop(&mut self) {
        self.members.iter_mut().for_each(|member| member.0.zeroize());
        self.message.zeroize();
        if let Some(recipient) = &mut self.recipient {
            recipient.0.zeroize();
        }
    }
}

/// Deals a group of `members` into one subgroup for each of `recipients` and `noise` more: the others,
/// shuffled, go round the subgroups in turn, the recipients' first; then the subgroups change places.
///
/// # Errors
///
/// [`ProtocolError::Subgroups`] when there would be none, or more than members;
/// [`ProtocolError::RecipientOutOfRange`]; [`ProtocolError::RepeatedRecipient`]. All before anything is
/// drawn.
pub fn deal(
    members: u32,
    recipients: &[MemberIndex],
    noise: u16,
    rng: &mut impl CryptoRng,
) -> Result<Vec<Subgroup>, ProtocolError> {
    let count = recipients.len() + usize::from(noise);
    if !(1..=members as usize).contains(&count) {
        return Err(ProtocolError::Subgroups { subgroups: count, subgroups_max: members });
    }
    let mut is_recipient = Zeroizing::new(vec![false; members as usize]);
    for &recipient in recipients {
        match is_recipient.get_mut(recipient.0 as usize) {
            None => return Err(ProtocolError::RecipientOutOfRange { recipient, members }),
            Some(true) => return Err(ProtocolError::RepeatedRecipient { recipient }),
            Some(seen) => *seen = true,
        }
    }
    let mut others = Zeroizing::new(Vec::with_capacity(members as usize));
    others.extend((0..members).filter(|member| !is_recipient[*member as usize]));
    shuffle(&mut others, rng);

    let most = others.len().div_ceil(count) + 1;
    let mut subgroups: Vec<_> = (0..count)
        .map(|index| {
            let mut members = Vec::with_capacity(most);
            members.extend(recipients.get(index));
            members.extend(others.iter().skip(index).step_by(count).map(|member| MemberIndex(*member)));
            members.sort_unstable();
            let position = recipients.get(index).and_then(|recipient| members.binary_search(recipient).ok());
            Subgroup {
                members,
                message: position.map(|_| index),
                recipient: position.map(|position| MemberIndex(position as u32)),
            }
        })
        .collect();
    shuffle(&mut subgroups, rng);
    Ok(subgroups)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn everybody_is_dealt_once_and_sizes_are_as_even_as_they_can_be() {
        let mut rng = StdRng::seed_from_u64(3);
        for members in 1..40 {
            for kappa in 0..=members.min(6) {
                for noise in u16::from(kappa == 0)..=(members - kappa).min(4) as u16 {
                    let recipients: Vec<_> =
                        (0..kappa).map(|index| MemberIndex(members - 1 - index)).collect();
                    let subgroups = deal(members, &recipients, noise, &mut rng).expect("within bounds");
                    assert_eq!(subgroups.len(), recipients.len() + usize::from(noise));
                    let mut dealt: Vec<_> = subgroups.iter().flat_map(|subgroup| &subgroup.members).collect();
                    dealt.sort_unstable();
                    assert!(dealt.into_iter().copied().eq((0..members).map(MemberIndex)));

                    let mut messages: Vec<_> =
                        subgroups.iter().filter_map(|subgroup| subgroup.message).collect();
                    messages.sort_unstable();
                    assert!(messages.into_iter().eq(0..recipients.len()));
                    let others = (members - kappa) as usize;
                    let least = others / subgroups.len();
                    for subgroup in &subgroups {
                        assert!(subgroup.members.is_sorted());
                        assert_eq!(subgroup.message.is_some(), subgroup.recipient.is_some());
                        if let (Some(message), Some(recipient)) = (subgroup.message, subgroup.recipient) {
                            assert_eq!(subgroup.members[recipient.0 as usize], recipients[message]);
                        }
                        let others = subgroup.members.len() - usize::from(subgroup.message.is_some());
                        assert!((least..=least + 1).contains(&others));
                    }
                }
            }
        }
    }

    #[test]
    fn a_member_is_as_likely_in_every_subgroup() {
        let seed = 5;
        let mut rng = StdRng::seed_from_u64(seed);
        let mut counts = [[0; 3]; 9];
        for _ in 0..3000 {
            let subgroups = deal(9, &[MemberIndex(4), MemberIndex(0)], 1, &mut rng).expect("within bounds");
            for (index, subgroup) in subgroups.iter().enumerate() {
                subgroup.members.iter().for_each(|member| counts[member.0 as usize][index] += 1);
            }
        }
        let even = counts.iter().flatten().all(|count| (850..1150).contains(count));
        assert!(even, "seed {seed}: {counts:?}");
    }

    #[test]
    fn debug_shows_no_recipient() {
        let subgroups = deal(1, &[MemberIndex(0)], 0, &mut rand::rng()).expect("within bounds");
        assert_eq!(format!("{subgroups:?}"), "[Subgroup { members: 1, .. }]");
    }
}
