//! What comes of queries, against what was sent.

use super::{COMPLAINTS_MAX, Judge};
use twincast_client::User;
use twincast_protocol::ids::{RoundNumber, SlotIndex, UserId};
use twincast_protocol::receive::Verdict;

/// One answer.
#[derive(Clone, Copy, Debug)]
pub(in crate::host) struct Answer {
    pub(in crate::host) epoch: u32,
    /// The first user of that epoch.
    pub(in crate::host) first_user: u32,
    pub(in crate::host) round: RoundNumber,
    pub(in crate::host) user: User,
    pub(in crate::host) slot: SlotIndex,
    /// Whose record the client asked for.
    pub(in crate::host) sender: Option<UserId>,
}

impl Judge {
    /// Judges the verdict on an answer: a query must give exactly what the one whom it asks for said in this round, and
    /// a query that asks for nobody nothing. Calls `arrived` for a message that arrived as it should.
    pub(in crate::host) fn answer(&mut self, answer: &Answer, verdict: Verdict<'_>, arrived: impl FnOnce()) {
        let Answer { epoch, first_user, round, user, slot, sender } = *answer;
        let planned = self.workload.target(epoch, user.member.0, slot.0);
        let planned = planned.map(|member| UserId(first_user + member));
        let totals = &mut self.totals;
        match verdict {
            Verdict::Absent => totals.absent += 1,
            Verdict::Incomplete => totals.incomplete += 1,
            Verdict::Accept(_) | Verdict::Ignore => totals.shares_verified += 1,
            Verdict::Tampered => {
                totals.shares_verified += 1;
                totals.tampered += 1;
            }
        }
        let lost = match (planned, verdict) {
            _ if sender != planned => "asked for the record of somebody else than planned",
            (None, Verdict::Ignore) => {
                self.totals.ignored += 1;
                return;
            }
            (_, Verdict::Accept(bytes)) => return self.accepted(answer, bytes, arrived),
            (Some(_), Verdict::Ignore) => "lost a message: a record came that it cannot open",
            (_, Verdict::Tampered) => "lost a message: tampered",
            (_, Verdict::Incomplete) => "lost a message: incomplete",
            (_, Verdict::Absent) => "lost a message: absent",
        };
        // Who asks for nobody loses nothing.
        self.totals.lost += u64::from(planned.is_some());
        self.complain_of(round, user, slot, planned, lost);
    }

    fn accepted(&mut self, answer: &Answer, bytes: &[u8], arrived: impl FnOnce()) {
        let Answer { round, user, slot, sender, .. } = *answer;
        if let Some(sender) = sender {
            self.workload.message(round.0, sender.0, 0, &mut self.message);
            if self.is_message(bytes) {
                self.totals.accepted += 1;
                arrived();
                return;
            }
        }
        let (count, what) = match (sender, self.is_sent(round.0, bytes)) {
            (_, true) => (&mut self.totals.misdelivered, "read a message that it did not ask for"),
            (Some(_), false) => (&mut self.totals.altered, "got an altered message"),
            (None, false) => (&mut self.totals.extra, "got a message that nobody sent"),
        };
        *count += 1;
        self.complain_of(round, user, slot, sender, what);
    }

    fn complain_of(
        &mut self,
        round: RoundNumber,
        user: User,
        slot: SlotIndex,
        sender: Option<UserId>,
        what: &str,
    ) {
        if self.complaints.len() < COMPLAINTS_MAX {
            let whose = sender.map_or_else(|| "nobody".to_owned(), |sender| format!("user {sender}"));
            let prefix = &self.prefix;
            self.complaints
                .push(format!("{prefix}round {round}: user {} {what} (query {slot}, of {whose})", user.id));
        }
    }
}

#[cfg(test)]
mod tests;
