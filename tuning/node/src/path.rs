//! Whether packets of the interface's size get to the other machines in one piece.

use crate::Finding;
use crate::interface::Interface;
use crate::limits::{MTU_FALLBACKS, PATH_TRIES};
use crate::machine::{Machine, Said};
use crate::text::count;
use serde::Deserialize;
use std::net::IpAddr;

/// What became of one peer.
enum Path {
    Through,
    /// The size that gets through instead, if any tried did.
    Smaller(Option<u64>),
    Silent,
    /// Packets to it take another interface.
    Elsewhere(String),
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
        let asked: Vec<_> =
            peers.iter().map(|peer| scope.spawn(move || path(machine, interface, *peer, mtu))).collect();
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
        let here = passes.map_or_else(String::new, |size| {
            format!(" (`ip link set dev {} mtu {size}` lowers it here)", interface.word())
        });
        // Which end is wrong is not seen from here, and lowering this one costs every other path: no command is given
        // to be pasted.
        let reason = format!(
            "of {PATH_TRIES} packets of {mtu} bytes none gets through to {broken}{told}: connections there hang or crawl; \
             raise the MTU of what is smaller, the other machine or a switch, or have all of the link at the same{here}"
        );
        return Finding::fail(NAME, reason, "");
    }
    if let Some(Path::NoPing(why)) = paths.iter().find(|path| matches!(path, Path::NoPing(_))) {
        let remedy = if why.contains("installed") {
            machine.install("iputils-ping", "iputils")
        } else {
            String::new()
        };
        return Finding::warn(NAME, format!("not looked at: {why}"), remedy);
    }
    let mut unseen = Vec::new();
    for (peer, path) in peers.iter().zip(&paths) {
        if let Path::Elsewhere(other) = path {
            let name = &interface.name;
            unseen.push(match other.as_str() {
                "lo" => format!("packets to {peer} go over lo: it is this machine's own address"),
                _ => format!(
                    "packets to {peer} go over {other}, not over {name}: name another address of it, or check {other}"
                ),
            });
        }
    }
    let silent = of(|path| matches!(path, Path::Silent));
    if !silent.is_empty() {
        unseen.push(format!("{silent}: no answer to ping, of any size: down, or behind a firewall"));
    }
    if !unseen.is_empty() {
        return Finding::warn(NAME, unseen.join("; "), "");
    }
    let number = count(peers.len() as u64, "peer");
    Finding::pass(NAME, format!("packets of {mtu} bytes get through to {number}: {}", of(|_| true)))
}

fn path(machine: &Machine, interface: &Interface, peer: IpAddr, mtu: u64) -> Path {
    if let Some(other) = way(machine, peer).filter(|other| *other != interface.name) {
        return Path::Elsewhere(other);
    }
    // ICMP's header, and that of IPv4 or IPv6.
    let headers = if peer.is_ipv4() { 28 } else { 48 };
    let (tries, peer) = (PATH_TRIES.to_string(), peer.to_string());
    let get_through = |mtu: u64| {
        let bytes = mtu.saturating_sub(headers).to_string();
        // One answer is enough for a good end.
        let mut words = vec!["-M", "do", "-c", &tries, "-i", "0.2", "-W", "1"];
        words.extend(["-I", &interface.name, "-s", &bytes, &peer]);
        match machine.say("ping", &words) {
            Said::Text(_) => Ok(true),
            Said::Missing => Err("ping is not installed".to_owned()),
            // What it has no right to, or does not know, is no word on the path.
            Said::Refused(why)
                if ["permitted", "denied", "invalid", "usage", "unrecognized", "unknown"]
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

#[derive(Deserialize)]
struct Route {
    dev: Option<String>,
}

/// The interface that packets to a peer leave by; none where `ip` does not say.
fn way(machine: &Machine, peer: IpAddr) -> Option<String> {
    let (peer, own) = (peer.to_string(), machine.asked.address.filter(|own| own.is_ipv4() == peer.is_ipv4()));
    let own = own.map(|own| own.to_string());
    let mut words = vec!["-j", "route", "get", &peer];
    if let Some(own) = &own {
        // Machines with several interfaces may choose the way by where a packet comes from.
        words.extend(["from", own]);
    }
    let Said::Text(text) = machine.say("ip", &words) else { return None };
    let routes: Vec<Route> = serde_json::from_str(text.trim()).ok()?;
    routes.into_iter().find_map(|route| route.dev)
}
