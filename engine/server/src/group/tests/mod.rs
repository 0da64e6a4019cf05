//! Tests of the group, by what they are about; here is what they share.

mod accountable;
mod answer;
mod answer_faults;
mod answer_rounds;
mod answer_simulation;
mod epochs;
mod fetch;
mod kept_epochs;
mod linked;
mod linked_epochs;
mod pair;
mod parts;
mod random;
mod rounds;
mod simulation;

use super::*;
use crate::config::{GroupConfig, RoundMode, SchemeName};
use crate::limits::*;
use crate::parts_box::PartsKey;
use crate::tile::Tile;
use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::collections::HashMap;
use std::io;
use twincast_protocol::context::Purpose;
use twincast_protocol::ids::{GroupId, SlotIndex};
use twincast_protocol::wire::{
    Announce, Body, ErrorFrame, Fetch, Grant, HEADER_BYTES, Header, Kind, PartsHead,
};

const N: u32 = 130;
const A: ConnectionId = ConnectionId(1);
const B: ConnectionId = ConnectionId(2);

fn config(confirm: bool, slots: u32) -> GroupConfig {
    GroupConfig {
        frame_bytes: 16,
        slots,
        confirm,
        round_timeout_ms: 1000,
        dial_timeout_ms: 5000,
        ..GroupConfig::new(7, N)
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn users(range: std::ops::Range<u32>) -> Vec<UserId> {
    range.map(UserId).collect()
}

/// The kind of a frame.
fn kind(frame: &[u8]) -> Kind {
    Header::parse(frame[..HEADER_BYTES].try_into().unwrap()).unwrap().kind
}

/// The code of an ERROR frame.
fn code(frame: &[u8]) -> Option<Code> {
    let error = (kind(frame) == Kind::Error).then(|| ErrorFrame::read(&frame[HEADER_BYTES..]).unwrap())?;
    Code::from_number(error.0.code.get())
}

/// A group with what came out of it, and a connection that plays everybody unless said otherwise.
struct Bench {
    group: Group,
    out: Vec<Output>,
    now: Duration,
    lagging: u32,
    shares: Vec<u8>,
    dial_id: u64,
    /// One that was begun, for who goes on with it late.
    upload: Option<Upload>,
}

impl Bench {
    fn of(shape: Shape, parts_box: Option<Box<dyn PartsBox>>) -> Bench {
        let shares = vec![7; shape.submit_body_bytes(shape.members) - size_of::<Submit>()];
        let group = Group::new(shape, parts_box, None);
        Bench { group, out: Vec::new(), now: Duration::ZERO, lagging: 0, shares, dial_id: 0, upload: None }
    }

    fn new(side: ServerSide, confirm: bool, slots: u32) -> Bench {
        Bench::of(Shape::new(&config(confirm, slots), side), None)
    }

    /// Everybody is attached by `A` and has dialled; rounds are open.
    fn running(slots: u32) -> Bench {
        Bench::running_as(&config(false, slots))
    }

    fn running_as(config: &GroupConfig) -> Bench {
        let mut bench = Bench::of(Shape::new(config, ServerSide::One), None);
        bench.attach(A, users(0..config.members)).unwrap();
        bench.dial_all(A, 0, 0..config.members);
        bench.out.clear();
        bench
    }

    fn attach(&mut self, connection: ConnectionId, users: Vec<UserId>) -> Result<(), Refusal> {
        self.group.attach(connection, EPOCH_ANY, false, &users, self.now, &mut self.out)
    }

    fn join(&mut self, connection: ConnectionId, users: Vec<UserId>) -> Result<(), Refusal> {
        self.group.attach(connection, EPOCH_ANY, true, &users, self.now, &mut self.out)
    }

    fn leave(&mut self, connection: ConnectionId, user: u32) -> Result<(), Code> {
        let leave = Leave { user: user.into(), reserved: 0.into() };
        self.group.leave(connection, &leave, &mut self.out).map_err(|refusal| refusal.code)
    }

    fn dial(
        &mut self,
        connection: ConnectionId,
        epoch: u32,
        sender: u32,
        slot: u32,
        key: &[u8],
    ) -> Result<(), Code> {
        self.dial_id += 1;
        let dial = Dial::new(self.dial_id, Epoch(epoch), MemberIndex(sender), SlotIndex(slot));
        self.group.dial(connection, &dial, key, self.now, &mut self.out).map_err(|refusal| refusal.code)
    }

    fn dial_all(&mut self, connection: ConnectionId, epoch: u32, senders: std::ops::Range<u32>) {
        let members = self.group.members_of(Epoch(epoch)).unwrap();
        let key = vec![0; members.div_ceil(8)];
        for sender in senders {
            for slot in 0..self.group.shape.slots as u32 {
                self.dial(connection, epoch, sender, slot, &key).unwrap();
            }
        }
    }

    fn submit(&mut self, connection: ConnectionId, sender: u32, round: u64) -> Result<(), Code> {
        let submit = Submit::new(RoundNumber(round), MemberIndex(sender), false);
        let (lagging, shares) = (self.lagging, &self.shares);
        let submitted = self.group.submit(connection, &submit, shares, self.now, lagging, &mut self.out);
        submitted.map_err(|refusal| refusal.code)
    }

    /// All members submit, through `A`.
    fn play(&mut self, rounds: std::ops::RangeInclusive<u64>) {
        for round in rounds {
            (0..self.group.members() as u32).for_each(|sender| self.submit(A, sender, round).unwrap());
        }
    }

    fn seed(&mut self, head: &PartsHead, seed: &[u8; 32]) -> Result<(), Code> {
        let taken = self.group.parts_seed(A, head, seed, self.now, &mut self.out);
        taken.map_err(|refusal| refusal.code)
    }

    fn parts(&mut self, head: &PartsHead, parts: &[u8]) -> Result<(), Code> {
        let upload = self.group.parts_begin(A, head).map_err(|refusal| refusal.code)?;
        assert_eq!(upload.bytes, parts.len());
        for (index, piece) in parts.chunks(1000).enumerate() {
            self.group.parts_bytes(&upload, index * 1000, piece);
        }
        self.group.parts_end(&upload, self.now, &mut self.out).map_err(|refusal| refusal.code)
    }

    fn tick(&mut self, now: Duration) {
        self.now = now;
        self.group.tick(now, self.lagging, &mut self.out);
    }

    /// What was delivered is taken by its readers, and its buffers come free.
    fn read_all(&mut self) {
        self.out.retain(|output| !matches!(output, Output::Deliver(_)));
    }

    fn tiles(&self) -> impl Iterator<Item = &Arc<Tile>> {
        self.out.iter().filter_map(|output| match output {
            Output::Deliver(tile) => Some(tile),
            _ => None,
        })
    }

    /// (round, tile, slot, present) of every delivery so far.
    fn deliveries(&self) -> Vec<(u64, u32, u32, u64)> {
        let heads = self.tiles().map(|tile| tile.head());
        heads.map(|head| (head.round.0, head.tile, head.slot.0, head.present)).collect()
    }

    /// The frames for everybody so far.
    fn for_all(&self) -> impl Iterator<Item = &bytes::Bytes> {
        self.out.iter().filter_map(|output| match output {
            Output::All(_, frame) => Some(frame),
            _ => None,
        })
    }

    fn kinds_for_all(&self) -> Vec<Kind> {
        self.for_all().map(|frame| kind(frame)).collect()
    }

    /// The frames for one connection so far.
    fn frames_to(&self, connection: ConnectionId) -> Vec<&bytes::Bytes> {
        let frames = self.out.iter().filter_map(|output| match output {
            Output::To(to, frame) if *to == connection => Some(frame),
            _ => None,
        });
        frames.collect()
    }

    fn kinds_to(&self, connection: ConnectionId) -> Vec<Kind> {
        self.frames_to(connection).into_iter().map(|frame| kind(frame)).collect()
    }

    fn codes_to(&self, connection: ConnectionId) -> Vec<Code> {
        self.frames_to(connection).into_iter().filter_map(|frame| code(frame)).collect()
    }

    fn counted(&self, what: Counted) -> u32 {
        let counts = self.out.iter().map(|output| match output {
            Output::Count(counted, count) if *counted == what => *count,
            _ => 0,
        });
        counts.sum()
    }
}

/// A box in memory.
#[derive(Debug, Default)]
struct MemoryBox {
    regions: HashMap<PartsKey, Vec<u8>>,
    bytes_max: usize,
    /// Every access fails.
    broken: bool,
}

impl MemoryBox {
    fn of(bytes_max: usize) -> Option<Box<dyn PartsBox>> {
        Some(Box::new(MemoryBox { bytes_max, ..MemoryBox::default() }))
    }

    fn region(&mut self, key: PartsKey) -> io::Result<&mut Vec<u8>> {
        if self.broken {
            return Err(io::ErrorKind::Other.into());
        }
        self.regions.get_mut(&key).ok_or(io::ErrorKind::InvalidInput.into())
    }
}

impl PartsBox for MemoryBox {
    fn reserve(&mut self, key: PartsKey, bytes: usize) -> io::Result<bool> {
        let used: usize = self.regions.values().map(Vec::len).sum();
        if used + bytes > self.bytes_max {
            return Ok(self.regions.contains_key(&key));
        }
        self.regions.entry(key).or_insert_with(|| vec![0; bytes]);
        Ok(true)
    }

    fn write(&mut self, key: PartsKey, at: usize, bytes: &[u8]) -> io::Result<()> {
        self.region(key)?[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn read(&mut self, key: PartsKey, at: usize, out: &mut [u8]) -> io::Result<()> {
        out.copy_from_slice(&self.region(key)?[at..at + out.len()]);
        Ok(())
    }

    fn forget(&mut self, epoch: Epoch) {
        self.regions.retain(|key, _| key.epoch != epoch);
    }
}
