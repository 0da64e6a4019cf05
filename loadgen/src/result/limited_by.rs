//! What limited a run: a few rules over the link, CPU and TCP_INFO, the first that holds speaks.

use crate::control::ServerReport;
use crate::coordinator::stage::Play;
use crate::environment::Environment;
use crate::plan::Plan;
use crate::result::LinkResult;

/// A server that uses so much of what TCP can carry on its link waits for nothing but the link.
const FULL: f64 = 0.95;
/// A process that uses more than this of a core, or a machine more than this of all, has nothing left to give.
const EXHAUSTED: f64 = 0.9;
/// The part of the time with data to send that makes a reader, or a link, what is waited for.
const MOSTLY: f64 = 0.5;
/// A server that sends less than this part of what TCP can carry on its link, and less than so many bits a second, is
/// not held up by sending: its data waits for acknowledgements, one small frame at a time.
const SENDING_LINK_MIN: f64 = 0.5;
const SENDING_BITS_PER_S_MIN: f64 = 5e8;
/// Segments sent again, of all: more is a link that loses.
const LOSSY: f64 = 0.001;
/// Payload of one segment on a link of MTU 1500; larger ones only make the rule milder.
const SEGMENT_BYTES: f64 = 1448.0;

/// What the rules look at.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) cores: u64,
    /// The greatest part of its link that a server used: which one, and how much. None: its rate is not known.
    pub(super) link: Option<(usize, f64)>,
    /// Part of all cores' time that was not idle, whoever used it. None: the run was on other machines.
    pub(super) machine_busy: Option<f64>,
    /// Cores that each host used.
    pub(super) hosts: Vec<f64>,
    /// Cores that each server used.
    pub(super) servers: [f64; 2],
    /// Threads of each server that work out answers, where they are known; 0 in broadcast delivery.
    pub(super) answer_threads: u64,
    /// Seconds of the rounds.
    pub(super) seconds: f64,
    /// Of each server.
    pub(super) connections: f64,
    /// Whose turns at the servers' links are their own, so that one's connections wait while another's are served.
    pub(super) groups: u32,
    /// Rounds per second that were planned; none in lockstep.
    pub(super) rate: Option<f64>,
    /// Both servers' TCP together.
    pub(super) tcp: ServerReport,
}

impl Load {
    pub(super) fn of(plan: &Plan, environment: &Environment, play: &Play, link: &LinkResult) -> Load {
        let wall = play.wall_seconds.max(1e-9);
        let [one, two] = &play.servers;
        let tcp = ServerReport {
            egress_bytes: one.egress_bytes + two.egress_bytes,
            tcp_busy_us: one.tcp_busy_us + two.tcp_busy_us,
            tcp_rwnd_limited_us: one.tcp_rwnd_limited_us + two.tcp_rwnd_limited_us,
            tcp_sndbuf_limited_us: one.tcp_sndbuf_limited_us + two.tcp_sndbuf_limited_us,
            tcp_retransmits: one.tcp_retransmits + two.tcp_retransmits,
            ..ServerReport::default()
        };
        let connections: u64 = crate::coordinator::connections_by_host(plan).iter().sum();
        Load {
            cores: environment.cores,
            link: link.fullest(),
            machine_busy: play.machine_busy,
            hosts: play.hosts.iter().map(|host| host.cpu_seconds / wall).collect(),
            servers: [one.cpu_seconds / wall, two.cpu_seconds / wall],
            answer_threads: match plan.answers() {
                true => crate::server_role::answer_threads(plan, play.machine_busy.is_some()).unwrap_or(1),
                false => 0,
            },
            seconds: wall,
            connections: connections as f64,
            groups: plan.groups,
            rate: plan.rate,
            tcp,
        }
    }
}

/// One sentence; its first words name the limit.
pub(super) fn sentence(load: &Load) -> String {
    let (host, host_cores) = busiest(&load.hosts);
    let (server, server_cores) = busiest(&load.servers);
    let busy_us = load.tcp.tcp_busy_us as f64;
    let of_busy = |us: u64| if busy_us > 0.0 { us as f64 / busy_us } else { 0.0 };
    let reader = of_busy(load.tcp.tcp_rwnd_limited_us);
    let buffer = of_busy(load.tcp.tcp_sndbuf_limited_us);
    let lossy = load.tcp.tcp_retransmits as f64 * SEGMENT_BYTES / (load.tcp.egress_bytes as f64).max(1.0);
    // Of each server's connections, on average over the time.
    let senders = busy_us / 1e6 / 2.0 / load.seconds.max(1e-9);
    let bits_per_s = load.tcp.egress_bytes as f64 * 8.0 / 2.0 / load.seconds.max(1e-9);
    let link_fraction = load.link.map_or(0.0, |(_, fraction)| fraction);
    let is_much = bits_per_s >= SENDING_BITS_PER_S_MIN || link_fraction >= SENDING_LINK_MIN;
    let sending = (senders * f64::from(load.groups.max(1)) / load.connections.max(1.0)).min(1.0);
    if let Some((server, fraction)) = load.link.filter(|(_, fraction)| *fraction >= FULL) {
        return format!(
            "link bound: server {} sent {fraction:.3} of what TCP can carry on its link",
            server + 1
        );
    }
    if host_cores > EXHAUSTED {
        return format!("load generator bound: host {host} used {host_cores:.2} of a core");
    }
    let crowded = load.hosts.len() as u64 + 2 > load.cores;
    if let Some(busy) = load.machine_busy.filter(|busy| *busy > EXHAUSTED && crowded) {
        let (hosts, servers) = (load.hosts.iter().sum::<f64>(), load.servers.iter().sum::<f64>());
        let elsewhere = (busy * load.cores as f64 - hosts - servers).max(0.0);
        return format!(
            "machine bound: its {} cores were {:.0}% busy ({hosts:.2} cores by the hosts, {servers:.2} by the \
             servers, {elsewhere:.2} by others)",
            load.cores,
            busy * 100.0
        );
    }
    if server_cores > EXHAUSTED && load.answer_threads == 0 {
        return format!("server bound: server {} used {server_cores:.2} of a core", server + 1);
    }
    if load.answer_threads > 0 && server_cores > EXHAUSTED * load.answer_threads as f64 {
        return format!(
            "server bound: server {} used {server_cores:.2} cores, and {} of its threads work out answers; try more \
             --answer-threads",
            server + 1,
            load.answer_threads
        );
    }
    if lossy > LOSSY {
        return format!("link bound: it lost data, {} segments were sent again", load.tcp.tcp_retransmits);
    }
    if sending > MOSTLY && reader > MOSTLY {
        return format!(
            "reader bound: the hosts' windows were closed for {:.0}% of the servers' sending time",
            reader * 100.0
        );
    }
    if sending > MOSTLY && buffer > MOSTLY {
        return format!(
            "send buffer bound: it was full for {:.0}% of the servers' sending time (sysctl net.ipv4.tcp_wmem)",
            buffer * 100.0
        );
    }
    if sending > MOSTLY && is_much {
        let link = load.link.map_or_else(String::new, |(server, fraction)| {
            format!(", while server {} used {fraction:.3} of what TCP can carry on its link", server + 1)
        });
        return format!("sending bound: {} and the readers had room{link}", sending_in_words(load, senders));
    }
    let mut words = sending_in_words(load, senders);
    if sending > MOSTLY {
        let rate = crate::units::bits_per_s(bits_per_s);
        words += &format!(", though a server sent {rate} alone: its frames waited for acknowledgements");
    }
    match load.rate {
        Some(rate) => {
            format!("not bound: the rounds were planned at {rate} a second, and {words}; try a higher --rate")
        }
        None => format!("not bound: {words}; try more rounds, a larger group or --ahead 1"),
    }
}

/// How much of the servers' connections was in use: of one group's the part of the time, of several groups', which take
/// turns, how many on average.
fn sending_in_words(load: &Load, senders: f64) -> String {
    if load.groups > 1 {
        let all = load.connections;
        return format!("{senders:.1} of a server's {all} connections had data to send on average");
    }
    let part = (senders / load.connections.max(1.0)).min(1.0);
    if part > MOSTLY {
        format!("the servers' connections had data to send for {:.0}% of the time", part * 100.0)
    } else {
        format!("the connections were idle for {:.0}% of the time", (1.0 - part) * 100.0)
    }
}

/// Which used the most, and how much.
fn busiest(cores: &[f64]) -> (usize, f64) {
    cores.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two servers of five connections and two hosts on eight cores for one second, nothing special.
    fn load() -> Load {
        Load {
            cores: 8,
            link: None,
            machine_busy: Some(0.3),
            hosts: vec![0.4, 0.3],
            servers: [0.5, 0.5],
            answer_threads: 0,
            seconds: 1.0,
            connections: 5.0,
            groups: 1,
            rate: None,
            tcp: ServerReport {
                egress_bytes: 1_000_000_000,
                tcp_busy_us: 1_000_000,
                ..ServerReport::default()
            },
        }
    }

    fn tcp(busy_us: u64, rwnd_us: u64, sndbuf_us: u64, retransmits: u64) -> ServerReport {
        ServerReport {
            egress_bytes: 1_000_000_000,
            tcp_busy_us: busy_us,
            tcp_rwnd_limited_us: rwnd_us,
            tcp_sndbuf_limited_us: sndbuf_us,
            tcp_retransmits: retransmits,
            ..ServerReport::default()
        }
    }

    #[test]
    fn the_first_rule_that_holds_speaks() {
        let twenty = Load { connections: 100.0, groups: 20, ..load() };
        let table: [(&str, Load); 22] = [
            ("not bound: the connections were idle for 90%", load()),
            (
                "link bound: server 2 sent 0.981 of what TCP can carry",
                Load {
                    link: Some((1, 0.981)),
                    hosts: vec![0.99],
                    machine_busy: Some(1.0),
                    cores: 2,
                    ..load()
                },
            ),
            ("not bound", Load { link: Some((0, 0.94)), ..load() }),
            ("load generator bound: host 1 used 0.95", Load { hosts: vec![0.4, 0.95], ..load() }),
            (
                "load generator bound: host 0",
                Load { hosts: vec![0.95], servers: [0.99, 0.5], machine_busy: Some(1.0), cores: 2, ..load() },
            ),
            (
                "machine bound: its 2 cores were 97% busy",
                Load { cores: 2, machine_busy: Some(0.97), ..load() },
            ),
            (
                "server bound: server 2 used 0.93",
                Load { servers: [0.5, 0.93], machine_busy: Some(0.97), ..load() },
            ),
            (
                "server bound: server 1 used 1.90 cores, and 2 of its threads work out answers; try more",
                Load { servers: [1.9, 0.5], answer_threads: 2, ..load() },
            ),
            ("not bound", Load { servers: [1.7, 0.5], answer_threads: 2, ..load() }),
            (
                "link bound: it lost data, 7000 segments",
                Load { tcp: tcp(9_000_000, 9_000_000, 0, 7_000), ..load() },
            ),
            (
                "reader bound: the hosts' windows were closed for 80%",
                Load { tcp: tcp(9_000_000, 7_200_000, 0, 0), ..load() },
            ),
            (
                "send buffer bound: it was full for 60%",
                Load { tcp: tcp(9_000_000, 0, 5_400_000, 0), ..load() },
            ),
            (
                "sending bound: the servers' connections had data to send for 90% of the time and the readers had room",
                Load { tcp: tcp(9_000_000, 1_000_000, 0, 3), ..load() },
            ),
            (
                "sending bound: the servers' connections had data to send for 90% of the time and the readers had room, \
                 while server 2 used 0.870 of what TCP can carry",
                Load { link: Some((1, 0.87)), tcp: tcp(9_000_000, 1_000_000, 0, 3), ..load() },
            ),
            (
                "sending bound: 9.0 of a server's 100 connections had data to send on average and",
                Load { tcp: tcp(18_000_000, 0, 0, 0), ..twenty.clone() },
            ),
            (
                "not bound: 1.0 of a server's 100 connections had data to send on average; try more rounds",
                Load { tcp: tcp(2_000_000, 0, 0, 0), ..twenty },
            ),
            (
                "not bound: the rounds were planned at 2.5 a second, and the connections were idle for 90% of the \
                 time; try a higher --rate",
                Load { rate: Some(2.5), ..load() },
            ),
            (
                "not bound: the servers' connections had data to send for 78% of the time, though a server sent 35.0 \
                 Mbit/s alone",
                Load { tcp: ServerReport { egress_bytes: 8_750_000, ..tcp(7_800_000, 0, 0, 0) }, ..load() },
            ),
            (
                "not bound: the servers' connections had data to send for 90% of the time, though",
                Load {
                    link: Some((1, 0.0004)),
                    tcp: ServerReport { egress_bytes: 8_750_000, ..tcp(9_000_000, 0, 0, 0) },
                    ..load()
                },
            ),
            (
                "sending bound: the servers' connections had data to send for 90% of the time and the readers had \
                 room, while server 1 used 0.700",
                Load {
                    link: Some((0, 0.7)),
                    tcp: ServerReport { egress_bytes: 1_750_000, ..tcp(9_000_000, 0, 0, 0) },
                    ..load()
                },
            ),
            ("not bound", Load { machine_busy: None, cores: 2, ..load() }),
            (
                "not bound: the connections were idle for 100%",
                Load { tcp: ServerReport::default(), ..load() },
            ),
        ];
        for (start, load) in table {
            let said = sentence(&load);
            assert!(said.starts_with(start), "{start}: {said}");
        }
    }
}
