//! Groups whose delivery is `answer`, over real sockets: two linked servers, and readers who XOR what both send.

mod common;

use common::accounts::Folders;
use common::model::{dial_frame, skipped_frame, submit_frame};
use common::pair::{Servers, s1_end, s2_end};
use common::readers::answering;
use common::{Client, NEVER_MS, Readers, config, count, group, metric, wait_until};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::net::SocketAddr;
use std::time::SystemTime;
use twincast_protocol::ids::ServerSide;
use twincast_protocol::wire::{Code, EPOCH_ANY};
use twincast_server::config::{ChannelName, Config, GroupConfig};
use twincast_server::group::Fault;
use twincast_server::limits::WRONG_SIGNATURES_MAX;

/// Two tiles and a bit.
const MEMBERS: u32 = 130;

fn two_sets() -> Vec<Vec<u32>> {
    vec![(0..40).chain(90..MEMBERS).collect(), (40..90).collect()]
}

fn patient(config: &mut Config) {
    config.link.as_mut().expect("it is linked").peer_timeout_ms = NEVER_MS;
}

fn servers(group: &GroupConfig, threads: usize) -> Servers {
    let mut base = config(vec![group.clone()]);
    base.answer.threads = threads;
    Servers::linked_with(base, patient)
}

#[test]
fn every_reader_gets_the_record_that_it_asks_for() {
    for (slots, threads) in [(1, 1), (2, 3)] {
        let group = answering(4, MEMBERS, slots);
        let servers = servers(&group, threads);
        let mut readers = Readers::open(&servers, &group, &two_sets(), u64::from(slots));
        let welcome = readers.pair.0[0].welcome.unwrap();
        assert_eq!((welcome.delivery, welcome.linked), (1, 1));
        assert_eq!((welcome.frame_bytes.get(), welcome.share_bytes.get()), (272, 352));
        for round in 1..6 {
            readers.play(round);
        }
        assert_eq!(servers.counts(|metrics| &metrics.rounds_sealed), [5, 5]);
        assert_eq!(servers.counts(|metrics| &metrics.signatures_verified), [5 * u64::from(MEMBERS); 2]);
        for counter in [
            servers.counts(|metrics| &metrics.members_absent),
            servers.counts(|metrics| &metrics.rounds_unagreed),
        ] {
            assert_eq!(counter, [0, 0]);
        }
        for side in ServerSide::BOTH {
            let server = servers.get(side);
            // The last frame may be counted a moment after it was read.
            wait_until("all answers", || {
                server.counters().egress_answers == 5 * u64::from(MEMBERS) * u64::from(slots)
            });
            assert_eq!(server.counters().egress_shares, 0);
        }
    }
}

/// One sender reaches only S1: its readers read that it is absent, and nobody else's read suffers.
#[test]
fn a_sender_who_reaches_one_server_only_is_absent_and_harms_nobody() {
    let group = GroupConfig { round_timeout_ms: 400, ..answering(4, MEMBERS, 2) };
    let servers = servers(&group, 1);
    let mut readers = Readers::open(&servers, &group, &two_sets(), 2);
    readers.play(1);
    for (round, sender) in [(2, 7), (3, 128)] {
        readers.submit_but(round, &[sender]);
        let record = readers.make(round, sender);
        let side = round as usize % 2;
        readers.send(side, round, sender, &record);
        readers.expect_refused(side, round, sender, Code::RecordHalf);
        readers.expect_but(round, &[sender]);
    }
    readers.play(4);
    assert_eq!(servers.counts(|metrics| &metrics.members_absent), [2, 2]);
    for side in ServerSide::BOTH {
        assert_eq!(servers.get(side).metrics().blames(Fault::SenderSignedTwo), 0, "it is nobody's fault");
    }
}

#[test]
fn whoever_is_silent_is_absent_at_both() {
    let group = GroupConfig { round_timeout_ms: 400, ..answering(4, MEMBERS, 1) };
    let servers = servers(&group, 2);
    let mut readers = Readers::open(&servers, &group, &[(0..MEMBERS).collect()], 3);
    let absent = [0, 63, 64, 100, 128, 129];
    readers.submit_but(1, &absent);
    readers.expect_but(1, &absent);
    // A whole tile's senders.
    let absent: Vec<u32> = (64..128).collect();
    readers.submit_but(2, &absent);
    readers.expect_but(2, &absent);
    readers.play(3);
}

#[test]
fn a_bad_signature_is_refused_and_only_its_sender_is_absent() {
    let group = answering(4, MEMBERS, 1);
    let servers = servers(&group, 1);
    let mut readers = Readers::open(&servers, &group, &two_sets(), 4);
    for (round, sender) in [(1, 5), (2, 70)] {
        readers.submit_but(round, &[sender]);
        let mut record = readers.make(round, sender);
        record[(round as usize * 200) % 352] ^= 1;
        for side in 0..2 {
            readers.send(side, round, sender, &record);
        }
        for side in 0..2 {
            readers.expect_refused(side, round, sender, Code::SignatureWrong);
        }
        readers.expect_but(round, &[sender]);
    }
    readers.play(3);
    assert_eq!(servers.counts(|metrics| &metrics.signatures_refused), [2, 2]);
    let all = 3 * u64::from(MEMBERS) - 2;
    assert_eq!(servers.counts(|metrics| &metrics.signatures_verified), [all, all]);
}

/// Nothing that was signed for a server that ran before is worth anything to one that starts, whatever its clock says then.
#[test]
fn a_group_begins_with_the_epoch_of_the_clock_and_goes_on_behind_those_that_it_had() {
    let unix = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let folders = Folders::new();
    let epochs = |first_epoch| {
        let group = GroupConfig { first_epoch, ..answering(4, 3, 1) };
        let servers = folders.servers(ChannelName::Plain, group, patient);
        ServerSide::BOTH.map(|side| {
            let mut client = Client::connect(servers.get(side).address());
            client.send(&common::client::hello_frame_for(side, 4, EPOCH_ANY, false, &[0]));
            u64::from(client.welcome().epoch.get())
        })
    };
    let before = unix();
    let mut had = epochs(None);
    // Both have their own, or meet at the number after the higher one.
    let after = unix();
    let by_clock = |epoch: &u64| (before..=after + 1).contains(epoch);
    assert!(had.iter().all(by_clock), "{before}, {had:?}, {after}");
    // Started again at once, and with clocks that are set back.
    for first_epoch in [None, Some(5)] {
        let begun = epochs(first_epoch);
        assert!(begun.iter().min() > had.iter().max(), "{had:?}, {begun:?}");
        had = begun;
    }
}

/// One connection, again and again: what it plays is absent from then on, and the others play on.
#[test]
fn who_sends_wrong_signatures_again_and_again_is_closed() {
    let group = answering(4, MEMBERS, 1);
    let servers = servers(&group, 1);
    let mut readers = Readers::open(&servers, &group, &two_sets(), 8);
    let floods = u64::from(WRONG_SIGNATURES_MAX);
    for round in 1..=floods {
        readers.submit_but(round, &[60]);
        let mut record = readers.make(round, 60);
        record[0] ^= 1;
        for side in 0..2 {
            readers.send(side, round, 60, &record);
        }
        for side in 0..2 {
            if round < floods {
                readers.expect_refused(side, round, 60, Code::SignatureWrong);
            } else {
                readers.pair.0[side].seats[1].client.expect_closed(Code::SignatureFlood);
                readers.pair.0[side].seats.truncate(1);
            }
        }
        readers.targets.retain(|(member, _), _| round < floods || !(40..90).contains(member));
        readers.expect_but(round, &[60]);
    }
    let gone: Vec<u32> = (40..90).collect();
    readers.submit_but(floods + 1, &gone);
    readers.expect_but(floods + 1, &gone);
    for side in ServerSide::BOTH {
        assert_eq!(servers.get(side).metrics().refusals(Code::SignatureFlood), 1);
    }
}

/// Two valid signatures on different records: the sender reaches nobody and is named, by both servers.
#[test]
fn a_sender_who_gives_the_servers_different_records_reaches_nobody_and_is_named() {
    let group = answering(4, MEMBERS, 2);
    let servers = servers(&group, 1);
    let mut readers = Readers::open(&servers, &group, &two_sets(), 5);
    let two_faced = [3, 66, 67];
    readers.submit_but(1, &two_faced);
    for sender in two_faced {
        for side in 0..2 {
            let record = readers.make(1, sender);
            readers.send(side, 1, sender, &record);
        }
    }
    for (side, sender) in (0..2).flat_map(|side| two_faced.map(|sender| (side, sender))) {
        readers.expect_refused(side, 1, sender, Code::RecordHalf);
    }
    readers.expect_but(1, &two_faced);
    readers.play(2);
    for side in ServerSide::BOTH {
        let metrics = servers.get(side).metrics();
        wait_until("the blame", || metrics.blames(Fault::SenderSignedTwo) == 3);
        for fault in [Fault::PeerShowedFalse, Fault::PeerShowedNothing, Fault::PeerSignedFalse] {
            assert_eq!(metrics.blames(fault), 0);
        }
    }
}

/// Wrong lengths cost who sends them the connection, and others nothing.
#[test]
fn frames_of_a_wrong_length_end_their_connection_alone() {
    let group = GroupConfig { round_timeout_ms: 400, ..answering(4, MEMBERS, 2) };
    let servers = servers(&group, 1);
    let mut readers = Readers::open(&servers, &group, &[(1..MEMBERS).collect(), vec![0]], 6);
    readers.play(1);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(6);
    for (round, seed) in (2..12).zip(0_u64..) {
        let mut bytes = vec![0; [0, 1, 16, 335, 336, 351, 353, 704, 5_000, 70_000][seed as usize]];
        rng.fill_bytes(&mut bytes);
        let query = &bytes[..bytes.len().min(400)];
        let wrong = match seed % 2 {
            0 => submit_frame(round, 0, &bytes),
            _ => dial_frame(1, 0, 0, 0, query),
        };
        // Another connection takes member 0 over, and sends it.
        for side in 0..2 {
            let party = &mut readers.pair.0[side];
            let mut client = Client::connect(party.address);
            client.send(&common::client::hello_frame(party.side, 4, &[0]));
            client.welcome();
            for slot in 0..2 {
                let dialled = party.model.dialled(0, slot);
                assert_eq!(client.frame("the dials"), dialled);
            }
            client.send(&wrong);
            client.expect_closed(Code::LengthWrong);
            if let Some(seat) = party.seats.get_mut(1) {
                seat.client.expect_closed(Code::Superseded);
            }
            party.seats.truncate(1);
        }
        readers.targets.retain(|(member, _), _| *member != 0);
        readers.submit_but(round, &[0]);
        readers.expect_but(round, &[0]);
    }
}

/// Without the other server there are no answers: rounds are left out, and everybody is told.
#[test]
fn without_the_other_server_rounds_are_left_out() {
    let group = answering(4, MEMBERS, 1);
    let mut servers = Servers::linked(vec![group.clone()]);
    let mut readers = Readers::open(&servers, &group, &two_sets(), 7);
    readers.play(1);
    servers.both[1] = None;
    let metrics = servers.get(ServerSide::One).metrics();
    wait_until("the link's end", || count(&metrics.link_up) == 0);
    for round in 2..4 {
        for sender in 0..MEMBERS {
            let record = readers.make(round, sender);
            readers.send(0, round, sender, &record);
        }
        readers.pair.0[0].expect_all(&skipped_frame(round), "a round is left out");
    }
    assert_eq!(count(&metrics.rounds_unagreed), 2);
    assert_eq!(count(&metrics.rounds_sealed), 1);
}

/// The next epoch's queries are dialled while one runs, and answered from its first round on.
#[test]
fn each_epoch_answers_its_own_queries() {
    let group = GroupConfig { epoch_rounds: 5, announce_rounds: 2, ..answering(4, MEMBERS, 1) };
    let servers = servers(&group, 2);
    let mut readers = Readers::open(&servers, &group, &two_sets(), 8);
    for first in [1, 6, 11] {
        (first..first + 3).for_each(|round| readers.play(round));
        readers.expect_announcement(first + 5);
        let next = readers.dial_next();
        (first + 3..first + 5).for_each(|round| readers.play(round));
        readers.begin(next);
    }
}

/// Broadcast and answers, several executors, one link and the same answer threads.
#[test]
fn groups_of_either_delivery_share_servers() {
    let groups = [answering(1, 70, 2), group(2, 20), answering(3, 2, 1), answering(5, 65, 1)];
    let mut base = config(groups.to_vec());
    base.front.executors = 2;
    base.answer.threads = 2;
    base.metrics_listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let servers = Servers::linked_with(base, patient);
    let sets = |group: &GroupConfig| {
        vec![(0..group.members / 2).collect(), (group.members / 2..group.members).collect()]
    };
    let mut broadcast = servers.parties(&groups[1], &sets(&groups[1]), 9);
    broadcast.open();
    let mut readers: Vec<Readers> = [0, 2, 3]
        .into_iter()
        .map(|index| Readers::open(&servers, &groups[index], &sets(&groups[index]), index as u64))
        .collect();
    for round in 1..5 {
        broadcast.submit(round);
        readers.iter_mut().for_each(|readers| readers.submit_but(round, &[]));
        readers.iter_mut().for_each(|readers| readers.expect_but(round, &[]));
        broadcast.expect(round);
    }
    let address = servers.get(ServerSide::One).metrics_address().unwrap();
    assert_eq!(metric(address, "twincast_signatures_verified_total"), 4 * (70 + 2 + 65));
    assert_eq!(metric(address, "twincast_signatures_refused_total"), 0);
    assert_eq!(metric(address, "twincast_rounds_unagreed_total"), 0);
    assert_eq!(metric(address, "twincast_blames_total"), 0);
    assert!(metric(address, "twincast_answer_busy_microseconds_total") > 0);
    assert!(metric(address, "twincast_answer_memory_bytes") > 0);
    wait_until("all answers", || metric(address, "twincast_egress_answers_total") == 4 * (140 + 2 + 65));
}

/// The two servers know one user by different keys: nobody is served before that is mended.
#[test]
fn servers_that_know_a_user_by_different_keys_serve_nobody() {
    use common::TestServer;
    use std::collections::HashMap;
    use twincast_protocol::ids::{GroupId, UserId};
    use twincast_server::Server;
    use twincast_server::answer::Identities;

    let _permit = common::Permit::wait_for(2);
    let base = config(vec![answering(4, 3, 1)]);
    let two = TestServer::start_permitted(Config { side: 2, link: Some(s2_end()), ..base.clone() });
    let one = Config { link: Some(s1_end(two.link_address().unwrap())), ..base };
    let members: HashMap<_, _> = [0, 1, 9]
        .into_iter()
        .zip(0..)
        .map(|(key, user)| (UserId(user), common::readers::user_key(key).verifying_key()))
        .collect();
    let identities = Identities::new(
        &common::readers::server_seed(ServerSide::One),
        common::readers::server_key(ServerSide::Two),
        HashMap::from([(GroupId(4), members)]),
    );
    let one = Server::start_with(one, identities.into()).unwrap();
    for (address, side) in [(one.address(), ServerSide::One), (two.address(), ServerSide::Two)] {
        wait_until("the refusal", || {
            let mut client = Client::connect(address);
            client.send(&common::client::hello_frame(side, 4, &[0]));
            common::client::is_error(&client.frame("an answer"), Code::SettingsDiffer)
        });
    }
    one.stop().unwrap();
}
