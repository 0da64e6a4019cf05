//! The link: its speed, and the size of its packets.

use crate::Finding;
use crate::limits::{FAST_BITS_PER_S, MTU_ETHERNET, MTU_FALLBACKS, MTU_JUMBO};
use crate::machine::{Machine, Said};
use crate::text::{count, rate};
use std::net::IpAddr;

/// Its speed.
pub(crate) fn speed(machine: &Machine) -> Finding {
    const NAME: &str = "link_speed";
    let interface = match machine.link() {
        Ok(interface) => interface,
        Err(why) => return Finding::absent(NAME, why),
    };
    let name = &interface.name;
    match (interface.bits_per_s, machine.asked.link_bits_per_s) {
        (None, None) => Finding::absent(
            NAME,
            format!("the driver of {name} tells no speed, as those of virtual links do not"),
        ),
        (None, Some(asked)) => Finding::warn(
            NAME,
            format!(
                "{} is asked for, and the driver of {name} tells no speed: whether it is to be had, a run shows",
                rate(asked)
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
            format!("ethtool -s {} speed {} autoneg on", interface.card_word(), asked / 1_000_000),
        ),
        (Some(speed), _) => Finding::pass(NAME, format!("{name} has {}", rate(speed))),
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
    let set = |mtu: u64| format!("ip link set dev {} mtu {mtu}", interface.word());
    let fast = machine.bits_per_s().filter(|speed| *speed >= FAST_BITS_PER_S);
    match fast {
        _ if mtu < MTU_ETHERNET => Finding::warn(
            NAME,
            format!(
                "packets of {name} have {mtu} bytes at the most, fewer than Ethernet's {MTU_ETHERNET}: more headers and more \
                 work for each byte; raise it where all of the link takes it"
            ),
            set(MTU_ETHERNET),
        ),
        Some(speed) if mtu < MTU_JUMBO => Finding::warn(
            NAME,
            format!(
                "packets of {name} have {mtu} bytes at the most: at {} those of {MTU_JUMBO} save work and headers, where \
                 every machine and switch of the link takes them",
                rate(speed)
            ),
            set(MTU_JUMBO),
        ),
        _ => Finding::pass(NAME, format!("packets of {name} have {mtu} bytes at the most")),
    }
}

/// What became of one peer.
enum Path {
    Through,
    /// The size that gets through instead, if any tried did.
    Smaller(Option<u64>),
    Silent,
    NoPing(String),
}

/// Whether packets of that size get to the peers in one piece.
pub(crate) fn path_mtu(machine: &Machine) -> Finding {
    const NAME: &str = "path_mtu";
    let interface = match machine.link() {
        Ok(interface) => interface,
        Err(why) => return Finding::absent(NAME, why),
    };
    let peers = &machine.asked.peers;
    if peers.is_empty() {
        return Finding::absent(
            NAME,
            "no peer was named (--peer ADDRESS) to send packets of the interface's size to",
        );
    }
    let Some(mtu) = interface.mtu else {
        return Finding::warn(NAME, format!("{} cannot be read", interface.file("mtu")), "");
    };
    // All at a time: one that does not answer takes seconds.
    let paths: Vec<Path> = std::thread::scope(|scope| {
        let asked: Vec<_> = peers.iter().map(|peer| scope.spawn(move || path(machine, *peer, mtu))).collect();
        asked.into_iter().map(|thread| thread.join().expect("asking panics nowhere")).collect()
    });
    let of = |which: fn(&Path) -> bool| {
        let told = peers.iter().zip(&paths).filter(|(_, path)| which(path));
        told.map(|(peer, _)| peer.to_string()).collect::<Vec<_>>().join(", ")
    };
    let broken = of(|path| matches!(path, Path::Smaller(_)));
    if !broken.is_empty() {
        let passes =
            paths.iter().filter_map(|path| if let Path::Smaller(size) = path { Some(*size) } else { None });
        let passes = passes.min().flatten();
        let told = passes.map_or_else(String::new, |size| format!(", and those of {size} do"));
        let reason = format!(
            "packets of {mtu} bytes do not get through to {broken}{told}: connections there hang or crawl; make the MTU of \
             both ends and all between them the same"
        );
        let remedy = passes
            .map_or_else(String::new, |size| format!("ip link set dev {} mtu {size}", interface.word()));
        return Finding::fail(NAME, reason, remedy);
    }
    if let Some(Path::NoPing(why)) = paths.iter().find(|path| matches!(path, Path::NoPing(_))) {
        let remedy = if why.contains("installed") {
            machine.install("iputils-ping", "iputils")
        } else {
            String::new()
        };
        return Finding::warn(NAME, format!("not looked at: {why}"), remedy);
    }
    let silent = of(|path| matches!(path, Path::Silent));
    if !silent.is_empty() {
        return Finding::warn(
            NAME,
            format!("{silent}: no answer to ping, of any size: down, or behind a firewall"),
            "",
        );
    }
    let number = count(peers.len() as u64, "peer");
    Finding::pass(NAME, format!("packets of {mtu} bytes get through to {number}: {}", of(|_| true)))
}

fn path(machine: &Machine, peer: IpAddr, mtu: u64) -> Path {
    // ICMP's header, and that of IPv4 or IPv6.
    let headers = if peer.is_ipv4() { 28 } else { 48 };
    let get_through = |mtu: u64| {
        let bytes = mtu.saturating_sub(headers).to_string();
        let words = ["-M", "do", "-c", "1", "-W", "1", "-s", &bytes, &peer.to_string()];
        match machine.say("ping", &words) {
            Said::Text(_) => Ok(true),
            Said::Missing => Err("ping is not installed".to_owned()),
            // What it has no right to, or does not know, is no word on the path.
            Said::Refused(why)
                if ["permitted", "denied", "invalid", "usage"]
                    .iter()
                    .any(|word| why.to_lowercase().contains(word)) =>
            {
                Err(format!("ping says: {why}"))
            }
            Said::Refused(_) => Ok(false),
        }
    };
    let found = || -> Result<Path, String> {
        if get_through(mtu)? {
            return Ok(Path::Through);
        }
        if !get_through(0)? {
            return Ok(Path::Silent);
        }
        for size in MTU_FALLBACKS.into_iter().filter(|size| *size < mtu) {
            if get_through(size)? {
                return Ok(Path::Smaller(Some(size)));
            }
        }
        Ok(Path::Smaller(None))
    };
    found().unwrap_or_else(Path::NoPing)
}
