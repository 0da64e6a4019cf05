//! The socket over which the operator's commands come to a server that runs: `admin.sock` in the registry's folder, which
//! nobody but the server's user may enter.
//!
//! One connection at a time, one command on each: a line of JSON in, a line of JSON out.

use super::AccountsHandle;
use super::command::{Command, Reply};
use super::store::RegistryError;
use crate::limits::{ADMIN_COMMAND_BYTES_MAX, ADMIN_TIMEOUT_MS};
use rustix::event::{PollFd, PollFlags, poll};
use std::fs::Permissions;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

/// The socket's name in the registry's folder.
const FILE: &str = "admin.sock";

/// Bytes of a socket's path that Linux takes, its end among them.
const PATH_BYTES_MAX: usize = 108;

/// How long the other end may be silent.
const TIMEOUT: Duration = Duration::from_millis(ADMIN_TIMEOUT_MS);

/// The socket, and the thread that hears it once it is started.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    listener: Option<UnixListener>,
    handle: Arc<AccountsHandle>,
    thread: Option<(UnixStream, JoinHandle<()>)>,
}

impl Socket {
    /// Makes the socket. What an earlier run left there goes: whoever has the registry's file open has the folder.
    pub(super) fn listen(folder: &Path, handle: Arc<AccountsHandle>) -> Result<Socket, RegistryError> {
        let path = folder.join(FILE);
        let refused = |error| {
            let long = path.as_os_str().len() >= PATH_BYTES_MAX;
            let remedy =
                if long { ": the folder's path is too long for a socket, choose a shorter one" } else { "" };
            RegistryError::Socket { path: path.clone(), error, remedy }
        };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(refused(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(refused)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        Ok(Socket { path, listener: Some(listener), handle, thread: None })
    }

    /// Starts to hear it.
    pub(super) fn start(&mut self) -> Result<(), RegistryError> {
        let listener = self.listener.take().expect("it is started once");
        let (bell, stopped) = UnixStream::pair()?;
        let handle = self.handle.clone();
        let thread = std::thread::Builder::new().name("admin".into()).spawn(move || {
            while let Some(stream) = accept(&listener, &stopped) {
                if let Err(error) = serve(stream, &handle) {
                    tracing::warn!(%error, "an admin command was cut");
                }
            }
        })?;
        self.thread = Some((bell, thread));
        Ok(())
    }

    /// Hears it no more. A command that is being done is done.
    pub(super) fn stop(mut self) {
        if let Some((bell, thread)) = self.thread.take() {
            drop(bell);
            if thread.join().is_err() {
                tracing::error!("the thread of admin commands panicked");
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The next connection; none once the server stops.
fn accept(listener: &UnixListener, stopped: &UnixStream) -> Option<UnixStream> {
    loop {
        let mut fds = [PollFd::new(listener, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                tracing::error!(%error, "no admin commands are heard any more");
                return None;
            }
        }
        if !fds[1].revents().is_empty() {
            return None;
        }
        match listener.accept() {
            Ok((stream, _)) => return Some(stream),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                tracing::warn!(%error, "an admin command was not heard");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

fn serve(stream: UnixStream, handle: &AccountsHandle) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut line = String::new();
    let mut limited = BufReader::new((&stream).take(ADMIN_COMMAND_BYTES_MAX));
    limited.read_line(&mut line)?;
    let reply = match serde_json::from_str::<Command>(&line) {
        Ok(command) => {
            let (sender, receiver) = sync_channel(1);
            handle.command(command, sender);
            receiver.recv().unwrap_or_else(|_| Err("the server is stopping: nothing was done".into()))
        }
        Err(error) => {
            Err(format!("that is no command ({error}): the two programs are of different versions"))
        }
    };
    let mut text = serde_json::to_vec(&reply).map_err(io::Error::other)?;
    text.push(b'\n');
    (&stream).write_all(&text)
}

/// Asks the server that runs with this registry's folder. None: no server does.
///
/// # Errors
/// When the socket is there and cannot be used, or ends in the middle.
pub fn ask(folder: &Path, command: &Command) -> io::Result<Option<Reply>> {
    let stream = match UnixStream::connect(folder.join(FILE)) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut text = serde_json::to_vec(command).map_err(io::Error::other)?;
    text.push(b'\n');
    (&stream).write_all(&text)?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    let reply = serde_json::from_str(&line);
    reply
        .map(Some)
        .map_err(|_| io::Error::other("the server ended before it answered: ask again, with `list`"))
}
