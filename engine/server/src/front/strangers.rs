//! Who has connected and not said who they are: how many of one address, how often they come, and how much they send.
//!
//! A stranger costs a server memory and the work of a handshake before it has shown anything. What one address may have
//! of that is bounded, so that it takes nothing from others: memory by the connections at a time, handshakes by those that
//! begin in a second, what is read by the bytes. An address is an IPv4 address or, since one subscriber has all of it, the
//! first half of an IPv6 address.

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
    connections_per_second_max: u32,
    bytes_per_second_max: u64,
    clock: Instant,
    addresses: Mutex<Addresses>,
}

#[derive(Debug, Default)]
struct Addresses {
    known: HashMap<u64, Address>,
    /// When those of whom nothing is left to know were forgotten last.
    swept: u64,
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
    /// The last second in which something came, and what came in it.
    second: u64,
    came: u32,
    bytes: u64,
}

impl Strangers {
    /// Nobody yet.
    #[must_use]
    pub fn new(limits: &Limits) -> Arc<Strangers> {
        Arc::new(Strangers {
            connections_max: limits.strangers_per_address_max,
            connections_per_second_max: limits.stranger_connections_per_second_max,
            bytes_per_second_max: limits.stranger_bytes_per_second_max,
            clock: Instant::now(),
            addresses: Mutex::default(),
        })
    }

    /// A connection came.
    ///
    /// # Errors
    /// Which limit turns it away, by its key in the configuration: its address has as many strangers as it may, or as many
    /// of them have come in this second, or they have sent what they may in it. It does not count as one that came.
    pub fn enter(self: &Arc<Strangers>, ip: IpAddr) -> Result<Stranger, &'static str> {
        self.enter_at(ip, self.now())
    }

    fn enter_at(self: &Arc<Strangers>, ip: IpAddr, second: u64) -> Result<Stranger, &'static str> {
        let address = key(ip);
        let mut addresses = self.lock();
        addresses.sweep(second);
        let known = addresses.known.entry(address).or_default();
        known.turn(second);
        if known.connections >= self.connections_max {
            return Err("limits.strangers_per_address_max");
        }
        if known.came >= self.connections_per_second_max {
            return Err("limits.stranger_connections_per_second_max");
        }
        if known.bytes > self.bytes_per_second_max {
            return Err("limits.stranger_bytes_per_second_max");
        }
        known.connections += 1;
        known.came += 1;
        Ok(Stranger { strangers: self.clone(), address })
    }

    fn now(&self) -> u64 {
        self.clock.elapsed().as_secs()
    }

    fn lock(&self) -> MutexGuard<'_, Addresses> {
        // Counts are whole after every statement: nothing that panics is called while they are held.
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Addresses {
    /// Forgets addresses of whom nothing is left to know, where there are many: once a second, for all are looked at.
    fn sweep(&mut self, second: u64) {
        if self.known.len() >= ADDRESSES_KEPT && self.swept < second {
            self.swept = second;
            self.known.retain(|_, address| address.connections > 0 || address.second >= second);
        }
    }
}

impl Address {
    /// What came in an earlier second counts no more. The threads that ask have read the clock before they waited for
    /// each other: a second that is over does not begin again.
    fn turn(&mut self, second: u64) {
        if self.second < second {
            (self.second, self.came, self.bytes) = (second, 0, 0);
        }
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
        let known = addresses.known.entry(self.address).or_default();
        known.turn(second);
        known.bytes += bytes as u64;
        known.bytes <= self.strangers.bytes_per_second_max
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        if let Some(known) = self.strangers.lock().known.get_mut(&self.address) {
            known.connections = known.connections.saturating_sub(1);
        }
    }
}

/// What tells two addresses apart.
pub(super) fn key(ip: IpAddr) -> u64 {
    match ip.to_canonical() {
        // No address of the global space begins with 32 zero bits, as these do.
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECTIONS: &str = "limits.strangers_per_address_max";
    const PER_SECOND: &str = "limits.stranger_connections_per_second_max";
    const BYTES: &str = "limits.stranger_bytes_per_second_max";

    fn strangers(connections: u32, bytes: u64) -> Arc<Strangers> {
        Strangers::new(&Limits {
            strangers_per_address_max: connections,
            stranger_bytes_per_second_max: bytes,
            ..Limits::default()
        })
    }

    /// Which limit turns a connection away.
    fn refused(entered: Result<Stranger, &'static str>) -> &'static str {
        entered.expect_err("a limit is reached")
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
        assert_eq!(refused(strangers.enter(here)), CONNECTIONS);
        assert!(strangers.enter(ip("10.0.0.2")).is_ok());
        drop(first);
        let _third = strangers.enter(here).unwrap();
        assert_eq!(refused(strangers.enter(here)), CONNECTIONS);
    }

    #[test]
    fn an_address_comes_so_often_in_a_second_and_others_are_not_touched() {
        let strangers = Strangers::new(&Limits {
            strangers_per_address_max: 2,
            stranger_connections_per_second_max: 3,
            ..Limits::default()
        });
        let here = ip("10.0.0.1");
        for second in [0, 1, 2, 9] {
            // Each goes before the next one comes, or says who it is.
            for _ in 0..3 {
                assert!(strangers.enter_at(here, second).is_ok(), "second {second}");
            }
            // However often it tries in between.
            for _ in 0..5 {
                assert_eq!(refused(strangers.enter_at(here, second)), PER_SECOND);
            }
            assert!(strangers.enter_at(ip("10.0.0.2"), second).is_ok());
        }
        // A thread that read the clock before the others did gives nobody a second time what is used up.
        assert_eq!(refused(strangers.enter_at(here, 8)), PER_SECOND);
        // One that finds no room has not come.
        let [_one, two] = [0, 1].map(|_| strangers.enter_at(here, 10).unwrap());
        assert_eq!(refused(strangers.enter_at(here, 10)), CONNECTIONS);
        drop(two);
        assert!(strangers.enter_at(here, 10).is_ok());
        assert_eq!(refused(strangers.enter_at(here, 10)), PER_SECOND);
    }

    /// What they send in a second counts from its beginning, whoever else comes in it.
    #[test]
    fn who_comes_does_not_take_back_what_was_sent() {
        let strangers = strangers(3, 100);
        let here = ip("10.0.0.1");
        let one = strangers.enter_at(here, 7).unwrap();
        assert!(one.sent_at(100, 7));
        let two = strangers.enter_at(here, 7).unwrap();
        assert!(!two.sent_at(1, 7));
    }

    #[test]
    fn one_subscriber_is_one_address_of_ipv6() {
        let strangers = strangers(1, 100);
        let _one = strangers.enter(ip("2001:db8:0:1::1")).unwrap();
        assert!(strangers.enter(ip("2001:db8:0:1:ffff::2")).is_err());
        assert!(strangers.enter(ip("2001:db8:0:2::1")).is_ok());
    }

    #[test]
    fn the_bytes_of_an_address_are_counted_over_its_connections_for_a_second() {
        let strangers = strangers(3, 100);
        let here = ip("10.0.0.1");
        let (one, two) = (strangers.enter_at(here, 7).unwrap(), strangers.enter_at(here, 7).unwrap());
        assert!(one.sent_at(60, 7) && two.sent_at(40, 7));
        assert!(!one.sent_at(1, 7));
        assert_eq!(refused(strangers.enter_at(here, 7)), BYTES);
        let other = strangers.enter_at(ip("10.0.0.2"), 7).unwrap();
        assert!(other.sent_at(100, 7));
        assert!(two.sent_at(100, 8));
        assert!(strangers.enter_at(here, 9).is_ok());
    }

    #[test]
    fn addresses_that_have_gone_are_forgotten() {
        let strangers = strangers(1, 100);
        let stays = strangers.enter_at(ip("10.1.0.0"), 1).unwrap();
        let spread = 100;
        for number in 0..3 * ADDRESSES_KEPT as u32 {
            let from = IpAddr::from((0x0b00_0000 + number).to_be_bytes());
            assert!(strangers.enter_at(from, 2 + u64::from(number / spread)).is_ok());
        }
        // One that stays, and what came in the last second.
        assert!(strangers.lock().known.len() <= ADDRESSES_KEPT + 1 + spread as usize);
        let later = 3 * ADDRESSES_KEPT as u64;
        assert_eq!(refused(strangers.enter_at(ip("10.1.0.0"), later)), CONNECTIONS);
        drop(stays);
        assert!(strangers.enter_at(ip("10.1.0.0"), later).is_ok());
    }

    /// However many addresses there are, none begins anew within a second.
    #[test]
    fn addresses_that_come_in_a_second_are_remembered_for_it() {
        let strangers =
            Strangers::new(&Limits { stranger_connections_per_second_max: 1, ..Limits::default() });
        for expected in [2 * ADDRESSES_KEPT, 0] {
            let entered = (0..2 * ADDRESSES_KEPT as u32).filter(|number| {
                let from = IpAddr::from((0x0b00_0000 + number).to_be_bytes());
                strangers.enter_at(from, 5).is_ok()
            });
            assert_eq!(entered.count(), expected);
        }
        assert_eq!(refused(strangers.enter_at(ip("11.0.0.0"), 5)), PER_SECOND);
        assert!(strangers.enter_at(ip("11.0.0.0"), 6).is_ok());
        assert_eq!(strangers.lock().known.len(), 1);
    }
}
