//! `twincast-tune check`: what keeps this machine from line rate.

use super::link;
use crate::TuneError;
use clap::{Args, ValueEnum};
use rustix::termios::tcgetwinsize;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use twincast_loadgen::net::LinkRate;
use twincast_node::{Asked, Finding, Report, Role, System, Verdict, check};
use twincast_server::config::{Config, Cores, CoresNamed, Insecure};

/// Characters of a line of the table, at the most, and where no terminal says how many it has.
const WIDTH: usize = 100;
/// The least that is wrapped for: on a narrower terminal lines run over.
const WIDTH_MIN: usize = 60;
/// Characters of a verdict's column.
const VERDICT: usize = 6;

/// `check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing is changed. What would mend a finding is the line below it, to be pasted into a shell of root.

PASS is as it should be; WARN may cost throughput, or could not be looked at; FAIL keeps the machine from line rate;
absent is what it does not have, or was not asked about.

Examples:
  twincast-tune check --role server --interface eth1 --link 25gbit --peer 10.0.0.2
  twincast-tune check --config /etc/twincast/server.toml
  twincast-tune check --role host --interface eth1 --json > check.json

Exit status: 0 nothing failed; 1 something failed; 2 wrong usage.")]
pub(super) struct CheckArgs {
    /// What the machine is for [default: server with --config, else everything].
    #[arg(long, value_enum, value_name = "ROLE")]
    role: Option<RoleName>,
    /// The interface that carries shares [default: that of the configuration's `listen`, else of the default route; none where
    /// everything is on one machine].
    #[arg(long, value_name = "IF")]
    interface: Option<String>,
    /// A machine on the link, to which packets of the interface's size have to get in one piece (ping); may be repeated.
    #[arg(long = "peer", value_name = "ADDRESS")]
    peers: Vec<IpAddr>,
    /// What the link should have; less is a FAIL [default: whatever it has].
    #[arg(long, value_name = "RATE", value_parser = link)]
    link: Option<LinkRate>,
    /// A configuration of twincast-server: its cores, slabs, connections and send buffers are what is checked for.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// As JSON to standard output, for programs.
    #[arg(long)]
    json: bool,
}

/// What the machine is for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleName {
    /// One of the two servers.
    Server,
    /// A client host of the load generator.
    Host,
    /// Both servers and all clients on this machine.
    Everything,
}

impl CheckArgs {
    /// Does what the command line says; true if nothing failed.
    ///
    /// # Errors
    /// A sentence with the remedy.
    pub(super) fn run(&self) -> Result<bool, TuneError> {
        let asked = self.asked()?;
        let report = check(&System::here(), &asked).map_err(|error| TuneError::Usage(error.to_string()))?;
        let mut stdout = std::io::stdout().lock();
        let text = if self.json {
            let mut text = serde_json::to_string_pretty(&report).expect("findings have no keys but strings");
            text.push('\n');
            text
        } else {
            let unset = |name| std::env::var_os(name).is_none_or(|value| value.is_empty());
            table(&report, stdout.is_terminal() && unset("NO_COLOR"), width(&stdout))
        };
        let printed = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        printed.map_err(|error| TuneError::Failed(format!("standard output: {error}")))?;
        Ok(report.failures().next().is_none())
    }

    fn asked(&self) -> Result<Asked, TuneError> {
        let role = match (self.role, &self.config) {
            (Some(RoleName::Server), _) | (None, Some(_)) => Role::Server,
            (Some(RoleName::Host), _) => Role::Host,
            (Some(RoleName::Everything), _) | (None, None) => Role::Everything,
        };
        let mut asked = Asked::new(role);
        if let Some(path) = &self.config {
            if role == Role::Host {
                return Err(TuneError::Usage(
                    "--config is a server's configuration, and --role host has no server: leave one of them out".into(),
                ));
            }
            configure(&mut asked, &read(path)?);
        }
        asked.interface.clone_from(&self.interface);
        asked.peers.clone_from(&self.peers);
        if let Some(LinkRate::Rate(bits_per_s)) = self.link {
            asked.link_bits_per_s = Some(bits_per_s);
        }
        let has_link = role != Role::Everything || asked.interface.is_some() || asked.address.is_some();
        if !has_link && (self.link.is_some() || !self.peers.is_empty()) {
            return Err(TuneError::Usage(
                "--link and --peer are about an interface, and where everything is on one machine there is none: say which \
                 with --interface IF, or what the machine is for with --role server or --role host"
                    .into(),
            ));
        }
        Ok(asked)
    }
}

fn read(path: &Path) -> Result<Config, TuneError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        TuneError::Usage(format!(
            "--config {}: {error}; give a file such as `twincast-server --print-config` prints",
            path.display()
        ))
    })?;
    // A baseline is as hard on a machine as any other profile.
    Config::from_toml_with(&text, Insecure::ALL)
        .map_err(|error| TuneError::Usage(format!("--config {}: {error}", path.display())))
}

/// Has the machine checked for a server of this configuration.
fn configure(asked: &mut Asked, config: &Config) {
    let threads = config.fan_out.threads;
    // Where two servers share a machine, the other one is as large.
    let servers = if asked.role == Role::Everything { 2 } else { 1 };
    let hosts = if asked.role == Role::Everything { 1 } else { 0 };
    asked.executors = servers * config.front.executors as u64 + hosts;
    asked.fan_out_threads = servers * threads as u64;
    asked.slab_pool_bytes = asked.fan_out_threads * config.egress().pool_bytes() as u64;
    asked.connections_max = config.limits.connections_max as u64;
    asked.send_buffer_bytes = config.fan_out.send_buffer_bytes as u64;
    let busy = config.front.executors + threads + config.answer_threads();
    asked.fan_out_cores = match &config.fan_out.cores {
        Cores::List(cores) => cores.clone(),
        // As the server places them.
        Cores::Named(CoresNamed::Auto)
            if busy < std::thread::available_parallelism().map_or(1, usize::from) =>
        {
            (0..threads).collect()
        }
        Cores::Named(_) => Vec::new(),
    };
    let address = config.listen.ip();
    asked.address = Some(address).filter(|address| !address.is_unspecified());
}

/// Characters of a line: as many as the terminal has, where it is one.
fn width(stdout: &impl AsFd) -> usize {
    let columns = tcgetwinsize(stdout).map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { WIDTH } else { columns.clamp(WIDTH_MIN, WIDTH) }
}

/// A line for each finding, and its remedy on a line of its own, which is never broken: it is to be pasted.
fn table(report: &Report, colour: bool, width: usize) -> String {
    let names = report.findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
    let indent = VERDICT + 2 + names + 2;
    let mut text = format!("{}, {}", report.machine, role_text(report.role));
    if let Some(interface) = &report.interface {
        let _ = write!(text, ", {interface}");
    }
    text += "\n\n";
    for finding in &report.findings {
        let Finding { name, verdict, reason, remedy } = finding;
        let word = painted(&format!("{:VERDICT$}", word(*verdict)), *verdict, colour);
        let reason = wrapped(reason, width.saturating_sub(indent), indent);
        let _ = writeln!(text, "{word}  {name:names$}  {reason}");
        if !remedy.is_empty() {
            let _ = writeln!(text, "{:indent$}{remedy}", "");
        }
    }
    text + "\n" + &tail(report, colour, width)
}

fn tail(report: &Report, colour: bool, width: usize) -> String {
    let all = [Verdict::Fail, Verdict::Warn, Verdict::Pass, Verdict::Absent];
    let number = |verdict| report.findings.iter().filter(|finding| finding.verdict == verdict).count();
    let told = all.map(|verdict| format!("{} {}", number(verdict), word(verdict))).join(", ");
    let worst = report.worst();
    let meaning = match worst {
        Verdict::Fail => "figures of this machine cannot be called line rate.",
        Verdict::Warn => "nothing failed; what warns may cost line rate, or was not seen.",
        Verdict::Pass | Verdict::Absent => "nothing keeps this machine from line rate.",
    };
    // Painted when it is laid out: colours take no room.
    let mut text = wrapped(&format!("{told}: {meaning}"), width, 0) + "\n";
    if worst >= Verdict::Warn {
        const HOW: &str = "Lines below a finding mend it, in a shell of root; `twincast-tune apply --profile NAME --dry-run` \
                           shows what a profile sets of that, and how it is undone.";
        text += &(wrapped(HOW, width, 0) + "\n");
    }
    text.replacen(&told, &painted(&told, worst, colour), 1)
}

fn role_text(role: Role) -> &'static str {
    match role {
        Role::Server => "as a server",
        Role::Host => "as a client host",
        Role::Everything => "for everything on one machine",
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Absent => "absent",
        Verdict::Pass => "PASS",
        Verdict::Warn => "WARN",
        Verdict::Fail => "FAIL",
    }
}

fn painted(text: &str, verdict: Verdict, colour: bool) -> String {
    let code = match verdict {
        _ if !colour => return text.into(),
        Verdict::Absent => 2,
        Verdict::Pass => 32,
        Verdict::Warn => 33,
        Verdict::Fail => 31,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// Breaks a sentence between words; lines after the first begin with spaces. A word that is longer is broken too.
fn wrapped(sentence: &str, width: usize, indent: usize) -> String {
    let mut lines = vec![String::new()];
    for word in sentence.split_whitespace() {
        let letters: Vec<char> = word.chars().collect();
        for part in letters.chunks(width.max(1)) {
            let line = lines.last_mut().expect("there is one from the start");
            let taken = line.chars().count();
            if taken == 0 {
                line.extend(part);
            } else if taken + 1 + part.len() <= width {
                line.push(' ');
                line.extend(part);
            } else {
                lines.push(part.iter().collect());
            }
        }
    }
    lines.join(&format!("\n{:indent$}", ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let finding = |name: &str, verdict, reason: &str, remedy: &str| Finding {
            name: name.into(),
            verdict,
            reason: reason.into(),
            remedy: remedy.into(),
        };
        let long = "word ".repeat(60);
        Report {
            findings: vec![
                finding("kernel", Verdict::Pass, "Linux", ""),
                finding("irq_affinity", Verdict::Warn, &long, &format!("echo {long}")),
                finding("mtu", Verdict::Fail, &"x".repeat(300), "ip link set dev eth1 mtu 9000"),
                finding("numa", Verdict::Absent, "one node", ""),
            ],
            ..Report::new(&System::here(), Role::Server, Some("eth1".into()), Vec::new())
        }
    }

    #[test]
    fn the_table_is_narrow_and_its_commands_are_whole() {
        for width in [WIDTH_MIN, 80, WIDTH] {
            let text = table(&report(), false, width);
            let lines = || text.lines().filter(|line| !line.contains("echo"));
            for line in lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
            assert!(lines().any(|line| line.chars().count() + 10 > width), "{width}: {text}");
        }
        let text = table(&report(), false, WIDTH);
        assert!(text.lines().any(|line| line.trim() == "ip link set dev eth1 mtu 9000"), "{text}");
        assert!(text.contains("WARN    irq_affinity  word word"), "{text}");
        assert!(text.contains(
            "1 FAIL, 1 WARN, 1 PASS, 1 absent: figures of this machine cannot be called line rate."
        ));
        assert!(!text.contains('\x1b') && table(&report(), true, WIDTH).contains("\x1b[31mFAIL  \x1b[0m"));
    }

    #[test]
    fn a_configuration_says_what_is_checked_for() {
        let text = "side = 1\nlisten = \"0.0.0.0:7701\"\n[fan_out]\nthreads = 2\ncores = [3, 5]\nslabs = 8\n\
                    slab_bytes = 262144\n[front]\nexecutors = 3\n[limits]\nconnections_max = 77\n\
                    [[groups]]\nid = 0\nmembers = 10\n";
        let config = Config::from_toml(text).unwrap();
        let mut asked = Asked::new(Role::Server);
        configure(&mut asked, &config);
        assert_eq!((asked.fan_out_cores.as_slice(), asked.fan_out_threads), (&[3, 5][..], 2));
        assert_eq!((asked.slab_pool_bytes, asked.executors, asked.connections_max), (4 << 20, 3, 77));
        assert_eq!(asked.address, None);
        let mut asked = Asked::new(Role::Everything);
        configure(&mut asked, &config);
        assert_eq!((asked.slab_pool_bytes, asked.executors), (8 << 20, 7));
    }
}
