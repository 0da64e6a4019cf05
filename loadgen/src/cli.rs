//! The command line of `twincast-loadgen`, and what its exit status says.

mod local;
mod plan;
mod values;

pub use local::LocalArgs;
pub use plan::PlanArgs;

use crate::coordinator::{self, RunError};
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
Exit status: 0 every check passed; 1 a message was lost, misdelivered, altered or extra, or the run could not go on; \
2 wrong usage, or this machine's limits are too low; 130 stopped by a signal (Ctrl-C), with all that it started.";

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
    /// One server, led over the standard streams.
    #[command(name = coordinator::ROLE_SERVER, hide = true)]
    Server(RoleArgs),
    /// One client host, led over the standard streams.
    #[command(name = coordinator::ROLE_HOST, hide = true)]
    Host(RoleArgs),
    /// One plain sender of the roof, led over the standard streams.
    #[command(name = coordinator::ROLE_ROOF_SENDER, hide = true)]
    RoofSender(RoleArgs),
}

/// How a child is started.
#[derive(Debug, clap::Args)]
struct RoleArgs {
    /// The network namespace to go into.
    #[arg(long)]
    namespace: Option<String>,
}

/// Runs what the command line says.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Local(args) => local(&args),
        Command::Server(args) => role(&args, crate::server_role::run),
        Command::Host(args) => role(&args, crate::host::run),
        Command::RoofSender(args) => role(&args, crate::roof::sender::run),
    }
}

fn local(args: &LocalArgs) -> ExitCode {
    let plan = match args.plan.plan() {
        Ok(plan) => plan,
        Err(sentence) => wrong_usage(&sentence),
    };
    match coordinator::local(&plan, &args.outputs()) {
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

fn wrong_usage(sentence: &str) -> ! {
    Cli::command().error(ErrorKind::ValueValidation, sentence).exit()
}

/// A child: its log goes to stderr, which the coordinator keeps and shows when something is wrong.
fn role(args: &RoleArgs, run: fn() -> anyhow::Result<()>) -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let end = crate::process::become_child(args.namespace.as_deref())
        .map_err(anyhow::Error::from)
        .and_then(|()| run());
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
    fn help_tells_the_flags_and_hides_the_roles() {
        let mut command = Cli::command();
        let help = command.render_long_help().to_string();
        assert!(help.contains("local") && help.contains("Exit status"), "{help}");
        assert!(!help.contains("role-"), "{help}");
    }
}
