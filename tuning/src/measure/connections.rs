//! What a message of some hundred bytes costs where each goes over a connection of its own: next to nothing by its bytes, and
//! a system call's worth of work all the same.
//!
//! Answers go as a server sends them, through [`twincast_ring::Egress`], a slab for each connection; submissions with a plain
//! `send`, which is what a client comes down to. Both are read by a task for each connection on a glommio executor, as server and
//! load generator do. Over loopback the sender's time has the way through the kernel up to the reader's socket.

use super::cpu_s;
use futures_lite::AsyncReadExt as _;
use glommio::{LocalExecutorBuilder, Placement};
use rustix::net::{SendFlags, send};
use rustix::process::{Resource, getrlimit};
use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use twincast_protocol::answer::RECORD_BYTES;
use twincast_protocol::wire::{ANSWERS_HEAD_BYTES, HEADER_BYTES, Submit};
use twincast_ring::{Doorbell, Egress, EgressConfig, KernelRing, Source};
use twincast_server::front::watched;

/// Connections at the most: so many that what the kernel keeps of them does not lie in the nearer caches, as in large groups.
const CONNECTIONS_MAX: usize = 2_048;
/// Descriptors for everything else.
const DESCRIPTORS_SPARE: u64 = 128;
/// One answer to a connection.
const ANSWER_BYTES: usize = ANSWERS_HEAD_BYTES + RECORD_BYTES;
/// One record to a server.
const SUBMIT_BYTES: usize = HEADER_BYTES + size_of::<Submit>() + RECORD_BYTES;
/// Rounds that are sent before any that counts.
const WARM_UP: u64 = 4;
/// Rounds that count, at the least.
const ROUNDS_MIN: u64 = 8;
/// Memory that an executor reserves for file I/O, of which there is none.
const IO_MEMORY_BYTES: usize = 64 << 10;
/// The executor's preempt timer: never, as for all executors here.
const PREEMPT_TIME: Duration = Duration::from_secs(24 * 3600);
/// How often the sender looks whether all of a round has arrived.
const LOOK_EVERY: Duration = Duration::from_micros(100);
/// How long a round may take to arrive.
const ROUND_MAX: Duration = Duration::from_secs(10);

/// Microseconds of a connection and round.
pub(super) struct Small {
    pub(super) server_send_us: f64,
    pub(super) server_receive_us: f64,
    pub(super) member_send_us: f64,
    pub(super) member_receive_us: f64,
}

/// Both ways, each for half of the time.
pub(super) fn measure(seconds: f64) -> io::Result<Small> {
    let (server_send_us, member_receive_us) = answers(seconds / 2.0)?;
    let (member_send_us, server_receive_us) = submissions(seconds / 2.0)?;
    Ok(Small { server_send_us, server_receive_us, member_send_us, member_receive_us })
}

/// As many as this process may open, with a descriptor for each end.
fn connections() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let most = descriptors.saturating_sub(DESCRIPTORS_SPARE) / 2;
    CONNECTIONS_MAX.min(usize::try_from(most).unwrap_or(CONNECTIONS_MAX)).max(1)
}

/// As many bytes more as a round has; which ones does not matter.
struct Rounds {
    filled: u64,
    sent: u64,
    end: u64,
}

impl Source for Rounds {
    fn fill(&mut self, buf: &mut [u8]) -> usize {
        let bytes = buf.len().min((self.end - self.filled) as usize);
        buf[..bytes].fill(7);
        self.filled += bytes as u64;
        bytes
    }

    fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    fn rewind(&mut self) {
        self.filled = self.sent;
    }

    fn pending(&self) -> bool {
        self.sent < self.end
    }
}

/// Answers through the egress engine.
fn answers(seconds: f64) -> io::Result<(f64, f64)> {
    let (near, readers) = Readers::start(ANSWER_BYTES)?;
    let config = EgressConfig { connections_max: near.len(), ..EgressConfig::default() };
    let ring = KernelRing::new(&config).map_err(io::Error::other)?;
    let doorbell = Doorbell::new().map_err(io::Error::other)?;
    let mut egress = Egress::new(config, ring, doorbell).map_err(io::Error::other)?;
    let (start, mut events) = (Instant::now(), Vec::new());
    let mut keys = Vec::with_capacity(near.len());
    for socket in near {
        let added = egress.add(socket.into(), Rounds { filled: 0, sent: 0, end: 0 }, start.elapsed());
        keys.push(added.map_err(|(error, ..)| io::Error::other(error))?);
    }
    let send_us = rounds(seconds, &readers, || {
        for key in &keys {
            let source = egress.source_mut(*key).ok_or(io::ErrorKind::ConnectionAborted)?;
            source.end += ANSWER_BYTES as u64;
            egress.wake(*key);
        }
        // Each is looked at until it has sent everything, and then no more: looking costs, too.
        let mut waiting = 0;
        while waiting < keys.len() {
            egress.turn(start.elapsed(), Some(LOOK_EVERY), &mut events);
            events.clear();
            while keys
                .get(waiting)
                .is_some_and(|key| egress.source_mut(*key).is_none_or(|source| !source.pending()))
            {
                waiting += 1;
            }
        }
        Ok(())
    })?;
    drop(egress);
    Ok((send_us, readers.end()?))
}

/// Submissions with a system call each.
fn submissions(seconds: f64) -> io::Result<(f64, f64)> {
    let (near, readers) = Readers::start(SUBMIT_BYTES)?;
    let submission = [7; SUBMIT_BYTES];
    let send_us = rounds(seconds, &readers, || {
        for socket in &near {
            let sent = send(socket, &submission, SendFlags::NOSIGNAL)?;
            assert_eq!(sent, SUBMIT_BYTES, "a blocking socket takes all of it");
        }
        Ok(())
    })?;
    drop(near);
    Ok((send_us, readers.end()?))
}

/// Sends round after round, each once the last has arrived; microseconds of this thread for each connection and round.
fn rounds(seconds: f64, readers: &Readers, mut round: impl FnMut() -> io::Result<()>) -> io::Result<f64> {
    let (begin, mut times) = (Instant::now(), Vec::new());
    let mut number = 0;
    while number < WARM_UP + ROUNDS_MIN || begin.elapsed().as_secs_f64() < seconds {
        let start = cpu_s();
        round()?;
        times.push(cpu_s() - start);
        number += 1;
        readers.wait(number)?;
    }
    let mut times = times.split_off(WARM_UP as usize);
    times.sort_unstable_by(f64::total_cmp);
    Ok(times[times.len() / 2].max(1e-9) * 1e6 / readers.connections as f64)
}

/// An executor with a task for each connection, which reads and discards.
struct Readers {
    connections: usize,
    message_bytes: u64,
    received: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<io::Result<f64>>,
}

impl Readers {
    /// Starts it; the near ends of its connections.
    fn start(message_bytes: usize) -> io::Result<(Vec<TcpStream>, Readers)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let connections = connections();
        let (mut near, mut far) = (Vec::with_capacity(connections), Vec::with_capacity(connections));
        for _ in 0..connections {
            let socket = TcpStream::connect(listener.local_addr()?)?;
            socket.set_nodelay(true)?;
            near.push(socket);
            far.push(listener.accept()?.0);
        }
        let received = Arc::new(AtomicU64::new(0));
        let (message_bytes, counted) = (message_bytes as u64, received.clone());
        let thread = std::thread::spawn(move || read_all(far, message_bytes, counted));
        Ok((near, Readers { connections, message_bytes, received, thread }))
    }

    /// Waits until so many rounds have arrived.
    fn wait(&self, rounds: u64) -> io::Result<()> {
        let (bytes, begin) = (rounds * self.message_bytes * self.connections as u64, Instant::now());
        while self.received.load(Ordering::Acquire) < bytes {
            if self.thread.is_finished() || begin.elapsed() > ROUND_MAX {
                return Err(io::Error::other("the readers stopped: is `ulimit -l` at least 512?"));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Waits for its end, which is that of all connections; microseconds for each connection and round.
    fn end(self) -> io::Result<f64> {
        self.thread.join().map_err(|_| io::Error::other("the readers failed"))?
    }
}

/// Reads until all connections end. Microseconds of this thread for each message after those that warm up.
fn read_all(sockets: Vec<TcpStream>, message_bytes: u64, received: Arc<AtomicU64>) -> io::Result<f64> {
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(IO_MEMORY_BYTES)
        .preempt_timer(PREEMPT_TIME)
        .make()
        .map_err(|error| io::Error::other(error.to_string()))?;
    let (connections, round_bytes) = (sockets.len() as u64, message_bytes * sockets.len() as u64);
    // CPU time of this thread when the rounds that warm up were in, and when the last one was.
    let times = Rc::new([Cell::new(0.0), Cell::new(0.0)]);
    let seen = times.clone();
    executor.run(watched(async move {
        let tasks: Vec<_> = sockets
            .into_iter()
            .map(|socket| {
                let (received, seen) = (received.clone(), seen.clone());
                glommio::spawn_local(async move {
                    let mut stream = glommio::net::TcpStream::from(socket2::Socket::from(socket));
                    let mut buffer = [0; 4096];
                    while let Ok(bytes @ 1..) = stream.read(&mut buffer).await {
                        let all = received.load(Ordering::Relaxed) + bytes as u64;
                        if all.is_multiple_of(round_bytes) {
                            seen[usize::from(all > WARM_UP * round_bytes)].set(cpu_s());
                        }
                        // After the clock was read: the sender goes on as soon as it sees this.
                        received.store(all, Ordering::Release);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        let messages =
            (received.load(Ordering::Relaxed) / message_bytes).saturating_sub(WARM_UP * connections).max(1);
        Ok((seen[1].get() - seen[0].get()).max(1e-9) * 1e6 / messages as f64)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_one() {
        let small = measure(0.0).unwrap();
        for figure in
            [small.server_send_us, small.server_receive_us, small.member_send_us, small.member_receive_us]
        {
            assert!(figure.is_finite() && figure > 0.0);
        }
    }
}
