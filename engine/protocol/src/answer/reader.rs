//! Two answers become a verdict.
//!
//! | the XOR of both answers | verdict |
//! |---|---|
//! | the two servers name different roots | `Tampered`, every query of the round |
//! | a record signed by the sender asked for, which opens | `Accept` |
//! | the same, which does not open, or holds no message | `Ignore` |
//! | 224 zero bytes and both servers' signatures that the sender is absent | `Absent` |
//! | zeros, for a query that asks for nothing | `Ignore` |
//! | anything else, also for a query that asks for nothing | `Tampered` |
//!
//! Only `Tampered` may raise an alarm. A sender chooses what its readers see among the first three, and nobody hears of
//! it: an alarm over a record that does not open would show a server who reads it.
//!
//! Opening takes time that depends on what was read, so what a member sends next must not wait for it.

use super::record::{self, Readers, absent_signature};
use super::{FRAME_BYTES, RECORD_BYTES, RecordContext, SEALED_BYTES};
use crate::frame;
use crate::identity::{Batch, VerifyingKey};
use crate::ids::{Epoch, GroupId, MemberIndex, RoundNumber, ServerSide};
use crate::receive::Verdict;
use crate::sealed;
use rand::CryptoRng;
use std::fmt;
use zeroize::Zeroize;

/// Which round is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundContext {
    /// The group.
    pub group: GroupId,
    /// The epoch.
    pub epoch: Epoch,
    /// The round.
    pub round: RoundNumber,
    /// What S1 and S2 sign with.
    pub servers: [VerifyingKey; 2],
}

/// Whose record a query asks for. `Debug` does not show it.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The sender.
    pub sender: MemberIndex,
    /// What it signs with, as it was learned together with its key; no server is asked for it.
    pub verifying: VerifyingKey,
    /// What its records open with; none is a sender whose records this reader cannot open.
    pub readers: Option<Readers<'a>>,
}

impl fmt::Debug for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").finish_non_exhaustive()
    }
}

/// What is known of an answer before its signatures are verified.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Tampered, whatever else.
    Bad,
    /// A query without a target gave zeros.
    Nothing,
    /// One signature decides; the record opened, or not.
    Signed { opened: bool },
    /// Two signatures decide.
    Absent,
}

/// Answers of one round, verified together.
#[derive(Default)]
pub struct Reader {
    readings: Vec<Reading>,
    /// By reading: the frame that opened, or anything.
    frames: Vec<[u8; FRAME_BYTES]>,
    batch: Batch,
}

impl Reader {
    /// How many answers wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.readings.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.readings.is_empty()
    }

    /// Takes both servers' answers to one query; `target`: none for a query that asks for nothing.
    pub fn push(
        &mut self,
        context: &RoundContext,
        target: Option<&Target<'_>>,
        answers: [&[u8; RECORD_BYTES]; 2],
    ) {
        let mut sum = *answers[0];
        sum.iter_mut().zip(answers[1]).for_each(|(sum, byte)| *sum ^= byte);
        let mut frame = [0; FRAME_BYTES];
        let reading = match target {
            None if sum.iter().all(|byte| *byte == 0) => Reading::Nothing,
            None => Reading::Bad,
            Some(target) => self.read(context, target, &sum, &mut frame),
        };
        self.readings.push(reading);
        self.frames.push(frame);
        frame.zeroize();
        sum.zeroize();
    }

    fn read(
        &mut self,
        context: &RoundContext,
        target: &Target<'_>,
        sum: &[u8; RECORD_BYTES],
        plain: &mut [u8; FRAME_BYTES],
    ) -> Reading {
        let RoundContext { group, epoch, round, servers } = *context;
        let record = RecordContext { group, epoch, round, sender: target.sender };
        let absent = ServerSide::BOTH.map(|side| absent_signature(sum, side));
        if let [Some(one), Some(two)] = absent {
            for (server, signature) in servers.iter().zip([one, two]) {
                record::push_absence(&mut self.batch, &record, server, signature);
            }
            return Reading::Absent;
        }
        record::push(&mut self.batch, &record, &target.verifying, sum);
        let opens = |readers: Readers<'_>| {
            sealed::open(readers.key, &readers.associated(&record), &sum[..SEALED_BYTES], plain).is_some()
        };
        let opened = target.readers.is_some_and(opens) && frame::inspect(plain).real;
        Reading::Signed { opened }
    }

    /// Verifies all signatures and tells the verdicts, in the order in which answers were taken; then it is empty.
    /// `roots_agree`: whether both servers name the same root.
    pub fn finish(
        &mut self,
        roots_agree: bool,
        rng: &mut impl CryptoRng,
        mut tell: impl FnMut(usize, Verdict<'_>),
    ) {
        let mut valid = self.batch.verify(rng).into_iter();
        let mut next = || valid.next().unwrap_or(false);
        for (index, (reading, frame)) in self.readings.drain(..).zip(&self.frames).enumerate() {
            let verdict = match reading {
                Reading::Bad => Verdict::Tampered,
                Reading::Nothing => Verdict::Ignore,
                Reading::Signed { opened } => match (next(), opened) {
                    (false, _) => Verdict::Tampered,
                    (true, true) => Verdict::Accept(frame::message(frame)),
                    (true, false) => Verdict::Ignore,
                },
                Reading::Absent => match next() & next() {
                    true => Verdict::Absent,
                    false => Verdict::Tampered,
                },
            };
            tell(index, if roots_agree { verdict } else { Verdict::Tampered });
        }
        self.frames.zeroize();
        self.frames.clear();
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("len", &self.len()).finish_non_exhaustive()
    }
}
