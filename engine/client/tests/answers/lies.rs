//! What one server changes, who notices, and that the alarm says nothing else.

use super::{S1, S2, SHAPE, alarms_of_next_round, heard, readers_of, root_of};
use crate::model::{ANSWERED, EPOCH, Heard, Reads, Server, World};
use twincast_protocol::ids::MemberIndex;

#[test]
fn a_changed_record_is_noticed_by_whom_the_vectors_say_and_by_no_other_rule() {
    for (seed, liar) in [(1, S1), (2, S2), (3, S1)] {
        let mut world = World::opened(SHAPE, seed);
        world.submit(1);
        let victim = MemberIndex(7);
        world.put_both(|server, users| {
            let (mut table, root) = (server.table(1), root_of(server, 1));
            if server.side == liar {
                table[victim.0 as usize][100] ^= 4;
            }
            server.answers_from(1, users, &table, |head, _| head.root = root)
        });
        world.give_all();
        let heard = heard(&world, 1);
        let keys = &world.servers[liar.index()].keys;
        for ((reader, query), verdict) in &heard {
            let selects = keys[&(EPOCH.0, *reader, *query)].0.bit(victim);
            assert_eq!(*verdict == Heard::Tampered, selects, "seed {seed}: query {query} of {reader}");
        }
        let tampered = readers_of(&heard, &Heard::Tampered);
        assert!(tampered.len() > 20, "seed {seed}");
        assert_eq!(alarms_of_next_round(&mut world, 2), tampered, "seed {seed}");
    }
}

#[test]
fn one_changed_answer_is_one_tampered_verdict_used_or_not() {
    for query in 0..3 {
        for byte in [0, 287, 288, 351] {
            let mut world = World::opened(SHAPE, 5);
            world.submit(1);
            world.put(S1, |server, users| {
                server.answers_from(1, users, &server.table(1), |_, answers| {
                    if users[0] == MemberIndex(0) {
                        answers[query * 352 + byte] ^= 0x10;
                    }
                })
            });
            world.put(S2, |server, users| server.round(1, users));
            world.give_all();
            let heard = heard(&world, 1);
            let tampered: Vec<_> = heard.iter().filter(|(_, verdict)| *verdict == Heard::Tampered).collect();
            assert_eq!(tampered, [&((0, query as u32), Heard::Tampered)], "byte {byte}");
            assert_eq!(alarms_of_next_round(&mut world, 2), [0], "query {query}, byte {byte}");
        }
    }
}

#[test]
fn different_roots_are_tampered_for_all() {
    let mut world = World::opened(SHAPE, 5);
    world.submit(1);
    world.put(S1, |server, users| {
        server.answers_from(1, users, &server.table(1), |head, _| head.root[31] ^= 1)
    });
    world.put(S2, |server, users| server.round(1, users));
    world.give_all();
    let heard = heard(&world, 1);
    assert!(heard.len() == 210 && heard.iter().all(|(_, verdict)| *verdict == Heard::Tampered));
    assert_eq!(alarms_of_next_round(&mut world, 2), (0..70).collect::<Vec<u32>>());
    world.put_both(|server, users| server.round(2, users));
    world.give_all();
    assert_eq!(alarms_of_next_round(&mut world, 3), [0; 0], "an alarm is raised once");
}

#[test]
fn one_server_cannot_make_somebody_absent() {
    let mut world = World::opened(ANSWERED, 6);
    world.submit(1);
    // S1 takes the record of member 1 out of its table, and signs for both as well as it can.
    world.put(S1, |server, users| {
        let mut other = Server::new(S1, ANSWERED);
        other.shares.clone_from(&server.shares);
        other.shares.remove(&(1, 1));
        let mut forged = other.table(1)[1];
        forged[288..].rotate_left(1);
        let (mut table, root) = (server.table(1), root_of(server, 1));
        table[1] = forged;
        server.answers_from(1, users, &table, |head, _| head.root = root)
    });
    world.put(S2, |server, users| server.round(1, users));
    world.give_all();
    assert!(heard(&world, 1).iter().all(|(_, verdict)| *verdict != Heard::Absent));
}

/// S1's vectors are the same in all these worlds, since they come of the same coins; only what is read differs. So
/// whatever S1 does has to give the same alarms.
#[test]
fn alarms_do_not_depend_on_what_is_read() {
    type Lie = fn(&Server, &[MemberIndex]) -> Vec<u8>;
    let lies: [(&str, Lie); 5] = [
        ("a changed record", |server, users| {
            let mut table = server.table(2);
            table[3][0] ^= 1;
            server.answers_from(2, users, &table, |_, _| ())
        }),
        ("a changed record under the old root", |server, users| {
            let mut table = server.table(2);
            let root = root_of(server, 2);
            table[3][351] ^= 1;
            server.answers_from(2, users, &table, |head, _| head.root = root)
        }),
        ("a changed answer", |server, users| {
            let root = root_of(server, 2);
            server.answers_from(2, users, &server.table(2), |head, answers| {
                head.root = root;
                answers[352..][..32].fill(9);
            })
        }),
        ("somebody made absent", |server, users| {
            let (mut table, root) = (server.table(2), root_of(server, 2));
            table[3][..224].fill(0);
            server.answers_from(2, users, &table, |head, _| head.root = root)
        }),
        ("records of the round before", |server, users| {
            let root = root_of(server, 2);
            server.answers_from(2, users, &server.table(1), |head, _| head.root = root)
        }),
    ];
    let reads: [Reads; 5] = [
        |_, _, _| None,
        |_, _, _| Some(3),
        |_, reader, _| Some(reader),
        |members, reader, slot| Some((reader + slot) % members),
        |_, reader, slot| (slot == 1).then_some(reader / 2),
    ];
    for (name, lie) in lies {
        let alarms = reads.map(|reads| {
            let mut world = World::new(ANSWERED, 12);
            for player in &mut world.players {
                player.workload.reads = reads;
            }
            world.settle();
            world.open(1);
            world.play(1);
            world.submit(2);
            world.put(S1, lie);
            world.put(S2, |server, users| server.round(2, users));
            world.give_all();
            let vectors: Vec<Vec<u8>> = (0..5)
                .flat_map(|member| (0..2).map(move |slot| (EPOCH.0, member, slot)))
                .map(|place| world.servers[0].keys[&place].0.as_bytes().to_vec())
                .collect();
            (vectors, alarms_of_next_round(&mut world, 3))
        });
        assert!(!alarms[0].1.is_empty(), "{name} is noticed");
        assert!(alarms.iter().all(|other| *other == alarms[0]), "{name}: {alarms:?}");
    }
}
