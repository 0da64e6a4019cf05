//! What a judge says of answers that are right, and of each thing that can be wrong.

use super::*;
use crate::control::Totals;
use crate::plan::tests::answer_plan;
use crate::plan::{Peers, Plan};
use crate::workload::Workload;
use std::rc::Rc;
use twincast_protocol::ids::MemberIndex;

/// An epoch whose users are 10 to 79.
fn plan() -> Plan {
    let epochs = Plan { group: 70, slots: 2, peers: Peers::Subset(3), seed: 5, ..answer_plan() };
    Plan { rounds: 30, epoch_rounds: 10, churn: 10, ..epochs }
}

/// A judge of three of them in round 12; the first two read somebody whom the third does not read.
fn judge() -> Judge {
    let plan = plan();
    let mut judge = Judge::new(&plan, 0, 3, Rc::new(Workload::new(&plan, 0)));
    judge.begin(1, 12, 10, [0, 1, 30].into_iter().enumerate());
    judge
}

fn answer(judge: &Judge, position: usize, slot: u32) -> Answer {
    let member = [0, 1, 30][position];
    let sender = judge.workload.target(1, member, slot).map(|sender| UserId(10 + sender));
    let user = User { position, id: UserId(10 + member), member: MemberIndex(member) };
    Answer { epoch: 1, first_user: 10, round: RoundNumber(12), user, slot: SlotIndex(slot), sender }
}

/// What the sender of an answer says in its round.
fn said(judge: &Judge, answer: &Answer) -> Vec<u8> {
    let mut message = Vec::new();
    judge.workload.message(12, answer.sender.unwrap().0, 0, &mut message);
    message
}

/// The verdict on one answer, by itself: what is counted, complained of, and whether it arrived.
fn judged(
    make: impl FnOnce(&Judge, &mut Answer) -> Option<Vec<u8>>,
    verdict: Verdict<'_>,
) -> (Totals, String, bool) {
    let mut judge = judge();
    let mut answer = answer(&judge, 0, 1);
    let bytes = make(&judge, &mut answer);
    let verdict = bytes.as_deref().map_or(verdict, Verdict::Accept);
    let mut arrived = false;
    judge.answer(&answer, verdict, || arrived = true);
    (judge.totals, judge.complaints.concat(), arrived)
}

#[test]
fn every_query_that_gives_its_senders_message_is_accepted() {
    let mut judge = judge();
    let mut arrived = 0;
    for (position, slot) in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)] {
        let answer = answer(&judge, position, slot);
        let bytes = said(&judge, &answer);
        judge.answer(&answer, Verdict::Accept(&bytes), || arrived += 1);
    }
    let expected = Totals { accepted: 6, shares_verified: 6, ..Totals::default() };
    assert_eq!((judge.totals, arrived, judge.complaints.len()), (expected, 6, 0));
    assert_eq!(judge.senders.len(), 0, "nothing of the group's size is kept");
    judge.skipped(13);
    assert_eq!(judge.totals.lost, 6);
}

#[test]
fn what_does_not_come_is_lost_and_told_why() {
    let verified = Totals { lost: 1, shares_verified: 1, ..Totals::default() };
    for (verdict, totals, why) in [
        (Verdict::Ignore, verified, "cannot open"),
        (Verdict::Tampered, Totals { tampered: 1, ..verified }, "tampered"),
        (Verdict::Incomplete, Totals { incomplete: 1, shares_verified: 0, ..verified }, "incomplete"),
        (Verdict::Absent, Totals { absent: 1, shares_verified: 0, ..verified }, "absent"),
    ] {
        let (counted, complaint, arrived) = judged(|_, _| None, verdict);
        assert_eq!((counted, arrived), (totals, false), "{verdict:?}");
        assert!(
            complaint.starts_with("round 12: user 10 lost a message: ") && complaint.contains(why),
            "{complaint}"
        );
    }
}

#[test]
fn another_message_than_the_one_asked_for_is_told_apart() {
    let other = |judge: &Judge, answer: &mut Answer| {
        let mut message = Vec::new();
        judge.workload.message(12, 10 + (answer.sender.unwrap().0 - 9) % 70, 0, &mut message);
        Some(message)
    };
    let verified = Totals { shares_verified: 1, ..Totals::default() };
    let (counted, complaint, _) = judged(other, Verdict::Ignore);
    assert_eq!(counted, Totals { misdelivered: 1, ..verified });
    assert!(complaint.contains("did not ask for"), "{complaint}");
    let flipped = |judge: &Judge, answer: &mut Answer| {
        let mut message = said(judge, answer);
        message[200] ^= 1;
        Some(message)
    };
    let (counted, _, arrived) = judged(flipped, Verdict::Ignore);
    assert_eq!((counted, arrived), (Totals { altered: 1, ..verified }, false));
    let stale = |judge: &Judge, answer: &mut Answer| {
        let mut message = Vec::new();
        judge.workload.message(11, answer.sender.unwrap().0, 0, &mut message);
        Some(message)
    };
    assert_eq!(
        judged(stale, Verdict::Ignore).0,
        Totals { altered: 1, ..verified },
        "that of the round before"
    );
}

#[test]
fn a_query_for_somebody_else_than_planned_is_no_success_whatever_it_gives() {
    let elsewhere = |_: &Judge, answer: &mut Answer| {
        answer.sender = None;
        None
    };
    let (counted, complaint, _) = judged(elsewhere, Verdict::Ignore);
    assert_eq!(counted, Totals { lost: 1, shares_verified: 1, ..Totals::default() });
    assert!(complaint.contains("somebody else than planned"), "{complaint}");
}
