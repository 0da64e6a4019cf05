//! One child process: this binary in another role, with its streams.

use crate::limits::LOG_LINES_KEPT;
use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A running child whose log is being kept.
pub(crate) struct ChildProcess {
    child: Child,
    log: Arc<Mutex<VecDeque<String>>>,
    log_reader: Option<JoinHandle<()>>,
}

impl ChildProcess {
    /// Starts this binary in a role. The child has a process group of its own, so that a terminal's Ctrl-C reaches
    /// the coordinator only, which then stops its children in order. The kernel kills it when the thread that
    /// called this ends (`process::become_child`).
    pub(crate) fn start(
        program: &std::path::Path,
        role: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> io::Result<(ChildProcess, ChildStdin, ChildStdout)> {
        let mut command = Command::new(program);
        command.arg(role);
        command.args(namespace.iter().flat_map(|namespace| ["--namespace", namespace]));
        let mut child = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take().expect("it was asked for");
        let stdout = child.stdout.take().expect("it was asked for");
        let stderr = child.stderr.take().expect("it was asked for");
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let log_reader = keep_log(stderr, name, Arc::clone(&log))?;
        Ok((ChildProcess { child, log, log_reader: Some(log_reader) }, stdin, stdout))
    }

    /// Waits for its end, at most so long; `None` if it lives on.
    pub(crate) fn end(&mut self, time: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + time;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
                Ok(None) => return None,
                Err(error) => panic!("a child of this process can be waited for: {error}"),
            }
        }
    }

    /// Kills it, and waits until the kernel has cleared it away. No harm if it is gone already.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The last lines of its log; all of them, if it has ended.
    pub(crate) fn log(&mut self) -> Vec<String> {
        if let (Some(_), Some(reader)) = (self.end(Duration::ZERO), self.log_reader.take()) {
            let _ = reader.join();
        }
        self.log.lock().expect("no holder panics").iter().cloned().collect()
    }
}

/// How a process ended, as the rest of a sentence.
pub(crate) fn ending(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("was killed by signal {signal}"),
        (_, Some(0)) => "ended before it was told to".into(),
        (_, code) => format!("ended with exit status {}", code.unwrap_or(-1)),
    }
}

/// Keeps the last lines that a child logs; repeats them on our own stderr where the user asked for logs.
fn keep_log(
    stderr: ChildStderr,
    name: &str,
    log: Arc<Mutex<VecDeque<String>>>,
) -> io::Result<JoinHandle<()>> {
    let repeat = std::env::var_os("RUST_LOG").is_some();
    let name = name.to_owned();
    std::thread::Builder::new().name(format!("log of {name}")).spawn(move || {
        for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            if repeat {
                eprintln!("[{name}] {line}");
            }
            let mut log = log.lock().expect("no holder panics");
            if log.len() == LOG_LINES_KEPT {
                log.pop_front();
            }
            log.push_back(line);
        }
    })
}
