use super::*;
use crate::accounts::faulty::Fault;
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

fn open(folder: &TempDir, side: ServerSide, keys: [Option<VerifyingKey>; 2]) -> Result<Store, RegistryError> {
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
    let missing = Store::open(&folder.path().join("none"), ServerSide::One, KEYS()).unwrap_err().to_string();
    assert!(missing.contains("mkdir -m 700"), "{missing}");
}

#[test]
fn a_damaged_account_is_no_account() {
    let bytes = Account { signatures: [None, Some([7; 64])], ..Account::new(key(1), Epoch(3)) }.to_bytes();
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

/// The two servers' keys change, and the disk fails, or the server is killed, after any of the writes: no account is left
/// with a signature of an old key under the name of the new one.
#[test]
fn no_kill_leaves_signatures_of_old_keys_under_new_ones() {
    let old = folder();
    let account = Account { signatures: [Some([3; 64]), Some([4; 64])], ..Account::new(key(9), Epoch(4)) };
    let who = |user| (GroupId(7), UserId(user));
    open(&old, ServerSide::One, KEYS())
        .unwrap()
        .commit((0..9).map(|user| (who(user), Some(account))))
        .unwrap();
    let changed = [Some(key(1)), Some(key(3))];
    let mut failures = 0;
    for changes in 0.. {
        let folder = folder();
        let file = folder.path().join(FILE);
        std::fs::copy(old.path().join(FILE), &file).unwrap();
        set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let fault = Fault::never();
        fault.after(changes);
        let opened = Store::open_with(folder.path(), ServerSide::One, changed, fault.opener());
        let failed = opened.is_err();
        drop(opened);
        let store = open(&folder, ServerSide::One, changed).unwrap();
        let accounts = store.load().unwrap();
        assert_eq!(accounts.len(), 9, "after {changes} changes");
        assert!(accounts.values().all(|account| account.signatures == [None; 2]), "after {changes} changes");
        failures += u32::from(failed);
        if !failed {
            break;
        }
    }
    assert!(failures > 2, "it failed at {failures} places");
}

/// A disk that was full for a while takes accounts and epochs again once it has room, without a restart.
#[test]
fn a_disk_that_failed_is_used_again_once_it_is_well() {
    let folder = folder();
    let fault = Fault::never();
    let store = Store::open_with(folder.path(), ServerSide::One, KEYS(), fault.opener()).unwrap();
    let who = |user| (GroupId(7), UserId(user));
    let account = Account::new(key(9), Epoch(0));
    store.commit([(who(1), Some(account))]).unwrap();
    for changes in 0..3 {
        fault.after(changes);
        assert!(store.commit([(who(2), Some(account))]).is_err());
        assert!(store.keep_epochs([(GroupId(7), Epoch(9))]).is_err());
        fault.after(u64::MAX);
        // What is answered from then on is what the disk has.
        assert_eq!(store.load().unwrap().keys().copied().collect::<Vec<_>>(), [who(1)]);
        assert_eq!(store.epoch(GroupId(7)).unwrap(), None);
    }
    store.commit([(who(3), Some(account))]).unwrap();
    store.keep_epochs([(GroupId(7), Epoch(9))]).unwrap();
    drop(store);
    let store = open(&folder, ServerSide::One, KEYS()).unwrap();
    assert_eq!(store.load().unwrap().keys().copied().collect::<Vec<_>>(), [who(1), who(3)]);
    assert_eq!(store.epoch(GroupId(7)).unwrap(), Some(Epoch(9)));
}

/// A file that is gone is not made anew by a server that runs: nobody would have an account in it.
#[test]
fn a_file_that_is_gone_is_no_empty_registry() {
    let folder = folder();
    let fault = Fault::never();
    let store = Store::open_with(folder.path(), ServerSide::One, KEYS(), fault.opener()).unwrap();
    fault.after(0);
    assert!(store.commit([((GroupId(7), UserId(1)), None)]).is_err());
    fault.after(u64::MAX);
    std::fs::remove_file(folder.path().join(FILE)).unwrap();
    assert!(store.load().is_err() && !folder.path().join(FILE).exists());
}
