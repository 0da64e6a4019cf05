//! Accountable groups on two linked servers: what is signed, what is shown, and what is refused.

use super::pair::Pair;
use super::parts::confirmation;
use super::*;
use crate::accountable::{Certificates, RoundEndMaker, SignedRound};
use crate::limits::{EPOCHS_AHEAD_MAX, HEADERS_WAITING_MAX};
use signer::{Signers, beside, entry, root, sha256};
use std::rc::Rc;
use std::sync::Mutex;
use twincast_protocol::accountable::Certificate;
use twincast_protocol::accountable::headers::Headers;
#[cfg(feature = "fault-swap-half")]
use twincast_protocol::accountable::{
    blame::Verdict,
    evidence::{About, Evidence, GivenBy},
};
use twincast_protocol::identity::{SigningKey, VerifyingKey};
use twincast_protocol::statements;
use twincast_protocol::wire::{FetchHeaders, SignedRoot, SignedRoundEnd, Welcome};

mod refusals;
mod rotation;
#[path = "../../../tests/common/signer.rs"]
mod signer;

const MEMBERS: u32 = 70;
const SLOTS: u32 = 2;
const HEADER_ROUNDS: u32 = 3;
/// The last member has a connection of its own, `B`.
const LONER: u32 = MEMBERS - 1;

fn connection(member: u32) -> ConnectionId {
    if member == LONER { B } else { A }
}

fn accountable() -> GroupConfig {
    GroupConfig { accountable: true, header_rounds: HEADER_ROUNDS, members: MEMBERS, ..config(true, SLOTS) }
}

/// Accounts that both servers know, and that operators may change.
#[derive(Debug)]
struct Accounts(Mutex<HashMap<UserId, Certificate>>);

impl Certificates for Accounts {
    fn key(&self, _: GroupId, user: UserId) -> Option<VerifyingKey> {
        self.0.lock().unwrap().get(&user).map(|certificate| certificate.key)
    }

    fn certificate(&self, _: GroupId, user: UserId) -> Option<Certificate> {
        self.0.lock().unwrap().get(&user).copied()
    }
}

/// Two servers, and everybody who is honest.
struct Scene {
    pair: Pair,
    signers: Signers,
    accounts: Arc<Accounts>,
    /// What was given to each server, by round and sender.
    given: [HashMap<(u64, u32), Vec<u8>>; 2],
}

impl Scene {
    fn new(config: &GroupConfig, seed: u64) -> Scene {
        Scene::of(config, seed, |_| {})
    }

    /// `change`: what is otherwise at a server.
    fn of(config: &GroupConfig, seed: u64, change: impl Fn(&mut Accounting)) -> Scene {
        let signers = Signers::new(config.id, 0, config.members, config.slots, config.frame_bytes, seed);
        let mut pair = Pair::new(config);
        let accounts = (0..config.members).map(|user| (UserId(user), signers.certificate(user))).collect();
        let accounts = Arc::new(Accounts(Mutex::new(accounts)));
        // The same keys as the signers': drawn first of the same seed.
        let mut again = Signers::new(config.id, 0, config.members, config.slots, config.frame_bytes, seed);
        for (index, side) in pair.sides.iter_mut().enumerate() {
            let unused = SigningKey::from_seed(&[0; 32]);
            let mut accounting = Accounting {
                group: GroupId(config.id),
                side: ServerSide::BOTH[index],
                signing: std::mem::replace(&mut again.servers[index], unused),
                accounts: accounts.clone(),
                #[cfg(feature = "fault-swap-half")]
                fault: None,
            };
            change(&mut accounting);
            let shape = *side.group.shape();
            side.group = Group::new(shape, MemoryBox::of(1 << 30), None).with_accounting(accounting.into());
        }
        pair.connect();
        pair.attach(A, users(0..LONER));
        pair.attach(B, users(LONER..config.members));
        Scene { pair, signers, accounts, given: [HashMap::new(), HashMap::new()] }
    }

    fn running(seed: u64) -> Scene {
        Scene::running_with(seed, |_| {})
    }

    fn running_with(seed: u64, change: impl Fn(&mut Accounting)) -> Scene {
        let mut scene = Scene::of(&accountable(), seed, change);
        scene.dial_all();
        for side in 0..2 {
            (0..MEMBERS)
                .for_each(|sender| (0..SLOTS).for_each(|slot| scene.confirm(side, sender, slot).unwrap()));
        }
        scene.pair.tick(scene.pair.now);
        assert_eq!(scene.pair.rounds(), [1, 1], "open on both");
        scene.pair.clear();
        scene
    }

    fn dial(&mut self, side: usize, sender: u32, slot: u32, tail: &[u8]) -> Result<(), Code> {
        let (id, epoch) = (self.signers.dialled(sender, slot).signed.dial_id, self.signers.epoch);
        let dial = Dial::new(id, epoch, MemberIndex(sender), SlotIndex(slot));
        let bench = &mut self.pair.sides[side];
        bench
            .group
            .dial(connection(sender), &dial, tail, bench.now, &mut bench.out)
            .map_err(|refusal| refusal.code)
    }

    fn dial_all(&mut self) {
        for side in 0..2 {
            for (sender, slot) in (0..self.signers.members).flat_map(|s| (0..SLOTS).map(move |k| (s, k))) {
                let tail = self.signers.dial_tail(side, sender, slot);
                self.dial(side, sender, slot, &tail).unwrap();
            }
        }
        self.pair.tick(self.pair.now);
    }

    fn confirm(&mut self, side: usize, sender: u32, slot: u32) -> Result<(), Code> {
        let dialled = self.signers.dialled(sender, slot);
        let (seed, parts) = (dialled.seed, dialled.parts[1].clone());
        let head = PartsHead { epoch: self.signers.epoch.0.into(), ..confirmation(sender, slot) };
        let bench = &mut self.pair.sides[side];
        let (group, now, out) = (&mut bench.group, bench.now, &mut bench.out);
        let given = match side {
            0 => group.parts_seed(connection(sender), &head, &seed, now, out),
            _ => group.parts_begin(connection(sender), &head).and_then(|upload| {
                for (index, piece) in parts.chunks(1000).enumerate() {
                    group.parts_bytes(&upload, index * 1000, piece);
                }
                group.parts_end(&upload, now, out)
            }),
        };
        given.map_err(|refusal| refusal.code)
    }

    fn submit(&mut self, side: usize, round: u64, sender: u32, shares: &[u8]) -> Result<(), Code> {
        let submit = Submit::new(RoundNumber(round), MemberIndex(sender), false);
        let bench = &mut self.pair.sides[side];
        let taken = bench.group.submit(connection(sender), &submit, shares, bench.now, 0, &mut bench.out);
        self.given[side].insert((round, sender), shares.to_vec());
        taken.map_err(|refusal| refusal.code)
    }

    /// Everybody but these gives both servers what it has to.
    fn play_but(&mut self, round: u64, but: &[u32]) {
        for sender in (0..MEMBERS).filter(|sender| !but.contains(sender)) {
            let uploads = self.signers.uploads(round, sender);
            (0..2).for_each(|side| self.submit(side, round, sender, &uploads[side]).unwrap());
        }
        self.pair.pump();
    }

    /// The round that ended last.
    fn ended(&self, side: usize) -> Arc<SignedRound> {
        let ended = self.pair.sides[side].out.iter().rev().find_map(|output| match output {
            Output::RoundEnd(signed) => Some(signed.clone()),
            _ => None,
        });
        ended.expect("a round has ended")
    }

    /// ROUND_END for a connection that plays these, made in pieces as slabs take it.
    fn round_end(&self, side: usize, users: &[u32]) -> SignedRoundEnd {
        let users: Rc<[MemberIndex]> = users.iter().copied().map(MemberIndex).collect();
        let mut maker = RoundEndMaker::new(self.ended(side), users.clone());
        let bytes = maker.bytes();
        let mut until = 0;
        while maker.made().len() < bytes {
            until = (until + 100).min(bytes);
            maker.make(until, &mut 1);
        }
        let mut again = RoundEndMaker::new(self.ended(side), users);
        again.make(usize::MAX, &mut usize::MAX.clone());
        assert!(maker.made() == again.made(), "the same however it is made");
        assert_eq!(maker.made().len(), bytes);
        SignedRoundEnd::read(&maker.made()[HEADER_BYTES..], self.signers.members).unwrap()
    }

    /// The cell that a recipient got of a sender in a round.
    fn cell(&self, side: usize, round: u64, slot: u32, sender: u32, recipient: u32) -> Vec<u8> {
        let tile = self.pair.sides[side].tiles().find(|tile| {
            let head = tile.head();
            (head.round.0, head.slot.0, head.tile) == (round, slot, sender / 64) && tile.is_message()
        });
        let tile = tile.expect("it was delivered");
        let mut cells = vec![0; tile.user_bytes()];
        tile.gather(MemberIndex(recipient), 0, &mut cells);
        cells.chunks(tile.cell_bytes()).nth(sender as usize % 64).unwrap().to_vec()
    }

    fn fetch(&mut self, side: usize, round: u64, user: u32, slot: u32, tile: u32) -> Result<(), Code> {
        let epoch = self.signers.epoch;
        let fetch = FetchHeaders::new(RoundNumber(round), epoch, MemberIndex(user), SlotIndex(slot), tile);
        let bench = &mut self.pair.sides[side];
        bench.group.fetch_headers(A, &fetch, &mut bench.out).map_err(|refusal| refusal.code)
    }

    /// The HEADERS so far, and forgets them.
    fn headers(&mut self, side: usize) -> Vec<Headers> {
        let bench = &mut self.pair.sides[side];
        bench.group.answer_fetches(1 << 30, &mut bench.out);
        let is_headers =
            |output: &mut Output| matches!(output, Output::To(A, frame) if kind(frame) == Kind::Headers);
        let frames = bench.out.extract_if(.., is_headers);
        let read = |output| match output {
            Output::To(_, frame) => Headers::read(&frame[HEADER_BYTES..]).unwrap(),
            _ => unreachable!(),
        };
        frames.map(read).collect()
    }

    /// Whose turn comes first once this round has ended.
    fn in_turn(round: u64) -> u32 {
        (0..MEMBERS).find(|member| (round + u64::from(*member)).is_multiple_of(HEADER_ROUNDS.into())).unwrap()
    }
}

#[test]
fn a_round_end_is_each_connections_own_and_headers_lead_to_its_roots() {
    let mut scene = Scene::running(1);
    // Round 2 lacks one at both servers, and one at S1 alone.
    scene.play_but(1, &[]);
    scene.pair.clear();
    scene.play_but(2, &[3, 66]);
    let half = scene.signers.uploads(2, 66);
    scene.submit(1, 2, 66, &half[1]).unwrap();
    scene.pair.wait(seconds(2));
    let user = Scene::in_turn(2);
    for side in 0..2 {
        let end = scene.round_end(side, &[user, 69]);
        let server = scene.signers.servers[side].verifying_key();
        let (group, epoch, round, of) =
            (scene.signers.group, scene.signers.epoch, RoundNumber(2), ServerSide::BOTH[side]);
        assert_eq!(end.present, [!(1 << 3), 0b11_1011]);
        let numbers =
            (end.end.round.get(), end.end.tiles.get(), end.end.senders_present.get(), end.end.users.get());
        assert_eq!(numbers, (2, 4, MEMBERS - 2, 2));
        let roster_hash = *scene.ended(side).roster().hash();
        let receipt = statements::receipt(group, epoch, round, of, &roster_hash, &end.present);
        assert!(server.verify(&receipt, &end.receipt));
        for (member, SignedRoot { root, signature }) in [user, 69].into_iter().zip(&end.roots) {
            let statement = statements::delivery(group, epoch, round, of, UserId(member), root);
            assert!(server.verify(&statement, signature), "member {member}");
        }
        let mut leaves = Vec::new();
        let mut blinds = Vec::new();
        for (slot, tile) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            // Another turn of the same member for each tile.
            scene.pair.sides[side].group.header_fetches = HeaderFetches::default();
            scene.fetch(side, 2, user, slot, tile).unwrap();
            let headers = scene.headers(side).pop().expect("it is answered at once");
            assert!(headers.verify(group, of, UserId(user), &server));
            assert_eq!(headers.delivery_root(), Some(end.roots[0].root), "slot {slot}, tile {tile}");
            let mut hashes = vec![2];
            for sender in 64 * tile..MEMBERS.min(64 * tile + 64) {
                let (front, opening) = headers.parts(sender % 64).unwrap();
                let blind = &front[8..24];
                blinds.push(blind.to_vec());
                let cell = scene.cell(side, 2, slot, sender, user);
                let rows = scene.given[side].get(&(2, sender)).filter(|_| ![3, 66].contains(&sender));
                let mut expected =
                    entry(&scene.signers, side, sender, slot, user, &cell, rows.map(Vec::as_slice), blind);
                expected.resize(front.len() + opening.len(), 0);
                assert!([front, opening].concat() == expected, "sender {sender}");
                match rows {
                    Some(rows) => assert_eq!(cell, scene.signers.cell(side, sender, slot, user, rows)),
                    None => assert!(cell.iter().all(|byte| *byte == 0)),
                }
                hashes.extend(sha256(&[blind, &sender.to_le_bytes(), &sha256(&[&cell])]));
            }
            leaves.push((sha256(&[&hashes]), headers.path.as_flattened().to_vec()));
        }
        let hashes: Vec<_> = leaves.iter().map(|(hash, _)| *hash).collect();
        assert_eq!(root(&hashes), end.roots[0].root);
        for (index, (_, path)) in leaves.iter().enumerate() {
            let mut expected = Vec::new();
            beside(&hashes, index, &mut expected);
            assert!(*path == expected);
        }
        let drawn = blinds.len();
        blinds.sort_unstable();
        blinds.dedup();
        assert_eq!(blinds.len(), drawn, "no blind serves twice");
    }
}

#[test]
fn headers_are_shown_once_a_turn_of_rounds_that_are_kept_and_to_their_recipient() {
    let mut scene = Scene::running(2);
    let last = u64::from(3 * HEADER_ROUNDS);
    for round in 1..=last {
        scene.play_but(round, &[]);
        scene.pair.sides.iter_mut().for_each(Bench::read_all);
    }
    let user = Scene::in_turn(last);
    let oldest = last + 1 - u64::from(2 * HEADER_ROUNDS);
    assert_eq!(scene.fetch(0, 1, user, 0, 0), Err(Code::HeadersRange), "too old");
    assert_eq!(scene.fetch(0, last + 1, user, 0, 0), Err(Code::HeadersRange), "not over");
    assert_eq!(scene.fetch(0, last, user, 0, 2), Err(Code::HeadersRange), "no such tile");
    assert_eq!(scene.fetch(0, last, user, SLOTS, 0), Err(Code::HeadersRange), "no such slot");
    assert_eq!(scene.fetch(0, last, LONER, 0, 0), Err(Code::NotAttached), "another connection's");
    assert_eq!(scene.fetch(0, last, MEMBERS, 0, 0), Err(Code::NotAttached));
    assert!(scene.headers(0).is_empty());
    // The turn before the last one has not served, and comes late.
    scene.fetch(0, oldest, user, 1, 1).unwrap();
    scene.fetch(0, last, user, 0, 0).unwrap();
    assert_eq!(scene.fetch(0, last, user, 0, 0), Err(Code::HeadersRange), "once a turn");
    assert_eq!(scene.fetch(0, oldest, user, 0, 0), Err(Code::HeadersRange), "each once");
    let headers = scene.headers(0).remove(0);
    assert_eq!((headers.head.round.get(), headers.head.tile.get(), headers.head.slot.get()), (oldest, 1, 1));
    // One whose turn was a round ago may be late.
    let late = Scene::in_turn(last - 1);
    scene.fetch(0, last, late, 0, 0).expect_err("that round is after its turn");
    scene.fetch(0, last - 1, late, 0, 0).unwrap();
    let other_epoch = FetchHeaders {
        epoch: 9.into(),
        ..FetchHeaders::new(RoundNumber(last), Epoch(0), MemberIndex(user + 3), SlotIndex(0), 0)
    };
    let one = &mut scene.pair.sides[0];
    let refused = one.group.fetch_headers(A, &other_epoch, &mut one.out).unwrap_err();
    assert_eq!(refused.code, Code::HeadersRange);
}

#[test]
fn who_does_not_read_its_headers_waits_and_nobody_else_does() {
    let mut scene = Scene::running(3);
    scene.play_but(1, &[]);
    let turn: Vec<u32> = (0..MEMBERS).filter(|member| (1 + member).is_multiple_of(HEADER_ROUNDS)).collect();
    let one = &mut scene.pair.sides[0];
    one.group.answer_fetches(0, &mut one.out);
    for user in &turn {
        scene.fetch(0, 1, *user, 0, 0).unwrap();
    }
    assert!(scene.pair.sides[0].group.has_fetches(), "nothing is made without a budget");
    let one = &mut scene.pair.sides[0];
    one.group.answer_fetches(1, &mut one.out);
    assert_eq!(one.frames_to(A).iter().filter(|frame| kind(frame) == Kind::Headers).count(), 1);
    let most = one.group.shape.headers_unsent_max(MEMBERS as usize);
    one.group.answer_fetches(1 << 30, &mut one.out);
    let made = one.frames_to(A).iter().filter(|frame| kind(frame) == Kind::Headers).count();
    assert_eq!(made, turn.len().min(most));
    assert_eq!(one.group.has_fetches(), made < turn.len());
}

#[test]
fn who_asks_again_is_answered_what_it_waits_for_whatever_the_budget() {
    let (mut scene, mut made) = (Scene::running(13), 0);
    let one = &mut scene.pair.sides[0];
    one.group.answer_fetches(0, &mut one.out);
    for round in 1..=u64::from(3 * HEADER_ROUNDS) {
        scene.play_but(round, &[]);
        if Scene::in_turn(round) == Scene::in_turn(HEADER_ROUNDS.into()) {
            scene.fetch(0, round, Scene::in_turn(round), 0, 0).unwrap();
        }
        let bench = &mut scene.pair.sides[0];
        let frames = bench.frames_to(A);
        made += frames.iter().filter(|frame| kind(frame) == Kind::Headers).count();
        bench.out.clear();
        scene.pair.sides.iter_mut().for_each(Bench::read_all);
    }
    assert_eq!(scene.pair.sides[0].group.header_fetches.turns_len(), 1, "only the last one waits");
    assert_eq!(made, 2);
}

#[test]
fn who_takes_no_headers_is_told_that_it_gets_the_oldest_not() {
    let mut scene = Scene::running(14);
    let (mut unsent, mut refused) = (Vec::new(), Vec::new());
    let turns = HEADERS_WAITING_MAX as u64 + 2;
    for round in 1..=turns * u64::from(HEADER_ROUNDS) {
        scene.play_but(round, &[]);
        let bench = &mut scene.pair.sides[0];
        if (round + u64::from(LONER)).is_multiple_of(HEADER_ROUNDS.into()) {
            let (round, epoch, user) = (RoundNumber(round), scene.signers.epoch, MemberIndex(LONER));
            let fetch = FetchHeaders::new(round, epoch, user, SlotIndex(0), 0);
            bench.group.fetch_headers(B, &fetch, &mut bench.out).unwrap();
        }
        refused.extend(bench.codes_to(B));
        let to_b = |output: &mut Output| matches!(output, Output::To(B, _));
        unsent.extend(bench.out.extract_if(.., to_b));
        scene.pair.sides.iter_mut().for_each(Bench::read_all);
    }
    assert_eq!(refused, [Code::HeadersRange]);
    assert_eq!(scene.pair.sides[0].group.header_fetches.turns_len(), HEADERS_WAITING_MAX);
    drop(unsent);
}

#[test]
fn an_epoch_far_beyond_the_clock_is_not_taken_from_the_other_server() {
    let mut scene = Scene::new(&accountable(), 15);
    let now = scene.pair.now;
    let one = &mut scene.pair.sides[0];
    let (epoch, clock) = (one.group.epoch(), now.as_secs() as u32);
    one.group.link_down(now, &mut one.out);
    let mut theirs = one.group.standing();
    theirs.epoch = (clock + EPOCHS_AHEAD_MAX + 1).into();
    assert_eq!(one.group.link_up(Some(&theirs), now, &mut one.out), Err(Code::EpochMismatch));
    assert_eq!(one.group.epoch(), epoch, "nothing has changed");
    theirs.epoch = (clock + EPOCHS_AHEAD_MAX).into();
    one.group.link_up(Some(&theirs), now, &mut one.out).unwrap();
    assert_eq!(one.group.epoch(), Epoch(clock + EPOCHS_AHEAD_MAX + 1), "the one after it");
}

#[test]
fn an_epoch_that_is_over_can_be_asked_about_for_a_while() {
    let config = GroupConfig { epoch_rounds: 4, announce_rounds: 2, ..accountable() };
    let mut scene = Scene::new(&config, 8);
    scene.dial_all();
    let confirm_all = |scene: &mut Scene| {
        for side in 0..2 {
            (0..MEMBERS)
                .for_each(|sender| (0..SLOTS).for_each(|slot| scene.confirm(side, sender, slot).unwrap()));
        }
        scene.pair.tick(scene.pair.now);
    };
    confirm_all(&mut scene);
    let mut round = 1;
    while scene.pair.sides[0].group.coming.is_none() || scene.pair.rounds()[0] < 5 {
        scene.play_but(round, &[]);
        round += 1;
        assert!(round < 12, "an epoch ends");
    }
    let last = round - 1;
    scene.pair.clear();
    scene.signers.dial_all(1);
    scene.dial_all();
    confirm_all(&mut scene);
    assert_eq!(scene.pair.epochs(), [1, 1]);
    let user = Scene::in_turn(last);
    scene.signers.epoch = Epoch(0);
    for side in 0..2 {
        scene.fetch(side, last, user, 0, 0).unwrap();
        assert_eq!(scene.headers(side)[0].head.epoch.get(), 0);
    }
}

/// What a recipient makes of a sender's share of a round, from what both servers gave and signed.
#[cfg(feature = "fault-swap-half")]
fn judged(scene: &mut Scene, round: u64, slot: u32, sender: u32, recipient: u32) -> Verdict {
    let roster: Vec<UserId> = (0..MEMBERS).map(UserId).collect();
    let mut of_side = |side: usize| {
        let end = scene.round_end(side, &[recipient]);
        scene.pair.sides[side].group.header_fetches = HeaderFetches::default();
        scene.fetch(side, round, recipient, slot, sender / 64).unwrap();
        let headers = scene.headers(side).pop().unwrap();
        (end, headers, scene.cell(side, round, slot, sender, recipient))
    };
    let got = [0, 1].map(&mut of_side);
    let given = got.each_ref().map(|(end, headers, cell)| GivenBy {
        receipt: Some((&end.present[..], &end.receipt)),
        root: Some(&end.roots[0]),
        headers: Some(headers),
        cell: Some(&cell[..]),
    });
    let about = About {
        group: scene.signers.group,
        epoch: scene.signers.epoch,
        round: RoundNumber(round),
        slot: SlotIndex(slot),
        sender: UserId(sender),
        recipient: UserId(recipient),
    };
    let servers = scene.signers.servers.each_ref().map(SigningKey::verifying_key);
    Evidence::share(about, &roster, servers, given).unwrap().1
}

#[cfg(feature = "fault-swap-half")]
#[test]
fn a_server_that_cheats_a_recipient_is_named_by_what_it_signed() {
    use crate::config::{AccountableFault, AccountableFaultKind as Kind};
    let (round, sender, slot) = (2, 65, 1);
    for (seed, kind) in (20..).zip([Kind::Alter, Kind::Withhold, Kind::Swap, Kind::Replay]) {
        for side in ServerSide::BOTH {
            let user = Scene::in_turn(round);
            let fault = AccountableFault { round, sender, user, slot, kind };
            let mut scene = Scene::running_with(seed, |accounting| {
                accounting.fault = (accounting.side == side).then_some(fault);
            });
            scene.play_but(1, &[]);
            scene.play_but(2, &[]);
            let verdict = judged(&mut scene, round, slot, sender, user);
            let named = matches!(verdict, Verdict::Server(named, _) if named == side);
            assert!(named, "{kind:?} at server {side}: {verdict}");
            for (slot, sender) in [(0, 65), (1, 64), (1, 5)] {
                let verdict = judged(&mut scene, round, slot, sender, user);
                assert!(matches!(verdict, Verdict::Nobody(_)), "{kind:?}, sender {sender}: {verdict}");
            }
            let verdict = judged(&mut scene, round, slot, sender, user + HEADER_ROUNDS);
            assert!(matches!(verdict, Verdict::Nobody(_)), "{kind:?}, another recipient: {verdict}");
        }
    }
}
