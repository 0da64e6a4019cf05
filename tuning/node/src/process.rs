//! Limits of this process: what a server that is started from the same shell has too. A service has those of its unit.

use crate::Finding;
use crate::System;
use crate::asked::Role;
use crate::limits::*;
use crate::machine::Machine;
use crate::text::{count, size};
use crate::user::User;

const OF_MEMLOCK: &str = "a service has LimitMEMLOCK= of its unit";
const OF_NOFILE: &str = "a service has LimitNOFILE= of its unit";

/// Locked memory.
pub(crate) fn memlock(machine: &Machine) -> Finding {
    const NAME: &str = "memlock";
    let Some(limit) = Limit::read(machine.system, "Max locked memory") else {
        return Finding::warn(NAME, "/proc/self/limits cannot be read, or has no `Max locked memory`", "");
    };
    let (asked, user) = (machine.asked, User::of(machine.system));
    // Glommio looks at its process's limit whether or not the kernel counts; the kernel counts all of a user's.
    let executors = if user.is_counted() { asked.executors.max(1) } else { 1 };
    let need = executors.saturating_mul(EXECUTOR_MEMLOCK_BYTES);
    let is = match limit.soft {
        u64::MAX => format!("{} may lock any amount", user.name()),
        soft => format!("{} may lock {}", user.name(), size(soft)),
    };
    let those = format!("{} (io_uring by glommio) need {}", count(executors, "executor"), size(need));
    if limit.hard < need {
        let (more, remedy) = raised(machine, &user, &limit, &MEMLOCK, need);
        return Finding::fail(NAME, format!("{is}, and {those}: nothing starts; {OF_MEMLOCK}{more}"), remedy);
    }
    if limit.soft < need {
        let (more, remedy) = raised(machine, &user, &limit, &MEMLOCK, need);
        return Finding::warn(NAME, format!("{is}, and {those}; {OF_MEMLOCK}{more}"), remedy);
    }
    let pool = asked.slab_pool_bytes / asked.fan_out_threads.max(1);
    if asked.role.sends() && pool > limit.soft / REGISTERED_PART_OF_MEMLOCK {
        let want = pool.saturating_mul(REGISTERED_PART_OF_MEMLOCK);
        let (more, remedy) = raised(machine, &user, &limit, &MEMLOCK, want);
        let reason = format!(
            "{is}: enough to start; slabs ({} a thread) are registered where they are at most an eighth of it, and without \
             that zero-copy sends cost more; {OF_MEMLOCK}{more}",
            size(pool)
        );
        return Finding::warn(NAME, reason, remedy);
    }
    Finding::pass(NAME, format!("{is}; {those}; {OF_MEMLOCK}"))
}

/// Open files.
pub(crate) fn open_files(machine: &Machine) -> Finding {
    const NAME: &str = "open_files";
    let Some(limit) = Limit::read(machine.system, "Max open files") else {
        return Finding::warn(NAME, "/proc/self/limits cannot be read, or has no `Max open files`", "");
    };
    let (connections, user) = (machine.asked.connections_max, User::of(machine.system));
    let each = if machine.asked.role == Role::Host { 1 } else { DESCRIPTORS_PER_CONNECTION };
    let need = connections.saturating_mul(each).saturating_add(DESCRIPTORS_SPARE);
    let of = match connections {
        0 => "everything that is no connection needs".to_owned(),
        _ => format!("{connections} connections need"),
    };
    // Servers and hosts raise their own limit as far as it may be.
    let is = match limit.hard {
        u64::MAX => format!("{} may have any number of files open", user.name()),
        hard => format!("{} may have {hard} files open", user.name()),
    };
    if limit.hard < need {
        let (more, remedy) = raised(machine, &user, &limit, &NOFILE, need);
        return Finding::fail(NAME, format!("{is}, and {of} {need}; {OF_NOFILE}{more}"), remedy);
    }
    Finding::pass(NAME, format!("{is}; {of} {need}; {OF_NOFILE}"))
}

/// A limit, as the shell and `pam_limits` have it.
struct Kind {
    flag: &'static str,
    name: &'static str,
    /// Bytes, or whatever is counted, in a unit of the shell.
    unit: u64,
    /// What of it a login gets: not the soft one of files, which programs that use `select` have to stay below.
    of_login: &'static str,
}

const MEMLOCK: Kind = Kind { flag: "-l", name: "memlock", unit: 1024, of_login: "-" };
const NOFILE: Kind = Kind { flag: "-n", name: "nofile", unit: 1, of_login: "hard" };

/// What is to be said of how locked memory is made unlimited, and the command that does.
pub(crate) fn unlimited_memlock(machine: &Machine) -> (String, String) {
    let limit = Limit::read(machine.system, "Max locked memory").unwrap_or(Limit { soft: 0, hard: 0 });
    raised(machine, &User::of(machine.system), &limit, &MEMLOCK, u64::MAX)
}

/// What is to be said of how a limit is raised, and the command that does.
fn raised(machine: &Machine, user: &User, limit: &Limit, kind: &Kind, need: u64) -> (String, String) {
    let Kind { flag, name, unit, of_login } = kind;
    let word = if need == u64::MAX { "unlimited".to_owned() } else { need.div_ceil(*unit).to_string() };
    if need <= limit.hard {
        // The hard one stays, and nobody needs a right for that.
        return (String::new(), format!("ulimit -S {flag} {word}"));
    }
    // Nobody's limit on files is above this one.
    let most = machine.system.number("/proc/sys/fs/nr_open").and_then(|most| u64::try_from(most).ok());
    let first = match most {
        Some(most) if *name == NOFILE.name && need > most => format!("sysctl -w fs.nr_open={need} && "),
        _ => String::new(),
    };
    match user.number {
        _ if !user.is_bound() => (String::new(), format!("{first}ulimit {flag} {word}")),
        Some(0) | None => {
            let word = if need == u64::MAX { "-1".to_owned() } else { need.to_string() };
            let more = format!(
                "; it has no right to raise it (CAP_SYS_RESOURCE): a container is started with --ulimit {name}={word}"
            );
            (more, String::new())
        }
        // A shell of root raises its own limit alone, and whoever this is has to log in again for theirs.
        Some(number) => (
            "; the command gives it to the next login of that user".into(),
            format!(
                "{first}echo ':{number} {of_login} {name} {word}' > /etc/security/limits.d/61-twincast-{name}.conf"
            ),
        ),
    }
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
}
