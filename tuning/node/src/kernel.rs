//! The kernel, and its io_uring by probe.

use crate::Finding;
use crate::limits::{KERNEL_MIN, KERNEL_WANTED};
use crate::machine::Machine;
use crate::process::unlimited_memlock;
use crate::user::User;
use rustix::io::Errno;
use twincast_ring::{OPERATIONS_NEEDED, RingError, Support};

/// Its version.
pub(crate) fn kernel(machine: &Machine) -> Finding {
    const NAME: &str = "kernel";
    let told = machine.system.read("/proc/sys/kernel/osrelease").ok();
    let Some((version, release)) = told.as_deref().and_then(|text| Some((version(text)?, text))) else {
        return Finding::warn(NAME, "/proc/sys/kernel/osrelease cannot be read, or is no version", "");
    };
    // Other distributions keep a kernel's version for as long as the release lives: a newer release is what mends it.
    let newer = || {
        if machine.is_like(&["ubuntu"]) {
            "apt-get update && apt-get install -y linux-generic-hwe-$(. /etc/os-release; echo $VERSION_ID)"
        } else if machine.is_like(&["fedora"]) && !machine.is_like(&["rhel", "centos"]) {
            "dnf upgrade -y kernel"
        } else {
            ""
        }
    };
    let how = match newer() {
        "" => "a newer release of the distribution has one",
        _ => "the newer one runs from the next boot on",
    };
    let text = |(major, minor)| format!("{major}.{minor}");
    if version < KERNEL_MIN {
        let least = text(KERNEL_MIN);
        return Finding::fail(NAME, format!("Linux {release}: nothing runs before {least}; {how}"), newer());
    }
    if version < KERNEL_WANTED {
        let reason = format!(
            "Linux {release}: before {} sends cost more, for want of zero-copy and of task work that waits to be asked; {how}",
            text(KERNEL_WANTED)
        );
        return Finding::warn(NAME, reason, newer());
    }
    Finding::pass(NAME, format!("Linux {release}"))
}

/// Whether there is one for this process.
pub(crate) fn io_uring(machine: &Machine, ring: &Result<Support, RingError>) -> Finding {
    const NAME: &str = "io_uring";
    let disabled = machine.system.number("/proc/sys/kernel/io_uring_disabled");
    let error = match (ring, disabled) {
        (Ok(_), Some(number @ 1..)) => {
            let group = machine.system.number("/proc/sys/kernel/io_uring_group").filter(|group| *group >= 0);
            let group = group.map_or_else(|| "none is set".into(), |group| group.to_string());
            let reason = format!(
                "{} made a ring, and kernel.io_uring_disabled is {number}: a service makes none unless its user is in the \
                 group of kernel.io_uring_group ({group}) or has CAP_SYS_ADMIN",
                User::of(machine.system).name()
            );
            return Finding::warn(NAME, reason, "sysctl -w kernel.io_uring_disabled=0");
        }
        (Ok(_), _) => return Finding::pass(NAME, format!("{} made a ring", User::of(machine.system).name())),
        (Err(error), _) => error,
    };
    let (more, memlock) = unlimited_memlock(machine);
    let (reason, remedy) = match error {
        RingError::Unavailable(error) if error.raw_os_error() == Some(Errno::NOSYS.raw_os_error()) => (
            "this kernel was built without io_uring, or a container's seccomp profile hides it (ENOSYS): run outside of \
             the container, or with --security-opt seccomp=unconfined"
                .into(),
            "",
        ),
        RingError::Unavailable(error) => match disabled {
            Some(number @ 1..) => {
                (format!("no ring can be made ({error}): kernel.io_uring_disabled is {number}"), "sysctl -w kernel.io_uring_disabled=0")
            }
            _ => (
                format!(
                    "no ring can be made ({error}), and kernel.io_uring_disabled does not say so: a seccomp profile \
                     or a security module forbids it; run outside of the container, or with --security-opt \
                     seccomp=unconfined"
                ),
                "",
            ),
        },
        RingError::Memlock { limit_bytes, .. } => {
            let limit = limit_bytes.map_or_else(|| "none".into(), crate::text::size);
            (
                format!(
                    "the queues of a ring cannot be locked in memory: this user's limit is {limit}, and used up{more}"
                ),
                memlock.as_str(),
            )
        }
        error => (error.to_string(), ""),
    };
    Finding::fail(NAME, reason, remedy)
}

/// What it can do.
pub(crate) fn operations(machine: &Machine, ring: &Result<Support, RingError>) -> Finding {
    const NAME: &str = "io_uring_operations";
    let needed = OPERATIONS_NEEDED.join(", ");
    let support = match ring {
        Err(RingError::TooOld(what)) => {
            return Finding::fail(
                NAME,
                format!("this kernel's io_uring lacks {what}, without which nothing runs"),
                "",
            );
        }
        Err(_) => return Finding::absent(NAME, "there is no ring to ask"),
        Ok(support) => support,
    };
    let mut lacks: Vec<String> = support.setup_lacks.iter().map(|what| (*what).to_owned()).collect();
    if !support.zero_copy {
        lacks.push("SEND_ZC (Linux 6.0)".into());
    }
    let mut remedy = String::new();
    if let Some(error) = &support.register_refused {
        let more;
        (more, remedy) = unlimited_memlock(machine);
        lacks.push(format!("registered buffers ({error}){more}"));
    }
    if lacks.is_empty() {
        return Finding::pass(
            NAME,
            format!("{needed}, SEND_ZC, registered buffers, a single issuer with deferred task work"),
        );
    }
    let reason = format!("there are {needed}; sends cost more without {}", lacks.join(", and without "));
    Finding::warn(NAME, reason, remedy)
}

/// `6.1` of `6.1.0-18-amd64`.
fn version(release: &str) -> Option<(u64, u64)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
