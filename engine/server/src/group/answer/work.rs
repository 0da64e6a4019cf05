//! What the answer threads have done for a group.

use super::tile::Of;
use super::{AnswerRounds, bits, blame};
use crate::answer::Done;
use crate::group::delivery::{Buffers, EpochRounds};
use crate::group::peer::Link;
use crate::group::{ConnectionId, Fault, Group, Output, connection_of};
use crate::limits::{TILE_SENDERS, WRONG_SIGNATURES_MAX};
use std::time::Duration;
use twincast_protocol::wire::Code;

/// Some senders of a tile of a round.
pub(super) struct OfTile {
    pub(super) tile: usize,
    pub(super) senders: u64,
    pub(super) round: u64,
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

    /// Tells who sent records what became of them.
    pub(super) fn tell_senders(&self, code: Code, of: &OfTile, out: &mut Vec<Output>) {
        for (sender, connection) in self.connections_of(of) {
            out.push(Output::To(connection, code.frame(sender, u32::MAX, of.round)));
        }
    }

    /// Tells who sent records that their senders have not signed, and closes who does that again and again: each makes
    /// the signatures of others dearer that are verified with it.
    fn refuse_records(&mut self, refused: &OfTile, out: &mut Vec<Output>) {
        for (sender, connection) in self.connections_of(refused) {
            let Some(seat) = self.seats.get_mut(connection) else { continue };
            seat.wrong_signatures += 1;
            if seat.wrong_signatures < WRONG_SIGNATURES_MAX {
                let frame = Code::SignatureWrong.frame(sender, u32::MAX, refused.round);
                out.push(Output::To(connection, frame));
            } else {
                self.stand_up(connection);
                out.push(Output::Close(connection, Code::SignatureFlood));
            }
        }
    }

    /// By whose connections these senders are attached.
    fn connections_of(&self, of: &OfTile) -> Vec<(u32, ConnectionId)> {
        let Some(running) = &self.running else { return Vec::new() };
        let attached = bits(of.senders).filter_map(|sender| {
            let sender = of.tile * TILE_SENDERS + sender;
            Some((sender as u32, connection_of(&self.seats, &running.roster, sender)?))
        });
        attached.collect()
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
    ) -> Result<Option<OfTile>, Code> {
        let open = self.open();
        let AnswerRounds { shape, roster, suspects, .. } = self;
        let of = Of { shape, roster, round: open, link_up, suspects };
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
                        self.suspects.set(index, senders != 0);
                        known.touch(index, now);
                        Ok(Some(OfTile { tile: index, senders, round: round.0 }))
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
