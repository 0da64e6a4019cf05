//! Tags of many codewords at once, each under its own key: the arithmetic of the compact profile.
//!
//! A codeword's tag is `h^t + sum s_i h^i`. The empty coefficients below the leading one are a power of h and
//! cost no multiplication of their own. The keys of different codewords are unrelated and nothing of a key is
//! kept, so what goes fast is what waits for little: the 128-bit path takes one codeword at a time and four
//! coefficients a step, the 512-bit path sixteen codewords abreast and one coefficient a step.
//!
//! The only file of this crate with `unsafe`: a CPU feature's functions are called after asking the CPU.
//! `portable` is the twin that the tests compare every path with.

use crate::frame::{BLOCK, FrameBytes};
use crate::portable;

/// How many codewords [`Arithmetic::tags`] takes at once.
pub(crate) const ABREAST: usize = 16;

/// Which instructions compute tags. A value exists only where they can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arithmetic(Path);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Clmul,
    #[cfg(target_arch = "x86_64")]
    WideClmul,
}

/// The polynomial that every codeword of a batch is measured by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Polynomial {
    /// F / 16.
    pub(crate) frame_blocks: usize,
    /// t - e, from 3 to 6.
    gap: usize,
    /// The two context blocks of the first codeword.
    context: [[u8; BLOCK]; 2],
    /// What is added to the sender from one codeword to the next: 1 in a tile, 0 where one sender made all.
    sender_step: u32,
}

impl Polynomial {
    /// For codewords of `frame` bytes, the first of them made under `context`.
    pub(crate) fn new(frame: FrameBytes, context: [[u8; BLOCK]; 2], sender_step: u32) -> Polynomial {
        let gap = frame.degree() - frame.coefficients();
        debug_assert!((3..=6).contains(&gap));
        Polynomial { frame_blocks: frame.bytes() / BLOCK, gap, context, sender_step }
    }

    /// For the codewords that follow the first `count`.
    pub(crate) fn skip(mut self, count: u32) -> Polynomial {
        let sender = self.sender().wrapping_add(count.wrapping_mul(self.sender_step));
        self.context[1][..4].copy_from_slice(&sender.to_le_bytes());
        self
    }

    /// Blocks of a whole codeword: the frame, rho, x, tag.
    fn codeword_blocks(self) -> usize {
        self.frame_blocks + 3
    }

    fn sender(self) -> u32 {
        u32::from_le_bytes([self.context[1][0], self.context[1][1], self.context[1][2], self.context[1][3]])
    }
}

impl Arithmetic {
    /// The twin without intrinsics.
    pub const PORTABLE: Arithmetic = Arithmetic(Path::Portable);

    /// The fastest that this CPU has.
    #[must_use]
    pub fn detect() -> Arithmetic {
        #[cfg(target_arch = "x86_64")]
        {
            if has_wide_clmul() {
                return Arithmetic(Path::WideClmul);
            }
            if has_clmul() {
                return Arithmetic(Path::Clmul);
            }
        }
        Arithmetic::PORTABLE
    }

    /// Everything that this CPU has, slowest first: for tests and benchmarks.
    #[must_use]
    pub fn available() -> Vec<Arithmetic> {
        let mut all = vec![Arithmetic::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(has_clmul().then_some(Arithmetic(Path::Clmul)));
            all.extend(has_wide_clmul().then_some(Arithmetic(Path::WideClmul)));
        }
        all
    }

    /// A short name for benchmarks: `portable`, `clmul` or `wide_clmul`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            Path::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Path::Clmul => "clmul",
            #[cfg(target_arch = "x86_64")]
            Path::WideClmul => "wide_clmul",
        }
    }

    /// The tags of [`ABREAST`] codewords that lie end to end in `codewords`. Their own tag blocks are not read.
    pub(crate) fn tags(self, polynomial: Polynomial, codewords: &[u8]) -> [u128; ABREAST] {
        let blocks = blocks_of(polynomial, codewords, ABREAST);
        match self.0 {
            Path::Portable => portable_tags(polynomial, blocks),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this path's value was made after `pclmulqdq` was detected.
            Path::Clmul => unsafe { narrow::tags(polynomial, blocks) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this path's value was made after `avx512f` and `vpclmulqdq` were detected.
            Path::WideClmul => unsafe { wide::tags(polynomial, blocks) },
        }
    }

    /// The tag of one codeword.
    pub(crate) fn tag(self, polynomial: Polynomial, codeword: &[u8]) -> u128 {
        let blocks = blocks_of(polynomial, codeword, 1);
        match self.0 {
            Path::Portable => portable_tag(polynomial, blocks, 0),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: both paths' values were made after `pclmulqdq` was detected.
            Path::Clmul | Path::WideClmul => unsafe { narrow::tag(polynomial, blocks) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn has_clmul() -> bool {
    is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "x86_64")]
fn has_wide_clmul() -> bool {
    has_clmul() && is_x86_feature_detected!("vpclmulqdq") && is_x86_feature_detected!("avx512f")
}

/// The 16-byte blocks of `count` codewords.
fn blocks_of(polynomial: Polynomial, codewords: &[u8], count: usize) -> &[[u8; BLOCK]] {
    let (blocks, rest) = codewords.as_chunks();
    assert!(blocks.len() == count * polynomial.codeword_blocks() && rest.is_empty(), "whole codewords");
    blocks
}

fn portable_tags(polynomial: Polynomial, blocks: &[[u8; BLOCK]]) -> [u128; ABREAST] {
    let mut codewords = (0..).zip(blocks.chunks_exact(polynomial.codeword_blocks()));
    std::array::from_fn(|_| {
        let (position, codeword) = codewords.next().expect("sixteen codewords");
        portable_tag(polynomial, codeword, position)
    })
}

fn portable_tag(polynomial: Polynomial, codeword: &[[u8; BLOCK]], position: u32) -> u128 {
    let context = polynomial.skip(position).context;
    let (message, key) = codeword.split_at(polynomial.frame_blocks + 1);
    let (frame, rho) = message.split_at(polynomial.frame_blocks);
    let key = u128::from_le_bytes(key[0]);
    let top = (0..polynomial.gap).fold(1, |power, _| portable::dot(power, key));
    let coefficients = context.iter().rev().chain(frame.iter().rev()).chain(rho);
    coefficients.fold(top, |sum, block| portable::dot(sum ^ u128::from_le_bytes(*block), key))
}

/// PCLMULQDQ, one field element to a register.
///
/// Four coefficients at a time, `(sum + a) h^4 + b h^3 + c h^2 + d h`, with one reduction for the four products:
/// a quarter of the steps that wait for each other. t = 3 (mod 4), so the leading ONE is h^3 to the groups
/// below it, and these are whole.
#[cfg(target_arch = "x86_64")]
mod narrow {
    use std::arch::x86_64::*;

    use super::{ABREAST, BLOCK, Polynomial};
    use crate::portable::REDUCE;

    #[target_feature(enable = "pclmulqdq")]
    pub(super) fn tags(polynomial: Polynomial, blocks: &[[u8; BLOCK]]) -> [u128; ABREAST] {
        let mut tags = [0; ABREAST];
        let codewords = blocks.chunks_exact(polynomial.codeword_blocks());
        for (position, (codeword, tag_out)) in (0..).zip(codewords.zip(&mut tags)) {
            *tag_out = tag(polynomial.skip(position), codeword);
        }
        tags
    }

    #[inline]
    #[target_feature(enable = "pclmulqdq")]
    pub(super) fn tag(polynomial: Polynomial, blocks: &[[u8; BLOCK]]) -> u128 {
        let rho = polynomial.frame_blocks;
        let zero = _mm_setzero_si128();
        let h1 = load(&blocks[rho + 1]);
        let h2 = multiply(h1, h1).reduce();
        let (h3, h4) = (multiply(h2, h1).reduce(), multiply(h2, h2).reduce());
        let one = _mm_set_epi64x(0, 1);
        let mut sum = multiply(one, h3).reduce();

        // The group that holds the context has gap - 3 empty coefficients above it, and below it what is left
        // of a group: frame blocks, and rho after the last of them.
        let context = polynomial.context.each_ref().map(load);
        let mut group = [zero; 4];
        let mut filled = polynomial.gap - 3;
        let below = blocks[..rho].iter().rev().chain([&blocks[rho]]).map(load);
        for coefficient in context.into_iter().rev().chain(below) {
            group[filled] = coefficient;
            filled += 1;
            if filled == group.len() {
                let [a, b, c, d] = group;
                let high = multiply(_mm_xor_si128(sum, a), h4).add(multiply(b, h3));
                sum = high.add(multiply(c, h2).add(multiply(d, h1))).reduce();
                filled = 0;
            }
        }
        debug_assert_eq!(filled, 0, "t = 3 (mod 4)");
        store(sum)
    }

    /// A product before reduction: `low + middle * z^64 + high * z^128`.
    #[derive(Clone, Copy)]
    struct Product {
        low: __m128i,
        middle: __m128i,
        high: __m128i,
    }

    #[inline]
    #[target_feature(enable = "pclmulqdq")]
    fn multiply(a: __m128i, b: __m128i) -> Product {
        let left = _mm_clmulepi64_si128::<0x01>(a, b);
        let right = _mm_clmulepi64_si128::<0x10>(a, b);
        Product {
            low: _mm_clmulepi64_si128::<0x00>(a, b),
            middle: _mm_xor_si128(left, right),
            high: _mm_clmulepi64_si128::<0x11>(a, b),
        }
    }

    impl Product {
        #[inline]
        #[target_feature(enable = "pclmulqdq")]
        fn add(self, other: Product) -> Product {
            Product {
                low: _mm_xor_si128(self.low, other.low),
                middle: _mm_xor_si128(self.middle, other.middle),
                high: _mm_xor_si128(self.high, other.high),
            }
        }

        #[inline]
        #[target_feature(enable = "pclmulqdq")]
        fn reduce(self) -> __m128i {
            let middle = _mm_xor_si128(self.middle, fold(self.low));
            _mm_xor_si128(self.high, fold(middle))
        }
    }

    /// What clearing the low half of an element adds above it.
    #[inline]
    #[target_feature(enable = "pclmulqdq")]
    fn fold(element: __m128i) -> __m128i {
        let reduce = _mm_set_epi64x(0, REDUCE as i64);
        let swapped = _mm_shuffle_epi32::<0x4e>(element);
        _mm_xor_si128(swapped, _mm_clmulepi64_si128::<0x00>(element, reduce))
    }

    #[inline]
    fn load(block: &[u8; BLOCK]) -> __m128i {
        // SAFETY: `block` is 16 readable bytes, and the load asks for no alignment.
        unsafe { _mm_loadu_si128(block.as_ptr().cast()) }
    }

    #[inline]
    fn store(element: __m128i) -> u128 {
        let mut bytes = [0; BLOCK];
        // SAFETY: `bytes` is 16 writable bytes, and the store asks for no alignment.
        unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), element) };
        u128::from_le_bytes(bytes)
    }
}

/// VPCLMULQDQ, four field elements to a register.
#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::*;

    use super::{ABREAST, BLOCK, Polynomial};
    use crate::portable::REDUCE;

    /// Field elements to a register.
    const LANES: usize = 4;
    /// Registers that go abreast.
    const CHAINS: usize = ABREAST / LANES;

    #[target_feature(enable = "avx512f,vpclmulqdq")]
    pub(super) fn tags(polynomial: Polynomial, blocks: &[[u8; BLOCK]]) -> [u128; ABREAST] {
        let rho = polynomial.frame_blocks;
        let stride = polynomial.codeword_blocks();
        let column = |chain: usize, block: usize| {
            let at = chain * LANES * stride + block;
            gather([&blocks[at], &blocks[at + stride], &blocks[at + 2 * stride], &blocks[at + 3 * stride]])
        };
        let mut keys = [_mm512_setzero_si512(); CHAINS];
        for (chain, key) in keys.iter_mut().enumerate() {
            *key = column(chain, rho + 1);
        }
        let mut sums = [_mm512_set_epi64(0, 1, 0, 1, 0, 1, 0, 1); CHAINS];
        for _ in 0..polynomial.gap {
            for chain in 0..CHAINS {
                sums[chain] = dot(sums[chain], keys[chain]);
            }
        }
        for chain in 0..CHAINS {
            let context: [_; LANES] =
                std::array::from_fn(|lane| polynomial.skip((chain * LANES + lane) as u32).context);
            let second = gather([&context[0][1], &context[1][1], &context[2][1], &context[3][1]]);
            let first = gather([&context[0][0], &context[1][0], &context[2][0], &context[3][0]]);
            sums[chain] = dot(_mm512_xor_si512(sums[chain], second), keys[chain]);
            sums[chain] = dot(_mm512_xor_si512(sums[chain], first), keys[chain]);
        }
        for block in (0..rho).rev().chain([rho]) {
            for chain in 0..CHAINS {
                sums[chain] = dot(_mm512_xor_si512(sums[chain], column(chain, block)), keys[chain]);
            }
        }
        let mut tags = [0; ABREAST];
        for (tags, sum) in tags.chunks_exact_mut(LANES).zip(sums) {
            tags.copy_from_slice(&store(sum));
        }
        tags
    }

    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    fn dot(a: __m512i, b: __m512i) -> __m512i {
        let reduce = _mm512_set1_epi64(REDUCE as i64);
        let low = _mm512_clmulepi64_epi128::<0x00>(a, b);
        let high = _mm512_clmulepi64_epi128::<0x11>(a, b);
        let left = _mm512_clmulepi64_epi128::<0x01>(a, b);
        let right = _mm512_clmulepi64_epi128::<0x10>(a, b);
        let middle = xor3(left, right, fold(low, reduce));
        _mm512_xor_si512(high, fold(middle, reduce))
    }

    /// What clearing the low half of each element adds above it.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    fn fold(element: __m512i, reduce: __m512i) -> __m512i {
        let swapped = _mm512_shuffle_epi32::<0x4e>(element);
        _mm512_xor_si512(swapped, _mm512_clmulepi64_epi128::<0x00>(element, reduce))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
        _mm512_ternarylogic_epi64::<0x96>(a, b, c)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn gather(blocks: [&[u8; BLOCK]; LANES]) -> __m512i {
        let [a, b, c, d] = blocks.map(|block| {
            // SAFETY: `block` is 16 readable bytes, and the load asks for no alignment.
            unsafe { _mm_loadu_si128(block.as_ptr().cast()) }
        });
        let low = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(a), b);
        _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(low, c), d)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn store(elements: __m512i) -> [u128; LANES] {
        let mut lanes = [0u128; LANES];
        // SAFETY: `lanes` is 64 writable bytes, and the store asks for no alignment.
        unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), elements) };
        lanes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn detection_picks_the_last_of_what_there_is() {
        let available = Arithmetic::available();
        assert_eq!(available.first(), Some(&Arithmetic::PORTABLE));
        assert_eq!(available.last(), Some(&Arithmetic::detect()));
    }

    proptest! {
        #[test]
        fn every_path_matches_the_portable_twin(
            frame_blocks in 1..50u32,
            context: [[u8; 16]; 2],
            sender_step in 0..2u32,
            noise in proptest::collection::vec(any::<u8>(), ABREAST * 53 * 16),
        ) {
            let frame = FrameBytes::new(frame_blocks * 16).expect("a multiple of 16");
            let codewords = &noise[..ABREAST * frame.share_bytes()];
            let polynomial = Polynomial::new(frame, context, sender_step);
            let expected = Arithmetic::PORTABLE.tags(polynomial, codewords);
            for arithmetic in Arithmetic::available() {
                let tags = arithmetic.tags(polynomial, codewords);
                prop_assert_eq!(tags, expected, "{:?}", arithmetic);
                for (position, codeword) in (0..).zip(codewords.chunks_exact(frame.share_bytes())) {
                    let tag = arithmetic.tag(polynomial.skip(position), codeword);
                    prop_assert_eq!(tag, expected[position as usize], "{:?}, alone", arithmetic);
                }
            }
        }
    }
}
