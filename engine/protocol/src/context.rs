//! What a codeword is bound to. The context is public, never sent, and authenticated by the tag.

use crate::ids::{Epoch, GroupId, MemberIndex, RoundNumber, SlotIndex};

/// Version of the codeword, byte 8 of the second block.
const VERSION: u8 = 1;
/// The compact profile, byte 9 of the second block.
const PROFILE: u8 = 2;

/// What a codeword carries. A codeword made for one purpose does not decode for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Purpose {
    /// A message of a round, or cover.
    Message = 0,
    /// The two dialled bits of one member ([`confirm`](crate::confirm)).
    Confirmation = 1,
    /// A public key on its way to a partner.
    Key = 2,
    /// The partner's answer to a key.
    KeyReply = 3,
}

/// Everything that a codeword's tag covers besides its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Context {
    /// The group that the codeword is sent in.
    pub group: GroupId,
    /// The epoch whose session keys select its halves.
    pub epoch: Epoch,
    /// The round; [`RoundNumber::DIAL`] for what belongs to the dial.
    pub round: RoundNumber,
    /// The member that made it.
    pub sender: MemberIndex,
    /// Which of the sender's slots.
    pub slot: SlotIndex,
    /// What it carries.
    pub purpose: Purpose,
}

impl Context {
    /// The context of the confirmations of one sender's slot: purpose 1, round 0.
    #[must_use]
    pub fn confirmation(group: GroupId, epoch: Epoch, sender: MemberIndex, slot: SlotIndex) -> Context {
        Context { group, epoch, round: RoundNumber::DIAL, sender, slot, purpose: Purpose::Confirmation }
    }

    /// The two 16-byte blocks that enter the tag, all integers little-endian:
    ///
    /// | block | bytes |
    /// |---|---|
    /// | 0 | group u32, epoch u32, round u64 |
    /// | 1 | sender u32, slot u32, version = 1, profile = 2, purpose, 5 zero bytes |
    #[must_use]
    pub fn blocks(&self) -> [[u8; 16]; 2] {
        let mut blocks = [[0; 16]; 2];
        blocks[0][0..4].copy_from_slice(&self.group.0.to_le_bytes());
        blocks[0][4..8].copy_from_slice(&self.epoch.0.to_le_bytes());
        blocks[0][8..16].copy_from_slice(&self.round.0.to_le_bytes());
        blocks[1][0..4].copy_from_slice(&self.sender.0.to_le_bytes());
        blocks[1][4..8].copy_from_slice(&self.slot.0.to_le_bytes());
        blocks[1][8] = VERSION;
        blocks[1][9] = PROFILE;
        blocks[1][10] = self.purpose as u8;
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_laid_out_as_documented() {
        let context = Context {
            group: GroupId(0x0403_0201),
            epoch: Epoch(0x0807_0605),
            round: RoundNumber(0x100f_0e0d_0c0b_0a09),
            sender: MemberIndex(0x1413_1211),
            slot: SlotIndex(0x1817_1615),
            purpose: Purpose::KeyReply,
        };
        let mut first = [0; 16];
        for (expected, byte) in (1..).zip(&mut first) {
            *byte = expected;
        }
        let second = [0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 1, 2, 3, 0, 0, 0, 0, 0];
        assert_eq!(context.blocks(), [first, second]);
    }
}
