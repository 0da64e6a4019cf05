//! The links of a local run: a network namespace for each server and host, and one for the switch between them.
//!
//! Every end has a veth pair to a bridge. All interfaces are made inside the namespaces, so the machine's own network
//! sees nothing of them, addresses cannot clash with others, and removing the namespaces removes everything. Names are
//! `twincast-<pid>-<start>-<set>-<end>`: of the process that made them and the time of its start
//! ([`super::clean_up_stale`] goes by both), which of its sets they are, and whose end.
//!
//! Servers and hosts send with TCP's cubic, so that a run does not depend on what the machine's default is; where the
//! kernel does not let that be, with the default ([`Links::congestion_control`]).
//!
//! No delay is emulated: a packet takes as long as it waits in the queues.

use super::congestion;
use super::meter::Meter;
use super::stale::next_set;
use super::tools::Tool;
use super::{Link, LinkRate, Shape};
use rustix::thread::{CapabilitySet, capabilities};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// The interface of every end, inside its namespace.
const INTERFACE: &str = "eth0";
/// Time for a namespace's name to go: the kernel is slow to let go of one whose processes have just ended.
const REMOVE_RETRY: Duration = Duration::from_millis(20);
const REMOVE_TRIES: u32 = 5;

/// Namespaces and links that are there for as long as this is. Dropping it removes them.
#[derive(Debug)]
pub struct Links {
    /// Of the switch.
    switch: String,
    /// Of S1 and S2.
    pub servers: [End; 2],
    /// Of the hosts, in order.
    pub hosts: Vec<End>,
    /// What holds the rate at both ends of every link; none where the rate is off.
    pub shape: Option<Shape>,
    /// Bytes of the largest packet.
    pub mtu: u32,
    /// What TCP goes by at all ends; none where the kernel does not say.
    pub congestion_control: Option<String>,
}

/// The end of one link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The network namespace, as `ip netns` calls it.
    pub namespace: String,
    /// The address there.
    pub address: IpAddr,
}

/// Why there are no links, in a sentence without its full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback(pub String);

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Links {
    /// Makes the links of two servers and so many hosts.
    ///
    /// # Errors
    /// This process may not, the tools are missing, or the kernel refuses: why. Nothing is left of what was made.
    pub fn lay(link: &Link, hosts: u32) -> Result<Links, Fallback> {
        permitted()?;
        let prefix = next_set();
        let end = |name: String, number: u8| End {
            namespace: format!("{prefix}-{name}"),
            address: Ipv4Addr::new(10, 77, 0, number).into(),
        };
        let host = |host: u32| end(format!("h{host}"), u8::try_from(host + 11).unwrap_or(u8::MAX));
        let shape = match link.rate {
            LinkRate::Rate(rate) => Some(Shape::of(rate, link.mtu)),
            LinkRate::Off | LinkRate::Loopback => None,
        };
        let mut links = Links {
            switch: format!("{prefix}-switch"),
            servers: [1, 2].map(|side: u8| end(format!("s{side}"), side)),
            hosts: (0..hosts).map(host).collect(),
            shape,
            mtu: link.mtu,
            congestion_control: None,
        };
        // From here on whatever is there goes when `links` does.
        links.make().map_err(|error| Fallback(error.to_string()))?;
        Ok(links)
    }

    /// What reads the counters of these links; none where no rate is held, and nothing counts.
    #[must_use]
    pub fn meter(&self) -> Option<Meter> {
        self.shape?;
        let servers = self.servers.each_ref().map(|end| end.namespace.clone());
        Some(Meter { switch: self.switch.clone(), servers, interface: INTERFACE })
    }

    fn ends(&self) -> impl Iterator<Item = &End> {
        self.servers.iter().chain(&self.hosts)
    }

    fn make(&mut self) -> std::io::Result<()> {
        let mtu = self.mtu;
        let namespaces = self.ends().map(|end| end.namespace.as_str()).chain([self.switch.as_str()]);
        let commands: Vec<String> = namespaces.map(|name| format!("netns add {name}")).collect();
        Tool { name: "ip", namespace: None }.batch(&commands)?;
        let mut commands = vec![format!("link add br0 mtu {mtu} type bridge mcast_snooping 0")];
        for (port, end) in self.ends().enumerate() {
            let peer = format!("peer name {INTERFACE} mtu {mtu} netns {}", end.namespace);
            commands.push(format!("link add p{port} mtu {mtu} type veth {peer}"));
            commands.push(format!("link set p{port} master br0 up"));
        }
        commands.push("link set br0 up".into());
        Tool { name: "ip", namespace: Some(&self.switch) }.batch(&commands)?;
        for End { namespace, address } in self.ends() {
            let commands = [
                "link set lo up".to_owned(),
                format!("addr add {address}/24 dev {INTERFACE}"),
                format!("link set {INTERFACE} up"),
            ];
            Tool { name: "ip", namespace: Some(namespace) }.batch(&commands)?;
        }
        self.congestion_control = congestion::choose(self.ends().map(|end| end.namespace.as_str()));
        self.hold_the_rate()
    }

    fn hold_the_rate(&mut self) -> std::io::Result<()> {
        let Some(shape) = self.shape else { return Ok(()) };
        let rule = |interface: &str| format!("qdisc add dev {interface} root {}", shape.arguments());
        let ports: Vec<String> = (0..self.ends().count()).map(|port| rule(&format!("p{port}"))).collect();
        Tool { name: "tc", namespace: Some(&self.switch) }.batch(&ports)?;
        for end in self.ends() {
            Tool { name: "tc", namespace: Some(&end.namespace) }.batch(&[rule(INTERFACE)])?;
        }
        // The kernel rounds both to its own units; what it has then is what counts.
        let set = self.meter().map(|meter| meter.as_set()).transpose()?;
        if let Some((tbf_rate_bits_per_s, tbf_burst_bytes)) = set {
            self.shape = Some(Shape { tbf_rate_bits_per_s, tbf_burst_bytes, ..shape });
        }
        Ok(())
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        let names = self.ends().map(|end| end.namespace.clone()).chain([self.switch.clone()]);
        remove(&names.collect::<Vec<_>>());
    }
}

/// Removes namespaces by their names.
pub(super) fn remove(names: &[String]) {
    for attempt in 0..REMOVE_TRIES {
        let is_there = |name: &&String| super::stale::folder().join(name).exists();
        let commands: Vec<String> =
            names.iter().filter(is_there).map(|name| format!("netns delete {name}")).collect();
        if commands.is_empty() {
            return;
        }
        if attempt > 0 {
            std::thread::sleep(REMOVE_RETRY);
        }
        Tool { name: "ip", namespace: None }.batch_all(&commands);
    }
}

/// Whether this process may make links at all, asked first for a reason that a person understands.
fn permitted() -> Result<(), Fallback> {
    let needed = [(CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"), (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN")];
    let has = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let missing = needed.iter().filter(|(capability, _)| !has.contains(*capability)).map(|(_, name)| *name);
    let missing: Vec<&str> = missing.collect();
    if missing.is_empty() {
        return Ok(());
    }
    let (needed, are) =
        (needed.map(|(_, name)| name).join(" and "), if missing.len() > 1 { "are" } else { "is" });
    let missing = missing.join(" and ");
    Err(Fallback(format!("network namespaces take {needed}, and {missing} {are} missing; run as root")))
}
