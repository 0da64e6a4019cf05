//! Agents that the system's ssh starts, with the user's own configuration and keys.
//!
//! What runs on the other machine is `PROGRAM agent --stdio --role ROLE`, whose standard streams are the connection. The
//! library that calls ssh is asynchronous; it runs on a thread of its own, and only pipes come out of it.

use super::far::{Ends, Far, check_over_ssh, over_ssh};
use super::folder::Folder;
use super::place::SshSite;
use super::role::Role;
use crate::agent::{Lines, plain};
use crate::check::CheckOrder;
use crate::limits::{CONNECT_TIMEOUT, CUT_TIMEOUT, LOG_LINES_KEPT};
use openssh::{Child, ControlPersist, KnownHosts, Session, SessionBuilder, Stdio};
use std::collections::VecDeque;
use std::error::Error;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::oneshot;
use twincast_node::Report;

/// How often ssh looks whether the other machine is there; it gives up after three looks.
const ALIVE: Duration = Duration::from_secs(2);
/// What a shell says whose command is not there.
const NOT_FOUND: i32 = 127;
/// What a shell says whose command is no program, or not for this user.
const NOT_RUN: i32 = 126;
/// A connection that nobody uses is closed by ssh itself after so many seconds, should this process be killed.
const IDLE_SECONDS: NonZeroUsize = NonZeroUsize::new(5).expect("five");

/// An ssh at work: ended by [`SshProcess::close`], or when dropped.
#[derive(Debug)]
pub(super) struct SshProcess {
    shared: Arc<Shared>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    program: String,
}

/// What the thread tells besides the streams.
#[derive(Debug, Default)]
struct Shared {
    /// The last lines of ssh and of the agent's log.
    log: Mutex<VecDeque<String>>,
    /// The exit status of the program there.
    status: Mutex<Option<i32>>,
}

/// The pipes to the program there.
type Pipes = (OwnedFd, OwnedFd);

/// Starts an agent over ssh, and has it start a child.
///
/// # Errors
/// The rest of a sentence about the peer, with what ssh said.
pub(super) fn start(site: &SshSite, role: Role, run: u64) -> Result<Far, String> {
    let (process, ends) = open(site, role)?;
    over_ssh(process, ends, role, run)
}

/// Starts an agent over ssh, and has it look at its machine.
///
/// # Errors
/// As of [`start`].
pub(super) fn check(site: &SshSite, role: Role, run: u64, order: &CheckOrder) -> Result<Report, String> {
    let (mut process, mut ends) = open(site, role)?;
    let found = check_over_ssh(&mut ends, role, run, order);
    // The agent ends with its input.
    drop(ends);
    found.map_err(|what| process.explain(what))
}

/// An agent that ssh has started, and its pipes.
fn open(site: &SshSite, role: Role) -> Result<(SshProcess, Ends), String> {
    let (tell, told) = mpsc::channel();
    let (end, ended) = oneshot::channel();
    let shared = Arc::new(Shared::default());
    let (of_thread, site_of_thread) = (Arc::clone(&shared), site.clone());
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(lead(&site_of_thread, role, &of_thread, &tell, ended)),
            Err(error) => drop(tell.send(Err(format!("could not be started: {error}")))),
        }
    };
    let thread = std::thread::Builder::new().name(format!("ssh {}", site.machine)).spawn(work);
    let thread = thread.map_err(|error| format!("could not be started: {error}"))?;
    let program = site.program.clone();
    let process = SshProcess { shared, end: Some(end), thread: Some(thread), program };
    let pipes = told.recv().unwrap_or_else(|_| Err("ended before it began".into()));
    let (input, output) = pipes?;
    Ok((process, Ends { lines: Lines::new(File::from(output)), output: File::from(input) }))
}

/// The thread's work: connects, starts the program, gives its pipes out, and waits for its end or for being told.
async fn lead(
    site: &SshSite,
    role: Role,
    shared: &Shared,
    tell: &mpsc::Sender<Result<Pipes, String>>,
    ended: oneshot::Receiver<()>,
) {
    let folder = Folder::new();
    let opened = match &folder {
        Ok(folder) => connect(site, folder.path()).await,
        Err(error) => Err(format!("could not be reached: no folder for ssh's socket: {error}")),
    };
    let session = match opened {
        Ok(session) => session,
        Err(sentence) => return drop(tell.send(Err(sentence))),
    };
    let mut command = session.command(site.program.as_str());
    command.args(["agent", "--stdio", "--role", &role.agent().to_string()]);
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().await;
    match spawned.map_err(|error| said(&error)).and_then(|mut child| Ok((pipes(&mut child)?, child))) {
        Ok(((pipes, stderr), child)) => {
            let _ = tell.send(Ok(pipes));
            tokio::select! {
                () = watch(child, stderr, shared) => {}
                _ = ended => {}
            }
        }
        Err(sentence) => drop(tell.send(Err(format!("could not be started: {sentence}")))),
    }
    let _ = tokio::time::timeout(CUT_TIMEOUT, session.close()).await;
}

/// A connection of the system's ssh. It asks nobody anything, and knows the machine already.
async fn connect(site: &SshSite, sockets: &Path) -> Result<Session, String> {
    let mut builder = SessionBuilder::default();
    builder
        .known_hosts_check(KnownHosts::Strict)
        .connect_timeout(CONNECT_TIMEOUT)
        .server_alive_interval(ALIVE)
        .control_directory(sockets)
        .control_persist(ControlPersist::IdleFor(IDLE_SECONDS));
    if let Some(config) = &site.config {
        builder.config_file(config);
    }
    builder.connect(&site.machine).await.map_err(|error| {
        format!(
            "could not be reached over ssh: {}; `ssh -o BatchMode=yes {} true` must do without a question",
            said(&error),
            site.machine
        )
    })
}

/// The program's streams: orders in, news out, and its log.
fn pipes(child: &mut Child<&Session>) -> Result<(Pipes, OwnedFd), String> {
    let broken = |error: io::Error| error.to_string();
    let none = || "a stream is missing".to_owned();
    let input = child.stdin().take().ok_or_else(none)?.into_owned_fd().map_err(broken)?;
    let output = child.stdout().take().ok_or_else(none)?.into_owned_fd().map_err(broken)?;
    let stderr = child.stderr().take().ok_or_else(none)?.into_owned_fd().map_err(broken)?;
    Ok(((input, output), stderr))
}

/// Keeps what the program and ssh log until both have ended, and how.
async fn watch(child: Child<&Session>, stderr: OwnedFd, shared: &Shared) {
    if let Ok(stderr) = tokio::net::unix::pipe::Receiver::from_owned_fd(stderr) {
        let mut lines = BufReader::new(stderr).split(b'\n');
        while let Ok(Some(line)) = lines.next_segment().await {
            let mut log = shared.log();
            if log.len() == LOG_LINES_KEPT {
                log.pop_front();
            }
            log.push_back(plain(String::from_utf8_lossy(&line).trim_end()));
        }
    }
    let status = match child.wait().await {
        Ok(status) => status.code(),
        Err(openssh::Error::Remote(error)) if error.kind() == io::ErrorKind::NotFound => Some(NOT_FOUND),
        Err(_) => None,
    };
    *shared.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
}

/// The innermost of what ssh says, in its last line.
fn said(error: &openssh::Error) -> String {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = innermost.to_string();
    plain(text.trim().lines().next_back().unwrap_or("nothing").trim())
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SshProcess {
    /// What became of a peer, with what the program there and ssh have said of it. The pipes must be closed.
    pub(super) fn explain(&mut self, what: String) -> String {
        let deadline = std::time::Instant::now() + CUT_TIMEOUT;
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
            && std::time::Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        let status = *self.shared.status.lock().unwrap_or_else(PoisonError::into_inner);
        let what = match status {
            Some(NOT_FOUND) => format!("could not be started: there is no program {} there", self.program),
            Some(NOT_RUN) => format!("could not be started: {} cannot be run there", self.program),
            _ => what,
        };
        match self.shared.log().back() {
            Some(line) => format!("{what}; the last that ssh said: {line}"),
            None => what,
        }
    }

    /// Ends the program there, and ssh.
    pub(super) fn close(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for SshProcess {
    fn drop(&mut self) {
        self.close();
    }
}
