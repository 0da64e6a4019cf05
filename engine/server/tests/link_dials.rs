//! Dials over the link take effect on both servers or on neither, and nobody has to be online when somebody dials.

mod common;

use common::client::error_frame;
use common::model::{CONFIRMATION, dial_frame, fetch_frame};
use common::pair::{Servers, s1_end};
use common::{NEVER_MS, Party, TestServer, config, count, group, wait_until};
use std::net::TcpListener;
use twincast_protocol::ids::ServerSide;
use twincast_protocol::wire::Code;
use twincast_server::config::{BoxConfig, Config, GroupConfig};

fn patient(config: &mut Config) {
    config.link.as_mut().expect("it is linked").peer_timeout_ms = NEVER_MS;
}

#[test]
fn a_dial_is_answered_when_both_servers_have_it_and_not_before() {
    let shape = GroupConfig { slots: 2, ..group(1, 5) };
    let servers = Servers::linked_with(config(vec![shape.clone()]), patient);
    let mut pair = servers.parties(&shape, &[vec![0, 3], vec![1, 2, 4]], 1);
    pair.0[0].send_dials(0);
    // S1 answers what comes behind the dials, and has not answered them.
    let asked = dial_frame(9, 7, 0, 0, &[0]);
    let seat = &mut pair.0[0].seats[0];
    seat.client.send(&asked);
    seat.client.expect_error(Code::EpochWrong, 0, 0, 0);
    pair.0[1].send_dials(0);
    pair.each(|party| party.expect_dialled_sometime(0));
    pair.dial_seat(1);
    pair.each(Party::expect_open);
    pair.play(1);
}

/// Member 1 dials at S1 only, and member 2 under two different numbers: both dials are void at both servers, each
/// sender is told, and everybody else plays.
#[test]
fn a_dial_that_reaches_one_server_only_takes_effect_on_neither() {
    let shape = GroupConfig { dial_timeout_ms: 700, ..group(1, 4) };
    let servers = Servers::linked_with(config(vec![shape.clone()]), patient);
    let mut pair = servers.parties(&shape, &[vec![0, 3], vec![1], vec![2]], 2);
    pair.dial_seat(0);
    pair.0[0].send_dials(1);
    for (party, id) in pair.0.iter_mut().zip([70, 71]) {
        let dial = party.model.dial_as(id, 2, 0, vec![5]);
        party.seats[2].client.send(&dial);
    }
    let half = |sender| error_frame(Code::DialHalf, sender, 0, 0);
    let [one, two] = &mut pair.0;
    one.seats[1].expect(&half(1), "a dial that S2 has not");
    one.seats[2].expect(&half(2), "a dial of another number");
    two.seats[2].expect(&half(2), "a dial of another number");
    pair.each(|party| {
        party.model.forget_dial(1, 0);
        party.model.forget_dial(2, 0);
        party.expect_open();
        assert_eq!(party.model.members_dialled(), 2);
    });
    for round in 1..4 {
        pair.each(|party| {
            for (seat, sender) in [(1, 1), (2, 2)] {
                let submit = party.model.submit_in_vain(round, sender);
                party.seats[seat].client.send(&submit);
                party.seats[seat].client.expect_error(Code::NotDialled, sender, u32::MAX, round);
            }
            party.submit_seat(round, 0);
        });
        pair.expect(round);
    }
    assert_eq!(servers.counts(|metrics| &metrics.dials_void), [2, 1]);
}

/// Without the other server nothing takes effect; everybody is told when the time is over, and dials again.
#[test]
fn dials_wait_for_the_other_server_and_are_made_anew() {
    let shape = GroupConfig { dial_timeout_ms: 300, ..group(1, 3) };
    // Nobody accepts: S1 connects, and hears nothing.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut base = config(vec![shape.clone()]);
    base.link = Some(s1_end(nobody.local_addr().unwrap()));
    let server = TestServer::start(base);
    let mut party = Party::attach(server.address(), &shape, [vec![0, 1, 2]], 3);
    for _ in 0..3 {
        party.send_dials(0);
        // What is said to all and what to one may come in any order.
        let mut told: Vec<_> = (0..4).map(|_| party.seats[0].frame("that the dials are void")).collect();
        told.sort();
        let mut expected: Vec<_> = (0..3).map(|sender| error_frame(Code::DialHalf, sender, 0, 0)).collect();
        expected.push(error_frame(Code::PeerAbsent, u32::MAX, u32::MAX, 0));
        expected.sort();
        assert_eq!(told, expected);
    }
    assert_eq!(count(&server.metrics().dials_void), 9);
    assert_eq!(count(&server.metrics().epochs_opened), 0);
}

/// A group in which one dials, confirms and leaves before anybody else comes; the others come later, and it comes back
/// and fetches what it missed.
#[test]
fn one_that_dials_alone_and_leaves_is_heard_by_those_who_come_later() {
    let shape = GroupConfig { confirm: true, slots: 2, ..group(1, 70) };
    let folder = tempfile::tempdir().unwrap();
    let servers = Servers::linked_with(config(vec![shape.clone()]), |config| {
        patient(config);
        config.parts_box = Some(BoxConfig { folder: folder.path().into(), bytes_max: 1 << 30 });
    });
    let mut pair = servers.parties(&shape, &[vec![5, 68]], 4);
    pair.dial_seat(0);
    pair.each(|party| {
        for slot in 0..2 {
            party.give_seat(0, CONFIRMATION, slot, 0..70, &[]);
        }
    });
    wait_until("the parts", || servers.counts(|metrics| &metrics.parts) == [4, 4]);
    pair.each(|party| drop(party.take(0)));
    for side in ServerSide::BOTH {
        servers.get(side).wait_for_connections(0);
    }
    // The others come, in two parts: those who confirm at once, and those of whom some never do.
    let others: Vec<u32> = (0..70).filter(|user| ![5, 68].contains(user)).collect();
    let (some, rest) = others.split_at(30);
    for users in [some, rest] {
        pair.each(|party| {
            party.join(users.to_vec());
        });
    }
    for seat in 0..2 {
        pair.dial_seat(seat);
    }
    pair.each(|party| {
        party.give_all(CONFIRMATION, &[]);
        party.expect_parts(CONFIRMATION);
        party.expect_open();
        assert_eq!(party.model.members_dialled(), 70);
        assert!(party.model.is_given(CONFIRMATION, 68, 1));
    });
    pair.play(1);
    assert_eq!(pair.0[0].model.senders(1), 68);
    // It comes back: its dials stand, and what was delivered without it is handed over.
    pair.each(|party| {
        party.join(vec![5, 68]);
        let seat = party.seats.last_mut().unwrap();
        for slot in 0..2 {
            seat.client.send(&fetch_frame(0, CONFIRMATION, slot, 0, 2));
            for tile in 0..2 {
                let expected = party.model.confirmations(64, tile, slot as usize, &[5, 68]);
                seat.expect(&expected, "what it missed");
            }
        }
        // What there is not is refused by name.
        for (epoch, slot, first, tiles, code) in [
            (0, 0, 1, 2, Code::FetchRange),
            (0, 0, 0, 0, Code::FetchRange),
            (0, 2, 0, 1, Code::FetchRange),
            (0, 0, u32::MAX, u32::MAX, Code::FetchRange),
            (1, 0, 0, 1, Code::EpochWrong),
        ] {
            seat.client.send(&fetch_frame(epoch, CONFIRMATION, slot, first, tiles));
            seat.expect(&error_frame(code, u32::MAX, slot, 0), "a range that there is not");
        }
        party.submit_with_newcomers(2, 1);
    });
    pair.expect(2);
    assert_eq!(pair.0[0].model.senders(2), 70);
    pair.play(3);
    assert_eq!(servers.counts(|metrics| &metrics.fetches), [2, 2]);
    assert!(count(&servers.get(ServerSide::Two).metrics().box_bytes) >= 2 * 70 * 70 * 64);
}

/// S2's box has room for two senders' parts of four. The others are told, and confirm live; whoever comes later is told
/// whose are lost.
#[test]
fn a_full_box_refuses_the_upload_and_names_what_is_lost() {
    let shape = GroupConfig { confirm: true, ..group(1, 4) };
    let folder = tempfile::tempdir().unwrap();
    let mut base = config(vec![shape.clone()]);
    base.side = 2;
    base.parts_box = Some(BoxConfig { folder: folder.path().into(), bytes_max: 24 + 2 * (24 + 4 * 64) });
    let server = TestServer::start(base);
    let mut party = Party::new(server.address(), &shape, ServerSide::Two, 5);
    for users in [vec![0], vec![1, 2], vec![3]] {
        party.join(users);
    }
    for (seat, sender) in [(0, 0), (1, 1), (1, 2), (2, 3)] {
        let dial = party.model.dial(sender, 0);
        party.seats[seat].client.send(&dial);
        let dialled = party.model.dialled(sender, 0);
        party.seats[seat].expect(&dialled, "a dial's answer");
        if sender >= 2 {
            let full = error_frame(Code::BoxFull, sender, 0, 0);
            party.seats[seat].expect(&full, "that the box is full");
        }
    }
    party.give_all(CONFIRMATION, &[]);
    party.expect_parts(CONFIRMATION);
    party.expect_open();
    party.play(1);
    drop(party.take(0));
    party.join(vec![0]);
    let seat = party.seats.last_mut().unwrap();
    seat.client.send(&fetch_frame(0, CONFIRMATION, 0, 0, 1));
    let expected = party.model.parts_but(CONFIRMATION, 64, 0, 0, &[0], 0b1100);
    assert_eq!((common::party::present(&expected), common::party::lost(&expected)), (0b0011, 0b1100));
    seat.expect(&expected, "what is not lost");
    assert_eq!(count(&server.metrics().box_refusals), 2);
}

/// A file for each epoch is all that a box leaves, and nothing once its server has stopped.
#[test]
fn a_box_is_gone_with_its_server() {
    let shape = GroupConfig { confirm: true, ..group(1, 3) };
    let folder = tempfile::tempdir().unwrap();
    let files = || {
        let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_str().unwrap().ends_with(".parts")).count()
    };
    let mut base = config(vec![shape.clone()]);
    base.side = 2;
    base.parts_box = Some(BoxConfig { folder: folder.path().into(), bytes_max: 1 << 20 });
    let server = TestServer::start(base);
    let mut party = Party::new(server.address(), &shape, ServerSide::Two, 6);
    party.join(vec![0, 1, 2]);
    party.dial();
    party.confirm(&[]);
    assert_eq!(files(), 1);
    drop(party);
    drop(server);
    assert_eq!(files(), 0);
}

#[test]
fn a_flood_of_dials_is_refused_by_name_and_harms_nobody() {
    let shape = GroupConfig { slots: 2, ..group(1, 4) };
    let server = TestServer::start(config(vec![shape.clone()]));
    let mut party = Party::attach(server.address(), &shape, [vec![0, 1], vec![2], vec![3]], 7);
    for seat in 0..2 {
        party.dial_seat(seat);
    }
    // Four times as many as it has slots are patience enough.
    let flood = &mut party.seats[2].client;
    for _ in 0..8 {
        flood.send(&dial_frame(1, 0, 3, 0, &[0xff]));
        flood.expect_error(Code::KeyPadding, 3, 0, 0);
    }
    flood.send(&dial_frame(1, 0, 3, 0, &[0xff]));
    flood.expect_error(Code::DialFlood, 3, 0, 0);
    flood.expect_end("after a flood");
    drop(party.take(2));
    assert_eq!(server.metrics().refusals(Code::DialFlood), 1);
    // Whoever it was comes back, and dials as it should.
    party.join(vec![3]);
    party.dial_seat(2);
    party.expect_open();
    party.play(1);
}
