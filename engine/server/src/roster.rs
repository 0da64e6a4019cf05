//! An epoch's members: who they are, and which index each of them has.

use std::sync::Arc;
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, UserId};
use twincast_protocol::wire::roster_hash;

/// The members of one epoch, by ascending number. A member's position in the list is its index. Shared by the tiles
/// of the epoch, and never changed.
#[derive(Debug, PartialEq, Eq)]
pub struct Roster {
    epoch: Epoch,
    ids: Box<[UserId]>,
    hash: [u8; 32],
}

impl Roster {
    /// The roster of an epoch.
    ///
    /// # Panics
    /// If `ids` do not ascend: they come from a set.
    #[must_use]
    pub fn new(group: GroupId, epoch: Epoch, ids: Vec<UserId>) -> Arc<Roster> {
        assert!(ids.is_sorted_by(|a, b| a < b), "members ascend");
        let hash = roster_hash(group, epoch, &ids);
        Arc::new(Roster { epoch, ids: ids.into(), hash })
    }

    /// The users `0..members`.
    #[must_use]
    pub fn initial(group: GroupId, epoch: Epoch, members: usize) -> Arc<Roster> {
        Roster::new(group, epoch, (0..members as u32).map(UserId).collect())
    }

    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How many members there are, n.
    #[must_use]
    pub fn members(&self) -> usize {
        self.ids.len()
    }

    /// All members.
    #[must_use]
    pub fn ids(&self) -> &[UserId] {
        &self.ids
    }

    /// What both servers must agree on ([`roster_hash`]).
    #[must_use]
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// A user's index, if it is a member.
    #[must_use]
    pub fn index_of(&self, user: UserId) -> Option<MemberIndex> {
        // The users of a first epoch are their own indices.
        match self.ids.get(user.0 as usize) {
            Some(&id) if id == user => Some(MemberIndex(user.0)),
            _ => self.ids.binary_search(&user).ok().map(|index| MemberIndex(index as u32)),
        }
    }

    /// The member at an index.
    #[must_use]
    pub fn user(&self, index: MemberIndex) -> Option<UserId> {
        self.ids.get(index.0 as usize).copied()
    }

    /// The indices of those of `users`, ascending, who are members; they ascend as well.
    #[must_use]
    pub fn indices(&self, users: &[UserId]) -> Vec<MemberIndex> {
        users.iter().filter_map(|&user| self.index_of(user)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_positions_and_strangers_have_none() {
        let ids = [1, 3, 4, 9].map(UserId).to_vec();
        let roster = Roster::new(GroupId(1), Epoch(2), ids.clone());
        for (index, &user) in ids.iter().enumerate() {
            assert_eq!(roster.index_of(user), Some(MemberIndex(index as u32)));
            assert_eq!(roster.user(MemberIndex(index as u32)), Some(user));
        }
        assert_eq!(roster.index_of(UserId(0)), None);
        assert_eq!(roster.index_of(UserId(u32::MAX)), None);
        assert_eq!(roster.user(MemberIndex(4)), None);
        let some = roster.indices(&[0, 3, 5, 9].map(UserId));
        assert_eq!(some, [MemberIndex(1), MemberIndex(3)]);
    }

    #[test]
    fn the_hash_binds_group_epoch_and_members() {
        let hash = |group, epoch, members| *Roster::initial(GroupId(group), Epoch(epoch), members).hash();
        assert_ne!(hash(1, 0, 5), hash(2, 0, 5));
        assert_ne!(hash(1, 0, 5), hash(1, 1, 5));
        assert_ne!(hash(1, 0, 5), hash(1, 0, 6));
    }
}
