use super::super::cursor::Cursor;
use super::super::log::{Item, Log};
use super::super::patience::Patience;
use super::super::signed_rounds::{GROUP, USER_BYTES, frame_of, signed_round};
use super::*;
use crate::roster::Roster;
use bytes::Bytes;
use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::cell::RefCell;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Instant;
use twincast_protocol::channel::{
    Channel, Cipher, Initiator, Purpose, REKEY_RECORDS, ReceiveKeys, Responder, StaticKey,
};
use twincast_protocol::ids::{Epoch, RoundNumber, ServerSide, UserId};
use twincast_ring::{Close, Doorbell, Egress, EgressConfig, Event, KernelRing, ZeroCopy};

/// What a server seals with and its client opens with.
fn channel(cipher: Cipher, rekey_records: u64) -> (SendKeys, ReceiveKeys) {
    let key = StaticKey::random(&mut rand::rng());
    let side = ServerSide::One;
    let initiator = Initiator::new(&key, key.public(), cipher, Purpose::Client, side);
    let mut responder = Responder::new(&key, Purpose::Client, side);
    let second = responder.first(&initiator.first()).unwrap();
    let (third, mut client) = initiator.second(&second).unwrap();
    let mut server: Channel = responder.third(&third).unwrap();
    client.rekey_every(rekey_records);
    server.rekey_every(rekey_records);
    (server.send, client.receive)
}

/// A frame that says how long it is, whose it is and its number.
fn frame(private: bool, number: u64, rng: &mut Xoshiro256PlusPlus) -> Bytes {
    let mut bytes = vec![0; rng.random_range(13..60_000) >> rng.random_range(0..8).min(5)];
    bytes.resize(bytes.len().max(13), 0);
    rng.fill_bytes(&mut bytes);
    let length = bytes.len() as u32;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4] = private.into();
    bytes[5..13].copy_from_slice(&number.to_le_bytes());
    bytes.into()
}

/// A kernel that takes any part of what it is given, has some of it made again, and remembers every byte that was ever
/// filled at each place of the stream.
struct Kernel {
    slab_bytes: usize,
    /// Every byte that was filled once, by its place.
    seen: Vec<u8>,
    sent: usize,
}

impl Kernel {
    fn pump(&mut self, stream: &mut Sealed<Cursor>, rng: &mut Xoshiro256PlusPlus, seed: u64) {
        let mut slab = vec![0; self.slab_bytes];
        // A part of the slab first, as the egress does after it has reclaimed one.
        let part = rng.random_range(0..=slab.len());
        let mut filled = stream.fill(&mut slab[..part]);
        if filled == 0 || rng.random() {
            filled += stream.fill(&mut slab[filled..]);
        }
        let put_off = stream.takes_long();
        assert!(filled > 0 || !stream.pending() || put_off, "seed {seed}: a slab holds a record");
        let known = filled.min(self.seen.len() - self.sent);
        assert!(
            slab[..known] == self.seen[self.sent..][..known],
            "seed {seed}: other bytes at a place that was filled before"
        );
        self.seen.extend_from_slice(&slab[known..filled]);
        let mut left = filled;
        // Several short sends, of which some end at a record's end by chance and others within.
        for _ in 0..rng.random_range(0..4) {
            let taken = rng.random_range(0..=left);
            stream.sent(taken);
            self.sent += taken;
            left -= taken;
        }
        if left > 0 {
            stream.rewind();
        }
    }
}

#[test]
fn whatever_is_filled_sent_and_filled_again_no_number_seals_two_plaintexts() {
    for seed in 0..60 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let (send, receive) = channel(Cipher::ALL[seed as usize % 2], 32);
        let log = Rc::new(RefCell::new(Log::default()));
        let cursor = Cursor::new(log.clone(), Patience::new(), [UserId(3)].into());
        let mut stream = Sealed::new(cursor, Some(send));
        let slab_bytes = SEALED_SLAB_BYTES_MIN * rng.random_range(1..5) + 4096 * rng.random_range(0..4);
        let mut kernel = Kernel { slab_bytes, seen: Vec::new(), sent: 0 };
        let mut frames: [Vec<Bytes>; 2] = Default::default();
        for _ in 0..60 {
            let private = rng.random();
            let kind = &mut frames[usize::from(private)];
            let bytes = frame(private, kind.len() as u64, &mut rng);
            kind.push(bytes.clone());
            if private {
                stream.source_mut().push_private(bytes);
            } else {
                log.borrow_mut().push(Item::Frame(RoundNumber(1), bytes));
            }
            for _ in 0..rng.random_range(0..3) {
                kernel.pump(&mut stream, &mut rng, seed);
            }
        }
        while stream.pending() {
            kernel.pump(&mut stream, &mut rng, seed);
        }
        assert_eq!(kernel.sent, kernel.seen.len(), "seed {seed}: all that was filled is sent at the end");
        let mut unsealer = receive.into_unsealer();
        unsealer.push(&kernel.seen);
        let mut plain = Vec::new();
        while let Some(text) = unsealer.next_record().unwrap_or_else(|error| panic!("seed {seed}: {error}")) {
            plain.extend_from_slice(text);
        }
        assert_eq!(unsealer.waiting(), 0, "seed {seed}");
        let (mut next, mut rest) = ([0; 2], plain.as_slice());
        while !rest.is_empty() {
            let kind = usize::from(rest[4]);
            rest = rest.strip_prefix(&frames[kind][next[kind]][..]).expect("a frame, whole and in turn");
            next[kind] += 1;
        }
        assert_eq!(next, [0, 1].map(|kind| frames[kind].len()), "seed {seed}");
        let end = log.borrow().end();
        assert!(log.borrow().get(end).is_none() && stream.source().rounds_behind() == 0, "seed {seed}");
    }
}

/// Ends of accountable rounds between other frames, a few users signed in each turn, whatever is made again meanwhile.
#[test]
fn records_end_where_a_turn_leaves_the_next_user_to_another() {
    const MEMBERS: usize = 70;
    for seed in 0..30 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let (send, receive) = channel(Cipher::ALL[seed as usize % 2], 32);
        let roster = Roster::initial(GROUP, Epoch(1), MEMBERS);
        let (log, patience) =
            (Rc::new(RefCell::new(Log::default())), Patience::of(rng.random_range(1..1000)));
        let users: Box<[UserId]> = (0..MEMBERS as u32).filter(|_| rng.random()).map(UserId).collect();
        let mut stream = Sealed::new(Cursor::new(log.clone(), patience.clone(), users.clone()), Some(send));
        let slab_bytes = SEALED_SLAB_BYTES_MIN * rng.random_range(1..5);
        let mut kernel = Kernel { slab_bytes, seen: Vec::new(), sent: 0 };
        let mut expected = Vec::new();
        for round in 1..8 {
            let bytes = frame(false, round, &mut rng);
            expected.extend_from_slice(&bytes);
            log.borrow_mut().push(Item::Frame(RoundNumber(round), bytes));
            let signed = signed_round(&roster, RoundNumber(round), &mut rng);
            expected.extend_from_slice(&frame_of(&signed, &users));
            log.borrow_mut().push(Item::RoundEnd(signed));
            for _ in 0..rng.random_range(0..4) {
                if rng.random() {
                    patience.renew();
                }
                kernel.pump(&mut stream, &mut rng, seed);
            }
        }
        while stream.pending() {
            patience.renew();
            kernel.pump(&mut stream, &mut rng, seed);
        }
        let mut unsealer = receive.into_unsealer();
        unsealer.push(&kernel.seen);
        let (mut plain, mut records) = (Vec::new(), 0);
        while let Some(text) = unsealer.next_record().unwrap_or_else(|error| panic!("seed {seed}: {error}")) {
            plain.extend_from_slice(text);
            records += 1;
        }
        assert!(plain == expected && unsealer.waiting() == 0, "seed {seed}");
        assert!(records > expected.len() / RECORD_PLAIN_BYTES_MAX, "seed {seed}: {records} records");
    }
}

/// A slab has room for all of it, and a record for much of it.
#[test]
fn a_sealed_stream_signs_no_more_in_a_turn() {
    const MEMBERS: usize = 70;
    const PER_TURN: usize = 4 * MEMBERS + 1;
    /// Of a ROUND_END with two tiles, before its users.
    const HEAD_BYTES: usize = 8 + 24 + 2 * 8 + 64;
    let (send, _) = channel(Cipher::AesGcm, 1 << 20);
    let (log, patience) = (Rc::new(RefCell::new(Log::default())), Patience::of(PER_TURN));
    let users = (0..MEMBERS as u32).map(UserId).collect();
    let mut stream = Sealed::new(Cursor::new(log.clone(), patience.clone(), users), Some(send));
    let roster = Roster::initial(GROUP, Epoch(1), MEMBERS);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    log.borrow_mut().push(Item::RoundEnd(signed_round(&roster, RoundNumber(1), &mut rng)));
    for turn in 0..MEMBERS / 5 {
        let mut slab = vec![0; 4 * SEALED_SLAB_BYTES_MIN];
        patience.renew();
        let filled = stream.fill(&mut slab);
        let head_bytes = if turn == 0 { HEAD_BYTES } else { 0 };
        assert_eq!(filled, RECORD_OVERHEAD_BYTES + head_bytes + 5 * USER_BYTES, "turn {turn}");
        assert_eq!(stream.fill(&mut slab[filled..]), 0, "in the same turn");
        stream.sent(filled);
    }
    assert!(!stream.pending());
}

/// The last records of one key and the first of the next, made together, sent in part and made again: at each place the same
/// bytes, of which a client makes the stream. The connection has sent as many records as one key seals.
#[test]
fn what_is_made_again_across_a_change_of_keys_is_the_same() {
    /// Records before the change and after it, full ones.
    const EACH: usize = 2;
    let record_bytes = RECORD_PLAIN_BYTES_MAX + RECORD_OVERHEAD_BYTES;
    for cipher in Cipher::ALL {
        let (mut send, mut receive) = channel(cipher, REKEY_RECORDS);
        let mut byte = [0; 1 + RECORD_OVERHEAD_BYTES];
        for number in 0..REKEY_RECORDS - EACH as u64 {
            byte[LENGTH_BYTES] = number as u8;
            send.seal(number, &mut byte, 1);
            receive.open_in_place(&mut byte[LENGTH_BYTES..]).unwrap();
            assert_eq!(byte[LENGTH_BYTES], number as u8);
        }
        let log = Rc::new(RefCell::new(Log::default()));
        let mut stream =
            Sealed::new(Cursor::new(log.clone(), Patience::new(), [UserId(3)].into()), Some(send));
        let plain: Vec<u8> = (0..2 * EACH * RECORD_PLAIN_BYTES_MAX).map(|at| (at / 999) as u8).collect();
        log.borrow_mut().push(Item::Frame(RoundNumber(1), plain.clone().into()));
        let mut all = vec![0; 2 * EACH * record_bytes];
        assert_eq!(stream.fill(&mut all), all.len(), "all of it is made, with both keys");
        // From every record back: to the first, into it, to the change and one byte beside it.
        let mut sent = 0;
        for at in [0, 1, record_bytes, EACH * record_bytes - 1, EACH * record_bytes, EACH * record_bytes + 1]
        {
            stream.sent(at - sent);
            sent = at;
            stream.rewind();
            let mut again = vec![0; all.len()];
            assert_eq!(stream.fill(&mut again), all.len() - at);
            assert!(again[..all.len() - at] == all[at..], "{cipher:?}, from byte {at} on");
        }
        stream.sent(all.len() - sent);
        assert!(!stream.pending());
        let mut unsealer = receive.into_unsealer();
        unsealer.push(&all);
        let mut opened = Vec::new();
        while let Some(text) = unsealer.next_record().unwrap() {
            opened.extend_from_slice(text);
        }
        assert!(opened == plain, "{cipher:?}");
        assert_eq!(unsealer.opened(), REKEY_RECORDS + EACH as u64);
    }
}

#[test]
fn a_record_is_told_as_sent_when_all_of_it_is() {
    let (send, _) = channel(Cipher::AesGcm, 1 << 20);
    let log = Rc::new(RefCell::new(Log::default()));
    let mut stream = Sealed::new(Cursor::new(log.clone(), Patience::new(), [UserId(3)].into()), Some(send));
    log.borrow_mut().push(Item::Frame(RoundNumber(1), Bytes::from_static(&[7; 1000])));
    let mut slab = vec![0; SEALED_SLAB_BYTES_MIN];
    assert_eq!(stream.fill(&mut slab[..SEALED_SLAB_BYTES_MIN - 1]), 0, "too short for the longest record");
    assert_eq!(stream.fill(&mut slab), 1000 + RECORD_OVERHEAD_BYTES);
    stream.sent(1000 + RECORD_OVERHEAD_BYTES - 1);
    assert!(stream.pending());
    stream.rewind();
    // A longer record would have room by now, and would be another one.
    log.borrow_mut().push(Item::Frame(RoundNumber(1), Bytes::from_static(&[8; 1000])));
    let mut again = vec![0; 2 * SEALED_SLAB_BYTES_MIN];
    assert_eq!(stream.fill(&mut again), 1 + 1000 + RECORD_OVERHEAD_BYTES);
    assert_eq!(again[0], slab[1000 + RECORD_OVERHEAD_BYTES - 1]);
    stream.sent(1);
    assert!(stream.pending());
    stream.sent(1000 + RECORD_OVERHEAD_BYTES);
    assert!(!stream.pending());
}

#[test]
fn without_keys_the_stream_is_as_it_is() {
    let log = Rc::new(RefCell::new(Log::default()));
    let mut stream = Sealed::new(Cursor::new(log.clone(), Patience::new(), [UserId(3)].into()), None);
    log.borrow_mut().push(Item::Frame(RoundNumber(1), Bytes::from_static(b"in the clear")));
    let mut slab = [0; 20];
    assert_eq!(stream.fill(&mut slab[..6]), 6);
    stream.sent(3);
    stream.rewind();
    assert_eq!(stream.fill(&mut slab[3..]), 9);
    assert_eq!(&slab[..12], b"in the clear");
    stream.sent(9);
    assert!(!stream.pending());
}

/// Over a real socket whose reader stops and starts, with more connections than slabs, so that slabs are reclaimed.
#[test]
fn sealed_streams_arrive_whole_with_and_without_zero_copy() {
    const CONNECTIONS: usize = 6;
    const BYTES: usize = 3 << 20;
    for zero_copy in [ZeroCopy::On, ZeroCopy::Off] {
        let config = EgressConfig {
            slab_bytes: 64 << 10,
            fill_bytes_min: SEALED_SLAB_BYTES_MIN,
            slabs: 4,
            connections_max: CONNECTIONS,
            zero_copy,
            zero_copy_bytes_min: 1,
            ..EgressConfig::default()
        };
        let mut egress =
            Egress::new(config.clone(), KernelRing::new(&config).unwrap(), Doorbell::new().unwrap()).unwrap();
        let (start, log) = (Instant::now(), Rc::new(RefCell::new(Log::default())));
        let readers: Vec<_> = (0..CONNECTIONS)
            .map(|connection| {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let mut far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let socket: OwnedFd = listener.accept().unwrap().0.into();
                let (send, receive) = channel(Cipher::ALL[connection % 2], 16);
                let stream =
                    Sealed::new(Cursor::new(log.clone(), Patience::new(), [UserId(3)].into()), Some(send));
                let key = egress.add(socket, stream, start.elapsed()).map_err(|(error, ..)| error).unwrap();
                let reader = std::thread::spawn(move || {
                    let (mut unsealer, mut plain) = (receive.into_unsealer(), Vec::new());
                    loop {
                        let bytes = far.read(unsealer.space()).unwrap();
                        if bytes == 0 {
                            assert_eq!(unsealer.waiting(), 0, "the stream was cut in a record");
                            return plain;
                        }
                        unsealer.received(bytes);
                        while let Some(text) = unsealer.next_record().unwrap() {
                            plain.extend_from_slice(text);
                        }
                    }
                });
                (key, reader)
            })
            .collect();
        let frames: Vec<Bytes> =
            (0..BYTES / 1000).map(|at| Bytes::from_owner(vec![at as u8; 1000])).collect();
        for bytes in &frames {
            log.borrow_mut().push(Item::Frame(RoundNumber(1), bytes.clone()));
        }
        for (key, _) in &readers {
            egress.wake(*key);
            egress.close(*key, Close::Flush { deadline: std::time::Duration::from_secs(60) });
        }
        let (mut events, mut closed) = (Vec::new(), 0);
        while closed < CONNECTIONS {
            egress.turn(start.elapsed(), Some(std::time::Duration::from_millis(10)), &mut events);
            for event in events.drain(..) {
                if let Event::Closed { source, .. } = event {
                    assert!(!source.pending());
                    closed += 1;
                }
            }
        }
        let expected = frames.concat();
        for (_, reader) in readers {
            assert!(reader.join().unwrap() == expected, "{zero_copy:?}");
        }
        if zero_copy == ZeroCopy::On {
            assert!(egress.stats().zc_sends > 0, "{:?}", egress.stats());
        }
    }
}
