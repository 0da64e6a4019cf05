//! Who this process is: its limits and its rights are not those of a service, nor those of another user.

use crate::System;

/// `CAP_IPC_LOCK` in a set of capabilities: the kernel does not count what such a process locks.
const CAP_IPC_LOCK: u64 = 1 << 14;
/// `CAP_SYS_RESOURCE`: may raise its hard limits.
const CAP_SYS_RESOURCE: u64 = 1 << 24;

/// Of `/proc/self/status`.
pub(crate) struct User {
    /// Its number; none where it cannot be read.
    pub(crate) number: Option<u64>,
    capabilities: Option<u64>,
}

impl User {
    pub(crate) fn of(system: &System) -> User {
        let status = system.read("/proc/self/status").unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        User {
            // The second one is what counts for rights.
            number: field("Uid:").and_then(|numbers| numbers.split_whitespace().nth(1)?.parse().ok()),
            capabilities: field("CapEff:").and_then(|set| u64::from_str_radix(set, 16).ok()),
        }
    }

    /// `this process (uid 1000)`.
    pub(crate) fn name(&self) -> String {
        self.number.map_or_else(|| "this process".into(), |number| format!("this process (uid {number})"))
    }

    /// Whether the kernel counts what it locks.
    pub(crate) fn is_counted(&self) -> bool {
        self.capabilities.is_none_or(|set| set & CAP_IPC_LOCK == 0)
    }

    /// Whether it is known to lack the right to raise its hard limits.
    pub(crate) fn is_bound(&self) -> bool {
        self.capabilities.is_some_and(|set| set & CAP_SYS_RESOURCE == 0)
    }
}
