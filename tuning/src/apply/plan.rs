//! What a profile changes on this machine: everything is read, nothing is written.

use super::change::Change;
use super::cores::CoreSet;
use super::profile::{Amount, Channels, HugePages, Interface, Irq, Profile, SysctlValue, Xps};
use super::server::{HUGE_PAGE_BYTES, Server};
use super::setting::{Direction, Setting, Trouble, Way, qdisc};
use super::words::plain;
use super::{ethtool, interface, limits};
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
        match Setting::LoginLimits.read(system) {
            Ok(there) => match limits::text(system, asked, &there) {
                Some(text) => planner.want(Setting::LoginLimits, &text),
                None => planner.plan.same += 1,
            },
            Err(trouble) => planner.trouble("limits of logins", trouble),
        }
    }
    if interfaces.is_empty() && (profile.interface.is_some() || profile.affinity.is_some()) {
        planner.plan.left_out.push(
            "what the profile sets on an interface: name the one that carries shares with --interface".into(),
        );
    }
    for name in interfaces {
        let queues_change = profile.interface.as_ref().is_some_and(|asked| planner.interface(name, asked));
        if let Some(affinity) = &profile.affinity {
            if queues_change {
                planner.plan.left_out.push(format!(
                    "affinity of {name}: its queues change now; apply the profile once more when they have"
                ));
                continue;
            }
            if let Some(xps) = affinity.xps {
                planner.xps(name, xps);
            }
            if let Some(irq) = affinity.irq {
                planner.irq(name, irq);
            }
        }
    }
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
                    Ok(now) => match at_least(&now, least) {
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
        let needed = match pages {
            HugePages::Number(pages) => pages,
            // The kernel spreads pages over all nodes, and a pool is to be on its own.
            HugePages::SlabPools => self.server.slab_pages * self.nodes(),
        };
        let setting = Setting::Sysctl { key: "vm.nr_hugepages".into() };
        if free >= needed {
            self.plan.same += 1;
        } else {
            self.want(setting, &(total - free + needed).to_string());
        }
    }

    fn nodes(&self) -> u64 {
        let online = self.system.read("/sys/devices/system/node/online");
        let nodes = online.ok().and_then(|text| CoreSet::from_list(&text));
        nodes.map_or(1, |nodes| nodes.to_vec().len().max(1) as u64)
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

    /// Everything of an interface but affinity; true if its queues change.
    fn interface(&mut self, name: &str, asked: &Interface) -> bool {
        let interface = || name.to_owned();
        let queues_change = asked.channels.is_some_and(|channels| self.channels(name, channels));
        let rings = asked.rings.clone().unwrap_or_default();
        for (direction, amount) in [(Direction::Rx, rings.rx), (Direction::Tx, rings.tx)] {
            let Some(amount) = amount else { continue };
            let printed = if direction == Direction::Rx { "RX" } else { "TX" };
            let setting = Setting::Ring { interface: interface(), direction };
            self.size(setting, "-g", name, printed, amount);
        }
        if let Some(mtu) = asked.mtu {
            let most = interface::mtu_max(self.system, name).unwrap_or(u64::MAX);
            let changes = self.plan.changes.len();
            let note = clipped(mtu.0, most);
            self.want_noted(Setting::Mtu { interface: interface() }, &mtu.0.min(most).to_string(), note);
            if self.plan.changes.len() > changes {
                self.plan.notes.push(format!(
                    "every machine on the link of {name} needs this MTU, and the switch has to carry it: \
                     `twincast-tune check` with the others' addresses finds out"
                ));
            }
        }
        for (offload, on) in &asked.offloads {
            let setting = Setting::Offload { interface: interface(), name: offload.0.clone() };
            match ethtool::offload(self.system, name, &offload.0) {
                Ok((now, true)) if now != *on => {
                    let word = if now { "on" } else { "off" };
                    self.plan.absent.push(format!("{} (the driver fixes it {word})", setting.what()));
                }
                _ => self.want(setting, if *on { "on" } else { "off" }),
            }
        }
        for (key, value) in &asked.coalesce {
            self.want(Setting::Coalesce { interface: interface(), name: key.0.clone() }, &value.0);
        }
        if let Some(packets) = asked.txqueuelen {
            self.want(Setting::QueueLength { interface: interface() }, &packets.0.to_string());
        }
        if let Some(kind) = &asked.qdisc {
            let setting = Setting::Qdisc { interface: interface() };
            match qdisc(self.system, name) {
                Ok(now) if now.kind != kind.0 && !now.default => self.plan.left_out.push(format!(
                    "{}: somebody has set {} there, whose parameters could not be brought back",
                    setting.what(),
                    now.kind
                )),
                _ => self.want(setting, &kind.0),
            }
        }
        queues_change
    }

    fn channels(&mut self, name: &str, channels: Channels) -> bool {
        let amount = match (channels, self.server.fan_out_threads) {
            (Channels::Number(number), _) => Amount::Number(number),
            (Channels::Max, _) => Amount::Max,
            (Channels::FanOut, Some(threads)) => Amount::Number(threads),
            (Channels::FanOut, None) => {
                let why = "no --config FILE says how many fan-out threads there are";
                self.plan.left_out.push(format!("channels of {name}: {why}"));
                return false;
            }
        };
        let changes = self.plan.changes.len();
        self.size(Setting::Channels { interface: name.to_owned() }, "-l", name, "Combined", amount);
        self.plan.changes.len() > changes
    }

    /// A number of which the driver has a most.
    fn size(&mut self, setting: Setting, flag: &str, name: &str, printed: &str, amount: Amount) {
        match ethtool::size(self.system, flag, name, printed) {
            Ok(size) => {
                let (value, note) = match amount {
                    Amount::Max => (size.most, None),
                    Amount::Number(number) => (number.min(size.most), clipped(number, size.most)),
                };
                self.want_noted(setting, &value.to_string(), note);
            }
            Err(trouble) => self.trouble(&setting.what(), trouble),
        }
    }

    fn xps(&mut self, name: &str, xps: Xps) {
        let queues = interface::queues(self.system, name);
        let cores = match xps {
            Xps::Off => Vec::new(),
            Xps::Spread => interface::near(self.system, name).to_vec(),
            Xps::FanOut => match self.fan_out_cores(&format!("XPS of {name}")) {
                Some(cores) => cores,
                None => return,
            },
        };
        for (index, &queue) in queues.iter().enumerate() {
            // The cores go round the queues; where there are more queues than cores, the others are for whoever
            // has no queue of their own.
            let of_queue = cores.iter().enumerate().filter(|(at, _)| at % queues.len() == index);
            let set: CoreSet = of_queue.map(|(_, core)| *core).collect();
            self.want(Setting::Xps { interface: name.to_owned(), queue }, &set.list());
        }
    }

    fn irq(&mut self, name: &str, irq: Irq) {
        let near = interface::near(self.system, name);
        let fan_out = match irq {
            Irq::Spread => Vec::new(),
            Irq::Away | Irq::FanOut => match self.fan_out_cores(&format!("interrupts of {name}")) {
                Some(cores) => cores,
                None => return,
            },
        };
        let cores = match irq {
            Irq::FanOut => fan_out,
            _ => near.without(&fan_out).to_vec(),
        };
        if cores.is_empty() {
            let why = "fan-out threads have every core of its NUMA node";
            self.plan.left_out.push(format!("interrupts of {name}: {why}"));
            return;
        }
        let interrupts = interface::interrupts(self.system, name);
        if interrupts.is_empty() {
            self.plan
                .absent
                .push(format!("interrupts of {name} (no queue of it has one: a virtual interface)"));
            return;
        }
        for (irq, queue) in interrupts {
            let core = cores[queue as usize % cores.len()];
            self.want(Setting::Irq { interface: name.to_owned(), irq }, &core.to_string());
        }
        let note =
            "irqbalance runs here and moves interrupts again: `systemctl disable --now irqbalance` stops it";
        if interface::irqbalance(self.system) && !self.plan.notes.iter().any(|told| told == note) {
            self.plan.notes.push(note.into());
        }
    }

    fn fan_out_cores(&mut self, what: &str) -> Option<Vec<usize>> {
        match &self.server.fan_out_cores {
            Ok(cores) => Some(cores.clone()),
            Err(why) => {
                self.plan.left_out.push(format!("{what}: {why}"));
                None
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

fn clipped(asked: u64, most: u64) -> Option<String> {
    (asked > most).then(|| format!("the profile asks for {asked}; {most} is the most here"))
}

/// The value with each number at least as high; none where the numbers do not match.
fn at_least(now: &str, least: &[u64]) -> Option<String> {
    let now = plain(now);
    let numbers: Option<Vec<u64>> = now.split(' ').map(|word| word.parse().ok()).collect();
    let numbers = numbers.filter(|numbers| numbers.len() == least.len())?;
    let most = numbers.iter().zip(least).map(|(now, least)| now.max(least).to_string());
    Some(most.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::at_least;

    #[test]
    fn nothing_is_made_lower() {
        assert_eq!(at_least("4096\t16384\t4194304", &[4096, 65536, 100]), Some("4096 65536 4194304".into()));
        assert_eq!(at_least("128", &[1024]), Some("1024".into()));
        assert_eq!((at_least("bbr", &[1]), at_least("1 2", &[1])), (None, None));
    }
}
