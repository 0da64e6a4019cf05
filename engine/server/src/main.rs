//! `twincast-server`: one of the two servers.
#![forbid(unsafe_code)]

use anyhow::Context;
use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use twincast_protocol::identity::VerifyingKey;
use twincast_protocol::ids::GroupId;
use twincast_server::Server;
use twincast_server::answer::Identities;
use twincast_server::config::{Config, EXAMPLE};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One of the two Twincast servers.
///
/// Start with `twincast-server --print-config > s1.toml`, change `side`, `listen`, the link to the other server and the
/// groups, check the result with `--check s1.toml`, and run it with `--config s1.toml`. SIGTERM or Ctrl-C stops it
/// gracefully: the open round is finished or refused. Logs go to standard error; RUST_LOG=debug shows more. Exit status:
/// 0 stopped, 1 failed, 2 wrong usage or configuration.
#[derive(Parser)]
#[command(version, group = clap::ArgGroup::new("what").required(true))]
struct Arguments {
    /// Run with this configuration.
    #[arg(long, value_name = "FILE", group = "what")]
    config: Option<PathBuf>,
    /// Print a commented configuration with every default.
    #[arg(long, group = "what")]
    print_config: bool,
    /// Check a configuration, say what it will need, and print what the two servers' operators compare: settings, and who
    /// signs with what.
    #[arg(long, value_name = "FILE", group = "what")]
    check: Option<PathBuf>,
    /// Print the verifying key that belongs to a signing key: a file of 64 hexadecimal digits that nobody else may read.
    #[arg(long, value_name = "FILE", group = "what")]
    verifying_key: Option<PathBuf>,
    /// Serve groups of the paper's own profiles, too (`insecure_baseline = true` does the same): there one server alone
    /// can find recipients or forge messages. For measurements only; engine/docs/THREAT_MODEL.md has the details.
    #[arg(long)]
    insecure_baseline: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.with_ansi(std::io::stderr().is_terminal()).init();
    if arguments.print_config {
        print!("{EXAMPLE}");
        return ExitCode::SUCCESS;
    }
    let refused = |error: &dyn std::fmt::Display| {
        eprintln!("twincast-server: {error}");
        ExitCode::from(2)
    };
    if let Some(file) = &arguments.verifying_key {
        return match Identities::verifying_key_of(file) {
            Ok(key) => {
                println!("{}", hex::encode(key.to_bytes()));
                ExitCode::SUCCESS
            }
            Err(error) => refused(&error),
        };
    }
    let path = arguments.config.as_ref().or(arguments.check.as_ref()).expect("clap asks for one of the four");
    let config = match read(path, arguments.insecure_baseline) {
        Ok(config) => config,
        Err(error) => return refused(&format!("{error:#}")),
    };
    if arguments.check.is_some() {
        // Before what may be missing: the other server's operator needs it first.
        match Identities::own_key(&config) {
            Ok(Some(key)) => println!("{}", own_key_line(&key)),
            Ok(None) => {}
            Err(error) => return refused(&format!("{}: {error}", path.display())),
        }
    }
    let identities = match Identities::load(&config) {
        Ok(identities) => identities,
        Err(error) => return refused(&format!("{}: {error}", path.display())),
    };
    if arguments.check.is_some() {
        say_checked(path, &config, identities.as_ref());
        return ExitCode::SUCCESS;
    }
    match run(config, identities) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // What it says has its cause in it.
            eprintln!("twincast-server: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What a configuration needs, and what the two operators compare.
fn say_checked(path: &Path, config: &Config, identities: Option<&Identities>) {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let disk = config.box_disk_bytes();
    let disk = disk.map(|bytes| format!(", and at most {:.1} MiB on the disk of box.folder", mib(bytes)));
    let queries = Some(config.query_memory_bytes()).filter(|bytes| *bytes > 0);
    let queries = queries.map(|bytes| format!(" ({:.1} MiB of it for queries)", mib(bytes)));
    if config.link.is_some() {
        println!("to compare with what --check prints at the other server:");
    }
    if let Some(identities) = identities {
        println!(
            "  its verifying key, as link.peer_verifying_key is here: {}",
            hex::encode(identities.peer().to_bytes())
        );
    }
    for group in config.groups.iter().filter(|_| config.link.is_some()) {
        let id = GroupId(group.id);
        let list = identities.and_then(|identities| identities.list_of(id));
        let list = list.map(|(users, hash)| format!(", members' keys {} ({users} users)", short(&hash)));
        println!("  group {id}: settings {}{}", short(&group.hash()), list.unwrap_or_default());
    }
    let mut warnings = identities.map(|identities| identities.warnings(config)).unwrap_or_default();
    if let Some(parts_box) = config.parts_box.as_ref().filter(|_| config.box_disk_bytes().is_some())
        && !parts_box.folder.is_dir()
    {
        let folder = parts_box.folder.display();
        warnings.push(format!("box.folder: make it before the start (`mkdir -m 700 {folder}`)"));
    }
    for warning in warnings {
        eprintln!("twincast-server: {}: warning: {warning}", path.display());
    }
    println!(
        "{}: good; {} group(s), at most {:.1} MiB for them{}{}",
        path.display(),
        config.groups.len(),
        mib(config.group_memory_bytes()),
        queries.unwrap_or_default(),
        disk.unwrap_or_default()
    );
}

/// As much of a hash as two operators compare.
fn short(hash: &[u8; 32]) -> String {
    hex::encode(&hash[..8])
}

fn own_key_line(key: &VerifyingKey) -> String {
    let digits = hex::encode(key.to_bytes());
    format!("give this to the other server's operator: link.peer_verifying_key = \"{digits}\"")
}

fn read(path: &PathBuf, insecure_baseline: bool) -> anyhow::Result<Config> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Config::from_toml_with(&text, insecure_baseline).with_context(|| path.display().to_string())
}

fn run(config: Config, identities: Option<Identities>) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    if let Some(identities) = &identities {
        tracing::info!("{}", own_key_line(&identities.own()));
        identities.warnings(&config).iter().for_each(|warning| tracing::warn!("{warning}"));
    }
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
