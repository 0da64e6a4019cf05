//! The real binary: started, signalled, and always ended.

use super::{PATIENCE, Permit, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;
use twincast_server::config::Config;

const BINARY: &str = env!("CARGO_BIN_EXE_twincast-server");

/// A server in a process of its own.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Where S1 connects, of an S2 that is linked.
    pub(crate) link: Option<SocketAddr>,
    pub(crate) metrics: Option<SocketAddr>,
    stderr: Option<JoinHandle<String>>,
    _directory: TempDir,
    _permit: Option<Permit>,
}

impl Process {
    /// Starts it, and waits until clients may connect.
    pub(crate) fn start(config: &Config) -> Process {
        Process::start_within("", config)
    }

    /// The same, by a shell that first does `limits`.
    pub(crate) fn start_within(limits: &str, config: &Config) -> Process {
        Process::start_with(limits, config, Some(Permit::wait()))
    }

    /// The same, for who has leave already.
    pub(crate) fn start_permitted(config: &Config) -> Process {
        Process::start_with("", config, None)
    }

    fn start_with(limits: &str, config: &Config, permit: Option<Permit>) -> Process {
        let (directory, path) = write(&config.to_toml());
        let mut child = shell(limits, "--config", &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it was asked for")).lines();
        let mut line = |start: &str| {
            let line = lines.next().expect("a line").expect("text");
            line.strip_prefix(start).unwrap_or_else(|| panic!("{line}")).to_owned()
        };
        let address = line("listening on ").parse().expect("an address");
        let listens = config.link.as_ref().is_some_and(|link| link.listen.is_some());
        let link = listens.then(|| line("link on ").parse().expect("an address"));
        let metrics = config.metrics_listen.map(|_| {
            let url = line("metrics on http://");
            url.trim_end_matches("/metrics").parse().expect("an address")
        });
        let stderr = Some(collect(child.stderr.take().expect("it was asked for")));
        Process { child, address, link, metrics, stderr, _directory: directory, _permit: permit }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Lets it run for a tenth of the time only, until the guard goes out of scope.
    pub(crate) fn slow_down(&self) -> Slowed {
        let pid = Pid::from_child(&self.child);
        let (running, stopped) = channel::<()>();
        let thread = std::thread::spawn(move || {
            let signal = |signal| kill_process(pid, signal).expect("it runs");
            while stopped.try_recv() == Err(TryRecvError::Empty) {
                signal(Signal::STOP);
                std::thread::sleep(Duration::from_millis(18));
                signal(Signal::CONT);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Slowed { running: Some(running), thread: Some(thread) }
    }

    /// Waits for its end: the status, and what it wrote to standard error.
    pub(crate) fn end(&mut self) -> (ExitStatus, String) {
        let mut status = None;
        wait_until("the server's end", || {
            status = self.child.try_wait().expect("it is a child");
            status.is_some()
        });
        let stderr = self.stderr.take().expect("it ends once").join().expect("text");
        (status.expect("it ended"), stderr)
    }
}

/// A server that runs for a tenth of the time.
pub(crate) struct Slowed {
    running: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Slowed {
    fn drop(&mut self) {
        self.running.take();
        let ended = self.thread.take().expect("it is dropped once").join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the binary in a shell that first does `limits`, with this text as its configuration, to its end: the status
/// and what it wrote to standard output and error.
pub(crate) fn run_to_end(limits: &str, option: &str, text: &str) -> (Option<i32>, String, String) {
    let _permit = Permit::wait();
    let (_directory, path) = write(text);
    let mut child = shell(limits, option, &path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell starts");
    let stdout = collect(child.stdout.take().expect("it was asked for"));
    let stderr = collect(child.stderr.take().expect("it was asked for"));
    let begun = std::time::Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is a child") {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            // It runs although it should not: it must not outlive the test.
            let _ = child.kill();
            let _ = child.wait();
            panic!("it does not end: {}", stderr.join().expect("text"));
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    (status.code(), stdout.join().expect("text"), stderr.join().expect("text"))
}

/// A shell that does `limits` and becomes the binary.
fn shell(limits: &str, option: &str, path: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limits} exec \"$0\" \"$@\""), BINARY, option]).arg(path);
    command
}

fn write(text: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("server.toml");
    std::fs::write(&path, text).expect("a file");
    (directory, path)
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        from.read_to_string(&mut text).expect("text");
        text
    })
}
