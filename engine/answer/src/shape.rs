//! How large a group's table and its queries are, and what they take.

use crate::kernel::Column;

/// Records of a tile: the senders of a tile.
pub const TILE_RECORDS: usize = 64;
/// Bytes of a record that the kernel works on at a time.
pub const COLUMN_BYTES: usize = size_of::<Column>();
/// The longest record, in bytes.
const RECORD_BYTES_MAX: usize = 1 << 17;
/// Bytes of all queries' bits, and of all answers, at most: so that no product of sizes overflows.
const MEMORY_BYTES_MAX: u64 = 1 << 46;

/// A page of memory and a line of the caches, in words of a query.
const PAGE_WORDS: usize = 4096 / 8;
const LINE_WORDS: usize = 64 / 8;

/// A group's table and its queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    records: usize,
    queries: usize,
    record_bytes: usize,
}

/// A table that cannot be: the caller's doing, who has taken a configuration without a look at its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a table has at least one record and one query, records of 1 to {RECORD_BYTES_MAX} bytes, and queries and answers of \
     {MEMORY_BYTES_MAX} bytes at most: not {records} records of {record_bytes} bytes and {queries} queries"
)]
pub struct ShapeError {
    records: usize,
    queries: usize,
    record_bytes: usize,
}

impl Shape {
    /// A table of `records` records of `record_bytes` bytes, and `queries` queries of one bit a record.
    ///
    /// # Errors
    /// One of them is zero, records are longer than 128 KiB, or queries or answers would take more than 64 TiB.
    pub fn new(records: usize, queries: usize, record_bytes: usize) -> Result<Shape, ShapeError> {
        let shape = Shape { records, queries, record_bytes };
        let whole = records > 0 && queries > 0 && (1..=RECORD_BYTES_MAX).contains(&record_bytes);
        let within = |each: usize| {
            (each as u64).checked_mul(queries as u64).is_some_and(|all| all <= MEMORY_BYTES_MAX)
        };
        let good = whole && within(shape.tiles() * 8) && within(shape.columns() * COLUMN_BYTES);
        good.then_some(shape).ok_or(ShapeError { records, queries, record_bytes })
    }

    /// Records of the table, n.
    #[must_use]
    pub fn records(&self) -> usize {
        self.records
    }

    /// Queries, n*K.
    #[must_use]
    pub fn queries(&self) -> usize {
        self.queries
    }

    /// Bytes of a record.
    #[must_use]
    pub fn record_bytes(&self) -> usize {
        self.record_bytes
    }

    /// Tiles of the table; the last may have fewer than [`TILE_RECORDS`].
    #[must_use]
    pub fn tiles(&self) -> usize {
        self.records.div_ceil(TILE_RECORDS)
    }

    /// Columns of a record; the last may be shorter than [`COLUMN_BYTES`].
    #[must_use]
    pub fn columns(&self) -> usize {
        self.record_bytes.div_ceil(COLUMN_BYTES)
    }

    /// Bytes of memory of one epoch's queries: a word of 64 bits for each tile and query, and a line of the
    /// caches more a tile where the queries fill whole pages.
    #[must_use]
    pub fn query_memory_bytes(&self) -> u64 {
        self.tiles() as u64 * self.tile_words() as u64 * 8
    }

    /// Bytes of memory of all answers of a round, in columns of full size.
    #[must_use]
    pub fn answer_memory_bytes(&self) -> u64 {
        self.columns() as u64 * self.queries as u64 * COLUMN_BYTES as u64
    }

    /// Words from one tile's queries to the next one's.
    ///
    /// A query is written one word a tile. Were they whole pages apart, all of them would share a few sets of
    /// the caches, and be out of these again before the neighbouring query wants the same lines.
    pub(crate) fn tile_words(&self) -> usize {
        self.queries + if self.queries.is_multiple_of(PAGE_WORDS) { LINE_WORDS } else { 0 }
    }
}
