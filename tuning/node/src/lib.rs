//! A node: the machine that a server or a load generator's host runs on, as far as throughput depends on it.
//!
//! [`System`] is where a machine is read: files below a root (tests have a folder of their own there) and the output of a
//! few programs. [`check`] reads one and says what keeps it from line rate: a [`Report`] of findings, each with its reason
//! and the command that mends it. Nothing here changes anything. `CHECKS.md` beside the crate's manifest has every finding:
//! what is read, when it warns or fails, and why.
//!
//! ```no_run
//! use twincast_node::{Asked, Role, System, check};
//!
//! let asked = Asked { interface: Some("eth1".into()), ..Asked::new(Role::Server) };
//! let report = check(&System::here(), &asked)?;
//! for finding in report.failures() {
//!     println!("{}: {}\n  {}", finding.name, finding.reason, finding.remedy);
//! }
//! # Ok::<(), twincast_node::CheckError>(())
//! ```

#![forbid(unsafe_code)]

mod affinity;
pub mod asked;
mod card;
mod clock;
mod conntrack;
mod cpu;
mod interface;
mod kernel;
pub mod limits;
mod link;
mod machine;
mod memory;
mod path;
mod process;
pub mod report;
pub mod system;
mod tcp;
mod text;
mod user;
mod xps;

pub use asked::{Asked, Role};
pub use interface::below;
pub use report::{Finding, Report, Verdict};
pub use system::System;

use machine::Machine;
use twincast_ring::{RingError, Support, support};

/// Why a machine cannot be checked: the caller's doing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The interface that was asked for by name is not there.
    #[error("there is no interface {name} here: there {}; name one of these", listed(.there))]
    NoSuchInterface {
        /// What was asked for.
        name: String,
        /// Those that are there.
        there: Vec<String>,
    },
    /// No interface has the address that was asked for.
    #[error("no interface here has the address {0}: name an address of this machine, or its interface")]
    NoSuchAddress(std::net::IpAddr),
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "is none at all".into(),
        [one] => format!("is {one} alone"),
        [rest @ .., last] => format!("are {} and {last}", rest.join(", ")),
    }
}

/// Reads the machine and says what keeps it from line rate.
///
/// # Errors
/// [`CheckError`]: the interface that was asked for is not there. What cannot be read is a finding.
pub fn check(system: &System, asked: &Asked) -> Result<Report, CheckError> {
    check_with(system, asked, &support())
}

/// The same of a machine whose kernel was probed already: its io_uring is all that no file and no program tells.
///
/// # Errors
/// As of [`check`].
pub fn check_with(
    system: &System,
    asked: &Asked,
    ring: &Result<Support, RingError>,
) -> Result<Report, CheckError> {
    let machine = Machine::new(system, asked)?;
    let findings = vec![
        kernel::kernel(&machine),
        kernel::io_uring(&machine, ring),
        kernel::operations(&machine, ring),
        process::memlock(&machine),
        process::open_files(&machine),
        memory::huge_pages(&machine),
        memory::transparent(&machine),
        cpu::governor(&machine),
        cpu::cores(&machine),
        cpu::smt(&machine),
        cpu::isolated(&machine),
        interface::interface(&machine),
        link::speed(&machine),
        link::mtu(&machine),
        path::path_mtu(&machine),
        card::rings(&machine),
        card::offloads(&machine),
        card::qdisc(&machine),
        affinity::interrupts(&machine),
        xps::xps(&machine),
        affinity::numa(&machine),
        tcp::buffers(&machine),
        tcp::congestion(&machine),
        clock::clock(&machine),
        conntrack::conntrack(&machine),
    ];
    let (link_bits_per_s, mtu_bytes) =
        machine.link().map_or((None, None), |interface| (interface.bits_per_s, interface.mtu));
    let interface = machine.interface.map(|interface| interface.name);
    Ok(Report { link_bits_per_s, mtu_bytes, ..Report::new(system, asked.role, interface, findings) })
}
