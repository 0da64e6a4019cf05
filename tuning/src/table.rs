//! What is printed: at most 100 columns, every figure with its unit.

use crate::compare::{Comparison, Kind, Pair, Row};
use crate::constants::{Constants, Origin};
use crate::group::Delivery;
use crate::plan::Plan;
use crate::prediction::Prediction;
use crate::units::{bits_per_s, memory, thousands, time, time_or_dash, traffic};
use std::fmt::Write as _;

/// The widest line.
pub(crate) const COLUMNS: usize = 100;

/// A line of a plan's table, of each delivery a cell.
type Line = (&'static str, fn(&Prediction) -> String);

const EACH_ROUND: [Line; 14] = [
    ("to clients, of each server", |one| traffic(one.bytes.round.down[0])),
    ("  without frames", |one| traffic(one.bytes.round_payload_down)),
    ("from clients, to each server", |one| traffic(one.bytes.round.up[0])),
    ("from clients on the link", |one| time_or_dash(one.times.up_link_s)),
    ("to clients on the link", |one| time_or_dash(one.times.down_link_s)),
    ("taking submissions, one front", |one| time(one.times.receive_s)),
    ("verifying signatures, all cores", |one| time_or_dash(some(one.times.signatures_s))),
    ("answer kernel, all cores", |one| time_or_dash(some(one.times.kernel_s))),
    ("gathering and sending, all cores", |one| time(one.times.out_s)),
    ("one member: shares or seal and sign", |one| time(one.client.make_s)),
    ("one member: decode, or verify and open", |one| time(one.client.open_s)),
    ("all members of a host, one core of it", |one| time(one.times.host_s)),
    ("a round", |one| time(one.times.round_s)),
    ("  limited by", |one| one.limit.to_string()),
];

const EACH_EPOCH: [Line; 11] = [
    ("dial, one member, to each server", |one| traffic(one.bytes.dial_up_of_a_member)),
    ("dial, all, to each server", |one| traffic(one.bytes.dial.up[0])),
    ("  on the link", |one| time_or_dash(one.times.dial_link_s)),
    ("confirmations, to S2", |one| traffic_or_dash(one.bytes.confirm.up[1])),
    ("confirmations, of each server", |one| traffic_or_dash(one.bytes.confirm.down[0])),
    ("  on the link", |one| time_or_dash(one.times.confirm_link_s.filter(|seconds| *seconds > 0.0))),
    ("list of members to all, of each server", |one| {
        traffic(one.bytes.members.down[0] + one.bytes.attach.down[0])
    }),
    ("  on the link", |one| time_or_dash(one.times.members_link_s)),
    ("all of these on the link", |one| time_or_dash(one.times.epoch_link_s)),
    ("  as long as", |one| one.epoch_rounds().map_or_else(|| "-".into(), rounds)),
    ("  bytes to clients, as of", |one| rounds(one.epoch_bytes_rounds())),
];

const THREADS: [Line; 3] = [
    ("answer.threads", |one| number_or_dash(one.threads.answer)),
    ("fan_out.threads", |one| number_or_dash(one.threads.fan_out)),
    ("front executors that have the group", |one| number_or_dash(one.threads.front)),
];

const MEMORY: [Line; 2] = [
    ("of a server, for the group", |one| memory(one.memory.server_bytes)),
    ("  session keys or queries, two epochs", |one| memory(one.memory.dialled_bytes)),
];

fn some(seconds: f64) -> Option<f64> {
    (seconds > 0.0).then_some(seconds)
}

fn rounds(number: f64) -> String {
    if number < 1_000.0 {
        format!("{number:.2} rounds")
    } else {
        format!("{} rounds", thousands(number as u64))
    }
}

fn number_or_dash(number: u32) -> String {
    if number == 0 { "-".into() } else { thousands(number.into()) }
}

fn traffic_or_dash(bytes: u64) -> String {
    if bytes == 0 { "-".into() } else { traffic(bytes) }
}

/// A plan as a person reads it.
pub(crate) fn plan(plan: &Plan, constants: &Constants) -> String {
    let (group, machine, mut text) = (&plan.group, &plan.machine, String::new());
    let mut line = |line: String| wrap(&mut text, &line, 0);
    line(format!(
        "Group of {}, K = {}, U = {}: {} connections to each server from {} hosts",
        thousands(group.members.into()),
        group.slots,
        thousands(group.users_per_connection.into()),
        thousands(group.connections()),
        group.hosts
    ));
    let cores = if machine.cores == 1 { "1 core".into() } else { format!("{} cores", machine.cores) };
    line(format!(
        "{}: {cores}, {}, link {} at MTU {}{}",
        if machine.everything { "Both servers and all clients on one machine" } else { "Each server" },
        memory(machine.memory_bytes),
        machine.link,
        machine.mtu,
        plan.goodput_bits_per_s.map_or_else(String::new, |bits| format!(", {} of payload", bits_per_s(bits)))
    ));
    line(from(&plan.origin));
    line(rates(constants, group.queries()));
    for mark in &plan.marks {
        line(format!("! {mark}"));
    }
    let head: Vec<String> =
        plan.deliveries.iter().map(|one| format!("{:>24}", one.delivery.to_string())).collect();
    let _ = writeln!(text, "\n{:<42}{}", "", head.join(""));
    for (title, lines) in [
        ("each round", &EACH_ROUND[..]),
        ("once an epoch", &EACH_EPOCH),
        ("threads that each server's configuration has to name (its defaults are 1)", &THREADS),
        ("memory", &MEMORY),
    ] {
        let _ = writeln!(text, "{title}");
        for (name, cell) in lines {
            let cells: Vec<String> = plan.deliveries.iter().map(|one| format!("{:>24}", cell(one))).collect();
            let _ = writeln!(text, "  {name:<40}{}", cells.join(""));
        }
    }
    text.push('\n');
    wrap(&mut text, &format!("Use {}.", plan.choice.why), 0);
    for epochs in &plan.choice.epochs {
        wrap(&mut text, &format!("Where epochs change, {epochs}."), 0);
    }
    let reads = "That is by time alone: in broadcast a member hears whoever writes to it, in answer the K senders whom it asks for.";
    wrap(&mut text, reads, 0);
    text
}

/// Where constants come from.
fn from(origin: &Origin) -> String {
    format!(
        "Constants of {} ({} cores, {}), measured {}, version {} ({})",
        origin.cpu, origin.cores, origin.kernel, origin.time, origin.version, origin.git_commit
    )
}

/// The constants that matter.
fn rates(constants: &Constants, queries: u64) -> String {
    let rate = constants.kernel(queries);
    format!(
        "  a core: kernel {:.1} GB/s ({}, {} queries), verify {:.1} us (alone {:.1}), sign {:.1} us, AEAD {:.2} us, gather {:.1} GB/s, decode \
         {:.0} ns a cell, send {:.1} GB/s (plain, loopback: a roof); a connection and round: a server {:.1} us to send and {:.1} to take, \
         a member {:.1} and {:.1}",
        rate.gb_per_s,
        rate.instructions,
        thousands(rate.queries),
        constants.verify_us,
        constants.verify_one_us,
        constants.sign_us,
        constants.seal_us,
        constants.gather_gb_per_s,
        constants.decode_ns,
        constants.plain_send_gb_per_s,
        constants.server_send_us,
        constants.server_receive_us,
        constants.member_send_us,
        constants.member_receive_us
    )
}

/// Predictions beside measurements as a person reads them.
pub(crate) fn comparison(compared: &Comparison) -> String {
    let mut text = String::new();
    wrap(&mut text, &from(&compared.origin), 0);
    for warning in &compared.warnings {
        wrap(&mut text, &format!("! {warning}"), 0);
    }
    let _ = writeln!(text, "\nEverything on one machine; predicted | measured | predicted over measured");
    for rows in compared.rows.chunk_by(|one, two| one.kind() == two.kind()) {
        kind(rows, compared, &mut text);
    }
    if !compared.growth.is_empty() {
        let slopes =
            "Growth of a round is its slope on logarithmic axes: 1 in proportion, 2 with the square.";
        let _ = writeln!(text, "\n{slopes}");
    }
    large(compared, &mut text);
    text
}

/// All sizes of what else is the same.
fn kind(rows: &[Row], compared: &Comparison, text: &mut String) {
    let (first, of) = (&rows[0], rows[0].kind());
    let _ = writeln!(text);
    wrap(text, &heading(first, &of), 0);
    let _ = writeln!(
        text,
        "{:>9}{:>6}{:>6}  {:>22}  {:>22}  {:>22}",
        "members", "U", "runs", "round", "CPU of both servers", "CPU of all hosts"
    );
    for row in rows {
        let _ = writeln!(
            text,
            "{:>9}{:>6}{:>6}  {}  {}  {}",
            thousands(row.group.members.into()),
            thousands(u64::from(row.group.users_per_connection).min(row.group.members_of_host())),
            row.runs,
            pair(&row.round_s),
            pair(&row.servers_s),
            pair(&row.hosts_s)
        );
    }
    for growth in compared.growth.iter().filter(|growth| growth.kind() == of) {
        let _ = writeln!(
            text,
            "  growth, {} to {} members: predicted {:.2}, measured {:.2}",
            thousands(growth.from.into()),
            thousands(growth.to.into()),
            growth.slope.predicted,
            growth.slope.measured
        );
    }
}

/// What the runs of a kind have in common.
fn heading(row: &Row, kind: &Kind) -> String {
    let decoded = match kind.decoded() {
        part if part >= 1.0 => "all decoded".into(),
        part if part <= 0.0 => "nothing decoded".into(),
        part => format!("{:.0}% decoded", part * 100.0),
    };
    let broadcast = match kind.confirm {
        _ if row.delivery != Delivery::Broadcast => String::new(),
        true => format!(", frames of {} B, confirmed", thousands(kind.frame_bytes.into())),
        false => format!(", frames of {} B, not confirmed", thousands(kind.frame_bytes.into())),
    };
    format!(
        "{}, K = {}, U = {} at most, {} hosts, {} at MTU {}, {} cores of {}, {decoded}{broadcast}",
        row.delivery,
        kind.slots,
        thousands(kind.users_per_connection.into()),
        kind.hosts,
        kind.link,
        kind.mtu,
        kind.cores,
        kind.cpu
    )
}

fn pair(pair: &Pair) -> String {
    format!("{:>8}{:>8}{:>6.2}", time(pair.predicted), time(pair.measured), pair.ratio)
}

/// The plans for machines that nobody has measured.
fn large(compared: &Comparison, text: &mut String) {
    let Some(first) = compared.large.first() else { return };
    let (cores, group) = (first.machine.cores, first.group);
    let _ = writeln!(
        text,
        "\nPREDICTION, not measured: each server on {cores} such cores, K = {}, U = {}\n",
        group.slots, group.users_per_connection
    );
    let _ = writeln!(
        text,
        "{:>9} {:<9}{:>8}{:>11}{:>10}{:>8}{:>8}{:>11}{:>12}{:>12}",
        "members", "", "link", "to clients", "time", "kernel", "verify", "round", "an epoch", "memory"
    );
    for plan in &compared.large {
        for one in &plan.deliveries {
            let _ = writeln!(
                text,
                "{:>9} {:<9}{:>8}{:>11}{:>10}{:>8}{:>8}{:>11}{:>12}{:>12}",
                thousands(plan.group.members.into()),
                one.delivery.to_string(),
                plan.machine.link.to_string(),
                traffic(one.bytes.round.down[0]),
                time_or_dash(one.times.down_link_s),
                time_or_dash(some(one.times.kernel_s)),
                time_or_dash(some(one.times.signatures_s)),
                time(one.times.round_s),
                time_or_dash(one.times.epoch_link_s),
                memory(one.memory.server_bytes)
            );
        }
    }
    let epoch = "Time is that of the round's bytes to clients on the link. An epoch is its list of members, its dial and its confirmations on the link, once, whatever its rounds.";
    let _ = writeln!(text);
    wrap(text, epoch, 0);
}

/// Adds a paragraph, broken between words; what is broken goes on two columns in.
fn wrap(text: &mut String, paragraph: &str, indent: usize) {
    let lead = paragraph.len() - paragraph.trim_start().len() + indent;
    let (mut line, mut begins) = (" ".repeat(lead), true);
    for word in paragraph.split_whitespace() {
        if !begins && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            let _ = writeln!(text, "{line}");
            (line, begins) = (" ".repeat(lead + 2), true);
        }
        if !begins {
            line.push(' ');
        }
        line.push_str(word);
        begins = false;
    }
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constants::tests::constants;
    use crate::group::{Group, Machine};
    use crate::results::{run, tests::result};

    fn narrow(text: &str) {
        for line in text.lines() {
            assert!(line.chars().count() <= COLUMNS, "{} columns: {line}", line.chars().count());
        }
    }

    #[test]
    fn no_plan_is_wider_than_a_terminal() {
        let mut constants = constants();
        constants.origin.cpu = "A processor with a very long name of itself (R) CPU @ 2.00GHz".into();
        for members in [2, 1_000, 1_000_000] {
            for slots in [1, 256] {
                let link = "100gbit".parse().unwrap();
                let machine =
                    Machine { cores: 48, memory_bytes: 24 << 30, link, mtu: 9_000, everything: false };
                let group = Group { slots, ..Group::new(members) };
                let planned = Plan::new(&group, &machine, &constants, &constants.origin).unwrap();
                let text = plan(&planned, &constants);
                narrow(&text);
                assert!(text.contains("once an epoch") && text.contains("\nUse "), "{text}");
            }
        }
    }

    #[test]
    fn no_comparison_is_wider_than_a_terminal() {
        let constants = constants();
        let runs: Vec<_> = [(None, 1_000), (Some("answer"), 1_000), (Some("answer"), 50_000)]
            .map(|(delivery, group)| run(&result(delivery, group, 123.4)).unwrap())
            .into();
        let compared = Comparison::new(&runs, &constants, &constants.origin).unwrap();
        let text = comparison(&compared);
        narrow(&text);
        for said in [
            "PREDICTION, not measured",
            "1,000 to 50,000 members",
            "K = 1, U = 1",
            "1,000,000 answer",
            "100gbit",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
    }

    #[test]
    fn paragraphs_are_broken_between_words() {
        let mut text = String::new();
        wrap(&mut text, &"word ".repeat(50), 0);
        narrow(&text);
        assert_eq!(text.lines().count(), 3);
        assert!(text.lines().nth(1).unwrap().starts_with("  word"));
    }
}
