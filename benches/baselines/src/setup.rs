//! What every baseline is told: how many members, senders and hosts, and how long a share is.

use crate::BaselineError;
use serde::{Deserialize, Serialize};

/// Members of a group at the most: a bit for each pair stays within 512 MiB.
pub const MEMBERS_MAX: u32 = 1 << 16;
/// Client hosts at the most.
pub const HOSTS_MAX: u32 = 1 << 10;
/// Bytes of a share at the least: it carries who sent it, in which round, and which half it is.
pub const SHARE_BYTES_MIN: u32 = 16;
/// Bytes of a share at the most.
pub const SHARE_BYTES_MAX: u32 = 1 << 16;

/// One group, and how its members are dealt over client hosts: user `u` is played by host `u % hosts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// Members of the group.
    pub members: u32,
    /// Members that submit in a round, from member 0 on; what each of them sends goes to all members. Less than
    /// `members` is a sample: the cost of a delivery is measured, that of a round is not.
    pub senders: u32,
    /// Client hosts; each has one connection to each server.
    pub hosts: u32,
    /// Bytes of a share, or of the broker's message. The PKI broadcast has its own fixed size.
    pub share_bytes: u32,
}

impl Setup {
    /// Refuses what cannot be played.
    ///
    /// # Errors
    /// [`BaselineError::Setup`]. At least one sender on each host is needed, because lockstep is kept by senders who
    /// wait for what they are sent.
    pub fn check(&self) -> Result<(), BaselineError> {
        let Setup { members, senders, hosts, share_bytes } = *self;
        let refuse = |sentence: String| Err(BaselineError::Setup(sentence));
        if !(1..=MEMBERS_MAX).contains(&members) {
            return refuse(format!("a baseline's group has 1 to {MEMBERS_MAX} members, not {members}"));
        }
        if !(1..=HOSTS_MAX).contains(&hosts) {
            return refuse(format!("a baseline has 1 to {HOSTS_MAX} hosts, not {hosts}"));
        }
        if senders < hosts || senders > members {
            return refuse(format!(
                "{senders} senders: a baseline needs one on each of the {hosts} hosts, and no more than the {members} members"
            ));
        }
        if !(SHARE_BYTES_MIN..=SHARE_BYTES_MAX).contains(&share_bytes) {
            return refuse(format!(
                "a baseline's share has {SHARE_BYTES_MIN} to {SHARE_BYTES_MAX} bytes, not {share_bytes}"
            ));
        }
        Ok(())
    }

    /// Whether fewer than all members send.
    pub fn is_sampled(&self) -> bool {
        self.senders < self.members
    }

    /// The users that a host plays, ascending.
    pub fn users_of(&self, host: u32) -> impl Iterator<Item = u32> + use<> {
        (host..self.members).step_by(self.hosts.max(1) as usize)
    }

    /// Those of a host's users that send, ascending.
    pub fn senders_of(&self, host: u32) -> impl Iterator<Item = u32> + use<> {
        (host..self.senders).step_by(self.hosts.max(1) as usize)
    }

    /// Whom a sender means to reach.
    pub fn recipient_of(&self, sender: u32) -> u32 {
        (sender + 1) % self.members
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETUP: Setup = Setup { members: 20, senders: 20, hosts: 3, share_bytes: 336 };

    #[test]
    fn every_user_is_on_one_host() {
        let mut users: Vec<u32> = (0..3).flat_map(|host| SETUP.users_of(host)).collect();
        users.sort_unstable();
        assert_eq!(users, (0..20).collect::<Vec<_>>());
        let sampled = Setup { senders: 4, ..SETUP };
        let senders: Vec<Vec<u32>> = (0..3).map(|host| sampled.senders_of(host).collect()).collect();
        assert_eq!(senders, [vec![0, 3], vec![1], vec![2]]);
        assert!(sampled.is_sampled() && !SETUP.is_sampled());
        assert_eq!(SETUP.recipient_of(19), 0);
    }

    #[test]
    fn what_cannot_be_played_is_refused() {
        assert!(SETUP.check().is_ok());
        for bad in [
            Setup { members: 0, senders: 0, ..SETUP },
            Setup { members: MEMBERS_MAX + 1, ..SETUP },
            Setup { hosts: 0, ..SETUP },
            Setup { senders: 2, ..SETUP },
            Setup { senders: 21, ..SETUP },
            Setup { share_bytes: 15, ..SETUP },
            Setup { share_bytes: SHARE_BYTES_MAX + 1, ..SETUP },
        ] {
            assert!(matches!(bad.check(), Err(BaselineError::Setup(_))), "{bad:?}");
        }
    }
}
