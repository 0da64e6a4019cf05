//! Namespaces whose makers died before they could remove them.

use super::links::remove;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// What every name begins with; the maker's process id follows.
pub(super) const PREFIX: &str = "twincast-";
/// How the kernel names processes of this program: of `twincast-loadgen`, it keeps so much.
const PROCESS: &str = "twincast";

/// Sets of links that this process has begun to make.
static SETS: AtomicU32 = AtomicU32::new(0);

/// The number of one more set.
pub(super) fn next_set() -> u32 {
    SETS.fetch_add(1, Ordering::SeqCst)
}

/// Where the names are.
pub(super) fn folder() -> &'static Path {
    Path::new("/run/netns")
}

/// Removes what runs made that were killed. What belongs to a process of this program that lives stays.
pub fn clean_up_stale() {
    let Ok(entries) = std::fs::read_dir(folder()) else { return };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let stale: Vec<String> = names.filter(|name| is_stale(name, is_ours)).collect();
    if !stale.is_empty() {
        remove(&stale);
    }
}

/// Whether a name is one of ours whose maker is gone. A set of this process's own number that it has not begun was made
/// by an earlier process of the same number.
fn is_stale(name: &str, lives: impl Fn(u32) -> bool) -> bool {
    let Some((pid, set)) = maker(name) else { return false };
    if pid == std::process::id() { set >= SETS.load(Ordering::SeqCst) } else { !lives(pid) }
}

/// Process id and set of a name, if it is one of ours.
fn maker(name: &str) -> Option<(u32, u32)> {
    let mut parts = name.strip_prefix(PREFIX)?.splitn(3, '-');
    let (pid, set) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let end = parts.next()?;
    let is_end = end == "switch" || end.starts_with(['s', 'h']) && end[1..].parse::<u32>().is_ok();
    is_end.then_some((pid, set))
}

/// Whether a process lives and is of this program; another may have got the number of one that died.
fn is_ours(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    is_living_twincast(&stat)
}

/// From a line of `/proc/PID/stat`: its number, its name in brackets, its state.
fn is_living_twincast(stat: &str) -> bool {
    let Some((before, after)) = stat.rsplit_once(") ") else { return false };
    let name = before.split_once('(').map_or("", |(_, name)| name);
    name.starts_with(PROCESS) && !after.starts_with(['Z', 'X'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_dead_makers_are_stale() {
        let lives = |pid| pid == 4_000_001;
        assert!(!is_stale("twincast-4000001-0-s1", lives));
        for name in ["twincast-4000002-0-s1", "twincast-4000002-3-h63", "twincast-4000002-0-switch"] {
            assert!(is_stale(name, lives), "{name}");
        }
        for name in ["docker0", "twincast-", "twincast-4000002", "twincast-4000002-0", "twincast-x-0-s1"] {
            assert!(!is_stale(name, lives), "{name}");
        }
        for name in ["twincast-4000002-0-ägypten", "twincast-4000002-0-sx", "twincast-4000002-0-"] {
            assert!(!is_stale(name, lives), "{name}");
        }
    }

    #[test]
    fn what_this_process_has_not_made_under_its_number_is_stale() {
        let own = std::process::id();
        let made = next_set();
        assert!(!is_stale(&format!("twincast-{own}-{made}-s1"), |_| false));
        assert!(is_stale(&format!("twincast-{own}-{}-s1", made + 1_000), |_| true));
    }

    #[test]
    fn a_number_that_another_program_has_now_does_not_protect() {
        assert!(is_living_twincast("12 (twincast-loadge) S 1 12 12"));
        assert!(!is_living_twincast("12 (twincast-loadge) Z 1 12 12"));
        assert!(!is_living_twincast("12 (bash) S 1 12 12"));
        assert!(!is_living_twincast(""));
        assert!(is_ours(std::process::id()), "tests of this crate are of this program");
    }
}
