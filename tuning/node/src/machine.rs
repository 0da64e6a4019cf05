//! A machine that is being checked: what several findings have in common.

use crate::interface::Interface;
use crate::text::cores;
use crate::{Asked, CheckError, System};
use std::collections::BTreeSet;
use std::io::ErrorKind;

/// A machine that is being checked.
pub(crate) struct Machine<'a> {
    pub(crate) system: &'a System,
    pub(crate) asked: &'a Asked,
    /// What carries shares; none where they stay on the machine.
    pub(crate) interface: Option<Interface>,
}

/// What came of running a program.
pub(crate) enum Said {
    /// What it printed.
    Text(String),
    /// It ended badly, and said this first.
    Refused(String),
    /// It is not installed.
    Missing,
}

impl<'a> Machine<'a> {
    pub(crate) fn new(system: &'a System, asked: &'a Asked) -> Result<Machine<'a>, CheckError> {
        let interface = Interface::find(system, asked)?;
        Ok(Machine { system, asked, interface })
    }

    /// The interface where there is a link behind it, or why nothing is to be looked at there.
    pub(crate) fn link(&self) -> Result<&Interface, String> {
        match &self.interface {
            None => Err("no interface was asked for: what is sent stays on this machine".into()),
            Some(interface) if interface.is_loopback() => {
                Err(format!("{} has no link: what is sent stays on this machine", interface.name))
            }
            Some(interface) => Ok(interface),
        }
    }

    /// What the link has, or is asked to have, whichever is more.
    pub(crate) fn bits_per_s(&self) -> Option<u64> {
        let read = self.link().ok().and_then(|interface| interface.bits_per_s);
        read.max(self.asked.link_bits_per_s)
    }

    /// Those that fan-out threads are pinned to, without those that are not there: no command takes such a core.
    pub(crate) fn fan_out_cores(&self) -> BTreeSet<usize> {
        let mut cores: BTreeSet<usize> = self.asked.fan_out_cores.iter().copied().collect();
        if let Some(online) = self.core_set("/sys/devices/system/cpu/online") {
            cores.retain(|core| online.contains(core));
        }
        cores
    }

    /// A set of cores, of a file in the kernel's form; none where there is no such file.
    pub(crate) fn core_set(&self, path: &str) -> Option<BTreeSet<usize>> {
        cores(&self.system.read(path).ok()?)
    }

    pub(crate) fn say(&self, name: &str, words: &[&str]) -> Said {
        match self.system.program(name, words) {
            Ok(output) if output.status.success() => {
                Said::Text(String::from_utf8_lossy(&output.stdout).into_owned())
            }
            Ok(output) => {
                let all = [output.stderr, output.stdout].concat();
                let all = String::from_utf8_lossy(&all);
                let first = all.lines().map(str::trim).find(|line| !line.is_empty());
                Said::Refused(first.map_or_else(|| output.status.to_string(), str::to_owned))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Said::Missing,
            Err(error) => Said::Refused(error.to_string()),
        }
    }

    /// Whether the distribution is one of these, or made from one.
    pub(crate) fn is_like(&self, names: &[&str]) -> bool {
        let text = self.system.read("/etc/os-release").unwrap_or_default();
        let values =
            text.lines().filter_map(|line| line.strip_prefix("ID=").or(line.strip_prefix("ID_LIKE=")));
        values.flat_map(|value| value.trim_matches('"').split(' ')).any(|word| names.contains(&word))
    }

    /// The command that installs a package, of this name in Debian and that name in Fedora; empty where it is neither.
    pub(crate) fn install(&self, debian: &str, fedora: &str) -> String {
        if self.is_like(&["debian", "ubuntu"]) {
            format!("apt-get install -y {debian}")
        } else if self.is_like(&["fedora", "rhel", "centos"]) {
            format!("dnf install -y {fedora}")
        } else {
            String::new()
        }
    }
}
