//! The two connections: blocking sockets, each with a thread that reads it.
//!
//! A thread hands on what it has read and waits until that is taken, so that a server that is ahead of the other one
//! waits, too.

use crate::file::ClientFile;
use crate::out::tell;
use anyhow::Context;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;
use twincast_protocol::ids::ServerSide;

/// Bytes of a socket that are read at a time.
const READ_BYTES: usize = 64 << 10;
/// How long a server may take for a connection before that is said.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long it may then take.
const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// What the threads that read have to say.
pub(crate) enum News {
    /// Bytes of a server; none if it has closed the connection.
    Bytes(ServerSide, Vec<u8>),
    /// A line of standard input; none at its end.
    Line(Option<String>),
}

/// Both connections.
pub(crate) struct Sockets {
    ends: [End; 2],
}

struct End {
    socket: TcpStream,
    /// What came and was not taken.
    bytes: Vec<u8>,
    /// Tells the thread that reads that there is room for more.
    taken: Sender<()>,
    /// It takes no bytes any more. Why, it may have said before.
    deaf: bool,
}

impl Sockets {
    /// Connects to both servers.
    pub(crate) fn connect(file: &ClientFile, tell: &Sender<News>) -> anyhow::Result<Sockets> {
        // Nothing is said to one server before the other one is reached, too.
        let one = connect(ServerSide::One, &file.s1.address)?;
        let two = connect(ServerSide::Two, &file.s2.address)?;
        let ends = [(ServerSide::One, one), (ServerSide::Two, two)].map(|(server, socket)| {
            let (taken, all_taken) = mpsc::channel();
            let (reads, tell) = (socket.try_clone()?, tell.clone());
            thread::spawn(move || read(server, reads, &tell, &all_taken));
            Ok::<_, std::io::Error>(End { socket, bytes: Vec::new(), taken, deaf: false })
        });
        let [one, two] = ends;
        Ok(Sockets { ends: [one?, two?] })
    }

    /// Keeps what came of a server.
    pub(crate) fn came(&mut self, server: ServerSide, bytes: Vec<u8>) {
        self.ends[server.index()].bytes = bytes;
    }

    /// Puts what came of a server into `space`, as far as that goes: how many bytes.
    pub(crate) fn give(&mut self, server: ServerSide, space: &mut [u8]) -> usize {
        let End { bytes, taken, .. } = &mut self.ends[server.index()];
        let some = bytes.len().min(space.len());
        space[..some].copy_from_slice(&bytes[..some]);
        bytes.drain(..some);
        if some > 0 && bytes.is_empty() {
            // The thread is gone after the last bytes.
            let _ = taken.send(());
        }
        some
    }

    /// Sends some bytes: how many. A server that has closed the connection takes everything: what it said before is still
    /// to be read.
    pub(crate) fn send(&mut self, server: ServerSide, bytes: &[u8]) -> usize {
        let End { socket, deaf, .. } = &mut self.ends[server.index()];
        if *deaf {
            return bytes.len();
        }
        match socket.write(bytes) {
            Ok(some) if some > 0 => some,
            _ => {
                *deaf = true;
                bytes.len()
            }
        }
    }
}

fn connect(server: ServerSide, address: &str) -> anyhow::Result<TcpStream> {
    let unreachable =
        || format!("{server} cannot be reached at {address}: is it running there, and the address right?");
    let mut failed = None;
    for address in address.to_socket_addrs().with_context(unreachable)? {
        let connected = TcpStream::connect_timeout(&address, CONNECT_PATIENCE).or_else(|error| {
            if error.kind() != ErrorKind::TimedOut {
                return Err(error);
            }
            tell!("{server} does not answer at {address}: trying for {} s more", CONNECT_WAIT.as_secs());
            TcpStream::connect_timeout(&address, CONNECT_WAIT)
        });
        match connected {
            Ok(socket) => {
                socket.set_nodelay(true).with_context(unreachable)?;
                return Ok(socket);
            }
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) => Err(error).with_context(unreachable),
        None => anyhow::bail!("{}", unreachable()),
    }
}

fn read(server: ServerSide, mut socket: TcpStream, tell: &Sender<News>, taken: &Receiver<()>) {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let bytes = socket.read(&mut buffer).unwrap_or(0);
        let told = tell.send(News::Bytes(server, buffer[..bytes].to_vec()));
        // Nothing comes after the end, and nobody listens after the program's end.
        if told.is_err() || bytes == 0 || taken.recv().is_err() {
            return;
        }
    }
}
