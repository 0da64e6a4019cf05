//! Numbers to and from bytes without an allocation for each.

use num_bigint::BigUint;
use zeroize::Zeroize;

/// Bytes of a digit that numbers are assigned from.
const DIGIT: usize = 4;

/// Reads big-endian bytes into a number that keeps its memory.
#[derive(Default)]
pub(super) struct Loader {
    digits: Vec<u32>,
}

impl Loader {
    /// `number = bytes * 256^shift_bytes`.
    pub(super) fn load(&mut self, bytes: &[u8], shift_bytes: usize, number: &mut BigUint) {
        // The lowest digit that is not all shift is filled from the last bytes, then every other from four.
        let filled = shift_bytes % DIGIT;
        let last_bytes = bytes.len().min((DIGIT - filled) % DIGIT);
        let (bytes, last) = bytes.split_at(bytes.len() - last_bytes);
        let (first, words) = bytes.as_rchunks::<DIGIT>();
        self.digits.clear();
        self.digits.resize(shift_bytes / DIGIT, 0);
        if filled > 0 {
            self.digits.push(digit(last) << (8 * filled));
        }
        self.digits.extend(words.iter().rev().map(|word| u32::from_be_bytes(*word)));
        self.digits.push(digit(first));
        number.assign_from_slice(&self.digits);
    }
}

/// A digit of at most three bytes.
fn digit(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |digit, byte| digit << 8 | u32::from(*byte))
}

/// Writes a number as big-endian bytes over the whole of `out`.
///
/// # Panics
///
/// When it does not fit.
pub(super) fn store(number: &BigUint, out: &mut [u8]) {
    assert!(
        number.bits() <= 8 * out.len() as u64,
        "a number of {} bits in {} bytes",
        number.bits(),
        out.len()
    );
    let mut digits = number.iter_u64_digits();
    for word in out.rchunks_mut(8) {
        let bytes = digits.next().unwrap_or(0).to_be_bytes();
        word.copy_from_slice(&bytes[8 - word.len()..]);
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.digits.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_whatever_their_number_is() {
        let mut loader = Loader::default();
        let mut number = BigUint::ZERO;
        for length in 0..40 {
            for first in [0, 1, 0xff] {
                let bytes: Vec<u8> = (0..length)
                    .map(|index| if index == 0 { first } else { u8::wrapping_mul(index, 7) })
                    .collect();
                for shift_bytes in 0..9 {
                    loader.load(&bytes, shift_bytes, &mut number);
                    assert_eq!(number, BigUint::from_bytes_be(&bytes) << (8 * shift_bytes));
                    let mut stored = vec![0xee; bytes.len() + shift_bytes];
                    store(&number, &mut stored);
                    assert_eq!(stored[..bytes.len()], bytes);
                    assert!(stored[bytes.len()..].iter().all(|byte| *byte == 0));
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "a number of 9 bits in 1 bytes")]
    fn a_number_that_does_not_fit_is_a_bug() {
        store(&BigUint::from(256u32), &mut [0]);
    }
}
