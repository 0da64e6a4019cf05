//! POLYVAL's field without intrinsics: the twin that [`clmul`](crate::clmul) is compared with, and what runs
//! where the CPU has no carry-less multiply. Constant time on CPUs whose 64-bit multiply is.

/// Coefficients 64..128 of `z^128 + z^127 + z^126 + z^121 + 1`, as the multiplier of the reduction.
pub(crate) const REDUCE: u64 = 0xc200_0000_0000_0000;

/// `a * b * z^-128` in GF(2^128), RFC 8452's `dot`; bit i of a number is the coefficient of z^i.
pub(crate) fn dot(a: u128, b: u128) -> u128 {
    let (a_low, a_high) = (a as u64, (a >> 64) as u64);
    let (b_low, b_high) = (b as u64, (b >> 64) as u64);
    let low = multiply(a_low, b_low);
    let high = multiply(a_high, b_high);
    let middle = multiply(a_low, b_high) ^ multiply(a_high, b_low);
    reduce(low, middle, high)
}

/// `(low + middle * z^64 + high * z^128) * z^-128`: twice adds the multiple of the polynomial that clears the
/// lowest 64 coefficients, and drops them.
fn reduce(low: u128, middle: u128, high: u128) -> u128 {
    let middle = middle ^ low.rotate_left(64) ^ multiply(low as u64, REDUCE);
    high ^ middle.rotate_left(64) ^ multiply(middle as u64, REDUCE)
}

/// The carry-less product of two polynomials over GF(2) of degree below 64.
fn multiply(a: u64, b: u64) -> u128 {
    let low = multiply_low(a, b);
    // The product of the reversed factors is the reversed product, one place lower.
    let high = multiply_low(a.reverse_bits(), b.reverse_bits()).reverse_bits() >> 1;
    u128::from(high) << 64 | u128::from(low)
}

/// The low 64 bits of a carry-less product, by integer products of factors with holes: of every four bits one
/// is used, so that the carries of at most 16 summands fall into the holes, or off the end.
fn multiply_low(a: u64, b: u64) -> u64 {
    const EVERY_FOURTH: u64 = 0x1111_1111_1111_1111;
    let mut product = 0;
    for place in 0..4 {
        let mut sum = 0;
        for a_place in 0..4 {
            let b_place = (4 + place - a_place) % 4;
            sum ^= (a & EVERY_FOURTH << a_place).wrapping_mul(b & EVERY_FOURTH << b_place);
        }
        product |= sum & EVERY_FOURTH << place;
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn multiply_bit_by_bit(a: u64, b: u64) -> u128 {
        (0..64).filter(|bit| b >> bit & 1 == 1).fold(0, |sum, bit| sum ^ u128::from(a) << bit)
    }

    #[test]
    fn dot_gives_rfc_8452_appendix_a() {
        let x_1 = u128::from_le_bytes(0x4f4f_9566_8c83_dfb6_4017_62bb_2d01_a262_u128.to_be_bytes());
        let x_2 = u128::from_le_bytes(0xd1a2_4ddd_2721_d006_bbe4_5f20_d3c9_f362_u128.to_be_bytes());
        let result = u128::from_le_bytes(0xf7a3_b47b_8461_19fa_e5b7_866c_f5e5_b77e_u128.to_be_bytes());
        let h = u128::from_le_bytes(0x2562_9347_5892_4276_1d31_f826_ba4b_757b_u128.to_be_bytes());
        assert_eq!(dot(dot(x_1, h) ^ x_2, h), result);
    }

    proptest! {
        #[test]
        fn multiply_matches_bit_by_bit(a: u64, b: u64) {
            prop_assert_eq!(multiply(a, b), multiply_bit_by_bit(a, b));
        }
    }

    #[test]
    fn multiply_carries_nothing_between_columns() {
        for (a, b) in [(u64::MAX, u64::MAX), (u64::MAX, 1), (1 << 63, 1 << 63), (0x1111 << 48, u64::MAX)] {
            assert_eq!(multiply(a, b), multiply_bit_by_bit(a, b), "{a:x} times {b:x}");
        }
    }
}
