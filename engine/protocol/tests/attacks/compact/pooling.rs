//! Two members together, and a server and a member together, against the compact profile.

use sha2::{Digest, Sha256};
use twincast_protocol::codeword;
use twincast_protocol::confirm::{CONFIRMATION_BYTES, ConfirmationMaker, expand_seed};
use twincast_protocol::context::Context;
use twincast_protocol::format::{Profile, Scheme};
use twincast_protocol::frame::FrameBytes;
use twincast_protocol::ids::MemberIndex;
use twincast_protocol::keys::{KEY_PART_BYTES, KeyKind, KeyPartsMaker};
use twincast_protocol::parts::{PartKind, expand_parts};
use twincast_protocol::receive::Verdict;
use twincast_protocol::sealed::{SEAL_OVERHEAD_BYTES, SealKey, Sealer, open_verdict};
use twincast_protocol::session_key::SessionKey;

use crate::common::Stream;
use crate::script::Script;
use crate::world::{CONTEXT, Dialled, Read, Reader, TEXT, format};

/// Two accounts of which neither is a recipient add up what they got across: with their bits different they hold all
/// four halves. What is sealed inside stays closed, and they are silent about it like everybody.
#[test]
fn two_accounts_read_what_is_not_theirs() {
    const TRIALS: u32 = 400;
    let format = format(Profile::Compact, Scheme::Plain);
    let mut reader = Reader::new(format);
    let mut rng = Stream::new(&[4; 32]);
    let (key, others_key) = (SealKey::random(&mut rng), SealKey::random(&mut rng));
    let mut sealer = Sealer::new(key, CONTEXT.group, CONTEXT.epoch, CONTEXT.sender, 0);
    let mut sealed = vec![0; TEXT.len() + SEAL_OVERHEAD_BYTES];
    let associated = sealer.seal(CONTEXT.round, 0, TEXT, &mut sealed).expect("the first");
    let (mut plain_read, mut sealed_read, mut opened) = (0, 0, 0);
    for _ in 0..TRIALS {
        let dialled = Dialled::new(format, 8, &[MemberIndex(2), MemberIndex(3)], &mut rng);
        let [bits_a, bits_b] = [MemberIndex(5), MemberIndex(6)].map(|member| dialled.bits(member));
        let across = [[bits_a[0], bits_b[1]], [bits_b[0], bits_a[1]]];
        let plain = dialled.send(TEXT, &mut rng);
        plain_read +=
            u32::from(across.iter().any(|bits| reader.read_unconfirmed(plain.cells(*bits)).accepts(TEXT)));
        let round = dialled.send(&sealed, &mut rng);
        for bits in across {
            if let Read::Accept(text) = reader.read_unconfirmed(round.cells(bits)) {
                sealed_read += u32::from(bits == across[0]);
                let mut out = [0; TEXT.len()];
                let verdict = open_verdict(Verdict::Accept(&text), &others_key, &associated, &mut out);
                assert_eq!(verdict, Verdict::Ignore, "and they stay silent");
                opened += u32::from(out == *TEXT);
            }
        }
    }
    println!(
        "compact: two accounts read {plain_read} and {sealed_read} of {TRIALS} messages; of sealed ones they open {opened}"
    );
    for read in [plain_read, sealed_read] {
        assert!((150..250).contains(&read), "about a half: {read} of {TRIALS}");
    }
    assert_eq!(opened, 0);
}

const MEMBERS: u32 = 6;
/// The member that works with the server.
const MEMBER: MemberIndex = MemberIndex(2);

fn subsets() -> impl Iterator<Item = (u8, Vec<MemberIndex>)> {
    (0..1 << MEMBERS).map(|subset: u8| {
        (subset, (0..MEMBERS).map(MemberIndex).filter(|member| subset >> member.0 & 1 == 1).collect())
    })
}

fn part(parts: &[u8], bytes: usize, member: MemberIndex) -> &[u8] {
    &parts[member.0 as usize * bytes..][..bytes]
}

fn confirmations<'a>(keys: &'a [SessionKey; 2]) -> ConfirmationMaker<'a> {
    let Context { group, epoch, sender, slot, .. } = CONTEXT;
    ConfirmationMaker::new(group, epoch, sender, slot, &keys[0], &keys[1])
}

/// All that S1 and the member hold after a dial, a key exchange and a round, drawn from these coins.
fn view_of_s1_and_member(recipients: &[MemberIndex], coins: u8) -> Vec<u8> {
    let mut rng = Stream::new(&[coins; 32]);
    let (seed, key_seed) = ([coins; 32], [coins ^ 0xff; 32]);
    let format = format(Profile::Compact, Scheme::Plain);
    let dialled = Dialled::new(format, MEMBERS, recipients, &mut rng);
    let round = dialled.send(TEXT, &mut rng);
    let mut parts2 = vec![0; MEMBERS as usize * CONFIRMATION_BYTES];
    confirmations(&dialled.keys).parts(&seed, MemberIndex(0), &mut rng, &mut parts2);
    let wanted = |member| recipients.contains(&member);
    let mut keys2 = vec![0; MEMBERS as usize * KEY_PART_BYTES];
    KeyPartsMaker::new(CONTEXT.group, CONTEXT.epoch, CONTEXT.sender, KeyKind::Key, &[7; 32], &wanted).parts(
        &key_seed,
        MemberIndex(0),
        &mut rng,
        &mut keys2,
    );
    let [_, cell2] = round.cells(dialled.bits(MEMBER));
    [
        // S1: its key, both of its halves, its seeds.
        dialled.keys[0].as_bytes(),
        &round.halves[0].concat(),
        &seed,
        &key_seed,
        // The member: what it got from S2.
        cell2,
        part(&parts2, CONFIRMATION_BYTES, MEMBER),
        part(&keys2, KEY_PART_BYTES, MEMBER),
    ]
    .concat()
}

/// The coins of the confirmations under which S2's parts are `target`, and what they then make of S1's.
fn explicit_confirmations(dialled: &Dialled, target: &[u8], coins: u8) -> (Vec<u8>, Vec<u8>) {
    let context = Context::confirmation(CONTEXT.group, CONTEXT.epoch, CONTEXT.sender, CONTEXT.slot);
    let mut script = Vec::new();
    for member in dialled.members() {
        let code_coins = [coins ^ member.0 as u8; 32];
        let message = dialled.bits(member).map(|bit| bit as u8);
        let mut codeword = [0; CONFIRMATION_BYTES];
        codeword::real(
            FrameBytes::CONFIRM,
            &context,
            &message,
            &mut Script::new(&[&code_coins]),
            &mut codeword,
        )
        .expect("two bytes fit");
        script.extend(code_coins);
        script.extend(codeword.iter().zip(part(target, CONFIRMATION_BYTES, member)).map(|(a, b)| a ^ b));
    }
    let mut parts = [(); 2].map(|()| vec![0; target.len()]);
    let [parts1, parts2] = &mut parts;
    let mut script = Script::new(&[&script]);
    confirmations(&dialled.keys).explicit_parts(MemberIndex(0), &mut script, parts1, parts2);
    parts.into()
}

/// All that S2 and the member hold, from the coins under which S2's key is `p2` and its confirmation parts `target`.
/// For each set of recipients there are such coins, and all coins are equally likely.
fn view_of_s2_and_member(subset: u8, recipients: &[MemberIndex], p2: u8, target: &[u8]) -> Vec<u8> {
    let format = format(Profile::Compact, Scheme::Plain);
    let dialled = Dialled::new(format, MEMBERS, recipients, &mut Script::new(&[&[p2 ^ subset]]));
    let round = dialled.send(TEXT, &mut Stream::new(&[p2; 32]));
    let (parts1, parts2) = explicit_confirmations(&dialled, target, p2);
    let [cell1, _] = round.cells(dialled.bits(MEMBER));
    [
        dialled.keys[1].as_bytes(),
        &round.halves[1].concat(),
        &parts2,
        cell1,
        part(&parts1, CONFIRMATION_BYTES, MEMBER),
    ]
    .concat()
}

/// The member whom a single flip of P1 gives the hash.
fn recipient_by_hash(p1: &SessionKey, hash: impl Fn(&[u8]) -> Vec<u8>, wanted: &[u8]) -> Option<MemberIndex> {
    (0..p1.members()).map(MemberIndex).find(|member| {
        let mut flipped = p1.as_bytes().to_vec();
        flipped[member.0 as usize / 8] ^= 1 << (member.0 % 8);
        hash(&flipped) == wanted
    })
}

/// Whoever the recipients are, as long as the member is one or is not: the same coins, or others as likely, show the
/// server and the member together the very same bytes.
#[test]
fn one_server_and_one_member_do_not_learn_recipients() {
    let (mut views, mut told) = (0, 0);
    for coins in 0..16 {
        let mut first: [Option<Vec<u8>>; 2] = [None, None];
        for (_, recipients) in subsets() {
            let view = view_of_s1_and_member(&recipients, coins);
            let first = first[usize::from(recipients.contains(&MEMBER))].get_or_insert_with(|| view.clone());
            assert!(*first == view, "coins {coins}, recipients {recipients:?}");
            views += 1;
        }
        told += usize::from(first[0] != first[1]);
    }
    assert_eq!(told, 16, "the member's own part is in the view");

    for p2 in 0..1 << MEMBERS {
        let mut target = vec![0; MEMBERS as usize * CONFIRMATION_BYTES];
        expand_parts(&[p2; 32], PartKind::Confirmation, 0, &mut target);
        let mut first: [Option<Vec<u8>>; 2] = [None, None];
        for (subset, recipients) in subsets() {
            let view = view_of_s2_and_member(subset, &recipients, p2, &target);
            assert_eq!(view[0], p2, "S2's key");
            let first = first[usize::from(recipients.contains(&MEMBER))].get_or_insert_with(|| view.clone());
            assert!(*first == view, "S2's key {p2:b}, recipients {recipients:?}");
            views += 1;
        }
    }
    println!(
        "compact: {views} views of a server and a member, equal for all recipients but the member itself"
    );

    // One thing more, and they learn it all: a hash of P2 that the member passes on. Salted, it is worth nothing to
    // them, and this protocol sends neither.
    let mut rng = Stream::new(&[5; 32]);
    let (mut unsalted, mut salted) = (0, 0);
    for recipient in (0..64).map(MemberIndex) {
        let format = format(Profile::Compact, Scheme::Plain);
        let dialled = Dialled::new(format, 64, &[recipient], &mut rng);
        let [p1, p2] = &dialled.keys;
        let mut salt = [0; 32];
        expand_seed(&[recipient.0 as u8; 32], 0, &mut salt);
        let plain_hash = |key: &[u8]| Sha256::digest(key).to_vec();
        let salted_hash = |key: &[u8]| Sha256::new().chain_update(salt).chain_update(key).finalize().to_vec();
        unsalted +=
            u32::from(recipient_by_hash(p1, plain_hash, &plain_hash(p2.as_bytes())) == Some(recipient));
        salted += u32::from(recipient_by_hash(p1, plain_hash, &salted_hash(p2.as_bytes())).is_some());
    }
    println!(
        "compact: with an unsalted hash of P2 they name {unsalted} of 64 recipients, with a salted one {salted}"
    );
    assert_eq!((unsalted, salted), (64, 0));
}
