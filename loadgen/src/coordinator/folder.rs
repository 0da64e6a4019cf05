//! A folder of the run's own, which is gone when the run is.

use crate::maker::Maker;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// What every name begins with; its maker follows, and a random number.
const PREFIX: &str = "twincast-loadgen-";

/// A folder that nobody else may look into, removed with all that is in it when dropped.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes one where the system keeps temporary files. What killed runs have left of theirs is removed first.
    pub(crate) fn new() -> io::Result<Folder> {
        Folder::within(&std::env::temp_dir())
    }

    fn within(parent: &Path) -> io::Result<Folder> {
        clean_up_stale(parent);
        // Nobody can know the name before it is there, and stand in its way.
        let name = format!("{PREFIX}{}-{:016x}", Maker::this(), rand::random::<u64>());
        let path = parent.join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Folder(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Removes folders of makers that are dead; those of other users are theirs, and stay.
fn clean_up_stale(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let maker = name.strip_prefix(PREFIX).and_then(Maker::of);
        if maker.is_some_and(|(maker, _)| !maker.lives()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_there_for_its_owner_until_it_is_dropped() {
        use std::os::unix::fs::PermissionsExt as _;
        let (one, other) = (Folder::new().unwrap(), Folder::new().unwrap());
        assert_ne!(one.path(), other.path());
        assert_eq!(std::fs::metadata(one.path()).unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::write(one.path().join("box"), "x").unwrap();
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists() && other.path().exists());
    }

    #[test]
    fn what_a_killed_run_left_goes_and_what_lives_or_is_of_others_stays() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: String| {
            let path = parent.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("box"), "x").unwrap();
            path
        };
        let this = std::process::id();
        let killed = [make(format!("{PREFIX}{}-5-0a", u32::MAX)), make(format!("{PREFIX}{this}-5-0a"))];
        let others = [make(format!("{PREFIX}notes")), make("something-1-2-3".into())];
        let living = Folder::within(parent.path()).unwrap();
        let _another = Folder::within(parent.path()).unwrap();
        assert!(killed.iter().all(|path| !path.exists()));
        assert!(others.iter().all(|path| path.exists()) && living.path().exists());
    }
}
