//! Bit confirmation: a sender tells each member, through both servers, the two bits that it dialled for it.
//!
//! For member w a codeword with a frame of 16 bytes, the message `b1, b2` and purpose 1, XOR-shared between the
//! servers: a cell of 64 bytes from each. Different bits mean "this slot is for me": that is the incoming call.
//! A server that hands somebody the wrong half later is found out by these bits.
//!
//! S1's parts of a dial are one seed long: member w's is bytes `[64 w, 64 w + 64)` of the ChaCha20 (RFC 8439)
//! keystream of the seed under the zero nonce. S2's parts are made and sent one by one.

use std::fmt;

use rand::CryptoRng;

use crate::clmul::{ABREAST, Arithmetic, Polynomial};
use crate::codeword;
use crate::context::Context;
use crate::frame::{BLOCK, FrameBytes};
use crate::ids::{Epoch, GroupId, MemberIndex, SlotIndex};
use crate::parts::{PartKind, apply_seed, expand_parts};
use crate::receive::{Expected, TILE_SENDERS, TileCells};
use crate::session_key::SessionKey;

/// The size of a confirmation's codeword and of each server's part of it, in bytes.
pub const CONFIRMATION_BYTES: usize = 64;

/// Members whose confirmations are made together: their coins come from one draw.
const CHUNK: usize = 64;
/// rho and x of one codeword.
const COINS: usize = 2 * BLOCK;

const _: () = assert!(CHUNK.is_multiple_of(ABREAST) && TILE_SENDERS.is_multiple_of(ABREAST));

/// A confirmation's real frame is `01 02 00 b1 b2` and eleven zeros: as a little-endian number, all but the
/// two bits.
const FRAME_FIXED: u128 = 0x00_0201;
/// Where b1 lies in that number; b2 is one byte higher.
const BIT1: u32 = 24;
const BIT2: u32 = 32;

/// Fills `out` with S1's parts for the members from `first_user` on, 64 bytes each: what a server makes of the
/// seed that it was given for a dial.
///
/// # Panics
///
/// When `out` reaches past member `2^32 - 2`, the last of the largest group.
pub fn expand_seed(seed: &[u8; 32], first_user: u32, out: &mut [u8]) {
    expand_parts(seed, PartKind::Confirmation, first_user, out);
}

/// S2's parts for all members: [`ConfirmationMaker::parts`] from member 0 on, `n * 64` bytes.
///
/// # Panics
///
/// When `out` is not `n * 64` bytes, or the keys are for groups of different sizes.
#[expect(clippy::too_many_arguments, reason = "each is one field of the dial")]
pub fn confirmation_parts(
    group: GroupId,
    epoch: Epoch,
    sender: MemberIndex,
    slot: SlotIndex,
    p1: &SessionKey,
    p2: &SessionKey,
    seed: &[u8; 32],
    rng: &mut impl CryptoRng,
    out: &mut [u8],
) {
    assert_eq!(out.len(), p1.members() as usize * CONFIRMATION_BYTES, "64 bytes a member");
    ConfirmationMaker::new(group, epoch, sender, slot, p1, p2).parts(seed, MemberIndex(0), rng, out);
}

/// Makes the confirmations of one dial, for any range of members at a time.
#[derive(Debug)]
pub struct ConfirmationMaker<'a> {
    polynomial: Polynomial,
    arithmetic: Arithmetic,
    keys: [&'a SessionKey; 2],
}

impl<'a> ConfirmationMaker<'a> {
    /// For the dial of `p1` at S1 and `p2` at S2.
    ///
    /// # Panics
    ///
    /// When the keys are for groups of different sizes.
    #[must_use]
    pub fn new(
        group: GroupId,
        epoch: Epoch,
        sender: MemberIndex,
        slot: SlotIndex,
        p1: &'a SessionKey,
        p2: &'a SessionKey,
    ) -> ConfirmationMaker<'a> {
        assert_eq!(p1.members(), p2.members(), "both keys of a dial are for one group");
        let context = Context::confirmation(group, epoch, sender, slot).blocks();
        ConfirmationMaker {
            polynomial: Polynomial::new(FrameBytes::CONFIRM, context, 0),
            arithmetic: Arithmetic::detect(),
            keys: [p1, p2],
        }
    }

    /// The same with the given arithmetic: for tests and benchmarks.
    #[must_use]
    pub fn with_arithmetic(self, arithmetic: Arithmetic) -> ConfirmationMaker<'a> {
        ConfirmationMaker { arithmetic, ..self }
    }

    /// Writes S2's parts for the members from `first_user` on, 64 bytes each; S1's are [`expand_seed`] of
    /// `seed`. Draws rho and x of every member, ascending.
    ///
    /// # Panics
    ///
    /// When `out` is not a whole number of parts, or reaches past the last member.
    pub fn parts(&self, seed: &[u8; 32], first_user: MemberIndex, rng: &mut impl CryptoRng, out: &mut [u8]) {
        let (parts, rest) = out.as_chunks_mut::<CONFIRMATION_BYTES>();
        assert!(rest.is_empty(), "64 bytes a member");
        let firsts = (first_user.0..).step_by(CHUNK);
        for (first, parts) in firsts.zip(parts.chunks_mut(CHUNK)) {
            let mut coins = [[0; COINS]; CHUNK];
            let coins = &mut coins[..parts.len()];
            rng.fill_bytes(coins.as_flattened_mut());
            self.codewords(first, coins, parts);
            apply_seed(seed, PartKind::Confirmation, first, parts.as_flattened_mut());
        }
    }

    /// The explicit form: writes S1's parts, drawn, and S2's. Draws rho, x and S1's part of every member,
    /// ascending.
    ///
    /// # Panics
    ///
    /// When the two outputs are not the same whole number of parts, or reach past the last member.
    pub fn explicit_parts(
        &self,
        first_user: MemberIndex,
        rng: &mut impl CryptoRng,
        out1: &mut [u8],
        out2: &mut [u8],
    ) {
        assert_eq!(out1.len(), out2.len(), "as many parts for S1 as for S2");
        let (parts1, rest) = out1.as_chunks_mut::<CONFIRMATION_BYTES>();
        assert!(rest.is_empty(), "64 bytes a member");
        let (parts2, _) = out2.as_chunks_mut::<CONFIRMATION_BYTES>();
        for (user, (part1, part2)) in (first_user.0..).zip(parts1.iter_mut().zip(parts2)) {
            let mut coins = [[0; COINS]];
            rng.fill_bytes(coins.as_flattened_mut());
            rng.fill_bytes(part1);
            self.codewords(user, &coins, std::slice::from_mut(part2));
            for (byte2, byte1) in part2.iter_mut().zip(part1) {
                *byte2 ^= *byte1;
            }
        }
    }

    /// The codewords of the members from `first` on, at most [`CHUNK`].
    fn codewords(&self, first: u32, coins: &[[u8; COINS]], out: &mut [[u8; CONFIRMATION_BYTES]]) {
        let [p1, p2] = self.keys;
        for (user, (coins, codeword)) in (first..).zip(coins.iter().zip(&mut *out)) {
            let (bit1, bit2) = (p1.bit(MemberIndex(user)), p2.bit(MemberIndex(user)));
            let frame = FRAME_FIXED | u128::from(bit1) << BIT1 | u128::from(bit2) << BIT2;
            codeword[..BLOCK].copy_from_slice(&frame.to_le_bytes());
            codeword[BLOCK..BLOCK + COINS].copy_from_slice(coins);
        }
        let (batches, rest) = out.as_chunks_mut::<ABREAST>();
        for batch in batches {
            self.write_tags(batch);
        }
        if !rest.is_empty() {
            let mut batch = [[0; CONFIRMATION_BYTES]; ABREAST];
            batch[..rest.len()].copy_from_slice(rest);
            self.write_tags(&mut batch);
            rest.copy_from_slice(&batch[..rest.len()]);
        }
    }

    fn write_tags(&self, batch: &mut [[u8; CONFIRMATION_BYTES]; ABREAST]) {
        let tags = self.arithmetic.tags(self.polynomial, batch.as_flattened());
        for (codeword, tag) in batch.iter_mut().zip(tags) {
            codeword[CONFIRMATION_BYTES - BLOCK..].copy_from_slice(&tag.to_le_bytes());
        }
    }
}

/// What the confirmations of up to 64 consecutive senders said to one member. Bit i of a mask is the sender
/// `first + i`. `Debug` shows no dialled bit.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Confirmations {
    /// b1 != b2: this sender's slot is for this member.
    pub real: u64,
    /// Missing at a server, or does not decode.
    pub failed: u64,
    /// b1, the half that S1 hands out; 0 where failed.
    pub bits1: u64,
    /// b2, the half that S2 hands out; 0 where failed.
    pub bits2: u64,
}

impl Confirmations {
    /// What the rounds of this epoch are decoded with.
    #[must_use]
    pub fn expected(&self) -> Expected {
        Expected { confirmed: true, real: self.real, failed: self.failed }
    }
}

impl fmt::Debug for Confirmations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Confirmations").field("failed", &self.failed).finish_non_exhaustive()
    }
}

/// Opens one member's confirmations of a tile of senders, cells of 64 bytes.
///
/// If a server's cells are not `count * 64` bytes, all of them have failed.
///
/// # Panics
///
/// When `tile.count` is over [`TILE_SENDERS`].
#[must_use]
pub fn open_confirmations(
    group: GroupId,
    epoch: Epoch,
    first_sender: MemberIndex,
    slot: SlotIndex,
    tile: &TileCells<'_>,
) -> Confirmations {
    open_confirmations_with(Arithmetic::detect(), group, epoch, first_sender, slot, tile)
}

/// [`open_confirmations`] with the given arithmetic: for tests and benchmarks.
///
/// # Panics
///
/// When `tile.count` is over [`TILE_SENDERS`].
#[must_use]
pub fn open_confirmations_with(
    arithmetic: Arithmetic,
    group: GroupId,
    epoch: Epoch,
    first_sender: MemberIndex,
    slot: SlotIndex,
    tile: &TileCells<'_>,
) -> Confirmations {
    const BATCH_BYTES: usize = ABREAST * CONFIRMATION_BYTES;
    let senders = tile.senders();
    let Some([cells1, cells2]) = tile.sized(CONFIRMATION_BYTES) else {
        return Confirmations { failed: senders, ..Confirmations::default() };
    };
    let context = Context::confirmation(group, epoch, first_sender, slot).blocks();
    let mut polynomial = Polynomial::new(FrameBytes::CONFIRM, context, 1);
    let (mut decoded, mut bits1, mut bits2) = (0, 0, 0);
    let batches = cells1.chunks(BATCH_BYTES).zip(cells2.chunks(BATCH_BYTES));
    for (position, (cells1, cells2)) in (0..).step_by(ABREAST).zip(batches) {
        let mut batch = [[0; CONFIRMATION_BYTES]; ABREAST];
        let sums = batch.as_flattened_mut().iter_mut();
        for (sum, (byte1, byte2)) in sums.zip(cells1.iter().zip(cells2)) {
            *sum = byte1 ^ byte2;
        }
        let tags = arithmetic.tags(polynomial, batch.as_flattened());
        for (sender, (codeword, tag)) in (position..).zip(batch.iter().zip(tags)) {
            let frame = u128::from_le_bytes(*codeword.first_chunk().expect("a codeword is longer"));
            let fixed = frame & !(1 << BIT1 | 1 << BIT2);
            let right = (codeword::stored_tag(codeword) == tag) & (fixed == FRAME_FIXED);
            decoded |= u64::from(right) << sender;
            bits1 |= ((frame >> BIT1 & 1) as u64) << sender;
            bits2 |= ((frame >> BIT2 & 1) as u64) << sender;
        }
        polynomial = polynomial.skip(ABREAST as u32);
    }
    let good = decoded & tile.present[0] & tile.present[1] & senders;
    let (bits1, bits2) = (bits1 & good, bits2 & good);
    Confirmations { real: bits1 ^ bits2, failed: senders & !good, bits1, bits2 }
}
