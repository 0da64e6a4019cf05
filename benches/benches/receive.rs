//! What a client spends on each cell, without the kernel: DELIVER frames of both servers, made beforehand, go into a
//! [`Client`] piece by piece as a socket would hand them over.
//!
//! ```text
//! cargo bench -p twincast-benches --bench receive
//! ```
//!
//! `decode`: every cell decoded and verified. `count`: every cell passed over. `copy`: only the copy into the
//! client's buffers, which is the kernel's share of the work and is part of the other two. Nanoseconds a cell (a pair
//! of shares), the best and the median of some rounds.

use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use twincast_client::{
    ChannelSettings, Client, ClientSettings, Event, Messages, Observer, Outbox, Tile, User,
};
use twincast_protocol::codeword;
use twincast_protocol::context::{Context, Purpose};
use twincast_protocol::frame::FrameBytes;
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, ServerSide, SlotIndex, UserId};
use twincast_protocol::receive::Verdicts;
use twincast_protocol::wire::{Body, Deliver, Dialled, EpochOpen, Roster, RoundEnd, Welcome, roster_hash};

const SIZE: FrameBytes = FrameBytes::DEFAULT;
const MEMBERS: u32 = 640;
const ROUNDS: usize = 12;
const SEED: u64 = 1;
const EPOCH: Epoch = Epoch(0);
const SETTINGS: ClientSettings = ClientSettings {
    group: GroupId(1),
    epoch: Some(EPOCH),
    join: false,
    skew_bytes: 32 << 20,
    signed: None,
    accept_baseline: false,
    channel: ChannelSettings::Plain,
    accountable: None,
};

/// Takes everything, wants some of it, counts.
struct Caller {
    wants: bool,
    accepted: u64,
    cells: u64,
    closed: u64,
}

impl Outbox for Caller {
    fn recipients(&mut self, _epoch: Epoch, _sender: User, _slot: SlotIndex) -> &[UserId] {
        &[]
    }
    fn message(&mut self, _round: RoundNumber, _sender: User, _slot: SlotIndex) -> &[u8] {
        &[]
    }
}

impl Observer for Caller {
    fn wants(&mut self, _tile: &Tile, _user: User) -> bool {
        self.wants
    }
    fn verdicts(&mut self, _tile: &Tile, _user: User, verdicts: &Verdicts, _messages: &Messages<'_>) {
        assert_eq!(verdicts.tampered | verdicts.incomplete | verdicts.absent, 0);
        self.accepted += u64::from(verdicts.accept.count_ones());
        self.cells += u64::from((verdicts.accept | verdicts.ignore).count_ones());
    }
    fn unread(&mut self, tile: &Tile, _user: User) {
        self.cells += u64::from(tile.senders);
    }
    fn event(&mut self, event: Event) {
        self.closed += u64::from(matches!(event, Event::RoundClosed { .. }));
    }
}

/// One round of both servers for `users` users; every 64th cell is a message.
fn round(users: u32) -> [Vec<u8>; 2] {
    let (mut rng, mut noise) = (rand::rng(), Xoshiro256PlusPlus::seed_from_u64(SEED));
    let mut streams = [Vec::new(), Vec::new()];
    for tile in 0..MEMBERS / 64 {
        let head = Deliver {
            round: 1.into(),
            present: u64::MAX.into(),
            epoch: 0.into(),
            slot: 0.into(),
            tile: tile.into(),
            first_sender: (tile * 64).into(),
            senders: 64.into(),
            cell_bytes: (SIZE.share_bytes() as u32).into(),
            users: users.into(),
            purpose: 0.into(),
            lost: 0.into(),
        };
        for stream in &mut streams {
            head.put(head.cells_bytes() as usize, stream);
        }
        for (user, sender) in (0..users).flat_map(|user| (0..64).map(move |sender| (user, sender))) {
            let context = Context {
                group: SETTINGS.group,
                epoch: EPOCH,
                round: RoundNumber(1),
                sender: MemberIndex(tile * 64 + sender),
                slot: SlotIndex(0),
                purpose: Purpose::Message,
            };
            let mut cells = [vec![0; SIZE.share_bytes()], vec![0; SIZE.share_bytes()]];
            let [cell1, cell2] = &mut cells;
            match user % 64 == sender {
                true => codeword::real(SIZE, &context, &[0x5a; 256], &mut rng, cell2).expect("it fits"),
                false => codeword::dummy(SIZE, &context, &mut rng, cell2),
            }
            noise.fill_bytes(cell1);
            cell2.iter_mut().zip(cell1).for_each(|(byte2, byte1)| *byte2 ^= *byte1);
            streams.iter_mut().zip(cells).for_each(|(stream, cell)| stream.extend(cell));
        }
    }
    streams.iter_mut().for_each(|stream| RoundEnd::new(1, MEMBERS / 64, MEMBERS).put(0, stream));
    streams
}

/// A client whose epoch is open.
fn client(users: u32, caller: &mut Caller) -> Client {
    let roster: Vec<UserId> = (0..MEMBERS).map(UserId).collect();
    let mut client = Client::new(SETTINGS, roster[..users as usize].to_vec()).expect("users ascend");
    let mut welcome = Welcome {
        group: 1.into(),
        epoch: 0.into(),
        members: MEMBERS.into(),
        slots: 1.into(),
        frame_bytes: (SIZE.bytes() as u32).into(),
        share_bytes: (SIZE.share_bytes() as u32).into(),
        confirm_tile_senders: 0.into(),
        key_tile_senders: 0.into(),
        round_timeout_ms: 10_000.into(),
        interval_ms: 0.into(),
        epoch_rounds: 0.into(),
        announce_rounds: 0.into(),
        round: 1.into(),
        roster_hash: roster_hash(SETTINGS.group, EPOCH, &roster),
        profile: 2,
        scheme: 0,
        subgroups_max: 0.into(),
        open: 0,
        delivery: 0,
        linked: 0,
        flags: 0,
        header_rounds: 0.into(),
    }
    .frame()
    .to_vec();
    welcome.extend_from_slice(&Roster::frames(EPOCH, &roster));
    feed(&mut client, [&welcome.clone(), &welcome], 4096, caller);
    for server in ServerSide::BOTH {
        loop {
            let bytes = client.outgoing(server, &mut rand::rng(), caller).expect("a group").len();
            client.sent(server, bytes);
            if bytes == 0 {
                break;
            }
        }
    }
    welcome.clear();
    for member in (0..users).map(MemberIndex) {
        Dialled::new(1, EPOCH, member, SlotIndex(0)).put(0, &mut welcome);
    }
    EpochOpen::new(EPOCH, MEMBERS, RoundNumber(1)).put(0, &mut welcome);
    feed(&mut client, [&welcome.clone(), &welcome], 4096, caller);
    client
}

/// Hands over both streams in turn, `piece` bytes at a time at most.
fn feed(client: &mut Client, mut streams: [&[u8]; 2], piece: usize, caller: &mut Caller) {
    let mut now = Duration::ZERO;
    while streams.iter().any(|stream| !stream.is_empty()) {
        for server in ServerSide::BOTH {
            let stream = &mut streams[server.index()];
            let space = client.space(server, now);
            let bytes = space.len().min(stream.len()).min(piece);
            space[..bytes].copy_from_slice(&stream[..bytes]);
            *stream = &stream[bytes..];
            client.filled(server, bytes);
            client.advance(now, caller).expect("faultless frames");
        }
        now += Duration::from_micros(100);
    }
}

/// Nanoseconds a cell of the best and the median round.
fn measure(users: u32, piece: usize, wants: bool, streams: &[Vec<u8>; 2]) -> (f64, f64) {
    let cells = u64::from(users) * u64::from(MEMBERS);
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let mut caller = Caller { wants, accepted: 0, cells: 0, closed: 0 };
            let mut client = client(users, &mut caller);
            let start = Instant::now();
            feed(&mut client, [&streams[0], &streams[1]], piece, &mut caller);
            let time = start.elapsed();
            assert_eq!((caller.cells, caller.closed), (cells, 1));
            assert_eq!(caller.accepted, if wants { cells / 64 } else { 0 });
            time.as_nanos() as f64 / cells as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (times[0], times[ROUNDS / 2])
}

/// The same copies without a client.
fn measure_copy(users: u32, piece: usize, streams: &[Vec<u8>; 2]) -> (f64, f64) {
    let cells = u64::from(users) * u64::from(MEMBERS);
    let mut buffers = [vec![0; piece], vec![0; piece]];
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for (one, two) in streams[0].chunks(piece).zip(streams[1].chunks(piece)) {
                buffers[0][..one.len()].copy_from_slice(one);
                buffers[1][..two.len()].copy_from_slice(two);
                black_box(&buffers);
            }
            start.elapsed().as_nanos() as f64 / cells as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (times[0], times[ROUNDS / 2])
}

fn main() {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find(|line| line.starts_with("model name")).unwrap_or("model name: unknown");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    println!("{model}; Linux {}; F = {}, n = {MEMBERS}, seed {SEED}", kernel.trim(), SIZE.bytes());
    println!(
        "{:>6} {:>9} {:>16} {:>16} {:>16}",
        "users", "piece", "decode ns/cell", "count ns/cell", "copy ns/cell"
    );
    for users in [1, 16, 200] {
        let streams = round(users);
        for piece in [4 << 10, 64 << 10, 256 << 10, 1 << 20] {
            let show = |(best, median): (f64, f64)| format!("{best:.1} ({median:.1})");
            println!(
                "{users:>6} {:>9} {:>16} {:>16} {:>16}",
                format!("{} KiB", piece >> 10),
                show(measure(users, piece, true, &streams)),
                show(measure(users, piece, false, &streams)),
                show(measure_copy(users, piece, &streams)),
            );
        }
    }
}
