//! What a reader makes of two honest answers, and of records that are not what they should be.

use crate::world::{EPOCH, GROUP, ROUND, Read, World, answer, bit};
use twincast_protocol::answer::reader::{Reader, Target};
use twincast_protocol::answer::record::{self, Readers};
use twincast_protocol::answer::{
    ABSENT, FRAME_BYTES, RECORD_BYTES, RecordContext, SEALED_BYTES, message_bytes_max,
};
use twincast_protocol::error::ProtocolError;
use twincast_protocol::identity::{Batch, VerifyingKey};
use twincast_protocol::ids::{Epoch, RoundNumber};
use twincast_protocol::sealed::{self, Associated, SealKey};

const MEMBERS: usize = 5;

/// The verdict on a table that both servers have, whatever the query's coins.
fn read(world: &mut World, target: Option<usize>) -> Read {
    let reads: Vec<Read> = (0..1 << MEMBERS)
        .map(|query: u64| {
            let answers = [query, query ^ bit(target)].map(|query| answer(&world.table, query));
            world.read(target, answers.each_ref(), true)
        })
        .collect();
    assert!(reads.windows(2).all(|two| two[0] == two[1]), "{target:?}");
    reads[0].clone()
}

#[test]
fn every_reader_gets_the_record_that_it_asks_for() {
    let mut world = World::new(MEMBERS, 1);
    for sender in 0..MEMBERS - 1 {
        assert_eq!(read(&mut world, Some(sender)), Read::Accept(format!("from {sender}").into_bytes()));
    }
    assert_eq!(read(&mut world, Some(MEMBERS - 1)), Read::Absent);
    assert_eq!(read(&mut world, None), Read::Ignore);
}

#[test]
fn cover_and_what_others_are_to_read_is_ignored() {
    let mut world = World::new(MEMBERS, 2);
    world.keys[0] = SealKey::from_bytes(&[9; 32]);
    assert_eq!(read(&mut world, Some(0)), Read::Ignore, "sealed under another key");
    let (context, mut rng) = (world.context(1, ROUND), world.coins());
    record::make(&context, &world.members[1], None, b"", &mut rng, &mut world.table[1]).unwrap();
    assert_eq!(read(&mut world, Some(1)), Read::Ignore, "cover");
}

/// An alarm over it would show a server that helps the sender who reads it.
#[test]
fn a_record_that_opens_to_no_message_is_ignored() {
    let mut world = World::new(MEMBERS, 3);
    let associated = Associated {
        group: GROUP,
        epoch: EPOCH,
        round: ROUND,
        sender: world.context(2, ROUND).sender,
        recipient_set: 5,
        sequence: 0,
    };
    world.keys[2] = SealKey::from_bytes(&[9; 32]);
    let key = record_key(&world.keys[2]);
    for frame in [[0; FRAME_BYTES], [1; FRAME_BYTES], [0xff; FRAME_BYTES]] {
        let mut made = world.table[2];
        sealed::seal(&key, &associated, &frame, &mut made[..SEALED_BYTES]);
        let made = world.signed(2, &made);
        assert!(record::verify(&world.context(2, ROUND), &world.members[2].verifying_key(), &made));
        world.table[2] = made;
        assert_eq!(read(&mut world, Some(2)), Read::Ignore);
    }
}

#[test]
fn a_record_is_its_senders_and_its_rounds() {
    let mut world = World::new(MEMBERS, 4);
    let (older, foreign) = (world.record(0, RoundNumber(40)), world.table[1]);
    for other in [older, foreign] {
        world.table[0] = other;
        assert_eq!(read(&mut world, Some(0)), Read::Tampered);
    }
}

/// There is one thing at each place that raises no alarm and that a server could write there.
#[test]
fn a_listed_sender_gives_zeros_and_nobody_else_does() {
    let mut world = World::new(MEMBERS, 5);
    let record = world.table[0];
    world.absent.push(0);
    assert_eq!(read(&mut world, Some(0)), Read::Tampered, "a record of a sender who is listed");
    world.table[0] = ABSENT;
    assert_eq!(read(&mut world, Some(0)), Read::Absent);
    world.absent.clear();
    assert_eq!(read(&mut world, Some(0)), Read::Tampered, "zeros of a sender who is not listed");
    world.table[0] = record;
    assert_eq!(read(&mut world, Some(0)), Read::Accept(b"from 0".to_vec()));
}

/// Its sender alone chooses such a record: an alarm over it would show a server who reads it.
#[test]
fn a_record_of_zeros_that_its_sender_signed_is_ignored() {
    let mut world = World::new(MEMBERS, 15);
    for zeros in [224, SEALED_BYTES] {
        let mut made = world.table[3];
        made[..zeros].fill(0);
        world.table[3] = world.signed(3, &made);
        assert_eq!(read(&mut world, Some(3)), Read::Ignore);
    }
}

/// Keys last and rounds of a server that begins anew count anew: the same round of two epochs shares no key stream.
#[test]
fn the_same_round_of_another_epoch_is_sealed_with_another_key() {
    let mut world = World::new(2, 16);
    let mut make = |epoch, message: &[u8]| {
        let context = RecordContext { epoch: Epoch(epoch), ..world.context(0, ROUND) };
        let (mut out, mut rng) = ([0; RECORD_BYTES], world.coins());
        record::make(&context, &world.members[0], Some(world.readers(0)), message, &mut rng, &mut out)
            .unwrap();
        out
    };
    let (first, again) = (make(3, &[0; 200]), make(4, &[0xff; 200]));
    let sums: std::collections::HashSet<u8> = (3..203).map(|byte| first[byte] ^ again[byte]).collect();
    assert!(sums.len() > 50, "with one key stream it would be 0xff everywhere");
}

#[test]
fn many_answers_are_told_in_their_order() {
    let mut world = World::new(MEMBERS, 6);
    let bad = answer(&world.table, 0b111);
    let mut reader = Reader::default();
    let (round, mut rng) = (world.round(), world.coins());
    let zero = [0; RECORD_BYTES];
    for (target, other) in
        [(Some(0), &zero), (None, &zero), (Some(2), &bad), (Some(4), &zero), (Some(1), &zero)]
    {
        let asked = target.map(|sender| world.target(sender));
        let one = target.map_or(zero, |sender| world.table[sender]);
        reader.push(&round, asked.as_ref(), [&one, other]);
    }
    for servers_agree in [true, false] {
        let mut told = Vec::new();
        reader.finish(servers_agree, &mut rng, |index, verdict| {
            told.push((index, crate::world::owned(verdict)))
        });
        let accept = |sender| Read::Accept(format!("from {sender}").into_bytes());
        let expected = [accept(0), Read::Ignore, Read::Tampered, Read::Absent, accept(1)];
        if servers_agree {
            assert_eq!(told, (0..).zip(expected).collect::<Vec<_>>());
        } else {
            assert!(told.is_empty(), "there is nothing left to tell");
        }
    }
    // A target whose key the reader does not have.
    let target = Target { readers: None, ..world.target(0) };
    reader.push(&round, Some(&target), [&world.table[0], &zero]);
    reader.finish(true, &mut rng, |_, verdict| assert_eq!(crate::world::owned(verdict), Read::Ignore));
}

#[test]
fn messages_fit_or_are_refused() {
    let mut world = World::new(2, 7);
    assert_eq!(message_bytes_max(), 269);
    let longest = vec![7; 269];
    world.table[0] = world.record_of(0, ROUND, &longest);
    let read_back = world.read(Some(0), [&world.table[0].clone(), &[0; RECORD_BYTES]], true);
    assert_eq!(read_back, Read::Accept(longest));
    let (context, mut rng) = (world.context(0, ROUND), world.coins());
    let mut out = [3; RECORD_BYTES];
    let readers = Some(Readers { key: &world.keys[0], recipient_set: 0 });
    let refused = record::make(&context, &world.members[0], readers, &[0; 270], &mut rng, &mut out);
    assert_eq!(refused, Err(ProtocolError::MessageTooLong { bytes: 270, bytes_max: 269 }));
    assert_eq!(out, [3; RECORD_BYTES]);
}

/// Points of small order, for which verification rules are known to differ and anybody can sign, are nobody's keys; as
/// the R of a signature single verification and a batch agree about them.
#[test]
fn a_batch_agrees_with_single_verification_on_small_order_points() {
    let mut identity = [0; 32];
    identity[0] = 1;
    let order_4 = [0; 32];
    for key in [identity, order_4] {
        assert_eq!(VerifyingKey::from_bytes(&key), Err(ProtocolError::VerifyingKey));
    }
    let mut world = World::new(2, 8);
    let key = world.members[0].verifying_key();
    for r in [identity, order_4] {
        let mut signature = world.members[0].sign(b"something");
        signature[..32].copy_from_slice(&r);
        let single = key.verify(b"something", &signature);
        let mut batch = Batch::default();
        (0..20).for_each(|_| batch.push(&key, b"something", &signature));
        assert_eq!((single, batch.verify(&mut world.coins())), (false, vec![false; 20]));
    }
}

/// The key that seals what is sealed with `key` in the epoch of the world.
fn record_key(key: &SealKey) -> SealKey {
    let info: [&[u8]; 3] = [b"twincast/record-seal/v1", &GROUP.0.to_le_bytes(), &EPOCH.0.to_le_bytes()];
    let mut derived = [0; 32];
    let secret =
        if *key == SealKey::from_bytes(&[9; 32]) { [9; 32] } else { panic!("a key that the test knows") };
    hkdf::Hkdf::<sha2::Sha256>::new(None, &secret).expand_multi_info(&info, &mut derived).unwrap();
    SealKey::from_bytes(&derived)
}
