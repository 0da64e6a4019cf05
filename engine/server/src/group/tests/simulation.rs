//! Two linked servers and their clients over a wire that delays and breaks, users who come, go, join and leave, and
//! who reach one server only now and then. Everything follows from a seed.

use super::pair::{PEER_TIMEOUT, Pair};
use super::*;
use std::collections::{BTreeMap, HashSet};

const TICK: Duration = Duration::from_millis(10);
const USERS: u32 = 14;

/// One user, who knows of each server what its frames say.
#[derive(Default)]
struct User {
    attached: [Option<ConnectionId>; 2],
    /// By epoch and slot: the number of its dial.
    dial_ids: HashMap<(u32, u32), u64>,
    /// By server: dials that it sent over this connection.
    sent: [HashSet<u64>; 2],
}

/// What a server said when it opened an epoch.
#[derive(Debug, PartialEq, Eq)]
struct Opened {
    first: u64,
    members: [u8; 32],
    dialled: Vec<u32>,
}

/// What one server released.
#[derive(Default)]
struct Seen {
    /// By epoch, round, tile and slot: who was present.
    words: BTreeMap<(u32, u64, u32, u32), u64>,
    /// By epoch and round: tiles without the other server's word, and senders.
    rounds: BTreeMap<(u32, u64), SealedRound>,
    opened: BTreeMap<u32, Opened>,
    newest: (u32, u64),
}

struct World {
    seed: u64,
    rng: Xoshiro256PlusPlus,
    pair: Pair,
    users: Vec<User>,
    seen: [Seen; 2],
    next_connection: u64,
    next_dial: u64,
    /// What each side was told at the start of the link that is being made, until it has heard it.
    greeting: [Option<LinkGroup>; 2],
    /// Chance of everything that goes wrong.
    trouble: f64,
    /// A server may lose its state once.
    restarted: bool,
    mismatches: u32,
    joined: u32,
    left: u32,
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let config = GroupConfig {
            members: 10,
            members_max: USERS,
            epoch_rounds: [0, 6, 9][rng.random_range(0..3)],
            announce_rounds: rng.random_range(2..6),
            round_timeout_ms: 150,
            dial_timeout_ms: 400,
            ..config(rng.random(), rng.random_range(1..3))
        };
        World {
            seed,
            pair: Pair::new(&config),
            rng,
            users: (0..USERS).map(|_| User::default()).collect(),
            seen: Default::default(),
            next_connection: 0,
            next_dial: 0,
            greeting: [None, None],
            trouble: 1.0,
            restarted: false,
            mismatches: 0,
            joined: 0,
            left: 0,
        }
    }

    fn chance(&mut self, chance: f64) -> bool {
        self.rng.random_bool(chance)
    }

    /// 10 ms of the world.
    fn step(&mut self) {
        self.pair.now += TICK;
        let now = self.pair.now;
        if !self.restarted && self.chance(0.0005 * self.trouble) {
            let side = self.rng.random_range(0..2);
            self.restart(side);
        }
        self.wire();
        for user in 0..USERS as usize {
            for side in 0..2 {
                self.act(user, side);
                self.watch(side);
            }
        }
        for side in 0..2 {
            self.pair.sides[side].tick(now);
            self.watch(side);
            self.check_bounds(side);
        }
    }

    /// A server stops and starts again, with nothing left of its group.
    fn restart(&mut self, side: usize) {
        self.restarted = true;
        self.pair.cut();
        self.watch(0);
        self.watch(1);
        let shape = *self.pair.sides[side].group.shape();
        self.pair.sides[side] = Bench::of(shape, MemoryBox::of(1 << 30));
        self.pair.sides[side].now = self.pair.now;
        self.greeting = [None, None];
        for user in &mut self.users {
            user.attached[side] = None;
            // Its program asks both servers anew.
            user.dial_ids.clear();
        }
    }

    fn wire(&mut self) {
        let trouble = self.trouble;
        if self.pair.up {
            if self.chance(0.01 * trouble) {
                self.pair.cut();
                self.greeting = [None, None];
            }
        } else if self.chance(0.05) {
            // Both say where they stand; each hears it a little later, and may have moved on by then.
            let [one, two] = &self.pair.sides;
            self.greeting = [two.group.standing(), one.group.standing()].map(Some);
            self.pair.up = true;
        }
        for side in 0..2 {
            self.watch(side);
            if self.pair.up && self.greeting[side].is_some() && self.chance(0.5) {
                let (now, theirs) = (self.pair.now, self.greeting[side].take());
                let bench = &mut self.pair.sides[side];
                bench.group.link_up(theirs.as_ref(), now, &mut bench.out).unwrap();
                self.watch(side);
            }
            let hurry = if self.chance(0.2 * trouble) { 0 } else { self.rng.random_range(1..40) };
            for _ in 0..hurry {
                if !self.pair.up || self.greeting[side].is_some() || !self.pair.deliver(side) {
                    break;
                }
                (0..2).for_each(|side| self.watch(side));
            }
            if !self.pair.up {
                self.greeting = [None, None];
            }
        }
    }

    fn act(&mut self, user: usize, side: usize) {
        let (trouble, id) = (self.trouble, UserId(user as u32));
        let Some(connection) = self.users[user].attached[side] else {
            let member = self.pair.sides[side].group.is_known(id);
            if self.chance(if member || trouble == 0.0 { 0.3 } else { 0.02 }) {
                self.next_connection += 1;
                let connection = ConnectionId(self.next_connection);
                let joined = self.pair.sides[side].join(connection, vec![id]);
                assert!(joined.is_ok(), "seed {}: {joined:?}", self.seed);
                self.users[user].attached[side] = Some(connection);
                self.users[user].sent[side].clear();
            }
            return;
        };
        if self.chance(0.003 * trouble) {
            let bench = &mut self.pair.sides[side];
            bench.group.detach(connection, bench.now, &mut bench.out);
            self.users[user].attached[side] = None;
            return;
        }
        if self.chance(0.001 * trouble) {
            let _ = self.pair.sides[side].leave(connection, id.0);
        }
        if self.chance(1.0 - 0.5 * trouble) {
            self.dial(user, side, connection);
        }
        if self.chance(1.0 - 0.5 * trouble) {
            self.give_parts(user, side, connection);
        }
        let bench = &mut self.pair.sides[side];
        let index = bench.group.running.as_ref().and_then(|running| running.roster.index_of(id));
        if let Some(index) = index
            && self.rng.random_bool(1.0 - 0.7 * trouble)
        {
            let round = bench.group.open_round().0;
            let _ = bench.submit(connection, index.0, round);
        }
    }

    fn dial(&mut self, user: usize, side: usize, connection: ConnectionId) {
        let Some(coming) = &self.pair.sides[side].group.coming else { return };
        let Some(index) = coming.roster.index_of(UserId(user as u32)) else { return };
        let (epoch, key) = (coming.epoch(), vec![0; coming.roster.members().div_ceil(8)]);
        for slot in 0..self.pair.sides[side].group.shape.slots as u32 {
            let next = &mut self.next_dial;
            let user = &mut self.users[user];
            let id = *user.dial_ids.entry((epoch.0, slot)).or_insert_with(|| {
                *next += 1;
                *next
            });
            if user.sent[side].insert(id) {
                let dial = Dial::new(id, epoch, index, SlotIndex(slot));
                let bench = &mut self.pair.sides[side];
                let dialled = bench.group.dial(connection, &dial, &key, bench.now, &mut bench.out);
                if let Err(Refusal { code: Code::DialFlood, .. }) = dialled {
                    panic!("seed {}: an honest user is taken for a flood", self.seed);
                }
            }
        }
    }

    fn give_parts(&mut self, user: usize, side: usize, connection: ConnectionId) {
        let bench = &mut self.pair.sides[side];
        let Some(coming) = &bench.group.coming else { return };
        let Some(index) = coming.roster.index_of(UserId(user as u32)) else { return };
        for slot in 0..bench.group.shape.slots as u32 {
            let Some(coming) = &bench.group.coming else { return };
            let head = PartsHead::new(coming.epoch(), index, SlotIndex(slot), Purpose::Confirmation);
            if side == 0 {
                let _ = bench.group.parts_seed(connection, &head, &[1; 32], bench.now, &mut bench.out);
            } else if let Ok(upload) = bench.group.parts_begin(connection, &head) {
                bench.group.parts_bytes(&upload, 0, &vec![1; upload.bytes]);
                bench.group.parts_end(&upload, bench.now, &mut bench.out).unwrap();
            }
        }
    }

    /// Looks at what a server did, and keeps what is to be compared.
    fn watch(&mut self, side: usize) {
        self.pair.collect();
        let seed = self.seed;
        let outputs = std::mem::take(&mut self.pair.sides[side].out);
        for output in outputs {
            match output {
                Output::Deliver(tile) if tile.is_message() => {
                    let head = tile.head();
                    let place = (head.epoch.0, head.round.0, head.tile, head.slot.0);
                    let twice = self.seen[side].words.insert(place, head.present);
                    assert_eq!(twice, None, "seed {seed}, side {side}: {place:?} was released twice");
                    let newest = (head.epoch.0, head.round.0);
                    assert!(
                        newest >= self.seen[side].newest,
                        "seed {seed}, side {side}: {newest:?} goes back"
                    );
                    self.seen[side].newest = newest;
                }
                Output::Sealed(sealed) => {
                    self.seen[side].rounds.insert((sealed.epoch.0, sealed.round.0), sealed);
                }
                Output::Close(connection, _) => {
                    for user in &mut self.users {
                        if user.attached[side] == Some(connection) {
                            user.attached[side] = None;
                        }
                    }
                }
                Output::All(_, frame) if kind(&frame) == Kind::EpochOpen => {
                    let Some(running) = &self.pair.sides[side].group.running else { continue };
                    let opened = Opened {
                        first: running.rounds.open().0,
                        members: *running.roster.hash(),
                        dialled: running.dials.members_dialled().ones().map(|member| member as u32).collect(),
                    };
                    let again = self.seen[side].opened.insert(running.epoch().0, opened);
                    assert_eq!(again, None, "seed {seed}, side {side}: opened twice");
                }
                Output::Count(Counted::Joined, users) => self.joined += users,
                Output::Count(Counted::Left, users) => self.left += users,
                Output::All(_, frame) => {
                    self.mismatches += u32::from(code(&frame) == Some(Code::EpochMismatch));
                }
                Output::To(connection, frame) if code(&frame) == Some(Code::DialHalf) => {
                    // The next dial has another number, for both servers.
                    let mut users = self.users.iter_mut();
                    if let Some(user) = users.find(|user| user.attached[side] == Some(connection)) {
                        user.dial_ids.clear();
                    }
                }
                _ => {}
            }
        }
    }

    /// Nothing hangs: sealed rounds wait for the peer so long, and the end of an epoch for the next one.
    fn check_bounds(&self, side: usize) {
        let group = &self.pair.sides[side].group;
        let Some(running) = &group.running else { return };
        let shape = group.shape;
        if let Some(since) = running.rounds.waits_since() {
            let waits = self.pair.now - since;
            assert!(waits <= PEER_TIMEOUT, "seed {}, side {side}: a round waits for {waits:?}", self.seed);
        }
        let nobody_there = group.coming.as_ref().is_some_and(|coming| coming.attached.is_clear());
        if let Some(ended) = running.ended_at
            && !nobody_there
        {
            let waits = self.pair.now - ended;
            let parts = shape.round_timeout * shape.slots as u32;
            let bound = shape.dial_timeout + 2 * shape.round_timeout + 4 * PEER_TIMEOUT + parts;
            assert!(waits <= bound, "seed {}, side {side}: an epoch's end takes {waits:?}", self.seed);
        }
    }

    /// Whatever both did, they did alike.
    fn compare(&self) -> u32 {
        let seed = self.seed;
        let [one, two] = &self.seen;
        for (epoch, opened) in &one.opened {
            if let Some(other) = two.opened.get(epoch) {
                assert_eq!(opened, other, "seed {seed}: epoch {epoch}");
            }
        }
        let mut agreed = 0;
        for (place, sealed) in &one.rounds {
            let Some(other) = two.rounds.get(place) else { continue };
            if sealed.unagreed + other.unagreed > 0 {
                continue;
            }
            agreed += 1;
            assert_eq!(sealed.senders, other.senders, "seed {seed}: {place:?}");
            let words = |seen: &Seen| -> Vec<u64> {
                let range = (place.0, place.1, 0, 0)..=(place.0, place.1, u32::MAX, u32::MAX);
                seen.words.range(range).map(|(_, word)| *word).collect()
            };
            assert_eq!(words(one), words(two), "seed {seed}: {place:?}");
        }
        agreed
    }
}

#[test]
fn two_servers_stay_together_through_losses_delays_and_changes() {
    let (mut agreed, mut opened, mut mismatches, mut unagreed) = (0, 0, 0, 0);
    let (mut joined, mut left) = (0, 0);
    for seed in 0..80 {
        let mut world = World::new(seed);
        (0..1500).for_each(|_| world.step());
        world.compare();
        // From now on nothing goes wrong.
        world.trouble = 0.0;
        (0..600).for_each(|_| world.step());
        let (epochs, rounds) = (world.pair.epochs(), world.pair.rounds());
        (0..300).for_each(|_| world.step());
        agreed += world.compare();
        let after = world.pair.rounds();
        for side in 0..2 {
            assert!(after[side] > rounds[side] + 5, "seed {seed}: rounds go on, {rounds:?} to {after:?}");
            let last = world.seen[side].rounds.values().next_back().unwrap();
            assert_eq!(last.unagreed, 0, "seed {seed}, side {side}: {last:?}");
        }
        assert!(after[0].abs_diff(after[1]) <= 1, "seed {seed}: {after:?}");
        let now = world.pair.epochs();
        assert!(now[0].abs_diff(now[1]) <= 1, "seed {seed}: {epochs:?} and then {now:?}");
        if world.pair.sides[0].group.shape.epoch_rounds > 0 {
            assert!(now[0] > epochs[0], "seed {seed}: epochs go on");
        }
        opened += world.seen[0].opened.len();
        joined += world.joined;
        left += world.left;
        mismatches += world.mismatches;
        unagreed += world.seen[0].rounds.values().filter(|sealed| sealed.unagreed > 0).count();
    }
    println!(
        "{agreed} rounds agreed, {unagreed} not; {opened} epochs opened, {mismatches} mismatches; \
         {joined} joined, {left} left"
    );
    // The world has to be rough enough for all of this to mean something.
    assert!(agreed > 10_000 && unagreed > 1_000 && opened > 1_000 && mismatches > 20);
    assert!(joined > 100 && left > 20);
}
