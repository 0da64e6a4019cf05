//! A box that is a file for each epoch.
//!
//! # The file
//!
//! `twincast-s2-group-G-epoch-E.parts`, mode 0600. All integers are little-endian.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `TWINPART` |
//! | 8 | 4 | version of this format, 1 |
//! | 12 | 4 | group |
//! | 16 | 4 | epoch |
//! | 20 | 4 | members of the epoch, n |
//! | 24 | | regions, one after the other |
//!
//! A region is one sender's set of parts: `purpose u32, sender u32, slot u32, 0 u32, bytes u64`, then the parts, one
//! for each member ascending. It is appended whole when it is set aside, and zero where nothing has been written yet.
//!
//! The file is of use to the server that wrote it alone, for as long as its epoch: where each region lies is kept in
//! memory. What an earlier run left in the folder is removed at start. S2's parts say nothing without S1's.

use super::{PartsBox, PartsKey};
use crate::limits::{BOX_FILE_HEAD_BYTES, BOX_REGION_HEAD_BYTES};
use crate::metrics::Metrics;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use twincast_protocol::ids::{Epoch, GroupId, ServerSide};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{Immutable, IntoBytes, Unaligned};

const MAGIC: [u8; 8] = *b"TWINPART";
const VERSION: u32 = 1;
/// How the file of a box ends.
const ENDING: &str = ".parts";

#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct FileHead {
    magic: [u8; 8],
    version: U32,
    group: U32,
    epoch: U32,
    members: U32,
}

#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct RegionHead {
    purpose: U32,
    sender: U32,
    slot: U32,
    reserved: U32,
    bytes: U64,
}

const _: () = assert!(size_of::<FileHead>() as u64 == BOX_FILE_HEAD_BYTES);
const _: () = assert!(size_of::<RegionHead>() as u64 == BOX_REGION_HEAD_BYTES);

/// Why a server cannot keep boxes: the operator's doing; nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BoxError {
    /// The folder does not exist, or may not be written.
    #[error(
        "cannot use box.folder {folder} ({error}): make it (`mkdir -m 700 {folder}`) or choose another one"
    )]
    Folder {
        /// Which.
        folder: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// Another server has its boxes there, and would lose them.
    #[error("box.folder {folder} is in use by another S{side}: give each server a folder of its own")]
    InUse {
        /// Which.
        folder: String,
        /// The side of both.
        side: usize,
    },
}

/// The folder in which a server keeps its boxes, for as long as it runs.
#[derive(Debug)]
pub struct BoxFolder {
    path: PathBuf,
    side: ServerSide,
    bytes_max: u64,
    /// Locked, so that no other server of this side uses the folder.
    lock: File,
}

impl BoxFolder {
    /// Takes a folder, and removes the boxes of earlier runs from it. `bytes_max`: for one group and epoch.
    ///
    /// # Errors
    /// [`BoxError`], with the remedy.
    pub fn open(path: &Path, side: ServerSide, bytes_max: u64) -> Result<BoxFolder, BoxError> {
        let name = || path.display().to_string();
        let wrong = |error| BoxError::Folder { folder: name(), error };
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join(format!("{}.lock", prefix(side))))
            .map_err(wrong)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => BoxError::InUse { folder: name(), side: side.index() + 1 },
            TryLockError::Error(error) => wrong(error),
        })?;
        let folder = BoxFolder { path: path.to_owned(), side, bytes_max, lock };
        folder.clear().map_err(wrong)?;
        Ok(folder)
    }

    /// Bytes that the folder's disk has room for now, if it says.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&self.path).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Removes all boxes, and leaves the folder to other servers. For a server that has stopped.
    pub fn release(&self) {
        if let Err(error) = self.clear().and_then(|()| self.lock.unlock()) {
            tracing::warn!(folder = %self.path.display(), %error, "boxes of a server that has stopped stay");
        }
    }

    fn clear(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let ours = entry
                .file_name()
                .to_str()
                .is_some_and(|file| file.starts_with(&prefix(self.side)) && file.ends_with(ENDING));
            if ours {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// The box of a group.
    #[must_use]
    pub fn group(self: &Arc<BoxFolder>, group: GroupId, metrics: Arc<Metrics>) -> FileBox {
        FileBox { folder: self.clone(), group, metrics, epochs: HashMap::new() }
    }

    fn file(&self, group: GroupId, epoch: Epoch) -> PathBuf {
        self.path.join(format!("{}-group-{group}-epoch-{epoch}{ENDING}", prefix(self.side)))
    }
}

fn prefix(side: ServerSide) -> String {
    format!("twincast-s{}", side.index() + 1)
}

/// The box of one group.
#[derive(Debug)]
pub struct FileBox {
    folder: Arc<BoxFolder>,
    group: GroupId,
    metrics: Arc<Metrics>,
    epochs: HashMap<Epoch, EpochFile>,
}

#[derive(Debug)]
struct EpochFile {
    file: File,
    path: PathBuf,
    members: usize,
    /// Where the next region goes.
    end: u64,
    regions: HashMap<PartsKey, Region>,
}

#[derive(Clone, Copy, Debug)]
struct Region {
    /// Of the first part.
    offset: u64,
    bytes: usize,
}

impl FileBox {
    fn create(&self, epoch: Epoch, members: usize) -> io::Result<EpochFile> {
        let path = self.folder.file(self.group, epoch);
        let file =
            OpenOptions::new().create(true).truncate(true).read(true).write(true).mode(0o600).open(&path)?;
        let head = FileHead {
            magic: MAGIC,
            version: VERSION.into(),
            group: self.group.0.into(),
            epoch: epoch.0.into(),
            members: (members as u32).into(),
        };
        file.write_all_at(head.as_bytes(), 0)?;
        self.metrics.box_bytes.fetch_add(BOX_FILE_HEAD_BYTES, Relaxed);
        Ok(EpochFile { file, path, members, end: BOX_FILE_HEAD_BYTES, regions: HashMap::new() })
    }

    /// The file, and where in it the bytes `at .. at + bytes` of a key lie.
    fn place(&self, key: PartsKey, at: usize, bytes: usize) -> io::Result<(&File, u64)> {
        let epoch = self.epochs.get(&key.epoch);
        let region = epoch.and_then(|epoch| epoch.regions.get(&key));
        let within = |region: &&Region| at.checked_add(bytes).is_some_and(|end| end <= region.bytes);
        let region = region.filter(within).ok_or_else(|| invalid("no room was set aside for these parts"))?;
        Ok((&epoch.expect("it has the region").file, region.offset + at as u64))
    }
}

impl PartsBox for FileBox {
    fn reserve(&mut self, key: PartsKey, bytes: usize) -> io::Result<bool> {
        let part_bytes = key.kind.bytes();
        if bytes == 0 || !bytes.is_multiple_of(part_bytes) {
            return Err(invalid("parts of another size"));
        }
        let (members, bytes_max) = (bytes / part_bytes, self.folder.bytes_max);
        let needed = BOX_REGION_HEAD_BYTES + bytes as u64;
        let end = self.epochs.get(&key.epoch).map_or(BOX_FILE_HEAD_BYTES, |epoch| epoch.end);
        let known = self.epochs.get(&key.epoch).and_then(|epoch| epoch.regions.get(&key));
        match known {
            Some(region) if region.bytes == bytes => return Ok(true),
            Some(_) => return Err(invalid("room of another size was set aside for these parts")),
            None => {}
        }
        if end.checked_add(needed).is_none_or(|end| end > bytes_max) {
            return Ok(false);
        }
        if !self.epochs.contains_key(&key.epoch) {
            let created = self.create(key.epoch, members)?;
            self.epochs.insert(key.epoch, created);
        }
        let epoch = self.epochs.get_mut(&key.epoch).expect("it was made");
        if epoch.members != members {
            return Err(invalid("parts for another number of members"));
        }
        match extend(&epoch.file, end, needed) {
            Ok(()) => {}
            Err(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => {
                tracing::warn!(
                    group = self.group.0,
                    "the disk of box.folder is full: a sender's parts are not kept"
                );
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
        let head = RegionHead {
            purpose: u32::from(key.kind.number()).into(),
            sender: key.sender.0.into(),
            slot: key.slot.0.into(),
            reserved: 0.into(),
            bytes: (bytes as u64).into(),
        };
        epoch.file.write_all_at(head.as_bytes(), end)?;
        epoch.regions.insert(key, Region { offset: end + BOX_REGION_HEAD_BYTES, bytes });
        epoch.end = end + needed;
        self.metrics.box_bytes.fetch_add(needed, Relaxed);
        Ok(true)
    }

    fn write(&mut self, key: PartsKey, at: usize, bytes: &[u8]) -> io::Result<()> {
        let (file, offset) = self.place(key, at, bytes.len())?;
        file.write_all_at(bytes, offset)
    }

    fn read(&mut self, key: PartsKey, at: usize, out: &mut [u8]) -> io::Result<()> {
        let (file, offset) = self.place(key, at, out.len())?;
        file.read_exact_at(out, offset)
    }

    fn forget(&mut self, epoch: Epoch) {
        let Some(forgotten) = self.epochs.remove(&epoch) else { return };
        self.metrics.box_bytes.fetch_sub(forgotten.end, Relaxed);
        if let Err(error) = std::fs::remove_file(&forgotten.path) {
            tracing::warn!(file = %forgotten.path.display(), %error, "the box of an epoch that is over stays");
        }
    }
}

impl Drop for FileBox {
    fn drop(&mut self) {
        let epochs: Vec<Epoch> = self.epochs.keys().copied().collect();
        epochs.into_iter().for_each(|epoch| self.forget(epoch));
    }
}

/// Makes the file so much longer, with zeros, so that what is written there later finds room on the disk.
fn extend(file: &File, end: u64, bytes: u64) -> Result<(), Errno> {
    match fallocate(file, FallocateFlags::empty(), end, bytes) {
        // Not every file system can: there a full disk shows only when parts are written.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => rustix::fs::ftruncate(file, end + bytes),
        outcome => outcome,
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
