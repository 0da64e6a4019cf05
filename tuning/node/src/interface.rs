//! Which interface carries shares, and whether it is up.

use crate::machine::Machine;
use crate::text::quoted;
use crate::{Asked, CheckError, Finding, Role, System};
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr};

/// An interface that is there.
#[derive(Clone, Debug)]
pub(crate) struct Interface {
    pub(crate) name: String,
    /// The one with the card, where this one is a VLAN or the like on top of it.
    pub(crate) card: String,
    /// Every interface below it, each one after those that are below itself; none where it is a card.
    pub(crate) below: Vec<String>,
    /// How it was come by, for a sentence.
    pub(crate) chosen: String,
    /// What its driver says; none where it says nothing, or where there is no device: what the drivers of virtual links
    /// call a speed limits nothing.
    pub(crate) bits_per_s: Option<u64>,
    /// Whether there is a device below it.
    pub(crate) is_virtual: bool,
    pub(crate) mtu: Option<u64>,
    /// Whether `/sys` shows it: it may be that of another network namespace.
    pub(crate) is_shown: bool,
}

impl Interface {
    /// The one that is asked for, if any is.
    pub(crate) fn find(system: &System, asked: &Asked) -> Result<Option<Interface>, CheckError> {
        let (name, chosen) = match (&asked.interface, asked.address) {
            (Some(name), _) => {
                let there = names(system);
                if !there.contains(name) {
                    return Err(CheckError::NoSuchInterface { name: name.clone(), there });
                }
                (name.clone(), "asked for by name".to_owned())
            }
            (None, Some(address)) => {
                let name = holder(system, address).ok_or(CheckError::NoSuchAddress(address))?;
                (name, format!("it has the address {address}"))
            }
            (None, None) if asked.role == Role::Everything => return Ok(None),
            (None, None) => match default_route(system) {
                Some(name) => (name, "it has the default route".to_owned()),
                None => return Ok(None),
            },
        };
        let file = |what: &str| system.number(&format!("/sys/class/net/{name}/{what}"));
        let below = below(system, &name);
        let card = below.first().unwrap_or(&name).clone();
        let is_virtual = !system.has(&format!("/sys/class/net/{card}/device"));
        let mbit = file("speed").filter(|mbit| *mbit > 0 && !is_virtual);
        let bits_per_s = mbit.map(|mbit| mbit.unsigned_abs().saturating_mul(1_000_000));
        let is_shown = system.has(&format!("/sys/class/net/{name}"));
        let mtu = file("mtu").and_then(|mtu| mtu.try_into().ok());
        Ok(Some(Interface { name, card, below, chosen, bits_per_s, is_virtual, mtu, is_shown }))
    }

    pub(crate) fn is_loopback(&self) -> bool {
        self.name == "lo"
    }

    /// A file of the interface in `/sys`.
    pub(crate) fn file(&self, what: &str) -> String {
        format!("/sys/class/net/{}/{what}", self.name)
    }

    /// A file of the card below it.
    pub(crate) fn card_file(&self, what: &str) -> String {
        format!("/sys/class/net/{}/{what}", self.card)
    }

    /// It and every interface below it, from the bottom up.
    pub(crate) fn layers(&self) -> impl Iterator<Item = &str> {
        self.below.iter().chain([&self.name]).map(String::as_str)
    }

    /// Its name in a command.
    pub(crate) fn word(&self) -> String {
        quoted(&self.name)
    }

    /// The card's name in a command.
    pub(crate) fn card_word(&self) -> String {
        quoted(&self.card)
    }
}

/// Whether it is up.
pub(crate) fn interface(machine: &Machine) -> Finding {
    const NAME: &str = "interface";
    let Some(interface) = &machine.interface else {
        return Finding::absent(
            NAME,
            if machine.asked.role == Role::Everything {
                "none was asked for (--interface IF): what is sent stays on this machine"
            } else {
                "none was asked for (--interface IF), and there is no default route"
            },
        );
    };
    let (name, chosen) = (&interface.name, &interface.chosen);
    if !interface.is_shown {
        return Finding::warn(
            NAME,
            format!(
                "{name} ({chosen}) is there, and /sys shows another network namespace: nothing of it can be read"
            ),
            "",
        );
    }
    let state = machine.system.read(&interface.file("operstate")).unwrap_or_else(|_| "unknown".into());
    match state.as_str() {
        "down" | "lowerlayerdown" if machine.system.number(&interface.file("carrier")) == Some(0) => {
            Finding::fail(
                NAME,
                format!("{name} ({chosen}) has no carrier: nothing is plugged in at its other end"),
                "",
            )
        }
        "down" | "lowerlayerdown" | "notpresent" => Finding::fail(
            NAME,
            format!("{name} ({chosen}) is {state}: nothing is sent over it"),
            format!("ip link set dev {} up", interface.word()),
        ),
        _ if interface.is_loopback() => {
            Finding::pass(NAME, format!("{name} ({chosen}): what is sent stays on this machine"))
        }
        state => {
            let on = if interface.card == *name { String::new() } else { format!(" on {}", interface.card) };
            let state = if state == "unknown" { "there; its driver tells no state" } else { state };
            Finding::pass(NAME, format!("{name}{on} ({chosen}) is {state}"))
        }
    }
}

/// Those of the network namespace that this process is in.
fn names(system: &System) -> Vec<String> {
    let of_process = system.read("/proc/net/dev").unwrap_or_default();
    let names = of_process.lines().filter_map(|line| line.rsplit_once(':'));
    let mut names: Vec<String> = names.map(|(name, _)| name.trim().to_owned()).collect();
    if names.is_empty() {
        names = system.names("/sys/class/net");
        // A file that the bonding driver has among the interfaces.
        names.retain(|name| name != "bonding_masters");
    }
    names.sort();
    names
}

/// Every interface below this one, each after those below itself: the first is the card, or one of several. None where it is
/// a card itself, or what it lies on is in another network namespace.
#[must_use]
pub fn below(system: &System, name: &str) -> Vec<String> {
    fn walk(system: &System, name: &str, depth: usize, found: &mut Vec<String>) {
        let entries = system.names(&format!("/sys/class/net/{name}"));
        for lower in entries.iter().filter_map(|entry| entry.strip_prefix("lower_")) {
            if depth > 0 && !found.iter().any(|known| known == lower) {
                walk(system, lower, depth - 1, found);
                found.push(lower.to_owned());
            }
        }
    }
    let mut found = Vec::new();
    // No stack of interfaces is higher; a bond of a bridge of a VLAN has three.
    walk(system, name, 8, &mut found);
    found
}

/// Older versions of `ip` print an empty object for each interface that does not have the address.
#[derive(Deserialize)]
struct Addressed {
    ifname: Option<String>,
}

/// The interface with this address: `ip` knows it; where that is not installed, the networks of `/proc` tell.
fn holder(system: &System, address: IpAddr) -> Option<String> {
    let words = ["-j", "address", "show", "to", &address.to_string()];
    // Nor do all versions know JSON.
    if let Ok(output) = system.program("ip", &words)
        && output.status.success()
        && let Ok(told) = serde_json::from_slice::<Vec<Addressed>>(&output.stdout)
    {
        return told.into_iter().find_map(|addressed| addressed.ifname);
    }
    match address {
        address if address.is_loopback() => Some("lo".into()),
        IpAddr::V4(address) => {
            let routes = routes(system);
            let near = routes.iter().filter(|route| route.gateway == 0 && route.mask != 0);
            let near = near.filter(|route| u32::from(address) & route.mask == route.destination);
            near.max_by_key(|route| route.mask).map(|route| route.interface.clone())
        }
        IpAddr::V6(address) => {
            let text = system.read("/proc/net/if_inet6").ok()?;
            let digits = format!("{:032x}", u128::from(address));
            let line = text.lines().find(|line| line.starts_with(&digits))?;
            line.split_whitespace().last().map(str::to_owned)
        }
    }
}

fn default_route(system: &System) -> Option<String> {
    let routes = routes(system);
    let defaults = routes.into_iter().filter(|route| route.destination == 0 && route.mask == 0);
    if let Some(route) = defaults.min_by_key(|route| route.metric) {
        return Some(route.interface);
    }
    let text = system.read("/proc/net/ipv6_route").ok()?;
    text.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [destination, "00", .., interface] = words[..] else { return None };
        let is_default = destination.bytes().all(|digit| digit == b'0') && interface != "lo";
        is_default.then(|| interface.to_owned())
    })
}

struct Route {
    interface: String,
    destination: u32,
    gateway: u32,
    metric: u64,
    mask: u32,
}

/// Those of IPv4, addresses as [`Ipv4Addr`] has them in a number.
fn routes(system: &System) -> Vec<Route> {
    // The kernel prints them as the machine has them in memory.
    let address = |word: &str| {
        let number = u32::from_str_radix(word, 16).ok()?;
        Some(u32::from(Ipv4Addr::from(number.to_ne_bytes())))
    };
    let text = system.read("/proc/net/route").unwrap_or_default();
    let route = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [interface, destination, gateway, _flags, _, _, metric, mask, ..] = words[..] else {
            return None;
        };
        Some(Route {
            interface: interface.to_owned(),
            destination: address(destination)?,
            gateway: address(gateway)?,
            metric: metric.parse().ok()?,
            mask: address(mask)?,
        })
    };
    text.lines().filter_map(route).collect()
}
