//! The proxy between a client and two servers that say nothing but bytes in the form of a channel.

use super::*;
use crate::plan::tests::plan as plain;

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

/// What a client gets of three records in round 1 and three in round 2, where the fault is done.
fn comes(kind: FaultKind) -> Vec<Vec<u8>> {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let servers = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    let fault = Fault { kind, round: 2, hold_ms: 0 };
    let proxy = SealedProxy::start(&plan(), fault, servers).unwrap();
    let [one, two] = [0, 1].map(|server| shake(&listeners[server], proxy.addresses[server]));
    let ([mut client1, mut server1], [mut client2, mut server2]) = (one, two);
    let each = submission_bytes(&plan()).unwrap().map(|bytes| 10 * bytes as usize);
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
    let (mut all, mut one) = (Vec::new(), Vec::new());
    for round in 0..2 {
        // In lockstep a client has all of a round before it begins the next.
        while all.len() < 3 * usize::from(round) {
            assert!(next(&mut client1, &mut one).unwrap());
            all.push(one.clone());
        }
        say(&mut client1, &mut server1, each[0]);
        for number in 0..3 {
            server1.write_all(&record(10 * (round + 1) + number, 5)).unwrap();
        }
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

#[test]
fn each_fault_is_done_to_the_first_record_of_its_round() {
    let sent = |numbers: &[u8]| numbers.iter().map(|number| record(*number, 5)).collect::<Vec<_>>();
    assert_eq!(comes(FaultKind::NetDrop), sent(&[10, 11, 12, 21, 22]));
    assert_eq!(comes(FaultKind::NetReplay), sent(&[10, 11, 12, 20, 20, 21, 22]));
    assert_eq!(comes(FaultKind::NetReorder), sent(&[10, 11, 12, 21, 20, 22]));
    let flipped = comes(FaultKind::NetFlip);
    let changed: Vec<usize> =
        (0..6).filter(|at| flipped[*at] != sent(&[10, 11, 12, 20, 21, 22])[*at]).collect();
    assert_eq!(changed, [3]);
    let bits = flipped[3].iter().zip(record(20, 5)).map(|(came, sent)| (came ^ sent).count_ones());
    assert_eq!(bits.sum::<u32>(), 1);
    assert_eq!(flipped[3][..LENGTH_BYTES], record(20, 5)[..LENGTH_BYTES]);
}

#[test]
fn a_round_of_one_record_is_too_small() {
    assert_eq!(too_small(&plan()), None);
    let one = Plan { hosts: 10, users_per_connection: 1, ..plan() };
    assert!(too_small(&one).unwrap().contains("at least 32768 are needed"), "{:?}", too_small(&one));
}
