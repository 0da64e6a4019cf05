//! A TCP proxy between hosts and servers that does one [`Fault`] and passes on everything else as it is.
//!
//! Each connection has two threads, one a direction. They read whole frames by their headers, so that what is done
//! is done to one frame; cells and shares they do not understand, and need not.

use super::{Fault, FaultKind, GROUP, SENDER, USER};
use crate::plan::Plan;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use twincast_protocol::ids::ServerSide;
use twincast_protocol::wire::{Body as _, Deliver, HEADER_BYTES, Header, Hello, Kind, RoundEnd, Submit};

/// What a thread of the proxy reads and writes at a time.
const BUFFER_BYTES: usize = 64 << 10;

/// A running proxy. Its threads end with their connections, and with the process.
pub struct Proxy {
    /// Where hosts connect instead of to S1 and S2.
    pub addresses: [SocketAddr; 2],
    shared: Arc<Shared>,
}

struct Shared {
    fault: Fault,
    hosts: u32,
    /// How often the fault was done, by connection.
    done: AtomicU64,
    /// Told once, when a host is to die.
    kill: Box<dyn Fn() + Send + Sync>,
    killing: AtomicBool,
}

impl Proxy {
    /// Listens for the hosts of both servers. `kill` is called when the host that is to die has begun to submit.
    ///
    /// # Errors
    /// No port, or no thread.
    pub fn start(
        plan: &Plan,
        fault: Fault,
        servers: [SocketAddr; 2],
        kill: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Proxy> {
        let shared = Arc::new(Shared {
            fault,
            hosts: plan.hosts,
            done: AtomicU64::new(0),
            kill: Box::new(kill),
            killing: AtomicBool::new(false),
        });
        let mut addresses = servers;
        for server in ServerSide::BOTH {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let upstream = std::mem::replace(&mut addresses[server.index()], listener.local_addr()?);
            let shared = Arc::clone(&shared);
            let accept = move || {
                // A connection that cannot be passed on is closed, which its host tells.
                for client in listener.incoming().map_while(Result::ok) {
                    let _ = pass(&shared, server, client, upstream);
                }
            };
            std::thread::Builder::new().name(format!("proxy of {server}")).spawn(accept)?;
        }
        Ok(Proxy { addresses, shared })
    }

    /// How many connections, frames or cells it has done the fault to.
    pub fn done(&self) -> u64 {
        self.shared.done.load(Ordering::SeqCst)
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Whom a connection is for, as its HELLO said; in place before anything comes the other way.
#[derive(Clone, Debug)]
struct Attached {
    group: u32,
    users: Vec<u32>,
}

impl Attached {
    /// Whether it is the connection that faults of one connection are done to.
    fn is_its(&self) -> bool {
        self.group == GROUP && self.users.contains(&USER)
    }
}

fn pass(shared: &Arc<Shared>, server: ServerSide, client: TcpStream, upstream: SocketAddr) -> io::Result<()> {
    let upstream = TcpStream::connect(upstream)?;
    client.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    let attached = Arc::new(OnceLock::new());
    let (from, to) = (client.try_clone()?, upstream.try_clone()?);
    let (up, hello) = (Arc::clone(shared), Arc::clone(&attached));
    spawn("proxy up", move || {
        let passed = frames(&from, &to, |frame| up.upward(server, frame, &hello));
        end(passed, &from, &to);
    })?;
    let down = Arc::clone(shared);
    spawn("proxy down", move || {
        let mut before = None;
        let passed = frames(&upstream, &client, |frame| down.downward(server, frame, &attached, &mut before));
        end(passed, &upstream, &client);
    })
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.into()).spawn(run).map(drop)
}

/// One direction is over. What broke ends both; a stream that just ended lets the other direction finish.
fn end(passed: io::Result<()>, from: &TcpStream, to: &TcpStream) {
    let how = if passed.is_ok() { Shutdown::Write } else { Shutdown::Both };
    let _ = to.shutdown(how);
    if passed.is_err() {
        let _ = from.shutdown(Shutdown::Both);
    }
}

/// A frame on its way: header and body.
#[derive(Debug)]
struct Frame {
    kind: Kind,
    bytes: Vec<u8>,
}

impl Frame {
    fn body(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES..]
    }
}

/// Passes on frames until the stream ends. `alter` sees each, may change it, and says whether it goes on its way.
fn frames(from: &TcpStream, to: &TcpStream, mut alter: impl FnMut(&mut Frame) -> bool) -> io::Result<()> {
    let mut from = BufReader::with_capacity(BUFFER_BYTES, from);
    let mut to = BufWriter::with_capacity(BUFFER_BYTES, to);
    let mut frame = Frame { kind: Kind::Hello, bytes: Vec::new() };
    loop {
        let mut header = [0; HEADER_BYTES];
        match from.read(&mut header[..1])? {
            0 => return to.flush(),
            _ => from.read_exact(&mut header[1..])?,
        }
        let parsed = Header::parse(&header);
        let parsed = parsed.map_err(|code| io::Error::new(io::ErrorKind::InvalidData, code.sentence()))?;
        frame.kind = parsed.kind;
        frame.bytes.clear();
        frame.bytes.extend_from_slice(&header);
        frame.bytes.resize(HEADER_BYTES + parsed.body_bytes as usize, 0);
        from.read_exact(&mut frame.bytes[HEADER_BYTES..])?;
        if alter(&mut frame) {
            to.write_all(&frame.bytes)?;
        }
        if from.buffer().is_empty() {
            to.flush()?;
        }
    }
}

impl Shared {
    fn did(&self) {
        self.done.fetch_add(1, Ordering::SeqCst);
    }

    /// What a host sends.
    fn upward(&self, server: ServerSide, frame: &mut Frame, attached: &OnceLock<Attached>) -> bool {
        match frame.kind {
            Kind::Hello => {
                if let Ok((hello, _, users, _)) = Hello::read(frame.body()) {
                    let users = users.iter().map(|user| user.0).collect();
                    let _ = attached.set(Attached { group: hello.group.get(), users });
                }
                true
            }
            Kind::Submit => {
                let Ok((submit, _)) = Submit::parse_prefix(frame.body()) else { return true };
                let Some(attached) = attached.get() else { return true };
                self.submission(server, submit, attached)
            }
            _ => true,
        }
    }

    fn submission(&self, server: ServerSide, submit: Submit, attached: &Attached) -> bool {
        let round = submit.round.get();
        match self.fault.kind {
            FaultKind::HalfSubmit => {
                let here = server == ServerSide::Two
                    && attached.group == GROUP
                    && round == self.fault.round
                    && submit.sender.get() == USER;
                if here {
                    self.did();
                }
                !here
            }
            FaultKind::KillHost => {
                let victim = attached.users.first().is_some_and(|user| user % self.hosts == self.hosts - 1);
                let here = victim && round >= self.fault.round;
                if here && !self.killing.swap(true, Ordering::SeqCst) {
                    self.did();
                    (self.kill)();
                }
                !here
            }
            _ => true,
        }
    }

    /// What a server sends. `before` keeps the first tile of the round before the fault's.
    fn downward(
        &self,
        server: ServerSide,
        frame: &mut Frame,
        attached: &OnceLock<Attached>,
        before: &mut Option<Vec<u8>>,
    ) -> bool {
        let Some(attached) = attached.get() else { return true };
        if frame.kind == Kind::RoundEnd && self.fault.kind == FaultKind::Drop {
            self.uncount(server, frame, attached);
        }
        if frame.kind != Kind::Deliver {
            return true;
        }
        let Ok((deliver, _)) = Deliver::parse_prefix(frame.body()) else { return true };
        if deliver.purpose.get() != 0 {
            return true;
        }
        let (round, first) = (deliver.round.get(), (deliver.slot.get(), deliver.tile.get()) == (0, 0));
        if self.fault.kind == FaultKind::Delay {
            if server == ServerSide::Two && round == self.fault.round && first {
                self.did();
                std::thread::sleep(Duration::from_millis(self.fault.hold_ms.into()));
            }
            return true;
        }
        if server != ServerSide::One || !first || !attached.is_its() {
            return true;
        }
        if self.fault.kind.repeats() && round + 1 == self.fault.round {
            *before = Some(frame.bytes.clone());
        }
        round != self.fault.round || self.tile(frame, &deliver, attached, before)
    }

    /// The end of a round does not count the tile that was withheld.
    fn uncount(&self, server: ServerSide, frame: &mut Frame, attached: &Attached) {
        let Ok(mut end) = RoundEnd::parse(frame.body()) else { return };
        if server == ServerSide::One && end.round.get() == self.fault.round && attached.is_its() {
            end.tiles = (end.tiles.get() - 1).into();
            frame.bytes.clear();
            end.put(0, &mut frame.bytes);
        }
    }

    /// The tile that the fault is done to. Whether it goes on its way.
    fn tile(
        &self,
        frame: &mut Frame,
        deliver: &Deliver,
        attached: &Attached,
        before: &Option<Vec<u8>>,
    ) -> bool {
        let cells_at = HEADER_BYTES + size_of::<Deliver>();
        match (self.fault.kind, before) {
            (FaultKind::Flip, _) => {
                let position = attached.users.iter().position(|user| *user == USER).unwrap_or(0);
                let cell_bytes = deliver.cell_bytes.get() as usize;
                let cell = position * deliver.senders.get() as usize + SENDER as usize;
                // In the first string of a cell that is a pair, and in no byte whose highest bit has no meaning.
                let at = cells_at + cell * cell_bytes + cell_bytes / 4;
                if let Some(byte) = frame.bytes.get_mut(at) {
                    *byte ^= 1;
                    self.did();
                }
                true
            }
            (FaultKind::Drop | FaultKind::DropFrame, _) => {
                self.did();
                false
            }
            (FaultKind::Replay, Some(before)) if before.len() == frame.bytes.len() => {
                frame.bytes[cells_at..].copy_from_slice(&before[cells_at..]);
                self.did();
                true
            }
            (FaultKind::ReplayFrame, Some(before)) => {
                frame.bytes.clone_from(before);
                self.did();
                true
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests;
