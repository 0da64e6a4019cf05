//! Who made something that stays if its maker is killed: namespaces, folders.
//!
//! Their names carry the maker's process id and the time of its start. No later process has both, whatever its binary is
//! called, so what a name says of its maker stays true for as long as the machine is up.

use std::fmt;

/// A process, by its number and its start in clock ticks since the machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Maker {
    pid: u32,
    started: u64,
}

impl Maker {
    /// This process.
    pub(crate) fn this() -> Maker {
        let pid = std::process::id();
        Maker { pid, started: start_of(pid).unwrap_or(0) }
    }

    /// Of a name's `<pid>-<start>-<rest>`: the maker, and the rest.
    pub(crate) fn of(name: &str) -> Option<(Maker, &str)> {
        let mut parts = name.splitn(3, '-');
        let (pid, started) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some((Maker { pid, started }, parts.next()?))
    }

    /// Whether it lives, for all that anybody knows: where nothing is told of processes, nothing is anybody's to remove.
    pub(crate) fn lives(self) -> bool {
        start_of(std::process::id()).is_none() || start_of(self.pid) == Some(self.started)
    }
}

impl fmt::Display for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.pid, self.started)
    }
}

fn start_of(pid: u32) -> Option<u64> {
    start_in(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The start of a process that lives, from its line of `/proc/PID/stat`: its number, its name in brackets, which may hold
/// anything, its state, and eighteen fields before the start.
fn start_in(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let is_dead = fields.starts_with(['Z', 'X']);
    fields.split(' ').nth(19).filter(|_| !is_dead)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_one_of_its_number_with_another_start_does_not() {
        let this = Maker::this();
        assert!(this.started > 0 && this.lives());
        assert!(!Maker { started: this.started - 1, ..this }.lives());
        assert!(!Maker { pid: u32::MAX, ..this }.lives());
        assert_eq!(Maker::of(&format!("{this}-0-s1")), Some((this, "0-s1")));
        for name in ["", "1", "1-2", "x-2-s1", "1-x-s1"] {
            assert_eq!(Maker::of(name), None, "{name}");
        }
    }

    #[test]
    fn a_start_is_read_whatever_the_process_calls_itself() {
        let line = |name: &str, state: char| {
            format!("12 ({name}) {state} 1 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 7654 4096 1\n")
        };
        for name in ["twincast-loadge", "a) S 9 (b", "my tool"] {
            assert_eq!(start_in(&line(name, 'S')), Some(7_654), "{name}");
        }
        assert_eq!(start_in(&line("twincast-loadge", 'Z')), None, "who waits to be buried makes nothing");
        assert_eq!(start_in(""), None);
    }
}
