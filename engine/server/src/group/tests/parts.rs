//! Confirmations, keys and replies: granted, kept, delivered, fetched.

use super::*;
use crate::group::upload::part_kind;
use twincast_protocol::parts::expand_parts;
use twincast_protocol::wire::{DELIVER_HEAD_BYTES, Deliver};

fn head(epoch: u32, sender: u32, slot: u32, kind: PartKind) -> PartsHead {
    PartsHead::new(Epoch(epoch), MemberIndex(sender), SlotIndex(slot), kind.purpose())
}

pub(super) fn confirmation(sender: u32, slot: u32) -> PartsHead {
    head(0, sender, slot, PartKind::Confirmation)
}

fn confirming(side: ServerSide, slots: u32, parts_box: Option<Box<dyn PartsBox>>) -> Bench {
    let mut bench = Bench::of(Shape::new(&config(true, slots), side), parts_box);
    bench.attach(A, users(0..N)).unwrap();
    bench.dial_all(A, 0, 0..N);
    bench
}

/// What a sender gives this server, and what that comes to for each member.
pub(super) fn give(bench: &mut Bench, head: &PartsHead, rng: &mut Xoshiro256PlusPlus) -> Vec<u8> {
    let kind = part_kind(head).unwrap();
    let mut parts = vec![0; N as usize * kind.bytes()];
    if bench.group.shape.side == ServerSide::One {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        expand_parts(&seed, kind, 0, &mut parts);
        bench.seed(head, &seed).unwrap();
        assert_eq!(bench.seed(head, &seed), Err(Code::NotGranted), "given once");
    } else {
        rng.fill_bytes(&mut parts);
        bench.parts(head, &parts).unwrap();
        assert_eq!(bench.parts(head, &parts), Err(Code::NotGranted), "given once");
    }
    parts
}

/// The cells of one member in every tile of parts so far, one after the other.
fn cells_of(bench: &Bench, user: u32) -> Vec<u8> {
    let mut all = Vec::new();
    for tile in bench.tiles().filter(|tile| !tile.is_message()) {
        let mut cells = vec![0; tile.user_bytes()];
        tile.gather(MemberIndex(user), 0, &mut cells);
        all.extend(cells);
    }
    all
}

pub(super) fn fetch(kind: PartKind, slot: u32, first_tile: u32, tiles: u32) -> Fetch {
    Fetch {
        epoch: 0.into(),
        purpose: u32::from(kind.number()).into(),
        slot: slot.into(),
        first_tile: first_tile.into(),
        tiles: tiles.into(),
        reserved: 0.into(),
    }
}

/// The answers to FETCH so far: head and cells.
pub(super) fn fetched(bench: &Bench, connection: ConnectionId) -> Vec<(Deliver, Vec<u8>)> {
    let frames = bench.frames_to(connection).into_iter().filter(|frame| kind(frame) == Kind::Deliver);
    let read = |frame: &bytes::Bytes| {
        let body = (frame.len() - HEADER_BYTES) as u32;
        let deliver = Deliver::read(&frame[HEADER_BYTES..DELIVER_HEAD_BYTES], body).unwrap();
        (deliver, frame[DELIVER_HEAD_BYTES..].to_vec())
    };
    frames.map(read).collect()
}

#[test]
fn parts_are_granted_in_order_delivered_and_open_the_epoch() {
    for (side, with_box) in [(ServerSide::One, false), (ServerSide::Two, false), (ServerSide::Two, true)] {
        let parts_box = with_box.then(|| MemoryBox::of(1 << 30)).flatten();
        let mut bench = confirming(side, 2, parts_box);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
        let mut expected = Vec::new();
        for slot in 0..2 {
            for sender in 0..N {
                let parts = give(&mut bench, &confirmation(sender, slot), &mut rng);
                expected.extend_from_slice(&parts[77 * 64..][..64]);
            }
        }
        assert!(cells_of(&bench, 77) == expected, "{side}, box: {with_box}");
        assert_eq!(bench.tiles().count(), 2 * N.div_ceil(64) as usize);
        assert!(bench.tiles().all(|tile| tile.head().purpose == Purpose::Confirmation));
        assert_eq!(bench.kinds_for_all().last(), Some(&Kind::EpochOpen));
        assert!(bench.submit(A, 0, 1).is_ok());
    }
}

#[test]
fn keys_and_then_replies_follow_the_confirmations() {
    for side in ServerSide::BOTH {
        let config = GroupConfig { keys: true, ..config(true, 1) };
        let mut bench = Bench::of(Shape::new(&config, side), None);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(4);
        bench.attach(A, users(0..N)).unwrap();
        bench.dial_all(A, 0, 0..N);
        let mut expected = Vec::new();
        for kind in [PartKind::Confirmation, PartKind::Key, PartKind::KeyReply] {
            let early = head(0, 0, 0, PartKind::KeyReply);
            if kind != PartKind::KeyReply {
                let refused = match side {
                    ServerSide::One => bench.seed(&early, &[0; 32]),
                    ServerSide::Two => bench.parts(&early, &[]),
                };
                assert_eq!(refused, Err(Code::NotGranted), "replies wait for the keys");
            }
            assert_ne!(bench.kinds_for_all().last(), Some(&Kind::EpochOpen));
            for sender in 0..N {
                let parts = give(&mut bench, &head(0, sender, 0, kind), &mut rng);
                expected.extend_from_slice(&parts[5 * kind.bytes()..][..kind.bytes()]);
            }
        }
        assert!(cells_of(&bench, 5) == expected, "{side}");
        assert_eq!(bench.kinds_for_all().last(), Some(&Kind::EpochOpen));
    }
}

#[test]
fn a_sender_dials_confirms_and_leaves_before_anybody_else_comes() {
    for side in ServerSide::BOTH {
        let mut bench = Bench::of(Shape::new(&config(true, 1), side), MemoryBox::of(1 << 30));
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
        bench.attach(A, users(3..4)).unwrap();
        bench.dial(A, 0, 3, 0, &[0; 17]).unwrap();
        let told = bench.kinds_to(A);
        assert_eq!(told, [Kind::Welcome, Kind::Roster, Kind::Dialled, Kind::Grant]);
        let parts = give(&mut bench, &confirmation(3, 0), &mut rng);
        bench.group.detach(A, bench.now, &mut bench.out);
        bench.out.clear();
        bench.attach(B, users(9..10)).unwrap();
        bench.tick(seconds(5));
        let present: Vec<u64> = bench.deliveries().iter().map(|delivery| delivery.3).collect();
        assert_eq!(present, [1 << 3, 0, 0], "{side}");
        assert_eq!(cells_of(&bench, 9)[3 * 64..][..64], parts[9 * 64..][..64], "{side}");
        assert_eq!(bench.kinds_for_all(), [Kind::EpochOpen], "nothing is granted: nobody is missing");
    }
}

#[test]
fn parts_that_do_not_come_are_not_present() {
    let mut bench = confirming(ServerSide::One, 1, None);
    for sender in (0..N).filter(|sender| *sender != 9) {
        bench.seed(&confirmation(sender, 0), &[1; 32]).unwrap();
    }
    assert!(bench.deliveries().is_empty(), "tile 0 comes first and is not whole");
    bench.tick(seconds(1));
    let present: Vec<u64> = bench.deliveries().iter().map(|delivery| delivery.3).collect();
    assert_eq!(present, [!(1 << 9), u64::MAX, 0b11]);
    assert_eq!(bench.kinds_for_all().last(), Some(&Kind::EpochOpen));
    assert_eq!(bench.seed(&confirmation(9, 0), &[1; 32]), Err(Code::NotGranted), "too late");
}

#[test]
fn only_those_who_are_missing_are_granted() {
    let mut bench = Bench::of(Shape::new(&config(true, 1), ServerSide::Two), MemoryBox::of(1 << 30));
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(6);
    bench.attach(A, users(0..N)).unwrap();
    bench.dial_all(A, 0, 0..N - 1);
    for sender in (0..N - 1).filter(|sender| ![5, 6, 63, 64].contains(sender)) {
        give(&mut bench, &confirmation(sender, 0), &mut rng);
    }
    bench.dial_all(A, 0, N - 1..N);
    let grants: Vec<(u32, u32)> = bench
        .for_all()
        .filter(|frame| kind(frame) == Kind::Grant)
        .map(|frame| Grant::parse(&frame[HEADER_BYTES..]).unwrap())
        .map(|grant| (grant.first_sender.get(), grant.senders.get()))
        .collect();
    assert_eq!(grants, [(5, 2), (63, 1), (64, 1), (N - 1, 1)]);
}

#[test]
fn a_connection_that_comes_while_parts_are_wanted_is_told_which() {
    let mut bench = confirming(ServerSide::One, 1, None);
    bench.out.clear();
    bench.attach(B, users(5..6)).unwrap();
    let kinds = bench.kinds_to(B);
    assert_eq!(kinds[..3], [Kind::Welcome, Kind::Roster, Kind::Dialled]);
    assert_eq!(kinds[3..], [Kind::Grant, Kind::Grant, Kind::Grant]);
}

#[test]
fn a_full_box_is_said_and_what_it_did_not_keep_is_lost_for_those_who_come_later() {
    // Room for two senders.
    let mut bench =
        Bench::of(Shape::new(&config(true, 1), ServerSide::Two), MemoryBox::of(2 * 64 * N as usize));
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
    bench.attach(A, users(0..4)).unwrap();
    bench.attach(B, users(100..101)).unwrap();
    (0..4).for_each(|sender| bench.dial(A, 0, sender, 0, &[0; 17]).unwrap());
    assert_eq!(bench.codes_to(A), [Code::BoxFull, Code::BoxFull]);
    assert_eq!(bench.counted(Counted::BoxFull), 2);
    let kept = give(&mut bench, &confirmation(0, 0), &mut rng);
    assert_eq!(bench.parts(&confirmation(2, 0), &[]), Err(Code::NotGranted));
    bench.tick(seconds(5));
    // Sender 1 has room and does not come; 2 goes live; 3 does not come either.
    let live = give(&mut bench, &confirmation(2, 0), &mut rng);
    bench.tick(seconds(6));
    assert_eq!(bench.deliveries()[0].3, 0b101);
    assert_eq!(cells_of(&bench, 100)[2 * 64..][..64], live[100 * 64..][..64]);

    let late = ConnectionId(9);
    bench.attach(late, users(70..72)).unwrap();
    bench.group.fetch(late, &fetch(PartKind::Confirmation, 0, 0, 3), &mut bench.out).unwrap();
    let answers = fetched(&bench, late);
    assert_eq!(answers.len(), 3);
    let (deliver, cells) = &answers[0];
    assert_eq!((deliver.present.get(), deliver.lost.get()), (0b001, 0b100));
    assert_eq!((deliver.users.get(), deliver.senders.get(), deliver.round.get()), (2, 64, 0));
    for (index, user) in (70..72).enumerate() {
        let cells = &cells[index * 64 * 64..][..64 * 64];
        assert_eq!(cells[..64], kept[user * 64..][..64]);
        assert!(cells[64..].iter().all(|&byte| byte == 0));
    }
    assert_eq!((answers[2].0.tile.get(), answers[2].0.senders.get()), (2, N % 64));
}

#[test]
fn who_comes_late_fetches_from_seeds_what_was_delivered() {
    let mut bench = confirming(ServerSide::One, 2, None);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(8);
    let mut given = Vec::new();
    for slot in 0..2 {
        given.push(
            (0..N).map(|sender| give(&mut bench, &confirmation(sender, slot), &mut rng)).collect::<Vec<_>>(),
        );
    }
    bench.attach(B, users(50..51)).unwrap();
    bench.out.clear();
    bench.group.fetch(B, &fetch(PartKind::Confirmation, 1, 1, 2), &mut bench.out).unwrap();
    let answers = fetched(&bench, B);
    let heads: Vec<_> =
        answers.iter().map(|(head, _)| (head.tile.get(), head.slot.get(), head.lost.get())).collect();
    assert_eq!(heads, [(1, 1, 0), (2, 1, 0)]);
    for (index, cell) in answers.iter().flat_map(|(_, cells)| cells.chunks(64)).enumerate() {
        assert_eq!(cell, &given[1][64 + index][50 * 64..][..64]);
    }
}

#[test]
fn a_fetch_out_of_range_is_refused_by_name() {
    let mut bench = confirming(ServerSide::One, 1, None);
    let ask = |bench: &mut Bench, connection, fetch: Fetch| {
        bench.group.fetch(connection, &fetch, &mut bench.out).map_err(|refusal| refusal.code)
    };
    let whole = fetch(PartKind::Confirmation, 0, 0, 3);
    assert_eq!(ask(&mut bench, A, whole), Err(Code::EpochWrong), "it does not run yet");
    (0..N).for_each(|sender| bench.seed(&confirmation(sender, 0), &[1; 32]).unwrap());
    assert_eq!(ask(&mut bench, A, whole), Ok(()));
    assert_eq!(ask(&mut bench, B, whole), Err(Code::NotAttached));
    for wrong in [
        fetch(PartKind::Confirmation, 0, 1, 3),
        fetch(PartKind::Confirmation, 0, 0, 0),
        fetch(PartKind::Confirmation, 1, 0, 1),
        fetch(PartKind::Key, 0, 0, 1),
        fetch(PartKind::Confirmation, 0, u32::MAX, u32::MAX),
        Fetch { purpose: 256.into(), ..whole },
        Fetch { slot: u32::MAX.into(), ..whole },
    ] {
        assert_eq!(ask(&mut bench, A, wrong), Err(Code::FetchRange), "{wrong:?}");
    }
    assert_eq!(ask(&mut bench, A, Fetch { epoch: 1.into(), ..whole }), Err(Code::EpochWrong));
    assert_eq!(ask(&mut bench, A, Fetch { reserved: 1.into(), ..whole }), Err(Code::ReservedSet));
    // Answers that nobody reads are bounded; once they are gone there is room again.
    while ask(&mut bench, A, whole) == Ok(()) {
        assert!(fetched(&bench, A).len() <= FETCHED_TILES_MAX);
    }
    while bench.group.has_fetches() {
        bench.out.clear();
        bench.group.answer_fetches(1 << 20, &mut bench.out);
    }
    bench.out.clear();
    assert_eq!(ask(&mut bench, A, whole), Ok(()));
}

#[test]
fn parts_that_are_not_wanted_are_refused_by_name() {
    let mut bench = Bench::of(Shape::new(&config(true, 1), ServerSide::Two), MemoryBox::of(1 << 30));
    bench.attach(A, users(0..10)).unwrap();
    let begin = |bench: &mut Bench, connection, head: PartsHead| {
        let begun = bench.group.parts_begin(connection, &head);
        begun.map(|upload| upload.bytes).map_err(|refusal| refusal.code)
    };
    assert_eq!(begin(&mut bench, A, confirmation(0, 0)), Err(Code::NotGranted), "not dialled");
    bench.dial(A, 0, 0, 0, &[0; 17]).unwrap();
    assert_eq!(begin(&mut bench, A, confirmation(0, 0)), Ok(64 * N as usize));
    assert_eq!(begin(&mut bench, B, confirmation(0, 0)), Err(Code::NotAttached));
    assert_eq!(begin(&mut bench, A, confirmation(N, 0)), Err(Code::NotAttached));
    assert_eq!(begin(&mut bench, A, confirmation(0, 1)), Err(Code::SlotOutOfRange));
    assert_eq!(begin(&mut bench, A, head(1, 0, 0, PartKind::Confirmation)), Err(Code::EpochWrong));
    assert_eq!(begin(&mut bench, A, head(0, 0, 0, PartKind::Key)), Err(Code::NotGranted));
    let nonsense = PartsHead { purpose: 0.into(), ..confirmation(0, 0) };
    assert_eq!(begin(&mut bench, A, nonsense), Err(Code::PartsForm));
    assert_eq!(bench.seed(&confirmation(0, 0), &[0; 32]), Err(Code::PartsForm), "S2 takes no seed");
    let mut one = Bench::new(ServerSide::One, true, 1);
    one.attach(A, users(0..10)).unwrap();
    assert_eq!(begin(&mut one, A, confirmation(0, 0)), Err(Code::PartsForm), "S1 takes seeds");
}

#[test]
fn a_box_that_fails_costs_its_senders_and_nobody_else() {
    let broken = MemoryBox { bytes_max: 1 << 30, broken: true, ..MemoryBox::default() };
    let mut bench = Bench::of(Shape::new(&config(true, 1), ServerSide::Two), Some(Box::new(broken)));
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(9);
    bench.attach(A, users(0..N)).unwrap();
    bench.dial_all(A, 0, 0..N - 1);
    // Sender 0 gives its parts to the box, which loses them; the others give theirs when they are wanted.
    give(&mut bench, &confirmation(0, 0), &mut rng);
    bench.dial_all(A, 0, N - 1..N);
    (1..N).for_each(|sender| drop(give(&mut bench, &confirmation(sender, 0), &mut rng)));
    bench.tick(seconds(2));
    let present: Vec<u64> = bench.deliveries().iter().map(|delivery| delivery.3).collect();
    assert_eq!(present, [!1, u64::MAX, 0b11]);
    assert_eq!(bench.kinds_for_all().last(), Some(&Kind::EpochOpen));
}
