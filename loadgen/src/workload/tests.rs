//! What every host must agree on, and what tests of messages rest on.

use super::*;
use crate::plan::ProfileName;
use crate::plan::tests::{answer_plan, many, plan};

fn made(members: u32, slots: u32, peers: Peers) -> Plan {
    Plan { group: members, groups: 4, hosts: 3, slots, peers, seed: 99, ..plan() }
}

fn workload(members: u32, slots: u32, peers: Peers) -> Workload {
    Workload::new(&made(members, slots, peers), 3)
}

fn recipients(workload: &Workload, epoch: u32, sender: u32, slot: u32) -> Vec<u32> {
    let mut out = vec![1, 2, 3];
    workload.recipients(epoch, sender, slot, &mut out);
    out
}

#[test]
fn random_peers_are_a_permutation_of_their_own_for_each_slot_and_epoch() {
    let workload = workload(130, 2, Peers::Random);
    let drawn = [(0, 0), (0, 1), (1, 0)].map(|(epoch, slot)| {
        let to = |sender| recipients(&workload, epoch, sender, slot);
        let mut all: Vec<u32> = (0..130).flat_map(to).collect();
        let as_drawn = all.clone();
        all.sort_unstable();
        assert_eq!(all, (0..130).collect::<Vec<u32>>());
        as_drawn
    });
    assert!(drawn[0] != drawn[1] && drawn[0] != drawn[2] && drawn[1] != drawn[2]);
}

#[test]
fn subsets_have_distinct_recipients_and_no_more_than_there_are() {
    for (members, peers, each) in [
        (100, Peers::Subset(16), 16),
        (5, Peers::Subset(5), 5),
        (5, Peers::Subset(9), 5),
        (64, Peers::Subset(0), 0),
        (130, Peers::Subgroup(25), 33),
    ] {
        let workload = workload(members, 2, peers);
        for sender in 0..members {
            let mut some = recipients(&workload, 1, sender, 1);
            some.sort_unstable();
            some.dedup();
            assert_eq!(some.len() as u32, each, "{peers:?} of {members}");
            assert!(some.iter().all(|user| *user < members));
        }
        assert_eq!(workload.pairs_of_round(7), 2 * u64::from(each));
    }
    assert_eq!(recipients(&workload(9, 1, Peers::Own), 0, 4, 0), [4]);
}

#[test]
fn the_slots_of_many_go_to_different_members() {
    let workload = workload(40, 8, Peers::Many(many(8, 1, 0)));
    for sender in 0..40 {
        let mut all: Vec<u32> = (0..8).flat_map(|slot| recipients(&workload, 0, sender, slot)).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 8);
    }
    assert_eq!(workload.pairs_of_round(1), 8);
}

#[test]
fn a_batch_is_dealt_once_and_the_next_one_anew() {
    let peers = Peers::Many(many(5, 2, 0));
    let plan = Plan { profile: ProfileName::PaperXor, ..made(50, 1, peers) };
    let workload = Workload::new(&plan, 0);
    let mut out = Vec::new();
    let mut batches = [1, 3].map(|first| {
        let mut all = Vec::new();
        for round in first..first + 2 {
            workload.dealt(round, 9, &mut out);
            assert_eq!(out.len() as u64, workload.pairs_of_round(round));
            all.extend(&out);
        }
        assert_eq!(all.iter().map(|(which, _)| *which).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        all.iter().map(|(_, user)| *user).collect::<Vec<_>>()
    });
    assert_ne!(batches[0], batches[1]);
    batches[0].sort_unstable();
    batches[0].dedup();
    assert_eq!(batches[0].len(), 5);
}

#[test]
fn everything_is_a_function_of_seed_and_place() {
    let (one, two) = (workload(200, 2, Peers::Subset(3)), workload(200, 2, Peers::Subset(3)));
    let (mut first, mut second) = (Vec::new(), vec![9; 999]);
    for sender in 0..200 {
        assert_eq!(recipients(&one, 0, sender, 1), recipients(&two, 0, sender, 1));
        one.message(5, sender, 1, &mut first);
        two.message(5, sender, 1, &mut second);
        assert_eq!(first, second);
    }
    let other_seed = Workload::new(&Plan { seed: 100, ..made(200, 2, Peers::Subset(3)) }, 3);
    let other_group = Workload::new(&made(200, 2, Peers::Subset(3)), 2);
    for other in [other_seed, other_group] {
        assert!((0..200).any(|sender| recipients(&one, 0, sender, 0) != recipients(&other, 0, sender, 0)));
        one.message(5, 6, 1, &mut first);
        other.message(5, 6, 1, &mut second);
        assert_ne!(first[ORIGIN_BYTES..], second[ORIGIN_BYTES..]);
    }
    assert!((0..200).any(|sender| recipients(&one, 0, sender, 0) != recipients(&one, 1, sender, 0)));
}

#[test]
fn arrivals_are_the_inverse_of_recipients() {
    for peers in [Peers::Own, Peers::Random, Peers::Subset(7)] {
        let workload = workload(150, 2, peers);
        for (epoch, slot, sender) in [0, 1]
            .into_iter()
            .flat_map(|epoch| (0..2).flat_map(move |slot| (0..150).map(move |sender| (epoch, slot, sender))))
        {
            let to = recipients(&workload, epoch, sender, slot);
            let arrivals = workload.arrivals(epoch, 1);
            for user in 0..150 {
                let which = to.contains(&user).then_some(slot);
                assert_eq!(arrivals.which(user, slot, sender), which, "{peers:?}");
            }
        }
    }
}

#[test]
fn arrivals_of_a_dealt_round_are_those_of_its_part_of_the_batch() {
    let plan = Plan { profile: ProfileName::PaperAdd, ..made(60, 1, Peers::Many(many(5, 2, 0))) };
    let workload = Workload::new(&plan, 0);
    let mut out = Vec::new();
    for round in 1..6 {
        let arrivals = workload.arrivals(0, round);
        let mut all = 0;
        for sender in 0..60 {
            workload.dealt(round, sender, &mut out);
            all += out.len();
            for (which, user) in &out {
                assert_eq!(arrivals.which(*user, 0, sender), Some(*which));
            }
        }
        assert_eq!((0..60).map(|user| arrivals.to(user).len()).sum::<usize>(), all);
        assert_eq!(arrivals.to(60), []);
    }
}

#[test]
fn a_message_says_whose_it_is() {
    let workload = workload(50, 3, Peers::Own);
    let mut message = Vec::new();
    workload.message(1 << 40, 49, 2, &mut message);
    let origin = Origin { group: 3, round: 1 << 40, sender: 49, which: 2 };
    assert_eq!(workload.whose(&message), Some(origin));
    assert_eq!(workload.whose(&message[..ORIGIN_BYTES - 1]), None);
    message[12] = 50; // a sender that the group does not have
    assert_eq!(workload.whose(&message), None);
}

#[test]
fn short_messages_are_cut_and_empty_ones_are_cover() {
    for bytes in [0, 7, 20, 21] {
        let workload = Workload::new(&Plan { message_bytes: bytes, ..made(50, 1, Peers::Own) }, 0);
        let mut message = vec![1; 300];
        workload.message(1, 2, 0, &mut message);
        assert_eq!(message.len(), bytes as usize);
    }
}

#[test]
fn a_sample_has_about_its_share() {
    let workload = workload(50, 1, Peers::Own);
    let sampled = |share| (0..20_000).filter(|user| workload.is_sampled(share, 1, *user, 0, 3)).count();
    assert_eq!((sampled(0.0), sampled(1.0)), (0, 20_000));
    assert!((1_700..2_300).contains(&sampled(0.1)), "{}", sampled(0.1));
}

fn reads(peers: Peers, members: u32, slots: u32) -> Workload {
    Workload::new(&Plan { group: members, slots, peers, seed: 99, ..answer_plan() }, 0)
}

/// Whom everybody reads with a query, and how many read whom, by all queries.
#[test]
fn every_query_asks_for_one_and_readers_are_their_inverse() {
    for (peers, most, senders) in [
        (Peers::Own, 1, 130),
        (Peers::Random, 1, 130),
        (Peers::Subset(1), 1, 130),
        (Peers::Subset(7), 7, 19),
        (Peers::Subset(130), 130, 1),
    ] {
        let workload = reads(peers, 130, 2);
        for epoch in [0, 1] {
            let mut readers = vec![0; 130];
            for slot in 0..2 {
                let mut of_slot = vec![0; 130];
                for reader in 0..130 {
                    let target = recipients(&workload, epoch, reader, slot);
                    assert_eq!(target, Vec::from_iter(workload.target(epoch, reader, slot)));
                    let [sender] = target[..] else { panic!("one sender: {target:?}") };
                    of_slot[sender as usize] += 1;
                    readers[sender as usize] += 1;
                }
                assert_eq!(of_slot.iter().filter(|readers| **readers > 0).count(), senders, "{peers:?}");
                assert_eq!(of_slot.iter().max(), Some(&most), "{peers:?}");
            }
            let told: Vec<u32> = (0..130).map(|sender| workload.readers_of(epoch, sender)).collect();
            assert_eq!(told, readers, "{peers:?}");
            assert_eq!(u64::from(readers.iter().sum::<u32>()), 130 * workload.pairs_of_round(1));
        }
    }
    assert!((0..130).all(|user| reads(Peers::Own, 130, 2).target(3, user, 1) == Some(user)));
    let workload = reads(Peers::Random, 130, 2);
    let drawn = |epoch, slot| (0..130).map(|reader| workload.target(epoch, reader, slot)).collect::<Vec<_>>();
    assert!(drawn(0, 0) != drawn(0, 1) && drawn(0, 0) != drawn(1, 0), "drawn anew for query and epoch");
}

#[test]
fn a_sender_of_records_says_one_thing_whoever_reads_it() {
    let workload = reads(Peers::Subset(3), 50, 4);
    let mut message = Vec::new();
    workload.message(9, 49, 0, &mut message);
    assert_eq!(workload.whose(&message), Some(Origin { group: 0, round: 9, sender: 49, which: 0 }));
    workload.message(9, 49, 1, &mut message);
    assert_eq!(workload.whose(&message), None, "there is no second message");
}
