//! What a reader makes of two honest answers, and of records that are not what they should be.

use crate::world::{ROUND, Read, World, answer, bit};
use twincast_protocol::answer::reader::{Reader, Target};
use twincast_protocol::answer::record::{self, Readers};
use twincast_protocol::answer::{FRAME_BYTES, RECORD_BYTES, SEALED_BYTES, message_bytes_max};
use twincast_protocol::error::ProtocolError;
use twincast_protocol::identity::{Batch, SIGNATURE_BYTES, VerifyingKey};
use twincast_protocol::ids::RoundNumber;
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
        group: crate::world::GROUP,
        epoch: crate::world::EPOCH,
        round: ROUND,
        sender: world.context(2, ROUND).sender,
        recipient_set: 5,
        sequence: 0,
    };
    for frame in [[0; FRAME_BYTES], [1; FRAME_BYTES], [0xff; FRAME_BYTES]] {
        let mut made = world.table[2];
        sealed::seal(&world.keys[2], &associated, &frame, &mut made[..SEALED_BYTES]);
        let mut statement = b"twincast/record/v1".to_vec();
        statement.extend(7_u32.to_le_bytes());
        statement.extend(3_u32.to_le_bytes());
        statement.extend(41_u64.to_le_bytes());
        statement.extend(2_u32.to_le_bytes());
        statement.extend(&made[..SEALED_BYTES]);
        made[SEALED_BYTES..].copy_from_slice(&world.members[2].sign(&statement));
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

#[test]
fn absence_takes_both_servers_words() {
    let mut world = World::new(MEMBERS, 5);
    let absent = world.table[MEMBERS - 1];
    let of_another = world.absent(0);
    for half in [224..288, 288..352] {
        world.table[MEMBERS - 1] = absent;
        world.table[MEMBERS - 1][half.clone()].copy_from_slice(&of_another[half.clone()]);
        assert_eq!(read(&mut world, Some(MEMBERS - 1)), Read::Tampered, "{half:?}");
    }
    world.table[MEMBERS - 1] = absent;
    world.table[MEMBERS - 1][224..].rotate_left(SIGNATURE_BYTES);
    assert_eq!(
        read(&mut world, Some(MEMBERS - 1)),
        Read::Tampered,
        "the servers' signatures in each other's place"
    );
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
    for roots_agree in [true, false] {
        let mut told = Vec::new();
        reader
            .finish(roots_agree, &mut rng, |index, verdict| told.push((index, crate::world::owned(verdict))));
        let accept = |sender| Read::Accept(format!("from {sender}").into_bytes());
        let expected = [accept(0), Read::Ignore, Read::Tampered, Read::Absent, accept(1)];
        if roots_agree {
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

/// Points of small order, for which verification rules are known to differ: here one by one and together agree.
#[test]
fn a_batch_agrees_with_single_verification_on_small_order_points() {
    let mut identity = [0; 32];
    identity[0] = 1;
    let order_4 = [0; 32];
    let mut rng = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(8);
    for key in [identity, order_4] {
        let key = VerifyingKey::from_bytes(&key).unwrap();
        for r in [identity, order_4] {
            let mut signature = [0; SIGNATURE_BYTES];
            signature[..32].copy_from_slice(&r);
            let single = key.verify(b"anything", &signature);
            assert!(single, "ZIP-215 multiplies by the cofactor");
            let mut batch = Batch::default();
            (0..20).for_each(|_| batch.push(&key, b"anything", &signature));
            assert_eq!(batch.verify(&mut rng), [single; 20]);
        }
    }
}
