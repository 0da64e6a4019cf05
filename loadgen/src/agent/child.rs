//! The child of one connection: the coordinator's lines are its orders, its lines are the coordinator's news.

use super::handshake::Connection;
use super::{AgentSays, Ended};
use crate::coordinator::child::{ChildProcess, ending};
use crate::coordinator::role::Role;
use crate::limits::{AGENT_GRACE, LINE_BYTES_MAX, STOP_TIMEOUT};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread;

/// Whatever this process runs, even when its file was replaced since: the two ends agreed on a version.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// What ends a child.
#[derive(Clone, Copy, Debug)]
enum Over {
    /// Nobody gives orders any more, or nobody hears news.
    CoordinatorGone,
    /// It says nothing any more.
    ChildQuiet,
}

/// Starts a child in a role and passes lines on until one of both ends; how it ended, for the log. The child is gone
/// when this returns. The kernel kills it when the calling thread ends before (`process::become_child`).
pub(super) fn lead(connection: Connection, role: Role) -> String {
    let started = ChildProcess::start(Path::new(THIS_PROGRAM), role.subcommand(), None, &connection.peer);
    let (mut child, stdin, stdout) = match started {
        Ok(started) => started,
        Err(error) => return connection.refuse(format!("its child could not be started: {error}")),
    };
    let Ok(output) = connection.output.try_clone() else {
        child.kill();
        return connection.refuse("this agent has no descriptors left".into());
    };
    if connection.say(AgentSays::Started).is_err() {
        child.kill();
        return "went away".into();
    }
    let Connection { lines, output: answers, .. } = connection;
    let (over, ends) = channel();
    let orders = pass_on(lines.rest(), stdin, over.clone(), Over::CoordinatorGone, Over::ChildQuiet);
    let news = pass_on(stdout, output, over, Over::ChildQuiet, Over::CoordinatorGone);
    let (first, time) = match ends.recv() {
        Ok(Over::ChildQuiet) => ("", STOP_TIMEOUT),
        _ => ("; the coordinator had gone", AGENT_GRACE),
    };
    let status = child.end(time);
    child.kill();
    // The child's output ends with it, so its last line is out before the agent's own.
    let _ = news.map(thread::JoinHandle::join);
    let ended = Ended {
        well: status.is_some_and(|status| status.success()),
        what: status.map_or_else(|| "did not end and was killed".into(), ending),
        log: child.log(),
    };
    let how = if ended.well { "has ended" } else { ended.what.as_str() };
    let told = format!("its child in {} {how}{first}", role.subcommand());
    let line = super::AgentLine { agent: AgentSays::Ended(ended) };
    let _ = super::say(&answers, &line);
    // This ends the reading of orders; a pipe's ends with the process.
    if rustix::net::shutdown(&answers, rustix::net::Shutdown::Both).is_ok() {
        let _ = orders.map(thread::JoinHandle::join);
    }
    told
}

/// Passes whole lines on, on a thread of its own, and tells which end went first. A line that its writer did not live
/// to end is dropped.
fn pass_on(
    from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
    over: Sender<Over>,
    at_end: Over,
    when_refused: Over,
) -> Option<thread::JoinHandle<()>> {
    let fallback = over.clone();
    let copy = move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        let end = loop {
            line.clear();
            let read = from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            if read.is_err() || !line.ends_with(b"\n") {
                break at_end;
            }
            if to.write_all(&line).and_then(|()| to.flush()).is_err() {
                break when_refused;
            }
        };
        drop(to);
        let _ = over.send(end);
    };
    let spawned = thread::Builder::new().name("lines".into()).spawn(copy).ok();
    if spawned.is_none() {
        let _ = fallback.send(Over::CoordinatorGone);
    }
    spawned
}
