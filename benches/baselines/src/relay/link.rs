//! A client host's connection to one server.

use super::inbox::{Inbox, read};
use super::{MAGIC, USER_BYTES};
use crate::{BaselineError, Setup};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

/// Rounds that may have ended before the host looks.
const ROUNDS_WAITING: usize = 2;

/// A client host's connection to one server; dropped, it is closed.
#[derive(Debug)]
pub(crate) struct Link {
    stream: TcpStream,
    reader: Option<Reader>,
}

#[derive(Debug)]
struct Reader {
    rounds: Receiver<Result<Instant, BaselineError>>,
    bytes_in: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Link {
    /// Connects and introduces the host's users; `introduce` appends what a user introduces itself with.
    pub(crate) fn open(
        server: SocketAddr,
        setup: &Setup,
        host: u32,
        mut introduce: impl FnMut(u32, &mut Vec<u8>),
    ) -> Result<Link, BaselineError> {
        let mut stream = TcpStream::connect(server).map_err(BaselineError::io("cannot reach a server"))?;
        stream.set_nodelay(true).map_err(BaselineError::io("cannot set up a connection"))?;
        let mut bytes = [MAGIC.to_le_bytes(), host.to_le_bytes()].concat();
        for user in setup.users_of(host) {
            bytes.extend_from_slice(&user.to_le_bytes()[..USER_BYTES]);
            introduce(user, &mut bytes);
        }
        stream.write_all(&bytes).map_err(BaselineError::io("cannot introduce users to a server"))?;
        Ok(Link { stream, reader: None })
    }

    /// Waits for the welcome, and reads rounds into `inbox` from then on. Fills `welcome`.
    pub(crate) fn welcome(&mut self, welcome: &mut [u8]) -> Result<(), BaselineError> {
        self.stream.read_exact(welcome).map_err(BaselineError::io("no welcome came from a server"))
    }

    /// Starts the thread that reads rounds.
    pub(crate) fn read_rounds(&mut self, inbox: impl Inbox) -> Result<(), BaselineError> {
        let failed = || BaselineError::io("cannot read from a server");
        let stream = self.stream.try_clone().map_err(failed())?;
        let (sender, rounds) = sync_channel(ROUNDS_WAITING);
        let bytes_in = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&bytes_in);
        let thread = std::thread::Builder::new().name("baseline reader".into());
        let thread = thread.spawn(move || read(stream, inbox, &counter, &sender)).map_err(failed())?;
        self.reader = Some(Reader { rounds, bytes_in, thread });
        Ok(())
    }

    /// Sends a round's uploads.
    pub(crate) fn submit(&mut self, uploads: &[u8]) -> Result<(), BaselineError> {
        self.stream.write_all(uploads).map_err(BaselineError::io("cannot submit to a server"))
    }

    /// Waits until a round has wholly come in.
    pub(crate) fn round_ended(&self) -> Result<Instant, BaselineError> {
        let reader = self.reader.as_ref().expect("rounds are read before they are waited for");
        reader.rounds.recv().unwrap_or_else(|_| Err(BaselineError::Protocol("the reader has ended".into())))
    }

    /// Bytes that came in rounds so far.
    pub(crate) fn bytes_in(&self) -> u64 {
        self.reader.as_ref().map_or(0, |reader| reader.bytes_in.load(Ordering::Relaxed))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // It fails where the server has closed already.
        let _ = self.stream.shutdown(Shutdown::Both);
        if let Some(Reader { rounds, thread, .. }) = self.reader.take() {
            drop(rounds);
            let _ = thread.join();
        }
    }
}
