//! What servers signed at the ends of the last rounds: kept as long as somebody may be asked about them.

use crate::limits::ROUND_ENDS_BYTES_MAX;
use std::collections::VecDeque;
use std::sync::Arc;
use twincast_protocol::accountable::turn::fetchable;
use twincast_protocol::identity::SIGNATURE_BYTES;
use twincast_protocol::ids::{Epoch, RoundNumber, ServerSide};
use twincast_protocol::wire::{SignedRoot, SignedRoundEnd};

/// The last rounds, ascending.
#[derive(Default)]
pub(crate) struct RoundEnds {
    rounds: VecDeque<Ends>,
    bytes: usize,
}

struct Ends {
    epoch: Epoch,
    round: RoundNumber,
    said: [Option<Said>; 2],
}

/// What one server signed at the end of a round.
struct Said {
    present: Arc<[u64]>,
    receipt: [u8; SIGNATURE_BYTES],
    /// In the order of the epoch's users of this client.
    roots: Box<[SignedRoot]>,
}

/// What one server signed for one user at the end of a round.
#[derive(Clone)]
pub(crate) struct Word {
    /// Who is present, tile by tile.
    pub(crate) present: Arc<[u64]>,
    pub(crate) receipt: [u8; SIGNATURE_BYTES],
    pub(crate) root: SignedRoot,
}

impl Said {
    fn bytes(&self) -> usize {
        size_of_val(&*self.present) + size_of_val(&*self.roots)
    }
}

impl RoundEnds {
    /// Takes what `server` signed, and forgets rounds that nobody may ask about any more. Where there are very many
    /// users, those of fewer rounds are kept.
    pub(crate) fn take(
        &mut self,
        server: ServerSide,
        epoch: Epoch,
        round: RoundNumber,
        end: SignedRoundEnd,
        header_rounds: u32,
    ) {
        let place = self.rounds.partition_point(|ends| (ends.epoch, ends.round) < (epoch, round));
        let is_new = self.rounds.get(place).is_none_or(|ends| (ends.epoch, ends.round) != (epoch, round));
        if is_new {
            self.rounds.insert(place, Ends { epoch, round, said: [None, None] });
        }
        let said =
            Said { present: end.present.into(), receipt: end.receipt, roots: end.roots.into_boxed_slice() };
        self.bytes += said.bytes();
        let before = self.rounds[place].said[server.index()].replace(said);
        self.bytes -= before.map_or(0, |said| said.bytes());
        let Some(last) = self.rounds.back().map(|ends| ends.round) else { return };
        let first = *fetchable(last, header_rounds).start();
        let is_late = |ends: &Ends| ends.round < first || ends.epoch.0.saturating_add(1) < epoch.0;
        while self.rounds.len() > 1
            && (self.bytes > ROUND_ENDS_BYTES_MAX || self.rounds.front().is_some_and(is_late))
        {
            let gone = self.rounds.pop_front().into_iter().flat_map(|ends| ends.said);
            self.bytes -= gone.flatten().map(|said| said.bytes()).sum::<usize>();
        }
    }

    /// What the servers signed for the user at this position of the epoch.
    pub(crate) fn words(&self, epoch: Epoch, round: RoundNumber, position: usize) -> [Option<Word>; 2] {
        let found = self.rounds.iter().find(|ends| (ends.epoch, ends.round) == (epoch, round));
        let Some(ends) = found else { return [None, None] };
        ends.said.each_ref().map(|said| {
            let said = said.as_ref()?;
            let root = *said.roots.get(position)?;
            Some(Word { present: said.present.clone(), receipt: said.receipt, root })
        })
    }

    /// The rounds from `first` to `last` that both servers have delivered and signed, each with its epoch.
    pub(crate) fn signed_by_both(
        &self,
        first: RoundNumber,
        last: RoundNumber,
    ) -> impl Iterator<Item = (Epoch, RoundNumber)> {
        let rounds = self.rounds.iter().filter(move |ends| {
            (first..=last).contains(&ends.round) && ends.said.iter().all(Option::is_some)
        });
        rounds.map(|ends| (ends.epoch, ends.round))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twincast_protocol::wire::RoundEnd;

    const EPOCH: Epoch = Epoch(3);

    fn end(round: u64, users: usize) -> SignedRoundEnd {
        let root = SignedRoot { root: [round as u8; 32], signature: [0; 64] };
        SignedRoundEnd {
            end: RoundEnd::new(round, 1, 5),
            present: vec![round],
            receipt: [0; 64],
            roots: vec![root; users],
        }
    }

    fn signed(ends: &RoundEnds) -> Vec<u64> {
        ends.signed_by_both(RoundNumber(0), RoundNumber(99)).map(|(_, round)| round.0).collect()
    }

    #[test]
    fn rounds_are_kept_as_long_as_they_may_be_asked_about() {
        let mut ends = RoundEnds::default();
        for round in 1..=20 {
            for server in ServerSide::BOTH {
                ends.take(server, EPOCH, RoundNumber(round), end(round, 2), 4);
            }
        }
        assert_eq!(signed(&ends), (13..=20).collect::<Vec<_>>());
        let [one, two] = ends.words(EPOCH, RoundNumber(15), 1);
        assert_eq!((one.expect("kept").root.root, two.expect("kept").present[0]), ([15; 32], 15));
        assert!(ends.words(EPOCH, RoundNumber(15), 2)[0].is_none(), "no such user");
        assert!(ends.words(EPOCH, RoundNumber(12), 0)[0].is_none(), "forgotten");
        // What one server has not signed is not asked about.
        ends.take(ServerSide::One, EPOCH, RoundNumber(21), end(21, 2), 4);
        assert_eq!(signed(&ends), (14..=20).collect::<Vec<_>>());
        // Of epochs, the running one and the one before it.
        ends.take(ServerSide::One, Epoch(4), RoundNumber(22), end(22, 2), 4);
        assert_eq!(signed(&ends), (15..=20).collect::<Vec<_>>());
        ends.take(ServerSide::One, Epoch(5), RoundNumber(1), end(1, 2), 4);
        assert_eq!((signed(&ends), ends.rounds.len()), (vec![], 2));
    }

    #[test]
    fn very_many_users_leave_room_for_fewer_rounds() {
        let users = ROUND_ENDS_BYTES_MAX / (6 * size_of::<SignedRoot>());
        let mut ends = RoundEnds::default();
        for round in 1..=9 {
            for server in ServerSide::BOTH {
                ends.take(server, EPOCH, RoundNumber(round), end(round, users), 100);
                // Once more changes nothing.
                ends.take(server, EPOCH, RoundNumber(round), end(round, users), 100);
            }
            assert!(ends.bytes <= ROUND_ENDS_BYTES_MAX, "round {round}: {} bytes", ends.bytes);
        }
        assert_eq!(signed(&ends), [7, 8, 9]);
    }
}
