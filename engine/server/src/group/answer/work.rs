//! What the answer threads have done for a group.

use super::tile::Of;
use super::{AnswerRounds, bits, blame};
use crate::answer::Done;
use crate::group::delivery::{Buffers, EpochRounds};
use crate::group::peer::Link;
use crate::group::{Fault, Group, Output, connection_of};
use crate::limits::TILE_SENDERS;
use std::time::Duration;
use twincast_protocol::wire::Code;

/// A round and tile's senders whose records are not signed by them.
struct Refused {
    tile: usize,
    senders: u64,
    round: u64,
}

impl Group {
    /// The answer threads have done something that this group wanted. What belongs to a round that is over changes
    /// nothing, but who is at fault in it is named.
    ///
    /// # Errors
    /// What the other server said that it must not: the link is to be closed, and a new one to be made.
    pub fn worked(&mut self, done: Done, now: Duration, out: &mut Vec<Output>) -> Result<(), Code> {
        if let Done::Judged { round, roster, tile, signed_two, false_shown } = done {
            for (senders, fault) in
                [(signed_two, Fault::SenderSignedTwo), (false_shown, Fault::PeerShowedFalse)]
            {
                out.extend(bits(senders).map(|sender| blame(&roster, round, tile, sender, fault)));
            }
            return Ok(());
        }
        let link_up = self.link == Link::Up;
        let worked = match &mut self.running {
            Some(running) => match &mut running.rounds {
                EpochRounds::Answers(rounds) => rounds.worked(done, link_up, now, out),
                EpochRounds::Shares(_) => Ok(None),
            },
            None => {
                if let (Some(Buffers::Rows(pool)), Done::Verified { rows, .. } | Done::Filled { rows, .. }) =
                    (&mut self.buffers, done)
                {
                    pool.give(rows);
                }
                Ok(None)
            }
        };
        if let Ok(Some(refused)) = &worked {
            self.refuse_records(refused, out);
        }
        self.advance(now, out);
        worked.map(|_| ())
    }

    /// Tells who sent a record that its sender has not signed.
    fn refuse_records(&self, refused: &Refused, out: &mut Vec<Output>) {
        let Some(running) = &self.running else { return };
        for sender in bits(refused.senders) {
            let sender = refused.tile * TILE_SENDERS + sender;
            if let Some(connection) = connection_of(&self.seats, &running.roster, sender) {
                let frame = Code::SignatureWrong.frame(sender as u32, u32::MAX, refused.round);
                out.push(Output::To(connection, frame));
            }
        }
    }
}

impl AnswerRounds {
    /// Takes what was done. Returns the senders whose signatures are wrong.
    fn worked(
        &mut self,
        done: Done,
        link_up: bool,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Result<Option<Refused>, Code> {
        let open = self.open();
        let AnswerRounds { shape, roster, .. } = self;
        let of = Of { shape, roster, round: open, link_up };
        match done {
            Done::Verified { round, rows, valid, digests, hash } => {
                let index = rows.tile;
                let of_round = [&mut self.open, &mut self.next];
                let of_round = of_round.into_iter().find(|known| known.taken.number == round);
                let Some(known) = of_round.filter(|known| index < known.tiles.len()) else {
                    self.pool.give(rows);
                    return Ok(None);
                };
                match known.tiles[index].verified(rows, valid, digests, hash) {
                    Ok(senders) => {
                        known.touch(index, now);
                        Ok(Some(Refused { tile: index, senders, round: round.0 }))
                    }
                    Err(rows) => {
                        self.pool.give(rows);
                        Ok(None)
                    }
                }
            }
            Done::AbsencesSigned { round, tile, senders, signatures } => {
                if round == open && tile < self.open.tiles.len() {
                    self.open.tiles[tile].absences_signed(&of, senders, signatures, out);
                    self.open.touch(tile, now);
                }
                Ok(None)
            }
            Done::Filled { round, rows, hash } => {
                let index = rows.tile;
                if round != open || index >= self.open.tiles.len() {
                    self.pool.give(rows);
                    return Ok(None);
                }
                self.open.touch(index, now);
                match self.open.tiles[index].filled(rows, hash) {
                    Ok(stray) => {
                        stray.into_iter().for_each(|rows| self.pool.give(rows));
                        Ok(None)
                    }
                    Err(sender) => {
                        out.push(self.blame(index, sender, Fault::PeerSignedFalse));
                        self.open.is_spoiled = true;
                        Err(Code::SignatureWrong)
                    }
                }
            }
            Done::Part { round, part, answers } => {
                if round == open {
                    self.open.put_part(part, answers);
                }
                Ok(None)
            }
            Done::Judged { .. } => Ok(None),
        }
    }
}
