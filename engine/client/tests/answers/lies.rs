//! What one server changes, who notices, and that the alarm says nothing else.

use super::{S1, S2, SHAPE, alarms_of_next_round, heard, readers_of, root_of};
use crate::model::{ANSWERED, EPOCH, GROUP, Heard, Keys, Reads, Server, World, id};
use twincast_protocol::answer::RECORD_BYTES;
use twincast_protocol::ids::{MemberIndex, ServerSide};
use twincast_protocol::session_key::SessionKey;

type Record = [u8; RECORD_BYTES];

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
    world.put(S1, |server, users| {
        // Who is not there at S1 is neither in its table nor missing in its list.
        let mut other = Server::new(S1, ANSWERED);
        (other.shares, other.keys) = (server.shares.clone(), server.keys.clone());
        other.shares.remove(&(1, 1));
        other.answers(1, users)
    });
    world.put(S2, |server, users| server.round(1, users));
    world.give_all();
    assert!(heard(&world, 1).iter().all(|(_, verdict)| *verdict == Heard::Tampered));
}

/// What one server does in a round.
struct Lie {
    name: &'static str,
    /// Whether it has kept a record to itself, so that both list its sender as absent.
    hides: bool,
    /// What it answers; it has the record of [`VICTIM`].
    tell: fn(&Server, &[MemberIndex], u64, &Record) -> Vec<u8>,
    /// Whether the query notices, of which the server has this vector, by its slot.
    notices: fn(&SessionKey, u32) -> bool,
}

const VICTIM: MemberIndex = MemberIndex(3);

/// What a server answers that names what both agreed on, and has another record of [`VICTIM`] in its table.
fn from_another(server: &Server, users: &[MemberIndex], round: u64, record: Record) -> Vec<u8> {
    let (mut table, root) = (server.table(round), root_of(server, round));
    table[VICTIM.0 as usize] = record;
    server.answers_from(round, users, &table, |head, _| head.root = root)
}

const LIES: [Lie; 11] = [
    Lie {
        name: "a changed record",
        hides: false,
        tell: |server, users, round, _| {
            let mut table = server.table(round);
            table[3][0] ^= 1;
            server.answers_from(round, users, &table, |_, _| ())
        },
        notices: |_, _| true,
    },
    Lie {
        name: "a changed record under the old root",
        hides: false,
        tell: |server, users, round, record| {
            let mut record = *record;
            record[351] ^= 1;
            from_another(server, users, round, record)
        },
        notices: |vector, _| vector.bit(VICTIM),
    },
    Lie {
        name: "changed answers",
        hides: false,
        tell: |server, users, round, _| {
            server.answers_from(round, users, &server.table(round), |_, answers| {
                answers.chunks_mut(2 * 352).for_each(|user| user[352 + 32] ^= 9);
            })
        },
        notices: |_, slot| slot == 1,
    },
    Lie {
        name: "records of the round before",
        hides: false,
        tell: |server, users, round, _| {
            let root = root_of(server, round);
            server.answers_from(round, users, &server.table(round - 1), |head, _| head.root = root)
        },
        notices: |vector, _| (0..5).any(|member| vector.bit(MemberIndex(member))),
    },
    Lie {
        name: "an unlisted sender's row zeroed",
        hides: false,
        tell: |server, users, round, _| from_another(server, users, round, [0; 352]),
        notices: |vector, _| vector.bit(VICTIM),
    },
    Lie {
        name: "an unlisted sender's frame zeroed",
        hides: false,
        tell: |server, users, round, record| {
            let mut record = *record;
            record[..224].fill(0);
            from_another(server, users, round, record)
        },
        notices: |vector, _| vector.bit(VICTIM),
    },
    Lie {
        name: "a hidden record in one table",
        hides: true,
        tell: |server, users, round, record| from_another(server, users, round, *record),
        notices: |vector, _| vector.bit(VICTIM),
    },
    Lie {
        name: "a listed sender's zeros replaced by what looks like signatures",
        hides: true,
        tell: |server, users, round, _| {
            let mut record = [0; 352];
            record[224..].fill(7);
            from_another(server, users, round, record)
        },
        notices: |vector, _| vector.bit(VICTIM),
    },
    Lie {
        name: "one bit of a listed sender's zeros",
        hides: true,
        tell: |server, users, round, _| {
            let mut record = [0; 352];
            record[351] = 0x80;
            from_another(server, users, round, record)
        },
        notices: |vector, _| vector.bit(VICTIM),
    },
    Lie {
        name: "one lists a sender whom the other does not",
        hides: false,
        tell: |server, users, round, _| {
            server.answers_from(round, users, &server.table(round), |head, body| {
                (head.senders_present, head.absent_tiles) = (4.into(), 1.into());
                body.splice(..0, [[0; 4].as_slice(), &8_u64.to_le_bytes()].concat());
            })
        },
        notices: |_, _| true,
    },
    Lie {
        name: "one lists another sender than the other",
        hides: true,
        tell: |server, users, round, _| {
            server.answers_from(round, users, &server.table(round), |_, body| body[4] = 1 << 2)
        },
        notices: |_, _| true,
    },
];

/// Whatever one server does, whether a query notices follows from the vector that this server has of it, which says
/// nothing of what is read; and so do the alarms.
#[test]
fn alarms_do_not_depend_on_what_is_read() {
    let reads: [Reads; 5] = [
        |_, _, _| None,
        |_, _, _| Some(3),
        |_, reader, _| Some(reader),
        |members, reader, slot| Some((reader + slot) % members),
        |_, reader, slot| (slot == 1).then_some(reader / 2),
    ];
    let mut noticed = [0; LIES.len()];
    for (seed, liar) in (0..6).zip([S1, S2].into_iter().cycle()) {
        for reads in reads {
            let mut world = World::new(ANSWERED, seed);
            for player in &mut world.players {
                player.workload.reads = reads;
            }
            world.settle();
            world.open(1);
            world.play(1);
            world.submit(2);
            for ((round, lie), noticed) in (2..).zip(&LIES).zip(&mut noticed) {
                *noticed += one_lie(&mut world, round, liar, lie, seed).len();
            }
        }
    }
    assert!(noticed.iter().all(|times| *times > 0), "{noticed:?}");
}

/// Plays a round that is submitted, with a lie, and submits for the next; who raises an alarm.
fn one_lie(world: &mut World, round: u64, liar: ServerSide, lie: &Lie, seed: u64) -> Vec<u32> {
    let place = format!("{} of {liar} in round {round}, seed {seed}", lie.name);
    let record = world.servers[0].table(round)[VICTIM.0 as usize];
    if lie.hides {
        for server in &mut world.servers {
            server.shares.remove(&(round, VICTIM.0)).expect("everybody sent a record");
        }
    }
    world.put(liar, |server, users| (lie.tell)(server, users, round, &record));
    world.put(liar.other(), |server, users| server.round(round, users));
    world.give_all();
    let heard = heard(world, round);
    assert_eq!(heard.len(), 10, "{place}");
    for ((reader, query), verdict) in &heard {
        let vector = &world.servers[liar.index()].keys[&(EPOCH.0, *reader, *query)].0;
        let notices = (lie.notices)(vector, *query);
        assert_eq!(*verdict == Heard::Tampered, notices, "{place}: query {query} of {reader}");
    }
    let tampered = readers_of(&heard, &Heard::Tampered);
    assert_eq!(alarms_of_next_round(world, round + 1), tampered, "{place}");
    tampered
}

/// What a sender can sign makes nobody alarm, also where it begins as the record of somebody absent does.
#[test]
fn a_sender_who_signs_zeros_is_ignored() {
    for zeros in [224, 288] {
        let mut world = World::opened(SHAPE, 5);
        world.submit(1);
        let mut record = [9; 352];
        record[..zeros].fill(0);
        let mut statement = b"twincast/record/v1".to_vec();
        for part in [&GROUP.0.to_le_bytes()[..], &EPOCH.0.to_le_bytes(), &1_u64.to_le_bytes()] {
            statement.extend(part);
        }
        statement.extend(3_u32.to_le_bytes());
        statement.extend(&record[..288]);
        record[288..].copy_from_slice(&Keys::of(id(3)).signing.sign(&statement));
        for server in &mut world.servers {
            server.shares.insert((1, 3), record.to_vec());
        }
        world.put_both(|server, users| server.round(1, users));
        world.give_all();
        let heard = heard(&world, 1);
        assert_eq!(readers_of(&heard, &Heard::Tampered), [0; 0], "{zeros} zeros");
        assert!(heard.contains(&((2, 0), Heard::Ignore)), "who asked for it");
        assert_eq!(alarms_of_next_round(&mut world, 2), [0; 0]);
    }
}
