use super::super::signed_rounds::{USER_BYTES, frame_of, signed_round};
use super::*;
use crate::tile::{Tile, TileHead};
use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use twincast_answer::{AnswerSet, Kernel, Queries, Shape, parts};
use twincast_protocol::context::Purpose;
use twincast_protocol::ids::{Epoch, GroupId, RoundNumber, SlotIndex};
use twincast_protocol::wire::{AbsentTile, Answers, HEADER_BYTES, Header};

const MEMBERS: u32 = 70;

/// Three epochs, in each of which other users are members.
fn roster(epoch: u32) -> Arc<Roster> {
    let ids = (0..2 * MEMBERS).filter(|user| epoch == 0 || user % 3 != epoch % 3).map(UserId);
    Roster::new(GroupId(1), Epoch(epoch), ids.take(MEMBERS as usize).collect())
}

fn tile(round: u64, rng: &mut Xoshiro256PlusPlus) -> Item {
    tile_of(roster(round as u32 / 4), round, rng)
}

fn tile_of(roster: Arc<Roster>, round: u64, rng: &mut Xoshiro256PlusPlus) -> Item {
    let senders = rng.random_range(1..=64);
    let head = TileHead {
        epoch: roster.epoch(),
        round: RoundNumber(round),
        purpose: Purpose::Message,
        slot: SlotIndex(0),
        tile: 0,
        first_sender: MemberIndex(0),
        senders,
        present: 0,
    };
    let mut tile = Tile::for_messages([64, 336, 80][round as usize % 3]);
    tile.begin_messages(head, roster, (0..MEMBERS).map(|_| rng.random()).collect());
    for sender in 0..senders {
        rng.fill_bytes(tile.row_mut(sender));
        tile.set_present(sender);
    }
    Item::Tile(Arc::new(tile))
}

fn frame(round: u64, rng: &mut Xoshiro256PlusPlus) -> Item {
    let mut bytes = vec![0; rng.random_range(8..60)];
    rng.fill_bytes(&mut bytes);
    Item::Frame(RoundNumber(round), bytes.into())
}

fn answers(round: u64, rng: &mut Xoshiro256PlusPlus) -> Item {
    answers_of(roster(round as u32 / 4), round, rng)
}

/// Who is absent in none, one or both tiles of 64.
fn absent_of(rng: &mut Xoshiro256PlusPlus) -> Vec<AbsentTile> {
    let mut entry = |tile: u32| AbsentTile { tile: tile.into(), absent: rng.random_range(1..64_u64).into() };
    let both = [entry(0), entry(1)];
    both[..rng.random_range(0..3)].to_vec()
}

fn answers_of(roster: Arc<Roster>, round: u64, rng: &mut Xoshiro256PlusPlus) -> Item {
    let slots = rng.random_range(1..4);
    let shape = Shape::new(roster.members(), roster.members() * slots, RECORD_BYTES).unwrap();
    let mut queries = Queries::new(&shape);
    for query in 0..shape.queries() {
        let mut bits = [0; MEMBERS.div_ceil(8) as usize];
        bits[..8].copy_from_slice(&rng.random::<[u8; 8]>());
        queries.set(query, &bits).unwrap();
    }
    let mut records = vec![0; 64 * RECORD_BYTES];
    rng.fill_bytes(&mut records);
    let worked_out = parts(&shape, rng.random_range(1..4)).into_iter().map(|mut part| {
        let mut answers = part.answers();
        part.add(Kernel::Portable, 0, &records, &queries, &mut answers);
        Arc::new(answers)
    });
    Item::Answers(Arc::new(RoundAnswers {
        round: RoundNumber(round),
        slots,
        senders_present: rng.random_range(0..=MEMBERS),
        absent: absent_of(rng),
        root: rng.random(),
        set: AnswerSet::new(worked_out.collect()),
        roster,
    }))
}

/// The end of a round of an accountable group.
fn round_end(round: u64, rng: &mut Xoshiro256PlusPlus) -> Item {
    Item::RoundEnd(signed_round(&roster(round as u32 / 4), RoundNumber(round), rng))
}

/// The bytes of an item for these users, one cell after the other.
fn naive(item: &Item, users: &[UserId]) -> Vec<u8> {
    match item {
        Item::Frame(_, bytes) => bytes.to_vec(),
        Item::RoundEnd(signed) => frame_of(signed, users),
        Item::Answers(answers) => {
            let ids = answers.roster.ids();
            let users: Vec<_> =
                users.iter().filter_map(|user| ids.iter().position(|id| id == user)).collect();
            if users.is_empty() {
                return Vec::new();
            }
            let mut bytes = answers.head(users.len()).to_vec();
            for entry in &answers.absent {
                bytes.extend(entry.tile.get().to_le_bytes());
                bytes.extend(entry.absent.get().to_le_bytes());
            }
            for query in users.iter().flat_map(|user| user * answers.slots..(user + 1) * answers.slots) {
                let mut answer = [0; RECORD_BYTES];
                answers.set.gather(query, 0, &mut answer);
                bytes.extend(answer);
            }
            bytes
        }
        Item::Tile(tile) => {
            let ids = tile.roster().ids();
            let users: Vec<_> =
                users.iter().filter_map(|user| ids.iter().position(|id| id == user)).collect();
            if users.is_empty() {
                return Vec::new();
            }
            let mut bytes = tile.deliver_head(users.len()).to_vec();
            for user in users {
                let mut cells = vec![0; tile.user_bytes()];
                tile.gather(MemberIndex(user as u32), 0, &mut cells);
                bytes.extend(cells);
            }
            bytes
        }
    }
}

fn some_users(rng: &mut Xoshiro256PlusPlus) -> Box<[UserId]> {
    let share = rng.random_range(0.05..1.0);
    let mut users: Vec<_> = (0..2 * MEMBERS).filter(|_| rng.random_bool(share)).map(UserId).collect();
    if users.is_empty() {
        users.push(UserId(MEMBERS - 1));
    }
    users.into()
}

/// A kernel that takes any part of what was filled, or nothing, and makes the source start over now and then; and a core whose
/// next turn begins, or not.
fn pump(cursor: &mut Cursor, got: &mut Vec<u8>, rng: &mut Xoshiro256PlusPlus) {
    if rng.random() {
        cursor.patience.renew();
    }
    let mut slab = vec![0; rng.random_range(1..40_000)];
    let filled = cursor.fill(&mut slab);
    let taken = rng.random_range(0..=filled);
    got.extend_from_slice(&slab[..taken]);
    cursor.sent(taken);
    cursor.rewind();
}

#[test]
fn the_stream_is_the_items_in_order_however_it_is_sent() {
    for seed in 0..40 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let log = Rc::new(RefCell::new(Log::default()));
        let mut cursors: Vec<(Cursor, Vec<u8>, Vec<u8>)> = Vec::new();
        for round in 1..12 {
            if round % 3 == 1 {
                // Some users a turn, of 70 cells each.
                let patience = Patience::of(rng.random_range(1..2000));
                cursors.push((
                    Cursor::new(log.clone(), patience, some_users(&mut rng)),
                    Vec::new(),
                    Vec::new(),
                ));
            }
            let item = match rng.random_range(0..5) {
                0 => frame(round, &mut rng),
                4 => round_end(round, &mut rng),
                1 | 2 => answers(round, &mut rng),
                _ => tile(round, &mut rng),
            };
            for (cursor, _, expected) in &mut cursors {
                expected.extend(naive(&item, &cursor.users));
            }
            log.borrow_mut().push(item);
            for (cursor, got, _) in &mut cursors {
                for _ in 0..rng.random_range(0..4) {
                    pump(cursor, got, &mut rng);
                }
            }
        }
        for (cursor, got, expected) in &mut cursors {
            while cursor.pending() {
                pump(cursor, got, &mut rng);
            }
            assert_eq!(got.len(), expected.len(), "seed {seed}");
            assert!(got == expected, "seed {seed}: the same length, other bytes");
        }
        let end = log.borrow().end();
        assert!(log.borrow().get(end).is_none());
        for (cursor, ..) in &mut cursors {
            assert_eq!(cursor.rounds_behind(), 0, "seed {seed}");
            cursor.leave();
        }
    }
}

#[test]
fn private_frames_come_between_items() {
    for seed in 0..40 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let log = Rc::new(RefCell::new(Log::default()));
        let mut cursor = Cursor::new(log.clone(), Patience::new(), some_users(&mut rng));
        let items: Vec<Item> = (1..6)
            .map(|round| if round % 2 == 0 { tile(round, &mut rng) } else { answers(round, &mut rng) })
            .collect();
        let mut got = Vec::new();
        let private = Bytes::from_static(b"-- for this connection alone --");
        for item in &items {
            log.borrow_mut().push(item.clone());
            pump(&mut cursor, &mut got, &mut rng);
            cursor.push_private(private.clone());
        }
        while cursor.pending() {
            pump(&mut cursor, &mut got, &mut rng);
        }
        let mut rest = got.as_slice();
        for item in &items {
            while let Some(after) = rest.strip_prefix(&private[..]) {
                rest = after;
            }
            rest = rest.strip_prefix(naive(item, &cursor.users).as_slice()).expect("an item, whole");
        }
        assert!(rest.chunks(private.len()).all(|chunk| chunk == &private[..]), "seed {seed}");
    }
}

#[test]
fn a_stream_that_ends_now_finishes_the_piece_that_is_on_its_way() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let log = Rc::new(RefCell::new(Log::default()));
    let mut cursor = Cursor::new(log.clone(), Patience::new(), [UserId(3)].into());
    let items = [tile(1, &mut rng), tile(2, &mut rng)];
    items.iter().for_each(|item| log.borrow_mut().push(item.clone()));
    let mut slab = [0; 100];
    assert_eq!(cursor.fill(&mut slab), 100);
    cursor.sent(60);
    cursor.rewind();
    cursor.end(End::Now, Some(Bytes::from_static(b"last")));
    log.borrow_mut().push(tile(3, &mut rng));
    let mut got = slab[..60].to_vec();
    while cursor.pending() {
        pump(&mut cursor, &mut got, &mut rng);
    }
    let mut expected = naive(&items[0], &cursor.users);
    expected.extend(b"last");
    assert_eq!(got, expected);
    cursor.leave();
    let end = log.borrow().end();
    assert!(log.borrow().get(end).is_none(), "the log holds nothing for nobody");
}

#[test]
fn a_stream_that_ends_after_the_log_sends_what_the_log_had() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(2);
    let log = Rc::new(RefCell::new(Log::default()));
    let mut cursor = Cursor::new(log.clone(), Patience::new(), [UserId(3)].into());
    let items = [tile(1, &mut rng), tile(2, &mut rng)];
    items.iter().for_each(|item| log.borrow_mut().push(item.clone()));
    cursor.end(End::AfterLog, Some(Bytes::from_static(b"last")));
    log.borrow_mut().push(tile(3, &mut rng));
    let mut got = Vec::new();
    while cursor.pending() {
        pump(&mut cursor, &mut got, &mut rng);
    }
    let mut expected: Vec<u8> = items.iter().flat_map(|item| naive(item, &cursor.users)).collect();
    expected.extend(b"last");
    assert_eq!(got, expected);
    cursor.leave();
}

#[test]
fn leaving_in_the_middle_leaves_nothing_in_the_log() {
    for end in [None, Some(End::Now), Some(End::AfterLog)] {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
        let log = Rc::new(RefCell::new(Log::default()));
        let mut cursor = Cursor::new(log.clone(), Patience::new(), [UserId(3)].into());
        let held = tile(1, &mut rng);
        let Item::Tile(held_tile) = &held else { unreachable!() };
        let held_tile = held_tile.clone();
        log.borrow_mut().push(held);
        log.borrow_mut().push(tile(2, &mut rng));
        cursor.fill(&mut [0; 100]);
        cursor.sent(10);
        cursor.rewind();
        if let Some(end) = end {
            cursor.end(end, None);
        }
        cursor.leave();
        drop(cursor);
        assert_eq!(Arc::strong_count(&held_tile), 1, "{end:?}");
    }
}

#[test]
fn a_connection_without_members_of_an_epoch_gets_no_tile_of_it_and_lags_for_nobody() {
    for seed in 0..40 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let log = Rc::new(RefCell::new(Log::default()));
        // User 3 is a member in epoch 0 and in those whose number is no multiple of 3.
        let mut cursor = Cursor::new(log.clone(), Patience::new(), [UserId(3)].into());
        let (mut got, mut expected) = (Vec::new(), Vec::new());
        for round in 1..60 {
            let item = match rng.random_range(0..6) {
                0 => frame(round, &mut rng),
                1 => answers_of(roster(3), round, &mut rng),
                epoch => tile_of(roster(epoch % 2 * 3), round, &mut rng),
            };
            expected.extend(naive(&item, &cursor.users));
            log.borrow_mut().push(item);
            if rng.random_bool(0.3) {
                pump(&mut cursor, &mut got, &mut rng);
            }
        }
        while cursor.pending() {
            pump(&mut cursor, &mut got, &mut rng);
        }
        assert!(got == expected, "seed {seed}");
        assert_eq!(cursor.rounds_behind(), 0, "seed {seed}");
        let end = log.borrow().end();
        assert!(log.borrow().get(end).is_none());
        cursor.leave();
    }
}

#[test]
fn tiles_for_others_alone_leave_the_log_without_a_byte_sent() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
    let log = Rc::new(RefCell::new(Log::default()));
    let mut cursor = Cursor::new(log.clone(), Patience::new(), [UserId(3)].into());
    let item = tile_of(roster(3), 1, &mut rng);
    let Item::Tile(tile) = &item else { unreachable!() };
    let tile = tile.clone();
    log.borrow_mut().push(item);
    assert!(cursor.pending());
    assert_eq!(cursor.fill(&mut [0; 100]), 0);
    assert!(!cursor.pending());
    assert_eq!(Arc::strong_count(&tile), 1);
}

#[test]
fn answers_that_end_in_the_middle_are_counted_once_and_whole() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(6);
    let log = Rc::new(RefCell::new(Log::default()));
    let mut cursor = Cursor::new(log.clone(), Patience::new(), [3, 5].map(UserId).into());
    let item = loop {
        let item = answers(1, &mut rng);
        if matches!(&item, Item::Answers(sent) if sent.absent.len() == 2) {
            break item;
        }
    };
    let Item::Answers(sent) = &item else { unreachable!() };
    let sent = sent.clone();
    log.borrow_mut().push(item.clone());
    let whole = naive(&item, &cursor.users);
    assert_eq!(whole.len(), ANSWERS_HEAD_BYTES + 2 * 12 + 2 * sent.slots * RECORD_BYTES);
    let header = Header::parse(whole[..HEADER_BYTES].try_into().unwrap()).unwrap();
    let head = Answers::read(&whole[HEADER_BYTES..ANSWERS_HEAD_BYTES], header.body_bytes).unwrap();
    let list = &whole[ANSWERS_HEAD_BYTES..][..head.absent_bytes() as usize];
    assert_eq!(AbsentTile::read_list(list, MEMBERS).as_ref(), Ok(&sent.absent));
    // Every place where a slab may end.
    let mut slab = vec![0; whole.len()];
    for end in 0..whole.len() {
        assert_eq!(cursor.fill(&mut slab[..end]), end);
        assert_eq!(cursor.fill(&mut slab[end..]), whole.len() - end);
        assert!(slab == whole, "cut at {end}");
        cursor.rewind();
    }
    cursor.fill(&mut slab);
    cursor.sent(whole.len() - 1);
    assert_eq!(log.borrow().answers_sent, 0);
    cursor.sent(1);
    assert_eq!((log.borrow().answers_sent, log.borrow().shares_sent), (2 * sent.slots as u64, 0));
    assert!(!cursor.pending());
    drop(item);
    assert_eq!(Arc::strong_count(&sent), 1, "its buffers are free again");
}

/// Two connections that are filled for until they have nothing more, as a slab is and a record, and one of them before the
/// other.
#[test]
fn a_turn_signs_its_cells_and_one_user_more_at_the_most() {
    /// Of a ROUND_END with two tiles, before its users.
    const HEAD_BYTES: usize = HEADER_BYTES + 24 + 2 * 8 + 64;
    for seed in 0..40 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let per_turn = rng.random_range(1..1000);
        let (log, patience) = (Rc::new(RefCell::new(Log::default())), Patience::of(per_turn));
        let mut cursors = [0, 1].map(|_| Cursor::new(log.clone(), patience.clone(), some_users(&mut rng)));
        let item = round_end(1, &mut rng);
        log.borrow_mut().push(item.clone());
        let expected: Vec<Vec<u8>> = cursors.iter().map(|cursor| naive(&item, &cursor.users)).collect();
        let (mut got, mut turns) = ([Vec::new(), Vec::new()], 0);
        while cursors.iter().any(Cursor::pending) {
            patience.renew();
            turns += 1;
            let mut signed = 0;
            for (which, cursor) in cursors.iter_mut().enumerate() {
                let mut slab = vec![0; 256 << 10];
                let mut filled = 0;
                // A rewind costs nothing: what is signed stays so.
                for _ in 0..2 {
                    cursor.rewind();
                    filled = 0;
                    loop {
                        let more = cursor.fill(&mut slab[filled..]);
                        filled += more;
                        if more == 0 {
                            break;
                        }
                    }
                }
                assert_eq!(
                    cursor.takes_long(),
                    filled + got[which].len() < expected[which].len(),
                    "seed {seed}"
                );
                got[which].extend_from_slice(&slab[..filled]);
                cursor.sent(filled);
                let users = |bytes: usize| bytes.saturating_sub(HEAD_BYTES) / USER_BYTES;
                signed += users(got[which].len()) - users(got[which].len() - filled);
            }
            assert!(signed > 0, "seed {seed}: nothing in turn {turns}");
            assert!(
                (signed - 1) * (MEMBERS as usize) < per_turn,
                "seed {seed}: {signed} users in turn {turns}"
            );
        }
        assert!(expected == got, "seed {seed}");
    }
}
