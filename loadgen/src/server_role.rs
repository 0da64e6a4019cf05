//! The server role: one server in a process of its own, led over the standard streams.

use crate::control::{ServerNews, ServerOrder, ServerReport};
use crate::fault::{Fault, FaultKind, USER};
use crate::keys::ServerKeys;
use crate::limits::{BEAT, PEER_TIMEOUT_SPARE_MS, dial_timeout_ms, round_timeout_ms};
use crate::plan::Plan;
use crate::process::{cpu_seconds, peak_rss_bytes};
use std::fmt::Write as _;
use std::io::{self, BufRead as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;
use twincast_protocol::format::Scheme;
use twincast_server::Server;
use twincast_server::config::Config;
use twincast_server::limits::{STRANGER_BYTES_PER_SECOND_DEFAULT, STRANGERS_PER_ADDRESS_DEFAULT};

/// What a user takes in HELLO at the most, handshake and all: on a connection of its own.
const HELLO_USER_BYTES_MAX: u64 = 512;

/// What the two servers of a run do not have in common.
#[derive(Clone, Copy, Debug)]
pub struct Ends<'a> {
    /// 1 or 2.
    pub side: u8,
    /// Where S2 takes the link, for S1.
    pub link: Option<SocketAddr>,
    /// S2's folder for its boxes.
    pub parts_box: Option<&'a Path>,
    /// Where it listens for clients.
    pub listen: SocketAddr,
    /// The port that S2 takes the link on; 0 for a free one.
    pub link_port: u16,
    /// The other server's address.
    pub peer: IpAddr,
    /// Whether it is on this machine, whose cores are known.
    pub here: bool,
}

impl Ends<'_> {
    /// A server on loopback, without a box, not yet told of the other one's link.
    #[must_use]
    pub fn loopback(side: u8) -> Ends<'static> {
        let address = IpAddr::from(Ipv4Addr::LOCALHOST);
        Ends {
            side,
            link: None,
            parts_box: None,
            listen: SocketAddr::new(address, 0),
            link_port: 0,
            peer: address,
            here: true,
        }
    }
}

/// The configuration of one server for a plan, as a file for `twincast-server --config` would say it.
///
/// Every member of a local run is there, so a round is sealed when the last has submitted, and time limits are as
/// generous as the coordinator's own: what is too slow is then told by the coordinator, which names who it was. The
/// other server's word is waited for longer than a round, so that what it seals at its time limit is agreed on.
pub fn config_text(plan: &Plan, ends: &Ends<'_>) -> String {
    let side = ends.side;
    let connections = crate::coordinator::connections_max(plan);
    // A server has one front executor and some fan-out threads, a host one thread. Pinning is for who has a core for each:
    // nobody knows that of another machine.
    let answering = if plan.answers() { 2 * answer_threads(plan, ends.here).unwrap_or(1) } else { 0 };
    let fan_out = plan.server.fan_out_threads.unwrap_or(1) as u64;
    let threads = 2 * (1 + fan_out) + answering + u64::from(plan.hosts);
    let pinned = ends.here && threads <= crate::environment::cores();
    let cores = if pinned { "auto" } else { "none" };
    // Plain channels are for measurements, and a load generator's are, wherever its servers listen.
    let mut text = format!(
        "side = {side}\nlisten = \"{}\"\nchannel = \"{}\"\ninsecure_plain = {}\ninsecure_baseline = {}\n\n{}\n{}\n[limits]\n\
         connections_max = {connections}\nusers_per_connection_max = {}\n{}",
        ends.listen,
        plan.channel,
        !plan.is_noise(),
        plan.profile.is_paper(),
        section_text(plan, "front", cores),
        section_text(plan, "fan_out", cores),
        plan.users_per_connection,
        strangers_text(plan, connections)
    );
    if plan.answers() {
        // What the machines hold was looked at before, or is for them to say.
        writeln!(text, "group_memory_bytes_max = {}", i64::MAX).expect("a string takes it");
    }
    let mut put = |section: String| text.push_str(&section);
    if plan.answers() {
        let threads = match answer_threads(plan, ends.here) {
            Some(threads) => format!("threads = {threads}\n"),
            None => String::new(),
        };
        put(format!("\n[answer]\n{threads}cores = \"{cores}\"\n"));
    }
    if plan.linked {
        let end = match (side, ends.link) {
            (1, Some(address)) => format!("connect = \"{address}\""),
            _ => format!(
                "listen = \"{}\"\npeer = \"{}\"",
                SocketAddr::new(ends.listen.ip(), ends.link_port),
                ends.peer
            ),
        };
        let peer_timeout_ms = round_timeout_ms(plan) + PEER_TIMEOUT_SPARE_MS;
        put(format!("\n[link]\n{end}\npeer_timeout_ms = {peer_timeout_ms}\n"));
    }
    if let (2, Some(folder)) = (side, ends.parts_box) {
        let bytes = u64::from(plan.box_mib) << 20;
        put(format!("\n[box]\nfolder = {:?}\nbytes_max = {bytes}\n", folder.display().to_string()));
    }
    if let (1, Some(fault @ Fault { kind: FaultKind::SwapHalf, round, .. })) = (side, plan.fault) {
        let sender = fault.sender(plan);
        let what = format!("round = {round}, sender = {sender}, user = {USER}");
        put(match plan.accountable {
            true => format!("\n[fault]\naccountable = {{ {what}, kind = \"swap\" }}\n"),
            false => format!("\n[fault]\nswap_half = {{ {what} }}\n"),
        });
    }
    (0..plan.groups).for_each(|group| put(group_text(plan, group)));
    text
}

/// All hosts of a run may have one address, and their connections come at once, and again as often as a fault cuts them.
fn strangers_text(plan: &Plan, connections: u64) -> String {
    let strangers = connections.max(STRANGERS_PER_ADDRESS_DEFAULT.into());
    let users = u64::from(plan.group) * u64::from(plan.groups);
    let bytes = STRANGER_BYTES_PER_SECOND_DEFAULT.max(users.saturating_mul(HELLO_USER_BYTES_MAX));
    format!(
        "strangers_per_address_max = {strangers}\nstranger_connections_per_second_max = {}\n\
         stranger_bytes_per_second_max = {bytes}\n",
        u32::MAX
    )
}

/// A section of threads: what the plan sets, and these cores unless it sets them.
fn section_text(plan: &Plan, name: &str, cores: &str) -> String {
    let keys = plan.server.keys().into_iter().filter(|(section, ..)| *section == name);
    let keys: Vec<(&str, String)> = keys.map(|(_, key, value)| (key, value)).collect();
    let mut text = format!("[{name}]\n");
    if keys.iter().all(|(key, _)| *key != "cores") {
        writeln!(text, "cores = \"{cores}\"").expect("a string takes it");
    }
    for (key, value) in keys {
        writeln!(text, "{key} = {value}").expect("a string takes it");
    }
    text
}

/// Threads of a server that work out answers: as many as were asked for or, on this machine, a quarter of its cores, as
/// there are two servers, and hosts beside them. Of another machine nobody knows.
#[must_use]
pub fn answer_threads(plan: &Plan, here: bool) -> Option<u64> {
    match plan.answer_threads {
        0 => here.then(|| (crate::environment::cores() / 4).max(1)),
        threads => Some(threads.into()),
    }
}

fn group_text(plan: &Plan, id: u32) -> String {
    let (scheme, subgroups_max) = match plan.scheme() {
        Scheme::Plain => ("plain", 0),
        Scheme::Algorithm4 => ("algorithm4", 0),
        Scheme::OneToMany { subgroups_max } => ("one-to-many", subgroups_max),
    };
    let mut text = String::from("\n[[groups]]\n");
    let mut put = |key: &str, value: &dyn std::fmt::Display| {
        writeln!(text, "{key} = {value}").expect("a string takes it");
    };
    put("id", &id);
    put("members", &plan.group);
    put("identities", &format!("\"{}\"", plan.identities));
    if plan.accountable {
        put("accountable", &true);
        put("header_rounds", &plan.header_rounds);
    }
    put("profile", &format!("\"{}\"", plan.profile));
    put("scheme", &format!("\"{scheme}\""));
    put("subgroups_max", &subgroups_max);
    put("frame_bytes", &plan.frame_bytes);
    put("slots", &plan.slots);
    if plan.answers() {
        put("delivery", &format!("\"{}\"", plan.delivery));
    } else {
        put("confirm", &plan.confirm);
        put("keys", &plan.keys);
    }
    if plan.answers() || plan.accountable {
        // Keys are drawn for each run: no epoch comes again under one, and every run counts its epochs from 0.
        put("first_epoch", &0);
    }
    put("epoch_rounds", &plan.epoch_rounds);
    if plan.epoch_rounds > 0 {
        put("announce_rounds", &plan.announce_rounds);
    }
    put("round_timeout_ms", &round_timeout_ms(plan));
    put("dial_timeout_ms", &dial_timeout_ms(plan));
    text
}

/// Obeys [`ServerOrder`] lines on stdin until told to stop; at their end the process exits at once.
///
/// # Errors
/// The standard streams broke, or an order came out of turn. What is wrong with the server itself is told as
/// [`ServerNews::Failed`] first.
pub fn run() -> anyhow::Result<()> {
    let mut server = None;
    for line in io::stdin().lock().lines() {
        match (serde_json::from_str(&line?)?, &server) {
            (ServerOrder::Start { config, keys }, None) => match start(&config, keys.as_ref()) {
                Ok(started) => {
                    let (address, link) = (started.address(), started.link_address());
                    tell(&ServerNews::Ready { address, link })?;
                    server = Some(Running::new(started)?);
                }
                Err(sentence) => {
                    tell(&ServerNews::Failed(sentence.clone()))?;
                    anyhow::bail!(sentence);
                }
            },
            (ServerOrder::Report, Some(running)) => tell(&ServerNews::Report(running.counted.report()))?,
            (ServerOrder::Stop, _) => return stop(server),
            (order, _) => anyhow::bail!("an order came out of turn: {order:?}"),
        }
    }
    // The coordinator has gone. Nobody is left to finish a round for.
    std::process::exit(1)
}

fn start(config: &str, keys: Option<&ServerKeys>) -> Result<Server, String> {
    let config = Config::from_toml(config).map_err(|error| error.to_string())?;
    let server = match keys {
        None => Server::start(config),
        Some(keys) => Server::start_with(config, keys.keys()?),
    };
    server.map_err(|error| error.to_string())
}

fn stop(server: Option<Running>) -> anyhow::Result<()> {
    if let Some(running) = server {
        running.stop().map_err(|error| anyhow::anyhow!("the server did not end well: {error}"))?;
    }
    tell(&ServerNews::Stopped)
}

/// A server, and the thread that says every second what it has counted.
struct Running {
    counted: Arc<Counted>,
    /// Nothing is ever sent: the thread ends when it is dropped.
    seconds: Sender<()>,
    teller: JoinHandle<()>,
}

struct Counted {
    server: Server,
    start: Instant,
}

impl Running {
    fn new(server: Server) -> io::Result<Running> {
        let counted = Arc::new(Counted { server, start: Instant::now() });
        let (seconds, ended) = channel();
        let reader = counted.clone();
        let tell_seconds = move || {
            while ended.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                // Nobody listens: the end of the orders tells the main thread the same.
                if tell(&ServerNews::Second(reader.report())).is_err() {
                    return;
                }
            }
        };
        let teller = std::thread::Builder::new().name("seconds".into()).spawn(tell_seconds)?;
        Ok(Running { counted, seconds, teller })
    }

    /// Stops the thread, and then the server: nothing is said after [`ServerNews::Stopped`].
    fn stop(self) -> io::Result<()> {
        drop(self.seconds);
        self.teller.join().map_err(|_| io::Error::other("the thread that tells seconds panicked"))?;
        let counted = Arc::into_inner(self.counted).expect("the thread that shared it has ended");
        counted.server.stop()
    }
}

impl Counted {
    fn report(&self) -> ServerReport {
        let counters = self.server.counters();
        ServerReport {
            at_s: self.start.elapsed().as_secs_f64(),
            egress_bytes: counters.egress_bytes,
            // A server of a run has one of the two.
            egress_shares: counters.egress_shares + counters.egress_answers,
            link_bytes: self.server.metrics().link_bytes_out.load(Ordering::Relaxed),
            cpu_seconds: cpu_seconds(),
            peak_rss_bytes: peak_rss_bytes(),
            zero_copy_sends: counters.zero_copy_sends,
            zero_copy_copied: counters.zero_copy_copied,
            slow_readers_closed: counters.slow_readers_closed,
            tcp_busy_us: counters.tcp_busy_us,
            tcp_rwnd_limited_us: counters.tcp_rwnd_limited_us,
            tcp_sndbuf_limited_us: counters.tcp_sndbuf_limited_us,
            tcp_retransmits: counters.tcp_retransmits,
            tcp_bytes_acked: counters.tcp_bytes_acked,
            interface: crate::net::passed(self.server.address().ip()),
        }
    }
}

fn tell(news: &ServerNews) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    serde_json::to_writer(&mut stdout, news)?;
    stdout.write_all(b"\n")?;
    Ok(stdout.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::{answer_plan, many, plan};
    use crate::plan::{Peers, ProfileName};

    fn config(plan: &Plan, side: u8) -> Config {
        let link = (side == 1 && plan.linked).then(|| "127.0.0.1:9".parse().unwrap());
        let text = config_text(
            plan,
            &Ends { link, parts_box: (plan.box_mib > 0).then(|| Path::new("/tmp")), ..Ends::loopback(side) },
        );
        Config::from_toml(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn the_configuration_is_one_that_a_server_takes() {
        let plan = Plan { groups: 2, slots: 3, confirm: false, users_per_connection: 1, ..plan() };
        let config = config(&plan, 2);
        assert_eq!((config.side, config.groups.len()), (2, 2));
        let group = &config.groups[1];
        assert_eq!((group.id, group.members, group.slots, group.confirm), (1, plan.group, 3, false));
        assert!(group.round_timeout_ms >= 60_000);
        assert!(config.link.unwrap().peer_timeout_ms > group.round_timeout_ms);
    }

    #[test]
    fn every_profile_and_scheme_has_a_configuration_and_both_servers_have_the_same_groups() {
        for profile in [ProfileName::Compact, ProfileName::PaperXor, ProfileName::PaperAdd] {
            for peers in [Peers::Random, Peers::Subgroup(25), Peers::Many(many(4, 2, 3))] {
                let frame_bytes = crate::plan::frame_bytes_default(profile);
                let keyed = Plan { keys: true, epoch_rounds: 4, announce_rounds: 2, churn: 3, ..plan() };
                let plan = Plan { profile, peers, frame_bytes, box_mib: 3, ..keyed };
                let (one, two) = (config(&plan, 1), config(&plan, 2));
                assert_eq!(one.groups, two.groups);
                assert_eq!(one.groups[0].format().unwrap(), plan.format().unwrap());
                assert!(one.link.unwrap().connect.is_some() && two.link.unwrap().listen.is_some());
                assert!(one.parts_box.is_none() && two.parts_box.unwrap().bytes_max == 3 << 20);
            }
        }
    }

    #[test]
    fn what_guards_a_run_is_in_the_configuration() {
        let guarded = Plan { accountable: true, header_rounds: 4, box_mib: 128, ..Plan::default() };
        let text = config_text(&guarded, &Ends::loopback(1));
        for part in [
            "channel = \"noise\"\ninsecure_plain = false\n",
            "identities = \"registered\"\naccountable = true\nheader_rounds = 4\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        for side in [1, 2] {
            let config = config(&guarded, side);
            let group = &config.groups[0];
            assert!(group.accountable && group.header_rounds == 4 && group.first_epoch == Some(0));
            let strangers = config.limits.strangers_per_address_max as usize;
            assert!(strangers >= config.limits.connections_max);
            assert_eq!(config.limits.stranger_connections_per_second_max, u32::MAX);
        }
        let plain = config_text(&plan(), &Ends::loopback(1));
        assert!(plain.contains("channel = \"plain\"\ninsecure_plain = true\n"), "{plain}");
        assert!(plain.contains("identities = \"open\"") && !plain.contains("accountable"), "{plain}");
    }

    /// All hosts of a run may have one address, and a user each connection.
    #[test]
    fn strangers_of_one_address_may_be_as_many_as_the_connections_of_the_plan() {
        let plan = Plan { group: 2_000, users_per_connection: 1, ..Plan::default() };
        let connections = crate::coordinator::connections_max(&plan);
        assert!(connections >= 2_000, "{connections}");
        let text = config_text(&plan, &Ends::loopback(1));
        assert!(text.contains(&format!("\nstrangers_per_address_max = {connections}\n")), "{text}");
        let few = Plan { group: 20, ..plan };
        let text = config_text(&few, &Ends::loopback(2));
        let least = format!("\nstrangers_per_address_max = {STRANGERS_PER_ADDRESS_DEFAULT}\n");
        assert!(text.contains(&least), "{text}");
    }

    #[test]
    fn answer_delivery_has_threads_and_no_parts() {
        let plan = Plan { answer_threads: 3, ..answer_plan() };
        let text = config_text(&plan, &Ends::loopback(2));
        for part in ["delivery = \"answer\"\n", "[answer]\nthreads = 3\n", "frame_bytes = 272\n", "[link]"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("confirm") && !text.contains("keys"), "{text}");
        let own = Plan { answer_threads: 0, ..plan };
        assert!(config_text(&own, &Ends { here: false, ..Ends::loopback(2) }).contains("[answer]\ncores"));
        assert!(answer_threads(&own, true) >= Some(1) && answer_threads(&own, false).is_none());
        let group = &config(&own, 1).groups[0];
        assert_eq!(group.format().unwrap(), own.format().unwrap());
        assert_eq!(group.first_epoch, Some(0), "hosts count the epochs of a run from 0");
        assert!(!group_text(&crate::plan::tests::plan(), 0).contains("first_epoch"));
    }

    #[test]
    fn a_server_on_another_machine_is_pinned_to_no_core() {
        let plan = Plan { hosts: 1, ..plan() };
        let far = config_text(&plan, &Ends { here: false, ..Ends::loopback(2) });
        assert_eq!(far.matches("cores = \"none\"").count(), 2, "{far}");
        assert!(!far.contains("cores = \"auto\""), "{far}");
        let here = config_text(&plan, &Ends::loopback(2));
        let word = if crate::environment::cores() >= 5 { "auto" } else { "none" };
        assert_eq!(here.matches(&format!("cores = \"{word}\"")).count(), 2, "{here}");
    }

    #[test]
    fn what_the_plan_sets_is_in_the_configuration_of_both_servers() {
        use twincast_server::config::{Cores, CoresNamed, FanOut, ZeroCopy};
        let server = crate::plan::ServerSettings {
            fan_out_threads: Some(2),
            fan_out_cores: Some(Cores::List(vec![0, 1])),
            front_cores: Some(Cores::Named(CoresNamed::None)),
            slab_bytes: Some(65_536),
            slabs: Some(8),
            zero_copy: Some(ZeroCopy::On),
            zero_copy_bytes_min: Some(4_096),
            send_buffer_bytes: Some(1 << 20),
        };
        let plan = Plan { server, ..plan() };
        for side in [1, 2] {
            let config = config(&plan, side);
            assert_eq!(config.front.cores, Cores::Named(CoresNamed::None));
            let expected = FanOut {
                threads: 2,
                cores: Cores::List(vec![0, 1]),
                slab_bytes: 65_536,
                slabs: 8,
                zero_copy: ZeroCopy::On,
                zero_copy_bytes_min: 4_096,
                send_buffer_bytes: 1 << 20,
                ..FanOut::default()
            };
            assert_eq!(config.fan_out, expected);
        }
        let few =
            Plan { server: crate::plan::ServerSettings { slabs: Some(8), ..Default::default() }, ..plan };
        let far = config_text(&few, &Ends { here: false, ..Ends::loopback(2) });
        assert!(far.contains("[fan_out]\ncores = \"none\"\nslabs = 8\n"), "{far}");
    }

    #[test]
    fn a_plan_without_link_and_box_has_neither() {
        let plan = Plan { linked: false, ..plan() };
        let text = config_text(&plan, &Ends::loopback(2));
        let config = Config::from_toml(&text).unwrap();
        assert!(config.link.is_none() && config.parts_box.is_none());
    }
}
