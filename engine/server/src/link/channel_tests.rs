use super::super::wire::{Brought, Wire};
use super::*;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use twincast_protocol::channel::{RECORD_OVERHEAD_BYTES, REKEY_RECORDS, StaticKey};
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, SlotIndex};
use twincast_protocol::wire::link::{HeldDial, LinkFrame};

const TIMEOUT: Duration = Duration::from_secs(20);

/// The keys of both servers, each of which pins the other.
fn both_keys() -> [LinkKeys; 2] {
    let [one, two] = [(); 2].map(|()| StaticKey::random(&mut rand::rng()));
    let publics = [two.public(), one.public()];
    let keys = |(own, peer)| Arc::new(ChannelKeys::new(own, Some(peer)));
    let mut all = [one, two].into_iter().zip(publics).map(keys);
    ServerSide::BOTH.map(|side| LinkKeys::new(side, all.next()))
}

/// Both ends of a channel that stands.
fn open() -> [LinkChannel; 2] {
    let (keys, mut wires) = (both_keys(), [Vec::new(), Vec::new()]);
    let mut ends = [0, 1].map(|side| keys[side].end(&mut wires[side]).unwrap());
    while !wires.iter().all(Vec::is_empty) {
        for side in 0..2 {
            let bytes = std::mem::take(&mut wires[side]);
            ends[1 - side].take(&bytes, &mut Vec::new(), &mut wires[1 - side]).unwrap();
        }
    }
    assert!(ends.iter().all(LinkChannel::is_open));
    ends
}

/// Replaces the keys of a channel that has carried nothing after so many records.
fn rekey_every(end: &mut LinkChannel, records: u64) {
    let State::Open(open) = std::mem::replace(&mut end.state, State::Broken) else {
        panic!("{:?}", end.state)
    };
    let Open { mut send, receive } = *open;
    let (mut receive, rest) = receive.into_parts();
    assert!(rest.is_empty());
    send.rekey_every(records);
    receive.rekey_every(records);
    end.state = Open::state(send, receive.into_unsealer());
}

/// As many records of a byte as one key seals, both ways, and some more.
#[test]
fn a_link_lives_longer_than_its_first_keys() {
    /// Records in each of which there is one byte.
    const AT_A_TIME: usize = 1 << 12;
    let mut ends = open();
    let texts: Vec<u8> = (0..AT_A_TIME).map(|at| at as u8).collect();
    let (mut sealed, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..REKEY_RECORDS as usize / AT_A_TIME + 2 {
        for side in 0..2 {
            sealed.clear();
            for text in texts.chunks(1) {
                ends[side].seal(&mut text.to_vec(), &mut sealed);
            }
            assert_eq!(sealed.len(), AT_A_TIME * (1 + RECORD_OVERHEAD_BYTES));
            plain.clear();
            ends[1 - side].take(&sealed, &mut plain, &mut Vec::new()).unwrap();
            assert!(plain == texts);
        }
    }
    for end in &ends {
        let State::Open(open) = &end.state else { panic!("{end:?}") };
        assert!(open.send.next_number() > REKEY_RECORDS && open.receive.opened() > REKEY_RECORDS);
    }
}

/// The two ends of a link over a socket, whose handshake is done.
fn wires(interval: u64) -> [Wire; 2] {
    let keys = both_keys();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let there = listener.accept().unwrap().0;
    let mut sockets = [here, there].into_iter();
    let mut wires = keys.each_ref().map(|keys| Wire::new(sockets.next().unwrap(), TIMEOUT, keys).unwrap());
    while wires.iter().any(Wire::shakes_hands) {
        for wire in &mut wires {
            wire.write().unwrap();
            wire.read().unwrap();
        }
    }
    for wire in &mut wires {
        rekey_every(wire.channel_mut(), interval);
    }
    wires
}

/// Frames from one byte of a record to some records each, both ways at once, by sockets that take and bring what they like:
/// all come whole and in order, across many keys.
#[test]
fn frames_cross_from_key_to_key_over_a_socket() {
    for seed in 0..8 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut wires = wires(1 + seed);
        let frame = |rng: &mut Xoshiro256PlusPlus, number: u64| {
            let dials = 1 + (rng.random_range(0..4_096_usize) >> rng.random_range(0..12));
            let dial = |index| HeldDial::new(number, MemberIndex(index as u32), SlotIndex(0));
            LinkFrame::Held(GroupId(1), Epoch(number as u32), (0..dials).map(dial).collect())
        };
        let frames = [0, 1].map(|_| (0..60).map(|number| frame(&mut rng, number)).collect::<Vec<_>>());
        let (mut said, mut heard) = ([0; 2], [0; 2]);
        while heard != [60; 2] {
            for side in 0..2 {
                let wire = &mut wires[side];
                while said[side] < 60 && wire.has_room() && rng.random() {
                    wire.push(&frames[side][said[side]]);
                    said[side] += 1;
                }
                wire.write().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                let brought = wire.read().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                assert_ne!(brought, Brought::End, "seed {seed}");
                while let Some(frame) = wire.next().unwrap() {
                    assert!(frame == frames[1 - side][heard[side]], "seed {seed}, frame {}", heard[side]);
                    heard[side] += 1;
                }
            }
        }
        for wire in &mut wires {
            let State::Open(open) = &wire.channel_mut().state else { panic!("seed {seed}") };
            let keys = open.send.next_number().min(open.receive.opened()) / (1 + seed);
            assert!(keys > 2, "seed {seed}: {keys} keys");
        }
    }
}

/// An end that does not change its key with the other's is found out with the first record of the next key.
#[test]
fn a_record_of_another_key_ends_the_link() {
    let mut ends = open();
    rekey_every(&mut ends[0], 2);
    let (mut sealed, mut plain) = (Vec::new(), Vec::new());
    for record in 0..3 {
        sealed.clear();
        ends[0].seal(&mut vec![record], &mut sealed);
        let taken = ends[1].take(&sealed, &mut plain, &mut Vec::new());
        assert_eq!(taken, if record < 2 { Ok(()) } else { Err(ChannelError::RecordChanged) });
    }
    assert_eq!(plain, [0, 1]);
    let again = ends[1].take(&sealed, &mut plain, &mut Vec::new());
    assert_eq!(again, Err(ChannelError::Broken), "nothing is believed any more");
}
