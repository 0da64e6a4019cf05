//! What a profile changes on interfaces: on the cards that they lie on, and the size of packets on all in between.

use super::super::cores::CoreSet;
use super::super::profile::{Amount, Channels, Interface, Irq, Profile, Xps};
use super::super::setting::{Direction, Setting, qdisc};
use super::super::{ethtool, interface};
use super::Planner;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The qdisc of what keeps no packets: in a place of its own they would wait before those of the card below.
const NO_QUEUE: &str = "noqueue";

impl Planner<'_> {
    /// Everything of the interfaces that are named.
    pub(super) fn interfaces(&mut self, profile: &Profile, names: &[String]) {
        if names.is_empty() && (profile.interface.is_some() || profile.affinity.is_some()) {
            self.plan.left_out.push(
                "what the profile sets on an interface: name the one that carries shares with --interface"
                    .into(),
            );
        }
        let mut cards: Vec<String> = Vec::new();
        for name in names {
            let below = interface::cards(self.system, name);
            if !below.contains(name) {
                self.plan.notes.push(format!(
                    "{name} lies on {}, which has the queues: what the profile sets on them is set there, for all that lies \
                     on it",
                    below.join(" and ")
                ));
            }
            cards.extend(below);
        }
        cards.sort();
        cards.dedup();
        let mut changing = Vec::new();
        if let Some(asked) = &profile.interface {
            changing.extend(cards.iter().filter(|card| self.queues(card, asked)).cloned());
            if let Some(mtu) = asked.mtu {
                self.mtu(names, mtu.0);
            }
            cards.iter().for_each(|card| self.card(card, asked));
            if let Some(kind) = &asked.qdisc {
                self.qdiscs(names, &kind.0);
            }
        }
        let Some(affinity) = &profile.affinity else { return };
        for card in cards {
            if changing.contains(&card) {
                self.plan.left_out.push(format!(
                    "affinity of {card}: its queues change now; apply the profile once more when they have"
                ));
                continue;
            }
            if let Some(xps) = affinity.xps {
                self.xps(&card, xps);
            }
            if let Some(irq) = affinity.irq {
                self.irq(&card, irq);
            }
        }
    }

    /// The number of queues and their sizes; true if the former changes.
    fn queues(&mut self, name: &str, asked: &Interface) -> bool {
        let queues_change = asked.channels.is_some_and(|channels| self.channels(name, channels));
        let rings = asked.rings.clone().unwrap_or_default();
        for (direction, amount) in [(Direction::Rx, rings.rx), (Direction::Tx, rings.tx)] {
            let Some(amount) = amount else { continue };
            let printed = if direction == Direction::Rx { "RX" } else { "TX" };
            let setting = Setting::Ring { interface: name.to_owned(), direction };
            self.size(setting, "-g", name, printed, amount);
        }
        queues_change
    }

    /// The size of packets: of the interfaces that are named, and as much at the least of what they lie on, since the kernel
    /// allows no larger ones above. Those below are never made lower, for others may lie on them.
    fn mtu(&mut self, names: &[String], asked: u64) {
        let system = self.system;
        let now =
            |name: &str| system.number(&format!("/sys/class/net/{name}/mtu")).map_or(0, i64::unsigned_abs);
        let mut wanted: BTreeMap<String, u64> = BTreeMap::new();
        let mut most_of: BTreeMap<String, u64> = BTreeMap::new();
        for name in names {
            let stack = interface::stack(system, name);
            let most =
                stack.iter().filter_map(|each| interface::mtu_max(system, each)).min().unwrap_or(u64::MAX);
            let mtu = asked.min(most);
            if stack.iter().any(|each| now(each) < mtu) || now(name) != mtu {
                self.plan.notes.push(format!(
                    "every machine on the link of {name} needs this MTU, and the switch has to carry it: \
                     `twincast-tune check` with the others' addresses finds out"
                ));
            }
            for each in stack {
                if each == *name || now(&each) < mtu {
                    let entry = wanted.entry(each.clone()).or_insert(mtu);
                    *entry = mtu.max(*entry);
                    most_of.insert(each, most);
                }
            }
        }
        // Higher from the bottom up, lower from the top down: so it can be done, and so it can be undone backwards.
        let height = |name: &str| interface::stack(system, name).len();
        let (mut higher, mut lower): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|(name, mtu)| now(name) < *mtu);
        higher.sort_by_key(|(name, _)| height(name));
        lower.sort_by_key(|(name, _)| Reverse(height(name)));
        for (name, mtu) in higher.into_iter().chain(lower) {
            let note = clipped(asked, most_of[&name]);
            self.want_noted(Setting::Mtu { interface: name }, &mtu.to_string(), note);
        }
    }

    /// What else a card has but its root qdisc and affinity.
    fn card(&mut self, name: &str, asked: &Interface) {
        let interface = || name.to_owned();
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
    }

    /// The root qdiscs of cards, and a word on what somebody has put above them.
    fn qdiscs(&mut self, names: &[String], kind: &str) {
        let mut stacks: Vec<String> =
            names.iter().flat_map(|name| interface::stack(self.system, name)).collect();
        stacks.sort();
        stacks.dedup();
        for name in stacks {
            let setting = Setting::Qdisc { interface: name.clone() };
            let is_card = twincast_node::below(self.system, &name).is_empty();
            match qdisc(self.system, &name) {
                Ok(now) if now.kind == NO_QUEUE && is_card => self.plan.left_out.push(format!(
                    "{}: a virtual interface, on which packets do not wait ({NO_QUEUE})",
                    setting.what()
                )),
                Ok(now) if now.kind == NO_QUEUE => {}
                Ok(now) if now.kind != kind && !now.default => self.plan.left_out.push(format!(
                    "{}: somebody has set {} there, whose parameters could not be brought back",
                    setting.what(),
                    now.kind
                )),
                _ if is_card => self.want(setting, kind),
                _ => {}
            }
        }
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

fn clipped(asked: u64, most: u64) -> Option<String> {
    (asked > most).then(|| format!("the profile asks for {asked}; {most} is the most here"))
}
