//! The link: its speed, and the size of its packets.

use crate::Finding;
use crate::interface::Interface;
use crate::limits::{FAST_BITS_PER_S, MTU_ETHERNET, MTU_JUMBO};
use crate::machine::{Machine, Said};
use crate::text::{quoted, rate};
use serde::Deserialize;

/// Kinds of interfaces that put packets into others, as the kernel names them.
const TUNNELS: [&str; 3] = ["vxlan", "geneve", "wireguard"];

/// Its speed.
pub(crate) fn speed(machine: &Machine) -> Finding {
    const NAME: &str = "link_speed";
    let interface = match machine.link() {
        Ok(interface) => interface,
        Err(why) => return Finding::absent(NAME, why),
    };
    let name = &interface.name;
    match (interface.bits_per_s, machine.asked.link_bits_per_s) {
        (None, None) => Finding::absent(NAME, unknown(interface)),
        (None, Some(asked)) => Finding::warn(
            NAME,
            format!(
                "{} is asked for, and {}: whether it is to be had, a run shows",
                rate(asked),
                unknown(interface)
            ),
            "",
        ),
        (Some(speed), Some(asked)) if speed < asked => Finding::fail(
            NAME,
            format!(
                "{name} has {}, and {} is asked for: another cable, port or interface",
                rate(speed),
                rate(asked)
            ),
            faster(machine, interface, asked / 1_000_000),
        ),
        (Some(speed), _) => Finding::pass(NAME, format!("{name} has {}", rate(speed))),
    }
}

/// Why there is no speed.
fn unknown(interface: &Interface) -> String {
    let Interface { name, card, .. } = interface;
    match (interface.is_virtual, card == name) {
        (true, true) => format!("{name} is a virtual link, which has no speed of its own"),
        (true, false) => format!("{card} below {name} is a virtual link, which has no speed of its own"),
        (false, _) => format!("the driver of {name} tells no speed"),
    }
}

/// The command that has the card agree on a speed that it has; empty where it has none such.
fn faster(machine: &Machine, interface: &Interface, mbit: u64) -> String {
    match machine.say("ethtool", &[&interface.card]) {
        Said::Text(text) if text.contains(&format!("{mbit}base")) => {
            format!("ethtool -s {} speed {mbit} autoneg on", interface.card_word())
        }
        Said::Text(_) | Said::Refused(_) | Said::Missing => String::new(),
    }
}

/// The size of packets.
pub(crate) fn mtu(machine: &Machine) -> Finding {
    const NAME: &str = "mtu";
    let interface = match machine.link() {
        Ok(interface) => interface,
        Err(why) => return Finding::absent(NAME, why),
    };
    let name = &interface.name;
    let Some(mtu) = interface.mtu else {
        return Finding::warn(NAME, format!("{} cannot be read", interface.file("mtu")), "");
    };
    let fast = machine.bits_per_s().filter(|speed| *speed >= FAST_BITS_PER_S);
    match fast {
        // A tunnel's header, or a provider's, has the rest: whoever raises this one alone loses packets, and the shell too.
        _ if mtu < MTU_ETHERNET => Finding::warn(
            NAME,
            format!(
                "packets of {name} have {mtu} bytes at the most, fewer than Ethernet's {MTU_ETHERNET}, as in a tunnel or a \
                 network of virtual machines: more headers and more work for each byte; it is raised by whoever runs that \
                 network"
            ),
            "",
        ),
        Some(speed) if mtu < MTU_JUMBO => {
            let (more, remedy) = raise(machine, interface);
            let reason = format!(
                "packets of {name} have {mtu} bytes at the most: at {} those of {MTU_JUMBO} save work and headers, where \
                 every machine and switch of the link takes them{more}",
                rate(speed)
            );
            Finding::warn(NAME, reason, remedy)
        }
        _ => Finding::pass(NAME, format!("packets of {name} have {mtu} bytes at the most")),
    }
}

/// What has jumbo frames carried, and what there is to say of it: an interface takes no more than the one below it, so the
/// lowest is raised first.
fn raise(machine: &Machine, interface: &Interface) -> (String, String) {
    let number = |layer: &str| machine.system.number(&format!("/sys/class/net/{layer}/mtu"));
    let kind = |layer: &str| {
        let text = machine.system.read(&format!("/sys/class/net/{layer}/uevent")).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("DEVTYPE=")).map(str::to_owned)
    };
    if let Some(kind) = interface.layers().filter_map(kind).find(|kind| TUNNELS.contains(&kind.as_str())) {
        return (
            format!("; {kind} has a header of its own, which what is below has to carry too"),
            String::new(),
        );
    }
    let mut commands = Vec::new();
    for layer in interface.layers() {
        if let Some(most) = mtu_most(machine, layer).filter(|most| *most < MTU_JUMBO) {
            return (format!("; {layer} takes {most} at the most"), String::new());
        }
        if number(layer).and_then(|mtu| u64::try_from(mtu).ok()).is_some_and(|mtu| mtu < MTU_JUMBO) {
            commands.push(format!("ip link set dev {} mtu {MTU_JUMBO}", quoted(layer)));
        }
    }
    (String::new(), commands.join(" && "))
}

#[derive(Deserialize)]
struct Link {
    max_mtu: Option<u64>,
}

/// The largest packet that its driver takes; none where it does not say.
fn mtu_most(machine: &Machine, layer: &str) -> Option<u64> {
    let Said::Text(text) = machine.say("ip", &["-d", "-j", "link", "show", "dev", layer]) else {
        return None;
    };
    let links: Vec<Link> = serde_json::from_str(text.trim()).ok()?;
    links.into_iter().find_map(|link| link.max_mtu).filter(|most| *most > 0)
}
