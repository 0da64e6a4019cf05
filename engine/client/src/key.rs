//! The order of deliveries, the same on both servers.

use twincast_protocol::ids::RoundNumber;

/// What is delivered, in the order in which an epoch delivers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    Confirmations,
    Messages,
}

/// A tile's place in the order of deliveries. Each server's keys ascend strictly; tiles of the two servers with the
/// same key belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    class: Class,
    round: u64,
    major: u32,
    minor: u32,
}

impl Key {
    /// Before everything.
    pub(crate) const FIRST: Key = Key { class: Class::Confirmations, round: 0, major: 0, minor: 0 };
    /// After everything.
    pub(crate) const LAST: Key =
        Key { class: Class::Messages, round: u64::MAX, major: u32::MAX, minor: u32::MAX };

    /// A tile of confirmations: slots ascending, and tiles in each.
    pub(crate) fn confirmations(slot: u32, tile: u32) -> Key {
        Key { class: Class::Confirmations, round: 0, major: slot, minor: tile }
    }

    /// A tile of messages: rounds ascending, tiles in each, and slots in each of those.
    pub(crate) fn messages(round: RoundNumber, tile: u32, slot: u32) -> Key {
        Key { class: Class::Messages, round: round.0, major: tile, minor: slot }
    }

    /// The first tile of a round.
    pub(crate) fn round(round: RoundNumber) -> Key {
        Key::messages(round, 0, 0)
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
    fn keys_ascend_as_an_epoch_is_delivered() {
        let round = RoundNumber;
        let order = [
            Key::FIRST,
            Key::confirmations(0, 7),
            Key::confirmations(1, 0),
            Key::round(round(1)),
            Key::messages(round(1), 0, 1),
            Key::messages(round(1), 1, 0),
            Key::messages(round(2), 0, 0),
            Key::LAST,
        ];
        assert!(order.is_sorted_by(|a, b| a < b && a.next() <= *b));
    }
}
