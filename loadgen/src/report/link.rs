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
    let mut told: Vec<(Option<String>, String)> = Vec::new();
    for (side, server) in result.link.servers.iter().enumerate().filter(|(_, server)| server.fills_its_link())
    {
        let part = server.goodput_fraction.unwrap_or_default();
        let sent = format!("server {} sent {part:.4} of what TCP can carry", side + 1);
        let why = result.why_not_line_rate(side);
        match told.iter_mut().find(|(other, _)| *other == why) {
            Some((_, all)) => *all += &format!(", {sent}"),
            None => told.push((why, sent)),
        }
    }
    let emulated = result.has_emulated_links();
    for (why, told) in told {
        table.line(&match why {
            None if emulated => format!("Line rate of its emulated link: {told}; no check failed."),
            None => format!("Line rate: {told}, and no check of a machine failed."),
            Some(why) if emulated => {
                format!("Not called line rate of its emulated link, since {why}: {told}.")
            }
            Some(why) => format!("Not called line rate, since {why}: {told}."),
        });
        if emulated {
            table.line("(a queue of this machine holds that rate, and no card)");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::MachineCheck;
    use crate::check::tests::machine;
    use crate::net::Medium;
    use crate::result::Measured;
    use crate::result::tests::measured;
    use twincast_node::{Report, Role, Verdict};

    /// The report and the verdicts, on real links and on emulated ones, of a run in which servers sent these parts of what
    /// their links can carry.
    #[allow(clippy::type_complexity, reason = "a pair for each server")]
    fn told(
        medium: Medium,
        parts: [f64; 2],
        checks: Vec<MachineCheck>,
        lost: u64,
    ) -> (String, Vec<(Option<bool>, Option<bool>)>) {
        let mut measured = Measured { medium, checks, ..measured() };
        measured.play.hosts[0].totals.lost = lost;
        let whole = measured.play.servers[0].egress_bytes as f64;
        let sample =
            RunResult::of(Measured { medium: measured.medium.clone(), ..crate::result::tests::measured() });
        let fraction = sample.unwrap().link.servers[0].goodput_fraction.unwrap();
        for (server, part) in measured.play.servers.iter_mut().zip(parts) {
            server.egress_bytes = (whole * part / fraction) as u64;
        }
        let result = RunResult::of(measured).unwrap();
        let mut table = Table::default();
        link(&mut table, &result);
        let servers = result.link.servers.iter();
        (table.text, servers.map(|server| (server.line_rate, server.emulated_line_rate)).collect())
    }

    /// What a server's machine tells of a link of 10 Gbit/s.
    fn server(name: &str) -> MachineCheck {
        let verdicts = ["interface", "link_speed", "mtu", "path_mtu"].map(|name| (name, Verdict::Pass));
        with(machine(name, &verdicts), |report| {
            (report.role, report.link_bits_per_s, report.mtu_bytes) =
                (Role::Server, Some(10_000_000_000), Some(1_500));
        })
    }

    fn with(mut check: MachineCheck, change: impl FnOnce(&mut Report)) -> MachineCheck {
        change(check.report.as_mut().unwrap());
        check
    }

    fn verdict(check: MachineCheck, name: &str, verdict: Verdict) -> MachineCheck {
        with(check, |report| {
            report.findings.iter_mut().find(|finding| finding.name == name).unwrap().verdict = verdict;
        })
    }

    fn host() -> MachineCheck {
        with(machine("host 0", &[("qdisc", Verdict::Warn)]), |report| report.role = Role::Host)
    }

    #[test]
    fn egress_is_called_line_rate_only_over_a_link_that_the_servers_machine_has_seen() {
        let machines = |first: MachineCheck, parts, lost| {
            told(Medium::Machines, parts, vec![first, server("server 2"), host()], lost)
        };
        let (text, verdicts) = machines(verdict(server("server 1"), "mtu", Verdict::Warn), [0.97, 0.90], 0);
        assert!(text.contains("Line rate: server 1 sent 0.97") && !text.contains("server 2 sent"), "{text}");
        assert_eq!(verdicts, [(Some(true), None), (Some(false), None)]);
        type Change = fn(&mut Report);
        let changes: [(Change, &str); 6] = [
            (|report| report.link_bits_per_s = None, "nothing told the speed of server 1's link"),
            (
                |report| report.link_bits_per_s = Some(40_000_000_000),
                "server 1's link has 40.00 Gbit/s, and the plan says 10.00 Gbit/s",
            ),
            (|report| report.interface = Some("lo".into()), "what server 1 sends stays on its machine (lo)"),
            (|report| report.interface = None, "nothing told which interface server 1 sends over"),
            (
                |report| report.mtu_bytes = Some(9_000),
                "server 1's interface has an MTU of 9,000, and the plan says 1,500",
            ),
            (|report| report.role = Role::Host, "no check is that of server 1"),
        ];
        for (change, why) in changes {
            let (text, verdicts) = machines(with(server("server 1"), change), [0.97, 0.90], 0);
            assert!(!text.contains("Line rate:"), "{why}: {text}");
            assert!(
                text.contains(&format!("Not called line rate, since {why}: server 1 sent 0.97")),
                "{text}"
            );
            assert_eq!(verdicts[0], (Some(false), None));
        }
        for name in ["interface", "link_speed", "path_mtu"] {
            for bad in [Verdict::Warn, Verdict::Absent] {
                let (text, _) = machines(verdict(server("server 1"), name, bad), [0.97, 0.96], 0);
                let why = format!("since the check of {name} at server 1 did not pass: server 1 sent 0.97");
                assert!(text.contains(&why) && text.contains("Line rate: server 2 sent 0.96"), "{text}");
            }
        }
        let failed = verdict(server("server 1"), "mtu", Verdict::Fail);
        let (text, verdicts) = machines(failed, [0.97, 0.96], 0);
        assert!(text.contains("since server 1 failed its check of mtu: server 1 sent 0.97"), "{text}");
        assert_eq!(verdicts, [(Some(false), None); 2]);
        let (text, _) = machines(server("server 1"), [0.97, 0.96], 2);
        assert!(text.contains("Not called line rate, since the run failed: server 1 sent 0.97"), "{text}");
        let (text, _) = machines(server("server 1"), [0.90, 0.94], 0);
        assert!(!text.to_lowercase().contains("line rate"), "{text}");
    }

    #[test]
    fn what_fills_an_emulated_link_has_another_name() {
        let shape = crate::net::Shape::of(10_000_000_000, 1_500);
        let emulated = |parts, checks, lost| told(Medium::Namespaces(Some(shape)), parts, checks, lost);
        let good = || machine("server 1 on this machine", &[("qdisc", Verdict::Warn)]);
        let (text, verdicts) = emulated([0.97, 0.90], vec![good(), good()], 0);
        assert!(text.contains("Line rate of its emulated link") && !text.contains("Line rate:"), "{text}");
        assert!(text.contains("server 1 sent 0.97") && !text.contains("server 2 sent"), "{text}");
        assert_eq!(verdicts, [(None, Some(true)), (None, Some(false))]);
        let bad = machine("host 0 on this machine", &[("governor", Verdict::Fail)]);
        let missing = MachineCheck::of("host 0 on this machine".into(), Err("nobody is there".into()));
        for (checks, lost, why) in [
            (
                vec![good(), bad],
                0,
                "since host 0 on this machine failed its check of governor: server 1 sent 0.97",
            ),
            (vec![missing, good()], 0, "since host 0 on this machine was not checked: server 1 sent 0.97"),
            (Vec::new(), 0, "since no machine was checked: server 1 sent 0.97"),
            (vec![good()], 2, "since the run failed: server 1 sent 0.97"),
        ] {
            let (text, verdicts) = emulated([0.97, 0.96], checks, lost);
            assert!(
                text.contains("Not called line rate of its emulated link, ") && text.contains(why),
                "{text}"
            );
            assert!(text.contains("server 2 sent 0.96"), "{text}");
            assert_eq!(verdicts, [(None, Some(false)); 2]);
        }
    }
}
