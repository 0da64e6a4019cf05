//! Parts: what differs for every recipient of a sender, and so is not selected by its bit.
//!
//! For each member w the sender makes one small codeword and XOR-shares it between the servers: S1's part of it
//! is uniform, S2's is `codeword_w ^ S1's part`. A member's part from each server is a cell, and the two open like
//! those of a round. Bit confirmations ([`confirm`](crate::confirm)) and key exchange ([`keys`](crate::keys))
//! travel like this.
//!
//! S1's parts need not be sent: they are the keystream of a seed, and member w's is bytes `[b w, b w + b)` of
//! ChaCha20 (RFC 8439) of the seed under the zero nonce, where b is the kind's size. A seed serves one set of
//! parts only: two sets under one seed would give S2 the XOR of their codewords.
//!
//! | kind | number | frame | a part, bytes |
//! |---|---|---|---|
//! | confirmation | 1 | 16 | 64 |
//! | key | 2 | 48 | 96 |
//! | key reply | 3 | 48 | 96 |

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};

use crate::context::{Context, Purpose};
use crate::frame::FrameBytes;
use crate::ids::{Epoch, GroupId, MemberIndex, RoundNumber, SlotIndex};

/// The frame of a key's codeword: a public key of 32 bytes, its header, and what is over, zeros.
const KEY_FRAME_BYTES: u32 = 48;

/// What a set of parts carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PartKind {
    /// The two dialled bits of each member.
    Confirmation,
    /// A public key for those that the sender wants a key with.
    Key,
    /// The answer to such keys.
    KeyReply,
}

impl PartKind {
    /// Every kind, by ascending number.
    pub const ALL: [PartKind; 3] = [PartKind::Confirmation, PartKind::Key, PartKind::KeyReply];

    /// The purpose that the codewords are bound to.
    #[must_use]
    pub fn purpose(self) -> Purpose {
        match self {
            PartKind::Confirmation => Purpose::Confirmation,
            PartKind::Key => Purpose::Key,
            PartKind::KeyReply => Purpose::KeyReply,
        }
    }

    /// The kind's number on the wire: that of its purpose.
    #[must_use]
    pub fn number(self) -> u8 {
        self.purpose() as u8
    }

    /// The kind that a peer named, or none if there is no such kind.
    #[must_use]
    pub fn from_number(number: u8) -> Option<PartKind> {
        PartKind::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// b: the size of one member's part from either server, in bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.frame().share_bytes()
    }

    /// The frame of the kind's codewords.
    #[must_use]
    pub fn frame(self) -> FrameBytes {
        match self {
            PartKind::Confirmation => FrameBytes::CONFIRM,
            PartKind::Key | PartKind::KeyReply => FrameBytes::new(KEY_FRAME_BYTES).expect("a multiple of 16"),
        }
    }

    /// What one sender's codewords of this kind are bound to: the kind's purpose, round 0.
    #[must_use]
    pub fn context(self, group: GroupId, epoch: Epoch, sender: MemberIndex, slot: SlotIndex) -> Context {
        Context { group, epoch, round: RoundNumber::DIAL, sender, slot, purpose: self.purpose() }
    }
}

/// Fills `out` with S1's parts for the members from `first_user` on, `kind.bytes()` bytes each: what a server
/// makes of the seed that it was given.
///
/// # Panics
///
/// When `out` reaches past the keystream's 2^38 bytes: beyond member `2^32 - 2`, or, with parts of 96 bytes, some
/// 2.8 thousand million members. No group comes near.
pub fn expand_parts(seed: &[u8; 32], kind: PartKind, first_user: u32, out: &mut [u8]) {
    out.fill(0);
    apply_seed(seed, kind, first_user, out);
}

/// XORs S1's parts for the members from `first_user` on into `parts`.
pub(crate) fn apply_seed(seed: &[u8; 32], kind: PartKind, first_user: u32, parts: &mut [u8]) {
    let mut keystream = ChaCha20::new(seed.into(), &[0; 12].into());
    keystream.seek(u64::from(first_user) * kind.bytes() as u64);
    keystream.apply_keystream(parts);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_purposes_and_others_are_no_kind() {
        let numbers = PartKind::ALL.map(PartKind::number);
        assert_eq!(numbers, [1, 2, 3]);
        for number in 0..=255 {
            let kind = PartKind::from_number(number);
            assert_eq!(kind.map(PartKind::number), numbers.contains(&number).then_some(number));
        }
        assert_eq!(PartKind::ALL.map(PartKind::bytes), [64, 96, 96]);
    }

    #[test]
    fn parts_are_stretches_of_the_keystream() {
        for kind in PartKind::ALL {
            let mut all = vec![0; 5 * kind.bytes()];
            expand_parts(&[9; 32], kind, 0, &mut all);
            for (user, part) in (0..).zip(all.chunks_exact(kind.bytes())) {
                let mut alone = vec![0xee; kind.bytes()];
                expand_parts(&[9; 32], kind, user, &mut alone);
                assert_eq!(part, alone, "{kind:?} of member {user}");
            }
        }
    }
}
