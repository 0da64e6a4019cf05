//! What a direction promises: every record once, in order, unchanged; and what who seals has to keep to.

use super::*;
use rand::{Rng as _, RngExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Records of a direction, and the keys that open them.
fn sealed(cipher: Cipher, plains: &[&[u8]]) -> (Vec<Vec<u8>>, ReceiveKeys) {
    let Pair { mut here, there, .. } = pair(cipher, 11);
    (plains.iter().map(|plain| record(&mut here.send, plain)).collect(), there.receive)
}

/// What a reader makes of a stream: the plaintexts, and why it stopped, if it did.
fn read(keys: ReceiveKeys, stream: &[u8]) -> (Vec<Vec<u8>>, Option<ChannelError>) {
    let mut unsealer = keys.into_unsealer();
    unsealer.push(stream);
    let mut plains = Vec::new();
    loop {
        match unsealer.next_record() {
            Ok(Some(plain)) => plains.push(plain.to_vec()),
            Ok(None) => return (plains, None),
            Err(error) => {
                assert_eq!(
                    unsealer.next_record(),
                    Err(ChannelError::Broken),
                    "nothing is believed afterwards"
                );
                return (plains, Some(error));
            }
        }
    }
}

const PLAINS: [&[u8]; 4] = [b"first", b"second", b"third and longer", b"fourth"];

#[test]
fn every_bit_of_a_record_counts() {
    for cipher in Cipher::ALL {
        let (records, _) = sealed(cipher, &[b"some plaintext"]);
        for bit in 0..records[0].len() * 8 {
            // What a longer length waits for comes, too.
            let mut stream = records[0].clone();
            stream.resize(u16::MAX as usize + LENGTH_BYTES, 0);
            stream[bit / 8] ^= 1 << (bit % 8);
            let (plains, error) = read(sealed(cipher, &[]).1, &stream);
            assert!(plains.is_empty());
            let expected = match u16::from_be_bytes([stream[0], stream[1]]).into() {
                17..=16382 => ChannelError::RecordChanged,
                bytes => ChannelError::RecordLength { bytes },
            };
            assert_eq!(error, Some(expected), "{cipher:?}, bit {bit}");
        }
    }
}

#[test]
fn a_record_that_is_repeated_moved_left_out_or_cut_is_noticed_there() {
    for cipher in Cipher::ALL {
        // The order in which records come, and how many of them open.
        let orders: [(&[usize], usize, bool); 6] = [
            (&[0, 1, 2, 3], 4, true),
            (&[0, 0], 1, false),
            (&[0, 1, 0], 2, false),
            (&[0, 2, 1, 3], 1, false),
            (&[0, 1, 3], 2, false),
            (&[1], 0, false),
        ];
        for (order, opened, whole) in orders {
            let (records, keys) = sealed(cipher, &PLAINS);
            let stream: Vec<u8> = order.iter().flat_map(|&index| records[index].clone()).collect();
            let (plains, error) = read(keys, &stream);
            assert_eq!(plains, PLAINS[..opened], "{order:?}");
            assert_eq!(error, (!whole).then_some(ChannelError::RecordChanged), "{order:?}");
        }
        // Cut in the middle: nothing of it is given, and the reader can tell.
        let (records, keys) = sealed(cipher, &PLAINS[..1]);
        let mut unsealer = keys.into_unsealer();
        unsealer.push(&records[0][..records[0].len() - 1]);
        assert_eq!(unsealer.next_record(), Ok(None));
        assert_eq!(unsealer.waiting(), records[0].len() - 1);
        // With a shorter length in front it is another record.
        let (mut records, keys) = sealed(cipher, &PLAINS[..1]);
        records[0][1] -= 1;
        assert_eq!(read(keys, &records[0]), (vec![], Some(ChannelError::RecordChanged)));
    }
}

#[test]
fn a_direction_does_not_open_what_it_sent_itself() {
    let Pair { mut here, .. } = pair(Cipher::AesGcm, 12);
    let reflected = record(&mut here.send, b"sent back");
    assert_eq!(read(here.receive, &reflected).1, Some(ChannelError::RecordChanged));
}

#[test]
fn lengths_are_bounded() {
    for bytes in 0..=u16::MAX {
        let expected = if (17..=16382).contains(&bytes) {
            Ok(usize::from(bytes))
        } else {
            Err(ChannelError::RecordLength { bytes: usize::from(bytes) })
        };
        assert_eq!(ReceiveKeys::body_bytes(bytes.to_be_bytes()), expected);
    }
    for bytes in [0, 15, 16, 16383, 70_000] {
        let (_, mut keys) = sealed(Cipher::AesGcm, &[]);
        let mut out = vec![0; bytes];
        assert_eq!(keys.open(&vec![0; bytes], &mut out), Err(ChannelError::RecordLength { bytes }));
        assert_eq!(keys.open_in_place(&mut [0; 100]), Err(ChannelError::Broken));
    }
}

#[test]
fn what_does_not_open_leaves_nothing_of_the_plaintext() {
    for cipher in Cipher::ALL {
        let (mut records, mut keys) = sealed(cipher, &[&[0xaa; 100]]);
        *records[0].last_mut().unwrap() ^= 1;
        let mut out = [0; 100];
        assert_eq!(keys.open(&records[0][LENGTH_BYTES..], &mut out), Err(ChannelError::RecordChanged));
        assert_eq!(out, [0; 100]);
    }
}

#[test]
fn a_records_size_is_its_plaintexts_and_nothing_else() {
    let mut rng = StdRng::seed_from_u64(13);
    for cipher in Cipher::ALL {
        let Pair { mut here, .. } = pair(cipher, 13);
        for bytes in (1..=40).chain([1000, RECORD_PLAIN_BYTES_MAX - 1, RECORD_PLAIN_BYTES_MAX]) {
            let mut random = vec![0; bytes];
            rng.fill_bytes(&mut random);
            for plain in [vec![0; bytes], vec![0xff; bytes], random] {
                assert_eq!(record(&mut here.send, &plain).len(), bytes + RECORD_OVERHEAD_BYTES);
            }
        }
    }
}

#[test]
fn a_record_that_was_not_sent_is_made_again_the_same() {
    for cipher in Cipher::ALL {
        let Pair { mut here, .. } = pair(cipher, 14);
        here.rekey_every(4);
        let make = |keys: &mut SendKeys, number: u64| {
            let mut buf = [number as u8; 50 + RECORD_OVERHEAD_BYTES];
            assert_eq!(keys.seal(number, &mut buf, 50), buf.len());
            buf
        };
        let records: Vec<_> = (0..8).map(|number| make(&mut here.send, number)).collect();
        assert_eq!(here.send.next_number(), 8);
        // From the newest generation back to the beginning of the one before.
        for number in 0..8 {
            assert_eq!(make(&mut here.send, number), records[number as usize]);
        }
        assert_eq!(here.send.next_number(), 8);
        make(&mut here.send, 8);
        make(&mut here.send, 4);
        let further = catch_unwind(AssertUnwindSafe(|| make(&mut here.send, 3)));
        assert!(further.is_err(), "two generations back there is no key any more");
        let beyond = catch_unwind(AssertUnwindSafe(|| make(&mut here.send, 10)));
        assert!(beyond.is_err(), "a number left out");
    }
}

#[test]
fn limits_are_asserted() {
    let Pair { mut here, .. } = pair(Cipher::AesGcm, 15);
    let mut buf = vec![0; 20_000];
    for bytes in [0, RECORD_PLAIN_BYTES_MAX + 1] {
        assert!(catch_unwind(AssertUnwindSafe(|| here.send.seal(0, &mut buf, bytes))).is_err());
    }
    assert!(catch_unwind(AssertUnwindSafe(|| here.send.seal(0, &mut buf[..50], 50))).is_err());
    assert_eq!(here.send.next_number(), 0, "nothing was sealed");
    here.send.seal(0, &mut buf, 1);
    let late = catch_unwind(AssertUnwindSafe(|| here.send.rekey_every(3)));
    assert!(late.is_err(), "the interval is not changed under way");
}

#[test]
fn everything_sealed_at_once_is_full_records_and_a_rest() {
    let Pair { mut here, there, .. } = pair(Cipher::best(), 16);
    let mut stream = b"before".to_vec();
    here.send.seal_all(&[], &mut stream);
    assert_eq!(stream, b"before");
    let plain: Vec<u8> = (0..2 * RECORD_PLAIN_BYTES_MAX + 1).map(|at| at as u8).collect();
    here.send.seal_all(&plain, &mut stream);
    assert_eq!(here.send.next_number(), 3);
    let (plains, error) = read(there.receive, &stream[6..]);
    assert_eq!((plains.iter().map(Vec::len).collect::<Vec<_>>(), error), (vec![16366, 16366, 1], None));
    assert!(plains.concat() == plain);
}

/// The stream comes in pieces of any length, by either way in, and leaves by either way out; keys change under way.
#[test]
fn a_stream_is_read_however_it_is_cut() {
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let Pair { mut here, mut there, .. } = pair(Cipher::ALL[seed as usize % 2], seed);
        here.rekey_every(1 + seed % 7);
        there.rekey_every(1 + seed % 7);
        let (mut plain, mut stream) = (Vec::new(), Vec::new());
        for _ in 0..20 {
            let mut text = vec![0; rng.random_range(0..40_000) >> rng.random_range(0..12)];
            rng.fill_bytes(&mut text);
            here.send.seal_all(&text, &mut stream);
            plain.extend(text);
        }
        let (mut unsealer, mut got, mut rest) = (there.receive.into_unsealer(), Vec::new(), &stream[..]);
        while !rest.is_empty() {
            let bytes = rest.len().min(rng.random_range(1..50_000) >> rng.random_range(0..14)).max(1);
            if rng.random() {
                unsealer.push(&rest[..bytes]);
                rest = &rest[bytes..];
            } else {
                let space = unsealer.space();
                assert!(space.len() >= RECORD_BYTES_MAX);
                let bytes = bytes.min(space.len());
                space[..bytes].copy_from_slice(&rest[..bytes]);
                unsealer.received(bytes);
                rest = &rest[bytes..];
            }
            loop {
                let mut out = vec![0; rng.random_range(0..=RECORD_PLAIN_BYTES_MAX)];
                let into = rng.random::<bool>().then(|| unsealer.next_record_into(&mut out).unwrap());
                match into {
                    Some(None) => break,
                    Some(Some(bytes)) => got.extend_from_slice(&out[..bytes]),
                    None => match unsealer.next_record().unwrap() {
                        Some(text) => got.extend_from_slice(text),
                        None => break,
                    },
                }
            }
            assert!(unsealer.waiting() < RECORD_BYTES_MAX, "seed {seed}");
        }
        assert_eq!(unsealer.opened(), here.send.next_number(), "seed {seed}");
        assert!(got == plain && unsealer.waiting() == 0, "seed {seed}");
    }
}

#[test]
fn the_keys_and_what_came_behind_the_last_record_can_be_taken_out() {
    let (records, keys) = sealed(Cipher::AesGcm, &PLAINS);
    let mut unsealer = keys.into_unsealer();
    unsealer.push(&records[..3].concat());
    assert_eq!(unsealer.next_record().unwrap().as_deref(), Some(&b"first"[..]));
    let (keys, rest) = unsealer.into_parts();
    assert_eq!((keys.opened(), &rest), (1, &records[1..3].concat()));
    let (plains, error) = read(keys, &rest);
    assert_eq!((plains, error), (vec![PLAINS[1].to_vec(), PLAINS[2].to_vec()], None));
}
