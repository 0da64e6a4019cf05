//! What a completion carries back: which operation of which connection it belongs to.
//!
//! From the low bits up: kind (4), slab (16), slot (20), generation (24). A completion whose generation is not that
//! of its slot belongs to a connection that is closed.

use crate::limits::{GENERATION_BITS, KIND_BITS, SLAB_BITS, SLOT_BITS};

/// What was asked of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A send, by copy or without.
    Send = 1,
    /// Wait until the socket has room.
    Poll = 2,
    /// Withdraw that wait.
    Cancel = 3,
    /// Wait until the doorbell is rung.
    Doorbell = 4,
}

/// The unpacked form of a completion's `user_data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UserData {
    pub(crate) kind: Kind,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    /// The slab of a send; zero for the others.
    pub(crate) slab: u16,
}

const fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

/// The generation that follows: it wraps at what `user_data` can hold.
pub(crate) fn generation_next(generation: u32) -> u32 {
    (generation + 1) & mask(GENERATION_BITS) as u32
}

impl UserData {
    pub(crate) fn pack(self) -> u64 {
        assert!(u64::from(self.slot) <= mask(SLOT_BITS));
        assert!(u64::from(self.generation) <= mask(GENERATION_BITS));
        self.kind as u64
            | u64::from(self.slab) << KIND_BITS
            | u64::from(self.slot) << (KIND_BITS + SLAB_BITS)
            | u64::from(self.generation) << (KIND_BITS + SLAB_BITS + SLOT_BITS)
    }

    /// Panics on a kind that this crate never packs: the ring handed out a completion that is not ours.
    pub(crate) fn unpack(packed: u64) -> Self {
        let kind = match packed & mask(KIND_BITS) {
            1 => Kind::Send,
            2 => Kind::Poll,
            3 => Kind::Cancel,
            4 => Kind::Doorbell,
            other => panic!("a completion of the unknown kind {other}"),
        };
        Self {
            kind,
            slab: ((packed >> KIND_BITS) & mask(SLAB_BITS)) as u16,
            slot: ((packed >> (KIND_BITS + SLAB_BITS)) & mask(SLOT_BITS)) as u32,
            generation: (packed >> (KIND_BITS + SLAB_BITS + SLOT_BITS)) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_keeps_every_field() {
        for (slot, generation, slab) in [(0, 0, 0), (1, 2, 3), ((1 << 20) - 1, (1 << 24) - 1, u16::MAX)] {
            for kind in [Kind::Send, Kind::Poll, Kind::Cancel, Kind::Doorbell] {
                let data = UserData { kind, slot, generation, slab };
                assert_eq!(UserData::unpack(data.pack()), data);
            }
        }
        assert_eq!(generation_next((1 << 24) - 1), 0);
    }
}
