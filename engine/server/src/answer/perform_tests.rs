use super::*;
use crate::answer::Members;
use rand::SeedableRng;
use rand::rngs::StdRng;
use twincast_protocol::identity::SigningKey;
use twincast_protocol::ids::{GroupId, ServerSide, UserId};

const ROUND: RoundNumber = RoundNumber(7);

/// Members who are not their own indices, in two tiles, the second of them short.
struct Scene {
    roster: Arc<Roster>,
    keys: Vec<SigningKey>,
    setups: [Setup; 2],
    rng: StdRng,
}

impl Scene {
    fn new(seed: u64) -> Scene {
        let mut rng = StdRng::seed_from_u64(seed);
        let ids: Vec<UserId> = (0..70).map(|user| UserId(user * 2 + 5)).collect();
        let keys: Vec<SigningKey> = ids.iter().map(|_| SigningKey::random(&mut rng)).collect();
        let seeds = [[1; 32], [2; 32]];
        let setups = ServerSide::BOTH.map(|side| Setup {
            group: GroupId(9),
            side,
            signing: SigningKey::from_seed(&seeds[side.index()]),
            peer: SigningKey::from_seed(&seeds[1 - side.index()]).verifying_key(),
            members: ids.iter().copied().zip(keys.iter().map(SigningKey::verifying_key)).collect(),
        });
        Scene { roster: Roster::new(GroupId(9), Epoch(3), ids), keys, setups, rng }
    }

    fn record(&mut self, member: usize) -> [u8; RECORD_BYTES] {
        let context = RecordContext {
            group: GroupId(9),
            epoch: Epoch(3),
            round: ROUND,
            sender: MemberIndex(member as u32),
        };
        let mut record = [0; RECORD_BYTES];
        record::make(&context, &self.keys[member], None, b"", &mut self.rng, &mut record).unwrap();
        record
    }

    fn rows(&mut self, tile: usize) -> Arc<Rows> {
        let senders = if tile == 0 { 64 } else { 6 };
        let mut records = vec![[0xee; RECORD_BYTES]; 64].into_boxed_slice();
        for sender in 0..senders {
            records[sender] = self.record(tile * 64 + sender);
        }
        Arc::new(Rows { tile, senders, records })
    }

    fn verify(&mut self, rows: Arc<Rows>, senders: u64) -> (Arc<Rows>, u64, Vec<Digest>, Digest) {
        let work = Work::Verify { round: ROUND, roster: self.roster.clone(), rows, senders, alone: true };
        match perform(work, &self.setups[0], &mut self.rng) {
            Some(Done::Verified { round: ROUND, rows, valid, digests, hash }) => (rows, valid, digests, hash),
            other => panic!("{other:?}"),
        }
    }

    fn sign(&mut self, side: usize, tile: usize, senders: u64) -> Vec<[u8; SIGNATURE_BYTES]> {
        let work = Work::SignAbsences { round: ROUND, epoch: Epoch(3), tile, senders };
        match perform(work, &self.setups[side], &mut self.rng) {
            Some(Done::AbsencesSigned { signatures, .. }) => signatures,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn whose_record_is_not_signed_is_not_there() {
    let mut scene = Scene::new(1);
    let mut rows = scene.rows(1);
    let whole = Arc::get_mut(&mut rows).unwrap();
    whole.records[1][0] ^= 1;
    whole.records[2] = whole.records[3];
    // Sender 5 has a row and is not there.
    let (rows, valid, digests, hash) = scene.verify(rows, 0b01_1111);
    assert_eq!(valid, 0b01_1001);
    for (sender, said) in digests.iter().enumerate() {
        let own = digest(&rows.records[sender]);
        assert_eq!(*said, if valid >> sender & 1 == 1 { own } else { NO_DIGEST }, "sender {sender}");
    }
    assert_eq!((digests.len(), hash), (6, tree_hash(&digests)));
    assert_eq!([&rows.records[1], &rows.records[2]], [&[0; RECORD_BYTES]; 2], "what is refused is wiped");
    let (_, valid, digests, _) = scene.verify(rows, 0);
    assert_eq!((valid, digests), (0, vec![NO_DIGEST; 6]));
}

#[test]
fn a_record_of_another_round_group_or_member_or_without_a_key_is_refused() {
    let mut scene = Scene::new(2);
    let rows = scene.rows(0);
    let mut verify = |change: &dyn Fn(&mut Setup, &mut RoundNumber)| {
        let mut setup = Scene::new(2).setups.into_iter().next().unwrap();
        let mut round = ROUND;
        change(&mut setup, &mut round);
        let rows = Arc::new(Rows::clone(&rows));
        let work =
            Work::Verify { round, roster: scene.roster.clone(), rows, senders: u64::MAX, alone: false };
        match perform(work, &setup, &mut scene.rng) {
            Some(Done::Verified { valid, .. }) => valid,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(verify(&|_, _| {}), u64::MAX);
    assert_eq!(verify(&|setup, _| setup.group = GroupId(8)), 0);
    assert_eq!(verify(&|_, round| round.0 += 1), 0);
    assert_eq!(
        verify(&|setup, _| {
            let Members::List(members) = &mut setup.members else { unreachable!("it is a list") };
            members.remove(&UserId(2 * 63 + 5));
        }),
        u64::MAX >> 1
    );
}

#[test]
fn tiles_that_are_verified_together_are_told_apart() {
    let mut scene = Scene::new(3);
    let mut together = Verifying::default();
    for (tile, senders, bad) in
        [(0, u64::MAX, Some(17)), (1, 0b10_1101, None), (0, 0, None), (1, 0b11, Some(1))]
    {
        let mut rows = scene.rows(tile);
        if let Some(bad) = bad {
            Arc::get_mut(&mut rows).unwrap().records[bad][300] ^= 4;
        }
        together.push(&scene.setups[0], ROUND, &scene.roster, rows, senders);
    }
    assert_eq!(together.signatures(), 64 + 4 + 2);
    let found: Vec<(usize, u64)> = together
        .finish(&mut scene.rng)
        .into_iter()
        .map(|done| match done {
            Done::Verified { rows, valid, .. } => (rows.tile, valid),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(found, [(0, !(1 << 17)), (1, 0b10_1101), (0, 0), (1, 0b01)]);
    assert!(together.is_empty() && together.finish(&mut scene.rng).is_empty());
}

#[test]
fn both_servers_clear_the_row_of_an_absent_member() {
    let mut scene = Scene::new(4);
    let absent = 0b10_0001;
    let signed = [scene.sign(0, 1, absent), scene.sign(1, 1, absent)];
    let rows = scene.rows(1);
    let mut expected: Vec<Digest> = rows.records[..6].iter().map(digest).collect();
    (expected[0], expected[5]) = (digest(&ABSENT), digest(&ABSENT));
    let hashes = [0, 1].map(|side| {
        let rows = Arc::new(Rows::clone(&rows));
        let signatures = signed[1 - side].clone();
        let work = Work::Fill { round: ROUND, epoch: Epoch(3), rows, absent, signatures };
        match perform(work, &scene.setups[side], &mut scene.rng) {
            Some(Done::Filled { rows, hash, .. }) => {
                let cleared = (0..6).filter(|&sender| rows.records[sender] == ABSENT);
                assert_eq!(cleared.collect::<Vec<_>>(), [0, 5]);
                hash
            }
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(hashes, [Some(tree_hash(&expected)); 2]);
}

#[test]
fn a_false_signature_of_absence_leaves_no_hash() {
    let mut scene = Scene::new(5);
    let (own, theirs) = (scene.sign(0, 1, 0b110), scene.sign(1, 1, 0b110));
    for (signatures, good) in [
        (theirs.clone(), true),
        (vec![theirs[1], theirs[0]], false),
        (vec![theirs[0], own[1]], false),
        (own, false),
    ] {
        let rows = scene.rows(1);
        let work = Work::Fill { round: ROUND, epoch: Epoch(3), rows, absent: 0b110, signatures };
        match perform(work, &scene.setups[0], &mut scene.rng) {
            Some(Done::Filled { hash, .. }) => assert_eq!(hash.is_some(), good),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn two_signed_records_are_the_senders_fault_and_anything_else_the_servers() {
    let mut scene = Scene::new(6);
    let senders = 0b11_1110;
    let mut shown: Vec<[u8; RECORD_BYTES]> = (1..6).map(|sender| scene.record(64 + sender)).collect();
    let mut digests: Vec<Digest> = shown.iter().map(digest).collect();
    // Not signed, and not the one that was announced.
    shown[1][9] ^= 1;
    digests[1] = digest(&shown[1]);
    digests[3][0] ^= 1;
    for missing in [0, 1] {
        let shown = shown[..shown.len() - missing].to_vec();
        let (roster, digests) = (scene.roster.clone(), digests.clone());
        let work = Work::Judge { round: ROUND, roster, tile: 1, senders, shown, digests };
        match perform(work, &scene.setups[1], &mut scene.rng) {
            Some(Done::Judged { signed_two, false_shown, tile: 1, .. }) => {
                assert_eq!(signed_two, [0b10_1010, 0b00_1010][missing]);
                assert_eq!(false_shown, senders & !signed_two, "who is not shown is not cleared");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn works_on_the_table_are_left_to_the_parts() {
    let mut scene = Scene::new(7);
    let rows = scene.rows(0);
    for work in
        [Work::Add { round: ROUND, rows }, Work::Finish { round: ROUND }, Work::Abandon { round: ROUND }]
    {
        assert!(perform(work, &scene.setups[0], &mut scene.rng).is_none());
    }
}
