//! Rounds of a server that runs alone.

use super::*;

#[test]
fn a_tile_leaves_as_soon_as_its_senders_are_in_and_those_before_it_left() {
    let mut bench = Bench::running(1);
    (64..N - 1).for_each(|sender| bench.submit(A, sender, 1).unwrap());
    assert!(bench.deliveries().is_empty(), "tile 1 is whole, but tile 0 comes first");
    (0..64).for_each(|sender| bench.submit(A, sender, 1).unwrap());
    let all = u64::MAX;
    assert_eq!(bench.deliveries(), [(1, 0, 0, all), (1, 1, 0, all)]);
    assert!(bench.kinds_for_all().is_empty());
    bench.submit(A, N - 1, 1).unwrap();
    assert_eq!(bench.deliveries()[2], (1, 2, 0, 0b11));
    assert_eq!(bench.kinds_for_all(), [Kind::RoundEnd]);
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

/// Clients that begin anew sign for no round that they may have signed for before: where all do, that round ends without them.
#[test]
fn a_round_in_which_everybody_is_silent_ends_once_they_go_on_with_the_next() {
    let mut bench = Bench::running(1);
    bench.tick(seconds(100));
    (0..N).for_each(|sender| bench.submit(A, sender, 2).unwrap());
    bench.tick(seconds(100) + millis(999));
    assert_eq!(bench.group.open_round(), RoundNumber(1));
    bench.tick(seconds(101));
    assert_eq!(bench.group.open_round(), RoundNumber(3), "the next one is sealed with it");
    assert!(bench.deliveries().iter().all(|(round, .., present)| (*round == 1) == (*present == 0)));
}

#[test]
fn whoever_misses_a_round_is_not_waited_for_until_it_submits_again() {
    let mut bench = Bench::running(1);
    let play_without = |bench: &mut Bench, missing: u32, round| {
        (0..N).filter(|&sender| sender != missing).for_each(|s| bench.submit(A, s, round).unwrap());
        bench.read_all();
    };
    play_without(&mut bench, 9, 1);
    assert_eq!(bench.group.open_round(), RoundNumber(1));
    bench.tick(seconds(1));
    for round in 2..=4 {
        assert_eq!(bench.group.open_round(), RoundNumber(round));
        play_without(&mut bench, 9, round);
    }
    assert_eq!(bench.submit(A, 9, 4), Err(Code::RoundSealed), "too late, but it is back");
    play_without(&mut bench, 9, 5);
    assert_eq!(bench.group.open_round(), RoundNumber(5));
    bench.submit(A, 9, 5).unwrap();
    assert_eq!(bench.group.open_round(), RoundNumber(6));
}

#[test]
fn where_most_miss_a_round_they_are_waited_for_once_more() {
    let mut bench = Bench::running(1);
    for (round, waits) in [(1, true), (2, true), (3, false)] {
        bench.submit(A, 0, round).unwrap();
        assert_eq!(bench.group.open_round() == RoundNumber(round), waits, "round {round}");
        bench.tick(seconds(round));
        bench.read_all();
    }
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
    let tile = bench.tiles().next().expect("a tile is delivered");
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
    bench.attach(A, users(0..100)).unwrap();
    bench.attach(B, users(100..N)).unwrap();
    bench.dial_all(A, 0, 0..100);
    bench.dial_all(B, 0, 100..N);
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
    bench.attach(B, users(3..4)).unwrap();
    assert!(matches!(bench.out[0], Output::Close(A, Code::Superseded)));
    assert!(matches!(bench.out[1], Output::To(B, _)));
    assert_eq!(bench.submit(A, 3, 1), Err(Code::NotAttached));
    assert_eq!(bench.submit(A, 4, 1), Err(Code::NotAttached));
    bench.submit(B, 3, 1).unwrap();
    assert_eq!(bench.kinds_for_all(), [Kind::RoundEnd], "nobody else is attached");
}

#[test]
fn what_is_wrong_is_refused_by_name() {
    let mut bench = Bench::new(ServerSide::One, false, 2);
    let epoch = bench.group.attach(A, Epoch(1), false, &users(0..1), Duration::ZERO, &mut bench.out);
    assert_eq!(epoch.unwrap_err().code, Code::HelloEpochWrong);
    assert_eq!(bench.attach(A, users(N - 1..N + 1)).unwrap_err().code, Code::UserUnknown);
    bench.attach(A, users(0..10)).unwrap();
    assert_eq!(bench.dial(A, 0, 10, 0, &[0; 17]), Err(Code::NotAttached));
    assert_eq!(bench.dial(A, 0, u32::MAX, 0, &[0; 17]), Err(Code::NotAttached));
    assert_eq!(bench.dial(B, 0, 0, 0, &[0; 17]), Err(Code::NotAttached));
    assert_eq!(bench.dial(A, 0, 0, 2, &[0; 17]), Err(Code::SlotOutOfRange));
    assert_eq!(bench.dial(A, 0, 0, 0, &[0; 16]), Err(Code::LengthWrong));
    assert_eq!(bench.dial(A, 0, 0, 0, &[0xff; 17]), Err(Code::KeyPadding));
    let old = Dial::new(1, Epoch(9), MemberIndex(0), SlotIndex(0));
    let old = bench.group.dial(A, &old, &[0; 17], Duration::ZERO, &mut bench.out);
    assert_eq!(old.unwrap_err().code, Code::EpochWrong);
    bench.dial(A, 0, 0, 0, &[0; 17]).unwrap();
    assert_eq!(bench.dial(A, 0, 0, 0, &[0; 17]), Err(Code::AlreadyDialled));
    assert_eq!(bench.submit(A, 0, 1), Err(Code::EpochNotOpen));
    bench.dial_all(A, 0, 1..3);
    bench.tick(seconds(5));
    assert_eq!(bench.kinds_for_all(), [Kind::EpochOpen], "the time to dial is over");
    assert_eq!(bench.dial(A, 0, 5, 0, &[0; 17]), Err(Code::DialClosed));
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
    assert_eq!(bench.kinds_for_all(), [Kind::RoundEnd, Kind::RoundSkipped]);
    assert_eq!(bench.group.open_round(), RoundNumber(3));
    assert!(!bench.out.iter().any(|output| matches!(output, Output::CloseLagging)));
    bench.lagging = N / 4;
    bench.out.clear();
    (0..N).for_each(|sender| bench.submit(A, sender, 3).unwrap());
    assert_eq!(bench.kinds_for_all(), [Kind::RoundEnd]);
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
    assert_eq!(bench.kinds_for_all(), [Kind::RoundEnd]);
    bench.out.clear();

    for round in without + 1..=2 * without - 1 {
        (0..N).for_each(|sender| bench.submit(A, sender, round).unwrap());
    }
    let without = 2 * without;
    let ends = bench.kinds_for_all().len();
    for sender in 0..N {
        if sender == N / 2 {
            // Buffers that come back now are too late for it: some of its submissions were refused.
            bench.out.retain(|output| !matches!(output, Output::Deliver(_)));
        }
        bench.tick(seconds(1));
        assert_eq!(bench.kinds_for_all().len(), ends, "the others have not asked for it");
        assert_eq!(bench.submit(A, sender, without), Err(Code::RoundSkipped));
    }
    bench.tick(seconds(1));
    assert_eq!(bench.kinds_for_all()[ends..], [Kind::RoundSkipped]);
    bench.out.clear();
    (0..N).for_each(|sender| bench.submit(A, sender, without + 1).unwrap());
    assert_eq!(bench.kinds_for_all(), [Kind::RoundEnd]);
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
    assert_eq!(bench.kinds_for_all(), [Kind::RoundEnd]);
    assert_eq!(bench.attach(B, users(0..1)).unwrap_err().code, Code::ShuttingDown);
}
