//! What users of accountable groups got against servers and senders: how often, against whom, and some of it whole.
//!
//! A host judges every piece as it comes, and what it counts against somebody is complete, however much there is. Files are
//! kept of a few: of what blames somebody before what blames nobody, and of each verdict once before any comes twice. So
//! evidence that says nothing cannot push out what convicts, and no accused can push out another.

use crate::limits::EVIDENCE_KEPT_MAX;
use serde::{Deserialize, Serialize};

/// Who can be blamed, in the order of [`Evidence::against`].
pub(crate) const ACCUSED: [&str; 3] = ["S1", "S2", "users"];

/// Evidence of accountable groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// How often it came.
    pub pieces: u64,
    /// How often against S1, against S2, and against one of the users. The others blame nobody.
    pub against: [u64; 3],
    /// At most [`EVIDENCE_KEPT_MAX`] of them.
    pub kept: Vec<EvidencePiece>,
}

/// One piece of evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidencePiece {
    /// Whom it is against, and why, as `twincast-client blame` says it.
    pub verdict: String,
    /// Whether it is against S1 or S2 (1, 2), or one of the users (0); none: it blames nobody.
    pub against: Option<u8>,
    /// The file, as `twincast-client blame` reads it.
    pub file: String,
}

/// The place in [`ACCUSED`] of whom a piece is against; none of who is none of them.
pub(crate) fn accused(against: Option<u8>) -> Option<usize> {
    match against? {
        server @ (1 | 2) => Some(usize::from(server) - 1),
        0 => Some(2),
        _ => None,
    }
}

impl Evidence {
    /// One more piece.
    pub fn push(&mut self, piece: EvidencePiece) {
        self.pieces += 1;
        if let Some(accused) = accused(piece.against) {
            self.against[accused] += 1;
        }
        self.keep(piece);
    }

    /// Adds another host's, or another connection's.
    pub fn add(&mut self, other: &Evidence) {
        self.pieces += other.pieces;
        self.against.iter_mut().zip(other.against).for_each(|(all, more)| *all += more);
        other.kept.iter().for_each(|piece| self.keep(piece.clone()));
    }

    /// Keeps a piece, or what it is worth more than.
    fn keep(&mut self, piece: EvidencePiece) {
        self.kept.push(piece);
        if self.kept.len() > EVIDENCE_KEPT_MAX {
            let least = (0..self.kept.len()).max_by_key(|place| self.dispensable(*place));
            self.kept.remove(least.expect("there are some"));
        }
    }

    /// How little is lost with a kept piece: how often its verdict is there before it, whether it blames nobody, how often
    /// its accused is there before it, and its place.
    fn dispensable(&self, place: usize) -> (usize, bool, usize, usize) {
        let (piece, before) = (&self.kept[place], &self.kept[..place]);
        let same = before.iter().filter(|one| one.verdict == piece.verdict).count();
        let accused = before.iter().filter(|one| one.against == piece.against).count();
        (same, piece.against.is_none(), accused, place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(against: Option<u8>, verdict: &str) -> EvidencePiece {
        EvidencePiece { verdict: verdict.into(), against, file: "{}".into() }
    }

    fn kept(evidence: &Evidence, against: Option<u8>) -> usize {
        evidence.kept.iter().filter(|piece| piece.against == against).count()
    }

    #[test]
    fn what_blames_nobody_pushes_out_nothing_that_convicts() {
        for same in [true, false] {
            let mut all = Evidence::default();
            for number in 0..100 {
                let verdict = if same { "nobody".into() } else { format!("nobody, for reason {number}") };
                all.push(piece(None, &verdict));
            }
            all.push(piece(Some(2), "S2 is at fault"));
            assert_eq!((all.pieces, all.against), (101, [0, 1, 0]));
            assert_eq!((all.kept.len(), kept(&all, Some(2))), (EVIDENCE_KEPT_MAX, 1), "same: {same}");
        }
    }

    #[test]
    fn each_verdict_is_kept_once_before_any_comes_twice_and_each_accused_is_there() {
        let mut all = Evidence::default();
        for user in 0..40 {
            all.push(piece(Some(0), &format!("user {user} is at fault")));
            all.push(piece(None, "nobody"));
        }
        (0..40).for_each(|_| all.push(piece(Some(1), "S1 is at fault")));
        assert_eq!((all.pieces, all.against), (120, [40, 0, 40]));
        assert_eq!((kept(&all, Some(0)), kept(&all, Some(1)), kept(&all, None)), (15, 1, 0));
        let mut twice = Evidence::default();
        (0..40).for_each(|_| twice.push(piece(Some(1), "S1 is at fault")));
        twice.push(piece(None, "nobody"));
        assert_eq!(
            (kept(&twice, Some(1)), kept(&twice, None)),
            (15, 1),
            "a second sentence says more than a 16th copy"
        );
    }

    #[test]
    fn hosts_are_added_up_whichever_comes_first() {
        let mut idle = Evidence::default();
        (0..EVIDENCE_KEPT_MAX).for_each(|_| idle.push(piece(None, "nobody")));
        let mut one = Evidence::default();
        one.push(piece(Some(1), "S1 is at fault"));
        for order in [[&idle, &one], [&one, &idle]] {
            let mut all = Evidence::default();
            order.into_iter().for_each(|host| all.add(host));
            assert_eq!((all.pieces, all.against), (EVIDENCE_KEPT_MAX as u64 + 1, [1, 0, 0]));
            assert_eq!((all.kept.len(), kept(&all, Some(1))), (EVIDENCE_KEPT_MAX, 1));
        }
    }
}
