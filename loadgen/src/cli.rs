//! The command line of `twincast-loadgen`, and what its exit status says.

mod agent;
mod baselines;
mod keep;
mod local;
mod paper;
mod plan;
mod price;
mod report;
mod run;
mod server_settings;
mod sweep;
mod values;

pub use agent::AgentArgs;
pub use baselines::BaselinesArgs;
pub use keep::KeepArgs;
pub use local::LocalArgs;
pub use paper::PaperArgs;
pub(crate) use paper::plan_of;
pub use plan::PlanArgs;
pub use price::PriceArgs;
pub use report::ReportArgs;
pub use run::RunArgs;
pub use server_settings::ServerArgs;
pub use sweep::SweepArgs;

use crate::agent::AgentError;
use crate::baseline;
use crate::coordinator::{self, Outputs, RunError};
use crate::experiment::Experiment;
use clap::{CommandFactory as _, Parser, Subcommand, error::ErrorKind};
use std::process::ExitCode;

/// The run failed its own checks, or could not go on.
const FAILED: u8 = 1;
/// The user asked for something that cannot be; clap's own status, too.
const USAGE: u8 = 2;
/// A signal ended the run.
const INTERRUPTED: u8 = 130;

const LONG_ABOUT: &str = "\
Plays the clients of a Twincast deployment, measures what the servers do, and verifies what arrives.

Two operators who do not collude run one server each. Users form groups of n. In every round each user hands each \
server two shares of a message; each server sends every user one share of everybody: n x n shares a round. Whoever \
was meant reads the message, and neither server learns what was said or to whom.

`local` does all of it on this machine: it starts both servers and some client hosts, plays rounds, and prints what \
it took.";

const EXIT_STATUS: &str = "\
Exit status: 0 every check passed; 1 a message was lost, misdelivered, altered or extra, there is evidence against \
somebody, or the run could not go on; 2 wrong usage, or this machine's limits are too low; 130 stopped by a signal \
(Ctrl-C), with all that it started. What is slower or dearer than something else (report compare), or than it should be \
(price), is told, and is no failure.";

/// The Twincast load generator.
#[derive(Debug, Parser)]
#[command(name = "twincast-loadgen", version, about, long_about = LONG_ABOUT, after_help = EXIT_STATUS)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Both servers and all client hosts on this machine: plays a few rounds and prints a report.
    Local(Box<LocalArgs>),
    /// The same for one group size after another: prints one table over all of them.
    Sweep(Box<SweepArgs>),
    /// What a plan file says, on the machines that it names: prints a report.
    Run(RunArgs),
    /// Waits here for such a run, and plays its hosts or a server of it.
    Agent(AgentArgs),
    /// Stored results: print them again, or compare two of them.
    Report(ReportArgs),
    /// Twincast beside what it is compared with: the paper's own set-up, a PKI broadcast and a message broker.
    Baselines(BaselinesArgs),
    /// What private channels and accountable groups cost: the same runs with and without them, in turns.
    Price(Box<PriceArgs>),
    /// The paper's experiments: every figure, with what it is compared with, as one HTML report.
    Paper(PaperArgs),
    /// One server, led over the standard streams.
    #[command(name = coordinator::ROLE_SERVER, hide = true)]
    Server(RoleArgs),
    /// One client host, led over the standard streams.
    #[command(name = coordinator::ROLE_HOST, hide = true)]
    Host(RoleArgs),
    /// One plain sender of the roof, led over the standard streams.
    #[command(name = coordinator::ROLE_ROOF_SENDER, hide = true)]
    RoofSender(RoleArgs),
    /// One server of a baseline, led over the standard streams.
    #[command(name = baseline::ROLE_BASELINE_SERVER, hide = true)]
    BaselineServer(RoleArgs),
    /// One client host of a baseline, led over the standard streams.
    #[command(name = baseline::ROLE_BASELINE_HOST, hide = true)]
    BaselineHost(RoleArgs),
    /// Becomes the broker.
    #[command(name = baseline::ROLE_BASELINE_BROKER, hide = true)]
    BaselineBroker(ProgramArgs),
}

/// How a child is started.
#[derive(Debug, clap::Args)]
struct RoleArgs {
    /// The network namespace to go into.
    #[arg(long)]
    namespace: Option<String>,
}

/// A program that a child becomes.
#[derive(Debug, clap::Args)]
struct ProgramArgs {
    /// The program and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<std::ffi::OsString>,
}

/// Runs what the command line says.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Local(args) => here(args.experiment(), &args.keep.outputs(args.plan.has_fault())),
        Command::Sweep(args) => here(args.experiment(), &args.keep.outputs(args.plan.has_fault())),
        Command::Run(args) => end_of_run(args.run()),
        Command::Agent(args) => waiting(&args),
        Command::Report(args) => stored(&args),
        Command::Server(args) => play(&args, crate::server_role::run),
        Command::Host(args) => play(&args, crate::host::run),
        Command::RoofSender(args) => play(&args, crate::roof::sender::run),
        Command::Baselines(args) => baselines(&args),
        Command::Price(args) => price(&args),
        Command::Paper(args) => end_of_run(crate::paper::run(&args.order())),
        Command::BaselineServer(args) => play(&args, baseline::server::run),
        Command::BaselineHost(args) => play(&args, baseline::host::run),
        Command::BaselineBroker(args) => end_of_role(baseline::server::become_program(&args.words)),
    }
}

/// Plays a hidden role, if this process was started in one. A run starts its servers and hosts by starting its own program
/// again: a program that makes runs ([`crate::trials`]) calls this before it reads its own command line.
pub fn role() -> Option<ExitCode> {
    let first = std::env::args_os().nth(1)?;
    is_role(first.to_str()?).then(main)
}

fn is_role(word: &str) -> bool {
    Cli::command().get_subcommands().any(|command| command.is_hide_set() && command.get_name() == word)
}

/// An agent: its log goes to stderr, its address to stdout.
fn waiting(args: &AgentArgs) -> ExitCode {
    log_to_stderr();
    match args.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(AgentError::Interrupted) => {
            eprintln!("interrupted: everything that this agent had started is stopped");
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if matches!(error, AgentError::Usage(_)) { USAGE } else { FAILED })
        }
    }
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
}

/// An experiment on this machine.
fn here(experiment: Result<Experiment, String>, outputs: &Outputs) -> ExitCode {
    match experiment {
        Ok(experiment) => end_of_run(coordinator::local(&experiment, outputs)),
        Err(sentence) => wrong_usage(&sentence),
    }
}

fn baselines(args: &BaselinesArgs) -> ExitCode {
    let plan = match args.plan() {
        Ok(plan) => plan,
        Err(sentence) => wrong_usage(&sentence),
    };
    end_of_run(baseline::comparison::run(&plan, &args.setup(), &args.asked(), args.json()))
}

fn price(args: &PriceArgs) -> ExitCode {
    match args.asked() {
        Ok(asked) => end_of_run(crate::price::run(&asked, args.json())),
        Err(sentence) => wrong_usage(&sentence),
    }
}

fn end_of_run(end: Result<bool, RunError>) -> ExitCode {
    match end {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(RunError::Interrupted) => {
            eprintln!("interrupted: everything that the run had started is stopped");
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if matches!(error, RunError::Usage(_)) { USAGE } else { FAILED })
        }
    }
}

/// Nothing is run: a sentence about what cannot be read is wrong usage.
fn stored(args: &ReportArgs) -> ExitCode {
    match args.print() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ RunError::Report(_)) => {
            eprintln!("error: {error}");
            ExitCode::from(FAILED)
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(USAGE)
        }
    }
}

fn wrong_usage(sentence: &str) -> ! {
    Cli::command().error(ErrorKind::ValueValidation, sentence).exit()
}

/// A child: its log goes to stderr, which the coordinator keeps and shows when something is wrong.
fn play(args: &RoleArgs, run: fn() -> anyhow::Result<()>) -> ExitCode {
    log_to_stderr();
    let end = crate::process::become_child(args.namespace.as_deref())
        .map_err(anyhow::Error::from)
        .and_then(|()| run());
    end_of_role(end)
}

fn end_of_role(end: anyhow::Result<()>) -> ExitCode {
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_program_that_makes_runs_knows_the_roles_from_its_own_commands() {
        for role in [coordinator::ROLE_SERVER, coordinator::ROLE_HOST, coordinator::ROLE_ROOF_SENDER] {
            assert!(is_role(role), "{role}");
        }
        for own in ["local", "sweep", "check", "help", "--help", "role", ""] {
            assert!(!is_role(own), "{own}");
        }
    }

    #[test]
    fn help_tells_the_flags_and_hides_the_roles() {
        let mut command = Cli::command();
        let help = command.render_long_help().to_string();
        assert!(help.contains("local") && help.contains("Exit status"), "{help}");
        assert!(!help.contains("role-"), "{help}");
    }
}
