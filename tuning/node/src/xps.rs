//! Which transmit queues fan-out cores send on.

use crate::Finding;
use crate::machine::Machine;
use crate::text::{core_list, mask, mask_of};
use std::collections::BTreeSet;

/// Transmit queues against fan-out cores.
pub(crate) fn xps(machine: &Machine) -> Finding {
    const NAME: &str = "xps";
    let interface = match machine.link() {
        Ok(interface) => interface,
        Err(why) => return Finding::absent(NAME, why),
    };
    let card = &interface.card;
    let queues: Vec<String> = machine.system.names(&interface.card_file("queues"));
    let queues: Vec<String> = queues.into_iter().filter(|queue| queue.starts_with("tx-")).collect();
    let cores = machine.fan_out_cores();
    match queues.len() {
        0 => return Finding::absent(NAME, format!("no transmit queues of {card} are to be seen")),
        1 => {
            return Finding::absent(
                NAME,
                format!("{card} has one transmit queue: there is nothing to choose"),
            );
        }
        number if cores.is_empty() => {
            return Finding::pass(
                NAME,
                format!("{card} has {number} transmit queues, and no cores that are pinned to are known"),
            );
        }
        _ => {}
    }
    let path = |queue: &str| interface.card_file(&format!("queues/{queue}/xps_cpus"));
    let mut sets: Vec<BTreeSet<usize>> = Vec::new();
    for queue in &queues {
        match machine.system.read(&path(queue)).ok().as_deref().and_then(mask) {
            Some(set) => sets.push(set),
            None => {
                return Finding::warn(
                    NAME,
                    format!("{} cannot be read, or is no set of cores", path(queue)),
                    "",
                );
            }
        }
    }
    // As many as share a queue where they are spread evenly: one, where there are as many queues as cores.
    let share = cores.len().div_ceil(queues.len());
    let crowded = sets.iter().any(|set| set.intersection(&cores).count() > share);
    let chosen: BTreeSet<usize> = sets.iter().flatten().copied().collect();
    let without: BTreeSet<usize> = cores.difference(&chosen).copied().collect();
    let number = queues.len();
    let reason = if !without.is_empty() {
        format!(
            "no transmit queue of {card} ({number}) is chosen by fan-out cores {}: cores meet at each other's queues",
            core_list(&without)
        )
    } else if crowded {
        format!("fan-out cores {} share transmit queues of {card}, which has {number}", core_list(&cores))
    } else {
        return Finding::pass(
            NAME,
            format!(
                "fan-out cores {} are spread over transmit queues of {card} ({number})",
                core_list(&cores)
            ),
        );
    };
    // Cores go round the queues, and a queue that is left over is nobody's: a core that is in the sets of two queues
    // sends on either.
    let each = queues.iter().enumerate().map(|(index, queue)| {
        let of_queue = cores.iter().enumerate().filter(|(at, _)| at % number == index);
        format!("echo {} > {}", mask_of(&of_queue.map(|(_, core)| *core).collect()), path(queue))
    });
    Finding::warn(NAME, reason, each.collect::<Vec<_>>().join("; "))
}
