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
    line_rate(table, result);
}

/// The one place where egress is called line rate, or where it is said why it is not.
fn line_rate(table: &mut Table, result: &RunResult) {
    let servers = || result.link.servers.iter().enumerate().filter(|(_, server)| server.fills_its_link());
    let of = |(side, server): (usize, &ServerLink)| {
        let part = server.goodput_fraction.unwrap_or_default();
        format!("server {} sent {part:.4} of what TCP can carry", side + 1)
    };
    let told: Vec<String> = servers().map(of).collect();
    if told.is_empty() {
        return;
    }
    let told = told.join(", ");
    match result.why_not_line_rate() {
        None => table.line(&format!("Line rate: {told}, and no check of a machine failed.")),
        Some(why) => table.line(&format!("Not called line rate, since {why}: {told}.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::MachineCheck;
    use crate::check::tests::machine;
    use crate::result::tests::measured;
    use twincast_node::Verdict;

    /// The report and the verdicts of a run in which servers sent these parts of what their links can carry.
    fn told(parts: [f64; 2], checks: Vec<MachineCheck>, lost: u64) -> (String, Vec<Option<bool>>) {
        let mut measured = measured();
        measured.checks = checks;
        measured.play.hosts[0].totals.lost = lost;
        let whole = measured.play.servers[0].egress_bytes as f64;
        let fraction = crate::result::tests::sample().link.servers[0].goodput_fraction.unwrap();
        for (server, part) in measured.play.servers.iter_mut().zip(parts) {
            server.egress_bytes = (whole * part / fraction) as u64;
        }
        let result = RunResult::of(measured).unwrap();
        let mut table = Table::default();
        link(&mut table, &result);
        (table.text, result.link.servers.iter().map(|server| server.line_rate).collect())
    }

    #[test]
    fn egress_is_called_line_rate_only_if_it_fills_the_link_and_every_machine_passed() {
        let good = || machine("server 1", &[("mtu", Verdict::Pass), ("qdisc", Verdict::Warn)]);
        let bad = machine("host 1", &[("governor", Verdict::Fail)]);
        let missing = MachineCheck::of("host 0".into(), Err("nobody is there".into()));

        let (text, verdicts) = told([0.97, 0.90], vec![good(), good()], 0);
        assert!(text.contains("Line rate: server 1 sent 0.97") && !text.contains("server 2 sent"), "{text}");
        assert_eq!(verdicts, [Some(true), Some(false)]);
        for (checks, lost, why) in [
            (vec![good(), bad], 0, "since host 1 failed its check of governor: server 1 sent 0.97"),
            (vec![missing, good()], 0, "since host 0 was not checked: server 1 sent 0.97"),
            (Vec::new(), 0, "since no machine was checked: server 1 sent 0.97"),
            (vec![good()], 2, "since the run failed: server 1 sent 0.97"),
        ] {
            let (text, verdicts) = told([0.97, 0.96], checks, lost);
            assert!(text.contains("Not called line rate") && text.contains(why), "{why}: {text}");
            assert!(!text.contains("Line rate:") && text.contains("server 2 sent 0.96"), "{text}");
            assert_eq!(verdicts, [Some(false), Some(false)]);
        }
        let (text, verdicts) = told([0.90, 0.94], vec![good()], 0);
        assert!(!text.to_lowercase().contains("line rate"), "{text}");
        assert_eq!(verdicts, [Some(false), Some(false)]);
    }
}
