//! A client host of the paper's set-up: one connection to each server, many users on each.

use super::{HEADER_BYTES, WELCOME, bits};
use crate::relay::{Inbox, Link, word};
use crate::{BaselineError, Play, Setup};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Servers of the paper.
const SERVERS: usize = 2;
/// Bytes of a share that say what it is: sender, round, half.
const MARK_BYTES: usize = 12;
/// What fills the rest of a share.
const FILLER: u8 = 0x5a;

/// When shares came, their senders ascending; from a reading thread to the one that plays.
type Own = Arc<Mutex<Vec<Instant>>>;

/// A client host whose users are attached and have dialled.
#[derive(Debug)]
pub struct Host {
    setup: Setup,
    host: u32,
    links: [Link; SERVERS],
    /// From each server, when the host's senders' own shares of the round that ended last came.
    own: [Own; SERVERS],
    round: u32,
    dial_seconds: f64,
}

impl Host {
    /// Connects to both servers and dials for every user; returns when all users of all hosts have dialled.
    ///
    /// # Errors
    /// The setup cannot be; a server is not there, closes, or says what does not fit.
    pub fn connect(setup: Setup, host: u32, servers: [SocketAddr; SERVERS]) -> Result<Host, BaselineError> {
        setup.check()?;
        let start = Instant::now();
        let open = |server: usize| {
            Link::open(servers[server], &setup, host, |user, bytes| {
                bytes.extend(bits::vector(&setup, server, user));
            })
        };
        let mut links = [open(0)?, open(1)?];
        let own = [Own::default(), Own::default()];
        for (server, (link, own)) in links.iter_mut().zip(&own).enumerate() {
            let mut welcome = WELCOME;
            link.welcome(&mut welcome)?;
            if welcome != WELCOME {
                return Err(BaselineError::Protocol("a server's welcome is not one".into()));
            }
            link.read_rounds(Shares::new(&setup, host, server, Arc::clone(own)))?;
        }
        Ok(Host { setup, host, links, own, round: 0, dial_seconds: start.elapsed().as_secs_f64() })
    }

    /// Seconds from the first connection until all users of all hosts had dialled at both servers.
    pub fn dial_seconds(&self) -> f64 {
        self.dial_seconds
    }

    /// Plays so many rounds, each when the last has wholly come in; tells `progress` after each how many it has played.
    ///
    /// # Errors
    /// A server closed, or delivered anything but each share that the bits select, once and in order.
    pub fn play(&mut self, rounds: u32, mut progress: impl FnMut(u32)) -> Result<Play, BaselineError> {
        let before = self.bytes_in();
        let mut play = Play::default();
        let each = self.setup.users_of(self.host).count() as u64 * u64::from(self.setup.senders);
        for played in 1..=rounds {
            let uploads = self.uploads();
            let start = Instant::now();
            for link in &mut self.links {
                link.submit(&uploads)?;
            }
            let mut end = start;
            for link in &self.links {
                end = end.max(link.round_ended()?);
            }
            self.round = self.round.wrapping_add(1);
            play.round_seconds.push((end - start).as_secs_f64());
            play.deliveries += each * SERVERS as u64;
            play.own_share_us.extend(self.own_share_us(start));
            progress(played);
        }
        play.bytes_in = self.bytes_in().iter().zip(before).map(|(after, before)| after - before).collect();
        Ok(play)
    }

    /// Of the round that has ended, which began then.
    fn own_share_us(&self, start: Instant) -> Vec<u64> {
        let [first, second] =
            self.own.each_ref().map(|own| own.lock().unwrap_or_else(PoisonError::into_inner));
        let both = first.iter().zip(&*second).map(|(first, second)| *first.max(second));
        both.map(|came| came.saturating_duration_since(start).as_micros() as u64).collect()
    }

    fn bytes_in(&self) -> Vec<u64> {
        self.links.iter().map(Link::bytes_in).collect()
    }

    /// What all senders of this host upload now.
    fn uploads(&self) -> Vec<u8> {
        let share_bytes = self.setup.share_bytes as usize;
        let mut bytes = Vec::new();
        for sender in self.setup.senders_of(self.host) {
            bytes.extend([sender.to_le_bytes(), self.round.to_le_bytes()].concat());
            for half in 0..2 {
                bytes.extend(mark(sender, self.round, half));
                bytes.resize(bytes.len() + share_bytes - MARK_BYTES, FILLER);
            }
        }
        bytes
    }
}

fn mark(sender: u32, round: u32, half: u32) -> [u8; MARK_BYTES] {
    let mut mark = [0; MARK_BYTES];
    for (to, number) in mark.chunks_exact_mut(4).zip([sender, round, half]) {
        to.copy_from_slice(&number.to_le_bytes());
    }
    mark
}

/// What comes from one server: for each sender, ascending, a share for each user of this host, ascending.
struct Shares {
    share_bytes: usize,
    senders: u32,
    users: Vec<u32>,
    /// The vector of each sender, one after the other.
    vectors: Vec<u8>,
    vector_bytes: usize,
    round: u32,
    sender: u32,
    user: usize,
    /// When own shares of the round that is coming in came, to become `own` at its end.
    fresh: Vec<Instant>,
    own: Own,
}

impl Shares {
    fn new(setup: &Setup, host: u32, server: usize, own: Own) -> Shares {
        Shares {
            share_bytes: setup.share_bytes as usize,
            senders: setup.senders,
            users: setup.users_of(host).collect(),
            vectors: (0..setup.senders).flat_map(|sender| bits::vector(setup, server, sender)).collect(),
            vector_bytes: bits::vector_bytes(setup),
            round: 0,
            sender: 0,
            user: 0,
            fresh: Vec::new(),
            own,
        }
    }

    fn misdelivered(&self, frame: &[u8]) -> BaselineError {
        let (sender, round, user) = (self.sender, self.round, self.users[self.user]);
        BaselineError::Protocol(format!(
            "sender {sender}'s share of round {round} for user {user} was to come, and what came is {:?}",
            &frame[..HEADER_BYTES + MARK_BYTES]
        ))
    }
}

impl Inbox for Shares {
    fn frame_bytes(&self) -> usize {
        HEADER_BYTES + self.share_bytes
    }

    fn frames(&self) -> u64 {
        self.users.len() as u64 * u64::from(self.senders)
    }

    fn take(&mut self, frame: &[u8]) -> Result<(), BaselineError> {
        let user = self.users[self.user];
        let vector = &self.vectors[self.sender as usize * self.vector_bytes..][..self.vector_bytes];
        let half = bits::bit(vector, user) as u32;
        let expected = mark(self.sender, self.round, half);
        let right = word(frame, 0) == user
            && word(frame, 4) == self.sender
            && frame[HEADER_BYTES..HEADER_BYTES + MARK_BYTES] == expected;
        if !right {
            return Err(self.misdelivered(frame));
        }
        if user == self.sender {
            self.fresh.push(Instant::now());
        }
        self.user += 1;
        if self.user == self.users.len() {
            (self.user, self.sender) = (0, self.sender + 1);
        }
        Ok(())
    }

    fn end_round(&mut self) {
        (self.sender, self.round) = (0, self.round.wrapping_add(1));
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = std::mem::take(&mut self.fresh);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wrong_half_and_the_wrong_user_are_noticed() {
        let setup = Setup { members: 4, senders: 4, hosts: 2, share_bytes: 16 };
        let vector = bits::vector(&setup, 1, 0);
        let half = bits::bit(&vector, 1) as u32;
        let frame = |user: u32, half: u32| {
            let mut frame = [user.to_le_bytes(), 0u32.to_le_bytes()].concat();
            frame.extend(mark(0, 0, half));
            frame.extend([FILLER; 4]);
            frame
        };
        assert!(Shares::new(&setup, 1, 1, Own::default()).take(&frame(1, half)).is_ok());
        assert!(Shares::new(&setup, 1, 1, Own::default()).take(&frame(1, 1 - half)).is_err());
        assert!(Shares::new(&setup, 1, 1, Own::default()).take(&frame(3, half)).is_err());
    }
}
