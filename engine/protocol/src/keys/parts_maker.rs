//! Making the parts of one member's keys, or of its replies.

use std::fmt;

use rand::CryptoRng;

use super::{KEY_PART_BYTES, KeyKind, PUBLIC_KEY_BYTES};
use crate::clmul::{ABREAST, Arithmetic, Polynomial};
use crate::frame::{self, BLOCK};
use crate::ids::{Epoch, GroupId, MemberIndex, SlotIndex};
use crate::parts::{PartKind, apply_seed};

/// Members whose parts are made together: their coins come from one draw.
const CHUNK: usize = 64;
/// The size of a key's frame, in bytes.
const FRAME: usize = KEY_PART_BYTES - 3 * BLOCK;

const _: () = assert!(CHUNK.is_multiple_of(ABREAST));

/// Makes S2's parts of one member's keys or replies, for any range of members at a time.
///
/// Takes the same steps and as many coins whoever is wanted. `Debug` shows neither the key nor whom it is for.
pub struct KeyPartsMaker<'a> {
    polynomial: Polynomial,
    arithmetic: Arithmetic,
    kind: PartKind,
    frame: [u8; FRAME],
    wanted: &'a dyn Fn(MemberIndex) -> bool,
}

impl<'a> KeyPartsMaker<'a> {
    /// For the parts of `sender` that take `public` to the members that are `wanted`.
    #[must_use]
    pub fn new(
        group: GroupId,
        epoch: Epoch,
        sender: MemberIndex,
        kind: KeyKind,
        public: &[u8; PUBLIC_KEY_BYTES],
        wanted: &'a dyn Fn(MemberIndex) -> bool,
    ) -> KeyPartsMaker<'a> {
        let kind = PartKind::from(kind);
        let context = kind.context(group, epoch, sender, SlotIndex(0)).blocks();
        let mut frame = [0; FRAME];
        frame::write_real(kind.frame(), public, &mut frame).expect("a key's frame holds a key");
        KeyPartsMaker {
            polynomial: Polynomial::new(kind.frame(), context, 0),
            arithmetic: Arithmetic::detect(),
            kind,
            frame,
            wanted,
        }
    }

    /// Writes S2's parts for the members from `first_user` on, 96 bytes each; S1's are
    /// [`expand_parts`](crate::parts::expand_parts) of `seed`, which must serve no other set of parts.
    ///
    /// # Panics
    ///
    /// When `out` is not a whole number of parts, or reaches past what a seed's keystream holds.
    pub fn parts(&self, seed: &[u8; 32], first_user: MemberIndex, rng: &mut impl CryptoRng, out: &mut [u8]) {
        let (parts, rest) = out.as_chunks_mut::<KEY_PART_BYTES>();
        assert!(rest.is_empty(), "96 bytes a member");
        let firsts = (first_user.0..).step_by(CHUNK);
        for (first, parts) in firsts.zip(parts.chunks_mut(CHUNK)) {
            // A dummy's frame, rho and x are uniform; a real frame is laid over the coins of its own.
            rng.fill_bytes(parts.as_flattened_mut());
            self.codewords(first, parts);
            apply_seed(seed, self.kind, first, parts.as_flattened_mut());
        }
    }

    /// Makes codewords of coins, for the members from `first` on, at most [`CHUNK`].
    fn codewords(&self, first: u32, parts: &mut [[u8; KEY_PART_BYTES]]) {
        for (user, part) in (first..).zip(&mut *parts) {
            let real = u8::from((self.wanted)(MemberIndex(user))).wrapping_neg();
            part[0] = frame::KIND_DUMMY;
            for (byte, real_byte) in part.iter_mut().zip(self.frame) {
                *byte = *byte & !real | real_byte & real;
            }
        }
        let (batches, rest) = parts.as_chunks_mut::<ABREAST>();
        for batch in batches {
            self.write_tags(batch);
        }
        if !rest.is_empty() {
            let mut batch = [[0; KEY_PART_BYTES]; ABREAST];
            batch[..rest.len()].copy_from_slice(rest);
            self.write_tags(&mut batch);
            rest.copy_from_slice(&batch[..rest.len()]);
        }
    }

    fn write_tags(&self, batch: &mut [[u8; KEY_PART_BYTES]; ABREAST]) {
        let tags = self.arithmetic.tags(self.polynomial, batch.as_flattened());
        for (codeword, tag) in batch.iter_mut().zip(tags) {
            codeword[KEY_PART_BYTES - BLOCK..].copy_from_slice(&tag.to_le_bytes());
        }
    }
}

impl fmt::Debug for KeyPartsMaker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPartsMaker").field("kind", &self.kind).finish_non_exhaustive()
    }
}
