//! Every limit of this crate, and how they relate.
//!
//! A sketch for one core at 10 Gbit/s: 1.2 GB/s is 4800 slabs of 256 KiB a second, one system call each at worst, so
//! a system call of 1 us is half a percent of the core. The copy into the kernel is at 10 GB/s or so an eighth of it.
//! That is why slabs are large, and why nothing here is done per share.

/// The least bytes of a slab: one page. Below 64 KiB the cost of a send shows; tests use it.
pub const SLAB_BYTES_MIN: usize = 4 << 10;
/// The most bytes of a slab. A larger one would fall out of L2 between the gather and the send.
pub const SLAB_BYTES_MAX: usize = 256 << 10;
/// The bytes of a slab unless the configuration says otherwise.
pub const SLAB_BYTES_DEFAULT: usize = SLAB_BYTES_MAX;
/// The fewest slabs of a pool: one may wait for its notification while the other is sent by copy.
pub const SLABS_MIN: usize = 2;
/// The most slabs of a pool: 256 MiB of the largest.
pub const SLABS_MAX: usize = 1024;
/// The slabs of a pool unless the configuration says otherwise: 4 MiB, enough for zero-copy at 25 Gbit/s and 1 ms.
pub(crate) const SLABS_DEFAULT: usize = 16;

/// The most connections of one core.
pub(crate) const CONNECTIONS_MAX: usize = 1 << 16;
/// The connections of one core unless the configuration says otherwise.
pub(crate) const CONNECTIONS_DEFAULT: usize = 1024;

/// The most bytes gathered or sent between two entries into the kernel. What is gathered should still be in L2 when
/// the kernel copies it out. The egress benchmark on a 2-MiB L2 gave CPU per byte over that of a plain send: 1.12 at
/// 256 KiB, 1.14 at 512 KiB, 1.15 at 1 MiB, 1.16 at 2 MiB, 1.15 at 4 MiB. So little is good, and an entry costs little.
pub(crate) const BATCH_BYTES_MAX: usize = 256 << 10;

/// Entries of the submission queue. A turn that finds it full goes on in the next one.
pub(crate) const SUBMISSIONS_MAX: u32 = 256;
/// Completion queue entries per submission queue entry, at least.
pub(crate) const COMPLETIONS_PER_SUBMISSION: u32 = 4;
/// The most completions handled in one turn, unless the configuration says otherwise.
pub(crate) const COMPLETIONS_PER_TURN_DEFAULT: usize = 256;

/// The wait after the kernel said that it is out of buffers, where no readiness will ever be reported.
pub(crate) const BACKOFF_MS: u64 = 5;
/// The looks for stalled connections per stall deadline: a stall is noticed late by an eighth of it at most.
pub(crate) const LOOKS_PER_STALL_TIMEOUT: u32 = 8;
/// The stall deadline unless the configuration says otherwise.
pub(crate) const STALL_TIMEOUT_MS_DEFAULT: u64 = 10_000;

/// Zero-copy for a send of at least so many bytes: below it, pinning and the notification cost more than the copy.
pub(crate) const ZERO_COPY_BYTES_MIN_DEFAULT: usize = 32 << 10;
/// Registered memory per core is at most this part of the memlock limit unless the configuration says otherwise: the
/// limit is counted per user, and the front's executors and other cores need theirs.
pub(crate) const REGISTERED_PART_OF_MEMLOCK: usize = 8;

/// How long the end of an egress waits for what is in flight before it leaves the slabs to the process's end.
pub(crate) const DROP_WAIT_MS_MAX: u64 = 200;

/// Bits of `user_data` for the generation of a slot, the slot, the slab and the kind of an operation.
pub(crate) const GENERATION_BITS: u32 = 24;
pub(crate) const SLOT_BITS: u32 = 20;
pub(crate) const SLAB_BITS: u32 = 16;
pub(crate) const KIND_BITS: u32 = 4;

const _: () = assert!(GENERATION_BITS + SLOT_BITS + SLAB_BITS + KIND_BITS == u64::BITS);
const _: () = assert!(CONNECTIONS_MAX <= 1 << SLOT_BITS);
const _: () = assert!(SLABS_MAX <= 1 << SLAB_BITS);
const _: () = assert!(SLAB_BYTES_MIN <= SLAB_BYTES_DEFAULT && SLAB_BYTES_DEFAULT <= SLAB_BYTES_MAX);
const _: () = assert!(SLABS_MIN <= SLABS_DEFAULT && SLABS_DEFAULT <= SLABS_MAX);
const _: () = assert!(CONNECTIONS_DEFAULT <= CONNECTIONS_MAX);
// A batch holds one slab at least, or nothing would ever be sent.
const _: () = assert!(BATCH_BYTES_MAX >= SLAB_BYTES_MAX);
const _: () = assert!(SUBMISSIONS_MAX.is_power_of_two() && COMPLETIONS_PER_SUBMISSION >= 4);
