//! Attempts to make somebody honest look guilty: by a recipient that recombines, by a server that signs what it likes, by
//! a sender that signs strange points, and by bytes changed at random.

use super::model::{GROUP, Gave, Played, ROUND, Who, World};
use super::{BY_SENDER, BY_SERVER, share};
use crate::accountable::blame::{Doubt, Verdict, Why, blame, judge};
use crate::accountable::evidence::{Case, Evidence, Given, Share, Shown, ShownOpening};
use crate::accountable::headers::{entry_digest, headers_digest};
use crate::accountable::upload::UploadOf;
use crate::identity::{Batch, SigningKey};
use crate::ids::{Epoch, RoundNumber, ServerSide, SlotIndex, UserId};
use crate::statements;
use num_bigint::BigUint;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use sha2::{Digest as _, Sha512};
use zerocopy::transmute;

fn share_mut(evidence: &mut Evidence) -> &mut Share {
    match &mut evidence.case {
        Case::Share(share) => share,
        other => panic!("a share, not {other:?}"),
    }
}

/// Evidence of everything that a few recipients could have of a few rounds and senders.
fn pool(world: &mut World, who: Who) -> Vec<Evidence> {
    let mut all = Vec::new();
    for round in [ROUND, RoundNumber(ROUND.0 + 1)] {
        for (sender, recipient) in [(0, 1), (0, 2), (3, 1), (1, 1)] {
            let played = world.play(sender, recipient, round, who);
            all.push(world.whole(&played));
        }
    }
    all
}

/// Puts parts of different evidence together, hides, drops and invents.
fn recombine(pool: &[Evidence], rng: &mut StdRng) -> Evidence {
    let mut out = pool[rng.random_range(0..pool.len())].clone();
    for _ in 0..rng.random_range(1..6) {
        let other = share(&pool[rng.random_range(0..pool.len())]).clone();
        let (to, from) = (rng.random_range(0..2), rng.random_range(0..2));
        let own = share_mut(&mut out);
        let [given1, given2] = &other.given;
        let other_given: &Given = [given1, given2][from];
        match rng.random_range(0..12) {
            0 => own.given[to].headers.clone_from(&other_given.headers),
            1 => own.given[to].receipt.clone_from(&other_given.receipt),
            2 => own.given[to].delivery.clone_from(&other_given.delivery),
            3 => own.given[to].cell.clone_from(&other_given.cell),
            4 => own.given[to] = other_given.clone(),
            5 => own.about = other.about,
            6 => own.about.recipient = other.about.recipient,
            7 => own.about.sender = own.roster[rng.random_range(0..own.roster.len())],
            8 => own.about.round = other.about.round,
            9 => {
                own.roster.remove(rng.random_range(0..own.roster.len()));
                own.roster.push(UserId(1000));
            }
            10 => own.given.swap(0, 1),
            _ => {
                if let Some(shown) = &mut own.given[to].headers {
                    shown.opening = ShownOpening::Hidden(shown.opening.hash());
                }
            }
        }
    }
    out
}

#[test]
fn a_recipient_that_recombines_what_it_has_frames_nobody() {
    for seed in 0..4 {
        let mut world = World::new(seed, 5, &[0, 1, 3], &[1]);
        let pool = pool(&mut world, Who::Nobody);
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..400 {
            let made = recombine(&pool, &mut rng);
            let verdict = blame(&made, &world.servers());
            assert!(matches!(verdict, Verdict::Nobody(_)), "seed {seed}: {verdict} by {}", made.to_text());
        }
    }
}

#[test]
fn recombining_never_moves_the_blame_to_somebody_honest() {
    let by_server = BY_SERVER.map(|mischief| Who::Server(ServerSide::One, mischief));
    let by_sender = BY_SENDER.map(Who::Sender);
    for (seed, who) in (0..).zip(by_server.into_iter().chain(by_sender)) {
        let mut world = World::new(seed, 5, &[0, 1, 3], &[1]);
        let pool = pool(&mut world, who);
        let liar = world.roster[0];
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..100 {
            let made = recombine(&pool, &mut rng);
            let verdict = blame(&made, &world.servers());
            let right = match (&verdict, who) {
                (Verdict::Nobody(_), _) => true,
                (Verdict::Server(side, _), Who::Server(lying, _)) => *side == lying,
                (Verdict::Sender(user, _), Who::Sender(_)) => *user == liar,
                _ => false,
            };
            assert!(right, "seed {seed}, {who:?}: {verdict} by {}", made.to_text());
        }
    }
}

/// A server changes bytes of its headers wherever it likes, and signs them, its root and its receipt anew.
#[test]
fn a_server_that_signs_whatever_it_likes_frames_neither_sender_nor_the_other_server() {
    for seed in 0..600 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world = World::new(seed % 7, 5, &[0, 1, 3], &[1]);
        let server = ServerSide::BOTH[rng.random_range(0..2)];
        let played = world.play(0, 1, ROUND, Who::Nobody);
        let mut evidence = world.whole(&played);
        let about = share(&evidence).about;
        let key = &world.server_keys[server.index()];
        let given = &mut share_mut(&mut evidence).given[server.index()];
        let shown = given.headers.as_mut().expect("the whole evidence");
        change(shown, &mut rng);
        let position = u32::from_le_bytes(shown.front[4..8].try_into().expect("four bytes")) as usize;
        if let Some(digest) = shown.digests.get_mut(position) {
            *digest = entry_digest(&shown.front, &shown.opening.hash());
        }
        let digest = headers_digest(&transmute!(shown.head), &shown.path, &shown.blinded, &shown.digests);
        shown.signature = key.sign(&statements::headers(GROUP, server, about.recipient, &digest));
        let verdict = blame(&evidence, &world.servers());
        let right = match verdict {
            Verdict::Server(side, _) => side == server,
            Verdict::Sender(..) => false,
            Verdict::Nobody(_) => true,
        };
        assert!(right, "seed {seed}, {server}: {verdict}");
    }
}

fn change(shown: &mut Shown, rng: &mut StdRng) {
    for _ in 0..rng.random_range(1..4) {
        let bytes: &mut [u8] = match rng.random_range(0..5) {
            0 => &mut shown.head,
            1 => shown.blinded.as_flattened_mut(),
            2 => shown.path.as_flattened_mut(),
            3 => match &mut shown.opening {
                ShownOpening::Open(bytes) => bytes,
                ShownOpening::Hidden(hash) => hash,
            },
            _ => &mut shown.front,
        };
        if !bytes.is_empty() {
            let at = rng.random_range(0..bytes.len());
            bytes[at] ^= 1 << rng.random_range(0..8);
        }
    }
}

/// Bytes of the file, the keys in it not: whoever believes keys that somebody made up can be told anything.
#[test]
fn tampering_with_a_file_never_changes_the_verdict_to_somebody_honest() {
    let cases = [
        Who::Nobody,
        Who::Server(ServerSide::One, BY_SERVER[0]),
        Who::Server(ServerSide::Two, BY_SERVER[2]),
        Who::Sender(BY_SENDER[0]),
        Who::Sender(BY_SENDER[2]),
    ];
    for (seed, who) in (0..).zip(cases) {
        let mut world = World::new(seed, 5, &[0, 1, 3], &[1]);
        let played = world.play(0, 1, ROUND, who);
        let mut rng = StdRng::seed_from_u64(seed);
        for text in [world.whole(&played), world.evidence(&played).0].map(|evidence| evidence.to_text()) {
            for _ in 0..400 {
                let mut bytes = text.clone().into_bytes();
                for _ in 0..rng.random_range(1..3) {
                    let at = rng.random_range(0..bytes.len());
                    bytes[at] = b"0123456789abcdef\"{}[]:, "[rng.random_range(0..24)];
                }
                let Ok(made) = Evidence::from_text(&String::from_utf8(bytes).expect("text")) else {
                    continue;
                };
                let right = match (blame(&made, &world.servers()), who) {
                    (Verdict::Nobody(_), _) => true,
                    (Verdict::Server(side, _), Who::Server(lying, _)) => side == lying,
                    (Verdict::Sender(user, _), Who::Sender(_)) => user == played.about.sender,
                    _ => false,
                };
                assert!(right, "seed {seed}, {who:?}: {}", made.to_text());
            }
        }
    }
}

/// The key of one server is false: then the other one, which shows certificates that the real key signed, is not to blame;
/// and if it is to blame for something of its own, it still is.
#[test]
fn a_false_key_of_one_server_does_not_convict_the_other() {
    let stranger = SigningKey::from_seed(&[9; 32]).verifying_key();
    for side in ServerSide::BOTH {
        let mut world = World::new(8, 5, &[0, 1, 3], &[1]);
        let played = world.play(0, 1, ROUND, Who::Nobody);
        let mut servers = world.servers();
        servers[side.index()] = stranger;
        let judgement = judge(&world.whole(&played), &servers);
        assert_eq!(judgement.verdict, Verdict::Nobody(Why::NoHeaders(ServerSide::One)));
        assert!(judgement.doubts.contains(&Doubt::OtherServer(side.other())), "{:?}", judgement.doubts);

        for mischief in BY_SERVER {
            let mut world = World::new(8, 5, &[0, 1, 3], &[1]);
            let played = world.play(0, 1, ROUND, Who::Server(side.other(), mischief));
            let evidence = world.whole(&played);
            let verdict = blame(&evidence, &world.servers());
            assert!(matches!(verdict, Verdict::Server(..)), "{mischief:?}: {verdict}");
            assert_eq!(blame(&evidence, &servers), verdict, "by its own key alone: {mischief:?}");
        }
    }
}

/// A server has a second key, or told the other one another key than it published. It signs what it likes of its own with
/// it: one receipt or one delivery root does. The other server's certificates have the signature by the first key.
#[test]
fn a_second_key_of_one_server_convicts_neither_the_other_nor_the_sender() {
    for side in ServerSide::BOTH {
        let by_server = BY_SERVER.map(|mischief| Who::Server(side, mischief));
        let all = by_server.into_iter().chain([Who::Nobody]).chain(BY_SENDER.map(Who::Sender));
        for (seed, who) in (0..).zip(all) {
            let [played, again] = [false, true].map(|again| {
                let mut world = World::new(seed, 5, &[0, 1, 3], &[1]);
                if again {
                    world.server_keys[side.index()] = SigningKey::from_seed(&[9; 32]);
                }
                let played = world.play(0, 1, ROUND, who);
                (world.whole(&played), world.servers())
            });
            let ((first, _), (second, servers)) = (played, again);
            for parts in 0..8 {
                let mut made = first.clone();
                let own = &mut share_mut(&mut made).given[side.index()];
                let anew = &share(&second).given[side.index()];
                if parts & 1 != 0 {
                    own.receipt.clone_from(&anew.receipt);
                }
                if parts & 2 != 0 {
                    own.delivery.clone_from(&anew.delivery);
                }
                if parts & 4 != 0 {
                    own.headers.clone_from(&anew.headers);
                }
                let verdict = blame(&made, &servers);
                let right = match verdict {
                    Verdict::Nobody(_) => true,
                    Verdict::Server(found, _) => found == side && matches!(who, Who::Server(..)),
                    Verdict::Sender(..) => false,
                };
                assert!(right, "{side}, {who:?}, parts {parts:#b}: {verdict}");
            }
        }
    }
}

/// Signs with R of small order and its scalar to match: valid by ZIP-215, refused by other rules.
fn sign_with(r: [u8; 32], seed: [u8; 32], message: &[u8]) -> [u8; 64] {
    let order =
        (BigUint::from(1u8) << 252) + "27742317777372353535851937790883648493".parse::<BigUint>().unwrap();
    let expanded = Sha512::digest(seed);
    let mut secret: [u8; 32] = expanded[..32].try_into().expect("half of 64 bytes");
    secret[0] &= 248;
    secret[31] = secret[31] & 127 | 64;
    let public = SigningKey::from_seed(&seed).verifying_key().to_bytes();
    let hash = Sha512::new().chain_update(r).chain_update(public).chain_update(message).finalize();
    let scalar: BigUint = BigUint::from_bytes_le(&hash) * BigUint::from_bytes_le(&secret) % order;
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r);
    let bytes = scalar.to_bytes_le();
    signature[32..32 + bytes.len()].copy_from_slice(&bytes);
    signature
}

/// A sender that signs with points of small order cannot make the server that takes them look guilty.
#[test]
fn points_of_small_order_are_judged_alike_by_single_batch_and_blame() {
    let identity = |first: u8, middle: u8, last: u8| {
        let mut point = [middle; 32];
        (point[0], point[31]) = (first, last);
        point
    };
    // 1, -1, and 1 as p + 1, an encoding that is not canonical.
    let points = [identity(1, 0, 0), identity(0xec, 0xff, 0x7f), identity(0xee, 0xff, 0x7f)];
    let seed = [3; 32];
    let key = SigningKey::from_seed(&seed).verifying_key();
    let halves = [[[1; 32], [2; 32]]];
    let upload = UploadOf {
        group: GROUP,
        epoch: Epoch(1),
        round: ROUND,
        sender: UserId(1),
        server: ServerSide::One,
        halves: &halves,
    };
    let dial =
        |signature| crate::accountable::dial::SignedDial { dial_id: 1, roots: [[0; 32]; 2], signature };
    let mut batch = Batch::default();
    let mut single = Vec::new();
    for point in points {
        let signature = sign_with(point, seed, &upload.statement());
        for bad in [false, true] {
            let mut signature = signature;
            signature[40] ^= u8::from(bad);
            upload.push(&mut batch, &key, &signature);
            single.push(upload.verify(&key, &signature));
        }
        let statement = statements::dial(GROUP, Epoch(1), UserId(1), SlotIndex(0), 1, &[[0; 32]; 2]);
        let dialled = dial(sign_with(point, seed, &statement));
        assert!(dialled.verify(&key, GROUP, Epoch(1), UserId(1), SlotIndex(0)));
    }
    assert_eq!(single, [true, false].repeat(3));
    assert_eq!(batch.verify(&mut rand::rng()), single);
}

/// The same in whole evidence: an upload whose R is of small order is the sender's, so a server that shows it is right.
#[test]
fn an_upload_with_a_point_of_small_order_does_not_convict_the_server() {
    let mut world = World::new(11, 5, &[0, 1, 3], &[1]);
    let Played { about, gave } = world.play(0, 1, ROUND, Who::Nobody);
    let seed = world.user_seed(0);
    let resigned = gave.map(|gave| {
        let server = gave.server;
        let mut signed = gave.entries[gave.position].signed.clone().expect("the sender is present");
        let upload = UploadOf {
            group: GROUP,
            epoch: about.epoch,
            round: about.round,
            sender: about.sender,
            server,
            halves: &signed.halves,
        };
        let mut point = [0; 32];
        point[0] = 1;
        signed.upload = sign_with(point, seed, &upload.statement());
        world.sign_headers_again(gave, &about, signed)
    });
    let played = Played { about, gave: resigned };
    let verdict = blame(&world.whole(&played), &world.servers());
    assert!(matches!(verdict, Verdict::Nobody(Why::AllIsWell)), "{verdict}");
}

#[test]
fn nonsense_in_headers_never_panics() {
    let mut world = World::new(12, 5, &[0, 1, 3], &[1]);
    let played = world.play(0, 1, ROUND, Who::Nobody);
    let body = Gave::body(&played.gave[0]);
    let mut rng = StdRng::seed_from_u64(12);
    for _ in 0..2000 {
        let mut changed = body.clone();
        let at = rng.random_range(0..changed.len().min(64 + 100));
        changed[at] = rng.random();
        if rng.random_range(0..4) == 0 {
            changed.truncate(rng.random_range(0..changed.len()));
        }
        if let Ok(headers) = crate::accountable::headers::Headers::read(&changed) {
            let _ = (headers.delivery_root(), headers.digests(), headers.blinded(), headers.share_hash(9));
        }
    }
    let mut noise = vec![0; 4000];
    rng.fill_bytes(&mut noise);
    assert!(crate::accountable::headers::Headers::read(&noise).is_err());
}
