//! Key exchange and end-to-end encryption.
//!
//! ```text
//! cargo bench -p twincast-benches --bench keys
//! ```
//!
//! The throughput is in elements: a member's part made, a cell opened, a pair's keys derived, a message sealed or
//! opened, so that `1e9 / (elem/s)` is the time of one in nanoseconds. The line `roof` is what the parts of a tile
//! cost alone: both servers' cells XORed into a buffer.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::Rng;
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber};
use twincast_protocol::keys::{KEY_PART_BYTES, KeyKind, KeyPartsMaker, Keypair, Role, open_keys, pair_key};
use twincast_protocol::parts::{PartKind, expand_parts};
use twincast_protocol::receive::{TILE_SENDERS, TileCells};
use twincast_protocol::sealed::{Associated, SEAL_OVERHEAD_BYTES, SealKey, open, seal};

const GROUP: GroupId = GroupId(1);
const EPOCH: Epoch = Epoch(1);
/// Members of the group that parts are made for: 960 kB of them for each sender.
const MEMBERS: u32 = 10_000;
const MESSAGE: [u8; 256] = [0x5a; 256];

/// One in four is wanted.
fn wanted(member: MemberIndex) -> bool {
    member.0.is_multiple_of(4)
}

fn parts(criterion: &mut Criterion) {
    let mut rng = rand::rng();
    let (seed, public) = ([7; 32], *Keypair::random(&mut rng).public());
    let mut group = criterion.benchmark_group("key_parts");
    group.throughput(Throughput::Elements(u64::from(MEMBERS)));
    let mut parts = vec![0; MEMBERS as usize * KEY_PART_BYTES];
    group.bench_function("make/n10000", |bencher| {
        let maker = KeyPartsMaker::new(GROUP, EPOCH, MemberIndex(1), KeyKind::Key, &public, &wanted);
        bencher.iter(|| maker.parts(&seed, MemberIndex(0), &mut rng, black_box(&mut parts)));
    });
    group.bench_function("expand/n10000", |bencher| {
        bencher.iter(|| expand_parts(black_box(&seed), PartKind::Key, 0, black_box(&mut parts)));
    });

    group.throughput(Throughput::Elements(TILE_SENDERS as u64));
    let mut cells = [(); 2].map(|()| vec![0; TILE_SENDERS * KEY_PART_BYTES]);
    let [cells1, cells2] = &mut cells;
    let each = cells1.chunks_exact_mut(KEY_PART_BYTES).zip(cells2.chunks_exact_mut(KEY_PART_BYTES));
    for (sender, (cell1, cell2)) in (0..).zip(each) {
        let maker = KeyPartsMaker::new(GROUP, EPOCH, MemberIndex(sender), KeyKind::Key, &public, &wanted);
        expand_parts(&seed, PartKind::Key, sender, cell1);
        maker.parts(&seed, MemberIndex(sender), &mut rng, cell2);
    }
    let cells = cells.each_ref().map(Vec::as_slice);
    let tile = TileCells { count: TILE_SENDERS, cells, present: [u64::MAX; 2] };
    let opened = open_keys(GROUP, EPOCH, MemberIndex(0), KeyKind::Key, &tile);
    assert_eq!((opened.accepted.count_ones(), opened.failed), (16, 0), "one in four");
    group.bench_function("open/batch64", |bencher| {
        bencher.iter(|| open_keys(GROUP, EPOCH, MemberIndex(0), KeyKind::Key, black_box(&tile)));
    });
    group.bench_function("open/batch64/roof", |bencher| {
        let mut sums = vec![0; TILE_SENDERS * KEY_PART_BYTES];
        bencher.iter(|| {
            let [cells1, cells2] = black_box(cells);
            for (sum, (byte1, byte2)) in sums.iter_mut().zip(cells1.iter().zip(cells2)) {
                *sum = byte1 ^ byte2;
            }
            black_box(&sums);
        });
    });
    group.finish();
}

fn pairs(criterion: &mut Criterion) {
    let mut rng = rand::rng();
    let [own, partner] = [(); 2].map(|()| Keypair::random(&mut rng));
    let mut group = criterion.benchmark_group("pair");
    group.throughput(Throughput::Elements(1));
    group.bench_function("keypair", |bencher| bencher.iter(|| Keypair::random(&mut rng)));
    group.bench_function("pair_key", |bencher| {
        bencher.iter(|| {
            let theirs = black_box(partner.public());
            pair_key(&own, MemberIndex(0), theirs, MemberIndex(1), GROUP, EPOCH, Role::Initiator)
        });
    });
    group.finish();
}

fn sealing(criterion: &mut Criterion) {
    let mut rng = rand::rng();
    let key = SealKey::random(&mut rng);
    let mut associated = Associated {
        group: GROUP,
        epoch: EPOCH,
        round: RoundNumber(0),
        sender: MemberIndex(0),
        recipient_set: 0,
        sequence: 0,
    };
    let mut sealed = [0; MESSAGE.len() + SEAL_OVERHEAD_BYTES];
    let mut out = [0; MESSAGE.len()];
    let mut group = criterion.benchmark_group("sealed");
    group.throughput(Throughput::Elements(1));
    group.bench_function("seal/256", |bencher| {
        bencher.iter(|| {
            associated.round = associated.round.next();
            seal(&key, &associated, black_box(&MESSAGE), &mut sealed);
        });
    });
    group.bench_function("open/256/accept", |bencher| {
        bencher.iter(|| open(&key, &associated, black_box(&sealed), &mut out).is_some());
    });
    rng.fill_bytes(&mut sealed);
    group.bench_function("open/256/ignore", |bencher| {
        bencher.iter(|| open(&key, &associated, black_box(&sealed), &mut out).is_some());
    });
    group.finish();
}

criterion_group!(benches, parts, pairs, sealing);
criterion_main!(benches);
