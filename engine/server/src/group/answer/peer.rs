//! What the other server says of records. A frame is about a tile of a round; it is nonsense where it is about one that
//! there is not, or contradicts what was said and agreed before, and then the link is closed. What is about a round that
//! is over is ignored.
//!
//! Hashes are kept for the open round and a few after it. The rest follows only from a hash that this server has said,
//! so it is about the open round, once for each tile.

use super::tile::Of;
use super::work::OfTile;
use super::{AnswerRounds, mask};
use crate::config::Delivery;
use crate::group::delivery::EpochRounds;
use crate::group::peer::Link;
use crate::group::{Group, Output};
use crate::limits::TILE_SENDERS;
use std::time::Duration;
use twincast_protocol::ids::{Epoch, RoundNumber};
use twincast_protocol::wire::Code;
use twincast_protocol::wire::link::{LinkFrame, RecordTile};

impl Group {
    /// TILE_HASH, DIGESTS, SHOWN or ABSENCES.
    pub(in super::super) fn peer_tile(
        &mut self,
        about: &RecordTile,
        frame: LinkFrame,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Result<(), Code> {
        if self.shape.delivery != Delivery::Answer {
            return Err(Code::KindUnknown);
        }
        let (epoch, round) = (Epoch(about.epoch.get()), RoundNumber(about.round.get()));
        let (tile, senders) = (about.tile.get() as usize, about.senders.get());
        let Some((first, members)) = self.place_of(epoch, round, tile)? else { return Ok(()) };
        if senders & !mask(TILE_SENDERS.min(members - tile * TILE_SENDERS)) != 0 {
            return Err(Code::LengthWrong);
        }
        let settles = matches!(frame, LinkFrame::Digests(..));
        let hash = self.words.hash(round, tile);
        let link_up = self.link == Link::Up;
        let rounds = self.running.as_mut().and_then(|running| match &mut running.rounds {
            EpochRounds::Answers(rounds) if rounds.open() == round => Some(rounds),
            _ => None,
        });
        let is_news = match (frame, rounds) {
            (LinkFrame::TileHash(_, hash), rounds) => {
                let is_news = self.words.put_hash(first, round, tile as u32, (senders, hash))?;
                if let (Some(rounds), true) = (rounds, is_news) {
                    rounds.open.touch(tile, now);
                }
                return Ok(());
            }
            // This server has said no hash that it could follow from.
            (_, None) => return Err(Code::EpochMismatch),
            (frame, Some(rounds)) => {
                let AnswerRounds { shape, roster, suspects, open, .. } = &mut **rounds;
                let of = Of { shape, roster, round, link_up, suspects };
                let known = open.tiles.get_mut(tile).ok_or(Code::EpochMismatch)?;
                let is_news = match frame {
                    LinkFrame::Digests(_, digests) => known.take_digests(&of, hash, senders, &digests, out),
                    LinkFrame::Shown(_, shown) => known.take_shown(&of, senders, shown, out),
                    LinkFrame::Absences(_, signed) => known.take_absences(&of, senders, signed, out),
                    _ => Err(Code::KindUnknown),
                };
                is_news.map(|is_news| (rounds, is_news))?
            }
        };
        if let (rounds, true) = is_news {
            rounds.open.touch(tile, now);
            if settles {
                let senders = rounds.open.tiles[tile].half();
                self.tell_senders(Code::RecordHalf, &OfTile { tile, senders, round: round.0 }, out);
            }
        }
        Ok(())
    }
}
