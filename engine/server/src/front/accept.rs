//! Takes connections in, on a thread that does nothing else, and deals them out to the executors.

use super::{FrontHandle, FrontMessage, Strangers};
use crate::group::ConnectionId;
use crate::metrics::Metrics;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::net::sockopt::{set_socket_send_buffer_size, socket_send_buffer_size};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;
use twincast_protocol::wire::Code;

/// How long to wait before the next try when no connection can be taken, for want of descriptors mostly.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How connections are taken.
#[derive(Clone, Copy, Debug)]
pub struct Taking {
    /// How many at a time.
    pub connections_max: usize,
    /// Bytes asked for as each one's send buffer; 0: the kernel's own choice.
    pub send_buffer_bytes: usize,
}

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
        taking: Taking,
        fronts: Vec<Arc<FrontHandle>>,
        strangers: Arc<Strangers>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Acceptor> {
        let listener = TcpListener::bind(address)?;
        // What the kernel makes of it is known before any client comes: a listening socket is asked like any other.
        if let Some(sentence) = set_send_buffer(&listener, taking.send_buffer_bytes)?.sentence() {
            tracing::warn!("{sentence}");
        }
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC)?;
        let stopped = stop.try_clone()?;
        let thread = std::thread::Builder::new()
            .name("accept".into())
            .spawn(move || accept_all(&listener, &stopped, taking, &Halls { fronts, strangers, metrics }))?;
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

/// A send buffer as it was asked for, and as the kernel gave it, in bytes.
struct SendBuffer {
    asked: usize,
    given: usize,
}

impl SendBuffer {
    /// What an operator has to know: that it is smaller than it was asked for.
    fn sentence(&self) -> Option<String> {
        let SendBuffer { asked, given } = self;
        (given < asked).then(|| {
            format!(
                "fan_out.send_buffer_bytes = {asked} and the kernel gives {given}: raise its limit with `sysctl -w \
                 net.core.wmem_max={asked}`"
            )
        })
    }
}

/// Asks for a send buffer of so many bytes, unless that is 0, and says what came of it. The kernel takes the least of
/// that and net.core.wmem_max, says nothing about it, and counts twice as much, the half for its own needs.
fn set_send_buffer(socket: impl AsFd, asked: usize) -> io::Result<SendBuffer> {
    if asked == 0 {
        return Ok(SendBuffer { asked, given: 0 });
    }
    set_socket_send_buffer_size(&socket, asked)?;
    Ok(SendBuffer { asked, given: socket_send_buffer_size(&socket)? / 2 })
}

fn accept_all(listener: &TcpListener, stopped: &OwnedFd, taking: Taking, halls: &Halls) {
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
            Ok((socket, address)) => {
                next += 1;
                halls.take(socket, address, ConnectionId(next), taking);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                halls.metrics.accept_errors.fetch_add(1, Relaxed);
                tracing::warn!(%error, "a connection cannot be accepted; is `ulimit -n` too low?");
                std::thread::sleep(BACK_OFF);
            }
        }
    }
}

/// Where connections go, and who counts them.
struct Halls {
    fronts: Vec<Arc<FrontHandle>>,
    strangers: Arc<Strangers>,
    metrics: Arc<Metrics>,
}

impl Halls {
    fn take(&self, socket: TcpStream, address: SocketAddr, connection: ConnectionId, taking: Taking) {
        let metrics = &self.metrics;
        if metrics.connections.load(Relaxed) >= taking.connections_max as u64 {
            return self.refuse(socket, Code::ConnectionsFull);
        }
        let stranger = match self.strangers.enter(address.ip()) {
            Ok(stranger) => stranger,
            Err(limit) => {
                metrics.strangers_refused.fetch_add(1, Relaxed);
                tracing::debug!(address = %address.ip(), limit, "a stranger was refused");
                return self.refuse(socket, Code::StrangersFull);
            }
        };
        // One that came in before the listening socket had its send buffer has not inherited it.
        let ready = socket
            .set_nodelay(true)
            .and_then(|()| set_send_buffer(&socket, taking.send_buffer_bytes))
            .and_then(|_| socket.set_nonblocking(false));
        if ready.is_err() {
            // Gone already.
            return;
        }
        metrics.connections.fetch_add(1, Relaxed);
        metrics.connections_accepted.fetch_add(1, Relaxed);
        let front = &self.fronts[(connection.0 % self.fronts.len() as u64) as usize];
        if front.send(FrontMessage::Accepted(connection, socket, stranger)).is_err() {
            metrics.connections.fetch_sub(1, Relaxed);
            metrics.connections_dropped.fetch_add(1, Relaxed);
            tracing::warn!("a connection was dropped: its executor has too much to do");
        }
    }

    /// Says why, in plain: there is no channel yet.
    fn refuse(&self, mut socket: TcpStream, code: Code) {
        self.metrics.refused(code);
        // A fresh socket has room for one small frame; if not, the peer goes without a reason.
        let _ = socket.set_nonblocking(true);
        let _ = socket.write(&code.frame(u32::MAX, u32::MAX, 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::SEND_BUFFER_BYTES_MAX;

    #[test]
    fn a_send_buffer_is_what_was_asked_for_or_the_operator_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = socket_send_buffer_size(&listener).unwrap();
        assert_eq!(set_send_buffer(&listener, 0).unwrap().sentence(), None);
        assert_eq!(socket_send_buffer_size(&listener).unwrap(), own, "the kernel's own choice");
        let given = set_send_buffer(&listener, 16 << 10).unwrap();
        assert_eq!((given.given, given.sentence()), (16 << 10, None));
        let most: usize =
            std::fs::read_to_string("/proc/sys/net/core/wmem_max").unwrap().trim().parse().unwrap();
        let asked = SEND_BUFFER_BYTES_MAX.max(most + 1);
        let less = set_send_buffer(&listener, asked).unwrap();
        let sentence = less.sentence().expect("the kernel clips it");
        assert!(sentence.contains(&format!("sysctl -w net.core.wmem_max={asked}`")), "{sentence}");
    }

    #[test]
    fn a_client_that_is_taken_has_the_send_buffer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, address) = listener.accept().unwrap();
        let (front, _ear) = FrontHandle::new().unwrap();
        let front = Arc::new(front);
        let taking = Taking { connections_max: 1, send_buffer_bytes: 24 << 10 };
        let strangers = Strangers::new(&crate::config::Limits::default());
        let halls = Halls { fronts: vec![front.clone()], strangers, metrics: Arc::default() };
        halls.take(socket, address, ConnectionId(1), taking);
        let Some(FrontMessage::Accepted(_, socket, _)) = front.pop() else { panic!("it was handed over") };
        assert_eq!(socket_send_buffer_size(&socket).unwrap(), 2 * (24 << 10));
    }
}
