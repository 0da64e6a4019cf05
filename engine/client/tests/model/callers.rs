//! What the callers of clients say, and what they are told.

use super::Shape;
use super::records::{Heard, KeyRing};
use std::collections::{HashMap, HashSet};
use twincast_client::{Author, Deal, Event, Known, Messages, Observer, Outbox, Tile, User};
use twincast_protocol::accountable::evidence::Evidence;
use twincast_protocol::identity::SigningKey;
use twincast_protocol::ids::{Epoch, MemberIndex, RoundNumber, SlotIndex, UserId};
use twincast_protocol::receive::{Verdict, Verdicts};

/// By n, a reader and a query: whose records it asks for, if anybody's.
pub type Reads = fn(u32, u32, u32) -> Option<u32>;

/// Whom everybody writes to and what.
pub struct Workload {
    shape: Shape,
    /// The members of each epoch.
    pub rosters: HashMap<u32, Vec<UserId>>,
    pub epoch: Epoch,
    recipients: Vec<UserId>,
    message: Vec<u8>,
    deal: Vec<(UserId, Vec<u8>)>,
    pub submitted: Vec<(RoundNumber, MemberIndex)>,
    /// Recipients that are asked for besides, whoever they are.
    pub besides: Vec<UserId>,
    pub reads: Reads,
    /// What is said instead, if anything.
    pub text: Option<Vec<u8>>,
    /// Users who send nothing, and who send cover.
    pub silent: HashSet<UserId>,
    pub cover: HashSet<UserId>,
    /// What users prove with who they are.
    pub identities: HashMap<UserId, SigningKey>,
    keys: KeyRing,
}

/// The next member, with the first query alone.
pub fn next_member(members: u32, reader: u32, slot: u32) -> Option<u32> {
    (slot == 0).then_some((reader + 1) % members)
}

impl Workload {
    pub fn new(shape: Shape, rosters: HashMap<u32, Vec<UserId>>, epoch: Epoch) -> Workload {
        Workload {
            shape,
            rosters,
            epoch,
            recipients: Vec::new(),
            message: Vec::new(),
            deal: Vec::new(),
            submitted: Vec::new(),
            besides: Vec::new(),
            reads: next_member,
            text: None,
            silent: HashSet::new(),
            cover: HashSet::new(),
            identities: HashMap::new(),
            keys: KeyRing::default(),
        }
    }

    pub fn text(round: u64, sender: UserId, slot: u32) -> Vec<u8> {
        format!("round {round}, {sender}, {slot}").into_bytes()
    }

    fn targets(&self, epoch: Epoch, sender: User, slot: u32) -> Vec<UserId> {
        let roster = &self.rosters[&epoch.0];
        let members = roster.len() as u32;
        if self.shape.answer {
            let asked = (self.reads)(members, sender.member.0, slot);
            return asked.into_iter().map(|member| roster[member as usize]).collect();
        }
        let is_for = |user: &u32| self.shape.is_for(members, sender.member.0, slot, *user);
        (0..members).filter(is_for).map(|member| roster[member as usize]).collect()
    }
}

impl Outbox for Workload {
    fn recipients(&mut self, epoch: Epoch, sender: User, slot: SlotIndex) -> &[UserId] {
        self.recipients = self.targets(epoch, sender, slot.0);
        self.recipients.extend(&self.besides);
        &self.recipients
    }

    fn message(&mut self, round: RoundNumber, sender: User, slot: SlotIndex) -> &[u8] {
        let text = || Workload::text(round.0, sender.id, slot.0);
        self.message = self.text.clone().unwrap_or_else(text);
        &self.message
    }

    fn deal(&mut self, round: RoundNumber, sender: User) -> Deal<'_> {
        let text = |user: UserId| (user, Workload::text(round.0, sender.id, 0));
        self.deal = self.targets(self.epoch, sender, 0).into_iter().map(text).collect();
        Deal { messages: &self.deal, noise: 1 }
    }

    fn key_partners(&mut self, epoch: Epoch, sender: User) -> &[UserId] {
        self.recipients = self.targets(epoch, sender, 0);
        &self.recipients
    }

    fn author(&mut self, _round: RoundNumber, sender: User) -> Option<Author<'_>> {
        if self.silent.contains(&sender.id) {
            return None;
        }
        let is_cover = self.cover.contains(&sender.id);
        let keys = self.keys.of(sender.id);
        Some(Author { signing: &keys.signing, readers: (!is_cover).then(|| keys.readers()) })
    }

    fn identity(&mut self, user: UserId) -> Option<&SigningKey> {
        self.identities.get(&user)
    }

    fn submitted(&mut self, round: RoundNumber, sender: User) {
        self.submitted.push((round, sender.member));
    }
}

/// Keeps everything that a client tells.
#[derive(Default)]
pub struct Record {
    pub verdicts: HashMap<(u64, u32, u32, u32), Verdicts>,
    pub messages: HashMap<(u64, u32, u32, u32), Vec<u8>>,
    pub events: Vec<Event>,
    pub unread: usize,
    pub refuse_all: bool,
    /// By round, reader and query: whose record it is, and the verdict.
    pub answers: HashMap<(u64, u32, u32), (Option<UserId>, Heard)>,
    /// Senders whose records no user here can open, or even verify.
    pub cannot_open: HashSet<UserId>,
    pub cannot_verify: HashSet<UserId>,
    /// In an accountable group: the user and what it was given.
    pub evidence: Vec<(MemberIndex, Evidence)>,
    keys: KeyRing,
}

impl Observer for Record {
    fn wants(&mut self, _tile: &Tile, _user: User) -> bool {
        !self.refuse_all
    }

    fn verdicts(&mut self, tile: &Tile, user: User, verdicts: &Verdicts, messages: &Messages<'_>) {
        let Verdicts { accept, ignore, tampered, absent, incomplete } = *verdicts;
        let masks = [accept, ignore, tampered, absent, incomplete];
        assert_eq!(masks.iter().fold(0, |all, mask| all | mask), tile.mask(), "a verdict for each sender");
        assert_eq!(masks.iter().map(|mask| mask.count_ones()).sum::<u32>(), tile.senders, "and one only");
        let key = (tile.round.0, tile.tile, tile.slot.0, user.member.0);
        assert!(self.verdicts.insert(key, *verdicts).is_none(), "two verdicts on {key:?}");
        for position in (0..tile.senders).filter(|position| accept >> position & 1 == 1) {
            let sender = tile.first_sender.0 + position;
            let text = messages.get(position as usize).to_vec();
            self.messages.insert((tile.round.0, sender, tile.slot.0, user.member.0), text);
        }
    }

    fn unread(&mut self, _tile: &Tile, _user: User) {
        self.unread += 1;
    }

    fn known(&mut self, _epoch: Epoch, _user: User, sender: UserId) -> Option<Known<'_>> {
        if self.cannot_verify.contains(&sender) {
            return None;
        }
        let is_closed = self.cannot_open.contains(&sender);
        let keys = self.keys.of(sender);
        let verifying = keys.signing.verifying_key();
        Some(Known { verifying, readers: (!is_closed).then(|| keys.readers()) })
    }

    fn answer(
        &mut self,
        round: RoundNumber,
        user: User,
        slot: SlotIndex,
        sender: Option<UserId>,
        verdict: Verdict<'_>,
    ) {
        let key = (round.0, user.member.0, slot.0);
        assert!(self.answers.insert(key, (sender, verdict.into())).is_none(), "two verdicts on {key:?}");
    }

    fn evidence(&mut self, user: User, evidence: Box<Evidence>) {
        self.evidence.push((user.member, *evidence));
    }

    fn event(&mut self, event: Event) {
        self.events.push(event);
    }
}

impl Record {
    pub fn closed(&self) -> Vec<u64> {
        let round = |event: &Event| match event {
            Event::RoundClosed { round, .. } => Some(round.0),
            _ => None,
        };
        self.events.iter().filter_map(round).collect()
    }

    pub fn read(&self) -> Vec<u64> {
        let round = |event: &Event| match event {
            Event::RoundRead { round } => Some(round.0),
            _ => None,
        };
        self.events.iter().filter_map(round).collect()
    }

    /// The verdicts of a round, by reader and query.
    pub fn heard(&self, round: u64) -> Vec<((u32, u32), Heard)> {
        let of_round = self.answers.iter().filter(|(key, _)| key.0 == round);
        let mut heard: Vec<_> = of_round.map(|(key, (_, heard))| ((key.1, key.2), heard.clone())).collect();
        heard.sort_by_key(|(key, _)| *key);
        heard
    }

    /// Checks that everybody has read exactly what it asked for.
    pub fn check_answers(&self, workload: &Workload, round: u64, users: &[MemberIndex], roster: &[UserId]) {
        let (members, slots) = (roster.len() as u32, workload.shape.slots);
        for (user, slot) in users.iter().flat_map(|user| (0..slots).map(move |slot| (user, slot))) {
            let sender = (workload.reads)(members, user.0, slot).map(|member| roster[member as usize]);
            let expected = match sender {
                Some(sender) => Heard::Accept(Workload::text(round, sender, 0)),
                None => Heard::Ignore,
            };
            let answer = self.answers.get(&(round, user.0, slot));
            assert_eq!(answer, Some(&(sender, expected)), "round {round}, query {slot} of {user}");
        }
    }

    pub fn sum(&self, mask: impl Fn(&Verdicts) -> u64) -> u32 {
        self.verdicts.values().map(|verdicts| mask(verdicts).count_ones()).sum()
    }

    /// Checks that exactly the messages of `round` that are for `users` have come, and everything else was dummies.
    pub fn check_round(&self, shape: Shape, round: u64, users: &[MemberIndex], roster: &[UserId]) {
        let members = roster.len() as u32;
        for user in users {
            for (sender, slot) in (0..members).flat_map(|s| (0..shape.slots).map(move |k| (s, k))) {
                let verdicts = self.verdicts[&(round, sender / 64, slot, user.0)];
                let message = self.messages.get(&(round, sender, slot, user.0));
                if shape.is_for(members, sender, slot, user.0) {
                    let text = Workload::text(round, roster[sender as usize], slot);
                    let (start, padding) = message.expect("a message").split_at(text.len());
                    assert_eq!(start, text);
                    assert!(padding.iter().all(|byte| *byte == 0), "padded with zeros");
                } else {
                    assert_eq!(message, None);
                    assert_eq!(verdicts.ignore >> (sender % 64) & 1, 1, "round {round}, {sender} to {user}");
                }
            }
        }
    }
}
