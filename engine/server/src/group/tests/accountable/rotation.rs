//! Keys that operators rotate at both servers while an epoch is dialled, or after: it is the user's own affair.

use super::*;
use twincast_protocol::accountable::dial::SignedDial;

/// Its first place in a certificate, behind what an entry says of user, position, blind, share, upload and dial.
const KEY_AT: usize = 56 + (64 * SLOTS as usize + 64) + 136;

impl Scene {
    /// Both operators give the last member a new key: it is disconnected, and comes again with that.
    fn rotate(&mut self, seed: u8) {
        let key = SigningKey::from_seed(&[seed; 32]);
        self.signers.users[LONER as usize] = key;
        let certificate = self.signers.certificate(LONER);
        self.accounts.0.lock().unwrap().insert(UserId(LONER), certificate);
        for side in &mut self.pair.sides {
            side.group.detach(B, side.now, &mut side.out);
        }
        self.pair.pump();
        self.pair.attach(B, vec![UserId(LONER)]);
    }

    /// Everybody gives all confirmations but those that are refused because nothing is dialled.
    fn confirm_all(&mut self) {
        for side in 0..2 {
            for (sender, slot) in (0..MEMBERS).flat_map(|s| (0..SLOTS).map(move |k| (s, k))) {
                let given = self.confirm(side, sender, slot);
                assert!(given.is_ok() || sender == LONER, "{sender}, {slot}: {given:?}");
            }
        }
        self.pair.tick(self.pair.now);
    }

    /// Plays to the end of the epoch, in which those are silent, and has the next one dialled by everybody else's client.
    fn play_out(&mut self, silent: &[u32]) {
        let next = self.signers.epoch.0 + 1;
        let mut round = self.pair.rounds()[0];
        while self.pair.sides[0].group.coming.is_none() || !self.is_over() {
            assert!(round < 40, "the epoch ends");
            self.play_but(round, silent);
            self.pair.sides.iter_mut().for_each(Bench::read_all);
            round += 1;
        }
        self.signers.dial_all(next);
    }

    fn is_over(&self) -> bool {
        self.pair.rounds().iter().all(|open| (open - 1) % EPOCH_ROUNDS == 0)
    }

    /// The key in the certificate that a member is shown of the last one, for a round that has just ended.
    fn key_shown(&mut self, side: usize, round: u64) -> Vec<u8> {
        let user = Scene::in_turn(round);
        self.fetch(side, round, user, 0, LONER / 64).unwrap();
        let headers = self.headers(side).pop().expect("they are shown");
        let server = self.signers.servers[side].verifying_key();
        assert!(headers.verify(self.signers.group, ServerSide::BOTH[side], UserId(user), &server));
        headers.parts(LONER % 64).unwrap().0[KEY_AT..][..32].to_vec()
    }
}

const EPOCH_ROUNDS: u64 = 2 * HEADER_ROUNDS as u64 + 2;

fn epochs() -> GroupConfig {
    GroupConfig { epoch_rounds: EPOCH_ROUNDS as u32, announce_rounds: 2, ..accountable() }
}

/// It has dialled one slot with the key that it had, and comes back for the other with the new one: that dial is refused,
/// it is absent for an epoch, and present again in the next one.
#[test]
fn a_key_that_is_rotated_while_its_user_dials_fails_that_dial_alone() {
    let mut scene = Scene::new(&epochs(), 30);
    scene.dial_all();
    scene.confirm_all();
    scene.play_out(&[]);
    scene.pair.clear();
    for side in 0..2 {
        for (sender, slot) in (0..MEMBERS).flat_map(|s| (0..SLOTS).map(move |k| (s, k))) {
            if (sender, slot) != (LONER, 1) {
                let tail = scene.signers.dial_tail(side, sender, slot);
                scene.dial(side, sender, slot, &tail).unwrap();
            }
        }
    }
    scene.rotate(91);
    let Signers { group, epoch, users, dials, .. } = &mut scene.signers;
    let signed = &mut dials[(LONER * SLOTS + 1) as usize].signed;
    let (user, slot) = (UserId(LONER), SlotIndex(1));
    let key = &users[LONER as usize];
    *signed = SignedDial::sign(key, *group, *epoch, user, slot, signed.dial_id, signed.roots);
    for side in 0..2 {
        let tail = scene.signers.dial_tail(side, LONER, 1);
        assert_eq!(scene.dial(side, LONER, 1, &tail), Err(Code::CommitmentWrong));
    }
    // Nobody waits longer for it than for anybody who does not dial.
    scene.pair.wait(millis(epochs().dial_timeout_ms + 100));
    scene.confirm_all();
    scene.pair.wait(millis(epochs().dial_timeout_ms + 100));
    assert_eq!(scene.pair.epochs(), [1, 1]);
    assert!(scene.pair.sides.iter().all(|side| side.codes_to(A).is_empty()), "nobody else hears of it");
    let round = scene.pair.rounds()[0];
    let [one, _] = scene.signers.uploads(round, LONER);
    let refused = scene.submit(0, round, LONER, &one).unwrap_err();
    assert!(matches!(refused, Code::NotDialled | Code::PartsUnsigned), "{refused:?}");
    scene.play_but(round, &[LONER]);
    for side in 0..2 {
        assert_eq!(scene.ended(side).present(), [u64::MAX, 0b01_1111], "all others are there, at once");
    }
    // The next epoch is dialled with the new key from the start.
    scene.play_out(&[LONER]);
    scene.pair.clear();
    scene.dial_all();
    scene.confirm_all();
    assert_eq!(scene.pair.epochs(), [2, 2]);
    let round = scene.pair.rounds()[0];
    scene.play_but(round, &[]);
    let key = scene.signers.users[LONER as usize].verifying_key().to_bytes();
    for side in 0..2 {
        assert_eq!(scene.ended(side).present(), [u64::MAX, 0b11_1111], "it is back");
        assert!(
            scene.pair.sides[side].codes_to(A).is_empty() && scene.pair.sides[side].codes_to(B).is_empty()
        );
        assert_eq!(scene.key_shown(side, round), key);
    }
}

/// Its dials are in effect, and whether it goes on with the key that they were signed with or with the new one: nobody else's
/// headers are the worse for it.
#[test]
fn a_key_that_is_rotated_after_its_user_dialled_hides_nothing_from_others() {
    let mut scene = Scene::new(&accountable(), 31);
    scene.dial_all();
    scene.confirm_all();
    let old = scene.signers.users[LONER as usize].verifying_key().to_bytes();
    let uploads = scene.signers.uploads(1, LONER);
    scene.rotate(92);
    scene.pair.clear();
    // Signed before it had the new key.
    (0..2).for_each(|side| scene.submit(side, 1, LONER, &uploads[side]).unwrap());
    scene.play_but(1, &[LONER]);
    for side in 0..2 {
        assert_eq!(scene.ended(side).present(), [u64::MAX, 0b11_1111]);
        assert_eq!(scene.key_shown(side, 1), old, "the epoch's key, by which its uploads are judged");
    }
    // Signed with the new one: no upload of this epoch.
    scene.pair.clear();
    scene.play_but(2, &[]);
    for side in 0..2 {
        assert_eq!(scene.ended(side).present(), [u64::MAX, 0b01_1111], "it alone is absent");
        assert_eq!(scene.pair.sides[side].codes_to(B), [Code::SignatureWrong]);
        assert!(scene.pair.sides[side].codes_to(A).is_empty());
        assert_eq!(scene.key_shown(side, 2), [0; 32], "headers say that it is absent");
    }
}
