//! Two answers become a verdict.
//!
//! | the XOR of both answers | verdict |
//! |---|---|
//! | the two servers name different roots, or different senders as absent | `Tampered`, every query of the round |
//! | zeros, and the sender asked for is listed as absent | `Absent` |
//! | zeros, for a query that asks for nothing | `Ignore` |
//! | a record signed by the sender asked for, who is not listed, which opens | `Accept` |
//! | the same, which does not open, or holds no message | `Ignore` |
//! | anything else | `Tampered` |
//!
//! Only `Tampered` may raise an alarm. A sender chooses what its readers see among `Accept` and `Ignore`, and nobody hears
//! of it: an alarm over a record that does not open would show a server who reads it. And for each place of the table
//! there is one thing alone that a reader takes without an alarm and that one server can write there: zeros if the sender
//! is listed, the sender's record if not. If there were two, a server could write the other one, and see who stays quiet.
//!
//! Opening takes time that depends on what was read, so what a member sends next must not wait for it.

use super::record::{self, Readers};
use super::{FRAME_BYTES, RECORD_BYTES, RecordContext, SEALED_BYTES};
use crate::frame;
use crate::identity::{Batch, VerifyingKey};
use crate::ids::{Epoch, GroupId, MemberIndex, RoundNumber};
use crate::receive::Verdict;
use crate::sealed;
use rand::CryptoRng;
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// Which round is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundContext {
    /// The group.
    pub group: GroupId,
    /// The epoch.
    pub epoch: Epoch,
    /// The round.
    pub round: RoundNumber,
}

/// Whose record a query asks for. `Debug` does not show it.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The sender.
    pub sender: MemberIndex,
    /// Whether both servers list it as absent in this round.
    pub absent: bool,
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

/// What is known of an answer before its signature is verified.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Tampered, whatever else.
    Bad,
    /// Zeros, for a query without a target.
    Nothing,
    /// Zeros, for a target that is listed.
    Absent,
    /// Its signature decides; the record opened, or not.
    Signed { opened: bool },
}

/// Answers of one round, verified together.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "a vector that grows leaves a copy behind of what lies in it")]
pub struct Reader {
    readings: Vec<Reading>,
    /// By reading: the frame that opened, or anything. Each where it is, so that none is copied when there are more.
    frames: Vec<Box<Zeroizing<[u8; FRAME_BYTES]>>>,
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
        let zeros = sum.iter().all(|byte| *byte == 0);
        let mut frame = Box::new(Zeroizing::new([0; FRAME_BYTES]));
        let reading = match target {
            None if zeros => Reading::Nothing,
            Some(target) if target.absent && zeros => Reading::Absent,
            Some(target) if !target.absent => self.read(context, target, &sum, &mut frame),
            _ => Reading::Bad,
        };
        self.readings.push(reading);
        self.frames.push(frame);
        sum.zeroize();
    }

    fn read(
        &mut self,
        context: &RoundContext,
        target: &Target<'_>,
        sum: &[u8; RECORD_BYTES],
        plain: &mut [u8; FRAME_BYTES],
    ) -> Reading {
        let RoundContext { group, epoch, round } = *context;
        let record = RecordContext { group, epoch, round, sender: target.sender };
        record::push(&mut self.batch, &record, &target.verifying, sum);
        let opens = |readers: Readers<'_>| {
            let (key, associated) = (readers.epoch_key(&record), readers.associated(&record));
            sealed::open(&key, &associated, &sum[..SEALED_BYTES], plain).is_some()
        };
        let opened = target.readers.is_some_and(opens) && frame::inspect(plain).real;
        Reading::Signed { opened }
    }

    /// Verifies all signatures and tells the verdicts, in the order in which answers were taken; then it is empty.
    /// `servers_agree`: whether both servers name the same root and the same absent senders.
    pub fn finish(
        &mut self,
        servers_agree: bool,
        rng: &mut impl CryptoRng,
        mut tell: impl FnMut(usize, Verdict<'_>),
    ) {
        let mut valid = self.batch.verify(rng).into_iter();
        let mut next = || valid.next().unwrap_or(false);
        for (index, (reading, frame)) in self.readings.drain(..).zip(&self.frames).enumerate() {
            let verdict = match reading {
                Reading::Bad => Verdict::Tampered,
                Reading::Nothing => Verdict::Ignore,
                Reading::Absent => Verdict::Absent,
                Reading::Signed { opened } => match (next(), opened) {
                    (false, _) => Verdict::Tampered,
                    (true, true) => Verdict::Accept(frame::message(&frame[..])),
                    (true, false) => Verdict::Ignore,
                },
            };
            tell(index, if servers_agree { verdict } else { Verdict::Tampered });
        }
        self.frames.clear();
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("len", &self.len()).finish_non_exhaustive()
    }
}
