//! Four Russians: eight records at a time, by tables of all their sums.
//!
//! Look-ups go by a query's bits, so somebody who watches this server's caches may learn these; the server
//! knows them anyway.
//!
//! The only file of this crate with `unsafe`: a CPU feature's functions are called after asking the CPU. The
//! portable kernel is their safe twin; the tests compare all of them with a naive XOR.

use crate::shape::{COLUMN_BYTES, TILE_RECORDS};
use std::fmt;

/// Sums of one table: of every choice among eight records.
const SUMS: usize = 256;
/// Tables of a tile's column.
const TABLES: usize = TILE_RECORDS / 8;

/// 32 bytes of a record. Aligned, so that none lies across two lines of a cache.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(crate) struct Column(pub(crate) [u64; 4]);

impl Column {
    pub(crate) const ZERO: Column = Column([0; 4]);

    /// The first column of these bytes, filled up with zeros.
    pub(crate) fn load(bytes: &[u8]) -> Column {
        let mut column = [0; COLUMN_BYTES];
        let length = bytes.len().min(COLUMN_BYTES);
        column[..length].copy_from_slice(&bytes[..length]);
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(column.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Column(words)
    }

    pub(crate) fn to_bytes(self) -> [u8; COLUMN_BYTES] {
        let mut bytes = [0; COLUMN_BYTES];
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(self.0) {
            *bytes = word.to_le_bytes();
        }
        bytes
    }

    #[inline(always)]
    fn xor(self, other: &Column) -> Column {
        Column(std::array::from_fn(|word| self.0[word] ^ other.0[word]))
    }
}

/// The sums of one tile's column: table `t`, sum `s` is the XOR of those of records `8*t..8*t + 8` whose bits
/// `s` has.
pub(crate) struct Tables([[Column; SUMS]; TABLES]);

impl Tables {
    pub(crate) fn new() -> Box<Tables> {
        Box::new(Tables([[Column::ZERO; SUMS]; TABLES]))
    }
}

/// Which instructions are used. All give the same answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// None in particular.
    Portable,
    /// AVX2, if the processor has it; else as [`Kernel::Portable`].
    Avx2,
    /// AVX-512 F and VL, if the processor has them; else as [`Kernel::Avx2`].
    Avx512,
}

impl Kernel {
    /// All, slowest first.
    pub const ALL: [Kernel; 3] = [Kernel::Portable, Kernel::Avx2, Kernel::Avx512];

    /// The quickest that this processor has.
    #[must_use]
    pub fn best() -> Kernel {
        Kernel::Avx512.usable()
    }

    /// This one, or the next that this processor has.
    #[must_use]
    pub fn usable(self) -> Kernel {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2");
            let avx512 = avx2 && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl");
            match self {
                Kernel::Avx512 if avx512 => return Kernel::Avx512,
                Kernel::Avx512 | Kernel::Avx2 if avx2 => return Kernel::Avx2,
                _ => {}
            }
        }
        Kernel::Portable
    }

    /// One query's answer the plain way, the selected records one after another: what tables are measured
    /// against, with the same instructions at the compiler's disposal. `answer` is a record long and is written
    /// over; bit `i` of `bits` selects record `i`, and bits beyond the last record are ignored.
    pub fn answer_plainly(self, records: &[u8], bits: &[u8], answer: &mut [u8]) {
        match self.usable() {
            Kernel::Portable => answer_plainly(records, bits, answer),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `usable` has just asked the processor for AVX2.
            Kernel::Avx2 => unsafe { answer_plainly_avx2(records, bits, answer) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `usable` has just asked the processor for AVX-512 F and VL.
            Kernel::Avx512 => unsafe { answer_plainly_avx512(records, bits, answer) },
            #[cfg(not(target_arch = "x86_64"))]
            Kernel::Avx2 | Kernel::Avx512 => unreachable!("`usable` gives none that this processor lacks"),
        }
    }

    /// Makes the tables of a tile's column.
    pub(crate) fn make_tables(self, rows: &[Column; TILE_RECORDS], tables: &mut Tables) {
        match self.usable() {
            Kernel::Portable => make_tables(rows, tables),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `usable` has just asked the processor for AVX2, which is asked for with AVX-512 too.
            Kernel::Avx2 | Kernel::Avx512 => unsafe { make_tables_avx2(rows, tables) },
            #[cfg(not(target_arch = "x86_64"))]
            Kernel::Avx2 | Kernel::Avx512 => unreachable!("`usable` gives none that this processor lacks"),
        }
    }

    /// Adds to each query's answer what its word selects of a tile's column.
    pub(crate) fn add(self, tables: &Tables, words: &[u64], answers: &mut [Column]) {
        match self.usable() {
            Kernel::Portable => add(tables, words, answers),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `usable` has just asked the processor for AVX2.
            Kernel::Avx2 => unsafe { add_avx2(tables, words, answers) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `usable` has just asked the processor for AVX-512 F and VL.
            Kernel::Avx512 => unsafe { add_avx512(tables, words, answers) },
            #[cfg(not(target_arch = "x86_64"))]
            Kernel::Avx2 | Kernel::Avx512 => unreachable!("`usable` gives none that this processor lacks"),
        }
    }
}

impl fmt::Display for Kernel {
    /// For logs and results: `portable`, `avx2` or `avx512`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kernel::Portable => "portable",
            Kernel::Avx2 => "avx2",
            Kernel::Avx512 => "avx512",
        })
    }
}

/// Sums in the order of Gray's code: each is the one before and one row more or less, which never leaves the
/// registers.
#[inline(always)]
fn make_tables(rows: &[Column; TILE_RECORDS], tables: &mut Tables) {
    for (table, rows) in tables.0.iter_mut().zip(rows.as_chunks::<8>().0) {
        let mut sum = Column::ZERO;
        table[0] = sum;
        for step in 1..SUMS {
            sum = sum.xor(&rows[step.trailing_zeros() as usize]);
            table[step ^ step >> 1] = sum;
        }
    }
}

#[inline(always)]
fn add(tables: &Tables, words: &[u64], answers: &mut [Column]) {
    for (answer, word) in answers.iter_mut().zip(words) {
        let selected = tables.0.iter().zip(word.to_le_bytes());
        *answer = selected.fold(*answer, |sum, (table, byte)| sum.xor(&table[usize::from(byte)]));
    }
}

#[inline(always)]
fn answer_plainly(records: &[u8], bits: &[u8], answer: &mut [u8]) {
    answer.fill(0);
    for (records, bits) in records.chunks(answer.len() * 8).zip(bits) {
        let mut left = *bits;
        while left != 0 {
            let at = left.trailing_zeros() as usize * answer.len();
            let Some(record) = records.get(at..at + answer.len()) else { break };
            let (to, to_rest) = answer.as_chunks_mut::<COLUMN_BYTES>();
            let (from, from_rest) = record.as_chunks::<COLUMN_BYTES>();
            for (to, from) in to.iter_mut().zip(from) {
                *to = std::array::from_fn(|byte| to[byte] ^ from[byte]);
            }
            to_rest.iter_mut().zip(from_rest).for_each(|(to, from)| *to ^= from);
            left &= left - 1;
        }
    }
}

/// The portable loops, for which the compiler may use AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn make_tables_avx2(rows: &[Column; TILE_RECORDS], tables: &mut Tables) {
    make_tables(rows, tables);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn add_avx2(tables: &Tables, words: &[u64], answers: &mut [Column]) {
    add(tables, words, answers);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn answer_plainly_avx2(records: &[u8], bits: &[u8], answer: &mut [u8]) {
    answer_plainly(records, bits, answer);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl")]
fn answer_plainly_avx512(records: &[u8], bits: &[u8], answer: &mut [u8]) {
    answer_plainly(records, bits, answer);
}

/// The sums of three in one instruction, in registers of 256 bits. The compiler would gather single words
/// instead.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl")]
fn add_avx512(tables: &Tables, words: &[u64], answers: &mut [Column]) {
    use std::arch::x86_64::{_mm256_loadu_epi64, _mm256_storeu_epi64, _mm256_ternarylogic_epi64};
    /// The truth table of the XOR of three.
    const XOR: i32 = 0x96;
    for (answer, word) in answers.iter_mut().zip(words) {
        let bytes = word.to_le_bytes();
        // SAFETY: a `Column` is 32 readable bytes, and the load asks for no alignment.
        let load = |column: &Column| unsafe { _mm256_loadu_epi64(column.0.as_ptr().cast()) };
        let sum = |table: usize| load(&tables.0[table][usize::from(bytes[table])]);
        let three = _mm256_ternarylogic_epi64::<XOR>(load(answer), sum(0), sum(1));
        let six = _mm256_ternarylogic_epi64::<XOR>(sum(2), sum(3), sum(4));
        let nine = _mm256_ternarylogic_epi64::<XOR>(sum(5), sum(6), sum(7));
        let all = _mm256_ternarylogic_epi64::<XOR>(three, six, nine);
        // SAFETY: `answer` is 32 writable bytes, and the store asks for no alignment.
        unsafe { _mm256_storeu_epi64(answer.0.as_mut_ptr().cast(), all) };
    }
}
