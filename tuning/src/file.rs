//! Files that are written whole or not at all, and tried before the work that they are for.

use crate::TuneError;
use serde::Serialize;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// A JSON file that the user named with a flag.
#[derive(Debug)]
pub(crate) struct JsonFile {
    flag: &'static str,
    path: PathBuf,
}

impl JsonFile {
    /// Finds out whether it can be written; what is in it stays until [`JsonFile::write`].
    pub(crate) fn open(flag: &'static str, told: &Path) -> Result<JsonFile, TuneError> {
        let path = std::fs::canonicalize(told).unwrap_or_else(|_| told.to_owned());
        let file = JsonFile { flag, path };
        file.probe().map_err(|error| {
            TuneError::Usage(format!(
                "{flag} {}: {error}; give a file in a directory that exists and may be written to",
                told.display()
            ))
        })?;
        Ok(file)
    }

    /// Takes the place of what was there.
    pub(crate) fn write(&self, value: &impl Serialize) -> Result<(), TuneError> {
        let mut text = serde_json::to_vec_pretty(value).expect("figures have no keys but strings");
        text.push(b'\n');
        self.replace(&text)
            .map_err(|error| TuneError::Failed(format!("{} {}: {error}", self.flag, self.path.display())))
    }

    /// A terminal, a pipe or a device is written to as it is.
    fn is_replaced(&self) -> bool {
        std::fs::metadata(&self.path).map_or(true, |metadata| metadata.is_file())
    }

    fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }

    fn probe(&self) -> io::Result<()> {
        if self.path.exists() {
            drop(OpenOptions::new().append(true).open(&self.path)?);
        }
        if self.is_replaced() {
            self.path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
            drop(tempfile::NamedTempFile::new_in(self.directory())?);
        }
        Ok(())
    }

    fn replace(&self, text: &[u8]) -> io::Result<()> {
        if !self.is_replaced() {
            return OpenOptions::new().write(true).open(&self.path)?.write_all(text);
        }
        let mut file = tempfile::NamedTempFile::new_in(self.directory())?;
        file.write_all(text)?;
        let mode = std::fs::metadata(&self.path).map_or(0o644, |old| old.permissions().mode());
        file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
    }
}
