//! Processors: how fast they are kept, and what else runs on them.

use crate::Finding;
use crate::limits::FAST_BITS_PER_S;
use crate::machine::Machine;
use crate::text::{core_list, rate};
use std::collections::{BTreeMap, BTreeSet};

const CPU: &str = "/sys/devices/system/cpu";

/// What chooses their frequency.
pub(crate) fn governor(machine: &Machine) -> Finding {
    const NAME: &str = "governor";
    let mut governors: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    let mut unread = false;
    let Some(online) = machine.core_set(&format!("{CPU}/online")) else {
        return Finding::warn(NAME, format!("{CPU}/online cannot be read, or is no list of cores"), "");
    };
    for core in online {
        let file = format!("{CPU}/cpu{core}/cpufreq/scaling_governor");
        match machine.system.read(&file) {
            Ok(governor) => _ = governors.entry(governor).or_default().insert(core),
            Err(_) => unread |= machine.system.has(&file),
        }
    }
    if unread {
        return Finding::warn(NAME, format!("{CPU}/cpu*/cpufreq/scaling_governor cannot be read"), "");
    }
    if governors.is_empty() {
        return Finding::absent(
            NAME,
            "cores have no governor here: their frequency is not this system's to choose",
        );
    }
    let told: Vec<String> = governors
        .iter()
        .map(|(governor, cores)| format!("{governor} on cores {}", core_list(cores)))
        .collect();
    let told = told.join(", ");
    if governors.keys().all(|governor| governor == "performance") {
        return Finding::pass(NAME, told);
    }
    let remedy = format!("echo performance | tee {CPU}/cpu*/cpufreq/scaling_governor");
    // What these drivers call powersave goes up with the load; with others it is the lowest frequency there is.
    // Under `amd-pstate` itself, which is the passive one, it is the lowest too.
    let first = governors.values().flatten().min().expect("there is a governor");
    let driver = machine.system.read(&format!("{CPU}/cpu{first}/cpufreq/scaling_driver")).unwrap_or_default();
    let keeps_low = !["intel_pstate", "amd-pstate-epp", "amd_pstate_epp"].contains(&driver.as_str());
    match machine.bits_per_s().filter(|speed| *speed >= FAST_BITS_PER_S) {
        Some(speed) if governors.contains_key("powersave") && keeps_low => Finding::fail(
            NAME,
            format!(
                "{told}: these cores are kept at their lowest frequency, and the link has {}",
                rate(speed)
            ),
            remedy,
        ),
        _ => Finding::warn(NAME, format!("{told}: cores take time to speed up after each wait"), remedy),
    }
}

/// Whether the cores that are pinned to are there.
pub(crate) fn cores(machine: &Machine) -> Finding {
    const NAME: &str = "cores";
    let asked: BTreeSet<usize> = machine.asked.fan_out_cores.iter().copied().collect();
    if asked.is_empty() {
        return Finding::absent(NAME, "no cores that fan-out threads are pinned to are known");
    }
    let Some(online) = machine.core_set(&format!("{CPU}/online")) else {
        return Finding::warn(NAME, format!("{CPU}/online cannot be read, or is no list of cores"), "");
    };
    let missing: BTreeSet<usize> = asked.difference(&online).copied().collect();
    if missing.is_empty() {
        return Finding::pass(NAME, format!("fan-out cores {} are there", core_list(&asked)));
    }
    let reason = format!(
        "fan-out threads are to be pinned to cores {} (fan_out.cores), which are not there or switched off: such a thread \
         runs wherever it is put, and takes others' time; there are cores {}",
        core_list(&missing),
        core_list(&online)
    );
    // The kernel switches second threads on all together, or not at all.
    let is_off = |core: &usize| {
        machine.core_set(&format!("{CPU}/present")).is_some_and(|present| present.contains(core))
    };
    let threads_off =
        machine.system.read(&format!("{CPU}/smt/control")).is_ok_and(|text| text.contains("off"));
    let remedy = match missing.iter().all(is_off) && !threads_off {
        true => missing.iter().map(|core| format!("echo 1 > {CPU}/cpu{core}/online")).collect::<Vec<_>>(),
        false => Vec::new(),
    };
    Finding::fail(NAME, reason, remedy.join("; "))
}

/// Whether two fan-out threads share a physical core.
pub(crate) fn smt(machine: &Machine) -> Finding {
    const NAME: &str = "smt";
    match machine.system.read(&format!("{CPU}/smt/active")).as_deref() {
        Ok("1") => {}
        Ok("0") => return Finding::absent(NAME, "each core has one thread"),
        Ok(_) => return Finding::warn(NAME, format!("{CPU}/smt/active says nothing known"), ""),
        Err(_) if machine.system.has(&format!("{CPU}/smt/active")) => {
            return Finding::warn(NAME, format!("{CPU}/smt/active cannot be read"), "");
        }
        Err(_) => return Finding::absent(NAME, "this kernel knows of no threads of cores"),
    }
    let cores = machine.fan_out_cores();
    let siblings = |core: usize| machine.core_set(&format!("{CPU}/cpu{core}/topology/thread_siblings_list"));
    for &core in &cores {
        let shared: BTreeSet<usize> =
            siblings(core).unwrap_or_default().intersection(&cores).copied().collect();
        if shared.len() > 1 {
            let reason = format!(
                "fan-out cores {} are threads of one physical core, whose time they share: pin to others (fan_out.cores), \
                 or switch the second threads off",
                core_list(&shared)
            );
            return Finding::warn(NAME, reason, format!("echo off > {CPU}/smt/control"));
        }
    }
    Finding::pass(
        NAME,
        match cores.len() {
            0 => "on; which cores fan-out threads are pinned to is not known".into(),
            _ => format!("on; fan-out cores {} are physical cores of their own", core_list(&cores)),
        },
    )
}

/// Whether cores that the scheduler keeps clear are those that are pinned to.
pub(crate) fn isolated(machine: &Machine) -> Finding {
    const NAME: &str = "isolated_cores";
    let file = format!("{CPU}/isolated");
    let Some(isolated) = machine.core_set(&file) else {
        return if machine.system.has(&file) {
            Finding::warn(NAME, format!("{file} cannot be read, or is no list of cores"), "")
        } else {
            Finding::absent(NAME, "this kernel isolates no cores")
        };
    };
    if isolated.is_empty() {
        return Finding::absent(NAME, "no cores are isolated (isolcpus= at boot)");
    }
    let (cores, list) = (machine.fan_out_cores(), core_list(&isolated));
    if cores.is_empty() {
        return Finding::warn(
            NAME,
            format!(
                "cores {list} are isolated, where nothing runs that is not pinned there, and no fan-out thread is known to be"
            ),
            "",
        );
    }
    let idle = core_list(&isolated.difference(&cores).copied().collect());
    let open = core_list(&cores.difference(&isolated).copied().collect());
    match (idle.as_str(), open.as_str()) {
        ("", "") => Finding::pass(NAME, format!("{list}, which fan-out threads are pinned to")),
        (_, "") => Finding::pass(
            NAME,
            format!("{list}; fan-out threads are pinned to {} of them", core_list(&cores)),
        ),
        _ => Finding::warn(
            NAME,
            format!(
                "cores {list} are isolated, and fan-out threads are pinned to cores {open} that are not: change fan_out.cores"
            ),
            "",
        ),
    }
}
