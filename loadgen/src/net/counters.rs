//! What passed a process's interface.

use crate::control::InterfaceBytes;
use std::fs::read_to_string;
use std::net::{IpAddr, Ipv4Addr};

/// Bytes that have passed the interface by which this process reaches an address, since the interface is there,
/// whoever's they were: headers of Ethernet included, but once only for a batch of segments that the kernel hands down
/// at once. Where no route tells the interface, all of them together but the loopback interface.
#[must_use]
pub fn passed(address: IpAddr) -> InterfaceBytes {
    let table = read_to_string("/proc/self/net/dev").unwrap_or_default();
    if address.is_loopback() {
        return bytes_of(&table, |name| name == "lo");
    }
    let routes = read_to_string("/proc/self/net/route").unwrap_or_default();
    match address {
        IpAddr::V4(address) => match interface_to(&routes, address) {
            Some(interface) => bytes_of(&table, |name| name == interface),
            None => bytes_of(&table, |name| name != "lo"),
        },
        IpAddr::V6(_) => bytes_of(&table, |name| name != "lo"),
    }
}

/// Largest packet of the loopback interface; 0 where the kernel does not say.
#[must_use]
pub fn mtu_of_loopback() -> u64 {
    read_to_string("/sys/class/net/lo/mtu").ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Sums rows of `/proc/net/dev`.
fn bytes_of(table: &str, is_wanted: impl Fn(&str) -> bool) -> InterfaceBytes {
    let mut all = InterfaceBytes::default();
    for line in table.lines() {
        let Some((name, figures)) = line.split_once(':') else { continue };
        if !is_wanted(name.trim()) {
            continue;
        }
        // Eight columns of what was received, then those of what was sent; bytes are the first of each.
        let mut figures = figures.split_whitespace().map(|figure| figure.parse().unwrap_or(0));
        all.received += figures.next().unwrap_or(0);
        all.sent += figures.nth(7).unwrap_or(0);
    }
    all
}

/// The interface of the longest route to an address in `/proc/net/route`, whose numbers are in the machine's own
/// order, bytes as on the wire.
fn interface_to(routes: &str, address: Ipv4Addr) -> Option<&str> {
    let address = u32::from_ne_bytes(address.octets());
    let number = |field: Option<&&str>| u32::from_str_radix(field?, 16).ok();
    let matching = routes.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (destination, mask) = (number(fields.get(1))?, number(fields.get(7))?);
        (address & mask == destination).then_some((mask.count_ones(), fields[0]))
    });
    matching.max_by_key(|(bits, _)| *bits).map(|(_, interface)| interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "Inter-|   Receive    |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes ...\n    lo: 700 7 0 0 0 0 0 0 700 7 0 0 0 0 0 0\n  eth0: 100 1 0 0 0 0 0 0 2000 2 0 0 0 0 0 0\n  eth1:10 1 0 0 0 0 0 0 20 2 0 0 0 0 0 0\n";

    #[test]
    fn rows_of_the_interfaces_that_are_wanted_are_summed() {
        assert_eq!(bytes_of(TABLE, |name| name == "lo"), InterfaceBytes { sent: 700, received: 700 });
        assert_eq!(bytes_of(TABLE, |name| name != "lo"), InterfaceBytes { sent: 2_020, received: 110 });
        assert_eq!(bytes_of("nonsense", |_| true), InterfaceBytes::default());
    }

    #[test]
    fn the_longest_route_tells_the_interface() {
        let hex = |address: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(address));
        let row = |interface: &str, to: [u8; 4], mask: [u8; 4]| {
            format!("{interface}\t{}\t00000000\t0001\t0\t0\t0\t{}\t0\t0\t0\n", hex(to), hex(mask))
        };
        let routes = String::from("Iface\tDestination\n")
            + &row("eth0", [0, 0, 0, 0], [0, 0, 0, 0])
            + &row("eth1", [10, 77, 0, 0], [255, 255, 255, 0]);
        assert_eq!(interface_to(&routes, Ipv4Addr::new(10, 77, 0, 3)), Some("eth1"));
        assert_eq!(interface_to(&routes, Ipv4Addr::new(192, 0, 2, 1)), Some("eth0"));
        assert_eq!(interface_to("", Ipv4Addr::new(192, 0, 2, 1)), None);
        assert_eq!(interface_to("Iface\nbroken\n", Ipv4Addr::new(192, 0, 2, 1)), None);
    }

    #[test]
    fn this_machines_loopback_interface_is_found() {
        assert!(mtu_of_loopback() > 0);
        // Read at one instant: others use it, too.
        let InterfaceBytes { sent, received } = passed(Ipv4Addr::LOCALHOST.into());
        assert_eq!(sent, received);
    }
}
