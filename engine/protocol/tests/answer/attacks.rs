//! What one server can change, and who notices.

use crate::views::targets;
use crate::world::{ROUND, Read, Record, World, answer, bit};
use rand::{RngExt as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use twincast_protocol::answer::table::{digest, tree_hash};
use twincast_protocol::answer::{ABSENT, RECORD_BYTES};
use twincast_protocol::ids::RoundNumber;

const MEMBERS: usize = 4;

/// What a bad server answers instead: its table, what it adds to an answer, and whether it names the right root and
/// absent senders.
struct Lie {
    name: String,
    table: Vec<Record>,
    added: Record,
    says_the_same: bool,
}

/// Everything that one server can do without a sender's help: change, replace, move, drop or replay records, use one that
/// it has kept from the other server, change an answer, name another root or other absent senders.
fn lies(world: &mut World) -> Vec<Lie> {
    let mut lies = Vec::new();
    let honest = world.table.clone();
    let mut lie = |name: String, table: Vec<Record>| {
        lies.push(Lie { name, table, added: [0; RECORD_BYTES], says_the_same: true });
    };
    for place in 0..MEMBERS {
        let is_listed = world.absent.contains(&place);
        let with = |record: Record| {
            let mut table = honest.clone();
            table[place] = record;
            table
        };
        for byte in [0, 100, 223, 224, 287, 288, 351] {
            let mut record = honest[place];
            record[byte] ^= 0x10;
            lie(format!("byte {byte} of record {place}"), with(record));
        }
        lie(format!("record {place} replaced by its neighbour's"), with(honest[(place + 1) % MEMBERS]));
        lie(format!("record {place} replayed"), with(world.record(place, RoundNumber(40))));
        // Of a sender who is not listed that is its one record.
        if is_listed {
            lie(
                format!("record {place} that the other server was not told of"),
                with(world.record(place, ROUND)),
            );
        } else {
            lie(format!("record {place} dropped"), with(ABSENT));
        }
        let mut moved = honest.clone();
        moved.swap(place, (place + 1) % MEMBERS);
        lie(format!("records {place} and its neighbour swapped"), moved);
    }
    for byte in [0, 300] {
        let mut added = [0; RECORD_BYTES];
        added[byte] = 1;
        let (name, table) = (format!("byte {byte} of the answer"), honest.clone());
        lies.push(Lie { name, table, added, says_the_same: true });
    }
    let name = "another root, or other absent senders".to_owned();
    lies.push(Lie { name, table: honest, added: [0; RECORD_BYTES], says_the_same: false });
    lies
}

/// A bad server sees its own query vector and whether the reader raises an alarm. For every lie and every vector that it
/// may see, the alarm is the same whatever the reader asks for, and if it asks for nothing.
#[test]
fn answer_alarm_is_independent_of_target() {
    let mut world = World::new(MEMBERS, 10);
    for lie in lies(&mut world) {
        for liar in 0..2 {
            let mut alarms = 0;
            for seen in 0..1_u64 << MEMBERS {
                let all: Vec<bool> =
                    targets(MEMBERS).map(|target| is_alarm(&mut world, &lie, liar, seen, target)).collect();
                assert!(all.windows(2).all(|two| two[0] == two[1]), "{}, view {seen:#b}: {all:?}", lie.name);
                alarms += u32::from(all[0]);
            }
            assert!(alarms > 0, "{} is never noticed", lie.name);
        }
    }
}

fn is_alarm(world: &mut World, lie: &Lie, liar: usize, seen: u64, target: Option<usize>) -> bool {
    let mut false_answer = answer(&lie.table, seen);
    false_answer.iter_mut().zip(&lie.added).for_each(|(sum, byte)| *sum ^= byte);
    let true_answer = answer(&world.table.clone(), seen ^ bit(target));
    let answers = if liar == 0 { [&false_answer, &true_answer] } else { [&true_answer, &false_answer] };
    world.read(target, answers, lie.says_the_same) == Read::Tampered
}

/// Every bit of a record counts: whoever's query of the bad server selects it reads nothing else.
#[test]
fn a_changed_record_is_caught_by_every_reader_concerned() {
    let mut world = World::new(MEMBERS, 11);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(11);
    for byte in 0..RECORD_BYTES {
        let mut table = world.table.clone();
        let place = rng.random_range(0..MEMBERS);
        table[place][byte] ^= 1 << rng.random_range(0..8);
        let lie = Lie { name: format!("byte {byte}"), table, added: [0; RECORD_BYTES], says_the_same: true };
        for target in targets(MEMBERS) {
            let seen = rng.random_range(0..1 << MEMBERS);
            let concerned = seen >> place & 1 == 1;
            let liar = rng.random_range(0..2);
            assert_eq!(
                is_alarm(&mut world, &lie, liar, seen, target),
                concerned,
                "byte {byte} of {place}, seed 11"
            );
        }
    }
}

#[test]
fn a_changed_answer_or_root_is_caught_by_its_reader() {
    let mut world = World::new(MEMBERS, 12);
    let honest = world.table.clone();
    for target in targets(MEMBERS) {
        for byte in 0..RECORD_BYTES {
            let mut added = [0; RECORD_BYTES];
            added[byte] = 0x80;
            let lie = Lie { name: String::new(), table: honest.clone(), added, says_the_same: true };
            assert!(is_alarm(&mut world, &lie, byte % 2, 0b0110, target), "byte {byte}");
        }
        let table = honest.clone();
        let lie = Lie { name: String::new(), table, added: [0; RECORD_BYTES], says_the_same: false };
        assert!(is_alarm(&mut world, &lie, 0, 0b0110, target));
    }
}

#[test]
fn tables_with_one_root_have_the_same_records() {
    let world = World::new(MEMBERS, 13);
    let root = |table: &[Record]| tree_hash(&table.iter().map(digest).collect::<Vec<_>>());
    for place in 0..MEMBERS {
        for byte in 0..RECORD_BYTES {
            let mut table = world.table.clone();
            table[place][byte] ^= 1;
            assert_ne!(root(&table), root(&world.table));
        }
    }
}

/// What remains, and THREAT_MODEL says so: with the help of a sender who signs two records of a round, one server can
/// test whether somebody reads that sender.
#[test]
fn a_sender_who_signs_two_records_can_tell_its_readers() {
    let mut world = World::new(MEMBERS, 14);
    let mut table = world.table.clone();
    table[1] = world.record_of(1, ROUND, b"the other one");
    let lie = Lie { name: String::new(), table, added: [0; RECORD_BYTES], says_the_same: true };
    let alarms: Vec<bool> =
        targets(MEMBERS).map(|target| is_alarm(&mut world, &lie, 0, 0b0010, target)).collect();
    assert_eq!(alarms, [true, false, true, true, true], "its reader alone is content");
}
