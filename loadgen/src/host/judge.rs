//! Compares what arrives with what was sent, as far as it is decoded.

use crate::control::Totals;
use crate::plan::{Plan, Verify};
use crate::workload::Workload;
use std::rc::Rc;
use twincast_client::{Messages, Tile, User};
use twincast_protocol::receive::Verdicts;

/// Complaints that are kept in words.
pub(super) const COMPLAINTS_MAX: usize = 10;

/// The judge of one connection's users.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) workload: Rc<Workload>,
    verify: Verify,
    /// Which senders write to whom: [`Workload::senders_to`].
    senders: Vec<u64>,
    users: usize,
    tiles: usize,
    /// (message, recipient) pairs that should arrive in a round.
    expected: u64,
    /// "group 3, " where there is more than one.
    prefix: String,
    pub(super) totals: Totals,
    pub(super) complaints: Vec<String>,
    message: Vec<u8>,
}

impl Judge {
    /// A judge for `users` (member indices, ascending) of a group.
    pub(super) fn new(plan: &Plan, group: u32, users: &[u32], workload: Rc<Workload>) -> Judge {
        let senders = workload.senders_to(users);
        let expected = senders.iter().map(|word| u64::from(word.count_ones())).sum();
        let prefix = if plan.groups > 1 { format!("group {group}, ") } else { String::new() };
        Judge {
            verify: plan.verify,
            users: users.len(),
            tiles: plan.group.div_ceil(64) as usize,
            expected,
            prefix,
            senders,
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
        messages: &Messages<'_>,
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
        messages: &Messages<'_>,
        mut arrived: impl FnMut(),
    ) {
        self.totals.tampered += count(verdicts.tampered);
        self.totals.absent += count(verdicts.absent);
        self.totals.incomplete += count(verdicts.incomplete);
        for position in bits(verdicts.accept) {
            let is_for_user = expected >> position & 1 == 1;
            let sender = tile.first_sender.0 + position;
            let bytes = messages.get(position as usize);
            self.workload.message(tile.round.0, sender, tile.slot.0, &mut self.message);
            match (is_for_user, self.message == bytes) {
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

    /// Both servers left the round out: everything that should have come is lost.
    pub(super) fn skipped(&mut self, round: u64) {
        self.totals.lost += self.expected;
        let prefix = &self.prefix;
        let text = format!("{prefix}round {round}: both servers left it out, {} messages lost", self.expected);
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
            let text = format!("{prefix}round {round}: user {} {what} (sender {sender}, slot {slot})", user.member);
            self.complaints.push(text);
        }
    }

    /// Whether somebody sent this message in this round.
    fn is_sent(&mut self, round: u64, bytes: &[u8]) -> bool {
        let Some(origin) = self.workload.whose(bytes) else { return false };
        self.workload.message(round, origin.sender, origin.slot, &mut self.message);
        self.message == bytes
    }
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
