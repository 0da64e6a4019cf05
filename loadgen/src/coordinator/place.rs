//! Where the processes of a run are: on this machine, in network namespaces of it, at agents, or on machines that the
//! system's ssh reaches.

mod here;

use crate::agent::Token;
use crate::environment::Environment;
use crate::net::{Link, Links, Medium};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

/// Where one server or host runs.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// What a person calls what runs there: "server 1", "host 3 at 10.0.0.13".
    pub(crate) name: String,
    /// The address by which the others reach it.
    pub(crate) address: IpAddr,
    /// The port that a server there listens on for clients; 0 for a free one.
    pub(crate) port: u16,
    /// The port that S2 takes the link on; 0 for a free one.
    pub(crate) link_port: u16,
    /// How it is started.
    pub(crate) site: Site,
}

/// How a process is started.
#[derive(Clone, Debug)]
pub(crate) enum Site {
    /// As a child of this process.
    Here,
    /// As a child of this process, in the network namespace of this name.
    Namespace(String),
    /// By an agent that waits on its machine.
    Agent(AgentSite),
    /// By an agent that ssh starts on its machine.
    Ssh(SshSite),
}

/// An agent that waits for coordinators.
#[derive(Clone, Debug)]
pub(crate) struct AgentSite {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Whether it may serve other runs meanwhile.
    pub(crate) shared: bool,
    /// What both know.
    pub(crate) token: Arc<Token>,
}

/// A machine that the system's ssh reaches without asking.
#[derive(Clone, Debug)]
pub(crate) struct SshSite {
    /// As ssh takes it: `user@machine`, or `ssh://user@machine:port`.
    pub(crate) machine: String,
    /// The program there.
    pub(crate) program: String,
    /// ssh's configuration, if not the user's own.
    pub(crate) config: Option<PathBuf>,
}

/// Everywhere that a run has processes.
#[derive(Debug)]
pub(crate) struct Deployment {
    /// S1 and S2.
    pub(crate) servers: [Place; 2],
    /// The client hosts.
    pub(crate) hosts: Vec<Place>,
    /// How hosts were made, in words, for `environment`.
    pub(crate) words: String,
    /// What joins them.
    pub(crate) medium: Medium,
    /// The links that they have here, kept for as long as the deployment.
    pub(crate) links: Option<Links>,
}

impl Place {
    /// A place whose server listens on free ports.
    pub(crate) fn new(name: String, address: IpAddr, site: Site) -> Place {
        Place { name, address, port: 0, link_port: 0, site }
    }

    /// A server's address for clients.
    pub(crate) fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }
}

impl Site {
    /// Whether what runs there is on another clock than this process, for all that anybody knows.
    pub(crate) fn is_far(&self) -> bool {
        matches!(self, Site::Agent(_) | Site::Ssh(_))
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Site::Here => f.write_str("this machine"),
            Site::Namespace(name) => write!(f, "network namespace {name}"),
            Site::Agent(agent) => write!(f, "{}", agent.address),
            Site::Ssh(ssh) => write!(f, "{} (ssh)", ssh.machine),
        }
    }
}

impl Deployment {
    /// Processes on this machine, over the loopback interface.
    pub(crate) fn loopback(hosts: u32) -> Deployment {
        Deployment::over(Medium::Loopback(None), hosts)
    }

    /// What figures of runs here depend on; the plan has this link.
    pub(crate) fn environment(&self, link: &Link) -> Environment {
        let congestion_control = match (&self.medium, &self.links) {
            // Each of the machines has its own, and this one's is none of them.
            (Medium::Machines, _) => None,
            (_, Some(links)) => links.congestion_control.clone(),
            (_, None) => crate::net::congestion_control(),
        };
        let environment = Environment::of_this_machine(&self.words, self.medium.mtu(link));
        Environment { congestion_control, ..environment }
    }

    fn over(medium: Medium, hosts: u32) -> Deployment {
        let place = |name: String| Place::new(name, Ipv4Addr::LOCALHOST.into(), Site::Here);
        Deployment {
            servers: [1, 2].map(|side| place(format!("server {side}"))),
            hosts: (0..hosts).map(|host| place(format!("host {host}"))).collect(),
            words: medium.in_words(),
            medium,
            links: None,
        }
    }
}
