//! What servers and senders do to rounds of records that none who is honest does, and links that break.

use super::answer::*;
use super::pair::PEER_TIMEOUT;
use super::*;
use crate::answer::Work;
use twincast_protocol::answer::record::sign_absence;
use twincast_protocol::answer::table::{Digest, digest, tree_hash};
use twincast_protocol::answer::{RECORD_BYTES, RecordContext};
use twincast_protocol::identity::SigningKey;
use twincast_protocol::wire::link::{LinkFrame, Present, RecordTile};

/// Members of the group in which S1 is honest and a test says S2's words: one tile.
const FEW: u32 = 10;
const ALL: u64 = 0x3ff;

fn blame(user: u32, fault: Fault) -> Blame {
    Blame { round: RoundNumber(1), user: UserId(user), fault }
}

/// S1 with the records of all but some, and the words of an S2 that the test makes up.
struct Alone {
    answering: Answering,
    records: Vec<[u8; RECORD_BYTES]>,
}

impl Alone {
    fn new() -> Alone {
        let mut answering = Answering::running(&answer_config(FEW, 1), |reader, _| Some(reader));
        let records = (0..FEW).map(|sender| answering.record(sender, 1, b"one")).collect();
        Alone { answering, records }
    }

    /// S1 has all records and has said so.
    fn told() -> Alone {
        let mut alone = Alone::new();
        for sender in 0..FEW {
            let record = alone.records[sender as usize];
            alone.answering.give(0, sender, 1, &record).unwrap();
        }
        while alone.answering.work(0) {}
        assert!(matches!(alone.said()[..], [LinkFrame::TileHash(..)]));
        alone
    }

    /// What S1 has said since.
    fn said(&mut self) -> Vec<LinkFrame> {
        while self.answering.work(0) {}
        self.answering.pair.queues[1].drain(..).collect()
    }

    fn hear(&mut self, frame: LinkFrame) -> Result<(), Code> {
        let heard = self.answering.hear(0, frame);
        while self.answering.work(0) {}
        heard
    }

    fn digests(&self) -> Vec<Digest> {
        self.records.iter().map(digest).collect()
    }

    fn about(&self, senders: u64) -> RecordTile {
        self.answering.about(1, 0, senders)
    }

    /// S2 has these records of all senders.
    fn say_digests(&mut self, digests: Vec<Digest>) {
        let about = self.about(ALL);
        self.hear(LinkFrame::TileHash(about, tree_hash(&digests))).unwrap();
        self.hear(LinkFrame::Digests(about, digests)).unwrap();
    }

    /// S2's own word that somebody is absent.
    fn absence(&self, sender: u32) -> [u8; 64] {
        let context = RecordContext {
            group: GroupId(7),
            epoch: Epoch(0),
            round: RoundNumber(1),
            sender: MemberIndex(sender),
        };
        sign_absence(&context, &SigningKey::from_seed(&[2; 32]))
    }

    /// S2 agrees that sender 3 is absent.
    fn end_without_3(&mut self) {
        let (about, signed) = (self.about(1 << 3), self.absence(3));
        self.hear(LinkFrame::Absences(about, vec![signed])).unwrap();
        assert_eq!(self.answering.answers[0][&1].senders_present, FEW - 1);
    }
}

#[test]
fn a_sender_who_gives_the_servers_different_records_reaches_nobody_and_is_named() {
    let target = |reader: u32, slot: u32| Some(if slot == 0 { 70 } else { (reader + 1) % N });
    let mut answering = Answering::running(&answer_config(N, 2), target);
    for sender in (0..N).filter(|sender| ![70, 71].contains(sender)) {
        answering.send(sender, 1);
    }
    for sender in [70, 71] {
        for side in 0..2 {
            let record = answering.record(sender, 1, &[side as u8]);
            answering.give(side, sender, 1, &record).unwrap();
        }
    }
    answering.settle();
    answering.check(1, &[70, 71]);
    let named = [70, 71].map(|user| blame(user, Fault::SenderSignedTwo));
    assert_eq!(answering.blamed, [named, named]);
    let half = [70, 71].map(|user| (Code::RecordHalf, user, 1));
    assert_eq!([0, 1].map(|side| answering.told(side, A)), [half, half]);
    answering.play(2, &[]);
    answering.check(2, &[]);
}

#[test]
fn a_server_that_claims_another_digest_is_named() {
    let mut alone = Alone::told();
    let mut digests = alone.digests();
    digests[3][0] ^= 1;
    alone.say_digests(digests);
    let said = alone.said();
    let shown = |frame: &LinkFrame| matches!(frame, LinkFrame::Shown(about, all) if all == &[alone.records[3]] && about.senders.get() == 8);
    assert!(said.iter().any(shown), "{said:?}");
    let (about, record) = (alone.about(1 << 3), alone.records[3]);
    for _ in 0..2 {
        alone.hear(LinkFrame::Shown(about, vec![record])).unwrap();
    }
    alone.end_without_3();
    assert_eq!(alone.answering.blamed[0], [blame(3, Fault::PeerShowedFalse)], "once");
}

#[test]
fn a_server_that_shows_a_record_that_is_not_signed_is_named() {
    let mut alone = Alone::told();
    let mut record = alone.records[3];
    record[9] ^= 1;
    let mut digests = alone.digests();
    digests[3] = digest(&record);
    alone.say_digests(digests);
    let about = alone.about(1 << 3);
    alone.hear(LinkFrame::Shown(about, vec![record])).unwrap();
    alone.end_without_3();
    assert_eq!(alone.answering.blamed[0], [blame(3, Fault::PeerShowedFalse)]);
}

#[test]
fn a_server_that_says_who_is_absent_and_has_shown_nothing_is_named() {
    let mut alone = Alone::told();
    let mut digests = alone.digests();
    digests[3] = [9; 32];
    alone.say_digests(digests);
    assert!(alone.answering.blamed[0].is_empty());
    alone.end_without_3();
    assert_eq!(alone.answering.blamed[0], [blame(3, Fault::PeerShowedNothing)]);
}

#[test]
fn a_server_that_falls_silent_costs_the_round_and_is_accused_of_nothing() {
    for up in [true, false] {
        let mut alone = Alone::told();
        let mut digests = alone.digests();
        digests[3] = [9; 32];
        alone.say_digests(digests);
        if !up {
            let side = &mut alone.answering.pair.sides[0];
            side.group.link_down(Duration::ZERO, &mut side.out);
        }
        for ms in [299, 300] {
            assert!(alone.answering.skipped[0].is_empty(), "it is waited for");
            alone.answering.pair.sides[0].tick(millis(ms));
            alone.answering.collect();
        }
        assert_eq!(alone.answering.skipped[0], [1]);
        assert_eq!(alone.answering.pair.sides[0].counted(Counted::RoundsUnagreed), 1);
        assert_eq!(alone.answering.blamed[0], []);
    }
}

/// A sender signs two records, and what the servers show of them is on its way for longer than either waits.
#[test]
fn a_sender_with_two_records_and_a_slow_link_make_no_honest_server_accuse_the_other() {
    let mut answering = Answering::running(&answer_config(N, 1), |reader, _| Some(reader));
    for sender in (0..N).filter(|sender| *sender != 70) {
        answering.send(sender, 1);
    }
    for side in 0..2 {
        let record = answering.record(70, 1, &[side as u8]);
        answering.give(side, 70, 1, &record).unwrap();
    }
    let is_shown = |frame: Option<&LinkFrame>| matches!(frame, Some(LinkFrame::Shown(..)));
    loop {
        let worked = answering.work(0) | answering.work(1);
        let held = [0, 1].map(|side| is_shown(answering.pair.queues[side].front()));
        let delivered = [0, 1].map(|side| !held[side] && answering.deliver(side));
        if !worked && delivered == [false; 2] {
            assert_eq!(held, [true; 2]);
            break;
        }
    }
    for at in [PEER_TIMEOUT - millis(1), PEER_TIMEOUT] {
        assert!(answering.skipped.iter().all(Vec::is_empty));
        answering.pair.now = at;
        answering.pair.sides.iter_mut().for_each(|side| side.tick(at));
        answering.collect();
    }
    assert_eq!(answering.skipped, [[1], [1]]);
    answering.settle();
    assert_eq!((&answering.blamed, &answering.pair.closed), (&[vec![], vec![]], &vec![]));
    answering.play(2, &[]);
    answering.check(2, &[]);
}

#[test]
fn what_is_judged_after_its_round_still_names_somebody() {
    let mut alone = Alone::told();
    let record = alone.answering.record(3, 1, b"two");
    let mut digests = alone.digests();
    digests[3] = digest(&record);
    alone.say_digests(digests);
    let (about, signed) = (alone.about(1 << 3), alone.absence(3));
    alone.answering.hear(0, LinkFrame::Shown(about, vec![record])).unwrap();
    let judge = alone.answering.threads[0].todo.pop_front().unwrap();
    assert!(matches!(judge, Work::Judge { .. }));
    alone.hear(LinkFrame::Absences(about, vec![signed])).unwrap();
    assert!(alone.answering.answers[0].contains_key(&1), "nobody waits for the judge");
    alone.answering.threads[0].todo.push_back(judge);
    alone.said();
    assert_eq!(alone.answering.blamed[0], [blame(3, Fault::SenderSignedTwo)]);
}

#[test]
fn a_server_whose_signature_of_absence_is_wrong_is_named_and_the_round_left_out() {
    let mut alone = Alone::new();
    for sender in (0..FEW).filter(|sender| ![3, 4].contains(sender)) {
        let record = alone.records[sender as usize];
        alone.answering.give(0, sender, 1, &record).unwrap();
    }
    alone.answering.pair.sides[0].tick(seconds(1));
    let [LinkFrame::TileHash(about, hash)] = alone.said()[..] else { panic!("S1 tells its tile") };
    alone.hear(LinkFrame::TileHash(about, hash)).unwrap();
    let absent = alone.about(1 << 3 | 1 << 4);
    assert!(
        matches!(&alone.said()[..], [LinkFrame::Absences(about, signed)] if *about == absent && signed.len() == 2)
    );
    let signed = vec![alone.absence(3), alone.absence(3)];
    alone.hear(LinkFrame::Absences(absent, signed)).unwrap();
    assert_eq!(alone.answering.pair.closed, [Code::SignatureWrong]);
    assert_eq!(alone.answering.blamed[0], [blame(3, Fault::PeerSignedFalse)]);
    assert_eq!((&alone.answering.skipped[0], alone.answering.answers[0].len()), (&vec![1], 0));
}

#[test]
fn frames_that_make_no_sense_close_the_link_and_change_nothing() {
    let about = |round, tile, senders| RecordTile {
        group: 7.into(),
        epoch: 0.into(),
        round: RoundNumber(round).0.into(),
        senders: u64::into(senders),
        tile: u32::into(tile),
        reserved: 0.into(),
    };
    let hash = |round, tile, senders| LinkFrame::TileHash(about(round, tile, senders), [1; 32]);
    let mut alone = Alone::told();
    let digests = alone.digests();
    let [own, other] = [tree_hash(&digests), [5; 32]];
    let of_epoch =
        |epoch: u32| LinkFrame::TileHash(RecordTile { epoch: epoch.into(), ..about(1, 0, 1) }, own);
    let present = Present {
        group: 7.into(),
        epoch: 0.into(),
        round: 1.into(),
        present: 1.into(),
        tile: 0.into(),
        skipped: 0.into(),
    };
    let nonsense = [
        (hash(1, 1, 0), Code::LengthWrong),
        (hash(1, 0, 1 << FEW), Code::LengthWrong),
        (hash((1 << 62) + 1, 0, 0), Code::RoundTooFar),
        (of_epoch(1), Code::EpochMismatch),
        (LinkFrame::Present(present), Code::KindUnknown),
        (LinkFrame::Digests(about(1, 0, ALL), digests.clone()), Code::EpochMismatch),
        (LinkFrame::Digests(about(2, 0, 0), vec![]), Code::EpochMismatch),
        (LinkFrame::Shown(about(1, 0, 1), vec![[0; RECORD_BYTES]]), Code::EpochMismatch),
        (LinkFrame::Absences(about(1, 0, 1), vec![[0; 64]]), Code::EpochMismatch),
        (LinkFrame::Absences(about(1, 0, ALL), vec![[0; 64]; 10]), Code::EpochMismatch),
    ];
    for (frame, code) in nonsense {
        assert_eq!(alone.hear(frame.clone()), Err(code), "{frame:?}");
    }
    // What is over, and what is far ahead, is nothing to anybody.
    for frame in [hash(0, 0, 1), LinkFrame::Shown(about(0, 0, 1), vec![]), hash(1 << 40, 0, 1)] {
        assert_eq!(alone.hear(frame), Ok(()));
    }
    assert!(alone.said().is_empty());
    // A tile that differs: other digests than were said, other records than differ, others who are absent.
    let mut differing = digests.clone();
    differing[3] = [9; 32];
    alone.hear(LinkFrame::TileHash(about(1, 0, ALL), tree_hash(&differing))).unwrap();
    assert_eq!(
        alone.hear(LinkFrame::TileHash(about(1, 0, ALL), other)),
        Err(Code::EpochMismatch),
        "another hash"
    );
    assert_eq!(
        alone.hear(LinkFrame::TileHash(about(1, 0, 1), own)),
        Err(Code::EpochMismatch),
        "another hash"
    );
    assert_eq!(
        alone.hear(LinkFrame::TileHash(about(1, 0, ALL), tree_hash(&differing))),
        Ok(()),
        "said again"
    );
    for (senders, said) in [(ALL, digests), (ALL >> 1, differing[..9].to_vec())] {
        let frame = LinkFrame::Digests(about(1, 0, senders), said);
        assert_eq!(alone.hear(frame), Err(Code::EpochMismatch), "other digests");
    }
    alone.hear(LinkFrame::Digests(about(1, 0, ALL), differing.clone())).unwrap();
    assert_eq!(alone.hear(LinkFrame::Digests(about(1, 0, ALL), differing)), Ok(()), "said again");
    for senders in [1 << 2, 0] {
        let count = u64::count_ones(senders) as usize;
        let shown = LinkFrame::Shown(about(1, 0, senders), vec![[0; RECORD_BYTES]; count]);
        assert_eq!(alone.hear(shown), Err(Code::EpochMismatch));
        let absences = LinkFrame::Absences(about(1, 0, senders), vec![[0; 64]; count]);
        assert_eq!(alone.hear(absences), Err(Code::EpochMismatch));
    }
    alone.end_without_3();
    // In a group that broadcasts there are no such frames.
    let mut pair = super::pair::Pair::running(&super::linked::linked());
    let side = &mut pair.sides[0];
    let heard = side.group.peer(hash(1, 0, 1), Duration::ZERO, &mut side.out);
    assert_eq!(heard, Err(Code::KindUnknown));
}

#[test]
fn hashes_of_later_rounds_are_kept_for_a_few_and_no_more() {
    let mut alone = Alone::told();
    for round in 1..100 {
        let about = alone.answering.about(round, 0, 1);
        alone.answering.hear(0, LinkFrame::TileHash(about, [round as u8; 32])).unwrap();
    }
    let words = &alone.answering.pair.sides[0].group.words;
    let kept = (1..100).filter(|round| words.hash(RoundNumber(*round), 0).is_some()).count() as u64;
    assert_eq!(kept, 1 + PEER_ROUNDS_AHEAD_MAX);
}

#[test]
fn a_peer_that_goes_in_mid_round_costs_that_round_and_a_new_link_ends_the_trouble() {
    let mut answering = Answering::running(&answer_config(N, 1), |reader, _| Some(reader));
    answering.play(1, &[]);
    // A tile is agreed and added, the others are not.
    for sender in 0..64 {
        answering.send(sender, 2);
    }
    answering.settle();
    answering.pair.cut();
    for sender in 64..N {
        answering.send(sender, 2);
    }
    answering.settle();
    answering.wait(millis(290));
    assert!(answering.skipped.iter().all(Vec::is_empty), "a link may come again");
    answering.wait(millis(10));
    assert_eq!(answering.skipped, [[2], [2]]);
    // Without a link no round is answered.
    answering.play(3, &[]);
    answering.wait(millis(300));
    assert_eq!(answering.skipped, [[2, 3], [2, 3]]);
    answering.pair.connect();
    answering.settle();
    for round in 4..6 {
        answering.play(round, &[]);
        answering.check(round, &[]);
    }
}

#[test]
fn a_peer_that_is_silent_costs_a_round_and_is_waited_for_as_long_as_it_may_wait() {
    let mut answering = Answering::running(&answer_config(N, 1), |reader, _| Some(reader));
    for sender in 0..N {
        let record = answering.record(sender, 1, b"");
        answering.give(0, sender, 1, &record).unwrap();
    }
    while answering.work(0) {}
    let side = &mut answering.pair.sides[0];
    side.tick(millis(1299));
    assert_eq!(side.group.open_round(), RoundNumber(1));
    side.tick(millis(1300));
    assert_eq!(side.group.open_round(), RoundNumber(2));
    assert!(side.kinds_for_all().contains(&Kind::RoundSkipped));
    assert!(!side.out.iter().any(|output| matches!(output, Output::Answers(_))), "never without its word");
}

/// A frame about records that may mean something.
fn some_frame(rng: &mut Xoshiro256PlusPlus, open: u64, records: &[[u8; RECORD_BYTES]]) -> LinkFrame {
    let senders = match rng.random_range(0..9) {
        0 => 0,
        8 => 1 << 3,
        1 => rng.random(),
        2 => 1 << rng.random_range(0..FEW),
        3 => ALL & rng.random::<u64>(),
        _ => ALL,
    };
    let far = [0, 0, 0, 0, 0, 1, 2, 9, 1 << 40, u64::MAX][rng.random_range(0..10)];
    let about = RecordTile {
        group: 7.into(),
        epoch: u32::from(rng.random_bool(0.02)).into(),
        round: open.saturating_add(far).saturating_sub(u64::from(rng.random_bool(0.1))).into(),
        senders: senders.into(),
        tile: u32::from(rng.random_bool(0.05)).into(),
        reserved: 0.into(),
    };
    let mut digests: Vec<Digest> = records.iter().map(digest).collect();
    if rng.random_bool(0.5) {
        digests[3] = [9; 32];
    }
    let count = senders.count_ones() as usize;
    match rng.random_range(0..5) {
        0 => LinkFrame::TileHash(about, tree_hash(&digests)),
        1 => LinkFrame::Digests(about, digests.into_iter().cycle().take(count).collect()),
        2 => LinkFrame::Shown(about, records.iter().copied().cycle().take(count).collect()),
        3 => LinkFrame::Absences(about, vec![[7; 64]; count]),
        _ => LinkFrame::Present(Present {
            group: 7.into(),
            epoch: 0.into(),
            round: about.round,
            present: 0.into(),
            tile: about.tile,
            skipped: u32::from(rng.random_bool(0.1)).into(),
        }),
    }
}

#[test]
fn nothing_that_a_server_says_of_records_panics_and_rounds_end() {
    let (mut ended, mut taken, mut refused, mut blamed) = (0, 0, 0, 0);
    for seed in 0..20 {
        println!("seed {seed}");
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut alone = Alone::new();
        let mut records = alone.records.clone();
        let mut of_round = 1;
        for step in 0..1500 {
            let open = alone.answering.pair.rounds()[0];
            if of_round != open {
                of_round = open;
                records = (0..FEW).map(|sender| alone.answering.record(sender, open, b"")).collect();
            }
            let sender = rng.random_range(0..FEW);
            let _ = alone.answering.give(0, sender, open, &records[sender as usize]);
            match alone.answering.hear(0, some_frame(&mut rng, open, &records)) {
                Ok(()) => taken += 1,
                Err(_) => refused += 1,
            }
            let at = rng.random_range(0..4);
            alone.answering.work_at(0, at);
            if !alone.answering.pair.up {
                // A wrong signature closed it.
                alone.answering.pair.connect();
            }
            alone.answering.pair.sides[0].tick(millis(10 * step));
            alone.answering.collect();
            alone.answering.pair.queues[1].clear();
        }
        ended += alone.answering.pair.rounds()[0] - 1;
        blamed += alone.answering.blamed[0].len();
        for (index, blame) in alone.answering.blamed[0].iter().enumerate() {
            assert!(!alone.answering.blamed[0][..index].contains(blame), "named once: {blame:?}");
        }
    }
    assert!(
        ended > 100 && taken > 1_000 && refused > 1_000 && blamed > 4,
        "{ended}, {taken}, {refused}, {blamed}"
    );
}

/// A round with an absent sender and one that signs two records, in as small steps as there are; after so many of
/// them the link breaks, and comes again after a while. Returns the steps that were made, and which servers answered.
fn broken_after(steps: usize, gap: Duration) -> (usize, [bool; 2]) {
    let what = format!("after {steps} steps, for {gap:?}");
    let mut answering = Answering::running(&answer_config(70, 1), |reader, _| Some(reader));
    for sender in (0..70).filter(|sender| ![3, 4, 68].contains(sender)) {
        answering.send(sender, 1);
    }
    for side in 0..2 {
        let record = answering.record(4, 1, &[side as u8]);
        answering.give(side, 4, 1, &record).unwrap();
    }
    answering.pair.now = seconds(1);
    answering.pair.sides.iter_mut().for_each(|side| side.tick(seconds(1)));
    let mut made = 0;
    while made < steps
        && (answering.work(made % 2)
            || answering.deliver(made % 2)
            || answering.work(1 - made % 2)
            || answering.deliver(1 - made % 2))
    {
        made += 1;
    }
    answering.collect();
    answering.pair.cut();
    answering.wait(gap);
    answering.pair.connect();
    answering.settle();
    answering.wait(seconds(2));
    let answered = answering.answers.each_ref().map(|answers| answers.contains_key(&1));
    for (answered, skipped) in answered.iter().zip(&answering.skipped) {
        assert_eq!(skipped.contains(&1), !answered, "{what}: answered, or left out and said so");
    }
    if answered == [true; 2] {
        // One root, one list, and every reader gets what it asked for.
        answering.check(1, &[3, 4, 68]);
    }
    assert_eq!(answering.pair.closed, [], "{what}");
    for blamed in &answering.blamed {
        assert!(blamed.iter().all(|named| *named == blame(4, Fault::SenderSignedTwo)), "{what}: {blamed:?}");
        assert!(blamed.len() <= 1, "{what}: named once");
    }
    let round = answering.pair.rounds()[0];
    assert_eq!(answering.pair.rounds(), [round; 2], "{what}");
    answering.send(3, round);
    answering.send(68, round);
    answering.play(round, &[3, 68]);
    answering.check(round, &[]);
    (made, answered)
}

/// One server may have all of the other's words and answer, and the other one may not and leave the round out: then its
/// readers have one answer, which is none.
#[test]
fn a_link_that_breaks_anywhere_in_a_round_leaves_one_table_or_none_and_the_next_round_works() {
    for (gap, none_at_all) in [(Duration::ZERO, false), (2 * PEER_TIMEOUT, true)] {
        let (mut steps, mut both, mut one, mut none) = (0, 0, 0, 0);
        loop {
            let (made, answered) = broken_after(steps, gap);
            match answered {
                [true, true] => both += 1,
                [false, false] => none += 1,
                _ => one += 1,
            }
            if made < steps {
                break;
            }
            steps += 1;
        }
        println!("{gap:?}: {both} answered by both, {one} by one, {none} by none");
        assert!(steps > 20 && both > 0 && (none > 0) == none_at_all, "{steps}, {both}, {one}, {none}");
    }
}
