//! The broker's process: started on a free port, watched through `/proc`, killed in the end.

use crate::BaselineError;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

/// The broker's program.
pub const PROGRAM: &str = "nats-server";

/// Time for the broker to listen.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// What it logs when it listens, before the address.
const LISTENING: &str = "Listening for client connections on ";
/// Log lines that are shown of a broker that does not start.
const LOG_LINES_SHOWN: usize = 5;

/// Where the broker's program is, if it is installed.
pub fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian puts it where only root looks.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(PROGRAM)).find(|program| program.is_file())
}

/// A running broker; dropped, it is killed.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    address: SocketAddr,
}

impl Broker {
    /// Starts it where it is told to listen; on a free port where that port is 0. `launch` makes the command that runs the program, so that a caller can put a process
    /// between that dies with its parent and then becomes the program.
    ///
    /// # Errors
    /// [`BaselineError::Broker`]: it is not installed, or does not listen; with what it logged.
    pub fn start(listen: SocketAddr, launch: impl FnOnce(&Path) -> Command) -> Result<Broker, BaselineError> {
        let Some(program) = installed() else {
            return Err(BaselineError::Broker(format!(
                "the broker's program, {PROGRAM}, is not installed: apt install {PROGRAM}"
            )));
        };
        let mut command = launch(&program);
        // To the broker, a free port is -1.
        let port = if listen.port() == 0 { "-1".to_owned() } else { listen.port().to_string() };
        command.args(["-a", &listen.ip().to_string(), "-p", &port]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().map_err(BaselineError::io("the broker cannot be started"))?;
        // From here on it is killed whatever happens.
        let mut broker = Broker { child, address: listen };
        let log = broker.child.stderr.take().expect("it was asked for");
        broker.address.set_port(listening_port(log)?);
        Ok(broker)
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// CPU seconds of the process so far, all threads, in the kernel's clock ticks.
    ///
    /// # Errors
    /// The process has gone.
    pub fn cpu_seconds(&self) -> Result<f64, BaselineError> {
        let gone = BaselineError::io("the broker has gone");
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).map_err(gone)?;
        cpu_ticks(&stat)
            .map(|ticks| ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
            .ok_or_else(|| gone(std::io::ErrorKind::InvalidData.into()))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // No harm if it has gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// User and system ticks of a line of `/proc/PID/stat`; the name in it may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    ticks()?.checked_add(ticks()?)
}

/// Waits for the port in the broker's log, which is read on to its end, so that the broker never waits for it.
fn listening_port(log: ChildStderr) -> Result<u16, BaselineError> {
    let (sender, lines) = channel();
    let thread = std::thread::Builder::new().name("log of the broker".into());
    thread.spawn(move || drain(log, &sender)).map_err(BaselineError::io("cannot start a thread"))?;
    let deadline = Instant::now() + START_TIMEOUT;
    let mut said: Vec<String> = Vec::new();
    while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if let Some(port) = port_of(&line) {
            return Ok(port);
        }
        said.push(line);
    }
    let last = said.split_off(said.len().saturating_sub(LOG_LINES_SHOWN)).join(" | ");
    Err(BaselineError::Broker(format!("the broker, {PROGRAM}, does not listen; its log ends: {last}")))
}

fn drain(log: ChildStderr, lines: &Sender<String>) {
    for line in BufReader::new(log).split(b'\n').map_while(Result::ok) {
        // Nobody listens once the broker is up.
        let _ = lines.send(String::from_utf8_lossy(&line).into_owned());
    }
}

fn port_of(line: &str) -> Option<u16> {
    line.split_once(LISTENING)?.1.trim().rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_the_log() {
        let line = "[7] 2022/05/30 10:00:00.1 [INF] Listening for client connections on 127.0.0.1:35123";
        assert_eq!(port_of(line), Some(35123));
        assert_eq!(port_of("[7] [INF] Listening for client connections on [::1]:80"), Some(80));
        assert_eq!(port_of("[7] [INF] Server is ready"), None);
    }

    #[test]
    fn cpu_is_read_whatever_the_name() {
        let stat = "12 (a) b) c) S 1 12 12 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 500 1 2";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("12 (a) S 1"), None);
        assert_eq!(cpu_ticks(""), None);
    }
}
