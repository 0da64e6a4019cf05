//! Rounds of records, one situation at a time, where both servers are honest.

use super::answer::*;
use super::*;
use crate::answer::Work;
use twincast_protocol::wire::Welcome;
use twincast_protocol::wire::link::LinkFrame;

fn nobody(_: u32, _: u32) -> Option<u32> {
    None
}

#[test]
fn every_query_opens_to_the_record_that_it_asks_for() {
    let target = |reader: u32, slot: u32| match (slot, reader % 3) {
        (0, _) => Some((reader * 7 + 3) % N),
        (_, 0) => None,
        _ => Some(129),
    };
    let mut answering = Answering::running(&answer_config(N, 2), target);
    for round in 1..=3 {
        answering.play(round, &[]);
        answering.check(round, &[]);
    }
    assert_eq!(answering.pair.rounds(), [4, 4]);
    for (side, blamed) in answering.pair.sides.iter().zip(&answering.blamed) {
        let sealed = side.out.iter().filter(|output| matches!(output, Output::Sealed(_))).count();
        assert_eq!((sealed, side.kinds_for_all()), (3, vec![]), "answers alone end a round");
        assert!(blamed.is_empty());
    }
}

#[test]
fn who_sends_nothing_is_absent_and_both_servers_sign_that() {
    let target = |reader: u32, _: u32| Some((reader * 11 + 5) % N);
    let mut answering = Answering::running(&answer_config(N, 1), target);
    answering.play(1, &[5, 64, 128, 129]);
    assert_eq!(answering.pair.rounds(), [1, 1], "they are waited for");
    answering.wait(seconds(1));
    answering.check(1, &[5, 64, 128, 129]);
    // They are not waited for again, and a record in the place of an absent one is read.
    answering.send(128, 2);
    answering.send(129, 2);
    answering.play(2, &[5, 64, 128, 129]);
    answering.check(2, &[5, 64]);
    assert_eq!(answering.pair.rounds(), [3, 3]);
    // A whole tile is absent: nobody sends.
    answering.send(3, 3);
    answering.wait(seconds(2));
    let all_but_one: Vec<u32> = (0..N).filter(|sender| *sender != 3).collect();
    answering.check(3, &all_but_one);
}

#[test]
fn one_sender_reaches_only_s1_and_nobody_elses_read_suffers() {
    let target = |reader: u32, slot: u32| Some(if slot == 0 { 9 } else { (reader + 1) % N });
    let mut answering = Answering::running(&answer_config(N, 2), target);
    for sender in (0..N).filter(|sender| *sender != 9) {
        answering.send(sender, 1);
    }
    let record = answering.record(9, 1, b"half");
    answering.give(0, 9, 1, &record).unwrap();
    answering.wait(seconds(1));
    answering.check(1, &[9]);
    assert_eq!(answering.blamed, [vec![], vec![]], "no record is no fault");
    assert_eq!([0, 1].map(|side| answering.told(side, A)), [vec![(Code::RecordHalf, 9, 1)], vec![]]);
    answering.play(2, &[]);
    answering.check(2, &[]);
}

#[test]
fn a_record_that_its_sender_has_not_signed_is_refused_and_its_sender_absent() {
    let target = |reader: u32, _: u32| Some((reader + 1) % N);
    let mut answering = Answering::running(&answer_config(N, 1), target);
    for sender in (0..N).filter(|sender| ![70, 80].contains(sender)) {
        answering.send(sender, 1);
    }
    // Signed for another round, and a byte of another record: the latter at one server alone.
    let old = answering.record(70, 2, b"old");
    (0..2).for_each(|side| answering.give(side, 70, 1, &old).unwrap());
    let mut record = answering.record(80, 1, b"bent");
    answering.give(0, 80, 1, &record).unwrap();
    record[3] ^= 1;
    answering.give(1, 80, 1, &record).unwrap();
    answering.settle();
    answering.check(1, &[70, 80]);
    let [wrong, half] = [Code::SignatureWrong, Code::RecordHalf];
    assert_eq!(answering.told(0, A), [(wrong, 70, 1), (half, 80, 1)]);
    assert_eq!(answering.told(1, A), [(wrong, 70, 1), (wrong, 80, 1)]);
    assert_eq!(answering.blamed, [vec![], vec![]], "the other server has nothing that it said it had");
}

#[test]
fn a_tile_with_a_wrong_signature_is_verified_alone_the_next_time() {
    let mut answering = Answering::running(&answer_config(N, 1), |reader, _| Some(reader));
    for (round, suspected) in [(1, false), (2, true), (3, false)] {
        let mut record = answering.record(70, round, b"");
        record[9] ^= u8::from(round == 1);
        for sender in (0..N).filter(|sender| *sender != 70) {
            answering.send(sender, round);
        }
        (0..2).for_each(|side| answering.give(side, 70, round, &record).unwrap());
        for threads in &answering.threads {
            let tiles: Vec<_> = threads
                .todo
                .iter()
                .filter_map(|work| match work {
                    Work::Verify { rows, alone, .. } => Some((rows.tile, *alone)),
                    _ => None,
                })
                .collect();
            assert_eq!(tiles, [(0, false), (2, false), (1, suspected)], "round {round}");
        }
        answering.settle();
    }
}

#[test]
fn a_connection_that_sends_wrong_signatures_again_and_again_is_closed_and_no_other() {
    let mut answering = Answering::new(&answer_config(N, 1), N);
    answering.pair.attach(B, users(70..80));
    answering.pair.attach(A, (0..70).chain(80..N).map(UserId).collect());
    answering.dial(0, 0..N, |reader, _| Some((reader + 1) % N));
    answering.settle();
    answering.pair.clear();
    let (most, first) = (u64::from(WRONG_SIGNATURES_MAX), [70, 71, 72]);
    let mut wrong = 0;
    for round in 1.. {
        for sender in (0..N).filter(|sender| !first.contains(sender)) {
            answering.send(sender, round);
        }
        for sender in first {
            let mut record = answering.record(sender, round, b"");
            record[100] ^= 1;
            (0..2).for_each(|side| answering.give(side, sender, round, &record).unwrap());
            wrong += 1;
        }
        answering.settle();
        answering.check(round, &first);
        let closed = |side: &Bench| side.out.iter().any(|output| matches!(output, Output::Close(..)));
        assert_eq!(answering.pair.sides.each_ref().map(closed), [wrong >= most; 2], "round {round}");
        if wrong >= most {
            break;
        }
    }
    for side in 0..2 {
        let closed =
            answering.pair.sides[side].out.extract_if(.., |output| matches!(output, Output::Close(..)));
        assert!(matches!(closed.collect::<Vec<_>>()[..], [Output::Close(B, Code::SignatureFlood)]));
        assert_eq!(answering.told(side, A), []);
    }
    // Who sits on it is absent, and nobody waits for it.
    let gone: Vec<u32> = (70..80).collect();
    let round = answering.pair.rounds()[0];
    answering.play(round, &gone);
    answering.check(round, &gone);
}

/// Epochs never come again under the same keys.
#[test]
fn a_pair_that_starts_again_is_in_a_later_epoch_and_what_was_signed_before_is_refused() {
    let config = answer_config(N, 1);
    let target = |reader: u32, _: u32| Some((reader + 1) % N);
    let mut before = Answering::started_at(&config, N, [seconds(1_000); 2]);
    before.open(N, target);
    assert_eq!(before.pair.epochs(), [1_000; 2]);
    let old = before.record(5, 1, b"old");
    before.play(1, &[]);
    before.check(1, &[]);
    let mut after = Answering::started_at(&config, N, [seconds(1_001); 2]);
    after.open(N, target);
    assert_eq!(after.pair.epochs(), [1_001; 2]);
    for sender in (0..N).filter(|sender| *sender != 5) {
        after.send(sender, 1);
    }
    (0..2).for_each(|side| after.give(side, 5, 1, &old).unwrap());
    after.settle();
    after.check(1, &[5]);
    assert_eq!([0, 1].map(|side| after.told(side, A)), [[(Code::SignatureWrong, 5, 1)]; 2]);
    assert_eq!(after.blamed, [vec![], vec![]]);
    // Given, it is what it is.
    let given = GroupConfig { first_epoch: Some(7), ..config };
    assert_eq!(Answering::started_at(&given, N, [seconds(1_000); 2]).pair.epochs(), [7; 2]);
}

#[test]
fn servers_that_start_in_different_seconds_come_together() {
    for unix in [[1_000, 1_007], [1_007, 1_000]] {
        let mut answering = Answering::started_at(&answer_config(N, 1), N, unix.map(seconds));
        assert_eq!(answering.pair.epochs(), [1_008; 2]);
        answering.open(N, |reader, _| Some(reader));
        answering.play(1, &[]);
        answering.check(1, &[]);
        assert_eq!(answering.pair.closed, []);
    }
}

#[test]
fn an_epoch_that_is_given_up_is_forgotten_by_the_threads() {
    let mut answering = Answering::running(&answer_config(N, 1), |reader, _| Some(reader));
    answering.send(3, 1);
    (0..64).filter(|sender| *sender != 3).for_each(|sender| answering.send(sender, 1));
    answering.settle();
    answering.pair.cut();
    answering.settle();
    assert!(answering.threads.iter().all(|threads| threads.queries.is_some()), "a link may come again");
    // S2 has lost its state.
    let standing = answering.pair.sides[1].group.standing();
    let anew = LinkGroup { epoch: 5.into(), open: 0, ..standing };
    let side = &mut answering.pair.sides[0];
    side.group.link_up(Some(&anew), seconds(1), &mut side.out).unwrap();
    answering.settle();
    assert!(answering.threads[0].queries.is_none());
}

#[test]
fn records_of_the_next_round_are_verified_and_nothing_of_them_is_told_before_it_opens() {
    let mut answering = Answering::running(&answer_config(N, 1), |reader, _| Some(reader));
    for sender in 0..70 {
        answering.send(sender, 2);
    }
    answering.collect();
    let verifies = |work: &Work| matches!(work, Work::Verify { round: RoundNumber(2), .. });
    assert!(answering.threads.iter().all(|threads| threads.todo.iter().filter(|w| verifies(w)).count() == 1));
    answering.settle();
    assert!(answering.threads.iter().all(|threads| threads.todo.is_empty()));
    for sender in 0..N {
        answering.send(sender, 1);
    }
    answering.collect();
    let told = |frame: &LinkFrame| matches!(frame, LinkFrame::TileHash(about, _) if about.round.get() == 2);
    assert!(!answering.pair.queues.iter().flatten().any(told));
    let third = answering.record(0, 3, b"");
    assert_eq!(answering.give(0, 0, 3, &third), Err(Code::RoundTooFar));
    answering.settle();
    assert_eq!(answering.pair.rounds(), [2, 2]);
    let again = answering.record(0, 2, b"");
    assert_eq!(answering.give(0, 0, 2, &again), Err(Code::DuplicateSubmission));
    for sender in 70..N {
        answering.send(sender, 2);
    }
    answering.settle();
    answering.check(1, &[]);
    answering.check(2, &[]);
}

#[test]
fn a_round_by_the_clock_is_answered_at_its_time_and_not_before() {
    let config = GroupConfig { round_mode: RoundMode::Timed, interval_ms: 100, ..answer_config(N, 1) };
    let mut answering = Answering::running(&config, |reader, _| Some(reader));
    answering.play(1, &[]);
    answering.tick(millis(90));
    assert!(
        answering.answers[0].is_empty() && answering.answers[1].is_empty(),
        "all is added, and it is not time"
    );
    answering.wait(millis(10));
    answering.check(1, &[]);
    answering.play(2, &[4]);
    answering.wait(millis(100));
    answering.check(2, &[4]);
}

#[test]
fn a_user_without_a_verifying_key_is_refused_by_name() {
    let config = GroupConfig { members_max: 12, ..answer_config(10, 1) };
    let mut answering = Answering::new(&config, 9);
    let refused = |attached: Result<(), Refusal>| attached.map_err(|refusal| (refusal.code, refusal.sender));
    let side = &mut answering.pair.sides[0];
    assert_eq!(refused(side.attach(A, users(0..10))), Err((Code::KeyUnknown, 9)));
    assert_eq!(refused(side.attach(A, users(0..11))), Err((Code::UserUnknown, 10)));
    assert_eq!(refused(side.join(A, users(8..11))), Err((Code::KeyUnknown, 9)));
    assert_eq!(refused(side.attach(A, users(0..9))), Ok(()));
}

#[test]
fn welcome_says_what_the_group_is() {
    let mut answering = Answering::new(&answer_config(N, 3), N);
    answering.pair.attach(A, users(0..N));
    let frame = answering.pair.sides[1].frames_to(A)[0];
    let welcome = Welcome::parse(&frame[HEADER_BYTES..]).unwrap();
    assert_eq!((welcome.delivery, welcome.linked, welcome.scheme), (1, 1, 0));
    assert_eq!((welcome.frame_bytes.get(), welcome.share_bytes.get(), welcome.slots.get()), (272, 352, 3));
    assert_eq!((welcome.confirm_tile_senders.get(), welcome.key_tile_senders.get()), (0, 0));
    let shape = answering.pair.sides[0].group.shape();
    assert_eq!((shape.submit_body_bytes(N as usize), shape.dial_body_bytes(N as usize)), (368, 24 + 17));
    assert!(shape.part_runs().is_empty() && shape.box_bytes() == 0);
}

#[test]
fn a_session_key_is_checked_and_a_void_one_asks_for_nothing() {
    let mut answering = Answering::new(&answer_config(N, 1), N);
    answering.pair.attach(A, users(0..N));
    let side = &mut answering.pair.sides[0];
    assert_eq!(side.dial(A, 0, 0, 0, &[0xff; 17]), Err(Code::KeyPadding));
    assert_eq!(side.dial(A, 0, 0, 0, &[0; 16]), Err(Code::LengthWrong));
    assert_eq!(side.dial(A, 0, 0, 1, &[0; 17]), Err(Code::SlotOutOfRange));
    let mut key = [0xff; 17];
    key[16] = 3;
    side.dial(A, 0, 7, 0, &key).unwrap();
    answering.dial(0, 0..5, nobody);
    answering.wait(seconds(6));
    assert_eq!(answering.pair.rounds(), [1, 1]);
    for sender in 0..5 {
        answering.send(sender, 1);
    }
    let record = answering.record(7, 1, b"");
    assert_eq!(answering.give(0, 7, 1, &record), Err(Code::NotDialled));
    answering.wait(seconds(2));
    let mut answer = [1; 352];
    answering.answers[0][&1].set.gather(7, 0, &mut answer);
    assert_eq!(answer, [0; 352], "the dial that one server has is void");
}

#[test]
fn readers_who_hold_all_answers_cost_rounds_and_no_memory() {
    let mut answering = Answering::running(&answer_config(10, 1), |reader, _| Some(reader));
    let most = ROUNDS_BUFFERED as u64;
    for round in 1..=most {
        answering.play(round, &[]);
        // S2's readers are quick.
        answering.answers[1].clear();
    }
    answering.play(most + 1, &[]);
    assert_eq!(answering.skipped, [vec![most + 1], vec![most + 1]]);
    assert_eq!(answering.pair.rounds(), [most + 2, most + 2]);
    answering.answers[0].pop_first();
    answering.play(most + 2, &[]);
    answering.check(most + 2, &[]);
    answering.play(most + 3, &[]);
    assert_eq!(answering.skipped[0], [most + 1, most + 3]);
}

#[test]
fn rounds_without_rows_are_left_out_until_the_threads_give_some_back() {
    let mut answering = Answering::running(&answer_config(10, 1), |reader, _| Some(reader));
    // S1's threads do nothing while S2 leaves out what they have.
    for round in 1..=2 {
        for sender in 0..10 {
            let record = answering.record(sender, round, b"");
            answering.give(0, sender, round, &record).unwrap();
        }
    }
    let skip = |answering: &mut Answering, round: u64| {
        let mut present = match timing_skip(round) {
            LinkFrame::Present(present) => present,
            _ => unreachable!(),
        };
        present.group = 7.into();
        answering.hear(0, LinkFrame::Present(present)).unwrap();
    };
    skip(&mut answering, 1);
    skip(&mut answering, 2);
    // One table is left, for one of the two rounds that take records.
    let record = answering.record(0, 4, b"");
    assert_eq!(answering.give(0, 0, 4, &record), Err(Code::RoundSkipped));
    answering.settle();
    let record = answering.record(0, 5, b"");
    skip(&mut answering, 3);
    skip(&mut answering, 4);
    assert_eq!(answering.give(0, 0, 5, &record), Ok(()));
}

fn timing_skip(round: u64) -> LinkFrame {
    LinkFrame::Present(twincast_protocol::wire::link::Present {
        group: 7.into(),
        epoch: 0.into(),
        round: round.into(),
        present: 0.into(),
        tile: 0.into(),
        skipped: 1.into(),
    })
}

#[test]
fn many_laggards_cost_both_servers_a_round() {
    let mut answering = Answering::running(&answer_config(N, 1), |reader, _| Some(reader));
    answering.pair.sides[0].lagging = N / 4 + 1;
    answering.play(1, &[]);
    answering.check(1, &[]);
    answering.pair.sides[0].lagging = 0;
    answering.tick(answering.pair.now);
    assert_eq!(answering.skipped, [[2], [2]]);
    answering.play(3, &[]);
    answering.check(3, &[]);
}

#[test]
fn an_epoch_changes_and_who_joins_reads_and_is_read() {
    let config = GroupConfig { members_max: 12, epoch_rounds: 4, announce_rounds: 2, ..answer_config(10, 2) };
    let mut answering = Answering::new(&config, 12);
    answering.pair.attach(A, users(0..10));
    answering.dial(0, 0..10, |reader, slot| (slot == 0).then_some(reader));
    answering.pair.sides.iter_mut().for_each(|side| side.join(B, users(11..12)).unwrap());
    let mut round = 1;
    while answering.pair.sides[0].group.members_of(Epoch(1)).is_none() {
        answering.play(round, &[]);
        answering.check(round, &[]);
        round += 1;
    }
    // Dialled while the old one runs.
    answering.dial(1, 0..11, |reader, slot| if slot == 0 { Some(10) } else { Some(reader) });
    while answering.pair.epochs() == [0, 0] {
        answering.play(round, &[]);
        answering.check(round, &[]);
        round += 1;
    }
    assert_eq!(answering.pair.epochs(), [1, 1]);
    assert_eq!(answering.pair.rounds(), [round, round]);
    for round in round..round + 2 {
        answering.play(round, &[]);
        answering.check(round, &[]);
        assert_eq!(answering.read(round, 3)[0], Read::Message(message(10, round)), "who joined is read");
    }
}

#[test]
fn a_server_that_stops_finishes_its_round_and_begins_none() {
    let mut answering = Answering::running(&answer_config(N, 1), |reader, _| Some(reader));
    answering.send(0, 1);
    answering.pair.sides[1].group.stop();
    assert!(!answering.pair.sides[1].group.is_drained());
    for sender in 1..N {
        answering.send(sender, 1);
    }
    answering.settle();
    answering.check(1, &[]);
    assert!(answering.pair.sides[1].group.is_drained());
    let record = answering.record(0, 2, b"");
    assert_eq!(answering.give(1, 0, 2, &record), Err(Code::ShuttingDown));
}

#[test]
fn a_round_whose_number_was_used_in_an_epoch_that_was_given_up_is_left_out() {
    use crate::group::answer::{AnswerRounds, RowsPool};
    let shape = Shape::new(&answer_config(10, 1), ServerSide::One).with_link(millis(300));
    let roster = Roster::initial(shape.group, Epoch(3), 10);
    for (used_to, soon) in [(None, 5), (Some(4), 5), (Some(5), 6), (Some(6), 7)] {
        let mut pool = RowsPool::default();
        pool.used_to = used_to.map(RoundNumber);
        let rounds = AnswerRounds::new(&shape, &roster, RoundNumber(5), pool, Duration::ZERO);
        assert_eq!((rounds.open(), rounds.soon_open()), (RoundNumber(5), RoundNumber(soon)));
    }
}
