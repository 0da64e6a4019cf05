//! Who writes to each member, all members of a group at once.

use super::Workload;

/// A message that a member is to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    /// The slot that it comes in.
    pub slot: u32,
    /// Its sender's index.
    pub sender: u32,
    /// The slot, or in the one-to-many scheme the recipient's position in the batch.
    pub which: u32,
}

/// What each member of a group is to get in a round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Where each member's begin, and where the last one's end.
    starts: Vec<u32>,
    arrivals: Vec<Arrival>,
}

impl Arrivals {
    pub(super) fn of(workload: &Workload, epoch: u32, round: u64) -> Arrivals {
        let mut all: Vec<(u32, Arrival)> = Vec::new();
        let (mut recipients, mut dealt) = (Vec::new(), Vec::new());
        let plan = &workload.plan;
        for sender in 0..plan.group {
            if plan.dealt().is_some() {
                workload.dealt(round, sender, &mut dealt);
                all.extend(
                    dealt.iter().map(|(which, user)| (*user, Arrival { slot: 0, sender, which: *which })),
                );
                continue;
            }
            for slot in 0..plan.slots {
                workload.recipients(epoch, sender, slot, &mut recipients);
                all.extend(recipients.iter().map(|user| (*user, Arrival { slot, sender, which: slot })));
            }
        }
        all.sort_unstable();
        let start = |user: u32| all.partition_point(|(of, _)| *of < user) as u32;
        Arrivals {
            starts: (0..=plan.group).map(start).collect(),
            arrivals: all.into_iter().map(|(_, arrival)| arrival).collect(),
        }
    }

    /// What the member with this index is to get, by slot and sender.
    #[must_use]
    pub fn to(&self, user: u32) -> &[Arrival] {
        match (self.starts.get(user as usize), self.starts.get(user as usize + 1)) {
            (Some(start), Some(end)) => &self.arrivals[*start as usize..*end as usize],
            _ => &[],
        }
    }

    /// Which message of the sender it is, if the user is to get one of it in that slot.
    #[must_use]
    pub fn which(&self, user: u32, slot: u32, sender: u32) -> Option<u32> {
        let found = self.to(user).iter().find(|arrival| (arrival.slot, arrival.sender) == (slot, sender));
        found.map(|arrival| arrival.which)
    }
}
