//! Who has connected and not said who they are: how many of one address, and how much they send.
//!
//! A stranger costs a server memory and the work of a handshake before it has shown anything. What one address may have
//! of that is bounded, so that it takes nothing from others. An address is an IPv4 address or, since one subscriber has
//! all of it, the first half of an IPv6 address.

use crate::config::Limits;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Addresses that are remembered before those of whom nothing is left to know are forgotten.
const ADDRESSES_KEPT: usize = 4_096;

/// The strangers of all addresses. Taken by the accepting thread and by executors, for each connection a few times and
/// never again once it has said who it is.
#[derive(Debug)]
pub struct Strangers {
    connections_max: u32,
    bytes_per_second_max: u64,
    clock: Instant,
    addresses: Mutex<HashMap<u64, Address>>,
}

/// One connection that has not said who it is, until this is dropped.
#[derive(Debug)]
pub struct Stranger {
    strangers: Arc<Strangers>,
    address: u64,
}

#[derive(Debug, Default)]
struct Address {
    connections: u32,
    /// What came in this second.
    second: u64,
    bytes: u64,
}

impl Strangers {
    /// Nobody yet.
    #[must_use]
    pub fn new(limits: &Limits) -> Arc<Strangers> {
        Arc::new(Strangers {
            connections_max: limits.strangers_per_address_max,
            bytes_per_second_max: limits.stranger_bytes_per_second_max,
            clock: Instant::now(),
            addresses: Mutex::default(),
        })
    }

    /// A connection came. None: its address has as many strangers as it may, or they have sent what they may for now.
    #[must_use]
    pub fn enter(self: &Arc<Strangers>, ip: IpAddr) -> Option<Stranger> {
        self.enter_at(ip, self.now())
    }

    fn enter_at(self: &Arc<Strangers>, ip: IpAddr, second: u64) -> Option<Stranger> {
        let address = key(ip);
        let mut addresses = self.lock();
        if addresses.len() >= ADDRESSES_KEPT {
            addresses.retain(|_, address| address.connections > 0 || address.second == second);
        }
        let known = addresses.entry(address).or_default();
        let sent = if known.second == second { known.bytes } else { 0 };
        if known.connections >= self.connections_max || sent > self.bytes_per_second_max {
            return None;
        }
        known.connections += 1;
        Some(Stranger { strangers: self.clone(), address })
    }

    fn now(&self) -> u64 {
        self.clock.elapsed().as_secs()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Address>> {
        // Counts are whole after every statement: nothing that panics is called while they are held.
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stranger {
    /// It has sent so many bytes. Returns whether its address may still send.
    #[must_use]
    pub fn sent(&self, bytes: usize) -> bool {
        self.sent_at(bytes, self.strangers.now())
    }

    fn sent_at(&self, bytes: usize, second: u64) -> bool {
        let mut addresses = self.strangers.lock();
        let known = addresses.entry(self.address).or_default();
        if known.second != second {
            (known.second, known.bytes) = (second, 0);
        }
        known.bytes += bytes as u64;
        known.bytes <= self.strangers.bytes_per_second_max
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        if let Some(known) = self.strangers.lock().get_mut(&self.address) {
            known.connections = known.connections.saturating_sub(1);
        }
    }
}

/// What tells two addresses apart.
fn key(ip: IpAddr) -> u64 {
    match ip.to_canonical() {
        // No address of the global space begins with 32 zero bits, as these do.
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strangers(connections: u32, bytes: u64) -> Arc<Strangers> {
        Strangers::new(&Limits {
            strangers_per_address_max: connections,
            stranger_bytes_per_second_max: bytes,
            ..Limits::default()
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_strangers_and_others_are_not_touched() {
        let strangers = strangers(2, 100);
        let here = ip("10.0.0.1");
        let first = strangers.enter(here).unwrap();
        let _second = strangers.enter(ip("::ffff:10.0.0.1")).unwrap();
        assert!(strangers.enter(here).is_none());
        assert!(strangers.enter(ip("10.0.0.2")).is_some());
        drop(first);
        let _third = strangers.enter(here).unwrap();
        assert!(strangers.enter(here).is_none());
    }

    #[test]
    fn one_subscriber_is_one_address_of_ipv6() {
        let strangers = strangers(1, 100);
        let _one = strangers.enter(ip("2001:db8:0:1::1")).unwrap();
        assert!(strangers.enter(ip("2001:db8:0:1:ffff::2")).is_none());
        assert!(strangers.enter(ip("2001:db8:0:2::1")).is_some());
    }

    #[test]
    fn the_bytes_of_an_address_are_counted_over_its_connections_for_a_second() {
        let strangers = strangers(3, 100);
        let here = ip("10.0.0.1");
        let (one, two) = (strangers.enter_at(here, 7).unwrap(), strangers.enter_at(here, 7).unwrap());
        assert!(one.sent_at(60, 7) && two.sent_at(40, 7));
        assert!(!one.sent_at(1, 7));
        assert!(strangers.enter_at(here, 7).is_none());
        let other = strangers.enter_at(ip("10.0.0.2"), 7).unwrap();
        assert!(other.sent_at(100, 7));
        assert!(two.sent_at(100, 8));
        assert!(strangers.enter_at(here, 9).is_some());
    }

    #[test]
    fn addresses_that_have_gone_are_forgotten() {
        let strangers = strangers(1, 100);
        let stays = strangers.enter_at(ip("10.1.0.0"), 1).unwrap();
        for number in 0..3 * ADDRESSES_KEPT as u32 {
            let gone = strangers.enter_at(IpAddr::from((0x0b00_0000 + number).to_be_bytes()), 2);
            assert!(gone.is_some());
        }
        assert!(strangers.lock().len() <= ADDRESSES_KEPT + 1);
        assert!(strangers.enter_at(ip("10.1.0.0"), 3).is_none());
        drop(stays);
        assert!(strangers.enter_at(ip("10.1.0.0"), 3).is_some());
    }
}
