//! What Twincast is compared with, in the same places and on the same links as its own servers and hosts.
//!
//! A baseline is two or one server processes ([`server`]) and as many host processes as the run has ([`host`]), led as
//! Twincast's are, over lines of [`orders`]. [`Baseline`] tells which there are; what they do over their sockets is the
//! business of `twincast-baselines`. `comparison` runs Twincast and all of them one after another, which is the
//! subcommand `baselines`.
//!
//! A first round warms up and is dropped. What a server cost is the CPU time of its process during the other rounds,
//! the kernel's work for it included.

pub(crate) mod comparison;
pub mod host;
pub mod orders;
mod result;
pub mod server;
mod table;

pub use result::BaselineResult;

use crate::coordinator::place::Deployment;
use crate::coordinator::stage::Beginning;
use crate::coordinator::team::{News, PeerId, Role, Take, Team};
use crate::coordinator::{Checks, Progress, RunError};
use crate::limits::{ANSWER_TIMEOUT, START_TIMEOUT};
use crate::plan::Plan;
use orders::{
    BaselineHostNews, BaselineHostOrder, BaselineServerNews, BaselineServerOrder, HostPlay, ServerFigures,
};
use result::Measured;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;
use twincast_baselines::pki::Trials;

/// The hidden subcommand of a baseline's server process.
pub const ROLE_BASELINE_SERVER: &str = "role-baseline-server";
/// The hidden subcommand of a baseline's host process.
pub const ROLE_BASELINE_HOST: &str = "role-baseline-host";
/// The hidden subcommand of a process that becomes the broker.
pub const ROLE_BASELINE_BROKER: &str = "role-baseline-broker";

/// Rounds before those that count.
const WARMUP_ROUNDS: u32 = 1;
/// Ciphertexts that the users of one host try to open at the most.
const TRIALS_MAX: u64 = 2_000;
/// Deliveries of all of the broker's rounds, about: a second of its CPU time, of which a tick of 10 ms is little.
const BROKER_DELIVERIES: u64 = 2_000_000;
/// Rounds that the broker plays for it at the most.
const BROKER_ROUNDS_MAX: u64 = 1_000;
/// Time for one delivery, slowly, all processes of a run on one core together: time limits are sized by it.
const SLOWEST_DELIVERY: Duration = Duration::from_micros(60);
/// Time for a round of no deliveries, and for dialling.
const SILENCE_MIN: Duration = Duration::from_secs(120);

/// What Twincast is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Baseline {
    /// The paper's own set-up: two servers on one thread each, and one write for each share.
    Faithful {
        /// Whether Nagle's algorithm is on, Boost.Asio's default.
        nagle: bool,
    },
    /// The single-server broadcast of the paper's section 3.1, with trial decryption.
    Pki,
    /// `nats-server`, where it is installed.
    Broker,
}

impl Baseline {
    /// All of them, in the order in which they are told.
    pub const ALL: [Baseline; 4] = [
        Baseline::Faithful { nagle: false },
        Baseline::Faithful { nagle: true },
        Baseline::Pki,
        Baseline::Broker,
    ];

    /// Servers that it has.
    fn servers(self) -> usize {
        if matches!(self, Baseline::Faithful { .. }) { 2 } else { 1 }
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Baseline::Faithful { nagle: false } => "paper-faithful, Nagle off",
            Baseline::Faithful { nagle: true } => "paper-faithful, Nagle on",
            Baseline::Pki => "PKI broadcast",
            Baseline::Broker => "nats-server",
        })
    }
}

/// What a baseline plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// Members of the one group.
    pub members: u32,
    /// Members that send in a round; less than `members` is a sample. At least one for each host.
    pub senders: u32,
    /// Bytes of a share, and of the broker's message: 336 as in the compact profile, 771 as in paper-xor. The PKI
    /// broadcast has its own size.
    pub share_bytes: u32,
    /// Rounds that count; one more is played before them. The broker plays more where these are too few for the ticks in
    /// which its CPU time is told.
    pub rounds: u32,
}

impl Setup {
    /// Refuses what cannot be played on so many hosts.
    ///
    /// # Errors
    /// Wrong usage, with the bounds.
    pub(crate) fn check(&self, hosts: u32) -> Result<(), RunError> {
        if self.rounds == 0 {
            return Err(RunError::Usage("a baseline of no rounds has no figures; give 1 or more".into()));
        }
        self.dealt(hosts).check().map_err(|error| RunError::Usage(error.to_string()))
    }

    fn dealt(&self, hosts: u32) -> twincast_baselines::Setup {
        let Setup { members, senders, share_bytes, .. } = *self;
        twincast_baselines::Setup { members, senders, hosts, share_bytes }
    }

    fn deliveries_of_round(&self) -> u64 {
        u64::from(self.members) * u64::from(self.senders)
    }
}

/// Plays a baseline on servers and hosts of its own, and stops them. No other peer of the team may be at work. Its machines
/// are checked for what Twincast would play there.
///
/// # Errors
/// As a run's; and [`RunError::Usage`] for a setup that cannot be, or a broker that is not installed, with the remedy:
/// then everything that was started has stopped already, and the team can go on.
pub(crate) fn measure(
    team: &mut Team,
    deployment: &Deployment,
    kind: Baseline,
    setup: &Setup,
    (plan, checks, progress): (&Plan, &mut Checks, &mut Progress),
) -> Result<BaselineResult, RunError> {
    let hosts = u32::try_from(deployment.hosts.len()).unwrap_or(u32::MAX);
    setup.check(hosts)?;
    let dealt = setup.dealt(hosts);
    let checks = checks.of(team, deployment, plan, progress)?;
    let silence =
        SILENCE_MIN + SLOWEST_DELIVERY * u32::try_from(2 * setup.deliveries_of_round()).unwrap_or(u32::MAX);
    progress.spin("starting a baseline");
    let servers = start_servers(team, deployment, kind, dealt)?;
    let addresses: Vec<SocketAddr> = servers.iter().map(|(_, address)| *address).collect();
    let servers: Vec<PeerId> = servers.iter().map(|(server, _)| *server).collect();
    let hosts = start_hosts(team, deployment, kind)?;
    tell_to_connect(team, &hosts, kind, dealt, &addresses);
    let dials = team.gather(&hosts, "connecting to a baseline", silence, |_, news| match news {
        News::BaselineHost(BaselineHostNews::Connected { dial_seconds }) => Take::Done(dial_seconds),
        news => Take::Unexpected(news),
    })?;
    let setup = &Setup { rounds: rounds_of(kind, setup), ..*setup };
    let mut game = Game { team, setup, servers, hosts, silence };
    game.play(WARMUP_ROUNDS, progress)?;
    let before = game.figures()?;
    let plays = game.play(setup.rounds, progress)?;
    let after = game.figures()?;
    let trials = if kind == Baseline::Pki { Some(game.trials(progress)?) } else { None };
    game.team.stop_all()?;
    let measured = Measured { kind, setup: *setup, checks, dials, plays, before, after, trials };
    measured.result()
}

fn start_servers(
    team: &mut Team,
    deployment: &Deployment,
    kind: Baseline,
    setup: twincast_baselines::Setup,
) -> Result<Vec<(PeerId, SocketAddr)>, RunError> {
    let places = deployment.servers.iter().take(kind.servers());
    places
        .map(|place| {
            let name = format!("{} of the baseline ({kind})", place.name);
            let server = team.start(Role::BaselineServer, name, &place.site)?;
            team.tell(server, &BaselineServerOrder::Start { kind, setup, listen: place.socket() });
            let ready = team.gather(&[server], "starting", START_TIMEOUT, |_, news| match news {
                News::BaselineServer(news @ BaselineServerNews::Ready { .. }) => Take::Done(news),
                News::BaselineServer(news @ BaselineServerNews::Missing { .. }) => Take::Done(news),
                news => Take::Unexpected(news),
            })?;
            match ready.into_iter().next() {
                Some(BaselineServerNews::Ready { address }) => Ok((server, address)),
                Some(BaselineServerNews::Missing { remedy }) => {
                    team.stop_all()?;
                    Err(RunError::Usage(remedy))
                }
                _ => Err(RunError::News("a baseline's server was not ready".into())),
            }
        })
        .collect()
}

/// Starts all hosts; returns when each of them waits for orders.
fn start_hosts(team: &mut Team, deployment: &Deployment, kind: Baseline) -> Result<Vec<PeerId>, RunError> {
    let mut hosts = Vec::new();
    for place in &deployment.hosts {
        let name = format!("{} of the baseline ({kind})", place.name);
        hosts.push(team.start(Role::BaselineHost, name, &place.site)?);
    }
    team.gather(&hosts, "starting", START_TIMEOUT, |_, news| match news {
        News::BaselineHost(BaselineHostNews::Up) => Take::Done(()),
        news => Take::Unexpected(news),
    })?;
    Ok(hosts)
}

/// All hosts begin to connect at one instant, and count from it how long that takes.
fn tell_to_connect(
    team: &mut Team,
    hosts: &[PeerId],
    kind: Baseline,
    setup: twincast_baselines::Setup,
    servers: &[SocketAddr],
) {
    let begin = Beginning::soon(team, hosts.iter().copied());
    for (host, peer) in (0..).zip(hosts) {
        let (servers, start_ns) = (servers.to_vec(), begin.of(team, *peer));
        let trials_max = TRIALS_MAX;
        team.tell(*peer, &BaselineHostOrder::Start { kind, setup, host, servers, trials_max, start_ns });
    }
}

/// Rounds that count. The kernel tells the broker's CPU time in ticks, and a few rounds of a small group are less than
/// one.
fn rounds_of(kind: Baseline, setup: &Setup) -> u32 {
    let enough = BROKER_DELIVERIES.div_ceil(setup.deliveries_of_round().max(1)).min(BROKER_ROUNDS_MAX);
    if kind == Baseline::Broker { setup.rounds.max(enough as u32) } else { setup.rounds }
}

/// A baseline whose users are attached.
struct Game<'a> {
    team: &'a mut Team,
    setup: &'a Setup,
    servers: Vec<PeerId>,
    hosts: Vec<PeerId>,
    silence: Duration,
}

impl Game<'_> {
    fn play(&mut self, rounds: u32, progress: &mut Progress) -> Result<Vec<HostPlay>, RunError> {
        progress.rounds("playing a baseline", rounds);
        let begin = Beginning::soon(self.team, self.hosts.iter().copied());
        for host in &self.hosts {
            let start_ns = begin.of(self.team, *host);
            self.team.tell(*host, &BaselineHostOrder::Play { rounds, start_ns });
        }
        let mut closed = vec![0; self.hosts.len()];
        let deliveries = self.setup.deliveries_of_round();
        self.team.gather(&self.hosts, "playing a baseline", self.silence, |host, news| match news {
            News::BaselineHost(BaselineHostNews::Progress { rounds }) => {
                closed[host] = rounds;
                let by_all = closed.iter().copied().min().unwrap_or(0);
                progress.closed(by_all, u64::from(by_all) * deliveries);
                Take::More
            }
            News::BaselineHost(BaselineHostNews::Played(play)) => Take::Done(play),
            news => Take::Unexpected(news),
        })
    }

    fn figures(&mut self) -> Result<Vec<ServerFigures>, RunError> {
        self.team.ask(&self.servers, &BaselineServerOrder::Report, "reporting", |news| match news {
            News::BaselineServer(BaselineServerNews::Report(figures)) => Take::Done(figures),
            news => Take::Unexpected(news),
        })
    }

    fn trials(&mut self, progress: &mut Progress) -> Result<Vec<Trials>, RunError> {
        progress.spin("trial decryption");
        self.hosts.iter().for_each(|host| self.team.tell(*host, &BaselineHostOrder::Open));
        let patience = ANSWER_TIMEOUT + Duration::from_millis(10) * TRIALS_MAX as u32;
        self.team.gather(&self.hosts, "trial decryption", patience, |_, news| match news {
            News::BaselineHost(BaselineHostNews::Opened(trials)) => Take::Done(trials),
            news => Take::Unexpected(news),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_plays_long_enough_for_ticks() {
        let setup = |members| Setup { members, senders: members, share_bytes: 336, rounds: 3 };
        assert_eq!(rounds_of(Baseline::Broker, &setup(100)), 200);
        assert_eq!(rounds_of(Baseline::Broker, &setup(5)), 1_000, "bounded for tiny groups");
        assert_eq!(rounds_of(Baseline::Broker, &setup(5_000)), 3, "those that were asked for");
        assert_eq!(rounds_of(Baseline::Pki, &setup(100)), 3);
    }
}
