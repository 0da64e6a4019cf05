//! Two servers and their hosts, from the start to the dialled epoch, and the rounds played on them.

use super::folder::Folder;
use super::place::Deployment;
use super::progress::Progress;
use super::team::{News, PeerId, Role, Take, Team};
use super::{RunError, machine};
use crate::agent::plain;
use crate::control::{DialReport, HostNews, HostOrder, PlayReport, ServerNews, ServerOrder, ServerReport};
use crate::environment::{MachineTime, loopback_bytes};
use crate::fault::proxy::Proxy;
use crate::fault::sealed::SealedProxy;
use crate::fault::{FaultKind, USER};
use crate::keys::RunKeys;
use crate::limits::{
    ANSWER_TIMEOUT, COUNTED_RETRY, COUNTED_TIMEOUT, START_LEAD, START_LEAD_FAR, START_TIMEOUT,
    dial_silence_max, pairs, round_silence_max,
};
use crate::net::{Links, Medium, Meter, WireCounts, goodput_bits_per_s};
use crate::plan::Plan;
use crate::process::now_ns;
use crate::result::ClockResult;
use crate::server_role::{Ends, config_text};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;
use twincast_protocol::ids::ServerSide;

/// Servers and hosts with an open epoch.
pub(crate) struct Stage {
    plan: Plan,
    servers: [PeerId; 2],
    hosts: Vec<PeerId>,
    /// What dialling took, host by host.
    pub(crate) dial: Vec<DialReport>,
    /// The clocks of those that are on other machines.
    pub(crate) clocks: Vec<ClockResult>,
    /// What does the fault, if the plan has one.
    proxy: Option<Between>,
    /// What reads the counters of shaped links.
    meter: Option<Meter>,
    medium: Medium,
    _parts_box: Option<Folder>,
}

/// What does a fault between hosts and servers.
#[derive(Debug)]
enum Between {
    /// To frames, which plain channels show.
    Frames(Proxy),
    /// To records, of which only the host of user 0 has any that go through it.
    Records(SealedProxy),
}

impl Between {
    /// Where a host connects to S1 and S2.
    fn seen_by(&self, host: u32, servers: [SocketAddr; 2]) -> [SocketAddr; 2] {
        match self {
            Between::Frames(proxy) => proxy.addresses,
            Between::Records(proxy) if host == USER => proxy.addresses,
            Between::Records(_) => servers,
        }
    }
}

/// Some rounds: what hosts, servers and the machine say of them.
#[derive(Clone, Debug)]
pub(crate) struct Play {
    /// Host by host.
    pub(crate) hosts: Vec<PlayReport>,
    /// What each server's counters grew by; its largest resident set so far.
    pub(crate) servers: [ServerReport; 2],
    /// From the order to the last host's report.
    pub(crate) wall_seconds: f64,
    /// The part of all cores' time that was not idle, whoever used it; none where the run is on other machines than this.
    pub(crate) machine_busy: Option<f64>,
    /// Bytes that the interfaces of all servers and hosts sent; on loopback, everybody's. None on other machines, where
    /// several processes may share one.
    pub(crate) interface_bytes: Option<u64>,
    /// What shaped links carried.
    pub(crate) wire: Option<WireCounts>,
}

impl Stage {
    /// Starts servers, then hosts, and waits until every user is attached, dialled and confirmed.
    pub(crate) fn open(
        team: &mut Team,
        deployment: &Deployment,
        plan: &Plan,
        progress: &mut Progress,
    ) -> Result<Stage, RunError> {
        let medium = deployment.medium.clone();
        let rate_bits_per_s = medium.rate_bits_per_s(&plan.link);
        let goodput = rate_bits_per_s.map(|rate| goodput_bits_per_s(rate, plan.link.mtu));
        progress.watch(&mut team.series, plan, goodput);
        progress.spin("starting two servers");
        let parts_box = box_folder(plan)?;
        let meter = deployment.links.as_ref().and_then(Links::meter);
        let keys = plan.has_keys().then(|| RunKeys::draw(plan));
        let folder = parts_box.as_ref().map(Folder::path);
        let (servers, addresses) = start_servers(team, deployment, plan, folder, keys.as_ref())?;
        let proxy = proxy(team, deployment, plan, addresses)?;
        progress.spin("dialling");
        let mut hosts = Vec::new();
        for (host, place) in (0..plan.hosts).zip(&deployment.hosts) {
            let peer = team.start(Role::Host, place.name.clone(), &place.site)?;
            hosts.push((host, peer));
        }
        let begin = Beginning::soon(team, hosts.iter().map(|(_, peer)| *peer));
        for (host, peer) in &hosts {
            let start_ns = Some(begin.of(team, *peer));
            let (plan, keys) = (plan.clone(), keys.as_ref().map(RunKeys::host));
            let servers = proxy.as_ref().map_or(addresses, |proxy| proxy.seen_by(*host, addresses));
            let start = HostOrder::Start { plan, host: *host, servers, keys, start_ns };
            team.tell(*peer, &start);
        }
        let hosts: Vec<PeerId> = hosts.into_iter().map(|(_, peer)| peer).collect();
        let dial = team.gather(&hosts, "dialling", dial_silence_max(plan), |_, news| match news {
            News::Host(HostNews::Dialled(report)) => Take::Done(report),
            news => Take::Unexpected(news),
        })?;
        if let Some(Between::Records(proxy)) = &proxy {
            proxy.dialled();
        }
        let clocks = servers.iter().chain(&hosts).filter_map(|peer| clock(team, *peer)).collect();
        Ok(Stage {
            plan: plan.clone(),
            servers,
            hosts,
            dial,
            clocks,
            proxy,
            meter,
            medium,
            _parts_box: parts_box,
        })
    }

    /// Plays so many rounds.
    pub(crate) fn play(
        &self,
        team: &mut Team,
        rounds: u32,
        phase: &'static str,
        progress: &mut Progress,
    ) -> Result<Play, RunError> {
        let before = self.server_reports(team)?;
        let wire_before = self.wire()?;
        progress.rounds(phase, rounds);
        let begin = Beginning::soon(team, self.hosts.iter().copied());
        for host in &self.hosts {
            let start_ns = Some(begin.of(team, *host));
            team.tell(*host, &HostOrder::Play { rounds, start_ns });
        }
        begin.wait();
        let (machine, interface, start) = (MachineTime::now(), loopback_bytes(), Instant::now());
        let mut closed = vec![0; self.hosts.len()];
        let cells = pairs(&self.plan);
        let hosts =
            team.gather(&self.hosts, phase, round_silence_max(&self.plan), |host, news| match news {
                News::Host(HostNews::Progress { rounds }) => {
                    closed[host] = rounds;
                    let by_all = closed.iter().copied().min().unwrap_or(0);
                    progress.closed(by_all, u64::from(by_all) * cells);
                    Take::More
                }
                News::Host(HostNews::Played(mut report)) => {
                    // They are printed, and come from another machine.
                    report.complaints.iter_mut().for_each(|said| *said = plain(said));
                    report.broken.iter_mut().for_each(|said| *said = plain(said));
                    let kept = report.evidence.kept.iter_mut();
                    kept.for_each(|piece| piece.verdict = plain(&piece.verdict));
                    Take::Done(report)
                }
                news => Take::Unexpected(news),
            })?;
        let wall_seconds = start.elapsed().as_secs_f64();
        let is_here = !matches!(self.medium, Medium::Machines);
        let machine_busy = is_here.then(|| machine.busy_since());
        let wire = self.wire()?.zip(wire_before).map(|(after, before)| after.since(before));
        let on_loopback = loopback_bytes().saturating_sub(interface);
        let received =
            [0, 1].map(|server| hosts.iter().map(|host: &PlayReport| host.bytes_in[server]).sum::<u64>());
        let servers = self.grown(team, &before, received)?;
        let by_ends = hosts.iter().map(|host| host.interface.sent);
        let by_ends = by_ends.chain(servers.iter().map(|server| server.interface.sent)).sum();
        let interface_bytes = match self.medium {
            Medium::Loopback(_) => Some(on_loopback),
            Medium::Namespaces(_) => Some(by_ends),
            Medium::Machines => None,
        };
        Ok(Play { hosts, servers, wall_seconds, machine_busy, interface_bytes, wire })
    }

    /// Where each host takes the connections of the roof's senders.
    pub(crate) fn roof_readers(
        &self,
        team: &mut Team,
        deployment: &Deployment,
    ) -> Result<Vec<SocketAddr>, RunError> {
        for (host, place) in self.hosts.iter().zip(&deployment.hosts) {
            team.tell(*host, &HostOrder::RoofListen { address: place.address });
        }
        team.gather(&self.hosts, "opening the roof's reader", ANSWER_TIMEOUT, |_, news| match news {
            News::Host(HostNews::RoofListening(address)) => Take::Done(address),
            news => Take::Unexpected(news),
        })
    }

    /// How often the proxy has done the fault; 0 without one.
    pub(crate) fn faults_done(&self) -> u64 {
        match &self.proxy {
            None => 0,
            Some(Between::Frames(proxy)) => proxy.done(),
            Some(Between::Records(proxy)) => proxy.done(),
        }
    }

    /// Connections of each server.
    pub(crate) fn connections(&self) -> u64 {
        machine::connections(&self.plan)
    }

    /// What shaped links have carried so far.
    fn wire(&self) -> Result<Option<WireCounts>, RunError> {
        let refused = |error| RunError::Links(format!("the links' counters cannot be read: {error}"));
        self.meter.as_ref().map(Meter::read).transpose().map_err(refused)
    }

    /// What the servers' counters grew by: asked again, for a while, until they count all that hosts have received. A
    /// server learns from the kernel that bytes were sent, and on a busy machine that takes longer than the bytes.
    fn grown(
        &self,
        team: &mut Team,
        before: &[ServerReport],
        received: [u64; 2],
    ) -> Result<[ServerReport; 2], RunError> {
        let deadline = Instant::now() + COUNTED_TIMEOUT;
        loop {
            let after = self.server_reports(team)?;
            let grown = [0, 1].map(|server| growth(&before[server], &after[server]));
            let counted = grown.iter().zip(received).all(|(grown, received)| grown.egress_bytes >= received);
            if counted || Instant::now() >= deadline {
                return Ok(grown);
            }
            std::thread::sleep(COUNTED_RETRY);
        }
    }

    fn server_reports(&self, team: &mut Team) -> Result<Vec<ServerReport>, RunError> {
        team.ask(&self.servers, &ServerOrder::Report, "reporting", |news| match news {
            News::Server(ServerNews::Report(report)) => Take::Done(report),
            news => Take::Unexpected(news),
        })
    }
}

/// The instant at which all hosts begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning {
    instant: Instant,
    here_ns: u64,
}

impl Beginning {
    /// As soon as all of these can have been told.
    pub(crate) fn soon(team: &Team, mut peers: impl Iterator<Item = PeerId>) -> Beginning {
        let far = peers.any(|peer| team.clock(peer).is_some());
        let lead = if far { START_LEAD_FAR } else { START_LEAD };
        Beginning { instant: Instant::now() + lead, here_ns: now_ns() + lead.as_nanos() as u64 }
    }

    /// By a peer's clock, in nanoseconds since 1970.
    pub(crate) fn of(self, team: &Team, peer: PeerId) -> u64 {
        team.clock(peer).unwrap_or_default().there(self.here_ns)
    }

    /// Until then nothing is measured. News wait in their channel.
    fn wait(self) {
        std::thread::sleep(self.instant.saturating_duration_since(Instant::now()));
    }
}

/// How a peer's clock stands to this machine's, if that is another machine's.
fn clock(team: &Team, peer: PeerId) -> Option<ClockResult> {
    let clock = team.clock(peer)?;
    Some(ClockResult {
        name: team.name(peer).to_owned(),
        offset_us: clock.offset_ns as f64 / 1e3,
        round_trip_us: clock.round_trip_ns as f64 / 1e3,
    })
}

/// Where S2 keeps what it keeps for members who are away.
fn box_folder(plan: &Plan) -> Result<Option<Folder>, RunError> {
    if plan.box_mib == 0 {
        return Ok(None);
    }
    let folder = Folder::new().map_err(|error| {
        RunError::Usage(format!(
            "--box: no folder can be made in {}: {error}; set TMPDIR to a folder with room",
            std::env::temp_dir().display()
        ))
    })?;
    Ok(Some(folder))
}

/// Starts S2 and then S1, which is told where S2 takes its link.
fn start_servers(
    team: &mut Team,
    deployment: &Deployment,
    plan: &Plan,
    parts_box: Option<&Path>,
    keys: Option<&RunKeys>,
) -> Result<([PeerId; 2], [SocketAddr; 2]), RunError> {
    let mut start = |side: ServerSide, link| {
        let [place, peer] = match side {
            ServerSide::One => [&deployment.servers[0], &deployment.servers[1]],
            ServerSide::Two => [&deployment.servers[1], &deployment.servers[0]],
        };
        let server = team.start(Role::Server, place.name.clone(), &place.site)?;
        let (listen, link_port, peer) = (place.socket(), place.link_port, peer.address);
        let here = !place.site.is_far();
        let number = side.index() as u8 + 1;
        let ends = Ends { side: number, link, parts_box, listen, link_port, peer, here };
        let config = config_text(plan, &ends);
        let keys = keys.map(|keys| keys.server(side));
        team.tell(server, &ServerOrder::Start { config, keys });
        let ready = team.gather(&[server], "starting", START_TIMEOUT, |_, news| match news {
            News::Server(ServerNews::Ready { address, link }) => Take::Done((address, link)),
            news => Take::Unexpected(news),
        })?;
        Ok::<_, RunError>((server, ready[0]))
    };
    let (server2, (address2, link)) = start(ServerSide::Two, None)?;
    let (server1, (address1, _)) = start(ServerSide::One, link)?;
    Ok(([server1, server2], [address1, address2]))
}

/// What stands between hosts and servers, if the plan has a fault that is done there.
fn proxy(
    team: &Team,
    deployment: &Deployment,
    plan: &Plan,
    servers: [SocketAddr; 2],
) -> Result<Option<Between>, RunError> {
    let Some(fault) = plan.fault.filter(|fault| fault.kind != FaultKind::SwapHalf) else { return Ok(None) };
    let last = deployment.hosts.last().map(|place| place.name.clone()).unwrap_or_default();
    let kill = team.killer(last);
    let started = if fault.kind.is_net() {
        SealedProxy::start(plan, fault, servers).map(Between::Records)
    } else {
        Proxy::start(plan, fault, servers, kill).map(Between::Frames)
    };
    started.map(Some).map_err(|source| RunError::Start { name: "the proxy".into(), source })
}

/// What the counters grew by; the resident set is the later one.
fn growth(before: &ServerReport, after: &ServerReport) -> ServerReport {
    ServerReport {
        at_s: after.at_s - before.at_s,
        egress_bytes: after.egress_bytes.saturating_sub(before.egress_bytes),
        egress_shares: after.egress_shares.saturating_sub(before.egress_shares),
        link_bytes: after.link_bytes.saturating_sub(before.link_bytes),
        cpu_seconds: (after.cpu_seconds - before.cpu_seconds).max(0.0),
        peak_rss_bytes: after.peak_rss_bytes,
        zero_copy_sends: after.zero_copy_sends.saturating_sub(before.zero_copy_sends),
        zero_copy_copied: after.zero_copy_copied.saturating_sub(before.zero_copy_copied),
        slow_readers_closed: after.slow_readers_closed.saturating_sub(before.slow_readers_closed),
        tcp_busy_us: after.tcp_busy_us.saturating_sub(before.tcp_busy_us),
        tcp_rwnd_limited_us: after.tcp_rwnd_limited_us.saturating_sub(before.tcp_rwnd_limited_us),
        tcp_sndbuf_limited_us: after.tcp_sndbuf_limited_us.saturating_sub(before.tcp_sndbuf_limited_us),
        tcp_retransmits: after.tcp_retransmits.saturating_sub(before.tcp_retransmits),
        tcp_bytes_acked: after.tcp_bytes_acked.saturating_sub(before.tcp_bytes_acked),
        interface: crate::control::InterfaceBytes {
            sent: after.interface.sent.saturating_sub(before.interface.sent),
            received: after.interface.received.saturating_sub(before.interface.received),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_told_by_what_they_grew_by() {
        let before = ServerReport {
            egress_bytes: 100,
            cpu_seconds: 1.0,
            peak_rss_bytes: 5,
            tcp_busy_us: 7,
            ..ServerReport::default()
        };
        let after = ServerReport {
            egress_bytes: 350,
            cpu_seconds: 1.5,
            peak_rss_bytes: 9,
            tcp_busy_us: 3,
            ..before.clone()
        };
        let grown = growth(&before, &after);
        assert_eq!((grown.egress_bytes, grown.cpu_seconds, grown.peak_rss_bytes), (250, 0.5, 9));
        assert_eq!(grown.tcp_busy_us, 0, "a counter that fell is no number beyond all bounds");
    }
}
