//! A ring whose kernel and peers are simulated, driven by a seed.
//!
//! It does what the kernel may do and seldom does: short sends, completions late and out of order, `EAGAIN`, `ENOBUFS`,
//! `EINTR`, entries that submit nothing, polls that end for no reason, peers that break off or stop reading,
//! notifications that come late, not at all, after an error, or say that the kernel copied. And it watches: a slab
//! that changes before its notification, a send on a socket that was given back, or two sends of one connection at a
//! time end the test.
//!
//! ```
//! use twincast_ring::fake::{FakeWorld, Peer, Trouble};
//! let (world, ring) = FakeWorld::new(42, Trouble::None);
//! let socket = world.connect(Peer::fast());
//! # let _ = (ring, socket);
//! ```

use crate::ring::{Completion, Entered, Operation, Ring, Wait, What};
use crate::slabs::SlabBytes;
use crate::tcp_info::TcpInfo;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;

/// How much goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing: what is asked for is done at the next entry.
    None,
    /// Much, and a different mix for every seed.
    Much,
}

/// The far end of a simulated connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// All that it was sent.
    pub received: Vec<u8>,
    /// Bytes that its socket has room for at most.
    pub room_max: usize,
    /// Bytes that it reads per step of the world; 0: it stopped.
    pub reads_per_step: usize,
    acks: bool,
    room: usize,
    acked: u64,
    broken: Option<i32>,
    connected: bool,
}

impl Peer {
    /// Reads as fast as can be.
    pub fn fast() -> Self {
        Self::reading(usize::MAX / 2, 64 << 10)
    }

    /// Takes what its socket has room for, and reads nothing.
    pub fn stopped(room_max: usize) -> Self {
        Self::reading(0, room_max)
    }

    /// Reads nothing, but acknowledges a byte per step: a window that opens too slowly for a send.
    pub fn dripping(room_max: usize) -> Self {
        Self { acks: true, ..Self::stopped(room_max) }
    }

    /// Reads so many bytes per step.
    pub fn reading(reads_per_step: usize, room_max: usize) -> Self {
        Self {
            received: Vec::new(),
            room_max,
            reads_per_step,
            acks: false,
            room: room_max,
            acked: 0,
            broken: None,
            connected: true,
        }
    }
}

/// The simulated kernel and peers, as the test sees them. Its `FakeRing` is what the egress sees.
#[derive(Debug, Clone)]
pub struct FakeWorld(Rc<RefCell<World>>);

/// A ring into a `FakeWorld`.
#[derive(Debug)]
pub struct FakeRing(Rc<RefCell<World>>);

/// Chances out of a thousand.
#[derive(Debug)]
struct Chances {
    late: u32,
    short: u32,
    again: u32,
    nobufs: u32,
    interrupted: u32,
    busy: u32,
    copied: u32,
    no_notification: u32,
    poll_ends: u32,
}

#[derive(Debug)]
struct Notification {
    peer: usize,
    user_data: u64,
    bytes: SlabBytes,
    /// What they were when they were sent.
    copy: Vec<u8>,
}

#[derive(Debug)]
struct World {
    random: Xoshiro256PlusPlus,
    chances: Chances,
    queue_max: usize,
    peers: Vec<Peer>,
    /// The peer of each open descriptor.
    sockets: BTreeMap<RawFd, usize>,
    queued: VecDeque<Operation>,
    started: Vec<Operation>,
    posted: VecDeque<Completion>,
    /// Done, but not told yet.
    withheld: Vec<Completion>,
    notifications: Vec<Notification>,
}

impl FakeWorld {
    /// A world and its ring.
    pub fn new(seed: u64, trouble: Trouble) -> (Self, FakeRing) {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let much = trouble == Trouble::Much;
        let mut chance = |most: u32| if much { random.next_u32() % (most + 1) } else { 0 };
        let chances = Chances {
            late: chance(800),
            short: chance(900),
            again: chance(200),
            nobufs: chance(100),
            interrupted: chance(100),
            busy: chance(100),
            copied: chance(1000),
            no_notification: chance(300),
            poll_ends: chance(100),
        };
        let queue_max = if much { 1 + random.next_u32() as usize % 16 } else { 256 };
        let world = Rc::new(RefCell::new(World {
            random,
            chances,
            queue_max,
            peers: Vec::new(),
            sockets: BTreeMap::new(),
            queued: VecDeque::new(),
            started: Vec::new(),
            posted: VecDeque::new(),
            withheld: Vec::new(),
            notifications: Vec::new(),
        }));
        (Self(Rc::clone(&world)), FakeRing(world))
    }

    /// A connection to a peer: a descriptor to give to the egress. It is none of a socket.
    pub fn connect(&self, peer: Peer) -> OwnedFd {
        let socket = OwnedFd::from(std::fs::File::open("/dev/null").expect("there is a /dev/null"));
        let mut world = self.0.borrow_mut();
        world.peers.push(peer);
        let peer = world.peers.len() - 1;
        let before = world.sockets.insert(socket.as_raw_fd(), peer);
        assert_eq!(before, None, "a descriptor of this world was closed without `disconnect`");
        socket
    }

    /// Closes a socket that the egress gave back, and with it what the peer still holds of slabs.
    pub fn disconnect(&self, socket: OwnedFd) {
        let mut world = self.0.borrow_mut();
        let peer = world.sockets.remove(&socket.as_raw_fd()).expect("a socket of this world");
        world.peers[peer].connected = false;
        let in_flight = world.started.iter().chain(&world.queued).any(|operation| match operation.what {
            What::Send { socket: fd, .. } | What::PollOut { socket: fd } => fd == socket.as_raw_fd(),
            What::PollInMulti { .. } | What::Cancel { .. } => false,
        });
        assert!(!in_flight, "a connection was reported closed with something in flight");
    }

    /// The peer breaks off: sends fail with this errno.
    pub fn break_off(&self, socket: BorrowedFd<'_>, errno: i32) {
        let mut world = self.0.borrow_mut();
        let peer = world.sockets[&socket.as_raw_fd()];
        world.peers[peer].broken = Some(errno);
    }

    /// Looks at or changes a peer, by the order of connecting.
    pub fn peer<T>(&self, index: usize, look: impl FnOnce(&mut Peer) -> T) -> T {
        look(&mut self.0.borrow_mut().peers[index])
    }

    /// Whether the kernel holds anything that it has not told the ring.
    pub fn holds_nothing(&self) -> bool {
        let world = self.0.borrow();
        world.notifications.is_empty() && world.withheld.is_empty() && world.posted.is_empty()
    }
}

impl World {
    fn chance(&mut self, per_mille: u32) -> bool {
        self.random.next_u32() % 1000 < per_mille
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.random.next_u64() % bound as u64) as usize
    }

    /// The world goes on a little: peers read, operations complete, what was withheld is told.
    fn step(&mut self) {
        for peer in &mut self.peers {
            let read = peer.reads_per_step.min(peer.room_max - peer.room);
            peer.room += read;
            peer.acked += read as u64 + u64::from(peer.acks);
        }
        let mut started = std::mem::take(&mut self.started);
        self.shuffle(&mut started);
        self.started = started;
        // A cancellation takes another from the list, so that one may be passed over; it has its turn next time.
        let mut index = 0;
        while index < self.started.len() {
            if !self.chance(self.chances.late) {
                let operation = self.started.remove(index);
                if self.execute(operation) {
                    continue;
                }
                self.started.insert(index, operation);
            }
            index += 1;
        }
        let mut withheld = std::mem::take(&mut self.withheld);
        self.shuffle(&mut withheld);
        for completion in withheld {
            if self.chance(self.chances.late) {
                self.withheld.push(completion);
            } else {
                self.posted.push_back(completion);
            }
        }
        self.notify();
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            let other = self.below(index + 1);
            items.swap(index, other);
        }
    }

    /// Lets go of slabs: those of peers that read, or are gone.
    fn notify(&mut self) {
        for notification in std::mem::take(&mut self.notifications) {
            let peer = &self.peers[notification.peer];
            let held = peer.connected && peer.broken.is_none() && peer.reads_per_step == 0;
            // The completion of the send is told first, always.
            let told = |completion: &Completion| completion.user_data != notification.user_data;
            let early = !self.withheld.iter().all(told);
            if held || early || self.chance(self.chances.late) {
                self.notifications.push(notification);
                continue;
            }
            assert_eq!(
                read(notification.bytes),
                notification.copy,
                "slab {} changed before its notification",
                notification.bytes.slab
            );
            let copied = self.chance(self.chances.copied);
            self.posted.push_back(Completion {
                user_data: notification.user_data,
                result: 0,
                more: false,
                notification: true,
                copied,
            });
        }
    }

    /// Returns whether the operation is over.
    fn execute(&mut self, operation: Operation) -> bool {
        let user_data = operation.user_data;
        match operation.what {
            What::Send { socket, bytes, zero_copy } => {
                self.execute_send(user_data, socket, bytes, zero_copy);
                true
            }
            What::PollOut { socket } => {
                let peer = &self.peers[self.sockets[&socket]];
                let ready = peer.room > 0 || peer.broken.is_some();
                if ready || self.chance(self.chances.poll_ends / 10) {
                    self.tell(user_data, i32::from(libc::POLLOUT), false);
                    return true;
                }
                false
            }
            What::PollInMulti { .. } => {
                let ends = self.chance(self.chances.poll_ends);
                if ends || self.chance(self.chances.poll_ends) {
                    self.tell(user_data, i32::from(libc::POLLIN), !ends);
                }
                ends
            }
            What::Cancel { user_data: target } => {
                let found = self.started.iter().position(|other| other.user_data == target);
                match found {
                    Some(index) => {
                        self.started.remove(index);
                        self.tell(target, -libc::ECANCELED, false);
                        self.tell(user_data, 0, false);
                    }
                    None => self.tell(user_data, -libc::ENOENT, false),
                }
                true
            }
        }
    }

    fn execute_send(&mut self, user_data: u64, socket: RawFd, bytes: SlabBytes, zero_copy: bool) {
        let index = *self.sockets.get(&socket).expect("a send on a socket that was given back");
        let other = self
            .started
            .iter()
            .any(|other| matches!(other.what, What::Send { socket: other, .. } if other == socket));
        assert!(!other, "two sends of one connection at a time");
        let (room, broken) = (self.peers[index].room, self.peers[index].broken);
        let error = if let Some(errno) = broken {
            errno
        } else if self.chance(self.chances.nobufs) {
            libc::ENOBUFS
        } else if self.chance(self.chances.interrupted) {
            libc::EINTR
        } else if room == 0 || self.chance(self.chances.again) {
            libc::EAGAIN
        } else {
            0
        };
        let notification = zero_copy && !self.chance(self.chances.no_notification);
        let mut sent = 0;
        if error == 0 {
            sent = room.min(bytes.len as usize);
            if self.chance(self.chances.short) {
                sent = 1 + self.below(sent);
            }
            let part = SlabBytes { len: sent as u32, ..bytes };
            let peer = &mut self.peers[index];
            peer.received.extend_from_slice(read(part));
            peer.room -= sent;
        }
        if notification {
            let bytes = SlabBytes { len: sent as u32, ..bytes };
            self.notifications.push(Notification {
                peer: index,
                user_data,
                bytes,
                copy: read(bytes).to_vec(),
            });
        }
        self.tell(user_data, if error == 0 { sent as i32 } else { -error }, notification);
    }

    fn tell(&mut self, user_data: u64, result: i32, more: bool) {
        self.withheld.push(Completion { user_data, result, more, notification: false, copied: false });
    }
}

/// The bytes of a send, as the kernel would see them now.
fn read<'a>(bytes: SlabBytes) -> &'a [u8] {
    // SAFETY: the pool of the egress under test keeps the slab's memory mapped while a send from it is in flight or
    // awaits its notification (`SlabPool`, `Egress`'s `Drop`), and the world reads no earlier and no later. Nobody
    // writes to it during this call: all is on one thread, and no caller keeps the slice past its next statement.
    unsafe { std::slice::from_raw_parts(bytes.address, bytes.len as usize) }
}

impl Ring for FakeRing {
    fn has_zero_copy(&self) -> bool {
        true
    }

    fn register(
        &mut self,
        _slabs: &mut dyn Iterator<Item = *const u8>,
        _slab_bytes: usize,
    ) -> io::Result<()> {
        Ok(())
    }

    fn room(&self) -> usize {
        let world = self.0.borrow();
        world.queue_max - world.queued.len()
    }

    fn push(&mut self, operation: Operation) {
        let mut world = self.0.borrow_mut();
        assert!(world.queued.len() < world.queue_max, "the caller looked for room");
        world.queued.push_back(operation);
    }

    fn enter(&mut self, wait: Wait) -> Entered {
        let world = &mut *self.0.borrow_mut();
        if world.chance(world.chances.busy) {
            return Entered::Busy;
        }
        while let Some(operation) = world.queued.pop_front() {
            world.started.push(operation);
        }
        world.step();
        if world.chance(world.chances.interrupted) {
            return Entered::Interrupted;
        }
        if wait == Wait::No {
            return Entered::Done;
        }
        // A peer that will not read in so many steps will not read at all.
        for _ in 0..100 {
            if !world.posted.is_empty() {
                return Entered::Done;
            }
            world.step();
        }
        Entered::TimedOut
    }

    fn reap(&mut self, into: &mut Vec<Completion>, completions_max: usize) {
        let mut world = self.0.borrow_mut();
        let len = completions_max.min(world.posted.len());
        into.extend(world.posted.drain(..len));
    }

    fn tcp_info(&self, socket: BorrowedFd<'_>) -> io::Result<TcpInfo> {
        let world = self.0.borrow();
        let peer = &world.peers[world.sockets[&socket.as_raw_fd()]];
        Ok(TcpInfo { bytes_acked: peer.acked, ..TcpInfo::default() })
    }
}
