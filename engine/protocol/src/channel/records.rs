//! The records of a channel: one direction's keys to seal with, and one's to open with.

use super::aead::Aead;
use super::{
    ChannelError, Cipher, KEY_BYTES, LENGTH_BYTES, RECORD_BYTES_MAX, RECORD_OVERHEAD_BYTES,
    RECORD_PLAIN_BYTES_MAX, RECORDS_MAX, REKEY_RECORDS, TAG_BYTES, Unsealer,
};

/// The keys of one direction, a generation each: that of the newest record, and the one before.
#[derive(Debug)]
struct Generations {
    newest: Aead,
    before: Option<Aead>,
    /// Number of `newest`.
    generation: u64,
    rekey_records: u64,
}

impl Generations {
    fn new(cipher: Cipher, key: &[u8; KEY_BYTES]) -> Generations {
        Generations {
            newest: Aead::new(cipher, key),
            before: None,
            generation: 0,
            rekey_records: REKEY_RECORDS,
        }
    }

    /// The key of a record: of the newest generation, of the next, which then becomes the newest, or of the one before.
    fn of(&mut self, number: u64) -> &Aead {
        assert!(number < RECORDS_MAX, "record {number} is beyond what a channel can have");
        let generation = number / self.rekey_records;
        if generation == self.generation + 1 {
            let next = self.newest.after();
            self.before = Some(std::mem::replace(&mut self.newest, next));
            self.generation = generation;
        }
        if generation == self.generation {
            return &self.newest;
        }
        let before = self.before.as_ref().filter(|_| generation + 1 == self.generation);
        before.expect("a record's key is of the newest generation or of the one before")
    }
}

/// What one direction's records are sealed with. Wiped on drop; `Debug` shows no key.
#[derive(Debug)]
pub struct SendKeys {
    keys: Generations,
    next: u64,
}

impl SendKeys {
    pub(super) fn new(cipher: Cipher, key: &[u8; KEY_BYTES]) -> SendKeys {
        SendKeys { keys: Generations::new(cipher, key), next: 0 }
    }

    /// The number of the first record that was not sealed yet.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.next
    }

    /// Seals a record in place: `buf[2..2 + plain_bytes]` is the plaintext, before and behind which the length and the
    /// tag are written. Returns the record's bytes, `plain_bytes + RECORD_OVERHEAD_BYTES`.
    ///
    /// `number` is [`next_number`](SendKeys::next_number), or an earlier one whose record was not sent, at most a
    /// generation back. An earlier one must come with **the same plaintext**, which gives the same record: two
    /// plaintexts under one number show their difference and break the cipher. Who calls keeps to that.
    ///
    /// # Panics
    /// Where `number` is beyond `next_number` or more than a generation back, `plain_bytes` is 0 or above
    /// [`RECORD_PLAIN_BYTES_MAX`], or `buf` is too short.
    pub fn seal(&mut self, number: u64, buf: &mut [u8], plain_bytes: usize) -> usize {
        assert!(number <= self.next, "record {number} before record {}", self.next);
        assert!((1..=RECORD_PLAIN_BYTES_MAX).contains(&plain_bytes), "a record of {plain_bytes} bytes");
        let bytes = plain_bytes + RECORD_OVERHEAD_BYTES;
        let (length, rest) = buf[..bytes].split_first_chunk_mut::<LENGTH_BYTES>().expect("it is longer");
        let (text, tag) = rest.split_last_chunk_mut::<TAG_BYTES>().expect("it is longer");
        *length = ((bytes - LENGTH_BYTES) as u16).to_be_bytes();
        *tag = self.keys.of(number).seal(number, &[], text);
        self.next = self.next.max(number + 1);
        bytes
    }

    /// Seals all of `plain` as the next records, full ones and a last one, and appends them to `out`: for what is small
    /// or not sent often. Nothing comes of nothing.
    pub fn seal_all(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        out.reserve(plain.len() + plain.len().div_ceil(RECORD_PLAIN_BYTES_MAX) * RECORD_OVERHEAD_BYTES);
        for text in plain.chunks(RECORD_PLAIN_BYTES_MAX) {
            let at = out.len();
            out.extend_from_slice(&[0; LENGTH_BYTES]);
            out.extend_from_slice(text);
            out.extend_from_slice(&[0; TAG_BYTES]);
            self.seal(self.next, &mut out[at..], text.len());
        }
    }

    /// Replaces the key after so many records, for tests. Both ends must, before the first record.
    #[doc(hidden)]
    pub fn rekey_every(&mut self, records: u64) {
        assert!(self.next == 0 && records > 0, "the interval is set before the first record");
        self.keys.rekey_records = records;
    }
}

/// What one direction's records are opened with. Wiped on drop; `Debug` shows no key.
#[derive(Debug)]
pub struct ReceiveKeys {
    keys: Generations,
    next: u64,
    broken: bool,
}

impl ReceiveKeys {
    pub(super) fn new(cipher: Cipher, key: &[u8; KEY_BYTES]) -> ReceiveKeys {
        ReceiveKeys { keys: Generations::new(cipher, key), next: 0, broken: false }
    }

    /// How many records were opened.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.next
    }

    /// Opens the next record into `out`, in one pass. `body` is what follows its length: ciphertext and tag. Returns the
    /// plaintext's bytes, `body.len() - TAG_BYTES`. Where it does not open, `out` holds nothing of the plaintext.
    ///
    /// # Errors
    /// [`ChannelError::RecordLength`] for a body of a length that no record has, [`ChannelError::RecordChanged`] where
    /// it is not the next record. After either everything is [`ChannelError::Broken`].
    ///
    /// # Panics
    /// Where `out` is shorter than the plaintext.
    pub fn open(&mut self, body: &[u8], out: &mut [u8]) -> Result<usize, ChannelError> {
        self.check(body.len())?;
        let plain_bytes = body.len() - TAG_BYTES;
        let opened = self.keys.of(self.next).open(self.next, &[], body, &mut out[..plain_bytes]);
        self.count(opened.is_ok())?;
        Ok(plain_bytes)
    }

    /// The same in place: the plaintext is `body[..n]` of the `n` that is returned. Where it does not open, nothing of
    /// `body` is of any use.
    ///
    /// # Errors
    /// Those of [`open`](ReceiveKeys::open).
    pub fn open_in_place(&mut self, body: &mut [u8]) -> Result<usize, ChannelError> {
        self.check(body.len())?;
        let opened = self.keys.of(self.next).open_in_place(self.next, body);
        self.count(opened.is_ok())?;
        Ok(body.len() - TAG_BYTES)
    }

    /// A reader of the stream that these keys open.
    #[must_use]
    pub fn into_unsealer(self) -> Unsealer {
        Unsealer::new(self)
    }

    /// The bytes behind a record's length, if a record can have so many.
    ///
    /// # Errors
    /// [`ChannelError::RecordLength`].
    pub fn body_bytes(length: [u8; LENGTH_BYTES]) -> Result<usize, ChannelError> {
        let bytes = usize::from(u16::from_be_bytes(length));
        let bounds = TAG_BYTES + 1..=RECORD_BYTES_MAX - LENGTH_BYTES;
        if bounds.contains(&bytes) { Ok(bytes) } else { Err(ChannelError::RecordLength { bytes }) }
    }

    /// Replaces the key after so many records, for tests. Both ends must, before the first record.
    #[doc(hidden)]
    pub fn rekey_every(&mut self, records: u64) {
        assert!(self.next == 0 && records > 0, "the interval is set before the first record");
        self.keys.rekey_records = records;
    }

    /// Whether the channel is whole: every record opened.
    pub(super) fn check_whole(&self) -> Result<(), ChannelError> {
        if self.broken { Err(ChannelError::Broken) } else { Ok(()) }
    }

    /// [`body_bytes`](ReceiveKeys::body_bytes) of the next record. A length that no record has breaks the channel.
    pub(super) fn record_body_bytes(&mut self, length: [u8; LENGTH_BYTES]) -> Result<usize, ChannelError> {
        self.check_whole()?;
        let bytes = ReceiveKeys::body_bytes(length);
        self.broken = bytes.is_err();
        bytes
    }

    fn check(&mut self, body_bytes: usize) -> Result<(), ChannelError> {
        match u16::try_from(body_bytes) {
            Ok(bytes) => self.record_body_bytes(bytes.to_be_bytes()).map(|_| ()),
            Err(_) => {
                self.broken = true;
                Err(ChannelError::RecordLength { bytes: body_bytes })
            }
        }
    }

    fn count(&mut self, opened: bool) -> Result<(), ChannelError> {
        self.broken = !opened;
        if self.broken {
            return Err(ChannelError::RecordChanged);
        }
        self.next += 1;
        Ok(())
    }
}
