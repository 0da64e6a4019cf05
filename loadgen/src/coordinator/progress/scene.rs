//! What the live view says, as lines of text: pure, of what hosts and servers have told so far.

use crate::control::{HostSecond, ServerReport};
use crate::plan::Plan;
use crate::units::{bits_per_s, thousands};
use std::time::Duration;

/// Columns of the bar.
const BAR_WIDTH: u64 = 20;
/// Columns of a row's name, at least.
const NAME_WIDTH: usize = 9;

/// Everything that the view shows.
#[derive(Debug, Default)]
pub(super) struct Scene {
    /// Which run of several: "repeat 2 of 3, n = 1,000".
    pub(super) context: String,
    pub(super) phase: String,
    /// Rounds of the phase, and how many of them all hosts have closed; none in a phase of another kind.
    pub(super) rounds: Option<(u32, u32)>,
    /// Cells that came from each server for them.
    pub(super) shares: u64,
    pub(super) facts: Facts,
    hosts: Vec<(String, HostView)>,
    servers: Vec<(String, ServerView)>,
}

/// What the plan says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    /// Members of a group; 0 as long as nobody has said.
    group: u32,
    /// The time between the planned instants of two rounds; none in lockstep.
    interval: Option<Duration>,
    /// Payload bits per second that a link carries; none where it is not limited.
    goodput_bits_per_s: Option<f64>,
    /// What there is instead of a limited link.
    instead: &'static str,
    /// Whether members get answers and no shares.
    answers: bool,
}

#[derive(Debug, Default)]
struct HostView {
    closed: u32,
    missed_slots: u64,
    /// Cores that it used in its last second.
    cores: Option<f64>,
}

#[derive(Debug, Default)]
struct ServerView {
    last: ServerReport,
    /// Of its last second.
    rates: Option<Rates>,
}

#[derive(Clone, Copy, Debug)]
struct Rates {
    bits_per_s: f64,
    shares_per_s: f64,
    cores: f64,
}

impl Facts {
    pub(super) fn of(plan: &Plan, goodput_bits_per_s: Option<f64>) -> Facts {
        let instead = match plan.link.rate {
            crate::net::LinkRate::Off => "link without a limit",
            _ => "loopback: no link",
        };
        let (interval, answers) = (plan.interval(), plan.answers());
        Facts { group: plan.group, interval, goodput_bits_per_s, instead, answers }
    }

    /// What servers send and count.
    fn cells(&self) -> &'static str {
        if self.answers { "answers" } else { "shares" }
    }
}

impl Scene {
    /// Other servers and hosts come now.
    pub(super) fn clear(&mut self) {
        self.servers.clear();
        self.hosts.clear();
    }

    /// A phase begins. Hosts' figures are of a phase, servers' go on.
    pub(super) fn begin(&mut self, phase: &str, rounds: Option<u32>) {
        self.phase = phase.to_owned();
        self.rounds = rounds.map(|all| (0, all));
        self.shares = 0;
        self.hosts.clear();
    }

    /// A host has closed so many rounds of the phase.
    pub(super) fn host_closed(&mut self, name: &str, rounds: u32) {
        entry(&mut self.hosts, name).closed = rounds;
    }

    pub(super) fn host_second(&mut self, name: &str, second: &HostSecond) {
        let host = entry(&mut self.hosts, name);
        host.missed_slots += second.missed_slots;
        // What is left at the end may be too short to say anything.
        if second.seconds > 0.5 {
            host.cores = Some(second.cpu_seconds / second.seconds);
        }
    }

    pub(super) fn server_second(&mut self, name: &str, report: &ServerReport) {
        let server = entry(&mut self.servers, name);
        let seconds = report.at_s - server.last.at_s;
        // Counters that are younger than the last ones are another server's.
        let acked = report.tcp_bytes_acked.checked_sub(server.last.tcp_bytes_acked);
        // What the socket took may wait there for a second that is not looked at yet; what was acknowledged has passed.
        server.rates = acked.filter(|_| seconds > 0.0).map(|acked| Rates {
            bits_per_s: acked as f64 * 8.0 / seconds,
            shares_per_s: report.egress_shares.saturating_sub(server.last.egress_shares) as f64 / seconds,
            cores: (report.cpu_seconds - server.last.cpu_seconds).max(0.0) / seconds,
        });
        server.last = report.clone();
    }

    /// The lines, first the one that tells the phase; `elapsed` since it began.
    pub(super) fn lines(&self, elapsed: Duration) -> Vec<String> {
        let mut lines = vec![self.head()];
        for (name, server) in &self.servers {
            if let Some(rates) = server.rates {
                lines.push(self.server(name, rates));
            }
        }
        if let Some((closed, all)) = self.rounds {
            lines.extend(self.slowest());
            lines.push(row("time", &self.time(elapsed, closed, all)));
        }
        lines
    }

    fn head(&self) -> String {
        let context = match (self.context.as_str(), self.facts.group) {
            ("", 0) => String::new(),
            // One run alone has no context but its plan's.
            ("", group) => format!("n = {}: ", thousands(u64::from(group))),
            (context, _) => format!("{context}: "),
        };
        let mut text = format!("{context}{}", self.phase);
        if let Some((closed, all)) = self.rounds {
            let full = (u64::from(closed) * BAR_WIDTH / u64::from(all.max(1))).min(BAR_WIDTH) as usize;
            let bar = "#".repeat(full) + &"-".repeat(BAR_WIDTH as usize - full);
            text += &format!(" [{bar}] {closed} of {all} rounds");
        }
        text
    }

    fn server(&self, name: &str, rates: Rates) -> String {
        let Facts { goodput_bits_per_s, instead, .. } = self.facts;
        let link = goodput_bits_per_s.map_or_else(
            || instead.to_owned(),
            |most| format!("{:3.0}% of the link's goodput", rates.bits_per_s / most * 100.0),
        );
        let rate = format!(
            "{:>12}  {link}  {:.2} M {}/s  {:.0}% CPU",
            bits_per_s(rates.bits_per_s),
            rates.shares_per_s / 1e6,
            self.facts.cells(),
            rates.cores * 100.0
        );
        row(name, &rate)
    }

    /// The host that has closed the fewest rounds; of several, the one that uses the most CPU.
    fn slowest(&self) -> Option<String> {
        let least = self.hosts.iter().map(|(_, host)| host.closed).min()?;
        let last = self.hosts.iter().filter(|(_, host)| host.closed == least);
        let (name, host) =
            last.max_by(|(_, a), (_, b)| a.cores.unwrap_or(0.0).total_cmp(&b.cores.unwrap_or(0.0)))?;
        let cpu = host.cores.map_or_else(String::new, |cores| format!("  {:.0}% CPU", cores * 100.0));
        Some(row("slowest", &format!("{name}, {} rounds closed{cpu}", host.closed)))
    }

    fn time(&self, elapsed: Duration, closed: u32, all: u32) -> String {
        let mut text = short(elapsed);
        if let Some(rest) = self.rest(elapsed, closed, all) {
            text += &format!(", about {} to go", short(rest));
        }
        if closed > 0 && self.shares > 0 {
            let rate = self.shares as f64 / elapsed.as_secs_f64().max(1e-9);
            text += &format!("; {:.2} M {}/s each", rate / 1e6, self.facts.cells());
        }
        if self.facts.interval.is_some() {
            let missed = self.hosts.iter().map(|(_, host)| host.missed_slots).max().unwrap_or(0);
            text += &format!("; {missed} slot{} missed", if missed == 1 { "" } else { "s" });
        }
        text
    }

    /// As long as the rounds so far took, and not less than the schedule.
    fn rest(&self, elapsed: Duration, closed: u32, all: u32) -> Option<Duration> {
        let scheduled = self.facts.interval.map(|interval| (interval * all).saturating_sub(elapsed));
        let at_this_rate =
            (closed > 0).then(|| elapsed.mul_f64(f64::from(all - closed.min(all)) / f64::from(closed)));
        match (at_this_rate, scheduled) {
            (Some(rest), Some(scheduled)) => Some(rest.max(scheduled)),
            (rest, scheduled) => rest.or(scheduled),
        }
    }
}

/// Of this name. They stand in the order of their names, whoever speaks first.
fn entry<'a, T: Default>(of: &'a mut Vec<(String, T)>, name: &str) -> &'a mut T {
    let index = of.binary_search_by(|(known, _)| known.as_str().cmp(name)).unwrap_or_else(|index| {
        of.insert(index, (name.to_owned(), T::default()));
        index
    });
    &mut of[index].1
}

fn row(name: &str, text: &str) -> String {
    format!("  {name:<NAME_WIDTH$}  {text}")
}

/// A time as a person waits for it.
fn short(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Link, LinkRate};

    const GOODPUT: f64 = 941.5e6;

    fn scene(rate: Option<f64>, goodput: Option<f64>) -> Scene {
        let link = Link { rate: LinkRate::Loopback, mtu: 1_500 };
        let plan = Plan { rate, link, ..Plan::default() };
        let mut scene = Scene { facts: Facts::of(&plan, goodput), ..Scene::default() };
        scene.begin("playing", Some(60));
        scene
    }

    fn counters(at_s: f64, times: u64) -> ServerReport {
        ServerReport {
            at_s,
            // The socket takes more than the link has carried yet.
            egress_bytes: times * 110_000_000,
            tcp_bytes_acked: times * 100_000_000,
            egress_shares: times * 290_000,
            cpu_seconds: times as f64 * 0.25,
            ..ServerReport::default()
        }
    }

    fn second(cpu_seconds: f64, missed_slots: u64) -> HostSecond {
        HostSecond { seconds: 1.0, cpu_seconds, missed_slots, ..HostSecond::default() }
    }

    #[test]
    fn everything_that_is_known_is_said_and_fits_eighty_columns() {
        let mut scene = scene(Some(2.0), Some(GOODPUT));
        scene.context = "repeat 2 of 3, n = 1,000".into();
        scene.rounds = Some((12, 60));
        scene.shares = 12_000_000;
        for time in [1.0, 2.0] {
            scene.server_second("server 2", &counters(time, time as u64 / 2));
            scene.server_second("server 1", &counters(time, time as u64));
        }
        for (host, closed, cpu) in [("host 0", 13, 0.9), ("host 1", 12, 0.2), ("host 2", 12, 0.851)] {
            scene.host_closed(host, closed);
            scene.host_second(host, &second(cpu, u64::from(closed / 13)));
        }
        let lines = scene.lines(Duration::from_secs(7));
        assert_eq!(
            lines,
            [
                "repeat 2 of 3, n = 1,000: playing [####----------------] 12 of 60 rounds",
                "  server 1   800.0 Mbit/s   85% of the link's goodput  0.29 M shares/s  25% CPU",
                "  server 2   800.0 Mbit/s   85% of the link's goodput  0.29 M shares/s  25% CPU",
                "  slowest    host 2, 12 rounds closed  85% CPU",
                "  time       7 s, about 28 s to go; 1.71 M shares/s each; 1 slot missed",
            ]
        );
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:?}");
    }

    #[test]
    fn nothing_is_made_up_before_anything_is_told() {
        let mut scene = scene(None, None);
        assert_eq!(
            scene.lines(Duration::ZERO),
            ["n = 1,000: playing [--------------------] 0 of 60 rounds", "  time       0 s"]
        );
        scene.server_second("server 1", &counters(5.0, 9));
        scene.server_second("server 1", &counters(6.0, 10));
        assert!(scene.lines(Duration::ZERO)[1].contains("loopback: no link"));
        // Another server of the same name, whose counters begin anew.
        scene.server_second("server 1", &counters(1.0, 1));
        assert_eq!(scene.lines(Duration::ZERO).len(), 2);
        scene.begin("dialling", None);
        assert_eq!(scene.lines(Duration::ZERO), ["n = 1,000: dialling"]);
        scene.facts = Facts::default();
        assert_eq!(scene.lines(Duration::ZERO), ["dialling"], "before anybody said which plan");
    }

    #[test]
    fn what_is_left_is_never_less_than_the_schedule() {
        let open = scene(Some(2.0), None);
        let rest =
            |elapsed, closed| open.rest(Duration::from_secs(elapsed), closed, 60).map(|rest| rest.as_secs());
        assert_eq!(
            (rest(10, 0), rest(10, 20), rest(10, 5), rest(40, 60)),
            (Some(20), Some(20), Some(110), Some(0))
        );
        let lockstep = scene(None, None);
        assert_eq!(lockstep.rest(Duration::from_secs(10), 0, 60), None);
        assert_eq!(
            ["0 s", "119 s", "2 min 0 s", "2 h 0 min"],
            [0, 119, 120, 7_200].map(|s| short(Duration::from_secs(s))).each_ref().map(String::as_str)
        );
    }
}
