//! Two linked servers of a group whose delivery is `answer`, over a wire that delays and breaks, with answer threads
//! that take their time, and members who send late, to one server, without a signature, or two records at once.
//! Everything follows from a seed.

use super::answer::*;
use super::pair::PEER_TIMEOUT;
use super::*;
use std::collections::{BTreeSet, HashSet};
use twincast_protocol::answer::RECORD_BYTES;
use twincast_protocol::session_key::{self, SessionKey};

const TICK: Duration = Duration::from_millis(10);
const USERS: u32 = 70;

/// What a member does in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Sends,
    SendsTo(usize),
    SendsTwo,
    SendsUnsigned,
    Nothing,
}

/// What a member does in a round, and its records for both servers.
type Given = (Does, [[u8; RECORD_BYTES]; 2]);

/// One dial, for both servers.
struct Dialled {
    id: u64,
    keys: [SessionKey; 2],
}

struct World {
    seed: u64,
    rng: Xoshiro256PlusPlus,
    answering: Answering,
    /// By epoch, user and slot.
    dials: HashMap<(u32, u32, u32), Dialled>,
    /// By number of the dial: the member that it asks for.
    targets: HashMap<u64, Option<u32>>,
    dialled: [HashSet<u64>; 2],
    /// By epoch: the number of each effective dial, `[reader][slot]`.
    effective: HashMap<u32, Vec<Vec<Option<u64>>>>,
    /// By epoch, round and member.
    does: HashMap<(u32, u64, u32), Given>,
    /// By server: whose record it took.
    taken: [HashSet<(u32, u64, u32)>; 2],
    given: [HashSet<(u32, u64, u32)>; 2],
    greeting: [Option<LinkGroup>; 2],
    trouble: f64,
    restarted: bool,
    /// Rounds that were compared.
    compared: BTreeSet<u64>,
    reads: u32,
    absent: u32,
    blamed: u32,
    floods: u32,
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let config = GroupConfig {
            members: USERS - 1,
            members_max: USERS,
            epoch_rounds: [0, 6][rng.random_range(0..2)],
            announce_rounds: 3,
            round_timeout_ms: 150,
            dial_timeout_ms: 400,
            ..answer_config(USERS, rng.random_range(1..3))
        };
        World {
            seed,
            answering: Answering::new(&config, USERS),
            rng,
            dials: HashMap::new(),
            targets: HashMap::new(),
            dialled: Default::default(),
            effective: HashMap::new(),
            does: HashMap::new(),
            taken: Default::default(),
            given: Default::default(),
            greeting: [None, None],
            trouble: 1.0,
            restarted: false,
            compared: BTreeSet::new(),
            reads: 0,
            absent: 0,
            blamed: 0,
            floods: 0,
        }
    }

    fn chance(&mut self, chance: f64) -> bool {
        self.rng.random_bool(chance)
    }

    /// 10 ms of the world.
    fn step(&mut self) {
        self.answering.pair.now += TICK;
        let now = self.answering.pair.now;
        if !self.restarted && self.chance(0.0005 * self.trouble) {
            let side = self.rng.random_range(0..2);
            self.restart(side);
        }
        self.wire();
        for side in 0..2 {
            self.attach(side);
            self.dial(side);
            self.send(side);
            for _ in 0..self.rng.random_range(0..12) {
                let at = self.rng.random_range(0..=self.answering.threads[side].todo.len());
                self.answering.work_at(side, at);
                self.greeting = if self.answering.pair.up { self.greeting } else { [None, None] };
            }
            self.answering.pair.sides[side].tick(now);
            self.watch(side);
            self.check_bounds(side);
        }
        self.compare();
    }

    /// A server stops and starts again, with nothing left of its group.
    fn restart(&mut self, side: usize) {
        self.restarted = true;
        self.answering.collect();
        self.answering.pair.cut();
        let bench = &mut self.answering.pair.sides[side];
        let setup = self.answering.threads[side].setup.clone();
        bench.group = Group::new(*bench.group.shape(), None, Some(setup.clone()));
        bench.out.clear();
        self.answering.threads[side] = Threads::new(setup);
        self.greeting = [None, None];
        // The members' programs ask both servers anew.
        self.dials.clear();
    }

    fn wire(&mut self) {
        if self.answering.pair.up {
            if self.chance(0.01 * self.trouble) {
                self.answering.collect();
                self.answering.pair.cut();
                self.greeting = [None, None];
            }
        } else if self.chance(if self.trouble > 0.0 { 0.03 } else { 0.2 }) {
            // Both say where they stand; each hears it a little later, and may have moved on by then.
            self.answering.collect();
            let [one, two] = &self.answering.pair.sides;
            self.greeting = [two.group.standing(), one.group.standing()].map(Some);
            self.answering.pair.up = true;
        }
        for side in 0..2 {
            if self.answering.pair.up && self.greeting[side].is_some() && self.chance(0.5) {
                let (now, theirs) = (self.answering.pair.now, self.greeting[side].take());
                let bench = &mut self.answering.pair.sides[side];
                bench.group.link_up(theirs.as_ref(), now, &mut bench.out).unwrap();
                self.watch(side);
            }
            let hurry = if self.chance(0.2 * self.trouble) { 0 } else { self.rng.random_range(1..40) };
            for _ in 0..hurry {
                if !self.answering.pair.up || self.greeting[side].is_some() || !self.answering.deliver(side) {
                    break;
                }
            }
            if !self.answering.pair.up {
                self.greeting = [None, None];
            }
        }
    }

    fn attach(&mut self, side: usize) {
        let bench = &mut self.answering.pair.sides[side];
        let now = self.answering.pair.now;
        bench.now = now;
        if bench.group.attached() == 0 {
            bench.join(A, users(0..USERS)).unwrap();
        }
    }

    fn dial(&mut self, side: usize) {
        let Some(coming) = &self.answering.pair.sides[side].group.coming else { return };
        let (epoch, roster) = (coming.epoch(), coming.roster.clone());
        let members = roster.members() as u32;
        for index in 0..members {
            let user = roster.user(MemberIndex(index)).unwrap();
            for slot in 0..self.answering.pair.sides[side].group.shape.slots as u32 {
                if self.chance(0.5 * self.trouble) {
                    continue;
                }
                let World { rng, dials, targets, answering, .. } = self;
                let dialled = dials.entry((epoch.0, user.0, slot)).or_insert_with(|| {
                    let target = rng.random_bool(0.8).then(|| rng.random_range(0..members));
                    let recipients: Vec<_> = target.into_iter().map(MemberIndex).collect();
                    let (one, two) = session_key::dial(members, &recipients, &mut answering.rng).unwrap();
                    answering.dial_id += 1;
                    targets.insert(answering.dial_id, target);
                    Dialled { id: answering.dial_id, keys: [one, two] }
                });
                if self.dialled[side].insert(dialled.id) {
                    let dial = Dial::new(dialled.id, epoch, MemberIndex(index), SlotIndex(slot));
                    let bench = &mut self.answering.pair.sides[side];
                    let key = dialled.keys[side].as_bytes();
                    let _ = bench.group.dial(A, &dial, key, bench.now, &mut bench.out);
                }
            }
        }
        self.watch(side);
    }

    fn send(&mut self, side: usize) {
        let group = &self.answering.pair.sides[side].group;
        let (epoch, round) = (group.epoch().0, group.open_round().0);
        if self.answering.pair.sides[side].group.running.is_none() {
            return;
        }
        for sender in 0..self.answering.pair.sides[side].group.members() as u32 {
            let key = (epoch, round, sender);
            if self.given[side].contains(&key) || self.chance(0.5 * self.trouble) {
                continue;
            }
            if !self.does.contains_key(&key) {
                let does = self.what();
                let one = self.answering.record_of(side, sender, round, message(sender, round).as_bytes());
                let mut two = one;
                match does {
                    Does::SendsTwo => two = self.answering.record_of(side, sender, round, b"another"),
                    Does::SendsUnsigned => two[7] ^= 1,
                    _ => {}
                }
                self.does.insert(key, (does, [one, two]));
            }
            let (does, records) = self.does[&key];
            if does == Does::Nothing || does == Does::SendsTo(1 - side) {
                continue;
            }
            self.given[side].insert(key);
            if self.answering.give(side, sender, round, &records[side]).is_ok() {
                self.taken[side].insert(key);
            }
        }
        self.watch(side);
    }

    fn what(&mut self) -> Does {
        if !self.chance(0.05 * self.trouble) {
            return Does::Sends;
        }
        let side = self.rng.random_range(0..2);
        let all = [Does::Nothing, Does::SendsTo(side), Does::SendsTwo, Does::SendsUnsigned];
        all[self.rng.random_range(0..4)]
    }

    /// Looks at what a server did.
    fn watch(&mut self, side: usize) {
        self.answering.collect();
        let outputs = std::mem::take(&mut self.answering.pair.sides[side].out);
        for output in outputs {
            match output {
                Output::All(_, frame) if kind(&frame) == Kind::EpochOpen => {
                    let group = &self.answering.pair.sides[side].group;
                    let Some(running) = &group.running else { continue };
                    let reader = |reader| {
                        let slots = 0..group.shape.slots;
                        slots.map(|slot| Some(running.dials.effective(reader, slot)?.dial_id)).collect()
                    };
                    let dials: Vec<Vec<_>> = (0..running.roster.members()).map(reader).collect();
                    self.effective.insert(running.epoch().0, dials);
                }
                Output::To(_, frame) if code(&frame) == Some(Code::DialHalf) => {
                    // The next dial has another number, for both servers.
                    let error = ErrorFrame::read(&frame[HEADER_BYTES..]).unwrap().0;
                    self.dials.retain(|(_, user, _), _| *user != error.sender.get());
                }
                Output::Close(_, Code::SignatureFlood) => self.floods += 1,
                Output::Close(..) => panic!("seed {}: a connection is closed", self.seed),
                _ => {}
            }
        }
        for blame in std::mem::take(&mut self.answering.blamed[side]) {
            self.blamed += 1;
            // Users are their own indices as long as nobody leaves.
            let two = |((_, round, user), (does, _)): (&(u32, u64, u32), &(Does, _))| {
                (*round, *user, *does) == (blame.round.0, blame.user.0, Does::SendsTwo)
            };
            let right = blame.fault == Fault::SenderSignedTwo && self.does.iter().any(two);
            assert!(right, "seed {}: {blame:?}", self.seed);
        }
    }

    /// Nothing hangs: a sealed round waits for the other server and its members so long.
    fn check_bounds(&self, side: usize) {
        let group = &self.answering.pair.sides[side].group;
        let Some(since) = group.running.as_ref().and_then(|running| running.rounds.waits_since()) else {
            return;
        };
        let waits = self.answering.pair.now - since;
        let bound = PEER_TIMEOUT + group.shape.round_timeout;
        assert!(waits <= bound, "seed {}, side {side}: a round waits for {waits:?}", self.seed);
    }

    /// What both have answered, they have answered alike, and every query opens to the record that it asks for.
    fn compare(&mut self) {
        let seed = self.seed;
        let [one, two] = &self.answering.answers;
        let both = one.keys().filter(|round| two.contains_key(round) && !self.compared.contains(round));
        for round in both.copied().collect::<Vec<_>>() {
            self.compared.insert(round);
            let [one, two] = [0, 1].map(|side| self.answering.answers[side].remove(&round).unwrap());
            assert_eq!(
                (one.root, one.senders_present, &one.absent),
                (two.root, two.senders_present, &two.absent),
                "seed {seed}, round {round}"
            );
            let epoch = one.roster.epoch().0;
            let dials = self.effective[&epoch].clone();
            self.answering.answers[0].insert(round, one);
            self.answering.answers[1].insert(round, two);
            // A few readers of each round.
            for _ in 0..8 {
                let reader = self.rng.random_range(0..dials.len());
                let target = |slot: u32| dials[reader][slot as usize].and_then(|id| self.targets[&id]);
                let reads = self.answering.read_as(round, reader as u32, target);
                for (slot, read) in reads.into_iter().enumerate() {
                    let Some(target) = target(slot as u32) else {
                        assert_eq!(read, Read::Nothing, "seed {seed}, round {round}, reader {reader}");
                        continue;
                    };
                    let does = self.does.get(&(epoch, round, target)).map(|(does, _)| *does);
                    let taken = self.taken.iter().all(|taken| taken.contains(&(epoch, round, target)));
                    let expected = match does == Some(Does::Sends) && taken {
                        true => Read::Message(message(target, round)),
                        false => Read::Absent,
                    };
                    self.reads += u32::from(expected != Read::Absent);
                    self.absent += u32::from(expected == Read::Absent);
                    assert_eq!(read, expected, "seed {seed}, round {round}, {does:?} of {target}");
                }
            }
            self.answering.answers.iter_mut().for_each(|answers| _ = answers.remove(&round));
        }
        // What one of them alone has answered is read by nobody.
        for answers in &mut self.answering.answers {
            while answers.len() > 4 {
                answers.pop_first();
            }
        }
    }
}

#[test]
fn two_servers_answer_alike_through_losses_delays_and_bad_records() {
    let (mut compared, mut skipped, mut reads, mut absent, mut blamed, mut epochs) = (0, 0, 0, 0, 0, 0);
    let mut floods = 0;
    for seed in 0..8 {
        let mut world = World::new(seed);
        (0..500).for_each(|_| world.step());
        // From now on nothing goes wrong.
        world.trouble = 0.0;
        (0..150).for_each(|_| world.step());
        let (before, rounds) = (world.compared.len(), world.answering.pair.rounds());
        (0..100).for_each(|_| world.step());
        let after = world.answering.pair.rounds();
        let answered = world.compared.len() - before;
        assert!(answered > 5, "seed {seed}: rounds go on, {rounds:?} to {after:?}, {answered} answered");
        assert!(after[0].abs_diff(after[1]) <= 1, "seed {seed}: {after:?}");
        assert_eq!(
            world.answering.pair.closed.iter().filter(|code| **code != Code::EpochMismatch).count(),
            0
        );
        compared += world.compared.len();
        skipped += world.answering.skipped[0].len();
        (reads, absent) = (reads + world.reads, absent + world.absent);
        blamed += world.blamed;
        epochs += world.effective.len();
        floods += world.floods;
    }
    println!(
        "{compared} rounds answered alike, {skipped} left out; {reads} messages read, {absent} absent; \
         {blamed} senders named; {epochs} epochs; {floods} connections closed for their signatures"
    );
    // The world has to be rough enough for all of this to mean something.
    assert!(compared > 500 && skipped > 8 && reads > 5_000 && absent > 40 && blamed > 50 && epochs > 16);
    assert!(floods > 0);
}
