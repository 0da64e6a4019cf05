//! Where a machine is read: files below a root, and programs that say what no file says.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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

    /// Runs a program and waits for it.
    ///
    /// # Errors
    /// There is no such program (`NotFound`), or it cannot be started.
    pub fn program(&self, name: &str, words: &[&str]) -> io::Result<Output> {
        let path = match &self.programs {
            Some(folder) => folder.join(name),
            None => PathBuf::from(name),
        };
        Command::new(path).args(words).env("LC_ALL", "C").output()
    }

    /// The machine's name for itself.
    #[must_use]
    pub fn hostname(&self) -> String {
        self.read("/proc/sys/kernel/hostname").unwrap_or_else(|_| "unknown".into())
    }
}
