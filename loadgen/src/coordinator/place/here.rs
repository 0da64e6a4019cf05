//! All processes of a run on this machine.

use super::{Deployment, Place, Site};
use crate::net::{LinkRate, Links, Medium, clean_up_stale};
use crate::plan::Plan;
use std::net::Ipv4Addr;
use std::sync::Once;

/// Runs after each other fall back for the same reason, which is told once.
static TOLD: Once = Once::new();

impl Deployment {
    /// Two servers and the plan's hosts on this machine: in network namespaces with the plan's links, or, if the plan
    /// wants none or the machine does not let them be, over the loopback interface. What killed runs have left of
    /// theirs is removed first. The first time that links cannot be, a line on stderr says so at once.
    pub(crate) fn here(plan: &Plan) -> Deployment {
        if plan.link.rate == LinkRate::Loopback {
            return Deployment::loopback(plan.hosts);
        }
        clean_up_stale();
        match Links::lay(&plan.link, plan.hosts) {
            Ok(links) => Deployment::in_namespaces(links),
            Err(why) => {
                TOLD.call_once(|| eprintln!("links were not shaped: {why}; going on over loopback"));
                Deployment::over(Medium::Loopback(Some(why.to_string())), plan.hosts)
            }
        }
    }

    /// Whether all of these places are this machine's, and may as well be namespaces of it: nobody gave them addresses.
    pub(crate) fn is_here(&self) -> bool {
        let mut all = self.servers.iter().chain(&self.hosts);
        all.all(|place| matches!(place.site, Site::Here) && place.address == Ipv4Addr::LOCALHOST)
    }

    /// As many places, with the plan's links between them, and with these servers' ports.
    pub(crate) fn laid_for(&self, plan: &Plan) -> Deployment {
        let mut laid = Deployment::here(plan);
        for (server, named) in laid.servers.iter_mut().zip(&self.servers) {
            (server.port, server.link_port) = (named.port, named.link_port);
        }
        laid
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
