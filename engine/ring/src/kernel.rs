//! The kernel's ring.
//!
//! One thread makes it, submits to it and reaps from it (`SINGLE_ISSUER`), which lets the kernel leave its work for
//! the moment when that thread asks (`DEFER_TASKRUN`): every entry does (`GETEVENTS`), or that work would never run.
//!
//! Sends are `MSG_DONTWAIT`: the kernel takes what the socket has room for and completes at once, so that a slab is
//! never parked in the kernel behind a peer that does not read. `MSG_WAITALL` would only have it try once more.
//! `SEND` has no use for registered buffers (Linux 6.18 refuses `IORING_RECVSEND_FIXED_BUF` for it), `SEND_ZC` has.

use crate::config::EgressConfig;
use crate::error::RingError;
use crate::limits::{COMPLETIONS_PER_SUBMISSION, SUBMISSIONS_MAX};
use crate::memory::memlock_limit;
use crate::ring::{Completion, Entered, Operation, Ring, Wait, What};
use crate::support::OPERATIONS_NEEDED;
use crate::tcp_info::{TcpInfo, tcp_info};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{Builder, EnterFlags, IoUring, Probe, cqueue, opcode, squeue};
use std::io;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;

/// `IORING_SEND_ZC_REPORT_USAGE` and its answer of linux/io_uring.h, which the io-uring crate does not export.
const SEND_ZC_REPORT_USAGE: u16 = 1 << 3;
const NOTIF_USAGE_ZC_COPIED: u32 = 1 << 31;

/// How rings are set up, the best first, with what is missing in the others.
type Setup = fn(&mut Builder);
const SETUPS: [(&str, Setup); 4] = [
    ("", |builder| {
        builder.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun().setup_taskrun_flag();
        builder.setup_submit_all();
    }),
    ("single issuer and deferred task work (Linux 6.1)", |builder| {
        builder.setup_coop_taskrun().setup_taskrun_flag().setup_submit_all();
    }),
    ("cooperative task work (Linux 5.19)", |builder| {
        builder.setup_submit_all();
    }),
    ("submit-all (Linux 5.18)", |_| {}),
];

/// The kernel's ring. It stays on the thread that made it.
pub struct KernelRing {
    ring: IoUring,
    has_zero_copy: bool,
    setup_lacks: Option<&'static str>,
    registered: bool,
    /// `SINGLE_ISSUER`: another thread's submissions would be refused, so that it is not `Send`.
    on_its_thread: PhantomData<*mut ()>,
}

impl KernelRing {
    /// A ring for an egress of this configuration. Steps down to what an older kernel has, with one log line.
    ///
    /// # Errors
    ///
    /// `Config`, `Unavailable` where io_uring is missing or forbidden, `TooOld` where it lacks what is needed, `Memlock`
    /// where the user has locked too much already for even the queues.
    pub fn new(config: &EgressConfig) -> Result<Self, RingError> {
        config.check()?;
        // One operation per connection and a few per slab complete at a time, as a rule. What does not fit the kernel
        // keeps aside, which costs it an allocation each. The queues count as locked memory (Linux 6.13).
        let under_way = (config.connections_max + 2 * config.slabs) as u32;
        let completions = (SUBMISSIONS_MAX * COMPLETIONS_PER_SUBMISSION).max(under_way.next_power_of_two());
        let (ring, setup_lacks) = Self::set_up(completions)?;
        let parameters = ring.params();
        for (has, what) in [
            (parameters.is_feature_ext_arg(), "a timeout for waits"),
            (parameters.is_feature_nodrop(), "lossless completions"),
        ] {
            if !has {
                return Err(RingError::TooOld(what));
            }
        }
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe).map_err(RingError::Unavailable)?;
        let codes = [opcode::Send::CODE, opcode::PollAdd::CODE, opcode::AsyncCancel::CODE];
        for (code, what) in codes.into_iter().zip(OPERATIONS_NEEDED) {
            if !probe.is_supported(code) {
                return Err(RingError::TooOld(what));
            }
        }
        let has_zero_copy = probe.is_supported(opcode::SendZc::CODE);
        Ok(Self { ring, has_zero_copy, setup_lacks, registered: false, on_its_thread: PhantomData })
    }

    /// What the best way to set a ring up needs and this kernel has not.
    pub(crate) fn setup_lacks(&self) -> Option<&'static str> {
        self.setup_lacks
    }

    /// A ring, and what its set-up had to do without.
    fn set_up(completions: u32) -> Result<(IoUring, Option<&'static str>), RingError> {
        let mut refused = None;
        for (missing, setup) in SETUPS {
            let mut builder = IoUring::builder();
            setup(builder.setup_cqsize(completions).setup_clamp());
            match builder.build(SUBMISSIONS_MAX) {
                Ok(ring) => {
                    if refused.is_some() {
                        tracing::warn!(missing, "this kernel's io_uring is an old one: egress costs more");
                    }
                    return Ok((ring, refused.is_some().then_some(missing)));
                }
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => refused = Some(error),
                Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {
                    // An entry of 64 bytes and its index, one of 16 bytes, and the pages that they do not fill.
                    let needed_bytes =
                        (SUBMISSIONS_MAX * 68 + completions * 16).next_multiple_of(4096) + 8192;
                    let (what, needed_bytes) = ("the ring", needed_bytes as usize);
                    return Err(RingError::Memlock {
                        what,
                        needed_bytes,
                        limit_bytes: memlock_limit(),
                        error,
                    });
                }
                Err(error) => return Err(RingError::Unavailable(error)),
            }
        }
        Err(RingError::Unavailable(refused.expect("at least one setup was tried")))
    }

    fn entry(&self, operation: Operation) -> squeue::Entry {
        let entry = match operation.what {
            What::Send { socket, bytes, zero_copy: false } => {
                opcode::Send::new(Fd(socket), bytes.address, bytes.len)
                    .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
                    .build()
            }
            What::Send { socket, bytes, zero_copy: true } => {
                opcode::SendZc::new(Fd(socket), bytes.address, bytes.len)
                    .buf_index(self.registered.then_some(bytes.slab))
                    .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
                    .zc_flags(SEND_ZC_REPORT_USAGE)
                    .build()
            }
            What::PollOut { socket } => opcode::PollAdd::new(Fd(socket), libc::POLLOUT as u32).build(),
            What::PollInMulti { fd } => opcode::PollAdd::new(Fd(fd), libc::POLLIN as u32).multi(true).build(),
            What::Cancel { user_data } => opcode::AsyncCancel::new(user_data).build(),
        };
        entry.user_data(operation.user_data)
    }
}

impl Ring for KernelRing {
    fn has_zero_copy(&self) -> bool {
        self.has_zero_copy
    }

    fn register(&mut self, slabs: &mut dyn Iterator<Item = *const u8>, slab_bytes: usize) -> io::Result<()> {
        let buffers: Vec<libc::iovec> = slabs
            .map(|start| libc::iovec { iov_base: start.cast_mut().cast(), iov_len: slab_bytes })
            .collect();
        // SAFETY: each range is a slab in a mapping that outlives the ring (`Egress` drops the ring first, and leaks
        // the mapping where anything is still in flight).
        unsafe { self.ring.submitter().register_buffers(&buffers)? };
        self.registered = true;
        Ok(())
    }

    fn room(&self) -> usize {
        // SAFETY: the shared view is read only for its length, and no other view of the queue exists meanwhile: they
        // all come from `self.ring`, which is borrowed here, and the type stays on its thread.
        let queue = unsafe { self.ring.submission_shared() };
        queue.capacity() - queue.len()
    }

    fn push(&mut self, operation: Operation) {
        let entry = self.entry(operation);
        // SAFETY: the memory of a send is a slab whose token is `InFlight` until the completion, and which is not
        // free until its notifications are in (`SlabPool`); its mapping outlives what is in flight (`Egress`'s
        // `Drop`). The other operations name no memory. Descriptors stay open until nothing of their connection is in
        // flight (`Egress`), and a stale one could only hit a socket, not memory.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.expect("the caller looked for room");
    }

    fn enter(&mut self, wait: Wait) -> Entered {
        let (to_submit, due) = {
            let queue = self.ring.submission();
            (queue.len() as u32, queue.taskrun() || queue.cq_overflow())
        };
        if to_submit == 0 && !due && wait == Wait::No {
            return Entered::Done;
        }
        let timespec = match wait {
            Wait::For(time) => Timespec::from(time),
            Wait::No | Wait::Forever => Timespec::new(),
        };
        let args = match wait {
            Wait::For(_) => SubmitArgs::new().timespec(&timespec),
            Wait::No | Wait::Forever => SubmitArgs::new(),
        };
        let flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        let want = u32::from(wait != Wait::No);
        // SAFETY: `EXT_ARG` takes a `io_uring_getevents_arg`, which `SubmitArgs` is, and the timespec that it points
        // to lives through the call (this function). What the submitted entries need is promised in `push`.
        let entered = unsafe { self.ring.submitter().enter(to_submit, want, flags.bits(), Some(&args)) };
        match entered.map_err(|error| (error.raw_os_error(), error)) {
            Ok(submitted) if submitted < to_submit as usize => Entered::Busy,
            Ok(_) => Entered::Done,
            Err((Some(libc::ETIME), _)) => Entered::TimedOut,
            Err((Some(libc::EINTR), _)) => Entered::Interrupted,
            Err((Some(libc::EAGAIN | libc::EBUSY | libc::ENOMEM), _)) => Entered::Busy,
            Err((_, error)) => panic!("io_uring_enter refuses what it was set up for: {error}"),
        }
    }

    fn reap(&mut self, into: &mut Vec<Completion>, completions_max: usize) {
        into.extend(self.ring.completion().take(completions_max).map(|entry| {
            let notification = cqueue::notif(entry.flags());
            Completion {
                user_data: entry.user_data(),
                result: entry.result(),
                more: cqueue::more(entry.flags()),
                notification,
                copied: notification && entry.result() as u32 & NOTIF_USAGE_ZC_COPIED != 0,
            }
        }));
    }

    fn tcp_info(&self, socket: BorrowedFd<'_>) -> io::Result<TcpInfo> {
        tcp_info(socket)
    }
}
