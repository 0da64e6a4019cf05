//! The `[[servers]]` and `[[hosts]]` of a plan file.

use super::{File, Problem};
use crate::agent::Token;
use crate::coordinator::place::{AgentSite, Deployment, Place, Site, SshSite};
use crate::limits::HOSTS_MAX;
use crate::net::Medium;
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use toml::Spanned;

/// The program on a machine that ssh reaches, unless the plan says another.
const PROGRAM_DEFAULT: &str = "twincast-loadgen";

/// Where one server or host is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlaceTable {
    agent: Option<SocketAddr>,
    ssh: Option<String>,
    local: Option<bool>,
    program: Option<String>,
    address: Option<IpAddr>,
    port: Option<u16>,
    link_port: Option<u16>,
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
pub(super) fn deployment(file: &File, folder: &Path) -> Result<Deployment, Problem> {
    let (servers, hosts) = (file.servers.get_ref(), file.hosts.get_ref());
    if servers.len() != 2 {
        let what = format!("there are {} [[servers]]; a plan has two, S1 first", servers.len());
        return Err(Problem::at(file.servers.span(), what));
    }
    if !(1..=HOSTS_MAX as usize).contains(&hosts.len()) {
        let what = format!("there are {} [[hosts]]; a plan has 1 to {HOSTS_MAX}", hosts.len());
        return Err(Problem::at(file.hosts.span(), what));
    }
    let all = || servers.iter().chain(hosts).map(Spanned::get_ref);
    let token = match (all().any(|table| table.agent.is_some()), &file.token_file) {
        (true, Some(path)) => Some(Arc::new(Token::read(&folder.join(path))?)),
        (true, None) => {
            return Err("token_file is missing: agents ask for proof that it is known".to_owned().into());
        }
        (false, _) => None,
    };
    let is_near = |table: &PlaceTable| {
        let address = table.address.or(table.agent.map(|agent| agent.ip()));
        table.local == Some(true) && table.address.is_none()
            || address.is_some_and(|address| address.is_loopback())
    };
    let context = Context { file, folder, token, on_loopback: all().all(is_near) };
    let numbered = |tables: &[Spanned<PlaceTable>], what: &str, from: usize| {
        let each = tables.iter().enumerate();
        each.map(|(index, table)| context.place(table, format!("{what} {}", index + from), what == "server"))
            .collect::<Result<Vec<Place>, Problem>>()
    };
    let servers = numbered(servers, "server", 1)?;
    let hosts = numbered(hosts, "host", 0)?;
    let servers: [Place; 2] = servers.try_into().expect("there are two");
    let (words, medium) = medium(&servers, &hosts);
    Ok(Deployment { servers, hosts, words, medium, links: None })
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
    fn place(&self, table: &Spanned<PlaceTable>, name: String, server: bool) -> Result<Place, Problem> {
        let bad = |what: String| Problem::at(table.span(), format!("{name}: {what}"));
        let PlaceTable { agent, ssh, local, program, address, port, link_port } = table.get_ref();
        let site = match (agent, ssh, local.unwrap_or(false)) {
            (Some(agent), None, false) => {
                let token = self.token.clone().expect("a plan with agents has a token");
                Site::Agent(AgentSite { address: *agent, token })
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
