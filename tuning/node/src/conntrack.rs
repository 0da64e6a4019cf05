//! Connection tracking, whose table may be full.

use crate::Finding;
use crate::limits::CONNECTIONS_DEFAULT;
use crate::machine::Machine;

/// Room in its table.
pub(crate) fn conntrack(machine: &Machine) -> Finding {
    const NAME: &str = "conntrack";
    const MOST: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
    if !machine.system.has(MOST) {
        return Finding::absent(NAME, "the module is not loaded");
    }
    let number = |path: &str| machine.system.number(path).and_then(|number| u64::try_from(number).ok());
    let (Some(now), Some(most)) = (number("/proc/sys/net/netfilter/nf_conntrack_count"), number(MOST)) else {
        return Finding::warn(
            NAME,
            "loaded, and its count or its maximum cannot be read in /proc/sys/net/netfilter",
            "",
        );
    };
    if now == 0 {
        return Finding::pass(NAME, "loaded, and tracks nothing");
    }
    let asked = machine.asked.connections_max;
    let need = if asked == 0 { CONNECTIONS_DEFAULT } else { asked };
    if now.saturating_add(need) > most {
        let reason = format!(
            "{now} of {most} connections are tracked: {need} more do not fit, and packets of new ones are dropped"
        );
        let want = now.saturating_add(need).saturating_mul(2).checked_next_power_of_two().unwrap_or(u64::MAX);
        return Finding::warn(NAME, reason, format!("sysctl -w net.netfilter.nf_conntrack_max={want}"));
    }
    Finding::pass(NAME, format!("{now} of {most} connections are tracked: {need} more fit"))
}
