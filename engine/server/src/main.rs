//! `twincast-server`: one of the two servers.
#![forbid(unsafe_code)]

use anyhow::Context;
use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use twincast_server::Server;
use twincast_server::answer::Identities;
use twincast_server::config::{Config, EXAMPLE};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One of the two Twincast servers.
///
/// Start with `twincast-server --print-config > s1.toml`, change `side`, `listen`, the link to the other server and the
/// groups, check the result with `--check s1.toml`, and run it with `--config s1.toml`. SIGTERM or Ctrl-C stops it gracefully: the open round
/// is finished or refused. Logs go to standard error; RUST_LOG=debug shows more. Exit status: 0 stopped, 1 failed,
/// 2 wrong usage or configuration.
#[derive(Parser)]
#[command(version, group = clap::ArgGroup::new("what").required(true))]
struct Arguments {
    /// Run with this configuration.
    #[arg(long, value_name = "FILE", group = "what")]
    config: Option<PathBuf>,
    /// Print a commented configuration with every default.
    #[arg(long, group = "what")]
    print_config: bool,
    /// Check a configuration and say what it will need.
    #[arg(long, value_name = "FILE", group = "what")]
    check: Option<PathBuf>,
    /// Serve groups of the paper's own profiles, too (`insecure_baseline = true` does the same): there one server alone
    /// can find recipients or forge messages. For measurements only; engine/docs/THREAT_MODEL.md has the details.
    #[arg(long)]
    insecure_baseline: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    if arguments.print_config {
        print!("{EXAMPLE}");
        return ExitCode::SUCCESS;
    }
    let path =
        arguments.config.as_ref().or(arguments.check.as_ref()).expect("clap asks for one of the three");
    let config = match read(path, arguments.insecure_baseline) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("twincast-server: {error:#}");
            return ExitCode::from(2);
        }
    };
    let identities = match Identities::load(&config) {
        Ok(identities) => identities,
        Err(error) => {
            eprintln!("twincast-server: {}: {error}", path.display());
            return ExitCode::from(2);
        }
    };
    if arguments.check.is_some() {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let disk = config.box_disk_bytes();
        let disk = disk.map(|bytes| format!(", and at most {:.1} MiB on the disk of box.folder", mib(bytes)));
        let queries = Some(config.query_memory_bytes()).filter(|bytes| *bytes > 0);
        let queries = queries.map(|bytes| format!(" ({:.1} MiB of it for queries)", mib(bytes)));
        println!(
            "{}: good; {} group(s), at most {:.1} MiB for them{}{}",
            path.display(),
            config.groups.len(),
            mib(config.group_memory_bytes()),
            queries.unwrap_or_default(),
            disk.unwrap_or_default()
        );
        return ExitCode::SUCCESS;
    }
    match run(config, identities) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("twincast-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn read(path: &PathBuf, insecure_baseline: bool) -> anyhow::Result<Config> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Config::from_toml_with(&text, insecure_baseline).with_context(|| path.display().to_string())
}

fn run(config: Config, identities: Option<Identities>) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let server = match identities {
        Some(identities) => Server::start_with(config, identities)?,
        None => Server::start(config)?,
    };
    // Whoever started it may read the port that a `listen` with port 0 got.
    println!("listening on {}", server.address());
    if let Some(address) = server.link_address() {
        println!("link on {address}");
    }
    if let Some(address) = server.metrics_address() {
        println!("metrics on http://{address}/metrics");
    }
    signals.forever().next();
    tracing::info!("stopping");
    server.stop()?;
    tracing::info!("stopped");
    Ok(())
}
