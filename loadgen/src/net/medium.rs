//! What the processes of a run are joined by, and what a report says of it.

use super::{Link, LinkRate, Links, Shape};

/// What joins servers and hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Medium {
    /// The loopback interface: because it was asked for, or because links could not be had, and why.
    Loopback(Option<String>),
    /// Network namespaces; none: links as fast as the machine makes them.
    Namespaces(Option<Shape>),
    /// The network between machines. The plan's rate is what their links are said to have.
    Machines,
}

impl Medium {
    /// Of links that were laid.
    #[must_use]
    pub fn of(links: &Links) -> Medium {
        Medium::Namespaces(links.shape)
    }

    /// Bits per second of every server's link, if it has a rate that something holds.
    #[must_use]
    pub fn rate_bits_per_s(&self, link: &Link) -> Option<u64> {
        match (self, link.rate) {
            (Medium::Namespaces(shape), _) => shape.map(|shape| shape.rate_bits_per_s),
            (Medium::Machines, LinkRate::Rate(rate)) => Some(rate),
            _ => None,
        }
    }

    /// How hosts were made, for `environment.hosts`.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            Medium::Loopback(None) => "processes on loopback".into(),
            Medium::Loopback(Some(why)) => format!("processes on loopback; links were not shaped: {why}"),
            Medium::Namespaces(_) => "processes in network namespaces".into(),
            Medium::Machines => "processes of other machines".into(),
        }
    }

    /// Largest packet of the interfaces between servers and hosts.
    #[must_use]
    pub fn mtu(&self, link: &Link) -> u64 {
        match self {
            Medium::Loopback(_) => super::mtu_of_loopback(),
            Medium::Namespaces(_) | Medium::Machines => link.mtu.into(),
        }
    }
}
