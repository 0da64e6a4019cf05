//! Accounts on the disk: one file of redb, `accounts.redb` in the registry's folder, that survives a kill at any time. What
//! is committed is on the disk before anybody hears of it.
//!
//! ```text
//! table "accounts"  (group u32, user u32) -> 176 bytes: version 1 | which signatures there are (bit 0: S1's, bit 1: S2's)
//!                   | 0 x 2 | epoch u32 | added u64 (Unix time, seconds) | key 32 | signature of S1 64 | of S2 64
//! table "servers"   "side" -> 1 byte: 1 or 2 | "keys" -> 64 bytes: this server's verifying key | the other one's, or zeros
//! table "epochs"    group u32 -> u32: the last epoch that the group may have begun, if it signs by epochs
//! ```
//!
//! Integers are little-endian. Signatures belong to the two servers' keys: where those have changed, they are dropped when
//! the file is opened, in the commit that keeps the new keys, and made anew.
//!
//! After an error redb answers every further question with that error, also once the disk is well again. So the file is
//! closed then, and opened anew when it is wanted next.

use crate::accounts::book::Who;
use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;
use twincast_protocol::identity::{KEY_BYTES, SIGNATURE_BYTES, VerifyingKey};
use twincast_protocol::ids::{Epoch, GroupId, ServerSide, UserId};

const ACCOUNTS: TableDefinition<'_, (u32, u32), &[u8]> = TableDefinition::new("accounts");
const SERVERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("servers");
const EPOCHS: TableDefinition<'_, u32, u32> = TableDefinition::new("epochs");

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 16;
const ACCOUNT_BYTES: usize = HEAD_BYTES + KEY_BYTES + 2 * SIGNATURE_BYTES;

/// The file's name in the registry's folder.
pub(crate) const FILE: &str = "accounts.redb";

/// A user's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// The key.
    pub(crate) key: VerifyingKey,
    /// From which epoch on.
    pub(crate) epoch: Epoch,
    /// Of S1 and of S2.
    pub(crate) signatures: [Option<[u8; SIGNATURE_BYTES]>; 2],
    /// When it was made, in seconds of the Unix clock.
    pub(crate) added: u64,
}

/// Why accounts cannot be read or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The folder is not there, or is none of this user's.
    #[error("registry.folder: cannot use {folder} ({error}): make it with `mkdir -m 700 {folder}`")]
    Folder {
        /// Which.
        folder: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Others may look into the folder or the file: who is a user is nobody's business, and whoever could write could be
    /// anybody.
    #[error(
        "registry.folder: {path} has mode {mode:04o}, and others could read or change who is a user: `chmod {wanted:o} {path}`"
    )]
    Mode {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// What they have to be.
        wanted: u32,
    },
    /// Another process has the file.
    #[error(
        "registry.folder: {file} is in use by another process: a server of this configuration runs, or an admin command"
    )]
    Busy {
        /// Which.
        file: PathBuf,
    },
    /// The file is the other server's.
    #[error("registry.folder: {file} belongs to S{side}: each server needs a folder of its own")]
    Side {
        /// Which.
        file: PathBuf,
        /// Whose it is.
        side: u8,
    },
    /// The file holds something else.
    #[error(
        "registry.folder: {file} is no registry that this version reads ({what}): restore it from a copy, or move it away"
    )]
    Form {
        /// Which.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// It cannot be read or written.
    #[error("registry.folder: {file} ({error}): is the disk full, or failing?")]
    Storage {
        /// Which.
        file: PathBuf,
        /// What redb says.
        error: redb::Error,
    },
    /// No number is left for an epoch of the group.
    #[error(
        "registry.folder: {file}: group {group} has used up its epochs: give the group another id, at both servers"
    )]
    EpochsUsedUp {
        /// Which file says so.
        file: PathBuf,
        /// Which group.
        group: u32,
    },
    /// The socket for admin commands cannot be made.
    #[error("registry.folder: cannot listen on {path} ({error}){remedy}")]
    Socket {
        /// Where.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
        /// What mends it, where that is known.
        remedy: &'static str,
    },
    /// A thread cannot be started.
    #[error("registry: cannot start its thread ({0})")]
    Thread(#[from] io::Error),
}

impl Account {
    /// An account that nobody has signed.
    pub(crate) fn new(key: VerifyingKey, epoch: Epoch) -> Account {
        let added = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        Account { key, epoch, signatures: [None; 2], added }
    }

    fn to_bytes(self) -> [u8; ACCOUNT_BYTES] {
        let mut bytes = [0; ACCOUNT_BYTES];
        bytes[0] = VERSION;
        bytes[4..8].copy_from_slice(&self.epoch.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.added.to_le_bytes());
        bytes[HEAD_BYTES..][..KEY_BYTES].copy_from_slice(&self.key.to_bytes());
        for (index, signature) in self.signatures.iter().enumerate() {
            if let Some(signature) = signature {
                bytes[1] |= 1 << index;
                let at = HEAD_BYTES + KEY_BYTES + index * SIGNATURE_BYTES;
                bytes[at..][..SIGNATURE_BYTES].copy_from_slice(signature);
            }
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Account> {
        let bytes: &[u8; ACCOUNT_BYTES] = bytes.try_into().ok()?;
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let (key, signatures) = rest.split_first_chunk::<KEY_BYTES>()?;
        let signatures = signatures.as_chunks::<SIGNATURE_BYTES>().0;
        let [VERSION, there @ 0..=3, 0, 0, e0, e1, e2, e3, added @ ..] = *head else { return None };
        Some(Account {
            key: VerifyingKey::from_bytes(key).ok()?,
            epoch: Epoch(u32::from_le_bytes([e0, e1, e2, e3])),
            signatures: [0, 1].map(|index| (there >> index & 1 == 1).then(|| signatures[index])),
            added: u64::from_le_bytes(added),
        })
    }
}

/// Makes a database of a file.
pub(super) type Opener = Box<dyn Fn(File) -> Result<Database, DatabaseError> + Send + Sync>;

/// The file, which nobody else has open.
pub(crate) struct Store {
    /// None: it failed when it was used last, and is opened anew before it is used again.
    database: Mutex<Option<Database>>,
    opener: Opener,
    file: PathBuf,
    side: ServerSide,
    keys: [Option<VerifyingKey>; 2],
}

impl Store {
    /// Opens the file of a server, or makes it.
    ///
    /// # Errors
    /// [`RegistryError`], with the remedy.
    pub(crate) fn open(
        folder: &Path,
        side: ServerSide,
        keys: [Option<VerifyingKey>; 2],
    ) -> Result<Store, RegistryError> {
        let opener = |file| {
            FileBackend::new(file).and_then(|backend| redb::Builder::new().create_with_backend(backend))
        };
        Store::open_with(folder, side, keys, Box::new(opener))
    }

    /// The same with what makes a database of its file.
    pub(super) fn open_with(
        folder: &Path,
        side: ServerSide,
        keys: [Option<VerifyingKey>; 2],
        opener: Opener,
    ) -> Result<Store, RegistryError> {
        let refused = |error| RegistryError::Folder { folder: folder.into(), error };
        check_mode(folder, 0o700).map_err(refused)??;
        let file = folder.join(FILE);
        let before = file.metadata().map(|there| there.len());
        let opened =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&file);
        let opened = opened.map_err(refused)?;
        check_mode(&file, 0o600).map_err(refused)??;
        let store = Store { database: Mutex::new(None), opener, file, side, keys };
        let database = store.settled(opened, true)?;
        let file = store.file.display();
        match before {
            Err(_) => tracing::info!(%file, "the registry is made: nobody has an account yet"),
            Ok(0) => {
                tracing::warn!(%file, "the registry's file was empty and begins anew: accounts and epochs are gone, if it had any")
            }
            Ok(_) => {}
        }
        *store.database.lock().expect("nobody else has it") = Some(database);
        Ok(store)
    }

    /// The file once more, which is there: it is never made anew while a server runs, since its accounts are not in it then.
    fn open_again(&self) -> Result<Database, RegistryError> {
        let opened = OpenOptions::new().read(true).write(true).open(&self.file);
        let database = self.settled(opened.map_err(|error| self.failed(error.into()))?, false)?;
        tracing::warn!(file = %self.file.display(), "accounts and epochs are kept again: the file could be opened anew");
        Ok(database)
    }

    /// The database of the file, once it has what this server expects of it.
    fn settled(&self, opened: File, is_first: bool) -> Result<Database, RegistryError> {
        let database = (self.opener)(opened).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => RegistryError::Busy { file: self.file.clone() },
            error => self.failed(error.into()),
        })?;
        self.settle(&database, is_first)?;
        Ok(database)
    }

    /// Makes the tables where there are none, and drops signatures that are of other keys than the servers have now: all at
    /// once, so that no kill leaves new keys with signatures of old ones. A disk that is full is no reason not to read what
    /// is there: without a change nothing is written.
    fn settle(&self, database: &Database, is_first: bool) -> Result<(), RegistryError> {
        let own = [self.side.index() as u8 + 1];
        let mut names = [0; 2 * KEY_BYTES];
        for (name, key) in names.as_chunks_mut::<KEY_BYTES>().0.iter_mut().zip(self.keys) {
            *name = key.map_or([0; KEY_BYTES], VerifyingKey::to_bytes);
        }
        let settle = || {
            let write = begin(database)?;
            let (before, changed) = {
                let mut accounts = write.open_table(ACCOUNTS)?;
                write.open_table(EPOCHS)?;
                let mut servers = write.open_table(SERVERS)?;
                let said =
                    |value: Option<redb::AccessGuard<'_, &[u8]>>| value.map(|value| value.value().to_vec());
                let (side, before) = (said(servers.get("side")?), said(servers.get("keys")?));
                servers.insert("side", &own[..])?;
                servers.insert("keys", &names[..])?;
                let changed = before.as_deref().is_some_and(|before| *before != names);
                if changed {
                    let mut rows = Vec::new();
                    for row in accounts.iter()? {
                        let (who, account) = row?;
                        rows.push((who.value(), account.value().to_vec()));
                    }
                    for (who, mut account) in rows {
                        unsign(&mut account);
                        accounts.insert(who, &account[..])?;
                    }
                }
                (side, changed)
            };
            match &before {
                Some(other) if *other != own => write.abort()?,
                Some(_) if !is_first && !changed => write.abort()?,
                _ => write.commit()?,
            }
            Ok((before, changed))
        };
        match settle().map_err(|error| self.failed(error))? {
            (Some(other), _) if other != own => {
                let side = other.first().copied().unwrap_or_default();
                return Err(RegistryError::Side { file: self.file.clone(), side });
            }
            (_, true) => tracing::warn!(
                file = %self.file.display(),
                "a server has another verifying key than when accounts were signed: all accounts are signed anew, and serve \
                 once both servers have done so"
            ),
            (_, false) => {}
        }
        Ok(())
    }

    /// Every account.
    ///
    /// # Errors
    /// [`RegistryError`] where the file is none, or damaged.
    pub(crate) fn load(&self) -> Result<BTreeMap<Who, Account>, RegistryError> {
        let rows = self.attempt(|database| {
            let table = database.begin_read()?.open_table(ACCOUNTS)?;
            let mut rows = Vec::new();
            for row in table.iter()? {
                let (who, account) = row?;
                rows.push((who.value(), Account::from_bytes(account.value())));
            }
            Ok(rows)
        })?;
        let form = |(group, user): (u32, u32)| RegistryError::Form {
            file: self.file.clone(),
            what: format!("the account of user {user} of group {group} is damaged, or of a newer version"),
        };
        let account = |(who, account): ((u32, u32), Option<Account>)| {
            account.map(|account| ((GroupId(who.0), UserId(who.1)), account)).ok_or_else(|| form(who))
        };
        rows.into_iter().map(account).collect()
    }

    /// Keeps accounts, and forgets those that are none, all at once and for good: it is on the disk when this returns.
    ///
    /// # Errors
    /// [`RegistryError`]; then nothing has changed.
    pub(crate) fn commit(
        &self,
        changes: impl IntoIterator<Item = (Who, Option<Account>)>,
    ) -> Result<(), RegistryError> {
        self.attempt(|database| {
            let write = begin(database)?;
            {
                let mut table = write.open_table(ACCOUNTS)?;
                for ((group, user), account) in changes {
                    match account {
                        Some(account) => table.insert((group.0, user.0), &account.to_bytes()[..])?,
                        None => table.remove((group.0, user.0))?,
                    };
                }
            }
            write.commit()?;
            Ok(())
        })
    }

    /// The last epoch that a group may have begun.
    ///
    /// # Errors
    /// [`RegistryError`] where the file is damaged.
    pub(super) fn epoch(&self, group: GroupId) -> Result<Option<Epoch>, RegistryError> {
        self.attempt(|database| {
            let table = database.begin_read()?.open_table(EPOCHS)?;
            Ok(table.get(group.0)?.map(|epoch| Epoch(epoch.value())))
        })
    }

    /// Keeps the last epoch that each of these groups may have begun: it is on the disk when this returns.
    ///
    /// # Errors
    /// [`RegistryError`]; then nothing has changed.
    pub(super) fn keep_epochs(
        &self,
        epochs: impl IntoIterator<Item = (GroupId, Epoch)>,
    ) -> Result<(), RegistryError> {
        self.attempt(|database| {
            let write = begin(database)?;
            {
                let mut table = write.open_table(EPOCHS)?;
                for (group, epoch) in epochs {
                    table.insert(group.0, epoch.0)?;
                }
            }
            write.commit()?;
            Ok(())
        })
    }

    /// That a group has no number left.
    pub(super) fn epochs_used_up(&self, group: GroupId) -> RegistryError {
        RegistryError::EpochsUsedUp { file: self.file.clone(), group: group.0 }
    }

    /// Does something with the file, which is opened before where it failed last. Where it fails it is closed: what comes
    /// next finds it as it is on the disk.
    fn attempt<T>(
        &self,
        action: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, RegistryError> {
        // Whoever panicked with it had taken it out.
        let mut place = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let database = match place.take() {
            Some(database) => database,
            None => self.open_again()?,
        };
        let done = action(&database).map_err(|error| self.failed(error))?;
        *place = Some(database);
        Ok(done)
    }

    fn failed(&self, error: redb::Error) -> RegistryError {
        RegistryError::Storage { file: self.file.clone(), error }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("file", &self.file).finish_non_exhaustive()
    }
}

fn begin(database: &Database) -> Result<redb::WriteTransaction, redb::Error> {
    let mut write = database.begin_write()?;
    // What is written comes from strangers: a commit is two steps, neither of which trusts a checksum.
    write.set_two_phase_commit(true);
    Ok(write)
}

/// Takes the signatures out of an account as it is kept. What is none is left for whoever reads it to find.
fn unsign(account: &mut [u8]) {
    if account.len() == ACCOUNT_BYTES {
        account[1] = 0;
        account[HEAD_BYTES + KEY_BYTES..].fill(0);
    }
}

/// Whether nobody but this user may use what is at a path.
pub(super) fn check_mode(path: &Path, wanted: u32) -> io::Result<Result<(), RegistryError>> {
    let mode = std::fs::metadata(path)?.permissions().mode() & 0o7777;
    Ok(match mode & 0o077 {
        0 => Ok(()),
        _ => Err(RegistryError::Mode { path: path.into(), mode, wanted }),
    })
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
