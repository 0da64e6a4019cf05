//! The paper profiles beside the compact one: making a message's shares, decoding cells; and the
//! multiplication mod q that decides the paper's figures, in `num-bigint` against `crypto-bigint`.
//!
//! ```text
//! cargo bench -p twincast-benches --bench paper
//! ```
//!
//! The throughput is in elements: an element is a message split or a cell decoded, so that `1e9 / (elem/s)`
//! is the time of one in nanoseconds. In a tile every fourth sender has a message for the member that decodes
//! it. The compact profile decodes several cells abreast, so that a tile of one costs it as much as several;
//! one cell alone is decoded by `receive::open`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{NonZero, Odd, Uint};
use num_bigint::BigUint;
use twincast_protocol::context::{Context, Purpose};
use twincast_protocol::format::{Opener, Profile, Scheme, ShareFormat, dial, split};
use twincast_protocol::frame::FrameBytes;
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, ServerSide, SlotIndex};
use twincast_protocol::paper::code::Verifier;
use twincast_protocol::paper::moduli;
use twincast_protocol::paper::shares::{CODEWORD_BYTES, PaperShares};
use twincast_protocol::receive::{Expectation, Expected, TILE_SENDERS, TileCells, Verdict, open};

const MESSAGE: [u8; 256] = [0x5a; 256];
const MEMBERS: u32 = 64;
const MEMBER: MemberIndex = MemberIndex(7);
/// Words of 64 bits that hold q's 2056 bits.
const Q_WORDS: usize = 33;

fn context(sender: u32) -> Context {
    Context {
        group: GroupId(1),
        epoch: Epoch(1),
        round: RoundNumber(1),
        sender: MemberIndex(sender),
        slot: SlotIndex(0),
        purpose: Purpose::Message,
    }
}

/// Each profile, plain and under Algorithm 4, all for messages of 256 bytes.
fn formats() -> impl Iterator<Item = (String, ShareFormat)> {
    let profiles = [(Profile::Compact, 288), (Profile::PaperXor, 256), (Profile::PaperAdd, 256)];
    let schemes = [(Scheme::Plain, ""), (Scheme::Algorithm4, "/algorithm4")];
    schemes.into_iter().flat_map(move |(scheme, suffix)| {
        profiles.map(|(profile, frame_bytes)| {
            let format = ShareFormat::new(profile, frame_bytes, scheme).expect("a frame size");
            (format!("{profile}{suffix}"), format)
        })
    })
}

/// What one sender's cells are to [`MEMBER`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Accept,
    Ignore,
    /// In Algorithm 4: a dummy that only the extra makes whole.
    Decoy,
}

impl Kind {
    /// The kinds that a format has, and their names.
    fn of(format: &ShareFormat) -> &'static [(&'static str, Kind)] {
        let kinds = &[("accept", Kind::Accept), ("ignore", Kind::Ignore), ("decoy", Kind::Decoy)];
        if format.scheme() == Scheme::Algorithm4 { kinds } else { &kinds[..2] }
    }

    /// Dials until the cells are of this kind.
    fn cells(self, format: &ShareFormat, sender: u32) -> [Vec<u8>; 2] {
        let mut rng = rand::rng();
        let recipient = MemberIndex(if self == Kind::Accept { MEMBER.0 } else { MEMBER.0 + 1 });
        let (keys, aim) = std::iter::repeat_with(|| dial(format, MEMBERS, &[recipient], &mut rng))
            .map(|dialled| dialled.expect("a member"))
            .map(|(p1, p2, aim)| ([p1, p2], aim))
            .find(|([p1, p2], _)| (p1.bit(MEMBER) == p2.bit(MEMBER)) == (self == Kind::Ignore))
            .expect("sooner or later");
        let mut rows = ServerSide::BOTH.map(|side| vec![0; format.row_bytes(side)]);
        let out = rows.each_mut().map(Vec::as_mut_slice);
        split(format, &context(sender), &aim, &MESSAGE, &mut rand::rng(), out).expect("it fits");
        ServerSide::BOTH.map(|side| {
            let half = usize::from(keys[side.index()].bit(MEMBER));
            rows[side.index()].chunks(format.cell_bytes(side)).nth(half).expect("two halves").to_vec()
        })
    }
}

/// One member's cells of a tile, of which every fourth is a message for it.
fn tile_cells(format: &ShareFormat) -> [Vec<u8>; 2] {
    let mut cells = [Vec::new(), Vec::new()];
    for sender in 0..TILE_SENDERS as u32 {
        let kind = if sender.is_multiple_of(4) { Kind::Accept } else { Kind::Ignore };
        cells.iter_mut().zip(kind.cells(format, sender)).for_each(|(cells, cell)| cells.extend(cell));
    }
    cells
}

fn generate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("generate");
    group.throughput(Throughput::Elements(1));
    for (name, format) in formats() {
        group.bench_function(name, |bencher| {
            let mut rng = rand::rng();
            let (_, _, aim) = dial(&format, MEMBERS, &[MEMBER], &mut rng).expect("a member");
            let mut rows = ServerSide::BOTH.map(|side| vec![0; format.row_bytes(side)]);
            bencher.iter(|| {
                let out = rows.each_mut().map(Vec::as_mut_slice);
                split(&format, &context(3), &aim, black_box(&MESSAGE), &mut rng, out)
            });
        });
    }
    group.finish();
}

fn reconstruct(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reconstruct");
    for (name, format) in formats() {
        let mut opener = Opener::new(format);
        group.throughput(Throughput::Elements(1));
        for (verdict, kind) in Kind::of(&format) {
            let cells = kind.cells(&format, 3);
            let cells = cells.each_ref().map(Vec::as_slice);
            let tile = TileCells { count: 1, cells, present: [1, 1] };
            let accepted = opener.open(&context(3), &tile, Expected::UNCONFIRMED).accept == 1;
            assert_eq!(accepted, *kind == Kind::Accept, "{name}: {verdict}");
            group.bench_function(format!("{name}/tile of one/{verdict}"), |bencher| {
                bencher.iter(|| opener.open(&context(3), black_box(&tile), Expected::UNCONFIRMED));
            });
        }
        let cells = tile_cells(&format);
        group.throughput(Throughput::Elements(TILE_SENDERS as u64));
        group.bench_function(format!("{name}/batch64"), |bencher| {
            let cells = cells.each_ref().map(Vec::as_slice);
            let tile = TileCells { count: TILE_SENDERS, cells, present: [u64::MAX; 2] };
            let verdicts = opener.open(&context(0), &tile, Expected::UNCONFIRMED);
            assert_eq!(verdicts.accept.count_ones(), 16, "{name}: every fourth sender's message");
            bencher.iter(|| opener.open(&context(0), black_box(&tile), Expected::UNCONFIRMED));
        });
    }
    group.finish();
}

/// The compact profile's decode of one pair of cells.
fn reconstruct_single(criterion: &mut Criterion) {
    let size = FrameBytes::DEFAULT;
    let format = ShareFormat::new(Profile::Compact, 288, Scheme::Plain).expect("a frame size");
    let mut group = criterion.benchmark_group("reconstruct/compact/single");
    group.throughput(Throughput::Elements(1));
    for (verdict, kind) in Kind::of(&format) {
        let [cell1, cell2] = kind.cells(&format, 3);
        let mut scratch = vec![0; size.share_bytes()];
        group.bench_function(*verdict, |bencher| {
            bencher.iter(|| {
                let cells = black_box((cell1.as_slice(), cell2.as_slice()));
                let (cell1, cell2) = (Some(cells.0), Some(cells.1));
                let verdict = open(size, &context(3), cell1, cell2, Expectation::Unconfirmed, &mut scratch);
                matches!(black_box(verdict), Verdict::Accept(_))
            });
        });
    }
    group.finish();
}

/// `mhat * r mod q == c`, in every form that the libraries offer.
fn mulmod(criterion: &mut Criterion) {
    let code = PaperShares::code();
    let mut codeword = vec![0; CODEWORD_BYTES];
    code.encode(true, &MESSAGE, &mut rand::rng(), &mut codeword);
    let parts = code.parse(&codeword).expect("a codeword");
    let mut group = criterion.benchmark_group("mulmod");
    group.throughput(Throughput::Elements(1));

    group.bench_function(BenchmarkId::new("num-bigint", "plain"), |bencher| {
        let q = moduli::q();
        bencher.iter(|| black_box(&parts.mhat) * black_box(&parts.r) % &q == parts.c);
    });
    group.bench_function(BenchmarkId::new("num-bigint", "verifier"), |bencher| {
        let mut verifier = Verifier::new(code);
        assert_eq!(verifier.verify(&codeword), Some(true), "a codeword");
        bencher.iter(|| verifier.verify(black_box(&codeword)));
    });

    let fixed = |number: &BigUint| {
        let mut words = [0; Q_WORDS];
        words.iter_mut().zip(number.iter_u64_digits()).for_each(|(word, digit)| *word = digit);
        Uint::<Q_WORDS>::from_words(words)
    };
    let (q, c, r, mhat) = (fixed(&moduli::q()), fixed(&parts.c), fixed(&parts.r), fixed(&parts.mhat));
    let modulus = NonZero::new(q).expect("q is not zero");
    group.bench_function(BenchmarkId::new("crypto-bigint", "mul_mod"), |bencher| {
        assert!(mhat.mul_mod(&r, &modulus) == c, "a codeword");
        bencher.iter(|| black_box(&mhat).mul_mod(black_box(&r), &modulus) == c);
    });
    group.bench_function(BenchmarkId::new("crypto-bigint", "mul_mod_vartime"), |bencher| {
        bencher.iter(|| black_box(&mhat).mul_mod_vartime(black_box(&r), &modulus) == c);
    });
    // Both sides stay multiplied by 1 / R: two reductions, and no number is brought into Montgomery form.
    group.bench_function(BenchmarkId::new("crypto-bigint", "montgomery"), |bencher| {
        let params = FixedMontyParams::new(Odd::new(q).expect("q is odd"));
        let form = |number: &Uint<Q_WORDS>| FixedMontyForm::from_montgomery(*number, &params);
        let verify = |mhat, r, c| *form(mhat).mul(&form(r)).as_montgomery() == form(c).retrieve();
        assert!(verify(&mhat, &r, &c) && !verify(&mhat, &c, &r), "a codeword");
        bencher.iter(|| verify(black_box(&mhat), black_box(&r), black_box(&c)));
    });
    group.finish();
}

criterion_group!(benches, generate, reconstruct_single, reconstruct, mulmod);
criterion_main!(benches);
