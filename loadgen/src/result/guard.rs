//! What guarding a run cost, and what it showed.

use crate::control::{ACCUSED, Evidence, PlayReport, ServerReport, accused};
use crate::plan::Plan;
use crate::units::thousands;
use serde::{Deserialize, Serialize};

/// What guarding a run cost, and what it showed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardResult {
    /// CPU nanoseconds of both servers for each byte that they sent to clients.
    pub server_cpu_ns_per_byte: Option<f64>,
    /// Bytes that a server sent for each member and measured round, the mean of both.
    pub egress_bytes_per_member: Option<f64>,
    /// What clients said whose connections the plan's fault broke.
    pub broken: Vec<String>,
    /// Pieces of evidence that users of accountable groups got. Every one is judged.
    pub evidence: u64,
    /// Those of them that are against S1, against S2, and against one of the users; the others blame nobody.
    #[serde(default)]
    pub evidence_against: [u64; 3],
    /// Of those that are kept whom each is against, and why, in the order of their files beside the results.
    pub verdicts: Vec<EvidenceVerdict>,
}

/// What one piece of evidence says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceVerdict {
    /// Against S1 or S2 (1, 2), or one of the users (0); none: it blames nobody.
    pub against: Option<u8>,
    /// Whom it is against, and why, in a sentence.
    pub verdict: String,
}

impl GuardResult {
    pub(super) fn of(plan: &Plan, hosts: &[PlayReport], servers: &[ServerReport; 2]) -> GuardResult {
        let bytes: u64 = servers.iter().map(|server| server.egress_bytes).sum();
        let cpu: f64 = servers.iter().map(|server| server.cpu_seconds).sum();
        let each = u64::from(plan.group) * u64::from(plan.groups) * u64::from(plan.rounds);
        let rounded = |figure: f64| (figure * 1e3).round() / 1e3;
        let evidence = of_all(hosts);
        GuardResult {
            server_cpu_ns_per_byte: (bytes > 0).then(|| rounded(cpu * 1e9 / bytes as f64)),
            egress_bytes_per_member: (bytes > 0).then(|| rounded(bytes as f64 / 2.0 / each as f64)),
            broken: hosts.iter().flat_map(|host| host.broken.iter().cloned()).collect(),
            evidence: evidence.pieces,
            evidence_against: evidence.against,
            verdicts: evidence
                .kept
                .into_iter()
                .map(|piece| EvidenceVerdict { against: piece.against, verdict: piece.verdict })
                .collect(),
        }
    }

    /// What evidence says against whom: each kept verdict once, and how many more pieces there are against whom.
    pub(super) fn blames(&self) -> Vec<String> {
        (0..ACCUSED.len()).flat_map(|whom| self.blames_of(whom)).collect()
    }

    /// The same against one of [`ACCUSED`].
    pub(super) fn blames_of(&self, whom: usize) -> Vec<String> {
        let kept = || self.verdicts.iter().filter(move |verdict| accused(verdict.against) == Some(whom));
        let mut all: Vec<String> = Vec::new();
        for verdict in kept() {
            if !all.contains(&verdict.verdict) {
                all.push(verdict.verdict.clone());
            }
        }
        let more = self.evidence_against[whom].saturating_sub(kept().count() as u64);
        if more > 0 {
            let pieces = if more == 1 { "piece" } else { "pieces" };
            all.push(format!(
                "{} more {pieces} against {} that are not kept",
                thousands(more),
                ACCUSED[whom]
            ));
        }
        all
    }

    /// How much evidence there is against whom, and of how much of it there is no file; nothing where there is none.
    pub(crate) fn evidence_in_words(&self) -> Option<String> {
        let nobody = self.evidence.saturating_sub(self.evidence_against.iter().sum());
        let groups = ACCUSED.into_iter().map(|whom| format!("against {whom}")).zip(self.evidence_against);
        let groups = groups.chain([("against nobody".to_owned(), nobody)]);
        let groups: Vec<String> = groups
            .filter(|(_, count)| *count > 0)
            .map(|(whom, count)| format!("{} {whom}", thousands(count)))
            .collect();
        let rest = self.evidence.saturating_sub(self.verdicts.len() as u64);
        let rest = match rest {
            0 => String::new(),
            _ => format!("; {} of them are judged and counted, and not kept", thousands(rest)),
        };
        (self.evidence > 0).then(|| format!("Evidence, in pieces: {}{rest}.", groups.join(", ")))
    }
}

/// The evidence of all hosts.
pub(crate) fn of_all(hosts: &[PlayReport]) -> Evidence {
    let mut all = Evidence::default();
    hosts.iter().for_each(|host| all.add(&host.evidence));
    all
}
