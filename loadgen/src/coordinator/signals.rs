//! Ctrl-C and the other signals that mean an end, as news among the children's.

use super::team::Event;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

/// The signals on which a run and an agent end in order. Those that a terminal sends when it goes are left alone where
/// whoever started this process has it ignore them (`nohup`).
pub(crate) fn ends() -> Vec<i32> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = ignored(&status);
    let of_terminals = [SIGHUP, SIGQUIT].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
    [SIGINT, SIGTERM].into_iter().chain(of_terminals).collect()
}

/// A bit for each signal that is ignored, the first for signal 1.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Forwards them for as long as it lives.
pub(super) struct SignalWatch {
    handle: Option<Handle>,
    came: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl SignalWatch {
    pub(super) fn start(events: Sender<Event>) -> io::Result<SignalWatch> {
        let mut signals = Signals::new(ends())?;
        let came = Arc::new(AtomicBool::new(false));
        let comes = Arc::clone(&came);
        let handle = signals.handle();
        let thread = std::thread::Builder::new().name("signals".into()).spawn(move || {
            for _ in signals.forever() {
                comes.store(true, Ordering::Relaxed);
                if events.send(Event::Signal).is_err() {
                    break;
                }
            }
        })?;
        Ok(SignalWatch { handle: Some(handle), came, thread: Some(thread) })
    }

    /// One that hears nothing.
    #[cfg(test)]
    pub(super) fn none() -> SignalWatch {
        SignalWatch { handle: None, came: Arc::default(), thread: None }
    }

    /// Whether one has come, for who cannot wait for events.
    pub(super) fn came(&self) -> bool {
        self.came.load(Ordering::Relaxed)
    }
}

impl Drop for SignalWatch {
    fn drop(&mut self) {
        if let Some(handle) = &self.handle {
            handle.close();
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_read_from_the_kernels_mask() {
        let status = "Name:\tx\nSigBlk:\tffffffffffffffff\nSigIgn:\t0000000000001001\n";
        assert_eq!(ignored(status), 0x1001);
        assert_eq!(ignored(""), 0);
        assert!(ends().starts_with(&[SIGINT, SIGTERM]));
    }
}
