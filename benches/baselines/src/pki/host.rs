//! A client host of the PKI broadcast: one connection, many users on it.

use super::HEADER_BYTES;
use super::seal::{CIPHERTEXT_BYTES, KEY_BYTES, KeyPair, MESSAGE_BYTES, open, seal};
use crate::relay::{Inbox, Link, word};
use crate::{BaselineError, Play, Setup};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// A client host whose users are introduced, and know everybody's public key.
#[derive(Debug)]
pub struct Host {
    setup: Setup,
    host: u32,
    link: Link,
    /// Of this host's users, ascending.
    keys: Vec<KeyPair>,
    /// Of all members, ascending.
    directory: Vec<u8>,
    kept: Kept,
    round: u32,
}

/// What the first users of this host found in the last round, one after the other.
type Kept = Arc<Mutex<Vec<Vec<u8>>>>;

/// What trial decryption took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trials {
    /// Ciphertexts that a user tried to open.
    pub trials: u64,
    /// Those that opened, each with the right message of a sender who meant that user.
    pub opened: u64,
    /// Users of this host who tried all ciphertexts of the round, and found exactly what was meant for them.
    pub users: u64,
    /// CPU seconds of all trials.
    pub cpu_seconds: f64,
}

impl Host {
    /// Draws keys for the host's users and introduces them; returns when all users of all hosts are introduced.
    ///
    /// `trials_max` bounds what [`open_some`](Self::open_some) tries after rounds, and what is kept for it.
    ///
    /// # Errors
    /// The setup cannot be; the server is not there, or closes.
    pub fn connect(
        setup: Setup,
        host: u32,
        server: SocketAddr,
        trials_max: u64,
    ) -> Result<Host, BaselineError> {
        setup.check()?;
        let mut rng = rand::rng();
        let keys: Vec<KeyPair> = setup.users_of(host).map(|_| KeyPair::random(&mut rng)).collect();
        let mut pairs = keys.iter();
        let mut link = Link::open(server, &setup, host, |_, bytes| {
            bytes.extend(pairs.next().expect("a pair for each user").public());
        })?;
        let mut directory = vec![0; setup.members as usize * KEY_BYTES];
        link.welcome(&mut directory)?;
        let keep = (trials_max / u64::from(setup.senders)).clamp(1, keys.len().max(1) as u64) as usize;
        let per_user = trials_max.min(u64::from(setup.senders)) as usize * CIPHERTEXT_BYTES;
        let kept = Kept::default();
        let users = setup.users_of(host).collect();
        let inbox =
            Inboxes { setup, users, user: 0, keep, per_user, fresh: Vec::new(), kept: Arc::clone(&kept) };
        link.read_rounds(inbox)?;
        Ok(Host { setup, host, link, keys, directory, kept, round: 0 })
    }

    /// Plays so many rounds, each when the last has wholly come in; tells `progress` after each how many it has played.
    /// Messages are sealed before a round's clock starts: in a real system that is many machines' work.
    ///
    /// # Errors
    /// The server closed, or delivered anything but one inbox for each user, in order.
    pub fn play(&mut self, rounds: u32, mut progress: impl FnMut(u32)) -> Result<Play, BaselineError> {
        let before = self.link.bytes_in();
        let mut play = Play::default();
        for played in 1..=rounds {
            let uploads = self.uploads();
            let start = Instant::now();
            self.link.submit(&uploads)?;
            let end = self.link.round_ended()?;
            self.round = self.round.wrapping_add(1);
            play.round_seconds.push(end.saturating_duration_since(start).as_secs_f64());
            play.deliveries += self.keys.len() as u64 * u64::from(self.setup.senders);
            progress(played);
        }
        play.bytes_in = vec![self.link.bytes_in() - before];
        Ok(play)
    }

    /// Trial decryption of what was kept of the last round.
    ///
    /// # Errors
    /// A ciphertext opened for whom it was not meant, or did not open for whom it was: altered on the way.
    pub fn open_some(&self) -> Result<Trials, BaselineError> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut trials = Trials::default();
        let users = self.setup.users_of(self.host);
        let before = thread_cpu_seconds();
        for ((user, keys), inbox) in users.zip(&self.keys).zip(&*kept) {
            for (sender, sealed) in inbox.as_chunks::<CIPHERTEXT_BYTES>().0.iter().enumerate() {
                let sender = sender as u32;
                let opened = open(keys, sealed);
                let meant = self.setup.recipient_of(sender) == user;
                let message = message(sender, self.round.wrapping_sub(1));
                if opened.as_deref() != meant.then_some(&message) {
                    return Err(BaselineError::Protocol(format!(
                        "sender {sender}'s ciphertext for user {} was altered: user {user} found otherwise",
                        self.setup.recipient_of(sender)
                    )));
                }
                trials.trials += 1;
                trials.opened += u64::from(meant);
            }
            trials.users += u64::from(inbox.len() == self.setup.senders as usize * CIPHERTEXT_BYTES);
        }
        trials.cpu_seconds = thread_cpu_seconds() - before;
        Ok(trials)
    }

    fn uploads(&self) -> Vec<u8> {
        let mut rng = rand::rng();
        let keys = self.directory.as_chunks::<KEY_BYTES>().0;
        let mut bytes = Vec::new();
        for sender in self.setup.senders_of(self.host) {
            bytes.extend([sender.to_le_bytes(), self.round.to_le_bytes()].concat());
            let recipient = &keys[self.setup.recipient_of(sender) as usize];
            bytes.extend(seal(recipient, &message(sender, self.round), &mut rng));
        }
        bytes
    }
}

/// What a sender says in a round.
fn message(sender: u32, round: u32) -> [u8; MESSAGE_BYTES] {
    let mut message = [0x5a; MESSAGE_BYTES];
    message[..4].copy_from_slice(&sender.to_le_bytes());
    message[4..8].copy_from_slice(&round.to_le_bytes());
    message
}

fn thread_cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// What comes: for each user of this host, ascending, all of the round's ciphertexts.
struct Inboxes {
    setup: Setup,
    users: Vec<u32>,
    user: usize,
    /// Users whose inboxes are kept.
    keep: usize,
    /// Bytes of an inbox that are kept.
    per_user: usize,
    /// Of the round that is coming in.
    fresh: Vec<Vec<u8>>,
    kept: Kept,
}

impl Inbox for Inboxes {
    fn frame_bytes(&self) -> usize {
        HEADER_BYTES + self.setup.senders as usize * CIPHERTEXT_BYTES
    }

    fn frames(&self) -> u64 {
        self.users.len() as u64
    }

    fn take(&mut self, frame: &[u8]) -> Result<(), BaselineError> {
        let user = self.users[self.user];
        if word(frame, 0) != user || word(frame, 4) != self.setup.senders {
            return Err(BaselineError::Protocol(format!("user {user}'s inbox was to come, and did not")));
        }
        if self.user < self.keep {
            self.fresh.push(frame[HEADER_BYTES..][..self.per_user].to_vec());
        }
        self.user += 1;
        Ok(())
    }

    fn end_round(&mut self) {
        self.user = 0;
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = std::mem::take(&mut self.fresh);
    }
}
