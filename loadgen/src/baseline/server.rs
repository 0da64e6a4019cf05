//! A baseline's server in a process of its own, led over the standard streams.

use super::orders::{BaselineServerNews, BaselineServerOrder, ServerFigures};
use super::{Baseline, ROLE_BASELINE_BROKER};
use crate::process::cpu_seconds;
use std::ffi::OsString;
use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use twincast_baselines::broker::Broker;
use twincast_baselines::{BaselineError, RelayServer, Setup, faithful, pki};

/// What serves.
enum Server {
    Relay(RelayServer),
    Broker(Broker),
}

/// Obeys [`BaselineServerOrder`] lines on stdin until told to stop; at their end the process ends, and the broker with
/// it.
///
/// # Errors
/// The standard streams broke, or an order came out of turn. What is wrong with the server itself is told as
/// [`BaselineServerNews::Failed`] first.
pub fn run() -> anyhow::Result<()> {
    let mut server = None;
    for line in std::io::stdin().lock().lines() {
        match (serde_json::from_str(&line?)?, &server) {
            (BaselineServerOrder::Start { kind, setup, listen }, None) => match start(kind, setup, listen) {
                Ok(started) => {
                    tell(&BaselineServerNews::Ready { address: started.address() })?;
                    server = Some(started);
                }
                Err(BaselineError::Broker(remedy)) => tell(&BaselineServerNews::Missing { remedy })?,
                Err(error) => {
                    tell(&BaselineServerNews::Failed(error.to_string()))?;
                    anyhow::bail!(error);
                }
            },
            (BaselineServerOrder::Report, Some(server)) => match server.figures() {
                Ok(figures) => tell(&BaselineServerNews::Report(figures))?,
                Err(error) => {
                    tell(&BaselineServerNews::Failed(error.to_string()))?;
                    anyhow::bail!(error);
                }
            },
            (BaselineServerOrder::Stop, _) => return Ok(()),
            (order, _) => anyhow::bail!("an order came out of turn: {order:?}"),
        }
    }
    anyhow::bail!("the coordinator has gone")
}

impl Server {
    fn address(&self) -> SocketAddr {
        match self {
            Server::Relay(relay) => relay.address(),
            Server::Broker(broker) => broker.address(),
        }
    }

    fn figures(&self) -> Result<ServerFigures, BaselineError> {
        Ok(match self {
            Server::Relay(relay) => ServerFigures { cpu_seconds: cpu_seconds(), relay: Some(relay.report()) },
            Server::Broker(broker) => ServerFigures { cpu_seconds: broker.cpu_seconds()?, relay: None },
        })
    }
}

fn start(kind: Baseline, setup: Setup, listen: SocketAddr) -> Result<Server, BaselineError> {
    Ok(match kind {
        Baseline::Faithful { nagle } => Server::Relay(faithful::start_server(listen, setup, nagle, failed)?),
        Baseline::Pki => Server::Relay(pki::start_server(listen, setup, failed)?),
        Baseline::Broker => Server::Broker(Broker::start(listen, through_this_program)?),
    })
}

/// A server's thread cannot go on: its hosts see closed connections, and the coordinator is told who began it.
fn failed(error: &BaselineError) {
    // The coordinator may have gone, too.
    let _ = tell(&BaselineServerNews::Failed(error.to_string()));
}

/// The broker's program by way of this one, which sees to it that it dies with this process.
fn through_this_program(program: &Path) -> Command {
    let this = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
    let mut command = Command::new(this);
    command.arg(ROLE_BASELINE_BROKER).arg(program);
    command
}

/// Becomes the program of these words, as a child that the kernel kills when its parent goes.
///
/// # Errors
/// It cannot be run.
pub fn become_program(words: &[OsString]) -> anyhow::Result<()> {
    let [program, arguments @ ..] = words else { anyhow::bail!("no program was named") };
    crate::process::become_child(None)?;
    Err(Command::new(program).args(arguments).exec().into())
}

fn tell(news: &BaselineServerNews) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(news)?;
    line.push(b'\n');
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}
