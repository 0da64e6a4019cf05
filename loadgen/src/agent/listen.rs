//! The agent's two doors: a socket that it listens on, and its standard streams.

use super::handshake::{Admitted, Connection, Door, Next};
use super::{AgentRole, Lines, Token, child, keep_watch};
use crate::coordinator::role::Role;
use crate::coordinator::signals::ends;
use crate::limits::{AGENT_GRACE, AGENT_HANDSHAKES_MAX, AGENT_SESSIONS_MAX, CUT_TIMEOUT, STOP_TIMEOUT};
use signal_hook::iterator::Signals;
use std::collections::HashMap;
use std::fmt;
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
/// Time between two looks whether another run's children have gone.
const ROOM_PAUSE: Duration = Duration::from_millis(20);

/// Why an agent does not wait any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The user asked for something that cannot be; the sentence has the remedy.
    #[error("{0}")]
    Usage(String),
    /// Ctrl-C, SIGTERM, or the terminal's end; all children are gone.
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
    /// Which run it is of, and whether that shares, once it has proved itself.
    of: Option<(u64, bool)>,
}

/// Why one that has proved itself is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Full {
    /// There are as many as there may be.
    Children,
    /// Another run is there that would be disturbed.
    OtherRun,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Full::Children => "this agent has as many children as it takes",
            Full::OtherRun => {
                "it serves another run, which this one would disturb; wait for its end, or say shared = true in both plans"
            }
        })
    }
}

/// Waits for coordinators at an address, until a signal comes. The address that it has, which has a port even if 0 was
/// asked for, is the one line that it writes on standard output.
///
/// # Errors
/// Always one: what it could not do, or the signal.
pub fn listen(address: SocketAddr, token_file: &Path, role: AgentRole) -> Result<(), AgentError> {
    let failed = |error: io::Error| AgentError::Failed(format!("the agent cannot go on: {error}"));
    let token = Token::read(token_file).map_err(AgentError::Usage)?;
    let mut signals = Signals::new(ends()).map_err(failed)?;
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
    let admitted = connection.admit(&door).and_then(|admitted| {
        connection.welcome(&admitted)?;
        Ok((connection.answer()?, admitted.role))
    });
    let (next, role) = admitted.map_err(|what| AgentError::Failed(format!("the coordinator {what}")))?;
    tracing::info!("{}", serve(connection, next, role));
    Ok(())
}

/// What is wanted next; how it ended, for the log.
fn serve(connection: Connection, next: Next, role: Role) -> String {
    match next {
        Next::Child => child::lead(connection, role),
        Next::Nothing => "this machine was checked for it".into(),
    }
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
        let admitted = connection.admit(&self.door)?;
        let role = admitted.role;
        self.admitted(number, &admitted).map_err(|full| connection.refuse(full.to_string()))?;
        connection.welcome(&admitted)?;
        tracing::info!("{peer} has proved itself, for a child in {}", role.subcommand());
        let next = connection.answer()?;
        Ok(serve(connection, next, role))
    }

    /// Keeps a connection in mind as long as what it gives back lives.
    fn enter(&self, number: u64, stream: TcpStream) -> Option<Entry<'_>> {
        let mut open = self.lock();
        let strangers = open.values().filter(|open| open.of.is_none()).count();
        if strangers >= AGENT_HANDSHAKES_MAX || self.stopping.load(Ordering::Relaxed) {
            return None;
        }
        open.insert(number, Open { stream, of: None });
        Some(Entry { agent: self, number })
    }

    /// Gives one that has proved itself its place. What is there of another run may be at its end: it is waited for.
    fn admitted(&self, number: u64, who: &Admitted) -> Result<(), Full> {
        let deadline = Instant::now() + AGENT_GRACE * 2;
        loop {
            match self.try_admit(number, who) {
                Err(Full::OtherRun) if Instant::now() < deadline => thread::sleep(ROOM_PAUSE),
                end => return end,
            }
        }
    }

    fn try_admit(&self, number: u64, who: &Admitted) -> Result<(), Full> {
        let mut open = self.lock();
        let within: Vec<(u64, bool)> = open.values().filter_map(|open| open.of).collect();
        if within.len() >= AGENT_SESSIONS_MAX {
            return Err(Full::Children);
        }
        // Two that measure on one machine at once measure each other, so both must have agreed.
        if within.iter().any(|(run, shared)| *run != who.run && !(*shared && who.shared)) {
            return Err(Full::OtherRun);
        }
        if let Some(entry) = open.get_mut(&number) {
            entry.of = Some((who.run, who.shared));
        }
        Ok(())
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
