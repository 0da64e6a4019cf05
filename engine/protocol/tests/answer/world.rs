//! A few members, their records of one round, two servers' tables, and answers by the definition.

use rand::SeedableRng;
use rand::rngs::StdRng;
use twincast_protocol::answer::reader::{Reader, RoundContext, Target};
use twincast_protocol::answer::record::{self, Readers};
use twincast_protocol::answer::{ABSENT, RECORD_BYTES, RecordContext, SEALED_BYTES};
use twincast_protocol::identity::SigningKey;
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber};
use twincast_protocol::receive::Verdict;
use twincast_protocol::sealed::SealKey;

pub(crate) const GROUP: GroupId = GroupId(7);
pub(crate) const EPOCH: Epoch = Epoch(3);
pub(crate) const ROUND: RoundNumber = RoundNumber(41);

pub(crate) type Record = [u8; RECORD_BYTES];

/// A verdict that owns its message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Read {
    Accept(Vec<u8>),
    Ignore,
    Tampered,
    Absent,
}

pub(crate) struct World {
    pub(crate) members: Vec<SigningKey>,
    pub(crate) keys: Vec<SealKey>,
    /// Whom both servers list as absent.
    pub(crate) absent: Vec<usize>,
    /// The table that both servers have.
    pub(crate) table: Vec<Record>,
    seed: u64,
}

impl World {
    /// Everybody says "from" and their number, but the last one, who is absent.
    pub(crate) fn new(members: usize, seed: u64) -> World {
        let mut rng = StdRng::seed_from_u64(seed);
        let keys = (0..members).map(|_| SealKey::random(&mut rng)).collect();
        let members: Vec<_> = (0..members).map(|_| SigningKey::random(&mut rng)).collect();
        let mut world = World { members, keys, absent: Vec::new(), table: Vec::new(), seed: seed << 32 };
        world.table = (0..world.members.len()).map(|sender| world.record(sender, ROUND)).collect();
        let last = world.table.len() - 1;
        (world.table[last], world.absent) = (ABSENT, vec![last]);
        world
    }

    pub(crate) fn context(&self, sender: usize, round: RoundNumber) -> RecordContext {
        RecordContext { group: GROUP, epoch: EPOCH, round, sender: MemberIndex(sender as u32) }
    }

    /// New coins each time.
    pub(crate) fn coins(&mut self) -> StdRng {
        self.seed += 1;
        StdRng::seed_from_u64(self.seed)
    }

    pub(crate) fn readers(&self, sender: usize) -> Readers<'_> {
        Readers { key: &self.keys[sender], recipient_set: 5 }
    }

    pub(crate) fn record(&mut self, sender: usize, round: RoundNumber) -> Record {
        self.record_of(sender, round, format!("from {sender}").as_bytes())
    }

    pub(crate) fn record_of(&mut self, sender: usize, round: RoundNumber, message: &[u8]) -> Record {
        let mut out = [0; RECORD_BYTES];
        let (context, mut rng) = (self.context(sender, round), self.coins());
        let readers = Some(self.readers(sender));
        record::make(&context, &self.members[sender], readers, message, &mut rng, &mut out).unwrap();
        out
    }

    /// The record with these sealed bytes, signed by its sender.
    pub(crate) fn signed(&self, sender: usize, record: &Record) -> Record {
        let mut statement = b"twincast/record/v1".to_vec();
        statement.extend(GROUP.0.to_le_bytes());
        statement.extend(EPOCH.0.to_le_bytes());
        statement.extend(ROUND.0.to_le_bytes());
        statement.extend((sender as u32).to_le_bytes());
        statement.extend(&record[..SEALED_BYTES]);
        let mut signed = *record;
        signed[SEALED_BYTES..].copy_from_slice(&self.members[sender].sign(&statement));
        signed
    }

    pub(crate) fn round(&self) -> RoundContext {
        RoundContext { group: GROUP, epoch: EPOCH, round: ROUND }
    }

    pub(crate) fn target(&self, sender: usize) -> Target<'_> {
        Target {
            sender: MemberIndex(sender as u32),
            absent: self.absent.contains(&sender),
            verifying: self.members[sender].verifying_key(),
            readers: Some(self.readers(sender)),
        }
    }

    /// What a reader with this target makes of these answers.
    pub(crate) fn read(&mut self, target: Option<usize>, answers: [&Record; 2], servers_agree: bool) -> Read {
        let mut reader = Reader::default();
        let asked = target.map(|sender| self.target(sender));
        reader.push(&self.round(), asked.as_ref(), answers);
        let mut coins = StdRng::seed_from_u64(self.seed);
        let mut read = None;
        reader.finish(servers_agree, &mut coins, |index, verdict| {
            assert_eq!((index, read.take()), (0, None));
            read = Some(owned(verdict));
        });
        assert!(reader.is_empty());
        read.expect("a verdict")
    }
}

pub(crate) fn owned(verdict: Verdict<'_>) -> Read {
    match verdict {
        Verdict::Accept(message) => Read::Accept(message.to_vec()),
        Verdict::Ignore => Read::Ignore,
        Verdict::Tampered => Read::Tampered,
        Verdict::Absent => Read::Absent,
        Verdict::Incomplete => panic!("both answers are there"),
    }
}

/// The XOR of the records whose bits are set, the first record's lowest.
pub(crate) fn answer(table: &[Record], query: u64) -> Record {
    let mut sum = [0; RECORD_BYTES];
    for (_, record) in (0..).zip(table).filter(|(index, _)| query >> index & 1 == 1) {
        sum.iter_mut().zip(record).for_each(|(sum, byte)| *sum ^= byte);
    }
    sum
}

/// The bit of a target; none for a query that asks for nothing.
pub(crate) fn bit(target: Option<usize>) -> u64 {
    target.map_or(0, |sender| 1 << sender)
}
