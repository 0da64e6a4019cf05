//! `twincast-server`: one of the two servers.
#![forbid(unsafe_code)]

use anyhow::Context;
use clap::{Parser, Subcommand};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::{self, IsTerminal};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use twincast_protocol::identity::VerifyingKey;
use twincast_protocol::ids::GroupId;
use twincast_server::Server;
use twincast_server::accounts::RegistryError;
use twincast_server::admin::{self, AdminArguments};
use twincast_server::answer::Identities;
use twincast_server::config::{ChannelName, Config, EXAMPLE, Insecure};
use twincast_server::keys::{self, ChannelKeys, Keys};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One of the two Twincast servers.
///
/// Start with `twincast-server keygen --out FOLDER`, which makes this server's keys, and with
/// `twincast-server --print-config > s1.toml`; change `side`, `listen`, the keys, the link to the other server and the
/// groups, check the result with `--check s1.toml`, and run it with `--config s1.toml`. The configuration explains, step by
/// step, how two operators set out. SIGTERM or Ctrl-C stops the server gracefully: the open round is finished or refused.
/// Logs go to standard error; RUST_LOG=debug shows more. Exit status: 0 stopped, 1 failed, 2 wrong usage or configuration.
#[derive(Parser)]
#[command(version, group = clap::ArgGroup::new("what").required(true))]
#[command(subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
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
    /// Allow channel = "plain" where others than this machine could listen, too (`insecure_plain = true` does the same):
    /// whoever is on the way then reads and changes everything. For measurements only.
    #[arg(long)]
    insecure_plain: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Make this server's keys, and print what to write where.
    ///
    /// Two files come to be in FOLDER, which nobody else can read: channel.key, by which clients and the other server know
    /// that they talk to this one, and signing.key, which it signs with. They never leave this machine. What is printed has
    /// their public halves, which are no secrets: give them to whom they are for, over a way on which nobody can change
    /// them. Keys that are there already are not touched.
    Keygen {
        /// Where the keys go. It is made if it is not there.
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
    },
    /// Add, remove and list the accounts of users.
    ///
    /// An account is a user's number in a group, and the key by which it proves who it is. It serves once both servers have
    /// it: both operators add it, or the user registers at both where the group has registration = "open". Works while the
    /// server runs, and while it does not. Exit status: 0 done, 1 it could not be done, 2 wrong usage or configuration.
    Admin(AdminArguments),
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
    match arguments.command {
        Some(Command::Keygen { out }) => return keygen(&out),
        Some(Command::Admin(arguments)) => return admin::run(&arguments),
        None => {}
    }
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
    let insecure = Insecure { baseline: arguments.insecure_baseline, plain: arguments.insecure_plain };
    let config = match read(path, insecure) {
        Ok(config) => config,
        Err(error) => return refused(&format!("{error:#}")),
    };
    if arguments.check.is_some() {
        // Before what may be missing: others need it first.
        match own_lines(&config) {
            Ok(lines) => lines.iter().for_each(|line| println!("{line}")),
            Err(error) => return refused(&format!("{}: {error}", path.display())),
        }
    }
    let keys = match Keys::load(&config) {
        Ok(keys) => keys,
        Err(error) => return refused(&format!("{}: {error}", path.display())),
    };
    if arguments.check.is_some() {
        return say_checked(path, &config, &keys);
    }
    match run(config, keys) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // What it says has its cause in it.
            eprintln!("twincast-server: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Makes keys, and says what to write where.
fn keygen(out: &Path) -> ExitCode {
    let made = match keys::generate(out, &mut rand::rng()) {
        Ok(made) => made,
        Err(error) => {
            eprintln!("twincast-server: {error}");
            return ExitCode::FAILURE;
        }
    };
    let others = out.metadata().is_ok_and(|folder| folder.permissions().mode() & 0o022 != 0);
    if others {
        let folder = out.display();
        eprintln!(
            "twincast-server: warning: others may write into {folder} and put keys of theirs there: `chmod go-w {folder}`"
        );
    }
    println!("# In this server's configuration, at the top:");
    println!("channel_key = {:?}", made.channel_file);
    println!("signing_key = {:?}", made.signing_file);
    println!("# In the other server's, under [link]:");
    println!("peer_channel_key = \"{}\"", hex::encode(made.channel));
    println!("peer_verifying_key = \"{}\"", hex::encode(made.verifying));
    println!("# For clients, as what they know this server by: channel key, verifying key");
    println!("# {} {}", hex::encode(made.channel), hex::encode(made.verifying));
    ExitCode::SUCCESS
}

/// What others know this server by: a sentence each, for the other server's operator, and for clients.
fn own_lines(config: &Config) -> Result<Vec<String>, keys::KeyError> {
    let mut lines = Vec::new();
    if let Some(key) = ChannelKeys::own_key(config)? {
        let digits = hex::encode(key);
        lines.push(format!("give this to clients: this server's channel key is {digits}"));
        if config.link.is_some() {
            lines.push(format!(
                "give this to the other server's operator: link.peer_channel_key = \"{digits}\""
            ));
        }
    }
    if let Some(key) = Identities::own_key(config)? {
        lines.push(own_key_line(&key));
    }
    Ok(lines)
}

/// What a configuration needs, and what the two operators compare; and whether a server would start with it, as far as the
/// folders go that have to be there.
fn say_checked(path: &Path, config: &Config, keys: &Keys) -> ExitCode {
    let identities = keys.identities.as_ref();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let disk = config.box_disk_bytes();
    let disk = disk.map(|bytes| format!(", and at most {:.1} MiB on the disk of box.folder", mib(bytes)));
    let queries = Some(config.query_memory_bytes()).filter(|bytes| *bytes > 0);
    let queries = queries.map(|bytes| format!(" ({:.1} MiB of it for queries)", mib(bytes)));
    if config.link.is_some() {
        println!("to compare with what --check prints at the other server:");
    }
    if let Some(peer) = keys.channel.as_ref().and_then(ChannelKeys::peer).filter(|_| config.link.is_some()) {
        println!("  its channel key, as link.peer_channel_key is here: {}", hex::encode(peer));
    }
    if let Some(peer) = identities.and_then(Identities::peer) {
        println!("  its verifying key, as link.peer_verifying_key is here: {}", hex::encode(peer.to_bytes()));
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
    if config.channel == ChannelName::Plain {
        warnings.push(PLAIN.into());
    }
    for warning in warnings {
        eprintln!("twincast-server: {}: warning: {warning}", path.display());
    }
    // Its accounts are there before everything else, and outlive it; a box is empty at each start, and may be made for it.
    let registry = config.registry.as_ref().filter(|_| identities.is_some());
    if let Some(Err(error)) = registry.map(|registry| check_registry(&registry.folder)) {
        eprintln!("twincast-server: {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    println!(
        "{}: good; {} group(s), at most {:.1} MiB for them{}{}",
        path.display(),
        config.groups.len(),
        mib(config.group_memory_bytes()),
        queries.unwrap_or_default(),
        disk.unwrap_or_default()
    );
    ExitCode::SUCCESS
}

/// Whether a start would have the folder of accounts: it says the same then.
fn check_registry(folder: &Path) -> Result<(), RegistryError> {
    let there = folder.metadata().and_then(|there| match there.is_dir() {
        true => Ok(there),
        false => Err(io::ErrorKind::NotADirectory.into()),
    });
    let there = there.map_err(|error| RegistryError::Folder { folder: folder.into(), error })?;
    let file = folder.join("accounts.redb");
    let of_file = file.metadata().ok().map(|there| (file.as_path(), there, 0o600));
    for (path, there, wanted) in [(folder, there, 0o700)].into_iter().chain(of_file) {
        let mode = there.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(RegistryError::Mode { path: path.into(), mode, wanted });
        }
    }
    Ok(())
}

/// What an operator has to know of plain channels.
const PLAIN: &str = "channel = \"plain\": whoever is on the way reads and changes what goes between this server, clients and the \
                     other server; for measurements only";

/// As much of a hash as two operators compare.
fn short(hash: &[u8; 32]) -> String {
    hex::encode(&hash[..8])
}

fn own_key_line(key: &VerifyingKey) -> String {
    let digits = hex::encode(key.to_bytes());
    format!("give this to the other server's operator: link.peer_verifying_key = \"{digits}\"")
}

fn read(path: &PathBuf, insecure: Insecure) -> anyhow::Result<Config> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    // The error says all that its source does.
    Config::from_toml_with(&text, insecure).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
}

fn run(config: Config, keys: Keys) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    if let Some(channel) = &keys.channel {
        tracing::info!(
            channel_key = hex::encode(channel.public()),
            "clients know this server by its channel key"
        );
    }
    if config.channel == ChannelName::Plain {
        tracing::warn!("{PLAIN}");
    }
    if let Some(identities) = &keys.identities {
        tracing::info!("{}", own_key_line(&identities.own()));
        identities.warnings(&config).iter().for_each(|warning| tracing::warn!("{warning}"));
    }
    let server = Server::start_with(config, keys)?;
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
