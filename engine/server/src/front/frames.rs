//! Takes frames out of a stream of bytes: whole ones for all kinds but PARTS, whose body may be larger than any buffer
//! and comes in pieces.
//!
//! Where a length depends on the epoch that a body names, any that some epoch of the group could have is taken here,
//! and whoever looks into the body refuses the others.

use crate::group::Shape;
use std::ops::{Range, RangeInclusive};
use twincast_protocol::parts::PartKind;
use twincast_protocol::wire::{
    Code, Dial, Fetch, FetchHeaders, HEADER_BYTES, Header, Kind, Leave, PartsHead, Register,
};
use zeroize::Zeroize;

/// Bytes of the head of PARTS_SEED and PARTS.
pub(super) const PARTS_HEAD_BYTES: usize = size_of::<PartsHead>();

/// The valid body lengths of each kind that a client sends, once its group is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lengths {
    dial_max: usize,
    submit_min: usize,
    submit_max: usize,
    parts_max: usize,
}

impl Lengths {
    /// Those of a group.
    pub(super) fn new(shape: &Shape) -> Lengths {
        let most = shape.members_max;
        let parts = PartKind::ALL.map(|kind| shape.parts_bytes(kind, most)).into_iter().max();
        Lengths {
            dial_max: shape.dial_body_bytes(most),
            submit_min: shape.submit_body_bytes(1),
            submit_max: shape.submit_body_bytes(most),
            parts_max: PARTS_HEAD_BYTES + parts.expect("there are kinds"),
        }
    }

    /// The most bytes that have to be together in the buffer.
    pub(super) fn whole_max(&self) -> usize {
        let fixed = (PARTS_HEAD_BYTES + 32).max(size_of::<Fetch>());
        HEADER_BYTES + self.dial_max.max(self.submit_max).max(fixed)
    }

    fn of(&self, kind: Kind) -> Result<RangeInclusive<usize>, Code> {
        let one = |bytes: usize| Ok(bytes..=bytes);
        match kind {
            Kind::Dial => Ok(size_of::<Dial>()..=self.dial_max),
            Kind::Submit => Ok(self.submit_min..=self.submit_max),
            Kind::PartsSeed => one(PARTS_HEAD_BYTES + 32),
            Kind::Parts => Ok(PARTS_HEAD_BYTES..=self.parts_max),
            Kind::Leave => one(size_of::<Leave>()),
            Kind::Fetch => one(size_of::<Fetch>()),
            Kind::FetchHeaders => one(size_of::<FetchHeaders>()),
            Kind::Hello => Err(Code::HelloRepeated),
            _ => Err(Code::KindUnknown),
        }
    }
}

/// What is next in the buffer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A whole body.
    Body(Kind, Range<usize>),
    /// The head of a PARTS body; so many bytes of parts follow, to be taken by [`Buffer::take_piece`].
    PartsHead(Range<usize>, usize),
    /// More bytes have to come.
    More,
}

/// Bytes that were read and not consumed.
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// A buffer of `capacity` bytes that begins with `rest`.
    pub(super) fn new(capacity: usize, rest: &[u8]) -> Buffer {
        let mut bytes = vec![0; capacity.max(rest.len())].into_boxed_slice();
        bytes[..rest.len()].copy_from_slice(rest);
        Buffer { bytes, start: 0, end: rest.len() }
    }

    /// Room to read into. Never empty, since whole frames fit and are consumed first.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.bytes[self.end..]
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// So many bytes were read into the room.
    pub(super) fn filled(&mut self, bytes: usize) {
        self.end += bytes;
    }

    /// What is not consumed.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Bytes at a range that [`Buffer::next`] gave.
    pub(super) fn get(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// Consumes up to `wanted` bytes of a body that comes in pieces.
    pub(super) fn take_piece(&mut self, wanted: usize) -> &[u8] {
        let from = self.start;
        self.start += wanted.min(self.end - self.start);
        &self.bytes[from..self.start]
    }

    /// Consumes the next frame, if it is there.
    pub(super) fn next(&mut self, lengths: &Lengths) -> Result<Next, Code> {
        let Some(header) = self.rest().first_chunk::<HEADER_BYTES>() else { return Ok(Next::More) };
        let header = Header::parse(header)?;
        let body_bytes = header.body_bytes as usize;
        let valid = lengths.of(header.kind)?;
        if !valid.contains(&body_bytes) {
            return Err(if body_bytes > *valid.end().max(&lengths.parts_max) {
                Code::FrameTooLarge
            } else {
                Code::LengthWrong
            });
        }
        let in_pieces = header.kind == Kind::Parts;
        let together = HEADER_BYTES + if in_pieces { PARTS_HEAD_BYTES } else { body_bytes };
        if self.rest().len() < together {
            return Ok(Next::More);
        }
        let body = self.start + HEADER_BYTES..self.start + together;
        self.start += together;
        Ok(if in_pieces {
            Next::PartsHead(body, body_bytes - PARTS_HEAD_BYTES)
        } else {
            Next::Body(header.kind, body)
        })
    }

    /// Consumes the first frame of a connection, or a further registration, if it is there: its kind, and the range of its
    /// body. The buffer grows with what came of a HELLO.
    pub(super) fn first(&mut self, hello_bytes_max: usize) -> Result<Option<(Kind, Range<usize>)>, Code> {
        let Some(header) = self.rest().first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let header = Header::parse(header)?;
        let body_bytes = header.body_bytes as usize;
        match header.kind {
            Kind::Hello if body_bytes > hello_bytes_max => return Err(Code::UsersTooMany),
            Kind::Register if body_bytes != size_of::<Register>() => return Err(Code::LengthWrong),
            Kind::Hello | Kind::Register => {}
            _ => return Err(Code::HelloExpected),
        }
        if self.rest().len() < HEADER_BYTES + body_bytes {
            // Whoever has only said how much is to come gets no memory for it.
            if self.rest().len() == self.bytes.len() {
                let capacity = (HEADER_BYTES + body_bytes).min(2 * self.bytes.len());
                *self = Buffer::new(capacity, self.rest());
            }
            return Ok(None);
        }
        let body = self.start + HEADER_BYTES..self.start + HEADER_BYTES + body_bytes;
        self.start = body.end;
        Ok(Some((header.kind, body)))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // What dials brought were session keys.
        self.bytes.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LENGTHS: Lengths = Lengths { dial_max: 30, submit_min: 90, submit_max: 100, parts_max: 16 + 640 };

    fn frame(kind: Kind, body_bytes: usize) -> Vec<u8> {
        let mut frame = Header { kind, body_bytes: body_bytes as u32 }.to_bytes().to_vec();
        frame.resize(HEADER_BYTES + body_bytes, kind as u8);
        frame
    }

    #[test]
    fn memory_follows_what_came_of_a_hello_and_not_what_was_announced() {
        let hello = frame(Kind::Hello, 100_000);
        let mut buffer = Buffer::new(4096, &[]);
        let mut came = 0;
        while came < hello.len() {
            assert!(buffer.bytes.len() <= (2 * came).max(4096), "{came} bytes came");
            let room = buffer.room();
            let bytes = room.len().min(1000).min(hello.len() - came);
            room[..bytes].copy_from_slice(&hello[came..came + bytes]);
            buffer.filled(bytes);
            came += bytes;
            let first = buffer.first(100_000).unwrap();
            assert_eq!(first.is_some(), came == hello.len());
        }
        assert_eq!(buffer.bytes.len(), hello.len());
    }

    #[test]
    fn wrong_lengths_and_kinds_are_named() {
        for (kind, body_bytes, code) in [
            (Kind::Dial, 31, Code::LengthWrong),
            (Kind::Dial, 23, Code::LengthWrong),
            (Kind::Submit, 101, Code::LengthWrong),
            (Kind::Submit, 89, Code::LengthWrong),
            (Kind::PartsSeed, 49, Code::LengthWrong),
            (Kind::Leave, 7, Code::LengthWrong),
            (Kind::Fetch, 25, Code::LengthWrong),
            (Kind::Parts, 15, Code::LengthWrong),
            (Kind::Parts, 657, Code::FrameTooLarge),
            (Kind::Present, 32, Code::KindUnknown),
            (Kind::Submit, 1 << 20, Code::FrameTooLarge),
            (Kind::Hello, 20, Code::HelloRepeated),
            (Kind::Deliver, 20, Code::KindUnknown),
        ] {
            let header = Header { kind, body_bytes }.to_bytes();
            assert_eq!(Buffer::new(200, &header).next(&LENGTHS), Err(code), "{kind:?} {body_bytes}");
        }
        assert_eq!(Buffer::new(200, &frame(Kind::Dial, 30)).first(100), Err(Code::HelloExpected));
        assert_eq!(Buffer::new(200, &frame(Kind::Hello, 101)).first(100), Err(Code::UsersTooMany));
        assert_eq!(Buffer::new(200, &frame(Kind::Register, 111)).first(100), Err(Code::LengthWrong));
        assert_eq!(
            Buffer::new(200, &frame(Kind::Register, 112)).first(100),
            Ok(Some((Kind::Register, 8..120)))
        );
    }

    proptest! {
        #[test]
        fn frames_come_out_whole_however_the_bytes_come_in(
            kinds in prop::collection::vec(0..8usize, 1..20),
            reads in prop::collection::vec(1..90usize, 1..40),
        ) {
            let table = [
                (Kind::Dial, 30),
                (Kind::Dial, 24),
                (Kind::Submit, 100),
                (Kind::Submit, 90),
                (Kind::PartsSeed, 48),
                (Kind::Parts, 656),
                (Kind::Leave, 8),
                (Kind::Fetch, 24),
            ];
            let stream: Vec<u8> = kinds.iter().flat_map(|&kind| frame(table[kind].0, table[kind].1)).collect();
            let mut buffer = Buffer::new(LENGTHS.whole_max(), &[]);
            let (mut at, mut got, mut parts) = (0, Vec::new(), 0);
            let mut reads = reads.iter().cycle();
            loop {
                if parts > 0 {
                    let piece = buffer.take_piece(parts);
                    prop_assert!(piece.iter().all(|&byte| byte == Kind::Parts as u8));
                    parts -= piece.len();
                }
                let next = if parts > 0 { Next::More } else { buffer.next(&LENGTHS).unwrap() };
                match next {
                    Next::Body(kind, body) => {
                        prop_assert!(buffer.get(body).iter().all(|&byte| byte == kind as u8));
                        got.push(kind);
                    }
                    Next::PartsHead(_, bytes) => {
                        parts = bytes;
                        got.push(Kind::Parts);
                    }
                    Next::More if at == stream.len() => break,
                    Next::More => {
                        let room = buffer.room();
                        prop_assert!(!room.is_empty());
                        let bytes = room.len().min(*reads.next().unwrap()).min(stream.len() - at);
                        room[..bytes].copy_from_slice(&stream[at..at + bytes]);
                        buffer.filled(bytes);
                        at += bytes;
                    }
                }
            }
            prop_assert_eq!(got, kinds.iter().map(|&kind| table[kind].0).collect::<Vec<_>>());
            prop_assert_eq!(parts, 0);
        }
    }
}
