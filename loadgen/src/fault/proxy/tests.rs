//! The proxy between a plain socket that plays a host and one that plays a server.

use super::*;
use crate::plan::tests::plan;
use std::sync::mpsc::{Receiver, channel};
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, UserId};
use twincast_protocol::wire::RoundEnd;

const SENDERS: usize = 4;
const CELL_BYTES: usize = 32;

struct Line {
    host: TcpStream,
    server: TcpStream,
    proxy: Proxy,
    killed: Receiver<()>,
}

/// A connection of users 0 and 3 to one server, through a proxy that does `kind` in round 2.
fn line(kind: FaultKind, server: ServerSide) -> Line {
    line_of(kind, server, &[0, 3])
}

fn line_of(kind: FaultKind, server: ServerSide, users: &[u32]) -> Line {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (told, killed) = channel();
    let fault = Fault { kind, round: 2, hold_ms: 50 };
    let servers = [listener.local_addr().unwrap(); 2];
    let of = Plan { hosts: 3, ..plan() };
    let proxy = Proxy::start(&of, fault, servers, move || told.send(()).unwrap()).unwrap();
    let mut host = TcpStream::connect(proxy.addresses[server.index()]).unwrap();
    let (mut upstream, _) = listener.accept().unwrap();
    for socket in [&host, &upstream] {
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    }
    let users: Vec<UserId> = users.iter().copied().map(UserId).collect();
    let hello = Hello::frame(GroupId(GROUP), Epoch(0), server, false, &users);
    host.write_all(&hello).unwrap();
    assert_eq!(read(&mut upstream), hello);
    Line { host, server: upstream, proxy, killed }
}

fn read(socket: &mut TcpStream) -> Vec<u8> {
    let mut frame = vec![0; HEADER_BYTES];
    socket.read_exact(&mut frame).unwrap();
    let header = Header::parse(frame[..].try_into().unwrap()).unwrap();
    frame.resize(HEADER_BYTES + header.body_bytes as usize, 0);
    socket.read_exact(&mut frame[HEADER_BYTES..]).unwrap();
    frame
}

/// A delivery to two users, every byte of whose cells is the round.
fn deliver(round: u64, tile: u32) -> Vec<u8> {
    let head = Deliver {
        round: round.into(),
        present: 0b1111.into(),
        epoch: 0.into(),
        slot: 0.into(),
        tile: tile.into(),
        first_sender: 0.into(),
        senders: (SENDERS as u32).into(),
        cell_bytes: (CELL_BYTES as u32).into(),
        users: 2.into(),
        purpose: 0.into(),
        lost: 0.into(),
    };
    let mut frame = Vec::new();
    head.put(2 * SENDERS * CELL_BYTES, &mut frame);
    frame.resize(frame.len() + 2 * SENDERS * CELL_BYTES, round as u8);
    frame
}

fn submit(round: u64, sender: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    Submit::new(RoundNumber(round), MemberIndex(sender), false).put(8, &mut frame);
    frame.extend([9; 8]);
    frame
}

/// Delivers two rounds of two tiles; what came out of the proxy but the end, and how often it did something.
fn delivered(kind: FaultKind) -> (Vec<Vec<u8>>, u64) {
    let (mut came, done) = all_delivered(kind);
    came.pop();
    (came, done)
}

fn all_delivered(kind: FaultKind) -> (Vec<Vec<u8>>, u64) {
    let mut line = line(kind, ServerSide::One);
    for round in [1, 2] {
        line.server.write_all(&deliver(round, 0)).unwrap();
        line.server.write_all(&deliver(round, 1)).unwrap();
    }
    let end = RoundEnd::new(2, 2, 4).frame();
    line.server.write_all(&end).unwrap();
    let mut came = Vec::new();
    while came.last().is_none_or(|frame: &Vec<u8>| frame[1] != Kind::RoundEnd as u8) {
        came.push(read(&mut line.host));
    }
    (came, line.proxy.done())
}

#[test]
fn one_bit_of_one_cell_is_flipped() {
    let (came, done) = delivered(FaultKind::Flip);
    assert_eq!((came.len(), done), (4, 1));
    for (index, frame) in [(0, deliver(1, 0)), (1, deliver(1, 1)), (3, deliver(2, 1))] {
        assert_eq!(came[index], frame);
    }
    let right = deliver(2, 0);
    let changed: Vec<usize> = (0..right.len()).filter(|at| right[*at] != came[2][*at]).collect();
    let cell = HEADER_BYTES + size_of::<Deliver>() + SENDER as usize * CELL_BYTES;
    assert!(changed.len() == 1 && (cell..cell + CELL_BYTES).contains(&changed[0]), "{changed:?}");
    assert_eq!((right[changed[0]] ^ came[2][changed[0]]).count_ones(), 1);
}

#[test]
fn a_tile_is_withheld_with_its_count_or_cut_out() {
    let left = [deliver(1, 0), deliver(1, 1), deliver(2, 1)];
    for (kind, tiles) in [(FaultKind::Drop, 1), (FaultKind::DropFrame, 2)] {
        let (came, done) = all_delivered(kind);
        let (end, rest) = came.split_last().unwrap();
        assert_eq!((rest, done), (&left[..], 1));
        assert_eq!(end[..], RoundEnd::new(2, tiles, 4).frame()[..]);
    }
}

#[test]
fn a_tile_is_replayed_with_a_new_head_or_as_it_was() {
    let (came, done) = delivered(FaultKind::Replay);
    let head = HEADER_BYTES + size_of::<Deliver>();
    assert_eq!((&came[2][..head], &came[2][head..]), (&deliver(2, 0)[..head], &deliver(1, 0)[head..]));
    assert_eq!((came.len(), done), (4, 1));
    let (came, done) = delivered(FaultKind::ReplayFrame);
    assert_eq!((came, done), (vec![deliver(1, 0), deliver(1, 1), deliver(1, 0), deliver(2, 1)], 1));
}

#[test]
fn a_stream_is_held_and_goes_on() {
    let mut line = line(FaultKind::Delay, ServerSide::Two);
    line.server.write_all(&deliver(1, 0)).unwrap();
    assert_eq!(read(&mut line.host), deliver(1, 0));
    assert_eq!(line.proxy.done(), 0);
    line.server.write_all(&deliver(2, 0)).unwrap();
    assert_eq!(read(&mut line.host), deliver(2, 0));
    assert_eq!(line.proxy.done(), 1);
}

#[test]
fn a_submission_reaches_the_other_server_only() {
    for server in ServerSide::BOTH {
        let mut line = line(FaultKind::HalfSubmit, server);
        for frame in [submit(1, 0), submit(2, 0), submit(2, 3), submit(3, 0)] {
            line.host.write_all(&frame).unwrap();
        }
        assert_eq!(read(&mut line.server), submit(1, 0));
        if server == ServerSide::One {
            assert_eq!(read(&mut line.server), submit(2, 0));
        }
        assert_eq!(read(&mut line.server), submit(2, 3));
        assert_eq!(read(&mut line.server), submit(3, 0));
        assert_eq!(line.proxy.done(), u64::from(server == ServerSide::Two));
    }
}

#[test]
fn the_last_host_is_killed_and_nobody_else() {
    let mut others = line(FaultKind::KillHost, ServerSide::One);
    others.host.write_all(&submit(2, 0)).unwrap();
    assert_eq!(read(&mut others.server), submit(2, 0));
    assert!(others.killed.try_recv().is_err());

    let mut victims = line_of(FaultKind::KillHost, ServerSide::One, &[2, 5]);
    for frame in [submit(1, 2), submit(2, 2), submit(2, 5)] {
        victims.host.write_all(&frame).unwrap();
    }
    assert_eq!(read(&mut victims.server), submit(1, 2));
    victims.killed.recv_timeout(Duration::from_secs(20)).unwrap();
    drop(victims.host);
    let mut rest = Vec::new();
    victims.server.read_to_end(&mut rest).unwrap();
    assert_eq!((rest, victims.proxy.done()), (vec![], 1), "nothing of round 2, then the end");
}

#[test]
fn what_is_no_frame_ends_both_directions() {
    let mut line = line(FaultKind::Drop, ServerSide::One);
    line.server.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    let mut rest = Vec::new();
    let _ = line.host.read_to_end(&mut rest);
    assert_eq!(rest, b"");
}
