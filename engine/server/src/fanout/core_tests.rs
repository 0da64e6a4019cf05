use super::super::signed_rounds::{GROUP, USER_BYTES, frame_of, signed_round};
use super::*;
use crate::limits::SIGNED_CELLS_PER_TURN;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use socket2::SockRef;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::sync_channel;
use twincast_protocol::ids::Epoch;

const ROUNDS: u64 = 6;
/// Members of a group whose signatures take several turns.
const MEMBERS: usize = 400;
/// Turns that they take at the least.
const TURNS: usize = MEMBERS * MEMBERS / (SIGNED_CELLS_PER_TURN + MEMBERS);

const _: () = assert!(TURNS >= 4);

/// A connection of these users, and its far end.
fn newcomer(number: u64, group: GroupId, users: std::ops::Range<u32>) -> (CoreMessage, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let reader = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    reader.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let newcomer = Newcomer {
        connection: ConnectionId(number),
        group,
        socket: listener.accept().unwrap().0.into(),
        users: users.map(UserId).collect(),
        private_max: 1,
        front: 0,
        channel: None,
    };
    (CoreMessage::Add(Box::new(newcomer)), reader)
}

fn config() -> EgressConfig {
    EgressConfig { connections_max: 4, ..EgressConfig::default() }
}

/// A core that the test turns itself, and the handle of the front that it tells who is closed.
fn core(groups: &[GroupId]) -> (Core, Arc<FrontHandle>) {
    let handle = CoreHandle::new(groups.iter().copied()).unwrap();
    let front = Arc::new(FrontHandle::new().unwrap().0);
    (Core::new(config(), handle, vec![front.clone()]).unwrap(), front)
}

/// The end of a round in which all [`MEMBERS`] are.
fn round_end(round: u64) -> Arc<crate::accountable::SignedRound> {
    let roster = Roster::initial(GROUP, Epoch(1), MEMBERS);
    signed_round(&roster, RoundNumber(round), &mut Xoshiro256PlusPlus::seed_from_u64(round))
}

fn user_ids(users: std::ops::Range<u32>) -> Vec<UserId> {
    users.map(UserId).collect()
}

/// A core that was kept from its work while a group went on.
#[test]
fn rounds_that_come_all_at_once_are_no_lag_of_who_reads() {
    let group = GroupId(1);
    let handle = CoreHandle::new([group].into_iter()).unwrap();
    let (add, mut reader) = newcomer(0, group, 0..1);
    handle.send(add).unwrap();
    for round in 1..=ROUNDS {
        let frame = Bytes::from_owner([round as u8; 100]);
        handle.send(CoreMessage::Shared(group, Item::Frame(RoundNumber(round), frame))).unwrap();
    }
    let core = handle.clone();
    let thread = std::thread::spawn(move || Core::new(config(), core, vec![]).unwrap().run());
    let mut all = [0; 100 * ROUNDS as usize];
    reader.read_exact(&mut all).unwrap();
    assert!(all.chunks(100).zip(1..).all(|(frame, round)| frame == [round; 100]));
    // Judged by now: one more round is, before the counters are told.
    handle
        .send(CoreMessage::Shared(group, Item::Frame(RoundNumber(ROUNDS + 1), Bytes::from_static(b"x"))))
        .unwrap();
    reader.read_exact(&mut all[..1]).unwrap();
    let (reply, counters) = sync_channel(1);
    handle.send(CoreMessage::Count(reply)).unwrap();
    let counters = counters.recv_timeout(Duration::from_secs(20)).expect("the core works on");
    assert_eq!((counters.connections, counters.slow_readers_closed, handle.lagging(group)), (1, 0, 0));
    handle.send(CoreMessage::Stop).unwrap();
    thread.join().unwrap();
}

#[test]
fn a_connection_with_many_users_to_sign_for_keeps_its_core_from_nobody() {
    const FRAME_BYTES: usize = 1000;
    let other = GroupId(2);
    let (mut core, _front) = core(&[GROUP, other]);
    let (many, mut reader) = newcomer(0, GROUP, 0..MEMBERS as u32);
    let (one, mut other_reader) = newcomer(1, other, 0..1);
    core.take(many);
    core.take(one);
    let signed = round_end(1);
    core.share(GROUP, Item::RoundEnd(signed.clone()));
    let key = core.places[&ConnectionId(0)].key;
    let (mut turns, mut filled_before) = (0, 0);
    while core.egress.source_mut(key).unwrap().pending() {
        turns += 1;
        let frame = Bytes::from_owner([turns as u8; FRAME_BYTES]);
        core.share(other, Item::Frame(RoundNumber(turns), frame));
        assert!(core.turn(&mut Vec::new()));
        // It has come with this turn.
        let mut got = [0; FRAME_BYTES];
        other_reader.read_exact(&mut got).unwrap();
        assert_eq!(got, [turns as u8; FRAME_BYTES]);
        let filled = core.egress.stats().filled_bytes as usize - turns as usize * FRAME_BYTES;
        let users = (filled - filled_before) / USER_BYTES;
        assert!(users * MEMBERS < SIGNED_CELLS_PER_TURN + 2 * MEMBERS, "{users} users in turn {turns}");
        filled_before = filled;
    }
    assert!(turns as usize >= TURNS, "{turns} turns");
    let expected = frame_of(&signed, &user_ids(0..MEMBERS as u32));
    let mut got = vec![0; expected.len()];
    reader.read_exact(&mut got).unwrap();
    assert!(got == expected);
}

/// No message, no other connection's bytes: what is left to a later turn comes by itself.
#[test]
fn all_that_is_signed_arrives_with_nothing_else_to_do() {
    let handle = CoreHandle::new([GROUP].into_iter()).unwrap();
    let shares = [0..150, 150..151, 151..MEMBERS as u32];
    let readers: Vec<_> = (0..)
        .zip(&shares)
        .map(|(number, users)| {
            let (add, reader) = newcomer(number, GROUP, users.clone());
            handle.send(add).unwrap();
            reader
        })
        .collect();
    let signed = round_end(1);
    handle.send(CoreMessage::Shared(GROUP, Item::RoundEnd(signed.clone()))).unwrap();
    let core = handle.clone();
    let thread = std::thread::spawn(move || Core::new(config(), core, vec![]).unwrap().run());
    for (mut reader, users) in readers.into_iter().zip(shares) {
        let expected = frame_of(&signed, &user_ids(users));
        let mut got = vec![0; expected.len()];
        reader.read_exact(&mut got).expect("all of it comes");
        assert!(got == expected);
    }
    handle.send(CoreMessage::Stop).unwrap();
    thread.join().unwrap();
}

/// Rounds that come faster than a core signs them: who reads is not closed for it, and who does not read is.
#[test]
fn nobody_is_closed_for_what_the_core_has_not_signed() {
    const SOCKET_BYTES: usize = 64 << 10;
    const FIRST_BYTES: usize = 4 << 20;
    let (mut core, _front) = core(&[GROUP]);
    let users = 0..MEMBERS as u32 - 1;
    let (reads, mut reader) = newcomer(0, GROUP, users.clone());
    let (stopped, never_read) = newcomer(1, GROUP, users.end..MEMBERS as u32);
    let CoreMessage::Add(newcomer) = &stopped else { unreachable!() };
    SockRef::from(&newcomer.socket).set_send_buffer_size(SOCKET_BYTES).unwrap();
    SockRef::from(&never_read).set_recv_buffer_size(SOCKET_BYTES).unwrap();
    core.take(reads);
    core.take(stopped);
    // More than its sockets hold: one of the two is blocked from now on.
    core.share(GROUP, Item::Frame(RoundNumber(1), Bytes::from_owner(vec![1; FIRST_BYTES])));
    let rounds: Vec<_> = (2..=ROUNDS).map(round_end).collect();
    let expected: Vec<u8> =
        rounds.iter().flat_map(|signed| frame_of(signed, &user_ids(0..MEMBERS as u32 - 1))).collect();
    let reading = std::thread::spawn(move || {
        let mut first = vec![0; FIRST_BYTES];
        reader.read_exact(&mut first).unwrap();
        let mut rest = vec![0; expected.len()];
        reader.read_exact(&mut rest).unwrap();
        assert!(rest == expected);
    });
    let key = core.places[&ConnectionId(0)].key;
    while core.egress.source_mut(key).unwrap().pending() {
        core.turn(&mut Vec::new());
    }
    rounds.into_iter().for_each(|signed| core.share(GROUP, Item::RoundEnd(signed)));
    let mut owed = 0;
    while core.egress.source_mut(key).expect("it is not closed").pending() {
        core.take(CoreMessage::CloseLagging(GROUP));
        core.turn(&mut Vec::new());
        owed += u64::from(core.lagging(GROUP).iter().any(|lag| lag.owed));
        assert!(!core.places[&ConnectionId(0)].closing);
    }
    assert!(owed as usize > TURNS, "it was behind for {owed} turns");
    assert!(core.places.get(&ConnectionId(1)).is_none_or(|place| place.closing));
    assert_eq!(core.slow_readers_closed, 1);
    reading.join().unwrap();
}
