//! What benchmarks that send over loopback share: cells to gather, readers that discard them, cores and clocks.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use twincast_ring::Source;

/// Connections of a run.
pub(crate) const CONNECTIONS: usize = 5;
const CELL_BYTES: usize = 336;
const SENDERS: usize = 64;
const USER_BYTES: usize = SENDERS * CELL_BYTES;

/// The cells of one user after another, picked from a tile by a select word per user.
pub(crate) struct Cells {
    tile: Arc<Vec<u8>>,
    send_at: u64,
    fill_at: u64,
    end: u64,
}

pub(crate) fn tile() -> Arc<Vec<u8>> {
    Arc::new((0..2 * SENDERS * CELL_BYTES).map(|index| index as u8).collect())
}

impl Cells {
    pub(crate) fn new(tile: Arc<Vec<u8>>, end: u64) -> Self {
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

/// A connection whose far end is read and discarded by a thread of its own.
pub(crate) fn reader(received: Arc<AtomicU64>, cores: usize) -> TcpStream {
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

/// Has this thread run on these cores alone: the sender on the first and the readers on the others, or it is chance
/// who of them pays for the softirqs.
pub(crate) fn pin(cores: Range<usize>) {
    let mut set = CpuSet::new();
    cores.for_each(|core| set.set(core));
    // Where the container forbids it the figures are only noisier.
    let _ = sched_setaffinity(None, &set);
}

/// Median, least, greatest.
pub(crate) fn spread(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

/// CPU time of this thread, as RUSAGE_THREAD has it, in seconds.
pub(crate) fn thread_cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

pub(crate) fn kernel() -> String {
    let uname = rustix::system::uname();
    format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy())
}
