//! The only way from one party to another: it counts rounds and bytes.

use std::collections::VecDeque;

/// The parties, numbered from 0; indices of parties, components and keys all count modulo this.
pub(super) const PARTIES: usize = 3;

/// Messages of whole words between three parties and their users.
///
/// A message sent in a round can be received only after that round's end, so no protocol can need fewer
/// rounds than it is counted for. Payload is counted, framing and transport headers are not.
#[derive(Default)]
pub(super) struct Network {
    in_flight: [[Vec<Vec<u64>>; PARTIES]; PARTIES],
    delivered: [[VecDeque<Vec<u64>>; PARTIES]; PARTIES],
    rounds: u64,
    bytes: [[u64; PARTIES]; PARTIES],
    client_bytes_in: u64,
    client_bytes_out: u64,
    /// Everything that passed, as (from, to, words): the tests look at it.
    #[cfg(test)]
    pub(super) log: Vec<(usize, usize, Vec<u64>)>,
}

impl Network {
    /// The party's own end of the network.
    pub(super) fn port(&mut self, party: usize) -> Port<'_> {
        Port { network: self, party }
    }

    /// Delivers what was sent since the last call, and counts one round.
    ///
    /// # Panics
    ///
    /// If nothing was sent, or a delivered message of an earlier round was never received: a protocol that
    /// does this is counted wrongly.
    pub(super) fn end_round(&mut self) {
        let mut sent = false;
        for from in 0..PARTIES {
            for to in 0..PARTIES {
                assert!(
                    self.delivered[from][to].is_empty(),
                    "a message of party {from} to {to} was not received"
                );
                for words in self.in_flight[from][to].drain(..) {
                    sent |= !words.is_empty();
                    self.bytes[from][to] += bytes(&words);
                    #[cfg(test)]
                    self.log.push((from, to, words.clone()));
                    self.delivered[from][to].push_back(words);
                }
            }
        }
        assert!(sent, "a round in which nobody sends is no round");
        self.rounds += 1;
    }

    /// Counts what a user hands one party.
    pub(super) fn count_client_in(&mut self, words: &[u64]) {
        self.client_bytes_in += bytes(words);
    }

    /// Counts what one party hands a user.
    pub(super) fn count_client_out(&mut self, words: &[u64]) {
        self.client_bytes_out += bytes(words);
    }

    /// Rounds so far.
    pub(super) fn rounds(&self) -> u64 {
        self.rounds
    }

    /// Bytes so far, `[from][to]`.
    pub(super) fn bytes(&self) -> [[u64; PARTIES]; PARTIES] {
        self.bytes
    }

    /// Bytes from all users and to all users so far.
    pub(super) fn client_bytes(&self) -> (u64, u64) {
        (self.client_bytes_in, self.client_bytes_out)
    }
}

fn bytes(words: &[u64]) -> u64 {
    size_of_val(words) as u64
}

/// One party's end of the [`Network`].
pub(super) struct Port<'a> {
    network: &'a mut Network,
    party: usize,
}

impl Port<'_> {
    /// Sends words to the party after this one.
    pub(super) fn send_next(&mut self, words: Vec<u64>) {
        self.network.in_flight[self.party][(self.party + 1) % PARTIES].push(words);
    }

    /// Sends words to the party before this one.
    pub(super) fn send_previous(&mut self, words: Vec<u64>) {
        self.network.in_flight[self.party][(self.party + 2) % PARTIES].push(words);
    }

    /// The oldest message from the party after this one.
    ///
    /// # Panics
    ///
    /// If none has been delivered: the protocol forgot to end the round.
    pub(super) fn receive_from_next(&mut self) -> Vec<u64> {
        self.receive((self.party + 1) % PARTIES)
    }

    /// The oldest message from the party before this one.
    ///
    /// # Panics
    ///
    /// If none has been delivered: the protocol forgot to end the round.
    pub(super) fn receive_from_previous(&mut self) -> Vec<u64> {
        self.receive((self.party + 2) % PARTIES)
    }

    fn receive(&mut self, from: usize) -> Vec<u64> {
        self.network.delivered[from][self.party]
            .pop_front()
            .expect("a message is received in the round after it was sent")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_a_round_later_and_are_counted() {
        let mut network = Network::default();
        network.port(0).send_next(vec![7; 5]);
        network.port(0).send_previous(vec![8; 2]);
        network.port(2).send_next(vec![9]);
        assert_eq!(network.bytes(), [[0; PARTIES]; PARTIES]);
        network.end_round();
        assert_eq!(network.port(1).receive_from_previous(), [7; 5]);
        assert_eq!(network.port(2).receive_from_next(), [8; 2]);
        assert_eq!(network.port(0).receive_from_previous(), [9]);
        assert_eq!(network.bytes(), [[0, 40, 16], [0, 0, 0], [8, 0, 0]]);
        assert_eq!(network.rounds(), 1);
    }

    #[test]
    #[should_panic(expected = "in the round after")]
    fn nothing_arrives_in_the_round_it_was_sent_in() {
        let mut network = Network::default();
        network.port(0).send_next(vec![7]);
        network.port(1).receive_from_previous();
    }

    #[test]
    #[should_panic(expected = "nobody sends")]
    fn an_empty_round_is_a_bug() {
        Network::default().end_round();
    }
}
