//! What can go wrong when an egress is set up. What a peer does is never an error: it is an `Event::Closed`.

use std::io;

/// Why an egress could not be started or take a connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// The operator's doing: a value of `EgressConfig` is out of its bounds. Nothing was started.
    #[error("{name} is {value}, and has to be {bounds}: change the configuration")]
    Config {
        /// The field of `EgressConfig`.
        name: &'static str,
        /// Its value.
        value: usize,
        /// What it may be.
        bounds: String,
    },
    /// The kernel's or its operator's doing: io_uring is missing or forbidden here. Nothing was started.
    #[error(
        "io_uring is not to be had ({0}): Linux 5.11 or later is needed; allow it with \
         `sysctl kernel.io_uring_disabled=0` and in the container's seccomp profile"
    )]
    Unavailable(#[source] io::Error),
    /// The kernel's doing: it has io_uring, but too old a one. Nothing was started.
    #[error("this kernel's io_uring lacks {0}: Linux 5.11 or later is needed")]
    TooOld(&'static str),
    /// The operator's doing: the ring itself, or with `registered = on` the slabs, do not fit under the memlock limit,
    /// which is counted per user and not per process. Nothing was started.
    #[error(
        "no memory can be locked for {what}, {needed_bytes} bytes ({error}): the memlock limit of this user is {}; \
         raise it (`ulimit -l {}`, `LimitMEMLOCK=` in a unit), or lock less (fewer egress.slabs, \
         egress.registered = auto)",
        memlock_text(*.limit_bytes), kib_with_room(*.needed_bytes)
    )]
    Memlock {
        /// The ring or the slabs.
        what: &'static str,
        /// Their bytes.
        needed_bytes: usize,
        /// The limit of this process's user; none where there is none.
        limit_bytes: Option<u64>,
        /// What the kernel said.
        error: io::Error,
    },
    /// The operator's doing: `zero_copy = on`, and this kernel has no zero-copy send. Nothing was started.
    #[error(
        "this kernel has no zero-copy send: Linux 6.0 or later is needed, or set egress.zero_copy to auto"
    )]
    NoZeroCopy,
    /// The kernel's doing: no memory, descriptors or the like. Nothing was started.
    #[error("{what} failed ({error}): raise the limit that it names (`ulimit -n`, `ulimit -v`, memory)")]
    Kernel {
        /// The call that failed.
        what: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
    /// The caller's doing: the core has as many connections as it was set up for. The others go on; the socket and
    /// the source come back.
    #[error(
        "this core has all of its {connections_max} connections: raise egress.connections_max or add a core"
    )]
    TooManyConnections {
        /// The limit of the configuration.
        connections_max: usize,
    },
}

fn memlock_text(limit_bytes: Option<u64>) -> String {
    limit_bytes.map_or_else(|| "none".to_owned(), |bytes| format!("{bytes} bytes"))
}

/// The pool in KiB, the unit of `ulimit -l`, and 8 MiB for whatever else the user locks.
fn kib_with_room(needed_bytes: usize) -> usize {
    needed_bytes.div_ceil(1024) + (8 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memlock_error_names_limit_and_remedy() {
        let error = RingError::Memlock {
            what: "the slabs",
            needed_bytes: 4 << 20,
            limit_bytes: Some(8 << 20),
            error: io::Error::from_raw_os_error(libc::ENOMEM),
        };
        let text = error.to_string();
        assert!(text.contains("8388608 bytes") && text.contains("ulimit -l 12288"), "{text}");
    }
}
