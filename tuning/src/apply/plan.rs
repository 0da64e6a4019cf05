//! What a profile changes on this machine: everything is read, nothing is written.

mod cards;

use super::change::Change;
use super::cores::CoreSet;
use super::profile::{HugePages, Profile, SysctlValue};
use super::server::{HUGE_PAGE_BYTES, Server};
use super::setting::{Setting, Trouble, Way};
use super::words::plain;
use super::{keys, limits};
use std::collections::BTreeSet;
use twincast_node::System;

/// What there is to do, and what there is to say.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// In the order in which they are made.
    pub(super) changes: Vec<Change>,
    /// How many settings have their value already.
    pub(super) same: usize,
    /// What the machine does not have, and how that shows.
    pub(super) absent: Vec<String>,
    /// What of the profile is not for this call, and why.
    pub(super) left_out: Vec<String>,
    /// What a person should know besides.
    pub(super) notes: Vec<String>,
    /// Programs that are not installed and are needed.
    pub(super) programs: BTreeSet<&'static str>,
    /// What is there and cannot be read.
    pub(super) troubles: Vec<String>,
    /// What the machine would not bear.
    pub(super) refusals: Vec<String>,
}

/// Works it out.
pub(super) fn plan(system: &System, profile: &Profile, interfaces: &[String], server: &Server) -> Plan {
    let mut planner = Planner { system, server, plan: Plan::default() };
    planner.sysctl(profile);
    if let Some(memory) = &profile.memory {
        if let Some(way) = &memory.transparent_huge_pages {
            planner.want(Setting::TransparentHugePages, &way.0);
        }
        if let Some(pages) = memory.huge_pages {
            planner.huge_pages(pages);
        }
    }
    if let Some(cpu) = &profile.cpu {
        planner.governor(&cpu.governor.0);
    }
    if let Some(asked) = &profile.limits {
        planner.plan.refusals.extend(limits::refused(system, asked));
        match Setting::LoginLimits.read(system) {
            Ok(there) => match limits::text(system, asked, &there) {
                Some(text) => planner.want(Setting::LoginLimits, &text),
                None => planner.plan.same += 1,
            },
            Err(trouble) => planner.trouble("limits of logins", trouble),
        }
    }
    planner.interfaces(profile, interfaces);
    planner.plan
}

struct Planner<'a> {
    system: &'a System,
    server: &'a Server,
    plan: Plan,
}

impl Planner<'_> {
    /// A setting is to have this value.
    fn want(&mut self, setting: Setting, value: &str) {
        self.want_noted(setting, value, None);
    }

    fn want_noted(&mut self, setting: Setting, value: &str, note: Option<String>) {
        match setting.read(self.system) {
            Ok(before) if before == value => self.plan.same += 1,
            Ok(before) => self.plan.changes.push(Change { setting, before, after: value.to_owned(), note }),
            Err(trouble) => self.trouble(&setting.what(), trouble),
        }
    }

    fn trouble(&mut self, what: &str, trouble: Trouble) {
        match trouble {
            Trouble::Absent(why) => self.plan.absent.push(format!("{what} ({why})")),
            Trouble::NoProgram(program) => drop(self.plan.programs.insert(program)),
            Trouble::Failed(why) => self.plan.troubles.push(format!("{what}: {why}")),
        }
    }

    fn sysctl(&mut self, profile: &Profile) {
        for (key, value) in &profile.sysctl {
            let setting = Setting::Sysctl { key: key.0.clone() };
            match value {
                SysctlValue::Exactly(value) => self.want(setting, value),
                SysctlValue::AtLeast(least) => match setting.read(self.system) {
                    Ok(now) => match at_least(&key.0, &now, least) {
                        Some(value) => self.want(setting, &value),
                        None => self.plan.troubles.push(format!(
                            "{}: is {now:?} here, and the profile has {} to compare it with",
                            key.0,
                            super::words::count(least.len(), "number")
                        )),
                    },
                    Err(trouble) => self.trouble(&key.0, trouble),
                },
            }
        }
    }

    /// Pages that others use stay theirs.
    fn huge_pages(&mut self, pages: HugePages) {
        let meminfo = self.system.read("/proc/meminfo").unwrap_or_default();
        let number = |name: &str| {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        };
        let (Some(total), Some(free), Some(kib)) =
            (number("HugePages_Total"), number("HugePages_Free"), number("Hugepagesize"))
        else {
            self.plan.absent.push("huge pages (/proc/meminfo has none)".into());
            return;
        };
        if kib << 10 != HUGE_PAGE_BYTES {
            self.plan.absent.push(format!("huge pages of 2 MiB (the default size is {kib} KiB)"));
            return;
        }
        let missing = match pages {
            HugePages::Number(pages) => pages.saturating_sub(free),
            HugePages::SlabPools => self.pages_missing(free),
        };
        let setting = Setting::Sysctl { key: "vm.nr_hugepages".into() };
        if missing == 0 {
            self.plan.same += 1;
        } else {
            self.want(setting, &(total + missing).to_string());
        }
    }

    /// Pages to be set aside so that each NUMA node that fan-out threads are pinned to has enough for the slab pools, or each
    /// at all where they are not: a pool is to be on its thread's own node, and the kernel spreads what is set aside over all.
    fn pages_missing(&self, free: u64) -> u64 {
        const FOLDER: &str = "/sys/devices/system/node";
        let list = |name: &str| CoreSet::from_list(&self.system.read(&format!("{FOLDER}/{name}")).ok()?);
        let mut nodes = list("has_memory").or_else(|| list("online")).unwrap_or_default().to_vec();
        let number = (nodes.len() as u64).max(1);
        let has_threads = |node: &usize| {
            let cores = list(&format!("node{node}/cpulist")).unwrap_or_default();
            let pinned = self.server.fan_out_cores.as_deref().unwrap_or_default();
            !cores.within(&pinned.iter().copied().collect()).is_empty()
        };
        if nodes.iter().any(has_threads) {
            nodes.retain(has_threads);
        }
        let free_on = |node: &usize| {
            let file = format!("{FOLDER}/node{node}/hugepages/hugepages-2048kB/free_hugepages");
            self.system.number(&file).and_then(|free| u64::try_from(free).ok())
        };
        let least =
            nodes.iter().map(free_on).collect::<Option<Vec<u64>>>().and_then(|free| free.into_iter().min());
        number * self.server.slab_pages.saturating_sub(least.unwrap_or(free / number))
    }

    fn governor(&mut self, governor: &str) {
        let online = self.system.read("/sys/devices/system/cpu/online").ok();
        let cores = online.and_then(|text| CoreSet::from_list(&text)).unwrap_or_default().to_vec();
        let folder = |core: usize| format!("/sys/devices/system/cpu/cpu{core}/cpufreq");
        if !cores.iter().any(|core| self.system.path(&folder(*core)).is_dir()) {
            let why = "no core has one: a virtual machine, or the firmware chooses frequencies";
            self.plan.absent.push(format!("governor ({why})"));
            return;
        }
        for core in cores {
            let known = self.system.read(&format!("{}/scaling_available_governors", folder(core)));
            let known = known.unwrap_or_default();
            let setting = Setting::Governor { core: u32::try_from(core).expect("bounded") };
            if known.split_whitespace().any(|word| word == governor) {
                self.want(setting, governor);
            } else {
                self.plan.absent.push(format!("{} \"{governor}\" (there are: {known})", setting.what()));
            }
        }
    }
}

impl Plan {
    /// The first change whose value would be refused: the profile's doing, or a kernel's that prints what none prints.
    pub(super) fn refused(&self) -> Option<String> {
        self.changes.iter().find_map(|change| {
            let there = change.setting.check(&change.after, Way::There);
            there.and_then(|()| change.setting.check(&change.before, Way::Back)).err()
        })
    }
}

/// The value with each number at least as high, and a range of ports at least as wide; none where the numbers do not match.
fn at_least(key: &str, now: &str, least: &[u64]) -> Option<String> {
    let now = plain(now);
    let numbers: Option<Vec<u64>> = now.split(' ').map(|word| word.parse().ok()).collect();
    let numbers = numbers.filter(|numbers| numbers.len() == least.len())?;
    let most = numbers.iter().zip(least).enumerate().map(|(at, (now, least))| {
        // Its first port is the lower, the more there are.
        let is_first_port = key == keys::PORT_RANGE && at == 0;
        if is_first_port { now.min(least) } else { now.max(least) }.to_string()
    });
    Some(most.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::{at_least, keys};

    #[test]
    fn nothing_is_made_lower() {
        let three = |now: &str| at_least("net.ipv4.tcp_wmem", now, &[4096, 65536, 100]);
        assert_eq!(three("4096\t16384\t4194304"), Some("4096 65536 4194304".into()));
        let one = |now: &str| at_least("net.core.somaxconn", now, &[1024]);
        assert_eq!(one("128"), Some("1024".into()));
        assert_eq!((one("bbr"), one("1 2")), (None, None));
    }

    #[test]
    fn a_range_of_ports_is_never_made_narrower() {
        for (now, then) in [
            ("32768\t60999", "10240 65535"),
            ("1024\t65535", "1024 65535"),
            ("20000\t65535", "10240 65535"),
            ("1024\t2000", "1024 65535"),
        ] {
            assert_eq!(at_least(keys::PORT_RANGE, now, &[10_240, 65_535]), Some(then.into()), "{now}");
        }
    }
}
