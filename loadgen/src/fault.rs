//! What `--fault` does to a run on its way between hosts and servers, and what it must cause.
//!
//! Servers and hosts are what they always are. A [`proxy`] between them breaks one thing in one round; [`expected`]
//! works out every verdict that this must cause, and no other; the run passes if exactly those came.
//!
//! | fault | what is done | what it must cause |
//! |---|---|---|
//! | `flip` | one bit of one cell of S1's to one user | that cell `Tampered`, nothing else |
//! | `drop` | one DELIVER of S1's to one connection is withheld, and not counted | its cells `Incomplete` for those users |
//! | `drop-frame` | one DELIVER of S1's is cut out of a connection | the client stops, and names what S1 sent |
//! | `replay` | one DELIVER of S1's has the cells of the round before | its cells `Tampered` |
//! | `replay-frame` | one DELIVER of S1's is that of the round before, head and all | the client stops, and names what S1 sent |
//! | `delay` | S2's cells of the round come late | nothing within the round's time limit, else all `Incomplete` |
//! | `half-submit` | one user's SUBMIT reaches S1 only | that sender `Absent` for all; `Incomplete` without the link |
//! | `kill-host` | one host dies as it submits | its members `Absent` for all from then on |
//! | `swap-half` | S1 hands one user the wrong half of one who writes to it | `Tampered`; without confirmed bits, silence |
//! | `net-flip` | one bit of one record of S1's to one connection, sealed as it is | that connection breaks, and says why |
//! | `net-drop` | one such record does not arrive | the same |
//! | `net-replay` | one such record arrives twice | the same |
//! | `net-reorder` | one such record arrives after the next | the same |
//!
//! The first eight change frames, and take plain channels; those that begin with `net` are what an adversary on the way
//! can do to a Noise channel ([`sealed`]), of an accountable group too. A connection that breaks costs its own users the rest
//! of the run, from the round of the fault on: everybody else reads them in that round, and finds them `Absent` in the ones
//! after it. In an accountable group `swap-half` has to bring evidence against S1, and against nobody else; what an adversary
//! on the way does brings evidence against nobody.

pub mod expected;
pub mod proxy;
pub mod sealed;

use crate::plan::Plan;
use crate::workload::Workload;
use serde::{Deserialize, Serialize};

/// The group that faults of one cell or one connection are done to.
pub const GROUP: u32 = 0;
/// The user whose cells, connection or submission such a fault is about.
pub const USER: u32 = 0;
/// The sender whose cell is flipped.
pub const SENDER: u32 = 1;
/// A stream that is held longer than so many times a round's time limit is too late: a client waits for the limit from
/// the last byte of any use, and takes some time to make room for all that the other server has sent.
pub const LATE_FACTOR: u32 = 2;
/// How long `delay` holds a stream unless it says so, in milliseconds.
pub const HOLD_MS: u32 = 500;

/// One fault in one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What is done.
    pub kind: FaultKind,
    /// In which round, from 1.
    pub round: u64,
    /// For how long, where it takes time; else 0.
    pub hold_ms: u32,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// A bit of a cell is flipped.
    Flip,
    /// A DELIVER is withheld, and ROUND_END does not count it.
    Drop,
    /// A DELIVER is not passed on, though ROUND_END counts it.
    DropFrame,
    /// A DELIVER has the cells of the round before.
    Replay,
    /// A DELIVER of the round before comes in the place of another.
    ReplayFrame,
    /// A server's stream is held for a while.
    Delay,
    /// A submission reaches one server only.
    HalfSubmit,
    /// A host dies.
    KillHost,
    /// A server hands out the wrong half.
    SwapHalf,
    /// A bit of a sealed record is flipped.
    NetFlip,
    /// A sealed record does not arrive.
    NetDrop,
    /// A sealed record arrives twice.
    NetReplay,
    /// A sealed record arrives after the next one.
    NetReorder,
}

impl FaultKind {
    /// All of them that this build can do.
    pub const ALL: &'static [FaultKind] = &[
        FaultKind::Flip,
        FaultKind::Drop,
        FaultKind::DropFrame,
        FaultKind::Replay,
        FaultKind::ReplayFrame,
        FaultKind::Delay,
        FaultKind::HalfSubmit,
        FaultKind::KillHost,
        #[cfg(feature = "fault-swap-half")]
        FaultKind::SwapHalf,
        FaultKind::NetFlip,
        FaultKind::NetDrop,
        FaultKind::NetReplay,
        FaultKind::NetReorder,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::Flip => "flip",
            FaultKind::Drop => "drop",
            FaultKind::DropFrame => "drop-frame",
            FaultKind::Replay => "replay",
            FaultKind::ReplayFrame => "replay-frame",
            FaultKind::Delay => "delay",
            FaultKind::HalfSubmit => "half-submit",
            FaultKind::KillHost => "kill-host",
            FaultKind::SwapHalf => "swap-half",
            FaultKind::NetFlip => "net-flip",
            FaultKind::NetDrop => "net-drop",
            FaultKind::NetReplay => "net-replay",
            FaultKind::NetReorder => "net-reorder",
        }
    }

    /// Whether it is done to what a Noise channel carries.
    #[must_use]
    pub fn is_net(self) -> bool {
        matches!(self, FaultKind::NetFlip | FaultKind::NetDrop | FaultKind::NetReplay | FaultKind::NetReorder)
    }

    /// Whether it is done to frames on their way, which only a plain channel shows.
    #[must_use]
    pub fn needs_frames(self) -> bool {
        !self.is_net() && self != FaultKind::SwapHalf
    }

    /// The kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<FaultKind> {
        FaultKind::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// What a client says as it stops, where the fault leaves it nothing else to do.
    #[must_use]
    pub fn refusal(self) -> Option<&'static str> {
        match self {
            FaultKind::DropFrame => Some("S1 sent a RoundEnd frame with tiles"),
            FaultKind::ReplayFrame => Some("S1 sent a Deliver frame with round"),
            _ => None,
        }
    }

    /// What the client says whose connection the fault breaks, of a fault that breaks one; it goes on with the others.
    #[must_use]
    pub fn breaks(self) -> Option<&'static str> {
        self.is_net().then_some("the private channel with S1 is broken: a record does not open")
    }

    /// Whether it needs the cells of the round before.
    #[must_use]
    pub fn repeats(self) -> bool {
        matches!(self, FaultKind::Replay | FaultKind::ReplayFrame)
    }
}

/// Whether a user is on the connection that the faults of one connection are done to, in [`GROUP`].
fn shares_connection(plan: &Plan, user: u32) -> bool {
    user % plan.hosts == USER % plan.hosts && user / plan.hosts / plan.users_per_connection == 0
}

impl Fault {
    /// The sender whose cell is flipped, or whose wrong half is handed out: that of somebody who writes to the user, if
    /// anybody does. A paper profile lets the user miss it; whoever it is not for would read it or notice, by chance.
    #[must_use]
    pub fn sender(&self, plan: &Plan) -> u32 {
        if self.kind != FaultKind::SwapHalf {
            return SENDER;
        }
        let arrivals = Workload::new(plan, GROUP).arrivals(0, self.round);
        let writes = arrivals.to(USER).iter().find(|arrival| arrival.slot == 0);
        writes.map_or(SENDER, |arrival| arrival.sender)
    }

    /// What was done, in one sentence.
    #[must_use]
    pub fn in_words(&self, plan: &Plan) -> String {
        let (round, hosts, sender) = (self.round, plan.hosts, self.sender(plan));
        match self.kind {
            FaultKind::Flip => {
                format!("round {round}: one bit of S1's cell of sender {SENDER} for user {USER} was flipped")
            }
            FaultKind::Drop => {
                format!("round {round}: S1's first tile for the connection of user {USER} was withheld")
            }
            FaultKind::DropFrame => {
                format!("round {round}: S1's first tile for the connection of user {USER} was cut out")
            }
            FaultKind::Replay => format!(
                "round {round}: S1's first tile for the connection of user {USER} had the cells of the round before"
            ),
            FaultKind::ReplayFrame => format!(
                "round {round}: S1's first tile for the connection of user {USER} was that of the round before"
            ),
            FaultKind::Delay => format!("round {round}: S2's cells were held for {} ms", self.hold_ms),
            FaultKind::HalfSubmit => format!("round {round}: the submission of user {USER} reached S1 only"),
            FaultKind::KillHost => {
                format!("round {round}: host {} was killed as it submitted", hosts.saturating_sub(1))
            }
            FaultKind::SwapHalf => {
                format!("round {round}: S1 handed user {USER} the wrong half of sender {sender}")
            }
            FaultKind::NetFlip => {
                format!(
                    "round {round}: one bit of S1's first record to the connection of user {USER} was flipped"
                )
            }
            FaultKind::NetDrop => {
                format!("round {round}: S1's first record to the connection of user {USER} was dropped")
            }
            FaultKind::NetReplay => {
                format!("round {round}: S1's first record to the connection of user {USER} came twice")
            }
            FaultKind::NetReorder => {
                format!(
                    "round {round}: S1's first two records to the connection of user {USER} changed places"
                )
            }
        }
    }
}
