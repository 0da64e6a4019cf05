//! What a judge says of rounds that are right, and of each thing that can be wrong.

use super::*;
use crate::plan::{Many, Peers, ProfileName};
use std::collections::HashMap;
use twincast_protocol::ids::{Epoch, MemberIndex, RoundNumber, SlotIndex, UserId};

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
        hosts: 1,
        slots: 2,
        peers: Peers::Subset(3),
        users_per_connection: 100,
        verify,
        seed: 5,
        ..Plan::default()
    }
}

fn judge(verify: Verify) -> Judge {
    judge_of(&plan(verify), 7)
}

/// A judge of the first epoch's round 7.
fn judge_of(plan: &Plan, round: u64) -> Judge {
    let mut judge = Judge::new(plan, 0, USERS.len(), Rc::new(Workload::new(plan, 0)));
    judge.begin(0, round, 0, USERS.into_iter().enumerate());
    judge
}

fn tiles() -> impl Iterator<Item = Tile> {
    [(0, 0), (0, 1), (1, 0), (1, 1)].into_iter().map(|(tile, slot)| Tile {
        epoch: Epoch(0),
        round: RoundNumber(7),
        slot: SlotIndex(slot),
        tile,
        first_sender: MemberIndex(tile * 64),
        senders: if tile == 0 { 64 } else { 6 },
    })
}

fn users() -> impl Iterator<Item = User> {
    USERS.into_iter().enumerate().map(|(position, user)| User {
        position,
        id: UserId(user),
        member: MemberIndex(user),
    })
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
    assert_eq!(arrived, judge.expected());
    let totals = Totals {
        accepted: judge.expected(),
        ignored: 4 * 140 - judge.expected(),
        shares_verified: 4 * 140,
        ..Totals::default()
    };
    assert_eq!((judge.totals, judge.complaints.len()), (totals, 0));
    assert!(judge.expected() > 10, "the test needs some messages");
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
        assert_eq!((judge.totals.lost, judge.totals.accepted, arrived), (1, judge.expected() - 1, arrived));
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
        assert_eq!(judge.totals.accepted, judge.expected());
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
    assert_eq!((judge.totals.lost, judge.totals.tampered), (judge.expected(), 4 * 140));
    assert_eq!(judge.complaints.len(), COMPLAINTS_MAX);
    judge.reset();
    judge.skipped(8);
    assert_eq!((judge.totals.lost, judge.complaints.len()), (judge.expected(), 1));
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

#[test]
fn recipients_of_the_next_epoch_or_batch_are_others() {
    let mut judge = judge(Verify::All);
    let before = judge.senders.clone();
    judge.begin(0, 8, 0, USERS.into_iter().enumerate());
    assert_eq!(judge.senders, before, "the same epoch");
    judge.begin(1, 9, 0, USERS.into_iter().enumerate());
    assert_ne!(judge.senders, before);

    let many = Many { recipients: 40, spread: 2, noise_min: 0, noise_max: 0 };
    let paper = ProfileName::PaperXor;
    let plan = Plan { profile: paper, peers: Peers::Many(many), slots: 1, ..plan(Verify::All) };
    let (mut judge, first) = (judge_of(&plan, 1), judge_of(&plan, 1).senders);
    judge.begin(0, 2, 0, USERS.into_iter().enumerate());
    assert_ne!(judge.senders, first, "the other part of the batch");
}

#[test]
fn users_who_are_no_members_expect_nothing() {
    let mut judge = judge(Verify::All);
    judge.begin(1, 9, 3, USERS.into_iter().enumerate().skip(1).map(|(position, user)| (position, user - 3)));
    assert!(judge.senders.iter().step_by(USERS.len()).all(|word| *word == 0));
    assert!(judge.expected() > 0);
}

#[test]
fn zeros_after_a_message_are_padding_in_a_paper_profile_only() {
    for (profile, altered) in [(ProfileName::Compact, 1), (ProfileName::PaperAdd, 0)] {
        let plan = Plan { profile, message_bytes: 240, peers: Peers::Own, ..plan(Verify::All) };
        let mut judge = judge_of(&plan, 7);
        play(
            &mut judge,
            once(
                |expected| expected,
                |_, _, sender, _, feed| feed.0.get_mut(&(sender as usize)).unwrap().extend([0; 16]),
            ),
        );
        assert_eq!(judge.totals.altered, altered, "{profile}");
    }
}
