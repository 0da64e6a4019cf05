//! Sealing and gathering on one core: the 64 x 64 transpose, select words, and the gather that fills slabs.
//!
//! `cargo bench -p twincast-benches --bench tile`. The gather's figure is `gather/336`, in bytes a second; the roof
//! beside it is a plain copy of a slab that is already in order.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::hint::black_box;
use std::time::Duration;
use twincast_protocol::context::Purpose;
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, SlotIndex};
use twincast_server::roster::Roster;
use twincast_server::tile::{Tile, TileHead};
use twincast_server::transpose::{select_words, transpose_64};

const SEED: u64 = 1;
const MEMBERS: usize = 1000;
const SLAB_BYTES: usize = 256 << 10;

fn tile(cell_bytes: usize) -> Tile {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(SEED);
    let head = TileHead {
        epoch: Epoch(0),
        round: RoundNumber(1),
        purpose: Purpose::Message,
        slot: SlotIndex(0),
        tile: 0,
        first_sender: MemberIndex(0),
        senders: 64,
        present: u64::MAX,
    };
    let mut tile = Tile::for_messages(cell_bytes);
    let roster = Roster::initial(GroupId(0), Epoch(0), MEMBERS);
    tile.begin_messages(head, roster, (0..MEMBERS).map(|_| rng.random()).collect());
    (0..64).for_each(|sender| rng.fill_bytes(tile.row_mut(sender)));
    tile
}

fn gather(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gather");
    group.measurement_time(Duration::from_secs(3));
    let mut slab = vec![0; SLAB_BYTES];
    for cell_bytes in [336, 64, 96, 771, 772] {
        let tile = tile(cell_bytes);
        group.throughput(Throughput::Bytes(SLAB_BYTES as u64));
        let mut first = 0;
        group.bench_function(cell_bytes.to_string(), |bencher| {
            bencher.iter(|| {
                let (mut at, mut user) = (0, first);
                while at < slab.len() {
                    at += tile.gather(MemberIndex(user as u32), 0, &mut slab[at..]);
                    user = (user + 1) % MEMBERS;
                }
                first = user;
                black_box(&mut slab);
            });
        });
    }
    let ready = vec![7_u8; SLAB_BYTES];
    group.bench_function("roof: copy of a ready slab", |bencher| {
        bencher.iter(|| black_box(&mut slab).copy_from_slice(black_box(&ready)));
    });
    group.finish();
}

fn transpose(criterion: &mut Criterion) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(SEED);
    let mut rows: [u64; 64] = std::array::from_fn(|_| rng.random());
    criterion.bench_function("transpose/64x64", |bencher| {
        bencher.iter(|| transpose_64(black_box(&mut rows)));
    });
    let width = MEMBERS.div_ceil(64);
    let keys: Vec<u64> = (0..64 * width).map(|_| rng.random()).collect();
    let mut words = vec![0; MEMBERS];
    criterion.bench_function("transpose/select words of a tile, n = 1000", |bencher| {
        bencher.iter(|| select_words(black_box(&keys).chunks_exact(width), black_box(&mut words)));
    });
}

criterion_group!(benches, transpose, gather);
criterion_main!(benches);
