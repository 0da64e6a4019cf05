use super::*;
use crate::answer::{Done, Rows, Setup};
use crate::front::FrontMessage;
use crate::limits::FRONT_QUEUE_MAX;
use crate::roster::Roster;
use std::time::Instant;
use twincast_answer::{AnswerSet, Queries, Shape};
use twincast_protocol::answer::{RECORD_BYTES, RecordContext, record};
use twincast_protocol::identity::SigningKey;
use twincast_protocol::ids::{Epoch, MemberIndex, RoundNumber, ServerSide, UserId};

const GROUP: GroupId = GroupId(2);
const MEMBERS: usize = 70;
/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A pool that works for one group, and what its executor would hear.
struct Scene {
    pool: Arc<AnswerPool>,
    threads: Option<AnswerThreads>,
    front: Arc<FrontHandle>,
    _ear: std::os::unix::net::UnixStream,
    metrics: Arc<Metrics>,
    roster: Arc<Roster>,
    keys: Vec<SigningKey>,
}

impl Scene {
    fn new(threads: usize) -> Scene {
        let keys: Vec<SigningKey> = (0..MEMBERS as u8).map(|key| SigningKey::from_seed(&[key; 32])).collect();
        let setup = Arc::new(Setup {
            group: GROUP,
            side: ServerSide::One,
            signing: SigningKey::from_seed(&[201; 32]),
            peer: SigningKey::from_seed(&[202; 32]).verifying_key(),
            members: (0..).map(UserId).zip(keys.iter().map(SigningKey::verifying_key)).collect(),
        });
        let owner = Owner {
            front: 0,
            setup,
            #[cfg(feature = "fault-swap-half")]
            false_answer: None,
        };
        let (front, ear) = FrontHandle::new().unwrap();
        let (front, metrics) = (Arc::new(front), Arc::new(Metrics::default()));
        let pool = AnswerPool::new(threads);
        let owners = HashMap::from([(GROUP, owner)]);
        let fronts = [front.clone()];
        let started =
            AnswerThreads::start(pool.clone(), &vec![None; threads], owners, &fronts, &metrics).unwrap();
        let roster = Roster::initial(GROUP, Epoch(1), MEMBERS);
        Scene { pool, threads: Some(started), front, _ear: ear, metrics, roster, keys }
    }

    /// As an executor does: to every thread that has a part in it.
    fn send(&self, work: Work) {
        if !work.is_on_table() {
            self.pool.send(Lane::Any, GROUP, work).unwrap();
            return;
        }
        for thread in 0..self.pool.threads() {
            self.pool.send(Lane::Thread(thread), GROUP, work.clone()).unwrap();
        }
    }

    fn hear(&self) -> Done {
        let begun = Instant::now();
        loop {
            match self.front.pop() {
                Some(FrontMessage::Worked(GROUP, done)) => return done,
                Some(other) => panic!("{other:?}"),
                None => std::thread::sleep(Duration::from_micros(100)),
            }
            assert!(begun.elapsed() < PATIENCE, "nothing was done");
        }
    }

    fn rows(&self, round: u64, tile: usize) -> Rows {
        let senders = (MEMBERS - tile * 64).min(64);
        let mut records = vec![[0; RECORD_BYTES]; 64].into_boxed_slice();
        for (sender, record) in records.iter_mut().enumerate().take(senders) {
            let sender = tile * 64 + sender;
            let context = RecordContext {
                group: GROUP,
                epoch: Epoch(1),
                round: RoundNumber(round),
                sender: MemberIndex(sender as u32),
            };
            record::make(&context, &self.keys[sender], None, b"", &mut rand::rng(), record).unwrap();
        }
        Rows { tile, senders, records }
    }

    /// Member `u` asks for the record of member `(u + shift) mod n`.
    fn open(&self, shift: usize) {
        let shape = Shape::new(MEMBERS, MEMBERS, RECORD_BYTES).unwrap();
        let mut queries = Queries::new(&shape);
        for query in 0..MEMBERS {
            let wanted = (query + shift) % MEMBERS;
            let mut bits = [0; MEMBERS.div_ceil(8)];
            bits[wanted / 8] = 1 << (wanted % 8);
            queries.set(query, &bits).unwrap();
        }
        self.send(Work::Open { roster: self.roster.clone(), queries: queries.into() });
    }

    fn play(&self, round: u64, shift: usize) {
        let tiles = [0, 1].map(|tile| Arc::new(self.rows(round, tile)));
        let round = RoundNumber(round);
        for rows in &tiles {
            self.send(Work::Add { round, rows: rows.clone() });
        }
        self.send(Work::Finish { round });
        let mut parts = Vec::new();
        while parts.len() < self.pool.threads() {
            match self.hear() {
                Done::Part { round: of, answers, .. } if of == round => parts.push(answers),
                other => panic!("{other:?}"),
            }
        }
        let set = AnswerSet::new(parts);
        for query in 0..MEMBERS {
            let wanted = (query + shift) % MEMBERS;
            let mut answer = [0; RECORD_BYTES];
            set.gather(query, 0, &mut answer);
            assert!(answer == tiles[wanted / 64].records[wanted % 64], "{round:?}, query {query}");
        }
        drop(set);
        assert!(tiles.iter().all(|rows| Arc::strong_count(rows) == 1), "the threads are done with the rows");
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take()
            && !std::thread::panicking()
        {
            threads.stop().expect("no thread panicked");
        }
    }
}

#[test]
fn every_thread_has_its_part_of_the_answers_round_after_round() {
    for threads in [1, 2, 5] {
        let scene = Scene::new(threads);
        // Before an epoch is open there is nothing to answer, and nothing of it is kept.
        scene.send(Work::Add { round: RoundNumber(9), rows: Arc::new(scene.rows(9, 0)) });
        scene.send(Work::Abandon { round: RoundNumber(9) });
        scene.open(3);
        (1..12).for_each(|round| scene.play(round, 3));
        // A round that is left out in the middle, and then another epoch.
        scene.send(Work::Add { round: RoundNumber(12), rows: Arc::new(scene.rows(12, 1)) });
        scene.send(Work::Abandon { round: RoundNumber(12) });
        scene.play(13, 3);
        scene.open(4);
        scene.play(14, 4);
        let shape = Shape::new(MEMBERS, MEMBERS, RECORD_BYTES).unwrap();
        let memory = scene.metrics.answer_memory_bytes.load(Ordering::Relaxed);
        let buffers = shape.answer_memory_bytes() / threads as u64 * threads as u64;
        assert_eq!(memory, shape.query_memory_bytes() + buffers, "one epoch, and one buffer a thread");
        assert!(scene.metrics.answer_busy_microseconds.load(Ordering::Relaxed) > 0);
        // An epoch that is given up leaves nothing, and what still comes of it concerns none.
        scene.send(Work::Close);
        scene.send(Work::Abandon { round: RoundNumber(15) });
        let begun = Instant::now();
        while scene.metrics.answer_memory_bytes.load(Ordering::Relaxed) > 0 {
            assert!(begun.elapsed() < PATIENCE, "queries are forgotten");
            std::thread::yield_now();
        }
        scene.open(5);
        scene.play(16, 5);
    }
}

#[test]
fn whoever_is_free_verifies_and_all_tiles_come_back() {
    for threads in [1, 3] {
        let scene = Scene::new(threads);
        let mut rows = scene.rows(1, 0);
        rows.records[5][8] ^= 1;
        for alone in [true, false].into_iter().cycle().take(20) {
            let (round, roster) = (RoundNumber(1), scene.roster.clone());
            let rows = Arc::new(rows.clone());
            // Tile by tile, or as many together as there are.
            scene.send(Work::Verify { round, roster, rows, senders: !1, alone });
            scene.send(Work::SignAbsences { round, epoch: Epoch(1), tile: 0, senders: 1 });
        }
        let (mut verified, mut signed) = (0, 0);
        for _ in 0..40 {
            match scene.hear() {
                Done::Verified { valid, .. } => {
                    assert_eq!(valid, !(1 | 1 << 5));
                    verified += 1;
                }
                Done::AbsencesSigned { signatures, .. } => signed += signatures.len(),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((verified, signed), (20, 20));
        let counted = [&scene.metrics.signatures_verified, &scene.metrics.signatures_refused];
        assert_eq!(counted.map(|counter| counter.load(Ordering::Relaxed)), [20 * 62, 20]);
    }
}

/// An executor that is kept from its work gets everything once it is back.
#[test]
fn what_an_executor_has_no_room_for_is_kept() {
    let scene = Scene::new(2);
    let filler = || FrontMessage::Closed(crate::group::ConnectionId(0));
    (0..FRONT_QUEUE_MAX).for_each(|_| scene.front.send(filler()).unwrap());
    for tile in 0..30 {
        scene.send(Work::SignAbsences { round: RoundNumber(1), epoch: Epoch(1), tile, senders: 1 });
    }
    let begun = Instant::now();
    while !scene.pool.any.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "a full queue stops nobody");
        std::thread::yield_now();
    }
    let (mut fillers, mut done) = (0, 0);
    while done < 30 {
        match scene.front.pop() {
            Some(FrontMessage::Worked(..)) => done += 1,
            Some(_) => fillers += 1,
            None => assert!(begun.elapsed() < PATIENCE, "{done} of 30 came"),
        }
    }
    assert_eq!(fillers, FRONT_QUEUE_MAX);
}

#[test]
fn a_thread_that_panics_is_known_and_takes_nothing_more() {
    let mut scene = Scene::new(2);
    scene.open(1);
    // A tile that the table has not: the group never sends one.
    let mut rows = scene.rows(1, 0);
    rows.tile = 7;
    scene.send(Work::Add { round: RoundNumber(1), rows: rows.into() });
    let begun = Instant::now();
    while !scene.pool.has_failed() {
        assert!(begun.elapsed() < PATIENCE, "nobody hears of it");
        std::thread::yield_now();
    }
    assert!(scene.metrics.answer_threads_failed.load(Ordering::Relaxed) > 0);
    for _ in 0..2 * ANSWER_QUEUE_MAX {
        assert!(scene.pool.send(Lane::Any, GROUP, Work::Finish { round: RoundNumber(1) }).is_ok());
    }
    assert!(scene.threads.take().unwrap().stop().is_err());
}
