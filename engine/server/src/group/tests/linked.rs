//! What two linked servers do together with rounds and dials, one situation at a time.

use super::pair::{PEER_TIMEOUT, Pair};
use super::*;
use twincast_protocol::wire::RoundEnd;
use twincast_protocol::wire::link::{LinkFrame, Present};

pub(super) fn linked() -> GroupConfig {
    config(false, 1)
}

fn ends(bench: &Bench) -> Vec<RoundEnd> {
    let frames = bench.for_all().filter(|frame| kind(frame) == Kind::RoundEnd);
    frames.map(|frame| RoundEnd::parse(&frame[HEADER_BYTES..]).unwrap()).collect()
}

#[test]
fn half_a_submission_harms_nobody_but_its_sender() {
    let mut pair = Pair::running(&linked());
    for sender in 0..N {
        (0..2).filter(|side| sender != 5 || *side == 0).for_each(|side| pair.submit(side, sender, 1));
    }
    pair.pump();
    assert!(pair.sides[0].deliveries().is_empty(), "S2 has not said who is present there");
    // S2 waits for sender 5 until the round's time is over, and S1 for S2's word.
    pair.wait(PEER_TIMEOUT - millis(10));
    assert!(pair.sides[0].deliveries().is_empty());
    pair.wait(millis(1000) - PEER_TIMEOUT + millis(10));
    for (side, unagreed) in pair.sides.iter().zip([3, 0]) {
        let present: Vec<u64> = side.deliveries().iter().map(|delivery| delivery.3).collect();
        let first = if unagreed == 0 { !(1 << 5) } else { u64::MAX };
        assert_eq!(present, [first, u64::MAX, 0b11]);
        assert_eq!(ends(side)[0].unagreed.get(), unagreed);
    }
}

#[test]
fn who_reaches_one_server_alone_costs_nobody_time_where_nobody_waits_for_it() {
    let mut pair = Pair::new(&GroupConfig { members: 70, ..linked() });
    pair.connect();
    for side in &mut pair.sides {
        side.attach(A, users(0..69)).unwrap();
        side.attach(B, users(69..70)).unwrap();
        side.dial_all(A, 0, 0..69);
        side.dial_all(B, 0, 69..70);
    }
    pair.tick(pair.now);
    pair.clear();
    let two = &mut pair.sides[1];
    two.group.detach(B, two.now, &mut two.out);
    pair.sides[0].submit(B, 69, 1).unwrap();
    for sender in 0..69 {
        (0..2).for_each(|side| pair.submit(side, sender, 1));
    }
    pair.pump();
    assert_eq!(pair.rounds(), [2, 2], "nothing was waited for");
    for side in &pair.sides {
        let present: Vec<u64> = side.deliveries().iter().map(|delivery| delivery.3).collect();
        assert_eq!(present, [u64::MAX, 0b1_1111]);
        let end = ends(side)[0];
        assert_eq!((end.unagreed.get(), end.tiles.get(), end.senders_present.get()), (0, 2, 69));
    }
}

#[test]
fn the_cells_of_who_is_in_one_server_alone_are_zeros() {
    let mut pair = Pair::running(&linked());
    for sender in 0..N {
        (0..2).filter(|side| sender != 5 || *side == 0).for_each(|side| pair.submit(side, sender, 1));
    }
    // S2 does not wait for whoever plays sender 5.
    let bench = &mut pair.sides[1];
    bench.attach(B, users(5..6)).unwrap();
    pair.pump();
    let tile = pair.sides[0].tiles().next().expect("released").clone();
    let mut cells = vec![1; tile.user_bytes()];
    tile.gather(MemberIndex(0), 0, &mut cells);
    for (sender, cell) in cells.chunks(64).enumerate() {
        assert!(cell.iter().all(|&byte| byte == if sender == 5 { 0 } else { 7 }), "sender {sender}");
    }
    assert_eq!(ends(&pair.sides[0])[0].senders_present.get(), N - 1);
}

#[test]
fn tiles_are_released_in_order_whatever_order_the_words_come_in() {
    let mut pair = Pair::running(&linked());
    pair.sides[0].play(1..=1);
    assert!(pair.sides[0].deliveries().is_empty());
    for tile in [2, 1, 0] {
        let word = Present {
            group: 7.into(),
            epoch: 0.into(),
            round: 1.into(),
            present: u64::from(tile).into(),
            tile: tile.into(),
            skipped: 0.into(),
        };
        let side = &mut pair.sides[0];
        assert!(side.deliveries().is_empty());
        side.group.peer(LinkFrame::Present(word), pair.now, &mut side.out).unwrap();
    }
    assert_eq!(pair.sides[0].deliveries(), [(1, 0, 0, 0), (1, 1, 0, 1), (1, 2, 0, 2)]);
}

#[test]
fn a_round_waits_for_a_silent_peer_so_long_and_for_one_that_is_gone_not_at_all() {
    let mut pair = Pair::running(&linked());
    pair.sides[0].play(1..=1);
    pair.sides[0].tick(PEER_TIMEOUT - millis(1));
    assert!(pair.sides[0].deliveries().is_empty());
    pair.sides[0].tick(PEER_TIMEOUT);
    assert_eq!(ends(&pair.sides[0])[0].unagreed.get(), 3);
    pair.now = PEER_TIMEOUT;
    pair.cut();
    pair.sides[0].play(2..=2);
    let end = ends(&pair.sides[0])[1];
    assert_eq!((end.unagreed.get(), end.senders_present.get()), (3, N));
    // A link that goes while a round waits.
    pair.connect();
    pair.pump();
    assert_eq!(pair.rounds(), [3, 3], "S2 leaves out what S1 has passed");
    pair.sides[0].play(3..=3);
    assert_eq!(ends(&pair.sides[0]).len(), 2);
    pair.cut();
    assert_eq!(ends(&pair.sides[0]).len(), 3);
}

#[test]
fn a_round_that_one_leaves_out_is_left_out_by_both() {
    let mut pair = Pair::running(&linked());
    pair.sides[0].lagging = N / 4 + 1;
    pair.play(1..=1);
    pair.sides[0].lagging = 0;
    pair.tick(pair.now);
    for side in &pair.sides {
        assert_eq!(side.kinds_for_all(), [Kind::RoundEnd, Kind::RoundSkipped]);
    }
    assert_eq!(pair.rounds(), [3, 3]);
    pair.play(3..=3);
    assert_eq!(pair.rounds(), [4, 4]);
}

#[test]
fn a_round_that_began_at_the_other_server_alone_is_not_left_open() {
    let mut pair = Pair::running(&linked());
    pair.sides[0].play(1..=1);
    pair.wait(seconds(2));
    assert_eq!(pair.rounds(), [2, 2], "S2 sealed it at its time limit, with nobody in it");
    pair.play(2..=2);
    assert_eq!(pair.rounds(), [3, 3]);
}

#[test]
fn a_dial_takes_effect_on_both_or_on_neither_and_its_sender_is_told() {
    let mut pair = Pair::new(&linked());
    pair.connect();
    pair.attach(A, users(0..N));
    pair.dial_all(0, 0..5);
    for side in &pair.sides {
        assert_eq!(side.kinds_to(A)[2..], [Kind::Dialled; 5]);
    }
    pair.clear();
    // One server each, and two dials that are not the same.
    pair.sides[0].dial(A, 0, 6, 0, &[0; 17]).unwrap();
    pair.sides[1].dial(A, 0, 7, 0, &[0; 17]).unwrap();
    pair.sides[0].dial_id = 1000;
    pair.sides.iter_mut().for_each(|side| side.dial(A, 0, 8, 0, &[0; 17]).unwrap());
    pair.wait(seconds(6));
    for (side, half) in pair.sides.iter_mut().zip([[6, 8], [7, 8]]) {
        let errors: Vec<u32> = side
            .frames_to(A)
            .into_iter()
            .map(|frame| {
                assert_eq!(code(frame), Some(Code::DialHalf));
                ErrorFrame::read(&frame[HEADER_BYTES..]).unwrap().0.sender.get()
            })
            .collect();
        assert_eq!(errors, half);
        assert_eq!(side.counted(Counted::DialsVoid), 2);
        assert_eq!(side.kinds_for_all(), [Kind::EpochOpen]);
        for (sender, dialled) in [(4, Ok(())), (6, Err(Code::NotDialled)), (7, Err(Code::NotDialled))] {
            assert_eq!(side.submit(A, sender, 1), dialled, "{sender}");
        }
    }
}

#[test]
fn a_dial_that_reached_one_server_can_be_made_anew() {
    let mut pair = Pair::new(&linked());
    pair.connect();
    pair.attach(A, users(0..N));
    pair.sides[1].dial(A, 0, 6, 0, &[0; 17]).unwrap();
    pair.tick(pair.now);
    pair.clear();
    pair.sides.iter_mut().for_each(|side| side.dial_id = 77);
    pair.sides.iter_mut().for_each(|side| side.dial(A, 0, 6, 0, &[1; 17]).unwrap());
    pair.tick(pair.now);
    for side in &mut pair.sides {
        assert_eq!(side.kinds_to(A), [Kind::Dialled]);
        assert_eq!(side.dial(A, 0, 6, 0, &[1; 17]), Err(Code::AlreadyDialled));
    }
}

#[test]
fn dials_wait_for_an_absent_peer_and_start_over_at_the_time_limit() {
    let mut pair = Pair::new(&linked());
    pair.attach(A, users(0..N));
    pair.dial_all(0, 0..N);
    pair.wait(seconds(4));
    for side in &pair.sides {
        assert!(!side.kinds_to(A).contains(&Kind::Dialled) && side.kinds_for_all().is_empty());
    }
    pair.clear();
    pair.wait(seconds(1));
    for side in &pair.sides {
        assert_eq!(side.for_all().filter_map(|frame| code(frame)).collect::<Vec<_>>(), [Code::PeerAbsent]);
        assert_eq!(side.codes_to(A), vec![Code::DialHalf; N as usize]);
    }
    // The peer is there in the middle of the next try.
    pair.dial_all(0, 0..N);
    pair.connect();
    pair.pump();
    assert_eq!(pair.rounds(), [1, 1]);
}

#[test]
fn settings_or_members_that_differ_close_the_group_until_they_agree() {
    let mut pair = Pair::running(&linked());
    pair.cut();
    let standings = pair.sides.each_ref().map(|side| side.group.standing());
    let other_settings = LinkGroup { settings_hash: [0; 32], ..standings[1] };
    let other_members = LinkGroup { roster_hash: [0; 32], ..standings[1] };
    for theirs in [None, Some(other_settings), Some(other_members)] {
        let side = &mut pair.sides[0];
        side.attach(A, users(0..N)).unwrap();
        side.out.clear();
        side.group.link_up(theirs.as_ref(), pair.now, &mut side.out).unwrap();
        assert!(matches!(side.out[..], [Output::Close(A, Code::SettingsDiffer)]), "{theirs:?}");
        assert_eq!(side.attach(A, users(0..1)).unwrap_err().code, Code::SettingsDiffer);
        side.group.link_down(pair.now, &mut side.out);
        assert_eq!(side.attach(A, users(0..1)).unwrap_err().code, Code::SettingsDiffer);
        side.group.link_up(Some(&standings[1]), pair.now, &mut side.out).unwrap();
    }
    assert_eq!(pair.sides[0].attach(A, users(0..1)), Ok(()));
}

#[test]
fn a_server_that_stops_finishes_its_round_and_begins_none_for_its_peer() {
    let mut pair = Pair::running(&linked());
    pair.submit(1, 0, 1);
    pair.sides[1].group.stop();
    assert!(!pair.sides[1].group.is_drained());
    pair.wait(seconds(2));
    assert!(pair.sides[1].group.is_drained());
    // S1 goes on to seal what S2 takes nothing for.
    pair.sides[0].play(2..=2);
    pair.wait(millis(50));
    assert!(pair.sides[1].group.is_drained());
}

#[test]
fn what_a_server_said_before_it_lost_its_state_makes_no_dial_effective() {
    let mut pair = Pair::new(&linked());
    pair.connect();
    pair.attach(A, users(0..N));
    pair.dial_all(0, 6..7);
    assert!(pair.sides[0].kinds_to(A).contains(&Kind::Dialled));
    pair.cut();
    let shape = *pair.sides[1].group.shape();
    pair.sides[1] = Bench::of(shape, None);
    pair.sides[1].attach(A, users(0..N)).unwrap();
    pair.connect();
    pair.pump();
    pair.dial_all(0, 0..5);
    pair.wait(seconds(6));
    assert_eq!(pair.rounds(), [1, 1]);
    for (side, told) in pair.sides.iter_mut().zip([vec![Code::DialHalf], vec![]]) {
        assert_eq!(side.codes_to(A), told);
        assert_eq!(side.submit(A, 6, 1), Err(Code::NotDialled));
        assert_eq!(side.submit(A, 4, 1), Ok(()));
    }
}
