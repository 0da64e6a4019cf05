//! What a process knows of itself: CPU, memory, limits, and whose child it is.

use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};
use rustix::time::{ClockId, clock_gettime};
use std::io;
use std::time::Duration;

/// CPU seconds of this process so far, all threads, user and system.
pub fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// CPU time of the calling thread so far, user and system: what others do on its core meanwhile is not in it.
pub(crate) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Nanoseconds since 1970 by this machine's clock.
pub fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Realtime);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// Memory that new processes can have on this machine without swapping, in bytes; none where `/proc` does not say.
pub fn memory_available_bytes() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/meminfo").ok()?;
    kib_field(&told, "MemAvailable:").map(|kib| kib << 10)
}

/// The largest resident set of this process so far, in bytes; 0 where `/proc` does not say.
pub fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    kib_field(&status, "VmHWM:").unwrap_or(0) << 10
}

fn kib_field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// What every child does first: it is killed when the thread that started it goes, whatever else happens, and it may
/// open as many files and lock as much memory as its hard limits allow, and it goes into the network namespace of this
/// name.
///
/// # Errors
/// The kernel refused; nothing that a run can go on without.
pub fn become_child(namespace: Option<&str>) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    raise_to_hard(Resource::Nofile)?;
    raise_to_hard(Resource::Memlock)?;
    namespace.map_or(Ok(()), crate::net::enter)
}

fn raise_to_hard(resource: Resource) -> io::Result<()> {
    let Rlimit { current, maximum } = getrlimit(resource);
    if current == maximum {
        return Ok(());
    }
    Ok(setrlimit(resource, Rlimit { current: maximum, maximum })?)
}

/// The hard limit of a resource; `u64::MAX` where there is none.
pub fn hard_limit(resource: Resource) -> u64 {
    getrlimit(resource).maximum.unwrap_or(u64::MAX)
}

/// Whether the kernel counts this process's locked memory at all: it does not for who may lock any amount.
pub fn memlock_is_counted() -> bool {
    !capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_set_is_read_from_status() {
        assert_eq!(kib_field("VmPeak:\t 9 kB\nVmHWM:\t  2048 kB\n", "VmHWM:"), Some(2048));
        assert_eq!(kib_field("VmHWM:\tmuch\n", "VmHWM:"), None);
        assert!(peak_rss_bytes() > 0);
        assert!(cpu_seconds() > 0.0);
    }
}
