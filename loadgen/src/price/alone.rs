//! What one core of this machine does of the cryptography alone, measured in this process: handshakes of a server, and
//! signatures of uploads, one by one and in batches. Rates are by the thread's CPU time, so that who else is at work on the
//! machine does not count; that the core is slower then does.
//!
//! `cargo bench -p twincast-benches --bench channel` times the same work by the same clock, pinned to a core and beside the
//! records. The code is there twice: of the crates that both could share none is about measuring, and a benchmark that is
//! built for a minute's use is not to need the whole load generator.

use crate::process::thread_cpu;
use crate::stats::Spread;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use twincast_protocol::accountable::upload::UploadOf;
use twincast_protocol::channel::{Cipher, Initiator, Purpose, Responder, StaticKey};
use twincast_protocol::identity::{Batch, SIGNATURE_BYTES, SigningKey, VerifyingKey};
use twincast_protocol::ids::{Epoch, GroupId, RoundNumber, ServerSide, UserId};

/// Slices that each figure is measured in, and how much CPU time each takes at the least.
const SLICES: u32 = 5;
const SLICE: Duration = Duration::from_millis(100);
/// Uploads of a batch: those of a tile.
const BATCH: u32 = 64;

/// How often a core does something in a second of CPU time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Alone {
    /// What.
    pub(crate) name: String,
    /// In a second, on one core, slice by slice.
    pub(crate) per_second: Spread,
}

/// All of it; some seconds.
pub(crate) fn measure() -> Vec<Alone> {
    let ciphers = [Cipher::AesGcm, Cipher::ChaChaPoly];
    let handshakes = ciphers.map(|cipher| {
        let name = format!("handshakes of a server, {}", cipher.name());
        let server = StaticKey::random(&mut rand::rng());
        slices(&name, || handshake(&server, cipher))
    });
    let uploads = Uploads::new();
    let single = slices("uploads verified, one by one", || uploads.single());
    let batch = slices(&format!("uploads verified, {BATCH} at once"), || uploads.batch());
    handshakes.into_iter().chain([single, batch]).collect()
}

/// Does something, which says how often it did it and what CPU time that took, for some slices.
fn slices(name: &str, mut work: impl FnMut() -> (u32, Duration)) -> Alone {
    // Code and tables are cold once.
    work();
    let mut slice = || {
        let (mut done, mut took) = (0, Duration::ZERO);
        while took < SLICE {
            let (times, time) = work();
            (done, took) = (done + times, took + time);
        }
        f64::from(done) / took.as_secs_f64()
    };
    let values: Vec<f64> = (0..SLICES).map(|_| slice()).collect();
    Alone { name: name.into(), per_second: Spread::of(&values).expect("there are slices") }
}

/// The server's part of one handshake, from its first bytes to the keys of its records. The client's is not counted.
fn handshake(server: &StaticKey, cipher: Cipher) -> (u32, Duration) {
    let client = StaticKey::random(&mut rand::rng());
    let side = ServerSide::One;
    let initiator = Initiator::new(&client, server.public(), cipher, Purpose::Client, side);
    let first = initiator.first();
    let ((responder, second), one) = timed(|| {
        let mut responder = Responder::new(server, Purpose::Client, side);
        let second = responder.first(&first).expect("a good first message");
        (responder, second)
    });
    let (third, _) = initiator.second(&second).expect("a good answer");
    let (channel, two) = timed(|| responder.third(&third).expect("a good last message"));
    drop(channel);
    (1, one + two)
}

/// What it makes, and the CPU time that it takes this thread.
pub(super) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let before = thread_cpu();
    let made = work();
    (made, thread_cpu() - before)
}

/// Signed uploads of a tile's senders.
struct Uploads {
    signed: Vec<(VerifyingKey, [u8; SIGNATURE_BYTES])>,
    halves: Vec<[[u8; 32]; 2]>,
}

impl Uploads {
    fn new() -> Uploads {
        let halves = vec![[[1; 32], [2; 32]]];
        let signed = (0..BATCH).map(|sender| {
            let key = SigningKey::random(&mut rand::rng());
            (key.verifying_key(), of(sender, &halves).sign(&key))
        });
        Uploads { signed: signed.collect(), halves }
    }

    fn single(&self) -> (u32, Duration) {
        let verify = || {
            for (sender, (key, signature)) in (0..).zip(&self.signed) {
                assert!(of(sender, &self.halves).verify(key, signature), "it was just signed");
            }
        };
        (BATCH, timed(verify).1)
    }

    fn batch(&self) -> (u32, Duration) {
        let verify = || {
            let mut batch = Batch::default();
            for (sender, (key, signature)) in (0..).zip(&self.signed) {
                of(sender, &self.halves).push(&mut batch, key, signature);
            }
            assert!(batch.verify(&mut rand::rng()).iter().all(|good| *good), "they were just signed");
        };
        (BATCH, timed(verify).1)
    }
}

fn of(sender: u32, halves: &[[[u8; 32]; 2]]) -> UploadOf<'_> {
    UploadOf {
        group: GroupId(0),
        epoch: Epoch(0),
        round: RoundNumber(1),
        sender: UserId(sender),
        server: ServerSide::One,
        halves,
    }
}
