//! The file of `--json`, which is whole or as it was: a disk that is full costs nobody the result of an earlier run.

use crate::coordinator::RunError;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The file of `--json`, tried before the run, so that a bad path costs nobody a run.
#[derive(Debug)]
pub(crate) struct JsonFile {
    /// As the user gave it.
    told: PathBuf,
    /// What is replaced: behind all links.
    path: PathBuf,
}

impl JsonFile {
    /// Finds out whether the file can be written; what is in it stays until [`JsonFile::write`].
    ///
    /// # Errors
    /// [`RunError::Usage`]: it cannot be made or written to.
    pub(crate) fn open(told: &Path) -> Result<JsonFile, RunError> {
        let refused = |error: io::Error| {
            RunError::Usage(format!(
                "--json {}: {error}; give a file in a directory that exists and may be written to",
                told.display()
            ))
        };
        let path = std::fs::canonicalize(told).unwrap_or_else(|_| told.to_owned());
        let file = JsonFile { told: told.to_owned(), path };
        file.probe().map_err(refused)?;
        Ok(file)
    }

    /// Writes the result in place of what was there.
    ///
    /// # Errors
    /// [`RunError::Report`], which names the path: what was there before is still there.
    pub(crate) fn write(&self, result: &impl Serialize) -> Result<(), RunError> {
        let mut text = serde_json::to_vec_pretty(result).expect("a result has no keys but strings");
        text.push(b'\n');
        self.replace(&text).map_err(|error| {
            let path = self.told.display();
            RunError::Report(io::Error::new(error.kind(), format!("--json {path}: {error}")))
        })
    }

    fn probe(&self) -> io::Result<()> {
        if self.path.exists() {
            drop(OpenOptions::new().append(true).open(&self.path)?);
        }
        if self.is_replaced() {
            self.part().map(|(part, _)| drop(std::fs::remove_file(part)))?;
        }
        Ok(())
    }

    /// Whether a new file takes its place: a terminal, a pipe or a device is written to as it is.
    fn is_replaced(&self) -> bool {
        std::fs::metadata(&self.path).map_or(true, |metadata| metadata.is_file())
    }

    /// A new file beside it, for this process alone.
    fn part(&self) -> io::Result<(PathBuf, File)> {
        let name = self.path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        let name = format!(".{}.{}.part", name.to_string_lossy(), std::process::id());
        let part = self.path.with_file_name(name);
        // What an earlier process of the same number has left.
        let _ = std::fs::remove_file(&part);
        OpenOptions::new().write(true).create_new(true).open(&part).map(|file| (part, file))
    }

    fn replace(&self, text: &[u8]) -> io::Result<()> {
        if !self.is_replaced() {
            return OpenOptions::new().write(true).open(&self.path)?.write_all(text);
        }
        let (part, mut file) = self.part()?;
        let written = file.write_all(text).and_then(|()| file.sync_all()).and_then(|()| {
            if let Ok(old) = std::fs::metadata(&self.path) {
                file.set_permissions(old.permissions())?;
            }
            std::fs::rename(&part, &self.path)
        });
        written.inspect_err(|_| drop(std::fs::remove_file(&part)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_path_that_cannot_be_written_is_wrong_usage() {
        for path in ["/no/such/directory/x.json", "/tmp", ""] {
            let Err(RunError::Usage(sentence)) = JsonFile::open(Path::new(path)) else {
                panic!("{path} is no file that can be written");
            };
            assert!(sentence.contains(&format!("--json {path}: ")), "{sentence}");
        }
    }

    #[test]
    fn a_run_without_a_result_leaves_things_as_they_were() {
        let directory = tempfile::tempdir().unwrap();
        let (new, old) = (directory.path().join("new.json"), directory.path().join("old.json"));
        std::fs::write(&old, "{}").unwrap();
        drop(JsonFile::open(&new).unwrap());
        drop(JsonFile::open(&old).unwrap());
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "{}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_result_takes_the_place_of_the_old_one_whole_and_behind_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let (old, link) = (directory.path().join("old.json"), directory.path().join("link.json"));
        std::fs::write(&old, "{\"long\": \"and not to be cut into\"}").unwrap();
        std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&old, &link).unwrap();
        // Whoever has the old one open goes on reading it: it was replaced and not written over.
        let mut reader = File::open(&old).unwrap();
        JsonFile::open(&link).unwrap().write(&[1, 2]).unwrap();
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "[\n  1,\n  2\n]\n");
        assert_eq!(std::fs::metadata(&old).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(io::read_to_string(&mut reader).unwrap().starts_with("{\"long\""));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_cannot_be_written_in_the_end_is_told_with_its_path() {
        let file = JsonFile::open(Path::new("/dev/full")).unwrap();
        let error = file.write(&1).unwrap_err();
        assert!(matches!(error, RunError::Report(_)));
        assert!(error.to_string().contains("--json /dev/full: No space left"), "{error}");
        JsonFile::open(Path::new("/dev/null")).unwrap().write(&1).unwrap();
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    }
}
