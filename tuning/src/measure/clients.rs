//! What members make and open, and what servers verify.

use super::median_s;
use crate::constants::VERIFY_BATCH;
use rand::CryptoRng;
use std::hint::black_box;
use twincast_protocol::answer::record::{self, Readers};
use twincast_protocol::answer::{FRAME_BYTES, RECORD_BYTES, RecordContext, SEALED_BYTES, table};
use twincast_protocol::context::{Context, Purpose};
use twincast_protocol::format::{Opener, Profile, Scheme, ShareFormat, dial, split as split_shares};
use twincast_protocol::identity::{Batch, SigningKey};
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, SlotIndex};
use twincast_protocol::receive::{Expected, TileCells};
use twincast_protocol::sealed::{self, Associated, SealKey};

/// Signatures of a batch.
const BATCH: u32 = VERIFY_BATCH;
/// Repetitions of what is too short for the clock.
const TIMES: u32 = 64;
/// Bytes that a record's signature covers, about.
const SIGNED_BYTES: usize = SEALED_BYTES + 38;
/// Bytes of a message.
const MESSAGE: [u8; 256] = [0x5a; 256];

fn record_context(sender: u32) -> RecordContext {
    RecordContext { group: GroupId(0), epoch: Epoch(0), round: RoundNumber(1), sender: MemberIndex(sender) }
}

/// Microseconds to verify one signature of a batch of records, to verify one alone, and to make one.
pub(super) fn signatures(seconds: f64) -> (f64, f64, f64) {
    let mut rng = rand::rng();
    let keys: Vec<SigningKey> = (0..BATCH).map(|_| SigningKey::random(&mut rng)).collect();
    let key = SealKey::random(&mut rng);
    let records: Vec<[u8; RECORD_BYTES]> = (0..BATCH)
        .zip(&keys)
        .map(|(sender, signing)| {
            let mut record = [0; RECORD_BYTES];
            let readers = Some(Readers { key: &key, recipient_set: 0 });
            let made =
                record::make(&record_context(sender), signing, readers, &MESSAGE, &mut rng, &mut record);
            made.expect("the message fits");
            record
        })
        .collect();
    let verifying: Vec<_> = keys.iter().map(SigningKey::verifying_key).collect();
    let mut batch = Batch::default();
    let verify_s = median_s(seconds / 3.0, || {
        for ((sender, key), record) in (0..BATCH).zip(&verifying).zip(&records) {
            record::push(&mut batch, &record_context(sender), key, record);
        }
        assert!(batch.verify(&mut rng).into_iter().all(|valid| valid), "the batch was signed just now");
    });
    let verify_one_s = median_s(seconds / 3.0, || {
        for ((sender, key), record) in (0..TIMES).zip(&verifying).zip(&records) {
            record::push(&mut batch, &record_context(sender), key, record);
            assert!(batch.verify(&mut rng).into_iter().all(|valid| valid), "it was signed just now");
        }
    });
    let mut message = [7; SIGNED_BYTES];
    let sign_s = median_s(seconds / 3.0, || {
        for (time, key) in keys.iter().take(TIMES as usize).enumerate() {
            message[0] = time as u8;
            black_box(key.sign(black_box(&message)));
        }
    });
    let of_one = |pass_s: f64, times: u32| pass_s * 1e6 / f64::from(times);
    (of_one(verify_s, BATCH), of_one(verify_one_s, TIMES), of_one(sign_s, TIMES))
}

/// Microseconds to seal a record's frame, and to open it.
pub(super) fn sealing(seconds: f64) -> (f64, f64) {
    let mut rng = rand::rng();
    let key = SealKey::random(&mut rng);
    let associated = |sequence: u32| Associated {
        group: GroupId(0),
        epoch: Epoch(0),
        round: RoundNumber(1),
        sender: MemberIndex(0),
        recipient_set: 0,
        sequence: sequence.into(),
    };
    let (mut plain, mut sealed) = ([7; FRAME_BYTES], [0; SEALED_BYTES]);
    let seal_s = median_s(seconds / 2.0, || {
        // The same frame again under the same number gives the same bytes: nothing is told by it.
        for _ in 0..TIMES {
            sealed::seal(&key, &associated(1), black_box(&plain), &mut sealed);
        }
    });
    let open_s = median_s(seconds / 2.0, || {
        for _ in 0..TIMES {
            let opened = sealed::open(&key, &associated(1), black_box(&sealed), &mut plain);
            assert!(opened.is_some(), "it was sealed just now");
        }
    });
    (seal_s * 1e6 / f64::from(TIMES), open_s * 1e6 / f64::from(TIMES))
}

/// Microseconds to hash a record.
pub(super) fn digest(seconds: f64) -> f64 {
    let record = [7; RECORD_BYTES];
    let pass_s = median_s(seconds, || {
        for _ in 0..TIMES {
            black_box(table::digest(black_box(&record)));
        }
    });
    pass_s * 1e6 / f64::from(TIMES)
}

fn format() -> ShareFormat {
    ShareFormat::new(Profile::Compact, twincast_loadgen::limits::FRAME_BYTES, Scheme::Plain)
        .expect("the default frame")
}

fn context(sender: u32) -> Context {
    Context {
        group: GroupId(0),
        epoch: Epoch(0),
        round: RoundNumber(1),
        sender: MemberIndex(sender),
        slot: SlotIndex(0),
        purpose: Purpose::Message,
    }
}

/// Microseconds to make a message's shares for both servers.
pub(super) fn split(seconds: f64) -> f64 {
    let (format, mut rng) = (format(), rand::rng());
    let (.., aim) = dial(&format, TIMES, &[MemberIndex(1)], &mut rng).expect("a member");
    let mut rows = [0, 1].map(|_| vec![0; row_bytes(&format)]);
    let pass_s = median_s(seconds, || {
        for sender in 0..TIMES {
            let [one, two] = &mut rows;
            split_shares(&format, &context(sender), &aim, &MESSAGE, &mut rng, [one, two])
                .expect("the message fits");
        }
        black_box(&rows);
    });
    pass_s * 1e6 / f64::from(TIMES)
}

/// Bytes of a row: the same for both servers in the compact profile.
fn row_bytes(format: &ShareFormat) -> usize {
    format.row_bytes(twincast_protocol::ids::ServerSide::One)
}

/// Nanoseconds to decode and verify one cell, a tile at a time.
pub(super) fn decode(seconds: f64) -> f64 {
    let (format, mut rng) = (format(), rand::rng());
    let cells = cells_of_first_member(&format, &mut rng);
    let tile = TileCells { count: TIMES as usize, cells: [&cells[0], &cells[1]], present: [u64::MAX; 2] };
    let mut opener = Opener::new(format);
    let pass_s = median_s(seconds, || {
        let verdicts = opener.open(&context(0), black_box(&tile), Expected::UNCONFIRMED);
        assert_eq!((verdicts.accept, verdicts.ignore), (1, !1), "one message and 63 dummies");
    });
    pass_s * 1e9 / f64::from(TIMES)
}

/// What both servers send the first member of 64 for all senders: the first one's message, and dummies.
fn cells_of_first_member(format: &ShareFormat, rng: &mut impl CryptoRng) -> [Vec<u8>; 2] {
    let mut cells = [Vec::new(), Vec::new()];
    let first = MemberIndex(0);
    for sender in 0..TIMES {
        let recipients: &[MemberIndex] = if sender == 0 { &[first] } else { &[MemberIndex(1)] };
        let (one, two, aim) = dial(format, TIMES, recipients, rng).expect("members");
        let mut rows = [0, 1].map(|_| vec![0; row_bytes(format)]);
        rows.iter_mut().for_each(|row| rng.fill_bytes(row));
        let [row1, row2] = &mut rows;
        split_shares(format, &context(sender), &aim, &MESSAGE, rng, [row1, row2]).expect("the message fits");
        for ((cells, row), key) in cells.iter_mut().zip(&rows).zip([one, two]) {
            let half = usize::from(key.bit(first)) * row.len() / 2;
            cells.extend_from_slice(&row[half..half + row.len() / 2]);
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_one() {
        let (verify_us, verify_one_us, sign_us) = signatures(0.0);
        let (seal_us, open_us) = sealing(0.0);
        let others = [seal_us, open_us, digest(0.0), split(0.0), decode(0.0)];
        for figure in [verify_us, verify_one_us, sign_us].into_iter().chain(others) {
            assert!(figure.is_finite() && figure > 0.0);
        }
    }
}
