//! Every threshold of a check, with its reason.

/// The oldest kernel whose io_uring an egress runs on: waits have a timeout from there on.
pub const KERNEL_MIN: (u64, u64) = (5, 11);
/// The oldest kernel with all that an egress uses: zero-copy sends came with 6.0, single issuers and deferred task work
/// with 6.1. What distributions have taken back into older ones is found by the probe of io_uring.
pub const KERNEL_WANTED: (u64, u64) = (6, 1);

/// Locked memory that glommio asks of each executor's process before it starts.
pub const EXECUTOR_MEMLOCK_BYTES: u64 = 512 << 10;
/// A fan-out thread registers its slabs where they are at most this part of the limit on locked memory, as
/// `twincast-ring` has it: the limit is counted per user, and other threads need theirs.
pub const REGISTERED_PART_OF_MEMLOCK: u64 = 8;
/// Descriptors that a server has of a connection at the most, while it is handed over.
pub const DESCRIPTORS_PER_CONNECTION: u64 = 4;
/// Descriptors for everything that is no connection: rings, listeners, logs.
pub const DESCRIPTORS_SPARE: u64 = 64;
/// Connections of a server unless its configuration says otherwise.
pub const CONNECTIONS_DEFAULT: u64 = 4096;
/// The slab pool of a fan-out thread unless the configuration says otherwise: 16 slabs of 256 KiB.
pub const SLAB_POOL_BYTES_DEFAULT: u64 = 4 << 20;

/// The size of huge pages that an egress maps its slabs on.
pub const HUGE_PAGE_BYTES: u64 = 2 << 20;

/// From this speed on a core has little time to spare: at 10 Gb/s and packets of 1500 bytes, a microsecond a packet.
/// What costs time for each packet, and a processor kept at its lowest frequency, show from there on.
pub const FAST_BITS_PER_S: u64 = 10_000_000_000;

/// Packets of Ethernet, below which a link is a tunnel or a network of virtual machines, with a header for each packet.
pub const MTU_ETHERNET: u64 = 1_500;
/// Jumbo frames: a sixth of the packets of 1500 bytes, and 4 % more of the link for what is sent.
pub const MTU_JUMBO: u64 = 9_000;
/// What may get through where packets of the interface's size do not, the largest first: Ethernet's own, with a tunnel's
/// header around them, and the least that IPv6 allows.
pub const MTU_FALLBACKS: [u64; 3] = [MTU_ETHERNET, 1_400, 1_280];

/// Packets of each size that are sent to a peer: one of them may be lost for other reasons than its size.
pub const PATH_TRIES: u64 = 3;

/// Descriptors of a ring of a fast card: at 10 Gb/s and 1500 bytes 4096 packets are 5 ms, which is more than a core is
/// away from its ring; 256 are 0.3 ms, which is not.
pub const RING_ENTRIES_FAST: u64 = 4_096;
/// The same of slower cards: at 1 Gb/s 512 packets are 6 ms.
pub const RING_ENTRIES_SLOW: u64 = 512;

/// The round trip that socket buffers have to cover: that of a data centre whose switches have queues, not of its idle
/// cables. One connection may have to fill the link, where one plays all members of a host.
pub const ROUND_TRIP_US: u64 = 1_000;
/// A socket's buffer is charged for what holds the bytes too, up to twice of them.
pub const BUFFER_BYTES_PER_BYTE: u64 = 2;

const _: () = assert!(RING_ENTRIES_SLOW <= RING_ENTRIES_FAST);
const _: () = assert!(MTU_ETHERNET < MTU_JUMBO);
