//! Accounts on the disk: one file of redb, `accounts.redb` in the registry's folder, that survives a kill at any time. What
//! is committed is on the disk before anybody hears of it.
//!
//! ```text
//! table "accounts"  (group u32, user u32) -> 176 bytes: version 1 | which signatures there are (bit 0: S1's, bit 1: S2's)
//!                   | 0 x 2 | epoch u32 | added u64 (Unix time, seconds) | key 32 | signature of S1 64 | of S2 64
//! table "servers"   "side" -> 1 byte: 1 or 2 | "keys" -> 64 bytes: this server's verifying key | the other one's, or zeros
//! ```
//!
//! Integers are little-endian. Signatures belong to the two servers' keys: where those have changed, they are dropped when
//! the file is opened, and made anew.

use crate::accounts::book::Who;
use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use twincast_protocol::identity::{KEY_BYTES, SIGNATURE_BYTES, VerifyingKey};
use twincast_protocol::ids::{Epoch, GroupId, ServerSide, UserId};

const ACCOUNTS: TableDefinition<'_, (u32, u32), &[u8]> = TableDefinition::new("accounts");
const SERVERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("servers");

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

/// The file, which nobody else has open.
#[derive(Debug)]
pub(crate) struct Store {
    database: Database,
    file: PathBuf,
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
        let refused = |error| RegistryError::Folder { folder: folder.into(), error };
        check_mode(folder, 0o700).map_err(refused)??;
        let file = folder.join(FILE);
        let opened =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&file);
        let opened = opened.map_err(refused)?;
        check_mode(&file, 0o600).map_err(refused)??;
        let database =
            FileBackend::new(opened).and_then(|backend| redb::Builder::new().create_with_backend(backend));
        let database = database.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => RegistryError::Busy { file: file.clone() },
            error => RegistryError::Storage { file: file.clone(), error: error.into() },
        })?;
        let store = Store { database, file };
        store.settle(side, keys)?;
        Ok(store)
    }

    /// Makes the tables where there are none, and drops signatures that are of other keys than the servers have now.
    fn settle(&self, side: ServerSide, keys: [Option<VerifyingKey>; 2]) -> Result<(), RegistryError> {
        let own = [side.index() as u8 + 1];
        let mut names = [0; 2 * KEY_BYTES];
        for (name, key) in names.as_chunks_mut::<KEY_BYTES>().0.iter_mut().zip(keys) {
            *name = key.map_or([0; KEY_BYTES], VerifyingKey::to_bytes);
        }
        let before = self.attempt(|| {
            let write = self.begin()?;
            let before = {
                write.open_table(ACCOUNTS)?;
                let mut servers = write.open_table(SERVERS)?;
                let said =
                    |value: Option<redb::AccessGuard<'_, &[u8]>>| value.map(|value| value.value().to_vec());
                let before = (said(servers.get("side")?), said(servers.get("keys")?));
                servers.insert("side", &own[..])?;
                servers.insert("keys", &names[..])?;
                before
            };
            match &before.0 {
                Some(other) if *other != own => write.abort()?,
                _ => write.commit()?,
            }
            Ok(before)
        })?;
        match before {
            (Some(other), _) if other != own => {
                let side = other.first().copied().unwrap_or_default();
                return Err(RegistryError::Side { file: self.file.clone(), side });
            }
            (_, Some(before)) if before != names => {}
            _ => return Ok(()),
        }
        tracing::warn!(
            file = %self.file.display(),
            "a server has another verifying key than when accounts were signed: all accounts are signed anew, and serve once \
             both servers have done so"
        );
        let accounts = self.load()?;
        let unsigned =
            |(who, account): (Who, Account)| (who, Some(Account { signatures: [None; 2], ..account }));
        self.commit(accounts.into_iter().map(unsigned))
    }

    /// Every account.
    ///
    /// # Errors
    /// [`RegistryError`] where the file is none, or damaged.
    pub(crate) fn load(&self) -> Result<BTreeMap<Who, Account>, RegistryError> {
        let rows = self.attempt(|| {
            let table = self.database.begin_read()?.open_table(ACCOUNTS)?;
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
        self.attempt(|| {
            let write = self.begin()?;
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

    fn begin(&self) -> Result<redb::WriteTransaction, redb::Error> {
        let mut write = self.database.begin_write()?;
        // What is written comes from strangers: a commit is two steps, neither of which trusts a checksum.
        write.set_two_phase_commit(true);
        Ok(write)
    }

    fn attempt<T>(&self, action: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, RegistryError> {
        action().map_err(|error| RegistryError::Storage { file: self.file.clone(), error })
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
mod tests {
    use super::*;
    use std::fs::{Permissions, set_permissions};
    use tempfile::TempDir;
    use twincast_protocol::identity::SigningKey;

    fn key(seed: u8) -> VerifyingKey {
        SigningKey::from_seed(&[seed; 32]).verifying_key()
    }

    fn folder() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        folder
    }

    fn open(
        folder: &TempDir,
        side: ServerSide,
        keys: [Option<VerifyingKey>; 2],
    ) -> Result<Store, RegistryError> {
        Store::open(folder.path(), side, keys)
    }

    const KEYS: fn() -> [Option<VerifyingKey>; 2] = || [Some(key(1)), Some(key(2))];

    #[test]
    fn accounts_are_there_again_and_only_for_who_they_are_for() {
        let folder = folder();
        let who = |user| (GroupId(7), UserId(user));
        let account = Account { signatures: [Some([3; 64]), None], ..Account::new(key(9), Epoch(4)) };
        {
            let store = open(&folder, ServerSide::One, KEYS()).unwrap();
            store.commit([(who(1), Some(account)), (who(2), Some(Account::new(key(8), Epoch(0))))]).unwrap();
            store.commit([(who(2), None)]).unwrap();
            let busy = open(&folder, ServerSide::One, KEYS()).unwrap_err().to_string();
            assert!(busy.contains("in use"), "{busy}");
        }
        let mode = std::fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let store = open(&folder, ServerSide::One, KEYS()).unwrap();
        assert_eq!(store.load().unwrap(), BTreeMap::from([(who(1), account)]));
        drop(store);
        let other = open(&folder, ServerSide::Two, KEYS()).unwrap_err().to_string();
        assert!(other.contains("belongs to S1"), "{other}");
        // A new key of the other server makes the old signatures worthless, and keeps the accounts.
        let store = open(&folder, ServerSide::One, [Some(key(1)), Some(key(3))]).unwrap();
        let unsigned = Account { signatures: [None; 2], ..account };
        assert_eq!(store.load().unwrap(), BTreeMap::from([(who(1), unsigned)]));
    }

    #[test]
    fn what_others_could_read_or_is_no_registry_is_refused() {
        let folder = folder();
        set_permissions(folder.path(), Permissions::from_mode(0o750)).unwrap();
        let error = open(&folder, ServerSide::One, KEYS()).unwrap_err().to_string();
        assert!(error.contains("mode 0750") && error.contains("chmod 700"), "{error}");
        set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        let file = folder.path().join(FILE);
        std::fs::write(&file, b"something else, which is long enough to be a head").unwrap();
        let error = open(&folder, ServerSide::One, KEYS()).unwrap_err().to_string();
        assert!(error.contains("mode 0") && error.contains("chmod 600"), "{error}");
        set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(open(&folder, ServerSide::One, KEYS()), Err(RegistryError::Storage { .. })));
        let missing =
            Store::open(&folder.path().join("none"), ServerSide::One, KEYS()).unwrap_err().to_string();
        assert!(missing.contains("mkdir -m 700"), "{missing}");
    }

    #[test]
    fn a_damaged_account_is_no_account() {
        let bytes =
            Account { signatures: [None, Some([7; 64])], ..Account::new(key(1), Epoch(3)) }.to_bytes();
        assert_eq!(bytes.len(), 176);
        let read = Account::from_bytes(&bytes).unwrap();
        assert_eq!((read.epoch, read.signatures), (Epoch(3), [None, Some([7; 64])]));
        assert!(Account::from_bytes(&bytes[1..]).is_none());
        for (at, value) in [(0, 2), (1, 4), (2, 1), (16, bytes[16] ^ 1)] {
            let mut damaged = bytes;
            damaged[at] = value;
            if at < HEAD_BYTES {
                assert!(Account::from_bytes(&damaged).is_none(), "byte {at}");
            }
        }
    }
}
