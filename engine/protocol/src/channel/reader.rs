//! From a stream of bytes, in whatever pieces it comes, to the plaintext of its records.

use super::{ChannelError, LENGTH_BYTES, RECORD_BYTES_MAX, ReceiveKeys};
use std::fmt;
use zeroize::Zeroizing;

/// Splits a stream into records and opens each in place.
///
/// Bytes go in by [`push`](Unsealer::push), or are read from a socket straight into [`space`](Unsealer::space) and
/// counted by [`received`](Unsealer::received); then [`next_record`](Unsealer::next_record) gives what is whole. It holds
/// a record and what came behind it: whoever empties it before pushing more holds two pieces at most. What was opened stays
/// in it until other bytes take the place: all of it is wiped on drop, and `Debug` shows none.
pub struct Unsealer {
    keys: ReceiveKeys,
    buffer: Zeroizing<Vec<u8>>,
    /// Where the first byte is that no record was made of.
    start: usize,
    /// Where the received bytes end.
    end: usize,
}

impl Unsealer {
    /// A reader of the stream that these keys open. It holds no memory until something comes.
    #[must_use]
    pub fn new(keys: ReceiveKeys) -> Unsealer {
        Unsealer { keys, buffer: Zeroizing::default(), start: 0, end: 0 }
    }

    /// Adds bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.make_room(bytes.len());
        self.buffer[self.end..][..bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// Where to write the next bytes of the stream: room for a whole record at least.
    pub fn space(&mut self) -> &mut [u8] {
        self.make_room(RECORD_BYTES_MAX);
        &mut self.buffer[self.end..]
    }

    /// So many bytes were written to [`space`](Unsealer::space).
    ///
    /// # Panics
    /// Where there was not so much space.
    pub fn received(&mut self, bytes: usize) {
        assert!(bytes <= self.buffer.len() - self.end, "{bytes} bytes where there was no room for them");
        self.end += bytes;
    }

    /// The plaintext of the next record, if it is whole: at least a byte, at most
    /// [`RECORD_PLAIN_BYTES_MAX`](super::RECORD_PLAIN_BYTES_MAX).
    ///
    /// # Errors
    /// Those of [`ReceiveKeys::open`]; from the first one on, nothing but [`ChannelError::Broken`].
    pub fn next_record(&mut self) -> Result<Option<&mut [u8]>, ChannelError> {
        let Some(body_bytes) = self.whole_record()? else { return Ok(None) };
        let body = self.start + LENGTH_BYTES;
        self.start = body + body_bytes;
        let plain_bytes = self.keys.open_in_place(&mut self.buffer[body..][..body_bytes])?;
        Ok(Some(&mut self.buffer[body..][..plain_bytes]))
    }

    /// The same into `out`, in one pass over the bytes: returns how many of them are the plaintext. Where `out` is too
    /// short for the next record, that one stays, and `Some(0)` says so.
    ///
    /// # Errors
    /// Those of [`next_record`](Unsealer::next_record).
    pub fn next_record_into(&mut self, out: &mut [u8]) -> Result<Option<usize>, ChannelError> {
        let Some(body_bytes) = self.whole_record()? else { return Ok(None) };
        if out.len() + super::TAG_BYTES < body_bytes {
            return Ok(Some(0));
        }
        let body = self.start + LENGTH_BYTES;
        self.start = body + body_bytes;
        self.keys.open(&self.buffer[body..][..body_bytes], out).map(Some)
    }

    /// Bytes that are in it and not in a record that was given: more than 0 at the stream's end means that it was cut.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.end - self.start
    }

    /// How many records were opened.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.keys.opened()
    }

    /// The keys again, and the bytes that no record was made of.
    #[must_use]
    pub fn into_parts(self) -> (ReceiveKeys, Vec<u8>) {
        let rest = self.buffer[self.start..self.end].to_vec();
        (self.keys, rest)
    }

    /// Bytes behind the length of the record at `start`, if it is whole.
    fn whole_record(&mut self) -> Result<Option<usize>, ChannelError> {
        self.keys.check_whole()?;
        let waiting = &self.buffer[self.start..self.end];
        let Some((&length, rest)) = waiting.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let body_bytes = self.keys.record_body_bytes(length)?;
        Ok((rest.len() >= body_bytes).then_some(body_bytes))
    }

    /// Makes room for `bytes` behind `end`.
    fn make_room(&mut self, bytes: usize) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.buffer.len() - self.end >= bytes {
            return;
        }
        // What is left is less than a record where the caller empties it first.
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.buffer.len() < self.end + bytes {
            // Not in its place: what is left behind is to be wiped.
            let mut larger = Zeroizing::new(vec![0; self.end + bytes]);
            larger[..self.end].copy_from_slice(&self.buffer[..self.end]);
            self.buffer = larger;
        }
    }
}

impl fmt::Debug for Unsealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsealer").field("keys", &self.keys).field("waiting", &self.waiting()).finish()
    }
}
