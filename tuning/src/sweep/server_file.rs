//! The server configuration that a search writes: a file of the user's own, or the commented example, in which nothing is
//! changed but what was tuned.

use super::knobs::{Candidate, Knob};
use super::outcome::Outcome;
use super::space::Space;
use super::table::counted;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, Item, Table, Value};
use twincast_loadgen::plan::{Plan, ServerSettings};
use twincast_server::config::{Config, Cores, CoresNamed, EXAMPLE, FanOut, ZeroCopy};

/// Columns of a line of comment.
const COLUMNS: usize = 118;

/// What a search begins with.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    text: String,
    config: Config,
    /// Where it is; none: the example.
    path: Option<PathBuf>,
}

/// A file that is written in the end and is not there before.
#[derive(Clone, Debug)]
pub(crate) struct Out(PathBuf);

impl Base {
    /// A user's own file, or the example.
    ///
    /// # Errors
    /// A sentence: it cannot be read, or is no configuration.
    pub(crate) fn read(path: Option<&Path>) -> Result<Base, String> {
        let text = match path {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| format!("--config {}: {error}", path.display()))?,
            None => EXAMPLE.to_owned(),
        };
        let config = Config::from_toml(&text).map_err(|error| {
            let path = path.unwrap_or(Path::new("the example")).display();
            format!("--config {path}: {error}; twincast-server --check says the same")
        })?;
        Ok(Base { text, config, path: path.map(Path::to_owned) })
    }

    /// What it says of fan-out.
    pub(crate) fn fan_out(&self) -> &FanOut {
        &self.config.fan_out
    }

    /// Where its front executors run, if a user has said so.
    pub(crate) fn front_cores(&self) -> Option<&Cores> {
        self.path.as_ref().map(|_| &self.config.front.cores)
    }

    /// The file, with the settings of a plan: what differs, with a comment above it.
    ///
    /// # Errors
    /// A sentence: what comes out is no configuration.
    pub(crate) fn with(
        &self,
        plan: &Plan,
        head: &str,
        comment: impl Fn(Knob) -> String,
    ) -> Result<String, String> {
        let mut document: DocumentMut =
            self.text.parse().map_err(|error: toml_edit::TomlError| error.to_string())?;
        let (is, was) = (settings(&plan.server), of_fan_out(self.fan_out()));
        for ((knob, value), (_, old)) in is.into_iter().zip(was) {
            if value.to_string() != old.to_string() {
                put(&mut document, knob.key().expect("a server has it"), value, &comment(knob))?;
            }
        }
        let text = format!("{head}{document}");
        Config::from_toml(&text).map_err(|error| error.to_string())?;
        Ok(text)
    }

    /// What a search writes: the best, with what was measured of it.
    ///
    /// # Errors
    /// A sentence: what comes out is no configuration.
    pub(crate) fn tuned(&self, space: &Space, outcome: &Outcome) -> Result<String, String> {
        let best = space.plan_of(&outcome.best);
        self.with(&best, &head(outcome, self.path.as_deref()), |knob| comment(knob, outcome))
    }

    /// Whether a candidate is a configuration.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check(&self, space: &Space, candidate: &Candidate) -> Result<(), String> {
        self.with(&space.plan_of(candidate), "", |_| String::new()).map(drop)
    }
}

impl Out {
    /// Finds out whether it can be written.
    ///
    /// # Errors
    /// A sentence: it is there already, or cannot be made.
    pub(crate) fn new(path: &Path) -> Result<Out, String> {
        let refused = |what: String| format!("--out {}: {what}", path.display());
        if path.symlink_metadata().is_ok() {
            return Err(refused("it is there already, and is not written over; name another file".into()));
        }
        if path.file_name().is_none() {
            return Err(refused("is no name of a file".into()));
        }
        tempfile::NamedTempFile::new_in(directory(path)).map_err(|error| {
            refused(format!("{error}; give a file in a directory that exists and may be written to"))
        })?;
        Ok(Out(path.to_owned()))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes it, whole; what has come to be there since is left as it is.
    ///
    /// # Errors
    /// A sentence with the path.
    pub(crate) fn write(&self, text: &str) -> Result<(), String> {
        use std::os::unix::fs::PermissionsExt as _;
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(directory(&self.0))?;
            file.write_all(text.as_bytes())?;
            file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
            file.as_file().sync_all()?;
            file.persist_noclobber(&self.0)?;
            Ok(())
        };
        write().map_err(|error| format!("--out {}: {error}", self.0.display()))
    }
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The settings of a server that a search tells, as values of its configuration.
fn settings(server: &ServerSettings) -> Vec<(Knob, Value)> {
    let number = |number: Option<usize>| Value::from(number.unwrap_or(0) as i64);
    let zero_copy = match server.zero_copy.unwrap_or_default() {
        ZeroCopy::Auto => "auto",
        ZeroCopy::On => "on",
        ZeroCopy::Off => "off",
    };
    let cores = match server.fan_out_cores.clone().unwrap_or_default() {
        Cores::Named(CoresNamed::Auto) => "auto".into(),
        Cores::Named(CoresNamed::None) => "none".into(),
        Cores::List(list) => Value::from_iter(list.into_iter().map(|core| core as i64)),
    };
    vec![
        (Knob::FanOutThreads, number(server.fan_out_threads)),
        (Knob::FanOutCores, cores),
        (Knob::SlabBytes, number(server.slab_bytes)),
        (Knob::SlabsPerConnection, number(server.slabs)),
        (Knob::ZeroCopy, zero_copy.into()),
        (Knob::ZeroCopyBytesMin, number(server.zero_copy_bytes_min)),
        (Knob::SendBufferBytes, number(server.send_buffer_bytes)),
    ]
}

fn of_fan_out(fan_out: &FanOut) -> Vec<(Knob, Value)> {
    settings(&ServerSettings {
        fan_out_threads: Some(fan_out.threads),
        fan_out_cores: Some(fan_out.cores.clone()),
        front_cores: None,
        slab_bytes: Some(fan_out.slab_bytes),
        slabs: Some(fan_out.slabs),
        zero_copy: Some(fan_out.zero_copy),
        zero_copy_bytes_min: Some(fan_out.zero_copy_bytes_min),
        send_buffer_bytes: Some(fan_out.send_buffer_bytes),
    })
}

/// Puts a key of `[fan_out]`, with the comments that it has and one more.
fn put(document: &mut DocumentMut, key: &str, mut value: Value, comment: &str) -> Result<(), String> {
    let table = document.entry("fan_out").or_insert_with(|| Item::Table(Table::new()));
    let table = table.as_table_like_mut().ok_or("fan_out is no table")?;
    if let Some(old) = table.get(key).and_then(Item::as_value) {
        *value.decor_mut() = old.decor().clone();
    }
    match table.get_mut(key) {
        Some(item) => *item = Item::Value(value),
        None => drop(table.insert(key, Item::Value(value))),
    }
    // A table in one line has no room for comments.
    if let Some(table) = document["fan_out"].as_table_mut()
        && let Some(mut key) = table.key_mut(key)
    {
        let prefix = key.leaf_decor().prefix().and_then(|raw| raw.as_str()).unwrap_or_default();
        let prefix = format!("{prefix}{comment}");
        key.leaf_decor_mut().set_prefix(prefix);
    }
    Ok(())
}

/// What is said above a key that was changed.
fn comment(knob: Knob, outcome: &Outcome) -> String {
    let changes = &outcome.best.changes;
    let alone = outcome
        .effects
        .iter()
        .find(|effect| effect.knob == knob && changes.get(&knob).is_some_and(|value| *value == effect.value));
    let mut said = "twincast-tune sweep".to_owned();
    match alone.and_then(|effect| Some((effect, effect.better?))) {
        Some((effect, better)) => {
            let gain = outcome.settings.objective.gain();
            let _ = write!(said, ": alone {:+.1}% {gain} in the first rung", 100.0 * better);
            if effect.within_noise == Some(true) {
                said.push_str(", which is within its noise");
            }
            if changes.len() > 1 {
                said.push_str(", together as the head of this file says");
            }
        }
        None if changes.contains_key(&knob) => {
            said.push_str(": not measured alone, but together with the others")
        }
        None => said.push_str(": as the plan has it"),
    }
    if knob == Knob::SlabsPerConnection
        && let Some(each) = changes.get(&knob)
    {
        let _ = write!(said, "; {each} for each connection of a thread, in this plan");
    }
    said.push('.');
    lines(&said)
}

/// What is said at the beginning.
fn head(outcome: &Outcome, base: Option<&Path>) -> String {
    let (origin, plan) = (&outcome.origin, &outcome.plan);
    let mut text = lines(&format!(
        "Written by `twincast-tune sweep` at {}, for the plan {}: a group of {}, {}, link {} at MTU {}; from a machine \
         with {} of {}, {}.",
        origin.time,
        outcome.name,
        plan.group,
        counted(plan.hosts.into(), "host"),
        plan.link.rate,
        plan.link.mtu,
        counted(origin.cores, "core"),
        origin.cpu,
        origin.kernel
    ));
    text.push_str(&lines(&outcome.verdict));
    let base = base.map_or_else(
        || "the commented example, whose addresses, groups and folders are to be made your own".to_owned(),
        |path| path.display().to_string(),
    );
    text.push_str(&lines(&format!("All that is not commented on below is as in {base}.")));
    if outcome.best.changes.contains_key(&Knob::ConnectionsPerHost) {
        let users = outcome.users_per_connection;
        text.push_str(&lines(&format!(
            "Connections are a matter of clients, and not in this file: {} on one connection: so it was measured.",
            counted(users.into(), "user")
        )));
    }
    text.push('\n');
    text
}

/// Text as lines of comment.
fn lines(text: &str) -> String {
    let mut all = String::new();
    let mut line = "#".to_owned();
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > COLUMNS {
            let _ = writeln!(all, "{line}");
            line = "#".into();
        }
        let _ = write!(line, " {word}");
    }
    let _ = writeln!(all, "{line}");
    all
}

#[cfg(test)]
mod tests {
    use super::super::space::tests::space;
    use super::*;

    fn tuned(text: &str, turns: &[(Knob, super::super::knobs::Value)]) -> String {
        let base = Base { text: text.into(), config: Config::from_toml(text).unwrap(), path: None };
        let space = space(4);
        base.with(&space.plan_of(&space.turned(turns)), "# Head.\n", |knob| lines(&format!("Why {knob}.")))
            .unwrap()
    }

    const OWN: &str = "side = 1\nlisten = \"127.0.0.1:7701\"\n\n# Mine.\n[fan_out]\n# How many.\nthreads = 1 # one\n\n\
                       # Last.\n[[groups]]\nid = 0\nmembers = 10\n";

    #[test]
    fn only_what_is_tuned_is_changed_and_comments_stay() {
        let whole = super::super::knobs::Value::Whole;
        let text = tuned(OWN, &[(Knob::FanOutThreads, whole(2)), (Knob::SlabBytes, whole(65_536))]);
        let said = OWN.replace(
            "# How many.\nthreads = 1 # one\n",
            "# How many.\n# Why fan_out_threads.\nthreads = 2 # one\n# Why slab_bytes.\nslab_bytes = 65536\n",
        );
        assert_eq!(text, format!("# Head.\n{said}"));
        assert_eq!(tuned(OWN, &[]), format!("# Head.\n{OWN}"));
    }

    #[test]
    fn the_example_and_files_without_the_table_or_with_one_in_a_line_are_tuned_too() {
        let list = super::super::knobs::Value::Cores(Cores::List(vec![2, 3]));
        for text in [
            EXAMPLE.to_owned(),
            OWN.replace("# Mine.\n[fan_out]\n# How many.\nthreads = 1 # one\n", ""),
            OWN.replace("# Mine.\n[fan_out]\n# How many.\nthreads = 1 # one\n", "")
                .replace("side", "fan_out = { threads = 1 }\nside"),
        ] {
            let text = tuned(&text, &[(Knob::FanOutCores, list.clone())]);
            let config = Config::from_toml(&text).unwrap();
            assert_eq!(
                (config.fan_out.threads, config.fan_out.cores),
                (2, Cores::List(vec![2, 3])),
                "{text}"
            );
        }
    }

    #[test]
    fn a_file_that_is_there_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tuned.toml");
        let out = Out::new(&path).unwrap();
        std::fs::write(&path, "mine").unwrap();
        assert!(out.write("tuned").unwrap_err().contains("tuned.toml"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        assert!(Out::new(&path).unwrap_err().contains("is there already"));
        assert!(Out::new(Path::new("/no/such/folder/x")).unwrap_err().contains("directory that exists"));
        let other = Out::new(&folder.path().join("other.toml")).unwrap();
        other.write("tuned").unwrap();
        assert_eq!(std::fs::read_to_string(other.path()).unwrap(), "tuned");
    }
}
