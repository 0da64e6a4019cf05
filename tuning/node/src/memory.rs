//! Pages that slabs are on.

use crate::Finding;
use crate::limits::HUGE_PAGE_BYTES;
use crate::machine::Machine;
use crate::text::{chosen, count, size};

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
    let each = pool.div_ceil(HUGE_PAGE_BYTES);
    let need = each.saturating_mul(threads);
    let pools = format!("{} of {} need {need}", count(threads, "slab pool"), size(pool));
    if free >= need {
        return Finding::pass(NAME, format!("{free} of {total} huge pages are free; {pools}"));
    }
    let reason = format!(
        "{free} of {total} huge pages are free, and {pools}; without them slabs are on transparent ones at best (a server \
         that runs has its pages already)"
    );
    Finding::warn(NAME, reason, format!("sysctl -w vm.nr_hugepages={}", total.saturating_add(need - free)))
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
