//! The undo file: what was before, so that it can be again.
//!
//! It is read by root and may lie anywhere, so it is taken for what a stranger wrote: it names settings, never paths or
//! commands; each is checked by the rules for profiles; and a file that anybody else could have written is not read.

use super::change::{self, Change};
use super::interface;
use super::setting::{Trouble, Way};
use super::words::{count, shown};
use crate::TuneError;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use twincast_node::System;

/// The schema's name and version.
const SCHEMA: &str = "twincast-undo/1";

/// The file in bytes, at the most.
const BYTES_MAX: u64 = 4 << 20;

/// Where a system has its number, and where its board's is.
const SYSTEM_NUMBER: &str = "/etc/machine-id";
const BOARD_NUMBER: &str = "/sys/class/dmi/id/product_uuid";

/// Where undo files are unless they are named.
const FOLDER: &str = "/var/lib/twincast";

/// What brings a machine back to where it was.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UndoFile {
    schema: String,
    /// A hash of the system's own number.
    machine: String,
    /// One of its board's.
    #[serde(default)]
    board: String,
    /// Its name then.
    host: String,
    /// The kernel's number for the time since it started.
    boot: String,
    time: String,
    profile: String,
    changes: Vec<Change>,
}

/// Numbers of a machine, hashed: it is known by them, and nobody who reads the file learns them. Empty: it has none.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Machine {
    /// That of its system, which copies of its disk may have too.
    system: String,
    /// That of its board, which root alone can read.
    board: String,
}

impl Machine {
    fn here(system: &System) -> Machine {
        let number = |path: &str| {
            let number = system.read(path).unwrap_or_default().to_ascii_lowercase();
            // A system that is to get its number later says so; boards of a careless maker all have the same.
            let is_none = number == "uninitialized" || number.trim_matches(['0', '-']).is_empty();
            if is_none || number.trim_matches(['f', '-']).is_empty() {
                return String::new();
            }
            let digest = Sha256::digest(format!("{SCHEMA} {number}"));
            digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
        };
        Machine { system: number(SYSTEM_NUMBER), board: number(BOARD_NUMBER) }
    }

    /// Whether both have the same numbers, as far as both have any; none where there is none that both have.
    fn is(&self, other: &Machine) -> Option<bool> {
        let pairs = [(&self.system, &other.system), (&self.board, &other.board)];
        let mut pairs =
            pairs.into_iter().filter(|(one, other)| !one.is_empty() && !other.is_empty()).peekable();
        pairs.peek()?;
        Some(pairs.all(|(one, other)| one == other))
    }
}

/// Why no undo file of this machine could be known again, if that is so.
pub(super) fn nameless(system: &System) -> Option<String> {
    let Machine { system, board } = Machine::here(system);
    (system.is_empty() && board.is_empty()).then(|| {
        format!(
            "this machine has no number by which its undo file could be known again ({SYSTEM_NUMBER} is empty or missing, and \
             {BOARD_NUMBER} cannot be read): `systemd-machine-id-setup` gives it one"
        )
    })
}

fn boot(system: &System) -> String {
    system.read("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

/// An undo file's place, which is free.
pub(super) struct Place {
    pub(super) path: PathBuf,
    /// The folder that is made for it, if it is made.
    folder: Option<PathBuf>,
}

impl Place {
    /// The one that was named, else one named after the time.
    pub(super) fn new(system: &System, named: Option<&Path>) -> Result<Place, TuneError> {
        let path = named.map_or_else(
            || {
                let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H%M%SZ").to_string();
                system.path(&format!("{FOLDER}/undo-{time}.json"))
            },
            Path::to_owned,
        );
        if path.symlink_metadata().is_ok() {
            return Err(TuneError::Usage(format!(
                "--undo {}: is there already, and may be all that undoes an earlier profile: name another file",
                path.display()
            )));
        }
        let folder = match (named, path.parent()) {
            (None, Some(folder)) if !folder.exists() => Some(folder.to_owned()),
            _ => None,
        };
        Ok(Place { path, folder })
    }

    /// Writes the file, durably, before the first change: mode 0600, whole or not at all, over nothing.
    pub(super) fn write(&self, system: &System, profile: &str, changes: &[Change]) -> Result<(), TuneError> {
        let machine = Machine::here(system);
        let file = UndoFile {
            schema: SCHEMA.into(),
            machine: machine.system,
            board: machine.board,
            host: system.hostname(),
            boot: boot(system),
            time: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            profile: profile.into(),
            changes: changes.to_vec(),
        };
        let mut text = serde_json::to_vec_pretty(&file).expect("no keys but strings");
        text.push(b'\n');
        let written = || -> io::Result<()> {
            if let Some(folder) = &self.folder {
                std::fs::create_dir_all(folder)?;
            }
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
            temporary.write_all(&text)?;
            temporary.as_file().sync_all()?;
            temporary.persist_noclobber(&self.path)?;
            File::open(folder)?.sync_all()
        };
        written().map_err(|error| {
            self.remove();
            TuneError::Failed(format!(
                "--undo {}: {error}; nothing was changed: name a file in a folder that can be written to",
                self.path.display()
            ))
        })
    }

    /// Takes it away again, after everything is as it was.
    pub(super) fn remove(&self) {
        // Whatever fails here, the machine is as it was, and the file says so when it is used.
        let _ = std::fs::remove_file(&self.path);
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir(folder);
        }
    }
}

impl UndoFile {
    /// Reads one and makes sure that it can be meant for this machine and names nothing that a profile may not set.
    /// `force`: also after it was given another name.
    pub(super) fn load(system: &System, path: &Path, force: bool) -> Result<UndoFile, TuneError> {
        let wrong =
            |why: String| TuneError::Usage(format!("--undo {}: {why}; nothing was changed", path.display()));
        let text = read(path).map_err(&wrong)?;
        let file: UndoFile = serde_json::from_str(&text)
            .map_err(|error| wrong(format!("is no undo file of twincast-tune: {error}")))?;
        if file.schema != SCHEMA {
            return Err(wrong(format!("is of schema {}; this program reads {SCHEMA}", shown(&file.schema))));
        }
        let its = Machine { system: file.machine.clone(), board: file.board.clone() };
        let (there, here) = (shown(&file.host), system.hostname());
        match its.is(&Machine::here(system)) {
            Some(true) => {}
            Some(false) => {
                return Err(wrong(format!(
                    "was written on another machine, {there}, and this is {here}: use it there, and here the file that was \
                     written here"
                )));
            }
            None => {
                return Err(wrong(format!(
                    "was written on a machine named {there}, and whether this is it cannot be told: {SYSTEM_NUMBER} is empty \
                     or missing, and {BOARD_NUMBER} can be read by root at the most; put that number back where it was"
                )));
            }
        }
        // Copies of a disk have one number, and a name each.
        if file.host != here && !force {
            return Err(wrong(format!(
                "was written when this machine was named {there}, and it is named {here} now, as a copy of its disk would be: \
                 if it is the same machine, --force undoes it all the same"
            )));
        }
        for change in &file.changes {
            let back = change.setting.check(&change.before, Way::Back);
            back.and_then(|()| change.setting.check(&change.after, Way::There))
                .map_err(|why| wrong(format!("holds what twincast-tune does not write: {why}")))?;
        }
        Ok(file)
    }

    /// What there is to put back: read, compared and told. The last change comes first.
    pub(super) fn plan(&self, system: &System, force: bool) -> UndoPlan {
        let mut plan = UndoPlan::default();
        let restarted = self.boot != boot(system);
        for change in self.changes.iter().rev() {
            if restarted && !change.setting.stays() {
                plan.gone += 1;
                continue;
            }
            let what = change.setting.what();
            if let Some(name) = change.setting.interface()
                && interface::check(system, name).is_err()
            {
                plan.told.push(format!("not on this machine any more: {what}"));
                continue;
            }
            match change.setting.read(system) {
                Ok(now) if now == change.before => plan.same += 1,
                Ok(now) if now == change.after || force => {
                    plan.changes.push(Change { after: now, ..change.clone() });
                }
                Ok(now) => plan.told.push(format!(
                    "left alone: {what} is {} now, which the profile did not set (it set {}; before that it was {}): \
                     --force puts it back all the same",
                    shown(&now),
                    shown(&change.after),
                    shown(&change.before)
                )),
                Err(Trouble::Absent(why)) => {
                    plan.told.push(format!("not on this machine any more: {what} ({why})"));
                }
                Err(Trouble::NoProgram(program)) => plan.troubles.push(format!("{what}: {program} is not installed")),
                Err(Trouble::Failed(why)) => plan.troubles.push(format!("{what}: {why}")),
            }
        }
        plan
    }

    /// Its origin, for a person.
    pub(super) fn about(&self) -> String {
        format!(
            "undoes profile {} of {}: {}",
            shown(&self.profile),
            shown(&self.time),
            count(self.changes.len(), "setting")
        )
    }
}

/// What is to be put back.
#[derive(Debug, Default)]
pub(super) struct UndoPlan {
    pub(super) changes: Vec<Change>,
    /// How many are as they were before.
    pub(super) same: usize,
    /// How many went with a restart.
    pub(super) gone: usize,
    /// What is left alone, and why.
    pub(super) told: Vec<String>,
    /// What cannot be read.
    pub(super) troubles: Vec<String>,
}

/// Puts back what can be: one that fails does not keep the others from it. Gives the sentences of those that failed.
pub(super) fn put_back(system: &System, changes: &[Change], stop: &dyn Fn() -> bool) -> Vec<String> {
    let mut failed = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        if stop() {
            let left = count(changes.len() - index, "setting");
            failed.push(format!("stopped by a signal: {left} are left"));
            break;
        }
        match change::set(system, change, Way::Back) {
            Ok(()) => {}
            Err(Trouble::Absent(why) | Trouble::Failed(why)) => failed.push(why),
            Err(Trouble::NoProgram(program)) => failed.push(format!("{program} is not there any more")),
        }
    }
    failed
}

/// The text of a file that nobody but this user or root can have written.
fn read(path: &Path) -> Result<String, String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| match error {
        rustix::io::Errno::LOOP => "is a symbolic link: name the file itself".to_owned(),
        _ => io::Error::from(error).to_string(),
    })?;
    let file = File::from(opened);
    let about = file.metadata().map_err(|error| error.to_string())?;
    if !about.is_file() || about.len() > BYTES_MAX {
        return Err("is no undo file of twincast-tune".into());
    }
    let user = rustix::process::geteuid().as_raw();
    if about.uid() != 0 && about.uid() != user {
        return Err(format!(
            "belongs to user {}, who could write anything into it: it has to be yours or root's",
            about.uid()
        ));
    }
    if about.mode() & 0o022 != 0 {
        return Err(format!(
            "can be written by others (mode {:04o}): `chmod 600` it once you have read it",
            about.mode() & 0o7777
        ));
    }
    let mut text = String::new();
    file.take(BYTES_MAX).read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok(text)
}
