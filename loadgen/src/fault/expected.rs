//! Every verdict that a fault must cause, worked out from the plan alone.

use super::{Fault, FaultKind, GROUP, LATE_FACTOR, USER, shares_connection};
use crate::control::Totals;
use crate::plan::Plan;
use crate::workload::Workload;

/// What becomes of one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// What should.
    None,
    Tampered,
    Incomplete,
    Absent,
    /// The other of message and dummy is read, and nobody notices.
    Swapped,
}

/// What all users that are left must count over the measured rounds.
#[must_use]
pub fn expected(plan: &Plan, fault: &Fault) -> Totals {
    let mut totals = Totals::default();
    for group in 0..plan.groups {
        let workload = Workload::new(plan, group);
        let case = Case { plan, fault, workload: &workload, group, sender: fault.sender(plan) };
        for round in u64::from(plan.warmup) + 1..=plan.all_rounds() {
            let judged = (0..plan.group).filter(|user| !case.is_gone(round, *user));
            judged.for_each(|user| count(&case, round, user, &mut totals));
        }
    }
    totals
}

/// One group of a run with a fault.
struct Case<'a> {
    plan: &'a Plan,
    fault: &'a Fault,
    workload: &'a Workload,
    group: u32,
    /// Whose cell is flipped or swapped.
    sender: u32,
}

impl Case<'_> {
    /// Whether a user goes with the fault: with the host that is killed, or the connection that breaks.
    fn is_victim(&self, user: u32) -> bool {
        let Case { plan, fault, group, .. } = *self;
        match fault.kind {
            FaultKind::KillHost => user % plan.hosts == plan.hosts - 1,
            kind if kind.is_net() => group == GROUP && shares_connection(plan, user),
            _ => false,
        }
    }

    /// Whether what a user sees of a round is not counted: all that a host saw that was killed, and what comes over a
    /// connection from the round on in which it breaks.
    fn is_gone(&self, round: u64, user: u32) -> bool {
        let counted_before = self.fault.kind.is_net() && round < self.fault.round;
        self.is_victim(user) && !counted_before
    }
}

/// Counts what one user sees of one round, and sends in it.
fn count(case: &Case<'_>, round: u64, user: u32, totals: &mut Totals) {
    let Case { plan, workload, .. } = *case;
    let arrivals = workload.arrivals(0, round);
    totals.messages_sent += workload.pairs_of_round(round);
    let cells = u64::from(plan.group) * u64::from(plan.slots);
    let to_user = arrivals.to(user).len() as u64;
    if !touches(case, round, user) {
        totals.accepted += to_user;
        totals.ignored += cells - to_user;
        totals.shares_verified += cells;
        return;
    }
    for (slot, sender) in (0..plan.slots).flat_map(|slot| (0..plan.group).map(move |sender| (slot, sender))) {
        let is_for_user = arrivals.which(user, slot, sender).is_some();
        let effect = effect(case, slot, sender);
        let read = matches!(effect, Effect::None | Effect::Tampered | Effect::Swapped);
        totals.shares_verified += u64::from(read);
        totals.lost += u64::from(is_for_user && effect != Effect::None);
        match effect {
            Effect::None if is_for_user => totals.accepted += 1,
            Effect::None => totals.ignored += 1,
            Effect::Tampered => totals.tampered += 1,
            Effect::Incomplete => totals.incomplete += 1,
            Effect::Absent => totals.absent += 1,
            Effect::Swapped => totals.misdelivered += u64::from(!is_for_user),
        }
    }
}

/// Whether any cell of a user in a round is not what it should be.
fn touches(case: &Case<'_>, round: u64, user: u32) -> bool {
    let Case { plan, fault, group, .. } = *case;
    let here = round == fault.round;
    match fault.kind {
        FaultKind::Flip | FaultKind::SwapHalf => here && group == GROUP && user == USER,
        FaultKind::Drop | FaultKind::Replay => here && group == GROUP && shares_connection(plan, user),
        // The run ends: there are no counts.
        FaultKind::DropFrame | FaultKind::ReplayFrame => false,
        FaultKind::Delay => here && fault.hold_ms > LATE_FACTOR * plan.round_timeout_ms,
        FaultKind::HalfSubmit => here && group == GROUP,
        FaultKind::KillHost => round >= fault.round,
        // Its users have submitted in the round in which it breaks.
        FaultKind::NetFlip | FaultKind::NetDrop | FaultKind::NetReplay | FaultKind::NetReorder => {
            group == GROUP && round > fault.round
        }
    }
}

/// What becomes of a sender's cell for a user whom the fault touches.
fn effect(case: &Case<'_>, slot: u32, sender: u32) -> Effect {
    let Case { plan, fault, .. } = *case;
    let first_tile = slot == 0 && sender < 64;
    let cell = slot == 0 && sender == case.sender;
    match fault.kind {
        FaultKind::Flip if cell => Effect::Tampered,
        FaultKind::Drop if first_tile => Effect::Incomplete,
        FaultKind::Replay if first_tile => Effect::Tampered,
        FaultKind::Delay => Effect::Incomplete,
        FaultKind::HalfSubmit if sender == USER => {
            if plan.linked {
                Effect::Absent
            } else {
                Effect::Incomplete
            }
        }
        kind if (kind == FaultKind::KillHost || kind.is_net()) && case.is_victim(sender) => Effect::Absent,
        FaultKind::SwapHalf if cell && plan.confirm => Effect::Tampered,
        FaultKind::SwapHalf if cell => Effect::Swapped,
        _ => Effect::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Many, Peers, ProfileName, tests::plan};

    const CELLS: u64 = 3 * 130 * 130;

    fn of(kind: FaultKind, change: impl FnOnce(&mut Plan, &mut Fault)) -> Totals {
        let mut plan =
            Plan { group: 130, hosts: 3, rounds: 3, warmup: 0, users_per_connection: 20, ..plan() };
        plan.peers = Peers::Own;
        plan.round_timeout_ms = 2_000;
        let mut fault = Fault { kind, round: 2, hold_ms: 500 };
        change(&mut plan, &mut fault);
        expected(&plan, &fault)
    }

    /// Every cell has one verdict, and every message one fate.
    fn adds_up(totals: &Totals, cells: u64) {
        assert_eq!(totals.shares_verified + totals.incomplete + totals.absent, cells, "{totals:?}");
        let fates = totals.accepted + totals.ignored + totals.tampered;
        assert!(fates <= totals.shares_verified, "{totals:?}");
    }

    #[test]
    fn a_fault_of_one_cell_costs_one_cell() {
        let flip = of(FaultKind::Flip, |_, _| ());
        adds_up(&flip, CELLS);
        assert_eq!(
            (flip.tampered, flip.lost, flip.accepted),
            (1, 0, 390),
            "sender 1 does not write to user 0"
        );
        let all = of(FaultKind::Flip, |plan, _| plan.peers = Peers::Subset(130));
        assert_eq!((all.tampered, all.lost, all.accepted), (1, 1, CELLS - 1));
        let swapped = of(FaultKind::SwapHalf, |_, _| ());
        assert_eq!((swapped.tampered, swapped.misdelivered, swapped.lost), (1, 0, 1));
        let read = of(FaultKind::SwapHalf, |plan, _| (plan.confirm, plan.peers) = (false, Peers::Subset(0)));
        assert_eq!((read.tampered, read.misdelivered, read.lost), (0, 1, 0));
        let missed = of(FaultKind::SwapHalf, |plan, _| {
            (plan.confirm, plan.peers) = (false, Peers::Subset(130));
        });
        assert_eq!((missed.tampered, missed.misdelivered, missed.lost), (0, 0, 1));
    }

    #[test]
    fn a_fault_of_one_frame_costs_its_connection_a_tile() {
        let dropped = of(FaultKind::Drop, |_, _| ());
        adds_up(&dropped, CELLS);
        // Twenty users, users 0, 3 .. 57, all of whom write to themselves within the first tile.
        assert_eq!((dropped.incomplete, dropped.lost, dropped.tampered), (20 * 64, 20, 0));
        let replayed = of(FaultKind::Replay, |_, _| ());
        adds_up(&replayed, CELLS);
        assert_eq!((replayed.tampered, replayed.lost, replayed.incomplete), (20 * 64, 20, 0));
    }

    #[test]
    fn a_delay_costs_nothing_or_a_whole_round() {
        let short = of(FaultKind::Delay, |_, _| ());
        assert_eq!((short.incomplete, short.lost, short.accepted), (0, 0, 390));
        let long = of(FaultKind::Delay, |_, fault| fault.hold_ms = 5_000);
        adds_up(&long, CELLS);
        assert_eq!((long.incomplete, long.lost, long.accepted), (CELLS / 3, 130, 260));
    }

    #[test]
    fn half_a_submission_costs_its_sender() {
        let linked = of(FaultKind::HalfSubmit, |_, _| ());
        assert_eq!((linked.absent, linked.incomplete, linked.lost), (130, 0, 1));
        let alone = of(FaultKind::HalfSubmit, |plan, _| plan.linked = false);
        assert_eq!((alone.absent, alone.incomplete, alone.lost), (0, 130, 1));
    }

    #[test]
    fn a_killed_host_takes_its_members_along() {
        let killed = of(FaultKind::KillHost, |_, _| ());
        // Host 2 of 3 plays 43 of the 130; the others judge, in rounds 2 and 3 without it.
        adds_up(&killed, 3 * 87 * 130);
        assert_eq!((killed.absent, killed.messages_sent), (2 * 87 * 43, 3 * 87));
        assert_eq!((killed.lost, killed.accepted), (0, 3 * 87), "all write to themselves");
    }

    #[test]
    fn a_connection_that_breaks_takes_its_members_along_from_then_on() {
        for kind in [FaultKind::NetFlip, FaultKind::NetDrop, FaultKind::NetReplay, FaultKind::NetReorder] {
            let broken = of(kind, |_, _| ());
            // Twenty of the 130 count round 1 alone; the others judge rounds 2 and 3, the last without the twenty.
            adds_up(&broken, (130 + 2 * 110) * 130);
            assert_eq!((broken.absent, broken.messages_sent), (110 * 20, 130 + 2 * 110), "{kind:?}");
            assert_eq!((broken.lost, broken.tampered, broken.incomplete), (0, 0, 0), "{kind:?}");
            let first = of(kind, |plan, fault| (plan.groups, fault.round) = (2, 1));
            assert_eq!(first.absent, 2 * 110 * 20, "{kind:?}: the other group has all its members");
        }
    }

    #[test]
    fn batches_of_the_one_to_many_scheme_are_counted_round_by_round() {
        let many = of(FaultKind::Drop, |plan, _| {
            plan.profile = ProfileName::PaperXor;
            plan.peers = Peers::Many(Many { recipients: 3, spread: 2, noise_min: 0, noise_max: 1 });
        });
        adds_up(&many, CELLS);
        assert_eq!(many.messages_sent, 130 * (1 + 2 + 1), "three of a batch, the next batch's first");
        assert_eq!(many.accepted + many.lost, many.messages_sent);
    }
}
