//! Limits of this process: what a server that is started from the same shell or unit has too.

use crate::asked::Role;
use crate::limits::*;
use crate::machine::Machine;
use crate::text::{count, size};
use crate::{Finding, System};

/// `CAP_IPC_LOCK` in a set of capabilities: the kernel does not count what such a process locks.
const CAP_IPC_LOCK: u64 = 1 << 14;

/// Locked memory.
pub(crate) fn memlock(machine: &Machine) -> Finding {
    const NAME: &str = "memlock";
    let Some(limit) = Limit::read(machine.system, "Max locked memory") else {
        return Finding::warn(NAME, "/proc/self/limits cannot be read, or has no `Max locked memory`", "");
    };
    let asked = machine.asked;
    // Glommio looks at its process's limit whether or not the kernel counts; the kernel counts all of a user's.
    let executors = if counted(machine.system) { asked.executors.max(1) } else { 1 };
    let need = executors.saturating_mul(EXECUTOR_MEMLOCK_BYTES);
    let is = limit.text();
    if limit.hard < need {
        let reason = format!(
            "{is} may be locked, and {} (io_uring by glommio) need {}: nothing starts (LimitMEMLOCK= in a unit)",
            count(executors, "executor"),
            size(need)
        );
        return Finding::fail(NAME, reason, ulimit_l(need));
    }
    if limit.soft < need {
        let reason = format!("{is} may be locked, and {} need {}", count(executors, "executor"), size(need));
        return Finding::warn(NAME, reason, ulimit_l(need));
    }
    let pool = asked.slab_pool_bytes / asked.fan_out_threads.max(1);
    if asked.role.sends() && pool > limit.soft / REGISTERED_PART_OF_MEMLOCK {
        let want = pool.saturating_mul(REGISTERED_PART_OF_MEMLOCK);
        let reason = format!(
            "{is} may be locked: enough to start; slabs ({} a thread) are registered where they are at most an eighth of \
             it, and without that zero-copy sends cost more (LimitMEMLOCK= in a unit)",
            size(pool)
        );
        return Finding::warn(NAME, reason, ulimit_l(want));
    }
    Finding::pass(NAME, format!("{is} may be locked; {} need {}", count(executors, "executor"), size(need)))
}

/// Open files.
pub(crate) fn open_files(machine: &Machine) -> Finding {
    const NAME: &str = "open_files";
    let Some(limit) = Limit::read(machine.system, "Max open files") else {
        return Finding::warn(NAME, "/proc/self/limits cannot be read, or has no `Max open files`", "");
    };
    let connections = machine.asked.connections_max;
    let each = if machine.asked.role == Role::Host { 1 } else { DESCRIPTORS_PER_CONNECTION };
    let need = connections.saturating_mul(each).saturating_add(DESCRIPTORS_SPARE);
    let of = match connections {
        0 => "everything that is no connection needs".to_owned(),
        _ => format!("{connections} connections need"),
    };
    let hard = limit.hard;
    if hard < need {
        let reason = format!("{hard} files may be open, and {of} {need} (LimitNOFILE= in a unit)");
        return Finding::fail(NAME, reason, format!("ulimit -n {need}"));
    }
    // Servers and hosts raise their own limit as far as it may be.
    let hard = if hard == u64::MAX { "any number of".to_owned() } else { hard.to_string() };
    Finding::pass(NAME, format!("{hard} files may be open; {of} {need}"))
}

/// In KiB, the unit of the shell.
fn ulimit_l(bytes: u64) -> String {
    format!("ulimit -l {}", bytes.div_ceil(1024))
}

/// Whether the kernel counts what this process locks: it does not for who may lock any amount.
fn counted(system: &System) -> bool {
    let status = system.read("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    set.is_none_or(|set| set & CAP_IPC_LOCK == 0)
}

struct Limit {
    soft: u64,
    hard: u64,
}

impl Limit {
    /// Of `/proc/self/limits`; `u64::MAX` is none.
    fn read(system: &System, name: &str) -> Option<Limit> {
        let text = system.read("/proc/self/limits").ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let mut numbers = line.split_whitespace().map(|word| match word {
            "unlimited" => Some(u64::MAX),
            word => word.parse().ok(),
        });
        Some(Limit { soft: numbers.next()??, hard: numbers.next()?? })
    }

    fn text(&self) -> String {
        if self.soft == u64::MAX { "any amount".into() } else { size(self.soft) }
    }
}
