//! All processes of a run on this machine.

use super::{Deployment, Place, Site};
use crate::net::{LinkRate, Links, Medium, clean_up_stale};
use crate::plan::Plan;

impl Deployment {
    /// Two servers and the plan's hosts on this machine: in network namespaces with the plan's links, or, if the plan
    /// wants none or the machine does not let them be, over the loopback interface. What killed runs have left of
    /// theirs is removed first.
    pub(crate) fn here(plan: &Plan) -> Deployment {
        if plan.link.rate == LinkRate::Loopback {
            return Deployment::loopback(plan.hosts);
        }
        clean_up_stale();
        match Links::lay(&plan.link, plan.hosts) {
            Ok(links) => Deployment::in_namespaces(links),
            Err(why) => {
                tracing::warn!("links were not shaped: {why}");
                Deployment::over(Medium::Loopback(Some(why.to_string())), plan.hosts)
            }
        }
    }

    fn in_namespaces(links: Links) -> Deployment {
        let place = |name: String, end: &crate::net::End| {
            Place::new(name, end.address, Site::Namespace(end.namespace.clone()))
        };
        let servers = [0, 1].map(|side| place(format!("server {}", side + 1), &links.servers[side]));
        let hosts = links.hosts.iter().enumerate();
        let hosts = hosts.map(|(host, end)| place(format!("host {host}"), end)).collect();
        let medium = Medium::of(&links);
        Deployment { servers, hosts, words: medium.in_words(), medium, links: Some(links) }
    }
}
