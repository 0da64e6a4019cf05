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

mod loopback;

use loopback::{CONNECTIONS, Cells, kernel, pin, reader, spread, thread_cpu_s, tile};
use std::fmt::Write as _;
use std::io::Write;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use twincast_ring::{Close, Doorbell, Egress, EgressConfig, Event, KernelRing, Source, ZeroCopy};

const PLAIN_BYTES: usize = 256 << 10;

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

/// Prints a sender's figures; returns its median CPU seconds per GB.
fn report(name: &str, runs: &[Run], gb: f64) -> f64 {
    let (cpu, cpu_low, cpu_high) = spread(runs.iter().map(|run| run.cpu_s / gb));
    let (rate, rate_low, rate_high) = spread(runs.iter().map(|run| gb / run.wall_s));
    println!(
        "{name:<12} {cpu:.3} CPU s/GB ({cpu_low:.3} to {cpu_high:.3})   {rate:.2} GB/s ({rate_low:.2} to {rate_high:.2})"
    );
    cpu
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
