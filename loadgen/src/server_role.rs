//! The server role: one server in a process of its own, led over the standard streams.

use crate::control::{ServerNews, ServerOrder, ServerReport};
use crate::limits::{dial_silence_max, round_silence_max};
use crate::plan::Plan;
use crate::process::{cpu_seconds, peak_rss_bytes};
use std::fmt::Write as _;
use std::io::{BufRead as _, Write as _};
use twincast_server::Server;
use twincast_server::config::Config;

/// The configuration of one side's server for a plan, as a file for `twincast-server --config` would say it.
///
/// Every member of a local run is there, so a round is sealed when the last has submitted, and time limits are as
/// generous as the coordinator's own: what is too slow is then told by the coordinator, which names who it was.
pub fn config_text(plan: &Plan, side: u8) -> String {
    let connections = crate::coordinator::connections_max(plan);
    let round_timeout_ms = round_silence_max(plan).as_millis();
    let dial_timeout_ms = dial_silence_max(plan).as_millis();
    // A server has one front executor and one fan-out thread, a host one thread. Pinning is for who has a core for each.
    let threads = 2 * 2 + u64::from(plan.hosts);
    let cores = if threads > crate::environment::cores() { "none" } else { "auto" };
    let mut text = format!(
        "side = {side}\nlisten = \"127.0.0.1:0\"\n\n[front]\ncores = \"{cores}\"\n\n[fan_out]\ncores = \"{cores}\"\n\n\
         [limits]\nconnections_max = {connections}\n\
         users_per_connection_max = {}\n",
        plan.users_per_connection
    );
    for id in 0..plan.groups {
        write!(
            text,
            "\n[[groups]]\nid = {id}\nmembers = {}\nframe_bytes = {}\nslots = {}\nconfirm = {}\n\
             round_timeout_ms = {round_timeout_ms}\ndial_timeout_ms = {dial_timeout_ms}\n",
            plan.group, plan.frame_bytes, plan.slots, plan.confirm
        )
        .expect("a string takes it");
    }
    text
}

/// Obeys [`ServerOrder`] lines on stdin until told to stop; at their end the process exits at once.
///
/// # Errors
/// The standard streams broke, or an order came out of turn. What is wrong with the server itself is told as
/// [`ServerNews::Failed`] first.
pub fn run() -> anyhow::Result<()> {
    let mut server = None;
    for line in std::io::stdin().lock().lines() {
        match (serde_json::from_str(&line?)?, &server) {
            (ServerOrder::Start { config }, None) => match start(&config) {
                Ok(started) => {
                    tell(&ServerNews::Ready { address: started.address() })?;
                    server = Some(started);
                }
                Err(sentence) => {
                    tell(&ServerNews::Failed(sentence.clone()))?;
                    anyhow::bail!(sentence);
                }
            },
            (ServerOrder::Report, Some(server)) => tell(&ServerNews::Report(report(server)))?,
            (ServerOrder::Stop, _) => return stop(server),
            (order, _) => anyhow::bail!("an order came out of turn: {order:?}"),
        }
    }
    // The coordinator has gone. Nobody is left to finish a round for.
    std::process::exit(1)
}

fn start(config: &str) -> Result<Server, String> {
    let config = Config::from_toml(config).map_err(|error| error.to_string())?;
    Server::start(config).map_err(|error| error.to_string())
}

fn stop(server: Option<Server>) -> anyhow::Result<()> {
    if let Some(server) = server {
        server.stop().map_err(|error| anyhow::anyhow!("the server did not end well: {error}"))?;
    }
    tell(&ServerNews::Stopped)
}

fn report(server: &Server) -> ServerReport {
    let counters = server.counters();
    ServerReport {
        egress_bytes: counters.egress_bytes,
        egress_shares: counters.egress_shares,
        cpu_seconds: cpu_seconds(),
        peak_rss_bytes: peak_rss_bytes(),
        zero_copy_sends: counters.zero_copy_sends,
        zero_copy_copied: counters.zero_copy_copied,
        slow_readers_closed: counters.slow_readers_closed,
        tcp_busy_us: counters.tcp_busy_us,
        tcp_rwnd_limited_us: counters.tcp_rwnd_limited_us,
        tcp_sndbuf_limited_us: counters.tcp_sndbuf_limited_us,
        tcp_retransmits: counters.tcp_retransmits,
    }
}

fn tell(news: &ServerNews) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    serde_json::to_writer(&mut stdout, news)?;
    stdout.write_all(b"\n")?;
    Ok(stdout.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::plan;

    #[test]
    fn the_configuration_is_one_that_a_server_takes() {
        let plan = Plan { groups: 2, slots: 3, confirm: false, users_per_connection: 1, ..plan() };
        let config = Config::from_toml(&config_text(&plan, 2)).unwrap();
        assert_eq!(config.side, 2);
        assert_eq!(config.groups.len(), 2);
        let group = &config.groups[1];
        assert_eq!((group.id, group.members, group.slots, group.confirm), (1, plan.group, 3, false));
        assert!(group.round_timeout_ms >= 60_000);
    }
}
