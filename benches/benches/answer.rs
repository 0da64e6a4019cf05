//! The answer kernel: logical work a core, each kernel beside the plain XOR of the selected records with the
//! same instructions, and over threads.
//!
//! ```text
//! cargo bench -p twincast-benches --bench answer
//! cargo bench -p twincast-benches --bench answer -- --group 10000 --passes 9 --threads 4
//! ```
//!
//! Logical work of a query is n records, whether its bits select them or not: n * record bytes / time. A pass
//! is a whole round: all tiles, all queries, the making of the tables with it. `plain` is measured over some of
//! the queries, evenly spread (their number is printed), since it takes the same for each; what the tables gave
//! for these is compared with it. `ran` is the CPU time of the thread in the share of the wall clock: where it
//! is not near 100%, somebody else used the core.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::Instant;
use twincast_answer::{AnswerSet, Answers, Kernel, Part, Queries, Shape, TILE_RECORDS, parts};

const RECORD_BYTES: usize = 352;
const SEED: u64 = 1;
/// Queries that are answered the plain way as well.
const PLAIN_QUERIES: usize = 32;
/// What answers are read into: a slab of the egress.
const BUFFER_BYTES: usize = 256 << 10;
/// Short passes are repeated for at least so long, in seconds.
const REPEAT_S: f64 = 1.0;

struct Options {
    groups: Vec<usize>,
    passes: usize,
    threads: usize,
}

/// One round's table and an epoch's queries.
struct Group {
    shape: Shape,
    table: Vec<u8>,
    queries: Queries,
}

/// Wall-clock and CPU time of something.
#[derive(Clone, Copy)]
struct Time {
    wall_s: f64,
    cpu_s: f64,
}

fn main() {
    let options = options();
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name\t: ")).unwrap_or("unknown processor");
    println!(
        "{model} | {} | {} cores, threads pinned | records of {RECORD_BYTES} bytes, K = 1, seed {SEED}, {} passes or more",
        system(),
        cores(),
        options.passes
    );
    for &records in &options.groups {
        let group = group(records);
        one_core(&group, &options);
        over_threads(&group, &options);
    }
}

/// Makes a group's table and queries, and says what it takes to set queries.
fn group(records: usize) -> Group {
    pin(0);
    let shape = Shape::new(records, records, RECORD_BYTES).expect("a group");
    let mut table = vec![0; records * RECORD_BYTES];
    Xoshiro256PlusPlus::seed_from_u64(SEED).fill_bytes(&mut table);
    println!(
        "\nn = {records}: {:.1} MB of queries, {:.1} MB of answers",
        shape.query_memory_bytes() as f64 / 1e6,
        shape.answer_memory_bytes() as f64 / 1e6
    );
    // Neighbours' words share pages and lines, so what it takes depends on the order.
    let step = (records * 5 / 8..).find(|step| coprime(*step, records)).expect("a step through all");
    let orders: [(&str, Vec<usize>); 2] = [
        ("far apart", (0..records).map(|turn| turn * step % records).collect()),
        ("in order", (0..records).collect()),
    ];
    let mut kept: Option<Queries> = None;
    for (name, order) in orders {
        if let Some(queries) = kept.take() {
            println!("queries zeroed and given back: {:.3} s", timed(|| drop(queries)).wall_s);
        }
        let mut queries = Queries::new(&shape);
        let (mut bits, mut first_s, mut again_s) = (vec![0; records.div_ceil(8)], 0.0, 0.0);
        for query in &order {
            random_bits(records, *query, &mut bits);
            first_s += timed(|| queries.set(*query, &bits).expect("a query")).wall_s;
        }
        for query in &order {
            random_bits(records, *query, &mut bits);
            again_s += timed(|| queries.set(*query, &bits).expect("a query")).wall_s;
        }
        println!(
            "queries set {name:<10} {:.2} us each in fresh memory, {:.2} us again; {first_s:.3} s and {again_s:.3} s for all",
            first_s * 1e6 / records as f64,
            again_s * 1e6 / records as f64
        );
        kept = Some(queries);
    }
    Group { shape, table, queries: kept.expect("two orders") }
}

fn coprime(a: usize, b: usize) -> bool {
    if b == 0 { a == 1 } else { coprime(b, a % b) }
}

fn random_bits(records: usize, query: usize, bits: &mut [u8]) {
    Xoshiro256PlusPlus::seed_from_u64(SEED + 1 + query as u64).fill_bytes(bits);
    if !records.is_multiple_of(8) {
        *bits.last_mut().expect("at least one byte") &= (1 << (records % 8)) - 1;
    }
}

/// What a kernel took on one core.
struct Figures {
    kernel: Kernel,
    tables: Vec<Time>,
    plain: Vec<Time>,
}

/// Every kernel on one core, and the plain way. All alternate, so that a change of the machine's mood hits all
/// of them.
fn one_core(group: &Group, options: &Options) {
    let mut part = parts(&group.shape, 1).remove(0);
    let mut answers = Arc::new(part.answers());
    let plain = Plain::new(group);
    let mut figures: Vec<Figures> = Kernel::ALL
        .into_iter()
        .filter(|kernel| kernel.usable() == *kernel)
        .map(|kernel| Figures { kernel, tables: Vec::new(), plain: Vec::new() })
        .collect();
    let (start, mut passes) = (Instant::now(), 0);
    // The first pass of each warms up, and what it gives is compared.
    while passes <= options.passes || start.elapsed().as_secs_f64() < REPEAT_S {
        for Figures { kernel, tables, plain: by_plain } in &mut figures {
            let own = Arc::get_mut(&mut answers).expect("nobody reads it now");
            own.clear();
            let table_time = timed(|| pass(*kernel, group, &mut part, own));
            let plain_time = timed(|| plain.pass(*kernel, group));
            if passes == 0 {
                plain.compare(*kernel, group, &AnswerSet::new(vec![Arc::clone(&answers)]));
            } else {
                tables.push(table_time);
                by_plain.push(plain_time);
            }
        }
        passes += 1;
    }
    reading(group, options.passes, &AnswerSet::new(vec![answers]));
    println!(
        "{:<9} {:>26} {:>9} {:>6}   {:>26} {:>6}",
        "kernel",
        "tables GB/s (least-most)",
        "us/query",
        "ran",
        format!("plain GB/s ({} queries)", plain.sample.len()),
        "ratio"
    );
    for Figures { kernel, tables, plain: by_plain } in figures {
        let (median, least, most) = spread(tables.iter().map(|time| group.work_gb() / time.wall_s));
        let plain_gb = group.work_gb() * plain.sample.len() as f64 / group.shape.queries() as f64;
        let (plain, plain_least, plain_most) = spread(by_plain.iter().map(|time| plain_gb / time.wall_s));
        let (us, ..) = spread(tables.iter().map(|time| time.wall_s * 1e6 / group.shape.queries() as f64));
        println!(
            "{kernel:<9} {:>26} {us:>9.2} {:>5.0}%   {:>26} {:>6.2}",
            format!("{median:.1} ({least:.1}-{most:.1})"),
            on_core(&tables) * 100.0,
            format!("{plain:.1} ({plain_least:.1}-{plain_most:.1})"),
            median / plain
        );
    }
}

/// CPU time as a share of the wall clock.
fn on_core(times: &[Time]) -> f64 {
    times.iter().map(|time| time.cpu_s).sum::<f64>() / times.iter().map(|time| time.wall_s).sum::<f64>()
}

/// Reads all answers one after another, as a connection of every user would have them.
fn reading(group: &Group, passes: usize, set: &AnswerSet) {
    let mut buffer = vec![0; BUFFER_BYTES];
    let times = repeated(passes, || {
        timed(|| {
            let mut filled = 0;
            for query in 0..group.shape.queries() {
                let mut from = 0;
                while from < RECORD_BYTES {
                    let bytes = set.gather(query, from, &mut buffer[filled..]);
                    (from, filled) = (from + bytes, (filled + bytes) % BUFFER_BYTES);
                }
            }
            black_box(&buffer);
        })
    });
    let (ns, least, most) = spread(times.iter().map(|time| time.wall_s * 1e9 / group.shape.queries() as f64));
    println!(
        "an answer is read into {} KiB buffers in {ns:.0} ns ({least:.0}-{most:.0})",
        BUFFER_BYTES >> 10
    );
}

/// One thread's share of a round.
fn pass(kernel: Kernel, group: &Group, part: &mut Part, answers: &mut Answers) {
    for (tile, records) in group.table.chunks(TILE_RECORDS * RECORD_BYTES).enumerate() {
        part.add(kernel, tile, records, &group.queries, answers);
    }
}

/// Some of the queries, for the plain way.
struct Plain {
    sample: Vec<(usize, Vec<u8>)>,
}

impl Plain {
    fn new(group: &Group) -> Plain {
        let (records, queries) = (group.shape.records(), group.shape.queries());
        let count = PLAIN_QUERIES.min(queries);
        let sample = (0..count).map(|turn| turn * queries / count).map(|query| {
            let mut bits = vec![0; records.div_ceil(8)];
            random_bits(records, query, &mut bits);
            (query, bits)
        });
        Plain { sample: sample.collect() }
    }

    fn pass(&self, kernel: Kernel, group: &Group) {
        let mut answer = [0; RECORD_BYTES];
        for (_, bits) in &self.sample {
            kernel.answer_plainly(&group.table, bits, black_box(&mut answer));
        }
    }

    fn compare(&self, kernel: Kernel, group: &Group, set: &AnswerSet) {
        let (mut plain, mut by_tables) = ([0; RECORD_BYTES], [0; RECORD_BYTES]);
        for (query, bits) in &self.sample {
            kernel.answer_plainly(&group.table, bits, &mut plain);
            assert_eq!(set.gather(*query, 0, &mut by_tables), RECORD_BYTES);
            assert_eq!(by_tables, plain, "query {query}, {kernel}, seed {SEED}");
        }
    }
}

/// The best kernel over more and more threads, each with its part.
fn over_threads(group: &Group, options: &Options) {
    let (kernel, mut alone) = (Kernel::best(), None);
    for threads in (0..).map(|power| 1 << power).take_while(|threads| *threads <= options.threads) {
        let mut work: Vec<(Part, Answers)> = parts(&group.shape, threads)
            .into_iter()
            .map(|part| {
                let answers = part.answers();
                (part, answers)
            })
            .collect();
        let times = repeated(options.passes, || together(kernel, group, &mut work));
        let (median, least, most) = spread(times.iter().map(|time| group.work_gb() / time.wall_s));
        println!(
            "{kernel}, threads {threads}: {median:.1} GB/s in all ({least:.1}-{most:.1}), {:.1} a thread, {:.2} times one; \
             {:.0}% of their time on a core",
            median / threads as f64,
            median / *alone.get_or_insert(median),
            on_core(&times) * 100.0 / threads as f64,
        );
    }
}

/// A round by threads that begin together: from the first one's start to the last one's end.
fn together(kernel: Kernel, group: &Group, work: &mut [(Part, Answers)]) -> Time {
    let barrier = Barrier::new(work.len());
    std::thread::scope(|scope| {
        let threads: Vec<_> = work
            .iter_mut()
            .enumerate()
            .map(|(core, (part, answers))| {
                let barrier = &barrier;
                scope.spawn(move || {
                    pin(core);
                    answers.clear();
                    barrier.wait();
                    let start = Instant::now();
                    let time = timed(|| pass(kernel, group, part, answers));
                    (start, Instant::now(), time.cpu_s)
                })
            })
            .collect();
        let ran: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("a thread")).collect();
        let first = ran.iter().map(|(start, ..)| *start).min().expect("a thread");
        let last = ran.iter().map(|(_, end, _)| *end).max().expect("a thread");
        Time { wall_s: (last - first).as_secs_f64(), cpu_s: ran.iter().map(|(.., cpu_s)| cpu_s).sum() }
    })
}

impl Group {
    /// Logical work of a round.
    fn work_gb(&self) -> f64 {
        self.shape.records() as f64 * self.shape.queries() as f64 * RECORD_BYTES as f64 / 1e9
    }
}

fn timed(work: impl FnOnce()) -> Time {
    let (cpu_s, wall) = (thread_cpu_s(), Instant::now());
    work();
    let wall_s = wall.elapsed().as_secs_f64();
    Time { wall_s, cpu_s: thread_cpu_s() - cpu_s }
}

/// Once to warm up, and then so many times, or as often as a short while has room for.
fn repeated(passes: usize, mut work: impl FnMut() -> Time) -> Vec<Time> {
    work();
    let (mut times, mut sum_s) = (Vec::new(), 0.0);
    while times.len() < passes || sum_s < REPEAT_S {
        let time = work();
        sum_s += time.wall_s;
        times.push(time);
    }
    times
}

/// Median, least, greatest.
fn spread(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

/// Has this thread run on one core alone.
fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core % cores());
    // Where the container forbids it the figures are only noisier.
    let _ = sched_setaffinity(None, &set);
}

fn cores() -> usize {
    // Asked once, before the first thread is pinned: a pinned thread is told of one core.
    static CORES: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// CPU time of this thread, in seconds.
fn thread_cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn system() -> String {
    let uname = rustix::system::uname();
    format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy())
}

fn options() -> Options {
    let mut options = Options { groups: vec![1_000, 10_000, 65_536], passes: 3, threads: cores() };
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_default();
        let number =
            |text: &str| text.parse().ok().filter(|number| *number > 0).unwrap_or_else(|| usage(&name));
        match name.as_str() {
            "--group" => options.groups = value.split(',').map(number).collect(),
            "--passes" => options.passes = number(&value),
            "--threads" => options.threads = number(&value),
            _ => usage(&name),
        }
    }
    options
}

fn usage(name: &str) -> ! {
    eprintln!("answer: {name}? I know --group N,N,.., --passes N (at least), --threads N (at most)");
    std::process::exit(2)
}
