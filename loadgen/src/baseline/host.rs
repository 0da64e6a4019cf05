//! A baseline's client host in a process of its own, led over the standard streams.

use super::Baseline;
use super::orders::{BaselineHostNews, BaselineHostOrder, HostPlay};
use crate::process::cpu_seconds;
use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;
use twincast_baselines::{BaselineError, Play, Setup, broker, faithful, pki};

/// The users of a host.
enum Users {
    Faithful(faithful::Host),
    Pki(pki::Host),
    Broker(broker::Host),
}

/// Obeys [`BaselineHostOrder`] lines on stdin until told to stop; at their end the process exits at once.
///
/// # Errors
/// The standard streams broke, or an order came out of turn. What is wrong with the rounds is told as
/// [`BaselineHostNews::Failed`] first.
pub fn run() -> anyhow::Result<()> {
    let (sender, orders) = channel();
    let worker = std::thread::Builder::new().name("users".into()).spawn(move || obey(&orders))?;
    for line in std::io::stdin().lock().lines() {
        let order = serde_json::from_str(&line?)?;
        let stop = matches!(order, BaselineHostOrder::Stop);
        if sender.send(order).is_err() || stop {
            return worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    }
    // The coordinator has gone, and nobody is left to finish a round for.
    std::process::exit(1)
}

fn obey(orders: &Receiver<BaselineHostOrder>) -> anyhow::Result<()> {
    let mut users = None;
    for order in orders {
        let news = match (order, &mut users) {
            (BaselineHostOrder::Start { kind, setup, host, servers, trials_max }, None) => {
                let start = Instant::now();
                connect(kind, setup, host, &servers, trials_max).map(|connected| {
                    users = Some(connected);
                    BaselineHostNews::Connected { dial_seconds: start.elapsed().as_secs_f64() }
                })
            }
            (BaselineHostOrder::Play { rounds }, Some(users)) => {
                let before = cpu_seconds();
                users.play(rounds).map(|play| {
                    let cpu_seconds = cpu_seconds() - before;
                    BaselineHostNews::Played(HostPlay { play, cpu_seconds })
                })
            }
            (BaselineHostOrder::Open, Some(Users::Pki(host))) => {
                host.open_some().map(BaselineHostNews::Opened)
            }
            (BaselineHostOrder::Stop, _) => break,
            (order, _) => anyhow::bail!("an order came out of turn: {order:?}"),
        };
        match news {
            Ok(news) => tell(&news)?,
            Err(error) => {
                tell(&BaselineHostNews::Failed(error.to_string()))?;
                anyhow::bail!(error);
            }
        }
    }
    Ok(())
}

fn connect(
    kind: Baseline,
    setup: Setup,
    host: u32,
    servers: &[SocketAddr],
    trials_max: u64,
) -> Result<Users, BaselineError> {
    Ok(match (kind, servers) {
        (Baseline::Faithful { .. }, &[first, second]) => {
            Users::Faithful(faithful::Host::connect(setup, host, [first, second])?)
        }
        (Baseline::Pki, &[server]) => Users::Pki(pki::Host::connect(setup, host, server, trials_max)?),
        (Baseline::Broker, &[server]) => Users::Broker(broker::Host::connect(setup, host, server)?),
        _ => return Err(BaselineError::Setup(format!("{kind} has no {} servers", servers.len()))),
    })
}

impl Users {
    fn play(&mut self, rounds: u32) -> Result<Play, BaselineError> {
        // A stream that has broken is noticed when the rounds are told.
        let progress = |rounds| drop(tell(&BaselineHostNews::Progress { rounds }));
        match self {
            Users::Faithful(host) => host.play(rounds, progress),
            Users::Pki(host) => host.play(rounds, progress),
            Users::Broker(host) => host.play(rounds, progress),
        }
    }
}

fn tell(news: &BaselineHostNews) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(news)?;
    line.push(b'\n');
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}
