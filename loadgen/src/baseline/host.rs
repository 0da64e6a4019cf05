//! A baseline's client host in a process of its own, led over the standard streams.

use super::Baseline;
use super::orders::{BaselineHostNews, BaselineHostOrder, HostPlay};
use crate::process::{cpu_seconds, now_ns};
use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
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
    tell(&BaselineHostNews::Up)?;
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
            (BaselineHostOrder::Start { kind, setup, host, servers, trials_max, start_ns }, None) => {
                let start = keep(start_ns);
                connect(kind, setup, host, &servers, trials_max).map(|connected| {
                    users = Some(connected);
                    BaselineHostNews::Connected { dial_seconds: start.elapsed().as_secs_f64() }
                })
            }
            (BaselineHostOrder::Play { rounds, start_ns }, Some(users)) => {
                keep(start_ns);
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

/// Waits for an instant in nanoseconds since 1970; which that is by this process's clock, or now if it has passed.
fn keep(start_ns: u64) -> Instant {
    let left = Duration::from_nanos(start_ns.saturating_sub(now_ns()));
    let instant = Instant::now() + left;
    std::thread::sleep(instant.saturating_duration_since(Instant::now()));
    instant
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_begins_at_the_ordered_instant_and_never_before() {
        let (before, here_ns) = (Instant::now(), now_ns());
        let begun = keep(here_ns + 5_000_000);
        assert!(begun >= before && Instant::now() >= begun);
        // The wall clock is read first, so that a clock that is not set back meanwhile has come to the instant.
        assert!(now_ns() >= here_ns + 5_000_000);
        let now = Instant::now();
        assert!(keep(0) >= now, "an instant that has passed is now: nobody is charged for what came before");
    }
}
