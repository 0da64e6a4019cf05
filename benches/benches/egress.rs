//! Egress against its roof: the CPU that the sending thread needs per byte, through `twincast_ring::Egress`, beside a
//! plain blocking `send` of ready 256-KiB buffers over the same connections to the same readers.
//!
//! The egress gathers, as the fan-out does: 336-byte cells out of a 43-kB tile, 64 to a user. The plain sender has its
//! bytes ready and gathers nothing. Both alternate, so that a change of the machine's mood hits both.
//!
//! ```text
//! cargo bench -p twincast-benches --bench egress
//! cargo bench -p twincast-benches --bench egress -- --gigabytes 4 --repeats 5 --slab-kib 256 --zero-copy off
//! ```

use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use twincast_ring::{Close, Doorbell, Egress, EgressConfig, Event, KernelRing, Source, ZeroCopy};

const CONNECTIONS: usize = 5;
const CELL_BYTES: usize = 336;
const SENDERS: usize = 64;
const USER_BYTES: usize = SENDERS * CELL_BYTES;
const PLAIN_BYTES: usize = 256 << 10;

/// The cells of one user after another, picked from a tile by a select word per user.
struct Cells {
    tile: Arc<Vec<u8>>,
    send_at: u64,
    fill_at: u64,
    end: u64,
}

fn tile() -> Arc<Vec<u8>> {
    Arc::new((0..2 * SENDERS * CELL_BYTES).map(|index| index as u8).collect())
}

impl Cells {
    fn new(tile: Arc<Vec<u8>>, end: u64) -> Self {
        Self { tile, send_at: 0, fill_at: 0, end }
    }
}

impl Source for Cells {
    fn fill(&mut self, buf: &mut [u8]) -> usize {
        let bytes = (self.end - self.fill_at).min(buf.len() as u64) as usize;
        let mut filled = 0;
        while filled < bytes {
            let user = self.fill_at / USER_BYTES as u64;
            let inside = (self.fill_at % USER_BYTES as u64) as usize;
            let (sender, offset) = (inside / CELL_BYTES, inside % CELL_BYTES);
            let select = user.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let half = 2 * sender + (select >> sender & 1) as usize;
            let len = (CELL_BYTES - offset).min(bytes - filled);
            let from = half * CELL_BYTES + offset;
            buf[filled..filled + len].copy_from_slice(&self.tile[from..from + len]);
            filled += len;
            self.fill_at += len as u64;
        }
        bytes
    }

    fn sent(&mut self, bytes: usize) {
        self.send_at += bytes as u64;
    }

    fn rewind(&mut self) {
        self.fill_at = self.send_at;
    }

    fn pending(&self) -> bool {
        self.send_at < self.end
    }
}

/// CPU and wall-clock time of one run.
#[derive(Clone, Copy)]
struct Run {
    cpu_s: f64,
    wall_s: f64,
}

struct Options {
    bytes_per_connection: u64,
    repeats: usize,
    config: EgressConfig,
}

fn main() {
    let options = options();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    pin(0..1);
    let received = Arc::new(AtomicU64::new(0));
    let sockets: Vec<TcpStream> = (0..CONNECTIONS).map(|_| reader(Arc::clone(&received), cores)).collect();
    let total = options.bytes_per_connection * CONNECTIONS as u64;
    let gb = total as f64 / 1e9;
    println!(
        "{} | {} cores, the sender has the first | {CONNECTIONS} loopback connections, {gb:.1} GB a run, {} runs each, slabs {} x {} KiB, zero-copy {:?}",
        kernel(),
        cores,
        options.repeats,
        options.config.slabs,
        options.config.slab_bytes >> 10,
        options.config.zero_copy,
    );
    let (mut egress_runs, mut plain_runs, mut notes) = (Vec::new(), Vec::new(), String::new());
    // The first pair warms up sockets and readers, and is dropped.
    for repeat in 0..=options.repeats {
        let plain = settled(&received, total, || plain(&sockets, options.bytes_per_connection));
        let through = settled(&received, total, || egress(&sockets, &options, &mut notes));
        if repeat > 0 {
            plain_runs.push(plain);
            egress_runs.push(through);
        }
    }
    print!("{notes}");
    report("gather alone", &(0..options.repeats).map(|_| gather(total)).collect::<Vec<_>>(), gb);
    let plain = report("plain send", &plain_runs, gb);
    let through = report("egress", &egress_runs, gb);
    let ratios = egress_runs.iter().zip(&plain_runs).map(|(a, b)| a.cpu_s / b.cpu_s);
    let (median, low, high) = spread(ratios);
    println!(
        "CPU per byte, egress : plain send   {:.2} of medians; pairs {median:.2} ({low:.2} to {high:.2})",
        through / plain
    );
}

/// Runs one sender and waits until the readers have everything, so that no run pays for another's bytes.
fn settled(received: &AtomicU64, total: u64, run: impl FnOnce() -> Run) -> Run {
    let before = received.load(Ordering::Acquire);
    let run = run();
    while received.load(Ordering::Acquire) - before < total {
        std::thread::sleep(Duration::from_millis(1));
    }
    run
}

fn measured(work: impl FnOnce()) -> Run {
    let (cpu, wall) = (thread_cpu_s(), Instant::now());
    work();
    Run { cpu_s: thread_cpu_s() - cpu, wall_s: wall.elapsed().as_secs_f64() }
}

fn plain(sockets: &[TcpStream], bytes_per_connection: u64) -> Run {
    let buffer = vec![7u8; PLAIN_BYTES];
    measured(|| {
        let mut left = bytes_per_connection;
        while left > 0 {
            let len = left.min(PLAIN_BYTES as u64) as usize;
            for mut socket in sockets {
                socket.write_all(&buffer[..len]).expect("the readers read");
            }
            left -= len as u64;
        }
    })
}

/// What the sources cost without a socket: part of the egress's figure, and of no other.
fn gather(total: u64) -> Run {
    let mut source = Cells::new(tile(), total);
    let mut slab = vec![0u8; PLAIN_BYTES];
    measured(|| {
        while source.pending() {
            let bytes = source.fill(std::hint::black_box(&mut slab));
            source.sent(bytes);
        }
    })
}

fn egress(sockets: &[TcpStream], options: &Options, notes: &mut String) -> Run {
    let tile = tile();
    let ring = KernelRing::new(&options.config).expect("io_uring is there");
    let doorbell = Doorbell::new().expect("an eventfd");
    let mut egress = Egress::new(options.config.clone(), ring, doorbell).expect("the configuration is good");
    let start = Instant::now();
    let run = measured(|| {
        for socket in sockets {
            let source = Cells::new(Arc::clone(&tile), options.bytes_per_connection);
            let socket = OwnedFd::from(socket.try_clone().expect("a descriptor"));
            let key = egress.add(socket, source, start.elapsed()).map_err(|(error, ..)| error).expect("room");
            egress.close(key, Close::Flush { deadline: Duration::from_secs(600) });
        }
        let (mut events, mut closed) = (Vec::new(), 0);
        while closed < sockets.len() {
            egress.turn(start.elapsed(), None, &mut events);
            for event in events.drain(..) {
                if let Event::Closed { source, .. } = event {
                    assert!(!source.pending(), "everything was sent");
                    closed += 1;
                }
            }
        }
    });
    notes.clear();
    writeln!(notes, "{:?}\n{:?}", egress.stats(), egress.tcp_totals()).expect("a string takes it");
    run
}

/// A connection whose far end is read and discarded by a thread of its own.
fn reader(received: Arc<AtomicU64>, cores: usize) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("loopback");
    let (mut far, _) = listener.accept().expect("connected");
    std::thread::spawn(move || {
        pin(1.min(cores - 1)..cores);
        let mut buffer = vec![0u8; 256 << 10];
        while let Ok(bytes @ 1..) = far.read(&mut buffer) {
            received.fetch_add(bytes as u64, Ordering::AcqRel);
        }
    });
    near
}

/// Prints a sender's figures; returns its median CPU seconds per GB.
fn report(name: &str, runs: &[Run], gb: f64) -> f64 {
    let (cpu, cpu_low, cpu_high) = spread(runs.iter().map(|run| run.cpu_s / gb));
    let (rate, rate_low, rate_high) = spread(runs.iter().map(|run| gb / run.wall_s));
    println!(
        "{name:<12} {cpu:.3} CPU s/GB ({cpu_low:.3} to {cpu_high:.3})   {rate:.2} GB/s ({rate_low:.2} to {rate_high:.2})"
    );
    cpu
}

/// Has this thread run on these cores alone: the sender on the first and the readers on the others, or it is chance
/// who of them pays for the softirqs.
fn pin(cores: Range<usize>) {
    let mut set = CpuSet::new();
    cores.for_each(|core| set.set(core));
    // Where the container forbids it the figures are only noisier.
    let _ = sched_setaffinity(None, &set);
}

/// Median, least, greatest.
fn spread(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

/// CPU time of this thread, as RUSAGE_THREAD has it, in seconds.
fn thread_cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn kernel() -> String {
    let uname = rustix::system::uname();
    format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy())
}

fn options() -> Options {
    let mut options =
        Options { bytes_per_connection: 800_000_000, repeats: 5, config: EgressConfig::default() };
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_default();
        let number = || value.parse::<f64>().unwrap_or_else(|_| usage(&name));
        match name.as_str() {
            "--gigabytes" => options.bytes_per_connection = (number() * 1e9 / CONNECTIONS as f64) as u64,
            "--repeats" => options.repeats = (number() as usize).max(1),
            "--slab-kib" => options.config.slab_bytes = (number() as usize) << 10,
            "--slabs" => options.config.slabs = number() as usize,
            "--zero-copy" => {
                options.config.zero_copy = match value.as_str() {
                    "auto" => ZeroCopy::Auto,
                    "on" => ZeroCopy::On,
                    "off" => ZeroCopy::Off,
                    _ => usage(&name),
                }
            }
            _ => usage(&name),
        }
    }
    options
}

fn usage(name: &str) -> ! {
    eprintln!(
        "egress: {name}? I know --gigabytes N (a run, all connections), --repeats N, --slab-kib N, --slabs N, \
         --zero-copy auto|on|off"
    );
    std::process::exit(2)
}
