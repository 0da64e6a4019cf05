//! How two linked servers change epochs together, and how they meet again where they have come apart.

use super::linked::linked;
use super::pair::{PEER_TIMEOUT, Pair};
use super::*;
use twincast_protocol::wire::link::{HeldDial, LinkFrame, Present};

fn changing() -> GroupConfig {
    GroupConfig { members_max: N + 2, epoch_rounds: 6, announce_rounds: 3, ..linked() }
}

#[test]
fn an_epoch_changes_on_both_with_those_whom_both_have_heard() {
    let mut pair = Pair::running(&changing());
    for side in &mut pair.sides {
        side.join(B, [500].map(UserId).to_vec()).unwrap();
        side.leave(A, 3).unwrap();
    }
    // Asked of one server only: not yet.
    pair.sides[0].leave(A, 4).unwrap();
    pair.sides[1].join(ConnectionId(9), [501].map(UserId).to_vec()).unwrap();
    pair.play(1..=3);
    let rosters = pair.sides.each_ref().map(|side| side.group.coming.as_ref().unwrap().roster.clone());
    assert_eq!(rosters[0], rosters[1]);
    assert_eq!(rosters[0].members(), N as usize);
    let has = |user| rosters[0].index_of(UserId(user)).is_some();
    assert!(has(500) && has(4) && !has(3) && !has(501));
    let announce = [0, 1].map(|side| {
        let mut frames = pair.sides[side].for_all().filter(|frame| kind(frame) == Kind::Announce);
        frames.next().unwrap().clone()
    });
    assert_eq!(announce[0], announce[1]);
    pair.dial_all(1, 0..N - 1);
    for side in &mut pair.sides {
        side.dial_id = 5000;
        side.dial(B, 1, N - 1, 0, &[0; 17]).unwrap();
    }
    pair.tick(pair.now);
    pair.play(4..=6);
    assert_eq!((pair.epochs(), pair.rounds()), ([1, 1], [7, 7]));
    assert!(pair.closed.is_empty());
}

#[test]
fn the_next_epoch_is_given_up_while_the_peer_is_absent_and_rounds_go_on() {
    let mut pair = Pair::running(&changing());
    pair.play(1..=3);
    pair.dial_all(1, 0..N);
    pair.clear();
    pair.cut();
    pair.play(4..=6);
    assert_eq!(pair.sides[0].submit(A, 0, 7), Err(Code::EpochNotOpen));
    pair.wait(PEER_TIMEOUT + millis(10));
    for side in &pair.sides {
        let told: Vec<Code> = side.for_all().filter_map(|frame| code(frame)).collect();
        assert_eq!(told, [Code::PeerAbsent, Code::EpochGivenUp]);
        assert_eq!(side.codes_to(A), vec![Code::DialHalf; N as usize]);
    }
    pair.clear();
    pair.play(7..=8);
    pair.connect();
    pair.pump();
    assert_eq!((pair.epochs(), pair.rounds()), ([0, 0], [9, 9]));
    // Announced again three rounds before round 13.
    pair.play(9..=10);
    pair.clear();
    pair.dial_all(1, 0..N);
    pair.play(11..=12);
    assert_eq!((pair.epochs(), pair.rounds()), ([1, 1], [13, 13]));
}

#[test]
fn an_epoch_that_was_not_agreed_in_time_does_not_hold_rounds_up() {
    let mut pair = Pair::running(&changing());
    // S2 does not hear the proposal.
    for round in 1..=6 {
        pair.sides[0].play(round..=round);
        let side = &mut pair.sides[0];
        for tile in 0..3_u32 {
            let word = Present {
                group: 7.into(),
                epoch: 0.into(),
                round: round.into(),
                present: u64::MAX.into(),
                tile: tile.into(),
                skipped: 0.into(),
            };
            side.group.peer(LinkFrame::Present(word), pair.now, &mut side.out).unwrap();
        }
    }
    assert_eq!(pair.sides[0].submit(A, 0, 7), Err(Code::EpochNotOpen));
    pair.sides[0].tick(PEER_TIMEOUT);
    assert_eq!(pair.sides[0].submit(A, 0, 7), Ok(()));
    assert_eq!(pair.sides[0].group.epoch(), Epoch(0));
}

#[test]
fn servers_in_different_epochs_begin_a_new_one_together() {
    let mut pair = Pair::running(&changing());
    for side in &mut pair.sides {
        side.join(B, [500].map(UserId).to_vec()).unwrap();
    }
    pair.play(1..=3);
    pair.dial_all(1, 0..N);
    pair.sides.iter_mut().for_each(|side| {
        side.dial_id = 9000;
        side.dial(B, 1, N, 0, &[0; 17]).unwrap();
    });
    pair.tick(pair.now);
    pair.play(4..=5);
    // S2 closes and opens epoch 1; its answer is lost, and S1 gives epoch 1 up.
    (0..2).for_each(|side| pair.sides[side].play(6..=6));
    pair.collect();
    while pair.deliver(0) {}
    while pair.deliver(1) {}
    pair.cut();
    pair.wait(2 * PEER_TIMEOUT);
    assert_eq!(pair.epochs(), [0, 1]);
    pair.clear();
    pair.connect();
    pair.pump();
    assert_eq!(pair.epochs(), [2, 2]);
    for side in &pair.sides {
        assert!(side.for_all().any(|frame| code(frame) == Some(Code::EpochMismatch)));
        let announce = side.for_all().find(|frame| kind(frame) == Kind::Announce).unwrap();
        let announce = Announce::parse(&announce[HEADER_BYTES..]).unwrap();
        let told = (announce.epoch.get(), announce.members.get(), announce.first_round.get());
        assert_eq!(told, (2, N, 8), "the first members; the round after the latest");
        assert!(side.group.seats.joins.contains(&UserId(500)), "who had joined asks again");
    }
    pair.dial_all(2, 0..N);
    assert_eq!(pair.rounds(), [8, 8]);
    pair.play(8..=8);
}

#[test]
fn a_server_that_was_started_anew_is_met_with_a_new_epoch() {
    // Both number their epochs from 0: only what they say in it shows that it is not the same.
    for (anew, dialled_before) in [(0, false), (0, true), (1, false), (1, true)] {
        let mut pair = Pair::running(&linked());
        pair.play(1..=4);
        pair.cut();
        let shape = *pair.sides[anew].group.shape();
        pair.sides[anew] = Bench::of(shape, None);
        pair.sides[anew].now = pair.now;
        pair.sides[anew].attach(A, users(0..N)).unwrap();
        if dialled_before {
            pair.sides[anew].dial_id = 1 << 40;
            pair.sides[anew].dial_all(A, 0, 0..N);
        }
        pair.connect();
        pair.pump();
        assert_eq!(pair.closed, [Code::EpochMismatch], "side {anew}");
        pair.connect();
        pair.pump();
        assert_eq!(pair.epochs(), [2, 2]);
        pair.dial_all(2, 0..N);
        assert_eq!(pair.rounds()[0], pair.rounds()[1]);
        let open = pair.rounds()[0];
        assert!(open > 4, "round {open}: they count on");
        pair.play(open..=open);
        assert_eq!(pair.rounds(), [open + 1; 2]);
    }
}

#[test]
fn a_server_that_lost_its_state_while_parts_are_pulled_is_noticed_by_its_dials() {
    let mut pair = Pair::new(&config(true, 1));
    pair.connect();
    pair.attach(A, users(0..N));
    pair.dial_all(0, 0..N);
    pair.cut();
    for anew in [1, 0] {
        let shape = *pair.sides[anew].group.shape();
        pair.sides[anew] = Bench::of(shape, None);
        pair.sides[anew].attach(A, users(0..N)).unwrap();
        let epoch = pair.sides[anew].group.epoch().0;
        pair.connect();
        pair.pump();
        pair.sides[anew].dial_id = 1 << 40;
        let _ = pair.sides[anew].dial(A, epoch, 0, 0, &[0; 17]);
        pair.tick(pair.now);
        if !pair.up {
            pair.connect();
            pair.pump();
        }
        assert_eq!(pair.epochs()[0], pair.epochs()[1], "side {anew}");
        assert!(pair.epochs()[0] > epoch, "side {anew}");
        pair.cut();
    }
}

#[test]
fn an_epoch_that_nobody_counts_to_changes_nothing_and_closes_the_link() {
    let mut pair = Pair::running(&changing());
    pair.play(1..=1);
    pair.cut();
    pair.clear();
    let standings = pair.sides.each_ref().map(|side| side.group.standing());
    for absurd in [
        LinkGroup { epoch: u32::MAX.into(), ..standings[1] },
        LinkGroup { epoch: (u32::MAX - 1).into(), ..standings[1] },
        LinkGroup { epoch: (u32::MAX - 4).into(), ..standings[1] },
        LinkGroup { round: u64::MAX.into(), ..standings[1] },
    ] {
        let side = &mut pair.sides[0];
        let told = side.group.link_up(Some(&absurd), pair.now, &mut side.out);
        assert_eq!(told, Err(Code::EpochMismatch), "{absurd:?}");
        assert!(side.out.is_empty(), "{absurd:?}");
    }
    assert_eq!((pair.epochs(), pair.rounds()), ([0, 0], [2, 2]));
    pair.connect();
    pair.play(2..=3);
    pair.dial_all(1, 0..N);
    pair.play(4..=6);
    assert_eq!((pair.epochs(), pair.rounds()), ([1, 1], [7, 7]));

    // Frames on a link that stands are refused likewise, up to the last epoch that there is.
    let last = Epoch(u32::MAX - 4);
    pair.cut();
    let near = LinkGroup { epoch: (last.0 - 1).into(), ..standings[1] };
    let side = &mut pair.sides[0];
    side.group.link_up(Some(&near), pair.now, &mut side.out).unwrap();
    assert_eq!(side.group.epoch(), last);
    let held = vec![HeldDial::new(1, MemberIndex(0), SlotIndex(0))];
    for epoch in [last, Epoch(u32::MAX)] {
        for frame in [
            LinkFrame::Held(GroupId(7), epoch, held.clone()),
            LinkFrame::Close(GroupId(7), epoch),
            LinkFrame::Close(GroupId(7), Epoch(u32::MAX)),
        ] {
            let _ = side.group.peer(frame, pair.now, &mut side.out);
        }
    }
    side.tick(pair.now + seconds(60));
    assert_eq!(side.group.epoch(), last);
}

#[test]
fn what_the_other_server_must_not_say_closes_the_link() {
    let mut pair = Pair::running(&changing());
    let change = |epoch, joins: &[u32], leaves: &[u32]| Change {
        group: GroupId(7),
        epoch: Epoch(epoch),
        first_round: RoundNumber(7),
        joins: joins.iter().copied().map(UserId).collect(),
        leaves: leaves.iter().copied().map(UserId).collect(),
    };
    let present = |epoch: u32, tile: u32| {
        LinkFrame::Present(Present {
            group: 7.into(),
            epoch: epoch.into(),
            round: 1.into(),
            present: 0.into(),
            tile: tile.into(),
            skipped: 0.into(),
        })
    };
    let far = Change { first_round: RoundNumber(2 + 6 + ROUNDS_APART_MAX), ..change(1, &[], &[]) };
    let wrong = [
        (0, LinkFrame::Propose(change(1, &[], &[])), Code::KindUnknown),
        (1, LinkFrame::Agree(change(1, &[], &[])), Code::KindUnknown),
        (0, LinkFrame::Hello(1, Vec::new()), Code::KindUnknown),
        (1, LinkFrame::Close(GroupId(8), Epoch(0)), Code::GroupUnknown),
        (1, LinkFrame::Propose(change(2, &[], &[])), Code::EpochMismatch),
        (1, LinkFrame::Propose(change(1, &[5], &[])), Code::EpochMismatch),
        (1, LinkFrame::Propose(change(1, &[], &[500])), Code::EpochMismatch),
        (1, LinkFrame::Propose(far), Code::EpochMismatch),
        (0, LinkFrame::Agree(change(2, &[], &[])), Code::EpochMismatch),
        (0, LinkFrame::Close(GroupId(7), Epoch(1)), Code::EpochMismatch),
        (1, LinkFrame::Close(GroupId(7), Epoch(1)), Code::EpochMismatch),
        (1, LinkFrame::Held(GroupId(7), Epoch(3), Vec::new()), Code::EpochMismatch),
        (1, present(1, 0), Code::EpochMismatch),
        (1, present(0, 3), Code::LengthWrong),
    ];
    for (side, frame, code) in wrong {
        let bench = &mut pair.sides[side];
        let said = bench.group.peer(frame.clone(), pair.now, &mut bench.out);
        assert_eq!(said, Err(code), "{frame:?} to side {side}");
    }
    let harmless = [
        LinkFrame::Propose(change(0, &[], &[])),
        LinkFrame::Held(GroupId(7), Epoch(0), Vec::new()),
        LinkFrame::Held(GroupId(7), Epoch(1), Vec::new()),
        LinkFrame::Close(GroupId(7), Epoch(0)),
    ];
    for frame in harmless {
        let bench = &mut pair.sides[1];
        assert_eq!(bench.group.peer(frame.clone(), pair.now, &mut bench.out), Ok(()), "{frame:?}");
    }
    // S1 takes no more than it proposed.
    pair.sides[0].play(1..=2);
    let side = &mut pair.sides[0];
    side.group.link_down(pair.now, &mut side.out);
    let standing = pair.sides[1].group.standing();
    let side = &mut pair.sides[0];
    let mine = LinkGroup { round: side.group.standing().round, ..standing };
    side.group.link_up(Some(&mine), pair.now, &mut side.out).unwrap();
    side.play(3..=4);
    side.tick(PEER_TIMEOUT);
    assert!(side.group.proposed.is_some());
    let more = LinkFrame::Agree(change(1, &[900], &[]));
    assert_eq!(side.group.peer(more, PEER_TIMEOUT, &mut side.out), Err(Code::EpochMismatch));
    let far = Change { first_round: RoundNumber(8 + 6 + ROUNDS_APART_MAX), ..change(1, &[], &[]) };
    let far = LinkFrame::Agree(far);
    assert_eq!(side.group.peer(far, PEER_TIMEOUT, &mut side.out), Err(Code::EpochMismatch));
    let earlier = LinkFrame::Agree(Change { first_round: RoundNumber(1), ..change(1, &[], &[]) });
    assert_eq!(side.group.peer(earlier, PEER_TIMEOUT, &mut side.out), Err(Code::EpochMismatch));
}

#[test]
fn parts_on_their_way_do_not_land_in_an_epoch_that_is_dialled_anew_under_the_same_number() {
    let shape = Shape::new(&GroupConfig { confirm: true, ..changing() }, ServerSide::Two);
    let mut bench = Bench::of(shape, MemoryBox::of(1 << 30));
    bench.attach(A, users(0..N)).unwrap();
    bench.dial_all(A, 0, 0..N - 1);
    (5..15).for_each(|at| bench.tick(seconds(at)));
    assert_eq!(bench.group.open_round(), RoundNumber::FIRST);
    let change = |leaves: std::ops::Range<u32>| {
        let (group, epoch, first_round) = (GroupId(7), Epoch(1), RoundNumber(9));
        Change { group, epoch, first_round, joins: Vec::new(), leaves: users(leaves) }
    };
    let begin = |bench: &mut Bench, sender| {
        let dial = Dial::new(7, Epoch(1), MemberIndex(sender), SlotIndex(0));
        bench.group.dial(A, &dial, &[0; 17], bench.now, &mut bench.out).unwrap();
        let head = PartsHead::new(Epoch(1), MemberIndex(sender), SlotIndex(0), Purpose::Confirmation);
        bench.group.parts_begin(A, &head).unwrap()
    };
    let given =
        |bench: &Bench, upload: &Upload| bench.group.coming.as_ref().unwrap().store.is_given(upload.whose);
    let whole = |bench: &mut Bench, upload: &Upload| {
        bench.group.parts_bytes(upload, 0, &vec![1; upload.bytes]);
        bench.group.parts_end(upload, bench.now, &mut bench.out).unwrap();
    };
    bench.group.announce(change(0..0), bench.now, &mut bench.out);
    let older = begin(&mut bench, 5);
    bench.group.drop_coming(&mut bench.out);
    bench.group.announce(change(3..4), bench.now, &mut bench.out);
    // User 6 has the index now that user 5 had, and as many bytes.
    let newer = begin(&mut bench, 5);
    whole(&mut bench, &older);
    assert!(!given(&bench, &newer), "what user 5 gave is not user 6's");
    whole(&mut bench, &newer);
    assert!(given(&bench, &newer));
}
