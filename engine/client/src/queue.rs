//! Bytes on their way out, in order: written at the end, sent from the front.

use crate::limits::SEND_BYTES;
use zeroize::Zeroize;

/// Bytes that are made and not sent yet. They may hold keys and shares: wiped on drop.
#[derive(Default)]
pub(crate) struct Queue {
    bytes: Vec<u8>,
    sent: usize,
}

impl Queue {
    /// What is to be sent next.
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// The first `bytes` of [`unsent`](Queue::unsent) are sent.
    ///
    /// # Panics
    /// When there are fewer.
    pub(crate) fn sent(&mut self, bytes: usize) {
        assert!(bytes <= self.unsent().len(), "{bytes} bytes sent of fewer");
        self.sent += bytes;
    }

    /// Where the next bytes are written.
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

impl Drop for Queue {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_order_and_the_buffer_stays_small() {
        let mut queue = Queue::default();
        let (mut written, mut sent) = (0u32, 0u32);
        for step in 0..10_000u32 {
            for _ in 0..step % 97 {
                queue.end().extend_from_slice(&written.to_le_bytes());
                written += 1;
            }
            let take = queue.unsent().len().min(4 * (step as usize % 96));
            for word in queue.unsent()[..take].chunks_exact(4) {
                assert_eq!(word, sent.to_le_bytes());
                sent += 1;
            }
            queue.sent(take);
        }
        assert!(queue.bytes.len() < 4 * SEND_BYTES, "{} bytes are kept", queue.bytes.len());
    }
}
