//! Groups that change: epochs are announced ahead, alike by both servers, dialled while the one before still runs, and
//! begin between two rounds. Users join and leave.

mod common;

use common::client::{error_frame, kind, show};
use common::model::{CONFIRMATION, KEY, REPLY, dial_frame, leave_frame};
use common::pair::Servers;
use common::{NEVER_MS, Pair, Party, TestServer, config, count, group, wait_until};
use twincast_protocol::ids::ServerSide;
use twincast_protocol::wire::{Code, Kind};
use twincast_server::config::{Config, GroupConfig};

fn patient(config: &mut Config) {
    config.link.as_mut().expect("it is linked").peer_timeout_ms = NEVER_MS;
}

/// Epochs of four rounds, the next of which is announced two rounds before.
fn short_epochs() -> GroupConfig {
    GroupConfig { epoch_rounds: 4, announce_rounds: 2, members_max: 8, ..group(3, 5) }
}

#[test]
fn epochs_follow_each_other_while_rounds_count_on() {
    let shape = GroupConfig { slots: 2, ..short_epochs() };
    let servers = Servers::linked_with(config(vec![shape.clone()]), patient);
    let mut pair = servers.parties(&shape, &[vec![0, 3], vec![1, 2, 4]], 1);
    pair.open();
    for epoch in 0..4 {
        let first = 1 + 4 * epoch;
        pair.play(first);
        pair.play(first + 1);
        pair.each(|party| party.expect_announcement((0..5).collect(), first + 4));
        // One connection dials before the last rounds, the other after them.
        pair.in_next(|pair| pair.dial_seat(0));
        pair.play(first + 2);
        pair.play(first + 3);
        pair.in_next(|pair| pair.dial_seat(1));
        pair.each(Party::begin_next);
        assert_eq!(u64::from(pair.0[0].model.epoch), epoch + 1);
    }
    assert_eq!(servers.counts(|metrics| &metrics.epochs_opened), [5, 5]);
    assert_eq!(servers.counts(|metrics| &metrics.tiles_unagreed), [0, 0]);
}

/// Users 6 and 9 come and ask to join, 1 leaves: from the next epoch on. Until then those who wait get no cells, and
/// from then on who has left gets none.
#[test]
fn users_join_and_leave_between_two_epochs() {
    for confirm in [false, true] {
        let shape = GroupConfig { confirm, ..short_epochs() };
        let folder = tempfile::tempdir().unwrap();
        let servers = Servers::linked_with(config(vec![shape.clone()]), |config| {
            patient(config);
            config.parts_box =
                Some(twincast_server::config::BoxConfig { folder: folder.path().into(), bytes_max: 1 << 20 });
        });
        let mut pair = servers.parties(&shape, &[vec![0, 3], vec![1, 2], vec![4]], 2);
        pair.dial();
        if confirm {
            pair.each(|party| party.confirm(&[]));
        } else {
            pair.each(Party::expect_open);
        }
        pair.each(|party| {
            party.ask_to_join(vec![6, 9]);
            party.seats[1].client.send(&leave_frame(1));
            // Whoever is no member has nothing to send, and is told so by name; the answer shows that it was heard.
            let strangers = &mut party.seats[3];
            let submit = party.model.submit_in_vain(1, 0);
            strangers.client.send(&submit);
            strangers.expect(&error_frame(Code::NotAttached, 0, u32::MAX, 1), "a submission of another's");
        });
        pair.play(1);
        pair.play(2);
        let members = vec![0, 2, 3, 4, 6, 9];
        pair.each(|party| party.expect_announcement(members.clone(), 5));
        pair.in_next(Pair::dial);
        if confirm {
            pair.in_next(|pair| pair.each(|party| party.give_all(CONFIRMATION, &[])));
        }
        pair.play(3);
        // An epoch that is neither this one nor the next, and one that is dialled already.
        pair.each(|party| {
            let seat = &mut party.seats[0];
            for (epoch, code) in [(0, Code::DialClosed), (2, Code::EpochWrong), (1, Code::AlreadyDialled)] {
                seat.client.send(&dial_frame(9, epoch, 0, 0, &[1]));
                seat.expect(&error_frame(code, 0, 0, 0), "a dial of another epoch");
            }
        });
        pair.play(4);
        if confirm {
            pair.in_next(|pair| pair.each(|party| party.expect_parts(CONFIRMATION)));
        }
        pair.each(Party::begin_next);
        // The first epoch's keys are refused by name now.
        pair.each(|party| {
            let seat = &mut party.seats[0];
            seat.client.send(&dial_frame(9, 0, 0, 0, &[1]));
            seat.expect(&error_frame(Code::EpochWrong, 0, 0, 0), "a dial of an epoch that is over");
        });
        for round in 5..7 {
            pair.play(round);
            assert_eq!(pair.0[0].model.senders(round), 6);
        }
        assert_eq!(servers.counts(|metrics| &metrics.joins), [2, 2]);
        assert_eq!(servers.counts(|metrics| &metrics.leaves), [1, 1]);
    }
}

/// A user who asks one server only is no member: what both have is the change.
#[test]
fn a_wish_that_reaches_one_server_only_waits() {
    let shape = short_epochs();
    let servers = Servers::linked_with(config(vec![shape.clone()]), patient);
    let mut pair = servers.parties(&shape, &[vec![0, 1, 2, 3, 4]], 3);
    pair.open();
    pair.0[0].ask_to_join(vec![7]);
    pair.0[1].ask_to_join(vec![6]);
    pair.0[1].seats[0].client.send(&leave_frame(2));
    pair.play(1);
    pair.play(2);
    pair.each(|party| party.expect_announcement((0..5).collect(), 5));
    // Now both know of 7, for the epoch after the next.
    pair.0[1].ask_to_join(vec![7]);
    pair.in_next(|pair| pair.dial_seat(0));
    for round in 3..5 {
        pair.play(round);
    }
    pair.each(Party::begin_next);
    pair.play(5);
    pair.play(6);
    pair.each(|party| party.expect_announcement(vec![0, 1, 2, 3, 4, 7], 9));
}

#[test]
fn a_group_takes_no_more_members_than_its_limit() {
    let shape = GroupConfig { members_max: 6, ..short_epochs() };
    let server = TestServer::start(config(vec![shape.clone()]));
    let mut party = Party::open(server.address(), &shape, [(0..5).collect()], 4);
    party.ask_to_join(vec![8, 9]);
    party.seats[1].expect(&error_frame(Code::GroupFull, 9, u32::MAX, 0), "that the group is full");
    // Who does not ask is unknown, and named.
    let mut client = common::Client::connect(server.address());
    client.send(&common::client::hello_frame(ServerSide::One, 3, &[0, 7]));
    client.expect_error(Code::UserUnknown, 7, u32::MAX, 0);
    client.expect_end("after the error");
    party.play(1);
    party.play(2);
    party.expect_announcement(vec![0, 1, 2, 3, 4, 8], 5);
}

/// Members exchange keys at the start of an epoch: keys from all to all, and then replies.
#[test]
fn keys_and_replies_are_passed_on_like_confirmations() {
    let shape = GroupConfig { keys: true, confirm: true, ..group(3, 70) };
    let servers = Servers::linked_with(config(vec![shape.clone()]), patient);
    let mut pair = servers.parties(&shape, &[(0..30).collect(), (30..70).collect()], 5);
    assert_eq!(pair.0[0].welcome.unwrap().key_tile_senders.get(), 64);
    pair.dial();
    for purpose in [CONFIRMATION, KEY, REPLY] {
        pair.each(|party| {
            party.give_all(purpose, &[]);
            party.expect_parts(purpose);
        });
    }
    pair.each(Party::expect_open);
    pair.play(1);
    assert_eq!(servers.counts(|metrics| &metrics.parts), [210, 210]);
}

/// Rounds by the clock: nobody has to be complete, and both servers seal at the same instants.
#[test]
fn timed_rounds_are_sealed_by_the_clock() {
    let shape = GroupConfig {
        round_mode: twincast_server::config::RoundMode::Timed,
        interval_ms: 150,
        ..group(3, 6)
    };
    let servers = Servers::linked_with(config(vec![shape.clone()]), patient);
    let mut pair = servers.parties(&shape, &[vec![0, 1, 2], vec![3, 4, 5]], 6);
    assert_eq!(pair.0[0].welcome.unwrap().interval_ms.get(), 150);
    pair.open();
    // Nobody submits, and rounds go on: an empty one after the other.
    for party in &mut pair.0 {
        for seat in &mut party.seats {
            let frames: Vec<Vec<u8>> = (0..4).map(|_| seat.frame("a round")).collect();
            let kinds: Vec<Kind> = frames.iter().map(|frame| kind(frame)).collect();
            let expected = [Kind::Deliver, Kind::RoundEnd, Kind::Deliver, Kind::RoundEnd];
            assert_eq!(kinds, expected, "{}", show(&frames[0]));
        }
    }
    wait_until("two rounds", || servers.counts(|metrics| &metrics.rounds_sealed).iter().all(|&n| n >= 2));
    assert!(count(&servers.get(ServerSide::One).metrics().members_absent) >= 12);
}
