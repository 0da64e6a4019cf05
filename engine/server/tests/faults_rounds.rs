//! Rounds, dials and confirmations that somebody misses: they end without it, at their time limits and not before.

mod common;

use common::client::error_frame;
use common::model::CONFIRMATION;
use common::{Client, Party, TestServer, config, count, group, wait_until};
use twincast_protocol::ids::ServerSide;
use twincast_protocol::wire::Code;
use twincast_server::config::GroupConfig;

const S1: ServerSide = ServerSide::One;

#[test]
fn a_round_that_somebody_misses_is_sealed_at_its_time_limit() {
    let group = GroupConfig { round_timeout_ms: 700, slots: 2, ..group(1, 6) };
    let server = TestServer::start(config(vec![group.clone()]));
    let sets = [vec![0, 1], vec![2], vec![3, 4], vec![5]];
    let mut party = Party::open(server.address(), &group, sets, 1);
    // Every buffer has held the shares of all.
    for round in 1..10 {
        party.play(round);
    }
    for round in 10..12 {
        party.submit_seat(round, 0);
        party.submit_seat(round, 3);
        party.expect(round);
        assert_eq!(party.model.senders(round), 3);
        let late = party.model.submit_in_vain(round, 2);
        party.seats[1].client.send(&late);
        party.seats[1].client.expect_error(Code::RoundSealed, 2, u32::MAX, round);
    }
    assert_eq!(count(&server.metrics().members_absent), 6);
    // Who was missing is there again.
    party.play(12);
    assert_eq!(party.model.senders(12), 6);
    assert_eq!(count(&server.metrics().members_absent), 6);
}

/// Were it counted from the opening, the first submission would find the round overdue.
#[test]
fn a_rounds_time_limit_counts_from_its_first_submission() {
    let group = GroupConfig { round_timeout_ms: 1_000, ..group(1, 3) };
    let server = TestServer::start(config(vec![group.clone()]));
    let mut party = Party::open(server.address(), &group, [vec![0], vec![1], vec![2]], 1);
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    assert_eq!(count(&server.metrics().rounds_sealed), 0);
    party.submit_seat(1, 0);
    // Some ticks of the server later.
    std::thread::sleep(std::time::Duration::from_millis(50));
    party.submit_seat(1, 1);
    party.expect(1);
    assert_eq!(party.model.senders(1), 2);
}

/// One member submits ahead and one is missing. That takes nothing of the next round's time from a third, who waits
/// for the end of this round before it submits.
#[test]
fn a_round_that_somebody_misses_does_not_shorten_the_next() {
    let group = GroupConfig { round_timeout_ms: 700, ..group(1, 3) };
    let server = TestServer::start(config(vec![group.clone()]));
    let mut party = Party::open(server.address(), &group, [vec![0], vec![1], vec![2]], 1);
    party.submit_seat(1, 0);
    party.submit_seat(2, 0);
    party.submit_seat(1, 1);
    party.expect(1);
    assert_eq!(party.model.senders(1), 2);
    // Some ticks of the server later.
    std::thread::sleep(std::time::Duration::from_millis(50));
    party.submit_seat(2, 1);
    // Nobody waits for the one that was missing, until it submits again.
    party.expect(2);
    assert_eq!(party.model.senders(2), 2);
    party.submit_seat(2, 2);
    let sealed = error_frame(Code::RoundSealed, 2, u32::MAX, 2);
    party.seats[2].expect(&sealed, "a submission that is late");
    party.model.forget(2, 2);
    party.submit_seat(3, 0);
    party.submit_seat(3, 1);
    party.submit_seat(3, 2);
    party.expect(3);
    assert_eq!(party.model.senders(3), 3);
}

#[test]
fn rounds_are_sealed_in_order_whatever_order_submissions_come_in() {
    let group = group(1, 66);
    let server = TestServer::start(config(vec![group.clone()]));
    let sets = [(0..20).collect(), (20..64).collect(), vec![64], vec![65]];
    let mut party = Party::open(server.address(), &group, sets, 1);
    for round in [1, 3, 5] {
        // The next round is all in but for one member before anybody begins the open one.
        for seat in 1..4 {
            party.submit_seat(round + 1, seat);
        }
        party.submit_seat(round, 3);
        party.submit_seat(round, 0);
        party.submit_seat(round + 1, 0);
        party.submit_seat(round, 2);
        party.submit_seat(round, 1);
        party.expect(round);
        party.expect(round + 1);
    }
    assert_eq!(count(&server.metrics().rounds_sealed), 6);
}

#[test]
fn members_who_do_not_dial_in_time_are_absent_and_the_others_run() {
    let group = GroupConfig { dial_timeout_ms: 1_500, ..group(1, 70) };
    let server = TestServer::start(config(vec![group.clone()]));
    let sets = [(0..20).collect(), (20..69).collect(), vec![69]];
    let mut party = Party::attach(server.address(), &group, sets, 1);
    party.dial_seat(0);
    party.dial_seat(2);
    party.expect_open();
    assert_eq!(party.model.members_dialled(), 21);
    for round in 1..4 {
        party.submit_seat(round, 0);
        party.submit_seat(round, 2);
        party.expect(round);
    }
    assert_eq!(count(&server.metrics().members_absent), 3 * 49);
}

/// More tiles of confirmations than are granted at a time, so that the window moves.
#[test]
fn every_confirmation_of_every_slot_is_delivered_in_order() {
    for (side, seed) in ServerSide::BOTH.into_iter().zip(1..) {
        let group = GroupConfig { confirm: true, slots: 3, ..group(1, 130) };
        let mut config = config(vec![group.clone()]);
        config.side = side.index() as u8 + 1;
        let server = TestServer::start(config);
        let mut party = Party::new(server.address(), &group, side, seed);
        let sets = common::party::interleaved(130, 3, party.model.rng());
        for users in sets {
            party.join(users);
        }
        assert_eq!(party.tile_senders(CONFIRMATION), 64);
        party.dial();
        party.confirm(&[]);
        party.play(1);
        assert_eq!(count(&server.metrics().parts), 3 * 130);
    }
}

#[test]
fn a_confirmation_that_does_not_come_is_not_present() {
    for side in ServerSide::BOTH {
        let group = GroupConfig { confirm: true, slots: 5, round_timeout_ms: 500, ..group(1, 70) };
        let mut config = config(vec![group.clone()]);
        config.side = side.index() as u8 + 1;
        let server = TestServer::start(config);
        let mut party = Party::new(server.address(), &group, side, 1);
        let sets: [Vec<u32>; 2] = [(0..40).collect(), (40..70).collect()];
        for users in sets {
            party.join(users);
        }
        party.dial();
        // The last one in a tile whose buffer has held the confirmations of others.
        let missing = [(3, 0), (41, 1), (69, 4)];
        party.confirm(&missing);
        // Who has not confirmed takes part all the same: it is for the recipients to judge.
        party.play(1);
        assert_eq!(party.model.senders(1), 70);
        assert_eq!(count(&server.metrics().parts), 5 * 70 - 3);
    }
}

#[test]
fn confirmations_of_members_who_are_gone_or_have_not_dialled_are_not_waited_for() {
    let group = GroupConfig { confirm: true, dial_timeout_ms: 1_500, ..group(1, 5) };
    let server = TestServer::start(config(vec![group.clone()]));
    let mut party = Party::attach(server.address(), &group, [vec![0, 1], vec![2], vec![3], vec![4]], 1);
    for seat in 0..3 {
        party.dial_seat(seat);
    }
    // Member 3 has dialled and goes; member 4 stays and has not dialled.
    drop(party.take(2));
    party.confirm_seat(0, 0, 0..5, &[]);
    party.confirm_seat(1, 0, 0..5, &[]);
    assert_eq!(common::party::present(&party.model.confirmations(64, 0, 0, &[0])), 0b00111);
    party.expect_parts(CONFIRMATION);
    party.expect_open();
    party.submit_seat(1, 0);
    party.submit_seat(1, 1);
    party.expect(1);
    // Member 3 comes back: its dial stands.
    party.join(vec![3]);
    party.submit_surely(2, 3);
    party.submit_seat(2, 0);
    party.submit_seat(2, 1);
    party.expect(2);
}

/// Four groups on two executors and two cores, so that most connections move from the executor that accepted them.
#[test]
fn a_fault_in_one_group_harms_no_other() {
    let shape = |id: u32| GroupConfig {
        frame_bytes: [16, 288, 48, 64][id as usize],
        slots: [1, 2, 3, 1][id as usize],
        round_timeout_ms: 1_000,
        ..group(id, [130, 20, 64, 65][id as usize])
    };
    let groups: Vec<GroupConfig> = (0..4).map(shape).collect();
    let mut config = config(groups.clone());
    config.front.executors = 2;
    config.fan_out.threads = 2;
    let server = TestServer::start(config);
    let mut parties: Vec<Party> = groups
        .iter()
        .map(|group| {
            let mut party = Party::new(server.address(), group, S1, u64::from(group.id));
            let sets = common::party::interleaved(group.members, 4, party.model.rng());
            for users in sets {
                party.join(users);
            }
            party.dial();
            party.expect_open();
            party
        })
        .collect();
    for round in 1..8 {
        for party in &mut parties[1..] {
            party.submit(round);
        }
        // Group 0, whatever happens to it: a connection that breaks the form, one that dies in mid-frame, a member
        // who is missing.
        let troubled = &mut parties[0];
        match round {
            2 => {
                let mut offender = troubled.take(3);
                offender.send(&[9; 100]);
                offender.expect_closed(Code::VersionUnknown);
                troubled.submit(round);
            }
            3 => {
                let user = troubled.seats[2].users[0];
                let submit = troubled.model.submit_in_vain(round, user);
                let mut dying = troubled.take(2);
                dying.send(&submit[..60]);
                drop(dying);
                troubled.submit(round);
            }
            4 => troubled.submit_seat(round, 0),
            5 => {
                let first = troubled.seats[1].users[0];
                let (mut client, _) = Client::attach(server.address(), S1, 0, &[first]);
                troubled.take(1).expect_closed(Code::Superseded);
                for slot in 0..troubled.model.slots as u32 {
                    let dialled = troubled.model.dialled(first, slot);
                    client.expect(&dialled, "its dial stands");
                }
                client.send(&[0; 64]);
                client.expect_closed(Code::VersionUnknown);
                troubled.submit(round);
            }
            _ => troubled.submit(round),
        }
        for party in &mut parties[1..] {
            party.expect(round);
        }
        parties[0].expect(round);
    }
    for party in &parties[1..] {
        assert_eq!(party.model.senders(7) as usize, party.model.members);
    }
    drop(parties);
    wait_until("the end of all connections", || count(&server.metrics().connections) == 0);
}
