//! A profile: settings of a machine, as commented TOML. `PROFILES.md` beside the crate's manifest has every key.

use super::keys;
use super::words::plain;
use crate::TuneError;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use toml::Value;

/// The profiles that come with the program: their names and texts.
pub const PROFILES: [(&str, &str); 5] = [
    ("default", include_str!("../../profiles/default.toml")),
    ("10g", include_str!("../../profiles/10g.toml")),
    ("25g-and-up", include_str!("../../profiles/25g-and-up.toml")),
    ("large-groups", include_str!("../../profiles/large-groups.toml")),
    ("two-core-laptop", include_str!("../../profiles/two-core-laptop.toml")),
];

/// A profile's file in bytes, at the most.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A profile. Every section and key is optional but `about`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    /// What it is for, in a sentence.
    pub(super) about: String,
    #[serde(default)]
    pub(super) sysctl: BTreeMap<SysctlKey, SysctlValue>,
    pub(super) interface: Option<Interface>,
    pub(super) affinity: Option<Affinity>,
    pub(super) cpu: Option<Cpu>,
    pub(super) memory: Option<Memory>,
    pub(super) limits: Option<Limits>,
}

/// A key that may be set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct SysctlKey(pub(super) String);

impl TryFrom<String> for SysctlKey {
    type Error = String;

    fn try_from(key: String) -> Result<SysctlKey, String> {
        keys::sysctl(&key).map(|()| SysctlKey(key))
    }
}

/// What a key is set to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub(super) enum SysctlValue {
    /// To this.
    Exactly(String),
    /// To this, number by number, where it is lower.
    AtLeast(Vec<u64>),
}

impl TryFrom<Value> for SysctlValue {
    type Error = String;

    fn try_from(value: Value) -> Result<SysctlValue, String> {
        if let Some(table) = value.as_table() {
            let least = table.get("at_least").filter(|_| table.len() == 1).and_then(word);
            let numbers = least.and_then(|text| text.split(' ').map(|number| number.parse().ok()).collect());
            return numbers.map(SysctlValue::AtLeast).ok_or_else(|| {
                "give { at_least = 4096 } or { at_least = \"4096 65536 4194304\" }: numbers alone, and no other key"
                    .into()
            });
        }
        let text = word(&value).ok_or(
            "give a whole number, a text, or { at_least = NUMBER } for what is never to be made lower",
        )?;
        keys::sysctl_value(&text).map(|()| SysctlValue::Exactly(text))
    }
}

fn word(value: &Value) -> Option<String> {
    match value {
        Value::Integer(number) if *number >= 0 => Some(number.to_string()),
        Value::String(text) => Some(plain(text)),
        _ => None,
    }
}

/// What is set on each interface that is named on the command line.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Interface {
    /// Bytes of the largest packet.
    pub(super) mtu: Option<Within<68, 65_536>>,
    pub(super) rings: Option<Rings>,
    /// Queues, each way.
    pub(super) channels: Option<Channels>,
    pub(super) offloads: BTreeMap<OffloadName, bool>,
    pub(super) coalesce: BTreeMap<CoalesceName, CoalesceValue>,
    pub(super) qdisc: Option<QdiscName>,
    /// Packets that wait in a queueing discipline at the most.
    pub(super) txqueuelen: Option<Within<1, 1_000_000>>,
}

/// Descriptors of each queue.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Rings {
    pub(super) rx: Option<Amount>,
    pub(super) tx: Option<Amount>,
}

/// A whole number within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub(super) struct Within<const LEAST: u64, const MOST: u64>(pub(super) u64);

impl<const LEAST: u64, const MOST: u64> TryFrom<i64> for Within<LEAST, MOST> {
    type Error = String;

    fn try_from(number: i64) -> Result<Self, String> {
        let number = u64::try_from(number).ok().filter(|number| (LEAST..=MOST).contains(number));
        number.map(Within).ok_or_else(|| format!("give a whole number from {LEAST} to {MOST}"))
    }
}

/// A number, or as much as the machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub(super) enum Amount {
    Number(u64),
    Max,
}

impl TryFrom<Value> for Amount {
    type Error = String;

    fn try_from(value: Value) -> Result<Amount, String> {
        match &value {
            Value::Integer(number @ 1..=1_000_000) => Ok(Amount::Number(number.unsigned_abs())),
            Value::String(text) if text == "max" => Ok(Amount::Max),
            _ => Err("give a whole number from 1 to 1000000, or \"max\"".into()),
        }
    }
}

/// How many queues an interface has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub(super) enum Channels {
    Number(u64),
    Max,
    /// One for each fan-out thread.
    FanOut,
}

impl TryFrom<Value> for Channels {
    type Error = String;

    fn try_from(value: Value) -> Result<Channels, String> {
        match &value {
            Value::Integer(number @ 1..=4_096) => Ok(Channels::Number(number.unsigned_abs())),
            Value::String(text) if text == "max" => Ok(Channels::Max),
            Value::String(text) if text == "fan-out" => Ok(Channels::FanOut),
            _ => Err("give a whole number from 1 to 4096, \"max\" or \"fan-out\"".into()),
        }
    }
}

/// A name out of a list of known ones.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $known:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
        #[serde(try_from = "String")]
        pub(super) struct $name(pub(super) String);

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(name: String) -> Result<$name, String> {
                keys::one_of($what, &name, $known).map(|()| $name(name))
            }
        }
    };
}

name!(
    /// Of an offload.
    OffloadName, "the offload", &keys::OFFLOADS.map(|(name, _)| name)
);
name!(
    /// Of a parameter of interrupt moderation.
    CoalesceName, "the key of coalesce", &keys::COALESCE
);
name!(
    /// Of a queueing discipline.
    QdiscName, "the qdisc", &keys::QDISCS
);
name!(
    /// Of a way to give out transparent huge pages.
    HugeName, "the way", &keys::TRANSPARENT_HUGE_PAGES
);

/// On and off, or a number.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct CoalesceValue(pub(super) String);

impl TryFrom<Value> for CoalesceValue {
    type Error = String;

    fn try_from(value: Value) -> Result<CoalesceValue, String> {
        match value {
            Value::Boolean(on) => Ok(CoalesceValue(if on { "on" } else { "off" }.into())),
            Value::Integer(number @ 0..=1_000_000) => Ok(CoalesceValue(number.to_string())),
            _ => {
                Err("give true or false for adaptive-rx and adaptive-tx, else a number up to 1000000".into())
            }
        }
    }
}

/// Which cores do what of an interface.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Affinity {
    pub(super) irq: Option<Irq>,
    pub(super) xps: Option<Xps>,
}

/// Which cores take the interrupts of an interface's queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Irq {
    /// One after the other, all cores of the interface's NUMA node.
    Spread,
    /// Those of them that no fan-out thread is pinned to.
    Away,
    /// Those that fan-out threads are pinned to.
    FanOut,
}

/// Which cores send on which queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Xps {
    /// Each core has one queue, the queues as evenly as may be.
    Spread,
    /// The same of the cores that fan-out threads are pinned to.
    FanOut,
    /// The kernel's own choice.
    Off,
}

/// Of every core.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cpu {
    pub(super) governor: Governor,
}

/// Who chooses a core's frequency.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Governor(pub(super) String);

impl TryFrom<String> for Governor {
    type Error = String;

    fn try_from(name: String) -> Result<Governor, String> {
        let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase());
        plain.then_some(Governor(name)).ok_or_else(|| "give a governor such as \"performance\"".into())
    }
}

/// Huge pages.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Memory {
    pub(super) transparent_huge_pages: Option<HugeName>,
    pub(super) huge_pages: Option<HugePages>,
}

/// Huge pages that are free and set aside, at the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub(super) enum HugePages {
    Number(u64),
    /// As many as a server's slabs take, on each NUMA node.
    SlabPools,
}

impl TryFrom<Value> for HugePages {
    type Error = String;

    fn try_from(value: Value) -> Result<HugePages, String> {
        match &value {
            Value::Integer(number @ 0..=10_000_000) => Ok(HugePages::Number(number.unsigned_abs())),
            Value::String(text) if text == "slab-pools" => Ok(HugePages::SlabPools),
            _ => Err("give a number of pages, or \"slab-pools\"".into()),
        }
    }
}

/// Limits of logins, never made lower.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    /// Memory that a user may lock, in bytes.
    pub(super) memlock: Option<Memlock>,
    /// Files that a process may have open.
    pub(super) nofile: Option<Within<1_024, 1_073_741_816>>,
}

/// Memory that a user may lock: bytes, or `u64::MAX` for as much as there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct Memlock(pub(super) u64);

impl TryFrom<Value> for Memlock {
    type Error = String;

    fn try_from(value: Value) -> Result<Memlock, String> {
        match &value {
            Value::Integer(number @ 65_536..) => Ok(Memlock(number.unsigned_abs())),
            Value::String(text) if text == "unlimited" => Ok(Memlock(u64::MAX)),
            _ => Err("give bytes, 65536 at the least, or \"unlimited\"".into()),
        }
    }
}

impl Profile {
    /// Reads a profile; `name` stands before the line in what is wrong with it.
    pub(super) fn parse(name: &str, text: &str) -> Result<Profile, TuneError> {
        let wrong = |line: usize, what: &str| {
            TuneError::Usage(format!(
                "{name}:{line}: {what}; `twincast-tune apply --show default` prints a profile to begin with, and \
                 tuning/PROFILES.md has every key"
            ))
        };
        let profile: Profile = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..start].iter().filter(|&&byte| byte == b'\n').count() + 1;
            wrong(line, &plain(error.message()))
        })?;
        for (CoalesceName(key), CoalesceValue(value)) in
            profile.interface.iter().flat_map(|interface| &interface.coalesce)
        {
            if key.starts_with("adaptive") != matches!(value.as_str(), "on" | "off") {
                let line = text.lines().position(|line| line.contains(key.as_str())).map_or(1, |at| at + 1);
                return Err(wrong(
                    line,
                    &format!(
                        "{key} is {value}: give true or false for adaptive-rx and adaptive-tx, else a number"
                    ),
                ));
            }
        }
        Ok(profile)
    }

    /// Reads the one that comes with the program, or a file: whatever has a slash or ends in `.toml`.
    pub(super) fn load(told: &str) -> Result<Profile, TuneError> {
        if !told.contains('/') && !told.ends_with(".toml") {
            return Profile::parse(told, text(told)?);
        }
        let wrong = |why: String| TuneError::Usage(format!("--profile {told}: {why}"));
        let size = std::fs::metadata(Path::new(told)).map_err(|error| wrong(error.to_string()))?.len();
        if size > FILE_BYTES_MAX {
            return Err(wrong(format!("has {size} bytes; a profile has {FILE_BYTES_MAX} at the most")));
        }
        let text = std::fs::read_to_string(told).map_err(|error| wrong(error.to_string()))?;
        Profile::parse(told, &text)
    }
}

/// The text of a profile that comes with the program.
pub(super) fn text(name: &str) -> Result<&'static str, TuneError> {
    PROFILES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text).ok_or_else(|| {
        TuneError::Usage(format!(
            "there is no profile {name:?}: there are {}; a file of your own has a slash in its name or ends in .toml",
            PROFILES.map(|(known, _)| known).join(", ")
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Profile::parse("p.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn the_profiles_that_come_along_are_read() {
        for (name, text) in PROFILES {
            let profile = Profile::parse(name, text).unwrap();
            assert!(!profile.about.is_empty(), "{name}");
            assert!(text.starts_with("# "), "{name}: --list prints the first comment");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_the_known_keys() {
        for (text, said) in [
            (
                "about = \"x\"\n\n[sysctls]\n",
                "p.toml:3: unknown field `sysctls`, expected one of `about`, `sysctl`",
            ),
            (
                "about = \"x\"\n[interface]\nmut = 9000\n",
                "p.toml:3: unknown field `mut`, expected one of `mtu`, `rings`",
            ),
            ("about = \"x\"\n[interface]\nmtu = 9\n", "p.toml:3: give a whole number from 68 to 65536"),
            (
                "about = \"x\"\n[sysctl]\n\"kernel.core_pattern\" = \"|/x\"\n",
                "p.toml:3: the sysctl key `kernel.core_pattern` is not one",
            ),
            (
                "about = \"x\"\n[sysctl]\n\"net.core.wmem_max\" = -1\n",
                "p.toml:3: give a whole number, a text",
            ),
            ("about = \"x\"\n[sysctl]\n\"net.core.wmem_max\" = { least = 1 }\n", "p.toml:3: give { at_least"),
            (
                "about = \"x\"\n[interface]\nrings = { rx = \"all\" }\n",
                "p.toml:3: give a whole number from 1 to 1000000, or \"max\"",
            ),
            (
                "about = \"x\"\n[interface]\noffloads = { ufo = true }\n",
                "p.toml:3: the offload `ufo` is not known here; these are: rx, tx",
            ),
            (
                "about = \"x\"\n[interface]\nqdisc = \"htb\"\n",
                "p.toml:3: the qdisc `htb` is not known here; these are: mq",
            ),
            (
                "about = \"x\"\n[interface.coalesce]\nadaptive-rx = 3\n",
                "p.toml:3: adaptive-rx is 3: give true or false",
            ),
            (
                "about = \"x\"\n[affinity]\nirq = \"all\"\n",
                "p.toml:3: unknown variant `all`, expected one of `spread`, `away`, `fan-out`",
            ),
            ("about = \"x\"\n[limits]\nnofile = 3\n", "p.toml:3: give a whole number from 1024"),
            (
                "about = \"x\"\n[sysctl]\n\"vm.nr_hugepages\" = 1\n\"vm.nr_hugepages\" = 2\n",
                "p.toml:4: duplicate key",
            ),
            ("[cpu]\ngovernor = \"performance\"\n", "missing field `about`"),
            ("about = \n", "p.toml:1: "),
        ] {
            let refusal = refused(text);
            assert!(refusal.contains(said), "{text}: {refusal}");
        }
        let unknown = text("10G").unwrap_err().to_string();
        assert!(unknown.contains("there are default, 10g, 25g-and-up"), "{unknown}");
    }
}
