//! The works of a group that any thread may do: signatures verified and made, records looked at.
//!
//! Nothing here waits, and nothing remembers: a work and what the group signs with go in, what was done comes out.

use super::work::{Done, Rows, Setup, Work, bits};
use crate::limits::TILE_SENDERS;
use crate::roster::Roster;
use rand::CryptoRng;
use std::sync::Arc;
use twincast_protocol::answer::record;
use twincast_protocol::answer::table::{Digest, NO_DIGEST, digest, tree_hash};
use twincast_protocol::answer::{ABSENT, RECORD_BYTES, RecordContext};
use twincast_protocol::identity::{Batch, SIGNATURE_BYTES, VerifyingKey};
use twincast_protocol::ids::{Epoch, MemberIndex, RoundNumber};

/// Does a work, unless it is one on the table of a round, which belongs to the threads' parts.
///
/// # Panics
/// Somebody else holds the rows that were given away.
pub fn perform(work: Work, setup: &Setup, rng: &mut impl CryptoRng) -> Option<Done> {
    match work {
        Work::Verify { round, roster, rows, senders, .. } => {
            let mut verifying = Verifying::default();
            verifying.push(setup, round, &roster, rows, senders);
            verifying.finish(rng).pop()
        }
        Work::SignAbsences { round, epoch, tile, senders } => {
            let context = |sender| context(setup, epoch, round, tile, sender);
            let sign = |sender| record::sign_absence(&context(sender), &setup.signing);
            Some(Done::AbsencesSigned { round, tile, senders, signatures: bits(senders).map(sign).collect() })
        }
        Work::Fill { round, epoch, rows, absent, signatures } => {
            Some(fill(setup, round, epoch, rows, absent, &signatures, rng))
        }
        Work::Judge { round, roster, tile, senders, shown, digests } => {
            let shown = shown.iter().zip(&digests);
            let signed_two = judge(setup, round, &roster, tile, senders, shown, rng);
            let false_shown = senders & !signed_two;
            Some(Done::Judged { round, roster, tile, signed_two, false_shown })
        }
        Work::Open { .. } | Work::Close | Work::Add { .. } | Work::Finish { .. } | Work::Abandon { .. } => {
            None
        }
    }
}

/// Tiles whose signatures are verified together, of any groups and rounds: each signature costs the less, the more there
/// are.
#[derive(Debug, Default)]
pub struct Verifying {
    batch: Batch,
    tiles: Vec<Pending>,
}

#[derive(Debug)]
struct Pending {
    round: RoundNumber,
    rows: Arc<Rows>,
    senders: u64,
    /// Those whose signature is in the batch: the others have no key.
    known: u64,
}

impl Verifying {
    /// How many signatures wait.
    #[must_use]
    pub fn signatures(&self) -> usize {
        self.batch.len()
    }

    /// Whether no tile waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tiles.is_empty()
    }

    /// Adds what [`Work::Verify`] asks for. A sender without a verifying key has no valid record.
    pub fn push(
        &mut self,
        setup: &Setup,
        round: RoundNumber,
        roster: &Roster,
        rows: Arc<Rows>,
        senders: u64,
    ) {
        let mut known = 0;
        for sender in bits(senders) {
            if let Some(key) = key(setup, roster, rows.tile, sender) {
                let context = context(setup, roster.epoch(), round, rows.tile, sender);
                record::push(&mut self.batch, &context, &key, &rows.records[sender]);
                known |= 1 << sender;
            }
        }
        self.tiles.push(Pending { round, rows, senders, known });
    }

    /// Verifies all, and says what was found tile by tile, in the order in which they were added. Then none waits.
    ///
    /// # Panics
    /// Somebody else holds the rows of a tile.
    pub fn finish(&mut self, rng: &mut impl CryptoRng) -> Vec<Done> {
        let mut verdicts = self.batch.verify(rng).into_iter();
        let done = self.tiles.drain(..).map(|Pending { round, mut rows, senders, known }| {
            let verdicts = verdicts.by_ref().take(known.count_ones() as usize);
            let valid =
                bits(known).zip(verdicts).fold(0, |valid, (sender, good)| valid | u64::from(good) << sender);
            let all = Arc::get_mut(&mut rows).expect("rows that are verified are nobody else's");
            bits(senders & !valid).for_each(|sender| all.records[sender].fill(0));
            let digest_of = |sender: usize| match valid >> sender & 1 {
                1 => digest(&rows.records[sender]),
                _ => NO_DIGEST,
            };
            let digests: Vec<Digest> = (0..rows.senders).map(digest_of).collect();
            let hash = tree_hash(&digests);
            Done::Verified { round, rows, valid, digests, hash }
        });
        done.collect()
    }
}

/// Clears the rows of the absent, once the other server's word that they are is known to be its own.
fn fill(
    setup: &Setup,
    round: RoundNumber,
    epoch: Epoch,
    mut rows: Arc<Rows>,
    absent: u64,
    signatures: &[[u8; SIGNATURE_BYTES]],
    rng: &mut impl CryptoRng,
) -> Done {
    assert_eq!(absent.count_ones() as usize, signatures.len(), "a signature for each");
    let mut batch = Batch::default();
    let all = Arc::get_mut(&mut rows).expect("rows that are filled are nobody else's");
    for (sender, signature) in bits(absent).zip(signatures) {
        let context = context(setup, epoch, round, all.tile, sender);
        record::push_absence(&mut batch, &context, &setup.peer, signature);
        // Also one that came to this server alone, or that was here rounds ago.
        all.records[sender] = ABSENT;
    }
    let agreed = batch.verify(rng).into_iter().all(|valid| valid);
    let hash = agreed.then(|| {
        let digests: Vec<Digest> = rows.records[..rows.senders].iter().map(digest).collect();
        tree_hash(&digests)
    });
    Done::Filled { round, rows, hash }
}

/// Who of `senders` signed what the other server shows of them, and had announced: these signed two records, since this
/// server has another one.
fn judge<'a>(
    setup: &Setup,
    round: RoundNumber,
    roster: &Roster,
    tile: usize,
    senders: u64,
    shown: impl Iterator<Item = (&'a [u8; RECORD_BYTES], &'a Digest)>,
    rng: &mut impl CryptoRng,
) -> u64 {
    let mut batch = Batch::default();
    let mut as_said = 0_u64;
    for (sender, (record, said)) in bits(senders).zip(shown) {
        if let Some(key) = key(setup, roster, tile, sender).filter(|_| digest(record) == *said) {
            record::push(&mut batch, &context(setup, roster.epoch(), round, tile, sender), &key, record);
            as_said |= 1 << sender;
        }
    }
    let valid = batch.verify(rng);
    bits(as_said).zip(valid).fold(0, |signed, (sender, valid)| signed | u64::from(valid) << sender)
}

fn context(setup: &Setup, epoch: Epoch, round: RoundNumber, tile: usize, sender: usize) -> RecordContext {
    let sender = MemberIndex((tile * TILE_SENDERS + sender) as u32);
    RecordContext { group: setup.group, epoch, round, sender }
}

fn key(setup: &Setup, roster: &Roster, tile: usize, sender: usize) -> Option<VerifyingKey> {
    let user = roster.user(MemberIndex((tile * TILE_SENDERS + sender) as u32))?;
    setup.members.key(user)
}

#[cfg(test)]
#[path = "perform_tests.rs"]
mod tests;
