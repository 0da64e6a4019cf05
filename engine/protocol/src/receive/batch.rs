//! One member's cells of one tile, decoded together.

use std::fmt;

use zeroize::Zeroize;

use crate::clmul::{ABREAST, Arithmetic, Polynomial};
use crate::codeword;
use crate::context::Context;
use crate::frame::{self, FrameBytes};

/// The most consecutive senders of one slot that are decoded together: a tile.
pub const TILE_SENDERS: usize = 64;

/// What both servers delivered to one member for `count` consecutive senders of one slot.
///
/// Bit i of a mask is the sender `first + i`; bits from `count` on mean nothing.
#[derive(Clone, Copy)]
pub struct TileCells<'a> {
    /// How many senders, at most [`TILE_SENDERS`].
    pub count: usize,
    /// The cells from S1 and from S2, `count * L` bytes each, senders ascending. Cells of absent senders hold
    /// anything.
    pub cells: [&'a [u8]; 2],
    /// The `present` words of S1 and of S2.
    pub present: [u64; 2],
}

impl TileCells<'_> {
    /// The senders that there are.
    pub(crate) fn senders(&self) -> u64 {
        assert!(self.count <= TILE_SENDERS, "{} senders in a tile", self.count);
        1u64.checked_shl(self.count as u32).map_or(u64::MAX, |above| above - 1)
    }

    /// The verdicts where these senders' cells, as far as both servers have them, are a message and a dummy: what else
    /// both have is tampered with.
    #[inline]
    pub(crate) fn judge(&self, accept: u64, ignore: u64) -> Verdicts {
        let senders = self.senders();
        let [present1, present2] = self.present;
        let both = present1 & present2 & senders;
        Verdicts {
            accept: both & accept,
            ignore: both & ignore,
            tampered: both & !(accept | ignore),
            absent: !(present1 | present2) & senders,
            incomplete: (present1 ^ present2) & senders,
        }
    }

    /// The cells of both servers, or none where a server's are not `count` times `cell_bytes`.
    pub(crate) fn sized(&self, cell_bytes: usize) -> Option<[&[u8]; 2]> {
        let bytes = self.count * cell_bytes;
        self.cells.iter().all(|cells| cells.len() == bytes).then_some(self.cells)
    }
}

impl fmt::Debug for TileCells<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TileCells")
            .field("count", &self.count)
            .field("present", &self.present)
            .finish_non_exhaustive()
    }
}

/// What the bit confirmations of a tile's senders said; see [`Expectation`](super::Expectation).
/// `Debug` shows no confirmed bit.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Expected {
    /// Whether the group has bit confirmation. If not, the masks mean nothing.
    pub confirmed: bool,
    /// Senders whose confirmed bits differ: their slot is for this member.
    pub real: u64,
    /// Senders whose confirmation is missing or did not decode.
    pub failed: u64,
}

impl Expected {
    /// A group without bit confirmation.
    pub const UNCONFIRMED: Expected = Expected { confirmed: false, real: 0, failed: 0 };

    /// The senders whose slot may be for this member, and those whose may not be. Without confirmation each may be
    /// either, and where it failed neither.
    #[inline]
    pub(crate) fn may_be(self) -> (u64, u64) {
        match self.confirmed {
            true => (self.real & !self.failed, !self.real & !self.failed),
            false => (u64::MAX, u64::MAX),
        }
    }
}

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expected")
            .field("confirmed", &self.confirmed)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// The verdicts on a tile's senders: each of the `count` bits is set in exactly one mask, the others in none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// Messages for this member, to be had from [`BatchOpener::message`].
    pub accept: u64,
    /// Dummies.
    pub ignore: u64,
    /// Anything else that both servers delivered.
    pub tampered: u64,
    /// Neither server has it.
    pub absent: u64,
    /// One server has it and the other has not.
    pub incomplete: u64,
}

/// Decodes one member's cells, a tile at a time, without an allocation per tile.
pub struct BatchOpener {
    size: FrameBytes,
    arithmetic: Arithmetic,
    /// The XORed cells of a tile. Holds plaintext: wiped on drop, not shown by `Debug`.
    scratch: Box<[u8]>,
    accepted: u64,
}

/// What the codewords of a tile are, before presence and confirmation are looked at.
#[derive(Default)]
struct Decoded {
    real: u64,
    dummy: u64,
}

impl BatchOpener {
    /// An opener for a group's cells, with the fastest arithmetic that this CPU has.
    #[must_use]
    pub fn new(size: FrameBytes) -> BatchOpener {
        BatchOpener::with_arithmetic(size, Arithmetic::detect())
    }

    /// An opener with the given arithmetic: for tests and benchmarks.
    #[must_use]
    pub fn with_arithmetic(size: FrameBytes, arithmetic: Arithmetic) -> BatchOpener {
        let scratch = vec![0; TILE_SENDERS * size.share_bytes()].into_boxed_slice();
        BatchOpener { size, arithmetic, scratch, accepted: 0 }
    }

    /// Decodes the cells of `tile`. `base` is the context of its first sender; the others differ from it in
    /// the sender alone.
    ///
    /// If a server's cells are not `count * L` bytes, what both servers have is `Tampered`. Takes the same
    /// steps whatever the cells hold.
    ///
    /// # Panics
    ///
    /// When `tile.count` is over [`TILE_SENDERS`].
    pub fn open(&mut self, base: &Context, tile: &TileCells<'_>, expected: Expected) -> Verdicts {
        let decoded = match tile.sized(self.size.share_bytes()) {
            Some(cells) => self.decode(base, cells),
            None => Decoded::default(),
        };
        let (may_be_real, may_be_dummy) = expected.may_be();
        let verdicts = tile.judge(decoded.real & may_be_real, decoded.dummy & may_be_dummy);
        self.accepted = verdicts.accept;
        verdicts
    }

    /// The message of a sender that the last [`open`](BatchOpener::open) accepted, by its position in the tile.
    ///
    /// # Panics
    ///
    /// When it was not accepted.
    #[must_use]
    pub fn message(&self, sender_in_tile: usize) -> &[u8] {
        let accepted = sender_in_tile < TILE_SENDERS && self.accepted >> sender_in_tile & 1 == 1;
        assert!(accepted, "sender {sender_in_tile} of the tile was not accepted");
        let codeword = &self.scratch[sender_in_tile * self.size.share_bytes()..][..self.size.share_bytes()];
        frame::message(&codeword[..self.size.bytes()])
    }

    /// XORs the cells into the scratch, a batch of codewords at a time while they are in the cache, and reads
    /// them. Positions from `count` on get what an earlier tile left there.
    fn decode(&mut self, base: &Context, [cells1, cells2]: [&[u8]; 2]) -> Decoded {
        let cell_bytes = self.size.share_bytes();
        let mut polynomial = Polynomial::new(self.size, base.blocks(), 1);
        let mut decoded = Decoded::default();
        let batch_bytes = ABREAST * cell_bytes;
        let batches = self.scratch.chunks_exact_mut(batch_bytes);
        let cells = cells1.chunks(batch_bytes).zip(cells2.chunks(batch_bytes));
        for (position, (batch, (cells1, cells2))) in (0..).step_by(ABREAST).zip(batches.zip(cells)) {
            for (sum, (byte1, byte2)) in batch.iter_mut().zip(cells1.iter().zip(cells2)) {
                *sum = byte1 ^ byte2;
            }
            let tags = self.arithmetic.tags(polynomial, batch);
            for (sender, (codeword, tag)) in (position..).zip(batch.chunks_exact(cell_bytes).zip(tags)) {
                let tag_right = codeword::stored_tag(codeword) == tag;
                let shape = frame::inspect(&codeword[..self.size.bytes()]);
                decoded.real |= u64::from(tag_right & shape.real) << sender;
                decoded.dummy |= u64::from(tag_right & shape.dummy) << sender;
            }
            polynomial = polynomial.skip(ABREAST as u32);
        }
        decoded
    }
}

impl Drop for BatchOpener {
    fn drop(&mut self) {
        self.scratch.zeroize();
    }
}

impl fmt::Debug for BatchOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchOpener")
            .field("size", &self.size)
            .field("arithmetic", &self.arithmetic)
            .finish_non_exhaustive()
    }
}
