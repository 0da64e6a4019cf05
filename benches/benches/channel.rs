//! What private channels and signatures cost: gather, seal and send against gather and send, CPU per byte of a sending
//! thread over loopback; handshakes of a server; records; and signed uploads that are verified.
//!
//! The two senders are the fan-out's own, `twincast_ring::Egress` over `twincast_server::fanout::Sealed`, with keys and
//! without, over the same connections to the same readers, which discard what they get. They alternate, so that a change
//! of the machine's mood hits both. The stream gathers as the fan-out does: 336-byte cells out of a 43-kB tile.
//!
//! `twincast-loadgen price` tells handshakes and uploads, too, by the same clock and of the same work, with code of its own:
//! its `price/alone.rs` says why.
//!
//! ```text
//! cargo bench -p twincast-benches --bench channel
//! cargo bench -p twincast-benches --bench channel -- --gigabytes 4 --repeats 9 --slab-kib 256 --cipher aes
//! ```

mod loopback;

use loopback::{CONNECTIONS, Cells, kernel, pin, reader, spread, thread_cpu_s, tile};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::hint::black_box;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use twincast_protocol::accountable::upload::UploadOf;
use twincast_protocol::channel::{
    Channel, Cipher, Initiator, LENGTH_BYTES, Purpose, RECORD_BYTES_MAX, RECORD_PLAIN_BYTES_MAX, Responder,
    StaticKey,
};
use twincast_protocol::identity::{Batch, SIGNATURE_BYTES, SigningKey, VerifyingKey};
use twincast_protocol::ids::{Epoch, GroupId, RoundNumber, ServerSide, UserId};
use twincast_ring::{Close, Doorbell, Egress, EgressConfig, Event, KernelRing, Source};
use twincast_server::fanout::{SEALED_SLAB_BYTES_MIN, Sealed};

const SIDE: ServerSide = ServerSide::One;
/// Uploads that a front verifies together: a tile's senders.
const BATCH: usize = 64;
const SEED: u64 = 7;

struct Options {
    bytes_per_connection: u64,
    repeats: usize,
    cipher: Cipher,
    config: EgressConfig,
}

fn main() {
    let options = options();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    pin(0..1);
    println!(
        "{} | {cores} cores, the measured thread has the first | seed {SEED} | {} runs each: median (least to greatest)",
        kernel(),
        options.repeats
    );
    for cipher in Cipher::ALL {
        records(cipher, options.repeats);
        handshakes(cipher, options.repeats);
    }
    uploads(options.repeats);
    send(&options, cores);
}

/// Seals and opens full records that stay in the cache.
fn records(cipher: Cipher, repeats: usize) {
    const RECORDS: usize = 20_000;
    let (mut server, mut client) = channel(cipher);
    let mut buf = vec![1; RECORD_BYTES_MAX];
    let bytes = (RECORDS * RECORD_PLAIN_BYTES_MAX) as f64;
    let seal = repeated(repeats, || {
        for _ in 0..RECORDS {
            let number = server.send.next_number();
            server.send.seal(number, black_box(&mut buf), RECORD_PLAIN_BYTES_MAX);
        }
    });
    print(&format!("seal, {}", cipher.name()), seal.map(|cpu_s| bytes / cpu_s / 1e9), "GB/s a core");
    let mut sealed = Vec::new();
    let open = (0..repeats).map(|_| {
        let mut cpu_s = 0.0;
        for _ in 0..RECORDS / 100 {
            sealed.clear();
            client.send.seal_all(&[1; 100 * RECORD_PLAIN_BYTES_MAX], &mut sealed);
            cpu_s += measured(|| {
                for record in sealed.chunks(RECORD_BYTES_MAX) {
                    server.receive.open(&record[LENGTH_BYTES..], &mut buf).expect("it is the next");
                }
            });
        }
        bytes / cpu_s / 1e9
    });
    print(&format!("open, {}", cipher.name()), open.collect::<Vec<_>>().into_iter(), "GB/s a core");
}

/// What a server does of a handshake.
fn handshakes(cipher: Cipher, repeats: usize) {
    const HANDSHAKES: usize = 1000;
    let mut rng = StdRng::seed_from_u64(SEED);
    let (client, server) = (StaticKey::random(&mut rng), StaticKey::random(&mut rng));
    let rates = (0..repeats).map(|_| {
        let mut cpu_s = 0.0;
        for _ in 0..HANDSHAKES {
            let initiator = Initiator::new(&client, server.public(), cipher, Purpose::Client, SIDE);
            let (first, mut answer) = (initiator.first(), None);
            cpu_s += measured(|| {
                let mut responder = Responder::new(&server, Purpose::Client, SIDE);
                let second = responder.first(&first).expect("it is for this key");
                answer = Some((responder, second));
            });
            let (responder, second) = answer.expect("it was just made");
            let (third, _) = initiator.second(&second).expect("it is the pinned key");
            cpu_s += measured(|| drop(black_box(responder.third(&third).expect("nobody changed it"))));
        }
        HANDSHAKES as f64 / cpu_s
    });
    let rates: Vec<f64> = rates.collect();
    print(
        &format!("handshakes, {}", cipher.name()),
        rates.into_iter(),
        "a second and core, of the server's half",
    );
}

/// Signatures over uploads of one slot, what they sign put together anew each time, as a front does.
fn uploads(repeats: usize) {
    const UPLOADS: usize = 64 * BATCH;
    let mut rng = StdRng::seed_from_u64(SEED);
    let halves: Vec<[[[u8; 32]; 2]; 1]> = (0..UPLOADS)
        .map(|_| {
            let mut halves = [[[0; 32]; 2]; 1];
            rng.fill_bytes(halves.as_flattened_mut().as_flattened_mut());
            halves
        })
        .collect();
    let keys: Vec<SigningKey> = (0..UPLOADS).map(|_| SigningKey::random(&mut rng)).collect();
    let uploads = (0..).zip(&halves).map(|(user, halves)| UploadOf {
        group: GroupId(1),
        epoch: Epoch(1),
        round: RoundNumber(1),
        sender: UserId(user),
        server: SIDE,
        halves,
    });
    let signed: Vec<(VerifyingKey, UploadOf<'_>, [u8; SIGNATURE_BYTES])> = uploads
        .zip(&keys)
        .map(|(upload, key)| {
            let signature = upload.sign(key);
            (key.verifying_key(), upload, signature)
        })
        .collect();
    let single = repeated(repeats, || {
        assert!(signed.iter().all(|(key, upload, signature)| upload.verify(key, signature)));
    });
    print("uploads verified, one by one", single.map(|cpu_s| UPLOADS as f64 / cpu_s), "a second and core");
    let mut batch = Batch::default();
    let together = repeated(repeats, || {
        for tile in signed.chunks(BATCH) {
            tile.iter().for_each(|(key, upload, signature)| upload.push(&mut batch, key, signature));
            assert!(batch.verify(&mut rng).iter().all(|valid| *valid));
        }
    });
    print("uploads verified, 64 together", together.map(|cpu_s| UPLOADS as f64 / cpu_s), "a second and core");
}

/// Plain and sealed streams in turn, and how their costs relate.
fn send(options: &Options, cores: usize) {
    let received = Arc::new(AtomicU64::new(0));
    let sockets: Vec<TcpStream> = (0..CONNECTIONS).map(|_| reader(Arc::clone(&received), cores)).collect();
    let gb = options.bytes_per_connection as f64 * CONNECTIONS as f64 / 1e9;
    println!(
        "{CONNECTIONS} loopback connections, {gb:.1} GB a run, slabs {} x {} KiB, {}",
        options.config.slabs,
        options.config.slab_bytes >> 10,
        options.cipher.name()
    );
    let (mut plain, mut noise) = (Vec::new(), Vec::new());
    // The first pair warms up sockets and readers, and is dropped.
    for repeat in 0..=options.repeats {
        let pair = [false, true].map(|sealed| egress(&sockets, options, sealed, &received));
        if repeat > 0 {
            plain.push(pair[0]);
            noise.push(pair[1]);
        }
    }
    print("plain: gather, send", plain.iter().map(|cpu_s| cpu_s / gb), "CPU ns a byte of the stream");
    print("Noise: gather, seal, send", noise.iter().map(|cpu_s| cpu_s / gb), "CPU ns a byte of the stream");
    print("Noise : plain, by pairs", noise.iter().zip(&plain).map(|(a, b)| a / b), "times the CPU");
}

/// CPU seconds of the sending thread, until the kernel has taken everything; then waits for the readers.
fn egress(sockets: &[TcpStream], options: &Options, sealed: bool, received: &AtomicU64) -> f64 {
    let tile = tile();
    let ring = KernelRing::new(&options.config).expect("io_uring is there");
    let doorbell = Doorbell::new().expect("an eventfd");
    let mut egress = Egress::new(options.config.clone(), ring, doorbell).expect("the configuration is good");
    let keys: Vec<_> = sockets.iter().map(|_| sealed.then(|| channel(options.cipher).0.send)).collect();
    let (start, before) = (Instant::now(), received.load(Ordering::Acquire));
    let cpu_s = measured(|| {
        for (socket, keys) in sockets.iter().zip(keys) {
            let cells = Cells::new(Arc::clone(&tile), options.bytes_per_connection);
            let socket = OwnedFd::from(socket.try_clone().expect("a descriptor"));
            let stream = Sealed::new(cells, keys);
            let key = egress.add(socket, stream, start.elapsed()).map_err(|(error, ..)| error).expect("room");
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
    while received.load(Ordering::Acquire) - before < egress.stats().sent_bytes {
        std::thread::sleep(Duration::from_millis(1));
    }
    cpu_s
}

/// A channel's ends: the server's and the client's.
fn channel(cipher: Cipher) -> (Channel, Channel) {
    let key = StaticKey::random(&mut StdRng::seed_from_u64(SEED));
    let initiator = Initiator::new(&key, key.public(), cipher, Purpose::Client, SIDE);
    let mut responder = Responder::new(&key, Purpose::Client, SIDE);
    let second = responder.first(&initiator.first()).expect("it is for this key");
    let (third, client) = initiator.second(&second).expect("it is the pinned key");
    (responder.third(&third).expect("nobody changed it"), client)
}

/// CPU seconds of each of so many runs, behind one that warms up.
fn repeated(repeats: usize, mut work: impl FnMut()) -> impl Iterator<Item = f64> {
    work();
    (0..repeats).map(|_| measured(&mut work)).collect::<Vec<_>>().into_iter()
}

/// CPU time of this thread for the work, in seconds.
fn measured(work: impl FnOnce()) -> f64 {
    let before = thread_cpu_s();
    work();
    thread_cpu_s() - before
}

fn print(name: &str, values: impl Iterator<Item = f64>, unit: &str) {
    let (median, least, greatest) = spread(values);
    let decimals = if greatest < 1000.0 { 3 } else { 0 };
    println!("{name:<34} {median:>9.decimals$} ({least:.decimals$} to {greatest:.decimals$}) {unit}");
}

fn options() -> Options {
    let config = EgressConfig { fill_bytes_min: SEALED_SLAB_BYTES_MIN, ..EgressConfig::default() };
    let mut options =
        Options { bytes_per_connection: 400_000_000, repeats: 5, cipher: Cipher::best(), config };
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_default();
        let number = || value.parse::<f64>().unwrap_or_else(|_| usage(&name));
        match name.as_str() {
            "--gigabytes" => options.bytes_per_connection = (number() * 1e9 / CONNECTIONS as f64) as u64,
            "--repeats" => options.repeats = (number() as usize).max(1),
            "--slab-kib" => options.config.slab_bytes = (number() as usize) << 10,
            "--slabs" => options.config.slabs = number() as usize,
            "--cipher" => {
                options.cipher = match value.as_str() {
                    "aes" => Cipher::AesGcm,
                    "chacha" => Cipher::ChaChaPoly,
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
        "channel: {name}? I know --gigabytes N (a run, all connections), --repeats N, --slab-kib N, --slabs N, \
         --cipher aes|chacha"
    );
    std::process::exit(2)
}
