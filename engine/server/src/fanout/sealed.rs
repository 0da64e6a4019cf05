//! A source whose bytes go out as records of a private channel.
//!
//! The stream underneath is gathered straight into the slab, behind the two bytes of a record's length, and sealed there:
//! one pass to gather, one to seal, and the kernel's copy. How much plaintext a record holds is chosen once and kept until
//! the record is sent whole, and the source underneath is told of sent bytes by whole records. So what is filled again
//! after a rewind is gathered again from the record's first byte, in the same length, and comes out as the same bytes
//! under the same number: no number ever seals two plaintexts.

use std::collections::VecDeque;
use twincast_protocol::channel::{
    LENGTH_BYTES, RECORD_BYTES_MAX, RECORD_OVERHEAD_BYTES, RECORD_PLAIN_BYTES_MAX, SendKeys,
};
use twincast_ring::Source;

/// The least bytes of a slab that sealed streams are filled into: a slab holds a whole record.
pub const SEALED_SLAB_BYTES_MIN: usize = RECORD_BYTES_MAX;

/// A stream, sealed if its connection has a private channel; otherwise as it is.
#[derive(Debug)]
pub struct Sealed<S> {
    source: S,
    seal: Option<Seal>,
}

#[derive(Debug)]
struct Seal {
    keys: SendKeys,
    /// Plaintext bytes of the records that were begun and are not sent whole, in order.
    records: VecDeque<u16>,
    /// The number of `records[0]`.
    first: u64,
    /// Bytes of `records[0]` that are sent.
    sent: usize,
    /// Fill position: index into `records`, and bytes of that record. The latter is above 0 after a rewind only.
    filled: (usize, usize),
}

impl<S> Sealed<S> {
    /// The stream of a connection, from here on sealed by `keys` if there are any.
    pub fn new(source: S, keys: Option<SendKeys>) -> Sealed<S> {
        let seal = keys.map(|keys| {
            let first = keys.next_number();
            Seal { keys, records: VecDeque::new(), first, sent: 0, filled: (0, 0) }
        });
        Sealed { source, seal }
    }

    /// The stream underneath.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// The stream underneath, to be given more to send.
    pub fn source_mut(&mut self) -> &mut S {
        &mut self.source
    }

    /// The stream underneath, when the connection is closed.
    pub fn into_source(self) -> S {
        self.source
    }
}

impl<S: Source> Source for Sealed<S> {
    /// Writes whole records alone, and the end of one after a rewind. A record is begun where the longest one has room,
    /// so that how long it is does not depend on what is left of a slab. It ends where the stream ends for now: also before
    /// what the source leaves to a later turn, which begins the next record.
    fn fill(&mut self, buf: &mut [u8]) -> usize {
        let Some(seal) = &mut self.seal else { return self.source.fill(buf) };
        let mut at = 0;
        loop {
            let bytes = seal.fill_record(&mut self.source, &mut buf[at..]);
            if bytes == 0 {
                return at;
            }
            at += bytes;
        }
    }

    fn sent(&mut self, bytes: usize) {
        let Some(seal) = &mut self.seal else { return self.source.sent(bytes) };
        let plain_bytes = seal.sent(bytes);
        if plain_bytes > 0 {
            self.source.sent(plain_bytes);
        }
    }

    fn rewind(&mut self) {
        if let Some(seal) = &mut self.seal {
            seal.filled = (0, seal.sent);
        }
        self.source.rewind();
    }

    fn pending(&self) -> bool {
        // Of a record that is not sent whole nothing counts as sent underneath.
        self.source.pending()
    }

    fn takes_long(&self) -> bool {
        self.source.takes_long()
    }
}

impl Seal {
    /// Writes the record at the fill position, or what is to be sent of it. 0: nothing to send now, or too little room.
    fn fill_record(&mut self, source: &mut impl Source, buf: &mut [u8]) -> usize {
        let (index, skip) = self.filled;
        let plain_bytes = match self.records.get(index) {
            Some(&begun) => {
                let plain_bytes = usize::from(begun);
                if buf.len() < plain_bytes + RECORD_OVERHEAD_BYTES {
                    return 0;
                }
                let again = gather(source, &mut buf[LENGTH_BYTES..][..plain_bytes]);
                assert_eq!(again, plain_bytes, "a source fills again what it filled before");
                plain_bytes
            }
            None => {
                if buf.len() < RECORD_BYTES_MAX {
                    return 0;
                }
                let plain_bytes = gather(source, &mut buf[LENGTH_BYTES..][..RECORD_PLAIN_BYTES_MAX]);
                if plain_bytes == 0 {
                    return 0;
                }
                self.records.push_back(plain_bytes as u16);
                plain_bytes
            }
        };
        let bytes = self.keys.seal(self.first + index as u64, buf, plain_bytes);
        buf.copy_within(skip..bytes, 0);
        self.filled = (index + 1, 0);
        bytes - skip
    }

    /// So many bytes more are sent. Returns the plaintext bytes of the records that are now sent whole.
    fn sent(&mut self, bytes: usize) -> usize {
        self.sent += bytes;
        let mut plain_bytes = 0;
        while let Some(&record) = self.records.front()
            && self.sent >= usize::from(record) + RECORD_OVERHEAD_BYTES
        {
            assert!(self.filled.0 > 0, "what is sent was filled");
            self.sent -= usize::from(record) + RECORD_OVERHEAD_BYTES;
            plain_bytes += usize::from(record);
            self.records.pop_front();
            self.first += 1;
            self.filled.0 -= 1;
        }
        assert!(self.sent == 0 || self.filled.0 > 0, "what is sent was filled");
        plain_bytes
    }
}

/// Fills from the source until `buf` is full or there is no more. Returns how far.
fn gather(source: &mut impl Source, buf: &mut [u8]) -> usize {
    let mut at = 0;
    while at < buf.len() {
        let bytes = source.fill(&mut buf[at..]);
        if bytes == 0 {
            break;
        }
        at += bytes;
    }
    at
}

#[cfg(test)]
#[path = "sealed_tests.rs"]
mod tests;
