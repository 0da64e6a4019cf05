//! Lines that wait to be sent, one message a round.

use crate::out::tell;
use std::collections::VecDeque;
use twincast_protocol::ids::RoundNumber;

/// What was typed, until it has gone out.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// Lines that are not sent yet, or what is left of one.
    waiting: VecDeque<Vec<u8>>,
    /// What is on its way, by round.
    sent: VecDeque<(RoundNumber, Vec<u8>)>,
    /// It was said that long lines go out in pieces.
    told_of_pieces: bool,
    nothing: [u8; 0],
}

impl Lines {
    /// One more. An empty line is nothing to send.
    pub(crate) fn push(&mut self, line: String) {
        if !line.is_empty() {
            self.waiting.push_back(line.into_bytes());
        }
    }

    /// Whether everything has gone out.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty()
    }

    /// Nothing is said in a round.
    pub(crate) fn nothing(&self) -> &[u8] {
        &self.nothing
    }

    /// The message of a round, of at most so many bytes: a line, or as much as there is room for of a longer one, up to the
    /// end of a character. The rest comes next.
    pub(crate) fn next(&mut self, round: RoundNumber, bytes_max: usize) -> &[u8] {
        let Some(mut piece) = self.waiting.pop_front() else { return &self.nothing };
        if piece.len() > bytes_max {
            let is_boundary = |end: &usize| piece[*end] & 0xc0 != 0x80;
            // Where there is no room for a whole character its bytes are all that can be sent.
            let end = (1..=bytes_max).rev().find(is_boundary).unwrap_or(bytes_max);
            if !std::mem::replace(&mut self.told_of_pieces, true) {
                tell!("a message has room for {bytes_max} bytes: longer lines go out in pieces");
            }
            self.waiting.push_front(piece.split_off(end));
        }
        self.sent.push_back((round, piece));
        self.sent.back().map_or(&self.nothing, |(_, piece)| piece)
    }

    /// A round is over. What did not go out with it, or with one before, is sent once more.
    pub(crate) fn closed(&mut self, round: RoundNumber, arrived: bool) {
        let over = self.sent.partition_point(|(sent, _)| *sent <= round);
        for (sent, piece) in self.sent.drain(..over).rev() {
            if !(arrived && sent == round) {
                self.waiting.push_front(piece);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_goes_out_in_pieces_of_whole_characters_and_nothing_of_it_is_lost() {
        let long = "süßes und Salziges, 日本語 ".repeat(20);
        for bytes_max in [4, 5, 7, 64, 285, long.len() - 1, long.len(), 5000] {
            let mut lines = Lines::default();
            lines.push(long.clone());
            lines.push(String::new());
            lines.push("next".to_owned());
            let mut heard = String::new();
            let mut rounds = (1..).map(RoundNumber);
            while heard.len() < long.len() {
                let round = rounds.next().unwrap();
                let message = lines.next(round, bytes_max);
                assert!(!message.is_empty() && message.len() <= bytes_max);
                let text = str::from_utf8(message).expect("whole characters").to_owned();
                // Every third round nothing arrives.
                let arrived = round.0 % 3 != 0;
                lines.closed(round, arrived);
                heard.push_str(if arrived { &text } else { "" });
            }
            assert_eq!(heard, long);
            assert_eq!(lines.next(RoundNumber(1000), bytes_max), b"next");
            assert!(!lines.is_empty(), "it is on its way");
            lines.closed(RoundNumber(1000), true);
            assert!(lines.is_empty() && lines.next(RoundNumber(1001), bytes_max).is_empty());
        }
    }

    #[test]
    fn what_does_not_arrive_goes_out_once_more_in_its_order() {
        let mut lines = Lines::default();
        ["one", "two", "three"].iter().for_each(|line| lines.push((*line).to_owned()));
        assert_eq!(lines.next(RoundNumber(5), 9), b"one");
        assert_eq!(lines.next(RoundNumber(6), 9), b"two");
        lines.closed(RoundNumber(4), true);
        // Of round 5 nothing was said: it was left out.
        lines.closed(RoundNumber(6), false);
        for (round, line) in [(7, &b"one"[..]), (8, b"two"), (9, b"three")] {
            assert_eq!(lines.next(RoundNumber(round), 9), line);
            lines.closed(RoundNumber(round), true);
        }
        assert!(lines.is_empty());
    }
}
