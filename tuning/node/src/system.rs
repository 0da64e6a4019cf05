//! Where a machine is read: files below a root, and programs that say what no file says.

mod program;

use program::Programs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where the programs of root are.
const PATH_OF_ROOT: &str = "/usr/local/sbin:/usr/sbin:/sbin";

/// How long a program may take. Those that are asked here take milliseconds, and `ping` a few seconds.
const PROGRAM_TIME: Duration = Duration::from_secs(5);

/// A machine to read. Cheap to clone.
#[derive(Clone, Debug)]
pub struct System {
    root: PathBuf,
    programs: Option<PathBuf>,
    program_time: Duration,
    /// After which no program is at work any more.
    deadline: Option<Instant>,
    /// Those of all clones.
    at_work: Arc<Programs>,
}

impl System {
    /// This machine.
    #[must_use]
    pub fn here() -> System {
        System::of(PathBuf::from("/"), None)
    }

    /// A machine whose files lie below `root`, and whose programs (`ethtool`, `tc`, ..) are those of the folder
    /// `programs` and no others.
    #[must_use]
    pub fn at(root: &Path, programs: &Path) -> System {
        System::of(root.into(), Some(programs.into()))
    }

    fn of(root: PathBuf, programs: Option<PathBuf>) -> System {
        System { root, programs, program_time: PROGRAM_TIME, deadline: None, at_work: Arc::default() }
    }

    /// The same machine, each of whose programs may take so long; 5 s unless this is said.
    #[must_use]
    pub fn with_program_time(self, time: Duration) -> System {
        System { program_time: time, ..self }
    }

    /// The same machine, none of whose programs is waited for after that.
    #[must_use]
    pub fn until(self, deadline: Instant) -> System {
        System { deadline: Some(deadline), ..self }
    }

    /// Ends the programs that this and its clones have at work; those that they would start from here on are not started.
    /// Called when nobody waits for what they say any more.
    pub fn stop(&self) {
        self.at_work.stop();
    }

    /// Where a file of the machine is: `path` begins with a slash.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A file's text without white space around it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self, path: &str) -> io::Result<String> {
        std::fs::read_to_string(self.path(path)).map(|text| text.trim().to_owned())
    }

    /// A number in a file of its own; none where there is no such file, or something else is in it.
    #[must_use]
    pub fn number(&self, path: &str) -> Option<i64> {
        self.read(path).ok()?.parse().ok()
    }

    /// Runs a program and waits for it, a few seconds at the most. Programs of `/usr/sbin` are found too, where Debian has
    /// `ethtool` and `tc` out of the way of everybody but root. It is the first of a process group of its own, of which
    /// nothing is left when this returns.
    ///
    /// # Errors
    /// There is no such program (`NotFound`), or it cannot be started; it did not end in time (`TimedOut`); it prints
    /// without end; or [`System::stop`] was called (`Interrupted`).
    pub fn program(&self, name: &str, words: &[&str]) -> io::Result<Output> {
        let path = match &self.programs {
            Some(folder) => folder.join(name),
            None => PathBuf::from(name),
        };
        let mut command = Command::new(path);
        command.args(words).env("LC_ALL", "C");
        if self.programs.is_none() {
            let found = std::env::var("PATH").unwrap_or_default();
            command.env("PATH", format!("{found}:{PATH_OF_ROOT}"));
        }
        let now = Instant::now();
        let own = now + self.program_time;
        let deadline = self.deadline.map_or(own, |all| all.min(own));
        self.at_work.run(&mut command, deadline).map_err(|error| match error.kind() {
            ErrorKind::TimedOut => {
                let time = deadline.saturating_duration_since(now);
                io::Error::new(
                    ErrorKind::TimedOut,
                    format!("{name} said nothing in {} s", time.as_secs_f32().ceil()),
                )
            }
            ErrorKind::Interrupted => io::Error::new(ErrorKind::Interrupted, "nobody waits for it any more"),
            _ => error,
        })
    }

    /// The names in a folder, sorted, in the order of the numbers in them; none where it cannot be read.
    #[must_use]
    pub fn names(&self, path: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_by_key(|name| (number_at_end(name), name.clone()));
        names
    }

    /// Whether there is such a file or folder.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// The machine's name for itself.
    #[must_use]
    pub fn hostname(&self) -> String {
        self.read("/proc/sys/kernel/hostname").unwrap_or_else(|_| "unknown".into())
    }
}

/// `tx-10` comes after `tx-9`.
fn number_at_end(name: &str) -> u64 {
    let digits = name.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    digits.parse().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
