//! A receive buffer: filled by the kernel, read where it lies.
//!
//! What is not read yet is one contiguous piece, so that cells are decoded in place. Only a small rest is ever
//! moved to the front; a buffer that is full of more than that has no room until more of it was read. It grows when
//! it is allowed to, up to its limit, and shrinks again once it is empty. What was in it is wiped when it goes: it came
//! through a private channel.

use crate::limits::{MOVED_FRACTION, RECEIVE_BYTES_MIN, SMALL_FRAME_BYTES_MAX};
use zeroize::Zeroizing;

/// The bytes from one server that are not read yet.
pub(crate) struct Inbound {
    bytes: Zeroizing<Vec<u8>>,
    start: usize,
    end: usize,
    /// Its size while the servers keep pace.
    first: usize,
    /// Its size at most.
    max: usize,
    /// The largest piece that is read at once: a rest of that size may always be moved.
    piece: usize,
}

impl Inbound {
    /// A buffer of the smallest size.
    pub(crate) fn new() -> Inbound {
        let bytes = Zeroizing::new(vec![0; RECEIVE_BYTES_MIN]);
        let (first, max) = (RECEIVE_BYTES_MIN, RECEIVE_BYTES_MIN);
        Inbound { bytes, start: 0, end: 0, first, max, piece: SMALL_FRAME_BYTES_MAX }
    }

    /// Sets its sizes, once they are known. It always holds at least four pieces, of the largest that it was told of.
    pub(crate) fn resize(&mut self, first: usize, max: usize, piece: usize) {
        self.piece = self.piece.max(piece);
        self.first = first.max(4 * self.piece).max(RECEIVE_BYTES_MIN);
        self.max = max.max(self.first);
        if self.bytes.len() < self.first {
            self.grow_to(self.first);
        }
    }

    /// Makes sure that it holds pieces of so many bytes, four at least.
    pub(crate) fn fit(&mut self, piece: usize) {
        if piece > self.piece {
            self.resize(self.first, self.max, piece);
        }
    }

    /// Where the next bytes go; empty when there is no room. `may_grow`: whether it may grow to make room.
    pub(crate) fn space(&mut self, may_grow: bool) -> &mut [u8] {
        self.room(1, may_grow)
    }

    /// The same, for bytes that come `wanted` at a time: where nothing that is there can be read for want of more, and
    /// `wanted` is at most a [small frame](SMALL_FRAME_BYTES_MAX), there is room for them.
    pub(crate) fn room(&mut self, wanted: usize, may_grow: bool) -> &mut [u8] {
        let rest = self.end - self.start;
        if rest == 0 {
            (self.start, self.end) = (0, 0);
            if self.bytes.len() > self.first {
                self.bytes = Zeroizing::new(vec![0; self.first]);
            }
        } else if self.bytes.len() - self.end < self.bytes.len() / 4 {
            let movable = self.piece.max(self.bytes.len() / MOVED_FRACTION);
            if rest <= movable && rest <= self.start {
                self.bytes.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, rest);
            } else if may_grow && self.bytes.len() - self.end < wanted && self.bytes.len() < self.max {
                self.grow_to((self.bytes.len() * 2).min(self.max));
            }
        }
        &mut self.bytes[self.end..]
    }

    /// `bytes` more were written to the front of [`space`](Inbound::space).
    ///
    /// # Panics
    /// When there was less room than that.
    pub(crate) fn filled(&mut self, bytes: usize) {
        assert!(bytes <= self.bytes.len() - self.end, "{bytes} bytes filled into less room");
        self.end += bytes;
    }

    /// What is not read yet.
    #[inline]
    pub(crate) fn data(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The first `bytes` of [`data`](Inbound::data) are read.
    #[inline]
    pub(crate) fn consume(&mut self, bytes: usize) {
        assert!(bytes <= self.end - self.start, "{bytes} bytes read of fewer");
        self.start += bytes;
    }

    fn grow_to(&mut self, bytes: usize) {
        let mut larger = Zeroizing::new(vec![0; bytes]);
        let rest = self.end - self.start;
        larger[..rest].copy_from_slice(self.data());
        self.bytes = larger;
        (self.start, self.end) = (0, rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    /// Writes and reads a counting stream in random pieces; the reader takes whole pieces only.
    fn stream_through(seed: u64, grow: bool) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut inbound = Inbound::new();
        let piece = rng.random_range(1..30_000);
        inbound.resize(0, 4 << 20, piece);
        let (mut written, mut read) = (0u32, 0u32);
        while read < 2_000_000 {
            let may_grow = grow && rng.random_range(0..8) == 0;
            let space = inbound.space(may_grow);
            let bytes = rng.random_range(0..=space.len().min(200_000));
            for byte in &mut space[..bytes] {
                *byte = written as u8 ^ (written >> 8) as u8;
                written += 1;
            }
            inbound.filled(bytes);
            let whole = inbound.data().len() / piece;
            let take = if grow { rng.random_range(0..=whole) } else { whole };
            for byte in &inbound.data()[..take * piece] {
                assert_eq!(*byte, read as u8 ^ (read >> 8) as u8, "seed {seed}, byte {read}");
                read += 1;
            }
            inbound.consume(take * piece);
        }
    }

    #[test]
    fn nothing_is_lost_or_repeated_and_pieces_always_fit() {
        for seed in 0..20 {
            stream_through(seed, seed % 2 == 1);
        }
    }

    #[test]
    fn it_grows_to_its_limit_only_and_shrinks_when_empty() {
        let mut inbound = Inbound::new();
        inbound.resize(0, 200_000, 1_000);
        let mut held = 0;
        loop {
            let room = inbound.space(true).len();
            if room == 0 {
                break;
            }
            inbound.filled(room);
            held += room;
        }
        assert_eq!(held, 200_000);
        inbound.consume(1_000);
        assert!(inbound.space(true).is_empty(), "a large rest is not moved for a little room");
        inbound.consume(held - 1_000);
        assert_eq!(inbound.space(true).len(), RECEIVE_BYTES_MIN);
    }

    #[test]
    fn a_full_buffer_without_leave_to_grow_has_no_room() {
        let mut inbound = Inbound::new();
        let room = inbound.space(false).len();
        inbound.filled(room);
        assert!(inbound.space(false).is_empty());
    }
}
