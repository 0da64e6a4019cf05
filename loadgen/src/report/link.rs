//! What joined servers and hosts: a line at the head, and the servers' use of their links.

use super::Table;
use crate::result::{RunResult, ServerLink};
use crate::units::{bits_per_s, memory, thousands, traffic};

/// What joined servers and hosts, in a line.
pub(super) fn in_words(result: &RunResult) -> String {
    let link = &result.link;
    let tcp = result.environment.congestion_control.as_ref();
    let tcp = tcp.map_or_else(String::new, |name| format!(", TCP {name}"));
    if let Some(why) = &link.not_shaped {
        return format!("links were not shaped: {why}{tcp}");
    }
    let held = link.tbf_rate_bits_per_s.zip(link.tbf_burst_bytes).zip(link.tbf_queue_bytes);
    match (link.medium.as_str(), held) {
        (_, Some(((rate, burst), queue))) => format!(
            "links of {} each way (tbf {}, burst {}, queue {}){tcp}; no delay is emulated",
            result.plan.link.rate,
            bits_per_s(rate as f64),
            traffic(burst),
            memory(queue)
        ),
        ("namespaces", None) => format!("links without a limit{tcp}; no delay is emulated"),
        ("loopback", None) => format!("no links{tcp}; no delay is emulated"),
        _ => format!("links between machines, said to be {} each way", result.plan.link.rate),
    }
}

/// How much of their links the servers used, where the links have a rate.
pub(super) fn link(table: &mut Table, result: &RunResult) {
    let link = &result.link;
    let Some(goodput) = link.goodput_bits_per_s else { return };
    table.section(&format!("Link of {}", result.plan.link.rate), &["server 1", "server 2"]);
    let mut row = |name: &str, of: &dyn Fn(&ServerLink) -> String| {
        table.row(name, &link.servers.iter().map(of).collect::<Vec<_>>());
    };
    let fraction = |part: Option<f64>| part.map_or_else(|| "-".into(), |part| format!("{part:.4}"));
    row("of TCP's goodput", &|server| fraction(server.goodput_fraction));
    row("of what its bucket lets by", &|server| fraction(server.raw_fraction));
    row("sent by the program", &|server| traffic(server.program.sent));
    row("  by the interface", &|server| traffic(server.interface.sent));
    row("  on the wire", &|server| server.wire_bytes.map_or_else(|| "-".into(), traffic));
    let dropped = link.dropped_packets.map_or_else(|| "-".into(), thousands);
    table.line(&format!(
        "(TCP can carry {} at MTU {}; packets that a queue had no room for: {dropped})",
        bits_per_s(goodput),
        thousands(link.mtu)
    ));
}
