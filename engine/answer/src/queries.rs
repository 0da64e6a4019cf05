//! An epoch's queries, stored the way in which the kernel reads them: for each tile, one word of every query.

use crate::shape::{Shape, TILE_RECORDS};
use std::fmt;
use zeroize::Zeroize;

/// Queries that are remembered together as set or never set: a page's worth of words.
const GROUP_QUERIES: usize = 512;

/// The bits of all queries of an epoch: secret, so that `Debug` shows none of them and they are zeroed when
/// dropped.
///
/// Memory is asked for zeroed, so a page that no query was set in costs nothing, neither at the start nor at
/// the end.
pub struct Queries {
    shape: Shape,
    /// By tile: for each query the bits of the tile's 64 records, the first record lowest.
    words: Vec<u64>,
    /// For each [`GROUP_QUERIES`] queries whether one was ever set.
    touched: Vec<bool>,
}

/// A query that is refused: the reader's doing, who is told so. Nothing is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// There are fewer queries than that.
    #[error("query {query} is not below {queries}")]
    NoSuchQuery {
        /// Which.
        query: usize,
        /// How many there are.
        queries: usize,
    },
    /// A query has one bit a record, in whole bytes.
    #[error("a query has {want} bytes, and this one {got}")]
    Length {
        /// Bytes that it must have.
        want: usize,
        /// Bytes that it has.
        got: usize,
    },
    /// Bits beyond the last record must be clear.
    #[error("a bit beyond the last record is set")]
    SpareBits,
}

impl Queries {
    /// Queries that select nothing.
    #[must_use]
    pub fn new(shape: &Shape) -> Queries {
        Queries {
            shape: *shape,
            words: vec![0; shape.tiles() * shape.tile_words()],
            touched: vec![false; shape.queries().div_ceil(GROUP_QUERIES)],
        }
    }

    /// Sets a query: bit `i` (the lowest of byte 0 is bit 0) selects record `i`. Replaces what it was.
    ///
    /// Writes one word a tile, far apart. Eight neighbouring queries share the lines they are written to, so a
    /// caller who has several does well to set them in ascending order.
    ///
    /// # Errors
    /// [`QueryError`]; nothing is changed then.
    pub fn set(&mut self, query: usize, bits: &[u8]) -> Result<(), QueryError> {
        self.check(query)?;
        let records = self.shape.records();
        let want = records.div_ceil(8);
        if bits.len() != want {
            return Err(QueryError::Length { want, got: bits.len() });
        }
        let spare = want * 8 - records;
        if spare > 0 && bits[want - 1] >> (8 - spare) != 0 {
            return Err(QueryError::SpareBits);
        }
        self.touched[query / GROUP_QUERIES] = true;
        let (whole, rest) = bits.as_chunks::<{ TILE_RECORDS / 8 }>();
        let mut last = [0; TILE_RECORDS / 8];
        last[..rest.len()].copy_from_slice(rest);
        let words =
            whole.iter().chain((!rest.is_empty()).then_some(&last)).map(|bytes| u64::from_le_bytes(*bytes));
        for (at, word) in self.words[query..].iter_mut().step_by(self.shape.tile_words()).zip(words) {
            *at = word;
        }
        last.zeroize();
        Ok(())
    }

    /// Makes a query select nothing.
    ///
    /// # Errors
    /// There is no such query.
    pub fn clear(&mut self, query: usize) -> Result<(), QueryError> {
        self.check(query)?;
        if self.touched[query / GROUP_QUERIES] {
            self.words[query..].iter_mut().step_by(self.shape.tile_words()).for_each(|word| *word = 0);
        }
        Ok(())
    }

    /// What they are queries of.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Every query's word of a tile.
    pub(crate) fn tile(&self, tile: usize) -> &[u64] {
        &self.words[tile * self.shape.tile_words()..][..self.shape.queries()]
    }

    /// Zeroes what was ever set: the rest is zero, and to write it would have the system find memory for it.
    fn wipe(&mut self) {
        for tile in self.words.chunks_mut(self.shape.tile_words()) {
            for (words, touched) in tile.chunks_mut(GROUP_QUERIES).zip(&self.touched) {
                if *touched {
                    words.zeroize();
                }
            }
        }
    }

    fn check(&self, query: usize) -> Result<(), QueryError> {
        let queries = self.shape.queries();
        if query < queries { Ok(()) } else { Err(QueryError::NoSuchQuery { query, queries }) }
    }
}

impl Drop for Queries {
    fn drop(&mut self) {
        self.wipe();
    }
}

impl fmt::Debug for Queries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queries").field("shape", &self.shape).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_was_set_is_zeroed_at_the_end() {
        for queries in [1, 511, 512, 513, 1500] {
            let shape = Shape::new(130, queries, 32).unwrap();
            for query in [0, queries / 2, queries - 1] {
                let mut asked = Queries::new(&shape);
                asked.set(query, &[&[0xff; 16][..], &[3]].concat()).unwrap();
                assert_eq!(asked.words.iter().map(|word| word.count_ones()).sum::<u32>(), 130);
                asked.wipe();
                assert!(asked.words.iter().all(|word| *word == 0), "query {query} of {queries}");
            }
        }
    }
}
