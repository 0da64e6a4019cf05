//! Compares what arrives with what was sent, as far as it is decoded.

mod answers;

use crate::control::Totals;
use crate::plan::{Plan, Verify};
use crate::workload::{Arrivals, Workload};
pub(super) use answers::Answer;
use std::rc::Rc;
use twincast_client::{Messages, Tile, User};
use twincast_protocol::receive::Verdicts;

/// Complaints that are kept in words.
pub(super) const COMPLAINTS_MAX: usize = 10;

/// Messages that were accepted, by the sender's position in the tile.
pub(super) trait Accepted {
    fn get(&self, sender_in_tile: usize) -> &[u8];
}

impl Accepted for Messages<'_> {
    fn get(&self, sender_in_tile: usize) -> &[u8] {
        Messages::get(self, sender_in_tile)
    }
}

/// The judge of one connection's users.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) workload: Rc<Workload>,
    verify: Verify,
    slots: usize,
    tiles: usize,
    /// Whether a message may come with zeros after it: the paper's frame has no length.
    padded: bool,
    /// The first user of the epoch that [`Judge::senders`] is of.
    first_user: u32,
    /// How many users the connection has.
    users: usize,
    /// Members of the group.
    members: u32,
    /// Whether each round has recipients of its own, and a sender several messages in one slot.
    is_dealt: bool,
    /// Whose rounds the table is of ([`Workload::drawing`]).
    drawing: Option<(u32, u64)>,
    /// Of the round, where it is dealt.
    arrivals: Rc<Arrivals>,
    /// Whether users read one record for each query, instead of a tile for each 64 senders.
    answers: bool,
    /// In answer delivery: queries of the judge's users in the present epoch.
    queries: u64,
    /// Who writes to whom: for (slot, tile, user), users innermost, a word with a bit for each sender of the tile.
    senders: Vec<u64>,
    /// "group 3, " where there is more than one.
    prefix: String,
    pub(super) totals: Totals,
    pub(super) complaints: Vec<String>,
    message: Vec<u8>,
}

impl Judge {
    /// A judge for so many users of a group, who are told apart by their position.
    pub(super) fn new(plan: &Plan, group: u32, users: usize, workload: Rc<Workload>) -> Judge {
        let prefix = if plan.groups > 1 { format!("group {group}, ") } else { String::new() };
        Judge {
            verify: plan.verify,
            slots: plan.slots as usize,
            tiles: plan.group.div_ceil(64) as usize,
            padded: plan.profile.is_paper(),
            first_user: 0,
            users,
            members: plan.group,
            is_dealt: plan.dealt().is_some(),
            drawing: None,
            arrivals: Rc::default(),
            answers: plan.answers(),
            queries: 0,
            senders: Vec::new(),
            prefix,
            workload,
            totals: Totals::default(),
            complaints: Vec::new(),
            message: Vec::new(),
        }
    }

    /// Forgets what it has counted.
    pub(super) fn reset(&mut self) {
        self.totals = Totals::default();
        self.complaints.clear();
    }

    /// Cells of this round come next, in an epoch whose users begin with `first_user`. Those of the judge are
    /// `members`: position and index.
    pub(super) fn begin(
        &mut self,
        epoch: u32,
        round: u64,
        first_user: u32,
        members: impl Iterator<Item = (usize, u32)>,
    ) {
        let drawing = self.workload.drawing(epoch, round);
        if self.drawing == Some(drawing) {
            return;
        }
        self.drawing = Some(drawing);
        self.first_user = first_user;
        if self.answers {
            // Whom a query asks for is a function of its reader: there is nothing to note for each.
            self.queries = members.count() as u64 * self.slots as u64;
            return;
        }
        self.senders.clear();
        self.senders.resize(self.slots * self.tiles * self.users, 0);
        if self.is_dealt {
            self.arrivals = self.workload.arrivals(epoch, round);
            for (position, member) in members {
                for arrival in self.arrivals.to(member) {
                    note(&mut self.senders, (self.tiles, self.users), arrival.slot, arrival.sender, position);
                }
            }
            return;
        }
        // Sets of recipients may be large: they are drawn one at a time, and only bits are kept.
        let mut positions = vec![None; self.members as usize];
        members.for_each(|(position, member)| positions[member as usize] = Some(position));
        let mut recipients = Vec::new();
        for (slot, sender) in
            (0..self.slots as u32).flat_map(|slot| (0..self.members).map(move |sender| (slot, sender)))
        {
            self.workload.recipients(epoch, sender, slot, &mut recipients);
            for position in recipients.iter().filter_map(|member| positions[*member as usize]) {
                note(&mut self.senders, (self.tiles, self.users), slot, sender, position);
            }
        }
    }

    /// (message, recipient) pairs that should arrive in a round of the present drawing.
    fn expected(&self) -> u64 {
        if self.answers {
            return self.queries;
        }
        self.senders.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Who of the tile writes to the user.
    #[inline]
    fn senders_to(&self, tile: &Tile, user: User) -> u64 {
        self.senders[(tile.slot.0 as usize * self.tiles + tile.tile as usize) * self.users + user.position]
    }

    /// Whether the cells are to be decoded.
    #[inline]
    pub(super) fn wants(&self, tile: &Tile, user: User) -> bool {
        match self.verify {
            Verify::All => true,
            Verify::Count => false,
            Verify::Sample(share) => {
                self.senders_to(tile, user) != 0
                    || tile.bit_of(user.member).is_some()
                    || self.workload.is_sampled(share, tile.round.0, user.member.0, tile.slot.0, tile.tile)
            }
        }
    }

    /// The cells were passed over.
    #[inline]
    pub(super) fn unread(&mut self, tile: &Tile) {
        self.totals.shares_counted += u64::from(tile.senders);
    }

    /// Judges one user's cells of a tile. Calls `arrived` for each message that arrived as it should.
    #[inline]
    pub(super) fn judge(
        &mut self,
        tile: &Tile,
        user: User,
        verdicts: &Verdicts,
        messages: &impl Accepted,
        arrived: impl FnMut(),
    ) {
        let Verdicts { accept, ignore, tampered, absent, incomplete } = *verdicts;
        let expected = self.senders_to(tile, user);
        self.totals.shares_verified += count(accept | ignore | tampered);
        self.totals.ignored += count(ignore & !expected);
        if expected | accept | tampered | absent | incomplete != 0 {
            self.judge_more(tile, user, verdicts, expected, messages, arrived);
        }
    }

    fn judge_more(
        &mut self,
        tile: &Tile,
        user: User,
        verdicts: &Verdicts,
        expected: u64,
        messages: &impl Accepted,
        mut arrived: impl FnMut(),
    ) {
        self.totals.tampered += count(verdicts.tampered);
        self.totals.absent += count(verdicts.absent);
        self.totals.incomplete += count(verdicts.incomplete);
        for position in bits(verdicts.accept) {
            let is_for_user = expected >> position & 1 == 1;
            let sender = tile.first_sender.0 + position;
            let bytes = messages.get(position as usize);
            let which = self.which(tile, user, sender);
            self.workload.message(tile.round.0, self.first_user + sender, which, &mut self.message);
            match (is_for_user, self.is_message(bytes)) {
                (true, true) => {
                    self.totals.accepted += 1;
                    arrived();
                }
                (true, false) => {
                    self.totals.altered += 1;
                    self.complain(tile, user, sender, "got an altered message");
                }
                (false, _) if self.is_sent(tile.round.0, bytes) => {
                    self.totals.misdelivered += 1;
                    self.complain(tile, user, sender, "read a message that is for somebody else");
                }
                (false, _) => {
                    self.totals.extra += 1;
                    self.complain(tile, user, sender, "got a message that nobody sent");
                }
            }
        }
        for position in bits(expected & !verdicts.accept & tile.mask()) {
            let here = |mask: u64| mask >> position & 1 == 1;
            let lost = match () {
                () if here(verdicts.tampered) => "lost a message: tampered",
                () if here(verdicts.incomplete) => "lost a message: incomplete",
                () if here(verdicts.absent) => "lost a message: absent",
                () => "lost a message: a dummy came",
            };
            self.totals.lost += 1;
            self.complain(tile, user, tile.first_sender.0 + position, lost);
        }
        for position in bits(verdicts.tampered & !expected) {
            self.complain(tile, user, tile.first_sender.0 + position, "got tampered cells");
        }
    }

    /// Which message of the sender it is.
    fn which(&self, tile: &Tile, user: User, sender: u32) -> u32 {
        let dealt = self.is_dealt.then(|| self.arrivals.which(user.member.0, tile.slot.0, sender));
        dealt.flatten().unwrap_or(tile.slot.0)
    }

    /// Both servers left the round out: everything that should have come is lost.
    pub(super) fn skipped(&mut self, round: u64) {
        let (lost, prefix) = (self.expected(), &self.prefix);
        let text = format!("{prefix}round {round}: both servers left it out, {lost} messages lost");
        self.totals.lost += lost;
        self.note(text);
    }

    /// Keeps a complaint, if there is room.
    pub(super) fn note(&mut self, complaint: String) {
        if self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.push(complaint);
        }
    }

    fn complain(&mut self, tile: &Tile, user: User, sender: u32, what: &str) {
        if self.complaints.len() < COMPLAINTS_MAX {
            let (prefix, round, slot) = (&self.prefix, tile.round, tile.slot);
            let text =
                format!("{prefix}round {round}: user {} {what} (sender {sender}, slot {slot})", user.member);
            self.complaints.push(text);
        }
    }

    /// Whether somebody sent this message in this round.
    fn is_sent(&mut self, round: u64, bytes: &[u8]) -> bool {
        let Some(origin) = self.workload.whose(bytes) else { return false };
        self.workload.message(round, origin.sender, origin.which, &mut self.message);
        self.is_message(bytes)
    }

    /// Whether these are the bytes of [`Judge::message`], with their padding.
    fn is_message(&self, bytes: &[u8]) -> bool {
        match bytes.split_at_checked(self.message.len()) {
            Some((message, rest)) => {
                message == self.message
                    && (rest.is_empty() || self.padded && rest.iter().all(|byte| *byte == 0))
            }
            None => false,
        }
    }
}

/// Sets the bit of a sender for the user at a position.
fn note(senders: &mut [u64], (tiles, users): (usize, usize), slot: u32, sender: u32, position: usize) {
    let tile = slot as usize * tiles + sender as usize / 64;
    senders[tile * users + position] |= 1 << (sender % 64);
}

fn count(mask: u64) -> u64 {
    mask.count_ones().into()
}

/// The positions of the bits that are set.
fn bits(mut mask: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let position = (mask != 0).then(|| mask.trailing_zeros())?;
        mask &= mask - 1;
        Some(position)
    })
}

#[cfg(test)]
mod tests;
