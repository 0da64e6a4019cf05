//! Answer delivery: what members send and read, and what the two servers agree on, where n x n shares are too many.
//!
//! Each member hands both servers the same *record* in every round; both have the same table of n records. A reader's
//! query is a bit vector over that table, of which each server has one that looks random, and the two differ in the one
//! record that the reader wants (Chor, Goldreich, Kushilevitz, Sudan 1995). Each server answers with the XOR of the
//! records that its vector selects; the XOR of both answers is the record. Queries are dialled once an epoch, as session
//! keys are ([`session_key::dial`](crate::session_key::dial) with at most one recipient), and answered in every round.
//!
//! ```text
//! record   sealed frame (272 + 16 bytes) | signature of its sender (64)                              352 bytes
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`record`] | one member's record of a round, and what servers sign of one who is absent |
//! | [`table`] | digests of records, and the hash tree over a table |
//! | [`reader`] | two answers become a verdict |
//!
//! What one server may learn: nothing of a query's target from its vector alone, whatever it computes. From a reader's
//! alarm nothing either, since whatever one server changes reaches all targets alike, unless a *sender* helps it with two
//! signed records of one round. And nothing from time: a client sends on before it opens what it read.

pub mod reader;
pub mod record;
pub mod table;

use crate::frame::FrameBytes;
use crate::identity::SIGNATURE_BYTES;
use crate::ids::{Epoch, GroupId, MemberIndex, RoundNumber};
use crate::sealed::SEAL_OVERHEAD_BYTES;

/// Bytes of the frame inside a record.
pub const FRAME_BYTES: usize = 272;
/// Bytes of a sealed frame.
pub const SEALED_BYTES: usize = FRAME_BYTES + SEAL_OVERHEAD_BYTES;
/// Bytes of a record.
pub const RECORD_BYTES: usize = SEALED_BYTES + SIGNATURE_BYTES;
/// What stands in the table for a member who is absent. Every reader is told who is.
pub const ABSENT: [u8; RECORD_BYTES] = [0; RECORD_BYTES];

const _: () = assert!(RECORD_BYTES == 352);

/// The longest message of a record, in bytes.
#[must_use]
pub fn message_bytes_max() -> usize {
    frame_bytes().message_bytes_max()
}

/// The frame inside a record.
#[must_use]
pub fn frame_bytes() -> FrameBytes {
    FrameBytes::new(FRAME_BYTES as u32).expect("a multiple of 16")
}

/// Which record it is: what its signature is bound to, and not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordContext {
    /// The group.
    pub group: GroupId,
    /// The epoch, whose members `sender` counts among.
    pub epoch: Epoch,
    /// The round.
    pub round: RoundNumber,
    /// Whose record.
    pub sender: MemberIndex,
}

/// Bytes of a context: group u32, epoch u32, round u64, sender u32, little-endian.
const CONTEXT_BYTES: usize = 20;

impl RecordContext {
    fn bytes(&self) -> [u8; CONTEXT_BYTES] {
        let mut bytes = [0; CONTEXT_BYTES];
        bytes[0..4].copy_from_slice(&self.group.0.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.epoch.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.round.0.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.sender.0.to_le_bytes());
        bytes
    }
}
