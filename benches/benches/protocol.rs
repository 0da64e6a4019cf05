//! The compact profile's arithmetic: making shares, decoding cells, bit confirmations.
//!
//! ```text
//! cargo bench -p twincast-benches --bench protocol
//! ```
//!
//! The throughput is in elements: an element is a message split, a cell decoded or a confirmation, so that
//! `1e9 / (elem/s)` is the time of one in nanoseconds. The line `roof` is what a tile's bytes cost alone: both
//! servers' cells XORed into a buffer.

use std::hint::black_box;

use criterion::{Bencher, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use twincast_protocol::clmul::Arithmetic;
use twincast_protocol::codeword;
use twincast_protocol::compact::{SplitBuffers, split};
use twincast_protocol::confirm::{
    CONFIRMATION_BYTES, ConfirmationMaker, expand_seed, open_confirmations_with,
};
use twincast_protocol::context::{Context, Purpose};
use twincast_protocol::frame::FrameBytes;
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, SlotIndex};
use twincast_protocol::receive::{BatchOpener, Expectation, Expected, TILE_SENDERS, TileCells, open};
use twincast_protocol::session_key::dial;

const SIZE: FrameBytes = FrameBytes::DEFAULT;
const MESSAGE: [u8; 256] = [0x5a; 256];
const GROUP: GroupId = GroupId(1);
const EPOCH: Epoch = Epoch(1);
const SLOT: SlotIndex = SlotIndex(0);
/// Members of the group whose confirmations are made: 640 kB of parts for each dial.
const MEMBERS: u32 = 10_000;

fn context(sender: u32) -> Context {
    Context {
        group: GROUP,
        epoch: EPOCH,
        round: RoundNumber(1),
        sender: MemberIndex(sender),
        slot: SLOT,
        purpose: Purpose::Message,
    }
}

/// A tile's cells for one member: every fourth sender has a message for it.
fn tile_cells() -> [Vec<u8>; 2] {
    let mut rng = rand::rng();
    let mut workload = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut cells = [(); 2].map(|()| vec![0; TILE_SENDERS * SIZE.share_bytes()]);
    let [cells1, cells2] = &mut cells;
    let each = cells1.chunks_exact_mut(SIZE.share_bytes()).zip(cells2.chunks_exact_mut(SIZE.share_bytes()));
    for (sender, (cell1, cell2)) in (0..).zip(each) {
        match sender % 4 {
            0 => codeword::real(SIZE, &context(sender), &MESSAGE, &mut rng, cell2).expect("it fits"),
            _ => codeword::dummy(SIZE, &context(sender), &mut rng, cell2),
        }
        workload.fill_bytes(cell1);
        cell2.iter_mut().zip(cell1).for_each(|(byte2, byte1)| *byte2 ^= *byte1);
    }
    cells
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Elements(1));
    group.bench_function("split/F288", |bencher| {
        let mut rng = rand::rng();
        let mut halves = [[0; 336]; 4];
        bencher.iter(|| {
            let [a, b, c, d] = halves.each_mut();
            let out = SplitBuffers { s1: [a, b], s2: [c, d] };
            split(SIZE, &context(3), black_box(&MESSAGE), &mut rng, out)
        });
    });
    group.finish();
}

fn decode(criterion: &mut Criterion) {
    let cells = tile_cells();
    let [cells1, cells2] = cells.each_ref().map(Vec::as_slice);
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(1));
    for (verdict, sender) in [("accept", 0), ("ignore", 1)] {
        let at = sender as usize * SIZE.share_bytes();
        let [cell1, cell2] = [cells1, cells2].map(|cells| &cells[at..at + SIZE.share_bytes()]);
        group.bench_function(format!("single/F288/{verdict}"), |bencher| {
            let mut scratch = vec![0; SIZE.share_bytes()];
            bencher.iter(|| {
                let cells = black_box((cell1, cell2));
                let (cell1, cell2) = (Some(cells.0), Some(cells.1));
                let verdict =
                    open(SIZE, &context(sender), cell1, cell2, Expectation::Unconfirmed, &mut scratch);
                matches!(black_box(verdict), twincast_protocol::receive::Verdict::Accept(_))
            });
        });
    }
    group.throughput(Throughput::Elements(TILE_SENDERS as u64));
    group.bench_function("batch64/F288/roof", |bencher| {
        let mut sums = vec![0; cells1.len()];
        bencher.iter(|| {
            let (cells1, cells2) = black_box((cells1, cells2));
            for (sum, (byte1, byte2)) in sums.iter_mut().zip(cells1.iter().zip(cells2)) {
                *sum = byte1 ^ byte2;
            }
            black_box(&sums);
        });
    });
    for arithmetic in Arithmetic::available() {
        group.bench_function(BenchmarkId::new("batch64/F288", arithmetic.name()), |bencher| {
            let tile = TileCells { count: TILE_SENDERS, cells: [cells1, cells2], present: [u64::MAX; 2] };
            let mut opener = BatchOpener::with_arithmetic(SIZE, arithmetic);
            let expected =
                Expected { confirmed: true, real: (0..64).step_by(4).map(|i| 1 << i).sum(), failed: 0 };
            assert_eq!(opener.open(&context(0), &tile, expected).tampered, 0, "a tile without damage");
            bencher.iter(|| opener.open(&context(0), black_box(&tile), expected));
        });
    }
    group.finish();
}

fn confirm(criterion: &mut Criterion) {
    let mut rng = rand::rng();
    let (p1, p2) = dial(MEMBERS, &[MemberIndex(7)], &mut rng).expect("a member");
    let seed = [7; 32];
    let mut group = criterion.benchmark_group("confirm");
    for arithmetic in Arithmetic::available() {
        group.throughput(Throughput::Elements(u64::from(MEMBERS)));
        let maker = |sender| {
            ConfirmationMaker::new(GROUP, EPOCH, MemberIndex(sender), SLOT, &p1, &p2)
                .with_arithmetic(arithmetic)
        };
        group.bench_function(BenchmarkId::new("make/n10000", arithmetic.name()), |bencher| {
            let mut parts = vec![0; MEMBERS as usize * CONFIRMATION_BYTES];
            bencher.iter(|| maker(1).parts(&seed, MemberIndex(0), &mut rng, black_box(&mut parts)));
        });

        group.throughput(Throughput::Elements(TILE_SENDERS as u64));
        let mut cells = [(); 2].map(|()| vec![0; TILE_SENDERS * CONFIRMATION_BYTES]);
        let [cells1, cells2] = &mut cells;
        let each = cells1.as_chunks_mut::<CONFIRMATION_BYTES>().0.iter_mut().zip(cells2.as_chunks_mut().0);
        for (sender, (cell1, cell2)) in (0..).zip(each) {
            let cell2: &mut [u8; CONFIRMATION_BYTES] = cell2;
            expand_seed(&seed, 7, cell1);
            maker(sender).parts(&seed, MemberIndex(7), &mut rng, cell2);
        }
        group.bench_function(
            BenchmarkId::new("open/batch64", arithmetic.name()),
            |bencher: &mut Bencher<'_>| {
                let cells = cells.each_ref().map(Vec::as_slice);
                let tile = TileCells { count: TILE_SENDERS, cells, present: [u64::MAX; 2] };
                let opened = open_confirmations_with(arithmetic, GROUP, EPOCH, MemberIndex(0), SLOT, &tile);
                assert_eq!((opened.real, opened.failed), (u64::MAX, 0), "all of them ring member 7");
                bencher.iter(|| {
                    let tile = black_box(&tile);
                    open_confirmations_with(arithmetic, GROUP, EPOCH, MemberIndex(0), SLOT, tile)
                });
            },
        );
    }
    group.throughput(Throughput::Elements(u64::from(MEMBERS)));
    group.bench_function("expand_seed/n10000", |bencher| {
        let mut parts = vec![0; MEMBERS as usize * CONFIRMATION_BYTES];
        bencher.iter(|| expand_seed(black_box(&seed), 0, black_box(&mut parts)));
    });
    group.finish();
}

criterion_group!(benches, encode, decode, confirm);
criterion_main!(benches);
