//! A server that changes a record, an answer or its root after both agreed: what its readers get, whoever they ask for.
#![cfg(feature = "fault-swap-half")]

mod common;

use common::pair::Servers;
use common::readers::{answering, xor};
use common::{NEVER_MS, Readers, config};
use twincast_server::config::{AnswerFault, AnswerFaultKind, Config};

const MEMBERS: u32 = 130;
const SLOTS: u32 = 2;
/// The round in which S1 is false.
const ROUND: u64 = 3;

/// By member and slot.
type Added = Vec<((u32, u32), [u8; 352])>;

/// Plays rounds around the one in which S1 does this, and gives, for every query of that round, what was added to what the
/// reader should have got, and whether the two servers named the same root.
fn played(kind: AnswerFaultKind, index: u32) -> (Readers, Added, bool) {
    let group = answering(4, MEMBERS, SLOTS);
    let mut base = config(vec![group.clone()]);
    base.answer.threads = 2;
    let servers = Servers::linked_with(base, |config: &mut Config| {
        config.link.as_mut().expect("it is linked").peer_timeout_ms = NEVER_MS;
        if config.side == 1 {
            config.fault.answer = Some(AnswerFault { round: ROUND, kind, index });
        }
    });
    let sets = [(0..60).collect(), (60..MEMBERS).collect()];
    let mut readers = Readers::open(&servers, &group, &sets, 1);
    (1..ROUND).for_each(|round| readers.play(round));
    readers.submit_but(ROUND, &[]);
    let both = [0, 1].map(|side| readers.answers_of(side, ROUND));
    let added = |asked: &(u32, u32), target: Option<u32>| {
        let got = xor(&both[0].answers[asked], &both[1].answers[asked]);
        target.map_or(got, |target| xor(&got, &readers.records[&(ROUND, target)]))
    };
    let added = readers.targets.iter().map(|(asked, target)| (*asked, added(asked, *target))).collect();
    let same_root = both[0].root == both[1].root;
    readers.play(ROUND + 1);
    (readers, added, same_root)
}

/// Half of all readers get it wrong: those whose query at that server happens to select the record, whomever they ask for.
#[test]
fn a_changed_record_reaches_whoever_selects_it_and_not_whoever_asks_for_it() {
    for sender in [0, 77, 129] {
        let (readers, added, same_root) = played(AnswerFaultKind::Record, sender);
        assert!(same_root, "the root is what both agreed on");
        for (asked, added) in added {
            let wrong = added != [0; 352];
            assert_eq!(
                wrong,
                readers.selects(0, asked, sender),
                "sender {sender}, member and slot {asked:?}"
            );
        }
    }
}

#[test]
fn a_changed_answer_reaches_its_reader_alone() {
    for query in [0, 131, MEMBERS * SLOTS - 1] {
        let (_, added, same_root) = played(AnswerFaultKind::Answer, query);
        assert!(same_root);
        for ((member, slot), added) in added {
            let bits: u32 = added.iter().map(|byte| byte.count_ones()).sum();
            assert_eq!(
                bits,
                u32::from(member * SLOTS + slot == query),
                "query {query}, member {member}, slot {slot}"
            );
        }
    }
}

#[test]
fn another_root_reaches_everybody() {
    let (_, added, same_root) = played(AnswerFaultKind::Root, 0);
    assert!(!same_root);
    assert!(added.iter().all(|(_, added)| *added == [0; 352]), "and nothing else is wrong");
}
