//! Members of a group whose delivery is `answer`, at two linked servers: what they ask for, what they send, and what each
//! server therefore has to answer, to the last byte.

use super::client::{error_frame, kind, same, show};
use super::model::{frame, submit_frame};
use super::pair::Servers;
use super::{Pair, Party, group};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use twincast_protocol::answer::{ABSENT, RECORD_BYTES, RecordContext, record};
use twincast_protocol::identity::{SigningKey, VerifyingKey};
use twincast_protocol::ids::{Epoch, GroupId, MemberIndex, RoundNumber, ServerSide, UserId};
use twincast_protocol::wire::{AbsentTile, Code, Kind};
use twincast_server::answer::Identities;
use twincast_server::config::{Config, Delivery, GroupConfig, IdentitiesName};

pub(crate) type Record = [u8; RECORD_BYTES];
type Targets = BTreeMap<(u32, u32), Option<u32>>;
type Queries = BTreeMap<(u32, u32), Vec<u8>>;
/// What is asked for, and by which queries of the two servers.
type Asked = (Targets, [Queries; 2]);

/// What a server signs with.
pub(crate) fn server_seed(side: ServerSide) -> [u8; 32] {
    [200 + side.index() as u8; 32]
}

pub(crate) fn server_key(side: ServerSide) -> VerifyingKey {
    SigningKey::from_seed(&server_seed(side)).verifying_key()
}

/// What a user signs with, in every group.
pub(crate) fn user_key(user: u32) -> SigningKey {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&user.to_le_bytes());
    SigningKey::from_seed(&seed)
}

/// The keys of a server's groups and of as many users as may ever join; none where no group needs them.
pub(crate) fn identities(config: &Config) -> Option<Identities> {
    let known = |group: &&GroupConfig| {
        group.delivery == Delivery::Answer || group.identities == IdentitiesName::Registered
    };
    let known: Vec<&GroupConfig> = config.groups.iter().filter(known).collect();
    if known.is_empty() {
        return None;
    }
    let members = |group: &GroupConfig| -> HashMap<UserId, VerifyingKey> {
        (0..group.members_most() + 10).map(|user| (UserId(user), user_key(user).verifying_key())).collect()
    };
    let side = config.server_side();
    // Where there is a registry, it has everybody who registers.
    let listed = known
        .into_iter()
        .filter(|group| config.registry.is_none() || group.identities == IdentitiesName::Open);
    let all = listed.map(|group| (GroupId(group.id), members(group))).collect();
    Some(Identities::new(&server_seed(side), server_key(side.other()), all))
}

/// A group whose delivery is `answer`, whose time limits never come.
pub(crate) fn answering(id: u32, members: u32, slots: u32) -> GroupConfig {
    GroupConfig {
        delivery: Delivery::Answer,
        frame_bytes: 0,
        slots,
        first_epoch: Some(0),
        ..group(id, members)
    }
}

/// One round's answers of one server for one connection.
pub(crate) struct Answers {
    pub(crate) senders_present: u32,
    /// Ascending.
    pub(crate) absent: Vec<u32>,
    pub(crate) root: [u8; 32],
    /// By (member, slot).
    pub(crate) answers: BTreeMap<(u32, u32), Record>,
}

/// All members of a group, each of whom asks for something.
pub(crate) struct Readers {
    pub(crate) pair: Pair,
    pub(crate) config: GroupConfig,
    /// By (member, slot): whose record is asked for.
    pub(crate) targets: Targets,
    /// By server, then by (member, slot).
    queries: [Queries; 2],
    /// By (round, sender): what both servers have.
    pub(crate) records: BTreeMap<(u64, u32), Record>,
    /// By (server, connection): what came of an announcement while answers were awaited.
    announced: BTreeMap<(usize, usize), Vec<Vec<u8>>>,
    pub(crate) rng: StdRng,
}

impl Readers {
    /// Everybody dials, and the epoch opens.
    pub(crate) fn open(servers: &Servers, config: &GroupConfig, sets: &[Vec<u32>], seed: u64) -> Readers {
        let addresses = ServerSide::BOTH.map(|side| servers.get(side).address());
        Readers::open_at(addresses, config, sets, seed)
    }

    /// The same, at S1 and S2, wherever they are.
    pub(crate) fn open_at(
        addresses: [SocketAddr; 2],
        config: &GroupConfig,
        sets: &[Vec<u32>],
        seed: u64,
    ) -> Readers {
        let parties = ServerSide::BOTH.map(|side| {
            let mut party = Party::new(addresses[side.index()], config, side, seed + side.index() as u64);
            for users in sets {
                party.join(users.clone());
            }
            party
        });
        let mut readers = Readers {
            pair: Pair(parties),
            config: config.clone(),
            targets: BTreeMap::new(),
            queries: Default::default(),
            records: BTreeMap::new(),
            announced: BTreeMap::new(),
            rng: StdRng::seed_from_u64(seed),
        };
        readers.dial();
        readers.pair.each(Party::expect_open);
        readers
    }

    /// Every member asks for a random record, its own, or none, in each slot.
    pub(crate) fn dial(&mut self) {
        let members = self.pair.0[0].model.members as u32;
        self.targets.clear();
        for member in 0..members {
            for slot in 0..self.config.slots {
                let target = match self.rng.random_range(0..5) {
                    0 => None,
                    1 => Some(member),
                    _ => Some(self.rng.random_range(0..members)),
                };
                self.targets.insert((member, slot), target);
            }
        }
        for seat in 0..self.pair.0[0].seats.len() {
            self.dial_seat(seat);
        }
    }

    /// Everybody is told of the epoch to come, which has the same members. A server may hear of it from the other one while
    /// it still works on the answers of the round before.
    pub(crate) fn expect_announcement(&mut self, first_round: u64) {
        for (side, party) in self.pair.0.iter_mut().enumerate() {
            let (epoch, roster) = (party.model.epoch + 1, party.model.roster.clone());
            let next = party.model.next_epoch(epoch, roster, first_round);
            for seat in 0..party.seats.len() {
                let mut early = self.announced.remove(&(side, seat)).unwrap_or_default().into_iter();
                for expected in [next.announce(), next.roster_frame()] {
                    let what = "the epoch to come";
                    let got = early.next().unwrap_or_else(|| party.seats[seat].frame(what));
                    same(&got, &expected, what);
                }
            }
            party.next = Some(next);
        }
    }

    /// Everybody dials the epoch to come. What is asked for from then on comes back.
    pub(crate) fn dial_next(&mut self) -> Asked {
        let running = (self.targets.clone(), self.queries.clone());
        self.swap_models();
        self.dial();
        self.swap_models();
        (std::mem::replace(&mut self.targets, running.0), std::mem::replace(&mut self.queries, running.1))
    }

    /// The epoch to come is the one that runs, and this is asked for.
    pub(crate) fn begin(&mut self, (targets, queries): Asked) {
        (self.targets, self.queries) = (targets, queries);
        self.pair.each(Party::begin_next);
    }

    /// Whether a server's query of a member's slot selects a sender's record.
    pub(crate) fn selects(&self, side: usize, asked: (u32, u32), sender: u32) -> bool {
        self.queries[side][&asked][sender as usize / 8] >> (sender % 8) & 1 == 1
    }

    fn swap_models(&mut self) {
        self.pair.each(|party| {
            std::mem::swap(&mut party.model, party.next.as_mut().expect("it is announced"));
        });
    }

    fn dial_seat(&mut self, seat: usize) {
        let members = self.pair.0[0].model.members;
        let dialled = self.pair.0[0].model.indices(&self.pair.0[0].seats[seat].users);
        let mut frames = [Vec::new(), Vec::new()];
        for (member, slot) in
            dialled.into_iter().flat_map(|member| (0..self.config.slots).map(move |slot| (member, slot)))
        {
            let mut one: Vec<u8> = (0..members.div_ceil(8)).map(|_| self.rng.random()).collect();
            if !members.is_multiple_of(8) {
                *one.last_mut().expect("a member") &= (1 << (members % 8)) - 1;
            }
            let mut two = one.clone();
            if let Some(target) = self.targets[&(member, slot)] {
                two[target as usize / 8] ^= 1 << (target % 8);
            }
            for (side, query) in [one, two].into_iter().enumerate() {
                frames[side].extend(self.pair.0[side].model.dial_with(member, slot, query.clone()));
                self.queries[side].insert((member, slot), query);
            }
        }
        for (party, frames) in self.pair.0.iter_mut().zip(&frames) {
            party.seats[seat].client.send(frames);
        }
        self.pair.each(|party| party.expect_dialled_sometime(seat));
    }

    fn context(&self, round: u64, sender: u32) -> RecordContext {
        RecordContext {
            group: GroupId(self.config.id),
            epoch: Epoch(self.pair.0[0].model.epoch),
            round: RoundNumber(round),
            sender: MemberIndex(sender),
        }
    }

    /// A member's record of a round, sealed for nobody.
    pub(crate) fn make(&mut self, round: u64, sender: u32) -> Record {
        let user = self.pair.0[0].model.roster[sender as usize];
        let context = self.context(round, sender);
        let mut made = [0; RECORD_BYTES];
        record::make(&context, &user_key(user), None, b"", &mut self.rng, &mut made).expect("it fits");
        made
    }

    /// Sends one server a member's record.
    pub(crate) fn send(&mut self, side: usize, round: u64, sender: u32, record: &Record) {
        let party = &mut self.pair.0[side];
        let user = party.model.roster[sender as usize];
        let seat = party.seats.iter_mut().find(|seat| seat.users.contains(&user)).expect("it is attached");
        seat.client.send(&submit_frame(round, sender, record));
    }

    /// Everybody gives both servers a record, but those in `missing`.
    pub(crate) fn submit_but(&mut self, round: u64, missing: &[u32]) {
        let frames = self.submissions(round, missing);
        self.send_all(&frames);
    }

    /// By connection: the submissions of everybody but those in `missing`.
    pub(crate) fn submissions(&mut self, round: u64, missing: &[u32]) -> Vec<Vec<u8>> {
        let seats: Vec<Vec<u32>> = self.pair.0[0].seats.iter().map(|seat| seat.users.clone()).collect();
        let frames = |users: Vec<u32>| {
            let senders = self.pair.0[0].model.indices(&users).into_iter();
            let senders = senders.filter(|sender| !missing.contains(sender));
            let submit = |sender| {
                let record = self.make(round, sender);
                self.records.insert((round, sender), record);
                submit_frame(round, sender, &record)
            };
            senders.flat_map(submit).collect()
        };
        seats.into_iter().map(frames).collect()
    }

    /// Sends both servers what each connection has for them, all at once: who missed the last round is not waited for, and
    /// comes before others of its connection.
    pub(crate) fn send_all(&mut self, frames: &[Vec<u8>]) {
        for (seat, frames) in frames.iter().enumerate() {
            self.pair.each(|party| party.seats[seat].client.send(frames));
        }
    }

    /// One connection's answers, after a look at every byte that can be foreseen.
    pub(crate) fn answers(&mut self, side: usize, seat: usize, round: u64) -> Answers {
        let party = &mut self.pair.0[side];
        let what = party.what(seat, &format!("the answers of round {round}"));
        let users = party.model.indices(&party.seats[seat].users);
        let got = loop {
            let got = party.seats[seat].frame(&what);
            if !matches!(kind(&got), Kind::Announce | Kind::Roster) {
                break got;
            }
            self.announced.entry((side, seat)).or_default().push(got);
        };
        assert_eq!(kind(&got), Kind::Answers, "{what}: got {}", show(&got));
        let slots = self.config.slots;
        let number = |at: usize| u32::from_le_bytes(got[at..at + 4].try_into().expect("four bytes"));
        let (tiles, answers_at) = (number(36), 72 + number(36) as usize * 12);
        let bytes = answers_at + users.len() * slots as usize * RECORD_BYTES;
        assert_eq!(got.len(), bytes, "{what}");
        let list = AbsentTile::read_list(&got[72..answers_at], party.model.members as u32);
        let absent_of = |entry: AbsentTile| {
            let bits = (0..64).filter(move |bit| entry.absent.get() >> bit & 1 == 1);
            bits.map(move |bit| entry.tile.get() * 64 + bit)
        };
        let absent = list.expect("a list").into_iter().flat_map(absent_of).collect();
        let mut head = round.to_le_bytes().to_vec();
        for number in [party.model.epoch, users.len() as u32, slots, RECORD_BYTES as u32, number(32), tiles] {
            head.extend(number.to_le_bytes());
        }
        head.extend(&got[40..72]);
        head.extend(&got[72..]);
        same(&got, &frame(0x8b, &head), &what);
        let answers = got[answers_at..].as_chunks::<RECORD_BYTES>().0;
        let asked = users.iter().flat_map(|&user| (0..slots).map(move |slot| (user, slot)));
        Answers {
            senders_present: number(32),
            absent,
            root: got[40..72].try_into().expect("32 bytes"),
            answers: asked.zip(answers.iter().copied()).collect(),
        }
    }

    /// What one server answers everybody. It names one root to all.
    pub(crate) fn answers_of(&mut self, side: usize, round: u64) -> Answers {
        let mut all = self.answers(side, 0, round);
        for seat in 1..self.pair.0[side].seats.len() {
            let more = self.answers(side, seat, round);
            let said = |of: &Answers| (of.senders_present, of.root, of.absent.clone());
            assert_eq!(said(&more), said(&all), "round {round}");
            all.answers.extend(more.answers);
        }
        all
    }

    /// Everybody gets what it asked for from the two servers together, where these senders are absent.
    pub(crate) fn expect_but(&mut self, round: u64, absent: &[u32]) {
        let members = self.pair.0[0].model.members as u32;
        let both = [0, 1].map(|side| self.answers_of(side, round));
        assert_eq!(both[0].root, both[1].root, "round {round}");
        assert_eq!(both.each_ref().map(|of| of.senders_present), [members - absent.len() as u32; 2]);
        for of in &both {
            assert_eq!(of.absent, absent, "round {round}");
        }
        for (asked, target) in &self.targets {
            let what = || format!("round {round}, member and slot {asked:?}, who asks for {target:?}");
            let xor = &xor(&both[0].answers[asked], &both[1].answers[asked]);
            match target {
                None => assert!(xor == &[0; RECORD_BYTES], "{}", what()),
                Some(target) if absent.contains(target) => {
                    assert!(xor == &[0; RECORD_BYTES], "{}", what());
                }
                Some(target) => assert!(xor == &self.records[&(round, *target)], "{}", what()),
            }
        }
        self.expect_exactly(round, absent, &both);
    }

    /// Every record is known, and zeros in the place of those who are absent: so is every answer of each server, and the
    /// root.
    fn expect_exactly(&self, round: u64, absent: &[u32], both: &[Answers; 2]) {
        let members = self.pair.0[0].model.members as u32;
        let record =
            |sender| if absent.contains(&sender) { &ABSENT } else { &self.records[&(round, sender)] };
        let records: Vec<&Record> = (0..members).map(record).collect();
        for (answers, queries) in both.iter().zip(&self.queries) {
            for (asked, answer) in &answers.answers {
                let query = &queries[asked];
                let mut sum = [0; RECORD_BYTES];
                for (index, record) in records.iter().enumerate() {
                    if query[index / 8] >> (index % 8) & 1 == 1 {
                        sum = xor(&sum, record);
                    }
                }
                assert!(*answer == sum, "round {round}, member and slot {asked:?}");
            }
        }
        let leaves =
            records.iter().map(|record| Sha256::new_with_prefix([0]).chain_update(record).finalize().into());
        assert_eq!(both[0].root, tree(&leaves.collect::<Vec<[u8; 32]>>()), "round {round}");
    }

    /// A whole round.
    pub(crate) fn play(&mut self, round: u64) {
        self.submit_but(round, &[]);
        self.expect_but(round, &[]);
    }

    /// Both servers refuse a member's record.
    pub(crate) fn expect_refused(&mut self, side: usize, round: u64, sender: u32, code: Code) {
        let party = &mut self.pair.0[side];
        let user = party.model.roster[sender as usize];
        let seat = party.seats.iter_mut().find(|seat| seat.users.contains(&user)).expect("it is attached");
        seat.expect(&error_frame(code, sender, u32::MAX, round), "a record is refused");
    }
}

pub(crate) fn xor(one: &Record, two: &Record) -> Record {
    std::array::from_fn(|byte| one[byte] ^ two[byte])
}

/// RFC 6962, 2.1, by hand.
fn tree(leaves: &[[u8; 32]]) -> [u8; 32] {
    if let [only] = leaves {
        return *only;
    }
    let mut left = 1;
    while left * 2 < leaves.len() {
        left *= 2;
    }
    let mut hash = Sha256::new();
    hash.update([1]);
    hash.update(tree(&leaves[..left]));
    hash.update(tree(&leaves[left..]));
    hash.finalize().into()
}
