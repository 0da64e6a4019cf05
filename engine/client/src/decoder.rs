//! A user's cells of a tile become verdicts and messages; what came sealed is opened.
//!
//! In a group that exchanges keys a message begins with a mark, 0 plain or 1 sealed: without it a receiver could not
//! tell a sealed message that is for somebody else from a plain one. The mark lies inside the shares, where no server
//! sees it.

use crate::group::{GroupSettings, MARK_BYTES};
use crate::limits::TILE_SENDERS;
use twincast_protocol::context::Context;
use twincast_protocol::format::Opener;
use twincast_protocol::receive::{Expected, TileCells, Verdicts};
use zeroize::Zeroize;

/// The mark of a message that is not sealed.
pub(crate) const PLAIN: u8 = 0;
/// The mark of one that is.
pub(crate) const SEALED: u8 = 1;

/// Decodes tiles, one user's cells at a time, and keeps the messages of the last.
pub(crate) struct Decoder {
    opener: Opener,
    /// In a group that exchanges keys.
    sealing: Option<Plaintexts>,
}

/// What was sealed in the last tile.
struct Plaintexts {
    /// A frame's room for each sender. Wiped on drop.
    bytes: Box<[u8]>,
    lengths: [usize; TILE_SENDERS as usize],
    /// The senders whose message was sealed.
    opened: u64,
}

impl Decoder {
    pub(crate) fn new(group: &GroupSettings) -> Decoder {
        let bytes = TILE_SENDERS as usize * group.format.message_bytes_max();
        let plaintexts =
            || Plaintexts { bytes: vec![0; bytes].into(), lengths: [0; TILE_SENDERS as usize], opened: 0 };
        Decoder { opener: Opener::new(group.format), sealing: group.exchanges_keys().then(plaintexts) }
    }

    /// Decodes the cells of a tile whose first sender has this context.
    #[inline]
    pub(crate) fn decode(
        &mut self,
        context: &Context,
        cells: &TileCells<'_>,
        expected: Expected,
    ) -> Verdicts {
        self.opener.open(context, cells, expected)
    }

    /// Whether messages of this group have a mark.
    pub(crate) fn has_marks(&self) -> bool {
        self.sealing.is_some()
    }

    /// Opens what was accepted and came sealed: `open` takes the sender's position in the tile, the sealed bytes and
    /// room for the plaintext, and says how long that is. What does not open is silent.
    pub(crate) fn unseal(
        &mut self,
        verdicts: &mut Verdicts,
        mut open: impl FnMut(usize, &[u8], &mut [u8]) -> Option<usize>,
    ) {
        let Some(plaintexts) = &mut self.sealing else { return };
        plaintexts.opened = 0;
        let room = plaintexts.bytes.len() / TILE_SENDERS as usize;
        let accepted = (0..TILE_SENDERS as usize).filter(|sender| verdicts.accept >> sender & 1 == 1);
        let mut silent = 0;
        for sender in accepted {
            let bit = 1 << sender;
            match self.opener.message(sender).split_at_checked(MARK_BYTES) {
                Some(([PLAIN], _)) => {}
                Some(([SEALED], sealed)) => {
                    match open(sender, sealed, &mut plaintexts.bytes[sender * room..][..room]) {
                        Some(length) => {
                            plaintexts.opened |= bit;
                            plaintexts.lengths[sender] = length;
                        }
                        None => silent |= bit,
                    }
                }
                _ => silent |= bit,
            }
        }
        verdicts.accept &= !silent;
        verdicts.ignore |= silent;
    }

    /// The message of a sender whom the last tile accepted.
    pub(crate) fn message(&self, sender_in_tile: usize) -> &[u8] {
        let message = self.opener.message(sender_in_tile);
        let Some(plaintexts) = &self.sealing else { return message };
        match plaintexts.opened >> sender_in_tile & 1 {
            0 => message.get(MARK_BYTES..).unwrap_or_default(),
            _ => {
                let room = plaintexts.bytes.len() / TILE_SENDERS as usize;
                &plaintexts.bytes[sender_in_tile * room..][..plaintexts.lengths[sender_in_tile]]
            }
        }
    }
}

impl Drop for Plaintexts {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}
