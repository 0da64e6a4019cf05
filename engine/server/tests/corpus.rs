//! The fuzz targets of `engine/fuzz` as ordinary tests: over the corpus, and over what is like it. A target that panics
//! fails here, with the file and the seed.

#[path = "../../fuzz/targets.rs"]
mod targets;

use rand::{RngExt as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::panic::catch_unwind;
use std::path::Path;

/// Inputs like each file of the corpus that are tried.
const LIKE_EACH: u64 = 40;

fn run(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} has no file", folder.display());
    let corpus: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    for (file, data) in files.iter().zip(&corpus) {
        for seed in 0..=LIKE_EACH {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let input = if seed == 0 { data.clone() } else { like(data, &corpus, &mut rng) };
            let ran = catch_unwind(|| target(&input));
            assert!(ran.is_ok(), "{name} panicked on what is like {}, seed {seed}", file.display());
        }
    }
}

/// Some bytes changed, cut out, put in, or another file's end.
fn like(data: &[u8], corpus: &[Vec<u8>], rng: &mut Xoshiro256PlusPlus) -> Vec<u8> {
    let mut out = data.to_vec();
    for _ in 0..rng.random_range(1..6) {
        let at = rng.random_range(0..=out.len());
        match rng.random_range(0..5) {
            0 if at < out.len() => out[at] ^= 1 << rng.random_range(0..8),
            1 if at < out.len() => out[at] = [0, 1, 0x7f, 0x80, 0xff][rng.random_range(0..5)],
            2 => out.truncate(at),
            3 => drop(out.splice(at..at, (0..rng.random_range(1..9)).map(|_| rng.random::<u8>()))),
            _ => {
                let other = &corpus[rng.random_range(0..corpus.len())];
                out.truncate(at);
                out.extend_from_slice(&other[at.min(other.len())..]);
            }
        }
    }
    out
}

macro_rules! corpus_tests {
    ($($name:ident),*) => { $(
        #[test]
        fn $name() {
            run(stringify!($name), targets::$name);
        }
    )* };
}

corpus_tests!(
    client_frames,
    server_frames,
    accountable_frames,
    line,
    registration,
    link_frames,
    cells,
    answers,
    channel,
    accountable,
    evidence,
    blame
);
