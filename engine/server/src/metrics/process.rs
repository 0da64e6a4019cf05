//! What the kernel says of this process, read when the page is asked for: no thread does anything for it before.

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Threads that `/metrics` knows by name, with the number behind it; all others are `other`.
const THREADS: [&str; 6] = ["fan-out", "front", "answer", "link", "accept", "pages"];

/// What one thread, or all that have one name, had of the processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ThreadTime {
    /// Time on a core.
    pub(super) cpu: Duration,
    /// Time that it could have run and had no core.
    pub(super) waiting: Duration,
}

/// A row of the process: name, help, kind, value. What the kernel does not say is left out.
pub(super) type Row = (&'static str, &'static str, &'static str, f64);

/// The rows that Prometheus's own client libraries have, by their names.
pub(super) fn rows() -> Vec<Row> {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let cpu = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
    let descriptors_max = getrlimit(Resource::Nofile).current.map(|limit| limit as f64);
    let rows = [
        ("process_cpu_seconds_total", "CPU time of all threads, user and system.", "counter", Some(cpu)),
        ("process_resident_memory_bytes", "Memory that is in RAM.", "gauge", resident_bytes()),
        ("process_open_fds", "Open descriptors.", "gauge", open_descriptors()),
        ("process_max_fds", "The limit on open descriptors.", "gauge", descriptors_max),
        ("process_start_time_seconds", "When the process started, since 1970.", "gauge", started()),
    ];
    rows.into_iter().filter_map(|(name, help, kind, value)| Some((name, help, kind, value?))).collect()
}

/// What each thread had, by its name: those of one name are summed.
pub(super) fn threads() -> BTreeMap<String, ThreadTime> {
    let mut threads = BTreeMap::<String, ThreadTime>::new();
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        // A thread may end meanwhile.
        let Some((name, time)) = thread(&task.path()) else { continue };
        let sum = threads.entry(name).or_default();
        (sum.cpu, sum.waiting) = (sum.cpu + time.cpu, sum.waiting + time.waiting);
    }
    threads
}

fn thread(task: &Path) -> Option<(String, ThreadTime)> {
    let read = |file: &str| std::fs::read_to_string(task.join(file)).ok();
    let time = parse_schedstat(&read("schedstat")?)?;
    Some((label(read("comm")?.trim()).to_owned(), time))
}

/// The name of a thread on the page: its role, and its number if it has one. glommio appends another number to those of
/// its executors.
fn label(name: &str) -> &str {
    for role in THREADS {
        let Some(rest) = name.strip_prefix(role) else { continue };
        let Some(numbers) = rest.strip_prefix('-') else {
            return if rest.is_empty() { name } else { "other" };
        };
        let number = numbers.split('-').next().unwrap_or_default();
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if numbers.split('-').all(digits) {
            return &name[..role.len() + 1 + number.len()];
        }
    }
    "other"
}

/// Nanoseconds on a core, and nanoseconds of waiting for one.
fn parse_schedstat(text: &str) -> Option<ThreadTime> {
    let mut times = text.split_ascii_whitespace().map(|word| word.parse().map(Duration::from_nanos).ok());
    Some(ThreadTime { cpu: times.next()??, waiting: times.next()?? })
}

fn resident_bytes() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some((pages * rustix::param::page_size() as u64) as f64)
}

fn open_descriptors() -> Option<f64> {
    // One of them is the folder's own.
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

fn started() -> Option<f64> {
    let since_boot = parse_start_ticks(&std::fs::read_to_string("/proc/self/stat").ok()?)?;
    let system = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: u64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot as f64 + since_boot as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Field 22 of `/proc/PID/stat`. The second field is a name in brackets, in which anything may be.
fn parse_start_ticks(text: &str) -> Option<u64> {
    let (_, fields) = text.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_known_by_their_names_and_all_others_are_one() {
        for name in ["fan-out-0", "fan-out-12", "front-3", "answer-0", "link", "accept", "pages"] {
            assert_eq!(label(name), name);
        }
        assert_eq!(label("front-3-17"), "front-3");
        for name in ["", "iou-wrk-7", "tokio", "front-", "front-x", "linker", "fan-out-0\"} 1"] {
            assert_eq!(label(name), "other", "{name}");
        }
    }

    #[test]
    fn what_the_kernel_says_is_read_by_field() {
        let time = parse_schedstat("312189306 53146385 69\n").unwrap();
        assert_eq!((time.cpu.as_nanos(), time.waiting.as_nanos()), (312_189_306, 53_146_385));
        assert_eq!(parse_schedstat("312189306"), None);
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 424242 20";
        assert_eq!(parse_start_ticks(stat), Some(424_242));
    }

    #[test]
    fn this_process_has_every_row() {
        let rows = rows();
        assert_eq!(rows.len(), 5, "{rows:?}");
        for (name, _, _, value) in rows {
            assert!(value > 0.0, "{name} {value}");
        }
        let all: Duration = threads().values().map(|time| time.cpu).sum();
        assert!(all > Duration::ZERO);
    }
}
