use super::*;
use crate::limits::MEMBERS_MIN;
use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use twincast_protocol::wire::{ConfirmHead, Header, Kind};

const N: u32 = 130;
const A: ConnectionId = ConnectionId(1);
const B: ConnectionId = ConnectionId(2);

fn config(confirm: bool, slots: u32) -> GroupConfig {
    GroupConfig {
        id: 7,
        members: N,
        frame_bytes: 16,
        slots,
        confirm,
        round_timeout_ms: 1000,
        dial_timeout_ms: 5000,
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn members(range: std::ops::Range<u32>) -> Vec<MemberIndex> {
    range.map(MemberIndex).collect()
}

/// A group with what came out of it, and a connection that plays everybody unless said otherwise.
struct Bench {
    group: Group,
    out: Vec<Output>,
    now: Duration,
    lagging: u32,
    shares: Vec<u8>,
}

impl Bench {
    fn new(side: ServerSide, confirm: bool, slots: u32) -> Bench {
        let shape = Shape::new(&config(confirm, slots), side);
        let shares = vec![7; shape.submit_body_bytes() - size_of::<Submit>()];
        Bench { group: Group::new(shape), out: Vec::new(), now: Duration::ZERO, lagging: 0, shares }
    }

    /// Everybody is attached by `A` and has dialled; rounds are open.
    fn running(slots: u32) -> Bench {
        let mut bench = Bench::new(ServerSide::One, false, slots);
        bench.attach(A, members(0..N)).unwrap();
        bench.dial_all(A, 0..N);
        bench.out.clear();
        bench
    }

    fn attach(&mut self, connection: ConnectionId, users: Vec<MemberIndex>) -> Result<(), Refusal> {
        self.group.attach(connection, Epoch(0), &users, self.now, &mut self.out)
    }

    fn dial(&mut self, connection: ConnectionId, sender: u32, slot: u32, key: &[u8]) -> Result<(), Code> {
        let dial = Dial::new(1, Epoch(0), MemberIndex(sender), SlotIndex(slot));
        self.group.dial(connection, &dial, key, self.now, &mut self.out).map_err(|refusal| refusal.code)
    }

    fn dial_all(&mut self, connection: ConnectionId, senders: std::ops::Range<u32>) {
        for sender in senders {
            for slot in 0..self.group.shape.slots as u32 {
                self.dial(connection, sender, slot, &[0; 17]).unwrap();
            }
        }
    }

    fn submit(&mut self, connection: ConnectionId, sender: u32, round: u64) -> Result<(), Code> {
        let submit = Submit::new(RoundNumber(round), MemberIndex(sender), false);
        let lagging = self.lagging;
        let submitted =
            self.group.submit(connection, &submit, &self.shares, self.now, lagging, &mut self.out);
        submitted.map_err(|refusal| refusal.code)
    }

    fn tick(&mut self, now: Duration) {
        self.now = now;
        self.group.tick(now, self.lagging, &mut self.out);
    }

    /// (round, tile, slot, present) of every delivery so far.
    fn deliveries(&self) -> Vec<(u64, u32, u32, u64)> {
        let tiles = self.out.iter().filter_map(|output| match output {
            Output::Deliver(tile) => Some(tile.head()),
            _ => None,
        });
        tiles.map(|head| (head.round.0, head.tile, head.slot.0, head.present)).collect()
    }

    /// Kinds of the frames for everybody so far.
    fn frames_for_all(&self) -> Vec<Kind> {
        let frames = self.out.iter().filter_map(|output| match output {
            Output::All(_, frame) => Some(Header::parse(frame[..8].try_into().unwrap()).unwrap().kind),
            _ => None,
        });
        frames.collect()
    }
}

#[test]
fn a_tile_leaves_as_soon_as_its_senders_are_in_and_those_before_it_left() {
    let mut bench = Bench::running(1);
    (64..N - 1).for_each(|sender| bench.submit(A, sender, 1).unwrap());
    assert!(bench.deliveries().is_empty(), "tile 1 is whole, but tile 0 comes first");
    (0..64).for_each(|sender| bench.submit(A, sender, 1).unwrap());
    let all = u64::MAX;
    assert_eq!(bench.deliveries(), [(1, 0, 0, all), (1, 1, 0, all)]);
    assert!(bench.frames_for_all().is_empty());
    bench.submit(A, N - 1, 1).unwrap();
    assert_eq!(bench.deliveries()[2], (1, 2, 0, 0b11));
    assert_eq!(bench.frames_for_all(), [Kind::RoundEnd]);
    assert_eq!(bench.group.open_round(), RoundNumber(2));
}

#[test]
fn slots_of_a_tile_follow_each_other() {
    let mut bench = Bench::running(3);
    (0..N).for_each(|sender| bench.submit(A, sender, 1).unwrap());
    let order: Vec<(u32, u32)> = bench.deliveries().iter().map(|(_, tile, slot, _)| (*tile, *slot)).collect();
    assert_eq!(order, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]);
}

#[test]
fn the_next_round_takes_submissions_and_opens_with_them() {
    let mut bench = Bench::running(1);
    (0..N).for_each(|sender| bench.submit(A, sender, 2).unwrap());
    assert!(bench.deliveries().is_empty());
    assert_eq!(bench.submit(A, 0, 3), Err(Code::RoundTooFar));
    (0..N).for_each(|sender| bench.submit(A, sender, 1).unwrap());
    let rounds: Vec<u64> = bench.deliveries().iter().map(|delivery| delivery.0).collect();
    assert_eq!(rounds, [1, 1, 1, 2, 2, 2]);
    assert_eq!(bench.submit(A, 0, 2), Err(Code::RoundSealed));
    assert_eq!(bench.group.open_round(), RoundNumber(3));
}

#[test]
fn a_round_is_sealed_at_its_time_limit_which_counts_from_the_first_submission() {
    let mut bench = Bench::running(1);
    bench.tick(seconds(100));
    bench.submit(A, 5, 1).unwrap();
    bench.tick(seconds(100) + Duration::from_millis(999));
    assert!(bench.deliveries().is_empty());
    bench.tick(seconds(101));
    assert_eq!(bench.deliveries(), [(1, 0, 0, 1 << 5), (1, 1, 0, 0), (1, 2, 0, 0)]);
    assert_eq!(bench.submit(A, 6, 1), Err(Code::RoundSealed));
    bench.tick(seconds(1000));
    assert_eq!(bench.deliveries().len(), 3, "nobody submitted for round 2");
}

#[test]
fn absent_senders_have_cells_of_zeros_though_the_buffer_was_used_before() {
    let mut bench = Bench::running(1);
    for round in 1..=8 {
        (0..N).for_each(|sender| bench.submit(A, sender, round).unwrap());
        bench.out.clear();
    }
    bench.submit(A, 5, 9).unwrap();
    bench.tick(seconds(100));
    let Some(Output::Deliver(tile)) = bench.out.iter().find(|output| matches!(output, Output::Deliver(_)))
    else {
        panic!("a tile is delivered")
    };
    let mut cells = vec![1; tile.user_bytes()];
    tile.gather(MemberIndex(0), 0, &mut cells);
    for (sender, cell) in cells.chunks(64).enumerate() {
        let byte = if sender == 5 { 7 } else { 0 };
        assert!(cell.iter().all(|&b| b == byte), "sender {sender}");
    }
}

#[test]
fn a_member_whose_connection_goes_is_not_waited_for() {
    let mut bench = Bench::new(ServerSide::One, false, 1);
    bench.attach(A, members(0..100)).unwrap();
    bench.attach(B, members(100..N)).unwrap();
    bench.dial_all(A, 0..100);
    bench.dial_all(B, 100..N);
    bench.out.clear();
    (0..100).for_each(|sender| bench.submit(A, sender, 1).unwrap());
    assert_eq!(bench.deliveries().len(), 1);
    bench.group.detach(B, bench.now, &mut bench.out);
    assert_eq!(bench.deliveries().len(), 3);
    assert_eq!(bench.deliveries()[2], (1, 2, 0, 0));
}

#[test]
fn a_newer_connection_ends_the_older_one() {
    let mut bench = Bench::running(1);
    bench.attach(B, members(3..4)).unwrap();
    assert!(matches!(bench.out[0], Output::Close(A, Code::Superseded)));
    assert!(matches!(bench.out[1], Output::To(B, _)));
    assert_eq!(bench.submit(A, 3, 1), Err(Code::NotAttached));
    assert_eq!(bench.submit(A, 4, 1), Err(Code::NotAttached));
    bench.submit(B, 3, 1).unwrap();
    assert_eq!(bench.frames_for_all(), [Kind::RoundEnd], "nobody else is attached");
}

#[test]
fn what_is_wrong_is_refused_by_name() {
    let mut bench = Bench::new(ServerSide::One, false, 2);
    let epoch = bench.group.attach(A, Epoch(1), &members(0..1), Duration::ZERO, &mut bench.out);
    assert_eq!(epoch.unwrap_err().code, Code::HelloEpochWrong);
    assert_eq!(bench.attach(A, members(N - 1..N + 1)).unwrap_err().code, Code::MemberOutOfRange);
    bench.attach(A, members(0..10)).unwrap();
    assert_eq!(bench.dial(A, 10, 0, &[0; 17]), Err(Code::NotAttached));
    assert_eq!(bench.dial(A, u32::MAX, 0, &[0; 17]), Err(Code::NotAttached));
    assert_eq!(bench.dial(B, 0, 0, &[0; 17]), Err(Code::NotAttached));
    assert_eq!(bench.dial(A, 0, 2, &[0; 17]), Err(Code::SlotOutOfRange));
    assert_eq!(bench.dial(A, 0, 0, &[0; 16]), Err(Code::LengthWrong));
    assert_eq!(bench.dial(A, 0, 0, &[0xff; 17]), Err(Code::KeyPadding));
    let old = Dial::new(1, Epoch(9), MemberIndex(0), SlotIndex(0));
    let old = bench.group.dial(A, &old, &[0; 17], Duration::ZERO, &mut bench.out);
    assert_eq!(old.unwrap_err().code, Code::EpochWrong);
    bench.dial(A, 0, 0, &[0; 17]).unwrap();
    assert_eq!(bench.dial(A, 0, 0, &[0; 17]), Err(Code::AlreadyDialled));
    assert_eq!(bench.submit(A, 0, 1), Err(Code::EpochNotOpen));
    bench.dial_all(A, 1..3);
    bench.tick(seconds(5));
    assert_eq!(bench.frames_for_all(), [Kind::EpochOpen], "the time to dial is over");
    assert_eq!(bench.dial(A, 5, 0, &[0; 17]), Err(Code::DialClosed));
    assert_eq!(bench.submit(A, 0, 1), Err(Code::NotDialled), "one of its two slots was not");
    bench.submit(A, 1, 1).unwrap();
    assert_eq!(bench.submit(A, 1, 1), Err(Code::DuplicateSubmission));
    bench.submit(A, 2, 1).unwrap();
    assert_eq!(bench.deliveries().len(), 6, "those who did not dial are not waited for");
}

#[test]
fn many_laggards_skip_a_round_and_few_are_closed() {
    let mut bench = Bench::running(1);
    bench.lagging = N / 4 + 1;
    (0..N).for_each(|sender| bench.submit(A, sender, 1).unwrap());
    assert_eq!(bench.frames_for_all(), [Kind::RoundEnd, Kind::RoundSkipped]);
    assert_eq!(bench.group.open_round(), RoundNumber(3));
    assert!(!bench.out.iter().any(|output| matches!(output, Output::CloseLagging)));
    bench.lagging = N / 4;
    bench.out.clear();
    (0..N).for_each(|sender| bench.submit(A, sender, 3).unwrap());
    assert_eq!(bench.frames_for_all(), [Kind::RoundEnd]);
    assert!(bench.out.iter().any(|output| matches!(output, Output::CloseLagging)));
}

#[test]
fn a_round_without_free_buffers_is_skipped_and_a_later_one_goes_on() {
    let mut bench = Bench::running(1);
    // Nobody drops what is delivered, until a round begins without buffers. It has the pace of any other.
    for round in 1..=ROUNDS_BUFFERED as u64 {
        (0..N).for_each(|sender| bench.submit(A, sender, round).unwrap());
    }
    bench.out.clear();
    let without = ROUNDS_BUFFERED as u64 + 1;
    bench.tick(seconds(1));
    assert_eq!(
        bench.group.open_round().0,
        without,
        "nobody has asked for it yet, and there are buffers again"
    );
    (0..N).for_each(|sender| bench.submit(A, sender, without).unwrap());
    assert_eq!(bench.frames_for_all(), [Kind::RoundEnd]);
    bench.out.clear();

    for round in without + 1..=2 * without - 1 {
        (0..N).for_each(|sender| bench.submit(A, sender, round).unwrap());
    }
    let without = 2 * without;
    let ends = bench.frames_for_all().len();
    for sender in 0..N {
        if sender == N / 2 {
            // Buffers that come back now are too late for it: some of its submissions were refused.
            bench.out.retain(|output| !matches!(output, Output::Deliver(_)));
        }
        bench.tick(seconds(1));
        assert_eq!(bench.frames_for_all().len(), ends, "the others have not asked for it");
        assert_eq!(bench.submit(A, sender, without), Err(Code::RoundSkipped));
    }
    bench.tick(seconds(1));
    assert_eq!(bench.frames_for_all()[ends..], [Kind::RoundSkipped]);
    bench.out.clear();
    (0..N).for_each(|sender| bench.submit(A, sender, without + 1).unwrap());
    assert_eq!(bench.frames_for_all(), [Kind::RoundEnd]);
}

#[test]
fn stopping_finishes_the_open_round_and_refuses_the_next() {
    let mut bench = Bench::running(1);
    (0..10).for_each(|sender| bench.submit(A, sender, 1).unwrap());
    bench.submit(A, 0, 2).unwrap();
    bench.group.stop();
    assert!(!bench.group.is_drained());
    assert_eq!(bench.submit(A, 1, 2), Err(Code::ShuttingDown));
    (10..N).for_each(|sender| bench.submit(A, sender, 1).unwrap());
    assert_eq!(bench.frames_for_all(), [Kind::RoundEnd]);
    assert_eq!(bench.attach(B, members(0..1)).unwrap_err().code, Code::ShuttingDown);
}

fn confirming(side: ServerSide, slots: u32) -> Bench {
    let mut bench = Bench::new(side, true, slots);
    bench.attach(A, members(0..N)).unwrap();
    bench.dial_all(A, 0..N);
    bench
}

#[test]
fn confirmations_are_granted_in_order_delivered_and_open_the_epoch() {
    for side in ServerSide::BOTH {
        let mut bench = confirming(side, 2);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
        let mut expected = Vec::new();
        for slot in 0..2 {
            for sender in 0..N {
                let head = ConfirmHead::new(Epoch(0), MemberIndex(sender), SlotIndex(slot));
                bench.group.confirm_begin(A, &head).unwrap();
                let (mut seed, mut parts) = ([0; 32], vec![0; N as usize * 64]);
                rng.fill_bytes(&mut seed);
                if side == ServerSide::One {
                    twincast_protocol::confirm::expand_seed(&seed, 0, &mut parts);
                    bench.group.confirm_seed(head_sender(&head), SlotIndex(slot), &seed);
                } else {
                    rng.fill_bytes(&mut parts);
                    for (index, piece) in parts.chunks(1000).enumerate() {
                        bench.group.confirm_bytes(head_sender(&head), SlotIndex(slot), index * 1000, piece);
                    }
                }
                expected.push(parts);
                bench.group.confirm_end(head_sender(&head), SlotIndex(slot), bench.now, &mut bench.out);
                let again = bench.group.confirm_begin(A, &head);
                assert_eq!(again.unwrap_err().code, Code::NotGranted);
            }
        }
        let tiles: Vec<&Arc<Tile>> = bench
            .out
            .iter()
            .filter_map(|output| if let Output::Deliver(tile) = output { Some(tile) } else { None })
            .collect();
        assert_eq!(tiles.len(), 2 * N.div_ceil(64) as usize);
        let user = 77;
        let mut expected = expected.iter();
        for tile in tiles {
            let mut cells = vec![0; tile.user_bytes()];
            tile.gather(MemberIndex(user), 0, &mut cells);
            for cell in cells.chunks(64) {
                assert_eq!(cell, &expected.next().unwrap()[user as usize * 64..][..64]);
            }
        }
        assert_eq!(bench.frames_for_all().last(), Some(&Kind::EpochOpen));
        assert!(bench.submit(A, 0, 1).is_ok());
    }
}

fn head_sender(head: &ConfirmHead) -> MemberIndex {
    MemberIndex(head.sender.get())
}

#[test]
fn confirmations_that_do_not_come_are_not_present() {
    let mut bench = confirming(ServerSide::One, 1);
    for sender in (0..N).filter(|sender| *sender != 9) {
        bench.group.confirm_seed(MemberIndex(sender), SlotIndex(0), &[1; 32]);
        bench.group.confirm_end(MemberIndex(sender), SlotIndex(0), bench.now, &mut bench.out);
    }
    assert!(bench.deliveries().is_empty(), "tile 0 comes first and is not whole");
    bench.tick(seconds(1));
    let present: Vec<u64> = bench.deliveries().iter().map(|delivery| delivery.3).collect();
    assert_eq!(present, [!(1 << 9), u64::MAX, 0b11]);
    assert_eq!(bench.frames_for_all().last(), Some(&Kind::EpochOpen));
}

#[test]
fn a_connection_that_comes_while_confirmations_are_wanted_is_told_which() {
    let mut bench = confirming(ServerSide::One, 1);
    bench.out.clear();
    bench.attach(B, members(5..6)).unwrap();
    let kinds: Vec<Kind> = bench
        .out
        .iter()
        .filter_map(|output| match output {
            Output::To(B, frame) => Some(Header::parse(frame[..8].try_into().unwrap()).unwrap().kind),
            _ => None,
        })
        .collect();
    assert_eq!(kinds, [Kind::Welcome, Kind::Grant, Kind::Grant, Kind::Grant]);
}

#[test]
fn memory_is_what_the_sizes_say() {
    let shape =
        |members, slots| Shape::new(&GroupConfig { members, slots, ..config(true, 1) }, ServerSide::One);
    assert_eq!(shape(10_000, 1).confirm_tile_senders(), 16);
    assert_eq!(shape(1_000, 1).confirm_tile_senders(), 64);
    assert_eq!(shape(65_536, 1).confirm_tile_senders(), 4);
    assert_eq!(shape(MEMBERS_MIN, 1).confirm_tile_senders(), 64);
    let keys = 2 * 640 * 10 * 8;
    let tiles = 7 * 10 * 128 * 64;
    assert_eq!(shape(640, 1).memory_bytes(), keys + tiles + 6 * 64 * 640 * 64);
}

#[test]
fn random_frames_never_panic_and_rounds_go_on() {
    let mut sealed = 0;
    for seed in 0..30 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut bench = Bench::new(ServerSide::Two, rng.random_bool(0.5), 1);
        for step in 0..4000_u64 {
            let connection = ConnectionId(rng.random_range(1..4));
            let sender = rng.random_range(0..N + 2);
            match rng.random_range(0..12) {
                0 => {
                    let from = rng.random_range(0..N);
                    let to = rng.random_range(from + 1..=N);
                    let _ = bench.attach(connection, members(from..to));
                }
                1 if step % 16 == 0 => bench.group.detach(connection, bench.now, &mut bench.out),
                2..5 => {
                    let _ = bench.dial(connection, sender, 0, &[0; 17]);
                }
                5 | 6 => {
                    let head = ConfirmHead::new(Epoch(0), MemberIndex(sender), SlotIndex(0));
                    if bench.group.confirm_begin(connection, &head).is_ok() {
                        bench.group.confirm_bytes(MemberIndex(sender), SlotIndex(0), 64, &[1; 64]);
                        bench.group.confirm_end(MemberIndex(sender), SlotIndex(0), bench.now, &mut bench.out);
                    }
                }
                7 => {
                    let now = bench.now + Duration::from_millis(rng.random_range(0..200));
                    bench.lagging = rng.random_range(0..N);
                    bench.tick(now);
                }
                _ => {
                    let round = bench.group.open_round().0 + rng.random_range(0..3);
                    let _ = bench.submit(connection, sender, round.saturating_sub(1));
                }
            }
            sealed += bench.out.drain(..).filter(|output| matches!(output, Output::Sealed(..))).count();
        }
    }
    assert!(sealed > 100, "{sealed} rounds were sealed");
}
