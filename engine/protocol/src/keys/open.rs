//! Opening the keys, or the replies, of a tile of senders.

use std::fmt;

use super::{KEY_PART_BYTES, KeyKind, PUBLIC_KEY_BYTES};
use crate::clmul::{ABREAST, Arithmetic, Polynomial};
use crate::codeword;
use crate::frame;
use crate::ids::{Epoch, GroupId, MemberIndex, SlotIndex};
use crate::parts::PartKind;
use crate::receive::{TILE_SENDERS, TileCells};

/// The length field of a frame that holds a key.
const KEY_LENGTH: [u8; 2] = (PUBLIC_KEY_BYTES as u16).to_le_bytes();

/// What up to 64 consecutive senders' key parts said to one member. Bit i of a mask is the sender `first + i`; a
/// sender is in at most one mask, and in none where it sent a dummy.
///
/// `Debug` shows neither who sent a key nor the key.
#[derive(Clone)]
pub struct KeyCells {
    /// This sender's public key is for this member: it is in [`keys`](KeyCells::keys).
    pub accepted: u64,
    /// One server has it and the other has not, or it does not decode. Real and dummy fail alike, so that an
    /// alarm about it does not show which it was.
    pub failed: u64,
    /// Neither server has it: this sender exchanges no keys in this epoch.
    pub absent: u64,
    /// The public keys of the accepted senders; zeros at the others' positions.
    pub keys: [[u8; PUBLIC_KEY_BYTES]; TILE_SENDERS],
}

impl fmt::Debug for KeyCells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyCells")
            .field("failed", &self.failed)
            .field("absent", &self.absent)
            .finish_non_exhaustive()
    }
}

/// Opens one member's key parts of a tile of senders, cells of 96 bytes.
///
/// If a server's cells are not `count * 96` bytes, all that both servers have has failed. A right codeword that
/// holds something else than 32 bytes has failed too.
///
/// # Panics
///
/// When `tile.count` is over [`TILE_SENDERS`].
#[must_use]
pub fn open_keys(
    group: GroupId,
    epoch: Epoch,
    first_sender: MemberIndex,
    kind: KeyKind,
    tile: &TileCells<'_>,
) -> KeyCells {
    let senders = tile.senders();
    let [present1, present2] = tile.present.map(|present| present & senders);
    let both = present1 & present2;
    let mut keys = [[0; PUBLIC_KEY_BYTES]; TILE_SENDERS];
    let decoded = match tile.sized(KEY_PART_BYTES) {
        Some(cells) => decode(group, epoch, first_sender, kind.into(), cells, &mut keys),
        None => Decoded::default(),
    };
    let accepted = both & decoded.real;
    let ignored = both & decoded.dummy;
    for (sender, key) in keys.iter_mut().enumerate() {
        let accepted = ((accepted >> sender & 1) as u8).wrapping_neg();
        key.iter_mut().for_each(|byte| *byte &= accepted);
    }
    let absent = senders & !(present1 | present2);
    KeyCells { accepted, failed: senders & !(accepted | ignored | absent), absent, keys }
}

/// What the codewords of a tile are, before presence is looked at.
#[derive(Default)]
struct Decoded {
    real: u64,
    dummy: u64,
}

/// XORs the cells, verifies every codeword, and copies what may be a key out of each.
fn decode(
    group: GroupId,
    epoch: Epoch,
    first_sender: MemberIndex,
    kind: PartKind,
    [cells1, cells2]: [&[u8]; 2],
    keys: &mut [[u8; PUBLIC_KEY_BYTES]; TILE_SENDERS],
) -> Decoded {
    const BATCH_BYTES: usize = ABREAST * KEY_PART_BYTES;
    let arithmetic = Arithmetic::detect();
    let context = kind.context(group, epoch, first_sender, SlotIndex(0)).blocks();
    let mut polynomial = Polynomial::new(kind.frame(), context, 1);
    let mut decoded = Decoded::default();
    let cells = cells1.chunks(BATCH_BYTES).zip(cells2.chunks(BATCH_BYTES));
    for (position, ((cells1, cells2), keys)) in
        (0..).step_by(ABREAST).zip(cells.zip(keys.chunks_exact_mut(ABREAST)))
    {
        let mut batch = [[0; KEY_PART_BYTES]; ABREAST];
        let sums = batch.as_flattened_mut().iter_mut();
        for (sum, (byte1, byte2)) in sums.zip(cells1.iter().zip(cells2)) {
            *sum = byte1 ^ byte2;
        }
        let tags = arithmetic.tags(polynomial, batch.as_flattened());
        for (sender, ((codeword, tag), key)) in (position..).zip(batch.iter().zip(tags).zip(keys)) {
            let tag_right = codeword::stored_tag(codeword) == tag;
            let frame = &codeword[..kind.frame().bytes()];
            let shape = frame::inspect(frame);
            let holds_a_key = frame[1..3] == KEY_LENGTH;
            decoded.real |= u64::from(tag_right & shape.real & holds_a_key) << sender;
            decoded.dummy |= u64::from(tag_right & shape.dummy) << sender;
            key.copy_from_slice(&frame[3..3 + PUBLIC_KEY_BYTES]);
        }
        polynomial = polynomial.skip(ABREAST as u32);
    }
    decoded
}
