//! How long a core may take in one turn over what it has to work out for its connections before the others have theirs.

use crate::limits::SIGNED_CELLS_PER_TURN;
use std::cell::Cell;
use std::rc::Rc;

/// Cells whose hashes a core may still sign in this turn. All its connections share it, and each sees what the others took.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    cells: Rc<Cell<usize>>,
    per_turn: usize,
}

impl Patience {
    /// That of a core, for its first turn.
    pub(super) fn new() -> Patience {
        Patience::of(SIGNED_CELLS_PER_TURN)
    }

    /// One of so many cells a turn.
    pub(super) fn of(per_turn: usize) -> Patience {
        Patience { cells: Rc::new(Cell::new(per_turn)), per_turn }
    }

    /// A turn begins.
    pub(super) fn renew(&self) {
        self.cells.set(self.per_turn);
    }

    /// Has `work` take what it needs of the cells that are left.
    pub(super) fn take(&self, work: impl FnOnce(&mut usize)) {
        let mut cells = self.cells.get();
        work(&mut cells);
        self.cells.set(cells);
    }
}
