//! Takes connections in, on a thread that does nothing else, and deals them out to the executors.

use super::{FrontHandle, FrontMessage};
use crate::group::ConnectionId;
use crate::metrics::Metrics;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;
use twincast_protocol::wire::Code;

/// How long to wait before the next try when no connection can be taken, for want of descriptors mostly.
const BACK_OFF: Duration = Duration::from_millis(100);

/// The accepting thread.
#[derive(Debug)]
pub struct Acceptor {
    address: SocketAddr,
    stop: OwnedFd,
    thread: JoinHandle<()>,
}

impl Acceptor {
    /// Listens, and accepts from now on.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn start(
        address: SocketAddr,
        connections_max: usize,
        fronts: Vec<Arc<FrontHandle>>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Acceptor> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC)?;
        let stopped = stop.try_clone()?;
        let thread = std::thread::Builder::new()
            .name("accept".into())
            .spawn(move || accept_all(&listener, &stopped, connections_max, &fronts, &metrics))?;
        Ok(Acceptor { address, stop, thread })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no further connection.
    pub fn stop(self) {
        // An eventfd takes 2^64 - 2 of these.
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
        if self.thread.join().is_err() {
            tracing::error!("the accepting thread panicked");
        }
    }
}

fn accept_all(
    listener: &TcpListener,
    stopped: &OwnedFd,
    connections_max: usize,
    fronts: &[Arc<FrontHandle>],
    metrics: &Metrics,
) {
    let mut next = 0_u64;
    loop {
        let mut waits = [PollFd::new(listener, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        if let Err(error) = poll(&mut waits, None)
            && error != rustix::io::Errno::INTR
        {
            tracing::error!(%error, "the accepting thread cannot wait");
            return;
        }
        if !waits[1].revents().is_empty() {
            return;
        }
        match listener.accept() {
            Ok((socket, _)) => {
                next += 1;
                take(socket, ConnectionId(next), connections_max, fronts, metrics);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                metrics.accept_errors.fetch_add(1, Relaxed);
                tracing::warn!(%error, "a connection cannot be accepted; is `ulimit -n` too low?");
                std::thread::sleep(BACK_OFF);
            }
        }
    }
}

fn take(
    mut socket: TcpStream,
    connection: ConnectionId,
    connections_max: usize,
    fronts: &[Arc<FrontHandle>],
    metrics: &Metrics,
) {
    if metrics.connections.load(Relaxed) >= connections_max as u64 {
        metrics.refused(Code::ConnectionsFull);
        // A fresh socket has room for one small frame; if not, the peer goes without a reason.
        let _ = socket.set_nonblocking(true);
        let _ = socket.write(&Code::ConnectionsFull.frame(u32::MAX, u32::MAX, 0));
        return;
    }
    let ready = socket.set_nodelay(true).and_then(|()| socket.set_nonblocking(false));
    if ready.is_err() {
        // Gone already.
        return;
    }
    metrics.connections.fetch_add(1, Relaxed);
    metrics.connections_accepted.fetch_add(1, Relaxed);
    let front = &fronts[(connection.0 % fronts.len() as u64) as usize];
    if front.send(FrontMessage::Accepted(connection, socket)).is_err() {
        metrics.connections.fetch_sub(1, Relaxed);
        metrics.connections_dropped.fetch_add(1, Relaxed);
        tracing::warn!("a connection was dropped: its executor has too much to do");
    }
}
