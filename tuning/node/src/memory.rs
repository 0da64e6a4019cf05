//! Pages that slabs are on.

use crate::Finding;
use crate::limits::HUGE_PAGE_BYTES;
use crate::machine::Machine;
use crate::text::{chosen, count, size};

/// What a machine without enough of them has.
const WITHOUT: &str =
    "without them slabs are on transparent ones at best (a server that runs has its pages already)";

/// Huge pages set aside against the slab pools.
pub(crate) fn huge_pages(machine: &Machine) -> Finding {
    const NAME: &str = "huge_pages";
    let asked = machine.asked;
    let threads = asked.fan_out_threads;
    if threads == 0 || asked.slab_pool_bytes == 0 {
        return Finding::absent(NAME, "there are no slab pools on this machine");
    }
    let pool = asked.slab_pool_bytes / threads;
    if pool < HUGE_PAGE_BYTES {
        return Finding::absent(NAME, format!("a slab pool of {} is smaller than a huge page", size(pool)));
    }
    let Ok(text) = machine.system.read("/proc/meminfo") else {
        return Finding::warn(NAME, "/proc/meminfo cannot be read", "");
    };
    let field = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let (Some(total), Some(free), Some(kib)) =
        (field("HugePages_Total"), field("HugePages_Free"), field("Hugepagesize"))
    else {
        return Finding::absent(NAME, "this kernel was built without huge pages that can be set aside");
    };
    if Some(HUGE_PAGE_BYTES) != kib.checked_mul(1024) {
        let reason = format!(
            "a huge page is {kib} KiB unless asked for otherwise (default_hugepagesz= at boot), and slabs are made for {}",
            size(HUGE_PAGE_BYTES)
        );
        return Finding::warn(NAME, reason, "");
    }
    // Each thread maps its own pool, in whole pages.
    let need = pool.div_ceil(HUGE_PAGE_BYTES).saturating_mul(threads);
    let pools = format!("{} of {} need {need}", count(threads, "slab pool"), size(pool));
    let online = machine.core_set("/sys/devices/system/node/online").unwrap_or_default();
    if online.len() > 1
        && let Some(nodes) = online.iter().map(|node| Node::read(machine, *node)).collect::<Option<Vec<_>>>()
    {
        return on_nodes(machine, NAME, &nodes, need, &pools);
    }
    // The kernel spreads those of sysctl over all nodes, and a pool is to be on its thread's.
    let all = need.saturating_mul(online.len().max(1) as u64);
    let pools = if all == need { pools } else { format!("{pools} on each of {} nodes", online.len()) };
    if free >= all {
        return Finding::pass(NAME, format!("{free} of {total} huge pages are free; {pools}"));
    }
    let reason = format!("{free} of {total} huge pages are free, and {pools}; {WITHOUT}");
    Finding::warn(
        NAME,
        reason,
        format!("sysctl -w vm.nr_hugepages={}", total.saturating_sub(free).saturating_add(all)),
    )
}

/// Huge pages of a NUMA node.
struct Node {
    number: usize,
    total: u64,
    free: u64,
}

impl Node {
    fn folder(number: usize) -> String {
        format!("/sys/devices/system/node/node{number}/hugepages/hugepages-{}kB", HUGE_PAGE_BYTES >> 10)
    }

    fn read(machine: &Machine, number: usize) -> Option<Node> {
        let read = |file: &str| {
            let number = machine.system.number(&format!("{}/{file}", Node::folder(number)))?;
            u64::try_from(number).ok()
        };
        Some(Node { number, total: read("nr_hugepages")?, free: read("free_hugepages")? })
    }
}

/// A pool is taken from the node of its thread, or from another one that has free pages, across which all of it is read then.
/// Where threads are pinned, pages of their nodes count, else those of each.
fn on_nodes(machine: &Machine, name: &str, nodes: &[Node], need: u64, pools: &str) -> Finding {
    let cores = machine.fan_out_cores();
    let has_cores = |node: &&Node| {
        let path = format!("/sys/devices/system/node/node{}/cpulist", node.number);
        machine.core_set(&path).is_some_and(|own| !own.is_disjoint(&cores))
    };
    let pinned: Vec<&Node> = nodes.iter().filter(has_cores).collect();
    let used = if pinned.is_empty() { nodes.iter().collect() } else { pinned };
    let told: Vec<String> =
        used.iter().map(|node| format!("{} of {} at node {}", node.free, node.total, node.number)).collect();
    let (told, each) = (told.join(", "), if used.len() > 1 { " at each" } else { "" });
    let short: Vec<String> = used
        .iter()
        .filter(|node| node.free < need)
        .map(|node| {
            let pages = node.total.saturating_sub(node.free).saturating_add(need);
            format!("echo {pages} > {}/nr_hugepages", Node::folder(node.number))
        })
        .collect();
    if short.is_empty() {
        return Finding::pass(name, format!("huge pages are free, {told}; {pools}{each}"));
    }
    Finding::warn(
        name,
        format!("huge pages are free, {told}, and {pools}{each}; {WITHOUT}"),
        short.join("; "),
    )
}

/// Transparent huge pages.
pub(crate) fn transparent(machine: &Machine) -> Finding {
    const NAME: &str = "transparent_huge_pages";
    const FILE: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
    if !machine.system.has(FILE) {
        return Finding::absent(NAME, "this kernel was built without them");
    }
    let text = machine.system.read(FILE).unwrap_or_default();
    match chosen(&text) {
        Some(choice @ ("always" | "madvise")) => {
            Finding::pass(NAME, format!("{choice}: slabs ask for them, and get them"))
        }
        Some("never") => Finding::warn(
            NAME,
            "never: slabs that find no huge pages set aside are on pages of 4 KiB, which cost misses of the TLB",
            format!("echo madvise > {FILE}"),
        ),
        _ => Finding::warn(NAME, format!("{FILE} cannot be read, or says nothing known"), ""),
    }
}
