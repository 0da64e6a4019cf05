//! A round's answers: each part's own while they are worked out, and all of them together for reading.

use crate::kernel::Column;
use crate::part::{Cell, Layout};
use crate::shape::{COLUMN_BYTES, Shape};
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroize;

/// One part's answers of one round. Made by [`Part::answers`](crate::Part::answers); zeroed when dropped.
pub struct Answers {
    layout: Arc<Layout>,
    columns: Vec<Column>,
}

impl Answers {
    pub(crate) fn new(layout: Arc<Layout>) -> Answers {
        let columns = layout.cells.iter().map(|cell| cell.queries.len()).sum();
        Answers { layout, columns: vec![Column::ZERO; columns] }
    }

    /// For another round: all are zero again.
    pub fn clear(&mut self) {
        self.columns.fill(Column::ZERO);
    }

    /// Each of the part's cells with its answers.
    pub(crate) fn cells_mut<'a>(
        &'a mut self,
        layout: &'a Layout,
    ) -> impl Iterator<Item = (&'a Cell, &'a mut [Column])> + use<'a> {
        assert_eq!(*self.layout, *layout, "answers of another part");
        let mut rest = self.columns.as_mut_slice();
        layout.cells.iter().map(move |cell| {
            let (answers, after) = std::mem::take(&mut rest).split_at_mut(cell.queries.len());
            rest = after;
            (cell, answers)
        })
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.columns.iter_mut().for_each(|column| column.0.zeroize());
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// The answers of all parts of a round, to be read from any thread.
pub struct AnswerSet {
    shape: Shape,
    parts: Vec<Arc<Answers>>,
    /// The queries that each block begins with, ascending; inside a block nothing is cut.
    blocks: Vec<usize>,
    /// By block and column: where the block's first query lies.
    places: Vec<Place>,
}

#[derive(Clone, Copy)]
struct Place {
    part: usize,
    at: usize,
}

impl AnswerSet {
    /// Puts together the answers of all parts that [`parts`](crate::parts) made; in any order.
    ///
    /// # Panics
    /// They are of different tables, one is missing or there twice.
    #[must_use]
    pub fn new(parts: Vec<Arc<Answers>>) -> AnswerSet {
        let shape = parts.first().expect("at least one part").layout.shape;
        let cells = || parts.iter().flat_map(|part| &part.layout.cells);
        let mut blocks: Vec<usize> = cells().map(|cell| cell.queries.start).collect();
        blocks.sort_unstable();
        blocks.dedup();
        let mut places = vec![None; blocks.len() * shape.columns()];
        for (part, answers) in parts.iter().enumerate() {
            assert_eq!(answers.layout.shape, shape, "answers of another table");
            let mut first = 0;
            for cell in &answers.layout.cells {
                let inside = blocks.iter().enumerate().filter(|(_, start)| cell.queries.contains(start));
                for (block, start) in inside {
                    let place = Place { part, at: first + start - cell.queries.start };
                    let before = places[block * shape.columns() + cell.column].replace(place);
                    assert!(before.is_none(), "a part's answers are there twice");
                }
                first += cell.queries.len();
            }
        }
        let covered: usize = cells().map(|cell| cell.queries.len()).sum();
        assert_eq!(covered, shape.columns() * shape.queries(), "a part's answers are missing");
        let places = places.into_iter().map(|place| place.expect("every column of every query is covered"));
        AnswerSet { shape, places: places.collect(), blocks, parts }
    }

    /// What they are answers of.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Writes the answer to a query from byte `from` on, as much as there is or fits into `out`. Returns how
    /// many bytes these are: none if `from` is the record's length or more.
    ///
    /// # Panics
    /// There is no such query.
    pub fn gather(&self, query: usize, from: usize, out: &mut [u8]) -> usize {
        assert!(query < self.shape.queries(), "query {query} is not below {}", self.shape.queries());
        let bytes = self.shape.record_bytes().saturating_sub(from).min(out.len());
        if bytes == 0 {
            return 0;
        }
        let block = self.blocks.partition_point(|start| *start <= query) - 1;
        let position = query - self.blocks[block];
        let places = &self.places[block * self.shape.columns()..][..self.shape.columns()];
        let mut columns = places[from / COLUMN_BYTES..].iter();
        let column = |place: &Place| self.parts[place.part].columns[place.at + position].to_bytes();

        // What is left of a column, whole columns, what there is room for of a column.
        let skip = from % COLUMN_BYTES;
        let begun = if skip == 0 { 0 } else { bytes.min(COLUMN_BYTES - skip) };
        let (begin, rest) = out[..bytes].split_at_mut(begun);
        let (whole, end) = rest.as_chunks_mut();
        if !begin.is_empty() {
            let place = columns.next().expect("a column that is begun");
            begin.copy_from_slice(&column(place)[skip..][..begin.len()]);
        }
        for (to, place) in whole.iter_mut().zip(&mut columns) {
            *to = column(place);
        }
        if !end.is_empty() {
            let place = columns.next().expect("a column that is ended");
            end.copy_from_slice(&column(place)[..end.len()]);
        }
        bytes
    }
}

impl fmt::Debug for AnswerSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerSet").field("shape", &self.shape).finish_non_exhaustive()
    }
}
