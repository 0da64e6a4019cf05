//! `twincast-loadgen agent`: runs servers or hosts here for coordinators elsewhere.

use crate::agent::{self, AgentError, AgentRole};
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  (umask 077; head -c 32 /dev/urandom | base64 > token)
      makes a token; copy it to every machine of the plan by a way that you trust
  twincast-loadgen agent --listen 10.0.0.13:7400 --token-file token
      on each client host; the address that it listens on is printed as one line
  twincast-loadgen agent --listen 10.0.0.1:7400 --token-file token --role server
      on each server
  twincast-loadgen run --plan plan.toml
      then, anywhere (loadgen/plan.example.toml shows a plan, loadgen/AGENT.md what a stranger can do)";

/// The flags of `agent`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct AgentArgs {
    /// Where to wait for coordinators: an address of this machine, and a port or 0 for a free one
    #[arg(long, value_name = "ADDR", required_unless_present = "stdio", requires = "token_file")]
    listen: Option<SocketAddr>,

    /// The file with the token that coordinators must prove to know, which its owner alone may read
    #[arg(long, value_name = "FILE", conflicts_with = "stdio")]
    token_file: Option<PathBuf>,

    /// What this machine is there for: the agent starts nothing else
    #[arg(long, value_name = "ROLE", default_value = "host")]
    role: AgentRole,

    /// Serve the one coordinator that has started this process over ssh, on the standard streams
    #[arg(long, conflicts_with = "listen")]
    stdio: bool,
}

impl AgentArgs {
    /// Serves coordinators until told to stop.
    ///
    /// # Errors
    /// Why it does not any more.
    pub fn run(&self) -> Result<(), AgentError> {
        match (self.listen, &self.token_file) {
            (Some(address), Some(file)) => agent::listen(address, file, self.role),
            _ => agent::stdio(self.role),
        }
    }
}
