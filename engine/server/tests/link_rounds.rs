//! Rounds over the link: both servers release the members whom both have, for as long as there are both, and neither
//! waits for the other without an end.

mod common;

use common::pair::{PEER_TIMEOUT_MS, Servers, s1_end, s2_end};
use common::{Client, NEVER_MS, Pair, Party, Process, TestServer, config, count, group, wait_until};
use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, ServerSide, SlotIndex};
use twincast_protocol::wire::link::{HeldDial, LinkFrame};
use twincast_protocol::wire::{Code, EPOCH_ANY, Kind};
use twincast_server::config::{Config, GroupConfig, LinkConfig};

fn two_sets() -> Vec<Vec<u32>> {
    vec![(0..40).collect(), (40..130).collect()]
}

fn shape() -> GroupConfig {
    GroupConfig { slots: 2, ..group(4, 130) }
}

/// Nobody waits for the other server's word for so long that a test on a busy machine could see it.
fn patient(config: &mut Config) {
    config.link.as_mut().expect("it is linked").peer_timeout_ms = NEVER_MS;
}

#[test]
fn rounds_of_two_linked_servers_are_agreed() {
    let servers = Servers::linked_with(config(vec![shape()]), patient);
    let mut pair = servers.parties(&shape(), &two_sets(), 1);
    assert_eq!(pair.0[0].welcome.unwrap().linked, 1);
    pair.open();
    for round in 1..6 {
        pair.play(round);
    }
    assert_eq!(servers.counts(|metrics| &metrics.tiles_unagreed), [0, 0]);
    // One word a tile and round, and what it takes to dial.
    assert!(servers.counts(|metrics| &metrics.link_frames_out).iter().all(|&frames| frames >= 5 * 3));
}

/// Members 7 and 100 submit to one server each: nobody gets anything of theirs, and everybody gets everything else, with
/// no word that differs.
#[test]
fn half_a_submission_harms_nobody_but_its_sender() {
    let shape = GroupConfig { round_timeout_ms: 400, ..shape() };
    let servers = Servers::linked_with(config(vec![shape.clone()]), patient);
    let mut pair = servers.parties(&shape, &two_sets(), 2);
    pair.open();
    pair.play(1);
    for seat in 0..2 {
        pair.0[0].submit_seat_without(2, seat, &[7]);
        pair.0[1].submit_seat_without(2, seat, &[100]);
    }
    pair.each(|party| {
        party.model.forget(2, 7);
        party.model.forget(2, 100);
    });
    pair.expect(2);
    assert_eq!(pair.0.each_ref().map(|party| party.model.senders(2)), [128, 128]);
    pair.play(3);
    assert_eq!(servers.counts(|metrics| &metrics.tiles_unagreed), [0, 0]);
    assert_eq!(servers.counts(|metrics| &metrics.members_absent), [2, 2]);
}

/// A whole connection dies on the way to one server.
#[test]
fn members_whom_one_server_lost_are_absent_at_both() {
    let servers = Servers::linked_with(config(vec![shape()]), patient);
    let mut pair = servers.parties(&shape(), &two_sets(), 3);
    pair.open();
    drop(pair.0[1].take(0));
    servers.get(ServerSide::Two).wait_for_connections(1);
    pair.submit(1);
    for sender in 0..40 {
        pair.0[0].model.forget(1, sender);
    }
    pair.expect(1);
    assert_eq!(pair.0[0].model.senders(1), 90);
}

/// Nobody submits to S2, whose round does not end. S1 waits for its word, and then goes on without.
#[test]
fn a_word_that_does_not_come_is_waited_for_and_then_done_without() {
    let servers = Servers::linked(vec![shape()]);
    let mut pair = servers.parties(&shape(), &two_sets(), 4);
    pair.open();
    pair.play(1);
    let [one, two] = &mut pair.0;
    one.submit(2);
    one.model.unagreed.insert(2, 6);
    let begun = std::time::Instant::now();
    one.expect(2);
    assert!(begun.elapsed().as_millis() as u64 >= PEER_TIMEOUT_MS);
    // S2 has S1's word by now, and both agree again.
    two.submit(2);
    two.expect(2);
    pair.play(3);
    assert_eq!(servers.counts(|metrics| &metrics.tiles_unagreed), [6, 0]);
}

/// S2 dies, once between two rounds and once while S1 waits for its word: S1 goes on at once and says so.
#[test]
fn without_the_other_server_rounds_go_on_and_say_that_they_are_not_agreed() {
    for in_mid_round in [false, true] {
        let _permit = common::Permit::wait_for(2);
        let mut base = Config { side: 2, link: Some(s2_end()), ..config(vec![shape()]) };
        patient(&mut base);
        let mut second = Process::start_permitted(&base);
        let mut base = Config { link: Some(s1_end(second.link.unwrap())), ..config(vec![shape()]) };
        patient(&mut base);
        let server = TestServer::start_permitted(base);
        let mut one = Party::attach(server.address(), &shape(), two_sets(), 5);
        let mut two = Party::new(second.address, &shape(), ServerSide::Two, 6);
        for users in two_sets() {
            two.join(users);
        }
        let mut pair = Pair([one, two]);
        pair.open();
        pair.play(1);
        [one, two] = pair.0;
        if in_mid_round {
            one.submit(2);
        }
        second.signal(Signal::KILL);
        second.end();
        if !in_mid_round {
            wait_until("the link's end", || count(&server.metrics().link_up) == 0);
            one.submit(2);
        }
        one.model.unagreed.insert(2, 6);
        one.expect(2);
        for round in 3..6 {
            one.model.unagreed.insert(round, 6);
            one.play(round);
        }
        drop(two);
        assert_eq!(count(&server.metrics().tiles_unagreed), 4 * 6);
        assert_eq!(count(&server.metrics().rounds_sealed), 5);
    }
}

/// S1 stops while a round is open: it still gets S2's word for it, and everybody the agreed round, before the end. S2
/// goes on alone.
#[test]
fn a_stop_waits_for_the_other_servers_word() {
    let _permit = common::Permit::wait_for(2);
    let mut base = Config { side: 2, link: Some(s2_end()), ..config(vec![shape()]) };
    patient(&mut base);
    let second = TestServer::start_permitted(base);
    let mut base = Config { link: Some(s1_end(second.link_address().unwrap())), ..config(vec![shape()]) };
    patient(&mut base);
    let mut first = Process::start_permitted(&base);
    let mut waiting = Client::connect(first.address);
    let parties = [(first.address, ServerSide::One), (second.address(), ServerSide::Two)];
    let mut pair = Pair(parties.map(|(address, side)| {
        let mut party = Party::new(address, &shape(), side, 10);
        for users in two_sets() {
            party.join(users);
        }
        party
    }));
    pair.open();
    pair.play(1);
    let [one, two] = &mut pair.0;
    one.submit_surely(2, 0);
    first.signal(Signal::TERM);
    waiting.expect_closed(Code::ShuttingDown);
    one.submit_seat(2, 1);
    two.submit(2);
    pair.expect(2);
    let [mut one, mut two] = pair.0;
    for seat in &mut one.seats {
        seat.client.expect_closed(Code::ShuttingDown);
    }
    drop((one, waiting));
    assert_eq!(first.end().0.code(), Some(0));
    wait_until("the link's end", || count(&second.metrics().link_up) == 0);
    two.model.unagreed.insert(3, 6);
    two.play(3);
    assert_eq!(count(&second.metrics().tiles_unagreed), 6);
}

/// Groups are served by several executors, each with settings of its own, over one link.
#[test]
fn many_groups_share_a_link() {
    let groups: Vec<GroupConfig> = (0..5)
        .map(|id| GroupConfig {
            frame_bytes: [16, 288, 48, 64, 96][id as usize],
            slots: [1, 2, 3, 1, 2][id as usize],
            ..group(id, [130, 20, 64, 65, 2][id as usize])
        })
        .collect();
    let mut base = config(groups.clone());
    base.front.executors = 2;
    let servers = Servers::linked_with(base, patient);
    let mut pairs: Vec<_> = groups
        .iter()
        .map(|group| {
            let sets = vec![(0..group.members / 2).collect(), (group.members / 2..group.members).collect()];
            servers.parties(group, &sets, u64::from(group.id))
        })
        .collect();
    pairs.iter_mut().for_each(Pair::open);
    for round in 1..5 {
        pairs.iter_mut().for_each(|pair| pair.submit(round));
        pairs.iter_mut().for_each(|pair| pair.expect(round));
    }
    assert_eq!(servers.counts(|metrics| &metrics.tiles_unagreed), [0, 0]);
}

/// Garbage, clients and servers of the wrong side connect to the link's address while rounds are played.
#[test]
fn garbage_on_the_links_port_harms_nobody() {
    let servers = Servers::linked_with(config(vec![shape()]), patient);
    let address = servers.get(ServerSide::Two).link_address().unwrap();
    let mut pair = servers.parties(&shape(), &two_sets(), 6);
    pair.open();
    let mut silent = Vec::new();
    for round in 1..12 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(round);
        pair.submit(round);
        let mut bytes = vec![0; rng.random_range(0..400)];
        rng.fill_bytes(&mut bytes);
        match round % 4 {
            0 => bytes.splice(0..0, common::client::hello_frame(ServerSide::Two, 4, &[1])).for_each(drop),
            1 => bytes.splice(0..0, common::model::frame(0x41, &[2, 0, 0, 0, 0, 0, 0, 0])).for_each(drop),
            2 => bytes.splice(0..0, common::model::frame(0x46, &[0; 32])).for_each(drop),
            _ => {}
        }
        let mut stranger = TcpStream::connect(address).unwrap();
        let _ = stranger.write_all(&bytes);
        let _ = stranger.shutdown(Shutdown::Write);
        silent.push(TcpStream::connect(address).unwrap());
        pair.expect(round);
    }
    assert_eq!(servers.counts(|metrics| &metrics.link_ups), [1, 1]);
    assert_eq!(servers.counts(|metrics| &metrics.tiles_unagreed), [0, 0]);
}

/// Both servers have the group, and one thing about it differs: nobody is served there, and the other group is.
#[test]
fn a_group_whose_settings_differ_is_not_served() {
    let other = group(5, 3);
    let base = config(vec![shape(), other.clone(), group(6, 3)]);
    let servers = Servers::start(base, |config| {
        if config.side == 2 {
            config.groups[0].frame_bytes = 32;
            config.groups.pop();
        }
    });
    for (side, group) in [(ServerSide::One, 4), (ServerSide::Two, 4), (ServerSide::One, 6)] {
        // The link comes up a moment after the server.
        wait_until("the refusal", || {
            let mut client = Client::connect(servers.get(side).address());
            client.send(&common::client::hello_frame(side, group, &[0]));
            common::client::is_error(&client.frame("an answer"), Code::SettingsDiffer)
        });
        let mut client = Client::connect(servers.get(side).address());
        client.send(&common::client::hello_frame(side, group, &[0]));
        client.expect_closed(Code::SettingsDiffer);
    }
    let mut pair = servers.parties(&other, &[vec![0, 1], vec![2]], 7);
    pair.open();
    pair.play(1);
    assert_eq!(servers.counts(|metrics| &metrics.tiles_unagreed), [0, 0]);
}

/// S2 is started anew and has lost all that it knew: the two are not in the same epoch any more. Both say so, and
/// another one is dialled.
#[test]
fn a_server_that_lost_its_epoch_and_the_other_one_dial_another() {
    let mut servers = Servers::linked_with(config(vec![shape()]), patient);
    let address = servers.get(ServerSide::Two).link_address().unwrap();
    let mut pair = servers.parties(&shape(), &two_sets(), 8);
    pair.open();
    pair.play(1);
    let [mut one, two] = pair.0;
    servers.both[1] = None;
    drop(two);
    let metrics = servers.get(ServerSide::One).metrics();
    wait_until("the link's end", || count(&metrics.link_up) == 0);
    one.model.unagreed.insert(2, 6);
    one.play(2);
    let mut base = config(vec![shape()]);
    base.side = 2;
    base.link = Some(LinkConfig { listen: Some(address), ..s2_end() });
    patient(&mut base);
    servers.both[1] = Some(TestServer::start_permitted(base));
    let first = expect_mismatch(&mut one, 0, 3);
    let mut two = Party::new(servers.get(ServerSide::Two).address(), &shape(), ServerSide::Two, 9);
    two.model = two.model.next_epoch(one.model.epoch, (0..130).collect(), first);
    // It comes to the same epoch by itself, a moment later perhaps.
    wait_until("the same epoch", || {
        let mut client = Client::connect(two.address);
        client.send(&common::client::hello_frame_for(ServerSide::Two, 4, EPOCH_ANY, false, &[0]));
        client.welcome().epoch.get() == one.model.epoch
    });
    for users in two_sets() {
        two.join(users);
    }
    let mut pair = Pair([one, two]);
    pair.open();
    for round in first..first + 3 {
        pair.play(round);
    }
}

/// The other server says that it is in epoch 7: this one gives its own up, names the mismatch, and dials epoch 8 with
/// the members of the first one.
#[test]
fn servers_in_different_epochs_give_theirs_up_and_dial_another() {
    let impostor = TcpListener::bind("127.0.0.1:0").unwrap();
    let shape = GroupConfig { epoch_rounds: 100, ..shape() };
    let mut base = config(vec![shape.clone()]);
    base.link = Some(s1_end(impostor.local_addr().unwrap()));
    let server = TestServer::start(base);
    let mut one = Party::attach(server.address(), &shape, two_sets(), 9);
    let (mut socket, _) = impostor.accept().unwrap();
    socket.set_read_timeout(Some(common::PATIENCE)).unwrap();
    let mut header = [0; 8];
    socket.read_exact(&mut header).unwrap();
    let mut body = vec![0; u32::from_le_bytes(*header.last_chunk().unwrap()) as usize];
    socket.read_exact(&mut body).unwrap();
    let LinkFrame::Hello(1, mut groups) = LinkFrame::read(Kind::LinkHello, &body).unwrap() else {
        panic!("S1 says LINK_HELLO first")
    };
    (groups[0].epoch, groups[0].round, groups[0].open) = (7.into(), 93.into(), 1);
    groups[0].roster_hash = [9; 32];
    let mut hello = Vec::new();
    LinkFrame::Hello(2, groups).put(&mut hello);
    socket.write_all(&hello).unwrap();
    assert_eq!(expect_mismatch(&mut one, 7, 94), 94);
    assert_eq!(one.model.epoch, 8);
    // Dials wait for the other server, and an old epoch's are refused by name.
    let old = common::model::dial_frame(1, 0, 0, 0, &[0; 17]);
    one.seats[0].client.send(&old);
    one.seats[0].client.expect_error(Code::EpochWrong, 0, 0, 0);
    // Nonsense about that epoch costs the link, not the server.
    let mut nonsense = Vec::new();
    LinkFrame::Held(GroupId(4), Epoch(8), vec![HeldDial::new(1, MemberIndex(130), SlotIndex(0))])
        .put(&mut nonsense);
    socket.write_all(&nonsense).unwrap();
    assert_eq!(socket.read_to_end(&mut Vec::new()).map_err(|error| error.kind()).unwrap_or(0), 0);
    wait_until("the link's end", || count(&server.metrics().link_up) == 0);
}

/// Everybody is told of the mismatch and of another epoch: beyond `epoch`, from `round` on or later. Its first round.
fn expect_mismatch(party: &mut Party, epoch: u32, round: u64) -> u64 {
    let mismatch = common::client::error_frame(Code::EpochMismatch, u32::MAX, u32::MAX, 0);
    party.expect_all(&mismatch, "the mismatch");
    let announced = party.next_announced("the epoch that is dialled instead");
    let first = announced.first_round.get();
    assert!(announced.epoch.get() > epoch && first >= round, "{announced:?}");
    party.model = party.model.next_epoch(announced.epoch.get(), (0..130).collect(), first);
    assert_eq!(announced.roster_hash, party.model.roster_hash());
    let roster = party.model.roster_frame();
    party.expect_all(&roster, "its members");
    first
}
