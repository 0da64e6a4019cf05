//! The order of deliveries, the same on both servers.

use twincast_protocol::ids::{Epoch, RoundNumber};
use twincast_protocol::parts::PartKind;

/// What is delivered, in the order in which an epoch delivers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    Confirmations,
    Keys,
    Replies,
    Messages,
}

impl From<PartKind> for Class {
    fn from(kind: PartKind) -> Class {
        match kind {
            PartKind::Confirmation => Class::Confirmations,
            PartKind::Key => Class::Keys,
            PartKind::KeyReply => Class::Replies,
        }
    }
}

/// A tile's place in the order of deliveries. Each server's keys ascend strictly; tiles of the two servers with the
/// same key belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    epoch: u32,
    class: Class,
    round: u64,
    major: u32,
    minor: u32,
}

impl Key {
    /// After everything.
    pub(crate) const LAST: Key =
        Key { epoch: u32::MAX, class: Class::Messages, round: u64::MAX, major: u32::MAX, minor: u32::MAX };

    /// Before everything of an epoch.
    pub(crate) fn start(epoch: Epoch) -> Key {
        Key::parts(epoch, PartKind::Confirmation, 0, 0)
    }

    /// After everything of an epoch.
    pub(crate) fn end(epoch: Epoch) -> Key {
        Key { epoch: epoch.0, ..Key::LAST }
    }

    /// A tile of parts: slots ascending, and tiles in each.
    pub(crate) fn parts(epoch: Epoch, kind: PartKind, slot: u32, tile: u32) -> Key {
        Key { epoch: epoch.0, class: kind.into(), round: 0, major: slot, minor: tile }
    }

    /// A tile of messages: rounds ascending, tiles in each, and slots in each of those.
    pub(crate) fn messages(epoch: Epoch, round: RoundNumber, tile: u32, slot: u32) -> Key {
        Key { epoch: epoch.0, class: Class::Messages, round: round.0, major: tile, minor: slot }
    }

    /// The first tile of a round.
    pub(crate) fn round(epoch: Epoch, round: RoundNumber) -> Key {
        Key::messages(epoch, round, 0, 0)
    }

    /// Its epoch.
    pub(crate) fn epoch(self) -> Epoch {
        Epoch(self.epoch)
    }

    /// What it is of.
    pub(crate) fn class(self) -> Class {
        self.class
    }

    /// The round of a tile of messages.
    pub(crate) fn round_number(self) -> RoundNumber {
        RoundNumber(self.round)
    }

    /// The least key above this one.
    pub(crate) fn next(self) -> Key {
        Key { minor: self.minor + 1, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_ascend_as_epochs_are_delivered() {
        let (first, second, round) = (Epoch(4), Epoch(5), RoundNumber);
        let order = [
            Key::start(first),
            Key::parts(first, PartKind::Confirmation, 0, 7),
            Key::parts(first, PartKind::Confirmation, 1, 0),
            Key::parts(first, PartKind::Key, 0, 0),
            Key::parts(first, PartKind::KeyReply, 0, 0),
            Key::round(first, round(1)),
            Key::messages(first, round(1), 0, 1),
            Key::messages(first, round(1), 1, 0),
            Key::messages(first, round(2), 0, 0),
            Key::end(first),
            Key::start(second),
            Key::round(second, round(3)),
            Key::LAST,
        ];
        assert!(order.is_sorted_by(|a, b| a < b));
        assert!(order[..3].is_sorted_by(|a, b| a.next() <= *b));
    }
}
