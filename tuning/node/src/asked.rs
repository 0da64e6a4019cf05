//! What a machine is checked for.

use crate::limits::{CONNECTIONS_DEFAULT, SLAB_POOL_BYTES_DEFAULT};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What the machine is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// One of the two servers.
    Server,
    /// A client host of the load generator.
    Host,
    /// Everything on one machine, as in a local run.
    Everything,
}

impl Role {
    /// Whether it sends what fills a link.
    pub(crate) fn sends(self) -> bool {
        self != Role::Host
    }

    /// Whether it receives what fills a link.
    pub(crate) fn receives(self) -> bool {
        self != Role::Server
    }
}

/// What a machine is checked for. [`Asked::new`] has what a server and a load generator do unless told otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What it is for.
    pub role: Role,
    /// The interface that carries shares; none: looked up by `address`, else that of the default route, else there is
    /// none. Where everything is on one machine there is none unless asked for.
    pub interface: Option<String>,
    /// An address of this machine on that interface.
    pub address: Option<IpAddr>,
    /// Machines to which packets of the interface's size have to get in one piece.
    pub peers: Vec<IpAddr>,
    /// Bits per second that the link should have; none: whatever it has.
    pub link_bits_per_s: Option<u64>,
    /// Executors of glommio that this machine's user has: a server's fronts, a host's one.
    pub executors: u64,
    /// Fan-out threads, of all servers on this machine.
    pub fan_out_threads: u64,
    /// Cores that fan-out threads are pinned to; empty: not pinned, or not known.
    pub fan_out_cores: Vec<usize>,
    /// Bytes of the slab pools of all fan-out threads together.
    pub slab_pool_bytes: u64,
    /// Connections that a process has at the most.
    pub connections_max: u64,
    /// Bytes asked for as a socket's send buffer; 0: the kernel's own choice.
    pub send_buffer_bytes: u64,
}

impl Asked {
    /// What servers and hosts do with their defaults, on whichever interface there is.
    #[must_use]
    pub fn new(role: Role) -> Asked {
        // Everything on one machine is two servers and a host at the least.
        let (executors, fan_out_threads, connections_max) = match role {
            Role::Server => (1, 1, CONNECTIONS_DEFAULT),
            Role::Host => (1, 0, 0),
            Role::Everything => (3, 2, CONNECTIONS_DEFAULT),
        };
        Asked {
            role,
            interface: None,
            address: None,
            peers: Vec::new(),
            link_bits_per_s: None,
            executors,
            fan_out_threads,
            fan_out_cores: Vec::new(),
            slab_pool_bytes: fan_out_threads * SLAB_POOL_BYTES_DEFAULT,
            connections_max,
            send_buffer_bytes: 0,
        }
    }
}
