//! The proxy between a client and two servers that say nothing but bytes in the form of a channel.

use super::*;
use crate::plan::tests::plan as plain;
use std::time::Duration;
use twincast_protocol::accountable::turn::is_turn;
use twincast_protocol::ids::RoundNumber;
use twincast_protocol::wire::{FetchHeaders, HEADER_BYTES};

/// A client that hears nothing for so long is stuck, and the test fails.
const STUCK: Duration = Duration::from_secs(60);

/// Ten members on one connection, whose submissions have so many bytes to each server.
fn plan() -> Plan {
    Plan { group: 10, hosts: 1, users_per_connection: 10, rounds: 3, warmup: 0, ..plain() }
}

fn record(fill: u8, plain_bytes: usize) -> Vec<u8> {
    let length = (plain_bytes + RECORD_OVERHEAD_BYTES - LENGTH_BYTES) as u16;
    let mut record = length.to_be_bytes().to_vec();
    record.resize(plain_bytes + RECORD_OVERHEAD_BYTES, fill);
    record
}

/// A connection through the proxy: the client's end and the server's, after the handshake.
fn shake(listener: &TcpListener, address: SocketAddr) -> [TcpStream; 2] {
    let mut client = TcpStream::connect(address).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let mut pass = |from: usize, bytes: usize| {
        let ends = if from == 0 { [&mut client, &mut server] } else { [&mut server, &mut client] };
        let [from, to] = ends;
        from.write_all(&vec![7; bytes]).unwrap();
        let mut came = vec![0; bytes];
        to.read_exact(&mut came).unwrap();
        assert_eq!(came, vec![7; bytes]);
    };
    pass(0, FIRST_BYTES);
    pass(1, SECOND_BYTES);
    pass(0, THIRD_BYTES);
    [client, server]
}

/// What a client gets of three records in each round up to this one, where the fault is done. Where members ask for headers,
/// S1 answers with a record that comes before the next round's.
fn comes(plan: &Plan, kind: FaultKind, round: u64) -> Vec<Vec<u8>> {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let servers = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    let proxy = SealedProxy::start(plan, Fault { kind, round, hold_ms: 0 }, servers).unwrap();
    let [one, two] = [0, 1].map(|server| shake(&listeners[server], proxy.addresses[server]));
    let ([mut client1, mut server1], [mut client2, mut server2]) = (one, two);
    client1.set_read_timeout(Some(STUCK)).unwrap();
    let each = submission_bytes(plan).unwrap().map(|bytes| 10 * bytes as usize);
    let say = |client: &mut TcpStream, server: &mut TcpStream, bytes: usize| {
        for part in [bytes / 2, bytes - bytes / 2] {
            client.write_all(&record(1, part)).unwrap();
            let mut came = vec![0; part + RECORD_OVERHEAD_BYTES];
            server.read_exact(&mut came).unwrap();
        }
    };
    // Dialling, which does not count.
    say(&mut client1, &mut server1, 4_000);
    say(&mut client2, &mut server2, 5_000);
    proxy.dialled();
    let (mut all, mut sent, mut one) = (Vec::new(), 0, Vec::new());
    for now in 1..=round {
        // In lockstep a client has all of a round before it begins the next.
        while all.len() < sent {
            assert!(next(&mut client1, &mut one).unwrap(), "{kind:?} in round {round}, at {now}");
            all.push(one.clone());
        }
        let number = 10 * now as u8;
        let asking = |user: &u32| is_turn(RoundNumber(now - 1), MemberIndex(*user), plan.header_rounds);
        let asked = (0..plan.group).filter(asking).count() * (HEADER_BYTES + size_of::<FetchHeaders>());
        let answers = now > 1 && asked > 0;
        if answers {
            say(&mut client1, &mut server1, asked);
            server1.write_all(&record(number + 9, 7)).unwrap();
            assert!(next(&mut client1, &mut one).unwrap(), "{kind:?} in round {round}, at {now}");
            all.push(one.clone());
            say(&mut client2, &mut server2, asked);
        }
        say(&mut client1, &mut server1, each[0]);
        for number in number..number + 3 {
            server1.write_all(&record(number, 5)).unwrap();
        }
        sent += 3 + usize::from(answers);
        // S2's come last: the proxy waits for them.
        say(&mut client2, &mut server2, each[1]);
    }
    server1.shutdown(Shutdown::Write).unwrap();
    while next(&mut client1, &mut one).unwrap() {
        all.push(one.clone());
    }
    assert_eq!(proxy.done(), 1, "{kind:?}");
    // What the client still says reaches the server before the end.
    client1.write_all(&record(3, 40)).unwrap();
    drop(client1);
    let mut last = Vec::new();
    server1.read_to_end(&mut last).unwrap();
    assert_eq!(last, record(3, 40));
    all
}

fn sent(numbers: &[u8]) -> Vec<Vec<u8>> {
    let bytes = |number: u8| if number % 10 == 9 { 7 } else { 5 };
    numbers.iter().map(|number| record(*number, bytes(*number))).collect()
}

/// A bit of what is in the record at this place was flipped, and nothing else.
fn assert_flipped(came: &[Vec<u8>], sent: &[Vec<u8>], place: usize) {
    let changed: Vec<usize> = (0..sent.len()).filter(|at| came[*at] != sent[*at]).collect();
    assert_eq!((came.len(), changed), (sent.len(), vec![place]));
    let bits = came[place].iter().zip(&sent[place]).map(|(came, sent)| (came ^ sent).count_ones());
    assert_eq!(bits.sum::<u32>(), 1);
    assert_eq!(came[place][..LENGTH_BYTES], sent[place][..LENGTH_BYTES]);
}

#[test]
fn each_fault_is_done_to_the_first_record_of_its_round() {
    let comes = |kind| comes(&plan(), kind, 2);
    assert_eq!(comes(FaultKind::NetDrop), sent(&[10, 11, 12, 21, 22]));
    assert_eq!(comes(FaultKind::NetReplay), sent(&[10, 11, 12, 20, 20, 21, 22]));
    assert_eq!(comes(FaultKind::NetReorder), sent(&[10, 11, 12, 21, 20, 22]));
    assert_flipped(&comes(FaultKind::NetFlip), &sent(&[10, 11, 12, 20, 21, 22]), 3);
}

#[test]
fn what_members_ask_for_between_rounds_puts_no_fault_into_another_round() {
    // Every second member asks at the end of round 1, all others at that of round 2, and again.
    let plan = Plan { accountable: true, header_rounds: 2, ..plan() };
    let dropped = comes(&plan, FaultKind::NetDrop, 4);
    assert_eq!(dropped, sent(&[10, 11, 12, 29, 20, 21, 22, 39, 30, 31, 32, 49, 41, 42]));
    let replayed = comes(&plan, FaultKind::NetReplay, 3);
    assert_eq!(replayed, sent(&[10, 11, 12, 29, 20, 21, 22, 39, 30, 30, 31, 32]));
    let reordered = comes(&plan, FaultKind::NetReorder, 2);
    assert_eq!(reordered, sent(&[10, 11, 12, 29, 21, 20, 22]));
    assert_flipped(&comes(&plan, FaultKind::NetFlip, 1), &sent(&[10, 11, 12]), 0);
    // Nobody asks at the end of a round that is nobody's turn.
    let rarely = Plan { header_rounds: 16, ..plan };
    assert_eq!(comes(&rarely, FaultKind::NetDrop, 3), sent(&[10, 11, 12, 20, 21, 22, 31, 32]));
}

#[test]
fn a_round_of_one_record_is_too_small() {
    assert_eq!(too_small(&plan()), None);
    let one = Plan { hosts: 10, users_per_connection: 1, ..plan() };
    assert!(too_small(&one).unwrap().contains("at least 32768 are needed"), "{:?}", too_small(&one));
}
