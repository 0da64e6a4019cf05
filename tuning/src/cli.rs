//! The command line of `twincast-tune`, and what its exit status says.

mod check;

use crate::TuneError;
use crate::apply::ApplyArgs;
use crate::compare::Comparison;
use crate::constants::{Constants, Origin, default_path};
use crate::file::JsonFile;
use crate::group::{Group, HOSTS_DEFAULT, MEMBERS_MAX, Machine};
use crate::measure::{SECONDS_DEFAULT, measure};
use crate::plan::Plan;
use crate::sweep::SweepArgs;
use crate::units::thousands;
use crate::{results, table};
use clap::{Args, Parser, Subcommand};
use indicatif::ProgressBar;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use twincast_loadgen::limits::{FRAME_BYTES, HOSTS_MAX, SLOTS_MAX, USERS_PER_CONNECTION_MAX};
use twincast_loadgen::net::{LinkRate, MTU_MAX, MTU_MIN};
use twincast_server::limits::{MEMBERS_MIN, THREADS_MAX};

/// The machine got in the way.
const FAILED: u8 = 1;
/// The user asked for something that cannot be; clap's own status, too.
const USAGE: u8 = 2;
/// A signal ended the search.
const INTERRUPTED: u8 = 130;

const LONG_ABOUT: &str = "\
From a fresh node to line rate: says what a machine lacks, mends it and takes that back, finds the best settings of a server \
by measuring, and plans groups before they are run.

In this order: `check` says what keeps this machine from line rate, with the command that mends it. `apply` applies a profile, \
prints every change before it is made, and writes what undoes it. `sweep` measures settings against each other and writes a \
configuration. `plan` works out what a group takes in either delivery, from constants that are measured on one core of this \
machine with --measure; `compare` puts that beside what was measured.";

const EXAMPLES: &str = "\
Examples:
  twincast-tune check --role server --interface eth1 --link 25gbit
  twincast-tune apply --profile 10g --interface eth1 --dry-run
  twincast-tune sweep --plan tuning/sweep.example.toml --budget 180
  twincast-tune plan --group 10000 --link 10gbit --cores 2 --measure
  twincast-tune compare --results results/2026-11-22T062000Z-sweep

Exit status: 0 good; 1 a check failed, or the machine got in the way; 2 wrong usage, or there are no constants yet; 130 stopped \
by Ctrl-C.";

/// Tunes machines for Twincast, and plans groups.
#[derive(Debug, Parser)]
#[command(name = "twincast-tune", version, about, long_about = LONG_ABOUT, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What keeps this machine from line rate: one line for each thing, with the command that mends it.
    Check(check::CheckArgs),
    /// Applies a profile to this machine, or undoes that.
    Apply(ApplyArgs),
    /// Finds the best settings of a server for this machine and a group, by measuring.
    Sweep(SweepArgs),
    /// What each delivery takes for a group: bytes, time, memory, and which one to use.
    Plan(PlanArgs),
    /// Predictions beside what twincast-loadgen has measured, and how both grow.
    Compare(CompareArgs),
}

/// `plan`.
#[derive(Debug, Args)]
struct PlanArgs {
    /// Members of the group, n.
    #[arg(long, value_name = "N", value_parser = within(MEMBERS_MIN, MEMBERS_MAX))]
    group: u32,
    /// Rate of each server's link, each way, on the wire.
    #[arg(long, value_name = "RATE", value_parser = link)]
    link: LinkRate,
    /// Cores of each server.
    #[arg(long, value_name = "C", value_parser = within(1, THREADS_MAX as u32))]
    cores: u32,
    /// Messages that a member sends in a round of broadcast, queries that it has in answer, K.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = within(1, SLOTS_MAX))]
    slots: u32,
    /// Members on one connection to each server, at most.
    #[arg(long, value_name = "U", default_value_t = 1, value_parser = within(1, USERS_PER_CONNECTION_MAX))]
    users_per_connection: u32,
    /// Client machines that play the members, no more than there are members [default: 5, fewer in a smaller group].
    #[arg(long, value_name = "H", value_parser = within(1, HOSTS_MAX))]
    hosts: Option<u32>,
    /// Bytes of the largest packet on the link.
    #[arg(long, value_name = "BYTES", default_value_t = 1_500, value_parser = within(MTU_MIN, MTU_MAX))]
    mtu: u32,
    /// Memory of each server, as in 64gib; else as much as the machine of the constants has.
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    memory: Option<u64>,
    /// Both servers and all clients share the cores, as in `twincast-loadgen local`.
    #[arg(long)]
    everything_on_one_machine: bool,
    #[command(flatten)]
    constants: ConstantsArgs,
    /// Writes the plan to this file too, for programs.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// `compare`.
#[derive(Debug, Args)]
struct CompareArgs {
    /// Results folders, or files of twincast-loadgen's --json.
    #[arg(long, value_name = "FOLDER_OR_JSON", num_args = 1.., required = true)]
    results: Vec<PathBuf>,
    #[command(flatten)]
    constants: ConstantsArgs,
    /// Writes the comparison to this file too, for programs.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Where constants come from.
#[derive(Debug, Args)]
struct ConstantsArgs {
    /// Measures this machine first and keeps what it finds.
    #[arg(long)]
    measure: bool,
    /// How long measuring takes, about; large groups take longer to set up.
    #[arg(long, value_name = "SECONDS", default_value_t = SECONDS_DEFAULT, value_parser = seconds)]
    measure_seconds: f64,
    /// Where constants are kept [default: constants.json in ~/.local/state/twincast, or in twincast below XDG_STATE_HOME].
    #[arg(long, value_name = "FILE")]
    constants: Option<PathBuf>,
}

/// Runs what the command line says.
pub fn main() -> ExitCode {
    let end = match Cli::parse().command {
        Command::Check(args) => match args.run() {
            Ok(false) => return ExitCode::from(FAILED),
            end => end.map(|_| ()),
        },
        Command::Apply(args) => args.run(),
        Command::Sweep(args) => args.run(),
        Command::Plan(args) => args.run(),
        Command::Compare(args) => args.run(),
    };
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(TuneError::Interrupted(what)) => {
            eprintln!("interrupted: {what}");
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if matches!(error, TuneError::Usage(_)) { USAGE } else { FAILED })
        }
    }
}

impl PlanArgs {
    fn run(&self) -> Result<(), TuneError> {
        let hosts = self.hosts.unwrap_or(HOSTS_DEFAULT.min(self.group));
        if hosts > self.group {
            return Err(TuneError::Usage(format!(
                "--hosts {hosts}: a group of {} is on {} hosts at the most, each with a member",
                self.group, self.group
            )));
        }
        let json = json_file(self.json.as_deref())?;
        let group = Group {
            members: self.group,
            slots: self.slots,
            hosts,
            users_per_connection: self.users_per_connection,
            frame_bytes: FRAME_BYTES,
            confirm: true,
        };
        let constants = self.constants.get(&[group])?;
        let machine = Machine {
            cores: self.cores,
            memory_bytes: self.memory.unwrap_or(constants.origin.memory_bytes),
            link: self.link,
            mtu: self.mtu,
            everything: self.everything_on_one_machine,
        };
        let plan = Plan::new(&group, &machine, &constants, &Origin::here()).map_err(TuneError::Usage)?;
        end(json, &plan, &table::plan(&plan, &constants))
    }
}

impl CompareArgs {
    fn run(&self) -> Result<(), TuneError> {
        let json = json_file(self.json.as_deref())?;
        let mut runs = Vec::new();
        for path in &self.results {
            runs.extend(results::load(path)?);
        }
        let groups: Vec<Group> = runs.iter().map(|run| run.group).collect();
        let constants = self.constants.get(&groups)?;
        let compared = Comparison::new(&runs, &constants, &Origin::here()).map_err(TuneError::Usage)?;
        end(json, &compared, &table::comparison(&compared))
    }
}

impl ConstantsArgs {
    /// Measures and keeps them, or reads what was kept.
    fn get(&self, groups: &[Group]) -> Result<Constants, TuneError> {
        let path = self.constants.clone().map_or_else(default_path, Ok)?;
        if !self.measure {
            return Constants::load(&path);
        }
        if self.constants.is_none() {
            let directory = path.parent().expect("a file in a directory");
            std::fs::create_dir_all(directory).map_err(|error| {
                TuneError::Failed(format!(
                    "{}: {error}; name a file with --constants FILE",
                    directory.display()
                ))
            })?;
        }
        let file = JsonFile::open("--constants", &path)?;
        let progress = ProgressBar::new_spinner();
        progress.enable_steady_tick(Duration::from_millis(100));
        let measured = measure(groups, self.measure_seconds, |what| {
            progress.set_message(format!("measuring {what}"));
        });
        progress.finish_and_clear();
        let constants = measured?;
        constants.store(&file)?;
        eprintln!("constants kept in {}", path.display());
        Ok(constants)
    }
}

fn json_file(path: Option<&Path>) -> Result<Option<JsonFile>, TuneError> {
    path.map(|path| JsonFile::open("--json", path)).transpose()
}

/// Writes the file and prints the table, whichever of them fails.
fn end(json: Option<JsonFile>, value: &impl serde::Serialize, text: &str) -> Result<(), TuneError> {
    let written = json.map_or(Ok(()), |file| file.write(value));
    let mut stdout = std::io::stdout().lock();
    let printed = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    printed.map_err(|error| TuneError::Failed(format!("standard output: {error}"))).and(written)
}

/// A parser for whole numbers from `least` to `most`.
fn within(least: u32, most: u32) -> impl Fn(&str) -> Result<u32, String> + Clone + Send + Sync {
    move |text| match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => {
            Err(format!("give a whole number from {} to {}", thousands(least.into()), thousands(most.into())))
        }
    }
}

fn link(text: &str) -> Result<LinkRate, String> {
    let remedy =
        "give a rate such as 1gbit, 2.5gbit or 250mbit (of the wire, each way, from 1mbit to 400gbit)";
    text.parse().ok().filter(|rate| matches!(rate, LinkRate::Rate(_))).ok_or_else(|| remedy.into())
}

fn memory(text: &str) -> Result<u64, String> {
    let remedy = || "give a size in mib, gib or tib, from 1mib to 1024tib, as in 64gib".to_owned();
    let (number, shift) = [("mib", 20), ("gib", 30), ("tib", 40)]
        .into_iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)))
        .ok_or_else(remedy)?;
    let number: u64 = number.parse().map_err(|_| remedy())?;
    number.checked_mul(1 << shift).filter(|bytes| (1 << 20..=1 << 50).contains(bytes)).ok_or_else(remedy)
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("give seconds from 0.1 to 600".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn values_are_read_or_refused_with_the_remedy() {
        assert_eq!(link("2.5gbit"), Ok(LinkRate::Rate(2_500_000_000)));
        for text in ["off", "loopback", "10", "500gbit", ""] {
            assert!(link(text).unwrap_err().contains("give a rate such as 1gbit"), "{text}");
        }
        assert_eq!(
            (memory("64gib"), memory("1mib"), memory("2tib")),
            (Ok(64 << 30), Ok(1 << 20), Ok(2 << 40))
        );
        for text in ["64", "64gb", "0gib", "-1gib", "99999999999999999999gib", "2000tib"] {
            assert!(memory(text).unwrap_err().contains("as in 64gib"), "{text}");
        }
        assert_eq!(seconds("0.5"), Ok(0.5));
        assert!(["0", "x", "inf", "NaN"].iter().all(|text| seconds(text).is_err()));
    }
}
