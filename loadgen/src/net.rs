//! The network between servers and hosts: what links a run asks for, and what they are made of.
//!
//! A local run's links ([`Links`]) are veth pairs between network namespaces and a bridge, shaped both ways; where the
//! machine does not let that be, the run goes over loopback and says why ([`Medium`]).

mod congestion;
mod counters;
mod links;
mod medium;
mod meter;
mod shape;
mod stale;
mod tools;

pub(crate) use congestion::of_this_namespace as congestion_control;
pub use counters::{mtu_of_loopback, passed};
pub use links::{End, Fallback, Links};
pub use medium::Medium;
pub use meter::{Meter, Sent, WireCounts};
pub use shape::{ETHERNET_BYTES, Shape, goodput_bits_per_s};
pub use stale::clean_up_stale;

use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::str::FromStr;

/// The link that a run has unless the command line has another.
pub const LINK_DEFAULT: LinkRate = LinkRate::Rate(10_000_000_000);
/// Smallest packet size of a link.
pub const MTU_MIN: u32 = 576;
/// Largest packet size of a link.
pub const MTU_MAX: u32 = 65_521;

/// The link of every server and host of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// How fast.
    pub rate: LinkRate,
    /// Bytes of the largest packet, IP header included.
    pub mtu: u32,
}

/// How fast a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum LinkRate {
    /// No links: processes over the loopback interface.
    Loopback,
    /// Links as fast as the machine makes them.
    Off,
    /// Bits per second on the wire, each way.
    Rate(u64),
}

impl fmt::Display for LinkRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkRate::Loopback => f.write_str("loopback"),
            LinkRate::Off => f.write_str("off"),
            LinkRate::Rate(rate) if rate.is_multiple_of(1_000_000_000) => {
                write!(f, "{}gbit", rate / 1_000_000_000)
            }
            LinkRate::Rate(rate) if rate.is_multiple_of(1_000_000) => write!(f, "{}mbit", rate / 1_000_000),
            LinkRate::Rate(rate) => write!(f, "{rate}bit"),
        }
    }
}

impl FromStr for LinkRate {
    type Err = String;

    fn from_str(text: &str) -> Result<LinkRate, String> {
        let remedy = "give a rate such as 1gbit, 2.5gbit or 250mbit (of the wire, each way, from 1mbit to 400gbit), off \
                      or loopback";
        let rate = match text {
            "loopback" => return Ok(LinkRate::Loopback),
            "off" => return Ok(LinkRate::Off),
            _ => [("gbit", 1e9), ("mbit", 1e6), ("bit", 1.0)].into_iter().find_map(|(unit, bits)| {
                let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
                Some(number * bits)
            }),
        };
        match rate {
            Some(rate) if (1e6..=4e11).contains(&rate) => Ok(LinkRate::Rate(rate.round() as u64)),
            _ => Err(remedy.into()),
        }
    }
}

impl TryFrom<String> for LinkRate {
    type Error = String;

    fn try_from(text: String) -> Result<LinkRate, String> {
        text.parse()
    }
}

impl From<LinkRate> for String {
    fn from(rate: LinkRate) -> String {
        rate.to_string()
    }
}

/// Puts the calling thread, and the threads that it will start, into a network namespace by its name.
///
/// # Errors
/// There is none of that name, or this process may not.
pub fn enter(namespace: &str) -> io::Result<()> {
    let file = std::fs::File::open(format!("/run/netns/{namespace}"))?;
    let kind = rustix::thread::LinkNameSpaceType::Network;
    Ok(rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(kind))?)
}
