//! A file that fails when a test wants it to.

use super::store::Opener;
use redb::backends::FileBackend;
use redb::{Builder, StorageBackend};
use std::io::{Error, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many changes of a file succeed before all fail.
#[derive(Clone, Debug)]
pub(super) struct Fault(Arc<AtomicU64>);

impl Fault {
    /// None fails.
    pub(super) fn never() -> Fault {
        Fault(Arc::new(AtomicU64::new(u64::MAX)))
    }

    /// From now on so many succeed.
    pub(super) fn after(&self, changes: u64) {
        self.0.store(changes, Ordering::Relaxed);
    }

    /// Makes databases of files that fail so.
    pub(super) fn opener(&self) -> Opener {
        let fault = self.clone();
        Box::new(move |file| {
            let faulty = Faulty { file: FileBackend::new(file)?, fault: fault.clone() };
            Builder::new().create_with_backend(faulty)
        })
    }

    fn change(&self) -> Result<(), Error> {
        let left = |left: u64| if left == u64::MAX { Some(left) } else { left.checked_sub(1) };
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        taken.map(drop).map_err(|_| ErrorKind::StorageFull.into())
    }
}

#[derive(Debug)]
struct Faulty {
    file: FileBackend,
    fault: Fault,
}

impl StorageBackend for Faulty {
    fn len(&self) -> Result<u64, Error> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), Error> {
        self.fault.change()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> Result<(), Error> {
        self.fault.change()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.fault.change()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> Result<(), Error> {
        self.file.close()
    }
}
