//! What guarding a run cost, and what it showed.

use crate::control::{Evidence, PlayReport, ServerReport};
use crate::plan::Plan;
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
    /// Pieces of evidence that users of accountable groups got.
    pub evidence: u64,
    /// Of the first of them whom each is against, and why. Their files are beside the results.
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
            verdicts: evidence
                .kept
                .into_iter()
                .map(|piece| EvidenceVerdict { against: piece.against, verdict: piece.verdict })
                .collect(),
        }
    }

    /// What evidence says against whom, each once.
    pub(super) fn blames(&self) -> Vec<&str> {
        let mut all: Vec<&str> = Vec::new();
        for verdict in self.verdicts.iter().filter(|verdict| verdict.against.is_some()) {
            if !all.contains(&verdict.verdict.as_str()) {
                all.push(&verdict.verdict);
            }
        }
        all
    }
}

/// The evidence of all hosts.
pub(crate) fn of_all(hosts: &[PlayReport]) -> Evidence {
    let mut all = Evidence::default();
    hosts.iter().for_each(|host| all.add(&host.evidence));
    all
}
