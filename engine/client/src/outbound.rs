//! Bytes that are made for one server and not sent yet, and what else it is to get.

use crate::limits::SEND_BYTES;
use std::collections::VecDeque;
use twincast_protocol::ids::{Epoch, SlotIndex};
use twincast_protocol::parts::PartKind;
use zeroize::Zeroize;

/// The bytes for one server. They hold keys and shares: wiped on drop.
#[derive(Default)]
pub(crate) struct Outbound {
    bytes: Vec<u8>,
    sent: usize,
    /// Whole frames that were made ahead and have no place inside another one: FETCH, LEAVE.
    pub(crate) frames: Vec<u8>,
    /// Parts that this server wants.
    pub(crate) wanted: VecDeque<Wanted>,
    /// The PARTS frame that is begun.
    pub(crate) begun: Option<Begun>,
}

/// A set of parts that a server wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// The session: an epoch that is announced again has another one, with other secrets.
    pub(crate) session: u64,
    pub(crate) epoch: Epoch,
    pub(crate) kind: PartKind,
    /// The position of its sender among the epoch's users of this client.
    pub(crate) position: usize,
    pub(crate) slot: SlotIndex,
}

/// A PARTS frame of which some parts are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    pub(crate) parts: Wanted,
    /// The member whose part comes next.
    pub(crate) next: u32,
    /// All members of its epoch.
    pub(crate) members: u32,
}

impl Outbound {
    /// What is to be sent next.
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Whether so much is made already that no more should be.
    pub(crate) fn is_full(&self) -> bool {
        self.unsent().len() >= SEND_BYTES
    }

    /// The first `bytes` of [`unsent`](Outbound::unsent) are sent.
    ///
    /// # Panics
    /// When there are fewer.
    pub(crate) fn sent(&mut self, bytes: usize) {
        assert!(bytes <= self.unsent().len(), "{bytes} bytes sent of fewer");
        self.sent += bytes;
    }

    /// Where the next frame is written.
    pub(crate) fn end(&mut self) -> &mut Vec<u8> {
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        } else if self.sent >= SEND_BYTES {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        &mut self.bytes
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_order_and_the_buffer_stays_small() {
        let mut outbound = Outbound::default();
        let (mut written, mut sent) = (0u32, 0u32);
        for step in 0..10_000u32 {
            for _ in 0..step % 97 {
                outbound.end().extend_from_slice(&written.to_le_bytes());
                written += 1;
            }
            let take = outbound.unsent().len().min(4 * (step as usize % 96));
            for word in outbound.unsent()[..take].chunks_exact(4) {
                assert_eq!(word, sent.to_le_bytes());
                sent += 1;
            }
            outbound.sent(take);
        }
        assert!(outbound.bytes.len() < 4 * SEND_BYTES, "{} bytes are kept", outbound.bytes.len());
    }
}
