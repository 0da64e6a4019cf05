//! What a server does that cheats one recipient of one sender's share, and signs that it did.

use crate::accountable::ForgedCell;
use crate::config::{AccountableFault, AccountableFaultKind};
use crate::tile::Tile;
use std::sync::Arc;
use twincast_protocol::accountable::upload::share_hash;
use twincast_protocol::ids::MemberIndex;

/// The one cell that is not what its sender gave.
#[derive(Debug)]
pub(super) struct Cheat {
    fault: Option<AccountableFault>,
    /// What the recipient was given of the sender before.
    old: Vec<u8>,
    forged: Option<ForgedCell>,
}

impl Cheat {
    pub(super) fn new(fault: Option<AccountableFault>) -> Cheat {
        Cheat { fault, old: Vec::new(), forged: None }
    }

    /// The tile as it is delivered.
    pub(super) fn deliver(&mut self, tile: Arc<Tile>) -> Arc<Tile> {
        let Some(fault) = self.fault else { return tile };
        let head = tile.head();
        let row = fault.sender.checked_sub(head.first_sender.0).map(|row| row as usize);
        let row = row.filter(|&row| row < head.senders && head.slot.0 == fault.slot);
        let (Some(row), true) = (row, (fault.user as usize) < tile.roster().members()) else { return tile };
        let recipient = MemberIndex(fault.user);
        let mut cell = vec![0; tile.cell_bytes()];
        tile.gather(recipient, row * tile.cell_bytes(), &mut cell);
        if head.round.0 + 1 == fault.round {
            self.old = cell;
            return tile;
        }
        if head.round.0 != fault.round {
            return tile;
        }
        let (half0, half1) = tile.row(row).split_at(tile.cell_bytes());
        let other = if cell == half0 { half1 } else { half0 };
        match fault.kind {
            AccountableFaultKind::Alter => cell[0] ^= 1,
            AccountableFaultKind::Withhold => cell.fill(0),
            AccountableFaultKind::Swap => cell.copy_from_slice(other),
            AccountableFaultKind::Replay => cell.copy_from_slice(&self.old),
        }
        let hash = share_hash(&cell);
        let (sender, slot) = (fault.sender as usize, fault.slot as usize);
        self.forged = Some(ForgedCell { recipient, sender, slot, hash });
        tile.with_cell(recipient, row, &cell).into()
    }

    /// What was forged in the round that ends.
    pub(super) fn take_forged(&mut self) -> Option<ForgedCell> {
        self.forged.take()
    }
}
