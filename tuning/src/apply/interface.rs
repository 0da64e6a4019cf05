//! An interface's place in the machine: its cores, its interrupts, its queues.

use super::cores::CoreSet;
use super::keys;
use crate::TuneError;
use std::collections::BTreeMap;
use twincast_node::System;

/// Words in the names of interrupts that belong to no queue.
const NO_QUEUE: [&str; 9] = ["config", "async", "control", "ctrl", "mgmnt", "misc", "fdir", "event", "link"];

/// Whether an interface can be tuned, with the sentence that lists those that can.
pub(super) fn check(system: &System, name: &str) -> Result<(), TuneError> {
    let wrong = |why: String| {
        let there = names(system);
        let there = if there.is_empty() { "none".into() } else { there.join(", ") };
        TuneError::Usage(format!("--interface {name}: {why}; those that can be tuned here: {there}"))
    };
    keys::interface(name).map_err(&wrong)?;
    if name == "lo" {
        return Err(wrong("the loopback interface has nothing to tune".into()));
    }
    if !system.path(&format!("/sys/class/net/{name}")).is_dir() {
        return Err(wrong("there is no such interface on this machine".into()));
    }
    Ok(())
}

/// Those that are there, without the loopback interface.
fn names(system: &System) -> Vec<String> {
    let entries = std::fs::read_dir(system.path("/sys/class/net")).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = folders
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name != "lo")
        .collect();
    names.sort();
    names
}

/// An interface and all that it lies on, each after those below it; no more than it and the card, mostly.
pub(super) fn stack(system: &System, name: &str) -> Vec<String> {
    let mut stack = twincast_node::below(system, name);
    stack.push(name.to_owned());
    stack
}

/// The cards that an interface lies on, a bond has several; it is one itself if it lies on nothing.
pub(super) fn cards(system: &System, name: &str) -> Vec<String> {
    let mut stack = stack(system, name);
    stack.retain(|each| twincast_node::below(system, each).is_empty());
    stack
}

/// The cores of the NUMA node that the interface is on; all that are online where there is but one node.
pub(super) fn near(system: &System, name: &str) -> CoreSet {
    let list = |path: &str| system.read(path).ok().and_then(|text| CoreSet::from_list(&text));
    let online = list("/sys/devices/system/cpu/online").unwrap_or_else(|| [0].into_iter().collect());
    let node = system.number(&format!("/sys/class/net/{name}/device/numa_node")).filter(|node| *node >= 0);
    let near = node.and_then(|node| list(&format!("/sys/devices/system/node/node{node}/cpulist")));
    let near = near.map_or_else(CoreSet::default, |near| near.within(&online));
    if near.is_empty() { online } else { near }
}

/// The interrupts of its queues: of each, the queue's number and whether it is one for packets out alone.
pub(super) fn interrupts(system: &System, name: &str) -> BTreeMap<u32, u32> {
    let device = format!("/sys/class/net/{name}/device");
    let listed = |folder: String| {
        let entries = std::fs::read_dir(system.path(&folder)).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect::<Vec<u32>>()
    };
    // Those of a virtio device belong to the PCI device above it, whose other functions have names of their own.
    let own = listed(format!("{device}/msi_irqs"));
    let irqs = if own.is_empty() { listed(format!("{device}/../msi_irqs")) } else { own };
    let text = system.read("/proc/interrupts").unwrap_or_default();
    let mut queues = BTreeMap::new();
    for line in text.lines() {
        let Some((irq, rest)) = line.split_once(':') else { continue };
        let Ok(irq) = irq.trim().parse::<u32>() else { continue };
        let action = rest.split_whitespace().last().unwrap_or_default();
        if !irqs.contains(&irq) || NO_QUEUE.iter().any(|word| action.contains(word)) {
            continue;
        }
        // `mlx5_comp3@pci:0000:3b:00.0`, `i40e-eth1-TxRx-3`, `virtio2-output.0`: the last number before an @.
        let own = action.split('@').next().unwrap_or_default();
        let digits = own.len() - own.trim_end_matches(|letter: char| letter.is_ascii_digit()).len();
        let next = u32::try_from(queues.len()).unwrap_or(u32::MAX);
        queues.insert(irq, own[own.len() - digits..].parse().unwrap_or(next));
    }
    queues
}

/// The numbers of its queues for packets out, ascending.
pub(super) fn queues(system: &System, name: &str) -> Vec<u32> {
    let entries = std::fs::read_dir(system.path(&format!("/sys/class/net/{name}/queues")));
    let entries = entries.into_iter().flatten().flatten();
    let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.strip_prefix("tx-")?.parse().ok();
    let mut queues: Vec<u32> = entries.filter_map(number).collect();
    queues.sort_unstable();
    queues
}

/// The largest packet that its driver takes, in bytes.
pub(super) fn mtu_max(system: &System, name: &str) -> Option<u64> {
    let output = system.program("ip", &["-d", "-j", "link", "show", "dev", name]).ok()?;
    let links: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    links.get(0)?.get("max_mtu")?.as_u64().filter(|most| *most > 0)
}

/// Whether a daemon runs that moves interrupts.
pub(super) fn irqbalance(system: &System) -> bool {
    let entries = std::fs::read_dir(system.path("/proc")).into_iter().flatten().flatten();
    let mut names = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("comm")).ok());
    names.any(|name| name.trim() == "irqbalance")
}
