//! The table that a person reads at the end of a run.

mod checks;
mod costs;
mod link;

pub(crate) use costs::guard as guard_in_words;

use crate::latency::Percentiles;
use crate::limits::START_LATE_MAX;
use crate::plan::{Peers, Plan, Verify};
use crate::result::{RunResult, ServerResult};
use crate::units::{bits_per_s, memory, micros, seconds, thousands, traffic};
use std::fmt::Write as _;

/// Columns of a row's name.
const NAME_WIDTH: usize = 26;
/// Columns of a figure.
const FIGURE_WIDTH: usize = 13;

/// The whole report, with the verdict as its last line.
pub fn render(result: &RunResult) -> String {
    let mut table = Table::default();
    head(&mut table, result);
    messages(&mut table, result);
    costs::fault(&mut table, result);
    costs::evidence(&mut table, result);
    costs::epochs(&mut table, result);
    costs::partitions(&mut table, result);
    times(&mut table, result);
    costs::costs(&mut table, result);
    checks::checks(&mut table, result);
    link::link(&mut table, result);
    servers(&mut table, result);
    hosts(&mut table, result);
    clocks(&mut table, result);
    roof(&mut table, result);
    verdict(&mut table, result);
    table.text
}

/// Rows of a name and figures, the figures aligned to the right.
#[derive(Default)]
struct Table {
    text: String,
}

impl Table {
    fn section(&mut self, name: &str, columns: &[&str]) {
        self.text.push('\n');
        self.row(name, columns);
    }

    fn row(&mut self, name: &str, figures: &[impl AsRef<str>]) {
        let mut line = format!("{name:<NAME_WIDTH$}");
        for figure in figures {
            write!(line, "  {:>FIGURE_WIDTH$}", figure.as_ref()).expect("a string takes it");
        }
        self.line(line.trim_end());
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }
}

fn head(table: &mut Table, result: &RunResult) {
    let (plan, environment) = (&result.plan, &result.environment);
    table.line(&format!("Twincast {}: {}", environment.versions.twincast, plan_in_words(plan)));
    table.line(&costs::format(plan, result));
    table.line(&costs::setting(plan));
    table.line(&costs::guard(plan));
    if let Some(settings) = plan.server.in_words() {
        table.line(&settings);
    }
    table.line(&format!(
        "{}{}, {} cores, {}, {}, MTU {}\ncommit {}",
        // Of the other machines nobody has told anything.
        if result.link.medium == "machines" { "coordinator: " } else { "" },
        environment.cpu,
        environment.cores,
        environment.kernel,
        // Why links were not shaped, which follows, has a line of its own.
        environment.hosts.split(';').next().unwrap_or_default(),
        thousands(environment.mtu),
        environment.git_commit
    ));
    table.line(&link::in_words(result));
}

fn plan_in_words(plan: &Plan) -> String {
    let groups = if plan.groups == 1 { "a group".into() } else { format!("{} groups", plan.groups) };
    let peers = match plan.peers {
        Peers::Own if plan.answers() => "everybody reads themselves".into(),
        Peers::Subset(readers) if plan.answers() => format!("the records of one are read by {readers}"),
        _ if plan.answers() => "a random permutation of readers for each query".into(),
        Peers::Own => "everybody writes to themselves".into(),
        Peers::Random => "a random permutation of recipients".into(),
        Peers::Subset(recipients) => format!("{recipients} random recipients of each message"),
        Peers::Subgroup(percent) => format!("{percent}% of the group are recipients of each message"),
        Peers::Many(many) if plan.dealt().is_none() => {
            format!("messages to {} members, each in a slot", many.recipients)
        }
        Peers::Many(many) => format!(
            "messages to {} members in {} round{}, {} to {} noise subgroups",
            many.recipients,
            many.spread,
            if many.spread == 1 { "" } else { "s" },
            many.noise_min,
            many.noise_max
        ),
    };
    let verify = match plan.verify {
        Verify::All if plan.answers() => "every answer verified".into(),
        Verify::All => "every share verified".into(),
        Verify::Sample(probability) => format!("a sample of {probability} verified"),
        Verify::Count => "shares only counted".into(),
    };
    let (slots, confirm) = match (plan.answers(), plan.confirm) {
        (true, _) if plan.slots == 1 => ("query", "records signed and sealed"),
        (true, _) => ("queries", "records signed and sealed"),
        (false, confirm) => (
            if plan.slots == 1 { "slot" } else { "slots" },
            if confirm { "bits confirmed" } else { "no bit confirmation" },
        ),
    };
    format!(
        "{groups} of {} on {} host{}, {} {slots}, at most {} users on a connection, seed {}\n{peers}; {confirm}; {verify}; {} \
         round{} ahead",
        thousands(u64::from(plan.group)),
        plan.hosts,
        if plan.hosts == 1 { "" } else { "s" },
        plan.slots,
        plan.users_per_connection,
        plan.seed,
        plan.ahead,
        if plan.ahead == 1 { "" } else { "s" },
    )
}

fn messages(table: &mut Table, result: &RunResult) {
    let totals = &result.totals;
    let (sent, asked) = match result.plan.answers() {
        // A sender gives one record however many ask for it.
        true => ("Reads", "asked"),
        false => ("Messages", "sent"),
    };
    table.section(sent, &[asked, "accepted", "lost", "misdelivered", "altered", "extra"]);
    let counts = [
        totals.messages_sent,
        totals.accepted,
        totals.lost,
        totals.misdelivered,
        totals.altered,
        totals.extra,
    ];
    table.row("", &counts.map(thousands));
    let pairs = if result.plan.answers() { "Answers (pairs)" } else { "Shares (pairs)" };
    table.section(pairs, &["verified", "counted", "ignored", "tampered", "incomplete", "absent"]);
    let counts = [
        totals.shares_verified,
        totals.shares_counted,
        totals.ignored,
        totals.tampered,
        totals.incomplete,
        totals.absent,
    ];
    table.row("", &counts.map(thousands));
    let dial = &result.dial;
    table.section("Dialling", &["time", "up", "down", "confirmed"]);
    table.row(
        "",
        &[
            seconds(dial.seconds),
            traffic(dial.bytes_out),
            traffic(dial.bytes_in),
            thousands(dial.confirm_cells),
        ],
    );
}

fn times(table: &mut Table, result: &RunResult) {
    let plan = &result.plan;
    let optional = |time: Option<f64>| time.map_or_else(|| "-".into(), seconds);
    let rounds = format!("Rounds: {} (+ {} warm-up)", thousands(u64::from(plan.rounds)), plan.warmup);
    table.section(&rounds, &["p50", "p90", "p99", "p99.9", "max"]);
    let round = &result.round_seconds;
    table.row(
        "round time",
        &[optional(round.p50), "-".into(), optional(round.p99), "-".into(), optional(round.max)],
    );
    let mut latency = |name: &str, of: &Percentiles| {
        table.row(name, &[of.p50, of.p90, of.p99, of.p999, of.max].map(micros));
    };
    latency("message latency", &result.message_latency_us);
    latency("delivery latency", &result.delivery_latency_us);
    latency("  generate, a member", &result.stages_us.generate);
    latency("  round trip, a connection", &result.stages_us.round_trip);
    // Of what all of a connection take on the clock, which other connections of its host may share.
    let reconstruct = if plan.answers() { "  verify, an answer (wall)" } else { "  reconstruct, a tile" };
    latency(reconstruct, &result.stages_us.reconstruct);
    load(table, result);
}

/// How rounds were planned, and what latencies count from.
fn load(table: &mut Table, result: &RunResult) {
    let (plan, load) = (&result.plan, &result.load);
    let achieved = load.achieved_rate.map_or_else(String::new, |rate| format!("{rate:.3} rounds/s"));
    match load.rate {
        None => table.line(&format!(
            "(lockstep, {achieved}: a round begins when the last one is done; latencies count from when a round's {} are \
             begun)",
            if plan.answers() { "records" } else { "shares" }
        )),
        Some(rate) => table.line(&format!(
            "(open loop at {rate} rounds/s: {} slot{} missed, {achieved}; times and latencies count from a round's \
             planned instant)",
            thousands(load.missed_slots),
            if load.missed_slots == 1 { "" } else { "s" },
        )),
    }
    if load.start_late_seconds > START_LATE_MAX.as_secs_f64() {
        table.line(&format!(
            "(a host was ready {} after the instant at which all hosts were to begin)",
            seconds(load.start_late_seconds)
        ));
    }
}

fn servers(table: &mut Table, result: &RunResult) {
    table.section("Servers", &["server 1", "server 2"]);
    let mut row = |name: &str, of: &dyn Fn(&ServerResult) -> String| {
        table.row(name, &result.servers.iter().map(of).collect::<Vec<_>>());
    };
    let shares = if result.plan.answers() { "answers" } else { "shares" };
    row(shares, &|server| thousands(server.egress_shares));
    row(&format!("{shares} per second"), &|server| thousands(server.shares_per_s as u64));
    row("egress", &|server| traffic(server.egress_bytes));
    let rounds = u64::from(result.plan.rounds);
    let each = rounds * u64::from(result.plan.group) * u64::from(result.plan.groups);
    row("  a member and round", &|server| traffic(server.egress_bytes / each.max(1)));
    row("  while delivering", &|server| bits_per_s(server.bits_per_s));
    row("  over the wall clock", &|server| bits_per_s(server.bits_per_s_wall));
    row("CPU", &|server| seconds(server.cpu_seconds));
    row("  of a core", &|server| share(server.cpu_seconds, result.wall_seconds));
    row("  of a byte of egress", &|server| {
        let each = server.cpu_seconds * 1e9 / server.egress_bytes as f64;
        if server.egress_bytes > 0 { format!("{each:.3} ns") } else { "-".into() }
    });
    row("memory, at most", &|server| memory(server.peak_rss_bytes));
    row("zero-copy sends (copied)", &|server| {
        format!("{} ({})", thousands(server.zero_copy.sends), thousands(server.zero_copy.copied))
    });
    row("slow readers closed", &|server| thousands(server.slow_readers_closed));
    row("waited for readers", &|server| share(server.tcp.rwnd_limited_us as f64, server.tcp.busy_us as f64));
    row("segments sent again", &|server| thousands(server.tcp.retransmits));
}

fn hosts(table: &mut Table, result: &RunResult) {
    table.section("Hosts", &["CPU", "of a core", "memory", "received", "sent"]);
    for (index, host) in result.hosts.iter().enumerate() {
        table.row(
            &format!("host {index}"),
            &[
                seconds(host.cpu_seconds),
                share(host.cpu_seconds, result.wall_seconds),
                memory(host.peak_rss_bytes),
                traffic(host.bytes_in),
                traffic(host.bytes_out),
            ],
        );
    }
}

/// How clocks of other machines stand to this one's; every latency is measured on one clock alone.
fn clocks(table: &mut Table, result: &RunResult) {
    if result.clocks.is_empty() {
        return;
    }
    table.section("Clocks", &["ahead by", "at most +-", "round trip"]);
    for clock in &result.clocks {
        let time = |microseconds: f64| format!("{microseconds:.1} us");
        let figures = [clock.offset_us, clock.round_trip_us / 2.0, clock.round_trip_us].map(time);
        table.row(&clock.name, &figures);
    }
}

fn roof(table: &mut Table, result: &RunResult) {
    let roof = &result.roof;
    if roof.repeats == 0 {
        if result.plan.answers() {
            table.line("");
            table
                .line("No roof: plain sends do not bound answers; `twincast-tune plan` works out what does.");
        }
        return;
    }
    let rate = |rate: Option<f64>| rate.map_or_else(|| "-".into(), bits_per_s);
    let cpu = |cpu: Option<f64>| cpu.map_or_else(|| "-".into(), |cpu| format!("{cpu:.3} s/GB"));
    let ratio = |ratio: Option<f64>| ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}"));
    table.section("Roof (readers discard)", &["plain send", "server", "ratio", "least", "greatest"]);
    table.row("rate of each of two", &[rate(roof.plain_send_bits_per_s), rate(roof.server_bits_per_s)]);
    table.row(
        "CPU per byte",
        &[
            cpu(roof.plain_send_cpu_seconds_per_gb),
            cpu(roof.server_cpu_seconds_per_gb),
            ratio(roof.server_cpu_ratio),
            ratio(roof.server_cpu_ratio_min),
            ratio(roof.server_cpu_ratio_max),
        ],
    );
}

fn verdict(table: &mut Table, result: &RunResult) {
    table.line("");
    let passed = result.interface_bytes.map(|bytes| format!("; {} over the interface", traffic(bytes)));
    let busy = result.machine_busy.map(|busy| format!("; all cores {:.0}% busy", busy * 100.0));
    table.line(&format!(
        "The rounds took {} with a round in flight, {} in all{}{}.",
        seconds(result.delivering_seconds),
        seconds(result.wall_seconds),
        passed.unwrap_or_default(),
        busy.unwrap_or_default()
    ));
    table.line(&format!("Limited by: {}.", result.limited_by));
    if result.failures.is_empty() {
        table.line("Every check passed.");
    } else {
        table.line("FAILED:");
        result.failures.iter().for_each(|failure| table.line(&format!("  {failure}")));
    }
}

fn share(part: f64, whole: f64) -> String {
    if whole > 0.0 { format!("{:.0}%", part / whole * 100.0) } else { "-".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::{broken, sample};

    #[test]
    fn the_report_of_fixed_inputs_reads_as_the_stored_one() {
        let expected = include_str!("report/sample.txt");
        let rendered = render(&sample());
        assert_eq!(rendered, expected, "if this is meant, store it:\n{rendered}");
    }

    #[test]
    fn of_other_machines_nothing_is_told_that_is_the_coordinators() {
        let mut result = sample();
        result.link.medium = "machines".into();
        (result.machine_busy, result.interface_bytes) = (None, None);
        let rendered = render(&result);
        assert!(rendered.contains("\ncoordinator: Some CPU, 2 cores, Linux 6.18.0"), "{rendered}");
        assert!(!rendered.contains("all cores") && !rendered.contains("over the interface"), "{rendered}");
        assert!(rendered.contains(" in all.\n"), "{rendered}");
    }

    #[test]
    fn a_failed_run_says_what_in_its_last_lines() {
        let rendered = render(&broken());
        let (_, failed) = rendered.split_once("FAILED:\n").expect("it failed");
        assert!(failed.contains("2 messages were lost"), "{failed}");
        assert!(!rendered.contains("Every check passed"));
    }

    #[test]
    fn every_line_fits_a_wide_terminal() {
        for line in render(&sample()).lines() {
            assert!(line.chars().count() <= 132, "{line}");
        }
    }
}
