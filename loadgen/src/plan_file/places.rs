//! The `[[servers]]` and `[[hosts]]` of a plan file.

use super::{File, Problem, Tables};
use crate::agent::Token;
use crate::coordinator::place::{AgentSite, Deployment, Place, Site, SshSite};
use crate::limits::HOSTS_MAX;
use crate::net::Medium;
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use toml::Spanned;

/// The program on a machine that ssh reaches, unless the plan says another.
const PROGRAM_DEFAULT: &str = "twincast-loadgen";

/// Where one server or host is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlaceTable {
    agent: Option<Spanned<String>>,
    ssh: Option<String>,
    local: Option<bool>,
    program: Option<String>,
    address: Option<Spanned<String>>,
    port: Option<u16>,
    link_port: Option<u16>,
}

/// A table's addresses, names looked up.
struct Reached {
    agent: Option<SocketAddr>,
    address: Option<IpAddr>,
}

impl Reached {
    fn of(table: &PlaceTable, name: &str) -> Result<Reached, Problem> {
        let agent = table.agent.as_ref().map(|agent| {
            let form = "give agent = \"IP:PORT\" or \"NAME:PORT\", as \"10.0.0.1:7400\"";
            let found = look_up(agent, name, "agent", form, agent.get_ref())?;
            if found.port() == 0 {
                let what = format!(
                    "{name}: agent = {:?} has port 0, which nobody listens on; {form}",
                    agent.get_ref()
                );
                return Err(Problem::at(agent.span(), what));
            }
            Ok(found)
        });
        let address = table.address.as_ref().map(|address| {
            let form = "give address = \"IP\" or \"NAME\", as \"10.0.0.1\"";
            let text = address.get_ref();
            // An IPv6 address has colons of its own.
            match text.parse() {
                Ok(ip) => Ok(ip),
                Err(_) => {
                    look_up(address, name, "address", form, &format!("{text}:0")).map(|found| found.ip())
                }
            }
        });
        Ok(Reached { agent: agent.transpose()?, address: address.transpose()? })
    }
}

/// The address of a key's value; of a name's addresses an IPv4 one, if there is one.
fn look_up(
    value: &Spanned<String>,
    name: &str,
    key: &str,
    form: &str,
    text: &str,
) -> Result<SocketAddr, Problem> {
    let bad = |why: String| {
        Problem::at(value.span(), format!("{name}: {key} = {:?} {why}; {form}", value.get_ref()))
    };
    let is_port = |(host, port): (&str, &str)| !host.is_empty() && port.parse::<u16>().is_ok();
    if text.parse::<SocketAddr>().is_err()
        && (text.contains(|c: char| c.is_whitespace() || c.is_control())
            || text.matches(':').count() != 1
            || !text.rsplit_once(':').is_some_and(is_port))
    {
        return Err(bad("is no address".into()));
    }
    let found: Vec<SocketAddr> =
        text.to_socket_addrs().map_err(|error| bad(format!("is not known: {error}")))?.collect();
    let first = found.iter().find(|found| found.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| bad("is not known".into()))
}

/// What all places of a file share.
struct Context<'a> {
    file: &'a File,
    folder: &'a Path,
    token: Option<Arc<Token>>,
    /// Whether the others can be reached over the loopback interface.
    on_loopback: bool,
}

/// Everywhere that the file's plan has processes.
pub(super) fn deployment(file: &File, tables: Tables<'_>, folder: &Path) -> Result<Deployment, Problem> {
    let (servers, hosts) = (tables.servers.get_ref(), tables.hosts.get_ref());
    if servers.len() != 2 {
        let what = format!("there are {} [[servers]]; a plan has two, S1 first", servers.len());
        return Err(Problem::at(tables.servers.span(), what));
    }
    if !(1..=HOSTS_MAX as usize).contains(&hosts.len()) {
        let what = format!("there are {} [[hosts]]; a plan has 1 to {HOSTS_MAX}", hosts.len());
        return Err(Problem::at(tables.hosts.span(), what));
    }
    let all = || servers.iter().chain(hosts).map(Spanned::get_ref);
    let token = match (all().any(|table| table.agent.is_some()), &file.token_file) {
        (true, Some(path)) => Some(Arc::new(Token::read(&folder.join(path))?)),
        (true, None) => {
            return Err("token_file is missing: agents ask for proof that it is known".to_owned().into());
        }
        (false, _) => None,
    };
    let named = |tables: &[Spanned<PlaceTable>], what: &str, from: usize| {
        let each = tables.iter().enumerate();
        let reached = each.map(|(index, table)| {
            let name = format!("{what} {}", index + from);
            Reached::of(table.get_ref(), &name).map(|reached| (name, reached))
        });
        reached.collect::<Result<Vec<(String, Reached)>, Problem>>()
    };
    let reached_servers = named(servers, "server", 1)?;
    let reached_hosts = named(hosts, "host", 0)?;
    let is_near = |(table, (_, reached)): (&PlaceTable, &(String, Reached))| {
        let address = reached.address.or(reached.agent.map(|agent| agent.ip()));
        table.local == Some(true) && reached.address.is_none()
            || address.is_some_and(|address| address.is_loopback())
    };
    let on_loopback = all().zip(reached_servers.iter().chain(&reached_hosts)).all(is_near);
    let context = Context { file, folder, token, on_loopback };
    let placed = |tables: &[Spanned<PlaceTable>], reached: Vec<(String, Reached)>, server| {
        let each = tables.iter().zip(reached);
        each.map(|(table, (name, reached))| context.place(table, name, &reached, server))
            .collect::<Result<Vec<Place>, Problem>>()
    };
    let places = [placed(servers, reached_servers, true)?, placed(hosts, reached_hosts, false)?];
    check_together(servers.iter().chain(hosts), &places)?;
    let [servers, hosts] = places;
    let servers: [Place; 2] = servers.try_into().expect("there are two");
    let (words, medium) = medium(&servers, &hosts);
    Ok(Deployment { servers, hosts, words, medium, links: None })
}

/// What cannot be of several places, though each is good by itself.
fn check_together<'a>(
    tables: impl Iterator<Item = &'a Spanned<PlaceTable>>,
    places: &[Vec<Place>; 2],
) -> Result<(), Problem> {
    let all: Vec<(std::ops::Range<usize>, &Place)> =
        tables.map(Spanned::span).zip(places.iter().flatten()).collect();
    let is_loopback = |place: &Place| place.address.is_loopback();
    let near = all.iter().find(|(_, place)| is_loopback(place));
    let other = all.iter().find(|(_, place)| !is_loopback(place));
    if let (Some((span, near)), Some((_, other))) = (near, other) {
        let what = format!(
            "{}: {} is reached on its own machine alone, and {} is at {}; give address = \"IP\", by which the others \
             reach it",
            near.name, near.address, other.name, other.address
        );
        return Err(Problem::at(span.clone(), what));
    }
    let [(_, one), (span, two)] = [&all[0], &all[1]];
    let bad = |what: String| Err(Problem::at(span.clone(), format!("{}: {what}", two.name)));
    if one.address.is_ipv4() != two.address.is_ipv4() {
        return bad(format!(
            "it is at {} and {} at {}: give both an address of one kind, IPv4 or IPv6",
            two.address, one.name, one.address
        ));
    }
    // Of the first server's link there is no port: it connects to the second's.
    let ports = [(one, one.port, "port"), (two, two.port, "port"), (two, two.link_port, "link_port")];
    let ports: Vec<_> = ports.into_iter().filter(|(_, port, _)| *port != 0).collect();
    for (index, (place, port, key)) in ports.iter().enumerate() {
        let same = |of: IpAddr, other: u16| place.address == of && *port == other;
        if let Some((other, _, other_key)) =
            ports[..index].iter().find(|(of, other, _)| same(of.address, *other))
        {
            return bad(format!(
                "{key} = {port} is the {other_key} of {} at {}, too; give another, or leave it out for any free one",
                other.name, other.address
            ));
        }
        if let Site::Agent(agent) = &place.site
            && same(agent.address.ip(), agent.address.port())
        {
            let what = format!("{}: {key} = {port} is its agent's own port; give another", place.name);
            let at = if index == 0 && one.port != 0 { &all[0].0 } else { span };
            return Err(Problem::at(at.clone(), what));
        }
    }
    Ok(())
}

fn medium(servers: &[Place; 2], hosts: &[Place]) -> (String, Medium) {
    let all = || servers.iter().chain(hosts);
    let count = |of: fn(&Site) -> bool| all().filter(|place| of(&place.site)).count();
    let agents = count(|site| matches!(site, Site::Agent(_)));
    let ssh = count(|site| matches!(site, Site::Ssh(_)));
    if agents + ssh == 0 {
        return ("processes on loopback".into(), Medium::Loopback(None));
    }
    let parts = [
        (agents, "at", "agents"),
        (ssh, "over", "ssh"),
        (all().count() - agents - ssh, "on", "this machine"),
    ];
    let parts = parts.into_iter().filter(|(count, ..)| *count > 0);
    let parts: Vec<String> = parts
        .map(|(count, how, what)| match what {
            "agents" => format!("at {count} agents"),
            _ => format!("{count} {how} {what}"),
        })
        .collect();
    // What stands behind the semicolon is for who reads the whole result.
    let words = format!(
        "two servers and {} hosts {}; nothing is shaped, and the links have the rate that the plan states",
        hosts.len(),
        parts.join(", ")
    );
    (words, Medium::Machines)
}

impl Context<'_> {
    fn place(
        &self,
        table: &Spanned<PlaceTable>,
        name: String,
        reached: &Reached,
        server: bool,
    ) -> Result<Place, Problem> {
        let bad = |what: String| Problem::at(table.span(), format!("{name}: {what}"));
        let PlaceTable { ssh, local, program, port, link_port, .. } = table.get_ref();
        let Reached { agent, address } = reached;
        let site = match (agent, ssh, local.unwrap_or(false)) {
            (Some(agent), None, false) => {
                let token = self.token.clone().expect("a plan with agents has a token");
                let shared = self.file.shared.unwrap_or(false);
                Site::Agent(AgentSite { address: *agent, shared, token })
            }
            (None, Some(machine), false) => self.ssh(machine, program.as_deref()).map_err(&bad)?,
            (None, None, true) => Site::Here,
            _ => {
                let what = "give one of agent = \"IP:PORT\", ssh = \"USER@MACHINE\" and local = true";
                return Err(bad(what.into()));
            }
        };
        if program.is_some() && ssh.is_none() {
            return Err(bad("program goes with ssh".into()));
        }
        if !server && (port.is_some() || link_port.is_some()) {
            return Err(bad("port and link_port are a server's".into()));
        }
        let address = match (*address, agent) {
            (Some(address), _) => address,
            (None, Some(agent)) => agent.ip(),
            (None, None) if self.on_loopback => Ipv4Addr::LOCALHOST.into(),
            (None, None) => {
                return Err(bad("give address = \"IP\", by which the others reach it".into()));
            }
        };
        if address.is_unspecified() {
            return Err(bad(format!(
                "nobody reaches {address}: give address = \"IP\", by which the others reach it"
            )));
        }
        let name = if site.is_far() { format!("{name} at {site}") } else { name };
        let (port, link_port) = (port.unwrap_or(0), link_port.unwrap_or(0));
        Ok(Place { name, address, port, link_port, site })
    }

    fn ssh(&self, machine: &str, program: Option<&str>) -> Result<Site, String> {
        let is_name = |text: &str| {
            !text.is_empty()
                && !text.starts_with('-')
                && !text.contains(|c: char| c.is_whitespace() || c.is_control())
        };
        if !is_name(machine) {
            return Err(format!("ssh = {machine:?} is no machine: give \"USER@MACHINE\""));
        }
        let program = program.unwrap_or(PROGRAM_DEFAULT);
        if program.is_empty() || program.starts_with('-') || program.contains(char::is_control) {
            return Err(format!("program = {program:?} is no program: give its path on that machine"));
        }
        let config = self.file.ssh_config.as_ref().map(|config| self.folder.join(config));
        Ok(Site::Ssh(SshSite { machine: machine.into(), program: program.into(), config }))
    }
}
