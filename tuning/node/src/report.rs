//! What a check found.

use crate::{Role, System};
use serde::{Deserialize, Serialize};

/// The schema's name and version.
pub const SCHEMA: &str = "twincast-check/1";

/// How a finding is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The machine does not have what would be looked at.
    Absent,
    /// As it should be.
    Pass,
    /// It costs throughput, or may; or it could not be looked at.
    Warn,
    /// Line rate is not to be had, or nothing runs at all.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// What, in a few words that never change: `memlock`, `io_uring`, `irq_affinity`.
    pub name: String,
    /// How it is to be taken.
    pub verdict: Verdict,
    /// What was found, and why that matters, in one sentence.
    pub reason: String,
    /// The command, as root, that mends it; empty: nothing is to be mended, or no command does.
    pub remedy: String,
}

impl Finding {
    pub(crate) fn pass(name: &str, reason: impl Into<String>) -> Finding {
        Finding::of(name, Verdict::Pass, reason, "")
    }

    pub(crate) fn absent(name: &str, reason: impl Into<String>) -> Finding {
        Finding::of(name, Verdict::Absent, reason, "")
    }

    pub(crate) fn warn(name: &str, reason: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding::of(name, Verdict::Warn, reason, remedy)
    }

    pub(crate) fn fail(name: &str, reason: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding::of(name, Verdict::Fail, reason, remedy)
    }

    fn of(name: &str, verdict: Verdict, reason: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { name: name.into(), verdict, reason: reason.into(), remedy: remedy.into() }
    }
}

/// All of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// The machine's name for itself.
    pub machine: String,
    /// What it was checked for.
    pub role: Role,
    /// The interface that was looked at.
    pub interface: Option<String>,
    /// What its driver says of the link's speed; none where there is no link, or none is told.
    #[serde(default)]
    pub link_bits_per_s: Option<u64>,
    /// The largest packet of the interface; none where there is no link.
    #[serde(default)]
    pub mtu_bytes: Option<u64>,
    /// In a fixed order.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Of these findings.
    #[must_use]
    pub fn new(system: &System, role: Role, interface: Option<String>, findings: Vec<Finding>) -> Report {
        let (schema, machine) = (SCHEMA.into(), system.hostname());
        Report { schema, machine, role, interface, link_bits_per_s: None, mtu_bytes: None, findings }
    }

    /// The worst verdict of all.
    #[must_use]
    pub fn worst(&self) -> Verdict {
        self.findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Pass)
    }

    /// Those that keep it from line rate.
    pub fn failures(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.verdict == Verdict::Fail)
    }
}
