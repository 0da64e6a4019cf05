//! Connections that come, stay silent, come in floods, take each other's place, go, or go in the middle of a frame.

mod common;

use common::client::{error_frame, hello_frame};
use common::model::{CONFIRMATION, dial_frame, grant_frame};
use common::{Client, End, Party, TestServer, config, count, group, wait_until};
use twincast_protocol::ids::ServerSide;
use twincast_protocol::wire::Code;
use twincast_server::config::GroupConfig;

const S1: ServerSide = ServerSide::One;

#[test]
fn one_that_connects_and_says_nothing_is_told_and_closed() {
    let mut config = config(vec![group(1, 3)]);
    config.limits.hello_timeout_ms = 200;
    let group = config.groups[0].clone();
    let server = TestServer::start(config);
    let mut party = Party::open(server.address(), &group, [vec![0, 1], vec![2]], 1);
    let mut silent: Vec<Client> = (0..20).map(|_| Client::connect(server.address())).collect();
    // One of them says a part of it.
    let hello = hello_frame(S1, 1, &[0]);
    silent[3].send(&hello[..hello.len() - 1]);
    silent[4].send(&hello[..3]);
    party.play(1);
    for client in &mut silent {
        client.expect_closed(Code::HelloTimeout);
    }
    assert_eq!(server.metrics().refusals(Code::HelloTimeout), 20);
    drop(silent);
    server.wait_for_connections(2);
    party.play(2);
}

#[test]
fn a_hello_in_single_bytes_is_taken() {
    let group = group(1, 3);
    let server = TestServer::start(config(vec![group.clone()]));
    let mut party = Party::attach(server.address(), &group, [vec![0, 1]], 1);
    let mut client = Client::connect(server.address());
    for byte in hello_frame(S1, 1, &[2]) {
        client.send(&[byte]);
    }
    client.welcome();
    party.seats.push(common::Seat::new(client, vec![2]));
    party.dial();
    party.expect_open();
    party.play(1);
}

/// What follows HELLO in the same write moves to the executor that owns the group.
#[test]
fn everything_that_follows_hello_at_once_is_taken_on_every_executor() {
    for executors in [1, 2] {
        let groups: Vec<GroupConfig> = (0..4).map(|id| group(id, 100)).collect();
        let mut config = config(groups.clone());
        config.front.executors = executors;
        let server = TestServer::start(config);
        for group in &groups {
            let mut party = Party::new(server.address(), group, S1, 1);
            let sets: [Vec<u32>; 2] = [(0..50).collect(), (50..100).collect()];
            for users in sets {
                let mut client = Client::connect(server.address());
                let mut bytes = hello_frame(S1, group.id, &users);
                for &user in &users {
                    bytes.extend(party.model.dial(user, 0));
                }
                // Round 1 is not open before the last of all has dialled.
                let early = party.model.submit_in_vain(1, users[0]);
                if users[0] == 0 {
                    bytes.extend(early);
                }
                client.send(&bytes);
                client.welcome();
                for &user in &users {
                    let dialled = party.model.dialled(user, 0);
                    client.expect(&dialled, "a dial's answer");
                }
                if users[0] == 0 {
                    client.expect_error(Code::EpochNotOpen, 0, u32::MAX, 1);
                }
                party.seats.push(common::Seat::new(client, users));
            }
            party.expect_open();
            party.play(1);
        }
    }
}

#[test]
fn a_flood_of_connections_harms_none_of_those_within_the_limit() {
    let mut config = config(vec![group(1, 4)]);
    config.limits.connections_max = 6;
    let group = config.groups[0].clone();
    let server = TestServer::start(config);
    let mut party = Party::open(server.address(), &group, [vec![0, 1], vec![2], vec![3]], 1);
    let silent: Vec<Client> = (0..3).map(|_| Client::connect(server.address())).collect();
    server.wait_for_connections(6);
    for flood in 0..60 {
        let mut client = Client::connect(server.address());
        // Those who speak at once are told, too.
        if flood % 2 == 0 {
            client.send_if_open(&hello_frame(S1, 1, &[0]));
        }
        client.expect_error(Code::ConnectionsFull, u32::MAX, u32::MAX, 0);
        assert_ne!(client.drain().0, End::Silence);
    }
    assert_eq!(server.metrics().refusals(Code::ConnectionsFull), 60);
    assert_eq!(count(&server.metrics().connections_accepted), 6);
    party.play(1);
    // As soon as some have gone others are taken.
    drop(silent);
    server.wait_for_connections(3);
    let (client, _) = Client::attach(server.address(), S1, 1, &[3]);
    party.seats[2].client.expect_closed(Code::Superseded);
    party.seats[2] = common::Seat::new(client, vec![3]);
    let dialled = party.model.dialled(3, 0);
    party.seats[2].expect(&dialled, "its dial stands");
    party.submit_with_newcomers(2, 1);
    party.expect(2);
}

#[test]
fn a_newer_connection_supersedes_those_that_had_one_of_its_members() {
    let group = group(1, 6);
    let server = TestServer::start(config(vec![group.clone()]));
    let mut party = Party::open(server.address(), &group, [vec![0, 1], vec![2, 3], vec![4], vec![5]], 1);
    party.play(1);
    // 1 and 2 move; 0 and 3 lose their connections with them.
    party.join(vec![1, 2]);
    for seat in [1, 0] {
        party.take(seat).expect_closed(Code::Superseded);
    }
    assert_eq!(server.metrics().refusals(Code::Superseded), 2);
    party.submit_with_newcomers(2, 1);
    party.expect(2);
    party.play(3);
    assert_eq!((party.model.senders(2), party.model.senders(3)), (4, 4));
    // They come back.
    party.join(vec![0]);
    party.join(vec![3]);
    party.submit_with_newcomers(4, 2);
    party.expect(4);
    party.play(5);
    assert_eq!((party.model.senders(4), party.model.senders(5)), (6, 6));
}

#[test]
fn what_a_superseded_connection_submitted_stands() {
    let group = group(1, 3);
    let server = TestServer::start(config(vec![group.clone()]));
    let mut party = Party::open(server.address(), &group, [vec![0], vec![1], vec![2]], 1);
    party.submit_seat(1, 0);
    // The server has it before the newer connection comes: an answer to something later proves it.
    let dial = dial_frame(1, 0, 0, 0, &[1]);
    party.seats[0].client.send(&dial);
    party.seats[0].client.expect_error(Code::DialClosed, 0, 0, 0);
    party.join(vec![0]);
    party.take(0).expect_closed(Code::Superseded);
    let again = party.model.submit_in_vain(1, 0);
    let newer = party.seats.last_mut().unwrap();
    newer.client.send(&again);
    newer.client.expect_error(Code::DuplicateSubmission, 0, u32::MAX, 1);
    party.submit_seat(1, 0);
    party.submit_seat(1, 1);
    party.expect(1);
    party.submit_with_newcomers(2, 1);
    party.expect(2);
    party.play(3);
}

/// A member that moves from one connection to another is waited for once it has submitted on the new one. The round
/// that is open loses it, and whoever the older connection had, and waits for nobody else.
#[test]
fn a_round_goes_on_without_a_member_that_reconnects_and_the_next_one_waits_for_it() {
    let group = group(1, 70);
    let server = TestServer::start(config(vec![group.clone()]));
    let mut party = Party::open(server.address(), &group, [(0..68).collect(), vec![68, 69]], 1);
    for round in (1..20).step_by(2) {
        party.submit_seat(round, 0);
        let rest = party.model.round(round, &party.seats[0].users);
        party.seats[0].client.expect(&rest[0], "tile 0");
        let late = if round % 4 == 3 { vec![68, 69] } else { vec![69] };
        party.join(late.clone());
        assert_eq!(party.welcome.unwrap().round.get(), round);
        // The older one had the first tile, or not yet.
        let (end, last) = party.take(1).drain();
        let superseded = error_frame(Code::Superseded, u32::MAX, u32::MAX, 0);
        assert_eq!((end, last), (End::Whole, Some(superseded)));
        party.seats[0].client.expect(&rest[1], "tile 1");
        // The newer connection came after the first tile had left.
        let tile = party.model.deliver(round, 1, 0, &late);
        party.seats[1].client.expect(&tile, "tile 1");
        let end = party.model.round_end(round);
        party.expect_all(&end, "the round's end");
        assert_eq!(party.model.senders(round), 68);
        party.submit_with_newcomers(round + 1, 1);
        party.expect(round + 1);
        assert_eq!(party.model.senders(round + 1), 68 + late.len() as u32);
    }
}

#[test]
fn a_member_that_comes_late_is_told_the_open_round_and_takes_part() {
    let group = group(1, 4);
    let server = TestServer::start(config(vec![group.clone()]));
    let mut party = Party::open(server.address(), &group, [vec![0, 1], vec![2, 3]], 1);
    assert_eq!((party.welcome.unwrap().open, party.welcome.unwrap().round.get()), (0, 1));
    party.play(1);
    party.play(2);
    drop(party.take(1));
    server.wait_for_connections(1);
    party.join(vec![2, 3]);
    assert_eq!((party.welcome.unwrap().open, party.welcome.unwrap().round.get()), (1, 3));
    party.submit_with_newcomers(3, 1);
    party.expect(3);
    // From then on it is waited for.
    party.play(4);
}

#[test]
fn a_member_whose_connection_goes_is_absent_and_the_round_does_not_wait() {
    let group = group(1, 70);
    let server = TestServer::start(config(vec![group.clone()]));
    let sets = [(0..30).collect(), (30..65).collect(), (65..69).collect(), vec![69]];
    let mut party = Party::open(server.address(), &group, sets, 1);
    party.play(1);
    // One goes before the others submit, one while the round waits for it alone.
    drop(party.take(3));
    party.submit_seat(2, 0);
    party.submit_seat(2, 1);
    drop(party.take(2));
    party.expect(2);
    assert_eq!(party.model.senders(2), 65);
    assert_eq!(count(&server.metrics().members_absent), 5);
    party.play(3);
    // Nobody is left: the round that had begun is sealed, and nothing waits or hangs.
    party.submit_seat(4, 0);
    drop(party);
    wait_until("the last round", || count(&server.metrics().rounds_sealed) == 4);
    server.wait_for_connections(0);
}

#[test]
fn one_that_dies_in_mid_frame_is_counted_and_the_round_goes_on_without_it() {
    let group = group(1, 8);
    let server = TestServer::start(config(vec![group.clone()]));
    let sets = [vec![0, 1, 2], vec![3], vec![4], vec![5], vec![6], vec![7]];
    let mut party = Party::open(server.address(), &group, sets, 1);
    party.play(1);
    // In a header, at its end, in a head, in the shares, before the last byte.
    for (cut, bytes) in [3, 8, 20, 100, 8 + 16 + 127].into_iter().enumerate() {
        let round = cut as u64 + 2;
        let dying = party.seats.last().unwrap().users[0];
        let submit = party.model.submit_in_vain(round, dying);
        let place = party.seats.len() - 1;
        let mut client = party.take(place);
        party.submit(round);
        client.send(&submit[..bytes]);
        drop(client);
        party.expect(round);
        wait_until("the count", || count(&server.metrics().cut_frames) == cut as u64 + 1);
    }
    // One that goes between two frames is none of them.
    party.join(vec![7]);
    drop(party.take(1));
    party.play(7);
    server.wait_for_connections(1);
    assert_eq!(count(&server.metrics().cut_frames), 5);
}

/// A host whose writes are blocked in the middle of a frame still reads: the round is sealed without it at the time
/// limit, it gets what is delivered, and what it had begun is refused once it comes, without a close.
#[test]
fn one_whose_writes_are_blocked_in_mid_frame_reads_on_and_holds_up_nobody() {
    let mut group = group(1, 4);
    group.round_timeout_ms = 600;
    let server = TestServer::start(config(vec![group.clone()]));
    let mut party = Party::open(server.address(), &group, [vec![0, 1, 2], vec![3]], 1);
    party.play(1);
    let submit = party.model.submit_in_vain(2, 3);
    party.seats[1].client.send(&submit[..100]);
    party.submit_seat(2, 0);
    party.expect(2);
    party.seats[1].client.send(&submit[100..]);
    party.seats[1].client.expect_error(Code::RoundSealed, 3, u32::MAX, 2);
    party.play(3);
    assert_eq!(server.metrics().refusals(Code::RoundSealed), 1);
    assert_eq!(count(&server.metrics().cut_frames), 0);
}

#[test]
fn one_that_dies_in_mid_hello_is_counted() {
    let group = group(1, 2);
    let server = TestServer::start(config(vec![group.clone()]));
    let mut party = Party::open(server.address(), &group, [vec![0, 1]], 1);
    let hello = hello_frame(S1, 1, &[0, 1]);
    for (cut, bytes) in [1, 8, 15, hello.len() - 1].into_iter().enumerate() {
        let mut client = Client::connect(server.address());
        client.send(&hello[..bytes]);
        drop(client);
        wait_until("the count", || count(&server.metrics().cut_frames) == cut as u64 + 1);
    }
    drop(Client::connect(server.address()));
    server.wait_for_connections(1);
    assert_eq!(count(&server.metrics().cut_frames), 4);
    party.play(1);
}

/// Its confirmations are not present, and neither the tile nor the epoch waits for them.
#[test]
fn one_that_dies_in_mid_confirmation_is_counted_and_the_epoch_opens_without_it() {
    let group = GroupConfig { confirm: true, ..group(1, 5) };
    let mut config = config(vec![group.clone()]);
    config.side = 2;
    let server = TestServer::start(config);
    let mut party = Party::new(server.address(), &group, ServerSide::Two, 1);
    for users in [vec![0, 2], vec![1], vec![3, 4]] {
        party.join(users);
    }
    party.dial();
    party.expect_grants(0, 0, 5);
    for seat in [0, 2] {
        party.confirm_seat(seat, 0, 0..5, &[]);
    }
    let mut dying = party.take(1);
    let parts = common::model::confirm_frame(0x04, 0, 1, 0, &[7; 5 * 64]);
    dying.send(&parts[..parts.len() - 70]);
    drop(dying);
    let delivery = party.model.confirmations(64, 0, 0, &[0]);
    assert_eq!(common::party::present(&delivery), 0b11101);
    party.expect_parts(CONFIRMATION);
    party.expect_open();
    assert_eq!(count(&server.metrics().cut_frames), 1);
    party.play(1);
}

#[test]
fn a_confirmation_that_a_newer_connection_sends_again_counts_once() {
    let group = GroupConfig { confirm: true, ..group(1, 3) };
    let mut config = config(vec![group.clone()]);
    config.side = 2;
    let server = TestServer::start(config);
    let mut party = Party::new(server.address(), &group, ServerSide::Two, 1);
    for users in [vec![0], vec![1], vec![2]] {
        party.join(users);
    }
    party.dial();
    party.expect_grants(0, 0, 3);
    let half = common::model::confirm_frame(0x04, 0, 0, 0, &[7; 3 * 64]);
    party.seats[0].client.send(&half[..150]);
    // The newer connection is told what is granted, and begins at the start.
    party.join(vec![0]);
    let mut older = party.take(0);
    let newer = &mut party.seats[2].client;
    newer.expect(&grant_frame(0, 0, 3), "the grants so far");
    party.seats[2].granted.insert((0, CONFIRMATION, 0, 0));
    older.send_if_open(&half[150..]);
    older.expect_closed(Code::Superseded);
    for seat in 0..3 {
        party.confirm_seat(seat, 0, 0..3, &[]);
    }
    party.expect_parts(CONFIRMATION);
    party.expect_open();
    party.play(1);
}

/// A peer that sends no more has left; what it had sent counts.
#[test]
fn one_that_ends_its_own_direction_is_gone() {
    let group = group(1, 3);
    let server = TestServer::start(config(vec![group.clone()]));
    let mut party = Party::open(server.address(), &group, [vec![0, 1], vec![2]], 1);
    party.submit_seat(1, 1);
    let mut leaving = party.take(1);
    leaving.send_end();
    assert_eq!(leaving.drain().0, End::Whole);
    party.submit_seat(1, 0);
    party.expect(1);
    assert_eq!(party.model.senders(1), 3);
    party.play(2);
    server.wait_for_connections(1);
}

#[test]
fn connections_without_a_hello_are_told_that_the_server_stops() {
    let server = TestServer::start(config(vec![group(1, 2)]));
    let mut silent: Vec<Client> = (0..5).map(|_| Client::connect(server.address())).collect();
    silent[1].send(&hello_frame(S1, 1, &[0])[..5]);
    server.wait_for_connections(5);
    drop(server);
    for client in &mut silent {
        client.expect_closed(Code::ShuttingDown);
    }
}
