//! Decoding one member's cells of a tile in every format.

use std::fmt;

use zeroize::Zeroize;

use super::{Code, Scheme, ShareFormat};
use crate::context::Context;
use crate::ids::ServerSide;
use crate::paper::shares::{PaperShares, PlaintextVerifier};
use crate::paper::sharing::SumBuffers;
use crate::receive::{BatchOpener, Expected, TILE_SENDERS, TileCells, Verdicts};

/// Decodes one member's cells, a tile at a time, without an allocation per tile but those of the paper's
/// arithmetic. Holds plaintext: wiped on drop, not shown by `Debug`.
///
/// In the compact profile it takes the same steps whatever the cells hold. The paper's arithmetic does not,
/// and in its Algorithm 4 the second sum is looked at only where the first does not decode.
pub struct Opener {
    format: ShareFormat,
    decoder: Decoder,
    /// The senders that the last tile accepted.
    accepted: u64,
}

/// The sums that a tile's cells were decoded to. Bit i is the i-th sender.
#[derive(Clone, Copy, Default)]
struct Sums {
    /// `cell1 + cell2`, or in Algorithm 4 `share + other`, is a message.
    real: u64,
    /// The same is a dummy.
    dummy: u64,
    /// In Algorithm 4, `share + extra + other` is a dummy.
    extra_dummy: u64,
}

enum Decoder {
    Compact(BatchOpener),
    CompactPairs(Box<CompactPairs>),
    Paper(Box<PaperDecoder>),
}

impl Opener {
    /// An opener for the cells of a group with this format.
    #[must_use]
    pub fn new(format: ShareFormat) -> Opener {
        let decoder = match (format.code, format.scheme) {
            (Code::Compact(size), Scheme::Algorithm4) => Decoder::CompactPairs(Box::new(CompactPairs {
                first: BatchOpener::new(size),
                second: BatchOpener::new(size),
                shares: vec![0; TILE_SENDERS * size.share_bytes()].into(),
                sums: vec![0; TILE_SENDERS * size.share_bytes()].into(),
            })),
            (Code::Compact(size), Scheme::Plain | Scheme::OneToMany { .. }) => {
                Decoder::Compact(BatchOpener::new(size))
            }
            (Code::Paper(sharing, frame), scheme) => {
                let shares = PaperShares::new(sharing, frame);
                Decoder::Paper(Box::new(PaperDecoder {
                    verifier: PlaintextVerifier::new(&shares),
                    pairs: scheme == Scheme::Algorithm4,
                    sums: vec![0; TILE_SENDERS * format.share_bytes()].into(),
                    buffers: SumBuffers::default(),
                    shares,
                }))
            }
        };
        Opener { format, decoder, accepted: 0 }
    }

    /// What it decodes.
    #[must_use]
    pub fn format(&self) -> &ShareFormat {
        &self.format
    }

    /// Decodes the cells of `tile`: `count` times [`ShareFormat::cell_bytes`] from each server. `context` is
    /// that of the tile's first sender; the others differ from it in the sender alone. The paper profiles
    /// have no context in their code: there nothing tells a share of this round from one of another.
    ///
    /// The verdicts are those of [`BatchOpener::open`], with and without confirmation. In Algorithm 4 a
    /// decoy's two bits differ as a recipient's do: who has confirmed bits that differ accepts a message that
    /// is `share + other` and ignores a dummy that is `share + extra + other`; with equal bits only a dummy
    /// that is `share + other` is right. A message that is `share + extra + other` is `Tampered`: nobody
    /// makes one.
    ///
    /// If a server's cells are of another size, what both servers have is `Tampered`. No content panics.
    ///
    /// # Panics
    ///
    /// When `tile.count` is over [`TILE_SENDERS`].
    pub fn open(&mut self, context: &Context, tile: &TileCells<'_>, expected: Expected) -> Verdicts {
        let verdicts = match &mut self.decoder {
            Decoder::Compact(opener) => opener.open(context, tile, expected),
            Decoder::CompactPairs(pairs) => {
                judge(tile, expected, true, pairs.decode(&self.format, context, tile))
            }
            Decoder::Paper(paper) => judge(tile, expected, paper.pairs, paper.decode(&self.format, tile)),
        };
        self.accepted = verdicts.accept;
        verdicts
    }

    /// The message of a sender that the last [`open`](Opener::open) accepted, by its position in the tile; a
    /// paper profile's with the zeros that pad it to the frame.
    ///
    /// # Panics
    ///
    /// When it was not accepted.
    #[must_use]
    pub fn message(&self, sender_in_tile: usize) -> &[u8] {
        let accepted = sender_in_tile < TILE_SENDERS && self.accepted >> sender_in_tile & 1 == 1;
        assert!(accepted, "sender {sender_in_tile} of the tile was not accepted");
        match &self.decoder {
            Decoder::Compact(opener) => opener.message(sender_in_tile),
            Decoder::CompactPairs(pairs) => pairs.first.message(sender_in_tile),
            Decoder::Paper(paper) => {
                let share_bytes = self.format.share_bytes();
                paper.shares.message(&paper.sums[sender_in_tile * share_bytes..][..share_bytes])
            }
        }
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("format", &self.format).finish_non_exhaustive()
    }
}

/// The verdicts on what the sums decoded to.
fn judge(tile: &TileCells<'_>, expected: Expected, pairs: bool, sums: Sums) -> Verdicts {
    let Sums { real, dummy, extra_dummy } = sums;
    let swapped_dummy = if pairs { extra_dummy & !(real | dummy) } else { 0 };
    let (may_differ, may_be_equal) = expected.may_be();
    tile.judge(real & may_differ, dummy & may_be_equal | swapped_dummy & may_differ)
}

/// The cells of both servers, or none where a server's have another size than the format's.
fn sized<'a>(format: &ShareFormat, tile: &TileCells<'a>) -> Option<[&'a [u8]; 2]> {
    let right = ServerSide::BOTH
        .into_iter()
        .zip(tile.cells)
        .all(|(side, cells)| cells.len() == tile.count * format.cell_bytes(side));
    right.then_some(tile.cells)
}

/// Algorithm 4 over the compact code: both sums of all senders are looked at.
struct CompactPairs {
    first: BatchOpener,
    second: BatchOpener,
    /// S1's shares without their extras.
    shares: Box<[u8]>,
    /// S1's shares with their extras added.
    sums: Box<[u8]>,
}

impl CompactPairs {
    fn decode(&mut self, format: &ShareFormat, context: &Context, tile: &TileCells<'_>) -> Sums {
        let Some([pairs, others]) = sized(format, tile) else { return Sums::default() };
        let share_bytes = format.share_bytes();
        let shares = self.shares.chunks_exact_mut(share_bytes).zip(self.sums.chunks_exact_mut(share_bytes));
        for (pair, (share_out, sum)) in pairs.chunks_exact(2 * share_bytes).zip(shares) {
            let (share, extra) = pair.split_at(share_bytes);
            share_out.copy_from_slice(share);
            sum.iter_mut().zip(share.iter().zip(extra)).for_each(|(sum, (a, b))| *sum = a ^ b);
        }
        let [first, second] =
            [(&mut self.first, &self.shares), (&mut self.second, &self.sums)].map(|(opener, cells1)| {
                let cells = [&cells1[..tile.count * share_bytes], others];
                let tile = TileCells { count: tile.count, cells, present: [u64::MAX; 2] };
                opener.open(context, &tile, Expected::UNCONFIRMED)
            });
        Sums { real: first.accept, dummy: first.ignore, extra_dummy: second.ignore }
    }
}

impl Drop for CompactPairs {
    fn drop(&mut self) {
        self.shares.zeroize();
        self.sums.zeroize();
    }
}

/// The paper's code, with or without Algorithm 4's extras.
struct PaperDecoder {
    shares: PaperShares,
    verifier: PlaintextVerifier,
    pairs: bool,
    /// A tile's sums, one share long each.
    sums: Box<[u8]>,
    buffers: SumBuffers,
}

impl PaperDecoder {
    fn decode(&mut self, format: &ShareFormat, tile: &TileCells<'_>) -> Sums {
        let Some([cells1, cells2]) = sized(format, tile) else { return Sums::default() };
        let cells1 = cells1.chunks_exact(format.cell_bytes(ServerSide::One));
        let cells2 = cells2.chunks_exact(format.share_bytes());
        let both = tile.present[0] & tile.present[1];
        let mut sums = Sums::default();
        for (sender, (cell1, cell2)) in cells1.zip(cells2).enumerate() {
            // An absent sender's cell holds anything, and is worth no division.
            if both >> sender & 1 == 0 {
                continue;
            }
            let (share, extra) = cell1.split_at(format.share_bytes());
            let sum = &mut self.sums[sender * share.len()..][..share.len()];
            sum.copy_from_slice(share);
            // Only a sum with the other server's share in it is ever looked at.
            if !self.shares.group().add(&mut self.buffers, sum, cell2) {
                continue;
            }
            match self.verifier.verify(sum) {
                Some(true) => sums.real |= 1 << sender,
                Some(false) => sums.dummy |= 1 << sender,
                None if self.pairs && self.shares.group().add(&mut self.buffers, sum, extra) => {
                    let dummy = self.verifier.verify(sum) == Some(false);
                    sums.extra_dummy |= u64::from(dummy) << sender;
                }
                None => {}
            }
        }
        sums
    }
}

impl Drop for PaperDecoder {
    fn drop(&mut self) {
        self.sums.zeroize();
    }
}
