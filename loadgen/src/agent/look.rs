//! A look at the agent's machine, which ends with the connection that asked for it.

use crate::check::CheckOrder;
use crate::limits::{CHECK_GRACE, CHECK_TIME, SIGNAL_LOOK};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use twincast_node::{Report, System};

/// What is found on this machine, or why it cannot be looked at; none: whoever asked has gone, or this agent is told to
/// stop. Nothing that the look has started is left.
pub(super) fn look(order: CheckOrder, has_gone: impl Fn() -> bool) -> Option<Result<Report, String>> {
    look_at(&System::here(), order, (CHECK_TIME, CHECK_GRACE), has_gone)
}

/// The same of a machine, in so much time for its programs, and so much for the rest.
fn look_at(
    system: &System,
    order: CheckOrder,
    (time, grace): (Duration, Duration),
    has_gone: impl Fn() -> bool,
) -> Option<Result<Report, String>> {
    let deadline = Instant::now() + time;
    let system = system.clone().until(deadline);
    let _at_end = Stopped(&system);
    let (tell, told) = channel();
    let of_thread = system.clone();
    // On a thread of its own: a file of a driver that answers nobody holds up who reads it, and nobody else.
    let thread = std::thread::Builder::new().name("checking".into());
    let spawned = thread.spawn(move || drop(tell.send(order.check(&of_thread))));
    if let Err(error) = spawned {
        return Some(Err(format!("no thread can be started for it: {error}")));
    }
    loop {
        match told.recv_timeout(SIGNAL_LOOK) {
            Ok(found) => return Some(found),
            Err(RecvTimeoutError::Disconnected) => return Some(Err("it panicked: a bug".into())),
            Err(RecvTimeoutError::Timeout) if has_gone() => return None,
            Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline + grace => {
                return Some(Err(format!("it did not come to an end in {} s", (time + grace).as_secs())));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// A machine whose programs end when this is dropped.
struct Stopped<'a>(&'a System);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::place::Deployment;
    use crate::plan::tests::plan;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::process::{Command, Stdio};
    use twincast_node::Verdict;

    /// A machine without files, whose programs tell their numbers and then sleep.
    fn asleep() -> (System, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        for name in ["timedatectl", "chronyc"] {
            let path = folder.path().join(name);
            // Written by another process: what another test starts meanwhile would keep it open for writing here, and
            // nobody could run it.
            let mut shell = Command::new("/bin/sh");
            shell.arg("-c").arg("cat > \"$0\"").arg(&path).stdin(Stdio::piped());
            let mut writing = shell.spawn().unwrap();
            let script = b"#!/bin/sh\necho $$ >> \"${0%/*}/pids\"\nsleep 300\n";
            writing.stdin.take().unwrap().write_all(script).unwrap();
            assert!(writing.wait().unwrap().success());
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        (System::at(folder.path(), folder.path()), folder)
    }

    fn order() -> CheckOrder {
        CheckOrder::all(&Deployment::loopback(2), &plan()).remove(0)
    }

    fn begun(folder: &Path) -> String {
        std::fs::read_to_string(folder.join("pids")).unwrap_or_default()
    }

    /// Waits until all that was begun has gone, or is some parent's to wait for.
    fn nothing_is_left(folder: &Path) {
        let lives = |pid: &str| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
        };
        let start = Instant::now();
        while begun(folder).lines().any(lives) {
            assert!(start.elapsed() < Duration::from_secs(30), "{} live on", begun(folder));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn programs_that_hang_are_ended_and_told_and_the_rest_is_found() {
        let (system, folder) = asleep();
        let time = (Duration::from_secs(1), Duration::from_secs(60));
        let report = look_at(&system, order(), time, || false).unwrap().unwrap();
        let clock = report.findings.iter().find(|finding| finding.name == "clock").unwrap();
        assert_eq!(clock.verdict, Verdict::Warn);
        assert!(!begun(folder.path()).is_empty());
        nothing_is_left(folder.path());
    }

    #[test]
    fn a_look_ends_with_whoever_asked_for_it() {
        let (system, folder) = asleep();
        let time = (CHECK_TIME, CHECK_GRACE);
        assert_eq!(look_at(&system, order(), time, || begun(folder.path()).ends_with('\n')), None);
        nothing_is_left(folder.path());
    }
}
