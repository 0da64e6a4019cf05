//! Where a machine is read: files below a root, and programs that say what no file says.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where the programs of root are.
const PATH_OF_ROOT: &str = "/usr/local/sbin:/usr/sbin:/sbin";

/// A machine to read. Cheap to clone.
#[derive(Clone, Debug)]
pub struct System {
    root: PathBuf,
    programs: Option<PathBuf>,
}

impl System {
    /// This machine.
    #[must_use]
    pub fn here() -> System {
        System { root: PathBuf::from("/"), programs: None }
    }

    /// A machine whose files lie below `root`, and whose programs (`ethtool`, `tc`, ..) are those of the folder
    /// `programs` and no others.
    #[must_use]
    pub fn at(root: &Path, programs: &Path) -> System {
        System { root: root.into(), programs: Some(programs.into()) }
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

    /// Runs a program and waits for it. Programs of `/usr/sbin` are found too, where Debian has `ethtool` and `tc` out
    /// of the way of everybody but root.
    ///
    /// # Errors
    /// There is no such program (`NotFound`), or it cannot be started.
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
        command.output()
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
