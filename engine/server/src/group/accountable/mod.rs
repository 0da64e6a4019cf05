//! What an accountable group does besides: it verifies what senders commit to and sign, keeps it for a while, and shows it.

#[cfg(feature = "fault-swap-half")]
mod cheat;
mod commitments;
mod headers;
mod uploads;

pub(super) use commitments::{Commitments, commitment_bytes, member_bytes};
pub(super) use headers::{HeaderFetches, Past};
pub(super) use uploads::{Ledger, Uploads, round_bytes};

use super::dials::Dials;
use super::{Group, Output, connection_of};
use crate::accountable::Book;
use crate::limits::WRONG_SIGNATURES_MAX;
use crate::roster::Roster;
use std::sync::Arc;
use twincast_protocol::wire::Code;

impl Group {
    /// What is kept of the rounds of an epoch that opens.
    ///
    /// # Panics
    /// If the group is not accountable.
    pub(super) fn new_ledger(
        &self,
        roster: &Arc<Roster>,
        dials: &Dials,
        commitments: &Commitments,
    ) -> Ledger {
        let accounting = self.accounting.as_ref().expect("an accountable group has what it signs with");
        let (slots, share_bytes) = (self.shape.slots, self.shape.cell_bytes());
        let book = Book::new(accounting, roster, slots, share_bytes, dials.keys().all_select());
        let keys = (0..roster.members()).map(|sender| commitments.key(sender));
        Ledger::new(&self.shape, book, keys.collect())
    }

    /// Tells whose uploads their senders have not signed, and closes who does that again and again: each makes the
    /// signatures of others dearer that are verified with it. Returns whether anybody is gone.
    pub(super) fn refuse_uploads(&mut self, out: &mut Vec<Output>) -> bool {
        let Some(running) = &mut self.running else { return false };
        let wrong = running.rounds.take_wrong();
        let roster = running.roster.clone();
        let mut gone = false;
        for (round, sender) in wrong {
            let Some(connection) = connection_of(&self.seats, &roster, sender) else { continue };
            let Some(seat) = self.seats.get_mut(connection) else { continue };
            seat.wrong_signatures += 1;
            if seat.wrong_signatures < WRONG_SIGNATURES_MAX {
                let frame = Code::SignatureWrong.frame(sender as u32, u32::MAX, round.0);
                out.push(Output::To(connection, frame));
            } else {
                self.stand_up(connection);
                out.push(Output::Close(connection, Code::SignatureFlood));
                gone = true;
            }
        }
        gone
    }
}
