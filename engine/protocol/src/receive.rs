//! Receiving in the compact profile: two cells become a verdict.
//!
//! `V = cell from S1 ^ cell from S2` is the message's codeword, a dummy's, or something that somebody altered.
//! The five verdicts are all there is, and none of them may be answered at once: what a member does next must
//! not show which one it was. `Ignore` takes the same steps as `Accept`.
//!
//! [`open`] decodes one pair of cells; [`BatchOpener`] the cells of up to 64 consecutive senders, which is how
//! they arrive. Both give the same verdicts.

mod batch;

use std::fmt;

pub use batch::{BatchOpener, Expected, TILE_SENDERS, TileCells, Verdicts};

use crate::codeword;
use crate::context::Context;
use crate::frame::{self, FrameBytes};

/// What became of one sender's slot in one round.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// A message for this member: right tag, well-formed real frame, and (with confirmation) b1 != b2.
    Accept(&'a [u8]),
    /// A dummy: right tag, and (with confirmation) b1 = b2.
    Ignore,
    /// Anything else that is there: wrong tag, malformed frame, a kind that disagrees with the confirmed bits,
    /// a confirmation that failed, a wrong length or context.
    Tampered,
    /// Both servers say that the sender did not submit.
    Absent,
    /// One server has it and the other has not.
    Incomplete,
}

impl fmt::Debug for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Accept(_) => "Accept(..)",
            Verdict::Ignore => "Ignore",
            Verdict::Tampered => "Tampered",
            Verdict::Absent => "Absent",
            Verdict::Incomplete => "Incomplete",
        })
    }
}

/// What the bit confirmation said about one sender's slot in this epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// The group has no bit confirmation: a right tag decides alone.
    Unconfirmed,
    /// b1 != b2: this slot is for me.
    Real,
    /// b1 = b2: it is not.
    Dummy,
    /// The confirmation is missing or does not decode: every cell that is there is `Tampered`.
    Failed,
}

/// Decodes one pair of cells; `None` is a server's word that the sender did not submit.
///
/// `scratch` receives `V`; an accepted message lies in it.
///
/// # Panics
///
/// When `scratch` is shorter than L = `size.share_bytes()` bytes. No content or length of a cell panics.
pub fn open<'a>(
    size: FrameBytes,
    context: &Context,
    share1: Option<&[u8]>,
    share2: Option<&[u8]>,
    expectation: Expectation,
    scratch: &'a mut [u8],
) -> Verdict<'a> {
    let (share1, share2) = match (share1, share2) {
        (Some(share1), Some(share2)) => (share1, share2),
        (None, None) => return Verdict::Absent,
        _ => return Verdict::Incomplete,
    };
    let codeword = &mut scratch[..size.share_bytes()];
    if share1.len() != codeword.len() || share2.len() != codeword.len() {
        return Verdict::Tampered;
    }
    for (sum, (byte1, byte2)) in codeword.iter_mut().zip(share1.iter().zip(share2)) {
        *sum = byte1 ^ byte2;
    }
    let tag_right = codeword::verify(size, context, codeword);
    let frame = &codeword[..size.bytes()];
    let shape = frame::inspect(frame);
    let (may_be_real, may_be_dummy) = match expectation {
        Expectation::Unconfirmed => (true, true),
        Expectation::Real => (true, false),
        Expectation::Dummy => (false, true),
        Expectation::Failed => (false, false),
    };
    if tag_right & shape.real & may_be_real {
        Verdict::Accept(frame::message(frame))
    } else if tag_right & shape.dummy & may_be_dummy {
        Verdict::Ignore
    } else {
        Verdict::Tampered
    }
}
