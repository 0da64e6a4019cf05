//! Two linked servers of a group whose delivery is `answer`, with answer threads that do what they are given, and
//! members who send records and ask for some.

use super::pair::{PEER_TIMEOUT, Pair};
use super::*;
use crate::answer::{Done, Members, RoundAnswers, Work, perform};
use rand::rngs::StdRng;
use std::collections::{BTreeMap, VecDeque};
use twincast_answer::{Answers, Kernel, Part, Queries, parts};
use twincast_protocol::answer::reader::{Reader, RoundContext, Target};
use twincast_protocol::answer::record::{self, Readers};
use twincast_protocol::answer::{RECORD_BYTES, RecordContext};
use twincast_protocol::identity::{SigningKey, VerifyingKey};
use twincast_protocol::receive::Verdict;
use twincast_protocol::sealed::SealKey;
use twincast_protocol::session_key;
use twincast_protocol::wire::link::{LinkFrame, RecordTile};

pub(super) const THREADS: usize = 2;
const SERVER_SEEDS: [[u8; 32]; 2] = [[1; 32], [2; 32]];

pub(super) fn answer_config(members: u32, slots: u32) -> GroupConfig {
    GroupConfig {
        members,
        slots,
        delivery: crate::config::Delivery::Answer,
        frame_bytes: 272,
        ..config(false, 1)
    }
}

/// The key that a user signs with.
pub(super) fn signing(user: u32) -> SigningKey {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&user.to_le_bytes());
    SigningKey::from_seed(&seed)
}

/// What a user's readers open its records with.
fn seal_key(user: u32) -> SealKey {
    let mut rng = StdRng::seed_from_u64(u64::from(user));
    SealKey::random(&mut rng)
}

fn servers() -> [VerifyingKey; 2] {
    SERVER_SEEDS.map(|seed| SigningKey::from_seed(&seed).verifying_key())
}

/// The answer threads of one server: each work is done when the test says so.
pub(super) struct Threads {
    pub(super) setup: Arc<Setup>,
    parts: Vec<Part>,
    pub(super) queries: Option<Arc<Queries>>,
    /// The round that is added to, and each part's answers.
    adding: Option<(RoundNumber, Vec<Answers>)>,
    pub(super) todo: VecDeque<Work>,
    rng: StdRng,
}

impl Threads {
    pub(super) fn new(setup: Arc<Setup>) -> Threads {
        let rng = StdRng::seed_from_u64(setup.side.index() as u64);
        Threads { setup, parts: Vec::new(), queries: None, adding: None, todo: VecDeque::new(), rng }
    }

    fn answers(&mut self, round: RoundNumber) -> (&mut [Part], &Queries, &mut Vec<Answers>) {
        let Threads { parts, queries, adding, .. } = self;
        if adding.as_ref().is_none_or(|(known, _)| *known != round) {
            assert!(adding.is_none(), "{round:?} is added to before the last one is over");
            *adding = Some((round, parts.iter().map(Part::answers).collect()));
        }
        let queries = queries.as_ref().expect("an epoch opens before it is answered");
        (parts, queries, &mut adding.as_mut().expect("it was made").1)
    }

    /// Does one work.
    fn work(&mut self, work: Work) -> Vec<Done> {
        match work {
            Work::Open { roster, queries } => {
                assert_eq!(queries.shape().records(), roster.members());
                assert!(self.adding.is_none(), "an epoch opens while a round is added to");
                self.parts = parts(queries.shape(), THREADS);
                self.queries = Some(queries);
                Vec::new()
            }
            Work::Close => {
                assert!(self.adding.is_none(), "an epoch is given up while a round is added to");
                (self.parts, self.queries) = (Vec::new(), None);
                Vec::new()
            }
            Work::Add { round, rows } => {
                let (parts, queries, answers) = self.answers(round);
                for (part, answers) in parts.iter_mut().zip(answers) {
                    let records = rows.records[..rows.senders].as_flattened();
                    part.add(Kernel::Portable, rows.tile, records, queries, answers);
                }
                Vec::new()
            }
            Work::Finish { round } => {
                let (known, answers) = self.adding.take().expect("something was added");
                assert_eq!(known, round);
                let done = answers.into_iter().enumerate();
                done.map(|(part, answers)| Done::Part { round, part, answers: Arc::new(answers) }).collect()
            }
            Work::Abandon { round } => {
                // Its answers may be on their way already.
                assert!(self.adding.take().is_none_or(|(known, _)| known == round));
                Vec::new()
            }
            work => {
                let done = perform(work, &self.setup.clone(), &mut self.rng);
                vec![done.expect("the others are answered")]
            }
        }
    }
}

/// Both servers, their threads and all members.
pub(super) struct Answering {
    pub(super) pair: Pair,
    pub(super) threads: [Threads; 2],
    /// By epoch, reader and slot: whom it asks for.
    pub(super) targets: HashMap<(u32, u32, u32), Option<u32>>,
    /// By server and round.
    pub(super) answers: [BTreeMap<u64, Arc<RoundAnswers>>; 2],
    /// What servers made of it.
    pub(super) blamed: [Vec<Blame>; 2],
    pub(super) skipped: [Vec<u64>; 2],
    /// The next dials have numbers from here on, alike for both servers.
    pub(super) dial_id: u64,
    pub(super) rng: StdRng,
}

impl Answering {
    /// Linked, nobody attached. There are keys for `known` users.
    pub(super) fn new(config: &GroupConfig, known: u32) -> Answering {
        Answering::started_at(config, known, [Duration::ZERO; 2])
    }

    /// The same, of servers that are started at these times of the Unix clock.
    pub(super) fn started_at(config: &GroupConfig, known: u32, unix: [Duration; 2]) -> Answering {
        let members: HashMap<_, _> =
            (0..known).map(|user| (UserId(user), signing(user).verifying_key())).collect();
        let setups = ServerSide::BOTH.map(|side| {
            Arc::new(Setup {
                group: GroupId(config.id),
                side,
                signing: SigningKey::from_seed(&SERVER_SEEDS[side.index()]),
                peer: servers()[1 - side.index()],
                members: Members::List(members.clone()),
            })
        });
        let mut pair =
            Pair::new(&GroupConfig { delivery: crate::config::Delivery::Broadcast, ..config.clone() });
        for (bench, setup) in pair.sides.iter_mut().zip(&setups) {
            let shape = Shape::new(config, setup.side)
                .with_link(PEER_TIMEOUT)
                .with_answer_threads(THREADS)
                .with_unix_at_zero(unix[setup.side.index()]);
            bench.group = Group::new(shape, None, Some(setup.clone()));
        }
        pair.connect();
        Answering {
            pair,
            threads: setups.map(Threads::new),
            targets: HashMap::new(),
            answers: Default::default(),
            blamed: Default::default(),
            skipped: Default::default(),
            dial_id: 0,
            rng: StdRng::seed_from_u64(9),
        }
    }

    /// All members attached by `A` and dialled, each for the senders that `target` says; round 1 is open.
    pub(super) fn running(config: &GroupConfig, target: impl Fn(u32, u32) -> Option<u32>) -> Answering {
        let mut answering = Answering::new(config, config.members);
        answering.open(config.members, target);
        answering
    }

    /// All members are attached by `A` and dial the epoch that comes; its first round is open.
    pub(super) fn open(&mut self, members: u32, target: impl Fn(u32, u32) -> Option<u32>) {
        self.pair.attach(A, users(0..members));
        let [epoch, other] = self.pair.epochs();
        assert_eq!(epoch, other);
        self.dial(epoch, 0..members, target);
        assert_eq!(self.pair.rounds(), [1, 1], "open on both");
        self.settle();
        self.pair.clear();
    }

    /// What members were told at a side of records: in order, and by whose connection.
    pub(super) fn told(&self, side: usize, connection: ConnectionId) -> Vec<(Code, u32, u64)> {
        let frames = self.pair.sides[side].frames_to(connection);
        let errors = frames.iter().filter(|frame| kind(frame) == Kind::Error);
        let errors = errors.map(|frame| ErrorFrame::read(&frame[HEADER_BYTES..]).unwrap().0);
        let of = |error: ErrorFrame| {
            let code = Code::from_number(error.code.get()).unwrap();
            (code, error.sender.get(), error.round.get())
        };
        errors.map(of).collect()
    }

    /// Readers dial all their queries at both servers.
    pub(super) fn dial(
        &mut self,
        epoch: u32,
        readers: std::ops::Range<u32>,
        target: impl Fn(u32, u32) -> Option<u32>,
    ) {
        let members = self.pair.sides[0].group.members_of(Epoch(epoch)).unwrap() as u32;
        let slots = self.pair.sides[0].group.shape.slots as u32;
        for reader in readers {
            for slot in 0..slots {
                let target = target(reader, slot);
                self.targets.insert((epoch, reader, slot), target);
                let recipients: Vec<_> = target.into_iter().map(MemberIndex).collect();
                let keys = session_key::dial(members, &recipients, &mut self.rng).unwrap();
                self.dial_id += 1;
                for (side, key) in self.pair.sides.iter_mut().zip([keys.0, keys.1]) {
                    side.dial_id = self.dial_id;
                    let user = side.group.coming.as_ref().unwrap().roster.user(MemberIndex(reader)).unwrap();
                    let connection = side.group.seats.connection_of(user).unwrap();
                    side.dial(connection, epoch, reader, slot, key.as_bytes()).unwrap();
                }
            }
        }
        self.tick(self.pair.now);
    }

    /// A record of a member with an index of the running epoch.
    pub(super) fn record(&mut self, sender: u32, round: u64, message: &[u8]) -> [u8; RECORD_BYTES] {
        self.record_of(0, sender, round, message)
    }

    /// The same, of the epoch that runs at a side.
    pub(super) fn record_of(
        &mut self,
        side: usize,
        sender: u32,
        round: u64,
        message: &[u8],
    ) -> [u8; RECORD_BYTES] {
        let roster = self.pair.sides[side].group.roster().clone();
        let user = roster.user(MemberIndex(sender)).unwrap();
        let context = RecordContext {
            group: self.pair.sides[0].group.shape.group,
            epoch: roster.epoch(),
            round: RoundNumber(round),
            sender: MemberIndex(sender),
        };
        let key = seal_key(user.0);
        let readers = Some(Readers { key: &key, recipient_set: 3 });
        let mut record = [0; RECORD_BYTES];
        record::make(&context, &signing(user.0), readers, message, &mut self.rng, &mut record).unwrap();
        record
    }

    pub(super) fn give(
        &mut self,
        side: usize,
        sender: u32,
        round: u64,
        record: &[u8; RECORD_BYTES],
    ) -> Result<(), Code> {
        let bench = &mut self.pair.sides[side];
        let roster = bench.group.roster().clone();
        let user = roster.user(MemberIndex(sender)).unwrap();
        let connection = bench.group.seats.connection_of(user).ok_or(Code::NotAttached)?;
        bench.shares = record.to_vec();
        let given = bench.submit(connection, sender, round);
        self.collect();
        given
    }

    /// A member sends its record to both.
    pub(super) fn send(&mut self, sender: u32, round: u64) {
        let record = self.record(sender, round, message(sender, round).as_bytes());
        (0..2).for_each(|side| self.give(side, sender, round, &record).unwrap());
    }

    /// All send to both but these, and everything is done.
    pub(super) fn play(&mut self, round: u64, but: &[u32]) {
        let members = self.pair.sides[0].group.members() as u32;
        (0..members).filter(|sender| !but.contains(sender)).for_each(|sender| self.send(sender, round));
        self.settle();
    }

    /// Sorts out what the groups want.
    pub(super) fn collect(&mut self) {
        self.pair.collect();
        for side in 0..2 {
            let outputs = std::mem::take(&mut self.pair.sides[side].out);
            for output in outputs {
                match output {
                    Output::Answer(work) => self.threads[side].todo.push_back(work),
                    Output::Answers(answers) => {
                        let round = answers.round.0;
                        let twice = self.answers[side].insert(round, answers);
                        assert!(twice.is_none(), "round {round} is answered twice");
                    }
                    Output::Blame(blame) => self.blamed[side].push(blame),
                    Output::Skipped(round) => self.skipped[side].push(round.0),
                    output => self.pair.sides[side].out.push(output),
                }
            }
        }
    }

    /// The first work of a side is done.
    pub(super) fn work(&mut self, side: usize) -> bool {
        self.work_at(side, 0)
    }

    /// The work at a place in a side's queue is done, or the first one on the table where that is one.
    pub(super) fn work_at(&mut self, side: usize, at: usize) -> bool {
        self.collect();
        let todo = &mut self.threads[side].todo;
        let at = match todo.get(at) {
            Some(work) if work.is_on_table() => todo.iter().position(Work::is_on_table).expect("it is one"),
            _ => at,
        };
        let Some(work) = todo.remove(at) else { return false };
        for done in self.threads[side].work(work) {
            let bench = &mut self.pair.sides[side];
            if let Err(code) = bench.group.worked(done, self.pair.now, &mut bench.out) {
                self.pair.closed.push(code);
                self.collect();
                self.pair.cut();
            }
            self.collect();
        }
        true
    }

    /// One frame reaches a side.
    pub(super) fn deliver(&mut self, side: usize) -> bool {
        self.collect();
        let delivered = self.pair.deliver(side);
        self.collect();
        delivered
    }

    /// Until nothing is to be done and nothing on the wire.
    pub(super) fn settle(&mut self) {
        while self.work(0) | self.work(1) | self.deliver(0) | self.deliver(1) {}
    }

    pub(super) fn tick(&mut self, now: Duration) {
        for _ in 0..2 {
            self.pair.now = now;
            self.pair.sides.iter_mut().for_each(|side| side.tick(now));
            self.settle();
        }
    }

    pub(super) fn wait(&mut self, time: Duration) {
        let until = self.pair.now + time;
        while self.pair.now < until {
            self.tick(until.min(self.pair.now + millis(10)));
        }
    }

    /// What a reader makes of a round that both servers answered, by slot.
    pub(super) fn read(&mut self, round: u64, reader: u32) -> Vec<Read> {
        let epoch = self.answers[0][&round].roster.epoch().0;
        let targets = self.targets.clone();
        self.read_as(round, reader, |slot| targets[&(epoch, reader, slot)])
    }

    /// The same for a reader who asks for the senders that `target` says.
    pub(super) fn read_as(
        &mut self,
        round: u64,
        reader: u32,
        target: impl Fn(u32) -> Option<u32>,
    ) -> Vec<Read> {
        let [one, two] = [0, 1].map(|side| self.answers[side][&round].clone());
        let roster = one.roster.clone();
        assert_eq!(roster, two.roster);
        let context = RoundContext { group: GroupId(7), epoch: roster.epoch(), round: RoundNumber(round) };
        let mut reading = Reader::default();
        for slot in 0..one.slots {
            let query = reader as usize * one.slots + slot;
            let answers = [&one, &two].map(|answers| {
                let mut answer = [0; RECORD_BYTES];
                assert_eq!(answers.set.gather(query, 0, &mut answer), RECORD_BYTES);
                answer
            });
            let target = target(slot as u32);
            let user = target.map(|target| roster.user(MemberIndex(target)).unwrap());
            let key = user.map(|user| seal_key(user.0));
            let target = target.zip(user).map(|(target, user)| Target {
                sender: MemberIndex(target),
                absent: one.absent.iter().any(|entry| {
                    entry.tile.get() == target / 64 && entry.absent.get() >> (target % 64) & 1 == 1
                }),
                verifying: signing(user.0).verifying_key(),
                readers: key.as_ref().map(|key| Readers { key, recipient_set: 3 }),
            });
            reading.push(&context, target.as_ref(), [&answers[0], &answers[1]]);
        }
        let mut verdicts = Vec::new();
        reading.finish(one.root == two.root && one.absent == two.absent, &mut self.rng, |_, verdict| {
            verdicts.push(match verdict {
                Verdict::Accept(message) => Read::Message(String::from_utf8(message.to_vec()).unwrap()),
                Verdict::Ignore => Read::Nothing,
                Verdict::Absent => Read::Absent,
                other => panic!("reader {reader} in round {round}: {other:?}"),
            });
        });
        verdicts
    }

    /// Every reader of a round gets what it asked for, and those in `absent` are so.
    pub(super) fn check(&mut self, round: u64, absent: &[u32]) {
        let [one, two] = [0, 1].map(|side| self.answers[side][&round].clone());
        let members = one.roster.members() as u32;
        assert_eq!((one.root, one.senders_present), (two.root, two.senders_present), "round {round}");
        assert_eq!(one.senders_present, members - absent.len() as u32, "round {round}");
        let mut listed = [0_u64; 4];
        absent.iter().for_each(|sender| listed[*sender as usize / 64] |= 1 << (sender % 64));
        for answers in [&one, &two] {
            let list: Vec<_> =
                answers.absent.iter().map(|entry| (entry.tile.get() as usize, entry.absent.get())).collect();
            let expected = listed.iter().copied().enumerate().filter(|(_, absent)| *absent != 0);
            assert_eq!(list, expected.collect::<Vec<_>>(), "round {round}");
        }
        for reader in 0..members {
            for (slot, read) in self.read(round, reader).into_iter().enumerate() {
                let target = self.targets[&(one.roster.epoch().0, reader, slot as u32)];
                let expected = match target {
                    None => Read::Nothing,
                    Some(target) if absent.contains(&target) => Read::Absent,
                    Some(target) => Read::Message(message(target, round)),
                };
                assert_eq!(read, expected, "reader {reader}, slot {slot}, round {round}");
            }
        }
    }

    pub(super) fn about(&self, round: u64, tile: u32, senders: u64) -> RecordTile {
        RecordTile {
            group: 7.into(),
            epoch: self.pair.sides[0].group.epoch().0.into(),
            round: round.into(),
            senders: senders.into(),
            tile: tile.into(),
            reserved: 0.into(),
        }
    }

    /// A frame that a server gets from whoever says it is the other one.
    pub(super) fn hear(&mut self, side: usize, frame: LinkFrame) -> Result<(), Code> {
        let bench = &mut self.pair.sides[side];
        let heard = bench.group.peer(frame, self.pair.now, &mut bench.out);
        self.collect();
        heard
    }
}

/// What a reader has of a query.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    Message(String),
    Nothing,
    Absent,
}

pub(super) fn message(sender: u32, round: u64) -> String {
    format!("{sender} in {round}")
}
