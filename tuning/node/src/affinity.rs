//! Which cores serve the card: its interrupts, its NUMA node.

use crate::Finding;
use crate::interface::Interface;
use crate::machine::Machine;
use crate::text::{core_list, count};
use std::collections::{BTreeMap, BTreeSet};

/// Parts of names of interrupts that no packet causes.
const CONTROL: [&str; 8] = ["config", "async", "misc", "mgmt", "mgmnt", "ctrl", "control", "event"];

/// Interrupts against fan-out cores.
pub(crate) fn interrupts(machine: &Machine) -> Finding {
    const NAME: &str = "irq_affinity";
    let interface = match machine.link() {
        Ok(interface) => interface,
        Err(why) => return Finding::absent(NAME, why),
    };
    let card = &interface.card;
    let numbers = numbers(machine, interface);
    if numbers.is_empty() {
        return Finding::absent(NAME, format!("{card} has no interrupts of its own"));
    }
    let mut placed: BTreeMap<u64, BTreeSet<usize>> = BTreeMap::new();
    for &number in &numbers {
        let file = |name: &str| {
            machine.core_set(&format!("/proc/irq/{number}/{name}")).filter(|set| !set.is_empty())
        };
        if let Some(set) = file("effective_affinity_list").or_else(|| file("smp_affinity_list")) {
            placed.insert(number, set);
        }
    }
    if placed.is_empty() {
        return Finding::warn(
            NAME,
            format!("affinities of the interrupts of {card} cannot be read in /proc/irq"),
            "",
        );
    }
    let cores = machine.fan_out_cores();
    let all: BTreeSet<usize> = placed.values().flatten().copied().collect();
    let told = format!("{} of {card} on cores {}", count(placed.len() as u64, "interrupt"), core_list(&all));
    // Where they are better: beside the card, and not on fan-out cores.
    let online = machine.core_set("/sys/devices/system/cpu/online").unwrap_or_default();
    let near = node_of_card(machine, interface)
        .and_then(|node| cores_of_node(machine, node))
        .unwrap_or(online.clone());
    let free = |set: &BTreeSet<usize>| -> BTreeSet<usize> { set.difference(&cores).copied().collect() };
    let best = Some(free(&near)).filter(|set| !set.is_empty()).unwrap_or_else(|| free(&online));
    // One core for each, the one with the fewest first: of a set that has its core already, the kernel moves nothing.
    let place = |wrong: Vec<u64>| {
        if best.is_empty() {
            return String::new();
        }
        let stays = placed.iter().filter(|(number, _)| !wrong.contains(number));
        let mut load: BTreeMap<usize, usize> = best.iter().map(|core| (*core, 0)).collect();
        for core in stays.flat_map(|(_, set)| set) {
            load.entry(*core).and_modify(|number| *number += 1);
        }
        let pairs: Vec<String> = wrong
            .iter()
            .map(|irq| {
                let (core, number) =
                    load.iter_mut().min_by_key(|(_, number)| **number).expect("there is a core");
                *number += 1;
                format!("{irq}:{core}")
            })
            .collect();
        let stop = if machine.system.has("/run/irqbalance") { "systemctl stop irqbalance; " } else { "" };
        let pairs = pairs.join(" ");
        format!("{stop}for at in {pairs}; do echo ${{at#*:}} > /proc/irq/${{at%:*}}/smp_affinity_list; done")
    };
    let those = |is_wrong: &dyn Fn(&BTreeSet<usize>) -> bool| -> Vec<u64> {
        placed.iter().filter(|(_, set)| is_wrong(set)).map(|(number, _)| *number).collect()
    };
    let on_fan_out = those(&|set| !set.is_disjoint(&cores));
    if !on_fan_out.is_empty() && !best.is_empty() {
        let reason = format!(
            "{told}: {} on fan-out cores {}, whose time they take",
            if on_fan_out.len() == 1 { "1 is".into() } else { format!("{} are", on_fan_out.len()) },
            core_list(&cores)
        );
        return Finding::warn(NAME, reason, place(on_fan_out));
    }
    let far = those(&|set| set.is_disjoint(&near));
    if !far.is_empty() {
        let reason = format!("{told}: {} on another NUMA node than the card", far.len());
        return Finding::warn(NAME, reason, place(far));
    }
    if placed.len() > 1 && all.len() == 1 && best.len() > 1 {
        let reason = format!("{told}: one core takes all packets in");
        return Finding::warn(NAME, reason, place(placed.keys().copied().collect()));
    }
    Finding::pass(NAME, told)
}

/// The card's interrupts, without those that no packet causes.
fn numbers(machine: &Machine, interface: &Interface) -> BTreeSet<u64> {
    let text = machine.system.read("/proc/interrupts").unwrap_or_default();
    let mut named: BTreeMap<u64, &str> = BTreeMap::new();
    for line in text.lines() {
        if let Some((number, rest)) = line.split_once(':')
            && let Ok(number) = number.trim().parse()
        {
            named.insert(number, rest.split_whitespace().last().unwrap_or(""));
        }
    }
    // A virtio device is on a PCI device, which has the interrupts.
    let mut of_card: BTreeSet<u64> = ["device/msi_irqs", "device/../msi_irqs"]
        .into_iter()
        .flat_map(|folder| machine.system.names(&interface.card_file(folder)))
        .filter_map(|name| name.parse().ok())
        .collect();
    if of_card.is_empty() {
        let is_its = |name: &str| {
            let mut words = name.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
            words.any(|word| word == interface.card)
        };
        of_card = named.iter().filter(|(_, name)| is_its(name)).map(|(number, _)| *number).collect();
    }
    of_card.retain(|number| {
        let name = named.get(number);
        name.is_some_and(|name| !CONTROL.iter().any(|control| name.contains(control)))
    });
    of_card
}

/// The card's NUMA node against fan-out cores.
pub(crate) fn numa(machine: &Machine) -> Finding {
    const NAME: &str = "numa";
    const ONLINE: &str = "/sys/devices/system/node/online";
    let interface = match machine.link() {
        Ok(interface) => interface,
        Err(why) => return Finding::absent(NAME, why),
    };
    let nodes = match machine.core_set(ONLINE) {
        Some(nodes) => nodes.len(),
        None if machine.system.has(ONLINE) => {
            return Finding::warn(NAME, format!("{ONLINE} cannot be read, or is no list"), "");
        }
        None => 1,
    };
    if nodes < 2 {
        return Finding::absent(NAME, "the machine has one NUMA node");
    }
    let card = &interface.card;
    let Some(node) = node_of_card(machine, interface) else {
        return Finding::absent(NAME, format!("{card} is at no NUMA node"));
    };
    let Some(near) = cores_of_node(machine, node) else {
        return Finding::warn(NAME, format!("{card} is at NUMA node {node}, whose cores cannot be read"), "");
    };
    let (cores, list) = (machine.fan_out_cores(), core_list(&near));
    let far: BTreeSet<usize> = cores.difference(&near).copied().collect();
    if !far.is_empty() {
        let reason = format!(
            "{card} is at node {node} (cores {list}), and fan-out cores {} are not: what they send crosses to it; set \
             fan_out.cores to cores of node {node}",
            core_list(&far)
        );
        return Finding::warn(NAME, reason, "");
    }
    if cores.is_empty() && machine.asked.role.sends() {
        let reason = format!(
            "{card} is at node {node} of {nodes}, and fan-out threads are not known to be pinned there: set fan_out.cores \
             to some of {list}"
        );
        return Finding::warn(NAME, reason, "");
    }
    Finding::pass(
        NAME,
        match cores.len() {
            0 => format!("{card} is at node {node} of {nodes} (cores {list})"),
            _ => format!("{card} and fan-out cores {} are at node {node} of {nodes}", core_list(&cores)),
        },
    )
}

fn node_of_card(machine: &Machine, interface: &Interface) -> Option<u64> {
    let files = ["device/numa_node", "device/../numa_node"];
    let node = files.into_iter().find_map(|file| machine.system.number(&interface.card_file(file)))?;
    node.try_into().ok()
}

fn cores_of_node(machine: &Machine, node: u64) -> Option<BTreeSet<usize>> {
    machine.core_set(&format!("/sys/devices/system/node/node{node}/cpulist")).filter(|set| !set.is_empty())
}
