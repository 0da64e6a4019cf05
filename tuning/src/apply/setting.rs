//! One setting of a machine: where it is read, how it is written, and which values it can have.
//!
//! Profiles and undo files name settings, never paths or commands: a file that somebody else wrote can reach nothing but
//! what [`keys`] lists. Every value is text, as the kernel has it.

use super::cores::CoreSet;
use super::words::plain;
use super::{ethtool, keys, limits};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use twincast_node::System;

/// Where transparent huge pages are set.
pub(super) const TRANSPARENT_HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// Bit of `CAP_NET_ADMIN` in the kernel's sets of capabilities.
const CAP_NET_ADMIN: u32 = 12;

/// Why a setting cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The machine, its kernel or its driver does not have it.
    Absent(String),
    /// The program that it is set with is not installed.
    NoProgram(&'static str),
    /// It is there, and this did not work.
    Failed(String),
}

/// What there is to set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Setting {
    /// A file below `/proc/sys`.
    Sysctl { key: String },
    /// Bytes of the largest packet.
    Mtu { interface: String },
    /// Packets that wait in a queueing discipline.
    QueueLength { interface: String },
    /// Descriptors of a queue.
    Ring { interface: String, direction: Direction },
    /// Queues.
    Channels { interface: String },
    /// `on` or `off`.
    Offload { interface: String, name: String },
    /// Interrupt moderation.
    Coalesce { interface: String, name: String },
    /// The root queueing discipline. What it is set back to is the kernel's default, which it was before.
    Qdisc { interface: String },
    /// The cores that take an interrupt.
    Irq { interface: String, irq: u32 },
    /// The cores that send on a queue.
    Xps { interface: String, queue: u32 },
    /// Who chooses a core's frequency.
    Governor { core: u32 },
    /// `always`, `madvise` or `never`.
    TransparentHugePages,
    /// The file of logins' limits; an empty text is no file.
    LoginLimits,
}

/// Of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Direction {
    /// In.
    Rx,
    /// Out.
    Tx,
}

impl Direction {
    /// As `ethtool -G` has it, and as `ethtool -g` prints it.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Direction::Rx => ("rx", "RX"),
            Direction::Tx => ("tx", "TX"),
        }
    }
}

/// Whether a value is made, or set back to what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To what a profile asks for.
    There,
    /// To what it was before.
    Back,
}

impl Setting {
    /// What it is, for a person.
    pub(super) fn what(&self) -> String {
        match self {
            Setting::Sysctl { key } => key.clone(),
            Setting::Mtu { interface } => format!("MTU of {interface}"),
            Setting::QueueLength { interface } => format!("txqueuelen of {interface}"),
            Setting::Ring { interface, direction } => format!("{} ring of {interface}", direction.names().0),
            Setting::Channels { interface } => format!("channels of {interface}"),
            Setting::Offload { interface, name } => format!("offload {name} of {interface}"),
            Setting::Coalesce { interface, name } => format!("{name} of {interface}"),
            Setting::Qdisc { interface } => format!("qdisc of {interface}"),
            Setting::Irq { interface, irq } => format!("cores of interrupt {irq} of {interface}"),
            Setting::Xps { interface, queue } => format!("cores that send on queue {queue} of {interface}"),
            Setting::Governor { core } => format!("governor of core {core}"),
            Setting::TransparentHugePages => "transparent huge pages".into(),
            Setting::LoginLimits => limits::FILE.into(),
        }
    }

    /// Whether it is still there after a restart.
    pub(super) fn stays(&self) -> bool {
        matches!(self, Setting::LoginLimits)
    }

    /// The interface that it belongs to.
    pub(super) fn interface(&self) -> Option<&str> {
        match self {
            Setting::Mtu { interface }
            | Setting::QueueLength { interface }
            | Setting::Ring { interface, .. }
            | Setting::Channels { interface }
            | Setting::Offload { interface, .. }
            | Setting::Coalesce { interface, .. }
            | Setting::Qdisc { interface }
            | Setting::Irq { interface, .. }
            | Setting::Xps { interface, .. } => Some(interface),
            _ => None,
        }
    }

    /// Whether it may be set at all, to such a value: by the same rules for profiles and undo files.
    pub(super) fn check(&self, value: &str, way: Way) -> Result<(), String> {
        if let Some(interface) = self.interface() {
            keys::interface(interface)?;
        }
        let wrong = || format!("{}: {value:?} is no value of it", self.what());
        let whole = || value.parse::<u32>().map(|_| ()).map_err(|_| wrong());
        match self {
            Setting::Sysctl { key } => keys::sysctl(key).and_then(|()| keys::sysctl_value(value)),
            Setting::Mtu { .. }
            | Setting::QueueLength { .. }
            | Setting::Ring { .. }
            | Setting::Channels { .. } => whole(),
            Setting::Offload { name, .. } => {
                keys::one_of("the offload", name, &keys::OFFLOADS.map(|(name, _)| name))?;
                keys::one_of("the value", value, &["on", "off"])
            }
            Setting::Coalesce { name, .. } => {
                keys::one_of("the key", name, &keys::COALESCE)?;
                if name.starts_with("adaptive") {
                    keys::one_of("the value", value, &["on", "off"])
                } else {
                    whole()
                }
            }
            // Set back, it is not written at all: the one that was set is deleted.
            Setting::Qdisc { .. } if way == Way::Back => keys::sysctl_value(value),
            Setting::Qdisc { .. } => keys::one_of("the qdisc", value, &keys::QDISCS),
            Setting::Irq { .. } | Setting::Xps { .. } => {
                CoreSet::from_list(value).map(|_| ()).ok_or_else(wrong)
            }
            Setting::Governor { .. } => {
                let plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_lowercase());
                plain.then_some(()).ok_or_else(wrong)
            }
            Setting::TransparentHugePages => keys::one_of("the value", value, &keys::TRANSPARENT_HUGE_PAGES),
            Setting::LoginLimits => limits::is_ours(value).then_some(()).ok_or_else(wrong),
        }
    }

    /// The file that it is in; none where a program sets it.
    pub(super) fn file(&self) -> Option<String> {
        Some(match self {
            Setting::Sysctl { key } => format!("/proc/sys/{}", key.replace('.', "/")),
            Setting::Mtu { interface } => format!("/sys/class/net/{interface}/mtu"),
            Setting::QueueLength { interface } => format!("/sys/class/net/{interface}/tx_queue_len"),
            Setting::Irq { irq, .. } => format!("/proc/irq/{irq}/smp_affinity_list"),
            Setting::Xps { interface, queue } => {
                format!("/sys/class/net/{interface}/queues/tx-{queue}/xps_cpus")
            }
            Setting::Governor { core } => {
                format!("/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor")
            }
            Setting::TransparentHugePages => TRANSPARENT_HUGE_PAGES.into(),
            Setting::LoginLimits => limits::FILE.into(),
            Setting::Ring { .. }
            | Setting::Channels { .. }
            | Setting::Offload { .. }
            | Setting::Coalesce { .. }
            | Setting::Qdisc { .. } => return None,
        })
    }

    /// What it is now.
    pub(super) fn read(&self, system: &System) -> Result<String, Trouble> {
        match self {
            Setting::Ring { interface, direction } => {
                Ok(ethtool::size(system, "-g", interface, direction.names().1)?.now.to_string())
            }
            Setting::Channels { interface } => {
                Ok(ethtool::size(system, "-l", interface, "Combined")?.now.to_string())
            }
            Setting::Offload { interface, name } => {
                let (on, _) = ethtool::offload(system, interface, name)?;
                Ok(if on { "on" } else { "off" }.into())
            }
            Setting::Coalesce { interface, name } => ethtool::coalesce(system, interface, name),
            Setting::Qdisc { interface } => Ok(qdisc(system, interface)?.kind),
            Setting::LoginLimits => limits::read(system),
            Setting::Xps { .. } => {
                let mask = self.read_file(system)?;
                let cores = CoreSet::from_mask(&mask);
                cores.map(|cores| cores.list()).ok_or_else(|| self.strange(&mask))
            }
            Setting::Irq { .. } => {
                let list = self.read_file(system)?;
                let cores = CoreSet::from_list(&list);
                cores.map(|cores| cores.list()).ok_or_else(|| self.strange(&list))
            }
            Setting::TransparentHugePages => {
                let text = self.read_file(system)?;
                let chosen = text.split(['[', ']']).nth(1).map(str::to_owned);
                chosen.ok_or_else(|| self.strange(&text))
            }
            Setting::Sysctl { .. }
            | Setting::Mtu { .. }
            | Setting::QueueLength { .. }
            | Setting::Governor { .. } => Ok(plain(&self.read_file(system)?)),
        }
    }

    /// Sets it. Whether the kernel took the value, reading it again says.
    pub(super) fn write(&self, system: &System, value: &str, way: Way) -> Result<(), Trouble> {
        self.write_plainly(system, value, way).map_err(|trouble| match trouble {
            Trouble::Failed(why) if way == Way::There => Trouble::Failed(format!(
                "{why}; give another {key}, or none, in a copy of the profile (`twincast-tune apply --show NAME > mine.toml`, \
                 then `--profile mine.toml`)",
                key = self.key()
            )),
            trouble => trouble,
        })
    }

    /// What a profile calls it.
    fn key(&self) -> String {
        match self {
            Setting::Sysctl { key } if key == "vm.nr_hugepages" => "`huge_pages`".into(),
            Setting::Sysctl { key } => format!("`\"{key}\"`"),
            Setting::Mtu { .. } => "`mtu`".into(),
            Setting::QueueLength { .. } => "`txqueuelen`".into(),
            Setting::Ring { .. } => "`rings`".into(),
            Setting::Channels { .. } => "`channels`".into(),
            Setting::Offload { name, .. } => format!("`{name}` of `offloads`"),
            Setting::Coalesce { name, .. } => format!("`{name}` of `coalesce`"),
            Setting::Qdisc { .. } => "`qdisc`".into(),
            Setting::Irq { .. } => "`irq`".into(),
            Setting::Xps { .. } => "`xps`".into(),
            Setting::Governor { .. } => "`governor`".into(),
            Setting::TransparentHugePages => "`transparent_huge_pages`".into(),
            Setting::LoginLimits => "`[limits]`".into(),
        }
    }

    fn write_plainly(&self, system: &System, value: &str, way: Way) -> Result<(), Trouble> {
        let ethtool = |words: &[&str]| ethtool::run(system, "ethtool", words).map(|_| ());
        let text = match self {
            Setting::Ring { interface, direction } => {
                return ethtool(&["-G", interface, direction.names().0, value]);
            }
            Setting::Channels { interface } => return ethtool(&["-L", interface, "combined", value]),
            Setting::Offload { interface, name } => return ethtool(&["-K", interface, name, value]),
            Setting::Coalesce { interface, name } => return ethtool(&["-C", interface, name, value]),
            Setting::Qdisc { interface } => {
                let (verb, kind) = if way == Way::There { ("replace", Some(value)) } else { ("del", None) };
                let words: Vec<&str> =
                    ["qdisc", verb, "dev", interface, "root"].into_iter().chain(kind).collect();
                return ethtool::run(system, "tc", &words).map(|_| ());
            }
            Setting::LoginLimits => return limits::write(system, value),
            Setting::Xps { .. } => CoreSet::from_list(value).unwrap_or_default().mask(),
            _ => value.to_owned(),
        };
        let file = self.file().expect("what is left has a file");
        std::fs::OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(system.path(&file))
            .and_then(|mut opened| std::io::Write::write_all(&mut opened, text.as_bytes()))
            .map_err(|error| match (self.trouble(&file, &error), self.cause(value, &error)) {
                (Trouble::Failed(why), Some(cause)) => Trouble::Failed(format!("{why}: {cause}")),
                (trouble, _) => trouble,
            })
    }

    /// What the kernel means by an error.
    fn cause(&self, value: &str, error: &std::io::Error) -> Option<String> {
        Some(match (error.kind(), self) {
            (ErrorKind::InvalidInput, Setting::Mtu { .. }) => {
                format!("its driver, or what it lies on, takes no packets of {value} bytes")
            }
            (ErrorKind::InvalidInput, _) => format!("the kernel does not take {value} here"),
            (ErrorKind::PermissionDenied, _) => {
                "the kernel lets nobody change it here, as in a container".into()
            }
            (ErrorKind::ReadOnlyFilesystem, _) => {
                "it is mounted to be read alone, as in a container: run this on the machine itself".into()
            }
            (ErrorKind::ResourceBusy, _) => "it is in use: try again when nothing is sent".into(),
            _ => return None,
        })
    }

    /// Why this process may not set it, if that is so: found out without setting it.
    pub(super) fn forbidden(&self, system: &System) -> Option<String> {
        let net_admin = || {
            let status = system.read("/proc/self/status").unwrap_or_default();
            let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
            let set = set.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0);
            (set >> CAP_NET_ADMIN & 1 == 0).then(|| "needs CAP_NET_ADMIN".to_owned())
        };
        let Some(file) = self.file() else { return net_admin() };
        let path = system.path(&file);
        let path = match self {
            Setting::LoginLimits => path.parent().expect("a file in a folder").to_owned(),
            _ => path,
        };
        match rustix::fs::access(&path, rustix::fs::Access::WRITE_OK) {
            Ok(()) if self.interface().is_some() && !matches!(self, Setting::Irq { .. }) => net_admin(),
            Ok(()) => None,
            Err(error) => Some(format!("{file}: {}", std::io::Error::from(error))),
        }
    }

    fn read_file(&self, system: &System) -> Result<String, Trouble> {
        let file = self.file().expect("called for what has a file");
        system.read(&file).map_err(|error| self.trouble(&file, &error))
    }

    fn strange(&self, text: &str) -> Trouble {
        Trouble::Failed(format!(
            "{}: holds {text:?}, which cannot be read here",
            self.file().unwrap_or_default()
        ))
    }

    fn trouble(&self, file: &str, error: &std::io::Error) -> Trouble {
        let not_here = match self {
            // The kernel moves some interrupts by itself, and lets nobody else.
            Setting::Irq { .. } => error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()),
            _ => error.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error()),
        };
        // A file that is there and is written to with ENOENT has no such value: a module that is not loaded.
        if not_here || error.kind() == ErrorKind::NotFound {
            return Trouble::Absent(format!("{file}: {error}"));
        }
        Trouble::Failed(format!("{file}: {error}"))
    }
}

/// The root queueing discipline of an interface.
pub(super) struct Qdisc {
    pub(super) kind: String,
    /// Nobody has set it: deleting what takes its place brings it back.
    pub(super) default: bool,
}

pub(super) fn qdisc(system: &System, interface: &str) -> Result<Qdisc, Trouble> {
    let text = ethtool::run(system, "tc", &["qdisc", "show", "dev", interface])?;
    // "qdisc mq 0: root", "qdisc fq 8001: root refcnt 2 limit ..": a handle of 0 is the kernel's own.
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["qdisc", kind, handle, rest @ ..] = words.as_slice()
            && rest.contains(&"root")
        {
            return Ok(Qdisc { kind: (*kind).into(), default: *handle == "0:" });
        }
    }
    Err(Trouble::Absent(format!("`tc qdisc show dev {interface}` has no root")))
}
