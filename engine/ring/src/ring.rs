//! What an egress needs of a ring: the kernel's in `kernel`, a simulated one in `fake`.

use crate::slabs::SlabBytes;
use crate::tcp_info::TcpInfo;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

/// One thing to ask of the kernel. Only this crate can make one: a send names memory that the pool of slabs has to
/// leave alone until its completion, and a descriptor that has to stay open as long.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    pub(crate) user_data: u64,
    pub(crate) what: What,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    /// Send what the socket has room for, without waiting.
    Send { socket: RawFd, bytes: SlabBytes, zero_copy: bool },
    /// Complete once when the socket has room or is broken.
    PollOut { socket: RawFd },
    /// Complete each time the descriptor becomes readable.
    PollInMulti { fd: RawFd },
    /// Complete the operation that has this `user_data` as cancelled.
    Cancel { user_data: u64 },
}

/// What became of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    pub(crate) user_data: u64,
    /// Bytes or events, or an errno negated.
    pub(crate) result: i32,
    /// More completions of the same operation follow: for a zero-copy send, its notification.
    pub(crate) more: bool,
    /// This is that notification.
    pub(crate) notification: bool,
    /// The notification says that the kernel copied after all.
    pub(crate) copied: bool,
}

/// Whether an entry into the kernel sleeps until there is a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// No.
    No,
    /// For so long at most.
    For(Duration),
    /// Until there is one.
    Forever,
}

/// How an entry into the kernel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entered {
    /// As asked: all submitted, and a completion is there if one was waited for.
    Done,
    /// The wait took as long as it might.
    TimedOut,
    /// A signal came. What was not submitted stays queued.
    Interrupted,
    /// The kernel is short of memory, or of room for completions. What was not submitted stays queued.
    Busy,
}

/// A queue of operations, and a queue of completions.
pub trait Ring {
    /// Whether zero-copy sends may be asked for.
    fn has_zero_copy(&self) -> bool;

    /// Registers buffers, which zero-copy sends then name by their index. The memory outlives the ring.
    ///
    /// # Errors
    ///
    /// What the kernel says; `ENOMEM` when the memlock limit is too low.
    fn register(&mut self, slabs: &mut dyn Iterator<Item = *const u8>, slab_bytes: usize) -> io::Result<()>;

    /// Operations that can be pushed now.
    fn room(&self) -> usize;

    /// Queues an operation. Panics when there is no room.
    fn push(&mut self, operation: Operation);

    /// Submits what is queued, lets the kernel post what is due, and waits. Does nothing when there is nothing to do.
    fn enter(&mut self, wait: Wait) -> Entered;

    /// Appends at most `completions_max` completions.
    fn reap(&mut self, into: &mut Vec<Completion>, completions_max: usize);

    /// What the kernel knows of the connection.
    ///
    /// # Errors
    ///
    /// When it knows nothing, as it is no TCP.
    fn tcp_info(&self, socket: BorrowedFd<'_>) -> io::Result<TcpInfo>;
}
