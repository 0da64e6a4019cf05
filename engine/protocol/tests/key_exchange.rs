//! Key exchange from end to end: everybody's parts through both servers, what opens, what does not, and what the
//! paper's partitions give away instead.

use common::Stream;
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use twincast_protocol::codeword;
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, SlotIndex};
use twincast_protocol::keys::partitions::{Partitions, probability_read};
use twincast_protocol::keys::{
    KEY_PART_BYTES, KeyCells, KeyKind, KeyPartsMaker, Keypair, Role, open_keys, pair_key,
};
use twincast_protocol::parts::{PartKind, expand_parts};
use twincast_protocol::receive::{TILE_SENDERS, TileCells};
use twincast_protocol::sealed::{Associated, SEAL_OVERHEAD_BYTES, SealKey, Sealer, open};

mod common;

const GROUP: GroupId = GroupId(7);
const EPOCH: Epoch = Epoch(3);

/// What one sender uploaded: a seed to S1, the parts of all members to S2.
struct Upload {
    seed: [u8; 32],
    parts: Vec<u8>,
}

impl Upload {
    fn new(
        members: u32,
        sender: MemberIndex,
        kind: KeyKind,
        public: &[u8; 32],
        wanted: &dyn Fn(MemberIndex) -> bool,
        rng: &mut Stream,
    ) -> Upload {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let mut parts = vec![0; members as usize * KEY_PART_BYTES];
        let maker = KeyPartsMaker::new(GROUP, EPOCH, sender, kind, public, wanted);
        maker.parts(&seed, MemberIndex(0), rng, &mut parts);
        Upload { seed, parts }
    }

    /// What the two servers hand `member`.
    fn cells(&self, kind: KeyKind, member: MemberIndex) -> [Vec<u8>; 2] {
        let mut cell1 = vec![0; KEY_PART_BYTES];
        expand_parts(&self.seed, kind.into(), member.0, &mut cell1);
        [cell1, self.parts[member.0 as usize * KEY_PART_BYTES..][..KEY_PART_BYTES].to_vec()]
    }
}

/// Everything that `member` reads, as (sender, public key); nothing may fail.
fn read_all(uploads: &[Upload], kind: KeyKind, member: MemberIndex) -> Vec<(MemberIndex, [u8; 32])> {
    let mut read = Vec::new();
    for (first, tile) in (0..).step_by(TILE_SENDERS).zip(uploads.chunks(TILE_SENDERS)) {
        let mut cells: [Vec<u8>; 2] = Default::default();
        for upload in tile {
            let each = upload.cells(kind, member);
            cells.iter_mut().zip(each).for_each(|(cells, cell)| cells.extend(cell));
        }
        let tile = TileCells {
            count: tile.len(),
            cells: cells.each_ref().map(Vec::as_slice),
            present: [u64::MAX; 2],
        };
        let opened = open_keys(GROUP, EPOCH, MemberIndex(first), kind, &tile);
        assert_eq!((opened.failed, opened.absent), (0, 0));
        for (sender, key) in (0..tile.count).zip(opened.keys) {
            match opened.accepted >> sender & 1 {
                1 => read.push((MemberIndex(first + sender as u32), key)),
                _ => assert_eq!(key, [0; 32], "what was not accepted is not handed out"),
            }
        }
    }
    read
}

fn open_one(sender: MemberIndex, kind: KeyKind, cells: [&[u8]; 2], present: [u64; 2]) -> KeyCells {
    open_keys(GROUP, EPOCH, sender, kind, &TileCells { count: 1, cells, present })
}

#[test]
fn everybody_sends_everybody_and_only_the_wanted_get_a_key() {
    let members = 70;
    let mut rng = Stream::new(&[1; 32]);
    let everybody: Vec<_> = (0..members).map(MemberIndex).collect();
    let keypairs: Vec<_> = everybody.iter().map(|_| Keypair::random(&mut rng)).collect();
    // Nobody, itself, one, several; members 3 and 4 want each other, everybody wants 69 but 69 itself.
    let wants = |sender: MemberIndex, other: MemberIndex| match (sender.0, other.0) {
        (0, _) => false,
        (1, other) => other == 1,
        (3, other) => other == 4,
        (4, other) => other == 3,
        (69, other) => other < 5,
        (_, other) => other == 69,
    };
    let keys: Vec<_> = everybody
        .iter()
        .zip(&keypairs)
        .map(|(&sender, own)| {
            let wanted = |member| wants(sender, member);
            Upload::new(members, sender, KeyKind::Key, own.public(), &wanted, &mut rng)
        })
        .collect();
    let read: Vec<_> = everybody.iter().map(|&member| read_all(&keys, KeyKind::Key, member)).collect();
    for (&member, read) in everybody.iter().zip(&read) {
        let expected = everybody.iter().filter(|sender| wants(**sender, member));
        let expected: Vec<_> =
            expected.map(|sender| (*sender, *keypairs[sender.0 as usize].public())).collect();
        assert_eq!(*read, expected, "member {member}");
    }

    let replies: Vec<_> = everybody
        .iter()
        .zip(keypairs.iter().zip(&read))
        .map(|(&sender, (own, read))| {
            let wanted = |member| read.iter().any(|(asker, _)| *asker == member);
            Upload::new(members, sender, KeyKind::Reply, own.public(), &wanted, &mut rng)
        })
        .collect();
    let (mut pairs, mut out) = (0, [0; 64]);
    for (&initiator, own) in everybody.iter().zip(&keypairs) {
        let answers = read_all(&replies, KeyKind::Reply, initiator);
        assert!(
            answers
                .iter()
                .map(|answer| answer.0)
                .eq(everybody.iter().copied().filter(|other| wants(initiator, *other)))
        );
        for (responder, public) in answers {
            let here = pair_key(own, initiator, &public, responder, GROUP, EPOCH, Role::Initiator);
            let theirs = keypairs[initiator.0 as usize].public();
            let there = &keypairs[responder.0 as usize];
            let there = pair_key(there, responder, theirs, initiator, GROUP, EPOCH, Role::Responder);
            let (here, there) = (here.expect("a key"), there.expect("a key"));
            for (sender, send, receive) in
                [(initiator, here.send, there.receive), (responder, there.send, here.receive)]
            {
                let mut sealer = Sealer::new(send, GROUP, EPOCH, sender, 0);
                let sealed = &mut out[..5 + SEAL_OVERHEAD_BYTES];
                let associated = sealer.seal(RoundNumber(1), 0, b"hello", sealed).expect("the first");
                assert_eq!(open(&receive, &associated, sealed, &mut [0; 5]).as_deref(), Some(&b"hello"[..]));
            }
            pairs += 1;
        }
    }
    assert_eq!(
        pairs,
        everybody.iter().flat_map(|a| everybody.iter().map(|b| wants(*a, *b))).filter(|w| *w).count()
    );
}

/// Under the same coins, all that anybody gets who is not in question is the same bytes, whoever is: so it says
/// nothing, whatever set of others pools it with a server.
#[test]
fn nobody_else_learns_anything_and_sizes_do_not_tell() {
    let members = 12;
    let public = [0x42; 32];
    let sets: [&[u32]; 5] = [&[], &[3], &[4], &[3, 4, 11], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]];
    for seed in 0..20 {
        let made = sets.map(|set| {
            let mut rng = Stream::new(&[seed; 32]);
            let wanted = |member: MemberIndex| set.contains(&member.0);
            let upload = Upload::new(members, MemberIndex(5), KeyKind::Key, &public, &wanted, &mut rng);
            (upload, rng.bytes_used)
        });
        for ((a, drawn_a), set_a) in made.iter().zip(sets) {
            for ((b, drawn_b), set_b) in made.iter().zip(sets) {
                assert_eq!((a.parts.len(), drawn_a), (b.parts.len(), drawn_b));
                for member in (0..members).map(MemberIndex) {
                    let same = a.cells(KeyKind::Key, member) == b.cells(KeyKind::Key, member);
                    let told_alike = set_a.contains(&member.0) == set_b.contains(&member.0);
                    assert_eq!(same, told_alike, "member {member} of {set_a:?} and {set_b:?}");
                }
            }
        }
    }
}

#[test]
fn parts_are_the_same_in_any_range_and_decode_one_by_one() {
    let members = 150;
    let public = [0x42; 32];
    let wanted = |member: MemberIndex| member.0.is_multiple_of(3);
    let upload =
        Upload::new(members, MemberIndex(9), KeyKind::Reply, &public, &wanted, &mut Stream::new(&[2; 32]));
    let maker = KeyPartsMaker::new(GROUP, EPOCH, MemberIndex(9), KeyKind::Reply, &public, &wanted);
    let mut rng = Stream::new(&[3; 32]);
    for (first, count) in [(0, 150), (0, 1), (1, 16), (17, 63), (64, 64), (100, 50), (149, 1), (5, 0)] {
        let mut parts = vec![0; count * KEY_PART_BYTES];
        maker.parts(&upload.seed, MemberIndex(first), &mut rng, &mut parts);
        for (member, part) in (first..).zip(parts.chunks_exact(KEY_PART_BYTES)) {
            let [cell1, _] = upload.cells(KeyKind::Reply, MemberIndex(member));
            let opened = open_one(MemberIndex(9), KeyKind::Reply, [&cell1, part], [1, 1]);
            let expected = (u64::from(wanted(MemberIndex(member))), 0);
            assert_eq!((opened.accepted, opened.failed), expected, "member {member} from {first}");
        }
    }
    assert!(!format!("{maker:?}").contains("42"), "neither the key nor whom it is for");
}

#[test]
fn what_is_wrong_fails_and_what_is_not_there_is_absent() {
    let mut rng = Stream::new(&[4; 32]);
    let sender = MemberIndex(2);
    for wanted in [true, false] {
        let upload = Upload::new(1, sender, KeyKind::Key, &[0x42; 32], &|_| wanted, &mut rng);
        let [cell1, cell2] = upload.cells(KeyKind::Key, MemberIndex(0));
        let masks = |cells: KeyCells| (cells.accepted, cells.failed, cells.absent);
        let open = |cell1: &[u8], cell2: &[u8], present| {
            masks(open_one(sender, KeyKind::Key, [cell1, cell2], present))
        };
        assert_eq!(open(&cell1, &cell2, [1, 1]), (u64::from(wanted), 0, 0));
        assert_eq!(open(&cell1, &cell2, [0, 0]), (0, 0, 1), "neither server has it");
        for present in [[1, 0], [0, 1]] {
            assert_eq!(open(&cell1, &cell2, present), (0, 1, 0), "one server has it");
        }
        for bit in 0..8 * KEY_PART_BYTES {
            let mut flipped = cell1.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&flipped, &cell2, [1, 1]), (0, 1, 0), "bit {bit}, wanted {wanted}");
        }
        for bytes in [0, 1, 95, 97, 192] {
            assert_eq!(open(&cell1, &vec![0; bytes], [1, 1]), (0, 1, 0), "{bytes} bytes");
        }
        let elsewhere = [
            open_one(MemberIndex(3), KeyKind::Key, [&cell1, &cell2], [1, 1]),
            open_one(sender, KeyKind::Reply, [&cell1, &cell2], [1, 1]),
            open_keys(
                GroupId(9),
                EPOCH,
                sender,
                KeyKind::Key,
                &TileCells { count: 1, cells: [&cell1, &cell2], present: [1; 2] },
            ),
            open_keys(
                GROUP,
                Epoch(9),
                sender,
                KeyKind::Key,
                &TileCells { count: 1, cells: [&cell1, &cell2], present: [1; 2] },
            ),
        ];
        for opened in elsewhere {
            assert_eq!(masks(opened), (0, 1, 0), "made for another context");
        }
    }
}

/// A right tag over a message that is no key: the sender's doing.
#[test]
fn a_message_of_another_length_is_no_key() {
    let context = PartKind::Key.context(GROUP, EPOCH, MemberIndex(0), SlotIndex(0));
    let zeros = [0; KEY_PART_BYTES];
    for bytes in [0, 1, 31, 32, 33, 45] {
        let mut cell = zeros;
        codeword::real(PartKind::Key.frame(), &context, &vec![1; bytes], &mut rand::rng(), &mut cell)
            .expect("it fits");
        let opened = open_one(MemberIndex(0), KeyKind::Key, [&cell, &zeros], [1, 1]);
        let is_key = u64::from(bytes == 32);
        assert_eq!((opened.accepted, opened.failed), (is_key, 1 - is_key), "{bytes} bytes");
    }
}

proptest! {
    #[test]
    fn nonsense_never_panics_and_is_never_a_key(
        count in 0..=TILE_SENDERS,
        excess in -2isize..3,
        present: [u64; 2],
        first: u32,
        seed: u64,
    ) {
        let bytes = (count * KEY_PART_BYTES).saturating_add_signed(excess);
        let mut cells = [vec![0; count * KEY_PART_BYTES], vec![0; bytes]];
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        cells.iter_mut().for_each(|cells| rng.fill_bytes(cells));
        for kind in [KeyKind::Key, KeyKind::Reply] {
            let tile = TileCells { count, cells: cells.each_ref().map(Vec::as_slice), present };
            let opened = open_keys(GROUP, EPOCH, MemberIndex(first), kind, &tile);
            let senders = 1u64.checked_shl(count as u32).map_or(u64::MAX, |above| above - 1);
            prop_assert_eq!(opened.accepted, 0);
            prop_assert_eq!(opened.absent, senders & !(present[0] | present[1]));
            prop_assert_eq!(opened.failed, senders & (present[0] | present[1]));
        }
        let key = SealKey::from_bytes(&[7; 32]);
        let associated = Associated {
            group: GROUP,
            epoch: EPOCH,
            round: RoundNumber(seed),
            sender: MemberIndex(first),
            recipient_set: seed,
            sequence: seed,
        };
        prop_assert!(open(&key, &associated, &cells[1], &mut vec![0; bytes]).is_none());
    }
}

/// How often one of `accounts` accounts of somebody else reads the key, by the deal and the real parts.
fn measure(members: u32, kappa: u32, accounts: u32, kind: KeyKind, trials: u32, rng: &mut Stream) -> f64 {
    let (sender, target) = (MemberIndex(0), MemberIndex(1));
    let mut reads = 0;
    for _ in 0..trials {
        let dealt = Partitions::deal(members, kappa, rng).expect("within bounds");
        let real = dealt.of(target);
        // The makers' "members" are the partitions.
        let upload = Upload::new(kappa, sender, kind, &[0x42; 32], &|partition| partition.0 == real, rng);
        let read = |member: MemberIndex| {
            let [cell1, cell2] = upload.cells(kind, MemberIndex(dealt.of(member)));
            let opened = open_one(sender, kind, [&cell1, &cell2], [1, 1]);
            assert_eq!(opened.failed, 0);
            opened.accepted == 1
        };
        assert!(read(target), "the target reads it always");
        reads += u32::from((2..2 + accounts).any(|account| read(MemberIndex(account))));
    }
    f64::from(reads) / f64::from(trials)
}

#[test]
fn partitions_let_other_accounts_read_the_key() {
    let trials = 3000;
    let mut rng = Stream::new(&[5; 32]);
    println!("n, kappa, accounts: probability that they read a key that is not for them, exact and measured");
    for (members, kappa, accounts) in
        [(30, 4, 1), (30, 4, 3), (32, 8, 1), (20, 10, 1), (20, 10, 4), (31, 2, 1)]
    {
        let exact = probability_read(members, kappa, accounts).expect("within bounds");
        let deviation = (exact * (1.0 - exact) / f64::from(trials)).sqrt();
        for kind in [KeyKind::Key, KeyKind::Reply] {
            let measured = measure(members, kappa, accounts, kind, trials, &mut rng);
            println!("{members}, {kappa}, {accounts}: {exact:.4} {measured:.4} ({kind:?})");
            assert!((measured - exact).abs() < 4.0 * deviation, "{members}, {kappa}, {accounts}");
        }
    }
    println!(
        "exact, n = 1000, and the bytes that one member sends each server and each server hands out for it"
    );
    for (kappa, accounts) in [(10, 1), (100, 1), (250, 1), (250, 10), (1000, 1)] {
        let exact = probability_read(1000, kappa, accounts).expect("within bounds");
        let cost = Partitions::deal(1000, kappa, &mut rng).expect("within bounds").cost();
        println!("kappa {kappa}, {accounts} accounts: {exact:.4}; {cost:?}");
        assert!((exact < 1e-12) == (kappa == 1000), "only one partition for each member shows nothing");
    }
    for accounts in [1, 18] {
        assert_eq!(
            measure(20, 20, accounts, KeyKind::Key, 200, &mut rng),
            0.0,
            "one partition for each member"
        );
        assert_eq!(probability_read(20, 20, accounts), Ok(0.0));
    }
}
