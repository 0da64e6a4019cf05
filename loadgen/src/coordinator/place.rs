//! Where the processes of a run are: on this machine, in network namespaces of it, or at agents.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where one server or host runs.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// What a person calls what runs there: "server 1", "host 3 at 10.0.0.13".
    pub(crate) name: String,
    /// The address by which the others reach it.
    pub(crate) address: IpAddr,
    /// The port that a server there listens on for clients; 0 for a free one.
    pub(crate) port: u16,
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
}

impl Place {
    /// A server's address for clients.
    pub(crate) fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }
}

impl Deployment {
    /// Processes on this machine, over the loopback interface.
    pub(crate) fn loopback(hosts: u32) -> Deployment {
        let place =
            |name: String| Place { name, address: Ipv4Addr::LOCALHOST.into(), port: 0, site: Site::Here };
        Deployment {
            servers: [1, 2].map(|side| place(format!("server {side}"))),
            hosts: (0..hosts).map(|host| place(format!("host {host}"))).collect(),
            words: "processes on loopback".into(),
        }
    }
}
