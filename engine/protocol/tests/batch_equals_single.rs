//! The fast paths against slow models: the tag against the `polyval` crate, a tile at once against one pair of
//! cells at a time, every kind of arithmetic against the portable twin.

use polyval::universal_hash::UniversalHash;
use polyval::{Block, Polyval};
use proptest::prelude::*;
use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use twincast_protocol::clmul::Arithmetic;
use twincast_protocol::codeword;
use twincast_protocol::confirm::{
    CONFIRMATION_BYTES, ConfirmationMaker, confirmation_parts, expand_seed, open_confirmations_with,
};
use twincast_protocol::context::{Context, Purpose};
use twincast_protocol::frame::FrameBytes;
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, SlotIndex};
use twincast_protocol::receive::{BatchOpener, Expectation, Expected, TileCells, Verdict, open};
use twincast_protocol::session_key::dial;

use common::Stream;

mod common;

/// What a test does to one sender's cells.
#[derive(Clone, Copy, Debug)]
enum Damage {
    None,
    /// Flips this bit of the sum, modulo its size.
    Flip(usize),
    /// A right tag over a frame that begins with these bytes.
    Frame([u8; 4]),
    OtherSender,
    OtherPurpose,
    Zeros,
}

#[derive(Clone, Debug)]
struct Cell {
    message: Option<Vec<u8>>,
    damage: Damage,
    present: [bool; 2],
    expectation: Expectation,
}

fn context(sender: u32) -> Context {
    Context {
        group: GroupId(9),
        epoch: Epoch(8),
        round: RoundNumber(7),
        sender: MemberIndex(sender),
        slot: SlotIndex(2),
        purpose: Purpose::Message,
    }
}

/// PROTOCOL.md section 2 written out over the `polyval` crate, zero blocks and all.
fn naive_tag(size: FrameBytes, context: &Context, codeword: &[u8]) -> [u8; 16] {
    let block = |index: usize| <[u8; 16]>::try_from(&codeword[16 * index..][..16]).expect("16 bytes");
    let frame_blocks = size.bytes() / 16;
    let e = frame_blocks + 3;
    let t = (e + 3..).find(|t| t % 4 == 3).expect("every fourth");
    let mut coefficients = vec![block(frame_blocks)];
    coefficients.extend((0..frame_blocks).map(block));
    coefficients.extend(context.blocks());
    let mut one = [0; 16];
    one[0] = 1;
    let mut polyval = Polyval::new(&block(frame_blocks + 1).into());
    polyval.update(&[Block::from(one)]);
    (e + 1..t).for_each(|_| polyval.update(&[Block::from([0; 16])]));
    coefficients.iter().rev().for_each(|block| polyval.update(&[Block::from(*block)]));
    polyval.finalize().into()
}

fn retag(size: FrameBytes, context: &Context, codeword: &mut [u8]) {
    let tag = naive_tag(size, context, codeword);
    let at = codeword.len() - 16;
    codeword[at..].copy_from_slice(&tag);
}

/// A sender's codeword with its damage.
fn make_codeword(size: FrameBytes, sender: u32, cell: &Cell, rng: &mut Stream) -> Vec<u8> {
    let made_under = match cell.damage {
        Damage::OtherSender => context(sender ^ 1),
        Damage::OtherPurpose => Context { purpose: Purpose::Key, ..context(sender) },
        _ => context(sender),
    };
    let mut codeword = vec![0; size.share_bytes()];
    match &cell.message {
        Some(message) => {
            let message = &message[..message.len().min(size.message_bytes_max())];
            codeword::real(size, &made_under, message, rng, &mut codeword).expect("it fits");
        }
        None => codeword::dummy(size, &made_under, rng, &mut codeword),
    }
    match cell.damage {
        Damage::Flip(bit) => codeword[bit / 8 % size.share_bytes()] ^= 1 << (bit % 8),
        Damage::Frame(start) => {
            codeword[..4].copy_from_slice(&start);
            retag(size, &made_under, &mut codeword);
        }
        Damage::Zeros => codeword.fill(0),
        Damage::None | Damage::OtherSender | Damage::OtherPurpose => {}
    }
    codeword
}

fn damage() -> impl Strategy<Value = Damage> {
    let kind = prop_oneof![Just(0u8), Just(1), Just(1), 2..=255u8];
    prop_oneof![
        4 => Just(Damage::None),
        2 => any::<usize>().prop_map(Damage::Flip),
        2 => (kind, any::<u8>(), 0..3u8, prop_oneof![Just(0), any::<u8>()])
            .prop_map(|(kind, low, high, next)| Damage::Frame([kind, low, high, next])),
        1 => Just(Damage::OtherSender),
        1 => Just(Damage::OtherPurpose),
        1 => Just(Damage::Zeros),
    ]
}

fn cell() -> impl Strategy<Value = Cell> {
    let message = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..400));
    let present = prop_oneof![6 => Just([true, true]), 1 => any::<[bool; 2]>()];
    let expectation = prop_oneof![4 => Just(Expectation::Real), 4 => Just(Expectation::Dummy), 1 => Just(Expectation::Failed)];
    (message, damage(), present, expectation).prop_map(|(message, damage, present, expectation)| Cell {
        message,
        damage,
        present,
        expectation,
    })
}

fn mask(cells: &[Cell], set: impl Fn(&Cell) -> bool) -> u64 {
    cells.iter().enumerate().map(|(index, cell)| u64::from(set(cell)) << index).sum()
}

/// Decodes a tile with one arithmetic, and every pair of cells of it alone, and compares.
fn compare(
    opener: &mut BatchOpener,
    size: FrameBytes,
    first: u32,
    cells: &[Cell],
    sums: &[u8],
    confirmed: bool,
) {
    let share_bytes = size.share_bytes();
    let mut shares1 = vec![0; sums.len()];
    Xoshiro256PlusPlus::seed_from_u64(u64::from(first)).fill_bytes(&mut shares1);
    let shares2: Vec<_> = sums.iter().zip(&shares1).map(|(a, b)| a ^ b).collect();
    let present = [0, 1].map(|server| mask(cells, |cell| cell.present[server]));
    // What lies above the last sender must not matter.
    let junk = u64::MAX.checked_shl(cells.len() as u32).unwrap_or(0);
    let tile = TileCells {
        count: cells.len(),
        cells: [&shares1, &shares2],
        present: [present[0] | junk, present[1] | junk & 0x5555_5555_5555_5555],
    };
    let expected = Expected {
        confirmed,
        real: mask(cells, |cell| match cell.expectation {
            Expectation::Failed => cell.message.is_some(),
            expectation => expectation == Expectation::Real,
        }) | junk,
        failed: mask(cells, |cell| cell.expectation == Expectation::Failed),
    };
    let verdicts = opener.open(&context(first), &tile, expected);
    let all = [verdicts.accept, verdicts.ignore, verdicts.tampered, verdicts.absent, verdicts.incomplete];
    let mut scratch = vec![0; share_bytes];
    for (index, cell) in cells.iter().enumerate() {
        let share = |server: usize, shares| {
            let share: &[u8] = shares;
            cell.present[server].then_some(&share[index * share_bytes..][..share_bytes])
        };
        let expectation = if confirmed { cell.expectation } else { Expectation::Unconfirmed };
        let (share1, share2) = (share(0, &shares1), share(1, &shares2));
        let sender = context(first.wrapping_add(index as u32));
        let single = open(size, &sender, share1, share2, expectation, &mut scratch);
        let position = match single {
            Verdict::Accept(_) => 0,
            Verdict::Ignore => 1,
            Verdict::Tampered => 2,
            Verdict::Absent => 3,
            Verdict::Incomplete => 4,
        };
        let found = all.map(|mask| mask >> index & 1);
        let mut wanted = [0; 5];
        wanted[position] = 1;
        assert_eq!(found, wanted, "sender {index}: {cell:?}, alone {single:?}");
        if let Verdict::Accept(message) = single {
            assert_eq!(message, opener.message(index));
        }
    }
    assert_eq!(all.iter().fold(0, |sum, mask| sum | mask) & junk, 0, "verdicts on nobody");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_tile_decodes_like_its_cells_alone(
        cells in proptest::collection::vec(cell(), 0..=64),
        frame_blocks in prop_oneof![Just(18u32), 1..40u32],
        first in prop_oneof![0..10_000u32, Just(u32::MAX - 20)],
        confirmed: bool,
        seed: [u8; 32],
    ) {
        let size = FrameBytes::new(16 * frame_blocks).expect("a multiple of 16");
        let mut rng = Stream::new(&seed);
        let senders = (0..).map(|index| first.wrapping_add(index));
        let sums: Vec<_> = senders
            .zip(&cells)
            .flat_map(|(sender, cell)| make_codeword(size, sender, cell, &mut rng))
            .collect();
        for arithmetic in Arithmetic::available() {
            let mut opener = BatchOpener::with_arithmetic(size, arithmetic);
            compare(&mut opener, size, first, &cells, &sums, confirmed);
        }
    }

    #[test]
    fn tags_match_the_polyval_crate(
        frame_blocks in 1..80u32,
        sender: u32,
        message in proptest::collection::vec(any::<u8>(), 0..13),
        seed: [u8; 32],
    ) {
        let size = FrameBytes::new(16 * frame_blocks).expect("a multiple of 16");
        let mut rng = Stream::new(&seed);
        let mut codeword = vec![0; size.share_bytes()];
        let (body, context) = (size.bytes() + 32, context(sender));
        codeword::real(size, &context, &message, &mut rng, &mut codeword).expect("it fits");
        prop_assert_eq!(&codeword[body..], naive_tag(size, &context, &codeword));
        codeword::dummy(size, &context, &mut rng, &mut codeword);
        prop_assert_eq!(&codeword[body..], naive_tag(size, &context, &codeword));
    }

    #[test]
    fn confirmations_open_to_the_dialled_bits(
        members in 1..200u32,
        sender in 0..1000u32,
        missing: [u64; 2],
        flip in 0..512usize,
        seed: [u8; 32],
    ) {
        // The senders are a tile; each dials a random set. Every member opens what the tile sent it.
        let (group, epoch, slot) = (GroupId(4), Epoch(3), SlotIndex(1));
        let count = 1 + (seed[0] % 64) as usize;
        let mut rng = Stream::new(&seed);
        let mut workload = Xoshiro256PlusPlus::from_seed(seed);
        let mut dialled = Vec::new();
        for index in 0..count as u32 {
            let recipients: Vec<_> =
                (0..members).map(MemberIndex).filter(|_| workload.random_bool(0.3)).collect();
            let (p1, p2) = dial(members, &recipients, &mut rng).expect("members");
            let dial_seed: [u8; 32] = workload.random();
            let mut parts1 = vec![0; members as usize * CONFIRMATION_BYTES];
            let mut parts2 = parts1.clone();
            expand_seed(&dial_seed, 0, &mut parts1);
            let from = MemberIndex(sender + index);
            confirmation_parts(group, epoch, from, slot, &p1, &p2, &dial_seed, &mut rng, &mut parts2);
            dialled.push((p1, p2, parts1, parts2));
        }
        let member = MemberIndex(workload.random_range(0..members));
        let at = member.0 as usize * CONFIRMATION_BYTES;
        let mut cells = [Vec::new(), Vec::new()];
        for (_, _, parts1, parts2) in &dialled {
            cells[0].extend_from_slice(&parts1[at..at + CONFIRMATION_BYTES]);
            cells[1].extend_from_slice(&parts2[at..at + CONFIRMATION_BYTES]);
        }
        let altered = workload.random_range(0..count);
        cells[1][altered * CONFIRMATION_BYTES + flip / 8] ^= 1 << (flip % 8);
        let bits = |of: fn(bool, bool) -> bool| {
            let dialled = dialled.iter().enumerate();
            dialled.map(|(index, (p1, p2, ..))| u64::from(of(p1.bit(member), p2.bit(member))) << index).sum::<u64>()
        };
        let senders = u64::MAX >> (64 - count);
        let failed = senders & (1 << altered | missing[0] | missing[1]);
        let tile = TileCells {
            count,
            cells: cells.each_ref().map(Vec::as_slice),
            present: missing.map(|missing| !missing),
        };
        for arithmetic in Arithmetic::available() {
            let opened =
                open_confirmations_with(arithmetic, group, epoch, MemberIndex(sender), slot, &tile);
            prop_assert_eq!(opened.failed, failed);
            prop_assert_eq!(opened.bits1, bits(|b1, _| b1) & !failed);
            prop_assert_eq!(opened.bits2, bits(|_, b2| b2) & !failed);
            prop_assert_eq!(opened.real, bits(|b1, b2| b1 != b2) & !failed);
            prop_assert_eq!(opened.expected(), Expected { confirmed: true, real: opened.real, failed });
        }
    }

    #[test]
    fn confirmations_made_in_ranges_are_those_made_at_once(
        members in 1..300u32,
        at in any::<proptest::sample::Index>(),
        seed: [u8; 32],
    ) {
        let (p1, p2) = dial(members, &[MemberIndex(0)], &mut Stream::new(&seed)).expect("a member");
        let maker =
            ConfirmationMaker::new(GroupId(1), Epoch(1), MemberIndex(5), SlotIndex(0), &p1, &p2);
        let first = at.index(members as usize + 1);
        let mut whole = vec![0; members as usize * CONFIRMATION_BYTES];
        maker.parts(&seed, MemberIndex(0), &mut Stream::new(&seed), &mut whole);
        for arithmetic in Arithmetic::available() {
            let maker =
                ConfirmationMaker::new(GroupId(1), Epoch(1), MemberIndex(5), SlotIndex(0), &p1, &p2)
                    .with_arithmetic(arithmetic);
            let mut ranges = vec![0; whole.len()];
            let (low, high) = ranges.split_at_mut(first * CONFIRMATION_BYTES);
            let mut rng = Stream::new(&seed);
            maker.parts(&seed, MemberIndex(0), &mut rng, low);
            maker.parts(&seed, MemberIndex(first as u32), &mut rng, high);
            prop_assert_eq!(&ranges, &whole);
        }
        let mut parts1 = vec![0; whole.len()];
        expand_seed(&seed, 0, &mut parts1);
        let mut late = vec![0; whole.len() - first * CONFIRMATION_BYTES];
        expand_seed(&seed, first as u32, &mut late);
        prop_assert_eq!(&parts1[first * CONFIRMATION_BYTES..], late);
    }
}
