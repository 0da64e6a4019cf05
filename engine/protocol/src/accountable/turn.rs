//! When headers are fetched: on a schedule that everybody keeps, whatever decoded and whatever did not, so that asking
//! shows nothing.

use crate::ids::{MemberIndex, RoundNumber};
use std::ops::RangeInclusive;

/// Whether `member` fetches headers once `round` has ended at both servers: every `header_rounds` rounds, members one after
/// the other. Never where `header_rounds` is 0, which is a group that is not accountable.
#[must_use]
pub fn is_turn(round: RoundNumber, member: MemberIndex, header_rounds: u32) -> bool {
    header_rounds > 0
        && (round.0 % u64::from(header_rounds) + u64::from(member.0)).is_multiple_of(header_rounds.into())
}

/// The rounds whose headers may be asked for at a turn in `round`: the last `2 header_rounds`, so that every round is in
/// the range of two turns of each member.
#[must_use]
pub fn fetchable(round: RoundNumber, header_rounds: u32) -> RangeInclusive<RoundNumber> {
    let behind = (2 * u64::from(header_rounds)).saturating_sub(1);
    RoundNumber(round.0.saturating_sub(behind).max(1))..=round
}

/// How many rounds a server keeps what it needs for headers: those that may be asked for, and two more for clients that
/// are behind.
#[must_use]
pub fn rounds_kept(header_rounds: u32) -> usize {
    2 * header_rounds as usize + 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_has_one_turn_in_header_rounds_and_every_round_is_in_two() {
        for header_rounds in 1..=9_u32 {
            for member in (0..20).map(MemberIndex) {
                let is_turn = |round: u64| is_turn(RoundNumber(round), member, header_rounds);
                for first in 1..40_u64 {
                    let window = first..first + u64::from(header_rounds);
                    assert_eq!(window.filter(|round| is_turn(*round)).count(), 1);
                    let asked = (first..first + 100).filter(|round| is_turn(*round)).filter(|round| {
                        fetchable(RoundNumber(*round), header_rounds).contains(&RoundNumber(first))
                    });
                    assert_eq!(asked.count(), 2, "round {first}, every {header_rounds}");
                }
            }
        }
    }

    #[test]
    fn groups_that_are_not_accountable_have_no_turns_and_numbers_at_the_end_do_not_overflow() {
        assert!(!is_turn(RoundNumber(1), MemberIndex(0), 0));
        let _ = is_turn(RoundNumber(u64::MAX), MemberIndex(u32::MAX), u32::MAX);
        assert_eq!(fetchable(RoundNumber(3), 8), RoundNumber(1)..=RoundNumber(3));
        assert_eq!(fetchable(RoundNumber(30), 8), RoundNumber(15)..=RoundNumber(30));
        assert_eq!(rounds_kept(8), 18);
    }
}
