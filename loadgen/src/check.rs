//! What keeps the machines of a run from what their links carry: each is looked at before the first run of a plan, and
//! what is found there stays with every result of it ([`MachineCheck`]).
//!
//! What is asked of a machine (`CheckOrder`) follows from the plan and the places. An agent is asked over its own lines:
//! all that it is told are numbers and addresses. Where servers and hosts are in network namespaces of one machine, it is
//! looked at in a server's and in a host's: much of what TCP goes by is a namespace's own.

use crate::coordinator::place::{Deployment, Place};
use crate::limits::HOSTS_MAX;
use crate::net::Medium;
use crate::plan::Plan;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use twincast_node::{Asked, Finding, Report, Role, System, Verdict, check};
use twincast_ring::EgressConfig;
use twincast_server::config::Cores;

/// The most machines that one has to do with: all hosts, and a server.
const PEERS_MAX: usize = HOSTS_MAX as usize + 1;

/// What was found on one machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineCheck {
    /// What runs there, and where; `this machine` where everything is on one.
    pub name: String,
    /// What was found; none if it could not be looked at.
    pub report: Option<Report>,
    /// Why it could not.
    pub not_checked: Option<String>,
}

/// What a machine is checked for, as it travels to its agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckOrder {
    role: Role,
    /// By which the others reach it; none where everything is on one machine.
    address: Option<IpAddr>,
    peers: Vec<IpAddr>,
    link_bits_per_s: Option<u64>,
    executors: u64,
    fan_out_threads: u64,
    fan_out_cores: Vec<usize>,
    slab_pool_bytes: u64,
    connections_max: u64,
    send_buffer_bytes: u64,
}

impl MachineCheck {
    pub(crate) fn of(name: String, found: Result<Report, String>) -> MachineCheck {
        match found {
            Ok(report) => MachineCheck { name, report: Some(report), not_checked: None },
            Err(why) => MachineCheck { name, report: None, not_checked: Some(why) },
        }
    }

    /// What was found with this verdict.
    pub fn found(&self, verdict: Verdict) -> impl Iterator<Item = &Finding> {
        let findings = self.report.iter().flat_map(|report| &report.findings);
        findings.filter(move |finding| finding.verdict == verdict)
    }

    /// What keeps it from what its link carries, as the rest of a sentence; none: nothing that was found.
    fn fault(&self) -> Option<String> {
        if self.report.is_none() {
            return Some(format!("{} was not checked", self.name));
        }
        let failed: Vec<&str> = self.failed().collect();
        (!failed.is_empty()).then(|| format!("{} failed its check of {}", self.name, failed.join(", ")))
    }

    fn failed(&self) -> impl Iterator<Item = &str> {
        self.found(Verdict::Fail).map(|finding| finding.name.as_str())
    }

    /// Whether the two are of one machine, with the same to mend there.
    fn is_like(&self, other: &MachineCheck) -> bool {
        let machine = |check: &MachineCheck| check.report.as_ref().map(|report| report.machine.clone());
        machine(self).is_some() && machine(self) == machine(other) && self.failed().eq(other.failed())
    }
}

/// Why figures of these machines are to be taken with care, as the rest of a sentence; none: every machine was checked,
/// and no check failed.
#[must_use]
pub fn fault(checks: &[MachineCheck]) -> Option<String> {
    let bad = || checks.iter().filter(|check| check.fault().is_some());
    let Some(first) = bad().next() else {
        return checks.is_empty().then(|| "no machine was checked".into());
    };
    let told = first.fault()?;
    Some(match bad().skip(1).filter(|check| !check.is_like(first)).count() {
        0 => told,
        1 => format!("{told}, and 1 more check found something to mend"),
        more => format!("{told}, and {more} more checks found something to mend"),
    })
}

impl CheckOrder {
    /// Each machine of a run, in the order of servers and hosts; of namespaces a server's and a host's.
    pub(crate) fn all(deployment: &Deployment, plan: &Plan) -> Vec<CheckOrder> {
        match deployment.medium {
            Medium::Loopback(_) => vec![CheckOrder::of(Role::Everything, plan, 2)],
            // The machine is one, whichever of them it is looked at from.
            Medium::Namespaces(_) => vec![CheckOrder::of(Role::Everything, plan, 2); 2],
            Medium::Machines => {
                let servers = deployment.servers.iter().map(|place| {
                    let others = deployment.servers.iter().chain(&deployment.hosts);
                    CheckOrder::of(Role::Server, plan, 1).at(place, others, deployment, plan)
                });
                let hosts = deployment.hosts.iter().map(|place| {
                    CheckOrder::of(Role::Host, plan, 0).at(place, deployment.servers.iter(), deployment, plan)
                });
                servers.chain(hosts).collect()
            }
        }
    }

    /// Of a machine with so many servers.
    fn of(role: Role, plan: &Plan, servers: u64) -> CheckOrder {
        let (set, default) = (&plan.server, EgressConfig::default());
        let threads = servers * set.fan_out_threads.unwrap_or(1) as u64;
        let pool = set.slab_bytes.unwrap_or(default.slab_bytes) * set.slabs.unwrap_or(default.slabs);
        let hosts = match role {
            Role::Everything => u64::from(plan.hosts),
            Role::Server => 0,
            Role::Host => 1,
        };
        CheckOrder {
            role,
            address: None,
            peers: Vec::new(),
            link_bits_per_s: None,
            executors: servers + hosts,
            fan_out_threads: threads,
            fan_out_cores: match &set.fan_out_cores {
                Some(Cores::List(list)) if servers > 0 => list.clone(),
                _ => Vec::new(),
            },
            slab_pool_bytes: threads * pool as u64,
            connections_max: if servers > 0 { crate::coordinator::connections_max(plan) } else { 0 },
            send_buffer_bytes: set.send_buffer_bytes.filter(|_| servers > 0).unwrap_or(0) as u64,
        }
    }

    /// On a network with others.
    fn at<'a>(
        self,
        place: &Place,
        others: impl Iterator<Item = &'a Place>,
        deployment: &Deployment,
        plan: &Plan,
    ) -> CheckOrder {
        let mut peers: Vec<IpAddr> = others.map(|other| other.address).collect();
        peers.retain(|peer| *peer != place.address);
        peers.sort_unstable();
        peers.dedup();
        let link_bits_per_s = deployment.medium.rate_bits_per_s(&plan.link);
        CheckOrder { address: Some(place.address), peers, link_bits_per_s, ..self }
    }

    /// Looks at a machine.
    ///
    /// # Errors
    /// Why it cannot be looked at, in a sentence.
    pub(crate) fn check(&self, system: &System) -> Result<Report, String> {
        if self.peers.len() > PEERS_MAX {
            return Err(format!(
                "{} other machines are more than the {PEERS_MAX} that a run has",
                self.peers.len()
            ));
        }
        check(system, &self.asked()).map_err(|error| error.to_string())
    }

    fn asked(&self) -> Asked {
        let CheckOrder { role, address, peers, link_bits_per_s, .. } = self;
        Asked {
            address: *address,
            peers: peers.clone(),
            link_bits_per_s: *link_bits_per_s,
            executors: self.executors,
            fan_out_threads: self.fan_out_threads,
            fan_out_cores: self.fan_out_cores.clone(),
            slab_pool_bytes: self.slab_pool_bytes,
            connections_max: self.connections_max,
            send_buffer_bytes: self.send_buffer_bytes,
            ..Asked::new(*role)
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
