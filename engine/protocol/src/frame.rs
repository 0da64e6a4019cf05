//! The frame: what a codeword carries, at one fixed size for a whole group.
//!
//! ```text
//! real   01 | len u16 | message, len bytes | zeros up to F
//! dummy  00 | F - 1 uniform bytes
//! ```

use crate::error::ProtocolError;

/// Bytes of a real frame that are not message: kind and length.
const HEADER: usize = 3;
/// Bytes of rho, x and tag, which follow the frame in a codeword.
const CODE: usize = 48;
/// Bytes of one field element.
pub(crate) const BLOCK: usize = 16;

/// First byte of a dummy's frame.
pub(crate) const KIND_DUMMY: u8 = 0;
/// First byte of a real frame, cover included.
pub(crate) const KIND_REAL: u8 = 1;

/// The frame size F of a group, in bytes: a multiple of 16 from 16 to 65536.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameBytes(u32);

impl FrameBytes {
    /// 288 bytes: a 256-byte message and what an AEAD adds to it. Shares of 336 bytes.
    pub const DEFAULT: FrameBytes = FrameBytes(288);
    /// 16 bytes, the frame of a bit confirmation. Shares of 64 bytes.
    pub const CONFIRM: FrameBytes = FrameBytes(16);

    /// A frame of `bytes` bytes.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::FrameBytes`] unless `bytes` is a multiple of 16 from 16 to 65536.
    pub fn new(bytes: u32) -> Result<FrameBytes, ProtocolError> {
        if bytes.is_multiple_of(16) && (16..=65536).contains(&bytes) {
            Ok(FrameBytes(bytes))
        } else {
            Err(ProtocolError::FrameBytes { bytes })
        }
    }

    /// F, in bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.0 as usize
    }

    /// L = F + 48: the size of a codeword, a half and a cell, in bytes.
    #[must_use]
    pub fn share_bytes(self) -> usize {
        self.bytes() + CODE
    }

    /// F - 3: the longest message that fits, in bytes.
    #[must_use]
    pub fn message_bytes_max(self) -> usize {
        self.bytes() - HEADER
    }

    /// e = F / 16 + 3: how many coefficients the tag's polynomial has (rho, the frame, two context blocks).
    #[must_use]
    pub fn coefficients(self) -> usize {
        self.bytes() / BLOCK + 3
    }

    /// t: the exponent of the polynomial's leading term, the smallest `t >= e + 3` with `t = 3 (mod 4)`.
    #[must_use]
    pub fn degree(self) -> usize {
        let least = self.coefficients() + 3;
        least + (3 + 4 - least % 4) % 4
    }
}

/// Writes the real frame of `message` over the whole of `frame`, which is F bytes.
pub(crate) fn write_real(size: FrameBytes, message: &[u8], frame: &mut [u8]) -> Result<(), ProtocolError> {
    let bytes_max = size.message_bytes_max();
    let too_long = ProtocolError::MessageTooLong { bytes: message.len(), bytes_max };
    if message.len() > bytes_max {
        return Err(too_long);
    }
    let length = u16::try_from(message.len()).map_err(|_| too_long)?;
    let (header, rest) = frame.split_at_mut(HEADER);
    header[0] = KIND_REAL;
    header[1..].copy_from_slice(&length.to_le_bytes());
    let (body, padding) = rest.split_at_mut(message.len());
    body.copy_from_slice(message);
    padding.fill(0);
    Ok(())
}

/// What a frame is. At most one of the two is set; neither means malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Kind 1, a length that fits, and zeros after the message.
    pub(crate) real: bool,
    /// Kind 0.
    pub(crate) dummy: bool,
}

/// Reads a frame's kind, length and padding.
///
/// Takes the same steps whatever the frame holds: a dummy's bytes are looked at like a message's padding, so
/// that the time of a decode does not show whether it was for this member.
#[inline(always)]
pub(crate) fn inspect(frame: &[u8]) -> Shape {
    let (blocks, _) = frame.as_chunks::<BLOCK>();
    let message_end = HEADER + usize::from(u16::from_le_bytes([frame[1], frame[2]]));
    let (boundary, used) = (message_end / BLOCK, message_end % BLOCK);
    // Selected by masks, not by branches: the blocks past the message, and the one that it ends in.
    let (mut past, mut partly) = (0, 0);
    for (index, block) in blocks.iter().enumerate() {
        let block = u128::from_le_bytes(*block);
        past |= block & u128::from(index > boundary).wrapping_neg();
        partly |= block & u128::from(index == boundary).wrapping_neg();
    }
    let padding_is_zero = (past | partly >> (8 * used)) == 0;
    let length_fits = message_end <= frame.len();
    Shape { real: (frame[0] == KIND_REAL) & length_fits & padding_is_zero, dummy: frame[0] == KIND_DUMMY }
}

/// The message of a frame that [`inspect`] called real.
pub(crate) fn message(frame: &[u8]) -> &[u8] {
    let length = usize::from(u16::from_le_bytes([frame[1], frame[2]]));
    &frame[HEADER..HEADER + length]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_out_of_bounds_are_refused() {
        for bytes in [0, 8, 15, 17, 65535, 65552, u32::MAX] {
            assert_eq!(FrameBytes::new(bytes), Err(ProtocolError::FrameBytes { bytes }));
        }
        for bytes in [16, 32, 288, 65536] {
            assert_eq!(FrameBytes::new(bytes).map(FrameBytes::bytes), Ok(bytes as usize));
        }
    }

    #[test]
    fn degree_is_the_smallest_allowed() {
        assert_eq!(FrameBytes::DEFAULT.degree(), 27);
        assert_eq!(FrameBytes::CONFIRM.degree(), 7);
        for bytes in (16..=2048).step_by(16) {
            let size = FrameBytes::new(bytes).expect("a multiple of 16");
            let naive = (size.coefficients() + 3..).find(|t| t % 4 == 3);
            assert_eq!(Some(size.degree()), naive, "F = {bytes}");
        }
    }

    #[test]
    fn frames_round_trip_and_every_set_padding_bit_is_noticed() {
        let size = FrameBytes::new(48).expect("a multiple of 16");
        for length in 0..=size.message_bytes_max() {
            let text = vec![0xff; length];
            let mut frame = vec![0xee; size.bytes()];
            write_real(size, &text, &mut frame).expect("it fits");
            assert_eq!(inspect(&frame), Shape { real: true, dummy: false });
            assert_eq!(message(&frame), text);
            for bit in (HEADER + length) * 8..size.bytes() * 8 {
                frame[bit / 8] ^= 1 << (bit % 8);
                assert!(!inspect(&frame).real, "length {length}, bit {bit}");
                frame[bit / 8] ^= 1 << (bit % 8);
            }
        }
        let mut frame = [0; 48];
        let long = write_real(size, &[0; 46], &mut frame);
        assert_eq!(long, Err(ProtocolError::MessageTooLong { bytes: 46, bytes_max: 45 }));
    }

    #[test]
    fn kinds_and_lengths_out_of_bounds_are_malformed() {
        for kind in 0..=255 {
            for (length, fits) in [(0, true), (29, true), (30, false), (0x100, false), (0xffff, false)] {
                let mut frame = [0; 32];
                frame[0] = kind;
                frame[1..3].copy_from_slice(&u16::to_le_bytes(length));
                let shape = Shape { real: kind == 1 && fits, dummy: kind == 0 };
                assert_eq!(inspect(&frame), shape, "kind {kind}, length {length}");
            }
        }
    }

    #[test]
    fn the_largest_frame_holds_its_longest_message() {
        let size = FrameBytes::new(65536).expect("the largest");
        let mut frame = vec![0; size.bytes()];
        write_real(size, &vec![7; 65533], &mut frame).expect("it fits");
        assert!(inspect(&frame).real);
        assert_eq!(message(&frame).len(), 65533);
        frame[1..3].copy_from_slice(&[0xfe, 0xff]);
        assert!(!inspect(&frame).real);
    }
}
