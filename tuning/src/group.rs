//! Who is planned for, and on what machines.

use serde::{Deserialize, Serialize};
use twincast_loadgen::limits::FRAME_BYTES;
use twincast_loadgen::net::{LinkRate, goodput_bits_per_s};
pub use twincast_loadgen::plan::Delivery;

/// The largest group that is planned for; a server takes fewer.
pub const MEMBERS_MAX: u32 = 1_000_000;
/// Client machines, unless the command line says otherwise.
pub const HOSTS_DEFAULT: u32 = 5;

/// Both ways out of a group.
pub const DELIVERIES: [Delivery; 2] = [Delivery::Broadcast, Delivery::Answer];

/// A group, and how its members are connected. Compact profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Members, n.
    pub members: u32,
    /// Broadcast: messages that each sends in a round. Answer: queries that each has. K.
    pub slots: u32,
    /// Client machines; member u is on machine `u mod hosts`.
    pub hosts: u32,
    /// Members on one connection (to each server), at most.
    pub users_per_connection: u32,
    /// Bytes of a broadcast frame; that of a record is fixed.
    pub frame_bytes: u32,
    /// Whether a broadcast group confirms its slots at the start of each epoch.
    pub confirm: bool,
}

impl Group {
    /// A group of this many with one slot, each member on a connection of its own.
    #[must_use]
    pub fn new(members: u32) -> Group {
        Group {
            members,
            slots: 1,
            hosts: HOSTS_DEFAULT,
            users_per_connection: 1,
            frame_bytes: FRAME_BYTES,
            confirm: true,
        }
    }

    /// Connections to each server.
    #[must_use]
    pub fn connections(&self) -> u64 {
        let (each, more) = (self.members / self.hosts, self.members % self.hosts);
        let of_host = |members: u32| u64::from(members.div_ceil(self.users_per_connection));
        u64::from(more) * of_host(each + 1) + u64::from(self.hosts - more) * of_host(each)
    }

    /// Members of the client machine that has the most.
    #[must_use]
    pub fn members_of_host(&self) -> u64 {
        u64::from(self.members.div_ceil(self.hosts))
    }

    /// Members on a connection, on the average of all.
    #[must_use]
    pub fn members_of_connection(&self) -> f64 {
        f64::from(self.members) / self.connections() as f64
    }

    /// Queries whose answers come over one connection, on the average of all: what a client verifies together.
    #[must_use]
    pub fn queries_of_connection(&self) -> f64 {
        f64::from(self.slots) * self.members_of_connection()
    }

    /// Queries of all members.
    #[must_use]
    pub fn queries(&self) -> u64 {
        u64::from(self.members) * u64::from(self.slots)
    }
}

/// What each server runs on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Cores of each server; where everything is on one machine, of that.
    pub cores: u32,
    /// Its memory.
    pub memory_bytes: u64,
    /// Its link, each way.
    pub link: LinkRate,
    /// Bytes of the link's largest packet.
    pub mtu: u32,
    /// Whether both servers and all clients share it, as in a local run.
    pub everything: bool,
}

impl Machine {
    /// Payload that TCP can carry on a link, bits per second; none where nobody says how fast it is.
    #[must_use]
    pub fn goodput_bits_per_s(&self) -> Option<f64> {
        match self.link {
            LinkRate::Rate(rate) => Some(goodput_bits_per_s(rate, self.mtu)),
            LinkRate::Off | LinkRate::Loopback => None,
        }
    }

    /// Seconds that so many bytes take on the link; none where its rate is not known.
    #[must_use]
    pub fn link_s(&self, bytes: u64) -> Option<f64> {
        self.goodput_bits_per_s().map(|bits| bytes as f64 * 8.0 / bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_spread_over_hosts_and_connections() {
        let group = |members, hosts, users_per_connection| Group {
            hosts,
            users_per_connection,
            ..Group::new(members)
        };
        assert_eq!(group(10, 2, 3).connections(), 4);
        assert_eq!(group(10, 3, 2).connections(), 2 + 2 + 2);
        assert_eq!(group(11, 3, 2).connections(), 2 + 2 + 2);
        assert_eq!(group(13, 3, 2).connections(), 3 + 2 + 2);
        assert_eq!(group(3, 5, 4).connections(), 3, "a host without members has no connection");
        assert_eq!(Group::new(1_000).connections(), 1_000);
        let three = Group { slots: 3, ..group(10, 2, 3) };
        assert!((three.queries_of_connection() - 7.5).abs() < 1e-12);
        assert_eq!((group(11, 3, 2).members_of_host(), group(2, 5, 2).members_of_host()), (4, 1));
    }

    #[test]
    fn a_link_carries_what_its_headers_leave() {
        let machine = |link, mtu| Machine { cores: 1, memory_bytes: 1, link, mtu, everything: false };
        let ten = machine(LinkRate::Rate(10_000_000_000), 1_500);
        // Section 10 of the protocol: 336 MB are 0.27 s of the raw rate.
        assert!((ten.link_s(336_000_000).unwrap() * 0.941_5 - 0.268_8).abs() < 1e-4);
        let jumbo = machine(LinkRate::Rate(10_000_000_000), 9_000);
        assert!(jumbo.link_s(1_000).unwrap() < ten.link_s(1_000).unwrap());
        assert_eq!(machine(LinkRate::Off, 1_500).link_s(1), None);
    }
}
