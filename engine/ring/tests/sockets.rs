//! The egress over the kernel's ring and real sockets on loopback.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use twincast_ring::{
    Close, CloseReason, ConnectionKey, Doorbell, Egress, EgressConfig, Event, KernelRing, Registered,
    RingError, Source, ZeroCopy,
};

/// A stream whose byte at each position is known.
#[derive(Debug)]
struct Stream {
    id: u64,
    send_at: u64,
    fill_at: u64,
    end: u64,
}

fn byte_at(id: u64, position: u64) -> u8 {
    ((id << 40 ^ position).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53) as u8
}

impl Stream {
    fn new(id: u64, bytes: u64) -> Self {
        Self { id, send_at: 0, fill_at: 0, end: bytes }
    }
}

impl Source for Stream {
    fn fill(&mut self, buf: &mut [u8]) -> usize {
        let len = (self.end - self.fill_at).min(buf.len() as u64);
        for byte in &mut buf[..len as usize] {
            *byte = byte_at(self.id, self.fill_at);
            self.fill_at += 1;
        }
        len as usize
    }
    fn sent(&mut self, bytes: usize) {
        self.send_at += bytes as u64;
        assert!(self.send_at <= self.fill_at);
    }
    fn rewind(&mut self) {
        self.fill_at = self.send_at;
    }
    fn pending(&self) -> bool {
        self.send_at < self.end
    }
}

/// A core that the test turns itself.
struct Core {
    egress: Egress<KernelRing, Stream>,
    start: Instant,
    events: Vec<Event<Stream>>,
}

impl Core {
    fn new(config: EgressConfig) -> Self {
        Self::with_doorbell(config, Doorbell::new().unwrap())
    }

    fn with_doorbell(config: EgressConfig, doorbell: Doorbell) -> Self {
        let ring = KernelRing::new(&config).unwrap();
        Self {
            egress: Egress::new(config, ring, doorbell).unwrap(),
            start: Instant::now(),
            events: Vec::new(),
        }
    }

    fn add(&mut self, socket: TcpStream, stream: Stream) -> ConnectionKey {
        let now = self.start.elapsed();
        self.egress.add(OwnedFd::from(socket), stream, now).map_err(|(error, ..)| error).unwrap()
    }

    fn turn_at(&mut self, now: Duration) {
        self.egress.turn(now, Some(Duration::from_millis(2)), &mut self.events);
    }

    /// Turns until `done`, or fails after 20 s.
    fn until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        while !done(self) {
            let now = self.start.elapsed();
            assert!(now < Duration::from_secs(20), "stuck: {:?}", self.egress.stats());
            self.turn_at(now);
        }
    }

    fn closed(&mut self) -> Option<(Stream, CloseReason)> {
        let closed = self.events.iter().position(|event| matches!(event, Event::Closed { .. }))?;
        match self.events.remove(closed) {
            Event::Closed { source, reason, .. } => Some((source, reason)),
            _ => None,
        }
    }

    fn until_closed(&mut self) -> (Stream, CloseReason) {
        let mut closed = None;
        self.until(|core| {
            closed = core.closed();
            closed.is_some()
        });
        closed.unwrap()
    }

    fn sent_all(&mut self, key: ConnectionKey) -> bool {
        !self.egress.source_mut(key).unwrap().pending()
    }
}

fn small(zero_copy: ZeroCopy) -> EgressConfig {
    EgressConfig { slab_bytes: 64 << 10, slabs: 4, zero_copy, ..EgressConfig::default() }
}

/// Near and far end.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

/// Reads until the end of the stream and checks every byte; returns how many there were.
fn check(mut far: TcpStream, id: u64) -> JoinHandle<u64> {
    std::thread::spawn(move || {
        let (mut buffer, mut position) = (vec![0; 100_000], 0);
        loop {
            match far.read(&mut buffer).unwrap() {
                0 => return position,
                bytes => {
                    for &byte in &buffer[..bytes] {
                        assert_eq!(byte, byte_at(id, position), "stream {id} at {position}");
                        position += 1;
                    }
                }
            }
        }
    })
}

/// Sends three streams to their ends, and returns the core.
fn send_streams(config: EgressConfig, bytes: u64) -> Core {
    let mut core = Core::new(config);
    let readers: Vec<_> = (0..3)
        .map(|id| {
            let (near, far) = pair();
            let key = core.add(near, Stream::new(id, bytes));
            core.egress.close(key, Close::Flush { deadline: Duration::from_secs(60) });
            check(far, id)
        })
        .collect();
    for _ in 0..3 {
        let (stream, reason) = core.until_closed();
        assert_eq!((stream.pending(), reason), (false, CloseReason::Asked));
    }
    for reader in readers {
        assert_eq!(reader.join().unwrap(), bytes);
    }
    core
}

#[test]
fn copying_sends_are_exact() {
    let core = send_streams(small(ZeroCopy::Off), 20_000_001);
    let stats = core.egress.stats();
    assert_eq!((stats.sent_bytes, stats.zc_sends, stats.closed_asked), (60_000_003, 0, 3));
    let totals = core.egress.tcp_totals();
    // The end of a stream and the SYN count as acknowledged bytes; the last ones may be on their way.
    assert!(totals.connections == 3 && totals.bytes_acked <= 60_000_009, "{totals:?}");
}

#[test]
fn zero_copy_sends_are_exact_and_reported_as_copied() {
    for registered in [Registered::Off, Registered::On] {
        let mut core = send_streams(EgressConfig { registered, ..small(ZeroCopy::On) }, 20_000_001);
        core.until(|core| core.egress.stats().zc_notifications == core.egress.stats().zc_sends);
        let stats = core.egress.stats();
        assert_eq!(stats.sent_bytes, 60_000_003);
        assert!(stats.zc_sends > 20, "{stats:?}");
        assert_eq!(stats.zc_copied, stats.zc_sends, "loopback always copies");
    }
}

#[test]
fn auto_gives_zero_copy_up_where_the_kernel_copies() {
    let core = send_streams(small(ZeroCopy::Auto), 20_000_001);
    let stats = core.egress.stats();
    assert!((3..60).contains(&stats.zc_sends), "{stats:?}");
    assert!(stats.sends > 900, "{stats:?}");
}

#[test]
fn a_tiny_send_buffer_makes_short_sends() {
    let mut core = Core::new(small(ZeroCopy::Off));
    let (near, far) = pair();
    rustix::net::sockopt::set_socket_send_buffer_size(&near, 4096).unwrap();
    let key = core.add(near, Stream::new(7, 3_000_000));
    core.egress.close(key, Close::Flush { deadline: Duration::from_secs(60) });
    let reader = check(far, 7);
    assert!(!core.until_closed().0.pending());
    assert_eq!(reader.join().unwrap(), 3_000_000);
    let stats = core.egress.stats();
    assert!(stats.short_sends > 20 && stats.polls > 20, "{stats:?}");
    assert!(
        stats.again * 10 < stats.polls,
        "a short send is followed by a wait and not by another send: {stats:?}"
    );
    assert_eq!(stats.filled_bytes, stats.sent_bytes, "nothing was gathered twice");
}

#[test]
fn stopped_readers_hold_up_nobody() {
    for zero_copy in [ZeroCopy::Off, ZeroCopy::On] {
        let mut core = Core::new(small(zero_copy));
        let stopped: Vec<_> = (0..200)
            .map(|id| {
                let (near, far) = pair();
                rustix::net::sockopt::set_socket_send_buffer_size(&near, 100_000).unwrap();
                core.add(near, Stream::new(id, 100_000_000));
                far
            })
            .collect();
        let settled = |core: &mut Core| core.egress.stats().polls >= 200;
        core.until(settled);
        let (near, far) = pair();
        let reader = check(far, 1000);
        let key = core.add(near, Stream::new(1000, 50_000_000));
        core.egress.close(key, Close::Flush { deadline: Duration::from_secs(60) });
        let (stream, reason) = core.until_closed();
        assert_eq!((stream.id, stream.pending(), reason), (1000, false, CloseReason::Asked));
        assert_eq!(reader.join().unwrap(), 50_000_000);
        let stats = core.egress.stats();
        assert!(stats.slabs_reclaimed > 100, "{stats:?}");
        assert_eq!(core.egress.connections(), 200);
        drop(stopped);
    }
}

#[test]
fn a_reset_in_mid_stream_is_reported() {
    let mut core = Core::new(small(ZeroCopy::Off));
    let (near, mut far) = pair();
    core.add(near, Stream::new(1, u64::MAX));
    let reset = std::thread::spawn(move || {
        far.read_exact(&mut vec![0; 1_000_000]).unwrap();
        drop(far);
    });
    let (stream, reason) = core.until_closed();
    assert!(matches!(reason, CloseReason::PeerGone(libc::EPIPE | libc::ECONNRESET)), "{reason:?}");
    assert!(stream.send_at >= 1_000_000 && stream.pending());
    assert_eq!(core.egress.stats().closed_peer, 1);
    reset.join().unwrap();
}

#[test]
fn a_flush_ends_at_its_deadline_and_now_ends_at_once() {
    for close in [Close::Now, Close::Flush { deadline: Duration::from_millis(100) }] {
        let mut core = Core::new(small(ZeroCopy::On));
        let (near, _far) = pair();
        let key = core.add(near, Stream::new(1, 1 << 40));
        core.until(|core| core.egress.stats().polls > 0);
        core.egress.close(key, close);
        let (stream, reason) = core.until_closed();
        assert_eq!((stream.pending(), reason), (true, CloseReason::Asked));
        assert_eq!(stream.fill_at, stream.send_at, "the source comes back rewound");
        core.egress.wake(key);
        core.egress.close(key, Close::Now);
        assert!(core.egress.source_mut(key).is_none());
    }
}

#[test]
fn a_stopped_reader_stalls_and_a_slow_one_does_not() {
    let mut core = Core::new(small(ZeroCopy::Off));
    let (near, stopped) = pair();
    core.add(near, Stream::new(1, 1 << 40));
    let (near, mut slow) = pair();
    core.add(near, Stream::new(2, 1 << 40));
    core.until(|core| core.egress.stats().polls >= 2);
    let mut now = core.start.elapsed();
    let mut stalled = None;
    // Two seconds a step: far below the deadline of ten, and 30 of them far above.
    for _ in 0..30 {
        slow.read_exact(&mut vec![0; 400_000]).unwrap();
        now += Duration::from_secs(2);
        for _ in 0..20 {
            core.turn_at(now);
        }
        if let Some((stream, reason)) = core.closed() {
            assert_eq!((stream.id, reason), (1, CloseReason::Stalled));
            assert!(stalled.replace(now).is_none());
        }
    }
    let stalled = stalled.expect("a stopped reader stalls");
    assert!((Duration::from_secs(9)..Duration::from_secs(25)).contains(&stalled), "{stalled:?}");
    assert_eq!(core.egress.connections(), 1);
    drop(stopped);
}

#[test]
fn a_doorbell_wakes_a_sleeping_core_and_none_is_lost() {
    const RINGS: u64 = 20_000;
    let doorbell = Doorbell::new().unwrap();
    let mut core = Core::with_doorbell(small(ZeroCopy::Off), doorbell.clone());
    let (asked, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let ringer = {
        let (asked, done) = (Arc::clone(&asked), Arc::clone(&done));
        std::thread::spawn(move || {
            let mut system_calls = 0;
            for number in 1..=RINGS {
                asked.store(number, Ordering::Release);
                system_calls += u64::from(doorbell.ring());
                if number % 8 == 0 {
                    let since = Instant::now();
                    while done.load(Ordering::Acquire) < number {
                        assert!(since.elapsed() < Duration::from_secs(10), "ring {number} was lost");
                        std::thread::yield_now();
                    }
                }
            }
            system_calls
        })
    };
    // Longer than the ringer's patience, so that no sleep ends by itself in time; and an end if the ringer gave up.
    let wait_max = Some(Duration::from_secs(15));
    while done.load(Ordering::Acquire) < RINGS && !ringer.is_finished() {
        core.egress.turn(core.start.elapsed(), wait_max, &mut core.events);
        if core.events.drain(..).any(|event| matches!(event, Event::Doorbell)) {
            done.store(asked.load(Ordering::Acquire), Ordering::Release);
        }
    }
    let system_calls = ringer.join().unwrap();
    assert!(system_calls < RINGS, "rings of an awake core are free: {system_calls}");
    assert!(core.egress.stats().sleeps > 0);
}

#[test]
fn new_bytes_are_sent_after_a_wake() {
    let mut core = Core::new(small(ZeroCopy::Off));
    let (near, far) = pair();
    let key = core.add(near, Stream::new(3, 0));
    let reader = check(far, 3);
    for round in 1..=100 {
        core.egress.source_mut(key).unwrap().end = round * 1000;
        core.egress.wake(key);
        core.until(|core| core.sent_all(key));
    }
    core.egress.close(key, Close::Now);
    core.until_closed();
    assert_eq!(reader.join().unwrap(), 100_000);
}

#[test]
fn one_connection_too_many_comes_back() {
    let mut core = Core::new(EgressConfig { connections_max: 1, ..small(ZeroCopy::Off) });
    let (near, _far) = pair();
    let key = core.add(near, Stream::new(1, 0));
    let (near, _far) = pair();
    let (error, mut socket, stream) = core
        .egress
        .add(OwnedFd::from(near), Stream::new(2, 9), Duration::ZERO)
        .map_err(|(error, socket, stream)| (error, TcpStream::from(socket), stream))
        .unwrap_err();
    assert!(matches!(error, RingError::TooManyConnections { connections_max: 1 }));
    assert_eq!(stream.id, 2);
    socket.write_all(b"still usable").unwrap();
    core.egress.close(key, Close::Now);
    core.until_closed();
    let next = core.add(TcpStream::from(OwnedFd::from(socket)), Stream::new(3, 0));
    assert_eq!(next.slot(), key.slot(), "the slot is used again");
    assert!(next != key && core.egress.source_mut(key).is_none(), "and the old key is stale");
}

#[test]
fn ends_with_everything_in_flight_and_after_a_panic() {
    for panics in [false, true] {
        let thread = std::thread::spawn(move || {
            let mut core = Core::new(small(ZeroCopy::On));
            let fars: Vec<_> = (0..10)
                .map(|id| {
                    let (near, far) = pair();
                    core.add(near, Stream::new(id, 1 << 40));
                    far
                })
                .collect();
            core.until(|core| core.egress.stats().polls >= 10);
            assert!(!panics, "as planned");
            let since = Instant::now();
            drop(core);
            assert!(since.elapsed() < Duration::from_secs(2));
            drop(fars);
        });
        assert_eq!(thread.join().is_err(), panics);
    }
}
