//! `twincast-server admin`: the operator's hand on the registry of accounts. It asks the server that runs, over the socket
//! in the registry's folder, and works on the file where none does.

use crate::accounts::{self, Command, Done, RegistryError, Reply, Row};
use crate::answer::{Identities, read_member};
use crate::config::{Config, Insecure};
use clap::{Args, Subcommand};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What `twincast-server admin` takes.
///
/// An account is a user's number in a group, and the key by which it proves who it is. It serves once both servers have
/// it: both operators add it, or the user registers at both where the group has registration = "open". Works while the
/// server runs, and while it does not. Exit status: 0 done, 1 it could not be done, 2 wrong usage or configuration.
#[derive(Args, Clone, Debug)]
pub struct AdminArguments {
    /// The server's configuration, whose [registry] has the accounts.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Clone, Debug)]
enum Action {
    /// Add accounts, all of them or none. Those that are there with the same key stay as they are.
    Add {
        /// The group's number.
        #[arg(long)]
        group: u32,
        /// The user's number.
        #[arg(long, requires = "key", required_unless_present = "from")]
        user: Option<u32>,
        /// The user's verifying key, 64 hexadecimal digits, as `twincast-client init` prints it.
        #[arg(long, value_name = "HEX", requires = "user")]
        key: Option<String>,
        /// A file with a line `USER KEY` for each account; empty lines and lines that begin with # are skipped.
        #[arg(long, value_name = "FILE", conflicts_with = "user")]
        from: Option<PathBuf>,
        /// From which epoch on these are the keys: the same at both servers. More than 0 where a user had another key
        /// before it was removed.
        #[arg(long, default_value_t = 0)]
        epoch: u32,
    },
    /// Remove an account. Whoever is connected as that user is disconnected at once.
    ///
    /// The number stays a member of its group, and is absent: give it to somebody else with `add`, who takes the place. Where
    /// the group has registration = "open" whoever comes next can register it again.
    Remove {
        /// The group's number.
        #[arg(long)]
        group: u32,
        /// The user's number.
        #[arg(long)]
        user: u32,
    },
    /// Print the accounts, one a line.
    List {
        /// Of this group alone.
        #[arg(long)]
        group: Option<u32>,
    },
    /// Print the accounts as lines of JSON, with both servers' signatures.
    Export {
        /// Of this group alone.
        #[arg(long)]
        group: Option<u32>,
    },
    /// Give a user another key. The old one proves nothing any more, and whoever is connected by it is disconnected. The
    /// account serves again once both operators have done so.
    Rotate {
        /// The group's number.
        #[arg(long)]
        group: u32,
        /// The user's number.
        #[arg(long)]
        user: u32,
        /// The new verifying key, 64 hexadecimal digits. With --epoch it may be the one that the account has.
        #[arg(long, value_name = "HEX")]
        key: String,
        /// From which epoch on it is the key: later than the account's, and the same at both servers. Left out: the next one.
        /// Where the two servers have a key from different epochs on, name the higher one where it is lower.
        #[arg(long)]
        epoch: Option<u32>,
    },
}

/// Does what the operator wants, and says what came of it.
#[must_use]
pub fn run(arguments: &AdminArguments) -> ExitCode {
    let failed = |code: u8, error: &dyn std::fmt::Display| {
        eprintln!("twincast-server admin: {error}");
        ExitCode::from(code)
    };
    let config = match read_config(&arguments.config) {
        Ok(config) => config,
        Err(error) => return failed(2, &error),
    };
    let command = match arguments.action.command() {
        Ok(command) => command,
        Err(error) => return failed(2, &error),
    };
    match perform(&config, &command) {
        Ok(Ok(done)) => match say(&arguments.action, &done) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                failed(1, &format!("cannot write what came of it ({error})"))
            }
            _ => ExitCode::SUCCESS,
        },
        Ok(Err(sentence)) => failed(1, &sentence),
        Err(Failure::Usage(sentence)) => failed(2, &sentence),
        Err(Failure::Machine(sentence)) => failed(1, &sentence),
    }
}

/// Why a command did not come to anybody.
enum Failure {
    /// The configuration is not what it has to be.
    Usage(String),
    /// The machine got in the way.
    Machine(String),
}

fn read_config(path: &Path) -> Result<Config, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {} ({error})", path.display()))?;
    // What is insecure of it is the server's to refuse.
    Config::from_toml_with(&text, Insecure::ALL).map_err(|error| format!("{}: {error}", path.display()))
}

fn perform(config: &Config, command: &Command) -> Result<Reply, Failure> {
    let Some(registry) = &config.registry else {
        let sentence = "the configuration has no [registry]: its folder is where accounts are kept";
        return Err(Failure::Usage(sentence.into()));
    };
    let folder = registry.folder.display();
    let asked = accounts::ask(&registry.folder, command);
    match asked.map_err(|error| Failure::Machine(format!("cannot ask the server in {folder} ({error})")))? {
        Some(reply) => return Ok(reply),
        None => eprintln!("twincast-server admin: no server runs with {folder}: working on its file"),
    }
    let identities = Identities::load(config).map_err(|error| Failure::Usage(error.to_string()))?;
    let identities = identities.ok_or_else(|| {
        Failure::Usage(
            "no group of the configuration has accounts: identities = \"registered\" makes one".into(),
        )
    })?;
    accounts::command_on_file(config, &identities, command).map_err(|error| match error {
        RegistryError::Storage { .. } | RegistryError::Busy { .. } => Failure::Machine(error.to_string()),
        error => Failure::Usage(error.to_string()),
    })
}

impl Action {
    fn command(&self) -> Result<Command, String> {
        Ok(match self {
            Action::Add { group, user, key, from, epoch } => {
                let accounts = match (user, key, from) {
                    (Some(user), Some(key), _) => {
                        accounts::read_key(*user, key)?;
                        vec![(*user, key.clone())]
                    }
                    (_, _, Some(file)) => read_list(file)?,
                    _ => return Err("an account is a --user and its --key, or a line of --from FILE".into()),
                };
                Command::Add { group: *group, epoch: *epoch, accounts }
            }
            Action::Remove { group, user } => Command::Remove { group: *group, user: *user },
            Action::Rotate { group, user, key, epoch } => {
                accounts::read_key(*user, key)?;
                Command::Rotate { group: *group, user: *user, key: key.clone(), epoch: *epoch }
            }
            Action::List { group } | Action::Export { group } => Command::List { group: *group },
        })
    }
}

/// The accounts that a file lists.
fn read_list(file: &Path) -> Result<Vec<(u32, String)>, String> {
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("cannot read {} ({error})", file.display()))?;
    let lines = (1..).zip(text.lines().map(str::trim));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let account = |(number, line): (usize, &str)| match read_member(line) {
        Ok((user, key)) => Ok((user.0, hex::encode(key.to_bytes()))),
        Err(what) => Err(format!("{}, line {number}: {what}", file.display())),
    };
    lines.map(account).collect()
}

fn say(action: &Action, done: &Done) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match done {
        Done::Added(count) => {
            writeln!(out, "{count} account(s) added; they serve once the other server has them, too")?
        }
        Done::Removed => writeln!(out, "removed")?,
        Done::Rotated(epoch) => {
            writeln!(out, "new key from epoch {epoch} on; it serves once the other server has it, too")?;
        }
        Done::Listed(rows) if matches!(action, Action::Export { .. }) => {
            for row in rows {
                writeln!(out, "{}", serde_json::to_string(row).map_err(io::Error::other)?)?;
            }
        }
        Done::Listed(rows) => {
            writeln!(out, "GROUP USER EPOCH SERVES KEY")?;
            for Row { group, user, epoch, serves, key, .. } in rows {
                writeln!(out, "{group} {user} {epoch} {} {key}", if *serves { "yes" } else { "no" })?;
            }
        }
    }
    out.flush()
}
