//! The answer kernel on one core, for as many queries as a group has.
//!
//! A tile of the table takes the same as any other, so a large table is measured by some of its tiles, with all its queries: what a
//! core reaches hangs on whether the queries' words and answers lie in its caches. Where even the queries are too many for a few
//! seconds or for the memory, there are fewer of them; the rate says so.

use super::{cpu_s, median_s};
use crate::constants::KernelRate;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};
use std::hint::black_box;
use std::sync::Arc;
use twincast_answer::{AnswerSet, Answers, Kernel, Part, Queries, Shape, TILE_RECORDS, parts};
use twincast_protocol::answer::RECORD_BYTES;

/// Queries at the most: their answers take 352 bytes each.
const QUERIES_MAX: u64 = 1 << 20;
/// Memory of the sampled queries' words at the most, in bytes.
const WORDS_BYTES_MAX: u64 = 128 << 20;
/// Part of the machine's memory that answers may take.
const MEMORY_PART: u64 = 8;
/// What a pass is sized by before anything is known: 10^9 bytes a second, and passes in the time.
const GUESS_GB_PER_S: f64 = 200.0;
const PASSES: f64 = 4.0;
/// A table with no more work than this is measured whole, whatever the time: that of 10,000 members has 35.
const WHOLE_GB: f64 = 40.0;
/// What answers are read into: a slab of the egress.
const BUFFER_BYTES: usize = 256 << 10;
const SEED: u64 = 1;

/// Rate for a table of so many records and so many queries, and nanoseconds to read an answer.
pub(super) fn measure(records: u64, queries: u64, seconds: f64) -> (KernelRate, f64) {
    let within = crate::memory::of_this_machine() / MEMORY_PART / RECORD_BYTES as u64;
    let queries_measured = queries.min(QUERIES_MAX).min(within.max(1));
    let records_measured = sample(records, queries_measured, seconds);
    let shape = Shape::new(records_measured as usize, queries_measured as usize, RECORD_BYTES);
    let shape = shape.expect("a sample is within the bounds of a table");
    let mut table = vec![0; records_measured as usize * RECORD_BYTES];
    Xoshiro256PlusPlus::seed_from_u64(SEED).fill_bytes(&mut table);
    let queries_of_table = random_queries(&shape);
    let mut part = parts(&shape, 1).remove(0);
    let mut answers = part.answers();
    let kernel = Kernel::best();
    let pass_s = median_s(seconds, || {
        answers.clear();
        add_all(kernel, &table, &queries_of_table, &mut part, &mut answers);
    });
    let work = records_measured as f64 * queries_measured as f64 * RECORD_BYTES as f64;
    let rate = KernelRate {
        queries,
        queries_measured,
        records,
        records_measured,
        gb_per_s: work / pass_s / 1e9,
        instructions: kernel.to_string(),
    };
    (rate, read_ns(&AnswerSet::new(vec![Arc::new(answers)])))
}

/// Records of whole tiles that a few passes over them fit into the time.
fn sample(records: u64, queries: u64, seconds: f64) -> u64 {
    let tile = TILE_RECORDS as u64;
    let tile_gb = (tile * queries) as f64 * RECORD_BYTES as f64 / 1e9;
    let by_time = ((seconds * GUESS_GB_PER_S / PASSES).max(WHOLE_GB) / tile_gb) as u64;
    let by_memory = WORDS_BYTES_MAX / (queries * 8);
    records.min(by_time.min(by_memory).max(1) * tile)
}

/// Half of all bits set, as in queries that are asked.
fn random_queries(shape: &Shape) -> Queries {
    let mut queries = Queries::new(shape);
    let (mut rng, mut bits) =
        (Xoshiro256PlusPlus::seed_from_u64(SEED + 1), vec![0; shape.records().div_ceil(8)]);
    for query in 0..shape.queries() {
        rng.fill_bytes(&mut bits);
        if !shape.records().is_multiple_of(8) {
            *bits.last_mut().expect("at least one byte") &= (1 << (shape.records() % 8)) - 1;
        }
        queries.set(query, &bits).expect("a query of the table");
    }
    queries
}

fn add_all(kernel: Kernel, table: &[u8], queries: &Queries, part: &mut Part, answers: &mut Answers) {
    for (tile, records) in table.chunks(TILE_RECORDS * RECORD_BYTES).enumerate() {
        part.add(kernel, tile, records, queries, answers);
    }
}

/// Nanoseconds to read one answer, all of them one after another, as a connection of every member would have them.
fn read_ns(set: &AnswerSet) -> f64 {
    let (mut buffer, queries) = (vec![0; BUFFER_BYTES], set.shape().queries());
    let mut filled = 0;
    let start = cpu_s();
    for query in 0..queries {
        if filled + RECORD_BYTES > BUFFER_BYTES {
            filled = 0;
        }
        filled += set.gather(query, 0, &mut buffer[filled..filled + RECORD_BYTES]);
    }
    black_box(&buffer);
    (cpu_s() - start).max(1e-9) * 1e9 / queries as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_tables_are_measured_whole_and_large_ones_by_tiles() {
        assert_eq!(sample(1_000, 1_000, 0.5), 1_000);
        let large = sample(1_000_000, 1_000_000, 0.5);
        assert!(large >= 64 && large.is_multiple_of(64) && large * 1_000_000 / 8 <= WORDS_BYTES_MAX);
        assert_eq!(sample(1_000_000, 1_000_000, 0.0), 64);
        assert_eq!(sample(10_000, 10_000, 0.0), 10_000);
        let (rate, read_ns) = measure(130, 260, 0.0);
        assert!(rate.is_whole() && rate.gb_per_s > 0.0 && read_ns > 0.0, "{rate:?}");
        let few = KernelRate { records_measured: 64, ..rate };
        assert!(!few.is_whole());
    }
}
