//! What a run does: the one description that coordinator, hosts and report share.

use serde::{Deserialize, Serialize};

/// A whole run, as the coordinator planned it and every host got it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Members of each group, n.
    pub group: u32,
    /// Independent groups, numbered from 0.
    pub groups: u32,
    /// Client hosts, H. User u of every group is played by host `u mod H`.
    pub hosts: u32,
    /// Measured rounds.
    pub rounds: u32,
    /// Rounds played before the measured ones and dropped.
    pub warmup: u32,
    /// Slots of a member, K.
    pub slots: u32,
    /// Bytes of a frame, F.
    pub frame_bytes: u32,
    /// Bytes of each message.
    pub message_bytes: u32,
    /// Who writes to whom.
    pub peers: Peers,
    /// Whether the groups use bit confirmation.
    pub confirm: bool,
    /// Users on one connection (to each server), at most.
    pub users_per_connection: u32,
    /// Rounds submitted ahead of the one that is being delivered: 0 or 1.
    pub ahead: u32,
    /// How much of what arrives is decoded.
    pub verify: Verify,
    /// Messages, recipients and samples are drawn from it; no secret is.
    pub seed: u64,
    /// How far one server may be read ahead of the other, per connection.
    pub host_skew_bytes: u64,
}

/// Who writes to whom. The same in every round of a run, since session keys are dialled for an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Peers {
    /// Everybody writes to themselves: the paper's set-up.
    #[serde(rename = "self")]
    Own,
    /// A random permutation of the group.
    Random,
    /// This many random recipients for each (sender, slot).
    Subset(u32),
}

/// How much of what arrives is decoded and verified.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verify {
    /// Every cell.
    All,
    /// Each (user, tile) with this probability, and every user's own and addressed cells.
    Sample(f64),
    /// Cells are counted and dropped.
    Count,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The main job.
    pub(crate) fn plan() -> Plan {
        Plan {
            group: 1_000,
            groups: 1,
            hosts: 5,
            rounds: 5,
            warmup: 1,
            slots: 1,
            frame_bytes: 288,
            message_bytes: 256,
            peers: Peers::Random,
            confirm: true,
            users_per_connection: 200,
            ahead: 0,
            verify: Verify::All,
            seed: 1,
            host_skew_bytes: 32 << 20,
        }
    }

    #[test]
    fn a_plan_travels_as_it_is() {
        for peers in [Peers::Own, Peers::Random, Peers::Subset(3)] {
            for verify in [Verify::All, Verify::Sample(0.5), Verify::Count] {
                let plan = Plan { peers, verify, ..plan() };
                let line = serde_json::to_string(&plan).unwrap();
                assert_eq!(serde_json::from_str::<Plan>(&line).unwrap(), plan, "{line}");
            }
        }
    }
}
