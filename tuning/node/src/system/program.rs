//! One program that is run to its end, to the end of its time, or to the end of everybody's patience.

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that are taken of what a program prints on one of its streams: many times what `ip` says of a machine with a
/// thousand interfaces.
const OUTPUT_BYTES_MAX: usize = 4 << 20;
/// Time between two looks whether a program that has closed its streams has ended.
const END_LOOK: Duration = Duration::from_millis(1);
/// Time for the kernel to clear away programs that were killed; one that it cannot end is left to a thread.
const REAP_TIME: Duration = Duration::from_millis(200);

/// Which programs are at work, and whether any more may be started.
#[derive(Debug, Default)]
pub(super) struct Programs(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The process groups, whose first processes nobody has waited for yet: none of these numbers is anybody else's.
    groups: BTreeSet<i32>,
    /// Programs that are not cleared away yet.
    there: usize,
    stopped: bool,
}

/// A program at work. It is killed with all that it has started when this is dropped.
struct Running<'a> {
    /// None: it was waited for.
    child: Option<Child>,
    group: Pid,
    programs: &'a Programs,
}

impl Programs {
    /// Runs a program until it ends.
    ///
    /// # Errors
    /// It cannot be started; `TimedOut`: it has not ended by then; `Interrupted`: [`Programs::stop`] was called; `Other`:
    /// it prints without end. It is gone then, and all that it has started.
    pub(super) fn run(&self, command: &mut Command, deadline: Instant) -> io::Result<Output> {
        let mut running = self.start(command)?;
        let child = running.child.as_mut().expect("it was just started");
        let streams = (reader(child.stdout.take()), reader(child.stderr.take()));
        let (stdout, stderr) = (printed(&streams.0, deadline)?, printed(&streams.1, deadline)?);
        while !running.has_ended()? {
            if Instant::now() >= deadline {
                return Err(ErrorKind::TimedOut.into());
            }
            thread::sleep(END_LOOK);
        }
        let status = running.end()?;
        if self.state().stopped {
            return Err(ErrorKind::Interrupted.into());
        }
        Ok(Output { status, stdout, stderr })
    }

    /// Kills all of them, and waits for a moment until they are gone; whatever is to be run from here on is not.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        for group in state.groups.iter().filter_map(|group| Pid::from_raw(*group)) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        drop(state);
        let deadline = Instant::now() + REAP_TIME;
        while self.state().there > 0 && Instant::now() < deadline {
            thread::sleep(END_LOOK);
        }
    }

    fn start(&self, command: &mut Command) -> io::Result<Running<'_>> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        // Held while it is started: it cannot be missed by who stops all of them.
        let mut state = self.state();
        if state.stopped {
            return Err(ErrorKind::Interrupted.into());
        }
        let child = command.spawn()?;
        let group = Pid::from_child(&child);
        state.groups.insert(group.as_raw_nonzero().get());
        state.there += 1;
        Ok(Running { child: Some(child), group, programs: self })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running<'_> {
    /// Whether the program itself has ended; the kernel keeps its number until it is waited for.
    fn has_ended(&self) -> io::Result<bool> {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(self.group), look)?.is_some())
    }

    /// How it ended, after which nothing is left that it has started.
    fn end(mut self) -> io::Result<ExitStatus> {
        self.kill();
        let status = self.child.take().expect("nobody has waited for it").wait();
        self.programs.state().there -= 1;
        status
    }

    /// Ends the group. It is not looked after any more from here on.
    fn kill(&self) {
        let mut state = self.programs.state();
        let _ = kill_process_group(self.group, Signal::KILL);
        state.groups.remove(&self.group.as_raw_nonzero().get());
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        self.kill();
        let deadline = Instant::now() + REAP_TIME;
        while Instant::now() < deadline {
            if !matches!(child.try_wait(), Ok(None)) {
                self.programs.state().there -= 1;
                return;
            }
            thread::sleep(END_LOOK);
        }
        // Inside the kernel, most likely in a driver that answers nobody: nobody waits for it here.
        self.programs.state().there -= 1;
        let _ = thread::Builder::new().name("reaping".into()).spawn(move || child.wait());
    }
}

/// Reads a stream on a thread of its own, so that neither of two blocks the program. A reader that has its fill closes the
/// stream, on which most programs end.
fn reader(stream: Option<impl Read + Send + 'static>) -> Receiver<io::Result<Vec<u8>>> {
    let (tell, told) = channel();
    let read = move || {
        let mut bytes = Vec::new();
        let most = OUTPUT_BYTES_MAX as u64 + 1;
        let end = stream.map_or(Ok(0), |stream| stream.take(most).read_to_end(&mut bytes));
        let _ = tell.send(end.map(|_| bytes));
    };
    // One that cannot be started drops its end of the channel, which the other end hears.
    let _ = thread::Builder::new().name("output".into()).spawn(read);
    told
}

/// All that was printed on a stream, once it has ended.
fn printed(stream: &Receiver<io::Result<Vec<u8>>>, deadline: Instant) -> io::Result<Vec<u8>> {
    match stream.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(Ok(bytes)) if bytes.len() > OUTPUT_BYTES_MAX => Err(io::Error::other(format!(
            "it printed more than {} MiB, and was ended",
            OUTPUT_BYTES_MAX >> 20
        ))),
        Ok(end) => end,
        Err(RecvTimeoutError::Timeout) => Err(ErrorKind::TimedOut.into()),
        Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("no thread can be started to read it")),
    }
}
