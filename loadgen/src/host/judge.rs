//! Compares what arrives with what was sent, as far as it is decoded.

use crate::control::Totals;
use crate::plan::{Plan, Verify};
use crate::workload::Workload;
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
        let text =
            format!("{prefix}round {round}: both servers left it out, {} messages lost", self.expected);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Peers;
    use std::collections::HashMap;
    use twincast_protocol::ids::{MemberIndex, RoundNumber, SlotIndex};

    const USERS: [u32; 4] = [2, 5, 64, 69];

    struct Feed(HashMap<usize, Vec<u8>>);

    impl Accepted for Feed {
        fn get(&self, sender_in_tile: usize) -> &[u8] {
            &self.0[&sender_in_tile]
        }
    }

    fn plan(verify: Verify) -> Plan {
        Plan {
            group: 70,
            groups: 1,
            hosts: 1,
            rounds: 1,
            warmup: 0,
            slots: 2,
            frame_bytes: 288,
            message_bytes: 256,
            peers: Peers::Subset(3),
            confirm: true,
            users_per_connection: 100,
            ahead: 0,
            verify,
            seed: 5,
            host_skew_bytes: 1 << 20,
        }
    }

    fn judge(verify: Verify) -> Judge {
        let plan = plan(verify);
        Judge::new(&plan, 0, &USERS, Rc::new(Workload::new(&plan, 0)))
    }

    fn tiles() -> impl Iterator<Item = Tile> {
        [(0, 0), (0, 1), (1, 0), (1, 1)].into_iter().map(|(tile, slot)| Tile {
            round: RoundNumber(7),
            slot: SlotIndex(slot),
            tile,
            first_sender: MemberIndex(tile * 64),
            senders: if tile == 0 { 64 } else { 6 },
        })
    }

    fn users() -> impl Iterator<Item = User> {
        USERS.into_iter().enumerate().map(|(position, user)| User { position, member: MemberIndex(user) })
    }

    fn message(judge: &Judge, round: u64, sender: u32, slot: u32) -> Vec<u8> {
        let mut out = Vec::new();
        judge.workload.message(round, sender, slot, &mut out);
        out
    }

    /// A faultless round, with `change` at what arrives from each tile for each user; how many messages arrived.
    fn play(judge: &mut Judge, mut change: impl FnMut(&Judge, &Tile, User, &mut Verdicts, &mut Feed)) -> u64 {
        let mut arrived = 0;
        for (tile, user) in tiles().flat_map(|tile| users().map(move |user| (tile, user))) {
            let accept = judge.senders_to(&tile, user);
            let mut verdicts = Verdicts { accept, ignore: tile.mask() & !accept, ..Verdicts::default() };
            let text = |position| message(judge, 7, tile.first_sender.0 + position, tile.slot.0);
            let mut feed = Feed(bits(accept).map(|position| (position as usize, text(position))).collect());
            change(judge, &tile, user, &mut verdicts, &mut feed);
            judge.judge(&tile, user, &verdicts, &feed, || arrived += 1);
        }
        arrived
    }

    /// Does something once, at the first tile and user for which `find` finds a sender.
    fn once(
        find: impl Fn(u64) -> u64,
        mut act: impl FnMut(&Judge, &Tile, u32, &mut Verdicts, &mut Feed),
    ) -> impl FnMut(&Judge, &Tile, User, &mut Verdicts, &mut Feed) {
        let mut done = false;
        move |judge, tile, user, verdicts, feed| {
            let found = find(judge.senders_to(tile, user)) & tile.mask();
            if !done && found != 0 {
                act(judge, tile, found.trailing_zeros(), verdicts, feed);
                done = true;
            }
        }
    }

    #[test]
    fn a_faultless_round_has_no_complaint() {
        let mut judge = judge(Verify::All);
        let arrived = play(&mut judge, |_, _, _, _, _| ());
        assert_eq!(arrived, judge.expected);
        let totals = Totals {
            accepted: judge.expected,
            ignored: 4 * 140 - judge.expected,
            shares_verified: 4 * 140,
            ..Totals::default()
        };
        assert_eq!((judge.totals, judge.complaints.len()), (totals, 0));
        assert!(judge.expected > 10, "the test needs some messages");
    }

    #[test]
    fn lost_messages_are_counted_with_their_reason() {
        for (reason, set) in [
            ("tampered", (|v, bit| v.tampered |= bit) as fn(&mut Verdicts, u64)),
            ("incomplete", |v, bit| v.incomplete |= bit),
            ("absent", |v, bit| v.absent |= bit),
            ("a dummy came", |v, bit| v.ignore |= bit),
        ] {
            let mut judge = judge(Verify::All);
            let arrived = play(
                &mut judge,
                once(
                    |expected| expected,
                    |_, _, sender, verdicts, _| {
                        verdicts.accept &= !(1 << sender);
                        set(verdicts, 1 << sender);
                    },
                ),
            );
            assert_eq!((judge.totals.lost, judge.totals.accepted, arrived), (1, judge.expected - 1, arrived));
            assert_eq!(judge.complaints.len(), 1);
            let complaint = &judge.complaints[0];
            assert!(complaint.starts_with("round 7: user 2 lost a message: "), "{complaint}");
            assert!(complaint.contains(reason) && complaint.contains("(sender "), "{complaint}");
        }
    }

    #[test]
    fn altered_misdelivered_and_extra_messages_are_told_apart() {
        let mut altered = judge(Verify::All);
        play(
            &mut altered,
            once(
                |expected| expected,
                |_, _, sender, _, feed| {
                    feed.0.get_mut(&(sender as usize)).unwrap()[100] ^= 1;
                },
            ),
        );
        assert_eq!((altered.totals.altered, altered.totals.lost), (1, 0));
        assert!(altered.complaints[0].contains("got an altered message"), "{:?}", altered.complaints);

        // The cell of a sender who does not write to this user decodes after all: with what the sender wrote ..
        let wrong = |text: fn(&Judge, &Tile, u32) -> Vec<u8>| {
            let mut judge = judge(Verify::All);
            play(
                &mut judge,
                once(
                    |expected| !expected,
                    |judge, tile, sender, verdicts, feed| {
                        verdicts.ignore &= !(1 << sender);
                        verdicts.accept |= 1 << sender;
                        feed.0.insert(sender as usize, text(judge, tile, tile.first_sender.0 + sender));
                    },
                ),
            );
            assert_eq!(judge.totals.accepted, judge.expected);
            (judge.totals.misdelivered, judge.totals.extra)
        };
        assert_eq!(wrong(|judge, tile, sender| message(judge, 7, sender, tile.slot.0)), (1, 0));
        // .. with what somebody else wrote, with what was written in another round, with anything.
        assert_eq!(wrong(|judge, _, sender| message(judge, 7, (sender + 9) % 70, 1)), (1, 0));
        assert_eq!(wrong(|judge, tile, sender| message(judge, 6, sender, tile.slot.0)), (0, 1));
        assert_eq!(wrong(|_, _, _| vec![7; 256]), (0, 1));
    }

    #[test]
    fn complaints_are_limited_and_skipped_rounds_lose_everything() {
        let mut judge = judge(Verify::All);
        play(&mut judge, |_, tile, _, verdicts, _| {
            *verdicts = Verdicts { tampered: tile.mask(), ..Verdicts::default() };
        });
        assert_eq!((judge.totals.lost, judge.totals.tampered), (judge.expected, 4 * 140));
        assert_eq!(judge.complaints.len(), COMPLAINTS_MAX);
        judge.reset();
        judge.skipped(8);
        assert_eq!((judge.totals.lost, judge.complaints.len()), (judge.expected, 1));
    }

    #[test]
    fn a_sample_always_has_a_users_own_and_addressed_cells() {
        let (all, none, count) = (judge(Verify::All), judge(Verify::Sample(0.0)), judge(Verify::Count));
        for (tile, user) in tiles().flat_map(|tile| users().map(move |user| (tile, user))) {
            let needed = none.senders_to(&tile, user) != 0 || tile.bit_of(user.member).is_some();
            assert_eq!(none.wants(&tile, user), needed);
            assert!(all.wants(&tile, user) && !count.wants(&tile, user));
        }
    }
}
