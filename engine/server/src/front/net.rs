//! All that this crate asks of glommio, in one place: executors, sockets that are read, and time.

use crate::limits::EXECUTOR_MEMLOCK_BYTES;
use futures_lite::AsyncReadExt;
use glommio::net::TcpStream;
use glommio::{LocalExecutorBuilder, Placement};
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{RecvTimeoutError, channel, sync_channel};
use std::task::Poll;
use std::time::Duration;

/// How often a watched executor is woken, whether it sleeps or not.
const WATCH_EVERY: Duration = Duration::from_millis(50);

/// Memory that an executor reserves for file I/O, which the front does none of.
const IO_MEMORY_BYTES: usize = 64 << 10;

/// The executor's preempt timer: never, since tasks give way by themselves. See [`watched`] for what it would do.
const PREEMPT_TIME: Duration = Duration::from_secs(24 * 3600);

/// Longer than it takes to make a timer of it, and over once the sockets have been looked at.
const NO_TIME: Duration = Duration::from_micros(1);

/// A socket that is read on this executor.
pub(super) struct Ear {
    stream: TcpStream,
}

impl Ear {
    /// Takes a connected stream socket of any family.
    pub(super) fn new(socket: impl Into<OwnedFd>) -> Ear {
        // glommio makes streams from `socket2` sockets, and that from the standard library's; the type says TCP, but
        // all that happens to it is recv(2) and poll(2).
        let socket = socket2::Socket::from(std::net::TcpStream::from(socket.into()));
        Ear { stream: TcpStream::from(socket) }
    }

    /// Reads what is there, or waits. 0: the peer sends no more.
    pub(super) async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buf).await
    }
}

/// Runs a task of this executor in the background.
pub(super) fn spawn(task: impl Future<Output = ()> + 'static) {
    glommio::spawn_local(task).detach();
}

/// Waits.
pub(super) async fn sleep(time: Duration) {
    glommio::timer::sleep(time).await;
}

/// What the future gives, or nothing once the time is over.
pub(super) async fn within<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    futures_lite::future::or(async { Some(future.await) }, async {
        sleep(time).await;
        None
    })
    .await
}

/// Lets the reactor look at the sockets, and every other task have its turn.
pub(super) async fn give_way() {
    // A task of glommio 0.9 that wakes itself runs again before any socket is looked at.
    sleep(NO_TIME).await;
}

/// Runs the main future of a glommio executor while a thread wakes it now and then.
///
/// An executor of glommio 0.9 that is kept off the CPU for as long as its preempt timer, just after it has looked at
/// its rings, runs no task and goes to sleep although tasks are ready (`run_task_queues` returns that it ran nothing,
/// and `park` takes that for idleness). If its timers and sockets all belong to those tasks, nothing wakes it again.
/// A wake from another thread does: glommio re-arms that one itself.
pub async fn watched<T>(future: impl Future<Output = T>) -> T {
    let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
    let (running, stopped) = channel::<()>();
    let watch = std::thread::Builder::new().name("watch".into()).spawn(move || {
        while stopped.recv_timeout(WATCH_EVERY) == Err(RecvTimeoutError::Timeout) {
            waker.wake_by_ref();
        }
    });
    let output = future.await;
    drop(running);
    match watch {
        // The thread drops its waker before the executor ends.
        Ok(thread) => drop(thread.join()),
        Err(error) => tracing::warn!(%error, "an executor went without its watch"),
    }
    output
}

/// Starts an executor on a thread of its own.
///
/// # Errors
/// A sentence that names limit and remedy when too little memory may be locked, else what glommio says.
pub(super) fn start<F>(
    name: &str,
    core: Option<usize>,
    task: impl FnOnce() -> F + Send + 'static,
) -> io::Result<Joiner>
where
    F: Future<Output = ()> + 'static,
{
    let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
    if limit.is_some_and(|limit| limit < EXECUTOR_MEMLOCK_BYTES) {
        return Err(io::Error::other(format!(
            "a front executor needs {EXECUTOR_MEMLOCK_BYTES} bytes of locked memory and the limit is {}: \
             raise it, e.g. `ulimit -l 8192` or LimitMEMLOCK= in the unit",
            limit.unwrap_or_default()
        )));
    }
    let placement = core.map_or(Placement::Unbound, Placement::Fixed);
    let refused = |error: &dyn std::fmt::Display| {
        io::Error::other(format!(
            "{name} cannot start ({error}): is `ulimit -l` at least 512 for each executor of this user?"
        ))
    };
    let (begun, ready) = sync_channel(1);
    let joiner = LocalExecutorBuilder::new(placement)
        .name(name)
        .io_memory(IO_MEMORY_BYTES)
        .preempt_timer(PREEMPT_TIME)
        .spawn(move || {
            let _ = begun.send(());
            watched(async move { task().await })
        })
        .map(Joiner)
        .map_err(|error| refused(&error))?;
    // glommio sets its rings up on the new thread, and says only to who joins it that it could not.
    match ready.recv() {
        Ok(()) => Ok(joiner),
        Err(_) => Err(refused(&joiner.join().expect_err("it ended before it began"))),
    }
}

/// The thread of an executor.
pub struct Joiner(glommio::ExecutorJoinHandle<()>);

impl Joiner {
    /// Waits for its end.
    ///
    /// # Errors
    /// If the executor panicked.
    pub fn join(self) -> io::Result<()> {
        self.0.join().map_err(|error| io::Error::other(format!("a front executor failed: {error}")))
    }
}
