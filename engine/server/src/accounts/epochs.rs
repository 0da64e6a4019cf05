//! How far the epochs of groups have come, in the registry's file: what is signed by an epoch's number is signed once, though
//! a server starts again, its clock is set back, or the other server brings it far ahead.

use super::store::{RegistryError, Store};
use crate::group::EpochKeeper;
use crate::limits::{EPOCH_MAX, EPOCHS_KEPT_AHEAD};
use crate::metrics::Metrics;
use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use twincast_protocol::ids::{Epoch, GroupId};

/// The epochs of all groups of a server that sign by them.
#[derive(Debug)]
pub struct Epochs {
    /// The registry's thread has it, and closes it.
    store: Weak<Store>,
    metrics: Arc<Metrics>,
    first: HashMap<GroupId, Epoch>,
}

/// The epochs of one group.
#[derive(Debug)]
struct GroupEpochs {
    group: GroupId,
    store: Weak<Store>,
    metrics: Arc<Metrics>,
    /// What the file says: no later start begins with this number or one before it.
    up_to: Epoch,
}

impl Epochs {
    /// Chooses the first epoch of each group, the one that is wanted or the first that cannot have been, and keeps it.
    ///
    /// # Errors
    /// [`RegistryError`], with the remedy: then no group may begin.
    pub(super) fn begin(
        store: &Arc<Store>,
        metrics: Arc<Metrics>,
        wanted: impl IntoIterator<Item = (GroupId, Epoch)>,
    ) -> Result<Epochs, RegistryError> {
        let mut first = HashMap::new();
        for (group, wanted) in wanted {
            let epoch = match store.epoch(group)? {
                // One that is given up has one after it.
                Some(last) if last.0 >= EPOCH_MAX - 1 => return Err(store.epochs_used_up(group)),
                Some(last) => wanted.max(Epoch(last.0 + 1)),
                None => wanted,
            };
            if epoch != wanted {
                let (group, first, wanted) = (group.0, epoch.0, wanted.0);
                tracing::info!(group, first, wanted, "epochs go on behind those that there were");
            }
            first.insert(group, epoch);
        }
        store.keep_epochs(first.iter().map(|(group, epoch)| (*group, *epoch)))?;
        Ok(Epochs { store: Arc::downgrade(store), metrics, first })
    }

    /// The first epoch of a group that signs by them, and what keeps the later ones.
    #[must_use]
    pub fn of(&self, group: GroupId) -> Option<(Epoch, Box<dyn EpochKeeper>)> {
        let first = *self.first.get(&group)?;
        let (store, metrics) = (self.store.clone(), self.metrics.clone());
        Some((first, Box::new(GroupEpochs { group, store, metrics, up_to: first })))
    }
}

impl EpochKeeper for GroupEpochs {
    /// Some numbers are kept ahead, so that a short epoch does not wait for the disk: a start leaves the rest of them out.
    fn keep(&mut self, epoch: Epoch) -> bool {
        if epoch <= self.up_to {
            return true;
        }
        // Where the thread has ended, the server has.
        let Some(store) = self.store.upgrade() else { return false };
        let up_to = Epoch(epoch.0.saturating_add(EPOCHS_KEPT_AHEAD).min(EPOCH_MAX));
        let keep = || store.keep_epochs([(self.group, up_to)]);
        // What failed once is tried with a file that is opened anew: a group that does not begin its epoch ends.
        match keep().or_else(|_| keep()) {
            Ok(()) => {
                self.up_to = up_to;
                true
            }
            Err(error) => {
                self.metrics.registry_failures.fetch_add(1, Relaxed);
                tracing::error!(
                    group = self.group.0,
                    epoch = epoch.0,
                    %error,
                    "an epoch cannot be begun, since its number cannot be kept: mend the disk and start the server again"
                );
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use tempfile::TempDir;
    use twincast_protocol::ids::ServerSide;

    const GROUP: GroupId = GroupId(7);
    const OTHER: GroupId = GroupId(8);

    fn folder() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        folder
    }

    /// A start of two groups.
    struct Start {
        epochs: Epochs,
        _store: Arc<Store>,
    }

    impl Start {
        fn of(folder: &Path, wanted: [u32; 2]) -> Result<Start, RegistryError> {
            let store = Arc::new(Store::open(folder, ServerSide::One, [None; 2])?);
            let metrics = Arc::new(Metrics::new([GROUP, OTHER].into_iter()));
            let epochs = Epochs::begin(&store, metrics, [GROUP, OTHER].into_iter().zip(wanted.map(Epoch)))?;
            Ok(Start { epochs, _store: store })
        }

        fn first(&self) -> [u32; 2] {
            [GROUP, OTHER].map(|group| self.epochs.of(group).unwrap().0.0)
        }

        fn keep(&self, epochs: impl IntoIterator<Item = u32>) {
            let (_, mut keeper) = self.epochs.of(GROUP).unwrap();
            assert!(epochs.into_iter().all(|epoch| keeper.keep(Epoch(epoch))));
        }
    }

    #[test]
    fn a_start_begins_behind_every_epoch_that_there_may_have_been() {
        let folder = folder();
        let start = |wanted| Start::of(folder.path(), wanted).unwrap();
        assert_eq!(start([100, 200]).first(), [100, 200]);
        // The clock was set back, in one second more.
        assert_eq!(start([100, 10]).first(), [101, 201]);
        let third = start([100, 10]);
        assert_eq!(third.first()[0], 102);
        assert!(third.epochs.of(GroupId(9)).is_none());
        third.keep(103..=110);
        drop(third);
        let [one, other] = start([100, 300]).first();
        assert!((111..=110 + EPOCHS_KEPT_AHEAD + 1).contains(&one), "{one}");
        assert_eq!(other, 300);
        // The other server brings it far ahead.
        let far = 1 << 20;
        start([0, 0]).keep([far]);
        assert!(start([0, 0]).first()[0] > far);
    }

    #[test]
    fn a_group_without_a_number_left_does_not_begin() {
        let folder = folder();
        Start::of(folder.path(), [0, 0]).unwrap().keep([EPOCH_MAX - 1]);
        let error = Start::of(folder.path(), [0, 0]).err().unwrap().to_string();
        assert!(error.contains("group 7") && error.contains("another id"), "{error}");
    }

    #[test]
    fn nothing_is_kept_once_the_registry_is_closed() {
        let folder = folder();
        let Start { epochs, _store } = Start::of(folder.path(), [0, 0]).unwrap();
        let (_, mut keeper) = epochs.of(GROUP).unwrap();
        drop(_store);
        assert!(!keeper.keep(Epoch(1)));
        Start::of(folder.path(), [0, 0]).unwrap();
    }
}
