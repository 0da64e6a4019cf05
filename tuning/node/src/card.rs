//! The card and its queues: rings, offloads, queueing discipline.

use crate::limits::{FAST_BITS_PER_S, RING_ENTRIES_FAST, RING_ENTRIES_SLOW};
use crate::machine::{Machine, Said};
use crate::text::quoted;
use crate::{Finding, Verdict};
use serde::Deserialize;

/// Queueing disciplines that send less than the link carries, or later.
const SHAPERS: [&str; 8] = ["tbf", "htb", "hfsc", "cbq", "cake", "netem", "ets", "drr"];

/// What is looked at with `ethtool`, or the finding that says why not.
fn ethtool(machine: &Machine, name: &str, flag: &str) -> Result<String, Finding> {
    let interface = machine.link().map_err(|why| Finding::absent(name, why))?;
    let card = &interface.card;
    match machine.say("ethtool", &[flag, card]) {
        Said::Text(text) => Ok(text),
        Said::Missing => Err(Finding::warn(
            name,
            "not looked at: ethtool is not installed",
            machine.install("ethtool", "ethtool"),
        )),
        Said::Refused(why) if ["not supported", "No such device"].iter().any(|word| why.contains(word)) => {
            Err(Finding::absent(name, format!("{card} has none (ethtool {flag}: {why})")))
        }
        Said::Refused(why) => Err(Finding::warn(
            name,
            format!("not looked at: ethtool {flag} {card} says {why}; it may need root"),
            "",
        )),
    }
}

/// Descriptors of its rings.
pub(crate) fn rings(machine: &Machine) -> Finding {
    const NAME: &str = "rings";
    let text = match ethtool(machine, NAME, "-g") {
        Ok(text) => text,
        Err(finding) => return finding,
    };
    let (most, now) = text.split_once("Current hardware settings:").unwrap_or(("", &text));
    let entries = |part: &str, ring: &str| -> Option<u64> {
        part.lines().find_map(|line| line.trim().strip_prefix(ring)?.trim().parse().ok())
    };
    let interface = machine.link().expect("rings were asked of it");
    let role = machine.asked.role;
    let fast = machine.bits_per_s().is_some_and(|speed| speed >= FAST_BITS_PER_S);
    let want = if fast { RING_ENTRIES_FAST } else { RING_ENTRIES_SLOW };
    let (mut told, mut short, mut words) = (Vec::new(), false, String::new());
    for (ring, word, is_used) in [("RX:", "rx", role.receives()), ("TX:", "tx", role.sends())] {
        let (Some(most), Some(now)) = (entries(most, ring), entries(now, ring)) else { continue };
        told.push(format!("{word} {now} of {most}"));
        // Both directions carry something; the role says which is full.
        words += &format!(" {word} {}", want.min(most).max(now));
        short |= is_used && now < want.min(most);
    }
    let (card, told) = (&interface.card, told.join(", "));
    if told.is_empty() {
        return Finding::warn(NAME, format!("what ethtool -g {card} prints is not understood"), "");
    }
    if short {
        let reason = format!(
            "rings of {card}: {told}; packets are dropped, or sends wait, while a core is away from them"
        );
        return Finding::warn(NAME, reason, format!("ethtool -G {}{words}", interface.card_word()));
    }
    Finding::pass(NAME, format!("rings of {card}: {told}"))
}

/// What the card and the kernel do for many packets at a time.
pub(crate) fn offloads(machine: &Machine) -> Finding {
    const NAME: &str = "offloads";
    let text = match ethtool(machine, NAME, "-k") {
        Ok(text) => text,
        Err(finding) => return finding,
    };
    let feature = |name: &str| -> Option<(bool, bool)> {
        let value = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'))?.trim();
        Some((value.starts_with("on"), value.contains("[fixed]")))
    };
    let role = machine.asked.role;
    let (mut on, mut off, mut fixed, mut words) = (Vec::new(), Vec::new(), Vec::new(), String::new());
    // Without the first two each packet passes all of the kernel's layers on its own.
    let all = [
        ("tcp-segmentation-offload", "tso", role.sends()),
        ("generic-segmentation-offload", "gso", role.sends()),
        ("scatter-gather", "sg", role.sends()),
        ("tx-checksumming", "tx", role.sends()),
        ("generic-receive-offload", "gro", role.receives()),
        ("rx-checksumming", "rx", role.receives()),
    ];
    for (name, word, _) in all.into_iter().filter(|(_, _, is_used)| *is_used) {
        match feature(name) {
            Some((true, _)) => on.push(word),
            Some((false, true)) => fixed.push(word),
            Some((false, false)) => {
                off.push(word);
                words += &format!(" {word} on");
            }
            None => {}
        }
    }
    let interface = machine.link().expect("offloads were asked of it");
    let card = &interface.card;
    let told = |words: &[&str]| words.join(", ");
    if on.is_empty() && off.is_empty() && fixed.is_empty() {
        return Finding::warn(NAME, format!("what ethtool -k {card} prints is not understood"), "");
    }
    let remedy =
        if words.is_empty() { words } else { format!("ethtool -K {}{words}", interface.card_word()) };
    let segments = |words: &[&str]| words.contains(&"tso") || words.contains(&"gso");
    if segments(&off) || fixed.contains(&"gso") {
        let reason = format!(
            "{} off on {card}: each packet passes all of the kernel on its own, where 64 KiB could at a time",
            told(&[off, fixed].concat())
        );
        return Finding::fail(NAME, reason, remedy);
    }
    if !off.is_empty() {
        return Finding::warn(
            NAME,
            format!("{} off on {card}: the processor does it for each packet", told(&off)),
            remedy,
        );
    }
    if segments(&fixed) {
        let reason =
            format!("{card} cannot do {}: the kernel does it, at some cost for each packet", told(&fixed));
        return Finding::warn(NAME, reason, "");
    }
    let cannot = if fixed.is_empty() { String::new() } else { format!("; it cannot do {}", told(&fixed)) };
    Finding::pass(NAME, format!("{} on{cannot}", told(&on)))
}

#[derive(Deserialize)]
struct Discipline {
    kind: String,
    #[serde(default)]
    root: bool,
}

/// What packets wait in on their way out, of the interface and of all below it.
pub(crate) fn qdisc(machine: &Machine) -> Finding {
    const NAME: &str = "qdisc";
    let interface = match machine.link() {
        Ok(interface) => interface,
        Err(why) => return Finding::absent(NAME, why),
    };
    let layers: Vec<&str> = interface.layers().collect();
    let found: Vec<Finding> =
        layers.into_iter().rev().map(|layer| discipline(machine, NAME, layer)).collect();
    let wrong: Vec<&Finding> = found.iter().filter(|finding| finding.verdict != Verdict::Pass).collect();
    let told = |findings: &[&Finding]| {
        findings.iter().map(|finding| finding.reason.as_str()).collect::<Vec<_>>().join("; ")
    };
    if wrong.is_empty() {
        return Finding::pass(NAME, told(&found.iter().collect::<Vec<_>>()));
    }
    let mut remedies: Vec<&str> = wrong.iter().map(|finding| finding.remedy.as_str()).collect();
    // What is not installed is so for each of them.
    remedies.retain(|remedy| !remedy.is_empty());
    remedies.dedup();
    Finding::warn(NAME, told(&wrong), remedies.join("; "))
}

/// Of one interface.
fn discipline(machine: &Machine, finding: &str, name: &str) -> Finding {
    let text = match machine.say("tc", &["-j", "qdisc", "show", "dev", name]) {
        Said::Text(text) => text,
        Said::Missing => {
            let reason = format!("{name} not looked at: tc is not installed");
            return Finding::warn(finding, reason, machine.install("iproute2", "iproute-tc"));
        }
        Said::Refused(why) => {
            return Finding::warn(finding, format!("{name} not looked at: tc qdisc show says {why}"), "");
        }
    };
    let told: Vec<Discipline> = serde_json::from_str(text.trim()).unwrap_or_default();
    let Some(root) = told.iter().find(|discipline| discipline.root) else {
        let reason = format!("what tc -j qdisc show prints of {name} is not understood, or names no root");
        return Finding::warn(finding, reason, "");
    };
    let word = quoted(name);
    if let Some(shaper) = told.iter().find(|discipline| SHAPERS.contains(&discipline.kind.as_str())) {
        return Finding::warn(
            finding,
            format!("{} on {name} shapes or delays what is sent", shaper.kind),
            format!("tc qdisc del dev {word} root"),
        );
    }
    let queues = machine.system.names(&format!("/sys/class/net/{name}/queues"));
    let queues = queues.iter().filter(|queue| queue.starts_with("tx-")).count();
    match root.kind.as_str() {
        kind @ ("mq" | "noqueue" | "mqprio") => Finding::pass(finding, format!("{kind} on {name}")),
        kind if queues > 1 => Finding::warn(
            finding,
            format!("one {kind} before all {queues} transmit queues of {name}: cores wait for its lock"),
            format!("tc qdisc replace dev {word} root mq"),
        ),
        kind => Finding::pass(finding, format!("{kind} on {name}")),
    }
}
