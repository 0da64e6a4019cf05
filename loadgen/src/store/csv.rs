//! The two tables of a results folder for spreadsheets and plots: rounds, and seconds.

use crate::control::ServerReport;
use crate::coordinator::series::Series;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The first line of `rounds.csv`.
pub(super) const ROUNDS_HEAD: &str = "run,group,round,seconds\n";
/// The first line of `seconds.csv`.
pub(super) const SECONDS_HEAD: &str = "run,group,who,at_s,seconds,rounds,missed_slots,bits_in_per_s,bits_out_per_s,\
                                       shares_per_s,cpu_of_a_core\n";

/// The rounds of a run, numbered from 1: the seconds of each on its slowest host.
pub(super) fn rounds(run: u32, group: u32, rounds: &[f64]) -> String {
    let mut text = String::new();
    for (round, seconds) in (1..).zip(rounds) {
        writeln!(text, "{run},{group},{round},{seconds}").expect("a string takes it");
    }
    text
}

/// The seconds of a run, host by host as they came, then the servers'.
pub(super) fn seconds(run: u32, group: u32, series: &Series) -> String {
    let mut text = String::new();
    for (name, second) in &series.hosts {
        let rate = |amount: f64| if second.seconds > 0.0 { amount / second.seconds } else { 0.0 };
        let [bits_in, bits_out] =
            [second.bytes_in, second.bytes_out].map(|bytes| rate(bytes.iter().sum::<u64>() as f64 * 8.0));
        writeln!(
            text,
            "{run},{group},{},{:.6},{:.6},{},{},{bits_in:.0},{bits_out:.0},,{:.4}",
            field(name),
            second.at_s,
            second.seconds,
            second.rounds,
            second.missed_slots,
            rate(second.cpu_seconds),
        )
        .expect("a string takes it");
    }
    let mut before: BTreeMap<&str, (f64, &ServerReport)> = BTreeMap::new();
    for (name, at_s, report) in servers(series) {
        let Some((then_s, then)) = before.insert(name, (at_s, report)) else { continue };
        let seconds = at_s - then_s;
        let rate = |amount: f64| if seconds > 0.0 { amount / seconds } else { 0.0 };
        let grown = |now: u64, then: u64| rate(now.saturating_sub(then) as f64);
        writeln!(
            text,
            "{run},{group},{},{at_s:.6},{seconds:.6},,,,{:.0},{:.0},{:.4}",
            field(name),
            // What the socket took may wait there for a second that is not counted yet.
            grown(report.tcp_bytes_acked, then.tcp_bytes_acked) * 8.0,
            grown(report.egress_shares, then.egress_shares),
            rate((report.cpu_seconds - then.cpu_seconds).max(0.0)),
        )
        .expect("a string takes it");
    }
    text
}

/// Servers' counters with their time, which counts from each server's first of them.
fn servers(series: &Series) -> impl Iterator<Item = (&str, f64, &ServerReport)> {
    let mut first: BTreeMap<&str, f64> = BTreeMap::new();
    series.servers.iter().map(move |(name, report)| {
        let begin = *first.entry(name).or_insert(report.at_s);
        (name.as_str(), report.at_s - begin, report)
    })
}

/// A name as a field: in quotes where it needs them.
pub(crate) fn field(name: &str) -> String {
    if name.contains([',', '"', '\n']) { format!("\"{}\"", name.replace('"', "\"\"")) } else { name.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::HostSecond;

    #[test]
    fn a_round_is_a_line() {
        assert_eq!(rounds(2, 130, &[0.5, 0.25]), "2,130,1,0.5\n2,130,2,0.25\n");
    }

    #[test]
    fn seconds_tell_rates_of_hosts_and_servers() {
        let second = HostSecond {
            at_s: 2.0,
            seconds: 2.0,
            rounds: 3,
            missed_slots: 1,
            bytes_in: [1_000, 1_000],
            bytes_out: [100, 150],
            cpu_seconds: 0.5,
            ..HostSecond::default()
        };
        let report = |at_s, bytes, shares, cpu_seconds| ServerReport {
            at_s,
            tcp_bytes_acked: bytes,
            egress_shares: shares,
            cpu_seconds,
            ..ServerReport::default()
        };
        let series = Series {
            hosts: vec![("host 0, far".into(), second)],
            servers: [report(7.5, 50, 5, 0.1), report(8.5, 1_050, 15, 0.35)]
                .map(|report| ("server 1".into(), report))
                .into(),
            ..Series::default()
        };
        let text = seconds(1, 130, &series);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "1,130,\"host 0, far\",2.000000,2.000000,3,1,8000,1000,,0.2500");
        assert_eq!(lines[1], "1,130,server 1,1.000000,1.000000,,,,8000,10,0.2500");
        let columns = SECONDS_HEAD.split(',').count();
        assert_eq!(lines[1].split(',').count(), columns);
    }
}
