//! The work, cut into parts that threads do without a lock: pieces of columns of the answers.

use crate::answers::Answers;
use crate::kernel::{Column, Kernel, Tables};
use crate::queries::Queries;
use crate::shape::{COLUMN_BYTES, Shape, TILE_RECORDS};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// What it takes to make the tables of a tile's column, in look-ups of one query there.
///
/// Only the evenness of [`parts`] hangs on it.
const TABLE_QUERIES: usize = 500;

/// One column of the answers to some of the queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) column: usize,
    pub(crate) queries: Range<usize>,
}

/// What a part works out, and how its answers lie in memory: cell after cell, each with an element for each
/// query.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) shape: Shape,
    pub(crate) cells: Vec<Cell>,
}

/// A fixed piece of every round's work, for one thread. What it works out is in [`Answers`] of its own, one for
/// each round that is on its way, so rounds may overlap.
pub struct Part {
    layout: Arc<Layout>,
    /// Scratch: of one tile's column at a time.
    tables: Box<Tables>,
}

/// Cuts the work into as many parts as there are threads, all alike in what they take. Where there is too
/// little to do, the last parts are empty. No threads count as one.
#[must_use]
pub fn parts(shape: &Shape, threads: usize) -> Vec<Part> {
    let part = |cells| Part { layout: Arc::new(Layout { shape: *shape, cells }), tables: Tables::new() };
    cut(shape, threads.max(1)).into_iter().map(part).collect()
}

/// The cells of each part: column after column is dealt out, each part up to the same bound, the least with
/// which it works out.
fn cut(shape: &Shape, threads: usize) -> Vec<Vec<Cell>> {
    let (mut low, mut high) = (0, shape.columns() * (TABLE_QUERIES + shape.queries()));
    while high - low > 1 {
        let middle = low.midpoint(high);
        match deal(shape, threads, middle) {
            Some(_) => high = middle,
            None => low = middle,
        }
    }
    deal(shape, threads, high).expect("a bound at which the first part may take everything")
}

/// The cells of each part where no part takes more than `bound`, if that is enough.
fn deal(shape: &Shape, threads: usize, bound: usize) -> Option<Vec<Vec<Cell>>> {
    let (mut column, mut from) = (0, 0);
    let mut parts = Vec::with_capacity(threads);
    for _ in 0..threads {
        let (mut cells, mut left) = (Vec::new(), bound);
        while column < shape.columns() && left > TABLE_QUERIES {
            let end = shape.queries().min(from + left - TABLE_QUERIES);
            cells.push(Cell { column, queries: from..end });
            left -= TABLE_QUERIES + end - from;
            (column, from) = if end == shape.queries() { (column + 1, 0) } else { (column, end) };
        }
        parts.push(cells);
    }
    (column == shape.columns()).then_some(parts)
}

impl Part {
    /// Answers of this part for a round, all zero. Those of all parts of a round are read as an [`AnswerSet`].
    ///
    /// [`AnswerSet`]: crate::AnswerSet
    #[must_use]
    pub fn answers(&self) -> Answers {
        Answers::new(Arc::clone(&self.layout))
    }

    /// Adds a tile to the answers: `records` are the tile's records one after another, as many as the table has
    /// of them. Tiles come in any order, each once: the same tile a second time takes it out again.
    ///
    /// # Panics
    /// The tile is none of the table's, `records` are not its records' bytes, or the queries or answers are not
    /// of this part.
    pub fn add(
        &mut self,
        kernel: Kernel,
        tile: usize,
        records: &[u8],
        queries: &Queries,
        answers: &mut Answers,
    ) {
        let shape = self.layout.shape;
        assert_eq!(*queries.shape(), shape, "queries of another table");
        assert!(tile < shape.tiles(), "tile {tile} is not below {}", shape.tiles());
        let count = (shape.records() - tile * TILE_RECORDS).min(TILE_RECORDS);
        assert_eq!(records.len(), count * shape.record_bytes(), "the records of a whole tile");
        let words = queries.tile(tile);
        let kernel = kernel.usable();
        for (cell, answers) in answers.cells_mut(&self.layout) {
            let mut rows = [Column::ZERO; TILE_RECORDS];
            for (row, record) in rows.iter_mut().zip(records.chunks_exact(shape.record_bytes())) {
                *row = Column::load(&record[cell.column * COLUMN_BYTES..]);
            }
            kernel.make_tables(&rows, &mut self.tables);
            kernel.add(&self.tables, &words[cell.queries.clone()], answers);
        }
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("layout", &self.layout).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(cells: &[Cell]) -> usize {
        cells.iter().map(|cell| TABLE_QUERIES + cell.queries.len()).sum()
    }

    #[test]
    fn there_are_as_many_parts_as_threads_and_each_answer_is_in_one_of_them() {
        for (queries, record_bytes, threads) in [
            (1, 1, 1),
            (1, 352, 64),
            (5, 33, 3),
            (1000, 352, 7),
            (10_000, 352, 64),
            (10_000, 352, 2),
            (9, 9, 0),
        ] {
            let shape = Shape::new(100, queries, record_bytes).unwrap();
            let parts = parts(&shape, threads);
            assert_eq!(parts.len(), threads.max(1), "{shape:?}, {threads} threads");
            let mut seen = vec![0; shape.columns() * queries];
            for cell in parts.iter().flat_map(|part| &part.layout.cells) {
                assert!(!cell.queries.is_empty(), "{shape:?}, {threads} threads");
                seen[cell.column * queries..][cell.queries.clone()].iter_mut().for_each(|times| *times += 1);
            }
            assert!(seen.iter().all(|times| *times == 1), "{shape:?}, {threads} threads");
        }
    }

    #[test]
    fn no_thread_idles_longer_than_a_twentieth() {
        for queries in [10_000, 10_001, 65_536, 100_000] {
            let shape = Shape::new(queries, queries, 352).unwrap();
            for threads in 1..=64 {
                let parts = cut(&shape, threads);
                let longest = parts.iter().map(|cells| takes(cells)).max().unwrap();
                let sum: usize = parts.iter().map(|cells| takes(cells)).sum();
                let idle = 1.0 - sum as f64 / (longest * threads) as f64;
                assert!(idle < 0.05, "{queries} queries, {threads} threads: {idle:.3}");
            }
        }
    }
}
