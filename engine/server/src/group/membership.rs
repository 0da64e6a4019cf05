//! Who sits on which connection, who asks to join or leave, and what change of members follows.

use super::fetch::Fetched;
use super::{ConnectionId, Group};
use crate::limits::MEMBERS_MIN;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use twincast_protocol::format::ShareFormat;
use twincast_protocol::ids::{RoundNumber, UserId};

/// One connection's place in the group.
#[derive(Debug)]
pub(super) struct Seat {
    /// Ascending.
    pub(super) users: Box<[UserId]>,
    /// Users who are no members ask to become some.
    pub(super) join: bool,
    /// DIAL frames since an epoch began to be dialled.
    pub(super) dials: u64,
    /// What it sent for rounds and its senders have not signed: records, or shares of an accountable group.
    pub(super) wrong_signatures: u32,
    /// Its users' submissions that were refused.
    pub(super) refused: Refused,
    /// What it fetches of the parts that it missed.
    pub(super) fetched: Fetched,
    /// Bytes of headers that are made for it and not sent; held by each of them.
    pub(super) headers_unsent: Arc<AtomicUsize>,
}

/// Submissions of a connection that were refused within one round.
#[derive(Debug, Default)]
pub(super) struct Refused {
    round: RoundNumber,
    /// By user, ascending, and last those for nobody of them. Empty until one is refused: few connections have any.
    times: Vec<u32>,
}

impl Refused {
    /// Counts one for a user of the connection, by its place among them, or for nobody of `users`. Returns how many
    /// there are in this round now.
    pub(super) fn count(&mut self, round: RoundNumber, place: Option<usize>, users: usize) -> u32 {
        if self.round != round || self.times.is_empty() {
            self.round = round;
            self.times.clear();
            self.times.resize(users + 1, 0);
        }
        let times = &mut self.times[place.unwrap_or(users)];
        *times = times.saturating_add(1);
        *times
    }
}

/// All connections of the group, and what their users ask for.
#[derive(Debug, Default)]
pub(super) struct Seats {
    connections: BTreeMap<ConnectionId, Seat>,
    attached_by: HashMap<UserId, ConnectionId>,
    /// Users on a connection who are to become members.
    pub(super) joins: BTreeSet<UserId>,
    /// Members who are to be none.
    pub(super) leaves: BTreeSet<UserId>,
}

impl Seats {
    pub(super) fn get_mut(&mut self, connection: ConnectionId) -> Option<&mut Seat> {
        self.connections.get_mut(&connection)
    }

    /// All seats, by ascending connection.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnectionId, &Seat)> {
        self.connections.iter().map(|(&connection, seat)| (connection, seat))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Users that are attached.
    pub(super) fn users(&self) -> usize {
        self.attached_by.len()
    }

    /// The connection that attached a user.
    pub(super) fn connection_of(&self, user: UserId) -> Option<ConnectionId> {
        self.attached_by.get(&user).copied()
    }

    /// The connections that attached any of these users.
    pub(super) fn holders(&self, users: &[UserId]) -> BTreeSet<ConnectionId> {
        users.iter().filter_map(|&user| self.connection_of(user)).collect()
    }

    /// Seats users, none of whom sits anywhere else.
    pub(super) fn sit(&mut self, connection: ConnectionId, users: &[UserId], join: bool) {
        self.attached_by.extend(users.iter().map(|&user| (user, connection)));
        let seat = Seat {
            users: users.into(),
            join,
            dials: 0,
            wrong_signatures: 0,
            refused: Refused::default(),
            fetched: Fetched::default(),
            headers_unsent: Arc::default(),
        };
        self.connections.insert(connection, seat);
    }

    /// The connection goes, and its users' wishes to join with it. Returns its users.
    pub(super) fn stand_up(&mut self, connection: ConnectionId) -> Box<[UserId]> {
        let Some(seat) = self.connections.remove(&connection) else { return Box::new([]) };
        for user in &seat.users {
            self.attached_by.remove(user);
            self.joins.remove(user);
        }
        seat.users
    }

    /// Another epoch begins to be dialled.
    pub(super) fn forget_dials(&mut self) {
        self.connections.values_mut().for_each(|seat| seat.dials = 0);
    }

    /// Those who asked to join when they came, and are no members.
    pub(super) fn ask_again(&mut self, is_member: impl Fn(UserId) -> bool) {
        let asked = self.connections.values().filter(|seat| seat.join).flat_map(|seat| &seat.users);
        self.joins.extend(asked.copied().filter(|user| !is_member(*user)));
    }
}

/// What becomes of a connection's users.
pub(super) struct Places {
    /// Ascending.
    pub(super) seated: Vec<UserId>,
    /// Those of them who are to become members.
    pub(super) candidates: Vec<UserId>,
    /// One of those who find no room.
    pub(super) turned_away: Option<UserId>,
}

impl Group {
    /// Those of a connection's users who get a seat if they attach now, ascending.
    #[must_use]
    pub fn seats_for(&self, users: &[UserId], join: bool) -> Box<[UserId]> {
        self.places(users, join).seated.into()
    }

    /// Who of a connection's users gets a seat: members, and those who ask to be some as far as there is room. What
    /// anybody says is kept for no more candidates than the group could take.
    pub(super) fn places(&self, users: &[UserId], join: bool) -> Places {
        let next = self.coming.as_ref().map_or_else(|| self.roster(), |coming| &coming.roster);
        let after = (next.members() + self.seats.joins.len()).saturating_sub(self.seats.leaves.len());
        let mut room = self.shape.members_max.saturating_sub(after);
        let (mut seated, mut candidates, mut turned_away) = (Vec::new(), Vec::new(), None);
        for &user in users {
            let asks = join && next.index_of(user).is_none();
            let finds_room = asks && (self.seats.joins.contains(&user) || room > 0);
            if finds_room {
                room -= usize::from(!self.seats.joins.contains(&user));
                candidates.push(user);
            } else if asks {
                turned_away = turned_away.or(Some(user));
            }
            if finds_room || self.is_known(user) {
                seated.push(user);
            }
        }
        Places { seated, candidates, turned_away }
    }
}

/// As much of a change as the group can be after it: it drops the last joins, and then the last leaves, until the
/// number of members is one that the group can have. Both lists ascend, and stay so.
pub(super) fn fit(
    members: usize,
    members_max: usize,
    format: &ShareFormat,
    mut joins: Vec<UserId>,
    mut leaves: Vec<UserId>,
) -> (Vec<UserId>, Vec<UserId>) {
    let possible = |joins: usize, leaves: usize| {
        let after = members + joins - leaves;
        (MEMBERS_MIN as usize..=members_max).contains(&after) && format.check_members(after as u32).is_ok()
    };
    // Too few members first: that no drop of a join mends.
    while !leaves.is_empty() && members + joins.len() < leaves.len() + MEMBERS_MIN as usize {
        leaves.pop();
    }
    loop {
        // Who can stay out may as well: first joins alone, then one leave less and all joins again.
        let most = joins.len();
        if let Some(kept) = (0..=most).rev().find(|&kept| possible(kept, leaves.len())) {
            joins.truncate(kept);
            return (joins, leaves);
        }
        if leaves.pop().is_none() {
            return (Vec::new(), Vec::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twincast_protocol::format::{Profile, Scheme};

    fn ids(count: u32) -> Vec<UserId> {
        (0..count).map(UserId).collect()
    }

    fn fitted(scheme: Scheme, members: usize, joins: u32, leaves: u32) -> (usize, usize) {
        let format = ShareFormat::new(Profile::Compact, 16, scheme).unwrap();
        let (joins, leaves) = fit(members, 10, &format, ids(joins), ids(leaves));
        (joins.len(), leaves.len())
    }

    #[test]
    fn a_change_is_cut_to_what_the_group_can_be() {
        assert_eq!(fitted(Scheme::Plain, 8, 2, 1), (2, 1));
        assert_eq!(fitted(Scheme::Plain, 8, 5, 1), (3, 1), "no more than ten");
        assert_eq!(fitted(Scheme::Plain, 3, 0, 3), (0, 1), "no fewer than two");
        assert_eq!(fitted(Scheme::Algorithm4, 8, 3, 0), (2, 0), "an even number");
        assert_eq!(fitted(Scheme::Algorithm4, 8, 0, 1), (0, 0), "an even number");
        assert_eq!(fitted(Scheme::Algorithm4, 8, 1, 1), (1, 1));
        let most = Scheme::OneToMany { subgroups_max: 8 };
        assert_eq!(fitted(most, 8, 0, 2), (0, 0), "as many members as subgroups");
    }

    #[test]
    fn who_stands_up_takes_wishes_along() {
        let mut seats = Seats::default();
        seats.sit(ConnectionId(1), &ids(3), true);
        seats.ask_again(|user| user.0 == 0);
        assert_eq!(seats.joins.len(), 2);
        assert_eq!(seats.holders(&ids(9)).len(), 1);
        assert_eq!(*seats.stand_up(ConnectionId(1)), *ids(3));
        assert!(seats.joins.is_empty() && seats.is_empty() && seats.users() == 0);
        assert!(seats.stand_up(ConnectionId(1)).is_empty());
    }
}
