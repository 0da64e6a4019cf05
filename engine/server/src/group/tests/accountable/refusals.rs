//! What is not signed, or not as it was committed to, is refused, and harms nobody else.

use super::*;
use crate::group::tests::pair::PEER_TIMEOUT;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

#[test]
fn what_a_sender_did_not_sign_is_taken_out_and_nobody_else_is_harmed() {
    let mut scene = Scene::running(4);
    scene.play_but(1, &[]);
    scene.pair.clear();
    let bad = [5, 6, 7, 65];
    scene.play_but(2, &bad);
    let small_order = {
        let mut signature = [0; 64];
        signature[0] = 1;
        signature
    };
    for side in 0..2 {
        let mut flipped = scene.signers.uploads(2, 5)[side].clone();
        *flipped.last_mut().unwrap() ^= 1;
        let replayed = scene.given[side][&(1, 6)].clone();
        let rows = scene.signers.rows(2, 7)[side].clone();
        let trivial = [&rows[..], &small_order].concat();
        let nonsense = vec![0xa5; flipped.len()];
        for (sender, upload) in bad.into_iter().zip([flipped, replayed, trivial, nonsense]) {
            scene.submit(side, 2, sender, &upload).unwrap();
        }
    }
    scene.pair.pump();
    for side in 0..2 {
        let bench = &scene.pair.sides[side];
        assert_eq!(bench.codes_to(A), [Code::SignatureWrong; 4], "one each");
        assert_eq!(bench.group.open_round(), RoundNumber(3), "nobody is waited for");
        let words: Vec<u64> = bench.deliveries().iter().map(|delivery| delivery.3).collect();
        let first = !(1 << 5 | 1 << 6 | 1 << 7);
        assert_eq!(words, [first, first, 0b11_1101, 0b11_1101]);
        assert_eq!(scene.ended(side).present(), [first, 0b11_1101]);
        assert!(scene.cell(side, 2, 0, 5, 9).iter().all(|byte| *byte == 0));
    }
    // A second try of the same round is not taken.
    let again = scene.signers.uploads(2, 5);
    assert_eq!(scene.submit(0, 2, 5, &again[0]), Err(Code::RoundSealed));
    scene.play_but(3, &[]);
    assert_eq!(scene.ended(0).present(), [u64::MAX, 0b11_1111], "all are back");
}

#[test]
fn who_signs_falsely_again_and_again_is_closed() {
    let mut scene = Scene::running(5);
    let mut closed = 0;
    for round in 1..=u64::from(WRONG_SIGNATURES_MAX) {
        scene.play_but(round, &[LONER]);
        let [mut bad, good] = scene.signers.uploads(round, LONER);
        bad[3] ^= 1;
        scene.submit(0, round, LONER, &bad).unwrap();
        scene.submit(1, round, LONER, &good).unwrap();
        scene.pair.pump();
        assert_eq!(scene.pair.rounds(), [round + 1; 2], "nobody waits");
        let bench = &mut scene.pair.sides[0];
        closed +=
            bench.out.iter().filter(|out| matches!(out, Output::Close(B, Code::SignatureFlood))).count();
        bench.read_all();
        scene.pair.sides[1].read_all();
    }
    assert_eq!(closed, 1);
    assert!(!scene.pair.sides[0].out.iter().any(|out| matches!(out, Output::Close(A, _))));
}

#[test]
fn dials_without_the_senders_commitment_are_refused() {
    let mut scene = Scene::new(&accountable(), 6);
    let welcome = Welcome::parse(&scene.pair.sides[0].frames_to(A)[0][HEADER_BYTES..]).unwrap();
    assert!(welcome.is_registered() && welcome.is_accountable());
    assert_eq!(welcome.header_rounds.get(), HEADER_ROUNDS);
    let good = scene.signers.dial_tail(0, 5, 0);
    assert_eq!(
        scene.dial(0, 5, 0, &scene.signers.dial_tail(0, 6, 0)),
        Err(Code::CommitmentWrong),
        "another's"
    );
    assert_eq!(
        scene.dial(0, 5, 0, &scene.signers.dial_tail(0, 5, 1)),
        Err(Code::CommitmentWrong),
        "another slot's"
    );
    for place in [9 + 32, 9 + 64, 9 + 96, good.len() - 1] {
        let mut bad = good.clone();
        bad[place] ^= 1;
        assert_eq!(scene.dial(0, 5, 0, &bad), Err(Code::CommitmentWrong), "byte {place}");
    }
    assert_eq!(scene.dial(0, 5, 0, &good[..good.len() - 1]), Err(Code::CommitmentWrong));
    assert_eq!(scene.dial(0, 5, 0, &[]), Err(Code::LengthWrong));
    scene.dial(0, 5, 0, &good).unwrap();
}

#[test]
fn parts_that_the_dial_did_not_commit_to_are_not_present_and_nobody_waits_for_others() {
    let mut scene = Scene::new(&accountable(), 7);
    scene.dial_all();
    for side in 0..2 {
        for (sender, slot) in (0..MEMBERS).flat_map(|s| (0..SLOTS).map(move |k| (s, k))) {
            if (sender, slot) == (5, 1) {
                let dialled = &mut scene.signers.dials[(sender * SLOTS + slot) as usize];
                dialled.seed[0] ^= 1;
                dialled.parts[1][64 * MEMBERS as usize - 1 - side] = 0xa5;
                assert_eq!(scene.confirm(side, sender, slot), Err(Code::PartsUnsigned));
                assert_eq!(scene.confirm(side, sender, slot), Err(Code::NotGranted), "once");
            } else {
                scene.confirm(side, sender, slot).unwrap();
            }
        }
    }
    scene.pair.tick(scene.pair.now);
    assert_eq!(scene.pair.rounds(), [1, 1], "open at once");
    for side in &scene.pair.sides {
        let of_slot = |slot| {
            side.tiles().filter(move |tile| tile.head().slot.0 == slot).map(|tile| tile.head().present)
        };
        assert_eq!(of_slot(0).collect::<Vec<_>>(), [u64::MAX, 0b11_1111]);
        assert_eq!(of_slot(1).collect::<Vec<_>>(), [!(1 << 5), 0b11_1111]);
    }
    scene.pair.clear();
    let uploads = scene.signers.uploads(1, 5);
    assert_eq!(scene.submit(0, 1, 5, &uploads[0]), Err(Code::PartsUnsigned), "it could not be shown");
    scene.play_but(1, &[5]);
    assert_eq!(scene.pair.rounds(), [2, 2], "nobody waits for it");
    assert_eq!(scene.ended(1).present(), [!(1 << 5), 0b11_1111]);
}

#[test]
fn a_user_whose_submissions_are_refused_again_and_again_is_closed_with_or_without_signatures() {
    let mut bench = Bench::running(1);
    for time in 1..=SUBMISSIONS_REFUSED_MAX {
        let code = if time < SUBMISSIONS_REFUSED_MAX { Code::RoundTooFar } else { Code::SubmissionFlood };
        assert_eq!(bench.submit(A, 5, 9), Err(code), "time {time}");
    }
    assert_eq!(bench.submit(A, 6, 9), Err(Code::RoundTooFar), "each user has its own budget");
    bench.play(1..=1);
    assert_eq!(bench.submit(A, 5, 9), Err(Code::RoundTooFar), "and a new one each round");
    assert_eq!(bench.submit(B, 5, 9), Err(Code::NotAttached), "a connection that is none counts for nobody");
}

/// Accounts of which one is not signed by the other server, until it is.
#[derive(Debug)]
struct HalfSigned {
    accounts: Arc<dyn Certificates>,
    user: UserId,
    signed: Arc<AtomicBool>,
}

impl Certificates for HalfSigned {
    fn key(&self, group: GroupId, user: UserId) -> Option<VerifyingKey> {
        self.accounts.key(group, user)
    }

    fn certificate(&self, group: GroupId, user: UserId) -> Option<Certificate> {
        let withheld = user == self.user && !self.signed.load(Relaxed);
        if withheld { None } else { self.accounts.certificate(group, user) }
    }
}

/// A list names a user whose key the servers have not signed for each other: shares that could not be shown later are not taken,
/// and everybody else's in the tile are shown.
#[test]
fn who_is_not_signed_by_both_servers_is_absent_and_headers_of_others_are_shown() {
    let signed = Arc::new(AtomicBool::new(false));
    let mut scene = Scene::of(&accountable(), 21, |accounting| {
        let (accounts, user) = (accounting.accounts.clone(), UserId(5));
        accounting.accounts = Arc::new(HalfSigned { accounts, user, signed: signed.clone() });
    });
    scene.dial_all();
    for side in 0..2 {
        let all = (0..MEMBERS).flat_map(|sender| (0..SLOTS).map(move |slot| (sender, slot)));
        all.for_each(|(sender, slot)| scene.confirm(side, sender, slot).unwrap());
    }
    // They may be about to sign it.
    scene.pair.wait(PEER_TIMEOUT - millis(10));
    assert_eq!(scene.pair.rounds(), [0, 0]);
    scene.pair.wait(millis(20));
    assert_eq!(scene.pair.rounds(), [1, 1]);
    scene.pair.clear();
    let upload = |scene: &mut Scene, round| scene.signers.uploads(round, 5)[0].clone();
    let first = upload(&mut scene, 1);
    assert_eq!(scene.submit(0, 1, 5, &first), Err(Code::PartsUnsigned));
    for round in 1..=u64::from(HEADER_ROUNDS) {
        scene.play_but(round, &[5]);
        assert_eq!(scene.pair.rounds()[0], round + 1, "nobody waits for it");
        scene.pair.sides.iter_mut().for_each(Bench::read_all);
    }
    let last = u64::from(HEADER_ROUNDS);
    assert_eq!(scene.ended(0).present(), [!(1 << 5), 0b11_1111]);
    scene.fetch(0, last, Scene::in_turn(last), 0, 0).unwrap();
    assert_eq!(scene.headers(0).len(), 1);
    // The signature comes after all.
    signed.store(true, Relaxed);
    let next = last + 1;
    let uploaded = upload(&mut scene, next);
    scene.submit(0, next, 5, &uploaded).unwrap();
}
