//! Who signs and opens what in a group whose delivery is `answer`, and a server that answers as naively as can be.

use super::Server;
use std::collections::HashMap;
use twincast_protocol::answer::record::Readers;
use twincast_protocol::answer::table::{Digest, digest, tree_hash};
use twincast_protocol::answer::{ABSENT, RECORD_BYTES};
use twincast_protocol::identity::SigningKey;
use twincast_protocol::ids::{MemberIndex, UserId};
use twincast_protocol::receive::Verdict;
use twincast_protocol::sealed::SealKey;
use twincast_protocol::wire::{AbsentTile, Answers, Body, HEADER_BYTES, Header};

pub type Record = [u8; RECORD_BYTES];

/// What a user has: a key to sign with, and one that all readers of its records know.
pub struct Keys {
    pub signing: SigningKey,
    pub seal: SealKey,
    pub recipient_set: u64,
}

impl Keys {
    pub fn of(user: UserId) -> Keys {
        let seed = |kind: u8| {
            let mut seed = [kind; 32];
            seed[..4].copy_from_slice(&user.0.to_le_bytes());
            seed
        };
        let (signing, seal) = (SigningKey::from_seed(&seed(1)), SealKey::from_bytes(&seed(2)));
        Keys { signing, seal, recipient_set: user.0.into() }
    }

    pub fn readers(&self) -> Readers<'_> {
        Readers { key: &self.seal, recipient_set: self.recipient_set }
    }
}

/// A verdict that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Accept(Vec<u8>),
    Ignore,
    Tampered,
    Absent,
    Incomplete,
}

impl From<Verdict<'_>> for Heard {
    fn from(verdict: Verdict<'_>) -> Heard {
        match verdict {
            Verdict::Accept(message) => Heard::Accept(message.to_vec()),
            Verdict::Ignore => Heard::Ignore,
            Verdict::Tampered => Heard::Tampered,
            Verdict::Absent => Heard::Absent,
            Verdict::Incomplete => Heard::Incomplete,
        }
    }
}

/// Every member's keys, made once.
#[derive(Default)]
pub struct KeyRing(HashMap<UserId, Keys>);

impl KeyRing {
    pub fn of(&mut self, user: UserId) -> &Keys {
        self.0.entry(user).or_insert_with(|| Keys::of(user))
    }
}

impl Server {
    /// The record of everybody in a round: what was sent, or zeros.
    pub fn table(&self, round: u64) -> Vec<Record> {
        let record = |member: u32| match self.shares.get(&(round, member)) {
            Some(record) => record[..].try_into().expect("a record"),
            None => ABSENT,
        };
        (0..self.members(self.epoch)).map(record).collect()
    }

    /// Who sent nothing for a round, by tile.
    pub fn absent(&self, round: u64) -> Vec<AbsentTile> {
        let mut list: Vec<AbsentTile> = Vec::new();
        let is_absent = |member: &u32| !self.shares.contains_key(&(round, *member));
        for member in (0..self.members(self.epoch)).filter(is_absent) {
            let (tile, bit) = (member / 64, 1_u64 << (member % 64));
            match list.last_mut() {
                Some(entry) if entry.tile.get() == tile => entry.absent = (entry.absent.get() | bit).into(),
                _ => list.push(AbsentTile { tile: tile.into(), absent: bit.into() }),
            }
        }
        list
    }

    /// ANSWERS from a table. What `change` gets besides the head is all that follows it, absent senders first.
    pub fn answers_from(
        &self,
        round: u64,
        users: &[MemberIndex],
        table: &[Record],
        change: impl Fn(&mut Answers, &mut Vec<u8>),
    ) -> Vec<u8> {
        let absent = self.absent(round);
        let entry = |entry: &AbsentTile| [&entry.tile.to_bytes()[..], &entry.absent.to_bytes()].concat();
        let mut answers: Vec<u8> = absent.iter().flat_map(entry).collect();
        for (user, slot) in users.iter().flat_map(|user| (0..self.shape.slots).map(move |slot| (user, slot)))
        {
            let mut sum = [0; RECORD_BYTES];
            let query = self.keys.get(&(self.epoch.0, user.0, slot));
            for (member, record) in (0..).map(MemberIndex).zip(table) {
                if query.is_some_and(|(key, _)| key.bit(member)) {
                    sum.iter_mut().zip(record).for_each(|(sum, byte)| *sum ^= byte);
                }
            }
            answers.extend(sum);
        }
        let digests: Vec<Digest> = table.iter().map(digest).collect();
        let mut head = Answers {
            round: round.into(),
            epoch: self.epoch.0.into(),
            users: (users.len() as u32).into(),
            queries: self.shape.slots.into(),
            record_bytes: (RECORD_BYTES as u32).into(),
            senders_present: (self.shares.keys().filter(|key| key.0 == round).count() as u32).into(),
            absent_tiles: (absent.len() as u32).into(),
            root: tree_hash(&digests),
        };
        change(&mut head, &mut answers);
        let mut out = Vec::new();
        head.put(answers.len(), &mut out);
        out.extend(answers);
        out
    }

    /// ANSWERS as they should be; nothing for a connection that plays nobody.
    pub fn answers(&self, round: u64, users: &[MemberIndex]) -> Vec<u8> {
        if users.is_empty() {
            return Vec::new();
        }
        self.answers_from(round, users, &self.table(round), |_, _| ())
    }
}

/// The kind and length of each frame.
pub fn frames(mut bytes: &[u8]) -> Vec<(u8, usize)> {
    let mut frames = Vec::new();
    while let Some(header) = bytes.first_chunk::<HEADER_BYTES>() {
        let Header { kind, body_bytes } = Header::parse(header).expect("a client's frames are well formed");
        frames.push((kind as u8, body_bytes as usize));
        bytes = &bytes[HEADER_BYTES + body_bytes as usize..];
    }
    frames
}
