//! What a server says of an epoch: the announcement, and its members one frame after the other.

use crate::error::{ClientError, field};
use crate::limits::MEMBERS_MAX;
use twincast_protocol::ids::{Epoch, GroupId, RoundNumber, ServerSide, UserId};
use twincast_protocol::wire::{Kind, Roster, roster_hash};

/// An epoch as one server describes it.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) epoch: Epoch,
    pub(crate) members: u32,
    pub(crate) hash: [u8; 32],
    /// Its first round; none where WELCOME described it, which does not say.
    pub(crate) first_round: Option<RoundNumber>,
    /// Its members, as far as they are listed.
    pub(crate) roster: Vec<UserId>,
}

impl Said {
    /// What `server` says in a frame of `kind`, before any member is listed.
    pub(crate) fn new(
        server: ServerSide,
        epoch: Epoch,
        members: u32,
        hash: [u8; 32],
        first_round: Option<RoundNumber>,
    ) -> Result<Said, ClientError> {
        if members == 0 || members > MEMBERS_MAX {
            return Err(ClientError::Group { server, field: "members", said: members.into() });
        }
        Ok(Said { epoch, members, hash, first_round, roster: Vec::new() })
    }

    /// Whether all members are listed.
    pub(crate) fn is_whole(&self) -> bool {
        self.roster.len() == self.members as usize
    }

    /// Takes the next ROSTER frame, and checks the hash once the list is whole.
    pub(crate) fn list(
        &mut self,
        server: ServerSide,
        group: GroupId,
        head: &Roster,
        users: &[UserId],
    ) -> Result<(), ClientError> {
        let kind = Kind::Roster;
        field(server, kind, "epoch", head.epoch.get().into(), self.epoch.0.into())?;
        field(server, kind, "members", head.members.get().into(), self.members.into())?;
        field(server, kind, "first", head.first.get().into(), self.roster.len() as u64)?;
        let ascends = self.roster.last().zip(users.first()).is_none_or(|(last, first)| last < first);
        if !ascends {
            return Err(ClientError::OutOfOrder { server, kind, what: "members ascend" });
        }
        self.roster.extend_from_slice(users);
        if self.is_whole() && roster_hash(group, self.epoch, &self.roster) != self.hash {
            return Err(ClientError::RosterHash { server, epoch: self.epoch });
        }
        Ok(())
    }

    /// Refuses two servers that describe different epochs under one number.
    pub(crate) fn compare(said: [&Said; 2]) -> Result<(), ClientError> {
        let differ = |field, said: [u64; 2]| match said[0] == said[1] {
            true => Ok(()),
            false => Err(ClientError::ServersDiffer { field, said }),
        };
        differ("members", said.map(|said| said.members.into()))?;
        if let [Some(first), Some(second)] = said.map(|said| said.first_round) {
            differ("first_round", [first.0, second.0])?;
        }
        compare_hashes(said.map(|said| &said.hash))
    }
}

/// Refuses hashes that differ; what is shown of them are their first eight bytes that do.
pub(crate) fn compare_hashes(hashes: [&[u8; 32]; 2]) -> Result<(), ClientError> {
    let words = hashes.map(|hash| hash.as_chunks::<8>().0);
    match words[0].iter().zip(words[1]).find(|(first, second)| first != second) {
        None => Ok(()),
        Some((first, second)) => {
            let said = [u64::from_le_bytes(*first), u64::from_le_bytes(*second)];
            Err(ClientError::ServersDiffer { field: "roster_hash", said })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId(3);

    fn head(first: u32, count: u32, members: u32) -> Roster {
        Roster { epoch: 2.into(), members: members.into(), first: first.into(), count: count.into() }
    }

    fn said(members: &[UserId]) -> Said {
        let hash = roster_hash(GROUP, Epoch(2), members);
        Said::new(ServerSide::One, Epoch(2), members.len() as u32, hash, None).expect("a fine number")
    }

    #[test]
    fn a_list_in_pieces_is_whole_once_its_hash_is_right() {
        let members = [3, 5, 6, 900].map(UserId);
        let mut said = said(&members);
        assert_eq!(said.list(ServerSide::One, GROUP, &head(0, 3, 4), &members[..3]), Ok(()));
        assert!(!said.is_whole());
        assert_eq!(said.list(ServerSide::One, GROUP, &head(3, 1, 4), &members[3..]), Ok(()));
        assert!(said.is_whole() && said.roster == members);
    }

    #[test]
    fn holes_disorder_and_a_wrong_hash_are_named() {
        let members = [3, 5, 6, 900].map(UserId);
        let server = ServerSide::One;
        let hole = said(&members).list(server, GROUP, &head(1, 3, 4), &members[1..]);
        assert!(matches!(hole, Err(ClientError::Field { field: "first", said: 1, expected: 0, .. })));
        let other = said(&members).list(server, GROUP, &head(0, 3, 5), &members[..3]);
        assert!(matches!(other, Err(ClientError::Field { field: "members", .. })));
        let mut back = said(&members);
        back.list(server, GROUP, &head(0, 2, 4), &members[..2]).expect("the beginning");
        let back = back.list(server, GROUP, &head(2, 2, 4), &[UserId(5), UserId(900)]);
        assert!(matches!(back, Err(ClientError::OutOfOrder { kind: Kind::Roster, .. })));
        let wrong = said(&members).list(server, GROUP, &head(0, 4, 4), &[3, 5, 7, 900].map(UserId));
        assert_eq!(wrong, Err(ClientError::RosterHash { server, epoch: Epoch(2) }));
    }

    #[test]
    fn every_field_of_an_announcement_is_compared() {
        let first = Said { first_round: Some(RoundNumber(4)), ..said(&[UserId(1)]) };
        let differing = [
            ("members", Said { members: 2, ..first.clone() }),
            ("first_round", Said { first_round: Some(RoundNumber(5)), ..first.clone() }),
            ("roster_hash", Said { hash: [9; 32], ..first.clone() }),
        ];
        assert_eq!(Said::compare([&first, &first]), Ok(()));
        for (name, second) in &differing {
            let end = Said::compare([&first, second]);
            assert!(matches!(end, Err(ClientError::ServersDiffer { field, .. }) if field == *name));
        }
    }
}
