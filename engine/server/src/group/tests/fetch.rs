//! Parts for those who come late: answered in bounded steps, in turn, and bounded while nobody reads.

use super::parts::{confirmation, fetch, fetched, give};
use super::*;
use crate::limits::FETCH_BYTES_PER_TURN;
use std::cell::RefCell;
use std::rc::Rc;

const LATE: ConnectionId = ConnectionId(9);

/// A box that counts how often it is read.
#[derive(Debug)]
struct CountingBox(MemoryBox, Rc<RefCell<usize>>);

impl PartsBox for CountingBox {
    fn reserve(&mut self, key: PartsKey, bytes: usize) -> io::Result<bool> {
        self.0.reserve(key, bytes)
    }

    fn write(&mut self, key: PartsKey, at: usize, bytes: &[u8]) -> io::Result<()> {
        self.0.write(key, at, bytes)
    }

    fn read(&mut self, key: PartsKey, at: usize, out: &mut [u8]) -> io::Result<()> {
        *self.1.borrow_mut() += 1;
        self.0.read(key, at, out)
    }

    fn forget(&mut self, epoch: Epoch) {
        self.0.forget(epoch);
    }
}

/// An epoch runs, confirmed by everybody. What each sender gave this server, and how often the box is read.
fn open(side: ServerSide) -> (Bench, Vec<Vec<u8>>, Rc<RefCell<usize>>) {
    let reads = Rc::default();
    let counting = CountingBox(MemoryBox { bytes_max: 1 << 30, ..MemoryBox::default() }, Rc::clone(&reads));
    let mut bench = Bench::of(Shape::new(&config(true, 1), side), Some(Box::new(counting)));
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(11);
    bench.attach(A, users(0..N)).unwrap();
    bench.dial_all(A, 0, 0..N);
    let given = (0..N).map(|sender| give(&mut bench, &confirmation(sender, 0), &mut rng)).collect();
    assert_eq!(bench.kinds_for_all().last(), Some(&Kind::EpochOpen));
    (bench, given, reads)
}

fn ask(bench: &mut Bench, connection: ConnectionId, tiles: u32) -> Result<(), Code> {
    let asked = fetch(PartKind::Confirmation, 0, 0, tiles);
    bench.group.fetch(connection, &asked, &mut bench.out).map_err(|refusal| refusal.code)
}

/// Turns until everything is answered; nobody reads what was answered.
fn answer_all(bench: &mut Bench, budget: usize) {
    for _ in 0..100_000 {
        if !bench.group.has_fetches() {
            return;
        }
        bench.group.answer_fetches(budget, &mut bench.out);
    }
    panic!("it is never answered");
}

#[test]
fn a_row_is_read_once_for_users_who_sit_together_and_everybody_gets_their_own_cells() {
    for side in ServerSide::BOTH {
        let sets: [Vec<u32>; 4] =
            [(0..N).collect(), vec![77], vec![0, 32, 65, 129], (0..N).filter(|user| user % 3 != 1).collect()];
        for set in sets {
            let (mut bench, given, reads) = open(side);
            bench.attach(LATE, set.iter().copied().map(UserId).collect()).unwrap();
            (bench.out, *reads.borrow_mut()) = (Vec::new(), 0);
            ask(&mut bench, LATE, 3).unwrap();
            // Cells of users that lie within two KiB of each other are read together.
            let runs = set.chunk_by(|a, b| b - a <= 32).count();
            answer_all(&mut bench, 5_000);
            let expected = if side == ServerSide::Two { N as usize * runs } else { 0 };
            assert_eq!(*reads.borrow(), expected, "{side}, {} users", set.len());
            let answers = fetched(&bench, LATE);
            assert_eq!(answers.iter().map(|(head, _)| head.tile.get()).collect::<Vec<_>>(), [0, 1, 2]);
            for (head, cells) in &answers {
                let senders = head.senders.get() as usize;
                assert_eq!(head.present.get(), u64::MAX >> (64 - senders));
                assert_eq!((head.users.get() as usize, head.lost.get()), (set.len(), 0));
                for (index, cell) in cells.chunks(64).enumerate() {
                    let sender = head.first_sender.get() as usize + index % senders;
                    let user = set[index / senders] as usize;
                    assert_eq!(cell, &given[sender][user * 64..][..64], "{side}: {sender} for {user}");
                }
            }
        }
    }
}

#[test]
fn one_frame_is_answered_in_steps_that_others_have_their_turn_between() {
    let (mut bench, ..) = open(ServerSide::One);
    bench.attach(A, users(0..N - 1)).unwrap();
    bench.attach(LATE, users(N - 1..N)).unwrap();
    bench.group.answer_fetches(0, &mut bench.out);
    bench.out.clear();
    for (connection, tiles) in [(A, 3), (A, 1), (LATE, 3)] {
        ask(&mut bench, connection, tiles).unwrap();
    }
    assert!(fetched(&bench, A).is_empty() && fetched(&bench, LATE).is_empty(), "nothing is left of the turn");
    let row = (N as usize - 1) * 64;
    let mut turns = 0;
    while fetched(&bench, LATE).len() < 3 {
        let before = bench.out.len();
        bench.group.answer_fetches(8 * row, &mut bench.out);
        // Nine rows, of which the last one began within the budget, and some of the other connection's.
        assert!(bench.out.len() - before <= 4);
        turns += 1;
    }
    assert!(turns > 130 / 9, "{turns}");
    assert!(fetched(&bench, A).len() <= 4, "the other connection had its turns");
    answer_all(&mut bench, FETCH_BYTES_PER_TURN);
    let order: Vec<u32> = fetched(&bench, A).iter().map(|(head, _)| head.tile.get()).collect();
    assert_eq!(order, [0, 1, 2, 0]);
}

#[test]
fn what_is_made_and_not_sent_is_bounded_for_a_connection_and_for_the_group() {
    let (mut bench, ..) = open(ServerSide::One);
    bench.out.clear();
    let shape = *bench.group.shape();
    let unsent = |bench: &Bench| -> usize {
        let frames = bench.out.iter().filter_map(|output| match output {
            Output::To(_, frame) if kind(frame) == Kind::Deliver => Some(frame.len()),
            _ => None,
        });
        frames.sum()
    };
    // Nobody reads: connections come, fetch all they may, and are replaced by the next.
    let (mut most, mut last) = (0, 0);
    for connection in 10..20 {
        let connection = ConnectionId(connection);
        bench.attach(connection, users(0..N)).unwrap();
        while ask(&mut bench, connection, 3) == Ok(()) {}
        assert_eq!(ask(&mut bench, connection, 3), Err(Code::FetchRange));
        for _ in 0..100 {
            bench.group.answer_fetches(1 << 30, &mut bench.out);
        }
        let of_this: usize = fetched(&bench, connection).iter().map(|(_, cells)| cells.len()).sum();
        assert!(of_this <= shape.fetched_bytes_max(N as usize));
        (last, most) = (most, unsent(&bench));
        assert!(most <= shape.fetched_bytes_max_of_group());
    }
    assert_eq!(last, most, "the bound of the group was reached");
    assert!(2 * most > shape.fetched_bytes_max_of_group());
    assert!(shape.memory_bytes() > shape.fetched_bytes_max_of_group() as u64);
    // What was sent makes room: the last connection gets all it asked for, as it reads.
    let connection = ConnectionId(19);
    let mut tiles = 0;
    while bench.group.has_fetches() {
        tiles += fetched(&bench, connection).len();
        bench.out.clear();
        bench.group.answer_fetches(1 << 30, &mut bench.out);
    }
    tiles += fetched(&bench, connection).len();
    assert_eq!(tiles, FETCHED_TILES_MAX);
}

#[test]
fn what_was_fetched_of_an_epoch_that_is_over_is_refused_once_and_who_is_gone_is_forgotten() {
    let (mut bench, ..) = open(ServerSide::One);
    bench.attach(LATE, users(0..1)).unwrap();
    bench.group.answer_fetches(0, &mut bench.out);
    ask(&mut bench, LATE, 3).unwrap();
    bench.group.answer_fetches(1, &mut bench.out);
    bench.group.running = None;
    bench.out.clear();
    answer_all(&mut bench, 1);
    assert_eq!(bench.codes_to(LATE), [Code::EpochWrong]);
    assert!(fetched(&bench, LATE).is_empty());

    let (mut bench, ..) = open(ServerSide::One);
    bench.attach(LATE, users(0..1)).unwrap();
    bench.group.answer_fetches(0, &mut bench.out);
    ask(&mut bench, LATE, 3).unwrap();
    bench.group.answer_fetches(1, &mut bench.out);
    bench.group.detach(LATE, bench.now, &mut bench.out);
    bench.out.clear();
    answer_all(&mut bench, 1);
    assert!(bench.frames_to(LATE).is_empty());
}
