//! The agent's two doors: a socket that it listens on, and its standard streams.

use super::handshake::{Connection, Door};
use super::{AgentRole, Lines, Token, child, keep_watch};
use crate::limits::{AGENT_HANDSHAKES_MAX, AGENT_SESSIONS_MAX, CUT_TIMEOUT, STOP_TIMEOUT};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a listener rests that cannot take a connection: most likely all descriptors are in use.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why an agent does not wait any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The user asked for something that cannot be; the sentence has the remedy.
    #[error("{0}")]
    Usage(String),
    /// SIGINT or SIGTERM; all children are gone.
    #[error("interrupted")]
    Interrupted,
    /// It let nobody in, or the kernel refused what it needs.
    #[error("{0}")]
    Failed(String),
}

/// What all connections share.
struct Agent {
    door: Door,
    open: Mutex<HashMap<u64, Open>>,
    numbers: AtomicU64,
    stopping: AtomicBool,
}

/// A connection that is there.
struct Open {
    stream: TcpStream,
    admitted: bool,
}

/// Waits for coordinators at an address, until a signal comes. The address that it has, which has a port even if 0 was
/// asked for, is the one line that it writes on standard output.
///
/// # Errors
/// Always one: what it could not do, or the signal.
pub fn listen(address: SocketAddr, token_file: &Path, role: AgentRole) -> Result<(), AgentError> {
    let failed = |error: io::Error| AgentError::Failed(format!("the agent cannot go on: {error}"));
    let token = Token::read(token_file).map_err(AgentError::Usage)?;
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
    let listener = TcpListener::bind(address).map_err(|error| {
        AgentError::Usage(format!(
            "--listen {address}: {error}; give an address of this machine and a port that is free, or port 0"
        ))
    })?;
    let agent = Arc::new(Agent {
        door: Door { role, token: Some(token) },
        open: Mutex::default(),
        numbers: AtomicU64::new(0),
        stopping: AtomicBool::new(false),
    });
    let listening = listener.local_addr().map_err(failed)?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{listening}").and_then(|()| stdout.flush()).map_err(failed)?;
    drop(stdout);
    tracing::info!("waiting at {listening} for coordinators that want a {role}");
    let taking = Arc::clone(&agent);
    let taken = thread::Builder::new().name("accept".into()).spawn(move || taking.take_all(&listener));
    taken.map_err(failed)?;
    signals.forever().next();
    agent.stop();
    Err(AgentError::Interrupted)
}

/// Serves one coordinator over the standard streams: whoever started this process has asked for its name already.
///
/// # Errors
/// The coordinator was not let in, or the streams broke.
pub fn stdio(role: AgentRole) -> Result<(), AgentError> {
    let failed = |error: io::Error| AgentError::Failed(format!("the agent cannot go on: {error}"));
    let file = |fd: io::Result<OwnedFd>| fd.map(File::from).map_err(failed);
    let mut connection = Connection {
        lines: Lines::new(file(io::stdin().as_fd().try_clone_to_owned())?),
        output: file(io::stdout().as_fd().try_clone_to_owned())?,
        peer: "the coordinator".into(),
    };
    let door = Door { role, token: None };
    let role = connection.admit(&door).and_then(|role| connection.tell_time().map(|()| role));
    let role = role.map_err(|what| AgentError::Failed(format!("the coordinator {what}")))?;
    tracing::info!("{}", child::lead(connection, role));
    Ok(())
}

impl Agent {
    fn take_all(self: &Arc<Agent>, listener: &TcpListener) {
        loop {
            match listener.accept() {
                Ok((stream, peer)) => self.take(stream, peer),
                Err(error) => {
                    tracing::warn!("no connection can be taken: {error}");
                    thread::sleep(ACCEPT_PAUSE);
                }
            }
        }
    }

    /// Serves a connection on a thread of its own, which lives as long as its child.
    fn take(self: &Arc<Agent>, stream: TcpStream, peer: SocketAddr) {
        let agent = Arc::clone(self);
        let serve = move || match agent.serve(stream, peer) {
            Ok(told) => tracing::info!("{peer}: {told}"),
            Err(what) => tracing::warn!("{peer} {what}"),
        };
        if let Err(error) = thread::Builder::new().name(format!("for {peer}")).spawn(serve) {
            tracing::warn!("{peer} was turned away: {error}");
        }
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr) -> Result<String, String> {
        let broken = |error: io::Error| format!("lost the connection: {error}");
        keep_watch(&stream).map_err(broken)?;
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let output = File::from(OwnedFd::from(stream.try_clone().map_err(broken)?));
        let input = File::from(OwnedFd::from(stream.try_clone().map_err(broken)?));
        let mut connection = Connection { lines: Lines::new(input), output, peer: peer.to_string() };
        let Some(_entry) = self.enter(number, stream) else {
            return Err(connection.refuse("too many others are at this agent's door".into()));
        };
        let role = connection.admit(&self.door)?;
        if !self.admitted(number) {
            return Err(connection.refuse("this agent has as many children as it takes".into()));
        }
        tracing::info!("{peer} has proved itself and wants a child in {}", role.subcommand());
        connection.tell_time()?;
        Ok(child::lead(connection, role))
    }

    /// Keeps a connection in mind as long as what it gives back lives.
    fn enter(&self, number: u64, stream: TcpStream) -> Option<Entry<'_>> {
        let mut open = self.lock();
        let strangers = open.values().filter(|open| !open.admitted).count();
        if strangers >= AGENT_HANDSHAKES_MAX || self.stopping.load(Ordering::Relaxed) {
            return None;
        }
        open.insert(number, Open { stream, admitted: false });
        Some(Entry { agent: self, number })
    }

    fn admitted(&self, number: u64) -> bool {
        let mut open = self.lock();
        let within = open.values().filter(|open| open.admitted).count();
        let entry = open.get_mut(&number).filter(|_| within < AGENT_SESSIONS_MAX);
        entry.map(|entry| entry.admitted = true).is_some()
    }

    /// Ends every connection, and with it its child.
    fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        tracing::info!("told to stop");
        let deadline = Instant::now() + STOP_TIMEOUT.min(CUT_TIMEOUT * 2);
        loop {
            let open = self.lock();
            if open.is_empty() || Instant::now() >= deadline {
                return;
            }
            // The other half stays open for the child's last words.
            open.values().for_each(|open| drop(open.stream.shutdown(Shutdown::Read)));
            drop(open);
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place among those that are there.
struct Entry<'a> {
    agent: &'a Agent,
    number: u64,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.agent.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests;
